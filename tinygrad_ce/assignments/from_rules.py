"""Hints for a gradient, from where it comes from to its formula with blanks, and the formula itself.

They are read off the rules of the engine, so that a hint cannot say something else than what is computed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from tinygrad_ce.assignments.recorded import named_tensors, recorded
from tinygrad_ce.core import REGISTRY
from tinygrad_ce.graph.expressions import renamed, sum_of
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.graph.rules import divided_by, shown
from tinygrad_ce.report.words import format_number, listed

STRONGEST = 3  # hints for one gradient
BLANK = "___"
WIDEST = 80  # characters of an expression in one line
PLACE = re.compile(r" \((?:(\w+), )?[^()\s]+:\d+\)")  # in a hint: (Dense, train.py:6)


def hint(node: Node, level: int, names: Mapping[Node, str]) -> str:
    """A hint for the gradient of a node. level: 1 to 3, the strongest. names: what the gradients are called."""
    uses = node.backward_uses
    if not uses:
        return f"{node.name} is the loss: how much does it change when it changes by 1?"
    if level == 1:
        lines = [f"  in {shown(edge.target)}: start from {names[edge.target]}" for edge in uses]
        times = "once" if len(uses) == 1 else f"{len(uses)} times, so that {len(uses)} shares add up"
        return "\n".join([f"{node.name} is used {times}:", *lines])
    if level == 2:
        return "\n".join(f"  {_in_words(edge)}" for edge in uses)
    return _with_blanks(node, names)


def hints(node: Node, names: Mapping[Node, str]) -> tuple[str, ...]:
    """All hints for the gradient of a node, each once, without the lines of the teacher's program in them."""
    found = (hint(node, level, names) for level in range(1, STRONGEST + 1))
    return tuple(dict.fromkeys(PLACE.sub(lambda place: f" ({place[1]})" if place[1] else "", text) for text in found))


def hints_of_function(forward: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """All hints for the gradient of each variable and argument of a NumPy function, as `d_x`.

    {} where it cannot be recorded, or its result is no single number.
    """
    try:
        loss = recorded(forward, arguments)
        graph = Graph(loss, "hints")
    except Exception:  # whatever a function of NumPy raises that gets Tensors
        return {}
    nodes = {f"d_{name}": graph.node_of(tensor) for name, tensor in named_tensors(loss).items()}
    asked = {node: name for name, node in nodes.items() if node is not None and node in graph.gradient_names}
    names = {**graph.gradient_names, **asked}
    return {name: hints(node, names) for node, name in asked.items()}


def solution(nodes: list[Node], names: Mapping[Node, str]) -> list[str]:
    """The NumPy line of the gradient of each node, with its shape as a comment."""
    lines = [(f"{names[node]} = {_written(_whole(node))}", f"# {node.shape}") for node in nodes]
    width = max((len(text) for text, _ in lines if "\n" not in text), default=0)
    return [*_functions(nodes), *(f"{text:<{width}}  {shape}" for text, shape in lines)]


def _in_words(edge: Edge) -> str:
    assert edge.formula is not None
    assert edge.target.op is not None
    tree, arrays = edge.formula.readable.whole, edge.formula.readable.arrays
    names = [x for x in _names(tree) if x in arrays]
    with_shapes = listed([f"{x} {arrays[x].shape}" for x in names]) or "numbers alone"
    start = f"through {edge.target.name}:"
    if isinstance(tree, ast.Name):
        return f"{start} {tree.id} {arrays[tree.id].shape} passes through unchanged"
    words = [f"made of {with_shapes}"]
    if any(isinstance(x, ast.BinOp) and isinstance(x.op, ast.MatMult) for x in ast.walk(tree)):
        words.append(f"a product of matrices, turned so that it has shape {edge.source.shape}")
    elif edge.local is not None and edge.target.shape == edge.source.shape:
        words.append(f"number by number, upstream times the derivative of {edge.target.op.name}")
    text = ast.unparse(tree)
    if ".sum(" in text:
        words.append(f"summed so that it has shape {edge.source.shape}")
    if "broadcast_to(" in text:
        words.append(f"repeated to shape {edge.source.shape}")
    count = divided_by(edge)
    if count is not None:
        words.append(f"divided by {format_number(count, 6)}")
    if "np.where(" in text:
        words.append("chosen by a condition")
    called = [name for name in _called(tree) if name in edge.formula.readable.functions]
    if called:
        words.append(f"calling {listed(called)}")
    return f"{start} {'; '.join(words)}"


def _with_blanks(node: Node, names: Mapping[Node, str]) -> str:
    """The formula, with blanks for all but the gradients that come from above."""
    gradients = {*names.values()}
    blanks: dict[str, tuple[int, ...]] = {}
    formulas = [edge.formula.readable for edge in node.backward_uses if edge.formula is not None]
    arrays = {name: array for formula in formulas for name, array in formula.arrays.items()}

    class Blanked(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            if name.id not in arrays or name.id in gradients:
                return name
            blanks[name.id] = arrays[name.id].shape
            return ast.Name(BLANK, ast.Load())

    text = _written(Blanked().visit(_whole(node)))
    meanings = listed([f"{x} {shape}" for x, shape in blanks.items()], len(blanks))
    filled = f"\nwhere {BLANK} stands for {meanings}" if blanks else ""
    meant = [line.removeprefix("# ") for line in _functions([node]) if "tinygrad_ce.ops" not in line]
    return "\n".join([f"{names[node]} = {text}{filled}", *meant])


def _whole(node: Node) -> ast.expr:
    """The gradient of a node as one expression: the sum of the rules of its uses."""
    terms = [edge.formula.readable.whole for edge in node.backward_uses if edge.formula is not None]
    return renamed(sum_of(terms), {})


def _written(tree: ast.expr) -> str:
    """An expression; a long sum with each term on a line of its own."""
    text = ast.unparse(tree)
    if len(text) <= WIDEST or not (isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add)):
        return text
    terms: list[str] = []
    while isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add):
        terms.append(f"    + {ast.unparse(tree.right)}")
        tree = tree.left
    return "\n".join(["(", f"    {ast.unparse(tree)}", *reversed(terms), ")"])


def _names(tree: ast.expr) -> list[str]:
    return list(dict.fromkeys(x.id for x in ast.walk(tree) if isinstance(x, ast.Name)))


def _called(tree: ast.expr) -> list[str]:
    calls = (x.func.id for x in ast.walk(tree) if isinstance(x, ast.Call) and isinstance(x.func, ast.Name))
    return list(dict.fromkeys(calls))


def _functions(nodes: list[Node]) -> list[str]:
    """A comment on where the functions are that the lines call."""
    called = list(dict.fromkeys(name for node in nodes for name in _called(_whole(node))))
    ours = [name for name in called if name in REGISTRY]
    lines = [f"# {', '.join(ours)}: from tinygrad_ce.ops"] if ours else []
    lines += ["# one_hot(y, classes): 1 where the class is the row's own, else 0"] if "one_hot" in called else []
    smoothing = "# smoothed(y, classes, s): (1 - s) one_hot(y, classes) + s / classes"
    lines += [smoothing] if "smoothed" in called else []
    here = any("HERE" in _names(_whole(node)) for node in nodes)
    return lines + (["# HERE: from tinygrad_ce.ops.indexing; it stands where an index array goes"] if here else [])
