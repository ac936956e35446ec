"""Data sets from real files, whole and broken: what comes out is what was written, or an error that says where it is not."""

import re
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

import fastclf
from fastclf import datasets
from fastclf.datasets import read

M = 12
RNG = np.random.default_rng(0)
X = RNG.normal(size=(M, 3))
Y = np.arange(M) % 3
NAMES = np.array(["ant", "bee", "cow"])[Y]


def refused(match, *arguments, error=ValueError, **options):
    """Reading fails, and the message, in which the test names every place, matches."""
    with pytest.raises(error, match=match):
        read(*arguments, **options)


def assert_same(dataset, X, y, **known):
    """Samples and labels are equal, type and all, and of the rest only what is known is set."""
    np.testing.assert_array_equal(dataset.X, X, strict=True)
    assert dataset.X.flags.c_contiguous
    if y is None:
        assert dataset.y is None
    else:
        np.testing.assert_array_equal(dataset.y, y, strict=True)
    expected = {"feature_names": None, "class_names": None, "shape": (), "scale": None, "encoding": None, **known}
    assert {name: getattr(dataset, name) for name in expected} == expected


# ---------------------------------------------------------------- by name


def test_digits_are_the_labs():
    from sklearn.datasets import load_digits

    data, known = load_digits(), {"class_names": tuple("0123456789"), "shape": (8, 8)}
    assert_same(read("digits"), data.data[:1000] / 16, data.target[:1000], **known)
    assert_same(read("digits", split="test", need_labels=False), data.data[1000:] / 16, data.target[1000:], **known)
    assert read("digits").name == "digits"


def test_cifar10_is_bytes_with_channels_first(cifar10):
    from torchvision.datasets import CIFAR10

    for split, m in (("train", 40), ("test", 20)):
        theirs = CIFAR10(cifar10, train=split == "train")
        assert theirs.data.shape == (m, 32, 32, 3)
        names = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
        assert_same(
            read(f"cifar10:{cifar10}", split=split), theirs.data.transpose(0, 3, 1, 2).reshape(m, 3072),
            np.array(theirs.targets), class_names=names, shape=(3, 32, 32), scale=1 / 255,
        )  # fmt: skip


def test_cifar10_that_is_not_there_or_not_whole(cifar10, tmp_path, monkeypatch):
    refused(f"was not found in {tmp_path / 'none'}", f"cifar10:{tmp_path / 'none'}", error=FileNotFoundError)
    (cifar10 / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"half")
    refused(f"not whole: it belongs into {cifar10 / 'cifar-10-batches-py'}", f"cifar10:{cifar10}", error=OSError)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    refused(r"pip install 'fastclf\[torch\]'", f"cifar10:{cifar10}", error=ModuleNotFoundError)


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize(("x_name", "y_name"), [("X", "y"), ("x", "labels"), ("data", "target")])
def test_npz(x_name, y_name, tmp_path):
    file = tmp_path / "some.data.NPZ"
    with file.open("wb") as out:
        np.savez_compressed(out, **{x_name: X, y_name: NAMES, "more": np.ones(3)})
    assert_same(read(file), X, NAMES)
    assert_same(read(str(file), split="test"), X, NAMES)
    assert read(file).name == "some.data"


def test_npz_in_two_parts(tmp_path):
    np.savez(tmp_path / "a.npz", X_train=X[:8], y_train=Y[:8], X_test=X[8:], y_test=Y[8:])
    np.savez(tmp_path / "b.npz", x_train=X[:8], y_train=Y[:8])
    assert_same(read(tmp_path / "a.npz"), X[:8], Y[:8])
    assert_same(read(tmp_path / "a.npz", split="test"), X[8:], Y[8:])
    assert_same(read(tmp_path / "b.npz", split="train"), X[:8], Y[:8])
    refused(
        r"b\.npz .* one of X_test, x_test is missing in it, which holds x_train, y_train",
        tmp_path / "b.npz",
        split="test",
    )


