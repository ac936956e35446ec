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

from fastclf.engine.memory import aligned, panels
from fastclf.engine.minibatch import Workspace
from fastclf.engine.network import Network
from fastclf.kernels import matmul
from fastclf.kernels.jit import FLAGS
from fastclf.kernels.mlp import BLOCK_BYTES, BY_UNITS_BELOW
from fastclf.kernels.simd import at, lanes_of
from fastclf.kernels.target import TARGET


class Product(NamedTuple):
    """A product: ``run(times)`` computes it, on one thread; the loops are those of all its blocks."""

    name: str
    flop: float
    nest: traffic.Nest
    run: Callable[[int], None]


# ---------------------------------------------------------------- the calls, as in kernels/mlp.py


@numba.njit(**FLAGS)
def _hidden(X, W, bias, Z, A, iota, block, times):
    m, n, n_units = X.shape[0], X.shape[1], W.shape[0]
    for _ in range(times):
        for r in range(0, m, block):
            matmul.forward(
                at(X, 0), n, at(iota, r), min(block, m - r), at(W, 0), n, at(iota, 0), n_units, n,
                at(bias, 0), 0, 1, at(Z, r * n_units), at(A, r * n_units), n_units, 0.0,
            )  # fmt: skip


@numba.njit(**FLAGS)
def _logits(X, W, biases, Z, iota, block, times):
    m, n, c, capacity = X.shape[0], X.shape[1], W.shape[0], Z.shape[1]
    for _ in range(times):
        for r in range(0, m, block):
            matmul.forward(
                at(W, 0), n, at(iota, 0), c, at(X, 0), n, at(iota, r), min(block, m - r), n,
                at(biases, 0), 4, 0, at(Z, r), at(Z, r), capacity, -float("inf"),
            )  # fmt: skip


@numba.njit(**FLAGS)
def _deltas(D, by_sample, by_unit, W, before, gate, iota, block, times):
    m, n_units, n = before.shape[0], W.shape[0], W.shape[1]
    for _ in range(times):
        for r in range(0, m, block):
            rows = min(block, m - r)
            matmul.outer(
                0, matmul.n_tiles(rows, n, lanes_of(W)), at(D, r * by_sample), by_unit, by_sample, at(W, 0), n,
                at(iota, 0), at(iota, 0), n_units, at(before, r * n), rows, n, at(gate, r * n), True, 0.0, 1.0, 0.0,
                at(W, 0), False,
            )  # fmt: skip


@numba.njit(**FLAGS)
def _gradient(D, by_sample, by_unit, X, W, panel, iota, times):
    m, n_units, n = X.shape[0], W.shape[0], X.shape[1]
    for _ in range(times):  # steps of length 0: the same time, and no weight grows
        matmul.outer(
            0, matmul.n_tiles(n_units, n, lanes_of(W)), at(D, 0), by_sample, by_unit, at(X, 0), n,
            at(iota, 0), at(iota, 0), m, at(W, 0), n_units, n, at(W, 0), False, 1.0, 0.0, float("inf"),
            at(panel, 0), True,
        )  # fmt: skip


# ---------------------------------------------------------------- the products of a network


def products(p: Problem) -> list[Product]:
    """The products of a step on all samples, layer by layer: forward, the deltas of the layer before, the gradient."""
    m, dtype, itemsize = len(p.X), p.X.dtype, p.X.dtype.itemsize
    network = Network(p.widths, dtype)
    work, last, found = Workspace(network, m), len(p.widths) - 2, []
    panel = panels(1, work.capacity, max(p.widths[1:]), dtype)
    whole = 3 * TARGET.lanes(itemsize)
    rows_at_once = max(whole, BLOCK_BYTES // (itemsize * p.widths[0]) // whole * whole)

    def numbers(*shape: int) -> np.ndarray:
        made = aligned(int(np.prod(shape)), dtype).reshape(shape)
        made[:] = np.random.default_rng(0).random(shape, dtype) - 0.5
        return made

    for l, (n, n_units) in enumerate(pairwise(p.widths)):
        X, W = (p.X if l == 0 else numbers(m, n)), network.weights[l]
        W[:] = p.start[l][0]
        block = m if l == 0 < last and m < BY_UNITS_BELOW else min(m, rows_at_once)
        blocks = -(-m // block)
        if l < last:
            D, by_sample, by_unit = numbers(m, n_units), n_units, 1
            nest = traffic.forward(block, n_units, n, itemsize, results=2)
            nest.loops.append(traffic.Loop(blocks, "RZ"))
            run = partial(_hidden, X, W, numbers(n_units), numbers(m, n_units), numbers(m, n_units), work.iota, block)
        else:
            D, by_sample, by_unit = numbers(n_units, work.capacity), 1, work.capacity
            nest = traffic.forward(n_units, block, n, itemsize, results=1)
            nest.loops.append(traffic.Loop(blocks, "CZ"))
            biases = np.repeat(numbers(n_units), 4)  # as tiles load them
            run = partial(_logits, X, W, biases, numbers(n_units, work.capacity), work.iota, block)
        flop = 2 * m * n * n_units
        found.append(Product(f"layer {l + 1}, forward", flop, nest, run))
        if l > 0:
            nest = traffic.outer(block, n, n_units, itemsize, packing=False)
            nest.loops.append(traffic.Loop(blocks, "RZ"))
            run = partial(_deltas, D, by_sample, by_unit, W, numbers(m, n), numbers(m, n), work.iota, block)
            found.append(Product(f"layer {l + 1}, deltas", flop, nest, run))
        nest = traffic.outer(n_units, n, m, itemsize, packing=True)
        run = partial(_gradient, D, by_sample, by_unit, X, W, panel, work.iota)
        found.append(Product(f"layer {l + 1}, gradient", flop, nest, run))
    return found
