"""Where the time of a training step goes: its matrix products, each alone, beside the machine's rate of multiply-adds.

    python asv_benchmarks/breakdown.py --write                          the shapes of docs/benchmarks.md, into that page
    python asv_benchmarks/breakdown.py W3 3072-100-10,1000,float32      shapes of the sweep, or any

Steps, products and the rate of multiply-adds take turns. A share is the median over the rounds. With FASTCLF_BENCH_QUICK
set, everything is small, and the figures mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import arms
import limits
import numba
import sweep
from arms import Arm, Problem
from blocks import Block
from peers import duration, measured_on, number, table
from products import Product, products
from workloads import Measurement, Workload, images, problem, quick

from fastclf.engine.network import Network
from fastclf.engine.threads import resolve_n_jobs, threads_for
from fastclf.kernels.caches import cache_bytes
from fastclf.kernels.jit import FLAGS, in_shares
from fastclf.kernels.mlp import BY_UNITS_BELOW
from fastclf.kernels.target import TARGET
from fastclf.kernels.threads import team_of

IN_DOCS = Block(Path(__file__).parents[1] / "docs" / "benchmarks.md", "breakdown")
COMMAND = "python asv_benchmarks/breakdown.py --write"
SHAPES = (
    *(sweep.Shape((3072, 100, 10), m, "float32") for m in (1000, 128, 32, 1)),
    sweep.Shape((3072, 1024, 10), 256, "float32"),
    sweep.Shape((3072, 1024, 1024, 10), 256, "float32"),
    sweep.Shape((784, 512, 512, 10), 128, "float32"),
    sweep.Shape((784, 100, 1000), 256, "float32"),
    sweep.Shape((64, 100, 10), 200, "float32"),
    sweep.Shape((64, 32, 10), 32, "float32"),
    sweep.Shape((3072, 100, 10), 1000, "float64"),
    sweep.Shape((64, 100, 10), 200, "float64"),
)
ROUND_FLOP = 5e9  # of an arm in a round: about a twentieth of a second at the rate of one thread
ONE, ALL = "one thread", "all threads"


# ---------------------------------------------------------------- parallel regions


@in_shares()
def nothing(q, workers):
    """A thread's share of an empty region."""


@numba.njit(**FLAGS)
def _empty_regions(team, times):
    for _ in range(times):
        nothing(team)


def empty_region() -> float:
    """The seconds that a parallel region takes in which no thread has anything to do."""

    def train(passes):
        with team_of(resolve_n_jobs(None)) as team:
            _empty_regions(team, passes)

    regions = Workload("regions", "empty parallel regions", lambda: {"fastclf": lambda: Arm(train)}, passes=20_000)
    return regions.measure().figure


def regions_of(p: Problem) -> int:
    """The parallel regions of a step, as ``kernels.mlp.run`` has them: the rows' one, the update's, and that of few rows."""
    by_units = len(p.X) < BY_UNITS_BELOW and len(p.hidden) > 0
    by_rows = len(p.X) > TARGET.lanes(p.X.dtype.itemsize)
    return by_units + by_rows + 1


# ---------------------------------------------------------------- one network


class Breakdown(NamedTuple):
    """A network's measurement: seconds of a step and of its products, and of a GFLOP at the machine's rate."""

    shape: str
    problem: Problem
    parts: list[Product]
    measured: Measurement

    def median(self, of) -> float:
        """The median over the rounds of a function of the figures of a round, which are found by the arms' names."""
        samples = self.measured.samples
        return statistics.median(of(dict(zip(samples, figures))) for figures in zip(*samples.values()))

    def rate(self, threads: str) -> float:
        """The machine's rate of multiply-adds, in GFLOP per second."""
        return 1 / self.median(lambda at: at[f"rate, {threads}"])

    def of_rate(self, arm: str, flop: float, threads: str = ONE) -> str:
        """The share of the machine's rate that an arm reaches."""
        return number(self.median(lambda at: flop / 1e9 * at[f"rate, {threads}"] / at[arm]))


def measure(shape: sweep.Shape) -> Breakdown:
    n, *hidden, c = shape.widths
    p = problem(images(shape.m, n, c), shape.dtype, c, hidden=tuple(hidden), learning_rate=1e-3)
    parts, gflop = products(p), p.flops / 1e9
    kinds = {
        ONE: partial(arms.fastclf_network, p, threads=1),
        ALL: partial(arms.fastclf_network, p, threads=-1),
        f"rate, {ONE}": partial(limits.tile_gflop, gflop, shape.dtype, 1),
        f"rate, {ALL}": partial(limits.tile_gflop, gflop, shape.dtype),
        **{part.name: partial(Arm, part.run) for part in parts},
    }
    passes = max(1, min(20_000, round(ROUND_FLOP / p.flops)))
    measured = Workload("breakdown", str(shape), lambda: kinds, passes=passes, rounds=5).measure()
    return Breakdown(str(shape), p, parts, measured)


