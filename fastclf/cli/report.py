"""The report that ``fastclf lab`` and ``--report`` write: a folder with pictures, and an HTML page that shows them."""

from __future__ import annotations

import html
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from ..io.files import replacing
from ..plots.confusion import draw_confusion
from ..plots.templates import grid

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="generator" content="fastclf">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --bad: #b00 }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #ddd; --paper: #16181d; --line: #3a3f4a; --bad: #ff7b72 }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
body {{ color: var(--ink); background: var(--paper) }}
.scroll {{ overflow-x: auto; margin: .5rem 0 2rem }}
table {{ border-collapse: collapse; min-width: 100% }}
th, td {{ padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }}
td {{ font-variant-numeric: tabular-nums }}
th:first-child, td:first-child {{ text-align: left }}
.facts td {{ text-align: left; white-space: normal; overflow-wrap: anywhere }}
.facts td:first-child {{ white-space: nowrap; vertical-align: top }}
img {{ max-width: 100%; display: block; background: #fff; border-radius: .4rem }}
img.wide {{ min-width: 44rem }}
.failed {{ color: var(--bad); font-weight: 600 }}
@media (max-width: 30rem) {{ body {{ margin: 1rem auto }} h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.2rem }} }}
@media print {{
  :root {{ --ink: #000; --paper: #fff; --line: #bbb; --bad: #b00 }}
  body {{ max-width: none; margin: 0; font-size: 11pt }}
  .scroll {{ overflow: visible }} img.wide {{ min-width: 0 }}
  h2, img, tr {{ break-inside: avoid }} h2 {{ break-after: avoid }}
}}
</style>
<h1>{title}</h1>
{parts}
</html>
"""
_MARK = '<meta name="generator" content="fastclf">'
_DPI = 140
_WIDE = 10  # inches, from which a picture is not made smaller than it can be read: it scrolls


def _line(cells: Sequence[str], tag: str, state: str = "") -> str:
    return f"<tr{state}>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


class Report:
    """An HTML page under construction; its parts appear in the order in which they are added.

    The constructor creates the folder. It raises ImportError without matplotlib, OSError if the folder can not be created,
    and FileExistsError if it holds something else than an earlier report.
    """

    def __init__(self, folder: str | Path, title: str) -> None:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise ImportError("a report is drawn with matplotlib: pip install 'fastclf[lab]'") from None
        self.folder, self._title, self._parts = Path(folder), title, list[str]()
        self.folder.mkdir(parents=True, exist_ok=True)
        page = self.folder / "index.html"
        if any(self.folder.iterdir()) and not (page.is_file() and _MARK in page.read_text("utf-8", errors="replace")):
            raise FileExistsError(f"{folder} holds something else than a report of fastclf: name another folder")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], failed: Sequence[bool] = ()) -> None:
        """Add a table; row i is highlighted if ``failed[i]`` is true."""
        marks = [' class="failed"' if mark else "" for mark in failed]
        body = [_line(row, "td", marks[i] if i < len(marks) else "") for i, row in enumerate(rows)]
        self._parts.append("\n".join(['<div class="scroll"><table>', _line(head, "th"), *body, "</table></div>"]))

    def facts(self, facts: dict[str, str]) -> None:
        """Add a table of facts by their names, with the date, the versions and the command."""
        from .info import version_of

        versions = ", ".join(f"{name} {version_of(name)}" for name in ("fastclf", "numpy", "numba", "scikit-learn"))
        program = Path(sys.argv[0]).name
        command = shlex.join(["fastclf" if program == "__main__.py" else program, *sys.argv[1:]])
        facts = facts | {"date": f"{datetime.now():%Y-%m-%d %H:%M}", "versions": versions, "command": command}
        rows = (_line(fact, "td") for fact in facts.items())
        self._parts.append("\n".join(['<div class="scroll"><table class="facts">', *rows, "</table></div>"]))

    @staticmethod
    def figure(width: float, height: float) -> Any:
        """A new figure, its size in inches; it needs no screen, and pyplot does not know of it."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        made = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(made)
        return made

    def images(self, n: int) -> tuple[Any, Any]:
        """A new figure, and its grid of axes for ``n`` images."""
        rows, columns, size = grid(n)
        figure = self.figure(*size)
        return figure, figure.subplots(rows, columns)

    def confusion(
        self, truth: ArrayLike, predictions: ArrayLike, classes: Sequence[Any], caption: str, names: Any = None
    ) -> None:
        """Add a picture of the confusion matrix: see ``draw_confusion``."""
        side = 1.8 + 0.48 * len(classes)
        figure = self.figure(side, side)
        draw_confusion(figure.subplots(), truth, predictions, classes, names)
        self.picture(figure, "confusion", caption)

    def picture(self, figure: Any, name: str, caption: str) -> None:
        """Save a figure as ``name``.png, and add it to the page under its caption."""
        figure.savefig(self.folder / f"{name}.png", dpi=_DPI)
        caption = html.escape(caption)
        kind = ' class="wide"' if figure.get_figwidth() > _WIDE else ""
        picture = f'<img src="{name}.png" alt="{caption}"{kind}>'
        self._parts.append(f'<h2>{caption}</h2>\n<div class="scroll">{picture}</div>')

    def write(self) -> Path:
        """Write ``index.html`` and return its path."""
        page = self.folder / "index.html"
        with replacing(page) as file:
            file.write(_PAGE.format(title=html.escape(self._title), parts="\n".join(self._parts)).encode())
        return page
