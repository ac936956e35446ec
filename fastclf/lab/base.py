"""What the lab's classes have in common: attributes that are views of a network, and methods that may be replaced."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from .. import reference
from ..inputs import as_array, as_numbers


class Parameter:
    """An attribute that is a view of one layer's weights or bias; assigning to it copies into the view.

    The lab's biases are columns, (n_out, 1).
    """

    def __init__(self, layer: int, bias: bool = False) -> None:
        self._layer, self._bias = layer, bias

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self
        network = model._network
        return network.biases[self._layer].reshape(-1, 1) if self._bias else network.weights[self._layer]

    def __set__(self, model: Any, value: ArrayLike) -> None:
        view, given = self.__get__(model), as_array(value, self._name)
        if given.shape != view.shape:
            raise ValueError(f"{self._name} must have shape {view.shape}, got {given.shape}")
        view[...] = as_numbers(given, self._name, view.dtype)


class State:
    """An attribute that the last forward pass has set: a layer's Z or A, samples as columns."""

    def __init__(self, layer: int, buffer: str) -> None:
        self._layer, self._buffer = layer, buffer

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

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


def overrides(model: Any, base: type, *methods: str) -> bool:
    """Whether a subclass replaces one of the methods that a kernel would bypass: then plain NumPy calls them."""
    return any(getattr(type(model), name, None) is not getattr(base, name) for name in methods)
