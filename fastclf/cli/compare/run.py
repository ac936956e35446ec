"""Run the whole lab on the NumPy reference and on fastclf from the same seeds, compare the two, and write the report.

``problems`` makes the data, ``stages`` pairs data with trainers, ``timing`` compares a stage, ``page`` writes the report.
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
from .timing import SEED, Row, compare, interference, table, timed


def run_lab(
    data: str = "digits",
    *,
    quick: bool = False,
    out: str | Path = "lab-report",
    jobs: int | None = None,
    data_root: str | None = None,
    download: bool = False,
) -> list[Row]:
    """Run every stage on the reference and on fastclf, print the table, write the report; return a row for each stage.

    ``data`` is "digits", "photos" or "cifar10". CIFAR-10 is read from the folder ``data_root``; ``download`` lets
    torchvision download it there. ``quick`` trains for few epochs, which takes seconds. ``out`` is the report's folder.
    ``jobs`` is the number of threads of both runs: of NumPy's BLAS, and of fastclf.
    """
    from threadpoolctl import threadpool_limits
    from tqdm.auto import tqdm

    from ...kernels import threads

    page = Report(out, TITLE)  # if matplotlib is missing, this fails before the stages run
    chosen = stages(data, quick, data_root, download)
    rows: list[Row] = []
    runs: list[Run] = []
    start = time.perf_counter()
    threads.follow_threadpoolctl()
    with threadpool_limits(jobs):
        for stage in tqdm(chosen, desc="compiling, or reading the cache", unit="stage", leave=False):
            timed(stage, lab, cap=1)
        ready = time.perf_counter() - start
        disturbances = [interference()]
        with tqdm(chosen, unit="stage", leave=False) as bar:
            for stage in bar:
                bar.set_description(f"{stage.name} on {stage.problem.name}, both ways")
                row, run = compare(stage, rounds=1 if quick or stage.problem.name == "cifar10" else 5)
                rows.append(row)
                runs.append(run)
        disturbances.append(interference())
    print(table(rows))
    for line in dict.fromkeys(line for line in disturbances if line):
        print(f"\nnote: {line}")
    print(f"\nkernels ready after {ready:.1f} s (compiled, or read from the cache): not part of any speed-up")
    machine = {"python": platform.python_version(), "platform": platform.platform(), "data": data, "quick": quick}
    results = {
        **machine,
        "seed": SEED,
        "jobs": jobs,
        "disturbances": disturbances,
        "kernels_ready_seconds": ready,
        "stages": [{**asdict(r), "passed": r.passed} for r in rows],
    }
    (page.folder / "results.json").write_text(json.dumps(results, indent=1))
    print(f"report: {write_page(page, chosen, rows, runs, table(rows))}")
    return rows
