"""A text of several lines that is shown as it is printed, also where it is the last line of a notebook's cell."""

from __future__ import annotations

from collections.abc import Sequence


class PrintedText(str):
    r"""A text whose repr is itself, so that an interactive session shows lines, and no "\n".

    caption, header, rows: the same as a table, for a notebook; without rows it shows the text.

    >>> PrintedText("two\nlines")
    two
    lines
    """

    caption: str = ""
    header: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        return str(self)
