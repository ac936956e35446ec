"""The conventions for the loss of a vanishing probability, of which every model follows one."""

from __future__ import annotations

import math
from typing import NamedTuple


class LossRule(NamedTuple):
    """What the loss makes of a vanishing probability: log p within [low, high], or log(p + eps) if eps > 0."""

    log_low: float
    log_high: float
    eps: float


CLIPPED = LossRule(math.log(1e-15), math.log1p(-1e-15), 0.0)  # the lab's linear models clip p to [1e-15, 1 - 1e-15]
EXACT = LossRule(-math.inf, math.inf, 0.0)  # log-sum-exp: finite even where p is not
SHIFTED = LossRule(-math.inf, math.inf, 1e-10)  # the lab's deep MLP adds 1e-10
