"""Ctrl-C at any moment, forks at any moment, and threads, processes and libraries in any order."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from ..helpers import in_new_process

posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks are POSIX's")
MOST_SECONDS = 0.5  # from Ctrl-C to what Python makes of it; twice that on a machine that may be busy
LONG = {
    "train_model": "fastclf.train_model(X, np.eye(3)[Y], 1e-3, 10**9, True, True, verbose=False)",
    "train_model, SGD": "fastclf.train_model(X, np.eye(3)[Y], 1e-3, 10**9, False, True, verbose=False)",
    "narrow": "fastclf.train_model(X[:, :3], np.eye(3)[Y], 1e-3, 10**9, False, True, verbose=False)",
    "image": "fastclf.train(fastclf.ImageLinearClassifier(500, 3), X, Y, 10**9, 1e-3, verbose=False)",
    "mlp": "fastclf.MLPClassifier(500, 50, 3).train(X.T, Y, 10**9, verbose=False)",
    "deep": "fastclf.DeepMLPClassifier(500, 50, 3).train(fastclf.Batches(X, Y, 64), 10**9, patience=10**9, verbose=False)",
    "deep, a list": "fastclf.DeepMLPClassifier(500, 50, 3).train([(X, Y)] * 9, 10**9, patience=10**9, verbose=False)",
    "linear": "fastclf.FastLinearClassifier(max_iter=10**9, tol=None).fit(X, Y)",
    "linear, l1": "fastclf.FastLinearClassifier(penalty='l1', max_iter=10**9, tol=None).fit(X, Y)",
    "linear, full": "fastclf.FastLinearClassifier(batch_size='full', max_iter=10**9, tol=None).fit(X, Y)",
    "linear, sparse": "fastclf.FastLinearClassifier(max_iter=10**9, tol=None).fit(sparse.csr_matrix(X), Y)",
    "adam": "fastclf.FastMLPClassifier(max_iter=10**9, n_iter_no_change=10**9).fit(X, Y)",
}


def interrupted(code, wait, **environment):
    """Run code that trains, and press Ctrl-C after ``wait`` seconds of it; returns how it ended, and how soon."""
    script = f"""
