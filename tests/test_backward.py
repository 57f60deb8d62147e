"""The walk back: order, accumulation in `.grad`, a second walk, and where it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from leaves import gradient_of, wanted
from samples import text_of

from tinygrad_ce import numpy_protocol, ops
from tinygrad_ce.backward import backward, no_grad
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

assert numpy_protocol  # np.sin(t) and its like


# ---- which way round, and how often


def test_a_diamond_adds_up_both_ways() -> None:
    x = wanted([2.0, 3.0])
    y = x * x
    left, right = np.sin(y), y * 3.0
    (left * right).sum().backward()
    at = x.data**2
    np.testing.assert_allclose(x.grad, 2 * x.data * (np.cos(at) * 3 * at + 3 * np.sin(at)), rtol=1e-14)


def test_a_tower_of_diamonds_is_walked_once() -> None:
    x = wanted(1.0)
    y = x
    for _ in range(200):  # 2**200 ways from the top to the bottom
        y = y * 0.5 + y * 0.5
    y.backward()
    assert float(x.grad) == 1.0


def test_a_plus_a_has_two_edges() -> None:
    a = wanted([1.0, 2.0])
    (a + a).sum().backward()
    np.testing.assert_array_equal(a.grad, [2.0, 2.0])
    np.testing.assert_array_equal(gradient_of(lambda t: t * t, [3.0]), [6.0])
    np.testing.assert_array_equal(gradient_of(lambda t: t - t, [3.0]), [0.0])
    np.testing.assert_array_equal(gradient_of(lambda t: np.concatenate([t, t, t]), [3.0]), [3.0])
    np.testing.assert_array_equal(gradient_of(lambda t: np.einsum("i,i,i->", t, t, t), [3.0]), [27.0])


def test_a_skip_connection_waits_for_the_longer_way() -> None:
    x = wanted(0.5)
    y = x
    for _ in range(5):
        y = np.sin(y)
    (x * y).backward()
    chain, value = 1.0, 0.5
    for _ in range(5):
        chain, value = chain * np.cos(value), np.sin(value)
    assert float(x.grad) == pytest.approx(value + 0.5 * chain, rel=1e-14)


def test_a_leaf_younger_than_its_siblings() -> None:
    x = wanted(2.0)
    y = x * x
    late = wanted(3.0)
    (y * late * y).backward()
    assert (float(x.grad), float(late.grad), float(y.grad)) == (96.0, 16.0, 24.0)


# ---- .grad


def test_leaves_accumulate_and_interior_tensors_are_replaced() -> None:
    x = wanted([1.0, 2.0])
    y = x * 2.0
    loss = (y * y).sum()
    loss.backward()
    loss.backward()
    np.testing.assert_array_equal(x.grad, [16.0, 32.0])
    np.testing.assert_array_equal(y.grad, [4.0, 8.0])
    np.testing.assert_array_equal(loss.grad, 1.0)
    x.grad = None
    loss.backward()
    np.testing.assert_array_equal(x.grad, [8.0, 16.0])


def test_accumulation_never_writes_to_the_old_gradient() -> None:
    x = wanted([1.0, 2.0])
    (x * 2.0).sum().backward()
    before = x.grad
    (x * 3.0).sum().backward()
    np.testing.assert_array_equal(before, 2.0)
    np.testing.assert_array_equal(x.grad, 5.0)


def test_every_tensor_that_asked_holds_a_gradient_and_no_other() -> None:
    x, c = wanted([1.0, 2.0]), Tensor([3.0, 4.0])
    y = x * c
    z = np.exp(y)
    unrelated = x * 5.0
    z.sum().backward()
    assert all(type(t.grad) is np.ndarray for t in (x, y, z))
    assert (c.grad, unrelated.grad) == (None, None)
    assert all(t.grad.shape == t.shape for t in (x, y, z))


def test_the_gradient_of_a_single_number_is_an_array() -> None:
    x = wanted(3.0)
    loss = x * x
    loss.backward()
    assert [type(g) for g in (x.grad, loss.grad, gradients(loss, x))] == [np.ndarray] * 3
    assert x.grad.shape == gradients(loss, x).shape == ()


MADE_OF_TWO: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a + b,
    lambda a, b: (a + b) * 2.0,
    lambda a, b: a - b,
    lambda a, b: a + b.reshape(3, 1).reshape(3),
    lambda a, b: a + b.T,
    lambda a, b: a + b[:],
    lambda a, b: np.concatenate([a, b]),
    lambda a, b: np.stack([a, b]),
    lambda a, b: ops.identity(a) + ops.identity(b),
    lambda a, b: np.broadcast_to(a, (3,)) + np.expand_dims(b, 0),
    lambda a, b: np.where([True, False, True], a, b),
    lambda a, b: a.sum() + b.sum(),
    lambda a, b: a * np.ones(3) + b.astype(np.float64),
]


@pytest.mark.parametrize("f", MADE_OF_TWO, ids=text_of)
def test_gradients_of_leaves_share_no_memory(f: Callable[[Any, Any], Any]) -> None:
    a, b = wanted(np.arange(3.0)), wanted(np.arange(3.0) + 1)
    out = f(a, b)
    loss = out.sum()
    loss.backward()
    held = [t.grad for t in (a, b, out, loss)] + [a.data, b.data]
    for i, leaf in enumerate(held[:2]):
        assert not any(np.shares_memory(leaf, other) for j, other in enumerate(held) if j != i)
    before = b.grad.copy()
    a.grad *= 100.0
    np.testing.assert_array_equal(b.grad, before)


@pytest.mark.parametrize("f", [lambda x: x, lambda x: x + 0.0, lambda x: x.reshape(2, 1)])
def test_a_leafs_gradient_is_not_the_callers_array(f: Callable[[Any], Any]) -> None:
    x = wanted([1.0, 2.0])
    y = f(x)
    upstream = np.ones(y.shape)
    y.backward(upstream)
    x.grad[0] = 9.0
    np.testing.assert_array_equal(upstream, 1.0)
    upstream[...] = 5.0
    np.testing.assert_array_equal(x.grad, [9.0, 1.0])


def test_answers_of_gradients_share_no_memory() -> None:
    a, b = wanted([1.0, 2.0]), wanted([3.0, 4.0])
    upstream = np.ones(2)
    for_a, for_b = gradients(a + b, [a, b], gradient=upstream)
    for_a *= 100.0
    np.testing.assert_array_equal(for_b, 1.0)
    np.testing.assert_array_equal(upstream, 1.0)


# ---- again, on the same graph


@pytest.mark.parametrize("times", [2, 5])
def test_backward_again_on_the_same_graph_is_right(times: int) -> None:
    x = wanted([0.3, -0.7])
    loss = (np.exp(np.sin(x)) * x).sum()
    loss.backward()
    once = x.grad.copy()
    for _ in range(times - 1):
        loss.backward()
    np.testing.assert_allclose(x.grad, times * once, rtol=1e-15)


def test_two_losses_on_one_graph() -> None:
    x = wanted([1.0, 2.0])
    y = x * x
    first, second = y.sum(), (y * y).sum()
    first.backward()
    np.testing.assert_array_equal(y.grad, [1.0, 1.0])
    second.backward()
    np.testing.assert_array_equal(y.grad, [2.0, 8.0])
    np.testing.assert_array_equal(x.grad, [2.0 + 4.0, 4.0 + 32.0])


def test_gradients_leaves_grad_alone() -> None:
    x = wanted([1.0, 2.0])
    y = x * x
    gradients(y.sum(), [x, y])
    gradients(y.sum(), x, create_graph=True)
    assert (x.grad, y.grad) == (None, None)


# ---- where it starts


def test_the_gradient_argument() -> None:
    x = wanted([1.0, 2.0])
    y = x * x
    y.backward(np.array([10.0, 100.0]))
    np.testing.assert_array_equal(x.grad, [20.0, 400.0])
    np.testing.assert_array_equal(y.grad, [10.0, 100.0])
    x.grad = None
    y.backward([1, 2])
    np.testing.assert_array_equal(x.grad, [2.0, 8.0])
    x.grad = None
    y.backward(Tensor([1.0, 1.0]))
    np.testing.assert_array_equal(x.grad, [2.0, 4.0])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_loss_is_any_single_number(shape: tuple[int, ...]) -> None:
    x = wanted(np.full(shape, 3.0))
    (x * x).backward()
    np.testing.assert_array_equal(x.grad, np.full(shape, 6.0), strict=True)


def test_backward_of_many_numbers_needs_to_know_what_is_upstream() -> None:
    with pytest.raises(ValueError, match=r"starts at a single number, and y has shape \(2,\): .*\.mean\(\).*gradient="):
        (wanted([1.0, 2.0]) * 2.0).named("y").backward()


@pytest.mark.parametrize("upstream", [1.0, np.ones(3), np.ones((2, 1)), np.ones((1, 2))])
def test_the_gradient_argument_must_have_the_shape(upstream: Any) -> None:
    y = (wanted([1.0, 2.0]) * 2.0).named("y")
    with pytest.raises(ValueError, match=r"gradient= has shape \(.*\), and y has shape \(2,\)"):
        y.backward(upstream)


def test_a_tensor_without_history() -> None:
    x = wanted(1.0)
    with no_grad():
        untracked = (x * x).named("y")
    for tensor in (untracked, Tensor(1.0, name="y")):
        with pytest.raises(ValueError, match=r"y has no history .*requires_grad=True.*no_grad"):
            backward(tensor)


def test_a_leaf_is_its_own_gradient() -> None:
    x = wanted(3.0)
    x.backward()
    assert float(x.grad) == 1.0
    np.testing.assert_array_equal(gradients(x, x), 1.0)
