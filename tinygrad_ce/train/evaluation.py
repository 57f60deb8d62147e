"""The predictions of all rows at once, computed batch by batch: a loss of them is the loss of the whole data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import data, ops
from tinygrad_ce.core import Array, Primitive, Tensor, array_of
from tinygrad_ce.data.structures import number_of_rows, take_rows
from tinygrad_ce.nn.module import call_model
from tinygrad_ce.train.checks import arrays_of_answer


def all_answers(model: Callable[..., Any], X: Any, batch_size: int) -> Any:
    """The arrays that the model answers with, in the tuples, lists and dicts that it answers with, batch by batch.

    Raises TypeError or ValueError for an answer that has not a row for each row of X.
    """
    rows = data.batches(X, np.arange(number_of_rows(X)), batch_size, shuffle=False)
    return _concatenated([arrays_of_answer(call_model(model, batch), len(numbers)) for batch, numbers in rows])


def _concatenated(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, (tuple, list)):
        return type(first)([_concatenated([part[i] for part in parts]) for i in range(len(first))])
    if isinstance(first, dict):
        return {name: _concatenated([part[name] for part in parts]) for name in first}
    return np.concatenate(parts)


def all_predictions(model: Callable[..., Any], X: Any, batch_size: int) -> Any:
    """`model(X)`, but that only `batch_size` rows are in the model at a time, and of the graph only its end is kept.

    The end is what a loss looks at: the softmax or sigmoid that probabilities come from, so that the loss is computed
    from the logits, as in training. A model whose answer has not a row for each row of X gets all rows in one call.
    """
    rows = number_of_rows(X)
    if rows <= batch_size:
        return call_model(model, X)
    parts = []
    for start in range(0, rows, batch_size):
        batch = take_rows(X, slice(start, start + batch_size))
        predictions = call_model(model, batch)
        if not _has_rows(predictions, number_of_rows(batch)):
            return call_model(model, X)
        parts.append(_shortened(predictions))
    return _joined(parts)


def _has_rows(predictions: Any, rows: int) -> bool:
    if isinstance(predictions, (tuple, list)):
        return all(_has_rows(part, rows) for part in predictions)
    if isinstance(predictions, dict):
        return all(_has_rows(part, rows) for part in predictions.values())
    shape: tuple[int, ...] = getattr(predictions, "shape", ())
    return len(shape) > 0 and shape[0] == rows


class _Call(NamedTuple):
    """One operation between a softmax or sigmoid and the loss; shape: of what it gave."""

    op: Primitive
    params: Mapping[str, Any]
    shape: tuple[int, ...]


class _Part(NamedTuple):
    """The predictions of one batch: an array, and the calls that make predictions of it."""

    array: Array
    calls: tuple[_Call, ...]


def _shortened(predictions: Any) -> Any:
    """The predictions with the end of their graph, in the same tuples, lists and dicts."""
    if isinstance(predictions, (tuple, list)):
        return [_shortened(part) for part in predictions]
    if isinstance(predictions, dict):
        return {name: _shortened(part) for name, part in predictions.items()}
    x, calls = predictions, []
    while isinstance(x, Tensor) and x.op is not None and len(x.inputs) == 1 and _keeps_rows(x):
        calls.append(_Call(x.op, x.params, x.shape))
        squashes, x = x.op in (ops.softmax, ops.sigmoid), x.inputs[0]
        if squashes:
            return _Part(array_of(x), tuple(reversed(calls)))
    return _Part(array_of(predictions), ())


def _keeps_rows(x: Tensor) -> bool:
    """Whether x is a squashing, or only another form of its input, and comes out alike for many rows and for few."""
    source, axis = x.inputs[0], x.params.get("axis")
    if x.op in (ops.softmax, ops.squeeze):
        return isinstance(axis, int) and axis % source.ndim != 0
    if x.op is ops.getitem:
        first = x.params["pattern"][0]
        return isinstance(first, slice) and first == slice(None)
    return x.op in (ops.sigmoid, ops.astype, ops.reshape)


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, list):
        return tuple(_joined([part[i] for part in parts]) for i in range(len(first)))
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    array = np.concatenate([part.array for part in parts])
    if not first.calls:
        return Tensor(array)
    x: Any = Tensor(array, requires_grad=True)  # so that the calls are recorded
    for calls in zip(*(part.calls for part in parts), strict=True):
        op, params, shape = calls[0]
        if op is ops.reshape:
            params = {"shape": (sum(call.shape[0] for call in calls), *shape[1:])}
        x = op(x, **params)
    return x
