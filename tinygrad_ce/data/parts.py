"""From a Dataset to batches: split, standardize, batches, one_hot."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_ce.data.checks import Seed, amount_of, generator_from, quoted, shown, whole_number
from tinygrad_ce.data.dataset import Array, Dataset, check_dataset
from tinygrad_ce.data.preparation import Preparation, plain_preparation
from tinygrad_ce.data.structures import map_parts, named_parts, take_rows
from tinygrad_ce.report.words import several


def split(
    dataset: Dataset, *shares: float, test: float = 0.25, seed: Seed = 0, stratify: bool = True
) -> tuple[Dataset, ...]:
    """The parts of a Dataset: every row goes, shuffled, into one of them.

    dataset: with its names and its preparation, which each part keeps.
    split(ds, 0.2) or split(ds, test=0.2): (train, test), with that share of the rows in the second. Several shares, the
    first of the training part, give so many parts: split(ds, 0.6, 0.2, 0.2). They must sum to 1.
    stratify: each class has that share of its rows in the test part, to within one row, and at least one row in the
    training part. Numbers to predict (float y) have no classes, so they are only shuffled. seed: of the shuffling.
    Raises ValueError if a share is not between 0 and 1, if there are fewer rows than parts, or a class has only one.

    >>> split(iris(), test=0.2)
    (Dataset('iris', 120 rows, 4 features, 3 classes), Dataset('iris', 30 rows, 4 features, 3 classes))
    """
    check_dataset("split", "dataset", dataset)
    several_shares = _checked_shares(shares or (test,))
    if len(dataset) < len(several_shares):
        rows = several(len(dataset), "row")
        raise ValueError(f"split: the data set has {rows}; {len(several_shares)} parts need at least as many")
    if stratify:
        _check_no_class_is_alone(dataset)
    generator = generator_from("split", seed)
    parts: list[Dataset] = []
    rest, left = dataset, 1.0
    for share in several_shares[:0:-1]:  # the last part first, and the training part is what remains
        if len(rest) < 2:
            raise ValueError(f"split: {several(len(dataset), 'row')} are too few for parts of {shares}")
        rest, part = _two_parts(rest, share / left, generator, stratify)
        parts.insert(0, part)
        left -= share
    return rest, *parts


def _checked_shares(shares: tuple[float, ...]) -> list[float]:
    """The share of each part, the training part's first."""
    name = "test" if len(shares) == 1 else "a share"
    numbers = [amount_of("split", name, share, below=1.0) for share in shares]
    if 0 in numbers:
        raise ValueError(f"split: {name} is 0; it is the share of a part, more than 0 and less than 1")
    if len(numbers) == 1:
        return [1 - numbers[0], *numbers]
    if abs(sum(numbers) - 1) > 1e-9:
        raise ValueError(f"split: the shares {', '.join(map(str, shares))} sum to {sum(numbers):.6g}, not to 1")
    return numbers


def _two_parts(dataset: Dataset, test: float, generator: np.random.Generator, stratify: bool) -> list[Dataset]:
    order = generator.permutation(len(dataset))
    groups = _rows_by_class(dataset, order) if stratify and dataset.class_names else [order]
    in_test = np.zeros(len(dataset), dtype=bool)
    for rows, size in zip(groups, _test_sizes([len(rows) for rows in groups], test), strict=True):
        in_test[rows[:size]] = True
    return [dataset.take(order[~in_test[order]]), dataset.take(order[in_test[order]])]


def _check_no_class_is_alone(dataset: Dataset) -> None:
    for label, name in enumerate(dataset.class_names):
        if np.count_nonzero(dataset.y == label) == 1:
            raise ValueError(
                f"split: class {name!r} has only 1 row, which cannot be in both parts; "
                "give it another row, or pass stratify=False"
            )


def _rows_by_class(dataset: Dataset, order: Array) -> list[Array]:
    labels = dataset.y[order]
    groups = [order[labels == label] for label in range(dataset.n_classes)]
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


