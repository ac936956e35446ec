"""Linear models by the lab's rules: full-batch gradient descent, and passes of per-sample SGD over the samples in order.

A trainer holds one linear model and one data set. ``WideTrainer`` and ``NarrowTrainer`` call different kernels;
``trainer_for`` chooses by the shape of the data. A trainer allocates its scratch memory once, when it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.codes import IN_PLACE, output_block_size
from ..kernels.records import ChunkScratch, Model, Portion, Settings, Theta
from .distributed import ALONE, HEAD, LOSSES, WEIGHT, Alone
from .kernels import load
from .losses import CLIPPED, LossRule
from .memory import Panels, panels, round_up
from .minibatch import Samples
from .network import Network
from .ranks import Average
from .rows import Rows
from .sgd import SYNC_EVERY, DenseSGD, in_calls
from .threads import threads_for

# Up to this many features, samples (in SGD, classes) can be the lanes of vectors: see kernels.linear and kernels.sgd.
_NARROW_FEATURES = 32
_NARROW_BLOCK = 1024  # samples that a narrow kernel keeps transposed at a time
_ROWS_PER_CHUNK = 64  # minimum; each chunk has its own gradient, and the gradients are added in order
_MAX_CHUNKS = 64
_BLOCK_BYTES = 600 * 1024  # of X per block of rows: the second-level cache holds a block and a gradient of ten classes
_CALL_OPERATIONS = 1e10  # in one kernel call, at most, because a call can not be interrupted: a fraction of a second


class _Trainer:
    """Base of both trainers: the samples, with labels or targets but no weights, and how sums over the samples are cut.

    With ``sigmoid``, the output is a sigmoid instead of a softmax. Without ``bias``, training leaves the bias unchanged.
    ``operations`` is the number of floating-point operations of one full-batch step, or of one pass of SGD.

    In a group, ``comm`` is the communicator, and ``samples`` are this rank's own, maybe none. Full batches are those of all
    ranks. Per-sample SGD runs on each rank's samples, and every ``sync_every`` samples the ranks take the average of theirs.
    """

    def __init__(
        self,
        samples: Samples,
        n_classes: int,
        *,
        sigmoid: bool = False,
        rule: LossRule = CLIPPED,
        bias: bool = True,
        n_jobs: int | None = None,
        comm: Alone = ALONE,
    ) -> None:
        self.comm, own = comm, len(samples.X)
        if not own:  # no kernel sees the sample that stands for none
            samples = Samples(Rows(np.zeros((1, samples.X.shape[1]), samples.X.dtype), samples.X.dtype))
        self.samples, self.n_classes, self.sigmoid, self.dtype = samples, n_classes, sigmoid, samples.X.dtype
        self._rule, self._bias = rule, bias
        X = samples.X
        self.operations = 6.0 * X.size * n_classes
        self.threads = threads_for(self.operations, n_jobs)
        self.iota = np.arange(max(len(X), n_classes))
        self.order = self.iota[:own]
        # The cut does not depend on the number of threads, so the bits do not either: equal portions, 2**k chunks in each.
        self.portions = X.n_portions(self.operations, _CALL_OPERATIONS)
        self.portion = -(-len(X) // self.portions)
        self.chunks = min(_MAX_CHUNKS, 1 << max(0, (len(X) // self.portions // _ROWS_PER_CHUNK).bit_length() - 1))
        if self.chunks == 1:
            self.threads = 1
        self._average: Average | None = None
        self._rounds = 0  # of local SGD in a pass

    def descend(self, learning_rate: float, repeats: int, update: bool = True) -> NDArray[np.float64]:
        """Take ``repeats`` full-batch steps; returns the loss before each. Without ``update``, only compute the losses."""
        losses, settings = np.zeros(repeats), self._settings(learning_rate)
        if self.comm.grouped:
            self._descend_together(settings, losses, update)
            return losses
        if self.portions == 1:
            self._call(self._portion(0, len(self.order), update), settings, losses)
            return losses
        for i in range(repeats):
            for first, end in self.samples.X.portions(self.portions):
                self._call(self._portion(first, end, update), settings, losses[i : i + 1])
        return losses

    def _descend_together(self, settings: Settings, losses: NDArray[np.float64], update: bool) -> None:
        """Take steps on the samples of all ranks, one per entry of ``losses``.

        The kernel is told that there are more samples: so it adds up gradients and losses, and takes no step.
        """
        message = self._message if update else self._message[:HEAD]
        self.comm.expect(message)
        for i in range(len(losses)):
            message.fill(0)
            if len(self.order):
                for first, end in self.samples.X.portions(self.portions):
                    self._call(Portion(first, end, len(self.order) + 1, update), settings, losses[i : i + 1])
            message[LOSSES], message[WEIGHT] = losses[i], len(self.order)
            self.comm.add_up(message)
            m = float(message[WEIGHT])
            losses[i] = float(message[LOSSES]) / m
            if update:
                self._move(message[HEAD:], -settings.learning_rate / m)
        self.comm.expect(self.comm.few)

    def _sgd_apart(self, learning_rate: float, repeats: int, with_loss: bool) -> NDArray[np.float64]:
        """``sgd`` in a group: local SGD (Stich, arXiv:1805.09767), each rank on its own samples."""
        losses, every = np.zeros(repeats), self.comm.sync_every or SYNC_EVERY
        take = self._stepping(self._settings(learning_rate))
        if self._average is None:
            self._average = Average(self.comm, self.params)
            self._rounds = max(self.comm.gather(-(-len(self.order) // every)))
        for i in range(repeats):
            if with_loss:
                losses[i] = self.descend(0.0, 1, update=False)[0]
            self.comm.expect(self._average.message)
            for start in range(0, self._rounds * every, every):
                part = self.order[start : start + every]
                if len(part):
                    take(part)
                self._average.take(len(part), 0.0)
        self.comm.expect(self.comm.few)
        return losses

    def _stepping(self, settings: Settings) -> Callable[[NDArray[np.int64]], None]:
        """A function that takes a step of SGD on each of the samples that it is given."""
        raise NotImplementedError

    def _move(self, gradient: NDArray[Any], step: float) -> None:
        """Add ``step`` times a gradient, as the kernel lays it out, to the parameters."""
        raise NotImplementedError

    @property
    def params(self) -> NDArray[Any]:
        """The memory of the parameters, which training changes in place."""
        raise NotImplementedError

    def _call(self, portion: Portion, settings: Settings, losses: NDArray[np.float64]) -> None:
        """Call the kernel: it takes one step per entry of ``losses``, or works on one portion of a single step."""
        raise NotImplementedError

    def _portion(self, first: int, end: int, update: bool) -> Portion:
        return Portion(first, end, len(self.order), update)

    def _settings(self, learning_rate: float) -> Settings:
        return Settings(*self._rule, learning_rate, bias_rate=float(self._bias))

    def _zeros(self, *shape: int) -> NDArray[Any]:
        return np.zeros(shape, self.dtype)

    def _scratch(self, width: int, gradient_size: int, columns: int = 0, packed: Panels | None = None) -> ChunkScratch:
        """Allocate, per chunk, one output block for ``width`` samples, one gradient, and ``columns`` transposed features.

        If the samples are not stored as floats, each thread also gets a buffer for ``width`` samples as floats.
        """
        X = self.samples.X
        wanted = self.portions > 1 or self.comm.grouped
        self._message = self._zeros(HEAD + gradient_size if wanted else HEAD)  # with a head, for the communicator
        return ChunkScratch(
            self._zeros(self.chunks * output_block_size(self.n_classes, width)), width,
            self._zeros(0 if X.are_floats else ((self.threads - 1) * width + min(width, len(X))) * X.shape[1]),
            self._zeros(self.chunks * gradient_size), self._message[HEAD:],
            self._zeros(self.chunks * columns * width), *(packed or panels(0, 1, (1, 1), self.dtype)),
            np.zeros(self.chunks), self.iota,
        )  # fmt: skip


class WideTrainer(_Trainer):
    """For any shape. The parameters are a network of one layer: ``network``, or a new one."""

    def __init__(self, samples: Samples, n_classes: int, *, network: Network | None = None, **options: Any) -> None:
        super().__init__(samples, n_classes, **options)
        (_, n), c = samples.X.shape, n_classes
        self.network = network or Network((n, c), self.dtype)
        most = max(16, _BLOCK_BYTES // (n * self.dtype.itemsize) // 16 * 16)
        width = min(round_up(-(-self.portion // self.chunks)), most)
        packed = panels(self.threads, width, (n, c), self.dtype)
        self.scratch = self._scratch(width, len(self.network.params), packed=packed)
        self._targets = samples.record(self.dtype)

    @property
    def params(self) -> NDArray[Any]:
        return self.network.params

    def theta(self) -> NDArray[Any]:
        """A copy of the parameters in the lab's form: (n + 1, c), the bias in row 0."""
        return np.vstack([self.network.biases[0], self.network.weights[0].T])

    def set_theta(self, theta: NDArray[Any]) -> None:
        self.network.biases[0][:], self.network.weights[0][:] = theta[0], theta[1:].T

    def _call(self, portion: Portion, settings: Settings, losses: NDArray[np.float64]) -> None:
        model = Model(self.network.params, self._zeros(0), self.network.layout, IN_PLACE, self.sigmoid)
        source = self.samples.X.source
        load("linear").wide(source, self._targets, model, self.scratch, portion, settings, losses, threads=self.threads)

    def _move(self, gradient: NDArray[Any], step: float) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is noticed by its parameters
            self.params[:] += self.dtype.type(step) * gradient

    def _stepping(self, settings: Settings) -> Callable[[NDArray[np.int64]], None]:
        steps = DenseSGD(self.samples, self.network, settings, self.sigmoid)

        def take(order: NDArray[np.int64]) -> None:
            for _ in steps.take(order):
                pass

        return take

    def sgd(self, learning_rate: float, repeats: int, with_loss: bool = True) -> NDArray[np.float64]:
        """Run ``repeats`` passes of per-sample SGD; returns the loss before each pass, if ``with_loss``."""
        if self.comm.grouped:
            return self._sgd_apart(learning_rate, repeats, with_loss)
        losses, take = np.zeros(repeats), self._stepping(self._settings(learning_rate))
        for i in range(repeats):
            if with_loss:
                losses[i] = self.descend(0.0, 1, update=False)[0]
            take(self.order)
        return losses


