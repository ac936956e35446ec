"""Files in memory: what the operating system is told, and in which order they are read."""

import mmap

import numpy as np
import pytest

from fastclf.engine import mapped
from fastclf.engine.mapped import Mapping, shuffled
from fastclf.engine.rows import Rows

FLOAT64 = np.dtype(np.float64)


def mapping(rows, row_bytes, monkeypatch, block=1024, window=4096):
    monkeypatch.setattr(mapped, "_BLOCK_BYTES", block)
    monkeypatch.setattr(mapped, "_WINDOW_BYTES", window)
    return Mapping(None, 0, rows, row_bytes, True, 0)


@pytest.fixture
def file(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5000, 64), np.uint8)
    np.save(tmp_path / "X.npy", array)
    return tmp_path / "X.npy", array


class Advice:
    """Stands for a mapping's memory, and writes down what it is told."""

    def __init__(self, memory, log):
        self.memory, self.log = memory, log

    def madvise(self, option, start, length):
        assert start % mmap.PAGESIZE == 0
        assert start >= 0
        assert start + length <= len(self.memory)
        self.log.append((option, start, length))
        self.memory.madvise(option, start, length)


def test_an_array_knows_its_file(file):
    path, array = file
    assert Mapping.of(array) is None
    X = np.load(path, mmap_mode="r")
    for view in (X, np.asarray(X), X[100:200], X.reshape(-1, 32), X.view(np.int8), np.ascontiguousarray(X)):
        assert Mapping.of(view) is not None
    with open(path, "rb") as opened:
        memory = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    assert Mapping.of(np.frombuffer(memory, np.uint8, array.size, offset=128).reshape(array.shape)) is not None
    assert Mapping.of(X[:, :10]) is None  # not C-ordered: it is going to be copied
    assert Mapping.of(X[:0]) is None
    assert Mapping.of(X + 0) is None


def test_advice_is_for_the_pages_of_the_rows(file):
    """An array's rows begin somewhere in its file: the system is told of the pages that hold them."""
    path, array = file
    X = np.load(path, mmap_mode="r")[1000:]
    found, log = Mapping.of(X), []
    found._memory = Advice(found._memory, log)
    header = path.stat().st_size - array.nbytes
    found.will_need(7, 9)
    found.done_with(7, 9)
    first, end = header + 1007 * 64, header + 1009 * 64
    for option, start, length in log:
        assert start <= first < start + mmap.PAGESIZE
        assert start + length == end
        assert option in (mmap.MADV_WILLNEED, mmap.MADV_DONTNEED)
    assert [option for option, *_ in log] == [mmap.MADV_WILLNEED, mmap.MADV_DONTNEED]
    found.will_need(0, len(X))  # up to the end of the file


def test_pages_that_were_written_to_are_kept(file):
    """In a copy-on-write mapping they are nowhere else: giving them back would lose what was written."""
    path, array = file
    X = np.load(path, mmap_mode="c")
    X[:] = 7
    Mapping.of(X).done_with(0, len(X))
    assert (X == 7).all()
    shared = np.load(path, mmap_mode="r+")
    shared[0] = 9
    Mapping.of(shared).done_with(0, len(shared))
    assert (shared[0] == 9).all()
    np.testing.assert_array_equal(shared[1:], array[1:])


@pytest.mark.parametrize("missing", ["MADV_WILLNEED", "MADV_DONTNEED"])
def test_systems_that_take_no_advice(file, missing, monkeypatch):
    monkeypatch.delattr(mmap, missing)
    X = np.load(file[0], mmap_mode="r")
    found, log = Mapping.of(X), []
    found._memory = Advice(found._memory, log)
    found.will_need(0, 10)
    found.done_with(0, 10)
    assert len(log) == 1


