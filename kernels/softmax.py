"""The last layer of every model: probabilities, loss and deltas from logits.

    softmax     p_k = e^(z_k - top) / s,  top = max z,  s = sum e^(z_k - top)    log p_k = z_k - (top + log s)
    sigmoid     p_k = 1 / (1 + e^-z_k),   each class by itself                   log p_k = min(z_k, 0) - log(1 + e^-|z_k|)
    loss        - sum_k t_k log p_k  (softmax)      - sum_k t_k log p_k + (1 - t_k) log(1 - p_k)  (sigmoid)
    delta       (p - t) scale: the gradient of both losses with respect to z

The layer works in a block of scratch for up to ``ld`` samples. The block holds the logits Z, the probabilities P, the deltas
D and the target distributions T. Then come a row of target classes (as floats; used instead of T if there are labels), a row
of losses, a row of sample weights, which multiply losses and deltas, and room for the biases.

With few classes, Z, P, D and T have a row per class and a column per sample, and the lanes of vectors are samples: no lane
is idle, and nothing has to be added up across lanes. With many classes (``in_rows``), they have a row per sample, and the
lanes are classes: a sample's logits then lie side by side, where each of so many rows would be on another page.

The loss of a vanishing probability follows one of three conventions. Its logarithm is clipped to [low, high], as the lab's
linear models clip p; or ``eps`` is added to p, as in the lab's deep MLP; or neither. Whole vectors are stored: ``ld`` is a
multiple of 16, and the columns from the last sample to the end of its vector are padding.
"""

import numpy as np

from .codes import MANY_CLASSES, output_block_size
from .jit import AT, FLAG, INT, REAL, inlined, routine
from .simd import (
    lanes_of,
    real,
    vabs,
    vexp,
    vfirst,
    vhighest,
    vload,
    vload_first,
    vlog,
    vmax,
    vmin,
    vsplat,
    vstore,
    vstore_first,
    vsum,
    vwhere_equal,
)
from .target import TARGET

DOUBLES = TARGET.lanes(8)  # in a vector
block_size = inlined(output_block_size)  # elements of Z, P, D, T, classes, losses, weights and biases


in_rows = inlined(lambda c: c > MANY_CLASSES)  # whether a block has a row per sample


# Offsets of the parts of a block: of Z, P, D and T, of rows of ``ld`` floats each, and of the biases.
logits_at = inlined(lambda block, c, ld: block)
probabilities_at = inlined(lambda block, c, ld: block + c * ld)
deltas_at = inlined(lambda block, c, ld: block + 2 * c * ld)
targets_at = inlined(lambda block, c, ld: block + 3 * c * ld)
classes_at = inlined(lambda block, c, ld: block + 4 * c * ld)
losses_at = inlined(lambda block, c, ld: block + (4 * c + 1) * ld)
weights_at = inlined(lambda block, c, ld: block + (4 * c + 2) * ld)
biases_at = inlined(lambda block, c, ld: block + (4 * c + 3) * ld)


@inlined
def spread_bias(params, bias, S, block, c, ld):
    """Write each of c biases four times in a row into the block: ``matmul.forward`` needs this if its rows are classes."""
    biases = biases_at(block, c, ld)
    if in_rows(c):
        return
    for k in range(c):
        for i in range(4 * k, 4 * k + 4):
            S[biases + i] = params[bias + k]


@inlined
def gather_targets(labels, targets, labelled, order, n_rows, S, block, r0, c, ld):
    """Write the targets of the samples order[:n_rows] into the block, from its sample r0 on."""
    if labelled:
        classes = classes_at(block, c, ld) + r0
        for r in range(n_rows):
            S[classes + r] = labels[order[r]]
    else:
        goals = targets_at(block, c, ld) + r0 * (c if in_rows(c) else 1)
        for r in range(n_rows):
            i = order[r]
            for k in range(c):
                S[goals + (r * c + k if in_rows(c) else k * ld + r)] = targets[i * c + k]


