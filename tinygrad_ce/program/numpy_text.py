"""A program as standalone NumPy: one line for each operation and each rule, as one would write it by hand.

What is printed is the primitives' own bodies: a body that is one expression stands in the line itself, with the
program's names in place of the arguments; a longer one becomes a function above the step. There are no templates.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Mapping
from functools import cache
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import REGISTRY, Primitive
from tinygrad_ce.ops.indexing import HERE
from tinygrad_ce.program.ir import Function, Instruction, Named, Value
from tinygrad_ce.program.outlined import Call, Update, outline_updates
from tinygrad_ce.program.passes import simplified

WIDEST = 70  # characters of an expression into which another one is still folded


def as_numpy(program: Function) -> str:
    """The text of a program."""
    program = outline_updates(program)
    writer = _Text(program)
    lines = writer.lines()
    helpers = [*writer.helpers.values(), *writer.updates.values()]
    arguments = ", ".join([*(value.name for value in program.inputs), *program.numbers])
    head = [
        *sorted(writer.imports),
        "import numpy as np",
        "",
        "",
        *(line for text in helpers for line in (*text.splitlines(), "", "")),
    ]
    answers = [*program.outputs.values(), *program.updates.values()]
    answer = ", ".join(writer.shown(value) for value in answers)
    return "\n".join([*head, f"def step({arguments}):", *_prepared(program), *lines, f"    return {answer}".rstrip()])


def lines_of(program: Function) -> dict[Instruction, str]:
    """The printed line in which each instruction stands, without its shape."""
    program = outline_updates(program)
    writer = _Text(program)
    writer.lines()
    reader = {x: i for i in program.instructions for x in i.inputs if isinstance(x, Value)}
    lines: dict[Instruction, str] = {}
    for i in reversed(program.instructions):
        if isinstance(i, Call):
            lines |= dict.fromkeys([i, *i.group], writer.call(i))
            continue
        folded = i.result in writer.folded
        lines[i] = lines[reader[i.result]] if folded else writer.written[i.result]
    return lines


def _prepared(program: Function) -> list[str]:
    """A comment where a loss has changed its labels or weights before the first operation."""
    arrays = [x for x in program.inputs if x.prepared]
    changed = [x for x in arrays if x.name.startswith("w") or (x.example.dtype.kind == "i" and (x.example < 0).any())]
    if not changed:
        return []
    names = ", ".join(x.name for x in arrays)
    return [f"    # {names}: as the loss has prepared them: flat, -1 in ignored rows, weights over their sum"]


class _Text:
    """Turns instructions into lines, and collects the functions that they need."""

    def __init__(self, program: Function) -> None:
        self.program = program
        self.helpers: dict[str, str] = {}
        self.updates: dict[Update, str] = {}
        self.imports: set[str] = set()
        self.folded: dict[Value, ast.expr] = {}
        self.written: dict[Value, str] = {}
        self.uses = Counter(x for i in program.instructions for x in i.inputs if isinstance(x, Value))
        self.uses.update(program.outputs.values())
        self.uses.update(program.updates.values())
        self.names = {x.name for x in program.inputs} | {i.result.name for i in program.instructions}

    def lines(self, comments: bool = True) -> list[str]:
        """The lines of the step, with sections and, in one column, shapes as comments."""
        rows: list[tuple[str, str]] = []
        section = None
        for i in self.program.instructions:
            if i.section != section:
                section = i.section
                rows += [("", ""), (f"# {section}", "")] if rows else [(f"# {section}", "")]
            if isinstance(i, Call):
                rows.append((self.call(i), ""))
                continue
            expression = self.expression(i)
            if self.can_fold(i, expression):
                self.folded[i.result] = expression
            else:
                self.written[i.result] = f"{self.named(i.result)} = {ast.unparse(expression)}"
                rows.append((self.written[i.result], f"# {i.result.shape}"))
        if not comments:
            return [f"    {text}" for text, shape in rows if shape]
        width = min(WIDEST, max((len(text) for text, comment in rows if comment), default=0))
        return [
            f"    {text:<{width}}  {comment}".rstrip() if comment else f"    {text}".rstrip() for text, comment in rows
        ]

    def call(self, call: Call) -> str:
        """The line that calls the function for an optimizer's update, which is put above the step."""
        update = call.update
        if update not in self.updates:
            inner = _Text(update.body)
            lines = inner.lines(comments=False)
            self.helpers |= inner.helpers
            self.imports |= inner.imports
            defaults = [f"{name}={ast.unparse(literal(value))}" for name, value in update.defaults.items()]
            arguments = ", ".join([*(x.name for x in update.body.inputs), *update.numbers, *defaults])
            answer = ", ".join(inner.shown(x) for x in update.body.outputs.values())
            head = f"def {update.name}({arguments}):"
            self.updates[update] = "\n".join([head, *lines, f"    return {answer}"])
        keywords = [f"{name}={ast.unparse(literal(value))}" for name, value in call.keywords.items()]
        arguments = ", ".join([*(self.shown(x) for x in call.inputs), *call.numbers, *keywords])
        return f"{', '.join(self.named(x) for x in call.results)} = {update.name}({arguments})"

    def named(self, value: Value) -> str:
        if value.name.startswith("_"):
            name = f"t{value.name}"
            while name in self.names:
                name += "_"
            value.name = name
        return value.name

    def can_fold(self, i: Instruction, expression: ast.expr) -> bool:
        """Whether this is a step on the way inside a rule, short enough to stand inside the next line."""
        passing = i.result.name.startswith("_") and self.uses[i.result] == 1
        asked_for = (*self.program.outputs.values(), *self.program.updates.values())
        return passing and i.result not in asked_for and len(ast.unparse(expression)) < WIDEST // 2

    def shown(self, value: Any) -> str:
        return ast.unparse(self.node(value))

    def node(self, value: Any) -> ast.expr:
        """What stands for a value in an expression."""
        if not isinstance(value, Value):
            return literal(value)
        if value in self.folded:
            return self.folded[value]
        if value.role == "constant":
            number = literal(value.example.flat[0].item())
            if value.example.ndim == 0:  # a Python number stands for a float64
                return number if value.example.dtype.itemsize == 8 else literal(value.example[()])
            shape, dtype = literal(value.shape), literal(value.example.dtype)
            return ast.Call(ast.parse("np.full", mode="eval").body, [shape, number, dtype], [])
        return ast.Name(value.name)

    def expression(self, i: Instruction) -> ast.expr:
        """The call of an instruction, or its body where that is one expression."""
        body = _parsed(i.op.body)
        names = {name: self.argument(x, name, body) for name, x in zip(i.op.arguments, i.inputs, strict=False)}
        if i.op.starred is not None:
            first = len(i.op.arguments) - 1
            names[i.op.starred] = ast.Tuple([self.node(x) for x in i.inputs[first:]])
        if i.op is ops.getitem:  # the pattern is known: what `filled` makes of it can be written down
            return ast.Subscript(names["x"], _index(i.params["pattern"], names["indices"]))
        single = _single_expression(body)
        if single is not None and not _calls_private(single):
            self.need(i.op.body, of=single)
            given = names | {name: literal(value) for name, value in i.params.items()}
            line: ast.expr = _Substituted(given).visit(_copied(single))
            return line
        self.need(i.op.body)
        defaults = i.op.defaults
        options = [ast.keyword(k, literal(v)) for k, v in i.params.items() if k not in defaults or defaults[k] != v]
        inputs = [self.argument(x, i.op.argument(k), body) for k, x in enumerate(i.inputs)]
        return ast.Call(ast.Name(i.op.name), inputs, options)

    def argument(self, value: Any, name: str, body: ast.FunctionDef) -> ast.expr:
        """What stands for an argument: a number with a dtype where the body asks for `name.dtype` and the like."""
        node = self.node(value)
        if isinstance(value, Value) and isinstance(node, ast.Constant) and _asks_for_attribute(body, name):
            return literal(value.example[()])
        return node

    def need(self, function: Any, of: ast.expr | None = None) -> None:
        """Put a function above the step, and before it what it calls; or only what one expression of it calls."""
        tree = _parsed(function)
        if of is None and tree.name in self.helpers:
            return
        above = REGISTRY | _globals(function)
        for node in ast.walk(of or tree):
            if isinstance(node, ast.Name) and node.id in above and node.id not in function.__code__.co_varnames:
                self.need_global(node.id, above[node.id])
        if of is None:
            self.helpers[tree.name] = ast.unparse(tree)

    def need_global(self, name: str, value: Any) -> None:
        if isinstance(value, Primitive):
            self.need(value.body)
        elif isinstance(value, FunctionType):
            self.need(value)
        elif isinstance(value, BuiltinFunctionType):
            other = "" if value.__name__ == name else f" as {name}"
            self.imports.add(f"from {value.__module__} import {value.__name__}{other}")
        elif not isinstance(value, (ModuleType, type)) and name not in self.helpers and not name.startswith("__"):
            kind = type(value)
            if kind.__module__.startswith("tinygrad_ce"):  # a marker, such as the one for index arrays in a pattern
                self.helpers[name] = f'{name} = "{name}"  # stands for the next index array'


