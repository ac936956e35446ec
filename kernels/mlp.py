"""Training a network of dense layers with ReLU between them: forward, loss, backprop and update.

    m samples (rows), n_in inputs and n_out units of a layer; layer l has weights (n_out, n_in) and a bias (n_out,)

All parameters lie in one vector, ``params``; a row of ``layout`` says where a layer's are: n_in, n_out, the offset of
its weights, the offset of its bias, and the number of units in the layers before it. Scratch for a batch of up to
``capacity`` rows is three vectors of capacity * (all units): Z before the activation, A after it, D the deltas. Layer l
has the rows at ``capacity * layout[l, UNITS]``. A linear model is the network of one layer.

A step is two regions of parallel work. In the first a thread takes rows through all layers and back, since rows do not
need each other; small batches do their first layer by units instead, so that all threads have work. In the second
a thread takes tiles of the weight matrices and updates them in place. No sum is split between threads.
"""

from numba import prange

from .jit import FLAG, IN1, IN2, INDEX, INT, OUT1, OUT64, TABLE, helper, kernel
from .matmul import forward, n_groups, n_panels, outer_product, outer_tile
from .simd import at, lanes_of, vfirst, vload_first, vmax, vmin, vsplat, vstore_first
from .softmax import delta_row, loss_row, probability_row
from .tile import DOT_ROWS, DOT_UNITS

N_IN, N_OUT, WEIGHTS, BIAS, UNITS = range(5)  # columns of layout
LEARNING_RATE, CLIP, LOG_LOW, LOG_HIGH, EPS, WITH_BIAS = range(6)  # entries of settings; the last for linear models
FORWARD, LOSS, BACKWARD = 1, 2, 4  # bits of phases

BLOCK_BYTES = 256 * 1024  # of the first layer's input, kept in the second-level cache while all units pass over it
BY_UNITS_BELOW = 64  # rows: smaller batches give a thread units of the first layer, larger ones rows


@helper
def share(total, q, workers):
    """Worker q's part of a range, as (first, past the last)."""
    return total * q // workers, total * (q + 1) // workers


@helper
def dense(l, X, ldx, order, p0, iota, r0, r1, u0, u1, params, layout, capacity, Z, A):
    """Units u0 ≤ u < u1 of layer l for rows r0 ≤ r < r1 of the batch: Z and its activation."""
    n_in, n_out = layout[l, N_IN], layout[l, N_OUT]
    out = capacity * layout[l, UNITS] + r0 * n_out + u0
    last = l + 1 == layout.shape[0]
    floor = params[0] * 0 - float("inf") if last else params[0] * 0
    w, bias = at(params, layout[l, WEIGHTS] + u0 * n_in), at(params, layout[l, BIAS] + u0)
    if l == 0:
        source, lda, rows = at(X, 0), ldx, at(order, p0 + r0)
    else:
        source, lda, rows = at(A, capacity * layout[l - 1, UNITS] + r0 * n_in), n_in, at(iota, 0)
    forward(source, lda, rows, r1 - r0, w, bias, u1 - u0, n_in, at(Z, out), at(A, out), n_out, floor)


@helper
def bias_update(D, start, m, n_out, params, bias, lr, clip):
    """Bias -= lr clip(column sums of D), four partial sums of rows each, added in order."""
    lanes, zero = lanes_of(D), D[start] * 0
    high, low = vsplat(D, clip), vsplat(D, -clip)
    for u in range(0, n_out, lanes):
        count = min(lanes, n_out - u)
        s0 = s1 = s2 = s3 = vsplat(D, 0.0)
        for r in range(0, m - m % 4, 4):
            i = start + r * n_out + u
            s0 = s0 + vload_first(D, i, count, zero)
            s1 = s1 + vload_first(D, i + n_out, count, zero)
            s2 = s2 + vload_first(D, i + 2 * n_out, count, zero)
            s3 = s3 + vload_first(D, i + 3 * n_out, count, zero)
        for r in range(m - m % 4, m):
            s0 = s0 + vload_first(D, start + r * n_out + u, count, zero)
        g = vmin(vmax((s0 + s1) + (s2 + s3), low), high)
        b = vload_first(params, bias + u, count, zero)
        vstore_first(params, bias + u, vfirst(b - vsplat(D, lr) * g, count, zero), count)


