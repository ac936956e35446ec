"""The number of threads for a computation."""

from __future__ import annotations

import operator

#: Steps of fewer floating-point operations run on one thread, because a second one costs more than it gains: two threads are
#: 0.65 times as fast as one at 0.7 million, 1.4 times at 2.8 million (measured by asv_benchmarks/benchmarks/threads.py).
SERIAL_BELOW = 1_500_000


def resolve_n_jobs(n_jobs: int | None) -> int:
    """The number of threads for ``n_jobs``: None and -1 mean all that Numba may use, -2 one less, and so on."""
    if check_n_jobs(n_jobs) == 1:
        return 1
    from ..kernels.threads import available

    usable, most = available()
    if n_jobs is None:
        return usable
    return min(n_jobs, most) if n_jobs > 0 else max(1, usable + 1 + n_jobs)


def check_n_jobs(n_jobs: int | None) -> int | None:
    """``n_jobs`` if it is None or a whole number other than 0; TypeError or ValueError if not."""
    if n_jobs is None:
        return None
    if isinstance(n_jobs, bool):
        raise TypeError(f"n_jobs must be None or a whole number, got {n_jobs!r}")
    try:
        n = operator.index(n_jobs)
    except TypeError:
        raise TypeError(f"n_jobs must be None or a whole number, got {n_jobs!r}") from None
    if n == 0:
        raise ValueError("n_jobs must not be 0: 1 is one thread, -1 all of them")
    return n


def threads_for(operations: float, n_jobs: int | None) -> int:
    """The number of threads for steps of ``operations`` floating-point operations each."""
    if operations >= SERIAL_BELOW:
        return resolve_n_jobs(n_jobs)
    check_n_jobs(n_jobs)
    return 1
