"""What is said of planted mistakes: of the forty functions, each graded once, and of the tables of the exercise."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from exercises.networks import batch_norm_network
from exercises.test_cross_entropy_mistakes import CROSSED, crossed_network
from exercises.test_lecture_mistakes import LECTURE, lecture_network
from exercises.test_planted_mistakes import BATCH_NORM, OTHERS
from grading.planted import Planted

import tinygrad_ce as tg
from tinygrad_ce.exercises import Verdict


@cache
def verdict_on(entry: Planted) -> Verdict:
    """The verdict on the gradient that contains the mistake."""
    return tg.grade(entry.student, entry.problem.assignment()).verdicts[entry.wrong]


def table_verdicts() -> Iterator[tuple[str, str | None, str]]:
    """Of each mistake in the tables of the exercise: where it stands, by what key it is named, and by what it must be.

    Tables in which two keys are right, or that look into the words only, are left out.
    """
    networks = [(batch_norm_network(), BATCH_NORM.values()), (lecture_network(), LECTURE.values())]
    rows = [(network, *row) for network, table in networks for row in table]
    rows += [(make(), *row) for make, *row in OTHERS.values()]
    for network, key, _, gradient, hand_in in rows:
        with np.errstate(all="ignore"):
            yield gradient, network.verdict(**{gradient: hand_in(network.v, network.g)}).mistake, key
    loss, *values = crossed_network()
    for key, _, hand_in in CROSSED.values():
        yield "d_z", tg.exercise(loss).check(d_z=hand_in(*values) / len(values[0]))["d_z"].mistake, key
