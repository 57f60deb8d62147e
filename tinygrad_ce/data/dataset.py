"""Dataset: rows, targets, and what columns and classes are called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_ce.report.words import several

if TYPE_CHECKING:
    from tinygrad_ce.data.preparation import Preparation

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """N rows of D features with a target for each row, and what the columns and classes are called.

    feature_names: D of them. name: what it is called in messages and pictures.
    X: (N, D) floats. y: (N,) int64 class indices, or float64 numbers to predict (then class_names is empty).
    numeric: (D,) bool; True is a measured number, which `standardize` scales; False a column that has its scale already
    (one-hot, a pixel), which it leaves.
    preparation: what turned a table into these numbers, and will do so with new rows.
    missing: (N, D) bool; True where the table had no value, and X has a mean; None if nothing was missing.
    Raises TypeError and ValueError where the parts do not agree.

    >>> iris().take([0, 75, 149])
    Dataset('iris', 3 rows, 4 features, 3 classes)
    """

    X: Array
    y: Array
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    name: str
    numeric: NDArray[np.bool_]
    preparation: Preparation | None = None
    missing: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        _check_arrays(self.X, self.y)
        _check_features(self.X.shape[1], self.feature_names, self.numeric)
        _check_classes(self.y, self.class_names)
        if self.missing is not None and (self.missing.shape != self.X.shape or self.missing.dtype != np.bool_):
            raise ValueError(f"Dataset: missing must be bool and of the shape of X, {self.X.shape}")

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        kind = several(self.n_classes, "class", "classes") if self.class_names else "regression"
        rows, features = several(len(self), "row"), several(self.n_features, "feature")
        return f"Dataset({self.name!r}, {rows}, {features}, {kind})"

    @property
    def n_features(self) -> int:
        """D, the number of columns of X."""
        return int(self.X.shape[1])

    @property
    def n_classes(self) -> int:
        """The number of classes; 0 for regression."""
        return len(self.class_names)

    def take(self, rows: Any) -> Dataset:
        """A Dataset of copies of these rows: integers, a boolean mask or a slice, as NumPy indexes.

        >>> len(moons(10).take(slice(0, 3)))
        3
        """
        chosen = np.atleast_1d(np.arange(len(self))[rows])
        missing = None if self.missing is None else self.missing[chosen]
        return replace(self, X=self.X[chosen], y=self.y[chosen], missing=missing)

    def astype(self, dtype: DTypeLike) -> Dataset:
        """The same Dataset with X in another floating dtype; y keeps its own.

        >>> moons(10).astype("float32").X.dtype
        dtype('float32')
        """
        return replace(self, X=self.X.astype(dtype))


def _check_arrays(X: Any, y: Any) -> None:
    for name, value in (("X", X), ("y", y)):
        if not isinstance(value, np.ndarray):
            cure = f": {name}.toarray()" if hasattr(value, "toarray") else ""
            raise TypeError(f"Dataset: {name} is a {type(value).__name__}; it must be a NumPy array{cure}")
    if not np.issubdtype(X.dtype, np.floating):
        raise TypeError(f"Dataset: X holds {X.dtype}; it must hold floats: X.astype(float)")
    if y.dtype not in (np.int64, np.float64):
        raise TypeError(f"Dataset: y holds {y.dtype}; it must be int64 class indices, or float64 numbers to predict")
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"Dataset: X has shape {X.shape} and y has shape {y.shape}; they must be (N, D) and (N,)")


def _check_features(n_features: int, feature_names: tuple[str, ...], numeric: Any) -> None:
    if len(feature_names) != n_features:
        raise ValueError(f"Dataset: {len(feature_names)} feature_names for {several(n_features, 'column')} of X")
    if len(set(feature_names)) != n_features:
        twice = next(name for name in feature_names if feature_names.count(name) > 1)
        raise ValueError(f"Dataset: two features are called {twice!r}; give each its own name")
    if not isinstance(numeric, np.ndarray) or numeric.dtype != np.bool_:
        raise TypeError(f"Dataset: numeric is {numeric!r}; it must be an array of bool")
    if numeric.shape != (n_features,):
        raise ValueError(f"Dataset: numeric has shape {numeric.shape}; X has {several(n_features, 'column')}")


def _check_classes(y: Array, class_names: tuple[str, ...]) -> None:
    if y.dtype == np.float64:
        if class_names:
            raise ValueError("Dataset: y holds float64 numbers to predict, so class_names must be empty: ()")
        return
    if not class_names:
        raise ValueError("Dataset: y holds class indices, so class_names must name the classes")
    outside = np.flatnonzero((y < 0) | (y >= len(class_names)))
    if len(outside):
        row = outside[0]
        raise ValueError(f"Dataset: y[{row}] is {y[row]}; the class indices are 0 to {len(class_names) - 1}")


def check_dataset(where: str, name: str, value: Any) -> None:
    """Raise TypeError for what is no Dataset."""
    if not isinstance(value, Dataset):
        raise TypeError(f"{where}: {name} is a {type(value).__name__}; it must be a Dataset")
