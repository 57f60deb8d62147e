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
    has_zero_weights: bool  # whether a weight is 0, or may be
    ignored: Any  # which rows have the ignored label, (N,); None without one
    total: Any  # what a mean divides by, if not by the number of rows
    shape: tuple[int, ...]  # of the losses with reduction="none"
    counted: Any  # which rows count, as far as it is certain, in that shape: only they are checked. None: all


def rows_of_classes(
    name: str,
    values: Any,
    targets: Any,
    weight: Any,
    ignore_index: int | None,
    reduction: str,
    axis: int,
    label_smoothing: float = 0.0,
) -> Rows:
    """The arguments of a loss over classes as rows, all of them checked."""
    check_axis(name, axis, values)
    check_ignore_index(name, ignore_index)
    check_reduction(name, reduction, values)
    axis %= values.ndim
    if values.shape[axis] == 0:
        raise ValueError(f"{name}: shape {values.shape} has no classes along axis {axis}")
    shape = values.shape[:axis] + values.shape[axis + 1 :]
    targets = targets if isinstance(targets, Tensor) else np.asarray(targets)
    weights = _class_weights(name, weight, values.shape[axis], values.dtype)
    if targets.shape == values.shape:
        return _soft_rows(name, values, targets, weights, ignore_index, axis, shape)
    return _hard_rows(name, values, targets, weights, ignore_index, axis, shape, label_smoothing)


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


def smoothing(name: str, label_smoothing: Any) -> float:
    """The label smoothing as a Python number. Raises if it is none, or outside of [0, 1]."""
    if not isinstance(label_smoothing, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: label_smoothing={label_smoothing!r} must be a number")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing={label_smoothing} must lie in [0, 1]")
    return float(label_smoothing)


def check_ignore_index(name: str, ignore_index: Any) -> None:
    """Raise for an ignored index that is no integer, or none that an int64 label can be."""
    if ignore_index is None:
        return
    if not isinstance(ignore_index, (int, np.integer)):
        raise TypeError(f"{name}: ignore_index={ignore_index!r} must be an integer")
    if not -(2**63) <= ignore_index < 2**63:
        raise ValueError(f"{name}: ignore_index={ignore_index} is outside of int64: mark these rows with -1 instead")


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
    weights: Weights,
    ignore_index: int | None,
    axis: int,
    shape: tuple[int, ...],
    label_smoothing: float,
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
    checked(targets, partial(check_labels, name, classes=classes, ignore_index=ignore_index))  # before they are cast
    labels = targets if targets.dtype == np.int64 else ops.astype(targets, dtype=np.dtype(np.int64))
    labels = labels if labels.ndim == 1 else ops.reshape(labels, shape=(-1,))
    rows = _as_rows(values, axis)
    ignored = None if ignore_index is None else ops.equal(labels, int(ignore_index))
    total = _counting(labels, weights.values, ignored)
    counted = None
    if ignored is not None or weights.zero is not None:
        counted = _counted_rows(name, array_of(labels), weights, ignore_index, label_smoothing).reshape(shape)
    return Rows(rows, labels, None, weights.values, weights.may_be_zero, ignored, total, shape, counted)


def _counted_rows(
    name: str, labels: Array, weights: Weights, ignore_index: int | None, label_smoothing: float
) -> Array:
    """Which rows count: not those with the ignored label, nor without smoothing those of a class of weight 0."""
    counted = np.ones(labels.shape, bool) if ignore_index is None else labels != ignore_index
    if labels.size and not counted.any():
        warn(f"{name}: every row has the ignored index {ignore_index}; the loss is 0")
    elif weights.zero is not None and not label_smoothing:
        counted &= ~weights.zero[np.where(counted, labels, 0)]
        if labels.size and not counted.any():
            warn(f"{name}: every row that is not ignored has a class of weight 0; the loss is 0")
    return counted


def _counting(labels: Any, weights: Any, ignored: Any) -> Any:
    """What a mean divides by: the rows, or the weights of their labels, without the ignored ones. None: all rows."""
    if ignored is None and isinstance(weights, float):
        return None
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


def _class_weights(name: str, weight: Any, classes: int, dtype: Any) -> Weights:
    shape = None if weight is None else np.shape(array_of(weight))
    if shape not in (None, (classes,)):
        raise ValueError(f"{name}: weight= has shape {shape}, and {classes} classes need shape ({classes},)")
    return weights_in(dtype, name, "weight", weight)


