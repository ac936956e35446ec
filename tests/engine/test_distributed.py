"""Ranks that train together: real processes over gloo, against one process on all samples."""

import numpy as np
import pytest

import fastclf

from ..ranks import on_ranks

pytest.importorskip("torch.distributed")

TOLERANCE = 1e-10  # of 50 steps in float64, against one rank on the whole
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((101, 12)), RNG.integers(0, 3, 101)
STEPS = 50
#: Where each rank's shard ends: of two ranks, uneven ones; of three, one of them empty.
ENDS = {2: (0, 61, 101), 3: (0, 30, 30, 101)}


def lab_on_ranks(rank, size, X, y, ends, steps, dtype, group):
    import numpy as np

    import fastclf

    own = slice(ends[rank], ends[rank + 1])
    how = {"verbose": False, "process_group": True} if group else {"verbose": False}
    results = {}
    for multiclass, features in ((True, 12), (False, 12), (True, 2)):
        targets = np.eye(3)[y] if multiclass else (y > 0) * 1.0
        theta, losses = fastclf.train_model(
            X[own, :features], targets[own], 0.5, steps, True, multiclass, dtype=dtype, random_state=rank, **how
        )
        results[f"train_model {multiclass} {features}"] = theta, np.array(losses)
    model = fastclf.ImageLinearClassifier(12, 3, dtype=dtype, random_state=rank)
    losses = fastclf.train(model, X[own], y[own], steps, 0.5, **how)
    results["image"] = model._network.params.copy(), np.array(losses)
    model = fastclf.MLPClassifier(12, 7, 3, dtype=dtype, random_state=rank)
    losses = model.train(X[own].T, y[own], steps, 0.5, **how)
    results["mlp"] = model._network.params.copy(), np.array(losses)
    return results


@pytest.fixture(scope="module")
def lab_alone():
    return lab_on_ranks(0, 1, X, Y, (0, 101), STEPS, "float64", False)


@pytest.mark.parametrize("size", ENDS)
def test_full_batches_of_the_lab(size, lab_alone):
    found = on_ranks(lab_on_ranks, size, X, Y, ENDS[size], STEPS, "float64", True)
    for name, expected in lab_alone.items():
        for rank in range(size):
            for got, one in zip(found[rank][name], expected, strict=True):
                assert np.abs(got - one).max() < TOLERANCE, name
                assert np.array_equal(got, found[0][name][0 if got is found[rank][name][0] else 1]), name


def deep_on_ranks(rank, size, X, y, kinds, sync_every):
    import numpy as np
    import torch
    from torch.utils.data import DataLoader, TensorDataset
    from torch.utils.data.distributed import DistributedSampler

    import fastclf

    results, how = {}, {"verbose": False, "patience": 1000}
    if size > 1:
        how |= {"process_group": True, "sync_every": sync_every}
    for kind in kinds:
        data = TensorDataset(torch.tensor(X), torch.tensor(y))
        sampler = DistributedSampler(data, 2, rank, seed=3) if size > 1 else None
        if size > 1:
            loader = DataLoader(data, 10, sampler=sampler)
            loader = loader if kind == "fast" else Slow(loader)
        else:  # what both ranks see, batch after batch
            loader = Both([DistributedSampler(data, 2, r, seed=3) for r in range(2)], X, y)
        model = fastclf.DeepMLPClassifier(12, 7, 3, random_state=rank)
        losses = model.train(loader, 10, 0.5, 3, 0.8, clip_threshold=0.02, **how)
        results[kind] = model._network.params.copy(), np.array(losses)
    return results
