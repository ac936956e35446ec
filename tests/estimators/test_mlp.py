"""FastMLPClassifier beside scikit-learn's MLPClassifier: the same weights after the same steps; and what is new."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight

import fastclf
from fastclf import FastMLPClassifier, TrainingInterruptedWarning

from .data import load, relative

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load("digits")
SEVERAL = np.eye(10, dtype=int)[y] | np.eye(10, dtype=int)[y * 3 % 10]
WEIGHTS = np.random.default_rng(0).random(len(y))

# Sums are added in another order than scikit-learn's BLAS does: a few units in the last place per step. Adam divides by
# the size of gradients that may be as small as their rounding, which float32 shows after a few steps.
TOLERANCE = {np.float64: 1e-11, np.float32: 2e-3}


def compare(ours, theirs, dtype=np.float64):
    tolerance = TOLERANCE[dtype]
    assert relative(ours.coefs_, theirs.coefs_) <= tolerance
    assert relative(ours.intercepts_, theirs.intercepts_) <= tolerance
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=tolerance)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("best_loss_", "best_validation_score_", "loss_"):
        ours_, theirs_ = getattr(ours, name), getattr(theirs, name)
        assert (ours_ is None) == (theirs_ is None), name
        assert ours_ is None or ours_ == pytest.approx(theirs_, rel=tolerance), name
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)


def both(*data, max_iter=5, **how):
    return [kind(max_iter=max_iter, random_state=0, **how).fit(*data) for kind in (FastMLPClassifier, MLPClassifier)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"alpha": 0.5},
        {"hidden_layer_sizes": (30, 20)},
        {"hidden_layer_sizes": 7, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"batch_size": 33},
        {"shuffle": False},
        {"solver": "sgd", "learning_rate_init": 0.1},
        {"solver": "sgd", "learning_rate_init": 0.1, "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0},
        {"solver": "sgd", "learning_rate_init": 0.5, "learning_rate": "invscaling"},
        {"activation": "tanh"},
        {"activation": "logistic", "hidden_layer_sizes": (30, 20)},
        {"activation": "identity", "solver": "sgd", "learning_rate_init": 0.01},
        {"activation": "tanh", "solver": "sgd", "learning_rate_init": 0.1, "hidden_layer_sizes": (30, 20, 10)},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1, "max_iter": 8},
        {"early_stopping": True},
        {"tol": 10.0, "n_iter_no_change": 2},
    ],
    ids=str,
)
def test_the_same_steps_as_scikit_learn(how, dtype):
    epochs = {} if dtype == np.float64 or "n_iter_no_change" in how else {"max_iter": 1}
    compare(*both(X.astype(dtype), y, **(epochs | how)), dtype)


# ---------------------------------------------------------------- L-BFGS


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("targets", [y, y > 4, SEVERAL], ids=["ten", "two", "several"])
def test_iterations_of_lbfgs_are_those_of_scikit_learn(targets, activation):
    how = {"solver": "lbfgs", "activation": activation, "hidden_layer_sizes": (20, 10), "max_iter": 4, "alpha": 0.1}
    ours, theirs = both(X[:500], targets[:500], **how)
    assert relative(ours.coefs_, theirs.coefs_) <= 1e-8
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    assert len(ours.loss_curve_) == 4
    assert ours.loss_curve_[-1] == ours.loss_


def test_lbfgs_with_weights_and_in_other_dtypes():
    how = {"solver": "lbfgs", "max_iter": 3, "alpha": 0.1}
    ours, theirs = both(X[:500], y[:500], WEIGHTS[:500], **how)
    assert relative(ours.coefs_, theirs.coefs_) <= 1e-8
    from_singles = FastMLPClassifier(random_state=0, **how).fit(X[:500].astype(np.float32), y[:500], WEIGHTS[:500])
    assert from_singles.coefs_[0].dtype == np.float64
    in_singles = FastMLPClassifier(random_state=0, dtype="float32", **how).fit(X[:500], y[:500], WEIGHTS[:500])
    assert in_singles.coefs_[0].dtype == np.float32
    np.testing.assert_allclose(in_singles.predict_proba(X), ours.predict_proba(X), atol=1e-3)
    as_bytes = FastMLPClassifier(random_state=0, dtype="float64", scale=1 / 16, **how)
    as_bytes.fit((X * 16).astype(np.uint8)[:500], y[:500], WEIGHTS[:500])
    np.testing.assert_allclose(as_bytes.predict_proba((X * 16).astype(np.uint8)), ours.predict_proba(X), atol=1e-6)


def test_lbfgs_ends_and_says_why():
    ours, theirs = both(X[:200], y[:200], solver="lbfgs", max_iter=200, tol=1e-3)
    assert ours.n_iter_ == pytest.approx(theirs.n_iter_, abs=10)  # rounding decides in the end
    assert ours.score(X[:200], y[:200]) == 1
    for kind in (FastMLPClassifier, MLPClassifier):
        with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge"):
            kind(solver="lbfgs", max_iter=500, max_fun=5, random_state=0).fit(X, y)
    for kind in (FastMLPClassifier, MLPClassifier):
        with pytest.raises(AttributeError, match=r"partial_fit"):
            kind(solver="lbfgs").partial_fit(X, y)


def test_lbfgs_keeps_the_best_iteration_on_validation_data():
    ours = FastMLPClassifier((30,), solver="lbfgs", max_iter=60, random_state=0)
    ours.fit(X[:300], y[:300], X_val=X[300:800], y_val=y[300:800])
    losses = ours.validation_loss_curve_
    assert len(losses) == len(ours.validation_scores_) == ours.n_iter_
    assert np.argmin(losses) < len(losses) - 1
    assert log_loss(y[300:800], ours.predict_proba(X[300:800])) == pytest.approx(min(losses))


def test_lbfgs_in_pieces_is_lbfgs(monkeypatch):
    whole = FastMLPClassifier((20,), solver="lbfgs", max_iter=5, random_state=0).fit(X, y)
    monkeypatch.setattr("fastclf.engine.minibatch.PIECE", 320)
    many = FastMLPClassifier((20,), solver="lbfgs", max_iter=5, random_state=0, scale=1 / 16, dtype="float64")
    many.fit((X * 16).astype(np.uint8), y)
    assert relative(many.coefs_, whole.coefs_) <= 1e-7


@pytest.mark.parametrize(
    "how", [{"dropout": 0.5}, {"clip_threshold": 1.0}, {"dtype": "bfloat16"}], ids=lambda how: next(iter(how))
)
def test_lbfgs_refuses_what_it_can_not_do(how, tmp_path):
    name, value = next(iter(how.items()))
    with pytest.raises(ValueError, match=f"{name}={value!r} is for the solvers 'sgd' and 'adam', not for 'lbfgs'"):
        FastMLPClassifier(solver="lbfgs", **how).fit(X, y)
    with pytest.raises(ValueError, match=r"checkpoint=.* is for the solvers 'sgd' and 'adam'"):
        FastMLPClassifier(solver="lbfgs").fit(X, y, checkpoint=tmp_path / "c")


def test_an_interrupted_lbfgs_keeps_the_last_iteration(monkeypatch):
    from fastclf.engine.minibatch import BatchTrainer

    reference = FastMLPClassifier((20,), solver="lbfgs", max_iter=3, random_state=0).fit(X, y)
    run, calls = BatchTrainer.run, []

    def interrupted(self, *args, **how):
        calls.append(None)
        if len(calls) > 8:
            raise KeyboardInterrupt
        return run(self, *args, **how)

    monkeypatch.setattr(BatchTrainer, "run", interrupted)
    with pytest.warns(TrainingInterruptedWarning):
        ours = FastMLPClassifier((20,), solver="lbfgs", max_iter=50, random_state=0).fit(X, y)
    assert ours.n_iter_ >= 1
    assert ours.loss_ == ours.loss_curve_[-1]
    if ours.n_iter_ >= 3:
        np.testing.assert_allclose(ours.loss_curve_[:3], reference.loss_curve_)
    monkeypatch.undo()
    samples = FastMLPClassifier((20,), solver="lbfgs", max_iter=ours.n_iter_, random_state=0).fit(X, y)
    np.testing.assert_array_equal(samples.coefs_[0], ours.coefs_[0])


# ---------------------------------------------------------------- sparse samples


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix, sparse.coo_matrix])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"activation": "tanh"},
        {"solver": "sgd", "learning_rate_init": 0.1},
        {"solver": "sgd", "momentum": 0},
        {"solver": "lbfgs"},
    ],
    ids=str,
)
def test_sparse_samples_as_in_scikit_learn(kind, how):
    ours, theirs = both(kind(X), y, max_iter=3, **how)
    assert relative(ours.coefs_, theirs.coefs_) <= 1e-8
    np.testing.assert_allclose(ours.predict_proba(kind(X)), theirs.predict_proba(kind(X)), atol=1e-8)
    np.testing.assert_array_equal(ours.predict(X), ours.predict(kind(X)))


def test_sparse_samples_in_every_way():
    S, of_all = sparse.csr_matrix(X), np.arange(10)
    given = FastMLPClassifier(max_iter=3, random_state=0, early_stopping=True).fit(S, y, X_val=S[:200], y_val=y[:200])
    dense = FastMLPClassifier(max_iter=3, random_state=0, early_stopping=True).fit(X, y, X_val=X[:200], y_val=y[:200])
    np.testing.assert_allclose(given.validation_loss_curve_, dense.validation_loss_curve_, rtol=1e-9)
    # a chunk may be dense and the next one sparse, whatever the optimiser keeps
    mixed = (
        FastMLPClassifier(solver="sgd", momentum=0, random_state=0).partial_fit(X, y, classes=of_all).partial_fit(S, y)
    )
    alike = (
        FastMLPClassifier(solver="sgd", momentum=0, random_state=0).partial_fit(X, y, classes=of_all).partial_fit(X, y)
    )
    assert relative(mixed.coefs_, alike.coefs_) <= 1e-10
    singles = FastMLPClassifier(max_iter=2, random_state=0).fit(S.astype(np.float32), y)
    assert singles.coefs_[0].dtype == np.float32
    with pytest.raises(ValueError, match="is for dense X"):
        FastMLPClassifier(dtype="bfloat16").fit(S, y)
    with pytest.raises(ValueError, match="NaN"):
        singles.predict(sparse.csr_matrix(np.where(X[0, 5] == X, np.nan, X)))
    with pytest.raises(ValueError, match="features"):
        singles.predict(S[:, :-1])


def test_a_broken_sparse_matrix_is_refused():
    S = sparse.csr_matrix(X)
    S.indices[3] = 10_000
    with pytest.raises(ValueError, match="X"):
        FastMLPClassifier().fit(S, y)


# ---------------------------------------------------------------- targets, going on


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("targets", [y > 4, np.array(["a", "b", "c"])[y % 3], SEVERAL], ids=["two", "names", "several"])
def test_any_targets(targets, weights):
    ours, theirs = both(X, targets, weights)
    compare(ours, theirs)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    np.testing.assert_allclose(ours.predict_log_proba(X[:9]), theirs.predict_log_proba(X[:9]), atol=1e-9)
    assert ours.score(X, targets) == theirs.score(X, targets)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit(solver):
    models = [kind(solver=solver, random_state=np.random.RandomState(0)) for kind in (FastMLPClassifier, MLPClassifier)]
    for model in models:
        for part in (slice(0, 300), slice(300, 900), slice(900, None)):
            model.partial_fit(X[part], y[part], classes=np.arange(10))
    compare(*models)


def test_warm_start_and_changed_weights():
    models = both(X, y, max_iter=2, warm_start=True)
    for model in models:
        model.coefs_[0] = model.coefs_[0] * 0.5
        model.intercepts_[1][:] = 0.1
    np.testing.assert_allclose(*(m.predict_proba(X) for m in models), atol=1e-12)
    compare(*(model.fit(X, y) for model in models))


@pytest.mark.parametrize(
    "how",
    [
        {"tol": 0.1, "n_iter_no_change": 3, "max_iter": 12},
        {"early_stopping": True, "tol": 0.05, "n_iter_no_change": 3, "max_iter": 12},
        {"solver": "sgd", "learning_rate": "invscaling"},
    ],
    ids=str,
)
def test_a_warm_start_goes_on_counting(how):
    """Epochs without improvement, the best score and its weights, and the curves."""
    ours, theirs = both(X, y, warm_start=True, **how)
    for _ in range(2):
        compare(ours.fit(X, y), theirs.fit(X, y))
        assert ours._no_improvement_count == theirs._no_improvement_count
        assert ours.validation_scores_ == theirs.validation_scores_
        if "solver" in how:  # the rate of Adam includes its bias correction only there
            assert ours._optimizer.learning_rate == theirs._optimizer.learning_rate


def test_pickles_and_clones_go_on():
    ours = FastMLPClassifier(max_iter=3, random_state=0).fit(X, y)
    copy = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(copy.predict_proba(X), ours.predict_proba(X))
    for model in (ours, copy):
        model.partial_fit(X, y)
    np.testing.assert_array_equal(copy.coefs_[0], ours.coefs_[0])
    assert not hasattr(clone(ours), "coefs_")


@pytest.mark.parametrize("activation", ["tanh", "logistic", "identity"])
def test_the_activation_is_a_parameter_of_the_model_wherever_it_goes(activation, tmp_path):
    ours = FastMLPClassifier((20,), activation=activation, max_iter=3, random_state=0).fit(X, y)
    ours.save(tmp_path / "model")
    for copy in (pickle.loads(pickle.dumps(ours)), fastclf.load(tmp_path / "model")):
        np.testing.assert_array_equal(copy.predict_proba(X), ours.predict_proba(X))
    copy.coefs_[0] = copy.coefs_[0].copy()  # a network anew
    np.testing.assert_array_equal(copy.predict_proba(X), ours.predict_proba(X))
    other = pickle.loads(pickle.dumps(ours)).set_params(activation="relu")
    assert not np.array_equal(other.predict_proba(X), ours.predict_proba(X))


def test_a_pickle_trains_before_it_predicts():
    ours = FastMLPClassifier(max_iter=3, random_state=0).fit(X, y)
    copy = pickle.loads(pickle.dumps(ours)).partial_fit(X, y)
    np.testing.assert_array_equal(copy.coefs_[0], ours.partial_fit(X, y).coefs_[0])


def test_class_weight_is_a_sample_weight():
    weighted = FastMLPClassifier(class_weight="balanced", max_iter=3, random_state=0).fit(X[:500], y[:500] % 3)
    by_hand = FastMLPClassifier(max_iter=3, random_state=0)
    by_hand.fit(X[:500], y[:500] % 3, compute_sample_weight("balanced", y[:500] % 3))
    np.testing.assert_array_equal(weighted.coefs_[0], by_hand.coefs_[0])


def numpy_step(W, b, V, how):
    """One step of a network with one hidden layer on all of X, in plain NumPy."""
    Z = X @ W[0] + b[0]
    A = np.maximum(Z, 0)
    P = np.exp(A @ W[1] + b[1])
    D = (P / P.sum(axis=1, keepdims=True) - np.eye(10)[y]) / len(X)
    hidden = D @ W[1].T * (Z > 0)
    gradients = [
        X.T @ hidden + how["alpha"] / len(X) * W[0],
        A.T @ D + how["alpha"] / len(X) * W[1],
        hidden.sum(0),
        D.sum(0),
    ]
    for p, g, v in zip([*W, *b], gradients, V):
        v[:] = how["momentum"] * v - how["learning_rate_init"] * np.clip(
            g, -how["clip_threshold"], how["clip_threshold"]
        )
        p += v


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("alpha", [0.0, 10.0])
def test_clipping(alpha, momentum):
    how = {"alpha": alpha, "momentum": momentum, "clip_threshold": 0.003, "learning_rate_init": 0.5}
    ours = FastMLPClassifier(
        (20,),
        solver="sgd",
        nesterovs_momentum=False,
        batch_size=len(X),
        max_iter=1,
        random_state=0,
        warm_start=True,
        **how,
    ).fit(X, y)
    W, b = [w.copy() for w in ours.coefs_], [v.copy() for v in ours.intercepts_]
    numpy_step(W, b, [np.zeros_like(p) for p in (*W, *b)], how)
    ours.fit(X, y)
    assert relative(ours.coefs_ + ours.intercepts_, W + b) < 1e-12


def test_the_labs_step_schedule():
    rates = []

    class Spy(FastMLPClassifier):
        def _change_rate(self, optimiser, decay):
            super()._change_rate(optimiser, decay)
            rates.append(optimiser.learning_rate)

    Spy(max_iter=5, learning_rate="step", step_size=2, gamma=0.1, learning_rate_init=1e-3).fit(X[:200], y[:200])
    np.testing.assert_allclose(rates, [1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


@pytest.mark.parametrize("targets", [y, SEVERAL], ids=["classes", "several"])
def test_validation_data_of_ones_own(targets):
    """Their loss is kept, and the weights with the lowest are what remains."""
    train, held_out = np.arange(0, 1200), np.arange(1200, 1797)
    model = FastMLPClassifier(max_iter=30, learning_rate_init=0.05, random_state=0)
    model.fit(X[train], targets[train], None, X[held_out], targets[held_out], WEIGHTS[held_out])
    curve = model.validation_loss_curve_
    assert len(curve) == len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_
    assert np.argmin(curve) < len(curve) - 1
    P = np.clip(model.predict_proba(X[held_out]), 1e-15, 1 - 1e-15)
    T = np.eye(10)[targets[held_out]] if targets.ndim == 1 else targets[held_out]
    losses = -(T * np.log(P)).sum(1) if targets.ndim == 1 else -(T * np.log(P) + (1 - T) * np.log(1 - P)).sum(1)
    assert np.average(losses, weights=WEIGHTS[held_out]) == pytest.approx(min(curve), rel=1e-9)
    best = model.validation_scores_[int(np.argmin(curve))]
    assert model.score(X[held_out], targets[held_out], WEIGHTS[held_out]) == pytest.approx(best)
    assert model.best_validation_score_ == max(model.validation_scores_)


def test_early_stopping_on_validation_data_of_ones_own():
    how = {
        "max_iter": 200,
        "early_stopping": True,
        "n_iter_no_change": 3,
        "learning_rate_init": 0.05,
        "random_state": 0,
    }
    model = FastMLPClassifier(**how).fit(X[:900], y[:900], None, X[900:], y[900:])
    assert model.n_iter_ < 200
    assert model.n_iter_ - 1 - np.argmin(model.validation_loss_curve_) >= 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": X}, "X_val and y_val go together: y_val is None"),
        ({"y_val": y}, "X_val and y_val go together: X_val is None"),
        ({"X_val": X, "y_val": y + 5}, "y_val has classes that y does not have"),
        ({"X_val": X[:, :5], "y_val": y}, "5 features"),
    ],
)
def test_validation_data_that_will_not_do(given, message):
    with pytest.raises(ValueError, match=message):
        FastMLPClassifier(max_iter=1).fit(X, y, **given)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"n_jobs": 0}, "n_jobs"),
    ],
)
def test_what_is_not_supported_is_refused(how, message):
    with pytest.raises(ValueError, match=message):
        FastMLPClassifier(**how).fit(X, y)


def test_a_diverged_run_is_an_error():
    with pytest.raises(ValueError, match="non-finite"), np.errstate(all="ignore"):
        FastMLPClassifier(solver="sgd", learning_rate_init=1e200, max_iter=3).fit(X, y)


# ---------------------------------------------------------------- dropout


def test_dropout_leaves_out_and_makes_larger():
    """In expectation the hidden layer is what it would be; a step's mask follows from the seed alone."""
    from fastclf.engine.minibatch import BatchTrainer, Samples, Workspace
    from fastclf.engine.network import Network
    from fastclf.engine.rows import Rows
    from fastclf.kernels.codes import TRAIN
    from fastclf.kernels.records import Settings

    net = Network((1, 100, 2), np.dtype(float))
    net.weights[0][:] = 1
    ones, work = np.ones((640, 1)), Workspace(net, 640)
    kept = []
    for seed in (1, 1, 2):
        samples = Samples(Rows(ones, ones.dtype), np.zeros(640, np.int64))
        BatchTrainer(net, samples, Settings(dropout=0.25), work).run(TRAIN, seed=seed)
        A = work.samples("A", 0, 640).copy()
        assert {*np.unique(A).round(12)} == {0, round(4 / 3, 12)}
        # 64,000 draws: three standard deviations are 0.005
        assert (A == 0).mean() == pytest.approx(0.25, abs=0.005)
        assert (A == 0).mean(axis=1) == pytest.approx(np.full(100, 0.25), abs=0.09)
        D = work.samples("D", 0, 640)
        assert not D[A == 0].any()
        kept.append(A)
    np.testing.assert_array_equal(kept[0], kept[1])
    assert (kept[0] != kept[2]).mean() > 0.3


