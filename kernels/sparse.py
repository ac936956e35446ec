"""Per-sample stochastic gradient descent over rows of (feature, value) pairs: CSR matrices, and also dense rows if there is
an L1 penalty or an average, which ``sgd.wide`` lacks.

    z = W x + b;  g = rate weight (activation(z) - t);  W = (1 - rate l2) W - g x^T;  b -= intercept_decay g

A step touches only the features of its sample. So W is kept as a factor times a matrix, with a row per feature and classes
as lanes, and the L2 decay only multiplies the factor (Bottou, 2010). The L1 penalty is cumulative (Tsuruoka, Tsujii and
Ananiadou, 2009): when a feature next occurs, its weights are shrunk by the penalty missed since. The average of all iterates
is kept as (A + a W) / b with scalars a and b (Xu, 2011). The method is that of scikit-learn's SGDClassifier for two classes,
except that the average is of the shrunk weights.
"""

from .codes import AVERAGE_A, AVERAGE_B, FACTOR, ITERATES, L1_SUM, LOSS_BLOCK
from .jit import IN64, INDEX, OUT64, inlined
from .kernel import kernel
from .records import LazyModel, PairRows, SampleScratch, Settings, Targets
from .sgd import keep_loss, scaled_delta, sum_of_losses
from .simd import at, lanes_of, real, vfma, vload, vmax, vmin, vsplat, vstore, vwhere_positive

SMALLEST_FACTOR = 1e-9  # below this, the factor is multiplied into the weights


@inlined
def products(values, features, count, W, ldw, z, n_lanes, factor, bias):
    """z[k] = factor sum_j values[j] W[features[j], k] + bias[k]."""
    lanes = lanes_of(W)
    if n_lanes == 1:
        a = b = c = d = real(W, 0.0)
        for j in range(0, count - 3, 4):
            a += values[j] * W[features[j]]
            b += values[j + 1] * W[features[j + 1]]
            c += values[j + 2] * W[features[j + 2]]
            d += values[j + 3] * W[features[j + 3]]
        for j in range(count - count % 4, count):
            a += values[j] * W[features[j]]
        z[0] = factor * ((a + b) + (c + d)) + bias[0]
        return
    for k in range(0, n_lanes, lanes):
        even = odd = vsplat(W, 0.0)
        for j in range(0, count - 1, 2):
            even = vfma(vsplat(W, values[j]), vload(W, features[j] * ldw + k), even)
            odd = vfma(vsplat(W, values[j + 1]), vload(W, features[j + 1] * ldw + k), odd)
        if count % 2:
            even = vfma(vsplat(W, values[count - 1]), vload(W, features[count - 1] * ldw + k), even)
        vstore(z, k, vfma(vsplat(W, factor), even + odd, vload(bias, k)))


@inlined
def add(values, features, count, A, ldw, g, n_lanes, factor):
    """A[features[j], k] -= factor values[j] g[k]."""
    lanes = lanes_of(A)
    if n_lanes == 1:
        change = factor * g[0]
        for j in range(count):
            A[features[j]] -= change * values[j]
        return
    for k in range(0, n_lanes, lanes):
        change = vsplat(A, -factor) * vload(g, k)
        for j in range(count):
            i = features[j] * ldw + k
            vstore(A, i, vfma(vsplat(A, values[j]), change, vload(A, i)))


@inlined
def shrink(features, count, W, Q, A, ldw, n_lanes, factor, total, average_a, with_average):
    """Shrink the features' weights by the L1 penalty they missed: ``total`` is due so far, Q (signed) is applied so far.

    A is changed such that the average, (A + a W) / b, stays the same.
    """
    lanes = lanes_of(W)
    for j in range(count):
        first = features[j] * ldw
        if n_lanes == 1:
            w, missed = W[first], Q[first]
            new = w
            if w > 0:
                new = max(w - (total + missed) / factor, w * 0)
            elif w < 0:
                new = min(w + (total - missed) / factor, w * 0)
            W[first] = new
            Q[first] = missed + factor * (new - w)
            if with_average:
                A[first] -= average_a * (new - w)
        else:
            none, inverse, every = vsplat(W, 0.0), vsplat(W, 1 / factor), vsplat(W, total)
            for k in range(first, first + n_lanes, lanes):
                w, missed = vload(W, k), vload(Q, k)
                above, below = vmax(w - (every + missed) * inverse, none), vmin(w + (every - missed) * inverse, none)
                change = vwhere_positive(w, above) + vwhere_positive(none - w, below) - w
                vstore(W, k, w + change)
                vstore(Q, k, vfma(vsplat(W, factor), change, missed))
                if with_average:
                    vstore(A, k, vfma(vsplat(W, -average_a), change, vload(A, k)))


