"""``read``: what the name of a data set, or of a file, stands for, and the checks of the arguments that go with it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .columns import Column, ColumnId, Selection
from .delimited import STANDARD_INPUT, file_name, suffix_of
from .sources import (
    LABELS_ARE,
    Dataset,
    as_samples,
    check_split,
    cifar10,
    digits,
    existing_file,
    read_label_file,
    read_npy,
    read_npz,
)
from .tables import read_parquet, read_text

_TEXT = (".csv", ".tsv")
_TABLES = (*_TEXT, ".parquet")


def read(
    source: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    target: ColumnId | None = None,
    split: str = "train",
    need_labels: bool = True,
    delimiter: str | None = None,
    columns: Sequence[ColumnId] | None = None,
    drop: Sequence[ColumnId] = (),
    one_hot: bool | Sequence[ColumnId] = False,
    like: Sequence[Column] | None = None,
) -> Dataset:
    """Read a data set.

    Parameters
    ----------
    source : str or path
        A file: ``.npz`` with arrays X, x or data, and y, labels or target, or with X_train, y_train, X_test, y_test;
        ``.npy``, which is memory-mapped; a table, ``.parquet``, or ``.csv`` or ``.tsv``, also compressed as ``.csv.gz``, or
        "-", which is such a text on standard input. The first line of a text is a header if one of the arguments names a
        column, if all names in ``like`` are there, or if no feature in it is a number. Or a name: "digits" for
        scikit-learn's handwritten digits, "cifar10:DIR" for CIFAR-10 in the folder DIR, as torchvision lays it out.
    labels : str or path, optional
        For ``.npy``: the file of the labels, either another ``.npy``, or a ``.csv`` or ``.txt`` with one label per line; "-"
        is such a text on standard input.
    target : str or int, optional
        For tables: the label column, by its name or its number; numbers count from 0, negative ones from the end. None
        stands for the last column that is not dropped and that ``like`` does not name, or, without ``need_labels``, for no
        column.
    split : {"train", "test"}
        The part to read, if the data comes in two parts; other data is read whole.
    need_labels : bool
        False accepts data without labels. The target of a table is then not read.
    delimiter : str, optional
        For tables as text: the character between columns. None stands for a tab in ``.tsv`` files; elsewhere a comma,
        semicolon, tab or vertical bar is found out from the first lines.
    columns : sequence of str or int, optional
        For tables: the columns of features, in their order; all but the target by default.
    drop : sequence of str or int
        For tables: columns to leave out.
    one_hot : bool or sequence of str or int
        For tables: encode columns of text as scikit-learn's OneHotEncoder does, a feature for each text, in sorted order.
        True encodes the columns in which no cell is a number, a sequence those that it names, whatever is in them.
    like : sequence of Column, optional
        For tables: the columns that a model was trained on. A table's columns are found by their names, if both have names,
        and no others are read; else they are taken in their order, and one more than these is taken for the target. Texts
        are encoded by the categories that are given; a text that is none of them becomes zeros.

    Returns
    -------
    Dataset
        Samples of more than one dimension are flattened. Numbers that are neither float64, float32 nor uint8 become
        float64.

    Raises
    ------
    ValueError, TypeError
        If an argument or the file's content is not as described here; the message names the file and the place in it.
    FileNotFoundError
        If a file or folder does not exist.
    ModuleNotFoundError
        If a package is missing; the message says which extra installs it.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a str or a path, got {type(source).__name__}")
    text = os.fspath(source)
    check_split(split)
    selection = Selection(
        None if target is None else _column("target", target), None if columns is None else _columns("columns", columns),
        _columns("drop", drop), one_hot if isinstance(one_hot, bool) else _columns("one_hot", one_hot),
        None if like is None else _known(like), need_labels,
    )  # fmt: skip
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError(f"delimiter must be a character that may stand between columns, got {delimiter!r}")
    suffix = ".csv" if text == STANDARD_INPUT else suffix_of(Path(text))
    if labels is not None and suffix != ".npy":
        raise ValueError(f"labels belong to a .npy file, got {os.fspath(labels)!r} with {text!r}")
    if (given := selection.given()) and suffix not in _TABLES:
        name, value = given[0]
        raise ValueError(f"{name} belongs to a .csv, .tsv or .parquet file, got {value!r} with {text!r}")
    if delimiter is not None and suffix not in _TEXT:
        raise ValueError(f"delimiter belongs to a .csv or .tsv file, got {delimiter!r} with {text!r}")
    if text == "digits":
        return digits(split)
    if text.startswith("cifar10:"):
        return cifar10(text.removeprefix("cifar10:"), split)
    if suffix not in (".npz", ".npy", *_TABLES):
        raise ValueError(
            'source must be a .npz, .npy, .csv, .tsv or .parquet file, "-" for standard input, "digits" or "cifar10:DIR", '
            f"got {text!r}"
        )
    path = _file(text)
    if path is None or suffix in _TABLES:
        return _read_table(path, selection, "\t" if delimiter is None and suffix == ".tsv" else delimiter)
    label_file = None if labels is None else _file(labels)
    if suffix == ".npz":
        X, y = read_npz(path, split)
    else:
        X, y = read_npy(path, mmap_mode="r"), None if labels is None else read_label_file(label_file)
    if y is None and need_labels:
        raise ValueError(f"{path} has no labels: they are {LABELS_ARE[suffix]}")
    samples = as_samples(X, path)
    if y is not None and len(y) != len(samples):
        holder = path if labels is None else file_name(label_file)
        raise ValueError(f"{holder} must hold a label for each of {len(samples)} samples, got {len(y)} labels")
    return Dataset(path.stem, samples, y, shape=X.shape[1:] if X.ndim > 2 else ())


def _read_table(path: Path | None, selection: Selection, delimiter: str | None) -> Dataset:
    if path is not None and suffix_of(path) == ".parquet":
        table = read_parquet(path, selection)
    else:
        table = read_text(path, selection, delimiter)
    where = file_name(path)
    if table.surplus is not None:
        warnings.warn(
            f"{where} has a column more than the model was trained on: the last one, {table.surplus}, is taken for the "
            "labels and left out, unless `target` is another",
            stacklevel=3,
        )
    name = where if path is None else _stem(path)
    return Dataset(name, as_samples(table.X, where), table.y, table.feature_names, encoding=table.encoding)


def _file(path: str | os.PathLike[str]) -> Path | None:
    """The path of a file that is there, or None for standard input."""
    return None if os.fspath(path) == STANDARD_INPUT else existing_file(path)


def _column(argument: str, column: Any) -> ColumnId:
    if isinstance(column, bool) or not isinstance(column, (str, int)):
        raise TypeError(f"{argument} must be the name or the number of a column, got {column!r}")
    return column


def _columns(argument: str, columns: Any) -> list[ColumnId]:
    if isinstance(columns, (str, bytes)) or not isinstance(columns, Iterable):
        raise TypeError(f"{argument} must be a list of names or numbers of columns, got {columns!r}")
    return [_column(argument, column) for column in columns]


def _known(like: Any) -> list[Column]:
    pairs = [*like] if isinstance(like, Iterable) else [like]
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"like must hold a Column, a name and its categories, for each column, got {pair!r}")
    return [Column(*pair) for pair in pairs]


def _stem(path: Path) -> str:
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
