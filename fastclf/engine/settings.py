"""What kernels are told of every step beside its data: rates, penalties, bounds, the rule for vanishing losses."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class LossRule(NamedTuple):
    """What the loss makes of a vanishing probability: log p within [low, high], or log(p + eps) if eps > 0."""

    low: float
    high: float
    eps: float


CLIPPED = LossRule(math.log(1e-15), math.log1p(-1e-15), 0.0)  # the lab's linear models clip p to [1e-15, 1 - 1e-15]
EXACT = LossRule(-math.inf, math.inf, 0.0)  # log-sum-exp: finite even where p is not
SHIFTED = LossRule(-math.inf, math.inf, 1e-10)  # the lab's deep MLP adds 1e-10


class Settings(NamedTuple):
    """The settings of a step; those that are left out do nothing."""

    rule: LossRule = EXACT
    learning_rate: float = 0.0
    clip_threshold: float = math.inf  # on every entry of the gradient
    bias_rate: float = 1.0  # learning rate of the biases over that of the weights
    l2: float = 0.0
    l2_shared: float = 0.0  # a penalty that the samples of a batch share: it is divided by their weight
    l1: float = 0.0
    beta_1: float = 0.0  # momentum, or the decay of Adam's first moment
    beta_2: float = 0.0
    epsilon: float = 0.0
    dropout: float = 0.0  # probability that a hidden unit is left out

    def vector(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The settings as kernels read them, in the order of ``kernels.codes``."""
        rule, learning_rate, clip_threshold, *others = self
        return np.array((learning_rate, clip_threshold, *rule, *others), dtype)
