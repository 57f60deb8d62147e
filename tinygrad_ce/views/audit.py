"""Is it learning? One line for each layer of a model: what its numbers look like, and a verdict in words.

Everything is read from the recorded graph of a loss. Gradients, slopes and updates are asked of the engine's rules and
of the optimizer's own `update`; nothing is changed.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import edges, reachable
from tinygrad_ce.backward import recording, seed_of, walk
from tinygrad_ce.core import Array, Tensor, array_of
from tinygrad_ce.data.checks import several, whole_number
from tinygrad_ce.graph.checks import check_readable, check_unchanged, undisturbed
from tinygrad_ce.graph.layers import Layer, activity, holds_others, layers_of
from tinygrad_ce.nn import Module, init
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.report.histograms import histogram
from tinygrad_ce.report.text import for_terminal, printed
from tinygrad_ce.source_lines import tracking
from tinygrad_ce.views import notebook, plots
from tinygrad_ce.views.text import plain_table

# Percent of a layer's numbers that are flat, or of its units that are dead, before it is an illness: a few always are.
MOST = 50.0
FEWEST_ROWS = 8  # of fewer, a healthy ReLU is switched off for all rows in many of its units
# The gradient at a layer's outputs, as a share of that at the last layers'. Initial weights are chosen so that it stays
# near 1 (Glorot and Bengio, section 4.2); three powers of ten are beyond what a learning rate makes good.
VANISHING, EXPLODING = 1e-3, 1e3
# The size of one update over that of the weights. Source for "about 1e-3": A. Karpathy, CS231n notes, "Neural networks
# part 3: ratio of weights:updates". First steps are longer: of 170 small networks on moons, digits and spirals none
# that began with less than 0.1 went wrong, of those with more every second did. Small updates are an illness only while
# a gradient asks for more: where gradient / weight was below 0.03 in every layer, the data had mostly been learnt.
HEALTHY_UPDATE = 1e-3
LARGE_UPDATE, SMALL_UPDATE, SMALL_GRADIENT = 0.1, 1e-4, 0.03
LONG_UPDATE = 0.01  # usual at first, ten times what is healthy in the long run

CURES = {
    "not finite": "NaN or infinity has come in; tg.why_nan(loss) names the operation that made the first one.",
    "no gradient": "These parameters stay as they are. Use them in the loss, or see which layer lets nothing back.",
    "saturated": "Where the curve is flat, gradients are lost. Usual cures: smaller initial weights, standardised "
    "inputs, BatchNorm in front of the activation.",
    "dead": "Units whose slope is 0 for every row learn nothing. Usual cures: a smaller learning rate, initial weights "
    'with init="he_normal", biases near 0, another activation (Softplus, Tanh).',
    "exploding": f"The gradient grows more than {EXPLODING:g}-fold on its way back. Usual cures: smaller initial "
    'weights (init="glorot_uniform" or "he_normal"), BatchNorm, clip_norm=1.0 in fit.',
    "vanishing": f"Less than {VANISHING:g} of the gradient comes back to here. Usual cures: ReLU or Tanh instead of "
    'Sigmoid, init="he_normal" or "glorot_uniform", BatchNorm, fewer layers.',
    "updates too large": f"One step changes the weights by more than {LARGE_UPDATE:g} of their size; about "
    f"{HEALTHY_UPDATE:g} is healthy, and more at first. Usual cure: a smaller learning rate.",
    "updates too small": f"One step changes the weights by less than {SMALL_UPDATE:g} of their size; about "
    f"{HEALTHY_UPDATE:g} is healthy. Usual cure: a larger learning rate.",
}
SEPARATE = "not in the graph"
SEPARATE_NOTE = (
    "no gradient passes through these. A softmax or sigmoid that is differentiated together with its cross-entropy is "
    "one, and whatever works on the data alone."
)
_WIDTH = 100


@dataclass
class Row:
    """The figures of one layer; None where there is nothing to measure.

    path: where it stands in the model; several, if it stands in several places. uses: how often it was called.
    saturated: percent of the activation's numbers where its slope is at most 5 % of its largest (for curves that are
    flat on both sides, as tanh and sigmoid; ReLU is switched off for about half of its numbers, and well).
    dead: percent of its units (columns) whose slope is at most 1e-6 of the largest for every row of the batch; rows:
    how many those are, 0 without an activation (with fewer than 8 there is no verdict).
    mean, spread: of the outputs, the standard deviation. outputs: their histogram.
    own_part: whether the outputs, and the gradient there, are of what the module's own operations made for modules
    inside it; else they are what it gives on.
    arriving: the norm of the gradient at the outputs; share: the same over that of the last layers; backward: its
    histogram.
    gradient: the norm of all the layer's parameters' gradients together; gradient_per_weight: over the norm of the
    parameters; update_per_weight: that of the optimizer's next update over it.
    verdict: one of CURES, "fine" or "not in the graph". reason: more on it, where there is more to say.
    """

    path: str
    layer: str
    uses: int = 0
    saturated: float | None = None
    dead: float | None = None
    mean: float | None = None
    spread: float | None = None
    outputs: str = ""
    arriving: float | None = None
    share: float | None = None
    backward: str = ""
    gradient: float | None = None
    gradient_per_weight: float | None = None
    update_per_weight: float | None = None
    verdict: str = "fine"
    reason: str = ""
    rows: int = 0
    own_part: bool = False

    @property
    def name(self) -> str:
        """The path and the layer."""
        own = ", own part" if self.own_part else ""
        return f"{self.path}  {self.layer}{own}" + (f" x{self.uses}" if self.uses > 1 else "")


# The columns of the two tables: header, figure, form.
_HEALTH = (
    ("saturated", "saturated", "{:.0f} %"),
    ("dead", "dead", "{:.0f} %"),
    ("gradient", "gradient", "{:.2g}"),
    ("gradient\n/ weight", "gradient_per_weight", "{:.2g}"),
    ("update\n/ weight", "update_per_weight", "{:.2g}"),
)
_FLOW = (
    ("outputs:\nmean", "mean", "{:.2g}"),
    ("spread", "spread", "{:.2g}"),
    ("histogram", "outputs", "{}"),
    ("gradient\nthere", "arriving", "{:.2g}"),
    ("/ last\nlayers'", "share", "{:.2g}"),
    ("histogram", "backward", "{}"),
)


@dataclass(repr=False)
class Audit:
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
        told = [f"{verdict}: {_listed([row.path for row in rows])}" for verdict, rows in self.illnesses.items()]
        if not math.isfinite(self.loss) and "not finite" not in self.illnesses:
            told.insert(0, "not finite: the loss itself")
        return "; ".join(told) or "fine"

    @property
    def illnesses(self) -> dict[str, list[Row]]:
        """The rows that are not fine, by their verdict, the most urgent first."""
        found = {verdict: [row for row in self.rows if row.verdict == verdict] for verdict in CURES}
        return {verdict: rows for verdict, rows in found.items() if rows}

    def __str__(self) -> str:
        from rich.text import Text

        health, flow = plain_table("layer"), plain_table("layer")
        columns = self._health
        for table, figures in ((health, columns), (flow, _FLOW)):
            for header, _, form in figures:
                table.add_column(header, justify="left" if form == "{}" else "right")
        health.add_column("verdict")
        for row in self.rows:
            name = _cut(row.name, 30)
            health.add_row(Text(name), *_cells(row, columns), Text(_said(row)))
            flow.add_row(Text(name), *_cells(row, _FLOW))
        parts = [self._title(), printed(health, _WIDTH), printed(flow, _WIDTH), *self._notes()]
        return for_terminal("\n\n".join(parts))

    __repr__ = __str__

    @property
    def _health(self) -> list[tuple[str, str, str]]:
        """The columns of the first table: without an optimizer there are no updates."""
        return [column for column in _HEALTH if self.optimizer or column[1] != "update_per_weight"]

    def _title(self) -> str:
        return textwrap.fill(f"{self.model}, loss {self.loss:.4g}: {self.verdict}", _WIDTH)

    def _notes(self) -> list[str]:
        """What each illness means, and its usual cures."""
        notes = [f"{verdict}: {CURES[verdict]}" for verdict in self.illnesses]
        if any(row.verdict == SEPARATE for row in self.rows):
            notes.append(f"{SEPARATE}: {SEPARATE_NOTE}")
        if any(_too_few_rows(row) for row in self.rows):
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
        return [textwrap.fill(note, _WIDTH, subsequent_indent="  ") for note in notes]

    def _repr_html_(self) -> str:
        columns = [*self._health, *_FLOW]
        headers = ["layer", "verdict", *(header.replace("\n", " ") for header, _, _ in columns)]
        cells = ([cell.replace(" ", "\u00a0") for cell in _cells(row, columns)] for row in self.rows)  # of histograms
        rows = [[row.name, _emphasized(_said(row), row), *own] for row, own in zip(self.rows, cells, strict=True)]
        right = {n for n, (_, _, form) in enumerate(columns, start=2) if form != "{}"}
        table = notebook.table(rows, headers, right, whole={*range(len(headers))})
        return notebook.block(notebook.heading(self._title()), table, *map(notebook.paragraph, self._notes()))


def audit(model: Module, loss: Tensor, optimizer: Optimizer | None = None) -> Audit:
    """Look at every layer: is it saturated or dead, does a gradient reach it, are its updates of a good size?

    model: a Module. loss: a single number, computed by calling the model, outside of fit and no_grad; no backward() is
    needed, and every `.grad` stays as it is. optimizer: if given, its next update by this loss is measured (without any
    clipping of gradients, and without making it). Units are the last axis, all other axes are rows.
    An activation is one operation that gets flat somewhere: tanh, sigmoid, relu, softplus, clip, maximum(x, 0), one of
    your own; a sigmoid written as 1 / (1 + exp(-x)) is several, and none. During training: `tinygrad_ce.views.Watch`.
    Updates of about 0.001 of the weights are healthy over a training; first steps are longer, so that up to 0.1 is
    called fine, and from 0.01 on it is said that they are long.
    Raises TypeError and ValueError for what is no model, loss or optimizer, and for a loss of another model.

    >>> tg.seed(0)
    >>> model = Sequential(Dense(2, 4), Sigmoid(), Dense(4, 2))
    >>> audit(model, losses.softmax_cross_entropy(model(np.ones((3, 2)) * 9), np.array([0, 1, 1]))).verdict
    'saturated: layers.1'

    Sources: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010;
    A. Karpathy, CS231n notes, "Neural networks part 3" (updates of about 1e-3 of the weights).
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
    gradients = _gradients(loss, graph, layers)
    with np.errstate(all="ignore"):
        last = _last_layers(loss, graph, layers, gradients)
        rows = [_row(layer, gradients, last, optimizer) for layer in layers]
    asking = max((row.gradient_per_weight or 0.0 for row in rows), default=0.0) > SMALL_GRADIENT
    in_order = sorted(zip(layers, rows, strict=True), key=lambda pair: pair[0].youngest)
    for position, (layer, row) in enumerate(in_order):
        after = [other for _, other in in_order[position + 1 :]]
        row.verdict, row.reason = _judged(layer, row, gradients, after, asking)
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


