"""The matrix products of training, cut into register tiles.

    forward         Z = A W^T + b and ReLU            samples against the units of a layer
    outer_product   C = scale C + step clip(A^T B)    the weight update; the gradient of a linear model
                    C = (A^T B) masked by ReLU        a layer's deltas from those of the next layer

A product is a grid of tiles, and a thread is given some of them. The bits of a result do not depend on that cut,
because every sum is added in one order (see ``tile.py``): the cut follows from speed alone. Matrices are addresses of
their first elements here, so that one compiled product serves the user's data, the parameters and the scratch.
"""

from .jit import helper, inlined
from .simd import ahead
from .tile import (
    DOT_ROWS,
    DOT_UNITS,
    OUTER_ROWS,
    OUTER_VECTORS,
    dot_full,
    dot_one,
    dot_row,
    dot_unit,
    outer_full,
    outer_one,
    outer_row,
    outer_vector,
)


@helper
def forward(A, lda, a_rows, n_rows, W, ldw, w_rows, n_units, K, bias, bias_r, bias_u, Z, act, ldo, floor):
    """Z[r, u] = A[a_rows[r]] . W[w_rows[u]] + bias[r bias_r + u bias_u] and act = max(Z, floor).

    bias_u is 1, or it is 0 and the bias of r stands four times in a row. So a layer's samples can be the rows of the
    result and its units the columns, or the other way round.
    """
    u = 0
    while u < n_units:
        wide = u + DOT_UNITS <= n_units
        w_index, bias_at = ahead(w_rows, u), ahead(bias, u * bias_u)
        r = 0
        while r < n_rows:
            tall = r + DOT_ROWS <= n_rows
            index, b = ahead(a_rows, r), ahead(bias_at, r * bias_r)
            z, y = ahead(Z, r * ldo + u), ahead(act, r * ldo + u)
            if wide and tall:
                dot_full(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor)
            elif wide:
                dot_row(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor)
            elif tall:
                dot_unit(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor)
            else:
                dot_one(A, lda, index, W, ldw, w_index, K, b, bias_r, z, y, ldo, floor)
            r += DOT_ROWS if tall else 1
        u += DOT_UNITS if wide else 1


@inlined
def n_groups(n_rows):
    """Rows of tiles in an outer product of n_rows rows."""
    return n_rows // OUTER_ROWS + n_rows % OUTER_ROWS


@inlined
def n_panels(n_columns, lanes):
    """Columns of tiles in an outer product of n_columns columns."""
    rest = n_columns % (OUTER_VECTORS * lanes)
    return n_columns // (OUTER_VECTORS * lanes) + (rest + lanes - 1) // lanes


@helper
def outer_tile(
    group, panel, lanes, A, a_p, a_r, B, ldb, rows, depth, C, n_rows, n_columns, gate, gated, scale, step, limit
):
    """Tile (group, panel) of C (n_rows, n_columns); see ``tile.outer`` for the operands."""
    tall, wide = n_rows // OUTER_ROWS, n_columns // (OUTER_VECTORS * lanes)
    r = min(group, tall) * OUTER_ROWS + max(group - tall, 0)
    v = (min(panel, wide) * OUTER_VECTORS + max(panel - wide, 0)) * lanes
    count, at_c = min(lanes, n_columns - v), r * n_columns + v
    a, b, c, g, ldc = ahead(A, r * a_r), ahead(B, v), ahead(C, at_c), ahead(gate, at_c), n_columns
    if group < tall and panel < wide:
        outer_full(a, a_p, a_r, b, ldb, rows, depth, c, ldc, count, g, gated, scale, step, limit)
    elif panel < wide:
        outer_row(a, a_p, a_r, b, ldb, rows, depth, c, ldc, count, g, gated, scale, step, limit)
    elif group < tall:
        outer_vector(a, a_p, a_r, b, ldb, rows, depth, c, ldc, count, g, gated, scale, step, limit)
    else:
        outer_one(a, a_p, a_r, b, ldb, rows, depth, c, ldc, count, g, gated, scale, step, limit)


@helper
def outer_product(lanes, A, a_p, a_r, B, ldb, rows, depth, C, n_rows, n_columns, gate, gated, scale, step, limit):
    """All tiles of C = scale C + step clip(A^T B), or of the masked product."""
    for panel in range(n_panels(n_columns, lanes)):
        for group in range(n_groups(n_rows)):
            outer_tile(
                group, panel, lanes, A, a_p, a_r, B, ldb, rows, depth, C, n_rows, n_columns, gate, gated, scale, step, limit
            )  # fmt: skip
