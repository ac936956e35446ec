"""Models in files: what comes back is the same bits, and goes on by the same bits; what is no model is refused."""

import json
import math
import pickle

import numpy as np
import pytest
from safetensors import safe_open
from scipy import sparse
from sklearn.base import clone

import fastclf
from fastclf import DeepMLPClassifier, FastLinearClassifier, FastMLPClassifier, ImageLinearClassifier, MLPClassifier
from fastclf.datasets import Column

from ..helpers import in_new_process, problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, H, C = 6, 5, 3
P = problem(60, N, C)
NAMES = np.array(["ant", "bee", "elephant"])
LAB = {"ImageLinearClassifier": (N, C), "MLPClassifier": (N, H, C), "DeepMLPClassifier": (N, H, C)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model"


def again(model, path):
    """The model, through a file."""
    fastclf.save(model, path)
    return fastclf.load(path)


def bits(value):
    """Anything that a model consists of, so that only the same types and bits compare equal."""
    if isinstance(value, np.random.RandomState):
        return bits(value.get_state())
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tolist() if value.dtype == object else value.tobytes()
    if sparse.issparse(value):
        return type(value), bits([value.data, value.indices, value.indptr, value.shape])
    if isinstance(value, dict):
        return [(bits(k), bits(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [bits(v) for v in value]
    if type(value).__module__.startswith(("fastclf", "sklearn")):
        return type(value), {name: bits(v) for name, v in sorted(vars(value).items()) if name not in ("_work", "spare")}
    return type(value), repr(value)


def same(one, other):
    """Compare attribute by attribute, so that a failure says which differs."""
    assert type(one) is type(other)
    not_saved = {"_work", "losses_"}  # a forward pass, and the losses of a run
    assert vars(one).keys() - not_saved == vars(other).keys() - not_saved
    for name, value in vars(one).items():
        assert name in not_saved or bits(value) == bits(getattr(other, name)), name


# ---------------------------------------------------------------- the lab's classes


def lab_model(name, dtype=np.float64, **how):
    model = getattr(fastclf, name)(*LAB[name], dtype=dtype, random_state=1, **how)
    model._network.params[:] *= 30  # weights large enough to matter
    return model


def lab_outputs(model):
    return model.predict(P.X) if isinstance(model, ImageLinearClassifier) else model.forward(P.X.T)


def train_lab(model):
    if isinstance(model, ImageLinearClassifier):
        return fastclf.train(model, P.X, P.labels, 4, 0.5, verbose=False)
    if isinstance(model, DeepMLPClassifier):
        return model.train([(P.X, P.labels)], 4, 0.5, min_delta=1e-9, verbose=False)
    return model.train(P.X.T, P.labels, 4, 0.5, verbose=False)


@pytest.mark.parametrize("name", LAB)
def test_a_model_of_the_lab_comes_back_and_goes_on(name, dtype, path):
    model = lab_model(name, dtype, n_jobs=1)
    train_lab(model)
    model.save(path)
    loaded = fastclf.load(str(path))
    same(model, loaded)
    assert loaded.n_jobs == 1
    assert repr(loaded) == repr(model)
    assert bits(lab_outputs(loaded)) == bits(lab_outputs(model))
    assert train_lab(loaded) == train_lab(model)
    same(model, loaded)


def test_the_best_loss_comes_back(path):
    model = lab_model("DeepMLPClassifier")
    assert again(model, path).best_loss == math.inf
    train_lab(model)
    assert math.isfinite(model.best_loss)
    assert again(model, path).best_loss == model.best_loss


@pytest.mark.parametrize("name", LAB)
def test_whether_a_model_is_trained_comes_back(name, path):
    model = lab_model(name, np.float32)
    sizes = ", ".join(map(str, LAB[name]))
    assert repr(again(model, path)) == f"{name}({sizes}, dtype=float32, untrained)"
    train_lab(model)
    assert repr(again(model, path)) == f"{name}({sizes}, dtype=float32, trained)"


def test_the_kind_that_is_asked_for(path):
    lab_model("MLPClassifier").save(path)
    assert type(fastclf.load(path, MLPClassifier)) is MLPClassifier
    assert type(fastclf.load(path, kind=object)) is MLPClassifier
    with pytest.raises(ValueError, match=r"kind is FastMLPClassifier, but '.*model' holds a MLPClassifier"):
        fastclf.load(path, FastMLPClassifier)
    for kind in ("MLPClassifier", MLPClassifier(1, 1, 1)):
        with pytest.raises(TypeError, match="kind must be a class, got "):
            fastclf.load(path, kind)
    fastclf.save((np.ones((2, 1)), [0.5]), path)
    theta, losses = fastclf.load(path, tuple)
    assert (theta.shape, losses) == ((2, 1), [0.5])


@pytest.mark.parametrize("name", LAB)
def test_assigning_to_a_loaded_models_parameters(name, path):
    loaded = again(lab_model(name), path)
    attribute = "W" if name == "ImageLinearClassifier" else "W1"
    twin = lab_model(name)
    for model in (loaded, twin):
        setattr(model, attribute, 2 * getattr(model, attribute))
    assert bits(getattr(loaded, attribute)) == bits(2 * getattr(lab_model(name), attribute))
    assert bits(lab_outputs(loaded)) == bits(lab_outputs(twin)) != bits(lab_outputs(lab_model(name)))


def test_parameters_that_have_diverged_come_back(path):
    model = lab_model("MLPClassifier")
    model.W1[0, :2] = np.nan, -np.inf
    same(model, again(model, path))


def test_loading_draws_no_random_numbers(path):
    models = [lab_model(name) for name in LAB] + [FastMLPClassifier().fit(P.X, P.labels)]
    before = bits(np.random.get_state())
    for model in models:
        again(model, path)
    assert bits(np.random.get_state()) == before


def saves_without(packages, folder):
    import sys

    sys.modules.update(dict.fromkeys(packages))  # importing them fails
    import fastclf

    for i, model in enumerate(
        [fastclf.MLPClassifier(3, 2, 2), fastclf.train_model([[1.0], [2.0]], [0, 1], verbose=False)]
    ):
        fastclf.save(model, f"{folder}/{i}")
        assert type(fastclf.load(f"{folder}/{i}")) is type(model)


def test_a_model_of_the_lab_is_saved_where_there_is_no_scikit_learn(tmp_path):
    in_new_process(saves_without, ["sklearn", "scipy", "torch", "onnx", "matplotlib"], str(tmp_path))


# ---------------------------------------------------------------- what train_model returns


@pytest.mark.parametrize("multiclass", [True, False])
def test_theta_and_losses(multiclass, dtype, path):
    y = P.targets if multiclass else P.targets[:, 0]
    result = fastclf.train_model(P.X, y, iterations=20, multiclass=multiclass, dtype=dtype, verbose=False)
    theta, losses = again(result, path)
    assert bits(theta) == bits(result[0])
    assert bits(losses) == bits(result[1])
    theta += 1  # an array of its own


@pytest.mark.parametrize("losses", [[], [math.inf, math.nan, 0.1], [1, np.float32(0.5)]], ids=repr)
def test_any_losses(losses, path):
    theta, loaded = again((np.ones((2, 1)), losses), path)
    assert theta.shape == (2, 1)
    assert bits(loaded) == bits([float(loss) for loss in losses])


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        ((1, 2, 3), TypeError, "a tuple of 3"),
        (([[1.0]], []), TypeError, "theta must be an array, got list"),
        ((np.ones((2, 1)), np.ones(3)), TypeError, "losses must be a list of numbers"),
        ((np.ones((2, 1)), ["a"]), TypeError, "losses must be a list of numbers"),
        ((np.ones(2), []), ValueError, "theta must have shape"),
        ((np.ones((0, 2)), []), ValueError, "theta must have shape"),
        ((np.ones((2, 1), int), []), ValueError, "theta must be an array of float64 or float32"),
    ],
    ids=str,
)
def test_what_is_no_result(result, error, message, path):
    with pytest.raises(error, match=message):
        fastclf.save(result, path)
    assert not path.exists()


# ---------------------------------------------------------------- estimators

MULTILABEL = np.eye(C, dtype=int)[P.labels] | np.eye(C, dtype=int)[(P.labels + 1) % C]
LABELS = {
    "int": P.labels,
    "int8": P.labels.astype(np.int8) - 1,
    "two": P.labels > 0,
    "float": P.labels + 1.0,
    "names": NAMES[P.labels],
    "wider": NAMES[P.labels].astype("U30"),
    "objects": NAMES.astype(object)[P.labels],
}
LINEAR = [
    {},
    {"average": True},
    {"average": 70, "batch_size": 7},
    {"average": 5, "batch_size": "full"},
    {"penalty": "l1", "alpha": 0.01},
    {"penalty": "elasticnet", "learning_rate": "adaptive", "early_stopping": True},
    {"batch_size": 16, "learning_rate": "invscaling", "warm_start": True},
]
MLP = [
    {},
    {"hidden_layer_sizes": (9, 7), "dropout": 0.2, "clip_threshold": 0.1},
    {"solver": "sgd", "momentum": 0.0},
    {"solver": "sgd", "momentum": 0.9, "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
    {"solver": "sgd", "nesterovs_momentum": False, "learning_rate": "invscaling"},
    {"solver": "sgd", "momentum": 0.0, "clip_threshold": 0.1, "learning_rate": "step", "step_size": 1},
    {"early_stopping": True, "warm_start": True},
    {"hidden_layer_sizes": (), "batch_size": 7},
]


def fitted(kind, y=P.labels, X=P.X, **how):
    return kind(**{"max_iter": 6, "random_state": 0, **how}).fit(X, y)


def goes_on_alike(model, loaded, X, y, steps=2):
    """The same bits come out, and after more training the same again; the models end up trained."""
    assert bits(loaded.predict(X)) == bits(model.predict(X))
    assert bits(loaded.predict_proba(X)) == bits(model.predict_proba(X))
    for _ in range(steps):
        if not model.early_stopping:
            model.partial_fit(X, y)
            loaded.partial_fit(X, y)
            same(model, loaded)
    model.fit(X, y)
    loaded.fit(X, y)
    same(model, loaded)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", [FastLinearClassifier, FastMLPClassifier])
def test_an_estimator_comes_back_with_any_classes(kind, labels, path):
    model = fitted(kind, LABELS[labels])
    loaded = again(model, path)
    same(model, loaded)
    goes_on_alike(model, loaded, P.X, LABELS[labels], steps=1)


@pytest.mark.parametrize("first", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("kind", "how"), [(FastLinearClassifier, h) for h in LINEAR] + [(FastMLPClassifier, h) for h in MLP], ids=str
)
def test_training_goes_on_by_the_same_bits(kind, how, first, dtype, path):
    X = P.X.astype(dtype)
    if first == "fit":
        model = fitted(kind, X=X, **how)
    else:
        how = {**how, "early_stopping": False}
        model = kind(**{"random_state": 0, **how}).partial_fit(X, P.labels, classes=[0, 1, 2]).partial_fit(X, P.labels)
    loaded = again(model, path)
    same(model, loaded)
    goes_on_alike(model, loaded, X, P.labels)


def test_several_labels(path):
    model = fitted(FastMLPClassifier, MULTILABEL)
    loaded = again(model, path)
    same(model, loaded)
    assert bits(loaded.predict(P.X)) == bits(model.predict(P.X))
    assert loaded.predict(P.X).shape == MULTILABEL.shape
    goes_on_alike(model, loaded, P.X, MULTILABEL)


def test_a_single_class(path):
    model = fitted(FastMLPClassifier, np.full(60, 7))
    goes_on_alike(model, again(model, path), P.X, np.full(60, 7))


@pytest.mark.parametrize("kind", [FastLinearClassifier, FastMLPClassifier])
def test_bytes_are_scaled_as_before(kind, path):
    X = (np.abs(P.X) * 100).astype(np.uint8)
    for scale in (1.0, 0.01):
        model = fitted(kind, X=X, scale=scale)
        loaded = again(model, path)
        assert loaded.scale_ == model.scale_ == scale
        goes_on_alike(model, loaded, X, P.labels)


def test_feature_names(path):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(P.X, columns=[f"feature {i} é" for i in range(N)])
    for kind in (FastLinearClassifier, FastMLPClassifier):
        model = fitted(kind, X=X)
        loaded = again(model, path)
        same(model, loaded)
        assert loaded.feature_names_in_.tolist() == [*X.columns]
        with pytest.raises(ValueError, match="feature names should match"):
            loaded.predict(X[X.columns[::-1]])


@pytest.mark.parametrize("named", [True, False])
def test_the_columns_of_a_table(named, path):
    columns = [Column("a"), Column("b é", ("x", "y", "")), Column("c"), Column("d", ("1",))]
    columns = [Column(c.name if named else None, c.categories and sorted(c.categories)) for c in columns]
    names = [name for column in columns for name in column.feature_names] if named else None
    for kind in (FastLinearClassifier, FastMLPClassifier):
        model = fitted(kind)
        model._name_features(names, columns)
        loaded = again(model, path)
        same(model, loaded)
        assert loaded._columns() == columns
        assert hasattr(loaded, "feature_names_in_") == named


def test_validation_curves(path):
    model = FastMLPClassifier(max_iter=4, random_state=0).fit(P.X, P.labels, X_val=P.X[:20], y_val=P.labels[:20])
    loaded = again(model, path)
    same(model, loaded)
    assert len(loaded.validation_loss_curve_) == 4


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("average", [False, True])
def test_sparse_coefficients(make, average, path):
    model = fitted(FastLinearClassifier, penalty="l1", alpha=0.05, average=average, batch_size="full")
    model.coef_ = make(model.coef_)
    assert 0 < model.coef_.nnz < C * N or average
    loaded = again(model, path)
    same(model, loaded)
    goes_on_alike(model, loaded, P.X, P.labels)
    dense = again(model.sparsify(), path).densify()
    assert isinstance(dense.coef_, np.ndarray)


def test_coefficients_of_csr_data(path):
    X = sparse.random(60, 200, 0.1, format="csr", random_state=0)
    model = fitted(FastLinearClassifier, X=X)
    goes_on_alike(model, again(model, path), X, P.labels)


@pytest.mark.parametrize("kind", [FastLinearClassifier, FastMLPClassifier])
def test_an_estimator_that_is_not_fitted(kind, path):
    model = kind(alpha=0.5, max_iter=3)
    loaded = again(model, path)
    same(model, loaded)
    assert not hasattr(loaded, "classes_")
    for one in (model, loaded):
        one.set_params(random_state=1).fit(P.X, P.labels)
    goes_on_alike(model, loaded, P.X, P.labels)


@pytest.mark.parametrize("kind", [FastLinearClassifier, FastMLPClassifier])
def test_clone_and_pickle_of_what_is_loaded(kind, path):
    model = fitted(kind, tol=1e-2)
    loaded = again(model, path)
    assert clone(loaded).get_params() == model.get_params()
    assert bits(pickle.loads(pickle.dumps(loaded)).predict_proba(P.X)) == bits(model.predict_proba(P.X))
    same(model, again(pickle.loads(pickle.dumps(model)), path)) if kind is FastLinearClassifier else None


def test_weights_that_somebody_has_put_there(path):
    model = fitted(FastMLPClassifier)
    model.coefs_ = [2 * W for W in model.coefs_]
    model.intercepts_ = [b + 1 for b in model.intercepts_]
    loaded = again(model, path)
    assert bits(loaded.predict_proba(P.X)) == bits(model.predict_proba(P.X))


PARAMETERS = {
    "class_weight": [{0: 1, 1: 2.5}, {"a": 1.0, "b": np.float32(2)}, {np.int64(0): 1, True: 2, (1, "x"): 3}, "balanced"],
    "tol": [math.inf, np.float64(1e-3), np.float32(0.1), 1],
    "hidden_layer_sizes": [(3, 4), [3, 4], 5, np.int16(5), np.array([3, 4]), np.array([3, 4], np.uint8), ()],
    "verbose": [True, "bar", np.True_],
    "n_iter_no_change": [math.inf, 3],
    "random_state": [None, 0, np.int64(3)],
    "batch_size": ["auto", 7, np.str_("auto")],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in PARAMETERS.items() for v in values], ids=str)
def test_parameters_keep_their_values_and_types(name, value, path):
    loaded = again(FastMLPClassifier(**{name: value}), path)
    assert bits(getattr(loaded, name)) == bits(value)


@pytest.mark.parametrize("kind", [FastLinearClassifier, FastMLPClassifier])
def test_a_random_state_goes_on(kind, path):
    random = np.random.RandomState(3)
    random.randn(3)  # an odd number of normal draws: one is kept for the next
    model = kind(max_iter=2, random_state=random).fit(P.X, P.labels)
    loaded = again(model, path)
    assert loaded.random_state is not random
    goes_on_alike(model, loaded, P.X, P.labels)
    assert random.randn() == loaded.random_state.randn()


class Odd:
    pass


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("class_weight", {0: Odd()}, r"parameters.class_weight.0 can not be saved.*Odd"),
        ("class_weight", {0: lambda: 1}, r"parameters.class_weight.0 can not be saved.*function"),
        ("class_weight", {0: 1j}, r"parameters.class_weight.0 can not be saved.*complex"),
        ("class_weight", {0: np.longdouble(1)}, "array of dtype"),
        ("class_weight", {0: np.datetime64("2020")}, "array of dtype datetime64"),
        ("hidden_layer_sizes", np.array([3, None]), "parameters.hidden_layer_sizes can not be saved.*object"),
        ("hidden_layer_sizes", np.ma.array([3, 4]), "MaskedArray"),
        ("random_state", np.random.RandomState(np.random.PCG64(0)), "parameters.random_state can not be saved.*PCG64"),
        ("random_state", np.random.default_rng(0), "parameters.random_state can not be saved.*Generator"),
    ],
    ids=[
        "object", "function", "complex", "longdouble", "date", "array of objects", "masked", "PCG64", "Generator",
    ],
)  # fmt: skip
def test_what_a_file_can_not_hold_is_refused_by_name(name, value, message, path):
    path.write_bytes(b"old")
    with pytest.raises(TypeError, match=message):
        FastMLPClassifier(**{name: value}).save(path)
    assert path.read_bytes() == b"old"


