"""Tests of data.py, against scikit-learn, pandas and counting by hand."""

from __future__ import annotations

import csv
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets as sklearn_datasets
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from tinygrad_ce import data
from tinygrad_ce.data import Dataset

TOYS = ("moons", "circles", "spirals", "xor", "blobs")
REAL = ("digits", "iris", "wine", "breast_cancer")


def dataset(y: Any, X: Any = None, numeric: Any = None) -> Dataset:
    """A Dataset around y; without X, its one column numbers the rows, so that a row can be recognised."""
    y = np.asarray(y)
    X = np.arange(len(y), dtype=float)[:, None] if X is None else np.asarray(X)
    numeric = np.ones(X.shape[1], dtype=bool) if numeric is None else np.asarray(numeric)
    names = tuple(f"f{i}" for i in range(X.shape[1]))
    classes = () if y.dtype == np.float64 else tuple(f"c{i}" for i in range(y.max(initial=0) + 1))
    return Dataset(X, y, names, classes, "made", numeric)


def row_numbers(part: Dataset) -> list[int]:
    return [int(number) for number in part.X[:, 0]]


# -------------------------------------------------------------------------------------------------------- Dataset


def test_dataset_says_how_large_it_is() -> None:
    made = dataset([0, 1, 2, 1], X=np.zeros((4, 5)))
    assert (len(made), made.n_features, made.n_classes) == (4, 5, 3)
    assert repr(made) == "Dataset('made', 4 rows, 5 features, 3 classes)"
    assert repr(dataset([0.5])) == "Dataset('made', 1 row, 1 feature, regression)"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([3, 0], [3, 0]),
        (slice(1, 3), [1, 2]),
        (np.array([True, False, False, True]), [0, 3]),
        ([], []),
        (-1, [3]),
        (np.array([2, 2]), [2, 2]),
    ],
)
def test_take_gives_these_rows(rows: Any, expected: list[int]) -> None:
    made = dataset([0, 1, 2, 1])
    part = made.take(rows)
    assert row_numbers(part) == expected
    assert part.y.tolist() == [made.y[row] for row in expected]
    assert part.class_names == made.class_names


def test_take_copies_and_refuses_rows_that_are_not_there() -> None:
    made = dataset([0, 1])
    made.take(slice(0, 1)).X[0, 0] = 99.0
    assert made.X[0, 0] == 0.0
    with pytest.raises(IndexError, match="2"):
        made.take([2])


def test_astype_changes_only_X() -> None:
    made = data.moons(10).astype(np.float32)
    assert (made.X.dtype, made.y.dtype) == (np.float32, np.int64)
    with pytest.raises(TypeError, match=r"int64.*floats"):
        made.astype(int)


def test_dataset_is_frozen() -> None:
    with pytest.raises(AttributeError):
        dataset([0, 1]).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"X": [[1.0]]}, TypeError, "X is a list.*NumPy array"),
        ({"y": [0, 1]}, TypeError, "y is a list"),
        ({"X": np.zeros((2, 1), dtype=int)}, TypeError, "X holds int64.*astype"),
        ({"y": np.zeros(2, dtype=bool)}, TypeError, "y holds bool.*int64"),
        ({"X": np.zeros(2)}, ValueError, r"\(2,\).*\(N, D\)"),
        ({"X": np.zeros((3, 1))}, ValueError, r"\(3, 1\).*\(2,\)"),
        ({"feature_names": ()}, ValueError, "0 feature_names for 1 column"),
        ({"X": np.zeros((2, 2)), "feature_names": ("a", "a")}, ValueError, "two features are called 'a'"),
        ({"numeric": (True,)}, TypeError, "numeric.*bool"),
        ({"numeric": np.array([1])}, TypeError, "numeric.*bool"),
        ({"numeric": np.array([True, True])}, ValueError, r"numeric.*\(2,\)"),
        ({"class_names": ("only",)}, ValueError, r"y\[1\] is 1.*0 to 0"),
        ({"class_names": ()}, ValueError, "class_names must name"),
        ({"y": np.array([0, -1])}, ValueError, r"y\[1\] is -1"),
        ({"y": np.array([0.0, 1.0])}, ValueError, "class_names must be empty"),
    ],
)
def test_dataset_refuses_parts_that_do_not_agree(changes: dict[str, Any], error: type, words: str) -> None:
    parts: dict[str, Any] = {
        "X": np.zeros((2, 1)),
        "y": np.array([0, 1]),
        "feature_names": ("a",),
        "class_names": ("no", "yes"),
        "name": "parts",
        "numeric": np.array([True]),
    }
    Dataset(**parts)
    with pytest.raises(error, match=words):
        Dataset(**(parts | changes))


