"""Batch gradient descent for linear models: loss and gradient from one reading of X.

    m samples, n features, c classes (or c = 1 column with a sigmoid)

``wide`` is for any shape. A block of rows is small enough to stay in the cache: forward tiles give its logits, the
softmax its losses and deltas, and outer tiles add its gradient, before the next block is read from memory.

``narrow`` is for few features and classes, where a row does not fill a vector. Samples are the lanes: a block of X is
held transposed, and forward, softmax and gradient all run along it. Its parameters are the lab's theta, rows of one
vector: (n + 1, lanes), row 0 the bias, columns past c unused.

Rows are cut into chunks, each with a gradient of its own; their number follows from the shape alone and they are added
in order, so the bits do not depend on the threads.
"""

from numba import prange

from .jit import FLAG, IN1, IN2, INDEX, INT, OUT1, OUT2, OUT64, TABLE, inlined, kernel
from .matmul import forward, outer_product
from .mlp import BIAS, LEARNING_RATE, LOG_HIGH, LOG_LOW, N_IN, N_OUT, WEIGHTS, WITH_BIAS, share
from .simd import at, lanes_of, vfma, vload, vsplat, vstore, vsum
from .softmax import (
    bias_gradient,
    biases_at,
    block_size,
    deltas_at,
    gather_targets,
    logits_at,
    output_layer,
    spread_bias,
    total_loss,
)


