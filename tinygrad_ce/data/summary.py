"""The summary of a preparation: a table in plain text that says what became of each column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_ce.data.checks import listed, several, shown, visible
from tinygrad_ce.data.columns import Category, Column
from tinygrad_ce.data.printed_text import PrintedText

if TYPE_CHECKING:
    from tinygrad_ce.data.preparation import Preparation

WIDEST = 40  # characters of a name or a list of features


def summary_of(preparation: Preparation) -> PrintedText:
    """The features and the target in one line, then one line for each column of the table."""
    rows = [("column", "kind", "becomes", "")]
    start = 0
    for column in preparation.columns:
        stop = start + len(column.features)
        rows.append((column.name, column.kind, _features(column), _numbers(preparation, column, start, stop)))
        start = stop
    cut = [[*map(_cut, row[:3]), visible(row[3])] for row in rows]
    widths = [max(len(row[i]) for row in cut) for i in range(3)]
    lines = ["  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in cut]
    headline = _headline(preparation)
    summary = PrintedText("\n".join([headline, *preparation.notes, *(line.rstrip() for line in lines)]))
    summary.caption, summary.notes = headline, preparation.notes
    summary.header, *summary.rows = ((*row,) for row in cut)
    return summary


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
        fills = [f"{value:.4g}" for value in preparation.fill[start:stop]]
        words.append("missing: " + ("all 0" if isinstance(column, Category) else ", ".join(fills)))
    if stop == start + 1:
        words += _scaling(preparation.shift[start], preparation.scale[start])
    return "; ".join(words)


def _scaling(shift: float, scale: float) -> list[str]:
    return [] if (shift, scale) == (0.0, 1.0) else [f"minus {shift:.4g}, divided by {scale:.4g}"]


def _cut(text: str) -> str:
    text = visible(" ".join(text.split()))
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
