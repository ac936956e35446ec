"""What the lab's classes share: parameters as views of a network, the activations, saving, loading and exporting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import reference
from ..engine.distributed import Alone, same_numbers
from ..engine.network import Network
from ..engine.threads import check_n_jobs
from ..inputs import REALS, as_array, as_floats, as_random, as_scalar, precision
from ..io.layers import Layer, check, entries, is_number, layers_of, network_of, refuse_others
from ..io.portable import Portable

if TYPE_CHECKING:
    from typing_extensions import Self


class LayerParameter:
    """An attribute that is a view of one layer's weights or bias. Assigning an array copies it into the view.

    As in the lab, a bias is a column, (n_out, 1).
    """

    def __init__(self, layer: int, bias: bool = False) -> None:
        self._layer, self._bias = layer, bias

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, model: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(self, model: object, owner: type | None = None) -> NDArray[Any]: ...

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self
        network = model._network
        return network.biases[self._layer].reshape(-1, 1) if self._bias else network.weights[self._layer]

    def __set__(self, model: Any, value: ArrayLike) -> None:
        view, given = self.__get__(model), as_array(value, self._name)
        if given.shape != view.shape:
            raise ValueError(f"{self._name} must have shape {view.shape}, got {given.shape}")
        view[...] = as_floats(given, self._name, view.dtype)


class LayerOutput:
    """An attribute that holds a layer's Z or A of the last forward pass, with samples as columns."""

    def __init__(self, layer: int, buffer: str) -> None:
        self._layer, self._buffer = layer, buffer

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, model: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(self, model: object, owner: type | None = None) -> NDArray[Any]: ...

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self
        if model._work is None:
            raise AttributeError(
                f"{self._name} is set by forward, which has not been called yet; nor is it kept by a run on bytes or a "
                "mapped file whose batches are so large that they come in pieces"
            )
        work, m = model._work
        return work.samples(self._buffer, self._layer, m)


class Activations(reference.Activations):
    """The lab's activations, as methods; samples are columns."""

    def relu(self, z: ArrayLike) -> NDArray[Any]:
        """max(0, z), element by element."""
        return super().relu(as_array(z, "z"))

    def relu_derivative(self, z: ArrayLike) -> NDArray[Any]:
        """1 where z > 0, else 0: the derivative at 0 is 0."""
        return super().relu_derivative(as_array(z, "z"))

    def softmax(self, z: ArrayLike) -> NDArray[Any]:
        """Probabilities from scores (c, m): e^z_k / sum_j e^z_j along axis 0, each column's maximum subtracted first."""
        return super().softmax(as_array(z, "z"))


_ARGUMENTS = ("n_jobs", "scale")  # constructor keywords that every model keeps as attributes
_REMADE = ("_network", "_work", "losses_")  # not saved: a file has the layers, and neither a forward pass nor a run


