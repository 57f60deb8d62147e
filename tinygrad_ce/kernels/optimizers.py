"""The updates of the optimizers, each of one parameter and its state in place, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.kernels import rows
from tinygrad_ce.kernels.jit import jit, numba
from tinygrad_ce.kernels.rows import Array, by_rows, is_short
from tinygrad_ce.threads import STEP

# ---- optimizers: each updates one parameter and its state in place, in one pass. The arrays are contiguous: one row
# of numbers, whatever their shape. The settings are turned to the parameter's own dtype first, as NumPy does
# with Python numbers: a float32 parameter is updated in float32.


FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


def takes(param: Array, grad: Array, memory: tuple[Any, ...] = ()) -> bool:
    """Whether the loops below can update this parameter: float32 or float64 in the byte order of this machine, in one
    row without gaps that may be written to, with a gradient alike.

    Its memory has as many numbers, or a loop would read beyond its end.
    """
    dtype = param.dtype
    alike = (dtype is grad.dtype or dtype == grad.dtype) and type(grad) is np.ndarray
    alike = alike and (not memory or memory[0].data.shape == param.shape)
    return alike and dtype in FLOATS and param.flags.carray and grad.flags.c_contiguous and numba is not None


def sgd(p: Array, g: Array, lr: float, weight_decay: float) -> None:
    _sgd(p, g, lr, weight_decay) if p.size < rows.PARALLEL_THRESHOLD else _update(_sgd, 2, (p, g, lr, weight_decay))


def sgd_momentum(p: Array, *rest: Any) -> None:
    _sgd_momentum(p, *rest) if is_short(p) else _update(_sgd_momentum, 3, (p, *rest))


def adam(p: Array, *rest: Any) -> None:
    _adam(p, *rest) if is_short(p) else _update(_adam, 4, (p, *rest))


def rmsprop(p: Array, *rest: Any) -> None:
    _rmsprop(p, *rest) if is_short(p) else _update(_rmsprop, 3, (p, *rest))


def adagrad(p: Array, *rest: Any) -> None:
    _adagrad(p, *rest) if is_short(p) else _update(_adagrad, 3, (p, *rest))


def _update(loop: Callable[..., None], arrays: int, arguments: tuple[Any, ...]) -> None:
    """Call the loop for a long parameter, in several threads; the first so many arguments are arrays."""
    flat = tuple(array.reshape(-1) for array in arguments[:arrays])
    by_rows(lambda *parts: loop(*parts, *arguments[arrays:]), flat, 0.4 * arrays, step=STEP)


@jit
def _sgd(p, g, lr, weight_decay):
    p, g = p.reshape(-1), g.reshape(-1)
    dtype = p.dtype.type
    lr, weight_decay = dtype(lr), dtype(weight_decay)
    for i in range(len(p)):
        p[i] -= lr * (g[i] + weight_decay * p[i])


@jit
def _sgd_momentum(p, g, velocity, lr, momentum, nesterov, weight_decay):
    p, g, velocity = p.reshape(-1), g.reshape(-1), velocity.reshape(-1)
    dtype = p.dtype.type
    lr, momentum, weight_decay = dtype(lr), dtype(momentum), dtype(weight_decay)
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        velocity[i] = momentum * velocity[i] + slope
        p[i] -= lr * (slope + momentum * velocity[i] if nesterov else velocity[i])


@jit
def _adam(p, g, mean, square, rate, beta1, beta2, correction2, eps, added_decay, taken_decay):
    p, g, mean, square = p.reshape(-1), g.reshape(-1), mean.reshape(-1), square.reshape(-1)
    dtype = p.dtype.type
    keep1, keep2, new1, new2 = dtype(beta1), dtype(beta2), dtype(1 - beta1), dtype(1 - beta2)
    rate, eps = dtype(rate), dtype(eps)
    scale = dtype(1 / correction2)  # one division for all, instead of one for each
    added, taken = dtype(added_decay), dtype(taken_decay)
    for i in range(len(p)):
        slope = g[i] + added * p[i]
        mean[i] = keep1 * mean[i] + new1 * slope
        square[i] = keep2 * square[i] + new2 * (slope * slope)
        root = np.sqrt(square[i] * scale)
        p[i] = p[i] - taken * p[i] - rate * mean[i] / (root + eps)


@jit
def _rmsprop(p, g, square, lr, decay, eps, weight_decay):
    p, g, square = p.reshape(-1), g.reshape(-1), square.reshape(-1)
    dtype = p.dtype.type
    keep, new = dtype(decay), dtype(1 - decay)
    lr, eps, weight_decay = dtype(lr), dtype(eps), dtype(weight_decay)
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        square[i] = keep * square[i] + new * (slope * slope)
        p[i] -= lr * slope / (np.sqrt(square[i]) + eps)


@jit
def _adagrad(p, g, total, lr, eps, weight_decay):
    p, g, total = p.reshape(-1), g.reshape(-1), total.reshape(-1)
    dtype = p.dtype.type
    lr, eps, weight_decay = dtype(lr), dtype(eps), dtype(weight_decay)
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        total[i] += slope * slope
        p[i] -= lr * slope / (np.sqrt(total[i]) + eps)
