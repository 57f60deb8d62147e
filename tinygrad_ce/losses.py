"""The losses: each checks its arguments in the words of a teacher, then calls primitives.

The name says what it takes: `cross_entropy` and `binary_cross_entropy` take probabilities, `softmax_cross_entropy` and
`sigmoid_binary_cross_entropy` take logits. Given probabilities that a softmax or sigmoid has just made, the first two
differentiate through the logits, so the textbook network is as stable as the fused one.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor, users_line, warn

REDUCTIONS = ("mean", "sum", "none")


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
    weight: (C,) non-negative weights per class; a mean is then divided by the weights of the rows, as in PyTorch.
    label_smoothing: in [0, 1]; the target becomes (1 - s) target + s / C.
    ignore_index: rows with this class index count for nothing. All ignored: loss 0 and one warning.
    reduction: "mean" over the rows (the cost), "sum", or "none" (one loss for each row).
    Raises TypeError and ValueError that say which row is wrong, and what to write.

    >>> softmax_cross_entropy(np.array([[2.0, 1.0, 0.1]]), np.array([0])).item()
    0.41703...

    Source: C. Bishop, "Pattern Recognition and Machine Learning", eq. 4.108; smoothing: Szegedy et al., 2015.
    """
    name = "softmax_cross_entropy"
    logits = _floating(logits, name, "logits")
    _warn_squashed_twice(logits, ops.softmax, name, "cross_entropy")
    if reduction == "mean" and weight is None and ignore_index is None and _are_plain_labels(logits, targets, axis):
        _check_smoothing(name, label_smoothing)
        _check_labels(name, targets, logits.data.shape[1], None)
        return ops.xent(logits, targets, smoothing=label_smoothing, reduction="mean")
    rows = _rows(name, logits, targets, weight, label_smoothing, ignore_index, reduction, axis)
    if rows.labels is None:
        return _reduced(ops.soft_xent(rows.values, rows.soft), rows, reduction)
    return _reduced(ops.xent(rows.values, rows.labels, smoothing=label_smoothing), rows, reduction)


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
    p = _floating(probabilities, name, "probabilities")
    _check_axis(name, axis, p)
    options = {"weight": weight, "label_smoothing": label_smoothing, "ignore_index": ignore_index, "axis": axis}
    if fused and not eps and _made_by(p, ops.softmax) and p.params["axis"] % p.ndim == axis % p.ndim:
        return softmax_cross_entropy(p.inputs[0], targets, reduction=reduction, **options)
    _check_probabilities(p.data, axis)
    rows = _rows(name, p, targets, reduction=reduction, **options)
    p = _clipped(rows.values, eps, name)
    if rows.labels is None:
        return _reduced(0 - ops.reduce_sum(ops.xlogy(rows.soft, p), axis=-1), rows, reduction)  # 0 - 0 is no -0
    ignored = rows.labels < 0
    p = ops.where(ignored[:, None], 1, p)  # whatever is in an ignored row, its terms are 0 log 1 = 0
    weights = np.where(ignored, 0, 1).astype(p.dtype)
    weights = np.where(np.isnan(p.data).any(axis=-1), np.nan, weights)  # a NaN spoils its row, whichever class it is in
    loss = 0 - ((1 - label_smoothing) * ops.xlogy(weights, ops.pick(p, np.maximum(rows.labels, 0))))
    if label_smoothing:
        uniform = (weights * label_smoothing / p.shape[-1])[:, None]
        loss = loss - ops.reduce_sum(ops.xlogy(np.broadcast_to(uniform, p.shape), p), axis=-1)
    return _reduced(loss, rows, reduction)


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
    z = _floating(logits, name, "logits")
    _warn_squashed_twice(z, ops.sigmoid, name, "binary_cross_entropy")
    y, weight, pos_weight = _binary_arguments(name, z, targets, weight, pos_weight, reduction)
    return _reduced_elements(ops.sigmoid_xent(z, y, pos_weight), weight, reduction)


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
    p = _floating(probabilities, name, "probabilities")
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
    y, weight, pos_weight = _binary_arguments(name, p, targets, weight, pos_weight, reduction)
    p = _clipped(p, eps, name)
    loss = 0 - (ops.xlogy(pos_weight * y, p) + ops.xlog1py(1 - y, -p))
    return _reduced_elements(loss, weight, reduction)


def mse(predictions: Any, targets: Any, *, weight: Any = None, reduction: str = "mean") -> Any:
    """(prediction - target)**2, element by element.

    predictions, targets: the same shape. weight: multiplies each element's loss.
    reduction: "mean" over all elements, "sum" or "none". Raises ValueError for differing shapes.

    >>> mse(np.array([1.0, 2.0]), np.array([1.0, 4.0])).item()
    2.0
    """
    p = _floating(predictions, "mse", "predictions")
    _check_reduction("mse", reduction, p)
    targets = _same_shape("mse", p, "predictions", targets)
    return _reduced_elements((p - targets) ** 2, _broadcast("mse", "weight", weight, p), reduction)


