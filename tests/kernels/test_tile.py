"""Register tiles against NumPy, and against each other: a sum's bits must not depend on the tile that holds it.

Sums of small whole numbers are exact in any order, so that tiles and NumPy can be compared bit for bit.
"""

import numba
import numpy as np
import pytest

from fastclf.kernels import jit, simd, tile
from fastclf.kernels.simd import at
from fastclf.kernels.target import TARGET
from fastclf.kernels.tile import ACTIVATE, MASK, UPDATE

from ..helpers import DTYPES, LANES, edges


@jit.inlined
def pitch(matrix):
    """Elements from one row to the next."""
    return matrix.strides[0] // matrix.itemsize


def dot_caller(dot):
    """dot as a function of arrays: A, W and the results are matrices, a_rows and w_rows pick rows."""

    @numba.njit(**jit.FLAGS)
    def call(A, a_rows, W, w_rows, bias, bias_r, Z, act, floor, terms, sums):
        """So many terms at a time; in between, what they add up to is in ``sums``."""
        K = W.shape[1]
        for k in range(0, K, terms):
            dot(
                at(A, k), pitch(A), at(a_rows, 0), at(W, k), pitch(W), at(w_rows, 0), min(terms, K - k), at(bias, 0), bias_r,
                at(Z, 0), at(act, 0), pitch(Z), floor, at(sums, 0), k == 0, k + terms >= K,
            )  # fmt: skip

    def in_parts(*operands, parts=1):
        dtype, K = operands[0].dtype, operands[2].shape[1]
        lanes = TARGET.lanes(dtype.itemsize)
        terms = max(1, -(-K // lanes // parts)) * lanes
        call(*operands, K if parts == 1 else terms, np.full(ROWS * UNITS * lanes, np.nan, dtype))

    return in_parts


def outer_caller(outer):
    @numba.njit(**jit.FLAGS)
    def call(A, a_p, a_r, B, rows, depth, C, count, gate, mode, scale, step, limit, terms, sums, a_rows):
        """So many terms at a time; in between, what they add up to is in ``sums``."""
        for p in range(0, depth, terms):
            outer(
                at(A, p * a_p), a_p, a_r, at(a_rows, 0), at(B, 0), pitch(B), at(rows, p), min(terms, depth - p), at(C, 0),
                pitch(C), count, at(gate, 0), mode, scale, step, limit, at(sums, 0), p == 0, p + terms >= depth,
            )  # fmt: skip

    return call


ROWS, UNITS = TARGET.dot_tile
OUTER_ROWS, VECTORS = TARGET.outer_tile

# tile: its caller, its rows, its units (dot) or vectors (outer)
DOTS = {
    "full": (dot_caller(tile.dot_full), ROWS, UNITS),
    "few": (dot_caller(tile.dot_few), TARGET.dot_few, UNITS),
    "row": (dot_caller(tile.dot_row), 1, UNITS),
    "unit": (dot_caller(tile.dot_unit), ROWS, 1),
    "one": (dot_caller(tile.dot_one), 1, 1),
}
OUTERS = {
    "full": (outer_caller(tile.outer_full), OUTER_ROWS, VECTORS),
    "row": (outer_caller(tile.outer_row), 1, VECTORS),
    "some": (outer_caller(tile.outer_some), OUTER_ROWS, tile.OUTER_SOME),
    "row, some": (outer_caller(tile.outer_row_some), 1, tile.OUTER_SOME),
    "vector": (outer_caller(tile.outer_vector), OUTER_ROWS, 1),
    "one": (outer_caller(tile.outer_one), 1, 1),
}


def in_parts(call, terms, a_rows=None):
    """A tile's caller, so many terms of its sums at a time."""
    a_rows = np.arange(OUTER_ROWS) if a_rows is None else a_rows
    return lambda *operands: call(
        *operands, terms, np.full(OUTER_ROWS * VECTORS * max(LANES), np.nan, operands[3].dtype), a_rows
    )


def counts(vectors, width):
    """The numbers of columns that a tile may be asked for."""
    return range(width - width // vectors + 1, width + 1) if vectors < VECTORS else [width]


def whole_numbers(*shape, dtype, seed=0):
    return np.random.default_rng([seed, *shape]).integers(-8, 9, shape).astype(dtype)


DEPTHS = sorted({1, *edges(*(k * TARGET.lanes(size) for size in (4, 8) for k in (1, 2)))})


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", DOTS)
def test_dot_tiles(name, depth, dtype):
    call, n_rows, n_units = DOTS[name]
    A, W = whole_numbers(9, depth + 3, dtype=dtype)[:, :depth], whole_numbers(6, depth, dtype=dtype)
    bias, (a_rows, w_rows) = (
        whole_numbers(n_units, dtype=dtype),
        (np.random.default_rng(k).permutation(k) for k in (9, 6)),
    )
    for floor in (0, -np.inf):
        Z, act = np.full((2, ROWS + 1, UNITS + 2), 99, dtype)
        call(A, a_rows, W, w_rows, bias, 0, Z, act, dtype.type(floor), parts=1 if floor == 0 else 2)
        expected = np.full_like(Z, 99)
        expected[:n_rows, :n_units] = A[a_rows[:n_rows]] @ W[w_rows[:n_units]].T + bias
        np.testing.assert_array_equal(Z, expected)  # the rest is not written
        np.testing.assert_array_equal(act, np.maximum(expected, floor))


@pytest.mark.parametrize("name", DOTS)
def test_dot_tiles_with_a_bias_for_each_row(name, dtype):
    """It stands four times in a row."""
    call, n_rows, n_units = DOTS[name]
    A, W, bias = (
        whole_numbers(ROWS, 5, dtype=dtype),
        whole_numbers(UNITS, 5, dtype=dtype),
        whole_numbers(ROWS, dtype=dtype),
    )
    Z, act = np.zeros((2, n_rows, n_units), dtype)
    call(A, np.arange(ROWS), W, np.arange(UNITS), np.repeat(bias, 4), 4, Z, act, dtype.type(0))
    np.testing.assert_array_equal(Z, (A @ W.T + bias[:, None])[:n_rows, :n_units])


def test_dot_tiles_give_the_same_bits(dtype):
    rng = np.random.default_rng(0)
    depth = 3 * TARGET.lanes(dtype.itemsize) + 1
    A, W = (rng.standard_normal((k, depth)).astype(dtype) for k in (ROWS, UNITS))
    bias, rows = rng.standard_normal(UNITS).astype(dtype), np.arange(max(ROWS, UNITS))
    results = {}
    for name, (call, n_rows, n_units) in DOTS.items():
        results[name], act = np.empty((2, ROWS, UNITS), dtype)
        for r in [min(r, ROWS - n_rows) for r in range(0, ROWS, n_rows)]:
            for u in range(0, UNITS, n_units):
                operands = A, rows[r:], W, rows[u:], bias[u:], 0, results[name][r:, u:], act[r:, u:], dtype.type(0)
                call(*operands)
                at_once = results[name].copy()
                call(*operands, parts=3)
                np.testing.assert_array_equal(results[name], at_once)
    for name in DOTS:
        np.testing.assert_array_equal(results[name], results["full"], err_msg=name)


def outer_operands(depth, vectors, dtype):
    """A (depth, rows), B with its rows in another order, C and a gate."""
    width = vectors * TARGET.lanes(dtype.itemsize)
    A, B = whole_numbers(depth, OUTER_ROWS + 1, dtype=dtype), whole_numbers(depth + 2, width + 3, dtype=dtype)
    rows = np.random.default_rng(0).permutation(depth + 2)[:depth]
    C, gate = (whole_numbers(OUTER_ROWS + 1, width + 2, dtype=dtype, seed=seed) for seed in (1, 2))
    return A, B, rows, C, gate, width


@pytest.mark.parametrize("terms", [1, 10, 100])
@pytest.mark.parametrize("depth", [1, 2, 33])
@pytest.mark.parametrize("name", OUTERS)
def test_outer_tiles_update(name, depth, terms, dtype):
    call, n_rows, vectors = OUTERS[name]
    call = in_parts(call, terms)
    A, B, rows, C, gate, width = outer_operands(depth, vectors, dtype)
    for columns in counts(vectors, width):
        for limit in (np.inf, 5.0):
            got, expected = C.copy(), C.copy()
            at_tile, count = np.s_[:n_rows, :columns], columns - width + width // vectors
            product = (A.T @ B[rows][:, :width])[at_tile]
            expected[at_tile] = 2 * C[at_tile] - 3 * np.clip(product, -limit, limit)
            numbers = (dtype.type(2), dtype.type(-3), dtype.type(limit))
            call(A, A.shape[1], 1, B, rows, depth, got, count, gate, UPDATE, *numbers)
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", OUTERS)
def test_outer_tiles_mask(name, dtype):
    call, n_rows, vectors = OUTERS[name]
    call = in_parts(call, 4)
    A, B, rows, C, gate, width = outer_operands(7, vectors, dtype)
    gate[0, :2] = np.nan, 0  # neither is greater than 0
    expected = C.copy()
    at_tile = np.s_[:n_rows, :width]
    expected[at_tile] = np.where(gate[at_tile] > 0, 3 * (A.T @ B[rows][:, :width])[at_tile], 0)
    numbers = dtype.type(np.nan), dtype.type(3), dtype.type(np.nan)  # two of them are not for this variant
    call(A, A.shape[1], 1, B, rows, 7, C, width // vectors, gate, MASK, *numbers)
    np.testing.assert_array_equal(C, expected)


@pytest.mark.parametrize("depth", [1, 7])
@pytest.mark.parametrize("name", OUTERS)
def test_outer_tiles_activate(name, depth, dtype):
    """Rows of A are found through an index; the sums go on from what was there, which is the bias."""
    call, n_rows, vectors = OUTERS[name]
    _, B, rows, C, Z, width = outer_operands(depth, vectors, dtype)
    A, a_rows = whole_numbers(OUTER_ROWS + 3, depth, dtype=dtype), np.array([5, 0, 7, 2, 1])
    bias = whole_numbers(n_rows, width, dtype=dtype)
    for columns in counts(vectors, width):
        for floor in (0.0, -np.inf):
            got, logits, expected = C.copy(), Z.copy(), Z.copy()
            at_tile, count = np.s_[:n_rows, :columns], columns - width + width // vectors
            expected[at_tile] = (bias + A[a_rows[:n_rows]] @ B[rows][:, :width])[at_tile]
            unused, limit = dtype.type(np.nan), dtype.type(-floor)
            go_on(call, A, a_rows, B, rows, got, count, logits, unused, limit, bias)
            np.testing.assert_array_equal(logits, expected)
            expected[at_tile], at_rest = np.maximum(expected[at_tile], floor), C.copy()
            at_rest[at_tile] = expected[at_tile]
            np.testing.assert_array_equal(got, at_rest)


def go_on(call, A, a_rows, B, rows, C, count, Z, unused, limit, bias):
    """One call with all terms, whose sums start from the bias."""
    sums = np.concatenate([bias.ravel(), np.full(OUTER_ROWS * VECTORS * max(LANES), np.nan, C.dtype)])
    CONTINUED[call](A, 1, A.shape[1], B, rows, A.shape[1], C, count, Z, ACTIVATE, unused, unused, limit, sums, a_rows)


def continued(outer):
    @numba.njit(**jit.FLAGS)
    def call(A, a_p, a_r, B, rows, depth, C, count, gate, mode, scale, step, limit, sums, a_rows):
        outer(
            at(A, 0), a_p, a_r, at(a_rows, 0), at(B, 0), pitch(B), at(rows, 0), depth, at(C, 0), pitch(C), count,
            at(gate, 0), mode, scale, step, limit, at(sums, 0), False, True,
        )  # fmt: skip

    return call


CONTINUED = {OUTERS[name][0]: continued(getattr(tile, f"outer_{name.replace(', ', '_')}")) for name in OUTERS}


def test_outer_tiles_read_a_from_either_side(dtype):
    """The strides of A say which way it lies: deltas (samples, units), or weights (units, inputs)."""
    call, _, vectors = OUTERS["full"]
    call = in_parts(call, 4)
    A, B, rows, C, gate, width = outer_operands(6, vectors, dtype)
    across, along = C.copy(), C.copy()
    numbers = (dtype.type(1), dtype.type(1), dtype.type(np.inf))
    call(A, A.shape[1], 1, B, rows, 6, across, width // vectors, gate, UPDATE, *numbers)
    call(np.ascontiguousarray(A.T), 1, len(A), B, rows, 6, along, width // vectors, gate, UPDATE, *numbers)
    np.testing.assert_array_equal(along, across)


def test_outer_tiles_give_the_same_bits(dtype):
    rng = np.random.default_rng(0)
    lanes, depth = TARGET.lanes(dtype.itemsize), 29
    A = rng.standard_normal((depth, OUTER_ROWS)).astype(dtype)
    B, rows = rng.standard_normal((depth, VECTORS * lanes)).astype(dtype), np.arange(depth)
    C = rng.standard_normal((OUTER_ROWS, VECTORS * lanes)).astype(dtype)
    numbers = (dtype.type(1), dtype.type(-0.1), dtype.type(np.inf))
    results = {}
    for name, (call, n_rows, vectors) in OUTERS.items():
        for terms in (29, 28, 7, 1):
            results[name, terms] = got = C.copy()
            for r in range(0, OUTER_ROWS, n_rows):
                for v in range(0, VECTORS * lanes, vectors * lanes):
                    in_parts(call, terms)(
                        A[:, r:], OUTER_ROWS, 1, B[:, v:], rows, depth, got[r:, v:], lanes, C, UPDATE, *numbers
                    )  # fmt: skip
    for name, got in results.items():
        np.testing.assert_array_equal(got, results["full", 29], err_msg=name)


def test_nan_is_not_clipped_away(dtype):
    call, _, vectors = OUTERS["one"]
    call = in_parts(call, 2)
    A, B, rows, C, gate, width = outer_operands(3, vectors, dtype)
    A[1, 0] = np.nan
    call(A, A.shape[1], 1, B, rows, 3, C, width, gate, UPDATE, dtype.type(1), dtype.type(1), dtype.type(2))
    assert np.isnan(C[0, :width]).all()


def test_the_callers_see_this_target():
    assert TARGET.dot_tile == (tile.DOT_ROWS, tile.DOT_UNITS)
    assert TARGET.outer_tile == (tile.OUTER_ROWS, tile.OUTER_VECTORS)
    assert {d.itemsize: simd.FLOAT[numba.from_dtype(d)].lanes for d in DTYPES} == {
        4: TARGET.lanes(4),
        8: TARGET.lanes(8),
    }
