"""The classes whose models go to files and to other libraries, by the names under which files know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Each entry returns its class, which is imported by then. The face of the package fills this table when it is imported
#: itself, and so before any other module of the package: it knows where everything is, and nothing here has to.
CLASSES: dict[str, Callable[[], Any]] = {}


def kind_of(model: Any) -> str:
    """The name of the model's class, if that is one of fastclf's own.

    Anything else is a TypeError, and so are subclasses: what they add or change would be lost without a word.
    """
    own = [cls for cls in type(model).__mro__ if cls.__name__ in CLASSES and cls is CLASSES[cls.__name__]()]
    if not own:
        raise TypeError(f"model must be of one of the classes {', '.join(CLASSES)}, got {type(model).__name__}")
    if type(model) is not own[0]:
        raise TypeError(
            f"model must be of a class of fastclf itself, got {type(model).__name__}, a subclass of {own[0].__name__}"
        )
    return own[0].__name__
