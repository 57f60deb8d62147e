"""Whole epochs of a compiled step: the loop over the batches is compiled too.

Parameters are copied into the program's buffers, and back where somebody can look. If anything is not finite after
some steps, they are undone, and the same batches are given to the eager loop, which knows what to say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.nn import Module
from tinygrad_ce.program.evaluate import tick
from tinygrad_ce.program.run import Compiled, drawn, lowered
from tinygrad_ce.program.team import Team
from tinygrad_ce.program.tracing import trace_step, traced_once

PATIENCE = 0.05  # seconds of compiled steps after which Ctrl-C and the progress bar get their turn


def can_compile() -> bool:
    """Whether Numba is there to compile loops."""
    from tinygrad_ce.kernels import jit as kernels  # brings Numba in, so not before it is needed

    return kernels.numba is not None


@dataclass
class Steps:
    """What some steps gave: the rows of each (steps, batch), losses (steps,) and predictions (steps, batch, ...)."""

    rows: Array
    losses: Array
    predictions: Array


class Epochs:
    """A step on all rows of some data, batch after batch.

    step: gives a loss and predictions; see `trace`. X, y: the data. The short last batch has a program of its own.
    eager: makes one step on one batch, after so many others. models: those that the step uses.
    Raises TraceError and CannotLower if the step cannot be compiled.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        X: Array,
        y: Array,
        batch_size: int,
        generator: np.random.Generator,
        eager: Callable[[Array, Array, int], tuple[Any, Any]],
        models: Sequence[Module],
    ) -> None:
        self.eager = eager
        self.steps = 0
        self.data = (np.ascontiguousarray(X), np.ascontiguousarray(y))
        self.generator = generator
        self.batch = min(batch_size, len(X))
        self.whole = _Batches(step, self.data, self.batch, models)
        rest = len(X) % self.batch
        self.short = _Batches(step, self.data, rest, models) if rest else None
        self.speed = 2e-3  # seconds for a step, until it is measured
        self.stale = True  # whether somebody may have changed the parameters

    def steps_of_epoch(self) -> int:
        """How many batches the data make."""
        return -(-len(self.data[0]) // self.batch)

    def run(self, epochs: int) -> Iterator[Steps]:
        """Some epochs, in portions of about `PATIENCE` seconds; between them nothing is copied back."""
        full = len(self.data[0]) // self.batch * self.batch
        alone = self.short is not None or bool(self.whole.compiled.drawn)
        while epochs > 0:
            taken = 1 if alone else min(epochs, max(1, self.portion() * self.batch // full))
            orders = [self.generator.permutation(len(self.data[0])) for _ in range(taken)]
            order = orders[0] if taken == 1 else np.concatenate(orders)
            first, end = 0, full * taken
            while first < end:
                last = min(end, first + self.portion() * self.batch)
                yield self.some(self.whole, order[first:last])
                first = last
            if self.short is not None:
                yield self.some(self.short, order[full:])
            epochs -= taken

    def portion(self) -> int:
        """How many steps are made at a time."""
        return max(1, int(PATIENCE / self.speed))

    def some(self, batches: _Batches, rows: Array) -> Steps:
        """Steps on these rows."""
        self.hand_over(batches)
        start = time.perf_counter()
        state = self.generator.bit_generator.state if batches.compiled.drawn else None
        done = batches.run(rows)
        if done is None:
            if state is not None:
                self.generator.bit_generator.state = state
            done = self.replayed(rows.reshape(-1, batches.size))
        else:
            self.speed = max((time.perf_counter() - start) / len(done.losses), 1e-7)
        self.steps += len(done.losses)
        return done

    def replayed(self, rows: Array) -> Steps:
        """The same steps in the eager loop, which explains what is not finite."""
        self.put_back()
        X, y = self.data
        answers = [self.eager(X[batch], y[batch], self.steps + k) for k, batch in enumerate(rows)]
        losses, predictions = (np.stack([np.asarray(a[k].data) for a in answers]) for k in (0, 1))
        return Steps(rows, losses.reshape(-1), predictions)

    def hand_over(self, batches: _Batches) -> None:
        """Give the parameters to the program whose turn it is."""
        other = self.short if batches is self.whole else self.whole
        if self.stale:
            batches.compiled.fetch()
        elif other is not None and other.newest:
            other.put_back()
            batches.compiled.fetch()
        self.stale = False

    def renew(self) -> None:
        """Trace again: somebody may have changed what the step does."""
        for batches in (self.whole, self.short):
            if batches is not None:
                batches.renew()

    def put_back(self) -> None:
        """Write the parameters where they live: somebody may look at them, and change them."""
        for batches in (self.whole, self.short):
            if batches is not None:
                batches.put_back()
        self.stale = True


class _Batches:
    """The program for batches of one size."""

    def __init__(
        self, step: Callable[..., Any], data: tuple[Array, Array], size: int, models: Sequence[Module]
    ) -> None:
        self.step, self.examples, self.models = step, tuple(array[:size] for array in data), models
        self.compiled = Compiled(trace_step(step, *self.examples, models=models), batched=True)
        self.compiled.prepare()
        self.size = size
        self.all = tuple(array.reshape(-1) for array in data)
        self.team = Team(self.compiled.plan.shared)
        self.newest = False  # whether the parameters in its buffers are newer than where they live

    def renew(self) -> None:
        """Compile again if the step has become another one."""
        program = traced_once(self.step, *self.examples, models=self.models)
        if lowered(program, batched=True) is self.compiled.plan:
            self.compiled.rebind(program)
        else:
            self.compiled = Compiled(program, batched=True)
            self.compiled.prepare()

    def run(self, rows: Array) -> Steps | None:
        """Steps on these rows; None if something is not finite after them."""
        compiled = self.compiled
        steps = len(rows) // self.size
        masks = [[drawn(value) for _, value in compiled.drawn] for _ in range(steps if compiled.drawn else 0)]
        random = [np.concatenate(each) for each in zip(*masks, strict=True)]
        (loss, _), (scores, shape) = compiled.plan.outputs.values()
        losses = np.empty(steps * loss.size, loss.dtype)
        predictions = losses if scores is loss else np.empty(steps * scores.size, scores.dtype)
        answers = [losses] if scores is loss else [losses, predictions]
        before = compiled.kept_memory.copy()
        numbers = compiled.numbers(steps)
        threads, start = self.team.threads, time.perf_counter()
        try:
            compiled.make_steps(rows, steps, numbers, *self.all, *random, *answers, threads=threads)
        except IndexError:  # the eager loop will say which
            losses[:] = np.nan
        if not (np.isfinite(losses).all() and compiled.finite()):
            compiled.kept_memory[:] = before
            return None
        self.newest = True
        self.team.measured(threads, (time.perf_counter() - start) / max(steps, 1))
        tick(compiled.program, steps)
        return Steps(rows.reshape(steps, self.size), losses, predictions.reshape(steps, *shape))

    def put_back(self) -> None:
        if self.newest:
            self.compiled.put_back()
            self.newest = False
