"""What training on several ranks costs: the terms of the model in docs/distributed.md, measured, and the table there.

python scaling.py                   # measure on this machine, and print the tables
python scaling.py --write           # write them into docs/distributed.md, and draw the picture; needs a quiet machine
python scaling.py --compare         # only: steps of two ranks beside torch's DistributedDataParallel, and beside two threads

The terms come from two processes on the loopback interface, with one thread each. What a real network costs is a matter of
its latency and bandwidth: the table has two of them, which are assumed. The model is checked where an exchange takes longer:
by a delay before each, and, on Linux, in a network namespace whose loopback interface is slowed down by ``tc``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from blocks import Block
from peers import measured_on
from workloads import quick

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "distributed.md"
PICTURE = DOCUMENT.with_name("scaling.svg")
COMMAND = "python asv_benchmarks/scaling.py --write"
WIDTHS, BATCH, DTYPE, RATE = (3072, 100, 10), 1000, np.dtype(np.float32), 1e-3
COMPARED = (WIDTHS, (784, 512, 512, 10))
SYNC_EVERY = 8
RATIOS = (
    "time_over_its_parts",
    "speedup_vs_ddp",
    "local_steps_vs_two_threads",
    "speedup_by_sending_early",
    "the_same_when_slowed",
)
DELAY = 0.02  # seconds, before each exchange
RATE_OF_SLOW = 1000  # Mbit/s of the slowed interface, which carries what both ranks send
#: Runs a command in a network namespace of its own. The queue holds half a second, so that nothing is dropped.
SLOWED = (
    "unshare", "--map-root-user", "--net", "sh", "-c",
    f"ip link set lo up && tc qdisc add dev lo root tbf rate {RATE_OF_SLOW}mbit burst 128kb latency 500ms && exec \"$@\"",
    "sh",
)  # fmt: skip
SIZES = (1_000, 10_000, 100_000, 300_000, 1_000_000)  # numbers per all-reduce that are measured
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Network(NamedTuple):
    """What an exchange costs: seconds per message, and bytes per second between two ranks."""

    latency: float
    bandwidth: float

    def all_reduce(self, ranks: int, size: float) -> float:
        """The seconds of an all-reduce of ``size`` bytes in a ring: each rank sends 2 (k - 1) messages of size / k bytes."""
        return 2 * (ranks - 1) * (self.latency + size / ranks / self.bandwidth)


ASSUMED = {"Ethernet of 10 Gbit/s": Network(50e-6, 1.1e9), "100 Gbit/s": Network(10e-6, 11e9)}


class Step(NamedTuple):
    """What a step costs: seconds per sample, seconds of the optimiser's step, and bytes of the gradient."""

    sample: float
    update: float
    size: float

    def seconds(self, ranks: int, batch: float, network: Network, sync_every: int = 1) -> float:
        """The seconds of a step on ``batch`` samples of all ranks; with ``sync_every``, on average."""
        return batch * self.sample / ranks + self.update + network.all_reduce(ranks, self.size) / sync_every

    def most_ranks(self, batch: float, network: Network) -> int:
        """The number of ranks, a power of two, on which a step on ``batch`` samples takes the least time."""
        return min((2**i for i in range(21)), key=lambda k: self.seconds(k, batch, network))


def fitted(sizes: list[float], seconds: list[float]) -> Network:
    """The network for which all-reduces of these bytes between two ranks take these seconds: relative least squares."""
    weights = 1 / np.array(seconds)
    columns = np.column_stack([np.full(len(sizes), 2.0), sizes]) * weights[:, None]
    latency, per_byte = np.linalg.lstsq(columns, np.ones(len(sizes)), rcond=None)[0]
    return Network(max(float(latency), 0.0), 1 / max(float(per_byte), 1e-15))


def table(step: Step, networks: dict[str, Network]) -> list[str]:
    """Lines in Markdown: for each number of ranks, how many times as many samples a second as on one."""
    lines = [
        "| ranks | "
        + " | ".join(f"{name}: B = {BATCH:,} | B = {BATCH:,} k | the same, H = 8" for name in networks)
        + " |",
        "| ---: |" + " ---: |" * 3 * len(networks),
    ]
    one = BATCH / step.seconds(1, BATCH, next(iter(networks.values())))
    for ranks in RANKS:
        cells = []
        for network in networks.values():
            for batch, every in ((BATCH, 1), (BATCH * ranks, 1), (BATCH * ranks, 8)):
                cells.append(f"{batch / step.seconds(ranks, batch, network, every) / one:.3g}")
        lines.append(f"| {ranks} | " + " | ".join(cells) + " |")
    return lines