def test_dropout_trains_and_predicts_without():
    models = [FastMLPClassifier(dropout=p, max_iter=30, random_state=0).fit(X, y) for p in (0.0, 0.3, 0.3)]
    np.testing.assert_array_equal(models[1].coefs_[0], models[2].coefs_[0])
    assert (models[0].coefs_[0] != models[1].coefs_[0]).any()
    assert models[1].score(X, y) > 0.9
    np.testing.assert_array_equal(models[1].predict_proba(X), models[1].predict_proba(X))


# ---------------------------------------------------------------- dtypes, threads, what is said


@pytest.mark.parametrize("scale", [1 / 255, 1 / 16])
@pytest.mark.parametrize("batch_size", [20, 200, 500])
def test_bytes_are_what_they_stand_for(batch_size, scale):
    raw = (X * 16).astype(np.uint8)
    as_numbers = raw.astype(np.float32) * np.float32(scale)
    how = {"batch_size": batch_size, "max_iter": 2, "random_state": 0, "scale": scale}
    ours = FastMLPClassifier(**how).fit(raw, y)
    expected = FastMLPClassifier(**(how | {"scale": 1.0})).fit(as_numbers, y)
    assert ours.coefs_[0].dtype == np.float32
    assert relative(ours.coefs_, expected.coefs_) < 1e-6
    np.testing.assert_allclose(ours.predict_proba(raw), expected.predict_proba(as_numbers), atol=1e-6)


