"""A program as loops: their text, the buffers that they work on, and their memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinygrad_ce.program.ir import Function, Value
from tinygrad_ce.program.memory import assign_offsets, report
from tinygrad_ce.program.numba_text import as_numba
from tinygrad_ce.program.schedule import schedule
from tinygrad_ce.program.sharing import is_worth_sharing, share
from tinygrad_ce.program.statements import Buffer, View


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
