"""The update rules: SGD, Adam, AdamW, RMSprop, AdaGrad, each as a definition and as a kernel of the same arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.optim.arguments import in_range, not_negative
from tinygrad_ce.optim.base import Memory, Optimizer, State
from tinygrad_ce.optim.schedules import Schedule


class SGD(Optimizer):
    """Against the gradient: param -= lr * grad; with momentum, along a running sum of gradients.

    parameters: tensors with requires_grad=True. lr: a number or a schedule.
    momentum: how much of the velocity stays (0.9 is usual). nesterov: look ahead along it.
    weight_decay: adds weight_decay * param to the gradient.
    Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> tg.optim.SGD([w], lr=0.1).step()
    >>> w.data
    array([0.8])
    """

    remembers, symbols = ("velocity",), ("v",)

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float | Schedule = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        in_range("SGD", 0, 1, momentum=momentum)
        not_negative("SGD", weight_decay=weight_decay)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov=True looks ahead along the momentum, which is 0: pass momentum=0.9")
        self.momentum, self.nesterov, self.weight_decay = float(momentum), nesterov, float(weight_decay)
        super().__init__(parameters, lr)

    @property
    def rule_name(self) -> str:
        """What the update is called in a printed program."""
        return "nesterov" if self.nesterov else "sgd_momentum" if self.momentum else "sgd"

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

    parameters: tensors with requires_grad=True. lr: a number or a schedule.
    betas: how slowly the two means follow, in [0, 1). eps: keeps the root from 0. weight_decay: added to the gradient.
    Source: D. Kingma, J. Ba, "Adam: A method for stochastic optimization", 2015, algorithm 1.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> tg.optim.Adam([w], lr=0.1).step()
    >>> w.data.round(6)
    array([0.9])
    """

    decoupled = False
    remembers, symbols = ("mean", "square"), ("m", "v")

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
        in_range(name, 0, 1, beta1=betas[0], beta2=betas[1])
        not_negative(name, eps=eps, weight_decay=weight_decay)
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
        root = (square * (1 / (1 - beta2**step))) ** 0.5  # one division for all, instead of one for each
        if self.weight_decay and self.decoupled:
            param = param - lr * self.weight_decay * param
        change = lr / (1 - beta1**step) * mean / (root + self.eps)
        return param - change, (mean, square)

    def update_in_place(self, kernels: Any, param: Array, grad: Array, memory: Memory, lr: float, step: int) -> None:
        mean, square = (variable.data for variable in memory)
        decay = self.weight_decay
        added, taken = (0.0, lr * decay) if self.decoupled else (decay, 0.0)
        correction1, correction2 = 1 - self.betas[0] ** step, 1 - self.betas[1] ** step
        rate = lr / correction1
        kernels.adam(param, grad, mean, square, rate, *self.betas, correction2, self.eps, added, taken)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself, not through the gradient's statistics.

    parameters, lr, betas, eps: as for `Adam`. weight_decay: the share of lr by which each parameter shrinks in a step.
    Source: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> tg.optim.AdamW([w], lr=0.1).step()
    >>> w.data.round(6)
    array([0.899])
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

    parameters: tensors with requires_grad=True. lr: a number or a schedule.
    decay: how slowly the mean follows. eps: keeps the root from 0. weight_decay: added to the gradient.
    Source: G. Hinton, "Neural networks for machine learning", lecture 6e, 2012.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> tg.optim.RMSprop([w], lr=0.1).step()
    >>> w.data.round(6)
    array([0.])
    """

    remembers, symbols = ("square",), ("v",)

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float | Schedule = 1e-2,
        decay: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        in_range("RMSprop", 0, 1, decay=decay)
        not_negative("RMSprop", eps=eps, weight_decay=weight_decay)
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


class AdaGrad(Optimizer):
    """Each element with a step size of its own, which only shrinks: over the root of the sum of its squared gradients.

    parameters: tensors with requires_grad=True. lr: a number or a schedule.
    eps: keeps the root from 0. weight_decay: added to the gradient. Good for gradients that are mostly 0 (words).
    Source: J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning", 2011.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> tg.optim.AdaGrad([w], lr=0.1).step()
    >>> w.data.round(6)
    array([0.9])
    """

    remembers, symbols = ("total",), ("v",)

    def __init__(
        self, parameters: Iterable[Tensor], lr: float | Schedule = 1e-2, eps: float = 1e-10, weight_decay: float = 0.0
    ) -> None:
        not_negative("AdaGrad", eps=eps, weight_decay=weight_decay)
        self.eps, self.weight_decay = float(eps), float(weight_decay)
        super().__init__(parameters, lr)

    def initial_state(self, data: Array) -> State:
        return (np.zeros_like(data),)

    def update(self, param: Any, grad: Any, state: State, lr: Any, step: Any) -> tuple[Any, State]:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        total = state[0] + grad * grad
        return param - lr * grad / (total**0.5 + self.eps), (total,)

    def update_in_place(self, kernels: Any, param: Array, grad: Array, memory: Memory, lr: float, step: int) -> None:
        kernels.adagrad(param, grad, memory[0].data, lr, self.eps, self.weight_decay)
