"""The main job: the whole lab, run on the reference and on fastclf from the same seeds, and compared.

A stage is one trainer on one problem. It is a function of the module that provides the trainers, ``fastclf.reference`` or
``fastclf`` itself: nothing else tells the two runs apart, which is the promise that the stage checks.
"""

from __future__ import annotations

import contextlib
import io
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import lab_data
from .lab_data import Problem

SEED = 0


@dataclass
class Run:
    """One trainer, trained: its losses, test predictions and what a picture may show."""

    losses: list[float]
    predictions: NDArray[Any]
    weights: NDArray[Any] | None = None


@dataclass
class Stage:
    """A trainer on a problem; ``train`` takes the module with the trainers and a cap on the number of epochs."""

    name: str
    problem: Problem
    train: Callable[[Any, int | None], Run]
    tolerance: float = 1e-9  # on the largest difference of a loss, relative to the larger of 1 and the loss


@dataclass
class Row:
    """What a stage came to."""

    stage: str
    reference_seconds: float
    fastclf_seconds: float
    speedup: float
    largest_loss_difference: float
    tolerance: float
    reference_accuracy: float
    fastclf_accuracy: float
    epochs: int
    losses: dict[str, list[float]] = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether the two runs agree within the stage's tolerance; NaN does not."""
        return bool(self.largest_loss_difference <= self.tolerance)


# ---------------------------------------------------------------- the stages


def _linear(batch: bool, multiclass: bool, iterations: int) -> Stage:
    problem = lab_data.synthetic(multiclass)

    def train(lib: Any, cap: int | None) -> Run:
        n = min(iterations, cap or iterations)
        theta, losses = lib.train_model(problem.X_train, problem.y_train, 0.01, n, batch, multiclass)
        scores = lib.linear_prediction(lib.add_bias_term(problem.X_test), theta)
        labels = scores.argmax(axis=1) if multiclass else (lib.sigmoid(scores) >= 0.5).astype(int)[:, 0]
        return Run(losses, labels)

    kind = "softmax" if multiclass else "sigmoid"
    truth = problem.y_test.argmax(axis=1) if multiclass else problem.y_test[:, 0].astype(int)
    flat = Problem(problem.name, problem.X_train, problem.y_train, problem.X_test, truth, (), problem.class_names)
    return Stage(f"{kind}, {'batch' if batch else 'SGD'}", flat, train)


def _image_linear(problem: Problem, epochs: int, learning_rate: float) -> Stage:
    def train(lib: Any, cap: int | None) -> Run:
        model = lib.ImageLinearClassifier(problem.X_train.shape[1], problem.n_classes)
        losses = lib.train(model, problem.X_train, problem.y_train, min(epochs, cap or epochs), learning_rate)
        return Run(losses, model.predict(problem.X_test).argmax(axis=0), model.W.copy())

    return Stage("image linear", problem, train)


def _mlp(problem: Problem, hidden: int, epochs: int, learning_rate: float) -> Stage:
    def train(lib: Any, cap: int | None) -> Run:
        model = lib.MLPClassifier(problem.X_train.shape[1], hidden, problem.n_classes)
        losses = model.train(problem.X_train.T, problem.y_train, min(epochs, cap or epochs), learning_rate)
        return Run(losses, model.forward(problem.X_test.T).argmax(axis=0))

    return Stage("MLP", problem, train)


def _deep(problem: Problem, hidden: int, epochs: int, batch_size: int, learning_rate: float, step_size: int) -> Stage:
    """The lab's deep network, started from weights large enough that its long runs do not turn chaotic."""
    m, n = problem.X_train.shape
    batches = [
        (problem.X_train[i : i + batch_size], problem.y_train[i : i + batch_size]) for i in range(0, m, batch_size)
    ]

    def train(lib: Any, cap: int | None) -> Run:
        model = lib.DeepMLPClassifier(n, hidden, problem.n_classes)
        model.W1 = np.random.randn(hidden, n) * np.sqrt(2 / n)
        model.W3 = np.random.randn(hidden, hidden) * np.sqrt(2 / hidden)
        model.W2 = np.random.randn(problem.n_classes, hidden) * np.sqrt(2 / hidden)
        losses = model.train(batches, min(epochs, cap or epochs), learning_rate, step_size=step_size, min_delta=0.001)
        return Run(losses, model.forward(problem.X_test.T).argmax(axis=0))

    return Stage("deep MLP", problem, train)


