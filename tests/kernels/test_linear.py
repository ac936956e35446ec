"""Batch gradient descent, wide and narrow, from hand values to torch."""

import numpy as np
import pytest

from fastclf.engine.descent import _MAX_CHUNKS, _NARROW_BLOCK
from fastclf.engine.losses import CLIPPED, EXACT
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

VECTORS = TARGET.outer_tile[1]

# (m, n, c) around every edge of a tile, a vector, a block and a chunk, one dimension at a time
WIDE = [
    *[(21, 23, c) for c in range(1, 18)],
    *[(21, n, 3) for n in edges(1, *LANES, *(VECTORS * lanes for lanes in LANES))],
    *[(m, 23, 3) for m in edges(1, TARGET.dot_tile[0], 64, 128, 1000)],
    *[(m, 2100, 2) for m in (70, 200)],  # rows so long that a chunk of them is several blocks
    (1, 1, 1),
]
NARROW = [
    *[(21, 5, c) for c in range(1, 17)],
    *[(21, n, 3) for n in [*range(1, 10), 31, 32]],
    *[(m, 3, 3) for m in edges(1, *LANES, _NARROW_BLOCK, 2 * _NARROW_BLOCK)],
    (_MAX_CHUNKS * _NARROW_BLOCK + 5, 2, 2),  # so many rows that a chunk of them is several blocks
    (1, 1, 1),
]
CASES = [
    pytest.param(kind, d, shape, id=f"{kind}-{d}-{'x'.join(map(str, shape))}")
    for kind, shapes in (("wide", WIDE), ("narrow", NARROW))
    for d in DTYPES
    for shape in shapes
    if kind == "wide" or shape[2] <= TARGET.lanes(d.itemsize)
]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["softmax", "sigmoid"])
def sigmoid(request):
    return request.param


def test_hand_values(kind, dtype):
    """Two samples, one feature, two classes, theta 0: p = 1/2, so the loss is log 2 and the gradient means of (p - t) x."""
    X = np.array([[2.0], [4.0]], dtype)
    model = trainer(kind, X, np.zeros((2, 2)), labels=np.array([0, 1]))
    loss = model.descend(1.0, 1)
    assert_close(ONE_STEP[dtype], loss=(loss, [np.log(2)]), theta=(model.theta(), [[0, 0], [-0.5, 0.5]]))


def test_hand_values_of_a_sigmoid(kind, dtype):
    X = np.array([[2.0], [4.0]], dtype)
    model = trainer(kind, X, np.zeros((2, 1)), labels=np.array([0, 1]), sigmoid=True)
    loss = model.descend(1.0, 1)
    assert_close(ONE_STEP[dtype], loss=(loss, [np.log(2)]), theta=(model.theta(), [[0], [0.5]]))


@pytest.mark.parametrize(("kind", "dtype", "shape"), CASES)
def test_a_step_on_dense_targets(kind, dtype, shape, sigmoid):
    X, _, targets, theta = problem(*shape, dtype, sigmoid)
    losses, expected = reference_steps(X, targets, theta, 2.0, sigmoid=sigmoid)
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    got = model.descend(2.0, 1)
    assert_close(ONE_STEP[dtype], loss=(got, losses), theta=(model.theta(), expected))


@pytest.mark.parametrize(("kind", "dtype", "shape"), CASES)
def test_a_step_on_labels(kind, dtype, shape):
    X, labels, _, theta = problem(*shape, dtype)
    losses, expected = reference_steps(X, as_distribution(labels, shape[2], False), theta, 2.0)
    model = trainer(kind, X, theta, labels=labels)
    got = model.descend(2.0, 1)
    assert_close(ONE_STEP[dtype], loss=(got, losses), theta=(model.theta(), expected))


@pytest.mark.parametrize("m", [1, 9, 300])
def test_a_step_on_labels_of_a_sigmoid(kind, dtype, m):
    X, labels, _, theta = problem(m, 5, 1, dtype, sigmoid=True)
    losses, expected = reference_steps(X, labels.reshape(-1, 1), theta, 2.0, sigmoid=True)
    model = trainer(kind, X, theta, labels=labels, sigmoid=True)
    got = model.descend(2.0, 1)
    assert_close(ONE_STEP[dtype], loss=(got, losses), theta=(model.theta(), expected))


