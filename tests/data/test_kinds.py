"""What each column of a table becomes: numbers in the writing of their country, dates, booleans, texts, identifiers."""

from __future__ import annotations

import re
import warnings
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_ce import data
from tinygrad_ce.data import reading


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def writer(text: str | bytes) -> Path:
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return writer


def column(values: Any, sep: str = ";") -> str:
    """A CSV with these values in column `x`, and two classes."""
    return f"x{sep}y\n" + "".join(f"{value}{sep}{'ab'[i % 2]}\n" for i, value in enumerate(values))


def kind(dataset: data.Dataset, name: str = "x") -> str:
    return next(c.kind for c in dataset.preparation.columns if c.name == name)  # type: ignore[union-attr]


# ---- delimiters and encodings


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(write: Any, delimiter: str) -> None:
    lines = ["size,colour,y", "1.5,red,a", "2,blue,b", "3,red,a"]
    made = data.from_csv(write("\n".join(lines).replace(",", delimiter)), "y")
    assert made.feature_names == ("size", "colour=blue", "colour=red")
    assert made.X.tolist() == [[1.5, 0, 1], [2, 1, 0], [3, 0, 1]]


def test_the_delimiter_is_the_one_under_which_the_rows_agree(write: Any) -> None:
    made = data.from_csv(write("price, net;y\n1,5;a\n2,25;b\n3;a\n"), "y")
    assert made.feature_names == ("price, net",)
    assert made.X.tolist() == [[1.5], [2.25], [3.0]]
    made = data.from_csv(write('a|b,y\n"1;2;3;4",p\n"2;3;4;5",q\n'), "y")
    assert made.feature_names == ("a|b=1;2;3;4", "a|b=2;3;4;5")


def test_another_delimiter_is_asked_for(write: Any) -> None:
    path = write("x:y\n1:a\n2:b\n")
    assert data.from_csv(path, "y", delimiter=":").X.tolist() == [[1.0], [2.0]]
    with pytest.raises(ValueError, match="delimiter is '::'; it must be one character"):
        data.from_csv(path, "y", delimiter="::")


def test_an_empty_last_field_of_tabs_is_a_missing_value(write: Any) -> None:
    with pytest.raises(ValueError, match="line 3, column 'x': the value is missing"):
        data.from_csv(write("z\tx\ty\n1\t2\ta\n1\t\tb\n"), "y")


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            st.floats(-1e9, 1e9),
            st.integers(-(10**9), 10**9),
            st.sampled_from(["red", "light blue", 'say "hi"', "a,b;c|d", "two\nlines"]),
            st.sampled_from("pqr"),
        ),
        min_size=3,
        max_size=20,
    ).filter(lambda rows: len({row[3] for row in rows}) > 1),
    sep=st.sampled_from(",;\t|"),
    decimal=st.sampled_from(".,"),
)
def test_what_pandas_writes_pandas_and_we_read_alike(
    tmp_path_factory: Any, rows: list[Any], sep: str, decimal: str
) -> None:
    if sep == decimal:
        decimal = "."
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    pd.DataFrame(rows, columns=["real", "whole", "text", "label"]).to_csv(path, index=False, sep=sep, decimal=decimal)
    theirs = pd.read_csv(path, sep=sep, decimal=decimal)
    ours = data.from_csv(path, "label", delimiter=sep, decimal=decimal)
    dummies = pd.get_dummies(theirs[["real", "whole", "text"]], columns=["text"], prefix_sep="=")
    assert set(ours.feature_names) == {*dummies.columns}
    X = dict(zip(ours.feature_names, ours.X.T, strict=True))
    for name in dummies.columns:
        np.testing.assert_allclose(X[name], dummies[name].to_numpy(float), rtol=1e-14)
    assert X["real"].tolist() == [row[0] for row in rows]  # to the last bit, which pandas does not promise


