"""Train every trainer on small problems from fixed seeds, and digest what each has learned, for ``commits.py bits``.

The file uses public names only, so that any commit can run it. It prints a JSON object of digests by the names of the cases.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse

import fastclf
from fastclf import (
    Batches,
    DeepMLPClassifier,
    FastLinearClassifier,
    FastMLPClassifier,
    ImageLinearClassifier,
    MLPClassifier,
)

DTYPES = np.float64, np.float32
CASES: dict[str, Callable[[], list]] = {}


def case(**options):
    """Register a function as one case for each combination of the options; the function returns arrays and numbers."""

    def register(function):
        for values in itertools.product(*options.values()):
            chosen = dict(zip(options, values))
            label = ", ".join(str(getattr(v, "__name__", v)) for v in values)
            CASES[f"{function.__name__}({label})"] = lambda chosen=chosen: function(**chosen)
        return function

    return register


def data(m, n, c, kind=np.float64):
    """Random samples (m, n) of dtype ``kind``, bytes if that is uint8, and labels (m,) of ``c`` classes."""
    rng = np.random.default_rng([m, n, c])
    X, y = rng.standard_normal((m, n)) / np.sqrt(n), rng.integers(0, c, m)
    y[:c] = np.arange(c)
    return (rng.integers(0, 256, (m, n)).astype(np.uint8) if kind == np.uint8 else X.astype(kind)), y


def mapped(X):
    """X as a memory-mapped file."""
    path = Path(tempfile.mkdtemp()) / "X.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


QUIET = {"verbose": False}
SHAPES = (160, 3, 4), (100, 3, 1), (1500, 7, 3), (70, 40, 10), (300, 100, 33)


# ---------------------------------------------------------------- the lab


@case(shape=SHAPES, batch=(True, False), dtype=DTYPES, kind=(np.float64, np.float32, np.uint8))
def train_model(shape, batch, dtype, kind):
    X, y = data(*shape, kind)
    multiclass = shape[2] > 1
    targets = np.eye(shape[2])[y] if multiclass else (np.arange(len(y)) % 2).astype(float)
    scale = 1 / 255 if kind == np.uint8 else 1.0
    return [
        *fastclf.train_model(X, targets, 0.1, 7, batch, multiclass, dtype=dtype, random_state=1, scale=scale, **QUIET)
    ]


@case(batch=(True, False), dtype=DTYPES)
def train_model_on_a_mapped_file(batch, dtype):
    X, y = data(300, 50, 5, np.float32)
    return [*fastclf.train_model(mapped(X), np.eye(5)[y], 0.1, 5, batch, True, dtype=dtype, random_state=1, **QUIET)]


@case(dtype=DTYPES)
def train_model_step(dtype):
    X, y = data(60, 9, 3, dtype)
    return [fastclf.stochastic_gradient_descent_step(X, np.eye(3)[y], np.zeros((9, 3)), 0.1, True)]


@case(dtype=DTYPES, kind=(np.float64, np.uint8))
def image_linear(dtype, kind):
    X, y = data(200, 48, 10, kind)
    model = ImageLinearClassifier(48, 10, dtype=dtype, random_state=0, scale=1 / 255 if kind == np.uint8 else 1.0)
    losses = fastclf.train(model, X, y, 6, 0.1, **QUIET)
    model.gradient_descent(X, y, 0.05)
    return [model.W, model.b, losses, model.predict(X), model.compute_loss(X, y)]


def _lab_network(model):
    return [getattr(model, name) for name in ("W1", "b1", "W2", "b2")] + (
        [model.W3, model.b3] if hasattr(model, "W3") else []
    )


@case(dtype=DTYPES, kind=(np.float64, np.uint8), m=(1, 40, 500, 5000))
def mlp(dtype, kind, m):
    X, y = data(m, 33, 1 if m == 1 else 7, kind)
    model = MLPClassifier(33, 20, 7, dtype=dtype, random_state=0, scale=1 / 255 if kind == np.uint8 else 1.0)
    losses = model.train(X.T, y, 4, 0.3, **QUIET)
    P = model.forward(X.T)
    model.backward(X.T, y, 0.2)
    return [*_lab_network(model), losses, P, model.A2, model.compute_loss(P, y)]


@case(
    dtype=DTYPES,
    clip=(1.0, 1e-3),
    loader=("list", "Batches", "shuffled", "mapped", "bytes", "DataLoader", "one sample"),
)
def deep_mlp(dtype, clip, loader):
    X, y = data(230, 12, 5, np.uint8 if loader == "bytes" else np.float32)
    scale = 1 / 255 if loader == "bytes" else 1.0
    model = DeepMLPClassifier(12, 9, 5, dtype=dtype, random_state=0, scale=scale)
    size = 1 if loader == "one sample" else 50
    batches = [(X[i : i + size], y[i : i + size]) for i in range(0, len(X), size)]
    if loader in ("Batches", "bytes", "mapped"):
        batches = Batches(mapped(X) if loader == "mapped" else X, y, size)
    elif loader == "shuffled":
        batches = Batches(X, y, size, True, random_state=3, drop_last=True)
    elif loader == "DataLoader":
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        torch.manual_seed(0)
        batches = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), size, shuffle=True)
    losses = model.train(batches, 8, 0.5, step_size=3, patience=2, min_delta=0.5, clip_threshold=clip, **QUIET)
    return [*_lab_network(model), losses, model.best_loss, model.A2]


# ---------------------------------------------------------------- the estimators

LINEAR = {
    "default": {},
    "l1": {"penalty": "l1", "alpha": 1e-3},
    "elasticnet": {"penalty": "elasticnet", "learning_rate": "invscaling", "eta0": 0.1},
    "no penalty": {"penalty": None, "learning_rate": "constant"},
    "average": {"average": 50},
    "no intercept": {"fit_intercept": False},
    "adaptive": {"learning_rate": "adaptive", "eta0": 0.5, "max_iter": 40, "tol": 0.1, "n_iter_no_change": 2},
    "early stopping": {"early_stopping": True, "max_iter": 10},
    "balanced": {"class_weight": "balanced"},
    "batch 32": {"batch_size": 32},
    "batch 32, l1, average": {"batch_size": 32, "penalty": "l1", "average": 100},
    "full": {"batch_size": "full"},
    "full, l1, average": {"batch_size": "full", "penalty": "l1", "average": True},
}


def _linear(model):
    return [model.coef_, model.intercept_, model.loss_curve_, model.validation_scores_, model.n_iter_, model.t_]


@case(options=LINEAR, c=(2, 5), kind=(np.float64, np.float32, np.uint8, "csr", "mapped"))
def linear(options, c, kind):
    csr, file = kind == "csr", kind == "mapped"
    X, y = data(260, 30, c, np.float64 if csr or file else kind)
    chosen = {"max_iter": 4, "tol": None, "random_state": 0, **LINEAR[options]}
    if csr:
        if chosen.get("batch_size") == 32:
            return []
        X = scipy.sparse.csr_matrix(np.where(np.abs(X) > 0.2, X, 0))
    X = mapped(X) if file else X
    model = FastLinearClassifier(**chosen).fit(X, y, sample_weight=1 + np.arange(len(y)) % 3)
    found = [*_linear(model), model.predict_proba(X)]
    if not chosen.get("early_stopping") and chosen.get("class_weight") is None:
        model.partial_fit(X, y)
    model.set_params(warm_start=True).fit(X, y)
    return found + _linear(model)


@case(m=(80, 5000), c=(2, 3))
def linear_on_few_and_many(m, c):
    X, y = data(m, 11, c)
    return _linear(FastLinearClassifier(random_state=0, max_iter=6, tol=None).fit(X, y))


MLP = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.1},
    "nesterov off": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate": "invscaling"},
    "plain sgd": {"solver": "sgd", "momentum": 0.0, "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
    "step": {"learning_rate": "step", "step_size": 2, "gamma": 0.3},
    "dropout": {"dropout": 0.3, "hidden_layer_sizes": (20, 10)},
    "clip": {"clip_threshold": 1e-3},
    "clip, plain sgd": {"clip_threshold": 1e-3, "solver": "sgd", "momentum": 0.0},
    "early stopping": {"early_stopping": True},
    "deep": {"hidden_layer_sizes": (20, 10, 5), "batch_size": 64},
    "one layer": {"hidden_layer_sizes": ()},
    "balanced": {"class_weight": "balanced", "shuffle": False},
}


def _mlp(model):
    scores = [model.validation_scores_, model.validation_loss_curve_, model.best_loss_]
    return [*model.coefs_, *model.intercepts_, model.loss_curve_, *scores, model.n_iter_, model.t_]


@case(options=MLP, c=(2, 5, "labels"), kind=(np.float64, np.float32, np.uint8, "mapped"))
def fast_mlp(options, c, kind):
    several, file = c == "labels", kind == "mapped"
    X, y = data(400, 20, 4 if several else c, np.float32 if file else kind)
    if several:
        if "class_weight" in MLP[options]:
            return []
        y = np.eye(4, dtype=int)[y] | np.eye(4, dtype=int)[(3 * y + 1) % 4]
    X = mapped(X) if file else X
    chosen = {"hidden_layer_sizes": (16,), "max_iter": 5, "random_state": 0, **MLP[options]}
    model = FastMLPClassifier(**chosen).fit(X, y, sample_weight=1 + np.arange(len(y)) % 3)
    found = [*_mlp(model), model.predict_proba(X)]
    if not chosen.get("early_stopping") and "class_weight" not in chosen:
        model.partial_fit(X, y)
    model.set_params(warm_start=True).fit(X, y)
    return found + _mlp(model)


@case(kind=(np.float32, np.uint8), early_stopping=(True, False))
def fast_mlp_with_validation_data(kind, early_stopping):
    X, y = data(300, 20, 4, kind)
    X_val, y_val = data(90, 20, 4, kind)
    model = FastMLPClassifier(
        (12,), max_iter=12, random_state=0, early_stopping=early_stopping, learning_rate_init=0.02
    )
    return _mlp(model.fit(X, y, X_val=X_val, y_val=y_val))


@case(kind=(np.float32, np.uint8), options=("adam", "sgd", "dropout", "clip, plain sgd"))
def fast_mlp_in_pieces(kind, options):
    """Batches so large that fastclf works on them in pieces if the samples are bytes."""
    X, y = data(5000, 10, 3, kind)
    chosen = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, "batch_size": 4500, **MLP[options]}
    return _mlp(FastMLPClassifier(**chosen).fit(X, y, sample_weight=1 + np.arange(len(y)) % 3))


@case(cls=(FastLinearClassifier, FastMLPClassifier))
def saved_loaded_and_trained_on(cls):
    X, y = data(200, 15, 3)
    model = cls(random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    path = Path(tempfile.mkdtemp()) / "model"
    model.save(path)
    model = fastclf.load(path).partial_fit(X, y)
    return [model.predict_proba(X), model.predict_log_proba(X), model.t_]


def digest(values) -> str:
    """A digest of everything that a case returns: bits, dtypes and shapes."""
    found = hashlib.sha256()
    for value in values:
        array = np.ascontiguousarray(np.array([], dtype=float) if value is None else value)
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


def main() -> None:
    warnings.simplefilter("ignore")
    results = {}
    for name, run in CASES.items():
        np.random.seed(0)
        if values := run():
            results[name] = digest(values)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