# -------------------------------------------------------------------------------------------------------- toy sets


@settings(deadline=None)
@given(name=st.sampled_from(TOYS), n=st.integers(4, 60), seed=st.integers(0, 2**40))
def test_toys_are_balanced_and_reproducible(name: str, n: int, seed: int) -> None:
    made = data.load(name, n=n, seed=seed)
    counts = np.bincount(made.y, minlength=made.n_classes)
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1
    assert made.X.shape == (n, 2)
    assert made.X.dtype == np.float64
    assert made.y.dtype == np.int64
    assert made.numeric.all()
    assert made.name == name
    np.testing.assert_array_equal(made.X, data.load(name, n=n, seed=seed).X)
    np.testing.assert_array_equal(made.X, data.load(name, n=n, seed=np.random.default_rng(seed)).X)


@pytest.mark.parametrize("name", TOYS)
def test_toys_are_shuffled_and_a_generator_advances(name: str) -> None:
    first = data.load(name)
    assert (np.diff(first.y[:40]) == 0).any()
    assert (np.diff(first.y[:40]) != 0).any()
    assert not np.array_equal(first.X, data.load(name, seed=1).X)
    generator = np.random.default_rng(0)
    assert not np.array_equal(data.load(name, seed=generator).X, data.load(name, seed=generator).X)
    assert not np.array_equal(data.load(name, seed=None).X, data.load(name, seed=None).X)


@pytest.mark.parametrize(("name", "theirs"), [("moons", "make_moons"), ("circles", "make_circles")])
def test_noiseless_shapes_are_those_of_scikit_learn(name: str, theirs: str) -> None:
    ours = data.load(name, n=100, noise=0)
    X, y = getattr(sklearn_datasets, theirs)(n_samples=100, noise=None, shuffle=False, **theirs_options(name))

    def sort(points: Any, labels: Any) -> Any:
        rows = np.round(np.column_stack([labels, points]), 9) + 0.0  # -0.0 to 0.0
        return rows[np.lexsort(rows.T)]

    np.testing.assert_allclose(sort(ours.X, ours.y), sort(X, y), atol=1e-9)


def theirs_options(name: str) -> dict[str, float]:
    return {"factor": 0.5} if name == "circles" else {}


def test_noise_is_the_standard_deviation_of_each_coordinate() -> None:
    n = 4000
    circles = data.circles(n, noise=0.02, factor=0.0)
    np.testing.assert_allclose(circles.X[circles.y == 1].std(axis=0), 0.02, rtol=0.1)
    xor = data.xor(n, noise=0.2)
    np.testing.assert_allclose((xor.X - np.sign(xor.X)).std(axis=0), 0.2, rtol=0.05)
    blobs = data.blobs(n, classes=2, features=3, spread=2.0)
    for label in range(2):
        np.testing.assert_allclose(blobs.X[blobs.y == label].std(axis=0), 2.0, rtol=0.1)


def test_xor_labels_are_the_product_of_the_signs() -> None:
    made = data.xor(41, noise=0.0)
    np.testing.assert_array_equal(made.y, (made.X.prod(axis=1) < 0).astype(int))
    corners = np.unique(made.X, axis=0, return_counts=True)[1]
    assert len(corners) == 4
    assert corners.max() - corners.min() <= 1


def test_options_reach_the_shapes() -> None:
    assert data.spirals(50, arms=5).class_names == ("arm 0", "arm 1", "arm 2", "arm 3", "arm 4")
    assert data.blobs(50, classes=4, features=3).X.shape == (50, 3)
    radii = np.hypot(*data.circles(50, noise=0, factor=0.25).X.T)
    np.testing.assert_allclose(np.unique(np.round(radii, 9)), [0.25, 1.0])


