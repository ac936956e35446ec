"""Pictures of a training, drawn by matplotlib, in scikit-learn's Display convention.

A display is made from data. ``plot`` draws it, sets ``figure_`` and ``ax_`` or ``axes_``, and returns the display. The class
methods ``from_…`` take a model, or the result of a trainer, and draw at once. ``ax=None`` makes a new figure with pyplot; a
display on given axes does not use pyplot. matplotlib is imported when something is drawn.
"""

from .boundary import DecisionBoundary
from .losses import LossCurveDisplay
from .templates import WeightTemplatesDisplay

__all__ = ["DecisionBoundary", "LossCurveDisplay", "WeightTemplatesDisplay"]
