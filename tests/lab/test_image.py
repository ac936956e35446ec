"""Section 2 of the lab through the front door: ImageLinearClassifier and its train."""

import copy
import pickle

import numpy as np
import pytest

import fastclf
from fastclf import reference

from ..helpers import ONE_STEP, TRAJECTORY, assert_close, problem

N, C = 20, 5


@pytest.fixture
def data():
    return problem(70, N, C)


def model(package, **options):
    np.random.seed(3)
    return package.ImageLinearClassifier(N, C, **options)


def pair(dtype=np.float64):
    """The same classifier twice: ours of a dtype, and the reference's with the same numbers."""
    ours, expected = model(fastclf, dtype=dtype), model(reference)
    expected.W = 20 * expected.W
    ours.W = expected.W
    expected.W = ours.W.astype(np.float64)
    return ours, expected


def compare(tolerance, ours, expected, **more):
    assert_close(tolerance, W=(ours.W, expected.W), b=(ours.b, expected.b), **more)


def test_construction(dtype):
    ours, expected = model(fastclf, dtype=dtype), model(reference)
    np.testing.assert_array_equal(ours.W, expected.W.astype(dtype))
    np.testing.assert_array_equal(ours.b, np.zeros((C, 1)))
    assert ours.W.dtype == ours.b.dtype == dtype
    np.testing.assert_array_equal(fastclf.ImageLinearClassifier(N, C, random_state=3).W, expected.W)


def test_a_step(data, dtype):
    X, y = data.X.astype(dtype), data.labels
    ours, expected = pair(dtype)
    scores, loss = ours.predict(X), ours.compute_loss(X, y)
    assert_close(
        ONE_STEP[dtype], scores=(scores, expected.predict(X)), loss=(loss, expected.compute_loss(X, y)),
        softmax=(ours.softmax(scores), expected.softmax(expected.predict(X))),
    )  # fmt: skip
    ours.gradient_descent(X, y, 0.5)
    expected.gradient_descent(X, y, 0.5)
    compare(ONE_STEP[dtype], ours, expected)


def test_the_default_rate_is_a_thousandth(data):
    ours, expected = pair()
    ours.gradient_descent(data.X, data.labels)
    expected.gradient_descent(data.X, data.labels)
    compare(ONE_STEP[np.dtype(float)], ours, expected)


def test_training(data, capsys):
    ours, expected = pair()
    losses = fastclf.train(ours, data.X, data.labels, 30, 0.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"Epoch {i + 1}, Loss: {loss}" for i, loss in enumerate(losses)]
    compare(
        TRAJECTORY, ours, expected=expected, losses=(losses, reference.train(expected, data.X, data.labels, 30, 0.5))
    )
    assert all(type(loss) is float for loss in losses)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 2), (2, 1, 9), (3, 33, 17), (300, 65, 10)], ids=str)
def test_odd_shapes(shape):
    m, n, c = shape
    X, y, _, _ = problem(m, n, c)
    models = []
    for package in (fastclf, reference):
        np.random.seed(3)
        models.append(package.ImageLinearClassifier(n, c))
    losses = fastclf.train(models[0], X, y, 4, 0.5, verbose=False)
    compare(TRAJECTORY, *models, losses=(losses, reference.train(models[1], X, y, 4, 0.5)))


def test_a_loss_of_nothing_stays_finite(data):
    """The lab takes the logarithm of a probability that underflowed: a difference on purpose."""
    ours = model(fastclf)
    ours.W, ours.b = np.zeros((C, N)), [[1e4], [0], [0], [0], [0]]
    assert ours.compute_loss(data.X[:1], [1]) == pytest.approx(1e4)


def test_a_diverging_run_says_so(data):
    ours, shorter = model(fastclf), model(fastclf)
    with pytest.warns(fastclf.TrainingDivergedWarning, match="epoch 1:") as caught:
        losses = fastclf.train(ours, data.X * 1e200, data.labels, 5, 1e308, verbose=False)
    assert [w.filename for w in caught if w.category is fastclf.TrainingDivergedWarning] == [__file__]
    assert losses == ours.losses_
    assert len(losses) == 1
    np.testing.assert_array_equal(ours.W, shorter.W)
    np.testing.assert_array_equal(ours.b, shorter.b)


