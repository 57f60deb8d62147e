"""The teacher's version: the solution, and a rubric: what counts how much, and what usual mistakes are called."""

from __future__ import annotations

import ast

from tinygrad_ce.assignments.assignment import Assignment
from tinygrad_ce.assignments.notebooks import Cell, grouped

RUBRIC = "# ---- Rubric"  # the line at which it begins; it is not read back

MISTAKES = {
    "sign": "the sign is wrong",
    "mean": "the 1/N of the mean is missing, or is there although the loss is a sum",
    "transpose": "a matrix is not transposed, or the wrong one is",
    "factor": "all numbers are off by one factor",
    "missing factor": "a factor of the rule is missing",
    "missing term": "a term of the rule is missing",
    "missing share": "a value is used several times, and not all of its uses are added",
    "no derivative": "the derivative of the function is missing: upstream passes through as it is",
    "no upstream": "the local derivative is there, and not what comes from above",
    "wrong upstream": "the rule is right, and starts from another gradient",
    "wrong value": "the rule is right, and is computed at another value",
    "wrong axis": "the sum or mean goes over another axis",
    "not summed": "what was spread by broadcasting is not summed",
    "averaged": "a mean where the rule has a sum",
    "target": "the targets are not subtracted, or are subtracted in another form",
    "mask": "the condition of the rule (x > 0) is missing or turned round",
    "only the diagonal": "the diagonal of softmax's derivative without the rest",
    "shape": "the numbers are right, and the shape is not",
    "upstream": "right, given an earlier wrong value of the student's own: a mistake costs once",
    "zeros": "all numbers are 0",
    "not finite": "there are NaN or infinite numbers",
    "nearly": "nearly right: a number was rounded on the way, or an eps is another one",
    "unknown": "wrong, and none of the usual mistakes",
}  # by the keys of verdicts


def script(assignment: Assignment, password: str | None = None) -> str:
    """The text of the teacher's file, the rubric in comments below."""
    _refuse(password)
    rubric = "\n".join(f"# {line}".rstrip() for line in rubric_of(assignment))
    return f"{assignment.source.rstrip()}\n\n\n{RUBRIC}\n#\n{rubric}\n"


def cells(assignment: Assignment, password: str | None = None) -> list[Cell]:
    """The cells of the teacher's notebook."""
    _refuse(password)
    code = assignment.statements
    statements = code.tree.body[ast.get_docstring(code.tree) is not None :]
    return [
        Cell("markdown", f"# {assignment.title}\n\n{assignment.text}".strip()),
        *grouped(code, statements),
        Cell("markdown", "\n".join(["## Rubric", "", *rubric_of(assignment)])),
    ]


def rubric_of(assignment: Assignment) -> list[str]:
    """The lines of a rubric, in Markdown: points, shapes, what hints cost, and what usual mistakes are called."""
    rows = [
        f"| `{name}` | {points:g} | {assignment.shapes[name]} | {points * assignment.hint_cost:g} |"
        for name, points in assignment.points.items()
    ]
    lines = ["| value | points | shape | each hint costs |", "|---|---|---|---|", *rows]
    lines += ["", f"Points in all: {sum(assignment.points.values()):g}. A value that is missing scores 0."]
    if assignment.forward is None:
        return lines
    mistakes = [f"| {key} | {words} |" for key, words in MISTAKES.items()]
    return [*lines, "", "| mistake | what it is |", "|---|---|", *mistakes]


def _refuse(password: str | None) -> None:
    if password is not None:
        raise ValueError("the teacher's version shows the solution: password= is for the file that students get")
