"""Where mini-batches come from: a DataLoader over a set in memory is read as the loader itself would have been."""

import warnings

import numpy as np
import pytest

pytest.importorskip("torch", exc_type=ImportError)

import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

import fastclf
from fastclf import Batches, reference

from .. import image_sets
from ..helpers import TRAJECTORY, assert_close
from . import minibatches
from .minibatches import BYTES, C, M, N, Plain, X, Y, assert_same, network

pytestmark = pytest.mark.filterwarnings("error::UserWarning")


def trained(*args, **how):
    """What there is to see after training from one seed, torch's generator included."""
    torch.manual_seed(5)
    return [*minibatches.trained(*args, **how), torch.get_rng_state().numpy()]


def tensors(x=X, y=Y):
    return TensorDataset(torch.tensor(x), torch.tensor(y))


# ---------------------------------------------------------------- the same samples, epoch after epoch


@pytest.mark.parametrize("name", image_sets.SETS)
def test_image_sets_of_torchvision(name, dtype, torchvision, tmp_path, monkeypatch):
    """Read from files in their own formats by torchvision's own classes."""
    from torchvision.transforms import Compose, ToTensor

    dataset = image_sets.SETS[name](torchvision.datasets, tmp_path, monkeypatch)
    n, c = np.asarray(dataset.data)[0].size, 100 if name == "cifar100" else 10
    for transform in (ToTensor(), Compose([ToTensor()])):
        dataset.transform = transform
        loader = DataLoader(dataset, batch_size=16, shuffle=True)
        assert_same(trained(loader, dtype, n, c), trained(Plain(loader), dtype, n, c))


def test_images_with_the_channels_last(torchvision, tmp_path, monkeypatch):
    """As somebody may have put them into a data set: there their planes are gathered."""
    from torchvision.transforms import ToTensor

    dataset = image_sets.cifar10(torchvision.datasets, tmp_path, monkeypatch)
    dataset.transform, dataset.data = ToTensor(), np.ascontiguousarray(dataset.data)
    loader = DataLoader(dataset, batch_size=16, shuffle=True)
    assert_same(trained(loader, n=3072, c=10), trained(Plain(loader), n=3072, c=10))


def test_images_without_a_transform_are_their_bytes(torchvision, tmp_path, monkeypatch):
    """torch can not stack them: here they are what the array holds, times the scale."""
    dataset = image_sets.cifar10(torchvision.datasets, tmp_path, monkeypatch)
    got = trained(DataLoader(dataset, batch_size=16), n=3072, c=10, scale=1 / 255)
    numbers = np.asarray(dataset.data).reshape(len(dataset), -1) / 255
    expected = trained([(numbers[i : i + 16], dataset.targets[i : i + 16]) for i in range(0, 40, 16)], n=3072, c=10)
    assert_close(TRAJECTORY, **{str(i): pair for i, pair in enumerate(zip(got[:-1], expected[:-1]))})


@pytest.mark.parametrize(
    "samples",
    [X, X.astype(np.float32), BYTES, BYTES.transpose(0, 3, 1, 2), X.reshape(M, 3, 2, 2).transpose(0, 2, 3, 1), X[::-1]],
    ids=["float64", "float32", "bytes", "channels first", "channels last", "backwards"],
)
def test_tensors_of_any_layout(samples, dtype):
    view = torch.from_numpy(samples) if min(samples.strides) > 0 else torch.from_numpy(samples.copy())
    loader = DataLoader(TensorDataset(view, torch.tensor(Y)), batch_size=10, shuffle=True)
    scale = {"scale": 1 / 255} if samples.dtype == np.uint8 else {}
    assert_same(trained(loader, dtype, **scale), trained(Plain(loader), dtype, **scale))


