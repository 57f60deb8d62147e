"""Whole epochs of a compiled step: the loop over the batches is compiled too.

Parameters are copied into the program's buffers, and back where somebody can look. If anything is not finite after
some steps, they are undone, and the same batches are given to the eager loop, which knows what to say.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.core import REGISTRY, Array, Tensor
from tinygrad_ce.nn import Module
from tinygrad_ce.nn.module import _walk
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.program.evaluate import tick
from tinygrad_ce.program.run import Compiled, ProgramCache, random_numbers
from tinygrad_ce.program.team import Team
from tinygrad_ce.program.tracing import trace_step

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

    program_for: the program for batches of so many rows of the data; a short last batch has its own.
    data: arrays of N rows, that the step takes one after the other. eager: makes one step on one batch of them, after
    so many others. drop_last: whether a short last batch is left out.
    """

    def __init__(
        self,
        program_for: Callable[[int], BatchProgram],
        data: Sequence[Array],
        batch_size: int,
        generator: np.random.Generator,
        eager: Callable[[Sequence[Array], int], tuple[Any, Any]],
        drop_last: bool = False,
    ) -> None:
        self.program_for, self.eager, self.drop_last = program_for, eager, drop_last
        self.steps = 0
        self.data = tuple(np.ascontiguousarray(array) for array in data)
        self.rows = tuple(array.reshape(-1) for array in self.data)
        self.generator = generator
        self.batch = min(batch_size, len(self.data[0]))
        self.newest: BatchProgram | None = None  # the program whose state is newer than the parameters
        self.loaded: BatchProgram | None = None  # the program whose state is that of the parameters, or newer
        self.speed = 2e-3  # seconds for a step, until it is measured
        self.find_programs()

    def find_programs(self) -> None:
        """Take the programs of what the step is now: somebody may have changed it. Errors are those of compiling."""
        self.whole = self.program_for(self.batch)
        rest = 0 if self.drop_last else len(self.data[0]) % self.batch
        self.short = self.program_for(rest) if rest else None

    def steps_of_epoch(self) -> int:
        """How many batches the data make."""
        return len(self.data[0]) // self.batch + (self.short is not None)

    def run(self, epochs: int) -> Iterator[Steps]:
        """Some epochs, in portions of about `PATIENCE` seconds; between them nothing is copied back."""
        full = len(self.data[0]) // self.batch * self.batch
        alone = self.short is not None or bool(self.whole.compiled.random)
        while epochs > 0:
            taken = 1 if alone else min(epochs, max(1, self.portion() * self.batch // full))
            orders = [self.generator.permutation(len(self.data[0])) for _ in range(taken)]
            order = orders[0] if taken == 1 else np.concatenate([one[:full] for one in orders])
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

    def some(self, program: BatchProgram, rows: Array) -> Steps:
        """Compiled steps on these rows; eager ones where something is not finite."""
        if self.loaded is not program:
            self.store_state()
            program.compiled.load_state()
            self.loaded = program
        start = time.perf_counter()
        generator = self.generator.bit_generator
        before = generator.state if program.compiled.random else None
        steps = program.run(rows, self.rows)
        if steps is None:
            if before is not None:
                generator.state = before
            steps = self.run_eagerly(rows.reshape(-1, program.size))
        else:
            self.newest = program
            self.speed = max((time.perf_counter() - start) / len(steps.losses), 1e-7)
        self.steps += len(steps.losses)
        return steps

    def run_eagerly(self, rows: Array) -> Steps:
        """The same steps in the eager loop, which explains what is not finite."""
        self.store_state()
        answers = [self.eager([array[batch] for array in self.data], self.steps + k) for k, batch in enumerate(rows)]
        losses, predictions = (np.stack([np.asarray(a[k].data) for a in answers]) for k in (0, 1))
        return Steps(rows, losses.reshape(-1), predictions)

    def store_state(self) -> None:
        """Write the parameters where they live: somebody may look at them, and change them."""
        if self.newest is not None:
            self.newest.compiled.store_state()
        self.newest = self.loaded = None


class BatchProgram:
    """The compiled step for batches of one size. examples: a batch of that size.

    Raises TraceError and CannotLower if the step cannot be compiled.
    """

    def __init__(self, step: Callable[..., Any], examples: Sequence[Array], models: Sequence[Module]) -> None:
        self.size = len(examples[0])
        from tinygrad_ce.kernels import gate  # brings Numba in

        self.compiled = Compiled(trace_step(step, *examples, models=models), batched=True)
        self.compiled.prepare()
        self.compiled.forget_examples()
        self.team = Team(self.compiled.plan.shared and not gate.PLAIN)

    def run(self, rows: Array, data: tuple[Array, ...]) -> Steps | None:
        """Steps on these rows of the data, which are flat; None if something is not finite after them."""
        compiled = self.compiled
        steps = len(rows) // self.size
        masks = [[random_numbers(value) for _, value in compiled.random] for _ in range(steps * bool(compiled.random))]
        random = [np.concatenate(each) for each in zip(*masks, strict=True)]
        (loss, _), (scores, shape) = compiled.plan.outputs.values()
        losses = np.empty(steps * loss.size, loss.dtype)
        predictions = losses if scores is loss else np.empty(steps * scores.size, scores.dtype)
        answers = [losses] if scores is loss else [losses, predictions]
        before = compiled.state_memory.copy()
        numbers = compiled.numbers(steps)
        threads, start = self.team.threads, time.perf_counter()
        try:
            compiled.make_steps(rows, steps, numbers, *data, *random, *answers, threads=threads)
        except (IndexError, ValueError):  # no such row or class: the eager loop will say which
            losses[:] = np.nan
        if not (np.isfinite(losses).all() and compiled.finite()):
            compiled.state_memory[:] = before
            return None
        self.team.measured(threads, (time.perf_counter() - start) / max(steps, 1))
        tick(compiled.program, steps)
        return Steps(rows.reshape(steps, self.size), losses, predictions.reshape(steps, *shape))


class TrainingPrograms:
    """What a Trainer keeps of its compiled fits: their programs, as long as all is as it was when they were traced."""

    def __init__(self) -> None:
        self.cache: ProgramCache | None = None
        self.parts: list[Any] = []

    def __reduce__(self) -> Any:  # a copy of a Trainer compiles for itself
        return TrainingPrograms, ()

    def program(
        self,
        step: Callable[..., Any],
        model: Module,
        loss: Any,
        optimizer: Optimizer,
        examples: Sequence[Array],
        *options: Any,
    ) -> BatchProgram:
        """The program of the step for such a batch. options: what is fixed besides, to be compared with ==.

        Errors are those of `BatchProgram`.
        """
        parts = [loss, optimizer, *_parts(model, optimizer)]
        same = len(parts) == len(self.parts) and all(map(operator.is_, parts, self.parts))
        if self.cache is None or not same or self.cache.changed():
            self.cache, self.parts = ProgramCache((loss, optimizer, *model.modules())), parts
        if any(program.compiled.is_outdated() for program in self.cache.programs.values()):
            self.cache.clear()
        shapes = ((x.shape, x.dtype) for x in examples)
        program: BatchProgram = self.cache.program(lambda: BatchProgram(step, examples, [model]), *shapes, *options)
        return program


def _parts(model: Module, optimizer: Optimizer) -> list[Any]:
    """What a compiled step holds, or has been traced through, and `Settings` leaves out: each is compared with `is`."""
    inside = [part for _, part in _walk(model, "", (Module, Tensor))]  # layers, parameters, running averages
    memory = [variable for variables in optimizer.memory for variable in variables]
    forwards = [type(module).forward for module in inside if isinstance(module, Module)]
    rules = [part for op in REGISTRY.values() for part in (op.body, *op.rules[:])]
    return [*inside, *optimizer.parameters, *memory, *forwards, *rules]
