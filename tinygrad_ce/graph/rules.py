"""An operation in words: how it is printed, where it stands, what its rule divides by, which losses it does at once."""

from __future__ import annotations

import ast
from typing import NamedTuple

import numpy as np

from tinygrad_ce.graph.nodes import Edge, Node


class OnLogits(NamedTuple):
    """A loss that is one operation: what it starts with, its argument for targets, the loss that shows both apart."""

    squash: str
    targets: str
    apart: str

    @property
    def words(self) -> str:
        """A sentence without its point."""
        both = f"{self.squash} and cross-entropy are shown as one operation, on the logits"
        return f"{both}; losses.{self.apart}(..., fused=False) shows them apart"


ON_LOGITS = {
    "xent": OnLogits("softmax", "y", "cross_entropy"),
    "soft_xent": OnLogits("softmax", "q", "cross_entropy"),
    "sigmoid_xent": OnLogits("sigmoid", "y", "binary_cross_entropy"),
}


def divided_by(edge: Edge) -> float | None:
    """The number by which what comes back along an edge is divided: the count of a mean; None if there is none."""
    op = edge.target.op
    if edge.formula is None or op is None:
        return None
    if op.name == "reduce_mean":
        return edge.source.value.size / max(edge.target.value.size, 1)
    for node in ast.walk(edge.formula.readable.whole):
        if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant):
            number = float(node.right.value)  # type: ignore[arg-type]
            if isinstance(node.op, ast.Div):
                return number
            if isinstance(node.op, ast.Mult) and op.name == "mul" and 0 < number < 1:
                return 1 / number
    if op.name in ("div", "mul") and isinstance(edge.formula.whole, ast.Constant):
        number = float(edge.formula.whole.value)  # type: ignore[arg-type]
        return 1 / number if 0 < number < 1 else None
    return None


def is_mean(edge: Edge, count: float) -> bool:
    """Whether a division is that of a mean: the operation is one, or it divides a sum of so many numbers or rows."""
    target, op = edge.target, edge.source.op
    assert target.op is not None
    assert target.tensor is not None
    if target.op.name in ("reduce_mean", "variance") or target.tensor.params.get("reduction") == "mean":
        return True
    if op is None or op.name != "reduce_sum":
        return False
    summed = edge.source.inputs[0].source
    numbers = summed.value.size / max(edge.source.value.size, 1)
    return bool(np.isclose(count, [numbers, *summed.shape[:1]]).any())  # a sum over all may be divided by the rows


def shown(node: Node) -> str:
    """An operation as it is printed, and where it stands in the user's code."""
    text = f"{node.name} = {node.formula.readable.text}" if node.formula is not None else node.name
    if (len(text) > 64 or "HERE" in text) and node.tensor is not None and node.op is not None:
        text = f"{node.name} = {node.op.name}({', '.join(edge.source.name for edge in node.inputs)})"
    layer = type(node.modules[-1][0]).__name__ if node.modules else None
    places = [x for x in (layer, node.place.short if node.place is not None else None) if x]
    return f"{text} ({', '.join(places)})" if places else text
