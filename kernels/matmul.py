"""The matrix products of training, cut into register tiles.

    forward     Z = A W^T + b and ReLU            samples against the units of a layer
    outer       C = scale C + step clip(A^T B)    the weight update; the gradient of a linear model
                C = step A^T B masked by ReLU     a layer's deltas from those of the next layer

A product is a grid of tiles, and each thread computes some of them. The bits of a result do not depend on how the tiles
are divided, because every sum is added in one order (see ``tile``). So speed alone decides about the division. Matrices are
given by the addresses of their first elements: one compiled product serves the user's data, parameters and scratch.
"""

from .jit import AT, AT_INDEX, FLAG, INT, REAL, inlined, routine
from .simd import at, lanes_of, vload, vstore
from .target import TARGET
from .tile import (
    DOT_FEW,
    DOT_ROWS,
    DOT_UNITS,
    OUTER_ROWS,
    OUTER_VECTORS,
    PANEL_BYTES,
    dot_few,
    dot_full,
    dot_one,
    dot_row,
    dot_unit,
    outer_full,
    outer_one,
    outer_row,
    outer_vector,
)

WAY_BYTES = 4096  # in one way of the L1 cache: addresses that differ by a multiple of this share a set
STRETCH_BYTES = 512 * 1024  # of C in a stretch, or one line of tiles: it stays in the L2 cache, and its rows are long
OUTER_DEPTH, PACK_COLUMNS, PACK_FROM, ACROSS_BELOW = TARGET.packing


@routine(
    A=AT, lda=INT, a_rows=AT_INDEX, n_rows=INT, W=AT, ldw=INT, w_rows=AT_INDEX, n_units=INT, K=INT,
    bias=AT, bias_r=INT, bias_u=INT, Z=AT, act=AT, ldo=INT, floor=REAL,
)  # fmt: skip
def forward(A, lda, a_rows, n_rows, W, ldw, w_rows, n_units, K, bias, bias_r, bias_u, Z, act, ldo, floor):
    """Z[r, u] = A[a_rows[r]] . W[w_rows[u]] + bias[r bias_r + u bias_u] and act = max(Z, floor).

    The rows of the result can be samples and its columns units (bias_u is 1), or the other way round (bias_u is 0, and
    each bias is repeated four times in ``bias``, because tiles load four biases at once).

    The last tile in a row or column of tiles is also a whole one if the matrix is large enough. It overlaps the tile before
    it and computes some sums twice, with the same result. This is faster than computing the remaining sums one by one.
    """
    u = 0
    while u < n_units:
        if n_units >= DOT_UNITS:
            units, wide = DOT_UNITS, True
            u = min(u, n_units - DOT_UNITS)
        else:
            units, wide = 1, False
        w_index, bias_at = at(w_rows, u), at(bias, u * bias_u)
        r = 0
        while r < n_rows:
            if n_rows >= DOT_ROWS and (n_rows - r > DOT_FEW or not wide):
                rows = DOT_ROWS
            elif n_rows >= DOT_FEW and wide:
                rows = DOT_FEW
            else:
                rows = 1
            r = min(r, n_rows - rows)
            index, b = at(a_rows, r), at(bias_at, r * bias_r)
            z, y = at(Z, r * ldo + u), at(act, r * ldo + u)
            if wide and rows == DOT_ROWS:
                dot_full(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor)
            elif wide and rows == DOT_FEW:
                dot_few(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor)
            elif wide:
                dot_row(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor)
            elif rows == DOT_ROWS:
                dot_unit(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor)
            else:
                dot_one(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor)
            r += rows
        u += units


@inlined
def n_groups(n_rows):
    """Number of rows of tiles in an outer product with n_rows rows."""
    return n_rows // OUTER_ROWS + n_rows % OUTER_ROWS


@inlined
def n_panels(n_columns, lanes):
    """Number of columns of tiles in an outer product with n_columns columns."""
    rest = n_columns % (OUTER_VECTORS * lanes)
    return n_columns // (OUTER_VECTORS * lanes) + (rest + lanes - 1) // lanes


@inlined
def n_tiles(n_rows, n_columns, lanes):
    """Number of tiles in an outer product."""
    return n_groups(n_rows) * n_panels(n_columns, lanes)


@inlined
def row_at(group, n_rows):
    """The first row of C in a row of tiles."""
    tall = n_rows // OUTER_ROWS
    return min(group, tall) * OUTER_ROWS + max(group - tall, 0)


@inlined
def column_at(panel, n_columns, lanes):
    """The first column of C in a column of tiles; ``n_columns``, if there is no such column of tiles."""
    width = OUTER_VECTORS * lanes
    wide = n_columns // width
    return min(min(panel, wide) * width + max(panel - wide, 0) * lanes, n_columns)


