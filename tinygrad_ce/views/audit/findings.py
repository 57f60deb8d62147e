"""`audit`, and what it found: one table that fits a screen, with the sentence that teaches at its top."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Tensor
from tinygrad_ce.graph.checks import check_readable, check_unchanged
from tinygrad_ce.graph.layers import layers_of
from tinygrad_ce.nn import Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.report.parts import Heading, Part, Report, Sentence, Strong, Table, Words
from tinygrad_ce.report.words import cut, format_number, listed, percent
from tinygrad_ce.views.audit.figures import Gradients, Row, row_of
from tinygrad_ce.views.audit.verdicts import CURES, SMALL_GRADIENT, VERDICTS, lesson, verdict_on

_MOST_ROWS, _MOST_FOLDED = 12, 7  # of the table: of more, layers that are alike share one, of two lines
SHORT = ("saturated", "dead", "share", "update_per_weight", "verdict")
DETAILS = {
    "forward: the outputs": ("mean", "spread", "outputs", "saturated", "dead"),
    "backward: the gradient at the outputs": ("arriving", "share", "backward", "factor"),
    "the weights": ("gradient", "gradient_per_weight", "update_per_weight"),
}
TITLES = {  # of columns that are not called as the figures of a row are
    "outputs": "histogram",
    "backward": "histogram",
    "share": "gradient\n/ last's",
    "arriving": "norm",
    "factor": "handed on",
    "gradient_per_weight": "gradient\n/ weight",
    "update_per_weight": "update\n/ weight",
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
        alone = not math.isfinite(self.loss) and "not finite" not in self.illnesses
        loss = ["not finite: the loss itself"] if alone else []
        return "; ".join([*loss, *self.named(CURES)]) or "fine"

    def named(self, verdicts: Container[str]) -> list[str]:
        """Those of the verdicts that hold, with their layers."""
        found = [(verdict, listed([row.path for row in rows])) for verdict, rows in self.illnesses.items()]
        return [f"{verdict}: {paths}" for verdict, paths in found if verdict in verdicts]

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
        for title, figures in DETAILS.items():
            table = _table([[row] for row in self.rows], figures)
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
            notes.append("own part: of what its operations hand to modules inside, not of what the module gives on.")
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


def _cell(figure: str, rows: Sequence[Row]) -> str:
    """The figure of a layer, or the smallest and the largest of several."""
    found = [getattr(row, figure) for row in rows if getattr(row, figure) not in (None, "")]
    if figure == "verdict":  # in two lines, so that narrow terminals keep the names of layers whole
        return (Strong if found[0] in CURES else Words)(found[0].replace(" too ", "\ntoo "))
    if not found or isinstance(found[0], str):
        return "".join(found).replace(" ", "\u00a0")  # in a histogram a space counts
    share, ends = figure in ("saturated", "dead"), (min(found), max(found))
    words = [percent(end) if share else format_number(end, 3 if 10 <= end < 1000 else 2) for end in ends]
    return "\nto ".join(dict.fromkeys(words)) + (" %" if share else "")


def _table(groups: list[list[Row]], figures: Sequence[str]) -> Table:
    """One row for each group that has a figure; columns without one are left out."""
    shown = [figure for figure in figures if any(_cell(figure, group) for group in groups)]
    rows = [[_title(group), *(_cell(figure, group) for figure in shown)] for group in groups]
    header = ["layer", *(TITLES.get(figure, figure) for figure in shown)]
    histograms = frozenset(n for n, title in enumerate(header) if title == "histogram")
    numbers = frozenset(n for n, title in enumerate(header) if title not in ("layer", "histogram", "verdict"))
    return Table([row for row in rows if any(row[1:])], header, right=numbers, whole=histograms, label="the layers")


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
