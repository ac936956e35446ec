"""The history of fastclf's speed: measure its milestones on this machine, and draw what is in results/.

    python asv_benchmarks/history.py --measure     every milestone, each in an environment of its own; needs a quiet machine
    python asv_benchmarks/history.py --draw        docs/history.svg, from the machine with the most commits

The milestones are in milestones.txt. asv builds and runs them; ratios over plain NumPy and scikit-learn travel better than
seconds do. ``--measure`` leaves alone what has been measured on this machine.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS, MILESTONES, PICTURE = HERE / "results", HERE / "milestones.txt", HERE.parent / "docs" / "history.svg"
SUITE = "history.track_"


def milestones() -> dict[str, str]:
    """What each milestone brought, by its commit, the oldest first."""
    lines = (line.partition("#")[0].strip() for line in MILESTONES.read_text(encoding="utf-8").splitlines())
    return dict(line.split(maxsplit=1) for line in lines if line)


def measure() -> None:
    commits = HERE / ".asv" / "milestones"
    commits.parent.mkdir(exist_ok=True)
    found = [subprocess.check_output(["git", "rev-parse", c], cwd=HERE, text=True).strip() for c in milestones()]
    commits.write_text("\n".join(reversed(found)))  # the newest first: asv looks at it for what the suite contains
    subprocess.run(
        [sys.executable, "-m", "asv", "run", f"HASHFILE:{commits}", "--bench", f"^{SUITE}", "--skip-existing-successful"],
        cwd=HERE, check=True,
    )  # fmt: skip


def figures() -> tuple[str, dict[str, list[tuple[datetime.datetime, str, float]]]]:
    """The machine with the most commits, and for each benchmark its commits in order: date, short hash, ratio."""
    from asv.results import Results

    of_machines: dict[str, dict[str, list[Any]]] = {}
    for path in sorted(RESULTS.glob("*/*.json")):
        if path.name == "machine.json":
            continue
        result = Results.load(str(path))
        when = datetime.datetime.fromtimestamp(result.date / 1000, datetime.timezone.utc)
        for name in result.get_all_result_keys():
            if name.startswith(SUITE) and (value := result.get_result_value(name, [])[0]) is not None:
                of_machine = of_machines.setdefault(path.parent.name, {})
                of_machine.setdefault(name.removeprefix(SUITE), []).append((when, result.commit_hash[:7], value))
    if not of_machines:
        sys.exit(f"{RESULTS} has no figures of {SUITE}*: run --measure")
    machine = max(of_machines, key=lambda name: max(map(len, of_machines[name].values())))
    return machine, {name: sorted(points) for name, points in of_machines[machine].items()}


def draw(picture: Path = PICTURE) -> None:
    """Draw a graph for each benchmark; a point has its commit's hash and, below, what the milestone brought."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fastclf"
    from matplotlib import pyplot as plt

    machine, of_benchmarks = figures()
    figure, axes = plt.subplots(
        len(of_benchmarks), figsize=(9, 2.4 * len(of_benchmarks)), layout="constrained", squeeze=False
    )
    for ax, (name, points) in zip(axes[:, 0], of_benchmarks.items()):
        ratios = [ratio for _, _, ratio in points]
        ax.plot(range(len(points)), ratios, "o-")
        ax.axhline(1, color="0.6", linewidth=1)
        ax.set_xticks(
            range(len(points)), [f"{commit}\n{when:%m-%d %H:%M}" for when, commit, _ in points], fontsize="x-small"
        )
        ax.set(yscale="log", ylabel="times faster", title=name.replace("_", " "))
    figure.suptitle(machine)
    figure.savefig(picture, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--measure", action="store_true")
    what.add_argument("--draw", action="store_true")
    if parser.parse_args().measure:
        measure()
    else:
        draw()


if __name__ == "__main__":
    main()
