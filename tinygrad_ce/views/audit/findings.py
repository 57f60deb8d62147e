"""`audit`, and what it found: one table that fits a screen, with the sentence that teaches at its top."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

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
from tinygrad_ce.views.audit.verdicts import CURES, SMALL_GRADIENT, VERDICTS, lesson, verdict_on

_MOST_ROWS, _MOST_FOLDED = 12, 7  # of the table: of more, layers that are alike share one, of two lines


class Column(NamedTuple):
    """A column of a table: its title, the figure of a row, and its unit."""

    title: str
    figure: str
    unit: str = ""

    def cell(self, rows: Sequence[Row]) -> str:
        """The figure of a layer, or the smallest and the largest of several."""
        found = [getattr(row, self.figure) for row in rows if getattr(row, self.figure) not in (None, "")]
        if self.figure == "verdict":  # in two lines, so that narrow terminals keep the names of layers whole
            return (Strong if found[0] in CURES else Words)(found[0].replace(" too ", "\ntoo "))
        if not found or self.title == "histogram":
            return "".join(found).replace(" ", "\u00a0")  # in a histogram a space counts
        low, high = [f"{end:.0f}" if self.unit else _number(end) for end in (min(found), max(found))]
        return (low if low == high else f"{low}\nto {high}") + self.unit


def _number(value: float) -> str:
    return format_number(value, 3 if 10 <= value < 1000 else 2)


FLATNESS = (Column("saturated", "saturated", " %"), Column("dead", "dead", " %"))
UPDATE = Column("update\n/ weight", "update_per_weight")
SHORT = (*FLATNESS, Column("gradient\n/ last's", "share"), UPDATE, Column("verdict", "verdict"))
DETAILS = {
    "forward: the outputs": (
        *(Column("mean", "mean"), Column("spread", "spread"), Column("histogram", "outputs")),
        *FLATNESS,
    ),
    "backward: the gradient at the outputs": (
        *(Column("norm", "arriving"), Column("/ last\nlayer's", "share"), Column("histogram", "backward")),
        Column("handed on", "factor"),
    ),
    "the weights": (Column("gradient", "gradient"), Column("gradient\n/ weight", "gradient_per_weight"), UPDATE),
}


@dataclass(repr=False)
class Details(Report):
    """What `Audit.details` shows."""

    parts: list[Part]


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
        if not math.isfinite(self.loss) and "not finite" not in self.illnesses:
            return "; ".join(filter(None, ("not finite: the loss itself", self.named(CURES))))
        return self.named(CURES) or "fine"

    def named(self, verdicts: Container[str]) -> str:
        """Those of the verdicts that hold, with their layers."""
        found = [(verdict, listed([row.path for row in rows])) for verdict, rows in self.illnesses.items()]
        return "; ".join(f"{verdict}: {paths}" for verdict, paths in found if verdict in verdicts)

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
    def parts(self) -> list[Part]:
        """The lesson, a table of what decides the verdicts, what they mean, and the cures."""
        taught = [Sentence(self.lesson)] if self.lesson else []
        notes = [Sentence(note, indent=2) for note in self._notes()]
        return [self._heading(), *taught, _table(folded(self.rows), SHORT), *notes]

    @property
    def details(self) -> Details:
        """All figures of all layers: what they compute, what comes back to them, and what becomes of the weights."""
        parts: list[Part] = [self._heading()]
        for title, columns in DETAILS.items():
            table = _table([[row] for row in self.rows], columns)
            parts += [Heading(title), table] if len(table.header) > 1 else []
        return Details(parts)

    def _heading(self) -> Heading:
        return Heading(f"{self.model}, loss {format_number(self.loss)}: {self.verdict}")

    def _notes(self) -> list[str]:
        """What each verdict means, with its cure and the layers of which there is more to say."""
        notes = []
        for verdict in VERDICTS:
            rows = [row for row in self.rows if verdict_on(row) is verdict]
            said = [row.path if verdict.remark else f"{row.path}: {row.reason}" for row in rows if row.reason]
            of = f" ({listed(said, most=3)})" if said else ""
            notes += [f"{verdict.name}{of}: {verdict.meaning}"] if rows else []
        if any(row.own_part for row in self.rows):
            notes.append(
                "own part: operations in the module's own forward; outputs and gradient are those of what they hand to "
                "the modules inside, not of what the module gives on."
            )
        if self.optimizer is None:
            notes.append("update / weight: pass the optimizer too, as in tg.audit(model, loss, optimizer).")
        return notes


def folded(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of a table that fits a screen: of a deep model, layers that are alike stand in one.

    They are of one verdict, and neighbours among those of their kind; where that is too long, all of a class.
    """
    groups = [[row] for row in rows]
    for order, most in ((["kind"], _MOST_ROWS), (["class_name", "verdict"], _MOST_FOLDED)):
        if len(groups) > most:
            alike = groupby(sorted(rows, key=attrgetter(*order)), attrgetter(order[0], "verdict"))
            groups = sorted(([*group] for _, group in alike), key=lambda group: group[0].order)
    return groups


