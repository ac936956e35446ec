"""From logits to probabilities, loss and delta: the last layer of every model, one sample at a time.

    softmax     p_k = e^(z_k - top) / s,  top = max z,  s = sum e^(z_k - top)      log p_k = z_k - (top + log s)
    sigmoid     p_k = 1 / (1 + e^-z_k),   each column by itself                    log p_k = min(z_k, 0) - log(1 + e^-|z_k|)
    loss        - sum_k t_k log p_k    (softmax)     - sum_k t_k log p_k + (1 - t_k) log(1 - p_k)    (sigmoid)
    delta       (p - t) scale, the gradient of both losses with respect to z

The target t of a sample is a class index (``label``) or a row of a matrix; both go through the same code. Three
conventions for a vanishing probability are told apart by ``LossRule``: its logarithm can be bounded on both sides
(the lab's linear models clip p), p can have a small number added (the lab's deep MLP), or neither.

One row of classes is a few vectors, the last one partial; lanes past the end hold -inf, whose exponential is 0.
"""

from .jit import helper
from .simd import (
    lanes_of,
    vabs,
    vexp,
    vfirst,
    vhighest,
    vlane0,
    vload_first,
    vlog,
    vmax,
    vmin,
    vsplat,
    vstore_first,
    vsum,
)


@helper
def scalar_log(like, x):
    """log(x) in the element type of the array ``like``."""
    return vlane0(vlog(vsplat(like, x)))


@helper
def scalar_exp(like, x):
    """e^x in the element type of the array ``like``."""
    return vlane0(vexp(vsplat(like, x)))


@helper
def probability_row(Z, P, start, c, sigmoid):
    """P = softmax or sigmoid of the c logits at Z[start:]; returns the log of the softmax's denominator.

    Z and P may be one array.
    """
    lanes, zero = lanes_of(Z), P[start] * 0
    lowest = zero - float("inf")
    one = vsplat(Z, 1.0)
    if sigmoid:
        for k in range(0, c, lanes):
            count = min(lanes, c - k)
            z = vload_first(Z, start + k, count, zero)
            vstore_first(P, start + k, one / (one + vexp(vsplat(Z, 0.0) - z)), count)
        return zero
    top = vload_first(Z, start, min(lanes, c), lowest)
    for k in range(lanes, c, lanes):
        top = vmax(top, vload_first(Z, start + k, min(lanes, c - k), lowest))
    highest = vhighest(top)
    total = vsplat(Z, 0.0)
    for k in range(0, c, lanes):
        count = min(lanes, c - k)
        e = vexp(vload_first(Z, start + k, count, lowest) - vsplat(Z, highest))
        total = total + e
        vstore_first(P, start + k, e, count)
    s = vsum(total)
    inverse = vsplat(Z, 1.0 / s)
    for k in range(0, c, lanes):
        count = min(lanes, c - k)
        vstore_first(P, start + k, vload_first(P, start + k, count, zero) * inverse, count)
    return highest + scalar_log(Z, s)


@helper
def bounded_log(like, log_p, low, high, eps):
    """Log p under a loss rule, a vector: within [low, high], or log(p + eps) where eps > 0."""
    bounded = vmin(vmax(log_p, vsplat(like, low)), vsplat(like, high))
    return vlog(vexp(bounded) + vsplat(like, eps)) if eps > 0 else bounded


@helper
def loss_row(Z, start, c, label, T, t_start, log_total, sigmoid, low, high, eps):
    """The loss of one sample. Its target is the class ``label``, or where that is negative, the row at T[t_start:]."""
    if label >= 0 and not sigmoid:
        return -vlane0(bounded_log(Z, vsplat(Z, Z[start + label] - log_total), low, high, eps))
    lanes, zero = lanes_of(Z), Z[start] * 0
    one, none = vsplat(Z, 1.0), vsplat(Z, 0.0)
    total = none
    for k in range(0, c, lanes):
        count = min(lanes, c - k)
        z = vload_first(Z, start + k, count, zero)
        if label >= 0:  # one column of two classes
            t = vsplat(Z, float(label))
        else:
            t = vload_first(T, t_start + k, count, zero)
        if sigmoid:
            rest = vlog(one + vexp(none - vabs(z)))
            log_p = bounded_log(Z, vmin(z, none) - rest, low, high, eps)
            log_q = bounded_log(Z, vmin(none - z, none) - rest, low, high, eps)
            term = t * log_p + (one - t) * log_q
        else:
            term = t * bounded_log(Z, z - vsplat(Z, log_total), low, high, eps)
        total = total + vfirst(term, count, zero)
    return -vsum(total)


@helper
def delta_row(P, D, start, c, label, T, t_start, scale, sigmoid):
    """D = (P - target) scale for the sample whose probabilities are at P[start:]."""
    lanes, zero, factor = lanes_of(P), P[start] * 0, vsplat(P, scale)
    p_label = P[start + (0 if sigmoid else label)] if label >= 0 else zero  # read first: P and D may be one array
    for k in range(0, c, lanes):
        count = min(lanes, c - k)
        p = vload_first(P, start + k, count, zero)
        if label < 0:
            p = p - vload_first(T, t_start + k, count, zero)
        vstore_first(D, start + k, p * factor, count)
    if label >= 0:
        if sigmoid:
            D[start] = (p_label - label) * scale
        else:
            D[start + label] = (p_label - 1) * scale
