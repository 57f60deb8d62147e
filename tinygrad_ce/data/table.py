"""A table of one's own as a Dataset: a CSV file or a DataFrame, with messages that name the row and the column."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.data.cells import MISSING
from tinygrad_ce.data.checks import quoted, shown, whole_number
from tinygrad_ce.data.columns import Dropped, Target, whole_number_of
from tinygrad_ce.data.dataset import Dataset
from tinygrad_ce.data.kinds import (
    FEW_ROWS,
    MOST_LEVELS,
    Reading,
    check_visible,
    decimal_evidence,
    kinds_of,
    not_a_number,
    numbers_of,
    unit_of,
)
from tinygrad_ce.data.preparation import POLICIES, Preparation, drop_missing
from tinygrad_ce.data.reading import Table, read_csv, read_frame, read_table
from tinygrad_ce.report.words import several

__all__ = ["from_csv", "from_frame", "predicts_numbers"]


def from_csv(
    path: str | os.PathLike[str],
    target: str,
    *,
    regression: bool = False,
    missing: str = "error",
    drop: Collection[str] = (),
    delimiter: str | None = None,
    decimal: str | None = None,
    day_first: bool | None = None,
    encoding: str = "utf-8",
    most_levels: int = MOST_LEVELS,
) -> Dataset:
    """The rows of a CSV file whose first line names the columns; `target` is the one to predict.

    Every column becomes features by its kind, which is found from its cells; `dataset.preparation.summary()` says how.
    A number stays as it is (`standardize` comes after the split), without its thousands separators and its %, $ or €;
    yes and no, true and false, 0 and 1 become 1 and 0; a date becomes days since 1970-01-01, month and day of the
    week; a text becomes one feature of 0 and 1 for each of its levels, sorted: `color=blue`, `color=red`. Left out,
    with a warning, are constants, identifiers (more than half of the texts are different ones; whole numbers in a
    column that is called id) and texts with more than `most_levels` levels. Text or integers in the target become class
    indices, in sorted order; with regression=True the target is float64.

    missing: "error"; "drop", the rows with a missing value; or "mean": a missing number, boolean or date becomes the
    mean of its features, a missing text 0 in all of them. A row without a target is dropped under both.
    path: of the file. drop: names of columns to leave out. delimiter: found among , ; | and tab unless it is given.
    decimal: "." or ",", found unless a column can be read in two ways, as 1,234. day_first: whether 03/04/2025 is in
    April, for a column in which no date tells. encoding: of the file, such as "cp1252".
    Raises FileNotFoundError, and ValueError that names the file and the line (1 is the header) or the column: lines
    that cannot be read, no rows, an unknown target, missing or infinite values, fewer than two classes, damaged
    numbers or dates, no feature left.

    >>> from_csv("no_such_file.csv", "price")
    Traceback (most recent call last):
    FileNotFoundError: no_such_file.csv: no such file
    """
    _check_options("from_csv", target, missing, drop, decimal, day_first)
    reading = Reading(decimal, day_first, whole_number("from_csv", "most_levels", most_levels, least=2))
    table = read_csv(Path(path), target, delimiter=delimiter, encoding=encoding)
    kept = {"name": Path(path).stem, "missing": missing, "delimiter": delimiter, "encoding": encoding}
    return _dataset(table, target, regression, drop, reading, kept)


def from_frame(
    frame: Any,
    target: str,
    *,
    regression: bool = False,
    missing: str = "error",
    drop: Collection[str] = (),
    decimal: str | None = None,
    day_first: bool | None = None,
    most_levels: int = MOST_LEVELS,
    name: str = "table",
) -> Dataset:
    """The rows of a DataFrame: of pandas, polars or pyarrow, or anything with `to_pandas` or `__dataframe__`.

    Its columns become what those of the same table in a file would: see `from_csv`, also for the options. Its index is
    not looked at. frame: the table. name: what the Dataset is called.
    Raises TypeError for what is no DataFrame, and ValueError as `from_csv` does, naming the row by its position.

    >>> from_frame({"x": [1.0]}, "x")
    Traceback (most recent call last):
    TypeError: a dict is no table; pass a DataFrame, or the path of a CSV file
    """
    _check_options("from_frame", target, missing, drop, decimal, day_first)
    reading = Reading(decimal, day_first, whole_number("from_frame", "most_levels", most_levels, least=2))
    return _dataset(read_frame(frame, target), target, regression, drop, reading, {"name": name, "missing": missing})


def predicts_numbers(
    table: Any,
    target: str,
    *,
    decimal: str | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8",
) -> bool:
    """Whether the target of a table is numbers to predict (regression=True) and no classes.

    True if all of its values are numbers, and some have a fraction or more than 20 are different.
    decimal, delimiter, encoding: of the file, as in `from_csv`.

    >>> predicts_numbers("houses.csv", "price")  # doctest: +SKIP
    True
    """
    _check_options("predicts_numbers", target, "error", (), decimal)
    cells = read_table(table, target, delimiter=delimiter, encoding=encoding)
    numbers = numbers_of(cells, target, decimal_evidence(cells, [*cells.columns], Reading(decimal)), Reading(decimal))
    values = numbers.values[~np.isnan(numbers.values)]
    if len(values) < len(cells) - len(cells.missing_rows(target)) or not len(values):
        return False
    return bool(np.any(values % 1 != 0) or len(np.unique(values)) > FEW_ROWS)


def _check_options(where: str, target: Any, missing: Any, drop: Any, decimal: Any, day_first: Any = None) -> None:
    if not isinstance(target, str):
        raise TypeError(f"{where}: target is {shown(target)}; write the name of a column")
    if missing not in POLICIES:
        raise ValueError(f"{where}: missing is {shown(missing)}; it must be one of {quoted(POLICIES)}")
    if isinstance(drop, str) or not (isinstance(drop, Collection) and all(isinstance(name, str) for name in drop)):
        raise TypeError(f"{where}: drop is {shown(drop)}; write a list of names of columns")
    if decimal not in (None, ".", ","):
        raise ValueError(f"{where}: decimal is {shown(decimal)}; it must be '.' or ','")
    if day_first not in (None, True, False):
        raise TypeError(f"{where}: day_first is {shown(day_first)}; it must be True, False or None")
    if target in drop:
        raise ValueError(f"{where}: drop names {shown(target)}, which is the target")


def _dataset(
    table: Table, target: str, regression: bool, drop: Collection[str], reading: Reading, kept: dict[str, Any]
) -> Dataset:
    """The Dataset of cells, with a preparation whose kinds are found from them."""
    names = [name for name in table.columns if name != target]
    for name in drop:
        if name not in names:
            raise ValueError(f"{table.source}: drop names {shown(name)}; the columns are {quoted(names)}")
    used = [name for name in names if name not in drop]
    table, notes = _without_missing(table, target, used, kept["missing"])
    evidence = decimal_evidence(table, [*used, target], reading)
    if regression:
        prepared_target = _number_target(table, target, evidence, reading)
    else:
        prepared_target = _class_target(table, target, evidence, reading, notes)
    columns = kinds_of(table, names, drop, evidence, reading)
    left_out = [column for column in columns if isinstance(column, Dropped) and column.name not in drop]
    said = "; ".join(f"column {shown(column.name)}: {column.reason}" for column in left_out[:5])
    if len(left_out) > 5:
        said += f"; and {len(left_out) - 5} more"
    D = sum(len(column.features) for column in columns)
    if not D:
        raise ValueError(f"{table.source}, {said or 'drop='}: dropped, and no other feature column is left")
    if left_out:
        warnings.warn(f"{table.source}: dropped: {said}", UserWarning, stacklevel=3)
    preparation = Preparation(
        columns=columns, target=prepared_target, shift=(0.0,) * D, scale=(1.0,) * D, notes=notes, **kept
    )
    return preparation.dataset_of(table)


def _without_missing(table: Table, target: str, used: list[str], missing: str) -> tuple[Table, tuple[str, ...]]:
    """The table without the rows that cannot be learnt from, and a sentence about them."""
    absent = {name: table.missing_rows(name) for name in [*used, target]}
    if missing == "error":
        _check_nothing_missing(table, target, absent)
        return table, ()
    whole = [*used, target] if missing == "drop" else [target]
    full = drop_missing(table, [name for name in whole if len(absent[name]) < len(table) or name == target])
    left_out = len(table) - len(full)
    what = "a value" if missing == "drop" else "the target"
    notes = (f"{left_out} of {several(len(table), 'row')} left out: {what} is missing",) if left_out else ()
    return full, notes


def _check_nothing_missing(table: Table, target: str, absent: dict[str, list[int]]) -> None:
    position = {name: i for i, name in enumerate(table.columns)}
    missing = [(row, position[name], name) for name, rows in absent.items() for row in rows]
    if missing:
        row, _, name = min(missing)
        what = "the target is missing" if name == target else "the value is missing"
        raise ValueError(
            f"{table.at(row, name)}: {what} ({len(missing)} missing in the whole table; an empty field and "
            f'{", ".join(MISSING[1:])} count as missing). Fill it in, or pass missing="mean", missing="drop" or '
            "drop=[...] columns"
        )


def _number_target(table: Table, name: str, evidence: str | None, reading: Reading) -> Target:
    numbers = numbers_of(table, name, evidence, reading)
    if numbers.n < len(table):
        row = int(np.argmax(np.isnan(numbers.values)))
        check_visible(table, row, name)
        raise ValueError(f"{not_a_number(table, name, row)}, and regression=True needs numbers")
    return Target(name, decimal=numbers.decimal, unit=unit_of(table, name, numbers))


def _class_target(table: Table, name: str, evidence: str | None, reading: Reading, notes: Sequence[str]) -> Target:
    cells = table.columns[name]
    numbers = numbers_of(table, name, evidence, reading)
    for row in np.flatnonzero(np.isnan(numbers.values)).tolist():
        check_visible(table, row, name)
    is_number = numbers.n == len(cells)
    if is_number:
        fractions = np.flatnonzero(numbers.values % 1)
        if len(fractions):
            row = int(fractions[0])
            raise ValueError(
                f"{table.at(row, name)}: {numbers.values[row]} is no class label; to predict numbers, pass "
                "regression=True"
            )
    plain = is_number and not any(numbers.units)
    labels = sorted({whole_number_of(cell, numbers.decimal) if plain else str(cell) for cell in cells})
    class_names = tuple(map(str, labels))
    column = f"{table.source}, column {shown(name)}"
    if len(class_names) == 1:
        why = "".join(f" ({note})" for note in notes)
        raise ValueError(f"{column}: only one class, {shown(class_names[0])}{why}; a classifier needs at least two")
    if len(class_names) == len(cells) > FEW_ROWS:
        advice = "to predict numbers, pass regression=True" if is_number else "choose another target"
        raise ValueError(f"{column}: each of the {len(cells)} rows has a class of its own; {advice}")
    return Target(name, class_names, whole=plain, decimal=numbers.decimal)
