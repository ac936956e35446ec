"""Rules that change or end a run: step decay of the learning rate, early stopping, and waiting on a plateau."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class StepDecay:
    """Multiply the learning rate by ``gamma`` after every ``step_size`` epochs.

    Source: the lab, section 4; the same rule as torch's StepLR.
    """

    learning_rate: float
    step_size: int
    gamma: float

    def after(self, epoch: int) -> bool:
        """Account for the end of epoch number ``epoch`` (from 0); True if the rate changed."""
        if (epoch + 1) % self.step_size:
            return False
        self.learning_rate *= self.gamma
        return True


@dataclass
class EarlyStopping:
    """Stop when the loss stays within ``min_delta`` of the best one for ``patience`` epochs.

    A loss below the best one becomes the best, and resets the count. A loss above the best one by more than ``min_delta``
    leaves the count unchanged. Source: the lab, section 4.
    """

    patience: int
    min_delta: float
    best_loss: float = math.inf
    counter: int = 0

    def after(self, loss: float) -> bool:
        """Account for an epoch's loss; True if the run should stop."""
        if loss < self.best_loss:
            self.best_loss, self.counter = loss, 0
            return False
        if abs(loss - self.best_loss) <= self.min_delta:
            self.counter += 1
            return self.counter >= self.patience
        return False


class Plateau:
    """Count the epochs since the last improvement: of a loss, which should fall, or of a score, which should rise.

    A value that is better by less than ``tol`` is a new best one, but no improvement. Source: scikit-learn's MLPClassifier.
    """

    def __init__(self, tol: float, rising: bool) -> None:
        self.tol, self.sign, self.best, self.count = tol, 1 if rising else -1, -math.inf, 0

    def after(self, value: float) -> bool:
        """Account for an epoch; True if it is the best so far."""
        gain = self.sign * value
        self.count = 0 if gain >= self.best + self.tol else self.count + 1
        better = gain > self.best
        if better:
            self.best = gain
        return better
