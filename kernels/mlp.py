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

from typing import Any, NamedTuple

from numba import types

from .jit import AT, AT_INDEX, FLAG, IN1, IN2, INDEX, INT, OUT1, OUT64, TABLE, in_shares, inlined, kernel, share
from .matmul import forward, n_tiles, outer
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
from .target import TARGET
from .tile import DOT_UNITS, OUTER_VECTORS

N_IN, N_OUT, WEIGHTS, BIAS, UNITS = range(5)  # columns of layout
N_COLUMNS = 5
LEARNING_RATE, CLIP, LOG_LOW, LOG_HIGH, EPS, WITH_BIAS = range(6)  # entries of settings; the last for linear models
FORWARD, LOSS, BACKWARD = 1, 2, 4  # bits of phases

BLOCK_BYTES = 256 * 1024  # of the first layer's input, kept in the second-level cache while all units pass over it
BY_UNITS_BELOW = 64  # rows: smaller batches give a thread units of the first layer, larger ones rows


class Batch(NamedTuple):
    """What the work of a step reads and writes; addresses are of first elements."""

    X: Any
    ldx: Any  # elements from row to row of X
    order: Any  # the batch's rows of X
    m: Any  # how many they are
    iota: Any
    labels: Any
    targets: Any
    labelled: Any
    params: Any
    layout: Any
    n_layers: Any
    S: Any
    capacity: Any  # samples that S has room for
    panels: Any  # scratch of every worker, for the columns of X that it packs
    settings: Any
    phases: Any
    sigmoid: Any


def BATCH(element):
    """The type of a Batch."""
    numbers, positions = AT(element), AT_INDEX(element)
    integers, flag = types.int64, types.boolean
    return types.NamedTuple(
        (
            numbers, integers, positions, integers, positions, positions, numbers, flag, numbers, positions, integers,
            numbers, integers, numbers, numbers, integers, flag,
        ),
        Batch,
    )  # fmt: skip


@inlined
def entry(layout, l, column):
    """A layer's entry in the layout."""
    return layout[l * N_COLUMNS + column]


@inlined
def block_at(layout, n_layers, capacity):
    """Where the last layer's block starts in S."""
    return 3 * capacity * entry(layout, n_layers - 1, UNITS)


@inlined
def rows_at(buffer, l, batch):
    """Where hidden layer l's rows start in S: in buffer 0, Z; 1, A; or 2, D."""
    n_hidden = entry(batch.layout, batch.n_layers - 1, UNITS)
    return batch.capacity * (buffer * n_hidden + entry(batch.layout, l, UNITS))


@inlined
def input_of(l, batch):
    """What layer l reads: the address of its first element, elements from row to row, and the rows' numbers."""
    if l == 0:
        return batch.X, batch.ldx, batch.order
    return at(batch.S, rows_at(1, l - 1, batch)), entry(batch.layout, l, N_IN), batch.iota


@inlined
def hidden(l, batch, r0, r1, u0, u1):
    """Units u0 ≤ u < u1 of hidden layer l for samples r0 ≤ r < r1 of the batch: Z and A = max(Z, 0)."""
    n_in, n_out = entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT)
    w, bias = entry(batch.layout, l, WEIGHTS) + u0 * n_in, entry(batch.layout, l, BIAS) + u0
    source, pitch, rows = input_of(l, batch)
    z = at(batch.S, rows_at(0, l, batch) + r0 * n_out + u0)
    a = at(batch.S, rows_at(1, l, batch) + r0 * n_out + u0)
    forward(
        source, pitch, at(rows, r0), r1 - r0, at(batch.params, w), n_in, batch.iota, u1 - u0, n_in,
        at(batch.params, bias), 0, 1, z, a, n_out, 0.0,
    )  # fmt: skip


