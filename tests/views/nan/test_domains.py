"""`tg.why_nan` of functions that are not defined, overflow, or have no finite slope everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from views.nan.leaves import wanted

import tinygrad_ce as tg
from tinygrad_ce import ops

FORWARD = [
    (ops.arcsin, 1.5, "arcsin needs abs(x) <= 1, and here x = 1.5", "clip"),
    (ops.arccos, -2.0, "arccos needs abs(x) <= 1", "clip"),
    (ops.arctanh, 1.0, "arctanh needs abs(x) < 1, and here x = 1", "clip"),
    (ops.arccosh, 0.5, "arccosh needs x >= 1", "low=1"),
    (ops.log2, 0.0, "log2 needs x > 0, and here x = 0", "tg.ops.clip"),
    (ops.log10, -1.0, "log10 needs x > 0, and here x = -1", "negative"),
    (ops.cosh, 800.0, "cosh(800) is beyond", "smaller"),
    (ops.exp2, 2000.0, "exp2(2000) is beyond", "smaller"),
    (lambda x: ops.mod(x, 0.0), 3.0, "mod needs b != 0, and here b = 0", "away from 0"),
]
BACKWARD = [
    (ops.arcsin, 1.0, "the slope of arcsin at 1 is infinite", "clip"),
    (ops.arccosh, 1.0, "the slope of arccosh at 1 is infinite", "clip"),
    (ops.cbrt, 0.0, "the slope of cbrt at 0 is infinite", "away from 0"),
    (lambda x: ops.arctan2(x, 0.0), 0.0, "the slope of arctan2 at (0, 0) is not defined", "where"),
]


@pytest.mark.parametrize(("f", "at", "cause", "cure"), [*FORWARD, *BACKWARD])
def test_the_cause_and_the_cure_are_told(f: Any, at: float, cause: str, cure: str) -> None:
    with np.errstate(all="ignore"):
        loss = (f(wanted([1.9 if f is ops.arccosh else 0.9, at], "x")) * 2.0).sum()
        found = tg.why_nan(loss)
    finding = found.forward or found.backward
    assert finding is not None
    assert cause in finding.cause
    assert cure in finding.cure
