"""What users do by accident, or to old objects, each with what has to come of it. Run as a script, it makes the attacks.

An attack is a function; ``refused`` says the error that it must meet, ``survived`` that it must end well. They run in a
process of their own, because one that succeeds ends the interpreter.
"""

import copy
import io
import itertools
import json
import os
import pickle
import resource
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import sparse

import fastclf
from fastclf import Batches, DeepMLPClassifier, FastLinearClassifier, FastMLPClassifier, datasets


class Attack(NamedTuple):
    run: Callable
    error: str | None  # the name of the error's type; None: nothing is raised
    message: str  # what the error's message must hold


ATTACKS: dict[str, Attack] = {}


def refused(error: str, message: str, **names):
    """Register an attack that meets an error; of ``names``, keyword arguments for the function, each is one attack."""

    def register(run):
        for name, how in (names or {"": {}}).items():
            ATTACKS[f"{run.__name__}{f'[{name}]' if name else ''}"] = Attack(partial(run, **how), error, message)
        return run

    return register


def survived(run):
    ATTACKS[run.__name__] = Attack(run, None, "")
    return run


RNG = np.random.default_rng(0)
M, N, C = 300, 12, 3
X, Y = RNG.standard_normal((M, N)), RNG.integers(0, C, M)


def deep(loader, epochs=3, callback=None):
    model = DeepMLPClassifier(N, 7, C, random_state=0)
    return model, model.train(loader, epochs, 0.1, verbose=False, callback=callback, patience=100)


# ---------------------------------------------------------------- the order that a loader gives


def loader(**how):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    return DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=32, **how)


@refused("ValueError", "train_loader")
def sampler_beyond_the_end():
    from torch.utils.data import SequentialSampler

    deep(loader(sampler=SequentialSampler(range(400))))


@refused("ValueError", "train_loader")
def sampler_far_beyond_the_end():
    from torch.utils.data import RandomSampler

    deep(loader(sampler=RandomSampler(range(10**7), num_samples=300)))


@refused("ValueError", "train_loader")
def data_set_that_claims_too_much():
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    class Longer(TensorDataset):
        def __len__(self):
            return 10**6

    deep(DataLoader(Longer(torch.tensor(X), torch.tensor(Y)), batch_size=32))


@refused(
    "ValueError", "train_loader", beyond={"order": [0, M]}, far={"order": [2**62]}, before={"order": [-M - 1]},
    unsigned={"order": np.array([2**63], np.uint64)},
)  # fmt: skip
def order_of_a_subclass(order):
    class Own(Batches):
        def order(self):
            return np.asarray(order)

    deep(Own(X, Y, 32))


@refused("TypeError", "train_loader", floats={"order": [0.0, 1.0]}, matrix={"order": [[0, 1]]}, text={"order": ["a"]})
def order_that_is_none(order):
    class Own(Batches):
        def order(self):
            return np.asarray(order)

    deep(Own(X, Y, 32))


@survived
def order_from_the_end():
    class Own(Batches):
        def order(self):
            return np.arange(-1, -M - 1, -1)

    backwards = deep(Own(X, Y, 32))[1]
    assert backwards == deep(Batches(X[::-1], Y[::-1], 32))[1]


@survived
def batches_with_an_iter_of_their_own():
    class Own(Batches):
        def __iter__(self):
            yield X[:5], Y[:5]
            yield X[5:9], Y[5:9]

    assert deep(Own(X, Y, 32))[1] == deep([(X[:5], Y[:5]), (X[5:9], Y[5:9])])[1]


def replacing(**attributes):
    batches = Batches(X, Y, 32)

    def callback(epoch, loss, model):
        for name, value in attributes.items():
            setattr(batches, name, value)

    return deep(batches, callback=callback)


