"""Memory-mapped files: advice to the operating system about the rows that training reads next, and those it has read.

The system loads a page of a mapped file when the process first touches that page, a few pages at a time. This is slow if
rows are read in a different order than they are stored, and the process seems to grow as large as the file. So the rows
of the next stretch are requested while a kernel runs on the current stretch, and pages that have been read are released.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 1 << 20  # of the file per block; a block is read in one piece
_WINDOW_BYTES = 1 << 26  # of the file that are read ahead, and whose rows are shuffled together
_MOST_READ = 4  # rows that are read ahead for each row that is used, at most
_COPY_ON_WRITE = "c"  # mode of np.memmap: only memory holds changes to the data, so pages must not be released

Run = tuple[int, int]  # rows, as (first, end)


class Blocks:
    """An array's rows in blocks of about a megabyte: in such pieces a file is read fast."""

    def __init__(self, row_bytes: int) -> None:
        self._shift = max(0, (_BLOCK_BYTES // row_bytes).bit_length() - 1)  # a block has 2**shift rows

    @classmethod
    def wished_for(cls, array: np.ndarray | None, shuffle: bool | str) -> Blocks | None:
        """The blocks to shuffle an array by, None to shuffle its rows: a wish, "blocks", or a matter of size.

        Rows from all over a file that is larger than half of the free memory would be read from the disk one by one.
        """
        if array is None or not array.nbytes:
            return None
        large = Mapping.of(array) is not None and array.nbytes > free_memory() / 2
        return cls(array.nbytes // len(array)) if shuffle == "blocks" or large else None

    def block_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the block that each row is in."""
        return rows >> self._shift


def window_of(row_bytes: int) -> int:
    """The rows of a file that are read ahead. One kernel call takes no more rows, of arrays in memory either: the bits of
    some results depend on how the rows are divided into calls.
    """
    return max(1, _WINDOW_BYTES // row_bytes)


def free_memory() -> float:
    """Bytes of memory that are free, or that hold no more than copies of files; infinity if the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            [kilobytes] = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return float(kilobytes) * 1024
    except (OSError, ValueError):
        return math.inf


class Mapping(Blocks):
    """The memory mapping of the file that holds an array.

    The array begins ``start`` bytes into the mapping, which begins ``skipped`` bytes into the file. ``given_back`` says
    whether pages that have been read may be released.
    """

    def __init__(
        self, memory: mmap.mmap, start: int, rows: int, row_bytes: int, given_back: bool, skipped: int
    ) -> None:
        super().__init__(row_bytes)
        self._memory, self._start, self._rows, self._row_bytes = memory, start, rows, row_bytes
        self._given_back, self._skipped = given_back, skipped

    @classmethod
    def of(cls, array: np.ndarray) -> Mapping | None:
        """The mapping that holds ``array``; None if the array is in ordinary memory, empty, or not C-ordered."""
        base: Any = array
        mode, skipped = _COPY_ON_WRITE, 0
        while base is not None and not isinstance(base, mmap.mmap):
            if isinstance(base, np.memmap) and base.offset is not None:
                mode, skipped = base.mode, base.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
        if base is None or not array.nbytes or not array.flags.c_contiguous:
            return None
        start = array.__array_interface__["data"][0] - np.frombuffer(base, np.uint8).__array_interface__["data"][0]
        return cls(base, start, len(array), array.nbytes // len(array), mode != _COPY_ON_WRITE, skipped)

    def check_length(self, name: str = "a memory-mapped array") -> None:
        """Raise ValueError if the file is now shorter than the array: reading what is gone would end the process.

        Nothing can be done about a file that becomes shorter while a kernel reads it.
        """
        needed, there = self._skipped + self._start + self._rows * self._row_bytes, self._memory.size()
        if there < needed:
            raise ValueError(f"the file of {name} has become shorter than the array: {there} bytes, not {needed}")

    def will_need(self, first: int, end: int) -> None:
        """Ask the system to start loading rows first ≤ r < end, because training reads them soon."""
        self._advise("MADV_WILLNEED", first, end)

    def done_with(self, first: int, end: int) -> None:
        """Release the pages of rows first ≤ r < end, which are not read again soon; the system may still cache them."""
        if self._given_back:
            self._advise("MADV_DONTNEED", first, end)

    def _advise(self, name: str, first: int, end: int) -> None:
        option = getattr(mmap, name, None)
        if option is None:  # the system has no such advice: reading works, but more slowly
            return
        begin = (self._start + first * self._row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        with contextlib.suppress(OSError):  # some file systems take no advice
            self._memory.madvise(option, begin, self._start + end * self._row_bytes - begin)

    def runs(self, rows: NDArray[np.int64]) -> list[Run]:
        """The row ranges of all blocks that contain any of ``rows``; adjacent blocks form one range.

        There are none for rows from all over the file: reading ahead would read far more than these rows.
        """
        held = np.zeros((self._rows >> self._shift) + 3, np.int8)  # one extra entry before and after the blocks
        held[self.block_of(rows) + 1] = 1
        steps = np.diff(held)
        firsts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
        if int((ends - firsts).sum()) << self._shift > _MOST_READ * len(rows) + (2 << self._shift):
            return []
        return [(int(a) << self._shift, min(int(b) << self._shift, self._rows)) for a, b in zip(firsts, ends)]


def shuffled(order: NDArray[np.int64], blocks: Blocks | None, random: Any) -> NDArray[np.int64]:
    """``order``, shuffled at random, row by row or by blocks.

    The blocks are shuffled, and then the rows within each group of some dozens of blocks. So each block of a file is read
    once, in one piece, and its rows are still mixed with rows from all over the file.
    """
    if blocks is None:
        places = np.arange(len(order))  # the same result as sklearn.utils.shuffle of an index
        random.shuffle(places)
        return order[places]
    order = np.sort(order)
    starts = np.flatnonzero(np.diff(blocks.block_of(order), prepend=-1))
    pieces = np.split(order, starts[1:])
    drawn, together = random.permutation(len(pieces)), _WINDOW_BYTES // _BLOCK_BYTES
    windows = (np.concatenate([pieces[i] for i in drawn[k : k + together]]) for k in range(0, len(drawn), together))
    return np.concatenate([window[random.permutation(len(window))] for window in windows])
