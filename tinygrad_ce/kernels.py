"""The Numba loops, all in this one file: the hot loss and gradient loops, and the optimizers' updates.

Each public function takes the arguments of the primitive (or update) of its name and gives the same result; the
primitive's body is the definition, and a test holds the two equal. Loops do no checks: `losses.py` has made them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
numba: Any
try:
    import numba
except ImportError:  # a platform without Numba still has the bodies
    numba = None


def jit(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, and keep the machine code on disk where a directory can be written."""
    if numba is None:
        return loop
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(loop)  # type: ignore[no-any-return]
    except RuntimeError:  # no directory for the cache: compile in every process
        return numba.njit(**options)(loop)  # type: ignore[no-any-return]


def lookup(name: str, body: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel of this name where its first argument is float32, float64 or int64, and otherwise the body."""
    if numba is None:
        warn_once()
        return body
    kernel = globals()[name]

    def compute(*values: Any, **params: Any) -> Any:
        return (kernel if values[0].dtype.char in "fdlq" else body)(*values, **params)

    return compute


_warned = False


def warn_once() -> None:
    """Say once in a process that Numba is missing."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "Numba is not installed: losses and optimizers run on NumPy, slower", RuntimeWarning, stacklevel=2
        )


# ---- softmax cross-entropy with class indices


def _same(shape: tuple[int, ...], *others: tuple[int, ...]) -> None:
    """The loops trust their arrays to be alike."""
    for other in others:
        if other != shape:
            raise ValueError(f"shapes {shape} and {other} differ")


def xent(z: Array, y: Array, *, smoothing: float = 0.0, reduction: str = "none") -> Array:
    z, y = np.ascontiguousarray(z), np.ascontiguousarray(y)
    _same(z.shape[:1], y.shape)
    loss = np.empty(len(z), z.dtype)
    total = _xent(z, y, smoothing, loss)
    return z.dtype.type(total / len(z)) if reduction == "mean" else loss


@jit
def _xent(z, y, smoothing, loss):
    """Fill the loss of each row, and return their sum."""
    rows, classes = z.shape
    total = 0.0
    for i in range(rows):
        if y[i] < 0:
            loss[i] = 0
            continue
        if y[i] >= classes:  # `losses` refuses it with words; here at least nothing is read that is not ours
            loss[i] = total = np.nan
            continue
        top, rest = _above_top(z[i])
        row = (1 - smoothing) * (top - z[i, y[i]]) + rest
        if smoothing != 0:
            gaps = 0.0
            for c in range(classes):
                gaps += smoothing / classes * (top - z[i, c])
            row += gaps
        loss[i] = row
        total += row
    return total


@jit
def _above_top(z):
    """The largest logit, and log(sum(exp(z))) - top with all its digits: log1p of the sum without the top itself."""
    at = 0
    for c in range(1, len(z)):
        if z[c] > z[at]:
            at = c
    top = np.float64(z[at])
    if top == np.inf:
        return top, np.nan
    others = 0.0
    for c in range(len(z)):
        if c != at:
            others += _exp_below(z[c], top)
    return top, math.log1p(others)


@jit
def _exp_below(x, top):
    """exp(x - top) with all its digits: what rounding the difference has cost is put back as a factor 1 + error.

    Source of the error of a difference: D. Knuth, "The Art of Computer Programming", vol. 2, section 4.2.2, theorem B.
    """
    x = np.float64(x)
    difference = x - top
    if difference == -np.inf:
        return 0.0
    back = difference - x
    error = (x - (difference - back)) - (top + back)
    return math.exp(difference) * (1 + error)


def xent_grad(upstream: Array, z: Array, y: Array, *, smoothing: float = 0.0, reduction: str = "none") -> Array:
    z, y = np.ascontiguousarray(z), np.ascontiguousarray(y)
    _same(z.shape[:1], y.shape)
    if upstream.shape != (() if reduction == "mean" else z.shape[:1]):
        raise ValueError(f"upstream has shape {upstream.shape}")
    slope = np.empty(z.shape, z.dtype)
    share = 1 / len(z) if reduction == "mean" else 1.0
    _xent_grad(np.ascontiguousarray(upstream).reshape(-1), share, z, y, smoothing, slope)
    return slope


