"""What a user sees of a run, and how a run is cut so that there is something to see."""

import math
import time

import numpy as np
import pytest

import fastclf
from fastclf.engine import progress
from fastclf.engine.progress import Reporter, train_in_stretches

from ..helpers import problem

DATA = problem(20, 4, 3)
BATCHES = [(DATA.X, DATA.labels)]


def run_train_model(**options):
    return fastclf.train_model(DATA.X, DATA.targets, 0.1, 3, True, True, **options)[1]


def run_image(**options):
    return fastclf.train(fastclf.ImageLinearClassifier(4, 3), DATA.X, DATA.labels, 3, 0.1, **options)


def run_mlp(**options):
    return fastclf.MLPClassifier(4, 5, 3).train(DATA.X.T, DATA.labels, 3, 0.1, **options)


def run_deep(**options):
    return fastclf.DeepMLPClassifier(4, 5, 3).train(BATCHES, 3, 0.1, step_size=2, **options)


RUNS = [run_train_model, run_image, run_mlp, run_deep]


@pytest.fixture(params=RUNS, ids=lambda f: f.__name__[4:])
def train(request):
    request.param(verbose=False)  # what a first run says of compiling is said here
    return request.param


def test_lines(train, capsys):
    losses = train()
    lines = [f"Epoch {i + 1}, Loss: {loss}" for i, loss in enumerate(losses)]
    if train is run_train_model:
        lines = [f"Iteration 0/3, Loss: {losses[0]:.4f}"]
    if train is run_deep:
        lines.insert(1, "Current learning rate: 0.05")
    out, err = capsys.readouterr()
    assert out.splitlines() == lines
    assert err == ""


def test_silence(train, capsys):
    assert len(train(verbose=False)) == 3
    assert capsys.readouterr() == ("", "")


def test_a_bar(train, capsys):
    losses = train(verbose="bar")
    out, err = capsys.readouterr()
    assert "Epoch" not in out + err
    assert "Iteration" not in out + err
    assert "3/3" in err
    assert f"loss={losses[-1]:.4f}" in err
    assert ("Current learning rate: 0.05" in out) == (train is run_deep)


def test_a_bar_is_closed_by_an_error(train, capsys):
    def fail(*_):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        train(verbose="bar", callback=fail)
    assert capsys.readouterr().err.endswith("\n")


def test_numpys_booleans_count(capsys):
    run_mlp(verbose=np.False_)
    assert capsys.readouterr().out == ""
    run_mlp(verbose=np.True_)
    assert capsys.readouterr().out != ""


def test_callbacks_are_called_in_order(train):
    calls = []
    losses = train(verbose=False, callback=lambda epoch, loss, model: calls.append((epoch, loss)))
    assert calls == list(enumerate(losses))


@pytest.mark.parametrize("answer", [True, 1, np.True_])
def test_a_true_answer_stops(train, answer):
    assert len(train(verbose=False, callback=lambda *_: answer)) == 1


@pytest.mark.parametrize("answer", [None, False, 0, np.False_])
def test_any_other_answer_does_not(train, answer):
    assert len(train(verbose=False, callback=lambda *_: answer)) == 3


def test_a_reporter_prints_what_is_not_an_epochs(capsys):
    with Reporter(True, lambda i, loss: f"{i} {loss}" if i else None, 3) as reporter:
        reporter.epoch(0, 0.5, lambda: None)  # no line
        reporter.say("halfway")
        reporter.epoch(1, 0.25, lambda: None)
    assert capsys.readouterr().out == "halfway\n1 0.25\n"


def test_a_bar_counts_samples(capsys):
    """Those it is told of within an epoch, and at its end the rest."""
    with Reporter("bar", lambda i, loss: None, 3, samples=10) as reporter:
        reporter.on_samples(4)
        assert reporter._bar.n == 4
        reporter.on_samples(6)
        reporter.epoch(0, 0.5, lambda: None)
        assert reporter._bar.n == 10
        reporter.on_samples(3)
        reporter.epoch(1, 0.25, lambda: None)
        reporter.epoch(2, 0.125, lambda: None)
        assert reporter._bar.n == reporter._bar.total == 30
    shown = capsys.readouterr().err
    assert "epoch 3/3" in shown
    assert "samples/s" in shown
    assert "loss=0.1250" in shown
    silent().on_samples(5)  # nobody to tell


