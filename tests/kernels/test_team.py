"""Teams of threads: every share is run once, nobody waits for a thread that does not come, and idle threads sleep."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastclf.kernels import atomics, cache, jit, kernel, simd
from fastclf.kernels import threads as pool

from ..helpers import in_new_process

if not atomics.SUPPORTED:
    pytest.skip("no futex", allow_module_level=True)

from fastclf.kernels import team


def note(x, rounds, more, q, workers):
    for _ in range(rounds + more * q):
        x[q] = x[q] * 1.0000001 + 1
    x[100 + q] += workers


@pytest.fixture(scope="module")
def noting():
    """A kernel of ``jobs`` regions: share q works for ``rounds`` + ``more`` q rounds, and adds the number of shares."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "COMPILED", {})
        patch.setattr(cache, "cache_folder", lambda: None)
        shares = jit.in_shares(x=jit.AT, rounds=jit.INT, more=jit.INT)(note)

        def note_all(x, jobs, rounds, more, team):
            for _ in range(jobs):
                shares(team, simd.at(x, 0), rounds, more)

        made = kernel.kernel(x=jit.OUT1, jobs=jit.INT, rounds=jit.INT, more=jit.INT)(note_all)
        made.compile(np.float64, quiet=True)
        yield made


@pytest.fixture
def fresh(monkeypatch):
    """No team has been made yet; the threads of those that the test makes sleep on after it."""
    monkeypatch.setattr(team, "_free", [])
    kept = len(team._teams)
    return lambda: team._teams[kept:]


def run(noting, threads, jobs, rounds=1, more=0):
    x = np.zeros(200)
    noting(x, jobs, rounds, more, threads=threads)
    return x


@pytest.mark.parametrize("threads", [2, 3, 8, 64])
@pytest.mark.parametrize("rounds", [1, 3000])
def test_every_share_is_run_once_in_every_job(noting, fresh, threads, rounds):
    x, expected = run(noting, threads, 200, rounds), np.zeros(200)
    expected[100 : 100 + threads] = 200 * threads
    np.testing.assert_array_equal(x[100:], expected[100:])
    alone = run(noting, 1, 200, rounds)
    np.testing.assert_array_equal(x[:threads], np.full(threads, alone[0]))
    assert not x[threads:100].any()
    assert [t.size for t in fresh()] == [threads]


def test_a_large_team_does_small_jobs_between_large_ones(noting, fresh):
    for threads in (5, 2, 4, 5, 3, 2, 5):
        x = run(noting, threads, 50)
        assert x[100:108].tolist() == [50.0 * threads] * threads + [0.0] * (8 - threads)
    assert [t.size for t in fresh()] == [5]


def test_the_caller_does_it_alone_if_no_thread_can_be_started(noting, fresh, monkeypatch):
    class NoThreads:
        def __init__(self, name):
            pass

        def pthread_create(self, *args):
            return 11  # EAGAIN

    monkeypatch.setattr(team.ctypes, "CDLL", NoThreads)
    x = run(noting, 3, 100)
    assert x[100:103].tolist() == [300, 300, 300]


def test_every_caller_has_a_team_of_its_own(noting, fresh):
    """Whatever they ask for: kernels that run at the same time share the processors elsewhere."""
    held = []
    for _ in range(3):
        held.append(team.team_of(2))
        held[-1].__enter__()
    assert len({t.block for t in fresh()}) == 3
    for context in held:
        context.__exit__(None, None, None)
    with team.team_of(2):
        assert len(fresh()) == 3


def test_many_python_threads_at_once(noting, fresh):
    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda k: run(noting, 2, 300, 50)[100:], range(40)))
    for counts in found:
        assert counts.sum() in (300, 600 + 600)  # one thread, or two
        assert counts[0] in (300, 600)
    assert 1 <= len(fresh()) <= 2, "the others have one thread"
    assert pool.running == []


def test_idle_threads_sleep(noting, fresh):
    run(noting, 4, 100)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1


def test_the_caller_sleeps_while_another_thread_works(noting, fresh):
    """On a busy machine the other thread may not come, and the caller does its share: then it is tried again."""

    def slept():
        used, start = time.thread_time(), time.perf_counter()
        run(noting, 2, 1, 50_000, 50_000_000)  # the caller's share takes as long as a thread may need to wake up
        return time.thread_time() - used < (time.perf_counter() - start) / 2

    assert any(slept() for _ in range(20))


def threads_of_this_process():
    return {int(p.name) for p in Path("/proc/self/task").iterdir()}


def test_signals_are_for_pythons_threads(noting, fresh):
    before = threads_of_this_process()
    run(noting, 3, 1)
    started = threads_of_this_process() - before
    assert len(started) == 2
    time.sleep(0.2)  # while a thread starts, it blocks every signal
    for thread in started:
        status = Path(f"/proc/self/task/{thread}/status").read_text()
        blocked = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")), 16)
        assert all(blocked >> (s - 1) & 1 for s in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD))
        assert not any(blocked >> (s - 1) & 1 for s in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))
    mine = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.SIGINT not in mine


def forks_at_any_time():
    """Children, and theirs, have teams of their own, also if they were forked while another thread was in a kernel."""
    import os
    import threading

    import numpy as np

    from fastclf.kernels import check, team
    from fastclf.kernels import threads as pool

    def checks(times):
        out = np.ones(64)
        for _ in range(times):
            check.all_finite(np.ones(1000), out, 64, threads=2)
        return not out.any()

    def in_child(then):
        pid = os.fork()
        if pid == 0:
            good = team._teams == team._free == pool.running == [] and checks(50) and len(team._teams) == 1 and then()
            os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return True

    assert checks(10)
    in_child(lambda: in_child(lambda: True))
    ending = threading.Event()
    busy = threading.Thread(target=lambda: [checks(100) for _ in iter(ending.is_set, True)])
    busy.start()
    for _ in range(20):
        in_child(lambda: True)
    ending.set()
    busy.join()
    assert checks(10)


def test_forked_children_have_teams_of_their_own():
    in_new_process(forks_at_any_time, NUMBA_THREADING_LAYER="default")


def ends_while_threads_wait():
    import numpy as np

    from fastclf.kernels import check

    check.all_finite(np.ones(1000), np.ones(64), 64, threads=3)


def test_a_process_ends_though_its_threads_do_not():
    for _ in range(5):
        in_new_process(ends_while_threads_wait, timeout=60)


def test_a_team_begins_where_a_cache_line_does(fresh):
    for _ in range(5):
        with team.team_of(3) as (threads, start, block):
            assert (threads, block % 64) == (3, 0)
            assert start == team.run_shares.compile(np.int64).address
