"""NumPy's questions about tensors: their answers are shapes, dtypes, booleans and places, which have no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor, array_of, interpreter
from tinygrad_ce.numpy_protocol.registry import FUNCTIONS, flat, implements, name_of, value
from tinygrad_ce.ops.indexing import constant

# ---- the answer depends on shapes and dtypes only


def _of_arrays(function: Any) -> Callable[..., Any]:
    """NumPy's function of the arrays themselves."""

    def of_arrays(*inputs: Any, **options: Any) -> Any:
        named = {name: x.data if isinstance(x, Tensor) else x for name, x in options.items()}
        return function(*(x.data if isinstance(x, Tensor) else x for x in inputs), **named)

    of_arrays.__name__, of_arrays.__doc__ = function.__name__, f"{name_of(function)} of the arrays that tensors hold."
    return of_arrays


FUNCTIONS.update(
    {
        function: _of_arrays(function)
        for function in (
            *(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.common_type, np.iscomplexobj, np.isrealobj),
            *(np.shares_memory, np.may_share_memory),
        )
    }
)


def _new_array(function: Any) -> Callable[..., Any]:
    """An array made after the shape and dtype of a tensor: a constant of a traced program."""

    def like(*inputs: Any, **options: Any) -> Any:
        return constant(_of_arrays(function)(*inputs, **options))

    like.__name__, like.__doc__ = function.__name__, f"{name_of(function)}: an array, not a tensor."
    return like


FUNCTIONS.update({function: _new_array(function) for function in (np.zeros_like, np.ones_like, np.empty_like)})


@implements(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None) -> Any:
    """An array like a, or a tensor if the number in it is one."""
    if not isinstance(fill_value, Tensor):
        return constant(np.full_like(array_of(a), fill_value, dtype, shape=shape))
    filled = ops.astype(fill_value, dtype=np.dtype(a.dtype if dtype is None else dtype))
    return ops.broadcast_to(filled, shape=a.shape if shape is None else shape)


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    return ops.not_equal(ops.equal(x, x), ops.equal(x, x))


@implements(np.isreal)
def isreal(x: Any) -> Any:
    return ops.equal(ops.equal(x, x), ops.equal(x, x))


# ---- comparisons of whole arrays: one boolean


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    with np.errstate(invalid="ignore"):  # inf - inf
        near = ops.less_equal(ops.absolute(_floating(a) - b), atol + rtol * ops.absolute(_floating(b)))
    close = ops.logical_or(ops.logical_and(near, ops.isfinite(b)), ops.equal(a, b))
    return ops.logical_or(close, ops.logical_and(ops.isnan(a), ops.isnan(b))) if equal_nan else close


def _floating(x: Any) -> Any:
    """Integers and booleans as float64."""
    x = value(x)
    return x if x.dtype.kind == "f" else ops.astype(x, dtype=np.dtype(float))


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> bool:
    return bool(_everywhere(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    a1, a2 = value(a1), value(a2)
    return a1.shape == a2.shape and bool(_everywhere(_equal(a1, a2, equal_nan)))


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> bool:
    a1, a2 = value(a1), value(a2)
    try:
        np.broadcast_shapes(a1.shape, a2.shape)
    except ValueError:
        return False
    return bool(_everywhere(ops.equal(a1, a2)))


def _equal(a: Any, b: Any, equal_nan: bool) -> Any:
    same = ops.equal(a, b)
    return ops.logical_or(same, ops.logical_and(ops.not_equal(a, a), ops.not_equal(b, b))) if equal_nan else same


def _everywhere(mask: Any) -> Any:
    return ops.equal(ops.reduce_sum(ops.logical_not(mask)), 0)


# ---- places: how many there are depends on the values, so a traced program cannot hold them


def numbers_for(name: str, x: Any) -> Array:
    """The numbers of a tensor, for a function whose answer has no gradient. TraceError while tracing."""
    if not isinstance(x, Tensor):
        return np.asarray(x)
    return np.asarray(interpreter.get().numbers(Tensor(x.data, name=x.name), f"{name} needs"))


@implements(np.nonzero)
def nonzero(a: Any) -> tuple[Tensor, ...]:
    return tuple(Tensor(places) for places in np.nonzero(numbers_for("np.nonzero", a)))


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> Tensor:
    return nonzero(flat(a))[0]


@implements(np.argwhere)
def argwhere(a: Any) -> Tensor:
    return Tensor(np.argwhere(numbers_for("np.argwhere", a)))


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Tensor:
    name = "np.searchsorted"
    places = np.searchsorted(
        numbers_for(name, a), numbers_for(name, v), side, None if sorter is None else numbers_for(name, sorter)
    )
    return Tensor(places)


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    return Tensor(np.digitize(numbers_for("np.digitize", x), numbers_for("np.digitize", bins), right))


@implements(np.bincount)
def bincount(x: Any, /, weights: None = None, minlength: int = 0) -> Tensor:
    if weights is not None:
        raise TypeError("np.bincount of a Tensor takes no weights=: sum them by class with one_hot.T @ weights")
    return Tensor(np.bincount(numbers_for("np.bincount", x), minlength=minlength))


@implements(np.unique)
def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
) -> Any:
    """The different elements, in order; they are taken out of the tensor, so gradients flow back to them."""
    array = numbers_for("np.unique", ar)
    _, first, inverse, counts = np.unique(array, True, True, True, axis, equal_nan=equal_nan)
    elements = (
        ops.index(flat(ar), first) if axis is None else ops.index(ar, (slice(None),) * (axis % ar.ndim) + (first,))
    )
    extra = [Tensor(x) for x, on in ((first, return_index), (inverse, return_inverse), (counts, return_counts)) if on]
    return (elements, *extra) if extra else elements
