"""From a Dataset to batches: split, standardize, batches, one_hot."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_ce.data.checks import Seed, amount_of, generator_from, several, whole_number
from tinygrad_ce.data.dataset import Array, Dataset, check_dataset
from tinygrad_ce.data.several import map_parts, named_parts, take_rows


def split(dataset: Dataset, test: float = 0.25, *, seed: Seed = 0, stratify: bool = True) -> tuple[Dataset, Dataset]:
    """(train, test): every row goes, shuffled, into one of the two; `test` is the share of the second.

    Stratified, each class has that share of its rows in the test part, to within one row, and at least one row in the
    training part. Numbers to predict (float y) have no classes, so they are only shuffled.
    Raises ValueError if test is not between 0 and 1, if there are fewer than 2 rows, or a class has only one.

    >>> split(iris(), test=0.2)
    (Dataset('iris', 120 rows, 4 features, 3 classes), Dataset('iris', 30 rows, 4 features, 3 classes))
    """
    check_dataset("split", "dataset", dataset)
    test = amount_of("split", "test", test, below=1.0)
    if test == 0:
        raise ValueError("split: test is 0; it is the share of the test part, more than 0 and less than 1")
    if len(dataset) < 2:
        raise ValueError(f"split: the data set has {several(len(dataset), 'row')}; two parts need at least 2")
    order = generator_from("split", seed).permutation(len(dataset))
    groups = [order]
    if stratify and dataset.class_names:
        groups = _rows_by_class(dataset, order)
    in_test = np.zeros(len(dataset), dtype=bool)
    for rows, size in zip(groups, _test_sizes([len(rows) for rows in groups], test), strict=True):
        in_test[rows[:size]] = True
    return dataset.take(order[~in_test[order]]), dataset.take(order[in_test[order]])


def _rows_by_class(dataset: Dataset, order: Array) -> list[Array]:
    labels = dataset.y[order]
    groups = [order[labels == label] for label in range(dataset.n_classes)]
    for name, rows in zip(dataset.class_names, groups, strict=True):
        if len(rows) == 1:
            raise ValueError(
                f"split: class {name!r} has only 1 row, which cannot be in both parts; "
                "give it another row, or pass stratify=False"
            )
    return [rows for rows in groups if len(rows)]


def _test_sizes(counts: list[int], test: float) -> list[int]:
    """How many rows of each group go into the test part: the largest remainders are rounded up.

    Rounding each group by itself could make the test part of many small classes empty.
    """
    exact = np.array(counts) * test
    sizes = np.floor(exact).astype(np.int64)
    still = max(1, round(sum(counts) * test)) - int(sizes.sum())
    for group in np.argsort(sizes - exact, kind="stable"):
        if still > 0 and sizes[group] < min(exact[group], counts[group] - 1):
            sizes[group] += 1
            still -= 1
    return [int(size) for size in sizes]


def standardize(train: Dataset, *others: Dataset) -> tuple[Dataset, ...]:
    """All of them with each numeric column shifted and scaled so that it has mean 0 and deviation 1 in `train`.

    The statistics are the training part's: those of the test part would leak what the model must not know. A column
    that is constant in `train` is only shifted; one-hot columns are untouched. X keeps its dtype.
    Raises ValueError if `train` has no rows, a column is not finite, or the columns of `others` are different ones.

    >>> train, test = standardize(*split(iris()))
    >>> train.X.std(axis=0)
    array([1., 1., 1., 1.])
    """
    for position, dataset in enumerate((train, *others)):
        check_dataset("standardize", f"argument {position + 1}", dataset)
        if dataset.feature_names != train.feature_names or not np.array_equal(dataset.numeric, train.numeric):
            raise ValueError(f"standardize: argument {position + 1} ({dataset!r}) has not the columns of {train!r}")
    if not len(train):
        raise ValueError("standardize: the training part has no rows")
    shift, scale = _statistics(train)
    return tuple(
        replace(dataset, X=((dataset.X - shift) / scale).astype(dataset.X.dtype)) for dataset in (train, *others)
    )


def _statistics(train: Dataset) -> tuple[Array, Array]:
    """What to subtract from each column, and what to divide it by: 0 and 1 for those that stay as they are."""
    X = train.X.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        shift, scale = X.mean(axis=0), X.std(axis=0)
    if not np.isfinite(scale).all():
        name = train.feature_names[np.argmin(np.isfinite(scale))]
        raise ValueError(f"standardize: column {name!r} has values that are not finite, or too large to square")
    # The mean of equal numbers may round to another one, and their deviation to 1e-17: ask the values themselves.
    constant = X.min(axis=0) == X.max(axis=0)
    shift = np.where(constant, X[0], shift)
    scale = np.where(constant | (scale == 0), 1.0, scale)
    return np.where(train.numeric, shift, 0.0), np.where(train.numeric, scale, 1.0)


def batches(
    X: Any, y: Any = None, batch_size: int = 32, *, seed: Seed = None, shuffle: bool = True, drop_last: bool = False
) -> Iterator[tuple[Any, Any]]:
    """Pairs (X_batch, y_batch) of `batch_size` rows that cover every row once; the last is short if it must be.

    X, y: arrays with a row for each example, tuples or dicts of such arrays (the batches are then tuples and dicts of
    parts of them), or a Dataset in the place of X: `batches(train, batch_size=16)`.
    seed: an integer gives the same order each time; a Generator advances, so that epochs differ; None is unforeseeable.
    drop_last: leave a last batch out that would be short.
    Raises ValueError if X and y have not the same number of rows, none at all, or batch_size < 1, and TypeError if one
    is sparse: at once, not later.

    >>> [len(y) for X, y in batches(np.zeros((10, 2)), np.zeros(10), 4)]
    [4, 4, 2]
    """
    if isinstance(X, Dataset):
        if isinstance(y, numbers.Integral):
            raise TypeError(f"batches: y is the number {y}; beside a Dataset, write batch_size={y}")
        X, y = X.X, X.y if y is None else y
    if y is None:
        raise TypeError("batches: y, the targets, is missing: pass X and y, or a Dataset, which holds both")
    parts = [*named_parts(X, "X"), *named_parts(y, "y")]
    for name, value in parts:
        if hasattr(value, "toarray"):
            raise TypeError(f"batches: {name} is a sparse {type(value).__name__}; pass {name}.toarray()")
    X, y = map_parts(np.asarray, X), map_parts(np.asarray, y)
    batch_size = whole_number("batches", "batch_size", batch_size, least=1)
    rows = _rows_of_all({name: np.asarray(value) for name, value in parts})
    generator = generator_from("batches", seed)
    order = generator.permutation(rows) if shuffle else np.arange(rows)
    return _batches(X, y, order[: rows - rows % batch_size] if drop_last else order, batch_size)


def _rows_of_all(arrays: dict[str, Array]) -> int:
    """How many rows the arrays have. ValueError that names two if they are not as many, or one if it has none."""
    first, array = next(iter(arrays.items()))
    for name, other in arrays.items():
        if array.ndim == 0 or other.ndim == 0:
            raise ValueError(
                f"batches: {first} has shape {array.shape} and {name} has shape {other.shape}; both must have rows"
            )
        if len(array) != len(other):
            raise ValueError(
                f"batches: {first} has {several(len(array), 'row')} and {name} has {len(other)}; they must be as many"
            )
    if len(array) == 0:
        raise ValueError(f"batches: {' and '.join(arrays)} have no rows")
    return len(array)


def _batches(X: Any, y: Any, order: Array, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """The generator by itself: in one function with the checks, it would put them off to the first next()."""
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield take_rows(X, rows), take_rows(y, rows)


def one_hot(y: Any, classes: int) -> NDArray[np.float64]:
    """(N, classes) float64 rows that are 1 at the class index and 0 elsewhere, from (N,) integers.

    Raises TypeError if y holds no integers, ValueError if an index is not in 0 to classes - 1.

    >>> one_hot([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    classes = whole_number("one_hot", "classes", classes, least=1)
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"one_hot: y has shape {y.shape}; it must be (N,)")
    if y.size and not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"one_hot: y holds {y.dtype}; class indices are integers: y.astype(int)")
    outside = np.flatnonzero((y < 0) | (y >= classes))
    if len(outside):
        row = outside[0]
        raise ValueError(f"one_hot: y[{row}] is {y[row]}; with {classes} classes it must be 0 to {classes - 1}")
    rows = np.zeros((len(y), classes))
    rows[np.arange(len(y)), y.astype(np.int64)] = 1.0
    return rows
