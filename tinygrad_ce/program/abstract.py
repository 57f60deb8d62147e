"""From primitives to array operations: a body is run on arrays that only write down what is done to them.

So the loops that are compiled come from the same bodies that run and are printed. What NumPy functions a body may use
to be compiled is listed here; a body that uses another one raises `CannotLower`.
"""

from __future__ import annotations

import dis
import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinygrad_ce.core import Primitive
from tinygrad_ce.ops.reduction import reduced_axes

_next_number = itertools.count(1).__next__


class CannotLower(NotImplementedError):
    """There are no loops for this; the step runs as NumPy instead."""


class Node:
    """An array of the program, by the operation that makes it.

    kind, and what `detail` is:
    "input", a parameter or data: its Value. "full", one number everywhere: that. "constant", a fixed array: that.
    "map", element by element: the name of NumPy's function.
    "view", the same elements at other places: for each axis of the input, the axis of this array that runs along it (or
    None), the first and the step. "reshape", the same elements in the same order.
    "reduce": the function, and the axes, which are kept with length 1. "matmul", of two matrices and perhaps a row.
    "gather", elements at indices: for each axis of inputs[0], ("at", k) if inputs[k] holds the index, or ("axis",
    the axis of this array that runs along it, the first, the step). "scatter_add", zeros, with inputs[0] added there.
    "concatenate", one behind the other: the axis. "iota", an element's own index: along which axis.
    "loss", a kernel's loss, and "slope", its gradient: the kernel and its options.
    """

    __slots__ = ("detail", "dtype", "inputs", "kind", "number", "shape", "source")

    def __init__(
        self, kind: str, shape: Sequence[int], dtype: Any, inputs: tuple[Any, ...] = (), detail: Any = None
    ) -> None:
        self.kind, self.shape, self.dtype = kind, tuple(int(n) for n in shape), np.dtype(dtype)
        self.inputs, self.detail = inputs, detail
        self.number: float = _next_number()  # inputs are older than what is made of them
        self.source: Any = None  # the instruction that it comes from

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


def node_of(x: Any) -> Node:
    """The node of anything that may stand where an array does."""
    if isinstance(x, AbstractArray):
        return x.node
    if isinstance(x, Node):
        return x
    array = np.asarray(x)
    if array.size and (array == array.flat[0]).all():
        return Node("full", array.shape, array.dtype, detail=array.flat[0].item())
    return Node("constant", array.shape, array.dtype, detail=np.ascontiguousarray(array))


def mapped(name: str, *inputs: Any, dtype: Any = None) -> AbstractArray:
    """A NumPy function of one element of each input. Python numbers stay numbers: they adapt to the arrays' dtype."""
    nodes = [x if _is_number(x) else node_of(x) for x in inputs]
    if name == "multiply" and (other := _times_one(*nodes)) is not None:
        return AbstractArray(other)
    shape = np.broadcast_shapes(*(n.shape for n in nodes if isinstance(n, Node)))
    if dtype is None:
        with np.errstate(all="ignore"):
            probes = [np.ones((1,), n.dtype) if isinstance(n, Node) else n for n in nodes]
            dtype = getattr(np, name)(*probes).dtype
    return AbstractArray(Node("map", shape, dtype, tuple(_spread(n, shape) for n in nodes), name))


def _times_one(a: Any, b: Any) -> Node | None:
    """The other factor, if one is 1 and nothing else changes."""
    for one, other in ((a, b), (b, a)):
        if not isinstance(one, Node) or not isinstance(other, Node) or one.kind != "full" or one.detail != 1:
            continue
        if one.dtype == other.dtype and np.broadcast_shapes(one.shape, other.shape) == other.shape:
            return other
    return None


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, np.generic)


def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    """x as it is read by loops over this shape: an axis of length 1 is read at 0, again and again."""
    if not isinstance(x, Node) or x.shape == shape:
        return x
    ahead = len(shape) - len(x.shape)
    axes = [(None, 0, 0) if n == 1 and shape[ahead + k] != 1 else (ahead + k, 0, 1) for k, n in enumerate(x.shape)]
    return view(x, shape, axes)


