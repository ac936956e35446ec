"""The history of fastclf's speed: measure its milestones on this machine, and draw what is in results/.

    python asv_benchmarks/history.py --measure     every milestone, as it was installed then; needs a quiet machine
    python asv_benchmarks/history.py --draw        docs/history.svg and docs/history.md, of the machine with most milestones

The milestones are in milestones.txt. asv builds and runs them; ratios over plain NumPy and scikit-learn travel better than
seconds do. ``--measure`` leaves alone what has been measured on this machine.
"""

from __future__ import annotations

import argparse
import datetime
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from blocks import Block
from peers import table

HERE = Path(__file__).parent
RESULTS, MILESTONES, PICTURE = HERE / "results", HERE / "milestones.txt", HERE.parent / "docs" / "history.svg"
SUITE = "history.track_"
PAGE = Block(HERE.parent / "docs" / "history.md", "history")
Point = tuple[datetime.datetime, str, float]  # a commit's date and short hash, and how many times faster fastclf is
#: What each benchmark of the suite compares.
TITLES = {
    "train_model_batch": "the lab's train_model, batch descent, over NumPy",
    "train_model_sgd": "the lab's train_model, per-sample SGD, over NumPy",
    "image_linear": "the lab's ImageLinearClassifier over NumPy",
    "mlp_of_the_lab": "the lab's MLPClassifier over NumPy",
    "linear_digits": "FastLinearClassifier, digits, over SGDClassifier",
    "mlp_digits": "FastMLPClassifier, digits, over scikit-learn's",
    "mlp_images": "FastMLPClassifier, 3072–100–10, float32, over scikit-learn's",
    "prediction": "its predictions, 10 digits a call, over scikit-learn's",
}


def milestones() -> dict[str, str]:
    """What each milestone brought, by its commit, the oldest first."""
    lines = (line.partition("#")[0].strip() for line in MILESTONES.read_text(encoding="utf-8").splitlines())
    return dict(line.split(maxsplit=1) for line in lines if line)


def measure(machine: str | None) -> None:
    commits = HERE / ".asv" / "milestones"
    commits.parent.mkdir(exist_ok=True)
    found = [subprocess.check_output(["git", "rev-parse", c], cwd=HERE, text=True).strip() for c in milestones()]
    commits.write_text("\n".join(reversed(found)))  # the newest first: asv looks at it for what the suite contains
    subprocess.run(
        [sys.executable, "-m", "asv", "run", f"HASHFILE:{commits}", "--bench", f"^{SUITE}", "--skip-existing-successful",
         *(["--machine", machine] if machine else [])],
        cwd=HERE, check=True,
    )  # fmt: skip


def figures() -> tuple[str, dict[str, list[Point]]]:
    """The machine with the most commits, and for each benchmark its commits in order: date, short hash, ratio."""
    from asv.results import Results

    of_machines: dict[str, dict[str, list[Any]]] = {}
    for path in sorted(RESULTS.glob("*/*.json")):
        if path.name == "machine.json":
            continue
        result = Results.load(str(path))
        when = datetime.datetime.fromtimestamp(result.date / 1000, datetime.timezone.utc)
        for name in result.get_all_result_keys():
            value = result.get_result_value(name, [])[0]
            if not name.startswith(SUITE) or value is None or math.isnan(value):
                continue  # a commit may lack what is measured
            of_machine = of_machines.setdefault(path.parent.name, {})
            of_machine.setdefault(name.removeprefix(SUITE), []).append((when, result.commit_hash[:7], value))
    if not of_machines:
        sys.exit(f"{RESULTS} has no figures of {SUITE}*: run --measure")
    machine = max(of_machines, key=lambda name: max(map(len, of_machines[name].values())))
    return machine, {name: sorted(points) for name, points in of_machines[machine].items()}


def draw(picture: Path = PICTURE) -> None:
    """Draw a graph for each benchmark, whose points have their commits' hashes and dates, and write the table."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "fastclf", "svg.fonttype": "none"}
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator

    machine, of_benchmarks = figures()
    _, axes = plt.subplots(len(TITLES), figsize=(9, 2.3 * len(TITLES)), layout="constrained")
    for ax, (name, title) in zip(axes, TITLES.items()):
        points = of_benchmarks[name]
        ax.plot(range(len(points)), [ratio for _, _, ratio in points], "o-")
        ax.axhline(1, color="0.6", linewidth=1)
        ax.set_xticks(range(len(points)), [f"{commit}\n{when:%m-%d\n%H:%M}" for when, commit, _ in points], fontsize=6)
        ax.set(yscale="log", ylabel="times faster", title=title)
        ax.set_ylim(top=max(2.2, ax.get_ylim()[1]))  # so that one label at least is above 1
        ax.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_locator=NullLocator())
    plt.savefig(picture, metadata={"Date": None})
    plt.close()
    PAGE.write(render(machine, of_benchmarks))


def render(machine: str, of_benchmarks: dict[str, list[Point]]) -> str:
    """The table of all figures: a row for each milestone."""
    ratios = {(commit, name): f"{ratio:.3g}x" for name in TITLES for _, commit, ratio in of_benchmarks[name]}
    whens = {commit: f"{when:%Y-%m-%d %H:%M}" for points in of_benchmarks.values() for when, commit, _ in points}
    rows = [
        [commit, whens[commit], brought, *(ratios.get((commit, name), "") for name in TITLES)]
        for commit, brought in milestones().items()
        if commit in whens
    ]
    return f"Measured on the machine `{machine}`.\n\n{table(['commit', 'of', 'brought', *TITLES.values()], rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--measure", action="store_true")
    what.add_argument("--draw", action="store_true")
    parser.add_argument("--machine", help="its name in results/, as `asv machine` knows it")
    options = parser.parse_args()
    if options.measure:
        measure(options.machine)
    else:
        draw()


if __name__ == "__main__":
    main()
