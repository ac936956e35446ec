"""Proofs that fitted attributes fit each other, wherever they come from.

Anybody may assign an attribute between two calls, or unpickle an object that somebody has edited, and kernels index by
what they are given. So each call looks again. What fits is used; what does not fit is a ValueError that names the attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..engine.network import Network
from ..inputs import as_floats, as_scalar

_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


def _fitting(name: str, value: Any, shape: tuple[int, ...], why: str, dtype: np.dtype[Any] | None = None) -> Any:
    """``value`` as a finite array of ``shape``, by default float32 if it is that, else float64."""
    if dtype is None:
        dtype = np.dtype(np.float32 if getattr(value, "dtype", None) == np.float32 else np.float64)
    array = as_floats(value, name, dtype)
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, {why}, got {array.shape}")
    return array


def classes_of(model: Any) -> NDArray[Any]:
    """``classes_``, as an array of one dimension."""
    classes = model.classes_
    if type(classes) is not np.ndarray:
        model.classes_ = classes = np.asarray(classes)
    if classes.ndim != 1:
        raise ValueError(f"classes_ must have one dimension, got the shape {classes.shape}")
    return classes


def factor_of(model: Any) -> float:
    """``scale_``, as a positive number."""
    scale = model.scale_
    if type(scale) is not float or not 0 < scale < np.inf:
        scale = as_scalar(scale, "scale_", positive=True)
        if scale == 0:
            raise ValueError("scale_ must be positive, got 0")
    return scale


def class_numbers(model: Any, y: NDArray[Any]) -> NDArray[np.int64]:
    """The number of each label's class; ValueError where ``classes_`` lacks a label, or is not sorted."""
    classes = classes_of(model)
    labels = np.searchsorted(classes, y).astype(np.int64)
    if len(y) and (labels.max() >= len(classes) or not np.array_equal(classes[labels], y)):
        raise ValueError(f"classes_ must be sorted and hold every label of y, got {classes!r}")
    return labels


# ---------------------------------------------------------------- linear models


def linear_parameters(model: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """``coef_`` and ``intercept_``, which fit ``classes_`` and ``n_features_in_``; they may hold NaN."""
    coef, intercept, n_classes = model.coef_, model.intercept_, len(classes_of(model))
    shape = 1 if n_classes == 2 else n_classes, model.n_features_in_
    plain = type(coef) is type(intercept) is np.ndarray and coef.dtype == intercept.dtype and coef.dtype in _FLOATS
    if plain and coef.shape == shape and intercept.shape == shape[:1]:
        return coef, intercept
    why = f"for the {n_classes} classes of classes_ and the {shape[1]} features of n_features_in_"
    dense = coef.toarray() if sparse.issparse(coef) else coef
    dense = _fitting("coef_", dense, shape, why)
    intercept = _fitting("intercept_", intercept, shape[:1], why, dense.dtype)
    return dense, intercept


def check_finite_linear(model: Any) -> None:
    """Raise ValueError if ``coef_`` or ``intercept_`` holds NaN or infinity."""
    for name in ("coef_", "intercept_"):
        value = getattr(model, name)
        value = value.data if sparse.issparse(value) else value
        as_floats(value, name, np.asarray(value).dtype)


# ---------------------------------------------------------------- networks


def _names(n_layers: int) -> list[str]:
    return [f"{which}[{i}]" for which in ("coefs_", "intercepts_") for i in range(n_layers)]


def network_shown(shown: Sequence[Any], network: Network | None) -> Network:
    """A network with the parameters ``shown``: ``coefs_`` and then ``intercepts_``, which anybody may have assigned.

    They must fit the network that there was, or, if there is none, each other.
    """
    n_layers = len(shown) // 2
    if network is None:
        if not n_layers or len(shown) % 2:
            raise ValueError("coefs_ and intercepts_ must have one entry per layer each")
        shapes = [np.shape(W) for W in shown[:n_layers]]
        for i, shape in enumerate(shapes):
            if len(shape) != 2 or 0 in shape:
                raise ValueError(f"coefs_[{i}] must be a matrix, got the shape {shape}")
        widths = [shapes[0][0], *(shape[1] for shape in shapes)]
        singles = all(getattr(W, "dtype", None) == np.float32 for W in shown)
        network = Network(widths, np.dtype(np.float32 if singles else np.float64))
    if len(shown) != 2 * len(network.weights):
        raise ValueError(f"coefs_ and intercepts_ must have {len(network.weights)} entries each")
    own = [W.T for W in network.weights] + network.biases
    why = "as the layers of the model have it"
    given = [
        _fitting(name, value, mine.shape, why, network.dtype)
        for name, value, mine in zip(_names(len(network.weights)), shown, own)
    ]
    for mine, value in zip(own, given):
        mine[...] = value
    return network


def check_network(model: Any, network: Network) -> None:
    """Raise ValueError unless ``classes_``, ``n_features_in_`` and the like fit the network."""
    n, c, k = network.widths[0], network.widths[-1], len(classes_of(model))
    several = model.out_activation_ == "logistic" and c > 1
    possible = k <= 2 if c == 1 else k == c
    if model.n_features_in_ != n:
        raise ValueError(f"n_features_in_ must be {n}, the number of rows of coefs_[0], got {model.n_features_in_!r}")
    if model.n_outputs_ != c:
        raise ValueError(f"n_outputs_ must be {c}, the number of columns of coefs_[-1], got {model.n_outputs_!r}")
    if not possible or not k:
        raise ValueError(f"classes_ must have an entry for each of the model's {max(c, 2)} classes, got {k}")
    if model.out_activation_ not in (("logistic",) if c == 1 or several else ("softmax",)):
        raise ValueError(f"out_activation_ must be logistic or softmax, got {model.out_activation_!r}")


def check_finite_network(network: Network) -> None:
    """Raise ValueError if a weight or a bias is NaN or infinite."""
    if not np.isfinite(network.params).all():
        for name, value in zip(_names(len(network.weights)), [W.T for W in network.weights] + network.biases):
            as_floats(value, name, network.dtype)
