"""Data: toy sets, small real ones, a CSV of one's own; then `split`, `standardize`, `batches`, `one_hot`.

Every source gives a `Dataset`. The order of use is load, split, standardize (with the training part's statistics only,
or the test part would leak into training), batches.
"""

from __future__ import annotations

import csv
import difflib
import importlib
import math
import numbers
import operator
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Seed = int | np.random.Generator | None

FEW_ROWS = 20  # in so short a file, values that are all different prove nothing
MOST_CATEGORIES = 1000  # a text column with more values would become a matrix too wide to learn from
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "None")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """N rows of D features with a target for each row, and what the columns and classes are called.

    X: (N, D) floats. y: (N,) int64 class indices, or float64 numbers to predict (then class_names is empty).
    numeric: (D,) bool; True is a measured number, which `standardize` scales, False a one-hot column, which it leaves.
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

    def __post_init__(self) -> None:
        _check_arrays(self.X, self.y)
        _check_features(self.X.shape[1], self.feature_names, self.numeric)
        _check_classes(self.y, self.class_names)

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        kind = _several(self.n_classes, "class", "classes") if self.class_names else "regression"
        rows, features = _several(len(self), "row"), _several(self.n_features, "feature")
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
        return replace(self, X=self.X[chosen], y=self.y[chosen])

    def astype(self, dtype: DTypeLike) -> Dataset:
        """The same Dataset with X in another floating dtype; y keeps its own.

        >>> moons(10).astype("float32").X.dtype
        dtype('float32')
        """
        return replace(self, X=self.X.astype(dtype))


# ---------------------------------------------------------------------------------------------------- toy sets


def moons(n: int = 500, noise: float = 0.1, seed: Seed = 0) -> Dataset:
    """Two half circles of radius 1 that reach into each other; `noise` is the standard deviation of each coordinate.

    Gives X (n, 2) and 2 classes. Raises ValueError if n < 2 or noise < 0, TypeError for what is no number.

    >>> moons(200)
    Dataset('moons', 200 rows, 2 features, 2 classes)
    """
    n, noise = _count("moons", "n", n, least=2), _amount("moons", "noise", noise)
    y = _balanced(n, 2)
    angle = np.pi * _along_class(y, 2)
    upper = _polar(1.0, angle)
    lower = np.array([1.0, 0.5]) - upper
    X = np.where(y[:, None] == 0, upper, lower)
    return _toy("moons", X, y, ("upper", "lower"), noise, _generator("moons", seed))


def circles(n: int = 500, noise: float = 0.05, factor: float = 0.5, seed: Seed = 0) -> Dataset:
    """A circle of radius 1 around one of radius `factor`; `noise` is the standard deviation of each coordinate.

    Gives X (n, 2) and 2 classes. Raises ValueError if n < 2, noise < 0 or factor is not in [0, 1).

    >>> circles(200).class_names
    ('outer', 'inner')
    """
    n, noise = _count("circles", "n", n, least=2), _amount("circles", "noise", noise)
    factor = _amount("circles", "factor", factor, below=1.0)
    y = _balanced(n, 2)
    angle = 2 * np.pi * _along_class(y, 2, endpoint=False)
    X = _polar(np.where(y == 0, 1.0, factor), angle)
    return _toy("circles", X, y, ("outer", "inner"), noise, _generator("circles", seed))


def spirals(n: int = 600, arms: int = 3, noise: float = 0.1, seed: Seed = 0) -> Dataset:
    """Arms that each make one turn, from radius 0.5 to 4; `noise` is the standard deviation of each coordinate.

    Gives X (n, 2) and `arms` classes. Neighbouring arms are 3.5 / arms apart: 3 arms at noise 0.1 hardly touch.
    Raises ValueError if arms < 2, n < arms or noise < 0.

    >>> spirals(300, arms=3)
    Dataset('spirals', 300 rows, 2 features, 3 classes)
    """
    arms = _count("spirals", "arms", arms, least=2)
    n, noise = _count("spirals", "n", n, least=arms), _amount("spirals", "noise", noise)
    y = _balanced(n, arms)
    along = _along_class(y, arms)
    X = _polar(0.5 + 3.5 * along, 2 * np.pi * (along + y / arms))
    return _toy("spirals", X, y, _numbered("arm", arms), noise, _generator("spirals", seed))


def xor(n: int = 400, noise: float = 0.2, seed: Seed = 0) -> Dataset:
    """Clouds around the four corners (+-1, +-1), in class 1 where the signs of the corner differ.

    Gives X (n, 2) and 2 classes; `noise` is the standard deviation of each coordinate. No straight line separates them.
    Raises ValueError if n < 4 or noise < 0.

    >>> xor(200).class_names
    ('same', 'different')
    """
    n, noise = _count("xor", "n", n, least=4), _amount("xor", "noise", noise)
    y = _balanced(n, 2)
    first = np.where(np.arange(n) // 2 % 2 == 0, -1.0, 1.0)
    second = np.where(y == 0, first, -first)
    return _toy("xor", np.stack([first, second], axis=1), y, ("same", "different"), noise, _generator("xor", seed))


def blobs(n: int = 500, classes: int = 3, features: int = 2, spread: float = 1.0, seed: Seed = 0) -> Dataset:
    """One Gaussian cloud for each class, its centre drawn from the cube [-10, 10]; `spread` is its standard deviation.

    Gives X (n, features). Raises ValueError if classes < 2, features < 1, n < classes or spread < 0.

    >>> blobs(200, classes=4, features=5)
    Dataset('blobs', 200 rows, 5 features, 4 classes)
    """
    classes = _count("blobs", "classes", classes, least=2)
    features = _count("blobs", "features", features, least=1)
    n, spread = _count("blobs", "n", n, least=classes), _amount("blobs", "spread", spread)
    generator = _generator("blobs", seed)
    centres = generator.uniform(-10.0, 10.0, size=(classes, features))
    y = _balanced(n, classes)
    return _toy("blobs", centres[y], y, _numbered("blob", classes), spread, generator)


def _balanced(n: int, classes: int) -> NDArray[np.int64]:
    """n class indices whose counts differ by at most one: 0, 1, 2, 0, 1, ..."""
    return np.arange(n, dtype=np.int64) % classes


def _along_class(y: Array, classes: int, endpoint: bool = True) -> Array:
    """For each of the labels that `_balanced` made, its place from 0 to 1 among those of its class, evenly spaced."""
    place = np.arange(len(y)) // classes
    steps = np.bincount(y, minlength=classes)[y] - int(endpoint)
    return place / np.maximum(steps, 1)


def _polar(radius: Any, angle: Array) -> Array:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _numbered(word: str, n: int) -> tuple[str, ...]:
    return tuple(f"{word} {i}" for i in range(n))


def _toy(
    name: str, X: Array, y: Array, class_names: tuple[str, ...], noise: float, generator: np.random.Generator
) -> Dataset:
    """The points with Gaussian noise on each coordinate, their rows shuffled."""
    X = X + noise * generator.standard_normal(X.shape)
    order = generator.permutation(len(y))
    feature_names = tuple(f"x{i + 1}" for i in range(X.shape[1]))
    return Dataset(X[order], y[order], feature_names, class_names, name, np.ones(X.shape[1], dtype=bool))


# ------------------------------------------------------------------------------------------------ small real sets


def digits() -> Dataset:
    """1797 handwritten digits of 8 x 8 grey values from 0 to 16, as scikit-learn bundles them.

    Raises ImportError where scikit-learn is not installed.

    >>> digits()
    Dataset('digits', 1797 rows, 64 features, 10 classes)
    """
    return _from_sklearn("digits")


def iris() -> Dataset:
    """Four measures of 150 flowers of three kinds of iris (Fisher, 1936), as scikit-learn bundles them.

    Raises ImportError where scikit-learn is not installed.

    >>> iris().class_names
    ('setosa', 'versicolor', 'virginica')
    """
    return _from_sklearn("iris")


def wine() -> Dataset:
    """Thirteen chemical measures of 178 wines from three growers, as scikit-learn bundles them.

    Raises ImportError where scikit-learn is not installed.

    >>> wine()
    Dataset('wine', 178 rows, 13 features, 3 classes)
    """
    return _from_sklearn("wine")


def breast_cancer() -> Dataset:
    """Thirty measures of the cell nuclei of 569 tumours, as scikit-learn bundles them (Wisconsin, diagnostic).

    Raises ImportError where scikit-learn is not installed.

    >>> breast_cancer().class_names
    ('malignant', 'benign')
    """
    return _from_sklearn("breast_cancer")


def _from_sklearn(name: str) -> Dataset:
    bundle = getattr(_extra("sklearn.datasets"), f"load_{name}")()
    X, y = np.asarray(bundle.data, dtype=np.float64), np.asarray(bundle.target, dtype=np.int64)
    feature_names = tuple(str(feature) for feature in bundle.feature_names)
    class_names = tuple(str(label) for label in bundle.target_names)
    return Dataset(X, y, feature_names, class_names, name, np.ones(X.shape[1], dtype=bool))


def _extra(module: str) -> Any:
    """An optional dependency, imported only when it is needed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {"sklearn": "scikit-learn"}.get(module.split(".")[0], module)
        raise ImportError(f'{package} cannot be imported: pip install "tinygrad_ce[data]"') from error


