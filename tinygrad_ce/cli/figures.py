"""How well a model does on some rows: loss and accuracy of classes; of numbers RMSE, MAE and R², in their own units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from tinygrad_ce import data as datasets
from tinygrad_ce.cli.run import targets_of
from tinygrad_ce.cli.terminal import console
from tinygrad_ce.core import Array
from tinygrad_ce.train.answers import numbers_beside

Figures = Mapping[str, float]


def figures_of(trainer: Any, part: datasets.Dataset, loss: str) -> dict[str, float]:
    """The figures of a model for these rows. trainer: what evaluates and predicts. loss: its name in the settings."""
    figures: dict[str, float] = trainer.evaluate(part.X, targets_of(part, loss))
    if part.class_names:
        return figures
    true, predicted = numbers_of(trainer, part)
    errors = predicted - true
    variance, mean_square = float(true.var()), float(np.square(errors).mean())
    figures |= {"RMSE": math.sqrt(mean_square), "MAE": float(np.abs(errors).mean())}
    if variance:  # of numbers that are all equal, there is nothing to explain
        figures["R2"] = 1 - mean_square / variance
    return figures


def numbers_of(trainer: Any, part: datasets.Dataset) -> tuple[Array, Array]:
    """(N, 1) the true and the predicted numbers of these rows, in the units of the table."""
    return numbers_beside("evaluate", part.y, trainer.predict(part.X), part.preparation)


def report_of(trainer: Any, part: datasets.Dataset, loss: str) -> Any:
    """The report of a model on these rows by scikit-learn's figures; None where scikit-learn is not installed."""
    try:
        if part.class_names:
            return trainer.report(part.X, targets_of(part, loss), part.class_names)
        return trainer.report(part)
    except ImportError:
        return None


def figures_table(figures: Mapping[str, Figures], title: str) -> Table:
    """The figures of some parts of the data, one in each row."""
    table = Table(title=title)
    table.add_column("part")
    names = [*dict.fromkeys(name for row in figures.values() for name in row)]
    for name in names:
        table.add_column(name, justify="right")
    for part, row in figures.items():
        table.add_row(part, *(written(row[name]) if name in row else "" for name in names))
    return table


def written(value: float) -> str:
    """A figure with four decimals, or of a large one six digits.

    >>> written(0.98), written(1234567.0)
    ('0.9800', '1.23457e+06')
    """
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.6g}"


def show_figures(figures: Mapping[str, Figures], title: str) -> None:
    """Print the table of figures."""
    console.print(figures_table(figures, title))
