"""From loops to a function that runs: its buffers, and who calls it with what."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from inspect import signature
from threading import RLock
from typing import Any
from weakref import WeakSet

import numpy as np

from tinygrad_ce.core import Array, interpreter
from tinygrad_ce.program import code_cache
from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.effects import OutdatedError, Settings, models_of
from tinygrad_ce.program.evaluate import answer_of, checked_arrays, run_step, tick
from tinygrad_ce.program.ir import Function, Value
from tinygrad_ce.program.lowered import lowered
from tinygrad_ce.program.statements import Buffer
from tinygrad_ce.program.team import in_step
from tinygrad_ce.program.tracing import trace_step
from tinygrad_ce.source_lines import warn
from tinygrad_ce.variable import plain_array


class Compiled:
    """A program's loops with their memory: `run` makes steps on the parameters where they live.

    batched: `run` takes all rows and the order in which the steps take them; else one batch at a time.
    """

    def __init__(self, program: Function, batched: bool = False) -> None:
        self.program, self.plan = program, lowered(program, batched)
        self.name, self.function = code_cache.function_of(self.plan.text)
        buffers = self.plan.buffers
        self.inputs = [b for b in buffers if b.role == "input"]
        state = [b for b in buffers if b.role == "state"]
        self.arrays = {b: _aligned(b.bytes).view(b.dtype) for b in buffers if b.role not in ("temporary", "state")}
        memory = _aligned(self.plan.total)
        self.arrays |= {b: _part(memory, b.offset, b) for b in buffers if b.role == "temporary"}
        starts = np.cumsum([0, *(-(-b.bytes // 64) * 64 for b in state)])
        self.state_memory = _aligned(int(starts[-1]))  # in one piece, so that it is copied and looked through at once
        self.arrays |= {b: _part(self.state_memory, at, b) for at, b in zip(starts, state, strict=False)}
        mine = dict(zip(self.plan.inputs, program.inputs, strict=True))
        values = {b: mine[b.value] for b in buffers if b.value is not None}
        self.random = [(b, values[b]) for b in buffers if b.role == "random"]
        self.state = [(b, values[b]) for b in buffers if b.role == "state"]
        for b in buffers:
            if b.role == "fixed":
                self.arrays[b][:] = np.asarray(values[b].example if b in values else b.content).reshape(-1)
        matrices = [(self.arrays[v.buffer].reshape(v.shape), v.transposed) for v in self.plan.views]
        self.fixed = (*(self.arrays[b] for b in buffers), *(m.T if turned else m for m, turned in matrices))
        self.formulas = [builtins.compile(text, "<number>", "eval") for text in self.plan.numbers]

    def prepare(self) -> None:
        """Have Numba compile the loops now, by a call that makes no step. CannotLower if it refuses."""
        whole = []
        if self.plan.batched:
            kinds = [b.dtype for b in self.plan.buffers if b.role in ("input", "random")]
            kinds += [b.dtype for b in dict.fromkeys(b for b, _ in self.plan.outputs.values())]
            whole = [np.empty(0, kind) for kind in kinds]
        try:
            self.make_steps(np.empty(0, np.int64), 0, np.empty(0), *whole)
        except Exception as error:  # whatever Numba says of a text that it cannot compile
            if not type(error).__module__.startswith("numba."):
                raise
            said = str(error).strip().splitlines()
            raise CannotLower(f"Numba refuses its loops: {said[0] if said else type(error).__name__}") from error
        code_cache.seal(self.name)

    def step(self, *arrays: Any) -> Any:
        """One step on one batch."""
        numbers = self.numbers(1)  # may raise OutdatedError, and nothing has been drawn yet
        for array, b in zip(checked_arrays(self.program, arrays), self.inputs, strict=True):
            self.arrays[b][:] = array.reshape(-1)
        for b, value in self.random:
            self.arrays[b][:] = random_numbers(value)
        self.load_state()
        self.make_steps(np.empty(0, np.int64), 1, numbers)
        answers = tuple(self.arrays[b].reshape(shape).copy() for b, shape in self.plan.outputs.values())
        self.store_state()
        tick(self.program)
        return answer_of(self.program, answers)

    def make_steps(self, order: Array, steps: int, numbers: Array, *whole: Array, threads: int = 1) -> None:
        """Call the compiled function, in several threads if it can be shared."""
        if not self.plan.shared:
            self.function(order, steps, numbers, *whole, *self.fixed)
            return
        arguments = (*whole, *self.fixed)
        in_step(lambda *share: self.function(order, steps, numbers, *share, *arguments), threads)

    def load_state(self) -> None:
        """Copy what lives from step to step from where it lives."""
        for b, value in self.state:
            array = value.variable.data
            if not _is_like(array, value):
                raise ValueError(
                    f"{value.name} has shape {array.shape} and dtype {array.dtype} now, and the step was compiled for "
                    f"{value.shape} and {value.dtype}: compile it again"
                )
            self.arrays[b][:] = array.reshape(-1)

    def store_state(self) -> None:
        """Copy it back."""
        for b, value in self.state:
            if value in self.program.updates:
                interpreter.get().write(value.variable, self.arrays[b].reshape(b.shape))

    def is_outdated(self) -> bool:
        """Whether what lives from step to step, or what an optimizer has counted, does not fit the program any more."""
        try:
            self.numbers(1)
        except OutdatedError:
            return True
        return not all(_is_like(value.variable.data, value) for _, value in self.state)

    def forget_examples(self) -> None:
        """Keep no array of the batch that was traced alive."""
        for x in (*self.program.values, *self.plan.inputs):
            if x.role not in ("fixed", "constant"):
                x.example = np.broadcast_to(np.zeros((), x.dtype), x.shape)

    def numbers(self, steps: int) -> Array:
        """What each of the coming steps is given besides arrays, one row after the other."""
        columns = {name: read(steps) for name, read in self.program.numbers.items()} if self.formulas else {}
        rows = np.empty((steps, len(self.formulas)))
        for k, formula in enumerate(self.formulas):
            rows[:, k] = eval(formula, {}, columns)
        return rows.reshape(-1)

    def finite(self) -> bool:
        """Whether all that lives from step to step is finite."""
        kinds = {b.dtype for b, _ in self.state}
        if len(kinds) == 1:
            return bool(np.isfinite(self.state_memory.view(kinds.pop())).all())
        return all(bool(np.isfinite(self.arrays[b]).all()) for b, _ in self.state)


def _is_like(array: Array, value: Value) -> bool:
    return array.shape == value.shape and array.dtype == value.dtype


def random_numbers(value: Value) -> Array:
    """New ones for one step."""
    assert value.draw is not None
    return value.draw().reshape(-1)


def _part(memory: Array, start: int, buffer: Buffer) -> Array:
    part: Array = memory[start : start + buffer.bytes].view(buffer.dtype)
    return part


def _aligned(size: int) -> Array:
    """So many bytes, starting at a line of the cache."""
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


class ProgramCache:
    """The programs of a step, by the shapes of its arguments, as long as nothing changes that tracing has fixed.

    sees: the step, or the objects that it uses.
    """

    def __init__(self, sees: Any) -> None:
        self.sees = sees
        self.clear()

    def clear(self) -> None:
        """Forget what was compiled with other settings."""
        self.programs: dict[Any, Any] = {}
        self.modules = [module for model in models_of(self.sees) for module in model.modules()]
        self.settings = Settings(self.sees)

    def changed(self) -> str | None:
        """The name of a setting that has changed, if any; all programs are forgotten then."""
        changed = self.settings.changed()
        if changed is not None:
            self.clear()
        return changed

    def program(self, compiled: Callable[[], Any], *shapes: Any) -> Any:
        """The program for these shapes and today's modes of the models: one that is there, or what `compiled` gives."""
        key = (tuple(module.training for module in self.modules), *shapes)
        if key not in self.programs:
            self.programs[key] = compiled()
            self.settings = Settings(self.sees)  # what the step itself has changed in tracing is no change
        return self.programs[key]


