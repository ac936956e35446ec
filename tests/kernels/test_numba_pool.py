"""Numba's pool: the layer, who has chosen it, and forked children."""

import importlib.metadata
import os
import sys

import numba
import pytest

from fastclf.kernels import numba_pool

from ..helpers import in_new_process


def has_tbb():
    try:
        return any(f.name in numba_pool._TBB_FILES for f in importlib.metadata.files("tbb") or ())
    except importlib.metadata.PackageNotFoundError:
        return False


needs_tbb = pytest.mark.skipif(not has_tbb(), reason="there is no TBB for this system")


def says_its_layer(expected, why):
    from fastclf.kernels import numba_pool

    assert numba_pool.layer() == (expected, why)


@needs_tbb
def test_tbb_is_the_first_choice():
    in_new_process(says_its_layer, "tbb", "TBB was found", NUMBA_THREADING_LAYER="default")


@needs_tbb
def test_the_tbb_that_pip_has_installed_is_found():
    in_new_process(says_its_layer, "tbb", "chosen by NUMBA_THREADING_LAYER", NUMBA_THREADING_LAYER="tbb")


def starts_before_us():
    import numba
    import numpy as np

    @numba.njit(parallel=True)
    def double(x):
        for i in numba.prange(x.shape[0]):
            x[i] *= 2

    double(np.ones(4))
    running = numba.threading_layer()
    from fastclf.kernels import numba_pool

    assert numba_pool.layer() == (running, "started before fastclf needed it")


def test_a_pool_that_is_running_already_stays():
    in_new_process(starts_before_us)


def has_no_tbb():
    import importlib.metadata

    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    importlib.metadata.files = none
    import numpy as np

    from fastclf.kernels import atomics

    atomics.SUPPORTED = False
    from fastclf.kernels import check, threads

    layer, why = threads.layer()
    assert why == "no TBB was found"
    assert layer in ("omp", "workqueue", "tbb")  # a system may have a TBB of its own
    out = np.ones(64)
    check.all_finite(np.ones(1000), out, 64, threads=2)
    assert not out.any()


def test_without_futex_and_tbb_another_layer_serves():
    in_new_process(has_no_tbb, NUMBA_THREADING_LAYER="default", NUMBA_NUM_THREADS=2)


def has_lost_the_pool():
    import os

    import numpy as np

    from fastclf.kernels import check
    from fastclf.kernels import threads as pool

    out = np.ones(64)
    check.all_finite(np.ones(1000), out, 64, threads=2)
    pid = os.fork()
    if pid == 0:
        out[:] = 1
        check.all_finite(np.ones(1000), out, 64, threads=2)  # as a trainer does that was made before the fork
        os._exit(0 if not out.any() and pool.available() == (1, 1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="no OpenMP, or no fork")
def test_a_forked_child_has_one_thread_on_openmp():
    in_new_process(has_lost_the_pool, NUMBA_NUM_THREADS=2, NUMBA_THREADING_LAYER="omp")


def forks_and_uses_threads():
    import os

    import numpy as np

    from fastclf.kernels import check, numba_pool

    x, out = np.ones(1000), np.ones(64)
    check.all_finite(x, out, 64, threads=2)
    teams, team_of = [], numba_pool.team_of
    numba_pool.team_of = lambda threads: teams.append(threads) or team_of(threads)
    pid = os.fork()
    if pid == 0:
        out[:] = 1
        check.all_finite(x, out, 64, threads=2)
        os._exit(0 if not out.any() and teams == [2] and not numba_pool.lost() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    check.all_finite(x, out, 64, threads=2)
    assert not out.any()


@needs_tbb
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_a_pool_of_its_own_on_tbb():
    in_new_process(forks_and_uses_threads, NUMBA_NUM_THREADS=2, NUMBA_THREADING_LAYER="tbb")


def test_numbas_number_of_threads_is_put_back():
    for before in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(before)
        with numba_pool.team_of(1) as (threads, start, _):
            assert numba.get_num_threads() == threads == 1
            assert start == numba_pool.for_each_thread.compile("int64").address
        assert numba.get_num_threads() == before


def test_numbas_number_of_threads_is_put_back_after_an_error():
    before = numba.get_num_threads()

    def interrupted():
        with numba_pool.team_of(1):
            assert numba.get_num_threads() == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert numba.get_num_threads() == before
