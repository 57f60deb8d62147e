"""The walk back: order, accumulation, un-broadcasting, pruning, memory; random graphs against the autograd package."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from samples import text_of

from tinygrad_ce import numpy_protocol, ops
from tinygrad_ce.backward import backward, gradients, no_grad
from tinygrad_ce.core import REGISTRY, Tensor, primitive

assert numpy_protocol  # np.sin(t) and its like


def wanted(data: Any, **options: Any) -> Tensor:
    """A tensor that asks for gradients."""
    return Tensor(data, requires_grad=True, **options)


def gradient_of(f: Callable[[Any], Any], at: Any) -> Any:
    """The gradient of the sum of f, on arrays."""
    x = wanted(at)
    return gradients(f(x).sum(), x)


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


@pytest.fixture
def explosive() -> Iterator[Any]:
    """A primitive whose rule must not be called."""
    before = dict(REGISTRY)

    @primitive
    def explosive(x):  # type: ignore[no-untyped-def]
        return x * 1

    @explosive.vjp("x")
    def explosive_x(g, out, x):  # type: ignore[no-untyped-def]
        raise AssertionError("a gradient that nobody asked for")

    yield explosive
    REGISTRY.clear()
    REGISTRY.update(before)


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


# ---- long chains, and memory


def test_a_chain_of_100_000_ops() -> None:
    x = wanted(1.0)
    y = x
    for _ in range(50_000):
        y = (y + 1.0) - 1.0
    y.backward()
    assert float(x.grad) == 1.0
    del y  # a recursive release would overflow the stack here


def test_a_long_chain_has_recorded_gradients() -> None:
    x = wanted(2.0)
    y = x
    for _ in range(5_000):
        y = -y
    first = gradients(y * y, x, create_graph=True)
    assert float(gradients(first, x)) == 2.0


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed here is freed by reference counting alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def forward(x: Tensor) -> Tensor:
    hidden = np.tanh(x @ np.ones((2, 3)) + 1.0)
    return (np.concatenate([hidden, hidden * 2.0])[[0, 1, 1]] * ops.softmax(hidden)[0]).sum()


def recorded(loss: Tensor) -> list[weakref.ref[Tensor]]:
    """Weak references to all tensors that the loss was made from."""
    found, stack = [], [loss]
    while stack:
        tensor = stack.pop()
        found.append(weakref.ref(tensor))
        stack.extend(t for t in tensor.inputs if isinstance(t, Tensor) and t.op is not None)
    return found


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "walk", [lambda loss, x: None, lambda loss, x: loss.backward(), lambda loss, x: gradients(loss, x)]
)
def test_reference_counting_alone_frees_the_graph(walk: Callable[..., Any]) -> None:
    x = wanted(np.ones((2, 2)))
    loss = forward(x)
    walk(loss, x)
    references = recorded(loss)
    assert len(references) > 5
    del loss
    assert [ref() for ref in references if ref() is not None] == []


@pytest.mark.usefixtures("no_collector")
def test_reference_counting_alone_frees_a_recorded_backward() -> None:
    x = wanted(np.ones((2, 2)))
    slope = gradients(forward(x), x, create_graph=True)
    penalty = (slope * slope).sum()
    penalty.backward()
    references = recorded(penalty)
    del slope, penalty
    assert [ref() for ref in references if ref() is not None] == []


@pytest.mark.usefixtures("no_collector")
def test_an_error_in_backward_keeps_nothing(explosive: Any) -> None:
    loss = explosive(wanted(1.0) * 2.0)
    references = recorded(loss)
    with pytest.raises(AssertionError, match="nobody asked for") as caught:
        loss.backward()
    caught.value.__traceback__ = None
    del loss, caught
    assert [ref() for ref in references if ref() is not None] == []


@pytest.mark.usefixtures("no_collector")
def test_what_is_not_recorded_keeps_no_inputs() -> None:
    x = wanted([1.0])
    with no_grad():
        y = x * 2.0
        z = y * 3.0
    reference = weakref.ref(y)
    del y
    assert reference() is None
    assert z.item() == 6.0


# ---- at the kinks


@pytest.mark.parametrize(
    ("f", "at", "expected"),
    [
        (lambda t: ops.relu(t), [0.0, -0.0, 1.0, -1.0], [0.0, 0.0, 1.0, 0.0]),
        (lambda t: abs(t), [0.0, -0.0, 2.0, -2.0], [0.0, 0.0, 1.0, -1.0]),
        (lambda t: np.sign(t), [0.0, 2.0], [0.0, 0.0]),
        (lambda t: np.maximum(t, 1.0), [1.0, 0.0, 2.0], [0.5, 0.0, 1.0]),
        (lambda t: np.maximum(1.0, t), [1.0, 0.0, 2.0], [0.5, 0.0, 1.0]),
        (lambda t: np.minimum(t, 1.0), [1.0, 0.0, 2.0], [0.5, 1.0, 0.0]),
        (lambda t: np.minimum(1.0, t), [1.0, 0.0, 2.0], [0.5, 1.0, 0.0]),
        (lambda t: np.maximum(t, t), [1.0, -3.0], [1.0, 1.0]),
        (lambda t: t.max(), [3.0, 1.0, 3.0, 3.0], [1 / 3, 0.0, 1 / 3, 1 / 3]),
        (lambda t: t.min(), [3.0, 1.0, 1.0, 3.0], [0.0, 0.5, 0.5, 0.0]),
        (lambda t: t.max(axis=0), [[1.0, 5.0], [1.0, 4.0]], [[0.5, 1.0], [0.5, 0.0]]),
        (lambda t: t.max(axis=(0, 1), keepdims=True), [[5.0, 5.0], [5.0, 5.0]], [[0.25, 0.25], [0.25, 0.25]]),
        (lambda t: t.min(axis=1), [[2.0, 2.0, 2.0]], [[1 / 3, 1 / 3, 1 / 3]]),
        (lambda t: ops.clip(t, low=0.0, high=1.0), [-1.0, 0.0, 0.5, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0, 0.0]),
        (lambda t: t**0, [0.0, 2.0], [0.0, 0.0]),
        (lambda t: t**1, [0.0, 2.0], [1.0, 1.0]),
        (lambda t: t**2, [0.0, 2.0], [0.0, 4.0]),
        (lambda t: t ** np.array([0.0, 1.0, 2.0]), [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
        (lambda t: np.array([0.0, 0.0]) ** t, [2.0, 3.0], [0.0, 0.0]),
        (lambda t: ops.xlogy(t, 0.0), [0.0], [-np.inf]),
        (lambda t: ops.xlogy(0.0, t), [0.0, 2.0], [0.0, 0.0]),
        (lambda t: np.logaddexp(t, 1.0), [1.0], [0.5]),
        (lambda t: ops.softplus(t), [0.0], [0.5]),
    ],
    ids=text_of,
)
def test_kinks_are_as_documented(f: Callable[[Any], Any], at: Any, expected: Any) -> None:
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(gradient_of(f, at), expected)


@pytest.mark.parametrize("at", [[1.0, 0.0], [0.0, 1.0]])
def test_where_gives_exactly_zero_to_the_branch_not_taken(at: list[float]) -> None:
    x, y = wanted(at), wanted([np.nan, np.inf])
    for_x, for_y = gradients(np.where([True, True], x, y).sum(), [x, y])
    np.testing.assert_array_equal(for_x, 1.0)
    np.testing.assert_array_equal(for_y, 0.0)


def test_nan_upstream_stays_on_its_branch() -> None:
    x, y = wanted([1.0, 2.0]), wanted([3.0, 4.0])
    for_x, for_y = gradients(np.where([True, False], x, y), [x, y], gradient=[np.nan, 5.0])
    np.testing.assert_array_equal(for_x, [np.nan, 0.0])
    np.testing.assert_array_equal(for_y, [0.0, 5.0])


def test_the_slope_of_a_root_at_zero_is_infinite() -> None:
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(gradient_of(np.sqrt, [0.0, 4.0]), [np.inf, 0.25])


# ---- un-broadcasting


def summed_back(upstream: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The oracle: number the elements of the input, broadcast the numbers, and count what arrives at each."""
    size = int(np.prod(shape))
    numbers = np.broadcast_to(np.arange(size).reshape(shape), upstream.shape)
    return np.bincount(numbers.ravel(), upstream.ravel(), minlength=size).reshape(shape)


