"""Answers that would be wrong without a word."""

import warnings

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import SGDClassifier

import fastclf
from fastclf import Batches, FastLinearClassifier, FastMLPClassifier, reference
from fastclf.engine import mapped

from ..helpers import TRAJECTORY, assert_close

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((400, 20)), RNG.integers(0, 3, 400)
BYTES = RNG.integers(0, 256, (400, 20), np.uint8)


@pytest.fixture(autouse=True)
def quietly():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=fastclf.estimators.linear.ConvergenceWarning)
        yield


ESTIMATORS = {
    "linear": FastLinearClassifier(max_iter=5, tol=None, random_state=0),
    "mlp": FastMLPClassifier((9,), max_iter=5, random_state=0),
}


# ---------------------------------------------------------------- where data lie


@pytest.fixture
def on_disk(tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("shuffle", [True, False, "blocks"])
def test_a_model_does_not_depend_on_where_its_data_lie(name, shuffle, on_disk, monkeypatch):
    monkeypatch.setattr(mapped, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(mapped, "_WINDOW_BYTES", 4000)
    made = [ESTIMATORS[name].set_params(shuffle=shuffle).fit(data, Y).predict_proba(X) for data in (X, on_disk)]
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("shuffle", [True, "blocks"])
def test_batches_do_not_depend_on_where_their_data_lie(shuffle, on_disk, monkeypatch):
    monkeypatch.setattr(mapped, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(mapped, "_WINDOW_BYTES", 4000)
    orders = [Batches(data, Y, 32, shuffle, random_state=0).order() for data in (X, on_disk)]
    np.testing.assert_array_equal(*orders)
    blocks_of_four_rows = np.unique(orders[0][:40] // 4).size
    assert (blocks_of_four_rows < 15) == (shuffle == "blocks")


def test_a_file_that_memory_can_not_hold_is_shuffled_by_blocks(on_disk, monkeypatch):
    monkeypatch.setattr(mapped, "_BLOCK_BYTES", 1000)
    rows = Batches(on_disk, Y, shuffle=True, random_state=0).order()
    monkeypatch.setattr(mapped, "free_memory", lambda: 2 * on_disk.nbytes - 2)
    blocks = Batches(on_disk, Y, shuffle=True, random_state=0).order()
    wished = Batches(X, Y, shuffle="blocks", random_state=0).order()
    np.testing.assert_array_equal(blocks, wished)
    assert not np.array_equal(blocks, rows)
    np.testing.assert_array_equal(Batches(X, Y, shuffle=True, random_state=0).order(), rows)  # X is in memory already


def test_free_memory_is_some():
    assert 1e6 < mapped.free_memory() <= float("inf")


def test_another_word_for_shuffle_is_refused():
    with pytest.raises(ValueError, match="shuffle"):
        Batches(X, Y, shuffle="rows")
    with pytest.raises(ValueError, match="shuffle"):
        FastLinearClassifier(shuffle="rows").fit(X, Y)


def test_joblibs_mapped_arguments_give_the_same_votes():
    """joblib maps arguments over 1 MB into its workers."""
    large, labels = RNG.standard_normal((7000, 20)), RNG.integers(0, 3, 7000)
    votes = [
        VotingClassifier([*ESTIMATORS.items()], voting="soft", n_jobs=n_jobs).fit(large, labels).predict_proba(large)
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*votes)


# ---------------------------------------------------------------- bytes

SAME = {
    "int64": lambda B: B.astype(np.int64),
    "uint16": lambda B: B.astype(np.uint16),
    "a list": lambda B: B.tolist(),
    "Fortran order": np.asfortranarray,
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("how", SAME)
def test_whole_numbers_mean_what_bytes_mean(name, how):
    """After training on bytes, and in training."""
    model = ESTIMATORS[name].set_params(shuffle=True, scale=1 / 255).fit(BYTES, Y)
    expected = model.predict_proba(BYTES)
    np.testing.assert_array_equal(model.predict_proba(SAME[how](BYTES)), expected)
    np.testing.assert_array_equal(model.fit(SAME[how](BYTES), Y).predict_proba(BYTES), expected)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_floats_that_look_like_bytes_draw_one_warning(name):
    model = ESTIMATORS[name].set_params(scale=1 / 255).fit(BYTES, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(BYTES)
        model.predict((BYTES / 255).astype(np.float32))
        model.predict(BYTES / 255)
    for floats in (BYTES.astype(np.float32), BYTES.astype(np.float64), BYTES.astype(np.int64) * 2, BYTES / 255 * 2):
        with pytest.warns(UserWarning, match="multiplies bytes by scale") as caught:
            model.predict(floats)
        assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_bytes_are_numbers_by_default(name):
    """As scikit-learn has it: nothing is scaled that nobody has asked to scale."""
    model = ESTIMATORS[name].set_params(scale=1.0)
    assert type(model)().scale == 1.0
    small = (BYTES // 64).astype(np.uint8)
    of_bytes = model.fit(small, Y)
    assert of_bytes.scale_ == 1.0
    P = of_bytes.predict_proba(small)
    np.testing.assert_array_equal(P, of_bytes.predict_proba(small.astype(np.float32)))
    np.testing.assert_allclose(P, model.fit(small.astype(np.float32), Y).predict_proba(small), rtol=1e-5)


# ---------------------------------------------------------------- averages, early stopping


@pytest.mark.parametrize("m", [60, 400])
@pytest.mark.parametrize("batch_size", ["auto", 1, 32, "full"])
def test_an_average_that_never_begins_changes_nothing(m, batch_size):
    how = {"batch_size": batch_size, "max_iter": 5, "tol": None, "random_state": 0}
    plain = FastLinearClassifier(**how).fit(X[:m], Y[:m])
    later = FastLinearClassifier(average=10**9, **how).fit(X[:m], Y[:m])
    np.testing.assert_array_equal(plain.coef_, later.coef_)
    np.testing.assert_array_equal(plain.intercept_, later.intercept_)


def test_an_average_may_begin_in_a_later_call():
    model = FastLinearClassifier(average=600, random_state=0, shuffle=False, learning_rate="constant")
    for _ in range(2):
        model.partial_fit(X, Y == 1, [False, True])
    theirs = SGDClassifier(
        loss="log_loss", average=600, random_state=0, shuffle=False, learning_rate="constant", eta0=0.01
    )
    for _ in range(2):
        theirs.partial_fit(X, Y == 1, [False, True])
    assert_close(1e-12, coef=(model.coef_, theirs.coef_), intercept=(model.intercept_, theirs.intercept_))


def test_early_stopping_takes_rows_in_their_order_where_nothing_is_shuffled():
    """The rows that are not set aside, in their order, as scikit-learn's SGDClassifier takes them."""
    how = {
        "early_stopping": True, "shuffle": False, "random_state": 0, "max_iter": 3, "tol": None,
        "learning_rate": "constant", "eta0": 0.01,
    }  # fmt: skip
    ours = FastLinearClassifier(**how).fit(X, Y == 1)
    theirs = SGDClassifier(loss="log_loss", **how).fit(X, Y == 1)
    assert ours.n_iter_ == theirs.n_iter_
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastclf.engine.sgd.PerSample.stretches", lambda self, rows, *args: seen.append(rows) or iter([]))
        FastLinearClassifier(**how).fit(X, Y)
    assert (np.diff(seen[0]) > 0).all()


# ---------------------------------------------------------------- the lab's losses


def test_binary_losses_are_the_labs_where_it_is_confidently_wrong():
    """There 1 - p is a multiple of the machine epsilon: the lab's losses are those of rounded probabilities."""
    features = np.linspace(-40, 40, 201)[:, None]
    targets = (features < 0).astype(float)
    targets[::20] = 1 - targets[::20]
    np.random.seed(0)
    _, ours = fastclf.train_model(features, targets, 5.0, 40, verbose=False)
    np.random.seed(0)
    with np.errstate(over="ignore"):
        _, labs = reference.train_model(features, targets, 5.0, 40)
    assert max(labs) > 5  # some are confidently wrong
    assert_close(TRAJECTORY, losses=(ours, labs))


def test_what_scikit_learn_refuses_or_takes():
    masked = np.ma.masked_array(X, X > 2)
    with pytest.raises(ValueError, match="class_weight"):
        FastLinearClassifier(class_weight=-1).fit(X, Y)
    with pytest.raises(ValueError, match="eta0"):
        FastLinearClassifier(eta0=-1.0).fit(X, Y)
    with pytest.raises(ValueError, match="learning_rate_init"):
        FastMLPClassifier(learning_rate_init=-1.0).fit(X, Y)
    for name, model in ESTIMATORS.items():
        model.set_params(scale=1.0, shuffle=True)
        np.testing.assert_array_equal(
            model.fit(masked, Y).predict_proba(X), model.fit(X, Y).predict_proba(X), err_msg=name
        )
