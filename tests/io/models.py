"""A model of every kind and dtype, to be converted."""

import numpy as np
import pytest

from fastclf import DeepMLPClassifier, FastLinearClassifier, FastMLPClassifier, ImageLinearClassifier, MLPClassifier

from ..helpers import problem

N, H, C = 6, 5, 3
P = problem(60, N, C)
TWO, NAMES = P.labels > 0, np.array(["ant", "bee", "cat"])[P.labels]
SEVERAL = np.eye(C, dtype=int)[P.labels] | np.eye(C, dtype=int)[(P.labels + 1) % C]
TOLERANCE = 1e-6


def lab_model(cls, sizes, dtype):
    model = cls(*sizes, dtype=dtype, random_state=1)
    model._network.params[:] = np.random.default_rng(2).standard_normal(len(model._network.params))
    return model


#: Every kind of model, of a dtype.
MODELS = {
    "image": lambda dtype: lab_model(ImageLinearClassifier, (N, C), dtype),
    "mlp": lambda dtype: lab_model(MLPClassifier, (N, H, C), dtype),
    "deep": lambda dtype: lab_model(DeepMLPClassifier, (N, H, C), dtype),
    "one of each": lambda dtype: lab_model(MLPClassifier, (1, 1, 1), dtype),
    "linear": lambda dtype: fit(FastLinearClassifier, NAMES, dtype),
    "linear, two": lambda dtype: fit(FastLinearClassifier, TWO, dtype),
    "linear, sparse": lambda dtype: fit(
        FastLinearClassifier, NAMES, dtype, penalty="l1", alpha=0.05, batch_size="full"
    ).sparsify(),
    "estimator": lambda dtype: fit(FastMLPClassifier, NAMES, dtype, hidden_layer_sizes=(7, 4)),
    "estimator, two": lambda dtype: fit(FastMLPClassifier, TWO, dtype),
    "estimator, several": lambda dtype: fit(FastMLPClassifier, SEVERAL, dtype),
    "estimator, tanh": lambda dtype: fit(FastMLPClassifier, NAMES, dtype, hidden_layer_sizes=(7, 4), activation="tanh"),
    "estimator, logistic": lambda dtype: fit(FastMLPClassifier, TWO, dtype, activation="logistic"),
    "estimator, identity": lambda dtype: fit(FastMLPClassifier, NAMES, dtype, activation="identity"),
    "estimator, no hidden layer": lambda dtype: fit(FastMLPClassifier, NAMES, dtype, hidden_layer_sizes=()),
}
every_model = pytest.mark.parametrize("name", MODELS)


def fit(kind, y, dtype, **how):
    return kind(**{"max_iter": 30, "random_state": 0, **how}).fit(P.X.astype(dtype), y)


def samples(model, dtype, m=60):
    n = N if isinstance(model, (FastLinearClassifier, FastMLPClassifier)) else model._network.widths[0]
    return np.random.default_rng(3).standard_normal((m, n)).astype(dtype)


def outputs(model, X):
    """What a module has to give for samples as rows."""
    if isinstance(model, ImageLinearClassifier):
        return model.predict(X).T
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.forward(X.T).T
