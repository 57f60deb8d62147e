"""`w -= lr * w.grad`, the first loop that everybody writes, raises with both cures, and in no_grad writes in place."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from leaves import wanted

import tinygrad_ce as tg
from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Array, Tensor, interpreted, next_serial
from tinygrad_ce.source_lines import line_of

SIGNS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "+": (operator.iadd, operator.add),
    "-": (operator.isub, operator.sub),
    "*": (operator.imul, operator.mul),
    "/": (operator.itruediv, operator.truediv),
    "**": (operator.ipow, operator.pow),
    "@": (operator.imatmul, operator.matmul),
}
signs = pytest.mark.parametrize("sign", SIGNS)
W0 = np.array([[1.0, 2.0], [3.0, 4.0]])
OTHERS: dict[str, Any] = {
    "array": np.array([[2.0, 1.0], [1.0, 3.0]]),
    "tensor": Tensor(np.array([[2.0, 1.0], [1.0, 3.0]])),
    "tensor with a gradient": wanted([[2.0, 1.0], [1.0, 3.0]]),
    "number": 2.0,
}


# ---- on a parameter, while recording


@signs
def test_it_raises_with_both_cures_and_changes_nothing(sign: str) -> None:
    w = wanted(W0, name="w")
    data, version = w.data, w.version
    with pytest.raises(TypeError) as caught:
        SIGNS[sign][0](w, np.ones((2, 2)))
    text = str(caught.value)
    assert text.startswith(f"w {sign}= ... would not change w but replace it by a new tensor, whose history grows")
    assert f"with tg.no_grad(): w {sign}= ..." in text
    assert "tg.optim.SGD(parameters, lr=0.1).step()" in text
    assert w.data is data
    np.testing.assert_array_equal(w.data, W0)
    assert (w.version, w.grad, w.op) == (version, None, None)


def test_the_loop_that_everybody_writes_first_raises_in_its_first_step() -> None:
    w = wanted(3.0)
    (w * w).backward()
    with pytest.raises(TypeError, match=rf"^w -= \.\.\. would not change #{w.serial} but"):
        w -= 0.1 * w.grad
    assert (w.data, w.grad) == (3.0, 6.0)


def test_the_cures_do_what_they_say() -> None:
    """By hand: 3 - 0.1 * 6 = 2.4."""
    for cure in ("no_grad", "optimizer"):
        w = wanted(3.0)
        (w * w).backward()
        if cure == "no_grad":
            with tg.no_grad():
                w -= 0.1 * w.grad
        else:
            tg.optim.SGD([w], lr=0.1).step()
        np.testing.assert_allclose(w.data, 2.4, rtol=1e-15)


def test_it_raises_again_after_no_grad() -> None:
    w = wanted(1.0)
    with tg.no_grad():
        w += 1.0
    with pytest.raises(TypeError, match=r"with tg\.no_grad"):
        w += 1.0


def test_a_parameter_of_a_module_is_named_by_its_path() -> None:
    model = tg.nn.Sequential(tg.nn.Dense(2, 3))
    for parameter in model.parameters():
        with pytest.raises(TypeError, match=r"^layers\.0\.[Wb] \*= "):
            parameter *= 0.5


# ---- inside no_grad


@signs
@pytest.mark.parametrize("other", OTHERS)
def test_it_writes_into_the_same_array_and_raises_the_version(sign: str, other: str) -> None:
    if sign == "@" and other == "number":
        pytest.skip("@ multiplies matrices")
    w, alias = wanted(W0, name="w"), None
    same, data, version, grad = w, w.data, w.version, np.ones((2, 2))
    w.grad, alias = grad, w.data[0]
    newest = next_serial()
    with tg.no_grad():
        w = SIGNS[sign][0](w, OTHERS[other])
    x = OTHERS[other]
    expected = SIGNS[sign][1](W0, x.data if isinstance(x, Tensor) else x)
    assert w is same
    assert w.data is data
    np.testing.assert_array_equal(w.data, expected)
    np.testing.assert_array_equal(alias, expected[0])
    assert w.version > max(version, newest)
    assert (w.requires_grad, w.op, w.name) == (True, None, "w")
    assert w.grad is grad


def test_it_remembers_the_line() -> None:
    w = wanted(1.0)
    with tg.no_grad():
        w += 1.0
        line = sys._getframe().f_lineno - 1
    found = line_of(w.note)
    assert found is not None
    assert (os.path.basename(found.file), found.number, found.text) == (os.path.basename(__file__), line, "w += 1.0")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(dtype: Any) -> None:
    w = wanted(np.ones(2, dtype))
    with tg.no_grad():
        w -= np.full(2, 0.25, np.float64)
    assert w.dtype == dtype
    np.testing.assert_array_equal(w.data, 0.75)


@pytest.mark.parametrize("other", [np.ones(3), np.ones((2, 2))])
def test_what_does_not_fit_is_refused_and_changes_nothing(other: Array) -> None:
    w = wanted([1.0, 2.0])
    with pytest.raises(ValueError, match="shape"), tg.no_grad():
        w += other
    np.testing.assert_array_equal(w.data, [1.0, 2.0])


def test_a_smaller_operand_is_stretched() -> None:
    w = wanted(W0)
    with tg.no_grad():
        w *= np.array([1.0, 10.0])
    np.testing.assert_array_equal(w.data, [[1.0, 20.0], [3.0, 40.0]])


def test_a_view_of_a_parameter_is_a_tensor_of_its_own_and_rebound() -> None:
    """In no_grad a slice asks for no gradient, so `row` names another tensor afterwards, and w is as it was."""
    w = wanted(W0)
    with tg.no_grad():
        row = w[0]
        row += 1.0
    np.testing.assert_array_equal(w.data, W0)
    np.testing.assert_array_equal(row.data, [2.0, 3.0])


def test_it_asks_the_interpreter_to_write() -> None:
    w, seen = wanted(1.0), []

    def look(inner: Any, variable: Tensor, new: Any) -> None:
        seen.append((variable, float(new)))
        inner(variable, new)

    with interpreted(write=look), tg.no_grad():
        w += 1.0
    assert seen == [(w, 2.0)]
    assert w.data == 2.0


def test_a_loop_of_2000_steps_learns_and_each_step_makes_as_many_tensors_as_the_first() -> None:
    """A line through points on y = 2 x - 1. A graph that grew with each step would be seen in what is reachable."""
    x = np.linspace(-1, 1, 16)
    y = 2 * x - 1
    w, b = wanted(0.0, name="w"), wanted(0.0, name="b")
    data, counts, sizes = w.data, set(), set()
    for _ in range(2000):
        start = next_serial()
        w.grad = b.grad = None
        loss = ((w * x + b - y) ** 2).mean()
        loss.backward()
        with tg.no_grad():
            w -= 0.1 * w.grad
            b -= 0.1 * b.grad
        counts.add(next_serial() - start)
        sizes.add(len(reachable(loss)))
    assert (len(counts), len(sizes)) == (1, 1)
    assert max(counts) < 20
    assert w.data is data
    np.testing.assert_allclose([w.item(), b.item()], [2.0, -1.0], rtol=1e-12)


# ---- on other tensors it gives the name to a new one, as before


@signs
@pytest.mark.parametrize("recording", [True, False])
def test_a_tensor_without_gradient_is_not_written_to(sign: str, recording: bool) -> None:
    t = Tensor(W0)
    before = t
    with tg.no_grad() if not recording else interpreted():
        t = SIGNS[sign][0](t, OTHERS["array"])
    assert t is not before
    np.testing.assert_array_equal(before.data, W0)
    np.testing.assert_array_equal(t.data, SIGNS[sign][1](W0, OTHERS["array"]))
    assert before.version == 0


@signs
def test_an_interior_tensor_is_replaced_and_its_history_is_kept(sign: str) -> None:
    """h = w; h = h (sign) other: the gradient goes through both."""
    w, v = wanted(W0), wanted(W0)
    h = w * 2.0
    before = h
    h = SIGNS[sign][0](h, OTHERS["array"])
    assert h is not before
    assert h.inputs[0] is before
    np.testing.assert_array_equal(before.data, 2 * W0)
    h.sum().backward()
    SIGNS[sign][1](v * 2.0, OTHERS["array"]).sum().backward()
    np.testing.assert_array_equal(w.grad, v.grad)


def test_a_sum_over_a_loop() -> None:
    """The usual `total += ...`: by hand, d (0 + w + w w + w w w) / dw = 1 + 2 w + 3 w w = 17 at w = 2."""
    w, total = wanted(2.0), Tensor(0.0)
    power = w * 1.0
    for _ in range(3):
        total += power
        power *= w
    total.backward()
    assert w.grad == 17.0


# ---- while tracing


def test_a_traced_step_may_use_it_on_tensors_of_its_own() -> None:
    w = wanted([1.0, 2.0], name="w")

    def step(x: Any) -> Any:
        h = x * w
        h += 1.0
        h *= 2.0
        return h.sum()

    program = tg.trace(step, np.array([3.0, 4.0]))
    assert np.asarray(program.run(np.array([3.0, 4.0]))) == 26.0


def test_a_traced_step_cannot_change_a_parameter_so_while_recording() -> None:
    w = wanted([1.0, 2.0], name="w")

    def step(x: Any) -> Any:
        nonlocal w
        w -= x
        return w.sum()

    with pytest.raises(TypeError, match=r"^w -= \.\.\. would not change w"):
        tg.trace(step, np.array([3.0, 4.0]))
    np.testing.assert_array_equal(w.data, [1.0, 2.0])


def test_a_traced_step_that_writes_in_no_grad_writes_in_each_run() -> None:
    """Weight decay by hand: the loss 1 + 2 is halved with w, and tracing itself has left w as it was."""
    w = wanted([1.0, 2.0], name="w")

    def step(x: Any) -> Any:
        nonlocal w
        loss = (x * w).sum()
        with tg.no_grad():
            w *= 0.5
        return loss

    program = tg.trace(step, np.ones(2))
    np.testing.assert_array_equal(w.data, [1.0, 2.0])
    assert [float(np.asarray(program.run(np.ones(2)))) for _ in range(3)] == [3.0, 1.5, 0.75]
    np.testing.assert_array_equal(w.data, [0.125, 0.25])


def test_a_traced_step_that_calculates_with_grad_is_refused() -> None:
    """`w.grad` is an array, and what is done with an array cannot be heard: an optimizer's step can be traced."""
    w = wanted([1.0, 2.0], name="w")

    def step(x: Any) -> Any:
        nonlocal w
        loss = (w * w * x).sum()
        loss.backward()
        with tg.no_grad():
            w -= 0.25 * w.grad
        return loss

    with pytest.raises(tg.TraceError, match=r"an array of shape \(2,\) comes from outside of the step"):
        tg.trace(step, np.ones(2))
    np.testing.assert_array_equal(w.data, [1.0, 2.0])
