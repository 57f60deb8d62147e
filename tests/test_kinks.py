"""Derivatives at the kinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from leaves import gradient_of, wanted
from samples import text_of

from tinygrad_ce import numpy_protocol, ops
from tinygrad_ce.functional import gradients

assert numpy_protocol  # np.sin(t) and its like


@pytest.mark.parametrize(
    ("f", "at", "expected"),
    [
        (lambda t: ops.relu(t), [0.0, -0.0, 1.0, -1.0], [0.0, 0.0, 1.0, 0.0]),
        (lambda t: abs(t), [0.0, -0.0, 2.0, -2.0], [0.0, 0.0, 1.0, -1.0]),
        (lambda t: np.sign(t), [0.0, 2.0], [0.0, 0.0]),
        (lambda t: np.maximum(t, 1.0), [1.0, 0.0, 2.0], [0.5, 0.0, 1.0]),
        (lambda t: np.maximum(1.0, t), [1.0, 0.0, 2.0], [0.5, 0.0, 1.0]),
        (lambda t: np.minimum(t, 1.0), [1.0, 0.0, 2.0], [0.5, 1.0, 0.0]),
        (lambda t: np.minimum(1.0, t), [1.0, 0.0, 2.0], [0.5, 1.0, 0.0]),
        (lambda t: np.maximum(t, t), [1.0, -3.0], [1.0, 1.0]),
        (lambda t: t.max(), [3.0, 1.0, 3.0, 3.0], [1 / 3, 0.0, 1 / 3, 1 / 3]),
        (lambda t: t.min(), [3.0, 1.0, 1.0, 3.0], [0.0, 0.5, 0.5, 0.0]),
        (lambda t: t.max(axis=0), [[1.0, 5.0], [1.0, 4.0]], [[0.5, 1.0], [0.5, 0.0]]),
        (lambda t: t.max(axis=(0, 1), keepdims=True), [[5.0, 5.0], [5.0, 5.0]], [[0.25, 0.25], [0.25, 0.25]]),
        (lambda t: t.min(axis=1), [[2.0, 2.0, 2.0]], [[1 / 3, 1 / 3, 1 / 3]]),
        (lambda t: ops.clip(t, low=0.0, high=1.0), [-1.0, 0.0, 0.5, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0, 0.0]),
        (lambda t: t**0, [0.0, 2.0], [0.0, 0.0]),
        (lambda t: t**1, [0.0, 2.0], [1.0, 1.0]),
        (lambda t: t**2, [0.0, 2.0], [0.0, 4.0]),
        (lambda t: t ** np.array([0.0, 1.0, 2.0]), [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
        (lambda t: np.array([0.0, 0.0]) ** t, [2.0, 3.0], [0.0, 0.0]),
        (lambda t: ops.xlogy(t, 0.0), [0.0], [-np.inf]),
        (lambda t: ops.xlogy(0.0, t), [0.0, 2.0], [0.0, 0.0]),
        (lambda t: np.logaddexp(t, 1.0), [1.0], [0.5]),
        (lambda t: ops.softplus(t), [0.0], [0.5]),
        (lambda t: ops.floor(t), [0.0, 1.0, 1.5, -1.5], [0.0, 0.0, 0.0, 0.0]),
        (lambda t: ops.rint(t) + ops.ceil(t) + ops.trunc(t), [0.5, 1.0, -0.0], [0.0, 0.0, 0.0]),
        (lambda t: ops.mod(t, 2.0), [4.0, 1.0, -1.0], [1.0, 1.0, 1.0]),
        (lambda t: ops.mod(7.5, t), [2.0, -2.0, 7.5], [-3.0, 4.0, -1.0]),
        (lambda t: ops.mod(1.0, t), [0.1], [-9.0]),  # 1 % 0.1 is 0.1, not 0: 0.1 is a little more than a tenth
        (lambda t: ops.floor_divide(t, 2.0), [4.0, 3.0], [0.0, 0.0]),
        (lambda t: ops.hypot(t, 0.0), [0.0, -0.0, 3.0, -3.0], [0.0, 0.0, 1.0, -1.0]),
        (lambda t: ops.hypot(t, t), [0.0], [0.0]),
        (lambda t: ops.arctan2(t, 1.0), [0.0], [1.0]),
        (lambda t: ops.arctan2(0.0, t), [0.0], [np.nan]),  # a point at the origin lies in no direction
        (lambda t: ops.cbrt(t), [0.0, 8.0], [np.inf, 1 / 12]),
        (lambda t: ops.arcsin(t) - ops.arccos(t), [1.0, -1.0, 0.0], [np.inf, np.inf, 2.0]),
        (lambda t: ops.prod(t), [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]),
        (lambda t: ops.prod(t), [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
        (lambda t: ops.median(t), [1.0, 1.0, 3.0, 1.0], [0.0, 0.5, 0.0, 0.5]),
        (lambda t: 0.0**t, [0.0, 2.0], [0.0, 0.0]),
    ],
    ids=text_of,
)
def test_kinks_are_as_documented(f: Callable[[Any], Any], at: Any, expected: Any) -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(gradient_of(f, at), expected)


@pytest.mark.parametrize("at", [[1.0, 0.0], [0.0, 1.0]])
def test_where_gives_exactly_zero_to_the_branch_not_taken(at: list[float]) -> None:
    x, y = wanted(at), wanted([np.nan, np.inf])
    for_x, for_y = gradients(np.where([True, True], x, y).sum(), [x, y])
    np.testing.assert_array_equal(for_x, 1.0)
    np.testing.assert_array_equal(for_y, 0.0)


def test_nan_upstream_stays_on_its_branch() -> None:
    x, y = wanted([1.0, 2.0]), wanted([3.0, 4.0])
    for_x, for_y = gradients(np.where([True, False], x, y), [x, y], gradient=[np.nan, 5.0])
    np.testing.assert_array_equal(for_x, [np.nan, 0.0])
    np.testing.assert_array_equal(for_y, [0.0, 5.0])


def test_the_slope_of_a_root_at_zero_is_infinite() -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(gradient_of(np.sqrt, [0.0, 4.0]), [np.inf, 0.25])