LOADERS = {
    "in order": lambda d: DataLoader(d, batch_size=10),
    "shuffled": lambda d: DataLoader(d, batch_size=10, shuffle=True),
    "the last batch dropped": lambda d: DataLoader(d, batch_size=10, shuffle=True, drop_last=True),
    "one batch": lambda d: DataLoader(d, batch_size=1000, shuffle=True),
    "a sample at a time": lambda d: DataLoader(d, shuffle=True),
    "a generator of its own": lambda d: DataLoader(d, 10, True, generator=torch.Generator().manual_seed(3)),
    "with replacement": lambda d: DataLoader(d, 10, sampler=RandomSampler(d, replacement=True, num_samples=70)),
    "more than there are": lambda d: DataLoader(d, 10, sampler=RandomSampler(d, num_samples=70)),
    "a batch sampler": lambda d: DataLoader(d, batch_sampler=BatchSampler(SequentialSampler(d), 7, False)),
    "workers": lambda d: DataLoader(d, batch_size=10, shuffle=True, num_workers=1),
}
SUBSETS = {
    "all": lambda d: d,
    "a part": lambda d: Subset(d, [3, 1, 4, 15, 9, 2, 6, 5, 35, 8, 9, 7, 40]),
    "a part of a part": lambda d: Subset(Subset(d, np.arange(44, 4, -1)), torch.arange(0, 40, 3)),
    "from the end": lambda d: Subset(d, [-1, -45, 7]),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("part", SUBSETS)
def test_any_order_and_any_part(loader, part):
    if loader == "the last batch dropped" and part == "from the end":
        pytest.skip("that leaves no batch")
    make = LOADERS[loader]
    assert_same(trained(make(SUBSETS[part](tensors()))), trained(Plain(make(SUBSETS[part](tensors())))))


def test_a_part_drawn_by_the_lab():
    np.random.seed(1)
    part = fastclf.subsample_dataset(tensors(), 20)
    loader = DataLoader(part, batch_size=6, shuffle=True)
    assert_same(trained(loader), trained(Plain(loader)))


def test_the_reference_takes_the_same_loader():
    loader, models = DataLoader(tensors(), batch_size=10, shuffle=True), []
    for package in (fastclf, reference):
        torch.manual_seed(2)
        np.random.seed(2)
        models.append(package.DeepMLPClassifier(N, 5, C))
        models[-1].losses = models[-1].train(loader, 4, 0.5, step_size=2)
    ours, theirs = models
    assert_close(TRAJECTORY, losses=(ours.losses, theirs.losses), W1=(ours.W1, theirs.W1), W2=(ours.W2, theirs.W2))


def test_large_batches_of_bytes_come_in_pieces(monkeypatch):
    """Only so many samples are numbers at a time; the sums are taken in another order then."""
    loader = DataLoader(tensors(BYTES, Y), batch_size=40, shuffle=True)
    whole = trained(loader, scale=1 / 255)
    monkeypatch.setattr("fastclf.engine.minibatch.PIECE", 16)
    torch.manual_seed(5)
    model = network(np.float64, N, C, scale=1 / 255)
    losses = model.train(loader, 3, 0.1, verbose=False)
    pairs = zip((losses, model.W1, model.b1, model.W3, model.b3, model.W2, model.b2), whole)
    assert_close(TRAJECTORY, **{str(i): pair for i, pair in enumerate(pairs)})


def test_what_the_last_batch_left(monkeypatch):
    """A2 is that of the last batch, as in the lab; but for one that came in pieces."""
    loader, seen = DataLoader(tensors(BYTES, Y), batch_size=20), []
    model = network(np.float64, N, C, scale=1 / 255)
    model.train(loader, 1, 0.1, verbose=False, callback=lambda epoch, loss, model: seen.append(model.A2.shape))
    assert seen == [(C, 5)]
    monkeypatch.setattr("fastclf.engine.minibatch.PIECE", 16)
    model.train(DataLoader(tensors(BYTES, Y), batch_size=45), 1, 0.1, verbose=False)
    with pytest.raises(AttributeError, match="A2 is set by forward"):
        _ = model.A2


# ---------------------------------------------------------------- what is read as usual, and says so


class Doubled(Dataset):
    def __len__(self):
        return M

    def __getitem__(self, i):
        return 2 * X[i], Y[i]


class OwnTensors(TensorDataset):
    def __getitem__(self, i):
        return -self.tensors[0][i], self.tensors[1][i]


class TogetherTensors(TensorDataset):
    def __getitems__(self, places):
        return [(-X[i], Y[i]) for i in places]


class Evens(SequentialSampler):
    def __iter__(self):
        return iter(range(0, M, 2))


class Halved(DataLoader):
    def __iter__(self):
        return ((x / 2, y) for x, y in super().__iter__())


def reversed_batch(batch):
    return torch.utils.data.default_collate(batch[::-1])


AS_USUAL = {
    "its data set is Doubled": lambda: DataLoader(Doubled(), 10),
    "its data set is OwnTensors": lambda: DataLoader(OwnTensors(*tensors().tensors), 10),
    "TogetherTensors, which has a __getitems__": lambda: DataLoader(TogetherTensors(*tensors().tensors), 10),
    "its data set is ConcatDataset": lambda: DataLoader(ConcatDataset([tensors(), tensors()]), 10),
    "its sampler is Evens": lambda: DataLoader(tensors(), 10, sampler=Evens(tensors())),
    "its sampler is SubsetRandomSampler": lambda: DataLoader(tensors(), 10, sampler=SubsetRandomSampler(range(20))),
    "its batch_sampler is list": lambda: DataLoader(tensors(), batch_sampler=[[1, 2, 3], [7, 5]]),
    "its collate_fn is reversed_batch": lambda: DataLoader(tensors(), 10, collate_fn=reversed_batch),
    "Halved has an __iter__": lambda: Halved(tensors(), 10),
    "its workers are persistent": lambda: DataLoader(tensors(), 10, num_workers=1, persistent_workers=True),
    "its samples are torch.float16": lambda: DataLoader(tensors(X.astype(np.float16)), 10),
}


@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize("reason", AS_USUAL)
def test_what_is_read_as_usual_says_so_once(reason):
    loader = AS_USUAL[reason]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = trained(loader)
    [warning] = [w for w in caught if "train_loader" in str(w.message)]
    assert reason in str(warning.message)
    assert warning.filename == minibatches.__file__
    assert_same(got, trained(Plain(AS_USUAL[reason]())))


@pytest.mark.filterwarnings("default::UserWarning")
def test_transforms_that_are_not_known(torchvision, tmp_path, monkeypatch):
    from torchvision.transforms import Compose, Normalize, ToTensor

    dataset = image_sets.cifar10(torchvision.datasets, tmp_path, monkeypatch)
    for transform, target_transform, reason in (
        (Compose([ToTensor(), Normalize(0.5, 0.25)]), None, "is Compose, not ToTensor"),
        (lambda image: ToTensor()(image) * 2, None, "is <lambda>, not ToTensor"),
        (ToTensor(), lambda label: 9 - label, "target_transform"),
    ):
        dataset.transform, dataset.target_transform = transform, target_transform
        loader = DataLoader(dataset, 16, shuffle=True)
        with pytest.warns(UserWarning, match=reason):
            got = trained(loader, n=3072, c=10)
        assert_same(got, trained(Plain(loader), n=3072, c=10))


def test_other_loaders_are_nothing_to_warn_of():
    trained([(X, Y)])
    trained(Plain(DataLoader(tensors(), 10)))


def test_overridden_methods_see_every_batch():
    class Careful(fastclf.DeepMLPClassifier):
        def forward(self, X):
            sizes.append(X.shape)
            return super().forward(X)

    sizes = []
    Careful(N, 4, C).train(DataLoader(tensors(), 20), 1, 0.1, verbose=False)
    assert sizes == [(N, 20), (N, 20), (N, 5)]


def test_batches_of_tensors(dtype):
    assert_same(trained(Batches(torch.tensor(X), Y.tolist(), 10), dtype), trained(Batches(X, Y, 10), dtype))


# ---------------------------------------------------------------- bad sets are found before a step is taken


@pytest.mark.parametrize(("x", "y", "message"), minibatches.BAD.values(), ids=minibatches.BAD)
def test_bad_sets(x, y, message):
    minibatches.is_refused(DataLoader(tensors(x, y), 10), message)


def test_what_a_part_leaves_out_may_be_bad():
    """Two classes of three, and the rows without NaN: the rest of the set is nobody's business."""
    x, keep = X.copy(), np.flatnonzero(Y < 2)
    x[Y == 2] = np.nan
    loader = DataLoader(Subset(tensors(x), keep), 10, shuffle=True)
    assert_same(trained(loader, c=2), trained(Plain(loader), c=2))
    x[keep[7], 3] = np.inf
    with pytest.raises(ValueError, match=r"X of train_loader must be finite, got inf at \(7, 3\)"):
        trained(DataLoader(Subset(tensors(x), keep), 10), c=2)
    with pytest.raises(ValueError, match="y of train_loader must lie in 0 … 1, got labels from 0 to 2"):
        trained(DataLoader(Subset(tensors(), range(M)), 10), c=2)


def test_a_set_of_nothing():
    with pytest.raises(ValueError, match="at least one batch"):
        trained(DataLoader(Subset(tensors(), []), 10))
    with pytest.raises(ValueError, match="at least one batch"):
        trained(DataLoader(tensors(), 100, drop_last=True))
