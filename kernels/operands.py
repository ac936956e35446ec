"""Operands of products: floats, or pairs of bfloat16, each of which is as long as a float32.

A bfloat16 is the upper half of a float32. Products of two bfloat16 are exact in float32, and are added up in float32. A row
of an operand is cut along the sums' terms: a row of n floats is a row of n operands, and n bfloat16 are (n + 1) // 2 pairs.
So a tile that takes one vector of operands after the other has the same loops, strides and lanes for both; it takes half as
many steps for pairs. Where terms lie in different rows of a matrix, two rows are interleaved: pairs then go across rows.

Most intrinsics here have one meaning for both types of operand: what rounds a float to bfloat16 copies it for floats. So a
kernel is one text for all element types, and what applies to pairs only is behind ``terms_of(...) == 2``, a constant.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import simd
from .jit import AT, AT_OPERANDS, INT, PAIR, for_pairs, inlined, routine
from .simd import FLOAT, I32, INTP, at, lanes_of, real, vload, vsplat
from .target import TARGET

I16 = ir.IntType(16)
_HIGH = -65536  # the upper half of 32 bits


class _Bfloat(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, _Bfloat)

    def __hash__(self):
        return hash(_Bfloat)


def element_of(dtype: types.Type) -> ir.Type:
    """The LLVM type of an operand."""
    return I32 if dtype == PAIR else FLOAT[dtype].ir


def multiply_add(b, x, y, total):
    """``total`` plus the products of the operands x and y, for vectors of operands and a vector of sums."""
    if x.type.element != I32:
        return simd.fma(b, x, y, total)
    if TARGET.multiplies_pairs and total.type.count * 4 == TARGET.vector_bytes:
        pairs = x.type
        if llvm.llvm_version_info[0] >= 16:  # before, the instruction took integers
            pairs = ir.VectorType(_Bfloat(), 2 * x.type.count)
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        fn = cgutils.get_or_insert_function(b.module, ir.FunctionType(total.type, [total.type, pairs, pairs]), name)
        return b.call(fn, [total, b.bitcast(x, pairs), b.bitcast(y, pairs)])
    (x0, x1), (y0, y1) = _widened(b, x), _widened(b, y)
    return simd.fma(b, x0, y0, simd.fma(b, x1, y1, total))


def _widened(b, pairs):
    """The first and the second bfloat16 of every pair, as vectors of float32."""
    vty = ir.VectorType(FLOAT[types.float32].ir, pairs.type.count)
    first = b.shl(pairs, simd.constant(pairs.type, 16))
    second = b.and_(pairs, simd.constant(pairs.type, _HIGH))
    return b.bitcast(first, vty), b.bitcast(second, vty)


def _rounded(b, x):
    """The nearest bfloat16, even in a tie, in the upper half of 32 bits; NaN remains NaN. ``x`` is a vector of float32."""
    ity = ir.VectorType(I32, x.type.count)
    c = lambda value: simd.constant(ity, value)  # noqa: E731
    bits = b.bitcast(x, ity)
    odd = b.and_(b.lshr(bits, c(16)), c(1))
    near = b.add(bits, b.add(odd, c(0x7FFF)))
    return b.select(b.fcmp_unordered("uno", x, x), c(0x7FC00000), near)


def _shorts(b, address, index):
    """The address of the bfloat16 number ``index`` after an address of pairs."""
    return b.gep(b.bitcast(address, I16.as_pointer()), [index])


@intrinsic
def terms_of(typing_context, operands):
    """The number of terms in an operand: 2 for pairs, 1 for floats."""

    def codegen(context, b, sig, args):
        return INTP(2 if operands.dtype == PAIR else 1)

    return types.intp(operands), codegen


@inlined
def length_of(n, operands):
    """The operands that hold n terms."""
    return (n + terms_of(operands) - 1) // terms_of(operands)


@intrinsic
def as_operands(typing_context, floats, operands):
    """The address ``floats``, for memory that holds operands of the type of ``operands``."""

    def codegen(context, b, sig, args):
        return b.bitcast(args[0], element_of(operands.dtype).as_pointer())

    return types.CPointer(operands.dtype)(floats, operands), codegen


@intrinsic
def put(typing_context, operands, term, value):
    """Store a float as the term numbered ``term`` of a row of operands."""
    pairs = operands.dtype == PAIR
    real = types.float32 if pairs else operands.dtype

    def codegen(context, b, sig, args):
        address, term, value = args
        if pairs:
            bits = _rounded(b, simd.splat(b, value, 1))
            half = b.trunc(b.lshr(b.extract_element(bits, I32(0)), I32(16)), I16)
            b.store(half, _shorts(b, address, term))
        else:
            b.store(value, b.gep(address, [term]))
        return context.get_dummy_value()

    return types.void(operands, types.intp, real), codegen


@intrinsic
def vput(typing_context, operands, term, value):
    """Store a vector of floats as the terms from ``term`` on."""

    def codegen(context, b, sig, args):
        address, term, value = args
        if operands.dtype == PAIR:
            bits = b.lshr(_rounded(b, value), simd.constant(ir.VectorType(I32, value.type.count), 16))
            simd.store(b, b.trunc(bits, ir.VectorType(I16, value.type.count)), _shorts(b, address, term))
        else:
            simd.store(b, value, b.gep(address, [term]))
        return context.get_dummy_value()

    return types.void(operands, types.intp, value), codegen


@intrinsic
def vput_both(typing_context, pairs, offset, first, second):
    """Store pairs with the terms first[k] and second[k]."""

    def codegen(context, b, sig, args):
        address, offset, first, second = args
        low = b.lshr(_rounded(b, first), simd.constant(ir.VectorType(I32, first.type.count), 16))
        high = b.and_(_rounded(b, second), simd.constant(ir.VectorType(I32, first.type.count), _HIGH))
        simd.store(b, b.or_(low, high), b.gep(address, [offset]))
        return context.get_dummy_value()

    return types.void(pairs, types.intp, first, first), codegen


@intrinsic
def interleave(typing_context, source, first, second, count, to, offset):
    """Copy rows of operands so that their terms go across rows: into operands[offset + k], term k of each row.

    A vector of operands, of which ``count`` are used, is read from the offset ``first`` and, of pairs, another one from
    ``second``. Of pairs, two vectors are stored: their terms are those of the first row, and of the second.
    """
    pairs = source.dtype == PAIR
    lanes = TARGET.lanes(4) if pairs else FLOAT[source.dtype].lanes

    def codegen(context, b, sig, args):
        source, first, second, count, to, offset = args
        vty = ir.VectorType(element_of(sig.args[0].dtype), lanes)
        mask, zero = simd.first_lanes(b, count, lanes), simd.constant(vty, 0 if pairs else 0.0)
        x = simd.load_masked(b, b.gep(source, [first]), vty, mask, zero)
        if not pairs:
            simd.store(b, x, b.gep(to, [offset]))
            return context.get_dummy_value()
        y = simd.load_masked(b, b.gep(source, [second]), vty, mask, zero)
        shorts = ir.VectorType(I16, 2 * lanes)
        x, y = b.bitcast(x, shorts), b.bitcast(y, shorts)
        for half in range(2):
            both = [lane for k in range(half * lanes, (half + 1) * lanes) for lane in (k, 2 * lanes + k)]
            simd.store(b, b.bitcast(simd.shuffle(b, x, y, both), vty), b.gep(to, [b.add(offset, INTP(half * lanes))]))
        return context.get_dummy_value()

    i = types.intp
    return types.void(source, i, i, i, to, i), codegen


@for_pairs
@routine(source=AT, lds=INT, n_rows=INT, n_columns=INT, to=AT_OPERANDS, ldt=INT)
def round_along(source, lds, n_rows, n_columns, to, ldt):
    """Rows of floats → rows of pairs, with terms along the row. What is left of the last pair of a row becomes 0."""
    lanes = lanes_of(source)
    whole = n_columns - n_columns % lanes
    for r in range(n_rows):
        row, there = at(source, r * lds), at(to, r * ldt)
        for k in range(0, whole, lanes):
            vput(there, k, vload(row, k))
        for k in range(whole, n_columns):
            put(there, k, row[k])
        if n_columns % 2 > 0:
            put(there, n_columns, real(source, 0.0))


@for_pairs
@routine(source=AT, lds=INT, n_rows=INT, n_columns=INT, to=AT_OPERANDS, ldt=INT)
def round_across(source, lds, n_rows, n_columns, to, ldt):
    """Rows of floats → rows of pairs, with terms across rows: to[r // 2, k] has source[r, k]. A missing row is 0."""
    lanes, zero = lanes_of(source), real(source, 0.0)
    whole = n_columns - n_columns % lanes
    for r in range(0, n_rows, 2):
        row, following, there = at(source, r * lds), at(source, (r + 1) * lds), at(to, r // 2 * ldt)
        is_there = r + 1 < n_rows
        for k in range(0, whole, lanes):
            vput_both(there, k, vload(row, k), vload(following, k) if is_there else vsplat(source, 0.0))
        for k in range(whole, n_columns):
            put(there, 2 * k, row[k])
            put(there, 2 * k + 1, following[k] if is_there else zero)
