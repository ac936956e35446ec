"""Training, scoring and predicting from the command line, on real files and as real processes."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.metrics import log_loss

import fastclf
from fastclf import cli

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
]

IRIS = load_iris()
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    """Run a command in this process; it must end with this exit status."""
    assert cli.main([*map(str, arguments)]) == code


def told(capsys):
    """What is on standard error, but for the kernels that have been compiled."""
    return "".join(line for line in capsys.readouterr().err.splitlines(True) if "fastclf: compiling" not in line)


def write_csv(path, X, y, header):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([*row, label] for row, label in zip(X.tolist(), y))
    return path


@pytest.fixture
def flowers():
    return write_csv("flowers.csv", IRIS.data, IRIS.target_names[IRIS.target], [*NAMES, "species"])


@pytest.fixture
def images():
    X, y = load_digits(return_X_y=True)
    np.save("images.npy", (X * 15.9375).astype(np.uint8).reshape(-1, 8, 8))
    np.save("labels.npy", y)
    return (X * 15.9375).astype(np.uint8), y


# ---------------------------------------------------------------- what comes out


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_train_evaluate_predict(model, flowers, capsys):
    run("train", flowers, "--model", model, "--standardize", "--epochs", 200, "--save", "model.safetensors", "--quiet")
    said = capsys.readouterr().out
    assert "flowers: 150 samples, 4 features, 3 classes, float64" in said
    assert "saved to model.safetensors" in said
    assert "samples/s), loss 0." in said
    saved = fastclf.load("model.safetensors")
    assert type(saved).__name__ == {"linear": "FastLinearClassifier", "mlp": "FastMLPClassifier"}[model]
    assert [*saved.classes_] == ["setosa", "versicolor", "virginica"]
    assert [*saved.feature_names_in_] == NAMES
    truth = IRIS.target_names[IRIS.target]
    accuracy = np.mean(saved.predict(IRIS.data) == truth)  # of the features as they are: the scaling is in the weights
    assert accuracy > 0.9

    run("evaluate", "model.safetensors", flowers, "--json")
    scores = json.loads(capsys.readouterr().out)
    assert scores["samples"] == 150
    assert scores["accuracy"] == pytest.approx(accuracy)
    assert scores["log_loss"] == pytest.approx(log_loss(truth, saved.predict_proba(IRIS.data)))
    run("evaluate", "model.safetensors", flowers)
    assert f"accuracy {accuracy:.2%}" in capsys.readouterr().out

    run("predict", "model.safetensors", flowers, "--target", "species")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["label", *saved.predict(IRIS.data)]
    run("predict", "model.safetensors", flowers, "--target", "species", "--proba", "--out", "p.csv")
    rows = list(csv.reader(open("p.csv")))  # noqa: SIM115
    assert rows[0] == [*saved.classes_]
    np.testing.assert_array_equal(np.array(rows[1:], float), saved.predict_proba(IRIS.data))
    run("predict", "model.safetensors", flowers, "--target", "species", "--proba", "--out", "p.npy")
    np.testing.assert_array_equal(np.load("p.npy"), saved.predict_proba(IRIS.data))
    run("predict", "model.safetensors", flowers, "--target", "species", "--out", "labels.csv")
    assert "150 predictions in labels.csv" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_the_options_are_the_estimators(model, images):
    """What is trained is what the estimator trains with these parameters."""
    X, y = images
    options = ["--epochs", 3, "--batch-size", 50, "--alpha", 0.01, "--seed", 7, "--balanced", "--jobs", 1, "--quiet"]
    how = {"max_iter": 3, "batch_size": 50, "alpha": 0.01, "random_state": 7, "class_weight": "balanced", "n_jobs": 1}
    if model == "linear":
        options += ["--learning-rate", 0.02]
        twin = fastclf.FastLinearClassifier(learning_rate="constant", eta0=0.02, scale=0.005, **how)
    else:
        options += ["--learning-rate", 0.02, "--hidden", 20, 10, "--solver", "sgd", "--dropout", 0.1]
        twin = fastclf.FastMLPClassifier(
            (20, 10), solver="sgd", dropout=0.1, learning_rate_init=0.02, scale=0.005, **how
        )
    run("train", "images.npy", "--labels", "labels.npy", "--model", model, "--scale", 0.005, "--save", "m", *options)
    twin.fit(np.load("images.npy", mmap_mode="r").reshape(len(X), -1), y)  # in the order of a file
    np.testing.assert_array_equal(fastclf.load("m").predict_proba(X), twin.predict_proba(X))


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_validation(kind, images, capsys):
    options = ["--model", kind, "--validation", 0.25, "--epochs", 15, "--save", "m", "--quiet"]
    run("train", "images.npy", "--labels", "labels.npy", *options)
    model = fastclf.load("m")
    score = model.validation_scores_[-1] if kind == "linear" else max(model.validation_scores_)
    assert f"accuracy on the validation samples {score:.2%}" in capsys.readouterr().out
    assert model.validation_fraction == 0.25
    assert score > 0.9


def test_numbers_in_another_dtype(flowers):
    run("train", flowers, "--dtype", "float32", "--epochs", 5, "--save", "m", "--quiet")
    assert fastclf.load("m").coefs_[0].dtype == np.float32


def test_every_kind_of_file(images, capsys):
    """The same samples in any of the formats; a .npy file is read in an order of its own."""
    import pyarrow
    from pyarrow import parquet

    X, y = images
    np.savez("all.npz", X_train=X[:1000], y_train=y[:1000], X_test=X[1000:], y_test=y[1000:])
    np.save("X.npy", X[:1000])
    np.savetxt("y.txt", y[:1000], "%d")
    columns = {f"x{i}": X[:1000, i] for i in range(64)} | {"digit": y[:1000]}
    parquet.write_table(pyarrow.table(columns), "all.parquet")
    for source in (["all.npz"], ["X.npy", "--labels", "y.txt"], ["all.parquet", "--target", "digit"]):
        run("train", *source, "--epochs", 40, "--save", "m", "--quiet", "--force")
        run("evaluate", "m", "all.npz", "--json")
        scores = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert scores["samples"] == 797
        assert scores["accuracy"] > 0.87
        if source == ["all.npz"]:
            expected = fastclf.load("m").predict_proba(X[1000:])
    np.testing.assert_array_equal(fastclf.load("m").predict_proba(X[1000:]), expected)


def test_cifar10_knows_its_names(cifar10, capsys):
    run("train", f"cifar10:{cifar10}", "--epochs", 2, "--save", "m", "--quiet", "--report", "report")
    model = fastclf.load("m")
    assert {*model.classes_} >= {"plane", "horse"}
    assert model.scale_ == 1 / 255
    assert (cifar10 / "report" / "templates.png").exists()
    run("predict", "m", f"cifar10:{cifar10}")
    labels = capsys.readouterr().out.splitlines()[-20:]
    assert {*labels} <= {*model.classes_}


def test_two_classes_and_names_with_commas(capsys):
    X, y = load_breast_cancer(return_X_y=True)
    write_csv("two.csv", X, np.where(y, 'benign, "good"', "malignant"), [f"x{i}" for i in range(30)] + ["what"])
    run("train", "two.csv", "--model", "linear", "--standardize", "--save", "m", "--quiet")
    model = fastclf.load("m")
    assert np.mean(model.predict(X) == np.where(y, 'benign, "good"', "malignant")) > 0.95
    capsys.readouterr()
    run("predict", "m", "two.csv", "--target", "what", "--proba")
    assert next(csv.reader(capsys.readouterr().out.splitlines())) == ['benign, "good"', "malignant"]


def test_columns_are_found_by_their_names(flowers, capsys):
    run("train", flowers, "--epochs", 5, "--save", "m", "--quiet")
    turned = ["unused", *NAMES[::-1]]
    write_csv("other.csv", np.column_stack([np.arange(150), IRIS.data[:, ::-1]]), IRIS.target, [*turned, "n"])
    capsys.readouterr()
    run("predict", "m", "other.csv", "--target", "n")
    assert capsys.readouterr().out.splitlines()[1:] == [*fastclf.load("m").predict(IRIS.data)]
    write_csv("less.csv", IRIS.data[:, :3], IRIS.target, [*NAMES[:3], "n"])
    run("predict", "m", "less.csv", "--target", "n", code=2)
    assert "less.csv does not have the columns that the model was trained on: petal width" in capsys.readouterr().err


def test_models_of_the_lab_are_scored_too(capsys):
    X, y = load_digits(return_X_y=True)
    np.savez("digits.npz", X=(X * 15.9375).astype(np.uint8), y=y)
    scaled = (X * 15.9375).astype(np.uint8) / 255
    mlp = fastclf.MLPClassifier(64, 16, 10, random_state=0, scale=1 / 255)
    mlp.train(scaled.T, y, 100, 1.0, verbose=False)
    image = fastclf.ImageLinearClassifier(64, 10, random_state=0, scale=1 / 255)
    fastclf.train(image, scaled, y, 100, 0.5, verbose=False)
    result = fastclf.train_model(X / 16, np.eye(10)[y], 0.5, 50, True, True, random_state=0, verbose=False)
    for model, labels in (
        (mlp, mlp.forward(scaled.T).argmax(axis=0)),
        (image, image.predict(scaled).argmax(axis=0)),
    ):
        model.save("m")
        run("evaluate", "m", "digits.npz", "--json")
        assert json.loads(capsys.readouterr().out)["accuracy"] == pytest.approx(np.mean(labels == y))
    fastclf.save(result, "theta")
    np.savez("sixteenths.npz", X=X / 16, y=y)
    run("predict", "theta", "sixteenths.npz")
    scores = fastclf.linear_prediction(fastclf.add_bias_term(X / 16), result[0])
    assert capsys.readouterr().out.splitlines()[1:] == [*map(str, scores.argmax(axis=1))]


def test_several_labels(capsys):
    X, Y = load_digits().data[:200] / 16, np.eye(10, dtype=int)[load_digits().target[:200]]
    fastclf.FastMLPClassifier((20,), max_iter=5).fit(X, Y).save("m")
    np.savez("x.npz", X=X)
    run("predict", "m", "x.npz")
    rows = [row.split(",") for row in capsys.readouterr().out.splitlines()]
    assert rows[0] == [*map(str, range(10))]
    np.testing.assert_array_equal(np.array(rows[1:], int), fastclf.load("m").predict(X))


def test_numbers_and_their_names_are_not_the_same(flowers, capsys):
    run("train", flowers, "--epochs", 2, "--save", "m", "--quiet")
    write_csv("numbers.csv", IRIS.data, IRIS.target, [*NAMES, "species"])
    run("evaluate", "m", "numbers.csv", code=2)
    assert "classes that the model does not know: 0, 1, 2; it knows setosa, versicolor" in capsys.readouterr().err


def test_reports(capsys):
    for arguments, pictures in (
        (["train", "digits", "--epochs", 5, "--save", "m", "--quiet"], ["loss_curve", "templates", "confusion"]),
        (["train", "digits", "--model", "linear", "--save", "n", "--quiet"], ["loss_curve", "templates", "confusion"]),
        (["evaluate", "m", "digits"], ["confusion"]),
    ):
        run(*arguments, "--report", "report")
        page = open("report/index.html").read()  # noqa: SIM115
        for name in pictures:
            assert f'src="{name}.png"' in page
            assert open(f"report/{name}.png", "rb").read().startswith(b"\x89PNG")  # noqa: SIM115
        assert "report/index.html" in capsys.readouterr().out.replace(os.sep, "/")


@pytest.mark.filterwarnings("error:::matplotlib")
def test_a_report_says_what_it_is_of_and_fits_any_reader():
    run("train", "digits", "--model", "mlp", "--hidden", 20, "--validation", 0.2, "--epochs", 5, "--quiet",
        "--save", "m", "--report", "report")  # fmt: skip
    page = open("report/index.html").read()  # noqa: SIM115
    facts = dict(re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td></tr>", page))
    model = fastclf.load("m")
    assert facts["data"] == "digits: 1,000 samples, 64 features"
    assert facts["model"].startswith("FastMLPClassifier(")
    assert "hidden_layer_sizes=[20]" in facts["model"]
    assert f"{max(model.validation_scores_):.2%} at best" in facts["accuracy on the validation samples"]
    assert f"fastclf {fastclf.__version__}" in facts["versions"]
    assert {*facts} >= {"accuracy on all samples", "epochs", "date", "command"}
    assert 'content="width=device-width' in page
    for rule in ("prefers-color-scheme: dark", "@media print", "color-scheme: light dark"):
        assert rule in page
    assert page.count("<table") + page.count("<img") == page.count('<div class="scroll">')


def test_a_progress_bar_shows_loss_and_samples(capsys):
    run("train", "digits", "--epochs", 4, "--save", "m")
    shown = capsys.readouterr().err
    assert "epoch 4/4: 100%" in shown
    assert "samples/s" in shown
    assert f"loss={fastclf.load('m').loss_curve_[-1]:.4f}" in shown


# ---------------------------------------------------------------- what can not be done is said


def spoilt(line, text):
    lines = open("flowers.csv").read().splitlines()  # noqa: SIM115
    lines[line] = text
    open("flowers.csv", "w").write("\n".join(lines))  # noqa: SIM115


MISTAKES = {
    "there is no file nothing.csv": ["train", "nothing.csv", "--save", "m"],
    "--save nowhere/m: there is no folder": ["train", "digits", "--save", "nowhere/m"],
    "--save . is a folder": ["train", "digits", "--save", "."],
    "--hidden belongs to --model mlp": ["train", "digits", "--model", "linear", "--hidden", "3", "--save", "m"],
    "--solver belongs to --model mlp": ["train", "digits", "--model", "linear", "--solver", "sgd", "--save", "m"],
    "images.npy has no labels: they are in a file that --labels names": ["train", "images.npy", "--save", "m"],
    "--standardize is for numbers": ["train", "images.npy", "--labels", "labels.npy", "--standardize", "--save", "m"],
    "--target must name a column of flowers.csv": ["train", "flowers.csv", "--target", "colour", "--save", "m"],
    "--alpha 0 leaves --model linear without": ["train", "digits", "--model", "linear", "--alpha", "0", "--save", "m"],
    "--validation 0.999 sets 999 of 1,000 samples aside": ["train", "digits", "--validation", "0.999", "--save", "m"],
    "--delimiter must be a character that may stand": ["train", "flowers.csv", "--delimiter", ",,", "--save", "m"],
    "DATA must be a .npz": ["train", "flowers.xlsx", "--save", "m"],
    "flowers.csv' can not be loaded": ["evaluate", "flowers.csv", "digits"],
    "there is no file nothing.safetensors": ["evaluate", "nothing.safetensors", "digits"],
    "has classes that the model does not know: setosa": ["evaluate", "model", "flowers.csv"],
    "digits has 64 features, and the model was trained on 4": ["evaluate", "four", "digits"],
    "holds a model that has not been trained": ["predict", "unfitted", "digits"],
    "--data cifar10 needs --data-root": ["lab", "--data", "cifar10"],
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_mistakes(sentence, flowers, images, capsys):
    fastclf.FastMLPClassifier().save("unfitted")
    rng = np.random.default_rng(0)
    fastclf.FastLinearClassifier().fit(rng.random((20, 4)), np.arange(20) % 3).save("model")
    fastclf.FastLinearClassifier().fit(rng.random((20, 4)), np.arange(20) % 10).save("four")
    run(*MISTAKES[sentence], code=2)
    err = capsys.readouterr().err
    assert err.startswith(f"fastclf {MISTAKES[sentence][0]}: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert not os.path.exists("m")


def test_a_line_that_is_no_number(flowers, capsys):
    spoilt(17, "5.1,oops,1.4,0.2,setosa")
    run("train", flowers, "--save", "m", code=2)
    assert "flowers.csv, line 18, column 'sepal width': expected a number, got 'oops'" in capsys.readouterr().err


def test_argument_errors_are_argparses(capsys):
    for arguments in (["train", "digits"], ["train", "digits", "--save", "m", "--epochs", "0"],
                      ["train", "digits", "--save", "m", "--model", "forest"], ["evaluate", "m"]):  # fmt: skip
        with pytest.raises(SystemExit) as exit:
            cli.main(arguments)
        assert exit.value.code == 2
    assert "0 is not 1 or more" in capsys.readouterr().err


def test_help_is_worth_reading(capsys):
    for command in ("train", "evaluate", "predict"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        shown = capsys.readouterr().out
        for word in ("FILE.npz", "FILE.csv", "FILE.parquet", "digits", "cifar10:DIR", "Exit status", "--target"):
            assert word in shown, (command, word)
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "train a classifier on a file, and save it" in capsys.readouterr().out


def test_a_bug_shows_where_it_is(monkeypatch):
    monkeypatch.setenv("FASTCLF_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        cli.main(["train", "nothing.csv", "--save", "m"])


# ---------------------------------------------------------------- processes


def start(*arguments):
    command = [sys.executable, "-m", "fastclf", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=0)


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as a terminal sends them")
@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_ctrl_c_saves_what_there_is(model):
    X, y = load_wine(return_X_y=True)
    np.savez("wine.npz", X=np.tile(X, (50, 1)), y=np.tile(y, 50))
    options = ["--batch-size", 20, "--epochs", 1_000_000, "--patience", 10**6]
    process = start("train", "wine.npz", "--standardize", "--model", model, "--save", "m", *options)
    deadline, shown = time.monotonic() + 120, ""
    while "epoch " not in shown:  # kernels are compiled, and an epoch is over
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stdout.read() + shown
        shown += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted; saved to m" in out
    assert "Traceback" not in err
    saved = fastclf.load("m")
    assert saved.n_iter_ >= 1
    assert np.mean(saved.predict(X) == y) > 0.5


def test_a_pipe_that_is_closed():
    np.savez("x.npz", X=np.random.default_rng(0).random((200_000, 3)))
    fastclf.FastLinearClassifier().fit(np.eye(3), [0, 1, 2]).save("m")
    process = start("predict", "m", "x.npz")
    assert process.stdout.readline() == "label\n"
    process.stdout.close()
    assert process.wait(60) == 0
    assert [line for line in process.stderr if "fastclf: compiling" not in line] == []
