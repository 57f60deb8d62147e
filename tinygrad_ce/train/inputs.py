"""The rows that a training goes through, with their targets and weights, and how a batch of them meets the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce import data
from tinygrad_ce.core import Array
from tinygrad_ce.data.structures import map_parts, named_parts, number_of_rows, parts_of
from tinygrad_ce.train.metrics import align_targets
from tinygrad_ce.train.weights import weighted_loss

Batch = tuple[Any, Any, Array | None]  # rows, targets, and the weights of the rows, if they have some


def loss_of(loss: Callable[[Any, Any], Any], predictions: Any, targets: Any, weights: Any = None) -> Any:
    """The loss of a batch; of rows with weights, their weighted mean.

    Targets (N,) of predictions (N, 1) are reshaped for losses that compare number by number (`align_targets`).
    """
    targets = align_targets(loss, predictions, targets)
    return loss(predictions, targets) if weights is None else weighted_loss(loss, predictions, targets, weights)


@dataclass(frozen=True)
class TrainingRows:
    """What an epoch goes through, in batches of batch_size rows.

    X, y: arrays, or tuples or dicts of arrays, with N rows. weights: (N,), or None where all rows count alike.
    drop_last: whether a last batch that would be short is left out.
    """

    X: Any
    y: Any
    weights: Array | None
    batch_size: int
    drop_last: bool

    def __len__(self) -> int:
        return number_of_rows(self.X)

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return len(self) // self.batch_size if self.drop_last else -(-len(self) // self.batch_size)

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """The batches of an epoch, in an order that the generator draws."""
        options: dict[str, Any] = {"seed": generator, "drop_last": self.drop_last}
        if self.weights is None:
            for rows, targets in data.batches(self.X, self.y, self.batch_size, **options):
                yield rows, targets, None
        else:
            for rows, (targets, weights) in data.batches(self.X, (self.y, self.weights), self.batch_size, **options):
                yield rows, targets, weights

    @property
    def arrays(self) -> list[Array]:
        """All arrays one after the other, as a compiled step takes them."""
        return [*parts_of(self.X), *parts_of(self.y), *([] if self.weights is None else [self.weights])]

    @property
    def names(self) -> tuple[str, ...]:
        """What the arrays are called."""
        named = [*named_parts(self.X, "X"), *named_parts(self.y, "y")]
        return (*(name for name, _ in named), *([] if self.weights is None else ["weights"]))

    def batch_of(self, arrays: Any) -> Batch:
        """Rows, targets and weights of parts of all arrays: the opposite of `arrays`."""
        following = iter(arrays)
        X, y = (map_parts(lambda _: next(following), value) for value in (self.X, self.y))
        return X, y, None if self.weights is None else next(following)
