"""Functions of one number: tanh, sigmoid, softplus, the slopes of the first two, erf and erfc."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.kernels.jit import jit
from tinygrad_ce.kernels.memory import empty
from tinygrad_ce.kernels.rows import Array, by_rows
from tinygrad_ce.kernels.vector_math import either, exp_of, log1p_of
from tinygrad_ce.threads import STEP


def tanh(x: Array) -> Array:
    """NumPy's own, which is vectorised, in several threads."""
    return _one_by_one(lambda x, out: np.tanh(x, out=out), x, 0.9)


def sigmoid(x: Array) -> Array:
    return _one_by_one(_sigmoid, x, 0.8)


def softplus(x: Array) -> Array:
    return _one_by_one(_softplus, x, 1.3)


def tanh_slope(x: Array) -> Array:
    return _one_by_one(_tanh_slope, x, 0.8)


def sigmoid_slope(x: Array) -> Array:
    return _one_by_one(_sigmoid_slope, x, 0.8)


def erf(x: Array) -> Array:
    return _one_by_one(_erf, x, 15.0)


def erfc(x: Array) -> Array:
    return _one_by_one(_erfc, x, 20.0)


def _one_by_one(loop: Callable[..., Any], x: Array, nanoseconds: float) -> Array:
    x = np.ascontiguousarray(x)
    out = empty(x.shape, x.dtype)
    by_rows(loop, (x.reshape(-1), out.reshape(-1)), nanoseconds, step=STEP)
    return out


@jit
def _sigmoid(x, out):
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(len(x)):
        e = exp_of(-abs(x[i]), zero)
        out[i] = either(x[i] < zero, e, one) / (one + e)


@jit
def _softplus(x, out):
    zero = x.dtype.type(0)
    for i in range(len(x)):
        out[i] = max(x[i], zero) + log1p_of(exp_of(-abs(x[i]), zero))


@jit
def _tanh_slope(x, out):
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    for i in range(len(x)):
        e = exp_of(-two * abs(x[i]), zero)
        out[i] = two * two * e / (one + e * (two + e))


@jit
def _sigmoid_slope(x, out):
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    for i in range(len(x)):
        e = exp_of(-abs(x[i]), zero)
        out[i] = e / (one + e * (two + e))


@jit
def _erf(x, out):
    """By the C library, as the body; float32 in float64, so that both round once."""
    for i in range(len(x)):
        out[i] = math.erf(np.float64(x[i]))


@jit
def _erfc(x, out):
    for i in range(len(x)):
        out[i] = math.erfc(np.float64(x[i]))
