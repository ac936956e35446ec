"""Notebooks that change one import line: the same script on the lab's arithmetic and on ours, and what each prints.

Each script says ``from lab import …`` and leaves the arrays to compare in ``results``.
"""

import contextlib
import io
import re

import numpy as np
import pytest

from .helpers import TRAJECTORY, IfInstalled, assert_close

torch = IfInstalled("torch")

LINEAR_DATA = """
import numpy as np
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

X, y = make_classification(n_samples=200, n_features=3, n_informative=3, n_redundant=0,
                           n_clusters_per_class=1, n_classes=4, random_state=100)
X_train, X_test, y_train, y_test = train_test_split(X, np.eye(4)[y], test_size=0.2, random_state=100)
"""

BINARY_DATA = """
import numpy as np
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

X, y = make_classification(n_samples=200, n_features=2, n_classes=2, n_informative=2, n_redundant=0,
                           random_state=100)
X_train, X_test, y_train, y_test = train_test_split(X, y.reshape(-1, 1), test_size=0.2, random_state=100)
"""

DIGITS = """
import numpy as np
from sklearn.datasets import load_digits

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = X[:400] / 16, X[400:600] / 16, y[:400], y[400:600]
"""

LOADERS = (
    DIGITS
    + """
import torch
from torch.utils.data import DataLoader, TensorDataset
"""
)

TRAIN_LINEAR = """
from lab import add_bias_term, linear_prediction, softmax, train_model

np.random.seed({seed})
theta, losses = train_model(X_train, y_train, learning_rate=0.01, iterations=250, batch={batch}, multiclass=True)
probabilities = softmax(linear_prediction(add_bias_term(X_test), theta))
accuracy = np.mean(np.argmax(probabilities, axis=1) == np.argmax(y_test, axis=1))
print(f"Test Accuracy: {{accuracy * 100:.2f}}%", np.random.rand())
results = theta, losses, probabilities
"""

