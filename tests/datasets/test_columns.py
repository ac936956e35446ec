"""Columns of tables: which ones are read, text that is encoded, and the columns that a model was trained on."""

import warnings

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from sklearn.preprocessing import OneHotEncoder

from fastclf.datasets import Column, read

from .test_datasets import assert_same, refused

COLOURS = np.array(["red", "blue", "red", "green", "blue", "red"])
SIZES = np.array([1.5, 2, -3, 4, 5, 1e3])
ZIPS = np.array([1010, 1020, 1010, 900, 1020, 1010])
KINDS = np.array(["ant", "bee", "ant", "cow", "bee", "ant"])
HEAD = ["colour", "size", "zip", "kind"]


@pytest.fixture(params=["csv", "parquet"])
def table(request, tmp_path):
    """A function that writes columns, given by their names, to a file of each of the formats."""

    def write(**columns):
        columns = columns or dict(zip(HEAD, (COLOURS, SIZES, ZIPS, KINDS)))
        path = tmp_path / f"table.{request.param}"
        if request.param == "parquet":
            parquet.write_table(pyarrow.table(columns), path)
        else:
            rows = zip(*(map(str, cells) for cells in columns.values()))
            path.write_text("\n".join(map(",".join, [[*columns], *rows])))
        return path

    return write


def one_hot(texts, categories="auto"):
    encoder = OneHotEncoder(categories=categories, handle_unknown="ignore", sparse_output=False)
    return encoder.fit_transform(texts[:, np.newaxis])


# ---------------------------------------------------------------- which columns


def test_columns_that_are_dropped_are_not_read(table):
    known = {"feature_names": ("size", "zip")}
    expected = np.column_stack([SIZES, ZIPS])
    for drop in (["colour"], [0], ["0"], ("-4",), [-4, "colour"]):
        assert_same(read(table(), drop=drop), expected, KINDS, **known)
    assert_same(read(table(), drop=["kind", "colour"], target=-2), SIZES[:, np.newaxis], ZIPS, feature_names=("size",))
    assert_same(read(table(), drop=["colour", "kind"]), SIZES[:, np.newaxis], ZIPS, feature_names=("size",))
    assert_same(read(table(), drop=["colour", "kind"], need_labels=False), expected, None, **known)


def test_columns_of_features_come_in_the_order_that_is_asked_for(table):
    assert_same(
        read(table(), columns=["zip", "size"]), np.column_stack([ZIPS, SIZES]), KINDS, feature_names=("zip", "size")
    )
    assert_same(read(table(), columns=[1], target=2), SIZES[:, np.newaxis], ZIPS, feature_names=("size",))
    assert_same(read(table(), columns=["size"], need_labels=False), SIZES[:, np.newaxis], None, feature_names=("size",))
    assert_same(
        read(table(), columns=["size", "zip"], drop=["zip"]), SIZES[:, np.newaxis], KINDS, feature_names=("size",)
    )


def test_a_name_makes_the_first_line_a_header(tmp_path):
    (tmp_path / "t.csv").write_text("0,1,2,y\n5,6,7,a\n8,9,10,b\n")
    for how in ({"drop": ["y"], "target": 2}, {"columns": [0, 1], "target": "y"}, {"one_hot": ["y"], "target": 2}):
        assert read(tmp_path / "t.csv", **how).feature_names[:2] == ("0", "1")
    assert len(read(tmp_path / "t.csv", drop=[3], target=2).X) == 3


def test_dropped_columns_do_not_decide_whether_there_is_a_header(tmp_path):
    (tmp_path / "t.csv").write_text("1,a,x\n2,3,y\n")
    assert_same(read(tmp_path / "t.csv", drop=[0]), np.array([[3.0]]), np.array(["y"]), feature_names=("a",))


def test_columns_that_can_not_be_are_refused(table):
    refused(r"drop must name a column of .*, got 'weight'; it has the columns \['colour', ", table(), drop=["weight"])
    refused(r"columns must name a column of .*, got 'weight'; it has ", table(), columns=["weight"])
    refused(r"one_hot must name a column of .*, got 'weight'; it has ", table(), one_hot=["weight"])
    refused(r"drop must be a column of .*, 0 … 3 or from the end, got 4", table(), drop=[4])
    refused(
        r"columns must name features, each once, got \['size', 'kind'\]: .* labels", table(), columns=["size", "kind"]
    )
    refused(r"columns must name features, each once, got \['size', 1\]: a column twice", table(), columns=["size", 1])
    refused(r"one_hot must name features, got \['kind'\]", table(), one_hot=["kind"], drop=["colour"])
    refused(r"must have columns of features beside the labels, got only the columns", table(), drop=[0, 1, 2])
    refused(r"has no column for the labels, beside those", table(), drop=[0, 1, 2, 3])
    for name in ("columns", "drop", "one_hot"):
        refused(rf"{name} must be a list of names or numbers", table(), error=TypeError, **{name: "size"})
        refused(
            rf"{name} must be the name or the number of a column, got 1\.5", table(), error=TypeError, **{name: [1.5]}
        )


