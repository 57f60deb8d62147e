"""Toy data in two dimensions, made with NumPy: moons, circles, spirals, xor, blobs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_ce.data.checks import Seed, amount_of, generator_from, whole_number
from tinygrad_ce.data.dataset import Array, Dataset


def moons(n: int = 500, noise: float = 0.1, seed: Seed = 0) -> Dataset:
    """Two half circles of radius 1 that reach into each other; `noise` is the standard deviation of each coordinate.

    seed: an integer gives the same rows each time; a Generator is drawn from; None is unforeseeable.
    Gives X (n, 2) and 2 classes. Raises ValueError if n < 2 or noise < 0, TypeError for what is no number.

    >>> moons(200)
    Dataset('moons', 200 rows, 2 features, 2 classes)
    """
    n, noise = whole_number("moons", "n", n, least=2), amount_of("moons", "noise", noise)
    y = _balanced(n, 2)
    angle = np.pi * _along_class(y, 2)
    upper = _polar(1.0, angle)
    lower = np.array([1.0, 0.5]) - upper
    X = np.where(y[:, None] == 0, upper, lower)
    return _toy("moons", X, y, ("upper", "lower"), noise, generator_from("moons", seed))


def circles(n: int = 500, noise: float = 0.05, factor: float = 0.5, seed: Seed = 0) -> Dataset:
    """A circle of radius 1 around one of radius `factor`; `noise` is the standard deviation of each coordinate.

    seed: an integer gives the same rows each time; a Generator is drawn from; None is unforeseeable.
    Gives X (n, 2) and 2 classes. Raises ValueError if n < 2, noise < 0 or factor is not in [0, 1).

    >>> circles(200).class_names
    ('outer', 'inner')
    """
    n, noise = whole_number("circles", "n", n, least=2), amount_of("circles", "noise", noise)
    factor = amount_of("circles", "factor", factor, below=1.0)
    y = _balanced(n, 2)
    angle = 2 * np.pi * _along_class(y, 2, endpoint=False)
    X = _polar(np.where(y == 0, 1.0, factor), angle)
    return _toy("circles", X, y, ("outer", "inner"), noise, generator_from("circles", seed))


def spirals(n: int = 600, arms: int = 3, noise: float = 0.1, seed: Seed = 0) -> Dataset:
    """Arms that each make one turn, from radius 0.5 to 4; `noise` is the standard deviation of each coordinate.

    seed: an integer gives the same rows each time; a Generator is drawn from; None is unforeseeable.
    Gives X (n, 2) and `arms` classes. Neighbouring arms are 3.5 / arms apart: 3 arms at noise 0.1 hardly touch.
    Raises ValueError if arms < 2, n < arms or noise < 0.

    >>> spirals(300, arms=3)
    Dataset('spirals', 300 rows, 2 features, 3 classes)
    """
    arms = whole_number("spirals", "arms", arms, least=2)
    n, noise = whole_number("spirals", "n", n, least=arms), amount_of("spirals", "noise", noise)
    y = _balanced(n, arms)
    along = _along_class(y, arms)
    X = _polar(0.5 + 3.5 * along, 2 * np.pi * (along + y / arms))
    return _toy("spirals", X, y, _numbered("arm", arms), noise, generator_from("spirals", seed))


def xor(n: int = 400, noise: float = 0.2, seed: Seed = 0) -> Dataset:
    """Clouds around the four corners (+-1, +-1), in class 1 where the signs of the corner differ.

    seed: an integer gives the same rows each time; a Generator is drawn from; None is unforeseeable.
    Gives X (n, 2) and 2 classes; `noise` is the standard deviation of each coordinate. No straight line separates them.
    Raises ValueError if n < 4 or noise < 0.

    >>> xor(200).class_names
    ('same', 'different')
    """
    n, noise = whole_number("xor", "n", n, least=4), amount_of("xor", "noise", noise)
    y = _balanced(n, 2)
    first = np.where(np.arange(n) // 2 % 2 == 0, -1.0, 1.0)
    second = np.where(y == 0, first, -first)
    return _toy("xor", np.stack([first, second], axis=1), y, ("same", "different"), noise, generator_from("xor", seed))


def blobs(n: int = 500, classes: int = 3, features: int = 2, spread: float = 1.0, seed: Seed = 0) -> Dataset:
    """One Gaussian cloud for each class, its centre drawn from the cube [-10, 10]; `spread` is its standard deviation.

    seed: an integer gives the same rows each time; a Generator is drawn from; None is unforeseeable.
    Gives X (n, features). Raises ValueError if classes < 2, features < 1, n < classes or spread < 0.

    >>> blobs(200, classes=4, features=5)
    Dataset('blobs', 200 rows, 5 features, 4 classes)
    """
    classes = whole_number("blobs", "classes", classes, least=2)
    features = whole_number("blobs", "features", features, least=1)
    n, spread = whole_number("blobs", "n", n, least=classes), amount_of("blobs", "spread", spread)
    generator = generator_from("blobs", seed)
    centres = generator.uniform(-10.0, 10.0, size=(classes, features))
    y = _balanced(n, classes)
    return _toy("blobs", centres[y], y, _numbered("blob", classes), spread, generator)


def _balanced(n: int, classes: int) -> NDArray[np.int64]:
    """n class indices whose counts differ by at most one: 0, 1, 2, 0, 1, ..."""
    return np.arange(n, dtype=np.int64) % classes


def _along_class(y: Array, classes: int, endpoint: bool = True) -> Array:
    """For each of the labels that `_balanced` made, its place from 0 to 1 among those of its class, evenly spaced."""
    place = np.arange(len(y)) // classes
    rows_of_class: Array = len(y) // classes + (y < len(y) % classes)
    places: Array = place / np.maximum(rows_of_class - int(endpoint), 1)
    return places


def _polar(radius: Any, angle: Array) -> Array:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _numbered(word: str, n: int) -> tuple[str, ...]:
    return tuple(f"{word} {i}" for i in range(n))


def _toy(
    name: str, X: Array, y: Array, class_names: tuple[str, ...], noise: float, generator: np.random.Generator
) -> Dataset:
    """The points with Gaussian noise on each coordinate, their rows shuffled."""
    X = X + noise * generator.standard_normal(X.shape)
    order = generator.permutation(len(y))
    feature_names = tuple(f"x{i + 1}" for i in range(X.shape[1]))
    return Dataset(X[order], y[order], feature_names, class_names, name, np.ones(X.shape[1], dtype=bool))
