"""Where a gradient comes from: each use of a tensor with its numbers, one way to the loss, the rows of the batch."""

from tinygrad_ce.views.explain.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
