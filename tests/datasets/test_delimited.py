"""Text as it comes: other delimiters than a comma, compressed, on standard input."""

import gzip
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastclf.datasets import read

from .test_datasets import NAMES, TABLE, X, Y, assert_same, refused, with_labels, written

KNOWN = {"feature_names": ("a", "b", "c")}
LINES = ["a,b,c,y", *with_labels(NAMES)]


def standard_input(monkeypatch, content):
    """A process's standard input of these bytes."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content))))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found_out(delimiter, tmp_path):
    cut = [line.replace(",", delimiter) for line in LINES]
    assert_same(read(written(tmp_path, *cut)), X, NAMES, **KNOWN)
    assert_same(read(written(tmp_path, *cut[1:])), X, NAMES)
    assert_same(read(tmp_path / "table.csv", delimiter=delimiter), X, NAMES)
    quoted = [f'"a{delimiter} or not"{delimiter}b{delimiter}c{delimiter}y', *cut[1:]]
    assert_same(read(written(tmp_path, *quoted)), X, NAMES, feature_names=(f"a{delimiter} or not", "b", "c"))


def test_what_is_between_columns_is_what_cuts_most_rows_alike(tmp_path):
    """Other delimiters may be within the cells: in names, in numbers, and in rows that are cut in the middle."""
    cases = {
        "a;b, c, d, e;y\n1;2;x, y\n3;4;z\n": (["a", "b, c, d, e"], ["x, y", "z"]),
        "a,b|c,y\n1,2,x|y\n3,4,z;z\n": (["a", "b|c"], ["x|y", "z;z"]),
        "a\tb\ty\n1\t2\tx, y; z\n3\t4\tz\n": (["a", "b"], ["x, y; z", "z"]),
        'a,b,y\n1,2,"x\n' + "z\n" * 30 + '"\n3,4,z\n': (["a", "b"], ["x\n" + "z\n" * 29 + "z", "z"]),
    }
    for text, (names, labels) in cases.items():
        (tmp_path / "t.csv").write_text(text)
        assert_same(read(tmp_path / "t.csv"), np.array([[1.0, 2], [3, 4]]), np.array(labels), feature_names=(*names,))


def test_a_delimiter_that_is_given_is_the_one(tmp_path):
    cut = [line.replace(",", ":") for line in LINES]
    assert_same(read(written(tmp_path, *cut), delimiter=":"), X, NAMES, **KNOWN)
    assert_same(read(written(tmp_path, *[line.replace(":", " ") for line in cut]), delimiter=" "), X, NAMES, **KNOWN)
    refused("got only column 'a,b,c,y'", written(tmp_path, *LINES), delimiter=";")
    for wrong in ("", ",,", "\n", '"', 3):
        refused("delimiter must be a character that may stand between columns, got ", tmp_path / "t", delimiter=wrong)


def test_tsv_is_cut_at_tabs(tmp_path):
    """Even where other delimiters would cut as many columns."""
    file = written(tmp_path, "a\ty", "1\tx,1", "2\tz,2", name="table.tsv")
    assert_same(read(file), np.array([[1.0], [2]]), np.array(["x,1", "z,2"]), feature_names=("a",))
    commas = written(tmp_path, *LINES, name="table.TSV")
    refused("got only column 'a,b,c,y'", commas)
    assert_same(read(commas, delimiter=","), X, NAMES, **KNOWN)


def test_gzip(tmp_path):
    content = "\n".join(LINES).encode()
    for name in ("some.data.csv.gz", "some.data.CSV.GZ", "some.data.csv"):  # the content says whether it is compressed
        (tmp_path / name).write_bytes(gzip.compress(content))
        assert_same(read(tmp_path / name), X, NAMES, **KNOWN)
        assert read(tmp_path / name).name == "some.data"
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(content.replace(b",", b"\t")))
    assert_same(read(tmp_path / "t.tsv.gz"), X, NAMES, **KNOWN)
    (tmp_path / "plain.csv.gz").write_bytes(content)
    assert_same(read(tmp_path / "plain.csv.gz"), X, NAMES, **KNOWN)
    np.save(tmp_path / "X.npy", X)
    (tmp_path / "y.txt.gz").write_bytes(gzip.compress("\n".join(NAMES).encode()))
    assert_same(read(tmp_path / "X.npy", labels=tmp_path / "y.txt.gz"), X, NAMES)


def test_broken_gzip_is_named(tmp_path):
    whole = gzip.compress("\n".join(LINES).encode())
    for content in (whole[:-12], whole[:30], whole[:-8] + bytes(8), whole[:3]):
        (tmp_path / "t.csv.gz").write_bytes(content)
        refused(r"t\.csv\.gz must be a whole gzip file: .", tmp_path / "t.csv.gz")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b,y\n1,2,0\n3,four,1"))
    refused(r"t\.csv\.gz, line 3, column 'b': expected a number, got 'four'$", tmp_path / "t.csv.gz")


def test_standard_input(monkeypatch, tmp_path):
    content = "\n".join(LINES).encode()
    for given in (content, b"\xef\xbb\xbf" + content, content.replace(b",", b";"), gzip.compress(content)):
        standard_input(monkeypatch, given)
        data = read("-")
        assert_same(data, X, NAMES, **KNOWN)
        assert data.name == "standard input"
        assert not sys.stdin.buffer.closed
    standard_input(monkeypatch, content)
    assert_same(read("-", target="y", columns=["c", "a"]), X[:, [2, 0]], NAMES, feature_names=("c", "a"))
    standard_input(monkeypatch, "\n".join(map(",".join, TABLE)).encode())
    assert_same(read("-", need_labels=False), X, None)
    np.save(tmp_path / "X.npy", X)
    standard_input(monkeypatch, "\n".join(map(str, Y)).encode())
    assert_same(read(tmp_path / "X.npy", labels="-"), X, Y)


def test_what_is_wrong_on_standard_input_is_said(monkeypatch, tmp_path):
    np.save(tmp_path / "X.npy", X)
    for content, message, source in (
        (b"", "standard input is empty$", "-"),
        (b"a,b,y\n1,2,0\n3,four,1", "standard input, line 3, column 'b': expected a number, got 'four'$", "-"),
        (b"\x89PNG\r\n", "standard input must be text in UTF-8, got ", "-"),
        (b"1\n2\n", "standard input must hold a label for each of 12 samples, got 2 labels", tmp_path / "X.npy"),
        (b"1\n2,3\n", "standard input, line 2: expected one label, got 2 columns", tmp_path / "X.npy"),
    ):
        standard_input(monkeypatch, content)
        refused(message, source, labels=None if source == "-" else "-")
