"""The intermediate representation: values, and instructions that make one from others, in a straight line."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from tinygrad_ce.core import Array, Primitive


class Named(float):
    """A number with a name (an optimizer's `beta1`), or computed from such numbers and others.

    formula: how it is computed, as it is printed. names: what each name in the formula stands for: a number, or the
    name of a number that each step gets. Arrays take it for the plain number that it is.

    >>> (1 - Named(0.9, "beta1", {"beta1": 0.9})).formula
    '1 - beta1'
    """

    formula: str
    names: Mapping[str, float | str]

    def __new__(cls, value: float, formula: str, names: Mapping[str, float | str]) -> Self:
        number = super().__new__(cls, value)
        number.formula, number.names = formula, names
        return number

    def _with(self, sign: str, other: Any, compute: Callable[[float, float], float], swapped: bool = False) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        left, right = (other, self) if swapped else (self, other)
        formulas = [f"({x.formula if isinstance(x, Named) else repr(x)})" for x in (left, right)]
        names = {**self.names, **(other.names if isinstance(other, Named) else {})}
        return _named(compute(float(left), float(right)), f" {sign} ".join(formulas), names)

    # fmt: off
    def __neg__(self) -> Any: return _named(-float(self), f"-({self.formula})", self.names)
    def __pos__(self) -> Any: return self
    def __abs__(self) -> Any: return _named(abs(float(self)), f"abs({self.formula})", self.names)
    def __add__(self, other: Any) -> Any: return self._with("+", other, float.__add__)
    def __radd__(self, other: Any) -> Any: return self._with("+", other, float.__add__, True)
    def __sub__(self, other: Any) -> Any: return self._with("-", other, float.__sub__)
    def __rsub__(self, other: Any) -> Any: return self._with("-", other, float.__sub__, True)
    def __mul__(self, other: Any) -> Any: return self._with("*", other, float.__mul__)
    def __rmul__(self, other: Any) -> Any: return self._with("*", other, float.__mul__, True)
    def __truediv__(self, other: Any) -> Any: return self._with("/", other, float.__truediv__)
    def __rtruediv__(self, other: Any) -> Any: return self._with("/", other, float.__truediv__, True)
    def __pow__(self, other: Any) -> Any: return self._with("**", other, float.__pow__)  # type: ignore[override]
    def __rpow__(self, other: Any) -> Any: return self._with("**", other, float.__pow__, True)  # type: ignore[override]
    # fmt: on

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if not all(isinstance(x, (int, float, np.ndarray, np.generic)) for x in inputs):
            return NotImplemented  # arrays that write down what is done to them want the number itself
        plain = (float(x) if isinstance(x, Named) else x for x in inputs)
        return getattr(ufunc, method)(*plain, **options)


class Number(Named):
    """A number that each step gets anew (the learning rate), or that is computed from such numbers.

    text: how it is computed from the numbers of the step; all others are written out.
    """

    def __new__(cls, value: float, formula: str, names: Mapping[str, float | str] | None = None) -> Self:
        return super().__new__(cls, value, formula, names or {formula: formula})

    @property
    def text(self) -> str:
        """The formula in the names of the step."""

        def written_out(name: re.Match[str]) -> str:
            meaning = self.names.get(name[0], name[0])
            return meaning if isinstance(meaning, str) else f"({meaning!r})" if meaning < 0 else repr(meaning)

        return re.sub(r"\b[^\W\d]\w*", written_out, self.formula)


def _named(value: float, formula: str, names: Mapping[str, float | str]) -> Named:
    varies = any(isinstance(x, str) for x in names.values())
    return (Number if varies else Named)(value, ast.unparse(ast.parse(formula, mode="eval")), names)


@dataclass(eq=False)
class Value:
    """An array of the program: its name, and what it was when the program was recorded.

    role: "input" (data), "state" (a parameter, an optimizer's memory, a running average: it lives in its `variable`),
    "random" (random numbers, made anew by `draw` for each step), "fixed" (an array that belongs to a loss),
    "constant" (a number, or an array with one number everywhere, that a rule made up) or "result" (of an instruction).
    prepared: an input that is no tensor of the user's, but an array as a loss has passed it on.
    local: what the function for an optimizer's update calls it; empty if it has no name of its own there.
    """

    name: str
    example: Array
    role: str = "result"
    prepared: bool = False
    variable: Any = None
    draw: Callable[[], Array] | None = None
    local: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.example.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.example.dtype


@dataclass(eq=False)
class Instruction:
    """result = op(*inputs, **params); inputs are values or Python numbers.

    section: "forward", "backward" or "update". line: that of the user's code which called it, if that is known.
    """

    op: Primitive
    inputs: tuple[Any, ...]
    params: Mapping[str, Any]
    result: Value
    section: str
    line: Any = field(default=None, kw_only=True)  # a source_lines.Line


@dataclass(eq=False)
class Function:
    """Instructions in the order in which they run.

    outputs: what it answers with, by name; two names may stand for one value.
    updates: what becomes of the kept inputs: the value that each has after the step.
    numbers: what each step is given besides arrays, by name (a learning rate, a step count): a function that gives
    the numbers of so many coming steps.
    optimizers: those whose step is part of the program, each with the positions of its parameters that have no gradient
    there; each step of the program counts as one of theirs.
    fixed: what tracing has fixed, in words.
    checks: inputs that are looked at before each run, by functions that raise if they are wrong.
    single: whether the step answers with one thing, not with a tuple.
    """

    inputs: list[Value]
    instructions: list[Instruction]
    outputs: dict[str, Value] = field(default_factory=dict)
    updates: dict[Value, Value] = field(default_factory=dict)
    numbers: dict[str, Callable[[int], Array]] = field(default_factory=dict)
    optimizers: dict[Any, list[int]] = field(default_factory=dict)
    fixed: list[str] = field(default_factory=list)
    checks: list[tuple[Value, Callable[[Array], Any]]] = field(default_factory=list)
    single: bool = True

    @property
    def arguments(self) -> list[Value]:
        """The inputs that whoever runs the program has to pass."""
        return [x for x in self.inputs if x.role == "input"]

    @property
    def values(self) -> list[Value]:
        """The inputs, and the results of all instructions."""
        return [*self.inputs, *(i.result for i in self.instructions)]

    @property
    def answers(self) -> list[Value]:
        """What it answers with, and what becomes of the kept inputs."""
        return [*self.outputs.values(), *self.updates.values()]


def uses(instructions: Sequence[Instruction]) -> defaultdict[Value, list[int]]:
    """The positions of the instructions that take each value, once for each time that they take it."""
    found: defaultdict[Value, list[int]] = defaultdict(list)
    for k, i in enumerate(instructions):
        for x in i.inputs:
            if isinstance(x, Value):
                found[x].append(k)
    return found


def key(i: Instruction, named: Callable[[Value], Any], number: str = "text") -> tuple[Any, ...]:
    """What an instruction computes, to be compared. named: what stands for a value.

    number: what stands for a number of the step: its `text`, or its `formula` with the names of hyperparameters.
    """
    inputs = tuple(named(x) if isinstance(x, Value) else getattr(x, number, repr(x)) for x in i.inputs)
    return i.op, inputs, repr(sorted(i.params.items()))


def structure(program: Function, kinds: str) -> tuple[list[Any], list[Any]]:
    """What a program computes, to be compared: a row for each instruction, and one for each answer.

    Results are told apart by their positions, so their names do not count; those of inputs do.
    kinds: the kinds of dtypes of fixed arrays whose elements count, too.
    """
    known: dict[Value, Any] = {}
    for x in program.inputs:
        content = x.example.tobytes() if x.role == "fixed" and x.dtype.kind in kinds else None
        known[x] = x.name, x.role, x.shape, x.dtype, content

    def named(x: Value) -> Any:
        return known[x] if x in known else (x.shape, x.dtype, x.example.tobytes())

    rows: list[Any] = []
    for k, i in enumerate(program.instructions):
        rows.append((*key(i, named), i.section, i.result.shape, i.result.dtype))
        known[i.result] = k
    answers: list[Any] = [(name, named(value)) for name, value in program.outputs.items()]
    return rows, answers + [(named(old), named(new)) for old, new in program.updates.items()]
