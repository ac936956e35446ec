"""What a user sees of a run while it runs, and how a run is cut so that there is something to see.

A kernel does not come back to Python by itself. ``train_in_stretches`` asks it for as many epochs as fit into about
``STRETCH`` seconds, so that Ctrl-C works, lines and bars move and callbacks run; a callback makes every stretch one epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

STRETCH = 0.2  # seconds
_SLOW = 5e9  # operations per second that any machine of interest reaches: for the first guess only

Callback = Callable[[int, float, Any], "bool | None"]


class Reporter:
    """Prints a run's lines, moves its bar, calls its callback.

    ``verbose`` is True for the lab's lines, False for nothing, or "bar" for a progress bar with the loss. ``line`` makes a
    line of an epoch and its loss, or None where the lab prints none. The callback takes (epoch, loss, model), and ends the
    run by a true result. If the ``samples`` in an epoch are known, the bar counts them, and shows their rate.
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
        """Print a line that is not an epoch's."""
        if self._say:
            print(line)
        elif self._bar is not None:
            self._bar.write(line)

    @property
    def silent(self) -> bool:
        """Whether nobody is told of epochs."""
        return not self._say and self._bar is None and self.callback is None

    def on_samples(self, samples: int) -> None:
        """Move the bar within an epoch."""
        if self._bar is not None and self._samples:
            self._seen += samples
            self._bar.update(samples)

    def epoch(self, epoch: int, loss: float, model: Callable[[], Any]) -> bool:
        """Report one epoch; True if the callback asks to stop. ``model()`` is what the callback is given."""
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