@inlined
def logits(batch, r0, r1):
    """The last layer's Z for samples r0 ≤ r < r1."""
    l, block = batch.n_layers - 1, block_at(batch.layout, batch.n_layers, batch.capacity)
    n_in, c, w = entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT), entry(batch.layout, l, WEIGHTS)
    source, pitch, rows = input_of(l, batch)
    z, biases = logits_at(block, c, batch.capacity) + r0, biases_at(block, c, batch.capacity)
    forward(
        at(batch.params, w), n_in, batch.iota, c, source, pitch, at(rows, r0), r1 - r0, n_in,
        at(batch.S, biases), 4, 0, at(batch.S, z), at(batch.S, z), batch.capacity, -float("inf"),
    )  # fmt: skip


@inlined
def deltas_of(l, batch):
    """Where layer l's deltas start in S, and the elements from sample to sample and from unit to unit."""
    if l == batch.n_layers - 1:
        block = block_at(batch.layout, batch.n_layers, batch.capacity)
        return deltas_at(block, entry(batch.layout, l, N_OUT), batch.capacity), 1, batch.capacity
    return rows_at(2, l, batch), entry(batch.layout, l, N_OUT), 1


@in_shares(batch=BATCH)
def first_layer(batch, q, workers):
    """Worker q's units of the first layer."""
    n_units = entry(batch.layout, 0, N_OUT)
    g0, g1 = share((n_units + DOT_UNITS - 1) // DOT_UNITS, q, workers)
    hidden(0, batch, 0, batch.m, g0 * DOT_UNITS, min(g1 * DOT_UNITS, n_units))


@in_shares(batch=BATCH)
def rows(batch, q, workers):
    """Worker q's samples, through all layers (but the first, if that was done by units) and back."""
    S, settings, capacity, last, lanes = batch.S, batch.settings, batch.capacity, batch.n_layers - 1, lanes_of(batch.S)
    block, c = block_at(batch.layout, batch.n_layers, capacity), entry(batch.layout, last, N_OUT)
    going_forward, going_back = batch.phases & FORWARD > 0, batch.phases & BACKWARD > 0
    with_loss, zero = batch.phases & LOSS > 0, settings[0] * 0
    whole = 3 * lanes  # rows: whole vectors of samples, and whole tiles of 3 or 6 rows
    at_once = max(whole, BLOCK_BYTES * lanes // (TARGET.vector_bytes * batch.ldx) // whole * whole)
    g0, g1 = share((batch.m + lanes - 1) // lanes, q, workers)
    end = min(g1 * lanes, batch.m)
    for r0 in range(g0 * lanes, end, at_once):
        r1 = min(r0 + at_once, end)
        if going_forward:
            for l in range(1 if batch.m < BY_UNITS_BELOW else 0, last):
                hidden(l, batch, r0, r1, 0, entry(batch.layout, l, N_OUT))
            logits(batch, r0, r1)
        if batch.phases > FORWARD:
            gather_targets(
                batch.labels, batch.targets, batch.labelled, at(batch.order, r0), r1 - r0, S, block, r0, c, capacity
            )
        output_layer(
            S, block, r0, r1 - r0, c, capacity, batch.labelled, batch.sigmoid, going_forward, with_loss, going_back,
            settings[LOG_LOW], settings[LOG_HIGH], settings[EPS], 1 / (zero + batch.m),
        )  # fmt: skip
        if going_back:
            for l in range(last, 0, -1):
                n_in, n_out = entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT)
                deltas, by_sample, by_unit = deltas_of(l, batch)
                before, gate = rows_at(2, l - 1, batch) + r0 * n_in, rows_at(1, l - 1, batch) + r0 * n_in
                outer(
                    0, n_tiles(r1 - r0, n_in, lanes), at(S, deltas + r0 * by_sample), by_unit, by_sample,
                    at(batch.params, entry(batch.layout, l, WEIGHTS)), n_in, batch.iota, batch.iota, n_out,
                    at(S, before), r1 - r0, n_in, at(S, gate), True, zero, zero, zero, S, False,
                )  # fmt: skip


@inlined
def column_sums(S, start, m, n_out, params, bias, lr, clip):
    """The bias of a hidden layer -= lr clip(sums over the samples of its deltas), in four parts, added in order."""
    lanes, zero = lanes_of(S), lr * 0
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


@in_shares(batch=BATCH)
def weights(batch, q, workers):
    """Worker q's tiles of all weight matrices, and the biases that follow them, updated."""
    S, params, layout, lanes, n_layers = batch.S, batch.params, batch.layout, lanes_of(batch.S), batch.n_layers
    lr, clip = batch.settings[LEARNING_RATE], batch.settings[CLIP]
    total, done = 0, 0
    for l in range(n_layers):
        total += 1 + n_tiles(entry(layout, l, N_OUT), entry(layout, l, N_IN), lanes)
    first, end = share(total, q, workers)
    panel = at(batch.panels, q * batch.capacity * OUTER_VECTORS * lanes)
    for l in range(n_layers):
        n_in, n_out, bias = entry(layout, l, N_IN), entry(layout, l, N_OUT), entry(layout, l, BIAS)
        tiles, w = n_tiles(n_out, n_in, lanes), at(params, entry(layout, l, WEIGHTS))
        deltas, by_sample, by_unit = deltas_of(l, batch)
        source, pitch, picked = input_of(l, batch)
        outer(
            max(first - done, 0), min(end - done, tiles), at(S, deltas), by_sample, by_unit, source, pitch, picked,
            batch.iota, batch.m, w, n_out, n_in, w, False, 1.0, -lr, clip, panel, True,
        )  # fmt: skip
        done += tiles
        if first <= done < end:
            if l == n_layers - 1:
                block = block_at(layout, n_layers, batch.capacity)
                for k in range(n_out):
                    g = bias_gradient(S, block, k, batch.m, n_out, batch.capacity)
                    params[bias + k] -= lr * min(max(g, -clip), clip)
            else:
                column_sums(S, deltas, batch.m, n_out, params, bias, lr, clip)
        done += 1


@kernel(
    X=IN2, order=INDEX, iota=INDEX, labels=INDEX, targets=IN1, params=OUT1, layout=TABLE, S=OUT1, panels=OUT1,
    losses=OUT64, settings=IN1, capacity=INT, batch_size=INT, repeats=INT, phases=INT, sigmoid=FLAG,
)  # fmt: skip
def run(
    X, order, iota, labels, targets, params, layout, S, panels, losses, settings, capacity, batch_size, repeats, phases,
    sigmoid, team,
):  # fmt: skip
    """Steps over the batches of ``order``, ``repeats`` times; losses[i] is the mean loss of step i, before its update.

    ``phases`` says what a step does: FORWARD fills Z and A (probabilities in the last layer), LOSS the losses, BACKWARD
    the deltas, from A, and updates ``params``. ``labels`` (m,) are classes, or empty: then ``targets`` (m * c) holds
    distributions. ``iota`` counts 0, 1, … up to the larger of the capacity and the widest layer.
    """
    n_layers, n_rows, table, S0 = layout.shape[0], order.shape[0], at(layout, 0), at(S, 0)
    n_batches = (n_rows + batch_size - 1) // batch_size
    block, c, bias = block_at(table, n_layers, capacity), layout[n_layers - 1, N_OUT], layout[n_layers - 1, BIAS]
    for step in range(repeats * n_batches):
        p0 = step % n_batches * batch_size
        m = min(batch_size, n_rows - p0)
        batch = Batch(
            at(X, 0), X.shape[1], at(order, p0), m, at(iota, 0), at(labels, 0), at(targets, 0), labels.shape[0] > 0,
            at(params, 0), table, n_layers, S0, capacity, at(panels, 0), at(settings, 0), phases, sigmoid,
        )  # fmt: skip
        spread_bias(params, bias, S, block, c, capacity)
        if phases & FORWARD and m < BY_UNITS_BELOW and n_layers > 1:
            first_layer(team, batch)
        rows(team if m > lanes_of(S) else (1, team[1]), batch)  # no thread takes less than a vector of samples
        if phases & LOSS:
            losses[step] = total_loss(S, block, m, c, capacity) / m
        if phases & BACKWARD:
            weights(team, batch)
