"""Teams of threads of our own, which run the shares of a job.

A kernel's parallel region is a job: one routine, called once for each share. The caller works too. A thread takes its own
share first, so that it finds in its cache what it had there the last time, and then whatever nobody has begun. So a region
never waits for a thread that is not scheduled, unless that thread was interrupted in the middle of a share; then the caller
sleeps, and both go on together when it is the other one's turn again.

A team's block has lines of eight words, so that threads which write different words do not slow each other down.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator

import numba
import numpy as np
from numba.core import config

from .atomics import add, changed, load, notify, processor, replace, store
from .jit import INT, call_share, inlined, routine

_LINE = 8  # words
# The words of a block.
_JOB, _IDLE = 0, 1  # the number of the last job, and how many threads sleep until there is another
_LEFT, _WAITING = 1 * _LINE, 1 * _LINE + 1  # shares that are not finished, and how many callers sleep until they are
_FUNCTION, _ARGUMENT, _SHARES, _SIZE = range(2 * _LINE, 2 * _LINE + 4)  # the job's, and the number of threads
# The words of a line that belongs to one share and one thread.
_TAKEN = 0  # the last job of which this share was taken
_NUMBER, _BLOCK = 1, 2  # the thread's number, and the block's address
_PROCESSOR = 3  # where the thread ran last
_FIRST = 3  # the first of these lines

_AWAKE = 100_000  # nanoseconds of a wait before a thread sleeps


@inlined
def patience(block, first, end):
    """How long to stay awake while waiting for the threads ``first`` to ``end``: not at all if one needs this processor."""
    here = processor()
    for q in range(first, end):
        if load(block, (_FIRST + q) * _LINE + _PROCESSOR) == here:
            return 0
    return _AWAKE


@inlined
def work_on(block, job, own):
    """Run the shares of a job that nobody has taken, beginning with ``own``.

    A thread that comes late finds every share taken, by this job or by a later one, for which ``taken`` is larger.
    """
    size = load(block, _SIZE)
    store(block, (_FIRST + own) * _LINE + _PROCESSOR, processor())
    for i in range(size):
        q = (own + i) % size
        if replace(block, (_FIRST + q) * _LINE + _TAKEN, job - 1, job):
            call_share(load(block, _FUNCTION), load(block, _ARGUMENT), q, load(block, _SHARES))
            if add(block, _LEFT, -1) == 1:
                notify(block, _LEFT, _WAITING)


@routine(own_line=INT)
def serve(own_line):
    """What a thread does: it waits for a job, works on it, and waits for the next one, for ever."""
    block, number, job = load(own_line, _BLOCK), load(own_line, _NUMBER), 0
    while True:
        job = changed(block, _JOB, job, _IDLE, patience(block, 0, 1))
        work_on(block, job, number)


@routine(function=INT, argument=INT, shares=INT, block=INT)
def run_shares(function, argument, shares, block):
    """Call the function at the address ``function`` for every share, on the threads of the block's team."""
    job = load(block, _JOB) + 1
    store(block, _FUNCTION, function)
    store(block, _ARGUMENT, argument)
    store(block, _SHARES, shares)
    store(block, _LEFT, shares)
    for q in range(shares, load(block, _SIZE)):  # these threads have no share in this job
        store(block, (_FIRST + q) * _LINE + _TAKEN, job)
    store(block, _JOB, job)
    notify(block, _JOB, _IDLE)
    work_on(block, job, 0)
    left = load(block, _LEFT)
    while left > 0:
        left = changed(block, _LEFT, left, _WAITING, patience(block, 1, load(block, _SIZE)))


class _Team:
    """The caller and ``size - 1`` threads that serve it. Teams last as long as the process: their threads never end."""

    def __init__(self, size: int) -> None:
        self.size = size
        memory = np.zeros((_FIRST + size + 1) * _LINE, np.int64)
        start = -(memory.ctypes.data // 8) % _LINE  # words up to the next address that is a multiple of a line
        self._memory, lines = memory, memory[start:][: (_FIRST + size) * _LINE].reshape(-1, _LINE)
        self.block: int = lines.ctypes.data
        lines.reshape(-1)[_SIZE] = size
        lines[_FIRST:, _NUMBER], lines[_FIRST:, _BLOCK] = np.arange(size), self.block
        create, serving = ctypes.CDLL(None).pthread_create, serve.compile(np.int64, quiet=True).address
        # A signal is for Python's threads, which it may wake from waiting; only faults of a thread's own reach it.
        faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
        try:
            for q in range(1, size):
                handle = ctypes.c_void_p()
                # If the system gives no more threads, the others take the shares.
                create(
                    ctypes.byref(handle), None, ctypes.c_void_p(serving), ctypes.c_void_p(lines[_FIRST + q].ctypes.data)
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_teams: list[_Team] = []  # all of this process; their memory must last as long as their threads
_free: list[_Team] = []
_lock = threading.Lock()


def _after_fork() -> None:
    """A child has none of the threads."""
    global _lock
    _lock = threading.Lock()
    _teams.clear()
    _free.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def layer() -> tuple[str, str]:
    """What the threads are, and why."""
    return "own", "Linux lets threads wait for a word of memory"


def lost() -> bool:
    """Whether the process can have no threads: never, because a forked child makes teams of its own."""
    return False


def allowed() -> int:
    """The number of threads that NUMBA_NUM_THREADS allows, or ``numba.set_num_threads`` if Numba's pool is in use."""
    from numba.np.ufunc import parallel

    return numba.get_num_threads() if parallel._is_initialized else config.NUMBA_NUM_THREADS


@contextlib.contextmanager
def team_of(threads: int) -> Iterator[tuple[int, int, int]]:
    """A team of ``threads`` threads or more for one kernel call, as the call's last argument."""
    with _lock:
        fitting = [team for team in _free if team.size >= threads]
        if fitting:
            team = min(fitting, key=lambda t: t.size)
            _free.remove(team)
        else:
            team = _Team(threads)
            _teams.append(team)
    try:
        yield threads, run_shares.compile(np.int64, quiet=True).address, team.block
    finally:
        _free.append(team)
