"""The statements of a Python file as they stand in it: which of them a function needs, with the comments above them."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Statements:
    """A file of Python, cut into its statements. text: as it was written."""

    text: str
    tree: ast.Module

    @classmethod
    def of(cls, text: str) -> Statements:
        """Those of a text. SyntaxError if it is no Python."""
        return cls(text, ast.parse(text))

    def function(self, name: str) -> ast.FunctionDef | None:
        """The function of this name; the last, if there are several."""
        found = [node for node in self.tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        return found[-1] if found else None

    def needed_by(self, roots: Iterable[str], but: Iterable[str] = ()) -> list[ast.stmt]:
        """The statements that define these names, and the names in them, and so on. but: names that are left out."""
        names, needed = {*roots}, [False] * len(self.tree.body)
        changed = True
        while changed:
            changed = False
            for k, statement in enumerate(self.tree.body):
                if not needed[k] and defined_by(statement) & names - {*but}:
                    needed[k] = changed = True
                    names |= mentioned_in(statement)
        return [statement for statement, keep in zip(self.tree.body, needed, strict=True) if keep]

    def as_written(self, statement: ast.stmt) -> str:
        """The lines of a statement, and those of the comments directly above it."""
        lines = self.text.splitlines()
        decorators = statement.decorator_list if isinstance(statement, (ast.FunctionDef, ast.ClassDef)) else []
        first = min([statement.lineno, *(node.lineno for node in decorators)]) - 1
        while first and lines[first - 1].startswith("#"):
            first -= 1
        return "\n".join(lines[first : statement.end_lineno])

    def steps(self, function: ast.FunctionDef) -> str | None:
        """The lines of a function between its docstring and the `return` at its end; None where it returns elsewhere.

        >>> code = Statements.of("def f(x):\\n    # doubled\\n    y = 2 * x\\n    return y")
        >>> print(code.steps(code.function("f")))
        # doubled
        y = 2 * x
        """
        *_, last = function.body
        returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
        if returns != [last]:
            return None
        described = ast.get_docstring(function) is not None
        first = (function.body[0].end_lineno or 0) if described else _end_of_head(function, self.text)
        return textwrap.dedent("\n".join(self.text.splitlines()[first : last.lineno - 1])).strip("\n")


def _end_of_head(function: ast.FunctionDef, text: str) -> int:
    """How many lines of the text end with the one of `def`, or of its last argument."""
    lines = text.splitlines()
    line = max([function.lineno, *(a.end_lineno or 0 for a in ast.walk(function.args) if isinstance(a, ast.arg))])
    while line < function.body[0].lineno - 1 and not lines[line - 1].split("#")[0].rstrip().endswith(":"):
        line += 1
    return line


def defined_by(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a meaning to."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def mentioned_in(statement: ast.AST) -> set[str]:
    """The names that stand in a statement."""
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def arguments_of(function: ast.FunctionDef) -> list[str]:
    """What a function calls its arguments."""
    signature = function.args
    return [argument.arg for argument in (*signature.posonlyargs, *signature.args, *signature.kwonlyargs)]


def assigned_in(lines: str) -> list[str]:
    """The names that these lines are sure to have assigned at their end, in order."""
    found = (statement for statement in ast.parse(lines).body if isinstance(statement, (ast.Assign, ast.AugAssign)))
    stores = (node for statement in found for node in ast.walk(statement) if isinstance(node, ast.Name))
    return list(dict.fromkeys(node.id for node in stores if isinstance(node.ctx, ast.Store)))


def docstring(text: str) -> str:
    """A text as the docstring of a file."""
    quotes = '"""'
    if quotes in text or text.endswith("\\"):
        return repr(text)
    return f"{'r' if chr(92) in text else ''}{quotes}{text}\n{quotes}"