@jit
def _xent_grad(upstream, share, z, y, smoothing, slope):
    rows, classes = z.shape
    step = 0 if len(upstream) == 1 else 1
    uniform = smoothing / classes
    for i in range(rows):
        label = y[i]
        if label < 0 or label >= classes:
            slope[i] = 0 if label < 0 else np.nan
            continue
        top = np.float64(z[i, 0])
        for c in range(1, classes):
            if z[i, c] > top:
                top = np.float64(z[i, c])
        others = 0.0
        for c in range(classes):
            if c != label:
                others += _exp_below(z[i, c], top)
        total = others + _exp_below(z[i, label], top)
        g = np.float64(upstream[i * step]) * share
        for c in range(classes):
            slope[i, c] = g * (_exp_below(z[i, c], top) / total - uniform)
        slope[i, label] = g * (smoothing - uniform - others / total)


# ---- softmax cross-entropy with soft targets


def soft_xent(z: Array, q: Array) -> Array:
    z = np.ascontiguousarray(z)
    _same(z.shape, q.shape)
    loss = np.empty(len(z), z.dtype)
    _soft_xent(z, np.ascontiguousarray(q), loss)
    return loss


@jit
def _soft_xent(z, q, loss):
    rows, classes = z.shape
    for i in range(rows):
        top, rest = _above_top(z[i])
        mass = 0.0
        gaps = 0.0
        for c in range(classes):
            if q[i, c] != 0:  # a class that is not wanted may have logit -inf
                mass += q[i, c]
                gaps += q[i, c] * (top - z[i, c])
        loss[i] = gaps + mass * rest if mass != 0 else 0.0  # a row without weight counts for nothing


def soft_xent_grad(upstream: Array, z: Array, q: Array) -> Array:
    z = np.ascontiguousarray(z)
    _same(z.shape, q.shape)
    _same(z.shape[:1], upstream.shape)
    slope = np.empty(z.shape, z.dtype)
    _soft_xent_grad(np.ascontiguousarray(upstream), z, np.ascontiguousarray(q), slope)
    return slope


@jit
def _soft_xent_grad(upstream, z, q, slope):
    rows, classes = z.shape
    for i in range(rows):
        top = np.float64(z[i, 0])
        mass = 0.0
        for c in range(classes):
            mass += q[i, c]
            if z[i, c] > top:
                top = np.float64(z[i, c])
        if mass == 0:
            slope[i] = 0
            continue
        total = 0.0
        big = -1
        for c in range(classes):
            total += _exp_below(z[i, c], top)
            if 2 * q[i, c] > mass:
                big = c
        g = np.float64(upstream[i])
        rest_e = 0.0
        rest_q = 0.0
        for c in range(classes):
            e = _exp_below(z[i, c], top)
            slope[i, c] = g * (mass * (e / total) - q[i, c])
            if c != big:
                rest_e += e
                rest_q += q[i, c]
        if big >= 0:  # mass * p - q would cancel here: take both from the other classes
            slope[i, big] = g * (rest_q - mass * (rest_e / total))


# ---- sigmoid (binary) cross-entropy


def sigmoid_xent(z: Array, y: Array, w: Any) -> Array:
    _same(z.shape, y.shape)
    loss = np.empty(z.shape, z.dtype)
    _sigmoid_xent(_flat(z), _flat(y), _weights(w, z), loss.reshape(-1))
    return loss


def sigmoid_xent_grad(upstream: Array, z: Array, y: Array, w: Any) -> Array:
    _same(z.shape, y.shape, upstream.shape)
    slope = np.empty(z.shape, z.dtype)
    _sigmoid_xent_grad(_flat(upstream), _flat(z), _flat(y), _weights(w, z), slope.reshape(-1))
    return slope


def _flat(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1)


def _weights(w: Any, z: Array) -> Array:
    """One weight for all, or one for each element; the loops step through them by 0 or by 1."""
    w = np.asarray(w, z.dtype)
    return w.reshape(1) if w.size == 1 else np.ascontiguousarray(np.broadcast_to(w, z.shape)).ravel()


