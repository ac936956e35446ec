"""
Larger than memory
==================

A file of bytes is trained on where it lies: nothing but labels and the order of the samples is held in memory. This one is
small; one of any size is read in the same way, in large pieces, ahead of the kernels.
"""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from fastclf import FastLinearClassifier
from fastclf.plots import WeightTemplatesDisplay

X, y = load_digits(return_X_y=True)
path = Path(tempfile.mkdtemp()) / "images.npy"
file = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(20 * len(X), 64))
for part in range(20):  # as a program would write what it collects
    file[part * len(X) : (part + 1) * len(X)] = X
file.flush()
print(f"{path.stat().st_size / 1e6:.1f} MB on the disk")

images = np.load(path, mmap_mode="r")
model = FastLinearClassifier(scale=1 / 16, max_iter=10, tol=None, random_state=0).fit(images, np.tile(y, 20))
WeightTemplatesDisplay.from_estimator(model, (8, 8))
