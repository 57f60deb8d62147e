"""What a program is: values, and instructions that make one from others, in a straight line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tinygrad_ce.core import Array, Primitive


@dataclass(eq=False)
class Value:
    """An array of the program: its name, and what it was when the program was recorded.

    role: "input" (data, parameters: whatever the program is called with), "constant" (a number, or an array with one
    number everywhere, that a rule made up) or "result" (of an instruction).
    prepared: an input that is no tensor of the user's, but an array as a loss has passed it on.
    """

    name: str
    example: Array
    role: str = "result"
    prepared: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.example.shape


@dataclass(eq=False)
class Instruction:
    """result = op(*inputs, **params); inputs are values or Python numbers.

    section: "forward" or "backward".
    """

    op: Primitive
    inputs: tuple[Any, ...]
    params: Mapping[str, Any]
    result: Value
    section: str


@dataclass(eq=False)
class Program:
    """Instructions in the order in which they run.

    outputs: what it answers with, by name; two names may stand for one value.
    """

    inputs: list[Value]
    instructions: list[Instruction]
    outputs: dict[str, Value] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The program as standalone NumPy."""
        from tinygrad_ce.program.printed import as_numpy

        return as_numpy(self)

    def __str__(self) -> str:
        return self.source
