"""Activations: operations from one tensor to another, number by number, whose slope is bounded and gets flat somewhere.

Nothing is known here of tanh or ReLU: operations and their rules are asked, so that 1 / (1 + exp(-x)), x * (x > 0) and
a primitive of the user's own are found as well as a sigmoid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.ancestry import edges
from tinygrad_ce.backward import recording
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.graph.layers import Layer
from tinygrad_ce.report.words import format_number

# An activation is flat where its slope is at most this share of its largest: |tanh| > 0.975, and a sigmoid within
# 0.013 of 0 or 1. A unit is dead where its slope is at most DEAD of the largest for every row: as good as nothing.
FLAT, DEAD = 0.05, 1e-6
_MOST_STEPS = 16  # longer chains of operations are not looked at: each is run for numbers between -20 and 20


class Activation(NamedTuple):
    """The operations that make a tensor from its source, the oldest first; their largest slope; where they are flat."""

    source: Tensor
    tensors: list[Tensor]
    largest: float
    flat_somewhere: bool
    flat_on_both_sides: bool

    def slopes(self) -> Array:
        """For each number of the source the size of the slope, as a share of the largest."""
        return _run(self.source, self.tensors, self.source.data)[1] / (self.largest or 1.0)


def find_activations(results: list[Tensor]) -> Iterator[Activation]:
    """The activations among the results of one call of a module; of those inside each other the widest.

    x * sigmoid(x) is one: where its sigmoid is flat, its own slope is 1. x + tanh(x) is none: its slope is 1 or more.
    """
    own, inside = {tensor.serial for tensor in results}, set[int]()
    for out in reversed(results):
        chains = [] if out.serial in inside or not out.size else [*_chains(out, own)]
        found = next(filter(None, (_activation(*chain) for chain in reversed(chains))), None)
        if found is not None:
            inside |= {tensor.serial for tensor in found.tensors}
            if found.flat_somewhere:
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
    """None for operations that are none of each number alone, or are steep without end: a softmax, a logarithm."""
    line = np.linspace(-20, 20, 401, dtype=source.dtype).reshape((1,) * (source.ndim - 1) + (-1,))
    try:
        (out, slopes), (of_half, _) = (_run(source, tensors, numbers) for numbers in (line, line[..., ::2]))
    except Exception:  # a primitive of the user's own may raise anything for a shape that it does not expect
        return None
    slopes = slopes.ravel()
    largest, ends, around_0 = float(slopes.max()), slopes[[0, -1]], slopes[[199, 201]]
    alone = out.shape == line.shape and np.allclose(out[..., ::2], of_half)
    if not alone or not np.isfinite(slopes).all() or largest > 1.5 * slopes[100:301].max():
        return None
    switched_off = around_0.min() == 0 < around_0.max()  # on one side of 0, as ReLU6: for half of the numbers, and well
    both = bool(ends.max() <= FLAT * largest > 0 and not switched_off)
    return Activation(source, tensors, largest, bool(ends.min() <= FLAT * largest), both)


def _run(source: Tensor, tensors: list[Tensor], numbers: Array) -> tuple[Array, Array]:
    """What the operations make of these numbers in place of their source's, and the size of the slopes there."""
    start = out = Tensor(numbers, requires_grad=True)
    values: dict[int, Any] = {source.serial: start}
    with recording(True), np.errstate(all="ignore"):
        for tensor in tensors:
            inputs = [
                values[x.serial] if isinstance(x, Tensor) and x.serial in values else _continued(array, source, numbers)
                for x, array in zip(tensor.inputs, tensor.arrays, strict=True)
            ]
            assert tensor.op is not None
            out = values[tensor.serial] = tensor.op(*inputs, **tensor.params)
        (slopes,) = gradients(out, [start], gradient=np.ones_like(out.data))
    return out.data, np.abs(slopes)


def _continued(constant: Any, source: Tensor, numbers: Array) -> Any:
    """A constant for other numbers than the source's: a single number stays, a mask compares with its threshold.

    (x > 0) has no history, but two values, which lie on two sides of a threshold in x. Where it has one, for numbers
    on one side of 0, that threshold is taken to be 0, as in where(x > 0, x, exp(x) - 1) of negative numbers.
    """
    if numbers is source.data:
        return constant
    constant = np.asarray(constant)
    if constant.shape == source.shape:
        order = np.argsort(source.data, axis=None)
        ordered, values = source.data.ravel()[order], constant.ravel()[order]
        (changes,) = np.nonzero(values[1:] != values[:-1])
        if len(changes) == 1 and ordered[changes[0]] < ordered[changes[0] + 1]:
            return np.where(numbers > ordered[changes[0]], values[-1], values[0])
        if not len(changes) and constant.dtype == bool and ordered[0] * ordered[-1] > 0:
            return np.where(numbers * ordered[0] > 0, values[0], ~values[0])
    if (constant == constant.flat[0]).all():
        return constant.flat[0]
    raise ValueError("no function of each number: dropout, data, or one number for each column")


def activity(layer: Layer) -> dict[str, Any]:
    """How flat the activations in all calls of a layer are, as figures of a `Row`; none without an activation.

    A unit that is alive in one call is not dead; of several activations, the fewest rows count.
    """
    alive: dict[Any, list[Array]] = {}  # of each activation, for each call: (rows, units)
    saturated, inputs = list[Array](), [np.empty(0)]
    for results in layer.calls.values():
        for place, found in enumerate(find_activations(results)):
            slopes, shape = found.slopes(), found.source.shape
            units = shape[-1] if len(shape) > 1 else 1  # numbers in one axis or none are the rows of one unit
            alive.setdefault((place, units), []).append((slopes > DEAD).reshape(-1, units))
            inputs.append(found.source.data[slopes <= FLAT])
            saturated += [(slopes <= FLAT).ravel()] if found.flat_on_both_sides else []
    if not alive:
        return {}
    by_row, flat = [np.concatenate(calls) for calls in alive.values()], np.concatenate(inputs)
    return {
        "saturated": 100 * float(np.concatenate(saturated).mean()) if saturated else None,
        "dead": 100 * float(1 - np.concatenate([rows.any(axis=0) for rows in by_row]).mean()),
        "rows": min(map(len, by_row)),
        "flat_inputs": _in_words(flat) if flat.size else "",
    }


def _in_words(inputs: Array) -> str:
    """Where the inputs of an activation lie."""
    low, high = format_number(inputs.min(), 3), format_number(inputs.max(), 3)
    return f"are all negative there ({low} to {high})" if inputs.max() < 0 else f"lie between {low} and {high}"
