"""Linear models, from checked arrays to kernels: which kernel suits a shape, and the arguments it wants, laid out once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.codes import LOSS_BLOCK, output_block_size
from .memory import panels, round_up
from .network import Network
from .rows import Rows
from .settings import CLIPPED, LossRule, settings
from .threads import threads_for

# Few features and classes: samples, or in SGD classes, become the lanes of vectors (see kernels.linear, kernels.sgd).
_NARROW_FEATURES = 32
_NARROW_BLOCK = 1024  # samples that the narrow kernels hold transposed at a time
_ROWS_PER_CHUNK = 64  # at least; chunks have gradients of their own, added in order
_MAX_CHUNKS = 64
_BLOCK_BYTES = 600 * 1024  # of X, per block of rows: the second-level cache holds it, with the gradient of ten classes
_BATCH_OPERATIONS, _SGD_OPERATIONS = 1e10, 2e9  # in one call, which can not be interrupted: a fraction of a second
SGD_ROWS = 1024  # that are made numbers at a time

_NO_LABELS, _NO_RATES = np.empty(0, np.int64), np.empty(0)


class _Trainer:
    """One linear model on one data set, ready to be trained: the arguments of the kernels, laid out once.

    ``labels`` (m,) or ``targets`` (m, c) are the targets, the other is None.
    """

    def __init__(
        self,
        X: Rows,
        labels: NDArray[np.int64] | None,
        targets: NDArray[Any] | None,
        n_classes: int,
        sigmoid: bool,
        rule: LossRule,
        bias: bool,
        n_jobs: int | None,
    ) -> None:
        self.X, self.sigmoid, self.rule, self.n_classes, self.bias = X, sigmoid, rule, n_classes, bias
        self.labels = _NO_LABELS if labels is None else labels
        self.targets = np.empty((0, n_classes), X.dtype) if targets is None else targets
        self.operations = 6.0 * X.size * n_classes
        self.threads = threads_for(self.operations, n_jobs)
        self.iota = np.arange(max(len(X), n_classes))
        self.order = self.iota[: len(X)]
        # Sums are cut alike for any number of threads: portions of equal size, and a power of two of chunks of each.
        self.portions = X.n_portions(self.operations, _BATCH_OPERATIONS)
        self.portion = -(-len(X) // self.portions)
        self.chunks = min(_MAX_CHUNKS, 1 << max(0, (len(X) // self.portions // _ROWS_PER_CHUNK).bit_length() - 1))

    def descend(self, learning_rate: float, repeats: int, update: bool = True) -> NDArray[np.float64]:
        """Steps on all samples; the loss before each. Without ``update``, the loss alone."""
        losses, numbers = np.empty(repeats), self._settings(learning_rate)
        if self.portions == 1:
            self._descend(0, len(self.X), losses, numbers, update)
            return losses
        for i in range(repeats):
            for first, end in self.X.portions(self.portions):
                self._descend(first, end, losses[i : i + 1], numbers, update)
        return losses

    def _descend(self, first: int, end: int, losses: NDArray[np.float64], numbers: NDArray[Any], update: bool) -> None:
        """A step for each of ``losses``, or one step's portion of the rows."""
        raise NotImplementedError

    def _settings(self, learning_rate: float) -> NDArray[Any]:
        return settings(self.X.dtype, learning_rate, self.rule, bias=self.bias)

    def _zeros(self, *shape: int) -> NDArray[Any]:
        return np.zeros(shape, self.X.dtype)

    def _scratch(self, width: int) -> None:
        """For each chunk a block of the last layer's scratch, for so many samples; room for as many, for each thread."""
        self.width = width
        self.S = self._zeros(self.chunks * output_block_size(self.n_classes, width))
        self.room = self._zeros(0 if self.X.are_numbers else self.threads * width * self.X.shape[1])
        self.chunk_loss = np.zeros(self.chunks)

    def _passes(self) -> Iterator[tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64], NDArray[Any]]]:
        """A pass over the samples, in order, for kernels of per-sample SGD: X, an order of its rows, labels and targets."""
        rows = max(1, int(_SGD_OPERATIONS / (4 * self.X.shape[1] * self.n_classes)))
        for part in self.X.stretches(self.order, rows if self.X.are_numbers else min(rows, SGD_ROWS)):
            X, order, (labels, targets) = self.X.taken(part, self.labels, self.targets)
            yield X, order, labels, targets.reshape(-1)


