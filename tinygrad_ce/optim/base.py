"""The base of all optimizers: what a step is, and what an optimizer remembers from one step to the next.

`update` is the definition, written with operators, so that it can be read, traced and printed; where Numba is there,
`step()` runs the kernel of the same arithmetic, in one pass and in place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import EAGER, Array, Tensor, interpreter, next_serial, writes_to
from tinygrad_ce.optim.arguments import real_number
from tinygrad_ce.optim.schedules import Constant, Schedule, as_schedule
from tinygrad_ce.report.words import format_number, listed, several
from tinygrad_ce.source_lines import warn, writer
from tinygrad_ce.variable import Variable

State = tuple[Any, ...]
Memory = tuple[Variable, ...]


class _Described:
    """What an optimizer says of itself: how much it trains, and how far it has come."""

    def __repr__(self: Any) -> str:
        parameters, steps = several(len(self.parameters), "parameter"), several(self.steps, "step")
        return f"{type(self).__name__}({parameters}, lr={format_number(self.lr)}, {steps} taken)"


class Optimizer(_Described):
    """The base: holds the parameters, what it remembers of each, the learning rate and the number of steps taken.

    parameters: tensors with requires_grad=True. lr: a number, or a schedule: a function of the step number from 0.
    memory: of each parameter the Variables named in `remembers`, in float32 for a float16 parameter.
    steps: how many steps there were; one in which no parameter had a gradient is none. missed: of each parameter, in
    how many of them it had no gradient; `count(i)` is the number of its coming update.
    Raises ValueError for no parameters or a learning rate that is not positive, TypeError for what is no parameter.
    """

    remembers: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()  # what formulas call that, in the same order

    def __init__(self, parameters: Iterable[Tensor], lr: float | Schedule) -> None:
        if not isinstance(parameters, Iterable) or isinstance(parameters, Tensor):
            kind = type(parameters).__name__
            raise TypeError(
                f"{type(self).__name__}: parameters is {kind}; it must be a list, as model.parameters() gives"
            )
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError(f"{type(self).__name__}: there are no parameters to learn")
        for i, parameter in enumerate(self.parameters):
            if not isinstance(parameter, Tensor) or not parameter.requires_grad or parameter.op is not None:
                raise TypeError(
                    f"{type(self).__name__}: parameter {i} is {parameter!r:.60}; it must be a Tensor made with "
                    "requires_grad=True (model.parameters() gives them)"
                )
        if len({parameter.serial for parameter in self.parameters}) < len(self.parameters):
            raise ValueError(f"{type(self).__name__}: a parameter is given twice, and would be updated twice")
        self.schedule = as_schedule(lr)
        self.steps = 0
        self.missed = [0] * len(self.parameters)
        self.memory = [self._initial_memory(parameter.data) for parameter in self.parameters]

    def _initial_memory(self, data: Array) -> Memory:
        state = self.initial_state(data.astype(_computed_in(data.dtype)))
        variables = [Variable(np.array(array, order="C")) for array in state]  # the kernels want rows without gaps
        for variable, name in zip(variables, self.remembers, strict=False):
            variable.name = name
        return tuple(variables)

    @property
    def lr(self) -> float:
        """The learning rate of the coming step. Setting it, to a number or a schedule, replaces the schedule."""
        return self.rate(self.steps)

    @lr.setter
    def lr(self, value: float | Schedule) -> None:
        self.schedule = as_schedule(value)

    def rates(self, count: int) -> Array:
        """The learning rates of so many coming steps."""
        if type(self.schedule) is Constant:
            return np.full(count, self.schedule.rate)
        return np.array([self.rate(self.steps + k) for k in range(count)], float)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0. ValueError if the schedule gives no rate."""
        answer = self.schedule(step)
        rate = answer if type(answer) is float else real_number(answer)
        if not 0 <= rate < math.inf:
            raise ValueError(
                f"{type(self).__name__}: the schedule gave lr={answer!r} for step {step}; it must return a finite "
                "number that is not negative"
            )
        return rate

    def count(self, i: int) -> int:
        """The number of the coming update of parameter i, counted from 1: Adam corrects its bias by it."""
        return self.steps + 1 - self.missed[i]

    def tick(self, without: Sequence[int] = (), steps: int = 1) -> None:
        """Count some steps, in which the parameters at these positions had no gradient; none, if those are all."""
        if len(without) == len(self.parameters):
            warn(
                f"{type(self).__name__}.step(): no parameter has a gradient, so nothing was done and the step does not "
                "count: call loss.backward() first, and zero_grad() before it"
            )
            return
        self.steps += steps
        for i in without:
            self.missed[i] += steps

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next backward starts anew."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; one without is left as it is.

        Warns if none has one: nothing is done then, and the step does not count. Raises ValueError or TypeError for a
        gradient that is no array of its parameter's shape, and says if parameters before it were updated by then: to
        look at all of them first would make every step slower by a tenth.
        """
        here = interpreter.get()
        in_place = here.read is EAGER.read and here.write is EAGER.write  # a tracer sees the definition
        kernels = _kernels() if in_place else None
        clock = here.read(self)  # the optimizer itself, or what stands for it while tracing
        lr = clock.lr
        version, line, update = next_serial(), writer(), self.update_in_place
        coming, without = self.steps + 1, []
        for i, (parameter, memory, missed) in enumerate(zip(self.parameters, self.memory, self.missed, strict=True)):
            grad, data = parameter.grad, parameter.data
            if grad is None:
                without.append(i)
                continue
            try:
                alike = grad.shape == data.shape
            except AttributeError:
                alike = False
            if not alike:
                self._refuse(i, len(without))
            if kernels is not None and kernels.takes(data, grad, memory):
                update(kernels, data, grad, memory, lr, coming - missed)
                (parameter.writes or writes_to(parameter))[0], parameter.note = version, line
            elif memory and memory[0].data.shape != data.shape:
                self._refuse(i, len(without))
            else:
                param, g = here.read(parameter), here.read(grad)
                state = tuple([here.read(m) for m in memory])
                new, new_state = clock.computed_update(param, g, state, lr, clock.count(i))
                here.write(parameter, new)
                for variable, value in zip(memory, new_state, strict=True):
                    here.write(variable, value)
        clock.tick(without)

    def _refuse(self, i: int, without: int) -> NoReturn:
        """Say why parameter i cannot be updated, and how many have been; so many before it are without a gradient."""
        parameter = self.parameters[i]
        label, shape, grad = parameter.label, parameter.data.shape, parameter.grad
        updated = i - without
        done = f" (in this step, {updated} before it {'was' if updated == 1 else 'were'} updated)" if updated else ""
        if not isinstance(grad, (np.ndarray, np.generic, Tensor)):
            kind = type(grad).__name__
            raise TypeError(f"the gradient of {label} is a {kind}; write {label}.grad = np.array(...){done}")
        if grad.shape != shape:
            raise ValueError(f"{label} has shape {shape}, and its gradient has shape {grad.shape}{done}")
        raise ValueError(
            f"{label} has shape {shape}, and had shape {self.memory[i][0].data.shape} when this optimizer was made: "
            f"its .data was replaced, so make a new optimizer{done}"
        )

    def state(self) -> dict[str, Any]:
        """Copies of all that the coming steps depend on, by name: numbers and arrays, which can be saved as they are.

        "steps"; "updates": how often each parameter was updated; "0.mean" and the like: what `remembers` names, of
        parameter 0; "lr" where the rate is constant, or what the schedule remembers, as "schedule.best".

        >>> w = Tensor([1.0, 2.0], requires_grad=True); w.grad = np.array([1.0, -1.0])
        >>> optimizer = tg.optim.SGD([w], lr=0.5, momentum=0.9); optimizer.step(); optimizer.state()
        {'steps': 1, 'updates': array([1]), 'lr': 0.5, '0.velocity': array([ 1., -1.])}
        """
        counts = {"steps": self.steps, "updates": self.steps - np.array(self.missed)}
        arrays = {f"{i}.{v.name}": v.data.copy() for i, memory in enumerate(self.memory) for v in memory}
        return counts | _state_of_schedule(self.schedule) | arrays

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another optimizer for parameters of the same shapes has left off: state is what `state()` gave.

        A constant learning rate is restored. A schedule stays the one that this optimizer was made with, and goes on
        at the number of steps. Raises ValueError, and changes nothing, if names, shapes or dtypes differ.
        """
        arrays = checked_state(self, state)
        for i, memory in enumerate(self.memory):
            for variable in memory:
                variable.data = np.array(arrays[f"{i}.{variable.name}"], variable.dtype, order="C")
        self.steps = int(arrays["steps"])
        self.missed = [self.steps - int(updates) for updates in arrays["updates"]]
        of_schedule = {name: arrays[name].item() for name in _state_of_schedule(self.schedule) if name in arrays}
        if isinstance(self.schedule, Constant) and of_schedule:
            self.lr = of_schedule["lr"]
        elif of_schedule:
            self.schedule.restore({name.removeprefix("schedule."): x for name, x in of_schedule.items()})  # type: ignore[attr-defined]

    def computed_update(self, param: Any, grad: Any, state: State, lr: Any, step: Any) -> tuple[Any, State]:
        """`update`, computed in float32 at least and in this machine's byte order; the parameter in its own dtype."""
        new, new_state = self.update(_in_a_wide_dtype(param), _in_a_wide_dtype(grad), state, lr, step)
        return new if new.dtype == param.dtype else ops.astype(new, dtype=param.dtype), new_state

    @property
    def rule_name(self) -> str:
        """What the update is called in a printed program."""
        return type(self).__name__.lower()

    def initial_state(self, data: Array) -> State:
        """What the optimizer remembers of one parameter, before the first step."""
        return ()

    def update(self, param: Any, grad: Any, state: State, lr: Any, step: Any) -> tuple[Any, State]:
        """The new parameter and state, from the old ones; step: which update of this parameter it is, from 1. Pure."""
        raise NotImplementedError

    def update_in_place(self, kernels: Any, param: Array, grad: Array, memory: Memory, lr: float, step: int) -> None:
        """The same, written into `param` and `memory`: here by the definition, in subclasses by a kernel."""
        new, state = self.update(param, grad, tuple([variable.data for variable in memory]), lr, step)
        param[...] = new
        for variable, value in zip(memory, state, strict=True):
            variable.data[...] = value


