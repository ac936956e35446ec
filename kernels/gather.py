"""The rows of a mini-batch, from bytes to numbers."""

from .jit import AT, AT_BYTES, AT_INDEX, INT, REAL, in_shares, share


@in_shares(raw=AT_BYTES, n=INT, order=AT_INDEX, m=INT, scale=REAL, X=AT)
def to_numbers(raw, n, order, m, scale, X, q, workers):
    """Worker q's rows of X (m, n) = scale times the rows ``order`` of raw."""
    first, end = share(m, q, workers)
    for r in range(first, end):
        source, to = order[r] * n, r * n
        for j in range(n):
            X[to + j] = scale * raw[source + j]
