"""Optimisers: the element-wise update of parameters from their gradient and the optimiser's state.

    g = clip(gradient + decay w)        decay = l2 + l2_shared / (total weight of the batch); biases have none
    in place    w -= rate g
    momentum    v = beta_1 v - rate g;  w += v                            (Nesterov: w += beta_1 v - rate g)
    Adam        m = beta_1 m + (1 - beta_1) g;  v = beta_2 v + (1 - beta_2) g^2;  w -= rate m / (sqrt(v) + epsilon)
    L1          w = sign(w) max(|w| - rate l1, 0): the proximal step; biases have none
    average     a += mix (w - a)

Adam is that of Kingma and Ba (arXiv:1412.6980), with its bias correction included in ``rate``. A parameter's step needs no
other parameter. So the thread that has computed a part of the gradient takes the step for this part, which is still in its
cache, and waits for no other thread. Plain gradient descent needs no such step, unless there is an L1 penalty or an average,
or the batch comes in pieces: ``tile.outer`` updates the weights in place.
"""

from .batch import Batch, entry
from .codes import ADAM, IN_PLACE, N_IN, N_OUT, NESTEROV, SQUARE_PARTS, WEIGHTS
from .jit import AT, AT64, AT_INDEX, AT_RECORD, FLAG, INT, in_shares, inlined, routine, share
from .simd import at, lanes_of, real, vfma, vload, vload_first, vmax, vmin, vsplat, vsqrt, vstore_first, vsum


@inlined
def decay_of(batch):
    """The L2 penalty's factor on the weights, in their gradient."""
    return batch.settings.l2 + batch.settings.l2_shared / batch.total_weight


@inlined
def step_of_vector(i, count, decay, shrink, batch):
    """The optimiser's step for the ``count`` parameters from number i on, at most a vector of them."""
    w, g, settings = batch.params, batch.state, batch.settings
    first, second, zero = at(g, batch.size), at(g, 2 * batch.size), real(w, 0.0)
    rate, high, low = vsplat(w, batch.rate), vsplat(w, settings.clip_threshold), vsplat(w, -settings.clip_threshold)
    beta_1, beta_2 = vsplat(w, settings.beta_1), vsplat(w, settings.beta_2)
    x = vload_first(w, i, count, zero)
    gradient = vmin(vmax(vfma(vsplat(w, decay), x, vload_first(g, i, count, zero)), low), high)
    if batch.optimiser == ADAM:
        m = vfma(beta_1, vload_first(first, i, count, zero), vsplat(w, 1 - settings.beta_1) * gradient)
        v = vfma(beta_2, vload_first(second, i, count, zero), vsplat(w, 1 - settings.beta_2) * (gradient * gradient))
        vstore_first(first, i, m, count)
        vstore_first(second, i, v, count)
        x = x - rate * m / (vsqrt(v) + vsplat(w, settings.epsilon))
    elif batch.optimiser == IN_PLACE:
        x = x - rate * gradient
    else:
        move = vsplat(w, 0.0) - rate * gradient
        v = vfma(beta_1, vload_first(first, i, count, zero), move)
        vstore_first(first, i, v, count)
        x = x + (vfma(beta_1, v, move) if batch.optimiser == NESTEROV else v)
    if shrink > 0:
        x = x - vmin(vmax(x, vsplat(w, -shrink)), vsplat(w, shrink))
    vstore_first(w, i, x, count)
    if batch.mix > 0:
        average = vload_first(second, i, count, zero)
        vstore_first(second, i, vfma(vsplat(w, batch.mix), x - average, average), count)


@routine(batch=AT_RECORD(Batch), start=INT, pitch=INT, n_rows=INT, n_columns=INT, penalised=FLAG)
def take_step(batch, start, pitch, n_rows, n_columns, penalised):
    """The optimiser's step for a rectangle of a layer's weights, or for its biases, whose gradient is complete.

    ``start`` is the number of the rectangle's first parameter, and its rows are ``pitch`` parameters apart.
    """
    lanes, decay, shrink = lanes_of(batch.params), decay_of(batch), batch.rate * batch.settings.l1
    if not penalised:
        decay, shrink = real(batch.params, 0.0), real(batch.params, 0.0)
    if n_columns == pitch:
        n_rows, n_columns = 1, n_rows * n_columns
    rest = n_columns % lanes
    for row in range(start, start + n_rows * pitch, pitch):
        end = row + n_columns - rest
        for i in range(row, end, lanes):
            step_of_vector(i, lanes, decay, shrink, batch)  # all lanes are used: the compiler needs no masks
        if rest > 0:
            step_of_vector(end, rest, decay, shrink, batch)


@in_shares(params=AT, layout=AT_INDEX, n_layers=INT, partial_sums=AT64)
def squares(params, layout, n_layers, partial_sums, q, workers):
    """Thread q's share of the ``SQUARE_PARTS`` partial sums of the squares of all weights."""
    lanes = lanes_of(params)
    part0, part1 = share(SQUARE_PARTS, q, workers)
    for part in range(part0, part1):
        total = vsplat(params, 0.0)
        for l in range(n_layers):
            size, start = entry(layout, l, N_IN) * entry(layout, l, N_OUT), entry(layout, l, WEIGHTS)
            v0, v1 = share((size + lanes - 1) // lanes, part, SQUARE_PARTS)
            for i in range(start + v0 * lanes, start + v1 * lanes, lanes):
                w = vload(params, i)
                total = vfma(w, w, total)
        partial_sums[part] = vsum(total)
