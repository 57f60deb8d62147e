"""Exercises as files: what a teacher writes or takes ready-made, and what students get of it, without the answers."""

from tinygrad_ce.assignments.assignment import Assignment, from_file, ready

__all__ = ["Assignment", "from_file", "ready"]
