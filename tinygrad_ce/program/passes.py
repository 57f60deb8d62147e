"""Passes: small functions from program to program, each of which leaves what it computes as it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.ops.reduction import reduced_axes
from tinygrad_ce.optim.clipping import SMALLEST
from tinygrad_ce.program.ir import Function, Instruction, Number, Value, key, uses


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
        i = Instruction(i.op, inputs, i.params, i.result, i.section, line=i.line)
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
    """With single numbers that are computed from constants alone as constants."""

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
        first = seen.setdefault(key(i, id), i.result)
        return None if first is i.result else first

    return _rewritten(program, decide)


def drop_dead_code(program: Function) -> Function:
    """Without the instructions, and the kept and fixed arrays and numbers, that no output needs."""
    needed = {*program.answers}
    kept = []
    for i in reversed(program.instructions):
        if i.result in needed:
            kept.append(i)
            needed.update(x for x in i.inputs if isinstance(x, Value))
    inputs = [x for x in program.inputs if x in needed or x in program.updates or x.role in ("input", "random")]
    texts = " ".join(x.text for i in kept for x in i.inputs if isinstance(x, Number))
    numbers = {name: read for name, read in program.numbers.items() if re.search(rf"\b{name}\b", texts)}
    return replace(program, inputs=inputs, instructions=kept[::-1], numbers=numbers)


# ---- before a textbook print


def plain(program: Function) -> Function:
    """Without what nobody would write: + 0, * 1, and the units in which `clip_grad_norm` measures huge gradients."""
    answers = {*program.outputs.values(), *program.updates.values()}
    ones: set[Value] = set()

    def decide(i: Instruction) -> Value | None:
        if i.op is ops.clip and i.params["low"] is SMALLEST:  # not a user's own number that is equal
            ones.add(i.result)
        x, y = i.inputs if len(i.inputs) == 2 else (None, None)
        if i.op is ops.maximum and y is SMALLEST and isinstance(x, Value):
            return x
        for kept, other in ((x, y), (y, x)):
            does_nothing = other in ones or (_is_number(other) and other == _NEUTRAL.get(i.op))
            if not does_nothing or not isinstance(kept, Value) or (i.op is ops.div and kept is y):
                continue
            same = kept.shape == i.result.shape and kept.dtype == i.result.dtype
            if same and i.op in _NEUTRAL and (other in ones or (_is_automatic(i.result) and i.result not in answers)):
                return kept
        return None

    program = drop_dead_code(_rewritten(program, decide))
    return replace(program, instructions=[_with_minus(i) for i in program.instructions])


_NEUTRAL = {ops.add: 0, ops.mul: 1, ops.div: 1}


def _is_number(x: Any) -> bool:
    return type(x) in (int, float)


def _is_automatic(value: Value) -> bool:
    """Whether it has no name that a reader looks for."""
    return re.fullmatch(r"(d_)?t\d+|_.*", value.name) is not None


def _with_minus(i: Instruction) -> Instruction:
    """-x for 0 - x."""
    zero = i.op is ops.sub and _is_number(i.inputs[0]) and i.inputs[0] == 0 and isinstance(i.inputs[1], Value)
    return replace(i, op=ops.neg, inputs=i.inputs[1:], params={}) if zero else i


_ON_ELEMENTS = {ops.add, ops.sub, ops.mul, ops.div, ops.maximum, ops.minimum, ops.where, ops.neg, ops.identity}
_MOVES = {ops.broadcast_to, ops.reshape}
_REDUCTIONS = {ops.reduce_sum, ops.reduce_mean, ops.reduce_max, ops.reduce_min}


def left_to_broadcasting(program: Function) -> Function:
    """Without what NumPy does by itself: a number or a row is repeated where it meets a whole array, and an axis that
    was summed away stays with keepdims=True."""
    while True:
        shorter = _without_repeating(program)
        if len(shorter.instructions) == len(program.instructions):
            return shorter
        program = shorter


def _without_repeating(program: Function) -> Function:
    readers = {x: [program.instructions[k] for k in places] for x, places in uses(program.instructions).items()}
    answers = {*program.answers}
    narrow: dict[Value, Value] = {}  # what stands for a wider array
    producer: dict[Value, Instruction] = {}
    for i in program.instructions:
        inputs = tuple(narrow.get(x, x) if isinstance(x, Value) else x for x in i.inputs)
        x = inputs[0] if inputs else None
        if inputs != i.inputs and i.op in _ON_ELEMENTS and i.result not in answers:
            example = np.asarray(i.op.body(*(y.example if isinstance(y, Value) else y for y in inputs)))
            if example.shape != i.result.shape:  # a number or a row itself
                narrow[i.result] = Value(i.result.name, example)
        i = Instruction(i.op, inputs, i.params, narrow.get(i.result, i.result), i.section, line=i.line)
        if i.op is ops.reshape and isinstance(x, Value) and x.shape == ():  # the one number of an array
            i = replace(i, op=ops.broadcast_to, params={"shape": i.result.shape})
        if i.op not in _MOVES or not isinstance(x, Value):
            producer[i.result] = i
        elif x in producer and _restores_axis(i, producer[x]) and len(readers[x]) == 1 and x not in answers:
            summed = producer.pop(x)
            producer[i.result] = replace(summed, params={**summed.params, "keepdims": True}, result=i.result)
        elif not _only_repeats(i) or not _are_filled_up(i.result, x, readers, narrow, answers):
            producer[i.result] = i
        elif i.result.name.startswith("_"):
            narrow[i.result] = x
        else:  # a gradient that has a name keeps its line
            narrow[i.result] = Value(i.result.name, x.example)
            producer[narrow[i.result]] = Instruction(ops.identity, (x,), {}, narrow[i.result], i.section)
    return replace(program, instructions=list(producer.values()))


def _restores_axis(i: Instruction, reduced: Instruction) -> bool:
    """Whether a reshape puts the axes back that a reduction has removed."""
    if i.op is not ops.reshape or reduced.op not in _REDUCTIONS or reduced.params["keepdims"]:
        return False
    x, gone = reduced.inputs[0], reduced_axes(reduced.inputs[0].example.ndim, reduced.params["axis"])
    return i.result.shape == tuple(1 if axis in gone else n for axis, n in enumerate(x.shape))


def _only_repeats(i: Instruction) -> bool:
    """Whether the numbers stay where they are, but for axes in front and repetitions."""
    x, wide = i.inputs[0], i.result
    return i.op is ops.broadcast_to or wide.shape == (1,) * (wide.example.ndim - x.example.ndim) + x.shape


def _are_filled_up(
    wide: Value, x: Value, readers: dict[Value, list[Instruction]], narrow: dict[Value, Value], answers: set[Value]
) -> bool:
    """Whether all that is computed from an array would be the same from x, which NumPy repeats."""
    if wide in answers or wide not in readers:
        return False
    for use in readers[wide]:
        if use.op in _MOVES and x.shape == () and _are_filled_up(use.result, x, readers, narrow, answers):
            continue
        if use.op not in _ON_ELEMENTS or (use.op is ops.where and use.inputs[0] is wide):
            return False
        others = [narrow.get(y, y) for y in use.inputs if isinstance(y, Value) and y is not wide]
        shape = np.broadcast_shapes(x.shape, *(y.shape for y in others))
        if shape != use.result.shape and not _are_filled_up(use.result, x, readers, narrow, answers):
            return False
        if len(use.inputs) == 1:
            continue  # it leaves the dtype as it is
        typed = [y.dtype for y in others[use.op is ops.where :]] or [np.dtype(np.float64)]  # a number is no float32
        if use.result.name.startswith("_") and shape != use.result.shape:
            continue
        if np.result_type(*typed) != use.result.dtype:
            return False
    return True