def test_the_update_is_the_slope_of_the_loss(kind, sigmoid):
    X, _, targets, theta = problem(7, 3, 4, sigmoid=sigmoid)
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    model.descend(1.0, 1)
    gradient, h = theta - model.theta(), 1e-5

    def loss_at(entry, change):
        moved = theta.copy()
        moved[entry] += change
        model.set_theta(moved)
        return model.descend(0.0, 1, update=False)[0]

    slopes = np.array([(loss_at(e, h) - loss_at(e, -h)) / (2 * h) for e in np.ndindex(theta.shape)])
    assert_close(FINITE_DIFFERENCES, theta=(gradient, slopes.reshape(theta.shape)))


def test_many_steps(kind, sigmoid):
    """Fused steps against the reference's loop: the largest difference of losses and theta."""
    X, _, targets, theta = problem(150, 6, 4, sigmoid=sigmoid)
    losses, expected = reference_steps(X, targets, theta, 0.5, 300, sigmoid=sigmoid)
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    got = model.descend(0.5, 300)
    assert_close(TRAJECTORY, losses=(got, losses), theta=(model.theta(), expected))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("m", [50, 3000])
def test_many_steps_in_one_call_are_those_in_many(kind, dtype, m):
    """How a run is cut into calls depends on the clock, and must not be seen in a bit."""
    X, labels, _, theta = problem(m, 6, 4, dtype)
    whole, cut = (trainer(kind, X, theta, labels=labels) for _ in range(2))
    expected = whole.descend(0.5, 7)
    got = np.concatenate([cut.descend(0.5, k) for k in (1, 4, 2)])
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(cut.theta(), whole.theta())


@pytest.mark.parametrize("m", [50, 3000])
def test_the_loss_alone_changes_nothing(kind, dtype, m):
    X, labels, _, theta = problem(m, 6, 4, dtype)
    model = trainer(kind, X, theta, labels=labels)
    alone = model.descend(1.0, 1, update=False)
    np.testing.assert_array_equal(model.theta(), theta)
    np.testing.assert_array_equal(model.descend(1.0, 1), alone)


@pytest.mark.parametrize("target", ["labels", "dense"])
def test_three_steps_of_torch(kind, target, sigmoid):
    c = 1 if sigmoid else 4
    X, labels, targets, theta = problem(30, 6, c, sigmoid=sigmoid)
    linear = torch.nn.Linear(6, c, dtype=torch.float64)
    with torch.no_grad():
        linear.bias[:], linear.weight[:] = torch.tensor(theta[0]), torch.tensor(theta[1:].T)
    optimiser = torch.optim.SGD(linear.parameters(), lr=0.5)
    if sigmoid:
        goal, loss_of = as_distribution(labels, 1, True), F.binary_cross_entropy_with_logits
    else:
        goal, loss_of = labels, F.cross_entropy
    goal = goal if target == "labels" else targets
    losses = []
    for _ in range(3):
        optimiser.zero_grad()
        losses.append(loss_of(linear(torch.tensor(X)), torch.tensor(goal)))
        losses[-1].backward()
        optimiser.step()
    given = {"labels": labels} if target == "labels" else {"targets": targets}
    model = trainer(kind, X, theta, **given, sigmoid=sigmoid)
    got, after = model.descend(0.5, 3), model.theta()
    assert_close(
        1e-12,
        losses=(got, [loss.item() for loss in losses]),
        weights=(after[1:].T, linear.weight.detach()),
        bias=(after[0], linear.bias.detach()),
    )


@pytest.mark.parametrize("m", [5, 3000])
def test_without_bias_row_0_stays(kind, dtype, m, sigmoid):
    X, _, targets, theta = problem(m, 6, 4, dtype, sigmoid)
    losses, expected = reference_steps(X, targets, theta, 2.0, sigmoid=sigmoid, bias=False)
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid, bias=False)
    got = model.descend(2.0, 1)
    assert_close(ONE_STEP[dtype], loss=(got, losses), theta=(model.theta(), expected))
    np.testing.assert_array_equal(model.theta()[0], theta[0])


