"""Backpropagation as an exercise: the gradients are hidden, and what you compute by hand is graded with reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.assignments.from_rules import STRONGEST, hint, solution
from tinygrad_ce.assignments.of_exercise import AsFiles
from tinygrad_ce.core import Tensor
from tinygrad_ce.exercises.answers import Answer, Verdict, of_one_dtype
from tinygrad_ce.exercises.backward_program import of_graph
from tinygrad_ce.exercises.examiner import Examiner
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.report.parts import Heading, Part, PrintedText, Sentence, Table, Words
from tinygrad_ce.report.parts import Report as Shown
from tinygrad_ce.report.words import several


def exercise(loss: Tensor) -> Exercise:
    """The backward pass of a loss as an exercise: compute the gradients by hand, and have them checked.

    loss: a single number with a history, as for `loss.backward()`. The `.grad` of all tensors that it was made from is
    set to None, so that nobody peeks; `.reveal()` puts the gradients there. Parameters and data must stay as they are
    until all is checked. Raises TypeError and ValueError if the loss is no single number with a history, ValueError if
    a parameter was changed after it was computed.

    >>> w = Tensor(3.0, requires_grad=True, name="w")
    >>> exercise((w * w).named("square") * 0.5).check(d_square=0.5, d_w=1.5)
      d_square  right
      d_w       wrong (missing share): w is used 2 times, and a contribution is missing: ...
    1 of 2 right
    """
    return Exercise(loss)


class Report(Shown):
    """The verdicts on what was checked, in the order in which it was given; true if all of it is right.

    verdicts: by the name under which each was given.
    """

    def __init__(self, verdicts: Mapping[Any, Verdict]) -> None:
        self._by_name = dict(verdicts)
        self.verdicts = list(verdicts.values())

    def __bool__(self) -> bool:
        return all(verdict.right for verdict in self.verdicts)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def __getitem__(self, name: Any) -> Verdict:
        found = {verdict.name: verdict for verdict in self.verdicts} | self._by_name
        if name not in found:
            raise KeyError(f"{name} was not checked; {', '.join(verdict.name for verdict in self.verdicts)} were")
        return found[name]

    @property
    def summary(self) -> str:
        """How many are right."""
        return f"{sum(verdict.right for verdict in self.verdicts)} of {len(self.verdicts)} right"

    @property
    def parts(self) -> list[Part]:
        """A row for each gradient, and how many are right."""
        rows = [(verdict.name, Words(verdict.in_words)) for verdict in self.verdicts]
        return [Table(rows), Sentence(self.summary)]


class Exercise(AsFiles, Shown):
    """The gradients of a loss, hidden; made by `tg.exercise`."""

    def __init__(self, loss: Tensor) -> None:
        self._graph = Graph(loss, "tg.exercise")
        _refuse_changed([node.name for node in self._graph.changed], "the loss was computed")
        self._given = [(node, node.value.copy()) for node in self._graph.nodes if node.kind != "result"]
        self._examiner = Examiner(of_graph(self._graph))
        self._names = self._graph.gradient_names
        self._nodes = {name: node for node, name in self._names.items()}
        self._answers: dict[str, Answer] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._hints: dict[Node, int] = {}
        self._hidden = [(tensor, tensor.grad) for tensor in reachable(loss).values()]
        for tensor, _ in self._hidden:
            tensor.grad = None

    @property
    def names(self) -> list[str]:
        """What can be checked: a gradient for each array of the printed program, in the order of the backward pass."""
        return list(self._nodes)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each gradient."""
        return {name: node.shape for name, node in self._nodes.items()}

    @property
    def parts(self) -> list[Part]:
        """The gradients that are asked for, and what was said of each."""
        title = f"{several(len(self.names), 'gradient')} to compute, in the order of the backward pass:"
        rows = [(name, str(shape), Words(self.status(name))) for name, shape in self.shapes.items()]
        return [Heading(title), Table(rows)]

    def status(self, name: str) -> str:
        """What was said of a gradient when it was last checked: "right", "wrong (sign)"... or "" before."""
        verdict = self._verdicts.get(name)
        if verdict is None:
            return ""
        return "right" if verdict.right else f"wrong ({verdict.mistake})"

    # ---- checking

    def check(self, answers: Mapping[Any, Any] | None = None, /, **named: Any) -> Report:
        """Say of each gradient whether it is right, and if not, what it has probably become wrong by.

        named: arrays, lists, numbers or Tensors, by the names in `names`: `check(d_logits=..., d_W0=...)`.
        answers: the same as a dict, whose keys may also be paths of parameters ("layers.0.W") or tensors.
        Gradients that were checked before stay in mind: what is right, given a wrong one of them, is told so.
        Raises ValueError for a name that there isn't and for parameters that were changed since, TypeError for what is
        no array of numbers.

        >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
        >>> exercise((x * 2).mean()).check(d_x=[2.0, 2.0])["d_x"].mistake
        'mean'
        """
        if answers is not None and not isinstance(answers, Mapping):
            raise TypeError(f"check: gradients are given by their names: write check({self.names[0]}=...)")
        given = {**(answers or {}), **named}
        if not given:
            raise ValueError(f"check: nothing was given to check: write check({self.names[0]}=...); {self._there_is()}")
        pairs = ((node, np.array_equal(node.value, x, equal_nan=x.dtype.kind == "f")) for node, x in self._given)
        changed = [node.name for node, same in pairs if not same]
        _refuse_changed(changed, "the exercise was made")
        asked = {key: self._node(key) for key in given}
        names = [self._names[node] for node in asked.values()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"check: {name} was given twice")
        try:
            answers = {name: Answer.read(name, value) for name, value in zip(names, given.values(), strict=True)}
        except TypeError as error:
            raise TypeError(f"check: {error}") from None
        self._answers |= of_one_dtype(answers)
        for name, verdict in self._examiner.judge(self._answers, names).items():
            helped = f'{verdict.message}. exercise.hint("{name}") helps'
            self._verdicts[name] = replace(verdict, message=helped) if verdict.mistake == "unknown" else verdict
        return Report({key: self._verdicts[name] for key, name in zip(asked, names, strict=True)})

    # ---- hints and solutions

    def hint(self, name: Any = None) -> PrintedText:
        """A hint for a gradient, each time a stronger one: what it comes from, by which rule, its formula with blanks.

        name: one of `names`; None for the first that has not been answered rightly. Raises ValueError for another.
        """
        left = [x for x in self.names if self.status(x) != "right"]
        if name is None and not left:
            return PrintedText(f"all {len(self._nodes)} gradients are right")
        node = self._node(left[0] if name is None else name)
        level = self._hints[node] = min(self._hints.get(node, 0) + 1, STRONGEST)
        words = hint(node, level, self._names)
        return PrintedText(f"hint {level} of {STRONGEST} for {self._names[node]}, shape {node.shape}\n{words}")

    def solution(self, name: Any = None, password: str | None = None) -> PrintedText:
        """The NumPy line of one gradient, or of all of them in their order, with shapes as comments.

        name: one of `names`; None for all. password: that of `lock`. Raises ValueError for another of both.
        """
        self._check_unlocked(password)
        nodes = list(self._nodes.values()) if name is None else [self._node(name)]
        return PrintedText("\n".join(solution(nodes, self._names)))

    def reveal(self) -> None:
        """Put the gradients into `.grad`: those that were there, and the right ones where nothing was."""
        for tensor, before in self._hidden:
            node = self._graph.node_of(tensor)
            assert node is not None
            tensor.grad = node.gradient.copy() if before is None and node.gradient is not None else before

    # ---- names

    def _node(self, asked: Any) -> Node:
        """The node that is meant by a name, a path or a tensor."""
        if isinstance(asked, Tensor):
            node = self._graph.node_of(asked)
            if node is None or node not in self._names:
                raise ValueError(f"{asked.label} is no tensor of this graph with a gradient; {self._there_is()}")
            return node
        if not isinstance(asked, str):
            raise TypeError(f"a gradient is asked for by its name or its tensor, not by {type(asked).__name__}")
        if asked in self._nodes:
            return self._nodes[asked]
        meant = [node for node in self._nodes.values() if asked in _other_names(node)]
        if len(meant) == 1:
            return meant[0]
        if meant:
            names = ", ".join(self._names[node] for node in meant)
            raise ValueError(f"{asked!r} may be any of {names}: use one of these names")
        raise ValueError(f"there is no gradient {asked!r} here{self._why_not(asked)}; {self._there_is()}")

    def _why_not(self, asked: str) -> str:
        """Why there is no gradient of this name, or which one may be meant."""
        for node in self._graph.nodes:
            if node not in self._names and asked in _other_names(node):
                return f": {node.name} is data, for which no gradient was asked: make it with requires_grad=True"
        inside = asked.removeprefix("d_")
        lines, missing = self._graph.line_numbers, len(self._graph.source)
        around = [node for node in self._graph.nodes if lines.get(node.name, 0) > lines.get(inside, missing)]
        if around:
            behind = " and ".join(self._names[edge.source] for edge in around[0].inputs if edge.source in self._names)
            return f": {inside} is a step on the way to {around[0].name}, and not differentiated alone: take {behind}"
        known = {alias.lower(): name for name, node in self._nodes.items() for alias in (name, *_other_names(node))}
        names = list(dict.fromkeys(known[alias] for alias in get_close_matches(asked.lower(), known, n=3, cutoff=0.6)))
        return f" (do you mean {' or '.join(names)}?)" if names else ""

    def _there_is(self) -> str:
        return f"the names are {', '.join(self.names)}"


def _other_names(node: Node) -> set[str]:
    """What else one may call the gradient of a node: a path with dots, or with underscores where dots cannot stand."""
    own = {node.name, node.label, node.label.replace(".", "_")}
    return own | {f"d_{name}" for name in own}


def _refuse_changed(names: list[str], since: str) -> None:
    """Raise ValueError for arrays that were written to: an optimizer's step, and no gradient by hand can be right."""
    if names:
        raise ValueError(
            f"tg.exercise: {', '.join(names)} {'was' if len(names) == 1 else 'were'} changed after {since} (by a step "
            "of an optimizer?), so that numbers do not belong together any more: compute the loss again, and make a "
            "new exercise of it"
        )
