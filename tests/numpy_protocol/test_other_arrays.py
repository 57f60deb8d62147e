"""Arrays of other kinds beside a tensor: pandas computes right, and what would lose a gradient or a mask is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from leaves import wanted
from samples import text_of

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

pd = pytest.importorskip("pandas")

X = np.array([1.0, 2.0, 4.0])
SERIES = pd.Series([3.0, 5.0, 7.0], index=[2, 0, 1])  # pandas would align by this index, and an array has none
FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]})

CALLS: list[Callable[[Any, Any, Any], Any]] = [
    lambda t, s, f: s * t,
    lambda t, s, f: t * s,
    lambda t, s, f: s - t,
    lambda t, s, f: s / t,
    lambda t, s, f: s**t,
    lambda t, s, f: s % t,
    lambda t, s, f: f * t,
    lambda t, s, f: t + f,
    lambda t, s, f: t @ f.T,
    lambda t, s, f: np.multiply(s, t),
    lambda t, s, f: np.dot(s, t),
    lambda t, s, f: np.outer(t, s),
    lambda t, s, f: np.concatenate([s, t]),
    lambda t, s, f: ops.where(s > 4, t, s),
]


@pytest.mark.parametrize("f", CALLS, ids=text_of)
def test_series_and_frames_are_arrays(f: Callable[..., Any]) -> None:
    s, frame = SERIES.to_numpy(), FRAME.to_numpy()
    x, same = wanted(X), wanted(X)
    ours, expected = f(x, SERIES, FRAME), f(same, s, frame)
    assert type(ours) is Tensor
    np.testing.assert_array_equal(ours.data, expected.data, strict=True)
    np.testing.assert_array_equal(gradients(ours.sum(), x), gradients(expected.sum(), same), strict=True)


def test_the_product_with_a_series_has_its_values_as_slope() -> None:
    x = wanted(X)
    np.testing.assert_array_equal((SERIES * x).data, [3.0, 10.0, 28.0])
    np.testing.assert_array_equal(gradients((SERIES * x).sum(), x), [3.0, 5.0, 7.0])


@pytest.mark.parametrize(
    "f",
    [lambda t: FRAME @ t, lambda t: pd.Series(t), lambda t: FRAME.T.assign(z=t), lambda t: SERIES.dot(t)],
    ids=text_of,
)
def test_what_pandas_does_with_arrays_only_says_that_the_gradient_would_be_lost(f: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"would lose its gradient: write t\.data"):
        f(wanted(X))


@pytest.mark.parametrize(
    "f",
    [np.sum, np.mean, np.max, np.array, np.exp, np.linalg.norm, lambda ts: Tensor(ts), lambda ts: ts[0] * ts],
    ids=text_of,
)
def test_a_list_of_tensors_is_refused_with_the_function_that_joins_them(f: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"joined by np\.stack\(\[a, b\]\)"):
        f([wanted(np.array(1.0)), wanted(np.array(2.0))])


@pytest.mark.parametrize("f", [np.dot, np.outer, np.inner, lambda t, m: np.append(t, m)], ids=text_of)
def test_a_mask_is_not_lost(f: Callable[..., Any]) -> None:
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [True, False, False])
    with pytest.raises(TypeError, match=r"MaskedArray computes by rules of its own: pass np\.asarray"):
        f(wanted(X), masked)


IN_PLACE = {
    "+=": lambda a, t: a.__iadd__(t),
    "-=": lambda a, t: a.__isub__(t),
    "*=": lambda a, t: a.__imul__(t),
    "/=": lambda a, t: a.__itruediv__(t),
    "**=": lambda a, t: a.__ipow__(t),
    "//=": lambda a, t: a.__ifloordiv__(t),
    "%=": lambda a, t: a.__imod__(t),
}


@pytest.mark.parametrize("sign", IN_PLACE)
@pytest.mark.parametrize("asks", [True, False])
def test_an_array_is_not_changed_in_place_by_a_tensor(sign: str, asks: bool) -> None:
    array = np.ones(3)
    with pytest.raises(TypeError, match=r"takes no out=: .*never written to in place.*array = array \+ t for"):
        IN_PLACE[sign](array, Tensor(X, requires_grad=asks))
    np.testing.assert_array_equal(array, np.ones(3))


@pytest.mark.parametrize("f", [lambda t: t * None, lambda t: t - {1, 2}, lambda t: object() / t], ids=text_of)
def test_what_is_no_array_is_refused_in_one_sentence(f: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"^(mul|sub|div): ") as caught:
        f(wanted(X))
    assert str(caught.value).count("mul: ") + str(caught.value).count("sub: ") + str(caught.value).count("div: ") == 1


def test_a_range_is_an_array() -> None:
    x = wanted(X)
    np.testing.assert_array_equal((x * range(3)).data, [0.0, 2.0, 8.0])
    np.testing.assert_array_equal(gradients((x * range(3)).sum(), x), [0.0, 1.0, 2.0])
