"""A text of several lines that is shown as it is printed, also where it is the last line of a notebook's cell."""

from __future__ import annotations

from collections.abc import Sequence


class PrintedText(str):
    r"""A text whose repr is itself, so that an interactive session shows lines, and no "\n".

    caption, notes, header, rows: the same as sentences and a table, for a notebook; without rows it shows the text.
    right: the columns of numbers.

    >>> PrintedText("two\nlines")
    two
    lines
    """

    caption: str = ""
    notes: Sequence[str] = ()
    header: tuple[str, ...] = ()
    right: frozenset[int] = frozenset()
    rows: Sequence[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        return str(self)
