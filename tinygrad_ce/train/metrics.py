"""Metrics: which task a loss is for, which class scores predict, and the mean loss and accuracy over batches."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce import losses, nn
from tinygrad_ce.core import Array, array_of

BINARY = (nn.BCE, nn.SigmoidBCE, losses.binary_cross_entropy, losses.sigmoid_binary_cross_entropy)
SIGMOID = (nn.SigmoidBCE, losses.sigmoid_binary_cross_entropy)
SOFTMAX = (nn.SoftmaxCrossEntropy, losses.softmax_cross_entropy)
CLASSES = (*SOFTMAX, nn.CrossEntropy, losses.cross_entropy, nn.NLL, losses.nll)


def is_one_of(loss: Any, *kinds: Any) -> bool:
    """Whether the loss is one of these functions (or a `partial` of one), or a module of one of these classes."""
    loss = loss.func if isinstance(loss, partial) else loss
    return any(loss is kind or (isinstance(kind, type) and isinstance(loss, kind)) for kind in kinds)


def infer_task(loss: Any, y: Array | None = None) -> str:
    """Infer from the loss, or from one-hot targets, what is learnt: "classes", "binary" (0 or 1 each) or "numbers"."""
    if is_one_of(loss, *BINARY):
        return "binary"
    if is_one_of(loss, *CLASSES):
        return "classes"
    one_hot = y is not None and y.ndim == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all())
    return "classes" if one_hot and bool((y.sum(axis=1) == 1).all()) else "numbers"  # type: ignore[union-attr]


def predicted_classes(scores: Array, task: str, loss: Any) -> Array:
    """The class with the largest score, or for a binary task whether the score is above the threshold.

    Raises ValueError for a score that is NaN, which is neither larger nor smaller than another.
    """
    check_scores(scores)
    if task == "classes":
        classes: Array = np.argmax(scores, axis=class_axis(loss))
        return classes
    positive: Array = (scores > threshold_of(loss)).astype(np.int64)
    return positive.reshape(-1) if positive.ndim == 2 and positive.shape[1] == 1 else positive


def check_scores(scores: Array) -> None:
    """Raise ValueError for a score that is NaN: its row is of no class."""
    if np.isnan(scores).any():
        raise ValueError(
            f"predict: the model's scores of row {np.argwhere(np.isnan(scores))[0][0]} are nan, so they are of no "
            "class: look for NaN in X (np.isnan(X).any()) and in the parameters"
        )


def options_of(loss: Any) -> Mapping[str, Any]:
    """The options of one of our losses as a module or a `partial`; {} for a loss without, and for a function."""
    options = loss.keywords if isinstance(loss, partial) else getattr(loss, "options", None)
    return options if isinstance(options, Mapping) else {}


def ignored_index(loss: Any) -> int | None:
    """The class index whose rows the loss leaves out."""
    index: int | None = options_of(loss).get("ignore_index")
    return index


def class_axis(loss: Any) -> int:
    """Along which axis the loss has its classes."""
    axis: int = options_of(loss).get("axis", -1)
    return axis


def threshold_of(loss: Any) -> float:
    """The score above which a binary prediction is 1: the logit 0 is the probability 0.5."""
    return 0.0 if is_one_of(loss, *SIGMOID) else 0.5


class RunningMetrics:
    """The loss and the accuracy of many batches, whatever their sizes: what all their rows at once would have given.

    A batch's loss counts as much as what its mean was divided by: its rows, or where the loss has class weights or an
    ignored index, the weights of the labels that count. Losses with reduction="sum" are added. A loss function of your
    own is taken for a mean over the rows.

    >>> metrics = RunningMetrics("classes", SoftmaxCrossEntropy(weight=[1.0, 3.0]))
    >>> metrics.add(0.5, np.array([[2.0, 1.0], [3.0, 0.0]]), np.array([0, 0]))  # divided by 1 + 1
    >>> metrics.add(1.0, np.array([[2.0, 1.0]]), np.array([1])); metrics.figures()  # divided by 3
    {'loss': 0.8, 'accuracy': 0.66...}
    """

    def __init__(self, task: str, loss: Any) -> None:
        self.task, self.threshold = task, threshold_of(loss)
        self.ignored, self.axis = ignored_index(loss), class_axis(loss)
        weight = options_of(loss).get("weight") if is_one_of(loss, *CLASSES) else None
        self.class_weights = None if weight is None else np.asarray(weight, float)
        self.by_rows = self.ignored is None and self.class_weights is None  # as most losses
        self.adds = options_of(loss).get("reduction") == "sum"
        self.loss, self.divisor = 0.0, 0.0
        self.correct, self.predicted = 0, 0

    def add(self, loss: Any, predictions: Any, y: Array) -> None:
        """Add a batch: its loss, its predictions and its targets."""
        divisor = len(y) if self.by_rows else self._divisors(y[None], predictions)[0]
        self.loss += single_number(loss) * (1 if self.adds else divisor)
        self.divisor += divisor
        self._count_correct(predictions, y)

    def add_many(self, losses: Array, predictions: Array, y: Array) -> None:
        """Add several batches of one size: losses (batches,), predictions and targets (batches, rows, ...)."""
        if predictions.ndim < 2 or predictions.shape[1] != y.shape[1]:
            for batch in zip(losses, predictions, y, strict=True):
                self.add(*batch)
            return
        divisors = np.array([y.shape[1]] * len(y) if self.by_rows else self._divisors(y, predictions[0]), float)
        self.loss = _added(self.loss, losses.astype(float) * (1.0 if self.adds else divisors))
        self.divisor = _added(self.divisor, divisors)
        self._count_correct(predictions.reshape(-1, *predictions.shape[2:]), y.reshape(-1, *y.shape[2:]))

    def _divisors(self, y: Array, predictions: Any) -> list[float]:
        """What the mean loss of each batch was divided by; y: (batches, rows, ...), predictions: of one batch."""
        if y.ndim - 1 >= predictions.ndim:  # soft labels: the losses divide by the rows
            return [y.shape[1]] * len(y)
        counted = y != self.ignored if self.ignored is not None else np.ones(y.shape, bool)
        weights = counted if self.class_weights is None else self.class_weights[np.where(counted, y, 0)] * counted
        sums: list[float] = weights.reshape(len(y), -1).sum(axis=1).tolist()
        return sums

    def _count_correct(self, predictions: Any, y: Array) -> None:
        if self.task == "numbers":
            return
        scores = array_of(predictions)
        if self.task == "classes":
            correct = scores.argmax(axis=self.axis) == (y if y.ndim < scores.ndim else y.argmax(axis=self.axis))
        else:
            correct = (scores > self.threshold) == (y > 0.5)
        if self.ignored is not None and y.shape == correct.shape:
            correct = correct[y != self.ignored]
        self.correct += int(correct.sum())
        self.predicted += correct.size

    def figures(self) -> dict[str, float]:
        """The loss of all rows, and where there are classes the accuracy."""
        accuracy = {"accuracy": self.correct / self.predicted} if self.predicted else {}
        mean = self.loss / self.divisor if self.divisor else 0.0
        return {"loss": self.loss if self.adds else mean, **accuracy}


def single_number(loss: Any) -> float:
    """The loss as a Python number. ValueError if there are several."""
    array = array_of(loss)
    if array.size != 1:
        raise ValueError(f'the loss has shape {array.shape}, and training needs one number: use reduction="mean"')
    return float(array.item())


def _added(total: float, numbers: Array) -> float:
    """The sum from left to right: the same bits, however the clock has cut an epoch into portions."""
    return float(np.add.accumulate(np.concatenate([[total], numbers]))[-1])
