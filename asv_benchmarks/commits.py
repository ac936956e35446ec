"""Compare two commits on this machine: whether they compute the same bits, and which one is faster.

    python commits.py bits HEAD~1               every trainer at both commits, from the same seeds
    python commits.py speed HEAD~1 --of S1 E2   workloads of the table, both commits in turn
    python commits.py speed HEAD~1 --busy 2     the same, beside two processes that compute

Without a second commit, the working tree takes its place. Each commit runs in its own processes, on a copy of its files,
with the installed packages. Machine code is cached under a digest of the kernels' sources, so neither commit reads the
other's cache.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
WORKING_TREE = "the working tree"
PARTS = "fastclf", "kernels", "asv_benchmarks"


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A temporary folder with a commit's package, ready to be imported, and its benchmarks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if commit == WORKING_TREE:
            for part in PARTS:
                ignored = shutil.ignore_patterns("__pycache__", ".asv", "results")
                shutil.copytree(HERE.parent / part, folder / part, ignore=ignored)
        else:
            archive = subprocess.check_output(["git", "archive", commit, *PARTS], cwd=HERE.parent)
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                files.extractall(folder, filter="data")
        shutil.move(folder / "kernels", folder / "fastclf" / "kernels")  # where the installed package has its kernels
        yield folder


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(folder)}


# ---------------------------------------------------------------- bits


def bits(before: str, after: str) -> int:
    """Print every case whose bits differ; return the exit status."""
    found = []
    for commit in (before, after):
        with checkout(commit) as folder:
            # Both commits run the cases.py beside this file, which uses public names only.
            command = [sys.executable, str(HERE / "cases.py")]
            done = subprocess.run(
                command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, check=True, timeout=1800
            )
            found.append(json.loads(done.stdout))
    names = sorted({*found[0]} | {*found[1]})
    different = [name for name in names if found[0].get(name) != found[1].get(name)]
    for name in different:
        print(f"{name}: other bits")
    print(f"{len(names) - len(different)} of {len(names)} cases have the same bits at {before} and at {after}")
    return 1 if different or not names else 0


# ---------------------------------------------------------------- speed

_WORKER = """
import sys
sys.path.insert(0, "asv_benchmarks")
import statistics, time, workloads
table = {w.id: w for w in workloads.TABLE}
run = None
for line in sys.stdin:
    word = line.strip()
    if word != "go":
        with workloads.silence():
            run = table[word].ready("fastclf")
            run()
        print("ready", flush=True)
        continue
    seconds, began = [], time.perf_counter()
    while len(seconds) < 3 or time.perf_counter() - began < 0.1:  # the first wakes the processor
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(statistics.median(seconds[1:]), flush=True)
"""


class Worker:
    """A process that runs one commit's workloads: a workload's id prepares it, "go" returns its median time in seconds.

    ``more`` are environment variables.
    """

    def __init__(self, folder: Path, **more: str) -> None:
        command, variables = [sys.executable, "-c", _WORKER], environment(folder) | more
        self._process = subprocess.Popen(
            command, cwd=folder, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, word: str) -> str:
        print(word, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise RuntimeError(f"the process ended at {word!r}")
        return answer

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)


def speed(before: str, after: str, workloads: list[str], rounds: int, busy: int) -> int:
    """Print for each workload the second commit's time over the first's, as the median of the rounds' ratios.

    Meanwhile ``busy`` other processes compute.
    """
    from workloads import busy_processes

    with contextlib.ExitStack() as stack:
        workers = [Worker(stack.enter_context(checkout(commit))) for commit in (before, after)]
        for worker in workers:
            stack.callback(worker.close)
        beside = f", beside {busy} busy processes" if busy else ""
        print(f"time at {after} over time at {before}{beside}: median of {rounds} rounds, and the quartiles")
        for workload in workloads:
            for worker in workers:
                worker.ask(workload)
            ratios, seconds = [], []
            with busy_processes(busy):
                for i in range(rounds):
                    taken = [0.0, 0.0]
                    for at in (0, 1) if i % 2 else (1, 0):
                        taken[at] = float(workers[at].ask("go"))
                        time.sleep(0.02)
                    ratios.append(taken[1] / taken[0])
                    seconds.append(taken)
            low, middle, high = statistics.quantiles(ratios, n=4)
            best = min(s[1] for s in seconds) / min(s[0] for s in seconds)
            print(
                f"{workload:12} {middle:.3f}   ({low:.3f} to {high:.3f}); of the shortest times {best:.3f}", flush=True
            )
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("bits", "speed"))
    parser.add_argument("before", help="a commit")
    parser.add_argument("after", nargs="?", default=WORKING_TREE, help="a commit (default: %(default)s)")
    parser.add_argument("--of", nargs="+", default=["S1", "S2", "S5", "S8.1", "E2", "E3"], metavar="WORKLOAD")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--busy", type=int, default=0, help="for speed: so many processes compute at the same time")
    args = parser.parse_args()
    if args.what == "bits":
        return bits(args.before, args.after)
    return speed(args.before, args.after, args.of, args.rounds, args.busy)


if __name__ == "__main__":
    sys.exit(main())
