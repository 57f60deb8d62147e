"""What NumPy's functions do with arrays without elements, and bodies in which NumPy means these functions.

So the loops that are compiled come from the same bodies that run and are printed. What NumPy functions a body may use
to be compiled is registered here; a body that uses another one raises `CannotLower`.
"""

from __future__ import annotations

import dis
import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from types import FunctionType
from typing import Any

import numpy as np

from tinygrad_ce.core import Primitive
from tinygrad_ce.ops.reduction import reduced_axes
from tinygrad_ce.program.abstract import (
    FUNCTIONS,
    AbstractArray,
    CannotLower,
    Node,
    implements,
    node_of,
    spread,
    view,
    view_by,
)


def array(x: Any) -> AbstractArray:
    """Anything that may stand where an array does, as an array without elements."""
    return x if isinstance(x, AbstractArray) else AbstractArray(node_of(x))


# ---- element by element

OF_MATH = {"erf", "erfc"}  # functions of one number that NumPy lacks; a body makes them a ufunc with np.frompyfunc
TRANSCENDENTAL = {
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "power", "cbrt", "hypot"),
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2"),
    *("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"),
}
COMPARING = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
ELEMENTWISE = TRANSCENDENTAL | COMPARING | {
    *("add", "subtract", "multiply", "divide", "remainder", "floor_divide", "negative", "positive", "absolute"),
    *("sign", "square", "sqrt", "maximum", "minimum", "floor", "ceil", "rint", "trunc", "isnan", "isfinite", "isinf"),
    *("logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "invert"),
}  # fmt: skip


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
    inputs = tuple(spread(n, shape) if isinstance(n, Node) else n for n in nodes)
    return AbstractArray(Node("map", shape, dtype, inputs, name))


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, np.generic)


def _times_one(a: Any, b: Any) -> Node | None:
    """The other factor, if one is 1 and nothing else changes."""
    for one, other in ((a, b), (b, a)):
        if not isinstance(one, Node) or not isinstance(other, Node) or one.kind != "full" or one.detail != 1:
            continue
        if one.dtype == other.dtype and np.broadcast_shapes(one.shape, other.shape) == other.shape:
            return other
    return None


FUNCTIONS.update({name: partial(mapped, name) for name in ELEMENTWISE})
FUNCTIONS |= {"true_divide": FUNCTIONS["divide"], "conjugate": FUNCTIONS["positive"]}
FUNCTIONS["copy"] = lambda x: AbstractArray(node_of(x))  # no node is ever written to
FUNCTIONS |= {name: lambda x, name=name: mapped(name, x, dtype=np.result_type(x.dtype, 0.0)) for name in OF_MATH}


@implements("astype")
def astype(x: Any, dtype: Any, copy: bool = True) -> AbstractArray:
    return array(x) if np.dtype(dtype) == node_of(x).dtype else mapped("astype", x, dtype=dtype)


@implements("where")
def where(condition: Any, x: Any, y: Any) -> AbstractArray:
    x, y = (v if _is_number(v) else array(v) for v in (x, y))
    dtype = np.where(True, *(np.ones((), v.dtype) if isinstance(v, AbstractArray) else v for v in (x, y))).dtype
    if any(isinstance(v, AbstractArray) for v in (x, y)):
        dtype = np.result_type(*(v.dtype if isinstance(v, AbstractArray) else v for v in (x, y)))
    return mapped("where", condition, x, y, dtype=dtype)


@implements("clip")
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    out = x if low is None else np.maximum(x, low)
    return out if high is None else np.minimum(out, high)


# ---- reductions