# ---- what is measured


def _gradients(loss: Tensor, graph: dict[int, Tensor], layers: list[Layer]) -> dict[int, Array]:
    """By number, the gradients at the outputs of the layers and at their parameters."""
    wanted = {tensor.serial for layer in layers for tensor in layer.outputs}
    wanted |= {parameter.serial for layer in layers for _, parameter in layer.parameters}
    found = {}
    with undisturbed(list(graph.values())), np.errstate(all="ignore"):
        for tensor, gradient in walk(loss, seed_of(loss, None), graph):
            if tensor.serial in wanted:
                found[tensor.serial] = np.asarray(gradient)
    return found


def _last_layers(
    loss: Tensor, graph: dict[int, Tensor], layers: list[Layer], gradients: dict[int, Array]
) -> float | None:
    """The norm of the gradient at the outputs of the last layers with parameters; of several, the largest."""
    maker = {tensor.serial: layer for layer in layers if layer.parameters for tensor in layer.results}
    seen, waiting, last = {loss.serial}, [loss], set()
    while waiting:
        tensor = waiting.pop()
        if tensor.serial in maker:
            last.add(maker[tensor.serial])
            continue
        for x, _ in edges(tensor):
            if x.serial not in seen:
                seen.add(x.serial)
                waiting.append(x)
    return max((_norm([gradients[t.serial] for t in layer.outputs]) for layer in last), default=None)


