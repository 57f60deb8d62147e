"""Exercises as files: what a teacher writes or takes ready-made, and what students get of it, without the answers."""

from tinygrad_ce.assignments.assignment import Assignment, load, ready

__all__ = ["Assignment", "load", "ready"]
