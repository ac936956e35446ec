"""How kernels are compiled: flags, signatures, and how the pieces of a kernel find each other.

Three kinds of function, from the outside in:

*Kernels* are what Python calls, with arrays. *Routines* are what kernels and other routines call, with addresses: the
products, the output layer, the work of one thread. Each is one Python function and the types of its arguments, written in
its decorator, and is compiled by itself when it is first needed, once for each element type; never for anything else: what
reaches it in another dtype, layout or dimension is an error of ours, not a silent recompilation. A routine is known to the
linker by its name, so that its machine code exists once, whoever calls it; inlined into all its callers, the register tiles
would be most of what a first-time user waits for. Third, *inlined* functions are part of those that call them.

*Flags.* ``FASTMATH`` names what the compiler may change. It holds nothing that alters a rounding (``reassoc``,
``contract``, ``arcp``), because the same sums must give the same bits wherever they are compiled, and neither ``nnan`` nor
``ninf``, because a run that diverges must be seen to. Kernels write their fused operations and the order of their sums
themselves.

*Teams.* ``in_shares`` turns a routine into one that every thread of a team calls with its number q. There is one parallel
loop in the package, and it knows nothing of what it runs: with one thread, or with many, a kernel is the same machine code.
"""

from __future__ import annotations

import functools
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin

from . import threads as pool
from .cache import Cache, cache_folder


def _import_without_scipy() -> None:
    """Import the part of Numba that imports scipy.linalg for no more than to see that it is there.

    That costs a quarter of a second in every process, and no kernel of ours calls a BLAS. The check itself is put back:
    it runs where somebody's code does.
    """
    from numba.np import linalg

    check = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        from numba.np import arraymath

        arraymath.ensure_blas = check
    finally:
        linalg.ensure_blas = check


_import_without_scipy()

FASTMATH = frozenset({"nsz"})
FLAGS: dict[str, Any] = {"fastmath": set(FASTMATH), "error_model": "numpy", "nogil": True, "_nrt": False}

#: A small function that stands in inner loops: always part of its callers.
inlined = numba.njit(**FLAGS, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)


# ---------------------------------------------------------------- argument types, as functions of the element type


def _array(ndim: int, readonly: bool) -> Callable[[types.Type], types.Type]:
    return lambda element: types.Array(element, ndim, "C", readonly=readonly)


def _always(fixed: types.Type) -> Callable[[types.Type], types.Type]:
    """The same type, whatever the element type."""
    return lambda element: fixed


IN1, IN2 = _array(1, True), _array(2, True)  # floats that the kernel reads
OUT1, OUT2 = _array(1, False), _array(2, False)  # floats that it may write
IN64 = _always(types.Array(types.float64, 1, "C", readonly=True))  # rates and the like, which it reads
OUT64 = _always(types.Array(types.float64, 1, "C"))  # losses, which it writes
INDEX = _always(types.Array(types.int64, 1, "C", readonly=True))  # positions
INDEX32 = _always(types.Array(types.int32, 1, "C", readonly=True))  # columns of a sparse matrix
TABLE = _always(types.Array(types.int64, 2, "C", readonly=True))  # a model's layout
BYTES2 = _always(types.Array(types.uint8, 2, "C", readonly=True))  # samples as they are stored
AT = types.CPointer  # the address of floats
AT_INDEX, AT64, AT_BYTES = (_always(types.CPointer(t)) for t in (types.int64, types.float64, types.uint8))
INT, FLAG = _always(types.int64), _always(types.boolean)
TEAM = _always(types.UniTuple(types.int64, 2))  # the number of threads, and the address of what starts them


def REAL(element: types.Type) -> types.Type:
    """A number of the element type."""
    return element


class Record:
    """The type of a named tuple, whose fields are annotated with types as parameters are declared with them."""

    def __init__(self, made: Any) -> None:
        names = globals() | vars(sys.modules[made.__module__])
        self.made = made
        self.fields = {name: _spec(eval(text.__forward_arg__, names)) for name, text in made.__annotations__.items()}

    def __call__(self, element: types.Type) -> types.Type:
        return types.BaseTuple.from_types(tuple(spec(element) for spec in self.fields.values()), self.made)


