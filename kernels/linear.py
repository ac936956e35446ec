"""Batch gradient descent for linear models: loss and gradient from one reading of X.

    m samples, n features, c classes (or c = 1 column with a sigmoid)

``wide`` is for any shape. A block of rows is small enough to stay in the cache: forward tiles give its logits, the
softmax its losses and deltas, and outer tiles add its gradient, before the next block is read from memory.

``narrow`` is for few features and classes, where a row does not fill a vector. Samples are the lanes: a block of X is
held transposed, and forward, softmax and gradient all run along it. Its parameters are the lab's theta, rows of one
vector: (n + 1, lanes), row 0 the bias, columns past c unused.

Rows are cut into chunks, each with a gradient of its own; their number follows from the shape alone and they are added
in order, so the bits do not depend on the threads. A step on many rows is taken in several calls, a portion of the rows in
each, whose gradients are added up. Samples that are not stored as numbers are made numbers a block at a time.
"""

from .codes import BIAS, LEARNING_RATE, LOG_HIGH, LOG_LOW, N_IN, N_OUT, WEIGHTS, WITH_BIAS
from .gather import SOURCE, Source, rows_of
from .jit import (
    AT,
    AT64,
    AT_INDEX,
    BYTES2,
    FLAG,
    IN1,
    IN2,
    INDEX,
    INT,
    OUT1,
    OUT2,
    OUT64,
    REAL,
    TABLE,
    in_shares,
    inlined,
    kernel,
    share,
)
from .matmul import crowded, forward, n_tiles, outer, panel_rows
from .simd import at, lanes_of, vfma, vload, vsplat, vstore, vsum
from .softmax import (
    bias_gradient,
    biases_at,
    block_size,
    deltas_at,
    gather_targets,
    gather_weights,
    logits_at,
    output_layer,
    spread_bias,
    total_loss,
)
from .tile import OUTER_VECTORS


@in_shares(
    source=SOURCE, room=AT, first_row=INT, end_row=INT, c=INT, iota=AT_INDEX, labels=AT_INDEX, targets=AT, labelled=FLAG,
    params=AT, weights=INT, bias=INT, size=INT, G=AT, n_chunks=INT, S=AT, panels=AT, chunk_loss=AT64, settings=AT,
    width=INT, update=FLAG, sigmoid=FLAG,
)  # fmt: skip
def chunks(
    source, room, first_row, end_row, c, iota, labels, targets, labelled, params, weights, bias, size, G, n_chunks, S,
    panels, chunk_loss, settings, width, update, sigmoid, q, workers,
):  # fmt: skip
    """Worker q's chunks of the rows first_row ≤ r < end_row: the loss and the gradient of each."""
    lanes, zero, n = lanes_of(params), settings[0] * 0, source.n
    low, high, one, with_bias = settings[LOG_LOW], settings[LOG_HIGH], zero + 1, settings[WITH_BIAS] > 0
    room, panel = at(room, q * width * n), at(panels, q * panel_rows(width, c) * OUTER_VECTORS * lanes)
    chunk0, chunk1 = share(n_chunks, q, workers)
    for chunk in range(chunk0, chunk1):
        first, end = share(end_row - first_row, chunk, n_chunks)
        first, end = first_row + first, first_row + end
        block, g, total = chunk * block_size(c, width), at(G, chunk * size), 0.0
        z, deltas = at(S, logits_at(block, c, width)), at(S, deltas_at(block, c, width))
        spread_bias(params, bias, S, block, c, width)
        for r0 in range(first, end, width):
            n_rows = min(width, end - r0)
            X, picked = rows_of(source, iota, r0, n_rows, iota, room)
            forward(
                at(params, weights), n, iota, c, X, n, picked, n_rows, n,
                at(S, biases_at(block, c, width)), 4, 0, z, z, width, -float("inf"),
            )  # fmt: skip
            gather_targets(labels, targets, labelled, at(iota, r0), n_rows, S, block, 0, c, width)
            gather_weights(S, False, iota, n_rows, S, block, 0, c, width)
            output_layer(S, block, 0, n_rows, c, width, labelled, sigmoid, True, True, update, low, high, 0.0, one)
            total += total_loss(S, block, n_rows, c, width)
            if update:
                keep, w = zero if r0 == first else one, at(g, weights)
                outer(
                    0, n_tiles(c, n, lanes), deltas, 1, width, X, n, picked, iota, n_rows,
                    w, c, n, w, False, keep, one, zero + float("inf"), panel, crowded(n, lanes),
                )  # fmt: skip
                for k in range(c):
                    sums = bias_gradient(S, block, k, n_rows, c, width) if with_bias else zero
                    g[bias + k] = sums if r0 == first else g[bias + k] + sums
        chunk_loss[chunk] = total


