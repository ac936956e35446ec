"""Predictions: an array that needs no conversion is taken as it is, and is proved to be right all the same."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from fastclf import FastLinearClassifier, FastMLPClassifier

from .data import load

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load("digits")
SEVERAL = np.eye(10, dtype=int)[y] | np.eye(10, dtype=int)[(y + 1) % 10]
MODELS = {
    "linear": lambda X, y: FastLinearClassifier(max_iter=3, tol=None, random_state=0).fit(X, y),
    "mlp": lambda X, y: FastMLPClassifier((20,), max_iter=3, random_state=0).fit(X, y),
}
METHODS = "predict", "predict_proba", "predict_log_proba"


class Subclass(np.ndarray):
    """What scikit-learn looks at."""


def layouts(data):
    """The same samples in C order, in Fortran's, between other columns, from the last to the first, and unaligned."""
    m, n = data.shape
    bytes_before = np.zeros(data.nbytes + 1, np.uint8)
    unaligned = bytes_before[1:].view(data.dtype).reshape(m, n)
    unaligned[:] = data
    assert not unaligned.flags.aligned
    yield from (data, np.asfortranarray(data), np.hstack([data] * 2)[:, :n], data[::-1].copy()[::-1], unaligned)


def targets(name, kind):
    return {"two": y % 2, "ten": y, "names": np.array([*"abcdefghij"])[y]}[kind]


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.mark.parametrize("kind", ["two", "ten", "names"])
@pytest.mark.parametrize("m", [1, 10, 100, 1700])
def test_the_short_way_gives_the_same_bits_as_the_long_one(name, kind, m, dtype):
    data = X.astype(dtype)
    model = MODELS[name](data, targets(name, kind))
    for method in METHODS:
        call = getattr(model, method)
        expected = call(data[:m].view(Subclass))
        for given in layouts(data[:m]):
            before = given.copy()
            got = call(given)
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)
            np.testing.assert_array_equal(given, before)


def test_the_short_way_is_taken(name, dtype, monkeypatch):
    model = MODELS[name](X.astype(dtype), y)
    monkeypatch.setattr(type(model), "_check", None)
    for given in layouts(X[:20].astype(dtype)):
        assert len(model.predict(given)) == 20
    with pytest.raises(TypeError, match="not callable"):
        model.predict(X[:20].view(Subclass))


def test_several_labels_and_a_single_class():
    several = FastMLPClassifier((20,), max_iter=3, random_state=0).fit(X, SEVERAL)
    np.testing.assert_array_equal(several.predict(X[:9]), several.predict_proba(X[:9]) > 0.5)
    single = FastMLPClassifier((3,), max_iter=2).fit(X[:9], ["only"] * 9)
    assert single.predict(X[:3]).tolist() == ["only"] * 3


@pytest.mark.parametrize("m", [1, 500])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(name, m, bad, dtype):
    data = X.astype(dtype)
    model = MODELS[name](data, y)
    for at in ((0, 0), (m - 1, -1), (m // 2, 30)):
        spoilt = data[:m].copy()
        spoilt[at] = bad
        for method in METHODS:
            with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
                getattr(model, method)(spoilt)


def test_large_features_are_no_infinities(name):
    """Their product with themselves overflows: then the other checks decide."""
    model = MODELS[name](X, y)
    large = X[:2] * 1e200
    assert set(model.predict(large)) <= set(y)


@pytest.mark.parametrize("m", [1, 70, 3000])
def test_a_sum_that_overflows_is_no_infinity(m, dtype):
    """The first unit's sum is infinite, which only looks like infinity in X; then the answer is the model's own."""
    data = np.resize(X, (m, 64)).astype(dtype)
    model = FastMLPClassifier((20,), max_iter=3, random_state=0).fit(X.astype(dtype), y)
    model.coefs_[0][:, 0] = -np.finfo(dtype).max  # ReLU makes 0 of minus infinity
    expected = model.predict_proba(np.asfortranarray(data) if m > 1 else np.hstack([data, data])[:, :64])
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(model.predict_proba(data), expected)
    np.testing.assert_array_equal(model.predict(data), expected.argmax(axis=1))


@pytest.mark.parametrize("layers", [(), (7,), (7, 5)])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_no_weight_hides_what_is_not_finite(layers, weight, dtype):
    model = FastMLPClassifier(layers, max_iter=1, random_state=0).fit(X.astype(dtype), y)
    for coef in model.coefs_:
        coef[:] = weight
    for bad in (np.nan, np.inf, -np.inf):
        for at in ((0, 0), (1500, 63)):
            spoilt = X.astype(dtype)
            spoilt[at] = bad
            for method in METHODS:
                with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
                    getattr(model, method)(spoilt)


@pytest.mark.parametrize(
    "wrong",
    [X[:, :-1], X[0], X[:0], X[None, :3], X[:2].astype(complex), np.full((2, 64), "x", object)],
    ids=["narrow", "one-dimensional", "empty", "three-dimensional", "complex", "strings"],
)
def test_what_does_not_fit_is_refused(name, wrong):
    model = MODELS[name](X, y)
    for method in METHODS:
        with pytest.raises(ValueError, match=r"features|dimension|dim |2D|minimum|Complex|convert"):
            getattr(model, method)(wrong)


def test_what_has_not_been_fitted_is_refused():
    for kind in (FastLinearClassifier, FastMLPClassifier):
        for method in METHODS:
            with pytest.raises(NotFittedError):
                getattr(kind(), method)(X)


def test_names_of_features_are_still_compared(name):
    frame = pd.DataFrame(X[:50], columns=[f"pixel {k}" for k in range(X.shape[1])])
    model = MODELS[name](frame, y[:50])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X[:5])
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[frame.columns[::-1]])


def test_arrays_are_not_modified_and_may_be_read_only(name):
    model, data = MODELS[name](X, y), X[:20].copy()
    data.flags.writeable = False
    expected = model.predict_proba(X[:20])
    np.testing.assert_array_equal(model.predict_proba(data), expected)
    np.testing.assert_array_equal(data, X[:20])


def test_earlier_results_stay_when_scratch_is_used_again(name):
    model = MODELS[name](X, y)
    first = model.predict_proba(X[:5])
    kept = first.copy()
    model.predict_proba(X[5:10])
    np.testing.assert_array_equal(first, kept)


def test_threads_that_predict_at_once_do_not_share_scratch(name):
    model = MODELS[name](X, y)
    parts = [X[k : k + 7] for k in range(0, 700, 7)]
    expected = [model.predict_proba(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        for got, wanted in zip(pool.map(model.predict_proba, parts * 5), expected * 5):
            np.testing.assert_array_equal(got, wanted)


def test_scratch_is_neither_large_nor_pickled():
    model = MODELS["mlp"](X, y)
    before = len(pickle.dumps(model))
    model.predict(X)
    model.predict(X[:1])
    [work] = model._network.spare
    assert work.buffer.nbytes <= 1 << 20
    wide = FastMLPClassifier((2000,), max_iter=1).fit(X, y)
    wide.predict(X)
    assert not wide._network.spare
    assert len(pickle.dumps(model)) == before
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
