"""`tg.why_nan` on programs with the mistakes of students: the line, in 80 columns, and the cure makes all finite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from views.nan.leaves import wanted
from views.nan.story import Story, built

import tinygrad_ce as tg
from tinygrad_ce import nn, ops
from tinygrad_ce.core import Tensor

# Each program takes whether it is cured: the same line, once with the mistake and once as the answer advises.
Program = Callable[[bool], Tensor]


@tg.primitive
def my_log(x):
    return np.log(x)


@my_log.vjp("x")
def my_log_x(g, out, x):
    return g / x


@tg.primitive
def my_abs(x):
    return ops.maximum(x, -x)


@my_abs.vjp("x")
def my_abs_x(g, out, x):
    return g * x / out


def an_error_over_what_was_measured(cured: bool) -> Tensor:
    error, known = wanted([1.0, 2.0]), np.array([0.0, 0.0])
    count = ops.maximum(known.sum(), 1) if cured else known.sum()
    return (error**2 * known).sum() / count  # here


def a_root_of_the_mean_squared_error_that_is_zero(cured: bool) -> Tensor:
    prediction = nn.Dense(2, 1)(np.zeros((4, 2)))
    squares = ((prediction - np.zeros((4, 1))) ** 2).mean()
    return np.sqrt(squares + 1e-12 if cured else squares)  # here


def standardised_along_the_wrong_axis(cured: bool) -> Tensor:
    z = np.array([[1.0], [2.0], [3.0]]) @ wanted([[1.0]])
    deviation = np.sqrt(z.var(axis=1, keepdims=True) + (1e-5 if cured else 0.0))
    return (((z - z.mean(axis=0)) / deviation) ** 2).mean()  # here


def an_entropy_of_shares_of_dead_units(cured: bool) -> Tensor:
    h = ops.relu(wanted([[1.0, 2.0], [-1.0, -2.0]]))
    total = h.sum(axis=1, keepdims=True)
    share = h / (total + 1e-12 if cured else total)  # here
    return -ops.xlogy(share, share + 1e-12).sum(axis=1).mean()


def attention_to_padding_alone(cured: bool) -> Tensor:
    scores, real = wanted([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, True], [False, False]])
    masked = np.where(real, scores, -1e9 if cured else -np.inf)
    return (ops.softmax(masked) * np.array([1.0, 2.0])).sum()  # here


def an_exp_and_its_square_in_float32(cured: bool) -> Tensor:
    a = np.exp(wanted([0.0, 60.0], dtype=np.float64 if cured else np.float32))
    square = a**2  # here
    return (square / (1 + square)).sum()


def the_powers_of_a_matrix_over_many_steps(cured: bool) -> Tensor:
    W, h = wanted(np.full((2, 2), 0.5 if cured else 5.0), "W"), np.ones((1, 2))
    for _ in range(400):
        h = h @ W  # here
    return h.mean()


def a_discriminator_that_is_sure(cured: bool) -> Tensor:
    logit = wanted([50.0])
    if cured:
        return tg.losses.sigmoid_binary_cross_entropy(logit, np.array([0.0]))
    return -np.log(1 - logit.sigmoid()).mean()  # here


def a_softmax_by_hand_that_underflows_in_one_row_and_overflows_in_another(cured: bool) -> Tensor:
    z = wanted([[-900.0, 300.0], [0.0, 900.0]])
    if cured:
        return tg.losses.softmax_cross_entropy(z, np.array([0, 1]))
    e = np.exp(z)  # here
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(2), np.array([0, 1])]).mean()


def a_mean_power_of_negative_numbers(cured: bool) -> Tensor:
    x, p = wanted([-2.0, 1.0]), wanted(3.0)
    mean = (ops.absolute(x) ** p).mean() if cured else (x**3).mean()
    return mean ** (1 / p)  # here


def a_logarithm_of_ones_own(cured: bool) -> Tensor:
    p = wanted([0.5, 0.5, 0.0])
    return -(p * my_log(p + 1e-12 if cured else p)).sum()  # here


def a_rule_of_ones_own_that_divides_by_zero(cured: bool) -> Tensor:
    x = wanted([4.0, 0.0])
    return (ops.absolute(x) if cured else my_abs(x)).mean()  # here


PROGRAMS: dict[str, Program] = {
    program.__name__: program
    for program in (
        an_error_over_what_was_measured,
        a_root_of_the_mean_squared_error_that_is_zero,
        standardised_along_the_wrong_axis,
        an_entropy_of_shares_of_dead_units,
        attention_to_padding_alone,
        an_exp_and_its_square_in_float32,
        the_powers_of_a_matrix_over_many_steps,
        a_discriminator_that_is_sure,
        a_softmax_by_hand_that_underflows_in_one_row_and_overflows_in_another,
        a_mean_power_of_negative_numbers,
        a_logarithm_of_ones_own,
        a_rule_of_ones_own_that_divides_by_zero,
    )
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_student_finds_the_line_in_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    program = PROGRAMS[name]
    found = tg.why_nan(built(lambda: program(False)))
    first = found.forward or found.backward
    marked = Story(program, None, None, (), "").line  # type: ignore[arg-type]
    assert first.line == (__file__, marked)
    assert first.cure
    text = str(found)
    assert f"test_student_programs.py:{marked}" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_cure_makes_all_finite(name: str) -> None:
    found = tg.why_nan(built(lambda: PROGRAMS[name](True)))
    assert not found, str(found)
