"""The kind of each column, found from its cells: numbers, booleans, dates, categories, identifiers."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygrad_ce.data.cells import (
    DECIMALS,
    ORDERS,
    Cell,
    boolean_pair,
    has_time,
    moment,
    number,
    plain_number,
)
from tinygrad_ce.data.checks import quoted, shown
from tinygrad_ce.data.columns import Boolean, Category, Column, Date, Dropped, Number
from tinygrad_ce.data.dataset import Array
from tinygrad_ce.data.reading import Table
from tinygrad_ce.report.words import several

FEW_ROWS = 20  # in so short a table, values that are all different prove nothing
MOST_LEVELS = 20  # a text column with more levels is dropped: one feature for each would be dozens
NAME_OF_IDENTIFIER = re.compile(r"(?:.*[_ -])?(?:id|index|key|uuid|rownames|row|nr|no)|unnamed: 0|.*[a-z](?:ID|Id)")


@dataclass(frozen=True)
class Reading:
    """How cells that can be read in two ways are to be read, where somebody said it; None where not."""

    decimal: str | None = None
    day_first: bool | None = None
    most_levels: int = MOST_LEVELS


class Numbers(NamedTuple):
    """The numbers of a column under one decimal sign: NaN in the rows without one, and the unit of each row."""

    decimal: str
    values: Array
    units: list[str]

    @property
    def n(self) -> int:
        """How many cells are numbers."""
        return int(np.count_nonzero(~np.isnan(self.values)))


def kinds_of(
    table: Table, names: Sequence[str], drop: Collection[str], evidence: str | None, reading: Reading
) -> tuple[Column, ...]:
    """The columns of these names by their kind. evidence: the decimal sign of the table, if it has shown one.

    Raises ValueError for a column that most likely is damaged or can be read in two ways: numbers of which few are
    texts, 03/04/2025 without a date that tells day and month apart.
    """
    return tuple(
        Dropped(name, "as asked with drop=") if name in drop else _kind(table, name, evidence, reading)
        for name in names
    )


def _kind(table: Table, name: str, evidence: str | None, reading: Reading) -> Column:
    rows = _present(table, name)
    cells = [table.columns[name][row] for row in rows]
    if not rows:
        return Dropped(name, "no row has a value")
    if len(rows) > FEW_ROWS and len({*cells}) == 1:
        return Dropped(name, f"constant: every value is {shown(cells[0])}")
    numbers = numbers_of(table, name, evidence, reading)
    pair = boolean_pair(cells)
    if pair is not None:
        return Boolean(name, pair)
    if numbers.n == len(rows):
        if _is_identifier(name, numbers.values[rows]):
            return Dropped(name, f"an identifier: {len(rows)} different whole numbers in {len(rows)} rows")
        return Number(name, numbers.decimal, unit_of(table, name, numbers))
    for row in rows:
        if math.isnan(numbers.values[row]):
            check_visible(table, row, name)
    order = _date_order(table, name, rows, reading)
    if order is not None:
        return Date(name, order, any(map(has_time, cells)))
    _check_damaged_numbers(table, name, numbers, rows)
    return _category(name, [str(cell) for cell in cells], reading)


def _present(table: Table, name: str) -> list[int]:
    """The rows in which the column has a value."""
    absent = {*table.missing_rows(name)}
    return [row for row in range(len(table)) if row not in absent]


# ---- numbers


def decimal_evidence(table: Table, names: Sequence[str], reading: Reading) -> str | None:
    """The decimal sign of the table: the one that was asked for, or the only one under which some column is numbers."""
    if reading.decimal is not None:
        return reading.decimal
    found: set[str] = set()
    for name in names:
        texts = [cell for cell in _present_cells(table, name) if isinstance(cell, str)]
        if any("," in text or "." in text for text in texts):
            plain = table.plain_numbers(name) is not None
            possible = [sign for sign in DECIMALS if (plain and sign == ".") or _are_numbers(texts, sign)]
            found |= {*possible} if len(possible) == 1 else set()
    return found.pop() if len(found) == 1 else None


def _are_numbers(texts: Sequence[Cell], decimal: str) -> bool:
    return not any(math.isnan(number(text, decimal)[0]) for text in texts)


def _present_cells(table: Table, name: str) -> list[Cell]:
    return [table.columns[name][row] for row in _present(table, name)]


def numbers_of(table: Table, name: str, evidence: str | None, reading: Reading) -> Numbers:
    """The numbers of a column, under the decimal sign that explains most of its cells.

    Where both explain all, as for 1,234, the table's other columns decide; where they do not, a point is a decimal
    point, as every program reads it, and a comma is a ValueError.
    """
    rows = _present(table, name)
    choices = [_numbers(table, name, reading.decimal or ".")]
    unsure = table.plain_numbers(name) is None and (choices[0].n < len(rows) or _has_comma(table, name, rows))
    if reading.decimal is None and (unsure or evidence == ","):
        choices.append(_numbers(table, name, ","))
    best = max(choices, key=lambda choice: choice.n)
    ties = [choice for choice in choices if choice.n == best.n]
    if evidence is not None:
        return next((choice for choice in ties if choice.decimal == evidence), ties[0])
    if len(ties) == 2 and best.n == len(rows):
        _check_commas(table, name, *ties)
    return ties[0]


def _has_comma(table: Table, name: str, rows: list[int]) -> bool:
    cells = table.columns[name]
    return any("," in cell for cell in map(cells.__getitem__, rows) if isinstance(cell, str))


def _check_commas(table: Table, name: str, point: Numbers, comma: Numbers) -> None:
    """Raise ValueError for a column that is numbers with both decimal signs, and with a comma other ones."""
    differ = np.flatnonzero(~np.isnan(point.values) & (point.values != comma.values)).tolist()
    if _has_comma(table, name, differ):
        row = differ[0]
        raise ValueError(
            f"{table.at(row, name)}: {shown(table.columns[name][row])} may be {point.values[row]:.12g} or "
            f'{comma.values[row]:.12g}; pass decimal="." or decimal=","'
        )


def _numbers(table: Table, name: str, decimal: str) -> Numbers:
    cells = table.columns[name]
    absent = {*table.missing_rows(name)}
    plain = table.plain_numbers(name) if decimal == "." else None
    if plain is not None:
        numbers = Numbers(decimal, np.array(plain), [""] * len(cells))
    else:
        pairs = [(math.nan, "") if row in absent else number(cell, decimal) for row, cell in enumerate(cells)]
        numbers = Numbers(decimal, np.array([value for value, _ in pairs]), [unit for _, unit in pairs])
    infinite = np.isinf(numbers.values)
    if infinite.any() and numbers.n == len(cells) - len(absent):
        row = int(np.argmax(infinite))
        raise ValueError(
            f"{table.at(row, name)}: {shown(cells[row])} is infinite or too large for a float64 "
            f"({infinite.sum()} such in the column); write a finite number"
        )
    return numbers


def unit_of(table: Table, name: str, numbers: Numbers) -> str:
    """The one unit of a column of numbers; ValueError for two, and for percents among numbers without a sign."""
    rows = _present(table, name)
    units = {numbers.units[row] for row in rows}
    if len(units - {""}) > 1 or units == {"", "%"}:
        row = next(row for row in rows if numbers.units[row] != numbers.units[rows[0]])
        here, first = shown(table.columns[name][row]), shown(table.columns[name][rows[0]])
        raise ValueError(f"{table.at(row, name)}: {here} and {first} are in different units; write all in one")
    return next(iter(units - {""}), "")


def _is_identifier(name: str, values: Array) -> bool:
    """Whole numbers that are all different, in a column whose name says that they number its rows."""
    named = any(NAME_OF_IDENTIFIER.fullmatch(text) for text in (name, name.lower()))
    different = len(np.unique(values)) == len(values) > FEW_ROWS
    return named and different and bool(np.all(values == np.round(values)))


def _check_damaged_numbers(table: Table, name: str, numbers: Numbers, rows: list[int]) -> None:
    """Refuses a text column most of whose cells are numbers, since one-hot columns would make it useless."""
    found = numbers.values[~np.isnan(numbers.values)]
    # A few whole numbers among words may be categories (0, 1, 2, 3+); fractions or many different ones were measured.
    measured = np.any(found != np.round(found)) or len(np.unique(found)) > FEW_ROWS
    if 2 * len(found) > len(rows) and measured:
        row = next(row for row in rows if math.isnan(numbers.values[row]))
        raise ValueError(
            f"{not_a_number(table, name, row)}, as most of this column are; correct it, or empty it if it is missing"
        )


def not_a_number(table: Table, name: str, row: int) -> str:
    """The beginning of a message about a text among numbers."""
    return f"{table.at(row, name)}: {shown(table.columns[name][row])} is not a number"


def check_visible(table: Table, row: int, name: str) -> None:
    """Refuse a NUL, and a text that is a number but for what nobody sees in it, such as a space of no width."""
    text = str(table.columns[name][row])
    if text.isprintable():
        return
    unseen = [character for character in text if not character.isprintable() and not character.isspace()]
    if "\0" in unseen or (unseen and not math.isnan(plain_number("".join(c for c in text if c not in unseen)))):
        which = quoted(sorted({f"U+{ord(character):04X}" for character in unseen}))
        raise ValueError(
            f"{table.at(row, name)}: {shown(text)} holds a character that nobody sees ({which}); delete it"
        )


# ---- dates


def _date_order(table: Table, name: str, rows: list[int], reading: Reading) -> str | None:
    """The order of day, month and year in a column of dates; None for a column of something else.

    Raises ValueError where day and month can be exchanged in every row and nobody said which comes first, and for the
    first text among dates.
    """
    cells = table.columns[name]
    excluded = {None: "", True: "m/d/Y", False: "d.m.Y"}[reading.day_first]
    different = {cells[row] for row in rows}
    dates = {order: {cell: moment(cell, order) for cell in different} for order in ORDERS if order != excluded}
    parsed = {order: [dates[order][cells[row]] for row in rows] for order in dates}
    complete = [order for order in parsed if None not in parsed[order]]
    if len(complete) == 2 and parsed[complete[0]] != parsed[complete[1]]:
        row = next(row for row in rows if moment(cells[row], complete[0]) != moment(cells[row], complete[1]))
        raise ValueError(
            f"{table.at(row, name)}: {shown(cells[row])} may begin with the day or with the month, and no date of the "
            "column tells; pass day_first=True or day_first=False"
        )
    if complete:
        return complete[0]
    best = min(parsed, key=lambda order: parsed[order].count(None))
    if 2 * parsed[best].count(None) < len(rows):
        row, right = rows[parsed[best].index(None)], f"a date written {best}"
        raise ValueError(
            f"{table.at(row, name)}: {shown(cells[row])} is not {right}, as most of this column are; correct "
            "it, or empty it if it is missing"
        )
    return None


# ---- categories


def _category(name: str, texts: list[str], reading: Reading) -> Column:
    levels = sorted({*texts})
    count = f"{len(levels)} different texts in {several(len(texts), 'row')}"
    if len(texts) > FEW_ROWS and 2 * len(levels) > len(texts):
        return Dropped(name, f"identifier or free text: {count}")
    if len(levels) > reading.most_levels:
        return Dropped(name, f"{count}: pass most_levels={len(levels)} to learn from it")
    return Category(name, tuple(levels))
