"""Which function of ours runs where a NumPy function meets a Tensor, and the words for what ours does not take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor, errors_module
from tinygrad_ce.ops.indexing import constant

UFUNCS: dict[Any, Callable[..., Any]] = {}  # what np.exp(t), np.add(t, u)... run
FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # what np.sum(t), np.concatenate([t, u])... run

INSTEAD_OF_OPTION = {
    "out": "results are never written to in place; use what comes out, as in array = array + t for array += t",
    "where": "choose before, as in np.where(mask, t, 0)",
    "initial": "bring it in afterwards, as in np.sum(t) + initial",
    "dtype": "convert before, with t.astype(dtype)",
    "order": "the elements of a tensor are counted in C order; transpose before, with t.T",
    "mean": "it is computed here",
    "method": "take elements out of np.sort(t)",
    "correction": "it is called ddof= here",
}


def name_of(function: Any) -> str:
    """How a NumPy function is written by its users: np.sum, np.linalg.norm."""
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module}.{function.__name__}".replace("numpy", "np", 1)


def implements(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what runs when one of these NumPy functions meets a Tensor; its arguments have NumPy's names.

    An argument of NumPy's that ours does not have may be passed as its default, and is refused in words otherwise.
    """

    def register(ours: Callable[..., Any]) -> Callable[..., Any]:
        function = functions[0]

        @wraps(ours)
        def call(*inputs: Any, **options: Any) -> Any:
            try:
                return ours(*inputs, **options)
            except TypeError:
                bound = _without_defaults(function, ours, inputs, options)
                if bound is None:  # ours was called as it should be, and has raised for a reason of its own
                    raise
            return ours(*bound.args, **bound.kwargs)

        call.__name__ = function.__name__
        call.__doc__ = ours.__doc__ or f"{name_of(function)} of tensors: see NumPy's."
        FUNCTIONS.update(dict.fromkeys(functions, call))
        return call

    return register


def _without_defaults(
    function: Any, ours: Callable[..., Any], inputs: tuple[Any, ...], options: dict[str, Any]
) -> inspect.BoundArguments | None:
    """A call of a NumPy function without what is at its default. TypeError if ours lacks one of the others."""
    known = inspect.signature(ours)
    try:
        known.bind(*inputs, **options)
        return None
    except TypeError:
        pass
    try:
        signature = inspect.signature(function)
    except ValueError:  # an older NumPy does not say what its functions in C take
        refuse_options(name_of(function), [name for name in options if name not in known.parameters])
        return None
    unknown = [name for name in options if name not in {*signature.parameters, *known.parameters}]
    if unknown:
        raise errors_module().unknown_keyword(name_of(function), ours, unknown[0]) from None
    try:
        bound = signature.bind(*inputs, **options)
    except TypeError:
        return None
    for name, value in list(bound.arguments.items()):
        if value is signature.parameters[name].default:
            del bound.arguments[name]
    refuse_options(name_of(function), [name for name in bound.arguments if name not in known.parameters])
    return bound


def refuse_options(name: str, options: list[str]) -> None:
    """TypeError for options of NumPy's that we do not take, with what to write instead."""
    if options:
        options = sorted(options, key=lambda option: option not in INSTEAD_OF_OPTION)
        advice = [INSTEAD_OF_OPTION[option] for option in options if option in INSTEAD_OF_OPTION]
        taken = ", ".join(f"{option}=" for option in options)
        raise TypeError(f"{name} of a Tensor takes no {taken}" + "".join(f": {text}" for text in advice[:1])) from None


# ---- what the families share


def value(x: Any) -> Any:
    """A tensor as it is, anything else as an array; that of a literal number is a constant of a traced program."""
    if isinstance(x, (float, int)):
        return constant(np.asarray(x))
    if isinstance(x, np.ndarray) and type(x) not in (np.ndarray, np.memmap):
        raise TypeError(f"a {type(x).__name__} computes by rules of its own: pass np.asarray(it)")
    return x if isinstance(x, Tensor) else np.asarray(x)


def in_dtype(x: Any, dtype: Any) -> Any:
    """x in another dtype, if one is asked for."""
    return x if dtype is None else ops.astype(x, dtype=np.dtype(dtype))


def flat(x: Any) -> Any:
    """All elements along one axis."""
    return ops.reshape(x, shape=(-1,))


def along(axis: int, *keys: Any) -> tuple[Any, ...]:
    """The index that takes these at one axis (from 0), and everything at the axes before and after it."""
    return (slice(None),) * axis + keys


def rearrange(function: Callable[..., Array], x: Any, *inputs: Any, **options: Any) -> Any:
    """Call a NumPy function that only moves, repeats or drops elements, or writes zeros.

    NumPy does it to the numbers of the elements, from 1; then the elements of these numbers are taken, and 0 for 0.
    """
    numbers = np.arange(1, x.size + 1).reshape(x.shape)
    places = function(numbers, *inputs, **options)
    elements = flat(x)
    if not np.all(places):
        elements = ops.concatenate(constant(np.zeros(1, x.dtype)), elements)
    else:
        places = places - 1
    return ops.index(elements, constant(places))
