"""Memory for kernels: aligned to cache lines, and sized in whole vectors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from ..kernels.caches import cache_bytes
from ..kernels.records import Blocks
from .kernels import load

_ALIGNMENT = 64  # bytes, one cache line and one AVX-512 register
_ROWS = 48  # of a product for which sums are set aside: whole tiles and whole vectors on every target


def round_up(n: int) -> int:
    """``n`` rounded up to a multiple of 16 elements, which are whole vectors on every target."""
    return -(-n // 16) * 16


def aligned(n: int, dtype: np.dtype) -> np.ndarray:
    """A vector of ``n`` zeros whose address is a multiple of the cache line."""
    raw = np.zeros(n * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + n * dtype.itemsize].view(dtype)


class Panels(NamedTuple):
    """The scratch of products: see ``kernels.matmul``."""

    memory: np.ndarray  # one part per thread
    size: int  # elements in each part
    blocks: Blocks  # how products of long rows are cut


def panels(threads: int, m: int, widths: Sequence[int], dtype: np.dtype, terms: int = 1) -> Panels:
    """The scratch for the products of ``m`` samples in the layers between ``widths``, with operands of ``terms`` terms."""
    matmul, blocks = load("matmul"), blocks_for(dtype)
    size = round_up(matmul.outer_room(m, max(widths[1:]), dtype.itemsize, terms))
    if any(matmul.is_long(n_in, blocks) for n_in in widths[:-1]):
        size = max(size, round_up(matmul.sums_room(blocks, dtype.itemsize)))
    return Panels(aligned(threads * size, dtype), size, blocks)


@cache
def blocks_for(dtype: np.dtype) -> Blocks:
    """How products of long rows are cut for this machine's caches."""
    target = load("target").TARGET
    if not target.outruns_l2:
        return Blocks(sys.maxsize // 2, sys.maxsize // 2, sys.maxsize // 2)
    tile_rows, tile_units = target.dot_tile
    lanes = target.lanes(dtype.itemsize)
    depth = cache_bytes(1) * 2 // 3 // ((tile_rows + tile_units) * dtype.itemsize) // lanes * lanes
    units = cache_bytes(2) // 2 // (depth * dtype.itemsize + _ROWS * target.vector_bytes)
    return Blocks(max(lanes, depth), _ROWS, max(tile_units, units // tile_units * tile_units))
