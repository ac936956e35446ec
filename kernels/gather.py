"""Rows of samples, from how they are stored to numbers.

Samples are stored as numbers of the element type, X, or else ``raw``, as bytes, float32 or float64 numbers of whatever
alignment. A byte stands for the number in its place of ``table``: so any scale costs the same, and is rounded once.

A raw sample may be an image whose pixels have several ``channels``, one after the other (height, width, channel). As a
row of numbers it has a plane for each (channel, height, width), which is what torch makes of an image.
"""

from collections import namedtuple

from numba import types

from .codes import BYTES, FLOATS, SINGLE
from .jit import (
    AT,
    AT_BYTES,
    AT_INDEX,
    BYTES2,
    IN1,
    IN2,
    INDEX,
    INT,
    OUT2,
    in_shares,
    inlined,
    kernel,
    routine,
    share,
)
from .simd import at, double_at, single_at

FIELDS = {
    "X": AT,
    "raw": AT_BYTES,
    "table": AT,
    "stored": INT,
    "n": INT,  # numbers in a sample
    "channels": INT,
}
Source = namedtuple("Source", FIELDS)


def SOURCE(element):
    """The type of a Source, a parameter of routines."""
    return types.NamedTuple(tuple(spec(element) for spec in FIELDS.values()), Source)


@routine(source=SOURCE, order=AT_INDEX, m=INT, X=AT)
def to_numbers(source, order, m, X):
    """X (m, n) = the samples ``order`` of raw."""
    n, channels, raw, table = source.n, source.channels, source.raw, source.table
    pixels = n // channels
    for r in range(m):
        for channel in range(channels):
            first, to = order[r] * n + channel, r * n + channel * pixels
            if source.stored == BYTES:
                for p in range(pixels):
                    X[to + p] = table[raw[first + p * channels]]
            elif source.stored == SINGLE:
                for p in range(pixels):
                    X[to + p] = single_at(raw, first + p * channels)
            else:
                for p in range(pixels):
                    X[to + p] = double_at(raw, first + p * channels)


@in_shares(source=SOURCE, order=AT_INDEX, m=INT, X=AT)
def to_numbers_in_shares(source, order, m, X, q, workers):
    """Worker q's rows of the same."""
    first, end = share(m, q, workers)
    to_numbers(source, at(order, first), end - first, at(X, first * source.n))


@inlined
def rows_of(source, order, r0, n_rows, iota, room):
    """Where the samples order[r0 : r0 + n_rows] are, as numbers: an address, and the rows' numbers there.

    Raw ones are made numbers in ``room`` first.
    """
    if source.stored == FLOATS:
        return source.X, at(order, r0)
    to_numbers(source, at(order, r0), n_rows, room)
    return room, iota


@kernel(X=IN2, raw=BYTES2, table=IN1, stored=INT, channels=INT, order=INDEX, out=OUT2)
def gather(X, raw, table, stored, channels, order, out, team):
    """Out = the raw samples ``order``, as numbers; X is empty."""
    source = Source(at(X, 0), at(raw, 0), at(table, 0), stored, out.shape[1], channels)
    to_numbers_in_shares(team, source, at(order, 0), order.shape[0], at(out, 0))
