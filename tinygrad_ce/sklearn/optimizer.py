"""Adam with scikit-learn's `epsilon`, and how its momentum goes on when the learning rate changes."""

from __future__ import annotations

from typing import Any

from tinygrad_ce.core import Array
from tinygrad_ce.optim import Adam, Optimizer
from tinygrad_ce.optim.base import Memory, State


class EpsilonHatAdam(Adam):
    """Adam whose eps is added before the bias of the mean square is corrected, as in scikit-learn.

    Source: D. Kingma, J. Ba, "Adam: A method for stochastic optimization", 2015, end of section 2 (epsilon hat).
    """

    def update(self, param: Any, grad: Any, state: State, lr: Any, step: Any) -> tuple[Any, State]:
        beta1, beta2 = self.betas
        mean = beta1 * state[0] + (1 - beta1) * grad
        square = beta2 * state[1] + (1 - beta2) * (grad * grad)
        rate = lr * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        return param - rate * mean / (square**0.5 + self.eps), (mean, square)

    def update_in_place(self, kernels: Any, param: Array, grad: Array, memory: Memory, lr: float, step: int) -> None:
        mean, square = (variable.data for variable in memory)
        correction1, correction2 = 1 - self.betas[0] ** step, 1 - self.betas[1] ** step
        eps = self.eps / correction2**0.5  # the kernel adds it after the correction
        kernels.adam(param, grad, mean, square, lr / correction1, *self.betas, correction2, eps, 0.0, 0.0)


def change_rate(optimizer: Optimizer, rate: float) -> None:
    """Another learning rate from now on; the last step goes on at its length, as in scikit-learn's momentum.

    Its velocity is in units of the parameters, ours in units of the gradients: so ours is rescaled.
    """
    before, optimizer.lr = optimizer.lr, rate
    if not isinstance(optimizer, Adam):
        for velocity in (variable for memory in optimizer.memory for variable in memory):
            velocity.data = velocity.data * velocity.dtype.type(before / rate)
