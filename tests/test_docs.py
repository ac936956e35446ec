"""The manual: the Python of every page runs, its links lead somewhere, and the pages name every public thing."""

import re
import runpy
from pathlib import Path

import pytest

import fastclf
from fastclf import cli, datasets, plots

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
EXAMPLES = sorted((DOCS / "gallery").glob("plot_*.py"))
#: Python that stands for itself: neither marked ``notest`` nor a script for several processes, which test_ranks runs.
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
WITH_PYTHON = [page for page in PAGES if BLOCK.search(page.read_text()) and page.name != "distributed.md"]

pytestmark = pytest.mark.skipif(not PAGES, reason="the manual is in the repository alone")


def by_name(page):
    return page.stem


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("page", WITH_PYTHON, ids=by_name)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    pytest.importorskip("torch", exc_type=ImportError)  # a part of some
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCK.findall(page.read_text()):
        exec(block, names)
    assert len(names) > 1


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore:.*non-interactive:UserWarning")
@pytest.mark.parametrize("example", EXAMPLES, ids=by_name)
def test_an_example_of_the_gallery_runs_without_a_warning(example, tmp_path, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example))
    plt.close("all")


def test_every_page_with_python_is_known():
    assert {page.stem for page in WITH_PYTHON} == {"index", "lab", "estimators", "data", "files", "pictures"}


def test_the_commands_of_a_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "command.md").read_text()
    [table] = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    (tmp_path / "fruit.csv").write_text(table)
    lines = re.findall(r"^fastclf (?:train|evaluate|predict) .*$", text, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        assert cli.main(line.split()[1:]) == 0, line
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_link_leads_to_a_file(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), f"{page.name}: {link}"
    for name in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (DOCS.parent / name).exists(), f"{page.name}: {name}"


def test_the_reference_has_every_public_name():
    named = set(re.findall(r"^   ([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE))
    public = {*fastclf.__all__, *(f"datasets.{n}" for n in datasets.__all__), *(f"plots.{n}" for n in plots.__all__)}
    assert public <= named
    assert named - public == {"io.interchange.to_torch", "io.interchange.to_onnx"}
