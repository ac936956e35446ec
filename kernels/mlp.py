"""Training a network of dense layers with ReLU between them: forward, loss, backprop and update.

    m samples, n_in inputs and n_out units of a layer; layer l has weights (n_out, n_in) and a bias (n_out,)

All parameters lie in one vector, ``params``; a row of ``layout`` says where a layer's are: n_in, n_out, the offset of
its weights, the offset of its bias, and the number of units in the layers before it. Scratch for a batch of up to
``capacity`` samples is three vectors of capacity * (all units): Z before the activation, A after it, D the deltas. Layer l
starts at ``capacity * layout[l, UNITS]``: a hidden one has a row per sample, as the next product wants them; the last one
a row of ``capacity`` per class, as the softmax wants them. A linear model is the network of one layer.

A step is two regions of parallel work. In the first a thread takes rows through all layers and back, since rows do not
need each other; small batches do their first layer by units instead, so that all threads have work. In the second
a thread takes tiles of the weight matrices and updates them in place. No sum is split between threads.
"""

from numba import prange

from .jit import FLAG, IN1, IN2, INDEX, INT, OUT1, OUT64, TABLE, helper, inlined, kernel
from .matmul import forward, n_groups, n_panels, outer_product, outer_tile
from .simd import at, lanes_of, vload, vload_first, vmax, vmin, vsplat, vstore_first, vsum
from .softmax import gather_targets, output_layer, total_loss
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


@helper
def hidden(l, X, ldx, order, p0, iota, r0, r1, u0, u1, params, layout, capacity, Z, A):
    """Units u0 ≤ u < u1 of hidden layer l for samples r0 ≤ r < r1 of the batch: Z and A = max(Z, 0)."""
    n_in, n_out, zero = layout[l, N_IN], layout[l, N_OUT], params[0] * 0
    out = capacity * layout[l, UNITS] + r0 * n_out + u0
    w, bias = at(params, layout[l, WEIGHTS] + u0 * n_in), at(params, layout[l, BIAS] + u0)
    if l == 0:
        source, rows = at(X, 0), at(order, p0 + r0)
    else:
        source, rows = at(A, capacity * layout[l - 1, UNITS] + r0 * n_in), at(iota, 0)
    lda = ldx if l == 0 else n_in
    forward(
        source, lda, rows, r1 - r0, w, n_in, at(iota, 0), u1 - u0, n_in, bias, 0, 1, at(Z, out), at(A, out), n_out, zero
    )


@helper
def logits(X, ldx, order, p0, iota, r0, r1, params, layout, capacity, Z, A, bias4):
    """The last layer's Z for samples r0 ≤ r < r1: a row per class."""
    l = layout.shape[0] - 1
    n_in, c, out = layout[l, N_IN], layout[l, N_OUT], capacity * layout[l, UNITS] + r0
    w, z, floor = at(params, layout[l, WEIGHTS]), at(Z, out), params[0] * 0 - float("inf")
    if l == 0:
        source, rows = at(X, 0), at(order, p0 + r0)
    else:
        source, rows = at(A, capacity * layout[l - 1, UNITS] + r0 * n_in), at(iota, 0)
    ldb = ldx if l == 0 else n_in
    forward(w, n_in, at(iota, 0), c, source, ldb, rows, r1 - r0, n_in, at(bias4, 0), 4, 0, z, z, capacity, floor)


@inlined
def spread_bias(params, bias, c, bias4):
    """Each of c biases four times in a row, as ``logits`` wants them."""
    for k in range(c):
        for i in range(4 * k, 4 * k + 4):
            bias4[i] = params[bias + k]


@inlined
def column_sums(D, start, m, n_out, params, bias, lr, clip):
    """The bias of a hidden layer -= lr clip(sums over the samples of D), four partial sums, added in order."""
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
        vstore_first(params, bias + u, b - vsplat(D, lr) * g, count)


@inlined
def row_sums(D, start, m, ld, c, params, bias, lr, clip):
    """The bias of the last layer -= lr clip(sums over the samples of D), whose rows are padded with zeros."""
    lanes = lanes_of(D)
    for k in range(c):
        total = vsplat(D, 0.0)
        for r in range(start + k * ld, start + k * ld + m, lanes):
            total = total + vload(D, r)
        params[bias + k] -= lr * min(max(vsum(total), -clip), clip)


