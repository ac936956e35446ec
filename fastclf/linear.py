"""Section 1 of the lab: the linear classifier as functions, sigmoid or softmax, by batch descent or per-sample SGD.

``train_model`` is where the time goes, and it runs in kernels. The small functions are the lab's building blocks, for
those who write their own loop; they are NumPy, behind the same checks.

Where this differs from the lab, on purpose: one-dimensional ``y`` works where ``multiclass`` is False (the lab broadcasts
it to an (m, m) matrix without a word), and bad input raises a clear error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _threads, reference
from ._inputs import NormalDraws, as_array, as_count, as_matrix, as_numbers, as_scalar, as_targets, real_dtype
from .network import CLIPPED, LossRule, Network, output_block, round_up, settings
from .progress import Callback, Reporter, train_in_stretches

_FLOAT64 = np.dtype(np.float64)

# Few features and classes: samples, or in SGD classes, become the lanes of vectors (see kernels.linear, kernels.sgd).
_NARROW_FEATURES = 32
_NARROW_SGD_FEATURES = 96
_NARROW_BLOCK = 1024  # samples that the narrow kernels hold transposed at a time
_ROWS_PER_CHUNK = 64  # at least; chunks have gradients of their own, added in order
_MAX_CHUNKS = 64
_BLOCK_BYTES = 256 * 1024  # of X, per block of rows: stays in the second-level cache
_SGD_OPERATIONS = 2e9  # in one call of a kernel that can not be interrupted: a fraction of a second


def add_bias_term(X: ArrayLike) -> NDArray[np.float64]:
    """Put a column of ones before the features, so that theta's row 0 is the bias.

    Parameters
    ----------
    X : array-like of shape (m, n)
        Samples as rows.

    Returns
    -------
    ndarray of float64, shape (m, n + 1)

    Raises
    ------
    TypeError, ValueError
        If X is not a finite matrix of numbers.
    """
    return reference.add_bias_term(as_matrix(X, "X", _FLOAT64))


def initialize_parameters(
    X: ArrayLike, y: ArrayLike, multiclass: bool, *, random_state: Any = None, dtype: DTypeLike = np.float64
) -> NDArray[Any]:
    """Small random parameters: 0.01 times standard normal draws, made in one call.

    Parameters
    ----------
    X : array-like of shape (m, n)
        The samples; with the bias column, if there is to be a bias.
    y : array-like of shape (m, c)
        Targets; c is read from it where ``multiclass``.
    multiclass : bool
        False makes one column.
    random_state : None, int, RandomState or Generator, optional
        None draws from NumPy's global generator, as the lab does.
    dtype : float64 or float32

    Returns
    -------
    ndarray of shape (n, c), or (n, 1)

    Raises
    ------
    TypeError, ValueError
        If X or y is not an array of the right dimension.
    """
    n_columns = as_array(X, "X").shape[-1:]
    if not n_columns:
        raise ValueError("X must be 2-dimensional, got a number")
    if multiclass and as_array(y, "y").ndim != 2:
        raise ValueError(f"y must have shape (m, n_classes) where multiclass is True, got {np.shape(y)}")
    n_classes = np.shape(y)[1] if multiclass else 1
    return (0.01 * NormalDraws(random_state)(n_columns[0], n_classes)).astype(real_dtype(dtype), copy=False)


def linear_prediction(X: ArrayLike, theta: ArrayLike) -> NDArray[np.float64]:
    """Scores X theta.

    Parameters
    ----------
    X : array-like of shape (m, n)
    theta : array-like of shape (n, c)

    Returns
    -------
    ndarray of float64, shape (m, c)

    Raises
    ------
    TypeError, ValueError
        If either is not a finite matrix, or their inner dimensions differ.
    """
    weights = as_matrix(theta, "theta", _FLOAT64)
    return as_matrix(X, "X", _FLOAT64, n_columns=len(weights)) @ weights


def sigmoid(z: ArrayLike) -> NDArray[np.float64]:
    """1 / (1 + e^-z), element by element; 0 and 1 at the far ends, without a warning.

    Parameters
    ----------
    z : array-like

    Returns
    -------
    ndarray of float64, of z's shape
    """
    with np.errstate(over="ignore"):
        return reference.sigmoid(as_array(z, "z").astype(np.float64))


def softmax(z: ArrayLike) -> NDArray[np.float64]:
    """e^z_k / sum_j e^z_j along axis 1, with each row's maximum subtracted first.

    Parameters
    ----------
    z : array-like of shape (m, c)

    Returns
    -------
    ndarray of float64, shape (m, c); rows sum to 1

    Raises
    ------
    TypeError, ValueError
        If z is not a finite matrix.
    """
    return reference.softmax(as_matrix(z, "z", _FLOAT64))


def _targets_and_predictions(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    y, p = as_numbers(y_true, "y_true", _FLOAT64), as_numbers(y_pred, "y_pred", _FLOAT64)
    if y.size == p.size and 1 in (y.ndim, p.ndim):  # a column and a vector: the lab would broadcast them to a matrix
        y, p = y.reshape(-1, 1), p.reshape(-1, 1)
    if y.shape != p.shape or y.size == 0:
        raise ValueError(f"y_true and y_pred must have one shape, and not be empty, got {y.shape} and {p.shape}")
    return y, p


def binary_cross_entropy_loss(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean of -(y log p + (1 - y) log(1 - p)), with p clipped to [1e-15, 1 - 1e-15].

    Parameters
    ----------
    y_true, y_pred : array-like of shape (m, 1) or (m,)
        Targets and probabilities.

    Returns
    -------
    float
        The loss, in nats.

    Raises
    ------
    TypeError, ValueError
        If the two differ in size, or are not finite.
    """
    return float(reference.binary_cross_entropy_loss(*_targets_and_predictions(y_true, y_pred)))


