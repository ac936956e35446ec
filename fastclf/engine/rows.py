"""Sets of samples, in the form in which they are stored: floats, bytes, a memory-mapped file or a sparse matrix.

Nothing here copies a whole set. Kernels read samples in place if the samples are floats in the dtype of the computation.
Bytes, and floats of another dtype in a mapped file, are converted in scratch memory just before they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..kernels.codes import BYTES, DOUBLE, FLOATS, SINGLE, SPARSE
from ..kernels.records import Source
from .kernels import load
from .mapped import Mapping, Run, window_of
from .threads import threads_for

_STORED = {"uint8": BYTES, "float32": SINGLE, "float64": DOUBLE}
_BLOCK_BYTES = 1 << 23  # of floats that ``Rows.blocks`` converts at a time
_GATHER_OPERATIONS = 30  # floating-point operations that take about as long as converting one value
NO_BYTES = np.empty((0, 1), np.uint8)

Part = TypeVar("Part")


def read_as_stored(array: NDArray[Any]) -> bool:
    """Whether kernels read a set as it is stored, a few rows at a time: bytes, or floats in a mapped file."""
    if array.dtype == np.uint8:
        return True
    return array.dtype in (np.float32, np.float64) and Mapping.of(array) is not None


def flattened(images: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Images (m, …) as a C-ordered matrix, and the number of interleaved channels in a pixel: see ``Rows``.

    A channels-first view of a channels-last array, as torch makes one, is not copied: its channels are interleaved.
    """
    m = len(images)
    if images.ndim == 4 and not images.flags.c_contiguous:
        last = images.transpose(0, 2, 3, 1)
        if last.flags.c_contiguous:
            return last.reshape(m, -1), images.shape[1]
    return np.ascontiguousarray(images).reshape(m, -1), 1


