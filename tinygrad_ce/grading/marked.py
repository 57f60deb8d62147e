"""A hand-in, and what came of grading it: pages and results files are made of nothing else."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinygrad_ce.core import Array
from tinygrad_ce.exercises import Verdict
from tinygrad_ce.grading.grader import Grade


@dataclass(frozen=True)
class HandIn:
    """A file, and whose it is.

    student: as the teacher's list has it; two hand-ins of a class never have the same. file: where it lies.
    """

    student: str
    file: Path

    def source(self) -> str:
        """The code as text, of a notebook its cells of code; "" where the file cannot be read.

        >>> HandIn("Ada", Path("missing.py")).source()
        ''
        """
        try:
            text = self.file.read_text(encoding="utf-8-sig", errors="replace")
        except OSError:
            return ""
        return _cells(text) if self.file.suffix == ".ipynb" else text


@dataclass(frozen=True, eq=False)
class Evidence:
    """The numbers that show a mistake in one gradient.

    case: what the arguments are, in words, as in "a batch of one row". arguments: of the student's function, by name.
    yours: the gradient as the student's function computes it, right: as it is.
    """

    case: str
    arguments: Mapping[str, Array]
    yours: Array
    right: Array


@dataclass(frozen=True, eq=False)
class Marked:
    """What came of one hand-in.

    points: by what is asked for, what it counts. grade: None where there is none; then problem says why, in one
    sentence for the student. remark: for the teacher, such as the traceback's last line. printed: what the file
    printed. seconds: how long it ran. evidence: by gradient, the numbers of those that are wrong, where there are some.

    >>> absent = Marked(HandIn("Ada", Path("ada.py")), {"d_W": 2}, problem="The file is empty.")
    >>> absent.score, absent.possible
    (0.0, 2.0)
    """

    hand_in: HandIn
    points: Mapping[str, float]
    grade: Grade | None = None
    problem: str = ""
    remark: str = ""
    printed: str = ""
    seconds: float = 0.0
    evidence: Mapping[str, Evidence] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The points that were reached; 0 where there is no grade."""
        return 0.0 if self.grade is None else float(self.grade.score)

    @property
    def possible(self) -> float:
        """The points that could be reached."""
        return float(math.fsum(self.points.values()))

    @property
    def verdicts(self) -> dict[str, Verdict | None]:
        """What is said of each value that is asked for, in order; None where nothing is, as without a grade."""
        found = {} if self.grade is None else self.grade.verdicts
        return {name: found.get(name) for name in self.points}

    def reached(self, name: str) -> float:
        """The points for one of the values that are asked for."""
        return 0.0 if self.verdicts[name] is None or self.grade is None else float(self.grade.reached(name))


def _cells(text: str) -> str:
    """The cells of code of a notebook, one after the other; "" if it is no notebook."""
    try:
        cells = json.loads(text)["cells"]
        codes = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, TypeError, KeyError):
        return ""
    return "\n\n".join(code if isinstance(code, str) else "".join(map(str, code)) for code in codes)


def line_of(name: str, source: str) -> int | None:
    """The number of the last line that assigns to a name, counted from 1; None if there is none.

    >>> line_of("d_W", "d_z = p\\nd_W = x.T @ d_z")
    2
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    found = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
    ]
    return max(found, default=None)
