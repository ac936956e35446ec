"""Atomic replacement of files: a new file is written beside the old one, and replaces the old one in one step."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


@functools.cache
def _host() -> str:
    """A short name of this computer: folders may be shared between computers."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def as_path(path: Any) -> Path:
    """A path from a str or os.PathLike; TypeError for anything else."""
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(name, str):
        raise TypeError(f"path must be a str or os.PathLike, got {type(path).__name__}")
    return Path(name)


@contextlib.contextmanager
def replacing(path: Any) -> Iterator[BinaryIO]:
    """Open a file for writing bytes, which replaces the file at ``path`` at the end of the ``with`` block.

    Until then, and if anything fails, the old file stays unchanged. The bytes are on the disk before the new file gets its
    name: after a crash, the old file or the new file is there. Links are followed, and the old file's permissions are kept.
    Raises ValueError if ``path`` is a folder or a device.
    """
    target = Path(os.path.realpath(as_path(path)))
    if target.exists() and not target.is_file():
        raise ValueError(f"path must be that of a file, got {str(target)!r}")
    _remove_leftovers(target.parent)
    temporary = target.with_name(f".fastclf-{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        # tempfile would make a private file; users expect the usual permissions.
        file = open(temporary, "xb")  # noqa: SIM115
    except OSError as error:
        error.filename = str(target)
        raise
    try:
        with file:
            if target.exists():
                shutil.copymode(target, temporary)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes of this computer that have been killed."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f".fastclf-{_host()}-*-*.tmp"):
            process = path.name.split("-")[2]
            if process.isdecimal() and not _is_alive(int(process)):
                path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # there, signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    return True


def _sync_folder(folder: Path) -> None:
    """Write the folder's new entry to the disk, if the system allows to open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
