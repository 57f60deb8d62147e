"""Trainer: the loop that one would write by hand, with validation, early stopping, a progress bar and a History."""

from __future__ import annotations

import math
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce import data, nn, ops
from tinygrad_ce.answers import (
    SIGMOID,
    SOFTMAX,
    Total,
    chosen_by,
    class_axis,
    ignored_index,
    is_one_of,
    single_number,
    task_of,
)
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import EAGER, Array, Tensor, array_of, interpreter
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.optim import Optimizer, clip_grad_norm
from tinygrad_ce.source_lines import tracking, warn
from tinygrad_ce.views import nan, plots

if TYPE_CHECKING:
    from tinygrad_ce.program.epochs import Epochs

REPAYS = 30_000  # steps: from here on, the seconds of compiling are less than what they save
RETRACED = 50  # steps in an epoch: in fewer, looking again for what callbacks have changed takes longer than it saves
Callback = Callable[["Trainer", dict[str, float]], Any]


class NotFiniteError(FloatingPointError):
    """A loss, a gradient or (at the end of an epoch) a parameter became NaN or infinite, and training has stopped.

    Of the first two, the parameters were not touched.
    """


class History:
    """What each epoch gave: `history["loss"]` is a list with one number for each epoch.

    columns: epoch, loss, lr, and where they apply accuracy, val_loss, val_accuracy.
    stopped: why training ended: "finished", "early" (no improvement), "interrupted" (Ctrl-C) or "callback".
    compiled: whether whole epochs ran as one compiled function.
    """

    def __init__(self) -> None:
        self.columns: dict[str, list[float]] = {}
        self.stopped = "finished"
        self.compiled = False

    def append(self, row: dict[str, float]) -> None:
        """Add the figures of one epoch."""
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.columns:
            raise KeyError(f"the history has no column {name!r}; it has {', '.join(self.columns) or 'none yet'}")
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns.get("epoch", []))

    def last(self) -> dict[str, float]:
        """The figures of the last epoch."""
        return {name: values[-1] for name, values in self.columns.items() if values}

    def plot(self, path: str | Path | None = None) -> Any:
        """The curves as a matplotlib Figure (a notebook shows it); with a path, also saved there."""
        if not len(self):
            raise ValueError("the history is empty: there is nothing to plot before the first epoch has ended")
        return _saved(plots.history_figure(self), path)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value:.4g}" for name, value in self.last().items())
        return f"History({len(self)} epochs, {self.stopped}; last: {figures})"


