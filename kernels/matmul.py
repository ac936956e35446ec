"""The matrix products of training, cut into register tiles.

    forward     Z = A W^T + b and ReLU            samples against the units of a layer
    outer       C = scale C + step clip(A^T B)    the weight update; the gradient of a linear model
                C = step A^T B masked by ReLU     a layer's deltas from those of the next layer

A product is a grid of tiles, and each thread computes some of them. The bits of a result do not depend on how the tiles
are divided, because every sum is added in one order (see ``tile``). So speed alone decides about the division. Matrices are
given by the addresses of their first elements: one compiled product serves the user's data, parameters and scratch.
"""

from .codes import SHORT_VECTORS
from .jit import AT, AT_INDEX, AT_OPERANDS, FLAG, INT, REAL, inlined, routine
from .operands import as_operands, interleave, length_of, terms_of
from .records import Blocks
from .simd import at, lanes_of, transpose, vload, vload_first, vmax, vmin, vsplat, vstore, vstore_first
from .target import TARGET
from .tile import (
    ACTIVATE,
    DOT_FEW,
    DOT_ROWS,
    DOT_UNITS,
    OUTER_ROWS,
    OUTER_SOME,
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
    outer_row_some,
    outer_some,
    outer_vector,
)

WAY_BYTES = 4096  # in one way of the L1 cache: addresses that differ by a multiple of this share a set
STRETCH_BYTES = 512 * 1024  # of C in a stretch, or one line of tiles: it stays in the L2 cache, and its rows are long
OUTER_DEPTH, PACK_COLUMNS, PACK_FROM, ACROSS_BELOW = TARGET.packing


def outer_room(m, n_rows, itemsize, terms=1):
    """Elements of a thread's ``panel``, for n_rows rows and sums of up to ``m`` terms, ``terms`` in an operand."""
    steps = (m + terms - 1) // terms
    packed = PACK_COLUMNS * (min(steps, OUTER_DEPTH) + n_rows) if m >= PACK_FROM or terms > 1 else 0
    return (OUTER_ROWS + packed) * PANEL_BYTES // itemsize


def sums_room(blocks, itemsize):
    """Elements of a thread's ``sums``."""
    return (blocks.rows + 2 * DOT_ROWS) * (blocks.units + 2 * DOT_UNITS) * TARGET.lanes(itemsize)


def is_long(n_in, blocks):
    """Whether rows of n_in terms are so much longer than a block that it pays to cut them."""
    return n_in > blocks.depth + blocks.depth // 4


are_long = inlined(is_long)