@inlined
def gather_weights(sample_weight, weighted, order, n_rows, S, block, r0, c, ld):
    """Write the weights of the samples order[:n_rows] into the block, from its sample r0 on: 1 each if not ``weighted``."""
    weights = weights_at(block, c, ld) + r0
    for r in range(n_rows):
        S[weights + r] = sample_weight[order[r]] if weighted else 1


@inlined
def target(S, goals, classes, k, ld, labelled, column):
    """The targets of class k for a vector of samples; with ``column``, labels 0 and 1 are the only class's targets."""
    if not labelled:
        return vload(S, goals + k * ld)
    if column:
        return vload(S, classes)
    return vwhere_equal(vload(S, classes), vsplat(S, k), vsplat(S, 1.0))


@inlined
def bounded_log(like, log_p, low, high, eps):
    """Log p within [low, high], or log(p + eps) where eps > 0."""
    bounded = vmin(vmax(log_p, vsplat(like, low)), vsplat(like, high))
    return vlog(vexp(bounded) + vsplat(like, eps)) if eps > 0 else bounded


@inlined
def probabilities(S, z, p, c, ld, sigmoid):
    """Compute P from Z for a vector of samples; return the logarithm of the softmax's denominator (0 for a sigmoid)."""
    one, none = vsplat(S, 1.0), vsplat(S, 0.0)
    if sigmoid:
        for k in range(0, c * ld, ld):
            vstore(S, p + k, one / (one + vexp(none - vload(S, z + k))))
        return none
    top = vload(S, z)
    for k in range(ld, c * ld, ld):
        top = vmax(top, vload(S, z + k))
    total = none
    for k in range(0, c * ld, ld):
        e = vexp(vload(S, z + k) - top)
        total = total + e
        vstore(S, p + k, e)
    inverse = one / total
    for k in range(0, c * ld, ld):
        vstore(S, p + k, vload(S, p + k) * inverse)
    return top + vlog(total)


@inlined
def loss_term(S, logit, p, log_total, goal, sigmoid, low, high, eps):
    """What vectors of logits add to the loss, for the vectors of their targets ``goal``.

    A sigmoid's clipped losses in float64 are what NumPy makes of the rounded probabilities, as the lab and scikit-learn have
    it: where p is near 1, log(1 - p) is that of a multiple of the machine epsilon. Other losses come from the logits.
    """
    none, one = vsplat(S, 0.0), vsplat(S, 1.0)
    if not sigmoid:
        return none - goal * bounded_log(S, logit - log_total, low, high, eps)
    if low > -float("inf") and lanes_of(S) == DOUBLES:
        rounded = vmin(vmax(p, vexp(vsplat(S, low))), vsplat(S, 1 + high))
        return none - (goal * vlog(rounded) + (one - goal) * vlog(one - rounded))
    rest = vlog(one + vexp(none - vabs(logit)))
    log_p = bounded_log(S, vmin(logit, none) - rest, low, high, eps)
    log_q = bounded_log(S, vmin(none - logit, none) - rest, low, high, eps)
    return none - (goal * log_p + (one - goal) * log_q)


@inlined
def sample_losses(S, z, p, log_total, goals, classes, c, ld, labelled, sigmoid, low, high, eps):
    """The losses of a vector of samples."""
    loss = vsplat(S, 0.0)
    if labelled and not sigmoid:
        for k in range(c):
            loss = loss + vwhere_equal(vload(S, classes), vsplat(S, k), vload(S, z + k * ld))
        return vsplat(S, 0.0) - bounded_log(S, loss - log_total, low, high, eps)
    for k in range(c):
        goal = target(S, goals, classes, k, ld, labelled, True)
        loss = loss + loss_term(S, vload(S, z + k * ld), vload(S, p + k * ld), log_total, goal, sigmoid, low, high, eps)
    return loss


