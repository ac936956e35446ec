"""The lab's own pictures, beside those of ``fastclf.plots``: each function draws on axes that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plots.common import COLOURS, INK, colour, open_sides


def scatter3d(ax: Any, X: NDArray[Any], labels: NDArray[Any], names: Sequence[str]) -> None:
    """Points in three dimensions, coloured by class."""
    for k, name in enumerate(names):
        ax.scatter(*X[labels == k].T, s=26, color=colour(k), edgecolor="white", lw=0.4, label=name, depthshade=False)
    ax.set_xlabel("feature 1")
    ax.set_ylabel("feature 2")
    ax.set_zlabel("feature 3")
    ax.legend(title="class", loc="upper left")
    ax.view_init(elev=18, azim=-58)


def speedups(ax: Any, stages: Sequence[str], ratios: Sequence[float]) -> None:
    """Bars from 1 on a logarithmic scale, to the left where plain NumPy is faster; the first stage on top."""
    at = np.arange(len(stages))[::-1]
    ax.barh(at, np.asarray(ratios) - 1, left=1, color=COLOURS[0], height=0.62)
    ax.set_xscale("log")
    ax.set_xlim(left=min(0.7, 0.8 * min(ratios)), right=max(10, *ratios) * 2.5)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.axvline(1, color=INK, lw=1)
    ax.set_yticks(at, stages)
    for y, ratio in zip(at, ratios, strict=True):
        text = f"{ratio:.1f}×" if ratio < 100 else f"{ratio:.0f}×"
        ax.annotate(text, (max(ratio, 1), y), (6, 0), textcoords="offset points", va="center")
    ax.set_xlabel("times as fast as plain NumPy")
    open_sides(ax)
