"""The training loop as one would write it by hand, and the state of it that callbacks read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.nn import Module
from tinygrad_ce.nn.module import call_model
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.source_lines import tracking
from tinygrad_ce.train.callbacks import EVENTS, BuiltIn, Callback, overrides
from tinygrad_ce.train.history import History
from tinygrad_ce.train.inputs import Batch, loss_of
from tinygrad_ce.train.metrics import RunningMetrics

if TYPE_CHECKING:
    from tinygrad_ce.train.trainer import Trainer

Batches = Callable[[], Iterable[tuple[int, Batch]]]  # for each epoch anew: number; rows, targets and weights


def run(loop: Loop) -> None:
    """The loop that one would write by hand. At five places callbacks are called, which do everything else."""
    for epoch in loop.epochs:
        if loop.stopped:
            return
        loop.epoch = epoch
        loop.model.train()
        for number, (rows, targets, weights) in loop.batches():
            loop.batch, loop.rows, loop.targets, loop.weights = number, rows, targets, weights
            loop.call("before_batch")
            loop.optimizer.zero_grad()
            loop.predictions = call_model(loop.model, loop.rows)
            loop.loss = loss_of(loop.trainer.loss, loop.predictions, loop.targets, loop.weights)
            loop.call("after_loss")
            loop.loss.backward()
            loop.call("after_backward")
            loop.optimizer.step()
            loop.call("after_step")
            if loop.stopped:
                return
        loop.call("after_epoch")


class Loop:
    """Where a training is; each event of a `Callback` gets it.

    batches, callbacks: what goes over the rows, and what is told of the events.
    trainer, model, optimizer: what is trained, and by what; `loop.trainer.loss` is the loss function.
    epoch, batch: their numbers, counted from 1. epochs: the range of epochs that are to come in all.
    rows, targets: the batch, arrays (tuples or dicts of arrays where `fit` was called with such). weights: (batch,) of
    its rows, or None. predictions, loss: what the model and the loss function returned, Tensors with
    their graph. Until their line of the loop they are those of the batch before; in compiled epochs they stay None.
    metrics: sums of this epoch: `loop.metrics.figures()` has the mean loss and accuracy of the batches so far.
    figures: of the last complete epoch: epoch, loss, lr, and where they apply accuracy, val_loss, val_accuracy.
    lr: the learning rate with which the epoch began. history: one row for each complete epoch.
    stopped: None while the training goes on, then what `History.stopped` will say.
    Reading is always right. Events say what else may be replaced (rows, targets, loss, gradients).
    task: what the metrics measure, as in `measured_task`; else the trainer's.
    """

    def __init__(
        self,
        trainer: Trainer,
        batches: Batches,
        epochs: range,
        callbacks: Sequence[Callback],
        task: str | None = None,
    ) -> None:
        self.trainer, self.batches, self.epochs, self.callbacks = trainer, batches, epochs, callbacks
        self.task = task or trainer.task
        self.epoch, self.batch = 0, 0
        self.rows: Any = None
        self.targets: Any = None
        self.weights: Array | None = None
        self.predictions: Any = None
        self.loss: Any = None  # a Tensor, if the user's function returned one
        self.lr = trainer.optimizer.lr
        self.metrics = RunningMetrics(self.task, trainer.loss)
        self.figures: dict[str, float] = {}
        self.history = History()
        self.stopped: str | None = None
        self.interrupted = False  # whether Ctrl-C was pressed; the training ends after the batch
        self._listeners = {
            event: [self._listener(callback, event) for callback in callbacks if overrides(callback, event)]
            for event in EVENTS
        }

    @property
    def model(self) -> Module:
        """The trainer's model."""
        return self.trainer.model

    @property
    def optimizer(self) -> Optimizer:
        """The trainer's optimizer: a callback may put another one there."""
        return self.trainer.optimizer

    def stop(self, reason: str = "callback") -> None:
        """End the training after the current batch (its epoch is then in no history), or the current epoch."""
        self.stopped = self.stopped or reason

    def call(self, event: str) -> None:
        """Call the event of each callback that has it, in their order."""
        for listener in self._listeners[event]:
            if listener(self) is True:
                self.stop()

    def start_metrics(self, lr: float) -> None:
        """Begin the sums of a new epoch."""
        self.lr, self.metrics = lr, RunningMetrics(self.task, self.trainer.loss)

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Call before_fit of all callbacks, and at the end, also after an error, after_fit in the opposite order."""
        with tracking(False), ExitStack() as stack:
            for callback in self.callbacks:
                if self._listener(callback, "before_fit")(self) is True:
                    self.stop()
                stack.callback(self._listener(callback, "after_fit"), self)
            yield
            self.stopped = self.history.stopped = self.stopped or "finished"

    def _listener(self, callback: Callback, event: str) -> Callable[[Loop], Any]:
        method: Callable[[Loop], Any] = getattr(callback, event)
        return method if isinstance(callback, BuiltIn) else _in_user_code(method)


def _in_user_code(method: Callable[[Loop], Any]) -> Callable[[Loop], Any]:
    """The method of a user's callback: operations in it note their lines, those of the loop do not."""

    def call(loop: Loop) -> Any:
        with tracking(True):
            return method(loop)

    return call


def one_step(
    trainer: Trainer, batch: Batch, callbacks: Sequence[Callback], epoch: int = 1, number: int = 1
) -> tuple[Tensor, Any]:
    """Run the loop over a single batch, as the batch of this number of this epoch: the loss and the predictions."""
    loop = Loop(trainer, lambda: [(number, batch)], range(epoch, epoch + 1), callbacks)
    run(loop)
    return loop.loss, loop.predictions
