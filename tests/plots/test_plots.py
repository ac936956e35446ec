"""The displays: what is on the axes is what was given, and nothing else is touched."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastclf
from fastclf import FastLinearClassifier, FastMLPClassifier, reference
from fastclf.plots import DecisionBoundary, LossCurveDisplay, WeightTemplatesDisplay
from fastclf.plots.common import COLOURS, colour

from ..helpers import in_new_process

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def pyplot_is_not_asked(monkeypatch):
    """Unless a test says otherwise, by asking for new_figures."""
    pyplot.switch_backend("Agg")
    monkeypatch.setattr(pyplot, "figure", None)
    yield
    assert pyplot.get_fignums() == []


@pytest.fixture
def new_figures(pyplot_is_not_asked, monkeypatch):
    monkeypatch.undo()
    yield
    pyplot.close("all")


def subplots(*shape):
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure.subplots(*shape)


def draw(ax):
    """Everything is drawn once, which raises if something can not be."""
    ax.figure.canvas.draw()


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def as_rgba(*colours):
    return [to_rgba(c) for c in colours]


@pytest.fixture(scope="module")
def plane():
    """Three classes in a plane, and their names."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    return rng.normal(size=(60, 2)) + 3 * np.eye(3, 2)[labels], labels, np.array(["ant", "bee", "cow"])[labels]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.random((40, 12)), np.arange(40) % 4


# ---------------------------------------------------------------- losses


def test_a_loss_curve_is_the_losses_by_epoch(plane):
    X, labels, _ = plane
    _, losses = fastclf.train_model(X, np.eye(3)[labels], 0.1, 7, multiclass=True)
    ax = subplots()
    display = LossCurveDisplay.from_losses(losses, ax=ax)
    (line,) = ax.lines
    assert display.lines_ == [line]
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    np.testing.assert_array_equal(line.get_xydata(), np.column_stack([range(1, 8), losses]))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss (nats)")
    assert ax.get_legend() is None
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] > 1.02 * max(losses)
    draw(ax)
    few = LossCurveDisplay.from_losses(losses[:3], ax=subplots()).ax_
    assert {*few.get_xticks()} >= {1, 2, 3}
    assert all(tick.is_integer() for tick in few.get_xticks())


def test_several_curves_have_names_colours_and_dashes_of_their_own():
    curves = {"one": [3, 2, 1], "two": np.float32([3, 2, 1]), "": (2, 2)}
    ax = subplots()
    display = LossCurveDisplay.from_losses(curves, ax=ax)
    assert legend(ax) == ["one", "two"]
    for line, losses in zip(display.lines_, curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), losses)
    assert [line.get_color() for line in display.lines_] == list(COLOURS[:3])
    assert len({line.get_linestyle() for line in display.lines_}) == 3
    LossCurveDisplay(curves).plot(other := subplots(), legend=False)
    assert other.get_legend() is None


def test_estimators_show_their_losses(plane):
    X, labels, _ = plane
    linear = FastLinearClassifier(max_iter=5, random_state=0).fit(X, labels)
    mlp = FastMLPClassifier((4,), max_iter=6, random_state=0).fit(X, labels)
    watched = FastMLPClassifier((4,), max_iter=6, random_state=0).fit(X, labels, X_val=X[:9], y_val=labels[:9])
    for model in (linear, mlp):
        display = LossCurveDisplay.from_estimator(model, ax=subplots())
        assert legend(display.ax_) == ["training"]
        np.testing.assert_array_equal(display.lines_[0].get_ydata(), model.loss_curve_)
    display = LossCurveDisplay.from_estimator(watched, ax=subplots())
    assert legend(display.ax_) == ["training", "validation"]
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), watched.loss_curve_)
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), watched.validation_loss_curve_)


