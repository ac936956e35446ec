"""The kernels behind scikit-learn's interface: ``FastLinearClassifier`` and ``FastMLPClassifier``."""

from .linear import FastLinearClassifier
from .mlp import FastMLPClassifier

__all__ = ["FastLinearClassifier", "FastMLPClassifier"]
