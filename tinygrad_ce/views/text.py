"""Tables in a terminal."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.report.histograms import BARS, histogram


def gradient_table(named: Any, title: str, bars: str = BARS) -> Any:
    """A rich table with a row for each named parameter's gradient: shape, norm, min, max, histogram."""
    from rich.table import Table

    table = Table(title=title)
    table.add_column("parameter")
    table.add_column("shape")
    for column in ("norm", "min", "max"):
        table.add_column(column, justify="right")
    table.add_column("histogram, min to max")
    for name, parameter in named:
        grad = parameter.grad
        if grad is None:
            table.add_row(name, str(parameter.shape), "none", "", "", "")
            continue
        norm = np.linalg.norm(grad.ravel())
        low, high = (f"{grad.min():.3g}", f"{grad.max():.3g}") if grad.size else ("", "")
        table.add_row(name, str(parameter.shape), f"{norm:.3g}", low, high, histogram(grad, bars=bars))
    return table


def plain_table(first: str) -> Any:
    """A rich table, to be printed with nothing but ASCII around its cells; first: the header of its first column."""
    from rich import box
    from rich.table import Table

    line = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    table = Table(box=line, show_edge=False, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table
