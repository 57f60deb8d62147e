"""What a wrong gradient has become wrong by: it is compared with what the usual mistakes give in this very graph.

The right gradient and all wrong ones come from the engine's own rules: a share is left out, a rule is asked for another
upstream, or its printed formula is changed in one place (see slips.py).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises.crossed import arguments_of, crossed, is_weighted_mean
from tinygrad_ce.exercises.rounding import rounding
from tinygrad_ce.exercises.slips import names_in, slips
from tinygrad_ce.graph.formula import Formula
from tinygrad_ce.graph.nodes import Edge, Graph, Node

MOST_SUBSETS = 6  # uses of a node, of which all subsets are tried
MOST_NAMES = 40  # arrays that may have been mistaken for another
MOST_ABOVE = 60  # nodes further up where the mistake may be
MOST_STEPS = 4000  # on the way from there
MOST_COLUMNS = 128  # of a derivative of which only the diagonal may have been taken


@dataclass(frozen=True)
class Answer:
    """An array that somebody has computed, in float64, and the rounding error of the dtype that it came in."""

    array: Array
    epsilon: float

    @property
    def T(self) -> Answer:
        return replace(self, array=self.array.T)


@dataclass(frozen=True)
class Mistake:
    """An explanation: a stable key, and the words for it. cost: the larger, the less likely it is."""

    key: str
    words: str
    cost: float = 1.0

    @property
    def likely(self) -> bool:
        """Whether people make it often enough to be thought of first."""
        return self.cost < 2


@dataclass(frozen=True, eq=False)
class Guess:
    """What a gradient is if a certain mistake has been made."""

    mistake: Mistake
    array: Array


@dataclass(frozen=True, eq=False)
class Upstream:
    """What comes from above: the gradient of each node, where wrong answers stand in for the right gradients.

    expected: what the rules give for each node from there. follows: which wrong answers that comes from.
    """

    gradients: dict[Node, Array]
    expected: dict[Node, Array]
    follows: dict[Node, frozenset[Node]]


def _double(array: Any) -> Array:
    return np.asarray(array, dtype=np.float64)


def _largest(array: Array) -> float:
    return float(np.abs(array).max()) if array.size else 0.0


class Examiner:
    """Knows the right gradients of a graph, and which wrong ones the usual mistakes lead to."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = graph.with_gradient
        self.noise = rounding(graph, self.nodes)
        self.truth = {node: _double(node.gradient) for node in self.nodes}
        self.epsilon = max(float(np.finfo(node.value.dtype).eps) for node in self.nodes)
        self.right_upstream = Upstream(self.truth, self.truth, dict.fromkeys(self.nodes, frozenset()))
        self.names = graph.gradient_names
        self._values = {node.name: node.value for node in graph.nodes if node.value.dtype.kind == "f"}
        self._data = {node.name for node in graph.nodes if node.kind == "data"}
        self._gradients = {self.names[node]: truth for node, truth in self.truth.items()}
        self._place = {node.name: place for place, node in enumerate(graph.nodes)}
        self._place |= {name: self._place[node.name] for node, name in self.names.items()}

    # ---- right or not

    def right(self, node: Node, answer: Answer) -> bool:
        """Whether this is the gradient, but for rounding: of each number, and of the sums that it has come from."""
        truth, array = self.truth[node], answer.array
        if array.shape != truth.shape:
            return False
        finite = np.isfinite(truth)
        with np.errstate(all="ignore"):
            same = np.where(finite, np.abs(array - truth) <= self.allowed(node, answer), False)
        return bool((same | (~finite & ((array == truth) | (np.isnan(array) & np.isnan(truth))))).all())

    def allowed(self, node: Node, answer: Answer) -> Array:
        """By how much each number of a right answer may differ."""
        epsilon = max(self.epsilon, answer.epsilon)
        relative = 1e-6 if epsilon < 1e-12 else 1e-3 if epsilon < 1e-5 else 2e-2
        noise = self.noise[node] * (epsilon / self.epsilon)
        tiny = 4 * float(np.finfo(np.float64 if epsilon < 1e-12 else np.float32).smallest_subnormal)
        truth = np.where(np.isfinite(self.truth[node]), np.abs(self.truth[node]), 0)
        return relative * truth + 20 * noise + _largest(noise) + tiny

    def is_zero(self, node: Node) -> bool:
        """Whether all numbers of the right gradient are 0, or would be but for rounding."""
        return _largest(self.truth[node]) <= 30 * _largest(self.noise[node])

    def matches(self, node: Node, answer: Answer, guess: Array) -> bool:
        """Whether an answer is this guess, and much nearer to it than to the right gradient."""
        array, truth = answer.array, self.truth[node]
        if array.shape != guess.shape or not np.isfinite(guess).all():
            return False
        epsilon = max(self.epsilon, answer.epsilon)
        noise = 0.0
        if truth.shape != guess.shape:
            noise = 30 * epsilon * _largest(truth)
        elif not guess.any():
            return False
        elif not self.is_zero(node):
            noise = _largest(self.noise[node]) * (epsilon / self.epsilon) * max(1.0, _largest(guess) / _largest(truth))
        off = _largest(array - guess)
        strict = 1e-9 if epsilon < 1e-12 else 1e-4 if epsilon < 1e-5 else 1e-2
        if off > strict * _largest(guess) + 30 * noise:
            return False
        return array.shape != truth.shape or off < 0.05 * _largest(array - truth)

    # ---- the student's own gradients

    def given(self, wrong: dict[Node, Array]) -> Upstream:
        """What comes from above if these answers are gone on with, wrong as they are."""
        if not wrong:
            return self.right_upstream
        gradients: dict[Node, Array] = {}
        expected: dict[Node, Array] = {}
        follows: dict[Node, frozenset[Node]] = {}
        for node in self.nodes:
            above = node.backward_uses
            sources = frozenset(x for edge in above for x in _named(edge.target, wrong, follows))
            follows[node] = sources
            expected[node] = self.truth[node]
            if sources:
                expected[node] = sum((self.pulled(e, gradients[e.target]) for e in above), np.zeros(node.shape))
            gradients[node] = wrong.get(node, expected[node])
        return Upstream(gradients, expected, follows)

    def followed(self, node: Node, upstream: Upstream) -> str:
        """The wrong answers that come from above here, in words."""
        return " and ".join(self.names[x] for x in self.nodes if x in upstream.follows[node])

    def pulled(self, edge: Edge, upstream: Array) -> Array:
        """What comes back along an edge; the rule is asked in the dtype of the graph."""
        return _double(edge.pulled(np.asarray(upstream, edge.target.value.dtype)))

    # ---- explanations

    def explained(self, node: Node, answer: Answer, upstream: Upstream) -> list[Mistake]:
        """What this answer may have become wrong by, the likeliest first; [] if nobody knows.

        upstream: with the wrong answers that were handed in.
        """
        upstreams = [self.right_upstream, *([upstream] if upstream.follows[node] else [])]
        ways: list[Callable[[Upstream], Iterator[Mistake]]] = [
            lambda above: self._near(node, answer, above, likely=True),
            lambda above: self._further_up(node, answer, above),
            lambda above: self._near(node, answer, above, likely=False),
            lambda above: self._two_at_once(node, answer, above),
        ]
        for way in ways:
            for above in upstreams:
                found = sorted(way(above), key=lambda mistake: mistake.cost)
                if found:
                    given = "" if above is self.right_upstream else f"given your own {self.followed(node, upstream)}, "
                    return [replace(mistake, words=given + mistake.words) for mistake in found]
        return [*self._another(node, answer)] or [*self._any_factor(node, answer)]

    def _near(self, node: Node, answer: Answer, upstream: Upstream, likely: bool) -> Iterator[Mistake]:
        """One mistake in this very step; the likely ones, or all others."""
        right = upstream.expected[node]
        if likely and answer.array.shape == node.shape and not self.is_zero(node):
            for factor, mistake in self.factors(node):
                if self.matches(node, answer, factor * right):
                    yield mistake
        if likely and right.ndim >= 2 and self.matches(node, answer, right.T):
            yield Mistake("transpose", _transposed(answer.array.shape, node.shape))
        for guess in self.guesses(node, upstream):
            if guess.mistake.likely is likely and self.matches(node, answer, guess.array):
                yield guess.mistake

    def _two_at_once(self, node: Node, answer: Answer, upstream: Upstream) -> Iterator[Mistake]:
        """A mistake, and besides it a factor or a transposition."""
        if not _tells_enough(answer) or self.is_zero(node):
            return
        guesses = [guess for guess in self.guesses(node, upstream) if guess.mistake.likely]
        factors = list(self.factors(node))
        for factor, other in factors:
            for guess in guesses:
                if self.matches(node, answer, factor * guess.array):
                    yield _both(guess.mistake, other)
        if answer.array.ndim < 2 or answer.array.T.shape != node.shape:
            return
        turned = Mistake("transpose", _transposed(answer.array.shape, node.shape))
        for factor, other in factors:
            if self.matches(node, answer.T, factor * upstream.expected[node]):
                yield _both(turned, other)
        for guess in guesses:
            if self.matches(node, answer.T, guess.array):
                yield _both(turned, guess.mistake)

    def _any_factor(self, node: Node, answer: Answer) -> Iterator[Mistake]:
        """Every number, or every number of one share, is the same multiple of the right one."""
        right = self.truth[node]
        if answer.array.shape != right.shape or not _tells_enough(answer) or self.is_zero(node):
            return
        if not np.isfinite(right).all():
            return
        factor = _ratio(answer.array, right)
        if abs(factor - 1) > 1e-2 and self.matches(node, answer, factor * right):
            if factor > 0 and self._has_weighted_mean(node):
                words = "a mean with weights of the classes is divided by the sum of the weights of the labels, not by"
                yield Mistake("weights", f"every number is {_fraction(factor)} the right one: {words} their number", 2)
            yield Mistake("factor", f"every number is {_fraction(factor)} the right one{self._counted(factor)}", 3)
        edges = node.backward_uses
        for edge in edges if len(edges) > 1 else []:
            share = _double(edge.share)
            factor = _ratio(answer.array - (right - share), share) if share.any() else 1.0
            if self.matches(node, answer, right - share + factor * share):
                words = f"the share through {shown(edge.target)} is {_fraction(factor)} what it must be"
                yield Mistake("factor", words + self._counted(factor), 3)

    def _has_weighted_mean(self, node: Node) -> bool:
        """Whether a gradient comes from a cross-entropy that is a mean with weights of the classes."""
        for edge in self.graph.edges:
            op, tensor = edge.target.op, edge.target.tensor
            if op is not None and op.name == "xent" and tensor is not None and self._all_pass(node, edge):
                return is_weighted_mean(arguments_of(tensor))
        return False

    def _counted(self, factor: float) -> str:
        """What a factor may have come from: the length of an axis."""
        for n in sorted({n for node in self.graph.nodes for n in node.shape if n > 2}):
            if np.isclose(abs(factor), [n, 1 / n], 1e-5).any():
                return f"; {n} is the length of an axis: a mean for a sum, or a sum for a mean?"
            if np.isclose(abs(factor), [(n - 1) / n, n / (n - 1)], 1e-5).any():
                return f"; is {n - 1} divided by where it must be {n}, or the other way round?"
        return ""

    def _another(self, node: Node, answer: Answer) -> Iterator[Mistake]:
        """It is another array of the graph."""
        for name, array in {**self._gradients, **self._values}.items():
            if name != self.names[node] and array.size > 1 and self.matches(node, answer, _double(array)):
                yield Mistake("mixed up", f"this is {name}", 2)

    # ---- factors

    def factors(self, node: Node) -> Iterator[tuple[float, Mistake]]:
        """The factors by which a whole gradient is usually wrong."""
        sign = Mistake("sign", "every number has the wrong sign: a minus is missing, or there is one too many")
        yield -1.0, sign
        yield 2.0, Mistake("factor", "every number is twice the right one", 1.6)
        square = ": the slope of a square has a factor 2" if self._has_square() else ""
        yield 0.5, Mistake("factor", f"every number is half of the right one{square}", 1.6)
        for count, of_mean, where in self.divisions(node):
            times = f"{count:.6g}"
            words = f"off by the factor {times}: every number is {times} times the right one"
            forgotten = Mistake("factor", f"{words}, as if it were forgotten that {where}", 1.4)
            if of_mean:
                forgotten = Mistake("mean", f"{words}. The mean was forgotten: {where}")
            words = f"off by the factor 1/{times}: every number is divided by {times} once too often"
            twice = Mistake("mean twice" if of_mean else "factor", f"{words}. {where}, once", 1.2 if of_mean else 1.6)
            if of_mean and square:
                words = f"every number is {_fraction(count / 2)} the right one: the mean was forgotten, where {where}"
                yield count / 2, Mistake("mean and factor", f"{words}, and the factor 2 in the slope of a square", 1.5)
            yield count, forgotten
            yield 1 / count, twice
            yield -count, _both(forgotten, sign)
            yield -1 / count, _both(twice, sign)

    def _has_square(self) -> bool:
        """Whether something is squared in the graph, or multiplied with itself."""
        return any(
            node.op.name == "constant_power" or len({edge.source for edge in node.inputs}) < len(node.inputs)
            for node in self.graph.nodes
            if node.op is not None
        )

    def divisions(self, node: Node) -> Iterator[tuple[float, bool, str]]:
        """By what the gradient is divided on every way from the loss to this node.

        Each with whether it is the count of a mean, and with where that happens.
        """
        found = []
        for edge in self.graph.edges:
            count = divided_by(edge)
            if count is not None and count not in (0, 1) and self._all_pass(node, edge):
                found.append((count, is_mean(edge, count), f"{shown(edge.target)} divides by {count:.6g}"))
        yield from found
        if len(found) > 1:
            counts, means, places = zip(*found, strict=True)
            yield float(np.prod(counts)), all(means), " and ".join(places)

    def _all_pass(self, node: Node, gate: Edge) -> bool:
        """Whether every way from a node to the loss leads along this edge."""
        seen, stack = {node}, [node]
        passed = False
        while stack:
            for edge in stack.pop().uses:
                if edge is gate:
                    passed = True
                elif edge.share is not None and edge.target not in seen:
                    seen.add(edge.target)
                    stack.append(edge.target)
        return passed and self.graph.loss not in seen

    # ---- mistakes in one step

    def guesses(self, node: Node, upstream: Upstream) -> Iterator[Guess]:
        """What the gradient of a node is after each of the usual mistakes in its own step."""
        edges = node.backward_uses
        right = upstream is self.right_upstream
        shares = {e: _double(e.share) if right else self.pulled(e, upstream.gradients[e.target]) for e in edges}
        yield from _without_some(node, shares)
        for edge in edges:
            rest = sum((share for other, share in shares.items() if other is not edge), np.zeros(node.shape))
            several = len(edges) > 1
            where = f"{'the share through ' if several else ''}{shown(edge.target)}"
            for guess in self._wrong_shares(edge, shares[edge], upstream.gradients[edge.target]):
                array = guess.array
                if several:
                    try:
                        array = array + rest
                    except ValueError:
                        continue
                yield Guess(replace(guess.mistake, words=f"{guess.mistake.words}, in {where}"), array)

    def _wrong_shares(self, edge: Edge, share: Array, upstream: Array) -> Iterator[Guess]:
        """What comes back along one edge after each of the usual mistakes."""
        op = edge.target.op
        assert op is not None
        source, name = edge.source, self.names[edge.target]
        if len(source.uses) > 1:
            yield Guess(Mistake("sign", "one share has the wrong sign", 1.3), -share)
            count = divided_by(edge)
            if count is not None:
                words = f"off by the factor {count:.6g} in one share: its division by {count:.6g} was forgotten"
                yield Guess(Mistake("mean" if is_mean(edge, count) else "factor", words, 1.3), count * share)
        if upstream.shape == source.shape:
            words = f"the derivative of {op.name} is missing: this is {name} as it came"
            yield Guess(Mistake("no derivative", words, 1.1), upstream)
        if op.name == "getitem":
            words = f"where a part of {source.name} was taken several times, the last share has overwritten the others"
            yield Guess(Mistake("overwritten", words), _overwritten(edge, upstream))
        alone = f"the local derivative alone: {name}, which comes from above, is missing"
        constant = upstream.size > 0 and bool((upstream == upstream.flat[0]).all())  # then it is a factor as well
        ones = self.pulled(edge, np.ones(edge.target.shape))
        yield Guess(Mistake("no upstream", alone, 1.45 if constant else 1.0), ones)
        if upstream.shape == source.shape and edge.local is None and 1 < upstream.size <= MOST_COLUMNS:
            words = f"each number of {op.name} depends on several of {source.name}, and only its own was counted"
            yield Guess(Mistake("only the diagonal", words, 1.2), upstream * self._diagonal(edge))
        for key, words, array in crossed(edge, upstream):
            yield Guess(Mistake(key, words, 1.15), array)
        yield from self._slips(edge, upstream)

    def _diagonal(self, edge: Edge) -> Array:
        """How much each number of the result depends on the number in its own place."""
        diagonal = np.zeros(edge.target.shape)
        for index in np.ndindex(edge.target.shape):
            one = np.zeros(edge.target.shape)
            one[index] = 1
            diagonal[index] = self.pulled(edge, one)[index]
        return diagonal

    # ---- the formula of the rule, with one thing wrong

    def _slips(self, edge: Edge, upstream: Array) -> Iterator[Guess]:
        """What the rule gives when its formula is written down with one thing wrong."""
        if edge.formula is None or edge.target.derivative is None:
            return
        above = edge.target.derivative.name
        written = edge.formula.readable
        if not all(np.size(array) for array in written.arrays.values()):
            return
        named = above in written.arrays and above in names_in(written.whole)
        if not named and not np.array_equal(upstream, self.truth[edge.target]):
            return  # the formula has numbers where the student's own gradient would have to stand
        arrays = {**written.arrays, above: upstream} if named else written.arrays
        formula = Formula(written.whole, arrays, written.functions)
        before = names_in(formula.whole)
        for slip in slips(formula, above if named else None):
            lost = before - names_in(slip.tree)
            of_target = (
                slip.key == "missing term" and bool(lost & self._data) and lost <= self._data | {*written.functions}
            )
            mistake = Mistake("target" if of_target else slip.key, slip.words, 1.2 if of_target else slip.cost)
            yield from _evaluated(formula, slip.tree, mistake)
        yield from self._wrong_names(edge, formula, above)

    def _wrong_names(self, edge: Edge, formula: Formula, above: str) -> Iterator[Guess]:
        """What the rule gives with another array in the place of one of its own."""
        own = {edge.source.name, edge.target.name}
        mine = [name for name in sorted(names_in(formula.whole)) if name in formula.arrays]
        gradients = {} if above.startswith("_") else {above: formula.arrays.get(above, self.truth[edge.target])}
        for old in mine:
            among = self._gradients if old == above else self._values
            if old != above:
                among = {**among, **gradients}
            shape = formula.arrays[old].shape
            others = [name for name, array in among.items() if name != old and array.shape == shape]
            here = self._place.get(old, 0)
            near = sorted(others, key=lambda name: abs(self._place.get(name, 0) - here))
            for distance, new in enumerate(near[:MOST_NAMES]):
                if old == above:
                    words = f"{new} was taken where {old} comes from above"
                    mistake = Mistake("wrong upstream", words, 2 + 0.01 * distance)
                elif {old, new} <= own:
                    words = f"the derivative is taken at the wrong value: at {new} instead of {old}"
                    mistake = Mistake("wrong value", words)
                else:
                    words = f"{new} was taken where {old} must stand"
                    mistake = Mistake("wrong operand", words, 2 + 0.01 * distance)
                changed = Formula(formula.whole, {**formula.arrays, old: among[new]}, formula.functions)
                yield from _evaluated(changed, formula.whole, mistake)
            array = formula.arrays[old]
            if array.ndim == 2 and array.shape[0] == array.shape[1] > 1:
                turned = Formula(formula.whole, {**formula.arrays, old: array.T}, formula.functions)
                mistake = Mistake("transpose", f"{old} was transposed where it must not be, or not where it must", 1.2)
                yield from _evaluated(turned, formula.whole, mistake)

    # ---- mistakes further up

    def _further_up(self, node: Node, answer: Answer, upstream: Upstream) -> Iterator[Mistake]:
        """One mistake in a step between here and the loss, gone on with rightly from there."""
        if answer.array.shape != node.shape or not (_tells_enough(answer) or answer.epsilon + self.epsilon < 1e-12):
            return
        steps = 0
        for above in _above(node)[:MOST_ABOVE]:
            between = self._between(node, above)
            for guess in self.guesses(above, upstream):
                fits = guess.mistake.likely and guess.array.shape == above.shape
                if not fits or not np.isfinite(guess.array).all():
                    continue
                if steps > MOST_STEPS:
                    return
                steps += len(between)
                moved = self._carried(above, guess.array - upstream.gradients[above], node, between)
                if moved is not None and self.matches(node, answer, upstream.expected[node] + moved):
                    words = f"right from {self.names[above]} on, but there: {guess.mistake.words}"
                    yield replace(guess.mistake, words=words, cost=guess.mistake.cost + 0.1 * len(between))

    def _between(self, node: Node, above: Node) -> list[Node]:
        """The nodes through which the gradient of the upper reaches the lower, youngest first, both included."""
        reaching = {node}
        for x in reversed(self.nodes[: self.nodes.index(node)]):
            if any(edge.source in reaching for edge in x.inputs if edge.share is not None):
                reaching.add(x)
        start = self.nodes.index(above)
        return [x for x in self.nodes[start : self.nodes.index(node) + 1] if x in reaching]

    def _carried(self, above: Node, change: Array, node: Node, between: list[Node]) -> Array | None:
        """By how much the gradient of a node changes when one further up does."""
        arriving = {above: change}
        inside = set(between)
        for x in between:
            if x is node:
                break
            g = arriving.pop(x, None)
            if g is not None and g.any():
                for edge in x.inputs:
                    if edge.source in inside and edge.share is not None:
                        share = self.pulled(edge, g)
                        arriving[edge.source] = arriving[edge.source] + share if edge.source in arriving else share
        return arriving.get(node)


