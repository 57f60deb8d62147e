"""History: the figures of each epoch of a training, as columns."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.data.checks import extra
from tinygrad_ce.disk import whole_file
from tinygrad_ce.report.parts import Heading, Part, Picture, Report, Sentence, Table
from tinygrad_ce.report.words import format_number, several
from tinygrad_ce.views import plots


class History(Report):
    """What each epoch gave: `history["loss"]` is a list with one number for each epoch.

    columns: epoch, loss, lr, and where they apply accuracy, val_loss, val_accuracy.
    stopped: why training ended: "finished", "early" (no improvement), "interrupted" (Ctrl-C), "callback" or the
    alarm of a `Watch`.
    compiled: whether whole epochs ran as one compiled function.
    guessing: the loss of who only guesses, ln C for C classes; None for another loss, and after `load`.
    batch_losses: of `fit(batch_losses=True)`, the loss of each batch in order, also of an epoch that was not completed.

    >>> history = History()
    >>> history.append({'epoch': 1, 'loss': 0.5})
    >>> history['loss']
    [0.5]
    """

    def __init__(self) -> None:
        self.columns: dict[str, list[float]] = {}
        self.stopped = "finished"
        self.compiled = False
        self.guessing: float | None = None
        self.batch_losses: list[float] = []

    def append(self, row: dict[str, float]) -> None:
        """Add the figures of one epoch."""
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)

    def extend(self, later: History) -> None:
        """Add the epochs of a later fit, numbered on from the last one here; a column that is not in both has NaN."""
        self.batch_losses += later.batch_losses
        epochs, new = len(self), len(later)
        if not new:
            return
        before = {name: self.columns.get(name, [math.nan] * epochs) for name in {**self.columns, **later.columns}}
        after = {name: later.columns.get(name, [math.nan] * new) for name in before}
        last = before["epoch"][-1] if epochs else 0
        after["epoch"] = [epoch + last for epoch in after["epoch"]]
        self.columns = {name: before[name] + after[name] for name in before}
        self.stopped, self.compiled, self.guessing = later.stopped, later.compiled, later.guessing

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.columns:
            raise KeyError(f"the history has no column {name!r}; it has {', '.join(self.columns) or 'none yet'}")
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns.get("epoch", []))

    def last(self) -> dict[str, float]:
        """The figures of the last epoch."""
        return {name: values[-1] for name, values in self.columns.items() if values}

    def to_frame(self) -> Any:
        """The columns as a pandas DataFrame, with the epoch as index. ImportError if pandas is not there.

        >>> history = History(); history.append({"epoch": 1, "loss": 0.5, "lr": 0.1})
        >>> history.to_frame().loc[1, "loss"]
        np.float64(0.5)
        """
        pandas = extra("pandas")
        columns = {"epoch": [], **self.columns}
        return pandas.DataFrame({**columns, "epoch": [int(epoch) for epoch in columns["epoch"]]}).set_index("epoch")

    def to_csv(self, path: str | Path) -> None:
        """Write the columns as a CSV file with a row for each epoch; whole, or not at all.

        Each number has all its digits: read again, it is the same to the bit.
        Raises OSError that names the file.

        >>> history = History(); history.append({"epoch": 1, "loss": 0.5, "lr": 0.1})
        >>> from pathlib import Path; from tempfile import mkdtemp; path = Path(mkdtemp(), "history.csv")
        >>> history.to_csv(path); path.read_text()
        'epoch,loss,lr\\n1,0.5,0.1\\n'
        """
        with whole_file(path) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(self.columns)
            for epoch, *figures in zip(*self.columns.values(), strict=True):
                table.writerow([int(epoch), *map(float, figures)])

    def plot(self, path: str | Path | None = None) -> Any:
        """The curves as a matplotlib Figure (a notebook shows it); with a path, also saved there."""
        if not len(self):
            raise ValueError("the history is empty: there is nothing to plot before the first epoch has ended")
        return plots.save(plots.history_figure(self), path)

    @property
    def parts(self) -> list[Part]:
        """The curves, and the figures of the first, best and last epoch."""
        epochs = len(self)
        if not epochs:
            return [Sentence(repr(self))]
        losses = self["val_loss" if "val_loss" in self.columns else "loss"]
        best = int(np.nanargmin(losses)) if np.isfinite(losses).any() else 0
        chosen = {0: "first", best: "best", epochs - 1: "last"}
        rows = [[chosen[k], *(format_number(values[k], 3) for values in self.columns.values())] for k in sorted(chosen)]
        return [
            Heading(f"{several(epochs, 'epoch')}, {self.stopped}"),
            Picture(lambda: self.plot()._repr_png_(), "the curves over the epochs", least=600),
            Table(rows, ["", *self.columns], right=frozenset(range(1, 1 + len(self.columns)))),
        ]

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={format_number(value)}" for name, value in self.last().items())
        return f"History({several(len(self), 'epoch')}, {self.stopped}; last: {figures})"

    __str__ = __repr__  # all epochs would not fit a line, and a table of some stands in a notebook
