"""How well a model does on some rows: loss and accuracy of classes; of numbers RMSE, MAE and R², in their own units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_ce import data as datasets
from tinygrad_ce.cli.run import Run, targets_of
from tinygrad_ce.cli.terminal import show
from tinygrad_ce.core import Array
from tinygrad_ce.report.parts import Heading, Table
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


def rows_by_class(run: Run) -> Table:
    """How many rows each part of the data has, by class."""
    parts = run.parts
    rows = [
        (str(name), *(f"{int((part.y == c).sum())}" for part in parts.values()))
        for c, name in enumerate(run.train.class_names)
    ]
    rows.append(("all", *(str(len(part)) for part in parts.values())))
    header = ("class" if run.train.class_names else "", *(f"{part} rows" for part in parts))
    return Table(rows, header, right=frozenset(range(1, len(header))))


def figures_table(figures: Mapping[str, Figures]) -> Table:
    """The figures of some parts of the data, one in each row."""
    names = [*dict.fromkeys(name for row in figures.values() for name in row)]
    rows = [(part, *(written(row[name]) if name in row else "" for name in names)) for part, row in figures.items()]
    return Table(rows, ("part", *names), right=frozenset(range(1, 1 + len(names))))


def written(value: float) -> str:
    """A figure with four decimals, or of a large one six digits.

    >>> written(0.98), written(1234567.0)
    ('0.9800', '1.23457e+06')
    """
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.6g}"


def show_figures(figures: Mapping[str, Figures], title: str) -> None:
    """Print the table of figures."""
    show([Heading(title), figures_table(figures)])
