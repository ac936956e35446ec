"""The README's Python and its commands run as they stand."""

import ast
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.skipif(not README.exists(), reason="the README is in the repository alone")
def test_the_readmes_python_runs(capsys, tmp_path, monkeypatch):
    pytest.importorskip("torch", exc_type=ImportError)  # a part of it
    monkeypatch.chdir(tmp_path)  # for the files that it writes
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 2
    names = {}
    for block in blocks:
        exec(block, names)
    printed = capsys.readouterr().out
    accuracy, parameters, validated = printed.splitlines()
    assert float(accuracy) == names["pipeline"].score(names["X_val"], names["y_val"])
    assert ast.literal_eval(parameters) == names["search"].best_params_
    assert [float(x) for x in validated.split()] == [
        min(names["mlp"].validation_loss_curve_), names["mlp"].score(names["images_val"], names["y_val"])
    ]  # fmt: skip
    assert names["pipeline"].score(names["X_val"], names["y_val"]) > 0.9
    assert names["mlp"].score(names["images_val"], names["y_val"]) > 0.95


@pytest.mark.skipif(not README.exists(), reason="the README is in the repository alone")
def test_the_readme_fits_on_a_few_screens():
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.skipif(not README.exists(), reason="the README is in the repository alone")
def test_the_readmes_commands_run(capsys, tmp_path, monkeypatch):
    from fastclf import cli

    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^fastclf (?:train|evaluate|predict) .*$", README.read_text(), re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        assert cli.main(line.split()[1:]) == 0, line
    assert (tmp_path / "probabilities.csv").read_text().count("\n") == 798
    assert "accuracy" in capsys.readouterr().out