def _above(node: Node) -> list[Node]:
    """The nodes between here and the loss, the nearest first."""
    found: dict[Node, None] = {}
    front = [node]
    while front:
        targets = dict.fromkeys(edge.target for x in front for edge in x.backward_uses)
        front = [target for target in targets if target not in found]
        found |= dict.fromkeys(front)
    return list(found)


def _named(target: Node, wrong: dict[Node, Array], follows: dict[Node, frozenset[Node]]) -> frozenset[Node]:
    """The wrong answers that what comes from this node has come from."""
    return frozenset([target]) if target in wrong else follows[target]


def _without_some(node: Node, shares: dict[Edge, Array]) -> Iterator[Guess]:
    """The gradient without some of its shares: a use of the node was forgotten."""
    edges = list(shares)
    few = len(edges) <= MOST_SUBSETS
    sizes: Sequence[int] = range(1, len(edges)) if few else (1,)
    for size in sizes:
        for lost in combinations(edges, size):
            kept = [share for edge, share in shares.items() if edge not in lost]
            uses = " and through ".join(shown(edge.target) for edge in lost)
            count = "a contribution is" if size == 1 else f"{size} contributions are"
            words = f"{node.name} is used {len(edges)} times, and {count} missing: the share through {uses}"
            yield Guess(Mistake("missing share", words, 1 + 0.1 * (size - 1)), sum(kept, np.zeros(node.shape)))


