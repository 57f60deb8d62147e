"""Comparisons and logic: booleans, so there is no gradient."""

from __future__ import annotations

import numpy as np

from tinygrad_ce.core import primitive


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
def logical_xor(a, b):
    return np.logical_xor(a, b)


@primitive
def logical_not(x):
    return np.logical_not(x)


@primitive
def isnan(x):
    return np.isnan(x)


@primitive
def isfinite(x):
    return np.isfinite(x)


@primitive
def isinf(x):
    return np.isinf(x)


for _comparison in (greater, greater_equal, less, less_equal, equal, not_equal, logical_and, logical_or, logical_xor):
    _comparison.constant_in("a", "b")
for _question in (logical_not, isnan, isfinite, isinf):
    _question.constant_in("x")