class WideTrainer(_Trainer):
    """Any shape: parameters as a network of one layer."""

    def __init__(self, *args: Any, network: Network | None = None) -> None:
        super().__init__(*args)
        (_, n), c = self.X.shape, self.n_classes
        self.network = network or Network((n, c), self.X.dtype)
        block = min(
            round_up(-(-self.portion // self.chunks)), max(16, _BLOCK_BYTES // (n * self.X.dtype.itemsize) // 16 * 16)
        )
        self.G = self._zeros(self.chunks, len(self.network.params))
        self.total = self._zeros(0 if self.portions == 1 else len(self.network.params))
        self.panels = panels(self.threads, block, c, self.X.dtype)
        self._scratch(block)

    def theta(self) -> NDArray[Any]:
        """Parameters as the lab has them, (n + 1, c), a copy."""
        return np.vstack([self.network.biases[0], self.network.weights[0].T])

    def set_theta(self, theta: NDArray[Any]) -> None:
        self.network.biases[0][:], self.network.weights[0][:] = theta[0], theta[1:].T

    def _descend(self, first: int, end: int, losses: NDArray[np.float64], numbers: NDArray[Any], update: bool) -> None:
        from ..kernels import linear

        linear.wide(
            *self.X.arguments, self.room, first, end, len(self.X), self.iota, self.labels, self.targets.reshape(-1),
            self.network.params, self.network.layout, self.G, self.total, self.S, self.panels, self.chunk_loss, losses,
            numbers, self.width, len(losses), update, self.sigmoid, threads=self.threads,
        )  # fmt: skip

    def sgd(self, learning_rate: float, repeats: int, with_loss: bool = True) -> NDArray[np.float64]:
        """Passes of per-sample SGD; the loss before each."""
        from ..kernels import sgd

        losses = np.empty(repeats)
        z, u, g = self._zeros(3, round_up(self.n_classes))
        terms, no_weights = self._zeros(2 * LOSS_BLOCK), self._zeros(0)
        numbers = self._settings(learning_rate)
        for i in range(repeats):
            if with_loss:
                losses[i] = self.descend(0.0, 1, update=False)[0]
            for X, order, labels, targets in self._passes():
                sgd.wide(
                    X, order, labels, targets, no_weights, _NO_RATES, self.network.params, self.network.layout, z, u, g,
                    terms, _NO_RATES, numbers, self.sigmoid,
                )  # fmt: skip
        return losses


class NarrowTrainer(_Trainer):
    """Few features and classes: parameters as theta, its rows padded to a vector."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        from ..kernels.target import TARGET

        (m, n), c, lanes = self.X.shape, self.n_classes, TARGET.lanes(self.X.dtype.itemsize)
        self.few = c <= 4  # classes: a vector of four lanes is summed in fewer steps
        if m <= _NARROW_BLOCK:
            self.chunks = 1
        width = min(_NARROW_BLOCK, round_up(-(-self.portion // self.chunks)))
        self.padded = self._zeros(n + 1, 4 if self.few else lanes)
        self.XT, self.G = self._zeros(self.chunks * n, width), self._zeros(self.chunks * (n + 1), c)
        self.total = self._zeros(0 if self.portions == 1 else n + 1, c)
        self.hot = np.eye(max(c, 2), self.padded.shape[1], k=-1 if self.sigmoid else 0, dtype=self.X.dtype).reshape(-1)
        self._scratch(width)

    def theta(self) -> NDArray[Any]:
        """Parameters as the lab has them, (n + 1, c), a copy."""
        return self.padded[:, : self.n_classes].copy()

    def set_theta(self, theta: NDArray[Any]) -> None:
        self.padded[:, : self.n_classes] = theta

    def _descend(self, first: int, end: int, losses: NDArray[np.float64], numbers: NDArray[Any], update: bool) -> None:
        from ..kernels import linear

        linear.narrow(
            *self.X.arguments, self.room, first, end, len(self.X), self.iota, self.labels, self.targets.reshape(-1),
            self.padded, self.G, self.total, self.XT, self.S, self.chunk_loss, losses, numbers, self.n_classes, len(losses),
            update, self.sigmoid, threads=self.threads,
        )  # fmt: skip

    def sgd(self, learning_rate: float, repeats: int, with_loss: bool = True) -> NDArray[np.float64]:
        """Passes of per-sample SGD; the loss before each."""
        from ..kernels import sgd

        run = sgd.narrow4 if self.few else sgd.narrow
        losses, numbers = np.empty(repeats), self._settings(learning_rate)
        # Many passes in one call are for samples that one block holds; the loss of more is another kernel's.
        fits = len(self.X) <= self.width
        inside, passes = with_loss and fits, max(repeats, 1) if fits else 1
        for i in range(0, repeats, passes):
            if with_loss and not inside:
                losses[i] = self.descend(0.0, 1, update=False)[0]
            for X, order, labels, targets in self._passes():
                run(
                    X, order, labels, targets, self.hot, self.padded, self.XT, self.S, losses[i : i + passes], numbers,
                    self.n_classes, passes, inside, self.sigmoid,
                )  # fmt: skip
        return losses


def trainer_for(
    X: Rows,
    n_classes: int,
    *,
    sigmoid: bool,
    labels: NDArray[np.int64] | None = None,
    targets: NDArray[Any] | None = None,
    rule: LossRule = CLIPPED,
    bias: bool = True,
    n_jobs: int | None = None,
) -> WideTrainer | NarrowTrainer:
    """The trainer whose kernels suit the shape. Without ``bias``, row 0 of theta stays as it is set."""
    from ..kernels.target import TARGET

    narrow = X.shape[1] <= _NARROW_FEATURES and n_classes <= TARGET.lanes(X.dtype.itemsize)
    kind = NarrowTrainer if narrow else WideTrainer
    return kind(X, labels, targets, n_classes, sigmoid, rule, bias, n_jobs)
