"""Our own callbacks: what `fit` does beside the loop, from metrics to Ctrl-C."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.core import Array, Tensor, array_of
from tinygrad_ce.optim import clip_grad_norm
from tinygrad_ce.train.callbacks import BuiltIn
from tinygrad_ce.train.metrics import CLASSES, is_one_of, options_of, single_number
from tinygrad_ce.variable import Variable
from tinygrad_ce.views import nan

if TYPE_CHECKING:
    from tinygrad_ce.train.loop import Loop


class NotFiniteError(FloatingPointError):
    """A loss, a gradient or (at the end of an epoch) a parameter became NaN or infinite, and training has stopped.

    Of the first two, nothing was touched: no parameter, running average or memory of the optimizer.
    """


class RestoreModes(BuiltIn):
    """After an error, each module is in training or in evaluation mode as it was before; after a fit, in training."""

    def before_fit(self, loop: Loop) -> None:
        """Remember the modes."""
        self.before = [(module, module.training) for module in loop.model.modules()]

    def after_fit(self, loop: Loop) -> None:
        """Put them back."""
        if loop.stopped is None:
            for module, training in self.before:
                module.training = training


class SeedDropout(BuiltIn):
    """While training, dropout draws from the generator of the batches, so that one seed fixes everything."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def before_fit(self, loop: Loop) -> None:
        """Put the generator into each Dropout."""
        self.before = [(m, m.generator) for m in loop.model.modules() if isinstance(m, nn.Dropout)]
        for module, _ in self.before:
            module.generator = self.generator

    def after_fit(self, loop: Loop) -> None:
        """Put back what was there."""
        for module, generator in self.before:
            module.generator = generator


class HandleCtrlC(BuiltIn):
    """A first Ctrl-C ends training after the batch, so that no parameter is left half updated; a second one raises."""

    def before_fit(self, loop: Loop) -> None:
        """Take over the signal, where signals arrive: in the main thread."""
        self.before: Any = None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.getsignal(signal.SIGINT)  # None if its handler was not set from Python

        def handle(number: int, frame: FrameType | None) -> None:
            if loop.interrupted:
                raise KeyboardInterrupt
            loop.interrupted = True

        if self.before is not None:
            signal.signal(signal.SIGINT, handle)

    def after_step(self, loop: Loop) -> None:
        """End the training if there was a Ctrl-C."""
        if loop.interrupted:
            loop.stop("interrupted")

    def after_fit(self, loop: Loop) -> None:
        """Give the signal back."""
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


class CheckLoss(BuiltIn):
    """Raises TypeError if the loss is no Tensor, ValueError if it holds several numbers, or weights for each row."""

    traced = True

    def __init__(self, loss: Any) -> None:
        names = ("pos_weight",) if is_one_of(loss, *CLASSES) else ("weight", "pos_weight")
        options = {name: options_of(loss).get(name) for name in names}
        self.weights = {name: np.shape(array_of(value)) for name, value in options.items() if value is not None}

    def after_loss(self, loop: Loop) -> None:
        """Look at the types and the shapes, which a compiled step has too."""
        for name, shape in self.weights.items():
            if shape and shape[0] != 1 and len(shape) == getattr(loop.predictions, "ndim", 0):
                cure = (
                    "pass them to fit as sample_weight=, (N,)"
                    if name == "weight"
                    else "put them beside the targets, y = np.column_stack([y, w]), and write the loss as a function, "
                    "lambda z, y: tg.losses.sigmoid_binary_cross_entropy(z, y[:, :-1], pos_weight=y[:, -1:])"
                )
                raise ValueError(
                    f"fit: the loss's {name}= has shape {shape}, numbers for each row, but fit shuffles the rows: "
                    f"{cure}"
                )
        if not isinstance(loop.loss, Tensor):
            raise TypeError(f"fit: the loss answered with {type(loop.loss).__name__}; it must answer with a Tensor")
        if loop.loss.size != 1:
            single_number(loop.loss)  # raises, and says what to do


class SumMetrics(BuiltIn):
    """Sums loss and accuracy over the batches of an epoch; at its end, they are its figures."""

    def before_batch(self, loop: Loop) -> None:
        """Begin a new sum with the first batch."""
        if loop.batch == 1:
            loop.start_metrics(loop.optimizer.lr)

    def after_step(self, loop: Loop) -> None:
        """Add the batch."""
        loop.metrics.add(loop.loss, loop.predictions, loop.targets, loop.weights)

    def after_epoch(self, loop: Loop) -> None:
        """Put the figures together."""
        loop.figures = {"epoch": loop.epoch, **loop.metrics.figures(), "lr": loop.lr}
        loop.history.guessing = loop.metrics.guessing


class Validate(BuiltIn):
    """Measures the model on other data after each epoch."""

    def __init__(self, X: Any, y: Any, weights: Array | None = None) -> None:
        self.X, self.y, self.weights = X, y, weights

    def after_epoch(self, loop: Loop) -> None:
        """Add val_loss, and val_accuracy where there are classes."""
        measured = loop.trainer.evaluate(self.X, self.y, sample_weight=self.weights)
        loop.figures |= {f"val_{name}": value for name, value in measured.items()}


