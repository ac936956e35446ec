"""What Python hands to kernels: a few records, each about one thing, in place of long lists of arguments. Free of Numba.

    m samples, n features, c classes

The annotations are the types of ``jit``, which kernels are compiled for. Arrays that are not wanted are empty.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .jit import BYTES2, FLAG, IN1, IN2, IN64, INDEX, INDEX32, INT, OUT1, OUT2, OUT64, REAL, TABLE


class Source(NamedTuple):
    """A set of samples as it is stored."""

    X: IN2  # (m, n), where the samples are stored as floats of the element type
    raw: BYTES2  # the bytes of each sample, where they are stored otherwise
    table: IN1  # the float that each byte stands for
    stored: INT  # one of FLOATS, BYTES, SINGLE, DOUBLE
    channels: INT  # of a pixel, where samples are images whose channels follow each other


class PairRows(NamedTuple):
    """Rows of (feature, value) pairs; or dense rows, which have every feature."""

    values: IN1
    features: INDEX32
    starts: INDEX  # (m + 1): row i has the values starts[i] ≤ j < starts[i + 1], and its features in the same places
    dense: FLAG  # each row has the features 0, 1, … n - 1


class Targets(NamedTuple):
    """What samples are to be taken for, and how much each of them counts."""

    labels: INDEX  # (m,) class numbers
    distributions: IN1  # (m c), a distribution over the classes for each sample, where there are no labels
    weights: IN1  # (m,); empty: 1 each


class Model(NamedTuple):
    """A network: see ``fastclf.engine.network``."""

    params: OUT1  # every weight and bias
    state: OUT1  # what the optimiser keeps: gradient, first moment, second moment, each as long as params
    layout: TABLE  # (layers, N_COLUMNS)
    optimiser: INT  # one of IN_PLACE, MOMENTUM, NESTEROV, ADAM
    sigmoid: FLAG  # on top, in place of a softmax


class Theta(NamedTuple):
    """A linear model of few features and classes, a row per feature."""

    theta: OUT2  # (n + 1, lanes): row 0 is the bias, columns past c are zeros
    hot: IN1  # for every label a row of ``lanes`` floats with a one in its place
    n_classes: INT
    sigmoid: FLAG


class LazyModel(NamedTuple):
    """A linear model whose weights follow lazily: see ``sparse``."""

    W: OUT2  # (n, ldw), a row per feature, padded to whole vectors, or one number wide for one class
    bias: OUT1
    Q: OUT2  # as W: the L1 penalty that a weight has been given
    A: OUT2  # as W: what stands for the average
    average_bias: OUT1
    scales: OUT64  # FACTOR, AVERAGE_A, AVERAGE_B, L1_SUM, ITERATES
    n_classes: INT
    intercept_decay: REAL  # by which the intercepts' steps are smaller
    sigmoid: FLAG


class Settings(NamedTuple):
    """What a step is told beside its data; those that are left out do nothing."""

    log_low: REAL = -math.inf  # log p is brought into [log_low, log_high]
    log_high: REAL = math.inf
    eps: REAL = 0.0  # added to p, where the loss does that instead
    learning_rate: REAL = 0.0
    clip_threshold: REAL = math.inf  # on every entry of the gradient
    bias_rate: REAL = 1.0  # learning rate of the biases over that of the weights
    l2: REAL = 0.0
    l2_shared: REAL = 0.0  # a penalty that the samples of a batch share: it is divided by their weight
    l1: REAL = 0.0
    beta_1: REAL = 0.0  # momentum, or the decay of Adam's first moment
    beta_2: REAL = 0.0
    epsilon: REAL = 0.0
    dropout: REAL = 0.0  # probability that a hidden unit is left out


class Schedule(NamedTuple):
    """Which steps a network takes."""

    rates: IN64  # the learning rate of each step
    mixes: IN64  # what the average of the parameters takes from them in each step
    batch_size: INT
    repeats: INT  # passes over the batches
    phases: INT  # bits of what a step does: FORWARD, LOSS, …
    seed: INT  # of dropout
    whole_weight: REAL  # total sample weight of the full batch, when this call gets only a piece of it; else 0


class Portion(NamedTuple):
    """Which rows a step of full-batch descent takes in this call: a step on many rows is taken in portions."""

    first: INT
    end: INT
    m: INT  # all rows
    update: FLAG  # the parameters, or else losses only


class BatchScratch(NamedTuple):
    """Scratch of a network's batches: see ``batch``."""

    S: OUT1
    capacity: INT  # samples that S has room for
    gathered: OUT2  # (capacity, n), where samples are not stored as floats
    panels: OUT1  # packed columns of the operands, of every thread
    partial_sums: OUT64  # (SQUARE_PARTS,)
    iota: INDEX  # 0, 1, … up to the larger of the capacity and the widest layer


class ChunkScratch(NamedTuple):
    """Scratch of the chunks of rows that full-batch descent takes: see ``linear``."""

    S: OUT1  # an output block per chunk
    width: INT  # samples that a block has room for
    room: OUT1  # (threads, width, n), where samples are not stored as floats
    gradients: OUT1  # one per chunk
    total: OUT1  # the gradient of the portions before this one, where a step is taken in portions
    columns: OUT1  # (n, width) per chunk: its samples transposed; for few features
    panels: OUT1  # packed columns of the operands, of every thread; for many features
    losses: OUT64  # one per chunk
    iota: INDEX  # 0, 1, … up to the larger of m and c


class SampleScratch(NamedTuple):
    """Scratch of per-sample SGD, each c floats up to whole vectors."""

    z: OUT1  # logits
    u: OUT1  # the next sample's products
    g: OUT1  # the gradient by the logits
    terms: OUT1  # (2 LOSS_BLOCK,): losses whose logarithms are still to be taken, and their weights
