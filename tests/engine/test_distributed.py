"""Ranks that train together: real processes over gloo, against one process on all samples."""

import numpy as np
import pytest
from scipy import sparse

from ..ranks import Group

pytest.importorskip("torch.distributed")

TOLERANCE = 1e-10  # of 50 steps in float64, against one rank on the whole
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((101, 12)), RNG.integers(0, 3, 101)
WEIGHTS = RNG.random(101)
#: Where each rank's shard ends: of two ranks, uneven ones; of three, one of them empty.
ENDS = {2: (0, 61, 101), 3: (0, 30, 30, 101)}


@pytest.fixture(scope="module", params=ENDS, ids=lambda size: f"{size} ranks")
def group(request):
    started = Group(request.param)
    yield started
    started.close()


@pytest.fixture(scope="module")
def pair():
    started = Group(2)
    yield started
    started.close()


def assert_like_one(found, alone):
    """The ranks' results, a list of arrays by name, have the same bits, and are those of one process to rounding."""
    for name, expected in alone.items():
        for rank, results in enumerate(found):
            for got, of_first, one in zip(results[name], found[0][name], expected, strict=True):
                assert np.array_equal(got, of_first), f"{name}, rank {rank}"
                assert np.abs(np.asarray(got) - one).max() < TOLERANCE, f"{name}, rank {rank}"


# ---------------------------------------------------------------- the lab


def lab(rank, size, X, y, ends, steps):
    import numpy as np

    import fastclf

    own, results, how = slice(ends[rank], ends[rank + 1]), {}, {"verbose": False, "process_group": size > 1}
    for multiclass, features in ((True, 12), (False, 12), (True, 2)):
        targets = np.eye(3)[y] if multiclass else (y > 0) * 1.0
        theta, losses = fastclf.train_model(
            X[own, :features], targets[own], 0.5, steps, True, multiclass, random_state=rank, **how
        )
        results[f"train_model {multiclass} {features}"] = theta, losses
    model = fastclf.ImageLinearClassifier(12, 3, random_state=rank)
    losses = fastclf.train(model, X[own], y[own], steps, 0.5, **how)
    results["image"] = model._network.params.copy(), losses
    model = fastclf.MLPClassifier(12, 7, 3, random_state=rank)
    losses = model.train(X[own].T, y[own], steps, 0.5, **how)
    results["mlp"] = model._network.params.copy(), losses
    return results


def test_full_batches_of_the_lab(group):
    size = len(group.processes)
    found = group(lab, X, Y, ENDS[size], 50)
    assert_like_one(found, lab(0, 1, X, Y, (0, 101), 50))
    again = group(lab, X, Y, ENDS[size], 50)
    assert all(np.array_equal(a, b) for name in found[0] for a, b in zip(found[0][name], again[0][name]))


def deep(rank, size, X, y, slow):
    import numpy as np
    import torch
    from torch.utils.data import DataLoader, TensorDataset
    from torch.utils.data.distributed import DistributedSampler

    import fastclf

    data, how = TensorDataset(torch.tensor(X), torch.tensor(y)), {"verbose": False, "patience": 1000}
    if size == 2:
        torchs = loader = DataLoader(data, 10, sampler=DistributedSampler(data, 2, rank, seed=3))
        if slow:
            own = {"__iter__": lambda self: iter(torchs), "batch_sampler": torchs.batch_sampler}
            loader = type("Slow", (), own)()
        how["process_group"] = True
    else:

        class Both:  # the batches of both ranks together
            def __init__(self):
                self.epoch = 0

            def __iter__(self):
                samplers = [DistributedSampler(data, 2, r, seed=3) for r in range(2)]
                for sampler in samplers:
                    sampler.set_epoch(self.epoch)
                self.epoch += 1
                orders = [np.array([*sampler]) for sampler in samplers]
                for start in range(0, len(orders[0]), 10):
                    batch = np.concatenate([order[start : start + 10] for order in orders])
                    yield X[batch], y[batch]

        loader = Both()
    model = fastclf.DeepMLPClassifier(12, 7, 3, random_state=rank)
    losses = model.train(loader, 10, 0.5, 3, 0.8, clip_threshold=0.02, **how)
    return {"deep": (model._network.params.copy(), losses)}


@pytest.mark.parametrize("slow", [False, True], ids=["fast path", "batch by batch"])
def test_a_distributed_sampler(pair, slow):
    assert_like_one(pair(deep, X, Y, slow), deep(0, 1, X, Y, slow))


