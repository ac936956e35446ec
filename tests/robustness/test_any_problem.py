"""Any problem that a user may give, beside the lab in plain NumPy: shapes, dtypes, memory layouts and options at random.

``FASTCLF_EXAMPLES=5000`` tries more than the few hundred of every run.
"""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastclf
from fastclf import reference

from ..helpers import assert_close

EXAMPLES = int(os.environ.get("FASTCLF_EXAMPLES", "0"))
LIMITS = settings(max_examples=EXAMPLES or 60, derandomize=not EXAMPLES, deadline=None)
# A few steps of a problem whose logits stay small: float64 rounds to 1e-16, float32 to 6e-8, some hundred times.
TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 2e-4}

sizes = st.one_of(st.integers(1, 20), st.integers(1, 140))
LAYOUTS = {
    "as it is": lambda A: A,
    "Fortran": np.asfortranarray,
    "every second row": lambda A: np.repeat(A, 2, axis=0)[::2],
    "backwards": lambda A: A[::-1].copy()[::-1],
    "a part of a wider one": lambda A: np.hstack([A, A])[:, : A.shape[1]],
    "read-only": lambda A: np.frombuffer(A.tobytes(), A.dtype).reshape(A.shape),
    "at an odd address": lambda A: np.frombuffer(b"x" + A.tobytes(), A.dtype, offset=1).reshape(A.shape),
    "big-endian": lambda A: A.astype(A.dtype.newbyteorder(">")),
    "a list": lambda A: A.tolist(),
}
layouts = st.sampled_from(sorted(LAYOUTS))
dtypes = st.sampled_from([np.dtype(np.float64), np.dtype(np.float32)])
stored = st.sampled_from(["float64", "float32", "uint8", "int16", "bool"])


@st.composite
def problems(draw, least_classes=2):
    m, n, c = draw(sizes), draw(sizes), draw(st.integers(least_classes, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(stored)
    X = rng.standard_normal((m, n)) if kind.startswith("float") else rng.integers(0, 2 if kind == "bool" else 4, (m, n))
    return X.astype(kind), rng.integers(0, c, m), c, draw(layouts)


def both(problem, train):
    """What fastclf and the reference make of one problem; the reference sees plain arrays of float64."""
    X, y, c, layout = problem
    found = []
    for lib, data in ((fastclf, LAYOUTS[layout](X)), (reference, X.astype(np.float64))):
        np.random.seed(3)
        found.append(train(lib, data, y, c))
    return found


@LIMITS
@given(problems(), dtypes, st.booleans(), st.integers(1, 4))
def test_train_model(problem, dtype, batch, iterations):
    def train(lib, X, y, c):
        own = {"dtype": dtype, "verbose": False} if lib is fastclf else {}
        return lib.train_model(X, np.eye(c)[y], 0.01, iterations, batch, True, **own)

    (theta, losses), (expected, expected_losses) = both(problem, train)
    assert theta.dtype == dtype
    assert_close(TOLERANCE[dtype], theta=(theta, expected), losses=(losses, expected_losses))


@LIMITS
@given(problems(), dtypes, st.booleans(), st.integers(1, 4))
def test_train_model_of_two_classes(problem, dtype, batch, iterations):
    def train(lib, X, y, c):
        own = {"dtype": dtype, "verbose": False} if lib is fastclf else {}
        return lib.train_model(X, (y % 2).reshape(-1, 1), 0.01, iterations, batch, False, **own)

    (theta, losses), (expected, expected_losses) = both(problem, train)
    assert_close(TOLERANCE[dtype], theta=(theta, expected), losses=(losses, expected_losses))


@LIMITS
@given(problems(least_classes=1), dtypes, st.integers(1, 3))
def test_image_classifier(problem, dtype, epochs):
    def train(lib, X, y, c):
        own, quiet = ({"dtype": dtype}, {"verbose": False}) if lib is fastclf else ({}, {})
        model = lib.ImageLinearClassifier(np.shape(X)[1], c, **own)
        return model, lib.train(model, X, y, epochs, 0.01, **quiet)

    (ours, losses), (expected, expected_losses) = both(problem, train)
    assert_close(TOLERANCE[dtype], W=(ours.W, expected.W), b=(ours.b, expected.b), losses=(losses, expected_losses))


@LIMITS
@given(problems(), dtypes, sizes, st.integers(1, 3))
def test_networks(problem, dtype, hidden, epochs):
    def train(lib, X, y, c):
        own, quiet = ({"dtype": dtype}, {"verbose": False}) if lib is fastclf else ({}, {})
        X = np.asarray(X)
        model = lib.MLPClassifier(X.shape[1], hidden, c, **own)
        losses = model.train(X.T, y, epochs, 0.05, **quiet)
        deep = lib.DeepMLPClassifier(X.shape[1], hidden, c, **own)
        batches = [(X[i : i + 7], y[i : i + 7]) for i in range(0, len(X), 7)]
        return model, losses, deep, deep.train(batches, epochs, 0.05, 1, 0.9, **quiet)

    (ours, losses, deep, deep_losses), (theirs, expected, their_deep, expected_deep) = both(problem, train)
    assert_close(
        TOLERANCE[dtype], W1=(ours.W1, theirs.W1), W2=(ours.W2, theirs.W2), losses=(losses, expected),
        deep_W3=(deep.W3, their_deep.W3), deep_losses=(deep_losses, expected_deep),
    )  # fmt: skip


@LIMITS
@given(problems(), st.sampled_from(["linear", "mlp"]), st.sampled_from([1, 16, "full"]))
def test_estimators_do_not_care_how_data_lie(problem, kind, batch_size):
    X, y, _, layout = problem
    y[0] = 1 - y[0] if len(np.unique(y)) < 2 else y[0]
    if len(np.unique(y)) < 2 or (batch_size == "full" and kind == "mlp"):
        return
    made = []
    for data in (X, LAYOUTS[layout](X)):
        if kind == "linear":
            model = fastclf.FastLinearClassifier(max_iter=2, tol=None, random_state=0, batch_size=batch_size)
        else:
            model = fastclf.FastMLPClassifier((5,), max_iter=2, random_state=0, batch_size=min(batch_size, len(X)))
        try:
            made.append(model.fit(data, y).predict_proba(data))
        except ValueError as error:  # rates that are too large for a problem are so for any layout
            made.append(str(error).partition(" at epoch")[0])
    if X.dtype in (np.float32, np.uint8, np.int16, bool) and layout == "a list":
        return  # a list is float64
    if isinstance(made[0], str):
        assert made[0] == made[1]
    else:
        np.testing.assert_allclose(made[1], made[0], rtol=1e-6, atol=1e-7)


@pytest.fixture(autouse=True)
def quietly(recwarn):
    """scikit-learn warns of fits that have not converged."""
