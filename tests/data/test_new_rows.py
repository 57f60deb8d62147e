"""A preparation: fitted on the training part alone, kept as JSON, applied to new rows, inverted for predictions."""

from __future__ import annotations

import json
import math
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data.datasets import dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tinygrad_ce import data
from tinygrad_ce.data import Preparation

ROWS = [
    ("1.5", "2024-01-31", "yes", "red", "p"),
    ("2.5", "2024-02-29", "no", "blue", "q"),
    ("?", "2023-12-01", "yes", "red", "p"),
    ("4", "2023-12-24", "no", "green", "q"),
    ("8", "2024-05-01", "yes", "", "p"),
    ("1", "2024-05-02", "no", "blue", "q"),
]


def table(rows: Any = ROWS, header: str = "x,when,flag,colour,y") -> str:
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def writer(text: str, name: str = "t.csv") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return writer


def prepared(path: Path, train: Any = slice(0, 4), **options: Any) -> tuple[data.Dataset, ...]:
    whole = data.from_csv(path, "y", missing="mean", **options)
    rest = np.delete(np.arange(len(whole)), train)
    return data.standardize(whole.take(train), whole.take(rest))


def of(part: data.Dataset) -> Preparation:
    assert part.preparation is not None
    return part.preparation


# ---- fitted on the training part