NAMES: dict[str, Callable[..., Dataset]] = {
    "moons": moons,
    "circles": circles,
    "spirals": spirals,
    "xor": xor,
    "blobs": blobs,
    "digits": digits,
    "iris": iris,
    "wine": wine,
    "breast_cancer": breast_cancer,
}


def load(name: str, **options: Any) -> Dataset:
    """The data set of this name, made with these options of its function.

    Raises ValueError that lists the names for an unknown one, TypeError for an option that the function lacks.

    >>> load("moons", n=100)
    Dataset('moons', 100 rows, 2 features, 2 classes)
    """
    if not isinstance(name, str):
        raise TypeError(f"load: name is {name!r}; write one of {', '.join(NAMES)}")
    if name not in NAMES:
        raise ValueError(f"load: there is no data set {name!r};{_closest(name, NAMES)} the names: {', '.join(NAMES)}")
    return NAMES[name](**options)


# ------------------------------------------------------------------------------------------------- a CSV of one's own


class _Table(NamedTuple):
    """The texts of a CSV as a pandas frame, with the line of the file on which each row starts, for messages."""

    path: Path
    frame: Any
    lines: list[int]

    def at(self, row: int, column: str) -> str:
        return f"{self.path}, line {self.lines[row]}, column {column!r}"


