"""A function of Python put in place of its call: its body, with a program's expressions instead of its arguments."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from types import FunctionType, ModuleType
from typing import Any, Protocol

import numpy as np

from tinygrad_ce.core import Primitive
from tinygrad_ce.ops.indexing import HERE
from tinygrad_ce.program.ir import Named
from tinygrad_ce.program.textbook import CALLED


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
def parsed(function: Any) -> ast.FunctionDef:
    """The definition of a function, without decorators, annotations and docstring."""
    tree = _definition(function)
    tree.decorator_list, tree.returns = [], None
    for argument in (*tree.args.args, *tree.args.kwonlyargs, *filter(None, (tree.args.vararg, tree.args.kwarg))):
        argument.annotation = None
    if ast.get_docstring(tree) is not None and len(tree.body) > 1:
        tree.body = tree.body[1:]
    resolved: ast.FunctionDef = _Resolved(globals_of(function)).visit(tree)
    return resolved


def _definition(function: Any) -> ast.FunctionDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if isinstance(tree, ast.FunctionDef):
        return tree
    # What is left is a lambda, whose text is that of its line.
    found, *others = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    if others:
        raise SyntaxError("which of the lambdas of a line this is cannot be seen")
    definition = ast.FunctionDef("function", found.args, [ast.Return(found.body)], [])
    return ast.fix_missing_locations(definition)


def globals_of(function: Any) -> dict[str, Any]:
    """What the names in a function mean that are not its own: an argument may be called as something outside is."""
    own = function.__code__.co_varnames
    around = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    return {name: value for name, value in around.items() if name not in own}


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


class _Substituted(ast.NodeTransformer):
    """An expression with other expressions in place of some names."""

    def __init__(self, names: Mapping[str, ast.expr]) -> None:
        self.names = names

    def of(self, expression: ast.expr) -> ast.expr:
        """A copy of this expression with the others in it."""
        found: ast.expr = self.visit(ast.parse(ast.unparse(expression), mode="eval").body)
        return found

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        arguments: list[ast.expr] = []
        for argument in node.args:
            starred = isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Name)
            tuple_of = self.names.get(argument.value.id) if starred else None  # type: ignore[attr-defined]
            # What was put in is not looked through again: an input may be called as the argument is.
            arguments += tuple_of.elts if isinstance(tuple_of, ast.Tuple) else [self.visit(argument)]
        node.func, node.args = self.visit(node.func), arguments
        for k in node.keywords:
            k.value = self.visit(k.value)
            if k.arg == "axis" and isinstance(k.value, ast.Tuple) and len(k.value.elts) == 1:
                k.value = k.value.elts[0]
        # What is NumPy's default need not be said.
        node.keywords = [k for k in node.keywords if (k.arg, ast.unparse(k.value)) not in _DEFAULTS]
        if [*map(ast.unparse, (node.func, *node.args[1:]))] in _USUAL:
            node.args = node.args[:1]
        if ast.unparse(node.func) == "np.transpose" and ast.unparse(node.args[1]) in ("None", "(1, 0)"):
            return ast.Attribute(node.args[0], "T")
        return node


_DEFAULTS = {
    *(("axis", "None"), ("keepdims", "False"), ("ddof", "0"), ("dtype", "np.float64")),
    *(("offset", "0"), ("axis1", "0"), ("axis2", "1")),
}


_USUAL = [["np.flip", "None"], ["np.sort", "-1"], ["np.argsort", "-1"]]


def index_of(pattern: tuple[Any, ...], arrays: Any) -> ast.expr:
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


def single_expression(tree: ast.FunctionDef) -> ast.expr | None:
    """What a function returns, if that is all that it does (besides refusing arguments)."""
    *before, last = tree.body
    guards = all(isinstance(s, ast.If) and all(isinstance(b, ast.Raise) for b in s.body) for s in before)
    return last.value if guards and isinstance(last, ast.Return) else None


def asks_for_attribute(body: ast.FunctionDef, name: str) -> bool:
    """Whether a function asks for an attribute of this argument, such as its dtype."""
    attributes = (node.value for node in ast.walk(body) if isinstance(node, ast.Attribute))
    return any(isinstance(owner, ast.Name) and owner.id == name for owner in attributes)


def calls_private(expression: ast.expr) -> bool:
    """Whether an expression calls private functions: then the name of the primitive says more."""
    calls = (node.func for node in ast.walk(expression) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Name) and called.id.startswith("_") for called in calls)


def returned_locals(function: Any) -> set[str]:
    """The locals that a function returns as they are."""
    returns = (node.value for node in ast.walk(parsed(function)) if isinstance(node, ast.Return))
    arguments = {a.arg for a in ast.walk(parsed(function).args) if isinstance(a, ast.arg)}
    return {value.id for value in returns if isinstance(value, ast.Name)} - arguments


def _is_static(value: Any) -> bool:
    """Whether this is no array, nor a number of NumPy's, but a number of Python, a shape or a dtype."""
    if isinstance(value, tuple):
        return all(_is_static(x) for x in value)
    return isinstance(value, (bool, int, float, str, np.dtype, type)) and not isinstance(value, np.generic)


def _bound(function: Callable[..., Any], call: ast.Call, of: Callable[[ast.expr], Any]) -> dict[str, Any]:
    """What the arguments of a function are in a call, by name."""
    keywords = {str(k.arg): of(k.value) for k in call.keywords}
    return inspect.signature(function).bind(*map(of, call.args), **keywords).arguments


