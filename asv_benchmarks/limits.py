"""Arms that measure limits: the machine's rate, the start of a process, growth with the data, memory, and the disk."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from functools import cache, partial
from pathlib import Path

import numpy as np
from arms import Arm, Problem, fastclf_linear, fastclf_network

# ---------------------------------------------------------------- the machine's rate of multiply-adds; unit: GFLOP


def network_gflop(p: Problem) -> Arm:
    return dataclasses.replace(fastclf_network(p), units=p.flops / 1e9)


@cache
def _tile(depth: int):
    """Multiply-adds into a register tile of 3 x 4 sums; the operands, ``depth`` long, stay in the first-level cache."""
    import numba

    from fastclf.kernels.jit import FLAGS
    from fastclf.kernels.simd import lanes_of, vfma, vload, vsplat, vsum

    @numba.njit(parallel=True, **FLAGS)
    def tile(A, B, sums, repeats):
        for q in numba.prange(sums.shape[0]):
            lanes = lanes_of(A)
            a = b = c = d = e = f = g = h = i = j = k = l = vsplat(A, 0.0)
            for _ in range(repeats):
                for at in range(0, depth, lanes):
                    x, y, z = vload(A, at), vload(A, at + depth), vload(A, at + 2 * depth)
                    v = vload(B, at)
                    a, b, c = vfma(x, v, a), vfma(y, v, b), vfma(z, v, c)
                    v = vload(B, at + depth)
                    d, e, f = vfma(x, v, d), vfma(y, v, e), vfma(z, v, f)
                    v = vload(B, at + 2 * depth)
                    g, h, i = vfma(x, v, g), vfma(y, v, h), vfma(z, v, i)
                    v = vload(B, at + 3 * depth)
                    j, k, l = vfma(x, v, j), vfma(y, v, k), vfma(z, v, l)
            sums[q] = vsum(a + b + c + d + e + f + g + h + i + j + k + l)

    return tile


def tile_gflop(gflop: float, dtype=np.float32, threads: int | None = None) -> Arm:
    """The machine's rate of multiply-adds in so many threads, by default all; a pass has about ``gflop`` of them."""
    import numba

    threads, depth = threads or numba.get_num_threads(), 2048 // np.dtype(dtype).itemsize
    A, B, sums = (np.full(size, 1e-3, dtype) for size in (3 * depth, 4 * depth, threads))
    tile, calls = _tile(depth), max(1, round(gflop * 1e9 / (24 * depth * threads)))
    return Arm(lambda passes: tile(A, B, sums, passes * calls), calls * threads * 24 * depth / 1e9)


def blas_gflop(size: int) -> Arm:
    """A product of square float32 matrices by NumPy's BLAS."""
    A, B, C = (np.ones((size, size), np.float32) for _ in range(3))

    def train(passes):
        for _ in range(passes):
            np.matmul(A, B, out=C)

    return Arm(train, 2e-9 * size**3)


# ---------------------------------------------------------------- processes; unit: process

LAZY = "torch", "sklearn", "matplotlib"
IMPORT_FASTCLF = f"import fastclf, sys; assert not {{*{LAZY}}} & {{*sys.modules}}, 'imports too much'"
IMPORT_NUMBA = "import numba"
TRAIN_MODEL = (
    "import fastclf, numpy as np; r = np.random.RandomState(0); X = r.randn(160, 3); Y = np.eye(4)[r.randint(0, 4, 160)]; "
    "fastclf.train_model(X, Y, 0.01, 1000, True, True, verbose=False)"
)
TRAIN_MLP = (
    "import fastclf, numpy as np; r = np.random.RandomState(0); X = r.rand(3072, 1000); y = r.randint(0, 10, 1000); "
    "fastclf.MLPClassifier(3072, 100, 10).train(X, y, 1, 0.1, verbose=False)"
)


