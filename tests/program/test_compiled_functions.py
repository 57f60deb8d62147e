"""Functions of numbers in compiled loops: what NumPy gives, also for zeros of both signs, infinities and NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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