def from_csv(path: str | os.PathLike[str], target: str, *, regression: bool = False) -> Dataset:
    """The rows of a comma-separated UTF-8 file whose first line names the columns; `target` is the one to predict.

    Columns of numbers stay as they are (`standardize` comes after the split). A column of text or of true and false
    becomes one column of 0 and 1 for each of its values, sorted: `color=blue`, `color=red`. Text or integers in the
    target become class indices, in sorted order; with regression=True the target is float64.
    Raises FileNotFoundError, and ValueError that names the file and the line (1 is the header) or the column: lines
    that cannot be read, no rows, an unknown target, missing or infinite values, fewer than two classes, identifiers.

    >>> from_csv("no_such_file.csv", "price")
    Traceback (most recent call last):
    FileNotFoundError: no_such_file.csv: no such file
    """
    if not isinstance(target, str):
        raise TypeError(f"from_csv: target is {target!r}; write the name of a column")
    table = _read_csv(Path(path), target)
    _check_nothing_missing(table, target)
    y, class_names = _number_target(table, target) if regression else _class_target(table, target)
    X, feature_names, numeric = _features(table, target)
    return Dataset(X, y, feature_names, class_names, table.path.stem, numeric)


def _read_csv(path: Path, target: str) -> _Table:
    """The file, once its header has been found to be in order and to name the target.

    The lines are read by Python's csv, not by pandas, which does not tell on which line of the file a row was.
    """
    pandas = _extra("pandas")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: this is not a file; give the path of a CSV file")
    lines, records = _records(path)
    if not records:
        raise ValueError(f"{path}: the file is empty; line 1 must name the columns")
    header, rows = records[0], records[1:]
    _check_header(path, header)
    _check_target(path, header, target)
    for line, fields in zip(lines, records, strict=True):
        if len(fields) != len(header):
            found, named = _several(len(fields), "field"), _several(len(header), "column")
            raise ValueError(f"{path}, line {line}: {found}, but the header names {named}")
    if not rows:
        raise ValueError(f"{path}: no rows; there is only the header in line 1")
    return _Table(path, pandas.DataFrame(rows, columns=header, dtype=object), lines[1:])


