"""The parts of a report as plain text, for a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from io import StringIO
from textwrap import fill
from typing import Any
from unicodedata import east_asian_width

from tinygrad_ce.report.histograms import ASCII_BARS, BARS
from tinygrad_ce.report.parts import (
    SIGNS,
    Code,
    Formula,
    Heading,
    Line,
    List,
    Listing,
    Part,
    Picture,
    Section,
    SideBySide,
    Table,
)
from tinygrad_ce.report.words import visible

WIDEST, NARROWEST = 100, 60  # columns
LEAST = 8  # columns for a cell that is broken into lines
_MARK = "\0"  # stands in no text that is visible


def terminal_width() -> int:
    """The columns of the terminal, within bounds: what is wider is hard to read."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def as_text(parts: Sequence[Part], width: int = WIDEST) -> str:
    """The parts below each other, in lines of at most `width` columns; code and formulas are never broken.

    An empty line stands before each further heading, and between two tables.
    """
    shown = ""
    for before, part in zip((None, *parts), parts, strict=False):
        apart = isinstance(part, (Heading, Section)) or (isinstance(before, Table) and isinstance(part, Table))
        shown += "" if before is None else "\n\n" if apart else "\n"
        shown += _text_of(part, width)
    return shown


def _text_of(part: Part, width: int) -> str:
    if isinstance(part, Table):
        caption = f"{_wrapped(part.caption, width)}\n" if part.caption else ""
        return caption + printed(_table(part, width), width)
    if isinstance(part, Code):
        return visible(part.text)
    if isinstance(part, Formula):
        return f"  {visible(part.text)}"
    if isinstance(part, Picture):
        return visible(part.text) or _wrapped(f"(a picture: {part.label})", width)
    if isinstance(part, List):
        return "\n".join(_wrapped(f"- {item}", width, 2) for item in part.items)
    if isinstance(part, Listing):
        return "\n".join(map(_line, part.lines))
    if isinstance(part, SideBySide):
        return as_text(part.parts, width)
    if isinstance(part, Section):
        return as_text([Heading(part.title), *part.parts], width)
    return _wrapped(part.text, width, getattr(part, "indent", 0))


def _wrapped(text: str, width: int, indent: int = 0) -> str:
    """A text in lines; a letter that is two columns wide counts as two, by a mark beside it while lines are broken."""
    text = visible(text)
    if not text.isascii() and any(map(_is_wide, text)):
        text, width = "".join(letter + _MARK * _is_wide(letter) for letter in text), width - 1
    return fill(text, width, subsequent_indent=" " * indent).replace(_MARK, "")


def _is_wide(letter: str) -> bool:
    return east_asian_width(letter) in "WF"


def _line(line: Line) -> str:
    number, sign = (f"{line.number:4}" if line.number else "    "), SIGNS.get(line.mark, " ")
    return visible(f"{sign}{number}  {line.text}{f'  ← {line.remark}' if line.remark else ''}")


def _table(part: Table, width: int) -> Any:
    from rich import box
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    rows = [row for row in (part.header, *part.rows, part.footer) if row]
    columns = max(map(len, rows), default=0)
    whole = part.whole if part.header else part.whole | {0}
    sizes = [max((cell_len(visible(row[n])) for row in rows), default=0) for n in whole]
    if sum(sizes) + 3 * columns + LEAST * (columns - len(whole)) > width:
        whole = frozenset()  # else the other columns would get no room, and not be seen
    line = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    table = RichTable(box=line if part.header else None, show_header=bool(part.header), show_edge=False, pad_edge=False)
    for n in range(columns):
        title = Text(visible(part.header[n])) if part.header else ""
        side: Any = "right" if n in part.right else "left"
        table.add_column(title, justify=side, no_wrap=n in whole, overflow="fold")
    for row in rows[bool(part.header) :]:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table if part.header else Padding(table, (0, 0, 0, 2))


def printed(table: Any, width: int) -> str:
    """What rich shows, as lines of plain text, at most so wide."""
    from rich.console import Console

    file = StringIO()
    Console(file=file, width=width, color_system=None, force_jupyter=False).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def for_terminal(text: str, encoding: str | None = None) -> str:
    """The text in signs that the terminal knows: other bars, three points, and an escape for other letters.

    >>> for_terminal("1 + … + 2 ▁█", "ascii")
    '1 + ... + 2 .@'
    """
    text = text.replace("\u00a0", " ")  # a space of a histogram, which HTML would leave out
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        text = text.translate(str.maketrans(BARS, ASCII_BARS)).replace("…", "...")
        text = text.encode("ascii", "backslashreplace").decode()
    return text
