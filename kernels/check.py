"""Check whether every float of an array is finite, at the speed of reading the array."""

from .jit import AT, AT64, IN1, INT, OUT64, in_shares, inlined, share
from .kernel import kernel
from .simd import at, lanes_of, vfma, vload, vsplat, vsum


@inlined
def zero_unless_infinite(x, first, last):
    """0 if x[first:last] is finite, else NaN: 0 times infinity or NaN is NaN, and a sum with NaN is NaN."""
    lanes = lanes_of(x)
    none = vsplat(x, 0.0)
    a = b = c = d = none
    i = first
    while i + 4 * lanes <= last:
        a, b = vfma(none, vload(x, i), a), vfma(none, vload(x, i + lanes), b)
        c, d = vfma(none, vload(x, i + 2 * lanes), c), vfma(none, vload(x, i + 3 * lanes), d)
        i += 4 * lanes
    total = vsum((a + b) + (c + d))
    while i < last:
        total += x[i] * 0
        i += 1
    return total


@in_shares(x=AT, size=INT, part=AT64, chunks=INT)
def sums_of_chunks(x, size, part, chunks, q, workers):
    """Write the sums of ``zero_unless_infinite`` for thread q's share of the chunks of x."""
    first, end = share(chunks, q, workers)
    for chunk in range(first, end):
        start, stop = share(size, chunk, chunks)
        part[chunk] = zero_unless_infinite(x, start, stop)


@kernel(x=IN1, part=OUT64, chunks=INT)
def all_finite(x, part, chunks, team):
    """Set part[i] to 0 if the i-th of ``chunks`` equal parts of x is finite, and to NaN otherwise."""
    sums_of_chunks(team, at(x, 0), x.shape[0], at(part, 0), chunks)
