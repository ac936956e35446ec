"""What the tests share: tolerances with their reasons, comparisons, problems to solve, other processes."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from fastclf import reference
from fastclf.engine.descent import NarrowTrainer, WideTrainer
from fastclf.engine.losses import CLIPPED, LossRule
from fastclf.engine.minibatch import Samples
from fastclf.engine.rows import Rows
from fastclf.kernels.target import TARGET

DTYPES = [np.dtype(np.float64), np.dtype(np.float32)]

# One step, against the reference in float64. float64: the same few hundred operations, added in another order.
# float32: each is rounded to 6e-8, and sums of some hundred of them lose two more digits at worst.
ONE_STEP = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 2e-5}

# One step in bfloat16, against one that rounds in the same places: a sum in another order may round to the neighbour of its
# bfloat16, which is 2^-8 away, and is one term of many.
IN_BFLOAT16 = 2e-3

# Many steps in float64, of runs that a 1e-14 change of the start leaves within 1e-12.
TRAJECTORY = 1e-9

# Central differences of width 1e-5 in float64: truncation and cancellation are both near 1e-10.
FINITE_DIFFERENCES = 1e-8

# Where every entry is smaller than this it is what is left of numbers near 1, whose rounding is what can be compared.
_SMALLEST_SCALE = 1e-2


def difference(got, expected) -> float:
    """The largest difference of two arrays, relative to the largest expected entry; NaN equals nothing."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), _SMALLEST_SCALE))


def assert_close(tolerance: float, **pairs) -> None:
    """Compare named (got, expected) pairs; a failure reports the largest difference of every tensor."""
    differences = {name: difference(*pair) for name, pair in pairs.items()}
    assert all(d <= tolerance for d in differences.values()), f"{differences}, tolerance {tolerance}"


def edges(*sizes: int) -> list[int]:
    """The sizes where a loop over whole tiles changes its course: one below, at, and one above each."""
    return sorted({n + d for n in sizes for d in (-1, 0, 1) if n + d > 0})


LANES = sorted({TARGET.lanes(4), TARGET.lanes(8)})


