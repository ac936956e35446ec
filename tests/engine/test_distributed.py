"""Ranks that train together: real processes over gloo, against one process on all samples."""

import os
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest
from scipy import sparse

from ..helpers import in_new_process
from ..ranks import Failed, Group

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


def set_overlaps(rank, size, value):
    from fastclf.engine.distributed import Ranks

    Ranks.overlaps = value


@contextmanager
def as_between_machines(group, wanted=True):
    """The group's ranks send gradients while they compute others, as ranks of several machines do."""
    group(set_overlaps, wanted)
    try:
        yield
    finally:
        group(set_overlaps, False)


between = pytest.mark.parametrize("between", [False, True], ids=["one machine", "several machines"])


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


@between
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(group, name, between):
    data, ends = (X, Y, None), ENDS[len(group.processes)]
    with as_between_machines(group, between):
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


def mapped(rank, size, path, y, ends, parameters):
    import warnings

    import numpy as np

    import fastclf

    X = np.load(path, mmap_mode="r")[ends[rank] : ends[rank + 1]]
    assert isinstance(X, np.memmap) or not len(X)
    how = {"process_group": True} if size > 1 else {}
    found = {}
    for kind in ("FastMLPClassifier", "FastLinearClassifier"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = getattr(fastclf, kind)(**parameters[kind]).fit(X, y[ends[rank] : ends[rank + 1]], **how)
        found[kind] = (*model._first_layer(), model.loss_curve_)
    return found


def test_slices_of_a_mapped_file(group, tmp_path):
    path, ends = str(tmp_path / "X.npy"), ENDS[len(group.processes)]
    np.save(path, X)
    parameters = {
        "FastMLPClassifier": MLP | {"shuffle": "blocks"},
        "FastLinearClassifier": LINEAR | {"shuffle": "blocks"},
    }
    found = group(mapped, path, Y, ends, parameters)
    assert_like_one(found, mapped(0, 1, path, Y, (0, 101), parameters))


@pytest.mark.parametrize("name", DATA)
def test_gradients_that_travel_early_give_the_same_bits(pair, name):
    """Of two ranks: with more, the order in which gloo adds up depends on the length of a buffer."""
    parameters, found = MLP | ({"scale": 1 / 255} if name == "bytes" else {"dropout": 0.1}), []
    for between in (False, True):
        with as_between_machines(pair, between):
            found.append(pair(estimator, "FastMLPClassifier", parameters, DATA[name], ENDS[2]))
    for at_once, early in zip(*found, strict=True):
        for one, other in zip(at_once["FastMLPClassifier"], early["FastMLPClassifier"], strict=True):
            assert np.array_equal(one, other)


# ---------------------------------------------------------------- ranks that train apart from each other


def local(rank, size, X, y, ends, sync_every):
    import warnings

    import numpy as np

    import fastclf

    warnings.simplefilter("ignore")
    own, results = slice(ends[rank], ends[rank + 1]), {}
    how = {"process_group": True, "sync_every": sync_every} if size > 1 else {}
    fixed = {"max_iter": 20, "tol": None, "random_state": 0, "learning_rate": "constant", "eta0": 0.05}
    for name, model in {
        "per sample": fastclf.FastLinearClassifier(batch_size=1, **fixed),
        "l1": fastclf.FastLinearClassifier(batch_size=1, penalty="l1", alpha=1e-3, **fixed),
        "mini-batches": fastclf.FastLinearClassifier(batch_size=10, **fixed),
        "adam": fastclf.FastMLPClassifier((8,), batch_size=10, max_iter=20, random_state=0, learning_rate_init=0.01),
    }.items():
        model.fit(X[own], y[own], **how)
        results[name] = (*model._first_layer(), model.loss_curve_)
    for features in (12, 2):
        theta, losses = fastclf.train_model(
            X[own, :features], np.eye(3)[y[own]], 0.05, 10, False, True, random_state=rank, verbose=False, **how
        )
        results[f"train_model {features}"] = theta, losses
    loader = fastclf.Batches(X[own], y[own], 5) if ends[rank] < ends[rank + 1] else []
    deep = fastclf.DeepMLPClassifier(12, 7, 3, random_state=rank)
    deep._network.params *= 30  # else it would take long to learn anything
    losses = deep.train(loader, 20, 0.5, patience=1000, verbose=False, **how)
    results["deep"] = deep._network.params.copy(), losses
    return results


def test_local_sgd(group):
    """Not what one rank gives, but the same bits on all ranks and from run to run, and about as good."""
    separable, size = np.argmax(X[:, :3], axis=1), len(group.processes)
    found = group(local, X, separable, ENDS[size], 4)
    again, alone = group(local, X, separable, ENDS[size], 4), local(0, 1, X, separable, (0, 101), None)
    for name, expected in alone.items():
        for rank in range(size):
            assert all(np.array_equal(a, b) for a, b in zip(found[rank][name], found[0][name])), name
        assert all(np.array_equal(a, b) for a, b in zip(again[0][name], found[0][name])), name
        assert found[0][name][-1][-1] < found[0][name][-1][0], name
        assert abs(found[0][name][-1][-1] - expected[-1][-1]) < 0.25, name


def on_digits(rank, size, sync_every):
    import warnings

    import numpy as np
    from sklearn.datasets import load_digits

    import fastclf

    warnings.simplefilter("ignore")
    X, y = load_digits(return_X_y=True)
    X, order = X / 16, np.random.default_rng(0).permutation(len(y))
    train, test = order[:1000], order[1000:]
    own = train[rank::size]
    model = fastclf.FastMLPClassifier((100,), batch_size=100, max_iter=60, random_state=0, learning_rate_init=3e-3)
    model.fit(X[own], y[own], process_group=True, sync_every=sync_every)
    return model.score(X[test], y[test]), len(test)


def test_local_steps_are_as_accurate_on_digits(pair):
    [(together, m), _] = pair(on_digits, None)
    [(apart, _), _] = pair(on_digits, 8)
    assert together > 0.95
    assert apart > together - np.sqrt(together * (1 - together) / m)  # within a standard error


def in_bfloat16(rank, size, X, y, compress):
    import warnings

    import numpy as np

    import fastclf

    warnings.simplefilter("ignore")
    own, how = slice(rank, None, size), {"process_group": True, "compress": compress}
    model = fastclf.FastMLPClassifier((8,), batch_size=20, max_iter=10, random_state=0, solver="sgd", momentum=0.5)
    model.fit(X[own].astype(np.float32), y[own], **how)
    deep = fastclf.DeepMLPClassifier(12, 7, 3, random_state=0)
    losses = deep.train(fastclf.Batches(X[own], y[own], 10), 3, verbose=False, **how)
    return model._first_layer()[0].copy(), model.loss_curve_, losses


def test_compressed_gradients(pair):
    first, second = pair(in_bfloat16, X, Y, "bfloat16")
    exact, _ = pair(in_bfloat16, X, Y, None)
    assert np.array_equal(first[0], second[0])
    assert first[1:] == second[1:]
    assert 0 < np.abs(first[0] - exact[0]).max() < 0.02 * np.abs(exact[0]).max()
    assert np.allclose(first[1], exact[1], rtol=1e-2)
    assert np.allclose(first[2], exact[2], rtol=1e-2)


def sent_in_bfloat16(rank, size):
    import numpy as np

    from fastclf.engine.distributed import HEAD, LOSSES, Ranks

    comm, left_over, total, times = Ranks(), np.zeros(3), np.zeros(3), 1000
    numbers = np.array([1.0, 1.001, -3e-4]) * (1 + rank)
    for _ in range(times):
        message = np.zeros(HEAD + 3)
        message[LOSSES], message[HEAD:] = 1.0001, numbers
        comm.add_up_rounded(message, left_over)
        total += message[HEAD:]
    return message[LOSSES], total / times


def test_nothing_that_rounding_leaves_over_is_lost(pair):
    for loss, mean in pair(sent_in_bfloat16):
        assert loss == 2 * 1.0001  # the head is exact
        # bfloat16 has 8 bits: alone, 1.001 would be 1. What is left over is at most one rounding, of a thousand sums. The
        # sums of two ranks are rounded once more, which nobody makes up for, by at most one part in 512.
        assert np.abs(mean / (3 * np.array([1.0, 1.001, -3e-4])) - 1).max() < 1 / 512


# ---------------------------------------------------------------- decisions


def stopped_by_a_callback(rank, size, X, y):
    import fastclf

    model = fastclf.MLPClassifier(12, 7, 3, random_state=0)
    return model.train(
        X.T, y, 100, callback=(lambda i, *_: i == 3) if rank else None, verbose=False, process_group=True
    )


def test_a_callback_that_stops_one_rank_stops_all(pair):
    first, second = pair(stopped_by_a_callback, X, Y)
    assert first == second
    assert len(first) == 4


def diverges(rank, size, X, y):
    import warnings

    import fastclf

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        theta, losses = fastclf.train_model(
            X * 1e200, y == 0, 1e200, 100, random_state=0, verbose=False, process_group=True
        )
    return theta, losses, [w.category.__name__ for w in caught]


def test_ranks_diverge_together(pair):
    first, second = pair(diverges, X, Y)
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1]
    assert first[2] == second[2] == ["TrainingDivergedWarning"]


