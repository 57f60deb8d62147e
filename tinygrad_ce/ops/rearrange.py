"""The numbers at other places, repeated or left out: pad, flip, roll, triangles, diagonals, repeat, tile."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.indexing import index
from tinygrad_ce.ops.reduction import reduce_sum
from tinygrad_ce.ops.shape import axis_from, concatenate, reshape


@primitive
def pad(x, *, widths, value=0):
    """x with a border of equal numbers. widths: as NumPy's pad_width: n, (before, after), or a pair for each axis.

    >>> pad(np.array([1.0, 2.0]), widths=1)
    array([0., 1., 2., 0.])
    """
    return np.pad(x, widths, constant_values=value)


@pad.vjp("x")
def pad_x(g, out, x, *, widths, value):
    before = np.broadcast_to(widths, (x.ndim, 2))[:, 0].tolist()
    return index(g, tuple(slice(first, first + n) for first, n in zip(before, x.shape, strict=True)))


@primitive
def flip(x, *, axis=None):
    """x backwards along an axis, several, or all of them (None).

    >>> flip([1.0, 2.0, 3.0])
    array([3., 2., 1.])
    """
    return np.flip(x, axis)


@flip.vjp("x")
def flip_x(g, out, x, *, axis):
    return flip(g, axis=axis)


@primitive
def roll(x, *, shift, axis=None):
    """x moved by a number of places along an axis; what falls off one end comes in at the other.

    >>> roll([1.0, 2.0, 3.0], shift=1)
    array([3., 1., 2.])
    """
    return np.roll(x, shift, axis)


@roll.vjp("x")
def roll_x(g, out, x, *, shift, axis):
    back = tuple(-n for n in shift) if np.ndim(shift) else -shift
    return roll(g, shift=back, axis=axis)


@primitive(broadcasts=True)
def tril(x, *, k=0):
    """The matrices x with zeros above the k-th diagonal; a vector is repeated as the rows of a matrix.

    >>> tril(np.ones((2, 2)))
    array([[1., 0.],
           [1., 1.]])
    """
    return np.tril(x, k)


@tril.vjp("x")
def tril_x(g, out, x, *, k):
    return tril(g, k=k)


@primitive(broadcasts=True)
def triu(x, *, k=0):
    """The matrices x with zeros below the k-th diagonal; a vector is repeated as the rows of a matrix.

    >>> triu(np.ones((2, 2)))
    array([[1., 1.],
           [0., 1.]])
    """
    return np.triu(x, k)


@triu.vjp("x")
def triu_x(g, out, x, *, k):
    return triu(g, k=k)


@primitive
def diagonal(x, *, offset=0, axis1=0, axis2=1):
    """The elements x[i, i + offset] of the matrices that two axes make, along a last axis.

    >>> diagonal([[1.0, 2.0], [3.0, 4.0]])
    array([1., 4.])
    """
    return np.diagonal(x, offset, axis1, axis2)


@diagonal.vjp("x")
def diagonal_x(g, out, x, *, offset, axis1, axis2):
    return place_diagonal(g, offset=offset, axis1=axis1, axis2=axis2, shape=x.shape)


def places_on_diagonal(shape: tuple[int, ...], length: int, offset: int, axis1: int, axis2: int) -> tuple[Any, ...]:
    """An index that takes the elements of a diagonal; as in NumPy, its axis stands behind those that are left."""
    axis1, axis2 = axis_from(axis1, len(shape)), axis_from(axis2, len(shape))
    rest = [k for k in range(len(shape)) if k not in (axis1, axis2)]
    ahead = {k: np.arange(shape[k]).reshape((-1, *(1,) * (len(rest) - i))) for i, k in enumerate(rest)}
    along = np.arange(length)
    places = {**ahead, axis1: along + max(-offset, 0), axis2: along + max(offset, 0)}
    return tuple(places[k] for k in range(len(shape)))


@primitive
def place_diagonal(values, *, shape, offset=0, axis1=0, axis2=1):
    """Zeros of the given shape with these values on a diagonal. The transpose of `diagonal`."""
    out = np.zeros(shape, values.dtype)
    np.add.at(out, places_on_diagonal(shape, values.shape[-1], offset, axis1, axis2), values)
    return out


@place_diagonal.vjp("values")
def place_diagonal_values(g, out, values, *, shape, offset, axis1, axis2):
    return diagonal(g, offset=offset, axis1=axis1, axis2=axis2)


@primitive
def repeat(x, *, repeats, axis=None):
    """Each element several times. repeats: how often, or a tuple with a number for each place along the axis.

    >>> repeat(np.array([1.0, 2.0]), repeats=2)
    array([1., 1., 2., 2.])
    """
    return np.repeat(x, repeats, axis)


@repeat.vjp("x")
def repeat_x(g, out, x, *, repeats, axis):
    shape = (x.size,) if axis is None or x.ndim == 0 else x.shape
    axis = 0 if axis is None else axis_from(axis, len(shape))
    before, n, after = shape[:axis], shape[axis], shape[axis + 1 :]
    if np.ndim(repeats) == 0:
        return reshape(reduce_sum(reshape(g, shape=(*before, n, repeats, *after)), axis=axis + 1), shape=x.shape)
    stops = np.cumsum(np.broadcast_to(repeats, n)).tolist()
    every: tuple[Any, ...] = (slice(None),) * axis
    shares = [
        reduce_sum(index(g, (*every, slice(start, stop))), axis=axis, keepdims=True)
        for start, stop in zip([0, *stops], stops, strict=False)
    ]
    return reshape(concatenate(*shares, axis=axis) if shares else g, shape=x.shape)


@primitive
def tile(x, *, reps):
    """x as a tile of a larger array. reps: how many of them stand along each axis.

    >>> tile(np.array([1.0, 2.0]), reps=2)
    array([1., 2., 1., 2.])
    """
    return np.tile(x, reps)


@tile.vjp("x")
def tile_x(g, out, x, *, reps):
    counts = tuple(reps) if np.ndim(reps) else (reps,)
    counts = (1,) * (g.ndim - len(counts)) + counts
    sizes = (1,) * (g.ndim - x.ndim) + x.shape
    tiles = reshape(g, shape=tuple(n for pair in zip(counts, sizes, strict=True) for n in pair))
    return reshape(reduce_sum(tiles, axis=tuple(range(0, 2 * g.ndim, 2))), shape=x.shape)
