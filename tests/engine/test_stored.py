"""Every trainer on samples as they are stored, bytes and files in memory: as on the numbers that they stand for."""

import warnings

import numpy as np
import pytest

import fastclf
from fastclf.engine import mapped, minibatch, sgd
from fastclf.engine.rows import Rows

from ..helpers import ONE_STEP, TRAJECTORY, assert_close, in_new_process

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Got `batch_size`"),
]

C, H = 3, 6
SCALE = 1 / 255
RNG = np.random.default_rng(0)
QUIET = {"verbose": False}


def linear(X, y, dtype, batch, multiclass, **how):
    targets = np.eye(C)[y] if multiclass else (y > 0).astype(float)
    theta, losses = fastclf.train_model(
        X, targets, 0.05, 3, batch, multiclass, dtype=dtype, random_state=0, **QUIET, **how
    )
    return {"theta": theta, "losses": losses}


def image(X, y, dtype, **how):
    model = fastclf.ImageLinearClassifier(X.shape[1], C, dtype=dtype, random_state=0, **how)
    losses = fastclf.train(model, X, y, 3, 0.1, **QUIET)
    model.gradient_descent(X, y, 0.1)
    return {
        "W": model.W, "b": model.b, "losses": losses, "loss": model.compute_loss(X, y), "scores": model.predict(X)
    }  # fmt: skip


def mlp(X, y, dtype, **how):
    model = fastclf.MLPClassifier(X.shape[1], H, C, dtype=dtype, random_state=0, **how)
    model.W1 *= 20
    losses = model.train(X.T, y, 3, 0.1, **QUIET)
    A2 = model.forward(X.T)
    loss = model.compute_loss(A2, y)
    model.backward(X.T, y, 0.1)
    return {"losses": losses, "loss": loss, **parameters(model, "12"), "A1": model.A1, "A2": A2}


def deep(X, y, dtype, **how):
    model = fastclf.DeepMLPClassifier(X.shape[1], H, C, dtype=dtype, random_state=0, **how)
    model.W1 *= 20
    losses = model.train(fastclf.Batches(X, y, 50), 3, 0.1, **QUIET)
    losses += model.train([(X[:40], y[:40]), (X[40:90], y[40:90])], 2, 0.1, **QUIET)
    model.forward(X.T)
    model.backward(X.T, y, 0.1, clip_threshold=0.01)
    return {"losses": losses, **parameters(model, "132"), "A3": model.A3, "A2": model.A2}


def parameters(model, names):
    return {f"{kind}{i}": getattr(model, f"{kind}{i}") for i in names for kind in "Wb"}


def estimator(kind, X, y, **how):
    """On what X is: estimators choose the dtype by it."""
    model = getattr(fastclf, kind)(random_state=0, shuffle=False, **how)
    model.fit(X, y, **({"X_val": X[:50], "y_val": y[:50]} if how.get("hidden_layer_sizes") else {}))
    model.set_params(early_stopping=False).partial_fit(X[:60], y[:60])  # it can not be had with early stopping
    if kind == "FastMLPClassifier":
        return {"proba": model.predict_proba(X), "W": model.coefs_[0], "curve": model.loss_curve_}
    return {"proba": model.predict_proba(X), "W": model.coef_, "b": model.intercept_, "curve": model.loss_curve_}


def fit_linear(X, y, dtype, **how):
    """At a rate that is not chaotic: "optimal" starts so high that a change of 1e-7 in X alters the weights by a third."""
    if how.get("batch_size") != "full":
        how = {"learning_rate": "constant", "eta0": 0.01, **how}
    return estimator("FastLinearClassifier", X, y, max_iter=3, tol=None, **how)


def fit_mlp(X, y, dtype, **how):
    return estimator("FastMLPClassifier", X, y, max_iter=3, n_iter_no_change=np.inf, **how)