def through(x: Node, places: Sequence[tuple[int | None, int, int]]) -> tuple[tuple[int | None, int, int], ...]:
    """Where a view's input is read, if the view is read at these places."""
    found: list[tuple[int | None, int, int]] = []
    for axis, first, step in x.detail:
        outer, start, stride = places[axis] if axis is not None else (None, 0, 0)
        found.append((outer, first + step * start, step * stride))
    return tuple(found)


def view(x: Node, shape: Sequence[int], axes: Sequence[tuple[int | None, int, int]]) -> Node:
    """The elements of x at other places; a view of a view is one view."""
    if x.kind == "full":
        return Node("full", shape, x.dtype, detail=x.detail)
    if x.kind == "view":
        return view(x.inputs[0], shape, through(x, axes))
    if tuple(shape) == x.shape and list(axes) == [(k, 0, 1) for k in range(len(x.shape))]:
        return x
    return Node("view", shape, x.dtype, (x,), tuple(axes))


def in_order(x: Node) -> bool:
    """Whether a view has all elements of its input in their order: only axes of length 1 have come or gone."""
    if x.kind != "view" or x.size != x.inputs[0].size:
        return False
    long = [place for place, n in zip(x.detail, x.inputs[0].shape, strict=True) if n != 1]
    axes = [axis for axis, _, _ in long if axis is not None]
    return len(axes) == len(long) and axes == sorted(axes) and all(place[1:] == (0, 1) for place in long)