# ---------------------------------------------------------------- tables


def size(bytes: float) -> str:
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if bytes >= scale:
            return f"{number(bytes / scale)} {unit}"
    return f"{bytes:.0f} B"


def signed(seconds: float) -> str:
    return f"−{duration(-seconds)}" if seconds < 0 else duration(seconds)


def step_row(b: Breakdown, region: float) -> list[str]:
    p, names, regions = b.problem, [part.name for part in b.parts], regions_of(b.problem)
    operations = Network(p.widths, p.X.dtype).step_operations(len(p.X))
    return [
        b.shape,
        duration(b.median(lambda at: at[ONE])),
        b.of_rate(ONE, p.flops),
        duration(b.median(lambda at: at[ALL])),
        b.of_rate(ALL, p.flops, ALL),
        str(threads_for(operations, None)),
        number(b.median(lambda at: sum(at[name] for name in names) / at[ONE])),
        signed(b.median(lambda at: at[ONE] - sum(at[name] for name in names))),
        f"{regions}, {duration(regions * region)}",
    ]


def product_rows(b: Breakdown) -> list[list[str]]:
    rows = []
    for part in b.parts:
        seconds = b.median(lambda at, name=part.name: at[name])
        taken = [part.nest.beyond(cache) for cache in (0, cache_bytes(1), cache_bytes(2))]
        rows.append(
            [
                "" if rows else b.shape,
                part.name,
                duration(seconds),
                b.of_rate(part.name, part.flop),
                number(b.median(lambda at, name=part.name: at[name] / at[ONE])),
                *(f"{size(x)}, {number(x / 1e9 / seconds)} GB/s" if x else "" for x in taken),
            ]
        )
    return rows


def rates(found: list[Breakdown]) -> str:
    """The machine's rate of multiply-adds by dtype, in one thread and in all."""
    texts = []
    for dtype in dict.fromkeys(str(b.problem.X.dtype) for b in found):
        same = [b for b in found if b.problem.X.dtype == dtype]
        one, all = (statistics.median(b.rate(threads) for b in same) for threads in (ONE, ALL))
        texts.append(f"{number(one)} GFLOP/s in one thread and {number(all)} in all, in {dtype}")
    return "; ".join(texts)


def render(found: list[Breakdown], region: float) -> str:
    """Both tables, in Markdown, and what they were measured on."""
    head = [
        "network", f"step, {ONE}", "share of the rate", f"step, {ALL}", "share of the rate", "threads by default",
        "share of the products", "the rest", "regions",
    ]  # fmt: skip
    of_products = [
        "network", "product", "time", "share of the rate", "share of the step", "what tiles take",
        "beyond the first-level cache", "beyond the second-level cache",
    ]  # fmt: skip
    return "\n\n".join(
        [
            f"{measured_on(COMMAND)}. The machine's rate: {rates(found)}. Data caches: "
            f"{cache_bytes(1) // 1024} and {cache_bytes(2) // 1024} KiB. An empty region takes {duration(region)}.",
            table(head, [step_row(b, region) for b in found]),
            table(of_products, [row for b in found for row in product_rows(b)]),
        ]
    )


def shape_of(text: str) -> sweep.Shape:
    """A shape by its number in the sweep, or by its widths, batch and dtype."""
    if text.startswith("W"):
        return sweep.shapes()[int(text[1:])]
    widths, m, dtype = text.split(",")
    return sweep.Shape(tuple(map(int, widths.split("-"))), int(m), dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shapes", nargs="*", type=shape_of, metavar="SHAPE", help="W3, or 3072-100-10,1000,float32")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/benchmarks.md")
    options = parser.parse_args()
    if options.write and (options.shapes or quick()):
        parser.error("--write is for figures that mean something, of the page's own shapes")
    if options.write:
        IN_DOCS.split()  # if the page lacks the markers, fail now
    found = []
    for shape in options.shapes or SHAPES:
        print(shape, file=sys.stderr, flush=True)
        found.append(measure(shape))
    text = render(found, empty_region())
    if options.write:
        IN_DOCS.write(text)
    print(text)


if __name__ == "__main__":
    main()
