"""Powers: the power rule where the exponent is a number, both rules where it is an array."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.comparison import logical_and
from tinygrad_ce.ops.elementwise import log, where


def power(base: Any, exponent: Any) -> Any:
    """base ** exponent: the power rule where the exponent is a Python number, both rules where it is an array.

    >>> power(np.array([2.0, 3.0]), 2)
    array([4., 9.])
    """
    if isinstance(exponent, Real):
        return constant_power(base, exponent=exponent)
    return general_power(base, exponent)


@primitive
def constant_power(x, *, exponent):
    """x to the power of a number, elementwise; the derivative is exponent * x**(exponent - 1).

    >>> constant_power([2.0, 3.0], exponent=2)
    array([4., 9.])
    """
    return x**exponent


@constant_power.vjp("x")
def constant_power_x(g, out, x, *, exponent):
    if exponent == 0:
        return where(False, g, 0)  # not g * 0, which is NaN where g is infinite
    if isinstance(exponent, np.generic):
        exponent = exponent.item()  # np.int8(-128) - 1 is 127, and a float32 loses digits that x has
    if exponent == 2:  # what one would write
        return g * 2 * x
    return g * exponent * constant_power(x, exponent=exponent - 1)


@primitive(broadcasts=True)
def general_power(base, exponent):
    """base to the power of an array, elementwise; shapes broadcast, and both get a gradient.

    >>> general_power([2.0, 3.0], [3.0, 2.0])
    array([8., 9.])
    """
    return base**exponent


@general_power.vjp("base")
def general_power_base(g, out, base, exponent):
    # At exponent 0 the slope is 0, also at base 0, where 0 * 0**-1 would be 0 * inf.
    safe = where(base == 0, where(exponent == 0, 1, base), base)
    return g * exponent * safe ** (exponent - 1)


@general_power.vjp("exponent")
def general_power_exponent(g, out, base, exponent):
    # 0**b is 0 for every b > 0: its slope is 0, where out * log(0) would be 0 * -inf. At b = 0 it is taken to be 0 too.
    return g * out * log(where(logical_and(base == 0, exponent >= 0), 1, base))


constant_power.domain("x >= 0 or exponent % 1 == 0", "take tg.ops.absolute(x) ** p, or another base")
constant_power.domain("x != 0 or exponent >= 0", "add an eps to the base", "x != 0 or exponent >= 1 or exponent == 0")
general_power.domain("base >= 0 or exponent % 1 == 0", "an exponent that learns needs a positive base", "base >= 0")
general_power.domain("base != 0 or exponent >= 0", "add an eps to the base", "base != 0 or exponent >= 1")