def says_when_it_trains(rank, size, X, y, kind, folder):
    import warnings
    from pathlib import Path

    import fastclf
    from fastclf.engine.progress import Reporter

    def begun(*_):
        Path(folder, f"{kind}{rank}").touch()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if kind == "lab":
            model = fastclf.MLPClassifier(12, 7, 3, random_state=0)
            model.train(X.T, y, 10**8, callback=begun, verbose=False, process_group=True)
        elif kind == "deep":
            model = fastclf.DeepMLPClassifier(12, 7, 3, random_state=0)
            batches = fastclf.Batches(X, y, 10)
            model.train(batches, 10**8, patience=10**8, callback=begun, verbose=False, process_group=True)
        else:
            epoch = Reporter.epoch
            Reporter.epoch = lambda *given: (begun(), epoch(*given))[1]
            model = fastclf.FastMLPClassifier(max_iter=10**8, n_iter_no_change=10**8, random_state=0)
            model.fit(X, y, process_group=True, sync_every=8 if kind == "local steps" else None)
            Reporter.epoch = epoch
    return model._network.params.copy(), [w.category.__name__ for w in caught]


@between
@pytest.mark.parametrize("kind", ["lab", "deep", "estimator", "local steps"])
def test_ctrl_c_on_one_rank_ends_the_run_on_all(pair, kind, tmp_path, between):
    with as_between_machines(pair, between):
        call = pair.begin(says_when_it_trains, X, Y, kind, str(tmp_path))
        until = time.monotonic() + 60
        while len([*tmp_path.iterdir()]) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.1)
        pair.processes[1].send_signal(signal.SIGINT)
        first, second = (pair.result(call, rank) for rank in range(2))
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1] == ["TrainingInterruptedWarning"]


