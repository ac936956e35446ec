"""Measure fastclf beside the lab in plain NumPy, scikit-learn, torch and JAX, on every workload of the table, in one run.

    python asv_benchmarks/peers.py [--quick] [--only S1,S8,sweep]
    python asv_benchmarks/peers.py --write-readme [--only sweep]
    python asv_benchmarks/peers.py --check

A peer that is not installed leaves its column empty. ``--write-readme`` keeps the raw figures in peers.json, and writes the
tables of docs/benchmarks.md and a few of their rows in the README from them. With ``--only``, the other rows keep their
figures, if they come from the same machine and versions. ``--check`` fails if a page is not what peers.json gives.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from pathlib import Path

from blocks import Block
from workloads import BFLOAT16, PEERS, TABLE, Measurement, Target, Workload, quick

HERE = Path(__file__).parent
RESULTS = HERE / "peers.json"
DOCS = HERE.parent / "docs" / "benchmarks.md"
IN_README, IN_DOCS, IN_SWEEP = Block(HERE.parent / "README.md", "peers"), Block(DOCS, "peers"), Block(DOCS, "sweep")
SHOWN = "S1", "S8.128", "E2", "E3", "D1.float32"  # in the README, with the row that is lost by most
COMMAND = "python asv_benchmarks/peers.py --write-readme"
RIVALS = {"reference": "reference", **PEERS, **BFLOAT16}
SAME_LOSS = 1e-4  # relative: more than float32 and float64 differ after the few check passes
# The groups of workloads that are races, with what is said of each, and the head of its last column. The sweep is a race,
# too, but it has so many rows that the README only sums them up.
RACES = {
    "trainers": ("", "loss"),
    "prediction": (
        "Predictions. scikit-learn's estimators and fastclf's check their input; torch's bare module checks nothing.", ""
    ),
    "bfloat16": (
        "Networks in bfloat16; torch under autocast, on processors that multiply bfloat16. The losses are those after a few "
        "steps, whose products each rounds in its own way.",
        "loss",
    ),
    "load": (
        "Beside other processes that compute all the time. All arms of a row take turns under the same load.", "loss"
    ),
}  # fmt: skip
MEASURED = [w for w in TABLE if w.group != "threads"]

SWEEP = [w for w in MEASURED if w.group == "sweep"]

Measured = dict[str, Measurement]


# ---------------------------------------------------------------- one run


def machine() -> dict[str, str]:
    import numba

    from fastclf.cli.info import processor
    from fastclf.kernels.target import TARGET

    cores = f"{os.cpu_count()} cores, {numba.get_num_threads()} threads"
    return {
        "processor": processor(),
        "cores": cores,
        "vectors": TARGET.name,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in ("fastclf", "numpy", "numba", "scikit-learn", "torch", "jax"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def measured_on(command: str) -> str:
    """What figures go with: the machine, the versions, today's date, and the command that has measured them."""
    of_all = ", ".join(machine().values()), ", ".join(map(" ".join, versions().items()))
    return f"{'; '.join(of_all)}; {datetime.date.today().isoformat()}; `{command}`"


def run(rows: list[Workload]) -> dict:
    """Measure the rows; return everything that the tables are made from, ready for JSON."""
    report = {"machine": machine(), "versions": versions(), "rows": {}}
    today = datetime.date.today().isoformat()
    for row in rows:
        print(f"{row.id:24s} {row.name}", file=sys.stderr, flush=True)
        measured = row.measure()
        samples = {arm: [float(f"{x:.4g}") for x in values] for arm, values in measured.samples.items()}
        losses = {arm: float(f"{x:.8g}") for arm, x in measured.losses.items()}
        report["rows"][row.id] = {
            "name": row.name, "unit": row.unit, "date": today, "samples": samples, "losses": losses
        }  # fmt: skip
    return report


def merged(old: dict, new: dict) -> dict:
    """The report ``old`` with the rows of ``new`` in place of its own; exit unless both are of one machine and versions."""
    for what in ("machine", "versions"):
        if old[what] != new[what]:
            sys.exit(f"{RESULTS} has figures of other {what}: {old[what]}, not {new[what]}; all rows must be measured")
    rows = old["rows"] | new["rows"]
    return old | {"rows": {row.id: rows[row.id] for row in MEASURED if row.id in rows}}


def dates(report: dict) -> str:
    """The day on which all rows were measured, or the first and the last day."""
    days = sorted({raw["date"] for raw in report["rows"].values()})
    return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""


# ---------------------------------------------------------------- tables


def number(x: float) -> str:
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{number(seconds * scale)} {unit}"
    return f"{number(seconds * 1e9)} ns"


