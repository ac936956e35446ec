"""Pictures of weights as images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inputs import as_count, as_matrix, as_theta
from ..io.portable import Portable
from .common import check_fitted, new_axes


class WeightTemplatesDisplay:
    """The weights of each class, or of each hidden unit, drawn as an image.

    One channel goes from blue for negative weights to red for positive ones; three channels are colours around grey. Each
    image is scaled by its largest absolute weight.

    Parameters
    ----------
    weights : array-like of shape (n_images, n_features)
    shape : tuple of int, optional
        The shape of one image: (height, width), or with 1 or 3 channels (channels, height, width), the order in which the
        lab flattens images, or (height, width, channels). None guesses a square of one channel, or of three that come first.
    names : sequence, optional
        A title for each image; None shows the number of the image.

    Attributes
    ----------
    images : list of ndarray of shape (height, width) or (height, width, 3)
        The images as drawn: weights in [-1, 1], or colours in [0, 1].
    axes_ : ndarray of matplotlib Axes
        One per image.
    figure_ : matplotlib Figure

    Raises
    ------
    TypeError, ValueError
        If weights is not a matrix of finite numbers, or shape or names does not fit.
    """

    axes_: NDArray[Any]
    figure_: Any

    def __init__(
        self, weights: ArrayLike, shape: Sequence[int] | None = None, names: Iterable[Any] | None = None
    ) -> None:
        rows = as_matrix(weights, "weights", np.dtype(np.float64))
        self.shape = _image_shape(shape, rows.shape[1])
        self.images = [_image(row.reshape(self.shape)) for row in rows]
        self.names = [str(name) for name in (range(len(rows)) if names is None else names)]
        if len(self.names) != len(rows):
            raise ValueError(f"names must have {len(rows)} entries, one per image, got {len(self.names)}")

    def plot(self, ax: Any = None, *, n_columns: int = 5, colorbar: bool = False) -> WeightTemplatesDisplay:
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, optional
            At least one per image; surplus axes stay blank. None makes a new figure.
        n_columns : int
            Number of images side by side in a new figure.
        colorbar : bool
            Add a bar that says what the colours mean. Images of three channels have none.

        Returns
        -------
        WeightTemplatesDisplay
            This object.

        Raises
        ------
        TypeError, ValueError
            If there are fewer axes than images, or n_columns is no positive whole number.
        """
        n = len(self.images)
        if ax is None:
            rows, columns, size = grid(n, as_count(n_columns, "n_columns", 1))
            ax = new_axes(rows, columns, figsize=size, layout="constrained")
        axes = np.ravel(np.asarray(ax, dtype=object))
        if len(axes) < n:
            raise ValueError(f"ax must hold {n} Axes, one per image, got {len(axes)}")
        for own, image, name in zip(axes, self.images, self.names):
            drawn = own.imshow(image, cmap="RdBu_r", vmin=-1, vmax=1)
            own.set_title(name, fontsize="medium")
        for each in axes:
            each.set_axis_off()
        self.axes_, self.figure_ = axes[:n], axes[0].figure
        if colorbar and self.images[0].ndim == 2:
            bar = self.figure_.colorbar(drawn, ax=axes.tolist(), shrink=0.7, ticks=(-1, 0, 1))
            bar.ax.set_yticklabels(["against", "0", "for"])
            bar.set_label("what a brighter pixel speaks for")
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        shape: Sequence[int] | None = None,
        *,
        names: Iterable[Any] | None = None,
        n_units: int = 20,
        ax: Any = None,
        **options: Any,
    ) -> WeightTemplatesDisplay:
        """Draw the weights of a linear model's classes, or of the first hidden units of an MLP.

        Parameters
        ----------
        estimator : classifier
            A linear model with ``coef_`` or ``W``, a row per class, such as FastLinearClassifier or ImageLinearClassifier;
            or an MLP with ``coefs_`` or ``W1``, such as FastMLPClassifier or the lab's MLPs.
        shape : tuple of int, optional
            The shape of one image, as for the class.
        names : sequence, optional
            A title for each image; None shows the class that a fitted estimator knows, else the number.
        n_units : int
            The largest number of hidden units to draw.
        ax : matplotlib Axes or array of Axes, optional
            At least one per image; None makes a new figure.
        **options
            Arguments of ``plot``.

        Returns
        -------
        WeightTemplatesDisplay

        Raises
        ------
        TypeError, ValueError
            If the estimator has no such weights, or shape or names does not fit.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        check_fitted(estimator)
        units = as_count(n_units, "n_units", 1)
        weights, has_hidden = _first_layer(estimator)
        if has_hidden:
            weights = weights[:units]
        elif names is None and (classes := getattr(estimator, "classes_", None)) is not None:
            names = classes[-len(weights) :]  # with two classes there is one row, that of the second class
        return cls(weights, shape, names).plot(ax, **options)

    @classmethod
    def from_theta(
        cls,
        theta: ArrayLike,
        shape: Sequence[int] | None = None,
        *,
        names: Iterable[Any] | None = None,
        ax: Any = None,
        **options: Any,
    ) -> WeightTemplatesDisplay:
        """Draw the columns of ``train_model``'s parameters, without the bias.

        Parameters
        ----------
        theta : array-like of shape (n_features + 1, n_classes)
            Row 0 is the bias.
        shape : tuple of int, optional
            The shape of one image, as for the class.
        names : sequence, optional
            A title for each image; None shows the class number, which is 1 for the single column of a sigmoid.
        ax : matplotlib Axes or array of Axes, optional
            At least one per image; None makes a new figure.
        **options
            Arguments of ``plot``.

        Returns
        -------
        WeightTemplatesDisplay

        Raises
        ------
        TypeError, ValueError
            If theta is not a matrix of finite numbers, or shape or names does not fit.
        """
        weights = as_theta(theta)[1:].T
        return cls(weights, shape, ("1",) if names is None and len(weights) == 1 else names).plot(ax, **options)


def _first_layer(estimator: Any) -> tuple[Any, bool]:
    """The weights of the first layer, a row per unit or class, and whether they are those of hidden units.

    A ``Portable`` model provides its own layers; any other one is read by scikit-learn's attributes, or by the lab's.
    """
    if isinstance(estimator, Portable):
        layers, _ = estimator._layers()
        return estimator._first_layer()[0], len(layers) > 1
    for name, has_hidden in (("coef_", False), ("coefs_", True), ("W1", True), ("W", False)):
        weights = getattr(estimator, name, None)
        if name == "coefs_" and weights is not None:
            return weights[0].T, has_hidden
        if weights is not None:
            return weights.toarray() if hasattr(weights, "toarray") else weights, has_hidden
    raise TypeError(f"estimator must have coef_, coefs_, W or W1, got {type(estimator).__name__}")


def grid(n: int, n_columns: int = 5) -> tuple[int, int, tuple[float, float]]:
    """The numbers of rows and columns for ``n`` images, and the size of their figure in inches."""
    columns = min(n, n_columns)
    rows = -(-n // columns)
    return rows, columns, (1.7 * columns, 1.9 * rows)


def _image_shape(shape: Sequence[int] | None, n: int) -> tuple[int, ...]:
    """The shape of an image of ``n`` numbers: the given one, checked, or if None a guess from ``n``."""
    if shape is None:
        for channels in ((), (3,)):
            side = math.isqrt(n // math.prod(channels))
            if math.prod((*channels, side, side)) == n:
                return (*channels, side, side)
        raise ValueError(f"shape must be given: {n} features are neither a square image nor three channels of one")
    sizes = tuple(as_count(size, "a size of shape", 1) for size in np.atleast_1d(np.asarray(shape, object)))
    if len(sizes) not in (2, 3) or (len(sizes) == 3 and not {sizes[0], sizes[2]} & {1, 3}):
        raise ValueError(f"shape must be (H, W), (C, H, W) or (H, W, C), with C 1 or 3, got {sizes}")
    if math.prod(sizes) != n:
        raise ValueError(f"shape must hold {n} numbers, one per feature, got {sizes}, which holds {math.prod(sizes)}")
    return sizes


def _image(weights: NDArray[Any]) -> NDArray[Any]:
    """The weights of one image, scaled for matplotlib: (H, W) in [-1, 1], or (H, W, 3) in [0, 1], where 0.5 is no weight."""
    scaled = weights / (np.abs(weights).max() or 1)
    if scaled.ndim == 3 and scaled.shape[0] in (1, 3):
        scaled = scaled.transpose(1, 2, 0)
    if scaled.ndim == 3 and scaled.shape[2] == 3:
        return (1 + scaled) / 2
    return scaled.reshape(scaled.shape[:2])
