"""Numbers as text: ranges, histograms of one line, and tables; and texts as they are shown: cut, and escaped."""

from __future__ import annotations

import re
import sys
from io import StringIO
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import visible

BARS = " ▁▂▃▄▅▆▇█"
ASCII_BARS = " .:-=+*#@"  # for terminals that know no more
_NOT_IN_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def histogram(values: Array, bins: int = 12, bars: str = BARS) -> str:
    """The distribution of the values as one line of bars between smallest and largest; '' if none is finite.

    >>> histogram(np.array([0.0, 1.0, 1.0]), bins=2)
    '▄█'
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return ""
    if finite.min() == finite.max():
        return bars[-1]
    finite /= np.abs(finite).max()  # so that neither 1e308 nor 1e-320 is too much for what follows
    low, high = finite.min(), finite.max()
    counts, _ = np.histogram((finite - low) / (high - low), bins=bins, range=(0, 1))
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


def short(name: Any, longest: int) -> str:
    """A name with its middle left out where it is longer than that: long names often differ at their ends.

    >>> short("petal length (cm)", 9)
    'peta…(cm)'
    """
    text = visible(str(name))
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def plain_table(first: str) -> Any:
    """A rich table, to be printed with nothing but ASCII around its cells; first: the header of its first column."""
    from rich import box
    from rich.table import Table

    line = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    table = Table(box=line, show_edge=False, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def printed(table: Any, width: int) -> str:
    """A rich table as lines of plain text, at most so wide."""
    from rich.console import Console

    file = StringIO()
    Console(file=file, width=width, color_system=None, force_jupyter=False).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def for_terminal(text: str) -> str:
    """The text in signs that the terminal knows: other bars, and ? for other letters."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    if encoding.lower().startswith("utf"):
        return text
    return text.translate(str.maketrans(BARS, ASCII_BARS)).encode(encoding, "replace").decode(encoding)


def cut(text: str, longest: int) -> str:
    """A text of at most so many letters.

    >>> cut("np.dot(x, W0)", 8)
    'np.dot(…'
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"


def escaped(text: str) -> str:
    """A text of the user's as it stands in SVG and HTML; what XML does not allow at all is shown as a question mark.

    >>> escaped("a<b\\0")
    'a&lt;b\ufffd'
    """
    from html import escape  # not before something is shown: its table of entities takes a millisecond

    return escape(_NOT_IN_XML.sub("\ufffd", text))
