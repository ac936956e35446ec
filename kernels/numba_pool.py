"""Numba's pool of threads, where there are no teams of our own, or where the user has chosen one of Numba's layers.

TBB is the layer of choice. When a thread of its pool is not scheduled, because other processes hold the processors, the
caller takes over that thread's work; an OpenMP region waits for the thread. TBB also admits several callers at once, and a
forked child may start a pool of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

import numba
import numpy as np
from numba import prange
from numba.core import config

from .jit import ALONE, INT, Routine, call_share

_TBB_FILES = ("libtbb.so.12", "tbb12.dll")  # the library's names, in which Numba looks for it
_workqueue_lock = threading.Lock()
_started = False
_lost = False  # a forked child whose parent's pool can be neither used nor started again
_why = ""


def _after_fork() -> None:
    global _lost
    _lost = _lost or (_started and numba.threading_layer() != "tbb")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _load_tbb() -> bool:
    """Load the TBB that pip has installed, because Numba does not look in the folder where pip puts it."""
    from importlib import metadata  # not at the top: a process that starts no threads does not need it

    with contextlib.suppress(metadata.PackageNotFoundError, OSError):
        for file in metadata.files("tbb") or ():
            if file.name in _TBB_FILES:
                ctypes.CDLL(os.path.realpath(str(file.locate())), mode=ctypes.RTLD_GLOBAL)
                return True
    return False


def start() -> None:
    """Start the pool, on TBB if there is one and nobody has chosen another layer."""
    global _started, _why
    if _started:
        return
    from numba.np.ufunc import parallel

    if parallel._is_initialized:
        _why = "started before fastclf needed it"
    elif (wanted := str(config.THREADING_LAYER).lower()) in ("omp", "workqueue"):
        _why = "chosen by NUMBA_THREADING_LAYER"
    else:
        found = _load_tbb()
        _why = (
            "chosen by NUMBA_THREADING_LAYER"
            if wanted != "default"
            else "TBB was found"
            if found
            else "no TBB was found"
        )
    parallel._launch_threads()
    _started = True


def layer() -> tuple[str, str]:
    """The layer of the pool, and why it is this one."""
    start()
    return numba.threading_layer(), _why


def lost() -> bool:
    """Whether this is a forked process that lost the pool, and can not have a pool."""
    return _lost


def allowed() -> int:
    """The number of threads that ``numba.set_num_threads`` has left."""
    start()
    return numba.get_num_threads()


@contextlib.contextmanager
def team_of(threads: int) -> Iterator[tuple[int, int, int]]:
    """``threads`` threads of the pool for one kernel call, as the call's last argument; Numba's number is put back.

    A process that has lost the pool gets one thread. The workqueue layer admits only one caller at a time.
    """
    if _lost:
        yield ALONE
        return
    start()
    lock = _workqueue_lock if numba.threading_layer() == "workqueue" else contextlib.nullcontext()
    with lock:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            yield threads, for_each_thread.compile(np.int64, quiet=True).address, 0
        finally:
            numba.set_num_threads(before)


def for_each_thread(function, argument, workers, unused):
    """Call the function at the address ``function`` for every q below ``workers``, each on its own thread."""
    for q in prange(workers):
        call_share(function, argument, q, workers)


for_each_thread = Routine(
    for_each_thread, {"function": INT, "argument": INT, "workers": INT, "unused": INT}, parallel=True
)