@settings(deadline=None, max_examples=40)
@given(
    x=st.lists(st.none() | st.floats(-1e3, 1e3), min_size=12, max_size=12),
    colours=st.lists(st.sampled_from("abc"), min_size=12, max_size=12),
    labels=st.permutations([0, 1] * 6),
)
def test_standardize_is_the_pipeline_of_scikit_learn(
    x: list[float | None], colours: list[str], labels: list[int]
) -> None:
    x[0], x[1] = 1.0, 2.5  # two values in the training part
    frame = pd.DataFrame({"x": np.array(x, dtype=float), "colour": colours, "y": labels})
    whole = data.from_frame(frame, "y", missing="mean")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a colour that the training part has not
        train, test = data.standardize(whole.take(slice(0, 8)), whole.take(slice(8, 12)))
    numbers = make_pipeline(SimpleImputer(), StandardScaler()).fit(frame[["x"]][:8])
    levels = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(frame[["colour"]][:8])
    for part, rows in ((train, frame[:8]), (test, frame[8:])):
        expected = np.hstack([numbers.transform(rows[["x"]]), levels.transform(rows[["colour"]])])
        np.testing.assert_allclose(part.X, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(of(train).features(rows, new_levels="ignore"), expected, rtol=1e-9, atol=1e-9)


def test_the_other_rows_change_nothing_in_the_preparation(write: Any) -> None:
    before = prepared(write(table()))
    changed = [*ROWS[:4], ("900", "1999-05-01", "no", "red", "q"), ("?", "2090-05-02", "yes", "blue", "p")]
    after = prepared(write(table(changed)))
    assert of(before[0]) == of(after[0]) == of(before[1])
    np.testing.assert_array_equal(before[0].X, after[0].X)
    assert not np.array_equal(before[1].X, after[1].X)


def test_a_level_that_only_others_have_is_all_zeros_in_them(write: Any) -> None:
    path = write(table())
    with pytest.warns(UserWarning, match="no row of the training part has 'colour=green'; all features of these"):
        train, test = prepared(path, train=[0, 1, 2, 4, 5])
    assert train.feature_names[-2:] == test.feature_names[-2:] == ("colour=blue", "colour=red")
    assert test.X[0, -2:].tolist() == [0, 0]
    assert train.X.shape[1] == len(of(train).feature_names) == len(train.numeric)
    with pytest.raises(ValueError, match="line 5, column 'colour': 'green' is a new level"):
        of(train).features(path)


def test_a_category_without_levels_in_the_training_part_is_dropped(write: Any) -> None:
    rows = [(str(i), "red" if i > 3 else "NA", "ab"[i % 2]) for i in range(6)]
    with pytest.warns(UserWarning, match="has 'colour=red'"):
        train, _ = prepared(write(table(rows, "x,colour,y")))
    assert train.feature_names == ("x",)
    assert "no row of the training part has a value" in of(train).summary()


def test_a_number_without_values_in_the_training_part_is_refused(write: Any) -> None:
    rows = [(str(i), "5" if i > 3 else "?", "ab"[i % 2]) for i in range(6)]
    with pytest.raises(ValueError, match="no row of the training part has a value of 'z'; drop the column"):
        prepared(write(table(rows, "x,z,y")))


def test_the_training_table_gives_the_training_part_again(write: Any) -> None:
    path = write(table())
    whole = data.from_csv(path, "y", missing="mean")
    np.testing.assert_array_equal(of(whole).features(path), whole.X)
    (train,) = data.standardize(whole)
    again = of(train).dataset(path)
    np.testing.assert_array_equal(again.X, train.X)
    np.testing.assert_array_equal(again.y, train.y)
    assert (again.feature_names, again.class_names) == (train.feature_names, train.class_names)
    assert again.missing is not None
    assert again.preparation == train.preparation


def test_standardizing_twice_is_standardizing_by_both(write: Any) -> None:
    path = write(table())
    whole = data.from_csv(path, "y", missing="mean")
    (once,) = data.standardize(whole.take(slice(0, 4)))
    (twice,) = data.standardize(once)
    np.testing.assert_allclose(of(twice).features(path)[:4], twice.X, atol=1e-12)
    np.testing.assert_allclose(twice.X, once.X, atol=1e-12)


def test_parts_that_are_scaled_by_other_numbers_are_refused() -> None:
    train, test = data.split(data.moons(40))
    (scaled,) = data.standardize(train)
    with pytest.raises(ValueError, match=r"argument 2 .* is scaled by other numbers than the training part"):
        data.standardize(scaled, test)
    data.standardize(*data.standardize(train, test))


def test_take_and_astype_keep_the_preparation(write: Any) -> None:
    train, _ = prepared(write(table()))
    for part in (train.take([2, 0]), train.astype("float32")):
        assert part.preparation is train.preparation
    assert train.missing is not None
    np.testing.assert_array_equal(train.take([2, 0]).missing, train.missing[[2, 0]])  # type: ignore[arg-type]
    for part in data.split(data.from_csv(write(table()), "y", missing="mean"), 0.5):
        assert part.preparation is not None


def test_toys_have_a_preparation_of_plain_numbers() -> None:
    train, test = data.standardize(*data.split(data.iris()))
    raw = data.split(data.iris())[1]
    frame = pd.DataFrame(raw.X[:, ::-1], columns=raw.feature_names[::-1])
    np.testing.assert_array_equal(of(train).features(frame), test.X)
    assert of(train).invert(test.y).tolist() == [raw.class_names[y] for y in raw.y]
    with pytest.raises(ValueError, match="the preparation of 'iris' has no target column"):
        of(train).dataset(frame)
    (pixels,) = data.standardize(data.digits())
    assert {c.scaled for c in of(pixels).columns} == {False}
    assert (set(of(pixels).shift), set(of(pixels).scale)) == ({0.0}, {1.0})


# ---- targets


def test_numeric_targets_are_scaled_and_come_back_in_their_own_units(write: Any) -> None:
    rows = [(str(i), f"{100 + 50 * i}%") for i in range(8)]
    path = write(table(rows, "x,price"))
    whole = data.from_csv(path, "price", regression=True)
    train, test = data.standardize(whole.take(slice(0, 6)), whole.take(slice(6, 8)), targets=True)
    scaler = StandardScaler().fit(whole.y[:6, None])
    np.testing.assert_allclose(train.y, scaler.transform(whole.y[:6, None])[:, 0])
    np.testing.assert_allclose(test.y, scaler.transform(whole.y[6:, None])[:, 0])
    np.testing.assert_allclose(of(train).invert(test.y), whole.y[6:])
    np.testing.assert_allclose(of(train).invert(test.y[:, None]), whole.y[6:, None])
    np.testing.assert_allclose(of(train).dataset(path).y[6:], test.y)
    assert "numbers in %; minus 225, divided by 85.39" in of(train).summary()
    (plain,) = data.standardize(whole)
    np.testing.assert_array_equal(plain.y, whole.y)
    np.testing.assert_array_equal(of(plain).invert(whole.y), whole.y)


def test_targets_that_cannot_be_scaled() -> None:
    with pytest.raises(ValueError, match="targets=True scales numbers to predict, and made has classes"):
        data.standardize(dataset([0, 1]), targets=True)
    with pytest.raises(ValueError, match="a target is not finite"):
        data.standardize(dataset([0.0, math.nan]), targets=True)
    (constant,) = data.standardize(dataset([3.0, 3.0]), targets=True)
    assert constant.y.tolist() == [0, 0]


def test_class_names_come_back(write: Any) -> None:
    preparation = of(prepared(write(table()))[0])
    assert preparation.invert([1, 0]).tolist() == ["q", "p"]
    assert preparation.invert(np.array([[1], [0]], dtype=np.uint8)).shape == (2, 1)
    with pytest.raises(TypeError, match=r"predictions hold float64; class indices are integers: .argmax"):
        preparation.invert([0.5, 0.5])
    for wrong in ([2], [-1]):
        with pytest.raises(ValueError, match="there are 2 classes"):
            preparation.invert(wrong)
    (numbers,) = data.standardize(dataset([0.5, 1.5]))
    with pytest.raises(TypeError, match="they must be numbers"):
        of(numbers).invert(["a"])


# ---- new rows


def test_new_rows_without_target_reordered_with_gaps(write: Any) -> None:
    train, test = prepared(write(table()))
    frame = pd.DataFrame([row[:-1] for row in ROWS[4:]], columns=["x", "when", "flag", "colour"])
    new = write(frame[["colour", "flag", "when", "x"]].to_csv(index=False, sep=";"), "new.csv")
    np.testing.assert_array_equal(of(train).features(new), test.X)
    np.testing.assert_array_equal(of(train).features(frame), test.X)


def test_further_columns_are_ignored_with_one_warning(write: Any) -> None:
    train, test = prepared(write(table()))
    frame = pd.DataFrame(ROWS[4:], columns=["x", "when", "flag", "colour", "y"]).assign(note="n", more=1)
    with pytest.warns(UserWarning, match="columns that training had not are ignored: 'note', 'more'") as caught:
        np.testing.assert_array_equal(of(train).features(frame), test.X)
    assert [Path(warning.filename).name for warning in caught] == ["test_new_rows.py"]


def test_a_column_that_training_dropped_may_be_missing(write: Any) -> None:
    rows = [(f"c{i}", str(i / 2), "ab"[i % 2]) for i in range(30)]
    with pytest.warns(UserWarning, match="dropped: column 'name'"):
        made = data.from_csv(write(table(rows, "name,x,y")), "y")
    assert of(made).features(pd.DataFrame({"x": [1.0]})).tolist() == [[1.0]]


GOOD = {"x": "1.5", "when": "2024-01-31", "flag": "yes", "colour": "red", "y": "p"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": None}, "no column 'x'; it has 'when', 'flag', 'colour', 'y'"),
        ({"colour": None, "Colour": "red"}, "no column 'colour'; did you mean 'Colour'?"),
        ({"x": None, "X": "1.5"}, "no column 'x'; did you mean 'X'?"),
        (
            {"colour": "pink"},
            "line 2, column 'colour': 'pink' is a new level;.*'blue', 'green', 'red'.*new_levels=\"ignore\"",
        ),
        ({"colour": "Red"}, "'Red' is a new level; did you mean 'red'?"),
        ({"x": "many"}, "line 2, column 'x': 'many' is not a number"),
        ({"x": "1,5"}, "line 2, column 'x': '1,5' is not a number"),
        ({"x": "5%"}, "line 2, column 'x': '5%' is in %, the column in no unit"),
        ({"x": "inf"}, "line 2, column 'x': 'inf' is infinite"),
        ({"when": "31.01.2024"}, "line 2, column 'when': '31.01.2024' is not a date in the order Y-m-d"),
        ({"flag": "perhaps"}, "line 2, column 'flag': 'perhaps' is no boolean; write no or yes"),
        ({"y": "r"}, "line 2, column 'y': 'r' is none of the classes; they are 'p', 'q'"),
        ({"y": ""}, "line 2, column 'y': the target is missing"),
        ({"y": None}, r"no column 'y';.* It is the target: preparation.features\(table\) needs none"),
    ],
)
def test_new_rows_that_are_refused(write: Any, changes: dict[str, Any], words: str) -> None:
    train, _ = prepared(write(table()))
    row = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    path = write(";".join(row) + "\n" + ";".join(row.values()) + "\n", "new.csv")
    with pytest.raises(ValueError, match=f"new.csv.*{words}") as caught:
        of(train).dataset(path)
    assert "\n" not in str(caught.value)