SCRIPTS = {
    "softmax, batch": LINEAR_DATA + TRAIN_LINEAR.format(seed=1, batch=True),
    "softmax, SGD": LINEAR_DATA + TRAIN_LINEAR.format(seed=2, batch=False),
    "sigmoid, batch and SGD": BINARY_DATA + """
from lab import add_bias_term, linear_prediction, sigmoid, train_model

np.random.seed(3)
results = []
for batch in (True, False):
    theta, losses = train_model(X_train, y_train, iterations=150, batch=batch)
    p = sigmoid(linear_prediction(add_bias_term(X_test), theta))
    print("accuracy", np.mean((p > 0.5) == y_test))
    results += [theta, losses, p]
""",
    "a student's own loops": LINEAR_DATA + """
from lab import (add_bias_term, categorical_cross_entropy_loss, gradient_descent_step, initialize_parameters,
                 linear_prediction, softmax, stochastic_gradient_descent_step)

np.random.seed(4)
Xb = add_bias_term(X_train)
theta = initialize_parameters(Xb, y_train, True)
print(theta.shape, theta[0, 0])
for epoch in range(20):
    predictions = softmax(linear_prediction(Xb, theta))
    loss = categorical_cross_entropy_loss(y_train, predictions)
    if epoch % 2:
        theta = gradient_descent_step(Xb, y_train, predictions, theta, 0.1, True)
    else:
        theta = stochastic_gradient_descent_step(Xb, y_train, theta, 0.01, True)
    print("epoch", epoch, "loss", loss)
results = theta, predictions
""",
    "a student's own binary loop": BINARY_DATA + """
from lab import (add_bias_term, binary_cross_entropy_loss, gradient_descent_step, initialize_parameters,
                 linear_prediction, sigmoid, stochastic_gradient_descent_step)

np.random.seed(5)
Xb = add_bias_term(X_train)
theta = initialize_parameters(Xb, y_train, False)
for epoch in range(10):
    p = sigmoid(linear_prediction(Xb, theta))
    print(binary_cross_entropy_loss(y_train, p))
    theta = gradient_descent_step(Xb, y_train, p, theta, 0.5, False)
    theta = stochastic_gradient_descent_step(Xb, y_train, theta, 0.01, False)
results = (theta,)
""",
    "float32 tensors": LINEAR_DATA + """
import torch
from lab import train_model

np.random.seed(6)
X_train = torch.tensor(X_train, dtype=torch.float32)
theta, losses = train_model(X_train, y_train, 0.05, 120, True, True)
print(theta.dtype, type(losses))
results = theta, losses
""",
    "images, linear": DIGITS + """
from lab import ImageLinearClassifier, train

np.random.seed(7)
classifier = ImageLinearClassifier(input_size=64, n_classes=10)
losses = train(classifier, X, y, epochs=30, learning_rate=0.1)
scores = classifier.predict(X_test)
print(scores.shape, "accuracy", np.mean(np.argmax(scores, axis=0) == y_test))
print("by hand", classifier.compute_loss(X, y))
for step in range(3):
    classifier.gradient_descent(X, y, 0.05)
    classifier.W *= 0.99
print(classifier.compute_loss(X, y), classifier.softmax(scores)[:, 0].sum())
results = losses, scores, classifier.W, classifier.b, classifier.softmax(scores)
""",
    "one hidden layer": DIGITS + """
from lab import MLPClassifier

np.random.seed(8)
mlp = MLPClassifier(64, 16, 10)
losses = mlp.train(X.T, y, epochs=40, learning_rate=0.5)
predictions = np.argmax(mlp.forward(X_test.T), axis=0)
print("accuracy", np.mean(predictions == y_test))
results = losses, mlp.W1, mlp.b1, mlp.W2, mlp.b2, mlp.Z1, mlp.A1, mlp.Z2, mlp.A2
""",
    "one hidden layer, by hand": DIGITS + """
from lab import MLPClassifier

np.random.seed(9)
mlp = MLPClassifier(64, 16, 10)
mlp.W1 = np.random.randn(16, 64) * np.sqrt(2 / 64)
mlp.W2 = np.random.randn(10, 16) * np.sqrt(2 / 16)
for epoch in range(8):
    for k in range(0, 400, 90):  # the last batch is short
        A2 = mlp.forward(X[k : k + 90].T)
        loss = mlp.compute_loss(A2, y[k : k + 90])
        mlp.backward(X[k : k + 90].T, y[k : k + 90], 0.2)
    mlp.W1 -= 0.001 * mlp.W1
    print(f"Epoch {epoch}: {loss}")
print(mlp.relu(np.array([-1.0, 2.0])), mlp.relu_derivative(np.array([-1.0, 0.0, 2.0])))
results = mlp.W1, mlp.b1, mlp.W2, mlp.b2
""",
    "two hidden layers, a DataLoader": LOADERS + """
from lab import DeepMLPClassifier as MLPClassifier

np.random.seed(10)
torch.manual_seed(10)
images = torch.tensor(X, dtype=torch.float32).reshape(-1, 1, 8, 8)
loader = DataLoader(TensorDataset(images, torch.tensor(y)), batch_size=96, shuffle=True)
mlp = MLPClassifier(64, 16, 10)
for name, shape in (("W1", (16, 64)), ("W3", (16, 16)), ("W2", (10, 16))):
    setattr(mlp, name, np.random.randn(*shape) * np.sqrt(2 / shape[1]))
losses = mlp.train(loader, epochs=9, learning_rate=0.1, step_size=3, gamma=0.5)
print(mlp.best_loss, float(torch.rand(1)))
predictions = mlp.forward(X_test.T).argmax(axis=0)
print("accuracy", np.mean(predictions == y_test))
results = losses, mlp.W1, mlp.b1, mlp.W3, mlp.b3, mlp.W2, mlp.b2
""",
    "early stopping": LOADERS + """
from lab import DeepMLPClassifier

np.random.seed(11)
torch.manual_seed(11)
loader = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(y)), batch_size=100, shuffle=True)
mlp = DeepMLPClassifier(64, 16, 10)
losses = mlp.train(loader, epochs=60, learning_rate=1e-3, step_size=4, patience=3)
again = mlp.train(loader, epochs=60, learning_rate=1e-3, patience=2, min_delta=0.1)
print(len(losses), len(again))
results = losses, again, mlp.W1, mlp.W2, mlp.W3
""",
    "two hidden layers, by hand": DIGITS + """
from lab import DeepMLPClassifier

np.random.seed(12)
mlp = DeepMLPClassifier(64, 16, 10)
mlp.W1 *= 10
mlp.W3 *= 20
mlp.W2 *= 20
for epoch in range(12):
    A2 = mlp.forward(X.T)
    print(mlp.compute_loss(A2, y))
    mlp.backward(X.T, y, learning_rate=0.5, clip_threshold=0.01)
results = mlp.W1, mlp.b1, mlp.W3, mlp.b3, mlp.W2, mlp.b2, mlp.Z3, mlp.A3
""",
    "a part of a data set": LOADERS + """
from lab import DeepMLPClassifier, subsample_dataset

np.random.seed(13)
dataset = TensorDataset(torch.tensor(X).reshape(-1, 1, 8, 8), torch.tensor(y))
part = subsample_dataset(dataset, sample_size=200)
print(type(part).__name__, len(part), part.indices[:5])
mlp = DeepMLPClassifier(64, 8, 10)
losses = mlp.train(DataLoader(part, batch_size=50), epochs=3, learning_rate=0.5)
results = losses, mlp.W1, np.random.rand(3)
""",
}  # fmt: skip

