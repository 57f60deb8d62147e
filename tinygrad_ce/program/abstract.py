"""Arrays without elements: a body that is run on them leaves a graph of the array operations that it is made of."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.lib.stride_tricks import as_strided

from tinygrad_ce.core import Array

_next_number = itertools.count(1).__next__
F = TypeVar("F", bound=Callable[..., Any])
# Of one axis of an array that is read: the axis of the loops (or of a view) that runs along it, the first, the step.
Place: TypeAlias = tuple[int | None, int, int]


class CannotLower(NotImplementedError):
    """There are no loops for this; the step runs as NumPy instead. way_out: what to write so that there are."""

    def __init__(self, why: str, way_out: str = "compute this outside of the step and pass it in") -> None:
        super().__init__(f"{why}: {way_out}")
        self.why, self.way_out, self.is_located = why, way_out, False

    def located(self, instruction: Any) -> CannotLower:
        """The same of an instruction: with the line of the user's code, and the operation."""
        if self.is_located or instruction is None:
            return self
        line = f"{instruction.line.short}, `{instruction.line.text:.80}`: " if instruction.line else ""
        error = CannotLower(f"{line}{instruction.op.name}: {self.why}", self.way_out)
        error.is_located = True
        return error


class Node:
    """An array of the program, by the operation that makes it.

    kind, and what `detail` is:
    "input", a parameter or data: its Value. "full", one number everywhere: that. "constant", a fixed array: that.
    "map", element by element: the name of NumPy's function.
    "view", the same elements at other places: a Place for each axis of the input.
    "reshape", the same elements in the same order.
    "reduce": the function, and the axes, which are kept with length 1. "matmul", of two matrices and perhaps a row.
    "gather", elements at indices: for each axis of inputs[0], ("at", k) if inputs[k] holds the index, ("inside", k) if
    it holds one that is known to be neither negative nor too large, or ("axis", *Place).
    "scatter_add", zeros, with inputs[0] added there. "concatenate", one behind the other: the axis.
    "iota", an element's own index: along which axis.
    "kernel", what a function of kernels/scan.py makes of one array: its name, and the numbers that it takes besides.
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


def known_content(x: Node) -> Array | None:
    """The elements of an array that is the same in each step; None if they depend on the data."""
    if x.kind == "constant":
        return np.asarray(x.detail)
    if x.kind == "input" and x.detail.role == "fixed":
        return np.asarray(x.detail.example)
    if x.kind == "full":
        return np.full(x.shape, x.detail, x.dtype)
    if x.kind == "iota":
        return np.indices(x.shape, sparse=True)[x.detail] + np.zeros(x.shape, x.dtype)
    if x.kind != "view" or (content := known_content(x.inputs[0])) is None:
        return None
    along = np.indices(x.shape, sparse=True)
    at = [first if axis is None else first + step * along[axis] for axis, first, step in x.detail]
    return np.broadcast_to(content[tuple(at)], x.shape)


# ---- views


def view(x: Node, shape: Sequence[int], places: Sequence[Place]) -> Node:
    """The elements of x at other places; a view of a view is one view."""
    if x.kind == "full":
        return Node("full", shape, x.dtype, detail=x.detail)
    if x.kind == "view":
        return view(x.inputs[0], shape, through(x, places))
    if tuple(shape) == x.shape and list(places) == [(k, 0, 1) for k in range(len(x.shape))]:
        return x
    return Node("view", shape, x.dtype, (x,), tuple(places))


def through(x: Node, places: Sequence[Place]) -> tuple[Place, ...]:
    """Where a view's input is read, if the view is read at these places."""
    found: list[Place] = []
    for axis, first, step in x.detail:
        outer, start, stride = places[axis] if axis is not None else (None, 0, 0)
        found.append((outer, first + step * start, step * stride))
    return tuple(found)


def in_order(x: Node) -> bool:
    """Whether a view has all elements of its input in their order: only axes of length 1 have come or gone."""
    if x.kind != "view" or x.size != x.inputs[0].size:
        return False
    long = [place for place, n in zip(x.detail, x.inputs[0].shape, strict=True) if n != 1]
    axes = [axis for axis, _, _ in long if axis is not None]
    return len(axes) == len(long) and axes == sorted(axes) and all(place[1:] == (0, 1) for place in long)


def spread(x: Node, shape: tuple[int, ...]) -> Node:
    """x as loops over this shape read it: an axis of length 1 is read at 0, again and again."""
    if x.shape == shape:
        return x
    ahead = len(shape) - len(x.shape)
    places = [(None, 0, 0) if n == 1 and shape[ahead + k] != 1 else (ahead + k, 0, 1) for k, n in enumerate(x.shape)]
    return view(x, shape, places)


