"""Section 1 of the lab through the front door: the functions, and training with all its options."""

import numpy as np
import pytest

import fastclf
from fastclf import reference
from fastclf.engine import descent
from fastclf.engine.descent import NarrowTrainer, WideTrainer, trainer_for
from fastclf.engine.minibatch import Samples
from fastclf.engine.rows import Rows

from ..helpers import DTYPES, ONE_STEP, TRAJECTORY, assert_close, problem, reference_steps


def trained(package, p, **options):
    """train_model from the same seed, without lines."""
    np.random.seed(3)
    quiet = {} if package is reference else {"verbose": False}
    return package.train_model(p.X, p.targets, **options, **quiet)


@pytest.fixture(params=[True, False], ids=["batch", "sgd"])
def batch(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["softmax", "sigmoid"])
def multiclass(request):
    return request.param


@pytest.fixture(params=[4, 40], ids=["narrow", "wide"])
def data(request, multiclass):
    return problem(60, request.param, 5 if multiclass else 1, sigmoid=not multiclass)


# ---------------------------------------------------------------- the building blocks


def test_building_blocks_are_the_references():
    X, _, targets, theta = problem(20, 6, 4)
    Xb = reference.add_bias_term(X)
    scores = Xb @ theta
    p = reference.softmax(scores)
    for name, args in {
        "add_bias_term": (X,),
        "linear_prediction": (Xb, theta),
        "sigmoid": (scores,),
        "softmax": (scores,),
        "categorical_cross_entropy_loss": (targets, p),
        "binary_cross_entropy_loss": (targets, p),
        "gradient_descent_step": (Xb, targets, p, theta, 0.5, True),
    }.items():
        np.testing.assert_array_equal(getattr(fastclf, name)(*args), getattr(reference, name)(*args), err_msg=name)


@pytest.mark.parametrize("with_bias_column", [True, False])
def test_an_sgd_step(data, multiclass, with_bias_column):
    """theta fits X as it is: the column of ones is the caller's business, and without it there is no bias."""
    X, theta = (reference.add_bias_term(data.X), data.theta) if with_bias_column else (data.X, data.theta[1:])
    before = theta.copy()
    expected = reference.stochastic_gradient_descent_step(X, data.targets, theta, 0.5, multiclass)
    got = fastclf.stochastic_gradient_descent_step(X, data.targets, theta, 0.5, multiclass)
    assert_close(ONE_STEP[got.dtype], theta=(got, expected))
    np.testing.assert_array_equal(theta, before)


def test_a_descent_step_leaves_theta_alone(data, multiclass):
    theta = data.theta.copy()
    X = reference.add_bias_term(data.X)
    new = fastclf.gradient_descent_step(X, data.targets, np.zeros_like(data.targets), theta, 0.5, multiclass)
    np.testing.assert_array_equal(theta, data.theta)
    assert not np.array_equal(new, theta)


def test_initialisation():
    X, y = np.zeros((9, 4)), np.zeros((9, 3))
    expected = 0.01 * np.random.RandomState(5).randn(4, 3)
    np.random.seed(5)
    np.testing.assert_array_equal(fastclf.initialize_parameters(X, y, True), expected)
    np.testing.assert_array_equal(fastclf.initialize_parameters(X, y, True, random_state=5), expected)
    single = fastclf.initialize_parameters(X, y, False, random_state=5, dtype=np.float32)
    assert single.shape == (4, 1)
    assert single.dtype == np.float32


def test_far_scores_make_no_warnings(recwarn):
    z = np.array([[-1e4, 0, 1e4]])
    np.testing.assert_array_equal(fastclf.sigmoid(z), [[0, 0.5, 1]])
    np.testing.assert_array_equal(fastclf.softmax(z), [[0, 0, 1]])
    assert not recwarn


def test_losses_take_a_column_for_a_vector():
    y, p = np.array([1.0, 0, 1]), np.array([0.9, 0.2, 0.6])
    expected = -np.mean(np.log([0.9, 0.8, 0.6]))
    for a, b in ((y, p), (y[:, None], p), (y, p[:, None]), (y[:, None], p[:, None])):
        assert fastclf.binary_cross_entropy_loss(a, b) == pytest.approx(expected, rel=1e-14)


# ---------------------------------------------------------------- training


