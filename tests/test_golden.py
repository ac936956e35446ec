"""The lab's numbers after ``np.random.seed(0)``, held against the reference and against the kernels."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import train_test_split

from fastclf import reference

from .helpers import TRAJECTORY, assert_close

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
PACKAGES = ["fastclf", "fastclf.reference"]


@pytest.fixture(params=PACKAGES)
def lab(request):
    return importlib.import_module(request.param)


@pytest.fixture(scope="module")
def digits():
    """X_train, y_train, X_test, y_test; samples as rows."""
    X, y = load_digits(return_X_y=True)
    return X[:1000] / 16, y[:1000], X[1000:] / 16, y[1000:]


def linear_data(multiclass):
    """The notebook's: X_train, X_test and targets as a matrix."""
    shape = {"n_features": 3, "n_informative": 3, "n_clusters_per_class": 1, "n_classes": 4}
    if not multiclass:
        shape = {"n_features": 2, "n_informative": 2, "n_classes": 2}
    X, y = make_classification(n_samples=200, n_redundant=0, random_state=100, **shape)
    targets = np.eye(4)[y] if multiclass else y.reshape(-1, 1)
    return train_test_split(X, targets, test_size=0.2, random_state=100)


def compare(expected, losses, **tensors):
    """Losses at the recorded places, and any numbers that are recorded under the given names."""
    at = [int(i) for i in expected["losses"]]
    pairs = {name: (value, expected[name]) for name, value in tensors.items()}
    assert_close(TRAJECTORY, losses=(np.array(losses)[at], list(expected["losses"].values())), **pairs)


@pytest.mark.parametrize("name", GOLDEN["linear"])
def test_linear(lab, name):
    expected, multiclass, batch = GOLDEN["linear"][name], name.startswith("softmax"), name.endswith("batch")
    X, X_test, y, y_test = linear_data(multiclass)
    theta, losses = lab.train_model(X, y, 0.01, 1000, batch, multiclass)
    compare(expected, losses, theta=theta)
    scores = reference.add_bias_term(X_test) @ theta
    right = scores.argmax(1) == y_test.argmax(1) if multiclass else (scores > 0) == y_test
    assert right.mean() == expected["test_accuracy"]


def test_image_linear(lab, digits):
    X, y, X_test, y_test = digits
    model = lab.ImageLinearClassifier(64, 10)
    losses = lab.train(model, X, y, 100, 0.1)
    expected = GOLDEN["image_linear"]
    compare(expected, losses, W_sum=model.W.sum(), W_abs_sum=np.abs(model.W).sum(), b=model.b[:, 0])
    assert np.mean(model.predict(X_test).argmax(0) == y_test) == expected["test_accuracy"]


def test_mlp(lab, digits):
    X, y, X_test, y_test = digits
    model = lab.MLPClassifier(64, 32, 10)
    losses = model.train(X.T, y, 100, 0.5)
    expected = GOLDEN["mlp"]
    sums = {"W1_abs_sum": np.abs(model.W1).sum(), "W2_abs_sum": np.abs(model.W2).sum(), "b1_sum": model.b1.sum()}
    compare(expected, losses, **sums)
    assert np.mean(model.forward(X_test.T).argmax(0) == y_test) == expected["test_accuracy"]


@pytest.mark.parametrize("name", ["deep_mlp", "deep_mlp_clipped"])
def test_deep_mlp(lab, digits, name):
    X, y, _, _ = digits
    model, r = lab.DeepMLPClassifier(64, 32, 10), np.random.RandomState(0)
    model.W1 = r.randn(32, 64) * np.sqrt(2 / 64)
    model.W3 = r.randn(32, 32) * np.sqrt(2 / 32)
    model.W2 = r.randn(10, 32) * np.sqrt(2 / 32)
    batches = [(X[k : k + 250], y[k : k + 250]) for k in range(0, 1000, 250)]
    expected, schedule = GOLDEN[name], {"learning_rate": 0.2, "step_size": 20, "gamma": 0.5}
    if name == "deep_mlp":
        losses = model.train(batches, 50, **schedule, patience=1000)
    elif lab is reference:
        losses = train_clipped(model, batches, 50, expected["clip_threshold"], **schedule)
    else:
        losses = model.train(batches, 50, **schedule, patience=1000, clip_threshold=expected["clip_threshold"])
    compare(expected, losses, **{f"W{i}_abs_sum": np.abs(getattr(model, f"W{i}")).sum() for i in (1, 2, 3)})


def train_clipped(model, batches, epochs, clip_threshold, learning_rate, step_size, gamma):
    """The lab's ``train`` does not hand a clip threshold on to ``backward``; this does."""
    losses = []
    for epoch in range(epochs):
        for X, y in batches:
            loss = model.compute_loss(model.forward(X.T), y)
            model.backward(X.T, y, learning_rate, clip_threshold=clip_threshold)
        if (epoch + 1) % step_size == 0:
            learning_rate *= gamma
        losses.append(loss)
    return losses