# ---------------------------------------------------------------- faults


def with_a_fault(rank, size, X, y, kind, fault):
    import numpy as np

    import fastclf

    how, callback = {"process_group": True}, None
    if rank == 1:
        if fault == "features":
            X = X[:, :11]
        if fault == "dtype":
            X = X.astype(np.uint8)
        if fault == "NaN":
            X = X * np.nan
        if fault == "sync_every":
            how["sync_every"] = 7
    if kind == "train_model":
        fastclf.train_model(X, y == 0, iterations=3, batch=False, verbose=False, **how)
    elif kind == "image":
        fastclf.train(fastclf.ImageLinearClassifier(X.shape[1], 3), X, y, 3, 0.1, verbose=False, **how)
    elif kind == "mlp":
        fastclf.MLPClassifier(X.shape[1], 7, 3).train(X.T, y, 3, callback=callback, verbose=False, **how)
    elif kind == "deep":
        how |= {"verbose": False}
        fastclf.DeepMLPClassifier(X.shape[1], 7, 3).train(fastclf.Batches(X, y, 9), 3, **how)
    else:
        getattr(fastclf, kind)(max_iter=2).fit(X, y, **how)


KINDS = ("train_model", "image", "mlp", "deep", "FastLinearClassifier", "FastMLPClassifier")


