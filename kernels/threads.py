"""Numba's thread pool: started once, used with one number of threads at a time, and lost in a forked process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import numba
from numba.core import config

# True in a forked child whose parent had started the pool: there, GNU OpenMP would end the child at a parallel kernel.
_lost = False
_started = False
_workqueue_lock = threading.Lock()


def _after_fork() -> None:
    global _lost
    _lost = _started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def start() -> None:
    """Start Numba's pool, and remember the start, because a process forked from this one can not have a pool."""
    global _started
    if not _started:
        from numba.np.ufunc import parallel

        parallel._launch_threads()
        _started = True


def available() -> tuple[int, int]:
    """The number of threads Numba is set to use, and the most it could use; 1 and 1 in a forked child that lost the pool."""
    if _lost:
        return 1, 1
    start()
    return numba.get_num_threads(), config.NUMBA_NUM_THREADS


@contextlib.contextmanager
def parallel_region(threads: int) -> Iterator[None]:
    """Run with ``threads`` threads, then restore the number; the workqueue layer admits only one caller at a time."""
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
    """Whether this is a forked process that lost the pool, and can not have a pool."""
    return _lost
