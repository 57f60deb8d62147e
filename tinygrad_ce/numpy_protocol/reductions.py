"""NumPy's sums, means, extremes, norms and running sums, on tensors."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinygrad_ce import ops
from tinygrad_ce.core import interpreter
from tinygrad_ce.numpy_protocol.registry import along, flat, implements, in_dtype, value
from tinygrad_ce.ops.indexing import constant


@implements(np.sum)
def sum_(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    if axis is None and dtype is None and not keepdims:  # how a loss ends, without parameters to be looked at
        return ops.reduce_sum(a)
    return ops.reduce_sum(in_dtype(a, dtype), axis=axis, keepdims=keepdims)


@implements(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    if axis is None and dtype is None and not keepdims:  # how a loss ends, without parameters to be looked at
        return ops.reduce_mean(a)
    return ops.reduce_mean(in_dtype(a, dtype), axis=axis, keepdims=keepdims)


@implements(np.prod)
def prod(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    return ops.prod(in_dtype(a, dtype), axis=axis, keepdims=keepdims)


@implements(np.max, np.amax)
def max_(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return ops.reduce_max(a, axis=axis, keepdims=keepdims)


@implements(np.min, np.amin)
def min_(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return ops.reduce_min(a, axis=axis, keepdims=keepdims)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return max_(a, axis, keepdims=keepdims) - min_(a, axis, keepdims=keepdims)


@implements(np.var)
def var(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    return ops.variance(a, axis=axis, ddof=ddof, keepdims=keepdims)


@implements(np.std)
def std(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    return ops.std(a, axis=axis, ddof=ddof, keepdims=keepdims)


@implements(np.any)
def any_(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return ops.greater(count_nonzero(a, axis, keepdims=keepdims), 0)


@implements(np.all)
def all_(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return ops.equal(ops.reduce_sum(ops.equal(a, 0), axis=axis, keepdims=keepdims), 0)


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return ops.reduce_sum(ops.not_equal(a, 0), axis=axis, keepdims=keepdims)


@implements(np.argmax)
def argmax(a: Any, axis: int | None = None, *, keepdims: bool = False) -> Any:
    places = ops.argmax(a, axis=axis)
    return _with_axis(places, a.ndim, axis) if keepdims and a.ndim else places


@implements(np.argmin)
def argmin(a: Any, axis: int | None = None, *, keepdims: bool = False) -> Any:
    return ops.argmin(a, axis=axis, keepdims=keepdims)


def _with_axis(reduced: Any, ndim: int, axis: int | None) -> Any:
    """A reduced value with its lost axis (or all of them) back, as size 1."""
    return ops.expand_dims(reduced, axis=tuple(range(ndim)) if axis is None else axis)


# ---- means


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    a = value(a)
    if weights is None:
        middle = mean(a, axis, keepdims=keepdims)
        total = constant(np.asarray(a.size / middle.size, middle.dtype)) if returned else None
    else:
        weights = _weights_along(value(weights), a, axis)
        dtype = np.result_type(a.dtype, weights.dtype, *(["f8"] if a.dtype.kind in "iub" else []))
        total = ops.reduce_sum(in_dtype(ops.broadcast_to(weights, shape=a.shape), dtype), axis=axis, keepdims=keepdims)
        _check_total(interpreter.get().numbers(total, _check_total))
        middle = ops.reduce_sum(in_dtype(a, dtype) * weights, axis=axis, keepdims=keepdims) / total
    return (middle, ops.broadcast_to(total, shape=middle.shape)) if returned else middle


def _weights_along(weights: Any, a: Any, axis: Any) -> Any:
    """The weights in a shape that broadcasts against a."""
    if weights.shape == a.shape:
        return weights
    if axis is None:
        raise TypeError(
            f"np.average: a has shape {a.shape} and weights have shape {weights.shape}: say along which axis="
        )
    axes = normalize_axis_tuple(axis, a.ndim)
    if weights.shape != tuple(a.shape[k] for k in axes):
        raise ValueError(
            f"np.average: a has shape {a.shape}, and weights along axis {axis} need shape "
            f"{tuple(a.shape[k] for k in axes)}, not {weights.shape}"
        )
    in_order = ops.transpose(weights, axes=tuple(int(k) for k in np.argsort(axes)))
    return ops.reshape(in_order, shape=tuple(n if k in axes else 1 for k, n in enumerate(a.shape)))


def _check_total(total: Any) -> None:
    if np.any(np.equal(total, 0)):
        raise ZeroDivisionError("np.average: the weights sum to 0, so there is no average")


@implements(np.median)
def median(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return ops.median(a, axis=axis, keepdims=keepdims)


@implements(np.nansum)
def nansum(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    return sum_(ops.where(ops.isnan(a), 0, a), axis, dtype, keepdims=keepdims)


@implements(np.nanprod)
def nanprod(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    return prod(ops.where(ops.isnan(a), 1, a), axis, dtype, keepdims=keepdims)


@implements(np.nanmean)
def nanmean(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Any:
    total = nansum(a, axis, dtype or (a.dtype if a.dtype.kind == "f" else float), keepdims=keepdims)
    numbers = ops.reduce_sum(ops.logical_not(ops.isnan(a)), axis=axis, keepdims=keepdims)
    return total / ops.astype(numbers, dtype=total.dtype)


# ---- running sums, differences


@implements(np.cumsum)
def cumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    return ops.cumsum(in_dtype(a, dtype), axis=axis)


@implements(np.cumprod)
def cumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    return ops.cumprod(in_dtype(a, dtype), axis=axis)


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    if n < 0:
        raise ValueError(f"np.diff: n is {n}, and a difference can be taken 0 times or more")
    if a.ndim == 0:
        raise ValueError("np.diff: a is a single number (shape ()), and differences need an axis")
    axis = normalize_axis_index(axis, a.ndim)
    between = ops.not_equal if a.dtype == bool else ops.sub
    for _ in range(n):
        a = between(ops.index(a, along(axis, slice(1, None))), ops.index(a, along(axis, slice(-1))))
    return a


# ---- norms


def root(x: Any) -> Any:
    """The square root, with slope 0 at 0: what a norm has there."""
    zero = ops.equal(x, 0)
    return ops.where(zero, 0, ops.sqrt(ops.where(zero, 1, x)))


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The length of vectors and the size of matrices, with slope 0 at 0.

    ord: for vectors None, 0, inf, -inf or any power; for matrices None, "fro", 1, -1, inf or -inf.
    """
    if x.dtype.kind != "f":
        x = ops.astype(x, dtype=np.dtype(float))
    if axis is None and (ord is None or (ord == 2 and x.ndim == 1) or (ord == "fro" and x.ndim == 2)):
        length = root(ops.reduce_sum(ops.mul(flat(x), flat(x))))
        return _with_axis(length, x.ndim, None) if keepdims else length
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims)
    if len(axes) == 2:
        return _matrix_norm(x, ord, axes, keepdims)
    raise ValueError(
        f"np.linalg.norm: a norm is taken along one axis or two, and here are {len(axes)} (shape {x.shape})"
    )