# ---------------------------------------------------------------- text


def test_text_is_encoded_as_scikit_learn_does(table):
    expected = np.column_stack([one_hot(COLOURS), SIZES, ZIPS])
    names = ("colour_blue", "colour_green", "colour_red", "size", "zip")
    encoding = (Column("colour", ["blue", "green", "red"]), Column("size"), Column("zip"))
    for how in (True, ["colour"], [0]):
        assert_same(read(table(), one_hot=how), expected, KINDS, feature_names=names, encoding=encoding)
    assert_same(
        read(table(), columns=["size", "colour"], one_hot=True), expected[:, [3, 0, 1, 2]], KINDS,
        feature_names=("size", *names[:3]), encoding=(encoding[1], encoding[0]),
    )  # fmt: skip
    assert read(table(), drop=["colour"], one_hot=True).encoding is None  # there is nothing to encode


def test_numbers_are_encoded_where_it_is_asked_for(table):
    data = read(table(), one_hot=["zip"], drop=["colour"])
    known = {"feature_names": ("size", "zip_1010", "zip_1020", "zip_900")}
    encoding = (Column("size"), Column("zip", ["1010", "1020", "900"]))
    assert_same(data, np.column_stack([SIZES, one_hot(ZIPS.astype(str))]), KINDS, encoding=encoding, **known)


def test_without_a_header_features_have_no_names(tmp_path):
    (tmp_path / "t.csv").write_text("red,1,a\nblue, 2,b\n red ,3,a\n")
    expected = np.array([[0.0, 1, 1], [1, 0, 2], [0, 1, 3]])
    encoding = (Column(None, ["blue", "red"]), Column())
    assert_same(read(tmp_path / "t.csv", one_hot=True), expected, np.array(["a", "b", "a"]), encoding=encoding)


def test_what_is_encoded_is_no_byte(tmp_path):
    """Bytes are scaled in training, and ones of an encoding must not be."""
    pixels = np.arange(6, dtype=np.uint8)
    for numbers, dtype in ((pixels, np.float64), (SIZES.astype(np.float32), np.float32)):
        parquet.write_table(pyarrow.table({"a": numbers, "b": COLOURS, "y": KINDS}), tmp_path / "t.parquet")
        data = read(tmp_path / "t.parquet", one_hot=True)
        np.testing.assert_array_equal(data.X, np.column_stack([numbers, one_hot(COLOURS)]).astype(dtype), strict=True)
    parquet.write_table(
        pyarrow.table({"b": pyarrow.array(COLOURS).dictionary_encode(), "y": KINDS}), tmp_path / "t.parquet"
    )
    np.testing.assert_array_equal(read(tmp_path / "t.parquet", one_hot=True).X, one_hot(COLOURS), strict=True)


def test_text_that_nobody_has_mentioned_is_refused_with_advice(table):
    advice = "column 'colour': expected a number, got 'red'.*: a column of text is left out by `drop`, or encoded by"
    refused(advice, table())
    refused(advice, table(), one_hot=["zip"])


def test_text_that_is_missing_or_a_number_is_refused(tmp_path):
    def text(*cells):
        (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *(f"1,{cell},k" for cell in cells)]))
        return tmp_path / "t.csv"

    message = r"t\.csv, line 3, column 'b': expected a text, got nothing \(a missing value\)"
    for how in (True, ["b"]):
        refused(message, text("red", "", "blue"), one_hot=how)
    odd = r"t\.csv, line 4, column 'b': expected a text, as in the first sample, got '7': `one_hot` takes numbers for"
    refused(odd, text("red", "red", "7"), one_hot=True)
    assert read(text("red", "red", "7"), one_hot=["b"]).feature_names == ("a", "b_7", "b_red")
    refused(r"t\.csv, line 3, column 'b': expected a number, got 'red'$", text("7", "red"), one_hot=True)
    refused(r"t\.csv, line 2, column 'b': expected a number, got nothing", text("", "red"), one_hot=True)


def test_a_column_with_another_text_in_every_row_is_no_category(table):
    m = 1001
    columns = {"id": np.array([f"n{i:04}" for i in range(m)]), "size": np.arange(m), "y": np.arange(m) % 2}
    message = "column 'id': expected at most 1,000 different texts to encode, got 1,001: `drop`"
    refused(message, table(**columns), one_hot=True)


