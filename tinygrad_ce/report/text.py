"""The parts of a report as plain text, for a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from io import StringIO
from textwrap import fill
from typing import Any
from unicodedata import east_asian_width

from tinygrad_ce.report import parts
from tinygrad_ce.report.parts import SIGNS, Part, Table
from tinygrad_ce.report.words import ASCII_BARS, BARS, visible

WIDEST, NARROWEST = 100, 60  # columns
LEAST = 8  # columns for a cell that is broken into lines
_MARK = "\0"  # stands in no text that is visible


def terminal_width() -> int:
    """The columns of the terminal, within bounds: what is wider is hard to read."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def as_text(shown: Sequence[Part], width: int = WIDEST) -> str:
    """The parts below each other, in lines of at most `width` columns; code and formulas are never broken.

    An empty line stands before each further heading, and between two tables.
    """
    text = ""
    for before, part in zip((None, *shown), shown, strict=False):
        apart = isinstance(part, (parts.Heading, parts.Section)) or {type(before), type(part)} == {Table}
        text += ("" if before is None else "\n\n" if apart else "\n") + _text_of(part, width)
    return text


def _text_of(part: Part, width: int) -> str:
    match part:
        case Table():
            return (f"{_wrapped(part.caption, width)}\n" if part.caption else "") + _table(part, width)
        case parts.Formula(text):
            return f"  {visible(text)}"
        case parts.Code(text):
            return visible(text)
        case parts.Picture(label=label, text=text):
            return visible(text) or _wrapped(f"(a picture: {label})", width)
        case parts.List(items):
            return "\n".join(_wrapped(f"- {item}", width, 2) for item in items)
        case parts.Listing(lines):
            return "\n".join(map(_line, lines))
        case parts.SideBySide(inner):
            return as_text(inner, width)
        case parts.Section(title, inner):
            return as_text([parts.Heading(title), *inner], width)
        case parts.Sentence(text, indent):
            return _wrapped(text, width, indent)
        case parts.Heading(text):
            return _wrapped(text, width)


def _wrapped(text: str, width: int, indent: int = 0) -> str:
    """A text in lines; a letter that is two columns wide counts as two, by a mark beside it while lines are broken."""
    text = visible(text)
    marked = "".join(letter + _MARK * (east_asian_width(letter) in "WF") for letter in text)
    return fill(marked, width - (marked != text), subsequent_indent=" " * indent).replace(_MARK, "")


def _line(line: parts.Line) -> str:
    remark = f"  ← {line.remark}" if line.remark else ""
    return visible(f"{SIGNS.get(line.mark, ' ')}{line.number or '':4}  {line.text}{remark}")


def _table(part: Table, width: int) -> str:
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    rows = [[Text(_cell(text)) for text in row] for row in (part.header, *part.rows, part.footer) if row]
    columns = max(map(len, rows), default=0)
    whole = part.whole if part.header else part.whole | {0}
    sizes = [max((row[n].cell_len for row in rows), default=0) for n in whole]
    if sum(sizes) + 3 * columns + LEAST * (columns - len(whole)) > width:
        whole = frozenset()  # else the other columns would get no room, and not be seen
    titles = rows.pop(0) if part.header else [Text()] * columns
    line = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True) if part.header else None
    table = RichTable(box=line, show_header=bool(part.header), show_edge=False, pad_edge=False)
    for n, title in enumerate(titles):
        side: Any = "right" if n in part.right else "left"
        table.add_column(title, justify=side, no_wrap=n in whole, overflow="fold")
    for row in rows:
        table.add_row(*row)
    indent, file = "" if part.header else "  ", StringIO()
    Console(file=file, width=width - len(indent), color_system=None, force_jupyter=False).print(table)
    return "\n".join((indent + line).rstrip() for line in file.getvalue().rstrip().splitlines())


def _cell(text: str) -> str:
    return visible(f"{text} {SIGNS['wrong']}" if isinstance(text, parts.WrongNumber) else text)


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
