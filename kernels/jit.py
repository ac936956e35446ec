"""How kernels are compiled: compiler flags, signatures, and how kernels call routines.

There are three kinds of function, from the outside in.

*Kernels* are called by Python, with arrays. *Routines* are called by kernels and other routines, with addresses: the matrix
products, the output layer, the work of one thread. A kernel or routine is one Python function, whose decorator declares the
types of its arguments. It is compiled by itself when it is first needed, once for each element type and for no other types:
an argument of another dtype, layout or dimension is a bug of ours and an error, not a silent recompilation. The linker finds
a routine by its name, so its machine code exists once for all its callers. If routines were inlined, compiling the register
tiles again and again would be most of a first-time user's wait. *Inlined* functions become part of their callers.

*Flags.* ``FASTMATH`` lists the liberties of the compiler. It has no flag that alters a rounding (``reassoc``, ``contract``,
``arcp``), because the same sums must give the same bits wherever they are compiled. It has neither ``nnan`` nor ``ninf``,
because a diverging run must be detected. Kernels spell out their fused operations and the order of their sums.

*Teams.* ``in_shares`` makes every thread of a team call a routine, each with its own number q. What starts the threads is
independent of the routine that they run, so a kernel is the same machine code for one thread and for many.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.imputils import lower_builtin, lower_getattr_generic
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_getattr, infer_global, signature
from numba.extending import intrinsic, models, register_model

from .aside import aside
from .cache import Cache, cache_folder
from .codegen import instruction_set

if config.DISABLE_JIT:
    raise ValueError("NUMBA_DISABLE_JIT must not be set: fastclf's kernels exist as machine code only")


FASTMATH = frozenset({"nsz"})
FLAGS: dict[str, Any] = {"fastmath": set(FASTMATH), "error_model": "numpy", "nogil": True, "_nrt": False}


class _IntermediateCode(JITCodeLibrary):
    """The code of an inlined function, from which its callers are made. It gets no machine code: that would never run."""

    def _optimize_final_module(self):
        """Its callers are optimised when it has become part of them."""

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name):
        return 0

    @property
    def codegen(self):
        return self

    def set_env(self, name, environment):
        """Numba asks the code generator for this. There is no machine code that could look for its environment."""


class _Inlining(Compiler):
    def __init__(self, typing_context, target_context, library, *rest):
        if library is None:
            library = _IntermediateCode(instruction_set(False).target_context.codegen(), "inlined")
        super().__init__(typing_context, target_context, library, *rest)


def inlined(function: Callable[..., Any]) -> Any:
    """Decorator of small functions for inner loops: always inlined into their callers.

    They are compiled once for all integers. Numba would compile them again for each constant that is an argument.
    """
    alone = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True, "pipeline_class": _Inlining}
    made = numba.njit(**FLAGS, **alone)(function)
    fold = made._compiler.fold_argument_types

    def fold_without_literals(args: Any, kws: Any) -> tuple[Any, tuple[types.Type, ...]]:
        pysig, args = fold(args, kws)
        return pysig, tuple(types.unliteral(a) for a in args)

    made._compiler.fold_argument_types = fold_without_literals
    return made


# ---------------------------------------------------------------- argument types, as functions of the element type


#: Two neighbouring bfloat16, the first one in the low bits: as long as a float32, whose upper half a bfloat16 is. Products
#: take operands of this type, or floats; everything else that a kernel for bfloat16 does is in float32.
PAIR = types.uint32


def REAL(element: types.Type) -> types.Type:
    """A scalar of the element type, in which sums are added up: float32 for pairs."""
    return types.float32 if element == PAIR else element


def _array(
    ndim: int, readonly: bool, of: Callable[[types.Type], types.Type] = REAL
) -> Callable[[types.Type], types.Type]:
    return lambda element: types.Array(of(element), ndim, "C", readonly=readonly)


def _operand(element: types.Type) -> types.Type:
    return element


def _always(fixed: types.Type) -> Callable[[types.Type], types.Type]:
    """The type ``fixed``, whatever the element type."""
    return lambda element: fixed


IN1, IN2 = _array(1, True), _array(2, True)  # floats that the kernel reads
OUT1, OUT2 = _array(1, False), _array(2, False)  # floats that the kernel may write
OPERANDS2 = _array(2, True, _operand)  # operands of products, which the kernel reads
OUT_OPERANDS1, OUT_OPERANDS2 = (_array(ndim, False, _operand) for ndim in (1, 2))
IN64 = _always(types.Array(types.float64, 1, "C", readonly=True))  # rates and the like, which the kernel reads
OUT64 = _always(types.Array(types.float64, 1, "C"))  # losses and the like, which the kernel writes
INDEX = _always(types.Array(types.int64, 1, "C", readonly=True))  # positions
OUT_INDEX = _always(types.Array(types.int64, 1, "C"))  # positions, which the kernel writes
INDEX32 = _always(types.Array(types.int32, 1, "C", readonly=True))  # columns of a sparse matrix
TABLE = _always(types.Array(types.int64, 2, "C", readonly=True))  # a model's layout
BYTES2 = _always(types.Array(types.uint8, 2, "C", readonly=True))  # samples in the form in which they are stored
AT_OPERANDS = types.CPointer  # the address of operands of products
AT_INDEX, AT_INDEX32, AT64, AT_BYTES = (
    _always(types.CPointer(t)) for t in (types.int64, types.int32, types.float64, types.uint8)
)
INT, FLAG = _always(types.int64), _always(types.boolean)
TEAM = _always(types.UniTuple(types.int64, 3))  # number of threads, what starts them (an address), and its own argument
ALONE = (1, 0, 0)  # the team of one thread


def AT(element: types.Type) -> types.Type:
    """The address of floats."""
    return types.CPointer(REAL(element))


class Record:
    """The type of a named tuple. Its fields are annotated with the same types that declare parameters."""

    def __init__(self, made: Any) -> None:
        names = globals() | vars(sys.modules[made.__module__])
        self.made = made
        self.fields = {name: spec_of(eval(text.__forward_arg__, names)) for name, text in made.__annotations__.items()}

    def __call__(self, element: types.Type) -> types.Type:
        return types.BaseTuple.from_types(tuple(spec(element) for spec in self.fields.values()), self.made)


def spec_of(declared: Any) -> Callable:
    """The declared type of a parameter as a function of the element type: a ``Record``, if a named tuple is declared."""
    return Record(declared) if isinstance(declared, type) and issubclass(declared, tuple) else declared


class AtRecord(types.Type):
    """The address of a record. Its fields are read where they are needed, as those of the record itself.

    A function that takes a large record by its address is compiled in a fraction of the time.
    """

    def __init__(self, record: types.BaseTuple) -> None:
        self.record = record
        super().__init__(f"AtRecord({record})")


register_model(AtRecord)(models.OpaqueModel)


@infer_getattr
class _FieldTypes(AttributeTemplate):
    key = AtRecord

    def generic_resolve(self, address: AtRecord, name: str) -> types.Type:
        return address.record[address.record.fields.index(name)]


@lower_getattr_generic(AtRecord)
def _load_field(context, b, address, value, name):
    record = b.bitcast(value, context.get_value_type(address.record).as_pointer())
    return b.load(cgutils.gep_inbounds(b, record, 0, address.record.fields.index(name)))


def AT_RECORD(made: Any) -> Callable[[types.Type], types.Type]:
    """The address of a record of the type ``made``."""
    record = Record(made)
    return lambda element: AtRecord(record(element))


@intrinsic
def address_of(typing_context, record):
    """The address of a copy of the record, which lives as long as the caller runs."""

    def codegen(context, b, sig, args):
        memory = cgutils.alloca_once(b, args[0].type)
        b.store(args[0], memory)
        return b.bitcast(memory, context.get_value_type(sig.return_type))

    return signature(AtRecord(record), record), codegen


# ---------------------------------------------------------------- what is compiled

#: Every kernel and routine of the package, by name: ``fastclf warmup`` compiles them, and the tests walk over them.
COMPILED: dict[str, Compiled] = {}


def announce(line: str) -> None:
    """Say one sentence on standard error before a compilation that keeps the user waiting; above a bar that tqdm shows."""
    bars = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if bars is not None and sys.stderr is not None:
        bars.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


def parameters(function: Any) -> tuple[str, ...]:
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def check_declared(function: Any, specs: dict[str, Callable]) -> None:
    if parameters(function) != (*specs,):
        raise TypeError(f"{function.__name__}: parameters {parameters(function)}, declared {(*specs,)}")


_compiling = threading.RLock()

if hasattr(os, "register_at_fork"):
    # A child of a fork has no thread that could go on with a compilation, and would wait for the locks for ever. Before a
    # fork, the last of these locks is taken first, as in a compilation.
    for _lock in (global_compiler_lock, _compiling):
        os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Compiled:
    """One function, compiled on its own for each element type."""

    def __init__(self, function: Callable[..., Any], specs: dict[str, Callable]) -> None:
        check_declared(function, specs)
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        if self.name in COMPILED:
            raise ValueError(f"there are two {self.name}: they would read each other's cache")
        functools.update_wrapper(self, function)
        function.__qualname__ = function.__name__  # Numba names the cache's files by it
        self.specs, self._function = specs, function
        self._ready: dict[np.dtype[Any], Any] = {}
        COMPILED[self.name] = self

    @functools.cached_property
    def dtypes(self) -> tuple[str, ...]:
        """The element types to compile for; only int64, a placeholder, if no argument depends on the element type."""
        signatures = {
            (*(spec(e) for spec in self.specs.values()),): str(e) for e in (PAIR, types.float64, types.float32)
        }
        return (*sorted(signatures.values()),) if len(signatures) > 1 else ("int64",)

    def signature(self, dtype: Any) -> tuple[types.Type, ...]:
        """The Numba types of the arguments for elements of ``dtype``."""
        dtype = np.dtype(dtype)
        if dtype.name not in self.dtypes or not dtype.isnative:
            raise TypeError(f"{self.name} is for {' and '.join(self.dtypes)}, got {dtype}")
        element = numba.from_dtype(dtype)
        return tuple(spec(element) for spec in self.specs.values())

    @functools.cached_property
    def needs(self) -> tuple[Routine, ...]:
        """The routines that this function calls, which must be compiled before it."""
        return tuple(dict.fromkeys(_routines(self._function)))

    def compile(self, dtype: Any, quiet: bool = False) -> Any:
        """The machine code for one element type: from memory, from the cache, or compiled now."""
        dtype = np.dtype(dtype)
        if dtype not in self._ready:
            if global_compiler_lock.is_locked():
                # This thread compiles somebody's function that calls a routine of ours.
                self._make_ready(dtype, quiet)
            else:
                aside(lambda: self._make_ready(dtype, quiet))
        return self._ready[dtype]

    def _make_ready(self, dtype: np.dtype[Any], quiet: bool) -> None:
        with _compiling:
            if dtype in self._ready:
                return
            sig, key = self.signature(dtype), dtype.name
            if not quiet and self.place(dtype) is None:
                kept = "kept for later runs" if cache_folder() is not None else "there is no cache"
                numbers = "bfloat16" if key == str(PAIR) else key
                announce(f"fastclf: compiling {self.name} for {numbers} (seconds, once: {kept})")
                quiet = True
            for routine in self.needs:
                if not routine.exists_for(numba.from_dtype(dtype)):
                    continue
                routine.compile(dtype if key in routine.dtypes else routine.dtypes[0], quiet)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", numba.NumbaPerformanceWarning)
                self._ready[dtype] = self._compile(sig, key)

    def place(self, dtype: Any) -> str | None:
        """Where the machine code for one element type is on disk: "package", "cache", or None."""
        return Cache(self._function).place_of(self._key(dtype), target_for(np.dtype(dtype).name).target_context)

    def _key(self, dtype: Any) -> Any:
        return self.signature(dtype)

    def _compile(self, sig: tuple[types.Type, ...], dtype: str) -> Any:
        raise NotImplementedError


def target_for(dtype: str) -> Any:
    """What to compile for, for elements of the dtype."""
    return instruction_set(dtype == str(PAIR))


def _routines(function: Any) -> list[Routine]:
    """The routines named in a function and in the functions that it inlines."""
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


class Routine(Compiled):
    """A compiled function without a result that kernels and other routines call."""

    def __init__(self, function: Callable[..., Any], specs: dict[str, Callable], **flags: Any) -> None:
        super().__init__(function, specs)
        self._flags, self.for_pairs_only = FLAGS | flags, False
        _make_callable(self, self._types_of_call, self._lower)

    @functools.cached_property
    def dtypes(self) -> tuple[str, ...]:
        return (str(PAIR),) if self.for_pairs_only else super().dtypes

    def __call__(self, *args: Any) -> None:
        raise TypeError(f"{self.name} is called by kernels only")

    def _element(self, arguments: tuple[types.Type, ...]) -> types.Type:
        """The element type of a call: ``PAIR`` if an address of pairs is among the arguments, else that of the floats."""
        if self.dtypes == ("int64",):
            return types.int64
        records = [a.record if isinstance(a, AtRecord) else a for a in arguments]
        flat = [t for a in records for t in (a.types if isinstance(a, types.BaseTuple) else (a,))]
        found = [t.dtype for t in flat if isinstance(t, types.CPointer)]
        if PAIR in found and str(PAIR) in self.dtypes:
            return PAIR
        return next(t for t in found if isinstance(t, types.Float))

    def exists_for(self, element: types.Type) -> bool:
        """Whether there is machine code for the element type; if not, a call is no code."""
        return not self.for_pairs_only or element == PAIR

    def _types_of_call(self, arguments: tuple[types.Type, ...]) -> tuple[types.Type, ...]:
        element = self._element(arguments)
        if not self.exists_for(element):
            return arguments
        self.compile(str(element), quiet=True)
        return self.signature(str(element))

    def declare(self, context: Any, module: ir.Module, element: types.Type) -> ir.Function:
        """The routine's declaration in another LLVM module."""
        arguments = [context.get_value_type(t) for t in self.signature(str(element))]
        return cgutils.get_or_insert_function(
            module, ir.FunctionType(ir.VoidType(), arguments), self._symbol(str(element))
        )

    def _symbol(self, dtype: str) -> str:
        return f"fastclf.{self.name}.{dtype}"

    def _lower(self, context: Any, b: Any, sig: Any, args: Any) -> Any:
        if self.exists_for(self._element(sig.args)):
            b.call(self.declare(context, b.module, self._element(sig.args)), args)
        return context.get_dummy_value()

    def _key(self, dtype: Any) -> Any:
        return signature(types.void, *self.signature(dtype))

    def _compile(self, sig: tuple[types.Type, ...], dtype: str) -> CFunc:
        code = CFunc(self._function, (sig, types.void), {}, self._flags)
        code._targetdescr = code._compiler.targetdescr = target_for(dtype)
        code._cache = Cache(self._function)
        code.compile()
        llvm.add_symbol(self._symbol(dtype), code.address)
        return code