@pytest.mark.parametrize("own", [False, True])
def test_the_repr_says_whether_it_is_trained(data, dtype, own):
    class Own(fastclf.ImageLinearClassifier):
        def softmax(self, z):
            return super().softmax(z)

    kind = Own if own else fastclf.ImageLinearClassifier
    untrained, trained = (f"{kind.__name__}({N}, {C}, dtype={dtype}, {word})" for word in ("untrained", "trained"))
    ours, seen = kind(N, C, dtype=dtype), []
    fastclf.train(ours, data.X, data.labels, 0, 0.1, verbose=False)
    ours.compute_loss(data.X, data.labels)
    assert repr(ours) == untrained
    with pytest.raises(ValueError, match="labels"):
        fastclf.train(ours, data.X, data.labels + C, 3, 0.1, verbose=False)
    assert repr(ours) == untrained
    show = lambda *given: seen.append(repr(given[-1]))  # noqa: E731
    fastclf.train(ours, data.X, data.labels, 2, 0.1, verbose=False, callback=show)
    assert seen == [trained] * 2
    assert repr(ours) == repr(copy.deepcopy(ours)) == trained
    ours = kind(N, C, dtype=dtype)
    ours.gradient_descent(data.X, data.labels)
    assert repr(ours) == trained


# ---------------------------------------------------------------- parameters


def test_parameters_can_be_assigned_and_changed_in_place(data):
    ours, expected = pair()
    for m in (ours, expected):
        m.W = m.W[::-1].copy()
        m.W -= 0.1
        m.b += np.arange(C).reshape(-1, 1)
        m.W[0, 1] = 7
        m.gradient_descent(data.X, data.labels, 0.5)
    compare(ONE_STEP[np.dtype(float)], ours, expected)


@pytest.mark.parametrize("make", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_copy_is_a_model_of_its_own(make, data):
    ours, expected = pair()
    twin, before = make(ours), ours.W.copy()
    twin.gradient_descent(data.X, data.labels, 0.5)
    expected.gradient_descent(data.X, data.labels, 0.5)
    compare(ONE_STEP[np.dtype(float)], twin, expected)
    np.testing.assert_array_equal(ours.W, before)


# ---------------------------------------------------------------- callbacks, subclasses, other classifiers


def test_callbacks_see_what_a_shorter_run_leaves(data):
    seen = []
    ours = model(fastclf)
    losses = fastclf.train(
        ours, data.X, data.labels, 4, 0.5, verbose=False, callback=lambda *now: seen.append((*now, ours.W.copy()))
    )
    for epoch, (i, loss, classifier, W) in enumerate(seen):
        shorter = model(fastclf)
        assert fastclf.train(shorter, data.X, data.labels, epoch + 1, 0.5, verbose=False) == losses[: epoch + 1]
        assert (i, loss, classifier) == (epoch, losses[epoch], ours)
        np.testing.assert_array_equal(W, shorter.W)


def test_a_true_callback_stops(data):
    ours, shorter = model(fastclf), model(fastclf)
    losses = fastclf.train(ours, data.X, data.labels, 9, 0.5, verbose=False, callback=lambda i, loss, m: i == 2)
    assert losses == fastclf.train(shorter, data.X, data.labels, 3, 0.5, verbose=False)
    np.testing.assert_array_equal(ours.W, shorter.W)


def test_any_classifier_with_the_two_methods_is_trained(data):
    expected, trained = model(reference), model(reference)
    losses = fastclf.train(trained, data.X, data.labels, 5, 0.5, verbose=False)
    assert losses == reference.train(expected, data.X, data.labels, 5, 0.5)
    np.testing.assert_array_equal(trained.W, expected.W)


@pytest.mark.parametrize("method", ["softmax", "predict", "compute_loss", "gradient_descent"])
def test_a_subclass_is_trained_by_its_own_methods(method, data):
    """As in the lab, where every method calls the others."""

    losses = {}
    for package in (fastclf, reference):
        np.random.seed(3)
        base = package.ImageLinearClassifier
        own = {
            "softmax": lambda self, z, base=base: base.softmax(self, z / 3),
            "predict": lambda self, X, base=base: 2 * base.predict(self, X),
            "compute_loss": lambda self, X, y, base=base: base.compute_loss(self, X, y) + 1,
            "gradient_descent": lambda self, X, y, rate, base=base: base.gradient_descent(self, X, y, rate / 2),
        }[method]
        classifier = type("Own", (base,), {method: own})(N, C)
        losses[package.__name__] = package.train(classifier, data.X, data.labels, 5, 0.5)
    assert_close(TRAJECTORY, losses=tuple(losses.values()))
