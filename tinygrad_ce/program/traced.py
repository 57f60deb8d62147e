"""From a training step to its program: the step is run once on examples, and everything that it does is written down.

What cannot be written down is refused with the way out, not guessed: numbers taken out of tensors, arrays from outside.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import Parameter, signature
from typing import Any, NoReturn

import numpy as np

from tinygrad_ce.backward import pulled_back, reachable, recorded, seed_of
from tinygrad_ce.core import Array, Primitive, Tensor, array_of
from tinygrad_ce.lines import noted
from tinygrad_ce.nn import Module
from tinygrad_ce.optim import clipped
from tinygrad_ce.program.recorded import Writer, listening, tidy
from tinygrad_ce.program.simplified import simplified
from tinygrad_ce.program.straight import Home, Number, Program, Value
from tinygrad_ce.program.surroundings import (
    TraceError,
    for_reading_only,
    models_of,
    nudged,
    parameters_of,
    unchanged,
)


def trace(step: Callable[..., Any], *examples: Any, models: Sequence[Module] | None = None) -> Program:
    """The program of a step: forward, backward and the optimizer's update.

    step: a function of arrays, which computes a loss and may call `zero_grad()`, `loss.backward()`, `clip_grad_norm`
    and `optimizer.step()`; it returns tensors. examples: arrays (or tensors) as it will be called with.
    The step is run (twice, so that numbers which depend on the data are noticed), and nothing is changed by it: no
    parameter, no running average, no generator of random numbers; gradients are None afterwards.
    What tracing fixes (shapes, training mode) is listed in `program.fixed`.
    models: those whose other attributes must stay as they are meanwhile; if None, those that the function refers to.
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
    return _program(step, examples, models_of(step) if models is None else models, twice=True)


def traced_once(step: Callable[..., Any], *examples: Any, models: Sequence[Module]) -> Program:
    """As `trace`, of a step that has been traced before: whether numbers depend on the data is known."""
    return _program(step, examples, models, twice=False)


def _program(step: Callable[..., Any], examples: Sequence[Any], models: Sequence[Module], twice: bool) -> Program:
    tracers = [Tracer(), Tracer(again=True)][: 1 + twice]
    modules = [m for model in models for m in model.modules()]
    for tracer in tracers:
        tracer.modules = modules
    try:
        with unchanged(modules):
            program = _traced(step, examples, tracers[0])
            if twice:
                _check_with_other_data(step, examples, program, *tracers)
            return _with_names_again(simplified(program))
    finally:
        for tensor in (tensor for tracer in tracers for tensor in tracer.gradients):
            tensor.grad = None


