"""Shapes of networks far from those of the table, drawn to cover what a user may have: the sweep.

Features, hidden widths, classes and batch sizes are spread evenly over their logarithms, by a Latin hypercube.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.stats import qmc

SHAPES = 36
FEATURES, WIDTH, CLASSES, BATCH = (10, 20_000), (16, 2048), (2, 2000), (1, 4096)  # the least and the most of each
MOST_HIDDEN = 4  # layers
MOST_FLOP = 4e9  # in a step; shapes beyond it get a smaller batch
MOST_NUMBERS = 4e7  # in the data


class Shape(NamedTuple):
    """Widths of all layers, samples in a batch, and dtype of a workload."""

    widths: tuple[int, ...]
    m: int
    dtype: str

    @property
    def flop(self) -> float:
        products = [a * b for a, b in zip(self.widths, self.widths[1:])]
        return self.m * (6 * sum(products) - 2 * products[0])

    def __str__(self) -> str:
        return f"{'–'.join(map(str, self.widths))}, batch {self.m}, {self.dtype}"


def _between(bounds: tuple[int, int], at: float) -> int:
    """The number at a place from 0 to 1 between two bounds, on a logarithmic scale."""
    low, high = bounds
    return round(math.exp(math.log(low) + at * (math.log(high) - math.log(low))))


def shapes() -> list[Shape]:
    """The shapes of the sweep, always the same; two thirds of them in float32, the others in float64."""
    drawn = []
    for layers, n, *hidden, c, m, dtype in qmc.LatinHypercube(MOST_HIDDEN + 5, seed=0).random(SHAPES):
        used = hidden[: 1 + int(MOST_HIDDEN * layers)]
        widths = _between(FEATURES, n), *(_between(WIDTH, u) for u in used), _between(CLASSES, c)
        shape = Shape(widths, _between(BATCH, m), "float64" if dtype > 2 / 3 else "float32")
        fit = min(shape.m, MOST_NUMBERS / widths[0], shape.m * MOST_FLOP / shape.flop)
        drawn.append(shape._replace(m=max(1, int(fit))))
    return drawn