def _records(path: Path) -> tuple[list[int], list[list[str]]]:
    """The line on which each record starts, and its fields without the blanks around them; empty lines are skipped."""
    lines: list[int] = []
    records: list[list[str]] = []
    line = 1
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        try:
            for record in reader:
                fields = [field.strip() for field in record]
                if fields not in ([], [""]):
                    lines.append(line)
                    records.append(fields)
                line = reader.line_num + 1
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: this is not UTF-8 text ({error}); save it as a UTF-8 CSV file") from error
        except csv.Error as error:
            reason = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
            raise ValueError(f"{path}, line {line}: cannot be read as CSV: {reason}") from error
    return lines, records


def _check_header(path: Path, header: list[str]) -> None:
    for number, name in enumerate(header, start=1):
        if not name:
            raise ValueError(f"{path}, line 1: column {number} has no name; name it, or drop it if it numbers the rows")
        if name in header[: number - 1]:
            raise ValueError(f"{path}, line 1: two columns are called {name!r}; rename or drop one")


def _check_target(path: Path, header: list[str], target: str) -> None:
    hint = "; the fields must be separated by commas" if len(header) == 1 else ""
    if target not in header:
        names = ", ".join(repr(name) for name in header)
        raise ValueError(f"{path}: no column {target!r};{_closest(target, header)} line 1 names {names}{hint}")
    if len(header) == 1:
        raise ValueError(f"{path}: no feature columns: {target!r} is the only column{hint}")


def _check_nothing_missing(table: _Table, target: str) -> None:
    missing = table.frame.isin(MISSING).to_numpy()
    if missing.any():
        row, column = np.argwhere(missing)[0]
        name = table.frame.columns[column]
        what = "the target is missing" if name == target else "the value is missing"
        raise ValueError(
            f"{table.at(row, name)}: {what} ({missing.sum()} missing in the whole file; an empty field and "
            f"{', '.join(MISSING[1:])} count as missing). Fill it in, or delete the line or the column"
        )


def _number_target(table: _Table, target: str) -> tuple[Array, tuple[str, ...]]:
    values = _parsed(table, target)
    if np.isnan(values).any():
        raise ValueError(f"{_first_text(table, target, values)}, and regression=True needs numbers")
    return values.astype(np.float64), ()


def _class_target(table: _Table, target: str) -> tuple[Array, tuple[str, ...]]:
    values = _parsed(table, target)
    is_number = not np.isnan(values).any()
    if is_number:
        fractions = np.flatnonzero(values % 1)
        if len(fractions):
            row = fractions[0]
            raise ValueError(
                f"{table.at(row, target)}: {values[row]} is no class label; to predict numbers, pass regression=True"
            )
    y, labels = _extra("pandas").factorize(values if is_number else table.frame[target], sort=True)
    class_names = tuple(str(int(label)) if is_number else label for label in labels)
    column = f"{table.path}, column {target!r}"
    if len(class_names) == 1:
        raise ValueError(f"{column}: only one class, {class_names[0]!r}; a classifier needs at least two")
    if len(class_names) == len(y) > FEW_ROWS:
        advice = "to predict numbers, pass regression=True" if is_number else "choose another target"
        raise ValueError(f"{column}: each of the {len(y)} rows has a class of its own; {advice}")
    return y.astype(np.int64), class_names


def _features(table: _Table, target: str) -> tuple[Array, tuple[str, ...], NDArray[np.bool_]]:
    blocks: list[Array] = []
    names: list[str] = []
    numeric: list[bool] = []
    for name in table.frame.columns.drop(target):
        values = _parsed(table, name)
        if np.isnan(values).any():
            codes, categories = _extra("pandas").factorize(table.frame[name], sort=True)
            _check_categories(table, name, values, len(categories))
            blocks.append(one_hot(codes, len(categories)))
            names.extend(f"{name}={category}" for category in categories)
            numeric.extend([False] * len(categories))
        else:
            blocks.append(values.astype(np.float64)[:, None])
            names.append(name)
            numeric.append(True)
    return np.concatenate(blocks, axis=1), tuple(names), np.array(numeric)


