"""Activations: operations from one tensor to another, number by number, whose slope is bounded and gets flat somewhere.

Nothing is known here of tanh or ReLU: operations and their rules are asked, so that 1 / (1 + exp(-x)), x * (x > 0) and
a primitive of the user's own are found as well as a sigmoid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.ancestry import edges
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.layers import Layer
from tinygrad_ce.views.audit.thresholds import DEAD, FLAT

_MOST_STEPS = 16  # of an activation: longer chains of operations are not looked at


class Step(NamedTuple):
    """An operation that was run: the tensor that it made in the graph, and what went in and came out this time."""

    tensor: Tensor
    inputs: list[Any]
    out: Array


@dataclass(frozen=True)
class Curve:
    """The largest slope of an activation between -20 and 20, and whether it is flat on both sides."""

    largest: float
    flat_on_both_sides: bool


@dataclass(frozen=True)
class Activation:
    """The operations that make a tensor from its source, the oldest first, and their curve."""

    source: Tensor
    tensors: list[Tensor]
    curve: Curve

    def slopes(self) -> Array:
        """The size of the slope for each number of the source."""
        return _slopes(self.source, [Step(tensor, list(tensor.arrays), tensor.data) for tensor in self.tensors])


def find_activations(results: list[Tensor]) -> Iterator[Activation]:
    """The activations among the results of one call of a module; of those inside each other the widest.

    x * sigmoid(x) is one: where its sigmoid is flat, its own slope is 1.
    """
    own, inside = {tensor.serial for tensor in results}, set()
    for out in reversed(results):
        chains = [] if out.serial in inside or not out.size else [*_chains(out, own)]
        for source, tensors in reversed(chains):
            curve = _curve_of(source, tensors)
            if curve is not None:
                inside |= {tensor.serial for tensor in tensors}
                yield Activation(source, tensors, curve)
                break


def _chains(out: Tensor, own: set[int]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Each tensor of the same shape that `out` depends on through nothing else, and the operations from it to `out`."""
    waiting, tensors = {out.serial: out}, []
    while len(tensors) < _MOST_STEPS:
        tensor = waiting.pop(max(waiting))  # the youngest: all that it went into has been passed
        inputs = [x for x, _ in edges(tensor)]
        if tensor.serial not in own or any(x.shape != out.shape for x in inputs):
            return
        tensors.insert(0, tensor)
        waiting |= {x.serial: x for x in inputs}
        if len(waiting) == 1:
            yield next(iter(waiting.values())), [*tensors]


def _curve_of(source: Tensor, tensors: list[Tensor]) -> Curve | None:
    """The curve of these operations; None if they are none of each number, or are steep without end, or never flat."""
    line = np.linspace(-20, 20, 401, dtype=source.dtype).reshape((1,) * (source.ndim - 1) + (-1,))
    try:
        with np.errstate(all="ignore"):
            steps, of_half = _run(source, tensors, line), _run(source, tensors, line[..., ::2])
        out = steps[-1].out
        if out.shape != line.shape or not np.allclose(out[..., ::2], of_half[-1].out):
            return None  # each number depends on others: a softmax
        slopes = _slopes(source, steps).ravel()
    except Exception:  # a primitive of the user's own may raise anything for a shape that it does not expect
        return None
    largest = float(slopes.max())
    if not np.isfinite(slopes).all() or largest > 1.5 * slopes[100:301].max():
        return None  # not for all numbers, or steeper without end: a logarithm, a square
    flat = slopes[[0, -1]] <= FLAT * largest
    return Curve(largest, bool(flat.all()) and largest > 0) if flat.any() else None


def _run(source: Tensor, tensors: list[Tensor], x: Array) -> list[Step]:
    """The operations for other numbers of their source. ValueError where a constant is not known for those."""
    values, steps = {source.serial: x}, []
    for tensor in tensors:
        assert tensor.op is not None
        inputs = [
            values[value.serial] if isinstance(value, Tensor) and value.serial in values else _at(array, source.data, x)
            for value, array in zip(tensor.inputs, tensor.arrays, strict=True)
        ]
        values[tensor.serial] = np.asarray(tensor.op.run(*inputs, **tensor.params))
        steps.append(Step(tensor, inputs, values[tensor.serial]))
    return steps


