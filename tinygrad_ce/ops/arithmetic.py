"""The arithmetic of the operators: + - * / ** and the comparisons."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.elementwise import log, where


@primitive(broadcasts=True)
def add(a, b):
    return a + b


@add.vjp("a")
def add_a(g, out, a, b):
    return g


@add.vjp("b")
def add_b(g, out, a, b):
    return g


@primitive(broadcasts=True)
def sub(a, b):
    return a - b


@sub.vjp("a")
def sub_a(g, out, a, b):
    return g


@sub.vjp("b")
def sub_b(g, out, a, b):
    return -g


@primitive(broadcasts=True)
def mul(a, b):
    return a * b


@mul.vjp("a")
def mul_a(g, out, a, b):
    return g * b


@mul.vjp("b")
def mul_b(g, out, a, b):
    return g * a


@primitive(broadcasts=True)
def div(a, b):
    return a / b


@div.vjp("a")
def div_a(g, out, a, b):
    return g / b


@div.vjp("b")
def div_b(g, out, a, b):
    return -(g * out / b)


@primitive
def neg(x):
    return -x


@neg.vjp("x")
def neg_x(g, out, x):
    return -g


def power(base: Any, exponent: Any) -> Any:
    """base ** exponent: the power rule where the exponent is a Python number, both rules where it is an array."""
    if isinstance(exponent, Real):
        return constant_power(base, exponent=exponent)
    return general_power(base, exponent)


@primitive
def constant_power(x, *, exponent):
    return x**exponent


@constant_power.vjp("x")
def constant_power_x(g, out, x, *, exponent):
    if exponent == 0:
        return where(False, g, 0)  # not g * 0, which is NaN where g is infinite
    if exponent == 2:  # what one would write
        return g * 2 * x
    return g * exponent * constant_power(x, exponent=exponent - 1)


@primitive(broadcasts=True)
def general_power(base, exponent):
    return base**exponent


@general_power.vjp("base")
def general_power_base(g, out, base, exponent):
    # At exponent 0 the slope is 0, also at base 0, where 0 * 0**-1 would be 0 * inf.
    safe = where(base == 0, where(exponent == 0, 1, base), base)
    return g * exponent * safe ** (exponent - 1)


@general_power.vjp("exponent")
def general_power_exponent(g, out, base, exponent):
    # 0**b is 0 for every b > 0: its slope is 0, where out * log(0) would be 0 * -inf.
    return g * out * log(where(base == 0, 1, base))


# ---- comparisons: booleans, so no gradient


@primitive
def greater(a, b):
    return np.greater(a, b)


@primitive
def greater_equal(a, b):
    return np.greater_equal(a, b)


@primitive
def less(a, b):
    return np.less(a, b)


@primitive
def less_equal(a, b):
    return np.less_equal(a, b)


@primitive
def equal(a, b):
    return np.equal(a, b)


@primitive
def not_equal(a, b):
    return np.not_equal(a, b)


@primitive
def logical_and(a, b):
    return np.logical_and(a, b)


@primitive
def logical_or(a, b):
    return np.logical_or(a, b)


@primitive
def logical_not(x):
    return np.logical_not(x)


for _comparison in (greater, greater_equal, less, less_equal, equal, not_equal, logical_and, logical_or):
    _comparison.constant_in("a", "b")
logical_not.constant_in("x")
