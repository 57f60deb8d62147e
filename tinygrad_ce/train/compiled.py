"""Compiled epochs: the same loop, traced over one batch and run as one function over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.data.structures import take_rows
from tinygrad_ce.nn import Module
from tinygrad_ce.source_lines import warn
from tinygrad_ce.train.built_in import CheckParameters, CheckStep, RecordBatchLosses, UndoBatch
from tinygrad_ce.train.callbacks import BATCH_EVENTS, BuiltIn, Callback, overrides
from tinygrad_ce.train.inputs import TrainingRows
from tinygrad_ce.train.loop import Loop, one_step, run
from tinygrad_ce.train.metrics import single_number
from tinygrad_ce.train.progress import announce

if TYPE_CHECKING:
    from tinygrad_ce.program.epochs import BatchProgram, Epochs, Steps

# Seconds that compile="auto" expects; `python -m benchmarks auto` shows them beside what it measures. They are
# constants, and nothing is measured when a fit begins: both ways differ in the last bits, and the same call must give
# the same ones.
SECONDS = {
    "saved by a step": 20e-6,
    "saved by a step for each module": 6e-6,
    "saved by a step for each parameter": 4e-6,
    "saved by a step for each weight": 0.7e-9,
    "compiling": 1.6,
    "compiling for each module": 0.05,
    "compiling for each parameter": 0.07,
    "looking in each epoch for what callbacks have changed": 0.5e-3,
}


def seconds_saved(model: Module, epochs: int, steps: int, has_callbacks: bool) -> float:
    """The seconds that compiled epochs are expected to save, less those of compiling with an empty cache.

    steps: in an epoch. has_callbacks: whether a user's callbacks are called after each epoch.
    """
    parameters = model.parameters()
    counts = {"module": sum(1 for _ in model.modules()), "parameter": len(parameters)}
    counts["weight"] = sum(parameter.size for parameter in parameters)
    each = {name: SECONDS[f"saved by a step for each {name}"] * count for name, count in counts.items()}
    saved = steps * (SECONDS["saved by a step"] + sum(each.values()))
    if has_callbacks:
        saved -= SECONDS["looking in each epoch for what callbacks have changed"]
    compiling = [SECONDS[f"compiling for each {name}"] * counts[name] for name in ("module", "parameter")]
    return epochs * saved - SECONDS["compiling"] - sum(compiling)


def compiled_epochs(
    loop: Loop, compile: bool | str, rows: TrainingRows, generator: np.random.Generator
) -> Epochs | None:
    """Trace and compile the loop's step; None if the epochs are to run step by step.

    Warns if compile=True asks for what cannot be compiled.
    """
    if not _is_worth_it(loop, compile, rows.steps):
        return None
    loop.model.train()
    try:
        epochs = _epochs(loop, rows, generator)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        warn(f"this training runs step by step, because the step cannot be compiled: {_first_line(error)}")
        return None
    if not _accepts_all_rows(epochs):
        return None
    if compile == "auto":
        steps = rows.steps * len(loop.epochs)
        announce(f"compiled: {steps:,} steps repay it (compile=False for step by step)")
    return epochs


def _is_worth_it(loop: Loop, compile: bool | str, per_epoch: int) -> bool:
    """Whether to compile: what was asked for, but that callbacks may need each batch; "auto" weighs the seconds."""
    if compile is False:
        return False
    between_steps = batch_event_of_user(loop.callbacks)
    if compile is True:
        if between_steps:
            warn(
                f"this training runs step by step, because {between_steps} is called for each batch, and compiled "
                "epochs run many batches in one call: leave compile=True out, or write after_epoch instead"
            )
        return not between_steps
    has_users = any(not isinstance(callback, BuiltIn) for callback in loop.callbacks)
    if between_steps or seconds_saved(loop.model, len(loop.epochs), per_epoch, has_users) <= 0:
        return False
    from tinygrad_ce.program.epochs import can_compile  # not before it is needed

    return can_compile()


def batch_event_of_user(callbacks: Sequence[Callback]) -> str | None:
    """The first event of a user's callback that must be called for each batch, as "Class.event"."""
    users = (callback for callback in callbacks if not isinstance(callback, BuiltIn))
    events = ((callback, event) for callback in users for event in BATCH_EVENTS)
    return next(
        (f"{type(callback).__name__}.{event}" for callback, event in events if overrides(callback, event)), None
    )