# ---- arguments of the losses over classes


class _Rows(NamedTuple):
    """A loss's arguments as (N, C) rows."""

    values: Any  # logits or probabilities, (N, C)
    labels: Array | None  # class indices (N,), -1 where the row is ignored; None where the targets are soft
    soft: Any  # target distributions (N, C), with weights and smoothing in them
    row_weights: Array | None  # (N,) for hard targets; None where every row counts 1
    total: float  # what a mean divides by
    shape: tuple[int, ...]  # of the losses with reduction="none"


def _rows(
    name: str,
    values: Any,
    targets: Any,
    weight: Any,
    label_smoothing: float,
    ignore_index: int | None,
    reduction: str,
    axis: int,
) -> _Rows:
    _check_axis(name, axis, values)
    if ignore_index is not None and not isinstance(ignore_index, (int, np.integer)):
        raise TypeError(f"{name}: ignore_index={ignore_index!r} must be an integer")
    _check_reduction(name, reduction, values)
    _check_smoothing(name, label_smoothing)
    axis %= values.ndim
    if values.shape[axis] == 0:
        raise ValueError(f"{name}: shape {values.shape} has no classes along axis {axis}")
    shape = values.shape[:axis] + values.shape[axis + 1 :]
    targets = targets if isinstance(targets, Tensor) else np.asarray(targets)
    if targets.shape == values.shape and not (targets.dtype.kind in "iu" and targets.shape == shape):
        return _soft_rows(name, values, targets, weight, label_smoothing, ignore_index, axis, shape)
    return _hard_rows(name, values, targets, weight, label_smoothing, ignore_index, axis, shape)


def _are_plain_labels(values: Any, targets: Any, axis: int) -> bool:
    """Whether these are (N, C) values and N int64 labels, as in most training steps: nothing needs to be converted."""
    data = values.data
    return (
        type(targets) is np.ndarray
        and targets.dtype == np.int64
        and data.ndim == 2
        and targets.shape == data.shape[:1]
        and data.size > 0
        and type(axis) is int
        and axis in (-1, 1)
    )


def _check_smoothing(name: str, label_smoothing: float) -> None:
    if not isinstance(label_smoothing, (int, float)):
        raise TypeError(f"{name}: label_smoothing={label_smoothing!r} must be a number")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing={label_smoothing} must lie in [0, 1]")


def _check_axis(name: str, axis: Any, values: Any) -> None:
    if not isinstance(axis, (int, np.integer)):
        raise TypeError(f"{name}: axis={axis!r} must be an integer")
    if not -values.ndim <= axis < values.ndim:
        raise ValueError(f"{name}: axis={axis} is not an axis of shape {values.shape}")


def _as_rows(x: Any, axis: int) -> Any:
    """x with the classes in the last axis of two."""
    if x.ndim == 2 and axis == 1:
        return x
    if axis != x.ndim - 1:
        x = ops.moveaxis(x, axis, x.ndim - 1)
    return ops.reshape(x, shape=(-1, x.shape[-1]))


def _hard_rows(
    name: str,
    values: Any,
    targets: Any,
    weight: Any,
    label_smoothing: float,
    ignore_index: int | None,
    axis: int,
    shape: tuple[int, ...],
) -> _Rows:
    classes = values.shape[axis]
    targets = targets.data if isinstance(targets, Tensor) else targets
    if targets.shape != shape:
        raise ValueError(
            f"{name}: values of shape {values.shape} (classes along axis {axis}) take class indices of shape {shape}, "
            f"or soft labels of shape {values.shape}; these targets have shape {targets.shape}"
            + (": write targets.ravel()" if targets.shape in ((*shape, 1), (1, *shape)) else "")
        )
    if targets.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: class indices must be integers, and these have dtype {targets.dtype}: cast them with "
            f".astype(int), or pass one-hot rows of shape {values.shape}"
        )
    labels = np.ascontiguousarray(targets, dtype=np.int64).reshape(-1)
    ignored = _check_labels(name, labels, classes, ignore_index)
    rows = _as_rows(values, axis)
    if weight is None and not ignored:
        return _Rows(rows, labels, None, None, len(labels), shape)
    if ignored:
        labels = np.where(labels == ignore_index, -1, labels)
        if (labels < 0).all():
            warn(f"{name}: every row has the ignored index {ignore_index}; the loss is 0")
    if weight is not None and label_smoothing:  # smoothing spreads each row over classes of different weights
        weights = _class_weights(name, weight, classes, rows.dtype)
        one_hot = (labels[:, None] == np.arange(classes)).astype(rows.dtype)
        soft = ((1 - label_smoothing) * one_hot + label_smoothing / classes) * weights * (labels >= 0)[:, None]
        total = float(np.where(labels < 0, 0, weights[labels]).sum()) or 1.0
        return _Rows(rows, None, soft.astype(rows.dtype), None, total, shape)
    row_weights = (labels >= 0).astype(rows.dtype)
    if weight is not None:
        row_weights *= _class_weights(name, weight, classes, rows.dtype)[labels]
        labels = np.where(row_weights == 0, -1, labels)  # inf * 0 is not 0
    total = float(row_weights.sum(dtype=np.float64)) or 1.0
    return _Rows(rows, labels, None, row_weights, total, shape)


