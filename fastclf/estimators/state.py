"""The fitted attributes of both estimators as plain values, and back: for files and for other libraries.

Restoring accepts only a state in which a fit could have left the model: sizes, classes and shapes must agree, because
kernels index by them. Attributes that follow from others are not saved, but made anew.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.preprocessing import LabelBinarizer

from ..datasets import Column
from ..engine.network import Network
from ..engine.optimisers import SGD, Adam
from ..engine.schedules import Plateau
from ..io.layers import Layer, check, entries, is_number, layers_of, network_of, refuse_others
from ..kernels.codes import ADAM, IN_PLACE, MOMENTUM, NESTEROV

Rule = tuple[Callable[[Any], bool], str]


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53  # a float represents these numbers exactly


def _is_curve(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, float) for v in value)


def _is_encoding(value: Any) -> bool:
    """Whether these are pairs of a name and categories, as ``encoding_`` has them."""

    def is_column(pair: Any) -> bool:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str | None):
            return False
        texts = pair[1]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return texts is None
        return bool(texts) and texts == sorted({*texts})

    return isinstance(value, list) and all(map(is_column, value))


def _or_none(rule: Rule) -> Rule:
    return lambda value: value is None or rule[0](value), f"{rule[1]} or None"


_WHOLE: Rule = _is_whole, "a whole number"
_NUMBER: Rule = is_number, "a number"
_FINITE: Rule = lambda value: is_number(value) and math.isfinite(value), "a finite number"
_TOP: Rule = lambda value: isinstance(value, str) and value in ("logistic", "softmax"), "logistic or softmax"
_NAMES: Rule = lambda value: isinstance(value, np.ndarray) and value.dtype == object, "an array of strings"
_ENCODING: Rule = _is_encoding, "a list of columns, each with its name and its sorted categories"
_CURVE: Rule = _is_curve, "a list of floats"
_IN_BOTH = ("classes_", "n_features_in_")
_OPTIONAL = ("feature_names_in_", "encoding_")
_LINEAR_ARRAYS = ("coef_", "intercept_", "_mean", "_last")
_BOTH: dict[str, Rule] = {
    "scale_": (lambda value: is_number(value) and 0 < value < math.inf, "a positive number"),
    "n_iter_": _WHOLE,
    "loss_curve_": _CURVE,
    "validation_scores_": _or_none(_CURVE),
    "validation_loss_curve_": _or_none(_CURVE),
}
_LINEAR = _BOTH | {"t_": (lambda value: is_number(value) and 1 <= value < 2**53, "a number from 1 on")}
_MLP = _BOTH | {
    "t_": _WHOLE,
    "best_loss_": _or_none(_NUMBER),
    "best_validation_score_": _or_none(_NUMBER),
}
_MLP_REMADE = (
    "coefs_",
    "intercepts_",
    "n_layers_",
    "n_outputs_",
    "_label_binarizer",
    "_network",
    "_shown",
    "_optimiser",
    "_plateau",
)
_OPTIMISERS = {"in place": IN_PLACE, "momentum": MOMENTUM, "nesterov": NESTEROV, "adam": ADAM}


# ---------------------------------------------------------------- saving


def _kept(model: Any, names: Collection[str], remade: Collection[str]) -> dict[str, Any]:
    """The fitted attributes ``names``, and those of both estimators. Any other attribute must be in ``remade``."""
    names = {*names, *_IN_BOTH, *_OPTIONAL}
    refuse_others(model, {*model.get_params(deep=False), *names, *remade})
    if not hasattr(model, "intercept_") and not hasattr(model, "intercepts_"):
        raise ValueError(f"{type(model).__name__} can not be saved half fitted: its last fit has failed")
    return {name: getattr(model, name) for name in sorted(names & vars(model).keys())}


def linear_state(model: Any) -> dict[str, Any]:
    """The fitted attributes of a linear model."""
    return _kept(model, {*_LINEAR, *_LINEAR_ARRAYS}, ())


def mlp_state(model: Any) -> dict[str, Any]:
    """The fitted attributes of a multi-layer perceptron, with its optimiser and its count of epochs without gain."""
    kept = _kept(model, {*_MLP, "out_activation_", "loss_"}, _MLP_REMADE)
    optimiser, plateau = model._optimiser, model._plateau
    return {
        **kept,
        "layers": layers_of(model._bound()),
        "optimiser": None if optimiser is None else {
            "kind": next(name for name, kind in _OPTIMISERS.items() if kind == optimiser.kind),
            **{name: getattr(optimiser, name) for name in ("learning_rate", "beta_1", "beta_2", "epsilon", "state")},
            "t": getattr(optimiser, "t", 0),
        },
        "watch": None if plateau is None else {name: getattr(plateau, name) for name in ("tol", "sign", "best", "count")},
    }  # fmt: skip


# ---------------------------------------------------------------- restoring


def _set(model: Any, fitted: dict[str, Any], rules: dict[str, Rule], n_features: int, least_classes: int) -> None:
    """Check and set the attributes that are plain values, and the attributes that both estimators have."""
    for name, rule in rules.items():
        check(name, fitted[name], rule)
        setattr(model, name, fitted[name])
    classes, names = fitted["classes_"], fitted.get("feature_names_in_")
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or len(classes) < least_classes:
        raise ValueError(f"classes_ must be an array of at least {least_classes}, got {reprlib.repr(classes)}")
    if classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise ValueError("classes_ must be finite")
    if not (classes[:-1] < classes[1:]).all():  # np.searchsorted finds the number of a label's class
        raise ValueError("classes_ must be sorted, each once")
    check("n_features_in_", fitted["n_features_in_"], (lambda n: _is_whole(n) and n == n_features, str(n_features)))
    model.classes_, model.n_features_in_ = classes, n_features
    if names is not None:
        check("feature_names_in_", names, _NAMES)
        check("feature_names_in_", names, (lambda array: array.shape == (n_features,), f"{n_features} names"))
        model.feature_names_in_ = names
    if "encoding_" in fitted:
        check("encoding_", fitted["encoding_"], _ENCODING)
        width = sum(Column(*column).width for column in fitted["encoding_"])
        check("encoding_", width, (lambda n: n == n_features, f"columns that become {n_features} features"))
        model.encoding_ = fitted["encoding_"]


def restore_linear(model: Any, fitted: Any) -> None:
    """Check that ``linear_state`` could have made these values, and set the fitted attributes of a linear model."""
    lacking = {"validation_loss_curve_": None}  # in files from before linear models had it
    required = [name for name in (*_IN_BOTH, *_LINEAR, *_LINEAR_ARRAYS) if name not in lacking]
    fitted = {**lacking, **entries(fitted, "fitted", required, (*_OPTIONAL, *lacking))}
    coef, intercept, mean, last = (fitted[name] for name in _LINEAR_ARRAYS)
    is_csr = sparse.issparse(coef) and coef.format == "csr"
    if not (is_csr or isinstance(coef, np.ndarray)) or coef.dtype not in (np.float64, np.float32) or coef.ndim != 2:
        raise ValueError(f"coef_ must be a matrix of float64 or float32, got {reprlib.repr(coef)}")
    _set(model, fitted, _LINEAR, coef.shape[1], 2)
    n_rows = 1 if len(model.classes_) == 2 else len(model.classes_)
    if coef.shape[0] != n_rows or not coef.shape[1]:
        raise ValueError(f"coef_ must have {n_rows} rows for {len(model.classes_)} classes, got shape {coef.shape}")

    def check_pair(name: str, W: Any, b: Any) -> None:
        for array, shape in (W, coef.shape), (b, (n_rows,)):
            is_array = isinstance(array, np.ndarray) or array is coef
            if not is_array or array.dtype != coef.dtype or array.shape != shape:
                raise ValueError(f"{name} must be of {coef.dtype} and have shape {shape}, got {reprlib.repr(array)}")

    check_pair("coef_ and intercept_", coef, intercept)
    if mean is not None:
        check("_mean", mean, (lambda v: isinstance(v, tuple) and len(v) == 3 and _is_whole(v[2]), "an average"))
        check_pair("_mean", *mean[:2])
    if last is not None:
        check("_last", last, (lambda v: isinstance(v, tuple) and len(v) == 2, "a pair of arrays"))
        check_pair("_last", *last)
    model.coef_, model.intercept_, model._mean, model._last = coef, intercept, mean, last


def restore_mlp(model: Any, fitted: Any) -> None:
    """Check that ``mlp_state`` could have made these values, and set the fitted attributes of a perceptron."""
    required = (*_IN_BOTH, *_MLP, "out_activation_", "layers", "optimiser", "watch")
    entries(fitted, "fitted", required, (*_OPTIONAL, "loss_"))
    network, top = network_of(fitted["layers"]), fitted["out_activation_"]
    check("out_activation_", top, _TOP)
    _set(model, fitted, _MLP, network.widths[0], 1)
    n_outputs, n_classes = network.widths[-1], len(model.classes_)
    several = top == "logistic" and n_outputs > 1
    if n_outputs == 1:
        possible = n_classes <= 2
    elif several:
        possible = np.array_equal(model.classes_, np.arange(n_outputs))
    else:
        possible = n_outputs == n_classes > 2
    if top != ("logistic" if several or n_outputs == 1 else "softmax") or not possible:
        raise ValueError(f"{n_classes} classes can not have {n_outputs} outputs of a {top}")
    if "loss_" in fitted:
        check("loss_", fitted["loss_"], _NUMBER)
        model.loss_ = fitted["loss_"]
    model.out_activation_, model.n_outputs_, model.n_layers_ = top, n_outputs, len(network.widths)
    model._network = network
    model._bind()
    model._label_binarizer = _label_binarizer(model.classes_, several)
    model._optimiser = None if fitted["optimiser"] is None else _optimiser(fitted["optimiser"], network)
    model._plateau = None if fitted["watch"] is None else _plateau(fitted["watch"])


def _label_binarizer(classes: NDArray[Any], several: bool) -> Any:
    # Three labels of each class: with too few, scikit-learn warns that this may be a regression.
    indices = np.arange(len(classes)).repeat(3)
    binarizer = LabelBinarizer().fit(np.zeros((1, len(classes)), int) if several else indices)
    binarizer.classes_ = classes
    return binarizer


def _optimiser(values: Any, network: Network) -> SGD | Adam:
    rates = ("learning_rate", "beta_1", "beta_2", "epsilon")
    entries(values, "optimiser", ("kind", *rates, "state", "t"))
    check("kind of the optimiser", values["kind"], (lambda kind: kind in [*_OPTIMISERS], " or ".join(_OPTIMISERS)))
    for name in rates:
        check(f"{name} of the optimiser", values[name], _FINITE)
    check("t of the optimiser", values["t"], _WHOLE)
    kind, state, rate, momentum = values["kind"], values["state"], values["learning_rate"], values["beta_1"]
    optimiser: SGD | Adam
    if kind == "adam":
        optimiser = Adam(network, rate, momentum, values["beta_2"], values["epsilon"])
        optimiser.t = values["t"]
    else:
        optimiser = SGD(network, rate, momentum, nesterov=kind == "nesterov", simple=kind == "in place")
    own = optimiser.state
    fits = state is None if own is None else isinstance(state, np.ndarray) and _like(state) == _like(own)
    if optimiser.kind != _OPTIMISERS[kind] or not fits:
        raise ValueError(f"the state of the optimiser does not fit its kind, {kind}, and the layers")
    if own is not None:
        own[:] = state
    return optimiser


def _like(array: NDArray[Any]) -> tuple[Any, ...]:
    return array.shape, array.dtype


def _plateau(values: Any) -> Plateau:
    entries(values, "watch", ("tol", "sign", "best", "count"))
    check("tol of the watch", values["tol"], _NUMBER)
    check("sign of the watch", values["sign"], (lambda sign: sign in [1, -1], "1 or -1"))
    check("best of the watch", values["best"], _NUMBER)
    check("count of the watch", values["count"], _WHOLE)
    plateau = Plateau(values["tol"], rising=values["sign"] == 1)
    plateau.best, plateau.count = values["best"], values["count"]
    return plateau


# ---------------------------------------------------------------- layers


def with_two_scores(layers: list[Layer]) -> list[Layer]:
    """The same layers, but a single logit becomes two scores: 0 for the first class, the logit for the second."""
    *hidden, last = layers
    if len(last["bias"]) == 1:
        last = {name: np.concatenate([np.zeros_like(array), array]) for name, array in last.items()}
    return [*hidden, last]


def with_classes(
    layers: list[Layer], top: str | None, several: bool, classes: ArrayLike | None
) -> tuple[list[Layer], NDArray[Any]]:
    """The layers with their outputs in the order of the sorted classes, and these classes; two classes get one logit.

    ``classes`` holds the class of each output; None numbers the outputs. ``several`` marks a multi-label model.
    """
    if len(layers[-1]["bias"]) == 1 and top == "softmax":
        raise ValueError("a softmax of one output is always 1: the module must end in a Sigmoid, or have more outputs")
    *hidden, last = with_two_scores(layers)
    n = len(last["bias"])
    if several and classes is not None:
        raise ValueError("classes can not be given for several labels: they are the numbers of the outputs")
    given = np.arange(n) if classes is None else np.asarray(classes)
    known, order = np.unique(given, return_index=True)
    if given.shape != (n,) or len(known) != n:
        raise ValueError(f"classes must be {n} different ones, got {reprlib.repr(classes)}")
    if not several:
        last = {name: array[order] for name, array in last.items()}
        if n == 2:
            last = {name: array[1:] - array[:1] for name, array in last.items()}
    return [*hidden, last], known
