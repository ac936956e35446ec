"""Optimisers: the element-wise update of the parameters, in one pass over the gradient and the optimiser's state.

    g = clip(gradient + decay w)        decay = l2 + l2_shared / (total weight of the batch); biases have none
    in place    w -= rate g
    momentum    v = beta_1 v - rate g;  w += v                            (Nesterov: w += beta_1 v - rate g)
    Adam        m = beta_1 m + (1 - beta_1) g;  v = beta_2 v + (1 - beta_2) g^2;  w -= rate m / (sqrt(v) + epsilon)
    L1          w = sign(w) max(|w| - rate l1, 0): the proximal step; biases have none
    average     a += mix (w - a)

Adam is that of Kingma and Ba (arXiv:1412.6980), with its bias correction included in ``rate``. Plain gradient descent needs
no such pass, unless there is an L1 penalty or an average, or the batch comes in pieces: ``tile.outer`` takes the step.
"""

from .batch import Batch, entry
from .codes import ADAM, BIAS, IN_PLACE, N_IN, N_OUT, NESTEROV, SQUARE_PARTS, WEIGHTS
from .jit import AT, AT64, AT_INDEX, INT, in_shares, inlined, share
from .simd import at, lanes_of, vfma, vload, vmax, vmin, vsplat, vsqrt, vstore, vsum


@inlined
def decay_of(batch):
    """The L2 penalty's factor on the weights, in their gradient."""
    return batch.settings.l2 + batch.settings.l2_shared / batch.total_weight


@inlined
def step(w, g, first, second, start, end, decay, shrink, batch):
    """The optimiser's step for parameters start ≤ i < end, in whole vectors."""
    lanes, settings = lanes_of(w), batch.settings
    decays, rate, none = vsplat(w, decay), vsplat(w, batch.rate), vsplat(w, 0.0)
    high, low = vsplat(w, settings.clip_threshold), vsplat(w, -settings.clip_threshold)
    beta_1, beta_2, epsilon = vsplat(w, settings.beta_1), vsplat(w, settings.beta_2), vsplat(w, settings.epsilon)
    rest_1, rest_2 = vsplat(w, 1 - settings.beta_1), vsplat(w, 1 - settings.beta_2)
    for i in range(start, end, lanes):
        x = vload(w, i)
        gradient = vmin(vmax(vfma(decays, x, vload(g, i)), low), high)
        if batch.optimiser == ADAM:
            m = vfma(beta_1, vload(first, i), rest_1 * gradient)
            v = vfma(beta_2, vload(second, i), rest_2 * (gradient * gradient))
            vstore(first, i, m)
            vstore(second, i, v)
            x = x - rate * m / (vsqrt(v) + epsilon)
        elif batch.optimiser == IN_PLACE:
            x = x - rate * gradient
        else:
            move = none - rate * gradient
            v = vfma(beta_1, vload(first, i), move)
            vstore(first, i, v)
            x = x + (vfma(beta_1, v, move) if batch.optimiser == NESTEROV else v)
        if shrink > 0:
            x = x - vmin(vmax(x, vsplat(w, -shrink)), vsplat(w, shrink))
        vstore(w, i, x)
        if batch.mix > 0:
            average = vload(second, i)
            vstore(second, i, vfma(vsplat(w, batch.mix), x - average, average))


@in_shares(batch=Batch)
def update(batch, q, workers):
    """Thread q's share of the optimiser's step: a part of every layer's parameters."""
    w, g, lanes = batch.params, batch.state, lanes_of(batch.params)
    first, second, zero = at(g, batch.size), at(g, 2 * batch.size), batch.rate * 0
    for l in range(batch.n_layers):
        n_in, n_out = entry(batch.layout, l, N_IN), entry(batch.layout, l, N_OUT)
        start, n_vectors = entry(batch.layout, l, WEIGHTS), (n_in * n_out + lanes - 1) // lanes
        v0, v1 = share(n_vectors, q, workers)
        step(
            w, g, first, second, start + v0 * lanes, start + v1 * lanes, decay_of(batch),
            batch.rate * batch.settings.l1, batch,
        )  # fmt: skip
        start, n_vectors = entry(batch.layout, l, BIAS), (n_out + lanes - 1) // lanes
        v0, v1 = share(n_vectors, q, workers)
        step(w, g, first, second, start + v0 * lanes, start + v1 * lanes, zero, zero, batch)


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
