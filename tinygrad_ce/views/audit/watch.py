"""The audit over time: a callback that looks after each epoch, and ends the training at an alarm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import groupby
from typing import Any

import numpy as np

from tinygrad_ce.backward import recording
from tinygrad_ce.core import array_of
from tinygrad_ce.data.checks import closest, shown, whole_number
from tinygrad_ce.nn import Module
from tinygrad_ce.nn.restoring import left_as_they_are
from tinygrad_ce.report.page import as_page
from tinygrad_ce.report.parts import Heading, Part, Picture, Report, Section, Sentence, Strong, Table, Words
from tinygrad_ce.report.words import format_number, several
from tinygrad_ce.source_lines import tracking
from tinygrad_ce.views import plots
from tinygrad_ce.views.audit.figures import Row
from tinygrad_ce.views.audit.findings import Audit, audit
from tinygrad_ce.views.audit.verdicts import CURES, HEALTHY_UPDATE, SEPARATE
from tinygrad_ce.views.pages import Page


class Watch(Report):
    """A callback that audits while a Trainer trains: `trainer.fit(X, y, callbacks=[watch])`.

    X, y: one batch, (N, ...) and N targets; the trainer's model and loss are run on it after an epoch, in training
    mode, and everything (averages, generators, parameters) is put back. every: after how many epochs, first after the
    first one. stop_when: the verdict, or several, at which the training ends, or a function that returns True for such
    an `Audit`; `history.stopped` says why. audits, epochs: what was found, and after which epoch; they are counted on
    where fit is called again. Printed it is a table of the verdicts.
    Raises ValueError for rows without targets, for what is no verdict, and for the trainer of another model.

    >>> data = tg.data.moons(60, seed=0); tg.seed(0)
    >>> model = Sequential(Dense(2, 2)); watch = Watch(data.X, data.y)
    >>> trainer = Trainer(model, SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1))
    >>> history = trainer.fit(data.X, data.y, epochs=3, seed=0, callbacks=[watch]); watch.audits[-1].verdict
    'fine'
    """

    def __init__(
        self, X: Any, y: Any, every: int = 1, stop_when: str | Sequence[str] | Callable[[Audit], bool] = ()
    ) -> None:
        self.X, self.y = array_of(X), array_of(y)
        if self.X.ndim == 0 or self.y.ndim == 0 or len(self.X) != len(self.y):
            raise ValueError(f"Watch: X has shape {self.X.shape} and y {self.y.shape}: each row needs one target")
        if not len(self.X):
            raise ValueError("Watch: X has no rows: pass one batch, as Watch(X[:100], y[:100])")
        self.every = whole_number("Watch", "every", every, least=1)
        self.audits: list[Audit] = []
        self.epochs: list[int] = []
        self.reason = ""  # of its alarm: what `history.stopped` says
        self._alarm = stop_when if callable(stop_when) else _verdicts(stop_when)
        self._passed = 0
        self._model: Module | None = None

    def __call__(self, trainer: Any, row: Any = None) -> bool:
        """Called by `fit` after each epoch, with the trainer and the epoch's figures; True ends the training."""
        if self._model is not None and self._model is not trainer.model:
            raise ValueError("Watch: this one has watched another model: make a new Watch for each")
        self._model, self.reason = trainer.model, ""
        self._passed += 1
        if (self._passed - 1) % self.every == 0:
            found = self._audit(trainer)
            self.audits.append(found)
            self.epochs.append(self._passed)
            if callable(self._alarm):
                said = getattr(self._alarm, "__name__", "stop_when") if self._alarm(found) else ""
            else:
                said = "; ".join(found.named(self._alarm))
            self.reason = f"{said}, after epoch {self._passed}" if said else ""
        return bool(self.reason)

    def _audit(self, trainer: Any) -> Audit:
        model, loss = trainer.model, trainer.loss
        dtype = trainer.optimizer.parameters[0].dtype
        X, y = (np.asarray(array, dtype if array.dtype.kind == "f" else None) for array in (self.X, self.y))
        with left_as_they_are(model, loss), recording(True), tracking(True), np.errstate(all="ignore"):
            model.train()
            return audit(model, loss(model(X), y), trainer.optimizer)

    @property
    def parts(self) -> list[Part]:
        """For each layer its verdicts, and in which epochs they held."""
        if not self.audits:
            return [Sentence("nothing has been watched yet: pass it to trainer.fit(..., callbacks=[watch])")]
        ended = [Sentence(f"It has ended the training: {self.reason}.")] if self.reason else []
        rows = []
        for layer in self._layers():
            style = Strong if layer[-1].verdict in CURES else Words
            rows.append((Words(layer[-1].name), style(self._spans(layer))))
        return [Heading(self._heading()), *ended, Table(rows, ("layer", "verdict, by epoch"), label="the verdicts")]

    def _heading(self) -> str:
        last, losses = self.audits[-1], (format_number(found.loss) for found in (self.audits[0], self.audits[-1]))
        audits = f"{last.model}, {several(len(self.audits), 'audit')}"
        return f"{audits}, loss {' to '.join(dict.fromkeys(losses))}; at the end {last.verdict}"

    def table(self) -> str:
        """The same as a text."""
        return str(self)

    def _spans(self, layer: list[Row]) -> str:
        """The verdicts on a layer as spans of epochs: "vanishing 1-3, fine 4-20"."""
        spans = []
        for verdict, pairs in groupby(zip(self.epochs, layer, strict=True), key=lambda pair: pair[1].verdict):
            epochs = [epoch for epoch, _ in pairs]
            spans.append(f"{verdict} {epochs[0]}" + (f"-{epochs[-1]}" if len(epochs) > 1 else ""))
        return ", ".join(spans)

    def _layers(self) -> list[list[Row]]:
        """For each layer its rows in all audits, without figures where it was not called."""
        audits = [{row.path: row for row in found.rows} for found in self.audits]
        layers = {path: row.layer for rows in audits for path, row in rows.items()}
        return [[rows.get(path) or Row(path, layers[path], verdict=SEPARATE) for rows in audits] for path in layers]

    def plot(self, path: Any = None) -> Any:
        """Updates, gradients and their shares, saturated and dead shares over the epochs as a matplotlib Figure.

        path: also saved there. Raises ValueError before the first epoch has ended.
        """
        if not self.audits:
            raise ValueError("Watch: nothing to plot before the first epoch: pass it to fit(..., callbacks=[watch])")
        return plots.save(plots.audit_figure(self.epochs, self._layers(), HEALTHY_UPDATE), path)

    def page(self) -> Page:
        """The verdicts by epoch, the curves and the last audit as a page: `watch.page().save("watch.html")`.

        Raises ValueError before the first epoch has ended, and ImportError without matplotlib.
        """
        self.plot(file := BytesIO())
        last, heading = self.audits[-1], self._heading()
        sections = [
            Section("The verdicts by epoch", self.parts[1:]),
            Section("The curves", [Picture(file.getvalue(), "what the layers did in each epoch", least=600)]),
            Section(f"After epoch {self.epochs[-1]}", last.parts),
            Section("All its figures", last.details.parts[1:]),
        ]
        title = heading.partition(", loss ")[0]
        return Page(as_page(title, sections, heading=heading), "shows", title, "watch.html")


def _verdicts(stop_when: Any) -> list[str]:
    names = [stop_when] if isinstance(stop_when, str) else stop_when
    if not isinstance(names, Sequence):
        raise TypeError(f"Watch: stop_when={stop_when!r} must be a verdict, a list of them or a function of an Audit")
    for name in names:
        if name not in [*CURES]:
            known = f"there are {', '.join(CURES)};{closest(str(name), CURES)}"
            raise ValueError(f"Watch: stop_when={shown(name)} is no verdict: {known}".removesuffix(";"))
    return list(names)
