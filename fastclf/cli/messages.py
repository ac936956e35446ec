"""What the library says, in the words of the command line: options instead of arguments of Python.

An error or a warning of the library begins with the name of the argument that it is about, or has the name in backticks,
before an equals sign, or as a word that only a program has, such as n_jobs.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_OPTIONS = {
    "source": "DATA", "X": "DATA", "data": "DATA", "labels": "--labels", "target": "--target", "columns": "--columns",
    "drop": "--drop", "delimiter": "--delimiter", "one_hot": "--one-hot", "split": "--split", "estimator": "--model",
    "hidden_layer_sizes": "--hidden", "dropout": "--dropout", "alpha": "--alpha", "max_iter": "--epochs",
    "batch_size": "--batch-size", "learning_rate": "--learning-rate", "learning_rate_init": "--learning-rate",
    "eta0": "--learning-rate", "solver": "--solver", "early_stopping": "--validation",
    "validation_fraction": "--validation", "n_iter_no_change": "--patience", "class_weight": "--balanced",
    "random_state": "--seed", "checkpoint": "--checkpoint", "checkpoint_every": "--checkpoint-every",
    "resume": "--resume", "sync_every": "--sync-every", "dtype": "--dtype", "scale": "--scale", "n_jobs": "--jobs",
}  # fmt: skip
_NAME = "|".join(sorted(_OPTIONS, key=len, reverse=True))
_MENTIONED = re.compile(
    rf"^(?:Input )?(?P<first>{_NAME})(?= (?!of ))"  # X of a file is an array in it
    rf"|`(?P<quoted>{_NAME})`"
    rf"|\b(?P<given>{_NAME})="
    rf"|\b(?P<was>{_NAME})(?= was )"
    rf"|\b(?P<word>{'|'.join(name for name in _OPTIONS if not name.isalpha())})\b"
)
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
_PHRASES = {
    "learning_rate and eta0": "--learning-rate",
    "Scaling input data with StandardScaler or MinMaxScaler": "--standardize",
}


def in_options(message: object) -> str:
    """The first line of a message, with options for the arguments that it mentions."""
    text = str(message).partition("\n")[0]
    for phrase, option in _PHRASES.items():
        text = text.replace(phrase, option)
    return _MENTIONED.sub(_option, text)


def _option(found: re.Match[str]) -> str:
    kind = found.lastgroup or ""
    option = _OPTIONS[found[kind]]
    return f"{option} " if kind == "given" else option


def of_error(error: BaseException) -> str:
    """An error as a sentence: what the system says about a file comes without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, MemoryError):
        return f"there is not enough memory: {error}" if str(error) else "there is not enough memory"
    return in_options(error)


@contextmanager
def warnings_as_lines(command: str, *but: type[Warning]) -> Iterator[list[warnings.WarningMessage]]:
    """Print the warnings of the block as lines on standard error, but for those of some categories; yields all of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
    for warning in caught:
        if not issubclass(warning.category, (*but, *_FOR_DEVELOPERS)):
            print(f"fastclf {command}: {in_options(warning.message)}", file=sys.stderr)
