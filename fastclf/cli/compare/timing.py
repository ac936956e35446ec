"""Run a stage on the reference and on fastclf from the same seed; compare the times, losses and accuracies."""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import lab, reference
from .stages import Run, Stage

SEED = 0
_UNDISTURBED = 0.85  # of a processor, for a process that asks for one or more
_GAIN = 1.2  # of all threads over one, at least, where nothing else is running
_SETTLE = 0.1  # seconds of pause before a timed run, in which the threads of the previous run stop spinning


@dataclass
class Row:
    """The comparison of a stage's two runs."""

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
        """Whether the two runs agree within the stage's tolerance; a NaN difference does not pass."""
        return bool(self.largest_loss_difference <= self.tolerance)


def timed(stage: Stage, lib: Any, cap: int | None = None) -> tuple[float, Run]:
    """Train a stage with one of the two modules, without its printed lines; return the seconds and the run."""
    time.sleep(_SETTLE)
    with contextlib.redirect_stdout(io.StringIO()):
        stage.train(lib, 1)  # not timed: the pause has left the processor asleep and its caches cold
        np.random.seed(SEED)
        start = time.perf_counter()
        run = stage.train(lib, cap)
        return time.perf_counter() - start, run


def interference(seconds: float = 0.1) -> str | None:
    """A sentence that says how the machine is busy with something else, so that times mean little; None if it is not.

    A kernel reads an array on one thread and on all, which measures how much of the processors this process gets.
    """
    from ...kernels.check import all_finite
    from ...kernels.threads import available

    (most, _), x, out, rates, got = available(), np.ones(1 << 22), np.empty(64), [], 1.0
    all_finite(x, out, out.size, threads=most)  # starts the pool
    for threads in (1, most):
        start, used, calls = time.perf_counter(), time.process_time(), 0
        while (elapsed := time.perf_counter() - start) < seconds:
            all_finite(x, out, out.size, threads=threads)
            calls += 1
        rates.append(calls / elapsed)
        got = min(got, (time.process_time() - used) / elapsed)
    if got < _UNDISTURBED:
        return f"the machine is busy: this process got {got:.0%} of a processor"
    gain = rates[1] / rates[0]
    if most > 1 and gain < _GAIN:
        return f"{most} threads were {gain:.2f} times as fast as one: the processors are busy, or share a core"
    return None


def _difference(a: list[float], b: list[float]) -> float:
    """The largest |a - b| / max(1, |a|) of two runs' losses a and b of an epoch; infinity if their lengths differ."""
    if len(a) != len(b):
        return float("inf")
    x, y = np.asarray(a), np.asarray(b)
    return float(np.max(np.abs(x - y) / np.maximum(1, np.abs(x)))) if a else 0.0


def compare(stage: Stage, rounds: int) -> tuple[Row, Run]:
    """Run a stage on both modules in turn, ``rounds`` times; return the comparison and fastclf's last run."""
    seconds: dict[str, list[float]] = {"reference": [], "fastclf": []}
    for _ in range(rounds):
        for name, lib in (("reference", reference), ("fastclf", lab)):
            elapsed, run = timed(stage, lib)
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
