"""Step decay against torch's, early stopping against the lab's words."""

import math

import pytest

from fastclf.engine.schedules import EarlyStopping, Plateau, StepDecay

from ..helpers import IfInstalled

torch = IfInstalled("torch")


@pytest.mark.parametrize(("step_size", "gamma"), [(1, 0.5), (3, 0.1), (7, 2.0), (100, 0.5)])
def test_step_decay_is_torchs(step_size, gamma):
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    expected, decay = torch.optim.lr_scheduler.StepLR(optimiser, step_size, gamma), StepDecay(0.3, step_size, gamma)
    for epoch in range(20):
        before = decay.learning_rate
        optimiser.step()
        expected.step()
        changed = decay.after(epoch)
        assert decay.learning_rate == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-14)
        assert changed == (decay.learning_rate != before)


def stops_after(losses, patience, min_delta=0.1, best=math.inf):
    """How many of the losses are seen before the run stops, and what is then the best."""
    stopping = EarlyStopping(patience, min_delta, best)
    for count, loss in enumerate(losses, 1):
        if stopping.after(loss):
            return count, stopping.best_loss
    return None, stopping.best_loss


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([3, 2, 1, 0.99, 0.98], 1, (None, 0.98)),  # every better loss is the best, however little better
        ([1, 1, 1], 2, (3, 1)),  # no progress
        ([1, 1.05, 1.05, 1.05], 3, (4, 1)),  # worse, within min_delta
        ([1, 1.05, 0.9, 0.95, 0.95], 2, (5, 0.9)),  # a new best starts the count again
        ([1, 2, 2, 2, 2], 2, (None, 1)),  # far away: the count stays
        ([1, 1.05, 2, 1.05], 2, (4, 1)),  # … as it was
        ([1, 1.1], 1, (None, 1)),  # 1.1 - 1 is more than 0.1 in binary
        ([1, 1.0625], 1, (2, 1)),
        ([1, 1], 0, (2, 1)),
        ([math.nan, math.nan], 1, (None, math.inf)),  # a diverging run runs on
    ],
)
def test_early_stopping(losses, patience, expected):
    assert stops_after(losses, patience) == expected


def test_the_bound_itself_counts():
    assert stops_after([1, 1.25], 1, min_delta=0.25) == (2, 1)


def test_an_earlier_runs_best_is_the_one_to_beat():
    assert stops_after([2, 2], 2, min_delta=1, best=1.5) == (2, 1.5)
    assert stops_after([1, 1], 2, min_delta=1, best=1.5) == (None, 1)


@pytest.mark.parametrize("rising", [False, True])
def test_at_a_tolerance_of_0_what_is_as_good_as_the_best_is_an_improvement(rising):
    """As in scikit-learn, where only what is worse counts."""
    plateau, sign = Plateau(0.0, rising), 1 if rising else -1
    counts = []
    for value in (1.0, 1.0, 0.9, 1.0, 0.99, 1.1):
        plateau.after(sign * value)
        counts.append(plateau.count)
    assert counts == [0, 0, 1, 0, 1, 0]
