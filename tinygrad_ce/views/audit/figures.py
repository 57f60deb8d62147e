"""The figures of each layer: what it computes, what comes back to it, and what the optimizer would make of that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygrad_ce.ancestry import edges
from tinygrad_ce.backward import seed_of, walk
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.checks import undisturbed
from tinygrad_ce.graph.layers import Layer, holds_others
from tinygrad_ce.nn import Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.report.histograms import histogram
from tinygrad_ce.views.audit.activations import activity


@dataclass
class Row:
    """The figures of one layer; None where there is nothing to measure.

    path: where it stands in the model; several, if it stands in several places. uses: how often it was called. order:
    its place among the layers in the order in which they compute.
    saturated: percent of the activation's numbers where its slope is at most 5 % of its largest (for curves that are
    flat on both sides, as tanh and sigmoid; ReLU is switched off for about half of its numbers, and well).
    dead: percent of its units (columns) whose slope is at most 1e-6 of the largest for every row of the batch; rows:
    how many those are, 0 without an activation (with fewer than 8 there is no verdict). inputs: the smallest and the
    largest input of the dead units, or of the saturated numbers where no unit is dead.
    mean, spread: of the outputs, the standard deviation. outputs: their histogram.
    own_part: whether the outputs, and the gradient there, are of what the module's own operations made for modules
    inside it; else they are what it gives on.
    arriving: the norm of the gradient at the outputs; share: the same over that of the last layers; backward: its
    histogram. factor: the norm of the gradient that the layer hands back to its inputs, over that at the outputs.
    gradient: the norm of all the layer's parameters' gradients together; gradient_per_weight: over the norm of the
    parameters; update_per_weight: that of the optimizer's next update over it.
    verdict: one of CURES, "fine" or "not in the graph". reason: more on it, where there is more to say.
    """

    path: str
    layer: str
    uses: int = 0
    order: int = 0
    saturated: float | None = None
    dead: float | None = None
    rows: int = 0
    inputs: tuple[float, float] | None = None
    mean: float | None = None
    spread: float | None = None
    outputs: str = ""
    own_part: bool = False
    arriving: float | None = None
    share: float | None = None
    backward: str = ""
    factor: float | None = None
    gradient: float | None = None
    gradient_per_weight: float | None = None
    update_per_weight: float | None = None
    verdict: str = "fine"
    reason: str = ""

    @property
    def kind(self) -> str:
        """The layer as it writes itself, and how it is used."""
        own = ", own part" if self.own_part else ""
        return f"{self.layer}{own}" + (f" x{self.uses}" if self.uses > 1 else "")

    @property
    def name(self) -> str:
        """The path and the layer."""
        return f"{self.path}  {self.kind}"


class Gradients:
    """What comes back in one walk: by number the gradients of outputs and parameters, and what layers hand back."""

    def __init__(self, loss: Tensor, graph: dict[int, Tensor], layers: list[Layer]) -> None:
        looked_at = {tensor.serial for layer in layers for tensor in layer.outputs}
        looked_at |= {parameter.serial for layer in layers for _, parameter in layer.parameters}
        self.by_serial: dict[int, Array] = {}
        self.handed_back: dict[Layer, dict[int, Array]] = {layer: {} for layer in layers}  # by the number of the input
        self._makers = {tensor.serial: layer for layer in layers for tensor in layer.results}
        self._parameters = {parameter.serial for layer in layers for _, parameter in layer.parameters}
        with undisturbed(list(graph.values())), np.errstate(all="ignore"):
            for tensor, gradient in walk(loss, seed_of(loss, None), graph, on_share=self._hand_back):
                if tensor.serial in looked_at:
                    self.by_serial[tensor.serial] = np.asarray(gradient)
        self.last = self._at_the_last(loss)

    def _hand_back(self, tensor: Tensor, position: int, share: Array) -> None:
        """Keep what leaves a layer for what was made outside of it."""
        x, layer = tensor.inputs[position], self._makers.get(tensor.serial)
        if layer is not None and x.serial not in self._parameters and self._makers.get(x.serial) is not layer:
            shares = self.handed_back[layer]
            shares[x.serial] = shares[x.serial] + share if x.serial in shares else share

    def of(self, tensors: list[Tensor]) -> list[Array]:
        """The gradients of those of the tensors that one has reached."""
        return [self.by_serial[tensor.serial] for tensor in tensors if tensor.serial in self.by_serial]

    def _at_the_last(self, loss: Tensor) -> float | None:
        """The norm of the gradient at the outputs of the last layers with parameters; of several, the largest."""
        seen, waiting, last = {loss.serial}, [loss], set()
        while waiting:
            tensor = waiting.pop()
            maker = self._makers.get(tensor.serial)
            if maker is not None and maker.parameters:
                last.add(maker)
                continue
            new = {x.serial: x for x, _ in edges(tensor) if x.serial not in seen}
            seen |= new.keys()
            waiting += new.values()
        with np.errstate(all="ignore"):
            return max((_norm(self.of(layer.outputs)) for layer in last), default=None)


def row_of(layer: Layer, order: int, gradients: Gradients, optimizer: Optimizer | None) -> Row:
    """The figures of a layer, before it is judged."""
    active = activity(layer)
    row = Row(", ".join(path or "(model)" for path in layer.paths), _described(layer.module), len(layer.calls), order)
    row.saturated, row.dead, row.rows, row.inputs = active.saturated, active.dead, active.rows, active.inputs
    row.own_part = not layer.has_output
    outputs = _joined([tensor.data for tensor in layer.outputs])
    if outputs.size:
        arriving, handed_back = gradients.of(layer.outputs), [*gradients.handed_back[layer].values()]
        row.mean, row.spread, row.outputs = float(outputs.mean()), float(outputs.std()), histogram(outputs)
        row.arriving, row.backward = _norm(arriving), histogram(_joined(arriving))
        row.share = row.arriving / gradients.last if gradients.last else None
        row.factor = _norm(handed_back) / row.arriving if handed_back and row.arriving else None
    reached = [parameter for _, parameter in layer.parameters if parameter.serial in gradients.by_serial]
    if reached:
        weight = _norm([parameter.data for parameter in reached])
        row.gradient = _norm(gradients.of(reached))
        row.gradient_per_weight = row.gradient / weight if weight else None
        updates = _updates(reached, gradients, optimizer)
        row.update_per_weight = _norm(updates) / weight if updates and weight else None
    return row


def _described(module: Module) -> str:
    """A layer as it writes itself; a module that holds others, or says nothing of itself, by its class."""
    plain = type(module).__repr__ is object.__repr__ or holds_others(module)
    return type(module).__name__ if plain else " ".join(repr(module).split())


def _updates(parameters: list[Tensor], gradients: Gradients, optimizer: Optimizer | None) -> list[Array]:
    """What the optimizer's next step would add to each parameter: its pure `update` is asked, nothing is kept."""
    if optimizer is None:
        return []
    positions = {parameter.serial: i for i, parameter in enumerate(optimizer.parameters)}
    updates = []
    for parameter in parameters:
        i = positions.get(parameter.serial)
        if i is not None:
            gradient, state = gradients.by_serial[parameter.serial], tuple(v.data for v in optimizer.memory[i])
            new, _ = optimizer.computed_update(parameter.data, gradient, state, optimizer.lr, optimizer.count(i))
            updates.append(np.asarray(new) - parameter.data)
    return updates


def _norm(arrays: list[Array]) -> float:
    """Of all their numbers together; scaled before they are squared, for exploded ones would overflow."""
    numbers = _joined(arrays)
    largest = float(np.abs(numbers).max(initial=0.0))
    return largest * float(np.linalg.norm(numbers / largest)) if 0 < largest < math.inf else largest


def _joined(arrays: list[Array]) -> Array:
    return np.concatenate([np.empty(0), *(array.astype(np.float64).ravel() for array in arrays)])
