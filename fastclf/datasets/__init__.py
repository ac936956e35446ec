"""Data sets by a short name or from a file, as the command line takes them.

``read`` returns samples and labels whose shapes and dtypes have been checked, so that a trainer has only the values left to
check. Nothing is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path

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
from .tables import read_csv, read_parquet

__all__ = ["Dataset", "cifar10", "digits", "read"]


def read(
    source: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    target: str | int | None = None,
    split: str = "train",
    need_labels: bool = True,
) -> Dataset:
    """Read a data set.

    Parameters
    ----------
    source : str or path
        A file: ``.npz`` with arrays X, x or data, and y, labels or target, or with X_train, y_train, X_test, y_test;
        ``.npy``, which is memory-mapped; ``.csv`` with or without a header; ``.parquet``. Or a name: "digits" for
        scikit-learn's handwritten digits, "cifar10:DIR" for CIFAR-10 in the folder DIR, as torchvision lays it out.
    labels : str or path, optional
        For ``.npy``: the file of the labels, either another ``.npy``, or a ``.csv`` or ``.txt`` with one label per line.
    target : str or int, optional
        For ``.csv`` and ``.parquet``: the label column, by its name or its number; numbers count from 0, negative ones from
        the end. None stands for the last column if ``need_labels`` is True, and for no column if it is False.
    split : {"train", "test"}
        The part to read, if the data comes in two parts; other data is read whole.
    need_labels : bool
        False accepts data without labels.

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
    if target is not None and (isinstance(target, bool) or not isinstance(target, (str, int))):
        raise TypeError(f"target must be the name or the number of a column, got {target!r}")
    suffix = Path(text).suffix.lower()
    if labels is not None and suffix != ".npy":
        raise ValueError(f"labels belong to a .npy file, got {os.fspath(labels)!r} with {text!r}")
    if target is not None and suffix not in (".csv", ".parquet"):
        raise ValueError(f"target belongs to a .csv or .parquet file, got {target!r} with {text!r}")
    if text == "digits":
        return digits(split)
    if text.startswith("cifar10:"):
        return cifar10(text.removeprefix("cifar10:"), split)
    if suffix not in (".npz", ".npy", ".csv", ".parquet"):
        raise ValueError(f'source must be a .npz, .npy, .csv or .parquet file, "digits" or "cifar10:DIR", got {text!r}')
    path, names = existing_file(text), None
    if suffix == ".npz":
        X, y = read_npz(path, split)
    elif suffix == ".npy":
        X, y = read_npy(path, mmap_mode="r"), None if labels is None else read_label_file(existing_file(labels))
    else:
        X, y, names = (read_csv if suffix == ".csv" else read_parquet)(path, target, need_labels)
    if y is None and need_labels:
        raise ValueError(f"{path} has no labels: they are {LABELS_ARE[suffix]}")
    samples = as_samples(X, path)
    if y is not None and len(y) != len(samples):
        raise ValueError(f"{labels or path} must hold a label for each of {len(samples)} samples, got {len(y)} labels")
    return Dataset(path.stem, samples, y, names, shape=X.shape[1:] if X.ndim > 2 else ())
