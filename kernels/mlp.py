"""Training a network of dense layers with ReLU between them: forward, loss, backprop and update.

``batch`` describes the layout of a network's parameters, the scratch and the batch's samples.

A step has two parallel regions. In the first, each thread takes some rows through all layers and back, because rows are
independent. A small batch has too few rows for all threads, so its first layer is divided by units. In the second region,
each thread computes tiles of the weight gradients and updates the weights in place. No sum is split between threads. For an
optimiser that needs more than the gradient, the tiles are written to memory, and every few tiles the thread takes the
optimiser's step for their weights. The gradients of a batch in pieces are added up there, and the last piece takes the step.
Samples that are not stored as floats are converted by the thread that takes their rows, just before it uses them; those of a
small batch, in advance.
"""

import numpy as np

from .batch import Batch, block_at, deltas_of, entry, input_of, rows_at
from .codes import ADD, BACKWARD, BIAS, FLOATS, FORWARD, HOLD, IN_PLACE, LOSS, MARK, N_IN, N_OUT, SQUARE_PARTS, WEIGHTS
from .dropout import drop_out, scrambled
from .gather import source_at, to_floats, to_floats_in_shares
from .jit import ALONE, INDEX, OUT64, in_shares, inlined, share
from .kernel import kernel
from .matmul import forward, n_tiles, outer, panel_rows, stretch
from .records import BatchScratch, Model, Schedule, Settings, Source, Targets
from .simd import at, lanes_of, real, vload_first, vmax, vmin, vsplat, vstore_first
from .softmax import (
    bias_gradient,
    biases_at,
    copy_outputs,
    find_winners,
    gather_targets,
    gather_weights,
    logits_at,
    output_layer,
    spread_bias,
    total_loss,
)  # fmt: skip
from .target import TARGET
from .tile import DOT_UNITS, OUTER_VECTORS
from .update import decay_of, squares, take_step

BLOCK_BYTES = 256 * 1024  # of the first layer's input per block of rows: the block stays in the L2 cache for all units
FEW_PARAMETERS = 30_000  # below this number of parameters, a pass over them takes less time than starting threads
BY_UNITS_BELOW = 64  # rows: threads divide the first layer of smaller batches by units, that of larger ones by rows


@inlined
def hidden(l, batch, r0, r1, u0, u1):
    """Z and A = max(Z, 0) of units u0 ≤ u < u1 of hidden layer l, for samples r0 ≤ r < r1 of the batch."""
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
def mark(batch, r0, r1):
    """Mark what comes out for samples r0 ≤ r < r1 that hold NaN or infinity, and maybe for some that overflow.

    The first unit's sum has a term for every feature. A term with NaN is NaN, and one with infinity is infinite, or NaN if
    the weight is 0. So a finite sum proves that the sample is finite, without another look at it. In the same way, the
    sums of all units, for the batch's first sample, prove that the parameters are finite.
    """
    S, last, c = batch.S, batch.n_layers - 1, entry(batch.layout, batch.n_layers - 1, N_OUT)
    first_logit = logits_at(block_at(batch.layout, batch.n_layers, batch.capacity), c, batch.capacity)
    first, step = (rows_at(0, 0, batch), entry(batch.layout, 0, N_OUT)) if last > 0 else (first_logit, 1)
    for r in range(r0, r1):
        nothing = S[first + r * step] * 0
        if r == 0:
            for l in range(last):
                z = rows_at(0, l, batch)
                for u in range(z, z + entry(batch.layout, l, N_OUT)):
                    nothing += S[u] * 0
            for k in range(c):
                nothing += S[first_logit + k * batch.capacity] * 0
        if nothing != 0:
            if batch.output:
                batch.outputs[r * c] = nothing
            if batch.win:
                batch.winners[r] = -1


