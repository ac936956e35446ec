"""The options of every command, and their help."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from typing import Any


def parser() -> argparse.ArgumentParser:
    """The parser of the command line, with a subparser for each command."""
    top = argparse.ArgumentParser(prog="fastclf", description="Small classifiers, trained fast on a CPU.")
    top.add_argument("--version", action="version", version=f"fastclf {version('fastclf')}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    lab = commands.add_parser(
        "lab",
        help="run the whole lab on plain NumPy and on fastclf, and compare",
        description="Run every stage of the lab twice, on plain NumPy and on fastclf, from the same seeds; print a table "
        "and write a report with pictures. Exit status: 0 if every stage agrees within its tolerance, 1 if one does not, "
        "2 if the lab could not be run.",
    )
    lab.add_argument(
        "--data", choices=("digits", "photos", "cifar10"), default="digits",
        help="images: scikit-learn's handwritten digits (default), patches of its two photographs, or CIFAR-10",
    )  # fmt: skip
    lab.add_argument("--data-root", metavar="DIR", help="folder that holds CIFAR-10, as torchvision lays it out")
    lab.add_argument("--download", action="store_true", help="let torchvision download CIFAR-10 into --data-root")
    lab.add_argument("--out", metavar="DIR", default="lab-report", help="folder of the report (default: %(default)s)")
    lab.add_argument("--quick", action="store_true", help="few epochs: a run of seconds")
    lab.add_argument(
        "--jobs", type=_count, metavar="N", help="threads, for NumPy's products and for fastclf (default: all)"
    )

    _add_training(commands)
    info = commands.add_parser("info", help="versions, processor, tile, threads, cache: what a bug report needs")
    info.add_argument("--json", action="store_true", help="print one line of JSON instead")
    warmup = commands.add_parser("warmup", help="compile every kernel and keep it, so that no later run waits")
    carried = warmup.add_mutually_exclusive_group()
    carried.add_argument("--export", metavar="FILE", help="then put the kernels into a file, for other machines")
    carried.add_argument(
        "--import", dest="taken", metavar="FILE",
        help="first take in the kernels of such a file: machine code, which will be run, so trust where it comes from",
    )  # fmt: skip
    return top


_DATA = """\
DATA is one of
  FILE.npz        arrays X and y, or X_train, y_train, X_test, y_test
  FILE.npy        samples, read from the disk as they are needed; with --labels FILE
  FILE.csv        a table with a column of labels: the last one, or --target; also .tsv, .csv.gz and .tsv.gz;
                  columns are cut at commas, semicolons, tabs or vertical bars, or at --delimiter
  FILE.parquet    the same (pip install 'fastclf[parquet]')
  -               the same as FILE.csv, from standard input
  digits          scikit-learn's handwritten digits
  cifar10:DIR     CIFAR-10 in a folder, as torchvision lays it out

Exit status: 0 if all went well, 2 if something has to be put right, which is said, 130 after Ctrl-C.
"""
_EXAMPLES = """\
examples:
  fastclf train digits --model mlp --hidden 100 100 --save digits.safetensors
  fastclf train flowers.csv --model linear --target species --standardize --save flowers.safetensors
  fastclf train patients.csv.gz --target died --drop id --one-hot --balanced --save patients.safetensors
  fastclf train images.npy --labels labels.npy --model mlp --scale 0.00392 --epochs 20 --save images.safetensors
  torchrun --nproc-per-node 2 -m fastclf train digits --save digits.safetensors

