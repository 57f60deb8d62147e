"""Datasets, toy sets and small real sets, against scikit-learn and counting by hand."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.datasets import REAL, dataset, row_numbers
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets as sklearn_datasets
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from tinygrad_ce import data
from tinygrad_ce.data import Dataset

TOYS = ("moons", "circles", "spirals", "xor", "blobs")


# ---- Dataset


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


# ---- toy sets


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


# ---- small real sets


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
    assert set(data.NAMES) == {*TOYS, *REAL, "penguins", "mnist1d"}
    with pytest.raises(ValueError, match=r"'mons'; did you mean 'moons'.*spirals.*breast_cancer"):
        data.load("mons")
    with pytest.raises(ValueError, match="'zzz'; the names: moons"):
        data.load("zzz")
    with pytest.raises(TypeError, match="name is 3; write one of moons"):
        data.load(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="noise"):
        data.load("iris", noise=0.1)


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'scikit-learn .*pip install "tinygrad_ce\[data\]"'):
        data.iris()


def test_a_csv_needs_no_other_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("pandas", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "a.csv").write_text("x,y\n1,a\n2,b\n")
    assert data.from_csv(tmp_path / "a.csv", "y").class_names == ("a", "b")