@refused(
    "ValueError", "", shorter_X={"X": X[:10]}, longer_X={"X": np.vstack([X, X])}, shorter_y={"y": Y[:10]},
    flat_X={"X": X[0]}, narrower={"X": X[:, :5]}, class_beyond={"y": Y + 1000}, class_before={"y": Y - 1},
    no_batch={"batch_size": 0},
    huge={"X": np.full_like(X, np.nan)},
)  # fmt: skip
def attributes_that_a_callback_replaces(**attributes):
    replacing(**attributes)


@survived
def attributes_that_a_callback_replaces_well():
    other = -X, (Y + 1) % C
    losses = replacing(X=other[0], y=other[1], batch_size=50)[1]
    model = DeepMLPClassifier(N, 7, C, random_state=0)
    first = model.train(Batches(X, Y, 32), 1, 0.1, verbose=False)
    model.best_loss = np.inf
    assert losses == first + model.train(Batches(*other, 50), 2, 0.1, verbose=False)


@refused("ValueError", "y of train_loader")
def labels_that_a_callback_changes_in_place():
    y = Y.copy()

    def callback(epoch, loss, model):
        y[:] = 10**9

    deep(Batches(X, y, 32), callback=callback)


@survived
def labels_of_other_trainers_that_a_callback_changes_in_place():
    for train in (
        lambda y, spoil: fastclf.MLPClassifier(N, 7, C).train(X.T, y, 3, callback=spoil, verbose=False),
        lambda y, spoil: fastclf.train(
            fastclf.ImageLinearClassifier(N, C), X, y, 3, 0.1, callback=spoil, verbose=False
        ),
    ):
        y = Y.copy()

        def spoil(*_, y=y):
            y[:] = 10**9

        train(y, spoil)


# ---------------------------------------------------------------- sparse matrices


def damaged(where):
    S = sparse.random(200, 50, 0.1, "csr", random_state=0)
    if where == "negative":
        S.indices[7] = -3
    elif where == "out of range":
        S.indices[7] = 50
    elif where == "far out of range":
        S.indices[7] = 2 * 10**9
    elif where == "falling":
        S.indptr[5] = S.indptr[4] - 3
    elif where == "the last":
        S.indptr[-1] = 10**9
    elif where == "the first":
        S.indptr[0] = -5
    elif where == "without an entry":
        S = sparse.csr_matrix(S.shape)
        S.indptr[3] = 10**6
    elif where == "short":
        S.indptr = S.indptr[:50]
    elif where == "fewer values":
        S.data = S.data[:20]
    elif where == "columns":
        S = S.tocsc()
        S.indices[7] = 10**9
    elif where == "pairs":
        S = S.tocoo()
        S.row[3] = 10**9
    return S


WHERE = [
    "negative", "out of range", "far out of range", "falling", "the last", "the first", "without an entry", "short",
    "fewer values", "columns", "pairs",
]  # fmt: skip


DAMAGED = {
    f"{kind.__name__}, {where}": {"kind": kind, "where": where}
    for kind in (FastLinearClassifier, FastMLPClassifier)
    for where in WHERE
}


@refused("ValueError", "X is a damaged", **DAMAGED)
def sparse_at_fit(kind, where):
    kind(max_iter=5).fit(damaged(where), np.arange(200) % 2)


@refused("ValueError", "X is a damaged", **DAMAGED)
def sparse_at_partial_fit(kind, where):
    model = kind()
    model.partial_fit(damaged(""), np.arange(200) % 2, classes=[0, 1])
    model.partial_fit(damaged(where), np.arange(200) % 2)


@refused("ValueError", "X is a damaged", **DAMAGED)
def sparse_at_predict(kind, where):
    kind(max_iter=5).fit(damaged(""), np.arange(200) % 2).predict(damaged(where))


# ---------------------------------------------------------------- attributes that the user has assigned

AS_IT_IS, PICKLED, COPIED = (lambda m: m), (lambda m: pickle.loads(pickle.dumps(m))), copy.deepcopy
AGES = {"after fit": AS_IT_IS, "after unpickling": PICKLED, "after deepcopy": COPIED}
CALLS = {
    "predict": lambda m: m.predict(X),
    "predict_proba": lambda m: m.predict_proba(X[:1]),
    "partial_fit": lambda m: m.partial_fit(X, Y),
    "to_torch": lambda m: m.to_torch(),
}
LINEAR = FastLinearClassifier(max_iter=5, random_state=0, tol=None).fit(X, Y)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MLP = FastMLPClassifier((9, 7), max_iter=3, random_state=0).fit(X, Y)