def _spec(declared: Any) -> Callable:
    """What a parameter is declared with, or the record that it is declared to be."""
    return Record(declared) if isinstance(declared, type) and issubclass(declared, tuple) else declared


# ---------------------------------------------------------------- what is compiled

#: Every kernel and routine of the package, by name: what ``fastclf warmup`` compiles and the tests walk over.
COMPILED: dict[str, Compiled] = {}

#: Called with one sentence before a compilation that somebody waits for.
announce: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731


def _parameters(function: Any) -> tuple[str, ...]:
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def _check_declared(function: Any, specs: dict[str, Callable]) -> None:
    if _parameters(function) != (*specs,):
        raise TypeError(f"{function.__name__}: parameters {_parameters(function)}, declared {(*specs,)}")


class Compiled:
    """One function, compiled by itself for each element type."""

    def __init__(self, function: Callable[..., Any], specs: dict[str, Callable]) -> None:
        _check_declared(function, specs)
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        if self.name in COMPILED:
            raise ValueError(f"there are two {self.name}: they would read each other's cache")
        functools.update_wrapper(self, function)
        function.__qualname__ = function.__name__  # what Numba names the cache's files by
        self.specs, self._function = specs, function
        self._ready: dict[str, Any] = {}
        self._lock = threading.RLock()
        COMPILED[self.name] = self

    @functools.cached_property
    def dtypes(self) -> tuple[str, ...]:
        """The element types to compile for."""
        depends = any(spec(types.float32) != spec(types.float64) for spec in self.specs.values())
        return ("float32", "float64") if depends else ("int64",)

    def signature(self, dtype: Any) -> tuple[types.Type, ...]:
        """The Numba types of the arguments for elements of ``dtype``."""
        if np.dtype(dtype).name not in self.dtypes:
            raise TypeError(f"{self.name} is for {' and '.join(self.dtypes)}, got {np.dtype(dtype)}")
        element = numba.from_dtype(np.dtype(dtype))
        return tuple(spec(element) for spec in self.specs.values())

    @functools.cached_property
    def needs(self) -> tuple[Routine, ...]:
        """The routines that this function calls, which must be there before it is."""
        return tuple(dict.fromkeys(_routines(self._function)))

    def compile(self, dtype: Any, quiet: bool = False) -> Any:
        """The machine code for one element type: from memory, from the cache, or compiled now."""
        key = np.dtype(dtype).name
        if key not in self._ready:
            with self._lock:
                if key not in self._ready:
                    sig = self.signature(dtype)
                    if not quiet and not self.is_cached(dtype):
                        kept = "kept for later runs" if cache_folder() else "there is no cache"
                        announce(f"fastclf: compiling {self.name} for {key} (seconds, once: {kept})")
                        quiet = True
                    for routine in self.needs:
                        routine.compile(dtype if key in routine.dtypes else routine.dtypes[0], quiet)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", numba.NumbaPerformanceWarning)
                        self._ready[key] = self._compile(sig, key)
        return self._ready[key]

    def is_cached(self, dtype: Any) -> bool:
        """Whether the machine code for one element type is on disk."""
        cpu_target.target_context.refresh()
        return cache_folder() is not None and Cache(self._function).holds(self._key(dtype), cpu_target.target_context)

    def _key(self, dtype: Any) -> Any:
        return self.signature(dtype)

    def _compile(self, sig: tuple[types.Type, ...], dtype: str) -> Any:
        raise NotImplementedError


def _routines(function: Any) -> list[Routine]:
    """The routines named in a function and in what it inlines."""
    found, free = [], function.__closure__ or ()
    named = [function.__globals__.get(name) for name in function.__code__.co_names]
    for value in (*named, *(cell.cell_contents for cell in free)):
        if isinstance(value, Routine):
            found.append(value)
        elif isinstance(value, InShares):
            found.append(value.routine)
        elif isinstance(value, Dispatcher) and value.targetoptions.get("forceinline"):
            found += _routines(value.py_func)
    return found


