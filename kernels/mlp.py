"""Training a network of dense layers with an activation between them: forward, loss, backprop and update.

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

from .activation import through_activation
from .batch import (
    Batch,
    block_at,
    by_class,
    deltas_for_gradient,
    deltas_going_back,
    deltas_of,
    entry,
    input_of,
    outputs_of,
    round_activations,
    round_deltas,
    rows_at,
    weights_across,
    weights_of,
)  # fmt: skip
from .codes import (
    ABOVE,
    ADD,
    BACKWARD,
    BIAS,
    FLOATS,
    FORWARD,
    HOLD,
    IN_PLACE,
    LOSS,
    LOWEST,
    MARK,
    N_IN,
    N_OUT,
    RELU,
    SQUARE_PARTS,
    WEIGHTS,
)
from .dropout import scrambled
from .gather import is_raw, source_at, to_operands, to_operands_in_shares
from .jit import (
    ALONE,
    AT,
    AT_RECORD,
    INT,
    OPERANDS2,
    OUT64,
    address_of,
    for_pairs,
    in_shares,
    inlined,
    routine,
    share,
)
from .kernel import kernel
from .matmul import are_long, column_sums, forward, moved, n_tiles, outer, stretch, turn, uses_turned
from .operands import as_operands, length_of, round_across, round_along, terms_of
from .records import BatchScratch, Model, Schedule, Settings, Source, Targets
from .simd import at, lanes_of, real
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
from .sparse_layer import forward_sparse, is_sparse, update_sparse
from .target import TARGET
from .tile import ACTIVATE, DOT_UNITS, MASK, UPDATE
from .update import decay_of, squares, take_step

BLOCK_BYTES = 256 * 1024  # of the first layer's input per block of rows: the block stays in the L2 cache for all units
FEW_PARAMETERS = 30_000  # below this number of parameters, a pass over them takes less time than starting threads
BY_UNITS_BELOW = 64  # rows: threads divide the first layer of smaller batches by units, that of larger ones by rows


@inlined
def is_turned(l, batch):
    """Whether layer l's forward product takes the transposed weights: units are then the lanes of vectors."""
    lanes = lanes_of(batch.S)
    if terms_of(batch.X) > 1:
        return False
    return uses_turned(entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT), lanes) and not by_class(l, batch)


@inlined
def pitch_of_units(n_units):
    """Elements from row to row of transposed weights."""
    return (n_units + 15) // 16 * 16


@inlined
def turned_at(l, batch):
    """Offset of layer l's transposed weights, which follow those of the layers before it."""
    start = 0
    for k in range(l):
        if is_turned(k, batch):
            start += entry(batch.layout, k, N_IN) * pitch_of_units(entry(batch.layout, k, N_OUT))
    return start


@inlined
def turn_weights(batch):
    """Transpose the weights of the layers with few inputs."""
    for l in range(batch.n_layers):
        if is_turned(l, batch):
            n_in, n_out = entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT)
            turned = at(batch.turned, turned_at(l, batch))
            turn(at(batch.params, entry(batch.layout, l, WEIGHTS)), n_out, n_in, turned, pitch_of_units(n_out))


@inlined
def panel_of(q, batch):
    """Thread q's scratch for a product."""
    return at(batch.panels, q * batch.panel)


