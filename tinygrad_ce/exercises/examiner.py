"""Which mistake is in a wrong value: the right program with one thing changed, or two, is run until it gives the same.

The simplest explanation is looked for first: a change in the value's own line, then in the lines above, the nearest
first; then another array where one must stand; then two changes at once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises.answers import Answer, Verdict, fraction, not_finite, ratio, reshaped, tells_enough, transposed, unexplained
from tinygrad_ce.exercises.backward_program import Line, Program, compiled
from tinygrad_ce.exercises.mutations import FUNCTIONS, ORDER, SWAPS, Mutation, mutations, rewritten
from tinygrad_ce.exercises.paper_forms import paper_forms
from tinygrad_ce.exercises.rounding import epsilon, rounding

Division: TypeAlias = "tuple[float, bool, str, tuple[int, ...]]"  # by what, whether of a mean, in words, of what shape
UNCOMPUTABLE = (ValueError, TypeError, IndexError, AttributeError, ArithmeticError, SyntaxError)
LIKENESS = ({"averaged", "mean twice"}, {"mean", "missing factor"}, {"no derivative", "missing factor"})
LIKENESS += ({"sign", "missing factor"}, {"mean", "no upstream"}, {"factor", "missing factor"})


@dataclass(frozen=True, eq=False)
class Guess:
    """What a value is if a certain mistake has been made; array: None for one that acts on the finished array."""

    key: str
    words: str
    array: Array
    swap: bool = False


@dataclass(eq=False)
class Run:
    """The numbers that a student has gone on with: the right ones, but for those that were handed in wrong.

    expected: what the lines give from there. follows: the wrong answers that each comes from. guesses: by line, found
    once.
    """

    values: dict[str, Any]
    expected: dict[str, Array]
    follows: dict[str, frozenset[str]]
    guesses: dict[str, list[Guess]] = field(default_factory=dict)


def largest(array: Array) -> float:
    """The largest number, without its sign."""
    return float(np.abs(array).max()) if array.size else 0.0


class Examiner:
    """Knows what is right, how much of it is rounding, and what the usual mistakes give.

    >>> from tinygrad_ce.exercises.backward_program import of_source
    >>> def step(w, g):
    ...     w = w - 0.1 * g
    ...     return {"w": w}
    >>> Examiner(of_source(step, {"w": np.ones(2), "g": np.array([1.0, 2.0])})).judge({"w": [0.0, -1.0]})["w"].mistake
    'missing factor'
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        with np.errstate(all="ignore"):
            self.noise = rounding(program)
            self.truth = {name: np.asarray(array, np.float64) for name, array in program.right.items()}
            self.epsilon = max((epsilon(array) for array in program.right.values()), default=0.0)
            for name, array in program.values.items():
                if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                    program.values[name] = array.astype(np.float64)
            program.functions |= FUNCTIONS
            for line in program.lines:
                line.forms = [*paper_forms(line, program)]
        self.lines = {line.name: line for line in program.lines}
        self._whole_factors: dict[str, list[Whole]] = {}
        self._right_run = Run(program.values, self.truth, dict.fromkeys(self.lines, frozenset()))

    def judge(self, answers: Mapping[str, Any], asked: Iterable[str] | None = None) -> dict[str, Verdict]:
        """The verdict on each answer. asked: those that are to be judged; the others are only gone on with.

        Raises KeyError for a name that nothing is known of, TypeError for what is no array of real numbers.
        """
        read = {name: x if isinstance(x, Answer) else Answer.read(name, x) for name, x in answers.items()}
        right = {name for name, answer in read.items() if self.right(name, answer)}
        wrong = {x: a.array for x, a in read.items() if x not in right and self._usable(x, a)}
        run = self._given(wrong)
        with np.errstate(all="ignore"):
            names = read if asked is None else asked
            return {name: self._verdict(name, read[name], name in right, run) for name in names}

    # ---- right or not

    def right(self, name: str, answer: Answer) -> bool:
        """Whether this is what is right, but for rounding: of each number, and of the sums that it has come from."""
        truth, array = self.truth[name], answer.array
        if array.shape != truth.shape:
            return False
        with np.errstate(all="ignore"):
            same = np.where(np.isfinite(truth), np.abs(array - truth) <= self.allowed(name, answer), False)
        return bool((same | (~np.isfinite(truth) & ((array == truth) | (np.isnan(array) & np.isnan(truth))))).all())

    def allowed(self, name: str, answer: Answer) -> Array:
        """By how much each number may differ: half of its digits, and what the sums that it comes from are off by."""
        epsilon = max(self.epsilon, answer.epsilon)
        noise = self.noise[name] * (epsilon / self.epsilon if self.epsilon else 1.0)
        truth = np.where(np.isfinite(self.truth[name]), np.abs(self.truth[name]), 0)
        tiny = 4 * float(np.finfo(np.float64 if epsilon < 1e-12 else np.float32).smallest_subnormal)
        return np.asarray(np.sqrt(epsilon) * truth + 20 * noise + largest(noise) + tiny)

    def is_zero(self, name: str) -> bool:
        """Whether all numbers are 0 where it is right, or would be but for rounding."""
        return largest(self.truth[name]) <= 30 * largest(self.noise[name])

    def matches(self, name: str, answer: Answer, guess: Array) -> bool:
        """Whether an answer is this guess, and much nearer to it than to what is right."""
        array, truth = answer.array, self.truth[name]
        size = largest(guess)
        if array.shape != guess.shape or not np.isfinite(size) or (size == 0 and array.shape == truth.shape):
            return False
        epsilon = max(self.epsilon, answer.epsilon)
        noise = 0.0
        if truth.shape != guess.shape:
            noise = 30 * epsilon * largest(truth)
        elif not self.is_zero(name):
            noise = largest(self.noise[name]) * (epsilon / self.epsilon) * max(1.0, size / largest(truth))
        off = largest(array - guess)
        if off > np.sqrt(epsilon) * size + 30 * noise:
            return False
        return array.shape != truth.shape or off < 0.05 * largest(array - truth)

    def _usable(self, name: str, answer: Answer) -> bool:
        return answer.array.shape == self.truth[name].shape and bool(np.isfinite(answer.array).all())

    # ---- the program, run with other numbers

    def _given(self, wrong: dict[str, Array]) -> Run:
        """The numbers of a student who goes on with these answers, wrong as they are."""
        if not wrong:
            return self._right_run
        values, follows = dict(self.program.values), dict.fromkeys(self.lines, frozenset[str]())
        expected = {name: np.asarray(values[name]) for name in self.lines}
        for name, line in self.lines.items():
            read = line.reads & self.lines.keys()
            follows[name] = frozenset().union(*({x} if x in wrong else follows[x] for x in read))
            if follows[name]:
                values[name] = expected[name] = self._computed(line, values)
            values[name] = wrong.get(name, values[name])
        return Run(values, expected, follows)

    def _computed(self, line: Line, values: Mapping[str, Any]) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.program.run(line.code, values), np.float64)

    def _above(self, name: str) -> dict[str, list[Line]]:
        """The lines that lead to this one, the nearest first; each with the lines between, this one included."""
        found: dict[str, set[str]] = {name: set()}
        front = [name]
        while front:
            reads = dict.fromkeys(x for below in front for x in self.lines[below].reads if x in self.lines)
            front = [x for x in self.lines if x in reads and x not in found]
            found |= {x: set() for x in front}
        order = [x for x in self.lines if x in found]
        for k, x in enumerate(order):
            for later in order[k + 1 :]:
                if self.lines[later].reads & (found[x] | {x}):
                    found[x].add(later)
        return {x: [self.lines[y] for y in order if y in found[x]] for x in found}

    def _carried(self, name: str, above: str, array: Array, between: list[Line], run: Run) -> Array | None:
        """What a value becomes when one above it is this array."""
        values = {**run.values, above: array}
        try:
            for line in between:
                values[line.name] = self.program.run(line.code, values)
        except UNCOMPUTABLE:
            return None
        return np.asarray(values[name], np.float64)

    def _guesses(self, name: str, run: Run) -> list[Guess]:
        """What the line of a value gives after each of the usual mistakes in it."""
        if name not in run.guesses:
            found = ((m, self._tried(m.tree, run)) for m in mutations(self.lines[name], self.program))
            run.guesses[name] = [Guess(m.key, m.words, x, m.key in SWAPS) for m, x in found if x is not None]
        return run.guesses[name]

    def _tried(self, tree: ast.expr, run: Run) -> Array | None:
        """The value of an expression; None if it cannot be computed."""
        try:
            return np.asarray(self.program.run(compiled(tree), run.values), np.float64)
        except UNCOMPUTABLE:
            return None

    # ---- explanations

    def _verdict(self, name: str, answer: Answer, right: bool, run: Run) -> Verdict:
        array, truth = answer.array, self.truth[name]
        if right:
            return Verdict(name, True, None, "right")
        if array.size and not array.any() and array.shape == truth.shape:
            return Verdict(name, False, "zeros", "all numbers are 0: has it been computed yet?")
        if not np.isfinite(array).all() or not np.isfinite(truth).all():
            return Verdict(name, False, "not finite", not_finite(array))
        follows = run.follows[name]
        if follows and self.matches(name, answer, run.expected[name]):
            words = f"right, given your own {self._followed(name, run)}: the mistake came from there"
            return Verdict(name, False, "upstream", words, tuple(x for x in self.lines if x in follows))
        mistakes = self._explained(name, answer, run)
        if mistakes:
            return Verdict(name, False, mistakes[0].key, _with_others(mistakes))
        if array.shape != truth.shape:
            return Verdict(name, False, *self._other_shape(name, answer, run))
        return Verdict(name, False, *unexplained(array, truth, self.allowed(name, answer), self.is_zero(name)))

    def _other_shape(self, name: str, answer: Answer, run: Run) -> tuple[str, str]:
        """The mistake and the words for an answer of another shape."""
        array, shape = answer.array, self.truth[name].shape
        about = self.lines[name].about
        start = f"shape {array.shape} instead of {shape}" + (f", which is that of {about}" if about != name else "")
        mends = [*reshaped(array, shape)]
        for key, other, mend in mends:
            changed = Answer(other, answer.epsilon)
            if self.right(name, changed):
                return key, f"{start}; the numbers are right: {mend}"
            mistakes = self._explained(name, changed, run)
            if mistakes:
                return f"{key} and {mistakes[0].key}", f"{start}: {mend}; and besides, {mistakes[0].words}"
        turned = "; a transposition (.T) would give the shape, but not the numbers" if array.T.shape == shape else ""
        return "shape", start + (f"; to {mends[0][2]} would give the shape, but not the numbers" if mends else turned)

    def _followed(self, name: str, run: Run) -> str:
        return " and ".join(x for x in self.lines if x in run.follows[name])

    def _explained(self, name: str, answer: Answer, run: Run) -> list[Guess]:
        """What this answer may have become wrong by, the likeliest first; [] if nobody knows."""
        runs = [self._right_run, *([run] if run.follows[name] else [])]
        for way in (self._one_change, self._further_up, self._swap, self._two_changes):
            for numbers in runs:
                found = [*way(name, answer, numbers)]
                if found:
                    given = "" if numbers is self._right_run else f"given your own {self._followed(name, run)}, "
                    return [Guess(guess.key, given + guess.words, guess.array) for guess in found]
        return [*self._another(name, answer)] or [*self._any_factor(name, answer)] or [*self._pairs(name, answer)]

    def _one_change(self, name: str, answer: Answer, run: Run) -> list[Guess]:
        """A change in the line itself, or of all numbers alike."""
        right, wholes = run.expected[name], []
        if answer.array.shape == right.shape and not self.is_zero(name):
            wholes = [Guess(whole.key, whole.words, whole.factor * right) for whole in self._wholes(name)]
        if right.ndim >= 2:
            wholes.append(Guess("transpose", transposed(answer.array.shape, right.shape), right.T))
        guesses = [*wholes, *(guess for guess in self._guesses(name, run) if not guess.swap)]
        return sorted((g for g in guesses if self.matches(name, answer, g.array)), key=lambda guess: rank(guess.key))

    def _swap(self, name: str, answer: Answer, run: Run) -> list[Guess]:
        """Another array where one must stand."""
        return [guess for guess in self._guesses(name, run) if guess.swap and self.matches(name, answer, guess.array)]

    def _further_up(self, name: str, answer: Answer, run: Run) -> list[Guess]:
        """A change in a line above, gone on with rightly from there."""
        if not self._usable(name, answer) or not (tells_enough(answer.array) or answer.epsilon + self.epsilon < 1e-12):
            return []
        for above, between in self._above(name).items():
            found = []
            for guess in self._guesses(above, run) if above != name else ():
                if not guess.swap and guess.array.shape == np.shape(run.values[above]):
                    array = self._carried(name, above, guess.array, between, run)
                    if array is not None and self.matches(name, answer, array):
                        found.append(Guess(guess.key, f"right from {above} on, but there: {guess.words}", array))
            if found:
                return found
        return []

    def _two_changes(self, name: str, answer: Answer, run: Run) -> list[Guess]:
        """A change in the line, and besides it a factor or a transposition."""
        if not tells_enough(answer.array) or self.is_zero(name):
            return []
        guesses = [guess for guess in self._guesses(name, run) if not guess.swap]
        pairs = [(guess, whole) for guess in guesses for whole in self._wholes(name)]
        found = [both(g, w) for g, w in pairs if self.matches(name, answer, w.factor * g.array)]
        right = run.expected[name]
        if answer.array.ndim >= 2 and answer.array.T.shape == right.shape:
            turned = Guess("transpose", transposed(answer.array.shape, right.shape), right.T)
            mirrored = Answer(answer.array.T, answer.epsilon)
            found += [both(turned, w) for w in self._wholes(name) if self.matches(name, mirrored, w.factor * right)]
            found += [both(turned, guess) for guess in guesses if self.matches(name, mirrored, guess.array)]
        return found

    def _pairs(self, name: str, answer: Answer) -> Iterator[Guess]:
        """Two changes in the line."""
        if not tells_enough(answer.array):
            return
        for first in mutations(self.lines[name], self.program):
            for second in rewritten(first.tree) if first.key not in SWAPS else ():
                array = self._tried(second.tree, self._right_run)
                if array is not None and self.matches(name, answer, array):
                    yield both(first, second)
                    return

    def _another(self, name: str, answer: Answer) -> Iterator[Guess]:
        """It is another array of the program."""
        for other, array in reversed(self.program.values.items()):
            if other != name and np.size(array) > 1 and np.asarray(array).dtype.kind == "f":
                if self.matches(name, answer, array):
                    yield Guess("mixed up", f"this is {other}", array)

    def _any_factor(self, name: str, answer: Answer) -> Iterator[Guess]:
        """Every number, or every number of one term, is the same multiple of the right one."""
        right, array = self.truth[name], answer.array
        if array.shape != right.shape or not tells_enough(array) or self.is_zero(name):
            return
        factor = ratio(array, right)
        if abs(factor - 1) > 1e-2 and self.matches(name, answer, factor * right):
            if factor > 0 and any(term.weighted_mean for x in self._above(name) for term in self.lines[x].terms):
                words = "a mean with weights of the classes is divided by the sum of the weights of the labels, not by"
                yield Guess("weights", f"every number is {fraction(factor)} the right one: {words} their number", right)
            yield Guess("factor", f"every number is {fraction(factor)} the right one{self._counted(factor)}", right)
        terms = self.lines[name].terms
        for term in terms if len(terms) > 1 else []:
            share = self._tried(term.tree, self._right_run)
            if share is None or not share.any():
                continue
            factor = ratio(array - (right - share), share)
            if self.matches(name, answer, right - share + factor * share):
                words = f"the share through {term.of} is {fraction(factor)} what it must be{self._counted(factor)}"
                yield Guess("factor", words, right)

    def _counted(self, factor: float) -> str:
        """What a factor may have come from: the length of an axis."""
        for n in sorted({n for array in self.program.values.values() for n in np.shape(array) if n > 2}):
            if np.isclose(abs(factor), [n, 1 / n], 1e-5).any():
                return f"; {n} is the length of an axis: a mean for a sum, or a sum for a mean?"
            if np.isclose(abs(factor), [(n - 1) / n, n / (n - 1)], 1e-5).any():
                return f"; is {n - 1} divided by where it must be {n}, or the other way round?"
        return ""

    # ---- factors

    def _wholes(self, name: str) -> list[Whole]:
        """The factors by which a whole value is usually wrong."""
        if name not in self._whole_factors:
            self._whole_factors[name] = [*factors(self._divisions(name), self.program.has_square)]
        return self._whole_factors[name]

    def _divisions(self, name: str) -> list[Division]:
        """By what a value is divided on every way that leads to it: each with whether that is the count of a mean."""
        found = []
        for above, between in self._above(name).items():
            for term in self.lines[above].terms:
                count, of_mean = term.divisor or (1.0, False)
                share = self._tried(term.tree, self._right_run) if count != 1 else None
                if share is not None:
                    undivided = self.program.values[above] + (count - 1) * share
                    carried = self._carried(name, above, undivided, between, self._right_run)
                    if carried is not None and self.matches(name, Answer(carried, self.epsilon), count * self.truth[name]):
                        found.append((count, of_mean, f"{term.of} divides by {count:.6g}", term.averaged))
        if len(found) > 1:
            counts, means, places, _ = zip(*found, strict=True)
            found.append((float(np.prod(counts)), all(means), " and ".join(places), ()))
        return found


