"""Section 2 of the lab: a softmax classifier of flattened images, trained by full-batch gradient descent.

Two differences from the lab are deliberate: the loss stays finite when a probability underflows (log-sum-exp), and bad
input raises a clear error.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import reference
from ..engine.descent import WideTrainer
from ..engine.distributed import ALONE, Alone, Shards, communicator
from ..engine.losses import EXACT
from ..engine.minibatch import Samples
from ..engine.progress import Callback, Reporter, train_in_stretches
from ..engine.rows import Rows
from ..inputs import as_array, as_count, as_labels, as_rows, as_scalar
from ..io.checkpoint import checkpoint_of
from .base import LabModel, LayerParameter, overrides


class ImageLinearClassifier(LabModel):
    """A linear classifier: the probabilities are the softmax of the scores W x + b.

    Parameters
    ----------
    input_size : int
        Number of features, n.
    n_classes : int
        Number of classes, c.
    dtype : float64 or float32
        Dtype of the parameters and of the computation; float32 is faster.
    random_state : None, int, RandomState or Generator, optional
        Source of the initial weights; None takes NumPy's global generator, as in the lab.
    n_jobs : int, optional
        Number of threads; None takes all. The results are bit-identical for any number.
    scale : float
        Factor for X if it holds bytes (uint8); 1/255 brings pixels into [0, 1].

    Attributes
    ----------
    W : ndarray of shape (c, n)
        Initially 0.01 times standard normal draws.
    b : ndarray of shape (c, 1)
        Initially zeros.

    Raises
    ------
    TypeError, ValueError
        If a size is not a positive whole number, or another argument does not match its description.
    """

    W = LayerParameter(0)
    b = LayerParameter(0, bias=True)
    _sizes, _drawing_order, _top = "nc", ("W",), None

    def __init__(
        self,
        input_size: int,
        n_classes: int,
        *,
        dtype: DTypeLike = np.float64,
        random_state: Any = None,
        n_jobs: int | None = None,
        scale: float = 1.0,
    ) -> None:
        widths = (as_count(input_size, "input_size", 1), as_count(n_classes, "n_classes", 1))
        super().__init__(widths, dtype, random_state, n_jobs, scale)

    def _rows(self, X: ArrayLike, name: str, may_be_empty: bool = False) -> Rows:
        net = self._network
        return as_rows(X, name, net.dtype, net.widths[0], self.n_jobs, self.scale, may_be_empty)

    def _checked(
        self, X: ArrayLike, y: ArrayLike, suffix: str = "", may_be_empty: bool = False
    ) -> tuple[Rows, NDArray[np.int64]]:
        samples = self._rows(X, f"X{suffix}", may_be_empty)
        return samples, as_labels(y, f"y{suffix}", len(samples), self._network.widths[1])

    def _trainer(self, X: Rows, y: NDArray[np.int64], comm: Alone = ALONE) -> WideTrainer:
        net, n_jobs = self._network, comm.threads(self.n_jobs)
        return WideTrainer(Samples(X, y), net.widths[1], rule=EXACT, n_jobs=n_jobs, comm=comm, network=net)

    @property
    def _by_methods(self) -> bool:
        return overrides(self, ImageLinearClassifier, "predict", "softmax")

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The scores W X^T + b; as in the lab, not the labels.

        Parameters
        ----------
        X : array-like of shape (m, n)

        Returns
        -------
        ndarray of shape (c, m)

        Raises
        ------
        TypeError, ValueError
            If X is not a finite matrix of n columns.
        """
        samples = self._rows(X, "X")
        scores = np.empty((len(self.b), len(samples)), self._network.dtype)
        for part, block in samples.blocks():
            scores[:, part] = self.W @ block.T + self.b
        return scores

    def compute_loss(self, X: ArrayLike, y: ArrayLike) -> float:
        """The mean of -log p[y] over the samples, in nats.

        Parameters
        ----------
        X : array-like of shape (m, n)
        y : array-like of int, shape (m,)
            Labels in 0 … c - 1.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If a shape does not fit, a label is out of range, or a value is not finite.
        """
        samples, labels = self._checked(X, y)
        if self._by_methods:
            plain = reference.ImageLinearClassifier.compute_loss
            return float(plain(self, samples.as_floats(), labels))  # type: ignore[arg-type]
        return float(self._trainer(samples, labels).descend(0.0, 1, update=False)[0])

    def gradient_descent(self, X: ArrayLike, y: ArrayLike, learning_rate: float = 0.001) -> None:
        """One gradient step on all samples, in place: W -= learning_rate (1/m) (p - onehot(y)) X, and likewise for b.

        Parameters
        ----------
        X : array-like of shape (m, n)
        y : array-like of int, shape (m,)
            Labels in 0 … c - 1.
        learning_rate : float

        Raises
        ------
        TypeError, ValueError
            If a shape does not fit, a label is out of range, or a value is not finite.
        """
        samples, labels = self._checked(X, y)
        rate = as_scalar(learning_rate, "learning_rate")
        with self._training():
            if self._by_methods:
                plain = reference.ImageLinearClassifier.gradient_descent
                plain(self, samples.as_floats(), labels, rate)  # type: ignore[arg-type]
            else:
                self._trainer(samples, labels).descend(rate, 1)


