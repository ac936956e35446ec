"""Tables with a row per sample and a column of labels, from text and from .parquet files.

Every feature must be a finite number, or a text that is encoded. If a cell is neither, the error names the file, the line or
row, the column, and the content of the cell. Columns and rows are counted from 0, lines from 1.
"""

from __future__ import annotations

import functools
import itertools
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import Column, Layout, Selection, is_number, layout_of
from .delimited import file_name, rows_of
from .encoding import side_by_side

_TOO_LARGE = 2.0**63  # labels from here on do not fit int64; the comparison rules out infinity, too
_ADVICE = ": a column of text is left out by `drop`, or encoded by `one_hot`"


class Table(NamedTuple):
    """Samples (m, n), labels (m,) or None, and the n features' names or None.

    ``encoding`` has the columns that the features were made of, or is None if every feature is a column. ``surplus`` is the
    number of a column that was taken for labels and left out, or None.
    """

    X: NDArray[Any]
    y: NDArray[Any] | None
    feature_names: tuple[str, ...] | None
    encoding: tuple[Column, ...] | None
    surplus: int | None


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


def _known_columns(layout: Layout, selection: Selection) -> list[Column]:
    """The columns of the features, with the categories that the model knows; without a model, none are known yet."""
    names = [None if layout.names is None else layout.names[i] for i in layout.features]
    categories = [None] * len(names) if selection.like is None else [column.categories for column in selection.like]
    return [*map(Column, names, categories)]


def _table(
    X: NDArray[Any], y: NDArray[Any] | None, layout: Layout, columns: Sequence[Column], is_encoded: bool
) -> Table:
    names = tuple(name for column in columns for name in column.feature_names) if layout.names else None
    return Table(X, y, names, tuple(columns) if is_encoded else None, layout.surplus)


# ---------------------------------------------------------------- text


def read_text(path: Path | None, selection: Selection, delimiter: str | None) -> Table:
    """Read a table from a text file, or from standard input if ``path`` is None, with or without a header.

    ``layout_of`` says when the first line is a header. If some of its features are numbers, the line counts as a sample, so
    that no sample is lost, and the other cells are errors.
    """
    # pyarrow's reader counts rows, without blank lines and line breaks in quotes, so that its errors do not name the line.
    where, rows = file_name(path), rows_of(path, delimiter)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{where} is empty")
    cells = [cell.strip() for cell in first[1]]
    n, layout = len(cells), layout_of(selection, cells, where, has_names=None)
    column, features, columns = layout.label, layout.features, _known_columns(layout, selection)

    def place(line: int, i: int) -> str:
        return f"{where}, line {line}, column {layout.called(i, n)}"

    def in_column(i: int) -> Callable[[int], str]:
        return lambda k: place(lines[k], i)

    def samples() -> Iterator[tuple[int, list[str]]]:
        for line, row in rows if layout.names else itertools.chain([first], rows):
            if len(row) != n:
                raise ValueError(f"{where}, line {line}: expected {n} columns, as in the first line, got {len(row)}")
            yield line, row

    rest = samples()
    head = next(rest, None)
    if head is None:
        raise ValueError(f"{where} holds a header, but no samples")
    texts = {i: list[str]() for i in _columns_of_text(head[1], layout, selection, functools.partial(place, head[0]))}
    numbers, shared = [i for i in features if i not in texts], dict[str, str]()
    values, lines, labels = array("d"), array("q"), list[str]()
    for line, row in itertools.chain([head], rest):
        try:
            values.extend([float(row[i]) for i in numbers])
        except ValueError:
            wrong = next(i for i in numbers if not is_number(row[i]))
            raise ValueError(f"{place(line, wrong)}: expected a number, got {_quoted(row[wrong])}") from None
        for i, written in texts.items():
            text = row[i].strip()
            written.append(shared.setdefault(text, text))  # one string for each text, and not for each cell
        lines.append(line)
        if column is not None:
            labels.append(row[column].strip())
    X = np.frombuffer(values).reshape(len(lines), -1) if numbers else np.empty((len(lines), 0))
    if not np.isfinite(X).all():
        k, j = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(f"{place(lines[k], numbers[j])}: expected a finite number, got {X[k, j]}")
    if texts:
        for i, written in texts.items():
            _check_texts(written, i in layout.as_text or selection.like is not None, in_column(i))
        columns_of_numbers = iter(X.T)
        parts = [texts[i] if i in texts else next(columns_of_numbers) for i in features]
        X, columns = side_by_side(parts, columns, lambda j: f"{where}, column {layout.called(features[j], n)}")
    if column is None:
        return _table(X, None, layout, columns, bool(texts))
    y = _labels_of(labels, in_column(column))
    if not layout.names and len(y) > 1 and not is_number(labels[0]) and all(map(is_number, labels[1:])):
        raise ValueError(
            f"{place(lines[0], column)}: expected a number, as in the lines below, got {labels[0]!r}; if this line is a "
            "header, give this name as `target`"
        )
    return _table(X, y, layout, columns, bool(texts))