@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_with_other_features_is_refused_by_name(pair, kind):
    for name, message in pair.failures(with_a_fault, X, Y, kind, "features"):
        assert name == "ValueError"
        assert "rank 1 has" in message
        assert "rank 0 has" in message
        assert "11" in message
        assert "12" in message


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "deep"])
def test_a_rank_with_another_dtype_is_refused_by_name(pair, kind):
    for name, message in pair.failures(with_a_fault, X, Y, kind, "dtype"):
        assert name == "ValueError"
        assert "same dtype of X: rank 1 has 'uint8', rank 0 has 'float64'" in message


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_rank_refuses_the_others_hear_of(pair, kind):
    (first, message), (second, own) = pair.failures(with_a_fault, X, Y, kind, "NaN")
    assert (first, second) == ("RankError", "ValueError")
    assert "rank 1 has failed" in message
    assert own.splitlines()[0] in message


def test_ranks_must_agree_on_sync_every(pair):
    for kind in ("train_model", "deep", "FastLinearClassifier", "FastMLPClassifier"):
        for name, message in pair.failures(with_a_fault, X, Y, kind, "sync_every"):
            assert name == "ValueError"
            assert "same sync every: rank 1 has 7, rank 0 has None" in message


def raises_in_a_callback(rank, size, X, y, where):
    import fastclf

    def callback(epoch, *_):
        if rank == 1 and epoch == 2:
            raise ZeroDivisionError("of the user's own")

    def batches():
        for i in range(5):
            if rank == 1 and i == 2:
                raise ZeroDivisionError("of the user's own")
            yield X[:10], y[:10]

    if where == "callback":
        fastclf.MLPClassifier(12, 7, 3).train(X.T, y, 9, callback=callback, verbose=False, process_group=True)
    else:
        loader = type("Loader", (), {"__iter__": lambda self: batches()})()
        fastclf.DeepMLPClassifier(12, 7, 3).train(loader, 3, verbose=False, process_group=True)


@between
@pytest.mark.parametrize("where", ["callback", "loader"])
def test_an_exception_of_the_user_ends_the_run_on_all_ranks(pair, where, between):
    with as_between_machines(pair, between):
        (first, message), (second, _) = pair.failures(raises_in_a_callback, X, Y, where)
    assert (first, second) == ("RankError", "ZeroDivisionError")
    assert "rank 1 has failed" in message
    assert "of the user's own" in message
    first, second = pair(stopped_by_a_callback, X, Y)  # the group is as good as new
    assert first == second


def dies_or_sleeps(rank, size, X, y, fault):
    import os
    import time

    import fastclf

    def callback(epoch, *_):
        if rank == 1 and epoch == 2:
            os._exit(9) if fault == "dies" else time.sleep(20)

    fastclf.MLPClassifier(12, 7, 3).train(X.T, y, 10**6, callback=callback, verbose=False, process_group=True)


@pytest.mark.parametrize("fault", ["dies", "sleeps"])
def test_a_rank_that_does_not_answer_is_noticed_in_time(fault):
    group = Group(2, seconds=4)
    try:
        began = time.monotonic()
        call = group.begin(dies_or_sleeps, X, Y, fault)
        with pytest.raises(Failed) as caught:
            group.result(call, 0, timeout=60)
        assert caught.value.args[0] == "RankError"
        assert "rank 0 of 2 has lost the others" in caught.value.args[1]
        assert time.monotonic() - began < 30
    finally:
        group.processes[1].kill()
        group.close()


# ---------------------------------------------------------------- checkpoints


def with_checkpoints(rank, size, X, y, kind, path, epochs, resume):
    import warnings

    import fastclf

    warnings.simplefilter("ignore")
    own, how = slice(rank, None, size), {"process_group": True}
    if path:
        how |= {"checkpoint": path, "resume": resume}
    if kind == "mlp":
        model = fastclf.FastMLPClassifier((8,), max_iter=epochs, random_state=0, dropout=0.3, batch_size=9)
        losses = model.fit(X[own], y[own], **how).loss_curve_
    elif kind == "linear":
        model = fastclf.FastLinearClassifier(max_iter=epochs, tol=None, random_state=0, penalty="l1")
        losses = model.fit(X[own], y[own], sync_every=5, **how).loss_curve_
    else:
        model = fastclf.DeepMLPClassifier(12, 7, 3, random_state=0)
        batches = fastclf.Batches(X[own], y[own], 5, shuffle=True, random_state=rank)
        losses = model.train(batches, epochs, 0.5, patience=1000, verbose=False, **how)
    return model._first_layer()[0].copy(), losses


