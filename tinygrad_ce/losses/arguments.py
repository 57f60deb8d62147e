"""The arguments of the losses, checked in the words of a teacher and brought into the form that the primitives take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor, array_of, interpreter
from tinygrad_ce.source_lines import warn

REDUCTIONS = ("mean", "sum", "none")
_INT64 = np.dtype(np.int64)

# ---- of the losses over classes


class Rows(NamedTuple):
    """A loss's arguments as (N, C) rows."""

    values: Any  # logits or probabilities, (N, C)
    labels: Any  # class indices (N,); None where the targets are soft
    soft: Any  # target distributions (N, C), where there are no labels
    weight: Any  # (C,) weights of the classes, or 1.0
    total: Any  # what a mean divides by, if not by the number of rows
    shape: tuple[int, ...]  # of the losses with reduction="none"


def rows_of_classes(
    name: str,
    values: Any,
    targets: Any,
    weight: Any,
    label_smoothing: float,
    ignore_index: int | None,
    reduction: str,
    axis: int,
) -> Rows:
    """The arguments of a loss over classes as rows, all of them checked."""
    check_axis(name, axis, values)
    if ignore_index is not None and not isinstance(ignore_index, (int, np.integer)):
        raise TypeError(f"{name}: ignore_index={ignore_index!r} must be an integer")
    check_reduction(name, reduction, values)
    check_smoothing(name, label_smoothing)
    axis %= values.ndim
    if values.shape[axis] == 0:
        raise ValueError(f"{name}: shape {values.shape} has no classes along axis {axis}")
    shape = values.shape[:axis] + values.shape[axis + 1 :]
    targets = targets if isinstance(targets, Tensor) else np.asarray(targets)
    if targets.shape == values.shape and not (targets.dtype.kind in "iu" and targets.shape == shape):
        return _soft_rows(name, values, targets, weight, ignore_index, axis, shape)
    return _hard_rows(name, values, targets, weight, ignore_index, axis, shape)


def are_plain_labels(values: Any, targets: Any, axis: int) -> bool:
    """Whether these are (N, C) values and N int64 labels, as in most training steps: nothing needs to be converted."""
    data = values.data
    return (
        type(targets) is np.ndarray
        and targets.dtype is _INT64
        and data.ndim == 2
        and targets.shape == data.shape[:1]
        and data.size > 0
        and type(axis) is int
        and axis in (-1, 1)
    )


def check_smoothing(name: str, label_smoothing: float) -> None:
    """Raise for a label smoothing that is no number in [0, 1]."""
    if not isinstance(label_smoothing, (int, float)):
        raise TypeError(f"{name}: label_smoothing={label_smoothing!r} must be a number")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing={label_smoothing} must lie in [0, 1]")


def check_axis(name: str, axis: Any, values: Any) -> None:
    """Raise for an axis that the values do not have."""
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
    ignore_index: int | None,
    axis: int,
    shape: tuple[int, ...],
) -> Rows:
    classes = values.shape[axis]
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
    labels = targets if targets.dtype == np.int64 else ops.astype(targets, dtype=np.dtype(np.int64))
    labels = labels if labels.ndim == 1 else ops.reshape(labels, shape=(-1,))
    checked(targets, partial(check_labels, name, classes=classes, ignore_index=ignore_index))
    rows = _as_rows(values, axis)
    if ignore_index is not None and (array_of(labels) == ignore_index).all():
        warn(f"{name}: every row has the ignored index {ignore_index}; the loss is 0")
    weights = 1.0 if weight is None else _class_weights(name, weight, classes, rows.dtype)
    return Rows(rows, labels, None, weights, _counting(labels, weights, ignore_index), shape)


def _counting(labels: Any, weights: Any, ignore_index: int | None) -> Any:
    """What a mean divides by: the rows, or the weights of their labels, without the ignored ones. None: all rows."""
    if ignore_index is None and isinstance(weights, float):
        return None
    ignored = None if ignore_index is None else ops.equal(labels, ignore_index)
    each: Any = 1.0
    if not isinstance(weights, float):
        classes = labels if ignored is None else ops.where(ignored, 0, labels)
        each = ops.index(ops.astype(weights, dtype=np.dtype(float)), classes)
    total = ops.reduce_sum(each if ignored is None else ops.where(ignored, 0, each))
    return ops.where(ops.equal(total, 0), 1, total)


