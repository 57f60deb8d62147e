"""Rounding to whole numbers, and division with a remainder."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.elementwise import where


@primitive
def floor(x):
    """The largest whole number that is not above x, elementwise; its derivative is 0.

    >>> floor([-1.5, 1.5])
    array([-2.,  1.])
    """
    return np.floor(x)


@primitive
def ceil(x):
    """The smallest whole number that is not below x, elementwise; its derivative is 0.

    >>> ceil([-1.5, 1.5])
    array([-1.,  2.])
    """
    return np.ceil(x)


@primitive
def rint(x):
    """The nearest whole number, and of two the even one: 0.5 gives 0, 1.5 gives 2.

    >>> rint([0.5, 1.5])
    array([0., 2.])
    """
    return np.rint(x)


@primitive
def trunc(x):
    """x without what stands behind the decimal point, elementwise; its derivative is 0.

    >>> trunc([-1.5, 1.5])
    array([-1.,  1.])
    """
    return np.trunc(x)


def step_x(g: Any, out: Any, x: Any) -> Any:
    """The slope of a staircase: 0 on each step, and 0 at the jumps too."""
    return where(False, g, 0)  # not g * 0, which is NaN where g is infinite


for _staircase in (floor, ceil, rint, trunc):
    _staircase.vjp("x")(step_x)


@primitive(broadcasts=True)
def mod(a, b):
    """a % b, with the sign of b: a - b * floor(a / b).

    >>> mod([7.0, -7.0], 3.0)
    array([1., 2.])
    """
    return np.remainder(a, b)


@mod.vjp("a")
def mod_a(g, out, a, b):
    return g


@mod.vjp("b")
def mod_b(g, out, a, b):
    return -(g * floor_divide(a, b))


@primitive(broadcasts=True)
def floor_divide(a, b):
    """a / b, rounded down, elementwise; shapes broadcast, and its derivative is 0.

    >>> floor_divide([7.0, -7.0], 2.0)
    array([ 3., -4.])
    """
    return np.floor_divide(a, b)


def floor_divide_ab(g: Any, out: Any, a: Any, b: Any) -> Any:
    """The slope of a staircase."""
    return where(False, g, 0)


floor_divide.vjp("a")(floor_divide_ab)
floor_divide.vjp("b")(floor_divide_ab)


mod.domain("b != 0", "keep the divisor away from 0")
floor_divide.domain("b != 0", "keep the divisor away from 0")
