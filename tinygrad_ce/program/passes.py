"""Passes: small functions from program to program, each of which leaves what it computes as it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tinygrad_ce import ops
from tinygrad_ce.program.ir import Function, Instruction, Number, Value


def simplified(program: Function) -> Function:
    """The program after all passes."""
    for run in (remove_identities, fold_constants, share_common_subexpressions, drop_dead_code):
        program = run(program)
    return program


def _rewritten(program: Function, decide: Callable[[Instruction], Any]) -> Function:
    """Every instruction for which `decide` answers with a Value is left out, and that value stands for its result."""
    instead: dict[Value, Value] = {}
    kept = []
    for i in program.instructions:
        inputs = tuple(instead.get(x, x) if isinstance(x, Value) else x for x in i.inputs)
        i = Instruction(i.op, inputs, i.params, i.result, i.section, i.line)
        other = decide(i)
        if other is None:
            kept.append(i)
        else:
            instead[i.result] = other
    outputs = {name: instead.get(value, value) for name, value in program.outputs.items()}
    updates = {old: instead.get(new, new) for old, new in program.updates.items()}
    return replace(program, instructions=kept, outputs=outputs, updates=updates)


def remove_identities(program: Function) -> Function:
    """Without the instructions that hand on what they get: a reshape to the same shape, a cast to the same dtype."""

    def decide(i: Instruction) -> Value | None:
        x = i.inputs[0] if i.inputs else None
        if i.op not in (ops.reshape, ops.identity, ops.astype, ops.broadcast_to) or not isinstance(x, Value):
            return None
        if x.shape != i.result.shape or x.example.dtype != i.result.example.dtype:
            return None
        if names_gradient(i):
            return None
        if x.name.startswith("_") and not i.result.name.startswith("_"):
            x.name = i.result.name  # the gradient that somebody will ask for
        return x

    return _rewritten(program, decide)


def names_gradient(i: Instruction) -> bool:
    """Whether this is a line such as `d_c = d_d`: two gradients that a reader looks for."""
    return i.op is ops.identity and i.section == "backward" and not i.result.name.startswith("_")


def fold_constants(program: Function) -> Function:
    """With single numbers that are made of constants alone as constants."""

    def decide(i: Instruction) -> Value | None:
        constants = all(
            x.role == "constant" if isinstance(x, Value) else isinstance(x, (int, float)) and not isinstance(x, Number)
            for x in i.inputs
        )
        if not constants or i.result.shape != () or i.result in program.outputs.values():
            return None
        return Value(i.result.name, i.result.example, "constant")

    return _rewritten(program, decide)


def share_common_subexpressions(program: Function) -> Function:
    """With each expression computed once: an equal one later stands for the first."""
    seen: dict[Any, Value] = {}

    def decide(i: Instruction) -> Value | None:
        if names_gradient(i):
            return None
        inputs = tuple(id(x) if isinstance(x, Value) else getattr(x, "text", repr(x)) for x in i.inputs)
        key = (i.op.name, inputs, repr(sorted(i.params.items(), key=lambda item: item[0])))
        if key in seen:
            return seen[key]
        seen[key] = i.result
        return None

    return _rewritten(program, decide)


def drop_dead_code(program: Function) -> Function:
    """Without the instructions, and the kept and fixed arrays and numbers, that no output needs."""
    needed = {*program.outputs.values(), *program.updates.values()}
    kept = []
    for i in reversed(program.instructions):
        if i.result in needed:
            kept.append(i)
            needed.update(x for x in i.inputs if isinstance(x, Value))
    inputs = [x for x in program.inputs if x in needed or x in program.updates or x.role in ("input", "random")]
    texts = " ".join(x.text for i in kept for x in i.inputs if isinstance(x, Number))
    numbers = {name: read for name, read in program.numbers.items() if re.search(rf"\b{name}\b", texts)}
    return replace(program, inputs=inputs, instructions=kept[::-1], numbers=numbers)
