"""Batch gradient descent for linear models: loss and gradient from one reading of X.

    m samples, n features, c classes (or c = 1 column with a sigmoid)

``wide`` is for any shape. A block of rows is small enough to stay in the cache: forward tiles give its logits, those its
losses and deltas, and outer tiles add its gradient, before the next block is read from memory.

``narrow`` is for few features and classes, where a row does not fill a vector. Samples are the lanes: a block of X is
held transposed, and forward, softmax and gradient all run along it. Its parameters are the lab's theta, rows of one
vector: (n + 1, lanes), row 0 the bias, columns past c unused.

Rows are cut into chunks, each with a gradient of its own; their number follows from the shape alone and they are added
in order, so the bits do not depend on the threads.
"""

from numba import prange

from .jit import FLAG, IN1, IN2, INDEX, INT, OUT1, OUT2, OUT64, TABLE, helper, kernel
from .matmul import forward, outer_product
from .mlp import BIAS, LEARNING_RATE, LOG_HIGH, LOG_LOW, N_IN, N_OUT, WEIGHTS, WITH_BIAS, share
from .simd import (
    at,
    lanes_of,
    vabs,
    vexp,
    vfirst,
    vfma,
    vload,
    vload_first,
    vlog,
    vmax,
    vmin,
    vsplat,
    vstore,
    vstore_first,
    vsum,
)
from .softmax import delta_row, loss_row, probability_row


@helper
def add_row(G, start, D, row, c):
    """G[start:] += D[row:], c elements."""
    lanes, zero = lanes_of(G), D[row] * 0
    for k in range(0, c, lanes):
        count = min(lanes, c - k)
        vstore_first(G, start + k, vload_first(G, start + k, count, zero) + vload_first(D, row + k, count, zero), count)


