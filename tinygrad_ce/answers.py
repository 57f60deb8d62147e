"""What the targets of a loss are, and how a model's answers are chosen and counted: for training and evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce import losses, nn
from tinygrad_ce.core import Array, array_of

BINARY = (nn.BCE, nn.SigmoidBCE, losses.binary_cross_entropy, losses.sigmoid_binary_cross_entropy)
SIGMOID = (nn.SigmoidBCE, losses.sigmoid_binary_cross_entropy)
SOFTMAX = (nn.SoftmaxCrossEntropy, losses.softmax_cross_entropy)
CLASSES = (*SOFTMAX, nn.CrossEntropy, losses.cross_entropy)


def is_one_of(loss: Any, *kinds: Any) -> bool:
    """Whether the loss is one of these functions, or a module of one of these classes."""
    return any(loss is kind or (isinstance(kind, type) and isinstance(loss, kind)) for kind in kinds)


def task_of(loss: Any, y: Array | None = None) -> str:
    """What the targets are: "classes" (of several), "binary" (0 or 1 for each output) or "numbers"."""
    if is_one_of(loss, *BINARY):
        return "binary"
    if is_one_of(loss, *CLASSES):
        return "classes"
    one_hot = y is not None and y.ndim == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all())
    return "classes" if one_hot and bool((y.sum(axis=1) == 1).all()) else "numbers"  # type: ignore[union-attr]


def chosen_by(scores: Array, task: str, loss: Any) -> Array:
    """The class that the scores are for."""
    if task == "classes":
        classes: Array = np.argmax(scores, axis=class_axis(loss))
        return classes
    chosen: Array = (scores > threshold_of(loss)).astype(np.int64)
    return chosen.reshape(-1) if chosen.ndim == 2 and chosen.shape[1] == 1 else chosen


def ignored_index(loss: Any) -> int | None:
    """The class index whose rows the loss leaves out."""
    index: int | None = getattr(loss, "options", {}).get("ignore_index")
    return index


def class_axis(loss: Any) -> int:
    """Along which axis the loss has its classes."""
    axis: int = getattr(loss, "options", {}).get("axis", -1)
    return axis


def threshold_of(loss: Any) -> float:
    """Above it, a binary score says yes: the logit 0 is the probability a half."""
    return 0.0 if is_one_of(loss, *SIGMOID) else 0.5


class Total:
    """Sums the loss and the right answers over batches of different sizes."""

    def __init__(self, task: str, loss: Any) -> None:
        self.task, self.threshold = task, threshold_of(loss)
        self.ignored, self.axis = ignored_index(loss), class_axis(loss)
        self.loss, self.right, self.answers, self.rows = 0.0, 0, 0, 0

    def add(self, loss: Any, predictions: Any, y: Array) -> None:
        """One batch."""
        rows = len(y) if self.ignored is None else int((y != self.ignored).sum())
        self.loss += single_number(loss) * rows
        self.rows += rows
        self._count(array_of(predictions), y, rows)

    def add_many(self, losses: Array, predictions: Array, y: Array) -> None:
        """Several batches of one size, each a row."""
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
        self._count(predictions.reshape(-1, *predictions.shape[2:]), y.reshape(-1, *y.shape[2:]), int(rows.sum()))

    def _count(self, scores: Array, y: Array, rows: int) -> None:
        if self.task != "numbers":
            if self.task == "classes":
                right = scores.argmax(axis=self.axis) == (y if y.ndim < scores.ndim else y.argmax(axis=self.axis))
            else:
                right = (scores > self.threshold) == (y > 0.5)
            self.right += int(right.sum())  # an ignored row's label is no class, so no answer to it is right
            self.answers += right.size if self.ignored is None else rows

    def figures(self) -> dict[str, float]:
        """The mean loss of a row, and the share of right answers where there are answers."""
        accuracy = {"accuracy": self.right / self.answers} if self.answers else {}
        return {"loss": self.loss / max(self.rows, 1), **accuracy}


def single_number(loss: Any) -> float:
    """The loss as a Python number. ValueError if there are several."""
    array = array_of(loss)
    if array.size != 1:
        raise ValueError(f'the loss has shape {array.shape}, and training needs one number: use reduction="mean"')
    return float(array.item())
