"""The layers of a model as they stand in a recorded graph: what each has made, and how much of that is flat or dead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import edges
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.nn import Module
from tinygrad_ce.source_lines import calls_around

# An activation is flat where its slope is at most this share of its largest: |tanh| > 0.975, and a sigmoid within
# 0.013 of 0 or 1. Source for saturation as an illness: X. Glorot, Y. Bengio, "Understanding the difficulty of training
# deep feedforward neural networks", 2010, section 3.
FLAT = 0.05
# A unit is dead where its slope is at most this share of the largest for every row: as good as nothing.
DEAD = 1e-6


@dataclass(eq=False)
class Layer:
    """A module with its own parameters and operations, without those of modules inside it."""

    paths: list[str]
    module: Module
    parameters: list[tuple[str, Tensor]]
    calls: dict[int, list[Tensor]] = field(default_factory=dict)  # by the id of the call, what it made, oldest first
    outputs: list[Tensor] = field(default_factory=list)  # what it gives on; if nothing, what it made for modules inside
    gives_on: bool = True  # whether the outputs are what it gives on

    @property
    def made(self) -> list[Tensor]:
        """All that it made, in all calls."""
        return [tensor for made in self.calls.values() for tensor in made]

    @property
    def age(self) -> int:
        """The number of the youngest tensor that it made: layers that compute later have a larger one."""
        return max((tensor.serial for tensor in self.made), default=0)


def layers_of(model: Module, graph: dict[int, Tensor], loss: Tensor) -> list[Layer]:
    """The layers in the order of the model: modules with parameters or operations of their own, or with none inside."""
    found: dict[int, Layer] = {}
    for path, module in _places(model, ""):
        if id(module) in found:
            found[id(module)].paths.append(path)
        else:
            found[id(module)] = Layer([path], module, list(_own_parameters(module)))
    makers: dict[int, tuple[Layer, int]] = {}  # by the number of a tensor, the layer and the call that made it
    for number in sorted(graph):
        tensor = graph[number]
        call = next((call for call in reversed(calls_around(tensor.note)) if id(call[0]) in found), None)
        if call is not None and tensor.op is not None:
            layer = found[id(call[0])]
            layer.calls.setdefault(id(call), []).append(tensor)
            makers[number] = layer, id(call)
    used_outside, leaving = {loss.serial}, {loss.serial}
    for number, tensor in graph.items():
        inside = {id(call) for call in calls_around(tensor.note)}
        for x, _ in edges(tensor):
            if makers.get(x.serial) != makers.get(number):
                used_outside.add(x.serial)
            if x.serial in makers and makers[x.serial][1] not in inside:
                leaving.add(x.serial)
    for layer in found.values():
        for_others = [tensor for tensor in layer.made if tensor.serial in used_outside]
        given_on = [tensor for tensor in for_others if tensor.serial in leaving]
        layer.outputs, layer.gives_on = given_on or for_others, bool(given_on) or not for_others
    return [layer for layer in found.values() if layer.calls or layer.parameters or not holds_others(layer.module)]


def _places(value: Any, path: str) -> Iterator[tuple[str, Module]]:
    """Every module with its path, one that stands in several places several times."""
    if isinstance(value, Module):
        yield path, value
    for name, inner in _items(value):
        yield from _places(inner, f"{path}.{name}" if path else str(name))


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Module):
        return vars(value).items()
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, (list, tuple)) else ()


def holds_others(module: Module) -> bool:
    """Whether there are modules inside."""
    return next((True for inner in module.modules() if inner is not module), False)


def _own_parameters(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The parameters of a module that do not belong to a module inside it."""
    for name, inner in _items(value):
        here = f"{path}.{name}" if path else str(name)
        if isinstance(inner, Tensor) and inner.requires_grad:
            yield here, inner
        elif not isinstance(inner, Module):
            yield from _own_parameters(inner, here)


# ---- activations


@dataclass
class _Curve:
    """An activation: its largest slope, and whether it is flat on both sides."""

    largest: float
    flat_on_both_sides: bool


def activity(layer: Layer) -> tuple[float | None, float | None, int]:
    """Percent of numbers that are saturated, of units that are dead, of all the activations in a layer; and the rows.

    Of several activations, the fewest rows count.
    """
    units: dict[Any, list[Array]] = {}  # whether they are alive for each row, together over all calls
    flat = numbers = 0
    for made in layer.calls.values():
        for position, tensor in enumerate(made):
            curve = _curve(tensor)
            if curve is None or not tensor.size:
                continue
            slopes = np.abs(_slopes(tensor, edges(tensor)[0][0].data, tensor.data))
            units.setdefault((position, tensor.op, tensor.shape[-1:]), []).append(slopes > DEAD * curve.largest)
            if curve.flat_on_both_sides:
                flat += int((slopes <= FLAT * curve.largest).sum())
                numbers += slopes.size
    by_row = [np.concatenate([_by_unit(each) for each in found]) for found in units.values()]
    alive = [each.any(axis=0) for each in by_row]
    dead = 100 * float(1 - np.concatenate(alive).mean()) if alive else None
    return (100 * flat / numbers if numbers else None), dead, min(map(len, by_row), default=0)


def _by_unit(array: Array) -> Array:
    """(rows, units): the units are the last axis; numbers in one axis or none are the rows of one unit."""
    return array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)


def _curve(tensor: Tensor) -> _Curve | None:
    """The curve of an operation that works on each number of one tensor and gets flat somewhere; None for others.

    Nothing is known here of tanh or ReLU: the operation and its rule are asked for values between -20 and 20, and what
    is made with a primitive of one's own is found as well.
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
    except Exception:  # whatever a primitive of one's own raises for a shape that it is not made for
        return None
    if not np.isfinite(slopes).all() or slopes.max() > 1.5 * slopes[100:301].max():
        return None  # not for all numbers, or steeper without end: a logarithm, a square
    flat = slopes[[0, -1]] <= FLAT * slopes.max()
    return _Curve(float(slopes.max()), bool(flat.all())) if flat.any() else None


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
    """What the operation of a tensor was called with, but for x in place of its one input with a gradient."""
    position = edges(tensor)[0][1]
    return [x if i == position else value for i, value in enumerate(tensor.arrays)]
