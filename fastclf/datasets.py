"""Data sets by a short name or from a file, as the command line takes them.

``read`` looks at what it is given and returns samples and labels, checked so far that whatever trains on them has only to
look at the numbers. Nothing is downloaded.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tables import class_labels, computing_dtype, read_csv, read_labels, read_parquet

__all__ = ["Dataset", "cifar10", "digits", "read"]

SPLITS = ("train", "test")
_LABELS_ARE = {".npz": "an array y, labels or target, or y_train and y_test", ".npy": "in a file that labels names"}
_DIGITS_TO_TRAIN = 1000


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, and what is known of them.

    Parameters
    ----------
    name : str
    X : ndarray of shape (n_samples, n_features)
        float64, float32 or uint8, C-ordered; a memory-mapped file stays one.
    y : ndarray of shape (n_samples,) or None
        Labels: integers or strings.
    feature_names : tuple of str or None
        A name per column of X.
    class_names : tuple of str or None
        A name for each of the labels 0, 1, …, where they are not their own names.
    shape : tuple of int
        Of one sample as an image; empty if it is none.
    scale : float or None
        What bytes are to be multiplied by; None if that is not known.
    """

    name: str
    X: NDArray[Any]
    y: NDArray[Any] | None = None
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    shape: tuple[int, ...] = ()
    scale: float | None = None


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
        ``.npy``, which is memory-mapped; ``.csv``, with a header or without; ``.parquet``. Or "digits", scikit-learn's, or
        "cifar10:DIR", in a folder as torchvision lays it out.
    labels : str or path, optional
        For ``.npy``: the file of the labels, another ``.npy``, or a ``.csv`` or ``.txt`` with one in each line.
    target : str or int, optional
        For ``.csv`` and ``.parquet``: the column of the labels, by its name or its number, from 0 or, below 0, from the end.
        If None it is the last one where labels are needed, and else there is none.
    split : {"train", "test"}
        Which part of data that comes in two; other data is read whole.
    need_labels : bool
        False to do without labels where there are none.

    Returns
    -------
    Dataset
        Samples of more than one dimension are flattened. Numbers that are neither float64, float32 nor uint8 become
        float64.

    Raises
    ------
    ValueError, TypeError
        If an argument, or what the file holds, is not what is described here; the message names the file and the place.
    FileNotFoundError
        If a file or folder is not there.
    ModuleNotFoundError
        If a package is missing; the message says which extra installs it.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a str or a path, got {type(source).__name__}")
    text = os.fspath(source)
    _check_split(split)
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
    path, names = _existing(text), None
    if suffix == ".npz":
        X, y = _npz(path, split)
    elif suffix == ".npy":
        X, y = _npy(path, mmap_mode="r"), None if labels is None else _labels(_existing(labels))
    else:
        X, y, names = (read_csv if suffix == ".csv" else read_parquet)(path, target, need_labels)
    if y is None and need_labels:
        raise ValueError(f"{path} has no labels: they are {_LABELS_ARE[suffix]}")
    samples = _samples(X, path)
    if y is not None and len(y) != len(samples):
        raise ValueError(f"{labels or path} must hold a label for each of {len(samples)} samples, got {len(y)} labels")
    return Dataset(path.stem, samples, y, names, shape=X.shape[1:] if X.ndim > 2 else ())


