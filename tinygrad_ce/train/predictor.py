"""Predictor: a model that is asked: evaluated, asked for predictions and probabilities, and pictured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ce import data, nn, ops
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.data.several import is_several, number_of_rows, parts_of
from tinygrad_ce.train.checks import labels_for, one_array, rows_for, targets_for, targets_of
from tinygrad_ce.train.evaluation import all_answers, all_predictions
from tinygrad_ce.train.inputs import loss_of
from tinygrad_ce.train.metrics import (
    SIGMOID,
    SOFTMAX,
    RunningMetrics,
    class_axis,
    ignored_index,
    infer_task,
    is_one_of,
    measured_task,
    predicted_classes,
    single_number,
)
from tinygrad_ce.train.weights import weighed_rows
from tinygrad_ce.views import plots


class Predictor:
    """A model and the loss that says what its answers mean; `Trainer` adds the optimizer.

    Wherever X and y are, a `tg.data.Dataset` may stand in their place.
    """

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Any]) -> None:
        self.model, self.loss = model, loss
        self.task = infer_task(loss)

    def evaluate(self, X: Any, y: Any = None, batch_size: int = 1024, sample_weight: Any = None) -> dict[str, float]:
        """The loss of all rows at once, and the accuracy where the targets are classes; nothing is learnt.

        batch_size: how many rows the model gets at a time, in evaluation mode; no figure depends on it.
        sample_weight: (N,), how much each row counts in both figures, as in `fit`.
        """
        X, y = self._prepared("evaluate", X, y)
        X, y, weights = weighed_rows("evaluate", self.loss, X, y, sample_weight, self._dtype)
        with _evaluating(self.model):
            predictions = all_predictions(self.model, X, whole_number("evaluate", "batch_size", batch_size, least=1))
            loss = loss_of(self.loss, predictions, y, weights)
        metrics = RunningMetrics(measured_task(self.task, self.loss, y), self.loss)
        metrics.add(loss, predictions, y, weights)
        return metrics.figures() | {"loss": single_number(loss)}

    def predict(self, X: Any, batch_size: int = 1024) -> Array:
        """The model's answers, in evaluation mode: class indices where it was trained on classes, else its numbers."""
        scores = self._answers(X, batch_size)  # of several outputs as the model gives them
        return (
            scores
            if self.task == "numbers" or not isinstance(scores, np.ndarray)
            else predicted_classes(scores, self.task, self.loss)
        )

    def probabilities(self, X: Any, batch_size: int = 1024) -> Array:
        """(N, C) class probabilities: the model's scores, through the softmax or sigmoid that its loss applies."""
        scores = self._scores(X, batch_size)
        if is_one_of(self.loss, *SIGMOID):
            scores = ops.sigmoid(scores)
        elif is_one_of(self.loss, *SOFTMAX):
            scores = ops.softmax(scores, axis=class_axis(self.loss))
        if self.task == "binary":
            scores = scores.reshape(-1, 1)
            return np.concatenate([1 - scores, scores], axis=1)
        return scores

    def confusion_matrix(self, X: Any, y: Any = None) -> Array:
        """(classes, classes) counts: row = the true class, column = the answer. ValueError if there are no classes."""
        if self.task == "numbers":
            raise ValueError("confusion_matrix: this model was not trained on classes")
        y, scores = targets_of("confusion_matrix", X, y), self._scores(X, 1024)
        axis, one_hot = class_axis(self.loss), scores.shape if self.task == "classes" else None
        labels = labels_for("confusion_matrix", y, len(scores), one_hot, axis)
        classes = scores.shape[axis] if self.task == "classes" else 2
        predicted = predicted_classes(scores, self.task, self.loss).reshape(-1)
        if labels.shape == predicted.shape and (ignored := ignored_index(self.loss)) is not None:
            labels, predicted = labels[labels != ignored], predicted[labels != ignored]
        return plots.confusion_matrix(labels, predicted, classes)

    def plot_confusion(self, X: Any, y: Any = None, class_names: Sequence[Any] | None = None, path: Any = None) -> Any:
        """The confusion matrix as a matplotlib Figure; with a path, also saved there."""
        matrix = self.confusion_matrix(X, y)
        if class_names is None and isinstance(X, data.Dataset):
            class_names = X.class_names
        return plots.save(plots.confusion_figure(matrix, _names(class_names, len(matrix))), path)

    def plot_boundary(
        self,
        X: Any,
        y: Any = None,
        class_names: Sequence[Any] | None = None,
        path: Any = None,
        feature_names: Sequence[str] | None = None,
    ) -> Any:
        """The answers everywhere around 2-D data as a matplotlib Figure; with a path, also saved there.

        y: class indices. ValueError for data with another number of features than 2.
        """
        y = targets_of("plot_boundary", X, y)
        if isinstance(X, data.Dataset):
            class_names, feature_names = class_names or X.class_names, feature_names or X.feature_names
        X = rows_for("plot_boundary", X, self._dtype)
        if is_several(X) or X.ndim != 2 or X.shape[1] != 2:
            shapes = ", ".join(str(part.shape) for part in parts_of(X))
            raise ValueError(f"a decision boundary needs data with 2 features, and these have shape {shapes}")
        if self.task == "numbers":
            raise ValueError("a decision boundary lies between classes, and this model was not trained on classes")
        names = _names(class_names, self.probabilities(X[:1]).shape[1])
        one_hot = (len(X), len(names)) if self.task == "classes" else None
        labels = labels_for("plot_boundary", y, len(X), one_hot)
        if labels.min() < 0 or labels.max() >= len(names):
            raise ValueError(f"plot_boundary: y must be class indices from 0 to {len(names) - 1}")
        features = feature_names or ("x1", "x2")
        return plots.save(plots.boundary_figure(self.probabilities, X, labels, names, features), path)

    def _scores(self, X: Any, batch_size: int) -> Array:
        return one_array(self._answers(X, batch_size))

    def _answers(self, X: Any, batch_size: int) -> Any:
        X = rows_for("predict", X, self._dtype)
        with _evaluating(self.model), no_grad():
            return all_answers(self.model, X, batch_size)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return next((p.dtype for p in self.model.parameters()), np.dtype(float))

    def _prepared(self, where: str, X: Any, y: Any) -> tuple[Any, Any]:
        y, X = targets_of(where, X, y), rows_for(where, X, self._dtype)
        return X, targets_for(where, y, number_of_rows(X), self._dtype)


def _names(class_names: Sequence[Any] | None, classes: int) -> Sequence[Any]:
    if class_names is None:
        return range(classes)
    if len(class_names) != classes:
        raise ValueError(f"class_names has {len(class_names)} names, and there are {classes} classes")
    return class_names


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode; after, each module is in the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
