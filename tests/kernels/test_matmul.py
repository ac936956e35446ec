"""Products of any shape against NumPy. Sums of small whole numbers are exact in any order, so they are compared exactly."""

import itertools

import numba
import numpy as np
import pytest

from fastclf.engine.memory import round_up
from fastclf.kernels import jit, matmul
from fastclf.kernels.records import Blocks
from fastclf.kernels.simd import at, lanes_of
from fastclf.kernels.target import TARGET
from fastclf.kernels.tile import ACTIVATE, MASK, OUTER_SOME, PANEL_BYTES, UPDATE

from ..helpers import LANES, edges

ROWS, UNITS = TARGET.dot_tile
WHOLE = Blocks(1 << 40, 1 << 40, 1 << 40)  # nothing is cut
OUTER_ROWS, VECTORS = TARGET.outer_tile


@numba.njit(**jit.FLAGS)
def forward_in_blocks(A, a_rows, W, w_rows, bias, bias_r, bias_u, Z, act, floor, blocks, sums):
    matmul.forward(
        at(A, 0), A.shape[1], at(a_rows, 0), a_rows.shape[0], at(W, 0), W.shape[1], at(w_rows, 0), w_rows.shape[0],
        W.shape[1], at(bias, 0), bias_r, bias_u, at(Z, 0), at(act, 0), Z.shape[1], floor, blocks, at(sums, 0),
    )  # fmt: skip


def forward(*operands, blocks=WHOLE):
    dtype = operands[0].dtype
    room = 1 if blocks == WHOLE else matmul.sums_room(blocks, dtype.itemsize)
    forward_in_blocks(*operands, blocks, np.full(room, np.nan, dtype))


@numba.njit(**jit.FLAGS)
def outer(A, B, rows, C, gate, mode, scale, step, limit, parts, iota, panel, packing):
    """The whole product, by ranges of tiles; columns of B are packed if ``panel`` has room."""
    total = matmul.n_tiles(C.shape[0], C.shape[1], lanes_of(C))
    for q in range(parts):
        first, end = jit.share(total, q, parts)
        matmul.outer(
            first, end, at(A, 0), A.shape[1], 1, at(iota, 0), at(B, 0), B.shape[1], at(rows, 0), at(iota, 0), A.shape[0],
            at(C, 0), C.shape[0], C.shape[1], at(gate, 0), at(gate, 0), mode, scale, step, limit, at(panel, 0), packing,
        )  # fmt: skip


def outer_product(*operands, parts=1, packing=False):
    A, C = operands[0], operands[3]
    panel = np.full(matmul.outer_room(len(A), len(C), C.itemsize), np.nan, C.dtype)
    outer(*operands, parts, np.arange(max(len(A), len(C))), panel, packing)


@numba.njit(**jit.FLAGS)
def forward_turned(X, rows, W, bias, Z, act, turned, floor, parts, iota, panel):
    """A layer's forward product with transposed weights, by ranges of tiles."""
    lanes, zero = lanes_of(X), X[0, 0] * 0
    (n_units, n_in), n_rows = W.shape, rows.shape[0]
    matmul.turn(at(W, 0), n_units, n_in, at(turned, 0), turned.shape[1])
    total = matmul.n_tiles(n_rows, n_units, lanes)
    for q in range(parts):
        first, end = jit.share(total, q, parts)
        matmul.outer(
            first, end, at(X, 0), 1, n_in, at(rows, 0), at(turned, 0), turned.shape[1], at(iota, 0), at(iota, 0), n_in,
            at(act, 0), n_rows, n_units, at(Z, 0), at(bias, 0), ACTIVATE, zero, zero, -floor, at(panel, 0), False,
        )  # fmt: skip


@numba.njit(**jit.FLAGS)
def stretch_of(t, end, depth, C):
    """The end of the stretch of tiles that starts with t, and its rectangle of C."""
    return matmul.stretch(t, end, depth, C.shape[0], C.shape[1], lanes_of(C), 1)


