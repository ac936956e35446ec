"""The arguments of kernels, grouped into a few records instead of long argument lists. Free of Numba.

    m samples, n features, c classes

The annotations are the argument types of ``jit`` that kernels are compiled for. An array that does not apply is empty.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .codes import RELU

if TYPE_CHECKING:
    from .jit import (
        BYTES2,
        FLAG,
        IN1,
        IN2,
        IN64,
        INDEX,
        INDEX32,
        INT,
        OUT1,
        OUT2,
        OUT64,
        OUT_INDEX,
        OUT_OPERANDS1,
        OUT_OPERANDS2,
        REAL,
        TABLE,
    )


class Source(NamedTuple):
    """A set of samples, in the form in which it is stored."""

    X: IN2  # (m, n), if the samples are stored as floats of the element type
    raw: BYTES2  # the bytes of each sample, one row per sample, if they are stored in another form
    table: IN1  # (256,): the float that each byte value stands for; or the values of the pairs
    stored: INT  # one of FLOATS, BYTES, SINGLE, DOUBLE, SPARSE
    channels: INT  # per pixel, if samples are images stored channels last; else 1
    features: INDEX32 = np.empty(0, np.int32)  # of the pairs
    starts: INDEX = np.empty(0, np.int64)  # (m + 1,): sample i has the pairs at positions starts[i] ≤ j < starts[i + 1]


class PairRows(NamedTuple):
    """Rows of (feature, value) pairs, as in a CSR matrix; or dense rows, which have every feature."""

    values: IN1
    features: INDEX32
    starts: INDEX  # (m + 1,): row i has the values, and the features, at positions starts[i] ≤ j < starts[i + 1]
    dense: FLAG  # every row has the features 0, 1, … n - 1, which ``features`` lists once


class Targets(NamedTuple):
    """The target of each sample, and its weight."""

    labels: INDEX  # (m,) class numbers
    distributions: IN1  # (m c,), a distribution over the classes for each sample, if there are no labels
    weights: IN1  # (m,), or empty if every sample has weight 1


class Model(NamedTuple):
    """A network: see ``fastclf.engine.network``."""

    params: OUT1  # every weight and bias
    state: OUT1  # of the optimiser: gradient, first moment, second moment, each as long as params
    layout: TABLE  # (layers, N_COLUMNS)
    optimiser: INT  # one of IN_PLACE, MOMENTUM, NESTEROV, ADAM
    sigmoid: FLAG  # on the last layer, in place of a softmax
    activation: INT = RELU  # of the hidden layers: one of RELU, IDENTITY, LOGISTIC, TANH


class Theta(NamedTuple):
    """A linear model of few features and classes, with a row of parameters per feature."""

    theta: OUT2  # (n + 1, lanes): row 0 is the bias, columns from c on are zero
    hot: IN1  # (labels * lanes,): the target of each label, as one vector
    n_classes: INT
    sigmoid: FLAG


class LazyModel(NamedTuple):
    """A linear model whose weights are updated lazily: see ``sparse``."""

    W: OUT2  # (n, ldw), a row per feature; ldw is c rounded up to whole vectors, or 1 for one class
    bias: OUT1
    Q: OUT2  # as W: the L1 penalty applied to each weight so far
    A: OUT2  # as W: the matrix from which the average of the iterates is computed
    average_bias: OUT1  # average of the iterates of the bias
    scales: OUT64  # FACTOR, AVERAGE_A, AVERAGE_B, L1_SUM, ITERATES
    n_classes: INT
    intercept_decay: REAL  # factor on the steps of the intercepts
    sigmoid: FLAG


class Settings(NamedTuple):
    """Hyperparameters of a step. The defaults add nothing to plain gradient descent."""

    log_low: REAL = -math.inf  # log p is clipped to [log_low, log_high]
    log_high: REAL = math.inf
    eps: REAL = 0.0  # added to p before its logarithm, by losses that do not clip
    learning_rate: REAL = 0.0  # for kernels that are not given a rate per step
    clip_threshold: REAL = math.inf  # on every entry of the gradient
    bias_rate: REAL = 1.0  # ratio of the biases' learning rate to that of the weights
    l2: REAL = 0.0  # strength of the L2 penalty on the weights
    l2_shared: REAL = 0.0  # another L2 penalty, whose strength is divided by the batch's total sample weight
    l1: REAL = 0.0  # strength of the L1 penalty on the weights
    beta_1: REAL = 0.0  # momentum, or the decay of Adam's first moment
    beta_2: REAL = 0.0  # the decay of Adam's second moment
    epsilon: REAL = 0.0  # Adam's, added to the root of the second moment
    dropout: REAL = 0.0  # probability that a hidden unit is zeroed


class Schedule(NamedTuple):
    """The steps that a network takes in one call."""

    order: INDEX  # the rows of the samples, batch after batch
    rates: IN64  # the learning rate of each step
    mixes: IN64  # weight of each step's parameters in their running average; empty for no average
    batch_size: INT
    repeats: INT  # passes over the batches
    phases: INT  # what each step does, as bits: FORWARD, LOSS, …
    seed: INT  # for dropout
    whole_weight: REAL  # total sample weight of the full batch, when this call gets only a piece of it; else 0


class Portion(NamedTuple):
    """The rows that one call of full-batch descent works on. A step on many rows is split into several calls."""

    first: INT
    end: INT
    m: INT  # total number of rows
    update: FLAG  # whether to update the parameters, and not only compute the loss


class Blocks(NamedTuple):
    """How the products of long rows are cut for the caches, so that a tile finds its operands there: see ``matmul``."""

    depth: INT  # terms of a sum that are added up in one go; longer sums are set aside in between
    rows: INT  # rows of the result for which sums are set aside
    units: INT  # columns of the result for which sums are set aside


class BatchScratch(NamedTuple):
    """Scratch for a network's mini-batches: see ``batch``."""

    S: OUT1  # activations, deltas and the output layer's block
    rounded: OUT_OPERANDS1  # operands of the products, if they are not floats
    capacity: INT  # samples that S has room for
    gathered: OUT_OPERANDS2  # (capacity, n): the batch as operands, if samples are stored in another form
    panels: OUT1  # per thread: packed columns of an operand, and unfinished sums
    panel: INT  # elements of one thread's panel
    blocks: Blocks
    turned: OUT1  # the transposed weights of the layers with few inputs
    partial_sums: OUT64  # (SQUARE_PARTS,): of the squares of the weights
    iota: INDEX  # 0, 1, … up to the larger of the capacity and the widest layer
    outputs: OUT2  # (m, c), or empty: receives the probabilities of every sample
    winners: OUT_INDEX  # (m,), or empty: receives the most probable class of every sample


class ChunkScratch(NamedTuple):
    """Scratch for the chunks of rows that full-batch descent works on: see ``linear``."""

    S: OUT1  # one output-layer block per chunk
    width: INT  # samples that each block has room for
    room: OUT1  # (threads, width, n): samples as floats, if they are stored in another form
    gradients: OUT1  # one per chunk
    total: OUT1  # the gradient of the earlier portions, if a step is split into portions
    columns: OUT1  # (n, width) per chunk: its samples, transposed; for the narrow kernel
    panels: OUT1  # per thread: packed columns of an operand, and unfinished sums; for the wide kernel
    panel: INT  # elements of one thread's panel
    blocks: Blocks
    losses: OUT64  # one per chunk
    iota: INDEX  # 0, 1, … up to the larger of m and c


class SampleScratch(NamedTuple):
    """Scratch for per-sample SGD. z, u and g have c floats each, padded to whole vectors."""

    z: OUT1  # logits
    u: OUT1  # the next sample's products with the weights
    g: OUT1  # the gradient with respect to the logits, times the learning rate
    terms: OUT1  # (2 LOSS_BLOCK,): arguments of logarithms still to be computed for the loss, then their sample weights
