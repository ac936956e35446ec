"""Shapes of networks far from those of the table, drawn to cover what a user may have: the sweep.

Features, hidden widths, classes and batch sizes are spread evenly over their logarithms, by a Latin hypercube.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.stats import qmc

SHAPES = 36
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


def _between(low: int, high: int, at: float) -> int:
    return round(math.exp(math.log(low) + at * (math.log(high) - math.log(low))))


def shapes() -> list[Shape]:
    """Features 10 … 20,000; 1 to 4 hidden layers of 16 … 2,048; classes 2 … 2,000; batch 1 … 4,096; two dtypes."""
    drawn = []
    for at in qmc.LatinHypercube(9, seed=0).random(SHAPES):
        layers = 1 + int(4 * at[0])
        widths = (
            _between(10, 20_000, at[1]), *(_between(16, 2048, x) for x in at[2 : 2 + layers]), _between(2, 2000, at[6])
        )  # fmt: skip
        shape = Shape(widths, _between(1, 4096, at[7]), "float64" if at[8] > 2 / 3 else "float32")
        fit = min(shape.m, MOST_NUMBERS / widths[0], shape.m * MOST_FLOP / shape.flop)
        drawn.append(shape._replace(m=max(1, int(fit))))
    return drawn
