"""The main job, and the data it runs on."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fastclf import cli, lab
from fastclf.cli.compare import problems, timing

PICTURES = ("speedups", "loss_curves", "scatter3d", "decision_boundary", "templates", "confusion")


def check_report(folder, printed):
    """Every stage agrees, is printed, and is in the report; its pictures are there. Returns what it found."""
    results = json.loads((folder / "results.json").read_text())
    assert [stage["stage"] for stage in results["stages"]] == [
        "softmax, batch", "softmax, SGD", "sigmoid, batch", "sigmoid, SGD", "image linear", "MLP", "deep MLP"
    ]  # fmt: skip
    for stage in results["stages"]:
        assert stage["passed"]
        assert stage["stage"] in printed
        assert stage["largest_loss_difference"] <= 1e-9
        assert stage["reference_accuracy"] == stage["fastclf_accuracy"]
        assert len(stage["losses"]["fastclf"]) == stage["epochs"]
    page = (folder / "index.html").read_text()
    for name in PICTURES:
        assert f'src="{name}.png"' in page
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "table.txt").read_text().strip() in printed
    return results


@pytest.mark.parametrize("images", ["digits", "photos"])
def test_quick_lab(images, tmp_path, capsys):
    assert cli.main(["lab", "--quick", "--data", images, "--out", str(tmp_path)]) == 0
    results = check_report(tmp_path, capsys.readouterr().out)
    assert (results["data"], results["quick"], results["seed"]) == (images, True, timing.SEED)
    for stage in results["stages"]:
        losses = stage["losses"]["fastclf"]
        assert losses[-1] < losses[0], stage["stage"]  # both have learned something
        if stage["stage"].startswith(("softmax", "sigmoid")):  # the others have few epochs to learn in
            assert stage["fastclf_accuracy"] > 0.8, stage["stage"]


def test_lab_on_cifar10(cifar10, tmp_path, capsys):
    out = tmp_path / "report"
    arguments = ["lab", "--quick", "--data", "cifar10", "--data-root", str(cifar10), "--out", str(out)]
    assert cli.main(arguments) == 0
    results = check_report(out, capsys.readouterr().out)
    assert results["data"] == "cifar10"
    assert [len(stage["losses"]["fastclf"]) for stage in results["stages"]][-3:] == [5, 5, 2]  # epochs of a quick run


def test_cifar10_is_what_totensor_makes_of_it(cifar10):
    from torchvision.datasets import CIFAR10
    from torchvision.transforms import ToTensor

    expected = CIFAR10(cifar10, train=True, transform=ToTensor())
    got = problems.cifar10(str(cifar10), download=False, small=False)
    assert got.X_train.shape == (40, 3072)
    assert got.X_test.shape == (20, 3072)
    for i in (0, 39):
        image, label = expected[i]
        assert got.y_train[i] == label
        np.testing.assert_allclose(got.X_train[i], image.numpy().ravel(), atol=1e-7)


def test_photos_keep_training_and_test_apart():
    got = problems.photos()
    assert got.X_train.shape[1] == 3072
    assert set(got.y_train) == set(got.y_test) == {0, 1}
    seen = {row.tobytes() for row in got.X_train}
    assert not any(row.tobytes() in seen for row in got.X_test)


def test_a_stage_that_leaves_its_tolerance_fails_the_run(tmp_path, monkeypatch, capsys):
    honest = lab.train_model

    def wrong(*args, **kwargs):
        theta, losses = honest(*args, **kwargs)
        return theta, [loss + 1e-6 for loss in losses]

    monkeypatch.setattr(lab, "train_model", wrong)
    assert cli.main(["lab", "--quick", "--out", str(tmp_path)]) == 1
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize("broken", [[np.nan, 1.0], [1.0]])
def test_nan_or_a_shorter_run_is_no_agreement(broken):
    assert not timing._difference([1.0, 1.0], broken) <= 1e-9


def test_what_can_not_be_run_is_said(torchvision, tmp_path, capsys):
    assert cli.main(["lab", "--data", "cifar10"]) == 2
    assert "--data-root" in capsys.readouterr().err
    arguments = ["lab", "--data", "cifar10", "--data-root", str(tmp_path / "nothing"), "--out", str(tmp_path)]
    assert cli.main(arguments) == 2
    assert "not found" in capsys.readouterr().err


def test_cifar10_without_torchvision_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    assert cli.main(["lab", "--data", "cifar10", "--data-root", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("pip install 'fastclf[torch]'") == 1


def test_what_disturbs_the_times_is_said(tmp_path, monkeypatch, capsys):
    from fastclf.cli.compare import run

    told = iter([None, "the machine is busy"])
    monkeypatch.setattr(run, "interference", lambda: next(told))
    assert cli.main(["lab", "--quick", "--out", str(tmp_path)]) == 0
    assert "note: the machine is busy\n" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["disturbances"] == [None, "the machine is busy"]


def test_busy_processors_are_noticed():
    """Beside three processes for each processor, this one can not get most of one; on a noisy machine it may never."""
    endless = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(endless) for _ in range(3 * (os.cpu_count() or 1))]
    try:
        assert any("busy" in (timing.interference(0.3) or "") for _ in range(10))
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_jobs_limit_both_runs(tmp_path, monkeypatch):
    from threadpoolctl import threadpool_info

    from fastclf.cli.compare import run
    from fastclf.kernels import threads

    seen, honest = [], run.compare

    def noted(*args, **options):
        seen.append((threads.available()[0], {pool["num_threads"] for pool in threadpool_info()}))
        return honest(*args, **options)

    monkeypatch.setattr(run, "compare", noted)
    before = threads.available()[0]
    assert cli.main(["lab", "--quick", "--jobs", "1", "--out", str(tmp_path)]) == 0
    assert seen == [(1, {1})] * 7
    assert threads.available()[0] == before
