"""The columns of a table by their kind: each knows which features it becomes, and turns cells into their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_ce.data.cells import Cell, boolean, moment, number
from tinygrad_ce.data.checks import closest, quoted, shown
from tinygrad_ce.data.dataset import Array
from tinygrad_ce.data.reading import Table
from tinygrad_ce.report.words import format_number

EPOCH = date(1970, 1, 1).toordinal()
LAST_OF_2024 = {"Y-m-d": "2024-12-31", "d.m.Y": "31.12.2024", "m/d/Y": "12/31/2024"}  # how to write a date


@dataclass(frozen=True)
class Column:
    """A column of a table. `features`: the names of the columns of X that it becomes, none for a dropped one."""

    name: str
    kind: ClassVar[str]

    @property
    def scaled(self) -> bool:
        """Whether `standardize` shifts and scales its features."""
        return False

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its columns of X."""
        return (self.name,)

    def encoded(self, table: Table, new_levels: str = "error") -> Array:
        """(N, its features) float64: its cells as numbers, NaN where the value is missing.

        Raises ValueError that names the row for a cell of another kind.
        """
        cells = table.columns[self.name]
        values = np.full((len(cells), len(self.features)), math.nan)
        absent = {*table.missing_rows(self.name)}
        for row, cell in enumerate(cells):
            if row not in absent:
                values[row] = self.values(cell, table, row)
        return values

    def values(self, cell: Cell, table: Table, row: int) -> Sequence[float]:
        """The numbers of one cell, for each of the features."""
        raise NotImplementedError

    def words(self) -> str:
        """What is said of the column in a summary, besides its kind."""
        return ""

    def fill_words(self, fill: Sequence[float]) -> str:
        """What a missing value becomes, as a summary says it; fill: (features,)."""
        return ", ".join(map(format_number, fill))


@dataclass(frozen=True)
class Number(Column):
    """A number: with that decimal sign where it is a text, in that unit. standardized=False keeps its scale."""

    decimal: str = "."
    unit: str = ""
    standardized: bool = True
    kind = "number"

    @property
    def scaled(self) -> bool:
        """As it was asked for: a pixel has its scale already."""
        return self.standardized

    def encoded(self, table: Table, new_levels: str = "error") -> Array:
        """(N, 1) float64: the numbers, NaN where the value is missing."""
        plain = table.plain_numbers(self.name) if self.decimal == "." else None
        if plain is None or math.inf in map(abs, plain):
            return super().encoded(table, new_levels)
        return np.array(plain)[:, None]

    def values(self, cell: Cell, table: Table, row: int) -> Sequence[float]:
        """The number, finite and in the unit of the column."""
        value, unit = number(cell, self.decimal)
        if math.isnan(value):
            comma = " with a decimal comma, as 1,5 is" if self.decimal == "," else ""
            raise ValueError(f"{table.at(row, self.name)}: {shown(cell)} is not a number{comma}")
        if math.isinf(value):
            raise ValueError(f"{table.at(row, self.name)}: {shown(cell)} is infinite; write a finite number")
        if unit not in ("", self.unit):
            raise ValueError(
                f"{table.at(row, self.name)}: {shown(cell)} is in {unit}, the column in {self.unit or 'no unit'}"
            )
        return (value,)

    def words(self) -> str:
        """The unit and the decimal sign."""
        return ", ".join([f"in {self.unit}"] * bool(self.unit) + ["decimal comma"] * (self.decimal == ","))


@dataclass(frozen=True)
class Boolean(Column):
    """Yes or no: 1 and 0, which `standardize` leaves as they are. pair: the words of the table, no first."""

    pair: tuple[str, str] = ("false", "true")
    kind = "boolean"

    def values(self, cell: Cell, table: Table, row: int) -> Sequence[float]:
        """1 or 0."""
        value = boolean(cell)
        if math.isnan(value):
            expected = " or ".join(self.pair)
            raise ValueError(f"{table.at(row, self.name)}: {shown(cell)} is no boolean; write {expected}")
        return (value,)

    def words(self) -> str:
        """Which word is 0 and which is 1."""
        return f"{self.pair[0]} is 0, {self.pair[1]} is 1"


