"""Warnings that point at the user's line. Free of Numba."""

from __future__ import annotations

import sys
import warnings

#: Packages whose frames may lie between the user's line and the line that warns.
_BETWEEN = frozenset({"fastclf", "sklearn", "joblib", "numba", "threading"})


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and give as the place the innermost line that belongs to none of the packages above.

    ``stacklevel`` counts frames, and decorators, callbacks and versions of scikit-learn change their number. If there is no
    such line, as in a thread that compiles, the place is the caller's.
    """
    caller = sys._getframe(1)
    frame = caller
    while str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN:
        if frame.f_back is None:
            frame = caller
            break
        frame = frame.f_back
    there = frame.f_globals
    registry = there.setdefault("__warningregistry__", {})
    place = frame.f_code.co_filename, frame.f_lineno, there.get("__name__") or "<string>"  # None would be silent
    warnings.warn_explicit(message, category, *place, registry)
