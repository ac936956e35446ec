"""The classes of the models that can be saved and exported, by the names that files use for these classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Each entry is a function that imports a class and returns the class. ``fastclf/__init__.py`` knows where the classes are,
#: and fills this table when the package is imported; so the modules of this folder do not import the classes.
CLASSES: dict[str, Callable[[], Any]] = {}


def kind_of(model: Any) -> str:
    """The name of the model's class, if the class is one of fastclf's own.

    Raises TypeError for any other class, and for a subclass: a file would silently lose what the subclass adds or changes.
    """
    own = [cls for cls in type(model).__mro__ if cls.__name__ in CLASSES and cls is CLASSES[cls.__name__]()]
    if not own:
        raise TypeError(f"model must be of one of the classes {', '.join(CLASSES)}, got {type(model).__name__}")
    if type(model) is not own[0]:
        raise TypeError(
            f"model must be of a class of fastclf itself, got {type(model).__name__}, a subclass of {own[0].__name__}"
        )
    return own[0].__name__
