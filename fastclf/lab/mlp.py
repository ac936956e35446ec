"""Sections 3 and 4 of the lab: ReLU networks with one and with two hidden layers, samples as columns.

Both classes wrap a ``Network`` (``engine/network.py``). They add the lab's names, its printed lines and its loops.

Three differences from the lab are deliberate: losses stay finite when a probability underflows (log-sum-exp); ``A2``
still holds probabilities after ``backward``; bad input raises a clear error.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import reference
from ..engine.distributed import ALONE, Alone, Shards, communicator
from ..engine.losses import EXACT, SHIFTED, LossRule
from ..engine.minibatch import BatchTrainer, Samples, Workspace
from ..engine.progress import (
    Callback,
    Reporter,
    all_finite,
    copy_into,
    train_in_stretches,
    warn_diverged,
    warn_interrupted,
)
from ..engine.ranks import RankTrainer
from ..engine.rows import Rows
from ..engine.schedules import EarlyStopping, StepDecay
from ..engine.threads import threads_for
from ..inputs import (
    NETWORK_DTYPES,
    as_array,
    as_count,
    as_labels,
    as_order,
    as_rows,
    as_rows_of_columns,
    as_scalar,
    quick_batch,
)
from ..io.checkpoint import checkpoint_of
from ..kernels.codes import BACKWARD, FORWARD, TRAIN
from ..kernels.records import Settings
from .base import Activations, LabModel, LayerOutput, LayerParameter, overrides
from .loaders import Epoch, FastPath, begin_epoch, random_states, set_random_states

# By itemsize: a probability below this may be too large, because the kernels' exp has a lower limit (kernels.simd).
_VANISHED = {4: 1e-25, 8: 1e-250}


class _Perceptron(LabModel):
    """What the lab's two networks share: construction, forward, loss and backward."""

    _dtypes = NETWORK_DTYPES
    _rule: ClassVar[LossRule]
    _plain: ClassVar[Any]  # the class in plain NumPy, which serves subclasses that replace the activations

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        dtype: DTypeLike = np.float64,
        random_state: Any = None,
        n_jobs: int | None = None,
        scale: float = 1.0,
    ) -> None:
        n, h = as_count(input_size, "input_size", 1), as_count(hidden_size, "hidden_size", 1)
        super().__init__((n, h, as_count(output_size, "output_size", 1)), dtype, random_state, n_jobs, scale)
        self._work: tuple[Workspace, int] | None = None

    # The classes below define every layer's Z and A as attributes. In each class, A2 is the last layer's A.
    A2: LayerOutput

    @property
    def _own_activations(self) -> bool:
        return overrides(self, Activations, "relu", "relu_derivative", "softmax")

    def _columns(self, X: ArrayLike, name: str, may_be_empty: bool = False) -> Rows:
        net = self._network
        return as_rows_of_columns(X, name, net.dtype, net.widths[0], self.n_jobs, self.scale, may_be_empty)

    def _trainer(
        self,
        work: Workspace,
        samples: Samples,
        learning_rate: float = 0.0,
        clip_threshold: float = math.inf,
        batch_size: int | None = None,
        comm: Alone = ALONE,
    ) -> BatchTrainer:
        """A trainer for the samples. ``batch_size``, by default all samples, decides the number of threads."""
        net = self._network
        settings = Settings(*self._rule, learning_rate, clip_threshold)
        threads = threads_for(net.step_operations(batch_size or len(samples.X)), comm.threads(self.n_jobs))
        return BatchTrainer(net, samples, settings, work, threads=threads)

    def forward(self, X: ArrayLike) -> NDArray[Any]:
        """The probability of every class. Z and A of all layers are kept as attributes.

        Parameters
        ----------
        X : array-like of shape (n, m)
            One sample per column.

        Returns
        -------
        ndarray of shape (c, m)
            The probabilities A2.

        Raises
        ------
        TypeError, ValueError
            If X is not a finite matrix of n rows.
        """
        samples = self._columns(X, "X")
        if self._own_activations:
            return self._plain.forward(self, samples.as_floats().T)
        work = Workspace(self._network, len(samples))  # a new one, so that earlier results keep their values
        self._run_keeping(FORWARD, work, Samples(samples))
        self._work = work, len(samples)
        return self.A2

    def _run_keeping(
        self, phases: int, work: Workspace, samples: Samples, rate: float = 0.0, clip: float = math.inf
    ) -> None:
        """A forward or backward pass with all Z and A in ``work``, even if the samples become floats in pieces."""
        at_once = Workspace.rows_at_once(samples.X, len(samples.X))
        room = work if at_once == len(samples.X) else Workspace(self._network, at_once)
        self._trainer(room, samples, rate, clip).run(phases, kept=work)

    def compute_loss(self, A2: ArrayLike, y: ArrayLike) -> float:
        """The mean loss of the labels under given probabilities, in nats.

        Parameters
        ----------
        A2 : array-like of shape (c, m)
            Probabilities, as ``forward`` returns them.
        y : array-like of int, shape (m,)
            Labels in 0 … c - 1.

        Returns
        -------
        float
            Mean of -log p[y]; for the deep network, of -log(p[y] + 1e-10). If A2 is that of the last forward
            pass, a term whose p[y] underflows is computed from the scores, and stays finite.

        Raises
        ------
        TypeError, ValueError
            If a shape does not fit, or a label is out of range.
        """
        p = as_array(A2, "A2")
        if p.ndim != 2 or p.shape[0] != self._network.widths[-1]:
            raise ValueError(f"A2 must have shape ({self._network.widths[-1]}, m), got {p.shape}")
        labels = as_labels(y, "y", p.shape[1], p.shape[0])
        at = labels, np.arange(p.shape[1])
        if self._rule.eps:
            return float(np.mean(-np.log(p[at] + self._rule.eps)))
        chosen = p[at].astype(np.float64)
        vanished = chosen < _VANISHED[self._network.dtype.itemsize]
        losses = -np.log(np.maximum(chosen, np.finfo(np.float64).tiny))
        if vanished.any() and self._is_last(p):
            losses[vanished] = self._losses_from_scores(labels)[vanished]
        return float(np.mean(losses))

    def _is_last(self, p: NDArray[Any]) -> bool:
        """Whether p is the last forward pass's A2 itself, in the same memory, so that its scores are known."""
        return self._work is not None and p.__array_interface__ == self.A2.__array_interface__

    def _losses_from_scores(self, labels: NDArray[np.int64]) -> NDArray[Any]:
        assert self._work is not None
        work, m = self._work
        z = work.samples("Z", len(self._network.widths) - 2, m)
        top = z.max(axis=0)
        return top + np.log(np.exp(z - top).sum(axis=0)) - z[labels, np.arange(m)]

    def _backward(self, X: ArrayLike, y: ArrayLike, learning_rate: float, clip_threshold: float) -> None:
        samples = self._columns(X, "X")
        labels = as_labels(y, "y", len(samples), self._network.widths[-1])
        rate = as_scalar(learning_rate, "learning_rate")
        clip = as_scalar(clip_threshold, "clip_threshold", positive=True, finite=False)
        if self._own_activations:
            with self._training():
                self._plain.backward(self, samples.as_floats().T, labels, rate, *([clip] if clip < math.inf else []))
            return
        if self._work is None or self._work[1] != len(samples):
            last = "none" if self._work is None else f"one of {self._work[1]} samples"
            raise ValueError(
                f"backward needs the forward pass of the same X, {len(samples)} samples; the last was {last}"
            )
        with self._training():
            self._run_keeping(BACKWARD, self._work[0], Samples(samples, labels), rate, clip)


