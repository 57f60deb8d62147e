"""The printed step as the page shows it: lines by phase, true for any number of rows, and what stands above."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.ir import Function
from tinygrad_ce.program.javascript_sizes import NUMBER, Sizes, formula
from tinygrad_ce.program.javascript_text import PROBES
from tinygrad_ce.program.numpy_text import as_numpy
from tinygrad_ce.program.program import Program

STEP = "\ndef step("
PHASES = ("forward", "backward", "update")
Line = dict[str, Any]


def lines_of(
    program: Program, constants: dict[str, str], others: Sequence[tuple[Sizes, Function]] = ()
) -> tuple[list[Line], str]:
    """The lines of a traced step, `{text, phase, name}` each, and the functions that are printed above it.

    name: the array that a line computes; where it only gives another name to one, that one. constants: by the names of
    fixed arrays, what stands for them in the text. others: the step traced with other sizes; a number that depends on
    them becomes a formula: 1 / 74 becomes 1 / (2 * batch).
    """
    texts = [as_numpy(function) for _, function in others] or [str(program.source)]
    above, bodies = texts[0].partition(STEP)[0], [statements(text.partition(STEP)[2]) for text in texts]
    lines: list[Line] = []
    phase = PHASES[0]
    first: dict[str, str] = {}  # by a second name, the name that the array had first
    for text in _for_any_size(bodies, tuple(size for size, _ in others)):
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


def with_other_rows(program: Program) -> list[tuple[Sizes, Function]]:
    """The step traced with other numbers of rows, and with its own; [] where it does something else for them."""
    try:
        others = [program.with_rows(rows) for rows in PROBES]
    except Exception:  # whatever the user's step raises for arrays of other lengths
        return []
    own = [((("batch", program.rows),), program)] if program.rows > 1 else []
    return [*(((("batch", rows),), other) for rows, other in zip(PROBES, others, strict=True)), *own]


def _for_any_size(bodies: Sequence[list[str]], sizes: tuple[Sizes, ...]) -> list[str]:
    """The lines with formulas for their numbers; as they are with the first size, where another one has other lines."""
    try:
        return [with_formulas(same, sizes) for same in zip(*bodies, strict=True)] if sizes else bodies[0]
    except (ValueError, CannotLower):
        return bodies[0]


def with_formulas(texts: Sequence[str], sizes: tuple[Sizes, ...]) -> str:
    """One text, from how it reads with some sizes. CannotLower where it is another one, or a number has no formula."""
    if len({NUMBER.sub("#", text) for text in texts}) > 1:
        raise CannotLower("the line is another one for other sizes")
    columns = zip(*(NUMBER.findall(text) for text in texts), strict=True)
    formulas = (formula(column, sizes).replace("$", "") for column in columns)
    new = iter([f"({text})" if " " in text and text[0] != "(" else text for text in formulas])
    return NUMBER.sub(lambda _: next(new), texts[0])
