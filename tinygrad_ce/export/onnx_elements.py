"""ONNX nodes for functions of elements: arithmetic, exp and its kin, comparisons, choices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinygrad_ce.export.erfc import VALUES, WEIGHTS, ZEROS
from tinygrad_ce.export.onnx_graph import Graph, Rule
from tinygrad_ce.program.ir import Instruction, Value

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
ELEMENTS: dict[str, Rule] = {
    **{name: elementwise(op_type) for name, op_type in _SAME.items()},
    **{name: comparison(op_type) for name, op_type in _COMPARISONS.items()},
    **{name: logic(op_type) for name, op_type in _LOGIC.items()},
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
}
