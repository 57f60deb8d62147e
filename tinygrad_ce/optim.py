"""Optimizers: each is a pure update(param, grad, state) -> (param, state), which `step()` applies to every parameter.

`update` is the definition, written with operators, so that it can be read, traced and printed; where Numba is there,
`step()` runs the kernel of the same arithmetic, in one pass and in place.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import EAGER, Array, Tensor, interpreter, next_serial, writes_to
from tinygrad_ce.source_lines import writer
from tinygrad_ce.variable import Variable

Schedule = Callable[[int], float]
State = tuple[Any, ...]
Memory = tuple[Variable, ...]


class Optimizer:
    """The base: holds the parameters, their state, the learning rate and the number of steps taken.

    parameters: tensors with requires_grad=True. lr: a number, or a schedule: a function of the step number from 0.
    Raises ValueError for no parameters or a learning rate that is not positive, TypeError for what is no parameter.
    """

    remembers: tuple[str, ...] = ()  # the names of what `state` holds of each parameter

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
        self.schedule = lr if callable(lr) else Constant(lr)
        self.steps = 0
        self.state = [self.initial_state(parameter.data) for parameter in self.parameters]

    @property
    def state(self) -> list[State]:
        """What is remembered of each parameter: arrays, in the order of `remembers`."""
        return [tuple(variable.data for variable in memory) for memory in self.memory]

    @state.setter
    def state(self, arrays: Sequence[State]) -> None:
        self.memory = [
            tuple(Variable(array, name=name) for name, array in zip(self.remembers, state, strict=False))
            for state in arrays
        ]

    @property
    def lr(self) -> float:
        """The learning rate of the coming step. Setting it makes it constant."""
        return self.rate(self.steps)

    @lr.setter
    def lr(self, value: float | Schedule) -> None:
        self.schedule = value if callable(value) else Constant(value)

    def rates(self, count: int) -> Array:
        """The learning rates of so many coming steps."""
        if type(self.schedule) is Constant:
            return np.full(count, self.schedule.rate)
        return np.array([self.rate(self.steps + k) for k in range(count)], float)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0. ValueError if the schedule gives no rate."""
        rate = self.schedule(step)
        if not (isinstance(rate, (int, float)) and 0 <= rate < math.inf):
            raise ValueError(f"{type(self).__name__}: the schedule gave lr={rate!r} for step {step}")
        return rate

    @property
    def next_step(self) -> int:
        """The number of the coming step, counted from 1."""
        return self.steps + 1

    def tick(self) -> None:
        """A step is done."""
        self.steps += 1

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next backward starts anew."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; one without is left as it is."""
        here = interpreter.get()
        kernels = _kernels() if here.read is EAGER.read else None  # loops in place; a tracer sees the definition
        clock = here.read(self)  # the optimizer itself, or what stands for it while tracing
        lr, step = clock.lr, clock.next_step
        version, line, update = next_serial(), writer(), self.update_in_place
        for parameter, memory in zip(self.parameters, self.memory, strict=True):
            grad, data = parameter.grad, parameter.data
            if grad is None:
                continue
            if grad.shape != data.shape:
                raise ValueError(f"{parameter.label} has shape {data.shape}, and its gradient has shape {grad.shape}")
            if kernels is not None and kernels.takes(data, grad, memory):
                update(kernels, data, grad, memory, lr, step)
                (parameter.writes or writes_to(parameter))[0], parameter.note = version, line
            elif memory and memory[0].data.shape != data.shape:
                raise ValueError(
                    f"{parameter.label} has shape {data.shape}, and had shape {memory[0].data.shape} when this "
                    "optimizer was made: its .data was replaced, so make a new optimizer"
                )
            else:
                state = tuple([here.read(m) for m in memory])
                new, new_state = self.update(here.read(parameter), here.read(grad), state, lr, step)
                here.write(parameter, new)
                for variable, value in zip(memory, new_state, strict=True):
                    here.write(variable, value)
        clock.tick()

    def initial_state(self, data: Array) -> State:
        """What the optimizer remembers of one parameter, before the first step."""
        return ()

    def update(self, param: Any, grad: Any, state: State, lr: Any, step: Any) -> tuple[Any, State]:
        """The new parameter and state, from the old ones; `step` counts from 1. Pure: nothing is written."""
        raise NotImplementedError

    def update_in_place(self, kernels: Any, param: Array, grad: Array, memory: Memory, lr: float, step: int) -> None:
        """The same arithmetic by a kernel, written into `param` and `memory`."""
        raise NotImplementedError


@functools.cache
def _kernels() -> Any:
    """The loops; they bring Numba in, so not before they are needed. None where there is no Numba."""
    from tinygrad_ce.kernels import optimizers

    return optimizers