def test_training_is_the_references(data, batch, multiclass):
    options = {"learning_rate": 0.1, "iterations": 40, "batch": batch, "multiclass": multiclass}
    theta, losses = trained(reference, data, **options)
    got_theta, got_losses = trained(fastclf, data, **options)
    assert_close(TRAJECTORY, theta=(got_theta, theta), losses=(got_losses, losses))
    assert isinstance(got_losses, list)
    assert all(type(loss) is float for loss in got_losses)
    assert got_theta.dtype == np.float64


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 3, 2), (2, 1, 3), (3, 33, 2), (5, 2, 17), (300, 33, 12), (1, 100, 1)], ids=str
)
def test_odd_shapes(shape, batch):
    data = problem(*shape)
    options = {"learning_rate": 0.1, "iterations": 5, "batch": batch, "multiclass": True}
    theta, losses = trained(reference, data, **options)
    got_theta, got_losses = trained(fastclf, data, **options)
    assert_close(TRAJECTORY, theta=(got_theta, theta), losses=(got_losses, losses))


def test_the_defaults_are_a_thousand_batch_steps_at_a_hundredth():
    data = problem(20, 3, 1, sigmoid=True)
    theta, losses = trained(reference, data)
    got_theta, got_losses = trained(fastclf, data)
    assert len(got_losses) == 1000
    assert_close(TRAJECTORY, theta=(got_theta, theta), losses=(got_losses, losses))


def test_no_iterations(data, multiclass):
    np.random.seed(3)
    start = 0.01 * np.random.randn(data.X.shape[1] + 1, data.targets.shape[1])
    theta, losses = trained(fastclf, data, iterations=0, multiclass=multiclass)
    np.testing.assert_array_equal(theta, start)
    assert losses == []


def test_one_dimensional_targets_are_a_column(batch):
    """The lab broadcasts them to a matrix: a difference on purpose."""
    p = problem(60, 4, 1, sigmoid=True)
    options = {"learning_rate": 0.1, "iterations": 10, "batch": batch}
    expected = trained(fastclf, p, **options)
    theta, losses = trained(fastclf, p._replace(targets=p.targets[:, 0]), **options)
    np.testing.assert_array_equal(theta, expected[0])
    assert losses == expected[1]


