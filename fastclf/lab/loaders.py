"""The fast path for loaders of mini-batches: a kernel reads the samples from one array, in the loader's order.

A torch DataLoader asks its data set for one sample after the other, turns each into a tensor, and stacks them. If the
data set holds all samples in one array, and a sample needs no further work, a kernel can read the batches from that array.
The kernel gets the samples that the loader would have yielded, in the same order: torch draws the order with the loader's
own sampler, so torch's random numbers are the usual ones.

Only ``subsample_dataset`` (section 5 of the lab) imports torch, so a user without DataLoaders need not install torch.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine.mapped import Mapping, shuffled
from ..engine.minibatch import Samples
from ..engine.rows import Rows, flattened
from ..inputs import as_array, as_count, as_labels, as_random, check_finite, check_rows

_CHECKED_ROWS = 4096  # rows of a Subset that are checked at a time


class InMemoryLoader(NamedTuple):
    """What training needs of a loader: samples, batch size, and a function that draws the order of the next epoch."""

    samples: Samples
    batch_size: int
    order: Callable[[], NDArray[np.int64]]


class Batches:
    """Mini-batches of arrays, which ``DeepMLPClassifier.train`` takes in place of a torch DataLoader.

    Parameters
    ----------
    X : array-like of shape (m, …)
        Samples of any shape. Bytes (uint8) and memory-mapped files (``np.memmap``) are not copied.
    y : array-like of int, shape (m,)
        Labels.
    batch_size : int
    shuffle : bool
        Draw a new order of the samples for each epoch. For a memory-mapped file, whole blocks are drawn at random, and a
        few dozen blocks are shuffled together, so that the file is read in large pieces.
    drop_last : bool
        Leave out the last batch if it is not full.
    random_state : None, int, RandomState or Generator, optional
        Source of the orders; None takes NumPy's global generator.

    Raises
    ------
    TypeError, ValueError
        If X and y are not arrays of one length, or another argument does not match its description.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        batch_size: int = 1000,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        random_state: Any = None,
    ) -> None:
        self.X, self.y = as_array(X, "X"), as_array(y, "y")
        if self.X.ndim < 2 or self.X.size == 0:
            raise ValueError(f"X must have shape (m, ...), one sample per row, and not be empty, got {self.X.shape}")
        if self.y.shape != self.X.shape[:1]:
            raise ValueError(f"y must have shape ({len(self.X)},), one label per sample, got {self.y.shape}")
        self.batch_size, self.shuffle, self.drop_last = as_count(batch_size, "batch_size", 1), shuffle, drop_last
        if drop_last and len(self.X) < self.batch_size:
            raise ValueError(f"batch_size must be at most {len(self.X)} where drop_last, got {self.batch_size}")
        self._random = as_random(random_state)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        m = len(self.X)
        return m // self.batch_size if self.drop_last else -(-m // self.batch_size)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """The batches (X, y) of the next epoch, with the dtypes of the arrays."""
        order = self.order()
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            yield self.X[batch], self.y[batch]

    def order(self) -> NDArray[np.int64]:
        """The indices of the next epoch's samples, in their order."""
        order = np.arange(len(self.X))
        if self.shuffle:
            order = shuffled(order, Mapping.of(self.X), self._random)
        return order[: len(self) * self.batch_size] if self.drop_last else order


def subsample_dataset(dataset: Any, sample_size: int = 1000, *, random_state: Any = None) -> Any:
    """A random subset of a torch data set.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        A data set that has a length.
    sample_size : int
        Number of samples to draw, without replacement.
    random_state : None, int, RandomState or Generator, optional
        None draws from NumPy's global generator, by ``np.random.choice`` as in the lab.

    Returns
    -------
    torch.utils.data.Subset

    Raises
    ------
    TypeError, ValueError
        If ``sample_size`` is not a whole number between 0 and the length of the data set.
    """
    from torch.utils.data import Subset

    size, available = as_count(sample_size, "sample_size"), len(dataset)
    if size > available:
        raise ValueError(f"sample_size must be at most {available}, the length of the data set, got {size}")
    return Subset(dataset, as_random(random_state).choice(available, size, replace=False))