def check_labels(name: str, labels: Array, classes: int, ignore_index: int | None) -> None:
    """Raise for the first label that is neither a class nor the ignored one."""
    bad = (labels < 0) | (labels >= classes)
    if ignore_index is not None:
        bad &= labels != ignore_index
    if bad.any():
        row = int(np.argmax(bad))
        label = labels.reshape(-1)[row]
        hint = "; to leave rows out, say so with ignore_index=-1" if label == -1 else ""
        raise ValueError(
            f"{name}: the label in row {row} is {label}, and there are {classes} classes, 0 to {classes - 1}{hint}"
        )


def _class_weights(name: str, weight: Any, classes: int, dtype: Any) -> Any:
    weights: Any = np.asarray(weight, dtype)
    if weights.shape != (classes,):
        raise ValueError(f"{name}: weight= has shape {weights.shape}, and {classes} classes need shape ({classes},)")
    bad = ~((weights >= 0) & (weights < np.inf))
    if bad.any():
        raise ValueError(
            f"{name}: weight= must not be negative, NaN or infinite, and of class {int(np.argmax(bad))} it is "
            f"{weights[np.argmax(bad)]:g}"
        )
    return interpreter.get().read(Tensor(weights, name="weight"))


def _soft_rows(
    name: str,
    values: Any,
    targets: Any,
    weight: Any,
    ignore_index: int | None,
    axis: int,
    shape: tuple[int, ...],
) -> Rows:
    if ignore_index is not None:
        raise ValueError(f"{name}: ignore_index= needs class indices; give soft labels of an ignored row no weight")
    soft = _alike(targets, values.dtype)
    rows, soft = _as_rows(values, axis), _as_rows(soft, axis)
    checked(targets, partial(_check_soft_labels, name, axis=axis))
    weights = 1.0 if weight is None else _class_weights(name, weight, rows.shape[1], rows.dtype)
    return Rows(rows, None, soft, weights, None, shape)


def sum_tolerance(dtype: np.dtype[Any]) -> float:
    """How far from 1 the sum of a distribution of this dtype may be."""
    return 1e-3 if dtype.itemsize < 8 else 1e-6


def _check_soft_labels(name: str, soft: Array, axis: int) -> None:
    soft = _as_rows(soft, axis % soft.ndim)
    sums = soft.sum(axis=-1)
    tolerance = sum_tolerance(soft.dtype)
    bad = (soft < 0).any(axis=-1) | ~(np.abs(sums - 1) <= tolerance)
    if bad.any():
        row = int(np.argmax(bad))
        negative = f"its smallest is {soft[row].min():g}, and it" if (soft[row] < 0).any() else "it"
        raise ValueError(
            f"{name}: soft labels must not be negative and must sum to 1; row {row} is wrong: {negative} sums to "
            f"{sums[row]:g}"
        )


def check_probabilities(p: Array, axis: int) -> None:
    """Raise for the first row that is no probability distribution."""
    sums = p.sum(axis=axis)
    tolerance = sum_tolerance(p.dtype)
    # A NaN passes: it will be NaN in its row's loss, which tells more than a refusal of the batch.
    bad = (np.abs(sums - 1) > tolerance) | (p < 0).any(axis=axis) | (p > 1 + tolerance).any(axis=axis)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0]) if bad.ndim else ()
        where = f"row {at[0] if len(at) == 1 else at}" if at else "the row"
        raise ValueError(
            f"cross_entropy: {where} is no probability distribution (it sums to {sums[at]:g}); "
            "these look like logits: use softmax_cross_entropy"
        )


# ---- of the losses over elements


