"""Running sums and products, sorting, and elements taken along an axis."""

from __future__ import annotations

from math import prod as count_of
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.comparison import isnan
from tinygrad_ce.ops.elementwise import astype, where
from tinygrad_ce.ops.indexing import index
from tinygrad_ce.ops.rearrange import flip, pad
from tinygrad_ce.ops.reduction import Accumulating
from tinygrad_ce.ops.shape import axis_from, moveaxis, reshape, transpose


@Accumulating
def cumsum(x, *, axis=None):
    """The running sum along an axis, or of all elements in one row (None).

    >>> cumsum([1.0, 2.0, 3.0])
    array([1., 3., 6.])
    """
    return np.cumsum(x, axis=axis)


@cumsum.vjp("x")
def cumsum_x(g, out, x, *, axis):
    return reshape(flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis), shape=x.shape)


@Accumulating
def cumprod(x, *, axis=None):
    """The running product along an axis, or of all elements in one row (None); its gradient is right at zeros too.

    >>> cumprod([1.0, 2.0, 3.0])
    array([1., 2., 6.])
    """
    return np.cumprod(x, axis=axis)


@cumprod.vjp("x")
def cumprod_x(g, out, x, *, axis):
    """Without a division, so that it is right where factors are 0.

    The products grow in steps: of 2 factors each, of 4, of 8... (Hillis and Steele, Data parallel algorithms, 1986);
    the gradient goes back through these steps.
    """
    rows = reshape(x, shape=(-1,)) if axis is None or x.ndim == 0 else moveaxis(x, axis, -1)
    g = g if axis is None or x.ndim == 0 else moveaxis(g, axis, -1)
    steps, distance = [], 1
    while distance < rows.shape[-1]:
        steps.append((rows, distance))
        rows = rows * behind_ones(rows, distance)
        distance *= 2
    for rows, distance in reversed(steps):
        ahead = index(g * rows, (..., slice(distance, None)))
        g = g * behind_ones(rows, distance) + pad(ahead, widths=(*((0, 0),) * (g.ndim - 1), (0, distance)))
    return reshape(g, shape=x.shape) if axis is None or x.ndim == 0 else moveaxis(g, -1, axis)


def behind_ones(rows: Any, distance: int) -> Any:
    """Each row moved to the right, behind ones."""
    n = rows.shape[-1]
    distance = min(distance, n)
    return pad(index(rows, (..., slice(n - distance))), widths=(*((0, 0),) * (rows.ndim - 1), (distance, 0)), value=1)


