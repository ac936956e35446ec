"""What a distribution takes: metadata, the files of the sdist, and a recipe, which must not differ from the package."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import fastclf

ROOT = Path(__file__).parents[1]
tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOT_SOURCES = {"__pycache__", "build", "dist", "fastclf.egg-info", "lab-report", "prebuilt", "_build"}
HIDDEN = {".gitignore", ".pre-commit-config.yaml"}


def test_the_sdist_has_every_file(tmp_path):
    """It is built in a copy: a build writes into the folder of its sources."""
    pytest.importorskip("setuptools", minversion="77")  # what pyproject.toml asks for
    copy = tmp_path / "source"
    files = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name for name in folders if name not in NOT_SOURCES and (name == ".ci" or not name.startswith("."))
        ]
        if Path(folder) == ROOT / "docs":  # what Sphinx has made
            folders[:] = {*folders} - {"examples", "jupyter_execute", "reference"}
            names = {*names} - {"sg_execution_times.rst"}
        names = [name for name in names if name in HIDDEN or not name.startswith(".")]
        files += [Path(folder, name).relative_to(ROOT) for name in names if not name.endswith(".pyc")]
    for file in files:
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        (copy / file).write_bytes((ROOT / file).read_bytes())
    build = "import prebuilt, sys; print(prebuilt.build_sdist(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=copy, check=True, capture_output=True, timeout=200,
        env=os.environ | {"PYTHONPATH": str(copy / "packaging")},
    )  # fmt: skip
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        inside = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    assert len(files) > 200
    assert not {str(file) for file in {*files} - inside}


def test_every_version_of_python_has_its_classifier():
    versions = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert versions[0] == PROJECT["requires-python"].removeprefix(">=")
    assert versions == [f"3.{10 + i}" for i in range(len(versions))]


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {fastclf.__version__}\n" in text
    assert f"\nlicense: {PROJECT['license']}\n" in text


def test_the_recipe_needs_what_the_package_needs():
    text = (ROOT / "packaging" / "conda-forge" / "recipe.yaml").read_text()
    assert f"version: {fastclf.__version__}\n" in text
    run = text.partition("  run:\n")[2].partition("\ntests:")[0]
    wanted = {tuple(line.strip(" -").split()) for line in run.strip().splitlines()}
    needed = {tuple(re.match(r"([\w-]+)(>=[\d.]+)$", d).groups()) for d in PROJECT["dependencies"] if ";" not in d}
    assert wanted == needed | {("python", ">=${{", "python_min", "}}")}
