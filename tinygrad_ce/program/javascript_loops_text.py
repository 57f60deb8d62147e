"""The loops' statements as JavaScript, and the functions of kernels.js that they call."""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from tinygrad_ce import kernels
from tinygrad_ce.core import Array
from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.lowered import Lowered
from tinygrad_ce.program.statements import Buffer

STAGES = ("forward", "backward", "update")
ARRAYS = {
    "float64": "Float64Array",
    "float32": "Float32Array",
    "int64": "Float64Array",  # exact up to 2 ** 53; an Int32Array would wrap, and cut a label of 1.5
    "uint32": "Uint32Array",
    "int32": "Int32Array",
    "uint16": "Uint16Array",
    "int16": "Int16Array",
    "uint8": "Uint8Array",
    "int8": "Int8Array",
    "bool": "Uint8Array",
}
# Words of JavaScript, and what the module itself uses: an array of this name is called `class$`.
RESERVED = {*re.findall(
    r"\w+",
    """
    arguments await break case catch class const continue debugger default delete do else enum eval export
    extends false finally for function if implements import in instanceof interface let new null package private
    protected public return static super switch this throw true try typeof undefined var void while with yield
    Infinity NaN Math Number RangeError batch state inputs buffers numbers step sizes given updates
    """,
), *STAGES, *ARRAYS.values()}  # fmt: skip
BINARY: dict[type[ast.AST], tuple[str, int]] = {
    ast.BitOr: ("||", 2), ast.Or: ("||", 2), ast.BitAnd: ("&&", 3), ast.And: ("&&", 3),
    ast.Eq: ("==", 4), ast.NotEq: ("!=", 4),  # not ===: a truth value in memory is 0 or 1
    ast.Lt: ("<", 5), ast.LtE: ("<=", 5), ast.Gt: (">", 5), ast.GtE: (">=", 5),
    ast.Add: ("+", 6), ast.Sub: ("-", 6), ast.Mult: ("*", 7), ast.Div: ("/", 7), ast.Mod: ("%", 7), ast.Pow: ("**", 9),
}  # fmt: skip
TEXT = r"""(`.*?`|"(?:[^"\\]|\\.)*"|//.*)"""  # which keeps its spaces
SPACES = re.compile(rf"{TEXT}| ([-+]=?) (?![-+])"), re.compile(rf"{TEXT}| *([*/%=<>?:&|,;(){{}}!]) *")
CONDITIONAL, UNARY, CLOSED = 1, 8, 10
# Functions that become expressions: how tightly those bind, and at least each operand, so that it needs no brackets.
TEMPLATES = {
    "either": ("{} ? {} : {}", CONDITIONAL, (2, 2, 1)),
    "plus": ("{} + {}", 6, (6, 7)),
    "np.float64": ("+{}", UNARY, (9,)),
    "float": ("+{}", UNARY, (9,)),
    "np.bool_": ("{} != 0", 4, (9,)),
    "np.exp2": ("2 ** {}", 9, (9,)),
    "np.isinf": ("Math.abs({}) == Infinity", 4, (9,)),
    "np.logical_xor": ("!{} != !{}", 4, (9, 9)),
}
FUNCTIONS = {
    "abs": "Math.abs", "max": "Math.max", "min": "Math.min", "np.float32": "Math.fround", "log1p_of": "Math.log1p",
    "tanh_of": "tanh", "exp_any": "exp", "exp_of": "exp", "math.erf": "erf", "math.erfc": "erfc",
    "np.isfinite": "Number.isFinite", "np.power": "power", "np.logaddexp": "logaddexp", "np.rint": "rint",
    **{f"np.arc{name}": f"Math.a{name}" for name in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")},
    **{f"np.{name}": f"Math.{name}" for name in ("sqrt", "sign", "expm1", "log", "sin", "cos", "tan", "sinh", "cosh")},
    **{f"np.{name}": f"Math.{name}" for name in ("floor", "ceil", "log2", "log10", "hypot", "trunc", "cbrt")},
    **{f"np.{name}": "Math.trunc" for name in ("int64", "int32", "int16", "int8", "uint32", "uint16", "uint8")},
}  # fmt: skip


# ---- the functions of kernels.js


def squeezed(line: str) -> str:
    """The line without the spaces that JavaScript does not need, but for those that indent it."""
    body = line.lstrip(" ")
    for pattern in SPACES:
        body = pattern.sub(lambda found: found[1] or found[2], body)
    return " " * (len(line) - len(line.lstrip(" "))) + body


@cache
def functions() -> dict[str, tuple[list[str], str]]:
    """Of each function of kernels.js its parameters and its text: with its constants, without comments and spaces."""
    text = files("tinygrad_ce.program").joinpath("kernels.js").read_text(encoding="utf-8")
    text = re.sub(r"^ *//.*\n|^ +", "", text, flags=re.MULTILINE)
    text = re.sub(r";?\n(?=\})", "", "".join(f"{squeezed(line)}\n" for line in text.splitlines()))
    found = re.findall(r"^((?:const .*\n)*function (\w+)\((.*?)\)\{\n(?:.+\n)*)", text, flags=re.MULTILINE)
    return {name: (parameters.split(","), whole) for whole, name, parameters in found}


def with_dependencies(names: Iterable[str]) -> list[str]:
    """These functions of kernels.js and those that they call, in the order of the file."""
    needed, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [other for other in functions() if re.search(rf"(?<![\w.]){other}\(", functions()[name][1])]
    return [name for name in functions() if name in needed]


@cache
def kernel_parameters(name: str) -> list[str]:
    """What the Python kernel calls its arguments: one in JavaScript takes those that it has use for, by their names."""
    text = files("tinygrad_ce.kernels").joinpath(f"{kernels.FILE_OF[name]}.py").read_text(encoding="utf-8")
    found = (f for f in ast.parse(text).body if isinstance(f, ast.FunctionDef) and f.name == name)
    return next(([a.arg for a in f.args.args] for f in found), functions()[name][0])


# ---- expressions and statements


class Translator:
    """Writes the statements of the loops as JavaScript."""

    def __init__(self, plan: Lowered) -> None:
        self.plan = plan
        self.buffers = {b.name: b for b in plan.buffers}
        self.views = {v.name: v for v in plan.views}
        self.calls: set[str] = set()  # of kernels.js
        self.read: set[str] = set()  # the names that occur
        self.single_sums: set[str] = set()
        self.constants: dict[str, str] = {}  # numbers that the loops have named
        self.single = {b.name: number_text(fixed(b)[0]) for b in plan.buffers if b.role == "fixed" and b.size == 1}
        self.assignments: Counter[str] = Counter()
        self.rounded: set[str] = set()  # locals that go to a float32 array
        self.declared: set[str] = set()

    def learn(self, statements: Sequence[ast.stmt]) -> None:
        """Note how often each local is assigned, and which are stored in single precision."""
        for node in (n for s in statements for n in ast.walk(s)):
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                self.assignments[node.target.id] += 2
            elif isinstance(node, ast.Assign):
                (target,) = node.targets
                if isinstance(target, ast.Name):
                    self.assignments[target.id] += 1
                elif isinstance(target, ast.Subscript) and isinstance(node.value, ast.Name):
                    stored = self.buffers[ast.unparse(target.value)]
                    self.rounded |= {node.value.id} if stored.dtype == np.float32 else set()

    def name(self, name: str) -> str:
        """A name of Python as one of JavaScript."""
        if name in self.views:
            name = self.views[name].buffer.name
        if name in self.constants:
            return self.constants[name]
        return f"{name}$" if name in RESERVED or name in functions() else name

    def __call__(self, node: ast.expr, least: int = 0) -> str:
        """The expression, in brackets if it binds less than this."""
        text, level = self.expression(node)
        return text if level >= least else f"({text})"

    def expression(self, node: ast.expr) -> tuple[str, int]:
        """The expression, and how tightly it binds."""
        match node:
            case ast.Name():
                self.read.add(self.views[node.id].buffer.name if node.id in self.views else node.id)
                return self.name(node.id), CLOSED
            case ast.Constant():
                return number_text(node.value), CLOSED
            case ast.BinOp() if isinstance(node.op, ast.FloorDiv):
                return f"Math.floor({self(node.left, 7)} / {self(node.right, 8)})", CLOSED
            case ast.BinOp():
                sign, level = BINARY[type(node.op)]
                power = isinstance(node.op, ast.Pow)
                left, right = self(node.left, CLOSED if power else level), self(node.right, level + 1)
                return f"{left} {sign} {right}", level
            case ast.BoolOp():
                sign, level = BINARY[type(node.op)]
                return f" {sign} ".join(self(x, level + 1) for x in node.values), level
            case ast.Compare():
                return self.comparison(node)
            case ast.UnaryOp():
                inside = self(node.operand, CLOSED)
                return ("!" if isinstance(node.op, ast.Not) else "-") + inside, UNARY
            case ast.IfExp():
                return f"{self(node.test, 2)} ? {self(node.body, 2)} : {self(node.orelse)}", CONDITIONAL
            case ast.Subscript(value=ast.Name(id=name)) if name in self.single:
                return self.single[name], CLOSED
            case ast.Subscript():
                return f"{self(node.value)}[{self(node.slice)}]", CLOSED
            case ast.Attribute() if ast.unparse(node) in ("np.inf", "np.nan"):
                return {"inf": "Infinity", "nan": "NaN"}[node.attr], CLOSED
            case ast.Call():
                return self.call(node)
        raise CannotLower(f"`{ast.unparse(node)}` has no JavaScript here")

    def comparison(self, node: ast.Compare) -> tuple[str, int]:
        """A comparison, and how tightly it binds; a chain is several."""
        operands = [self(x, 6) for x in (node.left, *node.comparators)]
        signs = [BINARY[type(op)] for op in node.ops]
        parts = [f"{a} {sign} {b}" for a, (sign, _), b in zip(operands, signs, operands[1:], strict=False)]
        return " && ".join(parts), 3 if len(parts) > 1 else signs[0][1]

    def call(self, node: ast.Call) -> tuple[str, int]:
        """A call as an expression, as a function of Math, or of one of kernels.js; and how tightly it binds."""
        name = ast.unparse(node.func)
        if name in TEMPLATES:
            template, level, least = TEMPLATES[name]
            return template.format(*map(self, node.args, least)), level
        if name == "np.dot":
            return self.dot(node), CLOSED
        target = FUNCTIONS.get(name, name)
        arguments = node.args
        if target in functions():
            self.calls.add(target)
            if name in kernels.FILE_OF and target == name:
                by_name = dict(zip(kernel_parameters(target), arguments, strict=True))
                arguments = [by_name[p] for p in functions()[target][0]]
                if "sums" in by_name:  # of blocks in Python; the function here adds all up at once
                    self.single_sums.add(ast.unparse(by_name["sums"]))
        elif not target.startswith(("Math.", "Number.")):
            raise CannotLower(f"{name} has no JavaScript here")
        texts = [self.argument(a) for a in arguments[: 1 if target == "exp" else None]]
        while texts[-1] == "false":
            texts.pop()  # what is left out counts as false
        return f"{target}({', '.join(texts + ['0'] * (target == 'exp'))})", CLOSED

    def argument(self, node: ast.expr) -> str:
        """An argument of a call; an array without room says that nothing is wanted there."""
        buffer = self.buffers.get(node.id) if isinstance(node, ast.Name) else None
        view = self.views.get(node.id) if isinstance(node, ast.Name) else None
        wanted = buffer or (view.buffer if view else None)
        return "null" if wanted is not None and wanted.role == "work" and not wanted.size else self(node)

    def dot(self, node: ast.Call) -> str:
        """A product for the BLAS, as one of ours."""
        a, b, out = (self.views[ast.unparse(x)] for x in node.args)
        self.calls.add("multiply")
        arrays = ", ".join([self.name(out.name), "null", self.name(a.name), self.name(b.name)])
        inner = a.shape[0] if a.transposed else a.shape[1]
        turned = f"{json.dumps(a.transposed)}, {json.dumps(b.transposed)}"
        return f"multiply({arrays}, {out.shape[0]}, {inner}, {out.shape[1]}, {turned})"

    def statements(self, statements: Sequence[ast.stmt], indent: str) -> list[str]:
        """The lines of some statements."""
        return [line for s in statements for line in self.statement(s, indent)]

    def statement(self, s: ast.stmt, indent: str) -> list[str]:
        """The lines of one statement."""
        match s:
            case ast.For(target=ast.Name(id=i), iter=ast.Call(args=[count])):
                head = f"for (let {i} = 0; {i} < {self(count)}; {i}++) {{"
                return [f"{indent}{head}", *self.statements(s.body, indent + " "), f"{indent}}}"]
            case ast.If():
                inner = self.statements(s.body, indent + " ")
                return [f"{indent}if ({self(s.test)}) {{", *inner, f"{indent}}}"]
            case ast.Assign(targets=[ast.Subscript(value=array, slice=ast.Slice())]):
                return [f"{indent}{self(array)}.fill({self(s.value)});"]
            case ast.Assign(targets=[ast.Name(id=name)]):
                value = self(s.value)
                value = f"Math.fround({value})" if name in self.rounded else value
                kind = "" if name in self.declared else "let " if self.assignments[name] > 1 else "const "
                self.declared.add(name)
                return [f"{indent}{kind}{self.name(name)} = {value};"]
            case ast.Assign(targets=[target]):
                return [f"{indent}{self(target)} = {self(s.value)};"]
            case ast.AugAssign():
                return [f"{indent}{self(s.target)} {BINARY[type(s.op)][0]}= {self(s.value)};"]
            case ast.Raise(exc=ast.Call(args=[message])):
                return [f"{indent}throw new RangeError({self(message)});"]
            case ast.Expr():
                return [f"{indent}{self(s.value)};"]
            case ast.Pass():
                return []
        raise CannotLower(f"`{ast.unparse(s)}` has no JavaScript here")


def fixed(buffer: Buffer) -> Array:
    """The numbers of a buffer that no step changes."""
    return np.asarray(buffer.content if buffer.value is None else buffer.value.example).reshape(-1)


def number_text(number: Any) -> str:
    """A number, a truth value or a text as JavaScript writes it."""
    value = number.item() if isinstance(number, np.generic) else number
    if isinstance(value, float):
        if not math.isfinite(value):
            return "NaN" if value != value else f"{'-' * (value < 0)}Infinity"
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return json.dumps(value).replace("<", "\\u003c")
