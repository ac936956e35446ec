"""The check for NaN and infinity, wherever they stand and however the array is cut."""

import numpy as np
import pytest

from fastclf.kernels.check import all_finite

from ..helpers import LANES, edges


def is_finite(x, chunks=1, threads=1):
    part = np.full(chunks, 99.0)
    all_finite(x, part, chunks, threads=threads)
    assert set(part[~np.isnan(part)]) <= {0}
    return not np.isnan(part).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", edges(1, *(4 * lanes for lanes in LANES)))
def test_every_position_is_seen(size, bad, dtype):
    x = np.linspace(-1, 1, size).astype(dtype)
    assert is_finite(x)
    for at in range(size):
        spoilt = x.copy()
        spoilt[at] = bad
        assert not is_finite(spoilt), at


def test_the_largest_numbers_are_finite(dtype):
    limits = np.finfo(dtype)
    assert is_finite(np.resize(np.array([limits.max, limits.min, limits.smallest_subnormal, -0.0], dtype), 1000))


@pytest.mark.parametrize("chunks", [1, 2, 7, 64])
@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_cover_everything(chunks, threads, dtype):
    x = np.ones(333, dtype)
    for at in range(len(x)):
        x[at] = np.nan
        assert not is_finite(x, chunks, threads)
        x[at] = 1
    assert is_finite(x, chunks, threads)


def test_the_part_is_named(dtype):
    x, part = np.ones(100, dtype), np.empty(10)
    x[37] = np.inf
    all_finite(x, part, 10)
    assert np.flatnonzero(np.isnan(part)).tolist() == [3]


@pytest.mark.parametrize("size", [0, 1, 3])
def test_more_chunks_than_numbers(size, dtype):
    assert is_finite(np.ones(size, dtype), chunks=64)


def test_an_array_that_may_not_be_written(dtype):
    x = np.ones(100, dtype)
    x.flags.writeable = False
    assert is_finite(x)