def test_styles_for_all_curves_or_for_each():
    curves = LossCurveDisplay({"a": [1, 2], "b": [2, 1]})
    curves.plot(subplots(), curve_kwargs={"lw": 5})
    assert [line.get_linewidth() for line in curves.lines_] == [5, 5]
    assert [line.get_color() for line in curves.lines_] == list(COLOURS[:2])
    curves.plot(subplots(), curve_kwargs=[{"color": "black"}, {"ls": ":"}])
    assert [line.get_color() for line in curves.lines_] == ["black", COLOURS[1]]
    assert curves.lines_[1].get_linestyle() == ":"
    with pytest.raises(ValueError, match="curve_kwargs must have 2 entries, one per curve, got 1"):
        curves.plot(subplots(), curve_kwargs=[{}])


def test_curves_that_are_hard_to_see():
    """One epoch, none of the losses a number, a flat curve, losses below 0: each is drawn so that it shows."""
    single = LossCurveDisplay.from_losses([0.5], ax=subplots())
    assert single.lines_[0].get_marker() == "o"
    broken = LossCurveDisplay.from_losses([1.0, np.inf, np.nan], ax=subplots())
    assert broken.ax_.get_ylim()[1] == pytest.approx(1.05)
    flat = LossCurveDisplay.from_losses([2.302, 2.302, 2.301], ax=subplots())
    assert flat.ax_.get_ylim() == pytest.approx((0, 2.302 * 1.05))
    negative = LossCurveDisplay.from_losses([1, -3], ax=subplots())
    assert negative.ax_.get_ylim()[0] < -3
    for display in (single, broken, flat, negative):
        draw(display.ax_)


def test_what_is_no_losses_is_said(plane):
    with pytest.raises(ValueError, match=r"losses of 'a' must be one number per epoch, got shape \(1, 2\)"):
        LossCurveDisplay({"a": [[1, 2]]})
    with pytest.raises(ValueError, match=r"losses must be one number per epoch, got shape \(0,\)"):
        LossCurveDisplay.from_losses([])
    with pytest.raises(TypeError, match="losses of 'a' must be an array of real numbers"):
        LossCurveDisplay({"a": ["high", "low"]})
    with pytest.raises(TypeError, match="curves must map names to losses, got list"):
        LossCurveDisplay([1, 2])
    with pytest.raises(ValueError, match="at least one curve"):
        LossCurveDisplay({})
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(FastLinearClassifier())
    with pytest.raises(TypeError, match="estimator must have a loss_curve_, got StandardScaler"):
        LossCurveDisplay.from_estimator(StandardScaler().fit(plane[0]))


# ---------------------------------------------------------------- templates


def shown(display):
    return [ax.images[0].get_array() for ax in display.axes_]


def titles(display):
    return [ax.get_title() for ax in display.axes_]


def test_templates_are_the_weights():
    weights = np.arange(24.0).reshape(4, 6) - 7
    axes = subplots(2, 3)
    display = WeightTemplatesDisplay(weights, (2, 3), "abcd").plot(axes)
    assert display.figure_ is axes[0, 0].figure
    assert [*display.axes_] == [*axes.ravel()[:4]]
    assert titles(display) == [*"abcd"]
    for row, image in zip(weights, shown(display), strict=True):
        np.testing.assert_array_equal(image, row.reshape(2, 3) / np.abs(row).max())
        np.testing.assert_array_equal([display.axes_[0].images[0].norm(v) for v in (-1, 0, 1)], [0, 0.5, 1])
    assert not any(ax.axison for ax in axes.ravel())
    assert not axes[1, 1].images
    draw(axes[0, 0])


@pytest.mark.parametrize(
    ("shape", "to_rows"), [((3, 2, 5), (1, 2, 0)), ((2, 5, 3), (0, 1, 2)), ((3, 2, 3), (1, 2, 0))], ids=str
)
def test_three_channels_are_colours_around_grey(shape, to_rows):
    weights = np.random.default_rng(0).normal(size=(2, np.prod(shape)))
    weights[1, 0] = 0
    display = WeightTemplatesDisplay(weights, shape).plot(subplots(2))
    for row, image in zip(weights, shown(display), strict=True):
        expected = 0.5 + 0.5 * row.reshape(shape).transpose(to_rows) / np.abs(row).max()
        np.testing.assert_allclose(image, expected, rtol=1e-15)
    assert shown(display)[1][0, 0, 0] == 0.5