import sys, time, warnings
import numpy as np
from scipy import sparse
import fastclf
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((20000, 500)), rng.integers(0, 3, 20000)
import fastclf.estimators  # before the clock runs
print("ready", flush=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        {code}
        how = "returned"
    except KeyboardInterrupt:
        how = "interrupted"
    at, work = time.time(), time.process_time()
warned = any(issubclass(w.category, fastclf.TrainingInterruptedWarning) for w in caught)
fastclf.FastLinearClassifier(max_iter=1, tol=None).fit(X[:50], Y[:50])  # nothing is left half done
print(how, warned, repr(at), repr(work), flush=True)
"""
    # Coverage would trace every line that Numba's import and compiler run, which takes longer than what is measured.
    untraced = {k: v for k, v in os.environ.items() if k not in ("COVERAGE_PROCESS_START", "NUMBA_JIT_COVERAGE")}
    environment = untraced | {"NUMBA_NUM_THREADS": "1"} | {name: str(value) for name, value in environment.items()}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd="/"
    ) as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(wait)
        pressed, worked = time.time(), seconds_of_work(process.pid)
        process.send_signal(signal.SIGINT)
        try:
            said, errors = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert said, errors
    how, warned, at, work = said.split()
    return how, warned == "True", float(at) - pressed, float(work) - worked


def seconds_of_work(process):
    """The processors' time that a process has had, of all its threads; what is not known counts as much."""
    if sys.platform != "linux":
        return np.inf
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def was_soon(how, warned, seconds, work):
    """Within a second, and within half a second of work: beside other processes, a process waits for a processor."""
    assert (how, warned) in (("returned", True), ("interrupted", False))  # the latter while its kernel is compiled
    assert seconds < 2 * MOST_SECONDS
    assert work < MOST_SECONDS


@posix
@pytest.mark.parametrize("name", LONG)
def test_ctrl_c_ends_every_trainer_soon(name, tmp_path):
    was_soon(*interrupted(LONG[name], 1.2))


@posix
@pytest.mark.parametrize("wait", [0.03, 0.1, 0.2, 0.3, 0.4])
def test_ctrl_c_while_numba_is_imported(wait):
    was_soon(*interrupted(LONG["linear, l1"], wait))


def interrupt_between_two_routines_of_a_module():
    import os
    import signal
    import time

    import numpy as np

    import fastclf
    from fastclf.kernels import jit

    made = jit.Routine.__init__

    def pressed(self, *args, **how):
        made(self, *args, **how)
        if self.name == "linear.chunk_gradients":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    jit.Routine.__init__ = pressed
    X, y, how = np.random.default_rng(0).standard_normal((200, 50)), np.arange(200) % 3, "returned"
    try:
        fastclf.FastLinearClassifier(max_iter=2, tol=None).fit(X, y)
    except KeyboardInterrupt:
        how = "interrupted"
    assert how == "interrupted"
    assert fastclf.FastLinearClassifier(max_iter=2, tol=None).fit(X, y).n_iter_ == 2


@posix
def test_ctrl_c_while_a_module_of_kernels_is_imported():
    in_new_process(interrupt_between_two_routines_of_a_module)


@posix
@pytest.mark.parametrize("wait", [0.2, 1.1])
@pytest.mark.parametrize("name", ["train_model, SGD", "adam", "linear, l1"])
def test_ctrl_c_need_not_wait_for_the_compiler(name, wait, tmp_path):
    was_soon(*interrupted(LONG[name], wait, FASTCLF_CACHE_DIR=tmp_path))


# ---------------------------------------------------------------- forks


def fork_while_another_thread_compiles(kind):
    import multiprocessing
    import threading
    import time

    import numpy as np

    import fastclf.estimators
    from fastclf.kernels import mlp  # noqa: F401  # a fork in the middle of an import is lost in any case

    X, y = np.random.default_rng(0).standard_normal((50, 70)), np.arange(50) % 3

    def train(queue=None):
        model = fastclf.FastMLPClassifier((5,), max_iter=2, random_state=0).fit(X, y)
        if queue is not None:
            queue.put(model.predict_proba(X))
        return model.predict_proba(X)

    thread = threading.Thread(target=train)
    thread.start()
    time.sleep(0.3)  # of the seconds that it takes
    context = multiprocessing.get_context(kind)
    queue = context.Queue()
    child = context.Process(target=train, args=(queue,))
    child.start()
    got = queue.get(timeout=60)
    child.join(60)
    thread.join()
    assert child.exitcode == 0
    np.testing.assert_array_equal(got, train())


@posix
def test_a_fork_while_another_thread_compiles(tmp_path):
    in_new_process(fork_while_another_thread_compiles, "fork", FASTCLF_CACHE_DIR=tmp_path)


# ---------------------------------------------------------------- threads, processes, libraries

WAYS = {
    "alone": "",
    "eight threads": """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: train(), range(8)))
    """,
    **{
        kind: f"""
            import multiprocessing
            train()
            with multiprocessing.get_context("{kind}").Pool(2) as pool:
                results = pool.map(train, range(2))
        """
        for kind in ("fork", "forkserver", "spawn")
    },
    "joblib, loky": "import joblib; results = joblib.Parallel(2)(joblib.delayed(train)() for _ in range(4))",
    "joblib, threading": (
        "import joblib; results = joblib.Parallel(4, backend='threading')(joblib.delayed(train)() for _ in range(4))"
    ),
    "torch before": "import torch; torch.ones(500, 500) @ torch.ones(500, 500)",
    "torch after": "train(); import torch; torch.ones(500, 500) @ torch.ones(500, 500)",
    **{
        f"torch's workers, {kind}": f"""
            from torch.utils.data import DataLoader
            train()
            first = train()[0, 0]
            for values, _ in DataLoader(Samples(), batch_size=2, num_workers=2, multiprocessing_context="{kind}"):
                assert (values.numpy() == first).all()
        """
        for kind in ("fork", "spawn")
    },
    "one thread": "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    if sys.platform == "linux"
    else "",
    "an exception inside": """
        from fastclf.engine.minibatch import BatchTrainer
        epoch = BatchTrainer.epoch
        def fail(*args, **how):
            raise ZeroDivisionError
        BatchTrainer.epoch = fail
        try:
            train()
        except ZeroDivisionError:
            pass
        BatchTrainer.epoch = epoch
    """,
}
LAYERS = ["default", "workqueue", *(["omp"] if sys.platform == "linux" else [])]
SCRIPT = """
import numpy as np
import fastclf
from fastclf.engine import threads
threads.SERIAL_BELOW = dict.fromkeys(threads.SERIAL_BELOW, 0)  # every step gets threads
X, y = np.random.default_rng(0).standard_normal((300, 70)), np.arange(300) % 3

def train(_=None):
    return fastclf.FastMLPClassifier((20,), max_iter=3, random_state=0, tol=0).fit(X, y).predict_proba(X)

class Samples:
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return train()[0, 0], i

if __name__ == "__main__":
    results = []
{way}
    if not results:
        results = [train()]
    for result in results:
        assert (result == results[0]).all()
    np.save("result.npy", results[0])
"""


def result_of(way, layer, folder):
    if "torch" in WAYS[way]:
        pytest.importorskip("torch", exc_type=ImportError)
    way = textwrap.indent(textwrap.dedent(WAYS[way]), "    ")
    (folder / "way.py").write_text(SCRIPT.format(way=way), encoding="utf-8")  # processes that are spawned import it
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "way.py"], cwd=folder, capture_output=True, text=True, timeout=120,
        env=os.environ | {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    return np.load(folder / "result.npy")


@pytest.fixture(scope="session")
def result_of_one_thread(tmp_path_factory):
    return result_of("one thread", "default", tmp_path_factory.mktemp("one thread"))


@posix
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_bits(way, layer, tmp_path, record_property, result_of_one_thread):
    np.testing.assert_array_equal(result_of(way, layer, tmp_path), result_of_one_thread)
    record_property("ways of threads and processes", 1)
