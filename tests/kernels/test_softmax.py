"""The last layer: probabilities, losses and deltas, from hand values to torch."""

import numba
import numpy as np
import pytest

from fastclf import reference
from fastclf.engine.losses import CLIPPED, EXACT, SHIFTED
from fastclf.engine.memory import round_up
from fastclf.kernels import jit, matmul, softmax
from fastclf.kernels.codes import MANY_CLASSES
from fastclf.kernels.simd import at, vlane0, vsplat

from ..helpers import FINITE_DIFFERENCES, LANES, ONE_STEP, IfInstalled, as_distribution, assert_close, edges, problem

torch, F = IfInstalled("torch"), IfInstalled("torch.nn.functional")


@numba.njit(**jit.FLAGS)
def output_layer(S, labels, targets, order, c, ld, sigmoid, low, high, eps, scale):
    """All that ``softmax`` does with one block of scratch, for the samples of ``order``. Returns the total loss."""
    n_rows, labelled = order.shape[0], labels.shape[0] > 0
    softmax.gather_targets(labels, targets, labelled, order, n_rows, S, 0, 0, c, ld)
    softmax.gather_weights(S, False, order, n_rows, S, 0, 0, c, ld)
    softmax.output_layer(at(S, 0), 0, 0, n_rows, c, ld, labelled, sigmoid, True, True, True, low, high, eps, scale)
    return softmax.total_loss(S, 0, n_rows, c, ld)


@numba.njit(**jit.FLAGS)
def bias_gradients(S, n_rows, c, ld, out):
    for k in range(c):
        out[k] = softmax.bias_gradient(S, 0, k, n_rows, c, ld)


@numba.njit(**jit.FLAGS)
def column_sums(S, start, n_rows, c, out, scale, step, limit):
    matmul.column_sums(at(S, 0), start, n_rows, c, at(out, 0), scale, step, limit)


@numba.njit
def places(c, ld):
    """The block's layout: its size, and where the logits, probabilities, deltas and losses start."""
    return (
        softmax.block_size(c, ld),
        softmax.logits_at(0, c, ld),
        softmax.probabilities_at(0, c, ld),
        softmax.deltas_at(0, c, ld),
        softmax.losses_at(0, c, ld),
    )


def last_layer(
    Z, labels=None, targets=None, *, order=None, sigmoid=False, rule=EXACT, scale=1.0, before=0.0
):  # fmt: skip
    """Probabilities, deltas and losses of logits (m, c), in a block of scratch that holds ``before``.

    Logits past the last sample are NaN: nothing may come of them.
    """
    (m, c), dtype = Z.shape, Z.dtype
    ld = round_up(m)
    size, *starts = places(c, ld)
    S = np.full(size, before, dtype)
    logits, P, D = (S[start : start + c * ld] for start in starts[:3])
    if c > MANY_CLASSES:
        logits, P, D = (part.reshape(ld, c).T for part in (logits, P, D))
    else:
        logits, P, D = (part.reshape(c, ld) for part in (logits, P, D))
    losses = S[starts[3] : starts[3] + ld]
    logits[:], logits[:, :m] = np.nan, Z.T
    total = output_layer(
        S, np.empty(0, np.int64) if labels is None else labels, np.empty(0, dtype) if targets is None else targets.ravel(),
        np.arange(m) if order is None else order, c, ld, sigmoid, *(dtype.type(v) for v in (*rule, scale)),
    )  # fmt: skip
    gradients, rounding = np.empty(c, dtype), 16 * np.finfo(dtype).eps
    if c > MANY_CLASSES:
        column_sums(S, starts[2], m, c, gradients, dtype.type(0), dtype.type(1), dtype.type(np.inf))
    else:
        bias_gradients(S, m, c, ld, gradients)
    np.testing.assert_allclose(total, losses[:m].sum(dtype=np.float64), rtol=rounding, atol=1e-30)
    np.testing.assert_allclose(gradients, D[:, :m].sum(axis=1, dtype=np.float64), rtol=0, atol=rounding * scale * m)
    return P[:, :m].T, D[:, :m].T, losses[:m]


