"""A multi-layer perceptron with scikit-learn's interface."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from datetime import timedelta
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import check_is_fitted

from ..engine.distributed import ALONE, Alone, Shards, communicator, same_numbers, same_random
from ..engine.lbfgs import minimise
from ..engine.losses import EXACT
from ..engine.mapped import shuffled
from ..engine.minibatch import BatchTrainer, Results, Samples, Workspace, rows_per_call
from ..engine.network import Network
from ..engine.optimisers import SGD, Adam
from ..engine.progress import Reporter, all_finite, copy_into, warn_diverged, warn_interrupted
from ..engine.ranks import per_rank, trainer_on
from ..engine.schedules import Plateau, StepDecay
from ..engine.threads import threads_for
from ..inputs import NETWORK_DTYPES, as_order, precision
from ..io.checkpoint import Checkpoint, SharedCheckpoint, set_random, state_of_random
from ..io.layers import Layer, layers_of
from ..kernels.codes import ACTIVATIONS, FORWARD, LOSS, MARK
from ..kernels.records import Settings
from ..kernels.warning import warn_user
from .base import (
    Best,
    FastClassifier,
    HeldOut,
    Kept,
    all_or_nothing,
    as_vector,
    available_if,
    clipped,
    fit_context,
    with_callbacks,
)
from .proof import check_finite_network, check_network, class_numbers, network_shown
from .state import mlp_state, restore_mlp, with_two_scores

if TYPE_CHECKING:
    from typing_extensions import Self

_CURVES = (
    "loss_curve_", "loss_", "best_loss_", "validation_scores_", "best_validation_score_", "validation_loss_curve_",
)  # fmt: skip
_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_PREDICT_ROWS = 1024  # in a batch of predictions, at most
_PREDICT_NUMBERS = 1 << 18  # in the widest layer's activations of a batch, at most: they stay in the L2 cache


def _line(epoch: int, loss: float) -> str:
    """What scikit-learn prints after an epoch."""
    return f"Iteration {epoch + 1}, loss = {loss:.8f}"


def _is_stochastic(classifier: FastMLPClassifier) -> bool:
    """True; raises AttributeError if the solver can not train in batches."""
    if classifier.solver == "lbfgs":
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {classifier.solver} is not stochastic."
        )
    return True


class FastMLPClassifier(FastClassifier):
    """Multi-layer perceptron, trained on the log-loss by mini-batch SGD, Adam or L-BFGS in compiled kernels.

    The parameters up to ``max_fun`` are those of scikit-learn's ``MLPClassifier``, with the same defaults and meaning;
    the others are new. From the same weights and on the same batches, both take the same steps up to rounding.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(100,)
        Units of each hidden layer.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Of the hidden layers.
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        "lbfgs" is scipy's L-BFGS on all samples, in float64 unless ``dtype`` says otherwise. It has no ``partial_fit``,
        ``clip_threshold``, ``dropout`` or checkpoints, and does not stop early.
    alpha : float, default=0.0001
        Strength of the L2 penalty; as in scikit-learn, each step divides it by the total weight of its samples.
    batch_size : int or "auto", default="auto"
        Samples per step; "auto" is min(200, n_samples).
    learning_rate : {"constant", "invscaling", "adaptive", "step"}, default="constant"
        Schedule for solver "sgd", as in scikit-learn; "step" multiplies the rate by ``gamma`` every ``step_size`` epochs,
        for both solvers.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Maximum number of epochs.
    shuffle : bool or "blocks", default=True
        Draw a new order of the samples for each epoch. "blocks" draws whole blocks of about a megabyte, and shuffles a few
        dozen of them together, so that a file is read in large pieces; so does True for a memory-mapped file that is larger
        than half of the free memory.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the validation split, the shuffling and the dropout.
    tol : float, default=1e-4
        Training ends when the loss, or the validation score, has not improved by tol for ``n_iter_no_change`` epochs.
    verbose : bool or "bar", default=False
        True prints a line per epoch, "bar" shows a progress bar.
    warm_start : bool, default=False
        Let ``fit`` continue from the weights of the previous call.
    momentum : float, default=0.9
    nesterovs_momentum : bool, default=True
        For solver "sgd".
    early_stopping : bool, default=False
        End training by the accuracy on a ``validation_fraction`` of the data, or by the loss on ``X_val`` if that is given.
    validation_fraction : float, default=0.1
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        For solver "adam".
    n_iter_no_change : int, default=10
    max_fun : int, default=15000
        Maximum number of evaluations of the loss, for solver "lbfgs".
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, which multiply ``sample_weight``.
    clip_threshold : float or None, default=None
        Clip every component of the gradient to [-clip_threshold, clip_threshold]; None does not clip.
    dropout : float, default=0.0
        Probability that a hidden unit is left out in a step.
    step_size : int, default=10
    gamma : float, default=0.5
        For the schedule "step".
    scale : float or None, default=1.0
        Factor for X if it holds bytes (uint8), or, where it is not 1, other whole numbers from 0 to 255. 1/255 brings pixels
        into [0, 1]. None is 1.
    dtype : {"float32", "float64", "bfloat16"} or None, default=None
        What to compute in; None is X's dtype, and float32 if X holds bytes. With "bfloat16", the operands of products are
        rounded to bfloat16, and all else is float32: faster on processors that multiply bfloat16.
    n_jobs : int or None, default=None
        Number of threads; None and -1 take all. The results are bit-identical for any number.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer, in the dtype of the computation; float32 for "bfloat16".
    intercepts_ : list of ndarray of shape (n_out,)
    loss_, best_loss_ : float
        Loss of the last epoch, and the lowest; in nats, with the penalty. ``best_loss_`` is None if accuracy ends training.
    loss_curve_ : list of float
        Mean loss of each epoch; each batch counts as before its update.
    validation_scores_, best_validation_score_ : list of float, float
        Accuracy on the validation data after each epoch, and the best of these; None without validation data.
    validation_loss_curve_ : list of float
        Mean loss on the validation data after each epoch, without the penalty.
    n_iter_, t_ : int
        Numbers of epochs and of samples trained on.
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.
    encoding_ : list of (str or None, list of str or None)
        Only of a model that ``fastclf train`` has trained on a table: the name of each of its columns and, of a column of
        text, its categories.
    scale_ : float
        Factor for bytes.
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({*ACTIVATIONS})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", "step"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean", StrOptions({"blocks"})],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose", StrOptions({"bar"})],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "clip_threshold": [Interval(Real, 0, None, closed="neither"), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "step_size": [Interval(Integral, 1, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "scale": [Interval(Real, 0, None, closed="neither"), None],
        "dtype": [StrOptions({*NETWORK_DTYPES}), None],
        "n_jobs": [Integral, None],
    }

    _parameter_names = ("coefs_", "intercepts_")
    _activations = (*ACTIVATIONS,)
    _optimiser: Any

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool | str = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | str = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Any = None,
        clip_threshold: float | None = None,
        dropout: float = 0.0,
        step_size: int = 10,
        gamma: float = 0.5,
        scale: float | None = 1.0,
        dtype: str | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.class_weight = class_weight
        self.clip_threshold = clip_threshold
        self.dropout = dropout
        self.step_size = step_size
        self.gamma = gamma
        self.scale = scale
        self.dtype = dtype
        self.n_jobs = n_jobs

    # ------------------------------------------------------------ fitting

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | timedelta = 1,
        resume: bool = False,
        process_group: Any = None,
        sync_every: int | None = None,
        compress: str | None = None,
    ) -> Self:
        """Train on X and y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            C-ordered arrays of float32, float64 or uint8 are not copied; other dtypes become float64. Sparse matrices become
            CSR, and are never made dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes; for multi-label data, a matrix of 0 and 1.
        sample_weight : array-like of shape (n_samples,), optional
        X_val, y_val : array-like, optional
            Validation data. ``fit`` records their loss and accuracy after every epoch, and keeps the weights of the epoch
            with the lowest validation loss. With ``early_stopping``, training ends when that loss stops improving.
        sample_weight_val : array-like, optional
            Weights of the validation samples.
        checkpoint : str or os.PathLike, optional
            A file that receives the run's state, so that a run whose process is killed can go on with the same bits.
        checkpoint_every : int or datetime.timedelta
            How many epochs, or how much time, may pass from one checkpoint to the next.
        resume : bool
            Go on from ``checkpoint``, if the file is there. It must be of a run with the same data and parameters, but for
            ``max_iter``, ``n_jobs`` and ``verbose``.
        process_group : True or ProcessGroup, optional
            Train with the other ranks of a group of torch.distributed; True is the default group. X, y and the validation
            data are this rank's shards, which may be empty. The model is that of one process with all samples, the shards
            one after the other: ``batch_size`` samples of all ranks form a batch. Not for solver "lbfgs".
        sync_every : int, optional
            In a group: let each rank take so many steps on its own samples of the batches, and then the average of all
            ranks' parameters. None: take every step together.
        compress : {"bfloat16"}, optional
            In a group: send gradients in bfloat16, and what the rounding has left over with the next ones. It halves what is
            sent of float32, for slow networks. Not with checkpoints, which would lack what is left over.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument does not match its description, or if training diverges.
        """
        validation = None if X_val is None and y_val is None else (X_val, y_val, sample_weight_val)
        wish, comm = (checkpoint, checkpoint_every, resume), communicator(process_group, sync_every, compress)
        with comm.together():
            return self._fit(X, y, sample_weight, validation, incremental=False, wish=wish, comm=comm)

    @available_if(_is_stochastic)
    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on the given data.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As for ``fit``.
        classes : array-like of shape (n_classes,), optional
            All classes that will ever occur; required in the first call.

        Returns
        -------
        self
        """
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(
                y if type_of_target(y).startswith("multilabel") else np.asarray(classes)
            )
        return self._fit(X, y, sample_weight, None, incremental=True)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: Any,
        *,
        incremental: bool,
        wish: tuple[Any, Any, bool] = (None, 1, False),
        comm: Alone = ALONE,
    ) -> Self:
        self._check_parameters(wish[0], comm)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        known = None if first else self._bound()
        X, y = self._check_both(X, y, first, comm)
        shards = Shards.of(comm, X.shape[0])
        self._take_classes(shards.labels(y), incremental)
        if first:
            self._note_scale()
        dtype = self._computing_dtype(X) if known is None else known.dtype
        weights = self._weights(sample_weight, y, X, dtype, shards)
        random = same_random(comm, check_random_state(self.random_state))
        if first:
            self._begin(X.shape[1], dtype, random)
        net = self._bound()
        same_numbers(comm, net.params)
        check_finite_network(net)
        if self.solver == "lbfgs":
            self._optimiser = None
        elif self._optimiser is None or not incremental or not self._optimiser.fits(net):
            self._optimiser = self._new_optimiser(net)

        samples, rows, held_out = self._samples(X, y, weights, net), np.arange(shards.total), None
        comm.agree(use_of_X_val=validation is not None, sync_every=comm.sync_every, compress=comm.compresses)
        if validation is not None:
            X_val, y_val, weights_val, of_val = self._check_validation(validation, dtype, comm)
            of_X_val = self._samples(X_val, y_val, weights_val, net)
            held_out = HeldOut(of_X_val, y_val, np.arange(of_val.total), False, of_val)
        elif self.early_stopping and not incremental and self.solver != "lbfgs":
            # As in scikit-learn, for the same split and the same words where there are too few samples.
            numbers = shards.of_all(class_numbers(self, y)) if self.n_outputs_ == 1 else None
            stratify = None if numbers is None else numbers.astype(bool)[:, None]
            rows, rows_val = train_test_split(
                rows, random_state=random, test_size=self.validation_fraction, stratify=stratify
            )
            if len(rows_val) < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
                )
            rows = rows if self.shuffle else np.sort(rows)
            held_out = HeldOut(samples, y, np.sort(rows_val), True, shards)
        if self.solver == "lbfgs":
            self._minimise((X, y), samples, held_out)
            return self
        checkpoint, order = self._checkpoint(*wish, X, y, sample_weight, comm=comm), np.ascontiguousarray(rows)
        self._train((X, y), samples, order, held_out, random, incremental, checkpoint, shards)
        return self

    def _check_parameters(self, checkpoint: Any, comm: Alone) -> None:
        if self.solver == "lbfgs":
            if comm.grouped:
                raise ValueError("process_group is for the solvers 'sgd' and 'adam', not for 'lbfgs'")
            for name, given in (
                ("clip_threshold", self.clip_threshold is not None),
                ("dropout", self.dropout > 0),
                ("dtype", self.dtype == "bfloat16"),
                ("checkpoint", checkpoint is not None),
            ):
                if given:
                    value = checkpoint if name == "checkpoint" else getattr(self, name)
                    raise ValueError(f"{name}={value!r} is for the solvers 'sgd' and 'adam', not for 'lbfgs'")
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object))
        if any(not isinstance(size, Integral) or size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {[*sizes]}.")

    def _take_classes(self, y: NDArray[Any], incremental: bool) -> None:
        """Learn the classes from y, or check y against the known classes."""
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return
        classes = unique_labels(y)
        if self.warm_start and not incremental:
            if {*classes.tolist()} != {*self.classes_.tolist()}:
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _begin(self, n_features: int, dtype: np.dtype[Any], random: np.random.RandomState) -> None:
        """Draw the weights as Glorot and Bengio (2010) do, and set all other attributes as before the first epoch."""
        multiclass = self._label_binarizer.y_type_ == "multiclass"
        self.out_activation_ = "softmax" if multiclass else "logistic"
        self.n_outputs_ = (
            1 if len(self.classes_) <= 2 and self._label_binarizer.y_type_ == "binary" else len(self.classes_)
        )
        hidden = [int(size) for size in np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object))]
        widths = n_features, *hidden, self.n_outputs_
        self.n_layers_, self.n_iter_, self.t_ = len(widths), 0, 0
        self._network = Network(widths, dtype, self.dtype == "bfloat16")
        self._optimiser = None
        for W, b in zip(self._network.weights, self._network.biases):
            bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / sum(W.shape))
            W[:] = random.uniform(-bound, bound, W.shape[::-1]).T
            b[:] = random.uniform(-bound, bound, len(b))
        self._bind()
        self.loss_curve_: list[float] = []
        self.best_loss_: float | None = math.inf
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_: float | None = None
        self.validation_loss_curve_: list[float] | None = None
        self._plateau: Plateau | None = None

    def _bind(self) -> None:
        """Set ``coefs_`` and ``intercepts_``, in scikit-learn's shapes, to views of the network's parameters."""
        self.coefs_ = [W.T for W in self._network.weights]
        self.intercepts_ = [*self._network.biases]
        self._shown = (*self.coefs_, *self.intercepts_)

    def _bound(self) -> Network:
        """The network, which is proved to fit ``classes_`` and the like, but may hold NaN.

        If the user or unpickling has replaced an array of ``coefs_`` or ``intercepts_``, the network takes its values.
        """
        network, shown = vars(self).get("_network"), (*self.coefs_, *self.intercepts_)
        own = vars(self).get("_shown", ())
        if network is None or len(shown) != len(own) or any(a is not b for a, b in zip(shown, own)):
            self._network = network_shown(shown, network)
            self._bind()
        check_network(self, self._network)
        self._network.compute(self.dtype == "bfloat16" and self._network.dtype == np.float32)
        self._network.activation = self.activation
        return self._network

    def _computing_dtype(self, X: Any) -> np.dtype[Any]:
        if self.dtype is None:
            return np.dtype(np.float64) if self.solver == "lbfgs" else super()._computing_dtype(X)
        return precision(self.dtype)[0]

    def _new_optimiser(self, net: Network) -> SGD | Adam:
        if self.solver == "adam":
            return Adam(net, self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon)
        simple = self.clip_threshold is None or self.alpha == 0
        return SGD(net, self.learning_rate_init, self.momentum, self.nesterovs_momentum, simple)

    def _check_both(self, X: Any, y: Any, reset: bool, comm: Alone = ALONE) -> tuple[Any, NDArray[Any]]:
        X, y = self._check_shard(comm, (X, y), reset, multi_output=True)
        return X, as_vector(y)

    def _samples(self, X: Any, y: NDArray[Any], weights: NDArray[Any] | None, net: Network) -> Samples:
        """The data as kernels take them: y as class numbers, or as a matrix of 0 and 1 for several labels."""
        rows, m = self._rows(X, net.dtype), X.shape[0]
        several = self.n_outputs_ > 1 and self.out_activation_ == "logistic"
        wanted = (m, self.n_outputs_) if several else (m,)
        if y.shape != wanted:
            what = f"a column for each of {self.n_outputs_} labels" if several else "a class per sample"
            raise ValueError(f"y must have shape {wanted}, {what}, got {y.shape}")
        if several:
            return Samples(rows, None, np.ascontiguousarray(y, net.dtype), weights)
        return Samples(rows, class_numbers(self, y), None, weights)

    def _train(
        self,
        given: tuple[Any, Any],
        samples: Samples,
        order: NDArray[np.int64],
        held_out: HeldOut | None,
        random: np.random.RandomState,
        incremental: bool,
        checkpoint: Checkpoint | SharedCheckpoint | None,
        shards: Shards,
    ) -> None:
        net, optimiser, n, comm = self._bound(), self._optimiser, len(order), shards.comm
        blocks = self._blocks(samples.X.array, shards)
        batch_size = self._samples_per_step(n)
        trainer = trainer_on(shards, self._trainer(net, samples, per_rank(shards, batch_size), comm))
        decay = StepDecay(optimiser.learning_rate, self.step_size, self.gamma) if self.learning_rate == "step" else None
        by_score = held_out is not None and held_out.score_decides
        of_ones_own = held_out is not None and not by_score
        plateau = None if of_ones_own else self._plateau
        if plateau is None or plateau.sign != (1 if by_score else -1):
            plateau = Plateau(self.tol, rising=by_score)
            self._begin_validation(held_out)
        elif not incremental:
            plateau.tol = self.tol  # a warm start goes on counting, as in scikit-learn
        self._plateau, diverged = None if of_ones_own else plateau, False
        best = Best(lambda: {"params": net.params})
        if by_score:
            self.best_loss_ = None
        elif of_ones_own or self.best_loss_ is None:
            self.best_loss_ = math.inf
        epochs, sizes = 1 if incremental else self.max_iter, np.full(-(-n // batch_size), batch_size)
        sizes[-1] = n - (len(sizes) - 1) * batch_size

        done, total, seed = 0, 0.0, 0  # samples of the epoch that have been trained on, and the sum of their losses

        def train(on_samples: Any) -> float:
            nonlocal order, done, total, seed
            if not done:
                order = shuffled(order, blocks, random) if self.shuffle else order
                seed = int(random.randint(2**31)) if self.dropout else 0
            rest, rest_sizes = order[done:], sizes[done // batch_size :]
            for steps, losses in trainer.epoch(rest, batch_size, seed=seed + done):
                taken = int(rest_sizes[steps].sum())
                done, total = done + taken, total + float(losses @ rest_sizes[steps])
                on_samples(taken)
                if kept is not None and done < n:
                    kept.after(self.n_iter_, over=False, ended=False)
            self.loss_ = total / n
            self.t_ += n
            done, total = 0, 0.0
            return self.loss_

        def evaluate(loss: float) -> None:
            nonlocal diverged
            value = of_held_out = loss
            if held_out is not None:
                of_held_out, score = self._validate(net, held_out)
                if self.early_stopping:
                    value = score if by_score else of_held_out
            diverged = not all_finite(loss, net.params)
            if diverged:
                if not best.exists():
                    raise ValueError(_NOT_FINITE)
                warn_diverged(self.n_iter_)
            better = plateau.after(value)
            if self.best_loss_ is not None:
                self.best_loss_ = min(self.best_loss_, loss)
            if held_out is not None and not diverged and (better if by_score else of_held_out < best.loss):
                best.keep(of_held_out, self.t_)
            self._change_rate(optimiser, decay)

        def is_over(reporter: Reporter) -> bool:
            if held_out is not None and self.verbose != "bar":
                reporter.say(f"Validation score: {self.validation_scores_[-1]:f}")  # type: ignore[index]
            return diverged or self._is_over(plateau, optimiser, reporter)

        def state() -> dict[str, Any]:
            return {
                "params": net.params, "optimiser": optimiser.state, "rate": optimiser.learning_rate,
                "steps": getattr(optimiser, "t", 0), "decayed": None if decay is None else decay.learning_rate,
                "plateau": [float(plateau.best), plateau.count], "best": best.state(), "order": order,
                "held_out": None if held_out is None else held_out.rows, "random": state_of_random(random),
                "curves": [getattr(self, name, None) for name in _CURVES], "t": self.t_, "done": [done, total, seed],
            }  # fmt: skip

        def restore(saved: dict[str, Any]) -> None:
            nonlocal order, held_out, done, total, seed
            copy_into(net.params, saved["params"])
            if optimiser.state is not None:
                copy_into(optimiser.state, saved["optimiser"])
            optimiser.learning_rate = saved["rate"]
            if isinstance(optimiser, Adam):
                optimiser.t = saved["steps"]
            if decay is not None:
                decay.learning_rate = saved["decayed"]
            plateau.best, plateau.count = saved["plateau"]
            order = as_order(saved["order"], "the checkpoint's rows", shards.total)
            if held_out is not None:
                rows = as_order(saved["held_out"], "the checkpoint's rows", held_out.shards.total)
                held_out = held_out._replace(rows=rows)
            best.restore(saved["best"])
            for name, value in zip(_CURVES, saved["curves"], strict=True):
                setattr(self, name, value)
            self.t_, (done, total, seed) = saved["t"], saved["done"]
            set_random(random, saved["random"])

        kept = None if checkpoint is None else Kept(checkpoint, state, restore)
        try:
            ended = self._run_epochs((*given, n), epochs, _line, train, evaluate, is_over, kept, comm)
        finally:  # a callback may raise
            best.bring_back()
        comm.end()
        if ended and not incremental:
            warn_user(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
            )

    def _minimise(self, given: tuple[Any, Any], samples: Samples, held_out: HeldOut | None) -> None:
        """Train by L-BFGS on all samples; with validation data, keep the weights of the iteration with the lowest loss."""
        net, rows = self._bound(), np.arange(len(samples.X))
        best = Best(lambda: {"params": net.params})
        trainer = self._trainer(net, samples, len(rows))
        self._stage, self.n_iter_, result = "training", 0, None
        self._begin_validation(held_out)

        def evaluate(loss: float) -> None:
            if held_out is not None:
                of_held_out, _ = self._validate(net, held_out)
                if of_held_out < best.loss:
                    best.keep(of_held_out, self.t_)

        with (
            self._reporter(_line, self.max_iter) as reporter,
            self._callbacks(*given, self.max_iter) as after_iteration,
        ):

            def after(loss: float) -> bool:
                return self._end_epoch(loss, reporter, evaluate, after_iteration)

            decay = self.alpha / samples.total_weight(rows)
            try:
                result = minimise(
                    trainer, rows, decay, after, max_iter=self.max_iter, max_fun=self.max_fun, tol=self.tol
                )
            except KeyboardInterrupt as interrupt:
                warn_interrupted(interrupt)
            finally:
                best.bring_back()
        self.loss_ = (self.loss_curve_ or [math.inf])[-1]
        if result is not None:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
            for warning in caught:
                warn_user(str(warning.message), warning.category)
            self.loss_ = float(result.fun)
            if not all_finite(self.loss_, net.params):
                raise ValueError(_NOT_FINITE)
        self.best_loss_ = min([*self.loss_curve_, self.loss_])

    def _samples_per_step(self, n: int) -> int:
        batch_size = min(200, n) if self.batch_size == "auto" else int(self.batch_size)
        if batch_size > n:
            warn_user("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        return min(batch_size, n)

    def _trainer(self, net: Network, samples: Samples, batch_size: int, comm: Alone = ALONE) -> BatchTrainer:
        """A trainer with this estimator's settings and optimiser."""
        optimiser = self._optimiser
        settings = Settings(*clipped(net.dtype))
        if optimiser is not None:
            settings = settings._replace(
                clip_threshold=self.clip_threshold or math.inf, l2_shared=self.alpha, beta_1=optimiser.beta_1,
                beta_2=optimiser.beta_2, epsilon=optimiser.epsilon, dropout=self.dropout,
            )  # fmt: skip
        work = Workspace.for_batches(net, samples.X, batch_size)
        threads = threads_for(net.step_operations(batch_size), comm.threads(self.n_jobs))
        return BatchTrainer(net, samples, settings, work, optimiser, self.out_activation_ == "logistic", threads)

    def _change_rate(self, optimiser: SGD | Adam, decay: StepDecay | None) -> None:
        """Set the learning rate of the next epoch."""
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            optimiser.learning_rate = self.learning_rate_init / (self.t_ + 1) ** self.power_t
        if decay is not None and decay.after(self.n_iter_ - 1):
            optimiser.learning_rate = decay.learning_rate

    def _is_over(self, plateau: Plateau, optimiser: SGD | Adam, reporter: Reporter) -> bool:
        """Whether too many epochs brought no improvement; if so, an adaptive learning rate is first lowered instead."""
        if plateau.count <= self.n_iter_no_change:
            return False
        what = "Validation score" if self.early_stopping else "Training loss"
        said = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        if self.solver == "sgd" and self.learning_rate == "adaptive" and optimiser.learning_rate > 1e-6:
            optimiser.learning_rate /= 5
            plateau.count = 0
            reporter.say(f"{said} Setting learning rate to {optimiser.learning_rate:f}")
            return False
        reporter.say(f"{said} Stopping.")
        return True

    def _begin_validation(self, held_out: HeldOut | None) -> None:
        if held_out is not None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
            self.best_validation_score_ = -math.inf

    def _validate(self, net: Network, held_out: HeldOut) -> tuple[float, float]:
        """The loss, without the penalty, and the accuracy on the validation samples; both go into the curves."""
        samples, y, rows, _, shards = held_out
        loss, score = shards.comm.mean(*self._validate_own(net, samples, y, shards.own(rows)))
        self._note_validation(loss, score)
        self.best_validation_score_ = max(score, self.best_validation_score_)  # type: ignore[type-var]
        return loss, score

    def _validate_own(
        self, net: Network, samples: Samples, y: NDArray[Any], rows: NDArray[np.int64]
    ) -> tuple[float, float, float]:
        """The total weight of this rank's validation samples, their loss and their accuracy."""
        if not len(rows):
            return 0.0, 0.0, 0.0
        results = self._room(net, len(rows), decide=True)
        loss = self._forward(net, samples, rows, results, FORWARD | LOSS)
        weights = np.ones(len(rows)) if samples.weights is None else samples.weights[rows]
        right = self._labels(results) == y[rows]
        right = right.all(axis=1) if right.ndim == 2 else right
        return float(weights.sum()), loss, float(np.average(right, weights=weights))

    # ------------------------------------------------------------ predicting

    def _room(self, net: Network, m: int, decide: bool) -> Results:
        """Arrays for the probabilities of m samples, or, to ``decide``, for their most probable class if that is enough."""
        if decide and self.out_activation_ == "softmax":
            return Results(winners=np.empty(m, np.int64))
        return Results(outputs=np.empty((m, net.widths[-1]), net.dtype))

    def _forward(
        self, net: Network, samples: Samples, rows: NDArray[np.int64], results: Results, phases: int = FORWARD
    ) -> float:
        """Compute the results of ``rows``; returns, with LOSS, their mean loss, else NaN."""
        capacity = max(1, min(_PREDICT_ROWS, _PREDICT_NUMBERS // max(net.widths[1:]), len(rows)))
        settings = Settings(*(clipped(net.dtype) if phases & LOSS else EXACT))
        threads = threads_for(net.step_operations(capacity) / 3, self.n_jobs)
        work, sigmoid = Workspace.borrow(net, capacity), self.out_activation_ == "logistic"
        trainer = BatchTrainer(net, samples, settings, work, sigmoid=sigmoid, threads=threads)
        total, weight, done = 0.0, 0.0, 0
        for part in samples.X.stretches(rows, rows_per_call(net, capacity), capacity):
            losses = trainer.evaluate(phases, part, capacity, results.of(slice(done, done + len(part))))
            done += len(part)
            if phases & LOSS:
                for loss, start in zip(losses, range(0, len(part), capacity)):
                    w = samples.total_weight(part[start : start + capacity])
                    total, weight = total + float(loss) * w, weight + w
        work.give_back()
        return total / weight if phases & LOSS else math.nan

    def _results(self, X: Any, decide: bool) -> Results:
        """The results of the user's samples."""
        if "coefs_" not in vars(self):
            check_is_fitted(self)
        net = self._bound()
        # The layers see every number of X and every parameter: so they prove them finite, without another look at them.
        unproved = self._as_stored(X, net.dtype)
        samples = Samples(self._rows(self._check(X, reset=False) if unproved is None else unproved, net.dtype))
        rows = np.arange(len(samples.X))
        results = self._room(net, len(rows), decide)
        self._forward(net, samples, rows, results, FORWARD | MARK)
        if results.are_marked():
            check_finite_network(net)
            self._check(X, reset=False)  # if this finds nothing, a sum is too large
            self._forward(net, samples, rows, results)
        return results

    def _labels(self, results: Results) -> NDArray[Any]:
        """The most probable class of each sample, or the labels that are more probable than not."""
        if results.outputs is None:
            return self.classes_[results.winners]
        P = results.outputs
        if self.n_outputs_ == 1 and len(self.classes_) == 2:
            return self.classes_[(P[:, 0] > 0.5).astype(np.intp)]
        return self._label_binarizer.inverse_transform(P)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each sample; with several labels, a matrix of 0 and 1.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._labels(self._results(X, decide=True))

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """The probability of each class: softmax, or the sigmoid for two classes and for several labels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        P: Any = self._results(X, decide=False).outputs
        return np.hstack([1 - P, P]) if self.n_outputs_ == 1 else P

    def predict_log_proba(self, X: ArrayLike) -> NDArray[Any]:
        """The logarithm of ``predict_proba(X)``."""
        P = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(P, out=P)

    # ------------------------------------------------------------ files and other libraries

    _fitted_state, _restore = mlp_state, restore_mlp

    def _samples_seen(self) -> int:
        return int(self.t_)

    def _validation_score(self) -> float | None:
        return self.best_validation_score_  # of the epoch whose weights remain, unless there was X_val

    def _first_layer(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.coefs_[0].T, self.intercepts_[0]

    def _fold_in(self, mean: NDArray[Any], spread: NDArray[Any]) -> None:
        super()._fold_in(mean, spread)
        self._optimiser = None  # its state is of the gradients for standardised features

    @property
    def _activation(self) -> str:  # type: ignore[override]
        return self.activation

    def _layers(self) -> tuple[list[Layer], str | None]:
        check_is_fitted(self)
        layers = layers_of(self._bound())
        if self.out_activation_ == "logistic" and self.n_outputs_ > 1:
            return layers, "sigmoid"
        return with_two_scores(layers), "softmax"

    @classmethod
    def _before_training(
        cls, layers: list[Layer], n_classes: int, several: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        unknown = ("best_validation_score_", "validation_loss_curve_", "optimiser", "watch")
        fitted = {"layers": layers, "t_": 0, "best_loss_": math.inf, **dict.fromkeys(unknown)}
        fitted["out_activation_"] = "softmax" if n_classes > 2 and not several else "logistic"
        return {"hidden_layer_sizes": tuple(len(layer["bias"]) for layer in layers[:-1])}, fitted

    # ------------------------------------------------------------ scikit-learn

    @property
    def _optimizer(self) -> SGD | Adam | None:
        """The optimiser by scikit-learn's name, with its ``learning_rate``."""
        return self._optimiser

    @property
    def _no_improvement_count(self) -> int:
        """The number of epochs since the last improvement."""
        return 0 if self._plateau is None else self._plateau.count

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the network: ``coefs_`` and ``intercepts_`` hold the same parameters."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in ("_network", "_shown")}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        return tags