def _vector_norm(x: Any, power: Any, axis: Any, keepdims: bool) -> Any:
    if power is None or power == 2:
        return root(ops.reduce_sum(x * x, axis=axis, keepdims=keepdims))
    if isinstance(power, str):
        raise ValueError(f"np.linalg.norm: ord={power!r} is a norm of matrices, and this is one of vectors")
    if power == 0:
        return ops.reduce_sum(ops.astype(ops.not_equal(x, 0), dtype=x.dtype), axis=axis, keepdims=keepdims)
    size = ops.absolute(x)
    if power in (inf, -inf):
        return (ops.reduce_max if power > 0 else ops.reduce_min)(size, axis=axis, keepdims=keepdims)
    if power == 1:
        return ops.reduce_sum(size, axis=axis, keepdims=keepdims)
    total = ops.reduce_sum(ops.power(size, power), axis=axis, keepdims=keepdims)
    zero = ops.equal(total, 0)
    return ops.where(zero, 0, ops.power(ops.where(zero, 1, total), 1 / power))


def _matrix_norm(x: Any, kind: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if axes[0] == axes[1]:
        raise ValueError("np.linalg.norm: the two axes of a matrix are different ones")
    if kind in (None, "fro", "f"):
        return root(ops.reduce_sum(x * x, axis=axes, keepdims=keepdims))
    if kind not in (1, -1, inf, -inf):
        known = "None, 'fro', 1, -1, inf and -inf"
        if kind in (2, -2, "nuc"):
            raise TypeError(
                f"np.linalg.norm: ord={kind!r} needs singular values, which have no rule here: take {known}"
            )
        raise ValueError(f"np.linalg.norm: there is no matrix norm ord={kind!r}: take {known}")
    first, second = axes if abs(kind) == 1 else axes[::-1]
    sums = ops.reduce_sum(ops.absolute(x), axis=first, keepdims=True)
    extreme = (ops.reduce_max if kind > 0 else ops.reduce_min)(sums, axis=second, keepdims=True)
    return extreme if keepdims else ops.squeeze(extreme, axis=axes)