@pytest.fixture(params=[False, True], ids=["softmax", "sigmoid"])
def sigmoid(request):
    return request.param


def logits(m, c, dtype, spread=3.0):
    return (spread * np.random.default_rng([m, c]).standard_normal((m, c))).astype(dtype)


def test_hand_values(dtype):
    """p = (1/6, 2/6, 3/6); the loss of the middle class is log 3."""
    Z = np.log(np.array([[1, 2, 3]])).astype(dtype)
    P, D, loss = last_layer(Z, np.array([1]), scale=0.5)
    assert_close(
        ONE_STEP[dtype],
        P=(P, [[1 / 6, 2 / 6, 3 / 6]]),
        D=(D, [[1 / 12, -1 / 3, 1 / 4]]),
        loss=(loss, [np.log(3)]),
    )


def test_hand_values_of_a_sigmoid(dtype):
    """p = 3/4 at z = log 3; the loss of class 0 is log 4."""
    Z = np.full((1, 1), np.log(3), dtype)
    P, D, loss = last_layer(Z, np.array([0]), sigmoid=True, scale=2)
    assert_close(ONE_STEP[dtype], P=(P, [[3 / 4]]), D=(D, [[3 / 2]]), loss=(loss, [np.log(4)]))


def reference_rows(Z, targets, sigmoid):
    Z = np.asarray(Z, np.float64)
    p = reference.sigmoid(Z) if sigmoid else reference.softmax(Z)
    log_p, log_q = np.log(p), np.log(1 - p) if sigmoid else 0
    return p, -np.sum(targets * log_p + ((1 - targets) * log_q if sigmoid else 0), axis=1)


@pytest.mark.parametrize("c", sorted({*range(1, 18), *edges(*(2 * n for n in LANES), MANY_CLASSES), 100, 2000}))
def test_dense_targets(c, dtype, sigmoid):
    Z, targets = logits(5, c, dtype), problem(5, 1, c, dtype, sigmoid).targets
    p, losses = reference_rows(Z, targets.astype(np.float64), sigmoid)
    P, D, loss = last_layer(Z, targets=targets, sigmoid=sigmoid, scale=0.3)
    assert_close(ONE_STEP[dtype], P=(P, p), D=(D, 0.3 * (p - targets)), loss=(loss, losses))


@pytest.mark.parametrize("c", [1, 2, 3, *edges(*LANES, MANY_CLASSES), 100])
def test_labels_are_one_hot_targets(c, dtype, sigmoid):
    c = 1 if sigmoid else c
    Z, labels = logits(9, c, dtype), np.arange(9) % (2 if sigmoid else c)
    dense = as_distribution(labels, c, sigmoid).astype(dtype)
    expected = last_layer(Z, targets=dense, sigmoid=sigmoid)
    got = last_layer(Z, labels, sigmoid=sigmoid)
    assert_close(ONE_STEP[dtype], **dict(zip(("P", "D", "loss"), zip(got, expected))))


def test_targets_are_found_through_an_index(dtype, sigmoid):
    """A batch is a part of the data in another order."""
    c, order = 1 if sigmoid else 4, np.array([5, 0, 3])
    Z, y = logits(3, c, dtype), problem(7, 1, c, dtype, sigmoid)
    for name, given in (("labels", y.labels), ("targets", y.targets)):
        expected = last_layer(Z, **{name: given[order]}, sigmoid=sigmoid)
        got = last_layer(Z, **{name: given}, order=order, sigmoid=sigmoid)
        for a, b in zip(got, expected):
            np.testing.assert_array_equal(a, b)


def test_a_part_of_a_block(dtype):
    """Threads share a batch: its samples from some column on, the others untouched."""
    Z, labels, c, ld = logits(32, 3, dtype), np.arange(32) % 3, 3, 32
    P, D, losses = last_layer(Z, labels)
    size, *starts = places(c, ld)
    S = np.full(size, 9, dtype)
    S[starts[0] : starts[0] + c * ld].reshape(c, ld)[:] = Z.T
    part(S, labels, np.arange(32), 16, c, ld, *(dtype.type(v) for v in (*EXACT, 1.0)))
    for expected, start in ((P, starts[1]), (D, starts[2]), (losses[:, None], starts[3])):
        got = S[start : start + expected.size].reshape(-1, ld).T
        np.testing.assert_array_equal(got[16:], expected[16:])
        assert (got[:16] == 9).all()