def _epochs(loop: Loop, rows: TrainingRows, generator: np.random.Generator) -> Epochs:
    from tinygrad_ce.program import CannotLower
    from tinygrad_ce.program.epochs import Epochs, TrainingPrograms, can_compile

    if not can_compile():
        raise CannotLower("Numba is not there")
    traced: list[Callback] = [c for c in loop.callbacks if isinstance(c, BuiltIn) and c.traced]
    checks: list[Callback] = [c for c in loop.callbacks if isinstance(c, (UndoBatch, CheckStep))]
    at_end: list[Callback] = [c for c in loop.callbacks if isinstance(c, CheckParameters)]

    programs = loop.trainer.programs = loop.trainer.programs or TrainingPrograms()

    arrays, keeps_losses = rows.arrays, _keeps_losses(loop)

    def traced_step(*batch: Any) -> tuple[Tensor, Any]:
        return _loss_and_array(*one_step(loop.trainer, rows.batch_of(batch), traced))

    def eager_step(batch: Sequence[Array], done: int) -> tuple[Tensor, Any]:
        epoch, number = done // rows.steps + 1, done % rows.steps + 1
        callbacks = [*checks, *traced, *(at_end if number == rows.steps else [])]
        loss, predictions = one_step(loop.trainer, rows.batch_of(batch), callbacks, epoch, number)
        if keeps_losses:  # at once, as the next step may fail
            loop.history.batch_losses.append(single_number(loss))
        return _loss_and_array(loss, predictions)

    def program_for(size: int) -> BatchProgram:
        trainer, options = loop.trainer, [(type(callback), repr(vars(callback))) for callback in traced]
        parts = trainer.model, trainer.loss, trainer.optimizer
        return programs.program(traced_step, *parts, [array[:size] for array in arrays], rows.names, *options)

    return Epochs(program_for, arrays, rows.batch_size, generator, eager_step, rows.drop_last)


def _keeps_losses(loop: Loop) -> bool:
    return any(isinstance(callback, RecordBatchLosses) for callback in loop.callbacks)


def _loss_and_array(loss: Tensor, predictions: Any) -> tuple[Tensor, Any]:
    """What a compiled step gives. Of several predictions no metric is measured, so the loss stands for them."""
    return loss, predictions if isinstance(predictions, Tensor) else loss


def _accepts_all_rows(epochs: Epochs) -> bool:
    """Whether the step takes all rows. Compiled loops do not look; the eager loop will say what is wrong."""
    from tinygrad_ce.program.evaluate import check

    program = epochs.whole.compiled.program
    try:
        check(program, dict(zip(program.arguments, epochs.data, strict=True)))
    except (ValueError, TypeError, IndexError):
        return False
    return True


def run_compiled(loop: Loop, epochs: Epochs, rows: TrainingRows, watched: bool) -> None:
    """As `run`, with all steps of an epoch (or of all epochs, if nobody watches the parameters) in compiled code.

    watched: whether something reads the parameters after each epoch: they are put back for it then.
    """
    watched = watched or hasattr(loop.optimizer.schedule, "observe")  # the rate depends on the loss of each epoch
    may_change = any(not isinstance(callback, BuiltIn) for callback in loop.callbacks)
    try:
        for together in [1] * len(loop.epochs) if watched else [len(loop.epochs)]:
            if loop.stopped:
                return
            loop.model.train()
            if may_change and loop.epoch and not _found_programs(loop, epochs):
                loop.epochs = range(loop.epoch + 1, loop.epochs.stop)
                run(loop)
                return
            _run_epochs(loop, epochs, rows, together, watched)
    finally:
        epochs.store_state()


def _found_programs(loop: Loop, epochs: Epochs) -> bool:
    """Look whether callbacks have changed the step; False, after a warning, if it cannot be compiled any more."""
    try:
        epochs.find_programs()
    except RuntimeError as error:
        warn(f"from epoch {loop.epoch + 1} on, this training runs step by step: {_first_line(error)}")
        return False
    return True


def _run_epochs(loop: Loop, epochs: Epochs, rows: TrainingRows, count: int, watched: bool) -> None:
    """Run some compiled epochs, in portions between which Ctrl-C gets its turn."""
    per_epoch, keeps_losses = epochs.steps_of_epoch(), _keeps_losses(loop)
    before, first = loop.epoch, loop.optimizer.steps
    loop.batch = 0
    for portion in epochs.run(count):
        for steps in _split_at_epochs(portion, per_epoch, done=loop.batch):
            if loop.batch == 0:
                loop.start_metrics(loop.optimizer.rate(first + (loop.epoch - before) * per_epoch))
                loop.epoch += 1
            targets = take_rows(rows.y, steps.rows)
            weights = None if rows.weights is None else rows.weights[steps.rows]
            loop.metrics.add_many(steps.losses, steps.predictions, targets, weights)
            if keeps_losses:
                loop.history.batch_losses[(loop.epoch - 1) * per_epoch + loop.batch :] = steps.losses.tolist()
            loop.batch += len(steps.losses)
            if loop.batch == per_epoch:
                if watched:
                    epochs.store_state()
                loop.call("after_epoch")
                loop.batch = 0
            if loop.stopped:
                return
        if loop.interrupted and len(loop.history) < len(loop.epochs):
            loop.stop("interrupted")
            return


def _split_at_epochs(portion: Steps, per_epoch: int, done: int) -> Iterator[Steps]:
    """The steps of a portion, epoch by epoch; done: how many of the first epoch's steps came before it."""
    start = 0
    while start < len(portion.losses):
        stop = min(len(portion.losses), start + per_epoch - done)
        part = slice(start, stop)
        yield type(portion)(portion.rows[part], portion.losses[part], portion.predictions[part])
        start, done = stop, 0


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
