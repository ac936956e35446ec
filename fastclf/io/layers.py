"""A model of the lab taken apart into plain values, and put together again: for files and for other libraries.

``estimators.parts`` has the same functions for the estimators. The checks are those of ``assembled``, which trusts nothing:
a kernel indexes by the sizes of what it returns.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.network import Network

Layer = dict[str, NDArray[Any]]  # "weight" (n_out, n_in) and "bias" (n_out,)

ARGUMENTS = ("n_jobs", "scale")  # the constructors' keywords that are attributes too
PROGRESS = ("best_loss",)  # what a class may have for its training to go on from
_REMADE = ("_network", "_work")  # the parameters, and the scratch of the last forward pass


# ---------------------------------------------------------------- checks


def entries(values: Any, what: str, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """The values, a dict that has the required keys and none but these and the optional ones."""
    if not isinstance(values, dict):
        raise ValueError(f"{what} must be a dict, got {reprlib.repr(values)}")
    if missing := [key for key in required if key not in values]:
        raise ValueError(f"{what} must have {', '.join(missing)}")
    if unknown := [key for key in values if key not in required and key not in optional]:
        raise ValueError(f"{what} must not have {reprlib.repr(unknown)}")
    return values


def check(name: str, value: Any, rule: tuple[Callable[[Any], bool], str]) -> None:
    """Raise ValueError unless the value is what the rule says."""
    holds, wanted = rule
    if not holds(value):
        raise ValueError(f"{name} must be {wanted}, got {reprlib.repr(value)}")


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def refuse_others(model: Any, known: Collection[str]) -> None:
    """Raise TypeError if the model has attributes that nobody here knows of: they would be lost."""
    if others := sorted(vars(model).keys() - set(known)):
        raise TypeError(
            f"{type(model).__name__} can not be saved with attributes that are not its own: {', '.join(others)}"
        )


def network_of(layers: Any) -> Network:
    """A network with the given weights and biases, once these are proved to be those of one; they are copied."""
    if not isinstance(layers, list) or not layers:
        raise ValueError(f"layers must be a list of at least one, got {reprlib.repr(layers)}")
    for i, layer in enumerate(layers):
        entries(layer, f"layer {i}", ("weight", "bias"))
        weight, bias = layer["weight"], layer["bias"]
        if not all(isinstance(a, np.ndarray) and a.dtype in (np.float64, np.float32) for a in (weight, bias)):
            raise ValueError(f"weight and bias of layer {i} must be arrays of float64 or float32")
        if weight.ndim != 2 or 0 in weight.shape or bias.shape != weight.shape[:1]:
            raise ValueError(f"layer {i} can not have weights of shape {weight.shape} and biases of shape {bias.shape}")
    if len(dtypes := {a.dtype.name for layer in layers for a in layer.values()}) > 1:
        raise ValueError(f"layers must have one dtype, got {' and '.join(sorted(dtypes))}")
    weights = [layer["weight"] for layer in layers]
    for i, (below, above) in enumerate(pairwise(weights), 1):
        if below.shape[0] != above.shape[1]:
            raise ValueError(f"layer {i} must take the {below.shape[0]} outputs of the one below, not {above.shape[1]}")
    network = Network([weights[0].shape[1], *map(len, weights)], weights[0].dtype)
    for layer, own_weight, own_bias in zip(layers, network.weights, network.biases):
        own_weight[:], own_bias[:] = layer["weight"], layer["bias"]
    return network


def layers_of(network: Network) -> list[Layer]:
    """The weights and biases as ``network_of`` takes them."""
    return [{"weight": W, "bias": b} for W, b in zip(network.weights, network.biases)]


def outputs_of_theta(theta: NDArray[Any]) -> tuple[list[Layer], str | None]:
    """The layer that is in ``train_model``'s parameters, and what is on top of it: "softmax" or "sigmoid"."""
    return [{"weight": theta[1:].T, "bias": theta[0]}], "sigmoid" if theta.shape[1] == 1 else "softmax"


# ---------------------------------------------------------------- the lab's classes


def parts(model: Any) -> dict[str, Any]:
    """What a model is made of.

    Raises
    ------
    TypeError
        If it has attributes that its class does not give it.
    """
    refuse_others(model, {*ARGUMENTS, *PROGRESS, *_REMADE})
    return {
        "arguments": {name: getattr(model, name) for name in ARGUMENTS},
        "progress": {name: getattr(model, name) for name in PROGRESS if name in vars(model)},
        "layers": layers_of(model._network),
    }


def assembled(cls: Any, values: Any) -> Any:
    """The model that is made of these values.

    Raises
    ------
    ValueError, TypeError
        If they are not what ``parts`` makes of a model of this class.
    """
    entries(values, cls.__name__, ("arguments", "progress", "layers"))
    network = network_of(values["layers"])
    sizes = dict(zip(cls._sizes, network.widths))
    if tuple(sizes.get(letter) for letter in cls._sizes) != network.widths:
        wanted, given = "-".join(cls._sizes), "-".join(map(str, network.widths))
        raise ValueError(f"{cls.__name__} has the widths {wanted}, these layers have {given}")
    # A seed, whose weights are not kept, leaves NumPy's global generator as it is.
    model = cls(*sizes.values(), dtype=network.dtype, random_state=0, **values["arguments"])
    model._network = network
    own = [name for name in PROGRESS if name in vars(model)]
    for name, value in entries(values["progress"], "progress", (), own).items():
        check(name, value, (is_number, "a number"))
        setattr(model, name, value)
    return model


def outputs(model: Any) -> tuple[list[Layer], str | None]:
    """The layers that give a model's outputs, and what is on top of them: "softmax", "sigmoid" or None."""
    return layers_of(model._network), model._top


def from_layers(cls: Any, layers: list[Layer], top: str | None, arguments: dict[str, Any]) -> Any:
    """A model with these layers, which is to be trained; what may be on top of them does not change its parameters."""
    if top == "sigmoid":
        raise ValueError(f"{cls.__name__} ends in a softmax, not a sigmoid")
    return assembled(cls, {"arguments": arguments, "progress": {}, "layers": layers})
