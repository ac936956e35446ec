"""The fast path for loaders of mini-batches: a kernel reads the samples from one array, in the loader's order.

A torch DataLoader asks its data set for one sample after the other, turns each into a tensor, and stacks them. If the
data set holds all samples in one array, and a sample needs no further work, a kernel can read the batches from that array.
The kernel gets the samples that the loader would have yielded, in the same order: torch draws the order with the loader's
own sampler, so torch's random numbers are the usual ones.

Only ``subsample_dataset`` (section 5 of the lab) imports torch, so a user without DataLoaders need not install torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine.mapped import Blocks, shuffled
from ..engine.minibatch import Samples
from ..engine.rows import Rows, flattened
from ..inputs import as_array, as_count, as_labels, as_order, as_random, check_finite, check_rows
from ..io.checkpoint import set_random, state_of_random
from ..kernels.warning import warn_user

_CHECKED_ROWS = 4096  # rows of a Subset that are checked at a time


class Epoch(NamedTuple):
    """What a kernel needs of a loader for one epoch; all of it is proved to be right."""

    samples: Samples
    batch_size: int
    order: NDArray[np.int64]


class Batches:
    """Mini-batches of arrays, which ``DeepMLPClassifier.train`` takes in place of a torch DataLoader.

    Parameters
    ----------
    X : array-like of shape (m, …)
        Samples of any shape. Bytes (uint8) and memory-mapped files (``np.memmap``) are not copied.
    y : array-like of int, shape (m,)
        Labels.
    batch_size : int
    shuffle : bool or "blocks"
        Draw a new order of the samples for each epoch. "blocks" draws whole blocks of about a megabyte at random, and
        shuffles a few dozen of them together, so that a file is read in large pieces; so does True for a memory-mapped file
        that is larger than half of the free memory.
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
        shuffle: bool | str = False,
        *,
        drop_last: bool = False,
        random_state: Any = None,
    ) -> None:
        self.X: Any = X
        self.y: Any = y
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self._random = as_random(random_state)
        self._check()

    def _check(self) -> None:
        """Check the attributes, which may have been assigned since the last epoch; ``X`` and ``y`` become arrays."""
        self.X, self.y = as_array(self.X, "X"), as_array(self.y, "y")
        if self.X.ndim < 2 or self.X.size == 0:
            raise ValueError(f"X must have shape (m, ...), one sample per row, and not be empty, got {self.X.shape}")
        if self.y.shape != self.X.shape[:1]:
            raise ValueError(f"y must have shape ({len(self.X)},), one label per sample, got {self.y.shape}")
        self.batch_size = as_count(self.batch_size, "batch_size", 1)
        if isinstance(self.shuffle, str) and self.shuffle != "blocks":
            raise ValueError(f'shuffle must be True, False or "blocks", got {self.shuffle!r}')
        if self.drop_last and len(self.X) < self.batch_size:
            raise ValueError(f"batch_size must be at most {len(self.X)} where drop_last, got {self.batch_size}")

    def __repr__(self) -> str:
        """The sizes of the set, the dtype of its samples, and how batches are made of it."""
        shape, dtype = (getattr(self.X, name, "?") for name in ("shape", "dtype"))  # anything may have been assigned
        how = {name: getattr(self, name) for name in ("batch_size", "shuffle", "drop_last")}
        return f"{type(self).__name__}({shape}, dtype={dtype}, {', '.join(f'{k}={v!r}' for k, v in how.items())})"

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        m, size = len(self.X), as_count(self.batch_size, "batch_size", 1)
        return m // size if self.drop_last else -(-m // size)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """The batches (X, y) of the next epoch, with the dtypes of the arrays."""
        self._check()
        order = self.order()
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            yield self.X[batch], self.y[batch]

    def order(self) -> NDArray[np.int64]:
        """The indices of the next epoch's samples, in their order."""
        order = np.arange(len(self.X))
        if self.shuffle:
            order = shuffled(order, Blocks.wished_for(self.X, self.shuffle), self._random)
        return order[: len(self) * self.batch_size] if self.drop_last else order


def _sampler_of(loader: Any) -> Any:
    """The sampler that a DataLoader draws its samples by, if it has one."""
    return getattr(getattr(loader, "batch_sampler", None), "sampler", getattr(loader, "sampler", None))


def begin_epoch(loader: Any, epoch: int) -> None:
    """Tell a DistributedSampler which epoch begins: it draws the same order for each, unless it is told."""
    data = sys.modules.get("torch.utils.data")
    if data is not None and isinstance(sampler := _sampler_of(loader), data.DistributedSampler):
        sampler.set_epoch(epoch)


def _generators(loader: Any) -> dict[str, Any]:
    """The generators of NumPy and torch that the batches of a loader may be drawn from."""
    found: dict[str, Any] = {"numpy": np.random}
    if isinstance(loader, Batches):
        found["batches"] = loader._random
    if (torch := sys.modules.get("torch")) is not None:
        found["torch"] = torch.random.default_generator
        for name, holder in (("loader", loader), ("sampler", _sampler_of(loader))):
            if isinstance(generator := getattr(holder, "generator", None), torch.Generator):
                found[name] = generator
    return found


