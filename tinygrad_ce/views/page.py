"""A page that steps through a loss: forward, backward and the update, one operation at a time, in one HTML file.

Python sends the leaves, names, formulas and programs; the browser computes every number, so that each can be changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Primitive, Tensor
from tinygrad_ce.graph.checks import check_unchanged
from tinygrad_ce.graph.expressions import names_in
from tinygrad_ce.graph.formula import Formula
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.graph.rules import ON_LOGITS
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.program import CannotLower, TraceError
from tinygrad_ce.program.scripts_text import as_script
from tinygrad_ce.report.html import code_lines
from tinygrad_ce.report.page import file_text, filled, page_html
from tinygrad_ce.report.words import escaped
from tinygrad_ce.views.browser.words import words_script
from tinygrad_ce.views.graph_picture import PICTURE_STYLE, Picture, levels
from tinygrad_ce.views.pages import Page, as_json
from tinygrad_ce.views.picture import MIDDLE, NEGATIVE, POSITIVE
from tinygrad_ce.views.step.numbers import Numbers
from tinygrad_ce.views.step.update import Update, update_of

BROWSER = "tinygrad_ce.views.browser"
DARK_MIDDLE = (38, 46, 56)  # zero, where the paper is dark
SCRIPTS = (
    "state.js", "follow.js", "levels.js", "pictures.js", "tables.js", "details.js", "changes.js", "story.js",
    "frame.js",
)  # fmt: skip


def step_through(loss: Tensor, optimizer: Optimizer | None = None, title: str = "") -> Page:
    """A page that goes forward and then backward through a loss, and updates its parameters, with all numbers.

    It is one file of HTML that works from disk, in a notebook cell and on a course page. It shows the formula of each
    step, the same with its numbers, and the line of the printed program; where a tensor is used twice, the shares of
    its gradient arrive one by one. Every input, weight and target can be changed on the page, which computes all
    numbers itself, and takes further steps of the training. No earlier `backward()` is needed, and nothing is changed.
    A loss with an operation that JavaScript cannot hold is shown with recorded numbers, and the page says which it is.
    optimizer: whose update is the last phase; without one it is gradient descent with a rate that the page sets.
    title: which loss it is, as in "moons, after 20 epochs"; it is the heading of the page.
    Raises TypeError and ValueError for what has no history, for more than 1,500 nodes, and for an optimizer of others.

    >>> w = Tensor(2.0, requires_grad=True, name="w")
    >>> step_through(w * w + 1)
    <a page that steps through loss, 3 nodes: .save("step.html")>
    """
    if isinstance(optimizer, str):
        raise TypeError(f"tg.step_through: optimizer={optimizer!r} is a text; for a heading write title={optimizer!r}")
    graph = Graph(loss, "tg.step_through")
    check_unchanged(loss, "tg.step_through")
    title = title or f"{graph.loss.name}, {len(graph.nodes)} nodes"
    page = _Page(graph, optimizer)
    return Page(page.html(f"Step through {title}"), "steps through", title, "step.html", page.levels[0].svg())


class _Page:
    """Collects what the page needs to know."""

    def __init__(self, graph: Graph, optimizer: Optimizer | None) -> None:
        self.graph = graph
        self.levels = levels(graph, with_gradients=True)
        self.numbers = Numbers(graph)
        self.update: Update | None = None
        self.modules: dict[str, str] = {}
        self.untrained = ""  # why there is no update
        try:
            update = update_of(graph, optimizer)
            self.modules, self.update = {"update": update.javascript()}, update
        except (TraceError, CannotLower) as error:
            self.untrained = f"No training here: {_first_sentence(error)}"
        self.nodes, self.edges = [*map(self.node, graph.nodes)], [*map(self.edge, graph.edges)]
        self.recorded = ""  # why the page shows recorded numbers
        try:
            self.modules["pass"] = self.numbers.javascript()
        except CannotLower as error:
            self.recorded = f"These are recorded numbers, which cannot be changed: {_first_sentence(error)}"
            self.modules, self.update, self.untrained = {}, None, ""

    def html(self, title: str) -> str:
        """The whole page."""
        content = {
            "nodes": self.nodes,
            "edges": self.edges,
            "recorded": self.recorded,
            "untrained": self.untrained,
            "update": self.update and self.update.described(),
            "steps": [*self.steps()],
            "arrays": self.numbers.described(bool(self.recorded)),
            "levels": [self.level(picture) for picture in self.levels],
            "loss": self.graph.loss.number,
            "path": hardest_path(self.graph),
            "colours": {"negative": NEGATIVE, "light": MIDDLE, "dark": DARK_MIDDLE, "positive": POSITIVE},
        }
        program = "\n".join([*self.graph.source, *(self.update.lines if self.update else ())]).rstrip()
        # The shapes stand close behind their lines: there is less room than in a file.
        program = re.sub(r"(?<=\S) {2,}# ", "  # ", program)
        # The browser reads each further picture when it is opened.
        further = as_json([picture.svg(styled=False) for picture in self.levels[1:]])
        css = (file_text(BROWSER, "page.css", "words.css"), file_text("tinygrad_ce.views", "page.css"), PICTURE_STYLE)
        script = (file_text(BROWSER, "numbers.js"), words_script(), file_text("tinygrad_ce.views.step", *SCRIPTS))
        body = filled(
            file_text("tinygrad_ce.views", "page.html"),
            title=escaped(title),
            svg=self.levels[0].svg(styled=False),
            levels=f'<script type="application/json" id="levels">{further}</script>' if self.levels[1:] else "",
            program=code_lines(program.split("\n")),
            data=as_json(content),
            programs=as_script(self.modules),
            script="\n".join(script),
        )
        return page_html(title, body, "\n".join(css), scripts=True)

    def level(self, picture: Picture) -> dict[str, Any]:
        """What the page knows of a picture: which group it shows, the picture it is folded in, whose cards it has."""
        numbers = {other.group: k for k, other in enumerate(self.levels)}
        title, above = picture.group.title, picture.group.parent
        while above is not None and above not in numbers:  # it is opened where this one is folded
            title, above = f"{above.title} / {title}", above.parent
        group = {"title": title, "group": picture.group.number, "nodes": picture.nodes}
        return {**group, "above": None if above is None else numbers[above]}

    def node(self, node: Node) -> dict[str, Any]:
        """What the page knows of a node."""
        return {
            **self.formula(node.formula, node),
            "name": node.name,
            "kind": node.kind,
            "integer": node.value.dtype.kind in "iu",
            "op": node.op.name if node.op is not None else "",
            "doc": "" if node.op is None else _described(node.op),
            "value": self.numbers.of(self.numbers.by_name[node.name]),
            "gradient": None if node.derivative is None else self.numbers.of(node.derivative),
            "place": node.place.short if node.place is not None else "",
            "modules": " / ".join(type(call[0]).__name__ for call in node.modules),
            "inputs": [edge.number for edge in node.inputs],
            "uses": [edge.number for edge in node.uses],
        }

    def edge(self, edge: Edge) -> dict[str, Any]:
        """What the page knows of an edge; operands: the nodes whose values its rule makes use of."""
        used = set() if edge.formula is None else names_in(edge.formula.readable.whole)
        return {
            **self.formula(edge.formula, edge.target),
            "source": edge.source.number,
            "target": edge.target.number,
            "argument": edge.argument,
            "operands": [node.number for node in self.graph.nodes if node.name in used],
            "share": None if edge.rule is None else self.numbers.of(edge.rule[1]),
            "local": self.numbers.local(edge),
        }

    def formula(self, formula: Formula | None, node: Node) -> dict[str, Any]:
        """What the page knows of a formula; opened: the parts of several operations that the node does as one."""
        if formula is None:
            return {"text": "", "pieces": [], "opened": []}
        shown, several = formula.readable, node.op is not None and node.op.name in ON_LOGITS
        opened = self.numbers.opened(shown) if several else []
        return {"text": shown.text, "pieces": self.numbers.pieces(shown), "opened": opened}

    def steps(self) -> Iterator[dict[str, Any]]:
        """Forward through the operations, then back, each share of a gradient a step, then a step per parameter."""
        results = [node for node in self.graph.nodes if node.kind == "result"]
        for node in results:
            yield {"node": node.number, "phase": "forward", "lines": self.lines(node.name)}
        yield {"node": self.graph.loss.number, "phase": "backward", "lines": []}
        for edge in (edge for node in reversed(results) for edge in node.inputs if edge.rule is not None):
            names = {f"d_{edge.source.name}", edge.rule[1].name if edge.rule is not None else ""}
            names.discard(f"d_{edge.target.name}")  # it was there before, and is handed on as it is
            lines = self.lines(*sorted(names))
            yield {"node": edge.source.number, "phase": "backward", "lines": lines, "edge": edge.number}
        if self.update is not None:
            for k, node in enumerate(self.update.nodes):
                lines = [len(self.graph.source) + self.update.place_of(node)]
                yield {"node": node.number, "phase": "update", "lines": lines, "update": k}

    def lines(self, *names: str) -> list[int]:
        """The lines of the program in which these names get their values."""
        return [self.graph.line_numbers[name] for name in names if name in self.graph.line_numbers]


def hardest_path(graph: Graph) -> list[tuple[int, int]]:
    """From the loss back to a leaf, at each step the cell that gets most of what comes back; first what is spoiled.

    Each by the number of its node and its position. As long as there are results the way goes on through them: to a
    bias near the loss would be no way at all.
    """
    node, cell = graph.loss, 0
    path = [(node.number, cell)]
    while edges := [edge for edge in node.inputs if edge.share is not None and edge.share.size]:
        upstream = np.zeros_like(node.gradient)
        upstream.flat[cell] = np.asarray(node.gradient).flat[cell]
        edges = [edge for edge in edges if edge.source.kind == "result"] or edges
        edge = max(edges, key=lambda edge: _push(edge, upstream).max())
        node, cell = edge.source, int(_push(edge, upstream).argmax())
        path.append((node.number, cell))
    return path


def _push(edge: Edge, upstream: Array) -> Array:
    """How much each cell of an edge's source gets of what is upstream; infinitely much where a number is spoiled."""
    share = np.abs(edge.pulled(upstream))
    return np.where(np.isfinite(share) & np.isfinite(edge.source.value), share, np.inf).ravel()


def _first_sentence(error: Exception) -> str:
    """What is in the way, in one line."""
    return str(error).split(". In a body these functions")[0]


def _described(op: Primitive) -> str:
    """An operation, and what its docstring says of it."""
    if op.name in ON_LOGITS:
        return ON_LOGITS[op.name].words
    return ": ".join([op.name, *(op.__doc__ or "").strip().splitlines()[:1]]).removesuffix(".")