def _columns_of_text(
    row: Sequence[str], layout: Layout, selection: Selection, place: Callable[[int], str]
) -> list[int]:
    """The features that hold text: those that the model or the caller says, or else those that do in the first sample."""
    if selection.like is not None:
        return [i for i, column in zip(layout.features, selection.like) if column.categories is not None]
    found = [i for i in layout.features if i in layout.as_text]
    for i in layout.features:
        if i not in layout.as_text and row[i].strip() and not is_number(row[i]):
            if selection.one_hot is not True:
                raise ValueError(f"{place(i)}: expected a number, got {_quoted(row[i])}{_ADVICE}")
            found.append(i)
    return found


def _check_texts(texts: Sequence[str], may_be_numbers: bool, place: Callable[[int], str]) -> None:
    """Raise ValueError if a text is missing, or if one is a number, unless somebody has said that the column holds text."""
    for text in dict.fromkeys(texts):
        if not text:
            raise ValueError(f"{place(texts.index(text))}: expected a text, got {_quoted(text)}")
        if not may_be_numbers and is_number(text):
            raise ValueError(
                f"{place(texts.index(text))}: expected a text, as in the first sample, got {text!r}: `one_hot` takes "
                "numbers for texts in the columns that it names"
            )


def read_labels(path: Path | None) -> NDArray[Any]:
    """Read labels from a text file, or from standard input if ``path`` is None, with one label per line."""
    where, labels, lines = file_name(path), list[str](), list[int]()
    for line, row in rows_of(path, ","):
        if len(row) != 1:
            raise ValueError(f"{where}, line {line}: expected one label, got {len(row)} columns")
        labels.append(row[0].strip())
        lines.append(line)
    return _labels_of(labels, lambda k: f"{where}, line {lines[k]}")


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
    if not all(map(is_number, texts)):
        return np.array(texts)
    numbers = [float(text) for text in texts]
    for k, number in enumerate(numbers):
        if not (abs(number) < _TOO_LARGE and number.is_integer()):
            raise ValueError(f"{place(k)}: expected a label, a whole number or a name, got {texts[k]!r}")
    return np.array(numbers).astype(np.int64)


# ---------------------------------------------------------------- parquet


def read_parquet(path: Path, selection: Selection) -> Table:
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
    layout = layout_of(selection, names, str(path), has_names=True)
    columns = _known_columns(layout, selection)

    def place(k: int, i: int) -> str:
        return f"{path}, row {k} (of 0 … {m - 1}), column {layout.called(i, len(names))}"

    def values(i: int) -> Any:
        cells = table.column(i)
        if cells.null_count:
            k = int(np.argmax(cells.is_null().to_numpy()))
            raise ValueError(f"{place(k, i)}: expected a value, got null (a missing value)")
        return cells.cast(cells.type.value_type) if types.is_dictionary(cells.type) else cells

    def is_text(cells: Any) -> bool:
        return types.is_string(cells.type) or types.is_large_string(cells.type)

    def numbers(cells: Any, i: int, advice: str = "") -> NDArray[Any]:
        if not (types.is_integer(cells.type) or types.is_floating(cells.type) or types.is_boolean(cells.type)):
            raise ValueError(f"{place(0, i)}: expected a number, got {cells[0].as_py()!r} ({cells.type}){advice}")
        array = cells.to_numpy()
        if not np.isfinite(array).all():
            k = int(np.argmin(np.isfinite(array)))
            raise ValueError(f"{place(k, i)}: expected a finite number, got {array[k]}")
        return array

    def feature(i: int, known: Column) -> NDArray[Any] | list[str]:
        cells = values(i)
        if selection.like is not None:
            as_text = known.categories is not None
        else:
            as_text = i in layout.as_text or (selection.one_hot is True and is_text(cells))
        if as_text:
            try:
                return [*map(str.strip, cells.cast(pyarrow.string()).to_pylist())]
            except pyarrow.ArrowException as error:
                raise ValueError(f"{place(0, i)}: expected a text, got {cells.type}: {error}") from None
        return numbers(cells, i, _ADVICE if is_text(cells) and selection.like is None else "")

    parts = [feature(i, known) for i, known in zip(layout.features, columns)]
    X, columns = side_by_side(parts, columns, lambda j: f"{path}, column {layout.called(layout.features[j], 0)}")
    is_encoded = any(isinstance(part, list) for part in parts)
    if layout.label is None:
        return _table(X, None, layout, columns, is_encoded)
    labels = values(layout.label)
    y = np.array(labels.to_pylist()) if is_text(labels) else numbers(labels, layout.label)
    return _table(X, class_labels(y, f"{path}, column {names[layout.label]!r}"), layout, columns, is_encoded)
