"""What `tg.grade` says of the planted functions, each graded once for all tests."""

from __future__ import annotations

from functools import cache

from grading.planted import Planted

import tinygrad_ce as tg
from tinygrad_ce.exercises import Verdict


@cache
def verdict_on(entry: Planted) -> Verdict:
    """The verdict on the gradient that contains the mistake."""
    return tg.grade(entry.student, entry.problem.assignment()).verdicts[entry.wrong]