def test_an_old_windows_file_says_how_to_read_it(write: Any) -> None:
    path = write("größe;y\n1;a\n2;b\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r'not UTF-8 text .*encoding="cp1252"'):
        data.from_csv(path, "y")
    made = data.from_csv(path, "y", encoding="cp1252")
    assert made.feature_names == ("größe",)
    np.testing.assert_array_equal(made.preparation.features(path), made.X)  # type: ignore[union-attr]
    assert data.from_csv(write("x,y\n1,a\n2,b\n".encode("utf-16")), "y", encoding="utf-16").X.tolist() == [[1], [2]]
    with pytest.raises(ValueError, match="encoding is 'cp99999', which Python does not know"):
        data.from_csv(path, "y", encoding="cp99999")
    with pytest.raises(ValueError, match="not text in ascii"):
        data.from_csv(path, "y", encoding="ascii")


def test_new_rows_in_another_encoding_are_sent_to_that_of_the_training(write: Any) -> None:
    train = data.from_csv(write("größe;y\n1;a\n2;b\n"), "y")
    for encoding in ("cp1252", "utf-16"):
        new = write("größe;y\n1;ä\n2;b\n".encode(encoding))
        with pytest.raises(ValueError, match=r"t\.csv: this is not UTF-8 text, as the table of the training") as caught:
            train.preparation.features(new)  # type: ignore[union-attr]
        assert "encoding=" not in str(caught.value)


# ---- numbers


@pytest.mark.parametrize(
    ("cells", "values", "unit"),
    [
        (["1,5", "2,25", "-3"], [1.5, 2.25, -3], ""),
        (["1.234,5", "2", "12.345.678"], [1234.5, 2, 12345678], ""),
        (["1,234.5", "2", "12,345,678"], [1234.5, 2, 12345678], ""),
        (["1'234.5", "2", "-7"], [1234.5, 2, -7], ""),
        (["1 234,5", "1\u202f234", "1\u00a0234"], [1234.5, 1234, 1234], ""),
        (["12 %", "0.5%", "-3%"], [12, 0.5, -3], "%"),
        (["$1,200.50", "-$3", "$ 4"], [1200.5, -3, 4], "$"),
        (["1.200,50 €", "3 €", "€4"], [1200.5, 3, 4], "€"),
        (["CHF 1'200.50", "3", "4"], [1200.5, 3, 4], "CHF"),
        (["1e3", "-2.5E-1", ".5"], [1000, -0.25, 0.5], ""),
        (["1,5e3", "2", "3"], [1500, 2, 3], ""),
        (["1.234", "2.345", "0.5"], [1.234, 2.345, 0.5], ""),
        (["0,123", "0,456", "7"], [0.123, 0.456, 7], ""),
        (["−3,5", "2", "1"], [-3.5, 2, 1], ""),
    ],
)
def test_numbers_are_read_in_the_writing_of_their_country(
    write: Any, cells: list[str], values: list[float], unit: str
) -> None:
    made = data.from_csv(write(column(cells)), "y")
    assert kind(made) == "number"
    assert made.X[:, 0].tolist() == values
    assert made.preparation.columns[0].unit == unit  # type: ignore[union-attr]
    np.testing.assert_array_equal(made.preparation.features(write(column(cells))), made.X)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "cells", [["0,12,5", "1", "2"], ["1,23,456", "2", "3"], ["12 kg", "3 kg", "4 kg"], ["$5$", "6", "7"]]
)
def test_what_is_no_number_is_a_category(write: Any, cells: list[str]) -> None:
    assert kind(data.from_csv(write(column(cells)), "y")) == "category"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-(10**12), 10**12), min_size=2, max_size=8), st.booleans())
def test_thousands_and_decimals_as_python_formats_them(tmp_path_factory: Any, cents: list[int], swap: bool) -> None:
    texts = [f"{c / 100:,.2f}" for c in cents]
    if swap:
        texts = [text.translate(str.maketrans(",.", ".,")) for text in texts]
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text(column(texts))
    assert data.from_csv(path, "y").X[:, 0].tolist() == [c / 100 for c in cents]


