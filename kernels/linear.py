"""Batch gradient descent for linear models: loss and gradient from a single pass over X.

    m samples, n features, c classes (or c = 1 column with a sigmoid)

``wide`` is for any shape. It works on blocks of rows that stay in the cache: ``matmul.forward`` computes a block's logits,
the softmax its losses and deltas, and ``matmul.outer`` adds its gradient, before the next block is read from memory.

``narrow`` is for few features and classes, where a row does not fill a vector. The lanes are samples: a block of X is
transposed, so that forward, softmax and gradient all run along samples. Its parameters are the lab's theta, with rows of
one vector: (n + 1, lanes), row 0 the bias, columns from c on unused.

Rows are cut into chunks, each with its own gradient. The number of chunks follows from the shape alone, and their gradients
are added in order, so the bits do not depend on the number of threads. A step on many rows is split into several calls, each
for a portion of the rows, and their gradients are added up. Samples not stored as floats are converted block by block.
"""

from __future__ import annotations

from typing import NamedTuple

from .codes import BIAS, N_IN, N_OUT, WEIGHTS
from .gather import SourceAt, rows_of, source_at
from .jit import AT, AT64, AT_INDEX, FLAG, INT, OUT64, REAL, in_shares, inlined, share
from .kernel import kernel
from .matmul import column_sums, crowded, forward, n_tiles, outer
from .records import Blocks, ChunkScratch, Model, Portion, Settings, Source, Targets, Theta
from .simd import at, lanes_of, real, vfma, vload, vsplat, vstore, vsum
from .softmax import (
    bias_gradient,
    biases_at,
    block_size,
    deltas_at,
    gather_targets,
    gather_weights,
    in_rows,
    logits_at,
    output_layer,
    spread_bias,
    total_loss,
)
from .tile import UPDATE


class Chunks(NamedTuple):
    """The rows of a portion, cut into chunks, and everything that a thread needs to work on a chunk."""

    source: SourceAt
    first: INT  # the portion is the rows first ≤ r < end
    end: INT
    count: INT  # number of chunks
    c: INT
    labels: AT_INDEX
    distributions: AT
    labelled: FLAG  # whether targets are labels, and not distributions
    sigmoid: FLAG
    update: FLAG  # whether to compute gradients, and not only losses
    iota: AT_INDEX
    settings: Settings
    params: AT  # those of a network of one layer, or theta
    G: AT  # one gradient per chunk
    S: AT  # one output-layer block per chunk
    width: INT  # samples that each block has room for
    room: AT  # one conversion buffer per thread, for ``width`` samples as floats
    losses: AT64  # one per chunk


@inlined
def chunks_of(source, n, targets, c, sigmoid, params, scratch, portion, settings):
    """The chunks of a portion, with arrays given by their addresses."""
    return Chunks(
        source_at(source, n), portion.first, portion.end, scratch.losses.shape[0], c, at(targets.labels, 0),
        at(targets.distributions, 0), targets.labels.shape[0] > 0, sigmoid, portion.update, at(scratch.iota, 0),
        settings, params, at(scratch.gradients, 0), at(scratch.S, 0), scratch.width, at(scratch.room, 0),
        at(scratch.losses, 0),
    )  # fmt: skip


@inlined
def rows_of_chunk(work, chunk):
    """The rows of a chunk, as (first, past the last)."""
    first, end = share(work.end - work.first, chunk, work.count)
    return work.first + first, work.first + end


