"""The rows that a model finds hardest: those with the largest loss, and what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, array_of
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.data.structures import number_of_rows, take_rows
from tinygrad_ce.report.parts import Part, Report, Table
from tinygrad_ce.report.words import format_number, short
from tinygrad_ce.train.answers import names_of_classes, numbers_beside
from tinygrad_ce.train.checks import labels_for
from tinygrad_ce.train.metrics import align_targets, class_axis, ignored_index, predicted_classes, single_number
from tinygrad_ce.train.probabilities import has_probabilities, probabilities_of
from tinygrad_ce.train.weights import losses_of_rows


@dataclass(frozen=True, eq=False, repr=False)
class HardRows(Report):
    """The rows with the largest loss, the hardest first; `print` shows them as a table.

    rows: (n,) numbers of the rows of X, counted from 0. losses: (n,). true, predicted: (n,) names of classes (their
    indices where they have no names) or numbers; (n, L) where each row has several.
    probabilities: (n,) of what was predicted; None where the loss is of none, or each row has several answers.
    """

    rows: Array
    losses: Array
    true: Array
    predicted: Array
    probabilities: Array | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def parts(self) -> list[Part]:
        """A row for each of them."""
        columns = {"loss": self.losses, "true": self.true, "predicted": self.predicted}
        if self.probabilities is not None:
            columns["probability"] = self.probabilities
        rows = [(str(row), *(_in_a_cell(values[k]) for values in columns.values())) for k, row in enumerate(self.rows)]
        return [Table(rows, ("row", *columns), right=frozenset(range(1 + len(columns))))]


def _in_a_cell(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return short(np.array2string(value, precision=4, threshold=6), 30)
    return format_number(value) if isinstance(value, np.floating) else short(value, 22)


def loss_of_each_row(loss: Callable[[Any, Any], Any], predictions: Any, y: Any) -> Array:
    """(N,) losses: ours with reduction="none"; a loss of the user's own that cannot do that is asked row by row."""
    y = align_targets(loss, predictions, y)
    try:
        each = losses_of_rows("hardest", loss)
    except ValueError:  # it gives one number for all rows
        rows = (slice(k, k + 1) for k in range(number_of_rows(y)))
        return np.array([single_number(loss(take_rows(predictions, row), take_rows(y, row))) for row in rows])
    losses: Array = array_of(each(predictions, y))
    return np.asarray(losses.reshape(len(y), -1).mean(axis=1))


def hard_rows(
    losses: Array, scores: Array, y: Array, task: str, loss: Any, n: int, class_names: Any, preparation: Any
) -> HardRows:
    """The n rows with the largest of these losses (N,), of the model's scores for them and the targets y."""
    order = np.argsort(-np.where(np.isnan(losses), np.inf, losses), kind="stable")
    n = whole_number("hardest", "n", n, least=1)
    if task == "numbers":
        true, predicted = numbers_beside("hardest", y, scores, preparation)
        order = order[:n]
        return HardRows(order, losses[order], _flat(true)[order], _flat(predicted)[order], None)
    one_hot = scores.shape if task == "classes" else None
    true = labels_for("hardest", y, len(scores), one_hot, class_axis(loss)).reshape(len(scores), -1)
    predicted = predicted_classes(scores, task, loss).reshape(len(scores), -1)
    order = order[~(true == ignored_index(loss)).all(axis=1)[order]][:n]
    true, predicted, p = _flat(true)[order], _flat(predicted)[order], None
    if predicted.ndim == 1 and has_probabilities(loss):
        p = probabilities_of(scores, loss).reshape(len(scores), -1)[order, predicted]
    if predicted.ndim == 1 and class_names is not None:
        classes = scores.shape[class_axis(loss)] if task == "classes" else 2
        names = np.array(names_of_classes(class_names, classes))
        true, predicted = names[true], names[predicted]
    return HardRows(order, losses[order], true, predicted, p)


def _flat(columns: Array) -> Array:
    """(N,) of what has a single column, (N, 1)."""
    return columns[:, 0] if columns.shape[1] == 1 else columns