def substituted(expression: ast.expr, names: Mapping[str, ast.expr]) -> ast.expr:
    """An expression with other expressions in place of some names."""
    return _Substituted(names).of(expression)


class Writer(Protocol):
    """What writes the lines of a program."""

    def import_module(self, name: str) -> None:
        """Import a module above the step."""

    def row(self, text: str) -> None:
        """Write a line."""

    def written_out(self, name: str, expression: ast.expr, example: Any, result: str | None, own: bool) -> ast.expr:
        """Write a line that gives an expression a name, and return the name."""

    def note(self, form: str) -> None:
        """Say behind the next line what this form gives up."""


class Inlined(_Substituted):
    """The body of a textbook form, with the names of a program in place of its arguments.

    It is run on the examples of the program at the same time: so it is known which way each `if` goes, what is a
    number of Python and which shapes there are.
    names and values: what its arguments are called in the program, and what they were. writer: writes its assignments
    as lines; if None, they are put in place. result: what a local is called that the function returns.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        names: Mapping[str, ast.expr],
        values: Mapping[str, Any],
        writer: Writer | None = None,
        result: str | None = None,
    ) -> None:
        self.names: dict[str, ast.expr]
        values = {**(function.__kwdefaults__ or {}), **values}
        static = {name: literal(value) for name, value in values.items() if name not in names}
        self.function, self.names, self.values, self.writer = function, {**static, **names}, dict(values), writer
        self.body = parsed(function).body
        self.result = result
        self.returned = returned_locals(function)
        changes = [s for s in ast.walk(parsed(function)) if isinstance(s, (ast.Assign, ast.Expr))]
        self.in_place = not all(isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) for s in changes)

    def answer(self) -> ast.expr:
        """What the function returns."""
        answer = self.block(self.body)
        assert answer is not None
        if self.writer is not None:
            self.writer.note(self.function.__name__)
        return answer

    def block(self, statements: list[ast.stmt]) -> ast.expr | None:
        """What some statements return; None if they return nothing."""
        for s in statements:
            answer = None
            if isinstance(s, ast.If):
                answer = self.block(s.body if self.value(s.test) else s.orelse)
            elif isinstance(s, ast.Return):
                assert s.value is not None
                answer = self.of(s.value)
            elif isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name):
                self.assign(s.targets[0].id, s.value)
            else:  # it writes into an array
                assert isinstance(s, (ast.Assign, ast.Expr))
                assert self.writer is not None
                exec(ast.unparse(s), {**self.function.__globals__}, self.values)
                changed: ast.AST = self.visit(ast.parse(ast.unparse(s)).body[0])
                self.writer.row(ast.unparse(changed))
            if answer is not None:
                return answer
        return None

    def assign(self, name: str, expression: ast.expr) -> None:
        """A local of the function: a line of the program, unless it only gives a value another name."""
        self.values[name] = value = self.value(expression)
        counts = ast.unparse(expression).startswith("len(") or ast.unparse(expression).endswith(".size")
        if counts and self.writer is not None:  # n = len(y) is a line: it says what is divided by
            found = substituted(expression, self.names)
        elif _is_static(value):
            found = literal(value)
        else:
            found = self.of(expression)
        if self.writer is not None and not isinstance(found, (ast.Name, ast.Constant)):
            found = self.writer.written_out(
                name, found, value, self.result if name in self.returned else None, self.in_place
            )
        self.names[name] = found

    def value(self, expression: ast.expr) -> Any:
        """What an expression is on the examples."""
        code = compile(ast.unparse(expression), "<form>", "eval")
        with np.errstate(all="ignore"):
            return eval(code, {**self.function.__globals__}, self.values)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        """The branch that is taken."""
        return self.visit(node.body if self.value(node.test) else node.orelse)

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        """A shape or dtype is written out."""
        is_known = node.attr in ("shape", "size", "ndim", "dtype")
        return literal(self.value(node)) if is_known else self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        """A length is written out, and the pattern of an index filled."""
        if ast.unparse(node.value).endswith(".shape"):
            return literal(self.value(node))
        if isinstance(node.slice, ast.Call) and ast.unparse(node.slice.func) == "filled":
            return ast.Subscript(self.visit(node.value), self.index(node.slice), node.ctx)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        """Another form is put in place of its call, too, unless a formula calls it by its name."""
        name = ast.unparse(node.func)
        if name == "filled":  # an index as an argument
            index = self.index(node)
            simple = not any(isinstance(x, ast.Slice) for x in getattr(index, "elts", [index]))
            return index if simple else ast.Subscript(ast.Attribute(ast.Name("np"), "s_"), index)
        called = self.function.__globals__.get(name)
        value = self.value(node)
        if _is_static(value):
            return literal(value)
        if not isinstance(called, FunctionType):
            if "math." in ast.unparse(node) and self.writer is not None:
                self.writer.import_module("math")
            return super().visit_Call(node)
        if self.writer is None and called in CALLED:
            node.keywords = [k for k in node.keywords if k.arg != "dtype"]
            return super().visit_Call(node)
        values = _bound(called, node, self.value)
        return Inlined(called, _bound(called, node, self.visit), values, self.writer).answer()

    def index(self, filled: ast.Call) -> ast.expr:
        """An index as one writes it."""
        return index_of(self.values["pattern"], self.names["indices"])
