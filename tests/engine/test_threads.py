"""The same bits for any number of threads; and threads, forks and processes that must not hurt each other."""

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastclf
from fastclf.kernels import threads as pool

from ..helpers import in_new_process, problem


def digests(jobs):
    """Print, for every trainer, dtype and number of jobs, a digest of the bits that come out."""
    import hashlib

    import numpy as np

    import fastclf
    from fastclf.engine import threads as threads_module
    from fastclf.kernels import threads as pool

    threads_module.SERIAL_BELOW = dict.fromkeys(threads_module.SERIAL_BELOW, 0)
    team_of, used = pool.team_of, set()
    pool.team_of = lambda threads: used.add(threads) or team_of(threads)
    rng = np.random.default_rng(0)
    X, many, y = rng.standard_normal((700, 200)), rng.standard_normal((5000, 4)), rng.integers(10, size=700)
    wide, narrow, binary = np.eye(10)[y], np.eye(3)[rng.integers(3, size=5000)], rng.integers(2, size=5000)

    def networks(kind, *sizes, **options):
        model = kind(*sizes, random_state=0, **options)
        for i, parameter in enumerate(("W1", "W2")):
            setattr(model, parameter, 20 * getattr(model, parameter) + i)
        return model

    def train_all(dtype, n_jobs):
        options, quiet = {"dtype": dtype, "n_jobs": n_jobs}, {"verbose": False}
        start = {"random_state": 0, **options, **quiet}
        yield "wide", *fastclf.train_model(X, wide, 0.5, 3, True, True, **start)
        yield "wide SGD", *fastclf.train_model(X, wide, 0.01, 2, False, True, **start)
        yield "narrow", *fastclf.train_model(many, narrow, 0.5, 3, True, True, **start)
        yield "narrow SGD", *fastclf.train_model(many, narrow, 0.01, 2, False, True, **start)
        yield "sigmoid", *fastclf.train_model(many, binary, 0.5, 3, **start)
        image = fastclf.ImageLinearClassifier(200, 10, random_state=0, **options)
        yield "image", fastclf.train(image, X, y, 3, 0.5, **quiet), image.W, image.b
        mlp = networks(fastclf.MLPClassifier, 200, 33, 10, **options)
        yield "mlp", mlp.train(X.T, y, 3, 0.5, **quiet), mlp.W1, mlp.b1, mlp.W2, mlp.b2, mlp.forward(X.T)
        deep = networks(fastclf.DeepMLPClassifier, 200, 33, 10, **options)
        for size in (33, 350):  # few samples are shared out by units, many by rows
            batches = [(X[k : k + size], y[k : k + size]) for k in range(0, 700, size)]
            yield f"deep {size}", deep.train(batches, 2, 0.1, **quiet), deep.W1, deep.W3, deep.b3, deep.W2

    for n_jobs in jobs:
        for _ in range(2):
            for dtype in (np.float64, np.float32):
                for name, *tensors in train_all(dtype, n_jobs):
                    bits = b"".join(np.ascontiguousarray(t).tobytes() for t in tensors)
                    assert all(np.isfinite(t).all() for t in tensors), name
                    print(f"{name} {dtype.__name__}: {hashlib.sha256(bits).hexdigest()}")
        assert n_jobs == 1 or n_jobs in used, "this was to compare threads"


def test_any_number_of_threads_gives_the_same_bits():
    """And so does every run, and every process."""
    runs = [
        in_new_process(digests, [1, 2, 4], NUMBA_NUM_THREADS=4, timeout=250).stdout,
        in_new_process(digests, [1], NUMBA_NUM_THREADS=1, timeout=250).stdout,
    ]
    seen = {}
    for line in "".join(runs).splitlines():
        name, _, digest = line.partition(": ")
        seen.setdefault(name, []).append(digest)
    assert len(seen) == 2 * 9
    assert {name: len(found) for name, found in seen.items()} == dict.fromkeys(seen, 2 * 4)
    assert {name: len(set(found)) for name, found in seen.items()} == dict.fromkeys(seen, 1)


