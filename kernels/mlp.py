"""Training a network of dense layers with ReLU between them: forward, loss, backprop and update.

    m samples, n_in inputs and n_out units of a layer; layer l has weights (n_out, n_in) and a bias (n_out,)

All parameters lie in one vector, ``params``; a row of ``layout`` says where a layer's are: n_in, n_out, the offset of
its weights, the offset of its bias, and the number of units in the layers before it. The scratch S for a batch of up to
``capacity`` samples holds, for all hidden units, Z before the activation, A after it and the deltas D, layer after layer, a
row per sample, as the next product wants them; and then the last layer's block (see ``softmax``), a row per class. A linear
model is the network of one layer.

A step is two regions of parallel work. In the first a thread takes rows through all layers and back, since rows do not
need each other; small batches do their first layer by units instead, so that all threads have work. In the second
a thread takes tiles of the weight matrices and updates them in place. No sum is split between threads.
"""

from numba import prange

from .jit import FLAG, IN1, IN2, INDEX, INT, OUT1, OUT64, TABLE, helper, inlined, kernel
from .matmul import forward, n_groups, n_panels, outer_product, outer_tile
from .simd import at, lanes_of, vload_first, vmax, vmin, vsplat, vstore_first
from .softmax import (
    bias_gradient,
    biases_at,
    deltas_at,
    gather_targets,
    logits_at,
    output_layer,
    spread_bias,
    total_loss,
)
from .tile import DOT_UNITS

N_IN, N_OUT, WEIGHTS, BIAS, UNITS = range(5)  # columns of layout
LEARNING_RATE, CLIP, LOG_LOW, LOG_HIGH, EPS, WITH_BIAS = range(6)  # entries of settings; the last for linear models
FORWARD, LOSS, BACKWARD = 1, 2, 4  # bits of phases

BLOCK_BYTES = 256 * 1024  # of the first layer's input, kept in the second-level cache while all units pass over it
BY_UNITS_BELOW = 64  # rows: smaller batches give a thread units of the first layer, larger ones rows


@inlined
def share(total, q, workers):
    """Worker q's part of a range, as (first, past the last)."""
    return total * q // workers, total * (q + 1) // workers


@inlined
def rows_at(buffer, l, layout, capacity):
    """Where hidden layer l's rows start in S: in buffer 0, Z; 1, A; or 2, D."""
    n_hidden = layout[layout.shape[0] - 1, UNITS]
    return capacity * (buffer * n_hidden + layout[l, UNITS])


@helper
def hidden(l, X, ldx, order, p0, iota, r0, r1, u0, u1, params, layout, capacity, S):
    """Units u0 ≤ u < u1 of hidden layer l for samples r0 ≤ r < r1 of the batch: Z and A = max(Z, 0)."""
    n_in, n_out = layout[l, N_IN], layout[l, N_OUT]
    here = r0 * n_out + u0
    z, a = rows_at(0, l, layout, capacity) + here, rows_at(1, l, layout, capacity) + here
    w, bias = at(params, layout[l, WEIGHTS] + u0 * n_in), at(params, layout[l, BIAS] + u0)
    if l == 0:
        source, rows = at(X, 0), at(order, p0 + r0)
    else:
        source, rows = at(S, rows_at(1, l - 1, layout, capacity) + r0 * n_in), at(iota, 0)
    forward(
        source, ldx if l == 0 else n_in, rows, r1 - r0, w, n_in, at(iota, 0), u1 - u0, n_in,
        bias, 0, 1, at(S, z), at(S, a), n_out, params[0] * 0,
    )  # fmt: skip


@helper
def logits(X, ldx, order, p0, iota, r0, r1, params, layout, capacity, S, block):
    """The last layer's Z for samples r0 ≤ r < r1."""
    l = layout.shape[0] - 1
    n_in, c = layout[l, N_IN], layout[l, N_OUT]
    w, z = at(params, layout[l, WEIGHTS]), at(S, logits_at(block, c, capacity) + r0)
    if l == 0:
        source, rows = at(X, 0), at(order, p0 + r0)
    else:
        source, rows = at(S, rows_at(1, l - 1, layout, capacity) + r0 * n_in), at(iota, 0)
    forward(
        w, n_in, at(iota, 0), c, source, ldx if l == 0 else n_in, rows, r1 - r0, n_in,
        at(S, biases_at(block, c, capacity)), 4, 0, z, z, capacity, params[0] * 0 - float("inf"),
    )  # fmt: skip


@inlined
def column_sums(S, start, m, n_out, params, bias, lr, clip):
    """The bias of a hidden layer -= lr clip(sums over the samples of its deltas), in four parts, added in order."""
    lanes, zero = lanes_of(S), params[0] * 0
    high, low = vsplat(S, clip), vsplat(S, -clip)
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
        g = vmin(vmax((s0 + s1) + (s2 + s3), low), high)
        b = vload_first(params, bias + u, count, zero)
        vstore_first(params, bias + u, b - vsplat(S, lr) * g, count)


