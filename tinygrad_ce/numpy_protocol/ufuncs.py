"""What NumPy's ufuncs (np.exp, np.add, np.maximum...) run when they meet a Tensor."""

from __future__ import annotations

import operator
from math import log
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.numpy_protocol.registry import UFUNCS, value

LN_2 = log(2)


def in_floating(x: Any) -> Any:
    """Integers and booleans as the floating-point numbers that NumPy makes of them; the others as they are."""
    x = value(x)
    return x if x.dtype.kind == "f" else ops.astype(x, dtype=np.result_type(x.dtype, np.float16))


def conjugate(x: Any) -> Any:
    """A copy, in which booleans are small integers."""
    return ops.astype(x, dtype=np.dtype(np.int8) if x.dtype == bool else x.dtype.newbyteorder("="))


def positive(x: Any) -> Any:
    if value(x).dtype == bool:
        raise TypeError("np.positive: booleans have no sign: convert with t.astype(float)")
    return conjugate(x)


def power(base: Any, exponent: Any) -> Any:
    """base ** exponent, but of booleans in the dtype that NumPy's function has (its operator has another)."""
    if value(base).dtype == bool:
        base = ops.astype(base, dtype=np.result_type(base, exponent))
    return ops.power(base, exponent)


def float_power(base: Any, exponent: Any) -> Any:
    """Powers in float64 whatever the dtypes of both sides."""
    double = np.dtype(float)
    if np.ndim(exponent) == 0 and not isinstance(exponent, Tensor):
        return ops.power(ops.astype(base, dtype=double), float(exponent))
    return ops.power(ops.astype(base, dtype=double), ops.astype(exponent, dtype=double))


def reciprocal(x: Any) -> Any:
    if value(x).dtype.kind != "f":
        raise TypeError("np.reciprocal of integers is 0 nearly everywhere: convert with t.astype(float) first")
    return 1 / x


def fmod(a: Any, b: Any) -> Any:
    """The remainder with the sign of a (that of np.mod has the sign of b), and slope 1 along a, also at a = 0."""
    below = ops.less(a, 0)
    learns = isinstance(a, Tensor) and a.dtype.kind == "f"
    size = ops.mod(ops.where(below, -a, a) if learns else abs(a), abs(b))
    return ops.where(below, -size, size)


def skip_nan(choose: Any) -> Any:
    """np.fmax, np.fmin: a NaN loses against a number."""
    return lambda a, b: ops.where(ops.isnan(a), b, ops.where(ops.isnan(b), a, choose(a, b)))


def logaddexp2(a: Any, b: Any) -> Any:
    """log2(2**a + 2**b) without overflow: the larger one, and what the other adds to it."""
    dtype = np.result_type(np.result_type(a, b), np.float16)
    a, b = (ops.astype(value(x), dtype=dtype) for x in (a, b))
    chosen = ops.logical_or(ops.greater_equal(a, b), ops.isnan(a))
    gap = ops.where(chosen, b - a, a - b)
    gap = ops.where(ops.isnan(gap), 0, gap)  # inf - inf
    return ops.where(chosen, a, b) + ops.log1p(ops.exp2(gap)) / LN_2


def vecdot(a: Any, b: Any) -> Any:
    a, b = value(a), value(b)
    if not a.ndim or not b.ndim:
        raise ValueError(f"np.vecdot: a has shape {a.shape} and b has shape {b.shape}; both need a last axis")
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"np.vecdot: a has shape {a.shape} and b has shape {b.shape}; the last axes must agree")
    return ops.matmul(ops.expand_dims(a, axis=-2), ops.expand_dims(b, axis=-1))[..., 0, 0]


def matvec(a: Any, b: Any) -> Any:
    return ops.matmul(a, ops.expand_dims(value(b), axis=-1))[..., 0]


def vecmat(a: Any, b: Any) -> Any:
    return ops.matmul(ops.expand_dims(value(a), axis=-2), b)[..., 0, :]


UFUNCS.update(
    {
        np.add: ops.add,
        np.subtract: ops.sub,
        np.multiply: ops.mul,
        np.divide: ops.div,
        np.power: power,
        np.float_power: float_power,
        np.negative: ops.neg,
        np.positive: positive,
        np.conjugate: conjugate,
        np.absolute: ops.absolute,
        np.fabs: lambda x: ops.absolute(in_floating(x)),
        np.square: lambda x: ops.power(conjugate(x) if x.dtype == bool else x, 2),
        np.reciprocal: reciprocal,
        np.exp: ops.exp,
        np.exp2: ops.exp2,
        np.expm1: ops.expm1,
        np.log: ops.log,
        np.log1p: ops.log1p,
        np.log2: ops.log2,
        np.log10: ops.log10,
        np.logaddexp: ops.logaddexp,
        np.logaddexp2: logaddexp2,
        np.sqrt: ops.sqrt,
        np.cbrt: ops.cbrt,
        np.hypot: ops.hypot,
        np.sin: ops.sin,
        np.cos: ops.cos,
        np.tan: ops.tan,
        np.arcsin: ops.arcsin,
        np.arccos: ops.arccos,
        np.arctan: ops.arctan,
        np.arctan2: ops.arctan2,
        np.sinh: ops.sinh,
        np.cosh: ops.cosh,
        np.tanh: ops.tanh,
        np.arcsinh: ops.arcsinh,
        np.arccosh: ops.arccosh,
        np.arctanh: ops.arctanh,
        np.floor: ops.floor,
        np.ceil: ops.ceil,
        np.rint: ops.rint,
        np.trunc: ops.trunc,
        np.floor_divide: ops.floor_divide,
        np.remainder: ops.mod,
        np.divmod: lambda a, b: (ops.floor_divide(a, b), ops.mod(a, b)),
        np.fmod: fmod,
        np.degrees: lambda x: in_floating(x) * (180 / np.pi),
        np.rad2deg: lambda x: in_floating(x) * (180 / np.pi),
        np.radians: lambda x: in_floating(x) * (np.pi / 180),
        np.deg2rad: lambda x: in_floating(x) * (np.pi / 180),
        np.sign: ops.sign,
        np.maximum: ops.maximum,
        np.minimum: ops.minimum,
        np.fmax: skip_nan(ops.maximum),
        np.fmin: skip_nan(ops.minimum),
        np.matmul: ops.matmul,
        np.greater: ops.greater,
        np.greater_equal: ops.greater_equal,
        np.less: ops.less,
        np.less_equal: ops.less_equal,
        np.equal: ops.equal,
        np.not_equal: ops.not_equal,
        np.logical_and: ops.logical_and,
        np.logical_or: ops.logical_or,
        np.logical_xor: ops.logical_xor,
        np.logical_not: ops.logical_not,
        np.bitwise_and: lambda a, b: b & a if isinstance(b, Tensor) else a & b,  # `array & t` comes here
        np.bitwise_or: lambda a, b: b | a if isinstance(b, Tensor) else a | b,
        np.bitwise_xor: lambda a, b: b ^ a if isinstance(b, Tensor) else a ^ b,
        np.invert: operator.invert,
        np.isnan: ops.isnan,
        np.isfinite: ops.isfinite,
        np.isinf: ops.isinf,
    }
)
_NEW_IN_NUMPY_2 = {"vecdot": vecdot, "matvec": matvec, "vecmat": vecmat}  # 2.0, 2.2, 2.2
UFUNCS.update({getattr(np, name): ours for name, ours in _NEW_IN_NUMPY_2.items() if hasattr(np, name)})
