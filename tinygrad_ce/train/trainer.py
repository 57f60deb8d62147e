"""Trainer: fits a model to data with the loop and its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce import data, nn
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.nn.module import variables_of
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.report.words import format_number, several
from tinygrad_ce.train.built_in import (
    CheckLoss,
    CheckParameters,
    CheckStep,
    ClipGradients,
    HandleCtrlC,
    RecordBatchLosses,
    RecordHistory,
    RestoreModes,
    SeedDropout,
    StopEarly,
    SumMetrics,
    UndoBatch,
    Validate,
)
from tinygrad_ce.train.callbacks import Callback, PlainCallback, as_callbacks
from tinygrad_ce.train.checks import (
    an,
    check_last_batch,
    check_options,
    check_trainer,
    check_validation,
    generator_for,
    warn_of_large_targets,
)
from tinygrad_ce.train.compiled import compiled_epochs, run_compiled
from tinygrad_ce.train.history import History
from tinygrad_ce.train.inputs import TrainingRows
from tinygrad_ce.train.learning_rate import ObserveLoss
from tinygrad_ce.train.loop import Loop, run
from tinygrad_ce.train.metrics import infer_task, measured_task
from tinygrad_ce.train.predictor import Predictor
from tinygrad_ce.train.progress import ShowProgress
from tinygrad_ce.train.weights import class_weights, weighed_rows

if TYPE_CHECKING:
    from os import PathLike

    from tinygrad_ce.program.epochs import TrainingPrograms
    from tinygrad_ce.views.pages import Page

AnyCallback = Callback | PlainCallback


class Trainer(Predictor):
    """Trains a model: `Trainer(model, loss, optimizer).fit(X, y, epochs=20)`.

    model: a Module. loss: a function (or module) of predictions and targets. optimizer: made with model.parameters().
    Wherever X and y are, a `tg.data.Dataset` may stand in their place: `fit(train)`. A learning rate to begin with:
    `tg.train.find_learning_rate(trainer, X, y).suggestion`.
    history: of all fits so far, the epochs numbered on. generator: of the order of the batches and of dropout, where
    the last fit left it. preparation: of the Dataset that it was last fitted to, if that has one.

    >>> ds, model = tg.data.xor(), tg.nn.Dense(2, 2)
    >>> trainer = Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.Adam(model.parameters()))
    >>> len(trainer.fit(ds, epochs=2, seed=0))
    2
    """

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Any], optimizer: Optimizer) -> None:
        check_trainer(model, loss, optimizer)
        super().__init__(model, loss)
        self.optimizer = optimizer
        self.history = History()
        self.unfinished: History | None = None  # of a fit that is running: callbacks may save the trainer
        self.generator: np.random.Generator | None = None
        self.programs: TrainingPrograms | None = None  # what a compiled fit leaves here for the next one

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model, the loss, the optimizer, the history, the generator and the preparation into one file.

        `tg.load(path).trainer` goes on from there, in another process too. Raises as `tg.save`.
        """
        from tinygrad_ce.train.saved import save_trainer

        save_trainer(path, self)

    def live(self, X: Any, y: Any = None, test: data.Dataset | None = None, **options: Any) -> Page:
        """A page in which the network goes on training, and everything in it can be changed: `tg.live`.

        X: a Dataset, or (N, D) floats with y, N class indices (integers) or numbers to predict (floats). test: rows
        that are only measured; else a quarter of the others is. options: those of `tg.live`, as title. Raises as that;
        the trainer stays as it is.
        """
        from tinygrad_ce.live import live
        from tinygrad_ce.live.rows import as_dataset

        return live(self, X if isinstance(X, data.Dataset) and y is None else as_dataset(X, y), test, **options)

    @property
    def history_so_far(self) -> History:
        """The history, with the epochs of a fit that is running."""
        if self.unfinished is None:
            return self.history
        history = History()
        history.extend(self.history)
        history.extend(self.unfinished)
        return history

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: no fit runs in it, so the epochs of one that runs here are in its history."""
        return vars(self) | {"history": self.history_so_far, "unfinished": None}

    def __repr__(self) -> str:
        loss = getattr(self.loss, "__name__", None) or repr(self.loss)
        optimizer = f"{type(self.optimizer).__name__}(lr={format_number(self.optimizer.lr)})"
        return f"Trainer({self.model!r}, {loss}, {optimizer}; {several(len(self.history), 'epoch')} so far)"

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        validation: tuple[Any, ...] | data.Dataset | None = None,
        patience: int | None = None,
        clip_norm: float | None = None,
        callbacks: AnyCallback | Sequence[AnyCallback] = (),
        compile: bool | str = "auto",
        progress: bool = False,
        seed: int | None = None,
        sample_weight: Any = None,
        class_weight: str | Mapping[Any, float] | None = None,
        drop_last: bool = False,
        batch_losses: bool = False,
    ) -> History:
        """Train for some epochs, and return what each gave.

        X: (N, ...) inputs; floating ones are turned to the parameters' dtype. A tuple of arrays, or a dict of them, is
        several inputs: the model is called as model(*X) or model(**X). A list, whatever is in it, is one array. A
        Dataset is X and y in one. batch_size: the rows of a step.
        y: the targets, N of them; of several outputs a tuple or a dict of arrays, which the loss gets as it is.
        Targets (N,) may stand for (N, 1), where the loss compares number by number and the model answers so.
        validation: (X, y), (X, y, weights) or a Dataset, which is only measured.
        patience: stop when the validation loss (or the training loss, where there is none) has not improved for so
        many epochs, and go back to the parameters that were best.
        clip_norm: the largest joint norm of the gradients. callbacks: functions that are called after each epoch with
        the trainer and the epoch's figures, or objects of a class of your own (`tg.train.Callback`), with events at
        seven places of the loop; one that returns True ends the training.
        compile: whether whole epochs become one compiled function: True, False, or "auto": if there are so many steps
        that they repay the seconds of compiling, which it then says in one line. It counts steps, modules and weights
        and measures nothing (`train.compiled.seconds_saved`), so that the same call gives the same bits. Parameters and
        figures of both ways are the same, to rounding. What was compiled stays for the trainer's next fit. What cannot
        be compiled runs step by step, after a warning that says why; so do callbacks with batch events, for which
        "auto" stays step by step.
        progress: a bar in the terminal, one line that moves in a notebook, the last figures in a file.
        seed: of the order of the batches and of dropout; the same seed gives the same parameters, bit for bit. Without
        one, the trainer goes on where its last fit stood: ten epochs and ten more are twenty.
        Ctrl-C ends after the current batch (compiled, after a tenth of a second at most) and keeps what was learnt;
        History.stopped says so.
        Raises NotFiniteError if a loss is NaN or infinite, TypeError or ValueError for data or options that do not fit;
        the batch that failed has then changed nothing, no running average either, and each module is in its old mode.
        sample_weight: (N,), how much each row counts: the loss of a batch is sum w l / sum w over its rows, and the
        figures of the epoch are weighed likewise, the accuracy too. A row of weight 0 is in no batch. Your own loss
        function needs a parameter `reduction`, and answers reduction="none" with a number for each row.
        class_weight: "balanced", N / (classes * rows of the class), or a dict from class indices (or a Dataset's names
        of classes) to weights, 1 where a class is left out: weights of the rows, multiplied by sample_weight.
        drop_last: leave out a last batch that would be short. batch_losses: also keep the loss of each batch, in
        History.batch_losses.
        """
        source = X if isinstance(X, data.Dataset) else None
        if source is not None and not len(self.history):
            warn_of_large_targets(source)
        X, y = self._prepared("fit", X, y)
        measured = None if validation is None else self._validation(X, validation)
        check_options(self.loss, epochs, patience, clip_norm, compile, drop_last, batch_losses)
        batch_size = whole_number("fit", "batch_size", batch_size, least=1)
        task = infer_task(self.loss, y)
        by_class = None
        if class_weight is not None:
            names = source.class_names if source else ()
            by_class = class_weights("fit", class_weight, y, task, self.loss, names, self._dtype)
        weighed = weighed_rows("fit", self.loss, X, y, sample_weight, self._dtype, by_class)
        rows = TrainingRows(*weighed, batch_size, drop_last)
        check_last_batch(self.model, rows.X, batch_size, drop_last)
        users = as_callbacks(callbacks)
        generator = self.generator = generator_for(self.generator if seed is None else seed)
        self.task = task
        self.preparation = (source.preparation if source else None) or self.preparation

        everybody = _with_built_in(users, self, generator, measured, patience, clip_norm, progress, batch_losses)
        task = measured_task(task, self.loss, y)
        loop = Loop(self, lambda: enumerate(rows.batches(generator), start=1), range(1, epochs + 1), everybody, task)
        self.unfinished = loop.history
        try:
            with loop.fitting():
                compiled = compiled_epochs(loop, compile, rows, generator)
                loop.history.compiled = compiled is not None
                if compiled is None:
                    run(loop)
                else:
                    watched = bool(users) or validation is not None or patience is not None
                    run_compiled(loop, compiled, rows, watched)
        finally:
            self.history.extend(loop.history)
            self.unfinished = None
        return loop.history

    def _validation(self, X: Any, validation: Any) -> tuple[Any, Any, Any]:
        """The rows, targets and weights of the validation, checked."""
        parts = (validation,) if isinstance(validation, data.Dataset) else validation
        if not isinstance(parts, (tuple, list)) or (parts is validation and len(parts) not in (2, 3)):
            kind = type(parts).__name__
            found = f"a {kind} of {len(parts)}" if isinstance(parts, (tuple, list)) else an(kind)
            raise ValueError(f"fit: validation is {found}; it must be a pair (X, y), (X, y, weights) or a Dataset")
        where, (rows, targets, weights) = "fit: validation", (*parts, None, None)[:3]
        rows, targets = self._prepared(where, rows, targets)
        check_validation(self.model, X, rows)
        return weighed_rows(where, self.loss, rows, targets, weights, self._dtype)


def _with_built_in(
    users: Sequence[Callback],
    trainer: Trainer,
    generator: np.random.Generator,
    validation: tuple[Any, Any, Any] | None,
    patience: int | None,
    clip_norm: float | None,
    progress: bool,
    batch_losses: bool,
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
        *([RecordBatchLosses()] if batch_losses else []),
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
