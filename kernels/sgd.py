"""Per-sample stochastic gradient descent for linear models.

    z = W x + b;  g = lr (activation(z) - t);  W -= g x^T;  b -= g        for one sample after the other

Nothing here can run beside anything else: every step needs the one before it. What can be had is that a step waits for
as little as possible. Both kernels let the update by a sample and the prediction for the next share one pass over the
weights.

``narrow``: few features, classes as the lanes of one vector. The next sample's logits under the *old* weights, u, and
the number s = 1 + x . x' are ready before the gradient is, and the logits under the new weights are u - s g: from one
gradient to the next there is one multiply-add, one exponential, one sum and one division. The exponentials are taken
without subtracting the maximum, and again with it in the rare case that their sum shows it was needed.

``wide``: any shape, weights (c, n), four classes at a time.
"""

from .jit import FLAG, IN1, IN2, INDEX, INT, OUT1, OUT2, OUT64, TABLE, helper, kernel
from .linear import narrow_block, transpose_block
from .mlp import BIAS, LEARNING_RATE, LOG_HIGH, LOG_LOW, N_IN, N_OUT, WEIGHTS, WITH_BIAS
from .simd import (
    lanes_of,
    vexp,
    vfma,
    vhighest,
    vlane0,
    vload,
    vload_first,
    vsplat,
    vstore,
    vstore_first,
    vsum,
    vtotal,
)
from .softmax import delta_row, probability_row

# Sums of exponentials in this range prove that no term overflowed and none that matters vanished.
SAFE_LOW, SAFE_HIGH = 1e-15, 1e37


@helper
def target_lanes(labels, targets, hot, i, c):
    """The target of sample i as lanes; ``hot`` has the row of a one in every place."""
    if labels.shape[0]:
        return vload(hot, labels[i] * lanes_of(hot))
    return vload_first(targets, i * c, c, targets[0] * 0)


@helper
def logits_under(theta, X, i, n):
    """theta[0] + sum_j X[i, j] theta[j + 1], over the classes as lanes; two sums, to halve the wait."""
    lanes = lanes_of(theta)
    odd, even = vload(theta, 0), vsplat(theta, 0.0)
    for j in range(0, n - 1, 2):
        odd = vfma(vsplat(theta, X[i, j]), vload(theta, (j + 1) * lanes), odd)
        even = vfma(vsplat(theta, X[i, j + 1]), vload(theta, (j + 2) * lanes), even)
    if n % 2:
        odd = vfma(vsplat(theta, X[i, n - 1]), vload(theta, n * lanes), odd)
    return odd + even


@kernel(
    X=IN2, order=INDEX, labels=INDEX, targets=IN1, hot=IN1, theta=OUT2, XT=OUT2, T=OUT2, Z=OUT2, D=OUT2,
    losses=OUT64, settings=IN1, c=INT, repeats=INT, with_loss=FLAG, sigmoid=FLAG,
)  # fmt: skip
def narrow(X, order, labels, targets, hot, theta, XT, T, Z, D, losses, settings, c, repeats, with_loss, sigmoid):
    """``repeats`` passes over the samples of ``order``; with_loss: losses[i] is the mean loss of X before pass i.

    theta (n + 1, lanes), lanes past c of its row 0 at -inf; XT, T, Z and D as in ``linear.narrow``, for one block.
    """
    (m, n), width = X.shape, XT.shape[1]
    zero, lanes = theta[0, 0] * 0, lanes_of(theta)
    with_bias = settings[WITH_BIAS]
    lr, low, high = settings[LEARNING_RATE], settings[LOG_LOW], settings[LOG_HIGH]
    rate, one, none = vsplat(theta, lr), vsplat(theta, 1.0), vsplat(theta, zero)
    if with_loss and m <= width:
        transpose_block(X, labels, targets, c, 0, m, width, XT, 0, T, 0)
    n_steps = order.shape[0]
    for e in range(repeats):
        if with_loss:
            total = 0.0
            for r0 in range(0, m, width):
                n_rows = min(width, m - r0)
                if m > width:
                    transpose_block(X, labels, targets, c, r0, n_rows, width, XT, 0, T, 0)
                total += narrow_block(XT, 0, T, 0, Z, D, n, n_rows, width, theta, c, sigmoid, low, high, False)
            losses[e] = total / m
        i = order[0]
        z = logits_under(theta, X, i, n)
        for step in range(n_steps):
            following = order[step + 1 if step + 1 < n_steps else 0]
            u, s = logits_under(theta, X, following, n), with_bias
            for j in range(n):
                s += X[i, j] * X[following, j]
            minus_s = vsplat(theta, -s)
            t = target_lanes(labels, targets, hot, i, c) * rate
            u = vfma(vsplat(theta, s), t, u)
            if sigmoid:
                e_z, sums = one, one + vexp(none - z)
            else:
                e_z = vexp(z)
                sums = vtotal(e_z)
                size = vlane0(sums)
                if not SAFE_LOW < size < SAFE_HIGH:
                    e_z = vexp(z - vsplat(theta, vhighest(z)))
                    sums = vtotal(e_z)
            r = rate / sums
            z = vfma(minus_s * e_z, r, u)
            g = e_z * r - t
            vstore(theta, 0, vfma(vsplat(theta, -with_bias), g, vload(theta, 0)))
            for j in range(n):
                at_j = (j + 1) * lanes
                vstore(theta, at_j, vfma(vsplat(theta, -X[i, j]), g, vload(theta, at_j)))
            i = following


