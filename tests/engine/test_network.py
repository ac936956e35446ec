"""The flat buffer, its views and its scratch."""

import copy
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest

from fastclf.engine import optimisers
from fastclf.engine.losses import CLIPPED, EXACT, SHIFTED
from fastclf.engine.memory import aligned, round_up
from fastclf.engine.minibatch import BatchTrainer, Samples, Workspace
from fastclf.engine.network import Network
from fastclf.engine.rows import Rows
from fastclf.kernels import codes
from fastclf.kernels.records import Settings

WIDTHS = [(1, 1), (3, 4), (64, 10), (7, 5, 3), (3, 9, 9, 2), (2, 1, 1, 1, 17)]


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("n", [1, 15, 1000])
def test_aligned_memory(n, dtype):
    array = aligned(n, dtype)
    assert array.dtype == dtype
    assert (array == 0).all()
    assert array.shape == (n,)
    assert address(array) % 64 == 0


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_every_layer_is_a_view_of_its_own_part(widths, dtype):
    network = Network(widths, dtype)
    parts = [*network.weights, *network.biases]
    assert [w.shape for w in network.weights] == [(o, i) for i, o in pairwise(widths)]
    assert [b.shape for b in network.biases] == [(o,) for o in widths[1:]]
    for part in parts:
        assert np.shares_memory(part, network.params)
        assert address(part) % 64 == 0
        assert part.flags.c_contiguous
    for number, part in enumerate(parts, 1):
        part += number  # parts that overlapped would disturb each other
    for number, part in enumerate(parts, 1):
        assert (part == number).all()


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_the_layout_says_where(widths, dtype):
    network = Network(widths, dtype)
    network.params[:] = np.arange(len(network.params))
    units = 0
    for layer, row in enumerate(network.layout):
        assert tuple(row[[codes.N_IN, codes.N_OUT]]) == widths[layer : layer + 2]
        assert network.weights[layer][0, 0] == row[codes.WEIGHTS]
        assert network.biases[layer][0] == row[codes.BIAS]
        assert row[codes.UNITS] == units
        units += row[codes.N_OUT]
    assert network.n_units == units
    assert network.operations == 6 * sum(i * o for i, o in pairwise(widths))
    assert network.step_operations(1000) == 1000 * network.operations
    assert network.step_operations(1) >= 20 * sum(i * o + o for i, o in pairwise(widths))


@pytest.mark.parametrize("make", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))], ids=["deepcopy", "pickle"])
def test_a_copys_layers_are_views_of_its_own_buffer(make, dtype):
    network = Network((7, 5, 3), dtype)
    network.params[:] = np.arange(len(network.params))
    twin = make(network)
    np.testing.assert_array_equal(twin.params, network.params)
    assert not np.shares_memory(twin.params, network.params)
    for part in (*twin.weights, *twin.biases):
        assert np.shares_memory(part, twin.params)
    assert address(twin.params) % 64 == 0


def test_the_labs_rules():
    assert math.exp(CLIPPED.log_low) == pytest.approx(1e-15, rel=1e-13, abs=0)
    assert CLIPPED.log_high == pytest.approx(-1e-15, rel=1e-13, abs=0)
    assert (CLIPPED.eps, EXACT.eps, SHIFTED.eps) == (0, 0, 1e-10)
    assert EXACT[:2] == SHIFTED[:2] == (-math.inf, math.inf)


@pytest.mark.parametrize("m", [1, 5, 16, 33])
def test_a_workspace_holds_every_layers_samples_apart(m, dtype):
    network = Network((7, 5, 4, 3), dtype)
    work = Workspace(network, m)
    assert work.capacity >= m
    assert address(work.buffer) % 64 == 0
    views = [work.samples(which, layer, m) for which in "ZAD" for layer in range(3)]
    assert [v.shape for v in views] == [(5, m), (4, m), (3, m)] * 3
    for number, view in enumerate(views, 1):
        view += number
    for number, view in enumerate(views, 1):
        assert (view == number).all()


@pytest.mark.parametrize(("n", "expected"), [(1, 16), (15, 16), (16, 16), (17, 32)])
def test_capacities_are_whole_vectors_on_any_target(n, expected):
    assert round_up(n) == expected


def test_run_takes_batches_of_any_size_up_to_the_workspaces(dtype):
    rng, network = np.random.default_rng(0), Network((7, 5, 3), dtype)
    network.params[:] = rng.standard_normal(len(network.params))
    X, labels = rng.standard_normal((50, 7)).astype(dtype), rng.integers(3, size=50)
    large = Workspace(network, 50)
    for m in (50, 1, 16, 17, 49):
        small, results = Workspace(network, m), []
        for work in (large, small):
            samples = Samples(Rows(X[:m], dtype), labels[:m])
            loss = BatchTrainer(network, samples, Settings(), work).run(codes.FORWARD | codes.LOSS)
            results.append([loss, work.samples("A", 0, m), work.samples("A", 1, m)])
        for got, expected in zip(*results):
            np.testing.assert_array_equal(got, expected)


def test_an_optimiser_of_another_network_is_refused():
    """Its state would be read beyond its end."""
    double = np.dtype(np.float64)
    network, other = Network((5, 4, 3), double), Network((5, 2, 3), double)
    samples = Samples(Rows(np.ones((2, 5)), double), np.zeros(2, np.int64))
    for made in (optimisers.Adam(other, 0.1), optimisers.SGD(other, 0.1, momentum=0.9)):
        with pytest.raises(ValueError, match="the state of the optimiser does not fit the network"):
            BatchTrainer(network, samples, Settings(), Workspace(network, 2), made)
