"""Ten ordinary ways to use scikit-learn's two classes. The test runs it as it is, and with its import lines swapped."""

# The next two lines are what a user swaps.
import json
import pickle
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import classification_report, confusion_matrix
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore")
X, y = load_digits(return_X_y=True)
train, test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
scores = {}

# 1. fit, predict, report
sgd = SGDClassifier(loss="log_loss", random_state=0).fit(train, y_train)
report = classification_report(y_test, sgd.predict(test), output_dict=True)
scores["report"] = report["accuracy"]
assert confusion_matrix(y_test, sgd.predict(test)).sum() == len(test)

# 2. a pipeline with a scaler
mlp = make_pipeline(StandardScaler(), MLPClassifier((50,), max_iter=40, random_state=0)).fit(train, y_train)
scores["pipeline"] = mlp.score(test, y_test)

# 3. cross-validation
scores["cross_val_score"] = cross_val_score(SGDClassifier(loss="log_loss", random_state=0), train, y_train, cv=3).mean()
scores["cross_val_predict"] = np.mean(
    cross_val_predict(MLPClassifier(max_iter=30, random_state=0), train, y_train, cv=3) == y_train
)

# 4. a grid search
grid = GridSearchCV(
    SGDClassifier(loss="log_loss", max_iter=20, random_state=0), {"alpha": [1e-4, 1e-2], "penalty": ["l2", "l1"]}, cv=3
)
scores["grid"] = grid.fit(train, y_train).score(test, y_test)

# 5. data in parts
parts = MLPClassifier(random_state=0), SGDClassifier(loss="log_loss", random_state=0)
for model in parts:
    for _ in range(10):
        for start in range(0, len(train), 400):
            model.partial_fit(train[start : start + 400], y_train[start : start + 400], classes=np.arange(10))
scores["partial_fit"] = min(model.score(test, y_test) for model in parts)

# 6. class weights and sample weights
weighted = SGDClassifier(loss="log_loss", class_weight="balanced", random_state=0)
scores["weights"] = weighted.fit(train, y_train, sample_weight=np.linspace(0.5, 1, len(train))).score(test, y_test)

# 7. calibrated probabilities
calibrated = CalibratedClassifierCV(SGDClassifier(loss="log_loss", random_state=0), cv=3).fit(train, y_train)
scores["calibrated"] = calibrated.score(test, y_test)

# 8. ensembles
voting = VotingClassifier([("a", MLPClassifier(max_iter=30, random_state=0)), ("b", clone(sgd))], voting="soft")
scores["voting"] = voting.fit(train, y_train).score(test, y_test)
bagging = BaggingClassifier(SGDClassifier(loss="log_loss"), n_estimators=5, random_state=0).fit(train, y_train)
scores["bagging"] = bagging.score(test, y_test)

# 9. early stopping, loss curve, warm start, pickle
stopping = MLPClassifier(early_stopping=True, max_iter=100, random_state=0).fit(train, y_train)
assert len(stopping.loss_curve_) == stopping.n_iter_ == len(stopping.validation_scores_)
scores["early_stopping"] = pickle.loads(pickle.dumps(stopping)).score(test, y_test)
warm = MLPClassifier(warm_start=True, max_iter=10, random_state=0).fit(train, y_train).fit(train, y_train)
scores["warm_start"] = warm.score(test, y_test)

# 10. two classes, coefficients, decision function; one against the rest
A, b = load_breast_cancer(return_X_y=True)
two = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)).fit(A, b)
assert two[-1].coef_.shape == (1, 30)
assert two.decision_function(A).shape == (len(A),)
scores["two classes"] = two.score(A, b)
rest = OneVsRestClassifier(SGDClassifier(loss="log_loss", random_state=0)).fit(train, y_train)
scores["one against the rest"] = rest.score(test, y_test)

print(json.dumps(scores))
