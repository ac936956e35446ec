"""Progress of a run: printed lines, a progress bar and callbacks, and the cut of a run into stretches.

A kernel returns to Python only when all its epochs are done. So ``train_in_stretches`` asks for the epochs that fit into
about ``STRETCH`` seconds: between stretches, Ctrl-C works and progress is shown. With a callback, a stretch is one epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

STRETCH = 0.2  # seconds
_SLOW = 5e9  # operations per second that any current machine reaches: only for the length of the first stretch

Callback = Callable[[int, float, Any], "bool | None"]


class Reporter:
    """Prints the lines of a run, updates its progress bar, and calls its callback.

    ``verbose`` is True for the lab's lines, False for no output, or "bar" for a progress bar with the loss. ``line`` gives
    the text for an epoch and its loss, or None to print nothing. The callback takes (epoch, loss, model); a true result
    ends the run. If the number of ``samples`` in an epoch is given, the bar counts samples, and shows samples per second.
    """

    def __init__(
        self,
        verbose: bool | str,
        line: Callable[[int, float], str | None],
        epochs: int,
        callback: Callback | None = None,
        samples: int = 0,
    ) -> None:
        if verbose not in (True, False, "bar"):
            raise ValueError(f'verbose must be True, False or "bar", got {verbose!r}')
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable, got {callback!r}")
        self._say, self._line, self.callback = bool(verbose) and verbose != "bar", line, callback
        self._bar: Any = None
        self._epochs, self._samples, self._seen = epochs, samples, 0
        if verbose == "bar":
            from tqdm.auto import tqdm

            unit = {"unit": " samples", "unit_scale": True} if samples else {"unit": "epoch"}
            self._bar = tqdm(total=epochs * (samples or 1), **unit)

    def say(self, line: str) -> None:
        """Print a line that does not report an epoch."""
        if self._say:
            print(line)
        elif self._bar is not None:
            self._bar.write(line)

    @property
    def silent(self) -> bool:
        """Whether epochs are not reported: no lines, no bar, no callback."""
        return not self._say and self._bar is None and self.callback is None

    def on_samples(self, samples: int) -> None:
        """Advance the bar by ``samples`` within an epoch, if the bar counts samples."""
        if self._bar is not None and self._samples:
            self._seen += samples
            self._bar.update(samples)

    def epoch(self, epoch: int, loss: float, model: Callable[[], Any]) -> bool:
        """Report one epoch; True if the callback asks to stop. ``model()`` gives the callback's model."""
        if self._say and (line := self._line(epoch, loss)) is not None:
            print(line)
        if self._bar is not None:
            self._bar.set_description(f"epoch {epoch + 1}/{self._epochs}", refresh=False)
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            self._bar.update(self._samples - self._seen if self._samples else 1)
            self._seen = 0
        return self.callback is not None and bool(self.callback(epoch, loss, model()))

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()


def train_in_stretches(
    epochs: int,
    operations: float,
    stretch: Callable[[int], Iterable[float] | np.ndarray],
    reporter: Reporter,
    model: Callable[[], Any],
) -> list[float]:
    """Run ``epochs`` epochs of about ``operations`` floating-point operations each; returns their losses.

    ``stretch(k)`` trains k epochs and returns their losses.
    """
    losses: list[float] = []
    count = max(1, min(epochs, int(STRETCH * _SLOW / max(operations, 1.0))))
    while len(losses) < epochs:
        count = 1 if reporter.callback else min(count, epochs - len(losses))
        start = time.perf_counter()
        new = stretch(count)
        elapsed = time.perf_counter() - start
        count = max(1, min(10 * count, int(count * STRETCH / max(elapsed, 1e-9))))
        if reporter.silent:
            losses.extend(map(float, new))
            continue
        for loss in map(float, new):
            losses.append(loss)
            if reporter.epoch(len(losses) - 1, loss, model):
                return losses
    return losses
