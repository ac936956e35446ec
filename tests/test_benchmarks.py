"""Every benchmark runs, as asv runs it, and gives a figure; the arms of a workload do the same work; the README's table.

Everything is small here (FASTCLF_BENCH_QUICK), and the figures mean nothing.
"""

import importlib
import importlib.util
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

discovery = pytest.importorskip("asv_runner.discovery")

FOLDER = Path(__file__).parents[1] / "asv_benchmarks"
SUITE = str(FOLDER / "benchmarks")
CI = bool(os.environ.get("CI"))
ONCE = {"number": 1, "repeat": 1, "rounds": 1, "warmup_time": 0}  # what ``asv run --quick`` asks for

pytestmark = [
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the benchmarks are in the repository alone"),
    pytest.mark.filterwarnings("ignore"),  # what peers warn of is theirs
]


@pytest.fixture(scope="module")
def suite():
    """The modules beside the benchmarks, and what each benchmark file's setup_cache has returned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTCLF_BENCH_QUICK", "1")
        patch.syspath_prepend(str(FOLDER))
        patch.setattr(sys, "meta_path", [*sys.meta_path])
        discovery.update_sys_path(SUITE)
        yield SimpleNamespace(
            workloads=importlib.import_module("workloads"), peers=importlib.import_module("peers"), caches={}
        )
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(FOLDER)):
            del sys.modules[name]


def results(suite, benchmark):
    """The results of a benchmark for each of its parameters; None where it is skipped."""
    try:
        if (key := benchmark.setup_cache_key) not in suite.caches:
            suite.caches[key] = benchmark.do_setup_cache()
        benchmark.set_cache(suite.caches[key])
        for index in range(math.prod(map(len, benchmark.params))):
            benchmark.set_param_idx(index)
            yield None if benchmark.do_setup() else benchmark.do_run()
            benchmark.do_teardown()
    except ImportError as error:
        if "torch" in str(error):
            pytest.importorskip("torch", exc_type=ImportError)
        raise


def figures(result):
    """The numbers in a result: asv's timings are a dictionary that holds a list of them."""
    return result["samples"] if isinstance(result, dict) else [result]


FILES = [
    "speedups", "times", "machine", "startup", "threads", "imports", "memory", "prediction", "load", "sweep", "bfloat16",
    "ranks", "history",
]  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_every_benchmark_gives_a_figure(suite, file):
    names = [b.name for b in discovery.disc_benchmarks(SUITE) if b.name.startswith(f"{file}.")]
    assert names
    for name in names:
        got = list(results(suite, discovery.get_benchmark_from_name(SUITE, name, extra_params=ONCE)))
        ran = [x for result in got if result is not None for x in figures(result)]
        assert all(math.isfinite(x) and x > 0 for x in ran), name
        # torch's autocast is measured on processors that multiply bfloat16, a slowed interface where there is one
        has_reason = name.rpartition("_vs_")[2] in (*suite.workloads.PEERS, "autocast") or name.endswith("when_slowed")
        needs_torch = "loader" in name and not importlib.util.find_spec("torch")
        assert ran or has_reason or needs_torch, name


def test_every_file_of_benchmarks_is_run():
    assert {path.stem for path in Path(SUITE).glob("*.py")} == {"__init__", *FILES}


@pytest.mark.parametrize("name", ["speedups.track_speedup_vs_reference", "sweep.track_speedup_vs_jax"])
def test_the_arms_of_a_workload_do_the_same_work(suite, name):
    benchmark = discovery.get_benchmark_from_name(SUITE, name)
    list(results(suite, benchmark))
    can_run = {workload.id: workload.can_run() for workload in suite.workloads.TABLE}  # some need torch
    measured = suite.caches[benchmark.setup_cache_key]
    assert [id for id, measurement in measured.items() if measurement.losses] == [id for id in measured if can_run[id]]
    for id in filter(can_run.get, measured):
        measurement = measured[id]
        own = measurement.losses["fastclf"]
        for arm, loss in measurement.losses.items():
            if arm != "sklearn" or id not in (
                "S5",
                "S6",
                "S7",
                "E3",
                "E3.float32",
                "E4.20",
            ):  # SGDClassifier trains one-vs-rest
                assert loss == pytest.approx(own, rel=suite.peers.SAME_LOSS), (id, arm)