def test_parquet_that_is_no_text(tmp_path):
    columns = {"a": pyarrow.array([[1], [2]]), "b": pyarrow.array(["x", None]), "y": pyarrow.array([0, 1])}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    refused(r"row 1 .* column 'b': expected a value, got null", tmp_path / "t.parquet", one_hot=True, drop=["a"])
    refused(r"row 0 .* column 'a': expected a number, got \[1\] \(list", tmp_path / "t.parquet", one_hot=["b"])


# ---------------------------------------------------------------- what a model was trained on


def test_columns_are_found_by_the_names_that_a_model_knows(table):
    like = [Column("zip"), Column("size")]
    expected, known = np.column_stack([ZIPS, SIZES]), {"feature_names": ("zip", "size")}
    assert_same(read(table(), like=like, need_labels=False), expected, None, **known)
    assert_same(read(table(), like=like, need_labels=False, target="kind"), expected, None, **known)
    assert_same(read(table(), like=like), expected, KINDS, **known)
    assert_same(read(table(), like=like, target="colour"), expected, COLOURS, **known)
    first = table(kind=KINDS, size=SIZES, zip=ZIPS)  # the last column that the model does not know has the labels
    assert_same(read(first, like=like), expected, KINDS, **known)
    message = r"table\..* does not have the columns that the model was trained on: weight, height"
    refused(message, table(), like=[*like, Column("weight"), Column("height")])
    refused("has no column for the labels, beside those", table(size=SIZES, zip=ZIPS), like=like)


def test_names_that_are_numbers_are_found_too(tmp_path):
    (tmp_path / "t.csv").write_text("2,0,1\n5,6,7\n8,9,10\n")
    data = read(tmp_path / "t.csv", like=[Column("0"), Column("1")], need_labels=False)
    assert_same(data, np.array([[6.0, 7], [9, 10]]), None, feature_names=("0", "1"))


def test_a_name_that_two_columns_have(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,a,y\n1,2,3,x\n")
    refused("has several columns of a name that the model was trained on: a", tmp_path / "t.csv", like=[Column("a")])
    data = read(tmp_path / "t.csv", like=[Column("b")], need_labels=False)
    assert_same(data, np.array([[2.0]]), None, feature_names=("b",))


def test_without_names_columns_are_taken_in_their_order(table):
    numbers = table(size=SIZES, zip=ZIPS)
    expected, known = np.column_stack([SIZES, ZIPS]), {"feature_names": ("size", "zip")}
    like = [Column(), Column()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(read(numbers, like=like, need_labels=False), expected, None, **known)
        labelled = table(size=SIZES, zip=ZIPS, kind=KINDS)
        assert_same(read(labelled, like=like, need_labels=False, target="kind"), expected, None, **known)
        assert_same(read(labelled, like=like), expected, KINDS, **known)
    with pytest.warns(
        UserWarning, match="a column more than the model was trained on: the last one, 2, is taken for the"
    ):
        assert_same(read(labelled, like=like, need_labels=False), expected, None, **known)
    message = "has 3 columns of features, and the model was trained on 2: `columns` names these, or `drop` the others"
    refused(message, table(), like=like)
    refused(message, table(), like=like, need_labels=False, target="kind")
    refused(message.replace("3", "4"), table(), like=like, need_labels=False)
    assert_same(read(table(), like=like, drop=["colour"]), expected, KINDS, **known)


def test_known_categories_are_used_and_unknown_texts_become_zeros(table):
    like = [Column("size"), Column("colour", ("blue", "grey", "red"))]
    data = read(table(), like=like, need_labels=False)
    expected = np.column_stack([SIZES, one_hot(COLOURS, [["blue", "grey", "red"]])])
    assert not expected[3, 1:].any()
    known = {"feature_names": ("size", "colour_blue", "colour_grey", "colour_red"), "encoding": (*like,)}
    assert_same(data, expected, None, **known)
    numbers = [Column("zip", ("1010", "900"))]  # text for the model, whatever is in the file
    np.testing.assert_array_equal(read(table(), like=numbers).X, one_hot(ZIPS.astype(str), [["1010", "900"]]))
    refused("column 'colour': expected a number, got 'red'( \\(string\\))?$", table(), like=[Column("colour")])


def test_pairs_do_for_columns_and_nothing_else(table):
    assert read(table(), like=[("size", None), ["colour", ["red"]]]).feature_names == ("size", "colour_red")
    message = "like must hold a Column, a name and its categories, for each column, got "
    for wrong in (["size"], [3], 3):
        refused(message, table(), like=wrong, error=TypeError)