class SGD(Optimizer):
    """Against the gradient: param -= lr * grad; with momentum, along a running sum of gradients.

    momentum: how much of the velocity stays (0.9 is usual). nesterov: look ahead along it.
    weight_decay: adds weight_decay * param to the gradient.
    Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    remembers = ("velocity",)

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float | Schedule = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        _in_range("SGD", 0, 1, momentum=momentum)
        _not_negative("SGD", weight_decay=weight_decay)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov=True looks ahead along the momentum, which is 0: pass momentum=0.9")
        self.momentum, self.nesterov, self.weight_decay = float(momentum), nesterov, float(weight_decay)
        super().__init__(parameters, lr)

    def initial_state(self, data: Array) -> State:
        return (np.zeros_like(data),) if self.momentum else ()

    def update(self, param: Any, grad: Any, state: State, lr: Any, step: Any) -> tuple[Any, State]:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        if not self.momentum:
            return param - lr * grad, ()
        velocity = self.momentum * state[0] + grad
        direction = grad + self.momentum * velocity if self.nesterov else velocity
        return param - lr * direction, (velocity,)

    def update_in_place(self, kernels: Any, param: Array, grad: Array, memory: Memory, lr: float, step: int) -> None:
        if not self.momentum:
            kernels.sgd(param, grad, lr, self.weight_decay)
        else:
            velocity = memory[0].data
            kernels.sgd_momentum(param, grad, velocity, lr, self.momentum, self.nesterov, self.weight_decay)


class Adam(Optimizer):
    """Each element with a step size of its own: the mean of its gradients over the root of their mean square.

    betas: how slowly the two means follow, in [0, 1). eps: keeps the root from 0. weight_decay: added to the gradient.
    Source: D. Kingma, J. Ba, "Adam: A method for stochastic optimization", 2015, algorithm 1.
    """

    decoupled = False
    remembers = ("mean", "square")

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        name = type(self).__name__
        if not isinstance(betas, Sequence) or len(betas) != 2:
            raise ValueError(f"{name}: betas={betas!r} must be two numbers, as in (0.9, 0.999)")
        _in_range(name, 0, 1, beta1=betas[0], beta2=betas[1])
        _not_negative(name, eps=eps, weight_decay=weight_decay)
        self.betas = float(betas[0]), float(betas[1])
        self.eps, self.weight_decay = float(eps), float(weight_decay)
        super().__init__(parameters, lr)

    def initial_state(self, data: Array) -> State:
        return np.zeros_like(data), np.zeros_like(data)

    def update(self, param: Any, grad: Any, state: State, lr: Any, step: Any) -> tuple[Any, State]:
        beta1, beta2 = self.betas
        if self.weight_decay and not self.decoupled:
            grad = grad + self.weight_decay * param
        mean = beta1 * state[0] + (1 - beta1) * grad
        square = beta2 * state[1] + (1 - beta2) * (grad * grad)
        root = (square / (1 - beta2**step)) ** 0.5
        new = param - lr / (1 - beta1**step) * mean / (root + self.eps)
        if self.weight_decay and self.decoupled:
            new = new - lr * self.weight_decay * param
        return new, (mean, square)

    def update_in_place(self, kernels: Any, param: Array, grad: Array, memory: Memory, lr: float, step: int) -> None:
        mean, square = (variable.data for variable in memory)
        decay = self.weight_decay
        added, taken = (0.0, lr * decay) if self.decoupled else (decay, 0.0)
        correction1, correction2 = 1 - self.betas[0] ** step, 1 - self.betas[1] ** step
        rate = lr / correction1
        kernels.adam(param, grad, mean, square, rate, *self.betas, correction2, self.eps, added, taken)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself, not through the gradient's statistics.

    Source: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)


class RMSprop(Optimizer):
    """The gradient over the root of its running mean square.

    decay: how slowly the mean follows. eps: keeps the root from 0. weight_decay: added to the gradient.
    Source: G. Hinton, "Neural networks for machine learning", lecture 6e, 2012.
    """

    remembers = ("square",)

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float | Schedule = 1e-2,
        decay: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        _in_range("RMSprop", 0, 1, decay=decay)
        _not_negative("RMSprop", eps=eps, weight_decay=weight_decay)
        self.decay, self.eps, self.weight_decay = float(decay), float(eps), float(weight_decay)
        super().__init__(parameters, lr)

    def initial_state(self, data: Array) -> State:
        return (np.zeros_like(data),)

    def update(self, param: Any, grad: Any, state: State, lr: Any, step: Any) -> tuple[Any, State]:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        square = self.decay * state[0] + (1 - self.decay) * (grad * grad)
        return param - lr * grad / (square**0.5 + self.eps), (square,)

    def update_in_place(self, kernels: Any, param: Array, grad: Array, memory: Memory, lr: float, step: int) -> None:
        kernels.rmsprop(param, grad, memory[0].data, lr, self.decay, self.eps, self.weight_decay)


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients down together so that their joint norm is at most max_norm; returns the norm before.

    Source: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    _positive("clip_grad_norm", max_norm=max_norm)
    holders = [parameter for parameter in parameters if parameter.grad is not None]
    grads = [interpreter.get().read(parameter.grad) for parameter in holders]
    if any(isinstance(g, Tensor) for g in grads):  # a program is being traced: numbers differ from step to step
        joint, clipped = clip(grads, max_norm)
        for parameter, g in zip(holders, clipped, strict=True):
            parameter.grad = g.data
        return joint  # type: ignore[no-any-return]
    # hypot scales before it squares: exploded gradients, which this is for, would overflow.
    norm: float = math.hypot(*(_norm(parameter.grad) for parameter in holders))
    if norm > max_norm:
        for parameter in holders:
            parameter.grad = np.asarray(parameter.grad / norm * max_norm, parameter.dtype)  # type: ignore[operator]
    return norm


def clip(grads: Sequence[Any], max_norm: float) -> tuple[Any, list[Any]]:
    """What `clip_grad_norm` does, as a function of the gradients, written with operators: the norm, and the new ones.

    Sums of squares are taken in float64, where those of exploded float32 gradients do not overflow (norms to 1e154).
    """
    squares = [ops.reduce_sum(ops.astype(g, dtype=np.dtype(float)) ** 2) for g in grads]
    norm = ops.sqrt(functools.reduce(operator.add, squares))
    factor = max_norm / ops.maximum(norm, max_norm)
    return norm, [g * ops.astype(factor, dtype=g.dtype) for g in grads]


def _norm(grad: Any) -> float:
    wide = grad.astype(np.float64, copy=False)
    largest = float(np.abs(wide).max()) if grad.size else 0.0
    if not 0 < largest < math.inf:
        return largest
    return largest * float(np.linalg.norm((wide / largest).reshape(-1)))


# ---- schedules: functions of the step number, from 0


class Constant:
    """The same rate at every step."""

    def __init__(self, lr: float) -> None:
        _positive("learning rate", lr=lr)
        self.rate = float(lr)

    def __call__(self, step: int) -> float:
        return self.rate


class StepDecay:
    """The rate times `factor` after every `every` steps.

    >>> [StepDecay(1.0, every=2, factor=0.1)(step) for step in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """

    def __init__(self, lr: float, every: int, factor: float = 0.1) -> None:
        _positive("StepDecay", lr=lr, every=every, factor=factor)
        self.rate, self.every, self.factor = float(lr), every, factor

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** (step // self.every)


class Cosine:
    """From lr down to `final` along half a cosine, over `steps` steps; then it stays.

    Source: I. Loshchilov, F. Hutter, "SGDR", 2017, eq. 5.

    >>> [round(Cosine(1.0, steps=2)(step), 3) for step in range(4)]
    [1.0, 0.5, 0.0, 0.0]
    """

    def __init__(self, lr: float, steps: int, final: float = 0.0) -> None:
        _positive("Cosine", lr=lr, steps=steps)
        _not_negative("Cosine", final=final)
        self.rate, self.steps, self.final = float(lr), steps, final

    def __call__(self, step: int) -> float:
        share = min(step / self.steps, 1.0)
        return self.final + (self.rate - self.final) * (1 + math.cos(math.pi * share)) / 2


class WarmUp:
    """From near 0 up in a straight line over `steps` steps, then as `after` says (a rate, or a schedule from there).

    >>> [WarmUp(1.0, steps=4)(step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(self, after: float | Schedule, steps: int) -> None:
        _positive("WarmUp", steps=steps)
        self.after = after if callable(after) else Constant(after)
        self.steps = steps

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return self.after(0) * (step + 1) / self.steps
        return self.after(step - self.steps)


def _positive(name: str, **values: Any) -> None:
    for argument, value in values.items():
        if not (isinstance(value, (int, float, np.number)) and 0 < value < math.inf):
            raise ValueError(f"{name}: {argument}={value!r} must be a positive number")


def _not_negative(name: str, **values: Any) -> None:
    for argument, value in values.items():
        if not (isinstance(value, (int, float, np.number)) and 0 <= value < math.inf):
            raise ValueError(f"{name}: {argument}={value!r} must be a number that is not negative")


def _in_range(name: str, low: float, high: float, **values: Any) -> None:
    for argument, value in values.items():
        if not (isinstance(value, (int, float, np.number)) and low <= value < high):
            raise ValueError(f"{name}: {argument}={value!r} must lie in [{low}, {high})")
