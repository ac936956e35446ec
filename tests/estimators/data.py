"""scikit-learn's bundled data, scaled, as both estimators are tested on."""

from functools import cache

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

LOADERS = {"digits": load_digits, "wine": load_wine, "breast_cancer": load_breast_cancer, "iris": load_iris}


@cache
def load(name):
    X, y = LOADERS[name](return_X_y=True)
    X = X / 16 if name == "digits" else StandardScaler().fit_transform(X)
    X.flags.writeable = False
    return X, y


def relative(got, expected):
    """The largest difference of the arrays of two lists, relative to the largest entry of each."""
    return max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30) for a, b in zip(got, expected))
