"""What the displays share: colours, axes of a new figure, checks of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: A colour per class or curve, chosen to be distinguishable with any colour vision (Petroff, 2021, arXiv:2107.02270).
COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
INK = "#222222"  # the colour of everything that belongs to no class


def colour(k: int) -> str:
    """The colour of class or curve number ``k``; the ten colours repeat."""
    return COLOURS[k % len(COLOURS)]


def open_sides(ax: Any) -> None:
    """Remove the upper and the right line of the frame."""
    ax.spines[["top", "right"]].set_visible(False)


def new_axes(rows: int = 1, columns: int = 1, **options: Any) -> Any:
    """Axes of a new figure, as pyplot's ``subplots`` makes them."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("fastclf.plots draws with matplotlib: pip install 'fastclf[lab]'") from None
    return plt.subplots(rows, columns, **options)[1]


def styled(artist: Any, own: Mapping[str, Any], **default: Any) -> dict[str, Any]:
    """The default style of a matplotlib artist, overridden by the user's arguments under their long or short names."""
    from matplotlib.cbook import normalize_kwargs

    return {**default, **normalize_kwargs(dict(own), artist)}


def check_fitted(estimator: Any) -> None:
    """Raise scikit-learn's NotFittedError for an estimator that is not fitted; a model without ``fit`` passes."""
    if hasattr(estimator, "fit"):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(estimator)
