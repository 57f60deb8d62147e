"""The network of an estimator: scikit-learn's own layers with its initial weights, or a module of the user's own."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Array, array_of
from tinygrad_ce.report.words import several

ACTIVATIONS: dict[str, Callable[[], nn.Module] | None] = {
    "identity": None,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


def perceptron(
    sizes: Sequence[int], activation: str, dropout: float, batch_norm: bool, random_state: np.random.RandomState
) -> nn.Sequential:
    """Dense layers of these sizes; after each hidden one BatchNorm, the activation and Dropout, as asked for.

    The initial weights and biases are scikit-learn's: uniform, drawn from random_state layer by layer.
    """
    layers: list[nn.Module] = []
    activate = ACTIVATIONS[activation]
    for n_in, n_out in pairwise(sizes):
        bound = math.sqrt((2 if activation == "logistic" else 6) / (n_in + n_out))

        def uniform(*shape: int, bound: float = bound) -> Array:
            return random_state.uniform(-bound, bound, shape)

        dense = nn.Dense(n_in, n_out, init=uniform)
        dense.b.data[...] = uniform(n_out)  # type: ignore[union-attr]
        norm = [nn.BatchNorm(n_out)] if batch_norm else []
        layers += [dense, *norm, *([activate()] if activate else []), *([nn.Dropout(dropout)] if dropout else [])]
    rest = (1 if activate else 0) + bool(dropout) + bool(batch_norm)
    return nn.Sequential(*(layers[:-rest] if rest else layers))  # nothing comes after the last Dense


def of_users_own(module: Any, n_in: int, n_out: int, random_state: np.random.RandomState) -> nn.Module:
    """A copy of the user's module; or what the user's function of (n_in, n_out) makes, as random_state seeds it.

    Raises TypeError if that is no Module.
    """
    if isinstance(module, nn.Module):
        return copy.deepcopy(module)
    with nn.init.drawing_from(random_state.randint(np.iinfo(np.int32).max)):
        network = module(n_in, n_out)
    if not isinstance(network, nn.Module):
        raise TypeError(f"module={module!r}: it answered with {type(network).__name__}; it must make a tg.nn.Module")
    return network


def check_outputs(name: str, network: nn.Module, row: Array, n_out: int) -> None:
    """Raise ValueError, in the name of an estimator, for a network that has not n_out scores for a row (1, n_in)."""
    try:
        with no_grad():
            shape = array_of(network.eval()(row)).shape
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"{name}: module= does not take rows of {several(row.shape[1], 'feature')}: {error}"
        ) from error
    if shape != (1, n_out):
        raise ValueError(
            f"{name}: module= answers one row with shape {shape}, and for these y it must be (1, {n_out}): a score for "
            "each class, label or output, and for two classes a single one"
        )


class BatchOrder(np.random.Generator):
    """The order of the rows, as scikit-learn's own estimators shuffle them; dropout draws from the same object.

    random_state: what the orders come from. rows: how many. shuffle: without it, the rows stay in their order.
    """

    def __init__(self, random_state: np.random.RandomState, rows: int, shuffle: bool) -> None:
        twin = copy.deepcopy(random_state)  # so that dropout changes no order
        super().__init__(np.random.PCG64(twin.randint(np.iinfo(np.int32).max)))
        self.random_state, self.order, self.shuffles = random_state, np.arange(rows), shuffle

    def permutation(self, x: Any, axis: int = 0) -> Any:
        """The order of the next epoch: the last one, shuffled."""
        if self.shuffles:
            self.order = self.order[self.random_state.permutation(len(self.order))]
        return self.order