@routine(l=INT, batch=AT_RECORD(Batch), r0=INT, r1=INT, part=INT, parts=INT, panel=AT)
def layer(l, batch, r0, r1, part, parts, panel):
    """Z and A of a part of layer l's units, for samples r0 ≤ r < r1 of the batch. A is max(Z, 0), or Z in the last layer
    and for other activations, which ``through_activation`` then computes.
    """
    S, lanes = batch.S, lanes_of(batch.S)
    n_in, n_out, bias = entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT), entry(batch.layout, l, BIAS)
    source, pitch, rows = input_of(l, batch)
    weights, by_unit = weights_of(l, batch)
    steps = length_of(n_in, batch.X)
    floor = 0.0 if l < batch.n_layers - 1 and batch.activation == RELU else -float("inf")
    if by_class(l, batch):
        block = block_at(batch.layout, batch.n_layers, batch.capacity)
        z, biases = logits_at(block, n_out, batch.capacity) + r0, biases_at(block, n_out, batch.capacity)
        forward(
            weights, by_unit, batch.iota, n_out, source, pitch, at(rows, r0), r1 - r0, steps, at(S, biases), 4, 0,
            at(S, z), at(S, z), batch.capacity, floor, batch.blocks, panel,
        )  # fmt: skip
        return
    z, a = outputs_of(l, batch)
    z, a = z + r0 * n_out, a + r0 * n_out
    if is_turned(l, batch):
        zero = real(S, 0.0)
        first, end = share(n_tiles(r1 - r0, n_out, lanes), part, parts)
        outer(
            first, end, source, 1, pitch, at(rows, r0), as_operands(at(batch.turned, turned_at(l, batch)), batch.X),
            pitch_of_units(n_out), batch.iota, batch.iota, n_in, at(S, a), r1 - r0, n_out, at(S, z),
            at(batch.params, bias), ACTIVATE, zero, zero,
            -floor, panel, False,
        )  # fmt: skip
        return
    g0, g1 = share((n_out + DOT_UNITS - 1) // DOT_UNITS, part, parts)
    u0, u1 = g0 * DOT_UNITS, min(g1 * DOT_UNITS, n_out)
    forward(
        source, pitch, at(rows, r0), r1 - r0, at(weights, u0 * by_unit), by_unit, batch.iota, u1 - u0, steps,
        at(batch.params, bias + u0), 0, 1, at(S, z + u0), at(S, a + u0), n_out, floor, batch.blocks, panel,
    )  # fmt: skip


@inlined
def mark(batch, r0, r1):
    """Mark what comes out for samples r0 ≤ r < r1 that hold NaN or infinity, and maybe for some that overflow.

    The first unit's sum has a term for every feature. A term with NaN is NaN, and one with infinity is infinite, or NaN if
    the weight is 0. So a finite sum proves that the sample is finite, without another look at it. In the same way, the
    sums of all units, for the batch's first sample, prove that the parameters are finite.
    """
    S, c = batch.S, entry(batch.layout, batch.n_layers - 1, N_OUT)
    first, _ = outputs_of(0, batch)
    step = 1 if by_class(0, batch) else entry(batch.layout, 0, N_OUT)
    for r in range(r0, r1):
        nothing = S[first + r * step] * 0
        if r == 0:
            for l in range(batch.n_layers):
                z, _ = outputs_of(l, batch)
                step_of_units = batch.capacity if by_class(l, batch) else 1
                for u in range(entry(batch.layout, l, N_OUT)):
                    nothing += S[z + u * step_of_units] * 0
        if nothing != 0:
            if batch.output:
                batch.outputs[r * c] = nothing
            if batch.win:
                batch.winners[r] = -1


@inlined
def is_divided_by_units(batch):
    """Whether threads divide the first layer by units, and not with the others by rows."""
    return batch.m < BY_UNITS_BELOW and batch.n_layers > 1


@in_shares(batch=AT_RECORD(Batch))
def first_layer(batch, q, workers):
    """Thread q's share of the first layer's units, for all samples."""
    layer(0, batch, 0, batch.m, q, workers, panel_of(q, batch))


@in_shares(batch=AT_RECORD(Batch))
def forward_backward(batch, q, workers):
    """Thread q's share of the samples: all layers forward (but the first, if it was divided by units), and all back."""
    S, settings, capacity, last, lanes = batch.S, batch.settings, batch.capacity, batch.n_layers - 1, lanes_of(batch.S)
    block, c = block_at(batch.layout, batch.n_layers, capacity), entry(batch.layout, last, N_OUT)
    going_forward, going_back = batch.phases & FORWARD > 0, batch.phases & BACKWARD > 0
    with_loss, zero = batch.phases & LOSS > 0, real(S, 0.0)
    with_probabilities = with_loss or going_back or batch.output or not batch.win  # to find winners, logits are enough
    dropping = going_back and settings.dropout > 0
    # The products that give deltas apply the derivative of ReLU, with dropout's factor on the units that it keeps.
    mode, larger, unlimited = MASK, 1 / (1 - settings.dropout), real(S, float("inf"))
    if batch.activation != RELU:
        mode, larger = UPDATE, real(S, 1.0)
    whole = 3 * lanes  # a number of rows in whole vectors of samples and whole tiles of 3 or 6 rows
    at_once = max(whole, BLOCK_BYTES * lanes // (TARGET.vector_bytes * batch.ldx) // whole * whole)
    if are_long(batch.ldx, batch.blocks):
        at_once = max(at_once, batch.blocks.rows)
    panel = panel_of(q, batch)
    g0, g1 = share((batch.m + lanes - 1) // lanes, q, workers)
    end = min(g1 * lanes, batch.m)
    for r0 in range(g0 * lanes, end, at_once):
        r1 = min(r0 + at_once, end)
        if is_raw(batch.source) and batch.m >= BY_UNITS_BELOW:
            to_operands(batch.source, at(batch.chosen, r0), r1 - r0, at(batch.X, r0 * batch.ldx))
        if going_forward:
            for l in range(batch.n_layers):
                if l > 0 or not (is_sparse(0, batch) or is_divided_by_units(batch)):
                    layer(l, batch, r0, r1, 0, 1, panel)
                if l < last:
                    if dropping or batch.activation != RELU:
                        through_activation(batch, l, r0, r1, False, dropping)
                    round_activations(l, r0, r1, batch)
        elif going_back:
            for l in range(last):
                round_activations(l, r0, r1, batch)
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
            round_deltas(last, r0, r1, batch)
            for l in range(last, 0, -1):
                n_in, n_out = entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT)
                deltas, by_unit, by_sample = deltas_going_back(l, r0, batch)
                before, gate = rows_at(2, l - 1, batch) + r0 * n_in, rows_at(1, l - 1, batch) + r0 * n_in
                outer(
                    0, n_tiles(r1 - r0, n_in, lanes), deltas, by_unit, by_sample, batch.iota, weights_across(l, batch), n_in,
                    batch.iota, batch.iota, n_out, at(S, before), r1 - r0, n_in, at(S, gate), S,
                    mode, zero, larger, unlimited, panel, False,
                )  # fmt: skip
                if batch.activation != RELU:
                    through_activation(batch, l - 1, r0, r1, True, dropping)
                round_deltas(l - 1, r0, r1, batch)


@inlined
def updates_in_place(optimiser, phases):
    """Whether the products that compute the gradient also update the parameters, without storing the gradient."""
    return optimiser == IN_PLACE and phases & (ADD | HOLD) == 0


@inlined
def tiles_of(l, batch):
    """The number of tiles of layer l's weights; there are none if ``sparse_layer`` updates them."""
    if is_sparse(l, batch):
        return 0
    return n_tiles(entry(batch.layout, l, N_OUT), entry(batch.layout, l, N_IN), lanes_of(batch.S))


@in_shares(batch=AT_RECORD(Batch))
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
    total, done, panel = 0, 0, panel_of(q, batch)
    lowest, above = (1 if batch.phases & ABOVE else 0), (1 if batch.phases & LOWEST else n_layers)
    for l in range(lowest, above):
        total += 1 + tiles_of(l, batch)
    first, end = share(total, q, workers)
    for l in range(lowest, above):
        n_in, n_out = entry(layout, l, N_IN), entry(layout, l, N_OUT)
        w_at, bias_at, tiles = entry(layout, l, WEIGHTS), entry(layout, l, BIAS), tiles_of(l, batch)
        w, bias = at(out, w_at), at(out, bias_at)
        deltas, by_sample, by_unit = deltas_for_gradient(l, batch)
        source, pitch, picked = input_of(l, batch)
        t, last = max(first - done, 0), min(end - done, tiles)
        while t < last:
            stop, u0, u1, i0, i1 = stretch(t, last, batch.m, n_out, n_in, lanes, terms_of(batch.X))
            if in_place:
                stop = last
            outer(
                t, stop, deltas, by_sample, by_unit, batch.iota, source, pitch, picked, batch.iota, batch.m, w, n_out,
                n_in, w, w, UPDATE, scale, step, limit, panel, True,
            )  # fmt: skip
            if steps:
                take_step(batch, w_at + u0 * n_in + i0, n_in, u1 - u0, i1 - i0, True)
            t = stop
        done += tiles
        if first <= done < end:
            if by_class(l, batch):
                block = block_at(layout, n_layers, batch.capacity)
                for k in range(n_out):
                    bias[k] = moved(
                        bias[k], bias_gradient(S, block, k, batch.m, n_out, batch.capacity), keep, bias_step, limit
                    )
            else:
                summed, _, _ = deltas_of(l, batch)
                column_sums(S, summed, batch.m, n_out, bias, keep, bias_step, limit)
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


@for_pairs
@in_shares(batch=AT_RECORD(Batch))
def round_weights(batch, q, workers):
    """Thread q's share of the units of every layer: their weights, rounded to operands."""
    for l in range(batch.n_layers):
        n_in, n_out, w = entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT), entry(batch.layout, l, WEIGHTS)
        first, end = share(length_of(n_out, batch.X), q, workers)
        u0, u1 = terms_of(batch.X) * first, min(terms_of(batch.X) * end, n_out)
        source, (along, pitch) = at(batch.params, w + u0 * n_in), weights_of(l, batch)
        round_along(source, n_in, u1 - u0, n_in, at(along, u0 * pitch), pitch)
        if l > 0:
            round_across(source, n_in, u1 - u0, n_in, at(weights_across(l, batch), first * n_in), n_in)


@kernel(
    X=OPERANDS2, source=Source, targets=Targets, model=Model, scratch=BatchScratch, schedule=Schedule,
    settings=Settings, losses=OUT64,
)  # fmt: skip
def run(X, source, targets, model, scratch, schedule, settings, losses, team):
    """Steps over the batches of a schedule; losses[i] is the mean loss of step i, before its update.

    The samples are the rows of X, as operands, or those of the source, if they are stored in another form.

    FORWARD computes Z and A (probabilities in the last layer) and LOSS the losses. BACKWARD computes the deltas from A, and
    updates the parameters. The loss includes half the shared penalty times the sum of the squares of all weights.
    """
    layout, params, S, capacity, phases = model.layout, model.params, scratch.S, scratch.capacity, schedule.phases
    order = schedule.order
    n_layers, n_rows, n_in, where = layout.shape[0], order.shape[0], layout[0, N_IN], at(layout, 0)
    batch_size, labels, weights = schedule.batch_size, targets.labels, targets.weights
    n_batches = (n_rows + batch_size - 1) // batch_size
    block, c, bias = block_at(where, n_layers, capacity), layout[n_layers - 1, N_OUT], layout[n_layers - 1, BIAS]
    weighted, stored_at = weights.shape[0] > 0, source_at(source, n_in)
    for step in range(schedule.repeats * n_batches):
        p0 = step % n_batches * batch_size
        m = min(batch_size, n_rows - p0)
        chosen = at(order, p0)
        samples, picked, pitch = at(X, 0), chosen, length_of(n_in, at(X, 0))
        if source.stored != FLOATS:
            samples, picked = at(scratch.gathered, 0), at(scratch.iota, 0)
            if m < BY_UNITS_BELOW and is_raw(stored_at):
                to_operands_in_shares(team, stored_at, chosen, m, samples)
        total_weight = float(schedule.whole_weight)
        if total_weight == 0:
            total_weight = weight_of(weights, order, p0, m) if weighted else float(m)
        rate = schedule.rates[step] if phases & BACKWARD else 0.0
        mix = schedule.mixes[step] if schedule.mixes.shape[0] else 0.0
        batch = address_of(Batch(
            stored_at, samples, pitch, picked, m, at(scratch.iota, 0), at(labels, 0), at(targets.distributions, 0),
            labels.shape[0] > 0, at(weights, 0), weighted, chosen, real(S, total_weight), at(params, 0), at(model.state, 0),
            params.shape[0], where, n_layers, at(S, 0), at(scratch.rounded, 0), capacity,
            at(scratch.panels, 0), scratch.panel, scratch.blocks, at(scratch.turned, 0), settings, real(S, rate),
            real(S, mix), model.optimiser, np.int64(scrambled(np.uint64(schedule.seed) + np.uint64(step))), phases,
            model.sigmoid, model.activation,
            at(scratch.outputs, p0 * c), scratch.outputs.shape[0] > 0, at(scratch.winners, p0), scratch.winners.shape[0] > 0,
        ))  # fmt: skip
        spread_bias(params, bias, S, block, c, capacity)
        if terms_of(batch.X) > 1 and (step == 0 or phases & BACKWARD) and phases & LOWEST == 0:
            round_weights(ALONE if params.shape[0] <= FEW_PARAMETERS else team, batch)
        if phases & FORWARD:
            turn_weights(batch)
            if is_sparse(0, batch):
                forward_sparse(team, batch)
            elif is_divided_by_units(batch):
                first_layer(team, batch)
        if phases & LOWEST == 0:
            forward_backward(team if m > lanes_of(S) else ALONE, batch)  # no thread takes less than a vector of samples
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
            if is_sparse(0, batch) and phases & ABOVE == 0:
                update_sparse(team, batch)
            update_weights(team, batch)
