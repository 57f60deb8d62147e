"""`gradients()`: of what, with respect to what, recorded or not; and which branches are not walked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from leaves import wanted

from tinygrad_ce import numpy_protocol
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

assert numpy_protocol  # np.sin(t) and its like


# ---- gradients()


def test_gradients_of_one_tensor_or_of_several() -> None:
    x, y = wanted([1.0, 2.0]), wanted([3.0, 4.0])
    loss = (x * y).sum()
    np.testing.assert_array_equal(gradients(loss, x), [3.0, 4.0])
    for_pair = gradients(loss, (x, y))
    assert isinstance(for_pair, list)
    np.testing.assert_array_equal(for_pair, [[3.0, 4.0], [1.0, 2.0]])
    assert gradients(loss, []) == []


def test_gradients_of_intermediate_tensors() -> None:
    x = wanted([1.0, 2.0])
    y = x * x
    z = np.exp(y)
    loss = (z * y).sum()
    for_x, for_y, for_z = gradients(loss, [x, y, z])
    at = x.data**2
    np.testing.assert_allclose(for_z, at, rtol=1e-14)
    np.testing.assert_allclose(for_y, np.exp(at) * (1 + at), rtol=1e-14)
    np.testing.assert_allclose(for_x, for_y * 2 * x.data, rtol=1e-14)


def test_the_same_tensor_asked_for_twice() -> None:
    x = wanted(3.0)
    assert [float(g) for g in gradients(x * x, [x, x])] == [6.0, 6.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_unrelated_tensors_have_gradient_zero(create_graph: bool) -> None:
    x, other = wanted([1.0, 2.0]), wanted(np.ones((2, 3), np.float32))
    later = x * 5.0
    for tensor in (other, later):
        zero = gradients((x * x).sum(), tensor, create_graph=create_graph)
        assert isinstance(zero, Tensor) == create_graph
        assert (zero.shape, zero.dtype) == (tensor.shape, tensor.dtype)
        np.testing.assert_array_equal(np.asarray(zero), 0)


@pytest.mark.parametrize("wrt", [Tensor(1.0, name="c"), np.ones(1), 1.0])
def test_what_did_not_ask_has_no_gradient(wrt: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        gradients(wanted(2.0) * 2.0, [wrt])


def test_the_error_names_the_tensor_that_did_not_ask() -> None:
    with pytest.raises(ValueError, match=r"c did not ask for gradients: make it with requires_grad=True"):
        gradients(wanted(2.0) * 2.0, Tensor(1.0, name="c"))


@pytest.mark.parametrize("of", [np.ones(1), 2.0, None])
def test_only_a_tensor_can_be_differentiated(of: Any) -> None:
    with pytest.raises(TypeError, match="Tensor"):
        gradients(of, wanted(1.0))


@pytest.mark.parametrize("order", range(1, 6))
def test_gradients_have_gradients_to_any_order(order: int) -> None:
    x = wanted([0.3, 1.2])
    y = np.sin(x)
    for _ in range(order):
        y = gradients(y.sum(), x, create_graph=True)
    exact = [np.sin, np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v)][order % 4]
    np.testing.assert_allclose(y.data, exact(x.data), rtol=1e-14)


def test_a_gradient_penalty_goes_backward() -> None:
    x, w = wanted([1.0, 2.0]), wanted([0.5, -0.3])
    out = np.tanh((w * x).sum())
    slope = gradients(out, x, create_graph=True)
    ((slope * slope).sum() + out).backward()
    t = np.tanh(w.data @ x.data)
    s = 1 - t * t  # slope = s w; |slope|^2 = s^2 |w|^2
    expected = s * s * 2 * w.data + 2 * s * (-2 * t * s) * x.data * (w.data @ w.data) + s * x.data
    np.testing.assert_allclose(w.grad, expected, rtol=1e-12)


def test_the_upstream_gradient_can_be_differentiated_too() -> None:
    x, upstream = wanted([1.0, 2.0]), wanted([1.0, 1.0])
    pulled = gradients(x * x, x, gradient=upstream, create_graph=True)
    np.testing.assert_array_equal(gradients(pulled.sum(), upstream), [2.0, 4.0])


def test_backward_works_inside_no_grad() -> None:
    x = wanted(3.0)
    loss = x * x
    with no_grad():
        loss.backward()
    assert float(x.grad) == 6.0


# ---- pruning


@pytest.mark.parametrize("create_graph", [False, True])
def test_branches_that_lead_to_nothing_wanted_are_not_walked(explosive: Any, create_graph: bool) -> None:
    x, other = wanted([1.0, 2.0]), wanted([3.0, 4.0])
    y = x * 2.0
    out = (y * explosive(other) + explosive(x * x) * Tensor([1.0, 1.0])).sum()
    np.testing.assert_array_equal(np.asarray(gradients(out, y, create_graph=create_graph).data), [3.0, 4.0])


def test_constants_are_not_walked(explosive: Any) -> None:
    x = wanted([1.0, 2.0])
    (x * explosive(Tensor([3.0, 4.0]))).sum().backward()
    np.testing.assert_array_equal(x.grad, [3.0, 4.0])


def test_what_is_detached_is_not_walked(explosive: Any) -> None:
    x = wanted([1.0, 2.0])
    (x * explosive(x).detach()).sum().backward()
    np.testing.assert_array_equal(x.grad, [1.0, 2.0])


def test_backward_does_walk_it(explosive: Any) -> None:
    with pytest.raises(AssertionError, match="nobody asked for"):
        explosive(wanted(1.0)).backward()
