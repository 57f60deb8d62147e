"""Help with the classic mistakes: softmax applied twice, probabilities where logits belong, a softmax of one class.

They are found by walking the graph back from the loss, through whatever only moves numbers about, or by looking at the
numbers; the warning names the lines of the user's code, what the mistake costs, and what to write instead.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.losses.arguments import sum_tolerance
from tinygrad_ce.losses.logits import MOVING as MOVING_AND_RESHAPING
from tinygrad_ce.source_lines import ALWAYS_TRACKED, line_of, users_line, warn

MOVING = MOVING_AND_RESHAPING | {ops.identity, ops.astype}  # these change no number
SQUASHING = {ops.softmax, ops.sigmoid}
MOVING_OR_SQUASHING = MOVING | SQUASHING
ALWAYS_TRACKED.update(SQUASHING)


def squashed(x: Any) -> Tensor | None:
    """The softmax or sigmoid that all numbers of x come from, through any change of shape; None if there is none."""
    waiting, found = [x], None
    while waiting:
        x = waiting.pop()
        if not isinstance(x, Tensor):
            return None
        if x.op in SQUASHING:
            found = x
        elif x.op in MOVING:
            sources = [value for value in x.inputs if isinstance(value, Tensor)]
            if not sources:
                return None
            waiting.extend(sources if x.op in (ops.concatenate, ops.stack) else sources[:1])
        else:
            return None
    return found


def warn_of_squashed(logits: Any, name: str, other: str, axis: int | None) -> None:
    """Warn if the "logits" are probabilities already, or if there is one class only. axis: of the classes, if any."""
    if axis is not None and logits.data.shape[axis] == 1:
        warn_of_one_class(logits, name, axis)
    from_another = logits.op in MOVING_OR_SQUASHING
    if not from_another and not (logits.data.size and 0 <= logits.data.item(0) <= 1):
        return  # most logits are seen to be logits at the first number
    maker = squashed(logits) if from_another else None
    classes = None if axis is None else logits.shape[axis]
    if maker is None:
        if axis is not None and logits.size > 2 * logits.shape[axis] and _are_distributions(logits.data, axis):
            warn(
                f"{name} applies a softmax itself, and these logits look like its output already: in every row they "
                f"are not negative and sum to 1. {_best(classes)}. Write {other}(probabilities, targets), or pass what "
                "the probabilities were computed from"
            )
        return
    assert maker.op is not None
    ours, theirs = "sigmoid" if axis is None else "softmax", maker.op.name
    what = f"{ours} is applied twice" if theirs == ours else f"{ours} is applied to the output of a {theirs}"
    source = maker.inputs[0].name if isinstance(maker.inputs[0], Tensor) else None
    instead = f"pass {source or 'what it was applied to'} to {name}, without the {theirs}"
    if theirs == ours and (axis is None or _are_distributions(logits.data, axis)):
        instead = f"write {other}(..., targets), which takes probabilities, or {instead}"
    here = users_line()
    # A step that is traced keeps no lines.
    first = "before" if maker.note is None else f"at {(line_of(maker.note) or here).short}"
    # The text is the same in every step of a loop, so that Python shows it once.
    warn(f"{what}: {first}, and again by {name} at {here.short}. {_best(classes)}. {instead[0].upper()}{instead[1:]}")


def _best(classes: int | None) -> str:
    """What a model can reach whose logits lie between 0 and 1."""
    if classes is None:
        best, worst = 1 / (1 + math.exp(-1)), 0.5
        return (
            f"Between 0 and 1, logits give probabilities from {worst:.3f} to {best:.3f} only: no loss below "
            f"{-math.log(best):.3f} for a positive, and {-math.log(worst):.3f} for a negative"
        )
    best = math.e / (math.e + classes - 1)  # exp(1) against exp(0) for each other class
    return (
        f"With logits between 0 and 1, the best probability that can be reached is {best:.3f}, and the loss stays "
        f"above {-math.log(best):.3f}"
    )


def warn_of_one_class(values: Any, name: str, axis: int) -> None:
    """Warn if the classes' axis has length 1: a softmax of one number is 1, whatever the number."""
    if values.shape[axis] == 1:
        warn(
            f"{name}: shape {values.shape} has one class along axis {axis}, and the softmax of one number is always 1: "
            "the loss is 0 and nothing will be learned. For two classes with one output write "
            "sigmoid_binary_cross_entropy(logits, targets) with targets of the same shape, or give the last layer two"
        )


def _are_distributions(z: Any, axis: int) -> bool:
    """Whether all rows are not negative and sum to 1. Real logits fail at the first number or two, without NumPy."""
    if z.size == 0 or not 0 <= z.item(0) <= 1 or z.shape[axis] == 1:
        return False
    first = z[0] if z.ndim == 2 and axis in (-1, 1) else np.moveaxis(z, axis, -1).reshape(-1, z.shape[axis])[0]
    for value in first[:8].tolist():
        if not 0 <= value <= 1:
            return False
    close = sum_tolerance(z.dtype)
    return abs(float(first.sum()) - 1) < close and bool((z >= 0).all() and (abs(z.sum(axis=axis) - 1) < close).all())