def _check_with_other_data(
    step: Callable[..., Any], examples: Sequence[Any], program: Program, first: Tracer, second: Tracer
) -> None:
    """TraceError if the step does something else with other rows, parameters and learning rates."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), nudged(first.parameters):
        warnings.simplefilter("ignore")
        try:
            other = _traced(step, [_other(x) for x in examples], second)
        except TraceError:
            raise
        except Exception:  # other data may be refused, which says nothing about this step
            return
    _check_same(program, other)


_WRITTEN = (
    "the step writes into the array of a tensor, and only an optimizer's step() can be traced: call it instead of "
    "changing .data, and make new tensors where others change"
)


def _traced(step: Callable[..., Any], examples: Sequence[Any], tracer: Tracer | None = None) -> Program:
    tracer = tracer or Tracer()
    arguments = [tracer.example(x, name) for x, name in zip(examples, _names(step, len(examples)), strict=True)]
    parameters = parameters_of(step)
    with recorded(True), noted(False), listening(tracer), tracer.leaving_parameters(), for_reading_only(parameters):
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


def _with_names_again(program: Program) -> Program:
    """What becomes of W is called W again, if nothing needs the old one after that line."""
    last = {x: k for k, i in enumerate(program.instructions) for x in i.inputs if isinstance(x, Value)}
    made = {i.result: k for k, i in enumerate(program.instructions)}
    taken = {x.name for x in (*program.inputs, *made)}
    for kept, new in program.updates.items():
        if new in made and new.name.startswith(("_", "t")) and new not in program.outputs.values():
            again = last.get(kept, -1) <= made[new] and kept not in program.outputs.values()
            name = kept.name if again else f"new_{kept.name}"
            while not again and name in taken:
                name += "_"
            new.name = name
    return program


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

    def __init__(self, again: bool = False) -> None:
        super().__init__()
        self.again = again  # with other data, and other learning rates
        self.updates: dict[Value, Value] = {}
        self.numbers: dict[str, Callable[[int], Array]] = {}
        self.optimizers: list[Any] = []
        self.notes: dict[str, None] = {}
        self.modules: Sequence[Module] = ()
        self.looked: list[tuple[Value, Callable[[Array], Any]]] = []
        self.homes: dict[tuple[int, str], Tensor] = {}  # by owner and attribute, what layers and optimizers keep
        self.parameters: list[tuple[Tensor, Array]] = []  # with a copy of what they were
        self.gradients: list[Tensor] = []  # tensors whose .grad was filled
        self.loss: Tensor | None = None

    def example(self, x: Any, name: str) -> Tensor:
        """One of the arrays that the step is called with, as a tensor that is heard."""
        tensor = Tensor(array_of(x), requires_grad=isinstance(x, Tensor) and x.requires_grad)
        tensor.data = _for_reading(tensor.data)  # an array of its own: the same one may be passed twice
        self.input(tensor, Value(self.free(tidy(name)), tensor.data, "input"))
        return tensor

    @contextmanager
    def leaving_parameters(self) -> Iterator[None]:
        """At the end, parameters are what they were; TraceError if the step wrote to one."""
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
                if parameter.data.flags.writeable:
                    parameter.data[...] = before

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
        rest = self.numbers, self.optimizers, fixed, self.looked, single
        return Program(self.inputs, self.instructions, outputs, self.updates, *rest)

    # ---- what the engine tells and asks

    def called(self, op: Primitive, inputs: tuple[Any, ...], params: Mapping[str, Any], result: Tensor) -> None:
        super().called(op, inputs, params, result)
        if not any(result.data is (x.data if isinstance(x, Tensor) else x) for x in inputs):
            result.data.flags.writeable = False  # who writes there would not be heard

    def checks(self, x: Any, look: Callable[[Array], Any]) -> None:
        value = self.values.get(id(x)) or self.values.get(id(array_of(x)))
        if value is not None and value.role == "input":
            self.looked.append((value, look))

    def mode(self, layer: Any) -> None:
        mode = "training" if layer.training else "evaluation"
        self.notes[f"the mode of {type(layer).__name__.lower()} layers: {mode}"] = None

    def refuse(self, tensor: Tensor, asked: str) -> NoReturn:
        name = tensor.name or "a tensor"
        raise TraceError(
            f"{asked} the numbers of {name} (shape {tensor.shape}), which differ from step to step, so the program "
            "cannot hold what is done with them: choose element by element with where(condition, a, b), and return the "
            "tensor from the step to look at it"
        )

    def number(self, x: Any) -> Any:
        return x  # also one of NumPy's, with its dtype; if it depends on the data, the second trace has another one

    def unknown(self, x: Any, argument: str) -> Value:
        array = array_of(x)
        if isinstance(x, Tensor) and x.op is None and x.requires_grad:
            if self.section == "update":
                raise TraceError(f"{x.label} is used in the optimizer's update, and no step of the program has made it")
            self.parameters.append((x, array.copy()))
            home = Home(lambda: x.data, partial(_write, x))
            return self.input(x, Value(self.free(tidy(x.name or "W")), array, "kept", home=home))
        for module in self.modules:  # a fixed array of a layer, such as a mask
            for attribute, value in vars(module).items():
                if value is x:
                    return self.of(self.kept_array(module, attribute, x))
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
        tensor = Tensor(example)
        self.input(tensor, Value(self.free(name), example, "drawn", draw=draw))
        return tensor

    def kept(self, owner: Any, attribute: str) -> Tensor:
        self.mode(owner)
        home = Home(lambda: getattr(owner, attribute), lambda new: setattr(owner, attribute, np.array(new)))
        return self.living(owner, attribute, attribute, home)

    def kept_array(self, owner: Module, attribute: str, array: Any) -> Tensor:
        """A tensor for an array, or a tensor without gradient, that is an attribute of a module."""
        home = Home(lambda: array_of(getattr(owner, attribute)), lambda new: None)
        tensor = self.living(owner, attribute, attribute, home)
        self.remember(array, self.of(tensor))
        return tensor

    def living(self, owner: Any, attribute: str, name: str, home: Home) -> Tensor:
        """A tensor for what stays in `home` from step to step."""
        key = (id(owner), attribute)
        if key not in self.homes:
            tensor = self.homes[key] = Tensor(home.read())
            tensor.data = _for_reading(tensor.data)
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
                    if id(tensor.grad) not in self.values:  # left over from before: whoever uses it is told
                        self.gradients.append(tensor)
                        continue
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
        rate, count = optimizer.lr, optimizer.steps + 1
        if self.again:  # a number that does not remember how it was made will be another one
            rate, count = 0.75 * rate, count + 3
        lr, step = Number(rate, self.free("lr")), Number(count, self.free("t"))
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
                new, new_state = optimizer.update(parameter, self.gradient_of(parameter), state, lr, step)
                self.update(param, new)
                for old, memory in zip(state, new_state, strict=True):
                    self.update(self.of(old), memory)
        self.section = "forward"

    def clipped(self, parameters: Sequence[Tensor], max_norm: float) -> Tensor:
        before, self.section = self.section, "backward"
        with recorded(False):
            norm, gradients = clipped([self.gradient_of(p) for p in parameters], max_norm)
        for parameter, g in zip(parameters, gradients, strict=True):
            parameter.grad = g.data
        self.section = before
        assert isinstance(norm, Tensor)
        return norm

    def gradient_of(self, parameter: Tensor) -> Tensor:
        """A tensor for a gradient, so that what becomes of it is heard."""
        if id(parameter.grad) not in self.values:
            raise TraceError(
                f"{parameter.label} has a gradient from before this step: call optimizer.zero_grad() in the step first"
            )
        tensor = Tensor(parameter.grad)
        self.remember(tensor, self.values[id(parameter.grad)])
        return tensor


def _write(parameter: Tensor, new: Array) -> None:
    parameter.data[...] = new


def _slot(optimizer: Any, i: int, k: int) -> Home:
    def write(new: Array) -> None:
        optimizer.state[i][k][...] = new

    return Home(lambda: optimizer.state[i][k], write)


def _for_reading(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _check_same(program: Program, other: Program) -> None:
    """Raise if the step has done something else for other data: then it depends on values."""
    mine = [_written(i) for i in program.instructions]
    theirs = [_written(i) for i in other.instructions]
    if mine == theirs and _answered(program) != _answered(other):
        raise TraceError(
            "the step returns or updates something else for other data: return the same tensors each time, chosen "
            "element by element with where(condition, a, b)"
        )
    if mine != theirs:
        k = next((k for k, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
        i = (program if k < len(mine) else other).instructions[k]
        raise TraceError(
            f"the step does something else, or with another number, for other data (first at {i.result.name} = "
            f"{i.op.name}(...)): an `if` on values, or a number taken out of .data. Choose element by element with "
            "where(condition, a, b), and compute with tensors all the way"
        )


def _written(i: Any) -> Any:
    inputs = tuple(_seen(x) if isinstance(x, Value) else getattr(x, "text", repr(x)) for x in i.inputs)
    return i.op.name, inputs, repr(sorted(i.params.items(), key=lambda item: item[0])), i.result.shape


def _seen(x: Value) -> Any:
    """A value as it must be again; of one that the step has made up itself, the numbers too."""
    return x.name, x.shape, x.example.tobytes() if x.role in ("constant", "fixed") else None


def _answered(program: Program) -> Any:
    made = {i.result: k for k, i in enumerate(program.instructions)}

    def which(x: Value) -> Any:
        return made.get(x, _seen(x))

    outputs = [(name, which(value)) for name, value in program.outputs.items()]
    return outputs, [(_seen(old), which(new)) for old, new in program.updates.items()]