class InShares:
    """A routine that every thread of a team calls: ``shares(team, *args)`` is ``routine(*args, q, workers)`` for every q.

    ``q``, the thread's number, and ``workers``, the number of threads, are the routine's last parameters.
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
        return TEAM(types.int64), *self.routine._types_of_call(arguments[1:])[: len(arguments) - 1]

    def _lower(self, context: Any, b: Any, sig: Any, args: Any) -> Any:
        """Put the arguments into a record; the threads run a thunk that unpacks them and calls the routine."""
        team, *args = args
        if not self.routine.exists_for(self.routine._element(sig.args[1:])):
            return context.get_dummy_value()
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

        workers, starter, argument = (b.extract_value(team, i) for i in range(3))
        with b.if_else(b.icmp_signed("==", workers, i64(1))) as (alone, together):
            with alone:
                b.call(body, [*args, i64(0), i64(1)])
            with together:
                record = cgutils.alloca_once(b, record_type)
                for i, value in enumerate(args):
                    b.store(value, cgutils.gep_inbounds(b, record, 0, i))
                start = b.inttoptr(starter, ir.FunctionType(ir.VoidType(), [i64] * 4).as_pointer())
                b.call(start, [b.ptrtoint(thunk, i64), b.ptrtoint(record, i64), workers, argument])
        return context.get_dummy_value()


def _make_callable(key: Any, types_of_call: Callable, lower: Callable) -> None:
    """Let compiled code call the object ``key`` with the arguments that ``types_of_call`` accepts."""

    class Template(AbstractTemplate):
        def generic(self, args, kws):
            return signature(types.void, *types_of_call(args))

    infer_global(key, typing_key=("fastclf", id(key)))(Template)
    lower_builtin(("fastclf", id(key)), types.VarArg(types.Any))(lower)


def routine(**specs: Callable) -> Callable[[Callable[..., Any]], Routine]:
    """Declare a routine: the types of its parameters, in order."""
    return lambda function: Routine(function, {name: spec_of(spec) for name, spec in specs.items()})


def in_shares(**specs: Callable) -> Callable[[Callable[..., Any]], InShares]:
    """Declare a routine that every thread of a team calls; its last parameters, q and workers, are not declared."""
    return lambda function: InShares(routine(**specs, q=INT, workers=INT)(function))


def for_pairs(made: Any) -> Any:
    """Decorator of a routine that exists for pairs only. A call for floats, to which no run comes, is no code."""
    (made.routine if isinstance(made, InShares) else made).for_pairs_only = True
    return made


@inlined
def share(total, q, workers):
    """Thread q's part of the range 0 … total, as (first, past the last)."""
    return total * q // workers, total * (q + 1) // workers


@intrinsic
def call_share(typing_context, function, argument, q, workers):
    """Call the function at the address ``function``, the thunk that ``InShares`` makes, for share q."""

    def codegen(context, b, sig, args):
        i64 = ir.IntType(64)
        fnty = ir.FunctionType(ir.VoidType(), [i64, i64, i64])
        b.call(b.inttoptr(args[0], fnty.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen
