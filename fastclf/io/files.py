"""Files that are whole at any time: written beside the old one, which gives way to the new one in one step."""

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
    """A file to write bytes to, which takes the place of ``path`` at the end of the ``with`` block.

    Until then, and if anything fails, whatever has been there stays as it is. The bytes are on the disk before the name is
    theirs: after a crash there is the old file or the new one. A link is followed, and an old file's permissions are kept.
    What is there and is no file, a folder or a device, is a ValueError.
    """
    target = Path(os.path.realpath(as_path(path)))
    if target.exists() and not target.is_file():
        raise ValueError(f"path must be that of a file, got {str(target)!r}")
    temporary = target.with_name(f".fastclf-{secrets.token_hex(8)}.tmp")
    try:
        # Not by tempfile, whose files are private: the usual permissions are those that others expect.
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
    """Bring the new name to the disk, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
