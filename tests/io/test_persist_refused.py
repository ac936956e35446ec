"""Files that are no models: damaged, made up or made to do harm. All are refused; none does anything else."""

import contextlib
import hashlib
import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load as tensors_of
from safetensors.numpy import save as packed

import fastclf
from fastclf import FastLinearClassifier, FastMLPClassifier, ImageLinearClassifier
from fastclf.io import persist

from .test_persist import LABELS, C, H, N, fitted, header, lab_model

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model"


# ---------------------------------------------------------------- what is not loaded


def signed(document, tensors):
    """A file with its checksum, whatever it says: what a stranger could make."""
    text = document if isinstance(document, str) else json.dumps({**document, "sha256": ""})
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return packed(tensors, {"fastclf": text.replace('"sha256": ""', f'"sha256": "{digest.hexdigest()}"', 1)})


def refused(path, data, message):
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as raised:
        fastclf.load(path)
    assert str(path) in str(raised.value)


MODELS = {
    "image": lambda: lab_model("ImageLinearClassifier"),
    "deep": lambda: lab_model("DeepMLPClassifier", np.float32),
    "result": lambda: (np.arange(6.0).reshape(3, 2), [0.5, 0.25]),
    "linear": lambda: fitted(
        FastLinearClassifier, LABELS["names"], average=True, random_state=np.random.RandomState(0)
    ),
    "sparse": lambda: fitted(FastLinearClassifier, LABELS["objects"], penalty="l1", alpha=0.05).sparsify(),
    "mlp": lambda: fitted(
        FastMLPClassifier, hidden_layer_sizes=(4, 3), class_weight={0: 1, 1: 2, 2: 3}, n_iter_no_change=math.inf
    ),
    "names": lambda: fitted(FastMLPClassifier, LABELS["names"], hidden_layer_sizes=2),
    "sgd": lambda: fitted(FastMLPClassifier, LABELS["two"], hidden_layer_sizes=3, solver="sgd", early_stopping=True),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of each kind, as bytes and as what is in it."""
    made = {}
    for name, make in MODELS.items():
        path = tmp_path_factory.mktemp("files") / name
        fastclf.save(make(), path)
        made[name] = path.read_bytes(), *header(path)
    return made


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        fastclf.load(tmp_path / "nothing")
    with pytest.raises(OSError, match=tmp_path.name):
        fastclf.load(tmp_path)
    with pytest.raises(TypeError, match="path must be a str or os"):
        fastclf.load(3)


@pytest.mark.parametrize("name", ["result", "image", "sgd"])
def test_truncated_files(name, files, path):
    data = files[name][0]
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="it is not a whole safetensors file"):
            fastclf.load(path)
    refused(path, data + b"\0", "it is not a whole safetensors file")


@pytest.mark.parametrize("name", ["result", "image"])
def test_every_flipped_byte_is_found(name, files, path):
    data = bytearray(files[name][0])
    for place in range(len(data)):
        for bit in (0x01, 0x80):
            data[place] ^= bit
            refused(path, data, "can not be loaded: ")
            data[place] ^= bit
    path.write_bytes(data)
    fastclf.load(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"\0" * 100,
        b"\xff" * 100,
        b"PK\x03\x04" + b"\0" * 100,
        pickle.dumps([1, 2, 3]),
        (2**62).to_bytes(8, "little") + b"{}",
        (2**63).to_bytes(8, "little") + b"{" * 100,
        (10**8).to_bytes(8, "little") + b"[" * 1000,
        (2).to_bytes(8, "little") + b"[]",
        (100_000).to_bytes(8, "little") + b'{"a":' + b"[" * 99_995,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_files_that_are_something_else(data, path):
    refused(path, data, "it is not a whole safetensors file")


def test_safetensors_files_of_others(path):
    for metadata in (None, {}, {"format": "pt"}):
        refused(
            path, packed({"a": np.ones(3)}, metadata), "it is a safetensors file, but none that fastclf has written"
        )
    text = '{"__metadata__":null}'
    refused(path, len(text).to_bytes(8, "little") + text.encode(), "none that fastclf has written")
    bfloat16 = '{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    refused(
        path, len(bfloat16).to_bytes(8, "little") + bfloat16.encode() + b"\0\0", "it is not a whole safetensors file"
    )


def test_a_newer_format_says_what_to_do(files, path):
    _, document, tensors = files["image"]
    newer = {**document, "format": 2, "more": 1}
    refused(
        path,
        signed(newer, tensors),
        f"it has format 2, and fastclf {fastclf.__version__} reads up to 1: update fastclf",
    )


HEADER = '{"format": 1, "sha256": "", "fastclf": "", "kind": '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: Expecting value"),
        ("nonsense", "not JSON: Expecting value"),
        ("[]", 'must be an object with a "format"'),
        ("null", 'must be an object with a "format"'),
        ("[" * 100_000, "recursion"),
        ('{"format": ' + '{"a":' * 50_000 + "1" + "}" * 50_001, "recursion|format"),
        ('{"format": NaN}', "not JSON: NaN is no number"),
        ('{"format": "1"}', 'must be an object with a "format"'),
        ('{"format": true}', 'must be an object with a "format"'),
        ('{"format": 0}', 'must be an object with a "format"'),
        ('{"format": 1}', "its document must have sha256, kind, fastclf, content"),
        (HEADER + '"MLPClassifier", "content": {}, "x": 1}', r"its document must not have \['x'\]"),
        (HEADER.replace('""', "1", 1) + '"MLPClassifier", "content": {}}', "its checksum is another"),
        (HEADER.replace('""', '"0"', 1) + '"MLPClassifier", "content": {}}', "its checksum is another"),
        (HEADER + '"os.system", "content": {}}', "it is not a model: its kind is 'os.system'"),
        (HEADER + '"Leaky", "content": {}}', "it is not a model: its kind is 'Leaky'"),
        (HEADER + '["MLPClassifier"], "content": {}}', "it is not a model: its kind is"),
        (HEADER + '"MLPClassifier", "content": []}', '"content" must be an object'),
        (HEADER + '"MLPClassifier", "content": {}}', "must have arguments, progress, layers"),
    ],
    ids=lambda text: text[:60],
)
def test_documents_that_make_no_sense(text, message, path):
    refused(path, signed(text, {"a": np.ones(1)}), message)


#: Places in a document, what is put there, and what is said of it.
LIES = [
    ("image", "layers.0.dict.weight", {"array": "layers.0.bias"}, "arrays|missing|weights of shape"),
    ("image", "layers.0.dict.weight", {"array": "nothing"}, "the tensor 'nothing' is missing"),
    ("image", "layers.0.dict.weight", {"array": ["layers.0.weight"]}, "is missing"),
    ("image", "layers.0.dict.weight", [1.0], "must be arrays of float64 or float32"),
    ("image", "layers.0.dict.weight", {"pickle": "x"}, "no values of the kind 'pickle'"),
    ("image", "layers.0.dict.weight", {"array": "a", "tuple": []}, "must have one entry"),
    ("image", "layers.0.dict.weight", {}, "must have one entry"),
    ("image", "layers", [], "layers must be a list of at least one"),
    ("image", "layers", None, "layers must be a list of at least one"),
    ("image", "layers.0", 1, "layer 0 must be a dict"),
    ("image", "arguments.dict.n_jobs", 0, "n_jobs must not be 0"),
    ("image", "arguments.dict.n_jobs", "os", "n_jobs must be None or a whole number"),
    ("image", "arguments.dict.input_size", 10**15, "input_size"),
    ("image", "arguments.dict.dtype", "object", "dtype"),
    ("image", "arguments.dict.random_state", 1, "random_state"),
    ("image", "arguments.dict.__class__", 1, "__class__"),
    ("image", "arguments", [1], "mapping"),
    ("image", "arguments", {"items": [[1, 2]]}, "strings"),
    ("image", "progress.dict.best_loss", 1.0, r"progress must not have \['best_loss'\]"),
    ("image", "more", 1, r"ImageLinearClassifier must not have \['more'\]"),
    ("image", "trained", 1, "trained must be True or False, got 1"),
    ("deep", "progress.dict.best_loss", "low", "best_loss must be a number, got 'low'"),
    ("deep", "progress.dict.best_loss", {"float": "1e5"}, "'1e5' is no number"),
    ("result", "losses", None, "losses must be a list of floats|nothing refers"),
    ("result", "losses", {"array": "losses"}, "losses must be a list of floats"),
    ("result", "theta", {"floats": "theta"}, "theta must be a vector of float64"),
    ("result", "theta", {"array": "losses"}, "theta must have shape|missing"),
    ("linear", "fitted.dict.classes_", {"strings": ["a", "b", "c"]}, "nothing refers to its tensors"),
    ("linear", "fitted.dict.classes_", {"strings": [1, 2, 3]}, "a list of strings must be one"),
    ("linear", "fitted.dict.t_", {"float": "nan"}, "t_ must be a number from 1 on"),
    ("linear", "fitted.dict.t_", 1e300, "t_ must be a number from 1 on"),
    ("linear", "fitted.dict.scale_", -1.0, "scale_ must be a positive number"),
    ("linear", "fitted.dict.n_features_in_", 10**12, "n_features_in_ must be 6"),
    ("linear", "fitted.dict._mean", {"tuple": [1, 2, 3]}, "_mean must be of float64"),
    ("linear", "fitted.dict._mean", {"tuple": []}, "_mean must be an average"),
    ("linear", "fitted.dict._last", {"tuple": [1, 2]}, "_last must be of float64"),
    ("linear", "fitted.dict._last", 3, "_last must be a pair"),
    ("linear", "fitted.dict.feature_names_in_", {"strings": ["a"]}, "feature_names_in_ must be 6 names"),
    ("linear", "fitted.dict.feature_names_in_", ["a"] * 6, "feature_names_in_ must be an array of strings"),
    ("linear", "fitted.dict.encoding_", 1, "encoding_ must be a list of columns"),
    ("linear", "fitted.dict.encoding_", [["a", None]] * 6, "encoding_ must be a list of columns"),
    ("linear", "fitted.dict.encoding_", [{"tuple": [1, None]}] * 6, "encoding_ must be a list of columns"),
    ("linear", "fitted.dict.encoding_", [{"tuple": ["a", ["y", "x"]]}] * 3, "encoding_ must be a list of columns"),
    ("linear", "fitted.dict.encoding_", [{"tuple": ["a", []]}] * 6, "encoding_ must be a list of columns"),
    ("linear", "fitted.dict.encoding_", [{"tuple": ["a", None]}] * 5, "encoding_ must be columns that become 6 features"),
    ("linear", "fitted.dict.more", 1, r"fitted must not have \['more'\]"),
    ("linear", "fitted", 1, "fitted must be a dict"),
    ("linear", "parameters.dict.alpha", "much", "'alpha' parameter"),
    ("linear", "parameters.dict.batch_size", -5, "'batch_size' parameter"),
    ("linear", "parameters.dict.kernel", 1, "unexpected keyword argument 'kernel'"),
    ("linear", "parameters", None, "mapping"),
    ("linear", "parameters.dict.random_state.RandomState.1", 625, "a position among them"),
    ("linear", "parameters.dict.random_state.RandomState.1", -1, "a position among them"),
    ("linear", "parameters.dict.random_state.RandomState.0", [1] * 624, "must have 624 words"),
    ("linear", "parameters.dict.random_state.RandomState", [], "a list of 4"),
    ("sparse", "fitted.dict.coef_.csr_matrix.3", {"tuple": [3, 2]}, "n_features_in_ must be 2, got 6"),
    ("sparse", "fitted.dict.coef_.csr_matrix.3", {"tuple": [3, 10**15]}, "n_features_in_ must be 1000000000000000"),
    ("sparse", "fitted.dict.coef_.csr_matrix.3", {"tuple": [10**15, 6]}, "."),
    ("sparse", "fitted.dict.coef_.csr_matrix.3", {"tuple": [True, 6]}, "a shape of two whole numbers"),
    ("sparse", "fitted.dict.coef_.csr_matrix.0", 1, "must have three vectors"),
    ("linear", "fitted.dict.validation_scores_", [1], "validation_scores_ must be a list of floats or None"),
    ("linear", "fitted.dict.n_iter_", True, "n_iter_ must be a whole number"),
    ("sgd", "fitted.dict.out_activation_", "softmax", "2 classes can not have 1 outputs of a softmax"),
    ("names", "fitted.dict.out_activation_", "logistic", "3 classes can not have 3 outputs of a logistic"),
    ("mlp", "fitted.dict.out_activation_", "relu", "out_activation_ must be logistic or softmax"),
    ("mlp", "fitted.dict.t_", 1.5, "t_ must be a whole number"),
    ("mlp", "fitted.dict.n_iter_", -1, "n_iter_ must be a whole number"),
    ("mlp", "fitted.dict.best_loss_", "a", "best_loss_ must be a number or None"),
    ("mlp", "fitted.dict.loss_", [1], "loss_ must be a number"),
    ("mlp", "fitted.dict.validation_scores_", [1], "validation_scores_ must be a list of floats or None"),
    ("mlp", "fitted.dict.optimiser.dict.kind", "in place", "the state of the optimiser does not fit"),
    ("mlp", "fitted.dict.optimiser.dict.kind", ["adam"], "kind of the optimiser must be"),
    ("mlp", "fitted.dict.optimiser.dict.t", -1, "t of the optimiser must be"),
    ("mlp", "fitted.dict.optimiser.dict.learning_rate", {"float": "nan"}, "learning_rate of the optimiser must be"),
    ("mlp", "fitted.dict.optimiser", 1, "optimiser must be a dict"),
    ("mlp", "fitted.dict.watch.dict.sign", 2, "sign of the watch must be"),
    ("mlp", "fitted.dict.watch.dict.count", 0.5, "count of the watch must be"),
    ("mlp", "parameters.dict.class_weight.items", 1, "pairs must be in a list"),
    ("mlp", "parameters.dict.class_weight.items.0", [1], "a list of 2"),
    ("mlp", "parameters.dict.class_weight.items.0.0", [1], "unhashable"),
    ("mlp", "parameters.dict.alpha", {"scalar": 1}, "a scalar must have no dimensions"),
    ("mlp", "parameters.dict.alpha", {"text": "fitted.classes_"}, "must be characters"),
]  # fmt: skip


def put(document, place, value):
    """A copy of a document with another value at a place; what has no such key gets it."""
    made = json.loads(json.dumps(document))
    at = made["content"]
    *way, last = (int(key) if key.isdigit() else key for key in place.split("."))
    for key in way:
        at = at[key]
    at[last] = value
    return made


@pytest.mark.parametrize(("name", "place", "value", "message"), LIES, ids=lambda v: str(v)[:40])
def test_lies_in_a_document(name, place, value, message, files, path):
    _, document, tensors = files[name]
    refused(path, signed(put(document, place, value), tensors), message)


def test_a_value_that_is_nested_deeply(files, path):
    _, document, tensors = files["deep"]
    text = json.dumps({**put(document, "progress.dict.best_loss", "here"), "sha256": ""})
    for depth in (300, 900):
        refused(
            path, signed(text.replace('"here"', '{"tuple":[' * depth + "1" + "]}" * depth), tensors), "recursion|number"
        )


#: A tensor's name, what takes its place, and what is said of it; None for a tensor that is not there.
FALSE_TENSORS = [
    ("image", "layers.0.weight", None, "the tensor 'layers.0.weight' is missing"),
    ("image", "layers.0.weight", np.ones((C, N, 1)), "layer 0 can not have weights of shape"),
    ("image", "layers.0.weight", np.ones((C + 1, N)), "biases of shape"),
    ("image", "layers.0.weight", np.ones((0, N)), "layer 0 can not have weights of shape"),
    ("image", "layers.0.weight", np.ones((C, 0)), "layer 0 can not have weights of shape"),
    ("image", "layers.0.weight", np.ones((C, N), np.float32), "layers must have one dtype, got float32 and float64"),
    ("image", "layers.0.weight", np.ones((C, N), int), "must be arrays of float64 or float32"),
    ("image", "layers.0.weight", np.ones((C, N), np.float16), "must be arrays of float64 or float32"),
    ("image", "layers.1.weight", np.ones((C, N)), "nothing refers to its tensors"),
    ("deep", "layers.1.weight", np.ones((H, H + 1), np.float32), "layer 1 must take the 5 outputs of the one below"),
    ("result", "theta", np.ones(4), "theta must have shape"),
    ("linear", "fitted.coef_", np.ones((C, N + 1)), "n_features_in_ must be 7"),
    ("linear", "fitted.coef_", np.ones((C + 1, N)), "coef_ must have 3 rows for 3 classes"),
    ("linear", "fitted.coef_", np.ones((C, N), int), "coef_ must be a matrix of float64"),
    ("linear", "fitted.coef_", np.ones((C, N), np.float32), "must be of float32"),
    ("linear", "fitted.intercept_", np.ones(C + 1), "coef_ and intercept_ must be of float64 and have shape"),
    ("linear", "fitted.classes_", np.full((3, 8), 0x110000, np.uint32), "must be characters"),
    ("linear", "fitted.classes_", np.full((3, 8), 65, np.uint32), "classes_ must be sorted"),
    ("linear", "fitted.classes_", np.full((2, 8), 65, np.uint32), "classes_ must be sorted"),
    ("linear", "fitted.classes_", np.full((1, 8), 65, np.uint32), "classes_ must be an array of at least 2"),
    ("linear", "fitted.classes_", np.uint32(65), "must be characters"),
    ("linear", "fitted._mean.0", np.ones((C, N + 1)), "_mean must be of float64 and have shape"),
    ("linear", "fitted._last.1", np.ones(C, np.float32), "_last must be of float64 and have shape"),
    ("linear", "fitted.loss_curve_", np.ones((2, 2)), "must be a vector of float64"),
    ("linear", "parameters.random_state.0", np.ones(623, np.uint32), "must have 624 words"),
    ("sparse", "fitted.coef_.1", np.full(3, 99, np.int32), "."),
    ("sparse", "fitted.coef_.1", np.full(3, -1, np.int32), "."),
    ("sparse", "fitted.coef_.2", np.array([0, 99, 1, 3], np.int32), "."),
    ("sparse", "fitted.coef_.2", np.array([0.0, 1, 2, 3]), "whole numbers as indices"),
    ("mlp", "fitted.classes_", np.arange(4), "4 classes can not have 3 outputs of a softmax"),
    ("mlp", "fitted.classes_", np.arange(2), "2 classes can not have 3 outputs of a softmax"),
    ("mlp", "fitted.classes_", np.array([0, 2, 1]), "classes_ must be sorted"),
    ("mlp", "fitted.classes_", np.array([0, 1, 1]), "classes_ must be sorted"),
    ("mlp", "fitted.classes_", np.array([0, 1, np.nan]), "classes_ must be finite"),
    ("mlp", "fitted.classes_", np.arange(3).reshape(3, 1), "classes_ must be an array of at least 1"),
    ("mlp", "fitted.layers.0.weight", np.ones((4, N + 1)), "n_features_in_ must be 7"),
    ("mlp", "fitted.layers.2.weight", np.ones((3, 4)), "layer 2 must take the 3 outputs of the one below, not 4"),
    ("mlp", "fitted.optimiser.state", np.ones(7), "the state of the optimiser does not fit"),
    ("mlp", "fitted.optimiser.state", np.ones(3, np.float32), "the state of the optimiser does not fit"),
    ("sgd", "fitted.classes_", np.arange(3), "3 classes can not have 1 outputs of a logistic"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tensor", "value", "message"), FALSE_TENSORS, ids=lambda v: str(v)[:40])
def test_false_tensors(name, tensor, value, message, files, path):
    _, document, tensors = files[name]
    changed = {**tensors, tensor: np.asarray(value)} if value is not None else {**tensors}
    if value is None:
        del changed[tensor]
    refused(path, signed(document, changed), message)


def test_complex_numbers(files, path):
    _, document, tensors = files["mlp"]
    changed = {**tensors, "fitted.classes_": np.arange(3).astype(np.complex64)}
    try:
        content = signed(document, changed)
    except SafetensorError as error:
        pytest.skip(f"this safetensors writes no complex numbers: {error}")
    refused(path, content, "fitted.classes_ must be real numbers, got complex64")


def test_a_deep_network_whose_hidden_layers_differ(files, path):
    """The class has one size for both: made of such a file, it would be larger than the file."""
    _, document, tensors = files["deep"]
    widths = {"layers.0.weight": (10**6, 1), "layers.0.bias": (10**6,), "layers.1.weight": (2, 10**6)}
    widths |= {"layers.1.bias": (2,), "layers.2.weight": (C, 2)}
    changed = {**tensors, **{name: np.zeros(shape, np.float32) for name, shape in widths.items()}}
    refused(
        path, signed(document, changed), "DeepMLPClassifier has the widths n-h-h-c, these layers have 1-1000000-2-3"
    )


def test_layers_of_another_class(files, path):
    _, document, tensors = files["deep"]
    for kind in ("ImageLinearClassifier", "MLPClassifier"):
        changed = {**put(document, "progress", {"dict": {}}), "kind": kind}
        refused(path, signed(changed, tensors), f"{kind} has the widths .*, these layers have 6-5-5-3")
    refused(path, signed({**document, "kind": "FastMLPClassifier"}, tensors), "must have parameters, fitted")


def test_a_parameter_that_a_file_does_not_name_has_its_default(files, path):
    """As in files of an older version, which did not have it."""
    for name, way, default in (("image", "arguments", "n_jobs"), ("mlp", "parameters", "n_jobs")):
        _, document, tensors = files[name]
        made = json.loads(json.dumps(document))
        del made["content"][way]["dict"][default]
        path.write_bytes(signed(made, tensors))
        assert getattr(fastclf.load(path), default) is None


# ---------------------------------------------------------------- by chance

POOL = [
    None,
    True,
    0,
    -1,
    1,
    3,
    1.5,
    2**63,
    10**30,
    "",
    "adam",
    "softmax",
    [],
    {},
    [[]],
    {"float": "nan"},
    {"tuple": []},
]


def places(value, way=()):
    """Every place in a document, as keys on the way there."""
    yield way
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*way, key))


def mutated_document(rng, document):
    """A value or a key replaced, removed, repeated, or swapped with another one of the same document."""
    made = json.loads(json.dumps(document))
    ways = [*places(made["content"], ("content",))][1:]

    def parent(way):
        at = made
        for key in way[:-1]:
            at = at[key]
        return at

    way, other = (ways[i] for i in rng.integers(len(ways), size=2))
    at, key = parent(way), way[-1]
    match rng.integers(4):
        case 0:
            at[key] = POOL[rng.integers(len(POOL))]
        case 1:
            del at[key]
        case 2:
            at[key] = json.loads(json.dumps(parent(other)[other[-1]]))
        case 3 if isinstance(at, dict):
            at[["float", "floats", "array", "text", "scalar", "items", "csr_matrix"][rng.integers(7)]] = at.pop(key)
    return made


def mutated_tensors(rng, tensors):
    """A tensor cut, reshaped, of another dtype, with other numbers, removed, or in place of another one."""
    made = dict(tensors)
    name, other = (list(made)[i] for i in rng.integers(len(made), size=2))
    array = made[name]
    match rng.integers(6):
        case 0:
            made[name] = array[: len(array) // 2]
        case 1:
            made[name] = array.reshape(-1)
        case 2:
            made[name] = array.astype([np.float32, np.float64, np.int64, np.uint8, np.bool_][rng.integers(5)])
        case 3:
            raw = bytearray(array.tobytes())
            for place in rng.integers(len(raw), size=min(3, len(raw))):
                raw[place] = rng.integers(256)
            made[name] = np.frombuffer(bytes(raw), array.dtype).reshape(array.shape)
        case 4:
            del made[name]
        case 5:
            made[name] = made[other]
    return {name: np.ascontiguousarray(array) for name, array in made.items()}


def use(model):
    """What a user would do with a model that has been loaded; it may object, as it may to any user."""
    try:
        if isinstance(model, tuple):
            np.ones((2, len(model[0]))) @ model[0]
        elif isinstance(model, (FastLinearClassifier, FastMLPClassifier)):
            X = np.ones((6, getattr(model, "n_features_in_", 2)))
            if hasattr(model, "classes_"):
                assert model.predict_proba(X).shape[0] == 6
                model.set_params(n_jobs=1).partial_fit(X, np.resize(model.classes_, 6))
        elif isinstance(model, ImageLinearClassifier):
            fastclf.train(model, np.ones((4, model.W.shape[1])), [0] * 4, 2, 0.1, verbose=False)
        else:
            model.forward(np.ones((model.W1.shape[1], 4)))
    except (ValueError, TypeError, MemoryError):
        pass


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_mutated_files_are_refused_or_make_a_model_that_can_be_used(name, files, path):
    _, document, tensors = files[name]
    rng, loaded = np.random.default_rng([*name.encode()]), 0
    for _ in range(400):
        made = mutated_document(rng, document) if rng.random() < 0.6 else document
        changed = mutated_tensors(rng, tensors) if made is document else tensors
        path.write_bytes(signed(made, changed))
        with contextlib.suppress(ValueError):
            model = fastclf.load(path)
            loaded += 1
            use(model)
    assert 0 < loaded < 400


@pytest.mark.parametrize("name", MODELS)
def test_mutated_bytes_are_refused(name, files, path):
    rng = np.random.default_rng([*name.encode()])
    whole = files[name][0]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 5)):
            match rng.integers(4):
                case 0:
                    data[rng.integers(len(data))] = rng.integers(256)
                case 1:
                    del data[rng.integers(len(data)) :]
                case 2:
                    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
                case 3:
                    start = rng.integers(len(data))
                    data[start:start] = data[start : start + rng.integers(20)]
            if not data:
                break
        if bytes(data) != whole:
            refused(path, data, "can not be loaded: ")


def test_the_checksum_of_these_tests_is_the_files(files):
    """Else all of the lies above would be refused for it alone."""
    for data, document, tensors in files.values():
        assert signed(document, tensors) == data


class Bomb:
    def __reduce__(self):
        return os.abort, ()


def test_nothing_is_executed(path):
    """A pickle in place of a file is not unpickled."""
    refused(path, pickle.dumps(Bomb()), "it is not a whole safetensors file")
    source = Path(persist.__file__).read_text() + Path(persist.__file__).with_name("codec.py").read_text()
    assert not any(word in source for word in ("import pickle", "eval(", "exec(", "import_module"))


def test_tensors_of_the_file_are_read_by_other_tools(files):
    """The weights are there for anybody, by their names."""
    assert set(tensors_of(files["image"][0])) == {"layers.0.weight", "layers.0.bias"}
