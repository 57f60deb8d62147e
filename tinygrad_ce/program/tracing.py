"""From a training step to its program: the step is run once on examples, and everything that it does is written down.

What cannot be written down is refused with the way out, not guessed: numbers taken out of tensors, arrays from outside.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.backward import recording
from tinygrad_ce.core import Tensor, array_of
from tinygrad_ce.nn import Module
from tinygrad_ce.program.effects import (
    TraceError,
    array_names,
    computes_outside,
    for_reading_only,
    models_of,
    nudged,
    parameters_of,
    unchanged,
)
from tinygrad_ce.program.ir import Function, Value, structure, uses
from tinygrad_ce.program.names import Names
from tinygrad_ce.program.passes import simplified
from tinygrad_ce.program.tracer import Tracer, from_outside
from tinygrad_ce.source_lines import tracking


def trace_step(step: Callable[..., Any], *examples: Any, models: Sequence[Module] | None = None) -> Function:
    """What `tg.trace` wraps: the step as data. Arguments and errors are those of `tg.trace`."""
    modules = [m for model in (models_of(step) if models is None else models) for m in model.modules()]
    seen = modules, array_names(step), computes_outside(step)
    tracers = [Tracer(*seen), *(Tracer(*seen, again=True) for _ in range(2))]
    try:
        with unchanged(modules):
            program = _traced(step, examples, tracers[0])
            _check_with_other_data(step, examples, program, *tracers)
            return _with_names_again(simplified(program))
    finally:
        for tracer in tracers:
            tracer.forget_gradients()


def _check_with_other_data(
    step: Callable[..., Any], examples: Sequence[Any], program: Function, first: Tracer, second: Tracer, third: Tracer
) -> None:
    """TraceError if the step does something else with other rows, parameters and learning rates."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), nudged(first.parameters):
        warnings.simplefilter("ignore")
        try:
            other = _traced(step, [_other(x) for x in examples], second)
        except TraceError:
            raise
        except Exception:  # other data may be refused, which says nothing about this step
            if all(x.role != "fixed" for x in program.inputs):
                return
            other = _traced(step, examples, third)  # whether its arrays are the same again
    _check_same(program, other)


_WRITTEN = (
    "the step writes into the array of a tensor, and only an optimizer's step() can be traced: call it instead of "
    "changing .data, and make new tensors where others change"
)


def _traced(step: Callable[..., Any], examples: Sequence[Any], tracer: Tracer) -> Function:
    arguments = [tracer.example(x, name) for x, name in zip(examples, _names(step, len(examples)), strict=True)]
    parameters = tracer.visible = parameters_of(step)
    with recording(True), tracking(False), tracer.interpreting(), for_reading_only(parameters):
        try:
            answer = step(*arguments)
        except ValueError as error:
            if "read-only" in str(error):
                raise TraceError(_WRITTEN) from error
            raise
        return tracer.program(answer)


def _other(x: Any) -> Any:
    """Other data of this shape: the last row again and again, or other numbers where there is one row only."""
    array = array_of(x)
    if array.ndim and len(array) > 1:
        array = np.repeat(array[-1:], len(array), axis=0)
    elif array.dtype.kind == "f":
        array = array * array.dtype.type(0.75)
    return Tensor(array, requires_grad=True) if isinstance(x, Tensor) and x.requires_grad else array


def _with_names_again(program: Function) -> Function:
    """What becomes of W is called W again, if nothing needs the old one after that line."""
    readers = uses(program.instructions)
    place = {i.result: k for k, i in enumerate(program.instructions)}
    names = Names(*(x.name for x in program.values))
    for kept, new in program.updates.items():
        if new in place and new.name.startswith(("_", "t")) and new not in program.outputs.values():
            again = max(readers[kept], default=-1) <= place[new] and kept not in program.outputs.values()
            new.name = kept.name if again else names.free(f"new_{kept.name}")
    return program


def _names(step: Callable[..., Any], count: int) -> list[str]:
    """What the step calls its arguments; x1, x2... where it does not say."""
    try:
        parameters = list(signature(step).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    named = [p.name for p in parameters if p.kind in kinds][:count]
    return named + [f"x{i + 1}" for i in range(len(named), count)]


def _check_same(program: Function, other: Function) -> None:
    """Raise if the step has done something else for other data: then it depends on values."""
    (mine, my_answers), (theirs, their_answers) = (structure(p, "biufc") for p in (program, other))
    if mine == theirs and my_answers != their_answers:
        raise TraceError(
            "the step returns or updates something else for other data: return the same tensors each time, chosen "
            "element by element with where(condition, a, b)"
        )
    if mine != theirs:
        k = next((k for k, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
        i = (program if k < len(mine) else other).instructions[k]
        again = other.instructions[k] if k < len(theirs) else i
        for x, y in zip(i.inputs, again.inputs, strict=False):
            fixed = isinstance(x, Value) and x.role == "fixed" and isinstance(y, Value)
            if fixed and (x.name, x.shape, x.example.tobytes()) != (y.name, y.shape, y.example.tobytes()):
                raise TraceError(from_outside(x.example, i.line))
        where = f"{i.line.short}: " if i.line else ""
        if i.op is again.op is ops.getitem and i.result.shape != again.result.shape:
            raise TraceError(
                f"{where}indexing with a mask gives an array of shape {i.result.shape}, and {again.result.shape} for "
                "other data: keep the shape with where(mask, x, 0), whose sum is the same, or multiply by the mask"
            )
        raise TraceError(
            f"{where}the step does something else, or with another number, for other data (first at {i.result.name} = "
            f"{i.op.name}(...)): an `if` on values, or a number taken out of .data. Choose element by element with "
            "where(condition, a, b), and compute with tensors all the way"
        )
