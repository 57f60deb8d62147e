"""From a loss that has been computed to the program that computes it and its gradients.

The forward instructions are the graph. The backward ones are what the rules do when they run on Tensors: every
primitive that they call is written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.ancestry import reachable
from tinygrad_ce.backward import recording, walk
from tinygrad_ce.core import Array, Primitive, Tensor, call, interpreted
from tinygrad_ce.program.above import called_above
from tinygrad_ce.program.ir import Function, Instruction, Value
from tinygrad_ce.program.names import Names, calling_frames, tidy, variables_of

LETTERS = {
    **dict.fromkeys(("affine", "matmul", "contract"), "z"),
    **dict.fromkeys(("tanh", "sigmoid", "relu", "softplus"), "h"),
    "softmax": "p",
}  # what results are called where nobody has named them


def of_loss(loss: Tensor) -> Function:
    """The forward and backward pass of a loss. ValueError if it has no history."""
    return record(loss).program


@dataclass(frozen=True)
class Recorded:
    """A program, and which of its values stand for what in the graph.

    values: by the id of a tensor or array. gradients: by the number of a tensor. shares: for each edge, by the number
    of the tensor that sends it and the position of the input: the instructions of the rule, and what it gives.
    """

    program: Function
    values: dict[int, Value]
    gradients: dict[int, Value]
    shares: dict[tuple[int, int], tuple[list[Instruction], Value]]
    alive: list[Any]  # so that the ids stay theirs


def record(loss: Tensor, arrays: Mapping[str, Array] | None = None) -> Recorded:
    """The forward and backward pass of a loss, and what in it is what. ValueError if it has no history.

    arrays: by their names, those of functions that have returned since: labels, which are no Tensors.
    """
    if not isinstance(loss, Tensor):
        raise TypeError(f"source: the loss is {type(loss).__name__}; only a Tensor has a history")
    if loss.op is None or not loss.requires_grad:
        raise ValueError(
            f"{loss.label} has no history to print: none of its inputs has requires_grad=True, or it was made inside "
            "no_grad()"
        )
    if loss.size != 1:
        raise ValueError(f"source: a loss is a single number, and {loss.label} has shape {loss.shape}: reduce it first")
    graph = reachable(loss)
    with as_computed(graph.values()):
        return _recorded(loss, graph, arrays or {})


@contextmanager
def as_computed(graph: Iterable[Tensor]) -> Iterator[None]:
    """Temporarily restore the inputs that each operation actually saw, where somebody has replaced them since."""
    before: dict[int, tuple[Tensor, Array]] = {}
    for tensor in graph:
        for x, value in zip(tensor.inputs, tensor.arrays, strict=True):
            if isinstance(x, Tensor) and x.data is not value and x.serial not in before:
                before[x.serial] = x, x.data
                x.data = value
    try:
        yield
    finally:
        for x, data in before.values():
            x.data = data


def _recorded(loss: Tensor, graph: dict[int, Tensor], arrays: Mapping[str, Array]) -> Recorded:
    writer = Writer()
    writer.variables = variables_of(calling_frames()) | {id(array): name for name, array in arrays.items()}
    in_order = [graph[number] for number in sorted(graph)]
    writer.reserve(in_order, loss)
    for tensor in in_order:
        if tensor.op is not None:
            writer.add(tensor.op, tensor.inputs, tensor.params, tensor, "forward")
    result = writer.values[id(loss)]
    outputs = {result.name: result}
    seed = Tensor(np.ones_like(loss.data))
    writer.remember(seed, Value("_seed", seed.data, "constant"))
    writer.section = "backward"
    gradients: dict[int, Value] = {}
    shares: dict[tuple[int, int], tuple[list[Instruction], Value]] = {}
    begun = len(writer.instructions)

    def on_share(tensor: Tensor, position: int, share: Tensor) -> None:
        nonlocal begun
        shares[tensor.serial, position] = writer.instructions[begun:], writer.of(share)
        begun = len(writer.instructions)

    with recording(False), interpreted(writer.call), writer.with_arrays_as_tensors(graph.values()):
        for tensor, g in walk(loss, seed, create_graph=True, on_share=on_share):
            name, gradients[tensor.serial] = writer.gradient(tensor, g)
            begun = len(writer.instructions)  # what has added the shares up, or named the sum, belongs to no rule
            if tensor.op is None:
                outputs[name] = gradients[tensor.serial]
    names = [result.name, *(f"d_{x.name}" for x in writer.inputs)]
    answers = {name: outputs[name] for name in names if name in outputs}
    program = Function(writer.inputs, writer.instructions, answers, single=False)
    return Recorded(program, writer.values, gradients, shares, writer.alive)


class Writer:
    """An interpreter that writes each call down as an instruction, and gives names to what instructions work on."""

    def __init__(self) -> None:
        self.values: dict[int, Value] = {}  # by the id of a tensor or an array
        self.inputs: list[Value] = []
        self.instructions: list[Instruction] = []
        self.names = Names("np", "step", *called_above())
        self.variables: dict[int, str] = {}  # what the user's Python variables call tensors and arrays, by id
        self.reserved: dict[int, str] = {}  # the names of tensors, by id, which nothing else can take
        self.automatic: dict[str, Value] = {}  # what has such a name
        self.alive: list[Any] = []  # so that no id is given out twice
        self.section = "forward"
        self.aliased: tuple[Tensor, Value] | None = None  # a gradient with two names, and the value of its first

    def call(self, inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Compute by the body (no kernel needs to be compiled for this), and write the instruction down."""
        result = call(op, inputs, params, op.body)
        if isinstance(result, Tensor) and id(result) not in self.values:  # a list comes again, as an array
            is_intermediate = self.section != "forward"  # a result inside of a rule
            name = f"_{len(self.instructions)}" if is_intermediate else None
            self.add(op, inputs, params, result, self.section, name)
        return result

    def add(
        self,
        op: Primitive,
        inputs: tuple[Any, ...],
        params: Mapping[str, Any],
        result: Tensor,
        section: str,
        name: str | None = None,
    ) -> None:
        """Write one instruction down; its result gets this name, or the tensor's own, or a letter and a number."""
        names = [op.argument(i) for i in range(len(inputs))]
        values = tuple(self.value(x, argument) for x, argument in zip(inputs, names, strict=True))
        value = Value(name or self.name_of(result, ""), result.data)
        if not value.name:
            self.name_automatically(value, LETTERS.get(op.name, "t"))
        self.remember(result, value)
        self.instructions.append(Instruction(op, values, {**op.defaults, **params}, value, section))

    @contextmanager
    def with_arrays_as_tensors(self, graph: Iterable[Tensor]) -> Iterator[None]:
        """Temporarily replace arrays among the inputs of a graph by tensors, so that the calls of rules are seen."""
        before = [(tensor, tensor.inputs) for tensor in graph]
        wrapped: dict[int, Tensor] = {}
        for tensor, inputs in before:
            for x in inputs:
                if isinstance(x, np.ndarray) and id(x) not in wrapped:
                    wrapped[id(x)] = Tensor(x)
                    self.remember(wrapped[id(x)], self.values[id(x)])
            tensor.inputs = tuple(wrapped.get(id(x), x) if isinstance(x, np.ndarray) else x for x in inputs)
        try:
            yield
        finally:
            for tensor, inputs in before:
                tensor.inputs = inputs

    def gradient(self, tensor: Tensor, g: Tensor) -> tuple[str, Value]:
        """What the gradient of a tensor is called, and its value. Until the next one, `g` stands for it."""
        if self.aliased is not None:
            self.remember(*self.aliased)
            self.aliased = None
        gradient, wanted = self.of(g), f"d_{self.of(tensor).name}"
        if gradient.role == "result" and gradient.name.startswith("_"):
            gradient.name = self.free(wanted)
        elif gradient.role == "result":  # a sum hands its own gradient on, and this line says so
            self.aliased = g, gradient
            name, same = self.free(wanted), Tensor(g.data)
            self.add(ops.identity, (g,), {}, same, self.section, name)
            gradient = self.of(same)
            self.remember(g, gradient)
        return wanted, gradient

    def of(self, tensor: Tensor) -> Value:
        """The value that stands for this tensor, which is a new input if it is not known."""
        value = self.value(tensor, "x")
        assert isinstance(value, Value)
        return value

    def value(self, x: Any, argument: str) -> Any:
        """What stands for an input of an instruction: a Value, or a Python number."""
        if not isinstance(x, (Tensor, np.ndarray)):
            return self.number(x)
        array = x.data if isinstance(x, Tensor) else x
        own = isinstance(x, Tensor) and x.requires_grad  # two parameters may hold one array, and are two all the same
        for known in (id(x),) if own else (id(x), id(array)):
            if known in self.values:
                return self.values[known]
        if self.section == "backward" and array.size and (array == array.flat[0]).all():
            constant = Value(f"_constant{len(self.alive)}", array, "constant")  # a rule computes it from shapes alone
            self.remember(x, constant)
            return constant
        return self.unknown(x, argument)

    def number(self, x: Any) -> Any:
        """A number as it will be printed."""
        return x.item() if isinstance(x, np.generic) and type(x.item()) is not int else x

    def unknown(self, x: Any, argument: str) -> Value:
        """A new input: no instruction computes this array."""
        array = x.data if isinstance(x, Tensor) else x
        return self.input(x, Value(self.name_of(x, argument), array, "input", prepared=not isinstance(x, Tensor)))

    def input(self, x: Tensor | Array, value: Value) -> Value:
        """Add an input of the program."""
        self.inputs.append(value)
        self.remember(x, value)
        return value

    def remember(self, x: Tensor | Array, value: Value) -> None:
        """From now on this value stands for the tensor or array."""
        self.values[id(x)] = value
        self.alive.append(x)
        if isinstance(x, Tensor):
            self.values[id(x.data)] = value
            self.alive.append(x.data)

    def reserve(self, tensors: Iterable[Tensor], loss: Tensor) -> None:
        """Keep the user's names, so that no automatic one takes them; the loss is `loss` if it has none.

        Those of tensors go before those of variables, and one that can stand as it is before one that becomes the same:
        `w_1` before `w 1`.
        """
        things = {id(x): x for tensor in tensors for x in (tensor, *tensor.inputs)}
        named = [(x, name) for x in things.values() if (name := self.users_name(x))]
        for x, name in sorted(named, key=lambda pair: (not getattr(pair[0], "name", None), tidy(pair[1]) != pair[1])):
            self.reserved[id(x)] = self.free(tidy(name))
        if id(loss) not in self.reserved:
            self.reserved[id(loss)] = self.free("loss")

    def users_name(self, x: Any) -> str | None:
        """The name that the user gave to a tensor, or that of a Python variable which holds this tensor or array."""
        return x.name if isinstance(x, Tensor) and x.name else self.variables.get(id(x))

    def name_of(self, x: Any, otherwise: str) -> str:
        """The name of a tensor as it is printed; `otherwise`, with a number if it is taken, of what has none."""
        if id(x) in self.reserved:
            return self.reserved[id(x)]
        name = self.users_name(x) or otherwise
        return self.free(tidy(name)) if name else ""

    def free(self, name: str) -> str:
        """This name, or with a number behind it if it is taken."""
        return self.names.free(name)

    def name_automatically(self, value: Value, letter: str) -> None:
        """Call a value by the letter and a number."""
        value.name = self.names.numbered(letter)
        self.automatic[value.name] = value
