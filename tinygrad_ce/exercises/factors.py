"""The factors by which all numbers of a value are usually wrong: a sign, a mean, the 2 of a square."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises.answers import fraction
from tinygrad_ce.exercises.backward_program import Program, Term
from tinygrad_ce.report.words import format_number


@dataclass(frozen=True)
class Factor:
    """A factor by which all numbers are wrong: the kind of mistake (a stable key), and what was done in words."""

    factor: float
    key: str
    words: str


def divisions(name: str, program: Program) -> list[tuple[float, list[Term]]]:
    """By what a value is divided on every way that leads to it, and the terms in which that is done."""
    found: list[tuple[float, list[Term]]] = []
    right = np.asarray(program.values[name])
    for above in program.between(name):
        for term in program.lines[above].terms:
            share = program.tried(term.tree, program.values) if term.divisor not in (None, 0, 1) else None
            if share is not None and term.divisor is not None:
                undivided: Array = program.values[above] + (term.divisor - 1) * share
                carried = undivided if above == name else program.carried(name, above, undivided, program.values)
                if carried is not None and np.allclose(carried, term.divisor * right, 1e-3, 1e-6 * np.abs(right).max()):
                    found.append((term.divisor, [term]))
    if len(found) > 1:
        found.append((float(np.prod([count for count, _ in found])), [term for _, terms in found for term in terms]))
    return found


def factors(name: str, program: Program) -> Iterator[Factor]:
    """The factors by which a value is usually wrong, alone and with a wrong sign."""
    sign = Factor(-1.0, "sign", "every number has the wrong sign: a minus is missing, or there is one too many")
    yield sign
    for count, terms in divisions(name, program):
        for factor in _of_division(count, terms, program.has_square):
            yield factor
            yield Factor(-factor.factor, f"{factor.key} and sign", f"{factor.words}; and besides, {sign.words}")
    yield Factor(2.0, "factor", "every number is twice the right one")
    square = ": the slope of a square has a factor 2" if program.has_square else ""
    yield Factor(0.5, "factor", f"every number is half of the right one{square}")


def _of_division(count: float, terms: list[Term], has_square: bool) -> Iterator[Factor]:
    """A division that was forgotten, done twice, or done by another number."""
    where = " and ".join(f"{term.of} divides by {format_number(term.divisor, 6)}" for term in terms)
    times = format_number(count, 6)
    words = f"off by the factor {times}: every number is {times} times the right one"
    twice = f"off by the factor 1/{times}: every number is divided by {times} once too often. {where}, once"
    if not all(term.of_mean for term in terms):
        yield Factor(count, "factor", f"{words}, as if it were forgotten that {where}")
        yield Factor(1 / count, "factor", twice)
        return
    yield Factor(count, "mean", f"{words}. The mean was forgotten: {where}")
    yield Factor(1 / count, "mean twice", twice)
    if has_square:
        words = f"every number is {fraction(count / 2)} the right one: the mean was forgotten, where {where}"
        yield Factor(count / 2, "mean and factor", f"{words}, and the factor 2 in the slope of a square")
    for n in sorted({n for term in terms for n in term.averaged} - {1, count}):
        yield Factor(count / n, "mean", f"divided by {n} instead of by {times}: {where}")
