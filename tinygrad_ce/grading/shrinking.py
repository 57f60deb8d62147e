"""The smallest input on which a gradient is wrong: as few rows and columns as it takes, and zeros for the rest."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.grading.cases import Case, changed
from tinygrad_ce.grading.grades import Evidence
from tinygrad_ce.grading.problems import Problem, jumps

MOST_SIZES, MOST_ZEROS = 12, 12  # inputs that are tried
CLOSE = 1e-4  # the share of the largest number by which an answer may be off

Answers = Callable[[Sequence[Mapping[str, Array]]], Iterable[Array | None]]


def smallest(problem: Problem, name: str, known: Evidence, answers: Answers) -> Evidence | None:
    """The smallest input that shows a mistake in one gradient; None if it shows on no smaller one.

    known: an input that shows it. answers: the student's gradient for each of some inputs.
    """

    def first_wrong(inputs: Iterable[Mapping[str, Array]]) -> Evidence | None:
        tried = list(inputs)
        every = zip(tried, answers(tried), strict=True)
        return next((found for pair in every if (found := _evidence(problem, name, *pair)) is not None), None)

    found = first_wrong(_of_small_sizes(problem)) if problem.inputs is not None else None
    start = found.arguments if found is not None else changed(known.arguments, np.copy)
    singles = [*itertools.islice(_places(start), MOST_ZEROS)]
    alone = [_with_zeros(start, [place]) for place in singles]
    wrong = [p for p, x, y in zip(singles, alone, answers(alone), strict=True) if _is_wrong(problem, name, x, y)]
    return first_wrong(_with_zeros(start, wrong[:n]) for n in range(len(wrong), 0, -1)) or found


def _of_small_sizes(problem: Problem) -> Iterator[dict[str, Array]]:
    """Inputs with one decimal place, the smallest first."""
    assert problem.inputs is not None
    names = problem.inputs.sizes
    every = sorted(itertools.product((1, 2, 3) if len(names) < 4 else (1, 2), repeat=len(names)), key=sum)
    for sizes in every[:MOST_SIZES]:
        try:
            arguments = problem.inputs.drawn(7, **dict(zip(names, sizes, strict=True)))
        except Exception:  # the teacher's function knows which sizes go together
            continue
        yield changed(arguments, lambda array: np.round(array, 1) + 0.0)


def _places(arguments: Mapping[str, Array]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Where there are floating point numbers other than 0, the last ones first."""
    for name, array in arguments.items():
        if array.dtype.kind == "f":
            for index in np.argwhere(array)[::-1]:
                yield name, tuple(index.tolist())


def _with_zeros(arguments: Mapping[str, Array], places: Sequence[tuple[str, tuple[int, ...]]]) -> dict[str, Array]:
    copies = changed(arguments, np.copy)
    for name, index in places:
        copies[name][index] = 0
    return copies


def _is_wrong(problem: Problem, name: str, arguments: Mapping[str, Array], yours: Array | None) -> bool:
    """Whether an answer is wrong beyond rounding, for arguments that the problem can be computed for."""
    try:
        right = problem.right(Case("", arguments).exact)[name]
    except Exception:
        return False
    if yours is None or not np.isfinite(right).all():
        return False
    allowed = CLOSE * max(1e-3, np.abs(right).max(initial=0))
    return yours.shape != right.shape or not np.allclose(yours, right, rtol=0, atol=allowed)


def _evidence(problem: Problem, name: str, arguments: Mapping[str, Array], yours: Array | None) -> Evidence | None:
    """What shows that an answer is wrong; None if it is right, or may be by another convention at a kink."""
    if yours is None or not _is_wrong(problem, name, arguments, yours):
        return None
    case = Case("the smallest input that shows it", arguments)
    nearby = problem.nearby(case, name)
    return None if jumps(nearby).any() else Evidence(case.words, arguments, yours, nearby[0])
