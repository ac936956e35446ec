"""Conversion of samples from the form in which they are stored to operands of products: floats, or pairs of bfloat16.

Samples are stored as floats of the element type, X, or else ``raw``: as bytes, or as float32 or float64 of any alignment.
A byte b stands for the float table[b], so any scaling of bytes costs the same, and is rounded once.

A raw sample may be an image stored channels last (height, width, channel), with several ``channels`` per pixel. It is
converted to a row of floats with a plane per channel (channel, height, width), the order that torch uses.
"""

from __future__ import annotations

from typing import NamedTuple

from .codes import BYTES, FLOATS, SINGLE, SPARSE
from .jit import (
    AT,
    AT_BYTES,
    AT_INDEX,
    AT_INDEX32,
    AT_OPERANDS,
    INDEX,
    INT,
    OUT_OPERANDS2,
    in_shares,
    inlined,
    routine,
    share,
)
from .kernel import kernel
from .operands import length_of, put
from .records import Source
from .simd import at, double_at, real, single_at


class SourceAt(NamedTuple):
    """A set of samples as kernels pass it on: a ``Source`` whose arrays are given by addresses."""

    X: AT
    raw: AT_BYTES
    table: AT
    stored: INT
    n: INT  # floats in a sample
    channels: INT
    features: AT_INDEX32
    starts: AT_INDEX


@inlined
def source_at(source, n):
    """The addresses of a ``Source`` with n floats per sample."""
    return SourceAt(
        at(source.X, 0), at(source.raw, 0), at(source.table, 0), source.stored, n, source.channels,
        at(source.features, 0), at(source.starts, 0),
    )  # fmt: skip


@inlined
def is_raw(source):
    """Whether the samples must be converted before products take them."""
    return source.stored != FLOATS and source.stored != SPARSE


@routine(source=SourceAt, order=AT_INDEX, m=INT, X=AT_OPERANDS)
def to_operands(source, order, m, X):
    """X (m, n) = the m samples of raw that ``order`` lists, as operands of products."""
    n, channels, raw, table = source.n, source.channels, source.raw, source.table
    pixels, pitch = n // channels, length_of(n, X)
    for r in range(m):
        row = at(X, r * pitch)
        for channel in range(channels):
            first, to = order[r] * n + channel, channel * pixels
            if source.stored == BYTES:
                for p in range(pixels):
                    put(row, to + p, table[raw[first + p * channels]])
            elif source.stored == SINGLE:
                for p in range(pixels):
                    put(row, to + p, real(table, single_at(raw, first + p * channels)))
            else:
                for p in range(pixels):
                    put(row, to + p, real(table, double_at(raw, first + p * channels)))


@in_shares(source=SourceAt, order=AT_INDEX, m=INT, X=AT_OPERANDS)
def to_operands_in_shares(source, order, m, X, q, workers):
    """Thread q's share of the rows of ``to_operands``."""
    first, end = share(m, q, workers)
    to_operands(source, at(order, first), end - first, at(X, first * length_of(source.n, X)))


@inlined
def rows_of(source, order, r0, n_rows, iota, room):
    """The samples order[r0 : r0 + n_rows] as floats: the address of a matrix, and the index of their rows in the matrix.

    Samples that are not stored as floats are first converted into ``room``.
    """
    if source.stored == FLOATS:
        return source.X, at(order, r0)
    to_operands(source, at(order, r0), n_rows, room)
    return room, iota


@kernel(out=OUT_OPERANDS2, source=Source, order=INDEX, n=INT)
def gather(out, source, order, n, team):
    """Out = the samples ``order``, of n numbers, as operands, for a set that is not stored as floats."""
    to_operands_in_shares(team, source_at(source, n), at(order, 0), order.shape[0], at(out, 0))
