"""What each feature of an automatic-differentiation core costs in an eager step: a core without any, and one by one.

The core is `priced_core.py`, in which each feature stands inside an `if` of its own. Here these are decided in the
syntax tree, so that a core without a feature has no trace of it. `eager_step.py` prints the list.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import hand_written
from benchmarks.side_by_side import Contender

SOURCE = Path(__file__).with_name("priced_core.py")
FEATURES = {
    "RECORDING_CHECKS": "recording checks: tracer, no_grad, dtype, explained errors",
    "WALK_CHECKS": "walk checks: shape, dtype, own memory",
    "OPTIMIZER_CHECKS": "optimizer checks",
    "LOSS_CHECKS": "loss checks: labels, looks like probabilities",
    "SOURCE_LINES": "source lines",
    "MODULES": "modules with their scopes",
    "STATIC_PARAMETERS": "static parameters",
    "CREATE_GRAPH": "gradients(wrt), create_graph, shares heard by views",
    "SEED": "seed, the last loss remembered",
    "UNBROADCASTING": "general un-broadcasting",
    "OPTIMIZER_OBJECT": "optimizer object with schedule",
    "LOSS_OPTIONS": "loss function with all its options",
}


class _Decided(ast.NodeTransformer):
    """The syntax tree with every `if FEATURE` replaced by the branch that is taken."""

    def __init__(self, features: Collection[str]) -> None:
        self.features = features

    def visit_Assign(self, node: ast.Assign) -> Any:
        """The features' own definitions, which stand for the reader, are dropped."""
        if all(isinstance(target, ast.Name) and target.id in FEATURES for target in node.targets):
            return None
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        return ast.Constant(node.id in self.features) if node.id in FEATURES else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.Constant(not node.operand.value)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        self.generic_visit(node)
        decisive = isinstance(node.op, ast.Or)  # the value that decides; the other one changes nothing
        rest = []
        for value in node.values:
            if not isinstance(value, ast.Constant):
                rest.append(value)
            elif bool(value.value) is decisive:
                rest.append(value)
                break
        if not rest:
            return ast.Constant(not decisive)
        return rest[0] if len(rest) == 1 or isinstance(rest[0], ast.Constant) else ast.BoolOp(node.op, rest)

    def _branch(self, node: Any) -> Any:
        self.generic_visit(node)
        if not isinstance(node.test, ast.Constant):
            return node
        return node.body if node.test.value else node.orelse or None

    visit_If = visit_IfExp = _branch


def decided(features: Collection[str]) -> ast.Module:
    """The syntax tree of the core with these features."""
    return ast.fix_missing_locations(_Decided(features).visit(ast.parse(SOURCE.read_text())))  # type: ignore[no-any-return]


def core(features: Collection[str]) -> dict[str, Any]:
    """The names of the core with these features."""
    names: dict[str, Any] = {"__name__": "benchmarks.priced_core"}
    exec(compile(decided(features), str(SOURCE), "exec"), names)
    return names


def contenders(X: np.ndarray, y: np.ndarray, weights: list[np.ndarray], lr: float) -> dict[str, Contender]:
    """The list in its order: what is written by hand, the core without features, and with one more each time."""
    start: dict[str, Callable[..., Contender]] = {
        "hand-written NumPy with our kernels": hand_written.with_our_kernels,
        "a tape of closures, as micrograd has": hand_written.closures,
        "hand-written textbook NumPy": hand_written.textbook,
        "graph of tensors, one rule per input, heap": core(())["training_step"],
    }
    present: list[str] = []
    for feature, title in FEATURES.items():
        present.append(feature)
        start[f"+ {title}"] = core(present)["training_step"]
    return {name: step(X, y, weights, lr) for name, step in start.items()}
