"""Files in memory: what the operating system is told of the rows that training reads next, and of those it has read.

A mapped array's pages come from its file when they are touched, a few at a time. That is slow where rows are read in
another order than they are stored, and makes a process look as large as the file. So the rows of the next stretch are
asked for ahead, while a kernel runs on this one's, and pages that have been read are given back.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 1 << 20  # of a file, read in one piece
_WINDOW_BYTES = 1 << 26  # of it, read ahead, and shuffled together
_COPY_ON_WRITE = "c"  # a mode whose pages alone hold what was written to them: they are never given back

Run = tuple[int, int]  # rows, as (first, end)


class Mapping:
    """The file behind an array, as the operating system sees it.

    The array begins ``start`` bytes into the mapping. If pages are ``given_back``, those that have been read may be
    forgotten. At most ``window`` rows are read ahead.
    """

    def __init__(self, memory: mmap.mmap, start: int, rows: int, row_bytes: int, given_back: bool) -> None:
        self._memory, self._start, self._rows, self._row_bytes = memory, start, rows, row_bytes
        self._given_back, self.window = given_back, max(1, _WINDOW_BYTES // row_bytes)
        self._shift = max(0, (_BLOCK_BYTES // row_bytes).bit_length() - 1)  # a block has 2**shift rows

    @classmethod
    def of(cls, array: np.ndarray) -> Mapping | None:
        """The mapping that a C-ordered array lies in; None if it is in memory of its own."""
        base: Any = array
        mode = _COPY_ON_WRITE
        while base is not None and not isinstance(base, mmap.mmap):
            mode = base.mode if isinstance(base, np.memmap) else mode
            base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
        if base is None or not array.nbytes or not array.flags.c_contiguous:
            return None
        start = array.__array_interface__["data"][0] - np.frombuffer(base, np.uint8).__array_interface__["data"][0]
        return cls(base, start, len(array), array.nbytes // len(array), mode != _COPY_ON_WRITE)

    def will_need(self, first: int, end: int) -> None:
        """Rows first ≤ r < end are read soon: the file's blocks begin to be read now."""
        self._advise("MADV_WILLNEED", first, end)

    def done_with(self, first: int, end: int) -> None:
        """Rows first ≤ r < end are not read again soon: the process gives their pages back, the system may keep them."""
        if self._given_back:
            self._advise("MADV_DONTNEED", first, end)

    def _advise(self, name: str, first: int, end: int) -> None:
        option = getattr(mmap, name, None)
        if option is None:  # not on this system: everything works, only later
            return
        begin = (self._start + first * self._row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        with contextlib.suppress(OSError):  # some file systems take no advice
            self._memory.madvise(option, begin, self._start + end * self._row_bytes - begin)

    def block_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the file's block that each row is in."""
        return rows >> self._shift

    def runs(self, rows: NDArray[np.int64]) -> list[Run]:
        """The rows of all blocks that hold some of ``rows``; neighbouring blocks are one run."""
        held = np.zeros((self._rows >> self._shift) + 3, np.int8)  # with one before the first block, and after the last
        held[self.block_of(rows) + 1] = 1
        steps = np.diff(held)
        firsts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
        return [(int(a) << self._shift, min(int(b) << self._shift, self._rows)) for a, b in zip(firsts, ends)]


def shuffled(order: NDArray[np.int64], mapping: Mapping | None, random: Any) -> NDArray[np.int64]:
    """``order`` in another order, drawn at random, for rows in memory or of a mapped file.

    Of a file whole blocks are drawn, and shuffled some dozens of them together: so every block is read once, in one piece,
    and its rows still come among rows from all over the file.
    """
    if mapping is None:
        places = np.arange(len(order))  # what sklearn.utils.shuffle makes of an index
        random.shuffle(places)
        return order[places]
    order = np.sort(order)
    starts = np.flatnonzero(np.diff(mapping.block_of(order), prepend=-1))
    blocks = np.split(order, starts[1:])
    drawn, together = random.permutation(len(blocks)), _WINDOW_BYTES // _BLOCK_BYTES
    windows = (np.concatenate([blocks[i] for i in drawn[k : k + together]]) for k in range(0, len(drawn), together))
    return np.concatenate([window[random.permutation(len(window))] for window in windows])