def test_new_levels_are_ignored_on_request(write: Any) -> None:
    train, _ = prepared(write(table()))
    path = write(table([tuple({**GOOD, "colour": "pink"}.values())]), "new.csv")
    assert of(train).features(path, new_levels="ignore")[0, -3:].tolist() == [0, 0, 0]
    assert of(train).dataset(path, new_levels="ignore").X[0, -3:].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="new_levels is 'skip'; it must be 'error' or 'ignore'"):
        of(train).features(path, new_levels="skip")


def test_missing_values_where_training_had_none(write: Any) -> None:
    for missing in ("error", "drop"):
        made = data.from_csv(write("x,z,y\n1,2,a\n2,1,b\n"), "y", missing=missing)
        new = write("x,z,y\n1,2,a\n?,3,b\n", "new.csv")
        words = f'new.csv, line 3, column \'x\': the value is missing.*missing="{missing}".*missing="mean"'
        with pytest.raises(ValueError, match=words):
            of(made).features(new)
    assert of(made).dataset(new).X.tolist() == [[1.0, 2.0]]
    made = data.from_csv(write("x,z,y\n1,2,a\n2,1,b\n"), "y", missing="mean")
    assert of(made).features(new).tolist() == [[1, 2], [1.5, 3]]


def test_booleans_of_new_rows_in_any_words(write: Any) -> None:
    made = data.from_csv(write("x,y\nyes,a\nno,b\n"), "y")
    assert of(made).features(pd.DataFrame({"x": [True, False]})).tolist() == [[1], [0]]
    assert of(made).features(pd.DataFrame({"x": [1, 0]})).tolist() == [[1], [0]]


