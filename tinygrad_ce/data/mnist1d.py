"""MNIST-1D: ten drawn digits as curves of 40 points, a set that is learnt in seconds and is not easy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinygrad_ce.data.checks import Seed, generator_from, whole_number
from tinygrad_ce.data.dataset import Array, Dataset

# The height of the pen at 12 moments, for each digit: the templates of the paper.
TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
PADDING = (36, 60)  # least and most points of silence after a digit
LENGTH = 12 + PADDING[1]  # points in which all is computed
POINTS = 40  # that remain
MOST_SHIFT = 48
SCALING = 0.4
CORRELATED_NOISE, NOISE, SHEAR = 0.25, 0.02, 0.75
SMOOTHING = 2.0  # standard deviation, in points, of what correlates the noise of neighbours


def mnist1d(n: int = 4000, seed: Seed = 0) -> Dataset:
    """Ten digits, each a curve of 12 points that was stretched, scaled, moved, sheared and made noisy: 40 points a row.

    seed: an integer gives the same rows each time; a Generator is drawn from; None is unforeseeable.
    Gives X (n, 40), of mean 0 and standard deviation 1 over all of it, so that `standardize` leaves it alone, and 10
    classes. A linear classifier gets about a third of new rows right, a network with hidden layers well over half.
    Generated as in S. Greydanus and D. Kobak, "Scaling down deep learning with MNIST-1D" (2020, ICML 2024), with its
    parameters; the rows are others than those of its file, since random numbers are drawn in another order.
    Raises ValueError if n < 10, TypeError for what is no number.

    >>> mnist1d(200)
    Dataset('mnist1d', 200 rows, 40 features, 10 classes)
    """
    n = whole_number("mnist1d", "n", n, least=10)
    generator = generator_from("mnist1d", seed)
    templates = _templates()
    y = generator.permutation(np.arange(n, dtype=np.int64) % 10)
    X = np.stack([_sample(templates[label], generator) for label in y])
    X = (X - X.mean()) / X.std()
    names = tuple(f"x{i + 1}" for i in range(POINTS))
    return Dataset(X, y, names, tuple(map(str, range(10))), "mnist1d", np.zeros(POINTS, dtype=bool))


def _templates() -> NDArray[np.float64]:
    """(10, 12): the digits, each of the same deviation, beginning and ending at 0."""
    heights = np.array(TEMPLATES, dtype=np.float64)
    heights /= heights.std(axis=1, keepdims=True)
    return (heights - heights[:, :1]) / 6


def _sample(digit: Array, generator: np.random.Generator) -> Array:
    """One row: the digit with silence after it, turned round a circle, with noise, and tilted."""
    silence = np.zeros(generator.integers(PADDING[0], PADDING[1] + 1))
    padded = np.concatenate([digit, silence])
    is_digit = np.concatenate([np.ones(len(digit)), silence])
    shift = int(generator.integers(MOST_SHIFT))
    stretched, drawn = (np.roll(_resampled(values, LENGTH), shift) for values in (padded, is_digit))
    stretched *= 1 + SCALING * (generator.random() - 0.5)
    # Where no digit is, there is a slow noise that looks like one.
    curve = np.where(drawn > 0, stretched, _smooth(CORRELATED_NOISE * generator.standard_normal(LENGTH)))
    curve = curve + NOISE * generator.standard_normal(LENGTH)
    curve = curve - SHEAR * (generator.random() - 0.5) * np.linspace(-0.5, 0.5, LENGTH)
    return _resampled(curve, POINTS)


def _resampled(values: Array, n: int) -> Array:
    """The curve through the values at n evenly spaced places, straight between two neighbours."""
    places: Array = np.interp(np.linspace(0, len(values) - 1, n), np.arange(len(values)), values)
    return places


def _smooth(values: Array) -> Array:
    """Each value replaced by a mean of its neighbours with Gaussian weights; the ends are mirrored."""
    reach = int(4 * SMOOTHING)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SMOOTHING) ** 2)
    mirrored = np.pad(values, reach, mode="symmetric")
    return np.convolve(mirrored, weights / weights.sum(), mode="valid")
