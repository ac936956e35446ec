"""Thirty ordinary ways to use scikit-learn's two classes. A test runs them as they are, and with their import lines swapped.

Each way takes a seed, and returns what there is to see of it. Scores are floats, and may be a little different; everything
else must be equal: shapes, dtypes, labels, numbers of epochs, errors. The warnings of a way are compared by the test.
"""

import copy
import pickle
import re
import tempfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import sklearn
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, make_multilabel_classification
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.feature_selection import RFE, SelectFromModel, SequentialFeatureSelector
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import classification_report, confusion_matrix, roc_auc_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import get_tags

WAYS = {}

X, y = load_digits(return_X_y=True)
TRAIN, TEST, Y_TRAIN, Y_TEST = train_test_split(X[:900] / 16, y[:900], random_state=0)
A, b = load_breast_cancer(return_X_y=True)
A = StandardScaler().fit_transform(A)


def way(function):
    WAYS[function.__name__] = function
    return function


def sgd(seed, **how):
    return SGDClassifier(**{"loss": "log_loss", "random_state": seed, **how})


def mlp(seed, **how):
    return MLPClassifier(**{"hidden_layer_sizes": (30,), "max_iter": 25, "random_state": seed, **how})


def look(array):
    """The form of an array, without its values."""
    return type(array).__name__, array.shape, str(array.dtype)