def test_shapes_are_guessed_where_they_can_be():
    for n, shape in ((64, (8, 8)), (3072, (3, 32, 32)), (1, (1, 1)), (12, (3, 2, 2))):
        assert WeightTemplatesDisplay(np.ones((1, n))).shape == shape
    for shape in ((1, 2, 3), (2, 3, 1), (2, 3)):
        np.testing.assert_array_equal(WeightTemplatesDisplay(np.ones((1, 6)), shape).images[0], np.ones((2, 3)))
    np.testing.assert_array_equal(WeightTemplatesDisplay(np.zeros((1, 4))).images[0], np.zeros((2, 2)))


def test_templates_of_every_model(images):
    X, y = images
    linear = FastLinearClassifier(max_iter=3, random_state=0).fit(X, np.array([*"wxyz"])[y])
    binary = FastLinearClassifier(max_iter=3, random_state=0).fit(X, np.array(["no", "yes"])[y % 2])
    mlp = FastMLPClassifier((7,), max_iter=3, random_state=0).fit(X, y)
    image = fastclf.ImageLinearClassifier(12, 4, random_state=0)
    deep = fastclf.DeepMLPClassifier(12, 5, 4, random_state=0)
    expected = {
        linear: (linear.coef_, [*"wxyz"]),
        binary: (binary.coef_, ["yes"]),
        mlp: (mlp.coefs_[0].T, [*"0123456"]),
        image: (image.W, [*"0123"]),
        deep: (deep.W1, [*"01234"]),
    }
    for model, (weights, names) in expected.items():
        display = WeightTemplatesDisplay.from_estimator(model, (3, 4), ax=subplots(len(names)))
        assert titles(display) == names
        for row, drawn in zip(weights, shown(display), strict=True):
            np.testing.assert_allclose(drawn, row.reshape(3, 4) / np.abs(row).max(), rtol=1e-15)
    few = WeightTemplatesDisplay.from_estimator(mlp, (3, 4), n_units=2, names=["p", "q"], ax=subplots(2))
    assert titles(few) == ["p", "q"]
    np.testing.assert_array_equal(
        WeightTemplatesDisplay.from_estimator(linear.sparsify(), (3, 4), ax=subplots(4)).images,
        WeightTemplatesDisplay(linear.coef_.toarray(), (3, 4)).images,
    )


def test_templates_of_theta_leave_the_bias_out(images):
    X, y = images
    for targets, names in ((np.eye(4)[y], [*"0123"]), (y % 2, ["1"])):
        theta, _ = fastclf.train_model(X, targets, 0.1, 3, multiclass=targets.ndim == 2)
        display = WeightTemplatesDisplay.from_theta(theta, (3, 4), ax=subplots(len(names)))
        assert titles(display) == names
        np.testing.assert_array_equal(display.images, WeightTemplatesDisplay(theta[1:].T, (3, 4)).images)


def test_one_template_goes_on_one_axes():
    ax = subplots()
    assert [*WeightTemplatesDisplay(np.ones((1, 9))).plot(ax).axes_] == [ax]