"""


def _add_training(commands: Any) -> None:
    """Add the commands ``train``, ``evaluate`` and ``predict``."""
    train = commands.add_parser(
        "train",
        help="train a classifier on a file, and save it",
        description="Train a linear classifier or a ReLU MLP, show how the loss falls, and save what has been learned. "
        "Training ends after --epochs, or before that when the loss no longer improves. Ctrl-C ends it too: what has been "
        "learned so far is saved.",
        epilog=_EXAMPLES + _DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_data(train, "train")
    train.add_argument(
        "--one-hot", nargs="*", metavar="COLUMN",
        help="for tables: encode columns of text, a feature for each text; without names, all that hold no number",
    )  # fmt: skip
    train.add_argument("--save", metavar="FILE", required=True, help="where to save the model, in safetensors format")
    train.add_argument("--force", action="store_true", help="let --save replace a file that is there")
    train.add_argument("--report", metavar="DIR", help="write a page with pictures into this folder")
    model = train.add_argument_group("model")
    model.add_argument(
        "--model", choices=("linear", "mlp"), default="mlp", help="kind of classifier (default: %(default)s)"
    )
    model.add_argument(
        "--hidden", nargs="+", type=_count, metavar="N", help="mlp: units of each hidden layer (default: 100)"
    )
    model.add_argument(
        "--dropout", type=_number(0, 1), metavar="P", help="mlp: leave hidden units out with this probability"
    )
    model.add_argument("--alpha", type=_number(0), metavar="A", help="strength of the L2 penalty (default: 0.0001)")
    training = train.add_argument_group("training")
    training.add_argument("--epochs", type=_count, default=100, metavar="N", help="at most (default: %(default)s)")
    training.add_argument(
        "--batch-size", type=_count, metavar="N", help="samples per step (default: 200 for mlp, 1 for linear)"
    )
    training.add_argument(
        "--learning-rate",
        type=_number(0, with_low=False),
        metavar="R",
        help="default: 0.001 for mlp, for linear it falls by a schedule",
    )
    training.add_argument("--solver", choices=("adam", "sgd"), help="mlp (default: adam)")
    training.add_argument(
        "--validation",
        type=_number(0, 1, with_low=False),
        metavar="F",
        help="set this fraction of the samples aside, and end by the score on them",
    )
    training.add_argument(
        "--patience", type=_count, metavar="N",
        help="end after so many epochs without an improvement (default: 10 for mlp, 5 for linear)",
    )  # fmt: skip
    training.add_argument("--balanced", action="store_true", help="let every class weigh the same, however rare it is")
    training.add_argument("--seed", type=_seed, default=0, metavar="N", help="for what is drawn at random (default: 0)")
    training.add_argument(
        "--sync-every", type=_count, metavar="N",
        help="under torchrun: let each rank take so many steps on its own, and then the average",
    )  # fmt: skip
    going_on = train.add_argument_group("runs that may be killed")
    going_on.add_argument("--checkpoint", metavar="FILE", help="keep the state of the run in this file")
    going_on.add_argument(
        "--checkpoint-every", type=_epochs_or_minutes, default=1, metavar="N",
        help="after so many epochs, or, as in 10min, after so many minutes (default: every epoch)",
    )  # fmt: skip
    going_on.add_argument("--resume", action="store_true", help="go on from --checkpoint, if the file is there")
    precision = train.add_argument_group("precision")
    precision.add_argument(
        "--dtype",
        choices=("float32", "float64", "bfloat16"),
        help="compute in this (default: that of the data); bfloat16, of mlp, is for the operands of products",
    )
    precision.add_argument(
        "--scale",
        type=_number(0, with_low=False),
        metavar="S",
        help="what bytes are multiplied by (default: 1/255, as for pixels)",
    )
    precision.add_argument(
        "--standardize", action="store_true",
        help="train on features of mean 0 and deviation 1; the saved model takes them as they are",
    )  # fmt: skip
    precision.add_argument("--jobs", type=_jobs, metavar="N", help="threads (default, and -1: all)")
    train.add_argument("--quiet", action="store_true", help="no progress bar")

    evaluate = commands.add_parser(
        "evaluate",
        help="score a saved classifier on a file",
        description="Print accuracy, log-loss, and precision and recall of every class.",
        epilog=_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_model_and_data(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print one line of JSON instead")
    evaluate.add_argument("--report", metavar="DIR", help="write a page with the confusion matrix into this folder")

    predict = commands.add_parser(
        "predict",
        help="let a saved classifier label a file",
        description="Write a label for each sample, one per line below a header, or with --proba the probability of each "
        "class. Columns are found by their names, if the model knows names.",
        epilog=_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_model_and_data(predict)
    predict.add_argument("--proba", action="store_true", help="probabilities, a column per class")
    predict.add_argument("--out", metavar="FILE", help="a .csv or .npy file (default: print a .csv)")
    predict.add_argument("--force", action="store_true", help="let --out replace a file that is there")


def _add_model_and_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="a file that `fastclf train` or model.save has written")
    _add_data(command, "test")


def _add_data(command: argparse.ArgumentParser, split: str) -> None:
    command.add_argument("data", metavar="DATA", help="a file, or a data set by its name: see below")
    command.add_argument(
        "--labels", metavar="FILE", help="for .npy: the labels, a .npy file or a text with one per line"
    )
    command.add_argument("--target", metavar="COLUMN", help="for tables: the labels' column, by name or number")
    command.add_argument(
        "--columns", nargs="+", metavar="COLUMN", help="for tables: the columns of features (default: all others)"
    )
    command.add_argument("--drop", nargs="+", default=[], metavar="COLUMN", help="for tables: columns to leave out")
    command.add_argument(
        "--delimiter", type=_delimiter, metavar="C",
        help='for tables of text: what stands between columns, as in ";" or tab (default: it is found out)',
    )  # fmt: skip
    command.add_argument(
        "--split",
        choices=("train", "test"),
        default=split,
        help="of data that comes in two parts (default: %(default)s)",
    )


# ---------------------------------------------------------------- what an option takes


def _as(kind: Callable[[str], Any], text: str) -> Any:
    """The number that an argument is; argparse's own message would name the function that converts it."""
    try:
        return kind(text)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}") from None


def _epochs_or_minutes(text: str) -> int | timedelta:
    """Convert an argument to a number of epochs, or to a time if it ends in min."""
    if not text.endswith("min"):
        return _count(text)
    minutes = _as(float, text.removesuffix("min"))
    if not minutes > 0:
        raise argparse.ArgumentTypeError(f"{text} is no time")
    return timedelta(minutes=minutes)


def _number(low: float, high: float = math.inf, *, with_low: bool = True) -> Callable[[str], float]:
    """The converter of an argument to a number from ``low`` on, or above it, and below ``high``."""
    wanted = f"{low} or more" if with_low else f"more than {low}"
    if high < math.inf:
        wanted += f", and below {high}"

    def number(text: str) -> float:
        value = _as(float, text)
        if not (low < value < high or (with_low and value == low)):
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
        return value

    return number


def _count(text: str) -> int:
    """Convert an argument to a whole number of at least 1."""
    number = _as(int, text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _seed(text: str) -> int:
    """Convert an argument to a seed of NumPy's generator."""
    number = _as(int, text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not in 0 … {2**32 - 1}")
    return number


def _jobs(text: str) -> int:
    """Convert an argument to a number of threads, where a negative one counts from the end."""
    number = _as(int, text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is no number of threads: 1 is one thread, -1 all of them")
    return number


def _delimiter(text: str) -> str:
    """A tab for the words that stand for one, which is not easily typed in a shell; any other argument unchanged."""
    return {"tab": "\t", "\\t": "\t"}.get(text, text)