def _index(pattern: tuple[Any, ...], arrays: Any) -> ast.expr:
    """An index as one writes it between brackets."""
    remaining = iter(arrays.elts)
    items: list[ast.expr] = []
    for item in pattern:
        if isinstance(item, slice):
            parts = [None if part is None else literal(part) for part in (item.start, item.stop, item.step)]
            items.append(ast.Slice(*parts))
        else:
            items.append(next(remaining) if item is HERE else literal(item))
    return items[0] if len(items) == 1 else ast.Tuple(items)


class _Substituted(ast.NodeTransformer):
    """An expression with other expressions in place of some names."""

    def __init__(self, names: Mapping[str, ast.expr]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        arguments: list[ast.expr] = []
        for argument in node.args:
            starred = isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Name)
            given = self.names.get(argument.value.id) if starred else None  # type: ignore[attr-defined]
            # What was put in is not looked through again: an input may be called as the argument is.
            arguments += given.elts if isinstance(given, ast.Tuple) else [self.visit(argument)]
        node.func, node.args = self.visit(node.func), arguments
        for k in node.keywords:
            k.value = self.visit(k.value)
            if k.arg == "axis" and isinstance(k.value, ast.Tuple) and len(k.value.elts) == 1:
                k.value = k.value.elts[0]
        # What is NumPy's default need not be said.
        node.keywords = [k for k in node.keywords if (k.arg, ast.unparse(k.value)) not in _DEFAULTS]
        if ast.unparse(node.func) == "np.transpose" and ast.unparse(node.args[1]) in ("None", "(1, 0)"):
            return ast.Attribute(node.args[0], "T")
        return node


