"""Trainer: fits a model to data with the loop and its callbacks, evaluates it, predicts and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce import data, nn, ops
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.nn.module import variables_of
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.train.built_in import (
    CheckLoss,
    CheckParameters,
    CheckStep,
    ClipGradients,
    HandleCtrlC,
    RecordHistory,
    RestoreModes,
    SeedDropout,
    ShowProgress,
    StopEarly,
    SumMetrics,
    UndoBatch,
    Validate,
)
from tinygrad_ce.train.callbacks import Callback, PlainCallback, as_callbacks
from tinygrad_ce.train.checks import (
    check_last_batch,
    check_options,
    check_trainer,
    check_validation,
    generator_for,
    labels_for,
    rows_for,
    scores_of,
    targets_for,
    targets_of,
)
from tinygrad_ce.train.compiled import compiled_epochs, run_compiled
from tinygrad_ce.train.evaluation import all_predictions
from tinygrad_ce.train.history import History
from tinygrad_ce.train.learning_rate import ObserveLoss
from tinygrad_ce.train.loop import Loop, run
from tinygrad_ce.train.metrics import (
    SIGMOID,
    SOFTMAX,
    RunningMetrics,
    class_axis,
    ignored_index,
    infer_task,
    is_one_of,
    predicted_classes,
    single_number,
)
from tinygrad_ce.views import plots

if TYPE_CHECKING:
    from tinygrad_ce.program.epochs import TrainingPrograms

AnyCallback = Callback | PlainCallback


class Trainer:
    """Trains a model: `Trainer(model, loss, optimizer).fit(X, y, epochs=20)`.

    model: a Module. loss: a function (or module) of predictions and targets. optimizer: made with model.parameters().
    Wherever X and y are, a `tg.data.Dataset` may stand in their place: `fit(train)`. A learning rate to begin with:
    `tg.train.find_learning_rate(trainer, X, y).suggestion`.
    """

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Any], optimizer: Optimizer) -> None:
        check_trainer(model, loss, optimizer)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.task = infer_task(loss)
        self.programs: TrainingPrograms | None = None  # what a compiled fit leaves here for the next one

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        validation: tuple[Any, Any] | data.Dataset | None = None,
        patience: int | None = None,
        clip_norm: float | None = None,
        callbacks: AnyCallback | Sequence[AnyCallback] = (),
        compile: bool | str = "auto",
        progress: bool = False,
        seed: int | None = None,
    ) -> History:
        """Train for some epochs, and return what each gave.

        X: (N, ...) inputs; floating ones are turned to the parameters' dtype. y: the targets, N of them.
        validation: (X, y), or a Dataset, which is only measured. patience: stop when the validation loss (or the
        training loss, where there is none) has not improved for so many epochs, and go back to the parameters that
        were best.
        clip_norm: the largest joint norm of the gradients. callbacks: functions that are called after each epoch with
        the trainer and the epoch's figures, or objects of a class of your own (`tg.train.Callback`), with events at
        seven places of the loop; one that returns True ends the training.
        compile: whether whole epochs become one compiled function: True, False, or "auto": if there are so many steps
        that they repay the seconds of compiling, which it then says in one line. It counts steps, modules and weights
        and measures nothing (`train.compiled.seconds_saved`), so that the same call gives the same bits. Parameters and
        figures of both ways are the same, to rounding. What was compiled stays for the trainer's next fit. What cannot
        be compiled runs step by step, after a warning that says why; so do callbacks with batch events, for which
        "auto" stays step by step.
        progress: a bar in the terminal.
        seed: of the order of the batches and of dropout; the same seed gives the same parameters, bit for bit.
        Ctrl-C ends after the current batch (compiled, after a tenth of a second at most) and keeps what was learnt;
        History.stopped says so.
        Raises NotFiniteError if a loss is NaN or infinite, TypeError or ValueError for data or options that do not fit;
        the batch that failed has then changed nothing, no running average either, and each module is in its old mode.
        """
        X, y = self._prepared("fit", X, y)
        if validation is not None:
            pair = (validation, None) if isinstance(validation, data.Dataset) else validation
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ValueError(f"fit: validation is a {type(pair).__name__}; it must be a pair (X, y), or a Dataset")
            validation = self._prepared("fit: validation", *pair)
            check_validation(self.model, X, validation[0])
        check_options(self.loss, epochs, patience, clip_norm, compile)
        batch_size = whole_number("fit", "batch_size", batch_size, least=1)
        check_last_batch(self.model, X, batch_size)
        self.task = infer_task(self.loss, y)
        users = as_callbacks(callbacks)
        generator = generator_for(seed)

        def batches() -> Iterable[tuple[int, tuple[Array, Array]]]:
            return enumerate(data.batches(X, y, batch_size, seed=generator), start=1)

        everybody = _with_built_in(users, self, generator, validation, patience, clip_norm, progress)
        loop = Loop(self, batches, range(1, epochs + 1), everybody)
        with loop.fitting():
            compiled = compiled_epochs(loop, compile, X, y, batch_size, generator)
            loop.history.compiled = compiled is not None
            if compiled is None:
                run(loop)
            else:
                run_compiled(loop, compiled, watched=bool(users) or validation is not None or patience is not None)
        return loop.history

    def evaluate(self, X: Any, y: Any = None, batch_size: int = 1024) -> dict[str, float]:
        """The loss of all rows at once, and the accuracy where the targets are classes; nothing is learnt.

        batch_size: how many rows the model gets at a time, in evaluation mode; no figure depends on it.
        """
        X, y = self._prepared("evaluate", X, y)
        with _evaluating(self.model):
            predictions = all_predictions(self.model, X, whole_number("evaluate", "batch_size", batch_size, least=1))
            loss = self.loss(predictions, y)
        metrics = RunningMetrics(self.task, self.loss)
        metrics.add(loss, predictions, y)
        return metrics.figures() | {"loss": single_number(loss)}

    def predict(self, X: Any, batch_size: int = 1024) -> Array:
        """The model's answers, in evaluation mode: class indices where it was trained on classes, else its numbers."""
        scores = self._scores(X, batch_size)
        return scores if self.task == "numbers" else predicted_classes(scores, self.task, self.loss)

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
        if X.ndim != 2 or X.shape[1] != 2:
            raise ValueError(f"a decision boundary needs data with 2 features, and these have shape {X.shape}")
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
        X = rows_for("predict", X, self._dtype)
        with _evaluating(self.model), no_grad():
            parts = [
                scores_of(self.model(batch), len(batch))
                for batch, _ in data.batches(X, np.arange(len(X)), batch_size, shuffle=False)
            ]
        return np.concatenate(parts)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return self.optimizer.parameters[0].dtype

    def _prepared(self, where: str, X: Any, y: Any) -> tuple[Array, Array]:
        y, X = targets_of(where, X, y), rows_for(where, X, self._dtype)
        return X, targets_for(where, y, len(X), self._dtype)


