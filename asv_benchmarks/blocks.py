"""The parts of pages that scripts write: a block is everything between two comments of a Markdown file."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """The text between ``<!-- name:begin -->`` and ``<!-- name:end -->``."""

    page: Path
    name: str

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}:begin -->"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}:end -->"

    def split(self) -> tuple[str, str, str]:
        """The page's text before the block, in the block, and after it; exit if the page lacks the comments."""
        text = self.page.read_text(encoding="utf-8")
        if text.count(self.begin) != 1 or text.count(self.end) != 1 or text.index(self.begin) > text.index(self.end):
            sys.exit(f"{self.page} must have {self.begin} and, after it, {self.end}, once each")
        before, rest = text.split(self.begin)
        block, after = rest.split(self.end)
        return before, block.strip(), after

    def write(self, text: str) -> None:
        before, _, after = self.split()
        self.page.write_text(f"{before}{self.begin}\n{text}\n{self.end}{after}", encoding="utf-8")

    def difference(self, wanted: str, source: str) -> list[str]:
        """The lines in which the block differs from the text that ``source`` gives; none if it does not."""
        _, block, _ = self.split()
        old, new = block.splitlines(), wanted.splitlines()
        return [*difflib.unified_diff(old, new, self.page.name, source, n=0, lineterm="")]