def reduced(name: str, x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> AbstractArray:
    """A reduction along axes."""
    x = array(x)
    if dtype is None:
        dtype = np.int64 if name == "argmax" else getattr(np, name)(np.ones((1,), x.dtype)).dtype
    if name == "sum":
        x = x.astype(dtype)
    axes = reduced_axes(x.ndim, axis)
    if name != "sum" and x.size == 0:
        raise CannotLower(f"its body takes the {name} of nothing")
    shape = [1 if k in axes else n for k, n in enumerate(x.shape)]
    out = AbstractArray(Node("reduce", shape, dtype, (x.node,), (name, axes)))
    return out if keepdims else view_by(np.squeeze, out, axes)


FUNCTIONS |= {name: partial(reduced, name.removeprefix("a")) for name in ("sum", "max", "min", "amax", "amin")}


@implements("mean")
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    total = array(x).sum(axis=axis, keepdims=keepdims)
    return total / (array(x).size // max(total.size, 1))


@implements("var")
def variance(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    x = array(x)
    deviation = x - x.mean(axis=axis, keepdims=True)
    total = (deviation * deviation).sum(axis=axis, keepdims=keepdims)
    return total / (x.size // max(total.size, 1) - ddof)


FUNCTIONS["std"] = lambda x, **options: np.sqrt(variance(x, **options))


@implements("argmax")
def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> AbstractArray:
    return reduced("argmax", np.reshape(array(x), (-1,)) if axis is None else x, axis or 0, keepdims)


@implements("argmin")
def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> AbstractArray:
    """The largest of x in the opposite order, which for integers is -1 - x: -x may be too large."""
    x = array(x)
    top = np.iinfo(x.dtype).max if x.dtype.kind == "u" else -1
    return argmax(-x if x.dtype.kind == "f" else ~x if x.dtype.kind == "b" else top - x, axis, keepdims)


# ---- along one axis


def _by_kernel(name: str, x: Any, axis: Any, dtype: Any, *literals: Any) -> AbstractArray:
    """What a function of kernels/scan.py gives along an axis; of all elements as of one row where that is None."""
    x = reshape(x, (-1,)) if axis is None or array(x).ndim == 0 else array(x)
    axis = (axis or 0) % x.ndim
    sizes = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    return AbstractArray(Node("kernel", x.shape, dtype, (x.node,), (name, (*sizes, *literals))))


def accumulated(is_product: bool, x: Any, axis: Any = None) -> AbstractArray:
    """np.cumsum or np.cumprod."""
    dtype = np.cumsum(np.ones(1, array(x).dtype)).dtype
    return _by_kernel("accumulate", astype(x, dtype), axis, dtype, is_product)


FUNCTIONS |= {"cumsum": partial(accumulated, False), "cumprod": partial(accumulated, True)}


@implements("prod")
def prod(x: Any, axis: Any = None, keepdims: bool = False) -> AbstractArray:
    """The last of the running products along the axes, as one."""
    x = array(x)
    axes = reduced_axes(x.ndim, axis) if x.ndim else ()
    rest = [k for k in range(x.ndim) if k not in axes]
    rows = reshape(x.transpose((*rest, *axes)), [*(x.shape[k] for k in rest), math.prod(x.shape[k] for k in axes)])
    ones = full((*rows.shape[:-1], 1), 1, x.dtype)
    product = accumulated(True, rows if rows.shape[-1] else ones, -1)[..., -1]
    return reshape(product, [1 if k in axes else n for k, n in enumerate(x.shape)]) if keepdims else product


@implements("argsort")
def argsort(x: Any, axis: Any = -1, kind: Any = None) -> AbstractArray:
    return _by_kernel("argsort", x, axis, np.int64)


@implements("sort")
def sort(x: Any, axis: Any = -1) -> Any:
    x = reshape(x, (-1,)) if axis is None else array(x)
    order = argsort(x, axis or 0)
    return x[tuple(order if k == (axis or 0) % x.ndim else _along(x.shape, k) for k in range(x.ndim))]


def _along(shape: tuple[int, ...], axis: int) -> AbstractArray:
    """The indices of one axis, in a shape that broadcasts against an array of this shape."""
    return reshape(arange(shape[axis]), [n if k == axis else 1 for k, n in enumerate(shape)])


# ---- shapes

FUNCTIONS |= {
    function.__name__: partial(view_by, function)
    for function in (np.transpose, np.squeeze, np.flip, np.diagonal, np.swapaxes, np.moveaxis)
}


def _shape_by(function: Callable[..., Any], x: Any, *arguments: Any) -> tuple[int, ...]:
    """The shape of what a function of NumPy gives for an array of this shape."""
    shape: tuple[int, ...] = function(np.broadcast_to(0, array(x).shape), *arguments).shape
    return shape


@implements("reshape")
def reshape(x: Any, shape: Any) -> AbstractArray:
    node, shape = node_of(x), _shape_by(np.reshape, x, shape)
    if shape == node.shape:
        return AbstractArray(node)
    if [n for n in node.shape if n != 1] == [n for n in shape if n != 1]:  # only axes of length 1 come and go
        axes = iter([k for k, n in enumerate(shape) if n != 1])
        return AbstractArray(view(node, shape, [(next(axes), 0, 1) if n != 1 else (None, 0, 0) for n in node.shape]))
    if node.kind == "full":
        return full(shape, node.detail, node.dtype)
    return AbstractArray(Node("reshape", shape, node.dtype, (node,)))


@implements("expand_dims")
def expand_dims(x: Any, axis: Any) -> AbstractArray:
    return reshape(x, _shape_by(np.expand_dims, x, axis))


@implements("broadcast_to")
def broadcast_to(x: Any, shape: Any) -> AbstractArray:
    return AbstractArray(spread(node_of(x), _shape_by(np.broadcast_to, x, shape)))


@implements("concatenate")
def concatenate(arrays: Sequence[Any], axis: Any = 0) -> AbstractArray:
    nodes = [node_of(reshape(x, (-1,)) if axis is None else x) for x in arrays]
    axis = 0 if axis is None else axis % len(nodes[0].shape)
    shape = list(nodes[0].shape)
    shape[axis] = sum(n.shape[axis] for n in nodes)
    return AbstractArray(Node("concatenate", shape, np.result_type(*(n.dtype for n in nodes)), tuple(nodes), axis))


@implements("stack")
def stack(arrays: Sequence[Any], axis: int = 0) -> AbstractArray:
    axis = axis % (array(arrays[0]).ndim + 1)
    return concatenate([expand_dims(x, axis) for x in arrays], axis)


@implements("pad")
def pad(x: Any, widths: Any, constant_values: Any = 0) -> Any:
    """np.pad with one number everywhere."""
    x = array(x)
    for axis, border in enumerate(np.broadcast_to(widths, (x.ndim, 2)).tolist()):
        before, after = (full((*x.shape[:axis], n, *x.shape[axis + 1 :]), constant_values, x.dtype) for n in border)
        x = concatenate([before, x, after], axis)
    return x


@implements("roll")
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    x = array(x)
    if axis is None:
        return reshape(roll(reshape(x, (-1,)), np.sum(shift), 0), x.shape)
    for n, along in np.broadcast(shift, axis):
        size = max(x.shape[along], 1)
        every = (slice(None),) * (along % x.ndim)
        x = concatenate([x[(*every, slice(size - n % size, None))], x[(*every, slice(size - n % size))]], along)
    return x


def triangle(keeps: Any, x: Any, k: int = 0) -> AbstractArray:
    """np.tril or np.triu, by how many columns an element is right of the diagonal."""
    x = array(x)
    right = arange(x.shape[-1]) - arange(x.shape[max(-2, -x.ndim)])[:, None]
    return where(keeps(right, k), x, 0)


FUNCTIONS |= {"tril": partial(triangle, np.less_equal), "triu": partial(triangle, np.greater_equal)}


@implements("repeat")
def repeat(x: Any, repeats: Any, axis: Any = None) -> AbstractArray:
    """np.repeat, each element equally often."""
    x = reshape(x, (-1,)) if axis is None else array(x)
    if isinstance(repeats, tuple):
        raise CannotLower("its body uses np.repeat with a number for each place")
    axis = (axis or 0) % x.ndim
    before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    copies = broadcast_to(expand_dims(x, axis + 1), (*before, n, repeats, *after))
    return reshape(copies, (*before, n * repeats, *after))


@implements("tile")
def tile(x: Any, reps: Any) -> AbstractArray:
    reps = reps if isinstance(reps, tuple) else (reps,)
    ndim = max(len(reps), array(x).ndim)
    counts, sizes = ((1,) * (ndim - len(s)) + s for s in (reps, array(x).shape))
    pairs = [*zip(counts, sizes, strict=True)]
    copies = broadcast_to(reshape(x, [n for _, size in pairs for n in (1, size)]), [n for pair in pairs for n in pair])
    return reshape(copies, [count * size for count, size in pairs])


# ---- products


@implements("dot")
def dot(a: Any, b: Any) -> Any:
    """np.dot of matrices and vectors, as a product of two matrices."""
    dtype = np.result_type(node_of(a).dtype, node_of(b).dtype)
    a, b = astype(a, dtype), astype(b, dtype)
    if a.ndim == 1 and b.ndim == 1:
        return (a * b).sum()
    if b.ndim > 2 or a.ndim == 0:
        raise CannotLower("its body multiplies arrays of more axes with np.dot")
    rows = reshape(a, (-1, a.shape[-1])) if a.ndim != 2 else a
    columns = reshape(b, (-1, 1)) if b.ndim == 1 else b
    product = AbstractArray(Node("matmul", (rows.shape[0], columns.shape[1]), dtype, (rows.node, columns.node)))
    return reshape(product, a.shape[:-1] + b.shape[1:])


@implements("matmul")
def matmul(a: Any, b: Any) -> Any:
    """a @ b: with more axes as an einsum."""
    a, b = array(a), array(b)
    if b.ndim <= 2:
        return dot(a, b)
    if a.ndim == 1:
        return matmul(a[None], b)[..., 0, :]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = broadcast_to(a, batch + a.shape[-2:]), broadcast_to(b, batch + b.shape[-2:])
    letters = "abcdefgh"[: len(batch)]
    return einsum(f"{letters}ik,{letters}kj->{letters}ij", a, b)


@implements("einsum")
def einsum(subscripts: str, *operands: Any) -> Any:
    """np.einsum with its output written out: loops over all letters, and a sum over those that the output has not."""
    nodes = [node_of(x) for x in operands]
    inputs, output = subscripts.replace(" ", "").split("->")
    terms = inputs.split(",")
    sizes: dict[str, int] = {}
    for term, node in zip(terms, nodes, strict=True):
        for letter, n in zip(term, node.shape, strict=True):
            sizes[letter] = n if sizes.get(letter, 1) == 1 else sizes[letter]
    letters = output + "".join(sorted(set(sizes) - set(output)))
    shape = [sizes[c] for c in letters]
    product: Any = None
    for term, node in zip(terms, nodes, strict=True):
        places = [
            (letters.index(c), 0, 1) if n == sizes[c] else (None, 0, 0) for c, n in zip(term, node.shape, strict=True)
        ]
        factor = AbstractArray(view(node, shape, places))
        product = factor if product is None else product * factor
    return product.sum(axis=tuple(range(len(output), len(letters)))) if len(letters) > len(output) else product


# ---- arrays that a body makes


@implements("full")
def full(shape: Any, value: Any, dtype: Any = None) -> AbstractArray:
    number = np.full((), value, dtype)
    shape = (shape,) if isinstance(shape, int) else shape
    return AbstractArray(Node("full", shape, number.dtype, detail=number.item()))


@implements("arange")
def arange(stop: Any) -> AbstractArray:
    """np.arange(n)."""
    return AbstractArray(Node("iota", (int(stop),), np.int64, detail=0))


@implements("asarray")
def asarray(x: Any, dtype: Any = None) -> AbstractArray:
    return array(np.asarray(x, dtype)) if not isinstance(x, AbstractArray) else astype(x, dtype or x.dtype)


@implements("full_like")
def full_like(x: Any, value: Any, dtype: Any = None) -> AbstractArray:
    return full(array(x).shape, value, dtype or array(x).dtype)


@implements("result_type")
def result_type(*values: Any) -> Any:
    return np.result_type(*(v.dtype if isinstance(v, AbstractArray) else v for v in values))


for _name, _number in (("zeros", 0), ("ones", 1)):
    FUNCTIONS[_name] = lambda shape, dtype=float, number=_number: full(shape, number, dtype)
    FUNCTIONS[f"{_name}_like"] = lambda x, dtype=None, number=_number: full_like(x, number, dtype)
FUNCTIONS |= {"shape": lambda x: array(x).shape, "ndim": lambda x: array(x).ndim}


# ---- bodies


class _Numpy:
    """NumPy, as a body sees it while it runs on arrays without elements."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        return function if isinstance(function, np.ufunc) else FUNCTIONS.get(name, function)


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