@dataclass(frozen=True)
class Whole:
    """A factor by which all numbers are wrong."""

    factor: float
    key: str
    words: str


def factors(divisions: list[Division], has_square: bool) -> Iterator[Whole]:
    """The factors by which a value is usually wrong that is divided by these numbers."""
    sign = Whole(-1.0, "sign", "every number has the wrong sign: a minus is missing, or there is one too many")
    yield sign
    for count, of_mean, where, shape in divisions:
        times = f"{count:.6g}"
        words = f"off by the factor {times}: every number is {times} times the right one"
        forgotten = Whole(count, "factor", f"{words}, as if it were forgotten that {where}")
        if of_mean:
            forgotten = Whole(count, "mean", f"{words}. The mean was forgotten: {where}")
        words = f"off by the factor 1/{times}: every number is divided by {times} once too often"
        twice = Whole(1 / count, "mean twice" if of_mean else "factor", f"{words}. {where}, once")
        if of_mean and has_square:
            words = f"every number is {fraction(count / 2)} the right one: the mean was forgotten, where {where}"
            yield Whole(count / 2, "mean and factor", f"{words}, and the factor 2 in the slope of a square")
        yield from (forgotten, twice)
        for n in {*shape} - {1, count}:
            yield Whole(count / n, "mean", f"divided by {n} instead of by {count:.6g}: {where}")
        yield from (Whole(-w.factor, f"{w.key} and sign", f"{w.words}; and besides, {sign.words}") for w in (forgotten, twice))
    yield Whole(2.0, "factor", "every number is twice the right one")
    square = ": the slope of a square has a factor 2" if has_square else ""
    yield Whole(0.5, "factor", f"every number is half of the right one{square}")


def rank(key: str) -> int:
    """How likely a kind of mistake is: the smaller, the likelier."""
    return ORDER.index(key) if key in ORDER else len(ORDER)


def both(one: Guess | Mutation, other: Guess | Mutation | Whole) -> Guess:
    """Two mistakes at once."""
    return Guess(f"{one.key} and {other.key}", f"{one.words}; and besides, {other.words}", np.zeros(()))


def _with_others(mistakes: list[Guess]) -> str:
    """The likeliest explanation, and what else gives the same numbers."""
    first, *rest = mistakes
    others = {m.key: m for m in reversed(rest) if m.key != first.key and {m.key, first.key} not in LIKENESS}
    return first.words + "".join(f". Also fits: {other.words}" for other in [*others.values()][::-1][:2])