def _row(layer: Layer, gradients: dict[int, Array], last: float | None, optimizer: Optimizer | None) -> Row:
    """The figures of a layer, before it is judged."""
    row = Row(", ".join(path or "(model)" for path in layer.paths), _described(layer.module), len(layer.calls))
    row.saturated, row.dead, row.rows = activity(layer)
    row.own_part = not layer.has_output
    outputs = _joined([tensor.data for tensor in layer.outputs])
    if outputs.size:
        row.mean, row.spread = float(outputs.mean()), float(outputs.std())
        row.outputs = histogram(outputs)
        arriving = [gradients[tensor.serial] for tensor in layer.outputs]
        row.arriving, row.backward = _norm(arriving), histogram(_joined(arriving))
        row.share = row.arriving / last if last else None
    reached = [parameter for _, parameter in layer.parameters if parameter.serial in gradients]
    if reached:
        weight = _norm([parameter.data for parameter in reached])
        row.gradient = _norm([gradients[parameter.serial] for parameter in reached])
        row.gradient_per_weight = row.gradient / weight if weight else None
        updates = _updates(reached, gradients, optimizer)
        row.update_per_weight = _norm(updates) / weight if updates and weight else None
    return row


def _described(module: Module) -> str:
    """A layer as it writes itself; a module that holds others, or says nothing of itself, by its class."""
    plain = type(module).__repr__ is object.__repr__ or holds_others(module)
    return type(module).__name__ if plain else " ".join(repr(module).split())