def speedup_cell(row: Workload, m: Measurement, arm: str, with_targets: bool = True) -> str:
    """The speed-up over an arm, and the target if this arm decides it."""
    if arm not in m.samples:
        return ""
    cell = f"{number(m.speedup(arm))}x"
    for target in row.targets if with_targets else ():
        if m.rival(target) == arm:
            cell += f" (target {target.bound:g}x{'' if target.met(m.speedup(arm)) else ', missed'})"
    return cell


def loss_cell(m: Measurement) -> str:
    """fastclf's loss, and the losses of the arms that differ from it."""
    if not m.losses:
        return ""
    own = next(iter(m.losses.values()))
    others = [f"{RIVALS[a]} {x:.4f}" for a, x in m.losses.items() if abs(x - own) > SAME_LOSS * abs(own)]
    return "; ".join([f"{own:.4f}", *others])


def bound_cells(m: Measurement, target: Target, unit: str) -> list[str]:
    """Two cells: the measured figure of a limit, and its target."""
    value, unit = m.value(target), "" if target.against else f" {'s' if unit == 'process' else unit}"
    wanted = "" if target.bound is None else f"at {'most' if target.at_most else 'least'} {target.bound:g}{unit}"
    return [f"{number(value)}{unit}", wanted + ("" if target.met(value) else ", missed")]


def table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows])


def measured_in(report: dict) -> Measured:
    """The measurements by the rows' ids; a row without figures is left out."""
    return {id: Measurement(raw["samples"], raw["losses"]) for id, raw in report["rows"].items() if raw["samples"]}


def conditions(report: dict) -> str:
    parts = [", ".join(report["machine"].values()), ", ".join(map(" ".join, report["versions"].items())), dates(report)]
    return "; ".join(part for part in parts if part)


def race_table(rows: list[Workload], measured: Measured, last: str) -> str:
    """A row for each workload that has been measured; the last column, with the losses, has the head ``last``.

    It has a column for every other arm that one of the rows has.
    """
    others = [arm for arm in RIVALS if any(arm in measured[row.id].samples for row in rows if row.id in measured)]
    cells = [
        [row.id, row.name, f"{duration(measured[row.id].figure)} per {row.unit}"]
        + [speedup_cell(row, measured[row.id], arm) for arm in others]
        + [loss_cell(measured[row.id])]
        for row in rows
        if row.id in measured
    ]
    heads = [RIVALS[arm] for arm in others]
    return table(["", "workload", "fastclf", *heads, last], cells) if cells else ""


def sweep_summary(measured: Measured) -> str:
    """The sweep in one paragraph; nothing if no shape has been measured beside a peer."""
    speedups = {
        row: value
        for row in SWEEP
        if row.id in measured and (value := measured[row.id].value(row.targets[0])) is not None
    }
    if not speedups:
        return ""
    worst, slower = min(speedups, key=speedups.__getitem__), sum(value < 1 for value in speedups.values())
    return (
        f"The sweep: {len(speedups)} shapes of networks, drawn to cover what a user may have. Over the best peer of each "
        f"shape, fastclf's speed-up is {number(statistics.median(speedups.values()))}x in the median, and "
        f"{number(speedups[worst])}x at the worst ({worst.id}: {worst.name}). It is below 1 at {slower or 'no'} "
        f"shape{'' if slower == 1 else 's'}."
    )


def lost_by_most(measured: Measured) -> Workload | None:
    """The row of a race in which fastclf is slowest beside the peer that decides."""
    values = {
        row: value
        for row in MEASURED
        if row.id in measured and row.group in (*RACES, "sweep") and row.targets
        if (value := measured[row.id].value(row.targets[0])) is not None
    }
    return min(values, key=values.__getitem__) if values else None


def render_few(report: dict) -> str:
    """The README's block: a few rows without their targets, one of them lost, and the sweep in a paragraph."""
    measured = measured_in(report)
    worst = lost_by_most(measured)
    rows = [row for row in MEASURED if row.id in measured and (row.id in SHOWN or row is worst)]
    used = [arm for arm in RIVALS if any(arm in measured[row.id].samples for row in rows)]
    heads = ["NumPy" if arm == "reference" else RIVALS[arm] for arm in used]
    cells = [
        [row.name, f"{duration(measured[row.id].figure)} per {row.unit}"]
        + [speedup_cell(row, measured[row.id], arm, with_targets=False) for arm in used]
        for row in rows
    ]
    parts = [
        "How many times faster fastclf is than its peers, on an idle machine, without compiling; below 1 it is slower:",
        table(["workload", "fastclf", *heads], cells),
        sweep_summary(measured),
        f"{conditions(report)}; `{COMMAND}`. [All rows, why some are lost, and how they are measured](docs/benchmarks.md).",
    ]
    return "\n\n".join(part for part in parts if part)