def test_losses_are_bounded_by_the_clip(batch):
    """A probability of 1 for the other class costs about 15 ln 10: as in the lab, log(1 - p) of the p that is next to 1."""
    X, y = np.array([[1e6], [1e6]]), np.array([[1.0], [0.0]])
    _, losses = fastclf.train_model(X, y, 1.0, 3, batch, verbose=False, random_state=0)
    most = -np.log(1 - (1 - 1e-15))
    assert all(loss <= most for loss in losses)
    assert max(losses) == pytest.approx(most / 2, rel=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_a_diverging_run_says_so(batch, multiclass):
    p = problem(60, 4, 3 if multiclass else 1, sigmoid=not multiclass)
    X = p.X * 1e200
    with pytest.warns(fastclf.TrainingDivergedWarning, match=r"epoch \d: .* Try a smaller learning rate") as caught:
        theta, losses = fastclf.train_model(X, p.targets, 1e308, 5, batch, multiclass, verbose=False, random_state=0)
    assert [w.filename for w in caught if w.category is fastclf.TrainingDivergedWarning] == [__file__]
    assert len(losses) < 5
    before, same = fastclf.train_model(
        X, p.targets, 1e308, len(losses) - 1, batch, multiclass, verbose=False, random_state=0
    )
    assert same == losses[:-1]
    np.testing.assert_array_equal(theta, before)  # the last that is finite
    assert np.isfinite(theta).all()


def test_float32(data, batch, multiclass):
    single = data._replace(X=data.X.astype(np.float32), targets=data.targets.astype(np.float32))
    options = {"learning_rate": 0.1, "iterations": 1, "batch": batch, "multiclass": multiclass}
    theta, losses = trained(reference, single, **options)
    got_theta, got_losses = trained(fastclf, single, **options, dtype=np.float32)
    assert got_theta.dtype == np.float32
    assert_close(ONE_STEP[got_theta.dtype], theta=(got_theta, theta), losses=(got_losses, losses))


def test_float32_data_are_trained_in_float64_unless_asked(data, batch, multiclass):
    single = data._replace(X=data.X.astype(np.float32))
    double = data._replace(X=single.X.astype(np.float64))
    options = {"iterations": 3, "batch": batch, "multiclass": multiclass}
    got, expected = (trained(fastclf, p, **options)[0] for p in (single, double))
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("make", [lambda s: s, np.random.RandomState], ids=["seed", "RandomState"])
def test_a_random_state_is_a_seed_of_the_global_generator(make, data, multiclass):
    np.random.seed(7)
    expected, _ = fastclf.train_model(data.X, data.targets, 0.1, 3, True, multiclass, verbose=False)
    state = np.random.get_state()[1].copy()
    got, _ = fastclf.train_model(data.X, data.targets, 0.1, 3, True, multiclass, verbose=False, random_state=make(7))
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # the global generator was not touched


def test_a_generator_is_drawn_from(data, multiclass):
    got, _ = fastclf.train_model(
        data.X, data.targets, 0.1, 0, True, multiclass, verbose=False, random_state=np.random.default_rng(7)
    )
    np.testing.assert_array_equal(got, 0.01 * np.random.default_rng(7).standard_normal(got.shape))


def test_the_global_generator_is_drawn_from_once(data, multiclass):
    np.random.seed(3)
    np.random.randn(data.X.shape[1] + 1, data.targets.shape[1])
    expected = np.random.rand()
    trained(fastclf, data, iterations=2, multiclass=multiclass)
    assert np.random.rand() == expected


# ---------------------------------------------------------------- the choice of a kernel


def test_small_shapes_are_narrow(batch):
    def kind(n, c, dtype):
        p = problem(10, n, c, dtype)
        return type(trainer_for(Samples(Rows(p.X, p.X.dtype), targets=p.targets), c))

    for dtype in DTYPES:
        assert kind(3, 2, dtype) is NarrowTrainer
        assert kind(3072, 2, dtype) is WideTrainer
        assert kind(3, 17, dtype) is WideTrainer


def test_both_kinds_train_alike(batch, monkeypatch):
    p = problem(60, 4, 2)
    options = {"learning_rate": 0.1, "iterations": 40, "batch": batch, "multiclass": True}
    theta, losses = trained(fastclf, p, **options)
    monkeypatch.setattr(descent, "NarrowTrainer", WideTrainer)
    wide_theta, wide_losses = trained(fastclf, p, **options)
    assert_close(TRAJECTORY, theta=(wide_theta, theta), losses=(wide_losses, losses))


def test_parameters_pass_through_a_trainer_unchanged():
    p = problem(10, 5, 3)
    for kind in (NarrowTrainer, WideTrainer):
        made = kind(Samples(Rows(p.X, p.X.dtype), targets=p.targets), 3)
        made.set_theta(p.theta)
        np.testing.assert_array_equal(made.theta(), p.theta)
        made.theta()[:] = 0  # a copy
        np.testing.assert_array_equal(made.theta(), p.theta)


# ---------------------------------------------------------------- callbacks


def test_callbacks_see_what_a_shorter_run_returns(data, batch, multiclass):
    seen = []

    def callback(iteration, loss, theta):
        seen.append((iteration, loss, theta.copy()))
        theta[:] = np.nan  # its own copy: the run is not disturbed

    options = {"learning_rate": 0.1, "batch": batch, "multiclass": multiclass}
    theta, losses = trained(fastclf, data, iterations=5, **options, callback=callback)
    expected_theta, expected_losses = trained(fastclf, data, iterations=5, **options)
    np.testing.assert_array_equal(theta, expected_theta)
    assert losses == expected_losses
    assert [(i, loss) for i, loss, _ in seen] == list(enumerate(losses))
    for i, _, then in seen:
        np.testing.assert_array_equal(then, trained(fastclf, data, iterations=i + 1, **options)[0])


def test_a_true_callback_stops(data, multiclass):
    options = {"multiclass": multiclass}
    theta, losses = trained(fastclf, data, iterations=9, **options, callback=lambda i, loss, theta: i == 2)
    expected = trained(fastclf, data, iterations=3, **options)
    assert losses == expected[1]
    np.testing.assert_array_equal(theta, expected[0])


def test_lines(capsys):
    p = problem(20, 3, 1, sigmoid=True)
    np.random.seed(0)
    reference.train_model(p.X, p.targets, 0.01, 201)
    expected = capsys.readouterr().out
    np.random.seed(0)
    fastclf.train_model(p.X, p.targets, 0.01, 201)
    assert capsys.readouterr().out == expected
    assert expected.count("\n") == 3


def test_an_unknown_target_is_a_probability_too():
    """Targets need not be one-hot, nor sum to one row by row in the sigmoid's case."""
    p = problem(30, 4, 3)
    theta, losses = trained(fastclf, p, iterations=3, multiclass=True)
    np.random.seed(3)
    expected_losses, expected = reference_steps(p.X, p.targets, 0.01 * np.random.randn(5, 3), 0.01, 3)
    assert_close(TRAJECTORY, theta=(theta, expected), losses=(losses, expected_losses))
