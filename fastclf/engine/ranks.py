"""Steps of a network on batches of which every rank has a part: the same steps as one rank takes on the whole batch.

Each rank computes the sum of its samples' gradients and losses. The sums, and the total weight of the samples, lie in one
buffer, which the ranks add up. Then each rank takes the optimiser's step: from the same parameters, with the same gradient.
Penalties, clipping, momentum and Adam belong to the step, so that they see the gradient of the whole batch, once.

Between machines, the gradients of all layers but the first travel while that of the first is computed. Ranks of one machine
share its processors, which then have nothing left for it: they add up everything at once.

With ``sync_every``, ranks instead take so many steps on their own parts of the batches, and then the average of what they
have become: local SGD (Stich, arXiv:1805.09767; Lin et al., arXiv:1808.07217). It exchanges less often, and each step sees
fewer samples: the results are no longer those of one rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.codes import ABOVE, ADD, BACKWARD, HOLD, LOWEST, TRAIN, WEIGHTS
from .distributed import HEAD, LOSSES, MORE, ROWS, WEIGHT, Alone, Shards
from .memory import aligned
from .minibatch import BatchTrainer, Samples, Workspace, rows_per_call
from .rows import Rows

_NO_MIXES, _ANY_RATE, _ONE_ROW = np.empty(0), np.zeros(1), np.zeros(1, np.int64)
_SEEDS_OF_A_RANK = 1 << 40  # a rank's numbers for dropout are those of the others by this much


def per_rank(shards: Shards, batch_size: int) -> int:
    """About the largest part of a batch that this rank has: for its scratch memory, and its number of threads."""
    if not shards.comm.grouped:
        return batch_size
    m = shards.end - shards.first
    return max(1, min(batch_size, m, int(1.25 * batch_size * m / shards.total) + 16))


def weights_per_batch(
    shards: Shards, weights: NDArray[Any] | None, order: NDArray[np.int64], size: int
) -> NDArray[np.float64]:
    """The total weight of each batch of ``size`` of the samples ``order`` of all ranks."""
    if weights is None or not shards.comm.grouped:
        return _weights_per_batch(weights, order, size)
    mine, count = shards.chosen(order), -(-len(order) // size)
    sums = np.zeros(HEAD + count)
    sums[HEAD:] = np.bincount(np.flatnonzero(mine) // size, weights[order[mine] - shards.first], count)
    shards.comm.add_up(sums)
    return sums[HEAD:]


def _weights_per_batch(weights: NDArray[Any] | None, rows: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    return np.add.reduceat(np.ones(len(rows)) if weights is None else weights[rows], np.arange(0, len(rows), size))


class Average:
    """Arrays, of which ranks that trained apart from each other take the average, in place."""

    def __init__(self, comm: Alone, *arrays: NDArray[Any]) -> None:
        self._comm, at = comm, HEAD
        self.message = np.zeros(HEAD + sum(a.size for a in arrays), arrays[0].dtype)
        self._parts = []  # of the message, one for each array
        for array in arrays:
            self._parts.append((array, self.message[at : at + array.size].reshape(array.shape)))
            at += array.size

    def take(self, weight: float, loss: float, more: bool = False) -> tuple[float, float, bool]:
        """Replace the arrays by their mean over the ranks, each counting by its ``weight``: the samples that it has seen.

        Returns the sum over the ranks of ``loss``, and of the weights, and whether any rank says that it has ``more`` to do.
        What a rank of weight 0 has is not looked at.
        """
        self.message[:HEAD] = 0
        self.message[LOSSES], self.message[WEIGHT], self.message[MORE] = loss, weight, more
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is noticed by its parameters
            for array, part in self._parts:
                np.multiply(array, weight, out=part, casting="same_kind") if weight else part.fill(0)
            try:
                self._comm.add_up(self.message)
            except KeyboardInterrupt:  # the run ends here, on all ranks with the same
                self._put_back()
                raise
            self._put_back()
        total = float(self.message[WEIGHT])
        return float(self.message[LOSSES]), total, bool(self.message[MORE] > 0)

    def _put_back(self) -> None:
        """Set the arrays to the mean of what the ranks have added up."""
        if total := float(self.message[WEIGHT]):
            for array, part in self._parts:
                np.multiply(part, 1 / total, out=array, casting="same_kind")


class RankTrainer:
    """Trains a network together with the other ranks: ``trainer`` is for this rank's own samples.

    ``shards`` are needed for batches of samples that are numbered over all ranks.
    """

    def __init__(self, trainer: BatchTrainer, comm: Alone, shards: Shards | None = None) -> None:
        self._own, self._shards, self._comm = trainer, shards, comm
        net, optimiser = trainer.network, trainer.optimiser
        state = None if optimiser is None else optimiser.state
        size = len(net.params)
        # The head, the gradient and the rest of the optimiser's state, one after the other: nothing has to be copied.
        memory = aligned(HEAD + (size if state is None else len(state)), net.dtype)
        if state is not None:
            memory[HEAD:] = state
            optimiser.state = memory[HEAD:]  # type: ignore[union-attr]
        self._message, self._gradient = memory[: HEAD + size], memory[HEAD : HEAD + size]
        # A step from a gradient that is complete: the last piece of a batch, with one sample, whose weight is 0.
        nothing, targets, labels = np.zeros((1, net.widths[0]), net.dtype), None, np.zeros(1, np.int64)
        if trainer.samples.targets is not None:
            targets, labels = np.zeros((1, net.widths[-1]), net.dtype), None  # type: ignore[assignment]
        samples = Samples(Rows(nothing, net.dtype), labels, targets, np.zeros(1, net.dtype))
        self._last = BatchTrainer(
            net, samples, trainer.settings, Workspace(net, 1), optimiser, trainer.sigmoid, trainer.threads
        )
        for work in (trainer.work, self._last.work):
            work.keep_gradient_in(self._gradient)
        self._left_over = np.zeros(size if comm.compresses else 0, net.dtype)
        of_first = int(net.layout[1, WEIGHTS]) if len(net.layout) > 1 else size  # parameters of the first layer
        self._ahead = self._message[:0]  # what is added up while the first layer's gradient is computed
        if comm.overlaps and not comm.compresses:
            self._message, self._ahead = memory[: HEAD + of_first], self._gradient[of_first:]
        self._average: Average | None = None
        if self._comm.sync_every is not None:
            self._average = Average(self._comm, net.params, *(() if state is None else (memory[HEAD + size :],)))

    def expect(self) -> None:
        """Note that the ranks exchange gradients, or averages, next."""
        if self._average is not None:
            self._comm.expect(self._average.message)
        else:
            self._comm.expect(self._message[:HEAD] if self._comm.compresses else self._message, self._ahead)

    # ------------------------------------------------------------ batches of all ranks' samples

    def epoch(
        self,
        order: NDArray[np.int64],
        batch_size: int,
        *,
        rates: NDArray[np.float64] | None = None,
        mixes: NDArray[np.float64] | None = None,
        seed: int = 0,
    ) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """As ``BatchTrainer.epoch``, but of samples of all ranks: ``order``, and the batches, are the same on all ranks."""
        count, at_once = -(-len(order) // batch_size), self._comm.sync_every
        if at_once is None:
            at_once = rows_per_call(self._own.network, batch_size) // batch_size
        self.expect()
        for first in range(0, count, at_once):
            steps = slice(first, min(first + at_once, count))
            chosen = self._rates(steps.stop - first) if rates is None else rates[steps]
            some = _NO_MIXES if mixes is None else mixes[steps]
            part = order[first * batch_size : steps.stop * batch_size]
            seed_of_part = seed + first * batch_size + self._comm.rank * _SEEDS_OF_A_RANK
            run = self._together if self._average is None else self._apart
            yield steps, run(part, batch_size, chosen, some, seed_of_part)
        self._comm.expect(self._comm.few)

    def _rates(self, steps: int) -> NDArray[np.float64]:
        if self._own.optimiser is None:
            return np.full(steps, self._own.settings.learning_rate)
        return self._own.optimiser.rates(steps)

    def _together(
        self,
        order: NDArray[np.int64],
        batch_size: int,
        rates: NDArray[np.float64],
        mixes: NDArray[np.float64],
        seed: int,
    ) -> NDArray[np.float64]:
        """Take the steps with the other ranks; returns the mean loss of each batch."""
        assert self._shards is not None
        losses = np.zeros(len(rates))
        for i in range(len(rates)):
            start = i * batch_size
            rows = self._shards.own(order[start : start + batch_size])
            loss, _ = self.step(rows, rates[i : i + 1], mixes[i : i + 1], seed + start)
            losses[i] = np.nan if loss is None else loss
        return losses

    def _apart(
        self,
        order: NDArray[np.int64],
        batch_size: int,
        rates: NDArray[np.float64],
        mixes: NDArray[np.float64],
        seed: int,
    ) -> NDArray[np.float64]:
        """Take the steps on this rank's part of the samples alone, and then the average; returns the mean loss of all."""
        assert self._shards is not None
        assert self._average is not None
        rows, weight, loss = self._shards.own(order), 0.0, 0.0
        if len(rows):
            size = -(-len(rows) // len(rates))
            weights = _weights_per_batch(self._own.samples.weights, rows, size)
            count = len(weights)
            losses = self._own.run(
                TRAIN, rows, size, rates=rates[:count], mixes=mixes[:count] if len(mixes) else None, seed=seed
            )
            weight = float(weights.sum())
            loss = float(losses @ weights) if weight else 0.0
        total, whole, _ = self._average.take(weight, loss)
        return np.full(len(rates), total / whole if whole else np.nan)

    # ------------------------------------------------------------ batches of this rank's own, one after the other

    def batches(self, own: Iterator[tuple[Samples, NDArray[np.int64]]], rate: float) -> Iterator[float]:
        """Take a step on the batches that all ranks take from ``own``: samples and rows of them. A rank may have fewer.

        Yields the mean loss of each batch; in local SGD, that of the batches since the last average.
        """
        self.expect()
        rates, following, more = np.array([rate]), next(own, None), True
        while more:
            loss: float | None
            if self._average is None:
                batch, following = following, next(own, None)
                rows = np.empty(0, np.int64) if batch is None else self._use(*batch)
                loss, more = self.step(rows, rates, more=following is not None)
            else:
                total = weight = 0.0
                for _ in range(self._comm.sync_every or 1):
                    if following is None:
                        break
                    rows, of_batch = self._use(*following), self._own.samples.total_weight
                    [of_rows] = self._own.run(TRAIN, rows, rates=rates)
                    total, weight = total + float(of_rows) * of_batch(rows), weight + of_batch(rows)
                    following = next(own, None)
                total, weight, more = self._average.take(weight, total, following is not None)
                loss = total / weight if weight else None
            if loss is not None:
                yield loss
        self._comm.expect(self._comm.few)

    def _use(self, samples: Samples, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Train on these samples from now on, in batches as large as ``rows``, which are returned."""
        own, needed = self._own, Workspace.rows_at_once(samples.X, len(rows))
        own.samples = samples
        if own.work.piece < needed:
            own.work = Workspace(own.network, needed)
            own.work.keep_gradient_in(self._gradient)
        return rows

    # ------------------------------------------------------------ one step

    def step(
        self,
        rows: NDArray[np.int64],
        rates: NDArray[np.float64] | None = None,
        mixes: NDArray[np.float64] = _NO_MIXES,
        seed: int = 0,
        *,
        more: bool = False,
    ) -> tuple[float | None, bool]:
        """A step on a batch of which this rank has the rows ``rows``, maybe none.

        Returns the mean loss of the batch before the step, None if no rank has a row of it, and whether any rank says that
        it has ``more`` batches.
        """
        message, loss, weight = self._message, 0.0, 0.0
        if len(rows):
            weight = self._own.samples.total_weight(rows)
            loss = self._sums(rows, seed)
        else:
            self._gradient.fill(0)
            self._comm.add_up_ahead(self._ahead)
        message[:HEAD] = 0
        message[LOSSES], message[WEIGHT], message[ROWS], message[MORE] = loss, weight, len(rows), more
        if self._comm.compresses:
            self._comm.add_up_rounded(message, self._left_over)
        else:
            self._comm.add_up(message)
        total, is_more = float(message[WEIGHT]), bool(message[MORE] > 0)
        if message[ROWS] == 0:
            return None, is_more
        loss = float(message[LOSSES]) / total if total else float("nan")
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is noticed by its parameters
            self._gradient *= self._gradient.dtype.type(1 / total if total else float("nan"))
        if rates is None:
            rates = self._rates(1)
        return loss + float(self._last._call(_ONE_ROW, rates, mixes, 1, 1, TRAIN | ADD, 0, total)[0]), is_more

    def _sums(self, rows: NDArray[np.int64], seed: int) -> float:
        """Put the sum of the rows' gradients into the buffer; returns the sum of their losses."""
        loss, done, own = 0.0, 0, self._own
        for piece in own.samples.X.stretches(rows, own.work.piece):
            place = HOLD | (ADD if done else 0)
            is_last, rest = done + len(piece) == len(rows), (len(piece), 1)
            parts = ABOVE if is_last and len(self._ahead) else 0
            of_piece = TRAIN | place | parts, seed + done, 1.0
            loss += float(own._call(piece, _ANY_RATE, _NO_MIXES, *rest, *of_piece)[0])
            if parts:
                self._comm.add_up_ahead(self._ahead)
                own._call(piece, _ANY_RATE, _NO_MIXES, *rest, BACKWARD | place | LOWEST, seed + done, 1.0)
            done += len(piece)
        return loss


def trainer_on(shards: Shards, trainer: BatchTrainer) -> BatchTrainer | RankTrainer:
    """``trainer``, or in a group one that trains with the other ranks."""
    return RankTrainer(trainer, shards.comm, shards) if shards.comm.grouped else trainer
