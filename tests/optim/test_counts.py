"""The bias correction counts a parameter's own updates, in every way to run a step; a step without gradients is none."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from program.traced_steps import as_compiled, as_eager, as_printed, as_traced

import tinygrad_ce as tg
from tinygrad_ce.core import interpreted
from tinygrad_ce.optim import SGD, AdaGrad, Adam, AdamW, RMSprop, StepDecay

LR, BETAS, EPS, DECAY = 0.05, (0.9, 0.99), 1e-8, 0.1
X = [np.random.default_rng(k).normal(size=(4, 3)) for k in range(8)]
START = {"w": np.array([1.0, -2.0, 3.0]), "v": np.array([0.5, 0.25, -0.5])}


def adam_on_paper(
    start: np.ndarray, slopes: list[Callable[[np.ndarray], np.ndarray] | None], decoupled: bool
) -> np.ndarray:
    """Kingma and Ba, algorithm 1, with a count of this parameter alone, as PyTorch's; None: there was no gradient."""
    p, m, v, t = start, np.zeros(3), np.zeros(3), 0
    for slope in slopes:
        if slope is None:
            continue
        t += 1
        g = slope(p) if decoupled else slope(p) + DECAY * p
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        m_hat, v_hat = m / (1 - BETAS[0] ** t), v / (1 - BETAS[1] ** t)
        p = p - LR * (m_hat / (np.sqrt(v_hat) + EPS) + (DECAY * p if decoupled else 0))
    return p