class NarrowTrainer(_Trainer):
    """For few features and classes. The parameters are theta, with each row padded to one vector."""

    def __init__(self, samples: Samples, n_classes: int, **options: Any) -> None:
        super().__init__(samples, n_classes, **options)
        (m, n), c, lanes = samples.X.shape, n_classes, load("target").TARGET.lanes(self.dtype.itemsize)
        self.few = c <= 4  # classes fit into a vector of four lanes, which is summed in fewer steps
        if m <= _NARROW_BLOCK:
            self.chunks = 1
        width = min(_NARROW_BLOCK, round_up(-(-self.portion // self.chunks)))
        self.padded = self._zeros(n + 1, 4 if self.few else lanes)
        hot = np.eye(max(c, 2), self.padded.shape[1], k=-1 if self.sigmoid else 0, dtype=self.dtype).reshape(-1)
        self.model = Theta(self.padded, hot, c, self.sigmoid)
        self.scratch = self._scratch(width, (n + 1) * c, columns=n)
        self._targets = samples.record(self.dtype)

    @property
    def params(self) -> NDArray[Any]:
        return self.padded

    def theta(self) -> NDArray[Any]:
        """A copy of the parameters in the lab's form: (n + 1, c), the bias in row 0."""
        return self.padded[:, : self.n_classes].copy()

    def set_theta(self, theta: NDArray[Any]) -> None:
        self.padded[:, : self.n_classes] = theta

    def _call(self, portion: Portion, settings: Settings, losses: NDArray[np.float64]) -> None:
        source = self.samples.X.source
        narrow = load("linear").narrow
        narrow(source, self._targets, self.model, self.scratch, portion, settings, losses, threads=self.threads)

    def _move(self, gradient: NDArray[Any], step: float) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            self.padded[:, : self.n_classes] += self.dtype.type(step) * gradient.reshape(-1, self.n_classes)

    def _stepping(self, settings: Settings) -> Callable[[NDArray[np.int64]], None]:
        return lambda order: self._pass(order, settings, np.zeros(1), with_loss=False)

    def _pass(
        self,
        order: NDArray[np.int64],
        settings: Settings,
        losses: NDArray[np.float64],
        with_loss: bool,
    ) -> None:
        """Pass over the samples ``order`` once for each entry of ``losses``; if ``with_loss``, write the losses before."""
        sgd = load("sgd")
        run = sgd.narrow4 if self.few else sgd.narrow
        for X, part, targets in in_calls(self.samples, order, self.n_classes):
            run(X, part, targets, self.model, self.scratch, settings, losses, with_loss)

    def sgd(self, learning_rate: float, repeats: int, with_loss: bool = True) -> NDArray[np.float64]:
        """Run ``repeats`` passes of per-sample SGD; returns the loss before each pass, if ``with_loss``."""
        if self.comm.grouped:
            return self._sgd_apart(learning_rate, repeats, with_loss)
        losses, settings = np.zeros(repeats), self._settings(learning_rate)
        # One kernel call can run all passes, and compute their losses, only if one block holds all samples.
        fits = len(self.order) <= self.scratch.width
        inside, passes = with_loss and fits, max(repeats, 1) if fits else 1
        for i in range(0, repeats, passes):
            if with_loss and not inside:
                losses[i] = self.descend(0.0, 1, update=False)[0]
            self._pass(self.order, settings, losses[i : i + passes], inside)
        return losses


def trainer_for(samples: Samples, n_classes: int, **options: Any) -> WideTrainer | NarrowTrainer:
    """The trainer whose kernels suit the shape; ``options`` are the arguments that both trainers take."""
    lanes = load("target").TARGET.lanes(samples.X.dtype.itemsize)
    narrow = samples.X.shape[1] <= _NARROW_FEATURES and n_classes <= lanes
    return (NarrowTrainer if narrow else WideTrainer)(samples, n_classes, **options)