def random_states(loader: Any) -> dict[str, Any]:
    """The states of the generators that the batches of a loader may be drawn from: a run can go on from there."""
    return {
        name: state_of_random(source) if hasattr(source, "standard_normal") else source.get_state().numpy()
        for name, source in _generators(loader).items()
    }


def set_random_states(loader: Any, states: dict[str, Any]) -> None:
    """Put the generators into the states that ``random_states`` has given."""
    for name, source in _generators(loader).items():
        if (state := states.get(name)) is None:
            continue  # torch had not been imported
        if hasattr(source, "standard_normal"):
            set_random(source, state)
        else:
            source.set_state(sys.modules["torch"].from_numpy(state))


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

    def has_the_samples_of(self, other: _Source) -> bool:
        """Whether both take the same samples, from the same memory, and convert them alike."""
        here, there = (
            (s.images.__array_interface__["data"], s.images.dtype, s.images.shape, s.images.strides)
            for s in (self, other)
        )
        return here == there and all(
            (a is b) if a is None or b is None else np.array_equal(a, b)
            for a, b in ((self.bytes_as, other.bytes_as), (self.places, other.places))
        )


class _NotInMemory(Exception):
    """The DataLoader has no fast path; the message gives the reason."""


class FastPath:
    """The fast path for a loader, if it has one.

    A DataLoader without a fast path gets a warning, because loading then takes most of the training time.
    """

    def __init__(
        self, loader: Any, dtype: np.dtype[Any], widths: tuple[int, ...], scale: float, n_jobs: int | None
    ) -> None:
        self._loader, self._dtype, self._widths, self._scale, self._n_jobs = loader, dtype, widths, scale, n_jobs
        self._source: _Source | None = None  # whose samples have been checked
        self._warned = False

    def epoch(self) -> Epoch | None:
        """The next epoch; None if training has to take its batches from the loader itself.

        Everything is looked up anew, because attributes of the loader and of its data set may have been assigned since the
        last epoch; samples that are still in the same place are not checked again.
        """
        source = self._look_up()
        if source is None:
            return None
        if self._source is None or not source.has_the_samples_of(self._source):
            self._rows = self._checked_rows(source)
            self._source = source
        self._rows.forget_bfloat16()
        y, m, n_classes = "y of train_loader", len(self._rows), self._widths[-1]
        if source.places is None:
            labels = as_labels(source.labels, y, m, n_classes)
        else:
            labels = np.zeros(m, np.int64)  # 0 where the loader yields none
            if len(source.places):
                chosen = as_array(source.labels, y)[source.places]
                labels[source.places] = as_labels(chosen, y, len(source.places), n_classes)
        order = as_order(source.order(), "the order that train_loader gives", m)
        return Epoch(Samples(self._rows, labels), as_count(source.batch_size, "batch_size", 1), order)

    def _look_up(self) -> _Source | None:
        loader, data = self._loader, sys.modules.get("torch.utils.data")
        if isinstance(loader, Batches):
            if type(loader).__iter__ is not Batches.__iter__:
                return None
            loader._check()
            return _Source(loader.X, loader.y, loader.batch_size, loader.order)
        if data is None or not isinstance(loader, data.DataLoader):
            return None
        try:
            return _read(loader, data)
        except _NotInMemory as reason:
            if not self._warned:
                warn_user(f"train_loader is read sample by sample, by torch's DataLoader: {reason}")
            self._warned = True
            return None

    def _checked_rows(self, source: _Source) -> Rows:
        """The samples, of which those that the loader may yield are checked."""
        array, channels = flattened(source.images)
        if array.shape[1] != self._widths[0]:
            shape = source.images.shape[1:]
            raise ValueError(f"train_loader must yield {self._widths[0]} features per sample, got images of {shape}")
        if array.dtype not in (np.uint8, np.float32, np.float64):
            array = array.astype(self._dtype)
        rows = Rows(array, self._dtype, self._scale if source.bytes_as is None else source.bytes_as, channels)
        X, places = "X of train_loader", source.places
        if places is None:
            check_rows(rows, X, self._n_jobs)
        elif rows.array.dtype != np.uint8:
            for start in range(0, len(places), _CHECKED_ROWS):
                check_finite(rows.as_floats(places[start : start + _CHECKED_ROWS]), X, self._n_jobs, start)
        return rows


def _samplers(data: Any) -> tuple[type, ...]:
    """The samplers whose order can be had without the samples."""
    return data.SequentialSampler, data.RandomSampler, data.DistributedSampler


def _read(loader: Any, data: Any) -> _Source:
    """The arrays behind a DataLoader; raises ``_NotInMemory`` if the loader has no fast path."""
    batches = loader.batch_sampler
    for name, value, kinds in (
        ("batch_sampler", batches, (data.BatchSampler,)),
        ("sampler", getattr(batches, "sampler", None), _samplers(data)),
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
