"""The graph of a loss, read once for all views: nodes and edges, their formulas, and the layers of a model in it."""

from tinygrad_ce.ancestry import edges, leading_to, reachable

__all__ = ["edges", "leading_to", "reachable"]
