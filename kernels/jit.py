"""How kernels are compiled: flags, signatures, serial and parallel twins, and the cache of machine code.

A kernel is one Python function and the types of its arguments, written in its decorator. It is compiled when it is
first called, once for each element type and each twin, and never for anything else: what reaches it in another dtype,
layout or dimension is an error of ours, not a silent recompilation.

*Flags.* ``FASTMATH`` names what the compiler may change. It holds nothing that alters a rounding (``reassoc``,
``contract``, ``arcp``), because a kernel's two twins must give the same bits, and neither ``nnan`` nor ``ninf``, because
a run that diverges must be seen to. Kernels write their fused operations and the order of their sums themselves.

*Twins.* The same source is compiled without and with threads, under two names, so that neither reads the other's cache.

*Cache.* Numba notices a change in a kernel's own file only, not in the helpers it inlines. Here the folder is named by
a digest of every kernel source and of the compiler's version: a change anywhere starts an empty folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading
import types as python_types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types
from numba.core import caching, config


def _import_without_scipy() -> None:
    """Import the part of Numba that imports scipy.linalg for no more than to see that it is there.

    That costs a quarter of a second in every process, and no kernel of ours calls a BLAS. The check itself is put back:
    it runs where somebody's code does.
    """
    from numba.np import linalg

    check = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        from numba.np import arraymath

        arraymath.ensure_blas = check
    finally:
        linalg.ensure_blas = check


_import_without_scipy()

FASTMATH = frozenset({"nsz"})
FLAGS: dict[str, Any] = {"fastmath": set(FASTMATH), "error_model": "numpy", "nogil": True, "_nrt": False}

#: A function that kernels call, compiled with each kernel that uses it. The products and the output layer: large, called
#: from several places, and worth one copy in the machine code.
helper = numba.njit(**FLAGS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
#: The same, for what is small and stands in inner loops: always inlined.
inlined = numba.njit(**FLAGS, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)


# ---------------------------------------------------------------- argument types, as functions of the element type


def _array(ndim: int, readonly: bool) -> Callable[[types.Type], types.Type]:
    return lambda element: types.Array(element, ndim, "C", readonly=readonly)


IN1, IN2 = _array(1, True), _array(2, True)  # numbers that the kernel reads
OUT1, OUT2 = _array(1, False), _array(2, False)  # numbers that it may write


def INDEX(element: types.Type) -> types.Type:
    """Positions: a vector of int64 that the kernel reads."""
    return types.Array(types.int64, 1, "C", readonly=True)


def TABLE(element: types.Type) -> types.Type:
    """A model's layout: a matrix of int64 that the kernel reads."""
    return types.Array(types.int64, 2, "C", readonly=True)


def OUT64(element: types.Type) -> types.Type:
    """Losses: a vector of float64 that the kernel writes, whatever the element type."""
    return types.Array(types.float64, 1, "C")


def REAL(element: types.Type) -> types.Type:
    return element


def INT(element: types.Type) -> types.Type:
    return types.int64


def FLAG(element: types.Type) -> types.Type:
    return types.boolean


# ---------------------------------------------------------------- the cache


@functools.cache
def source_digest() -> str:
    """A digest of every kernel source, the compiler's version and the flags: the name of the cache's folder."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sorted(FASTMATH)}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_root() -> Path:
    """The folder that holds all our compiled kernels: FASTCLF_CACHE_DIR, else NUMBA_CACHE_DIR, else the user's cache."""
    if chosen := os.environ.get("FASTCLF_CACHE_DIR"):
        return Path(chosen)
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR) / "fastclf"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local"))
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return base.expanduser() / "fastclf"


_KEPT_DIGESTS = 8


