"""Functions of numbers in compiled loops: what NumPy gives, also for zeros of both signs, infinities and NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from program.loops_as_python import loops_as_python

import tinygrad_ce as tg
from tinygrad_ce import ops

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, outside of a function's domain

ONE = [
    *("floor", "ceil", "rint", "trunc", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh", "arccosh"),
    *("arctanh", "log2", "log10", "exp2", "cbrt", "erf", "erfc", "isnan", "isfinite", "isinf"),
]
TWO = ["arctan2", "hypot", "logaddexp", "logical_xor"]
NUMBERS = [0.0, 0.5, 1.0, 2.5, 3.5, 0.99999, 1e-30, 40.0, 710.4, 1e4, 1e30, np.inf]
NUMBERS = [*NUMBERS, *(-x for x in NUMBERS), np.nan]


def ulps_apart(a: Any, b: Any) -> Any:
    """How many units of the last place two arrays differ by; 0 where both are NaN or the same infinity."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0, np.abs(a - b) / np.spacing(np.abs(b)))


def all_of(x: Any, y: Any) -> Any:
    return *(getattr(ops, name)(x) for name in ONE), *(getattr(ops, name)(x, y) for name in TWO)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_compiled_functions_of_numbers_are_numpys(dtype: Any) -> None:
    first, second = (side.ravel() for side in np.meshgrid(np.array(NUMBERS, dtype), np.array(NUMBERS, dtype)))
    answers, expected = tg.compile(all_of)(first, second), all_of(first, second)
    for name, ours, numpys in zip([*ONE, *TWO], answers, expected, strict=True):
        ours = np.asarray(getattr(ours, "data", ours))
        assert ours.dtype == numpys.dtype, name
        if numpys.dtype == bool:
            np.testing.assert_array_equal(ours, numpys, err_msg=name)
        else:
            assert np.all(ulps_apart(ours, numpys) <= 8), name
            np.testing.assert_array_equal(np.signbit(ours[ours == 0]), np.signbit(numpys[ours == 0]), err_msg=name)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w: x[:2] @ w,
        lambda x, w: np.diag(x[:2] @ w),
        lambda x, w: np.concatenate([x @ w, x], axis=1) ** 2,
        lambda x, w: np.einsum("ii,j->j", x[:2] @ w, x[0]),
        lambda x, w: x[:, :1] @ w[:1],  # backward multiplies by the transpose of a part
        lambda x, w: x[:2].T @ (x @ w)[:2],
        lambda x, w: (x @ w)[:, :1].T @ x,
        lambda x, w: x @ w + w.ravel()[:2],
        lambda x, w: x[1:] @ w + x[:2] @ w,
    ],
)
def test_a_part_of_an_array_in_a_product_of_matrices(f):
    """The copy of the part is no loop from end to end."""
    x, w = np.arange(6.0).reshape(3, 2), tg.Tensor([[0.3, -0.2], [0.5, 0.7]], requires_grad=True)

    def step(x):
        loss = (f(x, w) ** 2).sum()
        return loss, tg.gradients(loss, w, create_graph=True)

    compiled = tg.compile(step)
    for mine, expected in zip(compiled(x), step(x), strict=True):
        np.testing.assert_allclose(mine, expected.data, rtol=1e-12)


# ---- integers, running sums, sorting


def assert_identical(got: Any, expected: Any, name: Any, signs: bool = True) -> None:
    """The same dtype, shape and numbers, with the signs of zeros; NaN for NaN."""
    got, expected = np.asarray(getattr(got, "data", got)), np.asarray(getattr(expected, "data", expected))
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), name
    np.testing.assert_array_equal(got, expected, err_msg=str(name))
    if signs and got.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(expected[got == 0]), err_msg=str(name))


def with_a_remainder(a: Any, b: Any) -> Any:
    return a % b, a // b


def of_integers(a: Any, b: Any) -> Any:
    return *with_a_remainder(a, b), a**2, a**3, a**7, a * b, (a * a + b) / 2, -a - b, a ** (b * b % 5)


WHOLE = [0, 1, 2, 3, 7, 100, 127]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32, np.int8, np.uint8])
def test_remainders_and_powers_of_integers_are_numpys(dtype: Any) -> None:
    """Zeros divide, the smallest integer is divided by -1, and what is too large wraps around."""
    if np.dtype(dtype).kind == "f":
        numbers, step = np.array(NUMBERS, dtype), with_a_remainder
    else:
        signed = [-1, -2, -7, -128] if np.dtype(dtype).kind == "i" else []
        numbers, step = np.array([*WHOLE, *signed, np.iinfo(dtype).min, np.iinfo(dtype).max], dtype), of_integers
    first, second = (side.ravel() for side in np.meshgrid(numbers, numbers))
    for k, (mine, numpys) in enumerate(zip(tg.compile(step)(first, second), step(first, second), strict=True)):
        assert_identical(mine, numpys, k)


def test_an_integer_to_a_negative_power_is_refused_as_by_numpy() -> None:
    step = tg.compile(lambda a, b: a**b)
    assert step(np.array([2, -3]), np.array([3, 3])).tolist() == [8, -27]
    with pytest.raises(ValueError, match="negative integer powers"):
        step(np.array([2, -3]), np.array([3, -1]))


def along(axis: Any) -> Any:
    names = "cumsum", "cumprod", "sort", "argsort", "argmin"
    return lambda x: tuple(getattr(ops, name)(x, axis=axis) for name in names)


TABLE = np.random.default_rng(0).normal(size=(3, 4, 2)) * 3
TABLE[1, 1], TABLE[0, 2], TABLE[2, 0, 1] = TABLE[1, 0], 0.0, -0.0


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int8, np.bool_])
def test_running_sums_and_sorting_are_numpys(dtype: Any, axis: Any) -> None:
    tables = [TABLE.astype(dtype), TABLE[:, :1].astype(dtype), TABLE[::-1].astype(dtype)]
    if np.dtype(dtype).kind == "f":
        tables.append(np.where(np.abs(TABLE) > 3, np.nan, TABLE).astype(dtype))
    with loops_as_python():
        for table in tables:
            for k, (mine, numpys) in enumerate(zip(tg.compile(along(axis))(table), along(axis)(table), strict=True)):
                assert_identical(mine, numpys, k, signs=k != 2)  # np.sort may put -0.0 before or behind 0.0


def test_numba_gives_the_same_running_sums_and_order() -> None:
    for k, (mine, numpys) in enumerate(zip(tg.compile(along(1))(TABLE), along(1)(TABLE), strict=True)):
        assert_identical(mine, numpys, k, signs=k != 2)


@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"axis": (0, 2)}, {"axis": (2, 1), "keepdims": True}])
@pytest.mark.parametrize("x", [TABLE, TABLE.astype(np.float32), TABLE.astype(int), TABLE[:, :, :0], TABLE[:0]])
def test_products_are_numpys(x: Any, options: Any) -> None:
    with loops_as_python():
        mine, numpys = tg.compile(lambda x: ops.prod(x, **options))(x), np.prod(x, **options)
    assert (mine.shape, mine.dtype) == (numpys.shape, numpys.dtype)
    np.testing.assert_allclose(mine, numpys, rtol=1e-6 if x.dtype == np.float32 else 1e-13)
