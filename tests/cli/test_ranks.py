"""``fastclf train`` under torchrun: real processes over gloo."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import fastclf

pytest.importorskip("torch.distributed.run")

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
TRAIN = ["-m", "fastclf", "train"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}


@contextmanager
def running(*command, folder):
    """A command that runs in a folder, and a function that waits for its end, and returns its status and what it said.

    What still runs at the end of the context is told to end; torchrun then ends its ranks.
    """
    names = folder / "out", folder / "errors"
    with open(names[0], "w") as out, open(names[1], "w") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, cwd=folder, env=ENVIRONMENT)

    def ended(timeout=100):
        return process.wait(timeout), *(name.read_text() for name in names)

    try:
        yield process, ended
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(*command, folder):
    with running(*command, folder=folder) as (_, ended):
        return ended()


def parameters(path):
    return fastclf.load(path)._first_layer()


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((201, 5))
    np.savez(tmp_path / "data.npz", X=X, y=np.argmax(X[:, :3], axis=1))
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "mlp", "--validation", "0.2", "--standardize"],
        ["--model", "linear", "--batch-size", "20", "--balanced", "--learning-rate", "0.1"],
    ],
    ids=["mlp", "linear"],
)
def test_two_ranks_train_what_one_trains(table, options):
    common = [*TRAIN, "data.npz", "--epochs", "8", *options]
    status, out, errors = run(*TORCHRUN, *common, "--save", "two.safetensors", "--quiet", folder=table)
    assert status == 0, errors
    assert out.count("201 samples, 5 features, 3 classes, float64, on 2 ranks") == 1
    assert out.count("saved to two.safetensors") == 1
    status, _, errors = run(sys.executable, *common, "--save", "one.safetensors", "--quiet", folder=table)
    assert status == 0, errors
    for got, expected in zip(parameters(table / "two.safetensors"), parameters(table / "one.safetensors")):
        assert np.abs(got - expected).max() < 1e-10


def test_an_error_is_said_once(tmp_path):
    status, out, errors = run(*TORCHRUN, *TRAIN, "absent.npz", "--save", "model.safetensors", folder=tmp_path)
    assert status != 0
    [said] = [line for line in errors.splitlines() if line.startswith("fastclf train: ")]
    assert "absent.npz" in said
    assert "saved" not in out


def test_ctrl_c_saves_what_there_is(table):
    options = ["data.npz", "--epochs", "10000000", "--patience", "10000000", "--quiet", "--checkpoint", "state"]
    with running(*TORCHRUN, *TRAIN, *options, "--save", "model.safetensors", folder=table) as (process, ended):
        until = time.monotonic() + 60
        while not (table / "state").exists():
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, out, errors = ended()
    assert out.count("interrupted; saved to model.safetensors") == 1, errors
    assert fastclf.load(table / "model.safetensors").n_iter_ >= 1


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the ranks in /proc")
def test_a_run_of_which_a_rank_is_killed_ends_with_the_same_bits(table):
    options = ["data.npz", "--epochs", "500", "--patience", "1000", "--batch-size", "100", "--quiet"]
    keeping = ["--checkpoint", "state", "--checkpoint-every", "5", "--resume"]
    status, _, errors = run(*TORCHRUN, *TRAIN, *options, "--save", "whole.safetensors", folder=table)
    assert status == 0, errors
    command = [*TORCHRUN, "--max-restarts", "1", *TRAIN, *options, *keeping, "--save", "killed.safetensors"]
    with running(*command, folder=table) as (process, ended):
        until = time.monotonic() + 60
        while not (table / "state").exists():
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.01)
        ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(ranks[1]), signal.SIGKILL)
        assert not (table / "killed.safetensors").exists()
        status, out, errors = ended()
        assert status == 0, errors
    assert out.count("saved to killed.safetensors") == 1
    for got, expected in zip(parameters(table / "killed.safetensors"), parameters(table / "whole.safetensors")):
        assert np.array_equal(got, expected)


def test_the_manuals_script_gives_the_answer_of_one_process(tmp_path):
    manual = Path(__file__).parents[2] / "docs" / "distributed.md"
    if not manual.exists():
        pytest.skip("the manual is in the repository alone")
    [script] = re.findall(r"```python\n(.*?)```", manual.read_text(), re.DOTALL)
    (tmp_path / "train.py").write_text(script)
    found = []
    for ranks in ("2", "1"):
        status, out, errors = run(*TORCHRUN[:-1], ranks, "train.py", folder=tmp_path)
        assert status == 0, errors
        found.append((re.findall("accuracy (.*)", out), parameters(tmp_path / "digits.safetensors")))
    (said, two), (expected, one) = found
    assert said == expected
    assert len(said) == 1
    assert float(said[0]) > 0.95
    assert all(np.abs(a - b).max() < 1e-10 for a, b in zip(two, one))
