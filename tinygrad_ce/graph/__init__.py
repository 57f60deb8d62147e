"""The graph of a loss, read once for all views: nodes and edges, their formulas, and the layers of a model in it."""
