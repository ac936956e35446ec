"""The report that ``fastclf lab`` and ``--report`` write: a folder with pictures, and an HTML page that shows them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
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
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0 }}
th, td {{ padding: .35rem .7rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100%; display: block; margin: .5rem 0 2rem }}
.failed {{ color: #b00; font-weight: 600 }}
</style>
<h1>{title}</h1>
{parts}
</html>
"""
_MARK = '<meta name="generator" content="fastclf">'
_DPI = 140


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

        def line(cells: Sequence[str], tag: str, state: str = "") -> str:
            return f"<tr{state}>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        marks = [' class="failed"' if mark else "" for mark in failed]
        body = [line(row, "td", marks[i] if i < len(marks) else "") for i, row in enumerate(rows)]
        self._parts.append("\n".join(["<table>", line(head, "th"), *body, "</table>"]))

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
        self._parts.append(f'<h2>{caption}</h2>\n<img src="{name}.png" alt="{caption}">')

    def write(self) -> Path:
        """Write ``index.html`` and return its path."""
        page = self.folder / "index.html"
        with replacing(page) as file:
            file.write(_PAGE.format(title=html.escape(self._title), parts="\n".join(self._parts)).encode())
        return page