@pytest.mark.parametrize("kind", ["mlp", "linear", "deep"])
def test_a_run_goes_on_from_its_checkpoint_with_the_same_bits(pair, kind, tmp_path):
    path = str(tmp_path / "run")
    whole = pair(with_checkpoints, X, Y, kind, None, 6, False)
    pair(with_checkpoints, X, Y, kind, path, 4, False)
    found = pair(with_checkpoints, X, Y, kind, path, 6, True)
    for got, expected in zip(found, whole):
        assert np.array_equal(got[0], expected[0])
        assert got[1] == expected[1]


def test_a_checkpoint_of_other_shards_is_refused(pair, tmp_path):
    path = str(tmp_path / "run")
    pair(with_checkpoints, X, Y, "mlp", path, 2, False)
    failures = pair.failures(with_checkpoints, X[::-1].copy(), Y, "mlp", path, 4, True)
    assert [name for name, _ in failures] == ["ValueError", "RankError"]
    assert all("of another run: data was" in message for _, message in failures)


# ---------------------------------------------------------------- the communicator


def exchanges(rank, size):
    import numpy as np

    from fastclf.engine.distributed import HEAD, Ranks

    comm = Ranks()
    buffer = np.arange(5.0) * (rank + 1)
    kept = buffer
    comm.all_reduce(buffer)
    message = np.ones(HEAD + 3)
    comm.add_up(message)
    comm.agree(a=1, b="x")
    return (
        kept, message[HEAD:], comm.gather(rank), comm.from_first(lambda: ["of", rank]), comm.any(lambda: rank == 1),
        comm.mean(rank, 2.0 * rank), comm.sum(rank + 1), comm.threads(None), comm.threads(3),
    )  # fmt: skip


def test_exchanges(group):
    size = len(group.processes)
    for rank, found in enumerate(group(exchanges)):
        reduced, message, gathered, of_first, on_any, mean, total, share, asked = found
        assert np.array_equal(reduced, np.arange(5.0) * size * (size + 1) / 2), rank
        assert np.array_equal(message, np.full(3, size))
        assert gathered == [*range(size)]
        assert of_first == ["of", 0]
        assert on_any
        assert mean == (sum(2.0 * r * r for r in range(size)) / sum(range(size)),)
        assert total == size * (size + 1) / 2
        assert share == max(1, len(os.sched_getaffinity(0)) // size if hasattr(os, "sched_getaffinity") else 1)
        assert asked == 3


def without_a_group():
    import numpy as np
    import pytest

    import fastclf

    for train in (
        lambda **how: fastclf.FastMLPClassifier(max_iter=1).fit(np.eye(4), [0, 1, 0, 1], **how),
        lambda **how: fastclf.train_model(np.eye(4), [0, 1, 0, 1], verbose=False, **how),
    ):
        with pytest.raises(RuntimeError, match="process_group needs a process group, and there is none"):
            train(process_group=True)
        with pytest.raises(ValueError, match="sync_every=3 is for ranks: it needs a process_group"):
            train(sync_every=3)
    with pytest.raises(ValueError, match="compress='bfloat16' is for ranks: it needs a process_group"):
        fastclf.FastMLPClassifier().fit(np.eye(4), [0, 1, 0, 1], compress="bfloat16")


def test_without_a_group():
    in_new_process(without_a_group)


def wrong_groups(rank, size, X, y):
    import pytest

    import fastclf

    for how, name in (
        ({"process_group": "gloo"}, "process_group"),
        ({"process_group": 1}, "process_group"),
        ({"sync_every": 0}, "sync_every"),
        ({"sync_every": 1.5}, "sync_every"),
        ({"compress": "float16"}, "compress"),
        ({"compress": "bfloat16", "sync_every": 2}, "compress"),
        ({"compress": "bfloat16", "checkpoint": "x"}, "compress"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{name}"):
            fastclf.FastMLPClassifier(max_iter=1).fit(X, y, **({"process_group": True} | how))


def test_wrong_arguments(pair):
    pair(wrong_groups, X, Y)
