"""What type checkers see of the public names: nothing in ``typing/right.py``, and every mistake in ``typing/wrong.py``."""

import ast
import importlib.util
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import fastclf
from fastclf import plots

ROOT = Path(__file__).parents[1]
RIGHT, WRONG = (Path(__file__).parent / "typing" / f"{name}.py" for name in ("right", "wrong"))


def run(checker, *arguments):
    """The checker's process, over both scripts."""
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    return subprocess.run(
        [sys.executable, "-m", checker, *arguments, str(RIGHT), str(WRONG)],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def expected():
    """The errors that the comments in ``wrong.py`` name, as (line, code)."""
    for number, line in enumerate(WRONG.read_text().splitlines(), 1):
        if found := re.search(r"# mypy finds: (.*)", line):
            yield from ((number, code) for code in found[1].split(", "))


def test_mypy_finds_the_mistakes_and_nothing_else(tmp_path):
    # The package's own modules are silent, as those of an installed package are.
    how = "--strict", "--config-file=pyproject.toml", "--follow-imports=silent", f"--cache-dir={tmp_path}"
    done = run("mypy", *how)
    errors = re.findall(r"^(.+?):(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    assert done.returncode == 1, done.stdout + done.stderr
    assert {Path(file).name for file, *_ in errors} == {WRONG.name}, done.stdout
    assert Counter((int(line), code) for _, line, code in errors) == Counter(expected()), done.stdout


def test_pyright_finds_the_mistakes_and_nothing_else():
    if shutil.which("node") is None:
        pytest.skip("pyright needs Node.js, which is not installed")
    done = run("pyright", "--outputjson", "--pythonpath", sys.executable)
    try:
        report = json.loads(done.stdout)
    except ValueError:  # it would have to download a part of itself
        pytest.skip(f"pyright does not run here: {(done.stderr or done.stdout).strip()[-200:]}")
    errors = [e for e in report["generalDiagnostics"] if e["severity"] == "error"]
    found = {(Path(e["file"]).name, e["range"]["start"]["line"] + 1) for e in errors}
    assert found == {(WRONG.name, line) for line, _ in expected()}, errors


def test_every_public_name_is_used():
    tree = ast.parse(RIGHT.read_text())
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    names |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert {*fastclf.__all__, *plots.__all__} <= names


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("function", ["functions", "lab", "estimators", "data_and_plots", "with_onnx", "with_torch"])
def test_what_is_right_runs(function, tmp_path):
    if function.startswith("with_"):
        pytest.importorskip(function.removeprefix("with_"), exc_type=ImportError)
    call = runpy.run_path(str(RIGHT))[function]
    call(*[tmp_path] * len(inspect.signature(call).parameters))
