"""Numbers, names, lists and distributions in signs: one way to write each, everywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

BARS = " ▁▂▃▄▅▆▇█"
ASCII_BARS = " .:-=+*#@"  # for terminals that know no more

# What is obeyed or left out instead of being shown: control characters, marks that turn the direction, no characters.
_CONTROL = "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"


def format_number(value: Any, digits: int = 4) -> str:
    """A number with so many significant digits; one of Python's integers with all of its own.

    >>> format_number(0.25), format_number(2 / 3), format_number(1e-9), format_number(12345), format_number(True)
    ('0.25', '0.6667', '1e-09', '12345', 'True')
    """
    if isinstance(value, (int, np.bool_)):
        return str(value)
    text = f"{value:.{digits}g}"
    return "0" if text == "-0" else text


def percent(value: float) -> str:
    """A share of 100 with three digits, and 100 only where no more than rounding is missing.

    >>> percent(99.97), percent(100.0), percent(0.4), percent(12.34)
    ('99.9', '100', '0.4', '12.3')
    """
    return format_number(min(value, 99.9) if value < 100 - 1e-6 else value, 3)


def histogram(values: Any, bins: int = 12) -> str:
    """The distribution of the values as one line of bars between smallest and largest; '' if none is finite.

    >>> histogram(np.array([0.0, 1.0, 1.0]), bins=2)
    '▄█'
    >>> histogram(np.ones(3))
    '█'
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return ""
    if finite.min() == finite.max():
        return BARS[-1]
    finite /= np.abs(finite).max()  # so that neither 1e308 nor 1e-320 is too much for what follows
    counts, _ = np.histogram((finite - finite.min()) / np.ptp(finite), bins=bins, range=(0, 1))
    heights = np.ceil(counts / counts.max() * (len(BARS) - 1)).astype(int)
    return "".join(BARS[height] for height in heights)


def range_of(array: Any, digits: int = 3) -> str:
    """The smallest and the largest number, and how many are not finite.

    >>> range_of(np.array([0.5, 3.0, np.inf])), range_of(np.zeros(4))
    ('0.5 … 3, 1 not finite', 'all 0')
    """
    finite = array[np.isfinite(array)]
    if not finite.size:
        return "nothing finite" if array.size else "empty"
    others = f", {array.size - finite.size} not finite" if finite.size < array.size else ""
    low, high = (format_number(end, digits) for end in (finite.min(), finite.max()))
    return (f"{low} … {high}" if finite.min() < finite.max() else f"all {low}") + others


def cut(text: Any, longest: int) -> str:
    """The beginning of a text, at most so many letters; signs that a terminal would obey are written out.

    >>> cut("np.dot(x, W0)", 8)
    'np.dot(…'
    """
    shown = visible(str(text)[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1].rstrip() + "…"


def short(name: Any, longest: int) -> str:
    """A name on one line, with its middle left out where it is longer than that: long names often differ at their ends.

    >>> short("petal length (cm)", 9)
    'peta…(cm)'
    """
    text = visible(str(name)).replace("\n", " ")
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def listed(names: Sequence[Any], most: int = 4) -> str:
    """Names in a sentence: of many the first, and how many there are besides (never just one).

    >>> listed(["a", "b"]), listed("abcdef", most=3)
    ('a, b', 'a, b, c and 3 more')
    """
    more = len(names) - most
    words = [str(name) for name in names]
    return ", ".join(words) if more <= 1 else f"{', '.join(words[:most])} and {more:,} more"


def several(n: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> several(1, "row"), several(2, "class", "classes")
    ('1 row', '2 classes')
    """
    return f"{n} {one if n == 1 else many or one + 's'}"


def visible(text: str) -> str:
    """The text with its control characters as they are written in Python: a terminal would obey them.

    >>> visible("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return re.sub(_CONTROL, lambda found: found[0].encode("unicode_escape").decode(), text)


def escaped(text: str) -> str:
    """A text of the user's as it stands in SVG and HTML, its control characters as they are written in Python.

    >>> escaped("a<b\\0")
    'a&lt;b\\\\x00'
    """
    from html import escape  # not before something is shown: its table of entities takes a millisecond

    return escape(visible(text))
