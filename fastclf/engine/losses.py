"""Three conventions for the loss of a vanishing probability. Every model follows one of them."""

from __future__ import annotations

import math
from typing import NamedTuple


class LossRule(NamedTuple):
    """The logarithm in the loss: log p clipped to [log_low, log_high], or log(p + eps) if eps > 0."""

    log_low: float
    log_high: float
    eps: float


CLIPPED = LossRule(math.log(1e-15), math.log1p(-1e-15), 0.0)  # the lab's linear models clip p to [1e-15, 1 - 1e-15]
EXACT = LossRule(-math.inf, math.inf, 0.0)  # log-sum-exp: log p is finite even where p rounds to 0
SHIFTED = LossRule(-math.inf, math.inf, 1e-10)  # the lab's deep MLP adds 1e-10
