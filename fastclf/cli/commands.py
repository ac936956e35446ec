"""What each command does, built on ``datasets``, ``estimators`` and ``io``.

Each command is a function that takes the parsed arguments and returns the exit status. An error that the user can correct
is raised as an exception whose message is a full sentence, and ``cli.main`` prints that message.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets import Dataset, read
from ..datasets.columns import listed
from ..datasets.delimited import STANDARD_INPUT
from ..datasets.sources import existing_file
from ..engine.distributed import Alone, is_known
from ..inputs import precision
from ..io.files import replacing
from . import info as installation
from .carry import export, take_in
from .messages import warnings_as_lines
from .outputs import check_output, saved
from .ranks import joined, part_of, said_once

INTERRUPTED = 130  # the exit status after Ctrl-C: 128 + SIGINT
_MOST_TEMPLATES = 20  # a report draws the weights of at most so many hidden units
_PREDICTIONS = (".csv", ".npy")  # what predictions are written to


# ---------------------------------------------------------------- lab, info, warmup


def lab(args: argparse.Namespace) -> int:
    """Run the whole lab on plain NumPy and on fastclf, and compare the two."""
    from .compare.run import run_lab

    if args.data == "cifar10" and args.data_root is None:
        raise ValueError("--data cifar10 needs --data-root DIR, the folder that holds it")
    data = {"data_root": args.data_root, "download": args.download}
    rows = run_lab(args.data, quick=args.quick, out=args.out, jobs=args.jobs, **data)
    return 0 if all(row.passed for row in rows) else 1


def info(args: argparse.Namespace) -> int:
    """Print the facts that a bug report needs."""
    if args.json:
        print(json.dumps(installation.describe()))
    else:
        installation.show_versions()
    return 0


def warmup(args: argparse.Namespace) -> int:
    """Compile every kernel that is neither in the package nor in the cache; carry them to other machines, or here."""
    from ..kernels.cache import cache_folder

    folder = cache_folder()
    if folder is None:
        return 2  # cache_folder has warned, with the reason
    if args.export is not None:
        check_output("--export", args.export, [], force=True)
    if args.taken is not None:
        print(f"{take_in(folder, str(existing_file(args.taken)))} kernels taken in from {args.taken}")
    compiled, seconds = installation.warm_up()
    print(f"{len(installation.all_variants())} kernels in {folder}: {compiled} compiled now, in {seconds:.1f} s")
    if args.export is not None:
        print(f"{export(folder, args.export)} kernels exported to {args.export}")
    return 0


# ---------------------------------------------------------------- data


def _files(args: argparse.Namespace, *others: str) -> list[str]:
    """The files that a command reads: its data, their labels, and others."""
    return [path for path in (args.data, args.labels, *others) if path not in (None, STANDARD_INPUT)]


def _source(args: argparse.Namespace) -> str:
    """How a message calls the data."""
    return "standard input" if args.data == STANDARD_INPUT else args.data


def _read(args: argparse.Namespace, **how: Any) -> Dataset:
    """The data set that the options name."""
    options = {name: getattr(args, name) for name in ("labels", "target", "split", "delimiter", "columns", "drop")}
    with warnings_as_lines(args.command):
        return read(args.data, **options, **how)


def _read_for(model: Any, args: argparse.Namespace, need_labels: bool) -> Dataset:
    """The data set that the options name, with the features that the model was trained on."""
    data = _read(args, like=model._columns(), need_labels=need_labels)
    if data.X.shape[1] != model.n_features_in_:
        has = _counted(data.X.shape[1], "feature")
        raise ValueError(f"{_source(args)} has {has}, and the model was trained on {model.n_features_in_:,}")
    return data


# ---------------------------------------------------------------- train


def train(args: argparse.Namespace) -> int:
    """Train an estimator on a data set, and save it; with the other ranks, if a launcher has started several."""
    with joined() as comm:
        try:
            with comm.together(deferring=False), said_once(comm):
                return _train(args, comm)
        except Exception as error:
            if comm.rank > 0 and is_known(error):
                return 2  # rank 0 says so
            raise


def _train(args: argparse.Namespace, comm: Alone) -> int:
    inputs = _files(args)
    check_output("--save", args.save, inputs, args.force)
    if args.checkpoint is not None:
        check_output("--checkpoint", args.checkpoint, [*inputs, args.save], force=args.resume or args.force)
    elif args.resume:
        raise ValueError("--resume needs --checkpoint FILE, the file to go on from")
    if comm.size > 1 and args.data == STANDARD_INPUT:
        raise ValueError("several ranks can not read one standard input: name a file")
    data = _read(args, one_hot=args.one_hot or args.one_hot is not None)
    report = None
    if args.report is not None:
        from .report import Report

        report = Report(args.report, f"{data.name}, trained by fastclf")
    y, X = _classes_of(data), data.X
    _check_classes(y, args)
    model = _estimator(args, data)
    if args.dtype is not None and X.dtype != np.uint8:
        X = X.astype(precision(args.dtype)[0], copy=False)
    print(f"{data.name}: {_counted(len(X), 'sample')}, {_counted(X.shape[1], 'feature')}, "
          f"{_counted(len(np.unique(y)), 'class')}, {X.dtype}{_by(comm.size)}")  # fmt: skip
    start = time.perf_counter()
    how = {"checkpoint": args.checkpoint, "checkpoint_every": args.checkpoint_every, "resume": args.resume}
    how = (how if args.checkpoint else {}) | ({"process_group": True} if comm.grouped else {})
    if args.sync_every is not None:
        how["sync_every"] = args.sync_every
    was_interrupted = _fit(model, X, y, args.standardize, comm, **how)
    if comm.rank > 0:
        comm.gather(None)  # rank 0 has saved the model
        return INTERRUPTED if was_interrupted else 0
    seconds = time.perf_counter() - start
    model._name_features(data.feature_names, data.encoding)
    place = saved(model.save, args.save)
    print(_summary(model, seconds))
    print(f"{'interrupted; ' if was_interrupted else ''}saved to {place}")
    if report is not None:
        _draw(report, model, data, y)
        print(f"report: {report.write()}")
    comm.gather(None)
    return INTERRUPTED if was_interrupted else 0


def _by(ranks: int) -> str:
    return f", on {ranks} ranks" if ranks > 1 else ""


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 'es' if what.endswith('s') else 's'}"


def _classes_of(data: Dataset) -> NDArray[Any]:
    """The labels as class names, if the names say more than the numbers 0, 1, …; else the labels unchanged."""
    y = np.asarray(data.y)
    if data.class_names is None or data.class_names == tuple(map(str, range(len(data.class_names)))):
        return y
    return np.array(data.class_names)[y]


def _check_classes(y: NDArray[Any], args: argparse.Namespace) -> None:
    """Raise ValueError if there is one class alone, or if --validation can not set samples of every class aside."""
    classes, counts = np.unique(y, return_counts=True)
    n, k = len(y), len(classes)
    if k < 2:
        raise ValueError(
            f"{_source(args)} has samples of one class only, {classes[0]}: a classifier needs at least two"
        )
    if args.validation is None:
        return
    if counts.min() < 2:
        raise ValueError(
            f"--validation needs two samples of every class, and there is one of {classes[counts.argmin()]}"
        )
    aside = math.ceil(args.validation * n)
    if not k <= aside <= n - k:
        raise ValueError(
            f"--validation {args.validation:g} sets {aside:,} of {_counted(n, 'sample')} aside, and leaves {n - aside:,}: "
            f"both must be as many as the classes at least, which are {k:,}"
        )


def _scale(args: argparse.Namespace, data: Dataset) -> float:
    """The factor for bytes: the option's, the data set's, or that of pixels."""
    if args.scale is not None:
        return args.scale
    return data.scale or (1 / 255 if data.X.dtype == np.uint8 else 1.0)


def _estimator(args: argparse.Namespace, data: Dataset) -> Any:
    """A new estimator with the parameters that the options ask for."""
    from ..estimators import FastLinearClassifier, FastMLPClassifier

    only_mlp = {"hidden": args.hidden, "solver": args.solver, "dropout": args.dropout}
    if args.model == "linear" and (given := [name for name, value in only_mlp.items() if value is not None]):
        raise ValueError(f"--{given[0]} belongs to --model mlp")
    if args.model == "linear" and args.dtype == "bfloat16":
        raise ValueError("--dtype bfloat16 belongs to --model mlp")
    if args.model == "linear" and args.alpha == 0 and args.learning_rate is None:
        raise ValueError("--alpha 0 leaves --model linear without a schedule: give it a --learning-rate")
    if args.standardize and data.X.dtype == np.uint8:
        raise ValueError("--standardize is for numbers of different units; bytes are brought into [0, 1] by --scale")
    options: dict[str, Any] = {
        "max_iter": args.epochs,
        "random_state": args.seed,
        "n_jobs": args.jobs,
        "scale": _scale(args, data),
        "class_weight": "balanced" if args.balanced else None,
        "verbose": False if args.quiet else "bar",
    }
    for name, value in (("alpha", args.alpha), ("batch_size", args.batch_size), ("n_iter_no_change", args.patience)):
        if value is not None:
            options[name] = value
    if args.validation is not None:
        options |= {"early_stopping": True, "validation_fraction": args.validation}
    if args.model == "linear":
        if args.learning_rate is not None:
            options |= {"learning_rate": "constant", "eta0": args.learning_rate}
        return FastLinearClassifier(**options)
    if args.learning_rate is not None:
        options["learning_rate_init"] = args.learning_rate
    if args.dtype == "bfloat16":
        options["dtype"] = args.dtype
    return FastMLPClassifier(
        args.hidden or (100,), solver=args.solver or "adam", dropout=args.dropout or 0.0, **options
    )


def _fit(model: Any, X: NDArray[Any], y: NDArray[Any], standardize: bool, comm: Alone, **how: Any) -> bool:
    """Fit the model to this rank's part of the rows; return True if Ctrl-C has ended the training."""
    from sklearn.exceptions import ConvergenceWarning

    from ..engine.progress import TrainingInterruptedWarning

    scaler, part = None, part_of(comm, len(X))
    if standardize:
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(X)
        X, y = scaler.transform(X[part]), y[part]
    else:
        X, y = X[part], y[part]
    with warnings_as_lines("train", ConvergenceWarning, TrainingInterruptedWarning) as caught:
        model.fit(X, y, **how)
    if scaler is not None:
        model._fold_in(scaler.mean_, scaler.scale_)  # the saved model takes features that are not standardised
    return any(issubclass(warning.category, TrainingInterruptedWarning) for warning in caught)


