"""Weights of the rows: checked, made of weights for the classes, and how a loss is weighed by them."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import closest, quoted
from tinygrad_ce.data.structures import is_several, number_of_rows, take_rows
from tinygrad_ce.nn import Module
from tinygrad_ce.nn.losses import _Loss
from tinygrad_ce.report.words import several
from tinygrad_ce.train.checks import array_of_numbers
from tinygrad_ce.train.metrics import class_axis, ignored_index, label_counts, options_of

# ---- a loss that is weighed


def losses_of_rows(where: str, loss: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """The loss with reduction="none": one number for each row, or for each element of it.

    Ours can all do that, and a function or module of the user's own if it takes `reduction`. ValueError otherwise.
    """
    if isinstance(loss, _Loss) and type(loss).forward is _Loss.forward:
        return partial(type(loss).function, **{**loss.options, "reduction": "none"})
    function = loss.forward if isinstance(loss, Module) else loss
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a function that says nothing of its parameters
        names = {}  # type: ignore[assignment]
    if "reduction" not in names:
        raise ValueError(
            f"{where}: weights of rows need the loss of each row, and your loss gives one number for all: let it take "
            'reduction, def loss(p, y, reduction="mean"), and answer reduction="none" with a number for each row, as '
            "tg.losses.mse(p, y, reduction=reduction) does"
        )
    return partial(loss, reduction="none")


def weighted_loss(loss: Callable[..., Any], predictions: Any, targets: Any, weights: Any) -> Any:
    """sum w l / sum w over the rows: what the mean would be if each row were there w times; a sum stays a sum.

    weights: (N,). Labels that count more or less in a mean of the loss (class weights, ignored ones) do so here too.
    """
    losses = losses_of_rows("fit", loss)(predictions, targets)
    if losses.shape[:1] != weights.shape:
        raise ValueError(
            f'fit: {several(len(weights), "row")} with weights need as many losses, and with reduction="none" the loss '
            f"has shape {losses.shape}"
        )
    dtype, wide = losses.dtype, np.promote_types(losses.dtype, np.float32)  # a sum of float16 ends at 65504
    each = ops.reshape(weights, shape=(*weights.shape, *[1] * (losses.ndim - 1)))
    each, losses = (x if x.dtype == wide else ops.astype(x, dtype=wide) for x in (each, losses))
    total = ops.reduce_sum(losses * each)
    if options_of(loss).get("reduction") != "sum":
        total = total / _divisor(loss, predictions, targets, each, losses.size // len(weights))
    return total if dtype == wide else ops.astype(total, dtype=dtype)


def _divisor(loss: Callable[..., Any], predictions: Any, targets: Any, each: Any, elements: int) -> Any:
    """What a weighted mean is divided by. each: the weights, to be multiplied with losses of so many elements a row."""
    hard = len(getattr(targets, "shape", ())) < len(getattr(predictions, "shape", ()))
    counts = label_counts(loss, targets) if hard else None
    if counts is None:
        return ops.reduce_sum(each) * elements
    total = ops.reduce_sum(each * counts)
    total = ops.where(ops.equal(total, 0), 1, total)  # a batch of ignored labels alone has loss 0
    return total if total.dtype == each.dtype else ops.astype(total, dtype=each.dtype)


# ---- what the weights are


def weighed_rows(
    where: str,
    loss: Callable[..., Any],
    X: Any,
    y: Any,
    sample_weight: Any,
    dtype: np.dtype[Any],
    by_class: Array | None = None,
) -> tuple[Any, Any, Array | None]:
    """X and y without the rows of weight 0, which count for nothing whatever they hold, and the weights of the others.

    by_class: weights by which the sample weights are multiplied. The weights are None where there are none.
    ValueError for weights that are none, or are all 0, and for a loss that cannot be weighed.
    """
    if sample_weight is None and by_class is None:
        return X, y, None
    losses_of_rows(where, loss)
    dtype = np.promote_types(dtype, np.float32)
    weights = np.ones((), dtype) if by_class is None else by_class
    if sample_weight is not None:
        weights = weights * sample_weights(where, sample_weight, number_of_rows(X), dtype)
    if not weights.any():
        raise ValueError(f"{where}: the weights of all rows are 0, so that no row counts")
    counts = weights > 0
    return (X, y, weights) if counts.all() else (take_rows(X, counts), take_rows(y, counts), weights[counts])


def sample_weights(where: str, weights: Any, rows: int, dtype: np.dtype[Any]) -> Array:
    """The weights of the rows, (N,), checked, in the dtype of the parameters."""
    array = array_of_numbers(where, "sample_weight", weights)
    if array.shape != (rows,):
        hint = ": write sample_weight.ravel()" if array.size == rows else ""
        raise ValueError(f"{where}: sample_weight has shape {array.shape}, and X has {several(rows, 'row')}{hint}")
    with np.errstate(over="ignore"):
        array = array.astype(dtype)
    bad = np.flatnonzero(~((array >= 0) & np.isfinite(array)))
    if len(bad):
        raise ValueError(
            f"{where}: sample_weight must not be negative, NaN or infinite, and that of row {bad[0]} is {array[bad[0]]}"
        )
    return array


def class_weights(
    where: str, weights: Any, y: Any, task: str, loss: Any, class_names: Sequence[str], dtype: np.dtype[Any]
) -> Array:
    """The weight of each row by its class, (N,).

    weights: "balanced", N / (classes * rows of the class), for all classes that there are; or a dict from class indices
    or names to weights, where a class that is left out has 1.
    Source of "balanced": G. King, L. Zeng, "Logistic regression in rare events data", 2001; scikit-learn's formula.
    """
    labels = _labels(where, y, task, class_axis(loss))
    counted = np.ones(labels.shape, bool) if (ignored := ignored_index(loss)) is None else labels != ignored
    result = np.ones(len(labels), dtype)
    if isinstance(weights, str) and weights == "balanced":
        present, sizes = np.unique(labels[counted], return_counts=True)
        by_class = dict(zip(present.tolist(), counted.sum() / (len(present) * sizes), strict=True))
    elif isinstance(weights, Mapping):
        classes = int(labels[counted].max(initial=-1)) + 1
        by_class = dict(_by_index(where, key, w, class_names, classes) for key, w in weights.items())
    else:
        raise TypeError(f'{where}: class_weight={weights!r} must be "balanced" or a dict from classes to weights')
    for label, weight in by_class.items():
        result[labels == label] = weight
    return result


def _labels(where: str, y: Any, task: str, axis: int) -> Array:
    """The class of each row, (N,), of targets of a task that has classes."""
    if task == "numbers":
        kind = "several arrays" if is_several(y) else "numbers"
        raise ValueError(
            f"{where}: class_weight is for a loss of tg.losses or tg.nn over classes, and these targets are {kind} to "
            "it: pass a weight for each row, sample_weight=np.where(y > 0, 3.0, 1.0)"
        )
    if task == "classes" and y.ndim == 2 and y.dtype.kind == "f":
        one_hot = bool(((y == 0) | (y == 1)).all() and (y.sum(axis=axis) == 1).all())
        y = y.argmax(axis=axis) if one_hot else y
    y = y.reshape(-1) if task == "binary" and y.shape == (len(y), 1) else y
    if y.ndim != 1 or not (y == np.round(y)).all():
        raise ValueError(
            f"{where}: class_weight weighs each row by its class, and targets of shape {y.shape} and dtype {y.dtype} "
            "do not give each row one class: pass sample_weight=, or the loss's own weight="
        )
    return np.asarray(y.astype(np.int64))


def _by_index(where: str, key: Any, weight: Any, class_names: Sequence[str], classes: int) -> tuple[int, float]:
    """(class index, weight) of an item of the dict."""
    if isinstance(key, str) and key in class_names:
        index = class_names.index(key)
    elif isinstance(key, numbers.Integral) and 0 <= int(key) < (len(class_names) or classes):
        index = int(key)
    else:
        there = quoted(class_names) if class_names else f"0 to {classes - 1}"
        hint = closest(key, class_names) if isinstance(key, str) else ""
        raise ValueError(f"{where}: class_weight has the class {key!r}, which is none;{hint} the classes are {there}")
    if isinstance(weight, bool) or not isinstance(weight, numbers.Real) or not 0 <= float(weight) < np.inf:
        raise ValueError(f"{where}: class_weight of {key!r} is {weight!r}; it must be a number that is not negative")
    return index, float(weight)