def test_three_spirals_are_learnt_by_a_small_network_but_not_by_a_line() -> None:
    train, test = data.standardize(*data.split(data.spirals()))
    network = MLPClassifier((16, 16), activation="tanh", batch_size=32, learning_rate_init=0.02, max_iter=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.set_params(random_state=0).fit(train.X, train.y)
    assert network.score(test.X, test.y) >= 0.98
    assert LinearDiscriminantAnalysis().fit(train.X, train.y).score(test.X, test.y) < 0.7


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("moons", {"n": 1}, ValueError, "moons: n is 1; .* at least 2"),
        ("moons", {"n": 10.0}, TypeError, "moons: n is 10.0; .* integer"),
        ("moons", {"n": True}, TypeError, "moons: n is True"),
        ("moons", {"noise": -0.1}, ValueError, "moons: noise is -0.1; .* at least 0"),
        ("moons", {"noise": float("nan")}, ValueError, "moons: noise is nan"),
        ("moons", {"noise": float("inf")}, ValueError, "moons: noise is inf"),
        ("moons", {"noise": "0.1"}, TypeError, "moons: noise is '0.1'; .* number"),
        ("moons", {"noise": True}, TypeError, "moons: noise is True"),
        ("moons", {"seed": -1}, ValueError, "moons: seed is -1; .* at least 0"),
        ("moons", {"seed": "zero"}, TypeError, "moons: seed is 'zero'"),
        ("circles", {"n": 0}, ValueError, "circles: n is 0"),
        ("circles", {"noise": -1}, ValueError, "circles: noise is -1"),
        ("circles", {"factor": 1}, ValueError, "circles: factor is 1; .* less than 1"),
        ("circles", {"factor": -0.5}, ValueError, "circles: factor is -0.5; .* at least 0"),
        ("spirals", {"arms": 1}, ValueError, "spirals: arms is 1; .* at least 2"),
        ("spirals", {"n": 2}, ValueError, "spirals: n is 2; .* at least 3"),
        ("spirals", {"noise": -1}, ValueError, "spirals: noise is -1"),
        ("xor", {"n": 3}, ValueError, "xor: n is 3; .* at least 4"),
        ("xor", {"noise": -1}, ValueError, "xor: noise is -1"),
        ("blobs", {"classes": 1}, ValueError, "blobs: classes is 1; .* at least 2"),
        ("blobs", {"features": 0}, ValueError, "blobs: features is 0; .* at least 1"),
        ("blobs", {"n": 2}, ValueError, "blobs: n is 2; .* at least 3"),
        ("blobs", {"spread": -1}, ValueError, "blobs: spread is -1"),
    ],
)
def test_toys_refuse_bad_options(name: str, options: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        data.load(name, **options)


# ------------------------------------------------------------------------------------------------- small real sets


@pytest.mark.parametrize("name", REAL)
def test_real_sets_are_those_of_scikit_learn(name: str) -> None:
    ours, theirs = data.load(name), getattr(sklearn_datasets, f"load_{name}")()
    scale = 16 if name == "digits" else 1  # pixels come on one scale, from 0 to 1
    np.testing.assert_array_equal(ours.X * scale, theirs.data)
    assert ours.numeric.all() == (scale == 1)
    np.testing.assert_array_equal(ours.y, theirs.target)
    assert ours.feature_names == tuple(theirs.feature_names)
    assert ours.class_names == tuple(str(label) for label in theirs.target_names)
    assert {type(name) for name in ours.feature_names + ours.class_names} == {str}  # no np.str_
    assert ours.X.dtype == np.float64
    assert ours.y.dtype == np.int64
    assert ours.name == name


def test_load_knows_every_name_and_suggests_the_closest() -> None:
    assert set(data.NAMES) == {*TOYS, *REAL}
    with pytest.raises(ValueError, match=r"'mons'; did you mean 'moons'.*spirals.*breast_cancer"):
        data.load("mons")
    with pytest.raises(ValueError, match="'zzz'; the names: moons"):
        data.load("zzz")
    with pytest.raises(TypeError, match="name is 3; write one of moons"):
        data.load(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="noise"):
        data.load("iris", noise=0.1)


@pytest.mark.parametrize(
    ("module", "package", "call"),
    [
        ("sklearn.datasets", "scikit-learn", data.iris),
        ("pandas", "pandas", lambda: data.from_csv(__file__, "y")),
    ],
)
def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, module: str, package: str, call: Any
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'{package} .*pip install "tinygrad_ce\[data\]"'):
        call()


