"""A run that is killed goes on from its checkpoint, and ends with the bits of one that nobody has killed."""

import datetime
import itertools
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastclf
from fastclf.io import persist
from fastclf.io.checkpoint import Checkpoint

from . import kills

ROOT = Path(__file__).parents[2]
KILLS_PER_RUN = 2  # of each of the runs


@pytest.fixture(autouse=True)
def torch_for_its_loaders(request):
    if "a loader" in request.node.name:
        pytest.importorskip("torch", exc_type=ImportError)


def unkilled(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kills.bits(kills.RUNS[name](checkpoint=tmp_path / "unkilled"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", kills.RUNS)
def test_a_killed_run_goes_on(name, tmp_path, record_property):
    rng, killed = np.random.default_rng(len(name)), 0
    checkpoint, result = tmp_path / "checkpoint", tmp_path / "result"
    while not result.exists():
        command = [sys.executable, "-m", "tests.robustness.kills", name, str(checkpoint), str(result)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            first = process.stdout.readline()  # "begins", unless no epoch was left to train
            if killed < KILLS_PER_RUN:
                time.sleep(rng.uniform(0.05, 0.25))  # all kills come before the last of the epochs
                process.kill()
            rest, said = process.communicate(timeout=120)
        if process.returncode < 0:
            killed += 1
        else:
            assert process.returncode == 0, said.decode()
            assert killed >= KILLS_PER_RUN, "it ended before it was killed"
    *_, epochs = (first + rest).splitlines()
    assert int(epochs.split()[0]) < kills.EPOCHS  # the last process did not begin anew
    assert result.read_bytes() == unkilled(name, tmp_path)
    record_property("kills survived", killed)
    assert not [
        path for path in tmp_path.iterdir() if path.suffix == ".tmp" and path.stat().st_mtime < time.time() - 3600
    ]


def part_of(name, epochs, path, monkeypatch):
    """Train for some epochs only."""
    monkeypatch.setattr(kills, "EPOCHS", epochs)
    return kills.RUNS[name](checkpoint=path)


def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path):
    made = {"tol": None, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, data in ((fastclf.FastLinearClassifier, kills.X), (fastclf.FastMLPClassifier, kills.X)):
            how = {name: value for name, value in made.items() if kind is fastclf.FastLinearClassifier or name != "tol"}
            path = tmp_path / kind.__name__
            kind(max_iter=5, **how).fit(data, kills.Y, checkpoint=path)
            longer = kind(max_iter=9, **how).fit(data, kills.Y, checkpoint=path, resume=True)
            at_once = kind(max_iter=9, **how).fit(data, kills.Y)
            np.testing.assert_array_equal(longer.predict_proba(data), at_once.predict_proba(data))
            assert longer.n_iter_ == at_once.n_iter_ == 9
            again = kind(max_iter=9, **how).fit(data, kills.Y, checkpoint=path, resume=True)  # nothing is left to do
            np.testing.assert_array_equal(again.predict_proba(data), at_once.predict_proba(data))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path, X, Y = tmp_path / "checkpoint", kills.X, kills.Y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fastclf.FastLinearClassifier(max_iter=3, random_state=0).fit(X, Y, checkpoint=path)
        for other, data in (
            (fastclf.FastLinearClassifier(max_iter=3, random_state=0, alpha=1.0), (X, Y)),
            (fastclf.FastLinearClassifier(max_iter=3, random_state=1), (X, Y)),
            (fastclf.FastLinearClassifier(max_iter=3, random_state=0), (X + 1, Y)),
            (fastclf.FastLinearClassifier(max_iter=3, random_state=0), (X, (Y + 1) % 3)),
            (fastclf.FastMLPClassifier(max_iter=3, random_state=0), (X, Y)),
        ):
            with pytest.raises(ValueError, match="is of another run"):
                other.fit(*data, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="is of another run"):
        fastclf.train_model(X, np.eye(3)[Y], multiclass=True, checkpoint=path, resume=True)


@pytest.mark.parametrize("damage", [lambda b: b[:-7], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    path, data = tmp_path / "checkpoint", (kills.X, np.eye(3)[kills.Y], 0.1, 5, True, True)
    fastclf.train_model(*data, checkpoint=path, verbose=False)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="can not be loaded"):
        fastclf.train_model(*data, checkpoint=path, resume=True, verbose=False)


def test_a_model_is_no_checkpoint_and_a_checkpoint_no_model(tmp_path):
    path, data = tmp_path / "file", (kills.X, np.eye(3)[kills.Y], 0.1, 5, True, True)
    fastclf.save(fastclf.train_model(*data, verbose=False), path)
    with pytest.raises(ValueError, match="it is not a checkpoint"):
        fastclf.train_model(*data, checkpoint=path, resume=True, verbose=False)
    fastclf.train_model(*data, checkpoint=path, verbose=False)
    with pytest.raises(ValueError, match="it is not a model"):
        fastclf.load(path)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"resume": True}, ValueError, "resume needs a checkpoint"),
        ({"checkpoint": "c", "checkpoint_every": 0}, ValueError, "checkpoint_every"),
        ({"checkpoint": "c", "checkpoint_every": 1.5}, TypeError, "checkpoint_every"),
        ({"checkpoint": "c", "checkpoint_every": datetime.timedelta(0)}, ValueError, "checkpoint_every"),
        ({"checkpoint": 7}, TypeError, "path"),
    ],
)
def test_what_can_not_be_meant(how, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        fastclf.train_model(kills.X, np.eye(3)[kills.Y], multiclass=True, verbose=False, **how)
    with pytest.raises(error, match=message):
        fastclf.FastLinearClassifier().fit(kills.X, kills.Y, **how)


def test_when_a_checkpoint_is_due(tmp_path, monkeypatch):
    written, now = [], [0.0]
    monkeypatch.setattr("fastclf.io.persist.write_values", lambda path, kind, values: written.append(values["state"]))
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    by_epochs = Checkpoint(tmp_path / "a", 4, False)
    for epochs in range(1, 11):
        by_epochs.after(epochs, dict, ended=epochs == 10)
    assert [state["epochs"] for state in written] == [4, 8, 10]
    written.clear()
    by_time = Checkpoint(tmp_path / "b", datetime.timedelta(minutes=1), False)
    for epochs in range(1, 11):
        now[0] += 25
        by_time.after(epochs, dict, ended=epochs == 10)
    assert [state["epochs"] for state in written] == [3, 6, 9, 10]


@pytest.mark.parametrize("name", ["train_model", "image", "mlp", "deep"])
def test_a_run_that_a_callback_ends_has_a_checkpoint_of_its_end(name, tmp_path):
    """However rarely checkpoints are due."""
    deep = fastclf.DeepMLPClassifier(12, 9, 3, random_state=0)
    runs = {
        "train_model": lambda **how: fastclf.train_model(kills.X, np.eye(3)[kills.Y], 0.1, 9, True, True, **how)[1],
        "image": lambda **how: fastclf.train(fastclf.ImageLinearClassifier(12, 3), kills.X, kills.Y, 9, 0.1, **how),
        "mlp": lambda **how: fastclf.MLPClassifier(12, 9, 3).train(kills.X.T, kills.Y, 9, 0.1, **how),
        "deep": lambda **how: deep.train(fastclf.Batches(kills.X, kills.Y, 32), 9, 0.1, patience=9, **how),
    }
    path = tmp_path / "checkpoint"
    losses = runs[name](checkpoint=path, checkpoint_every=100, verbose=False, callback=lambda epoch, *_: epoch == 4)
    assert len(losses) == 5
    assert persist.read_values(path, "checkpoint")["state"]["losses"] == losses


@pytest.mark.parametrize("name", [name for name in kills.RUNS if name.startswith("long epochs")])
def test_a_checkpoint_within_an_epoch_has_its_place_in_it(name, tmp_path, monkeypatch):
    """Each of the checkpoints of a run leads to the same end."""
    written = []
    write = persist.write_values

    def keep(path, kind, values):
        write(path, kind, values)
        done = values["state"].get("fit", values["state"])["done"]
        if (done[0] if isinstance(done, list) else done) > 0:
            written.append(Path(path).read_bytes())

    monkeypatch.setattr("fastclf.io.persist.write_values", keep)
    clock = itertools.count()
    monkeypatch.setattr("fastclf.io.checkpoint.time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(kills, "EPOCHS", 3)
    expected = unkilled(name, tmp_path)
    assert len(written) > 3
    checkpoint = tmp_path / "checkpoint"
    for data in written[:: max(1, len(written) // 5)]:
        checkpoint.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert kills.bits(kills.RUNS[name](checkpoint=checkpoint, resume=True)) == expected
