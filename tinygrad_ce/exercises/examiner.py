"""The examiner: which answers are right but for rounding, which follow from a wrong one, what is wrong in others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises.answers import EPSILON32, Answer, Verdict, epsilon, not_finite, reshaped, unexplained
from tinygrad_ce.exercises.backward_program import Program
from tinygrad_ce.exercises.mutations import FUNCTIONS
from tinygrad_ce.exercises.rounding import rounding
from tinygrad_ce.exercises.search import Guess, Run, Search

ALIKE = (  # two ways to say the same
    *({"averaged", "mean twice"}, {"mean", "missing factor"}, {"no derivative", "missing factor"}),
    *({"sign", "missing factor"}, {"mean", "no upstream"}, {"factor", "missing factor"}),
)


def largest(array: Array) -> float:
    """The largest number, without its sign."""
    return float(np.abs(array).max()) if array.size else 0.0


class Examiner:
    """Judges answers to a program: of a loss (`of_graph`) or of a function (`of_source`).

    >>> from tinygrad_ce.exercises.backward_program import of_source
    >>> examiner = Examiner(of_source(lambda w, g: {"w": w - 0.1 * g}, {"w": np.ones(2), "g": np.array([1.0, 2.0])}))
    >>> examiner.judge({"w": [0.9, 0.8]})["w"].right
    True
    """

    def __init__(self, program: Program) -> None:
        self.program, self.lines = program, program.lines
        with np.errstate(all="ignore"):
            self.noise = rounding(program)
            self.epsilon = max((epsilon(array) for array in program.right.values()), default=0.0)
            fractions = {x: array for x, array in program.values.items() if np.asarray(array).dtype.kind == "f"}
            program.values |= {x: np.asarray(array, np.float64) for x, array in fractions.items()}
            self.truth = {name: np.asarray(array, np.float64) for name, array in program.right.items()}
            program.functions |= FUNCTIONS
        expected = {name: program.values[name] for name in program.lines}
        self._right_run = Run(program.values, expected, dict.fromkeys(program.lines, ()))

    def judge(self, answers: Mapping[str, Any], asked: Iterable[str] | None = None) -> dict[str, Verdict]:
        """The verdict on each answer. asked: those that are to be judged; the others are only gone on with.

        Raises KeyError for a name that nothing is known of, TypeError for what is no array of real numbers.
        """
        read = {name: x if isinstance(x, Answer) else Answer.read(name, x) for name, x in answers.items()}
        with np.errstate(all="ignore"):
            right = {name for name, answer in read.items() if self.right(name, answer)}
            arrays = {name: answer.array for name, answer in read.items() if name not in right}
            usable = {x: a for x, a in arrays.items() if a.shape == self.truth[x].shape and np.isfinite(a).all()}
            run = self._given(usable)
            names = read if asked is None else asked
            return {name: self._verdict(name, read[name], name in right, run) for name in names}

    # ---- right or not

    @np.errstate(all="ignore")
    def right(self, name: str, answer: Answer) -> bool:
        """Whether this is what is right, but for rounding: of each number, and of the sums that it has come from."""
        truth, array = self.truth[name], answer.array
        if array.shape != truth.shape:
            return False
        same = np.where(np.isfinite(truth), np.abs(array - truth) <= self._allowed(name, answer), False)
        return bool((same | (~np.isfinite(truth) & ((array == truth) | (np.isnan(array) & np.isnan(truth))))).all())

    def _allowed(self, name: str, answer: Answer) -> Array:
        """By how much each number may differ: half of its digits, and what the sums that it comes from are off by.

        Numbers in float64 may have been float32 on the way (`x32 @ W`), which nothing but their error tells.
        """
        epsilon = max(self.epsilon, answer.epsilon)
        noise = self._noise(name, answer)
        truth = np.where(np.isfinite(self.truth[name]), np.abs(self.truth[name]), 0)
        tiny = 4 * float(np.finfo(np.float64 if epsilon < 1e-12 else np.float32).smallest_subnormal)
        on_the_way = EPSILON32 * (truth + noise / (epsilon or 1) / 4)
        exact = np.sqrt(epsilon) * truth + 20 * noise + largest(noise) + tiny
        return np.asarray(np.maximum(exact, np.minimum(on_the_way, 4 * EPSILON32 * largest(truth))))

    def _noise(self, name: str, answer: Answer) -> Array:
        """The rounding of what is right in the dtype of an answer."""
        return self.noise[name] * max(1.0, answer.epsilon / (self.epsilon or 1.0))

    def _is_zero(self, name: str) -> bool:
        """Whether all numbers are 0 where it is right, or would be but for rounding."""
        return largest(self.truth[name]) <= 30 * largest(self.noise[name])

    def _matches(self, name: str, answer: Answer, guess: Array) -> bool:
        """Whether an answer is this guess, and much nearer to it than to what is right."""
        array, truth, size = answer.array, self.truth[name], largest(guess)
        if array.shape != guess.shape or not np.isfinite(size) or (size == 0 and array.shape == truth.shape):
            return False
        epsilon = max(self.epsilon, answer.epsilon)
        noise = epsilon * largest(truth)
        if truth.shape == guess.shape:
            noise = 0.0 if self._is_zero(name) else largest(self._noise(name, answer)) * max(1, size / largest(truth))
        off = largest(array - guess)
        if not off <= np.sqrt(epsilon) * size + 30 * noise:
            return False
        return array.shape != truth.shape or off < 0.05 * largest(array - truth)

    def _given(self, wrong: dict[str, Array]) -> Run:
        """The numbers of a student who goes on with these answers, wrong as they are."""
        if not wrong:
            return self._right_run
        lines, values = self.program.lines, dict(self.program.values)
        follows: dict[str, tuple[str, ...]] = {}
        expected = dict(self._right_run.expected)
        for name, line in lines.items():
            above = {source for x in line.reads & lines.keys() for source in ((x,) if x in wrong else follows[x])}
            follows[name] = tuple(x for x in lines if x in above)
            if above:
                values[name] = expected[name] = np.asarray(self.program.run(line.code, values), np.float64)
            values[name] = wrong.get(name, values[name])
        return Run(values, expected, follows)

    # ---- verdicts

    def _verdict(self, name: str, answer: Answer, right: bool, run: Run) -> Verdict:
        array, truth = answer.array, self.truth[name]
        if right:
            return Verdict(name, True, None, "right")
        if array.size and not array.any() and array.shape == truth.shape:
            return Verdict(name, False, "zeros", "all numbers are 0: has it been computed yet?")
        if not np.isfinite(array).all() or not np.isfinite(truth).all():
            return Verdict(name, False, "not finite", not_finite(array))
        if run.follows[name] and self._matches(name, answer, run.expected[name]):
            words = f"right, given your own {' and '.join(run.follows[name])}: the mistake came from there"
            return Verdict(name, False, "upstream", words, run.follows[name])
        if array.size == truth.size and self.right(name, Answer(array.reshape(truth.shape), answer.epsilon)):
            words = f"shape {array.shape} instead of {truth.shape}; the numbers are right: reshape it to {truth.shape}"
            return Verdict(name, False, "shape", f"{words}, or drop or keep a dimension of size 1 with keepdims")
        mistakes = self._explained(name, answer, run)
        if largest(array) <= 30 * largest(self._noise(name, answer)) and not self._is_zero(name):
            mistakes = [m for m in mistakes if m.key == "wrong axis"]  # other changes that leave 0 are guesses
            if not mistakes:
                words = "all numbers are 0 but for rounding: is a sum taken that is always 0?"
                return Verdict(name, False, "zeros", words)
        if mistakes:
            return Verdict(name, False, mistakes[0].key, _with_others(mistakes))
        if array.shape != truth.shape:
            return Verdict(name, False, *self._other_shape(name, answer, run))
        return Verdict(name, False, *unexplained(array, truth, self._allowed(name, answer), self._is_zero(name)))

    def _explained(self, name: str, answer: Answer, run: Run) -> list[Guess]:
        runs = [self._right_run, *([run] if run.follows[name] else [])]
        accurate = Answer(answer.array, max(answer.epsilon, self.epsilon))
        matches = partial(self._matches, name)
        return Search(self.program, name, accurate, runs, matches, self._is_zero(name)).explanations()

    def _other_shape(self, name: str, answer: Answer, run: Run) -> tuple[str, str]:
        """The mistake and the words for an answer of another shape."""
        array, shape, about = answer.array, self.truth[name].shape, self.program.lines[name].about
        start = f"shape {array.shape} instead of {shape}" + (f", which is that of {about}" if about != name else "")
        mends = [*reshaped(array, shape)]
        for key, other, mend in mends:
            changed = Answer(other, answer.epsilon)
            if self.right(name, changed):
                return key, f"{start}; the numbers are right: {mend}"
            if run.follows[name] and self._matches(name, changed, run.expected[name]):
                return key, f"{start}; the numbers are right, given your own {' and '.join(run.follows[name])}: {mend}"
            mistakes = self._explained(name, changed, run)
            if mistakes:
                return f"{key} and {mistakes[0].key}", f"{start}: {mend}; and besides, {mistakes[0].words}"
        turned = "; a transposition (.T) would give the shape, but not the numbers" if array.T.shape == shape else ""
        return "shape", start + (f"; to {mends[0][2]} would give the shape, but not the numbers" if mends else turned)


def _with_others(mistakes: list[Guess]) -> str:
    """The likeliest explanation, and what else gives the same numbers."""
    first, *rest = mistakes
    others = {m.key: m for m in reversed(rest) if m.key != first.key and {m.key, first.key} not in ALIKE}
    return first.words + "".join(f". Also fits: {other.words}" for other in [*others.values()][::-1][:2])
