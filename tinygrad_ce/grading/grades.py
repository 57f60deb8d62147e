"""A grade: what is said of each gradient of a student's function, the numbers that show it, and the points."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises import Verdict
from tinygrad_ce.report.words import format_number
from tinygrad_ce.views import notebook

Points = Mapping[str, float]
WIDTH = 100  # columns of a grade
UNNAMED = "unknown", "nearly"  # what stands for a mistake that has no name
MOST_PRINTED = 12  # numbers of an array that is printed whole


@dataclass(frozen=True, eq=False)
class Evidence:
    """The numbers that show a mistake in one gradient.

    case: what is special about the arguments, in words, as in "one row". arguments: of the student's function, by name.
    yours: the gradient as the student's function computes it, right: as it is.
    """

    case: str
    arguments: Mapping[str, Array]
    yours: Array
    right: Array

    def __str__(self) -> str:
        arrays = {**self.arguments, "yours": self.yours, "right": self.right}
        if max(np.size(array) for array in arrays.values()) > MOST_PRINTED:
            return ""
        return ", ".join(f"{name} = {_printed(array)}" for name, array in arrays.items())


def _printed(array: Array) -> str:
    """A small array in one line, as one would type it."""
    if np.ndim(array):
        return f"[{', '.join(map(_printed, array))}]"
    return format_number(np.asarray(array).item())


@dataclass(frozen=True, eq=False)
class Grade:
    """What is said of each gradient that a student's function computes, and its points.

    verdicts: by what is asked for. points: what each counts. evidence: by name, the numbers that show a mistake.
    remarks: what is to be said besides. printed: what the function has printed.

    A gradient that is right for wrong ones of the student's own counts whole: a mistake costs once.
    """

    verdicts: Mapping[str, Verdict]
    points: Points
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    printed: str = ""

    @property
    def score(self) -> float:
        """The points that were reached."""
        return sum(self.reached(name) for name in self.points)

    @property
    def possible(self) -> float:
        """The points that could be reached."""
        return sum(self.points.values())

    def reached(self, name: str) -> float:
        """The points for one gradient: all where it is right, or right for wrong ones of the student."""
        verdict = self.verdicts[name]
        return self.points[name] if verdict.right or verdict.follows else 0

    @property
    def summary(self) -> str:
        """The score in words."""
        return f"{self.score:g} of {self.possible:g} points"

    def __str__(self) -> str:
        names = max(map(len, self.points))
        scores = {name: f"{self.reached(name):g}/{worth:g}" for name, worth in self.points.items()}
        indent = names + max(map(len, scores.values())) + 4
        said: dict[str, str] = {}  # by what was said already, of what
        lines = []
        for name, verdict in self.verdicts.items():
            same = said.get(verdict.message) if not verdict.right else None
            words = f"wrong ({verdict.mistake}): as for {same}" if same else _shown(verdict)
            said.setdefault(verdict.message, name)
            lines.append(_filled(f"{name:<{names}}  {scores[name]:<{indent - names - 2}}{words}", indent))
        return "\n".join([*lines, *(_filled(f"note: {remark}", 6) for remark in self.remarks), self.summary])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [
            (name, f"{self.reached(name):g}/{self.points[name]:g}", notebook.Sentence(_shown(verdict)))
            for name, verdict in self.verdicts.items()
        ]
        table = notebook.table(rows, ("gradient", "points", "verdict"), right={1})
        return notebook.block(notebook.heading(self.summary), table, *map(notebook.paragraph, self.remarks))


def _shown(verdict: Verdict) -> str:
    return verdict.message if verdict.right else f"wrong ({verdict.mistake}): {verdict.message}"


def _filled(line: str, indent: int) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * indent, break_long_words=False)