@functools.cache
def cache_folder() -> Path | None:
    """Where this version's compiled kernels are kept; None, after one warning, where nothing can be written."""
    folder = cache_root() / source_digest()
    try:
        fresh = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        warnings.warn(
            f"fastclf can not keep its compiled kernels in {folder} ({error.strerror}): they are compiled anew in every "
            "process. Set FASTCLF_CACHE_DIR to a folder that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    if fresh:
        ours = (p for p in folder.parent.iterdir() if re.fullmatch("[0-9a-f]{16}", p.name) and p.is_dir())
        siblings = sorted(ours, key=lambda p: p.stat().st_mtime)
        for stale in siblings[:-_KEPT_DIGESTS]:
            shutil.rmtree(stale, ignore_errors=True)
    return folder


class _Locator(caching._CacheLocator):
    """Tells Numba to use our folder; the digest in its name makes the stamp."""

    def __init__(self, py_func: Any, folder: str) -> None:
        self._py_file, self._folder = py_func.__code__.co_filename, folder

    def get_cache_path(self) -> str:
        return self._folder

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return Path(self._py_file).stem

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator:
        return cls(py_func, str(cache_folder()))


class _CacheImpl(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(caching.FunctionCache):
    _impl_class = _CacheImpl

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Numba's key without the hash of a closure, which is another one in every process; the digest has the source."""
        return sig, codegen.magic_tuple()

    def holds(self, sig: Any, context: Any) -> bool:
        context.refresh()
        return self._index_key(sig, context.codegen()) in self._cache_file._load_index()


# ---------------------------------------------------------------- threads

# Set in a forked child whose parent had started threads: GNU OpenMP would end the child at its first parallel kernel.
_threads_lost = False
_threads_started = False
_workqueue_lock = threading.Lock()


def _after_fork() -> None:
    global _threads_lost
    _threads_lost = _threads_started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _start_threads() -> None:
    """Start Numba's pool, and remember that it was: a process forked from this one has no pool, and can have none."""
    global _threads_started
    if not _threads_started:
        from numba.np.ufunc import parallel

        parallel._launch_threads()
        _threads_started = True


def available_threads() -> tuple[int, int]:
    """How many threads Numba is set to use, and how many it could; one and one in a forked child that lost them."""
    if _threads_lost:
        return 1, 1
    _start_threads()
    return numba.get_num_threads(), config.NUMBA_NUM_THREADS


@contextlib.contextmanager
def _parallel_region(threads: int) -> Iterator[None]:
    """Numba's pool at ``threads`` threads, put back afterwards; one caller at a time where its layer needs that."""
    _start_threads()
    lock = _workqueue_lock if numba.threading_layer() == "workqueue" else contextlib.nullcontext()
    with lock:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            yield
        finally:
            numba.set_num_threads(before)


# ---------------------------------------------------------------- kernels

#: Every kernel of the package, by name: what ``fastclf warmup`` compiles and the tests walk over.
KERNELS: dict[str, Kernel] = {}

#: Called with one sentence before a compilation that somebody waits for.
announce: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731


class Kernel:
    """A compiled function: ``kernel(*args, threads=n)``.

    The last parameter of a kernel that has a parallel twin is ``workers``, the number of equal shares to cut its work
    into; it is filled in here.
    """

    def __init__(self, function: Callable[..., Any], specs: dict[str, Callable], parallel: bool) -> None:
        functools.update_wrapper(self, function)
        code = function.__code__
        names = code.co_varnames[: code.co_argcount]
        expected = (*specs, "workers") if parallel else (*specs,)
        if names != expected:
            raise TypeError(f"kernel {function.__name__}: parameters {names}, declared {expected}")
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self.specs, self.parallel, self._function = specs, parallel, function
        self._element_at = next(i for i, s in enumerate(specs.values()) if s in (IN1, IN2, OUT1, OUT2))
        self._ready: dict[tuple[bool, str], Any] = {}
        self._twins: dict[bool, Any] = {}
        self._lock = threading.RLock()
        KERNELS[self.name] = self

    def _twin(self, parallel: bool) -> Any:
        if parallel not in self._twins:
            f = self._function
            twin = python_types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
            twin.__qualname__ = f"{f.__name__}__{'parallel' if parallel else 'serial'}"
            twin.__module__ = f.__module__
            dispatcher = numba.njit(**FLAGS, no_cfunc_wrapper=True, parallel=parallel)(twin)
            if cache_folder() is not None:
                dispatcher._cache = _Cache(twin)
            self._twins[parallel] = dispatcher
        return self._twins[parallel]

    def signature(self, dtype: Any) -> tuple[types.Type, ...]:
        """The Numba types of the arguments for elements of ``dtype``."""
        if np.dtype(dtype).name not in ("float32", "float64"):
            raise TypeError(f"kernel {self.name} is for float32 and float64, got {np.dtype(dtype)}")
        element = numba.from_dtype(np.dtype(dtype))
        sig = tuple(spec(element) for spec in self.specs.values())
        return (*sig, types.int64) if self.parallel else sig

    def compile(self, dtype: Any, parallel: bool = False, quiet: bool = False) -> Any:
        """The machine code for one element type and twin: from memory, from the cache, or compiled now."""
        key = parallel, np.dtype(dtype).name
        with self._lock:
            if key not in self._ready:
                dispatcher, sig = self._twin(parallel), self.signature(dtype)
                cache = dispatcher._cache
                known = isinstance(cache, _Cache) and cache.holds(sig, dispatcher.targetctx)
                if not (quiet or known):
                    kept = "kept for later runs" if isinstance(cache, _Cache) else "there is no cache"
                    announce(f"fastclf: compiling {self.name} for {key[1]} (seconds, once: {kept})")
                dispatcher._can_compile = True
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", numba.NumbaPerformanceWarning)
                    dispatcher.compile(sig)
                dispatcher.disable_compile()
                self._ready[key] = dispatcher
        return self._ready[key]

    def is_cached(self, dtype: Any, parallel: bool = False) -> bool:
        """Whether the machine code for one element type and twin is on disk."""
        dispatcher = self._twin(parallel)
        return isinstance(dispatcher._cache, _Cache) and dispatcher._cache.holds(
            self.signature(dtype), dispatcher.targetctx
        )

    def __call__(self, *args: Any, threads: int = 1) -> Any:
        dtype = args[self._element_at].dtype
        if not self.parallel:
            return self.compile(dtype)(*args)
        if threads == 1 or _threads_lost:
            return self.compile(dtype)(*args, 1)
        twin = self.compile(dtype, parallel=True)
        with _parallel_region(threads):
            return twin(*args, threads)


def kernel(parallel: bool = False, **specs: Callable) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare a kernel by the types of its parameters, in their order."""
    return lambda function: Kernel(function, specs, parallel)
