"""The interpreter of a program: one primitive after the other, on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, interpreter
from tinygrad_ce.program.effects import OutdatedError
from tinygrad_ce.program.ir import Function, Instruction, Named, Number, Value
from tinygrad_ce.variable import plain_array

Run = Callable[..., Any]


def evaluate(
    instructions: Iterable[Instruction],
    known: dict[Value, Any],
    numbers: Mapping[str, float] | None = None,
    run_of: Callable[[Instruction], Run] = lambda i: i.op.run,
) -> dict[Value, Any]:
    """Run instructions one after the other; `known` holds the inputs, and gets every result.

    numbers: what each step is given besides arrays, by name. run_of: what computes an instruction on arrays.
    """

    def value_of(x: Any) -> Any:
        if isinstance(x, Number):
            return eval(x.text, {}, dict(numbers or {}))
        if not isinstance(x, Value):
            return float(x) if isinstance(x, Named) else x
        return x.example if x.role == "constant" else known[x]

    for i in instructions:
        known[i.result] = result = np.asarray(run_of(i)(*map(value_of, i.inputs), **i.params))
        if result.shape != i.result.shape:  # of x[mask]: sizes that the step has asked for are numbers in the program
            raise OutdatedError(
                f"{i.result.name} = {i.op.name}(...) has shape {result.shape}, and had {i.result.shape} when the step "
                "was traced: trace it again, or keep the shape with where(mask, x, 0)"
            )
    return known


def run_step(function: Function, arrays: tuple[Any, ...]) -> Any:
    """One step: what it answers with; parameters, running averages and optimizers are updated.

    Raises TypeError and ValueError for arrays of another number, shape or dtype than it was traced with.
    """
    numbers = {name: read(1)[0].item() for name, read in function.numbers.items()}
    known = evaluate(function.instructions, dict(input_arrays(function, arrays)), numbers)

    def array_of(value: Value) -> Array:
        return np.array(value.example if value.role == "constant" else known[value])

    answers = tuple(array_of(value) for value in function.outputs.values())
    for state, new in [(state, array_of(new)) for state, new in function.updates.items()]:
        interpreter.get().write(state.variable, new)
    tick(function)
    return answer_of(function, answers)


def tick(function: Function, steps: int = 1) -> None:
    """Count some steps of the program as steps of its optimizers."""
    for optimizer, without in function.optimizers.items():
        optimizer.tick(without, steps)


def answer_of(function: Function, answers: tuple[Array, ...]) -> Any:
    """What the step returned: one array, several, or nothing."""
    if function.single:
        return answers[0] if answers else None
    return answers


def input_arrays(function: Function, arrays: tuple[Any, ...]) -> Iterator[tuple[Value, Array]]:
    """Each input with its array: as passed, read from its variable, or drawn."""
    checked = iter(checked_arrays(function, arrays))
    for x in function.inputs:
        if x.role == "input":
            yield x, next(checked)
        elif x.variable is not None:
            yield x, x.variable.data
        else:
            yield x, x.draw() if x.draw is not None else x.example


def checked_arrays(function: Function, arrays: tuple[Any, ...]) -> list[Array]:
    """The arrays that were passed, if they are what the program was traced with."""
    expected = function.arguments
    names = ", ".join(x.name for x in expected)
    if len(arrays) != len(expected):
        raise TypeError(f"this program takes {len(expected)} arrays ({names}), and {len(arrays)} were passed")
    found = []
    for x, passed in zip(expected, arrays, strict=True):
        array = plain_array(passed)
        if array.shape != x.shape or array.dtype != x.dtype:
            raise ValueError(
                f"{x.name} has shape {array.shape} and dtype {array.dtype}; the program was traced with shape "
                f"{x.shape} and dtype {x.dtype}: trace again with such an array, or use tg.compile, which does"
            )
        found.append(array)
    check(function, dict(zip(expected, found, strict=True)))
    return found


def check(function: Function, arrays: Mapping[Value, Array]) -> None:
    """Look at the arrays as the step has looked at its examples: a label that is no class raises as there."""
    for value, look in function.checks:
        look(arrays[value])
