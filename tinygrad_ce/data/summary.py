"""The summary of a preparation: a table in plain text that says what became of each column."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from textwrap import fill, wrap
from typing import TYPE_CHECKING

from tinygrad_ce.data.checks import listed, several, shown, visible
from tinygrad_ce.data.columns import Column
from tinygrad_ce.data.printed_text import PrintedText

if TYPE_CHECKING:
    from tinygrad_ce.data.preparation import Preparation

WIDTH = 78  # characters of a line: terminals have 80, and the command writes options with two more
WIDEST = 24  # of a name
LONGEST = 72  # of a list of features, which wraps under itself
LEAST = 34  # width of what is said of a column, which wraps too


def summary_of(preparation: Preparation) -> PrintedText:
    """The features and the target, then each column of the table."""
    rows = [("column", "kind", "becomes", "")]
    start = 0
    for column in preparation.columns:
        stop = start + len(column.features)
        rows.append((column.name, column.kind, _features(column), _numbers(preparation, column, start, stop)))
        start = stop
    cells = [(_cut(row[0], WIDEST), row[1], _cut(row[2], LONGEST), visible(row[3])) for row in rows]
    name, kind, features = (max(len(row[i]) for row in cells) for i in range(3))
    left = WIDTH - 6 - name - kind
    features = min(features, max(left - LEAST, 16))
    widths = (name, kind, features, left - features)
    lines = [line for row in cells for line in _lines(row, widths)]
    headline = _headline(preparation)
    said = (fill(text, WIDTH, subsequent_indent="  ") for text in (headline, *preparation.notes))
    summary = PrintedText("\n".join([*said, *lines]))
    summary.caption, summary.notes = headline, preparation.notes
    summary.header, *summary.rows = cells
    return summary


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """A row of the table, each text wrapped to the width of its column; the reason of a dropped one may be wider."""
    if not row[2]:
        row, widths = (row[0], row[1], row[3]), (widths[0], widths[1], widths[2] + 2 + widths[3])
    wrapped = [wrap(text, width) for text, width in zip(row, widths, strict=True)]
    lines = zip_longest(*wrapped, fillvalue="")
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _headline(preparation: Preparation) -> str:
    target = preparation.target
    features = several(len(preparation.feature_names), "feature")
    name = "no target column" if target.name is None else f"target {shown(target.name)}"
    if preparation.class_names:
        what = f"{several(len(preparation.class_names), 'class', 'classes')}: {listed(preparation.class_names)}"
    else:
        what = "; ".join(["numbers" + f" in {target.unit}" * bool(target.unit), *_scaling(target.shift, target.scale)])
    return f"{visible(preparation.name)}: {features}, {name} ({what})"


def _features(column: Column) -> str:
    """The features of a column, its name said once."""
    names = column.features
    return ", ".join([*names[:1], *(name.removeprefix(column.name) for name in names[1:])])


def _numbers(preparation: Preparation, column: Column, start: int, stop: int) -> str:
    """What the column is written like, what stands for a missing value, and how it is scaled."""
    words = [column.words()] * bool(column.words())
    if preparation.fill is not None and stop > start:
        words.append("missing becomes " + column.fill_words(preparation.fill[start:stop]))
    if stop == start + 1:
        words += _scaling(preparation.shift[start], preparation.scale[start])
    return "; ".join(words)


def _scaling(shift: float, scale: float) -> list[str]:
    return [] if (shift, scale) == (0.0, 1.0) else [f"minus {shift:.4g}, divided by {scale:.4g}"]


def _cut(text: str, width: int) -> str:
    text = visible(" ".join(text.split()))
    return text if len(text) <= width else text[: width - 1] + "…"