def _evaluated(formula: Formula, tree: ast.expr, mistake: Mistake) -> Iterator[Guess]:
    """What a wrong formula gives, if it can be computed at all."""
    try:
        array = _double(formula.evaluate(tree))
    except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError):
        return
    yield Guess(mistake, array)


def _overwritten(edge: Edge, upstream: Array) -> Array:
    """The gradient of what was indexed, if each share is put in its place instead of added there."""
    tensor, size = edge.target.tensor, edge.source.value.size
    assert tensor is not None
    assert tensor.op is not None
    places = tensor.op.body(np.arange(size).reshape(edge.source.shape), *tensor.arrays[1:], **tensor.params)
    gradient = np.zeros(size)
    gradient[np.ravel(places)] = np.ravel(upstream)
    return gradient.reshape(edge.source.shape)


def _tells_enough(answer: Answer) -> bool:
    """Whether there are several different numbers: one alone is easily hit by chance."""
    return bool(answer.array.size > 1 and np.ptp(answer.array) > 1e-3 * _largest(answer.array))


def _both(one: Mistake, other: Mistake) -> Mistake:
    return Mistake(f"{one.key} and {other.key}", f"{one.words}; and besides, {other.words}", one.cost + other.cost)


def _ratio(array: Array, right: Array) -> float:
    """By which factor the right gradient comes nearest to an array."""
    size = _largest(right)
    scaled = right / size
    return float(np.sum(array * scaled) / np.sum(scaled * scaled)) / size