class RecordHistory(BuiltIn):
    """Keeps the figures of each epoch."""

    def after_epoch(self, loop: Loop) -> None:
        """Add a row to the history."""
        loop.history.append(loop.figures)


class RecordBatchLosses(BuiltIn):
    """Keeps the loss of each batch; compiled epochs, which call no batch events, hand theirs over in portions."""

    def after_step(self, loop: Loop) -> None:
        """Add the loss of the batch."""
        loop.history.batch_losses.append(single_number(loop.loss))


class StopEarly(BuiltIn):
    """Ends training after `patience` epochs without a better loss, and brings the best parameters back."""

    def __init__(self, patience: int) -> None:
        self.patience, self.waited = patience, 0
        self.best_loss = math.inf
        self.best_state: dict[str, Array] | None = None

    def after_epoch(self, loop: Loop) -> None:
        """Remember the best parameters; the validation loss decides, or the training loss where there is none."""
        if loop.stopped:
            return
        loss = loop.figures.get("val_loss", loop.figures["loss"])
        if math.isnan(loss):
            raise NotFiniteError(
                f"the validation loss is nan in epoch {loop.epoch}, so patience={self.patience} cannot tell whether it "
                "has improved, and training has stopped: look for NaN in the validation's X and y (np.isnan(X).any()), "
                "or for numbers that overflow in the model"
            )
        if loss < self.best_loss:
            self.best_loss, self.best_state, self.waited = loss, loop.model.state(), 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            loop.stop("early")

    def after_fit(self, loop: Loop) -> None:
        """Restore the best; after Ctrl-C or an error, the last parameters stay."""
        if self.best_state is not None and loop.stopped not in (None, "interrupted"):
            loop.model.restore(self.best_state)


class UndoBatch(BuiltIn):
    """Puts running averages back to where they were before a batch that failed, as parameters were not touched either.

    variables: those that the model writes while it computes.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self.variables, self.steps = variables, -1

    def before_batch(self, loop: Loop) -> None:
        """Remember the arrays: a write puts another one in their place."""
        self.steps, self.before = loop.optimizer.steps, [variable.data for variable in self.variables]

    def after_step(self, loop: Loop) -> None:
        """The batch has succeeded."""
        self.steps = -1

    def after_fit(self, loop: Loop) -> None:
        """Undo a batch that has begun and made no step (a user's after_step may have failed before ours)."""
        if self.steps == loop.optimizer.steps:
            for variable, array in zip(self.variables, self.before, strict=True):
                variable.data = array


class ClipGradients(BuiltIn):
    """Scales the gradients down to a largest joint norm."""

    traced = True

    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def after_backward(self, loop: Loop) -> None:
        """Clip those of all parameters that the optimizer has."""
        clip_grad_norm(loop.optimizer.parameters, self.max_norm)


class CheckStep(BuiltIn):
    """Raises NotFiniteError before a loss or gradient that is not finite spoils the parameters."""

    def after_loss(self, loop: Loop) -> None:
        """Look at the loss, and name the operation that made the first NaN."""
        if not math.isfinite(single_number(loop.loss)):
            found = nan.why_nan(loop.loss).forward
            origin = "" if found is None else f"; {found.sentence}"
            cure = "a smaller learning rate, clip_norm=1.0, standardised inputs" if found is None else found.cure
            # Batches are shuffled, so that the row of a batch is of no help in the user's own table.
            rows = "; np.argwhere(~np.isfinite(X)), and that of y, finds them in all rows"
            raise NotFiniteError(
                f"the loss is {loop.loss.item()} in epoch {loop.epoch}, batch {loop.batch}, and training has "
                f"stopped{origin}. Usual cure: {cure}{rows if found is not None and found.kind == 'data' else ''}"
            )

    def after_backward(self, loop: Loop) -> None:
        """Look at the gradients, and name the rule that made the first NaN."""
        for parameter in loop.optimizer.parameters:
            grad = parameter.grad
            # The sum of squares is the fastest look; it may overflow, so a second look decides.
            if grad is not None and not math.isfinite(np.vdot(grad, grad)) and not np.isfinite(grad).all():
                found = nan.why_nan(loop.loss).backward
                why = "" if found is None else f". It began at {found.what}: {found.cause}. Usual cure: {found.cure}"
                raise NotFiniteError(
                    f"the loss is finite, but the gradient of {parameter.label} is not, in epoch {loop.epoch}, batch "
                    f"{loop.batch}; training has stopped{why}"
                )


class CheckParameters(BuiltIn):
    """Raises NotFiniteError at the end of an epoch whose last step has spoiled a parameter."""

    def after_epoch(self, loop: Loop) -> None:
        """Look at every parameter: a step that is too long overflows, though loss and gradients were finite."""
        for parameter in loop.optimizer.parameters:
            if not np.isfinite(parameter.data).all():
                raise NotFiniteError(
                    f"{parameter.label} is no longer finite at the end of epoch {loop.epoch}, and training has "
                    "stopped: take a smaller learning rate, or clip_norm=1.0"
                )
