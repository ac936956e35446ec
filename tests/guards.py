"""Guard pages: with FASTCLF_GUARDED=1, every array that a kernel gets ends where memory ends.

Kernels index by address, where Numba's own check of bounds does not look. So each array of a call is copied to the end of
a page, and the page after it can be neither read nor written: one element too far ends the process. What the kernel
writes is copied back.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np

from fastclf.kernels.kernel import Kernel

_NOTHING = 0  # PROT_NONE
_libc = ctypes.CDLL(None, use_errno=True)


def at_the_end_of_memory(array: np.ndarray) -> np.ndarray:
    """A copy of a C-ordered array whose last byte is the last of its page; the next page can not be touched."""
    pages = -(-max(array.nbytes, 1) // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    raw = np.frombuffer(memory, np.uint8)
    guard = raw.__array_interface__["data"][0] + pages * mmap.PAGESIZE
    if _libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(mmap.PAGESIZE), _NOTHING):
        raise OSError(ctypes.get_errno(), "mprotect")
    first = pages * mmap.PAGESIZE - array.nbytes
    copy = raw[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = array.flags.writeable
    return copy


def _guarded(value: Any, copies: list[tuple[np.ndarray, np.ndarray]]) -> Any:
    if isinstance(value, tuple):
        parts = [_guarded(part, copies) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if not isinstance(value, np.ndarray) or not value.flags.c_contiguous or value.dtype.hasobject:
        return value  # what a kernel refuses, it shall refuse
    for original, copy in copies:
        if original is value:
            return copy
    copies.append((value, at_the_end_of_memory(value)))
    return copies[-1][1]


def install() -> None:
    """Guard the arrays of every call of a kernel from now on."""
    call = Kernel.__call__

    def guarded_call(self: Kernel, *args: Any, **how: Any) -> Any:
        copies: list[tuple[np.ndarray, np.ndarray]] = []
        result = call(self, *[_guarded(arg, copies) for arg in args], **how)
        for original, copy in copies:
            if original.flags.writeable:
                original[...] = copy
        return result

    Kernel.__call__ = guarded_call
