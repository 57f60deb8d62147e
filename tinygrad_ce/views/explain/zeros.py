"""What a share says besides its number: why it is exactly zero, saturated, divided by a count, or looked up by rows."""

from __future__ import annotations

import numpy as np

from tinygrad_ce.graph.nodes import Edge
from tinygrad_ce.graph.rules import divided_by, is_mean
from tinygrad_ce.report.words import cut, format_number, listed

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


def remarks(use: Edge, cell: tuple[int, ...]) -> list[str]:
    """What is to be said of the share of a use at a cell, a sentence each; mostly nothing."""
    found = [_looked_up(use, cell), _zero(use, cell), _saturated(use, cell), _maximum(use), _mean(use)]
    return [text for text in found if text]


def _name(use: Edge) -> str:
    return "" if use.target.op is None else use.target.op.name


def _looked_up(use: Edge, cell: tuple[int, ...]) -> str:
    """Which rows of the result an indexing took the cell for: positions are indexed instead of values."""
    tensor, value = use.target.tensor, use.source.value
    if _name(use) not in ("getitem", "pick") or not cell or tensor is None or tensor.op is None:
        return ""
    positions = np.arange(value.size).reshape(value.shape)
    taken = np.asarray(tensor.op.run(positions, *tensor.arrays[1:], **tensor.params))
    places = np.argwhere(taken == positions[cell])
    row = f"{cut(use.source.name, 40)}[{cell[0]}]"
    if not len(places):
        return f"Exactly 0: the index does not choose {cut(use.source.name, 40)}{list(cell)}."
    if len(tensor.arrays) < 2 or not taken.ndim:
        return ""
    rows = [str(n) for n in dict.fromkeys(places[:, 0].tolist())]
    several = "row " + rows[0] if len(rows) == 1 else "rows " + (" and ".join(rows) if len(rows) == 2 else listed(rows))
    return f"{row} was used by {several}: what comes back from there is added up."


def _zero(use: Edge, cell: tuple[int, ...]) -> str:
    upstream = use.target.gradient
    if use.share is None or upstream is None or use.share[cell] != 0 or _name(use) in ("getitem", "pick"):
        return ""
    if not upstream.any():
        return f"Exactly 0: the gradient of {cut(use.target.name, 40)} is 0 everywhere."
    if use.local is None:
        return f"Exactly 0: {FLAT.get(_name(use), 'each product in the rule is 0')}."
    if use.local[cell] == 0:
        return f"Exactly 0: {FLAT.get(_name(use), f'the local slope of {_name(use)} is 0 there')}."
    if np.broadcast_to(upstream, use.share.shape)[cell] == 0:
        return f"Exactly 0: nothing comes back to this number of {cut(use.target.name, 40)}."
    return f"The product is smaller than any number of {use.share.dtype}: it is rounded to 0."


def _saturated(use: Edge, cell: tuple[int, ...]) -> str:
    name = _name(use)
    if name not in STEEPEST or use.local is None or not abs(use.local[cell]) < SATURATED * STEEPEST[name]:
        return ""
    return f"{name} is saturated: its slope is at most {STEEPEST[name]:g}, and {format_number(use.local[cell])} here."


def _maximum(use: Edge) -> str:
    """A maximum that is subtracted from the numbers themselves: what comes back by it is only rounding."""
    if _name(use) != "reduce_max" or use.share is None:
        return ""
    for other in use.target.backward_uses:
        others = [edge for edge in other.target.inputs if edge.position == 0 and edge.share is not None]
        if _name(other) == "sub" and other.position == 1 and any(edge.source is use.source for edge in others):
            largest = max((np.abs(edge.share).max(initial=0) for edge in others if edge.share is not None), default=0)
            if np.abs(use.share).max(initial=0) <= 1e-6 * largest:
                return (
                    "The maximum is only subtracted: it changes no result, and nothing but rounding comes back by it."
                )
    return ""


def _mean(use: Edge) -> str:
    count = divided_by(use)
    if count is None or count == 1 or not is_mean(use, count):
        return ""
    return f"It is divided by {count:,g}, because {cut(use.target.name, 40)} is a mean over so many."
