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
from .mlp import BIAS, LEARNING_RATE, LOG_HIGH, LOG_LOW, N_IN, N_OUT, WEIGHTS, WITH_BIAS, share, spread_bias
from .simd import at, lanes_of, vfma, vload, vsplat, vstore, vsum
from .softmax import gather_targets, output_layer, total_loss


@kernel(
    parallel=True,
    X=IN2, iota=INDEX, labels=INDEX, targets=IN1, params=OUT1, layout=TABLE, G=OUT2, Z=OUT1, P=OUT1, D=OUT1, T=OUT1,
    classes=OUT1, sample_loss=OUT1, bias4=OUT1, chunk_loss=OUT64, losses=OUT64, settings=IN1, repeats=INT, update=FLAG,
    sigmoid=FLAG,
)  # fmt: skip
def wide(
    X, iota, labels, targets, params, layout, G, Z, P, D, T, classes, sample_loss, bias4, chunk_loss, losses, settings,
    repeats, update, sigmoid, workers,
):  # fmt: skip
    """``repeats`` steps over all rows; losses[i] is the mean loss before step i. Without ``update``, losses only.

    G has one vector like ``params`` for each chunk; Z, P, D and T a block of c rows, ``classes`` and ``sample_loss`` one
    row. ``iota`` counts to m.
    """
    m, n, c = X.shape[0], layout[0, N_IN], layout[0, N_OUT]
    n_chunks, lanes, zero = G.shape[0], lanes_of(params), params[0] * 0
    block, labelled = classes.shape[0] // n_chunks, labels.shape[0] > 0
    step, with_bias = -settings[LEARNING_RATE] / m, settings[WITH_BIAS] > 0
    low, high, one = settings[LOG_LOW], settings[LOG_HIGH], zero + 1
    weights, bias, size = layout[0, WEIGHTS], layout[0, BIAS], params.shape[0]
    for e in range(repeats):
        spread_bias(params, bias, c, bias4)
        for q in prange(workers):
            chunk0, chunk1 = share(n_chunks, q, workers)
            for chunk in range(chunk0, chunk1):
                first, end = share(m, chunk, n_chunks)
                z0, s0, g, total = chunk * c * block, chunk * block, chunk * size, 0.0
                for r0 in range(first, end, block):
                    n_rows = min(block, end - r0)
                    z, d = at(Z, z0), at(D, z0)
                    forward(
                        at(params, weights), n, at(iota, 0), c, at(X, 0), n, at(iota, r0), n_rows, n,
                        at(bias4, 0), 4, 0, z, z, block, zero - float("inf"),
                    )  # fmt: skip
                    gather_targets(labels, targets, iota, r0, n_rows, c, T, z0, classes, s0, block)
                    output_layer(
                        Z, P, D, z0, T, z0, classes, sample_loss, s0, c, block, n_rows, labelled, sigmoid,
                        True, True, update, low, high, 0.0, one,
                    )  # fmt: skip
                    total += total_loss(sample_loss, s0, n_rows)
                    if update:
                        keep = zero if r0 == first else one
                        outer_product(
                            lanes, d, 1, block, at(X, 0), n, at(iota, r0), n_rows, at(G, g + weights), c, n,
                            at(G, g + weights), False, keep, one, zero + float("inf"),
                        )  # fmt: skip
                        for k in range(c):
                            sums = vsplat(D, 0.0)
                            for r in range(0, n_rows, lanes):
                                sums = sums + vload(D, z0 + k * block + r)
                            G[chunk, bias + k] = keep * G[chunk, bias + k] + (vsum(sums) if with_bias else zero)
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
def transpose_block(X, labels, targets, order, c, r0, n_rows, width, XT, x0, T, t0, classes, s0):
    """XT[x0:] = the samples order[r0 : r0 + n_rows], transposed, and their targets as the softmax wants them."""
    n, xt = X.shape[1], XT.reshape(-1)
    for i in range(n_rows):
        row = order[r0 + i]
        for j in range(n):
            xt[x0 + j * width + i] = X[row, j]
    gather_targets(labels, targets, order, r0, n_rows, c, T, t0, classes, s0, width)


