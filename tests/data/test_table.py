"""Tables from CSV files, against pandas."""

from __future__ import annotations

import csv
import random
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
        path = tmp_path / "flowers.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return writer


MIXED = """size,color,fresh,label
1.5,red,True,no
2,blue,False,yes
-3e2,red,True,no
"""


def test_csv_of_numbers_texts_and_booleans(write: Any) -> None:
    made = data.from_csv(write(MIXED), "label")
    assert made.feature_names == ("size", "color=blue", "color=red", "fresh")
    np.testing.assert_array_equal(made.X, [[1.5, 0, 1, 1], [2, 1, 0, 0], [-300, 0, 1, 1]])
    assert made.numeric.tolist() == [True, False, False, False]
    assert made.y.tolist() == [0, 1, 0]
    assert made.class_names == ("no", "yes")
    assert repr(made) == "Dataset('flowers', 3 rows, 4 features, 2 classes)"


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.integers(-(2**62), 2**62),
            st.sampled_from(["red", "light blue", 'say "hi"', "a,b", "two\nlines"]),
            st.sampled_from(["p", "q", "r"]),
        ),
        min_size=2,
        max_size=20,
    ).filter(lambda rows: len({row[3] for row in rows}) > 1)
)
def test_csv_agrees_with_pandas_get_dummies(tmp_path_factory: Any, rows: list[Any]) -> None:
    path = tmp_path_factory.mktemp("csv") / "random.csv"
    frame = pd.DataFrame(rows, columns=["real", "whole", "text", "label"])
    frame.to_csv(path, index=False)
    made = data.from_csv(path, "label")
    dummies = pd.get_dummies(frame[["real", "whole", "text"]], columns=["text"], prefix_sep="=")
    assert made.feature_names == tuple(dummies.columns)
    np.testing.assert_array_equal(made.X, dummies.to_numpy(dtype=np.float64))  # to the last bit
    assert [made.class_names[label] for label in made.y] == list(frame["label"])


