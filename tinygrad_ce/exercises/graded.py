"""Backpropagation as an exercise: the gradients are hidden, and what you compute by hand is graded with reasons."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.data.printed_text import PrintedText
from tinygrad_ce.exercises.hints import STRONGEST, hint, solution
from tinygrad_ce.exercises.mistakes import Answer, Examiner, Mistake, Upstream
from tinygrad_ce.graph.formula import format_number
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.views import notebook

WIDTH = 100  # columns of a report


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


@dataclass(frozen=True)
class Verdict:
    """What is to be said about one gradient.

    name: as in `exercise.names`. mistake: a short stable key ("mean", "sign", "transpose", "missing share"...), None if
    it is right. message: in words. follows: the wrong gradients of yours that this one is right for.
    """

    name: str
    right: bool
    mistake: str | None
    message: str
    follows: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}  {self._shown}"

    @property
    def _shown(self) -> str:
        return self.message if self.mistake is None else f"wrong ({self.mistake}): {self.message}"


class Report:
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

    def __str__(self) -> str:
        width = max(len(verdict.name) for verdict in self.verdicts) + 2
        lines = (
            textwrap.fill(f"{v.name:<{width}}{v._shown}", WIDTH, subsequent_indent=" " * width, break_long_words=False)
            for v in self.verdicts
        )
        return "\n".join([*lines, self.summary])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        sentence = notebook.Sentence
        rows = [(v.name, sentence(v.mistake or "right"), sentence(v.message)) for v in self.verdicts]
        table = notebook.table(rows, ("gradient", "verdict", "why"))
        return notebook.block(notebook.heading(self.summary), table)


class Exercise:
    """The gradients of a loss, hidden; made by `tg.exercise`."""

    def __init__(self, loss: Tensor) -> None:
        self._graph = Graph(loss, "tg.exercise")
        _refuse_changed([node.name for node in self._graph.changed], "the loss was computed")
        self._given = [(node, node.value.copy()) for node in self._graph.nodes if node.kind != "result"]
        self._examiner = Examiner(self._graph)
        self._names = self._examiner.names
        self._nodes = {name: node for node, name in self._names.items()}
        self._answers: dict[Node, Answer] = {}
        self._verdicts: dict[Node, Verdict] = {}
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

    def _repr_html_(self) -> str:
        return notebook.exercise_form(self)

    def __repr__(self) -> str:
        width = max(map(len, self._nodes))
        shapes = {name: str(shape) for name, shape in self.shapes.items()}
        wide = max(map(len, shapes.values()))
        lines = (f"  {name:<{width}}  {shapes[name]:<{wide}}  {self.status(name)}" for name in self._nodes)
        head = f"{len(self._nodes)} gradients to compute, in the order of the backward pass:"
        return "\n".join([head, *(line.rstrip() for line in lines)])

    def status(self, name: str) -> str:
        """What was said of a gradient when it was last checked: "right", "wrong (sign)"... or "" before."""
        verdict = self._verdicts.get(self._nodes[name])
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
        changed = [node.name for node, before in self._given if not _same(node.value, before)]
        _refuse_changed(changed, "the exercise was made")
        asked = {key: self._node(key) for key in given}
        found: dict[Node, Answer] = {}
        for key, node in asked.items():
            if node in found:
                raise ValueError(f"check: {self._names[node]} was given twice")
            found[node] = _answer(self._names[node], given[key])
        self._answers |= found
        right = {node for node, answer in self._answers.items() if self._examiner.right(node, answer)}
        wrong = {x: answer.array for x, answer in self._answers.items() if x not in right and _usable(x, answer)}
        upstream = self._examiner.given(wrong)
        for node in found:
            self._verdicts[node] = self._verdict(node, node in right, upstream)
        return Report({key: self._verdicts[node] for key, node in asked.items()})

    def _verdict(self, node: Node, right: bool, upstream: Upstream) -> Verdict:
        name, answer = self._names[node], self._answers[node]
        if right:
            return Verdict(name, True, None, "right")
        if answer.array.size and not answer.array.any() and answer.array.shape == node.shape:
            return Verdict(name, False, "zeros", "all numbers are 0: has it been computed yet?")
        if not np.isfinite(answer.array).all() or not np.isfinite(self._examiner.truth[node]).all():
            return Verdict(name, False, "not finite", self._not_finite(node, answer))
        follows = upstream.follows[node]
        if follows and self._examiner.matches(node, answer, upstream.expected[node]):
            names = [self._names[x] for x in self._examiner.nodes if x in follows]
            words = f"right, given your own {self._examiner.followed(node, upstream)}: the mistake came from there"
            return Verdict(name, False, "upstream", words, tuple(names))
        mistakes = self._examiner.explained(node, answer, upstream)
        if mistakes:
            return Verdict(name, False, mistakes[0].key, _with_others(mistakes))
        if answer.array.shape != node.shape:
            return Verdict(name, False, *self._other_shape(node, answer, upstream))
        return Verdict(name, False, *self._unexplained(node, answer))

    def _not_finite(self, node: Node, answer: Answer) -> str:
        bad = ~np.isfinite(answer.array)
        if not bad.any():
            return "the right gradient itself is not finite here: tg.why_nan(loss) says where that begins"
        index = np.argwhere(bad)[0]
        what = "NaN" if np.isnan(answer.array[tuple(index)]) else "infinite"
        return (
            f"{_count(bad)} {'is' if bad.sum() == 1 else 'are'} NaN or infinite, the first {_at(index)}: it is {what}. "
            "Look for a division by 0, a log of 0 or an exp that overflows"
        )

    def _other_shape(self, node: Node, answer: Answer, upstream: Upstream) -> tuple[str, str]:
        """The mistake and the words for an answer of another shape than the gradient's."""
        array, shape = answer.array, node.shape
        start = f"shape {array.shape} instead of {shape}, which is that of {node.name}"
        for key, other, mend in _reshaped(array, shape):
            changed = Answer(other, answer.epsilon)
            if self._examiner.right(node, changed):
                return key, f"{start}; the numbers are right: {mend}"
            mistakes = self._examiner.explained(node, changed, upstream)
            if mistakes:
                return f"{key} and {mistakes[0].key}", f"{start}: {mend}; and besides, {mistakes[0].words}"
        mends = [mend for _, _, mend in _reshaped(array, shape)]
        turned = "; a transposition (.T) would give the shape, but not the numbers" if array.T.shape == shape else ""
        return "shape", start + (f"; to {mends[0]} would give the shape, but not the numbers" if mends else turned)

    def _unexplained(self, node: Node, answer: Answer) -> tuple[str, str]:
        """The mistake and the words for numbers that no usual mistake gives."""
        truth, array = self._examiner.truth[node], answer.array
        off = np.abs(array - truth)
        bad = off > self._examiner.allowed(node, answer)
        index = np.unravel_index(int(off.argmax()), off.shape)
        size = float(np.abs(truth).max())
        where = f"most {_at(index)}, where yours is {format_number(array[index])}"
        if self._examiner.is_zero(node):
            return "unknown", f"wrong in {_count(bad)}, {where}: too large. {self._help(node)}"
        share = float(off.max()) / size
        if share < 1e-2:
            words = f"nearly right: off by {share:.2g} of the largest number at most, in {_count(bad)}, {where}"
            return "nearly", f"{words}{_one_line(bad)}. Was a number rounded on the way, or is an eps another one?"
        words = f"wrong in {_count(bad)}, {where}; the error there is {share:.2g} times the largest right number"
        words += _one_line(bad)
        return "unknown", f"{words}. It is none of the usual mistakes. {self._help(node)}"

    def _help(self, node: Node) -> str:
        return f'exercise.hint("{self._names[node]}") helps'

    # ---- hints and solutions

    def hint(self, name: Any = None) -> PrintedText:
        """A hint for a gradient, each time a stronger one: what it comes from, by which rule, its formula with blanks.

        name: one of `names`; None for the first that has not been answered rightly. Raises ValueError for another.
        """
        if name is None:
            left = [node for node in self._nodes.values() if not self._is_right(node)]
            if not left:
                return PrintedText(f"all {len(self._nodes)} gradients are right")
            node = left[0]
        else:
            node = self._node(name)
        level = self._hints[node] = min(self._hints.get(node, 0) + 1, STRONGEST)
        words = hint(node, level, self._names)
        return PrintedText(f"hint {level} of {STRONGEST} for {self._names[node]}, shape {node.shape}\n{words}")

    def _is_right(self, node: Node) -> bool:
        return node in self._verdicts and self._verdicts[node].right

    def solution(self, name: Any = None) -> PrintedText:
        """The NumPy line of one gradient, or of all of them in their order, with shapes as comments.

        name: one of `names`; None for all. Raises ValueError for another.
        """
        nodes = list(self._nodes.values()) if name is None else [self._node(name)]
        return PrintedText("\n".join(solution(nodes, self._names)))

    def reveal(self) -> None:
        """Put the gradients into `.grad`: those that were there, and the right ones where nothing was."""
        for tensor, before in self._hidden:
            node = self._graph.node_of(tensor)
            assert node is not None
            gradient = None if node.gradient is None else node.gradient.copy()
            tensor.grad = gradient if before is None else before

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
        raise ValueError(self._no_such(asked))

    def _no_such(self, asked: str) -> str:
        for node in self._graph.nodes:
            if node not in self._names and asked in _other_names(node):
                reason = f"{node.name} is data, for which no gradient was asked: make it with requires_grad=True"
                return f"there is no gradient {asked!r} here: {reason}. {self._there_is()}"
        known = {alias.lower(): name for name, node in self._nodes.items() for alias in (name, *_other_names(node))}
        names = list(dict.fromkeys(known[alias] for alias in get_close_matches(asked.lower(), known, n=3, cutoff=0.6)))
        meant = f" (do you mean {' or '.join(names)}?)" if names else ""
        return f"there is no gradient {asked!r} here{meant}; {self._there_is()}"

    def _there_is(self) -> str:
        return f"the names are {', '.join(self.names)}"