def test_runs_are_whole_blocks(monkeypatch):
    found = mapping(1000, 100, monkeypatch)  # blocks of 8 rows: the last power of two that fits into 1,024 bytes
    assert found.runs(np.array([0])) == [(0, 8)]
    assert found.runs(np.array([7, 8, 9])) == [(0, 16)]
    assert found.runs(np.array([40, 3, 41, 999])) == [(0, 8), (40, 48), (992, 1000)]
    assert found.runs(np.arange(1000)) == [(0, 1000)]
    wide = mapping(10, 5000, monkeypatch)  # a row is more than a block
    assert wide.runs(np.array([3, 5])) == [(3, 4), (5, 6)]


def test_shuffling_reads_every_block_in_one_piece(monkeypatch):
    found = mapping(1000, 100, monkeypatch)
    order = shuffled(np.arange(1000), found, np.random.RandomState(0))
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    windows = [order[i : i + 32] for i in range(0, 1000, 32)]  # four blocks of eight rows
    blocks = [np.unique(window // 8) for window in windows]
    assert sum(map(len, blocks)) <= 125 + len(windows)  # each once, but that a window may end in one
    assert sum((np.diff(window) == 1).sum() for window in windows) < 100  # and its rows are mixed
    assert np.ptp(blocks[0]) > 20  # from all over the file
    again = shuffled(order, found, np.random.RandomState(0))
    np.testing.assert_array_equal(again, order)  # the seed decides, not the order before


def test_shuffling_in_memory_is_scikit_learns():
    from sklearn.utils import shuffle

    order = np.arange(50)
    np.testing.assert_array_equal(
        shuffled(order, None, np.random.RandomState(1)), shuffle(order, random_state=np.random.RandomState(1))
    )


def watched(file, dtype=FLOAT64):
    """Rows of the file, and the rows that are asked for and given back, as they are."""
    rows, log = Rows(np.load(file[0], mmap_mode="r"), dtype), []
    rows.mapping.will_need = lambda first, end: log.append(("ask", first, end))
    rows.mapping.done_with = lambda first, end: log.append(("give", first, end))
    return rows, log


def test_a_stretch_is_asked_for_before_the_one_before_it_is_used(file, monkeypatch):
    monkeypatch.setattr(mapped, "_WINDOW_BYTES", 64 * 1000)
    monkeypatch.setattr(mapped, "_BLOCK_BYTES", 64 * 500)
    rows, log = watched(file)
    parts = []
    for part in rows.stretches(np.arange(5000), 10_000, batch=300):
        log.append(("use", part[0], part[-1] + 1))
        parts.append(part)
    assert [len(part) for part in parts] == [900] * 5 + [500]  # whole batches, and no more than a window
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(5000))
    used = [i for i, entry in enumerate(log) if entry[0] == "use"]
    for i, at in enumerate(used[:-1]):
        asked = {r for what, a, b in log[:at] if what == "ask" for r in range(a, b)}
        assert asked >= {*parts[i], *parts[i + 1]}
        given = {r for what, a, b in log[:at] if what == "give" for r in range(a, b)}
        assert i == 0 or given >= {*parts[i - 1]}


def test_portions(file, monkeypatch):
    monkeypatch.setattr(mapped, "_WINDOW_BYTES", 64 * 1000)
    rows, log = watched(file)
    count = rows.n_portions(1.0, 10.0)
    assert count == 5
    np.testing.assert_array_equal(list(rows.portions(count)), [(i, i + 1000) for i in range(0, 5000, 1000)])
    assert [entry[1:] for entry in log if entry[0] == "ask"] == [(i, i + 1000) for i in range(0, 5000, 1000)]
    assert Rows(file[1], FLOAT64).n_portions(1.0, 10.0) == 5  # as of a file, because the bits depend on it
    monkeypatch.setattr(mapped, "_WINDOW_BYTES", 64 * 5000)
    in_memory = Rows(file[1], FLOAT64)
    assert in_memory.n_portions(1.0, 10.0) == 1
    assert in_memory.n_portions(25.0, 10.0) == 3
    assert [b - a for a, b in in_memory.portions(3)] == [1666, 1667, 1667]
    assert in_memory.n_portions(1e30, 1.0) == 5000