@pytest.mark.parametrize(
    ("labels", "names", "y"),
    [
        (["10", "9", "-1", "9"], ("-1", "9", "10"), [2, 1, 0, 1]),
        (["1.0", "2.0", "1.0", "2.0"], ("1", "2"), [0, 1, 0, 1]),
        (["b", "B", "a", "10"], ("10", "B", "a", "b"), [3, 1, 2, 0]),
        (["True", "False", "True", "True"], ("False", "True"), [1, 0, 1, 1]),
        (["9007199254740993", "9007199254740992"] * 2, ("9007199254740992", "9007199254740993"), [1, 0, 1, 0]),
    ],
)
def test_csv_class_names_are_sorted(write: Any, labels: list[str], names: tuple[str, ...], y: list[int]) -> None:
    made = data.from_csv(write("x,label\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels))), "label")
    assert made.class_names == names
    assert made.y.tolist() == y


def test_csv_for_regression(write: Any) -> None:
    made = data.from_csv(write("x,price\n1,2\n3,4.5\n"), "price", regression=True)
    assert made.y.tolist() == [2.0, 4.5]
    assert made.y.dtype == np.float64
    assert (made.class_names, made.n_classes) == ((), 0)


@pytest.mark.parametrize(
    "text",
    [
        "x,y\r\n1,a\r\n2,b\r\n",
        "\ufeffx,y\n1,a\n2,b",
        "x, y\n1, a\n2 ,b \n",
        '"x","y"\n"1","a"\n\n   \n"2", "b"\n\n',
    ],
)
def test_csv_dialects_that_make_no_difference(write: Any, text: str) -> None:
    made = data.from_csv(write(text), "y")
    assert (made.feature_names, made.class_names) == (("x",), ("a", "b"))
    assert made.X.tolist() == [[1.0], [2.0]]
    assert made.numeric.all()


def test_csv_keeps_a_few_codes_among_words_as_categories(write: Any) -> None:
    rows = "".join(f"{code},{label}\n" for code, label in zip(["0", "1", "2", "3+"] * 3, "ab" * 6, strict=True))
    assert data.from_csv(write("children,y\n" + rows), "y").feature_names[-1] == "children=3+"


def test_csv_keeps_words_with_a_fraction_among_them_as_categories(write: Any) -> None:
    rows = "".join(f"{word},{label}\n" for word, label in zip(["small", "large", "1.5"] * 2, "ab" * 3, strict=True))
    assert data.from_csv(write("size,y\n" + rows), "y").feature_names == ("size=1.5", "size=large", "size=small")


def column(values: Any) -> str:
    """A CSV with these values in column `x`, and two classes."""
    return "x,y\n" + "".join(f"{value},{'ab'[i % 2]}\n" for i, value in enumerate(values))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "file is empty"),
        ("\n\n", "file is empty"),
        ("x,y\n", "no rows"),
        ("x,target\n1,2\n", "no column 'y'; line 1 names 'x', 'target'"),
        ("x,yy\n1,2\n", "no column 'y'; did you mean 'yy'"),
        ("x:y\n1:2\n", "no column 'y'.*'x:y'.*separated by commas.*delimiter="),
        ("y\n1\n2\n", "no feature columns: 'y' is the only"),
        ("x,y,x\n1,2,3\n", "line 1: two columns are called 'x'"),
        ("x,,y\n0,1,a\n1,2,b\n", "line 1: column 2 has no name"),
        ("x,y\n1,a\n2,b,c\n", "line 3: 3 fields, but the header names 2 columns"),
        ("x,y\n1,a\n2\n", "line 3: 1 field, but"),
        ('x,y\n1,a\n"2,b\n3,a\n', "line 3: .*quote.*never closed"),
        ('x,y\n1,a\n"2"z,b\n', "line 3: cannot be read as CSV"),
        (b"x,y\n1,caf\xe9\n2,b\n", "not UTF-8"),
        ("x,y\n1,a\n,b\n3,\n", r"line 3, column 'x': the value is missing \(2 missing"),
        ("x,y\n1,a\n\n2,b\n3,NA\n", r"line 5, column 'y': the target is missing \(1 missing"),
        ('z,x,y\n"two\nlines",1,a\nb,nan,b\n', "line 4, column 'x': the value is missing"),
        ("x,y\n1,a\ninf,b\n-inf,a\n", r"line 3, column 'x': 'inf' is infinite.*2 such"),
        ("x,y\n1,a\n1e999,b\n", "line 3, column 'x': '1e999' is infinite or too large"),
        ("x,y\n1,a\n2,a\n", "column 'y': only one class, 'a'"),
        ("x,y\n1,7\n2,7\n", "column 'y': only one class, '7'"),
        ("x,y\n1,1\n2,0.5\n", "line 3, column 'y': 0.5 is no class label.*regression=True"),
        ("x,y\n" + "".join(f"1,{i}\n" for i in range(21)), "column 'y': each of the 21 rows.*regression=True"),
        ("x,y\n" + "".join(f"1,n{i}\n" for i in range(21)), "column 'y': each of the 21 rows.*another target"),
        (
            column(f"name{i}" for i in range(21)),
            "column 'x': .*: 21 different texts in 21 rows.*drop",
        ),
        (column([f"name{i}" for i in range(1001)] * 2), "column 'x': 1001 different texts in 2002 rows.*drop"),
        ("x,y\n1,a\nNAN,b\n", "line 3, column 'x': the value is missing"),
        ("x,y\n1,a\n-nan,b\n", "line 3, column 'x': the value is missing"),
        ("x,y\n1,a\n-1.#IND,b\n", "line 3, column 'x': the value is missing"),
        ("x,y\n1,a\n#N/A N/A,b\n", "line 3, column 'x': the value is missing"),
        ("x,y,x,z,x\n1,2,3,4,5\n", "line 1: 3 columns are called 'x'"),
        ("x,y\r1,a\r2,b,c\r", "line 3: 3 fields, but the header names 2 columns"),
        ("\ufeffx,y\n", "no rows"),
        ("\ufeff", "file is empty"),
        ("\0" * 200, "not UTF-8 but UTF-16"),
        ("x,y\n1,a\n2,b\n".encode("utf-16"), "not UTF-8 but UTF-16"),
        ("x,y\n1,a\n2,b\n".encode("utf-16-le"), "not UTF-8 but UTF-16"),
        ("x,y\n1,a\n2,b\n".encode("utf-16-be"), "not UTF-8 but UTF-16"),
        ("x,y\n1,a\n2,b\n".encode("utf-32-be"), "not UTF-8 but UTF-16"),
        ("x,y\n1,a\n3\0,b\n", r"line 3, column 'x': '3\\x00' holds a character that nobody sees \('U\+0000'\)"),
        ("x,y\n1,a\nb\0c,b\n", r"line 3, column 'x': 'b\\x00c' holds a character that nobody sees"),
        ("x,y\n1,1\n2,\u200b2\n", r"line 3, column 'y': '\\u200b2' holds a character that nobody sees \('U\+200B'\)"),
        ("x,y\n1,a\n3\u00ad.5,b\n", r"line 3, column 'x': .* holds a character that nobody sees \('U\+00AD'\)"),
        (
            "x,y\n1,a\n" + "9" * 5000 + ",b\n",
            r"line 3, column 'x': '99*…9*' \(5,002 characters\) is infinite or too large",
        ),
        ("x,y\n" + "1" * 140_000 + ",a\n2,b\n", "line 2: cannot be read as CSV: .*longer than 131,072"),
        ('x,y\n1,a\n"' + "2,b\n" * 40_000, "line 3: cannot be read as CSV: a quote is opened and never closed"),
        (column([1.5, 2.5, "1_0", 3.5]), "line 4, column 'x': '1_0' is not a number"),
        (column([1.5, 2.5, "?", 3.5]), "line 4, column 'x': the value is missing"),
        (column([*range(30), "12 kg"]), "line 32, column 'x': '12 kg' is not a number"),
    ],
)
def test_csv_errors_name_the_file_and_the_place(write: Any, text: str | bytes, words: str) -> None:
    path = write(text)
    with pytest.raises(ValueError, match=f"(?s)flowers.csv.*{words}"):
        data.from_csv(path, "y")


