"""Rows of samples, from how they are stored to floats of the element type.

Samples are stored as such floats, X, or else ``raw``: as bytes, or as float32 or float64 of whatever alignment. A byte
stands for the float in its place of ``table``: so any scale costs the same, and is rounded once.

A raw sample may be an image whose pixels have several ``channels``, one after the other (height, width, channel). As a
row of floats it has a plane for each (channel, height, width), which is what torch makes of an image.
"""

from __future__ import annotations

from typing import NamedTuple

from .codes import BYTES, FLOATS, SINGLE
from .jit import AT, AT_BYTES, AT_INDEX, INDEX, INT, OUT2, in_shares, inlined, kernel, routine, share
from .records import Source
from .simd import at, double_at, single_at


class SourceAt(NamedTuple):
    """A set of samples inside the kernels: what Python has in a ``Source``, by addresses."""

    X: AT
    raw: AT_BYTES
    table: AT
    stored: INT
    n: INT  # floats in a sample
    channels: INT


@inlined
def source_at(source, n):
    """The same set by addresses."""
    return SourceAt(at(source.X, 0), at(source.raw, 0), at(source.table, 0), source.stored, n, source.channels)


@routine(source=SourceAt, order=AT_INDEX, m=INT, X=AT)
def to_floats(source, order, m, X):
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


@in_shares(source=SourceAt, order=AT_INDEX, m=INT, X=AT)
def to_floats_in_shares(source, order, m, X, q, workers):
    """Worker q's rows of the same."""
    first, end = share(m, q, workers)
    to_floats(source, at(order, first), end - first, at(X, first * source.n))


@inlined
def rows_of(source, order, r0, n_rows, iota, room):
    """Where the samples order[r0 : r0 + n_rows] are as floats: an address, and the index of each row there.

    Samples that are stored otherwise are made floats in ``room`` first.
    """
    if source.stored == FLOATS:
        return source.X, at(order, r0)
    to_floats(source, at(order, r0), n_rows, room)
    return room, iota


@kernel(source=Source, order=INDEX, out=OUT2)
def gather(source, order, out, team):
    """Out = the samples ``order`` as floats, of a set that is stored otherwise."""
    to_floats_in_shares(team, source_at(source, out.shape[1]), at(order, 0), order.shape[0], at(out, 0))
