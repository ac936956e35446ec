"""Checks of user data. Kernels do not check their indices, so all user data pass through this module first.

An argument may be any array-like (NumPy, torch on the CPU, pandas, lists; any dtype, order and strides, read-only or
memory-mapped). The result is a C-ordered array of the wanted dtype: the same memory if possible, otherwise a copy. Sets of
samples become ``Rows``: bytes and memory-mapped files keep their form, and are never copied as a whole. The user's data are
never modified. An invalid argument raises ValueError or TypeError; the message names the argument, its value and the rule.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .engine.mapped import Mapping
from .engine.rows import Rows, read_as_stored

#: Arrays up to this size are checked by NumPy; larger ones by a kernel, which takes no temporary memory.
_SMALL = 1 << 16
_CHECKED_PER_CALL = 1e8  # values in one kernel call, at most: a fraction of a second


REALS = ("float32", "float64")
NETWORK_DTYPES = (*REALS, "bfloat16")


def precision(dtype: Any, among: tuple[str, ...] = NETWORK_DTYPES) -> tuple[np.dtype, bool]:
    """The dtype that ``dtype``, one of the names ``among``, computes in, and whether products round to bfloat16 before."""
    try:
        chosen = np.dtype(dtype).name if dtype is not None else ""
    except TypeError:
        chosen = str(dtype).removeprefix("torch.")
    if chosen not in among:
        raise ValueError(f"dtype must be {', '.join(among[:-1])} or {among[-1]}, got {dtype!r}")
    return np.dtype("float32" if chosen == "bfloat16" else chosen), chosen == "bfloat16"


def real_dtype(dtype: DTypeLike) -> np.dtype:
    """``dtype``, which must be float32 or float64; ValueError for any other."""
    return precision(dtype, REALS)[0]


def as_array(value: Any, name: str) -> np.ndarray:
    """Any array-like as a NumPy array of numbers or booleans, without a copy where the source allows it."""
    try:
        if hasattr(value, "detach"):  # a torch tensor, recognised without importing torch
            value = value.detach().cpu()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be an array of numbers, got {type(value).__name__}: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype} ({type(value).__name__})")
    check_file(array, name)
    return array


def check_file(array: Any, name: str) -> None:
    """Raise ValueError if the file of a memory-mapped array has become shorter than the array."""
    if isinstance(array, np.memmap) and (mapping := Mapping.of(array)):
        mapping.check_length(name)


def check_finite(array: np.ndarray, name: str, n_jobs: int | None = None, first: int = 0) -> None:
    """Raise ValueError if a C-ordered floating-point array holds NaN or infinity; large ones take ``n_jobs`` threads.

    If ``array`` is a part of the array that ``name`` names, ``first`` is the number of rows before this part.
    """
    if array.size <= _SMALL or not array.flags.aligned:
        finite = bool(np.isfinite(array).all())
    else:
        finite = _all_finite(array.reshape(-1), n_jobs)
    if not finite:
        flat = array.reshape(-1)
        at = next(
            start + int(np.argmin(np.isfinite(flat[start : start + _SMALL])))
            for start in range(0, flat.size, _SMALL)
            if not np.isfinite(flat[start : start + _SMALL]).all()
        )
        row, *column = (int(i) for i in np.unravel_index(at, array.shape)) if array.ndim else (0,)
        where = (row + first, *column)
        raise ValueError(f"{name} must be finite, got {flat[at]} at {where if column else where[0]}")


def as_floats(value: Any, name: str, dtype: np.dtype, n_jobs: int | None = None) -> np.ndarray:
    """A finite C-ordered array of ``dtype``, of any shape."""
    with np.errstate(over="ignore"):  # values too large for float32 become infinity, which is found below
        array = np.ascontiguousarray(as_array(value, name), dtype=dtype).reshape(np.shape(value))
    check_finite(array, name, n_jobs)
    return array


def _matrix(value: Any, name: str, n_columns: int | None, may_be_empty: bool = False) -> np.ndarray:
    """``value`` as an array, which must be a matrix of numbers, by default not empty; dtype and order are not changed."""
    source = as_array(value, name)
    if source.ndim != 2:
        hint = " (one feature: X.reshape(-1, 1); one sample: X.reshape(1, -1))" if source.ndim == 1 else ""
        raise ValueError(f"{name} must be 2-dimensional, got shape {source.shape}{hint}")
    if 0 in source.shape[may_be_empty:]:
        raise ValueError(f"{name} must not be empty, got shape {source.shape}")
    if n_columns is not None and source.shape[1] != n_columns:
        raise ValueError(f"{name} must have {n_columns} features per sample, got shape {source.shape}")
    return source


def _columns(value: Any, name: str, n_features: int, may_be_empty: bool) -> np.ndarray:
    """The transpose of ``value``, which must be a matrix (n, m) with samples as columns; dtype and order are not changed."""
    source = as_array(value, name)
    if source.ndim != 2 or source.shape[0] != n_features or (source.shape[1] == 0 and not may_be_empty):
        hint = ""
        if source.ndim == 2 and source.shape[1] == n_features:
            hint = "; samples are columns here: pass the transpose"
        raise ValueError(f"{name} must have shape ({n_features}, m), one sample per column, got {source.shape}{hint}")
    return source.T


def as_matrix(value: Any, name: str, dtype: np.dtype, n_columns: int | None = None) -> np.ndarray:
    """A finite, C-ordered, non-empty matrix of ``dtype``."""
    return as_floats(_matrix(value, name, n_columns), name, dtype)


def as_theta(value: Any) -> np.ndarray:
    """``train_model``'s parameters: the bias in row 0, a row per feature, a column per class; float32 is kept."""
    dtype = np.float32 if as_array(value, "theta").dtype == np.float32 else np.float64
    theta = as_matrix(value, "theta", np.dtype(dtype))
    if len(theta) < 2:
        raise ValueError(f"theta must have shape (n_features + 1, n_classes), got {theta.shape}")
    return theta


