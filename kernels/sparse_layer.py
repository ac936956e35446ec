"""The first layer of a network whose samples are rows of (feature, value) pairs, as in a CSR matrix.

Only the features that a sample has take part in its sums and in its gradient. The threads divide the layer's units: the
weights of a unit, and their gradient, then stay in the cache while all samples of the batch look up a few of them. The
gradient of a batch is dense, because the penalty and the optimiser's moments change all weights in every step.
"""

from .batch import Batch, by_class, deltas_of, entry, outputs_of
from .codes import ADD, BIAS, HOLD, N_IN, N_OUT, RELU, SPARSE, WEIGHTS
from .jit import AT_RECORD, in_shares, inlined, share
from .simd import at, lanes_of, real, vsplat, vstore_first
from .sparse import add, products
from .update import take_step


@inlined
def is_sparse(l, batch):
    """Whether layer l takes rows of (feature, value) pairs."""
    return l == 0 and batch.source.stored == SPARSE


@in_shares(batch=AT_RECORD(Batch))
def forward_sparse(batch, q, workers):
    """Thread q's share of the first layer's units: Z and A, for all samples."""
    S, source, n_in, n_out = batch.S, batch.source, entry(batch.layout, 0, N_IN), entry(batch.layout, 0, N_OUT)
    (z_at, a_at), by_row, by_unit = outputs_of(0, batch), n_out, 1
    if by_class(0, batch):
        by_row, by_unit = 1, batch.capacity
    is_relu = batch.n_layers > 1 and batch.activation == RELU
    weights, bias = at(batch.params, entry(batch.layout, 0, WEIGHTS)), at(batch.params, entry(batch.layout, 0, BIAS))
    first, end = share(n_out, q, workers)
    for u in range(first, end):
        for r in range(batch.m):
            start = source.starts[batch.chosen[r]]
            count, place = source.starts[batch.chosen[r] + 1] - start, r * by_row + u * by_unit
            products(
                at(source.table, start), at(source.features, start), count, at(weights, u * n_in), 1, at(S, z_at + place),
                1, real(S, 1.0), at(bias, u),
            )  # fmt: skip
            z = S[z_at + place]
            S[a_at + place] = z if z > 0 or not is_relu or z != z else real(S, 0.0)


@in_shares(batch=AT_RECORD(Batch))
def update_sparse(batch, q, workers):
    """Thread q's share of the first layer's units: the gradient of their weights, and the optimiser's step."""
    S, source, n_in, n_out = batch.S, batch.source, entry(batch.layout, 0, N_IN), entry(batch.layout, 0, N_OUT)
    w_at, lanes = entry(batch.layout, 0, WEIGHTS), lanes_of(S)
    deltas, by_row, by_unit = deltas_of(0, batch)
    first, end = share(n_out, q, workers)
    for u in range(first, end):
        gradient = at(batch.state, w_at + u * n_in)
        if batch.phases & ADD == 0:
            for i in range(0, n_in, lanes):
                vstore_first(gradient, i, vsplat(S, 0.0), min(lanes, n_in - i))
        for r in range(batch.m):
            start = source.starts[batch.chosen[r]]
            count, delta = source.starts[batch.chosen[r] + 1] - start, at(S, deltas + r * by_row + u * by_unit)
            add(at(source.table, start), at(source.features, start), count, gradient, 1, delta, 1, real(S, -1.0))
        if batch.phases & HOLD == 0:
            take_step(batch, w_at + u * n_in, n_in, 1, n_in, True)
