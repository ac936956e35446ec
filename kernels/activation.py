"""Activations of hidden layers other than ReLU, and their derivatives; ReLU is part of the products (see ``tile``).

    identity    a = z                       1
    logistic    a = 1 / (1 + e^-z)          a (1 - a)
    tanh        a = tanh z                  1 - a^2

The derivative follows from the activation alone. Both passes are over rows that the products have just written or will read
next, and that are still in the cache.
"""

from .batch import Batch, entry, rows_at
from .codes import IDENTITY, LOGISTIC, N_OUT, RELU
from .dropout import drop_out
from .jit import AT_RECORD, FLAG, INT, inlined, routine
from .simd import at, lanes_of, real, vexp, vload_first, vsplat, vstore_first, vtanh


@inlined
def activate(A, n, activation):
    """A[:n] = logistic or tanh of A[:n]."""
    lanes, zero, one, none = lanes_of(A), real(A, 0.0), vsplat(A, 1.0), vsplat(A, 0.0)
    for i in range(0, n, lanes):
        count = min(lanes, n - i)
        z = vload_first(A, i, count, zero)
        vstore_first(A, i, one / (one + vexp(none - z)) if activation == LOGISTIC else vtanh(z), count)


@inlined
def multiply_by_derivative(D, A, n, activation, kept):
    """D[:n] times the derivative of logistic or tanh, whose values are ``kept`` A[:n]."""
    lanes, zero, one, keep = lanes_of(A), real(A, 0.0), vsplat(A, 1.0), vsplat(A, kept)
    for i in range(0, n, lanes):
        count = min(lanes, n - i)
        a, d = keep * vload_first(A, i, count, zero), vload_first(D, i, count, zero)
        vstore_first(D, i, d * (a * (one - a) if activation == LOGISTIC else one - a * a), count)


@routine(batch=AT_RECORD(Batch), l=INT, r0=INT, r1=INT, back=FLAG, dropping=FLAG)
def through_activation(batch, l, r0, r1, back, dropping):
    """Hidden layer l's activation and dropout, for samples r0 ≤ r < r1 of the batch, after the products have done ReLU.

    Forward, Z is in the place of A. ``back``, D is with respect to A, and becomes D with respect to Z.
    """
    n, dropout, activation = entry(batch.layout, l, N_OUT), batch.settings.dropout, batch.activation
    A, D = at(batch.S, rows_at(1, l, batch) + r0 * n), at(batch.S, rows_at(2, l, batch) + r0 * n)
    curved = activation != RELU and activation != IDENTITY
    if curved and not back:
        activate(A, (r1 - r0) * n, activation)
    if dropping and not (back and activation == RELU):
        drop_out(2 if back else 1, l, r0, r1, batch)
    if curved and back:
        multiply_by_derivative(D, A, (r1 - r0) * n, activation, 1 - dropout if dropping else real(A, 1.0))
