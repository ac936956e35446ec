"""A cache of compiled kernels in one file, which is carried to another machine."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from ..io.files import replacing

_NAME = re.compile(r"\w+\.\w+-[0-9a-f]{16}\.nbc")
_MOST_BYTES = 64 << 20  # of one kernel


def export(folder: Path, path: str) -> int:
    """Put the kernels that are in ``folder``, the cache, into a file; returns how many there are."""
    from ..kernels.cache import source_digest

    kernels = sorted(folder.glob("*.nbc"))
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = source_digest().encode()
        for kernel in kernels:
            archive.write(kernel, kernel.name)
    return len(kernels)


def take_in(folder: Path, path: str) -> int:
    """Put the kernels of a file into ``folder``, the cache; returns how many there are.

    Raises
    ------
    ValueError
        If the file is no export, is damaged, or comes from other versions. Then the cache stays as it was.
    """
    from ..kernels.cache import source_digest, unsealed

    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment.decode(errors="replace") != source_digest():
                raise ValueError(
                    f"{path} was exported by another version of fastclf, Python, Numba or llvmlite, or is no export: its "
                    "kernels can not be used here"
                )
            for entry in archive.infolist():
                if not _NAME.fullmatch(entry.filename) or entry.file_size > _MOST_BYTES:
                    raise ValueError(f"{path} is no export of kernels: it has a file {entry.filename!r}")
                found[entry.filename] = archive.read(entry)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is no export of kernels, or is damaged: {error}") from None
    for name, content in found.items():
        if unsealed(name, content) is None:
            raise ValueError(f"{path} is damaged: {name} does not match its checksum")
    for name, content in found.items():
        with replacing(folder / name) as file:
            file.write(content)
    return len(found)
