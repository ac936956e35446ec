"""Commands on tables as they come: cut and compressed in other ways, with columns that are not wanted, and with text."""

import gzip
import io
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_iris

import fastclf
from fastclf import datasets
from fastclf.datasets import Column

from .test_commands import IRIS, NAMES, flowers, in_an_empty_folder, run, write_csv  # noqa: F401

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
]

SPECIES = IRIS.target_names[IRIS.target]
QUICK = ("--epochs", 3, "--quiet", "--save", "m", "--force")
RNG = np.random.default_rng(0)


def lines_of(path):
    with open(path) as file:
        return file.read().splitlines()


def written(path, lines):
    with open(path, "w") as file:
        file.write("\n".join(lines))
    return path


@pytest.fixture
def labels(flowers, capsys):  # noqa: F811
    """A model of the flowers in the file m, and the labels that it gives them."""
    run("train", flowers, *QUICK)
    capsys.readouterr()
    return [*fastclf.load("m").predict(load_iris().data)]


def predicted(capsys, *arguments, note=""):
    run("predict", "m", *arguments)
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if "fastclf: compiling" not in line]
    assert [note in line for line in lines] == [True] * bool(note)
    return said.out.splitlines()[1:]


# ---------------------------------------------------------------- files


def test_text_as_it_comes(labels, capsys, monkeypatch):
    lines = lines_of("flowers.csv")
    for delimiter in ";\t|":
        assert predicted(capsys, written("t.csv", [line.replace(",", delimiter) for line in lines])) == labels
    assert predicted(capsys, written("t.tsv", [line.replace(",", "\t") for line in lines])) == labels
    colons = written("t.csv", [line.replace(",", ":") for line in lines])
    assert predicted(capsys, colons, "--delimiter", ":") == labels
    for tab in ("tab", "\\t", "\t"):
        assert predicted(capsys, "t.tsv", "--delimiter", tab) == labels
    content = "\n".join(lines).encode()
    with gzip.open("t.csv.gz", "wb") as file:
        file.write(content)
    assert predicted(capsys, "t.csv.gz") == labels
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content))))
    assert predicted(capsys, "-") == labels
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(b"a,b\n1,x\n"))))
    run("evaluate", "m", "-", code=2)
    message = "evaluate: standard input does not have the columns that the model was trained on: sepal length"
    assert message in capsys.readouterr().err


