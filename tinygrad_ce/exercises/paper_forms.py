"""Gradients that are one line on paper, whatever steps the program took: those of softmax, sigmoid and their losses."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import numpy as np

from tinygrad_ce.exercises.backward_program import Line, Program, Term
from tinygrad_ce.graph.expressions import parsed

# At z: y stands for labels or targets, h for the result of the function.
FORMS = {
    "softmax": "{h} * (d_{h} - (d_{h} * {h}).sum(axis=-1, keepdims=True))",
    "sigmoid": "d_{h} * {h} * (1 - {h})",
}
NORMS = (  # of normalised numbers h = (z - mean) / s
    "(d_{h} - d_{h}.mean(axis={axis}, keepdims=True) - {h} * (d_{h} * {h}).mean(axis={axis}, keepdims=True)) / {s}",
    "({n} * d_{h} - d_{h}.sum(axis={axis}, keepdims=True) - {h} * (d_{h} * {h}).sum(axis={axis}, keepdims=True))"
    " / ({n} * {s})",
)
LOSSES = {
    "softmax({z}) - {y}": "softmax",
    "softmax({z}) - one_hot({y}, {classes})": "softmax",
    "sigmoid({z}) - {y}": "sigmoid",
}


def paper_forms(line: Line, program: Program) -> Iterator[Term]:
    """The ways to write a line on paper that give its very numbers."""
    z, right = line.about, np.asarray(program.values[line.name])
    if z == line.name or right.size < 2 or not right.any() or any(term.op.endswith("xent") for term in line.terms):
        return
    written = {ast.unparse(term.tree) for term in line.terms}
    for op, text, above in _candidates(z, right.shape, program):
        array = program.tried(parsed(text), program.values)
        if text in written or array is None or array.shape != right.shape or not array.any():
            continue
        where = np.unravel_index(np.abs(array).argmax(), array.shape)
        divisor = 1.0 if above else float(array[where] / right[where])
        if np.isfinite(divisor) and np.allclose(array / divisor, right, 1e-4, 1e-4 * np.abs(right).max()):
            whole = text if np.isclose(divisor, 1, 1e-4) else f"({text}) / {round(divisor, 3):g}"
            inside = (z, above.removeprefix("d_")) if above else (z,)
            yield Term(parsed(whole), f"{line.name} = {whole}", above, op, inside, overlapping=True)


def _candidates(z: str, shape: tuple[int, ...], program: Program) -> Iterator[tuple[str, str, str | None]]:
    """(operation, text, what comes from above) of what may be the gradient at z."""
    results = {op: program.functions[op](program.values[z]) for op in FORMS}
    for name, array in list(program.values.items()):
        if np.shape(array) == shape and f"d_{name}" in program.right:
            yield from ((op, FORMS[op].format(h=name), f"d_{name}") for op in FORMS if np.allclose(array, results[op]))
            yield from _norms(z, name, shape, program)
        if np.shape(array) in (shape, shape[:1]) and name not in program.right:
            yield from ((op, text.format(z=z, y=name, classes=shape[-1]), None) for text, op in LOSSES.items())


def _norms(z: str, h: str, shape: tuple[int, ...], program: Program) -> Iterator[tuple[str, str, str | None]]:
    """The forms where h is z, brought to mean 0 over an axis and divided by its deviation."""
    x, normal = np.asarray(program.values[z]), np.asarray(program.values[h])
    for axis in range(len(shape)) if h != z else ():
        centred = x - x.mean(axis=axis, keepdims=True)
        kept = (*shape[:axis], 1, *shape[axis + 1 :])
        shapes = (kept, kept[1:]) if axis == 0 else (kept,)
        deviations = {s: array for s, array in program.values.items() if np.shape(array) in shapes}
        for s, array in deviations.items() if centred.any() else ():
            if s not in program.right and np.allclose(centred, normal * array):
                forms = (form.format(h=h, axis=axis, s=s, n=shape[axis]) for form in NORMS)
                yield from (("normalisation", form, f"d_{h}") for form in forms)