OF_MATH = {"erf", "erfc"}  # functions of one number that NumPy lacks; a body makes them a ufunc with np.frompyfunc
UFUNCS = {
    *("add", "subtract", "multiply", "divide", "negative", "positive", "power", "absolute", "sign", "exp", "expm1"),
    *("log", "log1p", "sqrt", "sin", "cos", "tanh", "maximum", "minimum", "isnan", "square", "reciprocal", "exp2"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or"),
    *("logical_not", "bitwise_and", "bitwise_or", "invert", "tan", "arctan", "sinh", "cosh", "floor", "ceil", "log2"),
    *("log10", "arctan2", "hypot", "isfinite", "isinf", "rint", "trunc", "arcsin"),
    *("arccos", "arcsinh", "arccosh", "arctanh", "cbrt", "logaddexp", "logical_xor", *OF_MATH),
}  # fmt: skip


class AbstractArray(NDArrayOperatorsMixin):
    """Stands for an array while a body runs: it has a shape and a dtype, and no elements."""

    def __init__(self, node: Node) -> None:
        self.node = node

    # ---- what bodies ask of an array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.node.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return self.node.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.node.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.node.size

    @property
    def T(self) -> AbstractArray:
        """Transposed."""
        return transpose(self)

    def __len__(self) -> int:
        return self.node.shape[0]

    def __bool__(self) -> bool:
        raise CannotLower("its body branches on values")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise CannotLower("its body asks for the numbers of an array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__.removesuffix(" (vectorized)")
        name = {"true_divide": "divide", "conjugate": "positive"}.get(name, name)
        if method == "at" and name == "add":
            target, key, values = inputs
            target.node = _added_at(target.node, key, values)
            return None
        if method == "__call__" and name == "matmul":
            return matmul(*inputs)
        if method != "__call__" or name not in UFUNCS or (options.keys() - {"dtype"}):
            raise CannotLower(f"its body uses np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}")
        return mapped(name, *inputs, dtype=np.result_type(self.dtype, 0.0) if name in OF_MATH else None)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        ours = FUNCTIONS.get(function.__name__)
        if ours is None:
            raise CannotLower(f"its body uses np.{function.__name__}")
        return ours(*inputs, **options)

    # ---- methods that bodies call

    def astype(self, dtype: Any, copy: bool = True) -> AbstractArray:
        """In another dtype."""
        return self if np.dtype(dtype) == self.dtype else mapped("astype", self, dtype=dtype)

    def sum(self, axis: Any = None, keepdims: bool = False) -> AbstractArray:
        """Sums along axes."""
        return reduced("sum", self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> AbstractArray:
        """Means along axes."""
        total = self.sum(axis=axis, keepdims=True)
        mean = total / (self.size // max(total.size, 1))
        return mean if keepdims else squeeze(mean, reduced_axes(self.ndim, axis))

    def max(self, axis: Any = None, keepdims: bool = False) -> AbstractArray:
        """Largest elements along axes."""
        return reduced("max", self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> AbstractArray:
        """Smallest elements along axes."""
        return reduced("min", self, axis, keepdims)

    def reshape(self, *shape: Any) -> AbstractArray:
        """The elements in another shape."""
        return reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> AbstractArray:
        """The axes in another order."""
        return transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def copy(self) -> AbstractArray:
        """Another array with these elements: nothing here is ever written to."""
        return AbstractArray(self.node)

    def __getitem__(self, key: Any) -> AbstractArray:
        return _taken(self.node, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.node = _replaced(self.node, key, value)


# ---- the functions of NumPy that bodies use


def reduced(name: str, x: Any, axis: Any = None, keepdims: bool = False, **options: Any) -> AbstractArray:
    """A reduction along axes."""
    node = node_of(x)
    if options.keys() - {"dtype"}:
        raise CannotLower(f"its body uses np.{name} with {', '.join(options)}")
    dtype = options.get("dtype")
    if dtype is None:
        dtype = getattr(np, name)(np.ones((1,), node.dtype)).dtype if name != "argmax" else np.dtype(np.int64)
    if name == "sum" and node.dtype != dtype:
        node = mapped("astype", AbstractArray(node), dtype=dtype).node
    axes = tuple(range(len(node.shape))) if axis is None else reduced_axes(len(node.shape), axis)
    kept = tuple(1 if k in axes else n for k, n in enumerate(node.shape))
    if name in ("max", "min", "argmax") and node.size == 0:
        raise CannotLower(f"its body takes the {name} of nothing")
    out = AbstractArray(Node("reduce", kept, dtype, (node,), (name, axes)))
    return out if keepdims else squeeze(out, axes)


def argmax(x: Any, axis: Any = None) -> AbstractArray:
    """np.argmax; of all elements as of one row."""
    return reduced("argmax", reshape(x, (-1,)) if axis is None else x, 0 if axis is None else axis)


def variance(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> AbstractArray:
    """np.var: the mean of the squared deviations from the mean."""
    x = AbstractArray(node_of(x))
    deviation = x - x.mean(axis=axis, keepdims=True)
    count = x.size // max(deviation.sum(axis=axis).size, 1)
    total = (deviation * deviation).sum(axis=axis, keepdims=keepdims)
    return total / (count - ddof)


def where(condition: Any, x: Any, y: Any) -> AbstractArray:
    """np.where."""
    x, y = (v if _is_number(v) else AbstractArray(node_of(v)) for v in (x, y))
    dtype = np.where(True, *(np.ones((), v.dtype) if isinstance(v, AbstractArray) else v for v in (x, y))).dtype
    if any(isinstance(v, AbstractArray) for v in (x, y)):
        dtype = np.result_type(*(v.dtype if isinstance(v, AbstractArray) else v for v in (x, y)))
    return mapped("where", condition, x, y, dtype=dtype)


def clip(x: Any, low: Any = None, high: Any = None) -> AbstractArray:
    """np.clip."""
    out = x if low is None else np.maximum(x, low)
    return out if high is None else np.minimum(out, high)


def reshape(x: Any, shape: Any, **_: Any) -> AbstractArray:
    """np.reshape."""
    node = node_of(x)
    shape = np.empty(0).reshape(0).shape if shape is None else shape
    shape = np.broadcast_to(0, node.shape).reshape(shape).shape
    if node.kind == "full":
        return AbstractArray(Node("full", shape, node.dtype, detail=node.detail))
    if shape == node.shape:
        return AbstractArray(node)
    long = [n for n in node.shape if n != 1]
    if long == [n for n in shape if n != 1]:  # only axes of length 1 come and go
        ours = iter([k for k, n in enumerate(shape) if n != 1])
        return AbstractArray(view(node, shape, [(next(ours), 0, 1) if n != 1 else (None, 0, 0) for n in node.shape]))
    return AbstractArray(Node("reshape", shape, node.dtype, (node,)))


def transpose(x: Any, axes: Any = None) -> AbstractArray:
    """np.transpose."""
    node = node_of(x)
    order = tuple(range(len(node.shape)))[::-1] if axes is None else tuple(a % len(node.shape) for a in axes)
    places = [(order.index(k), 0, 1) for k in range(len(node.shape))]
    return AbstractArray(view(node, [node.shape[k] for k in order], places))


def squeeze(x: Any, axis: Any = None) -> AbstractArray:
    """np.squeeze."""
    shape = node_of(x).shape
    gone = reduced_axes(len(shape), axis) if axis is not None else [k for k, n in enumerate(shape) if n == 1]
    return _dropped(x, [n for k, n in enumerate(shape) if k not in gone], gone)


def _dropped(x: Any, shape: Sequence[int], gone: Sequence[int]) -> AbstractArray:
    node = node_of(x)
    left = iter(range(len(shape)))
    return AbstractArray(
        view(node, shape, [(None, 0, 0) if k in gone else (next(left), 0, 1) for k in range(len(node.shape))])
    )


def expand_dims(x: Any, axis: Any) -> AbstractArray:
    """np.expand_dims."""
    node = node_of(x)
    return reshape(x, np.expand_dims(np.broadcast_to(0, node.shape), axis).shape)


def broadcast_to(x: Any, shape: Any) -> AbstractArray:
    """np.broadcast_to."""
    node = node_of(x)
    shape = np.broadcast_to(np.broadcast_to(0, node.shape), shape).shape
    return AbstractArray(_spread(node, shape))


def concatenate(arrays: Sequence[Any], axis: Any = 0) -> AbstractArray:
    """np.concatenate."""
    nodes = [node_of(reshape(x, (-1,)) if axis is None else x) for x in arrays]
    axis = 0 if axis is None else axis % len(nodes[0].shape)
    shape = list(nodes[0].shape)
    shape[axis] = sum(n.shape[axis] for n in nodes)
    return AbstractArray(Node("concatenate", shape, np.result_type(*(n.dtype for n in nodes)), tuple(nodes), axis))


def stack(arrays: Sequence[Any], axis: int = 0) -> AbstractArray:
    """np.stack."""
    axis = axis % (node_of(arrays[0]).shape.__len__() + 1)
    return concatenate([expand_dims(x, axis) for x in arrays], axis)


def flip(x: Any, axis: Any = None) -> AbstractArray:
    """np.flip."""
    x = AbstractArray(node_of(x))
    turned = reduced_axes(x.ndim, axis)
    return x[tuple(slice(None, None, -1 if k in turned else 1) for k in range(x.ndim))]


def pad(x: Any, widths: Any, constant_values: Any = 0) -> AbstractArray:
    """np.pad with one number everywhere."""
    x = AbstractArray(node_of(x))
    for axis, border in enumerate(np.broadcast_to(widths, (x.ndim, 2)).tolist()):
        before, after = (full((*x.shape[:axis], n, *x.shape[axis + 1 :]), constant_values, x.dtype) for n in border)
        x = concatenate([before, x, after], axis)
    return x


def roll(x: Any, shift: Any, axis: Any = None) -> AbstractArray:
    """np.roll."""
    x = AbstractArray(node_of(x))
    if axis is None:
        return reshape(roll(reshape(x, (-1,)), np.sum(shift), 0), x.shape)
    for n, along in np.broadcast(shift, axis):
        size = max(x.shape[along], 1)
        every = (slice(None),) * (along % x.ndim)
        x = concatenate([x[(*every, slice(size - n % size, None))], x[(*every, slice(size - n % size))]], along)
    return x


def triangle(lower: bool) -> Callable[..., AbstractArray]:
    """np.tril or np.triu."""

    def of(x: Any, k: int = 0) -> AbstractArray:
        x = AbstractArray(node_of(x))
        gap = arange(x.shape[-1]) - arange(x.shape[max(-2, -x.ndim)])[:, None]
        return where(gap <= k if lower else gap >= k, x, 0)

    return of


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> AbstractArray:
    """np.diagonal: both axes run along the last one of the result."""
    node = node_of(x)
    first, second = axis1 % len(node.shape), axis2 % len(node.shape)
    down, right = max(-offset, 0), max(offset, 0)
    length = max(min(node.shape[first] - down, node.shape[second] - right), 0)
    rest = [k for k in range(len(node.shape)) if k not in (first, second)]
    places = {first: (len(rest), down, 1), second: (len(rest), right, 1), **{k: (n, 0, 1) for n, k in enumerate(rest)}}
    return AbstractArray(
        view(node, [*(node.shape[k] for k in rest), length], [places[k] for k in range(len(node.shape))])
    )


def repeat(x: Any, repeats: Any, axis: Any = None) -> AbstractArray:
    """np.repeat, each element equally often."""
    x = reshape(x, (-1,)) if axis is None else AbstractArray(node_of(x))
    if isinstance(repeats, tuple):
        raise CannotLower("its body uses np.repeat with a number for each place")
    axis = 0 if axis is None else axis % x.ndim
    before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    return reshape(
        broadcast_to(expand_dims(x, axis + 1), (*before, n, repeats, *after)), (*before, n * repeats, *after)
    )


def tile(x: Any, reps: Any) -> AbstractArray:
    """np.tile."""
    x = AbstractArray(node_of(x))
    counts = reps if isinstance(reps, tuple) else (reps,)
    ndim = max(len(counts), x.ndim)
    counts, sizes = (1,) * (ndim - len(counts)) + counts, (1,) * (ndim - x.ndim) + x.shape
    apart = broadcast_to(
        reshape(x, tuple(n for size in sizes for n in (1, size))),
        tuple(n for pair in zip(counts, sizes, strict=True) for n in pair),
    )
    return reshape(apart, tuple(count * size for count, size in zip(counts, sizes, strict=True)))


def dot(a: Any, b: Any) -> AbstractArray:
    """np.dot, and a @ b: of matrices and vectors as a product of two matrices, of more axes as an einsum."""
    a, b = AbstractArray(node_of(a)), AbstractArray(node_of(b))
    dtype = np.result_type(a.dtype, b.dtype)
    a, b = a.astype(dtype), b.astype(dtype)
    if a.ndim == 1 and b.ndim == 1:
        return (a * b).sum()
    if b.ndim <= 2 and a.ndim >= 1:
        rows = reshape(a, (-1, a.shape[-1])) if a.ndim != 2 else a
        columns = reshape(b, (-1, 1)) if b.ndim == 1 else b
        product = AbstractArray(Node("matmul", (rows.shape[0], columns.shape[1]), dtype, (rows.node, columns.node)))
        return reshape(product, a.shape[:-1] + b.shape[1:])
    raise CannotLower("its body multiplies arrays of more axes with np.dot")


def matmul(a: Any, b: Any) -> AbstractArray:
    """a @ b."""
    a, b = AbstractArray(node_of(a)), AbstractArray(node_of(b))
    if b.ndim <= 2:
        return dot(a, b)
    if a.ndim == 1:
        return matmul(expand_dims(a, 0), b)[..., 0, :]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = broadcast_to(a, batch + a.shape[-2:]), broadcast_to(b, batch + b.shape[-2:])
    letters = "abcdefgh"[: len(batch)]
    return einsum(f"{letters}ik,{letters}kj->{letters}ij", a, b)


def einsum(subscripts: str, *operands: Any) -> AbstractArray:
    """np.einsum with its output written out."""
    nodes = [node_of(x) for x in operands]
    terms, output = subscripts.replace(" ", "").split("->")
    sizes: dict[str, int] = {}
    for term, node in zip(terms.split(","), nodes, strict=True):
        for letter, n in zip(term, node.shape, strict=True):
            sizes[letter] = n if sizes.get(letter, 1) == 1 else sizes[letter]
    # Loops over all letters, and a sum over those that the output has not.
    letters = output + "".join(sorted(set(sizes) - set(output)))
    shape = tuple(sizes[c] for c in letters)
    factors = []
    for term, node in zip(terms.split(","), nodes, strict=True):
        along = [(letters.index(c), 0, 1) for c in term]
        places = [p if n == sizes[c] else (None, 0, 0) for p, n, c in zip(along, node.shape, term, strict=True)]
        factors.append(AbstractArray(view(node, shape, places)))
    product = factors[0]
    for factor in factors[1:]:
        product = product * factor
    return reduced("sum", product, tuple(range(len(output), len(letters)))) if len(letters) > len(output) else product


def result_type(*values: Any) -> Any:
    """np.result_type."""
    return np.result_type(*(v.dtype if isinstance(v, AbstractArray) else v for v in values))


def asarray(x: Any, dtype: Any = None) -> Any:
    """np.asarray."""
    if not isinstance(x, AbstractArray):
        return AbstractArray(node_of(np.asarray(x, dtype)))
    return x if dtype is None else x.astype(dtype)


def full(shape: Any, value: Any, dtype: Any = None) -> AbstractArray:
    """np.full, np.zeros and np.ones."""
    array = np.full((), value, dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return AbstractArray(Node("full", shape, array.dtype, detail=array.item()))


def arange(stop: Any) -> AbstractArray:
    """np.arange(n)."""
    return AbstractArray(Node("iota", (int(stop),), np.int64, detail=0))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sum": lambda x, **options: reduced("sum", x, **options),
    "max": lambda x, **options: reduced("max", x, **options),
    "min": lambda x, **options: reduced("min", x, **options),
    "amax": lambda x, **options: reduced("max", x, **options),
    "amin": lambda x, **options: reduced("min", x, **options),
    "mean": lambda x, axis=None, keepdims=False: AbstractArray(node_of(x)).mean(axis, keepdims),
    "argmax": argmax,
    "var": variance,
    "std": lambda x, **options: np.sqrt(variance(x, **options)),
    "where": where,
    "clip": clip,
    "reshape": reshape,
    "transpose": transpose,
    "squeeze": squeeze,
    "expand_dims": expand_dims,
    "broadcast_to": broadcast_to,
    "concatenate": concatenate,
    "stack": stack,
    "flip": flip,
    "pad": pad,
    "roll": roll,
    "tril": triangle(lower=True),
    "triu": triangle(lower=False),
    "diagonal": diagonal,
    "repeat": repeat,
    "tile": tile,
    "dot": dot,
    "matmul": matmul,
    "einsum": einsum,
    "result_type": result_type,
}
MADE: dict[str, Callable[..., Any]] = {
    "asarray": asarray,
    "zeros": lambda shape, dtype=float: full(shape, 0, dtype),
    "ones": lambda shape, dtype=float: full(shape, 1, dtype),
    "full": full,
    "zeros_like": lambda x, dtype=None: full(x.shape, 0, dtype or x.dtype),
    "ones_like": lambda x, dtype=None: full(x.shape, 1, dtype or x.dtype),
    "arange": arange,
    "shape": lambda x: x.shape,
    "ndim": lambda x: node_of(x).shape.__len__(),
}


class _Numpy:
    """NumPy, as a body sees it while it is written down."""

    def __getattr__(self, name: str) -> Any:
        return MADE.get(name) or FUNCTIONS.get(name) or getattr(np, name)


NUMPY = _Numpy()


@cache
def body_of(function: Any) -> Callable[..., Any]:
    """A body that works on abstract arrays: NumPy is ours in it, and the primitives that it calls are bodies too."""
    names: dict[str, Any] = {"__builtins__": __builtins__}
    for name in _names_in(function.__code__):
        if name in function.__globals__:
            names[name] = _as_abstract(function.__globals__[name])
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _names_in(code: Any) -> set[str]:
    """The global names that a function's code reads, those of functions inside it too."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return found.union(*(_names_in(c) for c in code.co_consts if hasattr(c, "co_names")))


def _as_abstract(value: Any) -> Any:
    if value is np:
        return NUMPY
    function = value.body if isinstance(value, Primitive) else value
    if isinstance(value, Primitive) or (isinstance(value, FunctionType) and value.__module__.startswith(_OPS)):
        return lambda *arguments, **params: body_of(function)(*arguments, **params)
    return value


_OPS = "tinygrad_ce.ops"


# ---- elements at places that other arrays tell


def _key(x: Node, key: Any) -> list[Any]:
    """The key with one item for each axis, and None for new ones."""
    items = list(key) if isinstance(key, tuple) else [key]
    used = sum(1 for item in items if item is not None and item is not Ellipsis)
    missing = len(x.shape) - used
    if not any(item is Ellipsis for item in items):
        items.append(Ellipsis)
    at = next(i for i, item in enumerate(items) if item is Ellipsis)
    return items[:at] + [slice(None)] * missing + items[at + 1 :]


def _taken(x: Node, key: Any) -> AbstractArray:
    """x[key]."""
    items = _key(x, key)
    if not any(isinstance(item, (AbstractArray, np.ndarray)) for item in items):
        return AbstractArray(_sliced(x, items))
    shape, places, indices = _places(x, items)
    return AbstractArray(Node("gather", shape, x.dtype, (x, *indices), places))


def _places(x: Node, items: Sequence[Any]) -> tuple[tuple[int, ...], tuple[Any, ...], list[Node]]:
    """The shape of x[items], and for each axis of x where an element comes from.

    A place is ("at", k): the k-th input tells, or ("axis", a, first, step): the a-th axis of the result runs along it.
    """
    items = [np.asarray(item) if isinstance(item, (int, np.integer)) else item for item in items]
    pointed = [i for i, item in enumerate(items) if isinstance(item, (AbstractArray, np.ndarray))]
    arrays = {i: node_of(items[i]) for i in pointed}
    if any(a.dtype.kind == "b" for a in arrays.values()):
        raise CannotLower("it indexes with a mask: how many elements that gives depends on the values")
    together = np.broadcast_shapes(*(a.shape for a in arrays.values()))
    side_by_side = pointed == list(range(pointed[0], pointed[-1] + 1))
    start = pointed[0] if side_by_side else 0  # NumPy puts what arrays give first, if a slice is between them
    shape: list[int] = []
    places: dict[int, Any] = {}
    k = 0
    for i, item in enumerate(items):
        if i == start:
            middle = len(shape)
            shape += together
        if i in arrays:
            k += 1
        elif item is None:
            shape.append(1)
        else:
            first, stop, step = item.indices(x.shape[k])
            places[k] = ("axis", len(shape), first, step)
            shape.append(len(range(first, stop, step)))
            k += 1
    indices: list[Node] = []
    k = 0
    for i, item in enumerate(items):
        if i in arrays:
            a = arrays[i]
            ahead = middle + len(together) - len(a.shape)
            along = [(None, 0, 0) if n == 1 else (ahead + d, 0, 1) for d, n in enumerate(a.shape)]
            indices.append(view(a, shape, along))
            places[k] = ("at", len(indices))
        k += item is not None
    return tuple(shape), tuple(places[k] for k in range(len(x.shape))), indices


def _sliced(x: Node, items: Sequence[Any]) -> Node:
    """x[items] for slices, integers and new axes."""
    shape: list[int] = []
    axes: list[tuple[int | None, int, int]] = []
    k = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        n = x.shape[k]
        k += 1
        if isinstance(item, slice):
            first, stop, step = item.indices(n)
            axes.append((len(shape), first, step))
            shape.append(len(range(first, stop, step)))
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            axes.append((None, int(item) % n, 0))
        else:
            raise CannotLower(f"it indexes with {item!r}")
    return view(x, shape, axes)


def _replaced(x: Node, key: Any, value: Any) -> Node:
    """x after x[key] = value: for one element of each row, and for slices of zeros."""
    items = _key(x, key)
    if len(items) == 2 and all(isinstance(item, AbstractArray) for item in items):
        rows, columns = items
        if rows.node.kind == "iota" and rows.shape == x.shape[:1] and columns.shape == x.shape[:1]:
            here = arange(x.shape[1]) == columns[:, None]
            value = value if _is_number(value) else AbstractArray(node_of(value))[:, None]
            return where(here, value, AbstractArray(x)).node
    if x.kind == "full" and x.detail == 0 and not any(isinstance(item, (AbstractArray, np.ndarray)) for item in items):
        value = broadcast_to(value, _sliced(x, items).shape)
        items = [item for item in items if item is not None]
        at = [item % n if isinstance(item, int) else item for item, n in zip(items, x.shape, strict=True)]
        points = [slice(item, item + 1) if isinstance(item, int) else item for item in at]
        if all(isinstance(item, slice) for item in points):
            if not points:
                return value.node
            value = reshape(value, _sliced(x, points).shape)  # with an axis of length 1 for each integer
            return _added_at(x, (np.arange(x.shape[0])[points[0]], *points[1:]), value)
    raise CannotLower("its body writes into an array in a way that has no loops here")


def _added_at(x: Node, key: Any, values: Any) -> Node:
    """Zeros with values added at places (x says the shape)."""
    if x.kind != "full" or x.detail != 0:
        raise CannotLower("its body adds into an array that is not zeros")
    shape, places, indices = _places(x, _key(x, key))
    node = node_of(values)
    if node.dtype != x.dtype:
        node = mapped("astype", AbstractArray(node), dtype=x.dtype).node
    return Node("scatter_add", x.shape, x.dtype, (_spread(node, shape), *indices), places)
