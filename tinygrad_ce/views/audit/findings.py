"""`audit`, and what it found: one table that fits a screen, with the sentence that teaches at its top."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Tensor
from tinygrad_ce.graph.checks import check_readable, check_unchanged
from tinygrad_ce.graph.layers import layers_of
from tinygrad_ce.nn import Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.report.parts import Heading, Part, Report, Sentence, Strong, Table, Words
from tinygrad_ce.report.words import cut, format_number, listed
from tinygrad_ce.views.audit.figures import Gradients, Row, row_of
from tinygrad_ce.views.audit.judging import class_of, has_too_few_rows, judge, lesson
from tinygrad_ce.views.audit.thresholds import CURES, FEWEST_ROWS, SEPARATE, SEPARATE_NOTE

_MOST_ROWS, _MOST_REASONS = 12, 3  # of the table: of more rows, layers that are alike share one


class Column(NamedTuple):
    """A column of a table: its title, the figure of a row, and its unit."""

    title: str
    figure: str
    unit: str = ""

    def cell(self, rows: Sequence[Row]) -> str:
        """The figure of a layer, or the smallest and the largest of several."""
        found = [value for row in rows if (value := getattr(row, self.figure)) not in (None, "")]
        if not found or isinstance(found[0], str):
            return "".join(found[:1]).replace(" ", "\u00a0")  # of a histogram, where a space counts
        if min(found) == max(found):
            return self._written(found[0], 2) + self.unit
        low, high = (self._written(value, 1) for value in (min(found), max(found)))
        return (low if low == high else f"{low}\nto {high}") + self.unit

    def _written(self, value: float, digits: int) -> str:
        return f"{value:.0f}" if self.unit else format_number(value, digits)


FLATNESS = (Column("saturated", "saturated", " %"), Column("dead", "dead", " %"))
STEP = Column("update\n/ weight", "update_per_weight")
SHORT = (*FLATNESS, Column("gradient\n/ last's", "share"), STEP)
FORWARD = (Column("mean", "mean"), Column("spread", "spread"), Column("histogram", "outputs"), *FLATNESS)
BACKWARD = (
    Column("gradient\nthere", "arriving"),
    Column("/ last\nlayer's", "share"),
    Column("histogram", "backward"),
    Column("handed\non", "factor"),
)
WEIGHTS = (Column("gradient", "gradient"), Column("gradient\n/ weight", "gradient_per_weight"), STEP)


@dataclass(repr=False)
class Audit(Report):
    """What `audit` found: printed it is a table, in a notebook an HTML one; the numbers are in `rows`.

    model: its class. loss: its value. optimizer: its class, or None if none was given.
    """

    model: str
    loss: float
    optimizer: str | None
    rows: list[Row]

    @property
    def verdict(self) -> str:
        """One line on the whole model."""
        found = [f"{verdict}: {listed([row.path for row in rows])}" for verdict, rows in self.illnesses.items()]
        if not math.isfinite(self.loss) and "not finite" not in self.illnesses:
            found.insert(0, "not finite: the loss itself")
        return "; ".join(found) or "fine"

    @property
    def illnesses(self) -> dict[str, list[Row]]:
        """The rows that are not fine, by their verdict, the most urgent first."""
        found = {verdict: [row for row in self.rows if row.verdict == verdict] for verdict in CURES}
        return {verdict: rows for verdict, rows in found.items() if rows}

    @property
    def lesson(self) -> str:
        """The one sentence that the figures teach; empty where they are fine and the model is not deep."""
        return lesson(self.rows, self.illnesses)

    @property
    def parts(self) -> list[Part]:  # type: ignore[override]
        """The lesson, a table of what decides the verdicts, what they mean, and the cures."""
        table = _table(folded(self.rows), SHORT, with_verdicts=True)
        taught = [Sentence(self.lesson)] if self.lesson else []
        return [self._heading(), *taught, table, *(Sentence(note, indent=2) for note in self._notes())]

    @property
    def details(self) -> Report:
        """All figures of all layers: what they compute, and what comes back to them."""
        rows = [[row] for row in self.rows]
        found = Report()
        found.parts = [
            *(self._heading(), Heading("forward: the outputs"), _table(rows, FORWARD)),
            *(Heading("backward: the gradient at the outputs"), _table(rows, BACKWARD)),
            *(Heading("the weights"), _table([[row] for row in self.rows if row.gradient is not None], WEIGHTS)),
        ]
        return found

    def _heading(self) -> Heading:
        return Heading(f"{self.model}, loss {format_number(self.loss)}: {self.verdict}")

    def _notes(self) -> list[str]:
        """What was said of single layers, and what each illness means with its usual cures."""
        said: dict[str, list[str]] = {}
        for row in self.rows:
            said.setdefault(row.reason, []).append(row.path)
        notes = [f"{listed(paths)}: {reason}." for reason, paths in said.items() if reason]
        notes[_MOST_REASONS:] = [f"and {len(notes) - _MOST_REASONS} more: see .rows"] if len(notes) > _MOST_REASONS else []
        notes += [f"{verdict}: {CURES[verdict]}" for verdict in self.illnesses]
        if any(row.verdict == SEPARATE for row in self.rows):
            notes.append(f"{SEPARATE}: {SEPARATE_NOTE}")
        if any(has_too_few_rows(row) for row in self.rows):
            notes.append(
                f"dead units: with fewer than {FEWEST_ROWS} rows there is no verdict, for a healthy ReLU too is "
                "switched off for all of so few in many units. Use a larger batch."
            )
        if any(row.own_part for row in self.rows):
            notes.append(
                "own part: operations in the module's own forward; outputs and gradient are those of what they hand to "
                "the modules inside, not of what the module gives on."
            )
        if self.optimizer is None:
            notes.append("update / weight: pass the optimizer too, as in tg.audit(model, loss, optimizer).")
        return notes


def folded(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of a table that fits a screen: of a deep model, neighbours that are alike stand in one.

    Neighbours are layers of one kind; if that is not short enough, all of one kind or class with one verdict.
    """
    groups = [[row] for row in rows]
    for alike, neighbours in ((attrgetter("kind"), True), (attrgetter("kind"), False), (class_of, False)):
        if len(groups) <= _MOST_ROWS:
            break
        groups = _grouped(rows, alike, neighbours)
    return groups


