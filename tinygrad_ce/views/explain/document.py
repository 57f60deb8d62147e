"""What a view tells, as headings, sentences and tables: plain text for a terminal, HTML for a notebook."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any, TypeAlias

from tinygrad_ce.views import notebook
from tinygrad_ce.views.text import printed

WIDEST = 100  # columns of plain text
NARROWEST = 60


@dataclass(frozen=True)
class Heading:
    """The title of what follows."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A few sentences."""

    text: str


@dataclass(frozen=True)
class Rows:
    """A table. header: the titles of the columns, or () for pairs of a title and what belongs to it.

    right: the columns of numbers, which stand on the right. whole: the columns that are never broken into lines.
    """

    rows: list[tuple[str, ...]]
    header: tuple[str, ...] = ()
    right: frozenset[int] = field(default_factory=frozenset)
    whole: frozenset[int] = field(default_factory=frozenset)


Part: TypeAlias = Heading | Paragraph | Rows


class Told:
    """A result that shows itself: as text where it is printed, as HTML in a notebook."""

    parts: Sequence[Part] = ()

    def __str__(self) -> str:
        width = shutil.get_terminal_size((WIDEST, 24)).columns
        return printable(as_text(self.parts, min(WIDEST, max(NARROWEST, width))), getattr(sys.stdout, "encoding", None))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return as_html(self.parts)


def as_text(parts: Sequence[Part], width: int) -> str:
    """The parts below each other, in lines of at most `width` columns."""
    blocks = []
    for part in parts:
        if isinstance(part, Rows):
            blocks.append(printed(_table(part), width))
        else:
            blocks.append(("\n" if blocks and isinstance(part, Heading) else "") + fill(part.text, width))
    return "\n".join(blocks)


def _table(part: Rows) -> Any:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    line = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    table = Table(box=line if part.header else None, show_header=bool(part.header), show_edge=False, pad_edge=False)
    columns = len(part.header) or len(part.rows[0])
    for n in range(columns):
        title = Text(part.header[n]) if part.header else ""
        whole = n in part.whole or (not part.header and n == 0)
        table.add_column(title, justify="right" if n in part.right else "left", no_wrap=whole, overflow="fold")
    for row in part.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table if part.header else Padding(table, (0, 0, 0, 2))


def printable(text: str, encoding: str | None) -> str:
    """The text in signs that an output of this encoding has.

    >>> printable("1 + … + 2", "ascii")
    '1 + ... + 2'
    """
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        for sign, plain in (("…", "..."),):
            text = text.replace(sign, plain)
        text = text.encode("ascii", "backslashreplace").decode()
    return text


def as_html(parts: Sequence[Part]) -> str:
    """The parts as HTML without colours of its own: it is read on white and on black."""
    return notebook.block(*map(_html, parts))


def _html(part: Part) -> str:
    if isinstance(part, Heading):
        return notebook.heading(part.text)
    if isinstance(part, Paragraph):
        return notebook.paragraph(part.text)
    return notebook.table(part.rows, part.header, part.right, part.whole)
