"""Both estimators among scikit-learn's own tools."""

import inspect
import json
import subprocess
import sys
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
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastclf import FastLinearClassifier, FastMLPClassifier

from .data import LOADERS, load

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load("digits")
BOTH = [FastLinearClassifier, FastMLPClassifier]
both = pytest.mark.parametrize("kind", BOTH)


@parametrize_with_checks([kind() for kind in BOTH])
def test_scikit_learns_own_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@both
def test_tags_say_what_is_true(kind):
    tags = get_tags(kind())
    assert tags.input_tags.sparse == (kind is FastLinearClassifier)
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


def run_ten_ways(swapped):
    source = (Path(__file__).parent / "ten_ways.py").read_text()
    if swapped:
        for theirs, ours in (
            (
                "from sklearn.linear_model import SGDClassifier",
                "from fastclf import FastLinearClassifier as SGDClassifier",
            ),
            (
                "from sklearn.neural_network import MLPClassifier",
                "from fastclf import FastMLPClassifier as MLPClassifier",
            ),
        ):
            assert source.count(theirs) == 1
            source = source.replace(theirs, ours)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ten_ordinary_ways():
    theirs, ours = run_ten_ways(swapped=False), run_ten_ways(swapped=True)
    assert ours.keys() == theirs.keys()
    for way, score in ours.items():
        assert score > 0.8, way
        assert score > theirs[way] - 0.03, way


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