@inlined
def layer_of_columns(
    S, block, r0, n_rows, c, ld, labelled, sigmoid, forward, with_loss, backward, low, high, eps, scale
):  # fmt: skip
    """See ``output_layer``, with a column per sample."""
    lanes, zero = lanes_of(S), scale * 0
    for r in range(r0, r0 + n_rows, lanes):
        count = min(lanes, r0 + n_rows - r)
        z, p, d = logits_at(block, c, ld) + r, probabilities_at(block, c, ld) + r, deltas_at(block, c, ld) + r
        goals, classes = targets_at(block, c, ld) + r, classes_at(block, c, ld) + r
        weight = vload(S, weights_at(block, c, ld) + r)
        if forward:
            log_total = probabilities(S, z, p, c, ld, sigmoid)
            if with_loss:
                loss = sample_losses(S, z, p, log_total, goals, classes, c, ld, labelled, sigmoid, low, high, eps)
                vstore(S, losses_at(block, c, ld) + r, vfirst(loss * weight, count, zero))
        if backward:
            factor = weight * vsplat(S, scale)
            for k in range(c):
                goal = target(S, goals, classes, k, ld, labelled, sigmoid)
                vstore(S, d + k * ld, vfirst((vload(S, p + k * ld) - goal) * factor, count, zero))


@inlined
def row_of_probabilities(S, z, p, c, sigmoid):
    """Compute P from Z for one sample; return the logarithm of the softmax's denominator in all lanes (0 for a sigmoid)."""
    lanes, one, none = lanes_of(S), vsplat(S, 1.0), vsplat(S, 0.0)
    zero, lowest = real(S, 0.0), real(S, -np.inf)
    if sigmoid:
        for k in range(0, c, lanes):
            count = min(lanes, c - k)
            vstore_first(S, p + k, one / (one + vexp(none - vload_first(S, z + k, count, zero))), count)
        return none
    highest = vload(S, z)
    for k in range(lanes, c, lanes):
        highest = vmax(highest, vload_first(S, z + k, min(lanes, c - k), lowest))
    top, total = vsplat(S, vhighest(highest)), none
    for k in range(0, c, lanes):
        count = min(lanes, c - k)
        e = vfirst(vexp(vload_first(S, z + k, count, zero) - top), count, zero)
        total = total + e
        vstore_first(S, p + k, e, count)
    sum_of_all = vsplat(S, vsum(total))
    inverse = one / sum_of_all
    for k in range(0, c, lanes):
        count = min(lanes, c - k)
        vstore_first(S, p + k, vload_first(S, p + k, count, zero) * inverse, count)
    return top + vlog(sum_of_all)