def test_a_comma_that_may_be_either_is_refused_unless_the_table_shows_which(write: Any) -> None:
    path = write(column(["1,234", "2,345", "6"]))
    with pytest.raises(ValueError, match=r"line 2, column 'x': '1,234' may be 1234 or 1\.234; pass decimal"):
        data.from_csv(path, "y")
    assert data.from_csv(path, "y", decimal=",").X[:, 0].tolist() == [1.234, 2.345, 6]
    assert data.from_csv(path, "y", decimal=".").X[:, 0].tolist() == [1234, 2345, 6]
    path = write("x;z;y\n1,234;0,5;a\n2,345;1;b\n")
    assert data.from_csv(path, "y").X.tolist() == [[1.234, 0.5], [2.345, 1.0]]
    path = write("x;z;y\n1.234;0,5;a\n2.345;1;b\n")
    assert data.from_csv(path, "y").X.tolist() == [[1234, 0.5], [2345, 1.0]]
    with pytest.raises(ValueError, match="decimal is 'x'"):
        data.from_csv(path, "y", decimal="x")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["12%", "0.5", "3%"], "line 3, column 'x': '0.5' and '12%' are in different units"),
        (["$1", "2", "3 €"], "line 4, column 'x': '3 €' and|line 3, column 'x': '2' and"),
        ([*range(30), "1.2.3"], "line 32, column 'x': '1.2.3' is not a number, as most"),
    ],
)
def test_damaged_numbers_are_refused(write: Any, cells: list[Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        data.from_csv(write(column(cells)), "y")


def test_a_target_in_euros_is_a_number(write: Any) -> None:
    made = data.from_csv(write("x;p\n1;1.200,50 €\n2;3 €\n"), "p", regression=True)
    assert made.y.tolist() == [1200.5, 3]
    assert "numbers in €" in made.preparation.summary()  # type: ignore[union-attr]


def test_whether_a_target_is_numbers_to_predict(write: Any) -> None:
    assert data.predicts_numbers(write("x,y\n1,2.5\n2,3\n"), "y")
    assert data.predicts_numbers(write("x;y\n1;2,5\n2;3\n"), "y")
    assert data.predicts_numbers(write("x,y\n" + "".join(f"1,{i}\n" for i in range(21))), "y")
    for labels in (["1", "2", "1"], ["a", "b"], ["1.5", "b"]):
        assert not data.predicts_numbers(write("x,y\n" + "".join(f"1,{label}\n" for label in labels)), "y")
    with pytest.raises(ValueError, match="no column 'z'"):
        data.predicts_numbers(write("x,y\n1,2\n"), "z")


# ---- booleans


@pytest.mark.parametrize(
    "cells", [["yes", "no", "Yes"], ["True", "False", "TRUE"], ["1", "0", "1"], ["t", "f", "t"], ["on", "off", "on"]]
)
def test_booleans_are_one_and_zero(write: Any, cells: list[str]) -> None:
    made = data.from_csv(write(column(cells)), "y")
    assert (kind(made), made.feature_names, made.X[:, 0].tolist()) == ("boolean", ("x",), [1, 0, 1])
    assert data.standardize(made)[0].X[:, 0].tolist() == [1, 0, 1]


@pytest.mark.parametrize("cells", [["yes", "no", "maybe"], ["yes", "off", "on"], ["t", "no", "f"]])
def test_words_of_different_pairs_are_categories(write: Any, cells: list[str]) -> None:
    assert kind(data.from_csv(write(column(cells)), "y")) == "category"


# ---- dates


def test_the_table_of_the_298_columns(write: Any) -> None:
    """A column of dates was a one-hot column for each of them: training accuracy 1.00, test 0.56, without a word."""
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(298)]
    text = "when,x,y\n" + "".join(f"{day},{i % 7},{'ab'[i % 2]}\n" for i, day in enumerate(days))
    made = data.from_csv(write(text), "y")
    assert made.feature_names == ("when.days", "when.month", "when.weekday", "x")
    theirs = pd.Series(pd.to_datetime(days))
    np.testing.assert_array_equal(made.X[:, 0], (theirs - pd.Timestamp(0)).dt.days)
    np.testing.assert_array_equal(made.X[:, 1], theirs.dt.month)
    np.testing.assert_array_equal(made.X[:, 2], theirs.dt.day_of_week)
    assert made.numeric.all()


@settings(deadline=None, max_examples=40)
@given(
    moments=st.lists(st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1)), min_size=2, max_size=9),
    form=st.sampled_from(
        ["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M:%SZ"]
    ),
)
def test_dates_as_pandas_reads_them(tmp_path_factory: Any, moments: list[datetime], form: str) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    texts = [f"{moment:{form}}".replace(f"{moment:%Y}", f"{moment.year:04}") for moment in moments]
    path.write_text(column(texts))
    made = data.from_csv(path, "y")
    theirs = pd.Series([datetime.strptime(text, form) for text in texts])
    expected = [
        theirs.dt.date.map(date.toordinal) - date(1970, 1, 1).toordinal(),
        theirs.dt.month,
        theirs.dt.day_of_week,
    ]
    hours = theirs.dt.hour + theirs.dt.minute / 60 + theirs.dt.second / 3600
    if hours.any():
        expected.append(hours)
    np.testing.assert_allclose(made.X.T, np.array(expected, dtype=float), rtol=1e-15)
    assert made.feature_names == tuple(f"x.{part}" for part in ("days", "month", "weekday", "hour")[: len(expected)])