@pytest.fixture(scope="module")
def report(suite):
    """The report of a few rows."""
    return suite.peers.run(
        [row for row in suite.peers.MEASURED if row.id in ("S1", "S5", "S12", "S14.memory.sgd.float32")]
    )


@pytest.fixture
def peers(suite, report, tmp_path, monkeypatch):
    """peers.py as if the table had the report's rows alone, in a folder of its own."""
    peers = suite.peers
    monkeypatch.setattr(peers, "MEASURED", [row for row in peers.MEASURED if row.id in report["rows"]])
    monkeypatch.setattr(peers, "RESULTS", tmp_path / "results" / "peers.json")
    for name in ("IN_README", "IN_DOCS", "IN_SWEEP"):
        block = getattr(peers, name)._replace(page=tmp_path / f"{name}.md")
        block.page.write_text(f"# Before\n\n{block.begin}\nold\n{block.end}\n\nafter\n")
        monkeypatch.setattr(peers, name, block)
    return peers


def test_the_pages_are_what_the_results_say(peers, report):
    peers.write_pages(report)
    peers.check()
    for block in (peers.IN_README, peers.IN_DOCS, peers.IN_SWEEP):
        text = block.page.read_text()
        assert text.startswith("# Before\n")
        assert text.endswith("\n\nafter\n")
        assert "old" not in text
    text = peers.IN_DOCS.page.read_text()
    for id in ("S1", "S5", "S12"):
        assert f"| {id} |" in text
    few = peers.IN_README.page.read_text()
    assert report["rows"]["S1"]["name"] in few
    assert "target" not in few


def edited(page, old, new):
    page.write_text(page.read_text().replace(old, new))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda peers: edited(peers.IN_DOCS.page, "| S5 |", "| S6 |"),
        lambda peers: edited(peers.IN_README.page, peers.IN_README.end, ""),
        lambda peers: edited(peers.IN_SWEEP.page, peers.IN_SWEEP.begin, f"{peers.IN_SWEEP.begin} more"),
        lambda peers: edited(peers.RESULTS, '"S5"', '"S6"'),
        lambda peers: peers.RESULTS.unlink(),
    ],
)
def test_a_page_that_differs_is_found(peers, report, spoil):
    peers.write_pages(report)
    spoil(peers)
    with pytest.raises(SystemExit) as exit:
        peers.check()
    assert exit.value.code not in (0, None)


def test_rows_measured_anew_take_the_place_of_the_old(peers, report):
    peers.write_pages(report)
    later = {**report["rows"]["S5"], "date": "9999-01-01", "losses": {"fastclf": 7}}
    peers.write_pages(peers.merged(peers.results(), report | {"rows": {"S5": later}}))
    peers.check()
    rows = peers.results()["rows"]
    assert rows == report["rows"] | {"S5": later}
    assert [*rows] == [*report["rows"]]
    assert f"; {report['rows']['S1']['date']} to 9999-01-01; `" in peers.IN_README.page.read_text()


@pytest.mark.parametrize(
    "other", [{"machine": {"processor": "an abacus"}}, {"versions": {"Python": "2.7"}}], ids=["machine", "versions"]
)
def test_rows_of_another_machine_are_not_merged(peers, report, other):
    with pytest.raises(SystemExit, match=r"an abacus|2\.7"):
        peers.merged(report | other, report)


@pytest.mark.parametrize(
    ("only", "ids"),
    [
        ("W0", ["W0"]),
        ("S8", ["S8.1000", "S8.128", "S8.32", "S8.1"]),
        ("S8.1,W3", ["S8.1", "W3"]),
        ("sweep", [f"W{k}" for k in range(36)]),
        ("X1", []),
    ],
)
def test_rows_are_chosen_by_id_and_by_group(suite, only, ids):
    assert [row.id for row in suite.peers.chosen(only)] == ids


