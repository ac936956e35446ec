"""What is said on the command line is said in its own words: options, and sentences."""

import errno
import os
import sys
import warnings

import numpy as np
import pytest

import fastclf
from fastclf import cli
from fastclf.cli.messages import in_options, of_error, warnings_as_lines
from fastclf.cli.options import parser

from .test_commands import in_an_empty_folder, run, told  # noqa: F401

SAYINGS = {
    "labels belong to a .npy file, got 'y.npy'": "--labels belong to a .npy file, got 'y.npy'",
    "labels.txt must hold a label": "labels.txt must hold a label",
    "X of labels.npy must hold a row per sample": "X of labels.npy must hold a row per sample",
    "one_hot must name features": "--one-hot must name features",
    "it is left out by `drop`, or by `one_hot`": "it is left out by --drop, or by --one-hot",
    "Got `batch_size` larger than sample size.": "Got --batch-size larger than sample size.",
    "Increase 'validation_fraction' or": "Increase '--validation' or",
    "X holds numbers up to 9, but multiplies by scale=0.5.": "DATA holds numbers up to 9, but multiplies by --scale 0.5.",
    "Input X contains NaN.\nFastMLPClassifier does not accept": "DATA contains NaN.",
    "'c' is of another run: alpha was 0.1, and is 0.2": "'c' is of another run: --alpha was 0.1, and is 0.2",
    "X is too large: scale them, or give learning_rate and eta0": "DATA is too large: scale them, or give --learning-rate",
    "'labels' can not be loaded": "'labels' can not be loaded",
    "the data and their labels have no scale": "the data and their labels have no scale",
}


@pytest.mark.parametrize("said", SAYINGS)
def test_arguments_are_called_options(said):
    assert in_options(said) == SAYINGS[said]


def test_every_option_that_is_mentioned_is_there(capsys):
    from fastclf.cli import messages

    options = {*messages._OPTIONS.values(), *messages._PHRASES.values()} - {"DATA"}
    with pytest.raises(SystemExit):
        parser().parse_args(["train", "--help"])
    shown = capsys.readouterr().out
    assert [option for option in sorted(options) if option not in shown] == []


def test_errors_of_the_system_are_sentences():
    assert of_error(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x.csv")) == "x.csv: Permission denied"
    assert of_error(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert of_error(FileNotFoundError("there is no file x.csv")) == "there is no file x.csv"
    assert of_error(MemoryError("Unable to allocate 8 TiB")) == "there is not enough memory: Unable to allocate 8 TiB"
    assert of_error(MemoryError()) == "there is not enough memory"


def test_warnings_are_lines(capsys):
    with warnings_as_lines("train", FutureWarning) as caught:
        warnings.warn("max_iter is small", stacklevel=1)
        warnings.warn("not to be said", FutureWarning, stacklevel=1)
        warnings.warn("nor this, which is for developers", DeprecationWarning, stacklevel=1)
    assert told(capsys) == "fastclf train: --epochs is small\n"
    assert len(caught) == 3


# ---------------------------------------------------------------- in commands


def test_a_text_that_is_called_npy_is_no_invitation_to_unpickle(capsys):
    open("X.npy", "w").write("1,2,3\n")  # noqa: SIM115
    np.save("y.npy", [0])
    np.save("objects.npy", np.array([{}, 1]), allow_pickle=True)
    for name, why in (("X.npy", "it does not begin as a file of NumPy does"), ("objects.npy", "")):
        run("train", name, "--labels", "y.npy", "--save", "m", code=2)
        said = told(capsys)
        assert said.startswith(f"fastclf train: {name} must be a .npy file of numbers: {why}")
        assert "pickle" not in said


def test_a_model_that_is_not_there_is_a_sentence(capsys):
    os.mkdir("folder")
    for command in ("evaluate", "predict"):
        run(command, "nothing.safetensors", "digits", code=2)
        assert told(capsys) == f"fastclf {command}: there is no file nothing.safetensors\n"
        run(command, "folder", "digits", code=2)
        assert told(capsys) == f"fastclf {command}: folder is a folder, not a file\n"


def test_memory_that_is_not_there_is_a_sentence(monkeypatch, capsys):
    def read(*args, **how):
        raise MemoryError

    monkeypatch.setattr("fastclf.cli.commands.read", read)
    run("train", "digits", "--save", "m", code=2)
    assert told(capsys) == "fastclf train: there is not enough memory\n"


def test_what_a_fit_says_is_said_of_options(capsys):
    np.savez("few.npz", X=np.eye(6), y=[0, 1] * 3)
    np.savez("nan.npz", X=np.array([[1.0, np.nan], [2, 3]] * 3), y=[0, 1] * 3)
    run("train", "few.npz", "--batch-size", 50, "--epochs", 2, "--save", "m", "--quiet", "--checkpoint", "c")
    assert told(capsys) == (
        "fastclf train: Got --batch-size less than 1 or larger than sample size. It is going to be clipped\n"
    )
    options = ["--alpha", 1, "--epochs", 2, "--quiet", "--checkpoint", "c", "--resume"]
    run("train", "few.npz", *options, "--save", "n", code=2)
    assert "of another run: --alpha was '0.0001', and is '1.0'" in told(capsys)
    run("train", "nan.npz", "--save", "n", "--quiet", code=2)
    assert told(capsys) == "fastclf train: DATA contains NaN.\n"


NUMBERS = {
    "--alpha -1": "argument --alpha: -1 is not 0 or more",
    "--alpha nan": "argument --alpha: nan is not 0 or more",
    "--learning-rate 0": "argument --learning-rate: 0 is not more than 0",
    "--dropout 1": "argument --dropout: 1 is not 0 or more, and below 1",
    "--validation 1.5": "argument --validation: 1.5 is not more than 0, and below 1",
    "--validation 0": "argument --validation: 0 is not more than 0, and below 1",
    "--scale half": "argument --scale: 'half' is no number",
    "--epochs many": "argument --epochs: 'many' is no whole number",
    "--seed -1": "argument --seed: -1 is not in 0 … 4294967295",
    "--jobs 0": "argument --jobs: 0 is no number of threads: 1 is one thread, -1 all of them",
    "--checkpoint-every xmin": "argument --checkpoint-every: 'x' is no number",
}


@pytest.mark.parametrize("options", NUMBERS)
def test_numbers_that_can_not_be_meant(options, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "digits", "--save", "m", *options.split()])
    assert ended.value.code == 2
    assert NUMBERS[options] in told(capsys)


def test_all_threads():
    assert parser().parse_args(["train", "digits", "--save", "m", "--jobs", "-1"]).jobs == -1


@pytest.mark.skipif(sys.platform == "win32", reason="devices are files there")
def test_a_device_is_no_place_for_a_model(capsys):
    run("train", "digits", "--save", os.devnull, "--force", "--quiet", "--epochs", 1, code=2)
    assert f"--save {os.devnull} is a device, and no file" in told(capsys)


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fastclf {fastclf.__version__}\n"
