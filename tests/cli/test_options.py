"""The command line, as a process and as a function."""

import json
import os
import subprocess
import sys

import pytest

import fastclf
from fastclf import cli
from fastclf.cli import info


def run(*arguments, **environment):
    command = [sys.executable, "-m", "fastclf", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env={**os.environ, **environment})


def test_info_tells_what_a_bug_report_needs():
    done = run("info")
    assert done.returncode == 0
    for fact in ("numpy", "numba", "processor", "tiles", "threads", "layer", "cache", "compiled kernels"):
        assert fact in done.stdout


def test_info_and_show_versions_say_the_same(capsys):
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    fastclf.show_versions()
    assert capsys.readouterr().out == printed
    assert cli.main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == info.describe()
    assert facts["fastclf"] == fastclf.__version__
    assert [line.split("  ")[0].strip() for line in printed.splitlines()] == [*facts]


def test_info_follows_the_target(tmp_path):
    done = run("info", NUMBA_CPU_NAME="haswell", FASTCLF_CACHE_DIR=str(tmp_path))
    assert "AVX2: x86-64-v3" in done.stdout
    assert str(tmp_path) in done.stdout


HELP = {
    (): ("lab", "train", "evaluate", "predict", "info", "warmup"),
    ("lab",): ("--data", "--data-root", "--download", "--out", "--quick", "Exit status: 0 if every stage agrees"),
    ("train",): ("--save", "--report", "--model", "--hidden", "--validation", "--standardize", "--jobs", "cifar10:DIR"),
    ("evaluate",): ("MODEL", "DATA", "--json", "--report", "--labels", "--target", "--columns", "--drop", "--split"),
    ("predict",): ("MODEL", "DATA", "--proba", "--out", "a .csv or .npy file"),
    ("info",): ("--help", "--json"),
    ("warmup",): ("--help",),
}


@pytest.mark.parametrize("words", HELP, ids=lambda words: " ".join(words) or "fastclf")
def test_help_says_what_there_is(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--help"])
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())  # lines are cut to the terminal's width
    assert printed.startswith(f"usage: {' '.join(['fastclf', *words])} ")
    for option in HELP[words]:
        assert option in printed


def test_every_command_has_help_and_is_run():
    from fastclf.cli import commands

    assert {*commands.COMMANDS} == {*HELP[()]}


def test_mistakes_are_told_with_the_usage():
    for words, message in ((["nonsense"], "invalid choice: 'nonsense'"), (["train"], "required: DATA, --save")):
        done = run(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("usage: fastclf")
        assert message in done.stderr
        assert done.stdout == ""


def test_a_bare_command_prints_its_help(capsys):
    assert cli.main([]) == 0
    printed = capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert printed == capsys.readouterr().out
    assert "train a classifier on a file, and save it" in printed


def test_warmup_compiles_what_is_missing(monkeypatch, capsys):
    variants = info.all_variants()
    assert {code.name for code, _ in variants} >= {
        "mlp.run",
        "matmul.outer",
        "linear.wide",
        "linear.narrow",
        "sgd.wide",
    }
    chosen = [v for v in variants if v[0].name.startswith("check.")]
    monkeypatch.setattr(info, "all_variants", lambda: chosen)
    assert cli.main(["warmup"]) == 0
    assert "4 kernels in" in capsys.readouterr().out
    for code, dtype in chosen:
        assert code.place(dtype) == "cache"


def test_everything_that_computes_comes_in_both_dtypes_unless_it_is_for_bfloat16():
    variants = info.all_variants()
    starters = {code.name for code, dtype in variants if dtype == "int64"}
    assert starters <= {"team.serve", "team.run_shares", "numba_pool.for_each_thread"}
    assert starters
    for_bfloat16 = {code.name for code, _ in variants if code.dtypes == ("uint32",)}
    assert for_bfloat16 == {"mlp.round_weights", "operands.round_along", "operands.round_across"}
    for code, dtype in variants:
        assert (
            dtype == "int64"
            or code.name in for_bfloat16
            or {(code, name) for name in ("float32", "float64")} <= {*variants}
        )


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "describe", interrupt)
    assert cli.main(["info"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["matplotlib"])
def test_lab_without_its_extra_says_what_to_install(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["lab"]) == 2
    assert "fastclf[lab]" in capsys.readouterr().err