def standardize(train: Dataset, *others: Dataset, targets: bool = False) -> tuple[Dataset, ...]:
    """All of them with each numeric column shifted and scaled so that it has mean 0 and deviation 1 in `train`.

    The statistics are the training part's: those of the test part would leak what the model must not know. So are the
    means that stand for missing values, and the levels of categories: one that only others have loses its feature,
    with a warning. A column that is constant in `train` is only shifted; one-hot columns are untouched. X keeps its
    dtype. targets=True scales numbers to predict in the same way. `preparation` of each result does all that to new
    rows, and its `invert` undoes it to predictions.
    Raises ValueError if `train` has no rows, a column is not finite, or the columns of `others` are different ones.

    >>> train, test = standardize(*split(iris()))
    >>> train.X.std(axis=0)
    array([1., 1., 1., 1.])
    """
    for i, dataset in enumerate((train, *others), start=1):
        check_dataset("standardize", f"argument {i}", dataset)
        _check_same_columns(train, dataset, i)
    if not len(train):
        raise ValueError("standardize: the training part has no rows")
    if targets and train.class_names:
        raise ValueError(f"standardize: targets=True scales numbers to predict, and {train.name} has classes")
    preparation = train.preparation or plain_preparation(train)
    kept = ~((train.X == 0).all(axis=0) & preparation.is_level)
    _warn_of_lost_levels(train, others, kept)
    parts = [_with_features(dataset, kept) for dataset in (train, *others)]
    fill = _means(parts[0])
    shift, scale = _statistics(replace(parts[0], X=_filled(parts[0], fill)))
    y = _mean_and_deviation(train.y) if targets else (0.0, 1.0)
    fitted = _noting_gaps(preparation.refitted(np.array([shift, scale, fill]), kept, y), parts[0].missing)
    return tuple(
        replace(
            part,
            X=((_filled(part, fill) - shift) / scale).astype(part.X.dtype),
            y=(part.y - y[0]) / y[1] if targets else part.y,
            preparation=fitted,
        )
        for part in parts
    )


def _noting_gaps(preparation: Preparation, missing: NDArray[np.bool_] | None) -> Preparation:
    """The preparation with a sentence about the gaps of the training part. missing: (N, D), True where one is."""
    if missing is None or not missing.any():
        return preparation
    counts = dict(zip(preparation.feature_names, missing.sum(axis=0).tolist(), strict=True))
    gaps = [(column.name, counts[column.features[0]]) for column in preparation.columns if column.features]
    said = ", ".join(f"{shown(name)} {n}" for name, n in gaps if n)
    note = f"missing in the {several(len(missing), 'training row')}: {said}"
    return replace(preparation, notes=tuple(dict.fromkeys((*preparation.notes, note))))  # once, if it is done twice


def _check_same_columns(train: Dataset, other: Dataset, position: int) -> None:
    if other.feature_names != train.feature_names or not np.array_equal(other.numeric, train.numeric):
        raise ValueError(
            f"standardize: argument {position} ({other!r}) has not the columns of the training part ({train!r}); "
            "rows of another table: preparation.dataset(table) of the standardized training part"
        )
    if other.class_names != train.class_names:
        raise ValueError(f"standardize: argument {position} ({other!r}) has not the classes of the training part")
    here, there = (part.preparation or plain_preparation(part) for part in (train, other))
    if (here.shift, here.scale, here.target) != (there.shift, there.scale, there.target):
        raise ValueError(
            f"standardize: argument {position} ({other!r}) is scaled by other numbers than the training part; "
            "standardize both in one call"
        )


def _warn_of_lost_levels(train: Dataset, others: tuple[Dataset, ...], kept: NDArray[np.bool_]) -> None:
    lost = [
        name
        for i, name in enumerate(train.feature_names)
        if not kept[i] and any((other.X[:, i] != 0).any() for other in others)
    ]
    if lost:
        message = f"standardize: no row of the training part has {quoted(lost)}; all features of these levels are 0"
        warnings.warn(message, UserWarning, stacklevel=3)


def _with_features(dataset: Dataset, kept: NDArray[np.bool_]) -> Dataset:
    if kept.all():
        return dataset
    names = tuple(name for name, keep in zip(dataset.feature_names, kept, strict=True) if keep)
    missing = None if dataset.missing is None else dataset.missing[:, kept]
    return replace(dataset, X=dataset.X[:, kept], feature_names=names, numeric=dataset.numeric[kept], missing=missing)


def _means(train: Dataset) -> Array:
    """The mean of each feature over the rows in which it is not missing."""
    with np.errstate(over="ignore", invalid="ignore"):  # not finite: said by _statistics
        if train.missing is None:
            return np.asarray(train.X.mean(axis=0, dtype=np.float64))
        counts = (~train.missing).sum(axis=0)
        if not counts.all():
            name = train.feature_names[int(np.argmin(counts))]
            raise ValueError(f"standardize: no row of the training part has a value of {name!r}; drop the column")
        return np.asarray(train.X.mean(axis=0, dtype=np.float64, where=~train.missing))


def _filled(dataset: Dataset, fill: Array) -> Array:
    return dataset.X if dataset.missing is None else np.where(dataset.missing, fill, dataset.X)


def _mean_and_deviation(y: Array) -> tuple[float, float]:
    if not np.isfinite(y).all():
        raise ValueError("standardize: a target is not finite")
    deviation = float(y.std())
    return float(y.mean()), deviation if y.min() < y.max() and deviation > 0 else 1.0


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

    shuffle: whether rows come in random order. batch_size: of the last one at most.
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