@inlined
def cut(total, most, step):
    """The size of the parts of ``total`` that are all but equal, whole multiples of ``step``, and about ``most`` at most."""
    parts = (total + most - 1) // most
    return ((total + parts - 1) // parts + step - 1) // step * step


@routine(
    A=AT_OPERANDS, lda=INT, a_rows=AT_INDEX, n_rows=INT, W=AT_OPERANDS, ldw=INT, w_rows=AT_INDEX, n_units=INT, K=INT,
    bias=AT, bias_r=INT, bias_u=INT, Z=AT, act=AT, ldo=INT, floor=REAL, blocks=Blocks, sums=AT,
)  # fmt: skip
def forward(
    A, lda, a_rows, n_rows, W, ldw, w_rows, n_units, K, bias, bias_r, bias_u, Z, act, ldo, floor, blocks, sums
):  # fmt: skip
    """Z[r, u] = A[a_rows[r]] . W[w_rows[u]] + bias[r bias_r + u bias_u] and act = max(Z, floor).

    The rows of the result can be samples and its columns units (bias_u is 1), or the other way round (bias_u is 0, and
    each bias is repeated four times in ``bias``, because tiles load four biases at once).

    Rows of one block fit into the first-level cache. So longer rows are cut (Goto and van de Geijn, 2008): for a few rows of
    A and W, all tiles add up a part of their sums, and set them aside in ``sums``, before they go on with the next part. The
    parts of W stay in the second-level cache meanwhile.
    """
    depth, rows_at_once, units_at_once, lanes = max(K, 1), max(n_rows, 1), max(n_units, 1), lanes_of(Z)
    if are_long(K, blocks):
        depth, rows_at_once = cut(K, blocks.depth, lanes), cut(n_rows, blocks.rows, DOT_ROWS)
        units_at_once = cut(n_units, blocks.units, DOT_UNITS)
    for u0 in range(0, n_units, units_at_once):
        n_here = min(units_at_once, n_units - u0)
        for r0 in range(0, n_rows, rows_at_once):
            rows_here = min(rows_at_once, n_rows - r0)
            for p in range(0, K, depth):
                tiles(
                    at(A, p), lda, at(a_rows, r0), rows_here, at(W, p), ldw, at(w_rows, u0), n_here, min(depth, K - p),
                    at(bias, r0 * bias_r + u0 * bias_u), bias_r, bias_u, at(Z, r0 * ldo + u0), at(act, r0 * ldo + u0), ldo,
                    floor, sums, p == 0, p + depth >= K,
                )  # fmt: skip


@inlined
def tiles(
    A, lda, a_rows, n_rows, W, ldw, w_rows, n_units, K, bias, bias_r, bias_u, Z, act, ldo, floor, sums, begins, ends
):  # fmt: skip
    """All tiles of a block of a product, for a part of the terms of its sums.

    The last tile in a row or column of tiles is also a whole one if the block is large enough. It overlaps the tile before
    it and computes some sums twice, with the same result. This is faster than computing the remaining sums one by one.
    """
    u, kept = 0, 0
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
            z, y, s = at(Z, r * ldo + u), at(act, r * ldo + u), at(sums, kept)
            if wide and rows == DOT_ROWS:
                dot_full(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor, s, begins, ends)
            elif wide and rows == DOT_FEW:
                dot_few(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor, s, begins, ends)
            elif wide:
                dot_row(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor, s, begins, ends)
            elif rows == DOT_ROWS:
                dot_unit(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor, s, begins, ends)
            else:
                dot_one(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor, s, begins, ends)
            kept += rows * units * lanes_of(Z)
            r += rows
        u += units


@inlined
def n_groups(n_rows):
    """Number of rows of tiles in an outer product with n_rows rows."""
    return n_rows // OUTER_ROWS + n_rows % OUTER_ROWS


@inlined
def n_panels(n_columns, lanes):
    """Number of columns of tiles in an outer product with n_columns columns."""
    wide, rest = n_columns // (OUTER_VECTORS * lanes), n_columns % (OUTER_VECTORS * lanes)
    return wide + (rest + OUTER_SOME * lanes - 1) // (OUTER_SOME * lanes)


@inlined
def panel_at(panel, n_columns, lanes):
    """A column of tiles: its first column of the product, its number of vectors, and the lanes that the last one uses."""
    wide = n_columns // (OUTER_VECTORS * lanes)
    if panel < wide:
        return panel * OUTER_VECTORS * lanes, OUTER_VECTORS, lanes
    v = (wide * OUTER_VECTORS + (panel - wide) * OUTER_SOME) * lanes
    vectors = min(OUTER_SOME, (n_columns - v + lanes - 1) // lanes)
    return v, vectors, min(lanes, n_columns - v - (vectors - 1) * lanes)


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
    v, _, _ = panel_at(panel, n_columns, lanes)
    return min(v, n_columns)


@inlined
def rectangle(t, end, most, across, groups, panels):
    """A rectangle of the tiles from t on, before ``end``: its first row and column of tiles, and the number of each.

    Tiles are numbered along lines. A line is a column of tiles, or ``across``, which is better if sums are short, because
    then the traffic on C dominates, a row of tiles. A rectangle is a part of one line, or from 1 to ``most`` whole lines.
    """
    length = panels if across else groups
    line, place = t // length, t % length
    here, lines = min(length - place, end - t), 1
    if place == 0:
        lines = max(1, min(most, (end - t) // length))
    if across:
        return line, place, lines, here
    return place, line, here, lines


@inlined
def stretch(t, end, depth, n_rows, n_columns, lanes, terms):
    """The tiles from t on, before ``end``, to compute in one call of ``outer`` by a caller that then goes on with them.

    Returns the end of these tiles, and the rectangle of C that they are: its first row, the row after its last, its first
    column, the column after its last. Columns of tiles that ``outer`` packs together are not separated.
    """
    groups, panels = n_groups(n_rows), n_panels(n_columns, lanes)
    across = depth < ACROSS_BELOW and terms == 1
    together = PACK_COLUMNS * (panels if across else groups)
    most = max(1, STRETCH_BYTES // (OUTER_ROWS * PANEL_BYTES) // together) * PACK_COLUMNS
    group, panel, n_here, panels_here = rectangle(t, end, most, across, groups, panels)
    return (
        t + n_here * panels_here, row_at(group, n_rows), row_at(group + n_here, n_rows),
        column_at(panel, n_columns, lanes), column_at(panel + panels_here, n_columns, lanes),
    )  # fmt: skip


@inlined
def crowded(ldb, lanes):
    """Whether rows that are ldb elements apart share the same few sets of the L1 cache, and so evict each other."""
    return ldb * (TARGET.vector_bytes // lanes) % WAY_BYTES == 0


@inlined
def pack(B, ldb, rows, n_terms, panels, columns, room, panel):
    """Copy B[rows[:n_terms]], of ``columns`` columns, to ``panel``: all rows of one tile, then those of the next.

    Tiles are ``room`` rows apart there. Several are copied at once, because each long row of B is on another page of memory.
    Two rows of pairs become one row, whose pairs have a term of each; the last row without a partner is its own.
    """
    lanes, terms = lanes_of(panel), terms_of(B)
    width = OUTER_VECTORS * lanes
    for p in range(0, n_terms, terms):
        first, second = rows[p] * ldb, rows[min(p + terms, n_terms) - 1] * ldb
        for k in range(panels):
            for v in range(0, min(width, columns - k * width), terms * lanes):
                start, to = (k * width + v) // terms, (k * room + p // terms) * width + v
                count = lanes if terms == 1 else min(lanes, length_of(columns - k * width - v, B))
                interleave(B, first + start, second + start, count, as_operands(panel, B), to)


@inlined
def repeat_bias(bias, v, vectors, sums):
    """Write the bias of a column of tiles to ``sums``, once for each row of a tile."""
    lanes = lanes_of(sums)
    for r in range(OUTER_ROWS):
        for k in range(vectors):
            vstore(sums, (r * vectors + k) * lanes, vload(bias, v + k * lanes))


@routine(
    first=INT, end=INT, A=AT_OPERANDS, a_p=INT, a_r=INT, a_rows=AT_INDEX, B=AT_OPERANDS, ldb=INT, rows=AT_INDEX,
    iota=AT_INDEX, depth=INT,
    C=AT, n_rows=INT, n_columns=INT, gate=AT, bias=AT, mode=INT, scale=REAL, step=REAL, limit=REAL, panel=AT, packing=FLAG,
)  # fmt: skip
def outer(
    first, end, A, a_p, a_r, a_rows, B, ldb, rows, iota, depth, C, n_rows, n_columns, gate, bias, mode, scale, step, limit,
    panel, packing,
):  # fmt: skip
    """Tiles first ≤ t < end of A^T B, for what ``mode`` does with it: see ``tile.outer``. ACTIVATE adds the bias.

    ``depth`` is the number of terms of a sum. The pairs of A go across rows: a_p is from one pair to the next. ``packing``
    allows the routine to pack columns of B into ``panel``, which is as large as ``outer_room`` says. With it, pairs go along
    the rows of B, and columns are always packed; without it, they go across rows as in A. A bias is read in whole vectors.
    """
    lanes, ldc, terms = lanes_of(C), n_columns, terms_of(B)
    width, steps = OUTER_VECTORS * lanes, length_of(depth, B)
    tall, wide = n_rows // OUTER_ROWS, n_columns // width
    groups, panels = n_groups(n_rows), n_panels(n_columns, lanes)
    pairing = packing and terms > 1
    packing = pairing or (packing and depth >= PACK_FROM and groups > (1 if crowded(ldb, lanes) else 2))
    at_once = min(steps, OUTER_DEPTH) if packing else steps
    sums = at(panel, PACK_COLUMNS * at_once * width) if packing else panel
    t = first
    while t < end:
        across = depth < ACROSS_BELOW and mode != ACTIVATE and not pairing
        most = 1 if across else min(PACK_COLUMNS, wide - t // groups)
        group, column, n_here, columns_here = rectangle(t, end, most, across, groups, panels)
        packs = pairing or (packing and column < wide)
        for p in range(0, steps, at_once):
            here, begins, ends = min(at_once, steps - p), p == 0 and mode != ACTIVATE, p + at_once >= steps
            if packs:
                v, _, _ = panel_at(column, n_columns, lanes)
                pack(
                    at(B, v // terms), ldb, at(rows, p * terms), min(at_once * terms, depth - p * terms), columns_here,
                    min(n_columns - v, columns_here * width), at_once, panel,
                )  # fmt: skip
            for i in range(columns_here):
                v, vectors, count = panel_at(column + i, n_columns, lanes)
                b, b_rows, b_pitch = at(B, v), at(rows, p), ldb
                if packs:
                    b, b_rows, b_pitch = at(as_operands(panel, B), i * at_once * width), iota, width
                if mode == ACTIVATE:
                    repeat_bias(bias, v, vectors, sums)
                for k in range(group, group + n_here):
                    r = row_at(k, n_rows)
                    at_c, kept = r * n_columns + v, at(sums, 0 if mode == ACTIVATE else (i * n_rows + r) * width)
                    a, picked, c, g = at(A, p * a_p), at(a_rows, r), at(C, at_c), at(gate, at_c)
                    if k < tall and vectors == OUTER_VECTORS:
                        outer_full(
                            a, a_p, a_r, picked, b, b_pitch, b_rows, here, c, ldc, count, g, mode, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
                    elif vectors == OUTER_VECTORS:
                        outer_row(
                            a, a_p, a_r, picked, b, b_pitch, b_rows, here, c, ldc, count, g, mode, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
                    elif k < tall and vectors == 1:
                        outer_vector(
                            a, a_p, a_r, picked, b, b_pitch, b_rows, here, c, ldc, count, g, mode, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
                    elif vectors == 1:
                        outer_one(
                            a, a_p, a_r, picked, b, b_pitch, b_rows, here, c, ldc, count, g, mode, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
                    elif k < tall:
                        outer_some(
                            a, a_p, a_r, picked, b, b_pitch, b_rows, here, c, ldc, count, g, mode, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
                    else:
                        outer_row_some(
                            a, a_p, a_r, picked, b, b_pitch, b_rows, here, c, ldc, count, g, mode, scale, step, limit, kept,
                            begins, ends,
                        )  # fmt: skip
        t += n_here * columns_here


@inlined
def moved(old, total, scale, step, limit):
    """Scale old + step clip(total, -limit, limit), without old if scale is 0: the update of ``tile.outer``."""
    total = min(max(total, -limit), limit)
    return step * total if scale == 0 else scale * old + step * total


@inlined
def column_sums(S, start, m, n_out, out, scale, step, limit):
    """Update a hidden layer's bias, or its gradient, as ``moved`` does, by the layer's deltas summed over the samples.

    Each sum has four parts, which are added in a fixed order.
    """
    lanes, zero = lanes_of(S), step * 0
    high, low = vsplat(S, limit), vsplat(S, -limit)
    for u in range(0, n_out, lanes):
        count = min(lanes, n_out - u)
        s0 = s1 = s2 = s3 = vsplat(S, 0.0)
        for r in range(0, m - m % 4, 4):
            i = start + r * n_out + u
            s0 = s0 + vload_first(S, i, count, zero)
            s1 = s1 + vload_first(S, i + n_out, count, zero)
            s2 = s2 + vload_first(S, i + 2 * n_out, count, zero)
            s3 = s3 + vload_first(S, i + 3 * n_out, count, zero)
        for r in range(m - m % 4, m):
            s0 = s0 + vload_first(S, start + r * n_out + u, count, zero)
        change = vsplat(S, step) * vmin(vmax((s0 + s1) + (s2 + s3), low), high)
        if scale != 0:
            change = change + vsplat(S, scale) * vload_first(out, u, count, zero)
        vstore_first(out, u, change, count)


def is_short(n_in, n_out, lanes):
    """Whether ``outer`` computes a layer's forward product faster than ``dot``, from transposed weights.

    With few inputs, ``dot`` takes longer to add up the lanes of its sums than for its products. ``outer`` has no lanes to
    add up, but needs as many units as fill a whole tile.
    """
    return n_in < SHORT_VECTORS * lanes and n_out >= OUTER_VECTORS * lanes


uses_turned = inlined(is_short)


@routine(W=AT, n_units=INT, n_in=INT, turned=AT, ldt=INT)
def turn(W, n_units, n_in, turned, ldt):
    """turned[k, u] = W[u, k], for rows of ``turned`` that are ldt elements apart: the weights as ``outer`` needs them."""
    lanes = lanes_of(W)
    units, whole = n_units - n_units % lanes, n_in - n_in % lanes
    for u in range(0, units, lanes):
        for k in range(0, whole, lanes):
            transpose(at(W, u * n_in + k), n_in, at(turned, k * ldt + u), ldt)
        for i in range(u, u + lanes):
            for k in range(whole, n_in):
                turned[k * ldt + i] = W[i * n_in + k]
    for i in range(units, n_units):
        for k in range(n_in):
            turned[k * ldt + i] = W[i * n_in + k]
