"""Per-sample SGD, wide and narrow, from hand values to torch. The order of the rows is the algorithm."""

import numpy as np
import pytest

from fastclf.engine.descent import _NARROW_BLOCK
from fastclf.kernels.target import TARGET

from ..helpers import (
    DTYPES,
    FINITE_DIFFERENCES,
    KINDS,
    LANES,
    ONE_STEP,
    TRAJECTORY,
    IfInstalled,
    as_distribution,
    assert_close,
    edges,
    overflowing,
    problem,
    reference_steps,
    trainer,
)

torch, F = IfInstalled("torch"), IfInstalled("torch.nn.functional")

# (m, n, c) around every edge of a vector and of a group of classes, one dimension at a time
WIDE = [
    *[(9, 23, c) for c in range(1, 18)],
    *[(9, n, 3) for n in edges(1, *LANES, *(2 * lanes for lanes in LANES))],
    *[(m, 23, 5) for m in (1, 2, 3, 40)],
    (1, 1, 1),
]
NARROW = [
    *[(9, 5, c) for c in range(1, 17)],
    *[(9, n, 3) for n in [*range(1, 10), 31, 32]],
    *[(m, 3, 3) for m in (1, 2, 3, 40)],
    (1, 1, 1),
]
CASES = [
    pytest.param(kind, d, shape, id=f"{kind}-{d}-{'x'.join(map(str, shape))}")
    for kind, shapes in (("wide", WIDE), ("narrow", NARROW))
    for d in DTYPES
    for shape in shapes
    if kind == "wide" or shape[2] <= TARGET.lanes(d.itemsize)
]
RATE = 0.5


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["softmax", "sigmoid"])
def sigmoid(request):
    return request.param


def test_hand_values(kind, dtype):
    """From theta 0 the first sample, x = 2 of class 0, makes W = ±1 and b = ±1/2; the second then sees the scores ±4.5."""
    X = np.array([[2.0], [4.0]], dtype)
    model = trainer(kind, X, np.zeros((2, 2)), labels=np.array([0, 1]))
    loss = model.sgd(1.0, 1)
    p = 1 / (1 + np.exp(-9.0))
    expected = [[0.5 - p, p - 0.5], [1 - 4 * p, 4 * p - 1]]
    assert_close(ONE_STEP[dtype], loss=(loss, [np.log(2)]), theta=(model.theta(), expected))


@pytest.mark.parametrize(("kind", "dtype", "shape"), CASES)
def test_a_pass_over_dense_targets(kind, dtype, shape, sigmoid):
    X, _, targets, theta = problem(*shape, dtype, sigmoid)
    losses, expected = reference_steps(X, targets, theta, RATE, sigmoid=sigmoid, batch=False)
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    got = model.sgd(RATE, 1)
    assert_close(ONE_STEP[dtype], loss=(got, losses), theta=(model.theta(), expected))


@pytest.mark.parametrize(("kind", "dtype", "shape"), CASES)
def test_a_pass_over_labels(kind, dtype, shape):
    X, labels, _, theta = problem(*shape, dtype)
    targets = as_distribution(labels, shape[2], False)
    losses, expected = reference_steps(X, targets, theta, RATE, batch=False)
    model = trainer(kind, X, theta, labels=labels)
    got = model.sgd(RATE, 1)
    assert_close(ONE_STEP[dtype], loss=(got, losses), theta=(model.theta(), expected))


@pytest.mark.parametrize("m", [1, 2, 40])
def test_a_pass_over_labels_of_a_sigmoid(kind, dtype, m):
    X, labels, _, theta = problem(m, 5, 1, dtype, sigmoid=True)
    losses, expected = reference_steps(X, labels.reshape(-1, 1), theta, RATE, sigmoid=True, batch=False)
    model = trainer(kind, X, theta, labels=labels, sigmoid=True)
    got = model.sgd(RATE, 1)
    assert_close(ONE_STEP[dtype], loss=(got, losses), theta=(model.theta(), expected))