def train(
    classifier: Any,
    X_train: ArrayLike,
    y_train: ArrayLike,
    epochs: int,
    learning_rate: float,
    *,
    verbose: bool | str = True,
    callback: Callback | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | timedelta = 1,
    resume: bool = False,
    process_group: Any = None,
) -> list[float]:
    """Train an image classifier by full-batch gradient descent.

    Parameters
    ----------
    classifier : ImageLinearClassifier
        Trained in place. For an object of another class, ``train`` calls its ``compute_loss`` and ``gradient_descent``.
    X_train : array-like of shape (m, n)
        An array of any dtype, order and strides, or a torch tensor on the CPU. Bytes (uint8) and memory-mapped files
        (``np.memmap``) of float32 or float64 are read as they are stored: the set is not copied.
    y_train : array-like of int, shape (m,)
        Labels in 0 … c - 1.
    epochs : int
    learning_rate : float
    verbose : bool or "bar"
        True prints ``Epoch {i}, Loss: {loss}`` for each epoch, "bar" shows a progress bar.
    callback : callable, optional
        ``callback(epoch, loss, classifier)`` after each epoch; a true result stops the training.
    checkpoint : str or os.PathLike, optional
        A file that receives the run's state, so that a run whose process is killed can go on with the same bits.
    checkpoint_every : int or datetime.timedelta
        How many epochs, or how much time, may pass from one checkpoint to the next.
    resume : bool
        Go on from ``checkpoint``, if the file is there. It must be of a run with the same data and arguments, but for
        the number of epochs.
        Only for models of this package.
    process_group : True or ProcessGroup, optional
        Train with the other ranks of a group of torch.distributed; True is the default group. X_train and y_train are this
        rank's shard, which may be empty, and each step is on the samples of all ranks. Rank 0's parameters are those that
        all ranks begin with. Only for ``ImageLinearClassifier``.

    Returns
    -------
    list of float
        The loss before each step, in nats.

    Raises
    ------
    TypeError, ValueError
        If an argument does not match its description; the message names the argument.

    Warns
    -----
    TrainingInterruptedWarning, TrainingDivergedWarning
        As in ``train_model``. The losses so far are returned, and are ``classifier.losses_``.
    """
    comm = communicator(process_group)
    with comm.together():
        data, wish = (X_train, y_train), (checkpoint, checkpoint_every, resume)
        return _train(classifier, data, epochs, learning_rate, (verbose, callback), wish, comm)


def _train(
    classifier: Any,
    data: tuple[Any, ...],
    epochs: int,
    learning_rate: float,
    reports: tuple[bool | str, Callback | None],
    wish: tuple[Any, Any, bool],
    comm: Alone,
) -> list[float]:
    X_train, y_train = data
    epochs, rate = as_count(epochs, "epochs"), as_scalar(learning_rate, "learning_rate")
    fused = isinstance(classifier, ImageLinearClassifier) and not overrides(
        classifier, ImageLinearClassifier, "predict", "softmax", "compute_loss", "gradient_descent"
    )
    if comm.grouped and not isinstance(classifier, ImageLinearClassifier):
        raise TypeError(f"process_group is for an ImageLinearClassifier, got {type(classifier).__name__}")
    if fused:
        rows, labels = classifier._checked(X_train, y_train, "_train", comm.grouped)
        classifier._meet(comm, False, dtype_of_X=rows.array.dtype.name, epochs=epochs, learning_rate=rate)
        Shards.of(comm, len(rows))  # raises if all are empty
        trainer, data = classifier._trainer(rows, labels, comm), (rows.array, labels)
        operations, samples, params = trainer.operations, len(trainer.order), trainer.params

        def stretch(count: int) -> Any:
            return trainer.descend(rate, count)
    else:
        if comm.grouped:
            classifier._meet(comm, True)  # raises: no method of a subclass is called
        for method in ("compute_loss", "gradient_descent"):
            if not callable(getattr(classifier, method, None)):
                raise TypeError(f"classifier must have the method {method}, got {type(classifier).__name__}")
        data = as_array(X_train, "X_train"), as_array(y_train, "y_train")
        operations, samples = float("inf"), len(data[0])
        params = classifier._network.params if isinstance(classifier, LabModel) else None
        if params is None and wish[0] is not None:
            raise TypeError(f"checkpoint needs a model of fastclf's, got {type(classifier).__name__}")

        def stretch(count: int) -> Any:
            loss = classifier.compute_loss(X_train, y_train)
            classifier.gradient_descent(X_train, y_train, rate)
            return [loss]

    losses: list[float] = []
    training: AbstractContextManager[None] = nullcontext()
    model: Callable[[], Any] = lambda: classifier  # noqa: E731
    if isinstance(classifier, LabModel):
        classifier.losses_, training, model = losses, classifier._training(), classifier._as_trained
    run = {"trainer": type(classifier).__name__, "learning_rate": rate}
    kept, (verbose, callback) = checkpoint_of(*wish, run, data, comm), reports
    line = "Epoch {}, Loss: {}".format
    with (
        training,
        Reporter(verbose, lambda i, loss: line(i + 1, loss), epochs, callback, samples, comm) as reporter,
    ):
        train_in_stretches(epochs, operations, stretch, reporter, model, params, losses, kept)
    return losses