def test_dtypes_are_kept():
    for dtype in (np.float32, np.float64):
        model = FastMLPClassifier(max_iter=1).fit(X.astype(dtype), y)
        assert {a.dtype for a in (*model.coefs_, *model.intercepts_, model.predict_proba(X.astype(dtype)))} == {
            np.dtype(dtype)
        }


def test_partial_fit_keeps_the_models_dtype():
    model = FastMLPClassifier(max_iter=1, random_state=0).fit(X.astype(np.float32), y)
    model.partial_fit(X, y).partial_fit((X * 16).astype(np.uint8), y)
    assert model.coefs_[0].dtype == np.float32
    assert model.predict_proba(X).dtype == np.float32


@pytest.mark.parametrize("how", [{}, {"solver": "sgd"}, {"solver": "sgd", "momentum": 0.0}, {"dropout": 0.5}], ids=str)
def test_the_same_bits_for_any_number_of_threads(how, threads_for_all):
    models = [FastMLPClassifier((70,), max_iter=2, random_state=0, n_jobs=n, **how).fit(X, y) for n in (1, 2)]
    for a, b in zip(models[0].coefs_, models[1].coefs_):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(*(m.predict_proba(X) for m in models))


def test_verbose(capsys):
    FastMLPClassifier(max_iter=2, verbose=True, random_state=0).fit(X[:300], y[:300])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("=")[0] for line in lines] == ["Iteration 1, loss ", "Iteration 2, loss "]
    FastMLPClassifier(max_iter=2, verbose="bar", random_state=0).fit(X[:300], y[:300])
    assert "2/2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "how",
    [
        {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.05},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
    ],
    ids=str,
)
def test_verbose_says_what_scikit_learn_says(how, capsys):
    said = []
    for kind in (FastMLPClassifier, MLPClassifier):
        kind(max_iter=12, verbose=True, random_state=0, **how).fit(X[:300], y[:300])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_ctrl_c_leaves_the_last_epochs_model(monkeypatch):
    from fastclf.engine.minibatch import BatchTrainer

    run, calls = BatchTrainer.run, []

    def interrupted_run(*args, **how):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(*args, **how)

    monkeypatch.setattr(BatchTrainer, "run", interrupted_run)
    with pytest.warns(UserWarning, match="interrupted") as caught:
        model = FastMLPClassifier(random_state=0).fit(X, y)
    assert {w.filename for w in caught} == {__file__}
    assert model.n_iter_ == 2
    monkeypatch.setattr(BatchTrainer, "run", run)
    np.testing.assert_array_equal(model.coefs_[0], FastMLPClassifier(max_iter=2, random_state=0).fit(X, y).coefs_[0])


