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
        match node:
            case ast.BinOp(_, ast.Div(), ast.Constant(int() | float() as number)):
                return float(number)
            case ast.BinOp(_, ast.Mult(), ast.Constant(float() as number)) if op.name == "mul" and 0 < number < 1:
                return 1 / number
    match edge.formula.whole:  # the upstream of a loss is 1
        case ast.Constant(float() as number) if op.name in ("div", "mul") and 0 < number < 1:
            return 1 / number
    return None


def is_mean(edge: Edge, count: float) -> bool:
    """Whether a division is that of a mean: the operation is one, or it divides a sum of so many numbers or rows."""
    source, target = edge.source, edge.target
    assert target.op is not None
    assert target.instruction is not None
    if target.op.name in ("reduce_mean", "variance") or target.instruction.params.get("reduction") == "mean":
        return True
    if source.op is None or source.op.name != "reduce_sum":
        return False
    summed = source.inputs[0].source
    numbers = summed.value.size / max(source.value.size, 1)
    return bool(np.isclose(count, [numbers, *summed.shape[:1]]).any())  # a sum over all may be divided by the rows


def shown(node: Node) -> str:
    """An operation as it is printed, and where it stands in the user's code."""
    text = f"{node.name} = {node.formula.readable.text}" if node.formula is not None else node.name
    if (len(text) > 64 or "HERE" in text) and node.tensor is not None and node.op is not None:
        text = f"{node.name} = {node.op.name}({', '.join(edge.source.name for edge in node.inputs)})"
    layer = type(node.modules[-1][0]).__name__ if node.modules else None
    places = [x for x in (layer, node.place.short if node.place is not None else None) if x]
    return f"{text} ({', '.join(places)})" if places else text
