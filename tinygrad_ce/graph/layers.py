"""The layers of a model as they stand in a recorded graph: their results, and how much of those is flat or dead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import edges
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.nn.module import Module, items_of
from tinygrad_ce.source_lines import calls_around

# An activation is flat where its slope is at most this share of its largest: |tanh| > 0.975, and a sigmoid within
# 0.013 of 0 or 1. Source for saturation as an illness: X. Glorot, Y. Bengio, "Understanding the difficulty of training
# deep feedforward neural networks", 2010, section 3.
FLAT = 0.05
# A unit is dead where its slope is at most this share of the largest for every row: as good as nothing.
DEAD = 1e-6


@dataclass(eq=False)
class Layer:
    """A module with its own parameters and operations, without those of modules inside it.

    paths: where it stands in the model, which may be in several places. calls: by the id of a call, its results, the
    oldest first. outputs: the results that leave the module; where none does, those that modules inside it work on, and
    has_output is False.
    """

    paths: list[str]
    module: Module
    parameters: list[tuple[str, Tensor]]
    calls: dict[int, list[Tensor]] = field(default_factory=dict)
    outputs: list[Tensor] = field(default_factory=list)
    has_output: bool = True

    @property
    def results(self) -> list[Tensor]:
        """The results of its operations, in all calls."""
        return [tensor for results in self.calls.values() for tensor in results]

    @property
    def youngest(self) -> int:
        """The serial of its youngest result: layers that compute later have a larger one."""
        return max((tensor.serial for tensor in self.results), default=0)


def layers_of(model: Module, graph: dict[int, Tensor], loss: Tensor) -> list[Layer]:
    """The layers in the order of the model: modules with parameters or operations of their own, or with none inside."""
    layers: dict[int, Layer] = {}  # by the id of the module
    for path, module in _places(model, ""):
        own = [(name, x) for name, x in _contents(module, "") if isinstance(x, Tensor) and x.requires_grad]
        layers.setdefault(id(module), Layer([], module, own)).paths.append(path)
    makers: dict[int, tuple[Layer, int]] = {}  # by the serial of a tensor: the layer, and the id of its call
    for serial in sorted(graph):
        tensor = graph[serial]
        call = next((call for call in reversed(calls_around(tensor.note)) if id(call[0]) in layers), None)
        if call is not None and tensor.op is not None:
            layer = layers[id(call[0])]
            layer.calls.setdefault(id(call), []).append(tensor)
            makers[serial] = layer, id(call)
    used_outside, leaving = {loss.serial}, {loss.serial}
    for serial, tensor in graph.items():
        around = {id(call) for call in calls_around(tensor.note)}
        for x, _ in edges(tensor):
            if makers.get(x.serial) != makers.get(serial):
                used_outside.add(x.serial)
            if x.serial in makers and makers[x.serial][1] not in around:
                leaving.add(x.serial)
    for layer in layers.values():
        for_others = [tensor for tensor in layer.results if tensor.serial in used_outside]
        outputs = [tensor for tensor in for_others if tensor.serial in leaving]
        layer.outputs, layer.has_output = outputs or for_others, bool(outputs) or not for_others
    return [layer for layer in layers.values() if layer.calls or layer.parameters or not holds_others(layer.module)]


def _places(module: Module, path: str, around: tuple[Module, ...] = ()) -> Iterator[tuple[str, Module]]:
    """Every module with its path, one that stands in several places several times; but none inside itself."""
    yield path, module
    for inner_path, inner in _contents(module, path):
        if isinstance(inner, Module) and not any(inner is outer for outer in (*around, module)):
            yield from _places(inner, inner_path, (*around, module))


def _contents(value: Any, path: str) -> Iterator[tuple[str, Module | Tensor]]:
    """The modules and tensors that a module or container holds, with their paths; not what modules inside it hold."""
    for name, inner in items_of(value) or ():
        inner_path = f"{path}.{name}" if path else str(name)
        if isinstance(inner, (Module, Tensor)):
            yield inner_path, inner
        else:
            yield from _contents(inner, inner_path)


def holds_others(module: Module) -> bool:
    """Whether there are modules inside."""
    return any(inner is not module for inner in module.modules())


# ---- activations


@dataclass
class Curve:
    """An activation: its largest slope, and whether it is flat on both sides."""

    largest: float
    flat_on_both_sides: bool


def activity(layer: Layer) -> tuple[float | None, float | None, int]:
    """Percent of numbers that are saturated, of units that are dead, of all the activations in a layer; and the rows.

    Of several activations, the fewest rows count.
    """
    units: dict[Any, list[Array]] = {}  # by activation, for each call: whether a unit is alive for each row
    flat = numbers = 0
    for results in layer.calls.values():
        for position, tensor in enumerate(results):
            curve = curve_of(tensor)
            if curve is None or not tensor.size:
                continue
            slopes = np.abs(_slopes(tensor, edges(tensor)[0][0].data, tensor.data))
            units.setdefault((position, tensor.op, tensor.shape[-1:]), []).append(slopes > DEAD * curve.largest)
            if curve.flat_on_both_sides:
                flat += int((slopes <= FLAT * curve.largest).sum())
                numbers += slopes.size
    by_row = [np.concatenate([*map(_by_unit, calls)]) for calls in units.values()]
    alive = [rows.any(axis=0) for rows in by_row]
    dead = 100 * float(1 - np.concatenate(alive).mean()) if alive else None
    return (100 * flat / numbers if numbers else None), dead, min(map(len, by_row), default=0)


def _by_unit(array: Array) -> Array:
    """(rows, units): the units are the last axis; numbers in one axis or none are the rows of one unit."""
    return array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)


def curve_of(tensor: Tensor) -> Curve | None:
    """The curve of an operation that works on each number of one tensor and gets flat somewhere; None for others.

    Nothing is known here of tanh or ReLU: the operation and its rule are asked for values between -20 and 20, so that
    an activation that is a primitive of the user's own is found as well.
    """
    if tensor.op is None or len(edges(tensor)) != 1:
        return None
    x, position = edges(tensor)[0]
    others = [value for i, value in enumerate(tensor.arrays) if i != position]
    if x.shape != tensor.shape or any(isinstance(value, np.ndarray) and value.ndim for value in others):
        return None
    line = np.linspace(-20, 20, 401, dtype=x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    try:
        out, of_half = _at(tensor, line), _at(tensor, line[..., ::2])
        if out.shape != line.shape or not np.allclose(out[..., ::2], of_half):
            return None  # no function of each number: a softmax
        slopes = np.abs(_slopes(tensor, line, out)).ravel()
    except Exception:  # a primitive of the user's own may raise anything for a shape that it does not expect
        return None
    if not np.isfinite(slopes).all() or slopes.max() > 1.5 * slopes[100:301].max():
        return None  # not for all numbers, or steeper without end: a logarithm, a square
    flat = slopes[[0, -1]] <= FLAT * slopes.max()
    return Curve(float(slopes.max()), bool(flat.all())) if flat.any() else None


def _at(tensor: Tensor, x: Array) -> Array:
    """The operation of a tensor for other values of its one input."""
    assert tensor.op is not None
    with np.errstate(all="ignore"):
        return np.asarray(tensor.op.run(*_with(tensor, x), **tensor.params))


def _slopes(tensor: Tensor, x: Array, out: Array) -> Array:
    """The derivative of the operation of a tensor by its one input, number by number, where that is x."""
    assert tensor.op is not None
    with np.errstate(all="ignore"):
        rule = tensor.op.rule(edges(tensor)[0][1])
        return np.asarray(rule(np.ones_like(out), out, *_with(tensor, x), **tensor.params))


def _with(tensor: Tensor, x: Array) -> list[Any]:
    """The inputs of the operation of a tensor, with x in place of the one that has a gradient."""
    position = edges(tensor)[0][1]
    return [x if i == position else value for i, value in enumerate(tensor.arrays)]
