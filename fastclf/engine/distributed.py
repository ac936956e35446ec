"""Ranks that train together: processes with a shard of the samples each, in a process group of torch.distributed.

A communicator has a rank, the number of ranks, and ``all_reduce``, which adds one buffer up over all ranks, in place: torch
shares the memory of a NumPy array. Everything else is built on these. ``ALONE`` is the communicator of a process without
a group, for which nothing is exchanged, so that trainers need not ask whether there is a group.

No rank goes its own way: what ends a run is known to all ranks at the same place of the run. So a buffer that is added up
begins with a head, in which a rank says that Ctrl-C was pressed there, or that an exception has ended its work.

torch is imported only where a group is given.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .kernels import load

T = TypeVar("T")

HEAD = 16  # elements before the numbers of a buffer: a cache line at least, so that what follows is aligned as the buffer is
# Positions in the head: whether a rank was interrupted, or has failed; then what trainers add up beside their gradients.
INTERRUPTED, FAILED, LOSSES, WEIGHT, ROWS, MORE = range(6)


_NOTHING = np.empty(0)


class RankError(RuntimeError):
    """Another rank has failed, has died, or has not answered in time."""


def is_known(error: BaseException) -> bool:
    """Whether every rank has been told of this exception, or has raised the same."""
    return "known_to_all_ranks" in vars(error)


class Alone:
    """The communicator of a process without a group: its methods give back what they take.

    ``sync_every`` says how often ranks that train apart from each other take the average of their parameters; None: ranks
    take every step together. ``compresses`` says whether ranks send gradients in bfloat16.
    """

    rank, size, grouped = 0, 1, False
    sync_every: int | None = None
    compresses = False
    overlaps = False  # whether it pays to compute while a buffer is on its way
    few = np.zeros(HEAD)  # the buffer in which a few numbers are added up

    def all_reduce(self, buffer: NDArray[Any]) -> None:
        """Replace the buffer by its sum over all ranks, in place, with the same bits on every rank."""

    def add_up(self, buffer: NDArray[Any]) -> None:
        """``all_reduce`` of a buffer that begins with a head.

        Raises
        ------
        KeyboardInterrupt
            On every rank, if Ctrl-C was pressed on one of them.
        RankError
            If another rank has failed.
        """

    def add_up_ahead(self, buffer: NDArray[Any]) -> None:
        """Begin to add up a buffer without a head. The next ``add_up`` waits for it; until then nothing may touch it."""

    def add_up_rounded(self, buffer: NDArray[Any], left_over: NDArray[Any]) -> None:
        """As ``add_up``, but what follows the head is sent in bfloat16, in half of the bytes of float32.

        ``left_over`` keeps what the rounding has taken away, which is sent the next time: error feedback (Karimireddy et
        al., arXiv:1901.09847). It is as long as what follows the head, and begins as zeros.
        """

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in order of their ranks; any objects that can be pickled."""
        return [value]

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` returns on rank 0, where alone it is called."""
        return make()

    def agree(self, **facts: Any) -> None:
        """Raise ValueError on every rank unless each fact is the same on all ranks."""

    def any(self, ask: Callable[[], Any]) -> bool:
        """Whether ``ask``, which may call the user's code, gives something true on any rank."""
        return bool(ask())

    def mean(self, weight: float, *values: float) -> tuple[float, ...]:
        """The means of values over the ranks, each rank counting by its weight."""
        return values

    def sum(self, value: float) -> float:
        """The sum of a value over the ranks."""
        return value

    def of_first(self, value: float) -> float:
        """Rank 0's value: what a decision is taken from must be the same on processors that round differently."""
        return value

    def threads(self, n_jobs: int | None) -> int | None:
        """``n_jobs`` or, if it is None, a number of threads that leaves other ranks on this machine their share."""
        return n_jobs

    def expect(self, buffer: NDArray[Any] | None, ahead: NDArray[Any] = _NOTHING) -> None:
        """Note what the ranks exchange next: a buffer with a head, or objects, by ``gather``, if it is None.

        ``ahead`` is what they add up before each such buffer, by ``add_up_ahead``.
        """

    def end(self) -> None:
        """Note that the ranks exchange nothing any more: an exception from here on is this rank's own."""

    @contextmanager
    def together(self, deferring: bool = True) -> Iterator[None]:
        """Work on all ranks. An exception in it is told to the other ranks, where it becomes a ``RankError``.

        If ``deferring``, Ctrl-C waits for the next buffer that the ranks add up, and then interrupts all of them.
        """
        yield


ALONE = Alone()


class Ranks(Alone):
    """The communicator of a process in a group of torch.distributed, ``group``; None is the default group."""

    grouped = True

    def __init__(self, group: Any = None, sync_every: int | None = None, compresses: bool = False) -> None:
        import torch
        from torch import distributed

        self._torch, self._distributed, self._group = torch, distributed, group
        self.sync_every, self.compresses = sync_every, compresses
        self._rounded: Any = None  # a tensor of what is sent in bfloat16
        self.rank, self.size = distributed.get_rank(group), distributed.get_world_size(group)
        if self.rank < 0:
            raise ValueError("process_group must be a group that this process belongs to")
        self._interrupted = self._is_common = self._has_ended = False
        self._expected: NDArray[Any] | None = None
        self._ahead, self._on_its_way = _NOTHING, None
        self.few = np.zeros(HEAD + 8)
        self._cores: float | None = None

    # ------------------------------------------------------------ exchanges

    def _exchange(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except RuntimeError as error:
            self._has_ended, self._is_common = True, False
            raise RankError(
                f"rank {self.rank} of {self.size} has lost the others: one of them has died, or has not answered within the "
                f"timeout of the process group ({str(error).splitlines()[0]})"
            ) from error

    def all_reduce(self, buffer: NDArray[Any]) -> None:
        tensor = self._torch.from_numpy(buffer)
        self._exchange(lambda: self._distributed.all_reduce(tensor, group=self._group))

    def add_up_ahead(self, buffer: NDArray[Any]) -> None:
        if len(buffer):
            tensor = self._torch.from_numpy(buffer)
            reduce = self._distributed.all_reduce
            self._exchange(lambda: setattr(self, "_on_its_way", reduce(tensor, group=self._group, async_op=True)))

    def _arrive(self) -> None:
        """Wait for what has been begun."""
        if self._on_its_way is not None:
            self._exchange(self._on_its_way.wait)
            self._on_its_way = None

    def add_up(self, buffer: NDArray[Any]) -> None:
        buffer[INTERRUPTED], buffer[FAILED] = self._interrupted, 0
        self.all_reduce(buffer)
        self._arrive()
        if buffer[FAILED] > 0:
            self.gather(None)  # raises, with the message of the rank that has failed
        if buffer[INTERRUPTED] > 0:
            self._interrupted, self._is_common = False, True
            raise KeyboardInterrupt

    def add_up_rounded(self, buffer: NDArray[Any], left_over: NDArray[Any]) -> None:
        numbers = buffer[HEAD:]
        if self._rounded is None or len(self._rounded) != len(numbers):
            self._rounded = self._torch.empty(len(numbers), dtype=self._torch.bfloat16)
        self.add_up(buffer[:HEAD])  # exact; and if this raises, it raises on every rank
        left_over += numbers
        self._rounded.copy_(self._torch.from_numpy(left_over))
        sent = self._torch.from_numpy(numbers)
        left_over -= sent.copy_(self._rounded).numpy()
        self._exchange(lambda: self._distributed.all_reduce(self._rounded, group=self._group))
        sent.copy_(self._rounded)

    def _gathered(self, value: Any, failure: str | None) -> list[tuple[Any, str | None]]:
        found: list[Any] = [None] * self.size
        self._exchange(lambda: self._distributed.all_gather_object(found, (value, failure), group=self._group))
        return found

    def gather(self, value: T) -> list[T]:
        found = self._gathered(value, None)
        for rank, (_, failure) in enumerate(found):
            if failure is not None:
                self._is_common = True
                raise RankError(f"rank {rank} has failed, so that rank {self.rank} can not go on: {failure}")
        return [each for each, _ in found]

    def from_first(self, make: Callable[[], T]) -> T:
        made = make() if self.rank == 0 else None
        self.gather(None)
        box = [made]
        source = 0 if self._group is None else self._distributed.get_global_rank(self._group, 0)
        self._exchange(lambda: self._distributed.broadcast_object_list(box, src=source, group=self._group))
        return box[0]  # type: ignore[return-value]

    def agree(self, **facts: Any) -> None:
        first, *others = self.gather(facts)
        for rank, theirs in enumerate(others, 1):
            for name in first:
                if theirs.get(name) != first[name]:
                    self._is_common = True
                    raise ValueError(
                        f"all ranks of a process group must have the same {name.replace('_', ' ')}: rank {rank} has "
                        f"{theirs.get(name)!r}, rank 0 has {first[name]!r}"
                    )

    def _sums(self, *values: float) -> list[float]:
        self.few[HEAD : HEAD + len(values)] = values
        self.add_up(self.few)
        return [float(v) for v in self.few[HEAD : HEAD + len(values)]]

    def any(self, ask: Callable[[], Any]) -> bool:
        before = self._expected, self._ahead
        self.expect(self.few)
        [count] = self._sums(bool(ask()))
        self.expect(*before)
        return count > 0

    def mean(self, weight: float, *values: float) -> tuple[float, ...]:
        total, *sums = self._sums(weight, *(weight * value if weight else 0.0 for value in values))
        return tuple(s / total if total else float("nan") for s in sums)

    def sum(self, value: float) -> float:
        return self._sums(value)[0]

    def of_first(self, value: float) -> float:
        return self.sum(value if self.rank == 0 else 0.0)

    # ------------------------------------------------------------ this rank among those of its machine

    def threads(self, n_jobs: int | None) -> int | None:
        if self._cores is None:
            own = (
                frozenset(os.sched_getaffinity(0))
                if hasattr(os, "sched_getaffinity")
                else frozenset(range(os.cpu_count() or 1))
            )
            host = socket.gethostname()
            found = self.gather((host, own))
            here = [cores for name, cores in found if name == host]
            self.overlaps = self.overlaps or any(name != host for name, _ in found)
            self._cores = sum(1 / sum(core in cores for cores in here) for core in own)
        if n_jobs is not None:
            return n_jobs
        share = max(1, int(self._cores + 1e-9))
        # torchrun limits each rank to one thread if the user has set no limit; the share of a rank is more to the point.
        by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("OMP_NUM_THREADS") == "1"
        return share if by_torchrun else min(share, load("threads").usable())

    # ------------------------------------------------------------ exceptions and Ctrl-C

    def expect(self, buffer: NDArray[Any] | None, ahead: NDArray[Any] = _NOTHING) -> None:
        self._expected, self._ahead = buffer, ahead

    def end(self) -> None:
        self._has_ended = True

    @contextmanager
    def together(self, deferring: bool = True) -> Iterator[None]:
        self._has_ended, self._is_common, self._interrupted = False, False, False
        self._on_its_way = None
        self.expect(None)
        deferring = deferring and threading.current_thread() is threading.main_thread()
        handler = signal.signal(signal.SIGINT, self._note_interrupt) if deferring else None
        try:
            yield
        except BaseException as error:
            if not (self._is_common or self._has_ended or is_known(error)):
                with suppress(RankError):  # then the others are gone, and this exception says more
                    self._tell(f"{type(error).__name__}: {error}")
                    self._is_common = True
            if self._is_common:
                vars(error)["known_to_all_ranks"] = True
            raise
        finally:
            if deferring:
                signal.signal(signal.SIGINT, handler)
        if self._interrupted:  # after the last exchange
            signal.raise_signal(signal.SIGINT)

    def _note_interrupt(self, *_: Any) -> None:
        self._interrupted = True

    def _tell(self, failure: str) -> None:
        """Tell the other ranks, in the exchange in which they wait for this one, that it has failed."""
        if self._expected is not None:
            if self._on_its_way is None:
                self.add_up_ahead(self._ahead)
            self._expected[:] = 0
            self._expected[FAILED] = 1
            self.all_reduce(self._expected)
            self._arrive()
        self._gathered(None, failure)


def communicator(process_group: Any, sync_every: int | None = None, compress: str | None = None) -> Alone:
    """The communicator for an argument ``process_group``: ``ALONE`` for None, the default group for True."""
    if process_group is None or process_group is False:
        for name, value in (("sync_every", sync_every), ("compress", compress)):
            if value is not None:
                raise ValueError(f"{name}={value!r} is for ranks: it needs a process_group")
        return ALONE
    if compress not in (None, "bfloat16"):
        raise ValueError(f'compress must be None or "bfloat16", got {compress!r}')
    if compress is not None and sync_every is not None:
        raise ValueError("compress is for steps that ranks take together, not for sync_every")
    if sync_every is not None:
        if isinstance(sync_every, bool) or not isinstance(sync_every, (int, np.integer)):
            raise TypeError(f"sync_every must be None or a whole number, got {sync_every!r}")
        if sync_every < 1:
            raise ValueError(f"sync_every must be at least 1, got {sync_every}")
    from torch import distributed

    if not distributed.is_available():
        raise RuntimeError("process_group needs torch.distributed, which this build of torch lacks")
    if not distributed.is_initialized():
        raise RuntimeError(
            "process_group needs a process group, and there is none: call torch.distributed.init_process_group first"
        )
    if process_group is not True and not isinstance(process_group, distributed.ProcessGroup):
        raise TypeError(
            f"process_group must be None, True or a group of torch.distributed, got {type(process_group).__name__}"
        )
    group = None if process_group is True else process_group
    backend = str(distributed.get_backend(group))
    if backend not in ("gloo", "mpi", "undefined") and "cpu:" not in backend:
        raise ValueError(f"process_group must have a backend for the CPU's memory, such as gloo, got {backend!r}")
    return Ranks(group, sync_every, compress is not None)


# ---------------------------------------------------------------- the samples of all ranks


class Shards(NamedTuple):
    """The samples of all ranks, numbered as if the ranks' shards lay one after the other, in order of their ranks."""

    comm: Alone
    first: int  # the number of this rank's first sample
    end: int
    total: int  # the number of samples of all ranks

    @classmethod
    def of(cls, comm: Alone, m: int) -> Shards:
        """The shards of ranks, of which this one has m samples."""
        sizes = comm.gather(m)
        if not sum(sizes):
            raise ValueError("all shards are empty: there is no sample to train on")
        first = sum(sizes[: comm.rank])
        return cls(comm, first, first + m, sum(sizes))

    def chosen(self, order: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For each sample of ``order``, whether it is this rank's."""
        return (order >= self.first) & (order < self.end)

    def own(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the samples ``order`` that are this rank's, as its own rows, in their order."""
        if not self.comm.grouped:
            return order
        return order[self.chosen(order)] - self.first

    def of_all(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array with an entry for each sample of this rank, put together with those of the other ranks."""
        if not self.comm.grouped:
            return array
        parts = [part for part in self.comm.gather(array) if len(part)]
        return np.concatenate(parts)

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        """Labels among which are those of every rank: the different ones of all, or rows with both values of a matrix."""
        if not self.comm.grouped:
            return y
        if y.ndim == 2:
            return np.eye(y.shape[1], dtype=y.dtype)
        return np.unique(self.of_all(np.unique(y)))


def same_random(comm: Alone, random: Any) -> Any:
    """The generator, put into the state that rank 0's is in, so that all ranks draw the same."""
    if comm.grouped:
        if isinstance(random, np.random.Generator):
            state = comm.from_first(lambda: random.bit_generator.state)
            if state["bit_generator"] != random.bit_generator.state["bit_generator"]:
                raise ValueError(f"random_state must be a generator of one kind on all ranks, got {random!r}")
            random.bit_generator.state = state
        else:
            random.set_state(comm.from_first(random.get_state))
    return random


def same_numbers(comm: Alone, *arrays: NDArray[Any]) -> None:
    """Give every rank the numbers that rank 0 has, in place."""
    if comm.grouped:
        for array, first in zip(arrays, comm.from_first(lambda: arrays)):
            array[...] = first
