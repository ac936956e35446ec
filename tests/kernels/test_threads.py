"""How many threads the process may use, what they are, and calls that share them."""

import os
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from fastclf.kernels import atomics, check, jit
from fastclf.kernels import threads as pool

from ..helpers import in_new_process

# ---------------------------------------------------------------- what they are


def says_its_layer(expected, why):
    from fastclf.kernels import threads as pool

    assert pool.layer() == (expected, why)


def is_its_own_layer():
    import numba
    import numpy as np

    from fastclf.kernels import check
    from fastclf.kernels import threads as pool

    assert pool.layer()[0] == "own"
    out = np.ones(64)
    check.all_finite(np.ones(1000), out, 64, threads=2)
    assert not out.any()

    try:
        numba.threading_layer()
    except ValueError:
        return  # Numba's pool has not been started
    raise AssertionError("Numba's pool has been started")


@pytest.mark.skipif(not atomics.SUPPORTED, reason="no futex")
def test_teams_of_our_own_are_the_first_choice():
    in_new_process(is_its_own_layer, NUMBA_THREADING_LAYER="default")


@pytest.mark.parametrize("layer", ["workqueue", *(["omp"] if sys.platform == "linux" else [])])
def test_a_layer_that_the_user_has_chosen_is_used(layer):
    in_new_process(says_its_layer, layer, "chosen by NUMBA_THREADING_LAYER", NUMBA_THREADING_LAYER=layer)


# ---------------------------------------------------------------- how many


@pytest.fixture
def group(tmp_path):
    """Files of a control group; ``limit`` is what they allow."""
    root, own = tmp_path / "cgroup", tmp_path / "own"

    def write(own_groups, files):
        own.write_text(own_groups)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)

    return SimpleNamespace(write=write, limit=lambda: pool._quota(root, own))


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # one and a half processors: two threads
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/a/b\n", {"cpu.max": "max 100000", "a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "900000 100000", "a/b/cpu.max": "200000 100000"}, 2),
        (
            "4:cpu,cpuacct:/x\n1:memory:/\n",
            {"cpu/x/cpu.cfs_quota_us": "400000", "cpu/x/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("4:cpu:/x\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 2),  # seen as the root
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("1:memory:/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("0::/\n", {"cpu.max": "nonsense"}, 64),
        ("0::/gone\n", {}, 64),
    ],
)
def test_a_containers_quota(group, monkeypatch, own, files, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    group.write(own, files)
    assert group.limit() == expected


def test_a_system_without_control_groups(group, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert group.limit() == 3


@pytest.mark.parametrize(
    ("affinity", "quota", "omp", "numbas", "expected"),
    [
        (8, 8, "", 8, 8), (2, 8, "", 8, 2), (8, 3, "", 8, 3), (8, 8, "4", 8, 4), (8, 8, "4,2", 8, 4), (8, 8, "0", 8, 8),
        (8, 8, "many", 8, 8), (8, 8, "", 5, 5), (8, 8, "16", 6, 6), (1, 1, "1", 1, 1),
    ],
)  # fmt: skip
def test_the_smallest_limit_counts(monkeypatch, affinity, quota, omp, numbas, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {*range(affinity)}, raising=False)
    monkeypatch.setattr(pool, "_limit", quota)
    monkeypatch.setenv("OMP_NUM_THREADS", omp)
    monkeypatch.setattr(pool._pool(), "allowed", lambda: numbas)
    assert pool.available()[0] == expected


def follows_set_num_threads():
    import numba
    import numpy as np

    from fastclf.kernels import threads as pool

    @numba.njit(parallel=True)
    def double(x):
        for i in numba.prange(x.shape[0]):
            x[i] *= 2

    assert pool.available() == (2, 2)
    double(np.ones(4))
    assert pool.available() == (2, 2)
    numba.set_num_threads(1)
    assert pool.available() == (1, 2)


def test_the_number_that_numba_is_told_counts():
    """If Numba has threads: the user's own kernels share the processors with ours."""
    if pool.usable() < 2:
        pytest.skip("one processor")
    in_new_process(follows_set_num_threads, NUMBA_NUM_THREADS=2)


def test_threadpoolctl_limits_the_pool(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    pool.available()
    monkeypatch.setattr(pool, "_limit", 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    monkeypatch.setattr(pool._pool(), "allowed", lambda: 3)
    with threadpoolctl.threadpool_limits(1):
        assert pool.available()[0] == 1
    assert pool.available()[0] == 3
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert pool.available()[0] == 3
    [found] = [module for module in threadpoolctl.threadpool_info() if module["user_api"] == "numba"]
    assert found["num_threads"] == 3
    assert found["threading_layer"] == pool.layer()[0]


def test_kernels_that_run_at_the_same_time_share_the_processors(monkeypatch):
    """Four Python threads do not start eight: those that come while others run take what is left, one at least."""
    taken, entered, together = [], threading.Semaphore(0), threading.Barrier(5)
    team_of = pool.team_of

    def noted(threads):
        taken.append(threads)
        return team_of(threads)

    monkeypatch.setattr(pool, "team_of", noted)
    kernel = jit.COMPILED["check.all_finite"]
    call = kernel._call

    def slow(code, *args):
        entered.release()
        together.wait(60)
        return call(code, *args)

    monkeypatch.setattr(kernel, "_call", slow)
    out = np.ones((4, 64))
    callers = [
        threading.Thread(target=check.all_finite, args=(np.ones(1000), out[k], 64), kwargs={"threads": 2})
        for k in range(4)
    ]
    for caller in callers:
        caller.start()
        assert entered.acquire(timeout=60)
    together.wait(60)
    for caller in callers:
        caller.join()
    assert taken == [2]  # the first one; the others have one thread, and no team
    assert not out.any()
    assert pool.running == []


def test_a_kernel_that_fails_is_not_counted_on():
    with pytest.raises(TypeError):
        check.all_finite(np.ones((2, 2)), np.ones(64), 64)
    assert pool.running == []
