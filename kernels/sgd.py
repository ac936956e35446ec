"""Per-sample stochastic gradient descent for linear models.

    z = W x + b;  g = lr (activation(z) - t);  W -= g x^T;  b -= g        for one sample after the other

Nothing here can run beside anything else: every step needs the one before it. What can be had is that a step waits for
as little as possible. Both kernels let the update by a sample and the prediction for the next share one pass over the
weights.

``narrow`` and ``narrow4``: few features, classes as the lanes of one vector, of the full width or of four lanes. With u
the next sample's logits under the *old* weights and s = 1 + x . x', its logits under the new ones are

    z' = u - s g = (u + s lr t) - s e r        where  e = e^z,  r = lr / sum e  (softmax),  lr / (1 + e)  (sigmoid)

and e^z' = e^(u + s lr t) e^(-s e r): everything but the last factor is known before r is, and as its argument is small, it
is a short polynomial. From one step to the next there are a polynomial, two products, a sum and a division. Exponentials
are taken without subtracting the maximum, unless a logit is so large that it is needed.

``wide``: any shape, weights (c, n), four classes at a time.
"""

from .jit import FLAG, IN1, IN2, INDEX, INT, OUT1, OUT2, OUT64, TABLE, helper, kernel
from .linear import narrow_block, transpose_block
from .mlp import BIAS, LEARNING_RATE, LOG_HIGH, LOG_LOW, N_IN, N_OUT, WEIGHTS, WITH_BIAS
from .simd import (
    lanes_of,
    vexp,
    vexp_small,
    vfirst,
    vfma,
    vhighest,
    vload,
    vload4,
    vload4_first,
    vload_first,
    vmax,
    vmin,
    vsplat,
    vsplat4,
    vstore,
    vstore_first,
    vsum,
    vtotal,
    vwithin,
)
from .softmax import delta_row, probability_row

FAR = 40.0  # logits within this need no maximum subtracted, in float32 either
NEAR = 0.34  # exponents within this need no reduction of their range: below ln(2)/2


def _make_narrow(name, vload, vload_first, vsplat):
    """The narrow kernel for vectors of one width; theta (n + 1, lanes)."""

    @helper
    def target_lanes(labels, targets, hot, i, c, lanes):
        """The target of sample i as lanes; ``hot`` has for every label a row with a one in its place."""
        if labels.shape[0]:
            return vload(hot, labels[i] * lanes)
        return vload_first(targets, i * c, c, targets[0] * 0)

    @helper
    def logits_under(theta, X, i, n, lanes):
        """theta[0] + sum_j X[i, j] theta[j + 1]; two sums, to halve the wait."""
        odd, even = vload(theta, 0), vsplat(theta, 0.0)
        for j in range(0, n - 1, 2):
            odd = vfma(vsplat(theta, X[i, j]), vload(theta, (j + 1) * lanes), odd)
            even = vfma(vsplat(theta, X[i, j + 1]), vload(theta, (j + 2) * lanes), even)
        if n % 2:
            odd = vfma(vsplat(theta, X[i, n - 1]), vload(theta, n * lanes), odd)
        return odd + even

    @helper
    def exponentials(theta, z, c, sigmoid):
        """e^z in the lanes of classes, 0 in the others, scaled by a common factor where a logit is far from 0."""
        far, zero = vsplat(theta, FAR), theta[0, 0] * 0
        if not vwithin(z, zero + FAR):
            if sigmoid:
                z = vmin(vmax(z, vsplat(theta, -FAR)), far)
            else:
                z = z - vsplat(theta, vhighest(vfirst(z, c, zero - float("inf"))))
        return vfirst(vexp(z), c, zero)

    def narrow(X, order, labels, targets, hot, theta, XT, T, Z, D, losses, settings, c, repeats, with_loss, sigmoid):
        """``repeats`` passes over the samples of ``order``; with_loss: losses[i] is the mean loss of X before pass i.

        theta (n + 1, lanes), zeros past c; XT, T, Z and D as in ``linear.narrow``, for one block.
        """
        (m, n), width, lanes = X.shape, XT.shape[1], theta.shape[1]
        zero = theta[0, 0] * 0
        lr, low, high, with_bias = settings[LEARNING_RATE], settings[LOG_LOW], settings[LOG_HIGH], settings[WITH_BIAS]
        rate, one = vsplat(theta, lr), vsplat(theta, 1.0)
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
            e_z = exponentials(theta, logits_under(theta, X, i, n, lanes), c, sigmoid)
            for step in range(n_steps):
                following = order[step + 1 if step + 1 < n_steps else 0]
                s = with_bias
                for j in range(n):
                    s += X[i, j] * X[following, j]
                t = target_lanes(labels, targets, hot, i, c, lanes) * rate
                ahead = vfma(vsplat(theta, s), t, logits_under(theta, X, following, n, lanes))
                r = rate / (one + e_z if sigmoid else vtotal(e_z))
                g = e_z * r - t
                back = (vsplat(theta, -s) * e_z) * r
                if abs(s) * lr <= NEAR and vwithin(ahead, zero + FAR - 1):
                    e_z = vfirst(vexp(ahead), c, zero) * vexp_small(back)
                else:
                    e_z = exponentials(theta, ahead + back, c, sigmoid)
                vstore(theta, 0, vfma(vsplat(theta, -with_bias), g, vload(theta, 0)))
                for j in range(n):
                    row = (j + 1) * lanes
                    vstore(theta, row, vfma(vsplat(theta, -X[i, j]), g, vload(theta, row)))
                i = following

    narrow.__name__ = name
    return kernel(
        X=IN2, order=INDEX, labels=INDEX, targets=IN1, hot=IN1, theta=OUT2, XT=OUT2, T=OUT2, Z=OUT2, D=OUT2,
        losses=OUT64, settings=IN1, c=INT, repeats=INT, with_loss=FLAG, sigmoid=FLAG,
    )(narrow)  # fmt: skip


narrow = _make_narrow("narrow", vload, vload_first, vsplat)
narrow4 = _make_narrow("narrow4", vload4, vload4_first, vsplat4)


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
