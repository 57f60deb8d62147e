"""Grading of what students have written: one function with `tg.grade`, or the files of a whole class."""

from tinygrad_ce.grading.grader import Grade, grade

__all__ = ["Grade", "grade"]
