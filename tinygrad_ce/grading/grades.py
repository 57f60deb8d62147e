"""A grade: what is said of each gradient of a student's function, the numbers that show it, and the points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises import Verdict
from tinygrad_ce.report.parts import Part, Report, Sentence, Table, Words
from tinygrad_ce.report.words import format_number

Points = Mapping[str, float]
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


@dataclass(frozen=True, eq=False, repr=False)
class Grade(Report):
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

    @property
    def parts(self) -> list[Part]:
        """A row for each gradient; of two with the same mistake, the second names the first."""
        said: dict[str, str] = {}  # by what was said already, of what
        rows = []
        for name, verdict in self.verdicts.items():
            same = said.get(verdict.message) if not verdict.right else None
            words = f"wrong ({verdict.mistake}): as for {same}" if same else verdict.in_words
            rows.append((name, f"{self.reached(name):g}/{self.points[name]:g}", Words(words)))
            said.setdefault(verdict.message, name)
        remarks = (Sentence(f"note: {remark}", indent=6) for remark in self.remarks)
        return [Table(rows), *remarks, Sentence(self.summary)]