def _summary(model: Any, seconds: float) -> str:
    epochs, samples = model.n_iter_, model._samples_seen()
    said = f"{_counted(epochs, 'epoch')} in {seconds:.1f} s ({samples / seconds:,.0f} samples/s)"
    if model.loss_curve_:
        said += f", loss {model.loss_curve_[-1]:.4f}"
    if (score := model._validation_score()) is not None:
        said += f", accuracy on the validation samples {score:.2%}"
    return said


def _draw(report: Any, model: Any, data: Dataset, y: NDArray[Any]) -> None:
    from ..plots import LossCurveDisplay, WeightTemplatesDisplay

    with _without_names():
        predictions = model.predict(data.X)
    facts = {
        "data": f"{data.name}: {_counted(len(y), 'sample')}, {_counted(data.X.shape[1], 'feature')}",
        "model": " ".join(repr(model).split()),
        "epochs": f"{model.n_iter_:,}",
        "accuracy on all samples": f"{np.mean(predictions == y):.2%}",
    }
    if model.validation_scores_:
        last, best = model.validation_scores_[-1], max(model.validation_scores_)
        facts["accuracy on the validation samples"] = f"{last:.2%} after the last epoch, {best:.2%} at best"
    report.facts(facts)
    if model.loss_curve_:
        figure = report.figure(7, 4)
        LossCurveDisplay.from_estimator(model, ax=figure.subplots())
        report.picture(figure, "loss_curve", "Loss by epoch")
    if data.shape:
        (weights, _), (layers, _) = model._first_layer(), model._layers()
        figure, axes = report.images(min(_MOST_TEMPLATES, len(weights)) if len(layers) > 1 else len(weights))
        WeightTemplatesDisplay.from_estimator(model, data.shape, n_units=_MOST_TEMPLATES, ax=axes, colorbar=True)
        what = "hidden unit" if len(layers) > 1 else "class"
        report.picture(figure, "templates", f"The weights of each {what}, as an image")
    caption = "All samples, those of the training and of the validation: rows are the truth, columns the prediction"
    report.confusion(y, predictions, model.classes_, caption)


