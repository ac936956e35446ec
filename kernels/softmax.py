"""From logits to probabilities, loss and deltas: the last layer of every model, with samples as the lanes of vectors.

    softmax     p_k = e^(z_k - top) / s,  top = max z,  s = sum e^(z_k - top)    log p_k = z_k - (top + log s)
    sigmoid     p_k = 1 / (1 + e^-z_k),   each class by itself                   log p_k = min(z_k, 0) - log(1 + e^-|z_k|)
    loss        - sum_k t_k log p_k  (softmax)      - sum_k t_k log p_k + (1 - t_k) log(1 - p_k)  (sigmoid)
    delta       (p - t) scale: the gradient of both losses with respect to z

Z, P and D hold one row per class and one column per sample, rows ``ld`` apart. Targets t are class numbers, written as
floating-point numbers into ``classes``, or distributions laid out like Z in ``T``. Three conventions for a vanishing
probability are told apart by numbers: its logarithm is brought into [low, high] (the lab's linear models clip p), or p has
``eps`` added (the lab's deep MLP), or neither.

Whole vectors are stored: columns after the last sample, up to a whole vector, must belong to nobody else.
"""

from .jit import helper, inlined
from .simd import (
    lanes_of,
    vabs,
    vexp,
    vfirst,
    vload,
    vlog,
    vmax,
    vmin,
    vsplat,
    vstore,
    vsum,
    vwhere_equal,
)


@inlined
def gather_targets(labels, targets, order, p0, n_rows, c, T, t0, classes, c0, ld):
    """The targets of the samples order[p0 : p0 + n_rows], as ``output_layer`` reads them."""
    if labels.shape[0]:
        for r in range(n_rows):
            classes[c0 + r] = labels[order[p0 + r]]
    else:
        for r in range(n_rows):
            i = order[p0 + r]
            for k in range(c):
                T[t0 + k * ld + r] = targets[i * c + k]


@inlined
def target(k, T, t, classes, s, ld, labelled, column):
    """The targets of class k for a vector of samples; ``column`` where they are one column of two classes."""
    if not labelled:
        return vload(T, t + k * ld)
    if column:
        return vload(classes, s)
    return vwhere_equal(vload(classes, s), vsplat(T, k), vsplat(T, 1.0))


@inlined
def bounded_log(like, log_p, low, high, eps):
    """Log p within [low, high], or log(p + eps) where eps > 0."""
    bounded = vmin(vmax(log_p, vsplat(like, low)), vsplat(like, high))
    return vlog(vexp(bounded) + vsplat(like, eps)) if eps > 0 else bounded


@inlined
def probabilities(Z, P, z, c, ld, sigmoid):
    """P from Z for a vector of samples; returns the logarithm of the softmax's denominator."""
    one, none = vsplat(Z, 1.0), vsplat(Z, 0.0)
    if sigmoid:
        for k in range(z, z + c * ld, ld):
            vstore(P, k, one / (one + vexp(none - vload(Z, k))))
        return none
    top = vload(Z, z)
    for k in range(z + ld, z + c * ld, ld):
        top = vmax(top, vload(Z, k))
    total = none
    for k in range(z, z + c * ld, ld):
        e = vexp(vload(Z, k) - top)
        total = total + e
        vstore(P, k, e)
    inverse = one / total
    for k in range(z, z + c * ld, ld):
        vstore(P, k, vload(P, k) * inverse)
    return top + vlog(total)


@inlined
def sample_losses(Z, z, log_total, T, t, classes, s, c, ld, labelled, sigmoid, low, high, eps):
    """The losses of a vector of samples."""
    none, one = vsplat(Z, 0.0), vsplat(Z, 1.0)
    loss = none
    if labelled and not sigmoid:
        chosen = none
        for k in range(c):
            chosen = chosen + vwhere_equal(vload(classes, s), vsplat(Z, k), vload(Z, z + k * ld))
        return none - bounded_log(Z, chosen - log_total, low, high, eps)
    for k in range(c):
        logit, goal = vload(Z, z + k * ld), target(k, T, t, classes, s, ld, labelled, True)
        if sigmoid:
            rest = vlog(one + vexp(none - vabs(logit)))
            log_p = bounded_log(Z, vmin(logit, none) - rest, low, high, eps)
            log_q = bounded_log(Z, vmin(none - logit, none) - rest, low, high, eps)
            loss = loss - (goal * log_p + (one - goal) * log_q)
        else:
            loss = loss - goal * bounded_log(Z, logit - log_total, low, high, eps)
    return loss


@helper
def output_layer(
    Z, P, D, z0, T, t0, classes, losses, s0, c, ld, n_rows, labelled, sigmoid, forward, with_loss, backward,
    low, high, eps, scale,
):  # fmt: skip
    """Probabilities, losses and deltas of n_rows samples, as ``forward``, ``with_loss`` and ``backward`` ask.

    Their first column is at z0 of Z, P and D, at t0 of T, at s0 of ``classes`` and ``losses``. Deltas and losses past
    the last sample, up to a whole vector, are 0.
    """
    lanes, factor, zero = lanes_of(Z), vsplat(Z, scale), scale * 0
    for r in range(0, n_rows, lanes):
        z, t, s, count = z0 + r, t0 + r, s0 + r, min(lanes, n_rows - r)
        if forward:
            log_total = probabilities(Z, P, z, c, ld, sigmoid)
            if with_loss:
                loss = sample_losses(Z, z, log_total, T, t, classes, s, c, ld, labelled, sigmoid, low, high, eps)
                vstore(losses, s, vfirst(loss, count, zero))
        if backward:
            for k in range(c):
                goal = target(k, T, t, classes, s, ld, labelled, sigmoid)
                delta = (vload(P, z + k * ld) - goal) * factor
                vstore(D, z + k * ld, vfirst(delta, count, zero))


@inlined
def total_loss(losses, s0, n_rows):
    """The sum of the losses that ``output_layer`` stored at s0."""
    total = vsplat(losses, 0.0)
    for s in range(s0, s0 + n_rows, lanes_of(losses)):
        total = total + vload(losses, s)
    return vsum(total)