TWO_SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=4, min_side=0, max_side=4)


@settings(deadline=None, max_examples=150)
@given(shapes=TWO_SHAPES, seed=st.integers(0, 2**32 - 1), recorded=st.booleans())
def test_unbroadcasting_equals_counting(shapes: Any, seed: int, recorded: bool) -> None:
    rng = np.random.default_rng(seed)
    a, b = (wanted(rng.integers(1, 9, shape).astype(float)) for shape in shapes.input_shapes)
    upstream = rng.integers(-9, 9, shapes.result_shape).astype(float)
    mask = rng.integers(0, 2, shapes.result_shape).astype(bool)
    cases = [
        (a + b, upstream, upstream),
        (a - b, upstream, -upstream),
        (a * b, upstream * b.data, upstream * a.data),
        (ops.where(mask, a, b), np.where(mask, upstream, 0), np.where(mask, 0, upstream)),
    ]
    for out, for_a, for_b in cases:
        assert out.shape == shapes.result_shape
        first, second = (
            (np.asarray(g.data) for g in gradients(out, [a, b], gradient=upstream, create_graph=True))
            if (recorded)
            else gradients(out, [a, b], gradient=upstream)
        )
        np.testing.assert_array_equal(first, summed_back(for_a, a.shape))
        np.testing.assert_array_equal(second, summed_back(for_b, b.shape))