@jit
def _sigmoid_xent(z, y, w, loss):
    step = 0 if len(w) == 1 else 1
    for i in range(len(z)):
        x = np.float64(z[i])
        if x == np.inf:
            loss[i] = np.nan
            continue
        rest = math.log1p(math.exp(-abs(x)))
        value = 0.0
        if y[i] != 0 and w[i * step] != 0:
            value += w[i * step] * y[i] * (max(-x, 0.0) + rest)
        if y[i] != 1:
            value += (1 - np.float64(y[i])) * (max(x, 0.0) + rest)
        loss[i] = value + (x - x if math.isnan(x) else 0.0)


@jit
def _sigmoid_xent_grad(upstream, z, y, w, slope):
    step = 0 if len(w) == 1 else 1
    for i in range(len(z)):
        x = np.float64(z[i])
        if x == np.inf:
            slope[i] = np.nan
            continue
        e = math.exp(-abs(x))
        small, large = e / (1 + e), 1 / (1 + e)
        p, q = (large, small) if x >= 0 else (small, large)
        slope[i] = upstream[i] * ((1 - np.float64(y[i])) * p - w[i * step] * np.float64(y[i]) * q)


# ---- the check of labels, one pass


def first_bad_label(y: Array, *, classes: int, ignored: int) -> int:
    row: int = _first_bad_label(np.ascontiguousarray(y), classes, ignored)
    return row


@jit
def _first_bad_label(y, classes, ignored):
    for i in range(len(y)):
        if (y[i] < 0 or y[i] >= classes) and y[i] != ignored:
            return i
    return -1


# ---- optimizers: each updates one parameter and its state in place, in one pass. The arrays are contiguous: one row
# of numbers, whatever their shape. The settings are turned to the parameter's own dtype first, as NumPy does
# with Python numbers: a float32 parameter is updated in float32.


def takes(param: Array, grad: Array) -> bool:
    """Whether the loops below can update this parameter: float32 or float64, contiguous, with a gradient alike."""
    return (
        numba is not None
        and param.dtype.char in "fd"
        and param.dtype == grad.dtype
        and param.flags.c_contiguous
        and grad.flags.c_contiguous
    )


@jit
def sgd(p, g, lr, weight_decay):
    p, g = p.reshape(-1), g.reshape(-1)
    dtype = p.dtype.type
    lr, weight_decay = dtype(lr), dtype(weight_decay)
    for i in range(len(p)):
        p[i] -= lr * (g[i] + weight_decay * p[i])


@jit
def sgd_momentum(p, g, velocity, lr, momentum, nesterov, weight_decay):
    p, g, velocity = p.reshape(-1), g.reshape(-1), velocity.reshape(-1)
    dtype = p.dtype.type
    lr, momentum, weight_decay = dtype(lr), dtype(momentum), dtype(weight_decay)
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        velocity[i] = momentum * velocity[i] + slope
        p[i] -= lr * (slope + momentum * velocity[i] if nesterov else velocity[i])


@jit
def adam(p, g, mean, square, rate, beta1, beta2, correction2, eps, added_decay, taken_decay):
    p, g, mean, square = p.reshape(-1), g.reshape(-1), mean.reshape(-1), square.reshape(-1)
    dtype = p.dtype.type
    keep1, keep2, new1, new2 = dtype(beta1), dtype(beta2), dtype(1 - beta1), dtype(1 - beta2)
    rate, correction2, eps = dtype(rate), dtype(correction2), dtype(eps)
    added, taken = dtype(added_decay), dtype(taken_decay)
    for i in range(len(p)):
        slope = g[i] + added * p[i]
        mean[i] = keep1 * mean[i] + new1 * slope
        square[i] = keep2 * square[i] + new2 * (slope * slope)
        root = np.sqrt(square[i] / correction2)
        p[i] -= rate * mean[i] / (root + eps) + taken * p[i]


@jit
def rmsprop(p, g, square, lr, decay, eps, weight_decay):
    p, g, square = p.reshape(-1), g.reshape(-1), square.reshape(-1)
    dtype = p.dtype.type
    keep, new = dtype(decay), dtype(1 - decay)
    lr, eps, weight_decay = dtype(lr), dtype(eps), dtype(weight_decay)
    for i in range(len(p)):
        slope = g[i] + weight_decay * p[i]
        square[i] = keep * square[i] + new * (slope * slope)
        p[i] -= lr * slope / (np.sqrt(square[i]) + eps)
