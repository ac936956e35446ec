"""The columns of a table: which of them hold features and which one the labels, and what a model knows about its columns.

Columns are counted from 0, or from -1 at the end. A string of digits is the number of a column, any other string its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

ColumnId = str | int
_MOST_NAMED = 8  # a message lists at most so many columns


class Column(NamedTuple):
    """A column of features, as a model knows it.

    Parameters
    ----------
    name : str or None
        None for a column of a table without a header, and for a feature of an array.
    categories : sequence of str or None
        The texts that the column may hold, each of which becomes a feature of its own; None for a column of numbers.
    """

    name: str | None = None
    categories: Sequence[str] | None = None

    @property
    def width(self) -> int:
        """The number of features that the column becomes."""
        return 1 if self.categories is None else len(self.categories)

    @property
    def feature_names(self) -> list[str]:
        """The names of these features, as scikit-learn's OneHotEncoder makes them."""
        return [str(self.name)] if self.categories is None else [f"{self.name}_{text}" for text in self.categories]


@dataclass(frozen=True)
class Selection:
    """What a caller of ``read`` says about the columns of a table; the docstring there describes the arguments."""

    target: ColumnId | None = None
    columns: Sequence[ColumnId] | None = None
    drop: Sequence[ColumnId] = ()
    one_hot: bool | Sequence[ColumnId] = False
    like: Sequence[Column] | None = None
    need_labels: bool = True

    @property
    def named(self) -> Sequence[ColumnId]:
        """The columns that ``one_hot`` names, if it names some."""
        return () if isinstance(self.one_hot, bool) else self.one_hot

    def given(self) -> list[tuple[str, object]]:
        """The arguments about columns that the caller has given, with their names; ``like`` says nothing about a file."""
        wishes = {
            "target": self.target,
            "columns": self.columns,
            "drop": self.drop or None,
            "one_hot": self.one_hot or None,
        }
        return [(name, value) for name, value in wishes.items() if value is not None]

    def names_some(self) -> bool:
        """Whether the caller calls a column by its name, and not by its number."""
        target = [] if self.target is None else [self.target]
        return any(map(_is_name, (*target, *(self.columns or ()), *self.drop, *self.named)))

    def known_names(self) -> list[str] | None:
        """The names of the model's columns; None without a model, and for a model that does not know names."""
        names = [column.name for column in self.like or ()]
        return None if not names or None in names else [str(name) for name in names]


class Layout(NamedTuple):
    """The parts that the columns of one table play.

    ``names`` are those of all columns, or None if the table has no header. ``label`` is the number of the column of labels,
    or None. ``features`` are the numbers of the other columns that are read, in the order of the features. ``as_text``
    are those of them that the caller wants encoded, and ``surplus`` is a column that was taken for labels and left out.
    """

    names: Sequence[str] | None
    label: int | None
    features: list[int]
    as_text: set[int]
    surplus: int | None = None

    def called(self, i: int, n: int) -> str:
        """How a message calls column ``i`` of ``n``."""
        return repr(self.names[i]) if self.names else f"{i} (of 0 … {n - 1})"


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def layout_of(selection: Selection, cells: Sequence[str], where: str, has_names: bool | None) -> Layout:
    """The layout of a table, from the selection and the cells of its first line.

    ``has_names`` says whether this line is a header. If that is not known, the line is a header if the caller names a
    column, if all names that the model knows are in it, or if no feature in it is a number. ``where`` names the table.
    """
    n, known = len(cells), selection.known_names()
    if has_names is None and (selection.names_some() or (known and {*known} <= {*cells})):
        has_names = True
    dropped = {_number(c, "drop", cells, where) for c in selection.drop}
    chosen = None if selection.columns is None else [_number(c, "columns", cells, where) for c in selection.columns]
    as_text = {_number(c, "one_hot", cells, where) for c in selection.named}
    label = None if selection.target is None else _number(selection.target, "target", cells, where)
    if label is None and selection.need_labels:
        label = _last({*range(n)} - dropped, {*known} if has_names and known else set(), cells, where)
    features = [i for i in (range(n) if chosen is None else chosen) if i not in dropped and i != label]
    if chosen is not None and (label in chosen or len({*chosen}) < len(chosen)):
        fault = "the column of labels" if label in chosen else "a column twice"
        raise ValueError(f"columns must name features, each once, got {selection.columns}: {fault}")
    if not features:
        only = f"column {cells[0]!r}" if n == 1 else f"the columns {[*cells]}"
        raise ValueError(f"{where} must have columns of features beside the labels, got only {only}")
    if not as_text <= {*features}:
        raise ValueError(f"one_hot must name features, got {selection.named}")
    if has_names is None:
        has_names = not any(is_number(cells[i]) for i in features)
    names: Sequence[str] | None = cells if has_names else None
    surplus: int | None = None
    if selection.like is not None and names and known:
        features = _by_name(known, features, names, where)
    elif selection.like is not None:
        if label is None and len(features) == len(selection.like) + 1:
            *features, surplus = features
        if len(features) != len(selection.like):
            raise ValueError(
                f"{where} has {len(features)} columns of features, and the model was trained on {len(selection.like)}: "
                "`columns` names these, or `drop` the others"
            )
    return Layout(names, label if selection.need_labels else None, features, as_text, surplus)


def _last(there: set[int], known: set[str], cells: Sequence[str], where: str) -> int:
    """The last of the columns that the model was not trained on, which is that of the labels unless the caller names it."""
    others = [i for i in there if cells[i] not in known]
    if not others:
        raise ValueError(f"{where} has no column for the labels, beside those that are dropped or that the model takes")
    return max(others)


def _by_name(known: Sequence[str], features: Sequence[int], names: Sequence[str], where: str) -> list[int]:
    """The features that have the names that the model knows, in the model's order."""
    there = {names[i]: i for i in features}
    if missing := [name for name in known if name not in there]:
        raise ValueError(f"{where} does not have the columns that the model was trained on: {listed(missing)}")
    if len(there) < len(features):
        counts = Counter(names[i] for i in features)
        if several := [name for name in known if counts[name] > 1]:
            raise ValueError(f"{where} has several columns of a name that the model was trained on: {listed(several)}")
    return [there[name] for name in known]


def _is_name(column: ColumnId) -> bool:
    return isinstance(column, str) and not column.removeprefix("-").isdecimal()


def _number(column: ColumnId, argument: str, cells: Sequence[str], where: str) -> int:
    """The number of the column that ``argument`` of ``read`` has named or numbered."""
    n = len(cells)
    if _is_name(column):
        count = cells.count(str(column))
        if count != 1:
            there = f"{count} columns of that name" if count else f"the columns {[*cells]}"
            raise ValueError(f"{argument} must name a column of {where}, got {column!r}; it has {there}")
        return cells.index(str(column))
    number = int(column)
    if not -n <= number < n:
        raise ValueError(f"{argument} must be a column of {where}, 0 … {n - 1} or from the end, got {number}")
    return number % n


def listed(values: Iterable[object]) -> str:
    """The first few values, for a message."""
    texts = [*map(str, values)]
    return ", ".join(texts[:_MOST_NAMED]) + (", …" if len(texts) > _MOST_NAMED else "")
