"""Epochs of stochastic gradient descent for a linear model: which kernel takes the steps, and its arguments.

A stepper trains on rows of one data set. ``epoch(rows, rates, t)`` takes the rows in their order, a learning rate per step,
and returns their mean loss, each sample's before its step; t is one more than the number of samples before. ``advance`` is
told of samples as they are done with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import log_expit, log_softmax

from ..kernels.codes import IN_PLACE, LOSS_BLOCK, MOMENTUM, TRAIN
from . import minibatch
from .descent import SGD_ROWS
from .memory import aligned, round_up
from .minibatch import Samples, Workspace, rows_per_call
from .network import Network
from .rows import Rows
from .settings import EXACT, settings
from .threads import threads_for

Parameters = tuple[NDArray[Any], NDArray[Any]]
Mean = tuple[NDArray[Any], NDArray[Any], int]  # of the parameters after each step, and of how many steps

_SPARSE_INTERCEPT_DECAY = 0.01  # as in scikit-learn: intercepts of sparse data move less
_CALL_OPERATIONS = 2e9  # in one call of a kernel that can not be interrupted: a fraction of a second

Advance = Callable[[int], object]


def _nobody(samples: int) -> None:
    """Takes no notice."""


class _Stepper:
    """What all have: data, parameters, penalties."""

    def __init__(
        self,
        X: Any,
        labels: NDArray[np.int64],
        weights: NDArray[Any] | None,
        W: NDArray[Any],
        b: NDArray[Any],
        *,
        penalty: tuple[float, float],
        bias: bool,
        average: int,
        mean: Mean | None,
        n_jobs: int | None,
    ) -> None:
        self.X: Any = X  # Rows, or a CSR matrix
        self.labels, self.dtype, self.average = labels, W.dtype, average
        self.bias = float(bias)  # learning rate of the intercepts over that of the coefficients
        self.weights = np.empty(0, W.dtype) if weights is None else weights
        (self.l1, self.l2), self.n_jobs, self.sigmoid = penalty, n_jobs, len(W) == 1
        self._mean = mean if mean is not None else (np.zeros_like(W), np.zeros_like(b), 0) if average else None
        self._take(W, b)

    def _take(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        """Lay the parameters out."""
        raise NotImplementedError

    def total_weight(self, rows: NDArray[np.int64]) -> float:
        return float(self.weights[rows].sum()) if len(self.weights) else float(len(rows))

    def mean(self) -> Mean | None:
        """The average of the parameters after each step, for a stepper that goes on."""
        return self._mean

    def parameters(self) -> Parameters:
        """The parameters, copied."""
        W, b = self._laid_out()
        return W.copy(), b.copy()

    def _laid_out(self) -> Parameters:
        """The parameters as they are laid out, not copied: zeros may stand among them."""
        raise NotImplementedError

    def is_finite(self) -> bool:
        return all(bool(np.isfinite(p).all()) for p in self._laid_out())

    def penalty(self) -> float:
        """What the penalties add to the mean loss."""
        W = self._laid_out()[0].reshape(-1)
        return (self.l2 / 2 * float(W @ W) if self.l2 else 0.0) + (self.l1 * float(np.abs(W).sum()) if self.l1 else 0.0)

    def _settings(self, **how: Any) -> NDArray[Any]:
        return settings(self.dtype, rule=EXACT, bias=self.bias, **how)


class _OnNetwork(_Stepper):
    """Parameters as a network of one layer."""

    def _take(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        self.network = Network(W.shape[::-1], W.dtype)
        self._show(W, b)

    def _show(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        self.network.weights[0][:], self.network.biases[0][:] = W, b

    def _laid_out(self) -> Parameters:
        return self.network.weights[0], self.network.biases[0]


class _PerSample(_Stepper):
    """A step per row: an epoch is several calls of a kernel that can not be interrupted."""

    stretch: int  # rows that a call may take

    def epoch(self, rows: NDArray[np.int64], rates: NDArray[np.float64], t: float, advance: Advance = _nobody) -> float:
        total, done = 0.0, 0
        for part in self._stretches(rows):
            X, order, (labels, weights) = self.X, part, (self.labels, self.weights)
            if isinstance(X, Rows):
                X, order, (labels, weights) = X.taken(part, labels, weights)
            total += self._pass(X, order, labels, weights, rates[done : done + len(part)], int(t) + done)
            done += len(part)
            advance(len(part))
        return total / self.total_weight(rows)

    def _stretches(self, rows: NDArray[np.int64]) -> Iterable[NDArray[np.int64]]:
        """The rows of each call."""
        if isinstance(self.X, Rows):
            return self.X.stretches(rows, self.stretch if self.X.are_numbers else min(self.stretch, SGD_ROWS))
        return (rows[start : start + self.stretch] for start in range(0, len(rows), self.stretch))

    def _pass(
        self,
        X: Any,
        order: NDArray[np.int64],
        labels: NDArray[np.int64],
        weights: NDArray[Any],
        rates: NDArray[np.float64],
        t: int,
    ) -> float:
        """Steps by the rows of ``order``; returns the sum of their losses."""
        raise NotImplementedError


class Pipelined(_OnNetwork, _PerSample):
    """Per-sample SGD on dense rows, without a penalty or with l2: ``kernels.sgd.wide``."""

    def _take(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        super()._take(W, b)
        self.z, self.u, self.g = np.zeros((3, round_up(len(b))), W.dtype)
        self.terms, self.loss = np.zeros(2 * LOSS_BLOCK, W.dtype), np.empty(1)
        self.stretch = max(1, int(_CALL_OPERATIONS / (4 * W.size)))

    def _pass(self, X: Any, order: Any, labels: Any, weights: Any, rates: Any, t: int) -> float:
        from ..kernels import sgd

        sgd.wide(
            X, order, labels, np.empty(0, self.dtype), weights, rates, self.network.params, self.network.layout, self.z,
            self.u, self.g, self.terms, self.loss, self._settings(l2=self.l2), self.sigmoid,
        )  # fmt: skip
        return float(self.loss[0])


class Lazy(_PerSample):
    """Per-sample SGD on CSR rows, and on dense rows with an l1 penalty or an average: ``kernels.sparse.sgd``."""

    def _take(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        from ..kernels.target import TARGET

        (c, n), self.dense = W.shape, not sparse.issparse(self.X)
        lanes = TARGET.lanes(W.itemsize)
        width = 1 if c == 1 else -(-c // lanes) * lanes
        self.W, self.b = self._padded(W, width), np.zeros(round_up(c), W.dtype)
        self.b[:c] = b
        none = np.empty((0, width), W.dtype)
        self.Q = np.zeros_like(self.W) if self.l1 else none
        self.A, self.mean_b = none, np.zeros(c, W.dtype)
        if self._mean is not None:
            self.A, self.mean_b = self._padded(self._mean[0], width), self._mean[1].copy()
        self.scales = np.array([1.0, 0.0, 1.0, 0.0])
        self.z, self.g = np.zeros((2, max(round_up(c), width)), W.dtype)
        self.terms, self.loss, self.c = np.zeros(2 * LOSS_BLOCK, W.dtype), np.empty(1), c
        self.decay = 1.0 if self.dense else _SPARSE_INTERCEPT_DECAY
        if self.dense:
            self.features, per_row = np.arange(n, dtype=np.int32), n
            self.starts = np.arange(0, self.X.size + 1, n)
        else:
            self.features, per_row = (
                np.ascontiguousarray(self.X.indices, np.int32),
                max(1, self.X.nnz // self.X.shape[0]),
            )
            self.starts = self.X.indptr.astype(np.int64)
            self.values = np.ascontiguousarray(self.X.data, W.dtype)
        self.stretch = max(1, int(_CALL_OPERATIONS / (8 * width * per_row)))

    @staticmethod
    def _padded(W: NDArray[Any], width: int) -> NDArray[Any]:
        """(c, n) → a row per feature."""
        out = np.zeros((W.shape[1], width), W.dtype)
        out[:, : len(W)] = W.T
        return out

    def _laid_out(self) -> Parameters:
        return self.W, self.b

    def parameters(self) -> Parameters:
        return np.ascontiguousarray(self.W[:, : self.c].T), self.b[: self.c].copy()

    def mean(self) -> Mean | None:
        return (np.ascontiguousarray(self.A[:, : self.c].T), self.mean_b.copy(), 0) if len(self.A) else None

    def _pass(self, X: Any, order: Any, labels: Any, weights: Any, rates: Any, t: int) -> float:
        from ..kernels.sparse import sgd

        sgd(
            X.reshape(-1) if self.dense else self.values, self.features, self.starts, self.dense, order, labels, weights,
            rates, self.W, self.b, self.Q, self.A, self.mean_b, self.scales, self.z, self.g, self.terms, self.loss,
            self._settings(l2=self.l2, l1=self.l1), self.c, t - self.average, self.decay, self.sigmoid,
        )  # fmt: skip
        return float(self.loss[0])


class Batched(_OnNetwork):
    """Mini-batches and full batches of dense rows: ``kernels.mlp.run`` with a network of one layer."""

    batch_size = 1

    def _take(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        super()._take(W, b)
        self.optimiser, self.state, self.work, self.steps = IN_PLACE, None, Workspace(self.network, 1), 0
        if self.l1 or self._mean is not None:
            self.optimiser, self.state = MOMENTUM, aligned(3 * len(self.network.params), W.dtype)
        if self._mean is not None:
            *mean, self.steps = self._mean
            self._show(*mean)
            self.state[-len(self.network.params) :] = self.network.params  # type: ignore[index]
            self._show(W, b)

    def mean(self) -> Mean | None:
        if self._mean is None:
            return None
        params = self.network.params.copy()
        self.network.params[:] = self.state[-len(params) :]  # type: ignore[index]
        mean = self.parameters()
        self.network.params[:] = params
        return *mean, self.steps

    def epoch(self, rows: NDArray[np.int64], rates: NDArray[np.float64], t: float, advance: Advance = _nobody) -> float:
        net, size = self.network, min(self.batch_size, len(rows))
        if self.work.capacity < Workspace.rows_at_once(self.X, size):
            self.work = Workspace.for_batches(net, self.X, size)
        numbers = self._settings(l2=self.l2, l1=self.l1)
        starts = np.arange(0, len(rows), size)
        weights = np.add.reduceat(self.weights[rows] if len(self.weights) else np.ones(len(rows)), starts)
        mixes = None
        if self._mean is not None:
            # Steps are counted by their last samples; the first in the average replaces what was there.
            last = t - 1 + np.minimum(starts + size, len(rows))
            first = self.average <= last
            count = self.steps + np.cumsum(first)
            mixes, self.steps = np.where(first, 1 / np.maximum(count, 1), 0.0), int(count[-1])
        samples = Samples(self.X, self.labels, None, self.weights if len(self.weights) else None)
        threads, total, done = threads_for(float(net.operations) * size, self.n_jobs), 0.0, 0
        for part in self.X.stretches(rows, rows_per_call(net, size), size):
            steps = slice(done, done - (-len(part) // size))
            losses = minibatch.run(
                net, self.work, samples, TRAIN, numbers, order=part, batch_size=size, rates=rates[steps],
                mixes=None if mixes is None else mixes[steps], optimiser=self.optimiser, state=self.state,
                sigmoid=self.sigmoid, threads=threads,
            )  # fmt: skip
            total, done = total + float(losses @ weights[steps]), steps.stop
            advance(len(part))
        return total / self.total_weight(rows)


class FullSparse(_Stepper):
    """Full batches of CSR rows, by scipy's products: for a few rows, where no kernel is needed."""

    def _take(self, W: NDArray[Any], b: NDArray[Any]) -> None:
        self.W, self.b = W, b

    def _laid_out(self) -> Parameters:
        return self.W, self.b

    def epoch(self, rows: NDArray[np.int64], rates: NDArray[np.float64], t: float, advance: Advance = _nobody) -> float:
        X, labels, total = self.X[rows], self.labels[rows], self.total_weight(rows)
        weights = (self.weights[rows] if len(self.weights) else np.ones(len(rows), self.dtype)) / self.dtype.type(total)
        Z, rate = X @ self.W.T + self.b, self.dtype.type(rates[0])
        if self.sigmoid:
            signed = np.where(labels == 1, Z[:, 0], -Z[:, 0])
            log_p, D = log_expit(signed), (np.exp(log_expit(Z[:, 0])) - labels)[:, None]
        else:
            log_P = log_softmax(Z, axis=1)
            log_p, D = log_P[np.arange(len(rows)), labels], np.exp(log_P)
            D[np.arange(len(rows)), labels] -= 1
        D = (D * weights[:, None]).astype(self.dtype, copy=False)
        W = self.W - rate * ((X.T @ D).T + self.dtype.type(self.l2) * self.W)
        self.W = W - np.clip(W, -rate * self.l1, rate * self.l1) if self.l1 else W
        self.b = self.b - rate * self.bias * D.sum(axis=0)
        if self._mean is not None and self.average <= t - 1 + len(rows):
            mean_W, mean_b, steps = self._mean
            steps += 1
            self._mean = mean_W + (self.W - mean_W) / steps, mean_b + (self.b - mean_b) / steps, steps
        return -float(log_p @ weights)


def stepper_for(
    X: Any,
    labels: NDArray[np.int64],
    weights: NDArray[Any] | None,
    W: NDArray[Any],
    b: NDArray[Any],
    *,
    batch_size: int,
    penalty: tuple[float, float],
    average: int,
    **how: Any,
) -> Pipelined | Lazy | Batched | FullSparse:
    """The stepper that suits the data, the batches and the penalty (l1, l2); ``average`` is the first sample in it, or 0."""
    kind: type[Pipelined | Lazy | Batched | FullSparse]
    if sparse.issparse(X):
        kind = FullSparse if batch_size > 1 else Lazy
    elif batch_size > 1:
        kind = Batched
    else:
        kind = Lazy if average or penalty[0] else Pipelined
    stepper = kind(X, labels, weights, W, b, penalty=penalty, average=average, **how)
    if isinstance(stepper, Batched):
        stepper.batch_size = batch_size
    return stepper