def test_warnings():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached") as not_converged:
        FastMLPClassifier(max_iter=2).fit(X, y)
    with pytest.warns(UserWarning, match="clipped") as clipped:
        FastMLPClassifier(max_iter=1, batch_size=5000).fit(X, y)
    assert {w.filename for w in (*not_converged, *clipped)} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        FastMLPClassifier(max_iter=50, tol=1.0, n_iter_no_change=1).fit(X, y)


def test_several_labels_stay_as_many():
    """A matrix of labels that is narrower than the outputs would be read beyond its end."""
    rng = np.random.default_rng(0)
    X, Y = rng.random((30, 4)), rng.integers(0, 2, (30, 5))
    model = FastMLPClassifier((6,), random_state=0).partial_fit(X, Y, classes=np.arange(5))
    before = model.coefs_[0].copy()
    for y in (Y[:, :3], np.hstack([Y, Y]), Y[:, 0]):
        with pytest.raises(
            ValueError, match=r"y must have shape \(30, 5\), a column for each of 5 labels|`y` has classes"
        ):
            model.partial_fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], before)
    with pytest.raises(ValueError, match="a column for each of 9 labels"):
        FastMLPClassifier((6,)).partial_fit(X, Y, classes=np.arange(9))
    with pytest.raises(ValueError, match="a column for each of 5 labels"):
        FastMLPClassifier((6,), max_iter=2).fit(X, Y, X_val=X, y_val=Y[:, :3])
    one = FastMLPClassifier((6,), random_state=0).partial_fit(X, np.arange(30) % 3, classes=np.arange(3))
    with pytest.raises(ValueError, match=r"y must have shape \(30,\), a class per sample"):
        one.partial_fit(X, Y[:, :3])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_labels_of_a_loaded_model_are_checked_too(tmp_path):
    import fastclf

    rng = np.random.default_rng(0)
    X, Y = rng.random((30, 4)), rng.integers(0, 2, (30, 5))
    FastMLPClassifier((6,), max_iter=2).fit(X, Y).save(tmp_path / "model")
    with pytest.raises(ValueError, match="a column for each of 5 labels"):
        fastclf.load(tmp_path / "model").partial_fit(X, Y[:, :4])


