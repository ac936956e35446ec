"""FastLinearClassifier beside scikit-learn's SGDClassifier for two classes, beside plain NumPy for more."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_sample_weight

from fastclf import FastLinearClassifier
from fastclf.engine import minibatch, sgd

from .data import load, relative

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load("breast_cancer")
D, d = load("digits")
WEIGHTS = np.random.default_rng(0).random(len(y))
CSR = sparse.csr_matrix(np.where(np.abs(X) > 0.5, X, 0))
D_CSR = sparse.csr_matrix(D)

PENALTIES = [{"penalty": None}, {}, {"penalty": "l1"}, {"penalty": "elasticnet", "l1_ratio": 0.3, "alpha": 0.01}]


def agree(ours, theirs, tolerance):
    assert relative([ours.coef_, ours.intercept_], [theirs.coef_, theirs.intercept_]) <= tolerance
    for name in ("n_iter_", "t_"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("data", [X, CSR], ids=["dense", "csr"])
@pytest.mark.parametrize(
    "how",
    [
        *PENALTIES,
        {"average": True},
        {"average": 700},
        {"learning_rate": "constant", "eta0": 0.1},
        {"learning_rate": "invscaling", "eta0": 0.5},
        {"class_weight": "balanced"},
        {"class_weight": {0: 3.0, 1: 0.5}},
        {"fit_intercept": False},
        {"alpha": 10.0, "learning_rate": "constant", "eta0": 0.5},
    ],
    ids=str,
)
def test_two_classes_are_scikit_learns(how, data, weights):
    """The steps are large, and so they double a rounding now and then."""
    how = {"shuffle": False, "max_iter": 4, "tol": None} | how
    ours, theirs = FastLinearClassifier(batch_size=1, **how), SGDClassifier(loss="log_loss", **how)
    for model in (ours, theirs):
        model.fit(data, y, sample_weight=weights)
    agree(ours, theirs, 1e-8)
    np.testing.assert_allclose(ours.decision_function(data), theirs.decision_function(data), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(ours.predict(data), theirs.predict(data))


@pytest.mark.parametrize("data", [X, CSR], ids=["dense", "csr"])
@pytest.mark.parametrize("how", [{}, {"learning_rate": "adaptive", "eta0": 0.1}, {"penalty": "l1"}], ids=str)
def test_training_ends_where_scikit_learns_does(how, data):
    how = {"shuffle": False, "learning_rate": "constant"} | how
    ours = FastLinearClassifier(batch_size=1, **how).fit(data, y)
    theirs = SGDClassifier(loss="log_loss", **how).fit(data, y)
    agree(ours, theirs, 1e-6)


@pytest.mark.parametrize("average", [False, 3])
def test_partial_fit_and_warm_start(average):
    """With an average, scikit-learn goes on from an intercept of its first call: so there is none here."""
    how = {"shuffle": False, "learning_rate": "constant", "eta0": 0.05, "average": average, "tol": None, "max_iter": 2}
    how["fit_intercept"] = not average
    ours, theirs = FastLinearClassifier(batch_size=1, **how), SGDClassifier(loss="log_loss", **how)
    for model in (ours, theirs):
        for part in (slice(0, 100), slice(100, 350), slice(350, None)):
            model.partial_fit(X[part], y[part], classes=[0, 1])
    assert relative([ours.coef_, ours.intercept_], [theirs.coef_, theirs.intercept_]) < 1e-11
    if not average:
        for model in (ours, theirs):
            model.set_params(warm_start=True).fit(X, y)
        assert relative([ours.coef_, ours.intercept_], [theirs.coef_, theirs.intercept_]) < 1e-11


SIGNED = np.where(np.arange(len(y)) % 9 == 0, -0.2, 1.0)
PLAIN = {"shuffle": False, "max_iter": 4, "tol": None, "learning_rate": "constant", "eta0": 0.05}


@pytest.mark.parametrize("data", [X, CSR], ids=["dense", "csr"])
@pytest.mark.parametrize(
    ("how", "weights"),
    [
        ({}, SIGNED),
        ({"average": True}, SIGNED),
        ({"learning_rate": "optimal", "alpha": 0.01}, SIGNED),
        ({"learning_rate": "invscaling", "eta0": 0.01, "power_t": -0.1}, None),
        ({"penalty": "l1", "l1_ratio": None}, None),
        ({"average": 4 * len(y) - 1}, None),
        ({"average": 4 * len(y)}, None),  # the last sample alone
        ({"average": 4 * len(y) + 1}, None),
        ({"early_stopping": True, "random_state": 3}, None),
        ({"early_stopping": True, "random_state": 3, "class_weight": {1: 3.0}}, WEIGHTS),
        ({"class_weight": {0: 0.5, 1: 2.0}}, None),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_scikit_learn_takes(how, weights, data):
    models = FastLinearClassifier(**PLAIN | how), SGDClassifier(loss="log_loss", **PLAIN | how)
    ours, theirs = (model.fit(data, y, sample_weight=weights) for model in models)
    assert ours.n_iter_ == theirs.n_iter_
    assert relative([ours.coef_, ours.intercept_], [theirs.coef_, theirs.intercept_]) <= 1e-8


def test_a_warm_start_begins_at_the_averages():
    models = [kind(average=True, warm_start=True, **PLAIN) for kind in (FastLinearClassifier, SGDClassifier)]
    ours, theirs = (model.set_params(loss="log_loss").fit(X, y).fit(X, y) for model in models)
    assert relative([ours.coef_, ours.intercept_], [theirs.coef_, theirs.intercept_]) <= 1e-8
    with pytest.raises(ValueError, match=r"Provided coef_init does not match dataset"):
        ours.fit(X[:, :5], y)


def test_partial_fit_after_a_fit_takes_what_a_first_one_refuses():
    how = {**PLAIN, "early_stopping": True, "class_weight": "balanced", "random_state": 0}
    models = FastLinearClassifier(**how), SGDClassifier(loss="log_loss", **how)
    ours, theirs = (model.fit(X, y).partial_fit(X, y) for model in models)
    assert len(ours.validation_scores_) == 5
    assert relative([ours.coef_, ours.intercept_], [theirs.coef_, theirs.intercept_]) <= 1e-8


def test_a_chunk_may_lack_classes_that_have_a_weight():
    weights = {0: 1.0, 1: 2.0}
    how = {"random_state": 0}
    model = FastLinearClassifier(class_weight=weights, **how).partial_fit(D[:90], d[:90], classes=np.arange(10))
    plain = FastLinearClassifier(**how).partial_fit(
        D[:90], d[:90], np.arange(10), [weights.get(c, 1.0) for c in d[:90]]
    )
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    lacking = (d == 0) | (d == 5)
    assert model.partial_fit(D[lacking], d[lacking]).t_ == 91 + lacking.sum()


@pytest.mark.parametrize("data", [D, D_CSR], ids=["dense", "csr"])
@pytest.mark.parametrize("batch", [1, 50, "full"])
def test_an_average_goes_on_in_the_next_part(batch, data):
    """Two calls of partial_fit are a fit of two epochs."""
    if batch == 50 and data is D_CSR:
        pytest.skip("CSR rows go one by one, or all at once")
    how = {"batch_size": batch, "average": 100, "learning_rate": "constant", "eta0": 0.1, "shuffle": False}
    parts = FastLinearClassifier(**how).partial_fit(data, d, classes=np.arange(10)).partial_fit(data, d)
    whole = FastLinearClassifier(max_iter=2, tol=None, **how).fit(data, d)
    assert relative([parts.coef_, parts.intercept_], [whole.coef_, whole.intercept_]) < 1e-11


def test_where_to_start():
    start = {"coef_init": np.full((1, 30), 0.1), "intercept_init": [0.5]}
    how = {"shuffle": False, "max_iter": 1, "tol": None, "learning_rate": "constant"}
    ours = FastLinearClassifier(batch_size=1, **how).fit(X, y, **start)
    theirs = SGDClassifier(loss="log_loss", **how).fit(
        X, y, coef_init=start["coef_init"], intercept_init=np.array([0.5])
    )
    agree(ours, theirs, 1e-11)
    with pytest.raises(ValueError, match=r"coef_init must have the shape \(1, 30\), got \(2, 5\)"):
        FastLinearClassifier().fit(X, y, coef_init=np.zeros((2, 5)))


# ---------------------------------------------------------------- softmax, in plain NumPy


def numpy_sgd(A, labels, *, rates, batch, l1, l2, epochs, weights, average):
    """Epochs in plain NumPy, the l1 penalty by its proximal step; returns parameters, the mean of them, and losses."""
    m, n = A.shape
    c = labels.max() + 1
    W, b, losses, seen, count = np.zeros((c, n)), np.zeros(c), [], 0, 0
    mean, T = [np.zeros((c, n)), np.zeros(c)], np.eye(c)[labels]
    for _ in range(epochs):
        total = 0.0
        for first in range(0, m, batch):
            rows = slice(first, min(first + batch, m))
            w = weights[rows]
            P = softmax(A[rows] @ W.T + b, axis=1)
            total -= w @ np.log(P[np.arange(len(P)), labels[rows]])
            G, rate = (P - T[rows]) * w[:, None] / (w.sum() if batch > 1 else 1), rates[(seen // m) * m + first]
            W = (1 - rate * l2) * W - rate * G.T @ A[rows]
            W, b = np.sign(W) * np.maximum(np.abs(W) - rate * l1, 0), b - rate * G.sum(0)
            seen += len(P)
            if average and seen >= average:
                count += 1
                mean = [a + (x - a) / count for a, x in zip(mean, (W, b))]
        losses.append(total / weights.sum())
    return (W, b), mean, losses


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("average", [0, 500])
@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
@pytest.mark.parametrize("batch", [1, 7, 100, "full"])
def test_softmax_in_plain_numpy(batch, penalty, average, dtype):
    if batch == 1 and penalty in ("l1", "elasticnet"):
        pytest.skip("per-sample SGD accumulates the l1 penalty: see the comparison with scikit-learn")
    rows, weights = 333, np.random.default_rng(1).random(333) + 0.5
    how = {"penalty": penalty, "alpha": 0.01, "l1_ratio": 0.4, "learning_rate": "constant", "eta0": 0.2, "max_iter": 3}
    ours = FastLinearClassifier(batch_size=batch, shuffle=False, tol=None, average=average, **how)
    ours.fit(D[:rows].astype(dtype), d[:rows], sample_weight=weights)
    l1, l2 = {None: (0, 0), "l2": (0, 0.01), "l1": (0.01, 0), "elasticnet": (0.004, 0.006)}[penalty]
    size = rows if batch == "full" else batch
    last, mean, losses = numpy_sgd(
        D[:rows], d[:rows], rates=np.full(3 * rows, 0.2), batch=size, l1=l1, l2=l2, epochs=3, weights=weights,
        average=average,
    )  # fmt: skip
    tolerance = 1e-11 if dtype == np.float64 else 2e-4
    assert relative([ours.coef_, ours.intercept_], mean if average else last) < tolerance
    np.testing.assert_allclose(ours.loss_curve_, losses, rtol=tolerance)
    assert ours.coef_.dtype == dtype
    np.testing.assert_allclose(ours.predict_proba(D), softmax(D @ ours.coef_.T + ours.intercept_, axis=1), atol=1e-5)


def cumulative_l1(A, labels, alpha, rate, epochs, average):
    """Per-sample softmax SGD with the l1 penalty of Tsuruoka et al., and the mean of its iterates, in plain NumPy."""
    c, n = labels.max() + 1, A.shape[1]
    W, b, Q, u, iterates = np.zeros((c, n)), np.zeros(c), np.zeros((c, n)), 0.0, []
    for x, label in [*zip(A, labels)] * epochs:
        g = rate * (softmax(W @ x + b) - np.eye(c)[label])
        W, b, u = W - np.outer(g, x), b - g, u + rate * alpha
        new = np.where(W > 0, np.maximum(0, W - (u + Q)), np.where(W < 0, np.minimum(0, W + (u - Q)), W))
        W, Q = new, Q + new - W
        iterates.append((W, b))
    kept = iterates[average - 1 :] if average else iterates[-1:]
    return [np.mean([it[i] for it in kept], axis=0) for i in range(2)]


@pytest.mark.parametrize("average", [0, 1, 150])
def test_the_average_with_an_l1_penalty_is_that_of_all_iterates(average):
    how = {"alpha": 0.005, "learning_rate": "constant", "eta0": 0.3, "max_iter": 2, "shuffle": False, "tol": None}
    ours = FastLinearClassifier(penalty="l1", batch_size=1, average=average, **how).fit(D[:200], d[:200])
    expected = cumulative_l1(D[:200], d[:200], 0.005, 0.3, 2, average)
    assert relative([ours.coef_, ours.intercept_], expected) < 1e-11


@pytest.mark.parametrize("how", [*PENALTIES, {"average": 10}], ids=str)
@pytest.mark.parametrize("labels", [d, d > 4], ids=["ten classes", "two"])
def test_csr_is_dense(labels, how):
    """But for per-sample steps of intercepts, which are smaller, and of l1, which sees a feature when it occurs."""
    for more in ({"batch_size": 1, "fit_intercept": False, "learning_rate": "constant"}, {"batch_size": "full"}):
        if more["batch_size"] == 1 and how.get("penalty") in ("l1", "elasticnet"):
            continue
        how = {"max_iter": 3, "tol": None, "random_state": 0} | how | more
        models = [FastLinearClassifier(**how).fit(data, labels) for data in (D, D_CSR)]
        assert relative([models[1].coef_], [models[0].coef_]) < 1e-9
        np.testing.assert_allclose(models[1].intercept_, models[0].intercept_, atol=1e-9)
        np.testing.assert_allclose(models[1].predict_proba(D_CSR), models[0].predict_proba(D), atol=1e-9)
        np.testing.assert_allclose(models[1].loss_curve_, models[0].loss_curve_, rtol=1e-9)


def test_full_batches_converge_to_the_optimum():
    """Of the objective that LogisticRegression has with C = 1 / (alpha m)."""
    A, labels = load("iris")
    how = {"alpha": 0.01, "max_iter": 3000, "tol": 0.0}
    ours = FastLinearClassifier(batch_size="full", n_iter_no_change=3000, **how).fit(A, labels)
    theirs = LogisticRegression(C=1 / (0.01 * len(A)), tol=1e-10, max_iter=1000).fit(A, labels)
    np.testing.assert_allclose(ours.predict_proba(A), theirs.predict_proba(A), atol=1e-3)


# ---------------------------------------------------------------- the rest of the interface


@pytest.mark.parametrize("how", [*PENALTIES, {"average": 5}, {"batch_size": 64}, {"batch_size": "full"}], ids=str)
def test_bytes_are_what_they_stand_for(how):
    raw = (D * 16).astype(np.uint8)
    as_numbers = raw.astype(np.float32) * np.float32(1 / 255)
    how = {"batch_size": 1, "max_iter": 2, "tol": None, "random_state": 0} | how
    ours, expected = (
        FastLinearClassifier(scale=1 / 255, **how).fit(raw, d),
        FastLinearClassifier(**how).fit(as_numbers, d),
    )
    assert ours.coef_.dtype == np.float32
    assert relative([ours.coef_, ours.intercept_], [expected.coef_, expected.intercept_]) < 1e-4
    np.testing.assert_allclose(ours.decision_function(raw), ours.decision_function(as_numbers), rtol=1e-4, atol=1e-4)


def test_long_epochs_are_cut_into_calls(monkeypatch):
    """Ctrl-C must not wait: so an epoch is several calls of the kernel, and nobody sees it."""
    for how in ({}, {"penalty": "l1"}, {"batch_size": 10}):
        how = {"batch_size": 1, "max_iter": 2, "tol": None, "random_state": 0, "learning_rate": "constant"} | how
        whole = FastLinearClassifier(**how).fit(D, d)
        with monkeypatch.context() as patch:
            for module in (minibatch, sgd):
                patch.setattr(module, "_CALL_OPERATIONS", 3e5)
            parts = FastLinearClassifier(**how).fit(D, d)
        assert relative([parts.coef_, parts.intercept_], [whole.coef_, whole.intercept_]) < 1e-11
        np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-12)


def test_class_weight_is_a_sample_weight():
    for batch in (1, 50):
        how = {"batch_size": batch, "max_iter": 2, "tol": None, "random_state": 0}
        weighted = FastLinearClassifier(class_weight="balanced", **how).fit(D, d % 3)
        by_hand = FastLinearClassifier(**how).fit(D, d % 3, sample_weight=compute_sample_weight("balanced", d % 3))
        np.testing.assert_array_equal(weighted.coef_, by_hand.coef_)


def test_probabilities():
    model = FastLinearClassifier(max_iter=5, tol=None, random_state=0).fit(X * 100, y)
    Z = model.decision_function(X * 100)
    np.testing.assert_allclose(model.predict_proba(X * 100), np.column_stack([expit(-Z), expit(Z)]))
    assert np.isfinite(model.predict_log_proba(X * 1e6)).all()
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), atol=1e-12)


@pytest.mark.parametrize("how", [{}, {"penalty": "l1"}, {"batch_size": 50}, {"batch_size": "full"}], ids=str)
def test_going_on_in_another_dtype(how):
    """partial_fit keeps the model's dtype, a new fit follows the data's."""
    how = {"batch_size": 1, "max_iter": 1, "tol": None, "random_state": 0, "warm_start": True} | how
    model = FastLinearClassifier(**how).fit(D.astype(np.float32), d)
    model.partial_fit(D, d).partial_fit((D * 16).astype(np.uint8), d)
    assert model.coef_.dtype == np.float32
    assert model.fit(D, d).coef_.dtype == np.float64
    assert model.fit((D * 16).astype(np.uint8), d).coef_.dtype == np.float32


def test_sparsify_and_pickle():
    model = FastLinearClassifier(penalty="l1", alpha=0.01, max_iter=20, tol=None, random_state=0).fit(D, d)
    expected = model.decision_function(D)
    assert (model.coef_ == 0).mean() > 0.3
    model.sparsify()
    assert sparse.issparse(model.coef_)
    np.testing.assert_allclose(model.decision_function(D), expected, atol=1e-10)
    copy = pickle.loads(pickle.dumps(model))
    for m in (model, copy):
        m.partial_fit(D, d)
    np.testing.assert_array_equal(model.densify().coef_, copy.densify().coef_)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_same_bits_for_any_number_of_threads(n_jobs, threads_for_all):
    for batch in (1, 64, "full"):
        how = {"batch_size": batch, "max_iter": 2, "tol": None, "random_state": 0, "average": 3}
        one, other = (FastLinearClassifier(n_jobs=n, **how).fit(D, d) for n in (1, n_jobs))
        np.testing.assert_array_equal(one.coef_, other.coef_)


def test_early_stopping_scores_what_it_holds_out():
    weights = np.where(np.arange(len(y)) < 60, 0.0, 1.0)
    model = FastLinearClassifier(early_stopping=True, random_state=0, batch_size=1).fit(X, y, sample_weight=weights)
    assert model.n_iter_ < 100
    assert model.t_ - 1 == model.n_iter_ * int(len(y) * 0.9)
    assert model.score(X, y) > 0.95
    assert len(model.validation_scores_) == model.n_iter_
    _, held_out = train_test_split(np.arange(len(y)), test_size=0.1, random_state=0, stratify=y)
    assert model.validation_scores_[-1] == model.score(X[held_out], y[held_out], weights[held_out])
    assert FastLinearClassifier(max_iter=200).fit(X, y).validation_scores_ is None


@pytest.mark.parametrize("m", [2, 20, 100, 101])
@pytest.mark.parametrize("how", [{}, {"average": True}, {"learning_rate": "constant", "eta0": 0.05}], ids=str)
@pytest.mark.parametrize("data", [X, CSR], ids=["dense", "csr"])
def test_few_samples_are_taken_one_by_one_too(m, how, data):
    rows = np.argsort(y, kind="stable")[np.linspace(0, len(y) - 1, m).astype(int)]
    how = {"shuffle": False, "max_iter": 3, "tol": None} | how
    models = FastLinearClassifier(**how), SGDClassifier(loss="log_loss", **how)
    agree(*(model.fit(data[rows], y[rows]) for model in models), 1e-9)


@pytest.mark.parametrize("learning_rate", ["optimal", "constant", "invscaling"])
def test_a_stream_of_single_samples_and_chunks(learning_rate):
    how = {"learning_rate": learning_rate, "eta0": 0.05}
    models = FastLinearClassifier(**how), SGDClassifier(loss="log_loss", **how)
    for model in models:
        for part in (slice(k, k + 1) for k in range(40)):
            model.partial_fit(X[part], y[part], classes=[0, 1])
        for part in (slice(0, 100), slice(100, 201)):
            model.set_params(shuffle=False).partial_fit(X[part], y[part])
    agree(*models, 1e-9)


@pytest.mark.parametrize(
    ("data", "how", "message"),
    [
        (CSR, {"batch_size": 10}, 'batch_size must be 1, "full" or "auto" for a CSR matrix, got 10'),
        (X, {"alpha": 0.0}, "alpha must be > 0 since learning_rate is 'optimal'. alpha is used to compute the optimal"),
        (X, {"loss": "hinge"}, "The 'loss' parameter"),
        (X, {"batch_size": 0}, "The 'batch_size' parameter"),
        (X * 1e200, {"learning_rate": "constant", "eta0": 1e200}, "under-/overflow occurred at epoch #1"),
    ],
)
def test_what_will_not_do(data, how, message):
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        FastLinearClassifier(**how).fit(data, y)


def test_what_is_said(capsys):
    with pytest.warns(ConvergenceWarning, match="Maximum number of iteration") as caught:
        FastLinearClassifier(max_iter=2, verbose=1).fit(X, y)
    assert {w.filename for w in caught} == {__file__}
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("=")[0] for line in lines] == ["Epoch 1, loss ", "Epoch 2, loss "]
    with pytest.raises(ValueError, match="not told of"):
        FastLinearClassifier().partial_fit(X, y, classes=[0, 1]).partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        FastLinearClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="early_stopping should be False with partial_fit"):
        FastLinearClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1])


# ---------------------------------------------------------------- faults that nothing else would show


@pytest.mark.parametrize("n", [1, 3, 61, 63])
@pytest.mark.parametrize("labels", [d, d % 4, d % 3], ids=["ten classes", "four", "three"])
def test_weights_decay_in_vectors_that_are_not_full(n, labels):
    """With any number of features, all weights shrink at each step."""
    how = {"alpha": 0.05, "learning_rate": "constant", "eta0": 0.1, "max_iter": 2, "shuffle": False, "tol": None}
    ours = FastLinearClassifier(batch_size=1, **how).fit(D[:100, :n], labels[:100])
    last, _, _ = numpy_sgd(D[:100, :n], labels[:100], rates=np.full(200, 0.1), batch=1, l1=0, l2=0.05, epochs=2,
                           weights=np.ones(100), average=0)  # fmt: skip
    assert relative([ours.coef_, ours.intercept_], last) < 1e-11


@pytest.mark.parametrize("average", [7, 70, 77, 333, 334, 340, 403])
def test_an_average_begins_with_the_step_whose_last_sample_is_its_first(average):
    """In the middle of an epoch, at its last batch, which is not full, and in the next epoch."""
    rows = 333
    how = {"learning_rate": "constant", "eta0": 0.2, "max_iter": 3, "shuffle": False, "tol": None, "penalty": None}
    _, mean, _ = numpy_sgd(D[:rows], d[:rows], rates=np.full(3 * rows, 0.2), batch=7, l1=0, l2=0, epochs=3,
                           weights=np.ones(rows), average=average)  # fmt: skip
    ours = FastLinearClassifier(batch_size=7, average=average, **how).fit(D[:rows], d[:rows])
    assert relative([ours.coef_, ours.intercept_], mean) < 1e-11


@pytest.mark.parametrize("average", [332, 333, 334, 666, 667])
def test_an_average_of_full_batches_begins_with_the_same_step_for_csr(average):
    how = {
        "learning_rate": "constant",
        "eta0": 0.2,
        "max_iter": 4,
        "tol": None,
        "batch_size": "full",
        "average": average,
    }
    _, mean, _ = numpy_sgd(D[:333], d[:333], rates=np.full(4 * 333, 0.2), batch=333, l1=0, l2=1e-4, epochs=4,
                           weights=np.ones(333), average=average)  # fmt: skip
    for data in (D[:333], D_CSR[:333]):
        ours = FastLinearClassifier(**how).fit(data, d[:333])
        assert relative([ours.coef_, ours.intercept_], mean) < 1e-11


@pytest.mark.parametrize("learning_rate", ["optimal", "constant"])
@pytest.mark.parametrize("batch_size", [1, 32, "full"])
@pytest.mark.parametrize("data", [D, D_CSR], ids=["dense", "csr"])
def test_without_an_intercept_there_is_none(data, batch_size, learning_rate):
    if batch_size == 32 and sparse.issparse(data):
        pytest.skip("CSR rows go one by one, or all at once")
    how = {"learning_rate": learning_rate, "eta0": 0.1, "batch_size": batch_size, "max_iter": 3, "tol": None}
    ours = FastLinearClassifier(fit_intercept=False, random_state=0, **how).fit(data, d)
    assert not ours.intercept_.any()
    assert ours.score(data, d) > 0.7


def test_held_out_samples_count_by_their_weights():
    """Where those that are wrong weigh nothing, the score is 1."""
    how = {"early_stopping": True, "max_iter": 1, "tol": None, "random_state": 0, "validation_fraction": 0.5}
    once = FastLinearClassifier(**how).fit(D, d)
    assert once.validation_scores_[0] < 1
    weights = np.where(once.predict(D) == d, 1.0, 1e-9)
    again = FastLinearClassifier(**how).fit(D, d, sample_weight=weights)
    _, held_out = again._split(d, weights, np.random.RandomState(0))
    right = again.predict(D[held_out]) == d[held_out]
    assert again.validation_scores_[0] == pytest.approx(np.average(right, weights=weights[held_out]), rel=1e-12)
    assert again.validation_scores_[0] != pytest.approx(right.mean(), rel=1e-6)
