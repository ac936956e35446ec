"""The report of ``fastclf lab``: its pictures, and the page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...plots import DecisionBoundary, LossCurveDisplay, WeightTemplatesDisplay
from ...plots.common import COLOURS, INK, colour, open_sides
from ..report import Report

if TYPE_CHECKING:
    from pathlib import Path

    from .stages import Run, Stage
    from .timing import Row

#: Styles of a stage's two loss curves: a thin dashed line over a wide pale one, so both show where they are equal.
_BOTH = (
    {"color": COLOURS[0], "linestyle": "-", "linewidth": 6, "alpha": 0.4},
    {"color": INK, "linestyle": "--", "linewidth": 1.6},
)

_NAMES = {"reference": "NumPy", "fastclf": "fastclf"}  # of the two arms, as the page calls them
_HEAD = ("stage", "NumPy", "fastclf", "speed-up", "loss differs by", "accuracy, NumPy", "fastclf")


def _cells(r: Row) -> list[str]:
    return [
        r.stage,
        f"{r.reference_seconds:.3f} s",
        f"{r.fastclf_seconds:.4f} s",
        f"{r.speedup:.1f}×",
        f"{r.largest_loss_difference:.1e}",
        f"{r.reference_accuracy:.2%}",
        f"{r.fastclf_accuracy:.2%}",
    ]


TITLE = "Classifiers step by step, on fastclf"


def write_page(report: Report, stages: Sequence[Stage], rows: Sequence[Row], runs: Sequence[Run], table: str) -> Path:
    """Write the pictures, ``table.txt`` and ``index.html`` into the report's folder; return the page's path."""
    figure, save = report.figure, report.picture
    report.paragraph(
        "Every stage of the lab, trained twice from the same seed: on plain NumPy and on compiled kernels. Times are the "
        "median of the runs, without compilation; the loss difference is the largest of any epoch, relative to the larger "
        "of 1 and the loss."
    )
    report.table(_HEAD, map(_cells, rows), [not r.passed for r in rows])
    report.facts({})

    fig = figure(9, 0.5 * len(rows) + 1)
    speedups(fig.subplots(), [r.stage for r in rows], [r.speedup for r in rows])
    save(fig, "speedups", "How many times as fast")

    columns = 4
    fig = figure(3.4 * columns, 2.9 * -(-len(rows) // columns))
    axes = np.atleast_1d(fig.subplots(-(-len(rows) // columns), columns)).ravel()
    for ax, row in zip(axes, rows):
        LossCurveDisplay({_NAMES[arm]: losses for arm, losses in row.losses.items()}).plot(
            ax, curve_kwargs=_BOTH, legend=False
        )
        ax.set_title(row.stage, fontsize=11, loc="left")
    for ax in axes[len(rows) :]:
        ax.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    axes[-1].legend(
        handles, labels, loc="center" if len(rows) < len(axes) else "upper right", frameon=False, fontsize=12
    )
    save(fig, "loss_curves", "Loss by epoch: the two runs lie on each other")

    points = stages[0].problem
    fig = figure(7, 6)
    ax = fig.add_subplot(projection="3d")
    scatter3d(ax, points.X_train, points.y_train.argmax(axis=1), points.class_names)
    save(fig, "scatter3d", "The lab's synthetic set: four classes in three dimensions")

    planes = [
        (stage.name, stage.problem, run.theta)
        for stage, run in zip(stages, runs, strict=True)
        if run.theta is not None and stage.problem.n_features == 2
    ]
    fig = figure(4.6 * len(planes), 4.2)
    for ax, (name, plane, theta) in zip(fig.subplots(1, len(planes), sharey=True, squeeze=False)[0], planes):
        DecisionBoundary.from_theta(theta, plane.X_train, plane.y_train, ax=ax)
        ax.set_title(name, fontsize=11, loc="left")
        ax.set(xlabel="feature 1", ylabel="feature 2")
        ax.label_outer()
    save(fig, "decision_boundary", "The synthetic set of two classes: what the classifier takes for which class")

    for stage, run in zip(stages, runs, strict=True):
        if run.weights is not None:
            fig, axes = report.images(stage.problem.n_classes)
            WeightTemplatesDisplay(run.weights, stage.problem.shape, stage.problem.class_names).plot(
                axes, colorbar=True
            )
            save(fig, "templates", "What the linear classifier has learned: the weights of each class, as an image")

    last, deep = stages[-1].problem, runs[-1]
    caption = "The deep network on the test set: rows are the truth, columns the prediction"
    report.confusion(last.y_test, deep.predictions, range(last.n_classes), caption, last.class_names)

    (report.folder / "table.txt").write_text(table + "\n")
    return report.write()


# ---------------------------------------------------------------- pictures that only this report has


def scatter3d(ax: Any, X: NDArray[Any], labels: NDArray[Any], names: Sequence[str]) -> None:
    """Draw samples of three features, coloured by class."""
    for k, name in enumerate(names):
        ax.scatter(*X[labels == k].T, s=26, color=colour(k), edgecolor="white", lw=0.4, label=name, depthshade=False)
    ax.set_xlabel("feature 1")
    ax.set_ylabel("feature 2")
    ax.set_zlabel("feature 3")
    ax.legend(title="class", loc="upper left")
    ax.view_init(elev=18, azim=-58)


def speedups(ax: Any, stages: Sequence[str], ratios: Sequence[float]) -> None:
    """Draw a bar per stage from 1 on a logarithmic axis, to the left if plain NumPy is faster; the first stage is on top."""
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
