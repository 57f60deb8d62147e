"""Gradients of random graphs, first and second, against the autograd package."""

from __future__ import annotations

from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from graphs import BINARY, INPUTS, UNARY
from hypothesis import given, settings
from hypothesis import strategies as st
from leaves import recorded, wanted

from tinygrad_ce import numpy_protocol
from tinygrad_ce.functional import gradients

assert numpy_protocol  # np.sin(t) and its like
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