LAB = {
    **{
        f"{'softmax' if multiclass else 'sigmoid'}, {'batch' if batch else 'SGD'}": (
            lambda X, y, dtype, b=batch, m=multiclass, **how: linear(X, y, dtype, b, m, **how)
        )
        for batch in (True, False)
        for multiclass in (True, False)
    },
    "image": image,
    "mlp": mlp,
    "deep": deep,
}
ESTIMATORS = {
    "linear, per sample": fit_linear,
    "linear, an average": lambda X, y, d, **how: fit_linear(X, y, d, average=True, **how),
    "linear, l1": lambda X, y, d, **how: fit_linear(X, y, d, penalty="l1", **how),
    "linear, batches": lambda X, y, d, **how: fit_linear(X, y, d, batch_size=32, **how),
    "linear, full": lambda X, y, d, **how: fit_linear(X, y, d, batch_size="full", **how),
    "linear, held out": lambda X, y, d, **how: fit_linear(X, y, d, early_stopping=True, **how),
    "MLP, Adam": lambda X, y, d, **how: fit_mlp(X, y, d, hidden_layer_sizes=(H,), batch_size=32, **how),
    "MLP, SGD": lambda X, y, d, **how: fit_mlp(X, y, d, hidden_layer_sizes=(H,), solver="sgd", batch_size=32, **how),
    "MLP, all at once": lambda X, y, d, **how: fit_mlp(X, y, d, hidden_layer_sizes=(H,), batch_size=1200, **how),
}


def data(m, n):
    return RNG.integers(0, 256, (m, n), np.uint8), RNG.integers(0, C, m)


def assert_alike(got, expected, tolerance=0.0):
    assert got.keys() == expected.keys()
    assert_close(tolerance, **{name: (got[name], expected[name]) for name in got})


# A full batch's rate follows from sums of squares, which are taken of blocks. A pass of per-sample SGD is cut into calls:
# at each cut, logits are computed anew that were the last call's by-product, in another order of additions. Everything else
# is the same sums of the same numbers.
NOT_TO_THE_BIT = {
    "softmax, SGD", "sigmoid, SGD", "linear, per sample", "linear, an average", "linear, held out", "linear, full",
}  # fmt: skip


def tolerance_of(name, dtype):
    return ONE_STEP[np.dtype(dtype)] if name in NOT_TO_THE_BIT else 0.0


# ---------------------------------------------------------------- bytes


@pytest.mark.parametrize("shape", [(1, 3), (100, 5), (1200, 5), (1200, 70)], ids=str)
@pytest.mark.parametrize("name", LAB)
def test_bytes_are_the_numbers_they_stand_for(name, shape, dtype):
    """A table has each of them, rounded once."""
    X, y = data(*shape)
    if name == "deep" and len(X) < 90:
        pytest.skip("too few for its batches")
    numbers, tolerance = (X * SCALE).astype(dtype), tolerance_of(name, dtype)
    assert_alike(LAB[name](X, y, dtype, scale=SCALE), LAB[name](numbers, y, dtype), tolerance)
    assert_alike(LAB[name](X, y, dtype), LAB[name](X.astype(dtype), y, dtype), tolerance)  # what they are


@pytest.mark.parametrize("name", ESTIMATORS)
def test_bytes_in_estimators(name):
    X, y = data(1200, 70)
    train, numbers, tolerance = ESTIMATORS[name], (X * SCALE).astype(np.float32), tolerance_of(name, np.float32)
    assert_alike(train(X, y, None, scale=SCALE), train(numbers, y, None), tolerance)
    assert_alike(train(X, y, None, scale=0.01), train((X * 0.01).astype(np.float32), y, None, scale=0.01), tolerance)


@pytest.mark.parametrize("name", ["image", "mlp", "deep"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, "1/255", None])
def test_a_scale_that_is_no_number(name, bad):
    X, y = data(100, 5)
    with pytest.raises((TypeError, ValueError), match="scale must be"):
        LAB[name](X, y, np.float64, scale=bad)
    with pytest.raises((TypeError, ValueError), match="scale must be"):
        linear(X, y, np.float64, True, True, scale=bad)


