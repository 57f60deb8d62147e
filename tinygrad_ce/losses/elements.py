"""The losses of single numbers: binary cross-entropy, squares, Huber's; and the hinge, of several classes too."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor, interpreter
from tinygrad_ce.kernels.attach import call_fused
from tinygrad_ce.losses import arguments, misuse
from tinygrad_ce.losses.logits import as_loss_of, logits_of
from tinygrad_ce.source_lines import per_row


def sigmoid_binary_cross_entropy(
    logits: Any, targets: Any, *, weight: Any = None, pos_weight: Any = None, reduction: str = "mean"
) -> Any:
    """-(y log p + (1 - y) log(1 - p)) with p = sigmoid(logits), element by element.

    logits, targets: the same shape; targets in [0, 1].
    weight: multiplies the loss of each element; where it is 0, nothing counts, whatever it is.
    pos_weight: multiplies the y log p part (how much a positive counts). It and weight broadcast to the logits' shape.
    reduction: "mean" over all elements, "sum" or "none".

    >>> sigmoid_binary_cross_entropy(np.array([0.0]), np.array([1])).item()
    0.69314...

    Source: C. Bishop, "Pattern Recognition and Machine Learning", eq. 4.90.
    """
    return _of_logits("sigmoid_binary_cross_entropy", logits, targets, weight, pos_weight, reduction)


def _of_logits(name: str, logits: Any, targets: Any, weight: Any, pos_weight: Any, reduction: str) -> Any:
    """The binary cross-entropy of the sigmoid of logits; name is what the user has called."""
    z = arguments.floating(logits, name, "logits")
    misuse.warn_of_squashed(z, name, "binary_cross_entropy", None)
    y, weights, positive = _binary_arguments(name, z, "logits", targets, weight, pos_weight, reduction)
    z = weights.counting(z)
    return call_fused(ops.sigmoid_xent, z, y, positive, weights.values, reduction=reduction)


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

    Source: C. Bishop, "Pattern Recognition and Machine Learning", eq. 4.90.
    """
    name = "binary_cross_entropy"
    p = arguments.floating(probabilities, name, "probabilities")
    logits, passed_over = logits_of(p, ops.sigmoid) if fused and not eps else (None, ())
    if logits is not None:
        return as_loss_of(p, _of_logits(name, logits, targets, weight, pos_weight, reduction), passed_over)
    y, weights, positive = _binary_arguments(name, p, "probabilities", targets, weight, pos_weight, reduction)
    _check_probabilities(name, p.data, weights)
    whole = weights.counting(p, 0.5)
    p = arguments.clipped(whole, eps, name)
    if eps:  # near 1 it is log(eps), of which 1 - (1 - eps) has lost digits
        near_1 = ops.less(1 - whole, eps)
        complement = ops.where(near_1, ops.xlogy(1 - y, float(eps)), ops.xlog1py(1 - y, -ops.where(near_1, 0, p)))
    else:
        complement = ops.xlog1py(1 - y, -p)
    return _reduced(0 - (ops.xlogy(positive * y, p) + complement), targets, weights, reduction)


def _binary_arguments(
    name: str, values: Any, what: str, targets: Any, weight: Any, pos_weight: Any, reduction: str
) -> tuple[Any, arguments.Weights, Any]:
    """The targets, the weights of the elements, and those of the positive ones (1.0 where there are none)."""
    arguments.check_reduction(name, reduction, values)
    y = arguments.same_shape(name, values, what, targets)
    weights = arguments.broadcast(name, "weight", weight, values.shape, values.dtype)
    positive = arguments.broadcast(name, "pos_weight", pos_weight, values.shape, values.dtype)
    raw = targets if isinstance(targets, (Tensor, np.ndarray)) else y
    arguments.check_elements(name, "targets", raw, arguments.between_0_and_1, "must lie in [0, 1]", weights.zero)
    return weights.counting(y), weights, positive.values


def _check_probabilities(name: str, p: Any, weights: arguments.Weights) -> None:
    # A NaN passes: it will be NaN in its own loss.
    outside = (p < 0) | (p > 1)
    outside = outside if weights.zero is None else outside & ~weights.zero
    if outside.any():
        at = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"{name}: the probability at {at} is {p[at]:g}, outside [0, 1]; "
            "these look like logits: use sigmoid_binary_cross_entropy"
        )


def mse(predictions: Any, targets: Any, *, weight: Any = None, reduction: str = "mean") -> Any:
    """(prediction - target)**2, element by element.

    predictions, targets: the same shape. weight: multiplies each element's loss; where it is 0, nothing counts,
    whatever it is. reduction: "mean" over all elements, "sum" or "none". Raises ValueError for differing shapes.

    >>> mse(np.array([1.0, 2.0]), np.array([1.0, 4.0])).item()
    2.0

    Source: C. F. Gauss, "Theoria combinationis observationum", 1821.
    """
    error, weights = _errors("mse", predictions, targets, weight, reduction)
    return _reduced(error**2, targets, weights, reduction)


