"""Kernels: compiled functions that Python calls, with records among their arguments, on one thread or on a team."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types

from . import threads as pool
from .cache import Cache
from .jit import (
    ALONE,
    FLAGS,
    IN1,
    IN2,
    OPERANDS2,
    OUT1,
    OUT2,
    OUT_OPERANDS2,
    TEAM,
    Compiled,
    Record,
    check_declared,
    inlined,
    parameters,
    spec_of,
    target_for,
)


def _spread(function: Any, specs: dict[str, Callable]) -> tuple[Any, dict[str, Callable]]:
    """The function and its declaration, with each record replaced by its fields as separate parameters.

    When a kernel is called, Numba converts arguments to their declared types, for instance a writable array to a read-only
    one. It does not convert the elements of a tuple. So records are taken apart before the call, and put together again in
    the compiled code, where that costs nothing.
    """
    records = {name: spec for name, spec in specs.items() if isinstance(spec, Record)}
    flat: dict[str, Callable] = {}
    for name, spec in specs.items():
        flat |= {f"{name}_{field}": s for field, s in spec.fields.items()} if name in records else {name: spec}
    made = [
        f"made_{n}({', '.join(f'{n}_{field}' for field in records[n].fields)})" if n in records else n for n in specs
    ]
    source = f"def {function.__name__}({', '.join(flat)}): body({', '.join(made)})"
    names = {"body": inlined(function), "__name__": function.__module__}
    names |= {f"made_{name}": spec.made for name, spec in records.items()}
    exec(compile(source, function.__code__.co_filename, "exec"), names)
    spread = names[function.__name__]
    spread.__doc__ = function.__doc__
    return spread, flat


class Kernel(Compiled):
    """A compiled function that Python calls: ``kernel(*args, threads=n)``.

    A kernel that can share its work among threads has ``team`` as its last parameter, which is filled in here.
    """

    def __init__(self, function: Callable[..., Any], specs: dict[str, Callable]) -> None:
        self.parallel = "team" in parameters(function)
        specs = specs | ({"team": TEAM} if self.parallel else {})
        check_declared(function, specs)
        starred = [f"*{name}" if isinstance(spec, Record) else name for name, spec in specs.items()]
        self._call = eval(f"lambda code, {', '.join(specs)}: code({', '.join(starred)})")
        numbers = IN1, IN2, OUT1, OUT2, OPERANDS2, OUT_OPERANDS2  # the first such argument gives a call's element type
        self._element_at = next(
            (i, j)
            for i, spec in enumerate(specs.values())
            for j, s in enumerate(spec.fields.values() if isinstance(spec, Record) else (spec,))
            if s in numbers
        )
        if any(isinstance(spec, Record) for spec in specs.values()):
            function, specs = _spread(function, specs)
        super().__init__(function, specs)
        self._flat = function  # without records among its parameters

    def _compile(self, sig: tuple[types.Type, ...], dtype: str) -> Any:
        dispatcher = numba.njit(**FLAGS, no_cfunc_wrapper=True)(self._flat)
        target = target_for(dtype)
        dispatcher.targetdescr = dispatcher._compiler.targetdescr = target
        dispatcher.targetctx = target.target_context
        dispatcher._cache = Cache(self._function)
        dispatcher.compile(sig)
        dispatcher.disable_compile()
        return dispatcher

    def __call__(self, *args: Any, threads: int = 1) -> Any:
        i, j = self._element_at
        dtype = (args[i][j] if isinstance(args[i], tuple) else args[i]).dtype
        code = self._ready.get(dtype) or self.compile(dtype)
        pool.running.append(None)
        try:
            if not self.parallel:
                return self._call(code, *args)
            threads = max(1, threads // len(pool.running))  # kernels that run at the same time share the processors
            if threads == 1:
                return self._call(code, *args, ALONE)
            with pool.team_of(threads) as team:
                return self._call(code, *args, team)
        finally:
            pool.running.pop()


def kernel(**specs: Callable) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare a kernel: the types of its parameters, in order."""
    return lambda function: Kernel(function, {name: spec_of(spec) for name, spec in specs.items()})
