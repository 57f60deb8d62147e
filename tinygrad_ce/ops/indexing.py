"""Taking elements out, and putting gradients back where they came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import Tensor, interpreter, primitive


class _Here:
    """Stands in a pattern where the next index array goes."""

    def __repr__(self) -> str:
        return "HERE"


HERE = _Here()


def constant(array: Any) -> Any:
    """An array that code of ours has made of shapes and literals: in a traced program it is a constant."""
    return interpreter.get().read(Tensor(array, name="constants"))


def index(x: Any, key: Any) -> Any:
    """x[key], for slices, integers, None, ..., integer arrays and boolean masks in any mixture.

    >>> index(np.array([5.0, 6.0, 7.0]), [2, 0])
    array([7., 5.])
    """
    items = key if isinstance(key, tuple) else (key,)
    arrays = []
    pattern: list[Any] = []
    for item in items:
        if isinstance(item, (list, tuple, range, np.ndarray, Tensor, bool, np.bool_)):
            array = item if isinstance(item, Tensor) else np.asarray(item)
            if array.dtype.kind not in "iub" and array.size:
                raise IndexError(f"an index array must hold integers or booleans, and this one has dtype {array.dtype}")
            if not isinstance(item, (Tensor, np.ndarray)):  # a literal; an empty one is a list of no places
                array = constant(array if array.size else array.astype(int))
            arrays.append(array)
            pattern.append(HERE)
        elif item is None or item is Ellipsis or isinstance(item, slice):
            pattern.append(item)
        elif hasattr(item, "__index__"):
            pattern.append(int(item))
        else:
            raise IndexError(f"cannot index with {item!r}: use integers, slices, None, ..., integer arrays or masks")
    return getitem(x, *arrays, pattern=tuple(pattern))


def filled(pattern: tuple[Any, ...], arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """The pattern with its index arrays in their places."""
    remaining = iter(arrays)
    return tuple(next(remaining) if item is HERE else item for item in pattern)


@primitive
def getitem(x, *indices, pattern):
    """x[...] with the index arrays in the places that the pattern leaves for them; `index` writes the pattern.

    >>> getitem(np.array([5.0, 6.0, 7.0]), np.array([2, 0]), pattern=(HERE,))
    array([7., 5.])
    """
    return x[filled(pattern, indices)]


@getitem.vjp("x")
def getitem_x(g, out, x, *indices, pattern):
    return scatter_add(g, *indices, pattern=pattern, shape=x.shape)


getitem.constant_in("indices")


@primitive
def scatter_add(values, *indices, pattern, shape):
    """Zeros of the given shape, with each value added where `getitem` would have taken it.

    >>> scatter_add(np.array([1.0, 2.0]), np.array([0, 0]), pattern=(HERE,), shape=(3,))
    array([3., 0., 0.])
    """
    out = np.zeros(shape, values.dtype)
    if indices:  # an element may be taken several times: its shares add up
        np.add.at(out, filled(pattern, indices), values)
    else:
        out[pattern] = values
    return out


@scatter_add.vjp("values")
def scatter_add_values(g, out, values, *indices, pattern, shape):
    return getitem(g, *indices, pattern=pattern)


scatter_add.constant_in("indices")


@primitive
def pick(x, y):
    """One element of each row: x[i, y[i]] for x of shape (N, C) and integer y of shape (N,).

    >>> pick(np.array([[5.0, 6.0], [7.0, 8.0]]), np.array([1, 0]))
    array([6., 7.])
    """
    return x[np.arange(len(y)), y]


@pick.vjp("x")
def pick_x(g, out, x, y):
    return place(g, y, classes=x.shape[-1])


pick.constant_in("y")


@primitive
def place(values, y, *, classes):
    """Rows of zeros with one value each: out[i, y[i]] = values[i]. The transpose of `pick`.

    >>> place(np.array([6.0, 7.0]), np.array([1, 0]), classes=2)
    array([[0., 6.],
           [7., 0.]])
    """
    out = np.zeros((len(y), classes), values.dtype)
    out[np.arange(len(y)), y] = values
    return out


@place.vjp("values")
def place_values(g, out, values, y, *, classes):
    return pick(g, y)


place.constant_in("y")