def uneven(rank, size, X, y):
    import fastclf

    batches = [(X[i : i + 10], y[i : i + 10]) for i in range(0, 60, 10)]
    whole = [(batches[0][0], batches[0][1]), *batches[1:]]
    model = fastclf.DeepMLPClassifier(12, 7, 3, random_state=0)
    if size == 1:
        pairs = zip(whole[0::2], whole[1::2])
        loader = [(np.concatenate([a, c]), np.concatenate([b, d])) for (a, b), (c, d) in pairs]
        losses = model.train([*loader, (X[60:65], y[60:65])], 6, 0.5, verbose=False)
    else:
        loader = [*whole[rank::2], *([(X[60:65], y[60:65])] if rank == 1 else [])]
        losses = model.train(loader, 6, 0.5, verbose=False, process_group=True)
    return {"uneven": (model._network.params.copy(), losses)}


def test_loaders_of_uneven_length(pair):
    assert_like_one(pair(uneven, X, Y), uneven(0, 1, X, Y))


# ---------------------------------------------------------------- the estimators

MLP = {"hidden_layer_sizes": (9, 7), "max_iter": 10, "batch_size": 20, "random_state": 0}
NETWORKS = {
    "adam": MLP | {"alpha": 0.1},
    "momentum, clipped": MLP | {"solver": "sgd", "clip_threshold": 0.01, "alpha": 0.1},
    "plain": MLP | {"solver": "sgd", "momentum": 0.0, "alpha": 0.1, "learning_rate_init": 0.1},
    "balanced": MLP | {"class_weight": "balanced"},
    "stopping": MLP | {"early_stopping": True, "max_iter": 40, "tol": 1e-2, "n_iter_no_change": 2},
    "tanh": MLP | {"activation": "tanh", "learning_rate": "step", "step_size": 3},
    "blocks": MLP | {"shuffle": "blocks"},
}
LINEAR = {"max_iter": 10, "batch_size": 20, "tol": None, "random_state": 0, "learning_rate": "constant", "eta0": 0.1}
LINEARS = {
    "mini-batches": LINEAR,
    "full": LINEAR | {"batch_size": "full", "max_iter": 50},
    "optimal": LINEAR | {"batch_size": "full", "learning_rate": "optimal"},
    "elastic net": LINEAR | {"penalty": "elasticnet", "l1_ratio": 0.4, "alpha": 0.01},
    "average": LINEAR | {"average": 40, "max_iter": 6},
    "stopping": LINEAR | {"early_stopping": True, "class_weight": "balanced"},
}


def estimator(rank, size, kind, parameters, data, ends):
    import warnings

    import fastclf

    (X, y, weights), own, how = data, slice(ends[rank], ends[rank + 1]), {}
    if size > 1:
        how["process_group"] = True
    if weights is not None:
        how["sample_weight"] = weights[own]
    model = getattr(fastclf, kind)(**parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[own], y[own], **how)
    weights, bias = model._first_layer()
    numbers = [model.n_iter_, *([] if y.dtype.kind == "U" else model.classes_.astype(float))]
    return {kind: (weights, bias, model.loss_curve_, numbers)}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(group, name):
    data, ends = (X, Y, None), ENDS[len(group.processes)]
    found = group(estimator, "FastMLPClassifier", NETWORKS[name], data, ends)
    assert_like_one(found, estimator(0, 1, "FastMLPClassifier", NETWORKS[name], data, (0, 101)))


@pytest.mark.parametrize("name", LINEARS)
def test_linear_models(group, name):
    data, ends = (X, Y, None), ENDS[len(group.processes)]
    found = group(estimator, "FastLinearClassifier", LINEARS[name], data, ends)
    assert_like_one(found, estimator(0, 1, "FastLinearClassifier", LINEARS[name], data, (0, 101)))


DATA = {
    "weights": (X, Y, WEIGHTS),
    "bytes": ((X * 20 + 100).astype(np.uint8), Y, None),
    "CSR": (sparse.csr_matrix(X * (np.abs(X) > 1)), Y, WEIGHTS),
    "names": (X, np.array(["one", "four", "three"])[Y], None),
    "two classes": (X, Y > 0, WEIGHTS),
    "a class of one rank": (X, np.sort(Y), None),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("kind", ["FastMLPClassifier", "FastLinearClassifier"])
def test_data(group, kind, name):
    parameters = MLP if kind == "FastMLPClassifier" else LINEAR
    if kind == "FastLinearClassifier" and name == "CSR":
        parameters = LINEAR | {"batch_size": "full"}
    if name == "bytes":
        parameters = parameters | {"scale": 1 / 255, "max_iter": 2}
    data, ends = DATA[name], ENDS[len(group.processes)]
    found = group(estimator, kind, parameters, data, ends)
    alone = estimator(0, 1, kind, parameters, data, (0, 101))
    if name == "bytes":  # which are computed with in float32
        for results in found:
            for got, one in zip(results[kind], alone[kind]):
                assert np.abs(np.asarray(got) - one).max() < 1e-4
    else:
        assert_like_one(found, alone)