def test_whole_numbers_as_classes_of_new_rows(write: Any) -> None:
    made = data.from_csv(write("x,y\n1.5,10\n2.5,9\n"), "y")
    new = pd.DataFrame({"x": [1.0, 2.0], "y": [9.0, 10.0]})
    assert of(made).dataset(new).y.tolist() == [0, 1]


# ---- JSON


@pytest.mark.parametrize("name", ["table", "regression", "iris", "german"])
def test_json_gives_the_same_preparation(write: Any, name: str) -> None:
    if name == "table":
        part = prepared(write(table()))[0]
    elif name == "regression":
        made = data.from_csv(write(table([("1", "$5"), ("2", "$7")], "x,p")), "p", regression=True)
        (part,) = data.standardize(made, targets=True)
    elif name == "german":
        part = data.from_csv(write("größe;am;y\n1,5 €;31.12.2024 14:30;ä\n?;01.01.2024;b\n"), "y", missing="mean")
    else:
        (part,) = data.standardize(data.iris())
    text = json.dumps(of(part).to_json(), allow_nan=False)
    again = Preparation.from_json(json.loads(text))
    assert again == of(part)
    assert again.summary() == of(part).summary()
    assert json.dumps(again.to_json()) == text


def plain() -> dict[str, Any]:
    rows = pd.DataFrame(
        {"x": [1.5, 2.5], "flag": ["no", "yes"], "c": ["u", "v"], "d": ["2024-01-01"] * 2, "y": ["a", "b"]}
    )
    values: dict[str, Any] = json.loads(json.dumps(of(data.from_frame(rows, "y", missing="mean")).to_json()))
    return values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), []), ((), None), ((), "x"), (("format",), 2), (("format",), None), (("name",), 5), (("columns",), {}),
        (("columns",), []), (("columns", 0), 7), (("columns", 0, "kind"), "pickle"),
        (("columns", 0, "kind"), ["number"]),
        (("columns", 0, "name"), "flag"), (("columns", 0, "name"), None), (("columns", 0, "decimal"), "x"),
        (("columns", 0, "standardized"), 1), (("columns", 0, "more"), 1), (("columns", 1, "pair"), ["no"]),
        (("columns", 1, "pair"), ["no", "true"]), (("columns", 2, "levels"), "uv"),
        (("columns", 2, "levels"), ["u", "u"]),
        (("columns", 2, "levels"), [1, 2]), (("columns", 3, "order"), "%c"),
        (("columns", 2, "levels"), ["u", "v", "w"]),
        (("shift",), []), (("shift",), [0.0]), (("shift", 0), math.nan), (("shift", 0), math.inf), (("shift", 0), "0"),
        (("shift", 0), True), (("shift", 0), 10**400), (("scale", 0), 0.0), (("scale", 0), -1.0), (("fill",), None),
        (("fill",), [1.0] * 9), (("missing",), "error"), (("missing",), "zero"), (("target",), None),
        (("target", "name"), "x"), (("target", "scale"), 0), (("target", "class_names"), ["a", "a"]),
        (("target", "class_names"), [["a"]]), (("delimiter",), ";;"), (("encoding",), 8), (("notes",), "n"),
        (("more",), 1),
    ],
)  # fmt: skip
def test_json_that_is_hostile_is_refused_in_one_line(path: tuple[Any, ...], value: Any) -> None:
    values = plain()
    Preparation.from_json(values)
    inner: Any = values
    for key in path[:-1]:
        inner = inner[key]
    if path:
        inner[path[-1]] = value
    else:
        values = value
    with pytest.raises(ValueError, match=r".+") as caught:
        Preparation.from_json(values)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_json_with_any_value_anywhere_is_read_or_refused(choice: st.DataObject) -> None:
    values = plain()
    places = [((key,), values) for key in values] + [((k,), values["target"]) for k in values["target"]]
    places += [((k,), column) for column in values["columns"] for k in column]
    (key,), inner = choice.draw(st.sampled_from(places))
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    inner[key] = choice.draw(st.recursive(scalars, lambda s: st.lists(s, max_size=4) | st.dictionaries(st.text(), s)))
    with suppress(ValueError):
        Preparation.from_json(values).summary()


