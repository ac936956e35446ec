"""The optimisers' steps on a network, bit for bit what NumPy makes of the gradient that the kernel leaves in the state.

Decay rates, penalties and mixes are powers of two. So a product with them is exact, and the kernels' fused operations round
as NumPy's separate ones do. What is between the layers in the parameter vector and in the state must stay as it is.
"""

import numpy as np
import pytest

from fastclf.engine.losses import EXACT
from fastclf.engine.minibatch import BatchTrainer, Samples, Workspace
from fastclf.engine.network import Network
from fastclf.engine.optimisers import SGD, Adam
from fastclf.engine.rows import Rows
from fastclf.kernels import matmul
from fastclf.kernels.codes import ABOVE, BACKWARD, HOLD, LOWEST, TRAIN, WEIGHTS
from fastclf.kernels.records import Settings
from fastclf.kernels.target import TARGET

from ..helpers import LANES, ONE_STEP, assert_close, edges, problem

OUTER_ROWS, VECTORS = TARGET.outer_tile
RATE, CLIP, L2, BETA_1, BETA_2, EPSILON = 0.3, 0.01, 2.0**-7, 0.5, 0.25, 1e-3
OPTIMISERS = {
    "adam": lambda net: Adam(net, RATE, BETA_1, BETA_2, EPSILON),
    "momentum": lambda net: SGD(net, RATE, BETA_1),
    "nesterov": lambda net: SGD(net, RATE, BETA_1, nesterov=True),
    "plain": lambda net: SGD(net, RATE, simple=False),
}
DEPTHS = sorted({3, *(depth + d for depth in (matmul.ACROSS_BELOW, matmul.PACK_FROM) for d in (-1, 1))})


class Training:
    """One step of an optimiser whose state, like the parameters, begins at random numbers, those between layers too."""

    def __init__(self, widths, m, kind, dtype, l1=0.0, capacity=None):
        rng = np.random.default_rng(widths)
        self.net, self.l1 = Network(widths, dtype), l1
        self.net.params[:] = rng.standard_normal(len(self.net.params)) / np.sqrt(widths[0])
        self.optimiser = OPTIMISERS[kind](self.net) if kind in OPTIMISERS else None
        self.work = Workspace(self.net, capacity or m)
        if self.optimiser is not None:
            self.optimiser.state[:] = rng.random(len(self.optimiser.state))
        X, labels, _, _ = problem(m, widths[0], widths[-1], dtype)
        self.samples = Samples(Rows(X, X.dtype), labels)

    def step(self, threads=1, mix=0.0, phases=TRAIN):
        """Take the step; returns the parameters and the three parts of the state, before and after it."""
        before = self.everything()
        own = self.optimiser
        betas = {} if own is None else {"beta_1": own.beta_1, "beta_2": own.beta_2, "epsilon": own.epsilon}
        settings = Settings(*EXACT, clip_threshold=CLIP, l2=L2, l1=self.l1, **betas)
        trainer = BatchTrainer(self.net, self.samples, settings, self.work, own, threads=threads)
        trainer.run(phases, rates=np.array([RATE]), mixes=np.array([mix]) if mix else None)
        return before, self.everything()

    def everything(self):
        if self.optimiser is None:  # of a batch in pieces
            return [self.net.params.copy(), self.work.gradient().copy()]
        return [self.net.params.copy(), *self.optimiser.state.copy().reshape(3, -1)]

    def expected(self, before, gradient, mix=0.0):
        """The parameters and the state after the step along ``gradient``, in the operations of the kernel's dtype."""
        params, _, *moments = (a.copy() for a in before)
        rate, clip, l2, shrink, epsilon = (params.dtype.type(x) for x in (RATE, CLIP, L2, RATE * self.l1, EPSILON))
        for start, size, decay, penalty in self.parts(l2, shrink):
            at = slice(start, start + size)
            x, g = params[at], np.clip(decay * params[at] + gradient[at], -clip, clip)
            if isinstance(self.optimiser, Adam):
                first, second = (moment[at] for moment in moments)
                first[:] = BETA_1 * first + (1 - BETA_1) * g
                second[:] = BETA_2 * second + (1 - BETA_2) * (g * g)
                x -= rate * first / (np.sqrt(second) + epsilon)
            elif self.optimiser is None:
                x -= rate * g
            else:
                velocity = moments[0][at]
                velocity[:] = self.optimiser.beta_1 * velocity - rate * g
                nesterov = self.optimiser.kind == OPTIMISERS["nesterov"](self.net).kind
                x += BETA_1 * velocity - rate * g if nesterov else velocity
            if penalty:
                x -= np.clip(x, -penalty, penalty)
            if mix:
                moments[1][at] += mix * (x - moments[1][at])
        return [params, gradient, *moments]

    def parts(self, l2, shrink):
        """Where the weights and biases of each layer lie, with their penalties."""
        for n_in, n_out, weights, bias, _ in self.net.layout:
            yield weights, n_in * n_out, l2, shrink
            yield bias, n_out, type(l2)(0), type(l2)(0)