def _parsed(table: _Table, name: str) -> Array:
    """The column as numbers, NaN for each text that is none; infinite ones are refused in a column of numbers."""
    values: Array = _extra("pandas").to_numeric(table.frame[name], errors="coerce").to_numpy()
    if not np.issubdtype(values.dtype, np.integer):
        # pandas before 3 is off by an ulp here and there, and takes 1e999 for a text.
        values = np.array([_float(text) for text in table.frame[name]])
    infinite = np.isinf(values)
    if infinite.any() and not np.isnan(values).any():
        row = int(np.argmax(infinite))
        raise ValueError(
            f"{table.at(row, name)}: {table.frame[name][row]!r} is infinite or too large for a float64 "
            f"({infinite.sum()} such in the column); write a finite number"
        )
    return values


def _float(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)  # Python reads 1_000 as a thousand; a CSV means a text
    except ValueError:
        return math.nan


def _first_text(table: _Table, name: str, values: Array) -> str:
    row = int(np.argmax(np.isnan(values)))
    return f"{table.at(row, name)}: {table.frame[name][row]!r} is not a number"


def _check_categories(table: _Table, name: str, values: Array, categories: int) -> None:
    """Refuses a text column that one-hot columns would make useless: damaged numbers, identifiers."""
    rows, numbers_in_it = len(values), values[~np.isnan(values)]
    # A few whole numbers among words may be categories (0, 1, 2, 3+); fractions or many different ones were measured.
    measured = np.any(numbers_in_it != np.round(numbers_in_it)) or len(np.unique(numbers_in_it)) > FEW_ROWS
    if 2 * len(numbers_in_it) > rows and measured:
        raise ValueError(f"{_first_text(table, name, values)}, as most of this column are; correct it")
    if categories == rows > FEW_ROWS or categories > MOST_CATEGORIES:
        raise ValueError(
            f"{table.path}, column {name!r}: {categories} different texts in {rows} rows; this is an identifier, not "
            "a category: drop the column"
        )


# ------------------------------------------------------------------------------------------- from data to batches


def split(dataset: Dataset, test: float = 0.25, *, seed: Seed = 0, stratify: bool = True) -> tuple[Dataset, Dataset]:
    """(train, test): every row goes, shuffled, into one of the two; `test` is the share of the second.

    Stratified, each class has that share of its rows in the test part, to within one row, and at least one row in the
    training part. Numbers to predict (float y) have no classes, so they are only shuffled.
    Raises ValueError if test is not between 0 and 1, if there are fewer than 2 rows, or a class has only one.

    >>> split(iris(), test=0.2)
    (Dataset('iris', 120 rows, 4 features, 3 classes), Dataset('iris', 30 rows, 4 features, 3 classes))
    """
    _check_dataset("split", "dataset", dataset)
    test = _amount("split", "test", test, below=1.0)
    if test == 0:
        raise ValueError("split: test is 0; it is the share of the test part, more than 0 and less than 1")
    if len(dataset) < 2:
        raise ValueError(f"split: the data set has {_several(len(dataset), 'row')}; two parts need at least 2")
    order = _generator("split", seed).permutation(len(dataset))
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
        _check_dataset("standardize", f"argument {position + 1}", dataset)
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
    X: Any, y: Any, batch_size: int, *, seed: Seed = None, shuffle: bool = True
) -> Iterator[tuple[Array, Array]]:
    """Pairs (X_batch, y_batch) of `batch_size` rows that cover every row once; the last is short if it must be.

    seed: an integer gives the same order each time; a Generator advances, so that epochs differ; None is unforeseeable.
    Raises ValueError if X and y have not the same number of rows, none at all, or batch_size < 1: at once, not later.

    >>> [len(y) for X, y in batches(np.zeros((10, 2)), np.zeros(10), 4)]
    [4, 4, 2]
    """
    X, y = np.asarray(X), np.asarray(y)
    batch_size = _count("batches", "batch_size", batch_size, least=1)
    if X.ndim == 0 or y.ndim == 0:
        raise ValueError(f"batches: X has shape {X.shape} and y has shape {y.shape}; both must have rows")
    if len(X) != len(y):
        raise ValueError(f"batches: X has {_several(len(X), 'row')} and y has {len(y)}; they must be as many")
    if len(X) == 0:
        raise ValueError("batches: X and y have no rows")
    generator = _generator("batches", seed)
    order = generator.permutation(len(X)) if shuffle else np.arange(len(X))
    return _batches(X, y, order, batch_size)


