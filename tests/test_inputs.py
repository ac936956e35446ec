"""The door: what passes it, what does not and how it says so, for every argument of every public function."""

import copy
import math
import re

import numpy as np
import pytest

import fastclf
from fastclf import inputs
from fastclf.engine import threads as threads_module
from fastclf.inputs import (
    as_array,
    as_count,
    as_labels,
    as_matrix,
    as_random,
    as_rows_of_columns,
    as_scalar,
    as_targets,
    quick_batch,
)
from fastclf.kernels import threads as pool

from .helpers import IfInstalled, problem

torch, torch_data = IfInstalled("torch"), IfInstalled("torch.utils.data")

M, N, C, H = 12, 4, 3, 5
DATA = problem(M, N, C)
FLOAT64 = np.dtype(np.float64)

# ---------------------------------------------------------------- what passes


def strided(a):
    """Every second row and column of a larger array."""
    large = np.full([2 * k for k in a.shape], -1 if a.dtype.kind in "iu" else np.nan, a.dtype)
    view = large[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def memory_mapped(a, tmp_path):
    file = tmp_path / f"{a.shape}{a.dtype}.npy"
    np.save(file, a)
    return np.load(file, mmap_mode="r")


FORMS = {
    "as it is": lambda a, _: a,
    "Fortran order": lambda a, _: np.asfortranarray(a),
    "strided": lambda a, _: strided(a),
    "backwards": lambda a, _: a[::-1].copy()[::-1],
    "read-only": lambda a, _: read_only(a),
    "memory-mapped": memory_mapped,
    "big-endian": lambda a, _: a.astype(a.dtype.newbyteorder(">")),
    "a list": lambda a, _: a.tolist(),
    "a tuple of rows": lambda a, _: tuple(a),
    "a tensor": lambda a, _: torch.tensor(a),
    "a tensor with a gradient": lambda a, _: torch.tensor(a, requires_grad=a.dtype.kind == "f"),
    "a transposed tensor": lambda a, _: torch.tensor(a.T.copy()).T if a.ndim == 2 else torch.tensor(a),
}


@pytest.fixture(params=FORMS)
def form(request, tmp_path):
    return lambda a: FORMS[request.param](a, tmp_path)


def results(X, y, targets):
    """Everything that training does with a set of samples, labels and target distributions."""
    deep, image = (kind(*s, random_state=0) for kind, s in ((fastclf.DeepMLPClassifier, (N, H, C)),
                                                            (fastclf.ImageLinearClassifier, (N, C))))  # fmt: skip
    mlp, quiet = fastclf.MLPClassifier(N, H, C, random_state=0), {"verbose": False}
    columns = X.T if hasattr(X, "T") else np.array(X).T
    yield fastclf.train_model(X, targets, 0.1, 2, True, True, **quiet, random_state=0)
    yield fastclf.train_model(X, targets, 0.1, 2, False, True, **quiet, random_state=0)
    yield fastclf.train(image, X, y, 2, 0.1, **quiet), image.W, image.predict(X), image.compute_loss(X, y)
    yield mlp.train(columns, y, 2, 0.1, **quiet), mlp.W1, mlp.forward(columns)
    yield deep.train([(X, y)], 2, 0.1, **quiet), deep.W1


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_any_form_gives_the_same_bits(form):
    expected = results(DATA.X, DATA.labels, DATA.targets)
    assert_same(results(form(DATA.X), form(DATA.labels), form(DATA.targets)), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble, np.int8, np.uint8, np.int64, bool])
