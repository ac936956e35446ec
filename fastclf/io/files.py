"""Atomic replacement of files: a new file is written beside the old one, and replaces the old one in one step."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


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
    temporary = target.with_name(f".fastclf-{secrets.token_hex(8)}.tmp")
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


def _sync_folder(folder: Path) -> None:
    """Write the folder's new entry to the disk, if the system allows to open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