# ---------------------------------------------------------------- what is not saved


class Leaky(MLPClassifier):
    def relu(self, z):
        return np.where(z > 0, z, 0.1 * z)


class Tuned(FastLinearClassifier):
    pass


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Leaky(N, H, C), "got Leaky, a subclass of MLPClassifier"),
        (Tuned(), "got Tuned, a subclass of FastLinearClassifier"),
        (type("MLPClassifier", (MLPClassifier,), {})(N, H, C), "got MLPClassifier, a subclass of MLPClassifier"),
        (fastclf.reference.MLPClassifier(N, H, C), "must be of one of the classes .* got MLPClassifier"),
        (np.ones((3, 2)), "must be of one of the classes .* got ndarray"),
        (None, "got NoneType"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_classes_are_refused(model, message, path):
    with pytest.raises(TypeError, match=message):
        fastclf.save(model, path)
    assert not path.exists()


def test_attributes_of_your_own_are_refused(path):
    for model in (lab_model("MLPClassifier"), fitted(FastLinearClassifier), fitted(FastMLPClassifier)):
        model.note = "mine"
        with pytest.raises(TypeError, match="can not be saved with attributes that are not its own: note"):
            model.save(path)
        del model.note
        again(model, path)


@pytest.mark.parametrize(
    ("kind", "y"), [(FastLinearClassifier, np.zeros(60)), (FastMLPClassifier, P.labels + 0.5)], ids=["linear", "mlp"]
)
def test_an_estimator_whose_first_fit_has_failed_is_not_fitted(kind, y, path):
    model = kind()
    with pytest.raises(ValueError, match=r"number of classes|Unknown label type"):
        model.fit(P.X, y)
    loaded = again(model, path)
    assert not hasattr(loaded, "classes_")


def test_a_model_without_parameters_is_refused(path):
    model = fitted(FastLinearClassifier)
    del model.intercept_
    with pytest.raises(ValueError, match="FastLinearClassifier can not be saved half fitted"):
        model.save(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coef_": np.ones((2, N))}, "coef_ must have 3 rows for 3 classes, got shape"),
        ({"coef_": np.ones((3, N), int)}, "coef_ must be a matrix of float64 or float32"),
        ({"intercept_": np.ones(4)}, "coef_ and intercept_ must be of float64 and have shape"),
        ({"classes_": np.array([2, 1, 0])}, "classes_ must be sorted"),
        ({"n_features_in_": 3}, "n_features_in_ must be 6, got 3"),
        ({"t_": math.inf}, "t_ must be a number from 1 on, got inf"),
        ({"alpha": -1}, "'alpha' parameter of FastLinearClassifier must be"),
    ],
    ids=str,
)
def test_what_could_not_be_loaded_is_not_saved(change, message, path):
    model = fitted(FastLinearClassifier)
    vars(model).update(change)
    with pytest.raises(ValueError, match=f"FastLinearClassifier can not be saved: .*{message}"):
        model.save(path)
    assert not path.exists()


