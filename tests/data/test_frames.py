"""DataFrames as tables: of pandas, of polars and pyarrow where they are installed, of whoever gives `to_pandas`."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data.test_table import MIXED

from tinygrad_ce import data

COLUMNS: dict[str, list[Any]] = {
    "real": [1.5, None, -3e2, 0.1],
    "whole": [1, 2, 3, 2**60],
    "when": ["2024-01-31", "2024-02-29", "2023-12-01", None],
    "flag": [True, False, None, True],
    "colour": ["red", "light blue", None, "red"],
    "label": ["p", "q", "p", "q"],
}


def frame() -> pd.DataFrame:
    made = pd.DataFrame(COLUMNS)
    made["when"] = pd.to_datetime(made["when"])
    return made


def check_is_that_table(made: data.Dataset) -> None:
    assert made.feature_names == (
        "real", "whole", "when.days", "when.month", "when.weekday", "flag", "colour=light blue", "colour=red",
    )  # fmt: skip
    mean = (1.5 - 300 + 0.1) / 3
    np.testing.assert_allclose(made.X[:, 0], [1.5, mean, -300, 0.1])
    assert made.X[:, 1].tolist() == [1, 2, 3, 2.0**60]
    np.testing.assert_allclose(made.X[:, 3], [1, 2, 12, 5])
    np.testing.assert_allclose(made.X[:, 5], [1, 0, 2 / 3, 1])
    assert made.X[:, 6:].tolist() == [[0, 1], [1, 0], [0, 0], [0, 1]]
    assert (made.y.tolist(), made.class_names) == ([0, 1, 0, 1], ("p", "q"))


def test_a_frame_of_pandas() -> None:
    check_is_that_table(data.from_frame(frame(), "label", missing="mean"))
    check_is_that_table(data.from_frame(frame().convert_dtypes(), "label", missing="mean"))
    categories = frame().astype({"colour": "category", "label": "category"})
    check_is_that_table(data.from_frame(categories.set_index(pd.Index([9, 9, 7, 7])), "label", missing="mean"))


def test_a_frame_of_polars() -> None:
    polars = pytest.importorskip("polars")
    made = polars.DataFrame(COLUMNS).with_columns(polars.col("when").str.to_date())
    check_is_that_table(data.from_frame(made, "label", missing="mean"))
    with pytest.raises(TypeError, match=r"a LazyFrame is no table; pass frame.collect\(\)"):
        data.from_frame(made.lazy(), "label")


def test_a_table_of_pyarrow() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    check_is_that_table(data.from_frame(pyarrow.table(COLUMNS), "label", missing="mean"))


def test_whoever_gives_to_pandas() -> None:
    class Frame:
        def to_pandas(self) -> pd.DataFrame:
            return frame()

    check_is_that_table(data.from_frame(Frame(), "label", missing="mean"))


def test_whoever_has_the_interchange_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frame:
        def __dataframe__(self) -> None:
            """Never called: pandas is asked to read it."""

    monkeypatch.setattr(pd.api.interchange, "from_dataframe", lambda _: frame())
    check_is_that_table(data.from_frame(Frame(), "label", missing="mean"))


def test_a_file_and_a_frame_are_the_same_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(MIXED)
    ours, theirs = data.from_csv(path, "label"), data.from_frame(pd.read_csv(path), "label")
    np.testing.assert_array_equal(ours.X, theirs.X)
    assert ours.feature_names == theirs.feature_names
    assert ours.preparation is not None
    np.testing.assert_array_equal(ours.preparation.features(pd.read_csv(path)), ours.X)
    np.testing.assert_array_equal(theirs.preparation.features(path), ours.X)  # type: ignore[union-attr]


def test_numbers_of_a_frame_are_never_read_as_texts() -> None:
    """1.234 is no 1234, though a text beside it has a decimal comma."""
    made = data.from_frame(pd.DataFrame({"x": [1.234, 2.345], "z": ["1,5", "2,5"], "y": ["a", "b"]}), "y")
    assert made.X.tolist() == [[1.234, 1.5], [2.345, 2.5]]


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float32", "Int64", "Float64", "object", "str"])
def test_class_labels_that_are_numbers(dtype: str) -> None:
    made = data.from_frame(pd.DataFrame({"x": [0.5, 1.5, 2.5], "y": pd.Series([10, 9, 10]).astype(dtype)}), "y")
    assert (made.class_names, made.y.tolist()) == (("9", "10"), [1, 0, 1])


def test_decimals_and_numpy_scalars_are_numbers() -> None:
    values = pd.DataFrame({"x": [Decimal("1.5"), np.float32(0.25)], "y": ["a", "b"]}, dtype=object)
    assert data.from_frame(values, "y").X[:, 0].tolist() == [1.5, 0.25]


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        ({"x": [1]}, TypeError, "a dict is no table; pass a DataFrame, or the path"),
        (np.zeros((2, 2)), TypeError, "a ndarray is no table"),
        ([[1, 2]], TypeError, "a list is no table"),
        (pd.DataFrame({"x": [1.0], "z": [1.0]}), ValueError, "the DataFrame: no column 'y'; it has 'x', 'z'"),
        (pd.DataFrame({"y": [1.0]}), ValueError, "no feature columns: 'y' is the only column"),
        (pd.DataFrame([[1, 2, 3]], columns=["x", "x", "y"]), ValueError, "two columns are called 'x'"),
        (pd.DataFrame({"x": [], "y": []}), ValueError, "no rows"),
        (pd.DataFrame(), ValueError, "no columns"),
        (pd.DataFrame({"x": [1.0, None], "y": ["a", "b"]}), ValueError, "row 1, column 'x': the value is missing"),
        (pd.DataFrame({"x": [1.0, np.inf], "y": ["a", "b"]}), ValueError, "row 1, column 'x': inf is infinite"),
        (
            pd.DataFrame({"x": [[1], [2]], "y": ["a", "b"]}),
            TypeError,
            "row 0, column 'x': a list; a table has one value",
        ),
        (pd.DataFrame({"x": [1, 2], "y": [0.5, 1.0]}), ValueError, "row 0, column 'y': 0.5 is no class label"),
    ],
)
def test_frames_that_are_refused(frame: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        data.from_frame(frame, "y")
    assert "\n" not in str(caught.value)


def test_names_that_are_no_texts() -> None:
    made = data.from_frame(pd.DataFrame({0: [1.5, 2.5], 1: ["a", "b"]}), "1")
    assert made.feature_names == ("0",)