def huber(predictions: Any, targets: Any, *, delta: float = 1.0, weight: Any = None, reduction: str = "mean") -> Any:
    """error**2 / 2 up to |error| = delta, and from there on the straight line delta (|error| - delta / 2).

    The error is prediction - target; its gradient is the error, clipped to [-delta, delta], so that outliers pull no
    harder than others. delta: a positive number. Otherwise as `mse`.
    Raises ValueError for differing shapes, and for a delta that is not positive.

    >>> huber(np.array([0.5, 3.0]), np.array([0.0, 0.0]), reduction="none").data
    array([0.125, 2.5  ])

    Source: P. Huber, "Robust estimation of a location parameter", 1964.
    """
    if not isinstance(delta, (int, float, np.integer, np.floating)):
        raise TypeError(f"huber: delta={delta!r} must be a number")
    if not delta > 0:
        raise ValueError(f"huber: delta={delta} must be positive")
    error, weights = _errors("huber", predictions, targets, weight, reduction)
    near = ops.clip(error, low=-float(delta), high=float(delta))
    return _reduced(near * (error - near / 2), targets, weights, reduction)


def _errors(name: str, predictions: Any, targets: Any, weight: Any, reduction: str) -> tuple[Any, arguments.Weights]:
    """prediction - target, 0 where the weight is 0, and the weights."""
    p = arguments.floating(predictions, name, "predictions")
    arguments.check_reduction(name, reduction, p)
    targets = arguments.same_shape(name, p, "predictions", targets)
    weights = arguments.broadcast(name, "weight", weight, p.shape, p.dtype)
    return weights.counting(p) - weights.counting(targets), weights


def hinge(scores: Any, targets: Any, *, weight: Any = None, reduction: str = "mean") -> Any:
    """max(0, 1 - target score), element by element, or with class indices for each row: what a linear SVM minimizes.

    targets in the shape of the scores: -1 or +1. Or class indices (N,) for scores (N, C), or (..., C) in general: then
    max(0, 1 + (the largest score of another class) - (the score of the true class)).
    weight: multiplies each loss (each element's or each row's); where it is 0, nothing counts, whatever it is.
    reduction: "mean" over all losses, "sum" or "none". The slope at the kink is 0.
    Raises ValueError for targets that are neither, TypeError for class indices that are no integers.

    >>> hinge(np.array([0.5, -2.0]), np.array([1, -1]), reduction="none").data
    array([0.5, 0. ])

    Source: C. Cortes, V. Vapnik, "Support-vector networks", 1995; of several classes: K. Crammer, Y. Singer, 2001.
    """
    s = arguments.floating(scores, "hinge", "scores")
    arguments.check_reduction("hinge", reduction, s)
    targets = targets if isinstance(targets, Tensor) else np.asarray(targets)
    if s.ndim and targets.shape == s.shape[:-1]:
        return _multiclass_hinge(s, targets, weight, reduction)
    if targets.shape != s.shape:
        raise ValueError(
            f"hinge: scores of shape {s.shape} take targets -1 or +1 of the same shape, or class indices of shape "
            f"{s.shape[:-1]}; these targets have shape {targets.shape}"
        )
    y = arguments.same_shape("hinge", s, "scores", targets)
    weights = arguments.broadcast("hinge", "weight", weight, s.shape, s.dtype)
    must = "must be -1 or +1 (of 0 and 1 make them with 2 * y - 1)"
    arguments.check_elements("hinge", "targets", targets, lambda data: np.isin(data, (-1, 1)), must, weights.zero)
    margin = weights.counting(y) * weights.counting(s)
    return _reduced(ops.relu(1 - margin), targets, weights, reduction)


def _multiclass_hinge(s: Any, targets: Any, weight: Any, reduction: str) -> Any:
    classes = s.shape[-1]
    if targets.dtype.kind not in "iu":
        raise TypeError(
            f"hinge: class indices must be integers, and these have dtype {targets.dtype}: cast them with .astype(int)"
        )
    if classes == 0:
        raise ValueError(f"hinge: shape {s.shape} has no classes along its last axis")
    arguments.checked(targets, partial(arguments.check_labels, "hinge", classes=classes, ignore_index=None))
    weights = arguments.broadcast("hinge", "weight", weight, targets.shape, s.dtype)
    if weights.may_be_zero:
        s = ops.where(ops.equal(ops.expand_dims(weights.values, axis=-1), 0), 0, s)
    numbers = interpreter.get().read(Tensor(np.arange(classes), name="classes"))
    is_true = ops.equal(ops.expand_dims(targets, axis=-1), numbers)
    true = ops.reduce_sum(ops.where(is_true, s, 0), axis=-1)
    others = ops.reduce_max(ops.where(is_true, -np.inf, s), axis=-1)
    return _reduced(ops.relu(1 + others - true), targets, weights, reduction)


def _reduced(losses: Any, targets: Any, weights: arguments.Weights, reduction: str) -> Any:
    if not isinstance(weights.values, float):
        losses = losses * weights.values
    per_row(losses, targets)
    if reduction == "none":
        return losses
    return ops.reduce_mean(losses) if reduction == "mean" else ops.reduce_sum(losses)