def _updates(parameters: list[Tensor], gradients: dict[int, Array], optimizer: Optimizer | None) -> list[Array]:
    """What the optimizer's next step would add to each parameter: its pure `update` is asked, nothing is kept."""
    if optimizer is None:
        return []
    positions = {parameter.serial: i for i, parameter in enumerate(optimizer.parameters)}
    updates = []
    for parameter in parameters:
        i = positions.get(parameter.serial)
        if i is not None:
            gradient, state = gradients[parameter.serial], tuple(variable.data for variable in optimizer.memory[i])
            count = optimizer.count(i)
            new, _ = optimizer.computed_update(parameter.data, gradient, state, optimizer.lr, count)
            updates.append(np.asarray(new) - parameter.data)
    return updates


def _norm(arrays: list[Array]) -> float:
    """Of all their numbers together; scaled before they are squared, for exploded ones would overflow."""
    numbers = _joined(arrays)
    largest = float(np.abs(numbers).max(initial=0.0))
    return largest * float(np.linalg.norm(numbers / largest)) if 0 < largest < math.inf else largest


def _joined(arrays: list[Array]) -> Array:
    return np.concatenate([np.empty(0), *(array.astype(np.float64).ravel() for array in arrays)])


# ---- verdicts


def _judged(layer: Layer, row: Row, gradients: dict[int, Array], after: list[Row], asking: bool) -> tuple[str, str]:
    """The most urgent verdict on a layer, and what more there is to say.

    after: the rows of layers that compute later. asking: whether the gradient of some layer is still large.
    """
    spoiled = _not_finite(layer, gradients)
    if spoiled:
        return "not finite", spoiled
    unused = [name for name, parameter in layer.parameters if parameter.serial not in gradients]
    if unused:
        which = "" if len(unused) == len(layer.parameters) else f"{_listed(unused)} is "
        return "no gradient", f"{which}not used by this loss"
    if row.gradient == 0:
        blocking = next((other.path for other in after if other.dead == 100), None)
        return "no gradient", "it is 0" if blocking is None else f"{blocking} lets nothing back"
    if row.saturated is not None and row.saturated >= MOST:
        return "saturated", ""
    if row.dead is not None and row.dead >= MOST and row.rows >= FEWEST_ROWS:
        return "dead", ""
    if not layer.calls:
        return SEPARATE, ""
    verdict = _size_of_steps(row, asking) if layer.parameters else "fine"
    if verdict == "fine" and _too_few_rows(row):
        return verdict, "too few rows for a verdict on dead units"
    long = row.update_per_weight is not None and row.update_per_weight > LONG_UPDATE
    return verdict, "long steps, usual only at first" if verdict == "fine" and long else ""