# ---------------------------------------------------------------- faults that nothing else would show


def test_ctrl_c_brings_the_best_weights_back(monkeypatch):
    """Where there are validation data, also if the training is interrupted in an epoch after the best."""
    from fastclf.engine.minibatch import BatchTrainer

    how = {"max_iter": 30, "learning_rate_init": 0.03, "random_state": 0, "batch_size": 50}
    some, others = slice(0, 200), slice(200, 600)
    losses = FastMLPClassifier(**how).fit(X[some], y[some], X_val=X[others], y_val=y[others]).validation_loss_curve_
    best = int(np.argmin(losses))
    assert best < 25  # it is going to be interrupted some epochs later
    epoch, calls = BatchTrainer.epoch, []

    def interrupted(*args, **given):
        calls.append(1)
        if len(calls) == best + 4:
            raise KeyboardInterrupt
        return epoch(*args, **given)

    monkeypatch.setattr(BatchTrainer, "epoch", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = FastMLPClassifier(**how).fit(X[some], y[some], X_val=X[others], y_val=y[others])
    assert model.n_iter_ == best + 3
    monkeypatch.undo()
    loss = log_loss(y[others], model.predict_proba(X[others]))
    assert loss == pytest.approx(losses[best], rel=1e-6)
    assert loss < losses[best + 1]


def test_the_validation_loss_of_many_samples_is_their_weighted_mean():
    """Whatever blocks they come in."""
    rng = np.random.default_rng(0)
    X_val, weights = rng.standard_normal((2500, X.shape[1])), np.linspace(0, 1, 2500) ** 3
    y_val = rng.choice(np.unique(y), 2500)
    model = FastMLPClassifier(max_iter=1, random_state=0)
    model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    P = model.predict_proba(X_val)
    assert model.validation_loss_curve_[0] == pytest.approx(log_loss(y_val, P, sample_weight=weights), rel=1e-9)
    right = model.predict(X_val) == y_val
    assert model.validation_scores_[0] == pytest.approx(np.average(right, weights=weights), rel=1e-12)