@settings(deadline=None, max_examples=60)
@given(
    batches=hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=2, min_side=1, max_side=3),
    sizes=st.tuples(*[st.integers(0, 3)] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_batched_matmul_equals_one_matrix_at_a_time(batches: Any, sizes: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k, m = sizes
    first, second = batches.input_shapes
    a, b = (wanted(rng.integers(-3, 4, s).astype(float)) for s in ((*first, n, k), (*second, k, m)))
    upstream = rng.integers(-3, 4, (*batches.result_shape, n, m)).astype(float)
    for_a, for_b = gradients(a @ b, [a, b], gradient=upstream)
    wide_a = np.broadcast_to(a.data, (*batches.result_shape, n, k))
    wide_b = np.broadcast_to(b.data, (*batches.result_shape, k, m))
    shares_a, shares_b = np.zeros(wide_a.shape), np.zeros(wide_b.shape)
    for at in np.ndindex(batches.result_shape):
        shares_a[at] = upstream[at] @ wide_b[at].T
        shares_b[at] = wide_a[at].T @ upstream[at]
    np.testing.assert_array_equal(for_a, summed_back(shares_a, a.shape))
    np.testing.assert_array_equal(for_b, summed_back(shares_b, b.shape))


@settings(deadline=None, max_examples=100)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_indexing_equals_numpy_and_its_gradient_counts(data: st.DataObject, seed: int) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    key = data.draw(
        st.one_of(
            hnp.basic_indices(shape, allow_newaxis=True),
            hnp.integer_array_indices(shape),
            hnp.arrays(bool, shape),
        )
    )
    array = np.random.default_rng(seed).normal(size=shape)
    x = wanted(array)
    taken = x[key]
    np.testing.assert_array_equal(taken.data, array[key])
    upstream = np.arange(1.0, taken.size + 1).reshape(taken.shape)
    numbers = np.arange(x.size).reshape(shape)[key]
    expected = np.bincount(np.ravel(numbers), np.ravel(upstream), minlength=x.size).reshape(shape)
    np.testing.assert_array_equal(gradients(taken, x, gradient=upstream), expected)


def test_a_bias_of_the_shape_of_a_batch_is_refused_or_right() -> None:
    x, w, b = wanted(np.ones((1, 3))), wanted(np.ones((3, 2))), wanted(np.ones((4, 2)))
    try:
        out = ops.affine(x, w, b)
    except ValueError:
        return
    for_x, for_w, for_b = gradients(out.sum(), [x, w, b])
    np.testing.assert_array_equal(for_x, np.full((1, 3), 8.0))
    np.testing.assert_array_equal(for_w, np.full((3, 2), 4.0))
    np.testing.assert_array_equal(for_b, np.ones((4, 2)))


# ---- random graphs, against the autograd package

UNARY: dict[str, Callable[[Any, Any], Any]] = {
    "sin": lambda np, a: np.sin(a),
    "tanh": lambda np, a: np.tanh(a),
    "bell": lambda np, a: np.exp(-a * a),
    "log1p": lambda np, a: np.log1p(a * a),
    "root": lambda np, a: np.sqrt(1 + a * a),
    "cube": lambda np, a: (0.5 * a) ** 3,
    "absolute": lambda np, a: np.abs(a),
    "mean": lambda np, a: a - np.mean(a),
    "sum0": lambda np, a: np.sum(a, axis=0, keepdims=True) if a.ndim else a,
    "max1": lambda np, a: np.max(a, axis=-1, keepdims=True) * a if a.ndim else a,
    "var": lambda np, a: a + np.var(a),
    "flip": lambda np, a: a[..., ::-1] if a.ndim else a,
    "rows": lambda np, a: a[[0, -1, 0]][:1] if a.ndim else a,
    "gram": lambda np, a: np.sum(np.dot(a, np.transpose(a))) * 0.1 if a.ndim == 2 else a,
    "there and back": lambda np, a: np.reshape(np.ravel(a), a.shape),
    "clip": lambda np, a: np.clip(a, -0.9, 0.9),
}
BINARY: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda np, a, b: a + b,
    "sub": lambda np, a, b: a - b,
    "mul": lambda np, a, b: a * b,
    "div": lambda np, a, b: a / (2 + np.sin(b)),
    "maximum": lambda np, a, b: np.maximum(a, b),
    "where": lambda np, a, b: np.where(np.cos(a + b) > 0.5, a + 0 * b, b + 0 * a),
    "pow": lambda np, a, b: (1 + a * a) ** np.tanh(b),
    "stack": lambda np, a, b: np.sum(np.stack([a + b, a * b]), axis=0),
    "join": lambda np, a, b: np.sum(np.concatenate([np.ravel(a), np.ravel(b)])) * 0.3,
    "logaddexp": lambda np, a, b: np.logaddexp(a, b),
}
INPUTS = [(), (2,), (3, 2), (3, 1), (1, 2)]
STEP = st.one_of(
    st.tuples(st.sampled_from(sorted(UNARY)), st.integers(0, 30)),
    st.tuples(st.sampled_from(sorted(BINARY)), st.integers(0, 30), st.integers(0, 30)),
)
GRAPHS = st.lists(STEP, min_size=1, max_size=12)
TWICE_SMOOTH = GRAPHS.map(lambda graph: [step for step in graph if step[0] != "logaddexp"])
Graph = list[tuple[Any, ...]]


def run_graph(numpy: Any, graph: Graph, inputs: list[Any]) -> Any:
    """Run the steps with this NumPy: each adds a value made of earlier ones. The result sums up the last three."""
    values = list(inputs)
    for name, *operands in graph:
        chosen = [values[i % len(values)] for i in operands]
        values.append((UNARY | BINARY)[name](numpy, *chosen))
    return sum((numpy.sum(numpy.sin(value)) for value in values[-3:]), start=0.0)


def drawn_inputs(seed: int, dtype: Any = np.float64) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=shape), dtype) for shape in INPUTS]


