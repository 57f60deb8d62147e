"""The definition and the kernel of each optimizer, each against its paper in plain NumPy, for every option."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.core import interpreted
from tinygrad_ce.optim import SGD, AdaGrad, Adam, AdamW, RMSprop

START = np.random.default_rng(1).normal(size=(3, 2))
GRADS = [np.random.default_rng(k).normal(size=(3, 2)) for k in range(2, 9)]
LR = 0.05


def sgd(momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> np.ndarray:
    """Sutskever et al. 2013, with the velocity kept unscaled by lr, as PyTorch does."""
    p, v = START.copy(), np.zeros_like(START)
    for gradient in GRADS:
        g = gradient + weight_decay * p
        v = momentum * v + g
        p = p - LR * (g + momentum * v if nesterov else v)
    return p


def adam(
    betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0, decoupled: bool = False
) -> np.ndarray:
    """Kingma and Ba 2015, algorithm 1; decoupled: Loshchilov and Hutter 2019, algorithm 2."""
    p, m, v = START.copy(), np.zeros_like(START), np.zeros_like(START)
    for t, gradient in enumerate(GRADS, start=1):
        g = gradient if decoupled else gradient + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        step = (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        p = p - LR * (step + (weight_decay * p if decoupled else 0))
    return p


def rmsprop(decay: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0) -> np.ndarray:
    """Hinton 2012, lecture 6e."""
    p, s = START.copy(), np.zeros_like(START)
    for gradient in GRADS:
        g = gradient + weight_decay * p
        s = decay * s + (1 - decay) * g**2
        p = p - LR * g / (np.sqrt(s) + eps)
    return p


def adagrad(eps: float = 1e-10, weight_decay: float = 0.0) -> np.ndarray:
    """Duchi et al. 2011, the diagonal form of figure 1."""
    p, s = START.copy(), np.zeros_like(START)
    for gradient in GRADS:
        g = gradient + weight_decay * p
        s = s + g**2
        p = p - LR * g / (np.sqrt(s) + eps)
    return p


def options(**values: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


CASES: list[tuple[Any, Callable[..., np.ndarray], dict[str, Any]]] = [
    *((SGD, sgd, o) for o in options(momentum=[0.0, 0.9], nesterov=[False], weight_decay=[0.0, 0.3])),
    *((SGD, sgd, o) for o in options(momentum=[0.5], nesterov=[True], weight_decay=[0.0, 0.3])),
    *((Adam, adam, o) for o in options(betas=[(0.9, 0.999), (0.0, 0.5)], eps=[1e-8, 0.1], weight_decay=[0.0, 0.3])),
    *((RMSprop, rmsprop, o) for o in options(decay=[0.99, 0.5, 0.0], eps=[1e-8, 0.1], weight_decay=[0.0, 0.3])),
    *((AdaGrad, adagrad, o) for o in options(eps=[1e-10, 0.1], weight_decay=[0.0, 0.3])),
]
CASES += [
    (AdamW, lambda **o: adam(decoupled=True, **o), o) for make, _, o in CASES if make is Adam
]  # the same options, and another decay
cases = pytest.mark.parametrize(("make", "on_paper", "chosen"), CASES)


def trained(make: Any, **chosen: Any) -> np.ndarray:
    p = tg.Tensor(START, requires_grad=True)
    optimizer = make([p], lr=LR, **chosen)
    for g in GRADS:
        p.grad = g.copy()
        optimizer.step()
    return p.data


@cases
def test_the_kernel_is_the_paper(make: Any, on_paper: Any, chosen: dict[str, Any]) -> None:
    pytest.importorskip("numba")
    np.testing.assert_allclose(trained(make, **chosen), on_paper(**chosen), rtol=1e-12)


@cases
@pytest.mark.parametrize("effect", ["read", "write"])
def test_the_definition_is_the_paper(effect: str, make: Any, on_paper: Any, chosen: dict[str, Any]) -> None:
    """An instrument that listens to one of the two effects gets the definition, and hears every parameter."""
    seen: list[Any] = []

    def listen(inner: Any, x: Any, *rest: Any) -> Any:
        seen.append(x)
        return inner(x, *rest)

    with interpreted(**{effect: listen}):
        np.testing.assert_allclose(trained(make, **chosen), on_paper(**chosen), rtol=1e-12)
    assert sum(isinstance(x, tg.Tensor) and x.requires_grad for x in seen) == len(GRADS)


@pytest.mark.parametrize(("make", "on_paper"), [(SGD, lambda lr: START - lr * GRADS[0])])
def test_plain_descent_goes_against_the_gradient(make: Any, on_paper: Any) -> None:
    new, state = make([tg.Tensor(START, requires_grad=True)]).update(START, GRADS[0], (), 0.5, 1)
    np.testing.assert_allclose(new, on_paper(0.5), rtol=1e-15)
    assert state == ()


def test_the_defaults_of_adagrad_are_those_of_pytorch() -> None:
    optimizer = AdaGrad([tg.Tensor(START, requires_grad=True)])
    assert (optimizer.lr, optimizer.eps, optimizer.weight_decay) == (1e-2, 1e-10, 0.0)


def test_a_long_parameter_is_updated_in_several_threads_as_in_one() -> None:
    start, g = (np.random.default_rng(k).normal(size=300_000) for k in (0, 1))
    p = tg.Tensor(start, requires_grad=True)
    p.grad = g
    AdaGrad([p], lr=LR).step()
    np.testing.assert_allclose(p.data, start - LR * g / (np.abs(g) + 1e-10), rtol=1e-12)
