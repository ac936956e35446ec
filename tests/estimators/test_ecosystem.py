"""Both estimators among scikit-learn's own tools."""

import inspect
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils._test_common.instance_generator import PER_ESTIMATOR_XFAIL_CHECKS
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastclf import FastLinearClassifier, FastMLPClassifier

from .data import LOADERS, load

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load("digits")
BOTH = [FastLinearClassifier, FastMLPClassifier]
both = pytest.mark.parametrize("kind", BOTH)


def expected_to_fail(estimator):
    """The checks that scikit-learn expects its own class to fail: per-sample SGD takes a sample of weight 2 once."""
    twin = SGDClassifier if isinstance(estimator, FastLinearClassifier) else MLPClassifier
    return PER_ESTIMATOR_XFAIL_CHECKS.get(twin, {})


@parametrize_with_checks([kind() for kind in BOTH], expected_failed_checks=expected_to_fail)
def test_scikit_learns_own_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@both
def test_tags_say_what_is_true(kind):
    tags = get_tags(kind())
    assert tags.input_tags.sparse
    assert tags.classifier_tags.multi_label == (kind is FastMLPClassifier)
    assert tags.classifier_tags.multi_class
    assert not tags.input_tags.allow_nan


@both
def test_pipeline_and_grid_search_in_two_processes(kind):
    name = kind.__name__.lower()
    pipeline = make_pipeline(StandardScaler(), kind(max_iter=5, random_state=0))
    search = GridSearchCV(pipeline, {f"{name}__alpha": [1e-4, 1.0], f"{name}__max_iter": [2, 20]}, cv=3, n_jobs=2)
    search.fit(X, y)
    assert search.best_score_ > 0.85
    assert search.best_params_[f"{name}__max_iter"] == 20
    in_one = clone(search).set_params(n_jobs=1).fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], in_one.cv_results_["mean_test_score"])


@both
def test_warnings_point_at_the_line_that_fits(kind):
    """Also through a pipeline and a search."""
    model = kind(max_iter=2, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model)
    for fitted, given, category in (
        (model, y, ConvergenceWarning),
        (model, y[:, None], DataConversionWarning),
        (pipeline, y, ConvergenceWarning),
        (GridSearchCV(pipeline, {}, cv=2), y, ConvergenceWarning),
    ):
        line = inspect.currentframe().f_lineno + 2
        with pytest.warns(category) as caught:
            fitted.fit(X, given)
        assert {(w.filename, w.lineno) for w in caught} == {(__file__, line)}


@both
def test_calibration(kind):
    calibrated = CalibratedClassifierCV(kind(max_iter=30, random_state=0), cv=3).fit(X, y)
    P = calibrated.predict_proba(X)
    assert calibrated.score(X, y) > 0.9
    np.testing.assert_allclose(P.sum(axis=1), 1)


@both
def test_parameters_are_kept_as_they_are_set(kind):
    model = kind().set_params(alpha=0.5, random_state=3, max_iter=2)
    assert clone(model).get_params() == model.get_params()
    assert kind(**model.get_params()).alpha == 0.5


@both
def test_metadata_routing(kind):
    weights = np.random.default_rng(0).random(len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            kind(max_iter=3, random_state=0).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        )
        results = cross_validate(model, X, y, params={"sample_weight": weights}, cv=3, return_estimator=True)
    plain = kind(max_iter=3, random_state=0)
    train = next(iter(StratifiedKFold(3).split(X, y)))[0]
    expected = plain.fit(X[train], y[train], sample_weight=weights[train])
    np.testing.assert_array_equal(results["estimator"][0].predict_proba(X), expected.predict_proba(X))


def test_validation_data_can_be_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        model = FastMLPClassifier().set_fit_request(X_val=True, y_val=True)
        assert model.get_metadata_routing().fit.requests["X_val"]


@both
def test_data_frames(kind):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    model = kind(max_iter=2, random_state=0).fit(frame, pd.Series(y))
    assert model.feature_names_in_[5] == "pixel 5"
    np.testing.assert_array_equal(model.predict(frame), kind(max_iter=2, random_state=0).fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"pixel 0": "another"}))


