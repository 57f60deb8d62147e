"""The trigonometric and hyperbolic functions with their inverses, logarithms to other bases, roots and erf.

Derivatives: NIST Digital Library of Mathematical Functions, 4.20, 4.24, 4.34, 4.38 and 7.2. They are written so that
no square overflows on the way, and no digit is lost in the tails and near the ends of a domain.
"""

from __future__ import annotations

from math import erf as error_function
from math import erfc as complementary_error_function
from math import inf, pi
from math import log as logarithm
from math import sqrt as square_root
from typing import Any

import numpy as np

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.elementwise import absolute, exp, sigmoid, sqrt, where

LN_2, LN_10 = logarithm(2), logarithm(10)
ERF_SLOPE = 2 / square_root(pi)  # of erf at 0


@primitive
def tan(x):
    """The tangent of x in radians, elementwise.

    >>> tan([0.0])
    array([0.])
    """
    return np.tan(x)


@tan.vjp("x")
def tan_x(g, out, x):
    return g * (1 + out * out)


def one_minus_square(x: Any) -> Any:
    """1 - x**2 with its digits near 1, where it is a product; near 0 the slope of the product would lose them."""
    return where(absolute(x) < 0.5, 1 - x * x, (1 - x) * (1 + x))


@primitive
def arcsin(x):
    """The angle from -pi/2 to pi/2 whose sine is x, elementwise; NaN outside of [-1, 1].

    >>> arcsin([0.0, 1.0])
    array([0.        , 1.57079633])
    """
    return np.arcsin(x)


@arcsin.vjp("x")
def arcsin_x(g, out, x):
    return g / sqrt(one_minus_square(x))


@primitive
def arccos(x):
    """The angle from 0 to pi whose cosine is x, elementwise; NaN outside of [-1, 1].

    >>> arccos([1.0, -1.0])
    array([0.        , 3.14159265])
    """
    return np.arccos(x)


@arccos.vjp("x")
def arccos_x(g, out, x):
    return -(g / sqrt(one_minus_square(x)))


@primitive
def arctan(x):
    """The angle from -pi/2 to pi/2 whose tangent is x, elementwise.

    >>> arctan([0.0, np.inf])
    array([0.        , 1.57079633])
    """
    return np.arctan(x)


@arctan.vjp("x")
def arctan_x(g, out, x):
    secant = hypot(1, x)
    return g / secant / secant


@primitive(broadcasts=True)
def arctan2(a, b):
    """The angle of the point (b, a), from -pi to pi. At (0, 0) it has no slope: the gradient there is NaN.

    >>> arctan2([1.0, 0.0], [0.0, 1.0])
    array([1.57079633, 0.        ])
    """
    return np.arctan2(a, b)


@arctan2.vjp("a")
def arctan2_a(g, out, a, b):
    radius = hypot(a, b)
    return g * (b / radius) / radius


@arctan2.vjp("b")
def arctan2_b(g, out, a, b):
    radius = hypot(a, b)
    return -(g * (a / radius) / radius)


@primitive(broadcasts=True)
def hypot(a, b):
    """sqrt(a**2 + b**2) without overflow. At (0, 0) the gradient is 0, as that of the absolute value.

    >>> hypot([3.0], [4.0])
    array([5.])
    """
    return np.hypot(a, b)


@hypot.vjp("a")
def hypot_a(g, out, a, b):
    return g * (a / where(out == 0, inf, out))


@hypot.vjp("b")
def hypot_b(g, out, a, b):
    return g * (b / where(out == 0, inf, out))


@primitive
def sinh(x):
    """The hyperbolic sine (exp(x) - exp(-x)) / 2, elementwise.

    >>> sinh([0.0])
    array([0.])
    """
    return np.sinh(x)


@sinh.vjp("x")
def sinh_x(g, out, x):
    return g * cosh(x)


@primitive
def cosh(x):
    """The hyperbolic cosine (exp(x) + exp(-x)) / 2, elementwise.

    >>> cosh([0.0])
    array([1.])
    """
    return np.cosh(x)


@cosh.vjp("x")
def cosh_x(g, out, x):
    return g * sinh(x)


@primitive
def arcsinh(x):
    """The number whose hyperbolic sine is x, elementwise.

    >>> arcsinh([0.0])
    array([0.])
    """
    return np.arcsinh(x)


