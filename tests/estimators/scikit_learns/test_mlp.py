"""scikit-learn's own tests of MLPClassifier, on FastMLPClassifier."""

from fastclf import FastMLPClassifier

from .swap import load

SWAPPED = {"MLPClassifier": FastMLPClassifier}
LIST, WHY = "test_mlp", None  # every test
load("sklearn.neural_network.tests.test_mlp", globals(), **SWAPPED)
