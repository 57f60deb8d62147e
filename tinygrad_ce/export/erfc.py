"""erfc in float64 as an interpolation: for runtimes that have no erf of that precision."""

from __future__ import annotations

import math

import numpy as np

# erfc(x) = t exp(-x**2) f(t) with t = 2 / (2 + x) for x >= 0: f is smooth, and interpolated through its values at the
# zeros of a Chebyshev polynomial, by the barycentric formula. Sources: W. Press et al., "Numerical recipes", 6.2.2;
# J.-P. Berrut, L. Trefethen, "Barycentric Lagrange interpolation", 2004, 5.3.
FIRST, LAST, COUNT = 2 / 28, 1.0, 34  # the range of t: beyond x = 26, erfc is below the normal numbers


def _scaled(t: float) -> float:
    """f(t), whose exponential does not overflow: math.erfc has all digits up to there."""
    x = 2 / t - 2
    return math.erfc(x) * math.exp(x * x) / t


_ANGLES = (2 * np.arange(COUNT) + 1) * math.pi / (2 * COUNT)
ZEROS = (FIRST + LAST) / 2 + (LAST - FIRST) / 2 * np.cos(_ANGLES)
WEIGHTS = (-1.0) ** np.arange(COUNT) * np.sin(_ANGLES)
VALUES = np.array([_scaled(t) for t in ZEROS])
