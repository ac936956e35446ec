"""
Training under a time limit
===========================

A callback sees every epoch. If it returns something true, training ends, and the model is what it was then.
"""

import time

import numpy as np
from sklearn.datasets import load_digits

from fastclf import MLPClassifier
from fastclf.plots import LossCurveDisplay

X, y = load_digits(return_X_y=True)
model = MLPClassifier(64, 100, 10, dtype=np.float32, random_state=0)

seconds, start = 1.0, time.perf_counter()
losses = model.train(
    (X / 16).T, y, epochs=100_000, learning_rate=0.5, verbose=False,
    callback=lambda epoch, loss, model: time.perf_counter() - start > seconds,
)  # fmt: skip
print(f"{len(losses)} epochs in {time.perf_counter() - start:.2f} s, loss {losses[-1]:.4f}")

LossCurveDisplay.from_losses(losses)