def test_methods_of_ones_own_see_numbers():
    class Shifted(fastclf.ImageLinearClassifier):
        def predict(self, X):
            assert np.asarray(X).dtype == np.float64
            return super().predict(X) + np.arange(C)[:, None]

    class Leaky(fastclf.MLPClassifier):
        def relu(self, z):
            return np.where(z > 0, z, 0.1 * z)

    X, y = data(50, 5)
    image_losses = [
        fastclf.train(Shifted(5, C, random_state=0, scale=SCALE), given, y, 3, 0.1, **QUIET) for given in (X * SCALE,)
    ]
    model = Shifted(5, C, random_state=0, scale=SCALE)
    model.gradient_descent(X, y, 0.1)
    twin = Shifted(5, C, random_state=0)
    twin.gradient_descent(X * SCALE, y, 0.1)
    np.testing.assert_array_equal(model.W, twin.W)
    assert model.compute_loss(X, y) == twin.compute_loss(X * SCALE, y)
    assert len(image_losses[0]) == 3
    ours, theirs = (Leaky(5, H, C, random_state=0, scale=SCALE) for _ in range(2))
    assert ours.train(X.T, y, 2, 0.1, **QUIET) == theirs.train(X.T * SCALE, y, 2, 0.1, **QUIET)


# ---------------------------------------------------------------- files in memory


def stored(X, kind, folder):
    """X in a file of one of the three kinds, in memory, and the same numbers as an array."""
    array = X if kind == "uint8" else (X * SCALE).astype(kind)
    np.save(folder / f"{kind}.npy", array)
    return np.load(folder / f"{kind}.npy", mmap_mode="r"), array


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("name", LAB)
def test_files_in_memory(name, kind, dtype, tmp_path):
    X, y = data(1200, 40)
    file, array = stored(X, kind, tmp_path)
    scale = {"scale": SCALE} if kind == "uint8" else {}
    tolerance = tolerance_of(name, dtype)
    assert_alike(LAB[name](file, y, dtype, **scale), LAB[name](array, y, dtype, **scale), tolerance)
    np.testing.assert_array_equal(file, array)


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_files_in_estimators(name, kind, tmp_path):
    X, y = data(1200, 40)
    file, array = stored(X, kind, tmp_path)
    tolerance = tolerance_of(name, np.float64 if kind == "float64" else np.float32)
    assert_alike(ESTIMATORS[name](file, y, None), ESTIMATORS[name](array, y, None), tolerance)


@pytest.fixture
def small_pieces(monkeypatch):
    """Files are read in windows of 100 rows of 40 bytes, and batches come in pieces of 64 samples."""
    monkeypatch.setattr(mapped, "_WINDOW_BYTES", 4000)
    monkeypatch.setattr(mapped, "_BLOCK_BYTES", 400)
    monkeypatch.setattr(minibatch, "PIECE", 64)
    monkeypatch.setattr(sgd, "SGD_ROWS", 50)


# float32: a gradient of a thousand samples is added up in another order, and Adam divides small ones by each other.
PIECES = {np.dtype(np.float64): TRAJECTORY, np.dtype(np.float32): 1e-3}


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("name", LAB)
def test_files_that_are_read_in_portions(name, kind, dtype, tmp_path, small_pieces):
    """The gradients of the portions are added up: the step is that of the whole set."""
    X, y = data(1200, 40)
    file, array = stored(X, kind, tmp_path)
    scale = {"scale": SCALE} if kind == "uint8" else {}
    expected = LAB[name]((array * SCALE if scale else array).astype(dtype), y, dtype)
    assert_alike(LAB[name](file, y, dtype, **scale), expected, PIECES[np.dtype(dtype)])


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_on_files_in_portions(name, kind, tmp_path, small_pieces):
    X, y = data(1200, 40)
    file, array = stored(X, kind, tmp_path)
    tolerance = PIECES[np.dtype(np.float64 if kind == "float64" else np.float32)]
    how = {}
    if kind == "uint8":
        array, how = (array * SCALE).astype(np.float32), {"scale": SCALE}
    assert_alike(ESTIMATORS[name](file, y, None, **how), ESTIMATORS[name](array, y, None), tolerance)