MANY_CHANGES = 5


class CompiledStep(ProgramCache):
    """What `tg.compile` gives: the step, traced and compiled for each set of shapes that it meets."""

    def __init__(self, step: Callable[..., Any]) -> None:
        super().__init__(step)
        self.step = step
        self.alone = RLock()  # its memory and the models are those of one call at a time
        self.changes = 0  # of the step's settings, each of which compiles it anew
        _steps.add(self)

    def __repr__(self) -> str:
        return f"CompiledStep({getattr(self.step, '__qualname__', None) or repr(self.step)})"

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        if named:
            arrays = signature(self.step).bind(*arrays, **named).args
        passed = [plain_array(x) for x in arrays]
        with self.alone:
            return self._call(passed)

    def _call(self, passed: list[Array]) -> Any:
        changed = self.changed()
        if changed is not None:
            self.changes += 1
            if self.changes == MANY_CHANGES:
                warn(
                    f"this step was compiled {MANY_CHANGES} times anew, the last time because {changed} is another one "
                    "now: what changes from step to step is passed to the step as an array"
                )
        try:
            return self._run(passed)
        except OutdatedError:
            self.clear()
            return self._run(passed)

    def _run(self, arrays: list[Array]) -> Any:
        program = self.program(lambda: self._compiled(arrays), *((x.shape, x.dtype) for x in arrays))
        return program.step(*arrays) if isinstance(program, Compiled) else run_step(program, tuple(arrays))

    def _compiled(self, arrays: list[Array]) -> Compiled | Function:
        program = trace_step(self.step, *arrays)
        try:
            compiled = Compiled(program)
            compiled.prepare()
            return compiled
        except (CannotLower, ImportError) as error:
            warn(f"this step runs as NumPy, because it cannot be compiled: {error}")
            return program


_steps: WeakSet[CompiledStep] = WeakSet()


def _renew_locks() -> None:
    """In the child of a fork nobody gives back what another thread of its parent held."""
    for step in _steps:
        step.alone = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def compile(step: Callable[..., Any]) -> CompiledStep:
    """A step of one's own as one compiled function, which gives arrays and updates parameters as the step does.

    step: as for `tg.trace`. It is traced at the first call, and again for arrays of other shapes or dtypes, for other
    modes of the models, and where a Python number, array, tensor or model that it refers to is another one, or an array
    has other elements. Tracing runs the step twice, so what it prints is printed twice, and never again. What cannot
    be compiled runs as NumPy, after a warning.
    Raises TraceError for what a program cannot hold.

    >>> w = Tensor([1.0, 2.0], requires_grad=True, name="w")
    >>> compile(lambda x: (x * w).sum())([3.0, 4.0])
    array(11.)
    """
    if not callable(step):
        raise TypeError(f"compile: the step is {type(step).__name__}, which cannot be called")
    return CompiledStep(step)
