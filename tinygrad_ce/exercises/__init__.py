"""Hand-written backpropagation as an exercise: the gradients are hidden, and answers are graded by their mistakes."""

from tinygrad_ce.exercises.answers import Verdict
from tinygrad_ce.exercises.graded import Exercise, Report, exercise

__all__ = ["Exercise", "Report", "Verdict", "exercise"]