# ------------------------------------------------------------------------------------------------------------- CSV


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
    assert made.feature_names == ("size", "color=blue", "color=red", "fresh=False", "fresh=True")
    np.testing.assert_array_equal(made.X, [[1.5, 0, 1, 0, 1], [2, 1, 0, 1, 0], [-300, 0, 1, 0, 1]])
    assert made.numeric.tolist() == [True, False, False, False, False]
    assert made.y.tolist() == [0, 1, 0]
    assert made.class_names == ("no", "yes")
    assert repr(made) == "Dataset('flowers', 3 rows, 5 features, 2 classes)"


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
        ("x;y\n1;2\n", "no column 'y'.*'x;y'.*separated by commas"),
        ("y\n1\n2\n", "no feature columns: 'y' is the only"),
        ("x,y,x\n1,2,3\n", "line 1: two columns are called 'x'"),
        (",x,y\n0,1,a\n1,2,b\n", "line 1: column 1 has no name"),
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
        (column(f"name{i}" for i in range(21)), "column 'x': 21 different texts in 21 rows.*drop"),
        (column([f"name{i}" for i in range(1001)] * 2), "column 'x': 1001 different texts in 2002 rows.*drop"),
        ("x,y\n1,a\nNAN,b\n", "line 3, column 'x': the value is missing"),
        (column([1.5, 2.5, "1_0", 3.5]), "line 4, column 'x': '1_0' is not a number"),
        (column([1.5, 2.5, "?", 3.5]), r"line 4, column 'x': '\?' is not a number"),
        (column([*range(30), "12 kg"]), "line 32, column 'x': '12 kg' is not a number"),
    ],
)
def test_csv_errors_name_the_file_and_the_place(write: Any, text: str | bytes, words: str) -> None:
    path = write(text)
    with pytest.raises(ValueError, match=f"(?s)flowers.csv.*{words}"):
        data.from_csv(path, "y")


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


# ----------------------------------------------------------------------------------------------------------- split

labels_of_two_or_more = st.lists(st.integers(2, 12), min_size=1, max_size=6).map(
    lambda counts: np.repeat(np.arange(len(counts)), counts)
)


@given(y=labels_of_two_or_more, test=st.floats(0.01, 0.99), seed=st.integers(0, 1000), stratify=st.booleans())
def test_split_is_a_partition(y: Any, test: float, seed: int, stratify: bool) -> None:
    made = dataset(y)
    parts = data.split(made, test, seed=seed, stratify=stratify)
    rows = [row_numbers(part) for part in parts]
    assert sorted(rows[0] + rows[1]) == list(range(len(y)))
    assert len(parts[0])
    assert len(parts[1])
    for part, numbers in zip(parts, rows, strict=True):
        assert part.y.tolist() == y[numbers].tolist()


