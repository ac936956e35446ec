"""A mini-batch as the kernels of a network see it: the addresses of samples, parameters and scratch.

    m samples, n_in inputs and n_out units of a layer; layer l has weights (n_out, n_in) and a bias (n_out,)

All parameters lie in one vector, ``params``. ``layout`` has a row per layer: n_in, n_out, the offset of the weights, the
offset of the bias, and the number of units in the layers before it. The optimiser's ``state`` is three vectors of the same
form, one after the other: the gradient, the first moment or velocity, the second moment or average.

A batch may come in pieces, whose gradients are added up. The bits ADD and HOLD of ``phases`` tell a piece whether to add its
gradient to that of the earlier pieces, and whether to leave the update to a later piece.

The scratch S has room for ``capacity`` samples. Its first three buffers hold Z (before the activation), A (after it) and the
deltas D of all hidden layers: one layer after the other, one row per sample, as the products read them. The last layer's
block follows, with one row per class, or one per sample if there are many classes (see ``softmax``). A linear model is a
network of one layer.
"""

from __future__ import annotations

from typing import NamedTuple

from .codes import N_COLUMNS, N_IN, N_OUT, UNITS
from .gather import SourceAt
from .jit import AT, AT_INDEX, FLAG, INT, REAL, inlined
from .records import Blocks, Settings
from .simd import at
from .softmax import deltas_at, in_rows, logits_at


class Batch(NamedTuple):
    """Everything that a step on a mini-batch needs; arrays are given by their addresses."""

    source: SourceAt  # the samples in the form in which they are stored
    X: AT  # the stored floats, or else scratch into which the batch's samples are converted
    ldx: INT  # elements from row to row of X
    order: AT_INDEX  # the batch's rows in X
    m: INT  # number of samples in the batch
    iota: AT_INDEX  # 0, 1, …
    labels: AT_INDEX
    distributions: AT
    labelled: FLAG  # whether targets are labels, and not distributions
    sample_weight: AT
    weighted: FLAG  # whether samples have weights
    chosen: AT_INDEX  # the batch's rows in the source, labels, distributions and weights
    total_weight: REAL  # of the full batch, even for a piece of it: its number of samples if not weighted
    params: AT
    state: AT
    size: INT  # of params, and of each part of state
    layout: AT_INDEX
    n_layers: INT
    S: AT
    capacity: INT  # samples that S has room for
    panels: AT  # scratch of every thread, for packed columns of a layer's input and unfinished sums
    panel: INT  # elements of one thread's part of ``panels``
    blocks: Blocks
    turned: AT  # the transposed weights of the layers with few inputs
    settings: Settings
    rate: REAL  # learning rate of this step
    mix: REAL  # weight of this step's parameters in their running average; 0 for no average
    optimiser: INT
    seed: INT  # of this step's dropout
    phases: INT
    sigmoid: FLAG  # on the last layer, in place of a softmax
    outputs: AT  # receives the batch's probabilities, a row per sample
    output: FLAG  # whether it does
    winners: AT_INDEX  # receives each sample's most probable class
    win: FLAG  # whether it does


@inlined
def entry(layout, l, column):
    """The entry of the layout in layer l's row and the given column."""
    return layout[l * N_COLUMNS + column]


@inlined
def block_at(layout, n_layers, capacity):
    """Offset in S of the last layer's block."""
    return 3 * capacity * entry(layout, n_layers - 1, UNITS)


@inlined
def rows_at(buffer, l, batch):
    """Offset in S of hidden layer l's rows, in buffer 0 (Z), 1 (A) or 2 (D)."""
    n_hidden = entry(batch.layout, batch.n_layers - 1, UNITS)
    return batch.capacity * (buffer * n_hidden + entry(batch.layout, l, UNITS))


@inlined
def input_of(l, batch):
    """The input of layer l: the address of the matrix, the elements from row to row, and the index of the batch's rows."""
    if l == 0:
        return batch.X, batch.ldx, batch.order
    return at(batch.S, rows_at(1, l - 1, batch)), entry(batch.layout, l, N_IN), batch.iota


@inlined
def by_class(l, batch):
    """Whether layer l is a last layer that has a row per class."""
    return l == batch.n_layers - 1 and not in_rows(entry(batch.layout, l, N_OUT))


@inlined
def outputs_of(l, batch):
    """Offsets in S of layer l's Z and A, which have a row per sample; both are the logits in the last layer."""
    if l == batch.n_layers - 1:
        block = block_at(batch.layout, batch.n_layers, batch.capacity)
        z = logits_at(block, entry(batch.layout, l, N_OUT), batch.capacity)
        return z, z
    return rows_at(0, l, batch), rows_at(1, l, batch)


@inlined
def deltas_of(l, batch):
    """Offset in S of layer l's deltas, and the elements from sample to sample and from unit to unit."""
    n_out = entry(batch.layout, l, N_OUT)
    if l < batch.n_layers - 1:
        return rows_at(2, l, batch), n_out, 1
    deltas = deltas_at(block_at(batch.layout, batch.n_layers, batch.capacity), n_out, batch.capacity)
    if by_class(l, batch):
        return deltas, 1, batch.capacity
    return deltas, n_out, 1
