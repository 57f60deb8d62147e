"""Numbers as text: ranges, and histograms of one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import Array

BARS = " ▁▂▃▄▅▆▇█"
ASCII_BARS = " .:-=+*#@"  # for terminals that know no more


def histogram(values: Array, bins: int = 12, bars: str = BARS) -> str:
    """The distribution of the values as one line of bars between smallest and largest; '' if none is finite.

    >>> histogram(np.array([0.0, 1.0, 1.0]), bins=2)
    '▄█'
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ""
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return bars[-1]
    counts, _ = np.histogram(finite.astype(np.float64), bins=bins, range=(low, high))
    heights = np.ceil(counts / counts.max() * (len(bars) - 1)).astype(int)
    return "".join(bars[height] for height in heights)


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
