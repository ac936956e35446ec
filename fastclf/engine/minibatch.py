"""Mini-batch training of a network: the samples, the scratch memory, and the kernel calls that take the steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.codes import (
    ACTIVATIONS,
    ADD,
    FLOATS,
    FORWARD,
    HOLD,
    IN_PLACE,
    MANY_CLASSES,
    SHORT_VECTORS,
    SPARSE,
    SQUARE_PARTS,
    TRAIN,
    output_block_size,
)
from ..kernels.records import BatchScratch, Model, Schedule, Settings, Source, Targets
from .kernels import load
from .memory import aligned, panels, round_up
from .network import Network
from .optimisers import SGD, Adam
from .rows import NO_BYTES, Rows

PIECE = 2048  # samples of a large batch that are processed at a time, unless all are floats in memory
_PIECE_BYTES = 1 << 28  # of floats that bytes become at a time, at most, unless a vector of samples is larger
_CALL_OPERATIONS = 1e10  # in one kernel call, at most, because a call can not be interrupted: a fraction of a second
_KEPT_BYTES = 1 << 20  # so much scratch, at most, is kept from one prediction to the next
_NO_LABELS, _NO_MIXES = np.empty(0, np.int64), np.empty(0)


@cache
def _nothing(dtype: np.dtype[Any]) -> NDArray[Any]:
    """An empty vector, which stands for an array that is not given."""
    return np.empty(0, dtype)


class Samples(NamedTuple):
    """The training data: samples (m, n), and for each sample an optional label or target distribution, and weight.

    ``X`` is ``Rows`` or, for networks, ``SparseRows``; linear models take a CSR matrix for per-sample SGD and full batches.
    ``labels`` are class numbers.
    ``targets`` (m, c), in the dtype of the computation, are given instead of labels.
    """

    X: Any
    labels: NDArray[np.int64] | None = None
    targets: NDArray[Any] | None = None
    weights: NDArray[Any] | None = None

    def record(self, dtype: np.dtype[Any]) -> Targets:
        """The labels, targets and weights as a record for kernels; an array that is None becomes empty."""
        nothing = _nothing(dtype)
        return Targets(
            _NO_LABELS if self.labels is None else self.labels,
            nothing if self.targets is None else self.targets.reshape(-1),
            nothing if self.weights is None else self.weights,
        )

    def total_weight(self, order: NDArray[np.int64]) -> float:
        """The total weight of the samples ``order``; without weights, the number of these samples."""
        return float(len(order)) if self.weights is None else float(self.weights[order].sum())


class Results(NamedTuple):
    """Arrays that receive what a model says of m samples; None for what is not wanted."""

    outputs: NDArray[Any] | None = None  # (m, c): the probabilities
    winners: NDArray[np.int64] | None = None  # (m,): the most probable class

    def of(self, part: slice) -> Results:
        """The arrays for some of the samples."""
        return Results(*(None if whole is None else whole[part] for whole in (self.outputs, self.winners)))

    def are_marked(self) -> bool:
        """Whether MARK has marked a sample."""
        if self.winners is not None:
            return bool((self.winners < 0).any())
        return self.outputs is not None and not np.isfinite(self.outputs[:, 0]).all()


NO_RESULTS = Results()


def rows_per_call(network: Network, batch_size: int) -> int:
    """The rows, in whole batches, for one kernel call, which must be short because it can not be interrupted."""
    return max(1, int(_CALL_OPERATIONS / (network.operations * batch_size))) * batch_size


class Workspace:
    """Scratch memory for batches of up to ``capacity`` samples: one buffer, in the layout that ``kernels.batch`` describes.

    Larger batches are processed in pieces of ``piece`` samples.
    """

    def __init__(self, network: Network, capacity: int) -> None:
        self.network, self.capacity = network, round_up(capacity)
        self.piece = capacity  # samples of a batch that are processed together
        if self.capacity // round_up(1) % 2 == 0:
            self.capacity += round_up(1)  # rows a power of two apart would share a few sets of the cache
        c, hidden = network.widths[-1], network.n_units - network.widths[-1]
        self.hidden_size = self.capacity * hidden
        self.buffer = aligned(3 * self.hidden_size + output_block_size(c, self.capacity), network.dtype)
        self.iota = np.arange(max(self.capacity, *network.widths))
        rounded = 2 * len(network.params) + len(self.buffer) if network.in_bfloat16 else 0
        self._rounded = aligned(rounded, network.operands)
        self._partial_sums = np.empty(SQUARE_PARTS)
        self._panels: Any = None
        self._gradient = aligned(0, network.dtype)
        few = [round_up(o) * i for i, o in pairwise(network.widths) if i < SHORT_VECTORS * round_up(1)]
        self._turned = aligned(sum(few), network.dtype)
        self._panel_threads = 0
        self._row = -(-network.widths[0] // network.terms)  # operands in a sample
        self._gathered = np.empty((0, self._row), network.operands)

    @staticmethod
    def rows_at_once(rows: Rows, batch_size: int) -> int:
        """The samples of a batch that are processed together: all if they are floats in memory, else one piece."""
        if rows.are_floats and rows.mapping is None:
            return batch_size
        fit = _PIECE_BYTES // (rows.shape[1] * rows.dtype.itemsize) // round_up(1) * round_up(1)
        return min(batch_size, PIECE, max(round_up(1), fit))

    @classmethod
    def for_batches(cls, network: Network, rows: Rows, batch_size: int) -> Workspace:
        """A workspace for batches of ``rows``, or for the pieces of these batches."""
        return cls(network, cls.rows_at_once(rows, batch_size))

    @classmethod
    def borrow(cls, network: Network, capacity: int) -> Workspace:
        """A workspace that an earlier caller has given back, if it is large enough, else a new one.

        Two Python threads never get the same, because taking an element out of a list is atomic.
        """
        try:
            work = network.spare.pop()
        except IndexError:
            return cls(network, capacity)
        return work if work.piece >= capacity else cls(network, capacity)

    def give_back(self) -> None:
        """Keep the workspace for the next caller, if it is small."""
        if self.buffer.nbytes <= _KEPT_BYTES:
            self.network.spare.append(self)

    def record(self, stored: int, threads: int, results: Results = NO_RESULTS) -> BatchScratch:
        """The scratch memory as a record for kernels, for samples that are ``stored`` in a form of ``kernels.codes``.

        Buffers that only some calls need are allocated at their first use.
        """
        net = self.network
        in_place = stored in (FLOATS, SPARSE)
        if not in_place and not len(self._gathered):
            self._gathered = aligned(self.piece * self._row, net.operands).reshape(self.piece, self._row)
        if self._panel_threads < threads:
            self._panels = panels(threads, self.capacity, net.widths, net.dtype, net.terms)
            self._panel_threads = threads
        gathered = self._gathered[:0] if in_place else self._gathered
        outputs = _nothing(self.network.dtype).reshape(0, 1) if results.outputs is None else results.outputs
        winners = _NO_LABELS if results.winners is None else results.winners
        return BatchScratch(
            self.buffer,
            self._rounded,
            self.capacity,
            gathered,
            *self._panels,
            self._turned,
            self._partial_sums,
            self.iota,
            outputs,
            winners,
        )

    def gradient(self) -> NDArray[Any]:
        """A buffer for the gradient of a batch that is processed in pieces."""
        if not len(self._gradient):
            self._gradient = aligned(len(self.network.params), self.network.dtype)
        return self._gradient

    def keep_gradient_in(self, memory: NDArray[Any]) -> None:
        """Use this memory, of as many numbers as there are parameters, as that buffer from now on."""
        self._gradient = memory

    def shared_with(self, larger: Workspace, first: int, m: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yields, for each layer's Z and A, views of the first m samples here, and of m from ``first`` on in ``larger``."""
        for layer in range(len(self.network.layout)):
            for which in "ZA":
                yield self.samples(which, layer, m), larger.samples(which, layer, first + m)[:, first:]

    def samples(self, which: str, layer: int, m: int) -> NDArray[Any]:
        """A layer's Z, A or D for the first m samples, one per column: a view of the scratch, (n_out, m)."""
        n_out, units = int(self.network.layout[layer, 1]), int(self.network.layout[layer, 4])
        i, size = "ZAD".index(which), self.capacity * n_out
        if layer < len(self.network.layout) - 1:
            start = i * self.hidden_size + self.capacity * units
        else:
            start = 3 * self.hidden_size + i * size
            if n_out <= MANY_CLASSES:
                return self.buffer[start : start + size].reshape(n_out, self.capacity)[:, :m]
        return self.buffer[start : start + size].reshape(self.capacity, n_out)[:m].T


