"""Pictures of a training, in scikit-learn's Display convention, on matplotlib.

A display is made from data; ``plot`` draws it and returns it, with ``figure_`` and ``ax_`` or ``axes_``; the class methods
``from_…`` take a model, or what a trainer returned, and draw at once. ``ax=None`` makes a new figure with pyplot; axes that
are given are drawn on, and pyplot is not asked. matplotlib is imported when something is drawn.
"""

from .boundary import DecisionBoundary
from .losses import LossCurveDisplay
from .templates import WeightTemplatesDisplay

__all__ = ["DecisionBoundary", "LossCurveDisplay", "WeightTemplatesDisplay"]
