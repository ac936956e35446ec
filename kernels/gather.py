"""Conversion of samples from the form in which they are stored to floats of the element type.

Samples are stored as floats of the element type, X, or else ``raw``: as bytes, or as float32 or float64 of any alignment.
A byte b stands for the float table[b], so any scaling of bytes costs the same, and is rounded once.

A raw sample may be an image stored channels last (height, width, channel), with several ``channels`` per pixel. It is
converted to a row of floats with a plane per channel (channel, height, width), the order that torch uses.
"""

from __future__ import annotations

from typing import NamedTuple

from .codes import BYTES, FLOATS, SINGLE
from .jit import AT, AT_BYTES, AT_INDEX, INDEX, INT, OUT2, in_shares, inlined, routine, share
from .kernel import kernel
from .records import Source
from .simd import at, double_at, single_at


class SourceAt(NamedTuple):
    """A set of samples as kernels pass it on: a ``Source`` whose arrays are given by addresses."""

    X: AT
    raw: AT_BYTES
    table: AT
    stored: INT
    n: INT  # floats in a sample
    channels: INT


@inlined
def source_at(source, n):
    """The addresses of a ``Source`` with n floats per sample."""
    return SourceAt(at(source.X, 0), at(source.raw, 0), at(source.table, 0), source.stored, n, source.channels)


@routine(source=SourceAt, order=AT_INDEX, m=INT, X=AT)
def to_floats(source, order, m, X):
    """X (m, n) = the m samples of raw that ``order`` lists, as floats."""
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
    """Thread q's share of the rows of ``to_floats``."""
    first, end = share(m, q, workers)
    to_floats(source, at(order, first), end - first, at(X, first * source.n))


@inlined
def rows_of(source, order, r0, n_rows, iota, room):
    """The samples order[r0 : r0 + n_rows] as floats: the address of a matrix, and the index of their rows in the matrix.

    Samples that are not stored as floats are first converted into ``room``.
    """
    if source.stored == FLOATS:
        return source.X, at(order, r0)
    to_floats(source, at(order, r0), n_rows, room)
    return room, iota


@kernel(source=Source, order=INDEX, out=OUT2)
def gather(source, order, out, team):
    """Out = the samples ``order`` as floats, for a set that is not stored as floats."""
    to_floats_in_shares(team, source_at(source, out.shape[1]), at(order, 0), order.shape[0], at(out, 0))