def as_rows(
    value: Any,
    name: str,
    dtype: np.dtype,
    n_columns: int | None = None,
    n_jobs: int | None = None,
    scale: float = 1.0,
    may_be_empty: bool = False,
) -> Rows:
    """Finite samples as rows, (m, n), for computation in ``dtype``; bytes are multiplied by ``scale``.

    ``may_be_empty`` allows for no samples, as a rank of a group may have.
    """
    return _rows(_matrix(value, name, n_columns, may_be_empty), name, dtype, n_jobs, scale)


def as_rows_of_columns(
    value: Any,
    name: str,
    dtype: np.dtype,
    n_features: int,
    n_jobs: int | None = None,
    scale: float = 1.0,
    may_be_empty: bool = False,
) -> Rows:
    """The same as ``as_rows``, from samples as columns, (n, m)."""
    return _rows(_columns(value, name, n_features, may_be_empty), name, dtype, n_jobs, scale)


def _rows(source: np.ndarray, name: str, dtype: np.dtype, n_jobs: int | None, scale: float) -> Rows:
    if not read_as_stored(source):
        return Rows(as_floats(source, name, dtype, n_jobs), dtype)
    rows = Rows(np.ascontiguousarray(source), dtype, scale)
    check_rows(rows, name, n_jobs)
    return rows


def check_rows(rows: Rows, name: str, n_jobs: int | None = None) -> None:
    """Raise ValueError if samples hold NaN or infinity; a mapped file is read once, from end to end."""
    if rows.array.dtype == np.uint8 or not len(rows):
        return
    for first, end in rows.portions(rows.n_portions(rows.size, _CHECKED_PER_CALL)):
        part = rows.array[first:end]
        if part.dtype.itemsize > rows.dtype.itemsize:
            with np.errstate(over="ignore"):  # values too large for float32 become infinity, which is found
                part = part.astype(rows.dtype)
        check_finite(part, name, n_jobs, first)


