"""Stochastic gradient descent for linear models: steppers choose the kernel, and prepare the kernel's arguments.

A stepper trains on rows of one data set. ``stretches(rows, rates, t)`` takes the rows in order, with one learning rate per
step; t - 1 samples have been trained on before. After each kernel call it yields the number of rows that the call took,
and the sum of their losses, each taken before its step and multiplied by its sample's weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.codes import IN_PLACE, ITERATES, LOSS_BLOCK
from ..kernels.records import LazyModel, Model, PairRows, SampleScratch, Settings
from .distributed import ALONE, HEAD, LOSSES, Shards
from .kernels import load
from .memory import round_up
from .minibatch import BatchTrainer, Samples, Workspace
from .network import Network
from .optimisers import SGD
from .ranks import Average, per_rank, trainer_on, weights_per_batch
from .rows import Rows, arrays_of
from .threads import threads_for

Parameters = tuple[NDArray[Any], NDArray[Any]]  # coefficients (c, n) and intercepts (c,)
Mean = tuple[NDArray[Any], NDArray[Any], int]  # averages of both over the steps, and the number of steps
Stretches = Iterator[tuple[int, float]]  # after each kernel call: rows, and the sum of their weighted losses

SGD_ROWS = 1024  # rows that are converted to floats at a time
SYNC_EVERY = 1000  # samples, by default, after which ranks take the average of their parameters
_CALL_OPERATIONS = 2e9  # in one kernel call, at most, because a call can not be interrupted: a fraction of a second
_SPARSE_INTERCEPT_DECAY = 0.01  # as in scikit-learn: smaller steps for the intercepts of sparse data
_NO_RATES, _NO_LOSSES = np.empty(0), np.empty(0)


def in_calls(samples: Samples, order: NDArray[np.int64], width: float) -> Iterator[tuple[Any, NDArray[np.int64], Any]]:
    """Cut the samples ``order`` into parts for one kernel call each, which must be short: a call can not be interrupted.

    ``width`` is the number of parameters per feature that a step changes. Yields, for each call, samples as floats, the
    index that selects and orders their rows, and the targets of the same rows.
    """
    X, dtype = samples.X, samples.X.dtype
    rows = max(1, int(_CALL_OPERATIONS / (4 * X.shape[1] * width)))
    for part in X.stretches(order, rows if X.are_floats else min(rows, SGD_ROWS)):
        if X.are_floats:
            yield X.array, part, samples.record(dtype)
        else:
            chosen = Samples(X, *(None if a is None else a[part] for a in samples[1:]))
            yield X.as_floats(part), np.arange(len(part)), chosen.record(dtype)


class DenseSGD:
    """Per-sample SGD on dense rows, for any shape: ``kernels.sgd.wide`` on a network of one layer."""

    def __init__(self, samples: Samples, network: Network, settings: Settings, sigmoid: bool) -> None:
        c, dtype = network.widths[1], network.dtype
        self.samples, self._settings, self._n_classes = samples, settings, c
        self._model = Model(network.params, np.empty(0, dtype), network.layout, IN_PLACE, sigmoid)
        self._scratch = SampleScratch(*np.zeros((3, round_up(c)), dtype), np.zeros(2 * LOSS_BLOCK, dtype))

    def take(self, order: NDArray[np.int64], rates: NDArray[np.float64] = _NO_RATES) -> Stretches:
        """Take a step on each sample of ``order``; without ``rates``, at the learning rate of the settings, and without
        losses.
        """
        wide = load("sgd").wide
        losses, done = np.zeros(1) if len(rates) else _NO_LOSSES, 0
        for X, index, targets in in_calls(self.samples, order, self._n_classes):
            chosen = rates[done : done + len(index)]
            wide(X, index, targets, chosen, self._model, self._scratch, self._settings, losses)
            done += len(index)
            yield len(index), float(losses.sum())


# ---------------------------------------------------------------- steppers of an estimator


@dataclass
class Task:
    """The data and the settings that an estimator gives to a stepper."""

    samples: Samples  # rows, or a CSR matrix, with labels
    penalty: tuple[float, float] = (0.0, 0.0)  # strengths of L1 and L2
    bias_rate: float = 1.0  # learning rate of the intercepts, divided by that of the coefficients
    average: int = 0  # the parameters enter their average from this sample on, counted from 1; 0: no average
    mean: Mean | None = None  # an earlier average to continue
    n_jobs: int | None = None
    shards: Shards | None = None  # in a group, how the samples of all ranks are numbered; ``samples`` are this rank's


class _Stepper:
    """Base of all steppers: data, parameters and penalties. In a group, rows are those of all ranks."""

    def __init__(self, task: Task, W: NDArray[Any], b: NDArray[Any]) -> None:
        samples, (mean_W, mean_b) = task.samples, task.mean[:2] if task.mean else (W, b)
        if b.shape != W.shape[:1] or (mean_W.shape, mean_b.shape) != (W.shape, b.shape):
            raise ValueError(
                f"coefficients, intercepts and averages do not fit: {[a.shape for a in (W, b, mean_W, mean_b)]}"
            )
        if W.shape[1] != samples.X.shape[1] or samples.labels.max(initial=0) >= max(2, len(W)):  # type: ignore[union-attr]
            raise ValueError(
                f"the parameters are for {W.shape[1]} features and {max(2, len(W))} classes, the data for others"
            )
        self.task, self.samples, self.dtype, self.sigmoid = task, task.samples, W.dtype, len(W) == 1
        self.shards = task.shards or Shards(ALONE, 0, samples.X.shape[0], samples.X.shape[0])
        self.l1, self.l2 = task.penalty
        self.settings = Settings(bias_rate=task.bias_rate, l2=self.l2, l1=self.l1)
        self._mean = task.mean
        if task.average and task.mean is None:
            self._mean = np.zeros_like(W), np.zeros_like(b), 0
        self._allocate(W, b)

    def _allocate(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        """Allocate memory for the parameters and the scratch, and start with the parameters ``W`` and ``b``."""
        raise NotImplementedError

    def mean(self) -> Mean | None:
        """The average of the parameters over the steps, which a later stepper can continue; None without an average."""
        return self._mean

    def parameters(self) -> Parameters:
        """A copy of the parameters."""
        W, b = self._laid_out()
        return W.copy(), b.copy()

    def _laid_out(self) -> Parameters:
        """The parameters in the stepper's own layout, not copied; the layout may contain padding zeros."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """All numbers that change in training, in the memory where they change; for checkpoints."""
        raise NotImplementedError

    def is_finite(self) -> bool:
        return all(bool(np.isfinite(p).all()) for p in self._laid_out())

    def penalty(self) -> float:
        """The penalties, which the objective adds to the mean loss."""
        W = self._laid_out()[0].reshape(-1)
        return (self.l2 / 2 * float(W @ W) if self.l2 else 0.0) + (self.l1 * float(np.abs(W).sum()) if self.l1 else 0.0)