# ---------------------------------------------------------------- the format


def header(path):
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["fastclf"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_the_format_is_safetensors_with_a_document_in_json(path):
    model = lab_model("DeepMLPClassifier", np.float32)
    model.save(path)
    document, tensors = header(path)
    assert len(document.pop("sha256")) == 64
    assert document == {
        "format": 1,
        "kind": "DeepMLPClassifier",
        "fastclf": fastclf.__version__,
        "content": {
            "arguments": {"dict": {"n_jobs": None, "scale": 1.0}},
            "progress": {"dict": {"best_loss": {"float": "inf"}}},
            "trained": False,
            "layers": [
                {"dict": {name: {"array": f"layers.{i}.{name}"} for name in ("weight", "bias")}} for i in range(3)
            ],
        },
    }
    assert {name: array.shape for name, array in tensors.items()} == {
        "layers.0.weight": (H, N), "layers.0.bias": (H,),
        "layers.1.weight": (H, H), "layers.1.bias": (H,),
        "layers.2.weight": (C, H), "layers.2.bias": (C,),
    }  # fmt: skip
    np.testing.assert_array_equal(tensors["layers.2.weight"], model.W2)


def test_json_is_standard(path):
    """NaN and Infinity are no JSON."""

    def refuse(constant):
        raise AssertionError(constant)

    fastclf.save((np.ones((2, 1)), [math.nan]), path)
    FastMLPClassifier(tol=math.inf, class_weight={math.nan: -math.inf}).save(path)
    with safe_open(path, "np") as file:
        json.loads(file.metadata()["fastclf"], parse_constant=refuse)


def test_the_same_model_makes_the_same_file(path, tmp_path):
    model = fitted(FastMLPClassifier)
    model.save(path)
    again(model, path).save(tmp_path / "second")
    assert path.read_bytes() == (tmp_path / "second").read_bytes()
