"""How many threads the process may use, and calls that share them.

The threads are teams of our own (``team``), or Numba's pool (``numba_pool``) where the system has no futex, or the user has
chosen one of Numba's layers by NUMBA_THREADING_LAYER.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import numba
from numba.core import config

from .atomics import SUPPORTED

#: One entry for each kernel that is running in this process: kernels that run at the same time share the processors.
#: Appending and popping are atomic, so that no lock is needed.
running: list[None] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=running.clear)  # the threads that ran them are not in the child


def _chosen() -> str:
    """The layer that the user has chosen, or "default"."""
    return str(config.THREADING_LAYER).lower()


@functools.cache
def _pool() -> ModuleType:
    """The module that gives teams of threads: the one for this process, imported when threads are first needed."""
    if SUPPORTED and _chosen() == "default":
        from . import team

        return team
    from . import numba_pool

    return numba_pool


def team_of(threads: int) -> AbstractContextManager[tuple[int, int, int]]:
    """A team of ``threads`` threads for one kernel call, as the call's last argument."""
    return _pool().team_of(threads)


def layer() -> tuple[str, str]:
    """What the threads are: "own", or the layer of Numba's pool, which is started; and why."""
    return _pool().layer()


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
    """The number of threads to use by default, and the most that may be used; 1 and 1 in a child that lost the pool."""
    if _pool().lost():
        return 1, 1
    follow_threadpoolctl()
    return min(_pool().allowed(), usable()), config.NUMBA_NUM_THREADS


@functools.cache
def follow_threadpoolctl() -> None:
    """Let ``threadpoolctl.threadpool_limits`` limit the threads, as it limits those of BLAS and OpenMP."""
    with contextlib.suppress(ImportError):
        from threadpoolctl import LibController, register

        class NumbaPool(LibController):
            user_api, internal_api = "numba", "fastclf"
            filename_prefixes = ("_helperlib",)  # a library that every process with Numba has

            def get_num_threads(self) -> int:
                return usable()

            def set_num_threads(self, num_threads: int) -> None:
                global _wished
                _wished = sys.maxsize  # what is asked for may be the number that was there before a limit
                _wished = num_threads if num_threads < usable() else sys.maxsize

            def get_version(self) -> str:
                return numba.__version__

            def set_additional_attributes(self) -> None:
                self.threading_layer = layer()[0]

        register(NumbaPool)
