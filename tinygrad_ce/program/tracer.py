"""The interpreter under which a step is traced: what calls, backward passes and effects mean meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from tinygrad_ce.backward import recording, walk
from tinygrad_ce.core import Array, Primitive, Tensor, array_of, interpreted
from tinygrad_ce.nn import Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.optim.clipping import clip
from tinygrad_ce.program.effects import OutdatedError, TraceError
from tinygrad_ce.program.ir import Function, Named, Number, Value
from tinygrad_ce.program.names import calling_frames, running_frames, tidy, variables_of
from tinygrad_ce.program.record import Writer
from tinygrad_ce.source_lines import Line, is_ours, users_line
from tinygrad_ce.variable import Attribute, Variable


class Tracer(Writer):
    """The interpreter under which a step runs: it writes calls and effects down, and makes a program of them.

    modules: those whose modes and fixed arrays the step may depend on. array_names: by their ids, what the arrays that
    the step refers to are called. computes_outside: whether it may compute arrays from its data outside of tensors.
    again: with other data, and other learning rates.
    """

    def __init__(
        self, modules: Sequence[Module], array_names: dict[int, str], computes_outside: bool, again: bool = False
    ) -> None:
        super().__init__()
        self.modules, self.array_names, self.computes_outside = modules, array_names, computes_outside
        self.again = again
        self.updates: dict[Value, Value] = {}
        self.numbers: dict[str, Callable[[int], Array]] = {}
        self.optimizers: dict[Optimizer, list[int]] = {}
        self.constants: dict[int, Tensor] = {}  # tensors for arrays that were not computed in the step, by their ids
        self.checks: list[tuple[Value, Callable[[Array], Any]]] = []
        self.parameters: list[tuple[Tensor, Array]] = []  # with a copy of what they were
        self.visible: Sequence[Tensor] = ()  # parameters that the step refers to
        self.left_over: list[Tensor] = []  # parameters that had a gradient before the step
        self.derived: set[int] = set()  # the ids of tensors that are computed from gradients which the step has read
        self.symbols: dict[int, str] = {}  # what formulas call an optimizer's memory, by id
        self.updating = ""  # the parameter whose update is being written
        self.bound: dict[int, str] = {}  # the Python variables after which tensors are called, by id
        self.update_frames: list[FrameType] = []  # those of an optimizer's `update`
        self.frames: dict[FrameType, int] = {}  # the user's calls in which operations were called, each with its depth
        self.loss: Tensor | None = None

    @contextmanager
    def interpreting(self) -> Iterator[None]:
        """Inside, this is the interpreter; at the end, parameters are what they were."""
        seam = interpreted(
            self.call, walk=self.walk, read=self.read, write=self.write, draw=self.draw, numbers=self.numbers_of
        )
        with seam, self.leaving_parameters():
            yield

    def forget_gradients(self) -> None:
        """Set the gradients of all tensors of the step to None."""
        for tensor in (x for x in self.alive if isinstance(x, Tensor)):
            tensor.grad = None

    def example(self, x: Any, name: str) -> Tensor:
        """A tensor for one of the arrays that the step is called with."""
        tensor = Tensor(array_of(x), requires_grad=isinstance(x, Tensor) and x.requires_grad)
        tensor.data = for_reading(tensor.data)  # an array of its own: the same one may be passed twice
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

    def program(self, answer: Any) -> Function:
        """The program of the recorded step, which returns this answer."""
        single = not isinstance(answer, (tuple, list))
        answers = () if answer is None else (answer,) if single else tuple(answer)
        self.give_users_names()
        self.frames.clear()
        outputs: dict[str, Value] = {}
        for number, tensor in enumerate(answers, start=1):
            if not isinstance(tensor, Tensor):
                raise TraceError(
                    f"the step returns {type(tensor).__name__}; a program returns what tensors become: return the "
                    "tensor itself (a loss, predictions), without .item() or .data"
                )
            value, named = self.of(tensor), id(tensor) in self.reserved or id(tensor) in self.bound
            if value.role == "result" and not named and value not in outputs.values():
                value.name = self.free("loss" if tensor is self.loss else "out")
            outputs[value.name if value.name not in outputs else f"{value.name}_{number}"] = value
        shapes = ", ".join(f"{x.name} {x.shape} {x.dtype}" for x in self.inputs if x.role == "input")
        fixed = [f"shapes and dtypes: {shapes}"] if shapes else []
        constants = ", ".join(f"{x.name} {x.shape}" for x in self.inputs if x.role == "fixed")
        fixed += [f"the numbers in {constants}"] if constants else []
        fixed += dict.fromkeys(_mode_in_words(module) for module in self.modules if _depends_on_mode(module))
        rest = self.numbers, self.optimizers, fixed, self.checks, single
        return Function(self.inputs, self.instructions, outputs, self.updates, *rest)

    def note_frames(self) -> None:
        """Keep the frames of the user's code that is running: their variables are read when names are needed."""
        if self.section == "update":  # its variables are names inside of a function of its own
            self.update_frames += [frame for frame in running_frames() if frame.f_code.co_name == "update"][:1]
            return
        # `clip` has good names for what it does, so its variables count as the user's.
        frames = [frame for frame in running_frames() if not is_ours(frame) or frame.f_code is clip.__code__]
        self.frames |= {frame: len(frames) - k for k, frame in enumerate(frames)}

    def give_users_names(self) -> None:
        """Call results as the user has named them, which is done after their operations were written down."""
        self.variables = variables_of(sorted(self.frames, key=lambda frame: -self.frames[frame]))
        tensors = [x for x in self.alive if isinstance(x, Tensor) and self.values[id(x)].role == "result"]
        for tensor in sorted(tensors, key=lambda x: not x.name):
            name, names = self.users_name(tensor), self.reserved if tensor.name else self.bound
            if name and id(tensor) not in names and id(tensor) not in self.reserved:
                self.rename(self.values[id(tensor)], tidy(name))
                names[id(tensor)] = name

    def rename(self, value: Value, name: str) -> None:
        """Call a value as the user does; what has this name automatically gets another one."""
        other = self.automatic.pop(name, value)
        if other is not value:
            self.name_automatically(other, name.rstrip("0123456789"))
        elif value.name != name:
            name = self.free(name)
        value.name = name

    # ---- what a call and the effects mean

    def call(self, inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
        self.note_frames()
        before = self.section
        if before == "forward" and any(id(x) in self.derived for x in inputs):  # clip_grad_norm
            self.section = "backward"
        if before == "forward" and any(isinstance(x, Tensor) for x in inputs):
            inputs = tuple(self.constant(x) if isinstance(x, np.ndarray) else x for x in inputs)
        count = len(self.instructions)
        result = super().call(inner, op, inputs, params)
        if len(self.instructions) > count:
            self.instructions[-1].line = users_line()
        if self.section != before:
            self.derived.add(id(result))
            self.section = before
        if isinstance(result, Tensor) and not any(
            result.data is (x.data if isinstance(x, Tensor) else x) for x in inputs
        ):
            result.data.flags.writeable = False  # nobody would see what is written there
        return result

    def constant(self, x: Array) -> Tensor | Array:
        """A tensor for an array that no instruction computes, so that what rules do with it is recorded."""
        if id(x) not in self.values:
            self.constants[id(x)] = Tensor(x)
        return self.constants.get(id(x), x)

    def walk(
        self, inner: Any, of: Tensor, seed: Any, needed: Any = None, create_graph: bool = False, on_share: Any = None
    ) -> Iterator[tuple[Tensor, Any]]:
        """A backward pass whose rules run on Tensors, so that their calls are seen."""
        before, self.section = self.section, "backward"
        self.give_users_names()
        if needed is None:
            self.loss = of
        seed = seed if isinstance(seed, Tensor) else Tensor(seed)
        with recording(create_graph):
            for tensor, g in walk(of, seed, needed, True, on_share):
                if needed is None:
                    self.gradient(tensor, g)
                    if tensor.op is None and tensor.grad is not None and id(tensor.grad) not in self.values:
                        self.left_over.append(tensor)
                        tensor.grad = None
                yield tensor, g
        self.section = before

    def read(self, inner: Any, x: Any) -> Any:
        """A tensor for what a variable or gradient holds, or for a constant of a loss; of an optimizer, its clock."""
        if isinstance(x, np.ndarray):
            return self.gradient_of(x)
        if not isinstance(x, Tensor):
            return self.clock(x)
        if x.requires_grad:
            self.of(x).local, self.updating = "W", self.of(x).name
        elif isinstance(x, Variable):
            if id(x) not in self.values:
                symbol = self.symbols.get(id(x)) or tidy(x.name or "state")
                name = f"{symbol}_{self.updating}" if self.section == "update" else symbol
                self.input(x, Value(self.free(name), for_reading(x.data), "state", variable=x, local=symbol))
        elif id(x) not in self.values:  # weights that are an input of the step, or computed in it, are not fixed
            self.input(x, Value(self.free(tidy(x.name or "constant")), x.data, "fixed"))
        return x

    def write(self, inner: Any, variable: Tensor, new: Any) -> None:
        """What a variable holds after the step."""
        kept = self.of(variable)
        if kept in self.updates:
            raise TraceError(f"{kept.name} is updated twice in one step; trace a step with one update")
        self.updates[kept] = self.of(new if isinstance(new, Tensor) else Tensor(new))

    def draw(self, inner: Any, sample: Callable[..., Array], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
        """Random numbers: new ones in each step."""
        tensor = Tensor(np.ones(shape, dtype))
        draw = partial(sample, shape, dtype)
        self.input(tensor, Value(self.free(sample.__name__), tensor.data, "random", draw=draw))
        return tensor

    def numbers_of(self, inner: Any, x: Any, why: str | Callable[[Array], Any]) -> Array:
        """Numbers differ from step to step: a check of an input is made again in each run, and all else is refused."""
        if isinstance(why, str):
            raise TraceError(
                f"{why} the numbers of {x.name or 'a tensor'} (shape {x.shape}), which differ from step to step, so "
                "the program cannot hold what is done with them: choose element by element with "
                "where(condition, a, b), and return the tensor from the step to look at it"
            )
        value = self.values.get(id(x)) or self.values.get(id(array_of(x)))
        if value is not None and value.role == "input":
            self.checks.append((value, why))
        return array_of(x)

    def number(self, x: Any) -> Any:
        return x  # also one of NumPy's, with its dtype; if it depends on the data, the second trace has another one

    def unknown(self, x: Any, argument: str) -> Value:
        array = array_of(x)
        if isinstance(x, Tensor) and x.op is None and x.requires_grad:
            if self.section == "update":
                raise TraceError(f"{x.label} is used in the optimizer's update, and no step of the program has made it")
            self.parameters.append((x, array.copy()))
            name = x.name or variables_of(calling_frames()).get(id(x), "W")
            return self.input(x, Value(self.free(tidy(name)), array, "state", variable=x))
        for module in self.modules:  # a fixed array of a layer, such as a mask
            for attribute, value in vars(module).items():
                if value is x:
                    held = Attribute(module, attribute)
                    return self.input(x, Value(self.free(tidy(attribute)), for_reading(array), "state", variable=held))
        if self.section == "forward" and not self.computes_outside:  # the second trace must have the same array
            name = self.array_names.get(id(x)) or self.array_names.get(id(array), "constant")
            return self.input(x, Value(self.free(tidy(name)), for_reading(array.copy()), "fixed"))
        raise TraceError(from_outside(array, users_line()))

    def value(self, x: Any, argument: str) -> Any:
        value = super().value(x, argument)
        if isinstance(value, Value) and value in self.updates and self.section != "update":
            raise TraceError(f"{value.name} is used after it was updated: let the optimizer's step be the last line")
        return value

    def clock(self, optimizer: Optimizer) -> _Clock:
        """The learning rate and step counts of an optimizer as numbers of each step, until the end of its update."""
        if optimizer in self.optimizers:
            raise TraceError("an optimizer takes two steps in one; trace a step with one")
        rate = 0.75 * optimizer.lr if self.again else optimizer.lr
        # In `again`, a number that does not remember how it was made is another one.
        lr = Number(rate, "lr", {"lr": self.free("lr")})
        self.numbers[lr.text] = optimizer.rates
        for memory in optimizer.memory:
            self.symbols |= {id(x): symbol for x, symbol in zip(memory, optimizer.symbols, strict=False)}
        return _Clock(self, optimizer, lr)

    def gradient_of(self, grad: Array) -> Tensor:
        """A tensor for a gradient of this step, so that what is computed from it is recorded."""
        known = id(grad) in self.values
        for x in self.left_over if known else [*self.visible, *self.alive]:
            if isinstance(x, Tensor) and x.grad is grad:
                raise TraceError(
                    f"{x.label} has a gradient from before this step: call optimizer.zero_grad() in the step first"
                )
        if not known:
            raise TraceError("a gradient from outside of this step is used in it: compute it in the step")
        tensor = Tensor(grad)
        self.remember(tensor, self.values[id(grad)])
        self.derived.add(id(tensor))
        return tensor


class _Clock:
    """Stands for an optimizer while its update is written down: its learning rate and the numbers of coming updates."""

    def __init__(self, tracer: Tracer, optimizer: Optimizer, lr: Number) -> None:
        self.tracer, self.optimizer, self.lr = tracer, optimizer, lr
        self.alike: dict[int, tuple[Number, list[int]]] = {}  # by the steps missed: the number, and whose it is
        self.section, tracer.section = tracer.section, "update"
        self.rule = _with_named_numbers(optimizer)

    def count(self, i: int) -> Number:
        """The number of a parameter's coming update: the same for all that were updated equally often."""
        optimizer, missed = self.optimizer, self.optimizer.missed[i]
        if missed not in self.alike:
            positions: list[int] = []
            coming = optimizer.steps + 1 - missed + 3 * self.tracer.again
            number = Number(coming, "t", {"t": self.tracer.free("t")})
            self.tracer.numbers[number.text] = partial(_coming_updates, optimizer, positions)
            self.alike[missed] = number, positions
        number, positions = self.alike[missed]
        positions.append(i)
        return number

    def computed_update(self, *arguments: Any) -> Any:
        """The optimizer's own, with the names of its hyperparameters and variables."""
        tracer = self.tracer
        tracer.update_frames.clear()
        answer = self.rule.computed_update(*arguments)
        for key, name in variables_of(tracer.update_frames).items():
            if key in tracer.values:
                tracer.values[key].local = tracer.values[key].local or name
        return answer

    def tick(self, without: list[int]) -> None:
        """The update is whole; without: the parameters that have no gradient in this step."""
        self.tracer.section = self.section
        self.tracer.optimizers[self.optimizer] = without


def _with_named_numbers(optimizer: Optimizer) -> Optimizer:
    """A copy whose numbers know their names: `momentum`; of `betas`, `beta1` and `beta2`."""
    rule = copy(optimizer)
    for name, value in vars(optimizer).items():
        if type(value) is float:
            vars(rule)[name] = _named_number(value, name)
        elif type(value) is tuple and all(type(x) is float for x in value):
            numbers = (_named_number(x, f"{name.removesuffix('s')}{k}") for k, x in enumerate(value, start=1))
            vars(rule)[name] = tuple(numbers)
    return rule


def _named_number(value: float, name: str) -> Named:
    name = f"{name}_" if name in ("lr", "t") else tidy(name)  # these two are the numbers of the step
    return Named(value, name, {name: value})


def _coming_updates(optimizer: Optimizer, positions: list[int], steps: int) -> Array:
    """The numbers of so many coming updates of parameters that were updated equally often when the step was traced."""
    missed = {optimizer.missed[i]: optimizer.parameters[i].label for i in positions}
    if len(missed) > 1:
        labels = " and ".join([*missed.values()][:2])
        raise OutdatedError(
            f"{labels} had been updated equally often when the step was traced, and now have not: one had no gradient "
            "in some steps since then. Trace the step again"
        )
    (of_all,) = missed
    return optimizer.steps + 1 - of_all + np.arange(steps)


def from_outside(array: Array, line: Line | None) -> str:
    """Why an array cannot stand in a program, and what to write instead."""
    where = f"{line.short}: " if line else ""
    return (
        f"{where}an array of shape {array.shape} comes from outside of the step, or was computed in it from numbers "
        "that were taken out of tensors: pass it to the step as an input, or compute it with tensors: use tg.ops or "
        "NumPy's functions on the tensors themselves, not on .data"
    )


def _depends_on_mode(module: Module) -> bool:
    """Whether a module does in training what it does not do in evaluation: whether its forward asks."""
    return "training" in getattr(type(module).forward, "__code__", _depends_on_mode.__code__).co_names


def _mode_in_words(module: Module) -> str:
    mode = "training" if module.training else "evaluation"
    return f"the mode of {type(module).__name__.lower()} layers: {mode}"


def for_reading(array: Array) -> Array:
    """A view that nobody can write to."""
    view = array.view()
    view.flags.writeable = False
    return view
