"""The printed step as the page shows it: lines by phase, true for any number of rows, and what stands above."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.javascript_text import NUMBER, PROBES, formula
from tinygrad_ce.program.numpy_text import as_numpy
from tinygrad_ce.program.program import Program

STEP = "\ndef step("
PHASES = ("forward", "backward", "update")
Line = dict[str, Any]


def lines_of(program: Program, constants: dict[str, str]) -> tuple[list[Line], str]:
    """The lines of a traced step, `{text, phase, name}` each, and the functions that are printed above it.

    name: the array that a line computes; where it only gives another name to one, that one. constants: by the names of
    fixed arrays, what stands for them in the text.
    """
    above, _, body = str(program.source).partition(STEP)
    lines: list[Line] = []
    phase = PHASES[0]
    first: dict[str, str] = {}  # by a second name, the name that the array had first
    for text in _for_any_rows(statements(body), program):
        if text.removeprefix("# ") in PHASES:
            phase = text.removeprefix("# ")
            continue
        for name, written in constants.items():
            text = re.sub(rf"\b{name}\b", written, text)
        left, _, value = text.partition(" = ")
        name = re.split(r"\W", left, maxsplit=1)[0]
        if value.isidentifier():
            first[name] = first.get(value, value)
        lines.append({"text": text, "phase": phase, "name": first.get(name, name)})
    return lines, above.replace("import numpy as np", "").strip()


def statements(body: str) -> list[str]:
    """The statements of a printed step without their comments, and the comments that begin a phase."""
    found = []
    for line in body.splitlines()[1:]:
        text = line.strip().split("  # ")[0].rstrip()
        if text and not text.startswith("return") and (text[0] != "#" or text[2:] in PHASES):
            found.append(text)
    return found


def _for_any_rows(lines: list[str], program: Program) -> list[str]:
    """Lines in which a number that depends on the rows is a formula of `batch`: 1 / 74 becomes 1 / (2 * batch).

    As they are, where the step does something else for other rows; the page has no other number of rows then.
    """
    try:
        others = [statements(as_numpy(program.with_rows(rows)).partition(STEP)[2]) for rows in PROBES]
        return [_for_any_size(line, same, program.rows) for line, *same in zip(lines, *others, strict=True)]
    except Exception:  # whatever the user's step raises for arrays of other lengths
        return lines


def _for_any_size(line: str, others: Sequence[str], rows: int) -> str:
    """One line, from how it reads with its own number of rows and with those of PROBES. CannotLower without formula."""
    if {NUMBER.sub("#", text) for text in others} != {NUMBER.sub("#", line)}:
        raise CannotLower("the line is another one for other numbers of rows")
    texts = dict(zip(PROBES, others, strict=True)) | ({rows: line} if rows > 1 else {})
    columns = zip(*(NUMBER.findall(text) for text in texts.values()), strict=True)
    formulas = (formula(column, [*texts]) for column in columns)
    new = iter([f"({text})" if " " in text and text[0] != "(" else text for text in formulas])
    return NUMBER.sub(lambda _: next(new), line)
