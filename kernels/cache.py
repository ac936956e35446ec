"""The cache on disk that keeps compiled kernels from one process to the next.

Numba notices a change in a kernel's own file only, not in the helpers that the kernel inlines. So the cache's folder is
named by a digest of every kernel source, flags included, and of the compiler's version. Any change starts a new folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import re
import shutil
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching, config

from .warning import warn_user


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
_LEFTOVER_SECONDS = 3600
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


_warned: set[str] = set()


def _warn_once(what: str, reason: str) -> None:
    """Warn of the first of several faults of one kind."""
    if what not in _warned:
        _warned.add(what)
        warn_user(
            f"{what}: {reason}. Kernels are compiled anew, which takes seconds. FASTCLF_CACHE_DIR chooses another folder.",
            RuntimeWarning,
        )


@functools.cache
def cache_folder() -> Path | None:
    """The folder of this version's compiled kernels; None, after one warning, if there is none that can be trusted.

    The machine code in the folder is executed. So the folder must be the user's own, and nobody else may write to it.
    """
    folder = None
    try:
        folder = cache_root() / source_digest()
        fresh = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if os.name == "posix":
            found = folder.stat()
            if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_MAY_WRITE:
                raise PermissionError(0, "others may write to it")
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        place = "compiled kernels" if folder is None else f"compiled kernels in {folder}"
        _warn_once(f"fastclf can not keep its {place}", getattr(error, "strerror", None) or str(error))
        return None
    if fresh:
        ours = (p for p in folder.parent.iterdir() if re.fullmatch("[0-9a-f]{16}", p.name) and p.is_dir())
        siblings = sorted(ours, key=lambda p: p.stat().st_mtime)
        for stale in siblings[:-_KEPT_DIGESTS]:
            shutil.rmtree(stale, ignore_errors=True)
    return folder


class _SealedFiles:
    """A function's machine code on disk: a file for each type of arguments and processor, with a checksum in front.

    The checksum covers the file's name and the sources' digest, too: a file from elsewhere, or under another one's name, is
    as good as a damaged one. Numba's own files have no checksum, and share an index, into which two processes that compile
    at the same time may write one file's name for two types.
    """

    def __init__(self, folder: str, name: str) -> None:
        self._folder, self._name = Path(folder), name

    def path(self, key: Any) -> Path:
        return self._folder / f"{self._name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    @staticmethod
    def _checksum(path: Path, data: bytes) -> bytes:
        return hashlib.sha256(f"{source_digest()} {path.name} ".encode() + data).digest()

    def load(self, key: Any) -> Any:
        """The entry for ``key``; None if there is none, or, after one warning, if it is damaged."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _warn_once("fastclf can not read a compiled kernel", f"{path}: {error.strerror}")
            return None
        size = hashlib.sha256().digest_size
        if content[:size] == self._checksum(path, content[size:]):
            return pickle.loads(content[size:])
        _warn_once("a compiled kernel of fastclf is damaged", f"{path} does not match its checksum")
        return None

    def save(self, key: Any, entry: Any) -> None:
        """Write the entry under a temporary name first, so that nobody reads a part of it."""
        self._remove_leftovers()
        path, data = self.path(key), numba.core.serialize.dumps(entry)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            temporary.write_bytes(self._checksum(path, data) + data)
            os.replace(temporary, path)
        except OSError as error:
            _warn_once("fastclf can not keep a compiled kernel", f"{path}: {error.strerror}")
        finally:
            temporary.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove temporary files so old that nobody writes them any more: their processes have been killed."""
        for leftover in self._folder.glob("*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                    leftover.unlink()


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

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = _SealedFiles(
            self._cache_path, f"{Path(function.__code__.co_filename).stem}.{function.__name__}"
        )

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Numba's key without the hash of a closure, which differs between processes; the digest covers the source."""
        return sig, codegen.magic_tuple()

    def holds(self, sig: Any, context: Any) -> bool:
        context.refresh()
        return self._cache_file.path(self._index_key(sig, context.codegen())).exists()
