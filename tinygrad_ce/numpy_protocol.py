"""A Tensor looks like an array: np.exp(t), np.sum(t, axis=0), ndarray * t, t.reshape(...), t[0], len(t), print(t)...

NumPy hands its calls on a Tensor to the primitives listed here, and the methods of arrays are put on Tensor. A NumPy
function that is not listed raises, and says what to use: silently leaving the graph would be a wrong gradient.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import REGISTRY, Array, Tensor, interpreter
from tinygrad_ce.variable import ARRAY, COPY, PYTHON_NUMBER, TEXT, TRUTH

UFUNCS: dict[Any, Callable[..., Any]] = {}  # what np.exp(t), np.add(t, u)... run
FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # what np.sum(t), np.concatenate([t, u])... run


class _ArrayMethods(Tensor):
    """What every Tensor has of an array besides its operators; the loop below puts these methods on Tensor."""

    # ---- as text, as a number, as a sequence, as an array

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
                "use (t > 0).all() on t.data, or where(t > 0, ..., ...) to choose element by element"
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
                "is what you want, or use a function of tinygrad_ce.ops"
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
            raise TypeError(_no_rule(name))
        if options:
            raise TypeError(f"{name} of a Tensor takes no {', '.join(options)}: a tensor is never written to in place")
        return function(*inputs)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        ours = FUNCTIONS.get(function)
        if ours is None:
            raise TypeError(_no_rule(f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)))
        return ours(*inputs, **options)

    # fmt: off
    # ---- the methods of arrays

    def __gt__(self, other: Any) -> Tensor: return ops.greater(self, other)
    def __ge__(self, other: Any) -> Tensor: return ops.greater_equal(self, other)
    def __lt__(self, other: Any) -> Tensor: return ops.less(self, other)
    def __le__(self, other: Any) -> Tensor: return ops.less_equal(self, other)
    def __eq__(self, other: Any) -> Tensor: return ops.equal(self, other)  # type: ignore[override]
    def __ne__(self, other: Any) -> Tensor: return ops.not_equal(self, other)  # type: ignore[override]
    __hash__ = object.__hash__
    def __pos__(self) -> Tensor: return self
    def __abs__(self) -> Tensor: return ops.absolute(self)
    def __invert__(self) -> Tensor: return ops.logical_not(_mask(self))
    def __and__(self, other: Any) -> Tensor: return ops.logical_and(_mask(self), _mask(other))
    def __or__(self, other: Any) -> Tensor: return ops.logical_or(_mask(self), _mask(other))
    def __rand__(self, other: Any) -> Tensor: return ops.logical_and(_mask(other), _mask(self))
    def __ror__(self, other: Any) -> Tensor: return ops.logical_or(_mask(other), _mask(self))

    def exp(self) -> Tensor: return ops.exp(self)
    def log(self) -> Tensor: return ops.log(self)
    def sqrt(self) -> Tensor: return ops.sqrt(self)
    def tanh(self) -> Tensor: return ops.tanh(self)
    def sigmoid(self) -> Tensor: return ops.sigmoid(self)
    def relu(self) -> Tensor: return ops.relu(self)
    def astype(self, dtype: Any) -> Tensor: return ops.astype(self, dtype=np.dtype(dtype))
    def squeeze(self, axis: Any = None) -> Tensor: return ops.squeeze(self, axis=axis)
    def argmax(self, axis: int | None = None) -> Tensor: return ops.argmax(self, axis=axis)

    @property
    def T(self) -> Tensor: return ops.transpose(self)
    @property
    def mT(self) -> Tensor: return ops.swapaxes(self, -1, -2)
    # fmt: on

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.reduce_sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.reduce_mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.reduce_max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.reduce_min(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        return ops.variance(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, shape=shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        return ops.transpose(self, axes=axes[0] if len(axes) == 1 else axes or None)


_NAMESPACE = (
    "__module__",
    "__doc__",
    "__dict__",
    "__weakref__",
    "__slots__",
    "__firstlineno__",
    "__static_attributes__",
)
for _name, _method in vars(_ArrayMethods).items():
    if _name not in _NAMESPACE:
        setattr(Tensor, _name, _method)


def _mask(value: Any) -> Any:
    if np.asarray(value.data if isinstance(value, Tensor) else value).dtype != bool:
        from tinygrad_ce.errors import value_text

        raise TypeError(
            f"&, | and ~ combine masks, as in (t > 0) & (t < 1), and {value_text(value)} is no mask of booleans"
        )
    return value


def _no_rule(name: str) -> str:
    return (
        f"{name} has no derivative rule here: use one of tinygrad_ce.ops ({len(REGISTRY)} primitives), write your own "
        "with @primitive (examples/06_your_own_primitive.py), or call it on t.data if no gradient is wanted"
    )


# ---- which primitive each NumPy function is


def _spread(a: Any, b: Any) -> tuple[Any, Any]:
    """Both in the shape that they have together; a Python number in the other's dtype."""
    if np.isscalar(a):
        a = np.asarray(a, np.result_type(a, b.dtype))
    if np.isscalar(b):
        b = np.asarray(b, np.result_type(a.dtype, b))
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    return ops.broadcast_to(a, shape=shape), ops.broadcast_to(b, shape=shape)


