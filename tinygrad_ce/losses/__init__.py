"""The losses: each checks its arguments in the words of a teacher, then calls primitives.

The name says what it takes: `cross_entropy` and `binary_cross_entropy` take probabilities, `softmax_cross_entropy` and
`sigmoid_binary_cross_entropy` take logits. Given probabilities that a softmax or sigmoid has just made, the first two
differentiate through the logits, so the textbook network is as stable as the fused one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor, interpreter
from tinygrad_ce.kernels.attach import call_fused
from tinygrad_ce.losses import arguments, misuse

__all__ = ["binary_cross_entropy", "cross_entropy", "mse", "sigmoid_binary_cross_entropy", "softmax_cross_entropy"]


def softmax_cross_entropy(
    logits: Any,
    targets: Any,
    *,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
    axis: int = -1,
) -> Any:
    """-log softmax(logits)[target], the negative log-likelihood of the true class.

    logits: shape (N, C), or any shape with the classes along `axis`.
    targets: class indices (N,), integers; or one-hot rows or soft labels in the shape of the logits.
    weight: (C,) non-negative weights per class; as in PyTorch, a mean is then divided by the weights of the labels, and
    by N where the targets are rows.
    label_smoothing: in [0, 1]; the target becomes (1 - s) target + s / C.
    ignore_index: rows with this class index count for nothing. All ignored: loss 0 and one warning.
    reduction: "mean" over the rows (the cost), "sum", or "none" (one loss for each row).
    Raises TypeError and ValueError that say which row is wrong, and what to write.

    >>> softmax_cross_entropy(np.array([[2.0, 1.0, 0.1]]), np.array([0])).item()
    0.41703...

    Source: C. Bishop, "Pattern Recognition and Machine Learning", eq. 4.108; smoothing: Szegedy et al., 2015.
    """
    name = "softmax_cross_entropy"
    return _of_logits(name, logits, targets, weight, label_smoothing, ignore_index, reduction, axis)


def _of_logits(
    name: str,
    logits: Any,
    targets: Any,
    weight: Any,
    label_smoothing: float,
    ignore_index: int | None,
    reduction: str,
    axis: int,
) -> Any:
    """The cross-entropy of the softmax of logits; name is what the user has called."""
    logits = arguments.floating(logits, name, "logits")
    if weight is None and ignore_index is None and arguments.are_plain_labels(logits, targets, axis):
        if reduction != "mean":
            arguments.check_reduction(name, reduction, logits)
        if label_smoothing != 0:
            arguments.check_smoothing(name, label_smoothing)

        def check(labels: Any) -> None:
            arguments.check_labels(name, labels, logits.data.shape[1], None)

        misuse.warn_of_squashed(logits, name, "cross_entropy", -1)
        interpreter.get().numbers(targets, check)  # for a traced program; here xent looks at the labels itself
        try:
            return call_fused(ops.xent, logits, targets, 1.0, smoothing=label_smoothing, reduction=reduction)
        except ValueError:
            check(targets)  # says which one is wrong
            raise
    rows = arguments.rows_of_classes(name, logits, targets, weight, label_smoothing, ignore_index, reduction, axis)
    misuse.warn_of_squashed(logits, name, "cross_entropy", axis)
    weights = rows.weight
    if reduction == "mean" and rows.total is not None:  # divided by what counts: the weights bring it along
        weights, reduction = ops.astype(weights / rows.total, dtype=rows.values.dtype), "sum"
    options = {"smoothing": label_smoothing, "reduction": reduction}
    if rows.labels is None:
        loss = call_fused(ops.soft_xent, rows.values, rows.soft, weights, **options)
    elif ignore_index is None:
        loss = call_fused(ops.xent, rows.values, rows.labels, weights, **options)
    else:
        loss = call_fused(ops.xent, rows.values, rows.labels, weights, ignore_index=int(ignore_index), **options)
    return ops.reshape(loss, shape=rows.shape) if reduction == "none" and loss.shape != rows.shape else loss


def cross_entropy(
    probabilities: Any,
    targets: Any,
    *,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
    axis: int = -1,
    eps: float = 0.0,
    fused: bool = True,
) -> Any:
    """-sum target log probability: the cross-entropy H(target, probability) of each row.

    probabilities: rows that are not negative and sum to 1; otherwise as `softmax_cross_entropy`.
    eps: clips the probabilities to [eps, 1 - eps], beyond which their gradient is 0; without it, probability 0 of the
    true class has loss inf.
    fused: where a softmax made the probabilities (with recording on), differentiate through its logits. With False,
    through log and softmax one by one, so that the gradient at the probabilities can be looked at.
    Raises ValueError if the rows are no probabilities.

    >>> cross_entropy(np.array([[0.1, 0.5, 0.1, 0.1, 0.2]]), np.array([0])).item()
    2.30258...

    Source: C. Shannon, "A Mathematical Theory of Communication", 1948, sections 6 and 12.
    """
    name = "cross_entropy"
    p = arguments.floating(probabilities, name, "probabilities")
    arguments.check_axis(name, axis, p)
    if fused and not eps and _made_by(p, ops.softmax) and p.params["axis"] % p.ndim == axis % p.ndim:
        return _of_logits(name, p.inputs[0], targets, weight, label_smoothing, ignore_index, reduction, axis)
    arguments.check_probabilities(p.data, axis)
    rows = arguments.rows_of_classes(name, p, targets, weight, label_smoothing, ignore_index, reduction, axis)
    misuse.warn_of_one_class(p, name, axis)
    p = arguments.clipped(rows.values, eps, name)
    target, classes = rows.soft, p.shape[-1]
    if rows.labels is not None:
        ignored = ops.less(rows.labels, 0) if ignore_index is None else ops.equal(rows.labels, ignore_index)
        labels = ops.where(ignored, 0, rows.labels)
        ones = interpreter.get().read(Tensor(np.ones(p.shape[:1], p.dtype), name="ones"))
        target = ops.place(ones, labels, classes=classes)
    target = ((1 - label_smoothing) * target + label_smoothing / classes) * rows.weight
    if rows.labels is not None:  # whatever is in an ignored row, its terms are 0 log 1 = 0
        ignored = ops.expand_dims(ignored, axis=-1)
        target, p = ops.where(ignored, 0, target), ops.where(ignored, 1, p)
    loss = 0 - ops.reduce_sum(ops.xlogy(target, p), axis=-1)  # 0 - 0 is no -0
    if reduction == "none":
        return loss if loss.shape == rows.shape else ops.reshape(loss, shape=rows.shape)
    total = ops.reduce_sum(loss)
    if reduction == "mean":
        return total / (p.shape[0] if rows.total is None else ops.astype(rows.total, dtype=p.dtype))
    return total


def sigmoid_binary_cross_entropy(
    logits: Any, targets: Any, *, weight: Any = None, pos_weight: Any = None, reduction: str = "mean"
) -> Any:
    """-(y log p + (1 - y) log(1 - p)) with p = sigmoid(logits), element by element.

    logits, targets: the same shape; targets in [0, 1].
    weight: multiplies the loss of each element. pos_weight: multiplies the y log p part (how much a positive counts).
    Both broadcast to the shape of the logits. reduction: "mean" over all elements, "sum" or "none".

    >>> sigmoid_binary_cross_entropy(np.array([0.0]), np.array([1])).item()
    0.69314...

    Source: C. Bishop, "Pattern Recognition and Machine Learning", eq. 4.90.
    """
    name = "sigmoid_binary_cross_entropy"
    z = arguments.floating(logits, name, "logits")
    misuse.warn_of_squashed(z, name, "binary_cross_entropy", None)
    y, weight, pos_weight = arguments.binary_arguments(name, z, targets, weight, pos_weight, reduction)
    return call_fused(ops.sigmoid_xent, z, y, pos_weight, weight, reduction=reduction)


def binary_cross_entropy(
    probabilities: Any,
    targets: Any,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: str = "mean",
    eps: float = 0.0,
    fused: bool = True,
) -> Any:
    """-(y log p + (1 - y) log(1 - p)), element by element; 0 log 0 = 0.

    probabilities: in [0, 1]; otherwise as `sigmoid_binary_cross_entropy`. eps and fused: as in `cross_entropy`.

    >>> binary_cross_entropy(np.array([0.9, 0.2]), np.array([1, 0]), reduction="none").data.round(4)
    array([0.1054, 0.2231])
    """
    name = "binary_cross_entropy"
    p = arguments.floating(probabilities, name, "probabilities")
    if fused and not eps and _made_by(p, ops.sigmoid):
        return sigmoid_binary_cross_entropy(
            p.inputs[0], targets, weight=weight, pos_weight=pos_weight, reduction=reduction
        )
    outside = (p.data < 0) | (p.data > 1)
    if outside.any():
        at = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"binary_cross_entropy: the probability at {at} is {p.data[at]:g}, outside [0, 1]; "
            "these look like logits: use sigmoid_binary_cross_entropy"
        )
    y, weight, pos_weight = arguments.binary_arguments(name, p, targets, weight, pos_weight, reduction)
    p = arguments.clipped(p, eps, name)
    loss = 0 - (ops.xlogy(pos_weight * y, p) + ops.xlog1py(1 - y, -p))
    return _reduced_elements(loss, weight, reduction)


def mse(predictions: Any, targets: Any, *, weight: Any = None, reduction: str = "mean") -> Any:
    """(prediction - target)**2, element by element.

    predictions, targets: the same shape. weight: multiplies each element's loss.
    reduction: "mean" over all elements, "sum" or "none". Raises ValueError for differing shapes.

    >>> mse(np.array([1.0, 2.0]), np.array([1.0, 4.0])).item()
    2.0
    """
    p = arguments.floating(predictions, "mse", "predictions")
    arguments.check_reduction("mse", reduction, p)
    targets = arguments.same_shape("mse", p, "predictions", targets)
    return _reduced_elements((p - targets) ** 2, arguments.broadcast("mse", "weight", weight, p), reduction)


def _reduced_elements(losses: Any, weight: Any, reduction: str) -> Any:
    if not isinstance(weight, float):
        losses = ops.where(weight == 0, 0, losses) * weight  # inf * 0 is not 0
    if reduction == "none":
        return losses
    return ops.reduce_mean(losses) if reduction == "mean" else ops.reduce_sum(losses)


def _made_by(x: Any, op: Any) -> bool:
    return isinstance(x, Tensor) and x.op is op