# ---------------------------------------------------------------- the sweep


def test_the_shapes_of_the_sweep_cover_what_they_may_be(suite):
    """Each axis lies within its bounds, and comes near both; a batch at its cap still has the most work that is allowed."""
    sweep = importlib.import_module("sweep")
    drawn = sweep.shapes()
    assert len(drawn) == sweep.SHAPES
    axes = {
        "features": ([s.widths[0] for s in drawn], sweep.FEATURES),
        "widths": ([u for s in drawn for u in s.widths[1:-1]], sweep.WIDTH),
        "classes": ([s.widths[-1] for s in drawn], sweep.CLASSES),
        "batches": ([s.m for s in drawn], sweep.BATCH),
    }
    for name, (values, (low, high)) in axes.items():
        assert low <= min(values) <= 1.5 * low, name
        assert high / 2 <= max(values) <= high, name
    assert {len(s.widths) - 2 for s in drawn} == {*range(1, sweep.MOST_HIDDEN + 1)}
    assert sum(s.dtype == "float32" for s in drawn) == 2 * sweep.SHAPES // 3
    assert max(s.flop for s in drawn) == pytest.approx(sweep.MOST_FLOP, rel=0.02)
    assert all(s.flop <= sweep.MOST_FLOP and s.m * s.widths[0] <= sweep.MOST_NUMBERS for s in drawn)


def made_up(suite, speedups):
    """A report of the sweep's first shapes, in which torch and JAX take so many times as long as fastclf."""
    rows = {}
    for row, (torch, jax) in zip(suite.peers.SWEEP, speedups):
        samples = {"fastclf": [0.002] * 3, "torch": [0.002 * torch] * 3, "jax": [0.002 * jax] * 3}
        losses = {"fastclf": 1.5, "torch": 1.5, "jax": 2.5}
        rows[row.id] = {"name": row.name, "unit": "step", "date": "2000-01-02", "samples": samples, "losses": losses}
    return {"machine": {"processor": "an abacus"}, "versions": {"Python": "3"}, "rows": rows}


def test_the_readme_sums_up_the_sweep(suite):
    """The best peer of each shape decides: 1.5, 0.8, 3, 1 and 0.9 here."""
    report = made_up(suite, [(2, 1.5), (0.8, 4), (3, 5), (1, 1), (0.9, 0.95)])
    text, second = suite.peers.render(report), suite.peers.SWEEP[1]
    assert "5 shapes of networks" in text
    assert f"1.00x in the median, and 0.80x at the worst (W1: {second.name}). It is below 1 at 2 shapes." in text
    assert "Targets missed: W1, W4." in text
    assert "| W0 |" not in text


def test_the_sweep_has_its_table_in_the_docs(suite):
    report = made_up(suite, [(2, 1.5), (0.8, 4)])
    first, second = suite.peers.SWEEP[:2]
    text = suite.peers.render_sweep(report)
    assert text.startswith("an abacus; Python 3; 2000-01-02.\n\n")
    assert text.splitlines()[-2:] == [
        f"| W0 | {first.name} | 2.00 ms per step | 2.00x | 1.50x (target 1x) | 1.5000; JAX 2.5000 |",
        f"| W1 | {second.name} | 2.00 ms per step | 0.80x (target 1x, missed) | 4.00x | 1.5000; JAX 2.5000 |",
    ]


@pytest.mark.parametrize("speedups", [[], [(1.5, 2)]])
def test_one_shape_and_none(suite, speedups):
    report = made_up(suite, speedups)
    assert ("It is below 1 at no shapes." in suite.peers.render(report)) == bool(speedups)
    assert ("No shape has been measured yet." in suite.peers.render_sweep(report)) == (not speedups)