@both
def test_callbacks(kind, capsys):
    callback = pytest.importorskip("sklearn.callback")
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = kind(max_iter=3, random_state=0).set_callbacks(callback.ProgressBar(), monitor)
    model.fit(X, y)
    scores = [record["accuracy"] for record in monitor.get_logs().data if record["task_name"] == "epoch"]
    assert len(scores) == 3
    assert scores[-1] == model.score(X, y)
    plain = kind(max_iter=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


def test_callbacks_are_cleanly_absent_before_scikit_learn_has_them():
    """In a process where there is no sklearn.callback."""
    program = (
        "import sys; sys.modules['sklearn.callback'] = None\n"
        "import numpy as np, warnings; warnings.simplefilter('ignore')\n"
        "from fastclf import FastLinearClassifier, FastMLPClassifier\n"
        "X = np.random.rand(150, 3); y = (X[:, 0] > 0.5).astype(int)\n"
        "for kind in (FastLinearClassifier, FastMLPClassifier):\n"
        "    assert not hasattr(kind, 'set_callbacks')\n"
        "    kind(max_iter=2).fit(X, y).predict(X)\n"
    )
    blocked = (
        "import sklearn.base\n"  # scikit-learn itself has imported it by now
        "import sklearn.linear_model, sklearn.model_selection, sklearn.preprocessing, sklearn.neural_network\n"
    )
    subprocess.run([sys.executable, "-c", blocked + program], check=True, timeout=120)


# ---------------------------------------------------------------- thirty ordinary ways

SWAPS = {
    "from sklearn.linear_model import SGDClassifier": "from fastclf import FastLinearClassifier as SGDClassifier",
    "from sklearn.neural_network import MLPClassifier": "from fastclf import FastMLPClassifier as MLPClassifier",
}
NAMES = {"FastLinearClassifier": "SGDClassifier", "FastMLPClassifier": "MLPClassifier", " of scikit-learn": ""}


def load_ways(swaps):
    """The ways of ``thirty_ways.py``, with its import lines swapped."""
    path = Path(__file__).with_name("thirty_ways.py")
    source = path.read_text()
    for theirs, ours in swaps.items():
        assert source.count(theirs) == 1
        source = source.replace(theirs, ours)
    module = types.ModuleType("thirty_ways")
    exec(compile(source, path, "exec"), vars(module))
    return module.WAYS


THEIRS, OURS = load_ways({}), load_ways(SWAPS)


def leaves(seen):
    """What a way has returned, without its nesting, and with our names where errors name a class."""
    if isinstance(seen, (list, tuple)):
        for part in seen:
            yield from leaves(part)
    elif isinstance(seen, str):
        for ours, theirs in NAMES.items():
            seen = seen.replace(ours, theirs)
        yield seen
    else:
        yield seen


def looked_at(way, seed):
    """What a way returns: its scores, everything else, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen = [*leaves(way(seed))]
    said = {(w.category.__name__, *leaves(str(w.message))) for w in caught}
    return [s for s in seen if isinstance(s, float)], [s for s in seen if not isinstance(s, float)], said


def test_there_are_thirty_ways():
    assert len(THEIRS) == len(OURS) == 30


@pytest.mark.parametrize("name", THEIRS)
def test_ordinary_ways(name):
    theirs, ours = ([looked_at(ways[name], seed) for seed in range(3)] for ways in (THEIRS, OURS))
    for (_, their_facts, their_warnings), (_, our_facts, our_warnings) in zip(theirs, ours):
        assert our_facts == their_facts
        assert our_warnings == their_warnings
    their_scores, our_scores = (np.mean([scores for scores, _, _ in runs], axis=0) for runs in (theirs, ours))
    assert (our_scores > their_scores - 0.03).all(), (our_scores, their_scores)


def test_skops(tmp_path):
    """A file of skops names the types that ``docs/differences.md`` names, and gives the same model."""
    skops = pytest.importorskip("skops.io")
    page = (Path(__file__).parents[2] / "docs" / "differences.md").read_text()
    for model in (
        FastLinearClassifier(random_state=0, average=True), FastMLPClassifier(max_iter=3, random_state=0),
        FastMLPClassifier(max_iter=3, random_state=0, solver="sgd", early_stopping=True),
    ):  # fmt: skip
        skops.dump(model.fit(X, y), tmp_path / "model")
        types_ = skops.get_untrusted_types(file=tmp_path / "model")
        assert all(f"`{name}`" in page for name in types_)
        loaded = skops.load(tmp_path / "model", trusted=types_)
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
        if not model.early_stopping:
            np.testing.assert_array_equal(
                loaded.partial_fit(X, y).predict_proba(X), model.partial_fit(X, y).predict_proba(X)
            )


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (FastLinearClassifier(batch_size=1, random_state=0), SGDClassifier(loss="log_loss", random_state=0)),
        (FastMLPClassifier(max_iter=60, random_state=0), MLPClassifier(max_iter=60, random_state=0)),
    ],
    ids=["linear", "mlp"],
)
def test_accuracy_is_not_worse_than_scikit_learns(ours, theirs, name):
    """By no more than one standard error of the mean over five folds."""
    data, labels = load(name)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    a, b = (cross_val_score(model, data, labels, cv=folds) for model in (ours, theirs))
    error = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    assert a.mean() >= b.mean() - error, (a, b)
