"""Models as torch modules: the same outputs; and modules as models: the same parameters."""

import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

pytest.importorskip("torch", exc_type=ImportError)

import torch
from torch import nn

import fastclf
from fastclf import DeepMLPClassifier, FastLinearClassifier, FastMLPClassifier, ImageLinearClassifier, MLPClassifier
from fastclf.io.interchange import to_torch

from .models import MODELS, SEVERAL, TOLERANCE, C, H, N, P, every_model, outputs, samples

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def torch_seeded():
    torch.manual_seed(0)


def run(module, X):
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


def linear(n_in, n_out, bias=True, dtype=torch.float64):
    return nn.Linear(n_in, n_out, bias, dtype=dtype)


# ---------------------------------------------------------------- to torch


@every_model
def test_a_module_has_the_models_outputs(name, dtype):
    model = MODELS[name](dtype)
    X, module = samples(model, dtype), model.to_torch()
    got = run(module, X)
    assert type(module) is nn.Sequential
    assert got.dtype == dtype
    np.testing.assert_allclose(got, outputs(model, X), rtol=0, atol=TOLERANCE)
    assert np.ptp(got) > 0.1 or got.shape[1] == 1, "the outputs differ"


@every_model
def test_logits_come_before_the_last_step(name, dtype):
    model = MODELS[name](dtype)
    X = samples(model, dtype)
    scores, whole = model.to_torch(logits=True), model.to_torch()
    assert type(scores[-1]) is nn.Linear
    if isinstance(model, ImageLinearClassifier):
        assert type(whole[-1]) is nn.Linear
    else:
        np.testing.assert_array_equal(whole[-1](torch.from_numpy(run(scores, X))), run(whole, X))
    if hasattr(model, "decision_function"):
        Z, got = model.decision_function(X), run(scores, X)
        np.testing.assert_allclose(got if Z.ndim == 2 else got[:, 1] - got[:, 0], Z, rtol=0, atol=1e-5)


def test_a_modules_parameters_are_its_own(dtype):
    model = MODELS["mlp"](dtype)
    module, before = model.to_torch(), model.W1.copy()
    with torch.no_grad():
        module[0].weight += 1
    np.testing.assert_array_equal(model.W1, before)
    assert all(p.requires_grad and p.dtype == module[0].weight.dtype for p in module.parameters())


