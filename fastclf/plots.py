"""The lab's pictures, on matplotlib: each function draws on axes that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2", "#6cc5b0", "#97bbf5", "#9c6b4e", "#ff8ab7", "#9498a0")


def loss_curves(ax: Any, curves: Mapping[str, Sequence[float]], title: str) -> None:
    """Losses by epoch: the first curve wide and pale, those after it dashed on top, so that equal ones both show."""
    for i, (name, losses) in enumerate(curves.items()):
        style: dict[str, Any] = {"lw": 6, "alpha": 0.35} if i == 0 else {"lw": 1.6, "ls": "--", "color": "#222222"}
        ax.plot(np.arange(1, len(losses) + 1), losses, label=name, **{"color": COLOURS[0], **style})
    ax.set_title(title, fontsize=11, loc="left")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss (nats)")
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def scatter3d(ax: Any, X: NDArray[Any], labels: NDArray[Any], names: Sequence[str]) -> None:
    """Points in three dimensions, coloured by class."""
    for k, name in enumerate(names):
        chosen = X[labels == k]
        ax.scatter(
            *chosen[:, :3].T, s=26, color=COLOURS[k % len(COLOURS)], edgecolor="white", lw=0.4, label=f"class {name}"
        )
    ax.set_xlabel("feature 1")
    ax.set_ylabel("feature 2")
    ax.set_zlabel("feature 3")
    ax.legend(frameon=False, loc="upper left")
    ax.view_init(elev=18, azim=-58)


def template(ax: Any, weights: ArrayLike, shape: tuple[int, ...], title: str) -> None:
    """One class's weights as an image: colours where the pixels have three channels, blue to red around 0 otherwise."""
    image = np.asarray(weights).reshape(shape)
    reach = float(np.abs(image).max()) or 1.0
    if image.ndim == 3:
        image = image.transpose(1, 2, 0) if image.shape[0] == 3 else image
        ax.imshow(np.clip(0.5 + image / (2 * reach), 0, 1))
    else:
        ax.imshow(image, cmap="RdBu_r", vmin=-reach, vmax=reach)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()


def confusion(ax: Any, truth: ArrayLike, predictions: ArrayLike, names: Sequence[str]) -> None:
    """How often each class was taken for each other one."""
    from sklearn.metrics import ConfusionMatrixDisplay

    ConfusionMatrixDisplay.from_predictions(
        truth, predictions, labels=range(len(names)), display_labels=names, cmap="Blues", colorbar=False, ax=ax,
        xticks_rotation="vertical" if max(map(len, names)) > 2 else "horizontal",
    )  # fmt: skip


def speedups(ax: Any, stages: Sequence[str], ratios: Sequence[float]) -> None:
    """Bars on a logarithmic scale, the first stage on top."""
    at = np.arange(len(stages))[::-1]
    ax.barh(at, ratios, color=COLOURS[0], height=0.62)
    ax.set_xscale("log")
    ax.set_xlim(left=min(0.8, *ratios), right=max(ratios) * 3)
    ax.axvline(1, color="#222222", lw=1)
    ax.set_yticks(at, stages)
    for y, ratio in zip(at, ratios, strict=True):
        ax.text(ratio * 1.08, y, f"{ratio:.1f}×" if ratio < 100 else f"{ratio:.0f}×", va="center")
    ax.set_xlabel("times as fast as plain NumPy")
    ax.spines[["top", "right"]].set_visible(False)
