"""The cells of a table, by column: read from a CSV file, whose lines a message can then name, or from a DataFrame."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from tinygrad_ce.data.cells import Cell, missing_rows, plain_numbers
from tinygrad_ce.data.checks import closest, extra, quoted, shown
from tinygrad_ce.report.words import several, visible

MARKS_OF_UTF16 = (b"\xff\xfe", b"\xfe\xff")
UTF8 = ("utf-8", "utf8")
DELIMITERS = ",;\t|"
NAMELESS = "Unnamed: 0"  # what pandas calls the row numbers that it writes without a name
FOR_EXCEL = re.compile(r'"?sep=(?P<sign>[^"\s]|\t)"?[\r\n]*')  # a first line that tells Excel the delimiter
SAMPLE = 65_536  # characters of a file that decide between the delimiters


@dataclass(frozen=True)
class Table:
    """The cells of a table by column, and what its rows are called in messages.

    source: "flowers.csv" or "the DataFrame". lines: for each row the line of the file on which it starts, or its
    position in the DataFrame, from 0; `row_word` says which.
    """

    source: str
    columns: dict[str, Sequence[Cell]]
    lines: Sequence[int]
    row_word: str = "line"
    _found: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.lines)

    def at(self, row: int, column: str) -> str:
        """Where a cell is: "flowers.csv, line 3, column 'x'"."""
        return f"{self.source}, {self.row_word} {self.lines[row]}, column {shown(column)}"

    def column(self, name: str) -> str:
        """Where a column is: "flowers.csv, column 'x'"."""
        return f"{self.source}, column {shown(name)}"

    def missing_rows(self, name: str) -> list[int]:
        """The rows in which the column has no value; looked for once, for all who ask."""
        if ("missing", name) not in self._found:
            self._found["missing", name] = missing_rows(self.columns[name])
        rows: list[int] = self._found["missing", name]
        return rows

    def plain_numbers(self, name: str) -> list[float] | None:
        """The numbers of the column as Python reads them, NaN where there is no value; None if not all are numbers."""
        if ("plain", name) not in self._found:
            self._found["plain", name] = plain_numbers(self.columns[name], self.missing_rows(name))
        numbers: list[float] | None = self._found["plain", name]
        return numbers

    def take(self, rows: Sequence[int]) -> Table:
        """The table of these rows."""
        columns: dict[str, Sequence[Cell]] = {
            name: [cells[row] for row in rows] for name, cells in self.columns.items()
        }
        return replace(self, columns=columns, lines=[self.lines[row] for row in rows])


def read_table(table: Any, target: str | None, *, delimiter: str | None = None, encoding: str = "utf-8") -> Table:
    """The cells of a CSV file, where `table` is a path, or of a DataFrame.

    Raises what `read_csv` and `read_frame` raise, and TypeError for what is neither a path nor a DataFrame.
    """
    if isinstance(table, str | os.PathLike):
        return read_csv(Path(table), target, delimiter=delimiter, encoding=encoding)
    return read_frame(table, target)


def read_again(table: Any, delimiter: str | None, encoding: str) -> Table:
    """The cells of a new table, whose file is UTF-8 or has the encoding of the table that the training had.

    Raises what `read_table` raises; who asks about a table cannot pass an encoding.
    """
    if not isinstance(table, str | os.PathLike) or not Path(table).is_file():
        return read_table(table, None, delimiter=delimiter)
    content = Path(table).read_bytes()
    if _is_utf8(content):  # text in another encoding hardly ever is, by chance
        encoding = "utf-8"
    elif encoding.lower() in UTF8:
        raise ValueError(
            f"{visible(str(table))}: this is not UTF-8 text, as the table of the training was; save it as UTF-8 "
            '("CSV UTF-8" in a spreadsheet), or pass a DataFrame'
        )
    return read_table(table, None, delimiter=delimiter, encoding=encoding)


# ---- CSV files


def read_csv(path: Path, target: str | None, *, delimiter: str | None = None, encoding: str = "utf-8") -> Table:
    """The file, once its header has been found to be in order and, where one is given, to name the target.

    The lines are read by Python's csv, because other readers do not tell on which line of the file a row was.
    Raises FileNotFoundError, and ValueError that names the line: no CSV, another encoding, a row too long or too short.
    """
    where = visible(str(path))
    if not path.exists():
        raise FileNotFoundError(f"{where}: no such file")
    if not path.is_file():
        raise ValueError(f"{where}: this is not a file; give the path of a CSV file")
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n '):
        raise ValueError(f"delimiter is {shown(delimiter)}; it must be one character, as ';' is")
    lines, records = _records(path, delimiter, encoding)
    if not records:
        raise ValueError(f"{where}: the file is empty; line 1 must name the columns")
    header, rows = records[0], records[1:]
    if len(header) > 1:
        header[0] = header[0] or NAMELESS
    _check_header(where, header)
    if target is not None:
        _check_target(where, header, target, "line 1 names")
    for line, fields in zip(lines, records, strict=True):
        if len(fields) != len(header):
            found, named = several(len(fields), "field"), several(len(header), "column")
            raise ValueError(f"{where}, line {line}: {found}, but the header names {named}")
    if not rows:
        raise ValueError(f"{where}: no rows; there is only the header in line 1")
    return Table(where, dict(zip(header, zip(*rows, strict=True), strict=True)), lines[1:])


def _records(path: Path, delimiter: str | None, encoding: str) -> tuple[list[int], list[list[str]]]:
    """The line on which each record starts, and its fields without the blanks around them; empty lines are skipped."""
    where = visible(str(path))
    if encoding.lower() in UTF8:
        encoding = "utf-8-sig"  # spreadsheets begin a file with a mark that is no part of the first name
        _check_encoding(path)
    elif _begins_with(path, codecs.BOM_UTF8):  # which says it, whatever was passed
        encoding = "utf-8-sig"
    lines: list[int] = []
    records: list[list[str]] = []
    line = 1
    try:
        with path.open(newline="", encoding=encoding) as file:
            said = FOR_EXCEL.fullmatch(file.readline(20))
            start, line = (file.tell(), 2) if said else (0, 1)
            file.seek(start)
            delimiter = delimiter or (said["sign"] if said else _delimiter(file.read(SAMPLE)))
            file.seek(start)
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
            for record in reader:
                fields = [field.strip() for field in record]
                if fields not in ([], [""]):
                    lines.append(line)
                    records.append(fields)
                line = reader.line_num + (2 if said else 1)
    except LookupError as error:
        raise ValueError(f'{where}: encoding is {shown(encoding)}, which Python does not know; "cp1252"?') from error
    except UnicodeError as error:
        if encoding == "utf-8-sig":
            cure = 'from_csv(..., encoding="cp1252") reads what Western Windows programs write, or save it as UTF-8'
            raise ValueError(f"{where}: this is not UTF-8 text ({error}); {cure}") from error
        cure = "pass its own encoding="
        raise ValueError(f"{where}: this is not text in {encoding} ({error}); {cure}") from error
    except csv.Error as error:
        reason = str(error)
        if "end of data" in reason or "field limit" in reason:
            reason = f"a quote is opened and never closed, or a field is longer than {csv.field_size_limit():,}"
        raise ValueError(f"{where}, line {line}: cannot be read as CSV: {reason}") from error
    return lines, records


def _delimiter(sample: str) -> str:
    """The sign between the fields: the one whose rows agree best with the header, which it must split at all."""

    def merit(sign: str) -> tuple[float, int]:
        counts: list[int] = []
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=sign, skipinitialspace=sign != "\t")
        try:
            for record in islice(reader, 20):
                counts += [len(record)] if any(map(str.strip, record)) else []
        except csv.Error:  # said with its line when the file is read
            pass
        if len(sample) == SAMPLE:
            counts = counts[:1] + counts[1:-1]  # the last row may have been cut
        if not counts or counts[0] == 1:
            return (0.0, 1)
        return (counts.count(counts[0]) / len(counts), counts[0])

    return max(DELIMITERS, key=merit)


def _begins_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _check_encoding(path: Path) -> None:
    """Name the encoding that spreadsheets write as "Unicode text"."""
    with path.open("rb") as file:
        start = file.read(64)
    if _is_utf16(start):
        cure = 'pass encoding="utf-16", or save it as a UTF-8 CSV file'
        raise ValueError(f"{visible(str(path))}: this is not UTF-8 but UTF-16 text; {cure}")


def _is_utf16(content: bytes) -> bool:
    """Whether it has the mark, or zeros as ASCII has in it: every other byte."""
    return content.startswith(MARKS_OF_UTF16) or content.count(0) > len(content) // 3


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeError:
        return False
    return not _is_utf16(content)


def _check_header(where: str, header: list[str]) -> None:
    if "" in header:
        number = header.index("") + 1
        raise ValueError(f"{where}, line 1: column {number} has no name; name it, or drop it if it numbers the rows")
    _check_names(f"{where}, line 1", header)


def _check_names(where: str, names: Iterable[str]) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        number = "two" if count == 2 else f"{count:,}"
        raise ValueError(f"{where}: {number} columns are called {shown(name)}; rename or drop one")


def _check_target(where: str, header: list[str], target: str, names: str) -> None:
    hint = ""
    if len(header) == 1 and names.startswith("line"):
        hint = "; the fields must be separated by commas, semicolons, | or tabs: pass delimiter= for another sign"
    if target not in header:
        near = closest(target, header)
        raise ValueError(f"{where}: no column {shown(target)};{near} {names} {quoted(header)}{hint}")
    if len(header) == 1:
        raise ValueError(f"{where}: no feature columns: {shown(target)} is the only column{hint}")


# ---- DataFrames


def read_frame(frame: Any, target: str | None) -> Table:
    """The cells of a DataFrame of pandas, polars or pyarrow, or of anything with `to_pandas` or `__dataframe__`.

    Numbers stay numbers; dates are written as ISO texts, booleans as True and False; the index is not looked at.
    Raises TypeError for what is no DataFrame or has a cell that is no single value, ValueError for what `read_csv` says
    of a header.
    """
    where = "the DataFrame"
    pairs = _columns_of(frame)
    if not pairs:
        raise ValueError(f"{where}: no columns")
    names = [name for name, _ in pairs]
    _check_names(where, names)
    if target is not None:
        _check_target(where, names, target, "it has")
    rows = len(pairs[0][1])
    if not rows:
        raise ValueError(f"{where}: no rows")
    table = Table(where, {}, range(rows), "row")
    for name, values in pairs:
        table.columns[name] = [_cell(table, name, row, value) for row, value in enumerate(values)]
    return table


def _columns_of(frame: Any) -> list[tuple[str, list[Any]]]:
    """The name of each column with its values as Python objects, None where one is missing."""
    if hasattr(frame, "iloc") and hasattr(frame, "columns"):  # pandas, whose names may be twice the same
        columns = [frame.iloc[:, i] for i in range(len(frame.columns))]
        return [(str(c.name).strip(), c.astype(object).where(c.notna(), None).tolist()) for c in columns]
    if hasattr(frame, "to_pydict"):  # pyarrow
        return [
            (name.strip(), column.to_pylist()) for name, column in zip(frame.column_names, frame.columns, strict=True)
        ]
    if hasattr(frame, "iter_columns"):  # polars
        return [(column.name.strip(), column.to_list()) for column in frame.iter_columns()]
    if hasattr(frame, "to_pandas"):
        return _columns_of(frame.to_pandas())
    if hasattr(frame, "__dataframe__"):
        return _columns_of(extra("pandas").api.interchange.from_dataframe(frame))
    cure = "pass frame.collect()" if hasattr(frame, "collect") else "pass a DataFrame, or the path of a CSV file"
    raise TypeError(f"a {type(frame).__name__} is no table; {cure}")


def _cell(table: Table, name: str, row: int, value: Any) -> Cell:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if isinstance(value, Iterable) and not isinstance(value, str):
        raise TypeError(f"{table.at(row, name)}: a {type(value).__name__}; a table has one value in each cell")
    return str(value.item() if hasattr(value, "item") else value).strip()