@in_shares(batch=Batch)
def first_layer(batch, q, workers):
    """Thread q's share of the first layer's units, for all samples."""
    n_units = entry(batch.layout, 0, N_OUT)
    g0, g1 = share((n_units + DOT_UNITS - 1) // DOT_UNITS, q, workers)
    hidden(0, batch, 0, batch.m, g0 * DOT_UNITS, min(g1 * DOT_UNITS, n_units))


@in_shares(batch=Batch)
def forward_backward(batch, q, workers):
    """Thread q's share of the samples: all layers forward (but the first, if it was divided by units), and all back."""
    S, settings, capacity, last, lanes = batch.S, batch.settings, batch.capacity, batch.n_layers - 1, lanes_of(batch.S)
    block, c = block_at(batch.layout, batch.n_layers, capacity), entry(batch.layout, last, N_OUT)
    going_forward, going_back = batch.phases & FORWARD > 0, batch.phases & BACKWARD > 0
    with_loss, zero = batch.phases & LOSS > 0, real(S, 0.0)
    with_probabilities = with_loss or going_back or batch.output or not batch.win  # to find winners, logits are enough
    dropping = going_back and settings.dropout > 0
    larger = 1 / (1 - settings.dropout)  # factor on the units that dropout keeps
    whole = 3 * lanes  # a number of rows in whole vectors of samples and whole tiles of 3 or 6 rows
    at_once = max(whole, BLOCK_BYTES * lanes // (TARGET.vector_bytes * batch.ldx) // whole * whole)
    g0, g1 = share((batch.m + lanes - 1) // lanes, q, workers)
    end = min(g1 * lanes, batch.m)
    for r0 in range(g0 * lanes, end, at_once):
        r1 = min(r0 + at_once, end)
        if batch.source.stored != FLOATS and batch.m >= BY_UNITS_BELOW:
            to_floats(batch.source, at(batch.chosen, r0), r1 - r0, at(batch.X, r0 * batch.ldx))
        if going_forward:
            for l in range(last):
                if l > 0 or batch.m >= BY_UNITS_BELOW:
                    hidden(l, batch, r0, r1, 0, entry(batch.layout, l, N_OUT))
                if dropping:
                    drop_out(l, r0, r1, batch)
            logits(batch, r0, r1)
        if with_loss or going_back:
            chosen = at(batch.chosen, r0)
            gather_targets(
                batch.labels, batch.distributions, batch.labelled, chosen, r1 - r0, S, block, r0, c, capacity
            )
            gather_weights(batch.sample_weight, batch.weighted, chosen, r1 - r0, S, block, r0, c, capacity)
        if with_probabilities:
            output_layer(
                S, block, r0, r1 - r0, c, capacity, batch.labelled, batch.sigmoid, going_forward, with_loss, going_back,
                settings.log_low, settings.log_high, settings.eps, 1 / batch.total_weight,
            )  # fmt: skip
        if batch.output:
            copy_outputs(S, block, r0, r1 - r0, c, capacity, batch.outputs)
        if batch.win:
            find_winners(S, block, r0, r1 - r0, c, capacity, batch.winners)
        if batch.phases & MARK:
            mark(batch, r0, r1)
        if going_back:
            for l in range(last, 0, -1):
                n_in, n_out = entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT)
                deltas, by_sample, by_unit = deltas_of(l, batch)
                before, gate = rows_at(2, l - 1, batch) + r0 * n_in, rows_at(1, l - 1, batch) + r0 * n_in
                outer(
                    0, n_tiles(r1 - r0, n_in, lanes), at(S, deltas + r0 * by_sample), by_unit, by_sample,
                    at(batch.params, entry(batch.layout, l, WEIGHTS)), n_in, batch.iota, batch.iota, n_out,
                    at(S, before), r1 - r0, n_in, at(S, gate), True, zero, larger, zero, S, False,
                )  # fmt: skip


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


@inlined
def updates_in_place(optimiser, phases):
    """Whether the products that compute the gradient also update the parameters, without storing the gradient."""
    return optimiser == IN_PLACE and phases & (ADD | HOLD) == 0


@in_shares(batch=Batch)
def update_weights(batch, q, workers):
    """Thread q's share of the tiles of all weight matrices, and of the biases: an update in place, or gradient and step."""
    S, layout, lanes, n_layers, one = batch.S, batch.layout, lanes_of(batch.S), batch.n_layers, real(batch.S, 1.0)
    keep = one if batch.phases & ADD else one - one
    out, scale, step, limit = batch.state, keep, one, real(batch.S, float("inf"))
    in_place = updates_in_place(batch.optimiser, batch.phases)
    steps = not in_place and batch.phases & HOLD == 0
    if in_place:
        out, scale, keep = batch.params, one - batch.rate * decay_of(batch), one
        step, limit = -batch.rate, batch.settings.clip_threshold
    bias_step = step * batch.settings.bias_rate
    total, done, widest = 0, 0, 0
    for l in range(n_layers):
        total += 1 + n_tiles(entry(layout, l, N_OUT), entry(layout, l, N_IN), lanes)
        widest = max(widest, entry(layout, l, N_OUT))
    first, end = share(total, q, workers)
    panel = at(batch.panels, q * panel_rows(batch.capacity, widest) * OUTER_VECTORS * lanes)
    for l in range(n_layers):
        n_in, n_out = entry(layout, l, N_IN), entry(layout, l, N_OUT)
        w_at, bias_at, tiles = entry(layout, l, WEIGHTS), entry(layout, l, BIAS), n_tiles(n_out, n_in, lanes)
        w, bias = at(out, w_at), at(out, bias_at)
        deltas, by_sample, by_unit = deltas_of(l, batch)
        source, pitch, picked = input_of(l, batch)
        t, last = max(first - done, 0), min(end - done, tiles)
        while t < last:
            stop, u0, u1, i0, i1 = stretch(t, last, batch.m, n_out, n_in, lanes)
            if in_place:
                stop = last
            outer(
                t, stop, at(S, deltas), by_sample, by_unit, source, pitch, picked, batch.iota, batch.m, w, n_out, n_in, w,
                False, scale, step, limit, panel, True,
            )  # fmt: skip
            if steps:
                take_step(batch, w_at + u0 * n_in + i0, n_in, u1 - u0, i1 - i0, True)
            t = stop
        done += tiles
        if first <= done < end:
            if l == n_layers - 1:
                block = block_at(layout, n_layers, batch.capacity)
                for k in range(n_out):
                    bias[k] = moved(
                        bias[k], bias_gradient(S, block, k, batch.m, n_out, batch.capacity), keep, bias_step, limit
                    )
            else:
                column_sums(S, deltas, batch.m, n_out, bias, keep, bias_step, limit)
            if steps:
                take_step(batch, bias_at, n_out, 1, n_out, False)
        done += 1


@inlined
def weight_of(sample_weight, order, first, m):
    """The sum of the weights of the samples order[first : first + m]."""
    total = 0.0
    for i in range(first, first + m):
        total += sample_weight[order[i]]
    return total


@kernel(
    source=Source, order=INDEX, targets=Targets, model=Model, scratch=BatchScratch, schedule=Schedule, settings=Settings,
    losses=OUT64,
)  # fmt: skip
def run(source, order, targets, model, scratch, schedule, settings, losses, team):
    """Steps over the batches of the samples ``order``; losses[i] is the mean loss of step i, before its update.

    FORWARD computes Z and A (probabilities in the last layer) and LOSS the losses. BACKWARD computes the deltas from A, and
    updates the parameters. The loss includes half the shared penalty times the sum of the squares of all weights.
    """
    layout, params, S, capacity, phases = model.layout, model.params, scratch.S, scratch.capacity, schedule.phases
    n_layers, n_rows, n_in, where = layout.shape[0], order.shape[0], layout[0, N_IN], at(layout, 0)
    batch_size, labels, weights = schedule.batch_size, targets.labels, targets.weights
    n_batches = (n_rows + batch_size - 1) // batch_size
    block, c, bias = block_at(where, n_layers, capacity), layout[n_layers - 1, N_OUT], layout[n_layers - 1, BIAS]
    weighted, stored_at = weights.shape[0] > 0, source_at(source, n_in)
    for step in range(schedule.repeats * n_batches):
        p0 = step % n_batches * batch_size
        m = min(batch_size, n_rows - p0)
        chosen = at(order, p0)
        X, picked = at(source.X, 0), chosen
        if source.stored != FLOATS:
            X, picked = at(scratch.gathered, 0), at(scratch.iota, 0)
            if m < BY_UNITS_BELOW:
                to_floats_in_shares(team, stored_at, chosen, m, X)
        total_weight = float(schedule.whole_weight)
        if total_weight == 0:
            total_weight = weight_of(weights, order, p0, m) if weighted else float(m)
        rate = schedule.rates[step] if phases & BACKWARD else 0.0
        mix = schedule.mixes[step] if schedule.mixes.shape[0] else 0.0
        batch = Batch(
            stored_at, X, n_in, picked, m, at(scratch.iota, 0), at(labels, 0), at(targets.distributions, 0),
            labels.shape[0] > 0, at(weights, 0), weighted, chosen, real(S, total_weight), at(params, 0), at(model.state, 0),
            params.shape[0], where, n_layers, at(S, 0), capacity, at(scratch.panels, 0), settings, real(S, rate),
            real(S, mix), model.optimiser, np.int64(scrambled(np.uint64(schedule.seed) + np.uint64(step))), phases,
            model.sigmoid, at(scratch.outputs, p0 * c), scratch.outputs.shape[0] > 0, at(scratch.winners, p0),
            scratch.winners.shape[0] > 0,
        )  # fmt: skip
        spread_bias(params, bias, S, block, c, capacity)
        if phases & FORWARD and m < BY_UNITS_BELOW and n_layers > 1:
            first_layer(team, batch)
        forward_backward(team if m > lanes_of(S) else ALONE, batch)  # no thread takes less than one vector of samples
        if phases & LOSS:
            losses[step] = total_loss(S, block, m, c, capacity) / total_weight
            decay = batch.settings.l2_shared / batch.total_weight
            if decay > 0 and phases & HOLD == 0:
                few = params.shape[0] <= FEW_PARAMETERS
                squares(ALONE if few else team, at(params, 0), where, n_layers, at(scratch.partial_sums, 0))
                total = 0.0
                for part in range(SQUARE_PARTS):
                    total += scratch.partial_sums[part]
                losses[step] += 0.5 * decay * total
        if phases & BACKWARD:
            update_weights(team, batch)