@given(y=labels_of_two_or_more, test=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_split_gives_each_class_its_share(y: Any, test: float, seed: int) -> None:
    train, held_out = data.split(dataset(y), test, seed=seed)
    counts = np.bincount(y)
    in_test = np.bincount(held_out.y, minlength=len(counts))
    assert (np.abs(in_test - counts * test) < 1 + 1e-9).all()
    assert (np.bincount(train.y, minlength=len(counts)) >= 1).all()


@pytest.mark.parametrize("test", [0.1, 0.2, 0.25, 0.5])
@pytest.mark.parametrize("name", REAL)
def test_split_has_the_proportions_of_scikit_learn(name: str, test: float) -> None:
    made = data.load(name)
    held_out = data.split(made, test)[1]
    theirs = train_test_split(made.y, test_size=test, stratify=made.y, random_state=0)[1]
    assert abs(len(held_out) - len(theirs)) <= 1
    assert np.abs(np.bincount(held_out.y) - np.bincount(theirs)).max() <= 1


def test_split_of_many_small_classes_has_the_share_in_all() -> None:
    held_out = data.split(dataset(np.repeat(np.arange(20), 2)), 0.25)[1]
    assert len(held_out) == 10


def test_split_rounds_up_the_class_with_the_largest_remainder() -> None:
    held_out = data.split(dataset(np.repeat([0, 1], [21, 23])), 0.1)[1]  # exactly 2.1 and 2.3, in all 4.4
    assert np.bincount(held_out.y).tolist() == [2, 2]
    held_out = data.split(dataset(np.repeat([0, 1], [23, 29])), 0.1)[1]  # exactly 2.3 and 2.9, in all 5.2
    assert np.bincount(held_out.y).tolist() == [2, 3]


def test_split_is_decided_by_the_seed_and_shuffles() -> None:
    made = data.iris()
    first, again, other = (data.split(made, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.X, again.X)
    assert not np.array_equal(first.X, other.X)
    for part in data.split(made):
        assert (np.diff(part.y) < 0).any()  # iris comes sorted by class
    generator = np.random.default_rng(0)
    one, two = (data.split(made, seed=generator)[0] for _ in range(2))
    assert not np.array_equal(one.X, two.X)


def test_split_of_numbers_to_predict_and_of_a_class_without_rows() -> None:
    train, test = data.split(dataset(np.linspace(0, 1, 8)))
    assert (len(train), len(test)) == (6, 2)
    without = data.iris().take(slice(0, 100))
    assert np.bincount(data.split(without, 0.2)[1].y).tolist() == [10, 10]


def test_split_errors() -> None:
    lonely = dataset([0, 0, 0, 1])
    with pytest.raises(ValueError, match=r"class 'c1' has only 1 row.*stratify=False"):
        data.split(lonely)
    assert sum(len(part) for part in data.split(lonely, stratify=False)) == 4
    for test in (0, 0.0, 1, 1.0, -0.5, 30, float("nan")):
        with pytest.raises(ValueError, match=r"split: test is .*less than 1"):
            data.split(lonely, test)
    with pytest.raises(TypeError, match=r"test is '0.2'"):
        data.split(lonely, "0.2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dataset is a ndarray; it must be a Dataset"):
        data.split(lonely.X)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has 1 row"):
        data.split(lonely.take([0]))


# ----------------------------------------------------------------------------------------------------- standardize


def test_standardize_agrees_with_scikit_learn() -> None:
    train, test = data.split(data.wine())
    ours = data.standardize(train, test)
    scaler = StandardScaler().fit(train.X)
    np.testing.assert_allclose(ours[0].X, scaler.transform(train.X), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours[1].X, scaler.transform(test.X), rtol=1e-12, atol=1e-12)
    assert len(data.standardize(train, test, test)) == 3
    assert len(data.standardize(train)) == 1


def test_standardize_leaves_one_hot_columns_and_only_shifts_constant_ones() -> None:
    X = np.array([[0.1, 1.0, 2.0], [0.1, 0.0, 4.0], [0.1, 0.0, 9.0]])
    made = dataset([0, 1, 1], X=X, numeric=[True, False, True])
    other = dataset([0, 1], X=np.array([[0.6, 1.0, 5.0], [0.1, 0.0, 5.0]]), numeric=[True, False, True])
    train, test = data.standardize(made, other)
    assert train.X[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert train.X[:, 1].tolist() == [1.0, 0.0, 0.0]
    np.testing.assert_allclose(train.X[:, 2], StandardScaler().fit_transform(X[:, 2:])[:, 0])
    np.testing.assert_allclose(test.X, [[0.5, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert X[0, 0] == 0.1  # not in place


def test_standardize_keeps_float32_but_computes_its_statistics_in_float64() -> None:
    X = (1e4 + np.random.default_rng(0).standard_normal((5000, 1))).astype(np.float32)
    (ours,) = data.standardize(dataset(np.zeros(5000, dtype=np.int64), X=X))
    assert ours.X.dtype == np.float32
    np.testing.assert_allclose(ours.X, StandardScaler().fit_transform(X.astype(float)), atol=1e-6)


def test_standardize_survives_a_deviation_that_underflows() -> None:
    (made,) = data.standardize(dataset([0, 1], X=np.array([[0.0], [1e-200]])))
    assert np.isfinite(made.X).all()


def test_standardize_errors() -> None:
    made = data.moons(10)
    with pytest.raises(ValueError, match=r"argument 2 .*iris.* has not the columns of .*moons"):
        data.standardize(made, data.iris())
    with pytest.raises(ValueError, match="argument 2"):
        data.standardize(dataset([0, 1]), dataset([0, 1], numeric=[False]))
    with pytest.raises(TypeError, match="argument 2 is a ndarray; it must be a Dataset"):
        data.standardize(made, made.X)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no rows"):
        data.standardize(made.take([]))
    for bad in (np.nan, np.inf, 1e300):
        with pytest.raises(ValueError, match=r"column 'f0'.*not finite, or too large"):
            data.standardize(dataset([0, 1], X=np.array([[bad], [0.0]])))


# --------------------------------------------------------------------------------------------------------- batches


@given(n=st.integers(1, 40), size=st.integers(1, 50), seed=st.none() | st.integers(0, 99), shuffle=st.booleans())
def test_batches_cover_every_row_once_and_keep_the_last(n: int, size: int, seed: int | None, shuffle: bool) -> None:
    X, y = np.arange(n, dtype=float)[:, None], np.arange(n)
    seen = list(data.batches(X, y, size, seed=seed, shuffle=shuffle))
    sizes = [len(labels) for _, labels in seen]
    assert sizes == [size] * (n // size) + [n % size] * (n % size > 0)
    rows = np.concatenate([labels for _, labels in seen])
    np.testing.assert_array_equal(np.concatenate([inputs[:, 0] for inputs, _ in seen]), rows)
    np.testing.assert_array_equal(np.sort(rows) if shuffle else rows, y)


def test_batches_are_decided_by_the_seed_and_a_generator_advances() -> None:
    X, y = np.zeros((50, 1)), np.arange(50)

    def order(seed: Any) -> list[int]:
        return [int(label) for _, labels in data.batches(X, y, 8, seed=seed) for label in labels]

    assert order(3) == order(3) == order(np.random.default_rng(3))
    assert order(3) != order(4)
    assert order(3) != list(range(50))
    assert order(None) != order(None)
    generator = np.random.default_rng(3)
    assert [order(generator), order(generator)] != [order(3), order(3)]


def test_batches_keep_shapes_and_dtypes() -> None:
    X, y = np.zeros((5, 2, 3), dtype=np.float32), np.zeros((5, 4))
    inputs, targets = next(data.batches(X, y, 3))
    assert (inputs.shape, inputs.dtype, targets.shape) == ((3, 2, 3), np.float32, (3, 4))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((np.zeros((3, 1)), np.zeros(2), 1), {}, ValueError, "X has 3 rows and y has 2"),
        ((np.zeros((3, 1)), np.zeros(3), 0), {}, ValueError, "batch_size is 0; .* at least 1"),
        ((np.zeros((3, 1)), np.zeros(3), 1.5), {}, TypeError, "batch_size is 1.5; .* integer"),
        ((np.zeros((3, 1)), 1.0, 1), {}, ValueError, r"y has shape \(\)"),
        ((np.zeros((0, 1)), np.zeros(0), 1), {}, ValueError, "no rows"),
        ((np.zeros((3, 1)), np.zeros(3), 1), {"seed": -1}, ValueError, "seed is -1"),
        ((np.zeros((3, 1)), np.zeros(3), 1), {"seed": 0.5}, TypeError, "seed is 0.5"),
    ],
)
def test_batches_refuse_at_the_call(arguments: Any, options: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        data.batches(*arguments, **options)  # nobody asks for the first batch


# --------------------------------------------------------------------------------------------------------- one_hot


@given(y=st.lists(st.integers(0, 6), max_size=20), classes=st.integers(7, 9))
def test_one_hot_rows_sum_to_one_and_say_the_class(y: list[int], classes: int) -> None:
    rows = data.one_hot(y, classes)
    assert rows.shape == (len(y), classes)
    assert rows.dtype == np.float64
    assert rows.argmax(axis=1).tolist() == y
    assert ((rows == 0) | (rows == 1)).all()
    assert (rows.sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    ("y", "classes", "error", "words"),
    [
        ([0, 3], 3, ValueError, r"y\[1\] is 3; with 3 classes .* 0 to 2"),
        ([0, 1, -1], 3, ValueError, r"y\[2\] is -1"),
        ([0.0, 1.0], 3, TypeError, r"float64.*y.astype\(int\)"),
        ([True], 3, TypeError, "bool"),
        ([[0, 1]], 3, ValueError, r"shape \(1, 2\)"),
        ([0], 0, ValueError, "classes is 0"),
        ([0], 2.0, TypeError, "classes is 2.0"),
    ],
)
def test_one_hot_errors(y: Any, classes: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        data.one_hot(y, classes)


def test_one_hot_of_small_unsigned_labels() -> None:
    assert data.one_hot(np.array([1, 255], dtype=np.uint8), 300).argmax(axis=1).tolist() == [1, 255]