@inlined
def layer_of_rows(S, block, r0, n_rows, c, ld, labelled, sigmoid, forward, with_loss, backward, low, high, eps, scale):
    """See ``output_layer``, with a row per sample. Labels are of a softmax: a sigmoid with labels has one class."""
    lanes, zero = lanes_of(S), scale * 0
    weights, classes, losses = weights_at(block, c, ld), classes_at(block, c, ld), losses_at(block, c, ld)
    for r in range(r0, r0 + n_rows):
        z, p, d = (
            logits_at(block, c, ld) + r * c,
            probabilities_at(block, c, ld) + r * c,
            deltas_at(block, c, ld) + r * c,
        )
        goals = targets_at(block, c, ld) + r * c
        if forward:
            log_total = row_of_probabilities(S, z, p, c, sigmoid)
            if with_loss and labelled:
                chosen = vsplat(S, S[z + np.int64(S[classes + r])]) - log_total
                vstore_first(S, losses + r, vsplat(S, -S[weights + r]) * bounded_log(S, chosen, low, high, eps), 1)
            elif with_loss:
                loss = vsplat(S, 0.0)
                for k in range(0, c, lanes):
                    count = min(lanes, c - k)
                    logit, goal = vload_first(S, z + k, count, zero), vload_first(S, goals + k, count, zero)
                    term = loss_term(
                        S, logit, vload_first(S, p + k, count, zero), log_total, goal, sigmoid, low, high, eps
                    )
                    loss = loss + vfirst(term, count, zero)
                S[losses + r] = S[weights + r] * vsum(loss)
        if backward:
            factor = S[weights + r] * scale
            for k in range(0, c, lanes):
                count = min(lanes, c - k)
                probability = vload_first(S, p + k, count, zero)
                goal = vsplat(S, 0.0) if labelled else vload_first(S, goals + k, count, zero)
                vstore_first(S, d + k, (probability - goal) * vsplat(S, factor), count)
            if labelled:
                k = np.int64(S[classes + r])
                S[d + k] = (S[p + k] - 1) * factor
    if with_loss:
        for r in range(r0 + n_rows, (r0 + n_rows + lanes - 1) // lanes * lanes):
            S[losses + r] = 0


@routine(
    S=AT, block=INT, r0=INT, n_rows=INT, c=INT, ld=INT, labelled=FLAG, sigmoid=FLAG, forward=FLAG, with_loss=FLAG,
    backward=FLAG, low=REAL, high=REAL, eps=REAL, scale=REAL,
)  # fmt: skip
def output_layer(
    S, block, r0, n_rows, c, ld, labelled, sigmoid, forward, with_loss, backward, low, high, eps, scale
):  # fmt: skip
    """Probabilities, losses and deltas of the samples r0 ≤ r < r0 + n_rows of the block.

    ``forward`` computes P from Z, ``with_loss`` the losses (only together with ``forward``), ``backward`` D from P. Deltas
    and losses in the padding after the last sample are set to 0.
    """
    if in_rows(c):
        layer_of_rows(
            S, block, r0, n_rows, c, ld, labelled, sigmoid, forward, with_loss, backward, low, high, eps, scale
        )
    else:
        layer_of_columns(
            S, block, r0, n_rows, c, ld, labelled, sigmoid, forward, with_loss, backward, low, high, eps, scale
        )


@inlined
def copy_outputs(S, block, r0, n_rows, c, ld, outputs):
    """Copy the probabilities of the samples r0 ≤ r < r0 + n_rows of the block to rows of ``outputs``."""
    lanes, p = lanes_of(S), probabilities_at(block, c, ld)
    if in_rows(c):
        for i in range(r0 * c, (r0 + n_rows) * c):
            outputs[i] = S[p + i]
        return
    for r in range(r0, r0 + n_rows, lanes):
        count = min(lanes, r0 + n_rows - r)
        for k in range(c):
            for i in range(count):
                outputs[(r + i) * c + k] = S[p + k * ld + r + i]


@inlined
def find_winners(S, block, r0, n_rows, c, ld, winners):
    """Write the class of the largest logit of the samples r0 ≤ r < r0 + n_rows, the first of several.

    It overwrites D. A sample with NaN among its logits gets any class.
    """
    lanes, room = lanes_of(S), deltas_at(block, c, ld)
    if in_rows(c):
        for r in range(r0, r0 + n_rows):
            z, best = logits_at(block, c, ld) + r * c, 0
            for k in range(1, c):
                if S[z + k] > S[z + best]:
                    best = k
            winners[r] = best
        return
    for r in range(r0, r0 + n_rows, lanes):
        z = logits_at(block, c, ld) + r
        top, best = vload(S, z), vsplat(S, 0.0)
        for k in range(1, c):
            top = vmax(top, vload(S, z + k * ld))
        for k in range(c):  # the first class scores c, the last one 1
            best = vmax(best, vwhere_equal(vload(S, z + k * ld), top, vsplat(S, c - k)))
        vstore(S, room + r, best)
        for i in range(min(lanes, r0 + n_rows - r)):
            winners[r + i] = (c - np.int64(S[room + r + i])) % c


@inlined
def total_loss(S, block, n_rows, c, ld):
    """The sum of the first n_rows losses in the block."""
    total, losses = vsplat(S, 0.0), losses_at(block, c, ld)
    for r in range(losses, losses + n_rows, lanes_of(S)):
        total = total + vload(S, r)
    return vsum(total)


@inlined
def bias_gradient(S, block, k, n_rows, c, ld):
    """The sum of the deltas of class k over the first n_rows samples, for a block with a row per class."""
    total, start = vsplat(S, 0.0), deltas_at(block, c, ld) + k * ld
    for r in range(start, start + n_rows, lanes_of(S)):
        total = total + vload(S, r)
    return vsum(total)
