"""Register tiles: the two small matrix products of which all larger products are made.

    dot    Z[r, u] = sum_k A[r, k] W[u, k] + bias      rows of A against rows of W, both contiguous along k
    outer  C[r, v] (+)= sum_p A[p, r] B[p, v]          columns of A against columns of B, v in whole vectors

Each sum is accumulated in one register, in the order of k or p, whatever the size of the tile and whichever thread runs it.
So the bits of a result depend on the operands alone. If the operands exceed the L1 cache, the sums may be stored, as
vectors, after a part of their terms, and loaded again for the next part. The operation after a product runs while the sums
are still in registers: bias and ReLU after ``dot``; after ``outer``, clipping and the weight update, the ReLU mask, or ReLU.
So an update in place needs no gradient in memory.

Operands are floats or pairs of bfloat16 (see ``operands``), and a k or p is then a pair of terms. Sums are floats.

Rows are found through an index. So a shuffled mini-batch is a slice of a permutation of row numbers: no sample is copied.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import simd
from .operands import element_of, multiply_add
from .simd import FLOAT, INTP
from .target import TARGET

DOT_ROWS, DOT_UNITS = TARGET.dot_tile
DOT_FEW = TARGET.dot_few
OUTER_ROWS, OUTER_VECTORS = TARGET.outer_tile
OUTER_SOME = max(1, OUTER_VECTORS // 2)  # vectors per row of the smaller ``outer`` tile
PANEL_BYTES = OUTER_VECTORS * TARGET.vector_bytes  # bytes of a row of B in an ``outer`` tile

UPDATE, MASK, ACTIVATE = range(3)  # what ``outer`` does with its sums


def _row(b, base, rows, index, stride):
    """The address of row ``rows[index]`` of a matrix whose rows are ``stride`` elements apart."""
    return b.gep(base, [b.mul(b.load(b.gep(rows, [index])), stride)])


def _sums(b, tiles, sources):
    """Phi nodes for the sums at the start of a block; ``sources`` is a (values, block) pair for each predecessor."""
    phis = {t: b.phi(sources[0][0][t].type) for t in tiles}
    for values, block in sources:
        for t in tiles:
            phis[t].add_incoming(values[t], block)
    return phis


def _taken_up(b, tiles, kept, begins, vty, zero):
    """The sums to start from, zeros if ``begins`` and else loaded from ``kept``, and the address there of each sum."""
    places = {t: b.gep(kept, [INTP(k * vty.count)]) for k, t in enumerate(tiles)}
    before, go_on, start = b.block, b.append_basic_block("sums.go_on"), b.append_basic_block("sums.start")
    b.cbranch(begins, start, go_on)
    b.position_at_end(go_on)
    there = {t: simd.load(b, places[t], vty) for t in tiles}
    b.branch(start)
    b.position_at_end(start)
    return _sums(b, tiles, [(dict.fromkeys(tiles, zero), before), (there, go_on)]), places


def _set_aside(b, sums, places, ends):
    """Store the sums in ``places``, unless they are complete; go on where they are. Returns the block after both."""
    keep, finish, after = (b.append_basic_block(f"sums.{name}") for name in ("keep", "complete", "after"))
    b.cbranch(ends, finish, keep)
    b.position_at_end(keep)
    for t in places:
        simd.store(b, sums[t], places[t])
    b.branch(after)
    b.position_at_end(finish)
    return after


def _make_dot(n_rows: int, n_units: int):
    """The tile of ``n_rows`` x ``n_units`` sums along k."""

    @intrinsic
    def dot(typing_context, A, lda, a_rows, W, ldw, w_rows, K, bias, bias_r, Z, act, ldo, floor, sums, begins, ends):
        """Z[r, u] = A[a_rows[r]] . W[w_rows[u]] + bias[r bias_r + u] and act = max(Z, floor); floor is 0 or -inf.

        Arrays are given by the addresses of their first elements; rows of A, W and the results are lda, ldw, ldo apart. The
        terms may be split over several calls, as those of ``outer``: all calls but the last take whole vectors of terms.
        """
        f = FLOAT[Z.dtype]
        i, flag = types.intp, types.boolean
        sig = types.void(A, i, a_rows, W, i, w_rows, i, bias, i, Z, act, i, f.type, sums, flag, flag)

        def codegen(context, b, sig, args):
            a, lda, a_rows, w, ldw, w_rows, K, bias, bias_r, z, act, ldo, floor, kept, begins, ends = args
            lanes, vty, operands = f.lanes, ir.VectorType(f.ir, f.lanes), ir.VectorType(element_of(W.dtype), f.lanes)
            arow = [_row(b, a, a_rows, INTP(r), lda) for r in range(n_rows)]
            wrow = [_row(b, w, w_rows, INTP(u), ldw) for u in range(n_units)]
            tiles = [(r, u) for u in range(n_units) for r in range(n_rows)]

            def products(sums, fetch):
                """The sums plus the products of every row of A and every row of W, for one vector of k."""
                av, new = [fetch(p) for p in arow], {}
                for u in range(n_units):
                    wv = fetch(wrow[u])
                    for r in range(n_rows):
                        new[r, u] = multiply_add(b, av[r], wv, sums[r, u])
                return new

            zero = simd.constant(vty, 0.0)
            at_start, places = _taken_up(b, tiles, kept, begins, vty, zero)
            whole = b.sub(K, b.urem(K, INTP(lanes)))
            before = b.block
            loop, rest, tail, done = (b.append_basic_block(f"dot.{name}") for name in ("k", "rest", "tail", "done"))
            b.cbranch(b.icmp_signed(">", whole, INTP(0)), loop, rest)

            b.position_at_end(loop)
            k = b.phi(INTP)
            sums = _sums(b, tiles, [(at_start, before)])
            new = products(sums, lambda p: simd.load(b, b.gep(p, [k]), operands))
            k_next = b.add(k, INTP(lanes))
            k.add_incoming(INTP(0), before)
            k.add_incoming(k_next, loop)
            for t in tiles:
                sums[t].add_incoming(new[t], loop)
            b.cbranch(b.icmp_signed("<", k_next, whole), loop, rest)

            b.position_at_end(rest)
            sums = _sums(b, tiles, [(at_start, before), (new, loop)])
            b.cbranch(b.icmp_signed("<", whole, K), tail, done)

            b.position_at_end(tail)
            mask = simd.first_lanes(b, b.sub(K, whole), lanes)
            none = ir.Constant(operands, None)
            new = products(sums, lambda p: simd.load_masked(b, b.gep(p, [whole]), operands, mask, none))
            tail_end = b.block
            b.branch(done)

            b.position_at_end(done)
            sums = _sums(b, tiles, [(sums, rest), (new, tail_end)])
            after = _set_aside(b, sums, places, ends)
            for r in range(n_rows):
                z_at, act_at = (b.gep(p, [b.mul(ldo, INTP(r))]) for p in (z, act))
                at_bias = b.gep(bias, [b.mul(bias_r, INTP(r))])
                four = simd.sum4(b, [sums[r, u] for u in range(n_units)] * (4 // n_units))
                if n_units == 4:
                    four = b.fadd(four, simd.load(b, at_bias, four.type))
                    simd.store(b, four, z_at)
                    simd.store(b, simd.larger(b, four, simd.splat(b, floor, 4)), act_at)
                else:
                    one = b.fadd(b.extract_element(four, simd.I32(0)), b.load(at_bias))
                    b.store(one, z_at)
                    b.store(simd.larger(b, one, floor), act_at)
            b.branch(after)
            b.position_at_end(after)
            return context.get_dummy_value()

        return sig, codegen

    return dot


def _make_outer(n_rows: int, n_vectors: int):
    """The tile of ``n_rows`` x ``n_vectors`` vectors of sums along p. A tile of one vector may use only some lanes."""
    partial = n_vectors < OUTER_VECTORS

    @intrinsic
    def outer(
        typing_context, A, a_p, a_r, a_rows, B, ldb, rows, depth, C, ldc, count, gate, mode, scale, step, limit, sums,
        begins, ends,
    ):  # fmt: skip
        """sum[r, v] = sum_p A[p, a_rows[r]] B[rows[p], v]; then, depending on ``mode``,

        UPDATE    C = scale C + step clip(sum, -limit, limit), where C is not read if scale is 0
        MASK      C = step sum where gate > 0, else 0
        ACTIVATE  gate = sum and C = max(sum, -limit)

        Arrays are given by the addresses of their first elements. A's elements are a_p apart along p and a_r along r, the
        rows of B ldb, those of C and gate ldc. The last vector of a row has ``count`` lanes; only tiles of fewer vectors
        than the largest may use a part of it. The terms may be split over several calls: unless a call ``begins`` the sums,
        it loads them from ``sums``; unless it ``ends`` them, it stores them in ``sums`` and not in C.
        """
        f = FLOAT[C.dtype]
        i, flag = types.intp, types.boolean
        sig = types.void(A, i, i, a_rows, B, i, rows, i, C, i, i, gate, i, f.type, f.type, f.type, sums, flag, flag)

        def codegen(context, b, sig, args):
            (
                a, a_p, a_r, a_rows, b0, ldb, rows, depth, c, ldc, count, gate, mode, scale, step, limit, kept, begins, ends,
            ) = args  # fmt: skip
            lanes, vty, operands = f.lanes, ir.VectorType(f.ir, f.lanes), ir.VectorType(element_of(B.dtype), f.lanes)
            tiles = [(r, v) for r in range(n_rows) for v in range(n_vectors)]
            zero = simd.constant(vty, 0.0)
            mask = simd.first_lanes(b, count, lanes) if partial else None

            def fetch(pointer, v, vty=vty):
                if partial and v == n_vectors - 1:
                    return simd.load_masked(b, pointer, vty, mask, ir.Constant(vty, None))
                return simd.load(b, pointer, vty)

            def put(value, pointer, v):
                if partial and v == n_vectors - 1:
                    simd.store_masked(b, value, pointer, mask)
                else:
                    simd.store(b, value, pointer)

            along_r = [b.mul(a_r, b.load(b.gep(a_rows, [INTP(r)]))) for r in range(n_rows)]
            at_start, places = _taken_up(b, tiles, kept, begins, vty, zero)
            start = b.block
            loop, done = (b.append_basic_block(f"outer.{name}") for name in ("p", "done"))
            b.branch(loop)

            b.position_at_end(loop)
            p, ap = b.phi(INTP), b.phi(a.type)
            sums = _sums(b, tiles, [(at_start, start)])
            brow = _row(b, b0, rows, p, ldb)
            bv = [fetch(b.gep(brow, [INTP(v * lanes)]), v, operands) for v in range(n_vectors)]
            new = {}
            for r in range(n_rows):
                av = simd.splat(b, b.load(b.gep(ap, [along_r[r]])), lanes)
                for v in range(n_vectors):
                    new[r, v] = multiply_add(b, av, bv[v], sums[r, v])
            p_next, ap_next, loop_end = b.add(p, INTP(1)), b.gep(ap, [a_p]), b.block
            for phi, first, following in [(p, INTP(0), p_next), (ap, a, ap_next)]:
                phi.add_incoming(first, start)
                phi.add_incoming(following, loop_end)
            for t in tiles:
                sums[t].add_incoming(new[t], loop_end)
            b.cbranch(b.icmp_signed("<", p_next, depth), loop, done)

            b.position_at_end(done)
            after = _set_aside(b, new, places, ends)
            at = {(r, v): b.add(b.mul(ldc, INTP(r)), INTP(v * lanes)) for r, v in tiles}
            scales, steps, high = (simd.splat(b, x, lanes) for x in (scale, step, limit))
            low = b.fneg(high)
            updating, masking, activating = (b.append_basic_block(f"outer.{name}") for name in ("c", "mask", "act"))
            choice = b.switch(mode, updating)
            choice.add_case(INTP(MASK), masking)
            choice.add_case(INTP(ACTIVATE), activating)

            b.position_at_end(masking)
            for r, v in tiles:
                on = b.fcmp_ordered(">", fetch(b.gep(gate, [at[r, v]]), v), zero)
                put(b.select(on, b.fmul(steps, new[r, v]), zero), b.gep(c, [at[r, v]]), v)
            b.branch(after)

            b.position_at_end(activating)
            for r, v in tiles:
                put(new[r, v], b.gep(gate, [at[r, v]]), v)
                put(simd.larger(b, new[r, v], low), b.gep(c, [at[r, v]]), v)
            b.branch(after)

            b.position_at_end(updating)
            anew = b.fcmp_ordered("==", scale, ir.Constant(f.ir, 0.0))  # then C may hold NaN
            for r, v in tiles:
                pointer = b.gep(c, [at[r, v]])
                g = b.select(b.fcmp_ordered(">", new[r, v], high), high, new[r, v])
                g = b.select(b.fcmp_ordered("<", g, low), low, g)
                old = b.select(anew, zero, b.fmul(scales, fetch(pointer, v)))
                put(simd.fma(b, steps, g, old), pointer, v)
            b.branch(after)
            b.position_at_end(after)
            return context.get_dummy_value()

        return sig, codegen

    return outer


dot_full, dot_few, dot_row = (_make_dot(rows, DOT_UNITS) for rows in (DOT_ROWS, DOT_FEW, 1))
dot_unit, dot_one = _make_dot(DOT_ROWS, 1), _make_dot(1, 1)
outer_full, outer_row = _make_outer(OUTER_ROWS, OUTER_VECTORS), _make_outer(1, OUTER_VECTORS)
outer_some, outer_row_some = _make_outer(OUTER_ROWS, OUTER_SOME), _make_outer(1, OUTER_SOME)
outer_vector, outer_one = _make_outer(OUTER_ROWS, 1), _make_outer(1, 1)
