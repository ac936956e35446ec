"""A fit that is refused, or fails, leaves the old model or none: never a mixture."""

import copy
import warnings

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from fastclf import FastLinearClassifier, FastMLPClassifier
from fastclf.estimators import base

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 5)), RNG.integers(0, 3, 60)
MODELS = {
    "linear": FastLinearClassifier(max_iter=5, tol=None, random_state=0),
    "average": FastLinearClassifier(max_iter=5, tol=None, average=True, random_state=0),
    "full": FastLinearClassifier(max_iter=5, tol=None, batch_size="full", random_state=0),
    "mlp": FastMLPClassifier((7,), max_iter=5, random_state=0),
    "warm": FastMLPClassifier((7,), max_iter=5, random_state=0, warm_start=True),
}
REFUSED = {
    "one class": lambda m: m.fit(X, np.zeros(60)),
    "real targets": lambda m: m.fit(X, RNG.random(60)),
    "too few labels": lambda m: m.fit(X, Y[:5]),
    "another width": lambda m: m.partial_fit(X[:, :3], Y),
    "NaN": lambda m: m.fit(np.where(X > 2, np.nan, X), Y),
    "another class": lambda m: m.partial_fit(X, Y + 7),
    "negative weights": lambda m: m.fit(X, Y, sample_weight=-np.ones(60)),
    "few weights": lambda m: m.fit(X, Y, sample_weight=np.ones(6)),
    "weights at partial_fit": lambda m: m.partial_fit(X, Y, sample_weight=-np.ones(60)),
    "a parameter": lambda m: m.set_params(alpha=-1.0).fit(X, Y),
    "class weights": lambda m: m.set_params(class_weight={0: -1.0, 1: 1.0, 2: 1.0}).fit(X, Y),
    "threads": lambda m: m.set_params(n_jobs=0).fit(X, Y),
    "memory": lambda m: out_of_memory(m).fit(X[:, :4], Y),
}


def out_of_memory(model):
    def weights(*args):
        raise MemoryError

    model._weights = weights
    return model


def takes(call, model):
    """Whether a model takes what others refuse, as scikit-learn's does."""
    linear = isinstance(model, FastLinearClassifier)
    if call == "one class":
        return not linear and not model.warm_start
    return call in ("negative weights", "weights at partial_fit") and linear and model.batch_size == "auto"


@pytest.fixture(params=MODELS)
def fitted(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return copy.deepcopy(MODELS[request.param]).fit(X, Y)


def seen(model):
    """What there is to see of a fitted model."""
    public = {name: value for name, value in vars(model).items() if name.endswith("_") and not name.startswith("_")}
    return copy.deepcopy(public), model.predict_proba(X)


@pytest.mark.parametrize("call", REFUSED)
def test_a_refused_fit_leaves_the_old_model(fitted, call):
    if takes(call, fitted):
        pytest.skip("scikit-learn takes it, too")
    attributes, P = seen(fitted)
    with pytest.raises((ValueError, TypeError, MemoryError)):
        REFUSED[call](fitted)
    vars(fitted).pop("_weights", None)
    after, P_after = seen(fitted.set_params(n_jobs=None, class_weight=None, alpha=1e-4))
    assert attributes.keys() == after.keys()
    for name, value in attributes.items():
        lists = isinstance(value, list)  # of arrays of different shapes, maybe
        for a, b in zip(value, after[name], strict=True) if lists else ((value, after[name]),):
            np.testing.assert_array_equal(a, b, err_msg=name)
    np.testing.assert_array_equal(P, P_after)
    assert "_stage" not in vars(fitted)


@pytest.mark.parametrize("call", REFUSED)
@pytest.mark.parametrize("model", MODELS)
def test_a_refused_first_fit_leaves_no_model(model, call):
    made = copy.deepcopy(MODELS[model])
    if takes(call, made) or (call == "one class" and isinstance(made, FastMLPClassifier)):
        pytest.skip("scikit-learn takes it, too")
    with pytest.raises((ValueError, TypeError, MemoryError)):
        REFUSED[call](made)
    with pytest.raises(NotFittedError):
        made.predict(X)


HUGE = X * 1e300
DIVERGING = {
    "linear": (FastLinearClassifier(learning_rate="constant", eta0=1e308, batch_size=1, max_iter=9), X),
    "huge features": (FastLinearClassifier(batch_size=1, max_iter=9), HUGE),
    "mlp": (FastMLPClassifier(solver="sgd", learning_rate_init=1e200, batch_size=10, max_iter=9), X),
    "mlp, huge features": (FastMLPClassifier(solver="sgd", batch_size=10, max_iter=9), HUGE),
}


@pytest.mark.parametrize("name", DIVERGING)
@pytest.mark.parametrize("call", ["fit", "partial_fit", "warm"])
def test_after_a_divergence_predict_does_not_answer(name, call):
    model, data = copy.deepcopy(DIVERGING[name][0]), DIVERGING[name][1]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if call == "warm":
            model = type(model)(max_iter=2, warm_start=True).fit(X, Y).set_params(**model.get_params())
            model.warm_start = True
        with pytest.raises(ValueError, match=r"non-finite|under-/overflow"):
            model.partial_fit(data, Y, classes=[0, 1, 2]) if call == "partial_fit" else model.fit(data, Y)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_features_too_large_for_a_rate_are_refused():
    """Full batches at the rate "optimal" need the squares of the features."""
    with pytest.raises(ValueError, match="X has features too large"):
        FastLinearClassifier(batch_size="full").fit(HUGE, Y)
    with pytest.raises(ValueError, match="l1_ratio"):
        FastLinearClassifier(penalty="elasticnet", l1_ratio=None).fit(X, Y)


def test_an_exception_in_training_leaves_no_model(fitted, monkeypatch):
    def epoch(*args, **how):
        raise MemoryError

    monkeypatch.setattr(base.Reporter, "epoch", epoch)
    with pytest.raises(MemoryError):
        fitted.fit(X, Y)
    with pytest.raises(NotFittedError):
        fitted.predict(X)
