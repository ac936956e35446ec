"""A picture of losses by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inputs import as_array
from .common import check_fitted, colour, new_axes, open_sides, styled

_DASHES = ("-", "--", ":", "-.")


class LossCurveDisplay:
    """Loss curves by epoch, on an axis that starts at 0.

    Parameters
    ----------
    curves : mapping of str to sequence of float
        The loss of each epoch, in nats, under the name that the legend shows; the legend leaves out an empty name.

    Attributes
    ----------
    curves : dict of str to ndarray of shape (n_epochs,)
    lines_ : list of matplotlib Line2D
        One per curve.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Raises
    ------
    TypeError, ValueError
        If there is no curve, or one is not a list of numbers.
    """

    lines_: list[Any]
    ax_: Any
    figure_: Any

    def __init__(self, curves: Mapping[str, ArrayLike]) -> None:
        if not isinstance(curves, Mapping):
            raise TypeError(f"curves must map names to losses, got {type(curves).__name__}")
        if not curves:
            raise ValueError("curves must hold at least one curve, got none")
        self.curves: dict[str, NDArray[Any]] = {}
        for name, losses in curves.items():
            called = f"losses of {name!r}" if name else "losses"
            self.curves[name] = as_array(losses, called)
            if self.curves[name].ndim != 1 or not self.curves[name].size:
                raise ValueError(f"{called} must be one number per epoch, got shape {self.curves[name].shape}")

    def plot(
        self,
        ax: Any = None,
        *,
        curve_kwargs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        legend: bool = True,
    ) -> LossCurveDisplay:
        """Draw a line per curve: the first solid, the next ones dashed or dotted, so that equal curves all show.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; None makes a new figure.
        curve_kwargs : dict or list of dict, optional
            Arguments of matplotlib's ``plot``: one dict for all curves, or a list with one for each curve.
        legend : bool
            Show the names of the curves.

        Returns
        -------
        LossCurveDisplay
            This object.

        Raises
        ------
        ValueError
            If ``curve_kwargs`` is a list with fewer or more entries than there are curves.
        """
        ax = new_axes() if ax is None else ax
        from matplotlib.lines import Line2D

        if curve_kwargs is None or isinstance(curve_kwargs, Mapping):
            curve_kwargs = [curve_kwargs or {}] * len(self.curves)
        if len(curve_kwargs) != len(self.curves):
            raise ValueError(
                f"curve_kwargs must have {len(self.curves)} entries, one per curve, got {len(curve_kwargs)}"
            )
        self.lines_ = []
        for i, (name, losses) in enumerate(self.curves.items()):
            style = styled(
                Line2D, curve_kwargs[i], color=colour(i), linestyle=_DASHES[i % len(_DASHES)], linewidth=2,
                marker="o" if len(losses) == 1 else None, label=name,
            )  # fmt: skip
            self.lines_ += ax.plot(np.arange(1, len(losses) + 1), losses, **style)
        ax.update_datalim([(1, 0)])  # include 0: margins are a fraction of the height, and a flat curve has none
        ax.autoscale_view()
        if ax.dataLim.y0 >= 0:
            ax.set_ylim(bottom=0)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss (nats)")
        ax.grid(alpha=0.25)
        open_sides(ax)
        if legend and any(self.curves):
            ax.legend(frameon=False, loc="upper right")  # where a falling curve is not; "best" looks at every epoch
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_losses(
        cls, losses: ArrayLike | Mapping[str, ArrayLike], *, ax: Any = None, **options: Any
    ) -> LossCurveDisplay:
        """Draw the losses that ``train_model``, ``train`` or the ``train`` method of the lab's MLPs has returned.

        Parameters
        ----------
        losses : sequence of float, or mapping of str to sequence of float
            The losses of one training, or of several under their names.
        ax : matplotlib Axes, optional
            Where to draw; None makes a new figure.
        **options
            Arguments of ``plot``.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        TypeError, ValueError
            If the losses are not one number per epoch.
        """
        return cls(losses if isinstance(losses, Mapping) else {"": losses}).plot(ax, **options)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **options: Any) -> LossCurveDisplay:
        """Draw the losses that a fitted estimator keeps.

        Parameters
        ----------
        estimator : FastLinearClassifier, FastMLPClassifier or alike
            Its ``loss_curve_`` is drawn, and its ``validation_loss_curve_`` where there is one.
        ax : matplotlib Axes, optional
            Where to draw; None makes a new figure.
        **options
            Arguments of ``plot``.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        TypeError
            If the estimator keeps no losses.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        check_fitted(estimator)
        if not hasattr(estimator, "loss_curve_"):
            raise TypeError(f"estimator must have a loss_curve_, got {type(estimator).__name__}")
        curves = {"training": estimator.loss_curve_, "validation": getattr(estimator, "validation_loss_curve_", None)}
        return cls({name: losses for name, losses in curves.items() if losses is not None}).plot(ax, **options)
