"""The data of the lab: its synthetic sets, and images from scikit-learn or CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import datasets
from ...datasets import Dataset
from ...datasets.sources import SPLITS

PATCH = 32  # pixels along a side of a patch, as of a CIFAR-10 image


@dataclass(frozen=True)
class Problem:
    """A training and a test set; ``y_train`` is a target matrix for ``train_model``, and labels for the lab's classes."""

    name: str
    X_train: NDArray[Any]
    y_train: NDArray[Any]
    X_test: NDArray[Any]
    y_test: NDArray[Any]
    shape: tuple[int, ...] = ()  # of one image
    class_names: tuple[str, ...] = ()

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.X_train.shape[1])

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def synthetic(multiclass: bool) -> Problem:
    """The lab's synthetic set of 200 points: four classes in three dimensions, or else two classes in two dimensions."""
    from sklearn.datasets import make_classification
    from sklearn.model_selection import train_test_split

    if multiclass:
        X, y = make_classification(
            n_samples=200, n_features=3, n_informative=3, n_redundant=0, n_clusters_per_class=1, n_classes=4,
            random_state=100,
        )  # fmt: skip
        targets = np.eye(4)[y]
    else:
        X, y = make_classification(
            n_samples=200, n_features=2, n_classes=2, n_informative=2, n_redundant=0, random_state=100
        )  # fmt: skip
        targets = y.reshape(-1, 1).astype(float)
    X_train, X_test, y_train, y_test = train_test_split(X, targets, test_size=0.2, random_state=100)
    names = tuple(str(k) for k in range(4 if multiclass else 2))
    return Problem("synthetic", X_train, y_train, X_test, y_test, class_names=names)


def _problem(train: Dataset, test: Dataset, rows: slice = slice(None)) -> Problem:
    """A problem from the same rows of a training and a test set; bytes are multiplied by the set's scale."""

    def arrays(part: Dataset) -> tuple[NDArray[Any], NDArray[Any]]:
        X = part.X[rows]
        return X if part.scale is None else X * part.scale, np.asarray(part.y)[rows]

    return Problem(train.name, *arrays(train), *arrays(test), train.shape, train.class_names or ())


def digits() -> Problem:
    """scikit-learn's 1,797 handwritten digits, 8 × 8 pixels in [0, 1]; the first 1,000 are the training set."""
    return _problem(datasets.digits("train"), datasets.digits("test"))


def photos() -> Problem:
    """Patches of 32 × 32 pixels out of scikit-learn's two photographs; the class is the photograph.

    Patches overlap by half. The right quarter of each photograph is the test set; no patch crosses its border.
    """
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    train: list[Any] = []
    test: list[Any] = []
    for label, image in enumerate(bunch.images):
        edge = image.shape[1] * 3 // 4
        for parts, left, right in ((train, 0, edge), (test, edge, image.shape[1])):
            for top in range(0, image.shape[0] - PATCH + 1, PATCH // 2):
                for x in range(left, right - PATCH + 1, PATCH // 2):
                    parts.append((image[top : top + PATCH, x : x + PATCH], label))
    order = np.random.RandomState(0).permutation(len(train))
    (X_train, y_train), (X_test, y_test) = (
        (np.stack([p.reshape(-1) for p, _ in parts]) / 255, np.array([label for _, label in parts]))
        for parts in ([train[i] for i in order], test)
    )
    return Problem("photos", X_train, y_train, X_test, y_test, (PATCH, PATCH, 3), ("china", "flower"))


def cifar10(root: str, download: bool, small: bool) -> Problem:
    """CIFAR-10 through torchvision, pixels in [0, 1], samples flattened to 3,072; ``small`` takes 1,000 of each part."""
    train, test = (datasets.cifar10(root, split, download=download) for split in SPLITS)
    return _problem(train, test, slice(1000) if small else slice(None))
