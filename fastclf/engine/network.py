"""Networks: stacks of dense layers whose parameters lie in one flat buffer.

A linear classifier is a network of one layer, the lab's MLPs have two and three. All parameters lie in one aligned
vector; the weights (n_out, n_in) and the bias (n_out,) of each layer are views of this vector. A checkpoint, an optimiser's
state or an all-reduce is therefore one array, and one compiled kernel serves any depth.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .memory import aligned, round_up

_OPERATIONS_PER_PARAMETER = 20  # take as long as reading a parameter twice, and writing it once


class Network:
    """Dense layers with an activation between them: ReLU, unless ``activation`` is set to another.

    ``widths`` are the numbers of inputs, hidden units and outputs, at least two; ``dtype`` is float32 or float64. If
    ``in_bfloat16``, the operands of products are rounded to bfloat16; everything else is float32.
    ``params`` is one vector of all parameters, in which each layer's weights and bias start on a cache line; ``weights``
    (n_out, n_in) and ``biases`` (n_out,) are views. ``layout`` (layers, 5) has sizes and offsets: see ``kernels.codes``.
    """

    def __init__(self, widths: Sequence[int], dtype: np.dtype, in_bfloat16: bool = False) -> None:
        self.widths, self.dtype, self.in_bfloat16 = tuple(widths), dtype, in_bfloat16
        rows, offset, units = [], 0, 0
        for n_in, n_out in pairwise(widths):
            weights, bias = offset, offset + round_up(n_in * n_out)
            rows.append((n_in, n_out, weights, bias, units))
            offset, units = bias + round_up(n_out), units + n_out
        what = f"a network of the widths {'–'.join(map(str, widths))} needs {offset * dtype.itemsize:,} bytes"
        if offset * dtype.itemsize > sys.maxsize:
            raise ValueError(f"{what}, more than there are addresses")
        self.layout = np.array(rows, np.int64)
        try:
            self.params = aligned(offset, dtype)
        except MemoryError:
            raise MemoryError(f"{what}, which can not be had") from None
        self.weights = [self.params[w : w + i * o].reshape(o, i) for i, o, w, _, _ in rows]
        self.biases = [self.params[b : b + o] for _, o, _, b, _ in rows]
        self.n_units, self.activation = units, "relu"
        self.spare: deque[Any] = deque(maxlen=1)  # scratch that nobody uses at the moment: see ``minibatch.Workspace``

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles store the parameter vector once, and create the views again."""
        return _restored, (self.widths, self.dtype, np.asarray(self.params), self.in_bfloat16, self.activation)

    def compute(self, in_bfloat16: bool) -> None:
        """Round the operands of products to bfloat16 from now on, or no longer."""
        if self.in_bfloat16 != in_bfloat16:
            self.in_bfloat16 = in_bfloat16
            self.spare.clear()

    @property
    def operands(self) -> np.dtype:
        """The dtype of the operands of products: that of the network, or uint32 for pairs of bfloat16."""
        return np.dtype(np.uint32) if self.in_bfloat16 else self.dtype

    @property
    def terms(self) -> int:
        """The number of terms in an operand of a product."""
        return 2 if self.in_bfloat16 else 1

    @property
    def operations(self) -> int:
        """Multiplications and additions of one training step, per sample."""
        return 6 * sum(i * o for i, o in pairwise(self.widths))

    def step_operations(self, m: int) -> float:
        """The floating-point operations of a step on m samples, or what takes as long: a step has to read all parameters."""
        return float(max(self.operations * m, _OPERATIONS_PER_PARAMETER * len(self.params)))


def _restored(
    widths: tuple[int, ...], dtype: np.dtype, params: np.ndarray, in_bfloat16: bool = False, activation: str = "relu"
) -> Network:
    network = Network(widths, dtype, in_bfloat16)
    network.params[:], network.activation = params, activation
    return network
