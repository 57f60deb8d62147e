"""NumPy's functions that give tensors another shape, join them and split them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinygrad_ce import ops
from tinygrad_ce.numpy_protocol.registry import FUNCTIONS, along, flat, implements, refuse_options, value


@implements(np.reshape)
def reshape(a: Any, shape: Any, order: str = "C") -> Any:
    if order != "C":
        refuse_options("np.reshape", ["order"])
    return ops.reshape(a, shape=shape)


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    if order != "C":
        refuse_options("np.ravel", ["order"])
    return flat(a)


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    return ops.transpose(a, axes=None if axes is None else tuple(axes))


def matrix_transpose(x: Any) -> Any:
    return ops.swapaxes(x, -1, -2)


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    return ops.swapaxes(a, axis1, axis2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    sources, destinations = normalize_axis_tuple(source, a.ndim), normalize_axis_tuple(destination, a.ndim)
    if len(sources) != len(destinations):
        raise ValueError(f"np.moveaxis: {len(sources)} axes cannot move to {len(destinations)} places")
    order = [k for k in range(a.ndim) if k not in sources]
    for place, axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(place, axis)
    return ops.transpose(a, axes=tuple(order))


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    order = np.rollaxis(np.empty(range(a.ndim)), axis, start).shape  # each axis has its number as its length
    return ops.transpose(a, axes=order)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    return ops.expand_dims(a, axis=axis)


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    return ops.squeeze(a, axis=axis)


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any) -> Any:
    return ops.broadcast_to(array, shape=shape)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any) -> tuple[Any, ...]:
    shape = np.broadcast_shapes(*(value(x).shape for x in args))
    return tuple(ops.broadcast_to(x, shape=shape) for x in args)


def _at_least(function: Any) -> Callable[..., Any]:
    """np.atleast_1d and its like: a reshape to the shape that NumPy gives an array of this one."""

    def at_least(*arys: Any) -> Any:
        tensors = [ops.reshape(x, shape=function(np.empty(x.shape)).shape) for x in map(value, arys)]
        return tensors[0] if len(tensors) == 1 else tuple(tensors)

    return implements(function)(at_least)


atleast_1d, atleast_2d, atleast_3d = map(_at_least, (np.atleast_1d, np.atleast_2d, np.atleast_3d))


# ---- joining


@implements(np.concatenate)
def concatenate(arrays: Any, axis: int | None = 0) -> Any:
    return ops.concatenate(*arrays, axis=axis)


@implements(np.stack)
def stack(arrays: Any, axis: int = 0) -> Any:
    return ops.stack(*arrays, axis=axis)


@implements(np.vstack)
def vstack(tup: Any) -> Any:
    return ops.concatenate(*(atleast_2d(x) for x in tup), axis=0)


@implements(np.hstack)
def hstack(tup: Any) -> Any:
    rows = [atleast_1d(x) for x in tup]
    return ops.concatenate(*rows, axis=0 if rows and rows[0].ndim == 1 else 1)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    return ops.concatenate(*(atleast_3d(x) for x in tup), axis=2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    columns = (ops.reshape(x, shape=(-1, 1)) if x.ndim < 2 else x for x in map(value, tup))
    return ops.concatenate(*columns, axis=1)


@implements(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    if axis is None:
        return ops.concatenate(flat(value(arr)), flat(value(values)))
    return ops.concatenate(arr, values, axis=axis)


@implements(np.block)
def block(arrays: Any) -> Any:
    depth = _depth(arrays)
    ndim = max([depth, *(x.ndim for x in _leaves(arrays))])

    def join(part: Any, level: int) -> Any:
        if not isinstance(part, list):
            x = value(part)
            return ops.reshape(x, shape=(1,) * (ndim - x.ndim) + x.shape)
        return ops.concatenate(*(join(x, level - 1) for x in part), axis=ndim - level)

    return join(arrays, depth)


def _leaves(part: Any) -> list[Any]:
    return [leaf for x in part for leaf in _leaves(x)] if isinstance(part, list) else [value(part)]


def _depth(part: Any) -> int:
    """How deep the lists of a block are nested, which is the same everywhere."""
    if not isinstance(part, list):
        return 0
    if not part:
        raise ValueError("np.block: a list is empty")
    depths = {_depth(x) for x in part}
    if len(depths) > 1:
        raise ValueError(f"np.block: lists are nested {min(depths)} deep in one place and {max(depths)} in another")
    return 1 + depths.pop()


# ---- splitting


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    return _parts(np.array_split, ary, indices_or_sections, axis)


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    return _parts(np.split, ary, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    _check_axes("np.hsplit", ary, 1)
    return split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    _check_axes("np.vsplit", ary, 2)
    return split(ary, indices_or_sections, 0)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    _check_axes("np.dsplit", ary, 3)
    return split(ary, indices_or_sections, 2)


def _check_axes(name: str, x: Any, least: int) -> None:
    if x.ndim < least:
        raise ValueError(f"{name}: the tensor has shape {x.shape}, and at least {least} axes are needed")


def _parts(function: Any, x: Any, indices_or_sections: Any, axis: int) -> list[Any]:
    """The slices of x that NumPy's function makes of the places along this axis."""
    axis = normalize_axis_index(axis, x.ndim)
    places = function(np.arange(x.shape[axis]), indices_or_sections)
    bounds = [(int(p[0]), int(p[-1]) + 1) if p.size else (0, 0) for p in places]
    return [ops.index(x, along(axis, slice(*bound))) for bound in bounds]


def unstack(x: Any, *, axis: int = 0) -> tuple[Any, ...]:
    _check_axes("np.unstack", x, 1)
    axis = normalize_axis_index(axis, x.ndim)
    return tuple(ops.index(x, along(axis, k)) for k in range(x.shape[axis]))


_SINCE_2_1 = {"matrix_transpose": matrix_transpose, "unstack": unstack}  # NumPy 2.0 and 2.1
for _name, _ours in _SINCE_2_1.items():
    if hasattr(np, _name):
        implements(getattr(np, _name))(_ours)
if hasattr(np.linalg, "matrix_transpose"):
    FUNCTIONS[np.linalg.matrix_transpose] = matrix_transpose