WRONG_LINEAR = {
    "coef_": {
        "transposed": lambda m: m.coef_.T, "shorter": lambda m: m.coef_[:, :5], "one row": lambda m: m.coef_[:1],
        "a row": lambda m: m.coef_[0], "NaN": lambda m: np.where(m.coef_ == m.coef_[1, 2], np.nan, m.coef_),
        "infinity": lambda m: m.coef_ / 0.0, "text": lambda m: "abc", "None": lambda m: None,
    },
    "intercept_": {
        "longer": lambda m: np.zeros(9), "one": lambda m: np.zeros(1), "a number": lambda m: 0.0,
        "NaN": lambda m: np.array([0, np.nan, 0]),
    },
    "classes_": {"fewer": lambda m: m.classes_[:2], "more": lambda m: np.arange(99), "a matrix": lambda m: np.eye(3)},
    "n_features_in_": {"fewer": lambda m: 5, "more": lambda m: 10**6},
}  # fmt: skip
WRONG_MLP = {
    "coefs_": {
        "transposed": lambda m: [W.T for W in m.coefs_], "shorter": lambda m: [m.coefs_[0][:5], *m.coefs_[1:]],
        "fewer units": lambda m: [m.coefs_[0][:, :2], *m.coefs_[1:]], "a layer less": lambda m: m.coefs_[1:],
        "a layer more": lambda m: [*m.coefs_, m.coefs_[-1]], "broadcast": lambda m: [m.coefs_[0][:1], *m.coefs_[1:]],
        "NaN": lambda m: [m.coefs_[0] * np.nan, *m.coefs_[1:]], "empty": lambda m: [],
        "NaN in the last": lambda m: [*m.coefs_[:2], np.where(m.coefs_[2] > 0.3, np.nan, m.coefs_[2])],
    },
    "intercepts_": {
        "longer": lambda m: [np.zeros(99), *m.intercepts_[1:]], "a number": lambda m: [np.zeros(1), *m.intercepts_[1:]],
        "NaN": lambda m: [*m.intercepts_[:2], m.intercepts_[2] * np.nan],
    },
    "classes_": {"fewer": lambda m: m.classes_[:2], "more": lambda m: np.arange(99), "a matrix": lambda m: np.eye(3)},
    "n_features_in_": {"fewer": lambda m: 5, "more": lambda m: 10**6},
    "n_outputs_": {"more": lambda m: 99},
    "scale_": {"NaN": lambda m: np.nan, "negative": lambda m: -1.0},
}  # fmt: skip


def assign(model, age, call, name, wrong):
    model = AGES[age](copy.deepcopy(model))
    setattr(model, name, wrong(model))
    CALLS[call](model)


for kind, model, table in (("linear", LINEAR, WRONG_LINEAR), ("mlp", MLP, WRONG_MLP)):
    for name, wrongs in table.items():
        for what, wrong in wrongs.items():
            for age in AGES:
                for call in CALLS:
                    if (name, call) == ("scale_", "to_torch") or (call == "to_torch" and what in ("NaN", "infinity")):
                        continue  # the layers are given away as they are
                    ATTACKS[f"assigned[{kind} {name} {what}, {age}, {call}]"] = Attack(
                        lambda a=(model, age, call, name, wrong): assign(*a),
                        "TypeError" if what in ("text", "None") else "ValueError",
                        name.rstrip("_") if name != "coefs_" or what != "empty" else "coefs",
                    )


