"""Memory for kernels: aligned to cache lines, and sized in whole vectors."""

from __future__ import annotations

import numpy as np

from .kernels import load

_ALIGNMENT = 64  # bytes, one cache line and one AVX-512 register


def round_up(n: int) -> int:
    """``n`` rounded up to a multiple of 16 elements, which are whole vectors on every target."""
    return -(-n // 16) * 16


def aligned(n: int, dtype: np.dtype) -> np.ndarray:
    """A vector of ``n`` zeros whose address is a multiple of the cache line."""
    raw = np.zeros(n * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + n * dtype.itemsize].view(dtype)


def panels(threads: int, rows: int, n_units: int, dtype: np.dtype) -> np.ndarray:
    """Scratch memory in which each thread packs a few columns of ``rows`` rows, and keeps sums for ``n_units`` units."""
    matmul, panel_bytes = load("matmul"), load("tile").PANEL_BYTES
    if rows < matmul.PACK_FROM:
        return aligned(0, dtype)
    return aligned(threads * matmul.panel_rows.py_func(rows, n_units) * panel_bytes // dtype.itemsize, dtype)