def assert_same(got, expected):
    for part, (a, b) in enumerate(zip(got, expected, strict=True)):
        np.testing.assert_array_equal(a, b, err_msg=("parameters", "gradient", "first", "second")[part])


def assert_steps(make, threads, mix=0.0):
    """The step of ``make()`` for each number of threads, beside NumPy's along the gradient of a piece that takes no step."""
    held = make()
    before, after = held.step(phases=TRAIN | HOLD)
    gradient = after[1]
    assert_same([after[0], *after[2:]], [before[0], *before[2:]])
    expected = held.expected(before, gradient, mix)
    for n in threads:
        assert_same(make().step(n, mix)[1], expected)


@pytest.mark.parametrize("m", DEPTHS)
@pytest.mark.parametrize("n_in", edges(1, *LANES, *(VECTORS * lanes for lanes in LANES)))
def test_adam_at_the_edges_of_tiles(n_in, m, dtype):
    for n_hidden in range(1, 2 * OUTER_ROWS + 2):
        assert_steps(lambda: Training((n_in, n_hidden, 3), m, "adam", dtype), (1, 3))  # noqa: B023


@pytest.mark.parametrize("m", DEPTHS)
@pytest.mark.parametrize("mix", [0, 0.25], ids=["last", "average"])
@pytest.mark.parametrize("l1", [0, 2**-4], ids=["free", "l1"])
@pytest.mark.parametrize("kind", OPTIMISERS)
def test_every_optimiser(kind, l1, mix, m, dtype):
    """In networks of one layer and of several."""
    for widths in ((9, 5), (70, 101, 21, 4), (300, 40, 2)):
        if kind == "adam" and mix:
            continue  # the second moment is where others have their average
        assert_steps(lambda: Training(widths, m, kind, dtype, l1), (1, 2, 3, 4), mix)  # noqa: B023


@pytest.mark.parametrize("m", DEPTHS)
def test_layers_of_many_stretches(m, dtype):
    """And of stretches of several lines of tiles, which threads begin and end anywhere."""
    rows = 3 * matmul.STRETCH_BYTES // (300 * dtype.itemsize)
    assert_steps(lambda: Training((301, rows, 2), m, "adam", dtype, 2**-4), (1, 2, 3, 4))


@pytest.mark.parametrize("m", [20, matmul.PACK_FROM + 1])
@pytest.mark.parametrize("kind", [*OPTIMISERS, "in place"])
def test_a_batch_in_pieces_takes_one_step(kind, m, dtype):
    """Along the sum of its pieces' gradients, with the last piece."""
    whole = Training((70, 23, 4), m, "plain", dtype).step()[1][1]
    results = []
    for threads in (1, 2, 3):
        pieces = Training((70, 23, 4), m, kind, dtype, capacity=m // 3)
        before, after = pieces.step(threads)
        results.append(after)
        inside = np.concatenate([np.arange(a, a + n) for a, n, *_ in pieces.parts(dtype.type(0), 0)])
        assert_close(ONE_STEP[dtype], gradient=(after[1][inside], whole[inside]))
        assert_same(after, pieces.expected(before, after[1]))
    for other in results[1:]:
        assert_same(other, results[0])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("widths", [(9, 5), (70, 101, 21, 4), (300, 40, 2), (20, 6, 5, 40)])
def test_a_gradient_in_two_calls(widths, threads, dtype):
    """First that of all layers but the first, and then that of the first, leave the bits of a single call."""
    for m in (1, 7, 100):
        whole, parts = (Training(widths, m, "momentum", dtype) for _ in range(2))
        before, at_once = whole.step(threads, phases=TRAIN | HOLD)
        of_first = parts.net.layout[1, WEIGHTS] if len(widths) > 2 else len(at_once[1])
        _, above = parts.step(threads, phases=TRAIN | HOLD | ABOVE)
        assert_same([above[1][:of_first], above[1][of_first:]], [before[1][:of_first], at_once[1][of_first:]])
        assert len(widths) == 2 or not np.array_equal(above[1], before[1])
        _, both = parts.step(threads, phases=BACKWARD | HOLD | LOWEST)
        assert_same(both, at_once)
