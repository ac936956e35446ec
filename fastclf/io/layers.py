"""The list of layers into which every model can be converted, and the checks before a list becomes a model again.

The checks trust nothing, because kernels compute indices from the sizes of the layers that pass.
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


def entries(values: Any, what: str, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """``values``, if it is a dict with all required keys and no others except the optional ones; else ValueError."""
    if not isinstance(values, dict):
        raise ValueError(f"{what} must be a dict, got {reprlib.repr(values)}")
    if missing := [key for key in required if key not in values]:
        raise ValueError(f"{what} must have {', '.join(missing)}")
    if unknown := [key for key in values if key not in required and key not in optional]:
        raise ValueError(f"{what} must not have {reprlib.repr(unknown)}")
    return values


def check(name: str, value: Any, rule: tuple[Callable[[Any], bool], str]) -> None:
    """Raise ValueError unless the value satisfies the rule: a predicate, and its description for the message."""
    holds, wanted = rule
    if not holds(value):
        raise ValueError(f"{name} must be {wanted}, got {reprlib.repr(value)}")


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def refuse_others(model: Any, known: Collection[str]) -> None:
    """Raise TypeError if the model has attributes other than the known ones: a file would lose them."""
    if others := sorted(vars(model).keys() - set(known)):
        raise TypeError(
            f"{type(model).__name__} can not be saved with attributes that are not its own: {', '.join(others)}"
        )


def network_of(layers: Any) -> Network:
    """A network with copies of the given weights and biases; ValueError if these do not form a network."""
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
    """The weights and biases of a network, in the form that ``network_of`` takes."""
    return [{"weight": W, "bias": b} for W, b in zip(network.weights, network.biases)]


def layers_of_theta(theta: NDArray[Any]) -> tuple[list[Layer], str | None]:
    """``train_model``'s parameters as a list of one layer, and the function on top: "softmax" or "sigmoid"."""
    return [{"weight": theta[1:].T, "bias": theta[0]}], "sigmoid" if theta.shape[1] == 1 else "softmax"
