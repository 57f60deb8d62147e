"""Metrics: which task a loss is for, which class scores predict, and the mean loss and accuracy over batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce import losses, nn, ops
from tinygrad_ce.core import Array, Tensor, array_of, interpreter
from tinygrad_ce.data.structures import is_several, number_of_rows, take_rows

BINARY = (nn.BCE, nn.SigmoidBCE, losses.binary_cross_entropy, losses.sigmoid_binary_cross_entropy)
SIGMOID = (nn.SigmoidBCE, losses.sigmoid_binary_cross_entropy)
SOFTMAX = (nn.SoftmaxCrossEntropy, losses.softmax_cross_entropy)
CLASSES = (*SOFTMAX, nn.CrossEntropy, losses.cross_entropy, nn.NLL, losses.nll)
DIVERGENCE = (nn.KLDivergence, losses.kl_divergence)
ELEMENTS = (*BINARY, nn.MSE, losses.mse, nn.Huber, losses.huber)  # one target for each number of the predictions


def is_one_of(loss: Any, *kinds: Any) -> bool:
    """Whether the loss is one of these functions (or a `partial` of one), or a module of one of these classes."""
    loss = loss.func if isinstance(loss, partial) else loss
    return any(loss is kind or (isinstance(kind, type) and isinstance(loss, kind)) for kind in kinds)


def infer_task(loss: Any, y: Any = None) -> str:
    """Infer from the loss, or from one-hot targets, what is learnt: "classes", "binary" (0 or 1 each) or "numbers"."""
    if is_several(y):  # the loss, and what it makes of them, is the user's own
        return "numbers"
    if is_one_of(loss, *BINARY):
        return "binary"
    if is_one_of(loss, *CLASSES):
        return "classes"
    return "classes" if y is not None and y.ndim == 2 and _is_one_hot(y) else "numbers"


def measured_task(task: str, loss: Any, y: Any) -> str:
    """The task, but "numbers" where its targets are soft: then no answer is right or wrong, and accuracy is nothing.

    y: all targets, an array; of several outputs the task is "numbers" already.
    """
    if task == "binary":
        return task if bool(((y == 0) | (y == 1)).all()) else "numbers"
    axis = class_axis(loss)
    if task == "classes" and y.dtype.kind == "f" and -y.ndim <= axis < y.ndim:
        return task if _is_one_hot(np.moveaxis(y, axis, -1)) else "numbers"
    return task


def _is_one_hot(y: Array) -> bool:
    """Whether y holds rows of zeros, each with a single 1."""
    several = y.ndim >= 2 and y.shape[-1] > 1 and bool(((y == 0) | (y == 1)).all())
    return several and bool((y.sum(axis=-1) == 1).all())


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


def confusion_counts(labels: Array, predicted: Array, classes: int) -> Array:
    """(classes, classes) counts: row = the true class, column = the predicted one. labels, predicted: (N,) indices.

    >>> confusion_counts(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
    array([[1, 0],
           [1, 1]])
    """
    if labels.shape != predicted.shape:
        raise ValueError(f"confusion_matrix: labels {labels.shape} and predictions {predicted.shape} must be two (N,)")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"confusion_matrix: labels must be class indices from 0 to {classes - 1}")
    return np.bincount(labels.astype(int) * classes + predicted, minlength=classes**2).reshape(classes, classes)


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


def label_counts(loss: Any, labels: Any) -> Any:
    """How much each label counts in a mean: the weight that its class has in the loss, and 0 for the ignored index.

    labels: class indices of any shape, an array or (in a traced step) a Tensor. None if all count alike.
    """
    weight = options_of(loss).get("weight") if is_one_of(loss, *CLASSES, *DIVERGENCE) else None
    index = ignored_index(loss)
    if weight is None and index is None:
        return None
    counts: Any = 1.0
    ignored = None if index is None else ops.equal(labels, index)
    if weight is not None:
        weights = interpreter.get().read(Tensor(np.asarray(array_of(weight), float), name="weight"))
        counts = ops.index(weights, labels if ignored is None else ops.where(ignored, 0, labels))
    return counts if ignored is None else ops.where(ignored, 0.0, counts)


def align_targets(loss: Any, predictions: Any, targets: Any) -> Any:
    """The targets in the shape of the predictions, where both are one number a row: (N,) and (N, 1), either way round.

    Only for losses that compare number by number and would refuse the two shapes; nothing is ever broadcast.
    """
    ours, theirs = getattr(predictions, "shape", ()), getattr(targets, "shape", ())
    alike = ours != theirs and {(*ours[:1], 1), ours[:1]} == {ours, theirs}
    return targets.reshape(ours) if alike and is_one_of(loss, *ELEMENTS) else targets


def threshold_of(loss: Any) -> float:
    """The score above which a binary prediction is 1: the logit 0 is the probability 0.5."""
    return 0.0 if is_one_of(loss, *SIGMOID) else 0.5


class RunningMetrics:
    """The loss and the accuracy of many batches, whatever their sizes: what all their rows at once would have given.

    A batch's loss counts as much as what its mean was divided by: its rows, or their weights, and where the loss has
    class weights or an ignored index, the weights of the labels that count. Losses with reduction="sum" are added. A
    loss function of your own is taken for a mean over the rows. With weights of the rows, the accuracy is the share of
    the weights whose rows are right. It is of one answer, where there is one: of several, only the loss is measured.

    >>> metrics = RunningMetrics("classes", SoftmaxCrossEntropy(weight=[1.0, 3.0]))
    >>> metrics.add(0.5, np.array([[2.0, 1.0], [3.0, 0.0]]), np.array([0, 0]))  # divided by 1 + 1
    >>> metrics.add(1.0, np.array([[2.0, 1.0]]), np.array([1])); metrics.figures()  # divided by 3
    {'loss': 0.8, 'accuracy': 0.66...}
    """

    def __init__(self, task: str, loss: Any) -> None:
        self.task, self.function, self.threshold = task, loss, threshold_of(loss)
        self.ignored, self.axis = ignored_index(loss), class_axis(loss)
        self.by_rows = self.ignored is None and options_of(loss).get("weight") is None  # as most losses
        self.adds = options_of(loss).get("reduction") == "sum"
        self.loss, self.divisor = 0.0, 0.0
        self.correct, self.predicted = 0.0, 0.0
        self.classes = 0  # of which a row is one; not known before the first batch

    def add(self, loss: Any, predictions: Any, y: Any, weights: Array | None = None) -> None:
        """Add a batch: its loss, its predictions and targets, and the weights of its rows, if they have some."""
        one_answer = len(getattr(predictions, "shape", ())) > 0 and not is_several(y)
        if one_answer and not self.by_rows:
            divisor = self._divisors(y[None], predictions.ndim, None if weights is None else weights[None])[0]
        else:
            divisor = number_of_rows(y) if weights is None else weights.sum(dtype=float)
        self.loss += single_number(loss) * (1 if self.adds else float(divisor))
        self.divisor += float(divisor)
        if one_answer:
            self._count_correct(predictions, y, weights)

    def add_many(self, losses: Array, predictions: Array, y: Any, weights: Array | None = None) -> None:
        """Add several batches of one size: losses (batches,), predictions and targets (batches, rows, ...)."""
        if is_several(y) or predictions.ndim < 2 or predictions.shape[1] != y.shape[1]:
            for k, loss in enumerate(losses):
                self.add(loss, predictions[k], take_rows(y, k), None if weights is None else weights[k])
            return
        divisors = self._divisors(y, predictions.ndim - 1, weights)
        self.loss = _added(self.loss, losses.astype(float) * (1.0 if self.adds else divisors))
        self.divisor = _added(self.divisor, divisors)
        flat = predictions.reshape(-1, *predictions.shape[2:]), y.reshape(-1, *y.shape[2:])
        self._count_correct(*flat, None if weights is None else weights.reshape(-1))

    def _divisors(self, y: Array, ndim: int, weights: Array | None) -> Array:
        """What the mean of each batch was divided by; y: (batches, rows, ...), ndim: of the predictions of a batch."""
        each = np.ones(y.shape[:2]) if weights is None else weights.astype(float)
        hard = y.ndim - 1 < ndim  # soft labels: the losses divide by the rows
        if hard and not self.by_rows and (counts := label_counts(self.function, y)) is not None:
            each = each * array_of(counts).reshape(*y.shape[:2], -1).sum(axis=2)
        return np.asarray(each.sum(axis=1))

    def _count_correct(self, predictions: Any, y: Array, weights: Array | None) -> None:
        if self.task == "numbers":
            return
        scores = array_of(predictions)
        y = align_targets(self.function, scores, y)
        self.classes = scores.shape[self.axis] if self.task == "classes" else 2
        if self.task == "classes":
            correct = scores.argmax(axis=self.axis) == (y if y.ndim < scores.ndim else y.argmax(axis=self.axis))
        else:
            correct = (scores > self.threshold) == (y > 0.5)
        if math.isnan(self.loss):  # a score that is NaN is of no class, so that it is not right
            unknown = np.isnan(scores)
            correct = correct & ~(unknown.any(axis=self.axis) if self.task == "classes" else unknown)
        counted = y != self.ignored if self.ignored is not None and y.shape == correct.shape else np.True_
        correct, counted = correct & counted, np.broadcast_to(counted, correct.shape)
        if weights is None:
            self.correct += int(correct.sum())
            self.predicted += int(counted.sum())
            return
        weights = weights.astype(float).reshape(-1, *[1] * (correct.ndim - 1))
        self.correct = _added(self.correct, (correct * weights).reshape(-1))
        self.predicted = _added(self.predicted, (counted * weights).reshape(-1))

    @property
    def guessing(self) -> float | None:
        """The cross-entropy of an answer that finds all C classes equally likely, ln C; None for other losses."""
        known = self.classes and not self.adds and is_one_of(self.function, *CLASSES, *BINARY)
        return math.log(self.classes) if known else None

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