def test_what_is_no_template_is_said():
    weights = np.ones((2, 10))
    with pytest.raises(ValueError, match="shape must be given: 10 features are neither a square image"):
        WeightTemplatesDisplay(weights)
    with pytest.raises(ValueError, match=r"shape must hold 10 numbers, one per feature, got \(2, 4\), which holds 8"):
        WeightTemplatesDisplay(weights, (2, 4))
    with pytest.raises(ValueError, match=r"shape must be \(H, W\), .* got \(10,\)"):
        WeightTemplatesDisplay(weights, (10,))
    with pytest.raises(ValueError, match=r"with C 1 or 3, got \(2, 5, 2\)"):
        WeightTemplatesDisplay(np.ones((1, 20)), (2, 5, 2))
    with pytest.raises(ValueError, match=r"shape must be \(H, W\), .* got \(10,\)"):
        WeightTemplatesDisplay(weights, 10)
    with pytest.raises(TypeError, match="a size of shape must be a whole number"):
        WeightTemplatesDisplay(weights, (4, 2.5))
    with pytest.raises(ValueError, match="names must have 2 entries, one per image, got 3"):
        WeightTemplatesDisplay(weights, (2, 5), "abc")
    with pytest.raises(ValueError, match="weights must be 2-dimensional"):
        WeightTemplatesDisplay(weights[0], (2, 5))
    with pytest.raises(ValueError, match="ax must hold 2 Axes, one per image, got 1"):
        WeightTemplatesDisplay(weights, (2, 5)).plot(subplots())
    with pytest.raises(ValueError, match="n_units must be at least 1"):
        WeightTemplatesDisplay.from_estimator(fastclf.MLPClassifier(4, 2, 2), n_units=0)
    with pytest.raises(NotFittedError):
        WeightTemplatesDisplay.from_estimator(FastMLPClassifier())
    with pytest.raises(TypeError, match="estimator must have coef_, coefs_, W or W1, got dict"):
        WeightTemplatesDisplay.from_estimator({})
    with pytest.raises(ValueError, match=r"theta must have shape \(n_features \+ 1, n_classes\), got \(1, 3\)"):
        WeightTemplatesDisplay.from_theta([[1, 2, 3]])


# ---------------------------------------------------------------- decision boundaries


def grid_of(display):
    """The points of a boundary's plane, and the class number that is drawn at each."""
    boundary = display.boundary_
    regions = np.asarray(boundary.surface_.get_array()).ravel()
    return np.column_stack([boundary.xx0.ravel(), boundary.xx1.ravel()]), regions


def test_a_boundary_shows_predictions_and_samples(plane):
    X, labels, names = plane
    model = make_pipeline(StandardScaler(), FastMLPClassifier((8,), max_iter=50, random_state=0)).fit(X, names)
    ax = subplots()
    display = DecisionBoundary.from_estimator(model, X, names, ax=ax, grid_resolution=30)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    points, regions = grid_of(display)
    assert len(points) == 900
    assert {*regions} == {0, 1, 2}
    np.testing.assert_array_equal(model.classes_[regions.astype(int)], model.predict(points))
    assert (points.min(axis=0) < X.min(axis=0)).all()
    assert (points.max(axis=0) > X.max(axis=0)).all()

    assert legend(ax) == ["ant", "bee", "cow"]
    _, *samples = ax.collections
    for k, drawn in enumerate(samples):
        np.testing.assert_array_equal(drawn.get_offsets(), X[labels == k])
        np.testing.assert_array_equal(drawn.get_facecolor(), as_rgba(colour(k)))
    surface = display.boundary_.surface_
    np.testing.assert_array_equal(surface.cmap(surface.norm(np.arange(3))), as_rgba(*COLOURS[:3]))
    draw(ax)


def test_two_classes_have_the_same_colours_as_more(plane):
    X, labels, _ = plane
    model = FastLinearClassifier(random_state=0).fit(X, labels == 2)
    display = DecisionBoundary.from_estimator(model, X, ax=subplots(), class_names=["rest", "third"])
    surface = display.boundary_.surface_
    np.testing.assert_array_equal(surface.cmap(surface.norm(np.arange(2))), as_rgba(*COLOURS[:2]))
    points, regions = grid_of(display)
    np.testing.assert_array_equal(regions, model.predict(points))
    _, samples = display.ax_.collections
    np.testing.assert_array_equal(samples.get_offsets(), X)
    assert display.ax_.get_legend() is None
    drawn = DecisionBoundary(model, X, labels == 2, class_names=["rest", "third"]).plot(subplots(), lw=3, marker="^")
    assert legend(drawn.ax_) == ["rest", "third"]
    assert [c.get_linewidth() for c in drawn.ax_.collections[1:]] == [[3], [3]]