@numba.njit(**jit.FLAGS)
def outer_of_ones(first, end, ones, rows, iota, C):
    """These tiles of the product of two matrices of ones."""
    one = ones[0]
    matmul.outer(
        first, end, at(ones, 0), 0, 0, at(rows, 0), at(ones, 0), 0, at(iota, 0), at(iota, 0), iota.shape[0], at(C, 0),
        C.shape[0], C.shape[1], at(C, 0), at(C, 0), UPDATE, one - one, one, 2 * one * iota.shape[0], at(C, 0), False,
    )  # fmt: skip


@numba.njit(**jit.FLAGS)
def tiles_of(n_rows, n_columns, lanes):
    return matmul.n_groups(n_rows), matmul.n_panels(n_columns, lanes), matmul.n_tiles(n_rows, n_columns, lanes)


def whole_numbers(*shape, dtype):
    return np.random.default_rng(shape).integers(-8, 9, shape).astype(dtype)


def picked(n):
    """n of n + 2 rows, in another order."""
    return np.random.default_rng(n).permutation(n + 2)[:n]


@pytest.mark.parametrize("n_units", edges(1, UNITS, 2 * UNITS))
@pytest.mark.parametrize("n_rows", edges(1, TARGET.dot_few, ROWS, ROWS + TARGET.dot_few, 2 * ROWS))
def test_forward(n_rows, n_units, dtype):
    a_rows, w_rows = picked(n_rows), picked(n_units)
    for n_in in edges(1, *LANES):
        A, W = (whole_numbers(k + 2, n_in, dtype=dtype) for k in (n_rows, n_units))
        bias, product = whole_numbers(n_units, dtype=dtype), A[a_rows] @ W[w_rows].T
        Z, act = np.full((2, n_rows, n_units), np.nan, dtype)
        forward(A, a_rows, W, w_rows, bias, 0, 1, Z, act, dtype.type(0))
        np.testing.assert_array_equal(Z, product + bias)
        np.testing.assert_array_equal(act, np.maximum(product + bias, 0))


@pytest.mark.parametrize("n_rows", edges(1, ROWS, 2 * ROWS, 5 * ROWS))
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_forward_of_long_rows(n_rows, depth, dtype):
    """Cut along every dimension, around every edge, it gives the bits of a product that is not cut."""
    lanes, rng = TARGET.lanes(dtype.itemsize), np.random.default_rng(0)
    for n_units, n_in in itertools.product(edges(1, UNITS, 2 * UNITS), edges(depth * lanes, 3 * depth * lanes, 50)):
        a_rows, w_rows = picked(n_rows), picked(n_units)
        A, W = (rng.standard_normal((k + 2, n_in)).astype(dtype) for k in (n_rows, n_units))
        bias = rng.standard_normal(n_units).astype(dtype)
        (Z, act), (cut_Z, cut_act) = np.full((2, 2, n_rows, n_units), np.nan, dtype)
        forward(A, a_rows, W, w_rows, bias, 0, 1, Z, act, dtype.type(0))
        for rows, units in ((ROWS, UNITS), (2 * ROWS, 2 * UNITS), (1000, 1000)):
            blocks = Blocks(depth * lanes, rows, units)
            forward(A, a_rows, W, w_rows, bias, 0, 1, cut_Z, cut_act, dtype.type(0), blocks=blocks)
            np.testing.assert_array_equal(cut_Z, Z)
            np.testing.assert_array_equal(cut_act, act)


@pytest.mark.parametrize("n_rows", edges(1, ROWS, 2 * ROWS))
def test_forward_with_units_as_rows(n_rows, dtype):
    """The last layer's logits: a row per class, whose bias stands four times in a row; no floor, no ReLU."""
    for n_samples in edges(1, UNITS):
        W, X = whole_numbers(n_rows, 5, dtype=dtype), whole_numbers(n_samples + 2, 5, dtype=dtype)
        bias, rows = whole_numbers(n_rows, dtype=dtype), picked(n_samples)
        Z = np.full((n_rows, n_samples), np.nan, dtype)
        forward(W, np.arange(n_rows), X, rows, np.repeat(bias, 4), 4, 0, Z, Z, -dtype.type(np.inf))
        np.testing.assert_array_equal(Z, W @ X[rows].T + bias[:, None])


