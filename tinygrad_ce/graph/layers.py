"""The layers of a model as they stand in a recorded graph: who made which results, and which of those leave it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tinygrad_ce.ancestry import edges
from tinygrad_ce.core import Tensor
from tinygrad_ce.nn.module import Module, items_of
from tinygrad_ce.source_lines import calls_around


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
        inside = {x.serial for inner in module.modules() if inner is not module for x in inner.parameters()}
        own = [(name, x) for name, x in module.named_parameters() if x.serial not in inside]
        layers.setdefault(id(module), Layer([], module, own)).paths.append(path)
    makers: dict[int, tuple[Layer, int]] = {}  # by the serial of a tensor: the layer, and the id of its call
    for serial in sorted(graph):
        tensor = graph[serial]
        call = next((call for call in reversed(calls_around(tensor.note)) if id(call[0]) in layers), None)
        if call is not None and tensor.op is not None:
            layer = layers[id(call[0])]
            layer.calls.setdefault(id(call), []).append(tensor)
            makers[serial] = layer, id(call)
    for_others, leaving = {loss.serial}, {loss.serial}
    for serial, tensor in graph.items():
        around = {id(call) for call in calls_around(tensor.note)}
        for x, _ in edges(tensor):
            if x.serial in makers and makers[x.serial] != makers.get(serial):
                for_others.add(x.serial)
                if makers[x.serial][1] not in around:
                    leaving.add(x.serial)
    for layer in layers.values():
        left = [tensor for tensor in layer.results if tensor.serial in leaving]
        layer.outputs = left or [tensor for tensor in layer.results if tensor.serial in for_others]
        layer.has_output = bool(left) or not layer.outputs
    return [layer for layer in layers.values() if layer.calls or layer.parameters or not holds_others(layer.module)]


def _places(value: Any, path: str, around: tuple[Module, ...] = ()) -> Iterator[tuple[str, Module]]:
    """Every module with its path, one that stands in several places several times; but none inside itself."""
    if isinstance(value, Module):
        if any(value is outer for outer in around):
            return
        yield path, value
        around = (*around, value)
    for name, inner in items_of(value) or ():
        yield from _places(inner, f"{path}.{name}" if path else str(name), around)


def holds_others(module: Module) -> bool:
    """Whether there are modules inside."""
    return any(inner is not module for inner in module.modules())
