"""Where NumPy's own indices have 32 bits, as in a browser: simulated, since no such machine runs these tests.

There `arange`, `argmax`, `nonzero` and their like give int32, and what counts or repeats refuses int64, which it cannot
cast safely.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import data

GIVE_INDICES = ("argmax", "argmin", "argsort", "flatnonzero", "searchsorted", "count_nonzero", "bincount", "digitize")
TAKE_COUNTS = ("bincount", "repeat", "unravel_index")


def narrow_result(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose 64-bit integers have 32 bits."""

    def narrow(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        return result.astype(np.int32) if getattr(result, "dtype", None) == np.int64 else result

    return narrow


def refuses_wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, for which int64 arrays are no indices."""

    def refusing(*arguments: Any, **options: Any) -> Any:
        for value in (*arguments, *options.values()):
            if isinstance(value, np.ndarray) and value.dtype in (np.int64, np.uint64):
                raise TypeError(
                    "Cannot cast array data from dtype('int64') to dtype('int32') according to the rule 'safe'"
                )
        return function(*arguments, **options)

    return refusing


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy as it is where indices have 32 bits."""
    for name in TAKE_COUNTS:
        monkeypatch.setattr(np, name, refuses_wide(getattr(np, name)))
    for name in GIVE_INDICES:
        monkeypatch.setattr(np, name, narrow_result(getattr(np, name)))
    arange, nonzero = np.arange, np.nonzero
    monkeypatch.setattr(np, "arange", lambda *a, **k: (arange if "dtype" in k else narrow_result(arange))(*a, **k))
    monkeypatch.setattr(np, "nonzero", lambda x: tuple(map(narrow_result(np.asarray), nonzero(x))))


@pytest.mark.parametrize("name", ["moons", "circles", "spirals", "xor", "blobs"])
@pytest.mark.parametrize("n", [6, 101])
def test_toys_are_the_same(name: str, n: int, request: pytest.FixtureRequest) -> None:
    wide = data.load(name, n=n)
    request.getfixturevalue("narrow")
    made = data.load(name, n=n)
    np.testing.assert_array_equal(made.X, wide.X)
    np.testing.assert_array_equal(made.y, wide.y)
    assert made.y.dtype == np.int64


def test_preparation_is_the_same(request: pytest.FixtureRequest) -> None:
    def prepared() -> list[Any]:
        train, test = data.standardize(*data.split(data.spirals(90)))
        rows = [part for batch in data.batches(train.X, train.y, 7, seed=0) for part in batch]
        return [train.X, train.y, test.X, test.y, train.take([2, 0]).X, data.one_hot(train.y, 3), *rows]

    wide = prepared()
    request.getfixturevalue("narrow")
    for found, expected in zip(prepared(), wide, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.int8])
def test_training_and_its_figures_are_the_same(dtype: Any, request: pytest.FixtureRequest) -> None:
    moons = data.moons(60)

    def trained() -> list[float]:
        tg.seed(0)
        model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Tanh(), tg.nn.Dense(4, 2))
        trainer = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.Adam(model.parameters(), lr=0.05))
        y = moons.y.astype(dtype)
        history = trainer.fit(moons.X, y, epochs=2, batch_size=16, validation=(moons.X, y), seed=0, compile=False)
        figures = trainer.evaluate(moons.X, y)
        return [*history["loss"], *history["val_accuracy"], *figures.values(), *trainer.predict(moons.X)]

    wide = trained()
    request.getfixturevalue("narrow")
    assert trained() == wide


def test_indices_and_labels_of_32_bits_are_indices() -> None:
    x = tg.Tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    rows, columns = np.array([0, 3, 3], np.int32), np.array([1, 2, 2], np.int32)
    x[rows, columns].sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 2]]
    for dtype in (np.int32, np.uint32, np.int16):
        labels = np.array([0, 2, 1, 0], dtype)
        loss = tg.losses.softmax_cross_entropy(x, labels)
        shifted = x.data - np.array([[0.0], [3.0], [6.0], [9.0]])  # each row is 0, 1, 2
        exact = np.mean(np.log(1 + np.e + np.e**2) - shifted[range(4), labels])
        assert loss.item() == pytest.approx(exact, rel=1e-15)
