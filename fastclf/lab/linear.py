"""Section 1 of the lab: a linear classifier as functions, with sigmoid or softmax, full-batch steps or per-sample SGD.

``train_model`` takes nearly all of the time, so it runs in kernels. The small functions are the lab's building blocks, for
users who write their own training loop. All of them check their input; all but the SGD step run in NumPy.

Two differences from the lab are deliberate: ``y`` may be one-dimensional where ``multiclass`` is False (the lab silently
broadcasts it to an (m, m) matrix), and bad input raises a clear error.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import reference
from ..engine.descent import trainer_for
from ..engine.distributed import Alone, Shards, communicator, same_numbers
from ..engine.minibatch import Samples
from ..engine.progress import Callback, Reporter, train_in_stretches
from ..engine.rows import Rows
from ..inputs import as_array, as_count, as_floats, as_matrix, as_random, as_rows, as_scalar, as_targets, real_dtype
from ..io.checkpoint import checkpoint_of

_FLOAT64 = np.dtype(np.float64)


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
        Samples, with the bias column if the model is to have a bias.
    y : array-like of shape (m, c)
        Targets; their number of columns is c where ``multiclass`` is True.
    multiclass : bool
        If False, there is one column of parameters.
    random_state : None, int, RandomState or Generator, optional
        None draws from NumPy's global generator, as the lab does.
    dtype : float64 or float32

    Returns
    -------
    ndarray of shape (n, c), or (n, 1)

    Raises
    ------
    TypeError, ValueError
        If X or y is not an array with the right number of dimensions.
    """
    n_columns = as_array(X, "X").shape[-1:]
    if not n_columns:
        raise ValueError("X must be 2-dimensional, got a number")
    if multiclass and as_array(y, "y").ndim != 2:
        raise ValueError(f"y must have shape (m, n_classes) where multiclass is True, got {np.shape(y)}")
    n_classes = np.shape(y)[1] if multiclass else 1
    theta = 0.01 * as_random(random_state).standard_normal((n_columns[0], n_classes))
    return theta.astype(real_dtype(dtype), copy=False)


def linear_prediction(X: ArrayLike, theta: ArrayLike) -> NDArray[np.float64]:
    """The scores X theta.

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
    """1 / (1 + e^-z), element by element, without an overflow warning for very negative z.

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
    y, p = as_floats(y_true, "y_true", _FLOAT64), as_floats(y_pred, "y_pred", _FLOAT64)
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
    """The parameters after one step: theta - learning_rate (1/m) X^T (predictions - y).

    Parameters
    ----------
    X : array-like of shape (m, n)
        Samples, with the bias column if theta has a bias.
    y : array-like of shape (m, c)
        Targets. Where ``multiclass`` is False, they may have the shape (m,).
    predictions : array-like of y's shape
        Probabilities.
    theta : array-like of shape (n, c)
        Parameters, not modified.
    learning_rate : float
    multiclass : bool

    Returns
    -------
    ndarray of float64, shape (n, c)

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit, or a value is not finite.
    """
    weights = as_matrix(theta, "theta", _FLOAT64)
    samples = as_matrix(X, "X", _FLOAT64, n_columns=len(weights))
    targets = as_targets(y, "y", len(samples), _FLOAT64, multiclass)
    p = as_floats(predictions, "predictions", _FLOAT64)
    p = p.reshape(-1, 1) if p.ndim == 1 else p
    for name, array in (("y", targets), ("predictions", p)):
        if array.shape != (len(samples), weights.shape[1]):
            raise ValueError(f"{name} must have shape {(len(samples), weights.shape[1])}, got {array.shape}")
    rate = as_scalar(learning_rate, "learning_rate")
    return reference.gradient_descent_step(samples, targets, p, weights, rate, multiclass)