def as_rows(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """x with the reduced axes as one, which is the last; and the order that the axes of x have in it."""
    gone: tuple[int, ...] = tuple(range(x.ndim))
    if axis is not None:
        axes = normalize_axis_tuple(axis, max(x.ndim, 1))  # NumPy lets a single number be reduced along axis 0
        gone = axes if x.ndim else ()
    order = (*(k for k in range(x.ndim) if k not in gone), *gone)
    sizes = [x.shape[k] for k in order]
    rest = len(order) - len(gone)
    return reshape(transpose(x, axes=order), shape=(*sizes[:rest], count_of(sizes[rest:]))), order


def with_ones(reduced: Any, shape: tuple[int, ...], left: tuple[int, ...]) -> Any:
    """A reduced value with an axis of length 1 for each one but those that are left."""
    return reshape(reduced, shape=tuple(n if k in left else 1 for k, n in enumerate(shape)))


@Accumulating
def prod(x, *, axis=None, keepdims=False):
    """The product along an axis, several, or all (None); its gradient is right where factors are 0.

    >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([3., 8.])
    """
    return np.prod(x, axis=axis, keepdims=keepdims)


@prod.vjp("x")
def prod_x(g, out, x, *, axis, keepdims):
    """Times the product of all other factors: not out / x, which is 0 / 0 where a factor is 0."""
    rows, order = as_rows(x, axis)
    before = cumprod(behind_ones(rows, 1), axis=-1)
    after = flip(cumprod(behind_ones(flip(rows, axis=-1), 1), axis=-1), axis=-1)
    others = reshape(before * after, shape=tuple(x.shape[k] for k in order))
    return with_ones(g, x.shape, order[: rows.ndim - 1]) * transpose(
        others, axes=tuple(map(order.index, range(x.ndim)))
    )


@primitive
def sort(x, *, axis=-1):
    """The elements in ascending order along an axis, or all in one row (None); each keeps its own gradient.

    >>> sort([3.0, 1.0, 2.0])
    array([1., 2., 3.])
    """
    return np.sort(x, axis)


@sort.vjp("x")
def sort_x(g, out, x, *, axis):
    along = -1 if axis is None else axis  # None: all elements in one row
    ranks = argsort(argsort(x, axis=axis), axis=along)
    return reshape(take_along_axis(g, ranks, axis=along), shape=x.shape)


@primitive
def argsort(x, *, axis=-1):
    """The order that sorts x; of equal elements the first one comes first, on every processor.

    >>> argsort([3.0, 1.0, 2.0])
    array([1, 2, 0])
    """
    return np.argsort(x, axis, kind="stable")


@primitive
def argmin(x, *, axis=None, keepdims=False):
    """The place of the smallest element along an axis, or of all in one row (None); of ties the first.

    >>> argmin([[1.0, 5.0], [3.0, 2.0]], axis=1)
    array([0, 1])
    """
    return np.argmin(x, axis=axis, keepdims=keepdims)


argsort.constant_in("x")
argmin.constant_in("x")


def places_along(shape: tuple[int, ...], indices: Any, axis: int) -> tuple[Any, ...]:
    """An index that takes `indices` along one axis, and each place of the others."""
    if len(indices.shape) != len(shape) or indices.dtype.kind not in "iu":
        raise IndexError(
            f"indices must be integers with as many axes as the array: they have shape {indices.shape} and dtype "
            f"{indices.dtype}, and the array has shape {shape}"
        )
    ones = (1,) * len(shape)
    axis = axis_from(axis, len(shape))
    return tuple(
        indices if k == axis else np.arange(n).reshape((*ones[:k], n, *ones[k + 1 :])) for k, n in enumerate(shape)
    )


@primitive
def take_along_axis(x, indices, *, axis):
    """The elements of x at these places along an axis; indices: integers, with as many axes as x.

    >>> take_along_axis(np.array([[5.0, 6.0]]), np.array([[1]]), axis=1)
    array([[6.]])
    """
    return x[places_along(x.shape, indices, axis)]


@take_along_axis.vjp("x")
def take_along_axis_x(g, out, x, indices, *, axis):
    return add_along_axis(g, indices, axis=axis, shape=x.shape)


take_along_axis.constant_in("indices")


@primitive
def add_along_axis(values, indices, *, axis, shape):
    """Zeros of the given shape, with each value added where `take_along_axis` would have taken it."""
    out = np.zeros(shape, values.dtype)
    np.add.at(out, places_along(shape, indices, axis), values)
    return out


@add_along_axis.vjp("values")
def add_along_axis_values(g, out, values, indices, *, axis, shape):
    return take_along_axis(g, indices, axis=axis)


add_along_axis.constant_in("indices")


def median(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The middle element of x along an axis (None: of all), or the mean of the two in the middle; NaN if there is one.

    keepdims: whether the axis stays, with length 1. ValueError where there is no element.

    >>> median(np.array([3.0, 1.0, 2.0]))
    array(2.)
    """
    rows, order = as_rows(x, axis)
    n = rows.shape[-1]
    if n == 0:
        raise ValueError(f"median: there is no element to be the middle one (shape {x.shape}, axis {axis})")
    ordered = sort(rows if rows.dtype.kind == "f" else astype(rows, dtype=np.dtype(float)), axis=-1)
    low, high, last = (index(ordered, (..., k)) for k in ((n - 1) // 2, n // 2, n - 1))
    middle = where(isnan(last), last, low if n % 2 else low / 2 + high / 2)
    return with_ones(middle, x.shape, order[: middle.ndim]) if keepdims else middle
