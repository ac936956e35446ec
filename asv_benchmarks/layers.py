"""Compare the kinds of threads on this machine: teams of our own, and the layers of Numba's pool; idle, and under load.

    python layers.py --of S8.128 E2 --rounds 9

Every kind runs in a process of its own, in turn; beside no, two and four busy processes. Prints, as a table in Markdown, the
time on teams of our own, and that on every other layer divided by it, as the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time

from commits import WORKING_TREE, Worker, checkout
from peers import duration, machine, number, table
from workloads import busy_processes

LAYERS = {"own": "default", "TBB": "tbb", "OpenMP": "omp", "workqueue": "workqueue"}


def compare(workloads: list[str], loads: list[int], rounds: int, layers: dict[str, str]) -> list[list[str]]:
    """A row for each workload and load: the time on our teams, and the ratios of the other layers to it."""
    rows = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(checkout(WORKING_TREE))
        workers = {name: Worker(folder, NUMBA_THREADING_LAYER=layer) for name, layer in layers.items()}
        for worker in workers.values():
            stack.callback(worker.close)
        for workload in workloads:
            for worker in workers.values():
                worker.ask(workload)
            for busy in loads:
                seconds: dict[str, list[float]] = {name: [] for name in workers}
                with busy_processes(busy):
                    for _ in range(rounds):
                        for name, worker in workers.items():
                            seconds[name].append(float(worker.ask("go")))
                            time.sleep(0.02)
                own, *others = seconds.values()
                ratios = [statistics.median(b / a for a, b in zip(own, other)) for other in others]
                rows.append([workload, str(busy), duration(statistics.median(own)), *(f"{number(r)}x" for r in ratios)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--of", nargs="+", default=["S2", "S8.1", "S8.128", "S8.1000", "E2"], metavar="WORKLOAD")
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 2, 4], help="numbers of busy processes")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    rows = compare(args.of, args.busy, args.rounds, LAYERS)
    print(", ".join(machine().values()), end="\n\n")
    print(table(["workload", "busy processes", *LAYERS], rows))


if __name__ == "__main__":
    main()