def test_labels_can_be_done_without(tmp_path):
    for name, arrays in {"alone": {"X": X}, "beside": {"X": X, "y": Y}}.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    np.save(tmp_path / "X.npy", X)
    assert_same(read(tmp_path / "alone.npz", need_labels=False), X, None)
    assert_same(read(tmp_path / "beside.npz", need_labels=False), X, Y)
    assert_same(read(tmp_path / "X.npy", need_labels=False), X, None)
    refused(r"alone\.npz has no labels: they are an array y, labels or target", tmp_path / "alone.npz")
    refused(r"X\.npy has no labels: they are in a file that `labels` names", tmp_path / "X.npy")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (X, np.float64), (X.astype(np.float32), np.float32), (np.arange(M * 3, dtype=np.uint8).reshape(M, 3), np.uint8),
        (X.astype(np.float16), np.float64), (np.arange(3 * M).reshape(M, 3), np.float64), (X > 0, np.float64),
        (X.astype(">f4"), np.float32), (np.asfortranarray(X), np.float64),
    ],
    ids=["float64", "float32", "uint8", "float16", "int64", "bool", "big-endian", "Fortran order"],
)  # fmt: skip
def test_dtypes_and_orders(given, kept, tmp_path):
    np.savez(tmp_path / "a.npz", X=given, y=Y)
    np.save(tmp_path / "a.npy", given)
    for name in ("a.npz", "a.npy"):
        assert_same(read(tmp_path / name, need_labels=False), given.astype(kept), Y if name == "a.npz" else None)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_npy_is_mapped_and_flattened_in_place(dtype, tmp_path):
    pixels = RNG.integers(0, 256, (M, 4, 5, 3)).astype(dtype)
    np.save(tmp_path / "images.npy", pixels)
    np.save(tmp_path / "labels.npy", Y)
    got = read(tmp_path / "images.npy", labels=tmp_path / "labels.npy")
    assert_same(got, pixels.reshape(M, 60), Y, shape=(4, 5, 3))
    assert isinstance(got.X, np.memmap)
    assert not got.X.flags.writeable
    with (tmp_path / "images.npy").open("r+b") as file:  # what changes in the file changes in the array
        file.seek(-pixels.itemsize, 2)
        file.write(dtype(7).tobytes())
    assert got.X[-1, -1] == 7


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Y, Y), (Y.astype(np.uint8), Y.astype(np.uint8)), (Y.astype(">i4"), Y.astype(np.int32)), (NAMES, NAMES),
        (Y.astype(float), Y), (Y > 0, (Y > 0).astype(int)), (Y.reshape(-1, 1), Y),
    ],
    ids=["int64", "uint8", "big-endian", "strings", "whole floats", "bool", "a column"],
)  # fmt: skip
def test_labels_of_any_kind(given, expected, tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=given)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", given)
    assert_same(read(tmp_path / "a.npz"), X, expected)
    assert_same(read(tmp_path / "X.npy", labels=str(tmp_path / "y.npy")), X, expected)


@pytest.mark.parametrize("name", ["labels.csv", "labels.txt"])
def test_labels_from_text(name, tmp_path):
    np.save(tmp_path / "X.npy", X)
    for given, expected in (
        (Y, Y),
        (NAMES, NAMES),
        ([f"{k}.0" for k in Y], Y),
        ([f'"{n}, big"' for n in NAMES], None),
    ):
        (tmp_path / name).write_text("\ufeff" + "\r\n".join(map(str, given)) + "\n\n", encoding="utf-8")
        expected = np.array([f"{n}, big" for n in NAMES]) if expected is None else expected
        assert_same(read(tmp_path / "X.npy", labels=tmp_path / name), X, expected)