def test_csv_errors_are_short_however_long_the_file_is(write: Any) -> None:
    long = ",".join(f"column {i}" for i in range(100_000)) + "\n"
    for text, words in [
        (long, "no column 'y'; line 1 names 'column 0', .* and 99,980 more"),
        (long + "1,2\n", "line 2: 2 fields, but the header names 100000 columns"),
        ("z" * 5000 + ",x\n1,2\n", r"no column 'y'; line 1 names 'z+…z+' \(5,002 characters\), 'x'"),
        ("x" * 5000 + "," + "x" * 5000 + ",y\n1,2,3\n", "two columns are called 'x*…x*'"),
        ("x,y\n" + "".join(f"{'w' * 5000}{i},a\n" for i in range(21)), "only one class"),
        ("x,y\n1,a\n2,b\n" + "1.5,a\n" * 20 + "w" * 5000 + ",a\n", "'w*…w*'.* is not a number, as most"),
    ]:
        target = "column 1" if "fields" in words else "y"
        with pytest.raises(ValueError, match=words) as caught:
            data.from_csv(write(text), target)
        assert len(str(caught.value)) < 1500


def test_csv_of_many_columns_is_read_in_linear_time(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 5_000
    path = write(
        ",".join([*(f"x{i}" for i in range(n)), "y"]) + "\n" + (",".join("1" * n) + ",a\n") + ("2," * n) + "b\n"
    )
    comparisons = 0

    class Counted(str):
        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    records = reading._records
    monkeypatch.setattr(
        reading, "_records", lambda *of: (*(lines := records(*of))[:1], [[*map(Counted, r)] for r in lines[1]])
    )
    made = data.from_csv(path, "y")
    assert made.X.shape == (2, n)
    assert (made.X == [[1], [2]]).all()
    assert comparisons < 100 * n


def test_csv_of_the_old_macintosh(write: Any) -> None:
    made = data.from_csv(write("x,y\r1,a\r2,b\r"), "y")
    assert made.X.tolist() == [[1.0], [2.0]]
    assert made.class_names == ("a", "b")


@pytest.mark.parametrize(
    "labels", [("9" * 20, "9" * 19 + "8"), (str(2**64 + 1), str(2**64)), ("1" * 300, "1" * 299 + "2")]
)
def test_csv_labels_that_no_float_tells_apart_are_two_classes(write: Any, labels: tuple[str, str]) -> None:
    made = data.from_csv(write(f"x,y\n1,{labels[0]}\n2,{labels[1]}\n3,{labels[0]}\n"), "y")
    assert made.class_names == tuple(sorted(labels))
    assert made.y.tolist() == ([1, 0, 1] if labels[0] > labels[1] else [0, 1, 0])


def test_csv_keeps_what_nobody_sees_in_a_word(write: Any) -> None:
    """A joiner is part of many a script, and of the picture of a family."""
    words = ["\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f468\u200d\U0001f469"]
    made = data.from_csv(write("x,y\n" + "".join(f"{i},{words[i % 2]}\n" for i in range(4))), "y")
    assert made.class_names == tuple(sorted(words))


def test_csv_errors_show_escape_codes_instead_of_sending_them(tmp_path: Path) -> None:
    """A terminal would obey them: change its colours, its title, what stands above."""
    path = tmp_path / "a\x1b[31m.csv"
    path.write_text("x\x1b[2J,y\x1b]0;title\x07\n1,\x1b[1mb\n2,\x1b[1mb\n")
    for target in ("y", "y\x1b]0;title\x07", "z\x1b[2J"):
        with pytest.raises(ValueError, match=r"a\\x1b\[31m\.csv") as caught:
            data.from_csv(path, target, regression=target.startswith("y\x1b"))
        assert "\x1b" not in str(caught.value)
        assert "\x07" not in str(caught.value)


def test_csv_regression_needs_finite_numbers(write: Any) -> None:
    with pytest.raises(ValueError, match=r"line 3, column 'y': 'dear' is not a number.*regression=True"):
        data.from_csv(write("x,y\n1,2\n2,dear\n"), "y", regression=True)
    with pytest.raises(ValueError, match="line 2, column 'y': 'inf' is infinite"):
        data.from_csv(write("x,y\n1,inf\n2,3\n"), "y", regression=True)


def test_csv_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.csv: no such file"):
        data.from_csv(tmp_path / "none.csv", "y")
    with pytest.raises(ValueError, match="not a file"):
        data.from_csv(tmp_path, "y")
    with pytest.raises(TypeError, match="target is 0; write the name"):
        data.from_csv(tmp_path / "none.csv", 0)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=40)
