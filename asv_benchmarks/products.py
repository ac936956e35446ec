"""The matrix products of a training step, each called alone, on arrays of the same sizes and in the same blocks of rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np
import traffic
from arms import Problem

from fastclf.engine.memory import aligned, panels, round_up
from fastclf.engine.minibatch import Workspace
from fastclf.engine.network import Network
from fastclf.kernels import matmul
from fastclf.kernels.codes import MANY_CLASSES
from fastclf.kernels.jit import FLAGS
from fastclf.kernels.mlp import BLOCK_BYTES, BY_UNITS_BELOW
from fastclf.kernels.simd import at, lanes_of
from fastclf.kernels.target import TARGET
from fastclf.kernels.tile import ACTIVATE, MASK, UPDATE


class Product(NamedTuple):
    """A product: ``run(times)`` computes it, on one thread; the loops are those of all its blocks."""

    name: str
    flop: float
    nest: traffic.Nest
    run: Callable[[int], None]


# ---------------------------------------------------------------- the calls, as in kernels/mlp.py


@numba.njit(**FLAGS)
def _rows(X, W, bias, Z, A, iota, blocks, panel, block, times):
    m, n, n_units = X.shape[0], X.shape[1], W.shape[0]
    for _ in range(times):
        for r in range(0, m, block):
            matmul.forward(
                at(X, 0), n, at(iota, r), min(block, m - r), at(W, 0), n, at(iota, 0), n_units, n,
                at(bias, 0), 0, 1, at(Z, r * n_units), at(A, r * n_units), n_units, 0.0, blocks, at(panel, 0),
            )  # fmt: skip


@numba.njit(**FLAGS)
def _turned(X, W, turned, bias, Z, A, iota, panel, block, times):
    m, n, n_units, zero = X.shape[0], X.shape[1], W.shape[0], X[0, 0] * 0
    for _ in range(times):
        matmul.turn(at(W, 0), n_units, n, at(turned, 0), turned.shape[1])
        for r in range(0, m, block):
            rows = min(block, m - r)
            matmul.outer(
                0, matmul.n_tiles(rows, n_units, lanes_of(W)), at(X, 0), 1, n, at(iota, r), at(turned, 0), turned.shape[1],
                at(iota, 0), at(iota, 0), n, at(A, r * n_units), rows, n_units, at(Z, r * n_units), at(bias, 0), ACTIVATE,
                zero, zero, zero, at(panel, 0), False,
            )  # fmt: skip


@numba.njit(**FLAGS)
def _columns(X, W, biases, Z, iota, blocks, panel, block, times):
    m, n, c, capacity = X.shape[0], X.shape[1], W.shape[0], Z.shape[1]
    for _ in range(times):
        for r in range(0, m, block):
            matmul.forward(
                at(W, 0), n, at(iota, 0), c, at(X, 0), n, at(iota, r), min(block, m - r), n,
                at(biases, 0), 4, 0, at(Z, r), at(Z, r), capacity, -float("inf"), blocks, at(panel, 0),
            )  # fmt: skip


@numba.njit(**FLAGS)
def _deltas(D, by_sample, by_unit, W, before, gate, iota, panel, block, times):
    m, n_units, n = before.shape[0], W.shape[0], W.shape[1]
    for _ in range(times):
        for r in range(0, m, block):
            rows = min(block, m - r)
            matmul.outer(
                0, matmul.n_tiles(rows, n, lanes_of(W)), at(D, r * by_sample), by_unit, by_sample, at(iota, 0), at(W, 0), n,
                at(iota, 0), at(iota, 0), n_units, at(before, r * n), rows, n, at(gate, r * n), at(W, 0), MASK, 0.0, 1.0,
                0.0, at(panel, 0), False,
            )  # fmt: skip


@numba.njit(**FLAGS)
def _gradient(D, by_sample, by_unit, X, W, panel, iota, times):
    m, n_units, n = X.shape[0], W.shape[0], X.shape[1]
    for _ in range(times):  # steps of length 0: the same time, and no weight grows
        matmul.outer(
            0, matmul.n_tiles(n_units, n, lanes_of(W)), at(D, 0), by_sample, by_unit, at(iota, 0), at(X, 0), n,
            at(iota, 0), at(iota, 0), m, at(W, 0), n_units, n, at(W, 0), at(W, 0), UPDATE, 1.0, 0.0, float("inf"),
            at(panel, 0), True,
        )  # fmt: skip


# ---------------------------------------------------------------- the products of a network


def products(p: Problem) -> list[Product]:
    """The products of a step on all samples, layer by layer: forward, the deltas of the layer before, the gradient."""
    m, dtype, itemsize = len(p.X), p.X.dtype, p.X.dtype.itemsize
    network = Network(p.widths, dtype)
    work, last, found = Workspace(network, m), len(p.widths) - 2, []
    panel, _, blocks = panels(1, work.capacity, p.widths, dtype)
    lanes = TARGET.lanes(itemsize)
    rows_at_once = max(3 * lanes, BLOCK_BYTES // (itemsize * p.widths[0]) // (3 * lanes) * (3 * lanes))
    if matmul.is_long(p.widths[0], blocks):
        rows_at_once = max(rows_at_once, blocks.rows)

    def numbers(*shape: int) -> np.ndarray:
        made = aligned(int(np.prod(shape)), dtype).reshape(shape)
        made[:] = np.random.default_rng(0).random(shape, dtype) - 0.5
        return made

    for l, (n, n_units) in enumerate(pairwise(p.widths)):
        X, W = (p.X if l == 0 else numbers(m, n)), network.weights[l]
        W[:] = p.start[l][0]
        block = m if l == 0 < last and m < BY_UNITS_BELOW else min(m, rows_at_once)
        of_rows = -(-m // block)
        by_class = l == last and n_units <= MANY_CLASSES
        D, by_sample, by_unit = numbers(m, n_units), n_units, 1
        if by_class:
            D, by_sample, by_unit = numbers(n_units, work.capacity), 1, work.capacity
            nest = traffic.forward(n_units, block, n, itemsize, results=1)
            nest.loops.append(traffic.Loop(of_rows, "CZ"))
            biases = np.repeat(numbers(n_units), 4)  # as tiles load them
            Z = numbers(n_units, work.capacity)
            run = partial(_columns, X, W, biases, Z, work.iota, blocks, panel, block)
        else:
            bias, Z, A = numbers(round_up(n_units)), numbers(m, n_units), numbers(m, n_units)
            if matmul.is_short(n, n_units, lanes):
                turned = numbers(n, round_up(n_units))
                nest = traffic.outer(block, n_units, n, itemsize, packing=False)
                run = partial(_turned, X, W, turned, bias, Z, A, work.iota, panel, block)
            else:
                nest = traffic.forward(block, n_units, n, itemsize, results=2)
                run = partial(_rows, X, W, bias, Z, A, work.iota, blocks, panel, block)
            nest.loops.append(traffic.Loop(of_rows, "RZ"))
        flop = 2 * m * n * n_units
        found.append(Product(f"layer {l + 1}, forward", flop, nest, run))
        if l > 0:
            nest = traffic.outer(block, n, n_units, itemsize, packing=False)
            nest.loops.append(traffic.Loop(of_rows, "RZ"))
            run = partial(_deltas, D, by_sample, by_unit, W, numbers(m, n), numbers(m, n), work.iota, panel, block)
            found.append(Product(f"layer {l + 1}, deltas", flop, nest, run))
        nest = traffic.outer(n_units, n, m, itemsize, packing=True)
        run = partial(_gradient, D, by_sample, by_unit, X, W, panel, work.iota)
        found.append(Product(f"layer {l + 1}, gradient", flop, nest, run))
    return found
