"""The figures of each layer: what it computes, what comes back to it, and what the optimizer would make of that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinygrad_ce.ancestry import edges
from tinygrad_ce.backward import seed_of, walk
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.checks import undisturbed
from tinygrad_ce.graph.layers import Layer, holds_others
from tinygrad_ce.nn import Embedding
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.optim.clipping import joint_norm
from tinygrad_ce.report.words import cut, histogram, listed
from tinygrad_ce.views.audit.activations import activity


@dataclass
class Row:
    """The figures of one layer; None where there is nothing to measure.

    path: where it stands in the model, all places. uses: how often it was called. order: its place as layers compute.
    own_part: whether the outputs are those of its own operations for modules inside it; else they are what it gives on.
    saturated: percent of an activation's numbers where its slope is at most 5 % of its largest (of curves that are flat
    on both sides; ReLU is switched off for about half of its numbers, and well). dead: percent of its units (columns)
    whose slope is at most 1e-6 of the largest for every row; rows: how many. flat_inputs: where it is flat, in words.
    mean, spread, outputs: of the outputs, with standard deviation and histogram. arriving, backward: norm and histogram
    of the gradient there. share: that norm over the last layers'. factor: the norm of what is handed back, over it.
    gradient: the norm of the parameters' gradients; gradient_per_weight, update_per_weight: that, and the norm of the
    optimizer's next update, over the parameters' (of an embedding, the rows in use). asking: if any layer's is large.
    not_finite, unused: where there is a NaN or infinity; which parameters the loss does not use.
    verdict: one of CURES, "fine" or "not in the graph". reason: more on it, where there is more to say.
    """

    path: str
    layer: str
    uses: int = 0
    order: int = 0
    own_part: bool = False
    saturated: float | None = None
    dead: float | None = None
    rows: int = 0
    flat_inputs: str = ""
    mean: float | None = None
    spread: float | None = None
    outputs: str = ""
    arriving: float | None = None
    backward: str = ""
    share: float | None = None
    factor: float | None = None
    gradient: float | None = None
    gradient_per_weight: float | None = None
    update_per_weight: float | None = None
    asking: bool = False
    not_finite: str = ""
    unused: str = ""
    verdict: str = "fine"
    reason: str = ""

    @property
    def kind(self) -> str:
        """The layer as it writes itself, and how it is used."""
        return self.layer + ", own part" * self.own_part + (f" x{self.uses}" if self.uses > 1 else "")

    @property
    def class_name(self) -> str:
        """The class of the layer, without its sizes."""
        return self.layer.split("(")[0]

    @property
    def name(self) -> str:
        """The path and the layer; of a long path what fits beside it."""
        kind = cut(self.kind, 30)
        return f"{cut(self.path, 58 - len(kind))}  {kind}"


class Gradients:
    """What comes back in one walk: to tensors, by their numbers, and from layers to what they were computed from."""

    def __init__(self, loss: Tensor, graph: dict[int, Tensor], layers: list[Layer]) -> None:
        self.makers = {tensor.serial: layer for layer in layers for tensor in layer.results}
        self.parameters = {parameter.serial for layer in layers for _, parameter in layer.parameters}
        looked_at = self.parameters | {tensor.serial for layer in layers for tensor in layer.outputs}
        self.by_serial: dict[int, Array] = {}
        self.handed_back: dict[Layer, dict[int, Array]] = {layer: {} for layer in layers}  # by the number of the input
        last, behind_the_last = set(), {loss.serial}  # the layers with parameters behind which there is no other
        with undisturbed(list(graph.values())), np.errstate(all="ignore"):
            for tensor, gradient in walk(loss, seed_of(loss, None), graph, on_share=self._hand_back):
                if tensor.serial in looked_at:
                    self.by_serial[tensor.serial] = np.asarray(gradient)
                if tensor.serial in behind_the_last:
                    maker = self.makers.get(tensor.serial)
                    if maker is not None and maker.parameters:
                        last.add(maker)
                    else:
                        behind_the_last |= {x.serial for x, _ in edges(tensor)}
            self.at_the_last = max((norm(self.of(layer.outputs)) for layer in last), default=None)

    def of(self, tensors: list[Tensor]) -> list[Array]:
        """Those that have reached these tensors."""
        return [self.by_serial[tensor.serial] for tensor in tensors if tensor.serial in self.by_serial]

    def _hand_back(self, tensor: Tensor, position: int, share: Array) -> None:
        """Keep a share that leaves a layer for what was made outside of it."""
        serial, layer = tensor.inputs[position].serial, self.makers.get(tensor.serial)
        if layer is not None and serial not in self.parameters and self.makers.get(serial) is not layer:
            shares = self.handed_back[layer]
            shares[serial] = shares[serial] + share if serial in shares else share


def row_of(layer: Layer, order: int, gradients: Gradients, optimizer: Optimizer | None) -> Row:
    """The figures of a layer, before it is judged."""
    plain = type(layer.module).__repr__ is object.__repr__ or holds_others(layer.module)
    described = type(layer.module).__name__ if plain else " ".join(repr(layer.module).split())
    name = listed([path or "(model)" for path in layer.paths], most=3)
    row = Row(name, described, len(layer.calls), order, own_part=not layer.has_output, **activity(layer))
    outputs = joined([x.data for x in layer.outputs])
    if outputs.size:
        arriving, handed_back = gradients.of(layer.outputs), [*gradients.handed_back[layer].values()]
        row.mean, row.spread, row.outputs = float(outputs.mean()), float(outputs.std()), histogram(outputs)
        row.arriving, row.backward = norm(arriving), histogram(joined(arriving))
        row.share = row.arriving / gradients.at_the_last if gradients.at_the_last else None
        row.factor = norm(handed_back) / row.arriving if handed_back and row.arriving else None
    weights, updates = list[Array](), list[Array]()
    reached = [parameter for _, parameter in layer.parameters if parameter.serial in gradients.by_serial]
    for parameter, gradient in zip(reached, gradients.of(reached), strict=True):
        used = gradient.any(axis=1) if isinstance(layer.module, Embedding) and gradient.any() else ...
        weights.append(parameter.data[used])
        updates += [update[used] for update in _updates(parameter, gradient, optimizer)] if optimizer else []
    if reached:
        row.gradient = norm(gradients.of(reached))
        row.gradient_per_weight = row.gradient / norm(weights) if norm(weights) else None
        row.update_per_weight = norm(updates) / norm(weights) if updates and norm(weights) else None
    unused = [name for name, parameter in layer.parameters if parameter.serial not in gradients.by_serial]
    row.unused = (f"{listed(unused)} is " if reached else "") + "not used by this loss" if unused else ""
    looked_at = {  # what it was given to work with, before what came of it
        "its parameters": [parameter.data for _, parameter in layer.parameters],
        "its numbers": [tensor.data for tensor in layer.results],
        "its gradient": gradients.of(layer.outputs) + gradients.of(reached),
    }
    found = (where for where, arrays in looked_at.items() if not all(np.isfinite(array).all() for array in arrays))
    row.not_finite = next(found, "")
    return row


def _updates(parameter: Tensor, gradient: Array, optimizer: Optimizer) -> Iterator[Array]:
    """What the optimizer's next step adds to a parameter, if it has it: its pure `update` is asked, nothing is kept."""
    for i, own in enumerate(optimizer.parameters):
        if own.serial == parameter.serial:
            state = tuple(variable.data for variable in optimizer.memory[i])
            new, _ = optimizer.computed_update(own.data, gradient, state, optimizer.lr, optimizer.count(i))
            yield np.asarray(new) - own.data


def norm(arrays: list[Array]) -> float:
    """Of all their numbers together; the squares of exploded ones do not overflow."""
    return math.prod(joint_norm(arrays))


def joined(arrays: list[Array]) -> Array:
    """All their numbers in one array, in float64."""
    return np.concatenate([np.empty(0), *(array.astype(np.float64).ravel() for array in arrays)])