@numba.njit(**jit.FLAGS)
def part(S, labels, order, r0, c, ld, low, high, eps, scale):
    softmax.gather_targets(labels, S, True, at(order, r0), ld - r0, S, 0, r0, c, ld)
    softmax.gather_weights(S, False, at(order, r0), ld - r0, S, 0, r0, c, ld)
    softmax.output_layer(at(S, 0), 0, r0, ld - r0, c, ld, True, False, True, True, True, low, high, eps, scale)


@pytest.mark.parametrize("before", [np.nan, np.inf])
def test_what_the_results_memory_held_does_not_matter(before, dtype, sigmoid):
    """Scratch that a diverged run leaves behind is full of NaN."""
    c = 1 if sigmoid else 11
    Z, y = logits(4, c, dtype), problem(4, 1, c, dtype, sigmoid)
    for given in ({"labels": y.labels}, {"targets": y.targets}):
        for expected, got in zip(*(last_layer(Z, **given, sigmoid=sigmoid, before=b) for b in (0.0, before))):
            np.testing.assert_array_equal(got, expected)


def test_an_impossible_class_leaves_the_others_alone(dtype):
    """Logits of -inf have probability 0, wherever they stand."""
    for k in range(3):
        Z = np.insert(np.log(np.array([[1.0, 3.0]])), k, -np.inf, axis=1).astype(dtype)
        P, _, _ = last_layer(Z, np.array([k - 1]))
        assert_close(ONE_STEP[dtype], P=(P, np.insert([[0.25, 0.75]], k, 0.0, axis=1)))


def test_delta_is_the_slope_of_the_loss(sigmoid):
    Z, targets = logits(3, 5, np.float64), problem(3, 1, 5, sigmoid=sigmoid).targets
    _, D, _ = last_layer(Z, targets=targets, sigmoid=sigmoid)
    slopes, h = np.empty_like(Z), 1e-5
    for place in np.ndindex(Z.shape):
        up, down = Z.copy(), Z.copy()
        up[place], down[place] = Z[place] + h, Z[place] - h
        losses = [last_layer(z, targets=targets, sigmoid=sigmoid)[2][place[0]] for z in (up, down)]
        slopes[place] = (losses[0] - losses[1]) / (2 * h)
    assert_close(FINITE_DIFFERENCES, D=(D, slopes))


@pytest.mark.parametrize("kind", ["labels", "dense"])
def test_against_torch(kind, sigmoid):
    c = 1 if sigmoid else 6
    Z, y = logits(7, c, np.float64), problem(7, 1, c, sigmoid=sigmoid)
    z = torch.tensor(Z, requires_grad=True)
    given = {"labels": y.labels} if kind == "labels" else {"targets": y.targets}
    if sigmoid:
        t = torch.tensor(as_distribution(y.labels, 1, True) if kind == "labels" else y.targets)
        expected = F.binary_cross_entropy_with_logits(z, t, reduction="none").sum(1)
    else:
        expected = F.cross_entropy(z, torch.tensor(y.labels if kind == "labels" else y.targets), reduction="none")
    expected.sum().backward()
    _, D, loss = last_layer(Z, **given, sigmoid=sigmoid)
    assert_close(1e-12, D=(D, z.grad), loss=(loss, expected.detach()))


# The lab's clip bounds -log p on both sides. float32 holds log(1e-15) to seven digits.
FAR = 1e4
LOWEST = -np.log(1e-15)


@pytest.mark.parametrize(
    ("rule", "losses"),
    [(CLIPPED, [0, LOWEST]), (EXACT, [0, 2 * FAR]), (SHIFTED, [-np.log1p(1e-10), -np.log(1e-10)])],
    ids=["clip", "exact", "shift"],
)
def test_extreme_logits_of_a_softmax(rule, losses, dtype):
    """A certain answer: what the rule makes of p = 1 where it is right, and of p = 0 where it is wrong."""
    Z = np.array([[FAR, -FAR, -FAR]] * 2, dtype)
    for given in ({"labels": np.array([0, 1])}, {"targets": np.eye(3, dtype=dtype)[:2]}):
        P, D, loss = last_layer(Z, **given, rule=rule)
        assert_close(
            ONE_STEP[dtype],
            P=(P, [[1, 0, 0]] * 2),
            D=(D, [[0, 0, 0], [1, -1, 0]]),
            loss=(loss, losses),
        )


