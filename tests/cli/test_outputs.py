"""Where commands write: never over what they read, over nothing that they did not make, and somewhere if a disk is full."""

import os
import sys

import numpy as np
import pytest

import fastclf
from fastclf import cli
from fastclf.cli import outputs


@pytest.fixture(autouse=True)
def in_a_folder_with_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("data.npz", X=rng.standard_normal((60, 4)), y=rng.integers(0, 2, 60))
    np.save("X.npy", rng.standard_normal((60, 4)))
    np.savetxt("y.txt", rng.integers(0, 2, 60), "%d")
    run("train", "data.npz", "--epochs", 2, "--quiet", "--save", "model")


def run(*arguments, code=0):
    assert cli.main([*map(str, arguments)]) == code


def refused(capsys, *arguments):
    """The command must change no file; returns what it says."""
    before = {name: open(name, "rb").read() for name in os.listdir() if os.path.isfile(name)}  # noqa: SIM115
    run(*arguments, code=2)
    after = {name: open(name, "rb").read() for name in os.listdir() if os.path.isfile(name)}  # noqa: SIM115
    assert after == before
    return capsys.readouterr().err


TRAIN = ("train", "data.npz", "--epochs", "2", "--quiet", "--save")


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_command_never_writes_over_what_it_reads(force, capsys):
    os.link("data.npz", "link.npz")
    os.symlink("data.npz", "symbolic.npz")
    for name in ("data.npz", "./data.npz", "link.npz", "symbolic.npz"):
        assert "would write over data.npz, which this command reads" in refused(capsys, *TRAIN, name, *force)
    for name in ("X.npy", "y.txt"):
        labelled = ("train", "X.npy", "--labels", "y.txt", "--epochs", "2", "--quiet", "--save", name, *force)
        assert f"would write over {name}" in refused(capsys, *labelled)
    for name in ("model", "data.npz"):
        assert f"would write over {name}" in refused(capsys, "predict", "model", "data.npz", "--out", name, *force)
    assert "would write over data.npz" in refused(capsys, *TRAIN, "new", "--checkpoint", "data.npz", *force)


def test_a_file_that_is_there_needs_force(capsys):
    assert "--save model: there is such a file; --force replaces it" in refused(capsys, *TRAIN, "model")
    open("labels.csv", "w").close()
    assert "--out labels.csv: there is such a file" in refused(
        capsys, "predict", "model", "data.npz", "--out", "labels.csv"
    )
    assert "--checkpoint" in refused(capsys, *TRAIN, "new", "--checkpoint", "labels.csv")
    run(*TRAIN, "model", "--force")
    run("predict", "model", "data.npz", "--out", "labels.csv", "--force")
    assert len(open("labels.csv").readlines()) == 61  # noqa: SIM115


def test_a_report_goes_into_a_folder_of_its_own(capsys):
    os.mkdir("thesis")
    open("thesis/chapter.txt", "w").close()
    os.mkdir("site")
    open("site/index.html", "w").close()
    for folder in ("thesis", "site"):
        assert "holds something else than a report" in refused(capsys, *TRAIN, "new", "--report", folder)
        assert "holds something else than a report" in refused(capsys, "lab", "--quick", "--out", folder)
    for _ in range(2):  # an earlier report is replaced
        run(*TRAIN, "new", "--force", "--report", "report")
    assert os.path.exists("report/index.html")


# ---------------------------------------------------------------- a disk that is full


@pytest.fixture
def full(monkeypatch):
    """The current folder takes no more bytes."""
    here = os.getcwd()

    def write(self, path):
        if os.path.dirname(os.path.abspath(path)) == here:
            raise OSError(28, "No space left on device")
        return fastclf.save(self, path)

    monkeypatch.setattr(fastclf.FastMLPClassifier, "save", write)


def test_a_model_is_saved_elsewhere_if_the_disk_is_full(full, capsys, tmp_path, monkeypatch):
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spare))
    run(*TRAIN, "new")
    said = capsys.readouterr()
    [saved] = spare.iterdir()
    assert "new can not be written: No space left on device" in said.err
    assert f"saved to {saved}" in said.out
    assert fastclf.load(saved).n_iter_ == 2


def test_on_a_terminal_the_user_may_name_a_place(full, capsys, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.getcwd())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    answers = iter(["also-here", "other/new"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    run(*TRAIN, "new")
    assert "saved to other/new" in capsys.readouterr().out
    assert fastclf.load("other/new").n_iter_ == 2


def test_without_a_terminal_the_failure_is_said(full, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", os.getcwd())
    run(*TRAIN, "new", code=2)
    assert capsys.readouterr().err.count("No space left on device") >= 2


def test_giving_up(monkeypatch):
    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    with pytest.raises(OSError, match="No space left"):
        outputs.saved(fail, "new")


# ---------------------------------------------------------------- checkpoints


def test_a_run_goes_on_from_its_checkpoint(capsys):
    how = ("train", "data.npz", "--quiet", "--model", "linear")
    run(*how, "--epochs", 3, "--save", "short", "--checkpoint", "c")
    run(*how, "--epochs", 7, "--save", "long", "--checkpoint", "c", "--resume", "--checkpoint-every", "2min")
    run(*how, "--epochs", 7, "--save", "at once")
    long, at_once = fastclf.load("long"), fastclf.load("at once")
    np.testing.assert_array_equal(long.coef_, at_once.coef_)
    assert long.loss_curve_ == at_once.loss_curve_
    assert "--resume needs --checkpoint" in refused(capsys, *TRAIN, "new", "--resume")
    with pytest.raises(SystemExit):
        run(*TRAIN, "new", "--checkpoint", "d", "--checkpoint-every", "0min")
