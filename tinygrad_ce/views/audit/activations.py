"""Activations: operations from one tensor to another, number by number, whose slope is bounded and gets flat somewhere.

Nothing is known here of tanh or ReLU: operations and their rules are asked, so that 1 / (1 + exp(-x)), x * (x > 0) and
a primitive of the user's own are found as well as a sigmoid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tinygrad_ce.ancestry import edges
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.layers import Layer

# An activation is flat where its slope is at most this share of its largest: |tanh| > 0.975, and a sigmoid within
# 0.013 of 0 or 1. A unit is dead where its slope is at most DEAD of the largest for every row: as good as nothing.
FLAT, DEAD = 0.05, 1e-6
_MOST_STEPS = 16  # longer chains of operations are not looked at: each is run for numbers between -20 and 20

Step: TypeAlias = tuple[Tensor, Any, Array]  # an operation, by its result in the graph; what went in, what came out


class Activation(NamedTuple):
    """The operations that make a tensor from its source, the oldest first; their largest slope; where they are flat."""

    source: Tensor
    tensors: list[Tensor]
    largest: float
    flat_on_both_sides: bool

    def slopes(self) -> Array:
        """For each number of the source the size of the slope, as a share of the largest."""
        return _slopes(self.source, [(x, x.arrays, x.data) for x in self.tensors]) / (self.largest or 1.0)


def find_activations(results: list[Tensor]) -> Iterator[Activation]:
    """The activations among the results of one call of a module; of those inside each other the widest.

    x * sigmoid(x) is one: where its sigmoid is flat, its own slope is 1.
    """
    own, inside = {tensor.serial for tensor in results}, set()
    for out in reversed(results):
        chains = [] if out.serial in inside or not out.size else [*_chains(out, own)]
        found = next(filter(None, (_activation(*chain) for chain in reversed(chains))), None)
        if found is not None:
            inside |= {tensor.serial for tensor in found.tensors}
            yield found


def _chains(out: Tensor, own: set[int]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Each tensor of the same shape that `out` depends on through nothing else, and the operations from it to `out`."""
    waiting, tensors = {out.serial: out}, list[Tensor]()
    while len(tensors) < _MOST_STEPS:
        tensor = waiting.pop(max(waiting))  # the youngest: all that it went into has been passed
        inputs = [x for x, _ in edges(tensor)]
        if tensor.serial not in own or any(x.shape != out.shape for x in inputs):
            return
        tensors.insert(0, tensor)
        waiting |= {x.serial: x for x in inputs}
        if len(waiting) == 1:
            yield next(iter(waiting.values())), [*tensors]


def _activation(source: Tensor, tensors: list[Tensor]) -> Activation | None:
    """None for operations that are none of each number alone, or are steep without end, or never flat."""
    line = np.linspace(-20, 20, 401, dtype=source.dtype).reshape((1,) * (source.ndim - 1) + (-1,))
    try:
        with np.errstate(all="ignore"):
            steps, of_half = _run(source, tensors, line), _run(source, tensors, line[..., ::2])
        out = steps[-1][2]
        if out.shape != line.shape or not np.allclose(out[..., ::2], of_half[-1][2]):
            return None  # each number depends on others: a softmax
        slopes = _slopes(source, steps).ravel()
    except Exception:  # a primitive of the user's own may raise anything for a shape that it does not expect
        return None
    largest, ends = float(slopes.max()), slopes[[0, -1]]
    if not np.isfinite(slopes).all() or largest > 1.5 * slopes[100:301].max() or ends.min() > FLAT * largest:
        return None  # not for all numbers, or steeper without end, or never flat: a logarithm, a square, a sum
    around_0 = slopes[[199, 201]]
    switched_off = around_0.min() == 0 < around_0.max()  # on one side of 0, as ReLU6: for half of the numbers, and well
    both = bool(largest > 0 and ends.max() <= FLAT * largest and not switched_off)
    return Activation(source, tensors, largest, both)