def _soft_rows(
    name: str,
    values: Any,
    targets: Any,
    weights: Weights,
    ignore_index: int | None,
    axis: int,
    shape: tuple[int, ...],
) -> Rows:
    if ignore_index is not None:
        raise ValueError(f"{name}: ignore_index= needs class indices; give soft labels of an ignored row no weight")
    soft = _alike(targets, values.dtype)
    rows, soft = _as_rows(values, axis), _as_rows(soft, axis)
    checked(targets, partial(_check_soft_labels, name, axis=axis, unweighted=weights.zero))
    if weights.may_be_zero:
        soft = ops.where(ops.equal(weights.values, 0), 0, soft)  # a weight of 0 leaves nothing of a NaN
    counted = None
    if weights.zero is not None:
        counted = (array_of(soft) != 0).any(axis=-1).reshape(shape)
    return Rows(rows, None, soft, weights.values, weights.may_be_zero, None, None, shape, counted)


def sum_tolerance(dtype: np.dtype[Any]) -> float:
    """How far from 1 the sum of a distribution of this dtype may be."""
    return 1e-3 if dtype.itemsize < 8 else 1e-6


def _check_soft_labels(name: str, soft: Array, axis: int, unweighted: Array | None = None) -> None:
    """Raise for the first row that is no distribution. unweighted: the classes of weight 0, where a NaN may be."""
    soft = _as_rows(soft, axis % soft.ndim)
    hidden = np.zeros(soft.shape, bool) if unweighted is None else unweighted & ~np.isfinite(soft)
    soft = np.where(hidden, 0, soft)
    sums = soft.sum(axis=-1)
    tolerance = sum_tolerance(soft.dtype)
    close = np.where(hidden.any(axis=-1), sums <= 1 + tolerance, np.abs(sums - 1) <= tolerance)
    bad = (soft < 0).any(axis=-1) | ~close
    if bad.any():
        row = int(np.argmax(bad))
        negative = f"its smallest is {soft[row].min():g}, and it" if (soft[row] < 0).any() else "it"
        raise ValueError(
            f"{name}: soft labels must not be negative and must sum to 1; row {row} is wrong: {negative} sums to "
            f"{sums[row]:g}"
        )


def check_probabilities(p: Array, axis: int, counted: Any = None, name: str = "cross_entropy") -> None:
    """Raise for the first row that is no probability distribution, of those that count."""
    sums = p.sum(axis=axis)
    tolerance = sum_tolerance(p.dtype)
    # A NaN passes: it will be NaN in its row's loss, which tells more than a refusal of the batch.
    bad = (np.abs(sums - 1) > tolerance) | (p < 0).any(axis=axis) | (p > 1 + tolerance).any(axis=axis)
    _refuse(
        bad,
        counted,
        lambda at, row: (
            f"{name}: {row} is no probability distribution (it sums to {sums[at]:g}); "
            "these look like logits: use softmax_cross_entropy"
        ),
    )


def check_log_probabilities(logarithms: Array, axis: int, counted: Any = None) -> None:
    """Raise for the first row, of those that count, whose exponentials do not sum to 1."""
    exact = logarithms.astype(np.float64)
    with np.errstate(over="ignore"):
        sums = np.exp(exact).sum(axis=axis)
    tolerance = sum_tolerance(logarithms.dtype) * (10 if logarithms.dtype.itemsize < 4 else 1)
    _refuse(
        np.abs(sums - 1) > tolerance,
        counted,
        lambda at, row: (
            f"nll: {row} is no row of log-probabilities (its exponentials sum to {sums[at]:g}); of logits "
            "use softmax_cross_entropy, of probabilities cross_entropy"
        ),
    )


def _refuse(bad: Any, counted: Any, words: Callable[[tuple[int, ...], str], str]) -> None:
    """Raise ValueError for the first bad row that counts."""
    bad = bad if counted is None else bad & counted
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0]) if bad.ndim else ()
        raise ValueError(words(at, f"row {at[0] if len(at) == 1 else at}" if at else "the row"))


# ---- of the losses over elements