def test_numbers_of_any_dtype_are_taken_for_what_they_are(dtype):
    X = np.random.default_rng(0).integers(0, 2 if dtype is bool else 100, (M, N)).astype(dtype)
    assert_same(
        results(X, DATA.labels, DATA.targets), results(X.astype(np.float64), DATA.labels, DATA.targets)
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "int64"])
def test_tensors_of_any_dtype(dtype):
    X = torch.randint(0, 100, (M, N), generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    assert_same(results(X, DATA.labels, DATA.targets), results(X.numpy().astype(float), DATA.labels, DATA.targets))


INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
INTEGERS_OF_TORCH = ["uint8", "int8", "int16", "int32", "int64"]


@pytest.mark.parametrize(
    "convert",
    [*(lambda y, d=d: y.astype(d) for d in INTEGERS),
     *(lambda y, d=d: torch.tensor(y, dtype=getattr(torch, d)) for d in INTEGERS_OF_TORCH)],
    ids=[*(d.__name__ for d in INTEGERS), *(f"torch.{d}" for d in INTEGERS_OF_TORCH)],
)  # fmt: skip
def test_labels_of_any_integer_dtype(convert):
    expected = results(DATA.X, DATA.labels, DATA.targets)
    assert_same(results(DATA.X, convert(DATA.labels), DATA.targets), expected)


def test_inputs_are_never_modified():
    arrays = [a.copy() for a in (DATA.X, DATA.labels, DATA.targets)]
    list(results(*arrays))
    for array, original in zip(arrays, (DATA.X, DATA.labels, DATA.targets)):
        np.testing.assert_array_equal(array, original)


def test_a_tensor_that_fits_is_not_copied():
    tensor = torch.tensor(DATA.X)
    assert as_matrix(tensor, "X", FLOAT64).__array_interface__["data"][0] == tensor.data_ptr()


def test_what_fits_is_not_copied():
    X = np.ascontiguousarray(DATA.X)
    view = X.view()
    view.flags.writeable = False
    for given in (X, view):
        assert np.shares_memory(as_matrix(given, "X", FLOAT64), X)
    assert np.shares_memory(as_rows_of_columns(X.T, "X", FLOAT64, N).array, X)
    assert not np.shares_memory(as_labels(DATA.labels, "y", M, C), DATA.labels)  # a kernel indexes by them


def test_results_are_c_ordered_of_the_wanted_dtype(form, dtype):
    for array in (as_matrix(form(DATA.X), "X", dtype), as_rows_of_columns(form(DATA.X.T.copy()), "X", dtype, N).array):
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.shape == (M, N)
        assert type(array) is np.ndarray


# ---------------------------------------------------------------- what does not: every argument of every function


def with_one(a, value, at=0):
    a = a.astype(float)
    a.flat[at] = value
    return a


# name: what it makes of a good matrix
BAD_NUMBERS = {
    "NaN": lambda a: with_one(a, np.nan),
    "infinity": lambda a: with_one(a, -np.inf, -1),
    "objects": lambda a: a.astype(object),
    "complex": lambda a: a.astype(complex),
    "strings": lambda a: a.astype(str),
    "None": lambda a: None,
    "ragged": lambda a: [[1.0, 2.0], [3.0]],
    "a dictionary": lambda a: {"X": 1},
    "dates": lambda a: np.zeros(a.shape, "datetime64[s]"),
}
BAD_SHAPES = {
    "one-dimensional": lambda a: a[0],
    "three-dimensional": lambda a: a[None],
    "a number": lambda a: 3.0,
    "empty": lambda a: a[:0],
    "no columns": lambda a: a[:, :0],
}
BAD_MATRICES = BAD_NUMBERS | BAD_SHAPES
ANOTHER_WIDTH = {"another number of columns": lambda a: np.hstack([a, a])}
ANOTHER_LENGTH = {"another number of rows": lambda a: a[1:]}

BAD_LABELS = {
    "too large": lambda y: np.where(np.arange(len(y)) == 3, C, y),
    "negative": lambda y: np.where(np.arange(len(y)) == 3, -1, y),
    "far too large": lambda y: np.where(np.arange(len(y)) == 3, 2**63, y.astype(np.uint64)),
    "floats": lambda y: y.astype(float),
    "one-hot": lambda y: np.eye(C, dtype=int)[y],
    "another length": lambda y: y[1:],
    "strings": lambda y: y.astype(str),
    "None": lambda y: None,
    "a number": lambda y: 1,
}
BAD_TARGETS = BAD_MATRICES | ANOTHER_LENGTH | {
    "labels": lambda t: t.argmax(1),
    "negative": lambda t: with_one(t, -0.1),
    "above one": lambda t: with_one(t, 1.5),
}  # fmt: skip
BAD_COLUMN = {name: BAD_TARGETS[name] for name in ("NaN", "strings", "another number of rows", "negative", "above one")} | {
    "two columns": lambda t: np.hstack([t, t]),
    "empty": lambda t: t[:0],
}  # fmt: skip

BAD_COUNTS = {"negative": -1, "a float": 2.0, "a string": "3", "None": None, "a boolean": True, "a list": [3]}
BAD_SIZES = BAD_COUNTS | {"zero": 0}
BAD_REALS = {
    "NaN": math.nan,
    "infinite": math.inf,
    "a string": "fast",
    "None": None,
    "complex": 1j,
    "a list": [0.1, 0.2],
}
BAD_DTYPES = {"half": np.float16, "integers": int, "complex": complex, "a name": "double precision", "a number": 3}
BAD_JOBS = {"zero": 0, "a float": 2.0, "a string": "all", "a boolean": True}
BAD_STATES = {"a string": "zero", "a truth value": True, "a float": 1.5, "negative": -1, "a list": [1, 2]}
BAD_VERBOSE = {"a word": "loud", "None": None, "a number": 7}
BAD_CALLBACKS = {"a string": "print", "a number": 1}
BAD_LOADERS = {
    "empty": [],
    "an iterator": lambda: iter([(DATA.X, DATA.labels)]),
    "samples alone": [DATA.X],
    "triples": [(DATA.X, DATA.labels, DATA.labels)],
    "numbers": [3],
    "None": None,
    "not iterable": 3,
}

SHIFTED = problem(M, N + 1, C)  # as many columns as theta has rows
P = fastclf.softmax(DATA.targets)


def deep():
    return fastclf.DeepMLPClassifier(N, H, C)


def mlp():
    return fastclf.MLPClassifier(N, H, C)


def image():
    return fastclf.ImageLinearClassifier(N, C)


def after_forward(model):
    model.forward(DATA.X.T)
    return model


LOADER = [(DATA.X, DATA.labels)]
QUIET = {"verbose": False}
COLUMN = DATA.targets[:, :1]

# argument of a function: the call with that argument to be filled in, a good value, and what spoils it. Faults that are
# functions spoil the good value; others replace it.
ARGUMENTS = {
    "add_bias_term(X)": (fastclf.add_bias_term, DATA.X, BAD_MATRICES),
    "initialize_parameters(X)": (lambda v: fastclf.initialize_parameters(v, DATA.targets, True), DATA.X,
                                 {k: BAD_MATRICES[k] for k in ("objects", "strings", "None", "a number")}),
    "initialize_parameters(y)": (lambda v: fastclf.initialize_parameters(DATA.X, v, True), DATA.targets,
                                 {k: BAD_MATRICES[k] for k in ("objects", "one-dimensional", "three-dimensional")}),
    "initialize_parameters(dtype)": (lambda v: fastclf.initialize_parameters(DATA.X, DATA.targets, True, dtype=v), float,
                                     BAD_DTYPES),
    "initialize_parameters(random_state)": (
        lambda v: fastclf.initialize_parameters(DATA.X, DATA.targets, True, random_state=v), 0, BAD_STATES),
    "linear_prediction(X)": (lambda v: fastclf.linear_prediction(v, DATA.theta), SHIFTED.X, BAD_MATRICES | ANOTHER_WIDTH),
    "linear_prediction(theta)": (lambda v: fastclf.linear_prediction(SHIFTED.X, v), DATA.theta, BAD_MATRICES),
    "sigmoid(z)": (fastclf.sigmoid, DATA.X, {k: BAD_NUMBERS[k] for k in ("objects", "complex", "strings", "None")}),
    "softmax(z)": (fastclf.softmax, DATA.X, BAD_MATRICES),
    "binary_cross_entropy_loss(y_true)": (lambda v: fastclf.binary_cross_entropy_loss(v, P), DATA.targets,
                                          BAD_NUMBERS | ANOTHER_LENGTH),
    "binary_cross_entropy_loss(y_pred)": (lambda v: fastclf.binary_cross_entropy_loss(DATA.targets, v), P,
                                          BAD_NUMBERS | ANOTHER_LENGTH),
    "categorical_cross_entropy_loss(y_true)": (lambda v: fastclf.categorical_cross_entropy_loss(v, P), DATA.targets,
                                               BAD_NUMBERS | ANOTHER_LENGTH),
    "categorical_cross_entropy_loss(y_pred)": (lambda v: fastclf.categorical_cross_entropy_loss(DATA.targets, v), P,
                                               BAD_NUMBERS | ANOTHER_LENGTH),
    "gradient_descent_step(X)": (
        lambda v: fastclf.gradient_descent_step(v, DATA.targets, P, DATA.theta, 0.1, True), SHIFTED.X,
        BAD_MATRICES | ANOTHER_WIDTH),
    "gradient_descent_step(y)": (
        lambda v: fastclf.gradient_descent_step(SHIFTED.X, v, P, DATA.theta, 0.1, True), DATA.targets,
        BAD_TARGETS | ANOTHER_WIDTH),
    "gradient_descent_step(predictions)": (
        lambda v: fastclf.gradient_descent_step(SHIFTED.X, DATA.targets, v, DATA.theta, 0.1, True), P,
        BAD_NUMBERS | ANOTHER_WIDTH | ANOTHER_LENGTH),
    "gradient_descent_step(theta)": (
        lambda v: fastclf.gradient_descent_step(SHIFTED.X, DATA.targets, P, v, 0.1, True), DATA.theta, BAD_MATRICES),
    "gradient_descent_step(learning_rate)": (
        lambda v: fastclf.gradient_descent_step(SHIFTED.X, DATA.targets, P, DATA.theta, v, True), 0.1, BAD_REALS),
    "stochastic_gradient_descent_step(X)": (
        lambda v: fastclf.stochastic_gradient_descent_step(v, DATA.targets, DATA.theta, 0.1, True), SHIFTED.X,
        BAD_MATRICES | ANOTHER_WIDTH),
    "stochastic_gradient_descent_step(y)": (
        lambda v: fastclf.stochastic_gradient_descent_step(SHIFTED.X, v, DATA.theta, 0.1, True), DATA.targets,
        BAD_TARGETS | ANOTHER_WIDTH),
    "stochastic_gradient_descent_step(theta)": (
        lambda v: fastclf.stochastic_gradient_descent_step(SHIFTED.X, DATA.targets, v, 0.1, True), DATA.theta,
        BAD_MATRICES),
    "stochastic_gradient_descent_step(learning_rate)": (
        lambda v: fastclf.stochastic_gradient_descent_step(SHIFTED.X, DATA.targets, DATA.theta, v, True), 0.1, BAD_REALS),
    "train_model(X)": (lambda v: fastclf.train_model(v, DATA.targets, 0.1, 2, True, True, **QUIET), DATA.X, BAD_MATRICES),
    "train_model(y)": (lambda v: fastclf.train_model(DATA.X, v, 0.1, 2, True, True, **QUIET), DATA.targets, BAD_TARGETS),
    "train_model(y), sigmoid": (lambda v: fastclf.train_model(DATA.X, v, 0.1, 2, **QUIET), COLUMN, BAD_COLUMN),
    "image.predict(X)": (lambda v: image().predict(v), DATA.X, BAD_MATRICES | ANOTHER_WIDTH),
    "image.softmax(z)": (lambda v: image().softmax(v), DATA.X, {k: BAD_NUMBERS[k] for k in ("strings", "ragged")}),
    "image.compute_loss(X)": (lambda v: image().compute_loss(v, DATA.labels), DATA.X, BAD_MATRICES | ANOTHER_WIDTH),
    "image.compute_loss(y)": (lambda v: image().compute_loss(DATA.X, v), DATA.labels, BAD_LABELS),
    "image.gradient_descent(X)": (
        lambda v: image().gradient_descent(v, DATA.labels), DATA.X, BAD_MATRICES | ANOTHER_WIDTH),
    "image.gradient_descent(y)": (lambda v: image().gradient_descent(DATA.X, v), DATA.labels, BAD_LABELS),
    "image.gradient_descent(learning_rate)": (
        lambda v: image().gradient_descent(DATA.X, DATA.labels, v), 0.1, BAD_REALS),
    "image.W": (lambda v: setattr(image(), "W", v), DATA.X[:C], BAD_MATRICES | ANOTHER_WIDTH),
    "image.b": (lambda v: setattr(image(), "b", v), COLUMN[:C], BAD_NUMBERS | ANOTHER_WIDTH),
    "train(X_train)": (lambda v: fastclf.train(image(), v, DATA.labels, 2, 0.1, **QUIET), DATA.X,
                       BAD_MATRICES | ANOTHER_WIDTH),
    "train(y_train)": (lambda v: fastclf.train(image(), DATA.X, v, 2, 0.1, **QUIET), DATA.labels, BAD_LABELS),
    "subsample_dataset(sample_size)": (
        lambda v: fastclf.subsample_dataset(torch_data.TensorDataset(torch.zeros(9)), v), 5, BAD_COUNTS | {"too many": 10}),
    "subsample_dataset(random_state)": (
        lambda v: fastclf.subsample_dataset(torch_data.TensorDataset(torch.zeros(9)), 5, random_state=v), 0, BAD_STATES),
}  # fmt: skip

for option, good, faults in (
    ("learning_rate", 0.1, BAD_REALS), ("iterations", 2, BAD_COUNTS), ("dtype", np.float32, BAD_DTYPES),
    ("random_state", 0, BAD_STATES), ("verbose", False, BAD_VERBOSE), ("callback", None, BAD_CALLBACKS),
    ("n_jobs", 1, BAD_JOBS),
):  # fmt: skip

    def call(v, option=option):
        return fastclf.train_model(DATA.X, DATA.targets, multiclass=True, **{"iterations": 1, **QUIET, option: v})

    ARGUMENTS[f"train_model({option})"] = call, good, faults

for option, good, faults in (
    ("epochs", 2, BAD_COUNTS), ("learning_rate", 0.1, BAD_REALS), ("verbose", False, BAD_VERBOSE),
    ("callback", None, BAD_CALLBACKS),
):  # fmt: skip
    options = {"epochs": 1, "learning_rate": 0.1, **QUIET}
    ARGUMENTS[f"train({option})"] = (
        lambda v, o=options, k=option: fastclf.train(image(), DATA.X, DATA.labels, **{**o, k: v}), good, faults
    )  # fmt: skip
    ARGUMENTS[f"mlp.train({option})"] = (
        lambda v, o=options, k=option: mlp().train(DATA.X.T, DATA.labels, **{**o, k: v}), good, faults
    )  # fmt: skip
    ARGUMENTS[f"deep.train({option})"] = (
        lambda v, o=options, k=option: deep().train(LOADER, **{**o, k: v}), good, faults
    )  # fmt: skip

for option, good, faults in (
    ("step_size", 2, BAD_SIZES), ("gamma", 0.5, BAD_REALS), ("patience", 3, BAD_COUNTS), ("min_delta", 0.1, BAD_REALS),
    ("clip_threshold", 1.0, {"NaN": math.nan, "negative": -1.0, "a string": "none", "None": None}),
    ("train_loader", LOADER, BAD_LOADERS),
):  # fmt: skip
    ARGUMENTS[f"deep.train({option})"] = (
        lambda v, k=option: deep().train(**{"train_loader": LOADER, "epochs": 2, **QUIET, k: v}), good, faults
    )  # fmt: skip

for kind, make in (("mlp", mlp), ("deep", deep)):
    ARGUMENTS |= {
        f"{kind}.forward(X)": (lambda v, make=make: make().forward(v), DATA.X.T,
                               BAD_MATRICES | {"another number of rows": lambda a: a[1:]}),
        f"{kind}.backward(X)": (lambda v, make=make: after_forward(make()).backward(v, DATA.labels), DATA.X.T,
                                BAD_MATRICES | {"another number of rows": lambda a: a[1:]}),
        f"{kind}.backward(y)": (lambda v, make=make: after_forward(make()).backward(DATA.X.T, v), DATA.labels, BAD_LABELS),
        f"{kind}.backward(learning_rate)": (
            lambda v, make=make: after_forward(make()).backward(DATA.X.T, DATA.labels, v), 0.1, BAD_REALS),
        f"{kind}.compute_loss(A2)": (lambda v, make=make: make().compute_loss(v, DATA.labels), P.T, {
            **{k: BAD_MATRICES[k] for k in ("objects", "strings", "None", "one-dimensional", "three-dimensional")},
            "another number of rows": lambda a: a[1:]}),
        f"{kind}.compute_loss(y)": (lambda v, make=make: make().compute_loss(P.T, v), DATA.labels, BAD_LABELS),
        f"{kind}.W1": (lambda v, make=make: setattr(make(), "W1", v), np.ones((H, N)), BAD_MATRICES | ANOTHER_WIDTH),
        f"{kind}.b2": (lambda v, make=make: setattr(make(), "b2", v), np.ones((C, 1)), BAD_NUMBERS | ANOTHER_LENGTH),
    }  # fmt: skip
ARGUMENTS |= {
    "mlp.train(X_train)": (lambda v: mlp().train(v, DATA.labels, 2, **QUIET), DATA.X.T,
                           BAD_MATRICES | {"another number of rows": lambda a: a[1:], "rows": lambda a: a.T}),
    "mlp.train(y_train)": (lambda v: mlp().train(DATA.X.T, v, 2, **QUIET), DATA.labels, BAD_LABELS),
    "deep.backward(clip_threshold)": (
        lambda v: after_forward(deep()).backward(DATA.X.T, DATA.labels, 0.1, v), 1.0,
        {"NaN": math.nan, "negative": -1.0, "a string": "none", "None": None}),
    "deep.train(X of a batch)": (lambda v: deep().train([(v, DATA.labels)], 1, **QUIET), DATA.X,
                                 {k: f for k, f in BAD_MATRICES.items() if k != "three-dimensional"} | ANOTHER_WIDTH),
    "deep.train(y of a batch)": (lambda v: deep().train([(DATA.X, v)], 1, **QUIET), DATA.labels, BAD_LABELS),
}  # fmt: skip

SIZES = {
    fastclf.ImageLinearClassifier: ("input_size", "n_classes"),
    fastclf.MLPClassifier: ("input_size", "hidden_size", "output_size"),
    fastclf.DeepMLPClassifier: ("input_size", "hidden_size", "output_size"),
}
for kind, names in SIZES.items():
    for option, good, faults in (
        *((name, 3, BAD_SIZES) for name in names), ("dtype", np.float32, BAD_DTYPES), ("random_state", 0, BAD_STATES),
        ("n_jobs", 1, BAD_JOBS),
    ):  # fmt: skip
        ARGUMENTS[f"{kind.__name__}({option})"] = (
            lambda v, kind=kind, names=names, k=option: kind(**{**dict.fromkeys(names, 3), k: v}), good, faults
        )  # fmt: skip


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_good_arguments_give_finite_results(argument):
    call, good, _ = ARGUMENTS[argument]
    before = copy.deepcopy(good)
    result = call(good)
    for found in result if isinstance(result, tuple) else [result]:
        if isinstance(found, (*SIZES,)):
            found = found._network.params
        if found is not None:  # backward and assignments return nothing
            assert np.size(found)
            assert np.isfinite(np.asarray(found, float)).all()
    if isinstance(good, np.ndarray):
        np.testing.assert_array_equal(good, before)


@pytest.mark.parametrize(
    ("argument", "fault"), [(argument, fault) for argument, (_, _, faults) in ARGUMENTS.items() for fault in faults]
)
def test_bad_arguments_are_named(argument, fault):
    call, good, faults = ARGUMENTS[argument]
    bad = faults[fault]
    if callable(bad) and not isinstance(bad, type):
        bad = bad(good) if isinstance(good, np.ndarray) else bad()
    name = re.fullmatch(r"(?:.*\((.*)\).*|.*\.(\w+))", argument)
    name = name[1] or name[2]
    with pytest.raises((TypeError, ValueError), match=rf"(?<!\w){name}(?!\w)"):
        call(bad)


# ---------------------------------------------------------------- messages


SMALL, LARGE = (30, 7), (700, 100)  # the second is checked by a kernel


@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_position_of_what_is_not_finite(shape, dtype, bad):
    assert (math.prod(shape) > inputs._SMALL) == (shape == LARGE)
    X = np.zeros(shape)
    as_matrix(X, "X", dtype)
    for at in ((0, 0), (shape[0] - 1, shape[1] - 1), (shape[0] // 2, 3)):
        spoilt = X.copy()
        spoilt[at] = bad
        spoilt[-1, -1] = bad  # the first one is named
        message = re.escape(f"X must be finite, got {bad} at {at}")
        with pytest.raises(ValueError, match=f"^{message}$"):
            as_matrix(spoilt, "X", dtype)
        with pytest.raises(ValueError, match=r"^X must be finite"):
            as_rows_of_columns(spoilt.T, "X", dtype, shape[1])


def test_numbers_too_large_for_float32_are_not_finite(recwarn):
    with pytest.raises(ValueError, match=r"X must be finite, got inf at \(0, 1\)"):
        as_matrix([[1.0, 1e300]], "X", np.dtype(np.float32))
    assert not recwarn


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: as_matrix(DATA.X[0], "X", FLOAT64), "one feature: X.reshape(-1, 1); one sample: X.reshape(1, -1)"),
        (lambda: as_matrix(DATA.X, "X", FLOAT64, 7), "X must have 7 features per sample, got shape (12, 4)"),
        (lambda: as_rows_of_columns(DATA.X, "X", FLOAT64, N), "samples are columns here: pass the transpose"),
        (lambda: as_labels([0, 5, -2], "y", 3, 3), "y must lie in 0 … 2, got labels from -2 to 5"),
        (lambda: as_labels([0.0, 1.0], "y", 2, 2), "y must hold integer class labels, got dtype float64"),
        (lambda: as_targets(DATA.labels, "y", M, FLOAT64, True), "np.eye(n_classes)[y] makes the matrix"),
        (lambda: as_targets([[2.0]], "y", 1, FLOAT64, True), "between 0 and 1, got values from 2.0 to 2.0"),
        (lambda: as_count(2.5, "epochs"), "epochs must be a whole number, got 2.5"),
        (lambda: as_count(-1, "epochs"), "epochs must be at least 0, got -1"),
        (lambda: as_scalar(math.nan, "gamma"), "gamma must be finite, got nan"),
        (lambda: as_scalar("x", "gamma"), "gamma must be a number, got 'x'"),
        (lambda: as_array("abc", "X"), "X must be an array of real numbers, got dtype <U3 (str)"),
        (lambda: mlp().backward(DATA.X.T, DATA.labels), "the last was none"),
        (lambda: after_forward(mlp()).backward(DATA.X[1:].T, DATA.labels[1:]), "11 samples; the last was one of 12"),
        (lambda: deep().train(iter(LOADER), 2), "got an iterator, which is empty after the first"),
        (lambda: fastclf.train_model(DATA.X, COLUMN, verbose="x"), """True, False or "bar", got 'x'"""),
    ],
)
def test_messages_say_what_came_and_what_is_wanted(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()


def test_a_loader_that_runs_dry_is_noticed():
    class Once:
        def __init__(self):
            self.batches = iter(LOADER)

        def __iter__(self):
            return self.batches

    with pytest.raises(ValueError, match="train_loader must yield at least one batch per epoch"):
        deep().train(Once(), 2, **QUIET)


def test_a_model_survives_bad_input():
    """An error is raised before anything is changed."""
    model = after_forward(mlp())
    before = model.W1.copy()
    for bad in (np.full(M, C), np.full(M, -1)):
        with pytest.raises(ValueError, match="y"):
            model.backward(DATA.X.T, bad)
        with pytest.raises(ValueError, match="y_train"):
            model.train(DATA.X.T, bad, 5)
    np.testing.assert_array_equal(model.W1, before)


# ---------------------------------------------------------------- what is taken as it is

ONE_MORE = np.zeros(M * N * 8 + 1, np.uint8)


BYTE_VALUES = np.arange(256) / 255


def quick(batch, dtype=FLOAT64):
    return quick_batch(batch, dtype, N, C, BYTE_VALUES.astype(dtype))


@pytest.mark.parametrize("size", [M, 20_000])
def test_a_batch_that_needs_no_conversion_is_taken_as_it_is(size, dtype):
    X, y = np.zeros((size, N), dtype), np.arange(size) % C
    for batch in ((X, y), [X, y]):
        assert all(a is b for a, b in zip(quick(batch, dtype), batch))
    for array in (X, y):
        array.flags.writeable = False
    assert quick((X, y), dtype)[0] is X


@pytest.mark.parametrize(
    "change",
    [
        lambda X, y: (X.astype(np.float32), y), lambda X, y: (X.astype(">f8"), y), lambda X, y: (X, y.astype(">i8")),
        lambda X, y: (X, y.astype(np.int32)), lambda X, y: (X, y.astype(np.uint8)), lambda X, y: (torch.tensor(X), y),
        lambda X, y: (torch.tensor(X, dtype=torch.float32), torch.tensor(y)), lambda X, y: (X.reshape(M, 1, 1, N), y),
        lambda X, y: (torch.tensor(X).reshape(M, 1, N), torch.tensor(y, dtype=torch.int32)),
    ],
)  # fmt: skip
def test_a_batch_that_is_soon_converted_is_taken(change):
    X, y = np.arange(M * N).reshape(M, N) / 4, np.arange(M) % C
    got = quick(change(X, y))
    for array, expected in zip(got, (X, y)):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


def test_bytes_of_a_batch_are_scaled(dtype):
    X = np.arange(M * N, dtype=np.uint8).reshape(M, N)
    got, _ = quick((X, np.zeros(M, int)), dtype)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, BYTE_VALUES.astype(dtype)[X])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda X, y: (with_one(X, np.nan), y), lambda X, y: (with_one(X, np.inf, -1), y),
        lambda X, y: (X, np.where(np.arange(M) == M - 1, C, y)), lambda X, y: (X, np.where(np.arange(M) == 0, -1, y)),
        lambda X, y: (X, np.where(np.arange(M) == 0, -1, y).astype(np.int8)), lambda X, y: (X, y.astype(np.uint64)),
        lambda X, y: (X, y[1:]), lambda X, y: (X[:, :-1], y), lambda X, y: (X[:0], y[:0]), lambda X, y: (X[0], y),
        lambda X, y: (np.asfortranarray(X), y), lambda X, y: (X, np.repeat(y, 2)[::2]),
        lambda X, y: (ONE_MORE[1:].view(float).reshape(M, N), y), lambda X, y: (X.tolist(), y), lambda X, y: (X, y.tolist()),
        lambda X, y: (X.view(np.matrix), y), lambda X, y: (None, None), lambda X, y: (X, y, y), lambda X, y: (X,),
        lambda X, y: (X, y[:, None]), lambda X, y: (X, y.astype(float)), lambda X, y: (X, y > 0),
        lambda X, y: (torch.tensor(X, requires_grad=True), y), lambda X, y: (torch.tensor(X).to_sparse(), y),
        lambda X, y: (X.astype(np.float16), y), lambda X, y: (X.astype(np.int32), y), lambda X, y: (X.astype(complex), y),
        lambda X, y: (torch.tensor(X, device="meta"), y), lambda X, y: ({"X": X}, y), lambda X, y: ("X", "y"),
    ],
)  # fmt: skip
def test_any_other_batch_has_to_pass_the_other_checks(spoil):
    X, y = np.zeros((M, N)), np.arange(M) % C
    assert quick(spoil(X, y)) is None


