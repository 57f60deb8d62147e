"""A CSV of one's own as a Dataset, with messages that name the line and the column."""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_ce.data.checks import closest, listed, several, shown, visible
from tinygrad_ce.data.dataset import Array, Dataset
from tinygrad_ce.data.parts import one_hot

FEW_ROWS = 20  # in so short a file, values that are all different prove nothing
MOST_CATEGORIES = 1000  # a text column with more values would become a matrix too wide to learn from
MARKS_OF_UTF16 = (b"\xff\xfe", b"\xfe\xff")
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "None")
MISSING_TOO = ("#NA", "#N/A N/A", "Nan", "1.#IND", "1.#QNAN", *(f"-{x}" for x in (*MISSING[6:9], "1.#IND", "1.#QNAN")))


class _Table(NamedTuple):
    """The texts of a CSV by column, with the line of the file on which each row starts, for messages."""

    path: Path
    columns: dict[str, Sequence[str]]
    lines: list[int]

    def at(self, row: int, column: str) -> str:
        return _place(self.path, self.lines[row], column)


def _place(path: Path, line: int, column: str = "") -> str:
    """Where something is: "flowers.csv, line 3, column 'x'"."""
    return f"{visible(str(path))}, line {line}" + (f", column {shown(column)}" if column else "")


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
        raise TypeError(f"from_csv: target is {shown(target)}; write the name of a column")
    table = _read_csv(Path(path), target)
    _check_nothing_missing(table, target)
    y, class_names = _number_target(table, target) if regression else _class_target(table, target)
    X, feature_names, numeric = _features(table, target)
    return Dataset(X, y, feature_names, class_names, table.path.stem, numeric)


def _read_csv(path: Path, target: str) -> _Table:
    """The file, once its header has been found to be in order and to name the target.

    The lines are read by Python's csv, because other readers do not tell on which line of the file a row was.
    """
    where = visible(str(path))
    if not path.exists():
        raise FileNotFoundError(f"{where}: no such file")
    if not path.is_file():
        raise ValueError(f"{where}: this is not a file; give the path of a CSV file")
    lines, records = _records(path)
    if not records:
        raise ValueError(f"{where}: the file is empty; line 1 must name the columns")
    header, rows = records[0], records[1:]
    _check_header(where, header)
    _check_target(where, header, target)
    for line, fields in zip(lines, records, strict=True):
        if len(fields) != len(header):
            found, named = several(len(fields), "field"), several(len(header), "column")
            raise ValueError(f"{_place(path, line)}: {found}, but the header names {named}")
    if not rows:
        raise ValueError(f"{where}: no rows; there is only the header in line 1")
    return _Table(path, dict(zip(header, zip(*rows, strict=True), strict=True)), lines[1:])


def _records(path: Path) -> tuple[list[int], list[list[str]]]:
    """The line on which each record starts, and its fields without the blanks around them; empty lines are skipped."""
    _check_encoding(path)
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
            reason = f"this is not UTF-8 text ({error}); save it as a UTF-8 CSV file"
            raise ValueError(f"{visible(str(path))}: {reason}") from error
        except csv.Error as error:
            reason = str(error)
            if "end of data" in reason or "field limit" in reason:
                reason = f"a quote is opened and never closed, or a field is longer than {csv.field_size_limit():,}"
            raise ValueError(f"{_place(path, line)}: cannot be read as CSV: {reason}") from error
    return lines, records