def test_json_without_any_scale_is_refused() -> None:
    values = {**plain(), "scale": []}
    with pytest.raises(ValueError, match="this is no preparation: a list is not"):
        Preparation.from_json(values)


# ---- a file from another program


@pytest.mark.parametrize("first", ["utf-8", "cp1252"])
@pytest.mark.parametrize("second", ["utf-8", "utf-8-sig", "cp1252"])
def test_the_encoding_of_a_new_file_is_its_own(first: str, second: str, tmp_path: Path) -> None:
    text = "größe,y\n1,p\n2,q\n3,p\n4,q\n"
    (tmp_path / "old.csv").write_text(text, encoding=first)
    (tmp_path / "new.csv").write_text(text, encoding=second)
    preparation = of(data.from_csv(tmp_path / "old.csv", "y", encoding=first))
    if (first, second) == ("utf-8", "cp1252"):
        with pytest.raises(ValueError, match=r"new.csv: this is not UTF-8 text, .*; save it as UTF-8") as refusal:
            preparation.features(tmp_path / "new.csv")
        assert "encoding=" not in str(refusal.value)  # which nobody could pass
    else:
        np.testing.assert_array_equal(preparation.features(tmp_path / "new.csv").ravel(), [1, 2, 3, 4])


def test_numbers_and_dates_are_refused_with_one_as_it_should_be(write: Any) -> None:
    preparation = of(data.from_csv(write("when;x;y\n1.2.2024;1,5;p\n13.2.2024;2,5;q\n"), "y"))
    with pytest.raises(ValueError, match=r"'1\.5' is not a number with a decimal comma, as 1,5 is$"):
        preparation.features(write("when;x\n1.2.2024;1.5\n"))
    with pytest.raises(ValueError, match=r"'2/13/2024' is not a date in the order d\.m\.Y, as 31\.12\.2024 is$"):
        preparation.features(write("when;x\n2/13/2024;1,5\n"))
