"""The confusion matrix: how often each class is predicted for each true class. scikit-learn draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

_LONGEST_ROW = 30  # letters side by side under the picture; class names that need more are written vertically


def draw_confusion(
    ax: Any, truth: ArrayLike, predictions: ArrayLike, classes: ArrayLike, names: Sequence[str] | None = None
) -> None:
    """Draw the matrix: rows are the truth, columns the predictions. ``names``, if given, label the classes."""
    from sklearn.metrics import ConfusionMatrixDisplay

    shown = [str(name) for name in (classes if names is None else names)]  # type: ignore[union-attr]
    ConfusionMatrixDisplay.from_predictions(
        truth, predictions, labels=classes, display_labels=shown, cmap="Blues", colorbar=False, ax=ax,
        xticks_rotation="vertical" if len(shown) * max(map(len, shown)) > _LONGEST_ROW else "horizontal",
    )  # fmt: skip
