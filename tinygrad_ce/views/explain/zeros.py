"""What a share says besides its number: why it is exactly zero, saturated, divided by a count, or looked up by rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygrad_ce.graph.nodes import Edge
from tinygrad_ce.graph.rules import divided_by, is_mean
from tinygrad_ce.report.words import cut, format_number, listed

LONGEST_NAME = 40
STEEPEST = {"tanh": 1.0, "sigmoid": 0.25}
SATURATED = 0.05  # of the steepest slope
FLAT = {
    "relu": "relu is off: its input is not positive",
    "where": "`where` took its other value",
    "clip": "clip holds it at a bound",
    "maximum": "the other number is larger",
    "minimum": "the other number is smaller",
    "reduce_max": "another number is the largest",
    "reduce_min": "another number is the smallest",
}


def remarks(use: Edge, cell: tuple[int, ...]) -> Iterator[str]:
    """What is to be said of the share of a use at a cell, a sentence each; mostly nothing."""
    assert use.target.op is not None
    assert use.share is not None
    name, result, count = use.target.op.name, cut(use.target.name, LONGEST_NAME), divided_by(use)
    if name in ("getitem", "pick") and cell:
        yield from _looked_up(use, cell)
    elif use.share[cell] == 0:
        yield _why_zero(use, cell, name, result)
    if name in STEEPEST and use.local is not None and abs(use.local[cell]) < SATURATED * STEEPEST[name]:
        slope = format_number(use.local[cell])
        yield f"{name} is saturated: its slope is at most {STEEPEST[name]:g}, and {slope} here."
    if name == "reduce_max" and _is_only_subtracted(use):
        yield "The maximum is only subtracted: it changes no result, and nothing but rounding comes back by it."
    if count is not None and count != 1 and _is_mean(use, count):
        yield f"It is divided by {count:,g}, because {result} is a mean over so many."


def _looked_up(use: Edge, cell: tuple[int, ...]) -> Iterator[str]:
    """Which rows of the result an indexing took the cell for: positions are indexed instead of values."""
    tensor, name = use.target.tensor, cut(use.source.name, LONGEST_NAME)
    assert tensor is not None
    assert tensor.op is not None
    positions = np.arange(use.source.value.size).reshape(use.source.shape)
    taken = np.asarray(tensor.op.run(positions, *tensor.arrays[1:], **tensor.params))
    places = np.argwhere(taken == positions[cell])
    if not len(places):
        yield f"Exactly 0: the index does not choose {name}{list(cell)}."
    elif len(tensor.arrays) > 1 and taken.ndim:
        first = tuple(places[0][: taken.ndim - len(cell) + 1])
        by_row = taken.ndim >= len(cell) and np.array_equal(taken[first], positions[cell[0]])
        index = cell[:1] if by_row else cell
        rows = [str(n) for n in dict.fromkeys(places[:, 0].tolist())]
        where = (
            f"row {rows[0]}" if len(rows) == 1 else "rows " + (" and ".join(rows) if len(rows) == 2 else listed(rows))
        )
        yield f"{name}{list(index)} was used by {where}: what comes back from there is added up."


def _why_zero(use: Edge, cell: tuple[int, ...], name: str, result: str) -> str:
    upstream, share = use.target.gradient, use.share
    assert upstream is not None
    assert share is not None
    if not upstream.any():
        return f"Exactly 0: the gradient of {result} is 0 everywhere."
    if use.local is None:
        # Products that cancel each other do so no more when each of them has another weight.
        weights = np.geomspace(1, 2, upstream.size, dtype=upstream.dtype).reshape(upstream.shape)
        if use.pulled(upstream * weights)[cell] != 0:
            return "Exactly 0: what comes back from several numbers cancels."
        return f"Exactly 0: {FLAT.get(name, 'each product in the rule is 0')}."
    if use.local[cell] == 0:
        return f"Exactly 0: {FLAT.get(name, f'the local slope of {name} is 0 there')}."
    if np.broadcast_to(upstream, share.shape)[cell] == 0:
        return f"Exactly 0: nothing comes back to this number of {result}."
    return f"The product is smaller than any number of {share.dtype}: it is rounded to 0."


def _is_only_subtracted(use: Edge) -> bool:
    """Whether a maximum is subtracted from the numbers themselves, so that what comes back by it is rounding."""
    for other in use.target.backward_uses:
        numbers = other.target.inputs[0]
        subtracts = other.target.op is not None and other.target.op.name == "sub" and other.position == 1
        if subtracts and numbers.source is use.source and numbers.share is not None and use.share is not None:
            return bool(np.abs(use.share).max(initial=0) <= 1e-6 * np.abs(numbers.share).max(initial=0))
    return False


def _is_mean(use: Edge, count: float) -> bool:
    """Whether a result is a mean over so many numbers; a sum may be divided by another number than theirs."""
    if use.target.op is not None and use.target.op.name == "div" and use.source.inputs:
        return bool(np.isclose(count, use.source.inputs[0].source.value.size / max(use.source.value.size, 1)))
    return is_mean(use, count)
