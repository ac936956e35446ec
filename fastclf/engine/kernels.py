"""The door to the kernels: their modules are imported when they are first needed, because Numba takes a while to import."""

from __future__ import annotations

import importlib
from typing import Any

from ..kernels.aside import aside

_PACKAGE = "fastclf.kernels"
_loaded: dict[str, Any] = {}


def load(name: str) -> Any:
    """The module ``name`` of the kernels.

    The first one imports Numba. An interrupt would leave Numba, or a module whose routines are registered, half imported, or
    be lost in Python's import system.
    """
    if name not in _loaded:
        aside(lambda: _loaded.setdefault(name, importlib.import_module(f"{_PACKAGE}.{name}")))
    return _loaded[name]