# ---------------------------------------------------------------- measuring


def best_of(function, times: int = 60) -> float:
    """The least time that ``function`` takes, in seconds."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def trainer_of(widths: tuple[int, ...], batch: int, threads: int = 1):
    """A trainer of a network on four batches of random samples."""
    from fastclf.engine.minibatch import BatchTrainer, Samples, Workspace
    from fastclf.engine.network import Network as Parameters
    from fastclf.engine.rows import Rows
    from fastclf.kernels.records import Settings

    rng, net = np.random.default_rng(0), Parameters(widths, DTYPE)
    for W in net.weights:
        W[:] = 0.01 * rng.standard_normal(W.shape)
    X, y = rng.standard_normal((4 * batch, widths[0]), DTYPE), rng.integers(0, widths[-1], 4 * batch)
    work = Workspace.for_batches(net, Rows(X, DTYPE), batch)
    return BatchTrainer(net, Samples(Rows(X, DTYPE), y), Settings(learning_rate=RATE), work, threads=threads)


def measure(rank: int, folder: str) -> None:
    """On each of two ranks: measure the terms, and rank 0 writes them into the folder."""
    from torch import distributed

    from fastclf.engine.distributed import HEAD, Ranks
    from fastclf.engine.ranks import RankTrainer
    from fastclf.kernels.codes import TRAIN

    class Delayed(Ranks):
        """Ranks on a network whose every exchange takes longer."""

        def all_reduce(self, buffer) -> None:
            time.sleep(DELAY)
            super().all_reduce(buffer)

    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    half = BATCH // 2
    alone, rows, none, rates = trainer_of(WIDTHS, half), np.arange(half), np.empty(0, np.int64), np.full(1, RATE)
    sample = best_of(lambda: alone.run(TRAIN, rows, rates=rates)) / half
    comm = Ranks()
    seconds = []
    for size in SIZES:
        buffer = np.zeros(HEAD + size, DTYPE)
        distributed.barrier()
        seconds.append(best_of(lambda buffer=buffer: comm.all_reduce(buffer), 50))
    together = RankTrainer(trainer_of(WIDTHS, half), comm)
    distributed.barrier()
    of_none = best_of(lambda: together.step(none, rates))
    distributed.barrier()
    of_both = best_of(lambda: together.step(rows, rates))
    late = RankTrainer(trainer_of(WIDTHS, half), Delayed())
    distributed.barrier()
    delayed = best_of(lambda: late.step(rows, rates))
    distributed.destroy_process_group()
    if rank == 0:
        found = {"sample": sample, "none": of_none, "seconds": seconds, "both": of_both, "delayed": delayed}
        Path(folder, "terms").write_text(json.dumps(found))


def compare(rank: int, folder: str) -> None:
    """On each of two ranks: time steps of every kind in turn, and rank 0 writes their medians into the folder."""
    import torch
    from torch import distributed, nn

    from fastclf.engine.distributed import HEAD, Ranks
    from fastclf.engine.ranks import RankTrainer
    from fastclf.kernels.codes import TRAIN

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    half, rates, found = BATCH // 2, np.full(1, RATE), {}
    for widths in COMPARED:
        alone, comm = trainer_of(widths, half), Ranks()
        early = Ranks()
        early.overlaps = True
        kinds = comm, early, Ranks(None, SYNC_EVERY)
        together, ahead, apart = (RankTrainer(trainer_of(widths, half), c) for c in kinds)
        whole, all_rows = trainer_of(widths, BATCH, threads=2), np.random.default_rng(0).permutation(4 * BATCH)[:BATCH]
        layers = [layer for i, o in pairwise(widths) for layer in (nn.Linear(i, o), nn.ReLU())][:-1]
        module = nn.parallel.DistributedDataParallel(nn.Sequential(*layers))
        optimiser = torch.optim.SGD(module.parameters(), RATE)
        X, y = torch.from_numpy(alone.samples.X.array), torch.from_numpy(alone.samples.labels)
        buffer = np.zeros(HEAD + len(alone.network.params), DTYPE)

        def by_torch(rows, X=X, y=y, module=module, optimiser=optimiser) -> None:
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(X[rows]), y[rows]).backward()
            optimiser.step()

        arms = {
            "compute": lambda rows, t=alone: [t.run(TRAIN, r, rates=rates) for r in rows],
            # rank 0 alone, while the other waits
            "two threads": lambda rows, t=whole, r=all_rows: [t.run(TRAIN, r) for _ in rows if rank == 0],
            "all-reduce": lambda rows, b=buffer, c=comm: [c.all_reduce(b) for _ in rows],
            "step": lambda rows, t=together: [t.step(r, rates) for r in rows],
            "ahead": lambda rows, t=ahead: [t.step(r, rates) for r in rows],
            "local": lambda rows, t=apart, s=alone.samples: [*t.batches(iter([(s, r) for r in rows]), RATE)],
            "DDP": lambda rows, step=by_torch: [step(torch.from_numpy(r)) for r in rows],
        }
        times: dict[str, list[float]] = {name: [] for name in arms}
        rng = np.random.default_rng(rank)
        for _ in range(2 if quick() else 15):
            rows = [rng.permutation(4 * half)[:half] for _ in range(SYNC_EVERY)]
            for name, arm in arms.items():
                distributed.barrier()
                start = time.perf_counter()
                arm(rows)
                times[name].append((time.perf_counter() - start) / SYNC_EVERY)
        found["–".join(map(str, widths))] = {name: float(np.median(t)) for name, t in times.items()}
    distributed.destroy_process_group()
    if rank == 0:
        Path(folder, "times").write_text(json.dumps(found))


def on_two_ranks(function: str, result: str, slowed: bool = False) -> bytes | None:
    """What two processes that call a function of this module have written into ``result``; None if it can not be had.

    With ``slowed``, they run on the slowed interface, which needs Linux and its tools.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [*(SLOWED if slowed else ()), sys.executable, __file__, "--ranks", function, folder]
        done = subprocess.run(command, env=os.environ | {"GLOO_SOCKET_IFNAME": "lo"} if slowed else None, timeout=600)
        if slowed and done.returncode:
            return None
        done.check_returncode()
        return Path(folder, result).read_bytes()