def error_of(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__, re.sub(r"(?<=\{).*?(?=\})", in_order, str(error))
    return None


def in_order(choices):
    """The choices in a message, which are a set: its order differs from process to process, and from module to module."""
    return ", ".join(sorted(choices[0].split(", ")))


@way
def fit_predict_and_report(seed):
    model = sgd(seed).fit(TRAIN, Y_TRAIN)
    labels = model.predict(TEST)
    report = classification_report(Y_TEST, labels, output_dict=True)
    assert confusion_matrix(Y_TEST, labels).sum() == len(TEST)
    return report["accuracy"], look(labels), look(model.coef_), look(model.intercept_), sorted(report)[:3]


@way
def a_pipeline_with_a_scaler(seed):
    pipeline = make_pipeline(StandardScaler(), mlp(seed)).fit(TRAIN, Y_TRAIN)
    return pipeline.score(TEST, Y_TEST), look(pipeline.predict_proba(TEST)), is_classifier(pipeline)


@way
def cross_validation(seed):
    scores = cross_val_score(sgd(seed), TRAIN, Y_TRAIN, cv=3)
    predicted = cross_val_predict(mlp(seed), TRAIN, Y_TRAIN, cv=3, method="predict_proba")
    return scores.mean(), float(np.mean(predicted.argmax(1) == Y_TRAIN)), look(scores), look(predicted)


@way
def a_grid_search(seed):
    grid = {"alpha": [1e-4, 1e-2], "penalty": ["l2", "l1", "elasticnet"]}
    search = GridSearchCV(sgd(seed, max_iter=20), grid, cv=3).fit(TRAIN, Y_TRAIN)
    return search.score(TEST, Y_TEST), sorted(search.cv_results_)[:5]


@way
def a_random_search_by_two_processes(seed):
    choices = {"alpha": np.logspace(-5, -1, 5), "activation": ["relu"], "early_stopping": [True, False]}
    search = RandomizedSearchCV(mlp(seed), choices, n_iter=3, cv=2, n_jobs=2, random_state=seed).fit(TRAIN, Y_TRAIN)
    return search.score(TEST, Y_TEST), len(search.cv_results_["params"])


@way
def data_in_parts(seed):
    seen = []
    for model in (sgd(seed), mlp(seed)):
        for _ in range(10):
            for start in range(0, len(TRAIN), 100):
                part = slice(start, start + 100)
                model.partial_fit(TRAIN[part], Y_TRAIN[part], classes=np.arange(10))
        seen += [model.score(TEST, Y_TEST), int(model.t_), model.n_iter_, look(model.classes_)]
    return seen


@way
def class_weights_and_sample_weights(seed):
    model = sgd(seed, class_weight="balanced").fit(TRAIN, Y_TRAIN, sample_weight=np.linspace(0.5, 1, len(TRAIN)))
    signed = np.where(np.arange(len(b)) % 50 == 0, -0.1, 1.0)
    of_signed = sgd(seed, class_weight={0: 1.0, 1: 2.0}).fit(A, b, sample_weight=signed)
    return model.score(TEST, Y_TEST), of_signed.score(A, b), look(of_signed.coef_)


@way
def calibrated_probabilities(seed):
    model = CalibratedClassifierCV(sgd(seed), cv=3).fit(TRAIN, Y_TRAIN)
    isotonic = CalibratedClassifierCV(sgd(seed), cv=3, method="isotonic").fit(A, b)
    return model.score(TEST, Y_TEST), isotonic.score(A, b), look(model.predict_proba(TEST))


@way
def voting_and_stacking(seed):
    members = [("a", mlp(seed)), ("b", sgd(seed))]
    voting = VotingClassifier(members, voting="soft").fit(TRAIN, Y_TRAIN)
    stacking = StackingClassifier(members, sgd(seed), cv=3).fit(TRAIN, Y_TRAIN)
    return voting.score(TEST, Y_TEST), stacking.score(TEST, Y_TEST), look(stacking.transform(TEST))


@way
def bagging_and_boosting(seed):
    bagging = BaggingClassifier(sgd(None), n_estimators=5, random_state=seed).fit(TRAIN, Y_TRAIN)
    boosting = AdaBoostClassifier(sgd(None), n_estimators=5, random_state=seed).fit(TRAIN, Y_TRAIN)
    return bagging.score(TEST, Y_TEST), boosting.score(TEST, Y_TEST), len(bagging.estimators_)


@way
def one_against_the_rest_and_against_one(seed):
    rest, one = (kind(sgd(seed)).fit(TRAIN, Y_TRAIN) for kind in (OneVsRestClassifier, OneVsOneClassifier))
    return rest.score(TEST, Y_TEST), one.score(TEST, Y_TEST), look(rest.decision_function(TEST)), len(one.estimators_)


@way
def several_labels(seed):
    data, labels = make_multilabel_classification(200, 10, n_classes=4, random_state=seed)
    network = mlp(seed, max_iter=300).fit(data, labels)
    chain, several = (kind(sgd(seed)).fit(data, labels) for kind in (ClassifierChain, MultiOutputClassifier))
    same = float(np.mean([np.mean(model.predict(data) == labels) for model in (network, chain, several)]))
    return same, look(network.predict_proba(data)), look(network.predict(data)), network.out_activation_


@way
def early_stopping(seed):
    network = mlp(seed, early_stopping=True, max_iter=200).fit(TRAIN, Y_TRAIN)
    linear = sgd(seed, early_stopping=True).fit(TRAIN, Y_TRAIN)
    assert len(network.loss_curve_) == network.n_iter_ == len(network.validation_scores_)
    assert network.best_validation_score_ == max(network.validation_scores_)
    return network.score(TEST, Y_TEST), linear.score(TEST, Y_TEST), network.best_loss_, linear.n_iter_ < 1000


@way
def warm_starts(seed):
    seen = []
    for model in (mlp(seed, warm_start=True, max_iter=10), sgd(seed, warm_start=True, max_iter=5, tol=None)):
        model.fit(TRAIN, Y_TRAIN).fit(TRAIN, Y_TRAIN)
        seen += [model.score(TEST, Y_TEST), model.n_iter_, int(model.t_)]
    return seen


@way
def pickles_copies_and_joblib(seed):
    model = sgd(seed, average=True).fit(A, b)
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(model, Path(folder) / "model")
        models = pickle.loads(pickle.dumps(model)), copy.deepcopy(model), joblib.load(Path(folder) / "model")
    for other in models:
        np.testing.assert_array_equal(other.predict_proba(A), model.predict_proba(A))
    return model.score(A, b), error_of(lambda: clone(model).predict(A))


@way
def two_classes(seed):
    model = sgd(seed).fit(A, b)
    signs = model.decision_function(A) > 0
    assert (model.classes_[signs.astype(int)] == model.predict(A)).all()
    auc = float(roc_auc_score(b, model.decision_function(A)))
    return model.score(A, b), auc, look(model.coef_), look(model.intercept_), look(model.decision_function(A))


@way
def dtypes_of_data(seed):
    seen = []
    for data in (A.astype(np.float32), sparse.csr_matrix(A.astype(np.float32)), sparse.csr_array(A), A.tolist()):
        model = sgd(seed).fit(data, b)
        seen += [model.score(data, b), look(model.coef_), look(model.decision_function(data))]
        with np.errstate(divide="ignore"):  # one takes the logarithm of probabilities
            seen += [look(model.predict_proba(data)), look(model.predict_log_proba(data)), look(model.predict(data))]
    several = sgd(seed).fit(TRAIN.astype(np.float32), Y_TRAIN)
    network = mlp(seed).fit(TRAIN.astype(np.float32), Y_TRAIN)
    seen += [look(model.predict_proba(TEST.astype(np.float32))) for model in (several, network)]
    return [*seen, look(several.coef_), look(several.intercept_), look(network.coefs_[0]), look(network.intercepts_[0])]


@way
def dtypes_of_labels(seed):
    names = np.array(["malignant", "benign"])[b]
    seen = []
    for labels in (
        names, names.astype(object), names.tolist(), pd.Series(names), pd.Series(names, dtype="category"), b.astype(bool),
        b.astype(np.int8), b * 1.0, pd.Series(names, dtype="string"), pd.Series(b, dtype="Int64"),
    ):  # fmt: skip
        for kind in (sgd(seed), mlp(seed, max_iter=3)):
            model = kind.fit(A, labels)
            seen += [look(model.classes_), look(model.predict(A))]
        model = sgd(seed).partial_fit(A, labels, classes=np.unique(np.asarray(labels)))
        seen += [look(model.classes_), look(model.predict(A))]
    return seen


@way
def data_frames(seed):
    frame = pd.DataFrame(A, columns=[f"feature {k}" for k in range(30)]).assign(kind=np.array([*"xyz"])[b * 2])
    columns = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough", sparse_threshold=1.0)
    model = make_pipeline(columns, sgd(seed)).fit(frame, b)
    plain = sgd(seed).fit(frame.drop(columns="kind"), b)
    wrong = error_of(lambda: plain.predict(frame.drop(columns="kind")[frame.columns[29::-1]]))
    plain.predict(A)  # warns of missing names
    return model.score(frame, b), look(plain.feature_names_in_), plain.n_features_in_, wrong


@way
def routing_of_sample_weights(seed):
    with sklearn.config_context(enable_metadata_routing=True):
        model = sgd(seed).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        weights = np.linspace(0, 1, len(TRAIN))
        results = cross_validate(model, TRAIN, Y_TRAIN, params={"sample_weight": weights}, cv=3)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        pipeline.fit(TRAIN, Y_TRAIN, sample_weight=weights)
        refused = error_of(lambda: cross_validate(sgd(seed), TRAIN, Y_TRAIN, params={"sample_weight": weights}))
    return results["test_score"].mean(), pipeline.score(TEST, Y_TEST), refused[0]


@way
def thresholds(seed):
    tuned = TunedThresholdClassifierCV(sgd(seed), cv=3, random_state=seed).fit(A, b)
    fixed = FixedThresholdClassifier(sgd(seed), threshold=0.9, response_method="predict_proba").fit(A, b)
    return tuned.score(A, b), fixed.score(A, b), look(fixed.predict(A))


@way
def curves(seed):
    sizes, _, scores = learning_curve(
        sgd(seed), A, b, train_sizes=[0.1, 0.5, 1.0], cv=3, shuffle=True, random_state=seed
    )
    _, of_alpha = validation_curve(sgd(seed), A, b, param_name="alpha", param_range=[1e-4, 1e-2], cv=3)
    return sizes.tolist(), float(scores[-1].mean()), float(of_alpha.mean()), look(scores)


@way
def inspection(seed):
    model = sgd(seed).fit(A, b)
    importance = permutation_importance(model, A, b, n_repeats=2, random_state=seed)
    dependence = partial_dependence(model, A, [0], kind="average", response_method="predict_proba")
    return model.score(A, b), look(importance.importances), look(dependence["average"])


@way
def selection_of_features(seed):
    chosen = SelectFromModel(sgd(seed, penalty="l1", alpha=0.01)).fit(A, b)
    fewer = RFE(sgd(seed), n_features_to_select=5).fit(A, b)
    forward = SequentialFeatureSelector(sgd(seed), n_features_to_select=2, cv=2).fit(A[:, :5], b)
    return fewer.score(A, b), 0 < chosen.get_support().sum() < 30, fewer.n_features_, forward.n_features_to_select_


@way
def labels_for_some(seed):
    partly = np.where(np.random.default_rng(seed).random(len(b)) < 0.5, -1, b)
    model = SelfTrainingClassifier(sgd(seed), threshold=0.9).fit(A, partly)
    return model.score(A, b), look(model.transduction_)


@way
def a_stream_of_texts(seed):
    rng = np.random.default_rng(seed)
    words = np.array(["good", "fine", "great", "bad", "poor", "worse", "it", "was", "the"])
    kinds = rng.integers(0, 2, 400)
    texts = [" ".join(words[np.append(rng.integers(0, 3, 3) + 3 * kind, rng.integers(6, 9, 4))]) for kind in kinds]
    vectors, model = HashingVectorizer(n_features=2**16), sgd(seed, alpha=1e-5)
    for start in range(0, 300, 20):
        part = vectors.transform(texts[start : start + 20])
        model.partial_fit(part, kinds[start : start + 20], classes=[0, 1])
    return model.score(vectors.transform(texts[300:]), kinds[300:]), int(model.t_), look(model.coef_)


@way
def sparse_coefficients(seed):
    model = sgd(seed, penalty="l1", alpha=0.01).fit(A, b).sparsify()
    seen = type(model.coef_).__name__, look(model.predict(A)), look(model.decision_function(sparse.csr_matrix(A)))
    return model.score(A, b), *seen, look(model.densify().coef_)


@way
def parameters_and_tags(seed):
    model, tags = sgd(seed, epsilon=0.2, l1_ratio=None, n_jobs=2).set_params(alpha=0.5), get_tags(sgd(seed))
    again = clone(model).set_params(**model.get_params())
    given = [again.get_params()[name] for name in ("alpha", "epsilon", "l1_ratio", "n_jobs", "power_t", "tol")]
    methods = "predict_proba", "predict_log_proba", "decision_function", "partial_fit", "score", "sparsify", "densify"
    return given, [hasattr(model, name) for name in methods], tags.input_tags.sparse, "log_loss" in model.loss_functions


@way
def errors(seed):
    model, spoilt = sgd(seed).fit(A, b), np.where(A > 3, np.nan, A)
    start = sgd(seed).partial_fit
    calls = [
        lambda: sgd(seed).predict(A),
        lambda: mlp(seed).predict_proba(A),
        lambda: model.predict(A[:, :5]),
        lambda: mlp(seed).fit(A, b).predict(A[:, :5]),
        lambda: model.fit(A, b[:9]),
        lambda: model.fit(spoilt, b),
        lambda: model.fit(A, np.zeros(len(b))),
        lambda: start(A, b),
        lambda: sgd(seed, early_stopping=True).partial_fit(A, b, classes=[0, 1]),
        lambda: mlp(seed, early_stopping=True).partial_fit(A, b, classes=[0, 1]),
        lambda: sgd(seed, class_weight="balanced").partial_fit(A, b, classes=[0, 1]),
        lambda: sgd(seed, alpha=0.0).fit(A, b),
        lambda: sgd(seed, penalty="elasticnet", l1_ratio=None).fit(A, b),
        lambda: sgd(seed, alpha=-1.0).fit(A, b),
        lambda: sgd(seed, penalty="l3").fit(A, b),
        lambda: mlp(seed, momentum=2.0).fit(A, b),
        lambda: mlp(seed, hidden_layer_sizes=(-1,)).fit(A, b),
        lambda: sgd(seed, early_stopping=True).fit(A, b, sample_weight=np.zeros(len(b))),
        lambda: sgd(seed).fit(A, b, sample_weight=np.zeros(len(b))),
        lambda: sgd(seed).fit(A, b, sample_weight=np.ones(9)),
        lambda: mlp(seed).fit(A, b, sample_weight=np.ones(9)),
        lambda: sgd(seed, learning_rate="constant", eta0=1e200).fit(A * 1e200, b),
    ]
    with np.errstate(all="ignore"):
        return [error_of(call) for call in calls], error_of(lambda: model.fit(A, A[:, 0]))[0]


@way
def warnings_of_fits(seed):
    sgd(seed, max_iter=2).fit(A, b)
    sgd(seed, tol=None, power_t=-0.5).fit(A, b)
    mlp(seed, max_iter=2).fit(A, b[:, None])
    mlp(seed, max_iter=2, batch_size=5000).fit(A, b)
    sgd(seed).fit(A[:100], np.arange(100) % 30)  # many classes draw no warning
    return sgd(seed).fit(A, b[:, None]).score(A, b)