_DEFAULTS = {("axis", "None"), ("keepdims", "False"), ("ddof", "0")}


def literal(value: Any) -> ast.expr:
    """A Python value as it is written in a program."""
    if isinstance(value, Named):
        text = value.formula
    elif isinstance(value, np.dtype):
        text = f"np.dtype({value.str!r})" if value.kind not in "fiu" else f"np.{value.name}"
    elif isinstance(value, tuple):
        return ast.Tuple([literal(v) for v in value])
    elif isinstance(value, slice):
        return ast.Call(ast.Name("slice"), [literal(v) for v in (value.start, value.stop, value.step)], [])
    elif isinstance(value, float) and not np.isfinite(value):
        text = {"inf": "np.inf", "-inf": "-np.inf", "nan": "np.nan"}[str(value)]
    elif isinstance(value, np.generic):
        text = f"np.{value.dtype.name}({value.item()!r})"
    elif value is Ellipsis:
        text = "..."
    else:
        text = repr(value)
    return ast.parse(text, mode="eval").body


@cache
def _parsed(function: Any) -> ast.FunctionDef:
    """The definition of a function, without decorators, annotations and docstring."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.decorator_list, tree.returns = [], None
    for argument in (*tree.args.args, *tree.args.kwonlyargs, *filter(None, (tree.args.vararg, tree.args.kwarg))):
        argument.annotation = None
    if ast.get_docstring(tree) is not None and len(tree.body) > 1:
        tree.body = tree.body[1:]
    resolved: ast.FunctionDef = _Resolved(_globals(function)).visit(tree)
    return resolved


def _globals(function: Any) -> dict[str, Any]:
    """What the names in a function mean that are not its own: an argument may be called as something outside is."""
    own = function.__code__.co_varnames
    return {name: value for name, value in function.__globals__.items() if name not in own}


class _Resolved(ast.NodeTransformer):
    """A body without names of its module: `tg.ops.sigmoid` becomes sigmoid, a constant of the module its number."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        chain, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and isinstance(self.names.get(inner.id), ModuleType):
            value = self.names[inner.id]
            for name in reversed(chain):
                value = getattr(value, name, None)
            if isinstance(value, Primitive):
                return ast.Name(value.name)
        self.generic_visit(node)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        if re.fullmatch(r"\w+\.sum\(.*\) / count\(.*\)", ast.unparse(node)):  # the mean, as one would write it
            mean = node.left
            assert isinstance(mean, ast.Call)
            assert isinstance(mean.func, ast.Attribute)
            mean.func.attr = "mean"
            return mean
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self.names.get(node.id)
        if isinstance(value, Primitive):
            return ast.Name(value.name)
        return literal(value) if type(value) in (int, float) else node