@dataclass(frozen=True)
class Date(Column):
    """A date, written in that order: days since 1970-01-01, month (1 to 12) and day of the week (0 is Monday).

    The days carry a trend, the month a season and the day of the week a weekly rhythm, whatever time the rows span: the
    features do not hang on the values, or rows of the test part would decide about them. A time of day adds the hour.
    """

    order: str = "Y-m-d"
    time: bool = False
    kind = "date"

    @property
    def scaled(self) -> bool:
        """All of its features are."""
        return True

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its columns of X."""
        parts = ("days", "month", "weekday", "hour") if self.time else ("days", "month", "weekday")
        return tuple(f"{self.name}.{part}" for part in parts)

    def values(self, cell: Cell, table: Table, row: int) -> Sequence[float]:
        """The days, the month, the day of the week and, if the column has times, the hour."""
        when = moment(cell, self.order)
        if when is None:
            raise ValueError(
                f"{table.at(row, self.name)}: {shown(cell)} is not a date in the order {self.order}, "
                f"as {LAST_OF_2024[self.order]} is"
            )
        hour = when.hour + when.minute / 60 + when.second / 3600
        values = [when.toordinal() - EPOCH, when.month, when.weekday()]
        return [*values, hour] if self.time else values

    def words(self) -> str:
        """The order of day, month and year."""
        return f"written {self.order}"

    def fill_words(self, fill: Sequence[float]) -> str:
        """The mean day as a date, and the other numbers."""
        day = EPOCH + round(fill[0])
        if not 1 <= day <= date.max.toordinal():  # no date; a file may say anything
            return super().fill_words(fill)
        return f"{date.fromordinal(day)}, {super().fill_words(fill[1:])}"


@dataclass(frozen=True)
class Category(Column):
    """Text: for each of its levels one feature that is 1 where the row has it; all are 0 where the value is missing."""

    levels: tuple[str, ...] = ()
    kind = "category"

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its columns of X."""
        return tuple(f"{self.name}={level}" for level in self.levels)

    def encoded(self, table: Table, new_levels: str = "error") -> Array:
        """(N, levels) one-hot rows. A new level is all zeros with new_levels="ignore", and a ValueError without."""
        cells = table.columns[self.name]
        place = {level: i for i, level in enumerate(self.levels)}
        absent = {*table.missing_rows(self.name)}
        rows = np.zeros((len(cells), len(self.levels)))
        for row, cell in enumerate(map(str, cells)):
            if cell in place:
                rows[row, place[cell]] = 1.0
            elif row not in absent and new_levels != "ignore":
                near = closest(cell, self.levels)
                raise ValueError(
                    f"{table.at(row, self.name)}: {shown(cell)} is a new level;{near} training had "
                    f'{quoted(self.levels)}. With new_levels="ignore" all its features are 0'
                )
        return rows

    def words(self) -> str:
        """How many levels there are."""
        return f"{len(self.levels)} levels"

    def fill_words(self, fill: Sequence[float]) -> str:
        """It is none of the levels."""
        return "all 0"


@dataclass(frozen=True)
class Dropped(Column):
    """A column that is not learnt from, and why."""

    reason: str = ""
    kind = "dropped"

    @property
    def features(self) -> tuple[str, ...]:
        """None."""
        return ()

    def words(self) -> str:
        """Why it was dropped."""
        return self.reason


@dataclass(frozen=True)
class Target:
    """The column to predict. class_names: () for numbers, which are (value - shift) / scale in y.

    name: None where no table had it. whole: the classes are whole numbers, so that 1.0 is the class 1.
    """

    name: str | None
    class_names: tuple[str, ...] = ()
    whole: bool = False
    decimal: str = "."
    unit: str = ""
    shift: float = 0.0
    scale: float = 1.0

    def label(self, cell: Cell) -> str:
        """The name of the class in a cell."""
        value = number(cell, self.decimal)[0] if self.whole else math.nan
        return str(whole_number_of(cell, self.decimal)) if math.isfinite(value) and value % 1 == 0 else str(cell)

    def encoded(self, table: Table) -> Array:
        """(N,) int64 class indices, or float64 numbers. Raises ValueError that names the row for another cell."""
        name = str(self.name)
        cells = table.columns[name]
        absent = table.missing_rows(name)
        if absent:
            raise ValueError(f"{table.at(absent[0], name)}: the target is missing; fill it in, or delete the row")
        if not self.class_names:
            column = Number(name, self.decimal, self.unit)
            numbers = np.array([column.values(cell, table, row)[0] for row, cell in enumerate(cells)])
            return (numbers - self.shift) / self.scale
        place = {class_name: i for i, class_name in enumerate(self.class_names)}
        labels = [self.label(cell) for cell in cells]
        for row, label in enumerate(labels):
            if label not in place:
                near, names = closest(label, place), quoted(self.class_names)
                raise ValueError(
                    f"{table.at(row, name)}: {shown(label)} is none of the classes;{near} they are {names}"
                )
        return np.array([place[label] for label in labels], dtype=np.int64)


def whole_number_of(cell: Cell, decimal: str) -> int:
    """The integer of a number without a fraction: exactly, where float64 could not tell two apart."""
    try:
        return int(cell)
    except ValueError:
        return int(number(cell, decimal)[0])


def scaled_features(columns: Sequence[Column]) -> NDArray[np.bool_]:
    """(D,) bool: the features that `standardize` shifts and scales."""
    return np.array([column.scaled for column in columns for _ in column.features], dtype=bool)
