"""What is listed as a matter of the hinge loss fails for SGDClassifier, too, if its default is the log-loss."""

import types

from sklearn.linear_model import SGDClassifier

from .differences import HINGE
from .swap import load

_INIT = SGDClassifier.__init__


class LogLossClassifier(SGDClassifier):
    """SGDClassifier with another default of ``loss``."""

    __init__ = types.FunctionType(_INIT.__code__, _INIT.__globals__, "__init__", ("log_loss",), _INIT.__closure__)
    __init__.__kwdefaults__ = _INIT.__kwdefaults__


SWAPPED = {"SGDClassifier": LogLossClassifier}
LIST, WHY = "test_sgd", HINGE
load("sklearn.linear_model.tests.test_sgd", globals(), **SWAPPED)