@survived
def what_fits_is_used():
    for model, name, change in (
        (LINEAR, "coef_", lambda v: v * 2),
        (LINEAR, "coef_", lambda v: v.astype(np.float32)),
        (LINEAR, "coef_", lambda v: v.tolist()),
        (LINEAR, "intercept_", lambda v: v + 1),
        (MLP, "coefs_", lambda v: [W * 2 for W in v]),
        (MLP, "coefs_", lambda v: [v[0].astype(np.float32), *v[1:]]),
        (MLP, "coefs_", lambda v: [W.tolist() for W in v]),
        (MLP, "intercepts_", lambda v: [b + 1 for b in v]),
    ):
        for age in AGES.values():
            edited = age(copy.deepcopy(model))
            setattr(edited, name, change(getattr(edited, name)))
            assert edited.predict_proba(X).shape == (M, C)
            wanted, used = change(getattr(model, name)), getattr(edited, name)
            assert all(np.allclose(np.asarray(a), np.asarray(b)) for a, b in zip(used, wanted, strict=True))
            edited.partial_fit(X, Y)


@survived
def an_entry_of_a_list_is_assigned():
    for age in AGES.values():
        edited, expected = age(copy.deepcopy(MLP)), copy.deepcopy(MLP)
        edited.coefs_[1] = edited.coefs_[1] * 3
        expected.coefs_ = [expected.coefs_[0], expected.coefs_[1] * 3, expected.coefs_[2]]
        np.testing.assert_array_equal(edited.predict_proba(X), expected.predict_proba(X))
        edited.coefs_[0][:] = 0  # in place: the network's own memory
        assert not np.array_equal(edited.predict_proba(X), expected.predict_proba(X))


@refused(
    "ValueError", "coefs_[0]", view={"edit": lambda m: m.coefs_.__setitem__(0, m.coefs_[0][:5])},
    nan={"edit": lambda m: m.coefs_[0].__setitem__((3, 4), np.nan)},
)  # fmt: skip
def an_entry_of_a_list_is_spoilt(edit):
    model = copy.deepcopy(MLP)
    edit(model)
    model.predict(X)


def in_place(attribute, layer, rows, value, call):
    """One parameter of the last unit of a layer; the first sample's other sums stay finite."""
    model = copy.deepcopy(MLP)
    model.predict(X)
    getattr(model, attribute)[layer][..., -1:] = value
    getattr(model, call)(X[:rows])


for attribute, layer, rows, value, call in itertools.product(
    ("coefs_", "intercepts_"), range(3), (1, 2, M), (np.nan, np.inf), ("predict", "predict_proba")
):
    ATTACKS[f"in place[{attribute}[{layer}], {value}, {call}, {rows} rows]"] = Attack(
        partial(in_place, attribute, layer, rows, value, call), "ValueError", f"{attribute}[{layer}]"
    )


@refused("ValueError", "", seven={"name": "_last"}, eight={"name": "_mean"})
def what_an_average_keeps(name):
    model = FastLinearClassifier(average=True, max_iter=3, tol=None, random_state=0).fit(X, Y)
    W, b = np.zeros((3, 7)), np.zeros(3)
    setattr(model, name, (W, b, 5)[: 2 if name == "_last" else 3])
    model.partial_fit(X, Y)


@survived
def an_optimiser_of_other_layers():
    model, other = (
        copy.deepcopy(MLP),
        FastMLPClassifier((2,), max_iter=1, random_state=0).partial_fit(X, Y, None, [0, 1, 2]),
    )
    model._optimiser = other._optimiser
    model.partial_fit(X, Y)
    assert np.isfinite(model.predict_proba(X)).all()


# ---------------------------------------------------------------- files that become shorter


def shorter(train, offset=0, left=8 * N * 100):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "X")
        np.tile(X, (50, 1)).tofile(path)
        mapped = np.memmap(path, np.float64, "r", offset, (40 * M, N))
        y = np.tile(Y, 40)
        os.truncate(path, left)
        train(mapped, y)


