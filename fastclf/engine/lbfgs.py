"""Full-batch training by L-BFGS (Liu and Nocedal, 1989): scipy's minimiser on the kernels' loss and gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ..kernels.codes import HOLD, TRAIN
from .minibatch import BatchTrainer


class _Stop(Exception):
    """A callback of the user's wants to stop."""


def minimise(
    trainer: BatchTrainer,
    order: NDArray[np.int64],
    decay: float,
    after: Callable[[float], bool],
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
) -> Any:
    """Minimise the mean loss of the samples ``order`` plus ``decay`` / 2 times the sum of the squares of all weights.

    ``after`` is called after each iteration, when the network has the parameters of this iteration, with the value there;
    it returns True to end the minimisation. The network is left with the best parameters, and also with an exception with
    those of the last whole iteration. Returns what ``scipy.optimize.minimize`` returns, or None if ``after`` has stopped it.
    """
    net, last, value = trainer.network, trainer.network.params.copy(), np.inf

    def objective(params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal value
        net.params[:] = params
        value = float(trainer.run(TRAIN | HOLD, order, len(order))[0])
        gradient = trainer.work.gradient().astype(np.float64)
        for W, (n_in, n_out, start, *_) in zip(net.weights, net.layout.tolist()):
            value += decay / 2 * float(np.vdot(W, W))
            gradient[start : start + n_in * n_out] += decay * W.reshape(-1)
        return value, gradient

    def callback(params: NDArray[np.float64]) -> None:
        net.params[:] = last[:] = params
        if after(value):
            raise _Stop

    options = {"maxiter": max_iter, "maxfun": max_fun, "gtol": tol}
    try:
        start = net.params.astype(np.float64)
        result = minimize(objective, start, jac=True, method="L-BFGS-B", callback=callback, options=options)
        last[:] = result.x
    except _Stop:
        return None
    finally:
        net.params[:] = last
    return result
