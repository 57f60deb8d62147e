"""Preparation: what turns the rows of a table into X and y, fitted on the training part and kept with the model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_ce.data.cells import DECIMALS, ORDERS, PAIRS
from tinygrad_ce.data.checks import closest, quoted, shown
from tinygrad_ce.data.columns import Boolean, Category, Column, Date, Dropped, Number, Target, scaled_features
from tinygrad_ce.data.dataset import Array, Dataset
from tinygrad_ce.data.json_fields import fields_from, mapping, plain
from tinygrad_ce.data.reading import Table, read_again
from tinygrad_ce.data.summary import summary_of
from tinygrad_ce.report.parts import PrintedText

KINDS: dict[str, type[Column]] = {kind.kind: kind for kind in (Number, Boolean, Date, Category, Dropped)}
FORMAT = 1  # of the JSON
POLICIES = ("error", "drop", "mean")
NEW_LEVELS = ("error", "ignore")


@dataclass(frozen=True)
class Preparation:
    """What turns a table into X and y, and predictions back into the words and units of the table.

    A column of the table becomes some features; a missing value becomes its feature's `fill`; a feature that
    `standardize` scales is (value - shift) / scale. `from_csv` and `from_frame` learn from all rows how the cells are
    written; `standardize` learns fills, shifts, scales and levels of categories from the training part alone.
    name: of the table. columns, target: how each is read. delimiter, encoding: of its file. notes: what was left out.
    missing: what becomes of missing values: "error", "drop" (their rows), or "mean" (fill).

    >>> standardize(*split(iris()))[0].preparation.invert([0, 2])
    array(['setosa', 'virginica'], dtype='<U10')
    """

    name: str
    columns: tuple[Column, ...]
    target: Target
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    fill: tuple[float, ...] | None = None
    missing: str = "error"
    notes: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str = "utf-8"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the columns of X."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes; () where numbers are predicted."""
        return self.target.class_names

    @property
    def is_level(self) -> NDArray[np.bool_]:
        """(D,) bool: the features that are levels of a category."""
        return np.array([isinstance(c, Category) for c in self.columns for _ in c.features], dtype=bool)

    def dataset(self, table: Any, new_levels: str = "error") -> Dataset:
        """The rows of a table with their targets, prepared as those of the training part were.

        table: the path of a CSV file, or a DataFrame. With missing="drop", rows with a missing value are left out.
        Raises ValueError that names column and row: a column or a value is missing, of another kind, or a new level
        (new_levels="ignore" makes all its features 0).

        >>> data = from_csv("train.csv", "price", regression=True)  # doctest: +SKIP
        >>> test = data.preparation.dataset("test.csv")  # doctest: +SKIP
        """
        if self.target.name is None:
            raise ValueError(f"the preparation of {self.name!r} has no target column; .features(table) gives X alone")
        cells = self._read(table, new_levels)
        if self.target.name not in cells.columns:
            without = "It is the target: preparation.features(table) needs none"
            raise ValueError(f"{_no_column(cells, self.target.name, [*cells.columns])}. {without}")
        if self.missing == "drop":
            cells = drop_missing(cells, [*self._used_names(), self.target.name])
        return self.dataset_of(cells, new_levels)

    def features(self, table: Any, new_levels: str = "error") -> NDArray[np.float64]:
        """(N, D) float64: the rows of a table, prepared as those of the training part were; its target is not needed.

        table, new_levels: as `dataset` takes them. No row is left out, so that predictions fit the rows.
        Raises ValueError as `dataset` does, and for a missing value unless the data were read with missing="mean".

        >>> X = data.preparation.features("new.csv")  # doctest: +SKIP
        """
        return self._scaled(self._raw(self._read(table, new_levels), new_levels))

    def invert(self, predictions: Any) -> Array:
        """Predictions as the table has them: names of classes for class indices, or numbers in their own unit.

        predictions: integers, or with a target of numbers floats, of any shape. Raises TypeError for floats where there
        are classes, ValueError for an index that no class has.
        """
        values = np.asarray(predictions)
        if not self.class_names:
            if not (np.issubdtype(values.dtype, np.floating) or np.issubdtype(values.dtype, np.integer)):
                raise TypeError(f"invert: predictions hold {values.dtype}; they must be numbers")
            return values * self.target.scale + self.target.shift
        if not np.issubdtype(values.dtype, np.integer):
            raise TypeError(f"invert: predictions hold {values.dtype}; class indices are integers: .argmax(axis=1)")
        if values.size and not 0 <= values.min() <= values.max() < len(self.class_names):
            raise ValueError(
                f"invert: an index is {values.min()} or {values.max()}; there are {len(self.class_names)} classes"
            )
        return np.asarray(np.array(self.class_names)[values])

    def summary(self) -> PrintedText:
        """A table in plain text: what became of each column."""
        return summary_of(self)

    __str__ = summary

    def to_json(self) -> dict[str, Any]:
        """Plain values that JSON can hold; `from_json` gives the Preparation again."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["columns"] = [{"kind": column.kind, **asdict(column)} for column in self.columns]
        values["target"] = asdict(self.target)
        return {"format": FORMAT, **plain(values)}

    @classmethod
    def from_json(cls, values: Any) -> Preparation:
        """The Preparation of what `to_json` gave. Raises ValueError, in one line, for anything else."""
        whole = mapping("a preparation", values)
        if whole.pop("format", None) != FORMAT:
            version = shown(values.get("format"))
            raise ValueError(f"the preparation has format {version}, and this version of tinygrad_ce reads {FORMAT}")
        parts = fields_from(cls, "a preparation", whole, unchecked=("columns", "target"))
        if not isinstance(parts["columns"], list):
            raise ValueError(f"columns is {shown(parts['columns'])}; it must be a list")
        parts["columns"] = tuple(_column(value) for value in parts["columns"])
        parts["target"] = Target(**fields_from(Target, "the target", mapping("the target", parts["target"])))
        preparation = cls(**parts)
        _check(preparation)
        return preparation

    # ---- from cells to numbers

    def _read(self, table: Any, new_levels: str) -> Table:
        """The cells of a table that has every column that is needed; further ones are named in a warning."""
        if new_levels not in NEW_LEVELS:
            raise ValueError(f"new_levels is {shown(new_levels)}; it must be 'error' or 'ignore'")
        cells = read_again(table, self.delimiter, self.encoding)
        known = {*(column.name for column in self.columns), self.target.name}
        more = [name for name in cells.columns if name not in known]
        for name in self._used_names():
            if name not in cells.columns:
                raise ValueError(_no_column(cells, name, more))
        if more:
            message = f"{cells.source}: columns that training had not are ignored: {quoted(more)}"
            warnings.warn(message, UserWarning, stacklevel=3)
        return cells

    def refitted(self, numbers: Array, kept: NDArray[np.bool_], y: tuple[float, float]) -> Preparation:
        """This preparation with the statistics of the training part, which come on top of those that it has.

        numbers: (3, D) of the D features that stay: what to subtract, what to divide by, what stands for a missing
        value. kept: which features stay. y: what to subtract from the targets and what to divide them by.
        """
        shift, scale = np.array(self.shift)[kept], np.array(self.scale)[kept]
        flags = iter(kept.tolist())
        columns = tuple(_kept(column, [next(flags) for _ in column.features]) for column in self.columns)
        target = replace(
            self.target, shift=self.target.shift + self.target.scale * y[0], scale=self.target.scale * y[1]
        )
        fitted = replace(
            self,
            columns=columns,
            target=target,
            shift=tuple((shift + scale * numbers[0]).tolist()),
            scale=tuple((scale * numbers[1]).tolist()),
        )
        return fitted if self.fill is None else fitted._with_fill(shift + scale * numbers[2])

    def _with_fill(self, means: Array) -> Preparation:
        """With these means for missing values; a missing category is 0 in all its levels."""
        return replace(self, fill=tuple(np.where(self.is_level, 0.0, means).tolist()))

    def _used_names(self) -> list[str]:
        return [column.name for column in self.columns if not isinstance(column, Dropped)]

    def _raw(self, table: Table, new_levels: str) -> Array:
        """(N, D): the features in the units of the table, NaN where the value is missing."""
        self._check_nothing_missing(table)
        blocks = [column.encoded(table, new_levels) for column in self.columns if column.features]
        return np.concatenate([np.empty((len(table), 0)), *blocks], axis=1)

    def _check_nothing_missing(self, table: Table) -> None:
        if self.missing == "mean":
            return
        for name in self._used_names():
            rows = table.missing_rows(name)
            if rows:
                raise ValueError(
                    f"{table.at(rows[0], name)}: the value is missing, and the data were read with "
                    f'missing="{self.missing}"; fill it in, or train on data read with missing="mean"'
                )

    def _scaled(self, raw: Array) -> NDArray[np.float64]:
        filled = raw if self.fill is None else np.where(np.isnan(raw), self.fill, raw)
        scaled: NDArray[np.float64] = (filled - np.array(self.shift)) / np.array(self.scale)
        return scaled

    def dataset_of(self, table: Table, new_levels: str = "error") -> Dataset:
        """The Dataset of cells that were read already."""
        raw = self._raw(table, new_levels)
        absent = np.isnan(raw)
        to_fill = self.missing == "mean" and self.fill is None
        prepared = self._with_fill(np.nanmean(raw, axis=0)) if to_fill else self
        return Dataset(
            X=prepared._scaled(raw),
            y=self.target.encoded(table),
            feature_names=self.feature_names,
            class_names=self.class_names,
            name=self.name,
            numeric=scaled_features(self.columns),
            preparation=prepared,
            missing=absent if absent.any() else None,
        )


def plain_preparation(dataset: Dataset) -> Preparation:
    """The preparation of a Dataset that no table became: its columns are numbers."""
    D = dataset.n_features
    flags = zip(dataset.feature_names, dataset.numeric.tolist(), strict=True)
    columns = tuple(Number(name, standardized=scaled) for name, scaled in flags)
    return Preparation(dataset.name, columns, Target(None, dataset.class_names), (0.0,) * D, (1.0,) * D)


def drop_missing(table: Table, names: Sequence[str]) -> Table:
    """The rows of a table that have a value in each of these columns. Raises ValueError if no row has."""
    absent = {row for name in names for row in table.missing_rows(name)}
    if len(absent) == len(table):
        raise ValueError(f'{table.source}: every row has a missing value; drop=[...] columns, or missing="mean"')
    return table.take([row for row in range(len(table)) if row not in absent]) if absent else table


def _kept(column: Column, flags: list[bool]) -> Column:
    """A column without the levels that the training part has not; dropped, if it has none of them."""
    if not isinstance(column, Category) or all(flags):
        return column
    if not any(flags):
        return Dropped(column.name, "no row of the training part has a value")
    return replace(column, levels=tuple(level for level, kept in zip(column.levels, flags, strict=True) if kept))


def _no_column(table: Table, name: str, candidates: Sequence[str]) -> str:
    """A message about a column that is missing; candidates: the columns that it may be called by mistake."""
    return f"{table.source}: no column {shown(name)};{closest(name, candidates)} it has {quoted([*table.columns])}"


# ---- checks of what was read


def _column(value: Any) -> Column:
    values = mapping("a column", value)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"the kind of a column is {shown(kind)}; it must be one of {quoted([*KINDS])}")
    return KINDS[kind](**fields_from(KINDS[kind], f"a column of kind {kind!r}", values))


def _check(preparation: Preparation) -> None:
    """Raise ValueError for a preparation whose parts do not agree."""
    columns, target = preparation.columns, preparation.target
    features, names = preparation.feature_names, [column.name for column in columns]
    statistics = [preparation.shift, preparation.scale, *([] if preparation.fill is None else [preparation.fill])]
    levels = [column.levels for column in columns if isinstance(column, Category)]
    decimals = [column.decimal for column in columns if isinstance(column, Number)]
    orders = [column.order for column in columns if isinstance(column, Date)]
    pairs = [column.pair for column in columns if isinstance(column, Boolean)]
    for right, words in (
        (len({*names, target.name}) == len(names) + 1, "two columns have the same name"),
        (len({*features}) == len(features) > 0, "it has no features, or two of the same name"),
        (all(len({*texts}) == len(texts) for texts in [*levels, target.class_names]), "two levels are the same"),
        (all(len(numbers) == len(features) for numbers in statistics), f"a list is not {len(features)} long"),
        (min((*preparation.scale, target.scale)) > 0, "a scale is not positive"),
        ({*decimals, target.decimal} <= {*DECIMALS}, "decimal must be '.' or ','"),
        ({*orders} <= {*ORDERS}, f"order must be one of {quoted(ORDERS)}"),
        ({*pairs} <= {*PAIRS}, f"pair must be one of {quoted(PAIRS)}"),
        (preparation.missing in POLICIES, f"missing must be one of {quoted(POLICIES)}"),
        ((preparation.missing == "mean") == (preparation.fill is not None), "fill and missing='mean' go together"),
        (preparation.delimiter is None or len(preparation.delimiter) == 1, "delimiter must be one character"),
    ):
        if not right:
            raise ValueError(f"this is no preparation: {words}")
