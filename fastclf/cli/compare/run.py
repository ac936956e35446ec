"""The main job: the whole lab, run on the reference and on fastclf from the same seeds, compared and reported.

``problems`` makes the data, ``stages`` the trainers on them, ``timing`` runs a stage both ways, ``page`` draws the report.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict
from pathlib import Path

from ... import lab
from ..report import Report
from .page import TITLE, write_page
from .stages import Run, stages
from .timing import SEED, Row, compare, table, timed


def run_lab(
    data: str = "digits",
    *,
    quick: bool = False,
    out: str | Path = "lab-report",
    data_root: str | None = None,
    download: bool = False,
) -> list[Row]:
    """Run every stage both ways, print the table and write the report; returns a row for each stage.

    ``data`` is "digits", "photos" or "cifar10", which is in the folder ``data_root``, or with ``download`` is brought there
    by torchvision. ``quick`` trains few epochs: a run of seconds. ``out`` is the report's folder.
    """
    from tqdm.auto import tqdm

    page = Report(out, TITLE)  # what a report needs is found missing now, not after the stages
    chosen = stages(data, quick, data_root, download)
    rows: list[Row] = []
    runs: list[Run] = []
    start = time.perf_counter()
    for stage in tqdm(chosen, desc="compiling, or reading the cache", unit="stage", leave=False):
        timed(stage, lab, cap=1)
    ready = time.perf_counter() - start
    with tqdm(chosen, unit="stage", leave=False) as bar:
        for stage in bar:
            bar.set_description(f"{stage.name} on {stage.problem.name}, both ways")
            row, run = compare(stage, rounds=1 if quick or stage.problem.name == "cifar10" else 5)
            rows.append(row)
            runs.append(run)
    print(table(rows))
    print(f"\nkernels ready after {ready:.1f} s (compiled, or read from the cache): not part of any speed-up")
    machine = {"python": platform.python_version(), "platform": platform.platform(), "data": data, "quick": quick}
    results = {
        **machine,
        "seed": SEED,
        "kernels_ready_seconds": ready,
        "stages": [{**asdict(r), "passed": r.passed} for r in rows],
    }
    (page.folder / "results.json").write_text(json.dumps(results, indent=1))
    print(f"report: {write_page(page, chosen, rows, runs, table(rows))}")
    return rows
