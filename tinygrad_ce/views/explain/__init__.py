"""Where a gradient comes from: every path to the loss with its numbers, and the rows that push hardest."""

from tinygrad_ce.views.explain.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
