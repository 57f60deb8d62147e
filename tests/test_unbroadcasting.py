"""Un-broadcasting and indexing: shares that are summed back to the shape of an input, against counting."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from leaves import wanted

from tinygrad_ce import numpy_protocol, ops
from tinygrad_ce.functional import gradients

assert numpy_protocol  # np.sin(t) and its like


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
