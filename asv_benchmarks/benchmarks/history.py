"""What every commit has had: public names alone, so that one suite measures the whole history. See ``history.py``.

Both arms of a pair run in turn; a figure is the median of the rounds' ratios, how many times faster fastclf is. A commit
that lacks a name, or an argument, has no figure there.
"""

import importlib
import os
import statistics
import time
import warnings
from functools import partial

import numpy as np

from . import publish

version = "1"
QUICK = bool(os.environ.get("FASTCLF_BENCH_QUICK"))
ROUNDS = 2 if QUICK else 7
EPOCHS = 3 if QUICK else 40  # long enough for what a call does once, and for the other arm's threads to go to sleep


def data(m, n, c, dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.random((m, n)).astype(dtype), rng.integers(0, c, m)


def over_numpy(train, *shape):
    """A pair of the lab: ``train(lab, X, y)`` on fastclf, and in plain NumPy."""

    def pair():
        X, y = data(*shape)
        return [partial(train, importlib.import_module(lab), X, y) for lab in ("fastclf", "fastclf.reference")]

    return pair


def linear(iterations, batch):
    return over_numpy(
        lambda lab, X, y: lab.train_model(X, np.eye(4)[y], 0.1, iterations, batch, multiclass=True), 160, 3, 4
    )


def digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X / 16, y


def images():
    return data(1280, 3072, 10, np.float32)


def estimator(ours, module, theirs, samples=digits, **parameters):
    """A pair of estimators, which fit the same samples."""

    def pair():
        X, y = samples()
        mine = getattr(importlib.import_module("fastclf"), ours)(random_state=0, **parameters)
        other = getattr(importlib.import_module(module), theirs)
        named = {"loss": "log_loss"} if theirs == "SGDClassifier" else {}
        peer = other(random_state=0, **parameters, **named)
        return lambda: mine.fit(X, y), lambda: peer.fit(X, y)

    return pair


def prediction():
    from sklearn.neural_network import MLPClassifier

    from fastclf import FastMLPClassifier

    X, y = digits()
    models = [of(random_state=0, max_iter=5).fit(X, y) for of in (FastMLPClassifier, MLPClassifier)]
    return tuple(lambda model=model: [model.predict(X[i : i + 10]) for i in range(500)] for model in models)


PAIRS = {
    "train_model_batch": linear(50 * EPOCHS, True),
    "train_model_sgd": linear(10 * EPOCHS, False),
    "image_linear": over_numpy(
        lambda lab, X, y: lab.train(lab.ImageLinearClassifier(768, 10), X, y, EPOCHS, 0.1), 1000, 768, 10, np.float32
    ),
    "mlp_of_the_lab": over_numpy(
        lambda lab, X, y: lab.MLPClassifier(64, 32, 10).train(X.T, y, 10 * EPOCHS, 0.1), 200, 64, 10
    ),
    "mlp_digits": estimator("FastMLPClassifier", "sklearn.neural_network", "MLPClassifier", max_iter=10),
    "mlp_images": estimator("FastMLPClassifier", "sklearn.neural_network", "MLPClassifier", images, max_iter=3),
    "linear_digits": estimator("FastLinearClassifier", "sklearn.linear_model", "SGDClassifier", max_iter=5, tol=None),
    "prediction": prediction,
}


def ratio(make):
    """How many times faster the first arm is; NaN if a commit does not have it."""
    try:
        arms = make()
        for arm in arms:  # compiles
            arm()
    except (ImportError, AttributeError, TypeError):
        return float("nan")
    ratios = []
    for _ in range(ROUNDS):
        seconds = []
        for arm in arms:
            start = time.perf_counter()
            arm()
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios)


def setup_cache():
    import contextlib
    import io

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # the lab prints
        warnings.simplefilter("ignore")
        return {name: ratio(make) for name, make in PAIRS.items()}


def of_pair(name):
    def setup(measured):
        if np.isnan(measured[name]):
            raise NotImplementedError

    def track(measured):
        return measured[name]

    track.setup, track.unit = setup, "x"
    return track


publish(globals(), {f"track_{name}": of_pair(name) for name in PAIRS})
