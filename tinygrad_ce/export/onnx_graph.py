"""An ONNX graph while it is written: nodes, constants, and what the values of a program are called in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import extra
from tinygrad_ce.program.ir import Instruction, Value
from tinygrad_ce.program.names import Names

OPSET = 18  # the first in which all reductions take their axes as an input; ONNX 1.13 and newer


class NoCounterpart(Exception):
    """An instruction that has no nodes here; the message says what of it."""


class Graph:
    """Nodes and constants, written one after the other. Names in it are texts; `values` has those of the program."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.helper = extra("onnx", "onnx").helper
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.values: dict[Value, str] = {}
        self.dtypes: dict[str, np.dtype[Any]] = {}
        self.names = Names(*taken)

    def node(self, op_type: str, *inputs: str, dtype: Any, name: str = "", **attributes: Any) -> str:
        """The name of what a new node gives, of this dtype."""
        name = name or self.names.free("t")
        self.nodes.append(self.helper.make_node(op_type, [*inputs], [name], **attributes))
        self.dtypes[name] = np.dtype(dtype)
        return name

    def constant(self, numbers: Any, dtype: Any = np.int64) -> str:
        """The name of a constant array; equal ones are one."""
        array = np.asarray(numbers, dtype)
        for name, other in self.constants.items():
            if other.dtype == array.dtype and other.shape == array.shape and other.tobytes() == array.tobytes():
                return name
        name = self.names.free("constant")
        self.constants[name], self.dtypes[name] = array, array.dtype
        return name

    def cast(self, x: str, dtype: Any) -> str:
        """The same numbers in this dtype."""
        if self.dtypes[x] == dtype:
            return x
        to = self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.node("Cast", x, dtype=dtype, to=to)

    def operand(self, x: Any, dtype: Any = None) -> str:
        """An input of an instruction, in this dtype; if None, an array in its own."""
        if not isinstance(x, Value):
            return self.constant(x, dtype or np.result_type(x))
        if x not in self.values:  # a number that a rule made up
            self.values[x] = self.constant(x.example, x.dtype)
        return self.cast(self.values[x], dtype or x.dtype)

    def same(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """What a node gives whose result has the dtype of its first input."""
        return self.node(op_type, *inputs, dtype=self.dtypes[inputs[0]], **attributes)

    def renamed(self, name: str, new: str) -> str:
        """The new name of what the last node gives; the old one, if it is not the last node's."""
        if not self.nodes or self.nodes[-1].output[0] != name:
            return name
        self.nodes[-1].output[0], self.dtypes[new] = new, self.dtypes.pop(name)
        return new

    def like(self, x: str, number: float) -> str:
        """A constant number in the dtype of x."""
        return self.constant(number, self.dtypes[x])


Rule = Callable[[Graph, Instruction], str]
