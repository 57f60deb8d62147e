"""The parts of a report, and a class that shows itself: as text where it is printed, as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


class Words(str):
    """A cell of a table that is set in the page's own letters; all others are numbers, names and formulas."""


class Strong(Words):
    """One that stands out."""


@dataclass(frozen=True)
class Heading:
    """The title of what follows."""

    text: str


@dataclass(frozen=True)
class Sentence:
    """One or a few sentences; indent: columns of a terminal by which lines after the first stand further right."""

    text: str
    indent: int = 0


@dataclass(frozen=True)
class Table:
    """A table of cells, each a text, `Words` or `Strong`.

    header: the titles of the columns; without one each row is a title and what belongs to it. right: the columns of
    numbers, which stand on the right. whole: the columns that are never broken into lines. label: what it shows, for
    those who cannot see it.
    """

    rows: Sequence[Sequence[str]]
    header: Sequence[str] = ()
    right: frozenset[int] = field(default_factory=frozenset)
    whole: frozenset[int] = field(default_factory=frozenset)
    label: str = "a table"


@dataclass(frozen=True)
class Formula:
    """An expression on a line of its own."""

    text: str


@dataclass(frozen=True)
class Code:
    """Lines that are shown as they are: a program, a summary. label: what they are, for those who cannot see them."""

    text: str
    label: str = "a program"


@dataclass(frozen=True)
class Picture:
    """A picture, which is drawn when HTML is asked for; a terminal says what it shows.

    content: the bytes of a PNG or SVG, or what gives them; where that raises ImportError or ValueError, its words stand
    there instead. label: what can be seen on it. kind: "png" or "svg+xml". least: the pixels below which its width does
    not shrink. width: in pixels; 0: as wide as it is. text: what a terminal shows in its place, if not the label.
    """

    content: bytes | Callable[[], bytes]
    label: str
    kind: str = "png"
    least: int = 0
    width: int = 0
    text: str = ""


Part: TypeAlias = Heading | Sentence | Table | Formula | Code | Picture


class Report:
    """What shows itself; subclasses give its `parts`."""

    parts: Sequence[Part] = ()

    def __str__(self) -> str:
        from tinygrad_ce.report.text import as_text, for_terminal, terminal_width

        return for_terminal(as_text(self.parts, terminal_width()))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from tinygrad_ce.report.html import as_html

        return as_html(self.parts)
