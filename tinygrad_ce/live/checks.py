"""Conditions over what the live page measures: Python text is read into a small tree, which the page evaluates."""

from __future__ import annotations

import ast
from difflib import get_close_matches
from typing import Any

MEASURES = {
    "loss": "the loss of the training rows",
    "test_loss": "the loss of the test rows",
    "best_test_loss": "the smallest loss of the test rows so far",
    "accuracy": "the accuracy on the training rows",
    "test_accuracy": "the accuracy on the test rows",
    "steps": "the number of training steps",
    "lines": "the number of lines walked through inside a step",
    "rate": "the learning rate",
    "rows": "the number of training rows",
    "state": "the number of the button that was pressed",
    "change": "the change of the loss since the button was pressed",
    "foretold": "the change that gradient x move foretells",
    "moved": "the largest move of a weight",
    "gradient": "the gradient of the selected weight",
    "pull": "the part of that gradient that comes from the row pointed at",
    "saturated": "the share of saturated activations, of the layer with most",
    "dead": "the share of dead units, of the layer with most",
    "first_to_last": "the first layer's gradient as a part of the last layer's",
}
FUNCTIONS = {  # the number of arguments of each: least, most
    "weight": (2, 3), "grad": (2, 3), "grad_norm": (1, 1), "weight_norm": (1, 1),
    "abs": (1, 1), "log": (1, 1), "min": (2, 9), "max": (2, 9),
}  # fmt: skip
OF_AN_ARRAY = ("weight", "grad", "grad_norm", "weight_norm")  # their first argument is the name of a parameter
ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
COMPARISONS = {
    ast.Lt: ("<", "less than"),
    ast.LtE: ("<=", "at most"),
    ast.Gt: (">", "more than"),
    ast.GtE: (">=", "at least"),
    ast.Eq: ("==", "exactly"),
    ast.NotEq: ("!=", "other than"),
}
CONDITION, NUMBER = "a condition such as loss < 0.3", "a number such as 0.3 or loss"

Tree = list[Any]


def check_tree(check: str) -> Tree:
    """The tree of a check: `["<", words, needed, left, right]`, `["and", ...]`, and numbers as trees of their own.

    Names are the keys of MEASURES; functions: weight("W0", 1, 0), grad("W0", 1, 0), grad_norm("W0"), weight_norm("W0"),
    abs, log, min, max; besides comparisons, and, or, not, + - * / ** and parentheses. Raises ValueError for all else.

    >>> check_tree("loss < 0.3")
    ['<', 'the loss of the training rows', 'less than', ['loss'], 0.3]
    """
    try:
        expression = ast.parse(check.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise _refused(check, f"is no expression of Python: write {CONDITION}") from None
    return _condition(expression, check)


def conditions(tree: Tree) -> list[Tree]:
    """The trees that a tree joins with `and`.

    >>> len(conditions(check_tree("loss < 0.3 and steps >= 20")))
    2
    """
    return tree[1:] if tree[0] == "and" else [tree]


def _condition(node: ast.expr, check: str) -> Tree:
    """The tree of what is true or false."""
    if isinstance(node, ast.BoolOp):
        word = "and" if isinstance(node.op, ast.And) else "or"
        return [word, *(_condition(part, check) for part in node.values)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ["not", ast.unparse(node.operand), _condition(node.operand, check)]
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        pairs = zip(sides, node.ops, sides[1:], strict=False)
        parts = [_comparison(left, operator, right, check) for left, operator, right in pairs]
        return parts[0] if len(parts) == 1 else ["and", *parts]
    raise _refused(check, f"has {ast.unparse(node)!r} where a condition belongs: write {CONDITION}")


def _comparison(left: ast.expr, operator: ast.cmpop, right: ast.expr, check: str) -> Tree:
    """`[sign, what stands at the left in words, what is needed, left, right]`."""
    if type(operator) not in COMPARISONS:
        raise _refused(check, "compares with in or is: write one of < <= > >= == !=")
    sign, needed = COMPARISONS[type(operator)]
    words = MEASURES.get(left.id, left.id) if isinstance(left, ast.Name) else ast.unparse(left)
    return [sign, words, needed, _number(left, check), _number(right, check)]


def _number(node: ast.expr, check: str) -> Any:
    """A number as it is, a measure as `[name]`, an operation as `[name, *arguments]`."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in MEASURES:
            raise _refused(check, unknown(node.id, [*MEASURES]))
        return [node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return ["-", 0, _number(node.operand, check)]
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return [ARITHMETIC[type(node.op)], _number(node.left, check), _number(node.right, check)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, node.args, check)
    raise _refused(check, f"has {ast.unparse(node)!r} where a number belongs: write {NUMBER}")


def _call(name: str, arguments: list[ast.expr], check: str) -> Tree:
    if name not in FUNCTIONS:
        raise _refused(check, unknown(name, [*FUNCTIONS]))
    least, most = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        count = f"{least}" if least == most else f"{least} to {most}"
        raise _refused(check, f"calls {name} with {len(arguments)} arguments: it takes {count}")
    if name not in OF_AN_ARRAY:
        return [name, *(_number(argument, check) for argument in arguments)]
    array, *index = (argument.value if isinstance(argument, ast.Constant) else None for argument in arguments)
    if not isinstance(array, str) or any(type(i) is not int for i in index):
        form = f'{name}("W0")' if most == 1 else f'{name}("W0", 1, 0)'
        raise _refused(check, f"calls {name} with {ast.unparse(arguments[0])}: write {form}")
    return [name, array, *index]


def unknown(name: str, names: list[str]) -> str:
    """What is said of a name that is none of these."""
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"names {name}, which is not measured: {hint}There are {', '.join(sorted(names))}"


def _refused(check: str, why: str) -> ValueError:
    return ValueError(f"Moment: the check {check!r} {why}")
