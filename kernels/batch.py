"""A mini-batch as the kernels of a network see it: where everything is.

    m samples, n_in inputs and n_out units of a layer; layer l has weights (n_out, n_in) and a bias (n_out,)

All parameters lie in one vector, ``params``; a row of ``layout`` says where a layer's are: n_in, n_out, the offset of
its weights, the offset of its bias, and the number of units in the layers before it. What an optimiser keeps has the same
form, one vector after the other: the gradient, the first moment or velocity, the second moment or average.

A batch may come in pieces, whose gradients are added up: ``phases`` says of a piece whether its gradient is added to what is
there (ADD), and whether more are to come (HOLD), so that no update follows.

The scratch S for a batch of up to ``capacity`` samples holds, for all hidden units, Z before the activation, A after it and
the deltas D, layer after layer, a row per sample, as the next product wants them; and then the last layer's block (see
``softmax``), a row per class. A linear model is the network of one layer.
"""

from __future__ import annotations

from typing import NamedTuple

from .codes import N_COLUMNS, N_IN, N_OUT, UNITS
from .gather import SourceAt
from .jit import AT, AT_INDEX, FLAG, INT, REAL, inlined
from .records import Settings
from .simd import at
from .softmax import deltas_at


class Batch(NamedTuple):
    """A mini-batch, and where everything is that a step on it needs."""

    source: SourceAt  # the samples as they are stored
    X: AT  # floats: the samples, or room for the batch's if they are stored otherwise
    ldx: INT  # elements from row to row of X
    order: AT_INDEX  # the batch's rows of X
    m: INT  # how many they are
    iota: AT_INDEX  # 0, 1, …
    labels: AT_INDEX
    distributions: AT
    labelled: FLAG  # labels are given, or else distributions
    sample_weight: AT
    weighted: FLAG
    chosen: AT_INDEX  # the batch's samples in the source, labels, distributions and weights
    total_weight: REAL  # of the batch, with all its pieces: the number of samples if not weighted
    params: AT
    state: AT
    size: INT  # of params, and of each part of state
    layout: AT_INDEX
    n_layers: INT
    S: AT
    capacity: INT  # samples that S has room for
    panels: AT  # scratch of every worker, for the columns of X that it packs
    settings: Settings
    rate: REAL  # learning rate of this step
    mix: REAL  # what the average of the parameters takes from them in this step
    optimiser: INT
    seed: INT  # of this step's dropout
    phases: INT
    sigmoid: FLAG


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
def deltas_of(l, batch):
    """Where layer l's deltas start in S, and the elements from sample to sample and from unit to unit."""
    if l == batch.n_layers - 1:
        block = block_at(batch.layout, batch.n_layers, batch.capacity)
        return deltas_at(block, entry(batch.layout, l, N_OUT), batch.capacity), 1, batch.capacity
    return rows_at(2, l, batch), entry(batch.layout, l, N_OUT), 1