@kernel(
    parallel=True,
    X=IN2, order=INDEX, iota=INDEX, labels=INDEX, targets=IN1, params=OUT1, layout=TABLE, Z=OUT1, A=OUT1, D=OUT1,
    T=OUT1, classes=OUT1, sample_loss=OUT1, bias4=OUT1, losses=OUT64, settings=IN1, batch_size=INT, repeats=INT,
    phases=INT, sigmoid=FLAG,
)  # fmt: skip
def run(
    X, order, iota, labels, targets, params, layout, Z, A, D, T, classes, sample_loss, bias4, losses, settings, batch_size,
    repeats, phases, sigmoid, workers,
):  # fmt: skip
    """Steps over the batches of ``order``, ``repeats`` times; losses[i] is the mean loss of step i, before its update.

    ``phases`` says what a step does: FORWARD fills Z and A (probabilities in the last layer), LOSS the losses, BACKWARD
    the deltas, from A, and updates ``params``. ``labels`` (m,) are classes, or empty: then ``targets`` (m * c) holds
    distributions, and T has room for those of a batch. ``iota`` counts 0, 1, … up to the larger of the batch and the
    widest layer.
    """
    last, lanes, zero = layout.shape[0] - 1, lanes_of(params), params[0] * 0
    ldx, total_rows, capacity = X.shape[1], order.shape[0], sample_loss.shape[0]
    c, output, labelled = layout[last, N_OUT], capacity * layout[last, UNITS], labels.shape[0] > 0
    lr, clip, low, high, eps = (
        settings[LEARNING_RATE],
        settings[CLIP],
        settings[LOG_LOW],
        settings[LOG_HIGH],
        settings[EPS],
    )
    going_forward, going_back = phases & FORWARD > 0, phases & BACKWARD > 0
    n_batches = (total_rows + batch_size - 1) // batch_size
    block = max(lanes, BLOCK_BYTES // (ldx * params.itemsize) // lanes * lanes)
    n_tiles = 0
    for l in range(last + 1):
        n_tiles += 1 + n_groups(layout[l, N_OUT]) * n_panels(layout[l, N_IN], lanes)

    for step in range(repeats * n_batches):
        p0 = step % n_batches * batch_size
        m = min(batch_size, total_rows - p0)
        by_units = m < BY_UNITS_BELOW
        spread_bias(params, layout[last, BIAS], c, bias4)
        if by_units and going_forward and last > 0:
            n_units = layout[0, N_OUT]
            for q in prange(workers):
                g0, g1 = share((n_units + DOT_UNITS - 1) // DOT_UNITS, q, workers)
                u0, u1 = g0 * DOT_UNITS, min(g1 * DOT_UNITS, n_units)
                hidden(0, X, ldx, order, p0, iota, 0, m, u0, u1, params, layout, capacity, Z, A)

        for q in prange(workers):
            g0, g1 = share((m + lanes - 1) // lanes, q, workers)
            end = min(g1 * lanes, m)
            for r0 in range(g0 * lanes, end, block):
                r1 = min(r0 + block, end)
                if going_forward:
                    for l in range(1 if by_units else 0, last):
                        hidden(l, X, ldx, order, p0, iota, r0, r1, 0, layout[l, N_OUT], params, layout, capacity, Z, A)
                    logits(X, ldx, order, p0, iota, r0, r1, params, layout, capacity, Z, A, bias4)
                if phases > FORWARD:
                    gather_targets(labels, targets, order, p0 + r0, r1 - r0, c, T, r0, classes, r0, capacity)
                output_layer(
                    Z, A, D, output + r0, T, r0, classes, sample_loss, r0, c, capacity, r1 - r0, labelled, sigmoid,
                    going_forward, phases & LOSS > 0, going_back, low, high, eps, 1 / (zero + m),
                )  # fmt: skip
                if going_back:
                    for l in range(last, 0, -1):
                        n_in, n_out = layout[l, N_IN], layout[l, N_OUT]
                        before = capacity * layout[l - 1, UNITS] + r0 * n_in
                        deltas = output + r0 if l == last else capacity * layout[l, UNITS] + r0 * n_out
                        outer_product(
                            lanes, at(D, deltas), capacity if l == last else 1, 1 if l == last else n_out,
                            at(params, layout[l, WEIGHTS]), n_in, at(iota, 0), n_out,
                            at(D, before), r1 - r0, n_in, at(A, before), True, zero, zero, zero,
                        )  # fmt: skip

        if phases & LOSS:
            losses[step] = total_loss(sample_loss, 0, m) / m

        if going_back:
            for q in prange(workers):
                t0, t1 = share(n_tiles, q, workers)
                first = 0
                for l in range(last + 1):
                    n_in, n_out = layout[l, N_IN], layout[l, N_OUT]
                    groups, n_columns = n_groups(n_out), n_panels(n_in, lanes)
                    deltas, weights = capacity * layout[l, UNITS], layout[l, WEIGHTS]
                    for t in range(max(t0 - first, 0), min(t1 - first, groups * n_columns)):
                        if by_units:
                            group, panel = t // n_columns, t % n_columns
                        else:
                            group, panel = t % groups, t // groups
                        if l == 0:
                            source, rows = at(X, 0), at(order, p0)
                        else:
                            source, rows = at(A, capacity * layout[l - 1, UNITS]), at(iota, 0)
                        outer_tile(
                            group, panel, lanes, at(D, deltas), 1 if l == last else n_out, capacity if l == last else 1,
                            source, ldx if l == 0 else n_in, rows, m,
                            at(params, weights), n_out, n_in, at(params, weights), False, zero + 1, -lr, clip,
                        )  # fmt: skip
                    first += groups * n_columns
                    if t0 <= first < t1:
                        if l == last:
                            row_sums(D, deltas, m, capacity, n_out, params, layout[l, BIAS], lr, clip)
                        else:
                            column_sums(D, deltas, m, n_out, params, layout[l, BIAS], lr, clip)
                    first += 1