def _too_few_rows(row: Row) -> bool:
    return row.dead is not None and row.dead >= MOST and row.rows < FEWEST_ROWS


def _size_of_steps(row: Row, asking: bool) -> str:
    """The verdict on what reaches the parameters of a layer, and on what the optimizer makes of it."""
    if row.share is not None and row.share > EXPLODING:
        return "exploding"
    if row.share is not None and row.share < VANISHING:
        return "vanishing"
    update = row.update_per_weight
    if update is not None and update > LARGE_UPDATE:
        return "updates too large"
    if update is not None and update < SMALL_UPDATE and asking:
        return "updates too small"
    return "fine"


def _not_finite(layer: Layer, gradients: dict[int, Array]) -> str:
    """Where in a layer there is a NaN or infinity: in what it was given to work with, before what came of it."""
    parameters = [parameter for _, parameter in layer.parameters]
    looked_at = {
        "its parameters": [parameter.data for parameter in parameters],
        "its numbers": [tensor.data for tensor in layer.results],
        "its gradient": [gradients[t.serial] for t in (*layer.outputs, *parameters) if t.serial in gradients],
    }
    return next((where for where, arrays in looked_at.items() if not all(np.isfinite(a).all() for a in arrays)), "")


# ---- as text


def _cells(row: Row, columns: Iterable[tuple[str, str, str]]) -> list[str]:
    figures = [(getattr(row, figure), form) for _, figure, form in columns]
    return ["" if value is None else form.format(value) for value, form in figures]


def _said(row: Row) -> str:
    return f"{row.verdict}: {row.reason}" if row.reason else row.verdict


def _cut(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 3]}..."


def _listed(names: list[str], most: int = 4) -> str:
    """The names with commas; of many the first."""
    more = len(names) - most
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:most])} and {more} more"


def _emphasized(text: str, row: Row) -> str:
    """The text, so that it stands out where the row is ill."""
    return notebook.Strong(text) if row.verdict in CURES else notebook.Sentence(text)


# ---- over time


