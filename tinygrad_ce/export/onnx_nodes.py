"""ONNX nodes for the instructions of a program: one table, by the name of the primitive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ce.export.onnx_elements import ELEMENTS
from tinygrad_ce.export.onnx_graph import Graph, NoCounterpart, Rule
from tinygrad_ce.ops.indexing import HERE
from tinygrad_ce.ops.reduction import reduced_axes
from tinygrad_ce.program.ir import Instruction

FURTHEST = np.iinfo(np.int64)


# ---- products of matrices


def affine(g: Graph, i: Instruction) -> str:
    """x W + b."""
    x, W, b = (g.operand(a, i.result.dtype) for a in i.inputs)
    return g.same("Add", g.same("MatMul", x, W), b)


def contract(g: Graph, i: Instruction) -> str:
    """An einsum."""
    terms = i.params["subscripts"].partition("->")[0].split(",")
    sizes = {pair for term, x in zip(terms, i.inputs, strict=True) for pair in zip(term, x.example.shape, strict=True)}
    if "" in terms or len(sizes) > len({letter for letter, _ in sizes}):
        raise NoCounterpart("single numbers, or axes of length 1 that are repeated,")
    return g.same("Einsum", *(g.operand(x, i.result.dtype) for x in i.inputs), equation=i.params["subscripts"])


# ---- reductions


def reduction(op_type: str) -> Rule:
    """The rule for a reduction over axes."""
    return lambda g, i: reduced(g, op_type, g.operand(i.inputs[0], i.result.dtype), i)


def reduced(g: Graph, op_type: str, x: str, i: Instruction, keepdims: bool | None = None) -> str:
    """x reduced over the axes of an instruction."""
    axes = reduced_axes(i.inputs[0].example.ndim, i.params["axis"]) if i.inputs[0].example.ndim else ()
    keepdims = i.params["keepdims"] if keepdims is None else keepdims
    return g.same(op_type, x, g.constant(axes), keepdims=int(keepdims), noop_with_empty_axes=1)


def variance(g: Graph, i: Instruction) -> str:
    """The mean square of what differs from the mean; or its sum over n - ddof."""
    x = g.operand(i.inputs[0], i.result.dtype)
    deviation = g.same("Sub", x, reduced(g, "ReduceMean", x, i, keepdims=True))
    mean = reduced(g, "ReduceMean", g.same("Mul", deviation, deviation), i)
    if not i.params["ddof"]:
        return mean
    size, left = (g.node("Size", a, dtype=np.int64) for a in (x, mean))
    n = g.cast(g.same("Div", size, left), i.result.dtype)
    return g.same("Div", g.same("Mul", mean, n), g.same("Sub", n, g.like(n, i.params["ddof"])))


def std(g: Graph, i: Instruction) -> str:
    """The root of the variance."""
    return g.same("Sqrt", variance(g, i))


def along_axis(op_type: str) -> Rule:
    """The rule for softmax and its kin."""

    def rule(g: Graph, i: Instruction) -> str:
        axis = i.params["axis"]
        if not isinstance(axis, int):
            raise NoCounterpart(f"axis={axis!r}")
        return g.same(op_type, g.operand(i.inputs[0]), axis=axis)

    return rule


def position(op_type: str) -> Rule:
    """The rule for the position of the largest or smallest element."""

    def rule(g: Graph, i: Instruction) -> str:
        x, axis, keepdims = g.operand(i.inputs[0]), i.params["axis"], i.params.get("keepdims", False)
        if g.dtypes[x].kind not in "fi":
            x = g.cast(x, np.int64)
        if axis is None:
            x = g.same("Reshape", x, g.constant([-1]))
        out = g.node(op_type, x, dtype=np.int64, axis=0 if axis is None else axis, keepdims=int(keepdims))
        return g.same("Reshape", out, g.constant([1] * i.inputs[0].example.ndim)) if axis is None and keepdims else out

    return rule


def cumsum(g: Graph, i: Instruction) -> str:
    """The running sum along an axis, or of all elements in one row."""
    x, axis = g.operand(i.inputs[0], i.result.dtype), i.params["axis"]
    if axis is None:
        x = g.same("Reshape", x, g.constant([-1]))
    return g.same("CumSum", x, g.constant(0 if axis is None else axis))


# ---- shapes


def as_tuple(value: Any) -> tuple[Any, ...]:
    """One number as several."""
    return tuple(value) if np.ndim(value) else (value,)


def axes_of(axis: Any, ndim: int) -> list[int]:
    """Axes as numbers from 0."""
    return [a % ndim for a in as_tuple(axis)]


def reshape(g: Graph, i: Instruction) -> str:
    """Another shape; a 0 in it is a length, and no copied one."""
    shape = as_tuple(i.params["shape"])
    return g.same("Reshape", g.operand(i.inputs[0]), g.constant(shape), allowzero=int(0 in shape))


def transpose(g: Graph, i: Instruction) -> str:
    """Other orders of axes."""
    axes = i.params["axes"] or range(i.result.example.ndim)[::-1]
    perm = axes_of(axes, i.result.example.ndim)
    return g.same("Transpose", g.operand(i.inputs[0]), perm=perm) if perm else g.operand(i.inputs[0])


def expand_dims(g: Graph, i: Instruction) -> str:
    """New axes of length 1."""
    axes = axes_of(i.params["axis"], i.result.example.ndim)
    return g.same("Unsqueeze", g.operand(i.inputs[0]), g.constant(axes))


def squeeze(g: Graph, i: Instruction) -> str:
    """Without axes of length 1."""
    x, axis = i.inputs[0].example, i.params["axis"]
    axes = [k for k, n in enumerate(x.shape) if n == 1] if axis is None else axes_of(axis, x.ndim)
    return g.same("Squeeze", g.operand(i.inputs[0]), g.constant(axes)) if axes else g.operand(i.inputs[0])


def broadcast_to(g: Graph, i: Instruction) -> str:
    """Repeated along axes of length 1."""
    return g.same("Expand", g.operand(i.inputs[0]), g.constant(i.params["shape"]))


def concatenate(g: Graph, i: Instruction) -> str:
    """Arrays one after the other."""
    parts, axis = [g.operand(x, i.result.dtype) for x in i.inputs], i.params["axis"]
    if axis is None:
        parts = [g.same("Reshape", x, g.constant([-1])) for x in parts]
    return g.same("Concat", *parts, axis=axis or 0)


def stack(g: Graph, i: Instruction) -> str:
    """Arrays along a new axis."""
    axis = i.params["axis"] % i.result.example.ndim
    parts = [g.same("Unsqueeze", g.operand(x, i.result.dtype), g.constant([axis])) for x in i.inputs]
    return g.same("Concat", *parts, axis=axis)


def pad(g: Graph, i: Instruction) -> str:
    """A border of equal numbers."""
    x = g.operand(i.inputs[0])
    if not i.inputs[0].example.ndim:
        return x
    widths = np.broadcast_to(i.params["widths"], (i.inputs[0].example.ndim, 2))
    return g.same("Pad", x, g.constant(widths.T.reshape(-1)), g.like(x, i.params["value"]))


def flip(g: Graph, i: Instruction) -> str:
    """Axes backwards."""
    axes = reduced_axes(i.inputs[0].example.ndim, i.params["axis"])
    return sliced(g, g.operand(i.inputs[0]), dict.fromkeys(axes, slice(None, None, -1)))


def tile(g: Graph, i: Instruction) -> str:
    """An array as a tile of a larger one."""
    x, reps = i.inputs[0].example, as_tuple(i.params["reps"])
    ndim = max(x.ndim, len(reps))
    wide = g.same("Unsqueeze", g.operand(i.inputs[0]), g.constant(range(ndim - x.ndim)))
    return g.same("Tile", wide, g.constant((1,) * (ndim - len(reps)) + reps))


def triangle(upper: int) -> Rule:
    """The rule for the upper or lower triangle of matrices."""

    def rule(g: Graph, i: Instruction) -> str:
        if i.inputs[0].example.ndim < 2:
            raise NoCounterpart("a vector")
        return g.same("Trilu", g.operand(i.inputs[0]), g.constant(i.params["k"]), upper=upper)

    return rule


# ---- elements


def sliced(g: Graph, x: str, slices: dict[int, slice]) -> str:
    """x with slices of some axes."""
    starts, stops, steps = [], [], []
    for s in slices.values():
        forwards = s.step is None or s.step > 0
        first, last = (0, FURTHEST.max) if forwards else (FURTHEST.max, FURTHEST.min)
        starts.append(first if s.start is None else s.start)
        stops.append(last if s.stop is None else s.stop)
        steps.append(s.step or 1)
    return g.same("Slice", x, *map(g.constant, (starts, stops, [*slices], steps))) if slices else x


def getitem(g: Graph, i: Instruction) -> str:
    """x[...] of slices, integers, None, and one array of integers."""
    x, arrays, pattern = i.inputs[0], i.inputs[1:], i.params["pattern"]
    if len(arrays) > 1 or any(a.dtype.kind not in "iu" for a in arrays):
        raise NoCounterpart("an index of several arrays" if len(arrays) > 1 else "an index of truth values")
    taking = [k for k, item in enumerate(pattern) if item is HERE or isinstance(item, int)]
    if arrays and taking != [*range(taking[0], taking[-1] + 1)]:
        raise NoCounterpart("an index with slices between an array and an integer")
    spare = x.example.ndim - sum(item is not None and item is not Ellipsis for item in pattern)
    slices: dict[int, slice] = {}
    takes: list[tuple[int, str]] = []  # the axes from which elements are taken, and which
    new: list[int] = []  # the new axes of the result
    axis = place = 0
    for item in pattern:
        if item is None:
            new.append(place)
            place += 1
        elif item is Ellipsis:
            axis, place = axis + spare, place + spare
        else:
            if isinstance(item, slice):
                slices |= {axis: item} if item != slice(None) else {}
                place += 1
            else:
                takes.append((axis, g.operand(arrays[0], np.int64) if item is HERE else g.constant(item)))
                place += arrays[0].example.ndim if item is HERE else 0
            axis += 1
    out = sliced(g, g.operand(x), slices)
    for axis, places in reversed(takes):
        out = g.same("Gather", out, places, axis=axis)
    return g.same("Unsqueeze", out, g.constant(new)) if new else out


def pick(g: Graph, i: Instruction) -> str:
    """x[k, y[k]] for each row k."""
    places = g.same("Unsqueeze", g.operand(i.inputs[1], np.int64), g.constant([1]))
    return g.same("Squeeze", g.same("GatherElements", g.operand(i.inputs[0]), places, axis=1), g.constant([1]))


def take_along_axis(g: Graph, i: Instruction) -> str:
    """Elements taken along an axis, in each place of the others."""
    x, places, axis = i.inputs[0].example, i.inputs[1].example, i.params["axis"] % i.inputs[0].example.ndim
    if np.delete(x.shape, axis).tolist() != np.delete(places.shape, axis).tolist():
        raise NoCounterpart("indices that are repeated along the other axes")
    return g.same("GatherElements", g.operand(i.inputs[0]), g.operand(i.inputs[1], np.int64), axis=axis)


# ---- the table

_REDUCTIONS = {
    "reduce_sum": "ReduceSum",
    "reduce_mean": "ReduceMean",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "prod": "ReduceProd",
    "logsumexp": "ReduceLogSumExp",
}

RULES: dict[str, Rule] = {
    **ELEMENTS,
    **{name: reduction(op_type) for name, op_type in _REDUCTIONS.items()},
    "affine": affine,
    "contract": contract,
    "variance": variance,
    "std": std,
    "softmax": along_axis("Softmax"),
    "log_softmax": along_axis("LogSoftmax"),
    "argmax": position("ArgMax"),
    "argmin": position("ArgMin"),
    "cumsum": cumsum,
    "reshape": reshape,
    "transpose": transpose,
    "expand_dims": expand_dims,
    "squeeze": squeeze,
    "broadcast_to": broadcast_to,
    "concatenate": concatenate,
    "stack": stack,
    "pad": pad,
    "flip": flip,
    "tile": tile,
    "tril": triangle(0),
    "triu": triangle(1),
    "getitem": getitem,
    "pick": pick,
    "take_along_axis": take_along_axis,
}


def write_nodes(g: Graph, instructions: Sequence[Instruction]) -> None:
    """Nodes for all instructions. NoCounterpart, with the name of the primitive, for one that has none."""
    for i in instructions:
        if i.op.name not in RULES or not i.op.body.__module__.startswith("tinygrad_ce."):
            raise NoCounterpart(f"{_line(i)}{i.op.name} has no counterpart in ONNX")
        try:
            name = RULES[i.op.name](g, i)
        except NoCounterpart as error:
            raise NoCounterpart(f"{_line(i)}{i.op.name} of {error} has no counterpart in ONNX") from None
        g.values[i.result] = g.renamed(name, i.result.name)


def _line(i: Instruction) -> str:
    return f"{i.line.short}: " if i.line else ""
