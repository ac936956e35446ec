"""A linear classifier with scikit-learn's interface and, for several classes, a true softmax."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from datetime import timedelta
from inspect import signature
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn._loss._loss import CyHalfBinomialLoss
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import LinearClassifierMixin, SparseCoefMixin
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Hidden, Interval, StrOptions
from sklearn.utils.extmath import row_norms, safe_sparse_dot
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..engine.distributed import ALONE, Alone, Shards, communicator, same_numbers, same_random
from ..engine.mapped import shuffled
from ..engine.minibatch import Samples
from ..engine.progress import copy_into
from ..engine.schedules import Plateau
from ..engine.sgd import Mean, Task, stepper_for
from ..engine.threads import check_n_jobs
from ..inputs import as_floats, as_order, is_finite
from ..io.checkpoint import Checkpoint, SharedCheckpoint, set_random, state_of_random
from ..io.layers import Layer
from ..kernels.warning import warn_user
from .base import Best, FastClassifier, HeldOut, Kept, all_or_nothing, as_vector, fit_context, with_callbacks
from .proof import check_finite_linear, class_numbers, linear_parameters
from .state import linear_state, restore_linear, with_two_scores

if TYPE_CHECKING:
    from typing_extensions import Self

#: Before it had this option, scikit-learn's check let weights pass that are all zero.
_ALL_ZERO = {name: True for name in ("allow_all_zero_weights",) if name in signature(_check_sample_weight).parameters}
_FIRST_SOFTMAX_RATE = 0.5  # of "optimal"; scikit-learn's, for one class against the rest, is 10 at the default alpha
_DECISION_ROWS = 4096  # validation samples that are scored at a time


def _line(epoch: int, loss: float) -> str:
    """What is printed after an epoch."""
    return f"Epoch {epoch + 1}, loss = {loss:.6f}"


class SparseMatrix(Protocol):
    """A matrix or array of ``scipy.sparse``, which has no types, in any format."""

    def tocsr(self) -> Any: ...


class FastLinearClassifier(FastClassifier, LinearClassifierMixin, SparseCoefMixin):  # type: ignore[misc]
    """Linear classifier with a softmax, for two classes a sigmoid, trained on the log-loss by SGD in compiled kernels.

    The parameters up to ``average`` are those of scikit-learn's ``SGDClassifier(loss="log_loss")``, with the same defaults
    and meaning; the others are new. For two classes and samples in the same order, both take the same steps up to rounding.
    For more classes, this class trains one softmax model; scikit-learn trains one model per class against the rest.

    Parameters
    ----------
    loss : {"log_loss"}, default="log_loss"
    penalty : {"l2", "l1", "elasticnet"} or None, default="l2"
    alpha : float, default=0.0001
        Strength of the penalty. The learning rate "optimal" depends on it, too.
    l1_ratio : float, default=0.15
        Share of l1 in "elasticnet": 0 is l2 alone, 1 is l1 alone.
    fit_intercept : bool, default=True
    max_iter : int, default=1000
        Maximum number of epochs.
    tol : float or None, default=1e-3
        Training ends when the objective, or the validation score, has not improved by tol for ``n_iter_no_change`` epochs.
    shuffle : bool or "blocks", default=True
        Draw a new order of the samples for each epoch. "blocks" draws whole blocks of about a megabyte, and shuffles a few
        dozen of them together, so that a file is read in large pieces; so does True for a memory-mapped file that is larger
        than half of the free memory. CSR rows are shuffled one by one.
    verbose : int, bool or "bar", default=0
        True prints a line per epoch, "bar" shows a progress bar.
    epsilon : float, default=0.1
        Not used: it is a parameter of other losses.
    n_jobs : int or None, default=None
        Threads for mini-batches and full batches; per-sample SGD takes one. Results are bit-identical for any number.
    random_state : int, RandomState instance or None, default=None
    learning_rate : {"optimal", "constant", "invscaling", "adaptive"}, default="optimal"
        "optimal" is 1 / (alpha (t + t0)) as in scikit-learn. For softmax it starts at 1/2. With full batches it is 1 / L,
        where L bounds the curvature of the objective.
    eta0 : float, default=0.01
    power_t : float, default=0.5
    early_stopping : bool, default=False
        End training when the accuracy on a ``validation_fraction`` of the data stops improving, or, if ``X_val`` is given,
        the loss on it.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=5
    class_weight : dict, "balanced" or None, default=None
    warm_start : bool, default=False
    average : bool or int, default=False
        Make ``coef_`` and ``intercept_`` averages over the steps; with an int n, over the steps from sample n on.
    batch_size : int, "full" or "auto", default="auto"
        Samples per step. "auto" is 1: per-sample SGD, as in scikit-learn. With "full", an integer sample weight equals
        repetition. CSR matrices take 1 or "full".
    scale : float or None, default=1.0
        Factor for X if it holds bytes (uint8), or, where it is not 1, other whole numbers from 0 to 255. 1/255 brings pixels
        into [0, 1]. None is 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        In X's dtype. If X holds bytes: float32, to be applied to bytes times ``scale_``.
    intercept_ : ndarray of shape (1,) or (n_classes,)
    loss_curve_ : list of float
        Mean loss of each epoch in nats, without the penalty; each sample or batch counts as before its step.
    validation_scores_ : list of float
        Accuracy on the validation samples after each epoch; None without validation.
    validation_loss_curve_ : list of float
        Mean loss on the validation samples after each epoch, without the penalty; None without validation.
    n_iter_ : int
        Number of epochs in the last ``fit`` or ``partial_fit``.
    t_ : float
        One more than the number of samples trained on.
    scale_ : float
    n_features_in_, feature_names_in_
        As in scikit-learn.
    encoding_ : list of (str or None, list of str or None)
        Only of a model that ``fastclf train`` has trained on a table: the name of each of its columns and, of a column of
        text, its categories.
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "loss": [StrOptions({"log_loss"})],
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None, Hidden(Interval(Real, None, None, closed="both"))],
        "shuffle": ["boolean", StrOptions({"blocks"})],
        "verbose": ["verbose", StrOptions({"bar"})],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "learning_rate": [StrOptions({"optimal", "constant", "invscaling", "adaptive"})],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, None, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
        "average": [Interval(Integral, 0, None, closed="left"), "boolean"],
        "batch_size": [StrOptions({"full", "auto"}), Interval(Integral, 1, None, closed="left")],
        "scale": [Interval(Real, 0, None, closed="neither"), None],
    }

    #: The losses that ``loss`` may name, in the form of scikit-learn's attribute of this name.
    loss_functions: ClassVar[dict[str, tuple[Any, ...]]] = {"log_loss": (CyHalfBinomialLoss,)}

    _parameter_names = ("coef_", "intercept_")
    _mean: Any
    _last: Any

    def __init__(
        self,
        loss: str = "log_loss",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool | str = True,
        verbose: int | str = 0,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: Any = None,
        learning_rate: str = "optimal",
        eta0: float = 0.01,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        average: bool | int = False,
        batch_size: int | str = "auto",
        scale: float | None = 1.0,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.epsilon = epsilon
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.average = average
        self.batch_size = batch_size
        self.scale = scale

    # ------------------------------------------------------------ fitting

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(
        self,
        X: ArrayLike | SparseMatrix,
        y: ArrayLike,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
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
    ) -> Self:
        """Train on X and y.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            C-ordered arrays of float32, float64 or uint8 are not copied; other dtypes become float64. CSR matrices are
            float32 or float64, and are never made dense.
        y : array-like of shape (n_samples,)
        coef_init, intercept_init : array-like, optional
            Initial parameters, in the shapes of ``coef_`` and ``intercept_``; 0 if not given.
        sample_weight : array-like of shape (n_samples,), optional
            Negative weights are allowed for per-sample SGD, as in scikit-learn.
        X_val, y_val : array-like or CSR matrix, array-like, optional
            Validation data. ``fit`` records their loss and accuracy after every epoch, and keeps the parameters of the epoch
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
            Train with the other ranks of a group of torch.distributed; True is the default group. X and y are this rank's
            shard, which may be empty. With mini-batches and full batches, the model is that of one process with all samples,
            the shards one after the other. Per-sample SGD runs on each rank's own samples, and the ranks take averages.
        sync_every : int, optional
            In a group: samples of a rank, by default 1000, after which per-sample SGD takes the average of all ranks'
            parameters; the smaller, the closer to SGD on one rank, and the more time goes into the exchange. With
            mini-batches, the steps that each rank takes on its own, by default none.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument does not match its description, or if training diverges.
        """
        wish, comm = (checkpoint, checkpoint_every, resume), communicator(process_group, sync_every)
        validation = None if X_val is None and y_val is None else (X_val, y_val, sample_weight_val)
        with comm.together():
            self._fit((X, y, sample_weight), (coef_init, intercept_init), validation, wish, comm)
        if self.tol is not None and self.n_iter_ == self.max_iter and self.tol > -np.inf:
            warn_user(
                "Maximum number of iteration reached before convergence. Consider increasing max_iter to improve the fit.",
                ConvergenceWarning,
            )
        if self.power_t < 0:
            warn_user(
                "Negative values for `power_t` are deprecated in version 1.8 of scikit-learn and will raise an error in "
                "1.10. Use values in the range [0.0, inf) instead.",
                FutureWarning,
            )
        return self

    def _fit(
        self,
        data: tuple[Any, Any, Any],
        initial: tuple[Any, Any],
        validation: Any,
        wish: tuple[Any, Any, bool],
        comm: Alone,
    ) -> None:
        (X, y, sample_weight), (coef_init, intercept_init) = data, initial
        self._check_penalty()
        if self.warm_start and hasattr(self, "coef_"):
            check_finite_linear(self)
            coef, intercept = linear_parameters(self)
            coef_init = coef if coef_init is None else coef_init
            intercept_init = intercept if intercept_init is None else intercept_init
        X, y = self._check_both(X, y, True, comm)
        shards = Shards.of(comm, X.shape[0])
        self.classes_ = self._classes_in(shards.labels(y))
        self._forget()
        self._note_scale()
        start = self._initial(coef_init, intercept_init, X)
        same_numbers(comm, *start)
        comm.agree(use_of_X_val=validation is not None, sync_every=comm.sync_every)
        kept = self._checkpoint(*wish, X, y, sample_weight, comm=comm)
        self._train((X, y, sample_weight), start, self.max_iter, shards, validation, kept)

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def partial_fit(
        self,
        X: ArrayLike | SparseMatrix,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
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

        Raises
        ------
        ValueError, TypeError
            As in ``fit``; before a first ``fit`` also for ``early_stopping`` and ``class_weight="balanced"``, which need all
            data at once.
        """
        first = not hasattr(self, "classes_")
        if first and self.early_stopping:
            raise ValueError("early_stopping should be False with partial_fit")
        self._check_penalty()
        if first and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, use "
                "compute_class_weight('balanced', classes=classes, y=y). In place of y you can use a large enough sample of "
                "the full training set target to properly estimate the class frequency distributions. Pass the resulting "
                "weights as the class_weight parameter."
            )
        if hasattr(self, "coef_"):
            linear_parameters(self)
        X, y = self._check_both(X, y, reset=first)
        _check_partial_fit_first_call(self, classes)
        if first or not hasattr(self, "coef_"):
            self._forget()
            self._note_scale()
            start = self._initial(None, None, X)
        else:
            start = self._parameters()
        if unknown := {*np.unique(y).tolist()} - {*self.classes_.tolist()}:
            raise ValueError(
                "classes should include all valid labels that can be in y: the first call to partial_fit was not told of "
                f"{sorted(unknown)}"
            )
        self._train((X, y, sample_weight), start, 1, Shards.of(ALONE, len(y)))
        return self

    def _forget(self) -> None:
        """Reset the attributes that training adds to."""
        self.t_, self._mean, self._last = 1.0, None, None
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] | None = None
        self.validation_loss_curve_: list[float] | None = None

    def _check_both(self, X: Any, y: Any, reset: bool, comm: Alone = ALONE) -> tuple[Any, NDArray[Any]]:
        X, y = self._check_shard(comm, (X, as_vector(y)), reset, accept_large_sparse=False)
        return X, y

    @staticmethod
    def _classes_in(y: NDArray[Any]) -> NDArray[Any]:
        """The classes in y, in the dtype that scikit-learn gives them: objects that are strings become strings."""
        classes = np.unique(y)
        try:
            return unique_labels(classes)
        except ValueError:
            check_classification_targets(classes)  # its error says more
            raise

    def _shape(self, X: Any) -> tuple[int, int]:
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(f"The number of classes has to be greater than one; got {n_classes} class")
        return 1 if n_classes == 2 else n_classes, X.shape[1]

    def _initial(self, coef: Any, intercept: Any, X: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """The parameters to start from: copies of the given ones, or 0. For two classes, coefficients may be a vector."""
        shape, dtype = self._shape(X), self._computing_dtype(X)
        start = []
        for name, given, wanted in (("coef_init", coef, shape), ("intercept_init", intercept, shape[:1])):
            array = np.zeros(wanted, dtype) if given is None else as_floats(given, name, dtype).copy()
            for_two = shape[0] == 1 and (array.size == shape[1] if name == "coef_init" else array.shape == ())
            if array.shape != wanted and not for_two:
                raise ValueError(
                    f"Provided {name} does not match dataset: {name} must have the shape {wanted}, got {array.shape}"
                )
            start.append(array.reshape(wanted))
        return start[0], start[1]

    def _parameters(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The parameters to continue training from: those of the last step, not their average."""
        check_finite_linear(self)
        return linear_parameters(self) if self._last is None else self._last

    def _train(
        self,
        data: tuple[Any, Any, Any],
        start: Any,
        epochs: int,
        shards: Shards,
        validation: Any = None,
        checkpoint: Checkpoint | SharedCheckpoint | None = None,
    ) -> None:
        check_n_jobs(self.n_jobs)
        (X, y, sample_weight), comm = data, shards.comm
        random, dtype = same_random(comm, check_random_state(self.random_state)), start[0].dtype
        allowed = {"ensure_non_negative": self.batch_size not in ("auto", 1)}  # a batch is divided by its total weight
        if self.early_stopping and validation is None:
            allowed |= _ALL_ZERO  # ``_split`` knows a clearer error
        weights = self._weights(sample_weight, y, X, dtype, shards, **allowed)
        samples, rows = self._samples(X, y, weights, dtype), np.arange(shards.total)
        held_out: HeldOut | None = None
        if validation is not None:
            X_val, y_val, weights_val, of_val = self._check_validation(validation, dtype, comm)
            of_ones_own = self._samples(X_val, y_val, weights_val, dtype)
            held_out = HeldOut(of_ones_own, y_val, np.arange(of_val.total), False, of_val)
        elif self.early_stopping:
            # Without class weights, as in scikit-learn.
            scored = self._sample_weights(sample_weight, X, dtype, shards, **allowed)
            of_all = None if scored is None else shards.of_all(scored)
            rows, rows_val = self._split(shards.of_all(y), of_all, random)
            held_out = HeldOut(samples._replace(weights=scored), y, rows_val, True, shards)
        by_score = held_out is not None and held_out.score_decides
        if held_out is not None and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
        own = shards.own(rows)
        total_weight = len(rows) if weights is None else sum(comm.gather(float(np.abs(weights[own]).sum()))) or 1.0
        average = int(self.average)
        if average >= self.t_ - 1 + len(rows) * epochs and self._mean is None:
            average = 0  # it does not begin in this run, or with its very last parameters
        batch = self._batch_size(X, len(rows))
        rate, bias_rate = self._first_rates(samples, rows, batch, shards)
        n_jobs = comm.threads(self.n_jobs)
        task = Task(samples, self._penalties(), bias_rate, average, self._mean, n_jobs, shards)
        stepper = stepper_for(task, start, batch)
        blocks = self._blocks(getattr(samples.X, "array", None), shards)
        plateau, best = Plateau(-np.inf if self.tol is None else self.tol, rising=by_score), Best(stepper.state)

        done, total = 0, 0.0  # samples of the epoch that have been trained on, and the sum of their losses

        def averages(t: float) -> Mean | None:
            """The averages, if they are what the model shows when its ``t_`` is t."""
            mean = stepper.mean()
            if mean is None and self.average and self.average == t - 1:
                mean = (*stepper.parameters(), 1)
            return mean if mean is not None and self.average <= t - 1 else None

        def train(on_samples: Any) -> float:
            nonlocal rows, done, total
            if self.shuffle and batch < len(rows) and not done:
                rows = shuffled(rows, blocks, random)
            rest, rates = rows[done:], self._rates(rate, len(rows), batch)[done // batch :]
            for taken, losses in stepper.stretches(rest, rates, self.t_ + done):
                done, total = done + taken, total + losses
                on_samples(taken)
                if kept is not None and done < len(rows):
                    kept.after(self.n_iter_, over=False, ended=False)
            loss = total / total_weight
            self.t_ += len(rows)
            done, total = 0, 0.0
            return loss

        def evaluate(loss: float) -> None:
            if not stepper.is_finite():
                raise ValueError(
                    f"Floating-point under-/overflow occurred at epoch #{self.n_iter_}. Scaling input data with "
                    "StandardScaler or MinMaxScaler might help."
                )
            value = comm.of_first(loss + stepper.penalty())
            if held_out is not None or self._is_watched():
                mean = None if by_score or held_out is None else averages(self.t_)
                self.coef_, self.intercept_ = stepper.parameters() if mean is None else mean[:2]
            if held_out is not None:
                of_held_out, score = self._validate(held_out)
                self._note_validation(of_held_out, score)
                if self.early_stopping:
                    value = score if by_score else of_held_out
                if not by_score and of_held_out < best.loss:
                    best.keep(of_held_out, self.t_)
            plateau.after(value)

        def is_over(reporter: Any) -> bool:
            nonlocal rate
            if self.tol is None or plateau.count < self.n_iter_no_change:
                return False
            if self.learning_rate != "adaptive" or rate is None or rate <= 1e-6:
                return True
            rate, plateau.count = rate / 5, 0
            return False

        def state() -> dict[str, Any]:
            return {
                "stepper": stepper.state(), "rows": rows, "held_out": held_out.rows if held_out is not None else None,
                "rate": rate, "t": self.t_, "plateau": [float(plateau.best), plateau.count], "best": best.state(),
                "curves": [self.loss_curve_, self.validation_scores_, self.validation_loss_curve_],
                "random": state_of_random(random), "done": [done, total],
            }  # fmt: skip

        def restore(saved: dict[str, Any]) -> None:
            nonlocal rows, held_out, rate, done, total
            for name, memory in stepper.state().items():
                copy_into(memory, saved["stepper"][name])
            best.restore(saved["best"])
            rows, rate = as_order(saved["rows"], "the checkpoint's rows", shards.total), saved["rate"]
            if held_out is not None:
                rows_val = as_order(saved["held_out"], "the checkpoint's rows", held_out.shards.total)
                held_out = held_out._replace(rows=rows_val)
            plateau.best, plateau.count = saved["plateau"]
            self.loss_curve_, self.validation_scores_, self.validation_loss_curve_ = saved["curves"]
            self.t_ = saved["t"]
            done, total = saved["done"]
            set_random(random, saved["random"])

        kept = None if checkpoint is None else Kept(checkpoint, state, restore)
        try:
            self._run_epochs((X, y, len(rows)), epochs, _line, train, evaluate, is_over, kept, comm)
        finally:  # a callback may raise
            best.bring_back()
            self.coef_, self.intercept_ = last = stepper.parameters()
            self._mean, mean = stepper.mean(), averages(best.t if best.exists() else self.t_)
            if mean is not None:
                self._mean, (self.coef_, self.intercept_) = mean, mean[:2]
            self._last = None if self._mean is None else last

    def _samples(self, X: Any, y: NDArray[Any], weights: NDArray[Any] | None, dtype: Any) -> Samples:
        return Samples(X if sparse.issparse(X) else self._rows(X, dtype), class_numbers(self, y), None, weights)

    def _validate(self, held_out: HeldOut) -> tuple[float, float]:
        """The loss, without the penalty, and the accuracy on the validation samples."""
        rows = held_out.shards.own(held_out.rows)
        weight, *own = self._validate_own(held_out, rows) if len(rows) else (0.0, 0.0, 0.0)
        loss, score = held_out.shards.comm.mean(weight, *own)
        return loss, score

    def _validate_own(self, held_out: HeldOut, rows: NDArray[np.int64]) -> tuple[float, float, float]:
        """The total weight of this rank's validation samples, their loss and their accuracy."""
        samples, y, _, score_decides, _ = held_out
        labels: Any = samples.labels
        weights = np.ones(len(rows)) if samples.weights is None else samples.weights[rows].astype(np.float64)
        Z = self._logits(samples.X, rows if score_decides else None)
        if Z.ndim == 1:
            log_p = log_expit(np.where(labels[rows] == 1, Z, -Z))
        else:
            log_p = log_softmax(Z, axis=1)[np.arange(len(rows)), labels[rows]]
        total = float(weights.sum())  # of a part of the training data, whose weights may be negative
        loss = -float(weights @ log_p) / total if total else math.nan
        return total, loss, float(accuracy_score(y[rows], self._labels(Z), sample_weight=weights))

    def _split(self, y: Any, weights: Any, random: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows to train on and the rows to score on, which ``weights`` must not leave without any weight."""
        train, held_out = train_test_split(
            np.arange(len(y)), test_size=self.validation_fraction, random_state=random, stratify=y
        )
        if weights is not None and not (weights[held_out] > 0).any():
            raise ValueError(
                "The sample weights for validation set are all zero, consider using a different random state."
            )
        train = train if self.shuffle else np.sort(train)
        return np.ascontiguousarray(train), np.ascontiguousarray(held_out)

    def _batch_size(self, X: Any, n: int) -> int:
        batch = 1 if self.batch_size == "auto" else self.batch_size
        if sparse.issparse(X) and batch not in (1, "full"):
            raise ValueError(f'batch_size must be 1, "full" or "auto" for a CSR matrix, got {batch!r}')
        return n if batch == "full" else min(int(batch), n)

    def _first_rates(
        self, samples: Samples, rows: NDArray[np.int64], batch: int, shards: Shards
    ) -> tuple[float | None, float]:
        """The learning rate, None for per-sample "optimal", and the ratio of the intercepts' rate to the learning rate.

        For full batches, "optimal" is 1 / L, where L bounds the curvature of the objective. The log-loss's Hessian is at
        most mean(z z^T) / 2 with z = (x, 1) (Böhning, 1992). That is at most the matrix of the diagonal blocks mean(x x^T)
        and, for the intercepts, 1. So the intercepts have a rate of 1, and large features do not slow them down.
        """
        bias_rate = float(self.fit_intercept)
        if self.learning_rate != "optimal":
            return self.eta0, bias_rate
        if self.batch_size != "full" and not batch == len(rows) > 1:
            if self.alpha == 0:
                raise ValueError(
                    "alpha must be > 0 since learning_rate is 'optimal'. alpha is used to compute the optimal learning rate."
                )
            return None, bias_rate
        blocks = ((slice(None), samples.X),) if sparse.issparse(samples.X) else samples.X.blocks()
        own = [row_norms(block, squared=True) for _, block in blocks] if samples.X.shape[0] else [np.empty(0)]
        norms, weights = shards.of_all(np.concatenate(own)), samples.weights
        weights = None if weights is None else shards.of_all(weights)[rows]
        curvature = float(np.average(norms[rows], weights=weights)) + self.alpha
        if not math.isfinite(curvature):
            raise ValueError("X has features too large to be squared: scale them, or give learning_rate and eta0")
        rate = 1 / curvature if curvature > 0 else 1.0
        return rate, bias_rate / rate

    def _check_penalty(self) -> None:
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError("l1_ratio must be set when penalty is 'elasticnet'")

    def _penalties(self) -> tuple[float, float]:
        """The strengths of the l1 and the l2 penalty."""
        ratio: Any = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": self.l1_ratio}[self.penalty]
        alpha = 0.0 if self.penalty is None else self.alpha
        return alpha * ratio, alpha * (1 - ratio)

    def _rates(self, rate: float | None, n: int, batch: int) -> NDArray[np.float64]:
        """The learning rate of each step of an epoch."""
        t = self.t_ + np.arange(0, n, batch, dtype=np.float64)
        if rate is None:
            first = _FIRST_SOFTMAX_RATE
            if len(self.classes_) == 2:
                first = math.sqrt(1 / math.sqrt(self.alpha))  # Bottou's heuristic: a typical weight
            return 1 / (self.alpha * (1 / (first * self.alpha) + t - 1))
        if self.learning_rate == "invscaling":
            return self.eta0 / t ** float(self.power_t)
        return np.full(len(t), rate)

    # ------------------------------------------------------------ predicting

    def decision_function(self, X: ArrayLike | SparseMatrix) -> NDArray[Any]:
        """The logits of each sample; for two classes, only the logit of the second.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        if "coef_" not in vars(self):
            check_is_fitted(self)
        coef, intercept = linear_parameters(self)
        unproved = None if sparse.issparse(self.coef_) else self._as_stored(X, coef.dtype)
        if unproved is not None and is_finite(unproved, self.n_jobs):
            Z = np.dot(unproved, coef.T)
            Z += intercept
            Z = self._as_scores(Z)
        else:
            samples = self._check(X, reset=False)
            if not sparse.issparse(samples):
                samples = self._rows(samples, np.result_type(samples.dtype, intercept.dtype))
            Z = self._logits(samples)
        if not np.isfinite(Z).all():
            check_finite_linear(self)  # else a product is too large
        return Z

    def _logits(self, X: Any, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """The logits of ``rows``, or of all rows, of a CSR matrix or of ``Rows``."""
        blocks: Iterable[Any]
        if sparse.issparse(X):
            blocks = (X if rows is None else X[rows],)
        elif rows is None:
            blocks = (block for _, block in X.blocks())
        else:
            blocks = (X.as_floats(part) for part in X.stretches(rows, _DECISION_ROWS))
        coef, intercept = linear_parameters(self)
        coef = self.coef_ if sparse.issparse(self.coef_) else coef
        Z = np.vstack([safe_sparse_dot(block, coef.T, dense_output=True) for block in blocks]) + intercept
        return self._as_scores(Z)

    @staticmethod
    def _as_scores(Z: NDArray[Any]) -> NDArray[Any]:
        """The logits; for two classes a vector, which is float64 for data of any dtype, as scikit-learn's is."""
        return Z[:, 0].astype(np.float64, copy=False) if Z.shape[1] == 1 else Z

    def _labels(self, logits: NDArray[Any]) -> NDArray[Any]:
        """The class of each sample, from its logits."""
        return self.classes_[(logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)]

    def predict(self, X: ArrayLike | SparseMatrix) -> NDArray[Any]:
        """The most probable class of each sample.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._labels(self.decision_function(X))

    def predict_proba(self, X: ArrayLike | SparseMatrix) -> NDArray[Any]:
        """The probability of each class, (n_samples, n_classes), in the order of ``classes_``."""
        Z = self.decision_function(X)
        return np.column_stack([expit(-Z), expit(Z)]) if Z.ndim == 1 else softmax(Z, axis=1)

    def predict_log_proba(self, X: ArrayLike | SparseMatrix) -> NDArray[Any]:
        """The logarithm of ``predict_proba(X)``, computed from the logits: finite where a probability underflows."""
        Z = self.decision_function(X)
        return np.column_stack([log_expit(-Z), log_expit(Z)]) if Z.ndim == 1 else log_softmax(Z, axis=1)

    # ------------------------------------------------------------ files and other libraries

    _fitted_state, _restore = linear_state, restore_linear

    def _samples_seen(self) -> int:
        return int(self.t_) - 1

    def _validation_score(self) -> float | None:
        return self.validation_scores_[-1] if self.validation_scores_ else None  # unless there was X_val

    def _first_layer(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return linear_parameters(self)

    def _layers(self) -> tuple[list[Layer], str | None]:
        check_is_fitted(self)
        weight, bias = self._first_layer()
        return with_two_scores([{"weight": weight, "bias": bias}]), "softmax"

    @classmethod
    def _before_training(
        cls, layers: list[Layer], n_classes: int, several: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if len(layers) > 1 or several:
            what = "a sigmoid on several outputs" if several else f"{len(layers)} layers"
            raise ValueError(f"{cls.__name__} is one layer below a softmax, the module has {what}")
        [only] = layers
        return {}, {"coef_": only["weight"], "intercept_": only["bias"], "t_": 1.0, "_mean": None, "_last": None}

    # ------------------------------------------------------------ scikit-learn

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
