"""Predictor: a model that is asked: evaluated, asked for predictions and probabilities, and pictured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce import data, nn
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.data.structures import is_several, number_of_rows, parts_of
from tinygrad_ce.nn.module import evaluating
from tinygrad_ce.train.answers import answers_to, names_of_classes, numbers_beside
from tinygrad_ce.train.checks import arrays_of_answer, labels_for, one_array, rows_for, targets_for, targets_of
from tinygrad_ce.train.evaluation import all_answers, all_predictions
from tinygrad_ce.train.inputs import loss_of
from tinygrad_ce.train.metrics import (
    RunningMetrics,
    class_axis,
    confusion_counts,
    ignored_index,
    infer_task,
    measured_task,
    predicted_classes,
    single_number,
)
from tinygrad_ce.train.probabilities import answers_above, has_probabilities, probabilities_of
from tinygrad_ce.train.weights import weighed_rows
from tinygrad_ce.views import plots

if TYPE_CHECKING:
    from tinygrad_ce.data.preparation import Preparation
    from tinygrad_ce.train.hardest import HardRows
    from tinygrad_ce.train.report import ClassificationReport, RegressionReport


class Predictor:
    """A model and the loss that says what its answers mean; `Trainer` adds the optimizer.

    Wherever X and y are, a `tg.data.Dataset` may stand in their place.
    """

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Any]) -> None:
        self.model, self.loss = model, loss
        self.task = infer_task(loss)
        self.preparation: Preparation | None = None

    def evaluate(self, X: Any, y: Any = None, batch_size: int = 1024, sample_weight: Any = None) -> dict[str, float]:
        """The loss of all rows at once, and the accuracy where the targets are classes; nothing is learnt.

        batch_size: how many rows the model gets at a time, in evaluation mode; no figure depends on it.
        sample_weight: (N,), how much each row counts in both figures, as in `fit`.
        """
        X, y = self._prepared("evaluate", X, y)
        X, y, weights = weighed_rows("evaluate", self.loss, X, y, sample_weight, self._dtype)
        with evaluating(self.model):
            predictions = all_predictions(self.model, X, whole_number("evaluate", "batch_size", batch_size, least=1))
            loss = loss_of(self.loss, predictions, y, weights)
        metrics = RunningMetrics(measured_task(self.task, self.loss, y), self.loss)
        metrics.add(loss, predictions, y, weights)
        return metrics.figures() | {"loss": single_number(loss)}

    def predict(self, X: Any, threshold: float | None = None, batch_size: int = 1024) -> Array:
        """The model's answers, in evaluation mode: class indices where it was trained on classes, else its numbers.

        batch_size: how many rows the model gets at a time; no answer depends on it.
        threshold: for answers of yes or no (binary, multi-label), the probability above which the answer is 1: 0.5, if
        left out. ValueError for one outside of [0, 1], and for a model that does not answer yes or no.
        """
        scores = self._answers(X, batch_size)  # of several outputs as the model gives them
        if threshold is not None:
            return answers_above(threshold, one_array(scores), self.task, self.loss)
        is_of_classes = self.task != "numbers" and isinstance(scores, np.ndarray)
        return predicted_classes(scores, self.task, self.loss) if is_of_classes else scores

    def predict_proba(self, X: Any, batch_size: int = 1024) -> Array:
        """The probabilities behind the answers: the model's scores through what its loss applies to them.

        (N, C) of C classes, in the shape of the scores. (N, 2), of no and of yes, where there is one yes-or-no answer a
        row; (N, L), of each yes, where there are several labels. As in scikit-learn.
        ValueError for a loss that is of no probabilities, as the squared error.

        >>> data = tg.data.moons(60, seed=0); tg.seed(0); model = Dense(2, 2)
        >>> trainer = Trainer(model, SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.5))
        >>> trainer.predict_proba(data.X).shape
        (60, 2)
        """
        return probabilities_of(self._scores(X, batch_size), self.loss)

    def report(
        self, X: Any, y: Any = None, class_names: Sequence[Any] | None = None, sample_weight: Any = None
    ) -> ClassificationReport | RegressionReport:
        """What the model is worth on these rows, by scikit-learn's figures: `print(trainer.report(test))`.

        Of classes: precision, recall and F1 of each, accuracy, ROC AUC, average precision, log loss, calibration, and
        the confusion matrix. Of numbers: RMSE, MAE and R², in the units of the table where a Dataset's preparation has
        scaled the targets (y is then in the scaled units, as for `fit`).
        class_names: those of the Dataset, if left out. sample_weight: (N,), how much each row counts.
        ImportError without scikit-learn, ValueError for targets that do not fit.

        >>> data = tg.data.moons(60, seed=0); tg.seed(0); model = Dense(2, 2)
        >>> trainer = Trainer(model, SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.5))
        >>> history = trainer.fit(data, epochs=5, seed=0); trainer.report(data).figures
        {'accuracy': ..., 'log_loss': ..., 'roc_auc': ..., 'average_precision': ..., 'calibration_error': ...}
        """
        from tinygrad_ce.train.report import report_on_classes, report_on_numbers  # not before one is asked for

        y, scores = targets_of("report", X, y), self._scores(X, 1024)
        if self.task != "numbers":
            names = self._class_names(class_names, X)
            return report_on_classes(answers_to(y, scores, self.task, self.loss, names, sample_weight))
        if class_names is not None:
            raise ValueError("report: class_names= is for classes, and this model gives numbers: leave it out")
        preparation = self._preparation_of(X)
        true, predicted = numbers_beside("report", y, scores, preparation)
        target = (preparation and preparation.target.name) or "y"
        names = [target] if true.shape[1] == 1 else [f"{target}{k + 1}" for k in range(true.shape[1])]
        return report_on_numbers(true, predicted, sample_weight, names)

    def hardest(self, X: Any, y: Any = None, n: int = 10, class_names: Sequence[Any] | None = None) -> HardRows:
        """The n rows with the largest loss: what was true, what the model says, and how sure it is of that.

        X, y, class_names: as for `report`. ValueError for targets that do not fit.
        Often they are mislabelled, or show what the model has not learnt.

        >>> data = tg.data.moons(60, seed=0); tg.seed(0); model = Dense(2, 2)
        >>> trainer = Trainer(model, SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.5))
        >>> trainer.hardest(data, n=2).rows.shape
        (2,)
        """
        from tinygrad_ce.train.hardest import hard_rows, loss_of_each_row  # not before they are asked for

        names, preparation = self._class_names(class_names, X), self._preparation_of(X)
        X, y = self._prepared("hardest", X, y)
        with evaluating(self.model):
            predictions = all_predictions(self.model, X, 1024)
            losses = loss_of_each_row(self.loss, predictions, y)
        scores = one_array(arrays_of_answer(predictions, number_of_rows(X)))
        return hard_rows(losses, scores, y, self.task, self.loss, n, names, preparation)

    def confusion_matrix(self, X: Any, y: Any = None) -> Array:
        """(classes, classes) counts: row = the true class, column = the answer. ValueError if there are no classes."""
        if self.task == "numbers":
            raise ValueError(
                "confusion_matrix: this model was not trained on classes but gives numbers: trainer.report(X, y) has "
                "their RMSE, MAE and R²"
            )
        y, scores = targets_of("confusion_matrix", X, y), self._scores(X, 1024)
        axis, one_hot = class_axis(self.loss), scores.shape if self.task == "classes" else None
        labels = labels_for("confusion_matrix", y, len(scores), one_hot, axis)
        classes = scores.shape[axis] if self.task == "classes" else 2
        predicted = predicted_classes(scores, self.task, self.loss).reshape(-1)
        if labels.shape == predicted.shape and (ignored := ignored_index(self.loss)) is not None:
            labels, predicted = labels[labels != ignored], predicted[labels != ignored]
        return confusion_counts(labels, predicted, classes)

    def plot_confusion(self, X: Any, y: Any = None, class_names: Sequence[Any] | None = None, path: Any = None) -> Any:
        """The confusion matrix as a matplotlib Figure; with a path, also saved there."""
        matrix = self.confusion_matrix(X, y)
        names = names_of_classes(self._class_names(class_names, X), len(matrix))
        return plots.save(plots.confusion_figure(matrix, names), path)

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
        y, class_names = targets_of("plot_boundary", X, y), self._class_names(class_names, X)
        if isinstance(X, data.Dataset):
            feature_names = feature_names or X.feature_names
        X = rows_for("plot_boundary", X, self._dtype)
        if is_several(X) or X.ndim != 2 or X.shape[1] != 2:
            shapes = ", ".join(str(part.shape) for part in parts_of(X))
            raise ValueError(f"a decision boundary needs data with 2 features, and these have shape {shapes}")
        if self.task == "numbers":
            raise ValueError("a decision boundary lies between classes, and this model was not trained on classes")
        names = names_of_classes(class_names, self._shares(X[:1]).shape[1])
        one_hot = (len(X), len(names)) if self.task == "classes" else None
        labels = labels_for("plot_boundary", y, len(X), one_hot)
        if len(labels) != len(X):
            raise ValueError(
                f"plot_boundary: y has {len(labels)} labels for {len(X)} rows; each row needs one class index"
            )
        if labels.min() < 0 or labels.max() >= len(names):
            raise ValueError(f"plot_boundary: y must be class indices from 0 to {len(names) - 1}")
        features = feature_names or ("x1", "x2")
        return plots.save(plots.boundary_figure(self._shares, X, labels, names, features), path)

    def _scores(self, X: Any, batch_size: int) -> Array:
        return one_array(self._answers(X, batch_size))

    def _answers(self, X: Any, batch_size: int) -> Any:
        X, batch_size = rows_for("predict", X, self._dtype), whole_number("predict", "batch_size", batch_size, least=1)
        with evaluating(self.model), no_grad():
            return all_answers(self.model, X, batch_size)

    def _shares(self, X: Any) -> Array:
        """(N, C) probabilities of the classes; where the loss is of none, 1 for the answer."""
        if has_probabilities(self.loss):
            return self.predict_proba(X)
        scores = self._scores(X, 1024)
        return np.eye(scores.shape[-1])[predicted_classes(scores, self.task, self.loss)]

    def _class_names(self, class_names: Sequence[Any] | None, X: Any) -> Sequence[Any] | None:
        """The names as they were passed, or those of the Dataset, or of the one that the model was trained with."""
        preparation = self._preparation_of(X)
        if class_names is None and isinstance(X, data.Dataset):
            class_names = X.class_names or None
        if class_names is None and preparation is not None:
            class_names = preparation.class_names or None
        return class_names

    def _preparation_of(self, X: Any) -> Preparation | None:
        return getattr(X, "preparation", None) or self.preparation

    @property
    def _dtype(self) -> np.dtype[Any]:
        return next((p.dtype for p in self.model.parameters()), np.dtype(float))

    def _prepared(self, where: str, X: Any, y: Any) -> tuple[Any, Any]:
        y, X = targets_of(where, X, y), rows_for(where, X, self._dtype)
        return X, targets_for(where, y, number_of_rows(X), self._dtype)
