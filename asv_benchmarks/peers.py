"""Measure fastclf beside the lab in plain NumPy, scikit-learn, torch and JAX, on every workload of the table, in one run.

    python asv_benchmarks/peers.py [--quick] [--only S1,S8]
    python asv_benchmarks/peers.py --write-readme
    python asv_benchmarks/peers.py --check

A peer that is not installed leaves its column empty. ``--write-readme`` keeps the raw figures in peers.json and
writes the README's table from them; ``--check`` fails if the README's table is not the one that peers.json gives.
"""

from __future__ import annotations

import argparse
import datetime
import difflib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

from workloads import PEERS, TABLE, Measurement, Target, Workload

HERE = Path(__file__).parent
README, RESULTS = HERE.parent / "README.md", HERE / "peers.json"
BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"
COMMAND = "python asv_benchmarks/peers.py --write-readme"
RIVALS = {"reference": "reference", **PEERS}
SAME_LOSS = 1e-4  # relative: more than float32 and float64 differ after the few check passes
# The groups of workloads that are races, with what is said of each, and the head of its last column.
RACES = {
    "trainers": ("", "loss"),
    "prediction": (
        "Predictions. scikit-learn's estimators and fastclf's check their input; torch's bare module checks nothing.", ""
    ),
    "load": (
        "Beside other processes that compute all the time. All arms of a row take turns under the same load.", "loss"
    ),
}  # fmt: skip
MEASURED = [w for w in TABLE if w.group != "threads"]

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


def run(rows: list[Workload]) -> dict:
    """Measure the rows; return everything that the tables are made from, ready for JSON."""
    report = {"date": datetime.date.today().isoformat(), "machine": machine(), "versions": versions(), "rows": {}}
    for row in rows:
        print(f"{row.id:24s} {row.name}", file=sys.stderr, flush=True)
        measured = row.measure()
        samples = {arm: [float(f"{x:.4g}") for x in values] for arm, values in measured.samples.items()}
        losses = {arm: float(f"{x:.8g}") for arm, x in measured.losses.items()}
        report["rows"][row.id] = {"name": row.name, "unit": row.unit, "samples": samples, "losses": losses}
    return report


# ---------------------------------------------------------------- tables


def number(x: float) -> str:
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{number(seconds * scale)} {unit}"
    return f"{number(seconds * 1e9)} ns"


def speedup_cell(row: Workload, m: Measurement, arm: str) -> str:
    """The speed-up over an arm, and the target if this arm decides it."""
    if arm not in m.samples:
        return ""
    cell = f"{number(m.speedup(arm))}x"
    for target in row.targets:
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


def render(report: dict) -> str:
    """The tables, in Markdown; a row that has not been measured is left out."""
    measured = {id: Measurement(raw["samples"], raw["losses"]) for id, raw in report["rows"].items() if raw["samples"]}
    rows = [row for row in MEASURED if row.id in measured]
    races = {
        group: [
            [row.id, row.name, f"{duration(measured[row.id].figure)} per {row.unit}"]
            + [speedup_cell(row, measured[row.id], arm) for arm in RIVALS]
            + [loss_cell(measured[row.id])]
            for row in rows
            if row.group == group
        ]
        for group in RACES
    }
    limits = [
        [row.id, row.name, *bound_cells(measured[row.id], target, row.unit)]
        for row in rows
        if row.group not in RACES
        for target in row.targets
    ]
    missed = [
        row.id
        for row in rows
        if any((value := measured[row.id].value(t)) is not None and not t.met(value) for t in row.targets)
    ]
    parts = [
        f"{', '.join(report['machine'].values())}; {', '.join(map(' '.join, report['versions'].items()))}; "
        f"{report['date']}; `{COMMAND}`.",
        "A ratio is how many times faster fastclf is: below 1, it is slower. The arms of a row run in turn in one process, "
        "without compiling; a ratio is the median over the rounds. All arms of a row start alike and do the same steps: "
        "the loss after the first few is fastclf's, and that of an arm where it differs (SGDClassifier trains one-vs-rest). "
        "JAX computes in float32 everywhere; in the last of its columns, the gradient is written out, not derived. All arms "
        "of D1 are given the same DataLoader, and torch computes in float32 there.",
    ]
    for group, (introduction, loss) in RACES.items():
        if races[group]:
            parts += [introduction] if introduction else []
            parts.append(table(["", "workload", "fastclf", *RIVALS.values(), loss], races[group]))
    if limits:
        parts.append(table(["", "limit", "measured", "target"], limits))
    parts.append(f"Targets missed: {', '.join(missed)}." if missed else "Every target is met.")
    return "\n\n".join(parts)


# ---------------------------------------------------------------- the README


def split_readme() -> tuple[str, str, str]:
    """The README's text before the block of tables, in the block, and after it."""
    text = README.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        sys.exit(f"{README} must have {BEGIN} and, after it, {END}, once each")
    before, rest = text.split(BEGIN)
    block, after = rest.split(END)
    return before, block.strip(), after


def write_readme(report: dict) -> None:
    before, _, after = split_readme()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    README.write_text(f"{before}{BEGIN}\n{render(report)}\n{END}{after}", encoding="utf-8")


def check() -> None:
    """Exit with status 1 unless peers.json has figures for every row, and the README's block is rendered from them."""
    if not RESULTS.exists():
        sys.exit(f"{RESULTS} does not exist: run {COMMAND}")
    _, block, _ = split_readme()
    report = json.loads(RESULTS.read_text(encoding="utf-8"))
    if difference := {row.id for row in MEASURED} ^ set(report.get("rows", ())):
        sys.exit(f"{RESULTS} and the table of workloads differ in {', '.join(sorted(difference))}: run {COMMAND}")
    wanted = render(report)
    if block != wanted:
        lines = difflib.unified_diff(
            block.splitlines(), wanted.splitlines(), README.name, RESULTS.name, n=0, lineterm=""
        )
        sys.exit("\n".join([*lines, f"the README is not what {RESULTS.name} says: run {COMMAND}"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="make everything small: a smoke test, the figures mean nothing"
    )
    parser.add_argument("--only", metavar="IDS", help="these rows alone: S1,S8.32, or S8 for all that begin with S8.")
    parser.add_argument("--write-readme", action="store_true", help="write the README's table and peers.json")
    parser.add_argument(
        "--check", action="store_true", help="measure nothing: is the README's table that of the results?"
    )
    options = parser.parse_args()
    if options.write_readme and (options.quick or options.only):
        parser.error("--write-readme needs the figures of one whole run")
    if options.check:
        return check()
    if options.quick:
        os.environ["FASTCLF_BENCH_QUICK"] = "1"
    only = options.only.split(",") if options.only else []
    rows = [row for row in MEASURED if row.id in only or row.id.partition(".")[0] in only] if only else MEASURED
    if not rows:
        parser.error(f"--only {options.only}: there are {', '.join(row.id for row in MEASURED)}")
    if options.write_readme:
        split_readme()  # if the README lacks the markers, fail now, not after half an hour of measuring
    report = run(rows)
    if options.write_readme:
        write_readme(report)
    print(render(report))
    return None


if __name__ == "__main__":
    main()