def binary_arguments(
    name: str, values: Any, targets: Any, weight: Any, pos_weight: Any, reduction: str
) -> tuple[Any, Any, Any]:
    """The targets, and the weights of the elements and of the positive ones (1.0 where there are none)."""
    check_reduction(name, reduction, values)
    y = same_shape(name, values, "logits" if "sigmoid" in name else "probabilities", targets)
    checked(targets if isinstance(targets, (Tensor, np.ndarray)) else y, partial(_check_between, name))
    return y, broadcast(name, "weight", weight, values), broadcast(name, "pos_weight", pos_weight, values)


def _check_between(name: str, data: Array) -> None:
    if data.size and not (data.min() >= 0 and data.max() <= 1):
        at = tuple(int(i) for i in np.argwhere(~((data >= 0) & (data <= 1)))[0])
        raise ValueError(f"{name}: targets must lie in [0, 1], and the one at {at} is {data[at]:g}")


def same_shape(name: str, values: Any, what: str, targets: Any) -> Any:
    """The targets as values' dtype. Raises for another shape: (N, 1) against (N,) would silently become (N, N)."""
    y = _alike(targets, values.dtype)
    if y.shape != values.shape:
        hint = ""
        if values.size == y.size:
            hint = f": write targets.reshape({values.shape})"
        raise ValueError(f"{name}: {what} have shape {values.shape} and targets have shape {y.shape}{hint}")
    return y


def broadcast(name: str, argument: str, weight: Any, values: Any) -> Any:
    """Weights that broadcast against the values; 1.0 where there are none."""
    if weight is None:
        return 1.0
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise TypeError(
            f"{name}: {argument}= is a constant, and the gradient of {weight.label} would be lost: pass "
            f'{weight.name or "t"}.data, or weigh the losses of reduction="none" yourself'
        )
    array = array_in(weight, values.dtype)
    if not ((array >= 0) & (array < np.inf)).all():
        raise ValueError(f"{name}: {argument}= must not be negative, NaN or infinite")
    try:
        np.broadcast_to(array, values.shape)
    except ValueError:
        raise ValueError(
            f"{name}: {argument}= has shape {array.shape}, which does not broadcast to {values.shape}"
        ) from None
    return interpreter.get().read(Tensor(array, name=argument))


# ---- of all


def checked(x: Any, check: Callable[[Array], Any]) -> Any:
    """What a check says of the numbers of x, which it raises for if they are wrong; a traced program checks anew."""
    return check(interpreter.get().numbers(x, check))


def _alike(targets: Any, dtype: Any) -> Any:
    """Targets in the dtype of the values."""
    if isinstance(targets, Tensor):
        return targets if targets.requires_grad or targets.dtype == dtype else ops.astype(targets, dtype=dtype)
    return array_in(targets, dtype)


def array_in(x: Any, dtype: Any) -> Array:
    """The array of a tensor, or of anything else, in this dtype."""
    return np.asarray(x.data if isinstance(x, Tensor) else x, dtype=dtype)


def floating(values: Any, name: str, what: str) -> Any:
    """The values as a Tensor of floating-point numbers."""
    if not isinstance(values, Tensor):
        values = Tensor(values)
    if values.data.dtype.kind != "f":
        raise TypeError(f"{name}: {what} must be floating-point numbers, and these have dtype {values.dtype}")
    return values


def check_reduction(name: str, reduction: str, values: Any) -> None:
    """Raise for a reduction of another name, and for the mean of nothing."""
    if reduction not in REDUCTIONS:
        raise ValueError(f'{name}: reduction={reduction!r} must be "mean", "sum" or "none"')
    if reduction == "mean" and values.size == 0:
        raise ValueError(f'{name}: the mean of an empty batch (shape {values.shape}) is 0 / 0; use reduction="sum"')


def clipped(p: Any, eps: float, name: str) -> Any:
    """The probabilities between eps and 1 - eps; as they are for eps=0."""
    if not 0 <= eps < 0.5:
        raise ValueError(f"{name}: eps={eps} must lie in [0, 0.5)")
    return ops.clip(p, low=eps, high=1 - eps) if eps else p