def _spread(function: Any, specs: dict[str, Callable]) -> tuple[Any, dict[str, Callable]]:
    """The function, and its declaration, with the fields of its records as parameters of their own.

    Numba converts an argument where a kernel is called, say an array that may be written to where one that is only read is
    declared. The elements of a tuple it does not convert. So records are taken apart before the call, and put together
    again in the compiled code, where that costs nothing.
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

    The last parameter of a kernel that can share its work is ``team``; it is filled in here.
    """

    def __init__(self, function: Callable[..., Any], specs: dict[str, Callable]) -> None:
        self.parallel = "team" in _parameters(function)
        specs = specs | ({"team": TEAM} if self.parallel else {})
        _check_declared(function, specs)
        starred = [f"*{name}" if isinstance(spec, Record) else name for name, spec in specs.items()]
        self._call = eval(f"lambda code, {', '.join(specs)}: code({', '.join(starred)})")
        numbers = IN1, IN2, OUT1, OUT2  # the first of them says which element type a call is for
        self._element_at = next(
            (i, j)
            for i, spec in enumerate(specs.values())
            for j, s in enumerate(spec.fields.values() if isinstance(spec, Record) else (spec,))
            if s in numbers
        )
        if any(isinstance(spec, Record) for spec in specs.values()):
            function, specs = _spread(function, specs)
        super().__init__(function, specs)
        self._dispatcher = numba.njit(**FLAGS, no_cfunc_wrapper=True)(function)

    def _compile(self, sig: tuple[types.Type, ...], dtype: str) -> Any:
        dispatcher = self._dispatcher
        if cache_folder() is not None and not isinstance(dispatcher._cache, Cache):
            dispatcher._cache = Cache(self._function)
        dispatcher._can_compile = True
        dispatcher.compile(sig)
        dispatcher.disable_compile()
        return dispatcher

    def __call__(self, *args: Any, threads: int = 1) -> Any:
        i, j = self._element_at
        dtype = (args[i][j] if isinstance(args[i], tuple) else args[i]).dtype
        code = self._ready.get(dtype.name) or self.compile(dtype)
        if not self.parallel:
            return self._call(code, *args)
        if threads == 1 or pool.lost():
            return self._call(code, *args, (1, 0))
        with pool.parallel_region(threads):
            return self._call(code, *args, (threads, for_each_thread.compile(np.int64, quiet=True).address))


class Routine(Compiled):
    """A compiled function that kernels and other routines call; it returns nothing."""

    def __init__(self, function: Callable[..., Any], specs: dict[str, Callable], **flags: Any) -> None:
        super().__init__(function, specs)
        self._flags = FLAGS | flags
        _make_callable(self, self._types_of_call, self._lower)

    def __call__(self, *args: Any) -> None:
        raise TypeError(f"{self.name} is called by kernels only")

    def _element(self, arguments: tuple[types.Type, ...]) -> types.Type:
        """The element type that a call is for: that of the first address of floating-point numbers."""
        if len(self.dtypes) == 1:
            return types.int64
        flat = [t for a in arguments for t in (a.types if isinstance(a, types.BaseTuple) else (a,))]
        return next(t.dtype for t in flat if isinstance(t, types.CPointer) and isinstance(t.dtype, types.Float))

    def _types_of_call(self, arguments: tuple[types.Type, ...]) -> tuple[types.Type, ...]:
        element = self._element(arguments)
        self.compile(str(element), quiet=True)
        return self.signature(str(element))

    def declare(self, context: Any, module: ir.Module, element: types.Type) -> ir.Function:
        """The function as another module sees it."""
        arguments = [context.get_value_type(t) for t in self.signature(str(element))]
        return cgutils.get_or_insert_function(
            module, ir.FunctionType(ir.VoidType(), arguments), self._symbol(str(element))
        )

    def _symbol(self, dtype: str) -> str:
        return f"fastclf.{self.name}.{dtype}"

    def _lower(self, context: Any, b: Any, sig: Any, args: Any) -> Any:
        b.call(self.declare(context, b.module, self._element(sig.args)), args)
        return context.get_dummy_value()

    def _key(self, dtype: Any) -> Any:
        return signature(types.void, *self.signature(dtype))

    def _compile(self, sig: tuple[types.Type, ...], dtype: str) -> CFunc:
        code = CFunc(self._function, (sig, types.void), {}, self._flags)
        if cache_folder() is not None:
            code._cache = Cache(self._function)
        code.compile()
        llvm.add_symbol(self._symbol(dtype), code.address)
        return code


