"""The lab in plain NumPy: what every kernel is compared with, and what every speed-up is measured against.

Written from the formulas, with NumPy alone, and without regard to speed. The names are those of ``fastclf`` itself, so
``from fastclf.reference import …`` runs a script on this version. It does the work that the lab does, no less and no more:
for instance, ``train`` computes the loss and the gradient of ``ImageLinearClassifier`` from a forward pass each.

Unlike ``fastclf``, it checks nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray

# ---------------------------------------------------------------- linear classifier, functions


def add_bias_term(X: Array) -> Array:
    """X (m, n) with a leading column of ones, (m, n + 1)."""
    return np.hstack([np.ones((X.shape[0], 1)), X])


def initialize_parameters(X: Array, y: Array, multiclass: bool) -> Array:
    """0.01 times standard normal draws from NumPy's global generator, (columns of X, classes)."""
    return 0.01 * np.random.randn(X.shape[1], y.shape[1] if multiclass else 1)


def linear_prediction(X: Array, theta: Array) -> Array:
    return X @ theta


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def softmax(z: Array) -> Array:
    """Along axis 1, with the row maximum subtracted."""
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def binary_cross_entropy_loss(y_true: Array, y_pred: Array) -> float:
    p = np.clip(y_pred, 1e-15, 1 - 1e-15)
    return -np.mean(y_true * np.log(p) + (1 - y_true) * np.log(1 - p))


def categorical_cross_entropy_loss(y_true: Array, y_pred: Array) -> float:
    p = np.clip(y_pred, 1e-15, 1 - 1e-15)
    return -np.sum(y_true * np.log(p)) / y_true.shape[0]


def gradient_descent_step(
    X: Array, y: Array, predictions: Array, theta: Array, learning_rate: float, multiclass: bool
) -> Array:
    gradient = X.T @ (predictions - y) / X.shape[0]
    return theta - learning_rate * gradient


def stochastic_gradient_descent_step(X: Array, y: Array, theta: Array, learning_rate: float, multiclass: bool) -> Array:
    activation = softmax if multiclass else sigmoid
    for i in range(X.shape[0]):
        x = X[i : i + 1]
        prediction = activation(linear_prediction(x, theta))
        theta = theta - learning_rate * (x.T @ (prediction - y[i : i + 1]))
    return theta


def train_model(
    X: Array,
    y: Array,
    learning_rate: float = 0.01,
    iterations: int = 1000,
    batch: bool = True,
    multiclass: bool = False,
) -> tuple[Array, list[float]]:
    X = add_bias_term(X)
    theta = initialize_parameters(X, y, multiclass)
    activation = softmax if multiclass else sigmoid
    loss_of = categorical_cross_entropy_loss if multiclass else binary_cross_entropy_loss
    losses = []
    for i in range(iterations):
        predictions = activation(linear_prediction(X, theta))
        loss = loss_of(y, predictions)
        losses.append(loss)
        if batch:
            theta = gradient_descent_step(X, y, predictions, theta, learning_rate, multiclass)
        else:
            theta = stochastic_gradient_descent_step(X, y, theta, learning_rate, multiclass)
        if i % 100 == 0:
            print(f"Iteration {i}/{iterations}, Loss: {loss:.4f}")
    return theta, losses


# ---------------------------------------------------------------- image linear classifier


class ImageLinearClassifier:
    def __init__(self, input_size: int, n_classes: int) -> None:
        self.W = 0.01 * np.random.randn(n_classes, input_size)
        self.b = np.zeros((n_classes, 1))

    def predict(self, X: Array) -> Array:
        """Scores (c, m) of X (m, n)."""
        return self.W @ X.T + self.b

    def softmax(self, z: Array) -> Array:
        e = np.exp(z - np.max(z, axis=0, keepdims=True))
        return e / np.sum(e, axis=0, keepdims=True)

    def compute_loss(self, X: Array, y: Array) -> float:
        p = self.softmax(self.predict(X))
        return np.mean(-np.log(p[y, np.arange(X.shape[0])]))

    def gradient_descent(self, X: Array, y: Array, learning_rate: float = 0.001) -> None:
        m = X.shape[0]
        dz = self.softmax(self.predict(X))
        dz[y, np.arange(m)] -= 1
        dz /= m
        self.W -= learning_rate * (dz @ X)
        self.b -= learning_rate * np.sum(dz, axis=1, keepdims=True)


def train(
    classifier: ImageLinearClassifier, X_train: Array, y_train: Array, epochs: int, learning_rate: float
) -> list[float]:
    losses = []
    for i in range(epochs):
        loss = classifier.compute_loss(X_train, y_train)
        losses.append(loss)
        classifier.gradient_descent(X_train, y_train, learning_rate)
        print(f"Epoch {i + 1}, Loss: {loss}")
    return losses


# ---------------------------------------------------------------- multi-layer perceptrons, samples as columns


class Activations:
    """What the lab's classes have as methods; ``softmax`` goes along axis 0, with samples as columns."""

    def relu(self, z: Array) -> Array:
        return np.maximum(0, z)

    def relu_derivative(self, z: Array) -> Array:
        return (z > 0).astype(float)

    def softmax(self, z: Array) -> Array:
        e = np.exp(z - np.max(z, axis=0, keepdims=True))
        return e / np.sum(e, axis=0, keepdims=True)


