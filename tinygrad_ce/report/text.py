"""The parts of a report as plain text, for a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from io import StringIO
from textwrap import fill
from typing import Any

from tinygrad_ce.report.histograms import ASCII_BARS, BARS
from tinygrad_ce.report.parts import Code, Formula, Heading, Part, Picture, Table

WIDEST, NARROWEST = 100, 60  # columns


def terminal_width() -> int:
    """The columns of the terminal, within bounds: what is wider is hard to read."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def as_text(parts: Sequence[Part], width: int = WIDEST) -> str:
    """The parts below each other, in lines of at most `width` columns; an empty line before each further heading."""
    blocks: list[str] = []
    for part in parts:
        start = "\n" if blocks and isinstance(part, Heading) else ""
        blocks.append(start + _text_of(part, width))
    return "\n".join(blocks)


def _text_of(part: Part, width: int) -> str:
    if isinstance(part, Table):
        return printed(_table(part), width)
    if isinstance(part, Code):
        return part.text
    if isinstance(part, Formula):
        return f"  {part.text}"
    if isinstance(part, Picture):
        return part.text or f"(a picture: {part.label})"
    rest = " " * getattr(part, "indent", 0)
    return fill(part.text, width, subsequent_indent=rest, break_long_words=True)


def _table(part: Table) -> Any:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    line = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    table = RichTable(box=line if part.header else None, show_header=bool(part.header), show_edge=False, pad_edge=False)
    for n in range(len(part.header) or len(part.rows[0])):
        title = Text(part.header[n]) if part.header else ""
        whole = n in part.whole or (not part.header and n == 0)
        table.add_column(title, justify="right" if n in part.right else "left", no_wrap=whole, overflow="fold")
    for row in part.rows:
        table.add_row(*(Text(cell) for cell in row))
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
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        text = text.translate(str.maketrans(BARS, ASCII_BARS)).replace("…", "...")
        text = text.encode("ascii", "backslashreplace").decode()
    return text
