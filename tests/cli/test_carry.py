"""A cache in one file: what it holds is used elsewhere, and nothing that is damaged, foreign or hostile gets in."""

import zipfile

import numpy as np
import pytest

from fastclf import cli
from fastclf.cli import carry, info
from fastclf.kernels import cache, check

NAME = "check.all_finite-0123456789abcdef.nbc"


@pytest.fixture
def folders(tmp_path):
    made = tmp_path / "full", tmp_path / "empty"
    for folder in made:
        folder.mkdir()
    files = cache._SealedFiles(made[0], "check.all_finite")
    for key in ("one", "two"):
        files.save(key, {"code": key})
    return made


def test_what_is_exported_is_taken_in(folders, tmp_path):
    full, empty = folders
    path = str(tmp_path / "kernels.zip")
    assert carry.export(full, path) == carry.take_in(empty, path) == 2
    assert cache._SealedFiles(empty, "check.all_finite").load("two") == {"code": "two"}
    assert {p.name: p.read_bytes() for p in full.iterdir()} == {p.name: p.read_bytes() for p in empty.iterdir()}


def rewritten(path, change):
    """The export with other files in it."""
    with zipfile.ZipFile(path) as archive:
        comment, files = archive.comment, {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = comment
        for name, content in change(files).items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files | {"../../.bashrc": b"x"}, "no export of kernels: it has a file '../../.bashrc'"),
        (lambda files: files | {"/etc/passwd": b"x"}, "no export of kernels"),
        (lambda files: files | {NAME: b"not sealed"}, "does not match its checksum"),
        (lambda files: {NAME: [*files.values()][0]}, "does not match its checksum"),  # noqa: RUF015
        (lambda files: {name: content[:-1] for name, content in files.items()}, "does not match its checksum"),
    ],
    ids=["above", "elsewhere", "without a checksum", "another name", "shortened"],
)
def test_nothing_foreign_gets_in(folders, tmp_path, change, message):
    path = tmp_path / "kernels.zip"
    carry.export(folders[0], str(path))
    rewritten(path, change)
    with pytest.raises(ValueError, match=message):
        carry.take_in(folders[1], str(path))
    assert not [*folders[1].iterdir()]
    assert {*tmp_path.iterdir()} == {*folders, path}


def test_an_export_of_another_version_is_refused(folders, tmp_path, monkeypatch):
    path = str(tmp_path / "kernels.zip")
    with monkeypatch.context() as patch:
        patch.setattr(cache, "source_digest", lambda: "another")
        carry.export(folders[0], path)
    with pytest.raises(ValueError, match="exported by another version of fastclf, Python, Numba or llvmlite"):
        carry.take_in(folders[1], path)


@pytest.mark.parametrize("content", [b"", b"PK", b"text", None], ids=["empty", "a beginning", "text", "half"])
def test_a_damaged_export_is_refused(folders, tmp_path, content):
    path = tmp_path / "kernels.zip"
    carry.export(folders[0], str(path))
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(ValueError, match="no export of kernels, or is damaged"):
        carry.take_in(folders[1], str(path))


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(info, "all_variants", lambda: [(check.all_finite, "float64")])
    path = str(tmp_path / "kernels.zip")
    assert cli.main(["warmup", "--export", path]) == 0
    assert f"kernels exported to {path}" in capsys.readouterr().out
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.setattr(cache, "cache_folder", lambda: folder)
    assert check.all_finite.place(np.float64) is None
    assert cli.main(["warmup", "--import", path]) == 0
    assert f"kernels taken in from {path}" in capsys.readouterr().out
    assert check.all_finite.place(np.float64) == "cache"
    assert cli.main(["warmup", "--import", str(tmp_path / "missing")]) == 2
    assert "there is no file" in capsys.readouterr().err
