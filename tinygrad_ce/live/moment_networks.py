"""The networks that moments bring with them, for pages whose own rows have other features or classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from tinygrad_ce import losses, ops
from tinygrad_ce.live.moments import PREFIX, Moment, State
from tinygrad_ce.live.networks import network
from tinygrad_ce.live.traced import Training, traced_step
from tinygrad_ce.nn import Dense, ReLU, Sequential, Sigmoid, Tanh
from tinygrad_ce.optim import SGD


def softmax(z: Any) -> Any:
    """Probabilities of logits, written out, for a second `ops.softmax` is answered with a warning."""
    exponentials = ops.exp(z)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


ACTIVATIONS = {"tanh": Tanh, "relu": ReLU, "sigmoid": Sigmoid}
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross-entropy": losses.softmax_cross_entropy,
    "squared error": lambda z, y: losses.mse(softmax(z), y),
    "double softmax": lambda z, y: losses.cross_entropy(softmax(softmax(z)), y),
}


@cache
def moment_networks(moments: tuple[Moment, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the page knows of each network that a moment brings, and their programs; by key, both begin with PREFIX.

    ValueError for an activation or a loss that no moment can bring.
    """
    networks, programs = {}, {}
    for state in (state for moment in moments for state in moment.states):
        key = f"{PREFIX}{state.network()}"
        if state.data is None or key in networks:
            continue
        training, data = training_of(state), state.data
        traced = traced_step(training, np.asarray(data.X, np.float64), np.asarray(data.y), data.n_classes)
        networks[key] = network(traced, state.data.feature_names, state.data.class_names)
        programs[key] = str(traced.program.javascript)
    return networks, programs


def training_of(state: State) -> Training:
    """The network of a moment's state, with its loss and plain gradient descent; its weights are of no account."""
    if state.activation not in ACTIVATIONS or state.loss not in LOSSES or state.data is None or state.hidden is None:
        raise ValueError(
            f"Moment: rows of its own come with an activation ({', '.join(ACTIVATIONS)}), a loss ({', '.join(LOSSES)}) "
            f"and hidden=(...), not with {state.activation}, {state.loss}, {state.hidden}"
        )
    data, layers, width = state.data, list[Any](), state.data.n_features
    for size in state.hidden:
        layers += [Dense(width, size), ACTIVATIONS[state.activation]()]
        width = size
    model = Sequential(*layers, Dense(width, data.n_classes))
    return Training(model, LOSSES[state.loss], SGD(model.parameters(), lr=state.rate or 0.1))
