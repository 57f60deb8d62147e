"""Functions of one and two numbers where naive formulas overflow or lose their digits: values, slopes, curvatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

mp = mpmath.mpf
Exact = Callable[..., Any]


def root(x: Any) -> Any:
    return mpmath.sqrt(x)


def bell(x: Any) -> Any:
    return 2 / root(mpmath.pi) * mpmath.exp(-x * x)


# By name: the function, its first and its second derivative.
EXACT: dict[str, tuple[Exact, Exact, Exact]] = {
    "tan": (mpmath.tan, lambda x: mpmath.sec(x) ** 2, lambda x: 2 * mpmath.tan(x) * mpmath.sec(x) ** 2),
    "arcsin": (mpmath.asin, lambda x: 1 / root(1 - x * x), lambda x: x * (1 - x * x) ** mp(-1.5)),
    "arccos": (mpmath.acos, lambda x: -1 / root(1 - x * x), lambda x: -x * (1 - x * x) ** mp(-1.5)),
    "arctan": (mpmath.atan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2),
    "sinh": (mpmath.sinh, mpmath.cosh, mpmath.sinh),
    "cosh": (mpmath.cosh, mpmath.sinh, mpmath.cosh),
    "arcsinh": (mpmath.asinh, lambda x: 1 / root(1 + x * x), lambda x: -x * (1 + x * x) ** mp(-1.5)),
    "arccosh": (mpmath.acosh, lambda x: 1 / root(x * x - 1), lambda x: -x * (x * x - 1) ** mp(-1.5)),
    "arctanh": (mpmath.atanh, lambda x: 1 / (1 - x * x), lambda x: 2 * x / (1 - x * x) ** 2),
    "log2": (lambda x: mpmath.log(x, 2), lambda x: 1 / (x * mpmath.ln2), lambda x: -1 / (x * x * mpmath.ln2)),
    "log10": (mpmath.log10, lambda x: 1 / (x * mpmath.ln10), lambda x: -1 / (x * x * mpmath.ln10)),
    "exp2": (lambda x: mp(2) ** x, lambda x: mp(2) ** x * mpmath.ln2, lambda x: mp(2) ** x * mpmath.ln2**2),
    "cbrt": (
        lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
        lambda x: 1 / (3 * mpmath.cbrt(abs(x)) ** 2),
        lambda x: -2 * mpmath.sign(x) / (9 * mpmath.cbrt(abs(x)) ** 5),
    ),
    "erf": (mpmath.erf, bell, lambda x: -2 * x * bell(x)),
    "erfc": (mpmath.erfc, lambda x: -bell(x), lambda x: 2 * x * bell(x)),
}
SIZES = [1e-30, 1e-9, 0.1, 0.3, 0.5, 0.9, 0.99, 1 - 1e-6, 1 + 1e-6, 1.5, 3.0, 26.0, 88.0, 700.0, 710.4]
SIZES += [1e4, 1e10, 1e19, 1e30, 1e154, 1e160, 1e300]
POINTS = [0.0, *SIZES, *(-x for x in SIZES)]
INSIDE: dict[str, Callable[[float], bool]] = {
    **dict.fromkeys(("arcsin", "arccos", "arctanh"), lambda x: abs(x) < 1),
    **dict.fromkeys(("log2", "log10"), lambda x: x > 0),
    **dict.fromkeys(("sinh", "cosh", "exp2", "erf", "erfc"), lambda x: abs(x) < 2000),
    "arccosh": lambda x: x > 1,
    "cbrt": lambda x: x != 0,
    "tan": lambda x: abs(x) < 1e10,
}


def ulps(actual: Any, exact: Any, dtype: Any) -> float:
    """The distance in units of the last place; beyond the largest number the answer is infinite."""
    if abs(exact) > float(np.finfo(dtype).max):
        return 0.0 if np.isinf(actual) and (actual > 0) == (exact > 0) else np.inf
    if not np.isfinite(actual):
        return np.inf
    return float(abs(mp(float(actual)) - exact) / mp(float(np.spacing(np.abs(dtype(float(exact)))))))


def derivatives(f: Callable[..., Any], x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """The values at these points, and the first and second derivatives by x."""
    point = Tensor(x, requires_grad=True)
    out = f(point, *others)
    slope = gradients(out, point, create_graph=True, gradient=np.ones_like(x))
    return [out.data, slope.data, gradients(slope, point, gradient=np.ones_like(x))]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", EXACT)
def test_values_slopes_and_curvatures_are_exact_far_out(name: str, dtype: Any) -> None:
    inside = INSIDE.get(name, lambda x: True)
    with np.errstate(all="ignore"):
        points = np.array(POINTS, dtype)
        points = points[[bool(np.isfinite(x) and inside(float(x))) for x in points]]
        found = derivatives(getattr(ops, name), points)
    with mpmath.workdps(60):
        for values, exact, bound in zip(found, EXACT[name], (4, 8, 16), strict=True):
            for x, value in zip(points, values, strict=True):
                assert ulps(value, exact(mp(float(x))), dtype) <= bound, (x, value)


def slope_of_logaddexp(a: Any, b: Any) -> Any:
    return 1 / (1 + mpmath.exp(b - a)) if b - a < 1e5 else mp(0)


PAIRS: dict[str, tuple[Exact, Exact]] = {
    "hypot": (mpmath.hypot, lambda a, b: a / mpmath.hypot(a, b)),
    "arctan2": (mpmath.atan2, lambda a, b: b / (a * a + b * b)),
    "logaddexp": (lambda a, b: max(a, b) + mpmath.log1p(mpmath.exp(-abs(a - b))), slope_of_logaddexp),
}
FEW = [1e-300, 1e-9, 0.25, 1.0, 40.0, 1e10, 1e154, 1e200, 1e300]
LATTICE = np.array([(a, b) for a in [0.0, *FEW, *(-x for x in FEW)] for b in [0.0, *FEW, *(-x for x in FEW)] if a or b])


@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_numbers_are_exact_far_out(name: str) -> None:
    first, second = LATTICE.T.copy()
    with np.errstate(all="ignore"):
        found = derivatives(getattr(ops, name), first, second)
    with mpmath.workdps(700):
        for values, exact in zip(found[:2], PAIRS[name], strict=True):
            for a, b, value in zip(first, second, values, strict=True):
                # exp(a - b) has lost as many last places as a - b is large: the difference itself is rounded.
                bound = 8 + min(abs(a - b), 800) if name == "logaddexp" else 8
                assert ulps(value, exact(mp(float(a)), mp(float(b))), np.float64) <= bound, (a, b, value)


@pytest.mark.parametrize(
    ("op", "other"), [(ops.hypot, np.hypot), (ops.arctan2, np.arctan2), (ops.logaddexp, np.logaddexp)]
)
def test_the_second_argument_has_the_slope_of_the_first_with_the_roles_exchanged(op: Any, other: Any) -> None:
    a, b = Tensor(1.5, requires_grad=True), Tensor(-0.4, requires_grad=True)
    by_a, by_b = gradients(op(a, b), [a, b])
    step = 1e-6
    assert by_a == pytest.approx((other(1.5 + step, -0.4) - other(1.5 - step, -0.4)) / (2 * step), rel=1e-8)
    assert by_b == pytest.approx((other(1.5, -0.4 + step) - other(1.5, -0.4 - step)) / (2 * step), rel=1e-8)


def test_a_logarithm_of_infinitely_unlikely_things_has_slopes_0_and_1() -> None:
    a, b = Tensor([-np.inf, 0.0], requires_grad=True), Tensor([0.0, -np.inf], requires_grad=True)
    for_a, for_b = gradients(ops.logaddexp(a, b).sum(), [a, b])
    np.testing.assert_array_equal(for_a, [0.0, 1.0])
    np.testing.assert_array_equal(for_b, [1.0, 0.0])


def test_erf_takes_all_that_the_functions_of_numpy_take() -> None:
    np.testing.assert_array_equal(ops.erf(np.array([np.inf, -np.inf, np.nan, -0.0])), [1.0, -1.0, np.nan, -0.0])
    assert ops.erf(Tensor(np.array([0, 1], np.int8))).dtype == np.float64
    for dtype in (np.float16, np.float32, np.float64):
        out = ops.erfc(Tensor(np.zeros((2, 0), dtype)))
        assert (out.shape, out.dtype) == ((2, 0), dtype)