# ---------------------------------------------------------------- in this process

DATA = problem(300, 40, 5)


def train(seed=0):
    """A run of every kernel that has threads."""
    options = {"verbose": False, "random_state": seed, "n_jobs": 2}
    theta, losses = fastclf.train_model(DATA.X, DATA.targets, 0.5, 30, True, True, **options)
    narrow, _ = fastclf.train_model(DATA.X[:, :3], DATA.targets, 0.5, 30, True, True, **options)
    mlp = fastclf.MLPClassifier(40, 30, 5, random_state=seed, n_jobs=2)
    mlp.train(DATA.X.T, DATA.labels, 30, 0.5, verbose=False)
    return theta, losses, narrow, mlp.W1, mlp.W2


def test_two_python_threads_train_at_once(threads_for_all):
    expected = [train(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(train, range(4)), expected):
            for a, b in zip(got, wanted):
                np.testing.assert_array_equal(a, b)


@pytest.fixture
def no_threads(monkeypatch):
    def team_of(threads):
        raise AssertionError(f"{threads} threads")

    monkeypatch.setattr(pool, "team_of", team_of)


def test_small_steps_are_serial(no_threads):
    """A team would cost more than the whole step."""
    fastclf.train_model(DATA.X[:20, :3], DATA.targets[:20], 0.5, 3, True, True, verbose=False)


def test_one_job_is_one_thread(no_threads, threads_for_all):
    """For large data too, which a kernel checks."""
    large = problem(700, 200, 5)
    for p in (DATA, large):
        fastclf.train_model(p.X, p.targets, 0.5, 3, True, True, verbose=False, n_jobs=1)
        fastclf.MLPClassifier(p.X.shape[1], 3, 5, n_jobs=1).train(p.X.T, p.labels, 2, verbose=False)


# ---------------------------------------------------------------- in other processes


def on_the_layer_that_ends_processes():
    """Numba's own thread pool aborts if two threads enter it: ours take turns."""
    from concurrent.futures import ThreadPoolExecutor

    import numba
    import numpy as np

    import fastclf
    from fastclf.engine import threads as threads_module

    threads_module.SERIAL_BELOW = dict.fromkeys(threads_module.SERIAL_BELOW, 0)
    X, y = np.random.default_rng(0).standard_normal((300, 40)), np.arange(300) % 5

    def train(seed):
        return fastclf.train_model(X, np.eye(5)[y], 0.5, 200, True, True, verbose=False, random_state=seed, n_jobs=2)[0]

    expected = [train(seed) for seed in range(4)]
    assert numba.threading_layer() == "workqueue"
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(train, range(4)), expected):
            np.testing.assert_array_equal(got, wanted)


def test_the_workqueue_layer():
    in_new_process(on_the_layer_that_ends_processes, NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS=2)


def after_a_fork(parent_jobs):
    """A child, and its child, train on, whatever the parent has started."""
    import multiprocessing
    import os

    import numpy as np

    import fastclf
    from fastclf.engine import threads as threads_module

    threads_module.SERIAL_BELOW = dict.fromkeys(threads_module.SERIAL_BELOW, 0)
    X, y = np.random.default_rng(0).standard_normal((300, 40)), np.arange(300) % 5

    def train(n_jobs=2):
        return fastclf.train_model(X, np.eye(5)[y], 0.5, 20, True, True, verbose=False, random_state=0, n_jobs=n_jobs)[
            0
        ]

    def in_child(then):
        pid = os.fork()
        if pid == 0:
            try:
                np.testing.assert_array_equal(train(), expected)
                then()
            except BaseException:
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0

    expected = train(parent_jobs)
    in_child(lambda: in_child(lambda: None))
    worker = multiprocessing.get_context("fork").Process(target=train)
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    np.testing.assert_array_equal(train(), expected)  # the parent has its threads still


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin", reason="no safe fork"
)
@pytest.mark.parametrize("parent_jobs", [1, 2])
def test_forked_children_train(parent_jobs):
    in_new_process(after_a_fork, parent_jobs, NUMBA_NUM_THREADS=2)
