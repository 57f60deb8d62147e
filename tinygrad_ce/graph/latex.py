"""An expression of the printed program as LaTeX, in signs that MathJax, KaTeX and matplotlib know."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping

from tinygrad_ce.graph.expressions import COMPARED, LOGICAL, in_operators, name_and_arguments
from tinygrad_ce.graph.formula import Formula


def latex(formula: Formula, gradients: Mapping[str, str]) -> str:
    r"""The expression of a formula.

    gradients: by the name of a gradient in the program, the name of what it is the gradient of: `d_z1` of `z1`.

    >>> whole = ast.parse("x.T @ d_z1", mode="eval").body
    >>> print(latex(Formula(whole, {"x": np.ones((3, 2)), "d_z1": np.ones((3, 4))}), {"d_z1": "z1"}))
    x^{\top} \, \frac{\partial L}{\partial z_{1}}
    """
    return _Translator(formula, gradients).of(in_operators(formula.whole), 0)


def slope(name: str) -> str:
    r"""The derivative of the loss.

    >>> print(slope("W0"))
    \frac{\partial L}{\partial W_{0}}
    """
    return rf"\frac{{\partial L}}{{\partial {symbol(name)}}}"


def symbol(name: str) -> str:
    r"""A name of the program: one letter as it is, a word upright; digits at its end stand below.

    >>> print(symbol("W0"), symbol("scale1"), symbol("x_2"), symbol("my_loss"))
    W_{0} \mathrm{scale}_{1} x_{2} \mathrm{my\_loss}
    """
    match = re.fullmatch(r"(.*?)_?(\d+(?:_\d+)*)?", name)
    assert match is not None
    stem, digits = match[1] or name, match[2] if match[1] else None
    shown = stem if len(stem) == 1 and stem.isascii() and stem.isalpha() else words(stem)
    return shown + (f"_{{{digits.replace('_', ',')}}}" if digits else "")


def words(text: str) -> str:
    r"""Upright text.

    >>> print(words("ij,jk->ik"))
    \mathrm{ij,jk\to ik}
    """
    escaped = "".join(_ESCAPED.get(sign, sign) for sign in text)
    return rf"\mathrm{{{escaped.replace('->', chr(92) + 'to ')}}}"


_ESCAPED = {sign: f"\\{sign}" for sign in "_#$%&{} "} | {"\\": r"\backslash ", "^": r"\wedge ", "~": r"\sim "}
_ADDING: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.BitAnd: r"\wedge", ast.BitOr: r"\vee"}
_MACROS = {  # the functions that LaTeX has a sign for
    *("tanh", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "arcsin", "arccos", "arctan", "max", "min"),
}
_OTHERS = {"maximum": r"\max", "minimum": r"\min", "sigmoid": r"\sigma"}
SUM, PRODUCT, POWER = 1, 2, 4  # how tightly signs bind


class _Translator:
    """From the tree of an expression to LaTeX. A part is in parentheses where what stands around it binds tighter."""

    def __init__(self, formula: Formula, gradients: Mapping[str, str]) -> None:
        self.formula = formula
        self.gradients = gradients

    def of(self, node: ast.expr, outside: int) -> str:
        """A part of the expression. outside: how tightly what stands around it binds."""
        method: Callable[[ast.expr, int], str] | None = getattr(self, type(node).__name__, None)
        return words(ast.unparse(node)) if method is None else method(node, outside)

    def Name(self, node: ast.Name, outside: int) -> str:
        if node.id == "loss":
            return "L"
        return slope(self.gradients[node.id]) if node.id in self.gradients else symbol(node.id)

    def Constant(self, node: ast.Constant, outside: int) -> str:
        if node.value is Ellipsis:
            return r"\ldots"
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            return words(str(node.value))
        digits, _, exponent = f"{node.value:.6g}".partition("e")
        if not exponent:
            return digits
        power = f"10^{{{int(exponent)}}}"
        return power if digits == "1" else rf"{digits} \cdot {power}"

    def UnaryOp(self, node: ast.UnaryOp, outside: int) -> str:
        sign = {ast.USub: "-", ast.UAdd: "+"}.get(type(node.op), r"\neg ")
        return _bound(sign + self.of(node.operand, PRODUCT), SUM, outside)

    def BinOp(self, node: ast.BinOp, outside: int) -> str:
        left, right = node.left, node.right
        if isinstance(node.op, ast.Div):
            return _bound(rf"\frac{{{self.of(left, 0)}}}{{{self.of(right, 0)}}}", PRODUCT + 1, outside)
        if isinstance(node.op, ast.Pow):
            return _bound(f"{self.of(left, POWER + 1)}^{{{self.of(right, 0)}}}", POWER, outside)
        if isinstance(node.op, ast.MatMult):
            return _bound(rf"{self.of(left, PRODUCT)} \, {self.of(right, PRODUCT)}", PRODUCT, outside)
        if isinstance(node.op, ast.Mult):
            sign = r"\odot" if all(self.formula.evaluate(factor).ndim for factor in (left, right)) else r"\cdot"
            return _bound(f"{self.of(left, PRODUCT)} {sign} {self.of(right, PRODUCT)}", PRODUCT, outside)
        if type(node.op) not in _ADDING:
            return words(ast.unparse(node))
        tighter = SUM + isinstance(node.op, ast.Sub)
        return _bound(f"{self.of(left, SUM)} {_ADDING[type(node.op)]} {self.of(right, tighter)}", SUM, outside)

    def Compare(self, node: ast.Compare, outside: int) -> str:
        _, _, sign = COMPARED.get(type(node.ops[0]), COMPARED[ast.Eq])
        return self.compared(node.left, sign, node.comparators[0], outside)

    def Attribute(self, node: ast.Attribute, outside: int) -> str:
        if node.attr == "T":
            simple = isinstance(node.value, ast.Name) and node.value.id not in self.gradients
            inner = self.of(node.value, 0)
            return rf"{inner}^{{\top}}" if simple else rf"\left({inner}\right)^{{\top}}"
        if ast.unparse(node) in ("np.inf", "np.nan"):
            return r"\infty" if node.attr == "inf" else words("nan")
        return words(ast.unparse(node))

    def Subscript(self, node: ast.Subscript, outside: int) -> str:
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) and node.slice.elts else [node.slice]
        return f"{self.of(node.value, POWER)}[{', '.join(self.of(item, 0) for item in items)}]"

    def Slice(self, node: ast.Slice, outside: int) -> str:
        return words(ast.unparse(node))

    def Tuple(self, node: ast.Tuple, outside: int) -> str:
        inner = ", ".join(self.of(part, 0) for part in node.elts)
        return f"({inner},)" if len(node.elts) == 1 else f"({inner})"

    def Call(self, node: ast.Call, outside: int) -> str:
        name, arguments = name_and_arguments(node)
        if name in ("sum", "mean"):
            return self.reduced(name, node, arguments[0], outside)
        if name in LOGICAL and len(arguments) == 2:
            return self.compared(arguments[0], LOGICAL[name][1], arguments[1], outside)
        if name == "np.sqrt":
            return rf"\sqrt{{{self.of(arguments[0], 0)}}}"
        if name == "np.abs":
            return rf"\left|{self.of(arguments[0], 0)}\right|"
        if name in ("np.where", "where") and len(arguments) == 3 and ast.unparse(arguments[2]) == "0":
            chosen = rf"\mathbf{{1}}[{self.of(arguments[0], 0)}] \odot {self.of(arguments[1], PRODUCT)}"
            return _bound(chosen, PRODUCT, outside)
        return self.called(name, arguments, node.keywords)

    def called(self, name: str, arguments: list[ast.expr], options: list[ast.keyword]) -> str:
        """A function of these arguments."""
        shown = [self.of(argument, 0) for argument in arguments]
        shown += [f"{words(option.arg or '')}={self.of(option.value, 0)}" for option in options]
        plain = name.removeprefix("np.")
        macro = f"\\{plain}" if plain in _MACROS else words(plain.replace("_", " "))
        function = _OTHERS.get(plain, macro)
        return rf"{function}\left({', '.join(shown)}\right)"

    def compared(self, left: ast.expr, sign: str, right: ast.expr, outside: int) -> str:
        return _bound(f"{self.of(left, SUM)} {sign} {self.of(right, SUM)}", 0, outside)

    def reduced(self, name: str, node: ast.Call, inner: ast.expr, outside: int) -> str:
        axis = next((option.value for option in node.keywords if option.arg == "axis"), None)
        below = "" if axis is None else rf"_{{{words('axis ')}{self.of(axis, 0)}}}"
        if name == "sum":
            return _bound(rf"\sum{below} {self.of(inner, PRODUCT)}", SUM, outside)
        return rf"\mathrm{{mean}}{below}\left({self.of(inner, 0)}\right)"


def _bound(text: str, binding: int, outside: int) -> str:
    return rf"\left({text}\right)" if outside > binding else text