def slope_of_tanh(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Of sum(tanh(x * p)) by p."""
    return lambda p: (x * (1 - np.tanh(x * p) ** 2)).sum(axis=0)


def two_parameters(make: Any) -> SimpleNamespace:
    """Steps that move both parameters, or w alone; the gradient of each does not depend on the other."""
    w, v = (tg.Tensor(START[name], requires_grad=True, name=name) for name in "wv")
    optimizer = make([w, v], lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)

    def update(loss: Any) -> Any:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def both(x: Any) -> Any:
        return update(tg.ops.tanh(x * w).sum() + tg.ops.tanh(x * v).sum())

    def first(x: Any) -> Any:
        return update(tg.ops.tanh(x * w).sum())

    return SimpleNamespace(w=w, v=v, optimizer=optimizer, both=both, first=first)


def as_defined(step: Any, *examples: Any) -> Any:
    def run(*arrays: Any) -> Any:
        with interpreted(read=lambda inner, x: inner(x)):
            return step(*(tg.Tensor(a) for a in arrays))

    return run


WAYS = (as_eager, as_defined, as_traced, as_printed, as_compiled)


@pytest.mark.parametrize("make", [Adam, AdamW])
@pytest.mark.parametrize("how", WAYS)
def test_a_parameter_that_was_frozen_starts_its_own_count(how: Any, make: Any) -> None:
    things = two_parameters(make)
    first, both = how(things.first, X[0]), None
    for k, x in enumerate(X):
        if k < 5:
            first(x)
        else:
            both = both or how(things.both, x)  # traced when the counts differ already
            both(x)
    w = adam_on_paper(START["w"], [slope_of_tanh(x) for x in X], make is AdamW)
    v = adam_on_paper(START["v"], [None if k < 5 else slope_of_tanh(x) for k, x in enumerate(X)], make is AdamW)
    np.testing.assert_allclose(things.w.data, w, rtol=1e-12)
    np.testing.assert_allclose(things.v.data, v, rtol=1e-12)
    assert (things.optimizer.steps, things.optimizer.counts()) == (8, [9, 4])


@pytest.mark.parametrize("how", [as_eager, as_defined, as_compiled])
def test_counts_that_part_after_tracing_are_still_right(how: Any) -> None:
    """Both, the first alone, both again: a compiled step is traced anew."""
    things = two_parameters(Adam)
    both, first = how(things.both, X[0]), how(things.first, X[0])
    alone = (2, 3, 6)
    for k, x in enumerate(X):
        (first if k in alone else both)(x)
    w = adam_on_paper(START["w"], [slope_of_tanh(x) for x in X], False)
    v = adam_on_paper(START["v"], [None if k in alone else slope_of_tanh(x) for k, x in enumerate(X)], False)
    np.testing.assert_allclose(things.w.data, w, rtol=1e-12)
    np.testing.assert_allclose(things.v.data, v, rtol=1e-12)


def test_a_program_whose_counts_have_parted_says_so_and_changes_nothing() -> None:
    things = two_parameters(Adam)
    program = tg.trace(things.both, X[0])
    program.run(X[0])
    things.first(X[1])
    before = things.w.data.copy(), things.v.data.copy()
    with pytest.raises(tg.TraceError, match=r"w and v had been updated equally often.*Trace the step again"):
        program.run(X[2])
    np.testing.assert_array_equal((things.w.data, things.v.data), before)
    assert things.optimizer.steps == 2


def test_programs_of_sgd_have_no_count_and_go_on() -> None:
    w, v = (tg.Tensor(START[name], requires_grad=True) for name in "wv")
    optimizer = SGD([w, v], lr=0.1)
    w.grad = v.grad = np.ones(3)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (x * w).sum() + (x * v).sum()
        loss.backward()
        optimizer.step()
        return loss

    program = tg.trace(step, X[0])
    optimizer.zero_grad()
    w.grad = np.zeros(3)
    optimizer.step()
    program.run(X[0])
    np.testing.assert_allclose(v.data, START["v"] - 0.1 * X[0].sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("make", [Adam, AdamW])
def test_the_first_update_after_5000_steps_is_one_rate_long(make: Any) -> None:
    """At t = 1 both corrected means are exact: the step is lr * g / |g|."""
    w, still = (tg.Tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = make([w, still], lr=1e-3, weight_decay=0.0)
    for _ in range(5000):
        w.grad = np.ones(1)
        optimizer.step()
    still.grad = np.array([-7.0])
    optimizer.step()
    np.testing.assert_allclose(still.data, 1 + 1e-3, rtol=1e-9)


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, RMSprop, AdaGrad])
@pytest.mark.parametrize("frozen", [False, True], ids=["zero_grad just before", "never"])
def test_steps_without_any_gradient_are_not_counted(make: Any, frozen: bool) -> None:
    trained, plain = (tg.Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    schedule = StepDecay(0.1, every=2)
    first, second = make([trained], lr=schedule), make([plain], lr=schedule)
    for k in range(6):
        if not frozen:
            trained.grad = np.ones(2)
        first.zero_grad()
        with pytest.warns(UserWarning, match=rf"{make.__name__}.step\(\): no parameter has a gradient"):
            first.step()
        for optimizer, p in ((first, trained), (second, plain)):
            p.grad = np.array([0.5, -1.0]) * (k + 1)
            optimizer.step()
    np.testing.assert_array_equal(trained.data, plain.data)
    assert first.steps == second.steps == 6
    assert first.counts() == [7]


def test_a_traced_step_without_gradients_counts_no_step() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    optimizer = Adam([w])

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        optimizer.step()
        return (x * w).sum()

    with pytest.warns(UserWarning, match="no parameter has a gradient"):
        program = tg.trace(step, np.ones(2))
    program.run(np.ones(2))
    assert optimizer.steps == 0


def test_accumulating_gradients_over_batches_warns_of_nothing() -> None:
    """Two backward passes and one step: a mean over 8 rows is the mean of two means over 4."""
    w, whole = (tg.Tensor([1.0, 2.0, 3.0], requires_grad=True) for _ in range(2))
    accumulating, at_once = Adam([w]), Adam([whole])
    for k in (0, 2):
        accumulating.zero_grad()
        for x in X[k : k + 2]:
            (tg.ops.tanh(x * w).mean() / 2).backward()
        accumulating.step()
        at_once.zero_grad()
        tg.ops.tanh(np.concatenate(X[k : k + 2]) * whole).mean().backward()
        at_once.step()
    np.testing.assert_allclose(w.data, whole.data, rtol=1e-12)


def test_compiled_epochs_count_as_the_loop_does() -> None:
    """A layer that another loss has trained alone before: `fit(compile=True)` goes on with two counts."""
    pytest.importorskip("numba")
    data = tg.data.moons(32, seed=0)

    def trained(compile: bool) -> list[np.ndarray]:
        tg.seed(0)
        model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Tanh(), tg.nn.Dense(4, 2))
        optimizer = Adam(model.parameters(), lr=0.1)
        for parameter in model.layers[0].parameters():
            parameter.grad = np.full(parameter.shape, 0.1)
        for _ in range(20):
            optimizer.step()
        tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), optimizer).fit(
            data.X, data.y, epochs=2, batch_size=8, compile=compile, seed=0
        )
        assert (optimizer.steps, optimizer.counts()) == (28, [29, 29, 9, 9])
        return [parameter.data for parameter in model.parameters()]

    for ours, theirs in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
