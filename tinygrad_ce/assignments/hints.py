"""Hints that cost, in a student's file: they travel in it, are opened one at a time, and are counted in it."""

from __future__ import annotations

import ast
import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygrad_ce.assignments.assignment import Assignment
from tinygrad_ce.assignments.locking import unseal
from tinygrad_ce.assignments.notebooks import checked_ending, read_notebook, text_of_notebook
from tinygrad_ce.data.checks import closest, shown
from tinygrad_ce.disk import write_whole
from tinygrad_ce.report.parts import PrintedText

TAKEN, TEXTS, SOLUTION = "HINTS", "HINT_TEXTS", "LOCKED_SOLUTION"  # the names of what stands in a student's file
WIDTH = 100  # characters of a line of what is packed


def cost_of_hints(assignment: Assignment, taken: Mapping[str, int]) -> dict[str, float]:
    """The points that hints have cost, by what they were for.

    assignment: whose points they are. taken: how many, by name, as `HINTS` in a student's file says; names that are not
    asked for cost nothing. More than there are cost no more than all of them, and no value costs more than its points.
    Raises ValueError for what is no dict of counts.

    >>> from tinygrad_ce.assignments import ready
    >>> cost_of_hints(ready("softmax_cross_entropy"), {"d_z": 2})
    {'d_z': 0.4}
    """
    costs: dict[str, float] = {}
    for name, count in _counts(taken).items():
        if name in assignment.points and count:
            most = len(assignment.hints.get(name, ()))
            share = min(min(count, most) * assignment.hint_cost, 1)
            costs[name] = round(share * assignment.points[name], 10)
    return costs


def take_hint(path: str | Path, name: str) -> PrintedText:
    """The next hint for a value that a student's file asks for; the file counts it. After the last, the last again.

    path: of the script or notebook, which is read and not run. name: of the value. Raises OSError for a file that
    cannot be read, ValueError for one that was not written by `to_script` or `to_notebook`, and for a name without
    hints.
    """
    file = _StudentFile(path)
    packed = unpacked(file.constant(TEXTS)) if file.has(TEXTS) else {"hints": {}}
    hints, taken = packed["hints"], _counts(file.constant(TAKEN))
    if name not in hints:
        there = f"there are hints for {', '.join(hints)}" if hints else "it has none"
        raise ValueError(f"{file.path.name} has no hint for {shown(name)}:{closest(name, hints)} {there}")
    before = taken.get(name, 0)
    texts, cost = hints[name]["texts"], f"costs {hints[name]['cost']:g} points"
    level = min(before + 1, len(texts))
    if level > before:
        file.replace(TAKEN, {**taken, name: level})
    else:
        cost = "you had it before: it costs nothing again"
    return PrintedText(f"hint {level} of {len(texts)} for {name} ({cost})\n{texts[level - 1]}")


def unlock(path: str | Path, password: str) -> PrintedText:
    """The solution that is locked in a student's file.

    path: of the script or notebook. password: with which `to_script` or `to_notebook` has locked it.
    Raises OSError for a file that cannot be read, ValueError for one without a solution and for a wrong password.
    """
    file = _StudentFile(path)
    if not file.has(SOLUTION):
        raise ValueError(f"{file.path.name} has no solution in it: it was written without password=")
    return PrintedText(unseal(file.constant(SOLUTION), password))


def _counts(taken: Any) -> Mapping[str, int]:
    """How many hints were taken, by name. ValueError for what does not say that."""
    if not isinstance(taken, Mapping):
        raise ValueError(f'{TAKEN} must be a dict of how many hints were taken, as in {TAKEN} = {{"d_W": 1}}')
    for name, count in taken.items():
        if type(count) is not int or count < 0:
            raise ValueError(f"{TAKEN}[{name!r}] is {shown(count)}; it must be how many hints were taken")
    return taken


def packed_hints(assignment: Assignment) -> str:
    """The hints of an assignment and what each costs, packed: nobody should read the next one by accident."""
    hints = {
        name: {"texts": assignment.hints[name], "cost": points * assignment.hint_cost}
        for name, points in assignment.points.items()
        if assignment.hints.get(name)
    }
    return base64.b64encode(zlib.compress(json.dumps({"hints": hints}).encode(), 9)).decode() if hints else ""


def unpacked(text: Any) -> Any:
    """What was packed. ValueError where the text was changed."""
    try:
        return json.loads(zlib.decompress(base64.b64decode(text)))
    except (ValueError, TypeError, zlib.error):
        raise ValueError(f"{TEXTS} was changed: take it from the file as you got it") from None


class _StudentFile:
    """A student's script or notebook as it stands on the disk."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.suffix == ".ipynb":
            self._notebook = read_notebook(self.path)
            self._parts = [cell for cell in self._notebook.cells if cell.cell_type == "code"]
        else:
            self._notebook = None
            self._parts = [_Part(checked_ending(self.path, ".py").read_text(encoding="utf-8"))]

    def has(self, name: str) -> bool:
        """Whether the file gives this name a value that can be read without running it."""
        return self._find(name) is not None

    def constant(self, name: str) -> Any:
        """The value that the file gives to a name. ValueError if it gives none."""
        found = self._find(name)
        if found is None:
            raise ValueError(f"{self.path.name} has no {name}: it is no exercise as students get it")
        return ast.literal_eval(found[1])

    def replace(self, name: str, value: Any) -> None:
        """Write another value into the file; all else in it stays as it is."""
        found = self._find(name)
        assert found is not None
        part, node = found
        lines = part.source.encode().splitlines(keepends=True)
        start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
        end = sum(map(len, lines[: (node.end_lineno or 0) - 1])) + (node.end_col_offset or 0)
        content = part.source.encode()
        part.source = (content[:start] + repr(value).encode() + content[end:]).decode()
        write_whole(self.path, self._text().encode())

    def _text(self) -> str:
        if self._notebook is None:
            text: str = self._parts[0].source
            return text
        return text_of_notebook(self._notebook)

    def _find(self, name: str) -> tuple[Any, ast.expr] | None:
        """The part of the file in which `name = value` stands, and the value."""
        for part in self._parts:
            try:
                body = ast.parse(part.source).body
            except SyntaxError:  # of one cell; a student may well ask for a hint before all is written
                continue
            for node in body:
                if isinstance(node, ast.Assign) and [ast.unparse(x) for x in node.targets] == [name]:
                    try:
                        ast.literal_eval(node.value)
                    except ValueError:
                        continue
                    return part, node.value
        return None


class _Part:
    """The text of a script, as a cell has it."""

    def __init__(self, source: str) -> None:
        self.source = source
