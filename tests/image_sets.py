"""Small files in the real formats of torchvision's image sets, which its own classes read.

torchvision compares some files with checksums, which are replaced by those of the small ones, as long as a test runs.
"""

import hashlib
import pickle
import struct

import numpy as np
import scipy.io

M = 40  # images of a training set


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def cifar(kind, folder, patch, names, labels, meta_key):
    """CIFAR-10 and CIFAR-100: pickled batches of rows of 3,072 bytes, channels first."""
    rng = np.random.default_rng(0)

    def batch(name, m):
        content = {"data": rng.integers(0, 256, (m, 3072), np.uint8), labels: [i % len(names) for i in range(m)]}
        return [name, _write(folder / kind.base_folder / name, pickle.dumps(content))]

    parts = [name for name, _ in kind.train_list]
    train = [batch(name, M // len(parts)) for name in parts]
    test = [batch(name, M // 2) for name, _ in kind.test_list]
    checksum = _write(folder / kind.base_folder / kind.meta["filename"], pickle.dumps({meta_key: names}))
    patch.setattr(kind, "train_list", train)
    patch.setattr(kind, "test_list", test)
    patch.setattr(kind, "meta", {**kind.meta, "md5": checksum})


def cifar10(vision, folder, patch):
    names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    cifar(vision.CIFAR10, folder, patch, names, "labels", "label_names")
    return vision.CIFAR10(folder)


def cifar100(vision, folder, patch):
    cifar(vision.CIFAR100, folder, patch, [f"kind {k}" for k in range(100)], "fine_labels", "fine_label_names")
    return vision.CIFAR100(folder)


def _idx(vision, kind, folder, prefix="", **how):
    """The MNIST family: big-endian headers, then bytes."""
    rng, raw = np.random.default_rng(0), folder / kind.__name__ / "raw"
    for part, m in (("train", M), ("t10k" if not prefix else "test", M // 2)):
        images, labels = rng.integers(0, 256, (m, 28, 28), np.uint8), (np.arange(m) % 10).astype(np.uint8)
        _write(raw / f"{prefix}{part}-images-idx3-ubyte", struct.pack(">iiii", 2051, *images.shape) + images.tobytes())
        _write(raw / f"{prefix}{part}-labels-idx1-ubyte", struct.pack(">ii", 2049, m) + labels.tobytes())
    return kind(folder, **how)


def mnist(vision, folder, patch):
    return _idx(vision, vision.MNIST, folder)


def fashion_mnist(vision, folder, patch):
    return _idx(vision, vision.FashionMNIST, folder)


def kmnist(vision, folder, patch):
    return _idx(vision, vision.KMNIST, folder)


def emnist(vision, folder, patch):
    return _idx(vision, vision.EMNIST, folder, "emnist-digits-", split="digits")


def svhn(vision, folder, patch):
    """A MATLAB file; the digit 0 has the label 10."""
    rng = np.random.default_rng(0)
    scipy.io.savemat(
        folder / "train_32x32.mat",
        {"X": rng.integers(0, 256, (32, 32, 3, M), np.uint8), "y": (np.arange(M) % 10 + 1).reshape(-1, 1)},
    )
    checksum = hashlib.md5((folder / "train_32x32.mat").read_bytes()).hexdigest()
    split = [*vision.SVHN.split_list["train"][:2], checksum]
    patch.setattr(vision.SVHN, "split_list", {**vision.SVHN.split_list, "train": split})
    return vision.SVHN(folder)


SETS = {f.__name__: f for f in (cifar10, cifar100, mnist, fashion_mnist, kmnist, emnist, svhn)}
