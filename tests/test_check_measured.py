"""gradcheck at inputs of every size, near kinks and borders, and where there is no derivative: closed forms decide."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import text_of

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.check import GradcheckError, gradcheck
from tinygrad_ce.core import REGISTRY, primitive

MASK = np.array([True, False, False])


@pytest.fixture(autouse=True)
def _own_primitives_leave_the_registry() -> Any:
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def with_rule(body: Callable[..., Any], slope: Callable[..., Any]) -> Any:
    """A primitive of one input with this derivative, right or wrong."""

    def own(x: Any) -> Any:
        return body(x)

    def own_x(g: Any, out: Any, x: Any) -> Any:
        return g * slope(x)

    op = primitive(own)
    op.vjp("x")(own_x)
    return op


RIGHT: list[tuple[Callable[[Any], Any], Any]] = [
    (ops.log, [1e-5, 1.0]),  # the step follows the input
    (ops.log, [1e-12, 1.0, 1e8]),
    (ops.sqrt, [1e-9, 4.0]),
    (lambda x: 1 / x, [1e-12, 1e8, -1.0]),
    (lambda x: x**-3, [1e-6, 2.0]),
    (lambda x: x * ops.log(x), [1e-300, 0.5]),
    (ops.exp, [1e-12, 1e-300, 0.0]),
    (ops.exp, [700.0]),  # beyond 709 it is inf
    (ops.sin, [1e8, 1.0]),
    (lambda x: ops.sin(1e6 * x), [0.3, 1.0]),
    (lambda x: x * x + 1e10, [0.3, 1.0]),
    (lambda x: x * x * 1e-30, [0.3, 1.0]),
    (lambda x: (x + 1e8) - 1e8, [0.3, 1.0]),  # half of the digits are lost, and no more is asked
    (ops.relu, [1e-7, 1.0, -2.0]),  # near a kink
    (ops.relu, [1e-15]),
    (abs, [1e-9, -1e-9]),
    (lambda x: ops.maximum(x, x[::-1]), [1.0, 1.0 + 1e-6]),
    (ops.sigmoid, [-40.0, 40.0, 0.0]),
    (lambda x: ops.where(MASK, -np.inf, x * x), [1.0, 2.0, 3.0]),  # masked logits
    (lambda x: x * x + np.array([-np.inf, 0.0, 0.0]), [1.0, 2.0, 3.0]),
    (lambda x: ops.softmax(ops.where(MASK, -np.inf, x)), [1.0, 2.0, 3.0]),
    (ops.softmax, [-np.inf, 2.0, 3.0]),
    (lambda x: tg.losses.softmax_cross_entropy(x, np.array([1])), [[-np.inf, 2.0, 3.0]]),
    (lambda p: tg.losses.binary_cross_entropy(p, np.array([1.0, 0.0])), [0.9999, 1e-7]),  # beyond 0 and 1 it raises
    (lambda x: ops.sin(x.astype(np.float32)), [0.3, 1.0]),
    (lambda x: ops.sin(x.astype(np.float32)).astype(np.float64), [0.3, 1.0]),
    (lambda x: x * 0.0 + 1, [0.3]),
    (lambda x: x**2, [0.0, 0.0]),
    (lambda x: x**4, [0.0, 1e-3]),
    (lambda x: x**3 * abs(x), [0.0]),  # slopes that go to 0 only in proportion to the step
    (lambda x: x * 2, np.zeros(0)),
]


@pytest.mark.parametrize(("f", "at"), RIGHT, ids=text_of)
@pytest.mark.parametrize("order", [1, 2])
def test_what_is_right_is_called_right(f: Callable[[Any], Any], at: Any, order: int) -> None:
    assert gradcheck(f, np.array(at), order=order).ok


WRONG: list[tuple[Callable[..., Any], Callable[..., Any], list[float]]] = [
    (np.log, lambda x: 1.001 / x, [1e-5, 1.0]),
    (np.log, lambda x: 1.001 / x, [1e-12]),
    (lambda x: 1 / x, lambda x: -1.001 / (x * x), [1e8]),
    (lambda x: 1 / x, lambda x: 1 / (x * x), [1e-12, 1.0]),
    (np.exp, lambda x: ops.exp(x) * 1.001, [1e-12]),
    (np.exp, lambda x: ops.exp(x) * (1 + 1e-4), [0.0, 1.0]),
    (np.sin, lambda x: ops.cos(x) * 1.001, [1e6]),
    (lambda x: x * x, lambda x: 2 * x + 1e-4, [1e-3, 0.0]),
    (lambda x: np.maximum(x, 0), lambda x: x * 0, [1e-7, 1.0]),
    (lambda x: np.sin(x.astype(np.float32)).astype(np.float64), lambda x: 1.1 * ops.cos(x), [0.3]),
]


@pytest.mark.parametrize(("body", "slope", "at"), WRONG, ids=text_of)
def test_what_is_wrong_is_called_wrong(body: Callable[..., Any], slope: Callable[..., Any], at: list[float]) -> None:
    with pytest.raises(GradcheckError, match="WRONG"):
        gradcheck(with_rule(body, slope), np.array(at), order=1)


@pytest.mark.parametrize("f", [lambda x: x * abs(x), lambda x: ops.relu(x) ** 2, lambda x: x * ops.relu(x)])
def test_a_slope_of_0_between_two_different_parabolas(f: Callable[[Any], Any]) -> None:
    assert gradcheck(f, np.array([0.0]), order=1).ok


def test_a_wrong_second_derivative_of_a_small_input_is_found() -> None:
    def slope(x: Any) -> Any:
        return 1 / x.data if isinstance(x, tg.Tensor) else 1 / x

    assert gradcheck(with_rule(np.log, slope), np.array([1e-5]), order=1).ok
    with pytest.raises(GradcheckError, match="the second are wrong"):
        gradcheck(with_rule(np.log, slope), np.array([1e-5]))


UNDEFINED: list[tuple[Callable[[Any], Any], Any, str]] = [
    (lambda x: 1 / x, 0.0, "f is inf here"),
    (lambda x: 1 / x, [0.0, 1.0], r"f is inf here \(output \[0\]\)"),
    (lambda x: 1 / (x * x), 0.0, "f is inf here"),
    (ops.log, 0.0, "f is -inf here"),
    (ops.log, [-1.0, 1.0], r"f is nan here \(output \[0\]\)"),
    (lambda x: x * np.nan, 1.0, "f is nan here"),
    (abs, 0.0, "a kink, with slope -1 to the left and 1 to the right"),
    (ops.relu, 0.0, "a kink, with slope 0 to the left and 1 to the right"),
    (lambda x: ops.sin(x) + abs(x), 0.0, "a kink, with slope 0 to the left and 2 to the right"),
    (lambda x: x.max(), [2.0, 2.0, 0.0], "a kink, with slope 0 to the left and 1 to the right"),
    (lambda x: ops.clip(x, low=0.0, high=1.0), 1.0, "a kink, with slope 1 to the left and 0 to the right"),
    (lambda x: ops.where(x >= 0, x + 1, x), 0.0, "jump"),
    (lambda x: ops.where(ops.equal(x, 0), 5.0, x), 0.0, "jump"),
    (ops.sign, 0.0, "jump"),
    (lambda x: ops.sign(x) * abs(x) ** (1 / 3), 0.0, "a vertical tangent"),
    (lambda x: abs(x) ** 0.5, 0.0, "a vertical tangent"),
    (ops.sqrt, 0.0, "f is not defined on both sides"),
    (lambda x: x * ops.log(x + 1), -1.0, "f is -?inf here|f is nan here"),
    (lambda p: tg.losses.binary_cross_entropy(p, np.array([1.0])), [1.0], "f is not defined on both sides"),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("f", "at", "words"), UNDEFINED, ids=text_of)
def test_where_there_is_no_derivative_that_is_said(f: Callable[[Any], Any], at: Any, words: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(f, np.array(at), order=1)
    assert re.search(f"NOT DEFINED.*no derivative: .*({words})", " ".join(str(caught.value).split()))


def test_only_the_element_at_the_kink_is_named() -> None:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(ops.relu, np.array([[1.0, 0.0], [-2.0, 3.0]]))
    assert [m.index for m in caught.value.report.mismatches] == [(0, 1)]
    assert not caught.value.report.ok


def test_a_second_derivative_that_does_not_exist() -> None:
    """|x|**1.5 has slope 0 at 0, and the slope's slope is infinite there."""
    assert gradcheck(lambda x: abs(x) ** 1.5, np.array([1e-3, 1.0])).ok
    with pytest.raises(GradcheckError, match="the second derivative cannot be checked"), np.errstate(all="ignore"):
        gradcheck(lambda x: abs(x) ** 1.5, np.array([0.0, 1.0]))


def test_what_was_left_out_is_said() -> None:
    report = gradcheck(lambda x: ops.where(MASK, -np.inf, x), np.array([1.0, 2.0, 3.0]))
    assert "outputs that are infinite, and stay so, were left out" in str(report)
    assert "infinite elements were not moved" in str(gradcheck(ops.softmax, np.array([-np.inf, 2.0, 3.0])))
    assert "infinite" not in str(gradcheck(ops.softmax, np.array([1.0, 2.0, 3.0])))


def test_an_error_of_the_function_at_the_input_itself_comes_through() -> None:
    with pytest.raises(ValueError, match="outside"):
        gradcheck(lambda p: tg.losses.binary_cross_entropy(p, np.array([1.0])), np.array([1.5]))
