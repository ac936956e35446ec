"""The model that every trainer trains: a stack of dense layers in one flat buffer.

A linear classifier is a network of one layer, the lab's MLPs have two and three. All parameters lie in one aligned
vector; the weights (n_out, n_in) and the bias (n_out,) of each layer are views of it. A checkpoint, an optimiser's state
or an all-reduce is therefore one array, and one compiled kernel serves any depth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

_ALIGNMENT = 64  # bytes, one cache line and one AVX-512 register


class LossRule(NamedTuple):
    """What the loss makes of a vanishing probability: log p within [low, high], or log(p + eps) if eps > 0."""

    low: float
    high: float
    eps: float


CLIPPED = LossRule(math.log(1e-15), math.log1p(-1e-15), 0.0)  # the lab's linear models clip p to [1e-15, 1 - 1e-15]
EXACT = LossRule(-math.inf, math.inf, 0.0)  # log-sum-exp: finite even where p is not
SHIFTED = LossRule(-math.inf, math.inf, 1e-10)  # the lab's deep MLP adds 1e-10


def round_up(n: int) -> int:
    """The next multiple of 16: whole vectors on any target."""
    return -(-n // 16) * 16


def output_block(n_classes: int, capacity: int) -> int:
    """Numbers in the last layer's block of scratch, for so many samples: see kernels.softmax."""
    return (4 * n_classes + 2) * capacity + 4 * n_classes


def aligned(n: int, dtype: np.dtype) -> np.ndarray:
    """N zeros whose address is a multiple of a cache line."""
    raw = np.zeros(n * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + n * dtype.itemsize].view(dtype)


def settings(
    dtype: np.dtype,
    learning_rate: float = 0.0,
    rule: LossRule = EXACT,
    clip_threshold: float = math.inf,
    bias: bool = True,
) -> np.ndarray:
    """The numbers that kernels read beside the data, in the order of ``kernels.mlp``."""
    return np.array([learning_rate, clip_threshold, *rule, bias], dtype)


class Network:
    """Dense layers with ReLU between them.

    Parameters
    ----------
    widths : sequence of int
        Inputs, hidden units …, outputs: at least two numbers.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    params : ndarray
        Every parameter, one vector; each layer's weights and bias start on a cache line.
    layout : ndarray of int64, (layers, 5)
        For each layer n_in, n_out, the offsets of its weights and bias, and the units of the layers before it.
    weights, biases : list of ndarray
        Views of ``params``, (n_out, n_in) and (n_out,).
    """

    def __init__(self, widths: Sequence[int], dtype: np.dtype) -> None:
        self.widths, self.dtype = tuple(widths), dtype
        rows, offset, units = [], 0, 0
        for n_in, n_out in pairwise(widths):
            weights, bias = offset, offset + round_up(n_in * n_out)
            rows.append((n_in, n_out, weights, bias, units))
            offset, units = bias + round_up(n_out), units + n_out
        self.layout = np.array(rows, np.int64)
        self.params = aligned(offset, dtype)
        self.weights = [self.params[w : w + i * o].reshape(o, i) for i, o, w, _, _ in rows]
        self.biases = [self.params[b : b + o] for _, o, _, b, _ in rows]
        self.n_units = units

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles hold the parameters once; the views are made anew."""
        return _restored, (self.widths, self.dtype, np.asarray(self.params))

    @property
    def operations(self) -> int:
        """Multiplications and additions of one training step, per sample."""
        return 6 * sum(i * o for i, o in pairwise(self.widths))


def _restored(widths: tuple[int, ...], dtype: np.dtype, params: np.ndarray) -> Network:
    network = Network(widths, dtype)
    network.params[:] = params
    return network


class Workspace:
    """Scratch for batches of up to ``capacity`` samples, one buffer, laid out as ``kernels.mlp`` wants it."""

    def __init__(self, network: Network, capacity: int) -> None:
        self.network, self.capacity = network, round_up(capacity)
        c, hidden = network.widths[-1], network.n_units - network.widths[-1]
        self.hidden_size = self.capacity * hidden
        self.buffer = aligned(3 * self.hidden_size + output_block(c, self.capacity), network.dtype)
        self.iota = np.arange(max(self.capacity, *network.widths))
        self._panels = aligned(0, network.dtype)

    def panels(self, threads: int) -> np.ndarray:
        """Scratch in which each thread packs a few columns of a batch."""
        from .kernels.matmul import PACK_FROM
        from .kernels.tile import PANEL_BYTES

        size = threads * self.capacity * PANEL_BYTES // self.network.dtype.itemsize
        if self.capacity >= PACK_FROM and len(self._panels) < size:
            self._panels = aligned(size, self.network.dtype)
        return self._panels

    def samples(self, which: str, layer: int, m: int) -> np.ndarray:
        """A layer's Z, A or D for the first m samples, one per column: a view of the scratch, (n_out, m)."""
        n_out, units = int(self.network.layout[layer, 1]), int(self.network.layout[layer, 4])
        i, size = "ZAD".index(which), self.capacity * n_out
        if layer == len(self.network.layout) - 1:
            start = 3 * self.hidden_size + i * size
            return self.buffer[start : start + size].reshape(n_out, self.capacity)[:, :m]
        start = i * self.hidden_size + self.capacity * units
        return self.buffer[start : start + size].reshape(self.capacity, n_out)[:m].T


_NO_LABELS = np.empty(0, np.int64)


def run(
    network: Network,
    work: Workspace,
    X: np.ndarray,
    labels: np.ndarray | None,
    phases: int,
    numbers: np.ndarray,
    repeats: int = 1,
    threads: int = 1,
) -> np.ndarray:
    """``repeats`` steps on the batch X (m, n) with class labels (m,): see ``kernels.mlp.run``; returns the losses."""
    from .kernels import mlp

    m = len(X)
    losses = np.empty(repeats)
    mlp.run(
        X, work.iota[:m], work.iota, _NO_LABELS if labels is None else labels, np.empty(0, network.dtype),
        network.params, network.layout, work.buffer, work.panels(threads), losses, numbers, work.capacity, m, repeats,
        phases, False, threads=threads,
    )  # fmt: skip
    return losses
