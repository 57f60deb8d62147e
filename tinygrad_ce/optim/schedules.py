"""Schedules: the learning rate as a function of the step number, which counts from 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygrad_ce.optim.arguments import in_range, not_negative, positive, real_number

Schedule = Callable[[int], float]


def as_schedule(lr: float | Schedule) -> Schedule:
    """A schedule as it is, and a number as a constant one."""
    return lr if callable(lr) else Constant(lr)


class Constant:
    """The same rate at every step. Raises ValueError for a rate that is not positive.

    lr: the rate, a positive number.

    >>> Constant(0.1)(1000)
    0.1
    """

    def __init__(self, lr: float) -> None:
        if real_number(lr) == 0:
            raise ValueError(
                f"learning rate: lr={lr!r} would never move a parameter: pass a positive number, as in lr=0.01; "
                "parameters that shall stay as they are do not belong into the optimizer"
            )
        positive("learning rate", lr=lr)
        self.rate = real_number(lr)

    def __call__(self, step: int) -> float:
        return self.rate


class StepDecay:
    """The rate times `factor` after every `every` steps.

    lr: the first rate. every: in steps. factor: usually below 1.

    >>> [StepDecay(1.0, every=2, factor=0.1)(step) for step in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """

    def __init__(self, lr: float, every: int, factor: float = 0.1) -> None:
        positive("StepDecay", lr=lr, every=every, factor=factor)
        self.rate, self.every, self.factor = real_number(lr), every, real_number(factor)

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** (step // self.every)


class Cosine:
    """From lr down to `final` along half a cosine, over `steps` steps; then it stays.

    Source: I. Loshchilov, F. Hutter, "SGDR", 2017, eq. 5.

    >>> [round(Cosine(1.0, steps=2)(step), 3) for step in range(4)]
    [1.0, 0.5, 0.0, 0.0]
    """

    def __init__(self, lr: float, steps: int, final: float = 0.0) -> None:
        positive("Cosine", lr=lr, steps=steps)
        not_negative("Cosine", final=final)
        self.rate, self.steps, self.final = real_number(lr), steps, real_number(final)

    def __call__(self, step: int) -> float:
        return _half_cosine(self.rate, self.final, step / self.steps)


class WarmUp:
    """From near 0 up in a straight line over `steps` steps, then as `after` says (a rate, or a schedule from there).

    >>> [WarmUp(1.0, steps=4)(step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(self, after: float | Schedule, steps: int) -> None:
        positive("WarmUp", steps=steps)
        self.after = as_schedule(after)
        self.steps = steps
        for name in ("observe", "state", "restore"):  # those of a ReduceOnPlateau that comes after
            if hasattr(self.after, name):
                setattr(self, name, getattr(self.after, name))

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return self.after(0) * (step + 1) / self.steps
        return self.after(step - self.steps)


class OneCycle:
    """Up to max_lr and down to almost 0, each along half a cosine, over `steps` steps; then it stays.

    max_lr: the highest rate; `tg.train.find_learning_rate` helps to choose it. steps: all steps of the training, that
    is epochs * ceil(rows / batch_size). warm_up: the share of them on the way up. start: the rate begins at
    max_lr / start. end: it ends at max_lr / start / end. Raises ValueError for what is out of range.
    Source: L. Smith, N. Topin, "Super-convergence", 2018; the numbers are PyTorch's `OneCycleLR`.

    >>> [round(OneCycle(1.0, steps=10, warm_up=0.3)(step), 2) for step in (0, 1, 2, 9)]
    [0.04, 0.52, 1.0, 0.0]
    """

    def __init__(self, max_lr: float, steps: int, warm_up: float = 0.3, start: float = 25.0, end: float = 1e4) -> None:
        positive("OneCycle", max_lr=max_lr, steps=steps, start=start, end=end)
        in_range("OneCycle", 0, 1, warm_up=warm_up)
        self.max_lr = real_number(max_lr)
        self.first, self.last = self.max_lr / start, self.max_lr / start / end
        self.peak, self.steps = warm_up * steps - 1, steps
        self.warm_up, self.start, self.end = warm_up, start, end

    def __call__(self, step: int) -> float:
        if step < self.peak:
            return _half_cosine(self.first, self.max_lr, step / self.peak)
        way_down = self.steps - 1 - max(self.peak, 0)
        return _half_cosine(self.max_lr, self.last, (step - max(self.peak, 0)) / way_down if way_down > 0 else 1.0)


class ReduceOnPlateau:
    """The rate times `factor` each time that `patience` losses in a row were no better than the best one before.

    `observe(loss)` tells it a loss. `Trainer.fit` does so after each epoch, with the validation loss where there is
    one; in a loop of your own, call it where an epoch ends. lr: the rate at first. smallest: where it stays at last.
    threshold: by which share a loss must be below the best one to count as better. Raises ValueError for a factor that
    is not below 1, and for what else is out of range.

    >>> schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2)
    >>> [(schedule.observe(loss), schedule(0))[1] for loss in (3.0, 2.0, 2.0, 2.5, 1.0)]
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    def __init__(
        self, lr: float, factor: float = 0.1, patience: int = 10, smallest: float = 0.0, threshold: float = 1e-4
    ) -> None:
        positive("ReduceOnPlateau", lr=lr, factor=factor, patience=patience)
        in_range("ReduceOnPlateau", 0, 1, factor=factor, threshold=threshold)
        not_negative("ReduceOnPlateau", smallest=smallest)
        self.factor, self.patience = real_number(factor), patience
        self.smallest, self.threshold = real_number(smallest), real_number(threshold)
        self.rate, self.best, self.waited = real_number(lr), math.inf, 0

    def __call__(self, step: int) -> float:
        return self.rate

    def observe(self, loss: Any) -> None:
        """Take notice of a loss, a number or a Tensor of one; NaN is no better than any other."""
        loss = float(loss)
        margin = self.threshold * abs(self.best) if self.best < math.inf else 0.0
        if loss < self.best - margin:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.rate, self.waited = max(self.rate * self.factor, min(self.smallest, self.rate)), 0

    def state(self) -> dict[str, float]:
        """What it remembers, for `Optimizer.state`."""
        return {"rate": self.rate, "best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.rate, self.best, self.waited = float(state["rate"]), float(state["best"]), int(state["waited"])


def _half_cosine(first: float, last: float, share: float) -> float:
    """From first to last, slow at both ends; share: how much of the way is done."""
    return last + (first - last) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