def categorical_cross_entropy_loss(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """-(1/m) sum y log p, with p clipped to [1e-15, 1 - 1e-15].

    Parameters
    ----------
    y_true, y_pred : array-like of shape (m, c)
        Target distributions and probabilities.

    Returns
    -------
    float
        The loss, in nats.

    Raises
    ------
    TypeError, ValueError
        If the two differ in shape, or are not finite.
    """
    return float(reference.categorical_cross_entropy_loss(*_targets_and_predictions(y_true, y_pred)))


def gradient_descent_step(
    X: ArrayLike, y: ArrayLike, predictions: ArrayLike, theta: ArrayLike, learning_rate: float, multiclass: bool
) -> NDArray[np.float64]:
    """Theta - learning_rate (1/m) X^T (predictions - y).

    Parameters
    ----------
    X : array-like of shape (m, n)
        Samples, with the bias column if theta has a bias.
    y : array-like of shape (m, c)
        Targets; (m,) is taken as one column where ``multiclass`` is False.
    predictions : array-like of y's shape
        Probabilities.
    theta : array-like of shape (n, c)
        Not modified.
    learning_rate : float
    multiclass : bool

    Returns
    -------
    ndarray of float64, shape (n, c)

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit, or a number is not finite.
    """
    weights = as_matrix(theta, "theta", _FLOAT64)
    samples = as_matrix(X, "X", _FLOAT64, n_columns=len(weights))
    targets = as_targets(y, "y", len(samples), _FLOAT64, multiclass)
    p = as_numbers(predictions, "predictions", _FLOAT64)
    p = p.reshape(-1, 1) if p.ndim == 1 else p
    for name, array in (("y", targets), ("predictions", p)):
        if array.shape != (len(samples), weights.shape[1]):
            raise ValueError(f"{name} must have shape {(len(samples), weights.shape[1])}, got {array.shape}")
    rate = as_scalar(learning_rate, "learning_rate")
    return reference.gradient_descent_step(samples, targets, p, weights, rate, multiclass)


def stochastic_gradient_descent_step(
    X: ArrayLike, y: ArrayLike, theta: ArrayLike, learning_rate: float, multiclass: bool
) -> NDArray[np.float64]:
    """One pass over the rows in order: theta <- theta - learning_rate x^T (activation(x theta) - y) for each.

    Parameters
    ----------
    X : array-like of shape (m, n)
        Samples, with the bias column if theta has a bias.
    y : array-like of shape (m, c)
        Targets; (m,) is taken as one column where ``multiclass`` is False.
    theta : array-like of shape (n, c)
        Not modified.
    learning_rate : float
    multiclass : bool
        Softmax if True, sigmoid if False.

    Returns
    -------
    ndarray of float64, shape (n, c)

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit, or a number is not finite.
    """
    weights = as_matrix(theta, "theta", _FLOAT64)
    samples = as_matrix(X, "X", _FLOAT64, n_columns=len(weights))
    targets = as_targets(y, "y", len(samples), _FLOAT64, multiclass)
    if targets.shape[1] != weights.shape[1]:
        raise ValueError(f"y must have shape {(len(samples), weights.shape[1])}, got {targets.shape}")
    rate = as_scalar(learning_rate, "learning_rate")
    # The kernels have a bias of their own, which a matrix with a column of ones does not want: give it no say.
    trainer = trainer_for(samples, targets.shape[1], sigmoid=not multiclass, batch=False, targets=targets, bias=False)
    trainer.set_theta(np.vstack([np.zeros((1, weights.shape[1])), weights]))
    trainer.sgd(rate, 1, with_loss=False)
    return trainer.theta()[1:]


def train_model(
    X: ArrayLike,
    y: ArrayLike,
    learning_rate: float = 0.01,
    iterations: int = 1000,
    batch: bool = True,
    multiclass: bool = False,
    *,
    dtype: DTypeLike = np.float64,
    random_state: Any = None,
    verbose: bool | str = True,
    callback: Callback | None = None,
    n_jobs: int | None = None,
) -> tuple[NDArray[Any], list[float]]:
    """Train a linear classifier: full-batch gradient descent, or per-sample SGD over the rows in order.

    Each iteration computes the loss of all the data and then updates the parameters, once (``batch``) or once per sample.

    Parameters
    ----------
    X : array-like of shape (m, n)
        Samples, without a bias column. Any dtype, order and strides; a torch tensor on the CPU will do.
    y : array-like of shape (m, c)
        A target distribution per sample where ``multiclass`` (one-hot, or any other); otherwise probabilities of the
        positive class, (m, 1) or (m,).
    learning_rate : float
    iterations : int
    batch : bool
        True for gradient descent on all samples, False for a pass of SGD per iteration.
    multiclass : bool
        Softmax and categorical cross-entropy if True, sigmoid and binary cross-entropy if False.
    dtype : float64 or float32
        What to compute in; float32 is faster.
    random_state : None, int, RandomState or Generator, optional
        Where the initial parameters come from; None is NumPy's global generator, as in the lab.
    verbose : bool or "bar"
        True prints ``Iteration {i}/{iterations}, Loss: {loss:.4f}`` every 100 iterations, "bar" shows a progress bar.
    callback : callable, optional
        ``callback(iteration, loss, theta)`` after each iteration; a true result stops the training.
    n_jobs : int, optional
        Threads; None for all. The results are the same bits for any number.

    Returns
    -------
    theta : ndarray of shape (n + 1, c)
        Row 0 is the bias.
    losses : list of float
        The loss before each update, in nats.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described above; the message names it.

    Notes
    -----
    The losses are the lab's: -(1/m) sum y log p, or the binary form, with p clipped to [1e-15, 1 - 1e-15]; the update is
    theta - learning_rate (1/m) X^T (p - y), or the same for one row.
    """
    real = real_dtype(dtype)
    samples = as_matrix(X, "X", real)
    targets = as_targets(y, "y", len(samples), real, multiclass)
    rate, iterations = as_scalar(learning_rate, "learning_rate"), as_count(iterations, "iterations")
    n_features, n_classes = samples.shape[1], targets.shape[1]
    trainer = trainer_for(samples, n_classes, sigmoid=not multiclass, batch=batch, targets=targets, n_jobs=n_jobs)
    trainer.set_theta(0.01 * NormalDraws(random_state)(n_features + 1, n_classes))
    step = trainer.descend if batch else trainer.sgd

    def line(i: int, loss: float) -> str | None:
        return f"Iteration {i}/{iterations}, Loss: {loss:.4f}" if i % 100 == 0 else None

    with Reporter(verbose, line, iterations, callback) as reporter:
        operations = 6.0 * samples.size * n_classes
        losses = train_in_stretches(iterations, operations, lambda k: step(rate, k), reporter, trainer.theta)
    return trainer.theta(), losses


# ---------------------------------------------------------------- from arrays to kernels


_NO_LABELS = np.empty(0, np.int64)


class _Trainer:
    """One linear model on one data set, ready to be trained: the arguments of the kernels, laid out once.

    ``labels`` (m,) or ``targets`` (m, c) are the targets, the other is None.
    """

    def __init__(
        self,
        X: NDArray[Any],
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
        self.targets = np.empty(0, X.dtype) if targets is None else targets.reshape(-1)
        self.threads = _threads.for_work(6.0 * X.size * n_classes, n_jobs)
        self.order = np.arange(len(X))
        # A power of two that depends on the shape alone, so that sums are cut alike for any number of threads.
        self.chunks = min(_MAX_CHUNKS, 1 << max(0, (len(X) // _ROWS_PER_CHUNK).bit_length() - 1))

    def _settings(self, learning_rate: float) -> NDArray[Any]:
        return settings(self.X.dtype, learning_rate, self.rule, bias=self.bias)

    def _zeros(self, *shape: int) -> NDArray[Any]:
        return np.zeros(shape, self.X.dtype)

    def _scratch(self, width: int) -> None:
        """A block of the last layer's scratch, for so many samples, for each chunk."""
        self.width = width
        self.S = self._zeros(self.chunks * output_block(self.n_classes, width))
        self.chunk_loss = np.zeros(self.chunks)


class WideTrainer(_Trainer):
    """Any shape: parameters as a network of one layer."""

    def __init__(self, *args: Any, network: Network | None = None) -> None:
        super().__init__(*args)
        (m, n), c = self.X.shape, self.n_classes
        self.network = network or Network((n, c), self.X.dtype)
        block = min(round_up(-(-m // self.chunks)), max(16, _BLOCK_BYTES // (n * self.X.itemsize) // 16 * 16))
        self.G = self._zeros(self.chunks, len(self.network.params))
        self._scratch(block)

    def theta(self) -> NDArray[Any]:
        """Parameters as the lab has them, (n + 1, c), a copy."""
        return np.vstack([self.network.biases[0], self.network.weights[0].T])

    def set_theta(self, theta: NDArray[Any]) -> None:
        self.network.biases[0][:], self.network.weights[0][:] = theta[0], theta[1:].T

    def descend(self, learning_rate: float, repeats: int, update: bool = True) -> NDArray[np.float64]:
        """Steps on all samples; the loss before each. Without ``update``, the loss alone."""
        from .kernels import linear

        losses = np.empty(repeats)
        linear.wide(
            self.X, self.order, self.labels, self.targets, self.network.params, self.network.layout, self.G, self.S,
            self.chunk_loss, losses, self._settings(learning_rate), self.width, repeats, update, self.sigmoid,
            threads=self.threads,
        )  # fmt: skip
        return losses

    def sgd(self, learning_rate: float, repeats: int, with_loss: bool = True) -> NDArray[np.float64]:
        """Passes of per-sample SGD; the loss before each."""
        from .kernels import sgd

        losses = np.empty(repeats)
        z, u, g = self._zeros(3, round_up(self.n_classes))
        numbers = self._settings(learning_rate)
        rows = max(1, int(_SGD_OPERATIONS / (4 * self.X.shape[1] * self.n_classes)))
        for i in range(repeats):
            if with_loss:
                losses[i] = self.descend(0.0, 1, update=False)[0]
            for start in range(0, len(self.order), rows):
                sgd.wide(
                    self.X, self.order[start : start + rows], self.labels, self.targets, self.network.params,
                    self.network.layout, z, u, g, numbers, self.sigmoid,
                )  # fmt: skip
        return losses


class NarrowTrainer(_Trainer):
    """Few features and classes: parameters as theta, its rows padded to a vector."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        from .kernels.target import TARGET

        self._arguments = args
        self._wide: WideTrainer | None = None
        (m, n), c, lanes = self.X.shape, self.n_classes, TARGET.lanes(self.X.itemsize)
        self.few = c <= 4  # classes: a vector of four lanes is summed in fewer steps
        if m <= _NARROW_BLOCK:
            self.chunks = 1
        width = min(_NARROW_BLOCK, round_up(-(-m // self.chunks)))
        self.padded = self._zeros(n + 1, 4 if self.few else lanes)
        self.XT, self.G = self._zeros(self.chunks * n, width), self._zeros(self.chunks * (n + 1), c)
        self.hot = np.eye(max(c, 2), self.padded.shape[1], k=-1 if self.sigmoid else 0, dtype=self.X.dtype).reshape(-1)
        self._scratch(width)

    def theta(self) -> NDArray[Any]:
        """Parameters as the lab has them, (n + 1, c), a copy."""
        return self.padded[:, : self.n_classes].copy()

    def set_theta(self, theta: NDArray[Any]) -> None:
        self.padded[:, : self.n_classes] = theta

    def descend(self, learning_rate: float, repeats: int, update: bool = True) -> NDArray[np.float64]:
        """Steps on all samples; the loss before each. Without ``update``, the loss alone."""
        from .kernels import linear

        losses = np.empty(repeats)
        linear.narrow(
            self.X, self.order, self.labels, self.targets, self.padded, self.G, self.XT, self.S,
            self.chunk_loss, losses, self._settings(learning_rate), self.n_classes, repeats, update, self.sigmoid,
            threads=self.threads,
        )  # fmt: skip
        return losses

    def sgd(self, learning_rate: float, repeats: int, with_loss: bool = True) -> NDArray[np.float64]:
        """Passes of per-sample SGD; the loss before each."""
        from .kernels import sgd

        run = sgd.narrow4 if self.few else sgd.narrow
        fits = len(self.X) <= self.XT.shape[1]
        losses = np.empty(repeats)
        for i in range(1 if fits or not with_loss else repeats):
            if with_loss and not fits:
                losses[i] = self._wide_loss()
            run(
                self.X, self.order, self.labels, self.targets, self.hot, self.padded, self.XT, self.S,
                losses, self._settings(learning_rate), self.n_classes, repeats if fits or not with_loss else 1,
                with_loss and fits, self.sigmoid,
            )  # fmt: skip
        return losses

    def _wide_loss(self) -> float:
        """The loss of more samples than a block holds, whose transpose would have to be made anew for every pass."""
        if self._wide is None:
            self._wide = WideTrainer(*self._arguments)
        self._wide.set_theta(self.theta())
        return float(self._wide.descend(0.0, 1, update=False)[0])


def trainer_for(
    X: NDArray[Any],
    n_classes: int,
    *,
    sigmoid: bool,
    batch: bool,
    labels: NDArray[np.int64] | None = None,
    targets: NDArray[Any] | None = None,
    rule: LossRule = CLIPPED,
    bias: bool = True,
    n_jobs: int | None = None,
) -> WideTrainer | NarrowTrainer:
    """The trainer whose kernels suit the shape, for ``batch`` descent or for SGD.

    Without ``bias``, row 0 of theta stays as it is set.
    """
    from .kernels.target import TARGET

    most = _NARROW_FEATURES if batch else _NARROW_SGD_FEATURES
    narrow = X.shape[1] <= most and n_classes <= TARGET.lanes(X.itemsize)
    kind = NarrowTrainer if narrow else WideTrainer
    return kind(X, labels, targets, n_classes, sigmoid, rule, bias, n_jobs)