NUMBER = re.compile(r"[-+]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|\bnan\b|\binf\b)")


def run(source, package):
    """What a script prints, and its results, with the names of ``package``."""
    printed, names = io.StringIO(), {}
    np.random.seed(0)
    if "import torch" in source:
        torch.manual_seed(0)
    with contextlib.redirect_stdout(printed):
        exec(compile(source.replace("from lab import", f"from {package} import"), package, "exec"), names)
    return printed.getvalue(), names["results"]


def compare_printed(got, expected):
    """Line by line: floats to TRAJECTORY, everything else exactly."""
    for ours, labs in zip(got.splitlines(), expected.splitlines(), strict=True):
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", labs)
        numbers = [[float(n) for n in NUMBER.findall(line)] for line in (ours, labs)]
        assert numbers[0] == pytest.approx(numbers[1], rel=TRAJECTORY, abs=0), f"{ours!r}, {labs!r}"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_alike(name):
    expected_lines, expected = run(SCRIPTS[name], "fastclf.reference")
    lines, got = run(SCRIPTS[name], "fastclf")
    assert expected_lines
    compare_printed(lines, expected_lines)
    assert_close(TRAJECTORY, **{f"result {i}": pair for i, pair in enumerate(zip(got, expected, strict=True))})


def test_every_line_of_the_lab_is_printed_by_some_script():
    printed = "".join(run(source, "fastclf")[0] for source in SCRIPTS.values())
    for line in (
        r"^Iteration 100/250, Loss: \d\.\d{4}$",
        r"^Epoch 1, Loss: \d\.\d{6,}$",
        r"^Current learning rate: 0.05$",
        r"^No significant loss improvement for 3, early stopping$",
    ):
        assert re.search(line, printed, re.MULTILINE), line


def test_a_data_set_of_torchvision(torchvision):
    """Images through ToTensor and a shuffling DataLoader, as the notebook reads CIFAR-10."""
    names = {}
    for package in ("fastclf", "fastclf.reference"):
        source = f"""
import numpy as np, torch, torchvision
from torch.utils.data import DataLoader
from torchvision.transforms import ToTensor
from {package} import DeepMLPClassifier, subsample_dataset

np.random.seed(0)
torch.manual_seed(0)
dataset = torchvision.datasets.FakeData(60, (3, 8, 8), 10, transform=ToTensor())
loader = DataLoader(subsample_dataset(dataset, 50), batch_size=20, shuffle=True)
mlp = DeepMLPClassifier(3 * 8 * 8, 12, 10)
losses = mlp.train(loader, epochs=3, learning_rate=0.1)
"""
        names[package] = {}
        exec(source, names[package])
    assert_close(
        TRAJECTORY,
        losses=[n["losses"] for n in names.values()],
        W1=[n["mlp"].W1 for n in names.values()],
    )
