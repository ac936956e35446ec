"""``Batches``: mini-batches of arrays, without torch."""

import math

import numpy as np
import pytest

from fastclf import Batches

from .minibatches import BAD, M, Plain, X, Y, assert_same, is_refused, trained


def test_batches_of_arrays(dtype):
    expected = trained([(X[i : i + 10], Y[i : i + 10]) for i in range(0, M, 10)], dtype)
    assert_same(trained(Batches(X, Y, 10), dtype), expected)
    assert_same(trained(Batches(X.tolist(), Y.tolist(), 10), dtype), expected)
    assert_same(trained(Plain(Batches(X, Y, 10)), dtype), expected)
    dropped = trained([(X[i : i + 10], Y[i : i + 10]) for i in range(0, 40, 10)], dtype)
    assert_same(trained(Batches(X, Y, 10, drop_last=True), dtype), dropped)


@pytest.mark.parametrize("kind", [np.int32, bool, np.float16, ">f8"])
def test_batches_of_other_numbers(kind):
    samples = (X > 0).astype(kind)
    assert_same(trained(Batches(samples, Y, 10)), trained(Batches(samples.astype(float), Y, 10)))


def test_shuffled_batches():
    """Every sample once per epoch, in an order that the seed decides, and another in the next epoch."""
    loader = Batches(np.arange(M)[:, None], Y, 10, shuffle=True, random_state=3)
    epochs = [np.concatenate([x[:, 0] for x, _ in loader]) for _ in range(2)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(M))
    assert (epochs[0] != epochs[1]).any()
    same = Batches(np.arange(M)[:, None], Y, 10, shuffle=True, random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(np.concatenate([x[:, 0] for x, _ in same]), epochs[0])
    np.random.seed(3)
    np.testing.assert_array_equal(Batches(X, Y, 10, shuffle=True).order(), epochs[0])
    other = Batches(X, Y, 10, shuffle=True, random_state=np.random.default_rng(3)).order()
    expected = np.arange(M)
    np.random.default_rng(3).shuffle(expected)
    np.testing.assert_array_equal(other, expected)
    for x, y in loader:
        np.testing.assert_array_equal(y, Y[x[:, 0]])


def test_the_length_is_the_number_of_batches():
    for size, drop_last in ((10, False), (10, True), (45, True), (50, False), (1, False)):
        loader = Batches(X, Y, size, drop_last=drop_last)
        assert len(loader) == len(list(loader)) == (M // size if drop_last else math.ceil(M / size))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0], Y), r"X must have shape \(m, \.\.\.\), one sample per row, and not be empty, got \(12,\)"),
        ((X[:0], Y[:0]), "not be empty"),
        ((X, Y[1:]), r"y must have shape \(45,\), one label per sample, got \(44,\)"),
        ((X, Y, 0), "batch_size must be at least 1, got 0"),
        ((X, Y, 2.5), "batch_size must be a whole number"),
    ],
)
def test_batches_that_can_not_be(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Batches(*arguments)
    with pytest.raises(ValueError, match="batch_size must be at most 45 where drop_last"):
        Batches(X, Y, 46, drop_last=True)
    with pytest.raises(TypeError, match="random_state"):
        Batches(X, Y, random_state="0")


@pytest.mark.parametrize(("x", "y", "message"), BAD.values(), ids=BAD)
def test_bad_sets(x, y, message):
    is_refused(Batches(x, y, 10), message)


def test_numbers_too_large_for_float32():
    with pytest.raises(ValueError, match="must be finite, got inf"):
        trained(Batches(1e200 * X, Y, 10), np.float32)


def test_the_repr_says_the_sizes():
    images = np.zeros((M, 3, 2, 2), np.uint8)
    loader = Batches(images, Y, 10, shuffle="blocks")
    assert repr(loader) == "Batches((45, 3, 2, 2), dtype=uint8, batch_size=10, shuffle='blocks', drop_last=False)"
    loader.X = None  # the next epoch will refuse it
    assert repr(loader).startswith("Batches(?, dtype=?, ")
    own = type("Own", (Batches,), {})(X, Y, 9, drop_last=True)
    assert repr(own) == "Own((45, 12), dtype=float64, batch_size=9, shuffle=False, drop_last=True)"
