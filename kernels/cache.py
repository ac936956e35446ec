"""The cache on disk that keeps compiled kernels from one process to the next.

Numba notices a change in a kernel's own file only, not in the helpers that the kernel inlines. So the cache's folder is
named by a digest of every kernel source, flags included, and of the compiler's version. Any change starts a new folder.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching, config


@functools.cache
def source_digest() -> str:
    """A digest of every kernel source and of the compiler's version, which names the cache's folder."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
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
    """The folder of this version's compiled kernels; None, after one warning, if the folder can not be written."""
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
    """Makes Numba use our folder, with the source digest as the stamp of every file."""

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


class Cache(caching.FunctionCache):
    _impl_class = _CacheImpl

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Numba's key without the hash of a closure, which differs between processes; the digest covers the source."""
        return sig, codegen.magic_tuple()

    def holds(self, sig: Any, context: Any) -> bool:
        context.refresh()
        return self._index_key(sig, context.codegen()) in self._cache_file._load_index()
