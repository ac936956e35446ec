"""The classes whose models go to files and to other libraries, and the modules that take them apart."""

from __future__ import annotations

import importlib
from typing import Any

import fastclf

KINDS = (
    "DeepMLPClassifier",
    "FastLinearClassifier",
    "FastMLPClassifier",
    "ImageLinearClassifier",
    "MLPClassifier",
)


def kind_of(model: Any) -> str:
    """The name of the model's class, if that is one of fastclf's own.

    Raises
    ------
    TypeError
        For anything else, and for subclasses: what they add or change would be lost without a word.
    """
    name = type(model).__name__
    own = [
        cls.__name__ for cls in type(model).__mro__ if cls.__name__ in KINDS and cls is getattr(fastclf, cls.__name__)
    ]
    if not own:
        raise TypeError(f"model must be of one of the classes {', '.join(KINDS)}, got {name}")
    if type(model) is not getattr(fastclf, own[0]):
        raise TypeError(f"model must be of a class of fastclf itself, got {name}, a subclass of {own[0]}")
    return name


def parts_of(cls: Any) -> Any:
    """The module that takes models of a class apart, and puts them together."""
    return importlib.import_module(cls._parts, "fastclf")
