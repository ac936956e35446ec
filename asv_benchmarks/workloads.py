"""The table of all workloads, and how they are measured; it feeds the asv benchmarks, ``peers.py`` and the README.

The arms of a workload run in turn, A B C A B C …, in one process; a ratio is the median of the ratios of all rounds.
The first arm is fastclf's. With FASTCLF_BENCH_QUICK set, everything is small: a smoke test, whose figures mean nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import arms
import limits
import numpy as np
import scipy.sparse
import sweep
from arms import Arm, Problem

import fastclf
from fastclf import reference
from fastclf.kernels.target import TARGET

VERSION = "3"  # raise it when a workload changes: asv keeps the figures of different versions apart
PEERS = {"sklearn": "scikit-learn", "torch": "torch", "jax": "JAX", "jax_by_hand": "JAX, backprop by hand"}
BFLOAT16 = {"float32": "fastclf, float32", "autocast": "torch, autocast to bfloat16"}  # arms beside ours in bfloat16
RIVALS = "sklearn", "torch", "jax"  # a network's target is a speed-up over the fastest of these
SETTLE = 0.1  # seconds of pause in which the threads of the previous arm stop spinning; OpenBLAS's take the longest
WAKE = 0.02  # seconds for which an arm repeats its call; only the last counts, as the processor slept in the pause


def quick() -> bool:
    return bool(os.environ.get("FASTCLF_BENCH_QUICK"))


class Target(NamedTuple):
    """A lower bound on the speed-up over the fastest arm of ``against``, or without ``against`` on fastclf's own figure.

    ``at_most`` makes it an upper bound, on fastclf's figure divided by the other arm's, or on fastclf's own figure. With
    ``bound`` None the figure is only shown.
    """

    bound: float | None
    against: tuple[str, ...] = ()
    at_most: bool = False

    def met(self, value: float) -> bool:
        if self.bound is None:
            return True
        return value <= self.bound if self.at_most else value >= self.bound


@dataclass
class Measurement:
    """The figures of each arm, one per round: seconds per unit, or a gauge's readings; and the losses after the check."""

    samples: dict[str, list[float]]
    losses: dict[str, float]

    @property
    def own(self) -> list[float]:
        return next(iter(self.samples.values()))

    @property
    def figure(self) -> float:
        return statistics.median(self.own)

    def speedup(self, arm: str) -> float:
        return statistics.median(other / own for own, other in zip(self.own, self.samples[arm]))

    def rival(self, target: Target) -> str | None:
        """The arm that decides a target: the fastest arm of ``against`` that has been measured, or None."""
        return min((a for a in target.against if a in self.samples), key=self.speedup, default=None)

    def value(self, target: Target) -> float | None:
        """The figure that a target bounds; None if no arm that the figure needs has been measured."""
        if not self.samples:
            return None
        if not target.against:
            return self.figure
        rival = self.rival(target)
        if rival is None:
            return None
        return 1 / self.speedup(rival) if target.at_most else self.speedup(rival)


