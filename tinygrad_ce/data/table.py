"""A CSV of one's own as a Dataset, with messages that name the line and the column."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_ce.data.checks import closest, extra, several
from tinygrad_ce.data.dataset import Array, Dataset
from tinygrad_ce.data.parts import one_hot

FEW_ROWS = 20  # in so short a file, values that are all different prove nothing
MOST_CATEGORIES = 1000  # a text column with more values would become a matrix too wide to learn from
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "None")


class _Table(NamedTuple):
    """The texts of a CSV as a pandas frame, with the line of the file on which each row starts, for messages."""

    path: Path
    frame: Any
    lines: list[int]

    def at(self, row: int, column: str) -> str:
        return f"{self.path}, line {self.lines[row]}, column {column!r}"


def from_csv(path: str | os.PathLike[str], target: str, *, regression: bool = False) -> Dataset:
    """The rows of a comma-separated UTF-8 file whose first line names the columns; `target` is the one to predict.

    Columns of numbers stay as they are (`standardize` comes after the split). A column of text or of true and false
    becomes one column of 0 and 1 for each of its values, sorted: `color=blue`, `color=red`. Text or integers in the
    target become class indices, in sorted order; with regression=True the target is float64.
    Raises FileNotFoundError, and ValueError that names the file and the line (1 is the header) or the column: lines
    that cannot be read, no rows, an unknown target, missing or infinite values, fewer than two classes, identifiers.

    >>> from_csv("no_such_file.csv", "price")
    Traceback (most recent call last):
    FileNotFoundError: no_such_file.csv: no such file
    """
    if not isinstance(target, str):
        raise TypeError(f"from_csv: target is {target!r}; write the name of a column")
    table = _read_csv(Path(path), target)
    _check_nothing_missing(table, target)
    y, class_names = _number_target(table, target) if regression else _class_target(table, target)
    X, feature_names, numeric = _features(table, target)
    return Dataset(X, y, feature_names, class_names, table.path.stem, numeric)


def _read_csv(path: Path, target: str) -> _Table:
    """The file, once its header has been found to be in order and to name the target.

    The lines are read by Python's csv, not by pandas, which does not tell on which line of the file a row was.
    """
    pandas = extra("pandas")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: this is not a file; give the path of a CSV file")
    lines, records = _records(path)
    if not records:
        raise ValueError(f"{path}: the file is empty; line 1 must name the columns")
    header, rows = records[0], records[1:]
    _check_header(path, header)
    _check_target(path, header, target)
    for line, fields in zip(lines, records, strict=True):
        if len(fields) != len(header):
            found, named = several(len(fields), "field"), several(len(header), "column")
            raise ValueError(f"{path}, line {line}: {found}, but the header names {named}")
    if not rows:
        raise ValueError(f"{path}: no rows; there is only the header in line 1")
    return _Table(path, pandas.DataFrame(rows, columns=header, dtype=object), lines[1:])


def _records(path: Path) -> tuple[list[int], list[list[str]]]:
    """The line on which each record starts, and its fields without the blanks around them; empty lines are skipped."""
    lines: list[int] = []
    records: list[list[str]] = []
    line = 1
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        try:
            for record in reader:
                fields = [field.strip() for field in record]
                if fields not in ([], [""]):
                    lines.append(line)
                    records.append(fields)
                line = reader.line_num + 1
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: this is not UTF-8 text ({error}); save it as a UTF-8 CSV file") from error
        except csv.Error as error:
            reason = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
            raise ValueError(f"{path}, line {line}: cannot be read as CSV: {reason}") from error
    return lines, records


def _check_header(path: Path, header: list[str]) -> None:
    for number, name in enumerate(header, start=1):
        if not name:
            raise ValueError(f"{path}, line 1: column {number} has no name; name it, or drop it if it numbers the rows")
        if name in header[: number - 1]:
            raise ValueError(f"{path}, line 1: two columns are called {name!r}; rename or drop one")


def _check_target(path: Path, header: list[str], target: str) -> None:
    hint = "; the fields must be separated by commas" if len(header) == 1 else ""
    if target not in header:
        names = ", ".join(repr(name) for name in header)
        raise ValueError(f"{path}: no column {target!r};{closest(target, header)} line 1 names {names}{hint}")
    if len(header) == 1:
        raise ValueError(f"{path}: no feature columns: {target!r} is the only column{hint}")


def _check_nothing_missing(table: _Table, target: str) -> None:
    missing = table.frame.isin(MISSING).to_numpy()
    if missing.any():
        row, column = np.argwhere(missing)[0]
        name = table.frame.columns[column]
        what = "the target is missing" if name == target else "the value is missing"
        raise ValueError(
            f"{table.at(row, name)}: {what} ({missing.sum()} missing in the whole file; an empty field and "
            f"{', '.join(MISSING[1:])} count as missing). Fill it in, or delete the line or the column"
        )


def _number_target(table: _Table, target: str) -> tuple[Array, tuple[str, ...]]:
    values = _parsed(table, target)
    if np.isnan(values).any():
        raise ValueError(f"{_first_text(table, target, values)}, and regression=True needs numbers")
    return values.astype(np.float64), ()


def _class_target(table: _Table, target: str) -> tuple[Array, tuple[str, ...]]:
    values = _parsed(table, target)
    is_number = not np.isnan(values).any()
    if is_number:
        fractions = np.flatnonzero(values % 1)
        if len(fractions):
            row = fractions[0]
            raise ValueError(
                f"{table.at(row, target)}: {values[row]} is no class label; to predict numbers, pass regression=True"
            )
    y, labels = extra("pandas").factorize(values if is_number else table.frame[target], sort=True)
    class_names = tuple(str(int(label)) if is_number else label for label in labels)
    column = f"{table.path}, column {target!r}"
    if len(class_names) == 1:
        raise ValueError(f"{column}: only one class, {class_names[0]!r}; a classifier needs at least two")
    if len(class_names) == len(y) > FEW_ROWS:
        advice = "to predict numbers, pass regression=True" if is_number else "choose another target"
        raise ValueError(f"{column}: each of the {len(y)} rows has a class of its own; {advice}")
    return y.astype(np.int64), class_names


def _features(table: _Table, target: str) -> tuple[Array, tuple[str, ...], NDArray[np.bool_]]:
    blocks: list[Array] = []
    names: list[str] = []
    numeric: list[bool] = []
    for name in table.frame.columns.drop(target):
        values = _parsed(table, name)
        if np.isnan(values).any():
            codes, categories = extra("pandas").factorize(table.frame[name], sort=True)
            _check_categories(table, name, values, len(categories))
            blocks.append(one_hot(codes, len(categories)))
            names.extend(f"{name}={category}" for category in categories)
            numeric.extend([False] * len(categories))
        else:
            blocks.append(values.astype(np.float64)[:, None])
            names.append(name)
            numeric.append(True)
    return np.concatenate(blocks, axis=1), tuple(names), np.array(numeric)


def _parsed(table: _Table, name: str) -> Array:
    """The column as numbers, NaN for each text that is none; infinite ones are refused in a column of numbers."""
    values: Array = extra("pandas").to_numeric(table.frame[name], errors="coerce").to_numpy()
    if not np.issubdtype(values.dtype, np.integer):
        # pandas before 3 is off by an ulp here and there, and takes 1e999 for a text.
        values = np.array([_float(text) for text in table.frame[name]])
    infinite = np.isinf(values)
    if infinite.any() and not np.isnan(values).any():
        row = int(np.argmax(infinite))
        raise ValueError(
            f"{table.at(row, name)}: {table.frame[name][row]!r} is infinite or too large for a float64 "
            f"({infinite.sum()} such in the column); write a finite number"
        )
    return values


def _float(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)  # Python reads 1_000 as a thousand; a CSV means a text
    except ValueError:
        return math.nan


def _first_text(table: _Table, name: str, values: Array) -> str:
    row = int(np.argmax(np.isnan(values)))
    return f"{table.at(row, name)}: {table.frame[name][row]!r} is not a number"


def _check_categories(table: _Table, name: str, values: Array, categories: int) -> None:
    """Refuses a text column that one-hot columns would make useless: damaged numbers, identifiers."""
    rows, numbers_in_it = len(values), values[~np.isnan(values)]
    # A few whole numbers among words may be categories (0, 1, 2, 3+); fractions or many different ones were measured.
    measured = np.any(numbers_in_it != np.round(numbers_in_it)) or len(np.unique(numbers_in_it)) > FEW_ROWS
    if 2 * len(numbers_in_it) > rows and measured:
        raise ValueError(f"{_first_text(table, name, values)}, as most of this column are; correct it")
    if categories == rows > FEW_ROWS or categories > MOST_CATEGORIES:
        raise ValueError(
            f"{table.path}, column {name!r}: {categories} different texts in {rows} rows; this is an identifier, not "
            "a category: drop the column"
        )
