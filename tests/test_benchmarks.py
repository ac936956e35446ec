"""Every benchmark runs, as asv runs it, and gives a figure; the arms of a workload do the same work; the README's table.

Everything is small here (FASTCLF_BENCH_QUICK), and the figures mean nothing.
"""

import importlib
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
    if (key := benchmark.setup_cache_key) not in suite.caches:
        suite.caches[key] = benchmark.do_setup_cache()
    benchmark.set_cache(suite.caches[key])
    for index in range(math.prod(map(len, benchmark.params))):
        benchmark.set_param_idx(index)
        yield None if benchmark.do_setup() else benchmark.do_run()
        benchmark.do_teardown()


def figures(result):
    """The numbers in a result: asv's timings are a dictionary that holds a list of them."""
    return result["samples"] if isinstance(result, dict) else [result]


@pytest.mark.parametrize(
    "file", ["speedups", "times", "machine", "startup", "threads", "imports", "memory", "prediction", "load"]
)
def test_every_benchmark_gives_a_figure(suite, file):
    names = [b.name for b in discovery.disc_benchmarks(SUITE) if b.name.startswith(f"{file}.")]
    assert names
    for name in names:
        got = list(results(suite, discovery.get_benchmark_from_name(SUITE, name, extra_params=ONCE)))
        ran = [x for result in got if result is not None for x in figures(result)]
        assert all(math.isfinite(x) and x > 0 for x in ran), name
        assert ran or name.rpartition("_vs_")[2] in suite.workloads.PEERS, name


def test_every_file_of_benchmarks_is_run():
    mine = test_every_benchmark_gives_a_figure.pytestmark[0].args[1]
    assert {path.stem for path in Path(SUITE).glob("*.py")} == {"__init__", *mine}


def test_the_arms_of_a_workload_do_the_same_work(suite):
    benchmark = discovery.get_benchmark_from_name(SUITE, "speedups.track_speedup_vs_reference")
    list(results(suite, benchmark))
    for id, measurement in suite.caches[benchmark.setup_cache_key].items():
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
    monkeypatch.setattr(peers, "README", tmp_path / "README.md")
    monkeypatch.setattr(peers, "RESULTS", tmp_path / "results" / "peers.json")
    peers.README.write_text(f"# Before\n\n{peers.BEGIN}\nold\n{peers.END}\n\nafter\n")
    return peers


def test_the_readme_is_what_the_results_say(peers, report):
    peers.write_readme(report)
    peers.check()
    text = peers.README.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("\n\nafter\n")
    for id in ("S1", "S5", "S12"):
        assert f"| {id} |" in text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda peers: peers.README.write_text(peers.README.read_text().replace("| S5 |", "| S6 |")),
        lambda peers: peers.README.write_text(peers.README.read_text().replace(peers.END, "")),
        lambda peers: peers.RESULTS.write_text(peers.RESULTS.read_text().replace('"S5"', '"S6"')),
        lambda peers: peers.RESULTS.unlink(),
    ],
)
def test_a_readme_that_differs_is_found(peers, report, spoil):
    peers.write_readme(report)
    spoil(peers)
    with pytest.raises(SystemExit) as exit:
        peers.check()
    assert exit.value.code not in (0, None)


def test_a_speedup_is_the_median_of_pairs_and_the_best_rival_decides(suite):
    Measurement, Target = suite.workloads.Measurement, suite.workloads.Target
    m = Measurement({"fastclf": [1.0, 2.0, 4.0], "torch": [3.0, 6.0, 4.0], "jax": [2.0, 4.0, 8.0]}, {})
    assert m.speedup("torch") == 3
    assert m.rival(Target(2, ("torch", "jax", "sklearn"))) == "jax"
    assert m.value(Target(2, ("torch", "jax", "sklearn"))) == 2
    assert m.value(Target(2, ("jax",), at_most=True)) == 0.5
    assert m.value(Target(2, ("sklearn",))) is None
    assert m.value(Target(2)) == 2


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
