"""Numba's code generator, set to the instruction set that the kernels are written for, instead of to this processor.

Machine code then runs on every processor of the set, and a cache or a wheel can be carried from one to another. The types
and the lowering of Numba's own CPU target are shared, and nothing of it is changed: other code is compiled as ever.
"""

from __future__ import annotations

import functools
from typing import Any

from numba.core.codegen import JITCPUCodegen
from numba.core.registry import CPUTarget, cpu_target

from .target import TARGET


class _Codegen(JITCPUCodegen):
    def __init__(self, features: str) -> None:
        self._features = features
        super().__init__("fastclf")

    def _get_host_cpu_name(self) -> str:
        return TARGET.baseline

    def _get_host_cpu_features(self) -> str:
        return self._features


class _InstructionSet(CPUTarget):
    """Numba's CPU target but for the code generator, and what is compiled by it."""

    def __init__(self, features: str) -> None:
        super().__init__("cpu")
        self._context = cpu_target.target_context.subtarget(_internal_codegen=_Codegen(features))

    @property
    def target_context(self) -> Any:
        return self._context

    @property
    def typing_context(self) -> Any:
        return cpu_target.typing_context


@functools.cache
def instruction_set(pairs: bool) -> CPUTarget:
    """What to compile for; code for ``pairs`` of bfloat16 may use the instruction that multiplies them."""
    return _InstructionSet(TARGET.features_for_pairs if pairs else TARGET.features)


def load_lowering(target_context: Any) -> None:
    """Load all that Numba knows how to compile, which takes longer than to read what is compiled.

    One of its modules, ``numba.np.arraymath``, imports scipy.linalg to check for a BLAS. That costs a quarter of a second,
    and no kernel of ours calls a BLAS. The check is restored afterwards, for other code that needs a BLAS.
    """
    from numba.np import linalg

    check = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        from numba.np import arraymath

        arraymath.ensure_blas = check
    finally:
        linalg.ensure_blas = check
    target_context.refresh()
