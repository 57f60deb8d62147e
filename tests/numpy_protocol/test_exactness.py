"""Where NumPy's own functions keep all digits, ours do too; the right values are mpmath's, with 50 digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from leaves import gradient_of, wanted

mpmath.mp.dps = 50

VALUES: dict[Any, tuple[Callable[[Any], Any], list[float]]] = {
    np.log10: (mpmath.log10, [1000.0, 1e-5, 1e15, 1e300, 2.0]),
    np.log2: (lambda x: mpmath.log(x, 2), [8.0, 2.0**-30, 2.0**300, 3.0]),
    np.exp2: (lambda x: mpmath.power(2, x), [3.0, -1022.0, 1023.5, 0.1]),
    np.cosh: (mpmath.cosh, [710.4, -710.4, 1e-3, 20.0]),
    np.sinh: (mpmath.sinh, [710.4, -710.4, 1e-8, 20.0]),
    np.tan: (mpmath.tan, [1.5707963, 1e-8, 100.0]),
    np.cbrt: (lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), [27.0, -1e-300, 1e300]),
    np.arctanh: (mpmath.atanh, [1 - 1e-15, 1e-9]),
}
SLOPES: dict[Any, tuple[Callable[[Any], Any], list[float]]] = {
    np.log10: (lambda x: 1 / (x * mpmath.log(10)), [1000.0, 1e300]),
    np.log2: (lambda x: 1 / (x * mpmath.log(2)), [8.0, 1e-300]),
    np.cosh: (mpmath.sinh, [710.4, 1e-8]),
    np.sinh: (mpmath.cosh, [-710.4, 1e-8]),
    np.exp2: (lambda x: mpmath.power(2, x) * mpmath.log(2), [1023.5, -1000.0]),
    np.tan: (lambda x: 1 / mpmath.cos(x) ** 2, [1.5707963, 0.5]),
    np.cbrt: (lambda x: 1 / (3 * mpmath.cbrt(x) ** 2), [1e-150, 1e150]),
}


def cases(table: dict[Any, tuple[Callable[[Any], Any], list[float]]]) -> list[Any]:
    """(function, oracle, x) for each number of a table."""
    return [
        pytest.param(f, oracle, x, id=f"{f.__name__}({x})") for f, (oracle, numbers) in table.items() for x in numbers
    ]


@pytest.mark.parametrize(("f", "oracle", "x"), cases(VALUES))
def test_values(f: Any, oracle: Callable[[Any], Any], x: float) -> None:
    expected = oracle(mpmath.mpf(x))
    assert np.isfinite(f(wanted(x)).data)
    assert abs(mpmath.mpf(float(f(wanted(x)))) - expected) <= 4 * np.finfo(float).eps * abs(expected)


@pytest.mark.parametrize(("f", "oracle", "x"), cases(SLOPES))
def test_slopes(f: Any, oracle: Callable[[Any], Any], x: float) -> None:
    expected = oracle(mpmath.mpf(x))
    assert abs(mpmath.mpf(float(gradient_of(f, x))) - expected) <= 8 * np.finfo(float).eps * abs(expected)


def test_the_logarithm_of_a_power_of_ten_is_a_whole_number() -> None:
    assert np.log10(wanted(1000.0)).item() == 3.0


@pytest.mark.parametrize("exponent", [2, 2.5, np.float32(2), np.array([2.0, 0.5], np.float32)])
def test_float_power_computes_in_double_precision(exponent: Any) -> None:
    x = np.array([1.1, 3.3], np.float32)
    t = wanted(x)
    out = np.float_power(t, exponent)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out.data, np.float_power(x, exponent))
    out.sum().backward()
    expected = [
        mpmath.mpf(float(e)) * mpmath.power(mpmath.mpf(float(b)), mpmath.mpf(float(e)) - 1)
        for b, e in zip(x, np.broadcast_to(exponent, 2), strict=True)
    ]
    np.testing.assert_allclose(t.grad, np.array(expected, float).astype(np.float32), rtol=1e-6)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("ord", [None, 1, 2, np.inf, 3])
def test_a_norm_has_slope_0_at_0(ord: Any, axis: Any) -> None:
    x = np.zeros((2, 3)) if axis is not None or ord in (None, 1, np.inf) else np.zeros(3)
    np.testing.assert_array_equal(gradient_of(lambda t: np.linalg.norm(t, ord, axis), x), np.zeros_like(x))


def test_a_standard_deviation_has_slope_0_where_all_numbers_are_equal() -> None:
    np.testing.assert_array_equal(gradient_of(lambda t: np.std(t, axis=0), np.full((3, 2), 0.7)), np.zeros((3, 2)))
    np.testing.assert_array_equal(gradient_of(lambda t: t.std(), np.full(4, 0.1)), np.zeros(4))
