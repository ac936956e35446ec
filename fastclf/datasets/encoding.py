"""Columns of text as numbers: scikit-learn's one-hot encoding, put together with the columns that are numbers already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Column

_KEPT = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.uint8))
_MOST_CATEGORIES = 1000  # a column with more of them is rather a name or a number of each sample


def computing_dtype(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """The one dtype for samples of these dtypes: float64, float32 or uint8 if all are the same one, else float64."""
    native = {dtype.newbyteorder("=") for dtype in dtypes}
    return native.pop() if len(native) == 1 and native <= {*_KEPT} else np.dtype(np.float64)


def side_by_side(
    columns: Sequence[NDArray[Any] | list[str]], known: Sequence[Column], place: Callable[[int], str]
) -> tuple[NDArray[Any], list[Column]]:
    """Samples from their columns, and the same columns with the categories of those that are lists of texts.

    ``known`` has their names and, for a model that is trained already, the categories: a text that is none of them becomes
    zeros. ``place(j)`` says where column j is.
    """
    blocks: list[NDArray[Any]] = []
    done: list[Column] = []
    for j, (cells, column) in enumerate(zip(columns, known)):
        if isinstance(cells, list):
            cells, categories = _one_hot(cells, column.categories, place(j))
            column = column._replace(categories=categories)
        blocks.append(cells)
        done.append(column)
    dtype = computing_dtype(*(block.dtype for block in blocks if block.ndim == 1))
    if dtype == np.uint8 and any(block.ndim == 2 for block in blocks):
        dtype = np.dtype(np.float64)  # bytes are scaled, and a category is not to be
    X = np.empty((len(blocks[0]), sum(column.width for column in done)), dtype)
    end = 0
    for block, column in zip(blocks, done):
        start, end = end, end + column.width
        X[:, start:end] = block.reshape(len(X), -1)
    return X, done


def _one_hot(texts: list[str], categories: Sequence[str] | None, place: str) -> tuple[NDArray[Any], Sequence[str]]:
    from sklearn.preprocessing import OneHotEncoder

    if categories is None:
        categories = sorted({*texts})
    if len(categories) > _MOST_CATEGORIES:
        raise ValueError(
            f"{place}: expected at most {_MOST_CATEGORIES:,} different texts to encode, got {len(categories):,}: `drop` "
            "leaves the column out"
        )
    encoder = OneHotEncoder(
        categories=[np.array(categories, object)], handle_unknown="ignore", sparse_output=False, dtype=np.uint8
    )
    return encoder.fit_transform(np.array(texts, object)[:, np.newaxis]), categories