def test_a_speedup_is_the_median_of_pairs_and_the_best_rival_decides(suite):
    Measurement, Target = suite.workloads.Measurement, suite.workloads.Target
    m = Measurement({"fastclf": [1.0, 2.0, 4.0], "torch": [3.0, 6.0, 4.0], "jax": [2.0, 4.0, 8.0]}, {})
    assert m.speedup("torch") == 3
    assert m.rival(Target(2, ("torch", "jax", "sklearn"))) == "jax"
    assert m.value(Target(2, ("torch", "jax", "sklearn"))) == 2
    assert m.value(Target(2, ("jax",), at_most=True)) == 0.5
    assert m.value(Target(2, ("sklearn",))) is None
    assert m.value(Target(2)) == 2


# ---------------------------------------------------------------- where the time goes


@pytest.fixture(scope="module")
def breakdown(suite):
    """breakdown.py, whose empty parallel region is none of the package's routines."""
    from fastclf.kernels import jit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "COMPILED", {})
        return importlib.import_module("breakdown")


def test_a_breakdown_has_a_row_for_each_network_and_each_product(breakdown):
    found = [breakdown.measure(breakdown.shape_of(f"30-20-4,40,{dtype}")) for dtype in ("float32", "float64")]
    lines = breakdown.render(found, breakdown.empty_region()).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert [row[0] for row in rows if row[0].startswith("30")] == [
        f"30–20–4, batch 40, {dtype}" for dtype in ("float32", "float64") * 2
    ]
    names = "layer 1, forward", "layer 1, gradient", "layer 2, forward", "layer 2, deltas", "layer 2, gradient"
    assert [name for row in rows for name in row[:2] if name.startswith("layer")] == [*names * 2]
    for b in found:
        assert all(math.isfinite(x) and x > 0 for figures in b.measured.samples.values() for x in figures)
        assert sum(part.flop for part in b.parts) == b.problem.flops


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("m", [1, 30, 150])
def test_the_products_that_are_timed_are_those_of_a_step(suite, breakdown, m, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.random((m, 3000)).astype(dtype), rng.integers(0, 5, m)
    close = {"rtol": 0, "atol": 1e-4}
    for part in breakdown.products(suite.workloads.Problem(X, y, 5, hidden=(20, 130))):
        before = [np.copy(a) for a in part.run.args]
        part.run(2)
        args, name = part.run.args, part.name
        if name == "layer 3, forward":
            np.testing.assert_allclose(args[3][:, :m], args[1] @ args[0].T + args[2][::4, None], **close)
        elif name.endswith("forward"):
            bias, Z, A = args[3:6] if part.run.func is sys.modules["products"]._turned else args[2:5]
            np.testing.assert_allclose(Z, args[0] @ args[1].T + bias[: Z.shape[1]], **close)
            np.testing.assert_array_equal(A, np.maximum(Z, 0))
        elif name.endswith("deltas"):
            D = args[0].T[:m] if name.startswith("layer 3") else args[0]
            np.testing.assert_allclose(args[4], np.where(args[5] > 0, D @ args[3], 0), **close)
        else:
            for a, b in zip(args[:5], before):
                np.testing.assert_array_equal(a, b)


def test_bytes_from_beyond_a_cache(suite, breakdown):
    """A product of 100 rows and columns in tiles of 10 by 10, and 8 terms: by hand, in units of a row of terms."""
    traffic = importlib.import_module("traffic")
    tile = {"R": 10, "C": 10, "Z": 1}
    nest = traffic.Nest(tile, [traffic.Loop(10, "RZ"), traffic.Loop(10, "CZ")])
    assert nest.beyond(0) == 100 * (10 + 10 + 1)
    assert nest.beyond(20) == nest.beyond(0)  # a tile does not fit
    assert nest.beyond(21) == 10 * 100 + 100 + 100  # the columns stay while the rows go by, again and again
    assert nest.beyond(100 + 10 + 10) == 100 + 100 + 100  # all rows stay
    assert nest.beyond(300) == 0  # everything stays
    whole = traffic.forward(60, 40, 100, 4, results=2)
    assert whole.beyond(50_000) == (60 * 100 + 40 * 100 + 2 * 60 * 40) * 4


def test_what_a_user_waits_for(suite):
    waiting = importlib.import_module("waiting")
    results = {name: waiting.measure(X, y) for name, (X, y) in waiting.data_sets().items()}
    for of_set in results.values():
        assert [*of_set] == [*waiting.CLASSIFIERS]
        assert all(seconds > 0 and 0.5 < accuracy <= 1 for seconds, accuracy in of_set.values())
    lines = waiting.render(results).splitlines()
    assert sum(line.startswith(f"| {name} |") for line in lines for name in waiting.CLASSIFIERS) == 5


def test_the_cost_of_ranks(suite):
    scaling = importlib.import_module("scaling")
    network = scaling.Network(latency=2e-4, bandwidth=1e9)
    assert network.all_reduce(1, 1e6) == 0
    assert network.all_reduce(4, 1e6) == pytest.approx(6 * (2e-4 + 250e3 / 1e9))
    sizes = [1e3, 1e5, 1e7]
    assert scaling.fitted(sizes, [network.all_reduce(2, size) for size in sizes]) == pytest.approx(network)
    step = scaling.Step(sample=1e-5, update=1e-3, size=1e6)
    assert step.seconds(2, 1000, network) == pytest.approx(5e-3 + 1e-3 + 2 * 2e-4 + 1e-3)
    assert step.seconds(2, 1000, network, sync_every=4) == pytest.approx(5e-3 + 1e-3 + (2 * 2e-4 + 1e-3) / 4)
    assert step.most_ranks(1000, network) == 4
    lines = scaling.table(step, {"a": network, "b": network})
    assert len(lines) == 2 + len(scaling.RANKS)
    assert lines[2] == "| 1 | 1 | 1 | 1 | 1 | 1 | 1 |"


@pytest.fixture
def commits(suite, monkeypatch, tmp_path):
    """commits.py with three cases, which print what their commit's version is."""
    module = importlib.import_module("commits")
    monkeypatch.setattr(module, "HERE", tmp_path / "asv_benchmarks")
    for part in module.PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "__init__.py").touch()
    (tmp_path / "fastclf" / "__init__.py").write_text("bits = [1, 2, 3]\n")
    (tmp_path / "asv_benchmarks" / "cases.py").write_text(
        "import fastclf, json, sys; json.dump(dict(zip('abc', fastclf.bits)), sys.stdout)"
    )
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    return module


