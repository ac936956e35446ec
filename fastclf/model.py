"""What the lab's classes have in common: attributes that are views of a network, and methods that may be replaced."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import as_numbers


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
        view = self.__get__(model)
        if np.shape(value) != view.shape:
            raise ValueError(f"{self._name} must have shape {view.shape}, got {np.shape(value)}")
        view[...] = as_numbers(value, self._name, view.dtype)


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
            raise AttributeError(f"{self._name} is set by forward, which has not been called yet")
        work, m = model._work
        return work.samples(self._buffer, self._layer, m)


def overrides(model: Any, base: type, *methods: str) -> bool:
    """Whether a subclass replaces one of the methods that a fused training loop would bypass."""
    return any(getattr(type(model), name, None) is not getattr(base, name) for name in methods)