@inlined
def multiply_in(W, A, scales):
    """Apply the scales to W and A, which then are the weights and the average themselves, and reset the scales."""
    for i in range(W.size):
        if A.size:
            A[i] = (A[i] + scales[AVERAGE_A] * W[i]) / scales[AVERAGE_B]
        W[i] *= scales[FACTOR]
    scales[FACTOR], scales[AVERAGE_A], scales[AVERAGE_B] = 1, 0, 1


@kernel(
    rows=PairRows, order=INDEX, targets=Targets, rates=IN64, model=LazyModel, scratch=SampleScratch, settings=Settings,
    losses=OUT64,
)  # fmt: skip
def sgd(rows, order, targets, rates, model, scratch, settings, losses):
    """One pass over the rows ``order``; losses[0] is the sum of their losses, each before its step.

    Q, for the L1 penalty, and A, the average, may be empty. Before and after a call, W and A are the weights and the average
    themselves. scales[ITERATES] counts the iterates in the average; if it is -k, k steps come before the first of these.
    """
    W, bias, A, scales, c = model.W, model.bias, model.A, model.scales, model.n_classes
    z, g, terms, weights, dense = scratch.z, scratch.g, scratch.terms, targets.weights, rows.dense
    ldw, one = W.shape[1], real(W, 1.0)
    n_lanes, with_bias, l2, l1, total = ldw, settings.bias_rate, settings.l2, settings.l1, 0.0
    n_steps, with_average = order.shape[0], A.shape[0] > 0
    w, q, average = at(W, 0), at(model.Q, 0), at(A, 0)
    for step in range(n_steps):
        i = order[step]
        first, count = rows.starts[i], rows.starts[i + 1] - rows.starts[i]
        x, columns = at(rows.values, first), at(rows.features, 0 if dense else first)
        products(x, columns, count, w, ldw, z, n_lanes, real(W, scales[FACTOR]), at(bias, 0))
        rate, weight = rates[step], weights[i] if weights.shape[0] else one
        a, b = scaled_delta(z, g, c, targets.labels[i], rows.values, 0, real(W, rate) * weight, model.sigmoid)
        total += weight * a + keep_loss(terms, step, b, weight)
        scales[FACTOR] *= max(0.0, 1 - rate * l2)
        if scales[FACTOR] < SMALLEST_FACTOR:
            multiply_in(W.reshape(-1), A.reshape(-1), scales)
        factor = scales[FACTOR]
        add(x, columns, count, w, ldw, at(g, 0), n_lanes, real(W, 1 / factor))
        for k in range(c):
            bias[k] -= with_bias * model.intercept_decay * g[k]
        average_a = real(W, scales[AVERAGE_A])
        if with_average:
            add(x, columns, count, average, ldw, at(g, 0), n_lanes, -average_a / real(W, factor))
        if l1 > 0:
            scales[L1_SUM] += rate * l1
            shrink(
                columns, count, w, q, average, ldw, n_lanes, real(W, factor), real(W, scales[L1_SUM]), average_a,
                with_average,
            )  # fmt: skip
        scales[ITERATES] += 1
        iterates = scales[ITERATES]
        if with_average and iterates > 0:
            if iterates > 1:
                scales[AVERAGE_B] /= 1 - 1 / iterates
            scales[AVERAGE_A] += scales[AVERAGE_B] * factor / iterates
            for k in range(c):
                model.average_bias[k] += (bias[k] - model.average_bias[k]) / iterates
    multiply_in(W.reshape(-1), A.reshape(-1), scales)
    losses[0] = total + sum_of_losses(terms, n_steps % LOSS_BLOCK)