class Rows:
    """Samples as rows, (m, n), of an array that ``inputs`` has checked: C-ordered, native, float32, float64 or uint8.

    The computation is in ``dtype``. ``bytes_as`` is a factor for bytes, or an array (256,) with the float for each byte.
    ``channels`` is the number of interleaved channels in the pixels of images; as floats, each channel is a plane.
    ``mapping`` is the mapping of a mapped file, or None.
    """

    def __init__(
        self, array: NDArray[Any], dtype: np.dtype[Any], bytes_as: float | NDArray[Any] = 1.0, channels: int = 1
    ) -> None:
        if isinstance(bytes_as, float) and not math.isfinite(bytes_as):
            raise ValueError(f"scale must be finite, got {bytes_as}")
        self.array, self.dtype, self.channels, self._bytes_as = array, dtype, channels, bytes_as
        ready = array.dtype == dtype and channels == 1 and array.flags.aligned
        self.stored = FLOATS if ready else _STORED[array.dtype.name]
        self.shape, self.size, self.mapping = array.shape, array.size, Mapping.of(array)
        self._bfloat16: tuple[NDArray[Any], Source] | None = None
        self.window = window_of(max(1, array.nbytes // max(1, len(array))))

    def __len__(self) -> int:
        return len(self.array)

    @property
    def are_floats(self) -> bool:
        """Whether kernels read the samples in place, without a conversion."""
        return self.stored == FLOATS

    def operands(self, in_bfloat16: bool, n_jobs: int | None = 1) -> tuple[NDArray[Any], Source]:
        """The samples as operands of products, and as a record for kernels, one of which is empty.

        Kernels read floats in place, and bfloat16 too: floats in memory are rounded once, at the first call. What is stored
        in another form, or in a mapped file, is converted batch by batch.
        """
        if not in_bfloat16:
            return self.source.X, self.source
        if self._bfloat16 is None:
            self._bfloat16 = self._as_bfloat16(n_jobs)
        return self._bfloat16

    def _as_bfloat16(self, n_jobs: int | None) -> tuple[NDArray[Any], Source]:
        nothing, (m, n) = np.empty((0, 1), np.uint32), self.shape
        if not self.are_floats:
            return nothing, self.source
        no_floats = np.empty(0, self.dtype)
        raw = Source(no_floats.reshape(0, 1), self.array.view(np.uint8), no_floats, _STORED[self.array.dtype.name], 1)
        if self.mapping is not None:
            return nothing, raw
        pairs = np.zeros((m, (n + 1) // 2), np.uint32)
        threads = threads_for(_GATHER_OPERATIONS * self.size, n_jobs)
        load("gather").gather(pairs, raw, np.arange(m), n, threads=threads)
        return pairs, Source(no_floats.reshape(0, 1), NO_BYTES, no_floats, FLOATS, 1)

    def forget_bfloat16(self) -> None:
        """Round the samples anew when they are used next, because the array may have changed."""
        self._bfloat16 = None

    @cached_property
    def source(self) -> Source:
        """The set as a record for kernels."""
        nothing, table = np.empty(0, self.dtype), self._bytes_as
        if self.are_floats:
            return Source(self.array, NO_BYTES, nothing, FLOATS, 1)
        table = table if isinstance(table, np.ndarray) else table * np.arange(256.0)
        raw = self.array.view(np.uint8)
        return Source(nothing.reshape(0, 1), raw, table.astype(self.dtype), self.stored, self.channels)

    def as_floats(
        self, order: NDArray[np.int64] | None = None, out: NDArray[Any] | None = None, n_jobs: int | None = 1
    ) -> NDArray[Any]:
        """The samples ``order`` as floats, in ``out`` or a new array; by default all, not copied if they are floats."""
        if self.are_floats:
            return self.array if order is None else np.take(self.array, order, axis=0, out=out)
        order = np.arange(len(self)) if order is None else order
        out = np.empty((len(order), self.shape[1]), self.dtype) if out is None else out
        gather = load("gather").gather
        gather(out, self.source, order, self.shape[1], threads=threads_for(_GATHER_OPERATIONS * out.size, n_jobs))
        return out

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yields slices of rows and the floats of these rows, some megabytes at a time; floats in memory are one block."""
        if self.are_floats and self.mapping is None:
            yield slice(0, len(self)), self.array
            return
        for first, end in self.portions(self.n_portions(self.size * self.dtype.itemsize, _BLOCK_BYTES)):
            yield slice(first, end), self.array[first:end] if self.are_floats else self.as_floats(np.arange(first, end))

    def stretches(self, order: NDArray[np.int64], rows: int, batch: int = 1) -> Iterator[NDArray[np.int64]]:
        """Cut ``order`` into parts for one kernel call each: ``rows`` rows or, in whole batches, as many as a window has."""
        rows = max(batch, min(rows, self.window) // batch * batch)
        parts = (order[start : start + rows] for start in range(0, len(order), rows))
        return self._reading_ahead(parts, lambda part: self.mapping.runs(part) if self.mapping else [])

    def n_portions(self, operations: float, operations_per_call: float) -> int:
        """The number of kernel calls for one pass over all rows, which takes ``operations`` operations in total."""
        count = max(1.0, operations / operations_per_call)
        count = max(count, len(self) / self.window)
        return min(math.ceil(count), len(self))

    def portions(self, count: int) -> Iterator[tuple[int, int]]:
        """Cut all rows, in order, into ``count`` portions of equal size: (first, end)."""
        ends = [len(self) * i // count for i in range(count + 1)]
        return self._reading_ahead(pairwise(ends), lambda portion: [portion])

    def _reading_ahead(self, parts: Iterable[Part], runs_of: Callable[[Part], list[Run]]) -> Iterator[Part]:
        """Yields the parts. A part of a mapped file is requested before the previous one is used, and released after use."""
        if self.mapping is None:
            yield from parts
            return
        self.mapping.check_length()
        before: tuple[Part, list[Run]] | None = None
        for part in parts:
            runs = runs_of(part)
            for run in runs:
                self.mapping.will_need(*run)
            if before is not None:
                yield from self._used(*before)
            before = part, runs
        if before is not None:
            yield from self._used(*before)

    def _used(self, part: Part, runs: list[Run]) -> Iterator[Part]:
        assert self.mapping is not None
        yield part
        for run in runs:
            self.mapping.done_with(*run)


def arrays_of(matrix: Any, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.int64]]:
    """The values, the features and the starts of the rows of a CSR matrix, as kernels take them."""
    if matrix.shape[1] > np.iinfo(np.int32).max:
        raise ValueError(f"X can not be a sparse matrix of {matrix.shape[1]:,} features: their numbers have 32 bits")
    features = np.ascontiguousarray(matrix.indices, np.int32)
    return np.ascontiguousarray(matrix.data, dtype), features, matrix.indptr.astype(np.int64)


class SparseRows:
    """Samples as the rows (m, n) of a CSR matrix that ``inputs`` has checked, to be computed with in ``dtype``.

    It stands in for ``Rows`` where a network trains and predicts.
    """

    array, mapping, are_floats = None, None, True

    def __init__(self, matrix: Any, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype, self.size = matrix.shape, dtype, matrix.nnz
        values, features, starts = arrays_of(matrix, dtype)
        self.source = Source(np.empty((0, 1), dtype), NO_BYTES, values, SPARSE, 1, features, starts)

    def __len__(self) -> int:
        return int(self.shape[0])

    def operands(self, in_bfloat16: bool, n_jobs: int | None = 1) -> tuple[NDArray[Any], Source]:
        """The samples as a record for kernels, which take no sparse samples in bfloat16."""
        if in_bfloat16:
            raise ValueError('dtype="bfloat16" is for dense X, got a sparse matrix')
        return self.source.X, self.source

    def stretches(self, order: NDArray[np.int64], rows: int, batch: int = 1) -> Iterator[NDArray[np.int64]]:
        """Cut ``order`` into parts of ``rows`` rows, in whole batches, for one kernel call each."""
        rows = max(batch, rows // batch * batch)
        return (order[start : start + rows] for start in range(0, len(order), rows))