def test_broken_arrays_are_named(tmp_path):
    def saved(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    refused(r"a\.npz must be .* one of X, x, data is missing in it, which holds Z, y", saved("a.npz", Z=X, y=Y))
    refused(r"b\.npz must be .* holds both X and data, of which one is wanted", saved("b.npz", X=X, data=X, y=Y))
    refused(r"c\.npz must hold a label for each of 12 samples, got 11 labels", saved("c.npz", X=X, y=Y[1:]))
    refused(r"X of .*d\.npz must hold real numbers, got dtype <U3", saved("d.npz", X=NAMES.reshape(4, 3), y=Y[:4]))
    refused(r"X of .*e\.npz must hold a row per sample, got shape \(12,\)", saved("e.npz", X=X[:, 0], y=Y))
    refused(r"X of .*f\.npz must hold a row per sample, got shape \(0, 3\)", saved("f.npz", X=X[:0], y=Y[:0]))
    refused(r"y of .*g\.npz must hold .* got 0\.5 for sample 1$", saved("g.npz", X=X[:2], y=np.array([1, 0.5])))
    refused(r"y of .*h\.npz must hold .* got inf for sample 0$", saved("h.npz", X=X[:2], y=np.array([np.inf, 1])))
    refused(r"y of .*l\.npz must hold .* got 1e\+19 for sample 1$", saved("l.npz", X=X[:2], y=np.array([1, 1e19])))
    refused(r"y of .*i\.npz must hold .* got dtype complex128", saved("i.npz", X=X, y=Y * 1j))
    refused(r"y of .*j\.npz must hold one label per sample, got shape \(12, 3\)", saved("j.npz", X=X, y=np.eye(3)[Y]))
    refused(r"k\.npz must be .* Object arrays are not read$", saved("k.npz", X=X, y=np.array([1, "a"], dtype=object)))

    np.savez_compressed(tmp_path / "cut.npz", X=X, y=Y)
    whole = (tmp_path / "cut.npz").read_bytes()
    np.save(tmp_path / "array.npy", X)
    contents = {
        "text.npz": b"1,2,3\n", "empty.npz": b"", "cut.npz": whole[:-40], "flipped.npz": whole[:90] + b"zzzz" + whole[94:],
        "array.npz": (tmp_path / "array.npy").read_bytes(), "archive.npy": whole, "text.npy": b"1,2,3\n",
        "cut.npy": (tmp_path / "array.npy").read_bytes()[:-8], "empty.npy": b"",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        refused(rf"{name} must be a \.np[yz] file of numbers: (?!.*pickle).", tmp_path / name, need_labels=False)
    refused(r"text\.npy must be a \.npy file", tmp_path / "array.npy", labels=tmp_path / "text.npy")


def test_broken_labels_are_named(tmp_path):
    np.save(tmp_path / "X.npy", X[:3])
    texts = {
        "1\n2,3\n4": r"labels\.txt, line 2: expected one label, got 2 columns",
        '1\n""\n4': r"labels\.txt, line 2: expected a label, got nothing \(a missing value\)",
        "1\n2.5\n4": r"labels\.txt, line 2: expected a label, a whole number or a name, got '2\.5'",
        "1\n2\n": r"labels\.txt must hold a label for each of 3 samples, got 2 labels",
        "": r"labels\.txt must hold a label for each of 3 samples, got 0 labels",
        'a\n"b" c\n': r"labels\.txt, line 2: ",
    }
    for text, message in texts.items():
        (tmp_path / "labels.txt").write_text(text)
        refused(message, tmp_path / "X.npy", labels=tmp_path / "labels.txt")
    refused(
        r"labels must be a \.npy, \.csv or \.txt file, got '.*X\.json'",
        tmp_path / "X.npy",
        labels=written(tmp_path, "{}", name="X.json"),
    )
    refused(r"no file .*none\.npy", tmp_path / "X.npy", labels=tmp_path / "none.npy", error=FileNotFoundError)


# ---------------------------------------------------------------- tables

TABLE = [[*map(repr, map(float, row))] for row in X]


def written(folder, *lines, name="table.csv", encoding="utf-8"):
    (folder / name).write_text("\n".join(lines) + "\n", encoding=encoding)
    return folder / name


def with_labels(labels, at=3):
    return [",".join([*row[:at], str(label), *row[at:]]) for row, label in zip(TABLE, labels)]


def test_csv_without_a_header(tmp_path):
    assert_same(read(written(tmp_path, *with_labels(Y))), X, Y)
    assert_same(read(written(tmp_path, *with_labels(NAMES))), X, NAMES)
    for target in (1, "1", -3, "-3"):
        assert_same(read(written(tmp_path, *with_labels(NAMES, at=1)), target=target), X, NAMES)
    assert_same(read(written(tmp_path, *map(",".join, TABLE)), need_labels=False), X, None)
    assert read(tmp_path / "table.csv", need_labels=False).name == "table"


def test_csv_with_a_header(tmp_path):
    known = {"feature_names": ("long", "wide, or not", "high")}
    header = 'long, "wide, or not",kind ,high'
    file = written(tmp_path, header, "", *with_labels(NAMES, at=2), encoding="utf-8-sig")
    for target in ("kind", 2, "-2"):
        assert_same(read(file, target=target), X, NAMES, **known)
    assert_same(read(written(tmp_path, "a,b,c,y", *with_labels(Y))), X, Y, feature_names=("a", "b", "c"))
    unlabelled = written(tmp_path, "a,b,c", *map(",".join, TABLE))
    assert_same(read(unlabelled, need_labels=False), X, None, feature_names=("a", "b", "c"))


def test_a_header_of_numbers_is_seen_by_the_targets_name(tmp_path):
    file = written(tmp_path, "0,1,2,y", *with_labels(Y))
    assert_same(read(file, target="y"), X, Y, feature_names=("0", "1", "2"))
    refused(r"table\.csv, line 1, column 3 \(of 0 … 3\): expected a number.* got 'y'; if this line is a header", file)


def test_labels_of_a_csv_are_numbers_if_all_are(tmp_path):
    assert_same(
        read(written(tmp_path, "1.5,1.0", "2,-2", "3e3, 1")), np.array([[1.5], [2], [3000]]), np.array([1, -2, 1])
    )
    assert_same(read(written(tmp_path, "1,x ", "2,1", "3, x")), np.array([[1.0], [2], [3]]), np.array(["x", "1", "x"]))
    assert_same(read(written(tmp_path, f"1,{2**63 - 1}", "2,0")), np.array([[1.0], [2]]), np.array([2**63 - 1, 0]))
    huge = str(2**63)
    assert_same(read(written(tmp_path, f"1,{huge}", "2,a")), np.array([[1.0], [2]]), np.array([huge, "a"]))


BROKEN = {
    "a cell": (["a,b,y", "1,2,0", "3,four,1"], r"table\.csv, line 3, column 'b': expected a number, got 'four'$"),
    "no header": (["1,2,0", "3,four,1"], r"table\.csv, line 2, column 1 \(of 0 … 2\): expected a number, got 'four'$"),
    "missing": (
        ["a,b,y", "1,,0"],
        r"table\.csv, line 2, column 'b': expected a number, got nothing \(a missing value\)",
    ),
    "missing first": (["1,,0", "1,2,0"], r"table\.csv, line 1, column 1 .*: expected a number, got nothing"),
    "na": (["a,b,y", "1,2,0", "NA,2,0"], r"table\.csv, line 3, column 'a': expected a number, got 'NA'"),
    "nan": (["a,b,y", "", "1,2,0", "1,nan,0"], r"table\.csv, line 4, column 'b': expected a finite number, got nan"),
    "infinite": (["1,2,0", "1e999,2,0"], r"table\.csv, line 2, column 0 .*: expected a finite number, got inf"),
    "long": (["a,b,y", "1,2,0", "1,2,0,3"], r"table\.csv, line 3: expected 3 columns, as in the first line, got 4"),
    "short": (["1,2,0", "1,2"], r"table\.csv, line 2: expected 3 columns, as in the first line, got 2"),
    "no label": (["a,b,y", "1,2,0", "1,2,"], r"table\.csv, line 3, column 'y': expected a label, got nothing"),
    "regression": (["a,y", "1,2", "1,2.5"], r"table\.csv, line 3, column 'y': expected a label, .* got '2\.5'"),
    "beyond integers": (
        ["a,y", "1,2", f"1,{2**63}"],
        rf"table\.csv, line 3, column 'y': expected a label, .* '{2**63}'",
    ),
    "colons": (["a:b:y", "1:2:0"], r"table\.csv must have columns of features .* got only column 'a:b:y'"),
    "quotes": (["a,b,y", '1,"2"3,0'], r"table\.csv, line 2: "),
    "rows in rows": (['"a', 'b",y', "1,0", "x,0"], r"table\.csv, line 4, column 'a\\nb': expected a number, got 'x'"),
    "a header alone": (["a,b,y"], r"table\.csv holds a header, but no samples"),
    "nothing": ([], r"table\.csv is empty"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tables_say_where(case, tmp_path):
    lines, message = BROKEN[case]
    refused(message, written(tmp_path, *lines))


def test_tables_that_are_no_text(tmp_path):
    refused(r"table\.csv must be text in UTF-8, got ", written(tmp_path, "a,b", "1,é", encoding="latin-1"))


# ---------------------------------------------------------------- parquet


def stored(folder, **columns):
    parquet.write_table(pyarrow.table(columns), folder / "table.parquet", row_group_size=5)
    return folder / "table.parquet"


def features(dtype=np.float64):
    return {name: X[:, j].astype(dtype) for j, name in enumerate("abc")}


def test_parquet(tmp_path):
    known = {"feature_names": ("a", "b", "c")}
    assert_same(read(stored(tmp_path, **features(), y=Y)), X, Y, **known)
    assert_same(read(stored(tmp_path, **features(np.float32), y=NAMES)), X.astype(np.float32), NAMES, **known)
    file = stored(tmp_path, y=pyarrow.array(NAMES).dictionary_encode(), **features())
    for target in ("y", 0, -4):
        assert_same(read(file, target=target), X, NAMES, **known)
    assert_same(read(stored(tmp_path, **features(), y=pyarrow.array(Y).dictionary_encode())), X, Y, **known)
    assert_same(read(stored(tmp_path, **features(), y=Y > 0)), X, (Y > 0).astype(int), **known)
    assert_same(read(stored(tmp_path, **features()), need_labels=False), X, None, **known)


def test_parquet_keeps_bytes_and_mixes_to_float64(tmp_path):
    pixels = RNG.integers(0, 256, (M, 2), dtype=np.uint8)
    file = stored(tmp_path, a=pixels[:, 0], b=pixels[:, 1], y=Y)
    assert_same(read(file), pixels, Y, feature_names=("a", "b"))
    mixed = stored(tmp_path, a=pixels[:, 0], b=X[:, 0].astype(np.float32), c=Y > 0, y=Y)
    expected = np.column_stack([pixels[:, 0], X[:, 0].astype(np.float32), Y > 0])
    assert_same(read(mixed), expected.astype(float), Y, feature_names=("a", "b", "c"))


def test_broken_parquet_says_where(tmp_path):
    holed = pyarrow.array([None if k == 7 else k for k in range(M)])
    nan = np.where(np.arange(M) == 8, np.nan, 1.0)
    for columns, message in (
        ({"a": holed, "y": Y}, r"row 7 \(of 0 … 11\), column 'a': expected a value, got null"),
        ({"a": Y, "y": holed}, r"row 7 \(of 0 … 11\), column 'y': expected a value, got null"),
        ({"a": nan, "y": Y}, r"row 8 \(of 0 … 11\), column 'a': expected a finite number, got nan"),
        ({"a": NAMES, "y": Y}, r"row 0 \(of 0 … 11\), column 'a': expected a number, got 'ant' \(string\)"),
        ({"a": Y, "y": X[:, 0]}, r"column 'y' must hold whole numbers or strings as labels, got "),
        ({"a": Y, "y": [b"x"] * M}, r"row 0 \(of 0 … 11\), column 'y': expected a number, got b'x' \(binary\)"),
        ({"a": Y[:0], "y": Y[:0]}, r"holds no samples: it has 0 rows and 2 columns"),
        ({"y": Y}, r"must have columns of features beside the labels, got only column 'y'"),
    ):
        refused(rf"table\.parquet.*{message}", stored(tmp_path, **columns))
    (tmp_path / "table.parquet").write_bytes(b"PAR1 or not")
    refused(r"table\.parquet must be a parquet file: ", tmp_path / "table.parquet")


def test_parquet_without_its_extra_says_what_to_install(tmp_path, monkeypatch):
    file = stored(tmp_path, **features(), y=Y)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(r"table\.parquet .* pip install 'fastclf\[parquet\]'", file, error=ModuleNotFoundError)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_targets_that_are_no_column(suffix, tmp_path):
    file = written(tmp_path, "a,b,c,y", *with_labels(Y)) if suffix == "csv" else stored(tmp_path, **features(), y=Y)
    name = rf"table\.{suffix}"
    refused(
        rf"target must name a column of .*{name}, got 'kind'; it has the columns \['a', 'b', 'c', 'y'\]",
        file,
        target="kind",
    )
    refused(rf"target must be a column of .*{name}, 0 … 3 or from the end, got 4", file, target=4)
    refused(rf"target must be a column of .*{name}, 0 … 3 or from the end, got -5", file, target="-5")
    for target in (1.0, True, ["y"]):
        refused("target must be the name or the number of a column", file, target=target, error=TypeError)


def test_a_name_that_two_columns_have(tmp_path):
    refused(r"table\.csv, got 'y'; it has 2 columns of that name", written(tmp_path, "y,a,y", "1,2,0"), target="y")


# ---------------------------------------------------------------- arguments


def test_sources_that_are_none(tmp_path):
    for source in ("mnist", tmp_path / "data.json", tmp_path, "cifar10", "digits.txt", ""):
        refused(r'source must be a \.npz, \.npy, \.csv, \.tsv or \.parquet file, "-" .* "cifar10:DIR", got ', source)
    for source in (3, None, X, b"digits"):
        refused("source must be a str or a path, got ", source, error=TypeError)
    for suffix in ("npz", "npy", "csv", "tsv", "csv.gz", "parquet"):
        refused(rf"there is no file .*none\.{suffix}$", tmp_path / f"none.{suffix}", error=FileNotFoundError)
    (tmp_path / "folder.csv").mkdir()
    refused(r"folder\.csv is a folder, not a file", tmp_path / "folder.csv", error=FileNotFoundError)


def test_arguments_that_do_not_belong_together(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=Y)
    refused(r"labels belong to a \.npy file, got 'y\.npy' with '.*a\.npz'", tmp_path / "a.npz", labels="y.npy")
    refused("labels belong to a .npy file", "digits", labels="y.npy")
    for name, value in (("target", "y"), ("columns", ["y"]), ("drop", [0]), ("one_hot", True)):
        message = rf"{name} belongs to a \.csv, \.tsv or \.parquet file, got {re.escape(repr(value))} with '.*a\.npz'"
        refused(message, tmp_path / "a.npz", **{name: value})
        refused(f"{name} belongs to", "digits", **{name: value})
    for source in (tmp_path / "a.npz", "digits", "x.parquet"):
        refused(r"delimiter belongs to a \.csv or \.tsv file, got ';' with ", source, delimiter=";")
    for load in (
        lambda split: read("digits", split=split),
        datasets.digits,
        lambda split: datasets.cifar10(".", split),
    ):
        with pytest.raises(ValueError, match='split must be "train" or "test", got \'val\''):
            load("val")


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    np.savez(tmp_path / "a.npz", X=X, y=Y)
    assert_same(read("~/a.npz"), X, Y)


@pytest.mark.parametrize("kind", ["npz", "npy", "csv", "parquet"])
def test_what_is_read_can_be_trained_on(kind, tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=NAMES)
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "y.npy", NAMES)
    written(tmp_path, *with_labels(NAMES), name="a.csv")
    stored(tmp_path, **features(), y=NAMES).rename(tmp_path / "a.parquet")
    data = read(tmp_path / f"a.{kind}", labels=tmp_path / "y.npy" if kind == "npy" else None)
    model = fastclf.FastLinearClassifier(max_iter=3, tol=None, random_state=0).fit(data.X, data.y)
    expected = fastclf.FastLinearClassifier(max_iter=3, tol=None, random_state=0).fit(X, NAMES)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
