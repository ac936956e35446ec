"""The notebook runs from top to bottom in a new kernel, and what is stored of it is such a run."""

import ast
import inspect
import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOK = Path(__file__).parents[1] / "docs" / "classifiers_step_by_step.ipynb"
CELL_TIMEOUT = 120  # seconds; alone on a machine, a cell that waits for kernels to be compiled takes 5

#: By the id of the cell with the heading, in their order; each but the exercises has code.
SECTIONS = {
    "data": "1. Data, and what a classifier is",
    "ones": "2. Why a column of ones",
    "probabilities": "3. From scores to probabilities",
    "losses": "4. Two losses, one gradient",
    "descent": "5. Batch descent and SGD",
    "images": "6. Images as vectors",
    "mlp": "7. A hidden layer",
    "deep": "8. A deeper network",
    "swap": "9. The same lab in plain NumPy",
    "exercises": "10. Exercises",
    "further": "11. Where to go on",
}

#: How a solution is kept from eyes that have not tried yet, in Jupyter and in the manual.
FOLDED = {"jupyter": {"outputs_hidden": True, "source_hidden": True}, "tags": ["hide-cell"]}

#: A path from the root or from somebody's home, as they stand in text: "/home/…", "C:\\Users\\…", "~/…".
ABSOLUTE_PATH = re.compile(r"(?<![\w)}\]/.])(?:~?/\w[\w.-]*/|~/\w|[A-Za-z]:\\\w)")

pytestmark = pytest.mark.skipif(not NOTEBOOK.exists(), reason="the notebook is in the repository alone")


@pytest.fixture
def stored():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """A function that runs a notebook in a kernel of this interpreter, in an empty folder, which it leaves empty."""
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))  # before any kernel that the machine has registered
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # pictures go into the notebook, as they do for a user

    def run(notebook):
        folder = tmp_path / "work"
        folder.mkdir()
        # pytest-xdist has a process for every processor already, and threads wait for each other.
        single = os.environ | {"NUMBA_NUM_THREADS": "1"}
        resources = {"metadata": {"path": str(folder)}}
        client = NotebookClient(notebook, kernel_name="python3", timeout=CELL_TIMEOUT, resources=resources)
        client.execute(env=single)
        assert not list(folder.iterdir())
        return notebook

    return run


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook):
    """All that a reader may read: sources, outputs but for pictures, metadata."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "") + output.get("data", {}).get("text/plain", "")
    yield json.dumps(notebook.metadata)


def is_solution(cell):
    return cell.id.startswith("exercises-")


def kinds_of_output(cell):
    """What a cell shows, without the numbers in it, which differ from machine to machine."""
    printed = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")
    data = [sorted(o.data) for o in cell.outputs if "data" in o]
    return re.sub(r"[\d.e+-]+|\s+", " ", printed).split(), data


def test_it_runs_from_top_to_bottom_and_shows_what_is_stored(stored, execute):
    pytest.importorskip("torch", exc_type=ImportError)  # one cell says otherwise that it is missing
    shown = [kinds_of_output(cell) for cell in code(stored)]
    assert [kinds_of_output(cell) for cell in code(execute(stored))] == shown


def test_a_cell_that_fails_is_shown_with_its_traceback(execute):
    cells = [
        f"import os, sys\nassert sys.executable == {sys.executable!r}\nassert os.listdir() == []",
        "def ratio(a):\n    return a / 0\n\nratio(1)",
        "print('not reached')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    with pytest.raises(CellExecutionError) as failure:
        execute(notebook)
    assert cells[1] in str(failure.value)
    assert (failure.value.ename, failure.value.evalue) == ("ZeroDivisionError", "division by zero")
    assert "Traceback" in failure.value.traceback
    assert [len(cell.outputs) for cell in notebook.cells] == [0, 1, 0]


def test_what_is_stored_is_a_whole_run_without_errors(stored):
    cells = code(stored)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 10
    assert {output.output_type for output in outputs} == {"stream", "display_data"}
    assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}


def test_the_file_is_small_and_clean(stored):
    nbformat.validate(stored)
    assert (stored.nbformat, stored.nbformat_minor) == (4, 5)
    assert NOTEBOOK.stat().st_size < 1_000_000
    assert set(stored.metadata) == {"kernelspec", "language_info"}
    assert stored.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in stored.cells]
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in ids), ids
    assert len(set(ids)) == len(ids)
    # no times, nor what an editor remembers
    assert [cell.metadata for cell in stored.cells] == [FOLDED if is_solution(cell) else {} for cell in stored.cells]


def test_every_exercise_has_a_solution_that_is_folded(stored):
    [exercises] = [cell.source for cell in stored.cells if cell.id == "exercises"]
    asked = re.findall(r"^(\d+\. )\*\*(.*?)\.\*\*", exercises, re.MULTILINE)
    answered = [cell.source.partition("\n")[0] for cell in stored.cells if is_solution(cell)]
    assert len(asked) >= 9
    assert answered == [f"# {number}{name}" for number, name in asked]


def test_it_imports_public_names_alone(stored):
    modules = set()
    sources = (re.sub(r"^%.*", "", cell.source, flags=re.MULTILINE) for cell in code(stored))
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module)
        elif isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
    ours = {module for module in modules if module.partition(".")[0] == "fastclf"}
    assert ours == {"fastclf", "fastclf.plots"}


def test_a_bar_in_a_notebook_is_a_widget(execute):
    pytest.importorskip("ipywidgets")
    source = """
    import numpy as np, fastclf
    fastclf.MLPClassifier(3, 4, 2).train(np.ones((3, 9)), np.arange(9) % 2, 7, verbose="bar")
    """
    [cell] = execute(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(inspect.cleandoc(source))])).cells
    shown = [output.data for output in cell.outputs if output.output_type == "display_data"]
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
    assert "IProgress" not in "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize("path", ["/home/me/fastclf", 'File "/usr/lib/x.py"', r"C:\Users\me", "~/fastclf", "(/tmp/x)"])
def test_absolute_paths_are_recognised(path):
    assert ABSOLUTE_PATH.search(path)
    assert not ABSOLUTE_PATH.search(path.replace("/", " / ").replace(":\\", ": "))


def test_it_mentions_no_absolute_path(stored):
    found = [match for text in texts(stored) for match in ABSOLUTE_PATH.findall(text)]
    assert not found


def test_every_section_is_there(stored):
    ids = [cell.id for cell in stored.cells]
    headings = {c.id: c.source.partition("\n")[0] for c in stored.cells if c.source.startswith("## ")}
    assert headings == {name: f"## {heading}" for name, heading in SECTIONS.items()}
    starts = [ids.index(name) for name in SECTIONS]
    assert starts == sorted(starts)
    for name, start, end in zip(SECTIONS, starts, [*starts[1:], len(ids)]):
        assert all(cell_id.startswith(name) for cell_id in ids[start:end])
        assert name == "exercises" or any(cell.cell_type == "code" for cell in stored.cells[start:end])