def test_the_update_by_one_sample_is_the_slope_of_its_loss(kind, sigmoid):
    X, _, targets, theta = problem(1, 3, 4, sigmoid=sigmoid)
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    model.sgd(1.0, 1)
    gradient, h = theta - model.theta(), 1e-5

    def loss_at(entry, change):
        moved = theta.copy()
        moved[entry] += change
        model.set_theta(moved)
        return model.descend(0.0, 1, update=False)[0]

    slopes = np.array([(loss_at(e, h) - loss_at(e, -h)) / (2 * h) for e in np.ndindex(theta.shape)])
    assert_close(FINITE_DIFFERENCES, theta=(gradient, slopes.reshape(theta.shape)))


def test_many_passes(kind, sigmoid):
    X, _, targets, theta = problem(60, 6, 4, sigmoid=sigmoid)
    losses, expected = reference_steps(X, targets, theta, 0.05, 40, sigmoid=sigmoid, batch=False)
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    got = model.sgd(0.05, 40)
    assert_close(TRAJECTORY, losses=(got, losses), theta=(model.theta(), expected))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("m", [1, 50, _NARROW_BLOCK + 1])
def test_many_passes_in_one_call_are_those_in_many(kind, dtype, m):
    """How a run is cut into calls depends on the clock, and must not be seen in a bit."""
    X, labels, _, theta = problem(m, 6, 4, dtype)
    whole, cut = (trainer(kind, X, theta, labels=labels) for _ in range(2))
    expected = whole.sgd(RATE, 6)
    got = np.concatenate([cut.sgd(RATE, k) for k in (1, 3, 2)])
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(cut.theta(), whole.theta())


def test_a_pass_cut_into_parts_is_the_whole(dtype, monkeypatch):
    """Long passes come back to Python on the way, after a number of samples that the shape alone decides."""
    X, labels, _, theta = problem(50, 6, 4, dtype)
    whole = trainer("wide", X, theta, labels=labels)
    whole.sgd(RATE, 2)
    monkeypatch.setattr("fastclf.engine.sgd._CALL_OPERATIONS", 4 * 6 * 4 * 7)  # seven samples at a time
    parts = trainer("wide", X, theta, labels=labels)
    parts.sgd(RATE, 2)
    assert_close(ONE_STEP[dtype], theta=(parts.theta(), whole.theta()))


@pytest.mark.parametrize("m", [*edges(1, *LANES), *edges(_NARROW_BLOCK), 2 * _NARROW_BLOCK + 5])
def test_the_loss_is_that_of_batch_descent(kind, dtype, m):
    X, labels, _, theta = problem(m, 3, 4, dtype)
    model = trainer(kind, X, theta, labels=labels)
    expected = model.descend(0.0, 1, update=False)
    assert_close(ONE_STEP[dtype], loss=(model.sgd(0.0, 1), expected))


def test_without_loss_the_passes_are_the_same(kind, dtype):
    X, labels, _, theta = problem(30, 6, 4, dtype)
    with_loss, without = (trainer(kind, X, theta, labels=labels) for _ in range(2))
    with_loss.sgd(RATE, 3)
    without.sgd(RATE, 3, with_loss=False)
    np.testing.assert_array_equal(without.theta(), with_loss.theta())


@pytest.mark.parametrize("target", ["labels", "dense"])
def test_three_passes_of_torch(kind, target, sigmoid):
    c = 1 if sigmoid else 4
    X, labels, targets, theta = problem(12, 6, c, sigmoid=sigmoid)
    linear = torch.nn.Linear(6, c, dtype=torch.float64)
    with torch.no_grad():
        linear.bias[:], linear.weight[:] = torch.tensor(theta[0]), torch.tensor(theta[1:].T)
    optimiser = torch.optim.SGD(linear.parameters(), lr=RATE)
    if sigmoid:
        goal, loss_of = as_distribution(labels, 1, True), F.binary_cross_entropy_with_logits
    else:
        goal, loss_of = labels, F.cross_entropy
    goal = goal if target == "labels" else targets
    for _ in range(3):
        for x, t in zip(torch.tensor(X).split(1), torch.tensor(goal).split(1)):
            optimiser.zero_grad()
            loss_of(linear(x), t).backward()
            optimiser.step()
    given = {"labels": labels} if target == "labels" else {"targets": targets}
    model = trainer(kind, X, theta, **given, sigmoid=sigmoid)
    model.sgd(RATE, 3)
    after = model.theta()
    assert_close(1e-12, weights=(after[1:].T, linear.weight.detach()), bias=(after[0], linear.bias.detach()))


