"""What both estimators share: data as scikit-learn checks it, weights, patience and callbacks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..engine.rows import Rows, read_as_stored
from ..engine.settings import LossRule
from ..io.portable import PortableEstimator

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's class of that name, where there is none."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:  # type: ignore[no-redef]
        return method


__all__ = ["FastClassifier", "TrainingInterrupted", "Watch", "clipped", "interrupted", "with_callbacks"]

DTYPES = (np.float64, np.float32, np.uint8)
BYTE_SCALE = 1 / 255


def clipped(dtype: Any) -> LossRule:
    """scikit-learn's rule for vanishing probabilities: p within [eps, 1 - eps]."""
    eps = float(np.finfo(dtype).eps)
    return LossRule(float(np.log(eps)), float(np.log1p(-eps)), 0.0)


class Watch:
    """Counts epochs without improvement: of a loss, which is to fall, or of a score, which is to rise.

    Better by less than ``tol`` is no improvement, but it is a new best. Source: scikit-learn's MLPClassifier.
    """

    def __init__(self, tol: float, rising: bool) -> None:
        self.tol, self.sign, self.best, self.count = tol, 1 if rising else -1, -np.inf, 0

    def after(self, value: float) -> bool:
        """Account for an epoch; True if it is the best so far."""
        gain = self.sign * value
        self.count = 0 if gain >= self.best + self.tol else self.count + 1
        better = gain > self.best
        if better:
            self.best = gain
        return better


class FastClassifier(PortableEstimator, CallbackSupportMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The part of an estimator that does not depend on its model."""

    scale: float | None
    class_weight: Any
    classes_: NDArray[Any]
    scale_: float

    def _check(self, X: Any, y: Any = "no_validation", *, reset: bool, **how: Any) -> Any:
        """X, and y if given, as scikit-learn checks them: float64, float32 or uint8, C-ordered, not copied if they are."""
        return validate_data(self, X, y, dtype=DTYPES, order="C", reset=reset, **how)

    def _note_scale(self, X: Any) -> None:
        """What bytes are multiplied by from now on."""
        if X.dtype == np.uint8:
            self.scale_ = BYTE_SCALE if self.scale is None else float(self.scale)
        else:
            self.scale_ = 1.0 if self.scale is None else float(self.scale)

    def _rows(self, X: Any, dtype: Any) -> Rows:
        """Samples that are checked, to be computed with in ``dtype``; bytes and mapped files stay what they are."""
        X = X if read_as_stored(X) else np.ascontiguousarray(X, dtype)
        return Rows(X, np.dtype(dtype), self.scale_)

    @staticmethod
    def _computing_dtype(X: Any) -> np.dtype[Any]:
        """Bytes are computed with in float32."""
        return np.dtype(np.float32 if X.dtype == np.uint8 else X.dtype)

    def _weights(self, sample_weight: Any, y: Any, X: Any, dtype: Any) -> NDArray[Any] | None:
        """Sample weights times class weights; None if all are 1."""
        if sample_weight is None and self.class_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, X, dtype=dtype, ensure_non_negative=True)
        if self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, y).astype(dtype, copy=False)
        return np.ascontiguousarray(weights, dtype)

    def _is_watched(self) -> bool:
        """Whether scikit-learn's callbacks are to be told of epochs."""
        return bool(getattr(self, "_skl_callbacks", None)) or hasattr(self, "_parent_callback_ctx")

    @contextmanager
    def _told(self, X: Any, y: Any, epochs: int) -> Iterator[Callable[[dict[str, Any]], bool]]:
        """Tell scikit-learn's callbacks, if there are any, of the fit's begin and end.

        The context is a function to be called after every epoch with the fitted attributes; True if a callback wants to
        stop.
        """
        if not self._is_watched():
            yield lambda attributes: False
            return
        context = self._init_callback_context(max_subtasks=epochs)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def after_epoch(attributes: dict[str, Any]) -> bool:
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(epoch.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=attributes))

        yield after_epoch
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes={})


class TrainingInterrupted(UserWarning):
    """Somebody has pressed Ctrl-C in ``fit``, which ends as if it had been asked for no more epochs."""


def interrupted() -> None:
    warnings.warn(
        "Training interrupted by user: the model is what it has become so far.", TrainingInterrupted, stacklevel=4
    )