def compared() -> dict[str, dict[str, float]]:
    """For each network that is compared: milliseconds of a step of two ranks of one thread, and the ``RATIOS``."""
    found = on_two_ranks("compare", "times")
    slow = None if quick() else on_two_ranks("compare", "times", slowed=True)
    of_slow, results = json.loads(slow or b"{}"), {}
    for name, times in json.loads(found or b"{}").items():
        results[name] = {
            "milliseconds": 1e3 * times["step"],
            "time_over_its_parts": times["step"] / (times["compute"] + times["all-reduce"]),
            "speedup_vs_ddp": times["DDP"] / times["step"],
            "local_steps_vs_two_threads": times["two threads"] / times["local"],
            "speedup_by_sending_early": times["step"] / times["ahead"],
            "the_same_when_slowed": of_slow[name]["step"] / of_slow[name]["ahead"] if of_slow else math.nan,
        }
    return results


def lines_of(results: dict[str, dict[str, float]]) -> list[str]:
    """The results as a table in Markdown."""
    lines = [
        f"| network, {BATCH:,} samples of two ranks | step | over compute and all-reduce | DDP | two threads, over "
        f"`sync_every={SYNC_EVERY}` | sent early | the same at {RATE_OF_SLOW:,} Mbit/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, found in results.items():
        lines.append(
            " | ".join([f"| {name}", f"{found['milliseconds']:.2f} ms", *(f"{found[r]:.2f}x" for r in RATIOS)]) + " |"
        )
    return lines


def draw(step: Step, networks: dict[str, Network]) -> None:
    """The picture of the table, beside it: samples a second on 1 to 1,024 ranks, as multiples of one rank's."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fastclf"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(RANKS, RANKS, color="0.7", label="as many times as ranks")
    one = BATCH / step.seconds(1, BATCH, next(iter(networks.values())))
    for i, (name, network) in enumerate(networks.items()):
        for style, grows, every, what in ((":", False, 1, "B"), ("--", True, 1, "B k"), ("-", True, 8, "B k, H = 8")):
            batches = [BATCH * (k if grows else 1) for k in RANKS]
            rates = [b / step.seconds(k, b, network, every) / one for k, b in zip(RANKS, batches)]
            axes.plot(RANKS, rates, style, color=f"C{i}", label=f"{name}: {what}")
    axes.set(
        xscale="log", yscale="log", xlabel="ranks", ylabel="samples a second, over one rank's",
        title=f"{'–'.join(map(str, WIDTHS))}, B = {BATCH:,}",
    )  # fmt: skip
    axes.set_xticks(RANKS, [f"{k:,}" for k in RANKS])
    axes.legend(fontsize="x-small", ncols=2)
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    """Measure, and print or write the tables."""
    from torch import multiprocessing

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--ranks", nargs=2, metavar=("FUNCTION", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ranks:
        function, folder = {"measure": measure, "compare": compare}[args.ranks[0]], args.ranks[1]
        multiprocessing.start_processes(function, (folder,), nprocs=2, start_method="spawn")
        return
    of_steps = lines_of(compared())
    if args.compare:
        print("\n".join(of_steps))
        return
    terms = json.loads(on_two_ranks("measure", "terms") or b"")
    slow = json.loads(on_two_ranks("measure", "terms", slowed=True) or b"null")
    loopback = fitted([DTYPE.itemsize * n for n in SIZES], terms["seconds"])
    size = DTYPE.itemsize * sum(i * o + o for i, o in pairwise(WIDTHS))
    update = terms["none"] - loopback.all_reduce(2, size)  # a step of two ranks that have no samples
    step = Step(terms["sample"], max(0.0, update), size)
    networks = {"loopback": loopback, **ASSUMED}
    expected = step.seconds(2, BATCH, loopback)
    shape, assumed = "–".join(map(str, WIDTHS)), []
    for name, network in ASSUMED.items():
        assumed.append(f"{name}, a = {1e6 * network.latency:.0f} µs, b = {network.bandwidth / 1e9:g} GB/s")
    fastest = [f"{step.most_ranks(BATCH, network)} ranks ({name})" for name, network in networks.items()]
    said = [
        f"{measured_on(COMMAND)}.",
        "",
        f"{shape}, {DTYPE}, one thread per rank: c = {1e6 * step.sample:.1f} µs, s = {1e3 * step.update:.2f} ms, "
        f"P = {size / 1e6:.2f} MB. On the loopback interface a = {1e6 * loopback.latency:.0f} µs, "
        f"b = {loopback.bandwidth / 1e6:,.0f} MB/s. Assumed: {'; '.join(assumed)}. "
        f"With B = {BATCH:,}, a step is fastest on {', '.join(fastest)}.",
        "",
        f"A step of two ranks on {BATCH:,} samples, beside what the model says:",
        "",
        "| network | measured | model |",
        "| --- | ---: | ---: |",
        f"| loopback | {1e3 * terms['both']:.1f} ms | {1e3 * expected:.1f} ms |",
        f"| {1e3 * DELAY:g} ms more per exchange | {1e3 * terms['delayed']:.1f} ms | {1e3 * (expected + DELAY):.1f} ms |",
    ]
    if slow:
        of_each = Network(loopback.latency, min(loopback.bandwidth, RATE_OF_SLOW * 1e6 / 8 / 2))
        modelled = step.seconds(2, BATCH, of_each)
        said.append(f"| {RATE_OF_SLOW:,} Mbit/s for both | {1e3 * slow['both']:.1f} ms | {1e3 * modelled:.1f} ms |")
    said += ["", "How many times as many samples a second as on one rank:", "", *table(step, networks), ""]
    said += [f"![The same as a picture]({PICTURE.name})", "", *of_steps]
    print("\n".join(said))
    if args.write:
        draw(step, networks)
        Block(DOCUMENT, "scaling").write("\n".join(said))


if __name__ == "__main__":
    main()