def test_a_module_draws_no_random_numbers():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    module = MODELS["deep"](np.float64).to_torch()
    for cls in (DeepMLPClassifier, FastMLPClassifier):
        cls.from_torch(module)
    torch.testing.assert_close(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_bytes_go_in_scaled():
    X = (np.abs(P.X) * 100).astype(np.uint8)
    for kind in (FastLinearClassifier, FastMLPClassifier):
        model = kind(max_iter=20, random_state=0, scale=1 / 255).fit(X, P.labels)
        got = run(model.to_torch(), X * np.float32(model.scale_))
        np.testing.assert_allclose(got, model.predict_proba(X), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("multiclass", [True, False])
def test_theta_as_a_module(multiclass, dtype):
    y = P.targets if multiclass else P.targets[:, 0]
    theta, _ = fastclf.train_model(P.X, y, 0.5, 50, multiclass=multiclass, dtype=dtype, verbose=False)
    scores = fastclf.linear_prediction(fastclf.add_bias_term(P.X), theta)
    expected = fastclf.softmax(scores) if multiclass else fastclf.sigmoid(scores)
    X = P.X.astype(dtype)
    np.testing.assert_allclose(run(to_torch((theta, [])), X), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(run(to_torch((theta, []), logits=True), X), scores, rtol=0, atol=TOLERANCE)


def test_what_is_no_theta():
    for theta in (np.ones(3), np.ones((1, 3)), np.full((3, 2), np.nan)):
        with pytest.raises(ValueError, match="theta must"):
            to_torch((theta, []))


def test_models_that_have_no_module(tmp_path):
    class Leaky(MLPClassifier):
        def relu(self, z):
            return np.where(z > 0, z, 0.1 * z)

    for convert in (lambda m: m.to_torch(), lambda m: m.to_onnx(tmp_path / "model")):
        with pytest.raises(TypeError, match="got Leaky, a subclass of MLPClassifier"):
            convert(Leaky(N, H, C))
        for kind in (FastLinearClassifier, FastMLPClassifier):
            with pytest.raises(NotFittedError):
                convert(kind())
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("package", "convert"),
    [
        ("torch", lambda model, path: model.to_torch()),
        ("torch", lambda model, path: type(model).from_torch(nn.Linear(2, 2))),
        ("onnx", lambda model, path: model.to_onnx(path)),
    ],
    ids=["to torch", "from torch", "to ONNX"],
)
def test_a_package_that_is_missing_is_named(package, convert, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"this needs {package}: pip install 'fastclf\[{package}\]'"):
        convert(MODELS["image"](np.float64), tmp_path / "model")
    assert not [*tmp_path.iterdir()]


# ---------------------------------------------------------------- from torch


def parameters(model):
    if isinstance(model, FastLinearClassifier):
        coef = model.coef_ if isinstance(model.coef_, np.ndarray) else model.coef_.toarray()
        return [coef, model.intercept_]
    if isinstance(model, FastMLPClassifier):
        return [*model.coefs_, *model.intercepts_]
    return [*model._network.weights, *model._network.biases]


@every_model
@pytest.mark.parametrize("logits", [False, True])
def test_there_and_back_is_the_same_bits(name, logits, dtype):
    model = MODELS[name](dtype)
    several = name == "estimator, several"
    known = {"classes": model.classes_} if hasattr(model, "classes_") and not several else {}
    back = type(model).from_torch(model.to_torch(logits=logits), **known)
    for ours, theirs in zip(parameters(back), parameters(model), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, theirs)
    if several and logits:  # nothing in the module says that it has several labels
        assert back.out_activation_ == "softmax"
        return
    X = samples(model, dtype)
    if name == "linear, sparse":
        model.densify()
    np.testing.assert_array_equal(outputs(back, X), outputs(model, X))
    if hasattr(model, "classes_"):
        np.testing.assert_array_equal(back.predict(X), model.predict(X))


@every_model
def test_a_model_of_a_module_can_be_trained_and_saved(name, dtype, tmp_path):
    model = MODELS[name](dtype)
    back = type(model).from_torch(model.to_torch(), n_jobs=1)
    assert back.n_jobs == 1
    X = samples(model, dtype)
    before = outputs(back, X).copy()
    labels = np.arange(60) % before.shape[1]
    if isinstance(back, (FastLinearClassifier, FastMLPClassifier)):
        back.partial_fit(X, SEVERAL if name == "estimator, several" else labels)
    elif isinstance(back, ImageLinearClassifier):
        fastclf.train(back, X, labels, 2, 0.1, verbose=False)
    elif isinstance(back, DeepMLPClassifier):
        back.train([(X, labels)], 2, verbose=False)
    else:
        back.train(X.T, labels, 2, verbose=False)
    assert (outputs(back, X) != before).any() or before.shape[1] == 1
    back.save(tmp_path / "model")
    np.testing.assert_array_equal(outputs(fastclf.load(tmp_path / "model"), X), outputs(back, X))


class Reorder(nn.Module):
    def forward(self, x):
        return x.flip(1)


def test_modules_of_many_forms():
    first, last, relu = linear(N, H), linear(H, C), nn.ReLU()
    forms = [
        nn.Sequential(first, relu, last),
        nn.Sequential(first, relu, last, nn.Softmax(dim=-1)),
        nn.Sequential(nn.Flatten(), first, relu, nn.Dropout(0.5), last, nn.LogSoftmax(dim=1)),
        nn.Sequential(nn.Sequential(nn.Flatten(), nn.Sequential(first)), nn.Sequential(relu, nn.Identity(), last)),
        nn.Sequential(nn.Dropout(0.1), first, nn.Dropout(0.1), relu, last),
    ]
    for form in forms:
        for model in (MLPClassifier.from_torch(form), FastMLPClassifier.from_torch(form)):
            np.testing.assert_allclose(
                outputs(model, P.X), torch.softmax(last(relu(first(torch.from_numpy(P.X)))), 1).detach(), atol=TOLERANCE
            )
    shared = nn.Sequential(linear(N, H), relu, linear(H, H), relu, last)
    deep = DeepMLPClassifier.from_torch(shared)
    np.testing.assert_allclose(
        deep.forward(P.X.T).T, torch.softmax(shared(torch.from_numpy(P.X)), 1).detach(), atol=1e-6
    )


def test_a_bias_that_is_not_there_is_zero():
    model = MLPClassifier.from_torch(nn.Sequential(linear(N, H, bias=False), nn.ReLU(), linear(H, C, bias=False)))
    assert not model.b1.any()
    assert model.b2.shape == (C, 1)
    assert model.W1.any()


def test_one_linear_layer_without_a_sequential():
    layer = linear(N, C)
    model = ImageLinearClassifier.from_torch(layer)
    np.testing.assert_array_equal(model.W, layer.weight.detach())
    model.W += 1
    assert not np.isclose(model.W, layer.weight.detach()).any(), "the parameters are copies"


@pytest.mark.parametrize("classes", [["b", "c", "a"], [3, 1, 2], np.array([0.5, -1, 7])], ids=str)
@pytest.mark.parametrize("kind", [FastLinearClassifier, FastMLPClassifier])
def test_classes_in_any_order(kind, classes):
    layers = [linear(N, C)] if kind is FastLinearClassifier else [linear(N, H), nn.ReLU(), linear(H, C)]
    module = nn.Sequential(*layers)
    model = kind.from_torch(module, classes=classes)
    assert model.classes_.tolist() == sorted(np.asarray(classes).tolist())
    expected = np.asarray(classes)[run(module, 10 * P.X).argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(10 * P.X), expected)
    assert len({*expected.tolist()}) > 1


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("classes", [[False, True], ["yes", "no"]], ids=str)
@pytest.mark.parametrize("kind", [FastLinearClassifier, FastMLPClassifier])
def test_two_classes_in_any_order(kind, classes, outputs):
    layers = [linear(N, outputs)] if kind is FastLinearClassifier else [linear(N, H), nn.ReLU(), linear(H, outputs)]
    module = nn.Sequential(*layers, nn.Sigmoid() if outputs == 1 else nn.Softmax(dim=1))
    P_ = run(module, P.X)
    P_ = P_ if outputs == 2 else np.hstack([1 - P_, P_])
    model = kind.from_torch(module, classes=classes)
    order = np.argsort(classes)
    np.testing.assert_allclose(model.predict_proba(P.X), P_[:, order], rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(model.classes_, np.asarray(classes)[order])


def test_the_fitted_attributes():
    module = nn.Sequential(linear(N, H, dtype=torch.float32), nn.ReLU(), linear(H, C, dtype=torch.float32))
    model = FastMLPClassifier.from_torch(module, alpha=0.5, scale=1 / 16)
    assert (model.hidden_layer_sizes, model.n_layers_, model.n_outputs_, model.n_features_in_) == ((H,), 3, C, N)
    assert (model.alpha, model.scale_, model.out_activation_) == (0.5, 1 / 16, "softmax")
    assert (model.n_iter_, model.t_, model.loss_curve_) == (0, 0, [])
    one = FastLinearClassifier.from_torch(linear(N, C))
    assert (one.n_iter_, one.t_, one.loss_curve_, one.scale_, one.coef_.shape) == (0, 1.0, [], 1.0, (C, N))
    several = FastMLPClassifier.from_torch(nn.Sequential(*module, nn.Sigmoid()))
    assert several.out_activation_ == "logistic"
    assert several.predict(P.X.astype(np.float32)).shape == (60, C)


def broken(**attributes):
    layer = linear(N, C)
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


S, R = nn.Sequential, nn.ReLU()
NAN = nn.Parameter(torch.full((C, N), torch.nan))
MISFITS = [
    (MLPClassifier, S(linear(N, C)), "MLPClassifier has the widths n-h-c, these layers have 6-3"),
    (DeepMLPClassifier, S(linear(N, 4), R, linear(4, 5), R, linear(5, C)), "widths n-h-h-c, these layers have 6-4-5-3"),
    (ImageLinearClassifier, S(linear(N, H), R, linear(H, C)), "has the widths n-c, these layers have 6-5-3"),
    (FastLinearClassifier, S(linear(N, H), R, linear(H, C)), "one layer below a softmax, the module has 2 layers"),
    (FastLinearClassifier, S(linear(N, C), nn.Sigmoid()), "the module has a sigmoid on several outputs"),
    (FastLinearClassifier, S(linear(N, 1), nn.Softmax(dim=1)), "a softmax of one output is always 1"),
    (MLPClassifier, S(linear(N, H), R, linear(H, C), nn.Sigmoid()), "MLPClassifier ends in a softmax, not a sigmoid"),
    (MLPClassifier, S(linear(N, H), R, linear(4, C)), "layer 1 must take the 5 outputs of the one below, not 4"),
    (MLPClassifier, S(linear(N, H), nn.Tanh(), linear(H, C)), r"got Tanh at module\[1\] instead of ReLU"),
    (
        FastMLPClassifier,
        S(linear(N, H), nn.Tanh(), linear(H, 4), R, linear(4, C)),
        "module must have the same activation between all layers, got tanh, relu",
    ),
    (FastMLPClassifier, S(linear(N, H), nn.ELU(), linear(H, C)), r"ReLU or Tanh or Sigmoid between them, got ELU"),
    (FastMLPClassifier, S(linear(N, H), nn.Tanh()), r"must have a Linear layer after the last Tanh, module\[1\]"),
    (MLPClassifier, S(linear(N, H), linear(H, C)), r"got Linear at module\[1\] instead of ReLU"),
    (MLPClassifier, S(S(linear(N, H), R), R), r"got ReLU at module\[1\] instead of Linear"),
    (MLPClassifier, S(S(linear(N, H), R)), r"a Linear layer after the last ReLU, module\[0\]\[1\]"),
    (MLPClassifier, S(nn.Softmax(dim=1), linear(N, C)), r"got Softmax at module\[0\] instead of Linear"),
    (ImageLinearClassifier, S(linear(N, C), nn.Flatten()), r"got Flatten at module\[1\] instead of ReLU"),
    (ImageLinearClassifier, S(), "module must have a Linear layer, got none"),
    (ImageLinearClassifier, S(nn.Flatten(), nn.Softmax(dim=1)), "module must have a Linear layer, got none"),
    (ImageLinearClassifier, S(linear(N, C), nn.Softmax(dim=0)), r"dim of Softmax at module\[1\] must be 1, got 0"),
    (ImageLinearClassifier, S(nn.Flatten(0), linear(N, C)), r"start_dim of Flatten at module\[0\] must be 1, got 0"),
    (ImageLinearClassifier, S(Reorder(), linear(N, C)), r"got Reorder at module\[0\] instead of Linear"),
    (ImageLinearClassifier, S(linear(N, C).half()), r"weight of module\[0\] must be float32 or float64, .*float16"),
    (ImageLinearClassifier, broken(bias=nn.Parameter(torch.zeros(C))), "one dtype, got float32 and float64"),
    (FastLinearClassifier, broken(bias=nn.Parameter(torch.zeros(C))), "coef_ and intercept_ must be of float64"),
    (ImageLinearClassifier, broken(weight=NAN), "weight of module must be finite, got nan"),
    (ImageLinearClassifier, nn.Linear(N, C, device="meta"), "must have values, got a tensor on the device meta"),
    (ImageLinearClassifier, nn.utils.parametrizations.weight_norm(linear(N, C)), "got ParametrizedLinear at module"),
]


@pytest.mark.parametrize(("cls", "module", "message"), MISFITS, ids=[message[:40] for *_, message in MISFITS])
def test_modules_that_do_not_fit(cls, module, message):
    with pytest.raises(ValueError, match=message):
        cls.from_torch(module)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_without_inputs():
    with pytest.raises(ValueError, match=r"layer 0 can not have weights of shape \(3, 0\)"):
        ImageLinearClassifier.from_torch(linear(0, C))
    with pytest.raises(ValueError, match="coef_ must have 3 rows for 3 classes, got shape"):
        FastLinearClassifier.from_torch(linear(0, C))


def test_a_class_of_your_own_can_be_made():
    class Mine(MLPClassifier):
        pass

    model = Mine.from_torch(S(linear(N, H), R, linear(H, C)), n_jobs=1)
    assert type(model) is Mine
    assert repr(model) == f"Mine({N}, {H}, {C}, dtype=float64, trained)"
    assert model.forward(P.X.T).shape == (C, 60)


def test_arguments_that_do_not_fit():
    for value in (None, {"weight": 1}, nn.Linear):
        with pytest.raises(TypeError, match=f"module must be a torch.nn.Sequential, got {type(value).__name__}"):
            MLPClassifier.from_torch(value)
    layer = linear(N, C)
    with pytest.raises(TypeError, match="kernel"):
        ImageLinearClassifier.from_torch(layer, kernel=3)
    with pytest.raises(TypeError, match="kernel"):
        FastLinearClassifier.from_torch(layer, kernel=3)
    for classes in ([0, 1], [0, 1, 1], 3, [[0, 1, 2]]):
        with pytest.raises(ValueError, match="classes must be 3 different ones"):
            FastLinearClassifier.from_torch(layer, classes=classes)
    with pytest.raises(ValueError, match="classes can not be given for several labels"):
        FastMLPClassifier.from_torch(nn.Sequential(layer, nn.Sigmoid()), classes=[0, 1, 2])
    with pytest.raises(ValueError, match="'alpha' parameter of FastLinearClassifier"):
        FastLinearClassifier.from_torch(layer, alpha=-1)