class LabModel(Portable, Activations):
    """The base of the lab's classes: a network whose weights and biases are attributes."""

    _sizes: ClassVar[str]  # one letter per width, input first; each different letter is one argument of the constructor
    _drawing_order: ClassVar[tuple[str, ...]]  # names of the weights, in the order in which the lab draws them
    _dtypes: ClassVar[tuple[str, ...]] = REALS  # what the class can compute in
    _progress: ClassVar[dict[str, float]] = {}  # attributes that training updates, with their initial values
    _top: ClassVar[str | None] = "softmax"  # the last layer's activation; None: outputs are scores
    losses_: list[float]  # of the last run of ``train``, also of one that an exception ended

    def __init__(
        self, sizes: tuple[int, ...], dtype: DTypeLike, random_state: Any, n_jobs: int | None, scale: float
    ) -> None:
        width = dict(zip(dict.fromkeys(self._sizes), sizes))
        self._network = Network([width[letter] for letter in self._sizes], *precision(dtype, self._dtypes))
        vars(self).update(self._progress)
        self._trained = False
        self.n_jobs, self.scale = check_n_jobs(n_jobs), as_scalar(scale, "scale")
        random = as_random(random_state)
        for name in self._drawing_order:
            setattr(self, name, 0.01 * random.standard_normal(getattr(self, name).shape))

    def __repr__(self) -> str:
        """As the constructor's call, with the dtype that is computed in; and whether the model has been trained."""
        sizes = dict(zip(self._sizes, self._network.widths)).values()
        dtype = "bfloat16" if self._network.in_bfloat16 else self._network.dtype
        trained = "trained" if self._trained else "untrained"
        return f"{type(self).__name__}({', '.join(map(str, sizes))}, dtype={dtype}, {trained})"

    @contextmanager
    def _training(self) -> Iterator[None]:
        """A step or a run, which makes the model a trained one if it changes a parameter, however it ends."""
        params = self._network.params
        before = params[:0] if self._trained else params.copy()
        try:
            yield
        finally:
            self._trained = self._trained or not np.array_equal(params, before)

    def _as_trained(self) -> Self:
        """The model for a callback, which is called when an epoch has been trained."""
        self._trained = True
        return self

    @classmethod
    def from_torch(cls, module: Any, **arguments: Any) -> Self:
        """A model with the parameters of a torch module.

        Parameters
        ----------
        module : torch.nn.Sequential
            As many Linear layers as the class has, with ReLU between them, all float32 or all float64. A Flatten first,
            Dropout anywhere, and Softmax or LogSoftmax last are allowed and ignored.
        **arguments
            ``n_jobs`` and ``scale`` of the constructor, and ``dtype="bfloat16"`` for a network of float32. Otherwise the
            module gives the dtype; it always gives the sizes.

        Returns
        -------
        model
            It has copies of the module's parameters, and counts as trained. The bias of a layer without one is 0.

        Raises
        ------
        TypeError, ValueError
            If the module does not fit the class; the message says where.
        """
        from ..io.interchange import layers_of_module

        layers, top, _ = layers_of_module(module)
        return cls._from_layers(layers, top, **arguments)

    def _meet(self, comm: Alone, own_methods: bool, **facts: Any) -> None:
        """In a group: check that the ranks' models, and these facts, are alike, and give all ranks rank 0's parameters."""
        if not comm.grouped:
            return
        if own_methods:
            raise TypeError(f"process_group is for {type(self).__name__}'s own methods, which this subclass replaces")
        precision_ = "bfloat16" if self._network.in_bfloat16 else self._network.dtype.name
        comm.agree(model=type(self).__name__, sizes=self._network.widths, dtype=precision_, **facts)
        same_numbers(comm, self._network.params)

    def _state(self) -> dict[str, Any]:
        refuse_others(self, {*_ARGUMENTS, *self._progress, "_trained", *_REMADE})
        return {
            "arguments": {name: getattr(self, name) for name in _ARGUMENTS}
            | ({"dtype": "bfloat16"} if self._network.in_bfloat16 else {}),
            "progress": {name: getattr(self, name) for name in self._progress},
            "trained": self._trained,
            "layers": layers_of(self._network),
        }

    @classmethod
    def _from_state(cls, state: Any) -> Self:
        entries(state, cls.__name__, ("arguments", "progress", "layers"), ("trained",))
        network = network_of(state["layers"])
        sizes = dict(zip(cls._sizes, network.widths))
        if tuple(sizes.get(letter) for letter in cls._sizes) != network.widths:
            wanted, given = "-".join(cls._sizes), "-".join(map(str, network.widths))
            raise ValueError(f"{cls.__name__} has the widths {wanted}, these layers have {given}")
        # The constructor draws weights that are replaced below: a seed keeps it away from NumPy's global generator.
        construct: Any = cls  # no common type: the number of sizes depends on the class
        arguments = {"dtype": network.dtype, **state["arguments"]}
        model = construct(*sizes.values(), random_state=0, **arguments)
        if model._network.dtype != network.dtype:
            raise ValueError(f"dtype={arguments['dtype']!r} does not fit layers of {network.dtype}")
        network.compute(model._network.in_bfloat16)
        model._network = network
        for name, value in entries(state["progress"], "progress", (), cls._progress).items():
            check(name, value, (is_number, "a number"))
            setattr(model, name, value)
        model._trained = state.get("trained", True)  # neither a torch module nor an older version's file says
        check("trained", model._trained, (lambda value: isinstance(value, bool), "True or False"))
        return model

    def _first_layer(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self._network.weights[0], self._network.biases[0]

    def _layers(self) -> tuple[list[Layer], str | None]:
        return layers_of(self._network), self._top

    @classmethod
    def _from_layers(cls, layers: list[Layer], top: str | None, **arguments: Any) -> Self:
        """A model with these layers. ``top`` may be "softmax" or None, because training applies a softmax anyway."""
        if top == "sigmoid":
            raise ValueError(f"{cls.__name__} ends in a softmax, not a sigmoid")
        return cls._from_state({"arguments": arguments, "progress": {}, "layers": layers})


def overrides(model: Any, base: type, *methods: str) -> bool:
    """Whether a subclass replaces one of the methods. A kernel would not call them, so NumPy then does the work."""
    return any(getattr(type(model), name, None) is not getattr(base, name) for name in methods)