def test_without_bias_row_0_stays(kind, dtype, sigmoid):
    X, _, targets, theta = problem(9, 6, 4, dtype, sigmoid)
    losses, expected = reference_steps(X, targets, theta, RATE, sigmoid=sigmoid, batch=False, bias=False)
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid, bias=False)
    got = model.sgd(RATE, 1)
    assert_close(ONE_STEP[dtype], loss=(got, losses), theta=(model.theta(), expected))
    np.testing.assert_array_equal(model.theta()[0], theta[0])


# The exponentials of a softmax are first taken without subtracting the maximum: scores of every size are to be right.
@pytest.mark.parametrize("level", [-1e4, -700, -100, -60, -30, -1, 1, 30, 60, 87, 100, 700, 1e4])
def test_scores_of_every_size(kind, dtype, level):
    """Common to all classes, the level cancels."""
    X, labels, _, theta = problem(6, 3, 4, dtype)
    theta[0] += dtype.type(level)
    expected = reference_steps(X, as_distribution(labels, 4, False), theta, RATE, batch=False)[1] - level
    model = trainer(kind, X, theta, labels=labels)
    model.sgd(RATE, 1)
    # Scores near the level are rounded to its last place, whoever computes them.
    rounding = 8 * np.finfo(dtype).eps * abs(level)
    np.testing.assert_allclose(model.theta() - level, expected, rtol=0, atol=10 * ONE_STEP[dtype] + rounding)


@pytest.mark.parametrize("spread", [20, 80, 200, 1e4])
def test_scores_far_apart(kind, dtype, spread):
    """One class that is certain, and one right answer among two: only the wrong one moves theta."""
    X, theta = np.ones((2, 1), dtype), np.array([[0, 0, 0], [spread, -spread, -spread]], float)
    expected = reference_steps(X, np.eye(3)[[0, 1]], theta, RATE, batch=False)[1]
    model = trainer(kind, X, theta, labels=np.array([0, 1]))
    model.sgd(RATE, 1)
    assert_close(ONE_STEP[dtype], theta=(model.theta(), expected))


@pytest.mark.parametrize("spread", [20, 80, 200, 1e4])
def test_scores_far_apart_of_a_sigmoid(kind, dtype, spread):
    X, theta = np.ones((2, 1), dtype), np.array([[0.0], [spread]])
    expected = reference_steps(X, np.array([[1], [0]]), theta, RATE, sigmoid=True, batch=False)[1]
    model = trainer(kind, X, theta, labels=np.array([1, 0]), sigmoid=True)
    model.sgd(RATE, 1)
    assert_close(ONE_STEP[dtype], theta=(model.theta(), expected))


def test_divergence_is_seen(kind, dtype, sigmoid):
    X, _, targets, theta = overflowing(problem(20, 6, 4, dtype, sigmoid))
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    losses = model.sgd(float(np.finfo(dtype).max), 3)
    assert np.isfinite(losses[0])
    assert np.isnan(losses[-1])


def test_a_diverged_run_does_no_harm_to_the_next(kind, dtype, sigmoid):
    """A callback may put the last good parameters back: what is left in the scratch must not be seen."""
    X, _, targets, theta = overflowing(problem(20, 6, 4, dtype, sigmoid))
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    loss, after = model.sgd(0.5, 1), model.theta()
    model.sgd(float(np.finfo(dtype).max), 3)
    model.set_theta(theta)
    np.testing.assert_array_equal(model.sgd(0.5, 1), loss)
    np.testing.assert_array_equal(model.theta(), after)


def test_inputs_are_only_read(kind, dtype, sigmoid):
    X, labels, targets, theta = problem(40, 6, 1 if sigmoid else 4, dtype, sigmoid)
    for given in ({"labels": labels}, {"targets": targets}):
        for array in (X, *given.values()):
            array.flags.writeable = False
        before = [a.copy() for a in (X, *given.values())]
        trainer(kind, X, theta, **given, sigmoid=sigmoid).sgd(1.0, 2)
        for array, old in zip((X, *given.values()), before):
            np.testing.assert_array_equal(array, old)