@arcsinh.vjp("x")
def arcsinh_x(g, out, x):
    return g / hypot(1, x)


@primitive
def arccosh(x):
    """The number from 0 on whose hyperbolic cosine is x, elementwise; NaN below 1.

    >>> arccosh([1.0])
    array([0.])
    """
    return np.arccosh(x)


@arccosh.vjp("x")
def arccosh_x(g, out, x):
    return g / (sqrt(x - 1) * sqrt(x + 1))


@primitive
def arctanh(x):
    """The number whose hyperbolic tangent is x, elementwise; infinite at -1 and 1.

    >>> arctanh([0.0])
    array([0.])
    """
    return np.arctanh(x)


@arctanh.vjp("x")
def arctanh_x(g, out, x):
    return g / one_minus_square(x)


@primitive
def log2(x):
    """The logarithm to base 2, elementwise.

    >>> log2([1.0, 8.0])
    array([0., 3.])
    """
    return np.log2(x)


@log2.vjp("x")
def log2_x(g, out, x):
    return g / LN_2 / x


@primitive
def log10(x):
    """The logarithm to base 10, elementwise.

    >>> log10([1.0, 1000.0])
    array([0., 3.])
    """
    return np.log10(x)


@log10.vjp("x")
def log10_x(g, out, x):
    return g / LN_10 / x


@primitive
def exp2(x):
    """2 to the power of x, elementwise.

    >>> exp2([0.0, 3.0])
    array([1., 8.])
    """
    return np.exp2(x)


@exp2.vjp("x")
def exp2_x(g, out, x):
    return g * out * LN_2


@primitive
def cbrt(x):
    """The cube root, elementwise, of negative numbers too.

    >>> cbrt([-8.0, 27.0])
    array([-2.,  3.])
    """
    return np.cbrt(x)


@cbrt.vjp("x")
def cbrt_x(g, out, x):
    return g / (3 * out * out)


@primitive(broadcasts=True)
def logaddexp(a, b):
    """log(exp(a) + exp(b)) without overflow.

    >>> logaddexp([800.0], [-800.0])
    array([800.])
    """
    return np.logaddexp(a, b)


@logaddexp.vjp("a")
def logaddexp_a(g, out, a, b):
    return g * sigmoid(a - b)


@logaddexp.vjp("b")
def logaddexp_b(g, out, a, b):
    return g * sigmoid(b - a)


@primitive
def erf(x):
    """2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x, by the C library: NumPy has no erf.

    >>> erf(np.array([0.0, 10.0]))
    array([0., 1.])
    """
    return np.asarray(np.frompyfunc(error_function, 1, 1)(x), np.result_type(x, 0.0))


@erf.vjp("x")
def erf_x(g, out, x):
    return g * ERF_SLOPE * exp(-(x * x))


@primitive
def erfc(x):
    """1 - erf(x), with all its digits where erf is near 1.

    >>> erfc(np.array([0.0, -10.0]))
    array([1., 2.])
    """
    each = np.frompyfunc(complementary_error_function, 1, 1)
    return np.asarray(each(x), np.result_type(x, 0.0))


@erfc.vjp("x")
def erfc_x(g, out, x):
    return -(g * ERF_SLOPE * exp(-(x * x)))


_INSIDE = "keep it inside: tg.ops.clip(x, low=-0.999999, high=0.999999)"
arcsin.domain("abs(x) <= 1", _INSIDE, slope="abs(x) < 1")
arccos.domain("abs(x) <= 1", _INSIDE, slope="abs(x) < 1")
arctanh.domain("abs(x) < 1", _INSIDE)
arccosh.domain("x >= 1", "keep it above 1: tg.ops.clip(x, low=1 + 1e-6)", slope="x > 1")
arctan2.domain("True", "leave such points out before: tg.ops.where(good, b, 1.0)", slope="a != 0 or b != 0")
logaddexp.domain("True", "mask with -1e9 instead of -inf: it has a slope", slope="a > -inf or b > -inf")
cbrt.domain("True", "keep the argument away from 0", slope="x != 0")
for _logarithm in (log2, log10):
    _logarithm.domain("x > 0", "find out why it is negative, or keep it away from 0: tg.ops.clip(x, low=1e-12)")
