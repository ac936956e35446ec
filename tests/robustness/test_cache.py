"""Damaged machine code is never executed: whatever is wrong with a file in the cache, the kernel is compiled anew."""

import os
import pickle
import stat
import warnings

import numpy as np
import pytest

from fastclf.kernels import cache

from ..helpers import in_new_process

KEY, ENTRY = ("signature", ("processor", "features")), {"code": bytes(range(256)) * 4}


@pytest.fixture(autouse=True)
def forget_warnings():
    cache._warned.clear()
    yield
    cache._warned.clear()


@pytest.fixture
def files(tmp_path):
    made = cache._SealedFiles(str(tmp_path), "check.all_finite")
    made.save(KEY, ENTRY)
    return made


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]


DAMAGE = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "the last byte is lost": lambda content: content[:-1],
    "a byte more": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    "zeros after the checksum": lambda content: content[:32] + bytes(len(content) - 32),
    "without a checksum": lambda content: content[32:],
    "Numba's own": lambda content: pickle.dumps(ENTRY),
    "text": lambda content: b"not machine code",
}


def refused(files, key=KEY):
    with pytest.warns(RuntimeWarning, match=r"damaged: .* does not match its checksum"):
        first = files.load(key)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # there is one warning, for one file or many
        return first is files.load(key) is None


def test_leftovers_of_killed_processes_are_removed_by_the_next_save(tmp_path):
    files = cache._SealedFiles(str(tmp_path), "check.all_finite")
    old, new = tmp_path / "kernel.nbc.1.1.tmp", tmp_path / "kernel.nbc.2.2.tmp"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    files.save(KEY, ENTRY)
    assert {*tmp_path.iterdir()} == {new, files.path(KEY)}  # somebody may be writing the new one


def test_what_was_saved_is_loaded(files):
    assert files.load(KEY) == ENTRY
    assert files.load("another key") is None


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_not_loaded(files, damage, record_property):
    path = files.path(KEY)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert refused(files)
    files.save(KEY, ENTRY)
    assert files.load(KEY) == ENTRY
    record_property("damaged files refused", 1)


def test_no_flipped_bit_is_missed(files, record_property):
    path = files.path(KEY)
    content = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for at in range(len(content)):
            path.write_bytes(flipped(content, at))
            assert files.load(KEY) is None, at
    record_property("damaged files refused", len(content))


def test_a_file_of_another_key_or_version_is_not_loaded(files, monkeypatch):
    path, other = files.path(KEY), files.path("another key")
    os.link(path, other)
    assert refused(files, "another key")
    cache._warned.clear()
    monkeypatch.setattr(cache, "source_digest", lambda: "another version")
    assert refused(files)


def test_a_file_that_can_not_be_written_or_read_is_done_without(files, monkeypatch):
    def full(path, data):
        path.touch()  # a part of the file
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        files.save("new", ENTRY)
    assert files.load("new") is None
    assert [path.name for path in files._folder.iterdir()] == [files.path(KEY).name]  # nothing is left behind
    files.path("folder").mkdir()
    with pytest.warns(RuntimeWarning, match="can not read"):
        assert files.load("folder") is None


def train_and_check(warned):
    import warnings

    import numpy as np

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from fastclf.kernels import check

        for dtype in (np.float32, np.float64):
            part = np.empty(1)
            check.all_finite(np.ones(5, dtype), part, 1)
            assert not np.isnan(part[0])
    assert sum(issubclass(w.category, RuntimeWarning) for w in caught) == warned, caught


def test_a_kernel_whose_code_is_damaged_is_compiled_anew(tmp_path):
    def run(warned):
        return in_new_process(train_and_check, warned, FASTCLF_CACHE_DIR=tmp_path).stderr.count("compiling")

    assert (run(0), run(0)) == (2, 0)
    rng, paths = np.random.default_rng(0), sorted(tmp_path.rglob("*.nbc"))
    assert len(paths) >= 2
    for path in paths:
        content = path.read_bytes()
        path.write_bytes(flipped(content, int(rng.integers(len(content)))))
    run(1)  # one warning
    assert run(0) == 0  # and then all is well again


# ---------------------------------------------------------------- a folder that others may write to

posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners are POSIX's")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCLF_CACHE_DIR", str(tmp_path))
    return tmp_path / cache.source_digest()


@posix
def test_the_folder_is_the_users_alone(folder):
    old = os.umask(0)
    try:
        assert cache.cache_folder.__wrapped__() == folder
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702])
def test_a_folder_that_others_may_write_to_is_not_used(folder, mode):
    folder.mkdir()
    folder.chmod(mode)
    with pytest.warns(RuntimeWarning, match="others may write to it"):
        assert cache.cache_folder.__wrapped__() is None


@posix
def test_a_folder_of_somebody_else_is_not_used(folder, monkeypatch):
    folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.warns(RuntimeWarning, match="others may write to it"):
        assert cache.cache_folder.__wrapped__() is None


def test_a_user_without_a_home(monkeypatch):
    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    for name in ("FASTCLF_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cache.config, "CACHE_DIR", "")
    monkeypatch.setattr("pathlib.Path.expanduser", homeless)
    with pytest.warns(RuntimeWarning, match="home") as caught:
        assert cache.cache_folder.__wrapped__() is None
    assert [w.filename for w in caught] == [__file__]
