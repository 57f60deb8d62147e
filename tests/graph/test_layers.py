"""The layers of a model in its graph: wherever a model may keep them, with the paths that its parameters have."""

from collections import deque, namedtuple
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.ancestry import reachable
from tinygrad_ce.graph.layers import layers_of

X, Y = np.ones((4, 2)), np.array([0, 1, 0, 1])
Pair = namedtuple("Pair", "first second")


@dataclass
class Held:
    first: nn.Module
    second: nn.Module


class Keeping(nn.Module):
    """A model whose two layers stand in some container."""

    def __init__(self, container, first, second):
        self.parts = container
        self.order = lambda: (first, second)

    def forward(self, x):
        for part in self.order():
            x = part(x)
        return x


CONTAINERS = {
    "list": lambda a, b: [a, b],
    "tuple in a dict": lambda a, b: {"here": (a, [b])},
    "deque": lambda a, b: deque([a, b]),
    "named tuple": Pair,
    "dataclass": Held,
    "mapping": lambda a, b: MappingProxyType({"first": a, "second": b}),
    "array of objects": lambda a, b: np.array([a, b], dtype=object),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_layers_are_found_wherever_parameters_are(kind):
    first, second = nn.Dense(2, 3), nn.Dense(3, 2)
    model = Keeping(CONTAINERS[kind](first, second), first, second)
    loss = tg.losses.softmax_cross_entropy(model(X), Y)
    layers = layers_of(model, reachable(loss), loss)
    assert [layer.module for layer in layers] == [first, second]
    names = [f"{layer.paths[0]}.{name}" for layer in layers for name, _ in layer.parameters]
    assert names == [path for path, _ in model.named_parameters()]
    assert [[x.op.name for x in layer.results] for layer in layers] == [["affine"], ["affine"]]


def test_a_layer_that_knows_its_model_is_found_once():
    model = nn.Sequential(nn.Dense(2, 2), nn.Tanh())
    model[0].model = model
    loss = tg.losses.softmax_cross_entropy(model(X), Y)
    assert [layer.paths for layer in layers_of(model, reachable(loss), loss)] == [["layers.0"], ["layers.1"]]


def test_a_shared_layer_has_all_its_paths():
    shared = nn.Dense(2, 2)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    loss = tg.losses.softmax_cross_entropy(model(X), Y)
    found, tanh = layers_of(model, reachable(loss), loss)
    assert (found.paths, tanh.paths) == (["layers.0", "layers.2"], ["layers.1"])
    assert len(found.calls) == len(found.results) == 2
