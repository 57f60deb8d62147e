"""The loss of a batch as scikit-learn defines it: a weighted mean over the rows, and a penalty of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from tinygrad_ce import losses, ops
from tinygrad_ce.core import Tensor


class PenalizedLoss:
    """mean of the rows' losses + alpha / (2 rows) * sum of squared weights; with row weights, their sum for `rows`.

    out_activation: "softmax" (cross-entropy of the class index), "logistic" (binary cross-entropy, added over the
    outputs), "identity" (half the squared error, added over the outputs) or "exp" (half the Poisson deviance).
    weights: the matrices that the penalty keeps small; alpha: how much. label_smoothing: for classes.
    Called with scores (N, k) before the output activation, and with targets: (N,) class indices or (N, k) numbers, with
    the rows' weights, where there are any, in one more column.
    """

    def __init__(
        self, out_activation: str, weights: Sequence[Tensor], alpha: float, label_smoothing: float = 0.0
    ) -> None:
        self.out_activation, self.alpha, self.label_smoothing = out_activation, float(alpha), float(label_smoothing)
        self.weights = tuple(weights)

    def __call__(self, scores: Any, targets: Any) -> Any:
        if targets.ndim == 1 or targets.shape == scores.shape:
            size: Any = len(targets)
            loss = self.of_rows(scores, targets, "mean")
        else:
            *_, row_weights = targets.T
            size = row_weights.sum()
            loss = (self.of_rows(scores, targets[:, :-1], "none") * row_weights).sum() / size
        if self.alpha and self.weights:
            squares = reduce(
                add, [(W * W).sum() for W in self.weights]
            )  # sum() would begin with an operation more, 0 + x
            loss = loss + squares * (0.5 * self.alpha / size)
        return loss

    def of_rows(self, scores: Any, targets: Any, reduction: str) -> Any:
        """The loss of each row (N,), or their mean."""
        smoothing, outputs = self.label_smoothing, scores.shape[1]
        if self.out_activation == "softmax":
            labels = targets if targets.ndim == 1 else targets[:, 0].astype(int)
            return losses.softmax_cross_entropy(scores, labels, label_smoothing=smoothing, reduction=reduction)
        if self.out_activation == "logistic":
            targets = targets * (1 - smoothing) + smoothing / 2 if smoothing else targets
            elements = losses.sigmoid_binary_cross_entropy(scores, targets, reduction=reduction)
        elif self.out_activation == "identity":
            elements = 0.5 * losses.mse(scores, targets, reduction=reduction)
        else:
            # y log(y / p) - y + p with p = exp(scores)
            log_targets = ops.log(ops.where(targets > 0, targets, 1.0))
            elements = targets * (log_targets - scores) - targets + ops.exp(scores)
            elements = elements.mean() if reduction == "mean" else elements
        return elements * outputs if reduction == "mean" else elements.sum(axis=1)