class _Source(NamedTuple):
    """The arrays that a loader takes its samples from, and how it takes them."""

    images: NDArray[Any]  # (m, …)
    labels: Any
    batch_size: int
    order: Callable[[], NDArray[np.int64]]
    bytes_as: NDArray[Any] | None = None  # (256,), the float that each byte stands for; None: ``scale`` decides
    places: NDArray[np.int64] | None = None  # indices of the samples that the loader may yield; None: all


class _NotInMemory(Exception):
    """The DataLoader has no fast path; the message gives the reason."""


def in_memory(
    loader: Any, dtype: np.dtype[Any], widths: tuple[int, ...], scale: float, n_jobs: int | None
) -> InMemoryLoader | None:
    """The fast path for a loader; None if training has to take the batches from the loader itself.

    A DataLoader without a fast path gets a warning, because loading then takes most of the training time.
    """
    if isinstance(loader, Batches):
        source = _Source(loader.X, loader.y, loader.batch_size, loader.order)
    else:
        data = sys.modules.get("torch.utils.data")
        if data is None or not isinstance(loader, data.DataLoader):
            return None
        try:
            source = _read(loader, data)
        except _NotInMemory as reason:
            warnings.warn(f"train_loader is read sample by sample, by torch's DataLoader: {reason}", stacklevel=4)
            return None
    array, channels = flattened(source.images)
    if array.shape[1] != widths[0]:
        shape = source.images.shape[1:]
        raise ValueError(f"train_loader must yield {widths[0]} features per sample, got images of {shape}")
    if array.dtype not in (np.uint8, np.float32, np.float64):
        array = array.astype(dtype)
    rows = Rows(array, dtype, scale if source.bytes_as is None else source.bytes_as, channels)
    y = _checked(rows, source, widths[-1], n_jobs)
    return InMemoryLoader(Samples(rows, y), source.batch_size, source.order)


def _checked(rows: Rows, source: _Source, n_classes: int, n_jobs: int | None) -> NDArray[np.int64]:
    """Check the samples and labels that the loader may yield. Returns all labels; 0 where the loader yields none."""
    X, y = "X of train_loader", "y of train_loader"
    if source.places is None:
        check_rows(rows, X, n_jobs)
        return as_labels(source.labels, y, len(rows), n_classes)
    labels, places = np.zeros(len(rows), np.int64), source.places
    if len(places):
        labels[places] = as_labels(as_array(source.labels, y)[places], y, len(places), n_classes)
    if rows.array.dtype != np.uint8:
        for start in range(0, len(places), _CHECKED_ROWS):
            check_finite(rows.as_floats(places[start : start + _CHECKED_ROWS]), X, n_jobs, start)
    return labels


def _read(loader: Any, data: Any) -> _Source:
    """The arrays behind a DataLoader; raises ``_NotInMemory`` if the loader has no fast path."""
    batches = loader.batch_sampler
    for name, value, kinds in (
        ("batch_sampler", batches, (data.BatchSampler,)),
        ("sampler", getattr(batches, "sampler", None), (data.SequentialSampler, data.RandomSampler)),
    ):
        if type(value) not in kinds:
            raise _NotInMemory(f"its {name} is {_name(value)}, not {' or '.join(k.__name__ for k in kinds)}")
    if loader.collate_fn is not data.default_collate:
        raise _NotInMemory(f"its collate_fn is {_name(loader.collate_fn)}, not default_collate")
    if type(loader).__iter__ is not data.DataLoader.__iter__:
        raise _NotInMemory(f"{type(loader).__name__} has an __iter__ of its own")
    if loader.num_workers and loader.persistent_workers:
        raise _NotInMemory("its workers are persistent, and draw their seed but once")
    dataset, places = loader.dataset, None
    while type(dataset) is data.Subset:
        chosen = np.asarray(dataset.indices) if len(dataset.indices) else np.empty(0, np.int64)
        if chosen.dtype.kind not in "iu" or chosen.ndim != 1:
            raise _NotInMemory("the indices of its Subset are not whole numbers")
        dataset, places = dataset.dataset, chosen if places is None else chosen[places]
    images, labels, table = _arrays(dataset, data)
    if places is not None:
        if places.size and not (-len(images) <= places.min() and places.max() < len(images)):
            raise _NotInMemory("its Subset has indices that the data set does not have")
        places = places % len(images)
    in_order = data.DataLoader(
        _Places(len(loader.dataset)), batch_sampler=batches, collate_fn=_same, generator=loader.generator
    )

    def order() -> NDArray[np.int64]:
        drawn = np.fromiter(chain.from_iterable(in_order), np.int64)
        return drawn if places is None else places[drawn]

    return _Source(images, labels, batches.batch_size, order, table, places)


