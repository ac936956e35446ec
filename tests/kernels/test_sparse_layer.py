"""A network on rows of (feature, value) pairs, beside the same network on the same rows, dense."""

import numpy as np
import pytest
from scipy import sparse

from fastclf.engine.losses import EXACT
from fastclf.engine.minibatch import BatchTrainer, Results, Samples, Workspace
from fastclf.engine.network import Network
from fastclf.engine.optimisers import SGD, Adam
from fastclf.engine.rows import Rows, SparseRows
from fastclf.kernels.codes import FORWARD, LOSS, MARK
from fastclf.kernels.records import Settings

from ..helpers import ONE_STEP, assert_close, problem


def matrix(m, n, dtype, seed=0):
    """Rows of which some are empty and one is full; with an explicit zero."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.2)
    X[::7], X[1 % m] = 0, 1
    found = sparse.csr_matrix(X.astype(dtype))
    found.data[0] = 0
    return found


def trained(X, labels, widths, dtype, *, make=None, batch_size=None, piece=None, threads=1, activation="relu", **how):
    """The parameters and the losses after two passes over X."""
    network = Network(widths, np.dtype(dtype))
    network.activation = activation
    network.params[:] = np.random.default_rng(1).standard_normal(len(network.params)) * 0.3
    rows = SparseRows(X, np.dtype(dtype)) if sparse.issparse(X) else Rows(X, np.dtype(dtype))
    optimiser = None if make is None else make(network)
    work = Workspace(network, piece or batch_size or X.shape[0])
    trainer = BatchTrainer(
        network, Samples(rows, labels), Settings(*EXACT, 0.1, beta_1=0.9, beta_2=0.99, epsilon=1e-8, **how), work,
        optimiser, threads=threads,
    )  # fmt: skip
    order = np.random.default_rng(2).permutation(X.shape[0])
    losses = [trainer.run(7, order, batch_size, rates=rates) for rates in [None] * 2]
    return np.concatenate([*(W.ravel() for W in network.weights), *network.biases]), np.concatenate(losses)


OPTIMISERS = {
    "in place": None,
    "momentum": lambda net: SGD(net, 0.1, 0.9),
    "adam": lambda net: Adam(net, 0.01, 0.9, 0.99, 1e-8),
}


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)
@pytest.mark.parametrize("widths", [(33, 20, 4), (33, 4), (33, 40), (33, 17, 9, 5)], ids=str)
@pytest.mark.parametrize("batch_size", [None, 1, 20, 70])
@pytest.mark.parametrize("how", [{"l2_shared": 0.5}, {"clip_threshold": 0.2}], ids=str)
def test_pairs_are_as_dense_rows(how, batch_size, widths, make, dtype):
    X, labels = matrix(150, 33, dtype), problem(150, 3, widths[-1], dtype)[1]
    how = {"make": make, "batch_size": batch_size, **how}
    params, losses = trained(X, labels, widths, dtype, **how)
    expected, expected_losses = trained(X.toarray(), labels, widths, dtype, **how)
    steps = len(losses)
    assert_close(5 * steps * ONE_STEP[dtype], params=(params, expected), losses=(losses, expected_losses))


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_other_activations(activation, dtype):
    X, labels = matrix(80, 33, dtype), problem(80, 3, 4, dtype)[1]
    params, _ = trained(X, labels, (33, 20, 4), dtype, activation=activation)
    expected, _ = trained(X.toarray(), labels, (33, 20, 4), dtype, activation=activation)
    assert_close(10 * ONE_STEP[dtype], params=(params, expected))


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)
@pytest.mark.parametrize("batch_size", [20, 150])
def test_the_same_bits_for_any_number_of_threads(batch_size, make, dtype):
    X, labels = matrix(150, 33, dtype), problem(150, 3, 5, dtype)[1]
    seen = set()
    for threads in (1, 2, 3, 4):
        params, losses = trained(X, labels, (33, 19, 5), dtype, make=make, batch_size=batch_size, threads=threads)
        seen.add((params.tobytes(), losses.tobytes()))
    assert len(seen) == 1


def test_a_batch_in_pieces(dtype):
    X, labels = matrix(150, 33, dtype), problem(150, 3, 5, dtype)[1]
    whole, _ = trained(X, labels, (33, 19, 5), dtype, make=OPTIMISERS["momentum"])
    pieces, _ = trained(X, labels, (33, 19, 5), dtype, make=OPTIMISERS["momentum"], piece=32)
    assert_close(10 * ONE_STEP[dtype], params=(pieces, whole))


@pytest.mark.parametrize("widths", [(33, 20, 4), (33, 4)], ids=str)
def test_a_row_that_is_not_finite_is_marked(widths, dtype):
    X = matrix(90, 33, dtype)
    network = Network(widths, np.dtype(dtype))
    network.params[:] = 0.1
    X.data[X.indptr[5]] = np.nan
    winners = np.zeros(90, np.int64)
    trainer = BatchTrainer(network, Samples(SparseRows(X, np.dtype(dtype))), Settings(*EXACT), Workspace(network, 90))
    trainer.evaluate(FORWARD | MARK, np.arange(90), 90, Results(winners=winners))
    assert np.flatnonzero(winners < 0).tolist() == [5]


def test_divergence_is_seen(dtype):
    X, labels = matrix(90, 33, dtype), np.zeros(90, np.int64)
    network = Network((33, 5, 4), np.dtype(dtype))
    network.weights[0][:] = np.nan
    trainer = BatchTrainer(
        network, Samples(SparseRows(X, np.dtype(dtype)), labels), Settings(*EXACT), Workspace(network, 90)
    )
    assert np.isnan(trainer.run(FORWARD | LOSS)[0])


def test_bfloat16_is_for_dense_rows():
    rows = SparseRows(matrix(9, 33, np.float32), np.dtype(np.float32))
    with pytest.raises(ValueError, match="is for dense X, got a sparse matrix"):
        rows.operands(True)


def test_numbers_of_features_have_32_bits():
    with pytest.raises(ValueError, match=r"X can not be a sparse matrix of 2,147,483,648 features"):
        SparseRows(sparse.csr_matrix((1, 2**31), dtype=np.float64), np.dtype(np.float64))
