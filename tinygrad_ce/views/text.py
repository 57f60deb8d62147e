"""A table in a terminal, for the view that does not build parts yet."""

from __future__ import annotations

from typing import Any


def plain_table(first: str) -> Any:
    """A rich table, to be printed with nothing but ASCII around its cells; first: the header of its first column."""
    from rich import box
    from rich.table import Table

    line = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    table = Table(box=line, show_edge=False, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table
