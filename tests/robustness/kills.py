"""Runs that are killed: as a script, train one of them with checkpoints, and write the bits of what comes out.

python -m tests.robustness.kills NAME CHECKPOINT RESULT
"""

import sys
import time
import warnings
from contextlib import ExitStack
from datetime import timedelta
from unittest import mock

import numpy as np
from scipy import sparse

import fastclf
from fastclf.engine import minibatch, sgd
from fastclf.engine.progress import Reporter

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((300, 12)), RNG.integers(0, 3, 300)
SPARSE = sparse.random(300, 40, 0.2, "csr", random_state=0)
EPOCHS = 60


def model_of(estimator, X=X, **data):
    def train(**how):
        estimator.fit(X, Y, **data, **how)
        return [estimator.predict_proba(X), estimator.loss_curve_, *estimator._first_layer(), estimator.t_]

    return train


def go_on(*_):
    """A callback, with which a stretch is one epoch."""


def lab(model, train):
    def run(**how):
        losses = train(model, verbose=False, callback=go_on, **how)
        return [losses, *model._network.weights, *model._network.biases]

    return run


def loader():
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(3)
    return DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=32, shuffle=True)


def deep(make):
    def run(**how):
        np.random.seed(7)
        return lab(
            fastclf.DeepMLPClassifier(12, 9, 3, random_state=0),
            lambda model, **how: model.train(make(), EPOCHS, 0.05, 7, 0.9, patience=100, **how),
        )(**how)

    return run


LINEAR = {"max_iter": EPOCHS, "tol": None, "random_state": 0}
MLP = {"hidden_layer_sizes": (9, 7), "max_iter": EPOCHS, "random_state": 0, "n_iter_no_change": 1000}
RUNS = {
    "train_model": lambda **how: fastclf.train_model(
        X, np.eye(3)[Y], 0.05, EPOCHS, False, True, random_state=0, verbose=False, callback=go_on, **how
    ),
    "image": lab(
        fastclf.ImageLinearClassifier(12, 3, random_state=0),
        lambda model, **how: fastclf.train(model, X, Y, EPOCHS, 0.1, **how),
    ),
    "mlp": lab(
        fastclf.MLPClassifier(12, 9, 3, random_state=0), lambda model, **how: model.train(X.T, Y, EPOCHS, 0.5, **how)
    ),
    "deep, batches": deep(lambda: fastclf.Batches(X, Y, 32, True)),
    "deep, a loader": deep(loader),
    "linear": model_of(fastclf.FastLinearClassifier(**LINEAR)),
    "linear, l1, average": model_of(
        fastclf.FastLinearClassifier(penalty="elasticnet", average=7000, learning_rate="adaptive", eta0=0.01, **LINEAR)
    ),
    "linear, batches": model_of(
        fastclf.FastLinearClassifier(batch_size=32, average=True, early_stopping=True, **LINEAR)
    ),
    "linear, validation": model_of(fastclf.FastLinearClassifier(average=900, **LINEAR), X_val=X[:50], y_val=Y[:50]),
    "linear, sparse": model_of(fastclf.FastLinearClassifier(**LINEAR), SPARSE),
    "linear, sparse, full": model_of(fastclf.FastLinearClassifier(batch_size="full", average=True, **LINEAR), SPARSE),
    "adam": model_of(fastclf.FastMLPClassifier(dropout=0.2, early_stopping=True, **MLP)),
    "momentum": model_of(
        fastclf.FastMLPClassifier(solver="sgd", learning_rate="step", step_size=7, **MLP), X_val=X[:50], y_val=Y[:50]
    ),
}


def long_epochs(train):
    """The same run, with epochs that are many kernel calls, and checkpoints between these."""

    def run(**how):
        with ExitStack() as stack:
            for module in (minibatch, sgd):
                stack.enter_context(mock.patch.object(module, "_CALL_OPERATIONS", 30_000.0))
            return train(**how, checkpoint_every=timedelta(milliseconds=1))

    return run


LONG = (
    "deep, batches", "deep, a loader", "linear", "linear, l1, average", "linear, batches", "linear, sparse", "adam",
    "momentum",
)  # fmt: skip
for name in LONG:
    RUNS[f"long epochs: {name}"] = long_epochs(RUNS[name])


def bits(values):
    """What came out, as bytes."""
    return b"".join(np.ascontiguousarray(value, np.float64).tobytes() for value in values)


def slow_down(seconds=0.01):
    """Let every epoch take some time, so that there are moments to kill the run in."""
    report = Reporter.epoch

    def epoch(self, *args):
        if not Reporter.seen:
            print("begins", flush=True)
        Reporter.seen += 1
        time.sleep(seconds)
        return report(self, *args)

    part_of = Reporter.on_samples

    def on_samples(self, samples):
        time.sleep(seconds / 5)
        part_of(self, samples)

    Reporter.epoch, Reporter.seen, Reporter.on_samples = epoch, 0, on_samples


if __name__ == "__main__":
    name, checkpoint, result = sys.argv[1:]
    slow_down()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        came_out = bits(RUNS[name](checkpoint=checkpoint, resume=True))
    print(Reporter.seen, "epochs", flush=True)
    with open(result, "wb") as file:
        file.write(came_out)
