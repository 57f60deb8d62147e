"""The usual mistakes as mutations: the right line with one thing changed.

Nothing is known here about the network: each row of the tables is a pattern, and what is written instead of it.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.exercises.backward_program import Line, Program, Term, names_in, renamed, sum_of
from tinygrad_ce.ops.indexing import filled

MOST_TERMS = 6  # of a line of which any may have been forgotten together

# The kinds of mistakes, the likelier first: of two that give the same numbers, the first is told.
ORDER = (
    *("averaged", "not summed", "only the diagonal", "wrong axis", "missing share", "sign", "mean", "no derivative"),
    *("labels", "only the true class", "target", "wrong derivative", "at the probabilities", "not normalised"),
    *("smoothing", "weights", "weights and smoothing", "wrong value", "kink", "overwritten", "transpose", "exponent"),
    *("mean twice", "mask", "missing factor", "mean and factor", "missing term", "missing function", "factor", "no upstream"),
    *("swapped", "misplaced", "inverse", "wrong upstream", "wrong operand"),
)

PHRASES = {  # what is too long for a row
    "over": "it must be over axis 1, the classes",
    "normalised": "divided by its sum over the classes: that makes it a softmax",
    "slope": "is the slope of one probability at its own logit: p - target is wanted,",
    "behind": "the gradient at the probabilities; behind the softmax, at its logits, it is p - target",
    "only": "only the true class has a gradient here: at the others it is their probability, not 0",
    "shifted": "the labels are shifted: the target stands at class",
    "once more": "the slope p * (1 - p) was multiplied in once more: p - y, the gradient at {A}, has it already",
    "behind sigmoid": "this is the gradient at the probabilities; behind the sigmoid it is p - y",
    "smoothing": "the target is made of 1 - {C} and {C} / classes",
    "last": "where a part was taken several times, the last share has overwritten the others",
    "equal": "compares equal numbers, the slope here is the other",
}


def _told(words: str) -> str:
    for name, phrase in PHRASES.items():
        words = words.replace("{" + name + "}", phrase)
    return words


SWAPS = ("wrong upstream", "wrong operand")  # another array stands where one must

# (what is right, what is written instead, the key, the words); a capital letter stands for any expression.
RULES = [
    ("A * B", "A", "missing factor", "the factor {B} is missing"),
    ("A * B", "B", "missing factor", "the factor {A} is missing"),
    ("A * B", "A / B", "inverse", "divided by {B} instead of multiplied with it"),
    ("A * B", "A + B", "misplaced", "{B} was added instead of multiplied with"),
    ("A / B", "A", "missing factor", "the division by {B} is missing"),
    ("A / B", "A * B", "inverse", "multiplied with {B} instead of divided by it"),
    ("A / B", "A / B ** 2", "factor", "divided by {B} twice"),
    ("A * B + C * D", "C * B + A * D", "swapped", "{A} and {C} have changed places"),
    ("A + B", "A", "missing term", "the term {B} is missing"),
    ("A + B", "B", "missing term", "the term {A} is missing"),
    ("A + B", "A - B", "sign", "{B} was subtracted instead of added"),
    ("A - B", "A", "missing term", "{B} was not subtracted"),
    ("A - B", "-B", "missing term", "the term {A} is missing"),
    ("A - B", "B", "missing term", "{B} stands alone, where it must be {A} - {B}"),
    ("A - B", "A + B", "sign", "{B} was added instead of subtracted"),
    ("A - one_hot(B, C)", "A - 1", "target", "1 was subtracted in every class: it must be only in the true one"),
    ("-A", "A", "sign", "the minus sign is missing"),
    ("A ** 2", "2 * A", "exponent", "{A} was multiplied by 2 instead of squared"),
    ("A ** B", "A", "missing factor", "the power {B} is missing"),
    ("A.T", "A", "transpose", "{A} was not transposed"),
    ("A @ B", "A * B", "misplaced", "{A} was multiplied number by number, where a product of matrices must be"),
    ("np.where(A, B, C)", "B", "no derivative", "the choice by {A} is missing"),
    ("np.where(A, B, C)", "np.where(A, C, B)", "mask", "what {A} chooses and what it leaves out have changed places"),
    ("np.sqrt(A + B)", "np.sqrt(A) + B", "misplaced", "{B} was added outside of the root instead of inside"),
    ("np.sqrt(A) + B", "np.sqrt(A + B)", "misplaced", "{B} was added inside of the root instead of outside"),
    ("np.sqrt(A + B)", "A + B", "missing function", "the root was not taken"),
    ("softmax(A)", "softmax(A, axis=0)", "wrong axis", "the softmax was taken over axis 0, the rows: {over}"),
    ("softmax(A)", "np.exp(A)", "not normalised", "exp({A}) was not {normalised}"),
    ("softmax(A)", "np.exp(A - A.max(axis=-1, keepdims=True))", "not normalised", "exp({A}) was not {normalised}"),
    ("softmax(A) - B", "softmax(A) * (1 - softmax(A))", "wrong derivative", "p * (1 - p) {slope} with p = softmax({A})"),
    ("softmax(A) - B", "(softmax(A) - B) * softmax(A) * (1 - softmax(A))", "wrong derivative", "{once more}"),
    ("softmax(A) - B", "-B / softmax(A)", "at the probabilities", "-target / p is {behind}"),
    ("softmax(A) - one_hot(B, C)", "(softmax(A) - one_hot(B, C)) * one_hot(B, C)", "only the true class", "{only}"),
    ("softmax(A) - B", "softmax(A) - two_swapped(B)", "labels", "the two classes have changed places"),
    ("softmax(A) - B", "softmax(A) - np.roll(B, 1, axis=-1)", "labels", "{shifted} y + 1 instead of y"),
    ("softmax(A) - B", "softmax(A) - np.roll(B, -1, axis=-1)", "labels", "{shifted} y - 1 instead of y"),
    ("softmax(A) - B", "softmax(A) - np.flip(B, axis=-1)", "labels", "the classes are in reverse: the last is taken for the first"),
    ("sigmoid(A) - B", "(sigmoid(A) - B) * sigmoid(A) * (1 - sigmoid(A))", "wrong derivative", "{once more}"),
    ("sigmoid(A) - B", "(sigmoid(A) - B) / (sigmoid(A) * (1 - sigmoid(A)))", "at the probabilities", "{behind sigmoid}"),
    ("sigmoid(A) - B", "sigmoid(A) - (1 - B)", "labels", "the labels 0 and 1 have changed places"),
    ("smoothed(A, B, C)", "one_hot(A, B)", "smoothing", "the label smoothing was forgotten: {smoothing}"),
    ("scatter_add(A, B, pattern=C, shape=D)", "overwritten(A, B, pattern=C, shape=D)", "overwritten", "{last}"),
    ("scatter_add(A, B, E, pattern=C, shape=D)", "overwritten(A, B, E, pattern=C, shape=D)", "overwritten", "{last}"),
]
RULES += [
    (f"np.{name}(A, B)", f"np.{other}(A, B)", "kink", f"right but for the kink: where np.{name}({{A}}, {{B}}) {{equal}}")
    for pair in (("greater", "greater_equal"), ("less", "less_equal"))
    for name, other in (pair, pair[::-1])
]
RULES += [
    (f"{name}(A)", "A", "missing function", f"{name} was not applied")
    for name in ("np.exp", "np.log", "np.sqrt", "np.tanh", "np.sin", "np.cos", "np.abs", "np.sign", "sigmoid", "softmax")
]
for kept in ("", ", keepdims=True"):
    for name, other, key, done in (("sum", "mean", "averaged", "averaged"), ("mean", "sum", "mean", "summed")):
        axis = f"A.{name}(axis=B{kept})"
        away = "not summed" if name == "sum" else "missing factor"
        words = "{A} was not summed over axis {B}" if name == "sum" else "the mean of {A} over axis {B} was not taken"
        RULES += [(axis, "A", away, words)]
        RULES += [(axis, f"A.{other}(axis=B{kept})", key, f"{{A}} was {done} over axis {{B}}")]
        for another in ("None", "0", "1", "2"):
            over = "all axes" if another == "None" else f"axis {another}"
            words = f"{{A}} was {'summed' if name == 'sum' else 'averaged'} over {over} instead of over axis {{B}}"
            RULES += [(axis, f"A.{name}(axis={another}{kept})", "wrong axis", words)]
RULES += [
    ("A.sum()", "A", "not summed", "{A} was not summed"),
    ("A.sum()", "A.mean()", "averaged", "{A} was averaged instead of summed"),
    ("A.sum()", "A.sum(axis=0)", "wrong axis", "{A} was summed over axis 0 instead of over all axes"),
    ("A.mean()", "A.sum()", "mean", "{A} was summed instead of averaged"),
]

RULES = [(right, wrong, key, _told(words)) for right, wrong, key, words in RULES]


@dataclass(frozen=True)
class Mutation:
    """A line with one thing changed: the kind of mistake (a stable key), what was done in words, and the line.

    lost: the part of it that is missing, where one is.
    """

    key: str
    words: str
    tree: ast.expr
    lost: ast.expr | None = None

    @property
    def rank(self) -> int:
        """How likely it is: the smaller, the likelier."""
        return ORDER.index(self.key)


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


@cache
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _matched(pattern: Any, tree: Any, found: dict[str, ast.expr]) -> bool:
    """Whether an expression has the form of a pattern; found: what its capital letters stand for."""
    if isinstance(pattern, ast.Name) and len(pattern.id) == 1 and pattern.id.isupper():
        before = found.setdefault(pattern.id, tree)
        return before is tree or ast.dump(before) == ast.dump(tree)
    if isinstance(pattern, list):
        return len(pattern) == len(tree) and all(_matched(p, t, found) for p, t in zip(pattern, tree, strict=True))
    if not isinstance(pattern, ast.AST):
        return bool(pattern == tree)
    return type(pattern) is type(tree) and all(
        _matched(getattr(pattern, name), getattr(tree, name), found) for name in pattern._fields if name != "ctx"
    )


def rewritten(tree: ast.expr) -> Iterator[Mutation]:
    """An expression with one thing changed by a row of the table, at its top or further inside."""
    for right, wrong, key, words in RULES:
        found: dict[str, ast.expr] = {}
        if _matched(_parsed(right), tree, found):
            text = words.format(**{name: ast.unparse(part) for name, part in found.items()})
            lost = next((part for name, part in found.items() if name not in names_in(_parsed(wrong))), None)
            yield Mutation(key, text, renamed(_parsed(wrong), found), lost)
    match tree:
        case ast.BinOp(left, ast.Pow(), ast.UnaryOp(ast.USub(), ast.Constant(n)) | ast.Constant(n)) if n not in (0, 1):
            exponent = ast.literal_eval(tree.right)
            for other in (exponent + 1, exponent - 1):
                words = f"the exponent of {ast.unparse(left)} is {other:g} instead of {exponent:g}"
                yield Mutation("exponent", words, ast.BinOp(left, ast.Pow(), ast.Constant(other)))
    for name, value in ast.iter_fields(tree):
        for i, part in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(part, ast.expr) and not (isinstance(tree, ast.Call) and isinstance(part, ast.Name)):
                for inner in rewritten(part):
                    new = [*value[:i], inner.tree, *value[i + 1 :]] if isinstance(value, list) else inner.tree
                    changed = copy.copy(tree)
                    setattr(changed, name, new)
                    yield replace(inner, tree=changed)


# ---- a whole line


def mutations(line: Line, program: Program) -> list[Mutation]:
    """The line with one thing changed, the likelier first."""
    found = [*_without_some(line)]
    for i, term in enumerate(line.terms):
        before, after = ([t.tree for t in terms] for terms in (line.terms[:i], line.terms[i + 1 :]))
        where = f", in {'the share through ' if len(line.terms) > 1 else ''}{term.of}" if term.of else ""
        if len(line.terms) > 1:
            found.append(Mutation("sign", f"one share has the wrong sign{where}", sum_of([*before, _minus(term), *after])))
        found += [
            replace(m, words=m.words + where, tree=sum_of([*before, m.tree, *after])) for m in of_term(term, program)
        ]
    for form in line.forms:
        found += [replace(m, words=f"{m.words}, in {form.of}") for m in of_term(form, program)]
    return sorted(found, key=lambda mutation: mutation.rank)


def _minus(term: Term) -> ast.expr:
    return ast.UnaryOp(ast.USub(), term.tree)


def _without_some(line: Line) -> Iterator[Mutation]:
    """The line without some of its terms: a use was forgotten."""
    for size in range(1, len(line.terms)) if len(line.terms) <= MOST_TERMS else (1,):
        for lost in combinations(line.terms, size):
            uses = " and through ".join(term.of for term in lost)
            count = "a contribution is" if size == 1 else f"{size} contributions are"
            words = f"{line.about} is used {len(line.terms)} times, and {count} missing: the share through {uses}"
            yield Mutation("missing share", words, sum_of([term.tree for term in line.terms if term not in lost]))


def of_term(term: Term, program: Program) -> Iterator[Mutation]:
    """One term with one thing changed."""
    if term.upstream is not None:
        above = ast.Name(term.upstream, ast.Load())
        if names_in(term.tree) & program.values.keys() != {above.id}:
            yield Mutation("no derivative", f"the derivative of {term.op} is missing: this is {above.id} as it came", above)
        words = f"the local derivative alone: {above.id}, which comes from above, is missing"
        ones = _parsed(f"np.ones_like({above.id})")
        yield Mutation("no upstream", words, renamed(term.tree, {above.id: ones}))
    for mutation in rewritten(term.tree):
        if term.upstream is not None and term.upstream not in names_in(mutation.tree):
            continue  # that is asked above
        lost = names_in(mutation.lost) - program.functions.keys() if mutation.lost is not None else set()
        if mutation.key == "missing term" and lost and lost <= program.data:
            yield replace(mutation, key="target")
        elif mutation.key == "not summed" and term.overlapping and term.op:
            words = f"each number of {term.op} depends on several of {term.swapped[0]}, and only its own was counted"
            yield replace(mutation, key="only the diagonal", words=words)
        elif term.divisor and term.divisor[1] and _is_number(mutation.lost, count := term.divisor[0]):
            words = f"off by the factor {count:.6g} in one share: its division by {count:.6g} was forgotten"
            yield replace(mutation, key="mean", words=words)
        else:
            yield mutation
    yield from _of_weights(term, program)
    for name in sorted(names_in(term.tree) & program.values.keys()):
        array = np.asarray(program.values[name])
        if array.ndim == 2 and array.shape[0] == array.shape[1] > 1:
            words = f"{name} was transposed where it must not be, or not where it must"
            yield Mutation("transpose", words, renamed(term.tree, {name: _parsed(f"{name}.T")}))
        yield from _swaps(term, name, program)


def _is_number(tree: ast.expr | None, number: float) -> bool:
    return isinstance(tree, ast.Constant) and tree.value == number


def _swaps(term: Term, name: str, program: Program) -> Iterator[Mutation]:
    """The term with another array of the same shape where this one must stand; the nearest in the program first."""
    array, place = np.asarray(program.values[name]), {other: i for i, other in enumerate(program.values)}
    gradients = {line.name for line in program.lines} if term.upstream else set()
    for other in sorted(program.values, key=lambda x: abs(place[x] - place[name])):
        instead, found = other, np.asarray(program.values[other])
        if found.shape != array.shape == found.shape[::-1]:
            instead, found = f"{other}.T", found.T
        alike = found.shape == array.shape and found.dtype == array.dtype
        of_a_kind = other == term.upstream or (other in gradients) == (name in gradients)
        if other == name or array.size < 2 or not alike or not of_a_kind:
            continue
        key, words = "wrong operand", f"{instead} was taken where {name} must stand"
        if {name, other} <= {*term.swapped}:
            key, words = "wrong value", f"the derivative is taken at the wrong value: at {other} instead of {name}"
        elif name == term.upstream:
            key, words = "wrong upstream", f"{other} was taken where {name} comes from above"
        yield Mutation(key, words, renamed(term.tree, {name: _parsed(instead)}))


def _of_weights(term: Term, program: Program) -> Iterator[Mutation]:
    """The rule of a loss whose weights were forgotten."""
    w, weight, rows = term.roles.get("w", ""), term.roles.get("weight", ""), term.roles.get("y", "")
    there = [name for name in (w, weight) if name in names_in(term.tree)]
    if term.op == "sigmoid_xent":
        called = {w: "pos_weight", weight: "weight"}
        for lost in ([name] for name in there):
            yield _forgotten(term, f"{called[lost[0]]} was forgotten", dict.fromkeys(lost, _parsed("1.0")))
        if len(there) == 2:
            yield _forgotten(term, "weight and pos_weight were forgotten", dict.fromkeys(there, _parsed("1.0")))
    elif there and np.ndim(program.values[w]) == 0:
        count = len(program.values[rows])
        words = f"the mean is over the rows that are not ignored, and this was divided by all {count}"
        yield Mutation("mean", words, renamed(term.tree, {w: _parsed(f"1 / {count}")}))
    elif there:
        for text in (f"np.ones_like({w})", f"np.ones_like({w}) / len({rows or term.roles['q']})"):
            forgotten = _forgotten(term, "the weights of the classes were forgotten", {w: _parsed(text)})
            yield forgotten
            for both in rewritten(forgotten.tree):
                if both.key == "smoothing":
                    words = f"{forgotten.words}, and the label smoothing too"
                    yield replace(both, key="weights and smoothing", words=words)


def _forgotten(term: Term, words: str, names: dict[str, str | ast.expr]) -> Mutation:
    return Mutation("weights", words, renamed(term.tree, names))
