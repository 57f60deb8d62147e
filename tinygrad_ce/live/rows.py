"""The rows that the page trains and measures: their numbers, names and pictures, at most some thousand of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data import Dataset, split
from tinygrad_ce.data.dataset import check_dataset
from tinygrad_ce.data.preparation import Preparation, plain_preparation
from tinygrad_ce.report.words import several
from tinygrad_ce.views.pages import packed

MOST_ROWS = 2000
FEWEST_TO_SPLIT = 8
MOST_CLASSES = 1000
MOST_NUMBERS = 200_000  # of all inputs together: 1.6 MB, and 2.1 MB as text
PIXEL = re.compile(r"pixel_?(\d+)_(\d+)")


@dataclass
class Rows:
    """Training rows, then test rows. X: (N, D) float64. y: (N,). note: what is left out, "" if all rows are here."""

    X: Array
    y: Array
    train: Dataset
    note: str

    @property
    def content(self) -> dict[str, Any]:
        """The rows as the page's `data`."""
        train = self.train
        return {
            "name": train.name,
            "x": packed(shortened(self.X)),
            "y": packed(self.y.astype(np.float64)),
            "features": [*train.feature_names],
            "classes": [*train.class_names],
            "test": [*range(len(train), len(self.X))],
            "image": image_shape(train),
            "units": units_of(train.preparation),
            "note": self.note,
        }


def shortened(X: Array) -> Array:
    """Numbers as float32, where that keeps them: half as many bytes for pixels."""
    short = X.astype(np.float32)
    return short if np.array_equal(short, X) else X


def rows_of(dataset: Dataset, test: Dataset | None = None, preparation: Preparation | None = None) -> Rows:
    """The rows of a page. test: those that are only measured; None splits a quarter off.

    preparation: of the rows that the model has learnt from: rows that are not scaled yet get their scale by it.
    Beyond the limits of a page, rows are left out, of both parts alike. TypeError for what is no Dataset, ValueError
    for a test part, or a preparation, with other columns, classes or scales.
    """
    for name, part in (("dataset", dataset), ("test", dataset if test is None else test)):
        check_dataset("live", name, part)
    parts = [scaled(part, preparation) for part in ([dataset] if test is None else [dataset, test])]
    first, other = parts[0], parts[-1]
    if (first.feature_names, first.class_names) != (other.feature_names, other.class_names):
        raise ValueError(f"live: test ({other!r}) has not the columns and classes of the dataset ({first!r})")
    if not len(first):
        raise ValueError("live: the dataset has no rows; a training needs some")
    if test is None and len(first) >= FEWEST_TO_SPLIT:
        alone = bool(first.class_names) and 1 in np.bincount(first.y)
        parts = [*split(first, test=0.25, stratify=not alone)]
    total = sum(map(len, parts))
    most = max(1, min(MOST_ROWS, MOST_NUMBERS // max(1, first.n_features)))
    if total > most:
        parts = [part.take(np.arange(0, len(part), total / most).astype(int)) for part in parts]
    kept = sum(map(len, parts))
    note = f"{several(kept, 'row')} of {total:,} are in this page, evenly picked." if kept < total else ""
    return Rows(
        np.concatenate([part.X for part in parts]).astype(np.float64),
        np.concatenate([part.y for part in parts]),
        parts[0],
        note,
    )


def as_dataset(X: Any, y: Any) -> Dataset:
    """Arrays as a Dataset with plain names: x1, x2; the classes are called by their numbers.

    X: (N, D) floats. y: (N,) or (N, 1): whole numbers are classes, floats are numbers to predict. TypeError and
    ValueError in one line for other arrays.
    """
    if isinstance(X, (tuple, dict)):
        raise TypeError(f"live: X is a {type(X).__name__} of several inputs, and the page has one: (N, D) numbers")
    try:
        X, y = np.asarray(X), np.asarray(y)
    except ValueError as error:
        raise ValueError("live: the rows of X or y have different lengths; the page takes (N, D) floats") from error
    if X.ndim != 2 or X.dtype.kind != "f":
        raise ValueError(f"live: X is {X.dtype} of shape {X.shape}; the page takes (N, D) floats: X.astype(float)")
    y = y.reshape(-1) if y.shape == (len(X), 1) else y
    if y.shape != (len(X),) or y.dtype.kind not in "biuf":
        raise ValueError(f"live: y is {y.dtype} of shape {y.shape}; the page takes one class or number for each row")
    numbers = y.dtype.kind == "f"
    if not numbers and len(y) and y.min() < 0:
        raise ValueError(f"live: y has the class {y.min()}; classes are numbered from 0")
    if not numbers and y.max(initial=0) >= MOST_CLASSES:
        raise ValueError(
            f"live: y has the class {y.max()}, and a page holds {MOST_CLASSES:,}: number them from 0 with "
            "np.unique(y, return_inverse=True)[1]"
        )
    classes = () if numbers else tuple(str(label) for label in range(max(2, int(y.max(initial=0)) + 1)))
    names = tuple(f"x{k + 1}" for k in range(X.shape[1]))
    y = y.astype(np.float64 if numbers else np.int64)
    return Dataset(X.astype(np.float64), y, names, classes, "data", np.ones(len(names), bool))


def scaled(dataset: Dataset, preparation: Preparation | None) -> Dataset:
    """The rows in the scale of a preparation: as they are if they have it, scaled if they have none.

    ValueError if they have another one, or other columns.
    """
    if preparation is None:
        return dataset
    own = dataset.preparation or plain_preparation(dataset)
    scales = [(p.shift, p.scale, p.target.shift, p.target.scale) for p in (own, preparation)]
    if own.feature_names == preparation.feature_names and scales[0] == scales[1]:
        return dataset
    if own.feature_names != preparation.feature_names or any(own.shift) or {*own.scale} - {1.0}:
        raise ValueError(
            f"live: {dataset!r} is not scaled as the rows that the trainer was fitted to: pass the Dataset of the fit"
        )
    y = dataset.y if dataset.class_names else (dataset.y - preparation.target.shift) / preparation.target.scale
    X = (dataset.X - np.array(preparation.shift)) / np.array(preparation.scale)
    return replace(dataset, X=X, y=y, preparation=preparation)


def units_of(preparation: Preparation | None) -> dict[str, Any] | None:
    """What a page needs to write numbers in the units of the table: value = number * scale + shift. None without."""
    if preparation is None:
        return None
    target = preparation.target
    return {
        "shift": [*preparation.shift],
        "scale": [*preparation.scale],
        "target": [target.shift, target.scale],
        "name": target.name,
    }


def image_shape(dataset: Dataset) -> list[int] | None:
    """Height and width, where the features are the pixels of a picture, row by row; else None."""
    found = [PIXEL.fullmatch(name) for name in dataset.feature_names]
    places = [(int(match[1]), int(match[2])) for match in found if match]
    if len(places) < len(found) or not places:
        return None
    height, width = max(y for y, _ in places) + 1, max(x for _, x in places) + 1
    return [height, width] if places == [(k // width, k % width) for k in range(height * width)] else None
