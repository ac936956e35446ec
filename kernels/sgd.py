"""Per-sample stochastic gradient descent for linear models.

    z = W x + b;  g = lr (activation(z) - t);  W -= g x^T;  b -= g        for one sample after the other

Steps can not run in parallel, because each step needs the one before it. So the kernels shorten the chain of operations from
step to step, and a single pass over the weights both applies the update for one sample and predicts for a later one.

``narrow`` and ``narrow4``: few features; classes are the lanes of one vector, of full width or of four lanes. Let u be the
next sample's logits under the *old* weights and s = 1 + x . x'. Its logits under the new weights are

    z' = u - s g = (u + s lr t) - s e r        where  e = e^z,  r = lr / sum e  (softmax),  lr / (1 + e)  (sigmoid)

and e^z' = e^(u + s lr t) e^(-s e r). The first factor does not depend on r. The second has a small argument, so a short
polynomial is enough. Each step then waits for one polynomial, two products, a sum and a division of the step before it.
The maximum of the logits is subtracted before the exponential only if a logit is large enough to need it.

``wide``: any shape; weights (c, n), worked on four classes at a time.
"""

from .codes import BIAS, LOSS_BLOCK, N_IN, N_OUT, WEIGHTS
from .jit import FLAG, IN2, IN64, INDEX, OUT64, inlined
from .kernel import kernel
from .linear import narrow_logits, transpose_block
from .records import ChunkScratch, Model, SampleScratch, Settings, Targets, Theta
from .simd import (
    at,
    lanes_of,
    real,
    vabs,
    vexp,
    vexp_small,
    vfirst,
    vfma,
    vhighest,
    vhot,
    vlane0,
    vload,
    vload4,
    vload4_first,
    vload_first,
    vlog,
    vmax,
    vmin,
    vsplat,
    vsplat4,
    vstore,
    vstore_first,
    vsum,
    vsum4,
    vtotal,
    vwhere_positive,
    vwithin,
)
from .softmax import output_layer, total_loss

FAR = 40.0  # if all logits are within ± this, the maximum need not be subtracted, even in float32
NEAR = 0.34  # exponents within ± this need no range reduction: it is below ln(2)/2


@inlined
def sample_product(X, a, b, n):
    """The dot product of the samples at X[a:] and X[b:]; a and b are offsets in the flattened matrix."""
    lanes, zero = lanes_of(X), X[0, 0] * 0
    whole, total = n - n % lanes, zero
    if whole:
        sums = vsplat(X, 0.0)
        for j in range(0, whole, lanes):
            sums = vfma(vload(X, a + j), vload(X, b + j), sums)
        total = vsum(sums)
    for j in range(whole, n):
        total += vlane0(vload_first(X, a + j, 1, zero)) * vlane0(vload_first(X, b + j, 1, zero))
    return total


