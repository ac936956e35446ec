"""Files are whole at any time: the old one, or the new one."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fastclf.io import files
from fastclf.io.files import as_path, replacing


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model"


def write(path, data, error=None):
    with replacing(path) as file:
        file.write(data)
        if error is not None:
            raise error


def test_a_new_file_has_exactly_the_name_that_is_given(tmp_path):
    for kind, name in ((str, "a"), (Path, "b.x.y"), (str, "c" * 255)):
        write(kind(tmp_path / name), name.encode())
        assert (tmp_path / name).read_bytes() == name.encode()
    assert len([*tmp_path.iterdir()]) == 3, "nothing else is left"


def test_a_relative_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("here", b"1")
    assert (tmp_path / "here").read_bytes() == b"1"


def test_the_old_file_stays_until_the_new_one_is_whole(path):
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("there_is_one", [True, False])
def test_a_failure_leaves_what_was_there(path, error, there_is_one):
    if there_is_one:
        path.write_bytes(b"old")

    with pytest.raises(error):
        write(path, b"new", error)
    assert [p.read_bytes() for p in path.parent.iterdir()] == [b"old"] * there_is_one


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_system_call_that_fails_leaves_what_was_there(path, call, monkeypatch):
    path.write_bytes(b"old")

    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="no space left"):
        write(path, b"new")
    assert [p.read_bytes() for p in path.parent.iterdir()] == [b"old"]


def test_bytes_are_on_the_disk_before_the_name_is_theirs_and_the_name_after(path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.fstat(descriptor).st_size)
        fsync(descriptor)

    def noted_replace(*names):
        calls.append("replace")
        replace(*names)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write(path, b"12345")
    assert calls == [5, "replace", "folder"]


def test_a_system_that_does_not_sync_folders_will_do(path, monkeypatch):
    monkeypatch.setattr(files.os, "open", lambda *args: (_ for _ in ()).throw(PermissionError()))
    write(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")
def test_permissions(path):
    old = os.umask(0o027)
    try:
        write(path, b"1")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640, "as for any new file"
    path.chmod(0o600)
    write(path, b"2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "as the old file's"


@pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")
def test_a_link_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "file").read_bytes() == b"new"
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["file"]


@pytest.mark.parametrize("value", [None, 3, b"name", ["name"]], ids=repr)
def test_what_is_no_path(value):
    with pytest.raises(TypeError, match=f"path must be a str or os.PathLike, got {type(value).__name__}"):
        as_path(value)
    with pytest.raises(TypeError, match="path must be a str"):
        write(value, b"")


def test_places_that_can_not_be_written(tmp_path):
    with pytest.raises(ValueError, match="path must be that of a file, got .*" + tmp_path.name):
        write(tmp_path, b"")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write(tmp_path / "nowhere" / "model", b"")


@pytest.mark.skipif(os.name != "posix", reason="a device as POSIX has it")
def test_a_device_is_not_replaced():
    with pytest.raises(ValueError, match="path must be that of a file, got '/dev/null'"):
        write("/dev/null", b"")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


KILLED = """
import os, signal, sys
call, path = sys.argv[1:]
import fastclf
model = fastclf.load(path)
model.W[...] += 1
setattr(os, call, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
model.save(path)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_process_that_is_killed_while_it_saves_leaves_the_old_file(path, call):
    import fastclf

    model = fastclf.ImageLinearClassifier(5, 3)
    model.save(path)
    old = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, call, str(path)], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert path.read_bytes() == old
    assert (fastclf.load(path).W == model.W).all()


@pytest.mark.skipif(os.name != "posix", reason="there is no asking whether a process lives")
def test_the_next_file_removes_what_a_killed_process_has_left(path):
    """But not the files of processes that live, nor those of another computer."""
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    names = {
        "dead": f".fastclf-{files._host()}-{int(dead.stdout)}-0a1b2c3d.tmp",
        "alive": f".fastclf-{files._host()}-{os.getpid()}-0a1b2c3d.tmp",
        "elsewhere": f".fastclf-00000000-{int(dead.stdout)}-0a1b2c3d.tmp",
        "the user's": ".fastclf-notes.tmp",
    }
    for name in names.values():
        (path.parent / name).write_bytes(b"half")
    write(path, b"whole")
    left = {p.name for p in path.parent.iterdir()}
    assert left == {path.name, *names.values()} - {names["dead"]}
