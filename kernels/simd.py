"""SIMD vectors as values inside Numba kernels.

``Vector(element, lanes)`` is a Numba type held in one register of the target. Kernels load, compute and store vectors
explicitly, because a compiler may vectorise the same plain loop differently in different places. Here the width, the
order of every sum and each fused multiply-add are written down, so a kernel gives the same bits in its serial and in
its parallel form. No instruction carries a fast-math flag: NaN and infinity propagate.

``exp`` and ``log`` are polynomials over a reduced range, evaluated in all lanes at once. Their coefficients are
Chebyshev interpolants of (e^r - 1 - r)/r^2 on |r| <= ln(2)/2 and of (2 atanh(s) - 2s)/s^3 on 0 <= s <= 3 - 2 sqrt(2),
computed with 60 digits; their relative error is 1.7e-17 and 4e-18 (float64), 1.0e-8 and 2.7e-9 (float32).
"""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from .target import TARGET

I32 = ir.IntType(32)
INTP = ir.IntType(64)


class Vector(types.Type):
    """One register of ``lanes`` floats of the Numba type ``element``."""

    def __init__(self, element: types.Float, lanes: int):
        self.element, self.lanes = element, lanes
        super().__init__(name=f"Vector({element}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(FLOAT[fe_type.element].ir, fe_type.lanes))


class _Float:
    """The properties of one floating-point type that the polynomials and the loads need."""

    def __init__(self, numba_type, ir_type, bits, mantissa, exp_range, tanh_range, ln2, exp, log):
        self.type, self.ir, self.bits, self.mantissa = numba_type, ir_type, bits, mantissa
        self.int = ir.IntType(bits)
        self.itemsize = bits // 8
        self.lanes = TARGET.lanes(self.itemsize)
        # Adding 1.5 * 2**mantissa rounds to an integer and leaves it in the low bits.
        self.magic = 1.5 * 2.0**mantissa
        self.exp_range, self.tanh_range, self.ln2, self.exp, self.log = exp_range, tanh_range, ln2, exp, log
        self.vector = Vector(numba_type, self.lanes)


FLOAT: dict[types.Type, _Float] = {}
FLOAT[types.float64] = _Float(
    types.float64, ir.DoubleType(), 64, 52, (-600.0, 709.0), 40.0,
    (0.6931471803691238, 1.9082149292705877e-10),
    exp=(0.5000000000000001, 0.16666666666666669, 0.04166666666662413, 0.008333333333330062, 0.0013888888917213717,
         0.00019841269863053618, 2.4801521295954376e-05, 2.7557268459997064e-06, 2.7620088445409746e-07,
         2.510038549551032e-08),
    log=(0.666666666666667, 0.3999999999989938, 0.28571428626031065, 0.2222221112572281, 0.18182889786191042,
         0.15331699633543858, 0.14616721179861816),
)  # fmt: skip
FLOAT[types.float32] = _Float(
    types.float32, ir.FloatType(), 32, 23, (-60.0, 88.0), 20.0,
    (0.693115234375, 3.1946184945309415e-05),
    exp=(0.5, 0.16666576989698775, 0.041666554617204574, 0.008363179052722578, 0.0013926183587713494),
    log=(0.6666668505073791, 0.3998877599783465, 0.2958015670534363),
)  # fmt: skip


# ---------------------------------------------------------------- building blocks, also used by tile.py


def splat(b, value, lanes):
    """A vector with ``value`` in every lane."""
    vty = ir.VectorType(value.type, lanes)
    undef = ir.Constant(vty, ir.Undefined)
    first = b.insert_element(undef, value, I32(0))
    return b.shuffle_vector(first, undef, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def constant(vty, value):
    """A vector constant: one value in every lane, or a list of values, one per lane."""
    values = value if isinstance(value, (list, tuple)) else [value] * vty.count
    return ir.Constant(vty, [ir.Constant(vty.element, v) for v in values])


def shuffle(b, x, y, lanes):
    """A vector of selected lanes: ``lanes`` are their positions in x followed by y."""
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def _suffix(vty):
    if isinstance(vty, ir.IntType):
        return f"i{vty.width}"
    if not isinstance(vty, ir.VectorType):
        return "f32" if isinstance(vty, ir.FloatType) else "f64"
    return f"v{vty.count}{_suffix(vty.element)}"


def call(b, name, vty, *args):
    """Call the LLVM intrinsic ``name`` that is overloaded on ``vty``."""
    fn = cgutils.get_or_insert_function(
        b.module, ir.FunctionType(vty, [a.type for a in args]), f"llvm.{name}.{_suffix(vty)}"
    )
    return b.call(fn, args)


def fma(b, x, y, z):
    """X * y + z, fused; with two roundings on SSE2, which has no such instruction (llvm.fma would be a library call)."""
    return call(b, "fmuladd" if TARGET.name == "SSE2" else "fma", x.type, x, y, z)


def align_of(fty):
    if isinstance(fty, ir.IntType):
        return fty.width // 8
    return 4 if isinstance(fty, ir.FloatType) else 8


def load(b, pointer, vty):
    """Load a vector from an address that is aligned to the element size only."""
    value = b.load(b.bitcast(pointer, vty.as_pointer()))
    value.align = align_of(vty.element)
    return value


def store(b, value, pointer):
    st = b.store(value, b.bitcast(pointer, value.type.as_pointer()))
    st.align = align_of(value.type.element)


def first_lanes(b, count, lanes):
    """The mask that is true in the first ``count`` lanes."""
    index = constant(ir.VectorType(I32, lanes), list(range(lanes)))
    return b.icmp_signed("<", index, splat(b, b.trunc(count, I32), lanes))


def load_masked(b, pointer, vty, mask, fill):
    pty = vty.as_pointer()
    fn = cgutils.get_or_insert_function(
        b.module, ir.FunctionType(vty, [pty, I32, mask.type, vty]), f"llvm.masked.load.{_suffix(vty)}.p0"
    )
    return b.call(fn, [b.bitcast(pointer, pty), I32(align_of(vty.element)), mask, fill])


def store_masked(b, value, pointer, mask):
    pty = value.type.as_pointer()
    fn = cgutils.get_or_insert_function(
        b.module,
        ir.FunctionType(ir.VoidType(), [value.type, pty, I32, mask.type]),
        f"llvm.masked.store.{_suffix(value.type)}.p0",
    )
    b.call(fn, [value, b.bitcast(pointer, pty), I32(align_of(value.type.element)), mask])


def fold(b, x, combine):
    """Reduce a vector to a scalar in a fixed order: combine its two halves until one lane is left."""
    while x.type.count > 1:
        half = x.type.count // 2
        x = combine(shuffle(b, x, x, range(half)), shuffle(b, x, x, range(half, 2 * half)))
    return b.extract_element(x, I32(0))


def sum4(b, vectors):
    """Four vectors → one vector of their four sums, each added in the order of ``fold``.

    Two vectors are folded by the same instruction, so that all four take half as many instructions.
    """
    s, t, u, v = vectors
    n = s.type.count
    if n == 2:
        st = b.fadd(shuffle(b, s, t, (0, 2)), shuffle(b, s, t, (1, 3)))
        uv = b.fadd(shuffle(b, u, v, (0, 2)), shuffle(b, u, v, (1, 3)))
        return shuffle(b, st, uv, range(4))
    if n == 4:
        st = b.fadd(shuffle(b, s, t, (0, 4, 1, 5)), shuffle(b, s, t, (2, 6, 3, 7)))
        uv = b.fadd(shuffle(b, u, v, (0, 4, 1, 5)), shuffle(b, u, v, (2, 6, 3, 7)))
        return b.fadd(shuffle(b, st, uv, (0, 1, 4, 5)), shuffle(b, st, uv, (2, 3, 6, 7)))

    def halves(x, y, size, part):
        """The low (0) or high (1) half of each group of ``size`` lanes of x followed by y."""
        lanes = [k for k in range(2 * n) if k % size // (size // 2) == part]
        return shuffle(b, x, y, lanes)

    st, uv = (b.fadd(halves(x, y, n, 0), halves(x, y, n, 1)) for x, y in ((s, t), (u, v)))
    total, size = b.fadd(halves(st, uv, n // 2, 0), halves(st, uv, n // 2, 1)), n // 4
    while size > 1:
        total, size = b.fadd(total, shuffle(b, total, total, [min(k + size // 2, n - 1) for k in range(n)])), size // 2
    return shuffle(b, total, total, range(0, n, n // 4))


def turned(b, rows):
    """The transposed square of as many vectors as they have lanes."""
    n, step = len(rows), 1
    while step < n:  # exchange one bit of the row's number for the same bit of the lane's
        new = list(rows)
        for i in (i for i in range(n) if not i & step):
            x, y = rows[i], rows[i + step]
            new[i] = shuffle(b, x, y, [n + k - step if k & step else k for k in range(n)])
            new[i + step] = shuffle(b, x, y, [n + k if k & step else k + step for k in range(n)])
        rows, step = new, 2 * step
    return rows


def larger(b, x, y):
    """The larger of x and y in each lane; x where either is NaN."""
    return b.select(b.fcmp_ordered("<", x, y), y, x)


def data_pointer(context, b, array_type, value):
    from numba.np.arrayobj import make_array  # takes long to import, and is for the compiler alone

    return make_array(array_type)(context, b, value).data


def _float_of(x):
    """The ``_Float`` of a vector's elements."""
    return next(f for f in FLOAT.values() if f.ir == x.type.element)


def _polynomial(b, x, coefficients):
    """c0 + c1 x + c2 x^2 …, pairs first (Estrin), because small loops wait for the latency of a chain of multiply-adds."""
    terms = [constant(x.type, c) for c in coefficients]
    power = x
    while len(terms) > 1:
        pairs = [fma(b, terms[i + 1], power, terms[i]) for i in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(pairs) * 2 :]
        if len(terms) > 1:
            power = b.fmul(power, power)
    return terms[0]


def _exp(b, x):
    """e**x = 2**k e**r with k = round(x / ln 2); x is first clipped to a range whose results are normal numbers."""
    low, high = (constant(x.type, bound) for bound in _float_of(x).exp_range)
    x = b.select(b.fcmp_ordered("<", x, low), low, x)
    x = b.select(b.fcmp_ordered(">", x, high), high, x)
    k, r = _reduced(b, x)
    return _scaled(b, _exp_small(b, r), k)


def _reduced(b, x):
    """K = round(x / ln 2), in the low bits of a float, and r = x - k ln 2."""
    f, c = _float_of(x), lambda value: constant(x.type, value)
    t = fma(b, x, c(1.4426950408889634), c(f.magic))
    k = b.fsub(t, c(f.magic))
    r = fma(b, k, c(-f.ln2[0]), x)
    return t, fma(b, k, c(-f.ln2[1]), r)


def _scaled(b, x, k):
    """2**k x, for k in the low bits of a float."""
    f = _float_of(x)
    ivty = ir.VectorType(f.int, x.type.count)
    shifted = b.shl(b.bitcast(k, ivty), constant(ivty, f.mantissa))
    return b.bitcast(b.add(b.bitcast(x, ivty), shifted), x.type)


def _exp_small(b, r):
    """e**r for |r| <= ln(2)/2."""
    q = _polynomial(b, r, _float_of(r).exp)
    return fma(b, b.fmul(r, r), q, b.fadd(r, constant(r.type, 1.0)))


def _tanh(b, x):
    """Tanh x = t / (t + 2) with the sign of x, where t = e**(2 |x|) - 1 = 2**k (e**r - 1) + (2**k - 1)."""
    f, c = _float_of(x), lambda value: constant(x.type, value)
    y = b.fmul(call(b, "fabs", x.type, x), c(2.0))
    y = b.select(b.fcmp_ordered(">", y, c(f.tanh_range)), c(f.tanh_range), y)
    k, r = _reduced(b, y)
    power = _scaled(b, c(1.0), k)
    small = fma(b, b.fmul(r, r), _polynomial(b, r, f.exp), r)
    t = fma(b, power, small, b.fsub(power, c(1.0)))
    below = b.fadd(t, c(2.0))
    lost = b.fsub(t, b.fsub(below, c(2.0)))  # by the rounding of t + 2
    inverse = b.fdiv(c(1.0), below)
    near = b.fmul(t, inverse)
    rest = fma(b, b.fneg(near), lost, fma(b, b.fneg(near), below, t))
    return call(b, "copysign", x.type, fma(b, rest, inverse, near), x)


def _log(b, x):
    """log(x) for a positive normal number x; -infinity at 0, NaN below 0, x itself for infinity and NaN."""
    vty, f = x.type, _float_of(x)
    c = lambda value: constant(vty, value)  # noqa: E731
    ivty = ir.VectorType(f.int, vty.count)
    ic = lambda value: constant(ivty, value)  # noqa: E731
    # sqrt(1/2), with the low bits of its mantissa dropped: m lies in [sqrt(1/2), sqrt(2)).
    root = {64: 0x3FE6A09E00000000, 32: 0x3F3504F3}[f.bits]
    bits = b.bitcast(x, ivty)
    shifted = b.sub(bits, ic(root))
    k = b.ashr(shifted, ic(f.mantissa))
    m = b.bitcast(b.sub(bits, b.shl(k, ic(f.mantissa))), vty)
    magic_bits = int(np.array(f.magic, f"f{f.itemsize}").view(f"i{f.itemsize}"))
    kf = b.fsub(b.bitcast(b.add(k, ic(magic_bits)), vty), c(f.magic))
    g = b.fsub(m, c(1.0))
    s = b.fdiv(g, b.fadd(g, c(2.0)))
    z = b.fmul(s, s)
    r = b.fmul(z, _polynomial(b, z, f.log))
    half_square = b.fmul(b.fmul(g, c(0.5)), g)
    # log(1 + g) = g - (g^2/2 - s (g^2/2 + R)): the large term is added last, so that only its rounding matters
    inner = fma(b, s, b.fadd(half_square, r), b.fmul(kf, c(f.ln2[1])))
    y = b.fadd(fma(b, kf, c(f.ln2[0]), b.fsub(inner, half_square)), g)
    y = b.select(b.fcmp_ordered("==", x, c(0.0)), c(float("-inf")), y)
    y = b.select(b.fcmp_ordered("<", x, c(0.0)), c(float("nan")), y)
    return b.select(b.fcmp_unordered("==", x, c(float("inf"))), x, y)


# ---------------------------------------------------------------- arithmetic on vectors


def _binary(op, build):
    @infer_global(op)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(op, Vector, Vector)
    def lower(context, builder, sig, args):
        return build(builder, *args)


_binary(operator.add, lambda b, x, y: b.fadd(x, y))
_binary(operator.sub, lambda b, x, y: b.fsub(x, y))
_binary(operator.mul, lambda b, x, y: b.fmul(x, y))
_binary(operator.truediv, lambda b, x, y: b.fdiv(x, y))


def _on_vectors(n_args, build, result=lambda vector: vector):
    """An intrinsic on ``n_args`` vectors of one type. ``result`` maps this type to that of the result."""

    def codegen(context, b, sig, args):
        return build(b, *args)

    if n_args == 1:

        @intrinsic
        def f(typing_context, x):
            return result(x)(x), codegen
    elif n_args == 2:

        @intrinsic
        def f(typing_context, x, y):
            return result(x)(x, y), codegen
    elif n_args == 3:

        @intrinsic
        def f(typing_context, x, y, z):
            return result(x)(x, y, z), codegen
    else:

        @intrinsic
        def f(typing_context, s, t, u, v):
            return result(s)(s, t, u, v), codegen

    return f


def _where(b, condition, value):
    return b.select(condition, value, constant(value.type, 0.0))


def _total(b, x):
    half = x.type.count // 2
    while half:
        x, half = b.fadd(x, shuffle(b, x, x, [lane ^ half for lane in range(x.type.count)])), half // 2
    return x


vfma = _on_vectors(3, fma)
vmax = _on_vectors(2, larger)
vmin = _on_vectors(2, lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), y, x))
vabs = _on_vectors(1, lambda b, x: call(b, "fabs", x.type, x))
vsqrt = _on_vectors(1, lambda b, x: call(b, "sqrt", x.type, x))
vexp, vexp_small, vlog = _on_vectors(1, _exp), _on_vectors(1, _exp_small), _on_vectors(1, _log)
vtanh = _on_vectors(1, _tanh)

#: The last vector in the lanes where the first two are equal, or where the first is positive; 0 in the other lanes.
vwhere_equal = _on_vectors(3, lambda b, x, y, value: _where(b, b.fcmp_ordered("==", x, y), value))
vwhere_positive = _on_vectors(2, lambda b, x, value: _where(b, b.fcmp_ordered(">", x, constant(x.type, 0.0)), value))

#: Reductions of a vector: the sum of its lanes, the largest lane, the first lane. ``vtotal`` has the sum in every lane,
#: which is cheaper than ``vsplat`` of a scalar sum. ``vsum4`` is a vector of the sums of four vectors.
vsum = _on_vectors(1, lambda b, x: fold(b, x, b.fadd), lambda vector: vector.element)
vhighest = _on_vectors(1, lambda b, x: fold(b, x, lambda y, z: larger(b, y, z)), lambda vector: vector.element)
vlane0 = _on_vectors(1, lambda b, x: b.extract_element(x, I32(0)), lambda vector: vector.element)
vtotal = _on_vectors(1, _total)
vsum4 = _on_vectors(4, lambda b, *vectors: sum4(b, vectors), lambda vector: Vector(vector.element, 4))


@intrinsic
def real(typing_context, like, value):
    """``value`` converted to the element type of ``like``, an array or address."""
    f = FLOAT[like.dtype]

    def codegen(context, b, sig, args):
        return context.cast(b, args[1], sig.args[1], f.type)

    return f.type(like, value), codegen


# ---------------------------------------------------------------- memory, lanes


def _make_number_at(element):
    @intrinsic
    def number_at(typing_context, raw, index):
        """The ``index``-th float of type ``element`` after the address ``raw``, which need not be aligned."""

        def codegen(context, b, sig, args):
            value = b.load(b.gep(b.bitcast(args[0], FLOAT[element].ir.as_pointer()), [args[1]]))
            value.align = 1
            return value

        return element(raw, types.intp), codegen

    return number_at


single_at, double_at = _make_number_at(types.float32), _make_number_at(types.float64)


@intrinsic
def transpose(typing_context, source, lds, to, ldt):
    """Write a square of as many rows and columns as a vector has lanes, at ``source``, to ``to``, transposed."""
    f = FLOAT[source.dtype]

    def codegen(context, b, sig, args):
        source, lds, to, ldt = args
        vty = ir.VectorType(f.ir, f.lanes)
        rows = [load(b, b.gep(source, [b.mul(lds, INTP(i))]), vty) for i in range(f.lanes)]
        for i, row in enumerate(turned(b, rows)):
            store(b, row, b.gep(to, [b.mul(ldt, INTP(i))]))
        return context.get_dummy_value()

    return types.void(source, types.intp, to, types.intp), codegen


@intrinsic
def vwithin(typing_context, value, limit):
    """Whether every lane lies within [-limit, limit]; False if a lane is NaN."""

    def codegen(context, b, sig, args):
        x, limit = args
        size = call(b, "fabs", x.type, x)
        inside = b.fcmp_ordered("<=", size, splat(b, limit, x.type.count))
        bits = ir.IntType(x.type.count)
        return b.icmp_unsigned("==", b.bitcast(inside, bits), ir.Constant(bits, -1))

    return types.boolean(value, value.element), codegen


@intrinsic
def lanes_of(typing_context, array):
    """The number of lanes in a vector of the array's elements."""

    def codegen(context, b, sig, args):
        return INTP(FLOAT[sig.args[0].dtype].lanes)

    return types.intp(array), codegen


def _make_splat(lanes_of_float):
    @intrinsic
    def vsplat(typing_context, array, value):
        """A vector of the array's element type with ``value`` in every lane."""
        f = FLOAT[array.dtype]

        def codegen(context, b, sig, args):
            return splat(b, context.cast(b, args[1], sig.args[1], f.type), lanes_of_float(f))

        return Vector(f.type, lanes_of_float(f))(array, value), codegen

    return vsplat


def _element_pointer(context, b, sig, args):
    """The address args[1] elements after args[0], an array or an address."""
    base = args[0] if isinstance(sig.args[0], types.CPointer) else data_pointer(context, b, sig.args[0], args[0])
    return b.gep(base, [args[1]])


@intrinsic
def at(typing_context, array, offset):
    """The address ``offset`` elements after the array's first, or after another address."""

    def codegen(context, b, sig, args):
        return _element_pointer(context, b, sig, args)

    return types.CPointer(array.dtype)(array, types.intp), codegen


def _make_load(lanes_of_float):
    @intrinsic
    def vload(typing_context, array, offset):
        """The vector that starts ``offset`` elements after the array's first."""
        f = FLOAT[array.dtype]

        def codegen(context, b, sig, args):
            return load(b, _element_pointer(context, b, sig, args), ir.VectorType(f.ir, lanes_of_float(f)))

        return Vector(f.type, lanes_of_float(f))(array, types.intp), codegen

    return vload


def _make_load_first(lanes_of_float):
    @intrinsic
    def vload_first(typing_context, array, offset, count, fill):
        """``vload`` for the first ``count`` lanes only; the other lanes are ``fill``, and their memory is not read."""
        f = FLOAT[array.dtype]

        def codegen(context, b, sig, args):
            vty = ir.VectorType(f.ir, lanes_of_float(f))
            mask = first_lanes(b, args[2], vty.count)
            return load_masked(b, _element_pointer(context, b, sig, args), vty, mask, splat(b, args[3], vty.count))

        return Vector(f.type, lanes_of_float(f))(array, types.intp, types.intp, f.type), codegen

    return vload_first


# A vector is as wide as the target's registers, or has four lanes, for callers that need no more. Arithmetic on four
# lanes is not faster, but the sum of the lanes takes fewer steps.
vsplat, vload, vload_first = (make(lambda f: f.lanes) for make in (_make_splat, _make_load, _make_load_first))
vsplat4, vload4, vload4_first = (make(lambda f: 4) for make in (_make_splat, _make_load, _make_load_first))


@intrinsic
def vstore(typing_context, array, offset, value):
    def codegen(context, b, sig, args):
        store(b, args[2], _element_pointer(context, b, sig, args))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def vstore_first(typing_context, array, offset, value, count):
    """Store the first ``count`` lanes only."""

    def codegen(context, b, sig, args):
        mask = first_lanes(b, args[3], args[2].type.count)
        store_masked(b, args[2], _element_pointer(context, b, sig, args), mask)
        return context.get_dummy_value()

    return types.void(array, types.intp, value, types.intp), codegen


@intrinsic
def vfirst(typing_context, value, count, fill):
    """The first ``count`` lanes of ``value``, ``fill`` in the others."""

    def codegen(context, b, sig, args):
        lanes = args[0].type.count
        return b.select(first_lanes(b, args[1], lanes), args[0], splat(b, args[2], lanes))

    return value(value, types.intp, value.element), codegen


@intrinsic
def vhot(typing_context, array, lane):
    """A vector with 1 in the lane numbered ``lane`` and 0 in the others; all 0, if there is no such lane."""
    f = FLOAT[array.dtype]

    def codegen(context, b, sig, args):
        index = constant(ir.VectorType(I32, f.lanes), list(range(f.lanes)))
        vty = ir.VectorType(f.ir, f.lanes)
        on = b.icmp_signed("==", index, splat(b, b.trunc(args[1], I32), f.lanes))
        return b.select(on, constant(vty, 1.0), constant(vty, 0.0))

    return f.vector(array, types.intp), codegen
