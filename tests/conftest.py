"""Fixtures that every test may ask for. Compiled kernels come from the user's own cache, as they do for a user."""

import hashlib
import importlib
import importlib.util
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # tiny problems, and pytest-xdist has a process for every processor already


@pytest.fixture(autouse=True)
def seeded():
    """Tests that draw from NumPy's global generator, as the lab does, draw the same numbers in any order."""
    np.random.seed(0)


@pytest.fixture(scope="session")
def torchvision():
    """torchvision, also where its compiled operators do not fit the installed torch.

    torchvision from one index beside torch from another one has no operators, and its import ends at the first one that
    it describes to torch. Data sets and transforms need none of them: declaring their names lets the import pass.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    registrations = Path(importlib.util.find_spec("torchvision").origin).with_name("_meta_registrations.py")
    names = re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"', registrations.read_text())
    operators = torch.library.Library("torchvision", "DEF")
    for name in dict.fromkeys(names):
        operators.define(f"{name}() -> ()")
    for module in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
        del sys.modules[module]  # half imported
    package = importlib.import_module("torchvision")
    package._declared_operators = operators  # torch forgets them with this object
    return package


@pytest.fixture
def cifar10(torchvision, tmp_path, monkeypatch):
    """A folder in CIFAR-10's own format, with 40 training and 20 test images, and torchvision's checksums to match."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return name, hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(name, m):
        pixels = rng.integers(0, 256, (m, 3072), dtype=np.uint8)
        return write(name, {"data": pixels, "labels": [i % 10 for i in range(m)]})

    names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    meta, checksum = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{i}", 8) for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch", 20)])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta, "key": "label_names", "md5": checksum})
    return tmp_path