def test_dates_with_slashes_need_one_that_tells(write: Any) -> None:
    months = data.from_csv(write(column(["03/04/2025", "04/03/2025", "12/31/2025"])), "y").X[:, 1]
    assert months.tolist() == [3, 4, 12]
    months = data.from_csv(write(column(["03/04/2025", "04/03/2025", "31/12/2025"])), "y").X[:, 1]
    assert months.tolist() == [4, 3, 12]
    months = data.from_csv(write(column(["05.05.2025", "03.04.2025", "04.03.2025"])), "y").X[:, 1]
    assert months.tolist() == [5, 4, 3]
    path = write(column(["05/05/2025", "03/04/2025", "04/03/2025"]))
    with pytest.raises(ValueError, match=r"line 3, column 'x': '03/04/2025' may begin with the day.*day_first=True"):
        data.from_csv(path, "y")
    assert data.from_csv(path, "y", day_first=True).X[:, 1].tolist() == [5, 4, 3]
    assert data.from_csv(path, "y", day_first=False).X[:, 1].tolist() == [5, 3, 4]
    with pytest.raises(TypeError, match="day_first is 'yes'; it must be True, False or None"):
        data.from_csv(path, "y", day_first="yes")  # type: ignore[arg-type]
    assert data.from_csv(write(column(["05/05/2025", "06/06/2025"])), "y").X[:, 1].tolist() == [5, 6]


def test_a_date_that_is_none_is_refused(write: Any) -> None:
    with pytest.raises(ValueError, match="line 4, column 'x': '2024-02-30' is not a date written Y-m-d, as most"):
        data.from_csv(write(column(["2024-02-28", "2024-02-29", "2024-02-30", "2024-03-01"])), "y")


# ---- texts and identifiers


def dropped(path: Path, target: str = "y", **options: Any) -> tuple[data.Dataset, str]:
    with pytest.warns(UserWarning, match="dropped: column") as caught:
        made = data.from_csv(path, target, **options)
    assert len(caught) == 1
    return made, str(caught[0].message)


def test_identifiers_and_free_text_are_dropped_with_a_word(write: Any) -> None:
    rows = [f"c{i},{1000 + 7 * i},note {i // 2 * 2} on {i % 9},{i % 5 / 2},{'ab'[i % 2]}" for i in range(30)]
    made, words = dropped(write("key,customer_id,note,x,y\n" + "\n".join(rows)))
    assert made.feature_names == ("x",)
    assert "column 'key': identifier or free text: 30 different texts in 30 rows" in words
    assert "column 'customer_id': an identifier: 30 different whole numbers in 30 rows" in words
    assert "column 'note': identifier or free text: 30 different texts" in words
    summary = made.preparation.summary()  # type: ignore[union-attr]
    assert re.search("customer_id +dropped", summary)
    assert "\n".join(line for line in summary.splitlines()) == summary.rstrip()


def test_whole_numbers_that_are_measured_are_no_identifiers(write: Any) -> None:
    for name in ("income", "t", "humid", "period", "number of rooms"):
        text = f"{name},y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(30))
        assert data.from_csv(write(text), "y").feature_names == (name,)