def as_labels(value: Any, name: str, m: int, n_classes: int) -> np.ndarray:
    """Class labels 0 ≤ y < n_classes of m samples, int64, in memory that is not the user's."""
    source = as_array(value, name)
    if source.shape == (m,) == (0,):
        return np.empty(0, np.int64)
    if source.dtype.kind not in "biu":
        raise TypeError(f"{name} must hold integer class labels, got dtype {source.dtype}")
    if source.shape != (m,):
        raise ValueError(f"{name} must have shape ({m},), one label per sample, got {source.shape}")
    low, high = int(source.min()), int(source.max())
    if low < 0 or high >= n_classes:
        raise ValueError(f"{name} must lie in 0 … {n_classes - 1}, got labels from {low} to {high}")
    return np.array(source, dtype=np.int64)  # a copy: a callback may change the user's own


def as_order(value: Any, name: str, m: int) -> np.ndarray:
    """Numbers of rows, 0 ≤ r < m, int64; negative ones count from the end, as in NumPy."""
    source = np.asarray(value)
    if source.ndim != 1 or (source.dtype.kind not in "iu" and source.size):
        raise TypeError(f"{name} must be a vector of whole numbers, got dtype {source.dtype}, shape {source.shape}")
    order = np.ascontiguousarray(source, np.int64)
    if order.size:
        low, high = int(order.min()), int(order.max())
        if low < -m or high >= m:
            raise ValueError(f"{name} must lie in 0 … {m - 1}, got {high if high >= m else low}")
        if low < 0:
            order = order % m
    return order


def check_sparse(X: Any, name: str) -> None:
    """Raise ValueError if the index arrays of a SciPy sparse matrix do not describe a matrix of its shape.

    SciPy checks them where it makes a matrix, but not where it uses one: there, damaged ones read other memory.
    """
    try:
        if X.format in ("csr", "csc", "bsr"):
            # A matrix of the same arrays, because the check may replace the arrays of the one that it looks at.
            type(X)((X.data, X.indices, X.indptr), shape=X.shape, copy=False).check_format(full_check=True)
            if (np.diff(X.indptr) < 0).any():  # SciPy does not look where the last one is 0
                raise ValueError("index pointer values must form a non-decreasing sequence")
        elif X.format == "coo":
            for axis, (places, size) in enumerate(zip((X.row, X.col), X.shape)):
                if len(places) != len(X.data):
                    raise ValueError(f"{len(places)} indices for {len(X.data)} values")
                if len(places) and not 0 <= places.min() <= places.max() < size:
                    raise ValueError(f"indices of axis {axis} must lie in 0 … {size - 1}")
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{name} is a damaged {X.format} matrix: {error}") from None


def fits(X: Any, dtype: np.dtype, n_features: int) -> bool:
    """Whether a matrix of samples needs no conversion, so that a kernel may read it as it is, if its floats are finite.

    False only says that X has to pass the other checks.
    """
    return _is_matrix(X, dtype, n_features) and X.flags.c_contiguous and X.flags.aligned


def as_stored(X: Any, dtype: np.dtype, n_features: int) -> np.ndarray | None:
    """X if it ``fits``, or a copy of it that does if it only lies in another order, such as a table's columns; else None."""
    if fits(X, dtype, n_features):
        return X
    return np.array(X, order="C") if _is_matrix(X, dtype, n_features) else None


def _is_matrix(X: Any, dtype: np.dtype, n_features: int) -> bool:
    return type(X) is np.ndarray and X.dtype == dtype and X.ndim == 2 and X.shape[1] == n_features and X.size > 0


def is_finite(X: np.ndarray, n_jobs: int | None = None) -> bool:
    """Whether an array that ``fits`` holds neither NaN nor infinity. For few samples the answer takes a microsecond."""
    if X.dtype == np.uint8:
        return True
    flat = X.reshape(-1)
    return bool(np.isfinite(flat).all()) if X.size <= _SMALL else _all_finite(flat, n_jobs)


