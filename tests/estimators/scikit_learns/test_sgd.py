"""scikit-learn's own tests of SGDClassifier, on FastLinearClassifier."""

from fastclf import FastLinearClassifier

from .swap import load

SWAPPED = {"SGDClassifier": FastLinearClassifier}
LIST, WHY = "test_sgd", None  # every test
load("sklearn.linear_model.tests.test_sgd", globals(), **SWAPPED)
