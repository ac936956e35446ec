"""Vectors against NumPy, lane by lane; exp and log against mpmath."""

import mpmath
import numba
import numpy as np
import pytest

from fastclf.kernels import jit, simd
from fastclf.kernels.sgd import NEAR
from fastclf.kernels.target import TARGET

from ..helpers import DTYPES

LIMITS = {d: simd.FLOAT[numba.from_dtype(d)].exp_range for d in DTYPES}  # where exp stops following its argument
LN2 = 0.6931471805599453


def compiled(function):
    return numba.njit(**jit.FLAGS)(function)


@pytest.fixture
def lanes(dtype):
    return TARGET.lanes(dtype.itemsize)


@pytest.fixture
def vectors(dtype, lanes):
    """Three vectors of numbers of both signs, end to end."""
    return np.random.default_rng(0).standard_normal(3 * lanes).astype(dtype)


@compiled
def exp_of(x, out):
    for i in range(0, x.shape[0], simd.lanes_of(x)):
        simd.vstore(out, i, simd.vexp(simd.vload(x, i)))


@compiled
def small_exp_of(x, out):
    for i in range(0, x.shape[0], simd.lanes_of(x)):
        simd.vstore(out, i, simd.vexp_small(simd.vload(x, i)))


@compiled
def log_of(x, out):
    for i in range(0, x.shape[0], simd.lanes_of(x)):
        simd.vstore(out, i, simd.vlog(simd.vload(x, i)))


@compiled
def tanh_of(x, out):
    for i in range(0, x.shape[0], simd.lanes_of(x)):
        simd.vstore(out, i, simd.vtanh(simd.vload(x, i)))