@pytest.mark.parametrize("multiclass", [True, False])
def test_a_boundary_of_theta_is_where_its_classes_change(multiclass, plane):
    X, labels, _ = plane
    targets = np.eye(3)[labels] if multiclass else (labels == 2).astype(float).reshape(-1, 1)
    theta, _ = fastclf.train_model(X, targets, 0.1, 200, multiclass=multiclass)
    expected_labels = labels if multiclass else labels == 2
    for y in (targets, expected_labels):
        display = DecisionBoundary.from_theta(theta, X, y, ax=subplots())
        points, regions = grid_of(display)
        scores = reference.linear_prediction(reference.add_bias_term(points), theta)
        expected = scores.argmax(axis=1) if multiclass else reference.sigmoid(scores)[:, 0] >= 0.5
        np.testing.assert_array_equal(regions, expected)
        assert 0.1 < np.mean(regions == 0) < 0.9
        assert legend(display.ax_) == [*"012"][: len(theta.T) + (not multiclass)]
        for k, drawn in enumerate(display.ax_.collections[1:]):
            np.testing.assert_array_equal(drawn.get_offsets(), X[expected_labels == k])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["image", "mlp", "deep"])
def test_the_labs_classes_have_boundaries(kind, dtype, plane):
    X, labels, _ = plane
    how = {"dtype": dtype, "random_state": 0}
    if kind == "image":
        model = fastclf.ImageLinearClassifier(2, 3, **how)
    elif kind == "mlp":
        model = fastclf.MLPClassifier(2, 8, 3, **how)
    else:
        model = fastclf.DeepMLPClassifier(2, 8, 3, **how)
    for name in ("W", "W1", "W2", "W3"):
        if hasattr(model, name):
            setattr(model, name, 100 * getattr(model, name))  # from 0.01, where all classes are nearly the same
    display = DecisionBoundary.from_estimator(model, X, labels, class_names="abc", ax=subplots(), grid_resolution=50)
    points, regions = grid_of(display)
    columns = points.astype(dtype).T
    scores = model.predict(columns.T) if kind == "image" else model.forward(columns)
    best = np.sort(scores, axis=0)
    clear = best[-1] - best[-2] > 1e-5  # the two round differently
    assert clear.mean() > 0.9  # where no hidden unit is on, all are equal
    np.testing.assert_array_equal(regions[clear], scores.argmax(axis=0)[clear])
    assert len({*regions}) > 1
    assert legend(display.ax_) == [*"abc"]


def test_a_legend_of_many_classes_hides_no_samples(new_figures, plane):
    X, _, _ = plane
    labels = np.arange(len(X)) % 12
    display = DecisionBoundary.from_estimator(
        FastLinearClassifier(max_iter=3, random_state=0).fit(X, labels), X, labels
    )
    draw(display.ax_)
    box, frame = display.ax_.get_legend().get_window_extent(), display.ax_.get_window_extent()
    assert frame.x1 <= box.x0 < box.x1 <= display.figure_.bbox.x1
    assert legend(display.ax_) == [str(k) for k in range(12)]


def test_columns_with_names_label_the_axes_and_reach_the_estimator(plane, recwarn):
    X, labels, _ = plane
    frame = pd.DataFrame(X, columns=["length", "width"])
    model = FastLinearClassifier(random_state=0).fit(frame, labels)
    ax = DecisionBoundary.from_estimator(model, frame, labels, ax=subplots()).ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length", "width")
    assert not [w for w in recwarn if "feature names" in str(w.message)]


