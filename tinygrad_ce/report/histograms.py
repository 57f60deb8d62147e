"""The distribution of numbers as one line of bars."""

from __future__ import annotations

from typing import Any

import numpy as np

BARS = " ▁▂▃▄▅▆▇█"
ASCII_BARS = " .:-=+*#@"  # for terminals that know no more


def histogram(values: Any, bins: int = 12, bars: str = BARS) -> str:
    """The distribution of the values as one line of bars between smallest and largest; '' if none is finite.

    >>> histogram(np.array([0.0, 1.0, 1.0]), bins=2)
    '▄█'
    >>> histogram(np.ones(3))
    '█'
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return ""
    if finite.min() == finite.max():
        return bars[-1]
    finite /= np.abs(finite).max()  # so that neither 1e308 nor 1e-320 is too much for what follows
    low, high = finite.min(), finite.max()
    counts, _ = np.histogram((finite - low) / (high - low), bins=bins, range=(0, 1))
    heights = np.ceil(counts / counts.max() * (len(bars) - 1)).astype(int)
    return "".join(bars[height] for height in heights)
