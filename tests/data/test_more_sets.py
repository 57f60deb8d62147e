"""Penguins, MNIST-1D and the sample table; and splits into more than two parts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data.datasets import dataset, row_numbers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from tinygrad_ce import data

# ---- penguins


def test_penguins_are_those_of_the_package() -> None:
    palmerpenguins = pytest.importorskip("palmerpenguins")
    theirs = palmerpenguins.load_penguins()
    whole = theirs.dropna()
    ours = data.penguins()
    assert (len(ours), ours.class_names) == (333, ("Adelie", "Chinstrap", "Gentoo"))
    X = dict(zip(ours.feature_names, ours.X.T, strict=True))
    for name in ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year"):
        np.testing.assert_array_equal(X[name], whole[name])
    np.testing.assert_array_equal(X["sex=female"], whole["sex"] == "female")
    assert [ours.class_names[y] for y in ours.y] == whole["species"].tolist()
    filled = data.penguins(missing="mean")
    assert len(filled) == 344
    assert filled.X[3, 3] == pytest.approx(theirs["bill_length_mm"].mean(), rel=1e-12)


def test_penguins_import_no_pandas() -> None:
    pytest.importorskip("palmerpenguins")
    code = "import sys; from tinygrad_ce import data; data.penguins(); sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_penguins_that_are_not_installed_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_ce.data.real.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "palmerpenguins", None)
    with pytest.raises(ImportError, match=r'palmerpenguins cannot be imported: pip install "tinygrad_ce\[data\]"'):
        data.penguins()


# ---- MNIST-1D


def test_mnist1d_is_the_set_of_its_paper() -> None:
    made = data.mnist1d(2500, seed=1)
    assert made.X.shape == (2500, 40)
    assert np.bincount(made.y).tolist() == [250] * 10
    assert made.X.mean() == pytest.approx(0, abs=1e-12)
    assert made.X.std() == pytest.approx(1)
    assert not made.numeric.any()
    train, test = data.split(made, 0.2)
    score = LinearDiscriminantAnalysis().fit(train.X, train.y).score(test.X, test.y)
    assert 0.24 < score < 0.40  # the paper: 32 percent


def test_mnist1d_is_decided_by_its_seed() -> None:
    first, again, other = (data.mnist1d(40, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.X, again.X)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.X, other.X)
    with pytest.raises(ValueError, match="mnist1d: n is 9; it must be at least 10"):
        data.mnist1d(9)


def test_the_slow_noise_of_mnist1d_is_that_of_scipy() -> None:
    from scipy.ndimage import gaussian_filter

    from tinygrad_ce.data.mnist1d import _smooth

    values = np.random.default_rng(0).standard_normal(72)
    np.testing.assert_allclose(_smooth(values), gaussian_filter(values, 2), rtol=1e-12, atol=1e-14)


# ---- the sample table


def test_the_sample_has_what_a_real_table_has(tmp_path: Path) -> None:
    assert data.sample_csv() == data.sample_csv()
    path = tmp_path / "my.csv"
    path.write_text(data.sample_csv())
    assert pd.read_csv(path).shape == (120, 9)
    with pytest.raises(ValueError, match=r'the value is missing.*missing="mean"'):
        data.from_csv(path, "renewed")
    with pytest.warns(UserWarning, match="dropped: column 'customer'.*column 'comment'"):
        made = data.from_csv(path, "renewed", missing="mean")
    assert made.preparation is not None
    kinds = {column.name: column.kind for column in made.preparation.columns}
    assert kinds == {
        "customer": "dropped", "joined": "date", "plan": "category", "age": "number", "usage": "number",
        "monthly_fee": "number", "newsletter": "boolean", "comment": "dropped",
    }  # fmt: skip
    assert not data.predicts_numbers(path, "renewed")
    assert data.predicts_numbers(path, "monthly_fee")


def test_the_target_of_the_sample_can_be_learnt(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text(data.sample_csv())
    with pytest.warns(UserWarning, match="dropped"):
        made = data.from_csv(path, "renewed", missing="mean")
    scores = []
    for seed in range(5):
        train, test = data.standardize(*data.split(made, seed=seed))
        scores.append(LogisticRegression().fit(train.X, train.y).score(test.X, test.y))
    assert np.mean(scores) > 0.85


# ---- more than two parts


@settings(deadline=None)
@given(
    y=st.lists(st.integers(4, 12), min_size=1, max_size=5).map(
        lambda counts: np.repeat(np.arange(len(counts)), counts)
    ),
    shares=st.lists(st.integers(1, 9), min_size=2, max_size=4).map(lambda parts: [p / sum(parts) for p in parts]),
    seed=st.integers(0, 99),
)
def test_split_into_several_parts_is_a_partition(y: Any, shares: list[float], seed: int) -> None:
    assume(min(shares) * 3 * len(y) >= 2)  # a part of less than a row or two may be refused
    parts = data.split(dataset(np.concatenate([y, y, y])), *shares, seed=seed)
    assert len(parts) == len(shares)
    assert sorted(number for part in parts for number in row_numbers(part)) == list(range(3 * len(y)))
    for part, share in zip(parts, shares, strict=True):
        assert abs(len(part) - 3 * len(y) * share) < 2
        wanted = 3 * np.bincount(y) * share
        assert (np.abs(np.bincount(part.y, minlength=len(wanted)) - wanted) < 3).all()


def test_split_into_train_validation_and_test() -> None:
    parts = data.split(data.iris(), 0.6, 0.2, 0.2)
    assert [np.bincount(part.y).tolist() for part in parts] == [[30] * 3, [10] * 3, [10] * 3]
    for part, again in zip(data.split(data.iris(), 0.75, 0.25), data.split(data.iris(), test=0.25), strict=True):
        np.testing.assert_array_equal(part.X, again.X)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0.6, 0.2), "the shares 0.6, 0.2 sum to 0.8, not to 1"),
        ((0.5, 0.5, 0.5), "sum to 1.5"),
        ((1.0, 0.0), "a share is 1.0"),
        ((0.0, 0.5, 0.5), "a share is 0"),
        ((-0.5, 0.5, 1), "a share is -0.5"),
    ],
)
def test_split_refuses_shares_that_are_none(shares: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        data.split(data.iris(), *shares)


def test_split_of_few_rows_into_many_parts() -> None:
    with pytest.raises(ValueError, match="has 2 rows; 3 parts need at least as many"):
        data.split(dataset([0.5, 1.5]), 0.4, 0.3, 0.3)
    with pytest.raises(ValueError, match="3 rows are too few"):
        data.split(dataset([0.5, 1.5, 2.5]), 0.1, 0.1, 0.8)
