"""The parts of a report, and a class that shows itself: as text where it is printed, as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias


class Words(str):
    """A cell of a table that is set in the page's own letters; all others are numbers, names and formulas."""


class Strong(Words):
    """One that stands out."""


class Name(Words):
    """What somebody is called: in whichever direction it is read, what stands around it keeps its place."""


class Term(str):
    """A name or an expression of a program, in the letters of code; in a table all that is no `Words` has them."""


class Link(Name):
    """A name that leads to another page; a terminal shows the name alone."""

    def __new__(cls, text: str, address: str) -> Link:
        link = super().__new__(cls, text)
        link.address = address
        return link

    address: str


SIGNS = {"right": "✓", "wrong": "✗", "follows": "↳", "missing": "–"}


class Mark(Words):
    """A verdict in a word or a few, its sign before it, so that nobody needs to see colours. kind: one of `SIGNS`.

    >>> Mark("wrong", "sign")
    '✗ sign'
    """

    def __new__(cls, kind: str, word: str) -> Mark:
        mark = super().__new__(cls, f"{SIGNS[kind]} {word}".rstrip())
        mark.kind, mark.word = kind, word
        return mark

    kind: str
    word: str


class WrongNumber(str):
    """A number that is not right; wherever it is shown, a sign stands behind it."""


class Phrase(Words):
    """Words with `Strong`, `Term`, `Link` or `Mark` between them; in a cell, a new line begins at each line break.

    >>> Phrase("Begin with ", Term("d_z"), ".")
    'Begin with d_z.'
    """

    def __new__(cls, *pieces: str) -> Phrase:
        phrase = super().__new__(cls, "".join(pieces))
        phrase.pieces = pieces
        return phrase

    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Heading:
    """The title of what follows."""

    text: str


@dataclass(frozen=True)
class Sentence:
    """One or a few sentences.

    indent: columns of a terminal by which lines after the first stand further right. kind: on a page, "soft" stands
    back behind the others, as a legend does, and "next" says what to do next.
    """

    text: str
    indent: int = 0
    kind: str = ""


@dataclass(frozen=True)
class List:
    """Sentences below each other, each with a dot before it."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table of cells: numbers, names and formulas as texts, all others as `Words`.

    header: the titles of the columns; without one each row is a title and what belongs to it. right: the columns of
    numbers, which stand on the right. whole: the columns that are broken into lines only where a terminal has no room.
    label: what it shows, for those who cannot see it. caption: a sentence above it. titled: whether the first cell of
    each row is its title with a header, too. footer: a last row that sums the others up. sortable: the columns that a
    click on a page sorts.
    """

    rows: Sequence[Sequence[str]]
    header: Sequence[str] = ()
    right: frozenset[int] = frozenset()
    whole: frozenset[int] = frozenset()
    label: str = "a table"
    caption: str = ""
    titled: bool = False
    footer: Sequence[str] = ()
    sortable: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Code:
    """Lines that are shown as they are: a program, a summary."""

    text: str


class Formula(Code):
    """An expression on a line of its own."""


@dataclass(frozen=True)
class Line:
    """A line of a `Listing`. number: 0 for none. mark: "wrong", "follows" or none. remark: what is said of it."""

    text: str
    number: int = 0
    mark: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Listing:
    """Lines of a program, with their numbers and remarks."""

    lines: Sequence[Line]


@dataclass(frozen=True)
class Picture:
    """A picture, which is drawn when HTML is asked for; a terminal says what it shows.

    content: the bytes of a PNG or SVG, or what gives them; where that raises ImportError or ValueError, its words stand
    there instead. label: what can be seen on it. kind: "png" or "svg+xml". least: the pixels below which its width does
    not shrink. width: in pixels; 0: as wide as it is. text: the same in letters, for a terminal.
    """

    content: bytes | Callable[[], bytes]
    label: str
    kind: str = "png"
    least: int = 0
    width: int = 0
    text: str = ""


@dataclass(frozen=True)
class SideBySide:
    """Parts beside each other, where there is room for them; a terminal shows them below each other."""

    parts: Sequence[Part]


@dataclass(frozen=True)
class Section:
    """Parts under a title of their own."""

    title: str
    parts: Sequence[Part]


Part: TypeAlias = "Heading | Sentence | List | Table | Formula | Code | Listing | Picture | SideBySide | Section"


class Report:
    """What shows itself; subclasses give its `parts`, as a property or once they are found."""

    if TYPE_CHECKING:

        @property
        def parts(self) -> Sequence[Part]: ...

    def __str__(self) -> str:
        from tinygrad_ce.report.text import as_text, for_terminal, terminal_width

        return for_terminal(as_text(self.parts, terminal_width()))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from tinygrad_ce.report.html import as_html

        return as_html(self.parts)


class PrintedText(str):
    r"""Lines that are shown as they are printed, also where they are the last value of a notebook's cell.

    parts: the same for a notebook; without them it shows the lines.

    >>> PrintedText("two\nlines")
    two
    lines
    """

    parts: Sequence[Part] = ()

    @classmethod
    def of(cls, parts: Sequence[Part], width: int) -> PrintedText:
        """The parts in lines of at most so many columns."""
        from tinygrad_ce.report.text import as_text

        text = cls(as_text(parts, width))
        text.parts = parts
        return text

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from tinygrad_ce.report.html import as_html

        return as_html(self.parts or [Code(self)])