TRAINERS = {
    "linear": lambda A, y: FastLinearClassifier(max_iter=3).fit(A, y),
    "mlp": lambda A, y: FastMLPClassifier(max_iter=3).fit(A, y),
    "predict": lambda A, y: LINEAR.predict(A),
    "mlp predict": lambda A, y: MLP.predict(A),
    "train_model": lambda A, y: fastclf.train_model(A, np.eye(C)[y], 0.1, 2, multiclass=True, verbose=False),
    "image": lambda A, y: fastclf.train(fastclf.ImageLinearClassifier(N, C), A, y, 2, 0.1, verbose=False),
    "deep": lambda A, y: deep(Batches(A, y, 32)),
}


@refused("ValueError", "has become shorter", **{name: {"train": train} for name, train in TRAINERS.items()})
def file_that_is_shorter(train):
    shorter(train)


@refused("ValueError", "has become shorter")
def file_that_is_shorter_behind_an_offset():
    shorter(TRAINERS["linear"], 8 * N * 200)


@refused("ValueError", "has become shorter")
def file_that_is_shorter_by_less_than_its_offset():
    shorter(TRAINERS["linear"], 8 * N * 200, 8 * N * (200 + 40 * M) - 10_000)


@refused("ValueError", "has become shorter")
def file_that_becomes_shorter_during_a_run():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "X")
        np.tile(X, (40, 1)).tofile(path)
        mapped = np.memmap(path, np.float64, "r", 0, (40 * M, N))
        deep(Batches(mapped, np.tile(Y, 40), 32), callback=lambda *_: os.truncate(path, 100))


# ---------------------------------------------------------------- arguments that can not be meant


def archive(shape):
    """A .npz file with an X that claims this shape, and has a hundred bytes."""
    header, labels = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    np.save(labels, Y)
    with zipfile.ZipFile("claims.npz", "w") as file:
        file.writestr("X.npy", header.getvalue() + bytes(100))
        file.writestr("y.npy", labels.getvalue())
    return datasets.read("claims.npz")


@refused("ValueError", "claims to have", more={"shape": (10**6, 5)}, far_more={"shape": (10**12, 10**6)})
def npz_that_claims_more_than_it_has(shape):
    in_a_folder(lambda: archive(shape))