def render(report: dict) -> str:
    """The block of docs/benchmarks.md with all tables but the sweep's; a row that has not been measured is left out."""
    measured = measured_in(report)
    rows = [row for row in MEASURED if row.id in measured]
    limits = [
        [row.id, row.name, *bound_cells(measured[row.id], target, row.unit)]
        for row in rows
        if row.group not in (*RACES, "sweep")
        for target in row.targets
    ]
    missed = [
        row.id
        for row in rows
        if any((value := measured[row.id].value(t)) is not None and not t.met(value) for t in row.targets)
    ]
    parts = [
        f"{conditions(report)}; `{COMMAND}`.",
        "A ratio is how many times faster fastclf is: below 1, it is slower. The arms of a row run in turn in one process, "
        "without compiling; a ratio is the median over the rounds. All arms of a row start alike and do the same steps: "
        "the loss after the first few is fastclf's, and that of an arm where it differs (SGDClassifier trains one-vs-rest). "
        "In the last of JAX's columns, the gradient is written out, not derived. All arms of D1 are given the same "
        "DataLoader, and torch computes in float32 there.",
    ]
    for group, (introduction, last) in RACES.items():
        if race := race_table([row for row in rows if row.group == group], measured, last):
            parts += [introduction, race]
    parts.append(sweep_summary(measured))
    if limits:
        parts.append(table(["", "limit", "measured", "target"], limits))
    parts.append(f"Targets missed: {', '.join(missed)}." if missed else "Every target is met.")
    return "\n\n".join(part for part in parts if part)


def render_sweep(report: dict) -> str:
    """The block of docs/benchmarks.md with the sweep's table."""
    rows = {row.id: report["rows"][row.id] for row in SWEEP if row.id in report["rows"]}
    of_sweep = race_table(SWEEP, measured_in({"rows": rows}), "loss")
    return f"{conditions(report | {'rows': rows})}.\n\n{of_sweep}" if of_sweep else "No shape has been measured yet."


# ---------------------------------------------------------------- the pages


def pages(report: dict) -> dict[Block, str]:
    """The generated blocks, and what a report gives for each."""
    return {IN_README: render_few(report), IN_DOCS: render(report), IN_SWEEP: render_sweep(report)}


def results() -> dict:
    """The report in peers.json."""
    if not RESULTS.exists():
        sys.exit(f"{RESULTS} does not exist: run {COMMAND}")
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def write_pages(report: dict) -> None:
    texts = pages(report)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for block, text in texts.items():
        block.write(text)


def check() -> None:
    """Exit with status 1 unless peers.json has figures for every row, and the pages are rendered from them."""
    report = results()
    if difference := {row.id for row in MEASURED} ^ set(report.get("rows", ())):
        sys.exit(f"{RESULTS} and the table of workloads differ in {', '.join(sorted(difference))}: run {COMMAND}")
    for block, text in pages(report).items():
        if lines := block.difference(text, RESULTS.name):
            sys.exit("\n".join([*lines, f"{block.page.name} is not what {RESULTS.name} says: run {COMMAND}"]))


def chosen(only: str | None) -> list[Workload]:
    """The workloads that ``only`` names, by id, by the part of the id before the point, or by group; all if it is None."""
    if only is None:
        return MEASURED
    names = set(only.split(","))
    return [row for row in MEASURED if names & {row.id, row.id.partition(".")[0], row.group}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="make everything small: a smoke test, the figures mean nothing"
    )
    parser.add_argument(
        "--only",
        metavar="NAMES",
        help="these rows alone: S1,S8.32, or S8 for all that begin with S8., or a group: sweep",
    )
    parser.add_argument(
        "--write-readme",
        action="store_true",
        help="write peers.json, and the tables in the README and docs/benchmarks.md",
    )
    parser.add_argument("--check", action="store_true", help="measure nothing: are the tables those of the results?")
    options = parser.parse_args()
    if options.write_readme and (options.quick or quick()):
        parser.error("--write-readme needs figures that mean something")
    if options.check:
        return check()
    if options.quick:
        os.environ["FASTCLF_BENCH_QUICK"] = "1"
    rows = chosen(options.only)
    if not rows:
        parser.error(f"--only {options.only}: there are {', '.join(row.id for row in MEASURED)}")
    if options.write_readme:  # what can fail fails now, not after half an hour of measuring
        for block in (IN_README, IN_DOCS, IN_SWEEP):
            block.split()
        if options.only:
            merged(results(), run([]))
    report = run(rows)
    if options.write_readme:
        write_pages(merged(results(), report) if options.only else report)
    print(render(report), *([render_sweep(report)] if any(row.group == "sweep" for row in rows) else []), sep="\n\n")
    return None


if __name__ == "__main__":
    main()