def _state_of_schedule(schedule: Schedule) -> dict[str, float]:
    if isinstance(schedule, Constant):
        return {"lr": schedule.rate}
    remembered = schedule.state() if hasattr(schedule, "state") else {}
    return {f"schedule.{name}": value for name, value in remembered.items()}


def checked_state(optimizer: Optimizer, state: Mapping[str, Any]) -> dict[str, Array]:
    """The state as arrays, if it fits this optimizer; ValueError in words if not, TypeError for what is no mapping."""
    name = f"{type(optimizer).__name__}.restore"
    if not isinstance(state, Mapping):
        raise TypeError(f"{name}: the state is {type(state).__name__}; pass the dict that optimizer.state() gave")
    arrays = {key: np.asarray(value) for key, value in state.items()}
    expected = {key: np.asarray(value) for key, value in optimizer.state().items() if not _is_of_schedule(key)}
    missing = [key for key in expected if key not in arrays]
    unknown = [key for key in arrays if key not in expected and not _is_of_schedule(key)]
    if missing or unknown:
        raise ValueError(
            f"{name}: this is the state of another kind of optimizer, or of other parameters: it lacks "
            f"{listed(missing) or 'nothing'}, and has besides {listed(unknown) or 'nothing'}; this one "
            f"has {len(optimizer.parameters)} parameters and remembers {', '.join(optimizer.remembers) or 'nothing'}"
        )
    for key, own in expected.items():
        array = arrays[key]
        if array.shape != own.shape or (array.dtype.newbyteorder("=") != own.dtype and key not in ("steps", "updates")):
            raise ValueError(
                f"{name}: {key} has shape {array.shape} and dtype {array.dtype}, and here it has shape {own.shape} and "
                f"dtype {own.dtype}: make the model with the sizes and the dtype that it had"
            )
    steps, updates = arrays["steps"], arrays["updates"]
    whole = steps.dtype.kind in "iu" and updates.dtype.kind in "iu"
    if not whole or (updates < 0).any() or (updates > steps).any():
        raise ValueError(f"{name}: steps={steps} and updates={updates} must be whole numbers, 0 <= updates <= steps")
    return arrays


def _is_of_schedule(key: str) -> bool:
    return key == "lr" or key.startswith("schedule.")


def _computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype for computing with numbers that are stored in this one: float16 squares would underflow."""
    return np.promote_types(dtype, np.float32)


def _in_a_wide_dtype(x: Any) -> Any:
    dtype = _computed_in(x.dtype)
    return x if x.dtype == dtype else ops.astype(x, dtype=dtype)


@functools.cache
def _kernels() -> Any:
    """The loops; they bring Numba in, so not before they are needed. None where there is no Numba."""
    from tinygrad_ce.kernels import optimizers

    return optimizers
