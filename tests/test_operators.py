"""Python's operators and indexing on Tensors, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from leaves import wanted
from samples import text_of

from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

# ---- operators

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "%": lambda a, b: a % b,
    "//": lambda a, b: a // b,
    "divmod": lambda a, b: divmod(a, b)[0] + divmod(a, b)[1],
}
OTHERS = [2.0, 3, True, np.float64(2.0), np.array(2.0), np.array([1.0, 3.0]), [1.0, 3.0], np.array([[2.0], [1.0]])]


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("on_the_left", [True, False])
def test_operators_take_numbers_arrays_and_lists_on_both_sides(symbol: str, other: Any, on_the_left: bool) -> None:
    array = np.array([1.0, 2.0])
    ordered = (lambda t: (t, other)) if on_the_left else (lambda t: (other, t))
    with_tensor = OPERATORS[symbol](*ordered(wanted(array)))
    expected = OPERATORS[symbol](*ordered(array))
    assert type(with_tensor) is Tensor
    assert with_tensor.dtype == expected.dtype
    np.testing.assert_array_equal(with_tensor.data, expected, strict=True)


@pytest.mark.parametrize("symbol", ["+", "-", "*", "/", "**"])
@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("on_the_left", [True, False])
def test_operators_have_gradients_whatever_is_on_the_other_side(symbol: str, other: Any, on_the_left: bool) -> None:
    def f(t: Any) -> Any:
        return OPERATORS[symbol](t, other) if on_the_left else OPERATORS[symbol](other, t)

    array = np.array([1.0, 2.0])
    x = wanted(array)
    f(x).sum().backward()
    step = 1e-6
    for i, unit in enumerate(np.eye(2)):
        numerical = np.sum(f(array + step * unit) - f(array - step * unit)) / (2 * step)
        assert x.grad[i] == pytest.approx(numerical, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (lambda t: t % 2, [1.0, 1.0]),
        (lambda t: 2 % t, [-1.0, 0.0]),  # 2 - 1.25 * 1 and 2 - 3.5 * 0
        (lambda t: t // 2, [0.0, 0.0]),
        (lambda t: 2 // t, [0.0, 0.0]),
        (lambda t: divmod(t, -0.75)[1], [1.0, 1.0]),
        (lambda t: divmod(9, t)[1], [-7.0, -2.0]),
    ],
    ids=text_of,
)
def test_remainders_have_the_slope_of_their_pieces(f: Callable[[Any], Any], slope: list[float]) -> None:
    x = wanted([1.25, 3.5])
    np.testing.assert_array_equal(gradients(f(x).sum(), x), slope)


def test_questions_have_integers_or_booleans_without_history_as_answers() -> None:
    x = wanted([[3.0, 1.0, 2.0], [0.5, 4.0, 2.5]])
    for answer in (x.argmax(1), x.argmin(), x.argsort(), x > 1, (x > 1).any(), *x.nonzero(), np.isnan(x)):
        assert isinstance(answer, Tensor)
        assert not answer.requires_grad
        assert answer.dtype.kind in "ib"
    assert x.tolist() == [[3.0, 1.0, 2.0], [0.5, 4.0, 2.5]]
    assert np.array_equal(x, x.data) is True


@pytest.mark.parametrize(
    ("f", "instead"),
    [
        (lambda t: t.sort(), r"np\.sort\(t\)"),
        (lambda t: t.fill(0.0), r"np\.full_like"),
        (lambda t: t.put([0], 1.0), r"where\(mask, new, t\)"),
        (lambda t: t.resize((1, 2)), r"np\.resize"),
    ],
    ids=text_of,
)
def test_methods_that_write_in_place_say_what_to_use(f: Callable[[Any], Any], instead: str) -> None:
    x = wanted([2.0, 1.0], name="x")
    with pytest.raises(TypeError, match=rf"^x\.\w+\(\.\.\.\) would write in place.*{instead}"):
        f(x)
    np.testing.assert_array_equal(x.data, [2.0, 1.0])


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda t, m: t @ m, [[3.0, 7.0]]),
        (lambda t, m: m @ t.T, [[4.0], [6.0]]),
        (lambda t, m: t @ m.tolist(), [[3.0, 7.0]]),
        (lambda t, m: m.tolist() @ t.T, [[4.0], [6.0]]),
    ],
    ids=text_of,
)
def test_matmul_takes_arrays_and_lists_on_both_sides(f: Callable[..., Tensor], expected: Any) -> None:
    x = wanted([[1.0, 1.0]])
    m = np.array([[1.0, 2.0], [3.0, 4.0]])
    f(x, m).sum().backward()
    np.testing.assert_array_equal(x.grad, [expected[0]] if len(expected) == 1 else np.transpose(expected))


def test_unary_operators() -> None:
    x = wanted([-1.0, 2.0])
    np.testing.assert_array_equal((-x).data, [1.0, -2.0])
    np.testing.assert_array_equal((+x).data, [-1.0, 2.0])
    np.testing.assert_array_equal(abs(x).data, [1.0, 2.0])


def test_masks_combine() -> None:
    x = wanted([-1.0, 0.5, 2.0])
    inside = (x > 0) & (x < 1)
    assert not inside.requires_grad
    np.testing.assert_array_equal(inside.data, [False, True, False])
    np.testing.assert_array_equal((~inside | (x < 0)).data, [True, False, True])
    np.testing.assert_array_equal(((x > 0) ^ (x < 1)).data, [True, False, True])
    np.testing.assert_array_equal((np.array([True, True, False]) ^ inside).data, [True, False, False])


@pytest.mark.parametrize("f", [lambda t: t & 3, lambda t: t | 4, lambda t: ~t, lambda t: np.bitwise_and(t, 3)])
def test_bitwise_operators_of_integers_are_numpys_or_refused(f: Callable[[Any], Any]) -> None:
    array = np.array([1, 6])
    try:
        answer = f(Tensor(array))
    except TypeError:
        return
    np.testing.assert_array_equal(answer.data, f(array), strict=True)


@pytest.mark.parametrize("f", [lambda t: t << 1, lambda t: 1 >> t, lambda t: pow(t, 2, 3)])
def test_operators_without_a_rule_are_refused(f: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        f(wanted([1.0, 2.0]))


@pytest.mark.parametrize("f", [lambda t: t + "a", lambda t: t * None, lambda t: t - object(), lambda t: "a" / t])
def test_operands_that_are_no_numbers_are_refused(f: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"^(add|mul|sub|div): "):
        f(wanted([1.0, 2.0]))


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t * 1j,
        lambda t: 1j + t,
        lambda t: t**1j,
        lambda t: t * np.array([1j, 2j]),
        lambda t: t ** Fraction(1, 2),
        lambda t: t * Fraction(1, 2),
        lambda t: t * np.array([1.0, 2.0], object),
    ],
    ids=text_of,
)
def test_a_result_is_real_and_keeps_its_history_or_is_refused(f: Callable[[Any], Any]) -> None:
    try:
        out = f(wanted([1.0, 2.0]))
    except TypeError:
        return
    assert out.requires_grad, "a graph that is cut in silence is a wrong gradient"
    assert out.dtype == np.float64


METHODS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sum": (lambda t: t.sum(0), lambda a: a.sum(0)),
    "sum all": (lambda t: t.sum(), lambda a: a.sum()),
    "mean": (lambda t: t.mean(axis=(0, 1), keepdims=True), lambda a: a.mean(axis=(0, 1), keepdims=True)),
    "max": (lambda t: t.max(-1), lambda a: a.max(-1)),
    "min": (lambda t: t.min(axis=0), lambda a: a.min(axis=0)),
    "var": (lambda t: t.var(0, ddof=1), lambda a: a.var(0, ddof=1)),
    "argmax": (lambda t: t.argmax(1), lambda a: a.argmax(1)),
    "argmax kept": (lambda t: t.argmax(1, keepdims=True), lambda a: a.argmax(1, keepdims=True)),
    "sum dtype": (lambda t: t.sum(0, "float32"), lambda a: a.sum(0, "float32")),
    "clip": (lambda t: t.clip(1, 3), lambda a: a.clip(1, 3)),
    "flatten": (lambda t: t.flatten(), lambda a: a.flatten()),
    "std": (lambda t: t.std(1, ddof=1), lambda a: a.std(1, ddof=1)),
    "cumprod": (lambda t: t.cumprod(0), lambda a: a.cumprod(0)),
    "take": (lambda t: t.take([2, 0], axis=1), lambda a: a.take([2, 0], axis=1)),
    "any": (lambda t: (t > 3).any(1), lambda a: (a > 3).any(1)),
    "all": (lambda t: (t > 0.75).all(axis=0), lambda a: (a > 0.75).all(axis=0)),
    "reshape": (lambda t: t.reshape(3, 2), lambda a: a.reshape(3, 2)),
    "reshape tuple": (lambda t: t.reshape((3, -1)), lambda a: a.reshape((3, -1))),
    "reshape list": (lambda t: t.reshape([6]), lambda a: a.reshape([6])),
    "reshape -1": (lambda t: t.reshape(-1), lambda a: a.reshape(-1)),
    "transpose": (lambda t: t.transpose(), lambda a: a.transpose()),
    "transpose axes": (lambda t: t.transpose(1, 0), lambda a: a.transpose(1, 0)),
    "transpose tuple": (lambda t: t.transpose((0, 1)), lambda a: a.transpose((0, 1))),
    "T": (lambda t: t.T, lambda a: a.T),
    "mT": (lambda t: t.mT, lambda a: a.mT),
    "squeeze": (lambda t: t[None].squeeze(0), lambda a: a),
    "astype": (lambda t: t.astype("float32"), lambda a: a.astype("float32")),
    "exp": (lambda t: t.exp(), np.exp),
    "log": (lambda t: t.log(), np.log),
    "sqrt": (lambda t: t.sqrt(), np.sqrt),
    "tanh": (lambda t: t.tanh(), np.tanh),
    "sigmoid": (lambda t: t.sigmoid(), lambda a: 1 / (1 + np.exp(-a))),
    "relu": (lambda t: (t - 2.5).relu(), lambda a: np.maximum(a - 2.5, 0)),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_numpys(name: str) -> None:
    ours, numpys = METHODS[name]
    array = np.array([[3.0, 1.0, 2.0], [0.5, 4.0, 2.5]])
    answer, expected = ours(wanted(array)), np.asarray(numpys(array))
    assert (answer.shape, answer.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(answer.data, expected, rtol=1e-15)


@pytest.mark.parametrize("axes", [(0,), (0, 0), (0, 1, 2), (2, 0)])
def test_axes_of_a_transpose_must_fit(axes: tuple[int, ...]) -> None:
    with pytest.raises((ValueError, IndexError), match="transpose"):
        wanted(np.ones((2, 3))).transpose(*axes)


# ---- indexing

KEYS: list[Any] = [
    0,
    -1,
    np.int64(1),
    slice(None, None, -1),
    slice(1, 1),
    ...,
    None,
    (0, 1),
    (slice(None), 1),
    (..., 1),
    (None, 0, None),
    [0, 1, 1],
    [],
    ([0, 1], [2, 2]),
    (slice(None), [2, 0, 2]),
    np.array([[0, 1], [1, 1]]),
    np.array(1),
    np.array([[True, False, True], [False, False, True]]),
    np.array([True, False]),
    (slice(None), np.array([True, False, True])),
    [True, False],
    True,
    False,
    np.True_,
    (0, [0, 2]),
    (slice(0, 1), None, [1, 1]),
    range(2),
    ((0, 1), (0, 0)),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_indexing_is_numpys_and_gradients_go_back_to_their_places(key: Any) -> None:
    array = np.arange(6.0).reshape(2, 3)
    x = wanted(array)
    try:
        taken = x[key]
    except IndexError:  # refusing what NumPy takes is allowed for the rarest keys, a wrong answer is not
        assert isinstance(key, (range, np.bool)) or key == ((0, 1), (0, 0))
        return
    np.testing.assert_array_equal(taken.data, np.asarray(array[key]), strict=True)
    upstream = np.arange(1.0, taken.size + 1).reshape(taken.shape)
    expected = np.zeros((2, 3))
    np.add.at(expected, key, upstream)
    np.testing.assert_array_equal(gradients(taken, x, gradient=upstream), expected)


def test_indexing_by_tensors() -> None:
    x = wanted([1.0, -2.0, 3.0])
    np.testing.assert_array_equal(x[x > 0].data, [1.0, 3.0])
    np.testing.assert_array_equal(x[Tensor([2, 0])].data, [3.0, 1.0])
    np.testing.assert_array_equal(gradients(x[x > 0].sum(), x), [1.0, 0.0, 1.0])


@pytest.mark.parametrize("key", [5, -4, (0, 0), [3], 0.5, "a", [0.5], np.array([0.5]), slice(0.5, 2), [True, False]])
def test_bad_indices(key: Any) -> None:
    with pytest.raises((IndexError, TypeError), match=r"^getitem: x has shape \(3,\)|cannot index|must hold integers"):
        wanted([1.0, 2.0, 3.0], name="x")[key]
