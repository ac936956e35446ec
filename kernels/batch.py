"""A mini-batch as the kernels of a network see it: the addresses of samples, parameters and scratch.

    m samples, n_in inputs and n_out units of a layer; layer l has weights (n_out, n_in) and a bias (n_out,)

All parameters lie in one vector, ``params``. ``layout`` has a row per layer: n_in, n_out, the offset of the weights, the
offset of the bias, and the number of units in the layers before it. The optimiser's ``state`` is three vectors of the same
form, one after the other: the gradient, the first moment or velocity, the second moment or average.

A batch may come in pieces, whose gradients are added up. The bits ADD and HOLD of ``phases`` tell a piece whether to add its
gradient to that of the earlier pieces, and whether to leave the update to a later piece.

Operands of products are floats, in S and params, or pairs of bfloat16 (see ``operands``), which are rounded from these
floats into ``rounded``: weights as they go forward (pairs along inputs) and back (pairs along units), and then, at the same
offsets as in S, each hidden layer's A (pairs along units), and D, in the place of Z as it enters the gradient (pairs along
samples) and in its own as it goes back (pairs along units). The last layer's block has both forms of D as well.

The scratch S has room for ``capacity`` samples. Its first three buffers hold Z (before the activation), A (after it) and the
deltas D of all hidden layers: one layer after the other, one row per sample, as the products read them. The last layer's
block follows, with one row per class, or one per sample if there are many classes (see ``softmax``). A linear model is a
network of one layer.
"""

from __future__ import annotations

from typing import NamedTuple

from .codes import N_COLUMNS, N_IN, N_OUT, UNITS, WEIGHTS
from .gather import SourceAt
from .jit import AT, AT_INDEX, AT_OPERANDS, FLAG, INT, REAL, inlined
from .operands import as_operands, length_of, round_across, round_along, terms_of
from .records import Blocks, Settings
from .simd import at
from .softmax import deltas_at, in_rows, logits_at, probabilities_at


class Batch(NamedTuple):
    """Everything that a step on a mini-batch needs; arrays are given by their addresses."""

    source: SourceAt  # the samples in the form in which they are stored
    X: AT_OPERANDS  # the stored operands, or else scratch into which the batch's samples are converted
    ldx: INT  # operands from row to row of X
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
    rounded: AT_OPERANDS  # the operands of products, if they are pairs
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
    activation: INT  # of the hidden layers
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
def rounded_at(offset, batch):
    """The address in ``rounded`` that follows the weights by as many operands as ``offset`` follows S."""
    return at(batch.rounded, 2 * batch.size + offset)


@inlined
def input_of(l, batch):
    """The input of layer l: the address of the matrix, the operands from row to row, and the index of the batch's rows."""
    if l == 0:
        return batch.X, batch.ldx, batch.order
    a, n_in = rows_at(1, l - 1, batch), entry(batch.layout, l, N_IN)
    if terms_of(batch.X) == 1:
        return as_operands(at(batch.S, a), batch.X), n_in, batch.iota
    return rounded_at(a, batch), length_of(n_in, batch.X), batch.iota


@inlined
def weights_of(l, batch):
    """Layer l's weights, a row per unit, with terms along the row: the address and the operands from row to row."""
    w, n_in = entry(batch.layout, l, WEIGHTS), entry(batch.layout, l, N_IN)
    if terms_of(batch.X) == 1:
        return as_operands(at(batch.params, w), batch.X), n_in
    return at(batch.rounded, w), length_of(n_in, batch.X)


@inlined
def weights_across(l, batch):
    """The address of layer l's weights with terms that go across units: a row for each operand."""
    w = entry(batch.layout, l, WEIGHTS)
    if terms_of(batch.X) == 1:
        return as_operands(at(batch.params, w), batch.X)
    return at(batch.rounded, batch.size + w)


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


@inlined
def deltas_for_gradient(l, batch):
    """Layer l's deltas with terms along samples: the address, and the operands from term to term and from unit to unit."""
    deltas, by_sample, by_unit = deltas_of(l, batch)
    if terms_of(batch.X) == 1:
        return as_operands(at(batch.S, deltas), batch.X), by_sample, by_unit
    if by_class(l, batch):
        return rounded_at(deltas, batch), 1, length_of(batch.capacity, batch.X)
    return rounded_at(_another(l, batch), batch), entry(batch.layout, l, N_OUT), 1


@inlined
def deltas_going_back(l, r0, batch):
    """Layer l's deltas from sample r0 on, with terms along units: the address, and the operands by term and by sample."""
    deltas, by_sample, by_unit = deltas_of(l, batch)
    if terms_of(batch.X) == 1:
        return as_operands(at(batch.S, deltas + r0 * by_sample), batch.X), by_unit, by_sample
    if by_class(l, batch):
        return rounded_at(_another(l, batch) + r0, batch), batch.capacity, 1
    pitch = length_of(entry(batch.layout, l, N_OUT), batch.X)
    return rounded_at(deltas + r0 * pitch, batch), 1, pitch


@inlined
def _another(l, batch):
    """An offset of as much room as layer l's deltas have, for another form of them."""
    if l < batch.n_layers - 1:
        return rows_at(0, l, batch)
    block = block_at(batch.layout, batch.n_layers, batch.capacity)
    return probabilities_at(block, entry(batch.layout, l, N_OUT), batch.capacity)


@inlined
def round_activations(l, r0, r1, batch):
    """Round hidden layer l's A for samples r0 ≤ r < r1 to operands of the next layer's products."""
    if terms_of(batch.X) > 1:
        n, a = entry(batch.layout, l, N_OUT), rows_at(1, l, batch)
        pitch = length_of(n, batch.X)
        round_along(at(batch.S, a + r0 * n), n, r1 - r0, n, rounded_at(a + r0 * pitch, batch), pitch)


@inlined
def round_deltas(l, r0, r1, batch):
    """Round layer l's deltas for samples r0 ≤ r < r1 to operands of the gradient and, except in the first, of deltas."""
    if terms_of(batch.X) > 1:
        n, (deltas, by_sample, _) = entry(batch.layout, l, N_OUT), deltas_of(l, batch)
        source = at(batch.S, deltas + r0 * by_sample)
        to, by_term, by_unit = deltas_for_gradient(l, batch)
        back, _, by_row = deltas_going_back(l, r0, batch)
        if by_class(l, batch):
            round_along(source, batch.capacity, n, r1 - r0, at(to, r0 // 2), by_unit)
            if l > 0:
                round_across(source, batch.capacity, n, r1 - r0, back, batch.capacity)
        else:
            round_across(source, n, r1 - r0, n, at(to, r0 // 2 * by_term), by_term)
            if l > 0:
                round_along(source, n, r1 - r0, n, back, by_row)
