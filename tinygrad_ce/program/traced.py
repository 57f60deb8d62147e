"""From a training step to its program: the step is run once on examples, and everything that it does is written down.

What cannot be written down is refused with the way out, not guessed: numbers taken out of tensors, arrays from outside.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import Parameter, signature
from typing import Any, NoReturn

import numpy as np

from tinygrad_ce.backward import pulled_back, reachable, recorded, seed_of
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.optim import clipped
from tinygrad_ce.program.recorded import Writer, listening, tidy
from tinygrad_ce.program.simplified import simplified
from tinygrad_ce.program.straight import Home, Number, Program, Value


class TraceError(RuntimeError):
    """The step does something that a program cannot hold; the message says what to write instead."""


def trace(step: Callable[..., Any], *examples: Any) -> Program:
    """The program of a step: forward, backward and the optimizer's update.

    step: a function of arrays, which computes a loss and may call `zero_grad()`, `loss.backward()`, `clip_grad_norm`
    and `optimizer.step()`; it returns tensors. examples: arrays (or tensors) as it will be called with.
    The step is run (twice, so that numbers which depend on the data are noticed), and nothing is changed by it: no
    parameter, no running average, no generator of random numbers; gradients are None afterwards.
    What tracing fixes (shapes, training mode) is listed in `program.fixed`.
    Raises TraceError for what a program cannot hold: `if` on values, `float(t)`, arrays from outside of the step.

    >>> w = Tensor([1.0, 2.0], requires_grad=True, name="w")
    >>> print(trace(lambda x: (x * w).sum(), np.array([3.0, 4.0])))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def step(x, w):
        # forward
        t1 = x * w      # (2,)
        out = t1.sum()  # ()
        return out
    """
    program = _traced(step, examples)
    other = [np.repeat(array[:1], len(array), axis=0) if array.ndim else array for array in map(_array, examples)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        _check_same(program, _traced(step, tuple(other)))
    return simplified(program)


def _traced(step: Callable[..., Any], examples: Sequence[Any]) -> Program:
    tracer = Tracer()
    arguments = [tracer.example(x, name) for x, name in zip(examples, _names(step, len(examples)), strict=True)]
    with recorded(True), listening(tracer), tracer.leaving_all_as_it_was():
        answer = step(*arguments)
        return tracer.program(answer)


def _array(x: Any) -> Array:
    array: Array = x.data if isinstance(x, Tensor) else np.asarray(x)
    return array


def _names(step: Callable[..., Any], count: int) -> list[str]:
    """What the step calls its arguments; x1, x2... where it does not say."""
    try:
        parameters = list(signature(step).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    named = [p.name.lower() for p in parameters if p.kind in kinds][:count]
    return named + [f"x{i + 1}" for i in range(len(named), count)]


class Tracer(Writer):
    """Listens while a step runs (see core.Listener), and makes a program of what it has heard."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: dict[Value, Value] = {}
        self.numbers: dict[str, Callable[[int], Array]] = {}
        self.optimizers: list[Any] = []
        self.notes: dict[str, None] = {}
        self.homes: dict[tuple[int, str], Tensor] = {}  # by owner and attribute, what layers and optimizers keep
        self.parameters: list[tuple[Tensor, Array]] = []  # with a copy of what they were
        self.gradients: list[Tensor] = []  # tensors whose .grad was filled
        self.loss: Tensor | None = None

    def example(self, x: Any, name: str) -> Tensor:
        """One of the arrays that the step is called with, as a tensor that is heard."""
        tensor = Tensor(_array(x), requires_grad=isinstance(x, Tensor) and x.requires_grad)
        tensor.data = tensor.data.view()  # an array of its own: the same one may be passed twice
        self.input(tensor, Value(self.free(tidy(name)), tensor.data, "input"))
        return tensor

    @contextmanager
    def leaving_all_as_it_was(self) -> Iterator[None]:
        """At the end, parameters are what they were and gradients None; TraceError if the step wrote to one."""
        try:
            yield
            for parameter, before in self.parameters:
                if not np.array_equal(parameter.data, before, equal_nan=True):
                    raise TraceError(
                        f"{parameter.label} is written to in the step, and only an optimizer's step() can be traced: "
                        "call it instead of changing .data"
                    )
        finally:
            for parameter, before in self.parameters:
                parameter.data[...] = before
            for tensor in self.gradients:
                tensor.grad = None

    def program(self, answer: Any) -> Program:
        """What has been heard, as the program of a step that answers with this."""
        single = not isinstance(answer, (tuple, list))
        answers = () if answer is None else (answer,) if single else tuple(answer)
        outputs: dict[str, Value] = {}
        for number, tensor in enumerate(answers, start=1):
            if not isinstance(tensor, Tensor):
                raise TraceError(
                    f"the step returns {type(tensor).__name__}; a program returns what tensors become: return the "
                    "tensor itself (a loss, predictions), without .item() or .data"
                )
            name = "loss" if tensor is self.loss else tidy(tensor.name) if tensor.name else "out"
            name = name if name not in outputs else f"{name}_{number}"
            value = outputs[name] = self.of(tensor)
            if value.role == "result" and (name == "loss" or not tensor.name):
                value.name = name if name == "loss" else self.free(name)
        shapes = ", ".join(f"{x.name} {x.shape} {x.dtype}" for x in self.inputs if x.role == "input")
        fixed = [f"shapes and dtypes: {shapes}", *self.notes] if shapes else [*self.notes]
        self.name_updates()
        return Program(
            *(self.inputs, self.instructions, outputs, self.updates, self.numbers, self.optimizers, fixed, single)
        )

    def name_updates(self) -> None:
        """What becomes of W is called W again, if nothing needs the old one after that line."""
        last = {x: k for k, i in enumerate(self.instructions) for x in i.inputs if isinstance(x, Value)}
        made = {i.result: k for k, i in enumerate(self.instructions)}
        for kept, new in self.updates.items():
            if new.role == "result" and new.name.startswith(("_", "t")):
                again = last.get(kept, -1) <= made[new]
                new.name = kept.name if again else self.free(f"new_{kept.name}")

    # ---- what the engine tells and asks

    def refuse(self, tensor: Tensor, asked: str) -> NoReturn:
        name = tensor.name or "a tensor"
        raise TraceError(
            f"{asked} the numbers of {name} (shape {tensor.shape}), which differ from step to step, so the program "
            "cannot hold what is done with them: choose element by element with where(condition, a, b), and return the "
            "tensor from the step to look at it"
        )

    def number(self, x: Any) -> Any:
        if isinstance(x, np.generic) and not isinstance(x, np.bool_):
            raise TraceError(
                f"a NumPy number ({x!r}) comes from outside of the step, and may be another one next time: pass it as "
                "an input, or write a Python number if it is always the same"
            )
        return x

    def unknown(self, x: Any, argument: str) -> Value:
        array = _array(x)
        if isinstance(x, Tensor) and x.op is None and x.requires_grad:
            if self.section == "update":
                raise TraceError(f"{x.label} is used in the optimizer's update, and no step of the program has made it")
            self.parameters.append((x, array.copy()))
            home = Home(lambda: x.data, partial(_write, x))
            return self.input(x, Value(self.free(tidy(x.name or "W")), array, "kept", home=home))
        raise TraceError(
            f"an array of shape {array.shape} comes from outside of the step (argument {argument} of an operation): "
            "pass it to the step as an input. If it was computed in the step, then not with tensors: use tg.ops or "
            "NumPy's functions on the tensors themselves, not on .data"
        )

    def value(self, x: Any, argument: str) -> Any:
        value = super().value(x, argument)
        if isinstance(value, Value) and value in self.updates and self.section != "update":
            raise TraceError(f"{value.name} is used after it was updated: let the optimizer's step be the last line")
        return value

    def held(self, array: Any, name: str) -> Any:
        if isinstance(array, Tensor):
            return array
        tensor = Tensor(array)
        self.input(tensor, Value(self.free(name), tensor.data, "fixed"))
        return tensor

    def drawn(self, draw: Callable[[], Array], example: Array, name: str) -> Tensor:
        self.notes["random numbers are drawn for each step: dropout is on"] = None
        tensor = Tensor(example)
        self.input(tensor, Value(self.free(name), example, "drawn", draw=draw))
        return tensor

    def kept(self, owner: Any, attribute: str) -> Tensor:
        self.notes["the mode of the layers: " + ("training" if owner.training else "evaluation")] = None
        home = Home(lambda: getattr(owner, attribute), lambda new: setattr(owner, attribute, np.array(new)))
        return self.living(owner, attribute, attribute, home)

    def living(self, owner: Any, attribute: str, name: str, home: Home) -> Tensor:
        """A tensor for what stays in `home` from step to step."""
        key = (id(owner), attribute)
        if key not in self.homes:
            tensor = self.homes[key] = Tensor(home.read())
            tensor.data = tensor.data.view()
            self.alive.append(owner)
            self.input(tensor, Value(self.free(tidy(name)), tensor.data, "kept", home=home))
        return self.homes[key]

    def becomes(self, owner: Any, attribute: str, new: Any) -> None:
        self.update(self.of(self.homes[id(owner), attribute]), new)

    def update(self, kept: Value, new: Tensor) -> None:
        """What a kept value is after the step."""
        if kept in self.updates:
            raise TraceError(f"{kept.name} is updated twice in one step; trace a step with one update")
        self.updates[kept] = self.of(new)

    def backward(self, of: Tensor, gradient: Any) -> None:
        before, self.section = self.section, "backward"
        self.loss = of
        with recorded(False):
            for tensor, g in pulled_back(of, seed_of(of, gradient, True), reachable(of), create_graph=True):
                if tensor.op is None and tensor.grad is not None:
                    if id(tensor.grad) not in self.values:
                        raise TraceError(
                            f"{tensor.label} has a gradient from before this step: call optimizer.zero_grad() first"
                        )
                    g = tensor.grad + g
                self.gradient(tensor, g)
                self.gradients.append(tensor)
                tensor.grad = g.data
        self.section = before

    def updated(self, optimizer: Any) -> None:
        if optimizer in self.optimizers:
            raise TraceError("an optimizer takes two steps in one; trace a step with one")
        self.section = "update"
        self.optimizers.append(optimizer)
        lr, step = Number(optimizer.lr, self.free("lr")), Number(optimizer.steps + 1, self.free("t"))
        self.numbers |= {lr.text: optimizer.rates, step.text: lambda count: optimizer.steps + 1 + np.arange(count)}
        with recorded(False):
            for i, parameter in enumerate(optimizer.parameters):
                if parameter.grad is None:
                    continue
                param = self.of(parameter)
                state = tuple(
                    self.living(optimizer, f"{i} {k}", f"{name}_{param.name}", _slot(optimizer, i, k))
                    for k, name in enumerate(optimizer.remembers[: len(optimizer.state[i])])
                )
                new, new_state = optimizer.update(parameter, self.tensor(parameter.grad), state, lr, step)
                self.update(param, new)
                for old, memory in zip(state, new_state, strict=True):
                    self.update(self.of(old), memory)
        self.section = "forward"

    def clipped(self, parameters: Sequence[Tensor], max_norm: float) -> None:
        self.section = "backward"
        with recorded(False):
            for parameter, g in zip(
                parameters, clipped([self.tensor(p.grad) for p in parameters], max_norm), strict=True
            ):
                parameter.grad = g.data

    def tensor(self, array: Any) -> Tensor:
        """A tensor for an array that is known, so that what becomes of it is heard."""
        tensor = Tensor(array)
        self.remember(tensor, self.values[id(array)])
        return tensor


def _write(parameter: Tensor, new: Array) -> None:
    parameter.data[...] = new


def _slot(optimizer: Any, i: int, k: int) -> Home:
    def write(new: Array) -> None:
        optimizer.state[i][k][...] = new

    return Home(lambda: optimizer.state[i][k], write)


def _check_same(program: Program, other: Program) -> None:
    """Raise if the step has done something else for other data: then it depends on values."""
    mine = [_written(i) for i in program.instructions]
    theirs = [_written(i) for i in other.instructions]
    if mine != theirs:
        k = next((k for k, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
        i = (program if k < len(mine) else other).instructions[k]
        raise TraceError(
            f"the step does something else, or with another number, for other data (first at {i.result.name} = "
            f"{i.op.name}(...)): an `if` on values, or a number taken out of .data. Choose element by element with "
            "where(condition, a, b), and compute with tensors all the way"
        )


def _written(i: Any) -> Any:
    inputs = tuple((x.name, x.shape) if isinstance(x, Value) else repr(x) for x in i.inputs)
    return i.op.name, inputs, repr(sorted(i.params.items(), key=lambda item: item[0])), i.result.shape
