"""The cache on disk that keeps compiled kernels from one process to the next.

The code is for an instruction set, not for a processor (see ``codegen``): a folder that was filled on one machine serves
all that have the set.

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
from numba.core.compiler import CompileResult

from .codegen import load_lowering
from .warning import warn_user

#: The machine code that a wheel was built with: see packaging/prebuilt.py.
PREBUILT = Path(__file__).parent / "prebuilt"


@functools.cache
def source_digest() -> str:
    """A digest of every kernel source and of the versions of Python and the compiler, which names the cache's folder."""
    versions = f"{sys.implementation.cache_tag} {numba.__version__} {llvmlite.__version__}"
    digest = hashlib.sha256(versions.encode())
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


def _checksum(name: str, data: bytes) -> bytes:
    return hashlib.sha256(f"{source_digest()} {name} ".encode() + data).digest()


def unsealed(name: str, content: bytes) -> bytes | None:
    """The data in a file of this name with this content; None if the checksum in front does not match.

    The checksum covers the file's name and the sources' digest, too: a file from elsewhere, or under another one's name, is
    as good as a damaged one.
    """
    size = hashlib.sha256().digest_size
    return content[size:] if content[:size] == _checksum(name, content[size:]) else None


class _SealedFiles:
    """A function's machine code on disk: a file for each type of arguments and code generator, with a checksum in front.

    Numba's own files have no checksum, and share an index, into which two processes that compile at the same time may
    write one file's name for two types.
    """

    def __init__(self, folder: str | Path, name: str) -> None:
        self._folder, self._name = Path(folder), name

    def path(self, key: Any) -> Path:
        return self._folder / f"{self._name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

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
        if (data := unsealed(path.name, content)) is not None:
            return pickle.loads(data)
        _warn_once("a compiled kernel of fastclf is damaged", f"{path} does not match its checksum")
        return None

    def save(self, key: Any, entry: Any) -> None:
        """Write the entry under a temporary name first, so that nobody reads a part of it."""
        self._remove_leftovers()
        path, data = self.path(key), numba.core.serialize.dumps(entry)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            temporary.write_bytes(_checksum(path.name, data) + data)
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


class Cache(caching._Cache):
    """One function's machine code, from the first place that has it: the package, if it was built with code, or the folder.

    It is what Numba asks of a cache of its own, with files of ours.
    """

    def __init__(self, function: Any) -> None:
        self._name = f"{Path(function.__code__.co_filename).stem}.{function.__name__}"
        self._places = {"package": _SealedFiles(PREBUILT, self._name)} if PREBUILT.is_dir() else {}
        if (folder := cache_folder()) is not None:
            self._places["cache"] = _SealedFiles(folder, self._name)

    @staticmethod
    def _key(sig: Any, codegen: Any) -> Any:
        """The types of the arguments, and what the code generator compiles for. The digest covers the source."""
        return sig, codegen.magic_tuple()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The function as it was compiled once, or None. Then Numba has been made ready to compile it."""
        key = self._key(sig, target_context.codegen())
        for place in self._places.values():
            if (entry := place.load(key)) is not None:
                return CompileResult._rebuild(target_context, *entry)
        load_lowering(target_context)
        return None

    def save_overload(self, sig: Any, compiled: Any) -> None:
        if compiled.library.has_dynamic_globals:
            raise RuntimeError(f"{self._name} has addresses in its code, which no other process can use")
        if "cache" in self._places:
            self._places["cache"].save(self._key(sig, compiled.codegen), compiled._reduce())

    def place_of(self, sig: Any, target_context: Any) -> str | None:
        """Where the function's code is: "package", "cache", or None."""
        key = self._key(sig, target_context.codegen())
        return next((name for name, place in self._places.items() if place.path(key).exists()), None)

    @property
    def cache_path(self) -> str:
        return str(cache_folder())

    def enable(self) -> None:
        """Our cache is always on; Numba can not be asked to switch it off."""

    disable = flush = enable
