"""A page that steps through a loss, forward and backward, one operation at a time: one HTML file that fetches nothing.

Everything on it is computed here and read there: numbers as arrays, formulas as text with places for numbers.
"""

from __future__ import annotations

import ast
import re
from html import escape
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.cells import Cell
from tinygrad_ce.graph.checks import check_unchanged
from tinygrad_ce.graph.formula import Formula
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.views.draw import Picture
from tinygrad_ce.views.pages import Page, as_json, file_text, files_text, filled, packed
from tinygrad_ce.views.picture import MIDDLE, NEGATIVE, POSITIVE
from tinygrad_ce.views.text import escaped

ONE_OPERATION = {  # what is one operation there, and what shows it as several
    "xent": ("softmax and cross-entropy", "cross_entropy"),
    "soft_xent": ("softmax and cross-entropy", "cross_entropy"),
    "sigmoid_xent": ("sigmoid and binary cross-entropy", "binary_cross_entropy"),
}


def step_through(loss: Tensor, title: str = "") -> Page:
    """A page that goes forward and then backward through a loss, one operation at a time, with all numbers.

    It is one file of HTML that works from disk, in a notebook cell and on a course page. It shows the formula of each
    step, the same with its numbers, and the line of the printed program; where a tensor is used twice, the shares of
    its gradient arrive one by one. No earlier `backward()` is needed. Numbers are kept in full: a batch of 32 digits
    through 64-32-10 makes a file of 0.2 megabytes in float32.
    title: which loss it is, as in "moons, after 20 epochs"; it is the heading of the page.
    Raises TypeError and ValueError for what has no history, or more than 1,500 nodes.

    >>> w = Tensor(2.0, requires_grad=True, name="w")
    >>> step_through(w * w + 1)
    <a page that steps through loss, 3 nodes: .save("step.html")>
    """
    graph = Graph(loss, "tg.step_through")
    check_unchanged(loss, "tg.step_through")
    title = title or f"{graph.loss.name}, {len(graph.nodes)} nodes"
    page = _Page(graph)
    return Page(page.html(f"Step through {title}"), "steps through", title, "step.html", page.picture.svg())


