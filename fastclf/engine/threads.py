"""The number of threads for a computation."""

from __future__ import annotations

import operator

from .kernels import load

#: By kind of threads: steps of fewer floating-point operations run on one thread, because a second thread costs more than
#: it gains. asv_benchmarks/benchmarks/threads.py measures the speed of two threads over one. Our own teams: 1.04 at 0.7
#: million operations, 1.3 at 1.4 million, 1.35 at 2.8 million. TBB: 0.6 at 1.4 million, 1.0 at 2.8 to 5.7 million, 1.25 at
#: 8.9 million. OpenMP: 0.95, 1.15 to 1.2 and 1.3. Numba's own work queue: 0.3 at 8.9 million, 0.96 at 244 million.
SERIAL_BELOW = {"own": 2e6, "tbb": 6e6, "omp": 2e6, "workqueue": 3e8}


def resolve_n_jobs(n_jobs: int | None) -> int:
    """The number of threads for ``n_jobs``: None and -1 mean all that Numba may use, -2 one less, and so on."""
    if check_n_jobs(n_jobs) == 1:
        return 1
    usable, most = load("threads").available()
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
    if operations >= min(SERIAL_BELOW.values()):  # else the pool need not be started
        layer, _ = load("threads").layer()
        if operations >= SERIAL_BELOW[layer]:
            return resolve_n_jobs(n_jobs)
    check_n_jobs(n_jobs)
    return 1