def applied(function, values, dtype, lanes):
    """``function`` of any number of values, the last vector filled up with ones."""
    x = np.ones(-(-len(values) // lanes) * lanes, dtype)
    x[: len(values)] = values
    out = np.empty_like(x)
    function(x, out)
    return out[: len(values)]


def errors_in_ulps(got, x, exact):
    """|got - exact(x)| in units of the last place of the exact result rounded to got's type."""
    with mpmath.workdps(40):
        true = [exact(mpmath.mpf(float(v))) for v in x]
        spacing = np.spacing(np.abs(np.array([float(t) for t in true]).astype(got.dtype)))
        return np.array(
            [float(abs(mpmath.mpf(float(g)) - t) / mpmath.mpf(float(s))) for g, t, s in zip(got, true, spacing)]
        )


def exp_arguments(dtype):
    low, high = LIMITS[dtype]
    rng = np.random.default_rng(1)
    halfway = (np.arange(int(low / LN2) + 1, int(high / LN2)) + 0.5) * LN2  # between two powers of two
    tiny = np.array([0.0, 1e-300, 1e-30, 1e-17, 1e-8])
    return np.r_[
        rng.uniform(low, high, 1500),
        rng.uniform(-3, 3, 1500),
        halfway,
        np.nextafter(halfway, 0),
        tiny,
        -tiny,
        low,
        high,
    ].astype(dtype)


def small_arguments(dtype):
    """As far as ``sgd`` goes without reducing the range."""
    return np.r_[np.random.default_rng(3).uniform(-NEAR, NEAR, 2000), -NEAR, NEAR, 0, 1e-20].astype(dtype)


def log_arguments(dtype):
    rng = np.random.default_rng(2)
    smallest = np.finfo(dtype).smallest_normal
    root = np.sqrt(0.5) * 2.0 ** np.arange(-20, 21)  # where the exponent is chosen
    near_one = 1 + rng.uniform(-1, 1, 1000) * 10.0 ** rng.uniform(-8, -1, 1000)
    wide = np.exp(rng.uniform(np.log(smallest), np.log(np.finfo(dtype).max), 1500))
    return np.r_[wide, rng.uniform(1, 20, 500), near_one, root, 1.0, smallest, np.finfo(dtype).max].astype(dtype)


def tanh_arguments(dtype):
    rng = np.random.default_rng(4)
    halfway = (np.arange(60) + 0.5) * LN2 / 2  # between two powers of two
    tiny = np.finfo(dtype).smallest_normal
    small = np.exp(rng.uniform(np.log(tiny), 0, 1000))
    x = np.r_[rng.uniform(0, 3, 3000), rng.uniform(0, 25, 500), halfway, np.nextafter(halfway, 0), small, 0, tiny, 1e30]
    return (x * rng.choice([-1, 1], len(x))).astype(dtype)


@pytest.mark.parametrize(
    ("function", "arguments", "exact"),
    [
        (tanh_of, tanh_arguments, mpmath.tanh),
        (exp_of, exp_arguments, mpmath.exp),
        (small_exp_of, small_arguments, mpmath.exp),
        (log_of, log_arguments, mpmath.log),
    ],
)
def test_functions_are_within_two_ulps(function, arguments, exact, dtype, lanes):
    x = arguments(dtype)
    ulps = errors_in_ulps(applied(function, x, dtype, lanes), x, exact)
    assert ulps.max() <= 2, f"{ulps.max()} ulps at {x[ulps.argmax()]!r}"


def test_exp_and_log_of_one_and_zero_are_exact(dtype, lanes):
    assert applied(exp_of, [0.0], dtype, lanes)[0] == 1
    assert applied(log_of, [1.0], dtype, lanes)[0] == 0


def test_exp_past_its_range_is_that_of_the_bound(dtype, lanes):
    low, high = LIMITS[dtype]
    far = [-np.inf, -1e4, np.nextafter(dtype.type(low), dtype.type(-np.inf)), np.inf, 1e4]
    got = applied(exp_of, far, dtype, lanes)
    at_low, at_high = applied(exp_of, [low, high], dtype, lanes)
    assert got.tolist() == [at_low] * 3 + [at_high] * 2
    assert 0 < at_low < 1e-25  # nothing, beside probabilities
    assert np.isfinite(at_high)


def test_special_values(dtype, lanes):
    nan, inf = np.nan, np.inf
    np.testing.assert_array_equal(applied(exp_of, [nan, -nan], dtype, lanes), [nan, nan])
    np.testing.assert_array_equal(applied(tanh_of, [nan, inf, -inf, 0.0], dtype, lanes), [nan, 1, -1, 0])
    assert np.signbit(applied(tanh_of, [-0.0], dtype, lanes)[0])
    logarithms = {nan: nan, 0.0: -inf, inf: inf, -1.0: nan, -inf: nan}
    np.testing.assert_array_equal(applied(log_of, [*logarithms, -0.0], dtype, lanes), [*logarithms.values(), -inf])


@compiled
def combine(x, out):
    lanes = simd.lanes_of(x)
    a, b, c = simd.vload(x, 0), simd.vload(x, lanes), simd.vload(x, 2 * lanes)
    simd.vstore(out, 0, a + b)
    simd.vstore(out, lanes, a - b)
    simd.vstore(out, 2 * lanes, a * b)
    simd.vstore(out, 3 * lanes, a / b)
    simd.vstore(out, 4 * lanes, simd.vmax(a, b))
    simd.vstore(out, 5 * lanes, simd.vmin(a, b))
    simd.vstore(out, 6 * lanes, simd.vabs(a))
    simd.vstore(out, 7 * lanes, simd.vwhere_equal(a, b, c))
    simd.vstore(out, 8 * lanes, simd.vfma(a, b, c))


def test_arithmetic_is_numpys(vectors, lanes):
    a, b, c = vectors.reshape(3, lanes)
    b[::3] = a[::3]  # some are equal
    expected = [a + b, a - b, a * b, a / b, np.maximum(a, b), np.minimum(a, b), np.abs(a), np.where(a == b, c, 0)]
    got = np.empty(9 * lanes, vectors.dtype)
    combine(vectors, got)
    *exact, fma = got.reshape(9, lanes)
    np.testing.assert_array_equal(exact, expected)
    np.testing.assert_allclose(fma, a * b + c, rtol=0, atol=8 * np.finfo(vectors.dtype).eps)


@pytest.mark.skipif(TARGET.name == "SSE2", reason="this target multiplies and adds in two roundings")
def test_fma_rounds_once(dtype, lanes):
    eps = np.finfo(dtype).eps
    x = np.repeat(np.array([1 + eps, 1 - eps, -1], dtype), lanes)
    out = np.empty(9 * lanes, dtype)
    combine(x, out)
    np.testing.assert_array_equal(out[8 * lanes :], -eps * eps)  # a rounded product would be 1, and this 0


def test_nan_goes_through_max_and_min(dtype, lanes):
    x = np.repeat(np.array([np.nan, 1, 0], dtype), lanes)
    out = np.empty(9 * lanes, dtype)
    combine(x, out)
    assert np.isnan(out[4 * lanes : 6 * lanes]).all()
    assert (out[7 * lanes : 8 * lanes] == 0).all()  # and equals nothing


@compiled
def reduce(x, out, totals):
    v = simd.vload(x, 0)
    out[0], out[1], out[2] = simd.vsum(v), simd.vhighest(v), simd.vlane0(v)
    simd.vstore(totals, 0, simd.vtotal(v))


def pairwise(x):
    """The sum of a vector's lanes, halves onto each other."""
    while len(x) > 1:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x[0]


def test_reductions_have_one_order(vectors, lanes, dtype):
    got, totals = np.empty(3, dtype), np.empty(lanes, dtype)
    reduce(vectors, got, totals)
    v = vectors[:lanes]
    assert got.tolist() == [pairwise(v), v.max(), v[0]]
    assert (totals == got[0]).all()  # the same bits, so that either may be used


@compiled
def four_sums(x, out):
    lanes = simd.lanes_of(x)
    s, t, u, v = simd.vload(x, 0), simd.vload(x, lanes), simd.vload(x, 2 * lanes), simd.vload(x, 3 * lanes)
    simd.vstore(out, 0, simd.vsum4(s, t, u, v))


def test_four_sums_are_added_like_one(dtype, lanes):
    x, out = np.random.default_rng(0).standard_normal((4, lanes)).astype(dtype), np.empty(4, dtype)
    four_sums(x.reshape(-1), out)
    assert out.tolist() == [pairwise(v) for v in x]


@compiled
def narrow_vectors(x, out):
    simd.vstore(out, 0, simd.vload4(x, 1))
    simd.vstore(out, 4, simd.vload4_first(x, 0, 3, x[0] * 0))
    simd.vstore(out, 8, simd.vsplat4(x, x[2]))


def test_vectors_of_four(dtype):
    x, out = np.arange(1, 6).astype(dtype), np.empty(12, dtype)
    narrow_vectors(x, out)
    assert out.tolist() == [2, 3, 4, 5, 1, 2, 3, 0, 3, 3, 3, 3]


@compiled
def within(x, limit):
    return simd.vwithin(simd.vload(x, 0), limit)


def test_within(dtype, lanes):
    inside = np.linspace(-2, 2, lanes).astype(dtype)
    assert within(inside, dtype.type(2))
    for lane in range(lanes):
        for far in (2.5, -2.5, np.inf, np.nan):
            x = inside.copy()
            x[lane] = far
            assert not within(x, dtype.type(2))


@compiled
def hot(out, lane):
    simd.vstore(out, 0, simd.vhot(out, lane))


def test_one_hot_lanes(dtype, lanes):
    out = np.empty(lanes, dtype)
    for lane in range(-lanes, 2 * lanes):
        hot(out, lane)
        assert out.tolist() == [float(k == lane) for k in range(lanes)]


@compiled
def copy_first(x, out, count, fill):
    simd.vstore(out, 0, simd.vload_first(x, 1, count, fill))
    simd.vstore_first(out, simd.lanes_of(x), simd.vload(x, 0), count)
    simd.vstore(out, 2 * simd.lanes_of(x), simd.vfirst(simd.vload(x, 0), count, fill))


def test_partial_vectors(vectors, lanes, dtype):
    for count in range(lanes + 1):
        got = np.full(3 * lanes, 5, dtype)
        copy_first(vectors, got, count, dtype.type(-9))
        inside = np.arange(lanes) < count
        expected = [np.where(inside, vectors[1 : lanes + 1], -9), np.where(inside, vectors[:lanes], 5)]
        np.testing.assert_array_equal(got.reshape(3, lanes), [*expected, np.where(inside, vectors[:lanes], -9)])


@compiled
def splat_into(out, value):
    simd.vstore(out, 0, simd.vsplat(out, value))


@pytest.mark.parametrize("value", [2, 2.5, np.float32(2.5), -np.inf])
def test_splat_casts_to_the_arrays_type(value, dtype, lanes):
    out = np.empty(lanes, dtype)
    splat_into(out, value)
    assert (out == value).all()