@dataclass(frozen=True)
class Workload:
    """Arms that do the same work, and the targets of the first one.

    In each of ``rounds``, an arm makes ``passes`` passes, and a slow arm ``slow`` passes. Before the rounds, every arm makes
    ``check`` passes from the same initial parameters, which compiles the kernels and gives the losses; 0 leaves this out.
    """

    id: str
    name: str
    build: Callable[[], dict[str, Callable[[], Arm]]]
    unit: str = "step"
    targets: tuple[Target, ...] = ()
    passes: int = 1
    slow: int = 1
    check: int = 1
    rounds: int = 7
    group: str = "trainers"  # the asv files choose their workloads by this name
    slug: str = ""  # the name of the asv benchmark, if the workload has one of its own
    busy: int = 0  # other processes that compute while the workload is measured
    needs: tuple[str, ...] = ()  # packages without which there is nothing to measure

    def has(self, arm: str) -> bool:
        return arm in self.build()

    def can_run(self) -> bool:
        return all(importlib.util.find_spec(package) for package in self.needs)

    def passes_of(self, arm: Arm) -> int:
        passes = self.slow if arm.slow else self.passes
        return -(-passes // 100) if quick() else passes

    def ready(self, name: str) -> Callable[[], None]:
        """Build an arm and make its check passes; return a function that makes the passes of one round."""
        if not self.can_run():
            raise NotImplementedError(f"{self.id} needs {', '.join(self.needs)}")  # asv skips it
        arm = self.build()[name]()
        arm.train(self.check)
        return lambda: arm.train(self.passes_of(arm))

    def measure(self) -> Measurement:
        ready: dict[str, Arm] = {}
        if not self.can_run():
            return Measurement({}, {})
        for name, make in self.build().items():
            with contextlib.suppress(*[ImportError] if name in (*PEERS, "autocast") else []):
                ready[name] = make()
        losses = {}
        with silence():
            for name, arm in ready.items():
                if self.check:
                    arm.train(self.check)
                    if arm.loss:
                        losses[name] = arm.loss()
            samples: dict[str, list[float]] = {name: [] for name in ready}
            with busy_processes(self.busy):
                for _ in range(1 if quick() else self.rounds):
                    for name, arm in ready.items():
                        samples[name].append(self._sample(arm))
        return Measurement(samples, losses)

    def _sample(self, arm: Arm) -> float:
        passes = self.passes_of(arm)
        time.sleep(0 if quick() else SETTLE)
        awake = time.perf_counter() + (0 if quick() else WAKE)
        while True:
            start = time.perf_counter()
            reading = arm.train(passes)
            elapsed = time.perf_counter() - start
            if time.perf_counter() >= awake:
                break
        return reading if arm.gauge else elapsed / (passes * arm.units)


@contextlib.contextmanager
def busy_processes(count: int):
    """So many processes that never rest: a browser, another notebook, the other users of a server."""
    endless = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(endless) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def silence():
    """Discard the printed lines: the reference prints one per epoch."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


# ---------------------------------------------------------------- data


@cache
def lab_data() -> tuple[np.ndarray, np.ndarray]:
    """The 160 training samples of the lab's four classes."""
    from sklearn.datasets import make_classification
    from sklearn.model_selection import train_test_split

    X, y = make_classification(
        200, 3, n_informative=3, n_redundant=0, n_clusters_per_class=1, n_classes=4, random_state=100
    )
    X_train, _, y_train, _ = train_test_split(X, y, test_size=0.2, random_state=100)
    return X_train, y_train


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    m = 100 if quick() else len(X)
    return X[:m] / 16, y[:m]


@cache
def images(m: int, n_features: int = 3072, n_classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Random data, as large as the lab's CIFAR-10 images; so small that no gradient is clipped, as peers do not clip."""
    rng, m = np.random.default_rng(0), min(m, 100) if quick() else m
    return rng.random((m, n_features)) / 2, rng.integers(0, n_classes, m)


@cache
def text(n_classes: int, n_words: int = 100_000) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """Random data, like a small text collection: 10,000 rows of 100 words, low numbers more often."""
    rng, m = np.random.default_rng(0), 500 if quick() else 10_000
    words, rows = (n_words * rng.random((m, 100)) ** 3).astype(np.int32).ravel(), np.repeat(np.arange(m), 100)
    return scipy.sparse.csr_matrix((rng.random(words.size), (rows, words)), (m, n_words)), rng.integers(0, n_classes, m)


def problem(data, dtype, n_classes=10, **how) -> Problem:
    X, y = data
    return Problem(X.astype(dtype) if scipy.sparse.issparse(X) else np.ascontiguousarray(X, dtype), y, n_classes, **how)


# ---------------------------------------------------------------- building blocks of the table's rows


def _arms(kinds: dict[str, Callable[[Problem], Arm]], data, dtype, n_classes: int = 10, **how):
    """Arms of several kinds on one shared problem, which is made when the first arm is built."""

    def build():
        shared = cache(lambda: problem(data(), dtype, n_classes, **how))
        return {name: lambda kind=kind: kind(shared()) for name, kind in kinds.items()}

    return build


def _both(kind: Callable, **peers) -> dict[str, Callable]:
    return {"fastclf": partial(kind, lab=fastclf), "reference": partial(kind, lab=reference), **peers}


BATCH_PEERS = {"sklearn": arms.sklearn_network, "torch": arms.torch_eager}
NETWORK = {"fastclf": arms.fastclf_network, "reference": arms.reference_network, **BATCH_PEERS}
JAX = {"jax": arms.jax_scan, "jax_by_hand": arms.jax_by_hand}
SGD = {
    "fastclf": arms.fastclf_linear, "reference": arms.reference_sgd, "sklearn": arms.sklearn_sgd,
    "torch": arms.torch_eager, "jax": arms.jax_scan,
}  # fmt: skip


def _network(id: str, hidden: tuple[int, ...], m: int, passes: int, slow: int, bound: float) -> Workload:
    widths = "–".join(map(str, (3072, *hidden, 10)))
    return Workload(
        f"{id}.{m}", f"MLP {widths}, batch {m}, float32",
        _arms(NETWORK | JAX, partial(images, m), np.float32, hidden=hidden),
        targets=(Target(bound, RIVALS),), passes=passes, slow=slow, check=5,
    )  # fmt: skip


def _estimator(
    id: str, name: str, bound: float, epochs: int, data, dtype, hidden: tuple[int, ...] = (), **how
) -> Workload:
    kinds = {arm: partial(arms.estimator, ours=arm == "fastclf", **how) for arm in ("fastclf", "sklearn")}
    return Workload(
        id, name, _arms(kinds, data, dtype, hidden=hidden), "epoch", (Target(bound, ("sklearn",)),), passes=epochs, check=2
    )  # fmt: skip


images_2000 = partial(images, 2000)
BATCHES = ((1000, 20, 10, 1.4), (128, 100, 50, 1.6), (32, 200, 100, 2), (1, 1000, 200, 2))  # m, passes, slow, target


def _fraction_of_peak():
    shared = problem(images(1000), np.float32, hidden=(100,))
    return {
        "fastclf": partial(limits.network_gflop, shared),
        "tile": partial(limits.tile_gflop, shared.flops / 1e9),
        "blas": partial(limits.blas_gflop, 256 if quick() else 2048),
    }


def _growth(per_sample: bool):
    most, total = (20_000, 20_000) if quick() else (1_000_000, 2_000_000)
    parts = {"fastclf": 1, "tenth": 10, "hundredth": 100, "thousandth": 1000}
    return {name: partial(limits.samples_of, most // part, total, per_sample) for name, part in parts.items()}


def _memory(dtype: str, batch: bool):
    return {"fastclf": partial(limits.memory, "memory_beyond_data", 20_000 if quick() else 1_000_000, dtype, batch)}


def _images() -> int:
    return 3000 if quick() else 50_000


def _loader(dtype):
    shared = arms.LoaderProblem(_images(), np.dtype(dtype))
    return {**_both(partial(arms.loader_lab, shared)), "torch": partial(arms.loader_torch, shared)}


def _list(tensors: bool):
    shared = arms.ListProblem(problem(digits(), np.float32, hidden=(32, 32)), tensors)
    kinds = {"fastclf": partial(arms.loader_lab, shared, lab=fastclf)}
    # The lab's NumPy code takes no tensors, and torch no arrays.
    other = {"torch": partial(arms.loader_torch, shared)} if tensors else _both(partial(arms.loader_lab, shared))
    return kinds | other


def _loader_memory(dtype: str):
    return {"fastclf": partial(limits.memory, "loader_memory", _images(), dtype)}


@cache
def _file() -> limits.File:
    return limits.File(8 if quick() else 1000)


def _from_disk(use):
    """Arms for ``use(X, y)`` on a memory-mapped file that is not in the page cache, and for reading the file only."""
    return {
        "fastclf": lambda: _file().timed(lambda X: use(X, _file().y[: len(X)])),
        "disk": lambda: _file().timed(_file().read),
    }


def _fit_linear(X, y):
    fastclf.FastLinearClassifier(max_iter=1, tol=None, shuffle="blocks", random_state=0).fit(X, y)


def _fit_mlp(X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that one epoch does not converge
        fastclf.FastMLPClassifier((100,), max_iter=1, shuffle="blocks", random_state=0).fit(X, y)


def _descend(X, y):
    targets = np.eye(10, dtype=np.float32)[y]
    fastclf.train_model(X, targets, 0.01, 1, True, True, dtype=np.float32, verbose=False)


def _processes(cold: bool = False, **commands: tuple[str, ...]):
    return {name: partial(limits.process, *a, empty_cache=cold and not quick()) for name, a in commands.items()}


def _against_numba(id: str, name: str, slug: str, bound: float, code: str) -> Workload:
    build = partial(_processes, fastclf=("-c", code), numba=("-c", limits.IMPORT_NUMBA))
    return Workload(id, name, build, "process", (Target(bound, ("numba",), at_most=True),), group="startup", slug=slug)


def _cold(id: str, name: str, slug: str, bound: float, rounds: int, *command: str) -> Workload:
    build, targets = partial(_processes, cold=True, fastclf=command), (Target(bound, at_most=True),)
    return Workload(id, name, build, "process", targets, check=0, rounds=rounds, group="startup", slug=slug)


def _prediction(id: str, name: str, widths: tuple[int, ...], rows: int, passes: int, target: Target) -> Workload:
    """Predictions by fastclf, scikit-learn and, of an MLP, a bare torch module; ``widths`` are those of all layers."""
    n, *hidden, c = widths
    kinds = {
        "fastclf": partial(arms.predictor, rows=rows, ours=True),
        "sklearn": partial(arms.predictor, rows=rows, ours=False),
        **({"torch": partial(arms.torch_predictor, rows=rows)} if hidden else {}),
    }
    what = "–".join(map(str, widths))
    return Workload(
        id, f"{name} {what}, {rows:,} sample{'s' if rows > 1 else ''} a call, float32",
        _arms(kinds, partial(images, 1000, n), np.float32, c, hidden=tuple(hidden)), "call", (target,), passes=passes,
        slow=passes, group="prediction",
    )  # fmt: skip


def _swept(number: int, shape: sweep.Shape) -> Workload:
    n, *hidden, c = shape.widths
    passes = max(1, min(1000, round(2e9 / shape.flop)))
    peers = BATCH_PEERS | JAX
    if c == 2:
        del peers["sklearn"]  # it trains a network with one output, for two classes
    return Workload(
        f"W{number}", str(shape),
        _arms(
            {"fastclf": arms.fastclf_network, **peers}, partial(images, shape.m, n, c), np.dtype(shape.dtype), c,
            hidden=tuple(hidden), learning_rate=1e-3,
        ),
        targets=(Target(1, tuple(PEERS)),), passes=passes, slow=-(-passes // 2), check=2, rounds=5, group="sweep",
    )  # fmt: skip


def _in_bfloat16(number: int, m: int, passes: int, n: int, *hidden: int) -> Workload:
    """A network in bfloat16, beside ours in float32 and, on processors with the instruction, torch's autocast."""
    widths = "–".join(map(str, (n, *hidden, 10)))
    kinds = {"fastclf": partial(arms.fastclf_network, in_bfloat16=True), "float32": arms.fastclf_network}
    fast = TARGET.multiplies_pairs
    if fast:
        kinds["autocast"] = partial(arms.torch_eager, in_bfloat16=True)
    return Workload(
        f"B{number}", f"MLP {widths}, batch {m}, bfloat16", _arms(kinds, partial(images, m, n), np.float32, hidden=hidden),
        targets=(Target(1.5 if fast else 1, ("float32",)), Target(1.2, ("autocast",))), passes=passes, slow=passes, check=5,
        group="bfloat16",
    )  # fmt: skip


def _under_load(workload: Workload) -> list[Workload]:
    """A workload beside no, two and four busy processes."""
    return [
        dataclasses.replace(
            workload, id=f"L{busy}.{workload.id}", name=f"{workload.name}, beside {busy} busy processes", busy=busy,
            targets=(Target(1, tuple(PEERS)),), rounds=5, group="load",
        )
        for busy in (0, 2, 4)
    ]  # fmt: skip


def _ensemble(id: str, name: str, kind: Callable) -> Workload:
    kinds = {"fastclf": partial(kind, ours=True), "sklearn": partial(kind, ours=False)}
    return Workload(id, name, _arms(kinds, digits, np.float64), "fit", (Target(1, ("sklearn",)),), check=1)


# ---------------------------------------------------------------- the table

# Number, estimator, widths of the layers, and the sizes and targets of predictions in bulk.
PREDICTIONS = (
    (1, "FastLinearClassifier.predict", (64, 10), ((10_000, 1),)),
    (2, "FastLinearClassifier.predict", (3072, 10), ((10_000, 1),)),
    (3, "FastMLPClassifier.predict", (64, 100, 10), ((10_000, 1),)),
    (4, "FastMLPClassifier.predict", (784, 256, 10), ((10_000, 1.5),)),
    (5, "FastMLPClassifier.predict", (3072, 1024, 10), ((10_000, 1.5),)),
    (6, "FastMLPClassifier.predict", (10_000, 100, 10), ((1200, 1),)),
    (7, "FastMLPClassifier.predict", (784, 100, 1000), ((4000, 1),)),
)

TABLE: tuple[Workload, ...] = (
    Workload(
        "S1", "train_model, SGD, the lab's 160×3, 4 classes, 1000 iterations, float64",
        _arms(_both(arms.train_model), lab_data, np.float64, 4, per_sample=True),
        "iteration", (Target(350, ("reference",)),), passes=1000, check=5, rounds=5,
    ),
    Workload(
        "S2", "train_model, batch, the same",
        _arms(_both(arms.train_model, **BATCH_PEERS, jax=arms.jax_scan), lab_data, np.float64, 4),
        "iteration", (Target(15, ("reference",)), Target(4, ("jax",))), passes=1000, slow=300, check=10, rounds=15,
    ),
    Workload(
        "S3", "ImageLinearClassifier and train, 1000×3072, 10 classes, 100 epochs, float64",
        _arms(_both(arms.image_classifier, **BATCH_PEERS, **JAX), partial(images, 1000), np.float64, learning_rate=1e-3),
        "epoch", (Target(4, ("reference",)),), passes=100, slow=20, check=10,
    ),
    Workload(
        "S4", "ImageLinearClassifier and train, the same, float32",
        _arms(_both(arms.image_classifier, **BATCH_PEERS, **JAX), partial(images, 1000), np.float32, learning_rate=1e-3),
        "epoch", (Target(2, ("jax",)), Target(4.5, ("torch",))), passes=100, slow=20, check=10,
    ),
    Workload(
        "S5", "per-sample softmax SGD, 3×4, float64", _arms(SGD, lab_data, np.float64, 4, per_sample=True),
        targets=(Target(1.5, ("jax",)), Target(6, ("sklearn",))), passes=1000,
    ),
    Workload(
        "S6", "per-sample softmax SGD, 64×10, float32", _arms(SGD, digits, np.float32, per_sample=True),
        targets=(Target(8, ("jax",)), Target(15, ("sklearn",))), passes=20,
    ),
    Workload(
        "S7", "per-sample softmax SGD, 3072×10, float32",
        _arms(SGD, partial(images, 1000), np.float32, per_sample=True, learning_rate=1e-4),
        targets=(Target(7, ("jax",)), Target(18, ("sklearn",))), passes=5,
    ),
    *(_network("S8", (100,), *row) for row in BATCHES),
    *(_network("S9", (100, 100), *row) for row in BATCHES),
    Workload(
        "S10", "MLP 3072–100–10, batch 1000, float64",
        _arms(NETWORK | JAX, partial(images, 1000), np.float64, hidden=(100,)),
        targets=(Target(1.4, ("reference",)),), passes=10, slow=10, check=5,
    ),
    _estimator("E1", "FastMLPClassifier, Adam, 3072–100–10, batch 200, float32", 2, 5, images_2000, np.float32, (100,)),
    _estimator("E2", "FastMLPClassifier, Adam, digits: 64–100–10, batch 200, float64", 5, 50, digits, np.float64, (100,)),
    _estimator("E2.float32", "the same, float32", 5, 50, digits, np.float32, (100,)),
    _estimator("E3", "FastLinearClassifier, per-sample SGD, digits, float64", 10, 100, digits, np.float64),
    _estimator("E3.float32", "the same, float32", 10, 100, digits, np.float32),
    _estimator("E4", "the same, CSR of 10,000×100,000, 100 per row, 2 classes, float64", 1, 5, partial(text, 2), np.float64),
    _estimator("E4.20", "the same, 20 classes", 1, 5, partial(text, 20), np.float64),
    _estimator("E5", "FastMLPClassifier, tanh, digits, as E2", 2, 50, digits, np.float64, (100,), activation="tanh"),
    _estimator("E6", "the same by L-BFGS, ReLU: an iteration", 2, 50, digits, np.float64, (100,), solver="lbfgs"),
    _estimator(
        "E7", "FastMLPClassifier, Adam, CSR of 10,000×20,000, 100 per row: 20,000–100–10, float64", 1.5, 1,
        partial(text, 10, 20_000), np.float64, (100,),
    ),
    Workload(
        "S11", "S8 at batch 1000: share of the machine's rate of multiply-adds", _fraction_of_peak,
        "GFLOP", (Target(0.9, ("tile", "blas")),), passes=20, group="machine", slug="fraction_of_peak",
    ),
    _against_numba(
        "S12", "`import fastclf` (without torch, sklearn, matplotlib) over `import numba`", "import_over_numba", 1.3,
        limits.IMPORT_FASTCLF,
    ),
    _cold("S13.train_model", "a first train_model, empty cache", "cold_train_model", 4, 3, "-c", limits.TRAIN_MODEL),
    _cold("S13.mlp", "a first MLPClassifier.train, empty cache", "cold_mlp", 8, 3, "-c", limits.TRAIN_MLP),
    _cold("S13.warmup", "`fastclf warmup`, empty cache", "cold_warmup", 60, 1, "-m", "fastclf", "warmup"),
    _against_numba(
        "S13.warm", "a warm process that trains the lab's batch run over `import numba`", "warm_process_over_numba", 2,
        limits.TRAIN_MODEL,
    ),
    *(
        Workload(
            f"S14.{slug}", f"{what}, 64×10, float32: time per sample at m = 1,000,000 over m = 100,000",
            partial(_growth, per_sample), "sample", (Target(1.15, ("tenth",), at_most=True),), group="machine",
            slug=f"growth_{slug}",
        )
        for slug, what, per_sample in (("sgd", "per-sample SGD", True), ("batch", "batch descent", False))
    ),
    *(
        Workload(
            f"S14.memory.{slug}.{dtype}", f"train_model, {slug}, 1,000,000×64, {dtype}: memory beyond data and model",
            partial(_memory, dtype, batch), "MB", (Target(64, at_most=True),), check=0, rounds=1, group="machine",
            slug=f"memory_{slug}_{dtype}",
        )
        for slug, batch in (("batch", True), ("sgd", False))
        for dtype in ("float32", "float64", "uint8")
    ),
    *(
        Workload(
            f"D1.{dtype}", f"DeepMLPClassifier.train, DataLoader of 50,000 CIFAR-shaped images, batch 1000, {dtype}",
            partial(_loader, dtype), "epoch", (Target(bound, ("reference",)),), rounds=3, needs=("torch", "torchvision"),
        )
        for dtype, bound in (("float32", 10), ("float64", 5))
    ),
    *(
        Workload(
            f"D2.{what}", f"DeepMLPClassifier.train, a plain list of 1,797 batches of one sample, {what}, 64–32–10, float32",
            partial(_list, tensors), "epoch", (Target(bound, rivals),), rounds=5, needs=("torch",),
        )
        for what, tensors, bound, rivals in (("arrays", False, 2, ("reference",)), ("tensors", True, 5, ("torch",)))
    ),
    *(
        Workload(
            f"D1.memory.{dtype}", f"the same, {dtype}: memory beyond the set's bytes", partial(_loader_memory, dtype), "MB",
            (Target(300, at_most=True),), check=0, rounds=1, group="machine", slug=f"memory_loader_{dtype}",
            needs=("torch", "torchvision"),
        )
        for dtype in ("float32", "float64")
    ),
    *(
        Workload(
            id, f"an epoch on a mapped file of 1 GB, none of it in memory, {what}: share of the disk's rate of reading",
            partial(_from_disk, use), "GB", (Target(None, ("disk",)),), check=0, rounds=5, group="machine", slug=slug,
        )
        for id, what, use, slug in (
            ("M1", "train_model, batch, 10 classes, float32", _descend, "disk_train_model"),
            ("M2", "FastLinearClassifier, per-sample SGD, shuffled by blocks", _fit_linear, "disk_linear"),
            ("M3", "FastMLPClassifier, 3072–100–10, shuffled by blocks", _fit_mlp, "disk_mlp"),
        )
    ),
    *(
        Workload(
            f"threads.{n}.{m}", f"MLP {n}–100–10, batch {m}, float32: all threads over one",
            _arms(
                {"fastclf": partial(arms.fastclf_network, threads=-1), "one": partial(arms.fastclf_network, threads=1)},
                partial(images, m, n), np.float32, hidden=(100,),
            ),
            passes=2000 // m, check=5, group="threads",
        )
        for n, m in ((64, 16), (64, 32), (64, 64), (64, 128), (64, 200), (784, 1), (784, 2), (784, 8), (784, 16), (3072, 1))
    ),
    *(
        _prediction(f"P{number}.{rows}", name, widths, rows, passes, Target(bound, ("sklearn",)))
        for number, name, widths, bulk in PREDICTIONS
        for rows, passes, bound in ((1, 300, 1.3), (10, 300, 1), (100, 100, 1))
    ),
    *(
        _prediction(f"P{number}.{rows}", name, widths, rows, 2, Target(bound, ("sklearn", "torch")))
        for number, name, widths, bulk in PREDICTIONS
        for rows, bound in bulk
    ),
)  # fmt: skip
TABLE += tuple(
    _in_bfloat16(number, *row)
    for number, row in enumerate(
        ((1000, 20, 3072, 100), (128, 100, 3072, 100), (128, 50, 784, 512, 512), (256, 10, 3072, 1024)), 1
    )
)
TABLE += tuple(_swept(number, shape) for number, shape in enumerate(sweep.shapes()))
TABLE += tuple(
    under_load
    for workload in (
        *(w for w in TABLE if w.id in ("S4", "S8.128", "E1", "E2")),
        _ensemble("stacking", "StackingClassifier of four small models, digits", arms.stacking),
        _ensemble("grid", "GridSearchCV(n_jobs=2) of a small MLP, digits", arms.grid_search),
    )
    for under_load in _under_load(workload)
)


def group(name: str) -> dict[str, Workload]:
    """The workloads of a group by their id."""
    return {w.id: w for w in TABLE if w.group == name}


def measure(workloads: dict[str, Workload]) -> dict[str, Measurement]:
    return {id: workload.measure() for id, workload in workloads.items()}