def _at(constant: Any, source: Array, x: Array) -> Any:
    """A constant for other numbers than the source's: a single number stays, and a mask compares with its threshold.

    (x > 0) has no history; it is known by its two values, which lie on two sides of a threshold in the source.
    """
    if np.ndim(constant) == 0:
        return constant
    if constant.shape != source.shape:
        raise ValueError("one number for each column is no function of each number")
    low, high = constant.min(), constant.max()
    if low == high:
        return np.full(x.shape, low)
    above, below = source[constant == high], source[constant == low]
    if above.size + below.size < source.size or not (above.min() > below.max() or above.max() < below.min()):
        raise ValueError("no mask of a threshold: dropout, or data")
    if above.min() > below.max():
        return np.where(x > below.max(), high, low)
    return np.where(x < below.min(), high, low)


def _slopes(source: Tensor, steps: list[Step]) -> Array:
    """One gradient of ones, from the last operation back to the source, by the engine's own rules."""
    arrived: dict[int, Any] = {steps[-1].tensor.serial: np.ones_like(steps[-1].out)}
    with np.errstate(all="ignore"):
        for tensor, inputs, out in reversed(steps):
            g = arrived.pop(tensor.serial)
            for x, position in edges(tensor):
                assert tensor.op is not None
                share = tensor.op.rule(position)(g, out, *inputs, **tensor.params)
                arrived[x.serial] = arrived.get(x.serial, 0) + share
    return np.abs(np.asarray(arrived[source.serial]))


@dataclass
class Activity:
    """What the activations of a layer let through; None where it has none.

    saturated: percent of the numbers of curves that are flat on both sides, where the slope is at most FLAT of the
    largest. dead: percent of the units (the last axis) whose slope is at most DEAD of the largest for every row. rows:
    the fewest that an activation has. inputs: the smallest and largest of those numbers, of dead units if there are any.
    """

    saturated: float | None = None
    dead: float | None = None
    rows: int = 0
    inputs: tuple[float, float] | None = None


def activity(layer: Layer) -> Activity:
    """Of all the activations in a layer, in all its calls: a unit that is alive in one call is not dead."""
    units: dict[Any, list[tuple[Array, Array]]] = {}  # by activation, for each call: what is alive, and the inputs
    flat: list[Array] = []
    ends: list[Array] = []
    for results in layer.calls.values():
        places = {tensor.serial: place for place, tensor in enumerate(results)}
        for found in find_activations(results):
            slopes, last = found.slopes(), found.tensors[-1]
            alive = _by_unit(slopes > DEAD * found.curve.largest), _by_unit(found.source.data)
            units.setdefault((places[last.serial], last.op, last.shape[-1:]), []).append(alive)
            if found.curve.flat_on_both_sides:
                flat.append((slopes <= FLAT * found.curve.largest).ravel())
                ends.append(found.source.data.ravel()[flat[-1]])
    if not units:
        return Activity()
    by_row = [[np.concatenate(part) for part in zip(*calls, strict=True)] for calls in units.values()]
    dead = [~alive.any(axis=0) for alive, _ in by_row]
    of_dead = [inputs[:, of].ravel() for (_, inputs), of in zip(by_row, dead, strict=True)]
    numbers = np.concatenate(of_dead if any(of.any() for of in dead) else ends or of_dead)
    return Activity(
        100 * float(np.concatenate(flat).mean()) if flat else None,
        100 * float(np.concatenate(dead).mean()),
        min(len(alive) for alive, _ in by_row),
        (float(numbers.min()), float(numbers.max())) if numbers.size else None,
    )


def _by_unit(array: Array) -> Array:
    """(rows, units): the units are the last axis; numbers in one axis or none are the rows of one unit."""
    return array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
