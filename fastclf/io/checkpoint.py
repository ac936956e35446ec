"""Checkpoints: the state of a run in a file, from which the run goes on, after its process has ended, with the same bits.

The file is of the format that ``persist`` describes, with the kind "checkpoint": what the run was given, and its state,
which only the run itself understands. A trainer gives its state as plain values and arrays, and takes it back.
"""

from __future__ import annotations

import hashlib
import reprlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from ..engine.distributed import ALONE, Alone
from .codec import check_words
from .files import as_path

KIND = "checkpoint"
State = dict[str, Any]
Every = int | timedelta


class Checkpoint:
    """The checkpoints of one run.

    ``path`` is the file. Checkpoints are due after ``every`` epochs, or after that time. ``resume`` lets the run go on from
    the file, if the file is there. ``run`` says what the run was given: a file of another run is refused.
    """

    def __init__(self, path: Any, every: Every, resume: bool, run: dict[str, Any] | None = None) -> None:
        self._path, self._every, self._resume, self._run = as_path(path), every, resume, run or {}
        self._epoch, self._time = 0, time.monotonic()  # of the last one

    def restored(self) -> State | None:
        """The state to go on from; None for a run that begins."""
        from .persist import read_values

        if not self._resume or not self._path.exists():
            return None
        values = read_values(self._path, KIND)
        run = values.get("run")
        if values.keys() != {"run", "state"} or not isinstance(run, dict) or not isinstance(values["state"], dict):
            raise ValueError(f"{str(self._path)!r} is no checkpoint")
        if differing := [k for k in sorted(run.keys() | self._run.keys()) if not _alike(run.get(k), self._run.get(k))]:
            name = differing[0]
            raise ValueError(
                f"the checkpoint {str(self._path)!r} is of another run: {name} was {reprlib.repr(run.get(name))}, and is "
                f"{reprlib.repr(self._run.get(name))}"
            )
        self._epoch = int(values["state"].get("epochs", 0))
        return values["state"]

    def after(self, epochs: int, state: Callable[[], State], ended: bool = False) -> None:
        """Write the state, with the number of epochs that are completed, if it is due, or if the run has ``ended``."""
        from .persist import write_values

        if isinstance(self._every, timedelta):
            is_due = time.monotonic() - self._time >= self._every.total_seconds()
        else:
            is_due = epochs - self._epoch >= self._every
        if is_due or (ended and epochs != self._epoch):
            write_values(self._path, KIND, {"run": self._run, "state": {**state(), "epochs": epochs}})
            self._epoch, self._time = epochs, time.monotonic()


class SharedCheckpoint:
    """The checkpoints of one run on several ranks: rank 0 alone writes the file, and reads it for all."""

    def __init__(self, own: Checkpoint, comm: Alone) -> None:
        self._own, self._comm = own, comm

    def restored(self) -> State | None:
        """As ``Checkpoint.restored``, on every rank."""
        self._comm.expect(None)
        state = self._comm.from_first(self._own.restored)
        self._comm.expect(self._comm.few)
        return state

    def after(self, epochs: int, state: Callable[[], State], ended: bool = False) -> None:
        """As ``Checkpoint.after``."""
        if self._comm.rank == 0:
            self._own.after(epochs, state, ended)


def _alike(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b)


def fingerprint(X: Any, *others: Any) -> str:
    """A short text that tells data sets apart: shape, dtype, some of the samples, and all of the other arrays."""
    digest = hashlib.sha256(f"{X.shape} {X.dtype}".encode())
    places = np.unique(np.linspace(0, X.shape[0] - 1, 64 if X.shape[0] else 0).astype(np.int64))
    part = X[places]
    for array in (*((part.data, part.indices) if hasattr(part, "indptr") else (part,)), *others):
        if array is not None:
            digest.update(
                str(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).tobytes()
            )
    return digest.hexdigest()[:32]


def checkpoint_of(
    path: Any, every: Any, resume: bool, run: dict[str, Any], data: tuple[Any, ...] = (), comm: Alone = ALONE
) -> Checkpoint | SharedCheckpoint | None:
    """The checkpoints of a run, if ``path`` is not None. ``data`` are the samples, and the arrays that belong to them.

    In a group, they are this rank's, and the run is one of as many ranks.
    """
    if path is None and resume:
        raise ValueError("resume needs a checkpoint, the file to go on from")
    if isinstance(every, timedelta):
        if every <= timedelta(0):
            raise ValueError(f"checkpoint_every must be longer than no time, got {every}")
    elif isinstance(every, bool) or not isinstance(every, (int, np.integer)):
        raise TypeError(f"checkpoint_every must be a whole number of epochs or a timedelta, got {every!r}")
    elif every < 1:
        raise ValueError(f"checkpoint_every must be at least 1, got {every}")
    comm.agree(checkpoint=path is not None, resume=bool(resume))
    if path is None:
        return None
    if comm.compresses:
        raise ValueError(
            'compress="bfloat16" is not for runs with a checkpoint, which would lack what rounding leaves over'
        )
    if data:
        run = {**run, "data": fingerprint(*data)}
    if not comm.grouped:
        return Checkpoint(path, every, resume, run)
    run = {**run, "ranks": comm.size, "data": " ".join(comm.gather(str(run.get("data", ""))))}
    return SharedCheckpoint(Checkpoint(path, every, resume, run), comm)


# ---------------------------------------------------------------- generators of random numbers


def state_of_random(random: Any) -> State:
    """The state of a RandomState, a Generator, or NumPy's global generator."""
    state = random.bit_generator.state if isinstance(random, np.random.Generator) else random.get_state(legacy=False)
    return _plain(state)


def set_random(random: Any, state: Any) -> None:
    """Put a generator into a state that ``state_of_random`` has given; ValueError if it is of another kind."""
    now = state_of_random(random)
    if not isinstance(state, dict) or state.get("bit_generator") != now["bit_generator"]:
        raise ValueError("the checkpoint's random numbers come from a generator of another kind")
    if now["bit_generator"] == "MT19937":
        inner = state.get("state") or {}
        check_words(inner.get("key"), inner.get("pos"))
    if isinstance(random, np.random.Generator):
        random.bit_generator.state = state
    else:
        random.set_state(state)


def _plain(value: Any) -> Any:
    """The same with Python's own numbers, which a file can hold."""
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return value.item() if isinstance(value, np.generic) else value