def _single_expression(tree: ast.FunctionDef) -> ast.expr | None:
    """What a function returns, if that is all that it does (besides refusing arguments)."""
    *before, last = tree.body
    guards = all(isinstance(s, ast.If) and all(isinstance(b, ast.Raise) for b in s.body) for s in before)
    return last.value if guards and isinstance(last, ast.Return) else None


def _asks_for_attribute(body: ast.FunctionDef, name: str) -> bool:
    attributes = (node.value for node in ast.walk(body) if isinstance(node, ast.Attribute))
    return any(isinstance(owner, ast.Name) and owner.id == name for owner in attributes)


def _calls_private(expression: ast.expr) -> bool:
    """Whether an expression is made of somebody's private functions: then its name says more."""
    calls = (node.func for node in ast.walk(expression) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Name) and called.id.startswith("_") for called in calls)


def _copied(node: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(node), mode="eval").body


def expression_of(value: Value, instructions: list[Instruction]) -> tuple[ast.expr, dict[str, Any]]:
    """A value as one expression of what the instructions started from, and what that expression calls, by name."""
    program = simplified(Function([], instructions, {"value": value}))
    writer = _Text(program)
    for i in program.instructions:
        writer.folded[i.result] = writer.expression(i)
    return writer.node(program.outputs["value"]), _called_by([i.op for i in program.instructions])


def _called_by(ops: list[Primitive]) -> dict[str, Any]:
    """What the bodies of these primitives can call, and all primitives, as a printed program has them: their bodies."""
    functions: dict[str, Any] = {}
    for op in ops:
        for name, x in op.body.__globals__.items():  # markers, such as the one for index arrays in a pattern, too
            if not name.startswith("__") and (callable(x) or type(x).__module__.startswith("tinygrad_ce")):
                functions[name] = x
    return functions | {name: op.body for name, op in REGISTRY.items()}
