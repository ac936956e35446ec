"""Networks whose products take bfloat16: rounding against torch, products exactly, steps against plain NumPy that rounds."""

import numba
import numpy as np
import pytest

from fastclf.engine.losses import EXACT
from fastclf.engine.minibatch import BatchTrainer, Results, Samples, Workspace
from fastclf.engine.network import Network
from fastclf.engine.optimisers import Adam
from fastclf.engine.rows import Rows
from fastclf.kernels import jit, matmul, operands
from fastclf.kernels.codes import BACKWARD, FORWARD, LOSS, MARK, TRAIN
from fastclf.kernels.records import Blocks, Settings
from fastclf.kernels.simd import at, lanes_of
from fastclf.kernels.target import TARGET
from fastclf.kernels.tile import MASK, UPDATE

from ..helpers import IN_BFLOAT16, IfInstalled, assert_close, bfloat16_step, edges, problem, to_bfloat16

torch = IfInstalled("torch")

LANES = TARGET.lanes(4)  # float32, or pairs
ROWS, UNITS = TARGET.dot_tile
OUTER_ROWS, VECTORS = TARGET.outer_tile
WHOLE = Blocks(1 << 40, 1 << 40, 1 << 40)
RNG = np.random.default_rng(0)

SPECIAL = np.array(
    [0, -0.0, 1, -1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 3.4e38, -3.4028235e38, np.inf, -np.inf, np.nan, 1e-40],
    np.float32,
)  # fmt: skip


# ---------------------------------------------------------------- rounding


@numba.njit(**jit.FLAGS)
def along(source, to):
    operands.round_along(at(source, 0), source.shape[1], source.shape[0], source.shape[1], at(to, 0), to.shape[1])


@numba.njit(**jit.FLAGS)
def across(source, to):
    operands.round_across(at(source, 0), source.shape[1], source.shape[0], source.shape[1], at(to, 0), to.shape[1])


def bits(matrix):
    """The bfloat16 next to each number, by NumPy."""
    return (to_bfloat16(matrix).view(np.uint32) >> 16).astype(np.uint16)


def bits_of_torch(matrix):
    return torch.from_numpy(matrix).bfloat16().view(torch.int16).numpy().view(np.uint16)


def pairs_along(matrix, bits=bits):
    """Rows of pairs."""
    rounded = bits(matrix)
    return np.pad(rounded, ((0, 0), (0, rounded.shape[1] % 2))).view(np.uint32)


def pairs_across(matrix, bits=bits):
    padded = np.pad(matrix, ((0, len(matrix) % 2), (0, 0)))
    both = padded.reshape(-1, 2, matrix.shape[1]).transpose(0, 2, 1)
    return pairs_along(np.ascontiguousarray(both.reshape(len(both), -1)), bits)


