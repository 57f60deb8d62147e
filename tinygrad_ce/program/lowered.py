"""A program as loops: their text, the buffers that they work on, and their memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.ir import Function, Value, structure
from tinygrad_ce.program.memory import assign_offsets, report
from tinygrad_ce.program.numba_text import as_numba
from tinygrad_ce.program.schedule import schedule
from tinygrad_ce.program.sharing import is_worth_sharing, share
from tinygrad_ce.program.statements import Buffer, View

MAX_OPERATIONS = 600  # beyond, Numba would need minutes


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
    """The loops of a program, for Numba. CannotLower if an operation has none, or if there are too many of them."""
    count = len(program.instructions)
    if count > MAX_OPERATIONS:
        raise CannotLower(f"it has {count:,} operations, and compiling more than {MAX_OPERATIONS} would take minutes")
    return _shared(program, batched)


def _shared(program: Function, batched: bool = False) -> Lowered:
    """The loops; programs that are alike share them."""
    key = _key(program, batched)
    if key not in _lowered:
        if len(_lowered) > 100:
            _lowered.clear()
        _lowered[key] = _lower(program, batched)
    return _lowered[key]


_lowered: dict[Any, Lowered] = {}


def lowered_alone(program: Function) -> Lowered:
    """Loops of any length with the program's own values in the buffers: fixed numbers of alike programs differ."""
    plan = _shared(program)
    mine = dict(zip(plan.inputs, program.inputs, strict=True))
    buffers = [b if b.value is None else replace(b, value=mine[b.value]) for b in plan.buffers]
    return replace(plan, buffers=buffers, inputs=program.inputs)


def written_from(program: Function) -> Any:
    """All that the text of a program in a page depends on: two with the same have the same text."""
    return _key(program, False), tuple(x.example.tobytes() for x in program.inputs if x.role == "fixed")


def _lower(program: Function, batched: bool) -> Lowered:
    plan, loops = schedule(program, batched)
    arena = assign_offsets(plan.buffers, loops, plan.answers.values())
    shares = share(plan, loops) if is_worth_sharing(plan) else None
    text, numbers = as_numba(plan, loops, shares)
    outputs = {name: (plan.answers[name], v.shape) for name, v in program.outputs.items()}
    views = list(plan.views.values())
    return Lowered(text, plan.buffers, views, outputs, numbers, arena, batched, program.inputs, shares is not None)


def _key(program: Function, batched: bool) -> Any:
    """All that the loops depend on: they are written for the elements of fixed indices and masks, and use the names."""
    inputs = [(x.name, x.role, x.shape, x.dtype) for x in program.inputs]
    called = [(i.op, i.result.name) for i in program.instructions]
    rows, answers = structure(program, "iub")
    return batched, tuple(inputs), tuple(called), tuple(rows), tuple(answers)