def _title(group: list[Row]) -> Words:
    """The name of a layer, or of several with how many there are."""
    first, last = group[0], group[-1]
    if first is last:
        return Words(first.name)
    kind = first.kind if all(row.kind == first.kind for row in group) else first.class_name
    return Words(f"{cut(first.path, 30)} to {cut(last.path, 30)}:\n{len(group)} x {cut(kind, 30)}")


def _table(groups: list[list[Row]], columns: Sequence[Column]) -> Table:
    """One row for each group that has a figure; columns without one are left out."""
    columns = [column for column in columns if any(column.cell(group) for group in groups)]
    rows = [[_title(group), *(column.cell(group) for column in columns)] for group in groups]
    header = ["layer", *(column.title for column in columns)]
    histograms = frozenset(n for n, title in enumerate(header) if title == "histogram")
    numbers = frozenset(n for n, title in enumerate(header) if title not in ("layer", "histogram", "verdict"))
    rows = [row for row in rows if any(row[1:])]
    return Table(rows, header, right=numbers, whole=histograms, label="the layers")


def audit(model: Module, loss: Tensor, optimizer: Optimizer | None = None) -> Audit:
    """Look at every layer: is it saturated or dead, does a gradient reach it, are its updates of a good size?

    model: a Module. loss: a single number, computed by calling the model, outside of fit and no_grad; no backward() is
    needed, and every `.grad` stays as it is. optimizer: if given, its next update by this loss is measured (without any
    clipping of gradients, and without making it). Units are the last axis, all other axes are rows.
    An activation is what gets flat somewhere: tanh, relu, clip, an operation of your own, or several that make one
    together, as 1 / (1 + exp(-x)) or x * (x > 0). `.details` has all figures, `tinygrad_ce.views.audit.VERDICTS` every
    threshold with its source; `tinygrad_ce.views.Watch` audits during a training.
    Raises TypeError and ValueError for what is no model, loss or optimizer, and for a loss of another model.

    >>> tg.seed(0)
    >>> model = Sequential(Dense(2, 4), Sigmoid(), Dense(4, 2))
    >>> audit(model, losses.softmax_cross_entropy(model(np.ones((3, 2)) * 9), np.array([0, 1, 1]))).verdict
    'saturated: layers.1'
    """
    if not isinstance(model, Module):
        raise TypeError(f"tg.audit: model is {type(model).__name__}; it must be a tg.nn.Module: tg.audit(model, loss)")
    check_readable(loss, "tg.audit")
    check_unchanged(loss, "tg.audit")
    if not isinstance(optimizer, (Optimizer, type(None))):
        kind = type(optimizer).__name__
        raise TypeError(f"tg.audit: optimizer is {kind}; pass one of tg.optim, as tg.optim.SGD(...)")
    own = {parameter.serial for parameter in model.parameters()}
    if optimizer is not None and not any(parameter.serial in own for parameter in optimizer.parameters):
        raise ValueError("tg.audit: the optimizer holds no parameter of this model: make it with model.parameters()")
    graph = reachable(loss)
    layers = layers_of(model, graph, loss)
    if not any(layer.calls for layer in layers):
        raise ValueError(
            f"tg.audit: no operation of this loss was made in this {type(model).__name__}: compute the loss by calling "
            "model(x), outside of fit and no_grad, and pass that same model"
        )
    gradients, order = Gradients(loss, graph, layers), sorted(layers, key=lambda layer: layer.youngest)
    with np.errstate(all="ignore"):
        rows = [row_of(layer, order.index(layer), gradients, optimizer) for layer in layers]
    _judge(rows)
    return Audit(type(model).__name__, float(loss.item()), type(optimizer).__name__ if optimizer else None, rows)


def _judge(rows: list[Row]) -> None:
    """Give each row its verdict, and the reason."""
    asking = max(row.gradient_per_weight or 0.0 for row in rows) > SMALL_GRADIENT
    nothing_came = "the loss gives back 0" if not any(row.arriving or row.gradient for row in rows) else "it is 0"
    for row in rows:
        row.asking = asking
        verdict = verdict_on(row)
        if verdict is not None:
            row.verdict, row.reason = "fine" if verdict.remark else verdict.name, verdict.remark
        if row.verdict == "not finite":
            row.reason = row.not_finite
        elif row.verdict == "no gradient":
            blocking = [other for other in rows if other.dead == 100 and other.order > row.order]
            nearest = min(blocking, key=attrgetter("order"), default=None)
            row.reason = row.unused or (nothing_came if nearest is None else f"{nearest.path} lets nothing back")