def test_bytes_lie_where_their_estimator_sees_them(plane):
    X, labels, _ = plane
    pixels = np.clip(30 * X + 120, 0, 255).astype(np.uint8)
    model = FastLinearClassifier(random_state=0, scale=1 / 255).fit(pixels, labels)
    for given in (pixels, pd.DataFrame(pixels)):
        display = DecisionBoundary.from_estimator(model, given, ax=subplots())
        np.testing.assert_allclose(display.ax_.collections[1].get_offsets(), pixels / 255, rtol=1e-15)
        points, regions = grid_of(display)
        assert points.max() < 1.2
        inside = ((points >= 0) & (points <= 1)).all(axis=1)
        as_bytes = model.predict(np.round(255 * points[inside]).astype(np.uint8))
        assert np.mean(regions[inside] == as_bytes) > 0.98  # but for the rounding


def test_samples_without_extent_are_drawn():
    model = FastLinearClassifier(random_state=0).fit([[0.0, 0.0], [1.0, 1.0]], [0, 1])
    display = DecisionBoundary.from_estimator(model, [[0.5, 0.5]], ax=subplots(), grid_resolution=3)
    np.testing.assert_array_equal(np.unique(grid_of(display)[0]), [0.4, 0.5, 0.6])


def test_what_has_no_boundary_is_said(plane):
    X, labels, names = plane
    model = FastLinearClassifier(random_state=0).fit(X, names)
    with pytest.raises(ValueError, match=r"X must have 2 features per sample, got shape \(60, 3\)"):
        DecisionBoundary.from_estimator(model, X[:, [0, 1, 1]])
    with pytest.raises(ValueError, match=r"y must have shape \(60,\), one class per sample, got \(59,\)"):
        DecisionBoundary.from_estimator(model, X, names[1:])
    with pytest.raises(ValueError, match=r"y must hold classes of the estimator, \['ant', 'bee', 'cow'\], got 0"):
        DecisionBoundary.from_estimator(model, X, labels)
    with pytest.raises(ValueError, match="class_names must have 3 entries, one per class, got 2"):
        DecisionBoundary.from_estimator(model, X, class_names="ab")
    with pytest.raises(TypeError, match="estimator must have predict and classes_, got LinearRegression"):
        DecisionBoundary.from_estimator(LinearRegression().fit(X, labels), X)
    with pytest.raises(NotFittedError):
        DecisionBoundary.from_estimator(FastLinearClassifier(), X)
    with pytest.raises(ValueError, match="a softmax of one output is always 1"):
        DecisionBoundary.from_estimator(fastclf.MLPClassifier(2, 3, 1), X)
    with pytest.raises(ValueError, match=r"theta must have 3 rows, the bias and two features, got shape \(4, 2\)"):
        DecisionBoundary.from_theta(np.ones((4, 2)), X)


# ---------------------------------------------------------------- figures


def test_without_axes_pyplot_makes_a_figure(new_figures, plane, images):
    X, labels, _ = plane
    model = FastLinearClassifier(random_state=0).fit(X, labels)
    displays = [
        LossCurveDisplay.from_estimator(model),
        DecisionBoundary.from_estimator(model, X, labels),
        WeightTemplatesDisplay(np.ones((7, 9))).plot(n_columns=3),
    ]
    assert [pyplot.figure(number) for number in pyplot.get_fignums()] == [d.figure_ for d in displays]
    assert len(displays[-1].figure_.axes) == 9
    assert len(displays[-1].axes_) == 7
    for display in displays:
        display.figure_.canvas.draw()


def without_matplotlib():
    import sys

    import pytest

    sys.modules["matplotlib"] = None
    import fastclf.plots

    with pytest.raises(ImportError, match=r"pip install 'fastclf\[lab\]'"):
        fastclf.plots.LossCurveDisplay.from_losses([1.0])


def on_given_axes_pyplot_is_not_even_imported():
    import sys

    from matplotlib.figure import Figure

    from fastclf.plots import LossCurveDisplay, WeightTemplatesDisplay

    axes = Figure().subplots(2)
    LossCurveDisplay.from_losses([1.0, 2.0], ax=axes[0])
    WeightTemplatesDisplay([[1, 2, 3, 4]]).plot(axes[1])
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("check", [without_matplotlib, on_given_axes_pyplot_is_not_even_imported])
def test_in_a_fresh_interpreter(check):
    in_new_process(check)
