"""The cells of text whose rows are cut by a delimiter: from files, compressed by gzip or not, or from standard input."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

STANDARD_INPUT = "-"
_DELIMITERS = ",;\t|"
_GZIP = b"\x1f\x8b"
_LINES_TO_SNIFF = 20
_TEXT_FILES = (".csv", ".tsv", ".txt")


def suffix_of(path: Path) -> str:
    """The file's extension in lower case: of x.csv.gz, it is .csv."""
    inner = Path(path.name.lower().removesuffix(".gz")).suffix
    return inner if inner in _TEXT_FILES else path.suffix.lower()


def file_name(path: Path | None) -> str:
    """The file's name for messages; a ``path`` of None is standard input."""
    return "standard input" if path is None else str(path)


def rows_of(path: Path | None, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """The line number and the cells of each row, without blank lines; a row of several lines has the number of its last.

    Without a ``delimiter``, it is found out from the first lines.
    """
    where = file_name(path)
    with _opened(path) as file:
        try:
            first = [*itertools.islice(file, _LINES_TO_SNIFF)]
            reader = _reader(itertools.chain(first, file), delimiter or _sniffed(first))
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except csv.Error as error:
            raise ValueError(f"{where}, line {reader.line_num}: {error}") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{where} must be text in UTF-8, got {error}") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{where} must be a whole gzip file: {error}") from None


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[io.TextIOWrapper]:
    source: Any = contextlib.nullcontext(sys.stdin.buffer) if path is None else path.open("rb")
    with source as raw:
        is_compressed = raw.peek(len(_GZIP)).startswith(_GZIP)
        text = io.TextIOWrapper(gzip.GzipFile(fileobj=raw) if is_compressed else raw, encoding="utf-8-sig", newline="")
        try:
            yield text
        finally:
            text.detach()  # else the wrapper would close standard input


def _reader(lines: Iterable[str], delimiter: str) -> Any:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != " ", strict=True)


def _sniffed(lines: Sequence[str]) -> str:
    """The delimiter that cuts the first row and most of the others into equally many columns; a comma if none cuts it.

    csv.Sniffer goes by how often characters occur, and at times takes a letter or a decimal point for the delimiter.
    """

    def merit(delimiter: str) -> tuple[int, int]:
        widths = list[int]()
        with contextlib.suppress(csv.Error):  # the last of these lines may be in the middle of a row
            for cells in _reader(lines, delimiter):
                if cells:
                    widths.append(len(cells))
        n = widths[0] if widths else 1
        return (widths.count(n), n) if n > 1 else (0, 0)

    return max(_DELIMITERS, key=merit)  # of equal ones, the first
