"""The usual mistakes as mutations: the right line with one thing changed, by the table in mutations.txt.

Nothing is known here about the network. Besides the table, a term may be missing or have the wrong sign, what comes
from above may be missing or come alone, and another array of the same shape may stand where one must.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises.backward_program import Line, Program, Term
from tinygrad_ce.graph.expressions import compiled, names_in, parsed, renamed, sum_of
from tinygrad_ce.ops.indexing import filled
from tinygrad_ce.report.words import format_number

MOST_TERMS = 6  # of a line of which any may have been forgotten together
SWAPS = ("wrong upstream", "wrong operand")  # another array stands where one must

# The kinds of mistakes, the likelier first: of two that give the same numbers, the first is told.
ORDER = (
    *("averaged", "not summed", "only the diagonal", "wrong axis", "missing share", "sign", "mean", "no derivative"),
    *("labels", "only the true class", "target", "wrong derivative", "at the probabilities", "not normalised"),
    *("smoothing", "weights", "weights and smoothing", "wrong value", "kink", "overwritten", "transpose", "mean twice"),
    *("exponent", "mask", "missing factor", "mean and factor", "missing term", "missing function", "factor"),
    *("no upstream", "swapped", "misplaced", "inverse", *SWAPS),
)


def rank(key: str) -> int:
    """How likely a kind of mistake is; of two missing parts, the one that was found first is the whole."""
    return ORDER.index("missing factor" if key == "missing term" else key) if key in ORDER else len(ORDER)


@dataclass(frozen=True)
class Mutation:
    """A line with one thing changed: the kind of mistake (a stable key), what was done in words, and the line.

    lost: the part of it that is missing, where one is.
    """

    key: str
    words: str
    tree: ast.expr
    lost: ast.expr | None = None


def two_swapped(target: Array) -> Array:
    """The columns of two classes in the other order. ValueError for more classes."""
    if target.shape[-1] != 2:
        raise ValueError("there are not two classes")
    return target[..., ::-1]


def overwritten(values: Array, *indices: Any, pattern: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
    """The gradient of what was indexed, if each share is put in its place instead of added there."""
    gradient = np.zeros(shape)
    gradient[filled(pattern, indices)] = values
    return gradient


FUNCTIONS = {"two_swapped": two_swapped, "overwritten": overwritten}


# ---- the table


@cache
def table() -> list[tuple[ast.expr, ast.expr, str, str]]:
    """(what is right, what is written instead, the key, the words) of each row of mutations.txt."""
    lines = (Path(__file__).parent / "mutations.txt").read_text(encoding="utf-8").splitlines()
    rows = [re.split(r" => | \| ", line) for line in lines if line and not line.startswith("#")]
    return [(parsed(right), parsed(wrong), key, words) for right, wrong, key, words in rows]


def _matched(pattern: Any, tree: Any, found: dict[str, str | ast.expr]) -> bool:
    """Whether an expression has the form of a pattern; found: what its capital letters stand for."""
    if isinstance(pattern, ast.Name) and len(pattern.id) == 1 and pattern.id.isupper():
        before = found.setdefault(pattern.id, tree)
        return before is tree or (isinstance(tree, ast.AST) and ast.dump(before) == ast.dump(tree))  # type: ignore[arg-type]
    if isinstance(pattern, list):
        return len(pattern) == len(tree) and all(_matched(p, t, found) for p, t in zip(pattern, tree, strict=True))
    if not isinstance(pattern, ast.AST):
        return bool(pattern == tree)
    return type(pattern) is type(tree) and all(
        _matched(getattr(pattern, name), getattr(tree, name), found) for name in pattern._fields if name != "ctx"
    )


def _written(part: str, found: dict[str, str | ast.expr]) -> str:
    """A part of the words of a row: the expression with what its letters stand for, or the number that it is."""
    tree = renamed(parsed(part), found)
    is_number = part not in found and not names_in(tree)
    return f"{eval(compiled(tree)):g}" if is_number else ast.unparse(tree)


def rewritten(tree: ast.expr) -> Iterator[Mutation]:
    """An expression with one thing changed by a row of the table, at its top or further inside."""
    for right, wrong, key, words in table():
        found: dict[str, str | ast.expr] = {}
        if _matched(right, tree, found):
            text = re.sub(r"\{(.+?)\}", lambda match: _written(match[1], found), words)  # noqa: B023
            lost = [part for name, part in found.items() if name not in names_in(wrong) and isinstance(part, ast.expr)]
            yield Mutation(key, text, renamed(wrong, found), lost[0] if lost else None)
    for name, value in ast.iter_fields(tree):
        parts = value if isinstance(value, list) else [value]
        for i, part in enumerate(parts):
            if isinstance(part, ast.expr) and not (isinstance(tree, ast.Call) and isinstance(part, ast.Name)):
                for inner in rewritten(part):
                    changed = copy.copy(tree)
                    new = [*parts[:i], inner.tree, *parts[i + 1 :]] if isinstance(value, list) else inner.tree
                    setattr(changed, name, new)
                    yield replace(inner, tree=changed)


# ---- a whole line


def mutations(line: Line, program: Program) -> list[Mutation]:
    """The line with one thing changed, the likelier first."""
    found = [*_without_some(line)]
    several = len(line.terms) > 1
    changed = [[*_of_term(term, program)] for term in line.terms]
    if several and len({tuple(m.key for m in changes) for changes in changed}) == 1:  # as for weights used in each step
        for alike in zip(*changed, strict=True):
            words = f"{alike[0].words}, and so in each of {len(alike)} shares"
            found.append(Mutation(alike[0].key, words, sum_of([m.tree for m in alike])))
    found += _of_one_use(line)
    for i, (term, changes) in enumerate(zip(line.terms, changed, strict=True)):
        before, after = ([t.tree for t in terms] for terms in (line.terms[:i], line.terms[i + 1 :]))
        if several:
            changes.append(Mutation("sign", "one share has the wrong sign", ast.UnaryOp(ast.USub(), term.tree)))
        where = f", in {'the share through ' if several else ''}{term.of}"
        found += [replace(m, words=m.words + where, tree=sum_of([*before, m.tree, *after])) for m in changes]
    for form in line.forms:
        found += [replace(m, words=f"{m.words}, in {form.of}") for m in _of_term(form, program)]
    return sorted(found, key=lambda mutation: rank(mutation.key))


def _without_some(line: Line) -> Iterator[Mutation]:
    """The line without some of its terms: a use was forgotten."""
    for size in range(1, len(line.terms)) if len(line.terms) <= MOST_TERMS else (1,):
        for lost in combinations(line.terms, size):
            uses = " and through ".join(term.of for term in lost)
            count = "a contribution is" if size == 1 else f"{size} contributions are"
            words = f"{line.about} is used {len(line.terms)} times, and {count} missing: the share through {uses}"
            yield Mutation("missing share", words, sum_of([term.tree for term in line.terms if term not in lost]))


def _of_one_use(line: Line) -> Iterator[Mutation]:
    """The line with all shares through one operation, as those of `w * w`, multiplied by a usual number."""
    for of in dict.fromkeys(term.of for term in line.terms):
        if 1 < sum(term.of == of for term in line.terms) < len(line.terms):
            for factor, key, words in ((-1, "sign", "has the wrong sign"), (2, "factor", "is twice what it must be")):
                number = parsed(str(factor))
                trees = [t.tree if t.of != of else ast.BinOp(number, ast.Mult(), t.tree) for t in line.terms]
                yield Mutation(key, f"the share through {of} {words}", sum_of(trees))


def _of_term(term: Term, program: Program) -> Iterator[Mutation]:
    """One term with one thing changed."""
    above, arrays = term.upstream, names_in(term.tree) & program.values.keys()
    if above is not None:
        if arrays != {above}:
            words = f"the derivative of {term.op} is missing: this is {above} as it came"
            yield Mutation("no derivative", words, parsed(above))
        value = np.asarray(program.values.get(above, ()))
        number = f" (here {format_number(value.item(), 6)})" if value.size == 1 else ""
        words = f"the local derivative alone: {above}, which comes from above{number}, is missing"
        yield Mutation("no upstream", words, renamed(term.tree, {above: parsed(f"np.ones_like({above})")}))
    count = term.divisor if term.of_mean else None
    for mutation in rewritten(term.tree):
        lost = set() if mutation.lost is None else names_in(mutation.lost) - program.functions.keys()
        if above is not None and above not in names_in(mutation.tree):
            continue  # no upstream, or not the derivative: that is asked above
        if mutation.key == "missing term" and lost and lost <= program.data:
            yield replace(mutation, key="target")
        elif mutation.key == "not summed" and term.overlapping:
            words = f"each number of {term.op} depends on several of {term.inside[0]}, and only its own was counted"
            yield replace(mutation, key="only the diagonal", words=words)
        elif count is not None and isinstance(mutation.lost, ast.Constant) and mutation.lost.value == count:
            times = format_number(count, 6)
            words = f"off by the factor {times} in one share: its division by {times} was forgotten"
            yield replace(mutation, key="mean", words=words)
        else:
            yield mutation
    for name in sorted(arrays):
        yield from _swaps(term, name, program)


def _swaps(term: Term, name: str, program: Program) -> Iterator[Mutation]:
    """The term with another array of the same shape where this one must stand, the nearest in the program first."""
    array, place = np.asarray(program.values[name]), {other: i for i, other in enumerate(program.values)}
    if array.ndim == 2 and array.shape[0] == array.shape[1] > 1:
        words = f"{name} was transposed where it must not be, or not where it must"
        yield Mutation("transpose", words, renamed(term.tree, {name: parsed(f"{name}.T")}))
    gradients = program.lines.keys() if term.upstream else set()
    given = program.values.keys() - program.lines.keys() - {line.name for line in program.forward}
    for other in sorted(program.values, key=lambda x: abs(place[x] - place[name])):
        of_a_kind = other == term.upstream or (other in gradients) == (name in gradients)
        of_a_kind |= name == term.upstream and other in term.inside  # a value instead of its gradient
        if other == name or not of_a_kind or (array.size < 2 and not {name, other} <= given):
            continue
        instead, found = other, np.asarray(program.values[other])
        if found.shape != array.shape == found.shape[::-1]:
            instead, found = f"{other}.T", found.T
        key, words = "wrong operand", f"{instead} was taken where {name} must stand"
        if {name, other} == {*term.inside}:
            key, words = "wrong value", f"the derivative is taken at the wrong value: at {other} instead of {name}"
        elif name == term.upstream:
            key, words = "wrong upstream", f"{other} was taken where {name} comes from above"
        if found.shape == array.shape and found.dtype == array.dtype:
            yield Mutation(key, words, renamed(term.tree, {name: parsed(instead)}))
