"""The summary of a preparation: a table in plain text that says what became of each column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_ce.data.checks import quoted, shown
from tinygrad_ce.data.columns import Column
from tinygrad_ce.report.parts import PrintedText, Sentence, Table, Words
from tinygrad_ce.report.words import cut, format_number, several, visible

if TYPE_CHECKING:
    from tinygrad_ce.data.preparation import Preparation

WIDTH = 78  # characters of a line: terminals have 80, and the command writes options with two more
WIDEST = 24  # of a name
LONGEST = 72  # of a list of features


def summary_of(preparation: Preparation) -> PrintedText:
    """The features and the target, then each column of the table."""
    rows = []
    start = 0
    for column in preparation.columns:
        stop = start + len(column.features)
        name, features = " ".join(column.name.split()), " ".join(_features(column).split())
        what = Words(_numbers(preparation, column, start, stop))
        rows.append((cut(name, WIDEST), column.kind, cut(features, LONGEST), what))
        start = stop
    sentences = (Sentence(text, indent=2) for text in (_headline(preparation), *preparation.notes))
    table = Table(rows, ("column", "kind", "becomes", "how"), whole=frozenset({0, 1}))
    return PrintedText.of([*sentences, table], WIDTH)


def _headline(preparation: Preparation) -> str:
    target = preparation.target
    features = several(len(preparation.feature_names), "feature")
    name = "no target column" if target.name is None else f"target {shown(target.name)}"
    if preparation.class_names:
        what = f"{several(len(preparation.class_names), 'class', 'classes')}: {quoted(preparation.class_names)}"
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
    return [] if (shift, scale) == (0.0, 1.0) else [f"minus {format_number(shift)}, divided by {format_number(scale)}"]
