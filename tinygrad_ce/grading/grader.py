"""The grade of a student's function: which of its gradients are right, and which mistakes are in the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tinygrad_ce.assignments import Assignment
from tinygrad_ce.assignments.recorded import recorded
from tinygrad_ce.exercises import Verdict, exercise


@dataclass(frozen=True, eq=False)
class Grade:
    """The verdicts on what a function computes, and its points. points: by gradient, those that it can give."""

    verdicts: Mapping[str, Verdict]
    points: Mapping[str, float]

    @property
    def score(self) -> float:
        """The points that were reached."""
        return sum(self.reached(name) for name in self.points)

    def reached(self, name: str) -> float:
        """The points for one gradient: all where it is right, or right for wrong ones of the student."""
        verdict = self.verdicts[name]
        return self.points[name] if verdict.right or verdict.follows else 0


def grade(function: Callable[..., Any], problem: Assignment) -> Grade:
    """Judge a student's function.

    >>> from tinygrad_ce.assignments import ready
    >>> problem = ready("softmax_cross_entropy")
    >>> grade(problem.solution, problem).score
    4
    """
    arguments = problem.example()
    assert problem.forward is not None
    report = exercise(recorded(problem.forward, arguments)).check(function(**arguments))
    return Grade({verdict.name: verdict for verdict in report}, problem.points)