@kernel(
    parallel=True,
    X=IN2, order=INDEX, iota=INDEX, labels=INDEX, targets=IN1, params=OUT1, layout=TABLE, S=OUT1, losses=OUT64,
    settings=IN1, capacity=INT, batch_size=INT, repeats=INT, phases=INT, sigmoid=FLAG,
)  # fmt: skip
def run(
    X, order, iota, labels, targets, params, layout, S, losses, settings, capacity, batch_size, repeats, phases, sigmoid,
    workers,
):  # fmt: skip
    """Steps over the batches of ``order``, ``repeats`` times; losses[i] is the mean loss of step i, before its update.

    ``phases`` says what a step does: FORWARD fills Z and A (probabilities in the last layer), LOSS the losses, BACKWARD
    the deltas, from A, and updates ``params``. ``labels`` (m,) are classes, or empty: then ``targets`` (m * c) holds
    distributions. ``iota`` counts 0, 1, … up to the larger of the capacity and the widest layer.
    """
    last, lanes, zero = layout.shape[0] - 1, lanes_of(params), params[0] * 0
    ldx, total_rows, c, labelled = X.shape[1], order.shape[0], layout[last, N_OUT], labels.shape[0] > 0
    block = 3 * capacity * layout[last, UNITS]
    lr, clip, low, high, eps = (
        settings[LEARNING_RATE],
        settings[CLIP],
        settings[LOG_LOW],
        settings[LOG_HIGH],
        settings[EPS],
    )
    going_forward, with_loss, going_back = phases & FORWARD > 0, phases & LOSS > 0, phases & BACKWARD > 0
    n_batches = (total_rows + batch_size - 1) // batch_size
    whole = 3 * lanes  # rows: whole vectors of samples, and whole tiles of 3 or 6 rows
    rows_at_once = max(whole, BLOCK_BYTES // (ldx * params.itemsize) // whole * whole)
    n_tiles = 0
    for l in range(last + 1):
        n_tiles += 1 + n_groups(layout[l, N_OUT]) * n_panels(layout[l, N_IN], lanes)

    for step in range(repeats * n_batches):
        p0 = step % n_batches * batch_size
        m = min(batch_size, total_rows - p0)
        by_units = m < BY_UNITS_BELOW
        spread_bias(params, layout[last, BIAS], S, block, c, capacity)
        if by_units and going_forward and last > 0:
            n_units = layout[0, N_OUT]
            for q in prange(workers):
                g0, g1 = share((n_units + DOT_UNITS - 1) // DOT_UNITS, q, workers)
                u0, u1 = g0 * DOT_UNITS, min(g1 * DOT_UNITS, n_units)
                hidden(0, X, ldx, order, p0, iota, 0, m, u0, u1, params, layout, capacity, S)

        for q in prange(workers):
            g0, g1 = share((m + lanes - 1) // lanes, q, workers)
            end = min(g1 * lanes, m)
            for r0 in range(g0 * lanes, end, rows_at_once):
                r1 = min(r0 + rows_at_once, end)
                if going_forward:
                    for l in range(1 if by_units else 0, last):
                        hidden(l, X, ldx, order, p0, iota, r0, r1, 0, layout[l, N_OUT], params, layout, capacity, S)
                    logits(X, ldx, order, p0, iota, r0, r1, params, layout, capacity, S, block)
                if phases > FORWARD:
                    gather_targets(labels, targets, order, p0 + r0, r1 - r0, S, block, r0, c, capacity)
                output_layer(
                    S, block, r0, r1 - r0, c, capacity, labelled, sigmoid, going_forward, with_loss, going_back,
                    low, high, eps, 1 / (zero + m),
                )  # fmt: skip
                if going_back:
                    for l in range(last, 0, -1):
                        n_in, n_out = layout[l, N_IN], layout[l, N_OUT]
                        here, before = rows_at(2, l, layout, capacity) + r0 * n_out, r0 * n_in
                        if l == last:
                            here = deltas_at(block, c, capacity) + r0
                        outer_product(
                            lanes, at(S, here), capacity if l == last else 1, 1 if l == last else n_out,
                            at(params, layout[l, WEIGHTS]), n_in, at(iota, 0), n_out,
                            at(S, rows_at(2, l - 1, layout, capacity) + before), r1 - r0, n_in,
                            at(S, rows_at(1, l - 1, layout, capacity) + before), True, zero, zero, zero,
                        )  # fmt: skip

        if with_loss:
            losses[step] = total_loss(S, block, m, c, capacity) / m

        if going_back:
            for q in prange(workers):
                t0, t1 = share(n_tiles, q, workers)
                first = 0
                for l in range(last + 1):
                    n_in, n_out, weights, bias = layout[l, N_IN], layout[l, N_OUT], layout[l, WEIGHTS], layout[l, BIAS]
                    groups, n_columns = n_groups(n_out), n_panels(n_in, lanes)
                    deltas = deltas_at(block, c, capacity) if l == last else rows_at(2, l, layout, capacity)
                    for t in range(max(t0 - first, 0), min(t1 - first, groups * n_columns)):
                        if by_units:
                            group, panel = t // n_columns, t % n_columns
                        else:
                            group, panel = t % groups, t // groups
                        if l == 0:
                            source, rows = at(X, 0), at(order, p0)
                        else:
                            source, rows = at(S, rows_at(1, l - 1, layout, capacity)), at(iota, 0)
                        outer_tile(
                            group, panel, lanes, at(S, deltas), 1 if l == last else n_out, capacity if l == last else 1,
                            source, ldx if l == 0 else n_in, rows, m,
                            at(params, weights), n_out, n_in, at(params, weights), False, zero + 1, -lr, clip,
                        )  # fmt: skip
                    first += groups * n_columns
                    if t0 <= first < t1:
                        if l == last:
                            for k in range(c):
                                g = bias_gradient(S, block, k, m, c, capacity)
                                params[bias + k] -= lr * min(max(g, -clip), clip)
                        else:
                            column_sums(S, deltas, m, n_out, params, bias, lr, clip)
                    first += 1
