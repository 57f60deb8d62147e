"""Sums, means and spreads of what is stored narrowly, of single numbers and of nothing: right, or as NumPy says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import ops

N = 100_000
HALF = np.dtype(np.float16)
ALTERNATING = np.tile(np.array([0.5, 1.5], HALF), N // 2)  # mean 1, variance 1/4, and a sum beyond float16


def gradient_of(f: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    t = tg.Tensor(x, requires_grad=True)
    f(t).backward()
    assert t.grad is not None
    assert t.grad.dtype == x.dtype
    return t.grad


# ---- float16 is storage: added up in float32, and given back


@pytest.mark.parametrize(
    ("op", "exact"), [(ops.reduce_mean, 1.0), (ops.variance, 0.25), (ops.std, 0.5)], ids=["mean", "variance", "std"]
)
@pytest.mark.parametrize("shape", [(N,), (N // 2, 2)], ids=str)
def test_a_mean_or_spread_of_many_halves(op: Any, exact: float, shape: tuple[int, ...]) -> None:
    out = op(tg.Tensor(ALTERNATING.reshape(shape)))
    assert out.dtype == HALF
    assert out.item() == exact


@pytest.mark.parametrize(
    ("shape", "axis", "exact"), [((5000,), None, 5000), ((5000, 2), 0, [5000] * 2), ((2, 60000), 1, [60000] * 2)]
)
def test_a_sum_of_halves_counts_beyond_2048_along_any_axis(shape: Any, axis: Any, exact: Any) -> None:
    """5000 is no float16, and the nearest one is; added one by one, it would end at 2048."""
    out = ops.reduce_sum(tg.Tensor(np.ones(shape, HALF)), axis=axis)
    np.testing.assert_array_equal(out.data, np.array(exact, HALF))


def test_a_sum_beyond_float16_is_infinite_and_warns_as_a_cast_does() -> None:
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert ops.reduce_sum(tg.Tensor(np.ones(N, HALF))).item() == np.inf


def test_the_gradient_of_a_mean_over_more_than_65504_rows_is_not_zero() -> None:
    g = gradient_of(lambda t: t.mean() * 1000, ALTERNATING)
    np.testing.assert_array_equal(g, np.full(N, 0.01, HALF))
    g = gradient_of(lambda t: (t.reshape(-1, 2).mean(axis=0) * 1000).sum(), np.repeat(ALTERNATING, 2))
    np.testing.assert_array_equal(g, np.full(2 * N, 0.01, HALF))


def test_the_gradients_of_the_spreads_of_many_halves() -> None:
    """d var / d x = 2 (x - mean) / n and d std / d x = (x - mean) / (n std), here with std = 1/2."""
    sign = np.sign(ALTERNATING.astype(float) - 1)
    np.testing.assert_allclose(gradient_of(lambda t: ops.variance(t) * 1000, ALTERNATING), sign * 0.01, rtol=1e-3)
    np.testing.assert_allclose(gradient_of(lambda t: ops.std(t) * 1000, ALTERNATING), sign * 0.01, rtol=1e-3)


def test_more_equal_largest_numbers_than_float16_counts_share_the_gradient() -> None:
    """The share of each of 100,000 is 1 / 100,000; of infinitely many, it would be 0."""
    g = gradient_of(lambda t: ops.reduce_max(t) * 1000, np.ones(N, HALF))
    np.testing.assert_array_equal(g, np.full(N, 0.01, HALF))
    g = gradient_of(lambda t: ops.reduce_min(t) * 1000, np.ones(N, HALF))
    np.testing.assert_array_equal(g, np.full(N, 0.01, HALF))


def test_a_program_computes_the_mean_of_many_halves_too() -> None:
    program = tg.trace(lambda x: x.mean(), ALTERNATING)
    assert program.run(ALTERNATING) == 1
    namespace: dict[str, Any] = {}
    exec(program.source, namespace)
    assert namespace["step"](ALTERNATING) == 1


# ---- integers and booleans of any width


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint64, np.bool_])
@pytest.mark.parametrize(
    ("op", "of_numpy"),
    [(ops.reduce_sum, np.sum), (ops.reduce_mean, np.mean), (ops.variance, np.var), (ops.std, np.std)],
)
def test_integers_are_added_up_as_numpy_does(dtype: Any, op: Any, of_numpy: Any) -> None:
    x = np.full((300, 2), 1 if dtype is np.bool_ else 100, dtype)
    for axis in (None, 0, 1):
        out, right = op(tg.Tensor(x), axis=axis), of_numpy(x, axis=axis)
        assert out.dtype == right.dtype
        np.testing.assert_array_equal(out.data, right)
    exact = {"reduce_sum": 30000, "reduce_mean": 100, "variance": 0, "std": 0}[op.name]
    assert op(tg.Tensor(np.full(300, 100, np.int16))).item() == exact


# ---- a single number, and none


@pytest.mark.parametrize(
    ("op", "slope"),
    [(ops.reduce_sum, 1.0), (ops.reduce_max, 1.0), (ops.reduce_min, 1.0), (ops.logsumexp, 1.0)],
    ids=["sum", "max", "min", "logsumexp"],
)
@pytest.mark.parametrize("axis", [0, -1, None, ()], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_single_number_has_an_axis_0(op: Any, slope: float, axis: Any, keepdims: bool) -> None:
    x = tg.Tensor(np.float32(3.0), requires_grad=True)
    out = op(x, axis=axis, keepdims=keepdims)
    assert (out.shape, out.dtype, out.item()) == ((), np.float32, 3.0)
    out.backward()
    assert x.grad == slope


@pytest.mark.parametrize(
    ("op", "of_numpy"),
    [
        (ops.reduce_sum, np.sum),
        (ops.reduce_max, np.max),
        (ops.reduce_mean, np.mean),
        (ops.variance, np.var),
        (ops.std, np.std),
    ],
)
@pytest.mark.parametrize("axis", [0, -1, 1, -2, (0,), (0, 0)], ids=str)
def test_where_numpy_refuses_the_axis_of_a_single_number_so_do_we(op: Any, of_numpy: Any, axis: Any) -> None:
    try:
        right = of_numpy(np.array(3.0), axis=axis)
    except np.exceptions.AxisError:
        with pytest.raises(IndexError, match=rf"^{op.name}: .*axis .* is out of bounds"):
            op(tg.Tensor(3.0), axis=axis)
    else:
        assert op(tg.Tensor(3.0), axis=axis).item() == right


@pytest.mark.parametrize("op", [ops.reduce_max, ops.reduce_min, ops.argmax])
def test_the_largest_of_nothing_is_refused(op: Any) -> None:
    with pytest.raises(ValueError, match=r"shape \(0, 3\)"):
        op(tg.Tensor(np.zeros((0, 3))), axis=0)
    assert op(tg.Tensor(np.zeros((0, 3))), axis=1).shape == (0,)


def test_the_sum_of_nothing_is_0_and_its_mean_and_spread_warn() -> None:
    nothing = tg.Tensor(np.zeros((0, 3)))
    np.testing.assert_array_equal(ops.reduce_sum(nothing, axis=0).data, np.zeros(3))
    for op in (ops.reduce_mean, ops.variance, ops.std):
        with pytest.warns(RuntimeWarning):
            assert np.isnan(op(nothing, axis=0).data).all()


# ---- the standard deviation


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9 / 3, 1e-300])
@pytest.mark.parametrize("n", [1, 3, 7])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_gradient_of_the_spread_of_equal_numbers_is_0(value: float, n: int, dtype: Any) -> None:
    """Also where the rounded mean of equal numbers is none of them, as that of three times 0.1."""
    np.testing.assert_array_equal(gradient_of(ops.std, np.full(n, value, dtype)), np.zeros(n))


def test_a_row_of_equal_numbers_does_not_disturb_the_others() -> None:
    x = np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 6.0]])
    g = gradient_of(lambda t: ops.std(t, axis=1).sum(), x)
    np.testing.assert_array_equal(g[0], 0)
    np.testing.assert_allclose(g[1], np.array([-2.0, -1.0, 3.0]) / (3 * np.sqrt(14 / 3)), rtol=1e-14)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_gradient_of_the_spread_on_paper(ddof: int, offset: float) -> None:
    """(x - mean) / ((n - ddof) std)."""
    x = np.array([1.0, 2.0, 4.0, 9.0])
    exact = (x - 4) / ((4 - ddof) * np.sqrt(38 / (4 - ddof)))
    np.testing.assert_allclose(gradient_of(lambda t: ops.std(t, ddof=ddof), x + offset), exact, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e150, 1e-150])
def test_spreads_of_huge_and_tiny_numbers_are_those_of_numpy(scale: float) -> None:
    x = np.array([1.0, 2.0, 4.0]) * scale
    np.testing.assert_allclose(ops.variance(tg.Tensor(x)).item(), scale**2 * 14 / 9, rtol=1e-14)
    np.testing.assert_allclose(ops.std(tg.Tensor(x)).item(), scale * np.sqrt(14 / 9), rtol=1e-14)
    np.testing.assert_allclose(gradient_of(ops.std, x), np.array([-4.0, -1.0, 5.0]) / (9 * np.sqrt(14 / 9)), rtol=1e-13)


@pytest.mark.parametrize("shape", [(5000, 3), (5000, 1, 3), (1000, 5, 3)], ids=str)
def test_the_gradient_of_a_bias_in_float16_counts_all_rows(shape: tuple[int, ...]) -> None:
    """Each of the 5000 rows has the gradient 1; added one by one in float16, they would end at 2048."""
    bias = tg.Tensor(np.zeros(3, HALF), requires_grad=True)
    (tg.Tensor(np.ones(shape, HALF)) + bias).backward(np.ones(shape, HALF))
    np.testing.assert_array_equal(bias.grad, np.full(3, 5000, HALF))  # type: ignore[arg-type]


# ---- nothing to reduce


@pytest.mark.parametrize("shape", [(5, 0, 0), (0,), (3, 0), (0, 3), (2, 0, 4)])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_softmax_family_of_empty_arrays(shape, axis, dtype):
    """softmax has the shape of x, as PyTorch's; the logarithm of an empty sum is -inf, as SciPy's."""
    x = tg.Tensor(np.zeros(shape, dtype), requires_grad=True)
    for out in (ops.softmax(x, axis=axis), ops.log_softmax(x, axis=axis)):
        assert (out.shape, out.dtype) == (shape, dtype)
        assert tg.gradients(out.sum(), x).shape == shape
    total = ops.logsumexp(x, axis=axis)
    left = np.empty(shape).sum(axis=axis).shape
    assert total.dtype == dtype
    np.testing.assert_array_equal(total.data, np.full(left, -np.inf))
    assert ops.logsumexp(x, axis=axis, keepdims=True).ndim == len(shape)
    assert tg.gradients(total.sum(), x).shape == shape
