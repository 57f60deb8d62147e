"""An expression of the printed program as LaTeX, in signs that MathJax, KaTeX and matplotlib know."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from tinygrad_ce.graph.cells import ATOM, FACTOR, LOGIC, POWER, PRODUCT, SUM
from tinygrad_ce.graph.expressions import COMPARED, LOGICAL, in_operators, name_and_arguments
from tinygrad_ce.graph.formula import Formula


def latex(formula: Formula, gradients: Mapping[str, str]) -> str:
    r"""The expression of a formula.

    gradients: by the name of a gradient in the program, the name of what it is the gradient of: `d_z1` of `z1`.

    >>> whole = ast.parse("x.T @ d_z1", mode="eval").body
    >>> print(latex(Formula(whole, {"x": np.ones((3, 2)), "d_z1": np.ones((3, 4))}), {"d_z1": "z1"}))
    x^{\top} \, \frac{\partial L}{\partial z_{1}}
    """
    return _Translator(formula, gradients).of(in_operators(formula.whole))


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
    match = re.fullmatch(r"(.+?)_?(\d+(?:_\d+)*)?", name)
    assert match is not None
    stem, digits = match.groups()
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
_SIGNS = {  # an operation of two: how it is written, how tightly it binds, and how tightly both sides have to
    ast.Add: ("{} + {}", SUM, SUM, SUM), ast.Sub: ("{} - {}", SUM, SUM, PRODUCT),
    ast.Mult: (r"{} \cdot {}", PRODUCT, PRODUCT, PRODUCT), ast.MatMult: (r"{} \, {}", PRODUCT, PRODUCT, PRODUCT),
    ast.Div: (r"\frac{{{}}}{{{}}}", FACTOR, LOGIC, LOGIC), ast.Pow: ("{}^{{{}}}", POWER, ATOM, LOGIC),
    ast.BitAnd: (r"{} \wedge {}", LOGIC, SUM, SUM), ast.BitOr: (r"{} \vee {}", LOGIC, SUM, SUM),
}  # fmt: skip
_MACROS = {  # the functions that LaTeX has a sign for
    *("tanh", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "arcsin", "arccos", "arctan", "max", "min"),
}
_OTHERS = {"maximum": r"\max", "minimum": r"\min", "sigmoid": r"\sigma"}


class _Translator:
    """From the tree of an expression to LaTeX. A part is in parentheses where what stands around it binds tighter."""

    def __init__(self, formula: Formula, gradients: Mapping[str, str]) -> None:
        self.formula = formula
        self.gradients = gradients

    def of(self, node: ast.expr, around: int = LOGIC) -> str:
        """A part of the expression. around: how tightly what stands around it binds."""
        text, binding = self.part(node)
        return text if binding >= around else rf"\left({text}\right)"

    def part(self, node: ast.expr) -> tuple[str, int]:
        """A part without parentheses, and how tightly it binds; in words what has no sign."""
        match node:
            case ast.Name("loss"):
                return "L", ATOM
            case ast.Name(name):
                return (slope(self.gradients[name]), POWER) if name in self.gradients else (symbol(name), ATOM)
            case ast.Constant(int() | float() as value) if not isinstance(value, bool):
                return _number(value), ATOM
            case ast.Constant(value):
                return r"\ldots" if value is Ellipsis else words(str(value)), ATOM
            case ast.UnaryOp(op, operand):
                sign = {ast.USub: "-", ast.UAdd: "+"}.get(type(op), r"\neg ")
                return sign + self.of(operand, PRODUCT), SUM
            case ast.BinOp(left, op, right) if type(op) in _SIGNS:
                written, binding, before, behind = _SIGNS[type(op)]
                if isinstance(op, ast.Mult) and all(self.formula.evaluate(factor).ndim for factor in (left, right)):
                    written = r"{} \odot {}"
                return written.format(self.of(left, before), self.of(right, behind)), binding
            case ast.Compare(left, [op], [right]) if type(op) in COMPARED:
                return f"{self.of(left, SUM)} {COMPARED[type(op)][2]} {self.of(right, SUM)}", LOGIC
            case ast.Attribute(value, "T"):
                return rf"{self.of(value, ATOM)}^{{\top}}", POWER
            case ast.Attribute(ast.Name("np"), name):
                return r"\infty" if name == "inf" else words(name), ATOM
            case ast.Subscript(value, index):
                inside = self.listed(index.elts) if isinstance(index, ast.Tuple) and index.elts else self.of(index)
                return f"{self.of(value, POWER)}[{inside}]", ATOM
            case ast.Tuple(items):
                return f"({self.listed(items)}{',' * (len(items) == 1)})", ATOM
            case ast.Call():
                return self.call(*name_and_arguments(node), node.keywords)
        return words(ast.unparse(node)), ATOM

    def call(self, name: str, arguments: list[ast.expr], options: list[ast.keyword]) -> tuple[str, int]:
        """The call of a function or method, and how tightly its signs bind."""
        given = {option.arg: self.of(option.value) for option in options}
        below = rf"_{{{words('axis ')}{given['axis']}}}" if "axis" in given else ""
        match name, arguments:
            case "sum", [x, *_]:
                return rf"\sum{below} {self.of(x, PRODUCT)}", SUM
            case "mean", [x, *_]:
                return rf"\mathrm{{mean}}{below}\left({self.of(x)}\right)", ATOM
            case _, [left, right] if name in LOGICAL:
                return f"{self.of(left, SUM)} {LOGICAL[name][1]} {self.of(right, SUM)}", LOGIC
            case "np.sqrt", [x]:
                return rf"\sqrt{{{self.of(x)}}}", ATOM
            case "np.abs", [x]:
                return rf"\left|{self.of(x)}\right|", ATOM
            case "np.where" | "where", [condition, x, ast.Constant(0)]:
                return rf"\mathbf{{1}}[{self.of(condition)}] \odot {self.of(x, PRODUCT)}", PRODUCT
        plain = name.removeprefix("np.")
        function = _OTHERS.get(plain) or (f"\\{plain}" if plain in _MACROS else words(plain.replace("_", " ")))
        named = [f"{words(option or '')}={value}" for option, value in given.items()]
        return rf"{function}\left({', '.join([*map(self.of, arguments), *named])}\right)", ATOM

    def listed(self, items: list[ast.expr]) -> str:
        return ", ".join(map(self.of, items))


def _number(value: float) -> str:
    digits, _, exponent = f"{value:.6g}".partition("e")
    if not exponent:
        return digits
    return ("" if digits == "1" else rf"{digits} \cdot ") + f"10^{{{int(exponent)}}}"