class Trainer:
    """Trains a model: `Trainer(model, loss, optimizer).fit(X, y, epochs=20)`.

    model: a Module. loss: a function (or module) of predictions and targets. optimizer: made with model.parameters().
    """

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Any], optimizer: Optimizer) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"Trainer: model is {type(model).__name__}; it must be a tg.nn.Module")
        if not callable(loss):
            raise TypeError(f"Trainer: loss is {type(loss).__name__}; pass a function or tg.nn.SoftmaxCrossEntropy()")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Trainer: optimizer is {type(optimizer).__name__}; pass tg.optim.SGD(model.parameters())")
        own = {parameter.serial for parameter in model.parameters()}
        if not any(parameter.serial in own for parameter in optimizer.parameters):
            raise ValueError("Trainer: the optimizer holds no parameter of this model: make it with model.parameters()")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.task = task_of(loss)

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        validation: tuple[Any, Any] | None = None,
        patience: int | None = None,
        clip_norm: float | None = None,
        callbacks: Callback | Sequence[Callback] = (),
        compile: bool | str = "auto",
        progress: bool = False,
        seed: int | None = None,
    ) -> History:
        """Train for some epochs, and return what each gave.

        X: (N, ...) inputs; floating ones are turned to the parameters' dtype. y: the targets, N of them.
        validation: (X, y) that are only measured. patience: stop when the validation loss (or the training loss, where
        there is none) has not improved for so many epochs, and go back to the parameters that were best.
        clip_norm: the largest joint norm of the gradients. callbacks: called after each epoch with the trainer and the
        epoch's figures; one that returns True ends the training.
        compile: whether whole epochs become one compiled function: True, False, or "auto": if there are so many steps
        that they repay the seconds of compiling, which it then says in one line. Parameters and figures are the same,
        to rounding. What cannot be compiled runs step by step, after a warning that says why.
        progress: a bar in the terminal.
        seed: of the order of the batches and of dropout; the same seed gives the same parameters, bit for bit.
        Ctrl-C ends after the current batch (compiled, after a tenth of a second at most) and keeps what was learnt;
        History.stopped says so.
        Raises NotFiniteError if a loss is NaN or infinite, ValueError for data or options that do not fit.
        """
        X, y = self._prepared(X, y)
        if validation is not None:
            if not isinstance(validation, (tuple, list)) or len(validation) != 2:
                raise ValueError("fit: validation must be a pair (X, y)")
            validation = self._prepared(*validation)
        _check_options(epochs, patience, clip_norm)
        batch_size = whole_number("fit", "batch_size", batch_size, least=1)
        self.task = task_of(self.loss, y)
        callbacks = _callbacks(callbacks)
        generator = _generator(seed)
        self._share(generator)
        history, best = History(), _Best(self.model, patience)
        run = partial(self._step, clip_norm)
        watched = validation is not None or bool(callbacks) or patience is not None
        with tracking(False), _interrupts() as interrupted, _bar(progress, epochs) as advance:
            if compile == "auto" and callbacks and len(X) < RETRACED * batch_size:
                compile = False
            loops = self._loops(compile, run, X, y, epochs, batch_size, generator)
            history.compiled = loops is not None
            if loops is None:
                rows = self._eager_epochs(run, X, y, epochs, batch_size, generator, interrupted)
            else:
                rows = self._compiled_epochs(loops, run, epochs, watched, bool(callbacks), interrupted)
            for row in rows:
                if validation is not None:
                    row |= {f"val_{name}": value for name, value in self.evaluate(*validation).items()}
                history.append(row)
                advance(row)
                with tracking(True):
                    answers = [callback(self, row) for callback in callbacks]
                if any(answer is True for answer in answers):
                    history.stopped = "callback"
                    break
                if best.exhausted(row):
                    history.stopped = "early"
                    break
            if interrupted.is_set() and history.stopped == "finished" and len(history) < epochs:
                history.stopped = "interrupted"
        self._share(None)
        if history.stopped != "interrupted":
            best.restore()
        return history

    def _eager_epochs(
        self,
        run: Callable[..., tuple[Tensor, Any]],
        X: Array,
        y: Array,
        epochs: int,
        batch_size: int,
        generator: np.random.Generator,
        interrupted: threading.Event,
        first: int = 1,
    ) -> Iterator[dict[str, float]]:
        """One pass over the data after the other: this is the loop. The figures of each."""
        for epoch in range(first, epochs + 1):
            self.model.train()
            lr = self.optimizer.lr
            total = Total(self.task, self.loss)
            for number, (rows, targets) in enumerate(data.batches(X, y, batch_size, seed=generator), start=1):
                loss, predictions = run(rows, targets, epoch, number)
                total.add(loss, predictions, targets)
                if interrupted.is_set():
                    return
            self._check_parameters(epoch)
            yield {"epoch": epoch, **total.figures(), "lr": lr}

    def _step(self, clip_norm: float | None, X: Array, y: Array, epoch: int, number: int) -> tuple[Tensor, Any]:
        """One step on one batch: the loss and the predictions before it."""
        self.optimizer.zero_grad()
        predictions = self.model(X)
        loss = self.loss(predictions, y)
        if not isinstance(loss, Tensor):
            raise TypeError(f"fit: the loss answered with {type(loss).__name__}; it must answer with a Tensor")
        traced = interpreter.get().read is not EAGER.read  # then nothing is looked at: numbers differ from step to step
        if not traced and not math.isfinite(single_number(loss)):
            raise NotFiniteError(_not_finite(loss, epoch, number))
        loss.backward()
        if not traced:
            self._check_gradients(loss, epoch, number)
        if clip_norm is not None:
            clip_grad_norm(self.optimizer.parameters, clip_norm)
        self.optimizer.step()
        return loss, predictions

    # ---- the same, compiled

    def _loops(
        self,
        compile: Any,
        run: Callable[..., tuple[Tensor, Any]],
        X: Array,
        y: Array,
        epochs: int,
        batch_size: int,
        generator: np.random.Generator,
    ) -> Epochs | None:
        """Whole epochs as a compiled function; None if they are to run step by step."""
        if compile is not True and compile is not False and compile != "auto":
            raise ValueError(f'fit: compile={compile!r} must be True, False or "auto"')
        per_epoch = -(-len(X) // batch_size)
        if compile is False or (compile == "auto" and per_epoch * epochs < REPAYS):
            return None
        from tinygrad_ce.program import CannotLower  # not before it is needed
        from tinygrad_ce.program.epochs import Epochs, can_compile

        if compile == "auto" and not can_compile():
            return None

        def eager(rows: Array, targets: Array, done: int) -> tuple[Tensor, Any]:
            epoch, number = done // per_epoch + 1, done % per_epoch + 1
            answer = run(rows, targets, epoch, number)
            if number == per_epoch:
                self._check_parameters(epoch)
            return answer

        self.model.train()
        try:
            if not can_compile():
                raise CannotLower("Numba is not there")
            step = partial(run, epoch=1, number=1)
            loops = Epochs(step, X, y, batch_size, generator, eager, models=[self.model])
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            warn(f"this training runs step by step, because the step cannot be compiled: {_first_line(error)}")
            return None
        if not self._accepted(loops, y):
            return None
        if compile == "auto":
            print(f"compiled: {per_epoch * epochs:,} steps repay it (compile=False for step by step)", file=sys.stderr)
        return loops

    def _accepted(self, loops: Epochs, y: Array) -> bool:
        """Whether the loss takes all targets. Compiled loops do not look; the eager loop will say what is wrong."""
        program = loops.whole.compiled.program
        predictions = list(program.outputs.values())[1].example
        if predictions.ndim == 0 or len(predictions) != loops.batch:
            return True
        with no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                program.check(dict(zip(program.arguments, loops.data, strict=True)))
                self.loss(Tensor(np.resize(predictions, (len(y), *predictions.shape[1:]))), y)
            except (ValueError, TypeError, IndexError):
                return False
        return True

    def _compiled_epochs(
        self,
        loops: Epochs,
        run: Callable[..., tuple[Tensor, Any]],
        epochs: int,
        watched: bool,
        changed: bool,
        interrupted: threading.Event,
    ) -> Iterator[dict[str, float]]:
        """The figures of each epoch; parameters are put back after each if somebody watches, else at the end."""
        X, y = loops.data
        per_epoch, first = loops.steps_of_epoch(), self.optimizer.steps
        epoch, seen = 1, 0
        total = Total(self.task, self.loss)
        try:
            for together in [1] * epochs if watched else [epochs]:
                self.model.train()
                try:
                    if changed and epoch > 1:  # callbacks may have changed what a step does
                        loops.renew()
                except RuntimeError as error:
                    warn(f"from epoch {epoch} on, this training runs step by step: {_first_line(error)}")
                    yield from self._eager_epochs(
                        run, X, y, epochs, loops.batch, loops.generator, interrupted, first=epoch
                    )
                    return
                for part in loops.run(together):
                    done = 0
                    while done < len(part.losses):
                        stop = min(len(part.losses), done + per_epoch - seen)
                        these = slice(done, stop)
                        total.add_many(part.losses[these], part.predictions[these], y[part.rows[these]])
                        seen, done = seen + stop - done, stop
                        if seen == per_epoch:
                            lr = self.optimizer.rate(first + (epoch - 1) * per_epoch)
                            if watched:
                                loops.put_back()
                            yield {"epoch": epoch, **total.figures(), "lr": lr}
                            epoch, seen, total = epoch + 1, 0, Total(self.task, self.loss)
                    if interrupted.is_set():
                        return
        finally:
            loops.put_back()

    def _check_parameters(self, epoch: int) -> None:
        """Raise at the end of an epoch that has spoiled a parameter."""
        for parameter in self.optimizer.parameters:
            if not np.isfinite(parameter.data).all():
                raise NotFiniteError(
                    f"{parameter.label} is no longer finite at the end of epoch {epoch}, and training has stopped: "
                    "take a smaller learning rate, or clip_norm=1.0"
                )

    def _check_gradients(self, loss: Tensor, epoch: int, batch: int) -> None:
        """Raise before a gradient that is not finite spoils the parameters."""
        for parameter in self.optimizer.parameters:
            grad = parameter.grad
            # The sum of squares is the fastest look; it may overflow, so a second look decides.
            if grad is not None and not math.isfinite(np.vdot(grad, grad)) and not np.isfinite(grad).all():
                found = nan.why_nan(loss).backward
                why = "" if found is None else f". It began at {found.what}: {found.cause}. Usual cure: {found.cure}"
                raise NotFiniteError(
                    f"the loss is finite, but the gradient of {parameter.label} is not, in epoch {epoch}, batch "
                    f"{batch}; training has stopped{why}"
                )

    def evaluate(self, X: Any, y: Any, batch_size: int = 1024) -> dict[str, float]:
        """The loss, and the accuracy where the targets are classes; in evaluation mode, nothing is learnt."""
        X, y = self._prepared(X, y)
        total = Total(self.task, self.loss)
        with _evaluating(self.model):
            for batch, targets in data.batches(X, y, batch_size, shuffle=False):
                # Recorded, so that a loss finds the softmax behind its probabilities, and is as stable as in training.
                predictions = self.model(batch)
                total.add(self.loss(predictions, targets), predictions, targets)
        return total.figures()

    def predict(self, X: Any, batch_size: int = 1024) -> Array:
        """The model's answers, in evaluation mode: class indices where it was trained on classes, else its numbers."""
        scores = self._scores(X, batch_size)
        return scores if self.task == "numbers" else chosen_by(scores, self.task, self.loss)

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

    def confusion_matrix(self, X: Any, y: Any) -> Array:
        """(classes, classes) counts: row = the true class, column = the answer. ValueError if there are no classes."""
        if self.task == "numbers":
            raise ValueError("confusion_matrix: this model was not trained on classes")
        y = array_of(y)
        labels = y.argmax(axis=-1) if self.task == "classes" and y.ndim == 2 else y.reshape(-1).astype(np.int64)
        scores = self._scores(X, 1024)
        classes = scores.shape[-1] if self.task == "classes" else 2
        predicted = chosen_by(scores, self.task, self.loss).reshape(-1)
        if labels.shape == predicted.shape and (ignored := ignored_index(self.loss)) is not None:
            labels, predicted = labels[labels != ignored], predicted[labels != ignored]
        return plots.confusion_matrix(labels, predicted, classes)

    def plot_confusion(self, X: Any, y: Any, class_names: Sequence[Any] | None = None, path: Any = None) -> Any:
        """The confusion matrix as a matplotlib Figure; with a path, also saved there."""
        matrix = self.confusion_matrix(X, y)
        return _saved(plots.confusion_figure(matrix, _names(class_names, len(matrix))), path)

    def plot_boundary(
        self,
        X: Any,
        y: Any,
        class_names: Sequence[Any] | None = None,
        path: Any = None,
        feature_names: Sequence[str] = ("x1", "x2"),
    ) -> Any:
        """The answers everywhere around 2-D data as a matplotlib Figure; with a path, also saved there.

        y: class indices. ValueError for data with another number of features than 2.
        """
        X, y = self._inputs(X), array_of(y).reshape(-1)
        if X.ndim != 2 or X.shape[1] != 2:
            raise ValueError(f"a decision boundary needs data with 2 features, and these have shape {X.shape}")
        if self.task == "numbers":
            raise ValueError("a decision boundary lies between classes, and this model was not trained on classes")
        if len(X) != len(y):
            raise ValueError(f"X has {len(X)} rows and y has {len(y)}: each row needs one class")
        names = _names(class_names, self.probabilities(X[:1]).shape[1])
        if (y.dtype.kind not in "iub" and not (y == np.round(y)).all()) or y.min() < 0 or y.max() >= len(names):
            raise ValueError(f"plot_boundary: y must be class indices from 0 to {len(names) - 1}")
        return _saved(plots.boundary_figure(self.probabilities, X, y, names, feature_names), path)

    def _scores(self, X: Any, batch_size: int) -> Array:
        X = self._inputs(X)
        with _evaluating(self.model), no_grad():
            parts = [
                array_of(self.model(batch))
                for batch, _ in data.batches(X, np.arange(len(X)), batch_size, shuffle=False)
            ]
        return np.concatenate(parts)

    def _inputs(self, inputs: Any) -> Array:
        X = array_of(inputs)
        if X.ndim and X.dtype.kind not in "fiub":
            raise TypeError(f"X must hold real numbers, and has dtype {X.dtype}")
        if X.dtype.kind == "f":
            X = np.asarray(X, dtype=self.optimizer.parameters[0].dtype)
        if X.ndim == 0 or len(X) == 0:
            raise ValueError(f"there are no rows to work on: X has shape {X.shape}")
        return X

    def _prepared(self, X: Any, y: Any) -> tuple[Array, Array]:
        X, y = self._inputs(X), array_of(y)
        if y.dtype.kind == "f":
            y = np.asarray(y, self.optimizer.parameters[0].dtype)
        if y.ndim == 0 or len(X) != len(y):
            raise ValueError(f"X has {len(X)} rows and y has shape {y.shape}: each row needs one target")
        return X, y

    def _share(self, generator: np.random.Generator | None) -> None:
        """While training, dropout draws from the generator of the batches, so that one seed fixes everything."""
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.generator = generator


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _saved(figure: Any, path: Any) -> Any:
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _not_finite(loss: Tensor, epoch: int, batch: int) -> str:
    first = nan.first_not_finite(loss)
    told = "; " + nan.told(first) if first is not None else ""
    return (
        f"the loss is {loss.item()} in epoch {epoch}, batch {batch}, and training has stopped{told}. "
        "Usual cures: a smaller learning rate, clip_norm=1.0, standardised inputs"
    )


def _names(class_names: Sequence[Any] | None, classes: int) -> Sequence[Any]:
    if class_names is None:
        return range(classes)
    if len(class_names) != classes:
        raise ValueError(f"class_names has {len(class_names)} names, and there are {classes} classes")
    return class_names


def _callbacks(callbacks: Any) -> list[Callback]:
    listed = [callbacks] if callable(callbacks) else callbacks
    if not isinstance(listed, Sequence) or not all(callable(callback) for callback in listed):
        raise TypeError(f"fit: callbacks={callbacks!r} must be a function, or a list of functions")
    return list(listed)


def _generator(seed: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"fit: seed={seed!r} must be a whole number that is not negative, or None") from None


class _Best:
    """Remembers the parameters of the best epoch, and tells when too many have passed without a better one."""

    def __init__(self, model: nn.Module, patience: int | None) -> None:
        self.model, self.patience = model, patience
        self.loss, self.waited = math.inf, 0
        self.state: dict[str, Array] | None = None

    def exhausted(self, row: dict[str, float]) -> bool:
        if self.patience is None:
            return False
        loss = row.get("val_loss", row["loss"])
        if loss < self.loss:
            self.loss, self.waited, self.state = loss, 0, self.model.state()
        else:
            self.waited += 1
        return self.waited >= self.patience

    def restore(self) -> None:
        if self.state is not None:
            self.model.restore(self.state)


def _check_options(epochs: int, patience: int | None, clip_norm: float | None) -> None:
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 1:
        raise ValueError(f"fit: epochs={epochs!r} must be a positive integer")
    if patience is not None and not (isinstance(patience, (int, np.integer)) and patience >= 1):
        raise ValueError(f"fit: patience={patience!r} must be a whole number of at least 1")
    if clip_norm is not None and not (isinstance(clip_norm, (int, float)) and clip_norm > 0):
        raise ValueError(f"fit: clip_norm={clip_norm!r} must be a positive number")


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


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Inside, a first Ctrl-C only sets the event, so that no parameter is left half updated; a second one raises."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(shown: bool, epochs: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """A progress bar over the epochs with the latest figures beside it; or nothing."""
    if not shown:
        yield lambda row: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(bar_width=12), TextColumn("{task.description}"))
    with Progress(*columns) as progress:
        task = progress.add_task("", total=epochs)

        def advance(row: dict[str, float]) -> None:
            figures = [
                f"{name} {row[name]:.4f}" + (f" (val {row[f'val_{name}']:.4f})" if f"val_{name}" in row else "")
                for name in ("loss", "accuracy")
                if name in row
            ]
            progress.update(task, advance=1, description="  ".join(figures))

        yield advance