def _run(source: Tensor, tensors: list[Tensor], line: Array) -> list[Step]:
    """The operations for other numbers of their source. ValueError where a constant is not known for those."""
    values: dict[int | None, Any] = {source.serial: line}
    steps = list[Step]()
    for tensor in tensors:
        serials = [x.serial if isinstance(x, Tensor) else None for x in tensor.inputs]
        inputs = [
            values[serial] if serial in values else _continued(array, source.data, line)
            for serial, array in zip(serials, tensor.arrays, strict=True)
        ]
        assert tensor.op is not None
        values[tensor.serial] = out = np.asarray(tensor.op.run(*inputs, **tensor.params))
        steps.append((tensor, inputs, out))
    return steps


def _continued(constant: Any, source: Array, line: Array) -> Any:
    """A constant for other numbers than the source's: a single number stays, a mask compares with its threshold.

    (x > 0) has no history, but two values, which lie on two sides of a threshold in x; where it has
    one for all of x, on one side of 0, the threshold is taken to be 0.
    """
    if np.ndim(constant) == 0:
        return constant
    low, high = constant.min(), constant.max()
    one_sided = (source > 0).all() or (source < 0).all()
    if low == high and constant.dtype == bool and constant.shape == source.shape and one_sided:
        return (np.sign(line) == np.sign(source.flat[0])) == low  # where(z > 0, z, exp(z) - 1) of negative numbers
    if low == high:
        return np.full(line.shape, low)
    if constant.shape == source.shape and ((constant == low) | (constant == high)).all():
        above, below = source[constant == high], source[constant == low]
        if below.max() < above.min():
            return np.where(line > below.max(), high, low)
        if above.max() < below.min():
            return np.where(line < below.min(), high, low)
    raise ValueError("no function of each number: dropout, data, or one number for each column")


def _slopes(source: Tensor, steps: list[Step]) -> Array:
    """The size of the slopes: a gradient of ones, from the last operation back to the source, by the engine's rules."""
    arrived: dict[int, Any] = {steps[-1][0].serial: np.ones_like(steps[-1][2])}
    with np.errstate(all="ignore"):
        for tensor, inputs, out in reversed(steps):
            g = arrived.pop(tensor.serial)
            for x, position in edges(tensor):
                assert tensor.op is not None
                share = tensor.op.rule(position)(g, out, *inputs, **tensor.params)
                arrived[x.serial] = arrived.get(x.serial, 0) + share
    slopes: Array = np.abs(arrived[source.serial])
    return slopes


Activity: TypeAlias = tuple[float | None, float | None, int, tuple[float, float] | None]


def activity(layer: Layer) -> Activity:
    """A row's percent saturated, percent dead, rows and flat inputs, of the activations in all calls of a layer.

    A unit that is alive in one call is not dead; of several activations, the fewest rows count.
    """
    alive: dict[Any, list[Array]] = {}  # by activation, for each call: (rows, units)
    saturated, inputs = list[Array](), [np.empty(0)]
    for results in layer.calls.values():
        for place, found in enumerate(find_activations(results)):
            slopes, shape = found.slopes(), found.source.shape
            units = shape[-1] if len(shape) > 1 else 1  # numbers in one axis or none are the rows of one unit
            key = place, found.tensors[-1].op, shape[-1:]
            alive.setdefault(key, []).append((slopes > DEAD).reshape(-1, units))
            inputs.append(found.source.data[slopes <= FLAT])
            saturated += [(slopes <= FLAT).ravel()] if found.flat_on_both_sides else []
    if not alive:
        return None, None, 0, None
    by_row, flat = [np.concatenate(calls) for calls in alive.values()], np.concatenate(inputs)
    return (
        100 * float(np.concatenate(saturated).mean()) if saturated else None,
        100 * float(1 - np.concatenate([rows.any(axis=0) for rows in by_row]).mean()),
        min(map(len, by_row)),
        (float(flat.min()), float(flat.max())) if flat.size else None,
    )