@inlined
def rectangle(t, end, most, depth, groups, panels):
    """A rectangle of the tiles from t on, before ``end``: its first row and column of tiles, and the number of each.

    Tiles are numbered along lines. A line is a column of tiles; if sums are short, it is a row of tiles, because then the
    traffic on C dominates. A rectangle is a part of one line, or from 1 to ``most`` whole lines.
    """
    across = depth < ACROSS_BELOW
    length = panels if across else groups
    line, place = t // length, t % length
    here, lines = min(length - place, end - t), 1
    if place == 0:
        lines = max(1, min(most, (end - t) // length))
    if across:
        return line, place, lines, here
    return place, line, here, lines


@inlined
def stretch(t, end, depth, n_rows, n_columns, lanes):
    """The tiles from t on, before ``end``, to compute in one call of ``outer`` by a caller that then goes on with them.

    Returns the end of these tiles, and the rectangle of C that they are: its first row, the row after its last, its first
    column, the column after its last. Columns of tiles that ``outer`` packs together are not separated.
    """
    groups, panels = n_groups(n_rows), n_panels(n_columns, lanes)
    together = PACK_COLUMNS * (panels if depth < ACROSS_BELOW else groups)
    most = max(1, STRETCH_BYTES // (OUTER_ROWS * PANEL_BYTES) // together) * PACK_COLUMNS
    group, panel, n_here, panels_here = rectangle(t, end, most, depth, groups, panels)
    return (
        t + n_here * panels_here, row_at(group, n_rows), row_at(group + n_here, n_rows),
        column_at(panel, n_columns, lanes), column_at(panel + panels_here, n_columns, lanes),
    )  # fmt: skip


@inlined
def crowded(ldb, lanes):
    """Whether rows that are ldb elements apart share the same few sets of the L1 cache, and so evict each other."""
    return ldb * (TARGET.vector_bytes // lanes) % WAY_BYTES == 0


@inlined
def pack(B, ldb, rows, depth, panels, room, panel):
    """Copy B[rows[:depth]], as wide as ``panels`` tiles, to ``panel``: all rows of one tile, then those of the next.

    Tiles are ``room`` rows apart there. Several are copied at once, because each long row of B is on another page of memory.
    """
    lanes = lanes_of(B)
    width = OUTER_VECTORS * lanes
    for p in range(depth):
        for k in range(panels):
            source, to = rows[p] * ldb + k * width, (k * room + p) * width
            for v in range(0, width, lanes):
                vstore(panel, to + v, vload(B, source + v))


@routine(
    first=INT, end=INT, A=AT, a_p=INT, a_r=INT, B=AT, ldb=INT, rows=AT_INDEX, iota=AT_INDEX, depth=INT,
    C=AT, n_rows=INT, n_columns=INT, gate=AT, gated=FLAG, scale=REAL, step=REAL, limit=REAL, panel=AT, packing=FLAG,
)  # fmt: skip
def outer(
    first, end, A, a_p, a_r, B, ldb, rows, iota, depth, C, n_rows, n_columns, gate, gated, scale, step, limit,
    panel, packing,
):  # fmt: skip
    """Tiles first ≤ t < end of C = scale C + step clip(A^T B), or of the masked product; see ``tile.outer``.

    ``packing`` allows the routine to pack columns of B into ``panel``, which has room for ``panel_rows`` rows of a tile.
    """
    lanes, ldc = lanes_of(C), n_columns
    width = OUTER_VECTORS * lanes
    tall, wide = n_rows // OUTER_ROWS, n_columns // width
    groups, panels = n_groups(n_rows), n_panels(n_columns, lanes)
    packing = packing and depth >= PACK_FROM and groups > (1 if crowded(ldb, lanes) else 2)
    at_once = min(depth, OUTER_DEPTH) if packing else depth
    sums = at(panel, PACK_COLUMNS * at_once * width)
    t = first
    while t < end:
        most = 1 if depth < ACROSS_BELOW else min(PACK_COLUMNS, wide - t // groups)
        group, column, n_here, columns_here = rectangle(t, end, most, depth, groups, panels)
        packs = packing and column < wide
        for p in range(0, depth, at_once):
            terms, begins, ends = min(at_once, depth - p), p == 0, p + at_once >= depth
            if packs:
                pack(at(B, column * width), ldb, at(rows, p), terms, columns_here, at_once, panel)
            for i in range(columns_here):
                is_wide = column + i < wide
                v = column_at(column + i, n_columns, lanes)
                count = min(lanes, n_columns - v)
                b, b_rows, b_pitch = at(B, v), at(rows, p), ldb
                if packs:
                    b, b_rows, b_pitch = at(panel, i * at_once * width), iota, width
                for k in range(group, group + n_here):
                    r = row_at(k, n_rows)
                    at_c, kept = r * n_columns + v, at(sums, (i * n_rows + r) * width)
                    a, c, g = at(A, r * a_r + p * a_p), at(C, at_c), at(gate, at_c)
                    if k < tall and is_wide:
                        outer_full(
                            a, a_p, a_r, b, b_pitch, b_rows, terms, c, ldc, count, g, gated, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
                    elif is_wide:
                        outer_row(
                            a, a_p, a_r, b, b_pitch, b_rows, terms, c, ldc, count, g, gated, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
                    elif k < tall:
                        outer_vector(
                            a, a_p, a_r, b, b_pitch, b_rows, terms, c, ldc, count, g, gated, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
                    else:
                        outer_one(
                            a, a_p, a_r, b, b_pitch, b_rows, terms, c, ldc, count, g, gated, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
        t += n_here * columns_here


@inlined
def panel_rows(capacity, n_rows):
    """Rows, of a tile's width, in a thread's ``panel``: for products with ``capacity`` terms per sum and n_rows rows."""
    return PACK_COLUMNS * (min(capacity, OUTER_DEPTH) + n_rows)