def python(*arguments: str, empty_cache: bool = False) -> str:
    """Run ``python`` in an empty folder and return its output; with ``empty_cache``, no kernel has been compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **({"FASTCLF_CACHE_DIR": folder} if empty_cache else {})}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def process(*arguments: str, empty_cache: bool = False) -> Arm:
    """An arm whose pass is one Python process, from its start to its exit."""

    def train(passes):
        for _ in range(passes):
            python(*arguments, empty_cache=empty_cache)

    return Arm(train)


# ---------------------------------------------------------------- growth with the number of samples; unit: sample


@cache
def _many_samples(m: int) -> Problem:
    """m samples of 64 features, drawn as float32 directly: a float64 draw would take three times the memory for a while."""
    rng = np.random.default_rng(0)
    return Problem(rng.random((m, 64), np.float32), rng.integers(0, 10, m), 10, learning_rate=1e-3)


def samples_of(m: int, total: int, per_sample: bool) -> Arm:
    """An arm whose pass is as many passes over m samples as make up ``total`` samples."""
    arm, passes = fastclf_linear(dataclasses.replace(_many_samples(m), per_sample=per_sample)), max(1, total // m)
    return Arm(lambda n: arm.train(n * passes), units=m * passes)


# ---------------------------------------------------------------- memory; unit: MB


def _peak_mb() -> float:
    """The peak memory of this process in MB. Linux counts a parent's peak into ru_maxrss, so VmHWM is preferred."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def memory_beyond_data(m: int, dtype: str, batch: bool) -> float:
    """MB that ``train_model`` takes on top of a process that holds the data, the model and the compiled kernels.

    With uint8 data, the computation is in float32.
    """
    import fastclf

    n, c, train = 64, 10, partial(fastclf.train_model, iterations=1, batch=batch, multiclass=True, verbose=False)
    rng, real = np.random.default_rng(0), "float32" if dtype == "uint8" else dtype
    X = rng.integers(0, 256, (m, n), np.uint8) if dtype == "uint8" else rng.random((m, n), dtype)
    Y = np.zeros((m, c), real)
    Y[:, 0] = 1
    train(X[:2000], Y[:2000], dtype=real)
    before = _peak_mb()
    theta, _ = train(X, Y, dtype=real)
    return _peak_mb() - before - theta.nbytes / 1e6


def loader_memory(m: int, dtype: str) -> float:
    """MB that an epoch over a DataLoader of m images takes on top of a process that holds the set and the kernels."""
    import dataclasses

    import arms

    import fastclf

    few = arms.LoaderProblem(m, np.dtype(dtype))
    train = arms.loader_lab(few, fastclf).train
    with_few = dataclasses.replace(few, images=20)
    arms.loader_lab(with_few, fastclf).train(1)  # compiles the kernels, and makes torch's one-time allocations
    before = _peak_mb()
    train(1)
    return _peak_mb() - before


def memory(function: str, *arguments) -> Arm:
    """A gauge whose reading is what a function of this file returns in a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import limits; "
    code += f"print(limits.{function}{arguments!r})"
    return Arm(lambda passes: float(python("-c", code)), gauge=True)


# ---------------------------------------------------------------- files larger than memory; unit: GB


class File:
    """A temporary file of random samples, and arms that read it from the disk; the file is deleted with the object."""

    def __init__(self, megabytes: int, n: int = 3072) -> None:
        m = max(2, int(megabytes * 1e6 / (4 * n)))
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "X.npy"
        rng, rows = np.random.default_rng(0), np.lib.format.open_memmap(self.path, "w+", np.float32, (m, n))
        for start in range(0, m, 8000):
            rows[start : start + 8000] = rng.random((min(8000, m - start), n), np.float32)
        rows.flush()
        self.y, self.gigabytes = rng.integers(0, 10, m), rows.nbytes / 1e9

    def forget(self) -> None:
        """Drop the file from the system's page cache."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)

    def timed(self, use) -> Arm:
        """A gauge: the seconds per GB that ``use`` takes on the memory-mapped file, none of which is cached at first."""
        use(np.load(self.path, mmap_mode="r")[:2000])  # compiles the kernels

        def reading(passes):
            X = np.load(self.path, mmap_mode="r")
            self.forget()
            start = time.perf_counter()
            use(X)
            return (time.perf_counter() - start) / self.gigabytes

        return Arm(reading, gauge=True)

    def read(self, X) -> None:
        """Read the file from its start to its end, 4 MiB at a time, and do nothing else: this gives the disk's own rate."""
        room = bytearray(1 << 22)
        with open(self.path, "rb", buffering=0) as file:
            while file.readinto(room):
                pass