def test_the_model_is_made_for_a_callback_only():
    def never():
        raise AssertionError

    Reporter(False, str, 1).epoch(0, 1.0, never)
    seen = []
    Reporter(False, str, 1, lambda *args: seen.append(args)).epoch(0, 1.0, lambda: "model")
    assert seen == [(0, 1.0, "model")]


# ---------------------------------------------------------------- stretches


class Clock:
    """A stretch that takes so many seconds per epoch, by a clock of its own; remembers how many epochs it was asked for."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds, self.counts = 0.0, seconds, []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def __call__(self, count):
        self.counts.append(count)
        self.now += count * self.seconds
        return [1.0] * count


def silent(callback=None):
    return Reporter(False, lambda i, loss: None, 0, callback)


def run(epochs, operations, stretch, reporter, params=None):
    losses = []
    train_in_stretches(epochs, operations, stretch, reporter, lambda: None, params, losses)
    return losses


class Counter:
    """A stretch adds 1 to the parameter in each epoch; the epoch numbered ``bad`` spoils what ``spoil`` says."""

    def __init__(self, bad=None, spoil="loss", error=None):
        self.params, self.bad, self.spoil, self.error = np.zeros(3), bad, spoil, error

    def __call__(self, count):
        losses = []
        for _ in range(count):
            losses.append(self.params[0])
            self.params += 1
            if self.bad is not None and self.params[0] > self.bad:
                if self.error:
                    raise self.error
                self.params[1] = np.nan if self.spoil == "params" else 0
                losses[-1] = np.inf if self.spoil == "loss" else losses[-1]
        return losses


@pytest.mark.parametrize("spoil", ["loss", "params"])
@pytest.mark.parametrize("callback", [None, lambda *_: False])
def test_a_run_that_diverges_keeps_the_last_finite_parameters(spoil, callback):
    """With stretches of many epochs, or of one, as callbacks make them."""
    counter = Counter(37, spoil)
    with pytest.warns(progress.TrainingDivergedWarning, match="epoch 38:"):
        losses = run(100, 1.0, counter, silent(callback), counter.params)
    assert losses[:-1] == [*range(37)]
    assert math.isfinite(losses[-1]) == (spoil == "params")
    assert counter.params.tolist() == [37, 37, 37]


def test_a_run_that_is_interrupted_keeps_what_belongs_together():
    counter = Counter(37, error=KeyboardInterrupt())
    with pytest.warns(progress.TrainingInterruptedWarning):
        losses = run(100, 1e9, counter, silent(lambda *_: False), counter.params)
    assert losses == [*range(37)]
    assert counter.params.tolist() == [37, 37, 37]


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_an_exception_of_a_callback_keeps_what_belongs_together(error):
    def callback(epoch, loss, model):
        if epoch == 11:
            raise error

    counter, losses = Counter(), []
    expected = pytest.warns(progress.TrainingInterruptedWarning) if error is KeyboardInterrupt else pytest.raises(error)
    with expected:
        train_in_stretches(100, 1.0, counter, silent(callback), lambda: None, counter.params, losses)
    assert losses == [*range(12)]
    assert counter.params.tolist() == [12, 12, 12]


@pytest.mark.parametrize("seconds", [1e-7, 1e-3, 0.05, 10])
@pytest.mark.parametrize("operations", [1, 1e7, 1e12, math.inf])
def test_a_stretch_takes_a_fraction_of_a_second(seconds, operations, monkeypatch):
    """However wrong the first guess: only the first stretch is a guess, and growth is bounded."""
    clock = Clock(monkeypatch, seconds)
    losses = run(5000, operations, clock, silent())
    assert len(losses) == sum(clock.counts) == 5000
    for count in clock.counts[1:]:
        assert count == 1 or count * seconds <= 1.01 * progress.STRETCH


def test_a_guess_that_is_too_long_is_corrected(monkeypatch):
    clock = Clock(monkeypatch, 1 / 16)
    run(1000, 1e7, clock, silent())
    assert clock.counts == [100] + [3] * 300


def test_a_callback_makes_every_stretch_one_epoch(monkeypatch):
    clock = Clock(monkeypatch, 1e-6)
    losses = run(20, 1.0, clock, silent(lambda epoch, loss, model: epoch == 11))
    assert clock.counts == [1] * 12
    assert len(losses) == 12


def test_no_epochs_no_stretch(monkeypatch):
    clock = Clock(monkeypatch, 1.0)
    assert run(0, 1.0, clock, silent()) == []
    assert clock.counts == []
