"""What every Tensor has of an array besides the operators of core.py: its methods, its text, NumPy's two protocols."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor, interpreter
from tinygrad_ce.numpy_protocol.refusals import without_rule
from tinygrad_ce.numpy_protocol.registry import FUNCTIONS, UFUNCS, name_of, refuse_options
from tinygrad_ce.variable import ARRAY, COPY, PYTHON_NUMBER, TEXT, TRUTH


class Conversions(Tensor):
    """A tensor as text, as a number, as a sequence, as an array."""

    __pandas_priority__ = 5000  # above a DataFrame's 4000: `series * t` is left to t, as an array's product is

    def __repr__(self) -> str:
        array = np.array2string(self.data, separator=", ", prefix="Tensor(", threshold=100)
        dtype = "" if self.dtype == np.float64 else f", dtype={self.dtype}"
        asks = ", requires_grad=True" if self.op is None and self.requires_grad else ""
        history = ""
        if self.op is not None:
            from tinygrad_ce.errors import call_text

            history = f", {call_text(self.op, self.inputs)}"
        name = f", name={self.name!r}" if self.name else ""
        return f"Tensor({array}{dtype}{asks}{history}{name})"

    def numpy(self) -> Array:
        """The array itself, not a copy."""
        return self.data

    def item(self) -> float | int | bool:
        """The only element as a Python number. ValueError if there are more, or none."""
        return self._number(PYTHON_NUMBER)

    def _number(self, why: str) -> float | int | bool:
        if self.size != 1:
            raise ValueError(f"item() needs exactly one element; {self.label} has shape {self.shape}")
        number: float | int | bool = interpreter.get().numbers(self, why).item()
        return number

    def tolist(self) -> Any:
        """The elements as Python numbers, in lists that are nested as deep as there are axes."""
        return interpreter.get().numbers(self, PYTHON_NUMBER).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, form: str) -> str:
        return format(self._number(TEXT), form) if form else str(self)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of {self.size} elements is ambiguous ({self.label} has shape {self.shape}): "
                "use (t > 0).all() or (t > 0).any(), or where(t > 0, ..., ...) to choose element by element"
            )
        return bool(self._number(TRUTH))

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError(f"{self.label} is a single number (shape ()) and has no length")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise TypeError(
                f"turning {self.label} into an array would lose its gradient: write {self.name or 't'}.data if that "
                "is what you want, or use a function of tinygrad_ce.ops; tensors in a list are joined by "
                "np.stack([a, b]), also for np.sum, np.mean, np.max..."
            )
        return np.array(interpreter.get().numbers(self, ARRAY), dtype=dtype, copy=copy)

    def __reduce__(self) -> Any:  # copy.deepcopy and pickle: a new tensor, with a serial number of its own
        if self.op is not None:
            raise TypeError(f"{self.label} has a history and cannot be copied or pickled: use .detach() first")
        return Tensor, (interpreter.get().numbers(self, COPY).copy(), self.requires_grad, self.name)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.index(self, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(
            f"{self.label} is part of a graph, and backward will need the values it has now, so it cannot be written "
            "to: build a new tensor with where(mask, new, t) or concatenate(...); to fill a leaf before use, write "
            "to t.data[...]"
        )

    # ---- NumPy's own functions, called on a Tensor

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        function = UFUNCS.get(ufunc)
        name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        if function is None or method != "__call__":
            raise without_rule(name)
        if options:
            refuse_options(name, [option for option, value in options.items() if value is not _UNSET.get(option)])
        return function(*inputs)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        ours = FUNCTIONS.get(function)
        if ours is None:
            raise without_rule(name_of(function))
        return ours(*inputs, **options)


_UNSET = {"where": True, "casting": "same_kind", "order": "K", "subok": True, "dtype": None, "out": None}


class Operators(Tensor):
    """The operators that core.py leaves out (comparisons, masks, remainders), and the methods that np has not."""

    # fmt: off
    def __gt__(self, other: Any) -> Tensor: return ops.greater(self, other)
    def __ge__(self, other: Any) -> Tensor: return ops.greater_equal(self, other)
    def __lt__(self, other: Any) -> Tensor: return ops.less(self, other)
    def __le__(self, other: Any) -> Tensor: return ops.less_equal(self, other)
    def __eq__(self, other: Any) -> Tensor: return ops.equal(self, other)  # type: ignore[override]
    def __ne__(self, other: Any) -> Tensor: return ops.not_equal(self, other)  # type: ignore[override]
    __hash__ = object.__hash__
    def __pos__(self) -> Any: return self
    def __round__(self, decimals: int = 0) -> Any: return self.round(decimals)
    def __abs__(self) -> Tensor: return ops.absolute(self)
    def __invert__(self) -> Tensor: return ops.logical_not(_mask(self))
    def __and__(self, other: Any) -> Tensor: return ops.logical_and(_mask(self), _mask(other))
    def __or__(self, other: Any) -> Tensor: return ops.logical_or(_mask(self), _mask(other))
    def __xor__(self, other: Any) -> Tensor: return ops.logical_xor(_mask(self), _mask(other))
    def __rand__(self, other: Any) -> Tensor: return ops.logical_and(_mask(other), _mask(self))
    def __ror__(self, other: Any) -> Tensor: return ops.logical_or(_mask(other), _mask(self))
    def __rxor__(self, other: Any) -> Tensor: return ops.logical_xor(_mask(other), _mask(self))
    def __mod__(self, other: Any) -> Tensor: return ops.mod(self, other)
    def __rmod__(self, other: Any) -> Tensor: return ops.mod(other, self)
    def __floordiv__(self, other: Any) -> Tensor: return ops.floor_divide(self, other)
    def __rfloordiv__(self, other: Any) -> Tensor: return ops.floor_divide(other, self)
    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]: return self // other, self % other
    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]: return other // self, other % self

    def exp(self) -> Tensor: return ops.exp(self)
    def log(self) -> Tensor: return ops.log(self)
    def sqrt(self) -> Tensor: return ops.sqrt(self)
    def tanh(self) -> Tensor: return ops.tanh(self)
    def sigmoid(self) -> Tensor: return ops.sigmoid(self)
    def relu(self) -> Tensor: return ops.relu(self)
    def astype(self, dtype: Any) -> Tensor: return ops.astype(self, dtype=np.dtype(dtype))
    def conj(self) -> Any: return self
    def conjugate(self) -> Any: return self

    @property
    def T(self) -> Tensor: return ops.transpose(self)
    @property
    def mT(self) -> Tensor: return ops.swapaxes(self, -1, -2)
    @property
    def real(self) -> Any: return self
    # fmt: on

    def reshape(self, *shape: Any, order: str = "C") -> Tensor:
        if order != "C":
            refuse_options("reshape", ["order"])
        return ops.reshape(self, shape=shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        return ops.transpose(self, axes=axes[0] if len(axes) == 1 else axes or None)


METHODS = (  # those that are functions of np with the tensor as their first argument
    *("all", "any", "argmax", "argmin", "argsort", "clip", "compress", "copy", "cumprod", "cumsum", "diagonal", "dot"),
    *("max", "mean", "min", "nonzero", "prod", "ravel", "repeat", "round", "searchsorted", "squeeze", "std", "sum"),
    *("swapaxes", "take", "trace", "var"),
)
IN_PLACE = {
    "sort": "np.sort(t)",
    "fill": "np.full_like(t, value)",
    "put": "where(mask, new, t)",
    "resize": "np.resize(t, shape)",
}


DESCRIBED = {  # what reads like a list in the code, here and in core.py
    "shape": "The length of each axis.",
    "ndim": "The number of axes.",
    "size": "The number of elements.",
    "dtype": "The dtype of the elements: float32 and float64 stay what they are.",
    "version": "The serial number of the last write to its memory, and 0 if there was none.",
    "conj": "The tensor itself: its numbers are real.",
    "conjugate": "The tensor itself: its numbers are real.",
    "real": "The tensor itself: its numbers are real.",
    "T": "The tensor with its axes in the opposite order.",
    "mT": "The tensor with its last two axes exchanged: each matrix of a stack transposed.",
    "reshape": "The same numbers in another shape: `t.reshape(2, 3)` or `t.reshape((2, 3))`; -1 is what is left.",
    "transpose": "The axes in another order, or in the opposite one where none is named.",
}


def attach(owner: type) -> None:
    """Put these methods on the class of tensors."""
    for part in (Conversions, Operators):
        for name, method in vars(part).items():
            if name not in vars(_Nothing):
                setattr(owner, name, method)
    for name, member in vars(owner).items():
        if not member.__doc__ and (name in DESCRIBED or hasattr(ops, name)):
            member.__doc__ = DESCRIBED.get(name) or getattr(ops, name).__doc__.partition("\n")[0]
    for name in METHODS:
        setattr(owner, name, FUNCTIONS[getattr(np, name)])
    owner.flatten = FUNCTIONS[np.ravel]  # type: ignore[attr-defined]
    for name, instead in IN_PLACE.items():
        setattr(owner, name, _refusal(name, instead))


class _Nothing:
    """Has what every class has."""

    __slots__ = ("__dict__", "__weakref__")


def _refusal(name: str, instead: str) -> Any:
    """A method that would write into the tensor."""

    def refused(self: Tensor, *inputs: Any, **options: Any) -> NoReturn:
        """Raise TypeError: tensors of the graph are not written to in place."""
        raise TypeError(
            f"{self.label}.{name}(...) would write in place, and backward needs the values that are there now: "
            f"use {instead}, which answers with a new tensor"
        )

    return refused


def _mask(value: Any) -> Any:
    if np.asarray(value.data if isinstance(value, Tensor) else value).dtype != bool:
        from tinygrad_ce.errors import value_text

        raise TypeError(
            f"&, | and ~ combine masks, as in (t > 0) & (t < 1), and {value_text(value)} is no mask of booleans"
        )
    return value
