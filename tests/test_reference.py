"""The oracle itself: hand values, torch, and that it is what it says it is. Its golden numbers are in test_golden."""

import inspect

import numpy as np
import pytest

import fastclf
from fastclf import lab, reference

from .helpers import IfInstalled, assert_close, in_new_process, problem

torch, F = IfInstalled("torch"), IfInstalled("torch.nn.functional")

PUBLIC = sorted({*lab.__all__} - {"Batches"})  # Batches is ours alone


def exact(**pairs):
    assert_close(1e-13, **pairs)


def test_it_has_every_public_name():
    assert set(PUBLIC) <= set(dir(reference))


def parameters_of(function):
    return [p for p in inspect.signature(function).parameters.values() if p.name != "self"]


def callables(package):
    """Public functions and methods by name; a class stands for its constructor."""
    for name in PUBLIC:
        value = getattr(package, name)
        yield name, value.__init__ if inspect.isclass(value) else value
        if inspect.isclass(value):
            for method, function in inspect.getmembers(value, inspect.isfunction):
                if not method.startswith("_"):
                    yield f"{name}.{method}", function


@pytest.mark.parametrize(
    ("name", "original"), list(callables(reference)), ids=lambda v: v if isinstance(v, str) else ""
)
def test_signatures_are_the_labs_and_what_is_ours_is_by_keyword(name, original):
    ours, labs = parameters_of(dict(callables(fastclf))[name]), parameters_of(original)
    assert [(p.name, p.default) for p in ours[: len(labs)]] == [(p.name, p.default) for p in labs]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in ours[len(labs) :])


def only_numpy():
    import sys

    import fastclf.reference

    heavy = {"numba", "sklearn", "scipy", "torch", "tqdm"} & set(sys.modules)
    assert not heavy, heavy
    assert fastclf.reference.softmax


def test_it_imports_numpy_alone():
    in_new_process(only_numpy)


# ---------------------------------------------------------------- hand values


def test_linear_functions():
    X = np.array([[1.0, 2.0], [3.0, 4.0]])
    theta = np.array([[1.0], [0.5], [-1.0]])
    exact(
        bias=(reference.add_bias_term(X), [[1, 1, 2], [1, 3, 4]]),
        scores=(reference.linear_prediction(reference.add_bias_term(X), theta), [[-0.5], [-1.5]]),
        sigmoid=(reference.sigmoid(np.log([[1.0, 3.0]])), [[0.5, 0.75]]),
        softmax=(reference.softmax(np.log([[1.0, 2.0, 5.0]]) + 700), [[1 / 8, 2 / 8, 5 / 8]]),
        binary=(reference.binary_cross_entropy_loss(np.array([1, 0]), np.array([0.5, 0.75])), np.log(8) / 2),
        categorical=(
            reference.categorical_cross_entropy_loss(
                np.array([[0.5, 0.5], [0, 1]]), np.array([[0.5, 0.5], [0.75, 0.25]])
            ),
            (np.log(2) + np.log(4)) / 2,
        ),
        clipped=(reference.categorical_cross_entropy_loss(np.eye(1), np.zeros((1, 1))), -np.log(1e-15)),
    )


def test_linear_steps():
    """Two rows, theta 0: p = 1/2. The batch step averages; SGD's second row sees the first one's update, score 9."""
    X, y, theta = np.array([[1.0, 2.0], [1.0, 4.0]]), np.array([[0.0], [1.0]]), np.zeros((2, 1))
    p = reference.sigmoid(X @ theta)
    batch = reference.gradient_descent_step(X, y, p, theta, 1.0, False)
    sgd = reference.stochastic_gradient_descent_step(X, y, theta, 1.0, False)
    q = 1 / (1 + np.exp(4.5))  # of the second row, under theta = (-1/2, -1)
    exact(batch=(batch, [[0], [0.5]]), sgd=(sgd, [[-0.5 + (1 - q)], [-1 + 4 * (1 - q)]]), theta=(theta, [[0], [0]]))


def test_initialisation_is_one_draw_of_the_global_generator():
    X, y = np.zeros((5, 4)), np.zeros((5, 3))
    draws = np.random.RandomState(0).randn(4, 3)
    np.testing.assert_array_equal(reference.initialize_parameters(X, y, True), 0.01 * draws)
    np.random.seed(0)
    np.testing.assert_array_equal(reference.initialize_parameters(X, y, False), 0.01 * draws.reshape(-1, 1)[:4])


def test_models_draw_in_the_labs_order():
    r = np.random.RandomState(0)
    deep = reference.DeepMLPClassifier(5, 4, 3)
    for name, shape in (("W1", (4, 5)), ("W2", (3, 4)), ("W3", (4, 4))):
        np.testing.assert_array_equal(getattr(deep, name), 0.01 * r.randn(*shape))


# ---------------------------------------------------------------- torch


def torch_step(layers, X, y, learning_rate, clip=np.inf):
    """Loss, and parameters after one SGD step, of (weights, bias) layers; X has samples as rows."""
    layers = [[torch.tensor(w, requires_grad=True), torch.tensor(b[:, 0], requires_grad=True)] for w, b in layers]
    parameters = [p for layer in layers for p in layer]
    h = torch.tensor(X)
    for weights, bias in layers[:-1]:
        h = F.relu(F.linear(h, weights, bias))
    loss = F.cross_entropy(F.linear(h, *layers[-1]), torch.tensor(y))
    loss.backward()
    torch.nn.utils.clip_grad_value_(parameters, clip)
    torch.optim.SGD(parameters, lr=learning_rate).step()
    return loss.item(), [(w.detach().numpy(), b.detach().numpy()[:, None]) for w, b in layers]


def layers_of(model, numbers):
    return [(getattr(model, f"W{i}").copy(), getattr(model, f"b{i}").copy()) for i in numbers]


@pytest.mark.parametrize(
    ("name", "numbers", "clip"),
    [("MLPClassifier", (1, 2), None), ("DeepMLPClassifier", (1, 3, 2), 1.0), ("DeepMLPClassifier", (1, 3, 2), 0.01)],
)
def test_networks_against_torch(name, numbers, clip):
    X, y, _, _ = problem(40, 6, 4)
    model = getattr(reference, name)(6, 5, 4)
    for i in numbers:
        setattr(model, f"W{i}", 50 * getattr(model, f"W{i}"))
    expected_loss, expected = torch_step(layers_of(model, numbers), X, y, 0.5, clip or np.inf)
    loss = model.compute_loss(model.forward(X.T), y)
    model.backward(X.T, y, 0.5, *([clip] if clip else []))
    pairs = {f"{kind}{i}": (got[k], want[k]) for i, got, want in zip(numbers, layers_of(model, numbers), expected)
             for k, kind in enumerate("Wb")}  # fmt: skip
    # The deep network's loss adds 1e-10 to p.
    assert_close(1e-12 if clip is None else 1e-8, loss=(loss, expected_loss))
    assert_close(1e-12, **pairs)


def test_image_classifier_against_torch():
    X, y, _, _ = problem(40, 6, 4)
    model = reference.ImageLinearClassifier(6, 4)
    expected_loss, [(W, b)] = torch_step([(model.W.copy(), model.b.copy())], X, y, 0.5)
    loss = model.compute_loss(X, y)
    model.gradient_descent(X, y, 0.5)
    assert_close(1e-12, loss=(loss, expected_loss), W=(model.W, W), b=(model.b, b))
