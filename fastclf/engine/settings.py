"""What kernels are told beside the data: the loss's rule for vanishing probabilities, rates, penalties, bounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class LossRule(NamedTuple):
    """What the loss makes of a vanishing probability: log p within [low, high], or log(p + eps) if eps > 0."""

    low: float
    high: float
    eps: float


CLIPPED = LossRule(math.log(1e-15), math.log1p(-1e-15), 0.0)  # the lab's linear models clip p to [1e-15, 1 - 1e-15]
EXACT = LossRule(-math.inf, math.inf, 0.0)  # log-sum-exp: finite even where p is not
SHIFTED = LossRule(-math.inf, math.inf, 1e-10)  # the lab's deep MLP adds 1e-10


def settings(
    dtype: np.dtype,
    learning_rate: float = 0.0,
    rule: LossRule = EXACT,
    clip_threshold: float = math.inf,
    bias: float = True,
    *,
    l2: float = 0.0,
    l2_shared: float = 0.0,
    l1: float = 0.0,
    beta_1: float = 0.0,
    beta_2: float = 0.0,
    epsilon: float = 0.0,
    dropout: float = 0.0,
) -> np.ndarray:
    """The numbers that kernels read beside the data, in the order of ``kernels.batch``.

    ``bias`` is the learning rate of biases over that of weights. ``l2_shared`` is a penalty that a batch's samples share: it
    is divided by their weight.
    """
    entries = learning_rate, clip_threshold, *rule, bias, l2, l2_shared, l1, beta_1, beta_2, epsilon, dropout
    return np.array(entries, dtype)