UFUNCS.update(
    {
        np.add: ops.add,
        np.subtract: ops.sub,
        np.multiply: ops.mul,
        np.divide: ops.div,
        np.power: ops.power,
        np.float_power: ops.power,
        np.negative: ops.neg,
        np.positive: ops.identity,
        np.absolute: ops.absolute,
        np.fabs: ops.absolute,
        np.square: lambda x: ops.power(x, 2),
        np.reciprocal: lambda x: 1 / x,
        np.exp: ops.exp,
        np.exp2: lambda x: ops.power(2.0, x),
        np.expm1: ops.expm1,
        np.log: ops.log,
        np.log1p: ops.log1p,
        np.log2: lambda x: ops.log(x) / float(np.log(2)),
        np.log10: lambda x: ops.log(x) / float(np.log(10)),
        np.logaddexp: lambda a, b: ops.logsumexp(ops.stack(*_spread(a, b)), axis=0),
        np.sqrt: ops.sqrt,
        np.sin: ops.sin,
        np.cos: ops.cos,
        np.tan: lambda x: ops.sin(x) / ops.cos(x),
        np.tanh: ops.tanh,
        np.sinh: lambda x: (ops.expm1(x) - ops.expm1(-x)) / 2,
        np.cosh: lambda x: (ops.exp(x) + ops.exp(-x)) / 2,
        np.sign: ops.sign,
        np.maximum: ops.maximum,
        np.minimum: ops.minimum,
        np.matmul: ops.matmul,
        np.greater: ops.greater,
        np.greater_equal: ops.greater_equal,
        np.less: ops.less,
        np.less_equal: ops.less_equal,
        np.equal: ops.equal,
        np.not_equal: ops.not_equal,
        np.logical_and: ops.logical_and,
        np.logical_or: ops.logical_or,
        np.logical_not: ops.logical_not,
        np.bitwise_and: lambda a, b: b & a if isinstance(b, Tensor) else a & b,  # `array & t` comes here
        np.bitwise_or: lambda a, b: b | a if isinstance(b, Tensor) else a | b,
        np.invert: operator.invert,
    }
)


def implements(function: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what runs when this NumPy function meets a Tensor. Its options are the ones the signature names."""

    def register(ours: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS[function] = ours
        return ours

    return register


def _reduction(function: Any, primitive: Any) -> None:
    FUNCTIONS[function] = lambda a, axis=None, *, keepdims=False: primitive(a, axis=axis, keepdims=keepdims)


for _function, _primitive in (
    (np.sum, ops.reduce_sum),
    (np.mean, ops.reduce_mean),
    (np.max, ops.reduce_max),
    (np.min, ops.reduce_min),
):
    _reduction(_function, _primitive)


@implements(np.var)
def var(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return ops.variance(a, axis=axis, ddof=ddof, keepdims=keepdims)


@implements(np.std)
def std(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return ops.sqrt(ops.variance(a, axis=axis, ddof=ddof, keepdims=keepdims))


@implements(np.argmax)
def argmax(a: Any, axis: int | None = None) -> Any:
    return ops.argmax(a, axis=axis)


@implements(np.where)
def where(condition: Any, x: Any, y: Any) -> Any:
    return ops.where(condition, x, y)


@implements(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    if all(bound is None or (np.ndim(bound) == 0 and not isinstance(bound, Tensor)) for bound in (a_min, a_max)):
        return ops.clip(a, low=a_min, high=a_max)
    if a_min is not None:
        a = ops.maximum(a, a_min)
    return a if a_max is None else ops.minimum(a, a_max)


@implements(np.dot)
def dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return ops.mul(a, b)
    if np.ndim(b) > 2:
        raise ValueError(
            f"np.dot: b has shape {np.shape(b)}; with more than two axes, say with np.einsum what is meant"
        )
    return ops.matmul(a, b)


@implements(np.outer)
def outer(a: Any, b: Any) -> Any:
    return ops.reshape(a, shape=(-1, 1)) * ops.reshape(b, shape=(1, -1))


@implements(np.einsum)
def einsum(subscripts: str, *operands: Any) -> Any:
    return ops.einsum(subscripts, *operands)


@implements(np.trace)
def trace(a: Any) -> Any:
    if a.ndim != 2:
        raise ValueError(f"np.trace: a has shape {a.shape}, and a trace needs a matrix")
    return ops.reduce_sum(a * np.eye(*a.shape, dtype=a.dtype))


@implements(np.reshape)
def reshape(a: Any, shape: Any) -> Any:
    return ops.reshape(a, shape=shape)


@implements(np.ravel)
def ravel(a: Any) -> Any:
    return ops.reshape(a, shape=(-1,))


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    return ops.transpose(a, axes=None if axes is None else tuple(axes))


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    return ops.swapaxes(a, axis1, axis2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: int, destination: int) -> Any:
    return ops.moveaxis(a, source, destination)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    return ops.expand_dims(a, axis=axis)


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    return ops.squeeze(a, axis=axis)


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any) -> Any:
    return ops.broadcast_to(array, shape=shape)


@implements(np.concatenate)
def concatenate(arrays: Any, axis: int = 0) -> Any:
    return ops.concatenate(*arrays, axis=axis)


@implements(np.stack)
def stack(arrays: Any, axis: int = 0) -> Any:
    return ops.stack(*arrays, axis=axis)


@implements(np.zeros_like)
def zeros_like(a: Tensor) -> Any:
    return np.zeros_like(a.data)


@implements(np.ones_like)
def ones_like(a: Tensor) -> Any:
    return np.ones_like(a.data)


@implements(np.shape)
def shape(a: Tensor) -> tuple[int, ...]:
    return a.shape


@implements(np.ndim)
def ndim(a: Tensor) -> int:
    return a.ndim


@implements(np.size)
def size(a: Tensor) -> int:
    return a.size
