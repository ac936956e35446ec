"""Numba's pool of threads: started once, used by one number of threads at a time, and lost in a forked process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import numba
from numba.core import config

# Set in a forked child whose parent had started threads: GNU OpenMP would end the child at its first parallel kernel.
_lost = False
_started = False
_workqueue_lock = threading.Lock()


def _after_fork() -> None:
    global _lost
    _lost = _started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def start() -> None:
    """Start Numba's pool, and remember that it was: a process forked from this one has no pool, and can have none."""
    global _started
    if not _started:
        from numba.np.ufunc import parallel

        parallel._launch_threads()
        _started = True


def available() -> tuple[int, int]:
    """How many threads Numba is set to use, and how many it could; one and one in a forked child that lost them."""
    if _lost:
        return 1, 1
    start()
    return numba.get_num_threads(), config.NUMBA_NUM_THREADS


@contextlib.contextmanager
def parallel_region(threads: int) -> Iterator[None]:
    """Numba's pool at ``threads`` threads, put back afterwards; one caller at a time where its layer needs that."""
    start()
    lock = _workqueue_lock if numba.threading_layer() == "workqueue" else contextlib.nullcontext()
    with lock:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            yield
        finally:
            numba.set_num_threads(before)


def lost() -> bool:
    """Whether this is a forked process that has no pool, and can have none."""
    return _lost