@in_shares(work=Chunks, weights=INT, bias=INT, size=INT, panels=AT, panel_size=INT, blocks=Blocks)
def chunk_gradients(work, weights, bias, size, panels, panel_size, blocks, q, workers):
    """The loss and the gradient of each chunk in thread q's share, for a network of one layer."""
    S, c, width, n, settings = work.S, work.c, work.width, work.source.n, work.settings
    lanes, zero = lanes_of(S), real(S, 0.0)
    low, high, one, with_bias = settings.log_low, settings.log_high, zero + 1, settings.bias_rate > 0
    room, panel = at(work.room, q * width * n), at(panels, q * panel_size)
    chunk0, chunk1 = share(work.count, q, workers)
    for chunk in range(chunk0, chunk1):
        first, end = rows_of_chunk(work, chunk)
        block, g, total = chunk * block_size(c, width), at(work.G, chunk * size), 0.0
        z, deltas = at(S, logits_at(block, c, width)), at(S, deltas_at(block, c, width))
        by_sample, by_class = (c, 1) if in_rows(c) else (1, width)
        spread_bias(work.params, bias, S, block, c, width)
        for r0 in range(first, end, width):
            n_rows = min(width, end - r0)
            X, picked = rows_of(work.source, work.iota, r0, n_rows, work.iota, room)
            w = at(work.params, weights)
            if in_rows(c):
                forward(
                    X, n, picked, n_rows, w, n, work.iota, c, n, at(work.params, bias), 0, 1, z, z, c, -float("inf"), blocks,
                    panel,
                )  # fmt: skip
            else:
                forward(
                    w, n, work.iota, c, X, n, picked, n_rows, n, at(S, biases_at(block, c, width)), 4, 0, z, z, width,
                    -float("inf"), blocks, panel,
                )  # fmt: skip
            chosen = at(work.iota, r0)
            gather_targets(work.labels, work.distributions, work.labelled, chosen, n_rows, S, block, 0, c, width)
            gather_weights(S, False, work.iota, n_rows, S, block, 0, c, width)
            output_layer(
                S, block, 0, n_rows, c, width, work.labelled, work.sigmoid, True, True, work.update, low, high, 0.0, one
            )
            total += total_loss(S, block, n_rows, c, width)
            if work.update:
                keep, w = zero if r0 == first else one, at(g, weights)
                outer(
                    0, n_tiles(c, n, lanes), deltas, by_sample, by_class, work.iota, X, n, picked, work.iota, n_rows,
                    w, c, n, w, w, UPDATE, keep, one, zero + float("inf"), panel, crowded(n, lanes),
                )  # fmt: skip
                if in_rows(c):
                    column_sums(
                        deltas, 0, n_rows, c, at(g, bias), keep, one if with_bias else zero, zero + float("inf")
                    )
                else:
                    for k in range(c):
                        sums = bias_gradient(S, block, k, n_rows, c, width) if with_bias else zero
                        g[bias + k] = sums if r0 == first else g[bias + k] + sums
        work.losses[chunk] = total