def _make_narrow(name, vload, vload_first, vsplat):
    """The narrow kernel for vectors of one width; theta is (n + 1, lanes)."""

    @inlined
    def target_lanes(targets, hot, i, c, lanes):
        """The target of sample i, with classes as lanes; row k of ``hot`` is the target of label k."""
        if targets.labels.shape[0]:
            return vload(hot, targets.labels[i] * lanes)
        return vload_first(targets.distributions, i * c, c, hot[0] * 0)

    @inlined
    def logits_under(theta, X, i, n, lanes):
        """theta[0] + sum_j X[i, j] theta[j + 1]; in four sums, to shorten the chain of dependent additions."""
        s0 = vload(theta, 0)
        s1 = s2 = s3 = vsplat(theta, 0.0)
        row = lanes
        for j in range(0, n - n % 4, 4):
            s0 = vfma(vsplat(theta, X[i, j]), vload(theta, row), s0)
            s1 = vfma(vsplat(theta, X[i, j + 1]), vload(theta, row + lanes), s1)
            s2 = vfma(vsplat(theta, X[i, j + 2]), vload(theta, row + 2 * lanes), s2)
            s3 = vfma(vsplat(theta, X[i, j + 3]), vload(theta, row + 3 * lanes), s3)
            row += 4 * lanes
        for j in range(n - n % 4, n):
            s1 = vfma(vsplat(theta, X[i, j]), vload(theta, row), s1)
            row += lanes
        return (s0 + s2) + (s1 + s3)

    @inlined
    def exponentials(theta, z, c, sigmoid):
        """e^z for the c classes, 0 in the other lanes. Far from 0, z is clipped (sigmoid) or max z subtracted (softmax)."""
        far, zero = vsplat(theta, FAR), theta[0, 0] * 0
        if not vwithin(z, zero + FAR):
            if sigmoid:
                z = vmin(vmax(z, vsplat(theta, -FAR)), far)
            else:
                z = z - vsplat(theta, vhighest(vfirst(z, c, zero - float("inf"))))
        return vfirst(vexp(z), c, zero)

    def narrow(X, order, targets, model, scratch, settings, losses, with_loss):
        """Passes over the samples ``order``, one per entry of ``losses``.

        ``with_loss`` fills ``losses`` with the mean loss before each pass. The scratch is then that of ``linear.narrow``,
        with one block for all samples.
        """
        theta, hot, c, sigmoid = model.theta, model.hot, model.n_classes, model.sigmoid
        labels, S, XT, width = targets.labels, scratch.S, scratch.columns, scratch.width
        (m, n), lanes, zero = X.shape, theta.shape[1], theta[0, 0] * 0
        lr, low, high, with_bias = settings.learning_rate, settings.log_low, settings.log_high, settings.bias_rate
        rate, one = vsplat(theta, lr), vsplat(theta, 1.0)
        if with_loss:
            transpose_block(
                at(X, 0),
                order,
                n,
                labels,
                targets.distributions,
                labels.shape[0] > 0,
                order,
                m,
                at(XT, 0),
                S,
                0,
                c,
                width,
            )
        n_steps = order.shape[0]
        for e in range(losses.shape[0]):
            if with_loss:
                narrow_logits(XT, n, m, at(theta, 0), lanes, S, 0, c, width)
                output_layer(
                    at(S, 0), 0, 0, m, c, width, labels.shape[0] > 0, sigmoid, True, True, False, low, high, 0.0, zero
                )
                losses[e] = total_loss(S, 0, m, c, width) / m
            i = order[0]
            e_z = exponentials(theta, logits_under(theta, X, i, n, lanes), c, sigmoid)
            for step in range(n_steps):
                following = order[step + 1 if step + 1 < n_steps else 0]
                s = with_bias + sample_product(X, i * n, following * n, n)
                t = target_lanes(targets, hot, i, c, lanes) * rate
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
        X=IN2, order=INDEX, targets=Targets, model=Theta, scratch=ChunkScratch, settings=Settings, losses=OUT64,
        with_loss=FLAG,
    )(narrow)  # fmt: skip


narrow = _make_narrow("narrow", vload, vload_first, vsplat)
narrow4 = _make_narrow("narrow4", vload4, vload4_first, vsplat4)


@inlined
def update_and_predict(params, row, n, keep, g, X, old, new):
    """Weights w at ``row`` = keep w - g x for the sample x at X[old:]; returns the new w's product with that at X[new:]."""
    lanes, zero = lanes_of(params), params[0] * 0
    minus, sums, keep = vsplat(params, -g), vsplat(params, zero), vsplat(params, keep)
    whole = n - n % lanes
    for j in range(0, whole, lanes):
        w = vfma(minus, vload(X, old + j), keep * vload(params, row + j))
        vstore(params, row + j, w)
        sums = vfma(w, vload(X, new + j), sums)
    if whole < n:
        count = n - whole
        w = vfma(minus, vload_first(X, old + whole, count, zero), keep * vload_first(params, row + whole, count, zero))
        vstore_first(params, row + whole, w, count)
        sums = vfma(w, vload_first(X, new + whole, count, zero), sums)
    return vsum(sums)