def stages(data: str, quick: bool, data_root: str | None = None, download: bool = False) -> list[Stage]:
    """The lab's stages in order, with images from ``data``: "digits", "photos" or "cifar10".

    The numbers of epochs, learning rates and sizes are the lab's where its data is; ``quick`` cuts the epochs.
    """
    iterations = 100 if quick else 1000
    linear = [_linear(batch, multiclass, iterations) for multiclass in (True, False) for batch in (True, False)]
    if data == "digits":
        images = lab_data.digits()
        few = 10 if quick else 100
        return [
            *linear,
            _image_linear(images, few, 0.1),
            _mlp(images, 32, few, 0.5),
            _deep(images, 32, 10 if quick else 100, 250, 0.2, 20),
        ]
    if data == "photos":
        images = everything = lab_data.photos()
    else:
        if data_root is None:
            raise ValueError("data_root must name the folder of CIFAR-10, got None")
        images = lab_data.cifar10(data_root, download, small=True)
        everything = images if quick else lab_data.cifar10(data_root, download=False, small=False)
    few = 5 if quick else 100
    return [
        *linear,
        _image_linear(images, few, 0.01),
        _mlp(images, 100, few, 0.1),
        _deep(everything, 100, 2 if quick else 20, min(1000, len(everything.X_train) // 2), 0.1, 10),
    ]


# ---------------------------------------------------------------- running and comparing


def _timed(stage: Stage, lib: Any, cap: int | None = None) -> tuple[float, Run, str]:
    np.random.seed(SEED)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        start = time.perf_counter()
        run = stage.train(lib, cap)
        return time.perf_counter() - start, run, printed.getvalue()


def _difference(a: list[float], b: list[float]) -> float:
    """The largest difference of two runs' losses, relative to the larger of 1 and the loss; infinity if one is longer."""
    if len(a) != len(b):
        return float("inf")
    x, y = np.asarray(a), np.asarray(b)
    return float(np.max(np.abs(x - y) / np.maximum(1, np.abs(x)))) if a else 0.0


def compare(stage: Stage, rounds: int) -> tuple[Row, Run]:
    """Run a stage both ways, ``rounds`` times in turn, and compare; returns the row and fastclf's run."""
    import fastclf
    from fastclf import reference

    seconds: dict[str, list[float]] = {"reference": [], "fastclf": []}
    for _ in range(rounds):
        for name, lib in (("reference", reference), ("fastclf", fastclf)):
            elapsed, run, _printed = _timed(stage, lib)
            seconds[name].append(elapsed)
            if name == "reference":
                theirs = run
            else:
                ours = run
    slow, fast = (statistics.median(seconds[name]) for name in ("reference", "fastclf"))
    accuracy = [float(np.mean(r.predictions == stage.problem.y_test)) for r in (theirs, ours)]
    row = Row(
        stage=stage.name,
        reference_seconds=slow,
        fastclf_seconds=fast,
        speedup=statistics.median(a / b for a, b in zip(seconds["reference"], seconds["fastclf"], strict=True)),
        largest_loss_difference=_difference(theirs.losses, ours.losses),
        tolerance=stage.tolerance,
        reference_accuracy=accuracy[0],
        fastclf_accuracy=accuracy[1],
        epochs=len(ours.losses),
        losses={"reference": [float(v) for v in theirs.losses], "fastclf": ours.losses},
    )
    return row, ours


def table(rows: Iterable[Row]) -> str:
    """The rows as text, for a terminal."""
    head = ("stage", "reference", "fastclf", "speed-up", "loss differs by", "test accuracy", "")
    body = [
        (
            r.stage,
            f"{r.reference_seconds:.3f} s",
            f"{r.fastclf_seconds:.4f} s",
            f"{r.speedup:.1f}x",
            f"{r.largest_loss_difference:.1e}",
            f"{r.reference_accuracy:.2%} / {r.fastclf_accuracy:.2%}",
            "ok" if r.passed else f"FAILED: tolerance {r.tolerance:.0e}",
        )
        for r in rows
    ]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]

    def line(cells: tuple[str, ...]) -> str:
        first, *rest = cells
        padded = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest[:-1], widths[1:], strict=False)), rest[-1]]
        return "  ".join(padded).rstrip()

    return "\n".join([line(head), line(tuple("-" * w for w in widths)), *map(line, body)])


def run_lab(
    data: str = "digits",
    *,
    quick: bool = False,
    out: str | Path = "lab-report",
    data_root: str | None = None,
    download: bool = False,
) -> list[Row]:
    """Run every stage both ways, print the table and write the report.

    Parameters
    ----------
    data : {"digits", "photos", "cifar10"}
        Where the images come from.
    quick : bool
        Few epochs: a run of seconds.
    out : path
        Folder of the report; created if it is not there.
    data_root : str, optional
        Folder of CIFAR-10.
    download : bool
        Let torchvision download CIFAR-10 to ``data_root``.

    Returns
    -------
    list of Row
        A row per stage; one whose ``passed`` is False left its tolerance.
    """
    from tqdm.auto import tqdm

    import fastclf

    from . import report

    chosen = stages(data, quick, data_root, download)
    rows: list[Row] = []
    runs: list[Run] = []
    start = time.perf_counter()
    for stage in tqdm(chosen, desc="compiling, or reading the cache", unit="stage", leave=False):
        _timed(stage, fastclf, cap=1)
    ready = time.perf_counter() - start
    with tqdm(chosen, unit="stage", leave=False) as bar:
        for stage in bar:
            bar.set_description(f"{stage.name} on {stage.problem.name}, both ways")
            row, run = compare(stage, rounds=1 if quick or stage.problem.name == "cifar10" else 3)
            rows.append(row)
            runs.append(run)
    print(table(rows))
    print(f"\nkernels ready after {ready:.1f} s (compiled, or read from the cache): not part of any speed-up")
    machine = {"python": platform.python_version(), "platform": platform.platform(), "data": data, "quick": quick}
    results = {
        **machine,
        "seed": SEED,
        "kernels_ready_seconds": ready,
        "stages": [{**asdict(r), "passed": r.passed} for r in rows],
    }
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    report.write(folder, chosen, rows, runs, table(rows))
    print(f"report: {folder / 'index.html'}")
    return rows