@settings(deadline=None, max_examples=300)
@given(graph=GRAPHS, seed=st.integers(0, 2**32 - 1))
def test_random_graphs_equal_autograd(graph: Graph, seed: int) -> None:
    inputs = drawn_inputs(seed)
    tensors = [wanted(x) for x in inputs]
    loss = run_graph(np, graph, tensors)
    expected_value, expected = autograd.value_and_grad(lambda xs: run_graph(anp, graph, xs))(inputs)
    np.testing.assert_allclose(loss.data, expected_value, rtol=1e-10)
    if loss.requires_grad:
        loss.backward()
    for tensor, theirs in zip(tensors, expected, strict=True):
        ours = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=150)
@given(graph=TWICE_SMOOTH, seed=st.integers(0, 2**32 - 1))
def test_second_derivatives_of_random_graphs_equal_autograd(graph: Graph, seed: int) -> None:
    inputs, directions = drawn_inputs(seed), drawn_inputs(seed + 1)

    def along(np: Any, slopes: Any) -> Any:
        return sum((np.sum(slope * way) for slope, way in zip(slopes, directions, strict=True)), start=0.0)

    slopes_of = autograd.grad(lambda xs: run_graph(anp, graph, xs))
    expected = autograd.grad(lambda xs: along(anp, slopes_of(xs)))(inputs)
    tensors = [wanted(x) for x in inputs]
    slopes = gradients(run_graph(np, graph, tensors), tensors, create_graph=True)
    ours = gradients(along(np, slopes), tensors)
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-8)


@settings(deadline=None, max_examples=60)
@given(graph=GRAPHS, seed=st.integers(0, 2**32 - 1))
def test_random_graphs_keep_float32_everywhere(graph: Graph, seed: int) -> None:
    tensors = [wanted(x) for x in drawn_inputs(seed, np.float32)]
    loss = run_graph(np, graph, tensors)
    loss.backward()
    for tensor in [loss, *(ref() for ref in recorded(loss)), *tensors]:
        assert tensor.dtype == np.float32
        assert tensor.grad is None or tensor.grad.dtype == np.float32
    again = gradients(loss, tensors, create_graph=True)
    assert all(g.dtype == np.float32 for g in again)


def test_a_wider_branch_hands_back_the_narrow_dtype() -> None:
    narrow, wide = wanted(np.ones(2, np.float32)), wanted(np.ones(2))
    out = narrow * wide
    out.sum().backward()
    assert (out.dtype, narrow.grad.dtype, wide.grad.dtype) == (np.float64, np.float32, np.float64)


def test_the_upstream_gradient_takes_the_dtype_of_the_result() -> None:
    x = wanted(np.ones(2, np.float32))
    y = x * 2.0
    y.backward(np.array([1.0, 2.0]))
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float32)
