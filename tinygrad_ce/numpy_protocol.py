"""np.exp(t), np.sum(t, axis=0), ndarray * t...: NumPy hands its calls on a Tensor to the primitives listed here.

A NumPy function that is not listed raises, and says what to use: silently leaving the graph would be a wrong gradient.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import NUMPY_FUNCTIONS, NUMPY_UFUNCS, Tensor


def _spread(a: Any, b: Any) -> tuple[Any, Any]:
    """Both in the shape that they have together; a Python number in the other's dtype."""
    if np.isscalar(a):
        a = np.asarray(a, np.result_type(a, b.dtype))
    if np.isscalar(b):
        b = np.asarray(b, np.result_type(a.dtype, b))
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    return ops.broadcast_to(a, shape=shape), ops.broadcast_to(b, shape=shape)


NUMPY_UFUNCS.update(
    {
        np.add: ops.add,
        np.subtract: ops.sub,
        np.multiply: ops.mul,
        np.divide: ops.div,
        np.power: ops.power,
        np.float_power: ops.power,
        np.negative: ops.neg,
        np.positive: ops.identity,
        np.absolute: ops.absolute,
        np.fabs: ops.absolute,
        np.square: lambda x: ops.power(x, 2),
        np.reciprocal: lambda x: 1 / x,
        np.exp: ops.exp,
        np.exp2: lambda x: ops.power(2.0, x),
        np.expm1: ops.expm1,
        np.log: ops.log,
        np.log1p: ops.log1p,
        np.log2: lambda x: ops.log(x) / float(np.log(2)),
        np.log10: lambda x: ops.log(x) / float(np.log(10)),
        np.logaddexp: lambda a, b: ops.logsumexp(ops.stack(*_spread(a, b)), axis=0),
        np.sqrt: ops.sqrt,
        np.sin: ops.sin,
        np.cos: ops.cos,
        np.tan: lambda x: ops.sin(x) / ops.cos(x),
        np.tanh: ops.tanh,
        np.sinh: lambda x: (ops.expm1(x) - ops.expm1(-x)) / 2,
        np.cosh: lambda x: (ops.exp(x) + ops.exp(-x)) / 2,
        np.sign: ops.sign,
        np.maximum: ops.maximum,
        np.minimum: ops.minimum,
        np.matmul: ops.matmul,
        np.greater: ops.greater,
        np.greater_equal: ops.greater_equal,
        np.less: ops.less,
        np.less_equal: ops.less_equal,
        np.equal: ops.equal,
        np.not_equal: ops.not_equal,
        np.logical_and: ops.logical_and,
        np.logical_or: ops.logical_or,
        np.logical_not: ops.logical_not,
        np.bitwise_and: lambda a, b: b & a if isinstance(b, Tensor) else a & b,  # `array & t` comes here
        np.bitwise_or: lambda a, b: b | a if isinstance(b, Tensor) else a | b,
        np.invert: operator.invert,
    }
)


def implements(function: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what runs when this NumPy function meets a Tensor. Its options are the ones the signature names."""

    def register(ours: Callable[..., Any]) -> Callable[..., Any]:
        NUMPY_FUNCTIONS[function] = ours
        return ours

    return register


def _reduction(function: Any, primitive: Any) -> None:
    NUMPY_FUNCTIONS[function] = lambda a, axis=None, *, keepdims=False: primitive(a, axis=axis, keepdims=keepdims)


for _function, _primitive in (
    (np.sum, ops.reduce_sum),
    (np.mean, ops.reduce_mean),
    (np.max, ops.reduce_max),
    (np.min, ops.reduce_min),
):
    _reduction(_function, _primitive)


@implements(np.var)
def var(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return ops.variance(a, axis=axis, ddof=ddof, keepdims=keepdims)


@implements(np.std)
def std(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return ops.sqrt(ops.variance(a, axis=axis, ddof=ddof, keepdims=keepdims))


@implements(np.argmax)
def argmax(a: Any, axis: int | None = None) -> Any:
    return ops.argmax(a, axis=axis)


@implements(np.where)
def where(condition: Any, x: Any, y: Any) -> Any:
    return ops.where(condition, x, y)


@implements(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    if all(bound is None or (np.ndim(bound) == 0 and not isinstance(bound, Tensor)) for bound in (a_min, a_max)):
        return ops.clip(a, low=a_min, high=a_max)
    if a_min is not None:
        a = ops.maximum(a, a_min)
    return a if a_max is None else ops.minimum(a, a_max)


@implements(np.dot)
def dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return ops.mul(a, b)
    if np.ndim(b) > 2:
        raise ValueError(
            f"np.dot: b has shape {np.shape(b)}; with more than two axes, say with np.einsum what is meant"
        )
    return ops.matmul(a, b)


@implements(np.outer)
def outer(a: Any, b: Any) -> Any:
    return ops.reshape(a, shape=(-1, 1)) * ops.reshape(b, shape=(1, -1))


@implements(np.einsum)
def einsum(subscripts: str, *operands: Any) -> Any:
    return ops.einsum(subscripts, *operands)


@implements(np.trace)
def trace(a: Any) -> Any:
    if a.ndim != 2:
        raise ValueError(f"np.trace: a has shape {a.shape}, and a trace needs a matrix")
    return ops.reduce_sum(a * np.eye(*a.shape, dtype=a.dtype))


@implements(np.reshape)
def reshape(a: Any, shape: Any) -> Any:
    return ops.reshape(a, shape=shape)


@implements(np.ravel)
def ravel(a: Any) -> Any:
    return ops.reshape(a, shape=(-1,))


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    return ops.transpose(a, axes=None if axes is None else tuple(axes))


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    return ops.swapaxes(a, axis1, axis2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: int, destination: int) -> Any:
    return ops.moveaxis(a, source, destination)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    return ops.expand_dims(a, axis=axis)


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    return ops.squeeze(a, axis=axis)


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any) -> Any:
    return ops.broadcast_to(array, shape=shape)


@implements(np.concatenate)
def concatenate(arrays: Any, axis: int = 0) -> Any:
    return ops.concatenate(*arrays, axis=axis)


@implements(np.stack)
def stack(arrays: Any, axis: int = 0) -> Any:
    return ops.stack(*arrays, axis=axis)


@implements(np.zeros_like)
def zeros_like(a: Tensor) -> Any:
    return np.zeros_like(a.data)


@implements(np.ones_like)
def ones_like(a: Tensor) -> Any:
    return np.ones_like(a.data)


@implements(np.shape)
def shape(a: Tensor) -> tuple[int, ...]:
    return a.shape


@implements(np.ndim)
def ndim(a: Tensor) -> int:
    return a.ndim


@implements(np.size)
def size(a: Tensor) -> int:
    return a.size