def _fraction(factor: float) -> str:
    """A factor as one reads it: 7/8 of, or 1.5 times."""
    fraction = Fraction(factor).limit_denominator(100)
    if np.isclose(factor, float(fraction), 1e-6) and not np.isclose(factor, round(factor, 2), 1e-6):
        return f"{fraction.numerator}/{fraction.denominator} of"
    return f"{factor:.6g} times"


def _transposed(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if given == wanted:
        return "the right numbers, transposed: write .T, or exchange the two sides of the product"
    return f"the right numbers, but transposed: shape {given} instead of {wanted}; write .T, or exchange the sides"


def divided_by(edge: Edge) -> float | None:
    """The number by which what comes back along an edge is divided: the count of a mean; None if there is none."""
    op = edge.target.op
    if edge.share is None or op is None:
        return None
    if op.name == "reduce_mean":
        return edge.source.value.size / max(edge.target.value.size, 1)
    if edge.target.tensor is not None and edge.target.tensor.params.get("reduction") == "mean":
        return _count_of_mean(edge)
    if edge.formula is None:
        return None
    for node in ast.walk(edge.formula.readable.whole):
        if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant):
            number = float(node.right.value)  # type: ignore[arg-type]
            if isinstance(node.op, ast.Div):
                return number
            if isinstance(node.op, ast.Mult) and op.name == "mul" and 0 < number < 1:
                return 1 / number
    return None