def _check_labels(name: str, labels: Array, classes: int, ignore_index: int | None) -> bool:
    """Raise for a label that is no class; tell whether any row is ignored."""
    if ignore_index is None:
        row = ops.first_bad_label(labels, classes=classes, ignored=0)
        if row < 0:
            return False
    else:
        row = ops.first_bad_label(labels, classes=classes, ignored=ignore_index)
        if row < 0:
            return bool((labels == ignore_index).any())
    hint = "; to leave rows out, say so with ignore_index=-1" if labels[row] == -1 else ""
    raise ValueError(
        f"{name}: the label in row {row} is {labels[row]}, and there are {classes} classes, 0 to {classes - 1}{hint}"
    )


def _class_weights(name: str, weight: Any, classes: int, dtype: Any) -> Array:
    weights = np.asarray(weight, dtype)
    if weights.shape != (classes,):
        raise ValueError(f"{name}: weight= has shape {weights.shape}, and {classes} classes need shape ({classes},)")
    bad = ~((weights >= 0) & (weights < np.inf))
    if bad.any():
        raise ValueError(
            f"{name}: weight= must not be negative, NaN or infinite, and of class {int(np.argmax(bad))} it is "
            f"{weights[np.argmax(bad)]:g}"
        )
    return weights


def _soft_rows(
    name: str,
    values: Any,
    targets: Any,
    weight: Any,
    label_smoothing: float,
    ignore_index: int | None,
    axis: int,
    shape: tuple[int, ...],
) -> _Rows:
    if ignore_index is not None:
        raise ValueError(f"{name}: ignore_index= needs class indices; give soft labels of an ignored row no weight")
    soft = targets if isinstance(targets, Tensor) and targets.requires_grad else _array(targets, values.dtype)
    rows, soft = _as_rows(values, axis), _as_rows(soft, axis)
    _check_soft_labels(name, soft.data if isinstance(soft, Tensor) else soft)
    count = rows.shape[0]
    if label_smoothing:
        soft = (1 - label_smoothing) * soft + label_smoothing / rows.shape[1]
    if weight is not None:
        soft = soft * _class_weights(name, weight, rows.shape[1], rows.dtype)
    return _Rows(rows, None, soft, None, count, shape)


def _check_soft_labels(name: str, soft: Array) -> None:
    sums = soft.sum(axis=-1)
    tolerance = 1e-3 if soft.dtype.itemsize < 8 else 1e-6
    bad = (soft < 0).any(axis=-1) | ~(np.abs(sums - 1) <= tolerance)
    if bad.any():
        row = int(np.argmax(bad))
        negative = f"its smallest is {soft[row].min():g}, and it" if (soft[row] < 0).any() else "it"
        raise ValueError(
            f"{name}: soft labels must not be negative and must sum to 1; row {row} is wrong: {negative} sums to "
            f"{sums[row]:g}"
        )


def _check_probabilities(p: Array, axis: int) -> None:
    sums = p.sum(axis=axis)
    tolerance = 1e-3 if p.dtype.itemsize < 8 else 1e-6
    # A NaN passes: it will be NaN in its row's loss, which tells more than a refusal of the batch.
    bad = (np.abs(sums - 1) > tolerance) | (p < 0).any(axis=axis) | (p > 1 + tolerance).any(axis=axis)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0]) if bad.ndim else ()
        where = f"row {at[0] if len(at) == 1 else at}" if at else "the row"
        raise ValueError(
            f"cross_entropy: {where} is no probability distribution (it sums to {sums[at]:g}); "
            "these look like logits: use softmax_cross_entropy"
        )


