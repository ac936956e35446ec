"""Tables with a row per sample and a column of labels, from .csv and .parquet files.

Every column but the labels must hold finite numbers. If a cell does not, the error names the file, the line or row, the
column, and the content of the cell. Columns and rows are counted from 0, lines from 1.
"""

from __future__ import annotations

import csv
import itertools
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_KEPT = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.uint8))
_TOO_LARGE = 2.0**63  # labels from here on do not fit int64; the comparison rules out infinity, too


class Table(NamedTuple):
    """Samples (m, n), labels (m,) or None, and the names of the n columns, or None."""

    X: NDArray[Any]
    y: NDArray[Any] | None
    feature_names: tuple[str, ...] | None


def computing_dtype(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """The one dtype for samples of these dtypes: float64, float32 or uint8 if all are the same one, else float64."""
    native = {dtype.newbyteorder("=") for dtype in dtypes}
    return native.pop() if len(native) == 1 and native <= {*_KEPT} else np.dtype(np.float64)


def class_labels(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Labels (m,) from an array (m,) or (m, 1): integers and strings unchanged, booleans and whole floats as int64.

    Any other array raises a ValueError whose message begins with ``where``.
    """
    labels = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if labels.ndim != 1:
        raise ValueError(f"{where} must hold one label per sample, got shape {values.shape}")
    if labels.dtype.kind in "iuU":
        return labels.astype(labels.dtype.newbyteorder("="), copy=False)
    if labels.dtype.kind == "f" and not (whole := (np.abs(labels) < _TOO_LARGE) & (labels == np.floor(labels))).all():
        at = int(np.argmin(whole))
        raise ValueError(f"{where} must hold whole numbers or strings as labels, got {labels[at]} for sample {at}")
    if labels.dtype.kind not in "bf":
        raise ValueError(f"{where} must hold whole numbers or strings as labels, got dtype {labels.dtype}")
    return labels.astype(np.int64)


# ---------------------------------------------------------------- text


def read_csv(path: Path, target: str | int | None, need_labels: bool) -> Table:
    """Read a comma-separated table in UTF-8, with or without a header.

    The first line is a header if ``target`` is the name of a column, or if none of the line's feature cells is a number. If
    some of them are numbers, the line counts as a sample, so that no sample is lost, and the other cells are errors.
    """
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{path} is empty")
    cells = [cell.strip() for cell in first[1]]
    column = _label_column(target, cells, path, need_labels)
    features = [i for i in range(len(cells)) if i != column]
    numbers = [i for i in features if _is_number(cells[i])]
    names = cells if _is_name(target) or not numbers else None

    def place(line: int, i: int) -> str:
        return f"{path}, line {line}, column {_called(i, names, len(cells))}"

    values, lines, labels = array("d"), array("q"), list[str]()
    for line, row in rows if names else itertools.chain([first], rows):
        if len(row) != len(cells):
            raise ValueError(
                f"{path}, line {line}: expected {len(cells)} columns, as in the first line, got {len(row)}"
            )
        try:
            values.extend([float(row[i]) for i in features])
        except ValueError:
            wrong = next(i for i in features if not _is_number(row[i]))
            raise ValueError(f"{place(line, wrong)}: expected a number, got {_quoted(row[wrong])}") from None
        lines.append(line)
        if column is not None:
            labels.append(row[column].strip())
    if not lines:
        raise ValueError(f"{path} holds a header, but no samples")
    X = np.frombuffer(values).reshape(len(lines), -1)
    if not np.isfinite(X).all():
        k, j = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(f"{place(lines[k], features[j])}: expected a finite number, got {X[k, j]}")
    if column is None:
        return Table(X, None, tuple(names) if names else None)
    y = _labels_of(labels, lambda k: place(lines[k], column))
    if not names and len(y) > 1 and not _is_number(labels[0]) and all(map(_is_number, labels[1:])):
        raise ValueError(
            f"{place(lines[0], column)}: expected a number, as in the lines below, got {labels[0]!r}; if this line is a "
            "header, give this name as target"
        )
    return Table(X, y, tuple(names[i] for i in features) if names else None)


def read_labels(path: Path) -> NDArray[Any]:
    """Read labels from a text file in UTF-8 with one label per line."""
    labels, lines = list[str](), list[int]()
    for line, row in _rows(path):
        if len(row) != 1:
            raise ValueError(f"{path}, line {line}: expected one label, got {len(row)} columns")
        labels.append(row[0].strip())
        lines.append(line)
    return _labels_of(labels, lambda k: f"{path}, line {lines[k]}")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The line number and the cells of each row, without blank lines; a row of several lines has the number of its last."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} must be text in UTF-8, got {error}") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _quoted(cell: str) -> str:
    return repr(cell) if cell.strip() else "nothing (a missing value)"


def _labels_of(texts: Sequence[str], place: Callable[[int], str]) -> NDArray[Any]:
    """The labels as int64 if every text is a number, which must then be whole; else the texts themselves."""
    if "" in texts:
        raise ValueError(f"{place(texts.index(''))}: expected a label, got {_quoted('')}")
    try:
        return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):
        pass
    if not all(map(_is_number, texts)):
        return np.array(texts)
    numbers = [float(text) for text in texts]
    for k, number in enumerate(numbers):
        if not (abs(number) < _TOO_LARGE and number.is_integer()):
            raise ValueError(f"{place(k)}: expected a label, a whole number or a name, got {texts[k]!r}")
    return np.array(numbers).astype(np.int64)


# ---------------------------------------------------------------- parquet


def read_parquet(path: Path, target: str | int | None, need_labels: bool) -> Table:
    """Read a parquet file with pyarrow."""
    try:
        import pyarrow
        from pyarrow import parquet, types
    except ImportError:
        raise ModuleNotFoundError(f"{path} is read by pyarrow: pip install 'fastclf[parquet]'") from None
    try:
        table = parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} must be a parquet file: {error}") from None
    names, m = table.column_names, table.num_rows
    if not m or not names:
        raise ValueError(f"{path} holds no samples: it has {m} rows and {len(names)} columns")
    column = _label_column(target, names, path, need_labels)
    features = [i for i in range(len(names)) if i != column]

    def place(k: int, i: int) -> str:
        return f"{path}, row {k} (of 0 … {m - 1}), column {_called(i, names, len(names))}"

    def values(i: int) -> Any:
        cells = table.column(i)
        if cells.null_count:
            k = int(np.argmax(cells.is_null().to_numpy()))
            raise ValueError(f"{place(k, i)}: expected a value, got null (a missing value)")
        return cells.cast(cells.type.value_type) if types.is_dictionary(cells.type) else cells

    def numbers(i: int) -> NDArray[Any]:
        cells = values(i)
        if not (types.is_integer(cells.type) or types.is_floating(cells.type) or types.is_boolean(cells.type)):
            raise ValueError(f"{place(0, i)}: expected a number, got {cells[0].as_py()!r} ({cells.type})")
        return cells.to_numpy()

    columns = [numbers(i) for i in features]
    X = np.empty((m, len(features)), computing_dtype(*(c.dtype for c in columns)))
    for j, cells in enumerate(columns):
        X[:, j] = cells
        if not np.isfinite(X[:, j]).all():
            k = int(np.argmin(np.isfinite(X[:, j])))
            raise ValueError(f"{place(k, features[j])}: expected a finite number, got {X[k, j]}")
    feature_names = tuple(names[i] for i in features)
    if column is None:
        return Table(X, None, feature_names)
    labels = values(column)
    is_text = types.is_string(labels.type) or types.is_large_string(labels.type)
    y = np.array(labels.to_pylist()) if is_text else numbers(column)
    return Table(X, class_labels(y, f"{path}, column {names[column]!r}"), feature_names)


# ---------------------------------------------------------------- columns


def _is_name(target: str | int | None) -> bool:
    """Whether ``target`` is the name of a column; a string of digits is the number of a column instead."""
    return isinstance(target, str) and not target.removeprefix("-").isdecimal()


def _label_column(target: str | int | None, cells: Sequence[str], path: Path, need_labels: bool) -> int | None:
    """The number of the label column: ``target``, or without a target the last column if labels are needed, else None."""
    n = len(cells)
    if target is None and not need_labels:
        return None
    if target is None:
        column = n - 1
    elif isinstance(target, str) and _is_name(target):
        if cells.count(target) != 1:
            there = f"{cells.count(target)} columns of that name" if target in cells else f"the columns {[*cells]}"
            raise ValueError(f"target must name a column of {path}, got {target!r}; it has {there}")
        column = cells.index(target)
    else:
        column = int(target)
        if not -n <= column < n:
            raise ValueError(f"target must be a column of {path}, 0 … {n - 1} or from the end, got {column}")
    if n == 1:
        raise ValueError(f"{path} must have columns of features beside the labels, got only column {cells[0]!r}")
    return column % n


def _called(i: int, names: Sequence[str] | None, n: int) -> str:
    return repr(names[i]) if names else f"{i} (of 0 … {n - 1})"
