"""What a model has answered beside what was true, row by row: what reports and lists of hard rows are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import shown
from tinygrad_ce.report.words import several
from tinygrad_ce.train.checks import labels_for, targets_for
from tinygrad_ce.train.metrics import class_axis, ignored_index, measured_task, predicted_classes
from tinygrad_ce.train.probabilities import has_probabilities, probabilities_of
from tinygrad_ce.train.weights import sample_weights

if TYPE_CHECKING:
    from tinygrad_ce.data.preparation import Preparation


class Answers(NamedTuple):
    """What a classifier has answered, and what was true.

    true, predicted: (N,) class indices, or (N, L) zeros and ones of L labels. probabilities: (N, C) or (N, L), float64;
    None where the loss is of none. scores: in the same shape, larger where the model holds the class for more likely.
    weights: (N,), or None where all count alike. names: of the C classes, or of the L labels.
    """

    true: Array
    predicted: Array
    probabilities: Array | None
    scores: Array
    weights: Array | None
    names: tuple[str, ...]

    @property
    def has_several_labels(self) -> bool:
        """Whether each row has several answers of yes or no."""
        return self.true.ndim == 2

    def contrasts(self) -> list[Contrast]:
        """Each label, or each class against the rest; of two classes only the second, which is yes."""
        several_labels, classes = self.has_several_labels, range(len(self.names))
        is_true = self.true == 1 if several_labels else self.true[:, None] == np.array(classes)
        chosen = classes if several_labels or len(classes) != 2 else classes[1:]
        return [Contrast(self.names[k], is_true[:, k], self.scores[:, k], self.weights) for k in chosen]


class Contrast(NamedTuple):
    """A class (or label) against the rest: its name, (N,) whether it was true, (N,) the score, (N,) weights or None."""

    name: str
    true: Array
    score: Array
    weights: Array | None

    @property
    def has_both(self) -> bool:
        """Whether there are rows of the class and rows of the rest: without both there is no curve."""
        return bool(self.true.any() and not self.true.all())


def answers_to(
    y: Any, scores: Array, task: str, loss: Any, class_names: Sequence[Any] | None, sample_weight: Any
) -> Answers:
    """The answers that the scores are to rows whose targets are y; rows that count for nothing are left out.

    y: class indices, or a number for each class; of yes-or-no answers 0 or 1. sample_weight: (N,), or None.
    Raises ValueError for targets, names or weights that do not fit.
    """
    p = probabilities_of(scores.astype(float), loss) if has_probabilities(loss) else None
    axis = class_axis(loss) if task == "classes" else -1
    columns = np.moveaxis(scores if p is None else p, axis, -1)
    columns = columns.reshape(-1, columns.shape[-1])
    several_labels = task == "binary" and scores.size != len(scores)
    _check_hard(y, scores, task, loss)
    true = labels_for("report", y, len(scores), scores.shape if task == "classes" else None, axis)
    predicted = predicted_classes(scores, task, loss).reshape(-1)
    if true.size != predicted.size:
        raise ValueError(
            f"report: y has {several(true.size, 'label')} and the model gives {several(predicted.size, 'answer')}: "
            "each answer needs one label"
        )
    weights = None
    if sample_weight is not None:
        weights = sample_weights("report", sample_weight, len(scores), np.dtype(float))
        weights = np.repeat(weights, len(columns) // len(scores))
    if several_labels:
        true, predicted = true.reshape(columns.shape), predicted.reshape(columns.shape)
    counts = np.ones(len(columns), bool) if weights is None else weights > 0
    if not several_labels and (ignored := ignored_index(loss)) is not None:
        counts &= true != ignored
    true, predicted, columns = true[counts], predicted[counts], columns[counts]
    _check_labels(true, 2 if several_labels else columns.shape[1])
    if p is not None and not several_labels:
        columns = columns / columns.sum(axis=1, keepdims=True)  # those of float32 sum to 1 only to its digits
    return Answers(
        true=true,
        predicted=predicted,
        probabilities=None if p is None else columns,
        scores=columns,
        weights=None if weights is None else weights[counts],
        names=names_of_classes(class_names, columns.shape[1]),
    )


def names_of_classes(class_names: Sequence[Any] | None, classes: int) -> tuple[str, ...]:
    """The names as texts; without names, the class indices. ValueError for too few, too many, or a name twice."""
    if class_names is None:
        return tuple(map(str, range(classes)))
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise TypeError(
            f'class_names={shown(class_names)} must be a list of {classes} names, as ["no", "yes"] is of two'
        )
    names = tuple(map(str, class_names))
    if len(names) != classes:
        raise ValueError(f"class_names has {len(names)} names, and there are {classes} classes")
    if len(set(names)) != classes:
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"class_names: two classes are called {shown(twice)}; give each its own name")
    return names


def _check_hard(y: Any, scores: Array, task: str, loss: Any) -> None:
    targets = targets_for("report", y, len(scores), np.dtype(float))
    has_rows = task == "classes" and getattr(targets, "shape", ()) == scores.shape
    if has_rows and measured_task(task, loss, targets.astype(float)) != task:
        raise ValueError(
            "report: y holds soft targets, for which no answer is right or wrong: pass the classes, y.argmax(axis=-1)"
        )


def _check_labels(true: Array, classes: int) -> None:
    if not true.size:
        raise ValueError("report: no row counts: every label of y is the loss's ignore_index, or has weight 0")
    outside = true[(true < 0) | (true >= classes)]
    if len(outside):
        raise ValueError(f"report: y holds the label {outside[0]}; it must be class indices from 0 to {classes - 1}")


def numbers_beside(where: str, y: Any, scores: Array, preparation: Preparation | None) -> tuple[Array, Array]:
    """(N, K) true and predicted numbers, in the units of the table where a preparation has scaled the targets.

    Raises ValueError for targets that are not as many as the model's numbers, or if one is NaN.
    """
    rows = len(scores)
    true, predicted = targets_for(where, y, rows, np.dtype(float)).reshape(rows, -1), scores.reshape(rows, -1)
    if true.shape != predicted.shape:
        raise ValueError(
            f"{where}: the targets have {several(true.shape[1], 'column')} and the model gives "
            f"{several(predicted.shape[1], 'number')} for each row; if they are classes, train with a loss of classes: "
            "tg.nn.SoftmaxCrossEntropy()"
        )
    if preparation is not None and not preparation.class_names and true.shape[1] == 1:
        true, predicted = (np.reshape(preparation.invert(array[:, 0]), (rows, 1)) for array in (true, predicted))
    for name, array in (("y", true), ("the model's answer", predicted)):
        if not np.isfinite(array).all():
            row = np.argwhere(~np.isfinite(array))[0][0]
            raise ValueError(f"{where}: {name} in row {row} is {array[row].tolist()}: no error can be measured there")
    return true.astype(float), predicted.astype(float)