def _reduced(losses: Any, rows: _Rows, reduction: str) -> Any:
    """The losses of the rows, weighted and reduced as asked."""
    if rows.row_weights is not None:
        losses = losses * rows.row_weights
    if reduction == "none":
        return losses if losses.shape == rows.shape else ops.reshape(losses, shape=rows.shape)
    total = ops.reduce_sum(losses)
    return total / rows.total if reduction == "mean" else total


# ---- arguments of the losses over elements


def _binary_arguments(
    name: str, values: Any, targets: Any, weight: Any, pos_weight: Any, reduction: str
) -> tuple[Any, Any, Any]:
    _check_reduction(name, reduction, values)
    y = _same_shape(name, values, "logits" if "sigmoid" in name else "probabilities", targets)
    data = y.data if isinstance(y, Tensor) else y
    if data.size and not (data.min() >= 0 and data.max() <= 1):
        at = tuple(int(i) for i in np.argwhere(~((data >= 0) & (data <= 1)))[0])
        raise ValueError(f"{name}: targets must lie in [0, 1], and the one at {at} is {data[at]:g}")
    pos_weight = 1.0 if pos_weight is None else _broadcast(name, "pos_weight", pos_weight, values)
    return y, _broadcast(name, "weight", weight, values), pos_weight


def _same_shape(name: str, values: Any, what: str, targets: Any) -> Any:
    """The targets as values' dtype. Raises for another shape: (N, 1) against (N,) would silently become (N, N)."""
    y = targets if isinstance(targets, Tensor) and targets.requires_grad else _array(targets, values.dtype)
    if y.shape != values.shape:
        hint = ""
        if values.size == y.size:
            hint = f": write targets.reshape({values.shape})"
        raise ValueError(f"{name}: {what} have shape {values.shape} and targets have shape {y.shape}{hint}")
    return y


def _broadcast(name: str, argument: str, weight: Any, values: Any) -> Any:
    if weight is None:
        return None
    array = _array(weight, values.dtype)
    if not ((array >= 0) & (array < np.inf)).all():
        raise ValueError(f"{name}: {argument}= must not be negative, NaN or infinite")
    try:
        return np.broadcast_to(array, values.shape)
    except ValueError:
        raise ValueError(
            f"{name}: {argument}= has shape {array.shape}, which does not broadcast to {values.shape}"
        ) from None


def _reduced_elements(losses: Any, weight: Any, reduction: str) -> Any:
    if weight is not None:
        losses = ops.where(weight == 0, 0, losses) * weight  # inf * 0 is not 0
    if reduction == "none":
        return losses
    return ops.reduce_mean(losses) if reduction == "mean" else ops.reduce_sum(losses)


# ---- arguments of all


def _array(x: Any, dtype: Any) -> Array:
    return np.asarray(x.data if isinstance(x, Tensor) else x, dtype=dtype)


def _floating(values: Any, name: str, what: str) -> Any:
    if not isinstance(values, Tensor):
        values = Tensor(values)
    if values.data.dtype.kind != "f":
        raise TypeError(f"{name}: {what} must be floating-point numbers, and these have dtype {values.dtype}")
    return values


def _check_reduction(name: str, reduction: str, values: Any) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f'{name}: reduction={reduction!r} must be "mean", "sum" or "none"')
    if reduction == "mean" and values.size == 0:
        raise ValueError(f'{name}: the mean of an empty batch (shape {values.shape}) is 0 / 0; use reduction="sum"')


def _clipped(p: Any, eps: float, name: str) -> Any:
    if not 0 <= eps < 0.5:
        raise ValueError(f"{name}: eps={eps} must lie in [0, 0.5)")
    return ops.clip(p, low=eps, high=1 - eps) if eps else p


_SHAPING = {ops.reshape, ops.transpose, ops.squeeze, ops.expand_dims, ops.getitem, ops.identity, ops.astype}


def _made_by(x: Any, op: Any) -> bool:
    return isinstance(x, Tensor) and x.op is op


def _warn_squashed_twice(values: Any, op: Any, name: str, other: str) -> None:
    """Warn if the "logits" are an output of the very function that this loss applies, through any change of shape."""
    maker = values
    while maker.op in _SHAPING and isinstance(maker.inputs[0], Tensor):
        maker = maker.inputs[0]
    if maker.op is not op:
        return
    if (
        op is ops.softmax
    ):  # of two rows that differ by 1 at most, the best is exp(1) against exp(0) for each other class
        best = math.e / (math.e + maker.shape[maker.params["axis"]] - 1)
    else:
        best = 1 / (1 + math.exp(-1))
    warn(
        f"{op.name} is applied twice: at {maker.place}, and again by {name} at {users_line()[0]}; with logits between "
        f"0 and 1, the best probability that can be reached is {best:.3f}. Use {other} for probabilities, or leave the "
        f"first {op.name} out"
    )
