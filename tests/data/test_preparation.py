"""Splits, standardizing, batches and one-hot rows, against scikit-learn and counting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from data.datasets import REAL, dataset, row_numbers
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from tinygrad_ce import data

# ---- split

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


# ---- standardize


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


# ---- batches


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


def test_a_last_short_batch_may_be_left_out() -> None:
    X = np.arange(10)
    whole, full = (
        [rows.tolist() for rows, _ in data.batches(X, X, 4, seed=1, drop_last=drop)] for drop in (False, True)
    )
    assert [len(rows) for rows in full] == [4, 4]
    assert full == whole[:2]
    assert [*data.batches(X, X, 11, drop_last=True)] == []


def test_batches_of_a_dataset_and_of_several_arrays() -> None:
    moons = data.moons(10, seed=0)
    for ours, other in zip(
        data.batches(moons, batch_size=4, seed=1), data.batches(moons.X, moons.y, 4, seed=1), strict=True
    ):
        for mine, theirs in zip(ours, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    column = next(data.batches(moons, moons.y[:, None], 4, shuffle=False))[1]
    np.testing.assert_array_equal(column, moons.y[:4, None])
    inputs, (targets, weights) = next(
        data.batches({"a": moons.X, "b": moons.y}, (moons.y, moons.X), batch_size=3, seed=2)
    )
    assert [*inputs] == ["a", "b"]
    np.testing.assert_array_equal(inputs["a"], weights)
    np.testing.assert_array_equal(inputs["b"], targets)
    with pytest.raises(TypeError, match="beside a Dataset, write batch_size=4"):
        data.batches(moons, 4)
    with pytest.raises(TypeError, match="y, the targets, is missing"):
        data.batches(moons.X)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (
            ({"a": np.zeros(3), "b": np.zeros(2)}, np.zeros(3)),
            {},
            ValueError,
            r"X\['a'\] has 3 rows and X\['b'\] has 2",
        ),
        (((np.zeros(3), np.zeros(3)), np.zeros(2)), {}, ValueError, r"X\[0\] has 3 rows and y has 2"),
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


# ---- one_hot


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
