"""Exercises as files: what a teacher writes or takes ready-made, and what students get of it, without the answers."""

from tinygrad_ce.assignments.assignment import Assignment
from tinygrad_ce.assignments.hints import cost_of_hints, take_hint, unlock
from tinygrad_ce.assignments.reading import assignment_of, from_file, from_source, names, ready

__all__ = ["Assignment", "assignment_of", "cost_of_hints", "from_file", "from_source"]
__all__ += ["names", "ready", "take_hint", "unlock"]
