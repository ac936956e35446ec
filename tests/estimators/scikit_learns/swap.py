"""Loads a module of scikit-learn's own tests with another class in place of the one that it tests."""

import importlib.util
import types
from inspect import isclass
from pathlib import Path
from unittest import mock

import pytest
import sklearn

from .differences import VERSION

_KINDS = "Classifier", "Regressor", "OneClassSVM"


def load(name, namespace, **swapped):
    """Execute the module ``name`` in ``namespace``; ``swapped`` are the classes by the names that the module knows them by.

    The module imports the classes from its package, directly or as attributes: both ways lead to the swapped ones. Where
    scikit-learn has no tests, or is of a version that ``differences`` does not describe, the calling module is skipped.
    """
    if not sklearn.__version__.startswith(f"{VERSION}."):
        pytest.skip(
            f"differences.py describes scikit-learn {VERSION}, not {sklearn.__version__}", allow_module_level=True
        )
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        pytest.skip("scikit-learn is installed without its tests", allow_module_level=True)
    package = importlib.import_module(name.rpartition(".tests.")[0])
    with mock.patch.multiple(package, **swapped):
        exec(compile(Path(spec.origin).read_text(), spec.origin, "exec"), namespace)
        lasting = types.SimpleNamespace(**vars(package))
    for variable, value in namespace.items():
        if value is package:
            namespace[variable] = lasting
            break


def _names_in(code):
    """The names that a function uses, and those of the functions in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def concerns(item, swapped):
    """Whether a test is about one of the classes ``swapped``, given by their names in scikit-learn.

    If a parameter is an estimator or makes one, that parameter decides; if none is, the names that the test uses do.
    """
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    kinds = [value.__name__ for value in values if isclass(value) or callable(value)]
    kinds = [kind for kind in kinds if kind.endswith(_KINDS)]
    if kinds:
        return any(kind.endswith("Classifier") for kind in kinds)
    return any(name.endswith(tuple(swapped)) for name in _names_in(item.function.__code__))
