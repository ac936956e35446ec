"""Activations other than ReLU, beside torch; with dropout, beside differences of the loss."""

import numpy as np
import pytest

from fastclf.kernels.codes import BACKWARD, FORWARD, LOSS

from ..helpers import FINITE_DIFFERENCES, LANES, ONE_STEP, assert_close, edges, problem
from . import test_mlp
from .test_mlp import IN_TORCH, Model, compare

OTHERS = [name for name in IN_TORCH if name != "relu"]


@pytest.mark.parametrize("activation", OTHERS)
@pytest.mark.parametrize("m", [1, 7, 70, 100])
@pytest.mark.parametrize("kind", ["labels", "sigmoid"])
def test_three_steps_of_torch(kind, m, activation, dtype):
    model = Model((8, 12, 10, 5), dtype, m, sigmoid=kind == "sigmoid", activation=activation)
    X, labels, targets, _ = problem(m, 8, 5, dtype, model.sigmoid)
    given = labels if kind == "labels" else targets
    expected = test_mlp.torch_steps(model, [(X, given)] * 3)
    losses = model.run(X, **{"labels" if kind == "labels" else "targets": given}, repeats=3, learning_rate=0.5)
    compare(5 * ONE_STEP[dtype], model, losses, *expected)


@pytest.mark.parametrize("activation", OTHERS)
@pytest.mark.parametrize("hidden", edges(1, *LANES))
def test_every_edge_of_a_vector(hidden, activation, dtype):
    model = Model((5, hidden, 3), dtype, 70, activation=activation)
    X, labels, _, _ = problem(70, 5, 3, dtype)
    expected = test_mlp.torch_steps(model, [(X, labels)])
    compare(ONE_STEP[dtype], model, model.run(X, labels, learning_rate=0.5), *expected)


@pytest.mark.parametrize("activation", OTHERS)
def test_phases_one_by_one_and_any_number_of_threads(activation, dtype):
    X, labels, _, _ = problem(100, 9, 4, dtype)
    seen = []
    for threads in (1, 2, 3):
        for phases in ([FORWARD | LOSS | BACKWARD], [FORWARD | LOSS, BACKWARD]):
            model = Model((9, 40, 20, 4), dtype, 100, activation=activation)
            for some in phases:
                model.run(X, labels, phases=some, threads=threads, learning_rate=0.5)
            seen.append(model.network.params.tobytes())
    assert len({*seen}) == 1


@pytest.mark.parametrize("activation", OTHERS)
@pytest.mark.parametrize("m", [6, 80])
def test_dropout_goes_back_through_what_it_kept(m, activation):
    """Differences of the loss under one mask, with inputs of 0, where some activations of kept units are 0."""
    X, labels, _, _ = problem(m, 6, 3, np.float64)
    X[::2] = 0
    how = {"dropout": 0.4}

    def network():
        return Model((6, 9, 7, 3), np.float64, m, activation=activation)

    stepped, start = network(), network().network.params
    stepped.run(X, labels, learning_rate=1.0, **how)
    gradient = start - stepped.network.params
    numeric, h = np.zeros_like(start), 1e-6
    for i in range(len(start)):
        values = []
        for sign in (1, -1):
            shifted = network()
            shifted.network.params[i] += sign * h
            values.append(shifted.run(X, labels, learning_rate=0.0, **how)[0])
        numeric[i] = (values[0] - values[1]) / (2 * h)
    used = np.zeros(len(start), bool)
    for n_in, n_out, w, b, _ in stepped.network.layout.tolist():
        used[w : w + n_in * n_out] = used[b : b + n_out] = True
    assert np.abs(gradient[used]).max() > 0.01
    assert_close(FINITE_DIFFERENCES, gradient=(gradient[used], numeric[used]))