class MLPClassifier(_Perceptron):
    """A network with one hidden ReLU layer and a softmax, trained by full-batch gradient descent. Samples are columns.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Numbers of features n, of hidden units h and of classes c.
    dtype : float64, float32 or "bfloat16"
        Dtype of the parameters and of the computation; float32 is faster. With "bfloat16", both are float32, but for the
        operands of products, which are rounded to bfloat16: faster again on processors that multiply bfloat16.
    random_state : None, int, RandomState or Generator, optional
        Source of the initial weights; None takes NumPy's global generator, as in the lab.
    n_jobs : int, optional
        Number of threads; None takes all. The results are bit-identical for any number.
    scale : float
        Factor for X if it holds bytes (uint8); 1/255 brings pixels into [0, 1].

    Attributes
    ----------
    W1, W2 : ndarray of shape (h, n) and (c, h)
        Initially 0.01 times standard normal draws; W1 is drawn first.
    b1, b2 : ndarray of shape (h, 1) and (c, 1)
        Initially zeros.
    Z1, A1, Z2, A2 : ndarray of shape (h, m), (h, m), (c, m) and (c, m)
        Values of the last forward pass, before (Z) and after (A) each activation.

    Raises
    ------
    TypeError, ValueError
        If a size is not a positive whole number, or another argument does not match its description.
    """

    W1, b1, W2, b2 = LayerParameter(0), LayerParameter(0, bias=True), LayerParameter(1), LayerParameter(1, bias=True)
    Z1, A1, Z2, A2 = LayerOutput(0, "Z"), LayerOutput(0, "A"), LayerOutput(1, "Z"), LayerOutput(1, "A")
    _drawing_order = ("W1", "W2")
    _rule = EXACT
    _plain = reference.MLPClassifier
    _sizes = "nhc"

    def backward(self, X: ArrayLike, y: ArrayLike, learning_rate: float = 0.01) -> None:
        """One gradient step, in place, from the Z and A of the last forward pass.

        dZ2 = (A2 - onehot(y)) / m;  dZ1 = (W2^T dZ2) [Z1 > 0];  W -= learning_rate dZ A^T;  b -= learning_rate sum dZ.

        Parameters
        ----------
        X : array-like of shape (n, m)
            The samples of the last ``forward``.
        y : array-like of int, shape (m,)
            Labels in 0 … c - 1.
        learning_rate : float

        Raises
        ------
        TypeError, ValueError
            If a shape does not fit, a label is out of range, or the last ``forward`` had another number of samples.
        """
        self._backward(X, y, learning_rate, math.inf)

    def train(
        self,
        X_train: ArrayLike,
        y_train: ArrayLike,
        epochs: int = 100,
        learning_rate: float = 0.01,
        *,
        verbose: bool | str = True,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | timedelta = 1,
        resume: bool = False,
        process_group: Any = None,
    ) -> list[float]:
        """Train by full-batch gradient descent.

        Parameters
        ----------
        X_train : array-like of shape (n, m)
            One sample per column: an array of any dtype, order and strides, or a torch tensor on the CPU.
        y_train : array-like of int, shape (m,)
            Labels in 0 … c - 1.
        epochs : int
        learning_rate : float
        verbose : bool or "bar"
            True prints ``Epoch {i}, Loss: {loss}`` for each epoch, "bar" shows a progress bar.
        callback : callable, optional
            ``callback(epoch, loss, model)`` after each epoch; a true result stops the training.
        checkpoint : str or os.PathLike, optional
            A file that receives the run's state, so that a run whose process is killed can go on with the same bits.
        checkpoint_every : int or datetime.timedelta
            How many epochs, or how much time, may pass from one checkpoint to the next.
        resume : bool
            Go on from ``checkpoint``, if the file is there. It must be of a run with the same data and arguments, but for
            the number of epochs.
        process_group : True or ProcessGroup, optional
            Train with the other ranks of a group of torch.distributed; True is the default group. X_train and y_train are
            this rank's shard, which may be empty, and each step is on the samples of all ranks. Rank 0's parameters are
            those that all ranks begin with.

        Returns
        -------
        list of float
            The loss before each step, in nats.

        Raises
        ------
        TypeError, ValueError
            If an argument does not match its description; the message names the argument.
        """
        comm = communicator(process_group)
        wish = checkpoint, checkpoint_every, resume
        with comm.together():
            return self._train((X_train, y_train), epochs, learning_rate, verbose, callback, wish, comm)

    def _train(
        self,
        data: tuple[Any, Any],
        epochs: int,
        learning_rate: float,
        verbose: bool | str,
        callback: Callback | None,
        wish: tuple[Any, Any, bool],
        comm: Alone,
    ) -> list[float]:
        X_train, y_train = data
        samples = self._columns(X_train, "X_train", comm.grouped)
        labels = as_labels(y_train, "y_train", len(samples), self._network.widths[-1])
        epochs, rate = as_count(epochs, "epochs"), as_scalar(learning_rate, "learning_rate")
        own = self._own_activations or overrides(self, MLPClassifier, "forward", "compute_loss", "backward")
        self._meet(comm, own, dtype_of_X=samples.array.dtype.name, epochs=epochs, learning_rate=rate)
        if own:
            operations, floats = math.inf, samples.as_floats().T

            def stretch(count: int) -> Any:
                loss = self.compute_loss(self.forward(floats), labels)
                self.backward(floats, labels, rate)
                return [loss]

        elif comm.grouped:
            operations, rows = math.inf, np.arange(len(samples))
            Shards.of(comm, len(samples))  # raises if all are empty
            work = Workspace.for_batches(self._network, samples, max(1, len(samples)))
            ranks = RankTrainer(self._trainer(work, Samples(samples, labels), rate, comm=comm), comm)
            self._work = None

            def stretch(count: int) -> Any:
                ranks.expect()
                loss, _ = ranks.step(rows)
                comm.expect(comm.few)
                return [loss]
        else:
            operations = float(self._network.operations) * len(samples)
            work = Workspace.for_batches(self._network, samples, len(samples))
            trainer = self._trainer(work, Samples(samples, labels), rate)

            def stretch(count: int) -> Any:
                losses = trainer.run(TRAIN, repeats=count)
                self._work = (work, len(samples)) if len(samples) <= work.capacity else None
                return losses

        losses = self.losses_ = []
        line = "Epoch {}, Loss: {}".format
        run = {"trainer": "MLPClassifier", "learning_rate": rate}
        kept = checkpoint_of(*wish, run, (samples.array, labels), comm)
        with (
            self._training(),
            Reporter(verbose, lambda i, loss: line(i + 1, loss), epochs, callback, len(samples), comm) as reporter,
        ):
            params = self._network.params
            train_in_stretches(epochs, operations, stretch, reporter, self._as_trained, params, losses, kept)
        return losses