def _arrays(dataset: Any, data: Any) -> tuple[NDArray[Any], Any, NDArray[Any] | None]:
    """The arrays behind a data set: images (m, …), labels, and the float of each byte, (256,) or None."""
    getter, vision = type(dataset).__getitem__, sys.modules.get("torchvision.datasets")
    if hasattr(type(dataset), "__getitems__"):
        raise _NotInMemory(f"its data set is {_name(dataset)}, which has a __getitems__ of its own")
    if getter is data.TensorDataset.__getitem__:
        if len(dataset.tensors) != 2:
            raise _NotInMemory(f"its TensorDataset has {len(dataset.tensors)} tensors, not 2")
        if any(t.device.type != "cpu" or t.is_sparse for t in dataset.tensors):
            raise _NotInMemory("its tensors are not dense ones on the CPU")
        X, y = (t.detach() for t in dataset.tensors)
        if str(X.dtype) not in ("torch.uint8", "torch.float32", "torch.float64"):
            raise _NotInMemory(f"its samples are {X.dtype}, not uint8, float32 or float64")
        return X.numpy(), y.numpy(), None
    known = {} if vision is None else {
        vision.CIFAR10.__getitem__: "targets", vision.MNIST.__getitem__: "targets", vision.SVHN.__getitem__: "labels"
    }  # fmt: skip
    if getter not in known:
        raise _NotInMemory(f"its data set is {_name(dataset)}, which is not known to hold its samples in one array")
    if dataset.target_transform is not None:
        raise _NotInMemory(f"its data set has the target_transform {_name(dataset.target_transform)}")
    images, labels = np.asarray(dataset.data), np.asarray(getattr(dataset, known[getter]))
    if images.dtype != np.uint8 or len(dataset) != len(images):
        raise _NotInMemory(f"its data set {_name(dataset)} does not hold its images as bytes")
    transform = dataset.transform
    while type(transform) is sys.modules["torchvision.transforms"].Compose and len(transform.transforms) == 1:
        [transform] = transform.transforms
    if getter is vision.SVHN.__getitem__:  # type: ignore[union-attr]
        images = images.transpose(0, 2, 3, 1)  # SVHN stores the channels first, unlike CIFAR10
    if transform is None:
        return images, labels, None
    if type(transform) is not sys.modules["torchvision.transforms"].ToTensor:
        raise _NotInMemory(f"the transform of its data set is {_name(transform)}, not ToTensor")
    images = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
    return images, labels, _to_tensor()


def _to_tensor() -> NDArray[Any]:
    """The float that torchvision's ToTensor makes of each byte, exact to the last bit."""
    torch = sys.modules["torch"]
    return np.asarray(torch.arange(256).to(torch.get_default_dtype()).div(255))


class _Places:
    """A data set whose samples are their own indices: its DataLoader yields the indices of each batch."""

    def __init__(self, m: int) -> None:
        self._m = m

    def __len__(self) -> int:
        return self._m

    def __getitems__(self, places: list[int]) -> list[int]:
        return places


def _same(places: list[int]) -> list[int]:
    return places


def _name(thing: Any) -> str:
    return getattr(thing, "__name__", type(thing).__name__)
