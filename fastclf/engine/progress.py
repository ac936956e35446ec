"""Progress of a run: printed lines, a progress bar and callbacks, the cut of a run into stretches, and how runs end early.

A kernel returns to Python only when all its epochs are done. So ``train_in_stretches`` asks for the epochs that fit into
about ``STRETCH`` seconds: between stretches, Ctrl-C works and progress is shown. With a callback, a stretch is one epoch.
A run that is interrupted, or diverges, ends with a warning, and with the parameters that belong to its losses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels.aside import CompilationInterrupted
from ..kernels.warning import warn_user
from .distributed import ALONE, Alone

STRETCH = 0.2  # seconds
_SLOW = 5e9  # operations per second that any current machine reaches: only for the length of the first stretch

Callback = Callable[[int, float, Any], "bool | None"]


class TrainingInterruptedWarning(UserWarning):
    """The user pressed Ctrl-C during training, which then ends normally, with the model as trained so far."""


class TrainingDivergedWarning(UserWarning):
    """A loss or a parameter became infinite or NaN. Training ends there, with the last parameters that were finite."""


def warn_interrupted(interrupt: KeyboardInterrupt) -> None:
    """Warn, unless a kernel was still being compiled, so that nothing has been trained: then raise the interrupt."""
    if isinstance(interrupt, CompilationInterrupted):
        raise interrupt
    warn_user("Training interrupted by user: the model is what it has become so far.", TrainingInterruptedWarning)


def warn_diverged(epoch: int) -> None:
    """Say in which epoch, counted from 1, a run has diverged."""
    warn_user(
        f"Training diverged in epoch {epoch}: a loss or a parameter is not finite any more. It ends with the last "
        "parameters that were. Try a smaller learning rate, or features of a smaller scale.",
        TrainingDivergedWarning,
    )


def all_finite(losses: Any, params: np.ndarray) -> bool:
    """Whether the losses of a stretch, and the parameters after it, are finite."""
    return bool(np.isfinite(losses).all() and np.isfinite(params).all())


class Reporter:
    """Prints the lines of a run, updates its progress bar, and calls its callback.

    ``verbose`` is True for the lab's lines, False for no output, or "bar" for a progress bar with the loss. ``line`` gives
    the text for an epoch and its loss, or None to print nothing. The callback takes (epoch, loss, model); a true result
    ends the run. If the number of ``samples`` in an epoch is given, the bar counts samples, and shows samples per second.

    In a group, rank 0 alone prints, each rank calls its own callback, and one that ends the run ends it on every rank.
    """

    def __init__(
        self,
        verbose: bool | str,
        line: Callable[[int, float], str | None],
        epochs: int,
        callback: Callback | None = None,
        samples: int = 0,
        comm: Alone = ALONE,
    ) -> None:
        comm.expect(comm.few)
        if verbose not in (True, False, "bar"):
            raise ValueError(f'verbose must be True, False or "bar", got {verbose!r}')
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable, got {callback!r}")
        verbose = verbose if comm.rank == 0 else False
        self._say, self._line, self.callback, self.comm = bool(verbose) and verbose != "bar", line, callback, comm
        self._is_watched = comm.any(lambda: callback is not None)
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
        return not self._say and self._bar is None and not self._is_watched

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
        if not self._is_watched:
            return False
        callback = self.callback
        return self.comm.any(lambda: callback is not None and callback(epoch, loss, model()))

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()


def train_in_stretches(
    epochs: int,
    operations: float,
    stretch: Callable[[int], Sequence[float] | np.ndarray],
    reporter: Reporter,
    model: Callable[[], Any],
    params: np.ndarray | None,
    losses: list[float],
    checkpoint: Any = None,
) -> None:
    """Run ``epochs`` epochs of about ``operations`` floating-point operations each; ``losses`` receives their losses.

    ``stretch(k)`` trains k epochs and returns their losses. ``params`` is the memory of the parameters, if it is known: a
    run that Ctrl-C interrupts, or that diverges, then ends with the parameters from before the epoch that is not completed.
    ``checkpoint``, if given, is an ``io.checkpoint.Checkpoint``; the run goes on from there.
    """
    count = max(1, min(epochs, int(STRETCH * _SLOW / max(operations, 1.0))))
    known, diverged = np.empty(0) if params is None else params, False
    if checkpoint is not None and (state := checkpoint.restored()) is not None:
        copy_into(known, state["params"])
        losses.extend(state["losses"])

    def state_now() -> dict[str, Any]:
        return {"losses": losses, "params": known}

    try:
        while len(losses) < epochs and not diverged:
            # In a group, every stretch is one epoch: ranks that take different time would differ in what they do next.
            count = 1 if reporter.callback or reporter.comm.grouped else min(count, epochs - len(losses))
            before, start = known.copy(), time.perf_counter()
            try:
                new = np.array(stretch(count), np.float64)
                diverged = not all_finite(new, known)
                if diverged:
                    known[...] = before
                    new = _up_to_divergence(stretch, known, new)
            except BaseException:
                known[...] = before
                raise
            elapsed = time.perf_counter() - start
            count = max(1, min(10 * count, int(count * STRETCH / max(elapsed, 1e-9))))
            first = len(losses)
            losses.extend(new.tolist())
            if checkpoint is not None and not diverged:
                checkpoint.after(len(losses), state_now)
            if not reporter.silent and any(reporter.epoch(i, losses[i], model) for i in range(first, len(losses))):
                break
    except KeyboardInterrupt as interrupt:
        warn_interrupted(interrupt)
    if diverged:
        warn_diverged(len(losses))
    elif checkpoint is not None:
        checkpoint.after(len(losses), state_now, ended=True)


def copy_into(memory: np.ndarray, saved: Any) -> None:
    """Put the numbers of a checkpoint into memory that has to be like them; ValueError if it is not, or for NaN."""
    is_like = isinstance(saved, np.ndarray) and (saved.shape, saved.dtype) == (memory.shape, memory.dtype)
    if not is_like or not np.isfinite(saved).all():
        raise ValueError("the checkpoint's numbers do not fit the run")
    memory[...] = saved


def _up_to_divergence(stretch: Callable[[int], Any], params: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Repeat a stretch that has diverged, up to its last epoch with finite parameters.

    Returns the losses up to that of the epoch that diverged; each loss was taken before its epoch.
    """
    for epoch in range(len(losses) if len(losses) > 1 else 0):
        before = params.copy()
        [losses[epoch]] = stretch(1)
        if not all_finite(losses[epoch], params):
            params[...] = before
            return losses[: epoch + 1]
    return losses
