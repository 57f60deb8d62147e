"""History: the figures of each epoch of a training, as columns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tinygrad_ce.views import plots


class History:
    """What each epoch gave: `history["loss"]` is a list with one number for each epoch.

    columns: epoch, loss, lr, and where they apply accuracy, val_loss, val_accuracy.
    stopped: why training ended: "finished", "early" (no improvement), "interrupted" (Ctrl-C) or "callback".
    compiled: whether whole epochs ran as one compiled function.
    batch_losses: of `fit(batch_losses=True)`, the loss of each batch in order, also of an epoch that was not completed.
    """

    def __init__(self) -> None:
        self.columns: dict[str, list[float]] = {}
        self.stopped = "finished"
        self.compiled = False
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
        self.stopped, self.compiled = later.stopped, later.compiled

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.columns:
            raise KeyError(f"the history has no column {name!r}; it has {', '.join(self.columns) or 'none yet'}")
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns.get("epoch", []))

    def last(self) -> dict[str, float]:
        """The figures of the last epoch."""
        return {name: values[-1] for name, values in self.columns.items() if values}

    def plot(self, path: str | Path | None = None) -> Any:
        """The curves as a matplotlib Figure (a notebook shows it); with a path, also saved there."""
        if not len(self):
            raise ValueError("the history is empty: there is nothing to plot before the first epoch has ended")
        return plots.save(plots.history_figure(self), path)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value:.4g}" for name, value in self.last().items())
        return f"History({len(self)} epochs, {self.stopped}; last: {figures})"