@kernel(
    parallel=True,
    X=IN2, order=INDEX, iota=INDEX, labels=INDEX, targets=IN1, params=OUT1, layout=TABLE, Z=OUT1, A=OUT1, D=OUT1,
    row_loss=OUT64, losses=OUT64, settings=IN1, batch_size=INT, repeats=INT, phases=INT, sigmoid=FLAG,
)  # fmt: skip
def run(
    X, order, iota, labels, targets, params, layout, Z, A, D, row_loss, losses, settings, batch_size, repeats, phases,
    sigmoid, workers,
):  # fmt: skip
    """Steps over the batches of ``order``, ``repeats`` times; losses[i] is the mean loss of step i, before its update.

    ``phases`` says what a step does: FORWARD fills Z and A (probabilities in the last layer), LOSS the losses, BACKWARD
    the deltas, from A, and updates ``params``. ``labels`` (m,) are classes, or empty: then ``targets`` (m * c) holds
    distributions. ``iota`` counts 0, 1, … up to the larger of the batch and the widest layer.
    """
    n_layers, lanes, zero = layout.shape[0], lanes_of(params), params[0] * 0
    ldx = X.shape[1]
    total_rows, capacity = order.shape[0], row_loss.shape[0]
    c = layout[n_layers - 1, N_OUT]
    lr, clip, low, high, eps = (
        settings[LEARNING_RATE],
        settings[CLIP],
        settings[LOG_LOW],
        settings[LOG_HIGH],
        settings[EPS],
    )
    n_batches = (total_rows + batch_size - 1) // batch_size
    block = max(DOT_ROWS, BLOCK_BYTES // (ldx * params.itemsize) // DOT_ROWS * DOT_ROWS)
    n_tiles = 0
    for l in range(n_layers):
        n_tiles += 1 + n_groups(layout[l, N_OUT]) * n_panels(layout[l, N_IN], lanes)

    for step in range(repeats * n_batches):
        p0 = step % n_batches * batch_size
        m = min(batch_size, total_rows - p0)
        by_units = m < BY_UNITS_BELOW
        if by_units and phases & FORWARD:
            n_units = layout[0, N_OUT]
            for q in prange(workers):
                g0, g1 = share((n_units + DOT_UNITS - 1) // DOT_UNITS, q, workers)
                u0, u1 = g0 * DOT_UNITS, min(g1 * DOT_UNITS, n_units)
                dense(0, X, ldx, order, p0, iota, 0, m, u0, u1, params, layout, capacity, Z, A)

        for q in prange(workers):
            g0, g1 = share((m + DOT_ROWS - 1) // DOT_ROWS, q, workers)
            last_row = min(g1 * DOT_ROWS, m)
            for r0 in range(g0 * DOT_ROWS, last_row, block):
                r1 = min(r0 + block, last_row)
                if phases & FORWARD:
                    for l in range(1 if by_units else 0, n_layers):
                        dense(l, X, ldx, order, p0, iota, r0, r1, 0, layout[l, N_OUT], params, layout, capacity, Z, A)
                out = capacity * layout[n_layers - 1, UNITS]
                for r in range(r0, r1):
                    i = order[p0 + r]
                    label = labels[i] if labels.shape[0] else -1
                    start = out + r * c
                    if phases & FORWARD:
                        log_total = probability_row(A, A, start, c, sigmoid)
                        if phases & LOSS:
                            row_loss[r] = loss_row(
                                Z, start, c, label, targets, i * c, log_total, sigmoid, low, high, eps
                            )
                    if phases & BACKWARD:
                        delta_row(A, D, start, c, label, targets, i * c, 1 / (zero + m), sigmoid)
                if phases & BACKWARD:
                    for l in range(n_layers - 1, 0, -1):
                        n_in, n_out = layout[l, N_IN], layout[l, N_OUT]
                        before = capacity * layout[l - 1, UNITS] + r0 * n_in
                        outer_product(
                            lanes, at(D, capacity * layout[l, UNITS] + r0 * n_out), 1, n_out,
                            at(params, layout[l, WEIGHTS]), n_in, at(iota, 0), n_out,
                            at(D, before), r1 - r0, n_in, at(A, before), True, zero, zero, zero,
                        )  # fmt: skip

        if phases & LOSS:
            total = 0.0
            for r in range(m):
                total += row_loss[r]
            losses[step] = total / m

        if phases & BACKWARD:
            for q in prange(workers):
                t0, t1 = share(n_tiles, q, workers)
                first = 0
                for l in range(n_layers):
                    n_in, n_out = layout[l, N_IN], layout[l, N_OUT]
                    groups, n_columns = n_groups(n_out), n_panels(n_in, lanes)
                    deltas, weights = capacity * layout[l, UNITS], layout[l, WEIGHTS]
                    for t in range(max(t0 - first, 0), min(t1 - first, groups * n_columns)):
                        if by_units:
                            group, panel = t // n_columns, t % n_columns
                        else:
                            group, panel = t % groups, t // groups
                        if l == 0:
                            source, ldb, rows = at(X, 0), ldx, at(order, p0)
                        else:
                            source, ldb, rows = at(A, capacity * layout[l - 1, UNITS]), n_in, at(iota, 0)
                        outer_tile(
                            group, panel, lanes, at(D, deltas), n_out, 1, source, ldb, rows, m,
                            at(params, weights), n_out, n_in, at(params, weights), False, zero + 1, -lr, clip,
                        )  # fmt: skip
                    first += groups * n_columns
                    if t0 <= first < t1:
                        bias_update(D, deltas, m, n_out, params, layout[l, BIAS], lr, clip)
                    first += 1
