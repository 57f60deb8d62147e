"""From loops to a function that runs: its buffers, and who calls it with what."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, interpreter
from tinygrad_ce.program import code_cache
from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.effects import OutdatedError, Settings, models_of
from tinygrad_ce.program.evaluate import answer_of, checked_arrays, run_step, tick
from tinygrad_ce.program.ir import Function, Value
from tinygrad_ce.program.memory import assign_offsets, report
from tinygrad_ce.program.numba_text import as_numba
from tinygrad_ce.program.schedule import schedule
from tinygrad_ce.program.sharing import is_worth_sharing, share
from tinygrad_ce.program.statements import Buffer, View
from tinygrad_ce.program.team import in_step
from tinygrad_ce.program.tracing import trace_step
from tinygrad_ce.source_lines import warn
from tinygrad_ce.variable import plain_array


@dataclass
class Lowered:
    """The text of a program's loops, and the buffers that they work on, in the order of the arguments.

    outputs: where each lies, and its shape. numbers: what each step is given besides arrays, as formulas.
    total: bytes of the memory that the temporaries share. inputs: of the program that was lowered; those of another
    one like it take their places in order. shared: whether several threads can run one step.
    """

    text: str
    buffers: list[Buffer]
    views: list[View]
    outputs: dict[str, tuple[Buffer, tuple[int, ...]]]
    numbers: list[str]
    total: int
    batched: bool
    inputs: list[Value]
    shared: bool

    @property
    def memory(self) -> str:
        """How many bytes the arrays need, and what for."""
        return report(self.buffers, self.total)


def lowered(program: Function, batched: bool = False) -> Lowered:
    """The loops of a program. CannotLower if an operation has none. Programs that are alike share them."""
    key = (batched, *_structure(program))
    if key not in _lowered:
        if len(_lowered) > 100:
            _lowered.clear()
        _lowered[key] = _lower(program, batched)
    return _lowered[key]


_lowered: dict[Any, Lowered] = {}


def _lower(program: Function, batched: bool) -> Lowered:
    plan, loops = schedule(program, batched)
    arena = assign_offsets(plan.buffers, loops, plan.answers.values())
    shares = share(plan, loops) if is_worth_sharing(plan) else None
    text, numbers = as_numba(plan, loops, shares)
    outputs = {name: (plan.answers[name], v.shape) for name, v in program.outputs.items()}
    views = list(plan.views.values())
    return Lowered(text, plan.buffers, views, outputs, numbers, arena, batched, program.inputs, shares is not None)


def _structure(program: Function) -> Iterator[Any]:
    """All that the loops depend on."""
    known = {x: f"input {k}" for k, x in enumerate(program.inputs)}
    for x in program.inputs:
        yield x.name, x.role, x.shape, x.dtype
        if x.role == "fixed" and x.dtype.kind in "iub":  # indices and masks: the loops are written for these elements
            yield x.example.tobytes()
    for k, i in enumerate(program.instructions):
        known[i.result] = f"result {k}"
        yield i.op, i.section, i.result.name, i.result.shape, i.result.dtype, repr(sorted(i.params.items()))
        for x in i.inputs:
            if not isinstance(x, Value):
                yield getattr(x, "text", repr(x))
            elif x.role == "constant":
                yield x.shape, x.dtype, x.example.tobytes()
            else:
                yield known[x]
    for name, value in program.outputs.items():
        yield name, known.get(value, value.example.tobytes())
    for old, new in program.updates.items():
        yield known[old], known.get(new, new.example.tobytes())


class Compiled:
    """A program's loops with their memory: `run` makes steps on the parameters where they live.

    batched: `run` takes all rows and the order in which the steps take them; else one batch at a time.
    """

    def __init__(self, program: Function, batched: bool = False) -> None:
        self.plan = lowered(program, batched)
        self.name, self.function = code_cache.function_of(self.plan.text)
        buffers = self.plan.buffers
        self.inputs = [b for b in buffers if b.role == "input"]
        kept = [b for b in buffers if b.role == "state"]
        self.arrays = {b: _aligned(b.bytes).view(b.dtype) for b in buffers if b.role not in ("temporary", "state")}
        memory = _aligned(self.plan.total)
        self.arrays |= {b: _part(memory, b.offset, b) for b in buffers if b.role == "temporary"}
        starts = np.cumsum([0, *(-(-b.bytes // 64) * 64 for b in kept)])
        self.kept_memory = _aligned(int(starts[-1]))  # in one piece, so that it is copied and looked through at once
        self.arrays |= {b: _part(self.kept_memory, at, b) for at, b in zip(starts, kept, strict=False)}
        self.rebind(program)
        matrices = [(self.arrays[v.buffer].reshape(v.shape), v.transposed) for v in self.plan.views]
        self.fixed = (*(self.arrays[b] for b in buffers), *(m.T if turned else m for m, turned in matrices))
        self.formulas = [builtins.compile(text, "<number>", "eval") for text in self.plan.numbers]

    def rebind(self, program: Function) -> None:
        """Go on with another program of the same structure: its parameters and memories are others, perhaps."""
        self.program = program
        mine = dict(zip(self.plan.inputs, program.inputs, strict=True))
        values = {b: mine[b.value] for b in self.plan.buffers if b.value is not None}
        self.drawn = [(b, values[b]) for b in self.plan.buffers if b.role == "random"]
        self.kept = [(b, values[b]) for b in self.plan.buffers if b.role == "state"]
        for b in self.plan.buffers:
            if b.role == "fixed":
                self.arrays[b][:] = np.asarray(values[b].example if b in values else b.content).reshape(-1)

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
        for b, value in self.drawn:
            self.arrays[b][:] = drawn(value)
        self.fetch()
        self.make_steps(np.empty(0, np.int64), 1, numbers)
        answers = tuple(self.arrays[b].reshape(shape).copy() for b, shape in self.plan.outputs.values())
        self.put_back()
        tick(self.program)
        return answer_of(self.program, answers)

    def make_steps(self, order: Array, steps: int, numbers: Array, *whole: Array, threads: int = 1) -> None:
        """Call the compiled function, in several threads if it can be shared."""
        if not self.plan.shared:
            self.function(order, steps, numbers, *whole, *self.fixed)
            return
        arguments = (*whole, *self.fixed)
        in_step(lambda *share: self.function(order, steps, numbers, *share, *arguments), threads)

    def fetch(self) -> None:
        """Copy what lives from step to step from where it lives."""
        for b, value in self.kept:
            array = value.variable.data
            if array.shape != value.shape or array.dtype != value.dtype:
                raise ValueError(
                    f"{value.name} has shape {array.shape} and dtype {array.dtype} now, and the step was compiled for "
                    f"{value.shape} and {value.dtype}: compile it again"
                )
            self.arrays[b][:] = array.reshape(-1)

    def put_back(self) -> None:
        """Copy it back."""
        for b, value in self.kept:
            if value in self.program.updates:
                interpreter.get().write(value.variable, self.arrays[b].reshape(b.shape))

    def numbers(self, steps: int) -> Array:
        """What each of the coming steps is given besides arrays, one row after the other."""
        given = {name: read(steps) for name, read in self.program.numbers.items()} if self.formulas else {}
        rows = np.empty((steps, len(self.formulas)))
        for k, formula in enumerate(self.formulas):
            rows[:, k] = eval(formula, {}, given)
        return rows.reshape(-1)

    def finite(self) -> bool:
        """Whether all that lives from step to step is finite."""
        kinds = {b.dtype for b, _ in self.kept}
        if len(kinds) == 1:
            return bool(np.isfinite(self.kept_memory.view(kinds.pop())).all())
        return all(bool(np.isfinite(self.arrays[b]).all()) for b, _ in self.kept)


def drawn(value: Value) -> Array:
    """New random numbers."""
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


MANY_CHANGES = 5


class CompiledStep:
    """What `tg.compile` gives: the step, traced and compiled for each set of shapes that it meets."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step = step
        self.changes = 0  # of the step's settings, each of which compiles it anew
        self._begin()

    def _begin(self) -> None:
        """Forget what was compiled with other settings."""
        self.programs: dict[Any, Compiled | Function] = {}
        self.modules = [module for model in models_of(self.step) for module in model.modules()]
        self.settings = Settings(self.step)

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        if named:
            arrays = signature(self.step).bind(*arrays, **named).args
        given = [plain_array(x) for x in arrays]
        changed = self.settings.changed()
        if changed is not None:
            self._begin()
            self.changes += 1
            if self.changes == MANY_CHANGES:
                warn(
                    f"this step was compiled {MANY_CHANGES} times anew, the last time because {changed} is another one "
                    "now: what changes from step to step is passed to the step as an array"
                )
        modes = tuple(module.training for module in self.modules)
        key = (modes, *((x.shape, x.dtype) for x in given))
        if key not in self.programs:
            self.programs[key] = self._compiled(given)
            self.settings = Settings(self.step)  # what the step itself has changed while it was traced is no change
        try:
            return _run(self.programs[key], given)
        except OutdatedError:
            self.programs[key] = self._compiled(given)
            return _run(self.programs[key], given)

    def _compiled(self, arrays: list[Array]) -> Compiled | Function:
        program = trace_step(self.step, *arrays)
        try:
            compiled = Compiled(program)
            compiled.prepare()
            return compiled
        except (CannotLower, ImportError) as error:
            warn(f"this step runs as NumPy, because it cannot be compiled: {error}")
            return program


def _run(program: Compiled | Function, arrays: list[Array]) -> Any:
    return program.step(*arrays) if isinstance(program, Compiled) else run_step(program, tuple(arrays))


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