class InShares:
    """A routine that every thread of a team calls: ``shares(team, *args)`` is ``routine(*args, q, workers)`` for every q.

    ``q`` and ``workers`` are the routine's last parameters.
    """

    def __init__(self, routine: Routine) -> None:
        if [*routine.specs][-2:] != ["q", "workers"]:
            raise TypeError(f"{routine.name}: its last parameters must be q and workers")
        self.routine = routine
        _make_callable(self, self._types_of_call, self._lower)

    __call__ = Routine.__call__

    @property
    def name(self) -> str:
        return self.routine.name

    def _types_of_call(self, arguments: tuple[types.Type, ...]) -> tuple[types.Type, ...]:
        return TEAM(types.int64), *self.routine._types_of_call(arguments[1:])[:-2]

    def _lower(self, context: Any, b: Any, sig: Any, args: Any) -> Any:
        """Arguments go into a record, and a function that takes them out again is what the threads run."""
        team, *args = args
        i64 = ir.IntType(64)
        body = self.routine.declare(context, b.module, self.routine._element(sig.args[1:]))
        record_type = ir.LiteralStructType([a.type for a in args])
        thunk_type = ir.FunctionType(ir.VoidType(), [i64, i64, i64])
        thunk = ir.Function(b.module, thunk_type, b.module.get_unique_name(f"share.{self.name}"))
        thunk.linkage = "internal"
        inside = ir.IRBuilder(thunk.append_basic_block())
        address, q, workers = thunk.args
        taken = inside.load(inside.inttoptr(address, record_type.as_pointer()))
        inside.call(body, [inside.extract_value(taken, i) for i in range(len(args))] + [q, workers])
        inside.ret_void()

        workers, starter = (b.extract_value(team, i) for i in range(2))
        with b.if_else(b.icmp_signed("==", workers, i64(1))) as (alone, together):
            with alone:
                b.call(body, [*args, i64(0), i64(1)])
            with together:
                record = cgutils.alloca_once(b, record_type)
                for i, value in enumerate(args):
                    b.store(value, cgutils.gep_inbounds(b, record, 0, i))
                start = b.inttoptr(starter, thunk_type.as_pointer())
                b.call(start, [b.ptrtoint(thunk, i64), b.ptrtoint(record, i64), workers])
        return context.get_dummy_value()


def _make_callable(key: Any, types_of_call: Callable, lower: Callable) -> None:
    """Let compiled code call ``key``, an object, with the arguments that it is declared with."""

    class Template(AbstractTemplate):
        def generic(self, args, kws):
            return signature(types.void, *types_of_call(args))

    infer_global(key, typing_key=("fastclf", id(key)))(Template)
    lower_builtin(("fastclf", id(key)), types.VarArg(types.Any))(lower)


def kernel(**specs: Callable) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare a kernel by the types of its parameters, in their order."""
    return lambda function: Kernel(function, {name: _spec(spec) for name, spec in specs.items()})


def routine(**specs: Callable) -> Callable[[Callable[..., Any]], Routine]:
    """Declare a routine by the types of its parameters, in their order."""
    return lambda function: Routine(function, {name: _spec(spec) for name, spec in specs.items()})


def in_shares(**specs: Callable) -> Callable[[Callable[..., Any]], InShares]:
    """The same, for a routine that every thread of a team calls with its number q; q and workers are not declared."""
    return lambda function: InShares(routine(**specs, q=INT, workers=INT)(function))


@inlined
def share(total, q, workers):
    """Worker q's part of a range, as (first, past the last)."""
    return total * q // workers, total * (q + 1) // workers


# ---------------------------------------------------------------- the one parallel loop


@intrinsic
def _call(typing_context, function, argument, q, workers):
    """Call the function at an address."""

    def codegen(context, b, sig, args):
        i64 = ir.IntType(64)
        fnty = ir.FunctionType(ir.VoidType(), [i64, i64, i64])
        b.call(b.inttoptr(args[0], fnty.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


def for_each_thread(function, argument, workers):
    """Call the function at an address for every q below ``workers``, each on a thread of its own."""
    for q in prange(workers):
        _call(function, argument, q, workers)


for_each_thread = Routine(for_each_thread, {"function": INT, "argument": INT, "workers": INT}, parallel=True)