def quick_batch(
    batch: Any, dtype: np.dtype, n_features: int, n_classes: int, byte_values: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """A loader's pair (X, y) as a kernel reads it, proved to be right in some microseconds; None if that takes longer.

    ``byte_values`` (256,) are the floats that bytes stand for. None only says that the pair has to pass the other checks.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        return None
    X, y = (value if type(value) is np.ndarray else _tensors_memory(value) for value in batch)
    if X is None or y is None or X.ndim < 2 or y.ndim != 1 or len(X) != len(y) or not X.size:
        return None
    if X.ndim > 2:
        X = X.reshape(len(X), -1)
    if X.dtype != dtype and X.size <= _SMALL:
        if X.dtype == np.uint8:
            X = byte_values[X]
        elif X.dtype.kind == "f" and X.dtype.itemsize in (4, dtype.itemsize):
            X = X.astype(dtype)  # in this direction nothing overflows
    if y.dtype != np.int64:
        if y.dtype.kind not in "iu" or y.dtype == np.uint64:
            return None
        y = y.astype(np.int64)
    if not (fits(X, dtype, n_features) and y.flags.c_contiguous and y.flags.aligned and is_finite(X)):
        return None
    return (X, y) if y.view(np.uint64).max() < n_classes else None  # a negative label is huge without its sign


def _tensors_memory(value: Any) -> np.ndarray | None:
    """The memory of a torch tensor, recognised without importing torch, as an array; None for anything else."""
    try:
        array = value.numpy() if hasattr(value, "detach") else None
    except (TypeError, RuntimeError):  # it needs a gradient, or is on another device
        return None
    return array if type(array) is np.ndarray else None


def _all_finite(flat: np.ndarray, n_jobs: int | None) -> bool:
    """Whether a large array holds neither NaN nor infinity; a kernel looks, which takes no temporary memory."""
    from .engine.kernels import load
    from .engine.threads import threads_for

    part = np.empty(64)
    load("check").all_finite(flat, part, part.size, threads=threads_for(flat.size, n_jobs))
    return not np.isnan(part).any()


def as_targets(value: Any, name: str, m: int, dtype: np.dtype, multiclass: bool) -> np.ndarray:
    """Target distributions of m samples, (m, c). Without ``multiclass``, (m, 1), which may be given as (m,)."""
    source = as_array(value, name)
    if not multiclass and source.shape == (m,):
        source = source.reshape(m, 1)
    wanted = f"({m}, n_classes), a distribution per sample" if multiclass else f"({m},) or ({m}, 1)"
    if source.ndim != 2 or len(source) != m or source.shape[1] < 1 or (not multiclass and source.shape[1] != 1):
        hint = ""
        if multiclass and source.shape == (m,):
            hint = "; for labels, np.eye(n_classes)[y] makes the matrix"
        raise ValueError(f"{name} must have shape {wanted}, got {source.shape}{hint}")
    targets = as_floats(source, name, dtype)
    if not targets.size:  # no samples
        return targets
    low, high = targets.min(), targets.max()
    if low < 0 or high > 1:
        raise ValueError(f"{name} must hold probabilities between 0 and 1, got values from {low} to {high}")
    return targets


def as_count(value: Any, name: str, least: int = 0) -> int:
    """A whole number of at least ``least``."""
    try:
        if isinstance(value, bool):
            raise TypeError
        n = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if n < least:
        raise ValueError(f"{name} must be at least {least}, got {n}")
    return n


def as_scalar(value: Any, name: str, *, positive: bool = False, finite: bool = True) -> float:
    """A real number; not negative if ``positive``, not infinite if ``finite``."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if math.isnan(number) or (finite and math.isinf(number)):
        raise ValueError(f"{name} must be {'finite' if finite else 'a number'}, got {number}")
    if positive and number < 0:
        raise ValueError(f"{name} must not be negative, got {number}")
    return number


def as_random(random_state: Any) -> Any:
    """The random generator: NumPy's global one for None, a new one for a seed, or the given generator.

    A seed gives the same random numbers as after ``np.random.seed``.
    """
    if random_state is None:
        return np.random
    if isinstance(random_state, (np.random.RandomState, np.random.Generator)):
        return random_state
    try:
        if isinstance(random_state, bool):
            raise TypeError
        return np.random.RandomState(operator.index(random_state))
    except TypeError:
        raise TypeError(
            f"random_state must be None, a whole number, a RandomState or a Generator, got {random_state!r}"
        ) from None
    except ValueError as error:
        raise ValueError(f"random_state must be a seed, got {random_state!r}: {error}") from None