def test_forward_into_a_part_of_a_matrix(dtype):
    """Threads share a layer's units: the results have their own row length."""
    A, W, bias = whole_numbers(7, 5, dtype=dtype), whole_numbers(3, 5, dtype=dtype), whole_numbers(3, dtype=dtype)
    Z, act = np.full((2, 7, 10), 99, dtype)
    forward(A, np.arange(7), W, np.arange(3), bias, 0, 1, Z, act, -dtype.type(np.inf))
    expected = np.full((7, 10), 99, dtype)
    expected[:, :3] = A @ W.T + bias
    np.testing.assert_array_equal(Z, expected)
    np.testing.assert_array_equal(act, expected)


COLUMNS = edges(1, *LANES, *(VECTORS * lanes for lanes in LANES))
OUTER_SIZES = edges(1, OUTER_ROWS, 2 * OUTER_ROWS)


@pytest.mark.parametrize("n_columns", COLUMNS)
def test_outer_product(n_columns, dtype):
    depth = 9
    for n_rows in OUTER_SIZES:
        A, B = whole_numbers(depth, n_rows, dtype=dtype), whole_numbers(depth + 3, n_columns, dtype=dtype)
        rows = np.random.default_rng(0).permutation(depth + 3)[:depth]
        C, gate = whole_numbers(2, n_rows, n_columns, dtype=dtype)
        product = A.T @ B[rows]

        updated = C.copy()
        outer_product(A, B, rows, updated, gate, UPDATE, dtype.type(2), dtype.type(-3), dtype.type(50))
        np.testing.assert_array_equal(updated, 2 * C - 3 * np.clip(product, -50, 50))

        masked = C.copy()
        outer_product(A, B, rows, masked, gate, MASK, dtype.type(0), dtype.type(3), dtype.type(0))
        np.testing.assert_array_equal(masked, np.where(gate > 0, 3 * product, 0))


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize(
    "depth", [*edges(matmul.ACROSS_BELOW, matmul.PACK_FROM, 2 * min(500, matmul.OUTER_DEPTH)), 1000]
)
def test_any_cut_of_the_tiles_gives_the_same(depth, packing, dtype):
    """Along rows or columns of tiles, packed or not, by one thread or three."""
    n_rows, n_columns = 3 * OUTER_ROWS + 1, 2 * VECTORS * max(LANES) + 3
    A, B = whole_numbers(depth, n_rows, dtype=dtype), whole_numbers(depth + 3, n_columns, dtype=dtype)
    rows = np.random.default_rng(0).permutation(depth + 3)[:depth]
    for parts in (1, 3):
        C = np.full((n_rows, n_columns), np.nan, dtype)
        numbers = dtype.type(0), dtype.type(-3), dtype.type(np.inf)
        outer_product(A, B, rows, C, C, UPDATE, *numbers, parts=parts, packing=packing)
        np.testing.assert_array_equal(C, -3 * (A.T @ B[rows]))


