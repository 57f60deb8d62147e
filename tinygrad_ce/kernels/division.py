"""Division with a remainder and powers of integers, for compiled steps: what NumPy gives, also where b is 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.kernels.jit import jit_inside


@jit_inside
def floor_divide_floats(a: Any, b: Any) -> Any:
    """floor(a / b), without the rounding of a / b: a less its remainder is divided, and the quotient is whole."""
    if b == 0:
        return a / b
    remainder = np.fmod(a, b)
    quotient = (a - remainder) / b
    if remainder != 0 and (b < 0) != (remainder < 0):
        quotient -= 1
    if quotient == 0:
        return math.copysign(0.0, a / b)
    whole = math.floor(quotient) if abs(quotient) < 1e15 else quotient  # larger ones are whole, or not finite
    return whole + 1 if quotient - whole > 0.5 else whole


@jit_inside
def remainder_floats(a: Any, b: Any) -> Any:
    """a - b * floor(a / b), which has the sign of b."""
    remainder = np.fmod(a, b)
    if b == 0 or remainder != remainder:
        return remainder
    if remainder == 0:
        return math.copysign(0.0, b)
    return remainder + b if (b < 0) != (remainder < 0) else remainder


@jit_inside
def floor_divide_integers(a: Any, b: Any) -> Any:
    """floor(a / b), and 0 where b is 0. The processor stops a program that divides the smallest integer by -1."""
    if b == 0:
        return 0 * a
    return -a if b == -1 else a // b


@jit_inside
def remainder_integers(a: Any, b: Any) -> Any:
    """a - b * floor(a / b), and 0 where b is 0."""
    return 0 * a if b == 0 or b == -1 else a % b


@jit_inside
def power_integers(base: Any, exponent: Any) -> Any:
    """base ** exponent by repeated squaring; too large a result wraps around, as that of arrays does."""
    if exponent < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")
    result, square = 0 * base + 1, base
    while exponent > 0:
        if exponent % 2:
            result *= square
        square *= square
        exponent //= 2
    return result