@inlined
def update_and_predict4(params, row, n, keep, g, k, X, old, new):
    """``update_and_predict`` for four rows of weights and g[k : k + 4]; returns the four products as a vector."""
    lanes, zero = lanes_of(params), params[0] * 0
    m0, m1, m2, m3 = (
        vsplat(params, -g[k]),
        vsplat(params, -g[k + 1]),
        vsplat(params, -g[k + 2]),
        vsplat(params, -g[k + 3]),
    )
    keep = vsplat(params, keep)
    r0, r1, r2, r3 = row, row + n, row + 2 * n, row + 3 * n
    s0 = s1 = s2 = s3 = vsplat(params, zero)
    whole = n - n % lanes
    for j in range(0, whole, lanes):
        a, b = vload(X, old + j), vload(X, new + j)
        w0 = vfma(m0, a, keep * vload(params, r0 + j))
        w1 = vfma(m1, a, keep * vload(params, r1 + j))
        w2 = vfma(m2, a, keep * vload(params, r2 + j))
        w3 = vfma(m3, a, keep * vload(params, r3 + j))
        vstore(params, r0 + j, w0)
        vstore(params, r1 + j, w1)
        vstore(params, r2 + j, w2)
        vstore(params, r3 + j, w3)
        s0, s1, s2, s3 = vfma(w0, b, s0), vfma(w1, b, s1), vfma(w2, b, s2), vfma(w3, b, s3)
    if whole < n:
        count = n - whole
        a, b = vload_first(X, old + whole, count, zero), vload_first(X, new + whole, count, zero)
        w0 = vfma(m0, a, keep * vload_first(params, r0 + whole, count, zero))
        w1 = vfma(m1, a, keep * vload_first(params, r1 + whole, count, zero))
        w2 = vfma(m2, a, keep * vload_first(params, r2 + whole, count, zero))
        w3 = vfma(m3, a, keep * vload_first(params, r3 + whole, count, zero))
        vstore_first(params, r0 + whole, w0, count)
        vstore_first(params, r1 + whole, w1, count)
        vstore_first(params, r2 + whole, w2, count)
        vstore_first(params, r3 + whole, w3, count)
        s0, s1, s2, s3 = vfma(w0, b, s0), vfma(w1, b, s1), vfma(w2, b, s2), vfma(w3, b, s3)
    return vsum4(s0, s1, s2, s3)


@inlined
def pass_over(params, w, n, c, keep, g, X, old, new, u):
    """W = keep W - g x^T for the sample at X[old:], and u = W x' for the one at X[new:]."""
    for k in range(0, c - c % 4, 4):
        vstore(u, k, update_and_predict4(params, w + k * n, n, keep, g, k, X, old, new))
    for k in range(c - c % 4, c):
        u[k] = update_and_predict(params, w + k * n, n, keep, g[k], X, old, new)


@inlined
def scaled_delta(z, g, c, label, targets, t0, rate, sigmoid):
    """Fill g with rate (activation(z) - target). z and g are padded to whole vectors; g's padding becomes 0.

    If label ≥ 0, returns (a, b) of the loss a + log(b). Otherwise the target is the distribution at targets[t0:].
    """
    lanes, zero = lanes_of(z), z[0] * 0
    one, none, rates, total = vsplat(z, 1.0), vsplat(z, 0.0), vsplat(z, rate), vsplat(z, 0.0)
    if sigmoid:
        a, b = max(z[0], zero) - (z[0] if label > 0 else zero), zero
        for k in range(0, c, lanes):
            logit = vload(z, k)
            e = vexp(none - vabs(logit))  # p = 1 / (1 + e) if z > 0, else e / (1 + e)
            inverse = one / (one + e)
            other = e * inverse
            vstore(g, k, other + vwhere_positive(logit, inverse - other))
            b = vlane0(one + e) if k == 0 else b
        scale = rates
    else:
        lowest = zero - float("inf")
        top = vfirst(vload(z, 0), min(lanes, c), lowest)
        for k in range(lanes, c, lanes):
            top = vmax(top, vfirst(vload(z, k), min(lanes, c - k), lowest))
        high = vhighest(top)
        highest = vsplat(z, high)
        for k in range(0, c, lanes):
            e = vfirst(vexp(vload(z, k) - highest), min(lanes, c - k), zero)
            total = total + e
            vstore(g, k, e)
        total = vtotal(total)
        scale = rates / total
        a, b = high - z[max(label, 0)], vlane0(total)
    for k in range(0, c, lanes):
        count = min(lanes, c - k)
        t = vhot(z, label - k) if label >= 0 and not (sigmoid and label == 0) else none
        if sigmoid and label > 0:
            t = one
        if label < 0:
            t = vload_first(targets, t0 + k, count, zero)
        vstore(g, k, vfirst(vload(g, k) * scale - t * rates, count, zero))
    return a, b