def view_by(function: Callable[..., Array], x: Any, *arguments: Any, **options: Any) -> AbstractArray:
    """What a function of NumPy gives that makes a view (a slice, a transpose, a diagonal): NumPy says which.

    The function is called with an array of the same shape whose memory does not exist. Its strides grow so fast that
    each stride of the result, and the distance to its first element, is a sum of them in one way only.
    """
    node = node_of(x)
    strides = [*itertools.accumulate((2 * n + 3 for n in node.shape), operator.mul, initial=1)][:-1]
    array = as_strided(np.empty((), np.int8), node.shape, strides)
    result = function(array, *arguments, **options)
    steps = [_digits(stride, strides) for stride in result.strides]
    first = _digits(_address(result) - _address(array) if result.size else 0, strides)
    places: list[Place] = []
    for k in range(len(node.shape)):
        along = [axis for axis, step in enumerate(steps) if step[k]]
        if len(along) > 1:
            raise CannotLower("it looks at an array through windows that overlap")
        places.append((along[0], first[k], steps[along[0]][k]) if along else (None, first[k], 0))
    return AbstractArray(view(node, result.shape, places))


def _digits(number: int, strides: Sequence[int]) -> list[int]:
    """The whole numbers d with sum(d * strides) == number, each less than half of the next stride over its own."""
    digits = []
    for stride in reversed(strides):
        digits.append((2 * number + stride) // (2 * stride))
        number -= digits[-1] * stride
    return digits[::-1]


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


# ---- the array that a body sees

FUNCTIONS: dict[str, Callable[..., Any]] = {}  # by NumPy's name, what a function does with arrays without elements
ARRAY_METHODS = {"sum", "mean", "max", "min", "var", "std", "argmax", "prod", "squeeze", "repeat", "astype", "copy"}
ARRAY_METHODS |= {"cumsum", "cumprod", "argmin", "argsort"}


def implements(name: str) -> Callable[[F], F]:
    """The decorator that makes a function the meaning of NumPy's function of this name."""

    def register(function: F) -> F:
        FUNCTIONS[name] = function
        return function

    return register


class AbstractArray(NDArrayOperatorsMixin):
    """Stands for an array while a body runs: it has a shape and a dtype, and no elements."""

    def __init__(self, node: Node) -> None:
        self.node = node

    # fmt: off
    @property
    def shape(self) -> tuple[int, ...]: return self.node.shape
    @property
    def dtype(self) -> np.dtype[Any]: return self.node.dtype
    @property
    def ndim(self) -> int: return len(self.node.shape)
    @property
    def size(self) -> int: return self.node.size
    @property
    def T(self) -> AbstractArray: return view_by(np.transpose, self)
    def __len__(self) -> int: return self.node.shape[0]
    # fmt: on

    def __getattr__(self, name: str) -> Any:
        if name not in ARRAY_METHODS:
            raise AttributeError(f"its body uses .{name} of an array")
        return partial(FUNCTIONS[name], self)

    def reshape(self, *shape: Any) -> Any:
        """The elements in another shape, which stands as one tuple or as several numbers."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> AbstractArray:
        """The axes in another order, which stands as one tuple or as several numbers."""
        return view_by(np.transpose, self, axes[0] if len(axes) == 1 else axes or None)

    def __bool__(self) -> bool:
        raise CannotLower("its body branches on values")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise CannotLower("its body asks for the numbers of an array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method == "at" and ufunc is np.add:
            target, key, values = inputs
            target.node = scatter_add(target.node, key, values)
            return None
        called = f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}"
        function = FUNCTIONS.get(ufunc.__name__.removesuffix(" (vectorized)"))
        if method != "__call__" or function is None or options.keys() - {"dtype"}:
            raise CannotLower(f"its body uses {called}")
        return function(*inputs)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        if function.__name__ not in FUNCTIONS:
            raise CannotLower(f"its body uses np.{function.__name__}")
        return FUNCTIONS[function.__name__](*inputs, **options)

    def __getitem__(self, key: Any) -> AbstractArray:
        items = _item_for_each_axis(self.node, key)
        if any(map(_is_index_array, items)):
            return AbstractArray(gather(self.node, tuple(items)))
        return view_by(operator.getitem, self, (*items, ...))  # "...": of a single element, too, NumPy makes a view

    def __setitem__(self, key: Any, value: Any) -> None:
        self.node = node_of(_with_assigned(self, key, value))


# ---- elements at indices


def gather(x: Node, key: Any) -> Node:
    """x[key], where index arrays are in the key."""
    shape, places, indices = _located(x, _item_for_each_axis(x, key))
    return Node("gather", shape, x.dtype, (x, *indices), places)


def scatter_add(x: Node, key: Any, values: Any) -> Node:
    """Zeros of the shape of x, with values added where x[key] would take them."""
    if x.kind != "full" or x.detail != 0:
        raise CannotLower("its body adds into an array that is not zeros")
    shape, places, indices = _located(x, _item_for_each_axis(x, key))
    values = node_of(AbstractArray(node_of(values)).astype(x.dtype))
    return Node("scatter_add", x.shape, x.dtype, (spread(values, shape), *indices), places)


def _is_index_array(item: Any) -> bool:
    return isinstance(item, (AbstractArray, np.ndarray))


def _item_for_each_axis(x: Node, key: Any) -> list[Any]:
    """The key with one item for each axis of x, and None for new ones; a known mask as the indices of its elements."""
    items: list[Any] = []
    for item in key if isinstance(key, tuple) else (key,):
        mask = node_of(item) if _is_index_array(item) and item.dtype == np.bool_ else None
        if mask is None:
            items.append(item)
        elif (content := known_content(mask)) is not None:
            items += np.nonzero(content)
        else:
            raise CannotLower(
                "it indexes with a mask: how many elements that gives depends on the values",
                "keep the shape with where(mask, x, 0)",
            )
    missing = len(x.shape) - sum(item is not None and item is not Ellipsis for item in items)
    if not any(item is Ellipsis for item in items):
        items.append(Ellipsis)
    at = next(i for i, item in enumerate(items) if item is Ellipsis)
    return items[:at] + [slice(None)] * missing + items[at + 1 :]


def _located(x: Node, items: Sequence[Any]) -> tuple[tuple[int, ...], tuple[Any, ...], list[Node]]:
    """The shape of x[items], for each axis of x where its elements come from, and the index arrays in that shape."""
    items = [np.asarray(item) if isinstance(item, (int, np.integer)) else item for item in items]
    pointed = [i for i, item in enumerate(items) if _is_index_array(item)]
    together = np.broadcast_shapes(*(items[i].shape for i in pointed))
    side_by_side = bool(pointed) and pointed[-1] - pointed[0] == len(pointed) - 1
    start = pointed[0] if side_by_side else 0  # NumPy puts what arrays give first, if a slice is between them
    shape: list[int] = []
    places: list[tuple[Any, ...]] = []
    arrays: list[Node] = []
    for i, item in enumerate(items):
        if i == start:
            shape += together
        if item is None:
            shape.append(1)
        elif _is_index_array(item):
            array, is_inside = _without_negatives(node_of(item), x.shape[len(places)])
            arrays.append(array)
            places.append(("inside" if is_inside else "at", len(arrays)))
        else:
            first, stop, step = item.indices(x.shape[len(places)])
            places.append(("axis", len(shape), first, step))
            shape.append(len(range(first, stop, step)))
    indices = []
    for a in arrays:
        ahead = start + len(together) - len(a.shape)
        indices.append(view(a, shape, [(None, 0, 0) if n == 1 else (ahead + d, 0, 1) for d, n in enumerate(a.shape)]))
    return tuple(shape), tuple(places), indices


def _without_negatives(index: Node, length: int) -> tuple[Node, bool]:
    """Indices of an axis, counted from its start if they are known; and whether they are, and none is outside."""
    content = known_content(index)
    if content is None or not ((-length <= content) & (content < length)).all():
        return index, False
    return (node_of(np.where(content < 0, content + length, content)) if (content < 0).any() else index), True


def _with_assigned(x: AbstractArray, key: Any, value: Any) -> Any:
    """x after x[key] = value: under a mask, for one element of each row, and for slices of zeros."""
    if isinstance(key, AbstractArray) and key.dtype == np.bool_ and np.ndim(value) == 0:
        return np.where(np.reshape(key, key.shape + (1,) * (x.ndim - key.ndim)), value, x).astype(x.dtype)
    items = _item_for_each_axis(x.node, key)
    if len(items) == 2 and all(isinstance(item, AbstractArray) for item in items):
        rows, columns = items
        if rows.node.kind == "iota" and rows.shape == x.shape[:1] and columns.shape == x.shape[:1]:
            here = AbstractArray(Node("iota", x.shape[1:], np.int64, detail=0)) == columns[:, None]
            value = AbstractArray(node_of(value))[:, None] if np.ndim(value) else value
            return np.where(here, value, x)
    if x.node.kind == "full" and x.node.detail == 0 and not any(map(_is_index_array, items)):
        value = np.broadcast_to(value, x[tuple(items)].shape)
        axes = [item for item in items if item is not None]
        parts = [slice(i % n, i % n + 1) if isinstance(i, int) else i for i, n in zip(axes, x.shape, strict=True)]
        return scatter_add(x.node, tuple(parts), np.reshape(value, x[tuple(parts)].shape)) if parts else value
    raise CannotLower("its body writes into an array in a way that has no loops here")
