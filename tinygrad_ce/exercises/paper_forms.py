"""The gradients that are written in one line on paper, whatever steps the program took: those of softmax and sigmoid."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import numpy as np

from tinygrad_ce.exercises.backward_program import Line, Program, Term, compiled

# For the gradient at z: y stands for labels or targets, h for another array of the shape of z.
FORMS = (
    ("softmax", "{h} * (d_{h} - (d_{h} * {h}).sum(axis=-1, keepdims=True))"),
    ("sigmoid", "d_{h} * {h} * (1 - {h})"),
)
LOSSES = (
    ("softmax", "(softmax({z}) - {y})"),
    ("softmax", "(softmax({z}) - one_hot({y}, {classes}))"),
    ("sigmoid", "(sigmoid({z}) - {y})"),
)


def paper_forms(line: Line, program: Program) -> Iterator[Term]:
    """The ways to write a line on paper that give its very numbers."""
    z, right = line.about, np.asarray(program.values[line.name])
    if z not in program.values or z == line.name or right.size < 2 or any(term.op in ("xent", "soft_xent", "sigmoid_xent") for term in line.terms):
        return
    size = np.abs(right).max()
    written = {ast.unparse(term.tree) for term in line.terms}
    for op, text, above in _candidates(z, right.shape, program):
        try:
            array = np.asarray(program.run(compiled(ast.parse(text, mode="eval").body), program.values))
        except (ValueError, TypeError, IndexError, NameError):
            continue
        if array.shape != right.shape or not array.any():
            continue
        where = np.unravel_index(np.abs(array).argmax(), array.shape)
        factor = 1.0 if above else float(right[where] / array[where])
        if factor and np.abs(factor * array - right).max() <= 1e-4 * size and text not in written:
            count = round(1 / factor)
            text = text if abs(factor - 1) < 1e-4 else f"{text} / {count if abs(1 / factor - count) < 1e-3 else 1 / factor}"
            yield Term(ast.parse(text, mode="eval").body, f"{line.name} = {text}", above, op, (z,), overlapping=True)


def _candidates(z: str, shape: tuple[int, ...], program: Program) -> Iterator[tuple[str, str, str | None]]:
    """(operation, text, what comes from above) of what may be the gradient at z."""
    results = {op: program.functions[op](program.values[z]) for op, _ in FORMS}
    for name, array in list(program.values.items()):
        if np.shape(array) == shape and f"d_{name}" in program.right:
            for op, text in FORMS:
                if np.allclose(array, results[op]):
                    yield op, text.format(h=name), f"d_{name}"
        if np.shape(array) in (shape, shape[:1]) and name not in program.right:
            yield from ((op, text.format(z=z, y=name, classes=shape[-1]), None) for op, text in LOSSES)