@given(
    gaps=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "a\nb", "a\r\n\r\nb"])), min_size=1, max_size=8),
    choice=st.randoms(use_true_random=False),
)
def test_csv_line_numbers_count_empty_and_quoted_lines(
    tmp_path_factory: Any, gaps: list[Any], choice: random.Random
) -> None:
    hole = choice.randrange(len(gaps))
    text = "text,x,y\n"
    for row, (empty, value) in enumerate(gaps):
        text += "\n" * empty
        if row == hole:
            line = text.count("\n") + 1
        text += f'"{value}",{"" if row == hole else row},{row % 2}\n'
    path = tmp_path_factory.mktemp("csv") / "gaps.csv"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match=f"line {line}, column 'x'"):
        data.from_csv(path, "y")


def test_csv_written_by_another_program_trains_like_the_original(tmp_path: Path) -> None:
    iris = data.iris()
    path = tmp_path / "iris.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*iris.feature_names, "kind"])
        writer.writerows([*row, iris.class_names[y]] for row, y in zip(iris.X.tolist(), iris.y, strict=True))
    made = data.from_csv(str(path), "kind")
    np.testing.assert_array_equal(made.X, iris.X)
    np.testing.assert_array_equal(made.y, iris.y)
    assert (made.feature_names, made.class_names) == (iris.feature_names, iris.class_names)


@pytest.mark.parametrize("said", ["sep=;", '"sep=;"', "sep=;\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_line_that_tells_excel_the_delimiter_is_none_of_the_table(said, encoding, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"{said}\nx;y\n1,5;p\n2,5;q\n", encoding=encoding, newline="")
    read = data.from_csv(path, "y")
    assert read.feature_names == ("x",)
    np.testing.assert_array_equal(read.X.ravel(), [1.5, 2.5])
    path.write_text(f"{said}\nx;y\n1,5;p\n2,5\n", encoding=encoding, newline="")
    with pytest.raises(ValueError, match="line 4: 1 field"):
        data.from_csv(path, "y")


def test_the_mark_of_utf8_is_believed_whatever_was_passed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("größe,y\n1,p\n2,q\n", encoding="utf-8-sig")
    assert data.from_csv(path, "y", encoding="cp1252").feature_names == ("größe",)