def test_texts_with_many_levels_are_dropped_unless_asked_for(write: Any) -> None:
    text = "state,x,y\n" + "".join(f"s{i % 25},{i / 2},{'ab'[i % 2]}\n" for i in range(100))
    made, words = dropped(write(text))
    assert made.feature_names == ("x",)
    assert "25 different texts in 100 rows: pass most_levels=25 to learn from it" in words
    assert data.from_csv(write(text), "y", most_levels=25).n_features == 26


def test_where_nothing_is_left_the_table_is_refused(write: Any) -> None:
    with pytest.raises(ValueError, match=r"column 'x': identifier or free text: 30 .*no other feature column is left"):
        data.from_csv(write(column([f"n{i}" for i in range(30)])), "y")


def test_columns_are_dropped_on_request(write: Any) -> None:
    path = write("name,x,y\nanna,1,a\nbert,2,b\n")
    made = data.from_csv(path, "y", drop=["name"])
    assert made.feature_names == ("x",)
    assert "as asked with drop=" in made.preparation.summary()  # type: ignore[union-attr]
    for drop, error, words in (
        (["nam"], ValueError, "drop names 'nam'; the columns are 'name', 'x'"),
        (["y"], ValueError, "drop names 'y', which is the target"),
        ("name", TypeError, "drop is 'name'; write a list"),
        (5, TypeError, "drop is 5; write a list"),
        (["name", "x"], ValueError, "no other feature column is left"),
    ):
        with pytest.raises(error, match=words):
            data.from_csv(path, "y", drop=drop)


# ---- missing values

GAPS = "x,when,flag,colour,y\n1,2024-01-01,yes,red,a\n?,2024-01-03,no,blue,b\n3,-,yes,NA,a\n8,2024-02-01,,red,b\n"


def test_missing_values_are_means(write: Any) -> None:
    made = data.from_csv(write(GAPS), "y", missing="mean")
    X = dict(zip(made.feature_names, made.X.T.tolist(), strict=True))
    assert X["x"] == [1, 4, 3, 8]
    assert X["flag"] == [1, 0, 1, 2 / 3]
    assert X["when.month"] == [1, 1, 4 / 3, 2]
    assert (X["colour=blue"], X["colour=red"]) == ([0, 1, 0, 0], [1, 0, 0, 1])
    assert made.missing is not None
    assert made.missing[:, 0].tolist() == [False, True, False, False]
    assert made.preparation is not None
    assert made.preparation.fill == (4, *made.X[2, 1:4], 2 / 3, 0, 0)


def test_rows_with_missing_values_are_dropped(write: Any) -> None:
    made = data.from_csv(write(GAPS), "y", missing="drop", drop=["flag"])
    assert made.X[:, 0].tolist() == [1, 8]
    assert "2 of 4 rows left out: a value is missing" in made.preparation.summary()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="every row has a missing value"):
        data.from_csv(write("x,z,y\n?,1,a\n1,?,b\n"), "y", missing="drop")
    with pytest.raises(ValueError, match="missing is 'fill'; it must be one of"):
        data.from_csv(write(GAPS), "y", missing="fill")


def test_a_row_without_target_is_not_learnt_from(write: Any) -> None:
    path = write("x,y\n1,a\n2,?\n3,b\n")
    for missing in ("drop", "mean"):
        made = data.from_csv(path, "y", missing=missing)
        assert made.X[:, 0].tolist() == [1, 3]
        assert "1 of 3 rows left out" in made.preparation.summary()  # type: ignore[union-attr]


def test_a_column_without_any_value_is_dropped_with_a_word(write: Any) -> None:
    for missing in ("drop", "mean"):
        made, words = dropped(write("x,z,y\n1,,a\n2,NA,b\n"), missing=missing)
        assert (made.feature_names, len(made)) == (("x",), 2)
        assert "column 'z': no row has a value" in words


