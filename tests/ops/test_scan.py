"""Products with zeros among their factors, running sums and products, sorting, medians: against mathematics."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import prod
from typing import Any

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad as autograd_of
from leaves import gradient_of, wanted

from tinygrad_ce import numpy_protocol, ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients, hessian

assert numpy_protocol  # t.sum() and its like

FACTORS = [[2.0, -3.0, 0.5, 4.0], [2.0, 0.0, 0.5, 4.0], [0.0, -3.0, 0.0, 4.0], [0.0, 0.0, 0.0, 4.0], [7.0], []]


@pytest.mark.parametrize("factors", FACTORS)
def test_the_slope_of_a_product_is_the_product_of_the_others(factors: list[float]) -> None:
    others = [prod(factors[:i] + factors[i + 1 :]) for i in range(len(factors))]
    np.testing.assert_array_equal(gradient_of(ops.prod, factors), others)


@pytest.mark.parametrize("factors", FACTORS[:-1])
def test_the_curvature_of_a_product_is_the_product_of_all_but_two(factors: list[float]) -> None:
    expected = np.zeros((len(factors), len(factors)))
    for i, j in combinations(range(len(factors)), 2):
        expected[i, j] = expected[j, i] = prod(x for k, x in enumerate(factors) if k not in (i, j))
    np.testing.assert_array_equal(hessian(ops.prod)(np.array(factors)), expected)


@pytest.mark.parametrize("factors", FACTORS)
def test_the_slopes_of_a_running_product_are_right_at_zeros(factors: list[float]) -> None:
    upstream = [Fraction(k + 1, 2) for k in range(len(factors))]
    exact = [Fraction(x) for x in factors]
    expected = [
        sum((upstream[j] * prod(exact[:i] + exact[i + 1 : j + 1]) for j in range(i, len(factors))), Fraction(0))
        for i in range(len(factors))
    ]
    x = Tensor(np.array(factors), requires_grad=True)
    found = gradients(ops.cumprod(x), x, gradient=np.array(upstream, float))
    np.testing.assert_array_equal(found, np.array(expected, float))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (2, 1, 0), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_product_along_axes_has_the_gradient_of_its_logarithm(axis: Any, keepdims: bool) -> None:
    x = np.random.default_rng(0).uniform(0.5, 2.0, (2, 3, 4))

    def product(x: Any) -> Any:
        return anp.sum(anp.exp(anp.sum(anp.log(x), axis=axis)) ** 2)

    found = gradient_of(lambda t: (ops.prod(t, axis=axis, keepdims=keepdims) ** 2).sum(), x)
    np.testing.assert_allclose(found, autograd_of(product)(x), rtol=1e-12)


@pytest.mark.parametrize("axis", [None, 0])
def test_a_single_number_is_a_product_and_a_running_sum_of_one(axis: Any) -> None:
    for op in (ops.cumsum, ops.cumprod):
        assert gradient_of(lambda t, op=op: op(t, axis=axis).sum(), 3.0) == 1.0
    assert gradient_of(lambda t: ops.prod(t), 3.0) == 1.0


def test_half_precision_is_computed_in_single_precision() -> None:
    many = Tensor(np.ones(5000, np.float16))
    assert (ops.cumsum(many).dtype, ops.cumsum(many).data[-1]) == (np.float16, 5000)  # a sum of halves ends at 2048
    up_and_down = Tensor(np.array([200.0, 200.0, 0.001], np.float16))
    expected = np.prod(up_and_down.data.astype(float))
    for out in (ops.prod(up_and_down), ops.cumprod(up_and_down)[-1]):
        assert out.dtype == np.float16
        assert float(out.data) == pytest.approx(expected, rel=1e-3)
    assert ops.median(Tensor(np.array([60000, 60000], np.float16))).data == 60000


def test_a_sorted_element_sends_its_gradient_to_where_it_came_from() -> None:
    x = wanted([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0]])
    weights = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    np.testing.assert_array_equal(gradients(ops.sort(x), x, gradient=weights), [[3, 1, 2], [5, 6, 4]])
    np.testing.assert_array_equal(gradients(ops.sort(x, axis=0), x, gradient=weights), [[4, 2, 6], [1, 5, 3]])
    flat = gradients(ops.sort(x, axis=None), x, gradient=np.arange(6.0))
    np.testing.assert_array_equal(flat, [[4, 2, 3], [1, 5, 0]])


def test_equal_and_missing_numbers_are_sorted_without_losing_a_share() -> None:
    x = wanted([1.0, np.nan, 1.0, -np.inf, 1.0])
    shares = gradients(ops.sort(x), x, gradient=np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    np.testing.assert_array_equal(shares, [2, 16, 4, 1, 8])


@pytest.mark.parametrize(
    ("axis", "keepdims"), [(None, False), (0, False), (-1, True), ((0, 2), False), ((0, 2), True), ((1, 0), True)]
)
def test_a_median_is_numpys_and_its_gradient_is_that_of_the_middle(axis: Any, keepdims: bool) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    out = ops.median(wanted(x), axis=axis, keepdims=keepdims)
    np.testing.assert_array_equal(out.data, np.median(x, axis=axis, keepdims=keepdims))
    found = gradient_of(lambda t: ops.median(t, axis=axis, keepdims=keepdims).sum(), x)
    step = 1e-7 * np.random.default_rng(2).normal(size=x.shape)  # so small that no two elements change places
    change = np.median(x + step, axis=axis).sum() - np.median(x - step, axis=axis).sum()
    assert float(np.sum(found * 2 * step)) == pytest.approx(float(change), rel=1e-6)


def test_a_median_of_whole_numbers_of_nothing_and_of_what_is_missing() -> None:
    small = Tensor(np.array([100, 120], np.int8))
    assert (ops.median(small).dtype, float(ops.median(small).data)) == (np.float64, 110.0)
    assert np.isnan(ops.median(Tensor([1.0, np.nan, 2.0])).data)
    with pytest.raises(ValueError, match="no element"):
        ops.median(Tensor(np.zeros((0, 3))), axis=0)
    with pytest.raises(IndexError, match="axis 3"):
        ops.median(Tensor(np.zeros((2, 3))), axis=3)


def test_an_element_that_is_taken_twice_has_both_gradients() -> None:
    x = wanted([[1.0, 2.0, 3.0]])
    taken = ops.take_along_axis(x, np.array([[2, 2, -1, 0]], np.int8), axis=1)
    np.testing.assert_array_equal(taken.data, [[3, 3, 3, 1]])
    np.testing.assert_array_equal(gradients(taken, x, gradient=np.array([[1.0, 2.0, 4.0, 8.0]])), [[8, 0, 7]])


@pytest.mark.parametrize("indices", [[0, 1], [[True, False]], [[0.0, 1.0]], [[7]]])
def test_indices_that_take_nothing_sensible_are_refused(indices: Any) -> None:
    with pytest.raises(IndexError, match=r"indices|out of bounds"):
        ops.take_along_axis(wanted([[1.0, 2.0]]), np.array(indices), axis=1)


def test_argmin_and_argsort_have_no_gradient_and_take_the_first_of_equals() -> None:
    x = wanted([2.0, 1.0, 1.0])
    assert not ops.argmin(x).requires_grad
    assert int(ops.argmin(x).data) == 1
    np.testing.assert_array_equal(ops.argsort(x).data, [1, 2, 0])