def _grouped(rows: Sequence[Row], kind_of: Callable[[Row], str], neighbours: bool) -> list[list[Row]]:
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(kind_of(row), []).append(row)
    groups = []
    for alike in kinds.values():
        ordered = alike if neighbours else sorted(alike, key=attrgetter("verdict"))
        groups += [[*group] for _, group in groupby(ordered, key=attrgetter("verdict"))]
    return sorted(groups, key=lambda group: rows.index(group[0]))


def _title(group: list[Row]) -> str:
    """The name of a layer, or of several with how many there are."""
    first, last = group[0], group[-1]
    if first is last:
        return cut(first.name, 60)
    kind = first.kind if all(row.kind == first.kind for row in group) else class_of(first)
    return f"{cut(first.path, 30)} to {cut(last.path, 30)}:\n{len(group)} x {cut(kind, 30)}"


def _table(groups: list[list[Row]], columns: Sequence[Column], with_verdicts: bool = False) -> Table:
    """One row for each group; columns without a figure are left out."""
    cells = [[column.cell(group) for column in columns] for group in groups]
    shown = [n for n in range(len(columns)) if any(row[n] for row in cells)]
    rows = [[Words(_title(group)), *(row[n] for n in shown)] for group, row in zip(groups, cells, strict=True)]
    if with_verdicts:
        for row, group in zip(rows, groups, strict=True):
            row.append((Strong if group[0].verdict in CURES else Words)(group[0].verdict))
    header = ["layer", *(columns[n].title for n in shown), *(["verdict"] if with_verdicts else [])]
    texts = {place for place, n in enumerate(shown, start=1) if columns[n].title == "histogram"}
    numbers = {*range(1, len(shown) + 1)} - texts
    return Table(rows, header, right=frozenset(numbers), whole=frozenset(texts), label="the layers")


def audit(model: Module, loss: Tensor, optimizer: Optimizer | None = None) -> Audit:
    """Look at every layer: is it saturated or dead, does a gradient reach it, are its updates of a good size?

    model: a Module. loss: a single number, computed by calling the model, outside of fit and no_grad; no backward() is
    needed, and every `.grad` stays as it is. optimizer: if given, its next update by this loss is measured (without any
    clipping of gradients, and without making it). Units are the last axis, all other axes are rows.
    An activation is what gets flat somewhere: tanh, relu, softplus, an operation of your own, and operations that make
    one together, as 1 / (1 + exp(-x)) or x * (x > 0). `.details` has all figures; during training: `views.Watch`.
    Updates of about 0.001 of the weights are healthy over a training; first steps are longer, so that up to 0.1 is
    called fine, and from 0.01 on it is said that they are long. `tinygrad_ce.views.audit.VERDICTS` has every threshold
    with its source.
    Raises TypeError and ValueError for what is no model, loss or optimizer, and for a loss of another model.

    >>> tg.seed(0)
    >>> model = Sequential(Dense(2, 4), Sigmoid(), Dense(4, 2))
    >>> audit(model, losses.softmax_cross_entropy(model(np.ones((3, 2)) * 9), np.array([0, 1, 1]))).verdict
    'saturated: layers.1'
    """
    _check_model(model)
    check_readable(loss, "tg.audit")
    check_unchanged(loss, "tg.audit")
    _check_optimizer(model, optimizer)
    graph = reachable(loss)
    layers = layers_of(model, graph, loss)
    if not any(layer.calls for layer in layers):
        raise ValueError(
            f"tg.audit: no operation of this loss was made in this {type(model).__name__}: compute the loss by calling "
            "model(x), outside of fit and no_grad, and pass that same model"
        )
    gradients = Gradients(loss, graph, layers)
    order = {id(layer): place for place, layer in enumerate(sorted(layers, key=lambda layer: layer.youngest))}
    with np.errstate(all="ignore"):
        rows = [row_of(layer, order[id(layer)], gradients, optimizer) for layer in layers]
        judge(layers, rows, gradients)
    name = None if optimizer is None else type(optimizer).__name__
    return Audit(type(model).__name__, float(loss.item()), name, rows)


def _check_model(model: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"tg.audit: model is {type(model).__name__}; it must be a tg.nn.Module: tg.audit(model, loss)")


def _check_optimizer(model: Module, optimizer: Any) -> None:
    if optimizer is None:
        return
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"tg.audit: optimizer is {type(optimizer).__name__}; pass one of tg.optim, as tg.optim.SGD(...)"
        )
    own = {parameter.serial for parameter in model.parameters()}
    if not any(parameter.serial in own for parameter in optimizer.parameters):
        raise ValueError("tg.audit: the optimizer holds no parameter of this model: make it with model.parameters()")
