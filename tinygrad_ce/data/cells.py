"""What one cell of a table says: a missing value, a number in the writing of its country, a boolean, a date."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache

Cell = str | int | float  # "" where a DataFrame has no value

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "None", "?", "-")
MISSING_TOO = ("#NA", "#N/A N/A", "Nan", "1.#IND", "1.#QNAN", *(f"-{x}" for x in (*MISSING[6:9], "1.#IND", "1.#QNAN")))
MISSING_TOO += ("na", "none", "NONE", "--", "—", "–")
MARKS = frozenset((*MISSING, *MISSING_TOO))

CURRENCY = r"[$¢-¥฿₠-⃏]|EUR|USD|GBP|CHF"
PAIRS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("off", "on"), ("0", "1"))
DECIMALS = (".", ",")
ORDERS = ("Y-m-d", "d.m.Y", "m/d/Y")  # how a date may be written, with any of - . / between


# ---- missing


def missing_rows(cells: Sequence[Cell]) -> list[int]:
    """The rows of a column whose cell says that there is no value."""
    found = {*cells} & MARKS
    if "+" in cells:
        found.discard("-")  # then the two are labels
    return [row for row, cell in enumerate(cells) if cell in found] if found else []


# ---- numbers


def plain_number(cell: Cell) -> float:
    """The number that Python reads, NaN if it reads none; 1_000, a thousand for Python, is a text in a table."""
    if not isinstance(cell, str):
        try:
            return float(cell)
        except OverflowError:
            return math.copysign(math.inf, cell)
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def plain_numbers(cells: Sequence[Cell], absent: Sequence[int] = ()) -> list[float] | None:
    """The numbers that Python reads, NaN in the absent rows; None if it does not read all of the others.

    It gives what `plain_number` does, and for a long column in a tenth of the time.
    """
    if "_" in "".join(map(str, cells)):
        return None
    gaps = {*absent}
    try:
        if not gaps:
            return [*map(float, cells)]
        return [math.nan if row in gaps else float(cell) for row, cell in enumerate(cells)]
    except (ValueError, OverflowError):
        return None


@cache
def _number_pattern(decimal: str) -> re.Pattern[str]:
    """A number with groups of thousands, and a percent or currency sign on one side.

    A first group never begins with 0, so that 0,123 is no 123. The separator of thousands is the same throughout.
    """
    thousands = ",'’ \u00a0\u202f" if decimal == "." else ".'’ \u00a0\u202f"
    point = re.escape(decimal)
    grouped = rf"[1-9]\d{{0,2}}(?P<sep>[{thousands}])\d{{3}}(?:(?P=sep)\d{{3}})*(?:{point}\d+)?"
    ungrouped = rf"(?:\d+(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"
    sign = r"[+\-−]?"
    return re.compile(
        rf"(?P<sign>{sign})\s*(?:(?P<before>{CURRENCY})\s*)?(?P<inner>{sign})(?P<body>{grouped}|{ungrouped})"
        rf"\s*(?P<after>{CURRENCY}|%)?"
    )


def number(cell: Cell, decimal: str) -> tuple[float, str]:
    """The value of a cell with that decimal sign, NaN if it is no number, and its unit: "%", a currency, or "".

    >>> number("1.234,50 €", ","), number("$1,234.50", "."), number("12 %", ".")
    ((1234.5, '€'), (1234.5, '$'), (12.0, '%'))
    """
    if not isinstance(cell, str) or decimal == "." or "." not in cell:
        value = plain_number(cell)
        if not math.isnan(value) or not isinstance(cell, str):
            return value, ""
    found = _number_pattern(decimal).fullmatch(cell)
    if found is None or (found["sign"] and found["inner"]) or (found["before"] and found["after"]):
        return math.nan, ""
    digits = found["body"].replace(found["sep"] or " ", "").replace(decimal, ".")
    sign = -1.0 if (found["sign"] or found["inner"]) in ("-", "−") else 1.0
    return sign * plain_number(digits), found["before"] or found["after"] or ""


# ---- booleans


def boolean_pair(cells: Iterable[Cell]) -> tuple[str, str] | None:
    """The pair of words (false first) that a column of booleans is written in; None if it is another column.

    0 and 1 must both occur: a column of nothing but 1 is a number.
    """
    different = {*cells}
    words = {str(cell).lower() for cell in different} if len(different) <= 8 else {"neither"}  # yes, Yes, YES, no...
    for pair in PAIRS:
        if words <= {*pair} and (pair != ("0", "1") or len(words) == 2):
            return pair
    return None


def boolean(cell: Cell) -> float:
    """1.0 or 0.0 for the words of any pair, NaN for another."""
    word = str(cell).lower()
    for no, yes in PAIRS:
        if word in (no, yes):
            return float(word == yes)
    return float(cell) if cell in (0, 1) and not isinstance(cell, str) else math.nan


# ---- dates

_DATE = re.compile(
    r"(\d{1,4})([-./])(\d{1,2})\2(\d{1,4})"
    r"(?:[T ](\d{1,2}):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
)


def moment(cell: Cell, order: str) -> datetime | None:
    """The date, with its time of day if it has one, of a cell that is written in that order; None for another cell.

    A time zone is left out: the hour and the day of the week are those that the table shows.

    >>> moment("24.12.2024", "d.m.Y"), moment("2024-12-24 18:30", "Y-m-d")
    (datetime.datetime(2024, 12, 24, 0, 0), datetime.datetime(2024, 12, 24, 18, 30))
    """
    found = _DATE.fullmatch(cell) if isinstance(cell, str) else None
    if found is None:
        return None
    parts = dict(zip(re.findall("[Ymd]", order), found.group(1, 3, 4), strict=True))
    if len(parts["Y"]) != 4 or (order == "m/d/Y" and found[2] == "."):  # dots stand between day, month and year
        return None
    hour, minute, second = (int(text or 0) for text in found.group(5, 6, 7))
    try:
        return datetime(int(parts["Y"]), int(parts["m"]), int(parts["d"]), hour, minute, second)
    except ValueError:
        return None


def has_time(cell: Cell) -> bool:
    """Whether a date is written with a time of day that is not midnight."""
    found = _DATE.fullmatch(cell) if isinstance(cell, str) else None
    return found is not None and any(int(text) for text in found.group(5, 6, 7) if text)
