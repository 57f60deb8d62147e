"""ONNX nodes for the instructions of a program: one table, by the name of the primitive."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import extra
from tinygrad_ce.export.erfc import VALUES, WEIGHTS, ZEROS
from tinygrad_ce.ops.indexing import HERE
from tinygrad_ce.ops.reduction import reduced_axes
from tinygrad_ce.program.ir import Instruction, Value
from tinygrad_ce.program.names import Names

OPSET = 18  # the first in which all reductions take their axes as an input; ONNX 1.13 and newer
FURTHEST = np.iinfo(np.int64)


class NoCounterpart(Exception):
    """An instruction that has no nodes here; the message says what of it."""


class Graph:
    """Nodes and constants, written one after the other. Names in it are texts; `values` has those of the program."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.helper = extra("onnx", "onnx").helper
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.values: dict[Value, str] = {}
        self.dtypes: dict[str, np.dtype[Any]] = {}
        self.names = Names(*taken)

    def node(self, op_type: str, *inputs: str, dtype: Any, name: str = "", **attributes: Any) -> str:
        """The name of what a new node gives, of this dtype."""
        name = name or self.names.free("t")
        self.nodes.append(self.helper.make_node(op_type, [*inputs], [name], **attributes))
        self.dtypes[name] = np.dtype(dtype)
        return name

    def constant(self, numbers: Any, dtype: Any = np.int64) -> str:
        """The name of a constant array; equal ones are one."""
        array = np.asarray(numbers, dtype)
        for name, other in self.constants.items():
            if other.dtype == array.dtype and other.shape == array.shape and other.tobytes() == array.tobytes():
                return name
        name = self.names.free("constant")
        self.constants[name], self.dtypes[name] = array, array.dtype
        return name

    def cast(self, x: str, dtype: Any) -> str:
        """The same numbers in this dtype."""
        if self.dtypes[x] == dtype:
            return x
        to = self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.node("Cast", x, dtype=dtype, to=to)

    def operand(self, x: Any, dtype: Any = None) -> str:
        """An input of an instruction, in this dtype; if None, an array in its own."""
        if not isinstance(x, Value):
            return self.constant(x, dtype or np.result_type(x))
        if x not in self.values:  # a number that a rule made up
            self.values[x] = self.constant(x.example, x.dtype)
        return self.cast(self.values[x], dtype or x.dtype)

    def same(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """What a node gives whose result has the dtype of its first input."""
        return self.node(op_type, *inputs, dtype=self.dtypes[inputs[0]], **attributes)

    def renamed(self, name: str, new: str) -> str:
        """The new name of what the last node gives; the old one, if it is not the last node's."""
        if not self.nodes or self.nodes[-1].output[0] != name:
            return name
        self.nodes[-1].output[0], self.dtypes[new] = new, self.dtypes.pop(name)
        return new

    def like(self, x: str, number: float) -> str:
        """A constant number in the dtype of x."""
        return self.constant(number, self.dtypes[x])


Rule = Callable[[Graph, Instruction], str]


# ---- functions of elements, whose operands have the dtype of the result


def elementwise(op_type: str) -> Rule:
    """The rule for a function of elements that ONNX has, too."""
    return lambda g, i: g.same(op_type, *(g.operand(x, i.result.dtype) for x in i.inputs))


def composed(compute: Callable[..., str]) -> Rule:
    """The rule for a function of elements that is made of several nodes."""
    return lambda g, i: compute(g, *(g.operand(x, i.result.dtype) for x in i.inputs))


def log1p(g: Graph, x: str) -> str:
    """log(1 + x) with its digits near 0. Source: W. Kahan, in D. Goldberg, "What every computer scientist...", 1991."""
    one = g.like(x, 1)
    above = g.same("Add", x, one)
    ratio = g.same("Div", g.same("Mul", x, g.same("Log", above)), g.same("Sub", above, one))
    usual = g.node("Or", is_equal(g, above, one), is_equal(g, above, g.like(x, np.inf)), dtype=bool)
    return where(g, usual, x, ratio)


def expm1(g: Graph, x: str) -> str:
    """exp(x) - 1 with its digits near 0: 2 tanh(x / 2) / (1 - tanh(x / 2)) there."""
    half = g.same("Tanh", g.same("Mul", x, g.like(x, 0.5)))
    near = g.same("Div", g.same("Mul", half, g.like(x, 2)), g.same("Sub", g.like(x, 1), half))
    is_near = g.node("Less", g.same("Abs", x), g.like(x, 0.5), dtype=bool)
    return where(g, is_near, near, g.same("Sub", g.same("Exp", x), g.like(x, 1)))


def erfc(g: Graph, x: str) -> str:
    """1 - erf(x). Runtimes have Erf in float32 only: float64 is interpolated, as `erfc.py` says."""
    if g.dtypes[x] != np.float64:
        return g.same("Sub", g.like(x, 1), g.same("Erf", x))
    size = g.same("Min", g.same("Abs", x), g.like(x, 30))  # beyond, it is 0
    t = g.same("Div", g.like(x, 2), g.same("Add", size, g.like(x, 2)))
    distance = g.same("Sub", g.same("Unsqueeze", t, g.constant([-1])), g.constant(ZEROS, np.float64))
    distance = where(g, is_equal(g, distance, g.like(x, 0)), g.like(x, 1e-300), distance)
    share = g.same("Div", g.constant(WEIGHTS, np.float64), distance)
    above, below = (
        g.same("ReduceSum", s, g.constant([-1]), keepdims=0)
        for s in (g.same("Mul", share, g.constant(VALUES, np.float64)), share)
    )
    tail = g.same("Exp", g.same("Neg", g.same("Mul", size, size)))
    right = g.same("Mul", g.same("Mul", tail, t), g.same("Div", above, below))
    return where(g, is_below(g, x, g.like(x, 0)), g.same("Sub", g.like(x, 2), right), right)


def logaddexp(g: Graph, a: str, b: str) -> str:
    """log(exp(a) + exp(b)) without overflow."""
    gap = g.same("Neg", g.same("Abs", g.same("Sub", a, b)))
    return g.same("Add", g.same("Max", a, b), log1p(g, g.same("Exp", gap)))


def mod(g: Graph, a: str, b: str) -> str:
    """a % b with the sign of b; ONNX has that for integers only."""
    if g.dtypes[a].kind != "f":
        return g.same("Mod", a, b)
    rest, zero = g.same("Mod", a, b, fmod=1), g.like(a, 0)
    opposite = g.node("Xor", is_below(g, rest, zero), is_below(g, b, zero), dtype=bool)
    other = g.node("And", opposite, g.node("Not", is_equal(g, rest, zero), dtype=bool), dtype=bool)
    return where(g, other, g.same("Add", rest, b), rest)


def floor_divide(g: Graph, a: str, b: str) -> str:
    """(a - a % b) / b, which is a whole number."""
    quotient = g.same("Div", g.same("Sub", a, mod(g, a, b)), b)
    return g.same("Round", quotient) if g.dtypes[a].kind == "f" else quotient


def where(g: Graph, condition: str, x: str, y: str) -> str:
    """x where the condition holds, else y."""
    return g.node("Where", condition, x, y, dtype=g.dtypes[x])


def is_equal(g: Graph, a: str, b: str) -> str:
    """a == b, element by element."""
    return g.node("Equal", a, b, dtype=bool)


def is_below(g: Graph, a: str, b: str) -> str:
    """a < b, element by element."""
    return g.node("Less", a, b, dtype=bool)


# ---- functions of elements, whose operands have another dtype than the result


def comparison(op_type: str, negated: bool = False) -> Rule:
    """The rule for a comparison: both sides in their common dtype, integers of any width in int64."""

    def rule(g: Graph, i: Instruction) -> str:
        dtype = np.result_type(*(x.example if isinstance(x, Value) else x for x in i.inputs))
        dtype = dtype if dtype.kind == "f" else np.dtype(np.int64)
        out = g.node(op_type, *(g.operand(x, dtype) for x in i.inputs), dtype=bool)
        return g.node("Not", out, dtype=bool) if negated else out

    return rule


def logic(op_type: str) -> Rule:
    """The rule for an operation on truth values."""
    return lambda g, i: g.node(op_type, *(g.operand(x, bool) for x in i.inputs), dtype=bool)


def question(*op_types: str, negated: bool = False) -> Rule:
    """The rule for a question about each number: whether one of these is so. negated: whether none is."""

    def rule(g: Graph, i: Instruction) -> str:
        x = g.operand(i.inputs[0])
        x = x if g.dtypes[x].kind == "f" else g.cast(x, np.float64)
        out, *others = (g.node(op_type, x, dtype=bool) for op_type in op_types)
        for other in others:
            out = g.node("Or", out, other, dtype=bool)
        return g.node("Not", out, dtype=bool) if negated else out

    return rule


def chosen(g: Graph, i: Instruction) -> str:
    """where(condition, x, y)."""
    condition, x, y = i.inputs
    return where(g, g.operand(condition, bool), *(g.operand(a, i.result.dtype) for a in (x, y)))


def clip(g: Graph, i: Instruction) -> str:
    """clip(x, low, high), either of which may be None."""
    x = g.operand(i.inputs[0], i.result.dtype)
    for op_type, bound in (("Max", i.params["low"]), ("Min", i.params["high"])):
        if bound is not None:
            x = g.same(op_type, x, g.like(x, bound))
    return x


def constant_power(g: Graph, i: Instruction) -> str:
    """x ** number."""
    x = g.operand(i.inputs[0], i.result.dtype)
    return g.same("Pow", x, g.like(x, i.params["exponent"]))


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

_SAME = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "neg": "Neg",
    "general_power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
    "identity": "Identity",
    "absolute": "Abs",
    "sign": "Sign",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "tanh": "Tanh",
    "arcsin": "Asin",
    "arccos": "Acos",
    "arctan": "Atan",
    "sinh": "Sinh",
    "cosh": "Cosh",
    "erf": "Erf",
    "arcsinh": "Asinh",
    "arccosh": "Acosh",
    "arctanh": "Atanh",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "relu": "Relu",
    "floor": "Floor",
    "ceil": "Ceil",
    "rint": "Round",
    "matmul": "MatMul",
}
_COMPARISONS = {
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
}
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor", "logical_not": "Not"}
_REDUCTIONS = {
    "reduce_sum": "ReduceSum",
    "reduce_mean": "ReduceMean",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "prod": "ReduceProd",
    "logsumexp": "ReduceLogSumExp",
}

