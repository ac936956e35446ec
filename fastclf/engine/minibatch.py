"""Steps of a network on mini-batches: the scratch they need, the samples they take, and the kernel that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..kernels.codes import ADD, FORWARD, HOLD, IN_PLACE, SQUARE_PARTS, output_block_size
from .memory import aligned, panels, round_up
from .network import Network
from .rows import Rows


def rows_per_call(network: Network, batch_size: int) -> int:
    """Rows, in whole batches, that one call of a kernel may train on: it can not be interrupted."""
    return max(1, int(_CALL_OPERATIONS / (network.operations * batch_size))) * batch_size


class Workspace:
    """Scratch for batches of up to ``capacity`` samples, one buffer, laid out as ``kernels.mlp`` wants it.

    Larger batches come in pieces of that size.
    """

    def __init__(self, network: Network, capacity: int) -> None:
        self.network, self.capacity = network, round_up(capacity)
        c, hidden = network.widths[-1], network.n_units - network.widths[-1]
        self.hidden_size = self.capacity * hidden
        self.buffer = aligned(3 * self.hidden_size + output_block_size(c, self.capacity), network.dtype)
        self.iota = np.arange(max(self.capacity, *network.widths))
        self.parts = np.empty(SQUARE_PARTS)
        self._panels = self._gradient = aligned(0, network.dtype)
        self._panel_threads = 0
        self._gathered = np.empty((0, network.widths[0]), network.dtype)

    @staticmethod
    def rows_at_once(rows: Rows, batch_size: int) -> int:
        """Samples of a batch that are worked on together: all, if they are in memory as numbers, or else a piece."""
        in_memory = rows.are_numbers and rows.mapping is None
        return batch_size if in_memory else min(batch_size, PIECE)

    @classmethod
    def for_batches(cls, network: Network, rows: Rows, batch_size: int) -> Workspace:
        """Room for batches of a set, or for their pieces."""
        return cls(network, cls.rows_at_once(rows, batch_size))

    def gathered(self) -> np.ndarray:
        """Room for a batch that is not stored as numbers."""
        if not len(self._gathered):
            size = self.capacity * self.network.widths[0]
            self._gathered = aligned(size, self.network.dtype).reshape(self.capacity, -1)
        return self._gathered

    def gradient(self) -> np.ndarray:
        """Room for the gradient of a batch that comes in pieces."""
        if not len(self._gradient):
            self._gradient = aligned(len(self.network.params), self.network.dtype)
        return self._gradient

    def panels(self, threads: int) -> np.ndarray:
        """Scratch of the threads for the weight update."""
        if self._panel_threads < threads:
            widest = max(self.network.widths[1:])
            self._panels, self._panel_threads = panels(threads, self.capacity, widest, self.network.dtype), threads
        return self._panels

    def shared_with(self, larger: Workspace, first: int, m: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every layer's Z and A of the first m samples here, and of the samples from ``first`` on in a larger workspace."""
        for layer in range(len(self.network.layout)):
            for which in "ZA":
                yield self.samples(which, layer, m), larger.samples(which, layer, first + m)[:, first:]

    def samples(self, which: str, layer: int, m: int) -> np.ndarray:
        """A layer's Z, A or D for the first m samples, one per column: a view of the scratch, (n_out, m)."""
        n_out, units = int(self.network.layout[layer, 1]), int(self.network.layout[layer, 4])
        i, size = "ZAD".index(which), self.capacity * n_out
        if layer == len(self.network.layout) - 1:
            start = 3 * self.hidden_size + i * size
            return self.buffer[start : start + size].reshape(n_out, self.capacity)[:, :m]
        start = i * self.hidden_size + self.capacity * units
        return self.buffer[start : start + size].reshape(self.capacity, n_out)[:m].T


class Samples(NamedTuple):
    """What a network is trained on: X (m, n), to be computed with in its dtype, and the other arrays (m, …) or None.

    ``labels`` are class numbers; ``targets`` (m, c), of the network's dtype, take their place.
    """

    X: Rows
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None