def test_numbers_that_float32_can_not_hold_have_to_pass_the_other_checks():
    assert quick((np.full((M, N), 1e300), np.zeros(M, int)), np.dtype(np.float32)) is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, y: (with_one(X, np.nan), y), "X of a batch must be finite"),
        (lambda X, y: (X, y - 1), "y of a batch must lie in 0"),
        (lambda X, y: (X, y + 1), "y of a batch must lie in 0"),
        (lambda X, y: (X[:, :-1], y), "X of a batch must have"),
        (lambda X, y: (X, y[1:]), "y of a batch must have shape"),
    ],
)
def test_a_later_batch_is_checked_like_the_first(spoil, message):
    model, good = deep(), (np.ascontiguousarray(DATA.X), DATA.labels)
    with pytest.raises(ValueError, match=message):
        model.train([good, good, spoil(*good)], 1, **QUIET)
    assert np.isfinite(model.W1).all()


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_batches_of_every_kind_train_alike(kind):
    """Batches that are taken as they are, and batches that are converted, in turn: the same bits."""
    X, y = np.ascontiguousarray(DATA.X), DATA.labels
    ways = [
        [(X, y), (X[:5], y[:5]), (X, y)],
        [
            (X.tolist(), y.tolist()),
            (np.asfortranarray(X)[:5], y[:5].astype(np.uint8)),
            [torch.tensor(X), torch.tensor(y)] if kind == "tensor" else [X[::-1].copy()[::-1], y.astype(np.int16)],
        ],
        [(X, y), [X[:5], y[:5]], (np.asfortranarray(X), y)],
    ]
    models = [fastclf.DeepMLPClassifier(N, H, C, random_state=0) for _ in ways]
    losses = [model.train(batches, 4, 0.3, **QUIET) for model, batches in zip(models, ways)]
    assert losses[0] == losses[1] == losses[2]
    for model in models[1:]:
        np.testing.assert_array_equal(model.W1, models[0].W1)
        np.testing.assert_array_equal(model.A2, models[0].A2)


