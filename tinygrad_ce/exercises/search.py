"""The search for a mistake: the right program with one thing changed, or two, is run until it gives the same numbers.

The simplest explanation is looked for first: a change in the value's own line, then in the lines above, the nearest
first; then another array where one must stand; then two changes at once.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises.answers import Answer, fraction, ratio, tells_enough, transposed
from tinygrad_ce.exercises.backward_program import Program
from tinygrad_ce.exercises.factors import Factor, factors
from tinygrad_ce.exercises.mutations import SWAPS, Mutation, mutations, rank, rewritten
from tinygrad_ce.exercises.paper_forms import paper_forms
from tinygrad_ce.graph.expressions import compiled

LONGEST = 100  # characters of a line in which any two changes are tried
SWAPPED_ABOVE = 8  # lines above in which another array is tried


@dataclass(frozen=True, eq=False)
class Guess:
    """What a value is if a certain mistake has been made: its stable key, the words for it, and the numbers."""

    key: str
    words: str
    array: Array


@dataclass(eq=False)
class Run:
    """The numbers that a student has gone on with: the right ones, but for those that were handed in wrong.

    expected: what the lines give from there. follows: the wrong answers that each comes from. kept: what was found out
    for a line, whatever the answer to it is.
    """

    values: dict[str, Any]
    expected: dict[str, Array]
    follows: dict[str, tuple[str, ...]]
    kept: dict[tuple[Any, ...], list[Any]] = field(default_factory=dict)

    def once(self, find: Callable[..., Iterable[Any]], *about: Any) -> list[Any]:
        """What is found about something, searched for the first time only."""
        key = (find.__name__, *about)
        if key not in self.kept:
            self.kept[key] = [*find(*about, self)]
        return self.kept[key]


@dataclass(eq=False)
class Search:
    """What one wrong answer may have become wrong by.

    runs: with the right numbers, and with those that the student has gone on with. matches: whether an answer is a
    guess. is_zero: the right numbers are 0, so that a factor tells nothing.
    """

    program: Program
    name: str
    answer: Answer
    runs: list[Run]
    matches: Callable[[Answer, Array], bool]
    is_zero: bool

    def explanations(self) -> list[Guess]:
        """The simplest explanations, the likeliest first; [] if nobody knows."""
        for runs, way in self._ways():
            fitting = ((run, [guess for guess in way(run) if self.matches(self.answer, guess.array)]) for run in runs)
            every = [(run, found) for run, found in fitting if found]
            if every:  # of two mistakes at once, one may be that with which the student has gone on
                run, found = min(every, key=lambda pair: " and " in pair[1][0].key)
                given = f"given your own {' and '.join(run.follows[self.name])}, " if run is not self.runs[0] else ""
                return [Guess(guess.key, given + guess.words, guess.array) for guess in found]
        return []

    def _ways(self) -> Iterator[tuple[list[Run], Callable[[Run], Iterable[Guess]]]]:
        """What the value is after mistakes of each kind, the likelier kind first, and the runs to look for them in."""
        above, only_right = [*self.program.between(self.name)][1:], self.runs[:1]
        telling = tells_enough(self.answer.array)
        of_right_shape = self.answer.array.shape == self.runs[0].expected[self.name].shape
        yield self.runs, self._one_change
        if of_right_shape and (telling or self.answer.epsilon < 1e-12):
            yield from ((self.runs, partial(self._above, x, False)) for x in above)
        yield self.runs, partial(self._guesses, self.name, swap=True)
        if telling:
            yield from ((self.runs, partial(self._above, x, True)) for x in above[:SWAPPED_ABOVE])
            yield only_right, lambda run: self._first(run.once(self._forward, self.name))
        if telling and of_right_shape and not self.is_zero:
            yield self.runs, self._too_much
            yield only_right, lambda run: (guess for guess in self._any_factor(run) if ";" in guess.words)
        if telling and not self.is_zero:
            yield self.runs, self._two_changes
        yield only_right, self._another
        if telling and of_right_shape and not self.is_zero:
            yield only_right, self._any_factor
        if telling:
            yield only_right, lambda run: self._first(self._above_and_a_factor(above, run))
            yield only_right, lambda run: self._first(run.once(self._pairs, self.name))

    def _first(self, guesses: Iterable[Guess]) -> list[Guess]:
        """The first that fits, where others are the same in another order, or fit by chance."""
        return next(([guess] for guess in guesses if self.matches(self.answer, guess.array)), [])

    @property
    def _factors(self) -> list[Factor]:
        return [] if self.is_zero else self.runs[0].once(self._usual_factors, self.name)

    def _usual_factors(self, name: str, _: Run) -> Iterator[Factor]:
        return factors(name, self.program)

    # ---- one change

    def _one_change(self, run: Run) -> list[Guess]:
        """A change in the line itself, or of all numbers alike."""
        right = run.expected[self.name]
        alike = [Guess(factor.key, factor.words, factor.factor * right) for factor in self._factors]
        alike += [self._turned(run)] if right.ndim >= 2 else []
        return sorted([*alike, *self._guesses(self.name, run)], key=lambda guess: rank(guess.key))

    def _turned(self, run: Run) -> Guess:
        right = run.expected[self.name]
        return Guess("transpose", transposed(self.answer.array.shape, right.shape), right.T)

    def _guesses(self, name: str, run: Run, swap: bool = False) -> list[Guess]:
        """What the line of a value gives after each of the usual mistakes in it. swap: with another array in it."""
        return [guess for guess in run.once(self._changed, name) if (guess.key in SWAPS) is swap]

    def _changed(self, name: str, run: Run) -> Iterator[Guess]:
        line = self.program.lines[name]
        line.forms = [*paper_forms(line, self.program)]
        found = ((m, self.program.tried(m.tree, run.values)) for m in mutations(line, self.program))
        return (Guess(m.key, m.words, array) for m, array in found if array is not None)

    def _above(self, above: str, swap: bool, run: Run) -> list[Guess]:
        """A change in a line above, gone on with rightly from there."""
        return run.once(self._carried, self.name, above, swap)

    def _carried(self, name: str, above: str, swap: bool, run: Run) -> Iterator[Guess]:
        for guess in self._guesses(above, run, swap):
            if guess.array.shape == np.shape(run.values[above]):
                array = self.program.carried(name, above, guess.array, run.values)
                if array is not None:
                    yield Guess(guess.key, f"right from {above} on, but there: {guess.words}", array)

    def _forward(self, name: str, run: Run) -> Iterator[Guess]:
        """A change in a line of the forward pass, and all that follows computed rightly from there."""
        forward = [line for line in self.program.forward if line.name not in self.program.lines]
        above = [line for line in self.program.lines.values() if line.name in self.program.between(name)]
        for k, line in enumerate(forward):
            for mutation in rewritten(line.terms[0].tree):
                array = self.program.tried(mutation.tree, run.values)
                if array is not None and array.shape == np.shape(run.values[line.name]):
                    array = self.program.rerun([*forward[k + 1 :], *above], {**run.values, line.name: array})
                    if array is not None:
                        yield Guess(mutation.key, f"in the forward pass, {mutation.words}, in {line.about}", array)

    def _too_much(self, run: Run) -> Iterator[Guess]:
        """A term that does not belong here: an array of the program, as it is or times a number of the arguments."""
        values, rest = self.program.values, self.answer.array - run.expected[self.name]
        computed = self.program.lines.keys() | {line.name for line in self.program.forward}
        numbers = {f"{x} * ": values[x] for x in values.keys() - computed if np.ndim(values[x]) == 0}
        for name, array in values.items():
            if np.shape(array) == rest.shape and np.asarray(array).dtype.kind == "f" and tells_enough(array):
                for times, number in {"": 1.0, **numbers}.items():
                    if np.allclose(rest, number * array, 1e-5, 1e-6 * np.abs(rest).max()):
                        words = f"the right numbers plus {times}{name}, a term that does not belong here"
                        yield Guess("extra term", words, self.answer.array)

    # ---- two changes

    def _two_changes(self, run: Run) -> Iterator[Guess]:
        """A change in the line, and besides it a factor or a transposition."""
        guesses, right = self._guesses(self.name, run), run.expected[self.name]
        single = [factor for factor in self._factors if " and " not in factor.key]
        yield from (both(guess, factor, factor.factor * guess.array) for guess in guesses for factor in single)
        if right.ndim >= 2 and self.answer.array.T.shape == right.shape:
            turned = self._turned(run)
            yield from (both(turned, factor, factor.factor * right.T) for factor in self._factors)
            yield from (both(turned, guess, guess.array.T) for guess in guesses)

    def _above_and_a_factor(self, above: list[str], run: Run) -> Iterator[Guess]:
        for guess in (guess for x in above for guess in self._above(x, False, run)):
            yield from (both(guess, factor, factor.factor * guess.array) for factor in self._factors)

    def _pairs(self, name: str, run: Run) -> Iterator[Guess]:
        """Any two changes in the line of a value."""
        for first in mutations(self.program.lines[name], self.program):
            long = len(ast.unparse(first.tree)) > LONGEST
            for second in rewritten(first.tree) if first.key not in SWAPS and not long else ():
                array = self.program.tried(second.tree, run.values)
                if array is not None:
                    yield both(first, second, array)

    # ---- no change that has a name

    def _another(self, run: Run) -> Iterator[Guess]:
        """It is another array of the program."""
        for name, array in reversed(run.values.items()):
            if name != self.name and np.size(array) > 1 and np.asarray(array).dtype.kind == "f":
                yield Guess("mixed up", f"this is {name}", array)

    def _any_factor(self, run: Run) -> Iterator[Guess]:
        """Every number, or every number of one term, is the same multiple of the right one."""
        right, array = run.expected[self.name], self.answer.array
        factor = ratio(array, right)
        if not np.isclose(factor, 1, 1e-5):
            words = f"every number is {fraction(factor)} the right one"
            lines = (self.program.lines[above] for above in self.program.between(self.name))
            if factor > 0 and any(term.sums_to_one for line in lines for term in line.terms):
                by = "is divided by the sum of the weights of the labels, not by their number"
                yield Guess("weights", f"{words}: a mean with weights of the classes {by}", factor * right)
            yield Guess("factor", words + self._counted(factor), factor * right)
        terms = self.program.lines[self.name].terms
        for term in terms if len(terms) > 1 else ():
            share = self.program.run(compiled(term.tree), run.values)
            factor = ratio(array - (right - share), share) if share.any() else 1.0
            if not np.isclose(factor, 1, 1e-5):
                words = f"the share through {term.of} is {fraction(factor)} what it must be"
                yield Guess("factor", words + self._counted(factor), right + (factor - 1) * share)

    def _counted(self, factor: float) -> str:
        """What a factor may have come from: the length of an axis."""
        for n in sorted({n for array in self.program.values.values() for n in np.shape(array) if n > 2}):
            if np.isclose(abs(factor), [n, 1 / n], 1e-5).any():
                return f"; {n} is the length of an axis: a mean for a sum, or a sum for a mean?"
            if np.isclose(abs(factor), [(n - 1) / n, n / (n - 1)], 1e-5).any():
                return f"; is {n - 1} divided by where it must be {n}, or the other way round?"
        return ""


def both(one: Guess | Mutation, other: Guess | Mutation | Factor, array: Array) -> Guess:
    """Two mistakes at once."""
    return Guess(f"{one.key} and {other.key}", f"{one.words}; and besides, {other.words}", array)