def floats_of(pairs):
    """What pairs stand for; NaN is equal to NaN here, as it is not among bits."""
    return (pairs.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("n_columns", [*edges(1, LANES, 2 * LANES), 100])
def test_numbers_are_rounded_as_torch_rounds_them(n_columns):
    for n_rows in (1, 2, 5):
        matrix = np.resize(np.concatenate([SPECIAL, RNG.standard_normal(777).astype(np.float32)]), (n_rows, n_columns))
        for kernel, pairs in ((along, pairs_along), (across, pairs_across)):
            expected = pairs(matrix, bits_of_torch)
            got = np.full(expected.shape, 0x12345678, np.uint32)
            kernel(matrix, got)
            np.testing.assert_array_equal(floats_of(got), floats_of(expected))


def test_floats_are_not_rounded_to_operands(dtype):
    matrix = RNG.standard_normal((5, 37)).astype(dtype)
    for kernel in (along, across):
        got = np.full_like(matrix, 7)
        kernel(matrix, got)
        assert (got == 7).all()
    assert jit.COMPILED["operands.round_along"].dtypes == (str(jit.PAIR),)


@pytest.mark.parametrize("n", [1, 2, 7, 24])
def test_samples_are_rounded_once_or_as_they_are_gathered(n):
    floats = RNG.standard_normal((50, n)).astype(np.float32)
    whole, source = Rows(floats, np.dtype(np.float32)).operands(True, 2)
    np.testing.assert_array_equal(whole, pairs_along(floats))
    assert source.raw.size == 0
    raw = RNG.integers(0, 256, (50, n), np.uint8)
    nothing, source = Rows(raw, np.dtype(np.float32), 1 / 255).operands(True)
    assert nothing.size == 0
    assert source.raw.shape == raw.shape


# ---------------------------------------------------------------- products, of whole numbers, which are exact


@numba.njit(**jit.FLAGS)
def forward_of(A, a_rows, W, w_rows, bias, Z, act, blocks, sums):
    matmul.forward(
        at(A, 0), A.shape[1], at(a_rows, 0), a_rows.shape[0], at(W, 0), W.shape[1], at(w_rows, 0), w_rows.shape[0],
        W.shape[1], at(bias, 0), 0, 1, at(Z, 0), at(act, 0), Z.shape[1], bias[0] * 0, blocks, at(sums, 0),
    )  # fmt: skip


def whole_numbers(*shape):
    return RNG.integers(-9, 10, shape).astype(np.float32)


@pytest.mark.parametrize("n", [*edges(1, 2, LANES, 2 * LANES, 4 * LANES), 1000])
@pytest.mark.parametrize("blocks", [WHOLE, Blocks(LANES, 48, 8)], ids=["whole", "cut"])
def test_forward(n, blocks):
    sums = np.full(1 if blocks is WHOLE else matmul.sums_room(blocks, 4), np.nan, np.float32)
    for m in edges(1, ROWS, 2 * ROWS):
        for n_units in edges(1, UNITS, 2 * UNITS):
            X, W, bias = whole_numbers(m + 3, n), whole_numbers(n_units, n), whole_numbers(n_units)
            rows = RNG.permutation(m + 3)[:m]
            Z, act = np.full((2, m, n_units), np.nan, np.float32)
            forward_of(pairs_along(X), rows, pairs_along(W), np.arange(n_units), bias, Z, act, blocks, sums)
            np.testing.assert_array_equal(Z, X[rows] @ W.T + bias)
            np.testing.assert_array_equal(act, np.maximum(Z, 0))


@numba.njit(**jit.FLAGS)
def outer_of(A, B, rows, depth, C, gate, mode, scale, step, limit, parts, iota, panel, packing):
    total = matmul.n_tiles(C.shape[0], C.shape[1], lanes_of(C))
    for q in range(parts):
        first, end = jit.share(total, q, parts)
        matmul.outer(
            first, end, at(A, 0), A.shape[1], 1, at(iota, 0), at(B, 0), B.shape[1], at(rows, 0), at(iota, 0), depth,
            at(C, 0), C.shape[0], C.shape[1], at(gate, 0), at(gate, 0), mode, scale, step, limit, at(panel, 0), packing,
        )  # fmt: skip


@pytest.mark.parametrize("n_columns", [*edges(1, LANES, VECTORS * LANES, 2 * VECTORS * LANES), 5 * VECTORS * LANES + 3])
@pytest.mark.parametrize("depth", [1, 2, 3, 64, 65, 300, 1001])
def test_outer_products(n_columns, depth):
    """With pairs along the rows of B, which are found through an index and packed; and with pairs across its rows."""
    for n_rows in (*edges(1, OUTER_ROWS), 3 * OUTER_ROWS + 2):
        A, B, C = whole_numbers(depth, n_rows), whole_numbers(depth + 3, n_columns), whole_numbers(n_rows, n_columns)
        rows, iota = RNG.permutation(depth + 3)[:depth], np.arange(max(depth, n_rows) + 1)
        panel = np.full(matmul.outer_room(depth, n_rows, 4, terms=2), np.nan, np.float32)
        two, one, limit = np.float32(2), np.float32(1), np.float32(1e30)
        for parts in (1, 3):
            got = C.copy()
            given = got, got, UPDATE, two, -one, limit, parts, iota, panel, True
            outer_of(pairs_across(A), pairs_along(B), rows, depth, *given)
            np.testing.assert_array_equal(got, 2 * C - A.T @ B[rows])
        got, gate = np.full_like(C, np.nan), whole_numbers(n_rows, n_columns)
        given = got, gate, MASK, two, two, two, 1, iota, panel, False
        outer_of(pairs_across(A), pairs_across(B[rows]), iota, depth, *given)
        np.testing.assert_array_equal(got, np.where(gate > 0, 2 * A.T @ B[rows], 0))


@pytest.mark.parametrize("n_columns", [1, 40, 5 * VECTORS * LANES + 3])
def test_stretches_of_pairs_are_what_outer_computes(n_columns):
    """For few samples too, where those of floats go across."""

    @numba.njit(**jit.FLAGS)
    def stretch_of(t, end, C, terms):
        return matmul.stretch(t, end, 3, C.shape[0], C.shape[1], lanes_of(C), terms)

    n_rows = 3 * OUTER_ROWS + 2
    A, B, rows = np.ones((3, n_rows), np.float32), np.ones((3, n_columns), np.float32), np.arange(3)
    panel = np.zeros(matmul.outer_room(3, n_rows, 4, terms=2), np.float32)
    wanted = np.zeros((n_rows, n_columns), np.float32)
    groups, panels = n_rows // OUTER_ROWS + n_rows % OUTER_ROWS, len(columns_of(n_columns))
    t, end = 1, groups * panels - 1
    while t < end:
        stop, u0, u1, i0, i1 = stretch_of(t, end, wanted, 2)
        got = np.zeros_like(wanted)
        ranges(t, stop, pairs_across(A), pairs_along(B), rows, got, np.arange(n_rows + 3), panel)
        expected = np.zeros_like(wanted)
        expected[u0:u1, i0:i1] = 3
        np.testing.assert_array_equal(got, expected)
        t = stop


def columns_of(n_columns):
    """The columns of tiles: whole ones, and then smaller ones of half as many vectors."""
    wide, rest = divmod(n_columns, VECTORS * LANES)
    some = max(1, VECTORS // 2) * LANES
    return [VECTORS * LANES] * wide + [some] * (-(-rest // some))


@numba.njit(**jit.FLAGS)
def ranges(first, end, A, B, rows, C, iota, panel):
    one = panel[0] * 0 + 1
    matmul.outer(
        first, end, at(A, 0), A.shape[1], 1, at(iota, 0), at(B, 0), B.shape[1], at(rows, 0), at(iota, 0), 3, at(C, 0),
        C.shape[0], C.shape[1], at(C, 0), at(C, 0), UPDATE, one, one, one * 1000, at(panel, 0), True,
    )  # fmt: skip


# ---------------------------------------------------------------- steps

SHAPES = [
    *[(m, (9, 7, 5)) for m in (1, 2, 3, 7, 15, 16, 17, 31, 63, 64, 65, 200)],
    *[(7, (n, 6, 3)) for n in edges(1, LANES, 2 * LANES, VECTORS * LANES)],
    *[(m, (5, h, 3)) for m in (7, 70) for h in edges(1, UNITS, OUTER_ROWS, LANES, VECTORS * LANES)],
    *[(7, (5, 6, c)) for c in range(1, 18)],
    *[(m, widths) for m in (7, 71) for widths in ((5, 33), (6, 41, 34), (5, 300, 50), (301, 40, 131), (6, 5, 8, 7, 4))],
    (70, (2101, 5, 3)),
    (1, (1, 1, 1)),
]


def network_of(widths):
    network, rng = Network(widths, np.dtype(np.float32), in_bfloat16=True), np.random.default_rng(widths)
    for W, b in zip(network.weights, network.biases):
        W[:], b[:] = rng.standard_normal(W.shape) / np.sqrt(W.shape[1]), 0.1 * rng.standard_normal(b.shape)
    return network


def trainer_of(network, samples, capacity=None, threads=1, optimiser=None, sigmoid=False, **settings):
    work = Workspace(network, capacity or len(samples.X))
    settings = Settings(*EXACT, **{"learning_rate": 0.5, **settings})
    return BatchTrainer(network, samples, settings, work, optimiser, sigmoid, threads)


@pytest.mark.parametrize(("m", "widths"), SHAPES, ids=str)
def test_a_step(m, widths):
    X, labels, _, _ = problem(m, widths[0], widths[-1], np.float32)
    network = network_of(widths)
    loss, weights, biases = bfloat16_step(network.weights, network.biases, X, labels, 0.5)
    before = [W.copy() for W in network.weights]
    got = trainer_of(network, Samples(Rows(X, X.dtype), labels)).run(TRAIN)
    pairs = {f"W{i}": (W - W0, W1 - W0) for i, (W, W0, W1) in enumerate(zip(network.weights, before, weights))}
    assert_close(IN_BFLOAT16, loss=(got[0], loss), **pairs)
    assert_close(IN_BFLOAT16, **{f"b{i}": pair for i, pair in enumerate(zip(network.biases, biases))})


def test_products_round():
    """A step without rounding is further away than a step with it."""
    X, labels, _, _ = problem(64, 300, 10, np.float32)
    after = {}
    for how in (True, False):
        network = network_of((300, 40, 10))
        network.compute(how)
        expected = bfloat16_step(network.weights, network.biases, X, labels, 0.5)[1][0]
        trainer_of(network, Samples(Rows(X, X.dtype), labels)).run(TRAIN)
        after[how] = np.abs(network.weights[0] - expected).max()
    assert after[True] < after[False] / 10


WAYS = {
    "floats": lambda X: Rows(X, np.dtype(np.float32)),
    "float64": lambda X: Rows(X.astype(np.float64), np.dtype(np.float32)),
    "bytes": lambda X: Rows((X * 100 + 128).astype(np.uint8), np.dtype(np.float32), 1 / 255),
    "channels": lambda X: Rows((X * 100 + 128).astype(np.uint8), np.dtype(np.float32), 1 / 255, channels=3),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("widths", [(33, 20, 10), (33, 9, 17, 40), (33, 4)], ids=str)
@pytest.mark.parametrize("how", [{}, {"clip_threshold": 1e-3}, {"l2_shared": 1.0}, {"dropout": 0.3}], ids=str)
def test_any_number_of_threads_gives_the_same_bits(way, widths, how):
    X, labels, _, _ = problem(150, 33, widths[-1], np.float32)
    order, seen = np.random.default_rng(1).permutation(150), []
    for threads in (1, 2, 3, 4):
        for optimised in (False, True):
            network = network_of(widths)
            optimiser = Adam(network, 0.01, 0.9, 0.999, 1e-8) if optimised else None
            samples = Samples(WAYS[way](X), labels)
            for size in (150, 37, 1):
                trainer_of(network, samples, size, threads, optimiser, **how).run(TRAIN, order, size)
            seen.append((optimised, network.params.tobytes()))
    assert len(set(seen)) == 2


def test_a_batch_in_pieces_is_the_batch():
    X, labels, _, _ = problem(3001, 9, 4, np.float32)
    raw = (np.clip(X, -1, 1) * 100 + 128).astype(np.uint8)
    moved = []
    single = np.dtype(np.float32)
    for rows in (Rows(raw, single, 1 / 255), Rows((raw / np.float32(255)).astype(single), single)):
        network = network_of((9, 8, 4))
        before = network.params.copy()
        work = Workspace.for_batches(network, rows, len(rows))
        assert (work.piece < 3001) == (rows.array.dtype == np.uint8)
        BatchTrainer(network, Samples(rows, labels), Settings(*EXACT, learning_rate=0.5), work).run(TRAIN)
        moved.append(network.params - before)
    assert_close(1e-5, step=tuple(moved))


def test_the_phases_one_by_one_are_the_step():
    X, labels, _, _ = problem(77, 9, 4, np.float32)
    whole, parts = network_of((9, 8, 4)), network_of((9, 8, 4))
    trainer_of(whole, Samples(Rows(X, X.dtype), labels)).run(TRAIN)
    trainer = trainer_of(parts, Samples(Rows(X, X.dtype), labels))
    for phases in (FORWARD, LOSS, BACKWARD):
        trainer.run(phases)
    np.testing.assert_array_equal(whole.params, parts.params)


def test_nan_and_infinity_are_marked():
    network = network_of((9, 8, 4))
    for value in (np.nan, np.inf, -np.inf):
        X = problem(20, 9, 4, np.float32).X
        X[7, 3] = value
        results = Results(winners=np.zeros(20, np.int64))
        trainer = trainer_of(network, Samples(Rows(X, X.dtype)))
        trainer.evaluate(FORWARD | MARK, np.arange(20), 20, results)
        assert results.winners[7] == -1
        assert (np.delete(results.winners, 7) >= 0).all()


def test_a_mapped_file_is_rounded_batch_by_batch(tmp_path):
    X, labels, _, _ = problem(150, 33, 4, np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    after = []
    for array in (X, mapped):
        network, rows = network_of((33, 8, 4)), Rows(array, np.dtype(np.float32))
        assert (rows.operands(True)[0].size > 0) == (array is X)
        trainer_of(network, Samples(rows, labels), 40).run(TRAIN, None, 40)
        after.append(network.params.copy())
    np.testing.assert_array_equal(*after)


def test_helper_rounds_as_torch():
    x = np.concatenate([SPECIAL, RNG.standard_normal(1000).astype(np.float32)])
    np.testing.assert_array_equal(to_bfloat16(x), torch.from_numpy(x).bfloat16().float().numpy())