@in_shares(params=AT, size=INT, G=AT, n_chunks=INT, step=REAL)
def descend(params, size, G, n_chunks, step, q, workers):
    """Worker q's part of params += step times the sum of the chunks' gradients; or of their total, with a step of 1."""
    lanes = lanes_of(params)
    v0, v1 = share(size // lanes, q, workers)
    for j in range(v0 * lanes, v1 * lanes, lanes):
        gradient = vload(G, j)
        for chunk in range(1, n_chunks):
            gradient = gradient + vload(G, chunk * size + j)
        vstore(params, j, vfma(vsplat(params, step), gradient, vload(params, j)))


@inlined
def add_up(chunk_loss, losses, e, first_row, end_row, m):
    """Add a portion's loss, its chunks in order, to what losses[e] holds of the portions before it; at the end, the mean."""
    total = 0.0
    for chunk in range(chunk_loss.shape[0]):
        total += chunk_loss[chunk]
    if first_row > 0:
        total += losses[e]
    losses[e] = total / m if end_row == m else total


@kernel(
    X=IN2, raw=BYTES2, table=IN1, stored=INT, channels=INT, room=OUT1, first_row=INT, end_row=INT, m=INT, iota=INDEX,
    labels=INDEX, targets=IN1, params=OUT1, layout=TABLE, G=OUT2, total=OUT1, S=OUT1, panels=OUT1, chunk_loss=OUT64,
    losses=OUT64, settings=IN1, width=INT, repeats=INT, update=FLAG, sigmoid=FLAG,
)  # fmt: skip
def wide(
    X, raw, table, stored, channels, room, first_row, end_row, m, iota, labels, targets, params, layout, G, total, S,
    panels, chunk_loss, losses, settings, width, repeats, update, sigmoid, team,
):  # fmt: skip
    """``repeats`` steps over all m rows; losses[i] is the mean loss before step i. Without ``update``, losses only.

    Every chunk has a row of G, like ``params``, and a block of S for ``width`` samples; every thread has room for as many,
    if samples are not stored as numbers, and a panel for ``outer``. ``iota`` counts to the larger of m and c. A step that
    is taken in portions is one that ``repeats`` once, and ends with the rows up to m; ``total``, like ``params``, holds the
    gradient in between.
    """
    n_chunks, size = G.shape[0], params.shape[0]
    source = Source(at(X, 0), at(raw, 0), at(table, 0), stored, layout[0, N_IN], channels)
    step = -settings[LEARNING_RATE] / m
    for e in range(repeats):
        chunks(
            team, source, at(room, 0), first_row, end_row, layout[0, N_OUT], at(iota, 0), at(labels, 0), at(targets, 0),
            labels.shape[0] > 0, at(params, 0), layout[0, WEIGHTS], layout[0, BIAS], size, at(G, 0), n_chunks, at(S, 0),
            at(panels, 0), at(chunk_loss, 0), at(settings, 0), width, update, sigmoid,
        )  # fmt: skip
        add_up(chunk_loss, losses, e, first_row, end_row, m)
        if update and total.shape[0]:
            if first_row == 0:
                for j in range(size):
                    total[j] = 0
            descend(team, at(total, 0), size, at(G, 0), n_chunks, step * 0 + 1)
            if end_row == m:
                descend(team, at(params, 0), size, at(total, 0), 1, step)
        elif update:
            descend(team, at(params, 0), size, at(G, 0), n_chunks, step)


# ---------------------------------------------------------------- few features: samples as lanes
#
# A block is held as rows of ``width`` samples each.


@inlined
def transpose_block(X, rows, n, labels, targets, labelled, order, n_rows, XT, S, block, c, width):
    """XT = the rows of X, transposed; and targets of the samples order[:n_rows], and weights of 1, into the block."""
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


@in_shares(
    source=SOURCE, room=AT, first_row=INT, end_row=INT, c=INT, iota=AT_INDEX, labels=AT_INDEX, targets=AT, labelled=FLAG,
    theta=AT, ldt=INT, G=AT, n_chunks=INT, XT=AT, S=AT, chunk_loss=AT64, settings=AT, width=INT, resident=FLAG, update=FLAG,
    sigmoid=FLAG,
)  # fmt: skip
def narrow_chunks(
    source, room, first_row, end_row, c, iota, labels, targets, labelled, theta, ldt, G, n_chunks, XT, S, chunk_loss,
    settings, width, resident, update, sigmoid, q, workers,
):  # fmt: skip
    """Worker q's chunks of the rows first_row ≤ r < end_row; ``resident``: the only one is there already, transposed."""
    zero, n = settings[0] * 0, source.n
    room = at(room, q * width * n)
    chunk0, chunk1 = share(n_chunks, q, workers)
    for chunk in range(chunk0, chunk1):
        first, end = share(end_row - first_row, chunk, n_chunks)
        first, end = first_row + first, first_row + end
        g, xt = at(G, chunk * (n + 1) * c), at(XT, chunk * n * width)
        block, total = chunk * block_size(c, width), 0.0
        for i in range((n + 1) * c):
            g[i] = zero
        for r0 in range(first, end, width):
            n_rows = min(width, end - r0)
            if not resident:
                X, rows = rows_of(source, iota, r0, n_rows, iota, room)
                transpose_block(X, rows, n, labels, targets, labelled, at(iota, r0), n_rows, xt, S, block, c, width)
            narrow_logits(xt, n, n_rows, theta, ldt, S, block, c, width)
            output_layer(
                S, block, 0, n_rows, c, width, labelled, sigmoid, True, True, update, settings[LOG_LOW],
                settings[LOG_HIGH], 0.0, zero + 1,
            )  # fmt: skip
            total += total_loss(S, block, n_rows, c, width)
            if update:
                narrow_gradient(xt, n, n_rows, S, block, c, width, g, settings[WITH_BIAS])
        chunk_loss[chunk] = total


@kernel(
    X=IN2, raw=BYTES2, table=IN1, stored=INT, channels=INT, room=OUT1, first_row=INT, end_row=INT, m=INT, iota=INDEX,
    labels=INDEX, targets=IN1, theta=OUT2, G=OUT2, total=OUT2, XT=OUT2, S=OUT1, chunk_loss=OUT64, losses=OUT64,
    settings=IN1, c=INT, repeats=INT, update=FLAG, sigmoid=FLAG,
)  # fmt: skip
def narrow(
    X, raw, table, stored, channels, room, first_row, end_row, m, iota, labels, targets, theta, G, total, XT, S, chunk_loss,
    losses, settings, c, repeats, update, sigmoid, team,
):  # fmt: skip
    """The same steps with samples as lanes everywhere. Every chunk has its rows of G (n + 1) and XT (n)."""
    n, width, n_chunks, labelled = theta.shape[0] - 1, XT.shape[1], chunk_loss.shape[0], labels.shape[0] > 0
    step, source = -settings[LEARNING_RATE] / m, Source(at(X, 0), at(raw, 0), at(table, 0), stored, n, channels)
    for e in range(repeats):
        resident = e > 0 and n_chunks == 1 and m <= width  # one block holds everything: it is transposed but once
        narrow_chunks(
            team, source, at(room, 0), first_row, end_row, c, at(iota, 0), at(labels, 0), at(targets, 0), labelled,
            at(theta, 0), theta.shape[1], at(G, 0), n_chunks, at(XT, 0), at(S, 0), at(chunk_loss, 0), at(settings, 0), width,
            resident, update, sigmoid,
        )  # fmt: skip
        add_up(chunk_loss, losses, e, first_row, end_row, m)
        if update:
            for j in range(n + 1):
                for k in range(c):
                    gradient = G[j, k]
                    for chunk in range(1, n_chunks):
                        gradient += G[chunk * (n + 1) + j, k]
                    if total.shape[0]:
                        if first_row > 0:
                            gradient += total[j, k]
                        total[j, k] = gradient
                    if end_row == m:
                        theta[j, k] += step * gradient
