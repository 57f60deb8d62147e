"""The same numbers in another shape: reshape, transpose, broadcast, join."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.indexing import index


@primitive
def reshape(x, *, shape):
    """The same numbers in another shape; one -1 stands for what is left.

    >>> reshape([[1.0, 2.0], [3.0, 4.0]], shape=(4,))
    array([1., 2., 3., 4.])
    """
    return np.reshape(x, shape)


@reshape.vjp("x")
def reshape_x(g, out, x, *, shape):
    return reshape(g, shape=x.shape)


@primitive
def transpose(x, *, axes=None):
    """The axes in another order, or in the opposite one (None).

    >>> transpose([[1.0, 2.0], [3.0, 4.0]])
    array([[1., 3.],
           [2., 4.]])
    """
    return np.transpose(x, axes)


@transpose.vjp("x")
def transpose_x(g, out, x, *, axes):
    if axes is None:
        return transpose(g)
    return transpose(g, axes=tuple(sorted(range(x.ndim), key=[a % x.ndim for a in axes].__getitem__)))


def axis_from(axis: int, ndim: int) -> int:
    """The axis as a number from 0. IndexError if there is no such axis."""
    if not -ndim <= axis < ndim:
        raise IndexError(f"axis {axis} is outside an array of {ndim} axes")
    return axis % ndim


def swapaxes(x: Any, first: int, second: int) -> Any:
    """x with the axes `first` and `second` exchanged.

    >>> swapaxes(np.ones((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    axes = list(range(x.ndim))
    first, second = axis_from(first, x.ndim), axis_from(second, x.ndim)
    axes[first], axes[second] = second, first
    return transpose(x, axes=tuple(axes))


def moveaxis(x: Any, source: int, destination: int) -> Any:
    """x with the axis `source` moved to the place `destination`, the others in their order.

    >>> moveaxis(np.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    axes = list(range(x.ndim))
    axes.insert(axis_from(destination, x.ndim), axes.pop(axis_from(source, x.ndim)))
    return transpose(x, axes=tuple(axes))


@primitive
def expand_dims(x, *, axis):
    """x with a new axis of length 1.

    >>> expand_dims([1.0, 2.0], axis=0)
    array([[1., 2.]])
    """
    return np.expand_dims(x, axis)


@expand_dims.vjp("x")
def expand_dims_x(g, out, x, *, axis):
    return reshape(g, shape=x.shape)


@primitive
def squeeze(x, *, axis=None):
    """x without an axis of length 1, or without all of them (None).

    >>> squeeze([[1.0, 2.0]], axis=0)
    array([1., 2.])
    """
    return np.squeeze(x, axis)


@squeeze.vjp("x")
def squeeze_x(g, out, x, *, axis):
    return reshape(g, shape=x.shape)


@primitive(broadcasts=True)
def broadcast_to(x, *, shape):
    """x repeated to a larger shape, without a copy; the gradient is summed back.

    >>> broadcast_to([1.0, 2.0], shape=(2, 2))
    array([[1., 2.],
           [1., 2.]])
    """
    return np.broadcast_to(x, shape)


@broadcast_to.vjp("x")
def broadcast_to_x(g, out, x, *, shape):
    return g  # the walk sums it back: that is what un-broadcasting is


@primitive
def concatenate(*arrays, axis=0):
    """Arrays joined along an axis that they have; all others are alike.

    >>> concatenate([1.0, 2.0], [3.0], axis=0)
    array([1., 2., 3.])
    """
    return np.concatenate(arrays, axis)


@concatenate.vjp("arrays")
def concatenate_arrays(g, out, *arrays, axis, position):
    if axis is None:  # NumPy joins them flat
        start = sum(array.size for array in arrays[:position])
        return reshape(g[start : start + arrays[position].size], shape=arrays[position].shape)
    axis = axis % g.ndim
    start = sum(array.shape[axis] for array in arrays[:position])
    stop = start + arrays[position].shape[axis]
    return index(g, (slice(None),) * axis + (slice(start, stop),))


@primitive
def stack(*arrays, axis=0):
    """Arrays of one shape joined along a new axis.

    >>> stack([1.0, 2.0], [3.0, 4.0], axis=1)
    array([[1., 3.],
           [2., 4.]])
    """
    return np.stack(arrays, axis)


@stack.vjp("arrays")
def stack_arrays(g, out, *arrays, axis, position):
    return index(g, (slice(None),) * (axis % g.ndim) + (position,))
