"""A hand-in, and what came of grading it: pages and results files are made of nothing else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinygrad_ce.exercises import Verdict
from tinygrad_ce.grading.grades import Evidence, Grade
from tinygrad_ce.grading.outcomes import cells_of_code, decoded
from tinygrad_ce.report.parts import Mark, Phrase

LARGEST = 20_000_000  # bytes of a file that is read
LONGEST_LINE = 200  # letters of a student's line that are looked at and shown


@dataclass(frozen=True)
class HandIn:
    """A file, and whose it is.

    student: as the teacher's list has it; two hand-ins of a class never have the same. file: where it lies.
    """

    student: str
    file: Path

    @property
    def is_notebook(self) -> bool:
        """Whether it is a notebook, by its ending, which some systems write in capitals."""
        return self.file.suffix.lower() == ".ipynb"

    def source(self) -> str:
        """The code as text, of a notebook its cells of code; "" for a link, a very large file, and one without text.

        >>> HandIn("Ada", Path("missing.py")).source()
        ''
        """
        try:
            if self.file.is_symlink() or not self.file.is_file():  # a link shows another's file, a pipe never ends
                return ""
            if self.file.stat().st_size > LARGEST:
                return ""
            text, _ = decoded(self.file.read_bytes())
            return "\n\n".join(cells_of_code(text)) if self.is_notebook else text
        except (OSError, ValueError):  # no file, or no notebook
            return ""


@dataclass(frozen=True, eq=False)
class Marked:
    """What came of one hand-in.

    points: by what is asked for, what it counts. grade: None where there is none; then problem says why, in one
    sentence for the student. remark: for the teacher, such as the traceback's last line. printed: what the file
    printed. seconds: how long it ran.

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

    @property
    def evidence(self) -> Mapping[str, Evidence]:
        """The numbers that show the mistakes, by gradient."""
        return {} if self.grade is None else self.grade.evidence

    def reached(self, name: str) -> float:
        """The points for one of the values that are asked for."""
        return 0.0 if self.verdicts[name] is None or self.grade is None else float(self.grade.reached(name))


def for_students(words: str) -> str:
    """Words about a mistake without the lines of the teacher's file, which students do not have.

    >>> for_students("d_z divides by 6, in z = x @ W (line 38 of own.py)")
    'd_z divides by 6, in z = x @ W'
    """
    return re.sub(r" \((line \d+ of [^()]+\.py|in [^()]+\.ipynb)\)", "", words)


def line_of(name: str, source: str) -> int | None:
    """The number of the last line that computes a value, counted from 1; None if there is none.

    It reads no syntax tree: notebooks have magics in them, and some files do not parse. In the notebooks that students
    get, `gradients` calls `compute_d_W`, whose own line is the student's.

    >>> line_of("d_W", "d_z = p\\nd_W = x.T @ d_z\\nprint(d_W)")
    2
    """
    word = rf"\b{re.escape(name)}\b"
    assigned, in_dict = re.compile(rf"[^=(#]*{word}[^=(#]*=(?!=)"), re.compile(rf"[^#]*[\"']{word}[\"']\s*:")
    lines = [*enumerate((line[:LONGEST_LINE] for line in source.splitlines()), start=1)]
    ours = re.compile(rf"\s*{word}\s*=\s*compute_{re.escape(name)}\(")
    defined = re.compile(rf"def compute_{re.escape(name)}\(")
    for pattern in (assigned, defined, in_dict):
        found = [number for number, line in lines if pattern.match(line) and not ours.match(line)]
        if found:
            return found[-1]
    return None


def standing(verdict: Verdict | None) -> Mark:
    """Whether a value is right, wrong, right for an own wrong one, or not there.

    >>> standing(None)
    '– missing'
    """
    if verdict is None or verdict.mistake == "missing":
        return Mark("missing", "missing")
    if verdict.right:
        return Mark("right", "right")
    return Mark("follows", "follows") if verdict.follows else Mark("wrong", verdict.mistake or "wrong")


def joined(pieces: Iterable[str], between: str = ", ") -> Phrase:
    """Names, links or lines in a row, with commas or another text between them.

    >>> joined(["d_W", "d_b"])
    'd_W, d_b'
    """
    return Phrase(*[part for piece in pieces for part in (between, piece)][1:])


def points_text(points: float) -> str:
    """Points without needless zeros.

    >>> points_text(2.0), points_text(1.25)
    ('2', '1.25')
    """
    return f"{points:.10g}"