def test_minus_and_plus_are_labels_together(write: Any) -> None:
    assert data.from_csv(write("x,y\n1,+\n2,-\n3,+\n"), "y").class_names == ("+", "-")
    with pytest.raises(ValueError, match="the target is missing"):
        data.from_csv(write("x,y\n1,a\n2,-\n3,b\n"), "y")


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.none() | st.floats(-1e6, 1e6), min_size=3, max_size=15).filter(lambda x: any(v is not None for v in x))
)
def test_missing_means_are_those_of_pandas(tmp_path_factory: Any, values: list[float | None]) -> None:
    frame = pd.DataFrame({"x": values, "z": 1.5, "y": ["ab"[i % 2] for i in range(len(values))]})
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    frame.to_csv(path, index=False)
    theirs = frame["x"].fillna(frame["x"].mean()).to_numpy(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = data.from_csv(path, "y", missing="mean")
    np.testing.assert_allclose(ours.X[:, 0], theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max())


def test_each_column_is_searched_for_gaps_and_numbers_once(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: dict[str, int] = {}
    for name in ("missing_rows", "plain_numbers"):
        function = getattr(reading, name)

        def counted(*args: Any, name: str = name, function: Any = function) -> Any:
            searched[name] = searched.get(name, 0) + 1
            return function(*args)

        monkeypatch.setattr(reading, name, counted)
    text = "a,b,c,y\n" + "".join(f"{i / 2},{i},{'pq'[i % 2]},{'ab'[i % 2]}\n" for i in range(30))
    data.from_csv(write(text), "y")
    assert searched == {"missing_rows": 4, "plain_numbers": 4}


# ---- what is said of the columns


def test_constants_are_dropped_with_a_word(write: Any) -> None:
    text = "a,b,x,y\n" + "".join(f"7,same,{i / 2},{'ab'[i % 2]}\n" for i in range(30))
    made, words = dropped(write(text))
    assert made.feature_names == ("x",)
    assert words.endswith("column 'a': constant: every value is '7'; column 'b': constant: every value is 'same'")


def test_row_numbers_without_a_name_are_dropped_as_those_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(30) / 2, "y": ["a", "b"] * 15})
    frame.to_csv(tmp_path / "t.csv")
    made, words = dropped(tmp_path / "t.csv")
    assert made.feature_names == ("x",)
    assert "column 'Unnamed: 0': an identifier" in words
    assert made.preparation.features(frame).tolist() == made.X.tolist()  # type: ignore[union-attr]


def test_a_summary_fits_a_terminal_and_wraps_under_its_columns(write: Any) -> None:
    levels = [f"level {i} of many" for i in range(12)]
    rows = [f"{levels[i % 12]},{i / 2},free text {i} of somebody,c{i % 30:02d}" for i in range(60)]
    made, _ = dropped(write("a category with a very long name,x,notes,y\n" + "\n".join(rows) + "\n"))
    lines = str(made.preparation.summary()).splitlines()  # type: ignore[union-attr]
    assert max(map(len, lines)) <= 80
    row = next(i for i, line in enumerate(lines) if line.startswith("notes"))
    start = lines[row].index("identifier")
    assert lines[row + 1][:start].strip() == ""
    assert lines[row + 1][start] != " "


def test_one_class_that_is_left_is_said_with_the_rows_that_are_not(write: Any) -> None:
    text = "x,z,y\n1,?,a\n2,3,b\n2,4,b\n"
    with pytest.raises(ValueError, match=r"only one class, 'b' \(1 of 3 rows left out: a value is missing\)"):
        data.from_csv(write(text), "y", missing="drop")


def test_a_renamed_column_is_not_taken_for_one_that_is_known(write: Any) -> None:
    made = data.from_csv(write("age,usage,y\n1,2,a\n2,4,b\n"), "y")
    with pytest.raises(ValueError, match="no column 'usage'; did you mean 'usages'"):
        made.preparation.features(write("age,usages\n1,2\n"))  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="no column 'usage'; it has 'age'"):
        made.preparation.features(write("age\n1\n"))  # type: ignore[union-attr]


def test_a_summary_counts_the_gaps_of_the_training_rows(write: Any) -> None:
    text = "x,when,z,y\n" + "".join(
        f"{i / 2 if i in (3, 5) else ''},{'?' if i == 4 else f'2025-01-{i + 1:02d}'},{i},{'ab'[i % 2]}\n"
        for i in range(20)
    )
    made = data.from_csv(write(text), "y", missing="mean")
    train, _ = data.standardize(made.take(np.arange(10)), made.take(np.arange(10, 20)))
    summary = train.preparation.summary()  # type: ignore[union-attr]
    assert "\nmissing in the 10 training rows: 'x' 8, 'when' 1\n" in summary