@helper
def update_and_predict(params, w, n, k, g, X, x, following):
    """Row k of the weights -= g x; returns its product with the next sample. x and following are offsets in X."""
    lanes, zero = lanes_of(params), params[0] * 0
    minus, sums = vsplat(params, -g), vsplat(params, zero)
    row = w + k * n
    whole = n - n % lanes
    for j in range(0, whole, lanes):
        new = vfma(minus, vload(X, x + j), vload(params, row + j))
        vstore(params, row + j, new)
        sums = vfma(new, vload(X, following + j), sums)
    if whole < n:
        count = n - whole
        new = vfma(minus, vload_first(X, x + whole, count, zero), vload_first(params, row + whole, count, zero))
        vstore_first(params, row + whole, new, count)
        sums = vfma(new, vload_first(X, following + whole, count, zero), sums)
    return vsum(sums)


@helper
def update_and_predict4(params, w, n, k, g, X, x, following, z):
    """The same for the four rows from k on, whose next logits, without the bias, go to z[k:]."""
    lanes, zero = lanes_of(params), params[0] * 0
    m0, m1, m2, m3 = (
        vsplat(params, -g[k]),
        vsplat(params, -g[k + 1]),
        vsplat(params, -g[k + 2]),
        vsplat(params, -g[k + 3]),
    )
    r0 = w + k * n
    r1, r2, r3 = r0 + n, r0 + 2 * n, r0 + 3 * n
    s0 = s1 = s2 = s3 = vsplat(params, zero)
    whole = n - n % lanes
    for j in range(0, whole, lanes):
        a, b = vload(X, x + j), vload(X, following + j)
        w0 = vfma(m0, a, vload(params, r0 + j))
        w1 = vfma(m1, a, vload(params, r1 + j))
        w2 = vfma(m2, a, vload(params, r2 + j))
        w3 = vfma(m3, a, vload(params, r3 + j))
        vstore(params, r0 + j, w0)
        vstore(params, r1 + j, w1)
        vstore(params, r2 + j, w2)
        vstore(params, r3 + j, w3)
        s0, s1, s2, s3 = vfma(w0, b, s0), vfma(w1, b, s1), vfma(w2, b, s2), vfma(w3, b, s3)
    if whole < n:
        count = n - whole
        a, b = vload_first(X, x + whole, count, zero), vload_first(X, following + whole, count, zero)
        w0 = vfma(m0, a, vload_first(params, r0 + whole, count, zero))
        w1 = vfma(m1, a, vload_first(params, r1 + whole, count, zero))
        w2 = vfma(m2, a, vload_first(params, r2 + whole, count, zero))
        w3 = vfma(m3, a, vload_first(params, r3 + whole, count, zero))
        vstore_first(params, r0 + whole, w0, count)
        vstore_first(params, r1 + whole, w1, count)
        vstore_first(params, r2 + whole, w2, count)
        vstore_first(params, r3 + whole, w3, count)
        s0, s1, s2, s3 = vfma(w0, b, s0), vfma(w1, b, s1), vfma(w2, b, s2), vfma(w3, b, s3)
    z[k], z[k + 1], z[k + 2], z[k + 3] = vsum(s0), vsum(s1), vsum(s2), vsum(s3)


@kernel(
    X=IN2, order=INDEX, labels=INDEX, targets=IN1, params=OUT1, layout=TABLE, z=OUT1, g=OUT1, settings=IN1, sigmoid=FLAG,
)  # fmt: skip
def wide(X, order, labels, targets, params, layout, z, g, settings, sigmoid):
    """One pass over the samples of ``order``; z and g are scratch for c numbers."""
    n, c, w, b = layout[0, N_IN], layout[0, N_OUT], layout[0, WEIGHTS], layout[0, BIAS]
    lr, zero = settings[LEARNING_RATE], params[0] * 0
    n_steps = order.shape[0]
    x = order[0] * n
    for k in range(c):
        z[k] = params[b + k] + update_and_predict(params, w, n, k, zero, X, x, x)
    for step in range(n_steps):
        i = order[step]
        following = order[step + 1 if step + 1 < n_steps else 0] * n
        probability_row(z, g, 0, c, sigmoid)
        delta_row(g, g, 0, c, labels[i] if labels.shape[0] else -1, targets, i * c, lr, sigmoid)
        for k in range(0, c - c % 4, 4):
            update_and_predict4(params, w, n, k, g, X, x, following, z)
        for k in range(c - c % 4, c):
            z[k] = update_and_predict(params, w, n, k, g[k], X, x, following)
        for k in range(c):
            params[b + k] -= settings[WITH_BIAS] * g[k]
            z[k] += params[b + k]
        x = following