def _check_encoding(path: Path) -> None:
    """Name the encoding that spreadsheets write as "Unicode text": with ASCII in it, every other byte is 0."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(MARKS_OF_UTF16) or start.count(0) > len(start) // 3:
        raise ValueError(f"{visible(str(path))}: this is not UTF-8 but UTF-16 text; save it as a UTF-8 CSV file")


def _check_header(where: str, header: list[str]) -> None:
    if "" in header:
        number = header.index("") + 1
        raise ValueError(f"{where}, line 1: column {number} has no name; name it, or drop it if it numbers the rows")
    name, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{where}, line 1: {_in_words(count)} columns are called {shown(name)}; rename or drop one")


def _in_words(count: int) -> str:
    return "two" if count == 2 else f"{count:,}"


def _check_target(where: str, header: list[str], target: str) -> None:
    hint = "; the fields must be separated by commas" if len(header) == 1 else ""
    if target not in header:
        near, names = closest(target, header), listed(header)
        raise ValueError(f"{where}: no column {shown(target)};{near} line 1 names {names}{hint}")
    if len(header) == 1:
        raise ValueError(f"{where}: no feature columns: {shown(target)} is the only column{hint}")


def _check_nothing_missing(table: _Table, target: str) -> None:
    every_spelling = {*MISSING, *MISSING_TOO}
    missing = [
        (row, position, name)
        for position, (name, texts) in enumerate(table.columns.items())
        for row, text in enumerate(texts)
        if text in every_spelling
    ]
    if missing:
        row, _, name = min(missing)
        what = "the target is missing" if name == target else "the value is missing"
        raise ValueError(
            f"{table.at(row, name)}: {what} ({len(missing)} missing in the whole file; an empty field and "
            f"{', '.join(MISSING[1:])} count as missing). Fill it in, or delete the line or the column"
        )


def _number_target(table: _Table, target: str) -> tuple[Array, tuple[str, ...]]:
    values = _parsed(table, target)
    if np.isnan(values).any():
        raise ValueError(f"{_first_text(table, target, values)}, and regression=True needs numbers")
    return values, ()


def _class_target(table: _Table, target: str) -> tuple[Array, tuple[str, ...]]:
    values = _parsed(table, target)
    is_number = not np.isnan(values).any()
    texts = table.columns[target]
    labels: Sequence[Any] = texts
    if is_number:
        fractions = np.flatnonzero(values % 1)
        if len(fractions):
            row = fractions[0]
            raise ValueError(
                f"{table.at(row, target)}: {values[row]} is no class label; to predict numbers, pass regression=True"
            )
        labels = [_whole(text) for text in texts]
    y, different = _numbered(labels)
    class_names = tuple(str(label) for label in different)
    column = f"{visible(str(table.path))}, column {shown(target)}"
    if len(class_names) == 1:
        raise ValueError(f"{column}: only one class, {shown(class_names[0])}; a classifier needs at least two")
    if len(class_names) == len(y) > FEW_ROWS:
        advice = "to predict numbers, pass regression=True" if is_number else "choose another target"
        raise ValueError(f"{column}: each of the {len(y)} rows has a class of its own; {advice}")
    return y, class_names


def _whole(text: str) -> int:
    """The integer of a text of a number without a fraction: exactly, where float64 could not tell two apart."""
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else int(float(text))


def _numbered(labels: Sequence[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """For each label its place among the different ones, and these, sorted."""
    different = sorted(set(labels))
    place = {label: i for i, label in enumerate(different)}
    return np.array([place[label] for label in labels], dtype=np.int64), different


def _features(table: _Table, target: str) -> tuple[Array, tuple[str, ...], NDArray[np.bool_]]:
    blocks: list[Array] = []
    names: list[str] = []
    numeric: list[bool] = []
    for name, texts in table.columns.items():
        if name == target:
            continue
        values = _parsed(table, name)
        if np.isnan(values).any():
            codes, categories = _numbered(texts)
            _check_categories(table, name, values, len(categories))
            blocks.append(one_hot(codes, len(categories)))
            names.extend(f"{name}={category}" for category in categories)
            numeric.extend([False] * len(categories))
        else:
            blocks.append(values[:, None])
            names.append(name)
            numeric.append(True)
    return np.concatenate(blocks, axis=1), tuple(names), np.array(numeric)


def _parsed(table: _Table, name: str) -> Array:
    """The column as float64, NaN for each text that is no number; infinite ones are refused in a column of numbers."""
    texts = table.columns[name]
    values = np.array([_float(text) for text in texts])
    for row in map(int, np.flatnonzero(np.isnan(values))):
        _check_visible(table, row, name)
    infinite = np.isinf(values)
    if infinite.any() and not np.isnan(values).any():
        row = int(np.argmax(infinite))
        raise ValueError(
            f"{table.at(row, name)}: {shown(texts[row])} is infinite or too large for a float64 "
            f"({infinite.sum()} such in the column); write a finite number"
        )
    return values


def _float(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)  # Python reads 1_000 as a thousand; a CSV means a text
    except ValueError:
        return math.nan


def _check_visible(table: _Table, row: int, name: str) -> None:
    """Refuse a NUL, and a text that is a number but for what nobody sees in it, such as a space of no width."""
    text = table.columns[name][row]
    if text.isprintable():
        return
    unseen = [character for character in text if not character.isprintable() and not character.isspace()]
    if "\0" in unseen or (unseen and not math.isnan(_float("".join(c for c in text if c not in unseen)))):
        which = listed(sorted({f"U+{ord(character):04X}" for character in unseen}))
        raise ValueError(
            f"{table.at(row, name)}: {shown(text)} holds a character that nobody sees ({which}); delete it"
        )


def _first_text(table: _Table, name: str, values: Array) -> str:
    row = int(np.argmax(np.isnan(values)))
    return f"{table.at(row, name)}: {shown(table.columns[name][row])} is not a number"


def _check_categories(table: _Table, name: str, values: Array, categories: int) -> None:
    """Refuses a text column that one-hot columns would make useless: damaged numbers, identifiers."""
    rows, numbers_in_it = len(values), values[~np.isnan(values)]
    # A few whole numbers among words may be categories (0, 1, 2, 3+); fractions or many different ones were measured.
    measured = np.any(numbers_in_it != np.round(numbers_in_it)) or len(np.unique(numbers_in_it)) > FEW_ROWS
    if 2 * len(numbers_in_it) > rows and measured:
        raise ValueError(f"{_first_text(table, name, values)}, as most of this column are; correct it")
    if categories == rows > FEW_ROWS or categories > MOST_CATEGORIES:
        raise ValueError(
            f"{visible(str(table.path))}, column {shown(name)}: {categories} different texts in {rows} rows; "
            "this is an identifier, not a category: drop the column"
        )