# ---------------------------------------------------------------- small ones


def test_counts():
    assert as_count(3, "n") == as_count(np.int8(3), "n") == 3


def test_numbers_in_tensors():
    assert as_count(torch.tensor(3), "n") == 3
    assert as_scalar(torch.tensor(0.5), "x") == 0.5
    assert type(as_scalar(torch.tensor(0.5), "x")) is float


def test_scalars():
    for value in (0.5, np.float32(0.5), np.array(0.5)):
        assert as_scalar(value, "x") == 0.5
        assert type(as_scalar(value, "x")) is float
    assert as_scalar(3, "x") == 3
    assert as_scalar(math.inf, "x", finite=False) == math.inf
    assert as_scalar(-1.0, "x") == -1


def test_draws():
    expected = np.random.RandomState(4).randn(2, 3)
    np.random.seed(4)
    for state in (None, 4, np.int64(4), np.random.RandomState(4)):
        np.testing.assert_array_equal(as_random(state).standard_normal((2, 3)), expected)
    generator = np.random.default_rng(4)
    np.testing.assert_array_equal(
        as_random(np.random.default_rng(4)).standard_normal((2, 3)), generator.standard_normal((2, 3))
    )  # fmt: skip


@pytest.mark.parametrize(
    ("n_jobs", "expected"), [(None, 3), (1, 1), (2, 2), (-1, 3), (-2, 2), (-3, 1), (-9, 1), (99, 4)]
)
def test_jobs(n_jobs, expected, monkeypatch):
    import numba

    monkeypatch.setattr(pool, "usable", lambda: 5)
    monkeypatch.setattr(pool._pool(), "allowed", lambda: 3)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 4)
    assert threads_module.resolve_n_jobs(n_jobs) == expected
    least = threads_module.SERIAL_BELOW[pool.layer()[0]]
    assert threads_module.threads_for(least, n_jobs) == expected
    assert threads_module.threads_for(least - 1, n_jobs) == 1
