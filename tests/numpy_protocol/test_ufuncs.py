"""NumPy's ufuncs on a Tensor: NumPy's own values, also far out, and the slope of NumPy's own function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from agreement import check_gradients, check_values, differentiable
from leaves import wanted

from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.numpy_protocol import UFUNCS as NUMPY_UFUNCS

A = np.array([[0.7, -1.2, 0.4], [1.6, 0.3, -0.8]])
B = np.array([[0.5, 1.9, -0.6]])
POSITIVE = np.array([[0.7, 1.2, 0.4], [1.6, 0.3, 2.8]])
S = np.array([[1.5, 0.2, -0.7], [0.3, -1.1, 0.9], [0.8, 0.4, 2.0]])
T = np.arange(24.0).reshape(2, 3, 4) % 7 - 2.9 + np.arange(24.0).reshape(2, 3, 4) / 50
MASK = np.array([[True, False, True], [False, False, True]])


WHERE_DEFINED = {
    np.sqrt: (POSITIVE,),
    np.log: (POSITIVE,),
    np.log2: (POSITIVE,),
    np.log10: (POSITIVE,),
    np.log1p: (POSITIVE,),
    np.arcsin: (A / 2,),
    np.arccos: (A / 2,),
    np.arctanh: (A / 2,),
    np.arccosh: (POSITIVE + 1,),
    np.vecdot: (A, B),
    np.logical_xor: (MASK, MASK[:1]),
    np.bitwise_xor: (MASK, MASK[:1]),
    np.tan: (A / 2,),
    np.power: (POSITIVE, B),
    np.float_power: (POSITIVE, B),
    np.matmul: (A, S),
    np.logical_not: (MASK,),
    np.logical_and: (MASK, MASK[:, ::-1]),
    np.logical_or: (MASK, MASK[:1]),
    np.invert: (MASK,),
    np.bitwise_and: (MASK, MASK[:, ::-1]),
    np.bitwise_or: (MASK, MASK[:1]),
}
WHERE_DEFINED |= {getattr(np, name): (S, S[0]) for name in ("matvec",) if hasattr(np, name)}
WHERE_DEFINED |= {getattr(np, name): (S[0], S) for name in ("vecmat",) if hasattr(np, name)}
BY_UFUNC = {
    ufunc: WHERE_DEFINED.get(ufunc, (A,) if ufunc.nin == 1 else (A, B))
    for ufunc in NUMPY_UFUNCS
    if ufunc is not np.divmod
}
UFUNCS = [pytest.param(ufunc, arrays, id=ufunc.__name__) for ufunc, arrays in BY_UFUNC.items()]


@pytest.mark.parametrize(("ufunc", "arrays"), UFUNCS)
def test_ufuncs_are_numpys(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    check_values(ufunc, arrays)
    if ufunc.signature is None:
        check_values(ufunc, tuple(a[0, 0] for a in arrays))


@pytest.mark.parametrize(("ufunc", "arrays"), [p for p in UFUNCS if differentiable(*p.values)])
def test_gradients_of_ufuncs_are_the_slopes_of_numpys(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    check_gradients(ufunc, arrays)


@pytest.mark.parametrize(("ufunc", "arrays"), [p for p in UFUNCS if len(p.values[1]) == 2])
def test_ufuncs_of_an_array_and_a_tensor_on_either_side(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    a, b = arrays
    for answer in (ufunc(Tensor(a), b), ufunc(a, Tensor(b))):
        assert isinstance(answer, Tensor)
        np.testing.assert_allclose(answer.data, ufunc(a, b), rtol=1e-14)


@pytest.mark.parametrize(("ufunc", "arrays"), [p for p in UFUNCS if differentiable(*p.values)])
def test_ufuncs_keep_float32(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    if ufunc is np.float_power:
        return  # its name says float64
    tensors = [wanted(a.astype(np.float32)) for a in arrays]
    out = ufunc(*tensors)
    assert out.dtype == np.float32
    assert [g.dtype for g in gradients(out.sum(), tensors)] == [np.float32] * len(tensors)


FAR = np.array([0.0, -0.0, 1e-300, 1e-9, 40.0, -40.0, 700.0, -700.0, -1e4, 1e300, -1e300, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize(("ufunc", "arrays"), [p for p in UFUNCS if p.values[1][0].dtype.kind == "f"])
def test_ufuncs_are_numpys_far_out(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    if ufunc.signature is not None:  # np.matmul and its like
        return
    inputs = (FAR,) if ufunc.nin == 1 else (FAR[:, None], FAR[None, :])
    with np.errstate(all="ignore"):
        answer, expected = ufunc(*(Tensor(x) for x in inputs)).data, ufunc(*inputs)
    np.testing.assert_array_equal(np.isnan(answer), np.isnan(expected))
    np.testing.assert_allclose(answer, expected, rtol=1e-12, atol=1e-320)


@pytest.mark.parametrize("at", [[-np.inf, -np.inf], [0.0, -np.inf], [1e4, 1e4], [1e4, -1e4], [0.0, 0.0]])
def test_logaddexp_far_out_and_at_a_tie(at: list[float]) -> None:
    a, b = (wanted(x) for x in at)
    out = np.logaddexp(a, b)
    assert float(out) == float(np.logaddexp(*at))
    if np.isfinite(at).all():
        weights = np.exp(np.array(at) - max(at)) / np.exp(np.array(at) - max(at)).sum()
        first = gradients(out, [a, b], create_graph=True)
        np.testing.assert_allclose([g.item() for g in first], weights, rtol=1e-14)
        second = [float(g) for g in gradients(first[0], [a, b])]
        np.testing.assert_allclose(second, weights[0] * weights[1] * np.array([1, -1]), rtol=1e-13)


def test_the_remainder_of_0_has_a_slope_too() -> None:
    a, b = wanted(np.array([0.0, -0.0, 7.5, -7.5])), wanted(np.array([3.0, -3.0, -2.0, 2.0]))
    out = np.fmod(a, b)
    np.testing.assert_array_equal(out.data, [0.0, 0.0, 1.5, -1.5])
    da, db = gradients(out.sum(), [a, b])
    np.testing.assert_array_equal(da, np.ones(4))
    np.testing.assert_array_equal(db, [0.0, 0.0, 3.0, 3.0])  # fmod(a, b) = a - trunc(a / b) * b


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_logaddexp2_keeps_its_digits(dtype: Any) -> None:
    a = np.array([-1, 3, 0, -100, -24, np.inf, -np.inf, np.inf, np.nan, 1], dtype)
    b = np.array([-1, 3, -20, 0, 0, np.inf, -np.inf, -np.inf, 1, np.nan], dtype)
    eps = np.finfo(dtype).eps
    with np.errstate(invalid="ignore"):  # NumPy's own says so of inf - inf
        np.testing.assert_allclose(np.logaddexp2(Tensor(a), b).data, np.logaddexp2(a, b), rtol=4 * eps, atol=0)
    x, y = wanted(a[:5]), wanted(b[:5])
    dx, dy = gradients(np.logaddexp2(x, y).sum(), [x, y])
    shares = 1 / (1 + 2.0 ** (b[:5].astype(float) - a[:5]))
    np.testing.assert_allclose(dx, shares, rtol=8 * eps, atol=float(np.finfo(dtype).smallest_subnormal))
    np.testing.assert_allclose(dy, 1 / (1 + 2.0 ** (a[:5].astype(float) - b[:5])), rtol=8 * eps, atol=1e-30)


def test_pythons_round_is_numpys() -> None:
    np.testing.assert_array_equal(round(Tensor([1.26, 2.5])).data, [1.0, 2.0])
    np.testing.assert_array_equal(round(Tensor([1.26, 2.51]), 1).data, np.round([1.26, 2.51], 1))
