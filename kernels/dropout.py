"""Inverted dropout of hidden units (Srivastava et al., 2014): in training, kept units are multiplied by 1 / (1 - p).

Whether a unit is kept depends on a hash of the step's seed, the layer, the sample's position in the batch and the unit. So
threads share no generator, and the result does not depend on their number.
"""

import numpy as np

from .batch import entry, rows_at
from .codes import N_OUT
from .jit import inlined


@inlined
def scrambled(x):
    """The bits of x, mixed: the finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inlined
def drop_out(buffer, l, r0, r1, batch):
    """Zero some of hidden layer l's A (buffer 1) or D (2) for samples r0 ≤ r < r1 of the batch, and scale up the others."""
    p, n_out = batch.settings.dropout, entry(batch.layout, l, N_OUT)
    start, larger = rows_at(buffer, l, batch), 1 / (1 - p)
    limit = np.uint64(np.float64(p) * 4294967296.0)
    key = scrambled(np.uint64(batch.seed) + np.uint64(l) * np.uint64(0x9E3779B97F4A7C15))
    for i in range(r0 * n_out, r1 * n_out):
        high = scrambled(key + np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        batch.S[start + i] = batch.S[start + i] * larger if high >= limit else batch.S[start + i] * 0