class Watch:
    """A callback that audits while a Trainer trains: `trainer.fit(X, y, callbacks=[watch])`.

    X, y: one batch, (N, ...) and N targets; the trainer's model and loss are run on it after an epoch, in training
    mode, and everything (averages, generators, parameters) is put back. every: after how many epochs, first after the
    first one. audits, epochs: what was found, and after which epoch; they are counted on where fit is called again.
    Raises ValueError if it is given to the trainer of another model.

    >>> data = tg.data.moons(60, seed=0); tg.seed(0)
    >>> model = Sequential(Dense(2, 2)); watch = Watch(data.X, data.y)
    >>> trainer = Trainer(model, SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1))
    >>> history = trainer.fit(data.X, data.y, epochs=3, seed=0, callbacks=[watch]); watch.audits[-1].verdict
    'fine'
    """

    def __init__(self, X: Any, y: Any, every: int = 1) -> None:
        self.X, self.y = array_of(X), array_of(y)
        if self.X.ndim == 0 or self.y.ndim == 0 or len(self.X) != len(self.y):
            raise ValueError(f"Watch: X has shape {self.X.shape} and y {self.y.shape}: each row needs one target")
        self.every = whole_number("Watch", "every", every, least=1)
        self.audits: list[Audit] = []
        self.epochs: list[int] = []
        self._passed = 0
        self._model: Module | None = None

    def __call__(self, trainer: Any, row: Any = None) -> None:
        """Called by `fit` after each epoch, with the trainer and the epoch's figures."""
        if self._model is not None and self._model is not trainer.model:
            raise ValueError("Watch: this one has watched another model: make a new Watch for each")
        self._model = trainer.model
        self._passed += 1
        if (self._passed - 1) % self.every == 0:
            self.audits.append(self._audit(trainer))
            self.epochs.append(self._passed)

    def _audit(self, trainer: Any) -> Audit:
        model, loss = trainer.model, trainer.loss
        dtype = trainer.optimizer.parameters[0].dtype
        X, y = (np.asarray(array, dtype if array.dtype.kind == "f" else None) for array in (self.X, self.y))
        modules = [*model.modules(), *(loss.modules() if isinstance(loss, Module) else ())]
        with left_as_they_are(modules), recording(True), tracking(True), np.errstate(all="ignore"):
            model.train()
            return audit(model, loss(model(X), y), trainer.optimizer)

    def table(self) -> str:
        """For each layer its verdicts, and in which epochs they held."""
        if not self.audits:
            return "nothing has been watched yet: pass it to trainer.fit(..., callbacks=[watch])"
        from rich.text import Text

        table = plain_table("layer")
        table.add_column("verdict, by epoch")
        for name, verdicts in self._by_layer():
            table.add_row(Text(_cut(name, 40)), Text(verdicts))
        return for_terminal(f"{self._title()}\n\n{printed(table, _WIDTH)}")

    def _title(self) -> str:
        first, last = self.audits[0], self.audits[-1]
        looks = several(len(self.audits), "audit")
        title = f"{last.model}, {looks}, loss {first.loss:.4g} to {last.loss:.4g}; at the end {last.verdict}"
        return textwrap.fill(title, _WIDTH)

    def _by_layer(self) -> list[tuple[str, str]]:
        """Each layer with its verdicts as spans of epochs: "vanishing 1-3, fine 4-20"."""
        layers = []
        for rows in self._layers():
            spans: list[tuple[str, int, int]] = []
            for epoch, row in zip(self.epochs, rows, strict=True):
                start = spans.pop()[1] if spans and spans[-1][0] == row.verdict else epoch
                spans.append((row.verdict, start, epoch))
            told = (f"{verdict} {a}" if a == b else f"{verdict} {a}-{b}" for verdict, a, b in spans)
            layers.append((rows[-1].name, ", ".join(told)))
        return layers

    def _layers(self) -> list[list[Row]]:
        """For each layer its rows in all audits, without figures where it was not called."""
        named = {row.path: row.layer for found in self.audits for row in found.rows}
        audits = [{row.path: row for row in found.rows} for found in self.audits]
        return [
            [rows.get(path) or Row(path, layer, verdict=SEPARATE) for rows in audits] for path, layer in named.items()
        ]

    def __str__(self) -> str:
        return self.table()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self.audits:
            return notebook.block(notebook.paragraph(self.table()))
        last = [rows[-1] for rows in self._layers()]
        rows = [(name, _emphasized(said, row)) for (name, said), row in zip(self._by_layer(), last, strict=True)]
        table = notebook.table(rows, ("layer", "verdict, by epoch"), whole={0})
        return notebook.block(notebook.heading(self._title()), table)

    def plot(self, path: Any = None) -> Any:
        """Updates, gradients, and saturated and dead shares over the epochs as a matplotlib Figure.

        path: also saved there. Raises ValueError before the first epoch has ended.
        """
        if not self.audits:
            raise ValueError(
                "Watch: there is nothing to plot before the first epoch: pass it to fit(..., callbacks=[watch])"
            )
        return plots.save(plots.audit_figure(self.epochs, self._layers(), HEALTHY_UPDATE), path)


@contextmanager
def left_as_they_are(modules: list[Module]) -> Iterator[None]:
    """Inside, modules may run; after, their attributes and the random generators are as they were before."""
    attributes = [(module, dict(vars(module))) for module in modules]
    values = [value for _, found in attributes for value in found.values()]
    contents = [(value, copy(value)) for value in values if isinstance(value, (np.ndarray, list, dict))]
    generators = [init.generator(), *(value for value in values if isinstance(value, np.random.Generator))]
    states = [(generator, generator.bit_generator.state) for generator in generators]
    averages = [(variable, variable.data) for module in modules for variable in module.variables.values()]
    of_numpy = np.random.get_state()
    try:
        yield
    finally:
        for module, found in attributes:
            _refill(vars(module), found)
        for value, content in contents:
            _refill(value, content)
        for variable, array in averages:
            variable.data = array
        for generator, state in states:
            generator.bit_generator.state = state
        np.random.set_state(of_numpy)


def _refill(holder: Any, content: Any) -> None:
    """Give an array, a list or a dict the content that it had, in place."""
    if isinstance(holder, dict):
        holder.clear()
        holder.update(content)
    elif isinstance(holder, list):
        holder[:] = content
    elif holder.flags.writeable:
        holder[...] = content