# ---------------------------------------------------------------- evaluate, predict


def evaluate(args: argparse.Namespace) -> int:
    """Score a saved model on a data set."""
    from sklearn.metrics import accuracy_score, classification_report, log_loss

    model = _loaded(args.model)
    data = _read_for(model, args, need_labels=True)
    y, X = _classes_of(data), data.X
    known = {*model.classes_.tolist()}  # a set, because NumPy takes the number 1 for the text "1"
    if unknown := [label for label in np.unique(y).tolist() if label not in known]:
        raise ValueError(
            f"{_source(args)} has classes that the model does not know: {listed(unknown)}; it knows {listed(model.classes_)}"
        )
    with _without_names():
        P = model.predict_proba(X)
    predictions = model.classes_[P.argmax(axis=1)]
    scores = {
        "samples": len(X),
        "accuracy": float(accuracy_score(y, predictions)),
        "log_loss": float(log_loss(y, P, labels=model.classes_)),
    }
    if args.json:
        print(json.dumps({"model": args.model, "data": args.data, **scores}))
    else:
        print(f"{data.name}: {_counted(len(X), 'sample')}, accuracy {scores['accuracy']:.2%}, "
              f"log-loss {scores['log_loss']:.4f}\n")  # fmt: skip
        print(classification_report(y, predictions, labels=model.classes_, zero_division=0))
    if args.report is not None:
        from .report import Report

        report = Report(args.report, f"{Path(args.model).name} on {data.name}")
        report.table(["samples", "accuracy", "log-loss"],
                     [[f"{len(X):,}", f"{scores['accuracy']:.2%}", f"{scores['log_loss']:.4f}"]])  # fmt: skip
        report.confusion(y, predictions, model.classes_, "Rows are the truth, columns the prediction")
        print(f"report: {report.write()}", file=sys.stderr if args.json else sys.stdout)
    return 0


