"""Numba's thread pool: the layer that it runs on, how many threads the process may use, and calls that share them.

TBB is the layer of choice. When a thread of its pool is not scheduled, because other processes hold the processors, the
caller takes over that thread's work; an OpenMP region waits for the thread. TBB also admits several callers at once, and a
forked child may start a pool of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numba
from numba.core import config

_TBB_FILES = ("libtbb.so.12", "tbb12.dll")  # the library's names, in which Numba looks for it
_workqueue_lock = threading.Lock()
_started = False
_lost = False  # a forked child whose parent's pool can be neither used nor started again
_why = "not started"

#: One entry for each kernel that is running in this process: kernels that run at the same time share the processors.
#: Appending and popping are atomic, so that no lock is needed.
running: list[None] = []


def _after_fork() -> None:
    global _lost
    _lost = _lost or (_started and numba.threading_layer() != "tbb")
    running.clear()  # the threads that ran them are not in this process


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
    """Start Numba's pool, on TBB if there is one and nobody has chosen another layer."""
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
    _follow_threadpoolctl()
    _started = True


def _follow_threadpoolctl() -> None:
    """Let ``threadpoolctl.threadpool_limits`` limit the pool, as it limits those of BLAS and OpenMP."""
    with contextlib.suppress(ImportError):
        from threadpoolctl import LibController, register

        class NumbaPool(LibController):
            user_api, internal_api = "numba", "numba_pool"
            filename_prefixes = ("tbbpool", "omppool", "workqueue")

            def get_num_threads(self) -> int:
                return usable()

            def set_num_threads(self, num_threads: int) -> None:
                global _wished
                _wished = sys.maxsize  # what is asked for may be the number that was there before a limit
                _wished = num_threads if num_threads < usable() else sys.maxsize

            def get_version(self) -> str:
                return numba.__version__

            def set_additional_attributes(self) -> None:
                self.threading_layer = numba.threading_layer()

        register(NumbaPool)


def layer() -> tuple[str, str]:
    """The layer of the pool, and why it is this one."""
    start()
    return numba.threading_layer(), _why


# ---------------------------------------------------------------- how many threads


def _quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """The processors that the container may use at a time, by cgroup v2 or v1; all if there is no limit."""
    limits = [float(os.cpu_count() or 1)]
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            # A container may see its own group as the root; the limits of the groups above hold as well.
            folder = root / ("cpu" if controllers else "")
            for group in (
                folder,
                *(folder.joinpath(*Path(path).parts[1:k]) for k in range(2, len(Path(path).parts) + 1)),
            ):
                with contextlib.suppress(OSError, ValueError):
                    if not controllers:
                        quota, period = (group / "cpu.max").read_text().split()
                    elif "cpu" in controllers.split(","):
                        quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
                    else:
                        continue
                    if float(quota) > 0:  # "max", or -1: no limit
                        limits.append(float(quota) / float(period))
    return max(1, math.ceil(min(limits)))


_wished = sys.maxsize  # by threadpoolctl
_limit = _quota()  # read once: a container's quota hardly ever changes


def usable() -> int:
    """The processors that this process may use: affinity, quota, OMP_NUM_THREADS and threadpoolctl allow."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    by_environment = int(asked) if asked.isdecimal() and int(asked) > 0 else processors
    return min(processors, _limit, by_environment, max(1, _wished))


def available() -> tuple[int, int]:
    """The number of threads to use by default, and the most that Numba could use; 1 and 1 in a child that lost the pool."""
    if _lost:
        return 1, 1
    start()
    return min(numba.get_num_threads(), usable()), config.NUMBA_NUM_THREADS


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
