"""Metrics: which task a loss is for, which class scores predict, and the mean loss and accuracy over batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce import losses, nn
from tinygrad_ce.core import Array, array_of

BINARY = (nn.BCE, nn.SigmoidBCE, losses.binary_cross_entropy, losses.sigmoid_binary_cross_entropy)
SIGMOID = (nn.SigmoidBCE, losses.sigmoid_binary_cross_entropy)
SOFTMAX = (nn.SoftmaxCrossEntropy, losses.softmax_cross_entropy)
CLASSES = (*SOFTMAX, nn.CrossEntropy, losses.cross_entropy, nn.NLL, losses.nll)


def is_one_of(loss: Any, *kinds: Any) -> bool:
    """Whether the loss is one of these functions, or a module of one of these classes."""
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
    """The class with the largest score, or for a binary task whether the score is above the threshold."""
    if task == "classes":
        classes: Array = np.argmax(scores, axis=class_axis(loss))
        return classes
    positive: Array = (scores > threshold_of(loss)).astype(np.int64)
    return positive.reshape(-1) if positive.ndim == 2 and positive.shape[1] == 1 else positive


def ignored_index(loss: Any) -> int | None:
    """The class index whose rows the loss leaves out."""
    index: int | None = getattr(loss, "options", {}).get("ignore_index")
    return index


def class_axis(loss: Any) -> int:
    """Along which axis the loss has its classes."""
    axis: int = getattr(loss, "options", {}).get("axis", -1)
    return axis


def threshold_of(loss: Any) -> float:
    """The score above which a binary prediction is 1: the logit 0 is the probability 0.5."""
    return 0.0 if is_one_of(loss, *SIGMOID) else 0.5


class RunningMetrics:
    """The mean loss and the accuracy over batches of different sizes, summed as they come.

    >>> metrics = RunningMetrics("classes", SoftmaxCrossEntropy())
    >>> metrics.add(0.5, np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([0, 0])); metrics.figures()
    {'loss': 0.5, 'accuracy': 0.5}
    """

    def __init__(self, task: str, loss: Any) -> None:
        self.task, self.threshold = task, threshold_of(loss)
        self.ignored, self.axis = ignored_index(loss), class_axis(loss)
        self.loss, self.rows = 0.0, 0
        self.correct, self.predicted = 0, 0

    def add(self, loss: Any, predictions: Any, y: Array) -> None:
        """Add a batch: its mean loss, its predictions and its targets."""
        rows = len(y) if self.ignored is None else int((y != self.ignored).sum())
        self.loss += single_number(loss) * rows
        self.rows += rows
        self._count_correct(array_of(predictions), y, rows)

    def add_many(self, losses: Array, predictions: Array, y: Array) -> None:
        """Add several batches of one size: losses (batches,), predictions and targets (batches, rows, ...)."""
        if predictions.ndim < 2 or predictions.shape[1] != y.shape[1]:
            for batch in zip(losses, predictions, y, strict=True):
                self.add(*batch)
            return
        if self.ignored is None:
            rows = np.full(len(y), y.shape[1])
        else:
            rows = (y != self.ignored).reshape(len(y), -1).sum(axis=1)
        self.loss += float(losses.astype(np.float64) @ rows)
        self.rows += int(rows.sum())
        flat_predictions = predictions.reshape(-1, *predictions.shape[2:])
        self._count_correct(flat_predictions, y.reshape(-1, *y.shape[2:]), int(rows.sum()))

    def _count_correct(self, scores: Array, y: Array, rows: int) -> None:
        if self.task == "numbers":
            return
        if self.task == "classes":
            correct = scores.argmax(axis=self.axis) == (y if y.ndim < scores.ndim else y.argmax(axis=self.axis))
        else:
            correct = (scores > self.threshold) == (y > 0.5)
        self.correct += int(correct.sum())  # an ignored row's label is no class, so no prediction equals it
        self.predicted += correct.size if self.ignored is None else rows

    def figures(self) -> dict[str, float]:
        """The mean loss of a row, and where there are classes the accuracy."""
        accuracy = {"accuracy": self.correct / self.predicted} if self.predicted else {}
        return {"loss": self.loss / max(self.rows, 1), **accuracy}


def single_number(loss: Any) -> float:
    """The loss as a Python number. ValueError if there are several."""
    array = array_of(loss)
    if array.size != 1:
        raise ValueError(f'the loss has shape {array.shape}, and training needs one number: use reduction="mean"')
    return float(array.item())