class _OnNetwork(_Stepper):
    """A stepper whose parameters are a network of one layer."""

    def _allocate(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        self.network = Network(W.shape[::-1], W.dtype)
        self._load(W, b)

    def _load(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        self.network.weights[0][:], self.network.biases[0][:] = W, b

    def _laid_out(self) -> Parameters:
        return self.network.weights[0], self.network.biases[0]

    def is_finite(self) -> bool:
        return bool(np.isfinite(self.network.params).all())

    def state(self) -> dict[str, Any]:
        return {"params": self.network.params}


class _SampleBySample(_Stepper):
    """Per-sample SGD; in a group, local SGD (Stich, arXiv:1805.09767).

    Each rank takes its own samples in turn, at the rates that they have in the order of all. After every ``sync_every``
    samples of a rank, on average, the ranks replace what they have by the mean.
    """

    _average: Average | None = None

    def _take(self, rows: NDArray[np.int64], rates: NDArray[np.float64], t: float) -> Stretches:
        """``stretches`` for this rank's own rows."""
        raise NotImplementedError

    def stretches(self, rows: NDArray[np.int64], rates: NDArray[np.float64], t: float) -> Stretches:
        comm = self.shards.comm
        if not comm.grouped:
            yield from self._take(rows, rates, t)
            return
        at_once = (comm.sync_every or SYNC_EVERY) * comm.size
        self._average = self._average or Average(comm, *self.state().values())
        comm.expect(self._average.message)
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            mine = self.shards.chosen(part)
            own, loss = part[mine] - self.shards.first, 0.0
            if len(own):
                loss = sum(losses for _, losses in self._take(own, rates[start : start + at_once][mine], t + start))
            loss, _, _ = self._average.take(len(own), loss)
            yield len(part), loss
        comm.expect(comm.few)


class PerSample(_SampleBySample, _OnNetwork):
    """Per-sample SGD on dense rows, without a penalty or with L2."""

    def _allocate(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        super()._allocate(W, b)
        self._steps = DenseSGD(self.samples, self.network, self.settings, self.sigmoid)

    def _take(self, rows: NDArray[np.int64], rates: NDArray[np.float64], t: float) -> Stretches:
        return self._steps.take(rows, rates)


class SparseSGD(_SampleBySample):
    """Per-sample SGD on CSR rows, and on dense rows with an L1 penalty or an average: ``kernels.sparse.sgd``."""

    def _allocate(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        (c, n), dtype, X = W.shape, W.dtype, self.samples.X
        lanes = load("target").TARGET.lanes(W.itemsize)
        self.dense = isinstance(X, Rows)
        width = 1 if c == 1 else -(-c // lanes) * lanes
        bias, none = np.zeros(round_up(c), dtype), np.empty((0, width), dtype)
        bias[:c] = b
        padded = self._padded(W, width)
        A, mean_b = none, np.zeros(c, dtype)
        if self._mean is not None:
            A, mean_b = self._padded(self._mean[0], width), self._mean[1].copy()
        decay, scales = 1.0 if self.dense else _SPARSE_INTERCEPT_DECAY, np.array([1.0, 0.0, 1.0, 0.0, 0.0])
        Q = np.zeros_like(padded) if self.l1 else none
        self.model = LazyModel(padded, bias, Q, A, mean_b, scales, c, decay, self.sigmoid)
        scratch = np.zeros((3, max(round_up(c), width)), dtype)
        self.scratch = SampleScratch(*scratch, np.zeros(2 * LOSS_BLOCK, dtype))
        if self.dense:
            self.features, self.starts = np.arange(n, dtype=np.int32), np.arange(0, X.size + 1, n)
        else:
            self.values, self.features, self.starts = arrays_of(X, dtype)

    @staticmethod
    def _padded(W: NDArray[Any], width: int) -> NDArray[Any]:
        """W (c, n) transposed to one row per feature, padded with zeros to ``width`` columns."""
        out = np.zeros((W.shape[1], width), W.dtype)
        out[:, : len(W)] = W.T
        return out

    def _laid_out(self) -> Parameters:
        return self.model.W, self.model.bias

    def state(self) -> dict[str, Any]:
        model = self.model
        return {
            "W": model.W, "bias": model.bias, "Q": model.Q, "A": model.A, "average_bias": model.average_bias,
            "scales": model.scales,
        }  # fmt: skip

    def parameters(self) -> Parameters:
        c = self.model.n_classes
        return np.ascontiguousarray(self.model.W[:, :c].T), self.model.bias[:c].copy()

    def mean(self) -> Mean | None:
        if not len(self.model.A):
            return None
        return np.ascontiguousarray(self.model.A[:, : self.model.n_classes].T), self.model.average_bias.copy(), 0

    def _calls(self, rows: NDArray[np.int64]) -> Iterator[tuple[Any, NDArray[np.int64], Any]]:
        """Yields, for each kernel call, the values, the index that selects and orders the rows, and the targets."""
        width = self.model.W.shape[1]
        if self.dense:
            for X, order, targets in in_calls(self.samples, rows, 2 * width):
                yield X.reshape(-1), order, targets
            return
        per_row = max(1, self.samples.X.nnz // self.samples.X.shape[0])
        count, targets = max(1, int(_CALL_OPERATIONS / (8 * width * per_row))), self.samples.record(self.dtype)
        for start in range(0, len(rows), count):
            yield self.values, rows[start : start + count], targets

    def _take(self, rows: NDArray[np.int64], rates: NDArray[np.float64], t: float) -> Stretches:
        sgd = load("sparse").sgd
        done, losses = 0, np.empty(1)
        self.model.scales[ITERATES] = int(t) - self.task.average
        for values, order, targets in self._calls(rows):
            pairs, chosen = PairRows(values, self.features, self.starts, self.dense), rates[done : done + len(order)]
            sgd(pairs, order, targets, chosen, self.model, self.scratch, self.settings, losses)
            done += len(order)
            yield len(order), float(losses[0])


class MiniBatch(_OnNetwork):
    """Steps on mini-batches and full batches of dense rows, with a network of one layer."""

    def __init__(self, task: Task, W: NDArray[Any], b: NDArray[Any], batch_size: int) -> None:
        self.batch_size = batch_size
        super().__init__(task, W, b)

    def _allocate(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        super()._allocate(W, b)
        net, self._steps_of_average = self.network, np.zeros(1, np.int64)
        own_batch = per_rank(self.shards, self.batch_size)
        work = Workspace.for_batches(net, self.samples.X, own_batch)
        self._optimiser = SGD(net, 0.0, simple=not self.l1 and self._mean is None)
        threads = threads_for(net.step_operations(own_batch), self.task.n_jobs)
        own = BatchTrainer(net, self.samples, self.settings, work, self._optimiser, self.sigmoid, threads)
        self._trainer = trainer_on(self.shards, own)
        if self._mean is not None:
            *mean, self._steps_of_average[0] = self._mean
            self._load(*mean)
            self._average()[:] = net.params
            self._load(W, b)

    def state(self) -> dict[str, Any]:
        own = self._optimiser.state
        return super().state() | ({} if own is None else {"optimiser": own}) | {"steps": self._steps_of_average}

    def _average(self) -> NDArray[Any]:
        """A view of the average that the optimiser keeps, in the layout of the parameters."""
        state: Any = self._optimiser.state
        return state[-len(self.network.params) :]

    def mean(self) -> Mean | None:
        if self._mean is None:
            return None
        params = self.network.params.copy()
        self.network.params[:] = self._average()
        mean = self.parameters()
        self.network.params[:] = params
        return *mean, int(self._steps_of_average[0])

    def stretches(self, rows: NDArray[np.int64], rates: NDArray[np.float64], t: float) -> Stretches:
        size = min(self.batch_size, len(rows))
        starts, sums = np.arange(0, len(rows), size), weights_per_batch(self.shards, self.samples.weights, rows, size)
        mixes, count = None, np.zeros(len(starts), np.int64)
        if self._mean is not None:
            # A step enters the average if its last sample does. The first step to enter has weight 1: it sets the average.
            last = t - 1 + np.minimum(starts + size, len(rows))
            first = self.task.average <= last
            count = self._steps_of_average[0] + np.cumsum(first)
            mixes = np.where(first, 1 / np.maximum(count, 1), 0.0)
        for steps, losses in self._trainer.epoch(rows, size, rates=rates, mixes=mixes):
            self._steps_of_average[0] = count[steps.stop - 1]
            yield min(steps.stop * size, len(rows)) - steps.start * size, float(losses @ sums[steps])


class SparseBatch(_Stepper):
    """Steps on full batches of CSR rows, with SciPy's products: for few rows, which need no kernel.

    In a group, the ranks add up their gradients and losses.
    """

    def _allocate(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        self.W, self.b, self._count = W.copy(), b.copy(), np.zeros(1, np.int64)
        if self._mean is not None:
            mean_W, mean_b, self._count[0] = self._mean
            self._mean = mean_W.copy(), mean_b.copy(), 0

    def _laid_out(self) -> Parameters:
        return self.W, self.b

    def mean(self) -> Mean | None:
        return None if self._mean is None else (*self._mean[:2], int(self._count[0]))

    def state(self) -> dict[str, Any]:
        state = {"W": self.W, "b": self.b, "count": self._count}
        return state if self._mean is None else state | {"mean_W": self._mean[0], "mean_b": self._mean[1]}

    def stretches(self, rows: NDArray[np.int64], rates: NDArray[np.float64], t: float) -> Stretches:
        from scipy.special import log_expit, log_softmax

        whole, comm = len(rows), self.shards.comm
        rows = self.shards.own(rows)
        X, labels, given = self.samples.X[rows], self.samples.labels[rows], self.samples.weights  # type: ignore[index]
        total = comm.sum(self.samples.total_weight(rows))
        weights = (np.ones(len(rows), self.dtype) if given is None else given[rows]) / self.dtype.type(total)
        Z, rate = X @ self.W.T + self.b, self.dtype.type(rates[0])
        if self.sigmoid:
            signed = np.where(labels == 1, Z[:, 0], -Z[:, 0])
            log_p, D = log_expit(signed), (np.exp(log_expit(Z[:, 0])) - labels)[:, None]
        else:
            log_P = log_softmax(Z, axis=1)
            log_p, D = log_P[np.arange(len(rows)), labels], np.exp(log_P)
            D[np.arange(len(rows)), labels] -= 1
        D = (D * weights[:, None]).astype(self.dtype, copy=False)
        of_W, of_b, loss = (X.T @ D).T, D.sum(axis=0), -float(log_p @ weights) * total
        if comm.grouped:
            message = np.concatenate([np.zeros(HEAD, self.dtype), of_W.reshape(-1), of_b])
            message[LOSSES] = loss
            comm.expect(message)
            comm.add_up(message)
            comm.expect(comm.few)
            of_W, of_b = message[HEAD : HEAD + of_W.size].reshape(of_W.shape), message[HEAD + of_W.size :]
            loss = float(message[LOSSES])
        W = self.W - rate * (of_W + self.dtype.type(self.l2) * self.W)
        self.W[:] = W - np.clip(W, -rate * self.l1, rate * self.l1) if self.l1 else W
        self.b -= rate * self.task.bias_rate * of_b
        if self._mean is not None and self.task.average <= t - 1 + whole:
            self._count += 1
            for mean, now in zip(self._mean[:2], (self.W, self.b)):
                mean += (now - mean) / int(self._count[0])
        yield whole, loss


def stepper_for(task: Task, start: Parameters, batch_size: int) -> PerSample | SparseSGD | MiniBatch | SparseBatch:
    """The stepper that suits the data, the penalty and the batches; it starts at the parameters ``start``."""
    W, b = start
    dense = isinstance(task.samples.X, Rows)
    if batch_size > 1:
        return MiniBatch(task, W, b, batch_size) if dense else SparseBatch(task, W, b)
    if task.average and task.shards is not None and task.shards.comm.grouped:
        raise ValueError("average needs batch_size > 1 with a process_group: per-sample SGD is then local SGD")
    return PerSample(task, W, b) if dense and not task.average and not task.penalty[0] else SparseSGD(task, W, b)
