"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.skipif(not README.exists(), reason="the README is in the repository alone")
def test_the_readmes_python_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for the files that it writes
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 2
    names = {}
    for block in blocks:
        exec(block, names)
    numbers = [float(x) for x in re.findall(r"0\.\d+", capsys.readouterr().out)]
    assert names["pipeline"].score(names["X_val"], names["y_val"]) > 0.9
    assert names["mlp"].score(names["images_val"], names["y_val"]) > 0.95
    assert numbers
