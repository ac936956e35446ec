"""The bytes that a matrix product takes from each level of the caches, by the order of its loops.

A product is a nest of loops around a tile. Its operands are R and C, from which the tile's rows and columns come, and Z, the
results. A cache holds what was used last. So an operand that stays the same in a loop is still there in the next trip, if
everything that a trip touches fits; else every trip takes it from beyond. The tiles of a product count as equally large.
Left out are that caches move whole lines, and the copying of packed columns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from fastclf.kernels import matmul
from fastclf.kernels.target import TARGET
from fastclf.kernels.tile import DOT_ROWS, DOT_UNITS, OUTER_VECTORS


class Loop(NamedTuple):
    """A loop, and the operands of which every trip takes another part."""

    trips: int
    moves: str


class Nest(NamedTuple):
    """The bytes of each operand that a tile reads and writes, and the loops around it, the innermost first."""

    tile: dict[str, float]
    loops: list[Loop]

    def beyond(self, cache: int) -> float:
        """Bytes from beyond a cache, when the product runs again and again; beyond 0 bytes is all that the tiles take."""
        taken, touched = dict(self.tile), dict(self.tile)
        for trips, moves in self.loops:
            fits = sum(touched.values()) <= cache
            for operand in self.tile:
                moving = operand in moves
                taken[operand] *= 1 if fits and not moving else trips
                touched[operand] *= trips if moving else 1
        return 0.0 if sum(touched.values()) <= cache else sum(taken.values())


def forward(rows: int, columns: int, depth: int, itemsize: int, results: int) -> Nest:
    """``matmul.forward``, which stores so many matrices of results."""
    tiles_down, tiles_across = math.ceil(rows / DOT_ROWS), math.ceil(columns / DOT_UNITS)
    r, c = rows / tiles_down, columns / tiles_across
    tile = {"R": r * depth * itemsize, "C": c * depth * itemsize, "Z": results * r * c * itemsize}
    return Nest(tile, [Loop(tiles_down, "RZ"), Loop(tiles_across, "CZ")])


def outer(rows: int, columns: int, depth: int, itemsize: int, packing: bool) -> Nest:
    """``matmul.outer``, which also reads what it updates, or the gate of a masked product."""
    lanes = TARGET.lanes(itemsize)
    groups, panels = matmul.n_groups.py_func(rows), matmul.n_panels.py_func(columns, lanes)
    r, c = rows / groups, min(columns / panels, OUTER_VECTORS * lanes)
    pieces = math.ceil(depth / matmul.OUTER_DEPTH) if packing and depth >= matmul.PACK_FROM else 1
    terms = depth / pieces
    tile = {"R": r * terms * itemsize, "C": c * terms * itemsize, "Z": 2 * r * c * itemsize}
    down, across = Loop(groups, "RZ"), Loop(panels, "CZ")
    if depth < matmul.ACROSS_BELOW:
        return Nest(tile, [across, down])
    if pieces == 1:
        return Nest(tile, [down, across])
    together = min(matmul.PACK_COLUMNS, panels)
    return Nest(tile, [down, Loop(together, "CZ"), Loop(pieces, "RC"), Loop(math.ceil(panels / together), "CZ")])