class DeepMLPClassifier(_Perceptron):
    """A network with two hidden ReLU layers and a softmax; mini-batches, step decay, clipping and early stopping.

    Samples are columns. The lab calls this class MLPClassifier: ``from fastclf import DeepMLPClassifier as MLPClassifier``.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Numbers of features n, of units h in each hidden layer, and of classes c.
    dtype : float64, float32 or "bfloat16"
        Dtype of the parameters and of the computation; float32 is faster. With "bfloat16", both are float32, but for the
        operands of products, which are rounded to bfloat16: faster again on processors that multiply bfloat16.
    random_state : None, int, RandomState or Generator, optional
        Source of the initial weights; None takes NumPy's global generator, as in the lab.
    n_jobs : int, optional
        Number of threads; None takes all. The results are bit-identical for any number.
    scale : float
        Factor for X if it holds bytes (uint8); 1/255 brings pixels into [0, 1].

    Attributes
    ----------
    W1, W3, W2 : ndarray of shape (h, n), (h, h) and (c, h)
        From the input to the output: W3 is the middle layer's. Initial values are drawn in the order W1, W2, W3.
    b1, b3, b2 : ndarray of shape (h, 1), (h, 1) and (c, 1)
        Initially zeros.
    Z1, A1, Z3, A3, Z2, A2 : ndarray
        Values of the last forward pass, before (Z) and after (A) each activation, one column per sample.
    best_loss : float
        The lowest epoch loss that ``train`` has seen so far.

    Raises
    ------
    TypeError, ValueError
        If a size is not a positive whole number, or another argument does not match its description.
    """

    W1, b1, W3, b3 = LayerParameter(0), LayerParameter(0, bias=True), LayerParameter(1), LayerParameter(1, bias=True)
    W2, b2 = LayerParameter(2), LayerParameter(2, bias=True)
    Z1, A1, Z3, A3, Z2, A2 = (LayerOutput(layer, buffer) for layer in range(3) for buffer in "ZA")
    _drawing_order = ("W1", "W2", "W3")
    _rule = SHIFTED
    _plain = reference.DeepMLPClassifier
    _sizes, _progress = "nhhc", {"best_loss": math.inf}
    best_loss: float

    def backward(self, X: ArrayLike, y: ArrayLike, learning_rate: float = 0.01, clip_threshold: float = 1.0) -> None:
        """One gradient step, in place, from the Z and A of the last forward pass; gradients are clipped per element.

        Parameters
        ----------
        X : array-like of shape (n, m)
            The samples of the last ``forward``.
        y : array-like of int, shape (m,)
            Labels in 0 … c - 1.
        learning_rate : float
        clip_threshold : float
            Gradients of weights and biases are clipped to [-clip_threshold, clip_threshold]; infinity turns this off.

        Raises
        ------
        TypeError, ValueError
            If a shape does not fit, a label is out of range, or the last ``forward`` had another number of samples.
        """
        self._backward(X, y, learning_rate, clip_threshold)

    def train(
        self,
        train_loader: Iterable[Any],
        epochs: int = 100,
        learning_rate: float = 0.01,
        step_size: int = 100,
        gamma: float = 0.5,
        patience: int = 5,
        min_delta: float = 0.01,
        *,
        clip_threshold: float = 1.0,
        verbose: bool | str = True,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | timedelta = 1,
        resume: bool = False,
        process_group: Any = None,
        sync_every: int | None = None,
        compress: str | None = None,
    ) -> list[float]:
        """Train on the mini-batches of a loader, with step decay and early stopping.

        Parameters
        ----------
        train_loader : iterable of (X, y)
            A torch DataLoader, ``Batches``, or another object that can be iterated once per epoch. X and y are arrays or
            tensors. X (m, …) is flattened to (m, n); y (m,) holds integer labels in 0 … c - 1.
        epochs : int
        learning_rate : float
        step_size, gamma : int, float
            The learning rate is multiplied by gamma after every step_size epochs.
        patience, min_delta : int, float
            Training stops after ``patience`` epochs whose loss is not below the best one, but within ``min_delta`` of it.
            A new best loss restarts the count.
        clip_threshold : float
            Gradients are clipped to [-clip_threshold, clip_threshold], element by element; infinity turns this off.
        verbose : bool or "bar"
            True prints the lab's lines, "bar" shows a progress bar.
        callback : callable, optional
            ``callback(epoch, loss, model)`` after each epoch; a true result stops the training.
        checkpoint : str or os.PathLike, optional
            A file that receives the run's state, so that a run whose process is killed can go on with the same bits.
        checkpoint_every : int or datetime.timedelta
            How many epochs, or how much time, may pass from one checkpoint to the next.
        resume : bool
            Go on from ``checkpoint``, if the file is there. It must be of a run with the same data and arguments, but for
            the number of epochs.
        process_group : True or ProcessGroup, optional
            Train with the other ranks of a group of torch.distributed; True is the default group. ``train_loader`` is this
            rank's. A step is on the next batches of all ranks together; a rank whose loader has ended has none. A
            DistributedSampler is told each epoch's number. Rank 0's parameters are those that all ranks begin with.
        sync_every : int, optional
            In a group: let each rank take so many steps on its own batches, and then the average of all ranks' parameters.
            None: take every step together.
        compress : {"bfloat16"}, optional
            In a group: send gradients in bfloat16, and what the rounding has left over with the next ones. It halves what is
            sent of float32, for slow networks. Not with checkpoints, which would lack what is left over.

        Returns
        -------
        list of float
            The loss of each epoch's last batch, before its step, in nats: mean of -log(p[y] + 1e-10).

        Raises
        ------
        TypeError, ValueError
            If an argument or a batch does not match its description; the message names it.
        """
        comm = communicator(process_group, sync_every, compress)
        rules = learning_rate, step_size, gamma, patience, min_delta, clip_threshold
        wish = checkpoint, checkpoint_every, resume
        with comm.together():
            return self._train(train_loader, epochs, rules, verbose, callback, wish, comm)

    def _train(
        self,
        train_loader: Iterable[Any],
        epochs: int,
        rules: tuple[float, int, float, int, float, float],
        verbose: bool | str,
        callback: Callback | None,
        wish: tuple[Any, Any, bool],
        comm: Alone,
    ) -> list[float]:
        learning_rate, step_size, gamma, patience, min_delta, clip_threshold = rules
        epochs = as_count(epochs, "epochs")
        decay = StepDecay(
            as_scalar(learning_rate, "learning_rate"), as_count(step_size, "step_size", 1), as_scalar(gamma, "gamma")
        )
        stopping = EarlyStopping(as_count(patience, "patience"), as_scalar(min_delta, "min_delta"), self.best_loss)
        clip = as_scalar(clip_threshold, "clip_threshold", positive=True, finite=False)
        if not isinstance(train_loader, Iterable) and not hasattr(train_loader, "__getitem__"):
            raise TypeError(f"train_loader must be iterable, got {type(train_loader).__name__}")
        if epochs > 1 and isinstance(train_loader, Iterator):
            raise TypeError(
                "train_loader must be iterable once per epoch, got an iterator, which is empty after the first"
            )
        own = self._own_activations or overrides(self, DeepMLPClassifier, "forward", "compute_loss", "backward")
        settings = dict(zip(("learning_rate", "step_size", "gamma", "patience", "min_delta", "clip_threshold"), rules))
        self._meet(comm, own, epochs=epochs, sync_every=comm.sync_every, compress=comm.compresses, **settings)
        train_epoch = (
            self._epochs_in_group(train_loader, clip, comm) if comm.grouped else self._epochs(train_loader, own)
        )
        losses: list[float] = []
        self.losses_ = losses
        run = {
            "trainer": "DeepMLPClassifier", "learning_rate": decay.learning_rate, "step_size": decay.step_size,
            "gamma": decay.gamma, "patience": stopping.patience, "min_delta": stopping.min_delta, "clip_threshold": clip,
        }  # fmt: skip
        kept = checkpoint_of(*wish, run, comm=comm)

        # The order of an epoch that is under way, and its samples done; and the states of all ranks' random numbers.
        patient, order, done = True, np.empty(0, np.int64), 0
        random: Any = {}

        def state() -> dict[str, Any]:
            return {
                "losses": losses, "params": self._network.params, "best_loss": self.best_loss, "ended": not patient,
                "learning_rate": decay.learning_rate, "counter": stopping.counter, "order": order, "done": done,
                "random": random if comm.grouped else random_states(train_loader),
            }  # fmt: skip

        def within(*place: Any) -> None:
            nonlocal order, done
            order, done = place
            if kept is not None:
                kept.after(len(losses), state)

        saved = None if kept is None else kept.restored()
        if saved is not None:
            copy_into(self._network.params, saved["params"])
            self._trained = True
            losses.extend(saved["losses"])
            decay.learning_rate, stopping.counter = saved["learning_rate"], saved["counter"]
            self.best_loss = stopping.best_loss = saved["best_loss"]
            patient = not saved["ended"]
            set_random_states(train_loader, saved["random"][comm.rank] if comm.grouped else saved["random"])
        line = "Epoch {}, Loss: {}".format
        with (
            self._training(),
            Reporter(verbose, lambda i, loss: line(i + 1, loss), epochs, callback, comm=comm) as reporter,
        ):
            try:
                for epoch in range(len(losses), epochs if patient else 0):
                    if comm.grouped:
                        begin_epoch(train_loader, epoch)
                    loss, diverged = train_epoch(decay.learning_rate, clip, within, saved)
                    order, done, saved = order[:0], 0, None
                    if loss is None:
                        raise ValueError("train_loader must yield at least one batch per epoch, got none")
                    if decay.after(epoch):
                        reporter.say(f"Current learning rate: {decay.learning_rate}")
                    losses.append(loss)
                    stop = reporter.epoch(epoch, loss, self._as_trained)
                    if diverged:
                        warn_diverged(len(losses))
                        break
                    patient = not stopping.after(loss)
                    self.best_loss = stopping.best_loss
                    if kept is not None:
                        random = comm.gather(random_states(train_loader)) if comm.grouped else random
                        kept.after(len(losses), state, ended=stop or not patient or epoch == epochs - 1)
                    if not patient:
                        reporter.say(f"No significant loss improvement for {stopping.patience}, early stopping")
                    if stop or not patient:
                        break
            except KeyboardInterrupt as interrupt:
                warn_interrupted(interrupt)
        return losses

    def _epochs_in_group(self, loader: Any, clip: float, comm: Alone) -> Callable[..., tuple[float | None, bool]]:
        """As ``_epochs``, with the other ranks; epochs are not taken up in the middle."""
        net = self._network
        fast_path = FastPath(loader, net.dtype, net.widths, self.scale, self.n_jobs)
        nothing = Samples(Rows(np.zeros((0, net.widths[0]), net.dtype), net.dtype), np.empty(0, np.int64))
        size = getattr(loader, "batch_size", None)
        own = self._trainer(Workspace(net, 1), nothing, 0.0, clip, size if isinstance(size, int) else 1000, comm)
        trainer = RankTrainer(own, comm)
        self._work = None

        def batches() -> Iterator[tuple[Samples, NDArray[np.int64]]]:
            stored = fast_path.epoch()
            if stored is None:
                for batch in loader:
                    X, y = self._batch(batch)
                    yield Samples(X, y), np.arange(len(X))
            else:
                for start in range(0, len(stored.order), stored.batch_size):
                    yield stored.samples, stored.order[start : start + stored.batch_size]

        def train_epoch(rate: float, *_: Any) -> tuple[float | None, bool]:
            loss, sound = None, net.params.copy()
            for loss in trainer.batches(batches(), rate):
                if not math.isfinite(loss):
                    break
            comm.expect(comm.few)
            diverged = loss is not None and not all_finite(loss, net.params)
            if diverged:
                net.params[:] = sound
            return loss, diverged

        return train_epoch

    def _epochs(self, loader: Any, own: bool) -> Callable[..., tuple[float | None, bool]]:
        """A function (learning rate, clip threshold, within, saved) that trains an epoch: the last loss, None without a
        batch; and whether the training diverged. Then the epoch ends early, with the parameters that were last seen to be
        finite. ``within`` is called with the order and the number of samples done, after a kernel call that does not end the
        epoch. ``saved``, if it is given, is the state that was written there: the epoch goes on. ``own`` says that methods
        of a subclass take the steps.
        """
        net = self._network
        step = self._step_by_methods if own else self._fused_step()
        fast_path = None if own else FastPath(loader, net.dtype, net.widths, self.scale, self.n_jobs)
        work: Workspace | None = None  # not that of ``forward``, whose results keep their values

        def train_epoch(
            rate: float, clip: float, within: Callable[..., None], saved: dict[str, Any] | None
        ) -> tuple[float | None, bool]:
            nonlocal work
            loss, sound = None, net.params.copy()
            stored = fast_path.epoch() if fast_path else None
            if stored is None:
                for batch in loader:
                    loss = step(batch, rate, clip)
                    if not math.isfinite(loss):
                        break
            else:
                needed = Workspace.rows_at_once(stored.samples.X, min(stored.batch_size, len(stored.samples.X)))
                work = work if work is not None and work.piece >= needed else Workspace(net, needed)
                order, first = stored.order, 0
                if saved is not None and saved["done"]:
                    order, first = (
                        as_order(saved["order"], "the checkpoint's order", len(stored.samples.X)),
                        saved["done"],
                    )
                    set_random_states(loader, saved["random"])  # as they were when this order had been drawn
                rest = stored._replace(order=order[as_count(first, "the checkpoint's place") :])
                for done, losses in self._in_memory(rest, work, rate, clip):
                    loss = float(losses[-1])
                    if not all_finite(losses, net.params):
                        break
                    sound[:] = net.params
                    if first + done < len(order):
                        within(order, first + done)
            diverged = loss is not None and not all_finite(loss, net.params)
            if diverged:
                net.params[:] = sound
            return loss, diverged

        return train_epoch

    def _in_memory(
        self, stored: Epoch, work: Workspace, rate: float, clip: float
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Train an epoch on samples in one array. After each kernel call, which trains on many batches, yields the number of
        samples done, and the losses of the call.
        """
        samples, size, order = stored
        trainer = self._trainer(work, samples, rate, clip, size)
        for steps, losses in trainer.epoch(order, size):
            done = min(steps.stop * size, len(order))
            last = done - (steps.stop - 1) * size
            self._work = (work, last) if last <= work.capacity else None
            yield done, losses

    def _batch(self, batch: Any) -> tuple[Rows, NDArray[np.int64]]:
        """The samples (m, n) and labels of a loader's batch, checked."""
        try:
            X, y = batch
        except (TypeError, ValueError):
            raise TypeError(f"train_loader must yield pairs (X, y), got {type(batch).__name__}") from None
        images = as_array(X, "X of a batch")
        if images.ndim < 2 or images.size == 0:
            raise ValueError(f"X of a batch must have shape (m, ...), one sample per row, got {images.shape}")
        net, flat = self._network, images.reshape(len(images), -1)
        samples = as_rows(flat, "X of a batch", net.dtype, net.widths[0], self.n_jobs, self.scale)
        return samples, as_labels(y, "y of a batch", len(samples), net.widths[-1])

    def _fused_step(self) -> Callable[[Any, float, float], float]:
        """A function that trains on one batch, in scratch of its own, so that results of ``forward`` keep their values."""
        net = self._network
        trainer, made_for = self._trainer(Workspace(net, 1), Samples(None), batch_size=1), None
        byte_values = (self.scale * np.arange(256.0)).astype(net.dtype)

        def step(batch: Any, rate: float, clip: float) -> float:
            nonlocal trainer, made_for
            quick = quick_batch(batch, net.dtype, net.widths[0], net.widths[-1], byte_values)
            X, y = cast(Any, quick or self._batch(batch))
            m: int = len(X)
            if made_for != (rate, clip, m):
                work = trainer.work if trainer.work.piece >= m else Workspace(net, m)
                trainer, made_for = self._trainer(work, Samples(None), rate, clip, m), (rate, clip, m)
            if quick:
                loss = trainer.step(X, y)
            else:
                trainer.samples = Samples(X, y)
                loss = float(trainer.run(TRAIN)[0])
            self._work = trainer.work, m
            return loss

        return step

    def _step_by_methods(self, batch: Any, rate: float, clip: float) -> float:
        X, y = self._batch(batch)
        samples = X.as_floats().T
        loss = self.compute_loss(self.forward(samples), y)
        self.backward(samples, y, rate, clip)
        return float(loss)
