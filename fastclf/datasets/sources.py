"""Data sets from scikit-learn, from torchvision, and from files of NumPy arrays; ``tables`` reads tables."""

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

from .columns import Column
from .delimited import suffix_of
from .encoding import computing_dtype
from .tables import class_labels, read_labels

SPLITS = ("train", "test")
LABELS_ARE = {".npz": "an array y, labels or target, or y_train and y_test", ".npy": "in a file that `labels` names"}
_DIGITS_TO_TRAIN = 1000


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, their labels, and what is known about them.

    Parameters
    ----------
    name : str
    X : ndarray of shape (n_samples, n_features)
        float64, float32 or uint8, C-ordered. A memory-mapped file of this kind stays memory-mapped.
    y : ndarray of shape (n_samples,) or None
        Labels: integers or strings.
    feature_names : tuple of str or None
        A name per column of X.
    class_names : tuple of str or None
        The names of the labels 0, 1, …; None if the labels have no other names.
    shape : tuple of int
        The shape of one sample as an image; empty if the samples are not images.
    scale : float or None
        The factor that bytes are to be multiplied by; None if it is not known.
    encoding : tuple of Column or None
        The columns of the table, with the categories of those that hold text; None if every column is a feature as it is.
    """

    name: str
    X: NDArray[Any]
    y: NDArray[Any] | None = None
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    shape: tuple[int, ...] = ()
    scale: float | None = None
    encoding: tuple[Column, ...] | None = None


def digits(split: str = "train") -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8 × 8 pixels in [0, 1].

    Parameters
    ----------
    split : {"train", "test"}
        The first 1,000 digits, or the other 797.

    Returns
    -------
    Dataset
    """
    check_split(split)
    from sklearn.datasets import load_digits

    data = load_digits()
    rows = slice(_DIGITS_TO_TRAIN) if split == "train" else slice(_DIGITS_TO_TRAIN, None)
    names = tuple(str(name) for name in data.target_names)
    return Dataset("digits", data.data[rows] / 16, data.target[rows], class_names=names, shape=(8, 8))


def cifar10(root: str | os.PathLike[str], split: str = "train", *, download: bool = False) -> Dataset:
    """CIFAR-10 through torchvision, as bytes; the channels of an image follow one another, as in the output of ToTensor.

    Parameters
    ----------
    root : str or path
        The folder that holds torchvision's folder of CIFAR-10.
    split : {"train", "test"}
        The 50,000 training images, or the 10,000 test images.
    download : bool
        Let torchvision download the files that are missing.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        If the data set is missing or incomplete.
    ModuleNotFoundError
        If torchvision is not installed.
    """
    check_split(split)
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


def check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f'split must be "train" or "test", got {split!r}')


def existing_file(path: str | os.PathLike[str]) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise FileNotFoundError(f"{found} is a folder, not a file" if found.is_dir() else f"there is no file {found}")
    return found


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn NumPy's errors about the content of a file into a ValueError that names the file."""
    try:
        yield
    except (ValueError, EOFError, OSError, OverflowError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} must be a {path.suffix} file of numbers: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What NumPy says, but for its advice to unpickle, which would run what a file says."""
    text = str(error)
    if "allow_pickle" not in text:
        return text
    if text.startswith("Object arrays"):
        return "Object arrays are not read"
    return "its header is too long" if text.startswith("Header") else "it does not begin as a file of NumPy does"


def read_npy(path: Path, **options: Any) -> NDArray[Any]:
    with _reading(path):
        array = np.load(path, allow_pickle=False, **options)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of several arrays")
        return array


def read_npz(path: Path, split: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
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
        for name in (x_name, y_name):
            _check_size(arrays, name)
        X, y = arrays[x_name], None if y_name is None else arrays[y_name]
    return X, None if y is None else class_labels(y, f"{y_name} of {path}")


def _check_size(archive: Any, name: str | None) -> None:
    """Raise ValueError if an array of an archive claims to be larger than its file, before memory is taken for it."""
    if name is None:
        return
    member = archive.zip.getinfo(f"{name}.npy" if f"{name}.npy" in archive.zip.namelist() else name)
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    claimed = math.prod(map(int, shape)) * dtype.itemsize
    if claimed > member.file_size:
        raise ValueError(f"{name} claims to have {claimed:,} bytes, and has at most {member.file_size:,}")


def _one_of(names: Sequence[str], there: Sequence[str]) -> str | None:
    found = [name for name in names if name in there]
    if len(found) > 1:
        raise ValueError(f"it holds both {' and '.join(found)}, of which one is wanted")
    return found[0] if found else None


def read_label_file(path: Path | None) -> NDArray[Any]:
    suffix = ".txt" if path is None else suffix_of(path)
    if path is not None and suffix == ".npy":
        return class_labels(read_npy(path), str(path))
    if suffix in (".csv", ".txt"):
        return read_labels(path)
    raise ValueError(f"labels must be a .npy, .csv or .txt file, got {str(path)!r}")


def as_samples(X: NDArray[Any], path: Path | str) -> NDArray[Any]:
    """Samples as rows, copied only if the dtype or the memory order has to change."""
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X of {path} must hold real numbers, got dtype {X.dtype}")
    if X.ndim < 2 or not X.size:
        raise ValueError(f"X of {path} must hold a row per sample, got shape {X.shape}")
    flat, dtype = X.reshape(len(X), math.prod(X.shape[1:])), computing_dtype(X.dtype)
    return flat if flat.dtype == dtype and flat.flags.c_contiguous else np.ascontiguousarray(flat, dtype)