@in_shares(params=AT, size=INT, G=AT, n_chunks=INT, step=REAL)
def descend(params, size, G, n_chunks, step, q, workers):
    """Thread q's share of params += step times the sum of the gradients G; ``params`` may be a total, with a step of 1."""
    lanes = lanes_of(params)
    v0, v1 = share(size // lanes, q, workers)
    for j in range(v0 * lanes, v1 * lanes, lanes):
        gradient = vload(G, j)
        for chunk in range(1, n_chunks):
            gradient = gradient + vload(G, chunk * size + j)
        vstore(params, j, vfma(vsplat(params, step), gradient, vload(params, j)))


@inlined
def add_up(chunk_losses, losses, e, portion):
    """Add a portion's loss, summed over its chunks in order, to losses[e]; after the last portion, divide by m."""
    total = 0.0
    for chunk in range(chunk_losses.shape[0]):
        total += chunk_losses[chunk]
    if portion.first > 0:
        total += losses[e]
    losses[e] = total / portion.m if portion.end == portion.m else total


@kernel(
    source=Source, targets=Targets, model=Model, scratch=ChunkScratch, portion=Portion, settings=Settings, losses=OUT64
)  # fmt: skip
def wide(source, targets, model, scratch, portion, settings, losses, team):
    """Steps over all m rows, one per entry of ``losses``, the mean loss before the step; or one portion of a step.

    For any shape: the model is a network of one layer. The samples' weights are ignored.
    """
    params, layout, total = model.params, model.layout, scratch.total
    n_chunks, size, G = scratch.losses.shape[0], params.shape[0], at(scratch.gradients, 0)
    step = -settings.learning_rate / portion.m
    work = chunks_of(
        source, layout[0, N_IN], targets, layout[0, N_OUT], model.sigmoid, at(params, 0), scratch, portion, settings
    )
    for e in range(losses.shape[0]):
        chunk_gradients(
            team, work, layout[0, WEIGHTS], layout[0, BIAS], size, at(scratch.panels, 0), scratch.panel, scratch.blocks
        )
        add_up(scratch.losses, losses, e, portion)
        if portion.update and total.shape[0]:
            if portion.first == 0:
                for j in range(size):
                    total[j] = 0
            descend(team, at(total, 0), size, G, n_chunks, step * 0 + 1)
            if portion.end == portion.m:
                descend(team, at(params, 0), size, at(total, 0), 1, step)
        elif portion.update:
            descend(team, at(params, 0), size, G, n_chunks, step)


# ---------------------------------------------------------------- few features: samples as lanes
#
# A block is held transposed: one row per feature, with room for ``width`` samples.


@inlined
def transpose_block(X, rows, n, labels, targets, labelled, order, n_rows, XT, S, block, c, width):
    """Write the rows of X, transposed, into XT; the targets of order[:n_rows] and weights of 1 into the output block."""
    for i in range(n_rows):
        row = rows[i] * n
        for j in range(n):
            XT[j * width + i] = X[row + j]
    gather_targets(labels, targets, labelled, order, n_rows, S, block, 0, c, width)
    gather_weights(XT, False, order, n_rows, S, block, 0, c, width)


@inlined
def narrow_logits(XT, n, n_rows, theta, ldt, S, block, c, width):
    """The block's Z = theta[0] + theta[1:]^T XT; rows of theta are ldt elements apart."""
    lanes, z0 = lanes_of(XT), logits_at(block, c, width)
    for i in range(0, n_rows, lanes):
        for k in range(c):
            z = vsplat(XT, theta[k])
            for j in range(n):
                z = vfma(vsplat(XT, theta[(j + 1) * ldt + k]), vload(XT, j * width + i), z)
            vstore(S, z0 + k * width + i, z)


@inlined
def narrow_gradient(XT, n, n_rows, S, block, c, width, G, with_bias):
    """G[0, k] += sum_i D[k, i] and G[j + 1, k] += sum_i XT[j, i] D[k, i], three features at a time."""
    lanes, none = lanes_of(XT), vsplat(XT, 0.0)
    for k in range(c):
        d0 = deltas_at(block, c, width) + k * width
        for j in range(0, n, 3):
            a, b, e = j * width, min(j + 1, n - 1) * width, min(j + 2, n - 1) * width
            sum_a = sum_b = sum_e = none
            for i in range(0, n_rows, lanes):
                d = vload(S, d0 + i)
                sum_a = vfma(d, vload(XT, a + i), sum_a)
                sum_b = vfma(d, vload(XT, b + i), sum_b)
                sum_e = vfma(d, vload(XT, e + i), sum_e)
            G[(j + 1) * c + k] += vsum(sum_a)
            if j + 1 < n:
                G[(j + 2) * c + k] += vsum(sum_b)
            if j + 2 < n:
                G[(j + 3) * c + k] += vsum(sum_e)
        G[k] += with_bias * bias_gradient(S, block, k, n_rows, c, width)


@in_shares(work=Chunks, ldt=INT, columns=AT, resident=FLAG)
def narrow_chunk_gradients(work, ldt, columns, resident, q, workers):
    """The loss and the gradient of each chunk in thread q's share; rows of theta are ldt elements apart.

    ``resident`` says that there is only one chunk, and that ``columns`` already holds its samples, transposed.
    """
    S, c, width, n, settings = work.S, work.c, work.width, work.source.n, work.settings
    zero, room = real(S, 0.0), at(work.room, q * width * n)
    chunk0, chunk1 = share(work.count, q, workers)
    for chunk in range(chunk0, chunk1):
        first, end = rows_of_chunk(work, chunk)
        g, xt = at(work.G, chunk * (n + 1) * c), at(columns, chunk * n * width)
        block, total = chunk * block_size(c, width), 0.0
        for i in range((n + 1) * c):
            g[i] = zero
        for r0 in range(first, end, width):
            n_rows = min(width, end - r0)
            if not resident:
                X, rows = rows_of(work.source, work.iota, r0, n_rows, work.iota, room)
                chosen = at(work.iota, r0)
                transpose_block(
                    X, rows, n, work.labels, work.distributions, work.labelled, chosen, n_rows, xt, S, block, c, width
                )
            narrow_logits(xt, n, n_rows, work.params, ldt, S, block, c, width)
            output_layer(
                S, block, 0, n_rows, c, width, work.labelled, work.sigmoid, True, True, work.update, settings.log_low,
                settings.log_high, 0.0, zero + 1,
            )  # fmt: skip
            total += total_loss(S, block, n_rows, c, width)
            if work.update:
                narrow_gradient(xt, n, n_rows, S, block, c, width, g, settings.bias_rate)
        work.losses[chunk] = total


@kernel(
    source=Source, targets=Targets, model=Theta, scratch=ChunkScratch, portion=Portion, settings=Settings, losses=OUT64
)  # fmt: skip
def narrow(source, targets, model, scratch, portion, settings, losses, team):
    """The same steps as ``wide``, for few features and classes: the lanes of all vectors are samples."""
    theta, c, n_chunks, width = model.theta, model.n_classes, scratch.losses.shape[0], scratch.width
    n, step, total, G = theta.shape[0] - 1, -settings.learning_rate / portion.m, scratch.total, scratch.gradients
    work = chunks_of(source, n, targets, c, model.sigmoid, at(theta, 0), scratch, portion, settings)
    for e in range(losses.shape[0]):
        resident = (
            e > 0 and n_chunks == 1 and portion.m <= width
        )  # a block that holds all samples is transposed only once
        narrow_chunk_gradients(team, work, theta.shape[1], at(scratch.columns, 0), resident)
        add_up(scratch.losses, losses, e, portion)
        if portion.update:
            for j in range(n + 1):
                for k in range(c):
                    i = j * c + k
                    gradient = G[i]
                    for chunk in range(1, n_chunks):
                        gradient += G[chunk * (n + 1) * c + i]
                    if total.shape[0]:
                        if portion.first > 0:
                            gradient += total[i]
                        total[i] = gradient
                    if portion.end == portion.m:
                        theta[j, k] += step * gradient