def _count_of_mean(edge: Edge) -> float | None:
    """How many losses a loss is the mean of: its own rule is asked what the sum would have given."""
    tensor = edge.target.tensor
    assert tensor is not None
    assert tensor.op is not None
    rule, upstream = tensor.op.rule(edge.position), np.ones_like(tensor.data)

    def largest(reduction: str) -> float:
        share = rule(upstream, tensor.data, *tensor.arrays, **{**tensor.params, "reduction": reduction})
        return _largest(_double(share))

    with np.errstate(all="ignore"):
        count = np.divide(largest("sum"), largest("mean"))
    return float(round(count)) if np.isfinite(count) and np.isclose(count, round(count), 1e-3) else None


def is_mean(edge: Edge, count: float) -> bool:
    """Whether a division is that of a mean: the operation is one, or what it divides is a sum of so many numbers."""
    target, op = edge.target, edge.source.op
    assert target.op is not None
    assert target.tensor is not None
    if target.op.name in ("reduce_mean", "variance") or target.tensor.params.get("reduction") == "mean":
        return True
    if op is None or op.name != "reduce_sum":
        return False
    numbers = edge.source.inputs[0].source.value.size / max(edge.source.value.size, 1)
    return target.op.name == "div" or bool(np.isclose(count, numbers))


def shown(node: Node) -> str:
    """An operation as it is printed, and where it stands in the user's code."""
    text = f"{node.name} = {node.formula.readable.text}" if node.formula is not None else node.name
    if (len(text) > 64 or "HERE" in text) and node.tensor is not None and node.op is not None:
        text = f"{node.name} = {node.op.name}({', '.join(edge.source.name for edge in node.inputs)})"
    layer = type(node.modules[-1][0]).__name__ if node.modules else None
    places = [x for x in (layer, node.place.short if node.place is not None else None) if x]
    return f"{text} ({', '.join(places)})" if places else text
