"""Comparisons and logic: booleans, so there is no gradient."""

from __future__ import annotations

import numpy as np

from tinygrad_ce.core import primitive


@primitive
def greater(a, b):
    """Whether a > b, elementwise, as booleans; shapes broadcast.

    >>> greater([1, 2, 3], 2)
    array([False, False,  True])
    """
    return np.greater(a, b)


@primitive
def greater_equal(a, b):
    """Whether a >= b, elementwise, as booleans; shapes broadcast.

    >>> greater_equal([1, 2, 3], 2)
    array([False,  True,  True])
    """
    return np.greater_equal(a, b)


@primitive
def less(a, b):
    """Whether a < b, elementwise, as booleans; shapes broadcast.

    >>> less([1, 2, 3], 2)
    array([ True, False, False])
    """
    return np.less(a, b)


@primitive
def less_equal(a, b):
    """Whether a <= b, elementwise, as booleans; shapes broadcast.

    >>> less_equal([1, 2, 3], 2)
    array([ True,  True, False])
    """
    return np.less_equal(a, b)


@primitive
def equal(a, b):
    """Whether a == b, elementwise, as booleans; shapes broadcast, and NaN equals nothing.

    >>> equal([1, 2, 3], 2)
    array([False,  True, False])
    """
    return np.equal(a, b)


@primitive
def not_equal(a, b):
    """Whether a != b, elementwise, as booleans; shapes broadcast.

    >>> not_equal([1, 2, 3], 2)
    array([ True, False,  True])
    """
    return np.not_equal(a, b)


@primitive
def logical_and(a, b):
    """Whether a and b, elementwise; a number counts as true unless it is 0.

    >>> logical_and([0, 1, 2], [1, 1, 0])
    array([False,  True, False])
    """
    return np.logical_and(a, b)


@primitive
def logical_or(a, b):
    """Whether a or b, elementwise; a number counts as true unless it is 0.

    >>> logical_or([0, 1, 0], [1, 1, 0])
    array([ True,  True, False])
    """
    return np.logical_or(a, b)


@primitive
def logical_xor(a, b):
    """Whether one of a and b and not the other, elementwise.

    >>> logical_xor([0, 1, 0], [1, 1, 0])
    array([ True, False, False])
    """
    return np.logical_xor(a, b)


@primitive
def logical_not(x):
    """Whether x is 0 or False, elementwise.

    >>> logical_not([0, 1, 2])
    array([ True, False, False])
    """
    return np.logical_not(x)


@primitive
def isnan(x):
    """Whether x is NaN, elementwise.

    >>> isnan([1.0, np.nan, np.inf])
    array([False,  True, False])
    """
    return np.isnan(x)


@primitive
def isfinite(x):
    """Whether x is neither infinite nor NaN, elementwise.

    >>> isfinite([1.0, np.nan, np.inf])
    array([ True, False, False])
    """
    return np.isfinite(x)


@primitive
def isinf(x):
    """Whether x is infinite, elementwise.

    >>> isinf([1.0, np.nan, -np.inf])
    array([False, False,  True])
    """
    return np.isinf(x)


for _comparison in (greater, greater_equal, less, less_equal, equal, not_equal, logical_and, logical_or, logical_xor):
    _comparison.constant_in("a", "b")
for _question in (logical_not, isnan, isfinite, isinf):
    _question.constant_in("x")
