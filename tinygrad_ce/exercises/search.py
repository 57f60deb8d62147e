"""The search for a mistake: the right program with one thing changed, or two, is run until it gives the same numbers.

The simplest explanation is looked for first: a change in the value's own line, then in the lines above, the nearest
first; then another array where one must stand; then two changes at once.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
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
        self._is_telling = tells_enough(self.answer.array)
        ways = (self._one_change, self._further_up, self._swap, self._in_the_forward_pass, self._too_much)
        for way in (*ways, self._counts, self._two_changes):
            every = [(run, found) for run in self.runs if (found := way(run))]
            if every:  # of two mistakes at once, one may be that with which the student has gone on
                run, found = min(every, key=lambda pair: " and " in pair[1][0].key)
                given = f"given your own {' and '.join(run.follows[self.name])}, " if run is not self.runs[0] else ""
                return [Guess(guess.key, given + guess.words, guess.array) for guess in found]
        return [*self._another()] or [*self._any_factor()] or [*self._pair()]

    def _fits(self, guess: Guess) -> bool:
        return self.matches(self.answer, guess.array)

    def _guesses(self, name: str, run: Run, swap: bool = False) -> list[Guess]:
        """What the line of a value gives after each of the usual mistakes in it. swap: with another array in it."""
        return [guess for guess in run.once(self._changed, name) if (guess.key in SWAPS) is swap]

    def _changed(self, name: str, run: Run) -> Iterator[Guess]:
        line = self.program.lines[name]
        line.forms = [*paper_forms(line, self.program)]
        found = ((m, self.program.tried(m.tree, run.values)) for m in mutations(line, self.program))
        return (Guess(m.key, m.words, array) for m, array in found if array is not None)

    def _factors(self) -> list[Factor]:
        return [] if self.is_zero else self.runs[0].once(self._usual_factors, self.name)

    def _usual_factors(self, name: str, _: Run) -> Iterator[Factor]:
        return factors(name, self.program)

    def _turned(self, run: Run) -> Guess:
        right = run.expected[self.name]
        return Guess("transpose", transposed(self.answer.array.shape, right.shape), right.T)

    # ---- one change

    def _one_change(self, run: Run) -> list[Guess]:
        """A change in the line itself, or of all numbers alike."""
        right = run.expected[self.name]
        alike = [Guess(factor.key, factor.words, factor.factor * right) for factor in self._factors()]
        alike += [self._turned(run)] if right.ndim >= 2 else []
        fitting = [guess for guess in [*alike, *self._guesses(self.name, run)] if self._fits(guess)]
        return sorted(fitting, key=lambda guess: rank(guess.key))

    def _further_up(self, run: Run) -> list[Guess]:
        """A change in a line above, gone on with rightly from there."""
        tells = self._is_telling or self.answer.epsilon < 1e-12
        if not tells or self.answer.array.shape != run.expected[self.name].shape:
            return []
        return self._above(run, swap=False)

    def _above(self, run: Run, swap: bool) -> list[Guess]:
        """What fits of the mistakes in the nearest line above in which one does."""
        for above in [*self.program.between(self.name)][1 : SWAPPED_ABOVE + 1 if swap else None]:
            found = [guess for guess in run.once(self._carried, self.name, above, swap) if self._fits(guess)]
            if found:
                return found
        return []

    def _carried(self, name: str, above: str, swap: bool, run: Run) -> Iterator[Guess]:
        """What a value is after each of the usual mistakes in a line above. swap: with another array in it."""
        for guess in self._guesses(above, run, swap):
            if guess.array.shape == np.shape(run.values[above]):
                array = self.program.carried(name, above, guess.array, run.values)
                if array is not None:
                    yield Guess(guess.key, f"right from {above} on, but there: {guess.words}", array)

    def _in_the_forward_pass(self, run: Run) -> list[Guess]:
        """A change in a line of the forward pass, and all that follows computed rightly from there."""
        if not self._is_telling or run is not self.runs[0]:
            return []
        return [guess for guess in run.once(self._forward, self.name) if self._fits(guess)][:1]

    def _forward(self, name: str, run: Run) -> Iterator[Guess]:
        forward = [line for line in self.program.forward if line.name not in self.program.lines]
        above = [line for line in self.program.lines.values() if line.name in self.program.between(name)]
        for k, line in enumerate(forward):
            for mutation in rewritten(line.terms[0].tree):
                array = self.program.tried(mutation.tree, run.values)
                if array is not None and array.shape == np.shape(run.values[line.name]):
                    array = self.program.rerun([*forward[k + 1 :], *above], {**run.values, line.name: array})
                    if array is not None:
                        yield Guess(mutation.key, f"in the forward pass, {mutation.words}, in {line.about}", array)

    def _swap(self, run: Run) -> list[Guess]:
        """Another array where one must stand, in the line itself or in one of the next above."""
        own = [guess for guess in self._guesses(self.name, run, swap=True) if self._fits(guess)]
        return own if own or not self._is_telling else self._above(run, swap=True)

    def _too_much(self, run: Run) -> list[Guess]:
        """A term that does not belong here: an array of the program, as it is or times a number of the arguments."""
        right, values = run.expected[self.name], self.program.values
        if self.answer.array.shape != right.shape or not self._is_telling or self.is_zero:
            return []
        rest = self.answer.array - right
        computed = self.program.lines.keys() | {line.name for line in self.program.forward}
        numbers = {f"{x} * ": values[x] for x in values.keys() - computed if np.ndim(values[x]) == 0}
        found = []
        for name, array in values.items():
            if np.shape(array) == right.shape and np.asarray(array).dtype.kind == "f" and tells_enough(array):
                for times, number in {"": 1.0, **numbers}.items():
                    if np.allclose(rest, number * array, 1e-5, 1e-6 * np.abs(rest).max()):
                        words = f"the right numbers plus {times}{name}, a term that does not belong here"
                        found.append(Guess("extra term", words, self.answer.array))
        return found[:1]

    def _counts(self, run: Run) -> list[Guess]:
        """A multiple that tells which lengths were divided by."""
        return [guess for guess in self._any_factor() if ";" in guess.words] if run is self.runs[0] else []

    # ---- two changes

    def _two_changes(self, run: Run) -> list[Guess]:
        """A change in the line, and besides it a factor or a transposition."""
        if not self._is_telling or self.is_zero:
            return []
        guesses, right = self._guesses(self.name, run), run.expected[self.name]
        single = [factor for factor in self._factors() if " and " not in factor.key]
        pairs = [(guess, factor) for guess in guesses for factor in single]
        found = [both(g, f) for g, f in pairs if self.matches(self.answer, f.factor * g.array)]
        if right.ndim >= 2 and self.answer.array.T.shape == right.shape:
            turned, mirrored = self._turned(run), Answer(self.answer.array.T, self.answer.epsilon)
            found += [both(turned, f) for f in self._factors() if self.matches(mirrored, f.factor * right)]
            found += [both(turned, guess) for guess in guesses if self.matches(mirrored, guess.array)]
        return found

    def _pair(self) -> Iterator[Guess]:
        """A change above and a factor, or any two changes in the line."""
        if not self._is_telling:
            return
        above = [*self.program.between(self.name)][1:]
        carried = (self.runs[0].once(self._carried, self.name, x, False) for x in above)
        for guess in (guess for found in carried for guess in found):
            for factor in self._factors():
                if self.matches(self.answer, factor.factor * guess.array):
                    yield both(guess, factor)
                    return
        yield from [pair for pair in self.runs[0].once(self._pairs, self.name) if self._fits(pair)][:1]

    def _pairs(self, name: str, run: Run) -> Iterator[Guess]:
        """Any two changes in the line of a value."""
        for first in mutations(self.program.lines[name], self.program):
            long = len(ast.unparse(first.tree)) > LONGEST
            for second in rewritten(first.tree) if first.key not in SWAPS and not long else ():
                array = self.program.tried(second.tree, run.values)
                if array is not None:
                    yield replace(both(first, second), array=array)

    # ---- no change that has a name

    def _another(self) -> Iterator[Guess]:
        """It is another array of the program."""
        for name, array in reversed(self.program.values.items()):
            numbers = name != self.name and np.size(array) > 1 and np.asarray(array).dtype.kind == "f"
            if numbers and self.matches(self.answer, array):
                yield Guess("mixed up", f"this is {name}", array)

    def _any_factor(self) -> Iterator[Guess]:
        """Every number, or every number of one term, is the same multiple of the right one."""
        right, array = self.runs[0].expected[self.name], self.answer.array
        if array.shape != right.shape or not self._is_telling or self.is_zero:
            return
        factor = ratio(array, right)
        if not np.isclose(factor, 1, 1e-5) and self.matches(self.answer, factor * right):
            lines = (self.program.lines[above] for above in self.program.between(self.name))
            if factor > 0 and any(term.sums_to_one for line in lines for term in line.terms):
                words = "a mean with weights of the classes is divided by the sum of the weights of the labels, not by"
                yield Guess("weights", f"every number is {fraction(factor)} the right one: {words} their number", right)
            yield Guess("factor", f"every number is {fraction(factor)} the right one{self._counted(factor)}", right)
        terms = self.program.lines[self.name].terms
        for term in terms if len(terms) > 1 else ():
            share = self.program.run(compiled(term.tree), self.program.values)
            factor = ratio(array - (right - share), share) if share.any() else 1.0
            if not np.isclose(factor, 1, 1e-5) and self.matches(self.answer, right + (factor - 1) * share):
                words = f"the share through {term.of} is {fraction(factor)} what it must be"
                yield Guess("factor", words + self._counted(factor), right)

    def _counted(self, factor: float) -> str:
        """What a factor may have come from: the length of an axis."""
        for n in sorted({n for array in self.program.values.values() for n in np.shape(array) if n > 2}):
            if np.isclose(abs(factor), [n, 1 / n], 1e-5).any():
                return f"; {n} is the length of an axis: a mean for a sum, or a sum for a mean?"
            if np.isclose(abs(factor), [(n - 1) / n, n / (n - 1)], 1e-5).any():
                return f"; is {n - 1} divided by where it must be {n}, or the other way round?"
        return ""


def both(one: Guess | Mutation, other: Guess | Mutation | Factor) -> Guess:
    """Two mistakes at once."""
    return Guess(f"{one.key} and {other.key}", f"{one.words}; and besides, {other.words}", np.zeros(()))
