"""A page that steps through a loss: forward, backward and the update, one operation at a time, in one HTML file.

Python sends the leaves, names, formulas and programs; the browser computes every number, so that each can be changed.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
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
from tinygrad_ce.views.graph_picture import PICTURE_STYLE, levels
from tinygrad_ce.views.pages import Page, as_json
from tinygrad_ce.views.picture import MIDDLE, NEGATIVE, POSITIVE
from tinygrad_ce.views.step.numbers import Numbers
from tinygrad_ce.views.step.update import Update, update_of

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
            update = update_of(graph, optimizer, "tg.step_through")
            self.modules, self.update = {"update": update.javascript()}, update
        except (TraceError, CannotLower) as error:
            self.untrained = f"No training here: {_first_sentence(error)}"

    def html(self, title: str) -> str:
        """The whole page."""
        nodes, edges = [self.node(node) for node in self.graph.nodes], [self.edge(edge) for edge in self.graph.edges]
        recorded = self.compiled()
        content = {
            "nodes": nodes,
            "edges": edges,
            "recorded": recorded,
            "untrained": self.untrained,
            "update": self.update and self.update.described(),
            "steps": self.steps(),
            "arrays": self.numbers.described(bool(recorded)),
            "levels": self.described_levels(),
            "loss": self.graph.loss.number,
            "path": [[node.number, cell] for node, cell in hardest_path(self.graph)],
            "colours": {"negative": NEGATIVE, "light": MIDDLE, "dark": DARK_MIDDLE, "positive": POSITIVE},
        }
        # The shapes stand close behind their lines: there is less room than in a file.
        lines = (re.sub(r"(?<=\S) {2,}# ", "  # ", line) for line in self.program_lines())
        css = file_text("tinygrad_ce.views.browser", "page.css", "words.css")
        css += "\n" + file_text("tinygrad_ce.views", "page.css") + "\n" + PICTURE_STYLE
        script = [file_text("tinygrad_ce.views.browser", "numbers.js"), words_script()]
        script.append(file_text("tinygrad_ce.views.step", *SCRIPTS))
        body = filled(
            file_text("tinygrad_ce.views", "page.html"),
            title=escaped(title),
            svg=self.levels[0].svg(styled=False),
            levels=_folded_pictures([picture.svg(styled=False) for picture in self.levels[1:]]),
            program=code_lines(lines),
            data=as_json(content),
            programs=as_script(self.modules),
            script="\n".join(script),
        )
        return page_html(title, body, css, scripts=True)

    def compiled(self) -> str:
        """Add the program of all numbers; why the page shows recorded ones, if JavaScript cannot hold it."""
        try:
            self.modules["pass"] = self.numbers.javascript()
        except CannotLower as error:
            self.modules, self.update, self.untrained = {}, None, ""
            return f"These are recorded numbers, which cannot be changed: {_first_sentence(error)}"
        return ""

    def described_levels(self) -> list[dict[str, Any]]:
        """What the page knows of the pictures: which group each shows, the one it is folded in, whose cards it has."""
        level_of = {picture.group: k for k, picture in enumerate(self.levels)}
        levels = []
        for picture in self.levels:
            titles, above = [picture.group.title], picture.group.parent
            while above is not None and above not in level_of:  # it is opened where this one is folded
                titles.insert(0, above.title)
                above = above.parent
            level = {"title": " / ".join(titles), "group": picture.group.number, "nodes": picture.nodes}
            levels.append({**level, "above": None if above is None else level_of[above]})
        return levels

    def node(self, node: Node) -> dict[str, Any]:
        """What the page knows of a node."""
        return {
            **self.formula(node.formula, node),
            "name": node.name,
            "kind": node.kind,
            "integer": node.value.dtype.kind in "iu",
            "op": node.op.name if node.op is not None else "",
            "doc": _described(node),
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
        pieces = self.numbers.pieces(shown)
        return {"text": shown.text, "pieces": pieces, "opened": self.numbers.opened(shown) if several else []}

    def steps(self) -> list[dict[str, Any]]:
        """Forward through the operations, then back, each share of a gradient a step, then a step per parameter."""
        results = [node for node in self.graph.nodes if node.kind == "result"]
        steps = [self.step("forward", node, self.lines(node.name)) for node in results]
        steps.append(self.step("backward", self.graph.loss, []))
        for edge in (edge for node in reversed(results) for edge in node.inputs if edge.share is not None):
            names = {f"d_{edge.source.name}", edge.rule[1].name if edge.rule is not None else ""}
            names.discard(f"d_{edge.target.name}")  # it was there before, and is handed on as it is
            lines = self.lines(*sorted(names))
            steps.append({**self.step("backward", edge.source, lines), "edge": edge.number})
        if self.update is not None:
            for k, node in enumerate(self.update.nodes):
                line = self.update.place_of(node)
                lines = [] if line is None else [len(self.graph.source) + line]
                steps.append({**self.step("update", node, lines), "update": k})
        return steps

    def step(self, phase: str, node: Node, lines: list[int]) -> dict[str, Any]:
        """One step: what becomes of a node, by which lines of the program."""
        return {"node": node.number, "phase": phase, "lines": lines}

    def lines(self, *names: str) -> list[int]:
        """The lines of the program in which these names get their values."""
        return [self.graph.line_numbers[name] for name in names if name in self.graph.line_numbers]

    def program_lines(self) -> list[str]:
        """The printed program, then the update, which whoever trains calls with what the program has returned."""
        after = [] if self.update is None else [*self.update.lines, "", *self.update.rule]
        return "\n".join([*self.graph.source, *after]).rstrip().split("\n")


def hardest_path(graph: Graph) -> list[tuple[Node, int]]:
    """From the loss back to a leaf, at each step the cell that gets most of what comes back; first what is spoiled.

    As long as there are results the way goes on through them: to a bias near the loss would be no way at all.
    """
    node, cell = graph.loss, 0
    path = [(node, cell)]
    while edges := [edge for edge in node.inputs if edge.share is not None and edge.share.size]:
        edges = [edge for edge in edges if edge.source.kind == "result"] or edges
        upstream = np.zeros_like(node.gradient)
        upstream.flat[cell] = np.asarray(node.gradient).flat[cell]
        shares = [_push(edge, upstream) for edge in edges]
        best = max(range(len(edges)), key=lambda k: shares[k].max())
        node, cell = edges[best].source, int(shares[best].argmax())
        path.append((node, cell))
    return path


def _push(edge: Edge, upstream: Array) -> Array:
    """How much each cell of an edge's source gets of what is upstream; infinitely much where a number is spoiled."""
    share = np.abs(edge.pulled(upstream))
    return np.where(np.isfinite(share) & np.isfinite(edge.source.value), share, np.inf).ravel()


def _folded_pictures(pictures: list[str]) -> str:
    """The pictures that the page opens, as texts: the browser reads each when it is looked at."""
    return f'<script type="application/json" id="levels">{as_json(pictures)}</script>' if pictures else ""


def _first_sentence(error: Exception) -> str:
    """What is in the way, in one line."""
    return str(error).split(". In a body these functions")[0]


def _described(node: Node) -> str:
    """The operation, and what its docstring says of it."""
    if node.op is None:
        return ""
    if node.op.name in ON_LOGITS:
        return ON_LOGITS[node.op.name].words
    words = (node.op.__doc__ or "").strip().splitlines()
    return f"{node.op.name}: {words[0].rstrip('.')}" if words else node.op.name