def _other_names(node: Node) -> set[str]:
    """What else one may call the gradient of a node: a path with dots, or with underscores where dots cannot stand."""
    own = {node.name, node.label, node.label.replace(".", "_")}
    return own | {f"d_{name}" for name in own}


def _answer(name: str, value: Any) -> Answer:
    """What was given as an array. TypeError if it is none."""
    if value is None:
        raise TypeError(f"check: {name} is None: does the function that computes it return it?")
    try:
        array = np.asarray(value.data if isinstance(value, Tensor) else value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"check: {name} cannot be read as an array of numbers: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"check: {name} must be real numbers, and these have dtype {array.dtype}")
    epsilon = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
    answer = array.astype(np.float64)
    return Answer(answer, max(epsilon, float(np.finfo(np.float32).eps)) if _from_float32(answer) else epsilon)


def _from_float32(array: Array) -> bool:
    """Whether float64 numbers have been float32 before, as in a list of them: they use its 24 bits, and no more."""
    mantissas = np.frexp(array[np.isfinite(array) & (array != 0)])[0]
    in_24_bits, in_16_bits = (np.mod(mantissas * 2**bits, 1) == 0 for bits in (24, 16))
    return bool(mantissas.size and in_24_bits.all() and 2 * in_16_bits.sum() < mantissas.size)


def _same(array: Array, before: Array) -> bool:
    return np.array_equal(array, before, equal_nan=array.dtype.kind == "f")


def _refuse_changed(names: list[str], since: str) -> None:
    """Raise ValueError for arrays that were written to: an optimizer's step, and no gradient by hand can be right."""
    if names:
        raise ValueError(
            f"tg.exercise: {', '.join(names)} {'was' if len(names) == 1 else 'were'} changed after {since} (by a step "
            "of an optimizer?), so that numbers do not belong together any more: compute the loss again, and make a "
            "new exercise of it"
        )


def _usable(node: Node, answer: Answer) -> bool:
    """Whether the rules below can go on with a wrong answer."""
    return answer.array.shape == node.shape and bool(np.isfinite(answer.array).all())


def _with_others(mistakes: list[Mistake]) -> str:
    """The likeliest explanation, and what else gives the same numbers and is not much less likely."""
    first, *rest = mistakes
    others = {m.key: m for m in reversed(rest) if m.cost <= first.cost + 0.35 and not _alike(m.key, first.key)}
    return first.words + "".join(f". Also fits: {other.words}" for other in [*others.values()][::-1][:2])


_SAME = ({"averaged", "mean twice"}, {"mean", "missing factor"}, {"no derivative", "missing factor"})


def _alike(key: str, other: str) -> bool:
    """Whether two kinds of mistake are two ways to say the same."""
    return key == other or {key, other} in _SAME


def _reshaped(array: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, Array, str]]:
    """An answer brought into the shape of the gradient, each with the mistake that was mended, and how."""
    if array.size == np.prod(shape) and _without_ones(array.shape) == _without_ones(shape):
        how = f"reshape it to {shape}, or drop or keep a dimension of size 1 with keepdims"
        yield "shape", array.reshape(shape), how
        return
    extra = array.ndim - len(shape)
    if extra >= 0 and array.size:
        axes = tuple(i for i, n in enumerate(array.shape) if i < extra or (shape[i - extra] == 1 and n > 1))
        summed = array.sum(axis=axes, keepdims=True)
        if summed.size == np.prod(shape):
            yield "not summed", summed.reshape(shape), f"sum it over axis {axes[0] if len(axes) == 1 else axes}"
    try:
        spread = np.broadcast_to(array, shape)
    except ValueError:
        return
    yield "shape", spread, f"repeat it for every place with np.broadcast_to(..., {shape})"


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _count(bad: Array) -> str:
    return f"{int(bad.sum())} of {bad.size} number{'s' if bad.size != 1 else ''}"


def _at(index: Any) -> str:
    return f"at [{', '.join(str(int(i)) for i in index)}]" if len(index) else "as it is a single number"


def _one_line(bad: Array) -> str:
    """If all wrong numbers lie in one row or column: which."""
    for axis, name in ((0, "row"), (1, "column")):
        if bad.ndim == 2 and bad.shape[axis] > 1:
            lines = np.flatnonzero(bad.any(axis=1 - axis))
            if len(lines) == 1:
                return f"; all outside of {name} {lines[0]} is right"
    return ""
