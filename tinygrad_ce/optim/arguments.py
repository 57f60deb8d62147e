"""The arguments of optimizers, schedules and clipping, checked: what is no number, or out of range, raises in words."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np


def real_number(value: Any) -> float:
    """A number of Python's or NumPy's, or an array of shape (), as a float; NaN for what is none: no range holds it."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def positive(name: str, **values: Any) -> None:
    """Raise ValueError unless each value is a finite number above 0."""
    for argument, value in values.items():
        if not 0 < real_number(value) < math.inf:
            raise ValueError(f"{name}: {argument}={value!r} must be a positive number")


def not_negative(name: str, **values: Any) -> None:
    """Raise ValueError unless each value is a finite number of at least 0."""
    for argument, value in values.items():
        if not 0 <= real_number(value) < math.inf:
            raise ValueError(f"{name}: {argument}={value!r} must be a number that is not negative")


def in_range(name: str, low: float, high: float, **values: Any) -> None:
    """Raise ValueError unless each value is a number from low up to, and without, high."""
    for argument, value in values.items():
        if not low <= real_number(value) < high:
            raise ValueError(f"{name}: {argument}={value!r} must lie in [{low}, {high})")