def stochastic_gradient_descent_step(
    X: ArrayLike, y: ArrayLike, theta: ArrayLike, learning_rate: float, multiclass: bool
) -> NDArray[np.float64]:
    """One step per sample, in order: theta <- theta - learning_rate x^T (activation(x theta) - y).

    Parameters
    ----------
    X : array-like of shape (m, n)
        Samples, with the bias column if theta has a bias.
    y : array-like of shape (m, c)
        Targets. Where ``multiclass`` is False, they may have the shape (m,).
    theta : array-like of shape (n, c)
        Parameters, not modified.
    learning_rate : float
    multiclass : bool
        Softmax if True, sigmoid if False.

    Returns
    -------
    ndarray of float64, shape (n, c)

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit, or a value is not finite.
    """
    weights = as_matrix(theta, "theta", _FLOAT64)
    samples = as_matrix(X, "X", _FLOAT64, n_columns=len(weights))
    targets = as_targets(y, "y", len(samples), _FLOAT64, multiclass)
    if targets.shape[1] != weights.shape[1]:
        raise ValueError(f"y must have shape {(len(samples), weights.shape[1])}, got {targets.shape}")
    rate = as_scalar(learning_rate, "learning_rate")
    # The kernels keep the bias apart from X. Here X itself may hold the column of ones, so their bias stays 0.
    rows = Samples(Rows(samples, _FLOAT64), targets=targets)
    trainer = trainer_for(rows, targets.shape[1], sigmoid=not multiclass, bias=False)
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
    scale: float = 1.0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | timedelta = 1,
    resume: bool = False,
    process_group: Any = None,
    sync_every: int | None = None,
) -> tuple[NDArray[Any], list[float]]:
    """Train a linear classifier by full-batch gradient descent, or by per-sample SGD over the samples in order.

    Each iteration computes the loss of all samples and then updates the parameters, once (``batch``) or once per sample.

    Parameters
    ----------
    X : array-like of shape (m, n)
        Samples without a bias column: an array of any dtype, order and strides, or a torch tensor on the CPU. Bytes (uint8)
        and memory-mapped files (``np.memmap``) of float32 or float64 are read as they are stored: the set is not copied.
    y : array-like of shape (m, c)
        Where ``multiclass`` is True, a target distribution per sample, one-hot or any other. Otherwise the probability
        of the positive class, of shape (m, 1) or (m,).
    learning_rate : float
    iterations : int
    batch : bool
        True makes an iteration one gradient step on all samples, False makes it one pass of per-sample SGD.
    multiclass : bool
        Softmax and categorical cross-entropy if True, sigmoid and binary cross-entropy if False.
    dtype : float64 or float32
        Dtype of the parameters and of the computation; float32 is faster.
    random_state : None, int, RandomState or Generator, optional
        Source of the initial parameters; None takes NumPy's global generator, as in the lab.
    verbose : bool or "bar"
        True prints ``Iteration {i}/{iterations}, Loss: {loss:.4f}`` every 100 iterations, "bar" shows a progress bar.
    callback : callable, optional
        ``callback(iteration, loss, theta)`` after each iteration; a true result stops the training.
    n_jobs : int, optional
        Number of threads; None takes all. The results are bit-identical for any number.
    scale : float
        Factor for X if it holds bytes (uint8); 1/255 brings pixels into [0, 1].
    checkpoint : str or os.PathLike, optional
        A file that receives the run's state, so that a run whose process is killed can go on with the same bits.
    checkpoint_every : int or datetime.timedelta
        How many iterations, or how much time, may pass from one checkpoint to the next.
    resume : bool
        Go on from ``checkpoint``, if the file is there. It must be of a run with the same data and arguments, but for
        the number of iterations.
    process_group : True or ProcessGroup, optional
        Train with the other ranks of a group of torch.distributed; True is the default group. X and y are this rank's shard,
        which may be empty. Full-batch steps are on the samples of all ranks; rank 0 draws the initial parameters.
    sync_every : int, optional
        For SGD in a group: each rank trains on its own samples, and after so many, by default 1000, takes the average of all
        ranks' parameters. The smaller, the closer to SGD on one rank, and the more time goes into the exchange.

    Returns
    -------
    theta : ndarray of shape (n + 1, c)
        Row 0 is the bias.
    losses : list of float
        The loss before each update, in nats.

    Raises
    ------
    TypeError, ValueError
        If an argument does not match its description; the message names the argument.

    Warns
    -----
    TrainingInterruptedWarning, TrainingDivergedWarning
        If the user presses Ctrl-C, or a loss or a parameter becomes infinite or NaN. Training ends there; theta and the
        losses are what they have become, and after a divergence, theta is the last one that was finite.

    Notes
    -----
    The losses are the lab's: -(1/m) sum y log p, or its binary form, with p clipped to [1e-15, 1 - 1e-15]. A full-batch
    step gives theta - learning_rate (1/m) X^T (p - y); a step of SGD is the same with m = 1.
    """
    comm = communicator(process_group, sync_every)
    options = {"dtype": dtype, "random_state": random_state, "n_jobs": n_jobs, "scale": scale}
    kinds, reports, wish = (batch, multiclass), (verbose, callback), (checkpoint, checkpoint_every, resume)
    with comm.together():
        return _train((X, y), learning_rate, iterations, kinds, options, reports, wish, comm)


def _train(
    data: tuple[Any, Any],
    learning_rate: float,
    iterations: int,
    kinds: tuple[bool, bool],
    options: dict[str, Any],
    reports: tuple[bool | str, Callback | None],
    wish: tuple[Any, Any, bool],
    comm: Alone,
) -> tuple[NDArray[Any], list[float]]:
    (X, y), (batch, multiclass), (verbose, callback), n_jobs = data, kinds, reports, options["n_jobs"]
    real = real_dtype(options["dtype"])
    scale = as_scalar(options["scale"], "scale")
    rows = as_rows(X, "X", real, n_jobs=n_jobs, scale=scale, may_be_empty=comm.grouped)
    targets = as_targets(y, "y", len(rows), real, multiclass)
    rate, iterations = as_scalar(learning_rate, "learning_rate"), as_count(iterations, "iterations")
    n_features, n_classes = rows.shape[1], targets.shape[1]
    if comm.grouped:
        comm.agree(number_of_features=n_features, number_of_classes=n_classes, dtype=real.name,
                   dtype_of_X=rows.array.dtype.name, learning_rate=rate, iterations=iterations, batch=bool(batch),
                   multiclass=bool(multiclass), sync_every=comm.sync_every)  # fmt: skip
        Shards.of(comm, len(rows))  # raises if all are empty
        n_jobs = comm.threads(n_jobs)
    trainer = trainer_for(Samples(rows, targets=targets), n_classes, sigmoid=not multiclass, n_jobs=n_jobs, comm=comm)
    trainer.set_theta(0.01 * as_random(options["random_state"]).standard_normal((n_features + 1, n_classes)))
    same_numbers(comm, trainer.params)
    step = trainer.descend if batch else trainer.sgd

    def line(i: int, loss: float) -> str | None:
        return f"Iteration {i}/{iterations}, Loss: {loss:.4f}" if i % 100 == 0 else None

    losses: list[float] = []
    run = {"trainer": "train_model", "learning_rate": rate, "batch": bool(batch), "multiclass": bool(multiclass)}
    kept = checkpoint_of(*wish, run, (rows.array, targets), comm)
    with Reporter(verbose, line, iterations, callback, len(rows), comm) as reporter:
        train_in_stretches(
            iterations,
            trainer.operations,
            lambda k: step(rate, k),
            reporter,
            trainer.theta,
            trainer.params,
            losses,
            kept,
        )
    return trainer.theta(), losses