class _Page:
    """Collects what the page needs to know."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.picture = Picture(graph, with_gradients=True)
        self.arrays: list[dict[str, Any]] = []
        self.known: dict[Any, int] = {}
        self.node_number = {node: n for n, node in enumerate(graph.nodes)}
        self.by_name = {node.name: n for node, n in self.node_number.items()}
        self.edge_number = {edge: n for n, edge in enumerate(graph.edges)}

    def html(self, title: str) -> str:
        """The whole page."""
        content = {
            "nodes": [self.node(node) for node in self.graph.nodes],
            "edges": [self.edge(edge) for edge in self.graph.edges],
            "steps": self.steps(),
            "arrays": self.arrays,
            "colours": [NEGATIVE, MIDDLE, POSITIVE],
        }
        # The shapes stand close behind their lines: there is less room than in a file.
        lines = (re.sub(r"(?<=\S) {2,}# ", "  # ", line) for line in self.graph.source)
        program = "".join(f"<span>{escape(line)}</span>" for line in lines)
        parts = {
            "title": escaped(title),
            "css": files_text("tinygrad_ce.views.browser", "page.css")
            + "\n"
            + file_text("tinygrad_ce.views", "page.css"),
            "svg": self.picture.svg(),
            "program": program,
            "data": as_json(content),
            "script": files_text("tinygrad_ce.views.browser", "numbers.js")
            + "\n"
            + file_text("tinygrad_ce.views", "page.js"),
        }
        return filled(file_text("tinygrad_ce.views", "page.html"), **parts)

    def node(self, node: Node) -> dict[str, Any]:
        """What the page knows of a node."""
        formula = None if node.formula is None else node.formula.readable
        modules = " / ".join(type(call[0]).__name__ for call in node.modules)
        return {
            "name": node.name,
            "kind": node.kind,
            "op": node.op.name if node.op is not None else "",
            "doc": _described(node),
            "text": formula.text if formula is not None else "",
            "pieces": self.pieces(formula),
            "value": self.array(node.value),
            "gradient": None if node.gradient is None else self.array(node.gradient),
            "place": node.place.short if node.place is not None else "",
            "modules": modules,
            "inputs": [self.edge_number[edge] for edge in node.inputs],
            "uses": [self.edge_number[edge] for edge in node.uses],
        }

    def edge(self, edge: Edge) -> dict[str, Any]:
        """What the page knows of an edge."""
        formula = None if edge.formula is None else edge.formula.readable
        local = edge.local
        return {
            "source": self.node_number[edge.source],
            "target": self.node_number[edge.target],
            "argument": edge.argument,
            "operands": self.operands(formula),
            "share": None if edge.share is None else self.array(edge.share),
            "local": None if local is None else self.array(local),
            "text": formula.text if formula is not None else "",
            "pieces": self.pieces(formula),
        }

    def operands(self, formula: Formula | None) -> list[int]:
        """The nodes whose values the rule of an edge makes use of."""
        names = {} if formula is None else {x.id: 0 for x in ast.walk(formula.whole) if isinstance(x, ast.Name)}
        return [self.by_name[name] for name in names if name in self.by_name]

    def steps(self) -> list[dict[str, Any]]:
        """Forward through the operations, then back: each share of a gradient is a step, in the engine's order."""
        made = [node for node in self.graph.nodes if node.kind == "result"]
        steps: list[dict[str, Any]] = [
            {"node": self.node_number[node], "backward": False, "lines": self.lines(node.name)} for node in made
        ]
        steps.append({"node": self.node_number[self.graph.loss], "backward": True, "lines": []})
        for node in reversed(made):
            for edge in node.inputs:
                if edge.share is not None:
                    names = {f"d_{edge.source.name}", edge.rule[1].name if edge.rule is not None else ""}
                    names.discard(f"d_{edge.target.name}")  # it was there before, and is handed on as it is
                    steps.append(
                        {
                            "node": self.node_number[edge.source],
                            "edge": self.edge_number[edge],
                            "backward": True,
                            "lines": self.lines(*sorted(names)),
                        }
                    )
        return steps

    def lines(self, *names: str) -> list[int]:
        """The lines of the program in which these names get their values."""
        return [line for name in names if (line := self.graph.line(name)) is not None]

    def pieces(self, formula: Formula | None) -> list[Any]:
        """A formula as text, and as places in arrays."""
        if formula is None:
            return []
        return [self.cell(piece) if isinstance(piece, Cell) else piece for piece in formula.pieces]

    def cell(self, cell: Cell) -> dict[str, Any]:
        """Where a number stands: a start and a step for each axis, or a table where there is no such pattern."""
        table = cell.table
        place: dict[str, Any] = {"array": self.array(cell.array), "leads": cell.leads}
        if not table.size:
            return {**place, "start": 0, "steps": [0] * table.ndim}
        start = int(table.flat[0])
        steps = [
            int(np.take(table, 1, axis).flat[0]) - start if size > 1 else 0 for axis, size in enumerate(table.shape)
        ]
        regular = start + sum(
            (step * index for step, index in zip(steps, np.indices(table.shape), strict=True)), np.zeros(table.shape)
        )
        if (regular == table).all():
            return {**place, "start": start, "steps": steps}
        return {**place, "table": table.ravel().tolist()}

    def array(self, array: Array) -> int:
        """The number of an array on the page; equal ones are there once."""
        content = packed(array)
        key = tuple(content.values())
        if key not in self.known:
            self.known[key] = len(self.arrays)
            self.arrays.append(content)
        return self.known[key]


def _described(node: Node) -> str:
    """The operation, and what its docstring says of it."""
    if node.op is None:
        return ""
    if node.op.name in ONE_OPERATION:
        both, apart = ONE_OPERATION[node.op.name]
        return f"{both} as one operation, on the logits; losses.{apart}(..., fused=False) shows them apart"
    words = (node.op.__doc__ or "").strip().splitlines()
    return f"{node.op.name}: {words[0].rstrip('.')}" if words else node.op.name