class MLPClassifier(Activations):
    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        self.W1 = 0.01 * np.random.randn(hidden_size, input_size)
        self.b1 = np.zeros((hidden_size, 1))
        self.W2 = 0.01 * np.random.randn(output_size, hidden_size)
        self.b2 = np.zeros((output_size, 1))

    def forward(self, X: Array) -> Array:
        self.Z1 = self.W1 @ X + self.b1
        self.A1 = self.relu(self.Z1)
        self.Z2 = self.W2 @ self.A1 + self.b2
        self.A2 = self.softmax(self.Z2)
        return self.A2

    def compute_loss(self, A2: Array, y: Array) -> float:
        return np.mean(-np.log(A2[y, np.arange(y.shape[0])]))

    def backward(self, X: Array, y: Array, learning_rate: float = 0.01) -> None:
        m = X.shape[1]
        dZ2 = self.A2.copy()
        dZ2[y, np.arange(m)] -= 1
        dZ2 /= m
        dW2 = dZ2 @ self.A1.T
        db2 = np.sum(dZ2, axis=1, keepdims=True)
        dZ1 = (self.W2.T @ dZ2) * self.relu_derivative(self.Z1)
        dW1 = dZ1 @ X.T
        db1 = np.sum(dZ1, axis=1, keepdims=True)
        self.W1 -= learning_rate * dW1
        self.b1 -= learning_rate * db1
        self.W2 -= learning_rate * dW2
        self.b2 -= learning_rate * db2

    def train(self, X_train: Array, y_train: Array, epochs: int = 100, learning_rate: float = 0.01) -> list[float]:
        losses = []
        for i in range(epochs):
            loss = self.compute_loss(self.forward(X_train), y_train)
            losses.append(loss)
            self.backward(X_train, y_train, learning_rate)
            print(f"Epoch {i + 1}, Loss: {loss}")
        return losses


class DeepMLPClassifier(Activations):
    """Layers n → h → h → c with weights W1, W3 (the middle one) and W2 (the output)."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        self.W1 = 0.01 * np.random.randn(hidden_size, input_size)
        self.b1 = np.zeros((hidden_size, 1))
        self.W2 = 0.01 * np.random.randn(output_size, hidden_size)
        self.b2 = np.zeros((output_size, 1))
        self.W3 = 0.01 * np.random.randn(hidden_size, hidden_size)
        self.b3 = np.zeros((hidden_size, 1))
        self.best_loss = float("inf")

    def forward(self, X: Array) -> Array:
        self.Z1 = self.W1 @ X + self.b1
        self.A1 = self.relu(self.Z1)
        self.Z3 = self.W3 @ self.A1 + self.b3
        self.A3 = self.relu(self.Z3)
        self.Z2 = self.W2 @ self.A3 + self.b2
        self.A2 = self.softmax(self.Z2)
        return self.A2

    def compute_loss(self, A2: Array, y: Array) -> float:
        return np.mean(-np.log(A2[y, np.arange(y.shape[0])] + 1e-10))

    def backward(self, X: Array, y: Array, learning_rate: float = 0.01, clip_threshold: float = 1.0) -> None:
        m = X.shape[1]
        dZ2 = self.A2.copy()
        dZ2[y, np.arange(m)] -= 1
        dZ2 /= m
        dZ3 = (self.W2.T @ dZ2) * self.relu_derivative(self.Z3)
        dZ1 = (self.W3.T @ dZ3) * self.relu_derivative(self.Z1)
        steps = [
            (self.W2, dZ2 @ self.A3.T),
            (self.b2, np.sum(dZ2, axis=1, keepdims=True)),
            (self.W3, dZ3 @ self.A1.T),
            (self.b3, np.sum(dZ3, axis=1, keepdims=True)),
            (self.W1, dZ1 @ X.T),
            (self.b1, np.sum(dZ1, axis=1, keepdims=True)),
        ]
        for parameter, gradient in steps:
            parameter -= learning_rate * np.clip(gradient, -clip_threshold, clip_threshold)

    def train(
        self,
        train_loader: Any,
        epochs: int = 100,
        learning_rate: float = 0.01,
        step_size: int = 100,
        gamma: float = 0.5,
        patience: int = 5,
        min_delta: float = 0.01,
    ) -> list[float]:
        losses = []
        counter = 0
        for i in range(epochs):
            for X, y in train_loader:
                X, y = np.asarray(X), np.asarray(y)
                X = X.reshape(X.shape[0], -1).T
                loss = self.compute_loss(self.forward(X), y)
                self.backward(X, y, learning_rate)
            if (i + 1) % step_size == 0:
                learning_rate *= gamma
                print(f"Current learning rate: {learning_rate}")
            print(f"Epoch {i + 1}, Loss: {loss}")
            losses.append(loss)
            if loss < self.best_loss:
                self.best_loss = loss
                counter = 0
            elif abs(loss - self.best_loss) <= min_delta:
                counter += 1
                if counter >= patience:
                    print(f"No significant loss improvement for {patience}, early stopping")
                    break
        return losses


def subsample_dataset(dataset: Any, sample_size: int = 1000) -> Any:
    """A torch Subset of ``sample_size`` indices drawn without replacement by ``np.random.choice``."""
    from torch.utils.data import Subset

    return Subset(dataset, np.random.choice(len(dataset), sample_size, replace=False))
