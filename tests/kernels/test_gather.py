"""Rows from how they are stored to numbers: against NumPy's own conversion, to the last bit."""

import numpy as np
import pytest

from fastclf.engine.rows import Rows, flattened
from fastclf.kernels import gather

RNG = np.random.default_rng(0)
STORED = {
    "bytes": RNG.integers(0, 256, (50, 24), np.uint8),
    "float32": RNG.standard_normal((50, 24)).astype(np.float32),
    "float64": RNG.standard_normal((50, 24)),
}


@pytest.fixture(params=STORED)
def stored(request):
    return STORED[request.param]


def read_by_kernel(rows, order, threads=1):
    """The samples, by the kernel even where they are numbers already."""
    out = np.full((len(order), rows.shape[1]), np.nan, rows.dtype)
    gather.gather(out, rows.source, np.asarray(order), rows.shape[1], threads=threads)
    return out


def test_hand_values(dtype):
    """Two pixels of three channels become three planes; each byte the number in its place of the table."""
    rows = Rows(np.array([[1, 2, 3, 4, 5, 6], [0, 0, 0, 255, 255, 255]], np.uint8), dtype, 0.5, channels=3)
    np.testing.assert_array_equal(
        read_by_kernel(rows, [1, 0]), [[0, 127.5, 0, 127.5, 0, 127.5], [0.5, 2, 1, 2.5, 1.5, 3]]
    )


def test_a_table_of_any_numbers(dtype):
    table = RNG.standard_normal(256)
    rows = Rows(STORED["bytes"], dtype, table)
    np.testing.assert_array_equal(read_by_kernel(rows, np.arange(50)), table.astype(dtype)[STORED["bytes"]])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 24])
@pytest.mark.parametrize("order", [np.arange(50), [3], [7, 7, 0, 49, 7], np.arange(50)[::-1].copy()], ids=len)
@pytest.mark.parametrize("threads", [1, 2])
def test_any_order_of_any_samples(stored, dtype, channels, order, threads):
    rows = Rows(stored, dtype, 1 / 255, channels)
    if rows.are_floats:
        pytest.skip("nothing is gathered where samples are numbers")
    got = read_by_kernel(rows, order, threads)
    numbers = stored * np.float64(1 / 255) if stored.dtype == np.uint8 else stored
    planes = numbers[order].reshape(len(order), -1, channels).transpose(0, 2, 1).reshape(len(order), -1)
    np.testing.assert_array_equal(got, planes.astype(dtype))


@pytest.mark.parametrize("offset", [0, 1, 3])
def test_numbers_at_any_address(dtype, offset):
    """Those of a file with a header of any length are not aligned."""
    for name in ("float32", "float64"):
        raw = np.empty(STORED[name].nbytes + offset, np.uint8)
        array = raw[offset:].view(STORED[name].dtype).reshape(50, 24)
        array[:] = STORED[name]
        np.testing.assert_array_equal(Rows(array, dtype).as_floats(), STORED[name].astype(dtype))


def test_rows_wider_than_any_vector(dtype):
    for n in (1, 7, 64, 1000):
        array = RNG.integers(0, 256, (3, n), np.uint8)
        np.testing.assert_array_equal(read_by_kernel(Rows(array, dtype), [2, 0, 1]), array[[2, 0, 1]].astype(dtype))


@pytest.mark.parametrize(
    ("images", "channels"),
    [
        (np.zeros((4, 3, 2, 2), np.uint8), 1),
        (np.zeros((4, 2, 2, 3), np.uint8).transpose(0, 3, 1, 2), 3),
        (np.zeros((4, 2, 2), np.uint8), 1),
        (np.zeros((4, 12), np.uint8), 1),
    ],
    ids=["channels first", "channels last", "grey", "flat"],
)
def test_images_are_flattened_where_they_are(images, channels):
    array, found = flattened(images)
    assert array.shape == (4, images[0].size)
    assert found == channels
    assert np.shares_memory(array, images)


def test_images_of_any_other_layout_are_copied():
    images = STORED["bytes"].reshape(50, 2, 3, 4).transpose(0, 1, 3, 2)
    array, channels = flattened(images)
    np.testing.assert_array_equal(array, images.reshape(50, -1))
    assert channels == 1