def test_commits_of_the_same_bits(commits, capsys):
    assert commits.bits("HEAD", commits.WORKING_TREE) == 0
    assert capsys.readouterr().out == "3 of 3 cases have the same bits at HEAD and at the working tree\n"


@pytest.mark.parametrize(("source", "named"), [("bits = [1, 0, 3]\n", "b"), ("bits = [1, 2]\n", "c")])
def test_commits_of_other_bits_are_told_apart(commits, source, named, capsys):
    (commits.HERE.parent / "fastclf" / "__init__.py").write_text(source)
    assert commits.bits("HEAD", commits.WORKING_TREE) == 1
    assert capsys.readouterr().out.startswith(f"{named}: other bits\n2 of 3 cases")


def test_every_case_of_the_comparison_runs_and_its_digest_tells_bits_apart(suite):
    cases = importlib.import_module("cases")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        digests = {name: cases.digest(run()) for name, run in [*cases.CASES.items()][:: 1 if CI else 9]}
    assert len(digests) > 40
    zero, other = np.zeros(2), np.nextafter(np.zeros(2), 1)
    assert len({cases.digest([a]) for a in (zero, other, -zero, zero.astype(np.float32), zero[:1])}) == 5


def test_the_history_is_what_the_results_say(suite):
    history = importlib.import_module("history")
    machine, of_benchmarks = history.figures()
    assert {*of_benchmarks} == {*history.TITLES}
    assert min(map(len, of_benchmarks.values())) >= 10
    assert all(math.isfinite(ratio) for points in of_benchmarks.values() for _, _, ratio in points)
    assert not history.PAGE.difference(history.render(machine, of_benchmarks), "results/")
    picture = history.PICTURE.read_text()
    for commit in history.milestones():
        assert f">{commit}<" in picture, commit
