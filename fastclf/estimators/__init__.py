"""Classifiers with scikit-learn's interface on compiled kernels: ``FastLinearClassifier`` and ``FastMLPClassifier``."""

from __future__ import annotations

from typing import Any

from ..io.layers import layers_of_theta
from ..io.portable import Portable
from .base import FastClassifier
from .linear import FastLinearClassifier
from .mlp import FastMLPClassifier

__all__ = ["FastLinearClassifier", "FastMLPClassifier"]


def as_estimator(model: Any) -> Any:
    """An estimator with the predictions of a lab model or of ``train_model``'s result; any other object unchanged."""
    if isinstance(model, tuple):
        theta, _ = model
        (layers, top), scale = layers_of_theta(theta), None
    elif isinstance(model, Portable) and not isinstance(model, FastClassifier):
        (layers, top), scale = model._layers(), model.scale  # type: ignore[attr-defined]
    else:
        return model
    cls = FastLinearClassifier if len(layers) == 1 else FastMLPClassifier
    return cls._from_layers(layers, top, scale=scale)