RULES: dict[str, Rule] = {
    **{name: elementwise(op_type) for name, op_type in _SAME.items()},
    **{name: comparison(op_type) for name, op_type in _COMPARISONS.items()},
    **{name: logic(op_type) for name, op_type in _LOGIC.items()},
    **{name: reduction(op_type) for name, op_type in _REDUCTIONS.items()},
    "equal": comparison("Equal"),
    "not_equal": comparison("Equal", negated=True),
    "isnan": question("IsNaN"),
    "isinf": question("IsInf"),
    "isfinite": question("IsNaN", "IsInf", negated=True),
    "log1p": composed(log1p),
    "expm1": composed(expm1),
    "erfc": composed(erfc),
    "log2": composed(lambda g, x: g.same("Div", g.same("Log", x), g.like(x, math.log(2)))),
    "log10": composed(lambda g, x: g.same("Div", g.same("Log", x), g.like(x, math.log(10)))),
    "exp2": composed(lambda g, x: g.same("Pow", g.like(x, 2), x)),
    "trunc": composed(lambda g, x: g.same("Mul", g.same("Sign", x), g.same("Floor", g.same("Abs", x)))),
    "logaddexp": composed(logaddexp),
    "softplus": composed(lambda g, x: logaddexp(g, x, g.like(x, 0))),
    "mod": composed(mod),
    "floor_divide": composed(floor_divide),
    "where": chosen,
    "clip": clip,
    "constant_power": constant_power,
    "astype": lambda g, i: g.operand(i.inputs[0], i.result.dtype),
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
        if i.op.name not in RULES or i.op.body.__module__.partition(".")[0] != "tinygrad_ce":
            raise NoCounterpart(f"{_line(i)}{i.op.name} has no counterpart in ONNX")
        try:
            name = RULES[i.op.name](g, i)
        except NoCounterpart as error:
            raise NoCounterpart(f"{_line(i)}{i.op.name} of {error} has no counterpart in ONNX") from None
        g.values[i.result] = g.renamed(name, i.result.name)


def _line(i: Instruction) -> str:
    return f"{i.line.short}: " if i.line else ""