@kernel(
    parallel=True,
    X=IN2, iota=INDEX, labels=INDEX, targets=IN1, params=OUT1, layout=TABLE, G=OUT2, Z=OUT2, P=OUT2, D=OUT2,
    chunk_loss=OUT64, losses=OUT64, settings=IN1, repeats=INT, update=FLAG, sigmoid=FLAG,
)  # fmt: skip
def wide(
    X, iota, labels, targets, params, layout, G, Z, P, D, chunk_loss, losses, settings, repeats, update, sigmoid, workers
):  # fmt: skip
    """``repeats`` steps over all rows; losses[i] is the mean loss before step i. Without ``update``, losses only.

    G has one vector like ``params`` for each chunk; Z, P and D one block of rows * c. ``iota`` counts to m.
    """
    m, n, c = X.shape[0], layout[0, N_IN], layout[0, N_OUT]
    n_chunks, block, lanes, zero = G.shape[0], Z.shape[1] // c, lanes_of(params), params[0] * 0
    step = -settings[LEARNING_RATE] / m
    low, high, one = settings[LOG_LOW], settings[LOG_HIGH], zero + 1
    z, p, d, g = Z.reshape(-1), P.reshape(-1), D.reshape(-1), G.reshape(-1)
    weights, bias = layout[0, WEIGHTS], layout[0, BIAS]
    for e in range(repeats):
        for q in prange(workers):
            chunk0, chunk1 = share(n_chunks, q, workers)
            for chunk in range(chunk0, chunk1):
                first, last = share(m, chunk, n_chunks)
                here, g0, total = chunk * block * c, chunk * G.shape[1], 0.0
                for u in range(c):
                    g[g0 + bias + u] = zero
                for r0 in range(first, last, block):
                    n_rows = min(block, last - r0)
                    forward(
                        at(X, 0), n, at(iota, r0), n_rows, at(params, weights), at(params, bias), c, n,
                        at(z, here), at(z, here), c, zero - float("inf"),
                    )  # fmt: skip
                    for r in range(n_rows):
                        i, row = r0 + r, here + r * c
                        label = labels[i] if labels.shape[0] else -1
                        log_total = probability_row(z, p, row, c, sigmoid)
                        total += loss_row(z, row, c, label, targets, i * c, log_total, sigmoid, low, high, zero)
                        if update:
                            delta_row(p, d, row, c, label, targets, i * c, one, sigmoid)
                            if settings[WITH_BIAS] > 0:
                                add_row(g, g0 + bias, d, row, c)
                    if update:
                        outer_product(
                            lanes, at(d, here), c, 1, at(X, 0), n, at(iota, r0), n_rows, at(g, g0 + weights), c, n,
                            at(g, g0 + weights), False, zero if r0 == first else one, one, zero + float("inf"),
                        )  # fmt: skip
                chunk_loss[chunk] = total
        total = 0.0
        for chunk in range(n_chunks):
            total += chunk_loss[chunk]
        losses[e] = total / m
        if update:
            for q in prange(workers):
                v0, v1 = share(params.shape[0] // lanes, q, workers)
                for j in range(v0 * lanes, v1 * lanes, lanes):
                    total_g = vload(g, j)
                    for chunk in range(1, n_chunks):
                        total_g = total_g + vload(g, chunk * params.shape[0] + j)
                    vstore(params, j, vfma(vsplat(params, step), total_g, vload(params, j)))


# ---------------------------------------------------------------- few features: samples as lanes
#
# A block is held as rows of ``width`` samples each. Arrays are addressed by offsets, never sliced: a slice inside a loop
# costs an atomic count of references, as much as the arithmetic.


@helper
def transpose_block(X, labels, targets, c, r0, n_rows, width, XT, x0, T, t0):
    """XT[x0:] = X[r0 : r0 + n_rows]^T and T[t0:] = their targets as distributions, zeros up to a whole vector."""
    n, xt, t = X.shape[1], XT.reshape(-1), T.reshape(-1)
    for i in range(width):
        real = i < n_rows
        for j in range(n):
            xt[x0 + j * width + i] = X[r0 + i, j] if real else 0
        for k in range(c):
            here = t0 + k * width + i
            if not real:
                t[here] = 0
            elif labels.shape[0] == 0:
                t[here] = targets[(r0 + i) * c + k]
            elif c == 1:
                t[here] = labels[r0 + i]
            else:
                t[here] = labels[r0 + i] == k


@helper
def narrow_block(XT, x0, T, t0, Z, D, n, n_rows, width, theta, c, sigmoid, low, high, deltas):
    """The summed loss of a transposed block; D = p - t where ``deltas``, zero past the last sample.

    The block's features start at XT[x0], its targets, logits and deltas at offset t0 of T, Z and D.
    """
    lanes, zero = lanes_of(theta), theta[0, 0] * 0
    none, one, lows, highs = vsplat(theta, zero), vsplat(theta, 1.0), vsplat(theta, low), vsplat(theta, high)
    losses = none
    for i in range(0, n_rows, lanes):
        count = min(lanes, n_rows - i)
        top = vsplat(theta, -float("inf"))
        for k in range(c):
            z = vsplat(theta, theta[0, k])
            for j in range(n):
                z = vfma(vsplat(theta, theta[j + 1, k]), vload(XT, x0 + j * width + i), z)
            vstore(Z, t0 + k * width + i, z)
            top = vmax(top, z)
        loss = none
        if sigmoid:
            for k in range(c):
                here = t0 + k * width + i
                z, t = vload(Z, here), vload(T, here)
                rest = vlog(one + vexp(none - vabs(z)))
                log_p = vmin(vmax(vmin(z, none) - rest, lows), highs)
                log_q = vmin(vmax(vmin(none - z, none) - rest, lows), highs)
                loss = loss + (t * log_p + (one - t) * log_q)
                if deltas:
                    vstore(D, here, vfirst(one / (one + vexp(none - z)) - t, count, zero))
        else:
            total = none
            for k in range(c):
                here = t0 + k * width + i
                z = vload(Z, here) - top
                e = vexp(z)
                total = total + e
                vstore(Z, here, z)
                vstore(D, here, e)
            inverse, log_total = one / total, vlog(total)
            for k in range(c):
                here = t0 + k * width + i
                t = vload(T, here)
                loss = vfma(t, vmin(vmax(vload(Z, here) - log_total, lows), highs), loss)
                if deltas:
                    vstore(D, here, vfirst(vload(D, here) * inverse - t, count, zero))
        losses = losses - vfirst(loss, count, zero)
    return vsum(losses)


@helper
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
    X=IN2, labels=INDEX, targets=IN1, theta=OUT2, G=OUT2, XT=OUT2, T=OUT2, Z=OUT2, D=OUT2,
    chunk_loss=OUT64, losses=OUT64, settings=IN1, c=INT, repeats=INT, update=FLAG, sigmoid=FLAG,
)  # fmt: skip
def narrow(
    X, labels, targets, theta, G, XT, T, Z, D, chunk_loss, losses, settings, c, repeats, update, sigmoid, workers
):  # fmt: skip
    """The same steps with samples as lanes. Every chunk has its rows of G (n + 1), XT (n), T, Z and D (c)."""
    (m, n), width = X.shape, XT.shape[1]
    n_chunks, zero = chunk_loss.shape[0], theta[0, 0] * 0
    step, low, high = -settings[LEARNING_RATE] / m, settings[LOG_LOW], settings[LOG_HIGH]
    resident = n_chunks == 1 and m <= width  # one block holds everything: transpose it once
    if resident:
        transpose_block(X, labels, targets, c, 0, m, width, XT, 0, T, 0)
    for e in range(repeats):
        for q in prange(workers):
            chunk0, chunk1 = share(n_chunks, q, workers)
            for chunk in range(chunk0, chunk1):
                first, last = share(m, chunk, n_chunks)
                g0, x0, t0, total = chunk * (n + 1), chunk * n * width, chunk * c * width, 0.0
                for j in range(n + 1):
                    for k in range(c):
                        G[g0 + j, k] = zero
                for r0 in range(first, last, width):
                    n_rows = min(width, last - r0)
                    if not resident:
                        transpose_block(X, labels, targets, c, r0, n_rows, width, XT, x0, T, t0)
                    total += narrow_block(
                        XT, x0, T, t0, Z, D, n, n_rows, width, theta, c, sigmoid, low, high, update
                    )  # fmt: skip
                    if update:
                        narrow_gradient(XT, x0, D, t0, n, n_rows, width, c, G, g0, settings[WITH_BIAS])
                chunk_loss[chunk] = total
        total = 0.0
        for chunk in range(n_chunks):
            total += chunk_loss[chunk]
        losses[e] = total / m
        if update:
            for j in range(n + 1):
                for k in range(c):
                    total_g = G[j, k]
                    for chunk in range(1, n_chunks):
                        total_g += G[chunk * (n + 1) + j, k]
                    theta[j, k] += step * total_g