@dataclass
class BatchTrainer:
    """Trains a network on samples in batches; batches larger than the workspace are processed in pieces."""

    network: Network
    samples: Samples
    settings: Settings
    work: Workspace
    optimiser: SGD | Adam | None = None  # None: plain gradient descent, by default at the settings' learning rate
    sigmoid: bool = False  # the output is a sigmoid instead of a softmax
    threads: int = 1
    _prepared: Any = None

    def __post_init__(self) -> None:
        if self.optimiser is not None and not self.optimiser.fits(self.network):
            raise ValueError("the state of the optimiser does not fit the network")

    def epoch(
        self,
        order: NDArray[np.int64],
        batch_size: int,
        *,
        rates: NDArray[np.float64] | None = None,
        mixes: NDArray[np.float64] | None = None,
        seed: int = 0,
    ) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Train on the samples ``order`` in batches, in kernel calls so short that a user can interrupt between them.

        Yields, after each call, the slice of the epoch's steps that the call took, and their losses. The other parameters
        are those of ``run``, for all steps of the epoch; if ``rates`` is None, the optimiser gives the rates.
        """
        done = 0
        for part in self.samples.X.stretches(order, rows_per_call(self.network, batch_size), batch_size):
            steps = slice(done // batch_size, -(-(done + len(part)) // batch_size))
            if rates is not None:
                chosen: NDArray[np.float64] | None = rates[steps]
            else:
                chosen = None if self.optimiser is None else self.optimiser.rates(steps.stop - steps.start)
            some = None if mixes is None else mixes[steps]
            losses = self.run(TRAIN, part, batch_size, rates=chosen, mixes=some, seed=seed + done)
            done += len(part)
            yield steps, losses

    def run(
        self,
        phases: int,
        order: NDArray[np.int64] | None = None,
        batch_size: int | None = None,
        *,
        repeats: int = 1,
        rates: NDArray[np.float64] | None = None,
        mixes: NDArray[np.float64] | None = None,
        seed: int = 0,
        kept: Workspace | None = None,
    ) -> NDArray[np.float64]:
        """Take a step on each batch, ``repeats`` times; returns the mean loss before each step.

        ``phases`` are the bits of ``kernels.codes`` that say what a step does. ``order`` selects samples, by default all; if
        ``batch_size`` is None, they form one batch. ``rates`` are the learning rates of the steps, by default the settings'.
        ``mixes`` are the weights with which the parameters enter their average after each step. ``seed`` is for dropout.
        ``kept``, if given, holds Z and A of the whole batch while the batch is processed in pieces.
        """
        m = len(self.samples.X)
        if order is None:
            order = self.work.iota[:m] if m <= len(self.work.iota) else np.arange(m)
        batch_size = min(batch_size or len(order), len(order))
        steps = repeats * -(-len(order) // batch_size)
        if rates is None:
            rates = np.empty(steps)
            rates.fill(self.settings.learning_rate)
        mixes = _NO_MIXES if mixes is None else mixes
        if batch_size > self.work.piece:
            return self._run_in_pieces(phases, order, batch_size, rates, mixes, seed, kept)
        return self._call(order, rates, mixes, batch_size, repeats, phases, seed, 0.0)

    def evaluate(self, phases: int, order: NDArray[np.int64], batch_size: int, results: Results) -> NDArray[np.float64]:
        """Pass forward through the samples ``order``; returns the mean losses of the batches, which fit into the workspace.

        ``phases`` do not change the model. ``results`` receive what the model says of each sample.
        """
        rates = np.zeros(-(-len(order) // batch_size))
        return self._call(order, rates, _NO_MIXES, batch_size, 1, phases, 0, 0.0, results=results)

    def _call(self, order: NDArray[np.int64], *schedule: Any, results: Results = NO_RESULTS) -> NDArray[np.float64]:
        """Call the kernel on the samples ``order``; ``schedule`` are the other fields of a ``Schedule``."""
        steps, net, dtype = Schedule(order, *schedule), self.network, self.network.dtype
        kind, state = (IN_PLACE, None) if self.optimiser is None else (self.optimiser.kind, self.optimiser.state)
        X, source = self.samples.X.operands(net.in_bfloat16, self.threads)
        if state is None:
            stored = steps.phases & (ADD | HOLD) or source.stored == SPARSE
            state = self.work.gradient() if stored else _nothing(dtype)
        model = Model(net.params, state, net.layout, kind, self.sigmoid, ACTIVATIONS[net.activation])
        losses = np.zeros(len(steps.rates))
        scratch, targets = self.work.record(source.stored, self.threads, results), self.samples.record(dtype)
        load("mlp").run(X, source, targets, model, scratch, steps, self.settings, losses, threads=self.threads)
        return losses

    def step(self, X: NDArray[Any], labels: NDArray[np.int64]) -> float:
        """A step on a batch of floats and labels that are checked, at the rate of the settings; returns the loss before it.

        The batch takes the place of the samples, fits into the workspace, and is trained on in place. Everything that does
        not change from batch to batch is prepared once.
        """
        if self.network.in_bfloat16:
            self.samples = Samples(Rows(X, self.network.dtype), labels)
            return float(self.run(TRAIN)[0])
        if self._prepared is None:
            net, nothing = self.network, _nothing(self.network.dtype)
            model = Model(net.params, nothing, net.layout, IN_PLACE, self.sigmoid, ACTIVATIONS[net.activation])
            scratch = self.work.record(FLOATS, self.threads)
            self._prepared = model, scratch, np.array([self.settings.learning_rate]), nothing
        model, scratch, rates, nothing = self._prepared
        m, losses = len(X), np.zeros(1)
        source, targets = Source(X, NO_BYTES, nothing, FLOATS, 1), Targets(labels, nothing, nothing)
        schedule = Schedule(self.work.iota[:m], rates, _NO_MIXES, m, 1, TRAIN, 0, 0.0)
        load("mlp").run(X, source, targets, model, scratch, schedule, self.settings, losses, threads=self.threads)
        return float(losses[0])

    def _run_in_pieces(
        self,
        phases: int,
        order: NDArray[np.int64],
        batch_size: int,
        rates: NDArray[np.float64],
        mixes: NDArray[np.float64],
        seed: int,
        kept: Workspace | None,
    ) -> NDArray[np.float64]:
        """``run`` for batches larger than the workspace: the gradients of the pieces are added up before the update."""
        losses, starts = np.zeros(len(rates)), range(0, len(order), batch_size)
        for step in range(len(rates)):
            start = starts[step % len(starts)]
            batch, this = order[start : start + batch_size], slice(step, step + 1)
            weights = self.samples.weights
            whole_weight = float(len(batch) if weights is None else weights[batch].sum(dtype=np.float64))
            done = 0
            for piece in self.samples.X.stretches(batch, self.work.piece):
                place = (ADD if done else 0) | (HOLD if done + len(piece) < len(batch) else 0)
                if kept is not None and not phases & FORWARD:
                    for here, there in self.work.shared_with(kept, done, len(piece)):
                        here[:] = there
                of_piece = phases | place, seed + start + done, whole_weight
                losses[step] += self._call(piece, rates[this], mixes[this], len(piece), 1, *of_piece)[0]
                if kept is not None and phases & FORWARD:
                    for here, there in self.work.shared_with(kept, done, len(piece)):
                        there[:] = here
                done += len(piece)
        return losses