@pytest.mark.parametrize("depth", edges(matmul.ACROSS_BELOW))
@pytest.mark.parametrize("n_columns", [1, 5, *(k * VECTORS * lanes + 3 for lanes in LANES for k in (1, 2, 9))])
def test_a_stretch_of_tiles_is_a_rectangle(n_columns, depth, dtype):
    """Of exactly the elements that a call for its tiles writes; the stretches of a range cover the range."""
    many = 3 * matmul.STRETCH_BYTES // (n_columns * dtype.itemsize)  # in several stretches, of one line or of many
    for n_rows in (1, OUTER_ROWS, 3 * OUTER_ROWS + 2, many):
        written, ones, rows = np.zeros((n_rows, n_columns), dtype), np.ones(n_columns, dtype), np.arange(n_rows)
        total = tiles_of(n_rows, n_columns, TARGET.lanes(dtype.itemsize))[2]
        for first, end in ((0, total), (total // 3, 2 * total // 3), (total // 2, total)):
            t, expected = first, np.zeros_like(written)
            outer_of_ones(first, end, ones, rows, np.arange(depth), expected)
            while t < end:
                stop, r0, r1, v0, v1 = stretch_of(t, end, depth, written)
                here = np.zeros_like(written)
                outer_of_ones(t, stop, ones, rows, np.arange(depth), here)
                rectangle = np.zeros_like(written)
                rectangle[r0:r1, v0:v1] = depth
                np.testing.assert_array_equal(here, rectangle)
                written += here
                t = stop
            assert t == end
            np.testing.assert_array_equal(written, expected)
            written[:] = 0


def test_deltas_may_replace_weights_in_their_place(dtype):
    """The update writes where it reads: C may be the very matrix that the gate would be."""
    A, B, C = whole_numbers(4, 6, dtype=dtype), whole_numbers(4, 19, dtype=dtype), whole_numbers(6, 19, dtype=dtype)
    expected = C - A.T @ B
    outer_product(A, B, np.arange(4), C, C, UPDATE, dtype.type(1), dtype.type(-1), dtype.type(np.inf))
    np.testing.assert_array_equal(C, expected)


def test_the_columns_of_tiles_cover_a_product():
    for n_columns, lanes in itertools.product(COLUMNS, LANES):
        following = 0
        for panel in range(tiles_of(1, n_columns, lanes)[1]):
            first, vectors, count = panel_of(panel, n_columns, lanes)
            assert first == following
            assert vectors in {VECTORS, OUTER_SOME, 1}
            assert 1 <= count <= lanes
            assert count == lanes or vectors < VECTORS
            following = first + (vectors - 1) * lanes + count
        assert following == n_columns


@numba.njit(**jit.FLAGS)
def panel_of(panel, n_columns, lanes):
    first, vectors, count = matmul.panel_at(panel, n_columns, lanes)
    return first, vectors, count


@pytest.mark.parametrize("n_units", COLUMNS)
def test_forward_with_transposed_weights(n_units, dtype):
    for n_in, n_rows in itertools.product(edges(1, *LANES), edges(1, OUTER_ROWS)):
        X, W = whole_numbers(n_rows + 2, n_in, dtype=dtype), whole_numbers(n_units, n_in, dtype=dtype)
        rows, bias = picked(n_rows), whole_numbers(round_up(n_units), dtype=dtype)
        expected = X[rows] @ W.T + bias[:n_units]
        panel = np.full(OUTER_ROWS * PANEL_BYTES // dtype.itemsize, np.nan, dtype)
        turned = np.full((n_in, round_up(n_units)), np.nan, dtype)
        for parts, floor in ((1, 0.0), (3, -np.inf)):
            Z, act = np.full((2, n_rows, n_units), np.nan, dtype)
            forward_turned(
                X, rows, W, bias, Z, act, turned, dtype.type(floor), parts, np.arange(max(n_in, OUTER_ROWS)), panel
            )
            np.testing.assert_array_equal(turned[:, :n_units], W.T)
            np.testing.assert_array_equal(Z, expected)
            np.testing.assert_array_equal(act, np.maximum(expected, floor))


def test_tiles_are_whole_ones_and_then_single_rows_and_vectors():
    for n_rows, n_columns, lanes in itertools.product(OUTER_SIZES, COLUMNS, LANES):
        tall, single = divmod(n_rows, OUTER_ROWS)
        wide, rest = divmod(n_columns, VECTORS * lanes)
        vectors = -(-rest // lanes)
        groups, panels = tall + single, wide + -(-vectors // OUTER_SOME)
        assert tiles_of(n_rows, n_columns, lanes) == (groups, panels, groups * panels)
