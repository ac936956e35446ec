"""Optimisers of a network: the state and the learning rates. ``kernels.update`` has the formulas of the steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.codes import ADAM, IN_PLACE, MOMENTUM, NESTEROV
from .memory import aligned
from .network import Network


class _Optimiser:
    """The base of both: a state of three vectors like the network's parameters, or none."""

    state: NDArray[Any] | None

    def fits(self, network: Network) -> bool:
        """Whether the state is of this network."""
        state = self.state
        return state is None or (state.shape == (3 * len(network.params),) and state.dtype == network.dtype)


class SGD(_Optimiser):
    """Gradient descent, optionally with momentum or Nesterov momentum.

    v = momentum v - rate g, and w += v; with Nesterov momentum, w += momentum v - rate g (Sutskever et al., 2013).
    ``simple`` means no L1 penalty and no average: then steps without momentum are in place, and need no state.
    """

    def __init__(
        self, network: Network, learning_rate: float, momentum: float = 0.0, nesterov: bool = False, simple: bool = True
    ) -> None:
        self.learning_rate, self.beta_1, self.beta_2, self.epsilon = learning_rate, momentum, 0.0, 0.0
        self.kind = IN_PLACE if simple and momentum == 0 else NESTEROV if nesterov else MOMENTUM
        self.state = None if self.kind == IN_PLACE else aligned(3 * len(network.params), network.dtype)

    def rates(self, steps: int) -> NDArray[np.float64]:
        """The learning rates of the next steps."""
        return np.full(steps, self.learning_rate, np.float64)


class Adam(_Optimiser):
    """Adam (Kingma and Ba, arXiv:1412.6980); the learning rates include the bias correction of the moments."""

    def __init__(
        self, network: Network, learning_rate: float, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        self.learning_rate, self.beta_1, self.beta_2, self.epsilon = learning_rate, beta_1, beta_2, epsilon
        self.kind, self.t = ADAM, 0
        self.state = aligned(3 * len(network.params), network.dtype)

    def rates(self, steps: int) -> NDArray[np.float64]:
        """The learning rates of the next steps; each call advances the step count ``t``."""
        t = np.arange(self.t + 1, self.t + steps + 1, dtype=np.float64)
        self.t += steps
        rates: Any = self.learning_rate * np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        return rates