def predict(args: argparse.Namespace) -> int:
    """Write a saved model's predictions to a file, or print them as CSV."""
    if args.out is not None:
        check_output("--out", args.out, _files(args, args.model), args.force)
        if Path(args.out).suffix.lower() not in _PREDICTIONS:
            raise ValueError(f"--out must end in {' or '.join(_PREDICTIONS)}, got {args.out}")
    model = _loaded(args.model)
    data = _read_for(model, args, need_labels=False)
    X = data.X
    with _without_names():
        values = model.predict_proba(X) if args.proba else model.predict(X)
    if args.out is not None and Path(args.out).suffix.lower() == ".npy":
        with replacing(args.out) as file:
            np.save(file, values)
    else:
        several = values.ndim == 2  # a column per class: probabilities, or several labels per sample
        table = [model.classes_.tolist() if several else ["label"], *(values if several else values[:, None]).tolist()]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        if args.out is None:
            sys.stdout.write(text.getvalue())
            return 0
        with replacing(args.out) as file:
            file.write(text.getvalue().encode())
    print(f"{_counted(len(X), 'prediction')} in {args.out}")
    return 0


def _loaded(path: str) -> Any:
    """The fitted model in a file, as an estimator; the file may hold any model that ``fastclf.save`` writes."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    from ..estimators import as_estimator
    from ..io.persist import load

    model = as_estimator(load(existing_file(path)))
    try:
        check_is_fitted(model)
    except NotFittedError:
        raise ValueError(f"{path!r} holds a model that has not been trained") from None
    return model


@contextmanager
def _without_names() -> Iterator[None]:
    """Silence scikit-learn's warning that an array has no feature names: its columns are already in the model's order."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        yield


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "lab": lab,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "info": info,
    "warmup": warmup,
}