@pytest.mark.parametrize(("rule", "wrong_loss"), [(CLIPPED, LOWEST), (EXACT, FAR)], ids=["clip", "exact"])
def test_extreme_logits_of_a_sigmoid(rule, wrong_loss, dtype):
    """In float64, log(1 - p) of the clipped p is that of a multiple of the machine epsilon, as the lab has it."""
    wrong = [np.log(1 - (1 - 1e-15)) if rule is CLIPPED and dtype == np.float64 else -wrong_loss, -wrong_loss]
    Z = np.array([[FAR], [FAR], [-FAR], [-FAR]], dtype)
    labels = np.array([1, 0, 0, 1])
    for given in ({"labels": labels}, {"targets": labels.reshape(-1, 1).astype(dtype)}):
        P, D, loss = last_layer(Z, **given, sigmoid=True, rule=rule)
        assert_close(
            ONE_STEP[dtype],
            P=(P, [[1], [1], [0], [0]]),
            D=(D, [[0], [1], [0], [-1]]),
            loss=(loss, [0, -wrong[0], 0, -wrong[1]]),
        )


@pytest.mark.parametrize("c", [1, 3, *edges(*LANES)])
def test_equal_logits_give_equal_probabilities(c, dtype):
    """Whatever their size, and with nothing leaking in from lanes past the last class."""
    for level in (0.0, FAR, -FAR):
        P, _, loss = last_layer(np.full((1, c), level, dtype), np.array([c - 1]))
        # At logits of 1e4, log p is what is left of a difference of such numbers.
        assert_close(ONE_STEP[dtype], P=(P, np.full((1, c), 1 / c)))
        assert abs(loss[0] - np.log(c)) <= 4 * np.finfo(dtype).eps * max(abs(level), 1)


@pytest.mark.parametrize("rule", [CLIPPED, EXACT, SHIFTED], ids=["clip", "exact", "shift"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_stays_so(bad, rule, dtype, sigmoid):
    """A run that diverges must be seen to: the loss of a NaN logit, or of an infinite one's softmax, is NaN."""
    if sigmoid:
        bad = np.nan  # the sigmoid of infinity is 1
    Z = np.array([[bad, 1.0]], dtype)
    P, D, loss = last_layer(Z, targets=np.array([[0.5, 0.5]], dtype), sigmoid=sigmoid, rule=rule)
    assert np.isnan(P[0, 0])
    assert np.isnan(D[0, 0])
    assert np.isnan(loss[0])


@pytest.mark.parametrize("m", edges(1, *LANES))
def test_any_number_of_samples(m, dtype, sigmoid):
    c = 1 if sigmoid else 3
    Z, y = logits(m, c, dtype), problem(m, 1, c, dtype, sigmoid)
    p, losses = reference_rows(Z, y.targets.astype(np.float64), sigmoid)
    P, D, loss = last_layer(Z, targets=y.targets, sigmoid=sigmoid)
    assert_close(ONE_STEP[dtype], P=(P, p), D=(D, p - y.targets), loss=(loss, losses))


@numba.njit(**jit.FLAGS)
def bounded(x, out):
    for i, eps in enumerate((0.0, 0.5)):
        out[i] = vlane0(softmax.bounded_log(x, vsplat(x, x[0]), x[1], x[2], eps))


@pytest.mark.parametrize(("log_p", "expected"), [(-3.0, -2.0), (-1.5, -1.5), (-0.1, -1.0)])
def test_bounds_of_the_logarithm(log_p, expected, dtype):
    x, out = np.array([log_p, -2, -1], dtype), np.empty(2, dtype)
    bounded(x, out)
    assert_close(ONE_STEP[dtype], out=(out, [expected, np.log(np.exp(expected) + 0.5)]))