PIECE = 2048  # rows of a large batch whose numbers, layer by layer, are held at a time
_CALL_OPERATIONS = 1e10  # in one call of a kernel that can not be interrupted: a fraction of a second
_NO_INDEX, _NO_RATES = np.empty(0, np.int64), np.empty(0)


def run(
    network: Network,
    work: Workspace,
    samples: Samples,
    phases: int,
    numbers: np.ndarray,
    *,
    order: np.ndarray | None = None,
    batch_size: int | None = None,
    repeats: int = 1,
    rates: np.ndarray | None = None,
    mixes: np.ndarray | None = None,
    optimiser: int = IN_PLACE,
    state: np.ndarray | None = None,
    sigmoid: bool = False,
    seed: int = 0,
    threads: int = 1,
    whole_weight: float = 0.0,
    kept: Workspace | None = None,
) -> np.ndarray:
    """Steps over the batches of ``order``, all samples if it is None: see ``kernels.mlp.run``; returns the losses.

    ``rates`` are the steps' learning rates; if None, that of ``numbers``. ``state`` is what the optimiser keeps, three times
    as long as the parameters, unless it works in place. A batch larger than the workspace comes in pieces, and ``kept`` is
    where Z's and A's of all of them are, if they are wanted; ``whole_weight`` is that of the batch of which this is a piece.
    """
    from ..kernels import mlp

    if order is None:
        order = work.iota[: len(samples.X)] if len(samples.X) <= len(work.iota) else np.arange(len(samples.X))
    batch_size = min(batch_size or len(order), len(order))
    steps = repeats * -(-len(order) // batch_size)
    rates = np.full(steps, numbers[0], np.float64) if rates is None else rates
    mixes = _NO_RATES if mixes is None else mixes
    if batch_size > work.capacity:
        return _run_in_pieces(
            network, work, samples, phases, numbers, order, batch_size, rates, mixes, state=state, seed=seed, kept=kept,
            optimiser=optimiser, sigmoid=sigmoid, threads=threads,
        )  # fmt: skip
    nothing, losses = np.empty(0, network.dtype), np.zeros(steps)
    gathered = np.empty((0, 1), network.dtype) if samples.X.are_numbers else work.gathered()
    mlp.run(
        *samples.X.arguments, gathered, order, work.iota, _NO_INDEX if samples.labels is None else samples.labels,
        nothing if samples.targets is None else samples.targets.reshape(-1),
        nothing if samples.weights is None else samples.weights, whole_weight, network.params,
        nothing if state is None else state, network.layout, work.buffer, work.panels(threads), work.parts, losses, rates,
        mixes, numbers, work.capacity, batch_size, repeats, phases, optimiser, sigmoid, seed, threads=threads,
    )  # fmt: skip
    return losses


def _run_in_pieces(
    network: Network,
    work: Workspace,
    samples: Samples,
    phases: int,
    numbers: np.ndarray,
    order: np.ndarray,
    batch_size: int,
    rates: np.ndarray,
    mixes: np.ndarray,
    *,
    state: np.ndarray | None,
    seed: int,
    kept: Workspace | None,
    **how: Any,
) -> np.ndarray:
    """The same for batches larger than the workspace: the gradients of their pieces are added up before the update."""
    state, losses = work.gradient() if state is None else state, np.zeros(len(rates))
    starts = range(0, len(order), batch_size)
    for step in range(len(rates)):
        start = starts[step % len(starts)]
        batch = order[start : start + batch_size]
        weight = float(len(batch) if samples.weights is None else samples.weights[batch].sum(dtype=np.float64))
        done = 0
        for piece in samples.X.stretches(batch, work.capacity):
            place = (ADD if done else 0) | (HOLD if done + len(piece) < len(batch) else 0)
            if kept is not None and not phases & FORWARD:
                for here, there in work.shared_with(kept, done, len(piece)):
                    here[:] = there
            losses[step] += run(
                network, work, samples, phases | place, numbers, order=piece, rates=rates[step : step + 1],
                mixes=mixes[step : step + 1], state=state, seed=seed + start + done, whole_weight=weight, **how,
            )[0]  # fmt: skip
            if kept is not None and phases & FORWARD:
                for here, there in work.shared_with(kept, done, len(piece)):
                    there[:] = here
            done += len(piece)
    return losses
