"""Trainer: fits a model to data with the loop and its callbacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce import data, nn
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
)
from tinygrad_ce.train.compiled import compiled_epochs, run_compiled
from tinygrad_ce.train.history import History
from tinygrad_ce.train.learning_rate import ObserveLoss
from tinygrad_ce.train.loop import Loop, run
from tinygrad_ce.train.metrics import infer_task
from tinygrad_ce.train.predictor import Predictor

if TYPE_CHECKING:
    from tinygrad_ce.data.preparation import Preparation
    from tinygrad_ce.program.epochs import TrainingPrograms

AnyCallback = Callback | PlainCallback


class Trainer(Predictor):
    """Trains a model: `Trainer(model, loss, optimizer).fit(X, y, epochs=20)`.

    model: a Module. loss: a function (or module) of predictions and targets. optimizer: made with model.parameters().
    Wherever X and y are, a `tg.data.Dataset` may stand in their place: `fit(train)`. A learning rate to begin with:
    `tg.train.find_learning_rate(trainer, X, y).suggestion`.
    history: of all fits so far, the epochs numbered on. generator: of the order of the batches and of dropout, where
    the last fit left it. preparation: of the Dataset that it was last fitted to, if that has one.
    """

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Any], optimizer: Optimizer) -> None:
        check_trainer(model, loss, optimizer)
        super().__init__(model, loss)
        self.optimizer = optimizer
        self.history = History()
        self.generator: np.random.Generator | None = None
        self.preparation: Preparation | None = None
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
        seed: of the order of the batches and of dropout; the same seed gives the same parameters, bit for bit. Without
        one, the trainer goes on where its last fit stood: ten epochs and ten more are twenty.
        Ctrl-C ends after the current batch (compiled, after a tenth of a second at most) and keeps what was learnt;
        History.stopped says so.
        Raises NotFiniteError if a loss is NaN or infinite, TypeError or ValueError for data or options that do not fit;
        the batch that failed has then changed nothing, no running average either, and each module is in its old mode.
        """
        preparation = X.preparation if isinstance(X, data.Dataset) else None
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
        generator = self.generator = generator_for(self.generator if seed is None else seed)
        self.preparation = preparation or self.preparation

        def batches() -> Iterable[tuple[int, tuple[Array, Array]]]:
            return enumerate(data.batches(X, y, batch_size, seed=generator), start=1)

        everybody = _with_built_in(users, self, generator, validation, patience, clip_norm, progress)
        loop = Loop(self, batches, range(1, epochs + 1), everybody)
        try:
            with loop.fitting():
                compiled = compiled_epochs(loop, compile, X, y, batch_size, generator)
                loop.history.compiled = compiled is not None
                if compiled is None:
                    run(loop)
                else:
                    run_compiled(loop, compiled, watched=bool(users) or validation is not None or patience is not None)
        finally:
            self.history.extend(loop.history)
        return loop.history

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model, the loss, the optimizer, the history, the generator and the preparation into one file.

        `tg.load(path).trainer` goes on from there, in another process too. Raises as `tg.save`.
        """
        from tinygrad_ce.train.saved import save_trainer

        save_trainer(path, self)


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
