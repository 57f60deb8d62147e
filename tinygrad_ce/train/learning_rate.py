"""The learning rate of a training: a sweep that finds one, and the callback that tells a plateau schedule of losses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ce.core import Array, array_of
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.nn.restoring import left_as_they_are
from tinygrad_ce.report.parts import Heading, Part, Picture, Report, Sentence
from tinygrad_ce.report.words import format_number
from tinygrad_ce.source_lines import warn
from tinygrad_ce.train.built_in import NotFiniteError
from tinygrad_ce.train.callbacks import BuiltIn, Callback
from tinygrad_ce.train.history import History
from tinygrad_ce.views import plots

if TYPE_CHECKING:
    from tinygrad_ce.train.loop import Loop
    from tinygrad_ce.train.trainer import Trainer

SMOOTHING = 0.9  # how much of the running mean of the losses stays from batch to batch
DIVERGED = 4.0  # times the best running mean: the sweep ends here


class ObserveLoss(BuiltIn):
    """Hands the loss of each epoch to the optimizer's schedule, if that is one that observes losses."""

    def after_epoch(self, loop: Loop) -> None:
        """The validation loss counts, or the training loss where there is none, as for `patience`."""
        if hasattr(loop.optimizer.schedule, "observe"):
            loop.optimizer.schedule.observe(loop.figures.get("val_loss", loop.figures["loss"]))


@dataclass(frozen=True, repr=False)
class LearningRates(Report):
    """What `find_learning_rate` has found.

    rates: (n,) the rates that were tried, one for each batch. losses: (n,) the loss of each batch. smoothed: (n,) their
    running mean. suggestion: a tenth of the rate at which the running mean was smallest.
    """

    rates: Array
    losses: Array
    smoothed: Array
    suggestion: float

    @property
    def parts(self) -> list[Part]:
        """The suggestion, where it comes from, and the curve."""
        best = int(np.argmin(self.smoothed))
        low, high, at = (format_number(self.rates[k], 2) for k in (0, -1, best))
        return [
            Heading(f"suggestion: lr={format_number(self.suggestion, 2)}"),
            Sentence(
                f"{len(self.rates)} rates from {low} to {high}; the loss was smallest, "
                f"{format_number(self.smoothed[best])}, at {at}, ten times as much"
            ),
            Picture(lambda: self.plot()._repr_png_(), "the loss over the learning rates, which .plot(path) saves"),
        ]

    def plot(self, path: Any = None) -> Any:
        """The loss over the rates as a matplotlib Figure (a notebook shows it); with a path, also saved there."""
        return plots.save(plots.learning_rates_figure(self), path)


def find_learning_rate(
    trainer: Trainer,
    X: Any,
    y: Any = None,
    *,
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
) -> LearningRates:
    """Train for some batches with a rate that grows from low to high, until the loss explodes, and look where it fell.

    X, y, batch_size, seed: as for `fit`. steps: how many rates are tried, each on one batch. Nothing of it stays: the
    parameters, the optimizer, its schedule and all generators are as they were before.
    Warns if no rate was too high; raises ValueError if the loss has not fallen at all, and for bad arguments.
    Source: L. Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3.

    >>> data = tg.data.moons(200, seed=0); tg.seed(0); model = Sequential(Dense(2, 8), Tanh(), Dense(8, 2))
    >>> trainer = Trainer(model, SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=1.0))
    >>> 0.01 < find_learning_rate(trainer, data.X, data.y, high=1e4).suggestion < 10
    True
    """
    if not 0 < low < high < math.inf:
        raise ValueError(f"find_learning_rate: low={low!r} and high={high!r} must be numbers with 0 < low < high")
    steps = whole_number("find_learning_rate", "steps", steps, least=10)
    batch_size = whole_number("find_learning_rate", "batch_size", batch_size, least=1)
    sweep = _Sweep(np.geomspace(low, high, steps))
    with _left_untouched(trainer), np.errstate(all="ignore"):
        try:
            history = trainer.fit(X, y, epochs=steps, batch_size=batch_size, callbacks=sweep, compile=False, seed=seed)
            if history.stopped == "interrupted":
                raise KeyboardInterrupt
        except NotFiniteError:  # the rate at which it exploded
            pass
    return _found(sweep)


class _Sweep(Callback):
    """One rate after the other, one for each batch."""

    def __init__(self, rates: Array) -> None:
        self.rates, self.losses, self.smoothed = rates, list[float](), list[float]()
        self.mean, self.best = 0.0, math.inf

    def before_batch(self, loop: Loop) -> None:
        loop.optimizer.lr = self.rates[len(self.losses)]

    def after_loss(self, loop: Loop) -> bool:
        loss = float(array_of(loop.loss))
        if not math.isfinite(loss):
            return True
        self.losses.append(loss)
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * loss
        smoothed = self.mean / (1 - SMOOTHING ** len(self.losses))  # else it would begin near 0
        self.smoothed.append(smoothed)
        self.best = min(self.best, smoothed)
        return len(self.losses) == len(self.rates) or smoothed > DIVERGED * abs(self.best)


def _found(sweep: _Sweep) -> LearningRates:
    rates = sweep.rates[: len(sweep.losses)]
    best = int(np.argmin(sweep.smoothed)) if sweep.losses else 0
    low, high = format_number(sweep.rates[0], 2), format_number(sweep.rates[-1], 2)
    if best == 0:
        raise ValueError(
            f"find_learning_rate: the loss has not fallen with any rate from {low} on: pass a smaller low=, or ask "
            "tg.audit(model, loss) what keeps the model from learning"
        )
    if best == len(sweep.rates) - 1:
        warn(f"find_learning_rate: the loss was still falling at the highest rate, {high}: pass a larger high=")
    return LearningRates(rates, np.array(sweep.losses), np.array(sweep.smoothed), float(rates[best] / 10))


@contextmanager
def _left_untouched(trainer: Trainer) -> Iterator[None]:
    """Inside, the trainer may train; after, it and all that it trains are as they were, to the last bit."""
    model, optimizer = trainer.model, trainer.optimizer
    remembered = {name: vars(trainer)[name] for name in ("optimizer", "task", "history", "generator", "preparation")}
    parameters = {id(p): p for p in (*model.parameters(), *optimizer.parameters)}.values()
    before = [(p, p.data.copy(), p.grad, p.version, p.note) for p in parameters]
    state, schedule = optimizer.state(), optimizer.schedule
    trainer.history = History()
    try:
        with left_as_they_are(model, trainer.loss):
            yield
    finally:
        for parameter, data, grad, version, note in before:
            parameter.data[...], parameter.grad, parameter.note = data, grad, note
            if parameter.writes:  # with the numbers, the graphs that were computed from them are right again
                parameter.writes[0] = version
        optimizer.restore(state)
        optimizer.schedule = schedule
        vars(trainer).update(remembered)