# Each sample's loss needs a logarithm. Logarithms are computed in vectors, for a block of samples at once.


@inlined
def keep_loss(terms, i, b, weight):
    """Store b and the weight of loss term i, weight log(b); returns the sum of a block of terms when it is full, else 0."""
    j = i % LOSS_BLOCK
    terms[j], terms[LOSS_BLOCK + j] = b, weight
    return sum_of_losses(terms, LOSS_BLOCK) if j == LOSS_BLOCK - 1 else 0.0


@inlined
def sum_of_losses(terms, count):
    """The sum of the first ``count`` loss terms in ``terms``."""
    total, lanes = vsplat(terms, 0.0), lanes_of(terms)
    for j in range(0, count, lanes):
        loss = vload(terms, LOSS_BLOCK + j) * vlog(vload(terms, j))
        total = total + vfirst(loss, min(lanes, count - j), terms[0] * 0)
    return vsum(total)


@kernel(
    X=IN2, order=INDEX, targets=Targets, rates=IN64, model=Model, scratch=SampleScratch, settings=Settings, losses=OUT64
)  # fmt: skip
def wide(X, order, targets, rates, model, scratch, settings, losses):
    """One pass over the samples ``order``, for any shape: the model is a network of one layer.

    At each step, one pass over the weights applies the update of the previous sample and multiplies by the next sample.
    The pass does not need the current sample's gradient, so the processor overlaps it with that gradient's exponentials.

    ``rates`` has a learning rate per step; if it is empty, all steps use that of the settings. Each step multiplies weights
    by 1 - rate l2. If ``losses`` is not empty, losses[0] is the sum of the losses before each step, which needs labels.
    """
    params, layout, labels, weights = model.params, model.layout, targets.labels, targets.weights
    z, u, g, terms = scratch.z, scratch.u, scratch.g, scratch.terms
    n, c, w, bias = layout[0, N_IN], layout[0, N_OUT], layout[0, WEIGHTS], layout[0, BIAS]
    lanes, with_bias, l2, one = lanes_of(params), settings.bias_rate, settings.l2, params[0] * 0 + 1
    n_steps, with_loss, total, lr, keep = order.shape[0], losses.shape[0] > 0, 0.0, settings.learning_rate, one
    old = new = order[0] * n
    for k in range(c):
        g[k] = 0  # the first pass has no update to apply
    pass_over(params, w, n, c, keep, g, X, old, new, u)
    for k in range(0, c, lanes):
        vstore(z, k, vload(u, k) + vload(params, bias + k))
    for step in range(n_steps):
        i = order[step]
        new = order[step + 1 if step + 1 < n_steps else 0] * n
        pass_over(params, w, n, c, keep, g, X, old, new, u)
        if rates.shape[0]:
            lr = real(params, rates[step])
        weight, label = weights[i] if weights.shape[0] else one, labels[i] if labels.shape[0] else -1
        a, b = scaled_delta(z, g, c, label, targets.distributions, i * c, lr * weight, model.sigmoid)
        if with_loss:
            total += weight * a + keep_loss(terms, step, b, weight)
        keep = max(one - lr * l2, one - one)
        old = i * n
        s, keeps = vsplat(params, -(with_bias + sample_product(X, old, new, n))), vsplat(params, keep)
        for k in range(0, c, lanes):
            x, delta = vload(params, bias + k), vload(g, k)
            vstore(z, k, vfma(s, delta, vfma(keeps, vload(u, k), x)))
            vstore(params, bias + k, vfma(vsplat(params, -with_bias), delta, x))
    pass_over(params, w, n, c, keep, g, X, old, old, u)
    if with_loss:
        losses[0] = total + sum_of_losses(terms, n_steps % LOSS_BLOCK)
