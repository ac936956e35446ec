"""Validation data of one's own in the linear model; those of the network are in test_mlp.py."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import accuracy_score, log_loss

import fastclf
from fastclf import FastLinearClassifier, FastMLPClassifier
from fastclf.engine.sgd import PerSample

from .data import load

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load("digits")
FEW, REST = slice(0, 60), slice(60, 700)
WEIGHTS = np.random.default_rng(0).random(len(y))
# Too fast and with too few samples: so the best epoch is none of the last.
HOW = {"learning_rate": "constant", "eta0": 0.3, "alpha": 0.0, "max_iter": 40, "tol": None, "random_state": 0}
BINARY = y % 2


def fitted(labels=y, data=X, **how):
    given = {name: how.pop(name) for name in ("X_val", "y_val", "sample_weight_val") if name in how}
    given = {"X_val": data[REST], "y_val": labels[REST], "sample_weight_val": WEIGHTS[REST], **given}
    return FastLinearClassifier(**{**HOW, **how}).fit(data[FEW], labels[FEW], **given)


@pytest.mark.parametrize("labels", [y, BINARY], ids=["ten classes", "two"])
@pytest.mark.parametrize(
    "how",
    [{}, {"penalty": "l1", "alpha": 1e-3}, {"average": 130}, {"batch_size": 7}, {"batch_size": "full", "average": 200}],
    ids=str,
)
@pytest.mark.parametrize("data", [X, sparse.csr_matrix(X)], ids=["dense", "csr"])
def test_the_best_epochs_parameters_remain(data, how, labels, dtype):
    if sparse.issparse(data) and how.get("batch_size") == 7:
        pytest.skip("CSR rows go one by one, or all at once")
    model = fitted(labels, data.astype(dtype), **how)
    curve, scores = model.validation_loss_curve_, model.validation_scores_
    assert len(curve) == len(scores) == len(model.loss_curve_) == model.n_iter_ == 40
    P, best = model.predict_proba(data[REST].astype(dtype)).astype(np.float64), int(np.argmin(curve))
    P /= P.sum(axis=1, keepdims=True)
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    assert log_loss(labels[REST], P, sample_weight=WEIGHTS[REST]) == pytest.approx(curve[best], rel=tolerance)
    right = model.predict(data[REST].astype(dtype))
    assert accuracy_score(labels[REST], right, sample_weight=WEIGHTS[REST]) == pytest.approx(scores[best])
    assert model.coef_.dtype == model.intercept_.dtype == dtype
    shorter = fitted(labels, data.astype(dtype), max_iter=best + 1, **how)
    np.testing.assert_array_equal(shorter.coef_, model.coef_)
    np.testing.assert_array_equal(shorter.intercept_, model.intercept_)


def test_the_best_epoch_is_not_the_last_and_training_does_not_see_validation():
    model = fitted()
    assert np.argmin(model.validation_loss_curve_) < 30
    plain = FastLinearClassifier(**HOW).fit(X[FEW], y[FEW])
    assert plain.loss_curve_ == model.loss_curve_
    assert plain.validation_loss_curve_ is plain.validation_scores_ is None


def test_the_best_epoch_may_come_before_an_average():
    later, never = fitted(average=2300), fitted()
    assert np.argmin(later.validation_loss_curve_) < 30
    np.testing.assert_allclose(later.coef_, never.coef_, rtol=1e-9)
    np.testing.assert_allclose(later.intercept_, never.intercept_, rtol=1e-9)
    again = later.partial_fit(X[REST], y[REST])  # the average goes on from there
    assert np.isfinite(again.coef_).all()


def test_training_ends_when_the_validation_loss_stops_improving():
    model = fitted(early_stopping=True, tol=1e-3, n_iter_no_change=4)
    curve = np.array(model.validation_loss_curve_)
    assert model.n_iter_ < 40
    assert (curve[-4:] > curve[:-4].min() - 1e-3).all()
    assert model.t_ - 1 == model.n_iter_ * 60  # nothing is held out of X
    assert fitted(early_stopping=False, tol=None).n_iter_ == 40


def test_a_held_out_part_has_a_loss_too_and_the_last_epoch_remains():
    """As in SGDClassifier, whose parameters are those of the last epoch."""
    model = FastLinearClassifier(early_stopping=True, **HOW).fit(X[:400], y[:400])
    assert len(model.validation_loss_curve_) == len(model.validation_scores_) == 40
    assert np.argmin(model.validation_loss_curve_) < 39
    _, held_out = model._split(y[:400], None, np.random.RandomState(0))
    P = model.predict_proba(X[held_out])
    assert log_loss(y[held_out], P, labels=np.arange(10)) == pytest.approx(model.validation_loss_curve_[-1], rel=1e-9)


def test_frames_bytes_and_names():
    pd = pytest.importorskip("pandas")
    names = np.array([*"abcdefghij"])[y]
    frame = pd.DataFrame(X)
    frame.columns = [f"pixel {k}" for k in range(64)]
    of_frames = fitted(names, X_val=frame[REST], y_val=pd.Series(names[REST]), data=X)
    assert of_frames.validation_loss_curve_ == fitted(names).validation_loss_curve_
    model = FastLinearClassifier(**HOW).fit(frame[FEW], names[FEW], X_val=frame[REST], y_val=names[REST])
    assert model.feature_names_in_[3] == "pixel 3"
    raw = (X * 16).astype(np.uint8)
    of_bytes = FastLinearClassifier(scale=1 / 16, **HOW).fit(raw[FEW], y[FEW], X_val=raw[REST], y_val=y[REST])
    of_floats = FastLinearClassifier(**HOW).fit(
        X[FEW].astype(np.float32), y[FEW], X_val=X[REST].astype(np.float32), y_val=y[REST]
    )
    np.testing.assert_allclose(of_bytes.validation_loss_curve_, of_floats.validation_loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("kind", [FastLinearClassifier, FastMLPClassifier])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": X}, "X_val and y_val go together: y_val is None"),
        ({"y_val": y}, "X_val and y_val go together: X_val is None"),
        ({"X_val": X, "y_val": y + 5}, r"y_val has classes that y does not have: \[10, 11, 12, 13, 14\]"),
        ({"X_val": X[:, :5], "y_val": y}, "5 features"),
        ({"X_val": X, "y_val": y[:5]}, "inconsistent numbers of samples"),
        ({"X_val": X, "y_val": y, "sample_weight_val": -np.ones(len(y))}, "Negative values in data"),
        ({"X_val": np.full_like(X, np.nan), "y_val": y}, "Input X contains NaN"),
    ],
)
def test_validation_data_that_will_not_do(kind, given, message):
    model = kind(max_iter=1)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **given)
    assert not hasattr(model, "classes_")


def test_files_and_further_training(tmp_path):
    for how in ({}, {"average": 130}, {"early_stopping": True, "tol": 1e-3}):
        model = fitted(**how)
        model.save(tmp_path / "model")
        again = fastclf.load(tmp_path / "model")
        assert again.validation_loss_curve_ == model.validation_loss_curve_
        assert again.validation_scores_ == model.validation_scores_
        for one in (model, again):
            one.set_params(early_stopping=False).partial_fit(X[REST], y[REST])
        np.testing.assert_array_equal(again.coef_, model.coef_)
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("how", [{}, {"average": 130}, {"penalty": "l1", "alpha": 1e-3}, {"batch_size": 7}], ids=str)
def test_a_run_goes_on_from_its_checkpoint_with_the_best_epoch_of_before(how, tmp_path, monkeypatch):
    whole, path = fitted(**how), tmp_path / "run"
    best = int(np.argmin(whole.validation_loss_curve_))
    data = {"X_val": X[REST], "y_val": y[REST], "sample_weight_val": WEIGHTS[REST], "checkpoint": path}
    parts = FastLinearClassifier(**{**HOW, "max_iter": min(best + 3, 35), **how}).fit(X[FEW], y[FEW], **data)
    parts.set_params(max_iter=40).fit(X[FEW], y[FEW], **data, resume=True)
    assert parts.validation_loss_curve_ == whole.validation_loss_curve_
    assert parts.validation_scores_ == whole.validation_scores_
    np.testing.assert_array_equal(parts.coef_, whole.coef_)
    np.testing.assert_array_equal(parts.intercept_, whole.intercept_)


def test_ctrl_c_brings_the_best_parameters_back(monkeypatch):
    whole, stretches, calls = fitted(), PerSample.stretches, []
    best = int(np.argmin(whole.validation_loss_curve_))

    def interrupted(*args):
        calls.append(1)
        if len(calls) == best + 4:
            raise KeyboardInterrupt
        return stretches(*args)

    monkeypatch.setattr(PerSample, "stretches", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = fitted()
    assert model.n_iter_ == best + 3
    np.testing.assert_array_equal(model.coef_, whole.coef_)


@pytest.mark.parametrize("kind", [FastLinearClassifier, FastMLPClassifier])
def test_they_can_be_routed(kind):
    import sklearn
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import MinMaxScaler

    with sklearn.config_context(enable_metadata_routing=True):
        model = kind(max_iter=3, random_state=0).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipeline = Pipeline([("scale", MinMaxScaler()), ("model", model)], transform_input=["X_val"])
        pipeline.fit(X[FEW], y[FEW], X_val=X[REST], y_val=y[REST], sample_weight_val=WEIGHTS[REST])
    assert len(pipeline[-1].validation_loss_curve_) == 3
    scaled = pipeline[0].transform(X[REST])
    P = pipeline[-1].predict_proba(scaled)
    best = min(pipeline[-1].validation_loss_curve_)
    assert log_loss(y[REST], P, sample_weight=WEIGHTS[REST]) == pytest.approx(best, rel=1e-9)
