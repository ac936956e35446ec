"""A picture of the regions of the plane that a classifier assigns to each class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from ..inputs import as_array, as_count, as_matrix, as_theta
from .common import INK, check_fitted, colour, new_axes, styled

_MARGIN = 0.1  # width of the margin around the samples, as a fraction of their smaller extent
_CLASSES_INSIDE = 5  # a legend of more classes stands beside the axes, because inside it would hide samples


class DecisionBoundary:
    """The regions that a classifier of two features assigns to each class, drawn by scikit-learn, with samples on top.

    Parameters
    ----------
    estimator : classifier
        A fitted classifier with ``predict`` and ``classes_``, or a model of the lab, whose classes are numbers from 0 on.
    X : array-like of shape (n_samples, 2)
        Samples as rows, also for a model of the lab; the drawn part of the plane reaches a little beyond them.
    y : array-like of shape (n_samples,), optional
        The classes of the samples.
    class_names : sequence, optional
        Names for the legend, in the order of ``classes_``; None shows ``classes_`` themselves.
    grid_resolution : int
        Number of predictions along each axis.

    Attributes
    ----------
    boundary_ : sklearn.inspection.DecisionBoundaryDisplay
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Raises
    ------
    TypeError, ValueError
        If the estimator is no classifier, X does not have two features, or y or class_names does not fit.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """

    boundary_: Any
    ax_: Any
    figure_: Any

    def __init__(
        self,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        class_names: Iterable[Any] | None = None,
        grid_resolution: int = 300,
    ) -> None:
        from ..estimators import as_estimator

        check_fitted(estimator)
        estimator = as_estimator(estimator)
        if not hasattr(estimator, "predict") or not hasattr(estimator, "classes_"):
            raise TypeError(f"estimator must have predict and classes_, got {type(estimator).__name__}")
        self.estimator, self.classes = estimator, np.asarray(estimator.classes_)
        self.grid_resolution = as_count(grid_resolution, "grid_resolution", 2)
        self.X = as_matrix(X, "X", np.dtype(np.float64), n_columns=2)
        # A data frame keeps the names of its columns, because the estimator may check them.
        self._plane = cast(Any, X) if hasattr(X, "columns") else self.X
        if as_array(X, "X").dtype == np.uint8:
            scale = getattr(estimator, "scale_", 1)  # the estimator scales bytes, but not the floats of the plane
            self.X, self._plane = self.X * scale, self._plane * scale
        self.class_names = [str(name) for name in (self.classes if class_names is None else class_names)]
        if len(self.class_names) != len(self.classes):
            raise ValueError(
                f"class_names must have {len(self.classes)} entries, one per class, got {len(self.class_names)}"
            )
        self.y = None if y is None else np.asarray(y)
        if self.y is not None and self.y.shape != (len(self.X),):
            raise ValueError(f"y must have shape ({len(self.X)},), one class per sample, got {self.y.shape}")
        known = self.classes.tolist()
        for label in [] if self.y is None else self.y.tolist():
            if label not in known:
                raise ValueError(f"y must hold classes of the estimator, {known}, got {label!r}")

    def plot(self, ax: Any = None, **scatter: Any) -> DecisionBoundary:
        """Draw the regions and the samples.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; None makes a new figure.
        **scatter
            Arguments of matplotlib's ``scatter``, for the samples.

        Returns
        -------
        DecisionBoundary
            This object.
        """
        ax = new_axes(layout="constrained") if ax is None else ax
        from matplotlib.collections import PathCollection
        from matplotlib.colors import ListedColormap
        from sklearn.inspection import DecisionBoundaryDisplay

        extents, n_classes = np.ptp(self.X, axis=0), len(self.classes)
        self.boundary_ = DecisionBoundaryDisplay.from_estimator(
            self.estimator, self._plane, ax=ax, response_method="predict", plot_method="pcolormesh", alpha=0.3, zorder=-1,
            grid_resolution=self.grid_resolution, eps=_MARGIN * (extents[extents > 0].min() if extents.any() else 1),
        )  # fmt: skip
        # Set here, because the argument for colours depends on scikit-learn's version and on the number of classes.
        self.boundary_.surface_.set_cmap(ListedColormap([colour(k) for k in range(n_classes)]))
        self.boundary_.surface_.set_clim(-0.5, n_classes - 0.5)
        style = {"s": 26, "edgecolor": "white", "linewidth": 0.5, "clip_on": False}
        if self.y is None:
            ax.scatter(*self.X.T, **styled(PathCollection, scatter, color=INK, **style))
        else:
            for k, name in enumerate(self.class_names):
                chosen = self.X[self.y == self.classes[k]]
                ax.scatter(*chosen.T, **styled(PathCollection, scatter, color=colour(k), label=name, **style))
            beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if n_classes > _CLASSES_INSIDE else {}
            ax.legend(title="class", **({"loc": "upper right"} | beside))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, y: ArrayLike | None = None, *, ax: Any = None, **options: Any
    ) -> DecisionBoundary:
        """Draw the regions of a fitted classifier.

        Parameters
        ----------
        estimator : classifier
            A fitted classifier with ``predict`` and ``classes_``, of this package or of scikit-learn, also a pipeline or a
            search; or a model of the lab, whose classes are numbers from 0 on.
        X : array-like of shape (n_samples, 2)
            Samples as rows, also for a model of the lab; the drawn part of the plane reaches a little beyond them.
        y : array-like of shape (n_samples,), optional
            The classes of the samples.
        ax : matplotlib Axes, optional
            Where to draw; None makes a new figure.
        **options
            ``class_names`` and ``grid_resolution`` of the class.

        Returns
        -------
        DecisionBoundary

        Raises
        ------
        TypeError, ValueError
            If an argument is not what the class asks for.
        """
        return cls(estimator, X, y, **options).plot(ax)

    @classmethod
    def from_theta(
        cls, theta: ArrayLike, X: ArrayLike, y: ArrayLike | None = None, *, ax: Any = None, **options: Any
    ) -> DecisionBoundary:
        """Draw the regions of a linear model of two features, given by the parameters that ``train_model`` returned.

        Parameters
        ----------
        theta : array-like of shape (3, n_classes)
            Row 0 is the bias. A single column is that of a sigmoid, for class 1.
        X : array-like of shape (n_samples, 2)
            Samples without a column of ones; the drawn part of the plane reaches a little beyond them.
        y : array-like of shape (n_samples,), (n_samples, 1) or (n_samples, n_classes), optional
            Class numbers, or the targets that ``train_model`` took.
        ax : matplotlib Axes, optional
            Where to draw; None makes a new figure.
        **options
            ``class_names`` and ``grid_resolution`` of the class.

        Returns
        -------
        DecisionBoundary

        Raises
        ------
        TypeError, ValueError
            If an argument is not what is described here.
        """
        from ..estimators import as_estimator

        parameters = as_theta(theta)
        if len(parameters) != 3:
            raise ValueError(f"theta must have 3 rows, the bias and two features, got shape {parameters.shape}")
        labels = None if y is None else as_array(y, "y")
        if labels is not None and labels.ndim == 2:
            labels = labels.argmax(axis=1) if labels.shape[1] > 1 else labels[:, 0]
        return cls(as_estimator((parameters, [])), X, labels, **options).plot(ax)