LOWEST = -np.log(1e-15)


@pytest.mark.parametrize(("rule", "wrong"), [(CLIPPED, LOWEST), (EXACT, 2e4)], ids=["clip", "exact"])
def test_extreme_logits(kind, dtype, rule, wrong):
    """Scores of ±1e4 and two samples, one of them right: the step moves what the wrong one says."""
    X = np.array([[1.0], [1.0]], dtype)
    theta = np.array([[0, 0, 0], [1e4, -1e4, -1e4]])
    model = trainer(kind, X, theta, labels=np.array([0, 1]), rule=rule)
    loss = model.descend(1.0, 1)
    move = np.array([-0.5, 0.5, 0])
    assert_close(ONE_STEP[dtype], loss=(loss, [wrong / 2]), theta=(model.theta(), theta + move))


@pytest.mark.parametrize(("rule", "wrong"), [(CLIPPED, LOWEST), (EXACT, 1e4)], ids=["clip", "exact"])
def test_extreme_logits_of_a_sigmoid(kind, dtype, rule, wrong):
    X = np.array([[1.0], [1.0]], dtype)
    model = trainer(kind, X, np.array([[0], [1e4]]), labels=np.array([1, 0]), sigmoid=True, rule=rule)
    loss = model.descend(1.0, 1)
    if rule is CLIPPED and dtype == np.float64:
        wrong = -np.log(1 - (1 - 1e-15))  # of the clipped probability, rounded
    assert_close(ONE_STEP[dtype], loss=(loss, [wrong / 2]), theta=(model.theta(), [[-0.5], [1e4 - 0.5]]))


@pytest.mark.parametrize("m", [5, 3000])
def test_divergence_is_seen(kind, dtype, m, sigmoid):
    X, _, targets, theta = overflowing(problem(m, 6, 4, dtype, sigmoid))
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    losses = model.descend(float(np.finfo(dtype).max), 3)
    assert np.isfinite(losses[0])
    assert np.isnan(losses[-1])


@pytest.mark.parametrize("m", [5, 3000])
def test_a_diverged_run_does_no_harm_to_the_next(kind, dtype, m, sigmoid):
    """A callback may put the last good parameters back: what is left in the scratch must not be seen."""
    X, _, targets, theta = overflowing(problem(m, 6, 4, dtype, sigmoid))
    model = trainer(kind, X, theta, targets=targets, sigmoid=sigmoid)
    loss, after = model.descend(0.5, 1), model.theta()
    model.descend(float(np.finfo(dtype).max), 3)
    model.set_theta(theta)
    np.testing.assert_array_equal(model.descend(0.5, 1), loss)
    np.testing.assert_array_equal(model.theta(), after)


@pytest.mark.parametrize("m", [1, 64, 130, 1000, 5000])
def test_any_number_of_threads_gives_the_same_bits(kind, dtype, m, threads_for_all):
    c = min(5, TARGET.lanes(dtype.itemsize))  # the narrow kernel has no more classes than lanes
    X, labels, _, theta = problem(m, 7, c, dtype)
    one, two = (trainer(kind, X, theta, labels=labels, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(two.descend(0.5, 3), one.descend(0.5, 3))
    np.testing.assert_array_equal(two.theta(), one.theta())


def test_inputs_are_only_read(kind, dtype, sigmoid):
    X, labels, targets, theta = problem(40, 6, 1 if sigmoid else 4, dtype, sigmoid)
    for given in ({"labels": labels}, {"targets": targets}):
        for array in (X, *given.values()):
            array.flags.writeable = False
        before = [a.copy() for a in (X, *given.values())]
        trainer(kind, X, theta, **given, sigmoid=sigmoid).descend(1.0, 2)
        for array, old in zip((X, *given.values()), before):
            np.testing.assert_array_equal(array, old)
