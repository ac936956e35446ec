"""What both estimators share: scikit-learn's checks of the data, sample weights, the loop over epochs, and callbacks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..datasets import Column
from ..engine.distributed import ALONE, Alone, Shards
from ..engine.losses import LossRule
from ..engine.mapped import Blocks
from ..engine.minibatch import Samples
from ..engine.progress import Reporter, copy_into, warn_interrupted
from ..engine.rows import Rows, SparseRows, read_as_stored
from ..inputs import as_floats, as_stored, check_file, check_sparse
from ..io.checkpoint import Checkpoint, SharedCheckpoint, checkpoint_of
from ..io.layers import Layer, entries
from ..io.portable import Portable
from ..kernels.warning import warn_user
from .proof import class_numbers, factor_of
from .state import with_classes

_Method = TypeVar("_Method", bound=Callable[..., Any])

if TYPE_CHECKING:  # scikit-learn has no types: to a checker, its decorators leave the signatures as they are
    from sklearn.callback import CallbackSupportMixin
    from typing_extensions import Self

    def available_if(check: Callable[[Any], bool]) -> Callable[[_Method], _Method]: ...

    def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Method], _Method]: ...

    def with_callbacks(method: _Method) -> _Method: ...

else:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils.metaestimators import available_if

    try:
        from sklearn.callback import CallbackSupportMixin, with_callbacks
    except ImportError:  # before scikit-learn 1.9

        class CallbackSupportMixin:
            """Replaces scikit-learn's class of this name in versions that lack it."""

        def with_callbacks(method):
            return method


__all__ = [
    "Best", "FastClassifier", "HeldOut", "Kept", "all_or_nothing", "as_vector", "available_if", "clipped", "fit_context",
    "with_callbacks",
]  # fmt: skip

DTYPES = (np.float64, np.float32, np.uint8)
_LARGEST_BYTE = 255
_MAY_CHANGE = ("max_iter", "n_jobs", "verbose")  # from a run to the one that goes on from its checkpoint


def clipped(dtype: Any) -> LossRule:
    """scikit-learn's rule for vanishing probabilities: p is clipped to [eps, 1 - eps], eps being the machine epsilon."""
    eps = float(np.finfo(dtype).eps)
    return LossRule(float(np.log(eps)), float(np.log1p(-eps)), 0.0)


def as_vector(y: Any) -> Any:
    """y; a column becomes a vector, with scikit-learn's warning, which would point at a line of scikit-learn's."""
    shape: tuple[int, ...] = getattr(y, "shape", ())
    if len(shape) != 2 or shape[1] != 1:
        return y
    warn_user(
        "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples, ), for "
        "example using ravel().",
        DataConversionWarning,
    )
    return column_or_1d(y)


#: Attributes of a fitted model beside those whose names end in an underscore.
_OWN = ("_network", "_shown", "_optimiser", "_plateau", "_label_binarizer", "_mean", "_last")


def all_or_nothing(fit: _Method) -> _Method:
    """Let a fit that raises leave the model as it was or, if parameters may have changed, unfitted: never a mixture.

    An exception of a callback passes through, and leaves the model as it has been trained.
    """

    @functools.wraps(fit)
    def guarded(self: Any, *args: Any, **how: Any) -> Any:
        attributes = vars(self)
        before = dict(attributes)
        try:
            return fit(self, *args, **how)
        except BaseException:
            stage = attributes.get("_stage")
            if stage is None:
                attributes.clear()
                attributes.update(before)
            elif stage == "training":
                for name in [n for n in attributes if n in _OWN or (n.endswith("_") and not n.startswith("_"))]:
                    del attributes[name]
            raise
        finally:
            attributes.pop("_stage", None)

    return cast(_Method, guarded)


class Kept(NamedTuple):
    """The checkpoints of a fit, and the functions that give its state and take it back."""

    checkpoint: Checkpoint | SharedCheckpoint
    state: Callable[[], dict[str, Any]]
    restore: Callable[[dict[str, Any]], None]

    def restored(self) -> tuple[int, bool]:
        """Go on from the checkpoint, if there is one; returns the number of epochs done, and whether the run was over."""
        saved = self.checkpoint.restored()
        if saved is None:
            return 0, False
        self.restore(saved["fit"])
        return int(saved["epochs"]), bool(saved["over"])

    def after(self, epochs: int, over: bool, ended: bool) -> None:
        self.checkpoint.after(epochs, lambda: {"fit": self.state(), "over": over}, ended)


