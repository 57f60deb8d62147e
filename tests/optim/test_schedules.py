"""What a schedule may return, and the one-cycle and plateau schedules against their papers, by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, Adam, Constant, Cosine, OneCycle, ReduceOnPlateau, StepDecay, WarmUp


def parameter() -> tg.Tensor:
    p = tg.Tensor([1.0], requires_grad=True)
    p.grad = np.ones(1)
    return p


# ---- numbers of every kind

NUMBERS = [1, 0.5, np.float32(0.5), np.float16(0.5), np.float64(0.5), np.int64(1), np.uint8(1), np.array(0.5)]


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_a_schedule_may_return_any_real_number(number: Any) -> None:
    p = parameter()
    optimizer = SGD([p], lr=lambda step: number)
    assert type(optimizer.lr) is float
    optimizer.step()
    assert p.data == 1 - float(number)
    np.testing.assert_array_equal(optimizer.rates(3), [float(number)] * 3)


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_a_rate_may_be_any_real_number(number: Any) -> None:
    optimizer = Adam([parameter()], lr=number)
    assert (type(optimizer.lr), optimizer.lr) == (float, float(number))
    optimizer.lr = number
    assert optimizer.lr == float(number)
    for schedule in (Constant(number), WarmUp(number, steps=1), Cosine(number, steps=2), StepDecay(number, every=2)):
        assert schedule(0) == float(number)


@pytest.mark.parametrize("number", [np.float32(0.1), np.array(0.1, np.float32)])
def test_a_float32_rate_is_the_same_in_a_program(number: Any) -> None:
    w = tg.Tensor([1.0], requires_grad=True, name="w")
    optimizer = SGD([w], lr=lambda step: number)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (x * w).sum()
        loss.backward()
        optimizer.step()
        return loss

    tg.trace(step, np.ones(1)).run(np.ones(1))
    assert w.data == 1 - float(np.float32(0.1))


def test_a_schedule_may_give_0_and_then_nothing_moves() -> None:
    p = parameter()
    SGD([p], lr=lambda step: 0).step()
    assert p.data == 1


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        *((-0.5, "-0.5"), (math.nan, "nan"), (math.inf, "inf"), (None, "None"), ("fast", "'fast'"), (1j, "1j")),
        *(([0.1], r"\[0.1\]"), (np.array([0.1]), r"array"), (True, "True")),
    ],
)
def test_what_a_schedule_may_not_return_is_shown_with_its_step_and_what_it_should_be(answer: Any, shown: str) -> None:
    p = parameter()
    optimizer = SGD([p], lr=lambda step: answer if step == 2 else 0.5)
    optimizer.step()
    optimizer.step()
    with pytest.raises(ValueError, match=rf"SGD: the schedule gave lr={shown}.* for step 2; it must return a finite"):
        optimizer.step()
    assert p.data == 0


@pytest.mark.parametrize("zero", [0, 0.0, np.float32(0), np.array(0)])
def test_a_constant_rate_of_0_is_refused_with_the_reason(zero: Any) -> None:
    with pytest.raises(ValueError, match=r"lr=.* would never move a parameter: pass a positive number"):
        SGD([parameter()], lr=zero)


# ---- one cycle


def test_one_cycle_on_paper() -> None:
    """Smith and Topin 2018, with cosines: 25 times smaller at first, the peak after 30 %, 250,000 times at last."""
    schedule = OneCycle(2.0, steps=101, warm_up=0.31 / 1.01)  # the peak is at step 30
    rates = [schedule(step) for step in range(101)]
    np.testing.assert_allclose([rates[0], rates[30], rates[100]], [2 / 25, 2, 2 / 25e4], rtol=1e-12)
    np.testing.assert_allclose([rates[15], rates[65]], [(2 / 25 + 2) / 2, (2 + 2 / 25e4) / 2], rtol=1e-12)
    np.testing.assert_allclose(rates[10], 2 / 25 + (2 - 2 / 25) / 4, rtol=1e-12)  # (1 - cos(pi / 3)) / 2 = 1 / 4
    assert all(a < b for a, b in pairwise(rates[:31]))
    assert all(a > b for a, b in pairwise(rates[30:]))
    assert schedule(101) == schedule(10_000) == rates[100]


def test_one_cycle_has_the_rates_of_pytorchs() -> None:
    """torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10), as PyTorch 2 gives them."""
    # 0.3 * 10 - 1 = 2 steps up, 7 steps down; each is last + (first - last) * (1 + cos(pi * share)) / 2
    up = [0.04 + 0.96 * (1 - math.cos(math.pi * k / 2)) / 2 for k in (0, 1)]
    down = [4e-6 + (1 - 4e-6) * (1 + math.cos(math.pi * k / 7)) / 2 for k in range(8)]
    schedule = OneCycle(1.0, steps=10)
    np.testing.assert_allclose([schedule(step) for step in range(10)], up + down, rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warm_up", [0.0, 0.3, 0.9])
def test_one_cycle_of_few_steps_stays_between_its_ends(steps: int, warm_up: float) -> None:
    rates = [OneCycle(1.0, steps=steps, warm_up=warm_up)(step) for step in range(steps + 2)]
    assert all(1 / 25e4 <= rate <= 1 for rate in rates)
    assert rates[-1] == pytest.approx(1 / 25e4)


@pytest.mark.parametrize(
    "bad", [{"max_lr": 0}, {"steps": 0}, {"warm_up": 1.0}, {"warm_up": -0.1}, {"start": 0}, {"end": -1}], ids=str
)
def test_bad_cycles_are_refused(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=f"OneCycle: {name}="):
        OneCycle(**{"max_lr": 1.0, "steps": 10} | bad)  # type: ignore[arg-type]


# ---- plateaus


def rates_of(schedule: ReduceOnPlateau, losses: list[Any]) -> list[float]:
    rates = []
    for loss in losses:
        schedule.observe(loss)
        rates.append(schedule(0))
    return rates


def test_a_rate_is_reduced_after_as_many_losses_that_are_no_better() -> None:
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2, smallest=0.2)
    losses = [5.0, 4.0, 4.5, 4.0, 3.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5]
    assert rates_of(schedule, losses) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]


def test_a_loss_must_be_better_by_the_threshold() -> None:
    assert rates_of(ReduceOnPlateau(1.0, patience=1, threshold=0.1), [1.0, 0.95, 0.89]) == [1.0, 0.1, 0.1]
    assert rates_of(ReduceOnPlateau(1.0, patience=1, threshold=0.1), [-1.0, -1.05, -1.2]) == [1.0, 0.1, 0.1]
    assert rates_of(ReduceOnPlateau(1.0, patience=1, threshold=0.1), [10.0, 9.5, 8.9]) == [1.0, 0.1, 0.1]
    assert rates_of(ReduceOnPlateau(1.0, patience=1, threshold=0.1), [0.0, 0.0, -0.1]) == [1.0, 0.1, 0.1]
    assert rates_of(ReduceOnPlateau(1.0, patience=1, threshold=0.0), [1.0, 1.0]) == [1.0, 0.1]


def test_a_loss_of_nan_is_no_better_and_a_tensor_is_a_loss() -> None:
    assert rates_of(ReduceOnPlateau(1.0, patience=1), [math.nan, 1.0, math.nan]) == pytest.approx([0.1, 0.1, 0.01])
    assert rates_of(ReduceOnPlateau(1.0, patience=1), [tg.Tensor(1.0), np.float32(2.0)]) == [1.0, 0.1]
    with pytest.raises((TypeError, ValueError)):
        ReduceOnPlateau(1.0).observe([1.0, 2.0])


def test_a_plateau_after_a_warm_up_is_observed_too() -> None:
    schedule = WarmUp(ReduceOnPlateau(1.0, factor=0.5, patience=1), steps=2)
    schedule.observe(1.0)
    schedule.observe(1.0)
    assert [schedule(step) for step in range(4)] == [0.25, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "bad",
    [{"factor": 1.0}, {"factor": 0}, {"patience": 0}, {"lr": 0}, {"smallest": -1}, {"threshold": 1.0}],
    ids=str,
)
def test_bad_plateaus_are_refused(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=f"ReduceOnPlateau: {name}="):
        ReduceOnPlateau(**{"lr": 1.0} | bad)  # type: ignore[arg-type]