class IfInstalled:
    """A module that not everybody has: it is imported when it is used, and where it is missing, that skips the test."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest asks every object of a module for its own attributes
            raise AttributeError(attribute)
        return getattr(pytest.importorskip(self._name, exc_type=ImportError), attribute)


# ---------------------------------------------------------------- problems


class Problem(NamedTuple):
    X: np.ndarray  # (m, n)
    labels: np.ndarray  # (m,)
    targets: np.ndarray  # (m, c), distributions, none of them one-hot
    theta: np.ndarray  # (n + 1, c)


def problem(m: int, n: int, c: int, dtype=np.float64, sigmoid: bool = False, seed: int = 0) -> Problem:
    """Seeded data whose features shrink with n, so that logits stay near 1 at any size."""
    rng = np.random.default_rng([m, n, c, seed])
    X = rng.standard_normal((m, n)) / np.sqrt(n)
    targets = rng.random((m, c)) if sigmoid else reference.softmax(rng.standard_normal((m, c)))
    labels = rng.integers(2 if sigmoid else c, size=m)
    return Problem(X.astype(dtype), labels, targets.astype(dtype), rng.standard_normal((n + 1, c)).astype(dtype))


def overflowing(p: Problem) -> Problem:
    """The same with features so large that a step at a large learning rate leaves infinities in theta."""
    return p._replace(X=p.X * np.sqrt(np.finfo(p.X.dtype).max) / 100)


def as_distribution(labels: np.ndarray, c: int, sigmoid: bool) -> np.ndarray:
    """The targets that labels stand for: a column of a sigmoid, rows of an identity matrix for a softmax."""
    return labels.reshape(-1, 1).astype(float) if sigmoid else np.eye(c)[labels]


# ---------------------------------------------------------------- linear trainers and their oracle

KINDS = {"wide": WideTrainer, "narrow": NarrowTrainer}


def trainer(
    kind: str,
    X: np.ndarray,
    theta: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    sigmoid: bool = False,
    rule: LossRule = CLIPPED,
    bias: bool = True,
    n_jobs: int = 1,
) -> WideTrainer | NarrowTrainer:
    """A trainer of the given kind, whatever ``fastclf`` would choose for the shape, that starts at theta."""
    samples, options = Samples(Rows(X, X.dtype), labels, targets), {"sigmoid": sigmoid, "rule": rule, "bias": bias}
    made = KINDS[kind](samples, theta.shape[1], n_jobs=n_jobs, **options)
    made.set_theta(theta)
    return made


def reference_steps(X, targets, theta, learning_rate, repeats=1, *, sigmoid=False, batch=True, bias=True):
    """The lab's losses and theta after ``repeats`` iterations, in float64; without bias, row 0 of theta is fixed.

    The lab's sigmoid has one column. Several are problems side by side, whose losses are added.
    """
    X, targets, theta = (np.asarray(a, np.float64) for a in (X, targets, theta))
    samples = reference.add_bias_term(X)
    loss_of = reference.binary_cross_entropy_loss if sigmoid else reference.categorical_cross_entropy_loss
    losses = []
    for _ in range(repeats):
        scores = samples @ theta
        p = reference.sigmoid(scores) if sigmoid else reference.softmax(scores)
        losses.append(loss_of(targets, p) * (targets.shape[1] if sigmoid else 1))
        if batch:
            new = reference.gradient_descent_step(samples, targets, p, theta, learning_rate, not sigmoid)
            theta = new if bias else np.vstack([theta[:1], new[1:]])
        else:
            for x, t in zip(samples, targets):
                new = reference.stochastic_gradient_descent_step(x[None], t[None], theta, learning_rate, not sigmoid)
                theta = new if bias else np.vstack([theta[:1], new[1:]])
    return np.array(losses), theta


# ---------------------------------------------------------------- other processes


def in_new_process(function: Callable, *args, timeout: float = 120, **environment) -> subprocess.CompletedProcess:
    """Run a function, which imports what it uses, in a fresh interpreter with these environment variables.

    It runs in an empty folder, so that the installed package is found and not the source folder; it must succeed.
    """
    code = f"{textwrap.dedent(inspect.getsource(function))}\n{function.__name__}(*{args!r})"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=os.environ | {name: str(value) for name, value in environment.items()},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    assert done.returncode == 0, f"{function.__name__} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


# ---------------------------------------------------------------- bfloat16


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """x, rounded to the nearest bfloat16, as float32."""
    x = np.asarray(x, np.float32)
    bits = x.view(np.uint32)
    near = ((bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)).astype(np.uint32)
    return np.where(np.isnan(x), x, near.view(np.float32))


def bfloat16_step(weights, biases, X, labels, rate):
    """A step of gradient descent, in float64 but for the operands of products: the loss, new weights and new biases."""
    product = lambda a, b: to_bfloat16(a).astype(np.float64) @ to_bfloat16(b).astype(np.float64)  # noqa: E731
    inputs, outputs = [X], []
    for W, b in zip(weights, biases):
        outputs.append(product(inputs[-1], W.T) + b)
        inputs.append(np.maximum(outputs[-1], 0))
    p, m = reference.softmax(outputs[-1]), len(X)
    loss, delta = -np.log(p[np.arange(m), labels]).mean(), (p - np.eye(p.shape[1])[labels]) / m
    new_weights, new_biases = [], []
    for l in reversed(range(len(weights))):
        new_weights.insert(0, weights[l] - rate * product(delta.T, inputs[l]))
        new_biases.insert(0, biases[l] - rate * delta.sum(axis=0))
        if l:
            delta = product(delta, weights[l]) * (outputs[l - 1] > 0)
    return loss, new_weights, new_biases