class HeldOut(NamedTuple):
    """The validation samples, on which a model is scored after each epoch."""

    samples: Samples
    y: NDArray[Any]
    rows: NDArray[np.int64]  # the validation samples' rows in ``samples`` and ``y``
    score_decides: bool  # the accuracy ends training; otherwise the validation loss does, and picks the best epoch
    shards: Shards  # in a group, ``rows`` are numbered as they are here


class Best:
    """A copy of the best epoch's parameters. ``memory`` gives the arrays in which they change, by name."""

    def __init__(self, memory: Callable[[], dict[str, NDArray[Any]]]) -> None:
        self._memory = memory
        self._copies: dict[str, NDArray[Any]] | None = None
        self.loss, self.t = math.inf, 0.0  # the validation loss, and the model's ``t_``, at the end of that epoch

    def keep(self, loss: float, t: float) -> None:
        """Make the epoch that has just ended the best one."""
        self._copies = {name: array.copy() for name, array in self._memory().items()}
        self.loss, self.t = loss, t

    def exists(self) -> bool:
        return self._copies is not None

    def bring_back(self) -> None:
        """Put the best epoch's parameters, if there is one, back to where they came from."""
        if self._copies is not None:
            for name, array in self._memory().items():
                array[...] = self._copies[name]

    def state(self) -> dict[str, Any]:
        return {"copies": self._copies, "loss": float(self.loss), "t": self.t}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take back what ``state`` has given; ValueError if it does not fit."""
        self._copies, self.loss, self.t = None, saved["loss"], saved["t"]
        if saved["copies"] is not None:
            self._copies = {name: array.copy() for name, array in self._memory().items()}
            for name, array in self._copies.items():
                copy_into(array, saved["copies"][name])


class FastClassifier(Portable, CallbackSupportMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The base of both estimators, with everything that does not depend on the kind of model."""

    scale: float | None
    shuffle: Any
    class_weight: Any
    verbose: Any
    classes_: NDArray[Any]
    scale_: float
    encoding_: list[tuple[str | None, list[str] | None]]
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    _stage: str  # of a fit that is under way: see ``all_or_nothing``
    _parameter_names: ClassVar[tuple[str, str]]  # the attributes with the trained weights and biases
    _activations: ClassVar[tuple[str, ...]] = ("relu",)  # that a torch module for this class may have

    # ------------------------------------------------------------ files and other libraries

    @classmethod
    def from_torch(cls, module: Any, *, classes: ArrayLike | None = None, **parameters: Any) -> Self:
        """A fitted estimator with the parameters of a torch module.

        Parameters
        ----------
        module : torch.nn.Sequential
            Linear layers, all float32 or all float64; ``FastLinearClassifier`` takes one layer. ``FastMLPClassifier`` takes
            ReLU, Tanh, Sigmoid or nothing between them, everywhere the same. A Flatten first, Dropout anywhere, and Softmax,
            LogSoftmax or Sigmoid last are allowed. A single output is the logit of the second of two classes. A Sigmoid on
            several outputs makes a multi-label ``FastMLPClassifier``.
        classes : array-like of shape (n_classes,), optional
            The class of each output, in any order; 0 … n_classes - 1 by default.
        **parameters
            Parameters of the constructor. The module gives ``hidden_layer_sizes`` and ``activation``.

        Returns
        -------
        estimator
            It has copies of the module's parameters, and 0 for a missing bias. ``partial_fit`` trains them further.

        Raises
        ------
        TypeError, ValueError
            If the module does not fit the class; the message says where.
        """
        from ..io.interchange import layers_of_module

        layers, top, activation = layers_of_module(module, cls._activations)
        if activation != "relu":
            parameters["activation"] = activation
        return cls._from_layers(layers, top, classes=classes, **parameters)

    def _state(self) -> dict[str, Any]:
        parameters = self.get_params(deep=False)
        is_fitted = bool(vars(self).keys() - parameters.keys())
        return {"parameters": parameters, "fitted": self._fitted_state() if is_fitted else None}

    @classmethod
    def _from_state(cls, state: Any) -> Self:
        entries(state, cls.__name__, ("parameters", "fitted"))
        model = cls(**state["parameters"])
        if state["fitted"] is not None:
            model._validate_params()  # partial_fit of a fitted model skips this, relying on fit
            model._restore(state["fitted"])
        return model

    @classmethod
    def _from_layers(
        cls, layers: list[Layer], top: str | None, *, classes: ArrayLike | None = None, **parameters: Any
    ) -> Self:
        several = top == "sigmoid" and len(layers[-1]["bias"]) > 1
        layers, known = with_classes(layers, top, several, classes)
        scale = parameters.get("scale")
        fitted = {
            "classes_": known,
            "n_features_in_": layers[0]["weight"].shape[1],
            "scale_": 1.0 if scale is None else float(scale),
            "n_iter_": 0,
            "loss_curve_": [],
            "validation_scores_": None,
            "validation_loss_curve_": None,
        }
        own_parameters, own_fitted = cls._before_training(layers, len(known), several)
        return cls._from_state({"parameters": {**own_parameters, **parameters}, "fitted": fitted | own_fitted})

    def _name_features(self, names: Sequence[str] | None, encoding: Sequence[Column] | None = None) -> None:
        """Set the names of the features, if there are some, as if X had been a data frame with these columns.

        ``encoding`` has the columns of the table that the features were made of, if some of them are encoded text. It
        becomes the attribute ``encoding_``, a list of pairs of a name and the categories, either of which may be None.
        """
        if names is not None:
            self.feature_names_in_ = np.array(names, object)
        if encoding is not None:
            self.encoding_ = [(name, None if texts is None else [*texts]) for name, texts in encoding]

    def _columns(self) -> list[Column]:
        """The columns of a table that the model takes, as ``datasets.read`` wants to be told."""
        if hasattr(self, "encoding_"):
            return [Column(*column) for column in self.encoding_]
        return [*map(Column, getattr(self, "feature_names_in_", [None] * self.n_features_in_))]

    def _fold_in(self, mean: NDArray[Any], spread: NDArray[Any]) -> None:
        """Turn a model of standardised features, in place, into one of the original features.

        This is exact up to rounding, because W (x - mean) / spread + b is linear in x.
        """
        W, b = self._first_layer()
        W /= spread.astype(W.dtype)
        b -= W @ mean.astype(W.dtype)

    def _samples_seen(self) -> int:
        """The number of samples that the model was trained on; a sample counts once per epoch."""
        raise NotImplementedError

    def _validation_score(self) -> float | None:
        """The accuracy on the validation data of the model in its final state; None without validation data."""
        raise NotImplementedError

    def _fitted_state(self) -> dict[str, Any]:
        """The fitted attributes, as values that a file can hold."""
        raise NotImplementedError

    def _restore(self, fitted: Any) -> None:
        """Check that values as from ``_fitted_state`` form one consistent model, and set the fitted attributes."""
        raise NotImplementedError

    @classmethod
    def _before_training(
        cls, layers: list[Layer], n_classes: int, several: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The constructor parameters that follow from these layers, and the fitted attributes before any training.

        ``several`` marks a multi-label model, in which each output is the logit of a label of its own.
        """
        raise NotImplementedError

    # ------------------------------------------------------------ fitting

    def _check(self, X: Any, y: Any = "no_validation", *, reset: bool, **options: Any) -> Any:
        """X, and y if given, checked by scikit-learn. X is copied unless it is C-ordered float64, float32 or uint8.

        For a model that scales bytes, other integers in 0 … 255 become bytes: they mean the same.
        """
        if reset and hasattr(self, "encoding_"):
            del self.encoding_  # it is of the table that the model was trained on before
        check_file(X, "X")
        given_sparse = sparse.issparse(X)
        if given_sparse:
            check_sparse(X, "X")
        factor = (1.0 if self.scale is None else float(self.scale)) if reset else factor_of(self)
        are_whole = factor != 1 and np.result_type(getattr(X, "dtype", None) or np.asarray(X)).kind in "biu"
        try:
            checked = validate_data(self, X, y, accept_sparse="csr", dtype=DTYPES, order="C", reset=reset, **options)
        except OverflowError as error:
            raise ValueError(f"X holds a number that no float can be: {error}") from None
        X, *rest = checked if isinstance(checked, tuple) else (checked,)
        if given_sparse:
            check_sparse(X, "X")  # from another format
        if factor != 1:
            X = self._as_bytes(X, factor, are_whole)
        if given_sparse and X.dtype == np.uint8:
            X = X.astype(np.float64) * factor
        return (X, *rest) if rest else X

    @staticmethod
    def _as_bytes(X: Any, factor: float, are_whole: bool) -> Any:
        """Samples for a model that multiplies bytes by ``factor``: bytes, if they are whole numbers in 0 … 255."""
        values = X.data if sparse.issparse(X) else X
        if X.dtype == np.uint8 or not values.size:
            return X
        least, most = values.min(), values.max()
        if are_whole and least >= 0 and most <= _LARGEST_BYTE:
            return X.astype(np.uint8)
        if most > 1.5 * _LARGEST_BYTE * factor:
            warn_user(
                f"X holds numbers up to {most:g}, but this model multiplies bytes by scale={factor:g}. Only bytes, and "
                f"whole numbers from 0 to {_LARGEST_BYTE}, are multiplied: these numbers are taken as they are."
            )
        return X

    # ------------------------------------------------------------ in a group of torch.distributed

    def _check_shard(self, comm: Alone, data: tuple[Any, Any], reset: bool, **options: Any) -> tuple[Any, Any]:
        """X and y, checked as by ``_check``; in a group they may be empty, and their kinds must be the same on all ranks."""
        X, y = data
        if not comm.grouped:
            return self._check(X, y, reset=reset, **options)
        if np.shape(X)[:1] == (0,):
            X, y = self._check(X, reset=reset, ensure_min_samples=0), np.asarray(y)
            if len(y):
                raise ValueError(f"y must be empty where X is, got {len(y)} labels")
        else:
            X, y = self._check(X, y, reset=reset, **options)
        # The kinds of an empty shard, which has no numbers, are those of the others.
        kinds = [kind for kind in comm.gather((X.dtype.name, y.dtype, y.shape[1:]) if X.shape[0] else None) if kind]
        if kinds and not X.shape[0]:
            name, labels, shape = kinds[0]
            X, y = X.astype(name), np.empty((0, *shape), labels)
        parameters = self.get_params(deep=False).items()
        given = {name: repr(value) for name, value in parameters if name not in (*_MAY_CHANGE, "random_state")}
        comm.agree(
            estimator=type(self).__name__, number_of_features=X.shape[1], dtype_of_X=X.dtype.name,
            kind_of_X="sparse" if sparse.issparse(X) else "dense", columns_of_y=y.shape[1:],
            kind_of_y="numbers" if y.dtype.kind in "biuf" else "names", max_iter=getattr(self, "max_iter", None),
            state="new" if reset else "fitted", **given,
        )  # fmt: skip
        return X, y

    @staticmethod
    def _weights_of_shard(
        sample_weight: Any, m: int, dtype: Any, shards: Shards, *, ensure_non_negative: bool = True, **_: bool
    ) -> NDArray[Any]:
        """The checked sample weights of a rank, which, unlike those of all ranks, may all be 0."""
        weights = as_floats(sample_weight, "sample_weight", np.dtype(dtype))
        if weights.shape != (m,):
            raise ValueError(f"sample_weight must have shape ({m},), got {weights.shape}")
        if ensure_non_negative and (weights < 0).any():
            raise ValueError("sample_weight must not be negative")
        if not any(shards.comm.gather(bool(weights.any()))):
            raise ValueError("sample_weight must contain at least one number that is not 0, on any rank")
        return weights

    def _blocks(self, array: Any, shards: Shards) -> Blocks | None:
        """The blocks to shuffle by, if the samples are to be shuffled by blocks."""
        own = Blocks.wished_for(array, self.shuffle)
        if shards.comm.grouped and array is not None and any(shards.comm.gather(own is not None)):
            return Blocks(array.shape[1] * array.itemsize)
        return own

    def _as_stored(self, X: Any, dtype: Any) -> NDArray[Any] | None:
        """X, or a copy in C order, if it needs none of scikit-learn's checks but for NaN and infinity; else None."""
        if "feature_names_in_" in vars(self) or self.scale_ != 1.0:  # then there may be a warning
            return None
        return as_stored(X, dtype, self.n_features_in_)

    def _note_scale(self) -> None:
        """Set ``scale_``, the factor for bytes, from ``scale``."""
        self.scale_ = 1.0 if self.scale is None else float(self.scale)

    def _rows(self, X: Any, dtype: Any) -> Any:
        """Checked samples as ``Rows`` or ``SparseRows``, for computing in ``dtype``.

        Bytes and memory-mapped files are not converted.
        """
        if sparse.issparse(X):
            return SparseRows(X, np.dtype(dtype))
        X = X if read_as_stored(X) else np.ascontiguousarray(X, dtype)
        return Rows(X, np.dtype(dtype), factor_of(self))

    def _computing_dtype(self, X: Any) -> np.dtype[Any]:
        """The dtype to compute in: float32 for bytes, otherwise X's own."""
        return np.dtype(np.float32 if X.dtype == np.uint8 else X.dtype)

    def _check_both(self, X: Any, y: Any, reset: bool, comm: Alone = ALONE) -> tuple[Any, NDArray[Any]]:
        """X and y, checked for training or, without ``reset``, against the fitted model."""
        raise NotImplementedError

    def _check_validation(self, validation: tuple[Any, Any, Any], dtype: Any, comm: Alone) -> tuple[Any, ...]:
        """Validation data of the user's own: X, y, weights, and how they lie with the ranks."""
        X, y, sample_weight = validation
        if X is None or y is None:
            raise ValueError(f"X_val and y_val go together: {'X_val' if X is None else 'y_val'} is None")
        X, y = self._check_both(X, y, False, comm)
        shards = Shards.of(comm, X.shape[0])
        given = shards.labels(y)
        labels = np.unique(given) if given.ndim == 1 else unique_labels(given)
        if unknown := {*labels.tolist()} - {*self.classes_.tolist()}:
            raise ValueError(f"y_val has classes that y does not have: {sorted(unknown)}")
        return X, y, self._weights(sample_weight, y, X, dtype, shards), shards

    def _note_validation(self, loss: float, score: float) -> None:
        self.validation_loss_curve_.append(loss)  # type: ignore[union-attr]
        self.validation_scores_.append(score)  # type: ignore[union-attr]

    def _sample_weights(
        self, sample_weight: Any, X: Any, dtype: Any, shards: Shards, **allowed: bool
    ) -> NDArray[Any] | None:
        """Checked sample weights; None if none are given. ``allowed`` are options of scikit-learn's check."""
        shards.comm.agree(use_of_sample_weight=sample_weight is not None)
        if sample_weight is None:
            return None
        if shards.comm.grouped:
            return self._weights_of_shard(sample_weight, X.shape[0], dtype, shards, **allowed)
        return _check_sample_weight(sample_weight, X, dtype=dtype, **{"ensure_non_negative": True, **allowed})

    def _weights(
        self, sample_weight: Any, y: Any, X: Any, dtype: Any, shards: Shards, **allowed: bool
    ) -> NDArray[Any] | None:
        """Sample weights times class weights; None if neither is given."""
        weights = self._sample_weights(sample_weight, X, dtype, shards, **allowed)
        if self.class_weight is not None:
            of_classes = self._class_weights(shards.of_all(y))[shards.first : shards.end].astype(dtype, copy=False)
            weights = of_classes if weights is None else weights * of_classes
            if not (np.isfinite(weights).all() and (of_classes >= 0).all()):
                raise ValueError(f"class_weight must hold finite numbers of at least 0, got {self.class_weight!r}")
        return None if weights is None else np.ascontiguousarray(weights, dtype)

    def _class_weights(self, y: Any) -> NDArray[Any]:
        """The class weight of each sample. A dict may name classes that these samples do not have."""
        try:
            if isinstance(self.class_weight, dict) and y.ndim == 1:
                of_classes = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
                return of_classes[class_numbers(self, y)]
            return compute_sample_weight(self.class_weight, y)
        except ValueError as error:
            raise ValueError(f"class_weight can not be {self.class_weight!r}: {error}") from None

    def _checkpoint(
        self, path: Any, every: Any, resume: bool, *data: Any, comm: Alone = ALONE
    ) -> Checkpoint | SharedCheckpoint | None:
        """The checkpoints of a fit on these arrays: X, y and the like; None if there shall be none."""
        if path is None:
            return checkpoint_of(path, every, resume, {}, comm=comm)  # describing a run takes as long as a small fit
        random = self.random_state if isinstance(self.random_state, Integral) else None
        parameters = {**self.get_params(deep=False), "random_state": random}
        given = {name: repr(value) for name, value in parameters.items() if name not in _MAY_CHANGE}
        return checkpoint_of(path, every, resume, {"estimator": type(self).__name__, **given}, data, comm)

    def _is_watched(self) -> bool:
        """Whether scikit-learn's callbacks are set, on this estimator or on one that contains it."""
        return bool(getattr(self, "_skl_callbacks", None)) or hasattr(self, "_parent_callback_ctx")

    @contextmanager
    def _callbacks(self, X: Any, y: Any, epochs: int) -> Iterator[Callable[[], bool]]:
        """Tell scikit-learn's callbacks, if there are any, when the fit begins and ends.

        The context yields a function to call after every epoch; it returns True if a callback wants to stop.
        """
        if not self._is_watched():
            yield lambda: False
            return
        context = self._init_callback_context(max_subtasks=epochs)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def after_epoch() -> bool:
            parameters = {name: getattr(self, name) for name in self._parameter_names}
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(epoch.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=parameters))

        yield after_epoch
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes={})

    def _reporter(
        self, line: Callable[[int, float], str], epochs: int, samples: int = 0, comm: Alone = ALONE
    ) -> Reporter:
        """What prints a fit's lines or its bar, as ``verbose`` wishes."""
        verbose = "bar" if self.verbose == "bar" else bool(self.verbose)
        return Reporter(verbose, line, epochs, samples=samples, comm=comm)

    def _end_epoch(
        self, loss: float, reporter: Reporter, evaluate: Callable[[float], None], after_epoch: Callable[[], bool]
    ) -> bool:
        """Count an epoch, report its loss, score the model, and call callbacks; returns True if one wants to stop."""
        self.n_iter_ += 1
        self.loss_curve_.append(loss)
        reporter.epoch(self.n_iter_ - 1, loss, lambda: None)
        evaluate(loss)
        self._stage = "callback"
        stop = after_epoch()
        self._stage = "training"
        return stop

    def _run_epochs(
        self,
        data: tuple[Any, Any, int],
        epochs: int,
        line: Callable[[int, float], str],
        train: Callable[[Callable[[int], None]], float],
        evaluate: Callable[[float], None],
        is_over: Callable[[Reporter], bool],
        kept: Kept | None = None,
        comm: Alone = ALONE,
    ) -> bool:
        """The training loop of a fit: at most ``epochs`` epochs, with reports, callbacks and early endings.

        ``data`` holds X and y, for the callbacks, and the number of samples in an epoch. ``line`` makes an epoch's printed
        line. ``train`` trains one epoch and returns the loss; its argument is a function to call with the number of samples
        just trained on. ``evaluate`` takes the loss and scores the model. ``is_over`` says whether too many epochs have
        brought no improvement. ``kept`` writes checkpoints, and goes on from one. Returns True if all epochs were trained,
        False if training ended before.
        """
        X, y, n_samples = data
        self._stage, self.n_iter_, over = "training", 0, False
        if kept is not None:
            self.n_iter_, over = kept.restored()
        with (
            self._reporter(line, epochs, n_samples, comm) as reporter,
            self._callbacks(X, y, epochs) as after_epoch,
        ):
            try:
                for epoch in range(self.n_iter_, 0 if over else epochs):
                    loss = comm.of_first(train(reporter.on_samples))
                    stop = self._end_epoch(loss, reporter, evaluate, lambda: comm.any(after_epoch))
                    over = stop or is_over(reporter)
                    if kept is not None:
                        kept.after(self.n_iter_, over, ended=over or epoch == epochs - 1)
                    if over:
                        return False
            except KeyboardInterrupt as interrupt:
                warn_interrupted(interrupt)
                return False
        return not over
