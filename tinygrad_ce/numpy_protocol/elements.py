"""NumPy's functions that choose, move, repeat, order and round the elements of tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.numpy_protocol.questions import nonzero
from tinygrad_ce.numpy_protocol.registry import (
    along,
    flat,
    implements,
    in_dtype,
    rearrange,
    refuse_options,
    value,
)
from tinygrad_ce.numpy_protocol.ufuncs import positive
from tinygrad_ce.ops.indexing import constant

# ---- choosing


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("np.where: either both or neither of x and y should be given")
    return ops.where(condition, x, y)


@implements(np.select)
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    if len(condlist) != len(choicelist) or not condlist:
        raise ValueError(f"np.select: {len(condlist)} conditions and {len(choicelist)} choices; each needs the other")
    shape = np.broadcast_shapes(*(value(x).shape for x in (*condlist, *choicelist, default)))
    chosen = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        if value(condition).dtype != bool:
            raise TypeError(f"np.select: conditions are masks of booleans, not of dtype {value(condition).dtype}")
        chosen = ops.where(condition, choice, chosen)
    return ops.broadcast_to(chosen, shape=shape)


@implements(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    if (a_min is not None and min is not None) or (a_max is not None and max is not None):
        raise ValueError("np.clip: a bound is passed twice, as a_min or a_max and as min= or max=")
    low = a_min if min is None else min
    high = a_max if max is None else max
    if low is None and high is None:
        return positive(a)
    if all(
        bound is None or (np.ndim(bound) == 0 and not isinstance(bound, (Tensor, np.ndarray))) for bound in (low, high)
    ):
        return ops.clip(a, low=low, high=high)
    if low is not None:
        a = ops.maximum(a, low)
    return a if high is None else ops.minimum(a, high)


@implements(np.nan_to_num)
def nan_to_num(x: Any, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    if x.dtype.kind != "f":
        return copy(x)
    limits = np.finfo(x.dtype)
    high, low = (float(limits.max) if posinf is None else posinf), (float(limits.min) if neginf is None else neginf)
    x = ops.where(ops.isnan(x), nan, x)
    return ops.where(ops.equal(x, np.inf), high, ops.where(ops.equal(x, -np.inf), low, x))


@implements(np.take)
def take(a: Any, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Any:
    if axis is None:
        a, axis = flat(value(a)), 0
    a = value(a) if np.ndim(a) else flat(value(a))
    axis = normalize_axis_index(axis, a.ndim)
    if isinstance(indices, Tensor) and mode != "raise":
        refuse_options("np.take", ["mode"])
    if not isinstance(indices, Tensor):
        indices = constant(np.take(np.arange(a.shape[axis]), indices, mode=mode))  # type: ignore[call-overload]
    elif indices.dtype == bool:
        indices = ops.astype(indices, dtype=np.dtype(int))
    elif indices.dtype.kind == "f":
        raise TypeError(f"np.take: indices are integers, not of dtype {indices.dtype}")
    return ops.index(a, along(axis, indices))


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    if axis is None:
        arr, axis = flat(value(arr)), 0
    return ops.take_along_axis(arr, indices, axis=axis)


@implements(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None) -> Any:
    return rearrange(lambda numbers: np.compress(condition, numbers, axis), a)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    return take(arr, nonzero(flat(value(condition)))[0])


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    return rearrange(np.delete, arr, obj, axis)


# ---- moving and repeating


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    return ops.flip(m, axis=axis)


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    if m.ndim < 2:
        raise ValueError(f"np.fliplr: m has shape {m.shape}, and left and right need at least 2 axes")
    return ops.flip(m, axis=1)


@implements(np.flipud)
def flipud(m: Any) -> Any:
    if m.ndim < 1:
        raise ValueError("np.flipud: m is a single number, and up and down need at least 1 axis")
    return ops.flip(m, axis=0)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    return rearrange(np.rot90, m, k, axes)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    return ops.roll(a, shift=_whole_numbers(shift), axis=None if axis is None else _whole_numbers(axis))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    return ops.repeat(a, repeats=_whole_numbers(repeats), axis=axis)


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    return ops.tile(A, reps=_whole_numbers(reps))


def _whole_numbers(x: Any) -> Any:
    """A whole number as it is, a list or array of them as a tuple: what a primitive takes as a static parameter."""
    if isinstance(x, Tensor):
        raise TypeError(f"how often and how far elements go is a number, not a tensor: {x.label}.tolist() has numbers")
    return operator.index(x) if np.ndim(x) == 0 else tuple(map(operator.index, x))


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    return rearrange(np.resize, a, new_shape)


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", **options: Any) -> Any:
    """Elements around a tensor: equal ones, or those that stand in it (mode edge, reflect, symmetric, wrap)."""
    if mode in ("edge", "reflect", "symmetric", "wrap") and options.get("reflect_type") != "odd":
        return rearrange(np.pad, array, pad_width, mode, **options)
    if mode != "constant":
        known = "constant, edge, reflect, symmetric and wrap"
        raise TypeError(f"np.pad: mode={mode!r} computes new numbers and has no derivative rule here: {known} have one")
    fill = options.get("constant_values", 0)
    if array.ndim and np.ndim(fill) == 0 and not isinstance(fill, Tensor) and not isinstance(pad_width, dict):
        widths = np.broadcast_to(pad_width, (array.ndim, 2))
        return ops.pad(array, widths=tuple(map(tuple, widths.tolist())), value=fill)
    border = np.pad(np.zeros(array.shape, array.dtype), pad_width, **options)
    inside = np.pad(np.ones(array.shape, bool), pad_width)
    return ops.where(constant(inside), rearrange(np.pad, array, pad_width), constant(border))


# ---- ordering


@implements(np.sort)
def sort(a: Any, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None) -> Any:
    return ops.sort(a, axis=axis)  # equal elements cannot be told apart, so every kind gives the same


@implements(np.argsort)
def argsort(a: Any, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None) -> Any:
    return ops.argsort(a, axis=axis)  # a stable order is one that every other kind may give too


# ---- rounding, copies


@implements(np.round, np.around)
def round_(a: Any, decimals: int = 0) -> Any:
    decimals = operator.index(decimals)
    if a.dtype == bool and decimals:
        raise TypeError("np.round: booleans have no decimals")
    if a.dtype.kind in "iu" and decimals >= 0:
        return copy(a)
    if decimals == 0:
        return ops.rint(a)
    scale = 10.0 ** abs(decimals)
    if a.dtype.kind in "iu":
        return ops.astype(ops.rint(a / scale) * scale, dtype=a.dtype)
    return ops.rint(a * scale) / scale if decimals > 0 else ops.rint(a / scale) * scale


@implements(np.fix)
def fix(x: Any) -> Any:
    return ops.trunc(x)


@implements(np.copy)
def copy(a: Any) -> Any:
    return ops.astype(a, dtype=a.dtype)


@implements(np.real)
def real(val: Any) -> Any:
    return val


@implements(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    return a


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Any:
    return x if not copy and x.dtype == dtype else in_dtype(x, dtype)


if hasattr(np, "astype"):  # NumPy 2.1
    implements(np.astype)(astype)