@kernel(
    parallel=True,
    X=IN2, iota=INDEX, labels=INDEX, targets=IN1, params=OUT1, layout=TABLE, G=OUT2, S=OUT1, chunk_loss=OUT64,
    losses=OUT64, settings=IN1, width=INT, repeats=INT, update=FLAG, sigmoid=FLAG,
)  # fmt: skip
def wide(
    X, iota, labels, targets, params, layout, G, S, chunk_loss, losses, settings, width, repeats, update, sigmoid, workers
):  # fmt: skip
    """``repeats`` steps over all rows; losses[i] is the mean loss before step i. Without ``update``, losses only.

    Every chunk has a row of G, like ``params``, and a block of S for ``width`` samples. ``iota`` counts to the larger of m
    and c.
    """
    m, n, c = X.shape[0], layout[0, N_IN], layout[0, N_OUT]
    n_chunks, lanes, zero, labelled = G.shape[0], lanes_of(params), params[0] * 0, labels.shape[0] > 0
    step, with_bias = -settings[LEARNING_RATE] / m, settings[WITH_BIAS] > 0
    low, high, one = settings[LOG_LOW], settings[LOG_HIGH], zero + 1
    weights, bias, size = layout[0, WEIGHTS], layout[0, BIAS], params.shape[0]
    for e in range(repeats):
        for q in prange(workers):
            chunk0, chunk1 = share(n_chunks, q, workers)
            for chunk in range(chunk0, chunk1):
                first, end = share(m, chunk, n_chunks)
                block, g, total = chunk * block_size(c, width), chunk * size, 0.0
                spread_bias(params, bias, S, block, c, width)
                for r0 in range(first, end, width):
                    n_rows = min(width, end - r0)
                    z = at(S, logits_at(block, c, width))
                    forward(
                        at(params, weights), n, at(iota, 0), c, at(X, 0), n, at(iota, r0), n_rows, n,
                        at(S, biases_at(block, c, width)), 4, 0, z, z, width, zero - float("inf"),
                    )  # fmt: skip
                    gather_targets(labels, targets, iota, r0, n_rows, S, block, 0, c, width)
                    output_layer(
                        S, block, 0, n_rows, c, width, labelled, sigmoid, True, True, update, low, high, 0.0, one
                    )
                    total += total_loss(S, block, n_rows, c, width)
                    if update:
                        keep = zero if r0 == first else one
                        outer_product(
                            lanes, at(S, deltas_at(block, c, width)), 1, width, at(X, 0), n, at(iota, r0), n_rows,
                            at(G, g + weights), c, n, at(G, g + weights), False, keep, one, zero + float("inf"),
                        )  # fmt: skip
                        for k in range(c):
                            sums = bias_gradient(S, block, k, n_rows, c, width) if with_bias else zero
                            G[chunk, bias + k] = sums if r0 == first else G[chunk, bias + k] + sums
                chunk_loss[chunk] = total
        total = 0.0
        for chunk in range(n_chunks):
            total += chunk_loss[chunk]
        losses[e] = total / m
        if update:
            for q in prange(workers):
                v0, v1 = share(size // lanes, q, workers)
                for j in range(v0 * lanes, v1 * lanes, lanes):
                    gradient = vload(G, j)
                    for chunk in range(1, n_chunks):
                        gradient = gradient + vload(G, chunk * size + j)
                    vstore(params, j, vfma(vsplat(params, step), gradient, vload(params, j)))


# ---------------------------------------------------------------- few features: samples as lanes
#
# A block is held as rows of ``width`` samples each. Arrays are addressed by offsets, never sliced: a slice inside a loop
# costs an atomic count of references, as much as the arithmetic.


@inlined
def transpose_block(X, labels, targets, order, r0, n_rows, XT, x0, S, block, c, width):
    """XT[x0:] = the samples order[r0 : r0 + n_rows], transposed; and their targets, into the block."""
    n, xt = X.shape[1], XT.reshape(-1)
    for i in range(n_rows):
        row = order[r0 + i]
        for j in range(n):
            xt[x0 + j * width + i] = X[row, j]
    gather_targets(labels, targets, order, r0, n_rows, S, block, 0, c, width)


@inlined
def narrow_logits(XT, x0, n, n_rows, theta, S, block, c, width):
    """The block's Z = theta[0] + theta[1:]^T XT."""
    lanes, z0 = lanes_of(theta), logits_at(block, c, width)
    for i in range(0, n_rows, lanes):
        for k in range(c):
            z = vsplat(theta, theta[0, k])
            for j in range(n):
                z = vfma(vsplat(theta, theta[j + 1, k]), vload(XT, x0 + j * width + i), z)
            vstore(S, z0 + k * width + i, z)


@inlined
def narrow_gradient(XT, x0, n, n_rows, S, block, c, width, G, g0, with_bias):
    """G[g0, k] += sum_i D[k, i] and G[g0 + j + 1, k] += sum_i XT[j, i] D[k, i], three features at a time."""
    lanes, none = lanes_of(XT), vsplat(XT, 0.0)
    for k in range(c):
        d0 = deltas_at(block, c, width) + k * width
        for j in range(0, n, 3):
            a = x0 + j * width
            b, e = x0 + min(j + 1, n - 1) * width, x0 + min(j + 2, n - 1) * width
            sum_a = sum_b = sum_e = none
            for i in range(0, n_rows, lanes):
                d = vload(S, d0 + i)
                sum_a = vfma(d, vload(XT, a + i), sum_a)
                sum_b = vfma(d, vload(XT, b + i), sum_b)
                sum_e = vfma(d, vload(XT, e + i), sum_e)
            G[g0 + j + 1, k] += vsum(sum_a)
            if j + 1 < n:
                G[g0 + j + 2, k] += vsum(sum_b)
            if j + 2 < n:
                G[g0 + j + 3, k] += vsum(sum_e)
        G[g0, k] += with_bias * bias_gradient(S, block, k, n_rows, c, width)


@kernel(
    parallel=True,
    X=IN2, iota=INDEX, labels=INDEX, targets=IN1, theta=OUT2, G=OUT2, XT=OUT2, S=OUT1, chunk_loss=OUT64, losses=OUT64,
    settings=IN1, c=INT, repeats=INT, update=FLAG, sigmoid=FLAG,
)  # fmt: skip
def narrow(
    X, iota, labels, targets, theta, G, XT, S, chunk_loss, losses, settings, c, repeats, update, sigmoid, workers
):  # fmt: skip
    """The same steps with samples as lanes everywhere. Every chunk has its rows of G (n + 1) and XT (n)."""
    (m, n), width = X.shape, XT.shape[1]
    n_chunks, zero, labelled = chunk_loss.shape[0], theta[0, 0] * 0, labels.shape[0] > 0
    step, low, high = -settings[LEARNING_RATE] / m, settings[LOG_LOW], settings[LOG_HIGH]
    resident = n_chunks == 1 and m <= width  # one block holds everything: transpose it once
    if resident:
        transpose_block(X, labels, targets, iota, 0, m, XT, 0, S, 0, c, width)
    for e in range(repeats):
        for q in prange(workers):
            chunk0, chunk1 = share(n_chunks, q, workers)
            for chunk in range(chunk0, chunk1):
                first, end = share(m, chunk, n_chunks)
                g0, x0, block, total = chunk * (n + 1), chunk * n * width, chunk * block_size(c, width), 0.0
                for j in range(n + 1):
                    for k in range(c):
                        G[g0 + j, k] = zero
                for r0 in range(first, end, width):
                    n_rows = min(width, end - r0)
                    if not resident:
                        transpose_block(X, labels, targets, iota, r0, n_rows, XT, x0, S, block, c, width)
                    narrow_logits(XT, x0, n, n_rows, theta, S, block, c, width)
                    output_layer(
                        S, block, 0, n_rows, c, width, labelled, sigmoid, True, True, update, low, high, 0.0, zero + 1
                    )
                    total += total_loss(S, block, n_rows, c, width)
                    if update:
                        narrow_gradient(XT, x0, n, n_rows, S, block, c, width, G, g0, settings[WITH_BIAS])
                chunk_loss[chunk] = total
        total = 0.0
        for chunk in range(n_chunks):
            total += chunk_loss[chunk]
        losses[e] = total / m
        if update:
            for j in range(n + 1):
                for k in range(c):
                    gradient = G[j, k]
                    for chunk in range(1, n_chunks):
                        gradient += G[chunk * (n + 1) + j, k]
                    theta[j, k] += step * gradient
