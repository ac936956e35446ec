"""Where a command writes: never over what it reads, over nothing that it did not make, and somewhere if a disk is full."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def check_output(option: str, path: str, inputs: Iterable[str | None], force: bool) -> None:
    """Raise OSError or ValueError before the work, and not after an hour of it, if no file should be written to ``path``.

    ``inputs`` are the files that the command reads. ``force`` allows to replace another file that is there.
    """
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{option} {path}: there is no folder {folder}")
    if Path(path).is_dir():
        raise IsADirectoryError(f"{option} {path} is a folder: name a file in it")
    if Path(path).exists() and not Path(path).is_file():
        raise OSError(f"{option} {path} is a device, and no file")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{option} {path}: {folder} can not be written to")
    if not os.path.lexists(path):
        return
    for read in inputs:
        if read is not None and Path(read).exists() and Path(path).exists() and os.path.samefile(path, read):
            raise ValueError(f"{option} {path} would write over {read}, which this command reads")
    if not force:
        raise FileExistsError(f"{option} {path}: there is such a file; --force replaces it")


def saved(write: Callable[[str], None], path: str) -> str:
    """Let ``write`` write a file to ``path`` or, if that fails, elsewhere; returns the path that it was written to.

    What took hours is not dropped for a full disk: the system's folder for temporary files comes next, and then, on a
    terminal, the places that the user names.
    """
    try:
        write(path)
        return path
    except OSError as error:
        print(f"fastclf: {path} can not be written: {error.strerror or error}", file=sys.stderr)
        failure = error
    spare = os.path.join(tempfile.gettempdir(), f"fastclf-{os.getpid()}-{Path(path).name}")
    while True:
        try:
            write(spare)
            return spare
        except (OSError, ValueError) as error:
            print(f"fastclf: {spare} can not be written: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        if not sys.stdin.isatty():
            raise failure
        try:
            spare = input("Another path for the model (empty to give up): ").strip()
        except EOFError:
            spare = ""
        if not spare:
            raise failure