@inlined
def narrow_logits(XT, x0, n, n_rows, width, theta, c, Z, z0):
    """Z = theta[0] + theta[1:]^T XT, a row per class."""
    lanes = lanes_of(theta)
    for i in range(0, n_rows, lanes):
        for k in range(c):
            z = vsplat(theta, theta[0, k])
            for j in range(n):
                z = vfma(vsplat(theta, theta[j + 1, k]), vload(XT, x0 + j * width + i), z)
            vstore(Z, z0 + k * width + i, z)


@inlined
def narrow_gradient(XT, x0, D, t0, n, n_rows, width, c, G, g0, with_bias):
    """G[g0, k] += sum_i D[k, i] and G[g0 + j + 1, k] += sum_i XT[j, i] D[k, i], three features at a time."""
    lanes, none = lanes_of(XT), vsplat(XT, 0.0)
    for k in range(c):
        for j in range(0, n, 3):
            a = x0 + j * width
            b, e = x0 + min(j + 1, n - 1) * width, x0 + min(j + 2, n - 1) * width
            total = sum_a = sum_b = sum_e = none
            for i in range(0, n_rows, lanes):
                d = vload(D, t0 + k * width + i)
                total = total + d
                sum_a = vfma(d, vload(XT, a + i), sum_a)
                sum_b = vfma(d, vload(XT, b + i), sum_b)
                sum_e = vfma(d, vload(XT, e + i), sum_e)
            if j == 0:
                G[g0, k] += with_bias * vsum(total)
            G[g0 + j + 1, k] += vsum(sum_a)
            if j + 1 < n:
                G[g0 + j + 2, k] += vsum(sum_b)
            if j + 2 < n:
                G[g0 + j + 3, k] += vsum(sum_e)


@kernel(
    parallel=True,
    X=IN2, iota=INDEX, labels=INDEX, targets=IN1, theta=OUT2, G=OUT2, XT=OUT2, Z=OUT1, P=OUT1, D=OUT1, T=OUT1,
    classes=OUT1, sample_loss=OUT1, chunk_loss=OUT64, losses=OUT64, settings=IN1, c=INT, repeats=INT, update=FLAG,
    sigmoid=FLAG,
)  # fmt: skip
def narrow(
    X, iota, labels, targets, theta, G, XT, Z, P, D, T, classes, sample_loss, chunk_loss, losses, settings, c, repeats,
    update, sigmoid, workers,
):  # fmt: skip
    """The same steps with samples as lanes everywhere. Every chunk has its rows of G (n + 1) and XT (n)."""
    (m, n), width = X.shape, XT.shape[1]
    n_chunks, zero, labelled = chunk_loss.shape[0], theta[0, 0] * 0, labels.shape[0] > 0
    step, low, high = -settings[LEARNING_RATE] / m, settings[LOG_LOW], settings[LOG_HIGH]
    resident = n_chunks == 1 and m <= width  # one block holds everything: transpose it once
    if resident:
        transpose_block(X, labels, targets, iota, c, 0, m, width, XT, 0, T, 0, classes, 0)
    for e in range(repeats):
        for q in prange(workers):
            chunk0, chunk1 = share(n_chunks, q, workers)
            for chunk in range(chunk0, chunk1):
                first, end = share(m, chunk, n_chunks)
                g0, x0, z0, s0 = chunk * (n + 1), chunk * n * width, chunk * c * width, chunk * width
                total = 0.0
                for j in range(n + 1):
                    for k in range(c):
                        G[g0 + j, k] = zero
                for r0 in range(first, end, width):
                    n_rows = min(width, end - r0)
                    if not resident:
                        transpose_block(X, labels, targets, iota, c, r0, n_rows, width, XT, x0, T, z0, classes, s0)
                    narrow_logits(XT, x0, n, n_rows, width, theta, c, Z, z0)
                    output_layer(
                        Z, P, D, z0, T, z0, classes, sample_loss, s0, c, width, n_rows, labelled, sigmoid,
                        True, True, update, low, high, 0.0, zero + 1,
                    )  # fmt: skip
                    total += total_loss(sample_loss, s0, n_rows)
                    if update:
                        narrow_gradient(XT, x0, D, z0, n, n_rows, width, c, G, g0, settings[WITH_BIAS])
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