def check_elements(name: str, what: str, x: Any, good: Callable[[Array], Any], must: str, unweighted: Any) -> None:
    """Raise for the first element that is not good. unweighted: where the weight is 0, and anything may be."""

    def check(data: Array) -> None:
        fine = good(data) if unweighted is None else good(data) | unweighted
        if not fine.all():
            at = tuple(int(i) for i in np.argwhere(~fine)[0])
            raise ValueError(f"{name}: {what} {must}, and the one at {at} is {data[at]:g}")

    checked(x, check)


def between_0_and_1(data: Array) -> Any:
    """Where the numbers lie in [0, 1]."""
    return (data >= 0) & (data <= 1)


def same_shape(name: str, values: Any, what: str, targets: Any) -> Any:
    """The targets as values' dtype. Raises for another shape: (N, 1) against (N,) would silently become (N, N)."""
    y = _alike(targets, values.dtype)
    if y.shape != values.shape:
        hint = ""
        if values.size == y.size:
            hint = f": write targets.reshape({values.shape})"
        raise ValueError(f"{name}: {what} have shape {values.shape} and targets have shape {y.shape}{hint}")
    return y


def broadcast(name: str, argument: str, weight: Any, shape: tuple[int, ...], dtype: Any) -> Weights:
    """Weights that broadcast to the shape of the losses."""
    if weight is None:
        return UNWEIGHTED
    ours = np.shape(array_of(weight))
    try:
        np.broadcast_to(np.empty(ours, bool), shape)
    except ValueError:
        raise ValueError(f"{name}: {argument}= has shape {ours}, which does not broadcast to {shape}") from None
    weights = weights_in(dtype, name, argument, weight)
    if weights.zero is not None and argument == "weight" and weights.zero.all():
        warn(f"{name}: every weight is 0; the loss is 0")
    return weights


# ---- of all


class Weights(NamedTuple):
    """Weights of classes or elements."""

    values: Any  # what the losses are multiplied by; 1.0 where there are none
    zero: Array | None  # where they are 0; None where none is, or where it is not certain
    may_be_zero: bool  # in a program, weights that are its inputs may be

    def counting(self, x: Any, otherwise: float = 0) -> Any:
        """x, but another number where the weight is 0: what is there has no part in the value nor the gradient."""
        return ops.where(ops.equal(self.values, 0), otherwise, x) if self.may_be_zero else x


UNWEIGHTED = Weights(1.0, None, False)


def weights_in(dtype: Any, name: str, argument: str, weight: Any) -> Weights:
    """Weights in this dtype, all of them checked: they must be finite and not negative, and have no gradient."""
    if weight is None:
        return UNWEIGHTED

    def check(array: Array) -> None:
        bad = ~((array >= 0) & (array < np.inf))
        if bad.any():
            where = f" at {int(np.argmax(bad))}" if array.ndim == 1 else ""
            raise ValueError(
                f"{name}: {argument}= must not be negative, NaN or infinite, and{where} it is {array[bad][0]:g}"
            )

    if isinstance(weight, Tensor):
        if weight.requires_grad:
            raise TypeError(
                f"{name}: {argument}= is a constant, and the gradient of {weight.label} would be lost: pass "
                f'{weight.name or "t"}.data, or weigh the losses of reduction="none" yourself'
            )
        checked(weight, check)
        values = interpreter.get().read(weight)
        return Weights(values if values.dtype == dtype else ops.astype(values, dtype=dtype), None, True)
    array = np.asarray(weight)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: {argument}= must be numbers, not dtype {array.dtype}")
    array = array.astype(dtype)
    check(array)
    zero = array == 0
    values = interpreter.get().read(Tensor(array, name=argument))
    return Weights(values, zero if zero.any() else None, bool(zero.any()))


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
    """The probabilities between eps and 1 - eps, beyond which their gradient is 0; as they are for eps=0."""
    if not 0 <= eps < 0.5:
        raise ValueError(f"{name}: eps={eps} must lie in [0, 0.5)")
    eps, smallest = float(eps), float(np.finfo(p.dtype).tiny)
    if 0 < eps < smallest:
        raise ValueError(f"{name}: eps={eps:g} is too small for {p.dtype} probabilities; write at least {smallest:.2g}")
    if eps and p.dtype.type(1 - eps) == 1:  # p cannot be 1 - eps in this dtype, but 1 - p can be eps
        return ops.where(ops.less(p, eps), eps, ops.where(ops.less(1 - p, eps), 1 - eps, p))
    return ops.clip(p, low=eps, high=1 - eps) if eps else p