def _batches(X: Array, y: Array, order: Array, batch_size: int) -> Iterator[tuple[Array, Array]]:
    """The generator by itself: in one function with the checks, it would put them off to the first next()."""
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield X[rows], y[rows]


def one_hot(y: Any, classes: int) -> NDArray[np.float64]:
    """(N, classes) float64 rows that are 1 at the class index and 0 elsewhere, from (N,) integers.

    Raises TypeError if y holds no integers, ValueError if an index is not in 0 to classes - 1.

    >>> one_hot([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    classes = _count("one_hot", "classes", classes, least=1)
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


# ----------------------------------------------------------------------------------------------- checks and messages


def _check_arrays(X: Any, y: Any) -> None:
    for name, value in (("X", X), ("y", y)):
        if not isinstance(value, np.ndarray):
            raise TypeError(f"Dataset: {name} is a {type(value).__name__}; it must be a NumPy array")
    if not np.issubdtype(X.dtype, np.floating):
        raise TypeError(f"Dataset: X holds {X.dtype}; it must hold floats: X.astype(float)")
    if y.dtype not in (np.int64, np.float64):
        raise TypeError(f"Dataset: y holds {y.dtype}; it must be int64 class indices, or float64 numbers to predict")
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"Dataset: X has shape {X.shape} and y has shape {y.shape}; they must be (N, D) and (N,)")


def _check_features(n_features: int, feature_names: tuple[str, ...], numeric: Any) -> None:
    if len(feature_names) != n_features:
        raise ValueError(f"Dataset: {len(feature_names)} feature_names for {_several(n_features, 'column')} of X")
    if len(set(feature_names)) != n_features:
        twice = next(name for name in feature_names if feature_names.count(name) > 1)
        raise ValueError(f"Dataset: two features are called {twice!r}; give each its own name")
    if not isinstance(numeric, np.ndarray) or numeric.dtype != np.bool_:
        raise TypeError(f"Dataset: numeric is {numeric!r}; it must be an array of bool")
    if numeric.shape != (n_features,):
        raise ValueError(f"Dataset: numeric has shape {numeric.shape}; X has {_several(n_features, 'column')}")


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


def _check_dataset(where: str, name: str, value: Any) -> None:
    if not isinstance(value, Dataset):
        raise TypeError(f"{where}: {name} is a {type(value).__name__}; it must be a Dataset")


def _count(where: str, name: str, value: Any, *, least: int) -> int:
    """The value as an int, if it is an integer (True is none) and at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{where}: {name} is {value!r}; it must be an integer of at least {least}")
    if value < least:
        raise ValueError(f"{where}: {name} is {value}; it must be at least {least}")
    return operator.index(value)


def _amount(where: str, name: str, value: Any, *, below: float = math.inf) -> float:
    """The value as a float, if it is a real number from 0 to less than `below`."""
    allowed = f"it must be a number of at least 0 and less than {below}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{where}: {name} is {value!r}; {allowed}")
    amount = float(value)
    if not 0 <= amount < below:  # so that NaN is refused too
        raise ValueError(f"{where}: {name} is {value}; {allowed}")
    return amount


def _generator(where: str, seed: Any) -> np.random.Generator:
    """A Generator as it is (it advances), or a new one from an integer, or from None an unforeseeable one."""
    if isinstance(seed, np.random.Generator):
        return seed
    if seed is None:
        return np.random.default_rng()
    return np.random.default_rng(_count(where, "seed", seed, least=0))


def _closest(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" did you mean {found[0]!r}?" if found else ""


def _several(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
