"""A small set in mini-batches, and a network to train on them."""

import math

import numpy as np
import pytest

import fastclf

M, N, C = 45, 12, 3
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((M, N)), RNG.integers(0, C, M)
BYTES = RNG.integers(0, 256, (M, 2, 2, 3), np.uint8)


class Plain:
    """A loader that hides what it is made of, so that it is asked for every batch."""

    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        return iter(self.loader)


def network(dtype, n, c, **how):
    model = fastclf.DeepMLPClassifier(n, 7, c, dtype=dtype, random_state=0, **how)
    for name, gain in (("W1", 60), ("W3", 60), ("W2", 60)):  # far enough from 0 that every batch matters
        setattr(model, name, gain / math.sqrt(n) * getattr(model, name))
    return model


def trained(loader, dtype=np.float64, n=N, c=C, epochs=3, **how):
    """What there is to see after training: losses, parameters, the last batch."""
    model = network(dtype, n, c, **how)
    losses = model.train(loader, epochs, 0.1, verbose=False)
    return [losses, model.W1, model.b1, model.W3, model.b3, model.W2, model.b2, model.A1, model.A2]


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


#: Sets with a fault, and what the error says.
BAD = {
    "NaN": (np.where(np.arange(N) == 3, np.nan, X), Y, r"X of train_loader must be finite, got nan at \(0, 3\)"),
    "labels": (X, Y + 1, "y of train_loader must lie in 0 … 2, got labels from 1 to 3"),
    "float labels": (X, Y.astype(float), "y of train_loader must hold integer class labels"),
    "features": (X[:, 1:], Y, "train_loader must yield 12 features per sample, got images of"),
}


def is_refused(loader, message):
    """The fault is found before a step is taken."""
    model = network(np.float64, N, C)
    before = model.W1.copy()
    with pytest.raises((ValueError, TypeError), match=message):
        model.train(loader, 2, 0.1, verbose=False)
    np.testing.assert_array_equal(model.W1, before)
