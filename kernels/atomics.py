"""Words of memory that threads share: atomic access to them, and the wait for one to change.

A block of words is given by its address. Every access is sequentially consistent. A thread waits by reading for a moment,
because most waits are shorter than the system needs to wake a thread, and then sleeps on the word, as Linux's futex does, so
that another process can have the processor. Nobody waits by ``sched_yield``, which costs a time slice on a busy machine.
"""

from __future__ import annotations

import platform
import sys

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import inlined

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_INT, _ORDER = types.int64, "seq_cst"
#: By machine, the number of the system call futex, and the instruction by which a loop tells the processor that it waits:
#: LLVM's name for it, and its arguments.
_MACHINES = {"x86_64": (202, "llvm.x86.sse2.pause", ()), "aarch64": (98, "llvm.aarch64.hint", (_I32(1),))}
_FUTEX, _PAUSE, _PAUSE_ARGUMENTS = _MACHINES.get(platform.machine().lower(), (0, "", ()))
_WAIT, _WAKE = 128, 129  # FUTEX_WAIT and FUTEX_WAKE, for threads of one process
_EVERYBODY = 2**31 - 1
_PAUSES = 4  # between two looks at a word: the core's other thread, if it has one, gets on with its work meanwhile
_MONOTONIC = 1  # the clock's number

#: Whether threads can wait for words here.
SUPPORTED = sys.platform == "linux" and sys.maxsize > 2**32 and _FUTEX > 0


def _at(b, block, word):
    """A pointer to a word of the block."""
    return b.gep(b.inttoptr(block, _I64.as_pointer()), [word])


@intrinsic
def load(typing_context, block, word):
    """The value of a word."""

    def codegen(context, b, sig, args):
        return b.load_atomic(_at(b, *args), _ORDER, 8)

    return _INT(_INT, _INT), codegen


@intrinsic
def store(typing_context, block, word, value):
    """Set a word."""

    def codegen(context, b, sig, args):
        b.store_atomic(args[2], _at(b, *args[:2]), _ORDER, 8)
        return context.get_dummy_value()

    return types.void(_INT, _INT, _INT), codegen


@intrinsic
def add(typing_context, block, word, value):
    """Add to a word; the value before it."""

    def codegen(context, b, sig, args):
        return b.atomic_rmw("add", _at(b, *args[:2]), args[2], _ORDER)

    return _INT(_INT, _INT, _INT), codegen


@intrinsic
def replace(typing_context, block, word, old, new):
    """Set a word to ``new`` if it is ``old``; whether it was."""

    def codegen(context, b, sig, args):
        return b.extract_value(b.cmpxchg(_at(b, *args[:2]), args[2], args[3], _ORDER, _ORDER), 1)

    return types.boolean(_INT, _INT, _INT, _INT), codegen


def _futex(b, at, what, value):
    """The system call, with the lower half of a word, which comes first in memory on these machines."""
    call = cgutils.get_or_insert_function(b.module, ir.FunctionType(_I64, [_I64] * 5), "syscall")
    b.call(call, [_I64(_FUTEX), b.ptrtoint(at, _I64), _I64(what), value, _I64(0)])


@intrinsic
def _sleep(typing_context, block, word, value):
    """Sleep until a thread wakes those that wait for the word; not at all if its value is another."""

    def codegen(context, b, sig, args):
        _futex(b, _at(b, *args[:2]), _WAIT, args[2])
        return context.get_dummy_value()

    return types.void(_INT, _INT, _INT), codegen


@intrinsic
def _wake(typing_context, block, word):
    """Wake every thread that sleeps on the word."""

    def codegen(context, b, sig, args):
        _futex(b, _at(b, *args), _WAKE, _I64(_EVERYBODY))
        return context.get_dummy_value()

    return types.void(_INT, _INT), codegen


@intrinsic
def _pause(typing_context):
    """Tell the processor that a loop waits."""

    def codegen(context, b, sig, args):
        kind = ir.FunctionType(ir.VoidType(), [a.type for a in _PAUSE_ARGUMENTS])
        b.call(cgutils.get_or_insert_function(b.module, kind, _PAUSE), _PAUSE_ARGUMENTS)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _now(typing_context):
    """Nanoseconds of a clock that only goes forward."""

    def codegen(context, b, sig, args):
        time = cgutils.alloca_once(b, ir.ArrayType(_I64, 2))
        read = cgutils.get_or_insert_function(b.module, ir.FunctionType(_I32, [_I32, time.type]), "clock_gettime")
        b.call(read, [_I32(_MONOTONIC), time])
        seconds, rest = (b.load(cgutils.gep_inbounds(b, time, 0, i)) for i in range(2))
        return b.add(b.mul(seconds, _I64(10**9)), rest)

    return _INT(), codegen


@intrinsic
def processor(typing_context):
    """The number of the processor that the thread is running on."""

    def codegen(context, b, sig, args):
        number = cgutils.get_or_insert_function(b.module, ir.FunctionType(_I32, []), "sched_getcpu")
        return b.sext(b.call(number, []), _I64)

    return _INT(), codegen


@inlined
def changed(block, word, old, asleep, awake):
    """Wait until a word is not ``old``, for ``awake`` nanoseconds without sleep; its new value.

    The word ``asleep`` counts the threads that sleep for it.
    """
    until = _now() + awake
    value = load(block, word)
    while value == old:
        for _ in range(_PAUSES):
            _pause()
        if _now() < until:
            value = load(block, word)
            continue
        add(block, asleep, 1)
        value = load(block, word)
        while value == old:
            _sleep(block, word, old)
            value = load(block, word)
        add(block, asleep, -1)
    return value


@inlined
def notify(block, word, asleep):
    """Wake the threads that sleep until the word changes, after it has changed."""
    if load(block, asleep) > 0:
        _wake(block, word)