def digits(split: str = "train") -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8 × 8 pixels in [0, 1].

    Parameters
    ----------
    split : {"train", "test"}
        The first 1,000, or the others.

    Returns
    -------
    Dataset
    """
    _check_split(split)
    from sklearn.datasets import load_digits

    data = load_digits()
    rows = slice(_DIGITS_TO_TRAIN) if split == "train" else slice(_DIGITS_TO_TRAIN, None)
    names = tuple(str(name) for name in data.target_names)
    return Dataset("digits", data.data[rows] / 16, data.target[rows], class_names=names, shape=(8, 8))


def cifar10(root: str | os.PathLike[str], split: str = "train", *, download: bool = False) -> Dataset:
    """CIFAR-10 through torchvision: bytes, the channels of an image one after the other, as ToTensor has them.

    Parameters
    ----------
    root : str or path
        The folder that holds torchvision's folder of it.
    split : {"train", "test"}
        50,000 or 10,000 images.
    download : bool
        Let torchvision download what is missing.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        If it is not there, or not whole.
    ModuleNotFoundError
        If torchvision is not installed.
    """
    _check_split(split)
    try:
        from torchvision.datasets import CIFAR10
    except ImportError:
        raise ModuleNotFoundError("CIFAR-10 is read by torchvision: pip install 'fastclf[torch]'") from None
    folder = Path(root).expanduser()
    try:
        data = CIFAR10(folder, train=split == "train", download=download)
    except RuntimeError:
        raise FileNotFoundError(
            f"CIFAR-10 was not found in {folder}, or is not whole: it belongs into {folder / CIFAR10.base_folder}, where "
            "`fastclf lab --data cifar10 --download` puts it"
        ) from None
    pixels = data.data.transpose(0, 3, 1, 2)
    X, y = np.ascontiguousarray(pixels).reshape(len(pixels), -1), np.asarray(data.targets)
    return Dataset("cifar10", X, y, class_names=tuple(data.classes), shape=pixels.shape[1:], scale=1 / 255)


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f'split must be "train" or "test", got {split!r}')


def _existing(path: str | os.PathLike[str]) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise FileNotFoundError(f"{found} is a folder, not a file" if found.is_dir() else f"there is no file {found}")
    return found


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What NumPy says of a file that is not what its name says, with the file's name."""
    try:
        yield
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} must be a {path.suffix} file of numbers: {error}") from None


def _npy(path: Path, **how: Any) -> NDArray[Any]:
    with _reading(path):
        array = np.load(path, allow_pickle=False, **how)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of several arrays")
        return array


def _npz(path: Path, split: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    with _reading(path):
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise ValueError("it is a single array")
    with _reading(path), arrays:
        in_two = {f"{x}_{part}" for x in "Xx" for part in SPLITS} & {*arrays.files}
        wanted = (f"X_{split}", f"x_{split}") if in_two else ("X", "x", "data")
        x_name = _one_of(wanted, arrays.files)
        if x_name is None:
            raise ValueError(f"one of {', '.join(wanted)} is missing in it, which holds {', '.join(arrays.files)}")
        y_name = _one_of((f"y_{split}",) if in_two else ("y", "labels", "target"), arrays.files)
        X, y = arrays[x_name], None if y_name is None else arrays[y_name]
    return X, None if y is None else class_labels(y, f"{y_name} of {path}")


def _one_of(names: Sequence[str], there: Sequence[str]) -> str | None:
    found = [name for name in names if name in there]
    if len(found) > 1:
        raise ValueError(f"it holds both {' and '.join(found)}, of which one is wanted")
    return found[0] if found else None


def _labels(path: Path) -> NDArray[Any]:
    if path.suffix.lower() == ".npy":
        return class_labels(_npy(path), str(path))
    if path.suffix.lower() in (".csv", ".txt"):
        return read_labels(path)
    raise ValueError(f"labels must be a .npy, .csv or .txt file, got {str(path)!r}")


def _samples(X: NDArray[Any], path: Path) -> NDArray[Any]:
    """Samples as rows, without a copy where that can be."""
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X of {path} must hold real numbers, got dtype {X.dtype}")
    if X.ndim < 2 or not X.size:
        raise ValueError(f"X of {path} must hold a row per sample, got shape {X.shape}")
    flat, dtype = X.reshape(len(X), math.prod(X.shape[1:])), computing_dtype(X.dtype)
    return flat if flat.dtype == dtype and flat.flags.c_contiguous else np.ascontiguousarray(flat, dtype)
