"""fastclf: small classifiers, trained fast on a CPU.

The lab *classifiers step by step* in compiled kernels, under the lab's own names. ``fastclf.reference`` has the same names
in plain NumPy. Modules that are slow to import are imported at their first use.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import partial
from typing import TYPE_CHECKING, Any

from .io.kinds import CLASSES as _CLASSES_OF_FILES

__version__ = "0.1.0"

if importlib.util.find_spec("fastclf.kernels") is None:
    raise ImportError(
        "this is fastclf's source folder, which has no compiled-kernel package inside: leave this folder, "
        "or install the project in place with: pip install -e ."
    )

if TYPE_CHECKING:
    from .cli.info import show_versions
    from .engine.distributed import RankError
    from .engine.progress import TrainingDivergedWarning, TrainingInterruptedWarning
    from .estimators import *
    from .io.persist import load, save
    from .lab import *

__all__ = [
    "Batches",
    "DeepMLPClassifier",
    "FastLinearClassifier",
    "FastMLPClassifier",
    "ImageLinearClassifier",
    "MLPClassifier",
    "RankError",
    "TrainingDivergedWarning",
    "TrainingInterruptedWarning",
    "add_bias_term",
    "binary_cross_entropy_loss",
    "categorical_cross_entropy_loss",
    "gradient_descent_step",
    "initialize_parameters",
    "linear_prediction",
    "load",
    "save",
    "show_versions",
    "sigmoid",
    "softmax",
    "stochastic_gradient_descent_step",
    "subsample_dataset",
    "train",
    "train_model",
]


#: The modules of the public names that are not in ``lab``.
_ELSEWHERE = {
    "FastLinearClassifier": "estimators", "FastMLPClassifier": "estimators", "load": "io.persist", "save": "io.persist",
    "TrainingDivergedWarning": "engine.progress", "TrainingInterruptedWarning": "engine.progress",
    "RankError": "engine.distributed",
    "show_versions": "cli.info",
}  # fmt: skip


def _imported(name: str) -> Any:
    if name in __all__:
        value = getattr(importlib.import_module(f".{_ELSEWHERE.get(name, 'lab')}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = _imported


for _name in (
    "DeepMLPClassifier",
    "FastLinearClassifier",
    "FastMLPClassifier",
    "ImageLinearClassifier",
    "MLPClassifier",
):
    _CLASSES_OF_FILES[_name] = partial(_imported, _name)
del _name


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
