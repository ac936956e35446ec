"""Dropout: the gradient is that of the masked network, and masks differ wherever they should."""

import numpy as np
import pytest

from fastclf.engine import minibatch
from fastclf.engine.losses import EXACT
from fastclf.engine.minibatch import BatchTrainer, Samples, Workspace
from fastclf.engine.network import Network
from fastclf.engine.optimisers import SGD, Adam
from fastclf.engine.rows import Rows
from fastclf.kernels.codes import TRAIN
from fastclf.kernels.records import Settings

from ..helpers import FINITE_DIFFERENCES, assert_close

M, P = 9, 0.5
WIDTHS = [(4, 6, 3), (4, 6, 5, 3), (4, 6, 5, 7, 3), (4, 6, 5, 7, 6, 3)]


class Training:
    """Steps with dropout from one start; the same seed gives the same masks at any parameters."""

    def __init__(self, widths, m=M, p=P, dtype=np.float64, sigmoid=False, capacity=None):
        rng = np.random.default_rng(len(widths))
        self.net, self.p, self.sigmoid = Network(widths, np.dtype(dtype)), p, sigmoid
        self.net.params[:] = rng.standard_normal(len(self.net.params))
        self.start = self.net.params.copy()
        X = rng.standard_normal((m, widths[0])).astype(dtype)
        self.samples = Samples(Rows(X, X.dtype), rng.integers(2 if sigmoid else widths[-1], size=m))
        self.work = Workspace(self.net, capacity or m)

    def run(self, rate=0.0, optimiser=None, seed=3, params=None, **how):
        """The losses of the steps, from ``params`` on."""
        self.net.params[:] = self.start if params is None else params
        settings = Settings(*EXACT, rate, dropout=self.p)
        trainer = BatchTrainer(self.net, self.samples, settings, self.work, optimiser, self.sigmoid)
        return trainer.run(TRAIN, seed=seed, **how)

    def differences(self, width=1e-5, **how):
        """The gradient of the loss by central differences."""
        gradient = np.zeros(len(self.start))
        for W in (*self.net.weights, *self.net.biases):
            first = (W.__array_interface__["data"][0] - self.net.params.__array_interface__["data"][0]) // W.itemsize
            for i in range(first, first + W.size):
                losses = []
                for step in (width, -width):
                    params = self.start.copy()
                    params[i] += step
                    losses.append(self.run(params=params, **how)[0])
                gradient[i] = (losses[0] - losses[1]) / (2 * width)
        return gradient


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("p", [0.5, 0.2])
def test_the_gradient_is_that_of_the_masked_network(widths, p):
    training = Training(widths, p=p)
    expected = training.differences()
    training.run(1.0)
    assert_close(FINITE_DIFFERENCES, gradient=(training.start - training.net.params, expected))


def test_a_sigmoid_has_the_gradient_of_the_masked_network():
    training = Training((4, 6, 5, 1), sigmoid=True)
    expected = training.differences()
    training.run(1.0)
    assert_close(FINITE_DIFFERENCES, gradient=(training.start - training.net.params, expected))


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_both_solvers_step_along_it(widths):
    training = Training(widths)
    gradient = training.differences()
    training.run(0.1, SGD(training.net, 0.1, momentum=0.9))
    assert_close(FINITE_DIFFERENCES, sgd=((training.start - training.net.params) / 0.1, gradient))
    adam = Adam(training.net, 0.1)
    training.run(0.0, adam, rates=adam.rates(1))
    first_moments = adam.state[: len(gradient)]  # beta_1 of the settings is 0
    assert_close(FINITE_DIFFERENCES, adam=(first_moments, gradient))


def test_a_batch_in_pieces_has_the_gradient_of_its_masks():
    training = Training((4, 6, 5, 3), m=40, capacity=16)
    expected = training.differences()
    training.run(1.0)
    assert_close(FINITE_DIFFERENCES, gradient=(training.start - training.net.params, expected))


def masks(training, **how):
    """Which hidden units were kept in the last step, by layer."""
    training.run(**how)
    m = len(training.samples.X)
    hidden = range(len(training.net.layout) - 1)
    return [training.work.samples("A", layer, min(m, training.work.piece))[:, :].copy() > 0 for layer in hidden]


def wide(m, capacity=None):
    """All hidden units would be on, so that what is off has been left out."""
    training = Training((4, 200, 200, 3), m=m, capacity=capacity)
    training.net.params[:] = 0.01
    training.samples = training.samples._replace(X=Rows(np.ones((m, 4)), np.dtype(float)))
    training.start = training.net.params.copy()
    return training


def apart(a, b):
    """Two masks of a half are independent: about half of their units differ."""
    return 0.4 < (a != b).mean() < 0.6


def test_masks_differ_by_seed_step_layer_sample_and_piece():
    training = wide(32)
    one, again, other = masks(training, seed=1), masks(training, seed=1), masks(training, seed=2)
    np.testing.assert_array_equal(one, again)
    assert apart(one[0], other[0])  # by seed
    assert apart(one[0], one[1])  # by layer
    assert apart(one[0][:, 0], one[0][:, 1])  # by sample
    assert apart(one[0][:100], one[0][100:])  # by unit
    later = masks(training, seed=1, repeats=2)
    assert apart(one[0], later[0])  # by step
    half = training.samples.X.array[:16]
    batches = masks(training, seed=1, order=np.arange(32), batch_size=16)
    assert apart(batches[0][:, : len(half)], one[0][:, : len(half)])  # the second batch is not the first
    pieces = wide(64, capacity=32)
    first, second = masks(wide(32, capacity=32), seed=1), masks(pieces, seed=1)
    assert apart(first[0], second[0])  # the second piece is not the first


def test_epochs_of_an_estimator_have_masks_of_their_own():
    """Of each batch and epoch: the same samples in the same order lose other units."""
    from fastclf import FastMLPClassifier

    X, y = np.ones((40, 3)), np.arange(40) % 2
    how = {"dropout": 0.5, "batch_size": 40, "random_state": 0, "solver": "sgd", "momentum": 0.0, "shuffle": False}
    losses = FastMLPClassifier((50,), max_iter=6, learning_rate_init=1e-12, **how).fit(X, y).loss_curve_
    assert len(set(losses)) == 6


def test_weights_of_samples_count_in_pieces():
    """The gradients of pieces are added up with the weights of their samples, with dropout and without it."""
    for p in (0.0, 0.3):
        weights = np.random.default_rng(1).random(40) ** 3
        whole, pieces = (Training((4, 6, 5, 3), m=40, capacity=capacity, p=p) for capacity in (40, 16))
        for training in (whole, pieces):
            training.samples = training.samples._replace(weights=weights)
        losses = [training.run(1.0) for training in (whole, pieces)]
        if p == 0:
            assert_close(1e-12, loss=(losses[1], losses[0]), params=(pieces.net.params, whole.net.params))
        expected = pieces.differences()
        pieces.run(1.0)
        assert_close(FINITE_DIFFERENCES, gradient=(pieces.start - pieces.net.params, expected))


def test_masks_differ_by_kernel_call(monkeypatch):
    """An epoch is several calls, so that Ctrl-C need not wait."""
    monkeypatch.setattr(minibatch, "_CALL_OPERATIONS", 1.0)
    training = wide(32, capacity=16)
    trainer = BatchTrainer(training.net, training.samples, Settings(*EXACT, dropout=0.5), training.work)
    calls = trainer.epoch(np.arange(32), 16, rates=np.zeros(2), seed=1)
    found = [training.work.samples("A", 0, 16).copy() > 0 for _ in calls]
    assert len(found) == 2
    assert apart(*found)