def _names(class_names: Sequence[Any] | None, classes: int) -> Sequence[Any]:
    if class_names is None:
        return range(classes)
    if len(class_names) != classes:
        raise ValueError(f"class_names has {len(class_names)} names, and there are {classes} classes")
    return class_names


def _with_built_in(
    users: Sequence[Callback],
    trainer: Trainer,
    generator: np.random.Generator,
    validation: tuple[Any, Any] | None,
    patience: int | None,
    clip_norm: float | None,
    progress: bool,
) -> list[Callback]:
    """All callbacks in the order in which they are called.

    The user's come after the figures of the epoch are complete, and before loss and gradients are checked and clipped:
    they may change these.
    """
    variables = variables_of(trainer.model)
    return [
        RestoreModes(),
        SeedDropout(generator),
        HandleCtrlC(),
        CheckLoss(trainer.loss),
        SumMetrics(),
        CheckParameters(),
        *([Validate(*validation)] if validation is not None else []),
        RecordHistory(),
        ObserveLoss(),
        *([ShowProgress()] if progress else []),
        *users,
        *([StopEarly(patience)] if patience is not None else []),
        *([UndoBatch(variables)] if variables else []),
        CheckStep(),
        *([ClipGradients(clip_norm)] if clip_norm is not None else []),
    ]


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
