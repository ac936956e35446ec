"""The lab's stages: each one trains one model on one problem.

``Stage.train`` takes the module that provides the trainers, ``fastclf.reference`` or ``fastclf.lab``. The two runs of a
stage differ in nothing else; ``timing`` checks the promise that both modules give the same losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import problems
from .problems import Problem


@dataclass
class Run:
    """The results of one training: losses, predictions on the test set, and parameters that the report may draw."""

    losses: list[float]
    predictions: NDArray[Any]
    weights: NDArray[Any] | None = None  # set by the image classifier only
    theta: NDArray[Any] | None = None  # set by train_model only


@dataclass
class Stage:
    """One model on one problem; ``train`` takes the module with the trainers and a cap on the number of epochs, or None."""

    name: str
    problem: Problem
    train: Callable[[Any, int | None], Run]
    tolerance: float = 1e-9  # at most this |a - b| / max(1, |a|), for the losses a and b of any epoch


def _linear(batch: bool, multiclass: bool, iterations: int) -> Stage:
    problem = problems.synthetic(multiclass)

    def train(lib: Any, cap: int | None) -> Run:
        n = min(iterations, cap or iterations)
        theta, losses = lib.train_model(problem.X_train, problem.y_train, 0.01, n, batch, multiclass)
        scores = lib.linear_prediction(lib.add_bias_term(problem.X_test), theta)
        labels = scores.argmax(axis=1) if multiclass else (lib.sigmoid(scores) >= 0.5).astype(int)[:, 0]
        return Run(losses, labels, theta=theta)

    kind = "softmax" if multiclass else "sigmoid"
    truth = problem.y_test.argmax(axis=1) if multiclass else problem.y_test[:, 0].astype(int)
    flat = Problem(problem.name, problem.X_train, problem.y_train, problem.X_test, truth, (), problem.class_names)
    return Stage(f"{kind}, {'batch' if batch else 'SGD'}", flat, train)


def _image_linear(problem: Problem, epochs: int, learning_rate: float) -> Stage:
    def train(lib: Any, cap: int | None) -> Run:
        model = lib.ImageLinearClassifier(problem.X_train.shape[1], problem.n_classes)
        losses = lib.train(model, problem.X_train, problem.y_train, min(epochs, cap or epochs), learning_rate)
        return Run(losses, model.predict(problem.X_test).argmax(axis=0), model.W.copy())

    return Stage("image linear", problem, train)


def _mlp(problem: Problem, hidden: int, epochs: int, learning_rate: float) -> Stage:
    def train(lib: Any, cap: int | None) -> Run:
        model = lib.MLPClassifier(problem.X_train.shape[1], hidden, problem.n_classes)
        losses = model.train(problem.X_train.T, problem.y_train, min(epochs, cap or epochs), learning_rate)
        return Run(losses, model.forward(problem.X_test.T).argmax(axis=0))

    return Stage("MLP", problem, train)


def _deep(problem: Problem, hidden: int, epochs: int, batch_size: int, learning_rate: float, step_size: int) -> Stage:
    """The lab's deep network, with larger initial weights than the lab's own, so that long runs do not turn chaotic."""
    m, n = problem.X_train.shape
    batches = [
        (problem.X_train[i : i + batch_size], problem.y_train[i : i + batch_size]) for i in range(0, m, batch_size)
    ]

    def train(lib: Any, cap: int | None) -> Run:
        model = lib.DeepMLPClassifier(n, hidden, problem.n_classes)
        model.W1 = np.random.randn(hidden, n) * np.sqrt(2 / n)
        model.W3 = np.random.randn(hidden, hidden) * np.sqrt(2 / hidden)
        model.W2 = np.random.randn(problem.n_classes, hidden) * np.sqrt(2 / hidden)
        losses = model.train(batches, min(epochs, cap or epochs), learning_rate, step_size=step_size, min_delta=0.001)
        return Run(losses, model.forward(problem.X_test.T).argmax(axis=0))

    return Stage("deep MLP", problem, train)


def stages(data: str, quick: bool, data_root: str | None = None, download: bool = False) -> list[Stage]:
    """The lab's stages in order, with images from ``data``: "digits", "photos" or "cifar10".

    On the lab's own data, the numbers of epochs, learning rates and sizes are the lab's too. ``quick`` cuts the epochs.
    """
    iterations = 100 if quick else 1000
    linear = [_linear(batch, multiclass, iterations) for multiclass in (True, False) for batch in (True, False)]
    if data == "digits":
        images = problems.digits()
        few = 10 if quick else 100
        return [
            *linear,
            _image_linear(images, few, 0.1),
            _mlp(images, 32, few, 0.5),
            _deep(images, 32, 10 if quick else 100, 250, 0.2, 20),
        ]
    if data == "photos":
        images = everything = problems.photos()
    else:
        if data_root is None:
            raise ValueError("data_root must name the folder of CIFAR-10, got None")
        images = problems.cifar10(data_root, download, small=True)
        everything = images if quick else problems.cifar10(data_root, download=False, small=False)
    few = 5 if quick else 100
    return [
        *linear,
        _image_linear(images, few, 0.01),
        _mlp(images, 100, few, 0.1),
        _deep(everything, 100, 2 if quick else 20, min(1000, len(everything.X_train) // 2), 0.1, 10),
    ]