def test_portions_of_narrow_samples(dtype, tmp_path, small_pieces):
    X, y = data(5000, 4)
    file, array = stored(X, "float32", tmp_path)
    for batch in (True, False):
        assert_alike(
            linear(file, y, dtype, batch, True),
            linear(array.astype(dtype), y, dtype, batch, True),
            PIECES[np.dtype(dtype)],
        )


@pytest.mark.parametrize("narrow", [True, False])
def test_any_number_of_threads_gives_the_same_bits(narrow, dtype, tmp_path, small_pieces, threads_for_all):
    X, y = data(1500, 4 if narrow else 40)
    file, _ = stored(X, "uint8", tmp_path)
    for name, train in LAB.items():
        one, two = (train(file, y, dtype, scale=SCALE, n_jobs=n) for n in (1, 2))
        for key in one:
            np.testing.assert_array_equal(one[key], two[key], err_msg=f"{name} {key}")


def test_shuffled_estimators_learn_from_files(tmp_path, small_pieces):
    """The order is another one than in memory, but every sample is in every epoch, and a file sorted by class will do."""
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(C), 400)
    X = (rng.integers(0, 100, (1200, 40)) + 100 * np.eye(40)[y]).astype(np.uint8)
    file, _ = stored(X, "uint8", tmp_path)
    for model in (
        fastclf.FastLinearClassifier(random_state=0, max_iter=30, tol=None),
        fastclf.FastMLPClassifier((20,), random_state=0, max_iter=60, n_iter_no_change=60, learning_rate_init=0.01),
        fastclf.FastMLPClassifier((20,), random_state=0, max_iter=60, early_stopping=True, learning_rate_init=0.01),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert model.fit(file, y).score(file, y) > 0.9
    net = fastclf.DeepMLPClassifier(40, 20, C, random_state=0, scale=SCALE)
    net.W1 *= 20
    net.W3 *= 20
    losses = net.train(fastclf.Batches(file, y, 50, shuffle=True, random_state=0), 60, 0.5, patience=100, **QUIET)
    assert np.mean(losses[-10:]) < 0.3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_file_with_nan_is_refused_before_a_step(bad, kind, tmp_path, small_pieces):
    X, y = data(1200, 40)
    array = (X * SCALE).astype(kind)
    array[777, 13] = bad
    np.save(tmp_path / "X.npy", array)
    file = np.load(tmp_path / "X.npy", mmap_mode="r")
    for name, train in LAB.items():
        with pytest.raises(ValueError, match=rf"X.* must be finite, got {bad} at \(777, 13\)"):
            train(file, y, np.float64)
        assert name
    model = fastclf.MLPClassifier(40, H, C)
    before = model.W1.copy()
    with pytest.raises(ValueError, match="must be finite"):
        model.train(file.T, y, 1, **QUIET)
    np.testing.assert_array_equal(model.W1, before)


def test_numbers_of_a_file_too_large_for_float32(tmp_path):
    X, y = data(1200, 40)
    file, _ = stored(X * 1e300, "float64", tmp_path)
    with pytest.raises(ValueError, match="X must be finite, got inf"):
        linear(file, y, np.float32, True, True)


def test_a_column_of_a_file_is_copied(tmp_path):
    """Not C-ordered: no kernel reads it where it is."""
    X, y = data(1200, 40)
    file, array = stored(X, "float32", tmp_path)
    assert_alike(linear(file[:, ::2], y, np.float64, True, True), linear(array[:, ::2], y, np.float64, True, True))


def test_rows_of_a_set_as_numbers(dtype, tmp_path):
    X, _ = data(100, 7)
    file, array = stored(X, "float32", tmp_path)
    for rows in (Rows(file, dtype), Rows(array, dtype), Rows(X, dtype, SCALE)):
        numbers = rows.as_floats()
        expected = (X * SCALE).astype(dtype) if rows.array.dtype == np.uint8 else array.astype(dtype)
        np.testing.assert_array_equal(numbers, expected)
        order = np.array([5, 99, 5])
        np.testing.assert_array_equal(rows.as_floats(order), expected[order])
        out = np.empty((3, 7), dtype)
        assert rows.as_floats(order, out) is out
        np.testing.assert_array_equal(np.vstack([block for _, block in rows.blocks()]), expected)
        assert rows.as_floats().dtype == dtype


# ---------------------------------------------------------------- larger than memory


def trains_on_more_than_it_may_hold(path, kind, megabytes, limit):
    """Train everything on a file in memory, with a limit on what the process may allocate."""
    import resource
    import warnings

    import numpy as np

    import fastclf

    warnings.simplefilter("ignore")
    C, quiet = 10, {"verbose": False}
    X = np.load(path, mmap_mode="r")
    y = np.arange(len(X)) % C
    one = {"dtype": np.float32, "n_jobs": 1}
    assert X.nbytes >= megabytes * 1e6
    small = X[:2000]  # compile, or load, all kernels, and let every library take what it takes once

    def everything(X, y):
        yield fastclf.train_model(X, np.eye(C, dtype=np.float32)[y], 0.01, 2, True, True, **quiet, **one)[1]
        yield fastclf.train_model(X, np.eye(C, dtype=np.float32)[y], 1e-4, 1, False, True, **quiet, **one)[1]
        image = fastclf.ImageLinearClassifier(X.shape[1], C, random_state=0, **one)
        yield fastclf.train(image, X, y, 2, 0.01, **quiet)
        yield fastclf.MLPClassifier(X.shape[1], 16, C, random_state=0, **one).train(X.T, y, 2, 0.01, **quiet)
        deep = fastclf.DeepMLPClassifier(X.shape[1], 16, C, random_state=0, **one)
        yield deep.train(fastclf.Batches(X, y, 1000, shuffle=True, random_state=0), 1, 0.01, **quiet)
        linear = fastclf.FastLinearClassifier(max_iter=1, tol=None, random_state=0, n_jobs=1)
        yield linear.fit(X, y).loss_curve_
        mlp = fastclf.FastMLPClassifier((16,), max_iter=1, random_state=0, n_jobs=1)
        yield mlp.fit(X, y).loss_curve_
        yield [linear.score(X, y), mlp.score(X, y)]

    for results in everything(small, y[:2000]):
        assert np.isfinite(results).all()
    with open("/proc/self/status") as status:
        used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
    allowed = used + limit * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    try:
        np.ones(X.nbytes, np.uint8)
    except MemoryError:
        pass
    else:
        raise AssertionError("the limit does not hold")
    for results in everything(X, y):
        assert np.isfinite(results).all()
    print("allowed beyond what an empty process takes:", allowed - used)


@pytest.mark.skipif(not hasattr(__import__("os"), "register_at_fork"), reason="Windows has no resource limits")
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_larger_than_memory(kind, tmp_path):
    """A file several times larger than what the process may still allocate: 500 MB and 100 MB."""
    pytest.importorskip("resource")
    if not __import__("sys").platform.startswith("linux"):
        pytest.skip("elsewhere the limit on data counts files in memory, or nothing")
    megabytes, n = 500, 3072
    rng, m = np.random.default_rng(0), int(megabytes * 1e6 / (n * np.dtype(kind).itemsize)) + 1
    file = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", kind, (m, n))
    for start in range(0, m, 8000):
        block = rng.integers(0, 256, (min(8000, m - start), n), np.uint8)
        file[start : start + 8000] = block if kind == "uint8" else block * np.float32(SCALE)
    file.flush()
    del file
    try:
        in_new_process(trains_on_more_than_it_may_hold, str(tmp_path / "X.npy"), kind, megabytes, 100, timeout=280)
    finally:
        (tmp_path / "X.npy").unlink()  # pytest keeps the folders of the last runs