@refused("ValueError", ".npy file of numbers", more={"shape": (10**6, 5)}, far_more={"shape": (10**12, 10**12)})
def npy_that_claims_more_than_it_has(shape):
    def read():
        with open("claims.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
            file.write(bytes(100))
        np.save("y.npy", Y)
        datasets.read("claims.npy", labels="y.npy")

    in_a_folder(read)


def in_a_folder(run):
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            run()
        finally:
            os.chdir(before)


@refused("ValueError", "path must be that of a file")
def load_of_a_device():
    fastclf.load("/dev/zero")


@refused(
    "ValueError", "a network of the widths", mlp={"make": lambda: fastclf.MLPClassifier(10**10, 10**10, 3)},
    image={"make": lambda: fastclf.ImageLinearClassifier(2**62, 4)},
    hidden={"make": lambda: FastMLPClassifier((10**10, 10**10)).fit(X, Y)},
)  # fmt: skip
def sizes_whose_product_overflows(make):
    make()


@refused(
    "MemoryError", "a network of the widths", deep={"make": lambda: DeepMLPClassifier(10, 10**7, 3)},
    hidden={"make": lambda: FastMLPClassifier((10**11,)).fit(X, Y)},
)  # fmt: skip
def sizes_that_can_not_be_had(make):
    make()


@refused(
    "TypeError", "classifier must have the method", none={"classifier": None}, number={"classifier": 5},
    network={"classifier": fastclf.MLPClassifier(N, 3, C)}, kind={"classifier": fastclf.MLPClassifier},
)  # fmt: skip
def train_of_a_wrong_object(classifier):
    fastclf.train(classifier, X, Y, 2, 0.1, verbose=False)


def with_start(**how):
    FastLinearClassifier().fit(X, Y, **how)


@refused(
    "ValueError", "coef_init", nan={"coef_init": np.full((C, N), np.nan)}, infinity={"coef_init": np.full((C, N), np.inf)},
    shape={"coef_init": np.zeros((2, 5))}, text={"coef_init": np.zeros((C, N + 1))},
)  # fmt: skip
def coef_init(**how):
    with_start(**how)


@refused(
    "ValueError", "intercept_init", nan={"intercept_init": [np.nan] * C}, shape={"intercept_init": [0.0] * 9},
)  # fmt: skip
def intercept_init(**how):
    with_start(**how)


for kind in (FastLinearClassifier, FastMLPClassifier):
    for what, weight in (("nan", np.nan), ("infinity", np.inf), ("negative", -1.0), ("text", "a")):
        ATTACKS[f"class_weight[{kind.__name__} {what}]"] = Attack(
            lambda kind=kind, weight=weight: kind(class_weight={0: weight, 1: 1.0, 2: 1.0}).fit(X, Y),
            "ValueError", "class_weight",
        )  # fmt: skip


@survived
def one_very_wide_row():
    wide = np.zeros((2, 3 * 10**7), np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    FastMLPClassifier((2,), max_iter=1).fit(wide, [0, 1])
    fastclf.train_model(wide, np.eye(2), 0.1, 1, True, True, dtype=np.float32, verbose=False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3 * 2**20  # kilobytes


BAD_MATRICES = {
    "None": None, "text": "abc", "a number": 5, "a vector": X[0], "three dimensions": X[None], "empty": X[:0],
    "no features": X[:, :0], "objects": np.array([[object()] * N] * M), "complex": X + 1j, "dates": X.astype("M8[s]"),
    "ragged": [[1.0], [1.0, 2.0]], "NaN": np.where(X > 1, np.nan, X), "infinity": np.where(X > 1, np.inf, X),
    "huge integers": [[10**400]], "a dict": {"a": 1}, "a set": {1, 2}, "a generator": (x for x in X),
}  # fmt: skip
BAD_LABELS = {
    "None": None, "a number": 5, "short": Y[:-1], "long": np.append(Y, 0), "NaN": np.where(Y > 1, np.nan, Y),
    "a matrix": np.ones((M, 2, 2)), "infinity": np.where(Y > 1, np.inf, Y), "empty": Y[:0],
}  # fmt: skip
BAD_COUNTS = {"negative": -1, "a half": 0.5, "text": "3", "None": None, "NaN": np.nan, "a list": [3], "a bool": True}
BAD_RATES = {"text": "0.1", "None": None, "NaN": np.nan, "infinity": np.inf, "a list": [0.1], "complex": 1j}
LAB_LABELS = {**BAD_LABELS, "negative": Y - 1, "beyond": Y + 1, "halves": Y + 0.5, "text": Y.astype(str)}
DATA_CALLS = {
    "train_model": lambda X, y=None: fastclf.train_model(X, np.eye(C)[Y], 0.1, 2, True, True, verbose=False),
    "image": lambda X, y=Y: fastclf.train(fastclf.ImageLinearClassifier(N, C), X, y, 2, 0.1, verbose=False),
    "image loss": lambda X, y=Y: fastclf.ImageLinearClassifier(N, C).compute_loss(X, y),
    "image predict": lambda X: fastclf.ImageLinearClassifier(N, C).predict(X),
    "image step": lambda X, y=Y: fastclf.ImageLinearClassifier(N, C).gradient_descent(X, y),
    "mlp": lambda X, y=Y: fastclf.MLPClassifier(N, 3, C).train(np.transpose(np.asarray(X)), y, 2, verbose=False),
    "mlp forward": lambda X: fastclf.MLPClassifier(N, 3, C).forward(np.transpose(np.asarray(X))),
    "deep": lambda X, y=Y: deep(Batches(X, y, 32)),
    "deep, a list": lambda X, y=Y: deep([(X, y)]),
    "linear": lambda X, y=Y: FastLinearClassifier().fit(X, y),
    "linear partial": lambda X, y=Y: FastLinearClassifier().partial_fit(X, y, [0, 1, 2]),
    "linear predict": lambda X: LINEAR.predict(X),
    "mlp fit": lambda X, y=Y: FastMLPClassifier(max_iter=2).fit(X, y),
    "mlp validation": lambda X, y=Y: FastMLPClassifier(max_iter=2).fit(globals()["X"], Y, X_val=X, y_val=y),
    "mlp predict": lambda X: MLP.predict_proba(X),
}  # fmt: skip
LABELLED = [name for name, call in DATA_CALLS.items() if call.__defaults__ and call.__defaults__[0] is not None]
NUMBERS = {
    "iterations": (BAD_COUNTS, lambda v: fastclf.train_model(X, np.eye(C)[Y], 0.1, v, True, True, verbose=False)),
    "learning_rate": (BAD_RATES, lambda v: fastclf.train_model(X, np.eye(C)[Y], v, 2, True, True, verbose=False)),
    "epochs": (BAD_COUNTS, lambda v: fastclf.MLPClassifier(N, 3, C).train(X.T, Y, v, verbose=False)),
    "hidden_size": (BAD_COUNTS, lambda v: fastclf.MLPClassifier(N, v, C)),
    "output_size": (BAD_COUNTS, lambda v: DeepMLPClassifier(N, 3, v)),
    "n_classes": (BAD_COUNTS, lambda v: fastclf.ImageLinearClassifier(N, v)),
    "batch_size": (BAD_COUNTS, lambda v: Batches(X, Y, v)),
    "patience": (BAD_COUNTS, lambda v: DeepMLPClassifier(N, 3, C).train([(X, Y)], 2, patience=v, verbose=False)),
    "step_size": (BAD_COUNTS, lambda v: DeepMLPClassifier(N, 3, C).train([(X, Y)], 2, step_size=v, verbose=False)),
    "gamma": (BAD_RATES, lambda v: DeepMLPClassifier(N, 3, C).train([(X, Y)], 2, gamma=v, verbose=False)),
    "min_delta": (BAD_RATES, lambda v: DeepMLPClassifier(N, 3, C).train([(X, Y)], 2, min_delta=v, verbose=False)),
    "scale": (BAD_RATES, lambda v: fastclf.ImageLinearClassifier(N, C, scale=v)),
    "dtype": (
        {"half": np.float16, "integer": int, "text": "f", "None": None},
        lambda v: fastclf.train_model(X, np.eye(C)[Y], dtype=v),
    ),
}


def meets_a_clear_error(call):
    try:
        call()
    except (ValueError, TypeError) as error:
        if len(str(error)) < 10:
            raise AssertionError(f"{error!r} does not say what is wrong") from error
        raise ValueError("as it should") from None


def clear(name, call):
    ATTACKS[name] = Attack(lambda: meets_a_clear_error(call), "ValueError", "as it should")


LIKE_SCIKIT_LEARN = ("linear", "linear partial", "linear predict", "mlp fit", "mlp validation", "mlp predict")
for name, call in DATA_CALLS.items():
    for what, bad in BAD_MATRICES.items():
        if what == "dates" and name in LIKE_SCIKIT_LEARN:
            continue  # it takes them as numbers of seconds
        clear(f"X[{name}, {what}]", lambda call=call, bad=bad: call(bad))
for name in LABELLED:
    for what, bad in (
        BAD_LABELS if name in ("linear", "linear partial", "mlp fit", "mlp validation") else LAB_LABELS
    ).items():
        clear(f"y[{name}, {what}]", lambda call=DATA_CALLS[name], bad=bad: call(X, bad))
for name, (bads, call) in NUMBERS.items():
    for what, bad in bads.items():
        clear(f"{name}[{what}]", lambda call=call, bad=bad: call(bad))


# ---------------------------------------------------------------- the script


def main(names):
    for name in names:
        print(json.dumps({"begins": name}), flush=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ATTACKS[name].run()
            outcome = None, ""
        except Exception as error:
            outcome = type(error).__name__, str(error)
        print(json.dumps({"name": name, "outcome": outcome}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ATTACKS)