def test_a_pipe_into_the_process(labels):
    command = [sys.executable, "-m", "fastclf", "predict", "m", "-", "--out", "p.csv"]
    with open("flowers.csv", "rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "150 predictions in p.csv\n"), done.stderr
    assert lines_of("p.csv") == ["label", *labels]


# ---------------------------------------------------------------- columns


def test_columns_that_are_not_wanted(flowers, capsys):  # noqa: F811
    rows = np.column_stack([[f"n{i}" for i in range(150)], IRIS.data, ["seen"] * 150])
    write_csv("more.csv", rows, SPECIES, ["id", *NAMES, "note", "species"])
    run("train", "more.csv", "--drop", "id", "note", *QUICK)
    by_dropping = fastclf.load("m")
    assert [*by_dropping.feature_names_in_] == NAMES
    run("train", "more.csv", "--columns", *NAMES, *QUICK)
    run("train", flowers, *QUICK[:-2], "n")
    expected = by_dropping.predict_proba(IRIS.data)
    for other in ("m", "n"):
        np.testing.assert_array_equal(fastclf.load(other).predict_proba(IRIS.data), expected)
    run("train", "more.csv", "--columns", 1, 2, "--target", -1, *QUICK)
    assert [*fastclf.load("m").feature_names_in_] == NAMES[:2]
    capsys.readouterr()
    run("train", "more.csv", "--drop", "weight", *QUICK, code=2)
    assert "train: --drop must name a column of more.csv, got 'weight'; it has" in capsys.readouterr().err


def test_predict_ignores_labels_and_columns_that_the_model_does_not_know(labels, capsys):
    rows = np.column_stack([SPECIES, [f"n{i}" for i in range(150)], IRIS.data[:, ::-1]])
    write_csv("other.csv", rows, ["seen"] * 150, ["species", "id", *NAMES[::-1], "note"])
    assert predicted(capsys, "flowers.csv") == labels
    assert predicted(capsys, "other.csv") == labels
    np.savez("flowers.npz", X=IRIS.data, y=IRIS.target)
    assert predicted(capsys, "flowers.npz") == labels
    for target in ((), ("--target", "species")):
        run("evaluate", "m", write_csv("first.csv", rows[:, [0, *range(2, 6)]], [0] * 150, ["species", *NAMES[::-1], "n"]),
            *target, "--drop", "n", "--json")  # fmt: skip
        accuracy = float(np.mean(np.array(labels) == SPECIES))
        assert f'"accuracy": {accuracy}' in capsys.readouterr().out


def test_labels_that_are_missing_do_not_matter_to_predict(labels, capsys):
    lines = lines_of("flowers.csv")
    half = written("half.csv", [line.rpartition(",")[0] + "," if i % 2 else line for i, line in enumerate(lines)])
    for target in ((), ("--target", "species")):
        assert predicted(capsys, half, *target) == labels
    run("evaluate", "m", half, code=2)
    assert "half.csv, line 2, column 'species': expected a label, got nothing" in capsys.readouterr().err


def test_without_names_one_column_more_is_taken_for_the_labels(labels, capsys):
    lines = lines_of("flowers.csv")
    headless = written("headless.csv", lines[1:])
    note = "predict: headless.csv has a column more than the model was trained on: the last one, 4, is taken for the labels"
    assert predicted(capsys, headless, note=note) == labels
    assert predicted(capsys, headless, "--target", 4) == labels
    assert predicted(capsys, headless, "--drop", 4) == labels
    assert predicted(capsys, written("bare.csv", [line.rpartition(",")[0] for line in lines[1:]])) == labels
    moved = written("moved.csv", ["n1," + line for line in lines[1:]])
    run("predict", "m", moved, code=2)
    message = (
        "moved.csv has 6 columns of features, and the model was trained on 4: --columns names these, or --drop the"
    )
    assert message in capsys.readouterr().err
    assert predicted(capsys, moved, "--columns", 1, 2, 3, 4) == labels


# ---------------------------------------------------------------- text


def visits(m, colours, header=True, label=True):
    """Lines of a table in which the label is whether the colour is red, or the size is large."""
    colour, size, shape = RNG.choice(colours, m), RNG.normal(size=m), RNG.choice(["cube", "ball"], m)
    y = np.where((colour == "red") | (size > 1), "yes", "no")
    rows = [",".join(map(str, row)) for row in zip(colour, size, shape, *([y] if label else []))]
    return (["colour,size,shape" + ",y" * label] if header else []) + rows


@pytest.mark.parametrize("model", ["linear", "mlp"])
@pytest.mark.parametrize("header", [True, False], ids=["header", "headless"])
def test_text_is_encoded_and_the_model_keeps_how(model, header, capsys):
    written("visits.csv", visits(300, ["red", "green", "blue"], header))
    run("train", "visits.csv", "--model", model, "--one-hot", "--standardize", "--epochs", 200, *QUICK[2:])
    assert "visits: 300 samples, 6 features, 2 classes" in capsys.readouterr().out
    saved = fastclf.load("m")
    columns = [["blue", "green", "red"], None, ["ball", "cube"]]
    assert saved.encoding_ == [*zip(["colour", "size", "shape"] if header else [None] * 3, columns)]
    if header:
        names = ["colour_blue", "colour_green", "colour_red", "size", "shape_ball", "shape_cube"]
        assert [*saved.feature_names_in_] == names
    run("evaluate", "m", "visits.csv", "--json")
    assert float(capsys.readouterr().out.split('"accuracy": ')[1].split(",")[0]) > 0.9

    new = visits(40, ["red", "pink"], header, label=False)  # pink is none of the categories
    colour, size, shape = zip(*(line.split(",") for line in new[header:]))
    colours, shapes = [[c == k for k in columns[0]] for c in colour], [[s == k for k in columns[2]] for s in shape]
    expected = np.column_stack([colours, np.array(size, float), shapes])
    assert predicted(capsys, written("new.csv", new)) == [*saved.predict(expected)]
    np.testing.assert_array_equal(datasets.read("new.csv", like=saved.encoding_, need_labels=False).X, expected)
    if header:
        turned = [",".join([line.split(",")[i] for i in (1, 2, 0)]) for line in new]
        assert predicted(capsys, written("turned.csv", turned)) == [*saved.predict(expected)]
    else:
        written("labelled.csv", [f"{line},yes" for line in new])
        assert predicted(capsys, "labelled.csv", note="the last one, 3, is taken") == [*saved.predict(expected)]


def test_the_columns_to_encode_may_be_named(capsys):
    written("t.csv", ["zip,size,y", *(f"{[1010, 1020, 900][i % 3]},{i},{'ab'[i % 3 == 0]}" for i in range(60))])
    run("train", "t.csv", "--one-hot", "zip", *QUICK)
    assert fastclf.load("m").encoding_ == [("zip", ["1010", "1020", "900"]), ("size", None)]
    run("train", "t.csv", *QUICK)
    assert not hasattr(fastclf.load("m"), "encoding_")


def test_text_is_refused_with_a_sentence_that_says_what_to_do(capsys):
    written("visits.csv", visits(20, ["red", "blue"]))
    run("train", "visits.csv", *QUICK, code=2)
    message = "visits.csv, line 2, column 'colour': expected a number, got "
    advice = ": a column of text is left out by --drop, or encoded by --one-hot\n"
    said = capsys.readouterr().err
    assert message in said
    assert said.endswith(advice)
    run("train", "visits.csv", "--drop", "colour", "--one-hot", "shape", *QUICK)
    assert fastclf.load("m").n_features_in_ == 3


def test_a_model_that_is_trained_anew_forgets_the_columns():
    written("visits.csv", visits(60, ["red", "blue"]))
    run("train", "visits.csv", "--one-hot", *QUICK)
    model = fastclf.load("m")
    assert model._columns() == [Column("colour", ["blue", "red"]), Column("size"), Column("shape", ["ball", "cube"])]
    model.partial_fit(np.ones((2, 5)), ["yes", "no"])
    assert hasattr(model, "encoding_")
    model.fit(IRIS.data, IRIS.target)
    assert not hasattr(model, "encoding_")
    model.save("again")
    assert fastclf.load("again")._columns() == [Column()] * 4


# ---------------------------------------------------------------- what can not be done is said


def test_one_class_is_no_problem_for_a_classifier(capsys):
    written("t.csv", ["a,y", "1,x", "2,x"])
    np.savez("t.npz", X=np.ones((3, 2)), y=np.zeros(3, int))
    for source, label in (("t.csv", "x"), ("t.npz", "0")):
        for model in ("linear", "mlp"):
            run("train", source, "--model", model, *QUICK, code=2)
            said = capsys.readouterr().err
            assert said.startswith(
                f"fastclf train: {source} has samples of one class only, {label}: a classifier needs "
            )


def test_validation_needs_samples_of_every_class(capsys):
    written("t.csv", ["a,y", *(f"{i},{'x' if i else 'y'}" for i in range(9))])
    run("train", "t.csv", "--validation", 0.3, *QUICK, code=2)
    assert "--validation needs two samples of every class, and there is one of y" in capsys.readouterr().err
    written("t.csv", ["a,y", *(f"{i},{'xyz'[i % 3]}" for i in range(9))])
    run("train", "t.csv", "--validation", 0.2, *QUICK, code=2)
    assert "--validation 0.2 sets 2 of 9 samples aside, and leaves 7" in capsys.readouterr().err
    for model in ("linear", "mlp"):
        run("train", "t.csv", "--validation", 0.3, "--model", model, *QUICK)


@pytest.mark.parametrize("name", ["p.txt", "p", "p.csv.gz", "p.parquet", "p.npz"])
def test_predictions_are_written_to_what_can_be_written(name, labels, capsys):
    run("predict", "m", "flowers.csv", "--out", name, code=2)
    assert capsys.readouterr().err == f"fastclf predict: --out must end in .csv or .npy, got {name}\n"
    assert not os.path.exists(name)
