"""Values, dtypes, shapes and refusals of the primitives are NumPy's: every dtype, axis, index and layout."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from leaves import wanted

from tinygrad_ce import numpy_protocol, ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

assert numpy_protocol  # t[key] and its like
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of divisions by 0 and of overflows

INTEGERS = [np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES = [*INTEGERS, *map(np.dtype, (bool, np.float16, np.float32, np.float64, ">f4", ">f8", ">i4"))]
Answer = Callable[[], Any]


def assert_same(ours: Answer, numpys: Answer, what: Any = "") -> None:
    """Both give the same numbers in the same shape and dtype, or both refuse in an error that a caller expects."""
    try:
        expected = np.asarray(numpys())
    except (ValueError, TypeError, IndexError, OverflowError):
        with pytest.raises((ValueError, TypeError, IndexError, OverflowError)):
            ours()
        return
    out = ours()
    actual = out.data if isinstance(out, Tensor) else np.asarray(out)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype), what
    np.testing.assert_array_equal(actual, expected, err_msg=str(what))


TWO = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "mod": np.remainder,
    "floor_divide": np.floor_divide,
    "hypot": np.hypot,
    "arctan2": np.arctan2,
    "logaddexp": np.logaddexp,
    "maximum": np.maximum,
    "greater": np.greater,
    "equal": np.equal,
    "logical_xor": np.logical_xor,
    "matmul": np.matmul,
}


@pytest.mark.parametrize("name", TWO)
def test_two_dtypes_meet_as_in_numpy(name: str) -> None:
    op, function = getattr(ops, name), TWO[name]
    for first, second in itertools.product(DTYPES, DTYPES):
        a, b = np.array([1, 2, 3]).astype(first), np.array([2, 1, 1]).astype(second)
        assert_same(lambda a=a, b=b: op(Tensor(a), Tensor(b)), lambda a=a, b=b: function(a, b), (first, second))
    for dtype, number in itertools.product(DTYPES, (2, 2.5, True, 300, -1) if name != "matmul" else ()):
        a = np.array([1, 2, 3]).astype(dtype)
        assert_same(lambda a=a, n=number: op(Tensor(a), n), lambda a=a, n=number: function(a, n), (dtype, number))
        assert_same(lambda a=a, n=number: op(n, Tensor(a)), lambda a=a, n=number: function(n, a), (number, dtype))


ONE = [
    *("floor", "ceil", "rint", "trunc", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh", "arccosh"),
    *("arctanh", "log2", "log10", "exp2", "cbrt", "isnan", "isfinite", "isinf", "logical_not", "argsort", "argmin"),
    *("sort", "flip", "tril", "triu", "diagonal"),
]


@pytest.mark.parametrize("name", ONE)
def test_one_array_of_every_dtype_and_shape_gives_what_numpy_gives(name: str) -> None:
    op, function = getattr(ops, name), getattr(np, name)
    data = [np.array([1, 0, 1]), np.array(1), np.zeros(0), np.array([[1, 0], [1, 1]]), np.zeros((0, 2))]
    for dtype, x in itertools.product(DTYPES, data):
        kind = {"kind": "stable"} if name == "argsort" else {}
        x = x.astype(dtype)
        assert_same(lambda x=x: op(Tensor(x)), lambda x=x, kind=kind: function(x, **kind), (dtype, x.shape))


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "prod", "median"])
def test_sums_and_products_have_numpys_dtypes(name: str) -> None:
    for dtype in DTYPES:
        for x in (np.array([1, 2, 3]), np.array([[3, 1], [1, 2]]), np.array([1])):
            x = x.astype(dtype)
            assert_same(lambda x=x: getattr(ops, name)(Tensor(x)), lambda x=x: getattr(np, name)(x), dtype)


AXES = [None, 0, -1, 2, -3, 3, -4, (), (0,), (0, 1), (0, -1), (0, 0), (1, -2), (0, 3)]


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "sort", "argmin", "prod", "median", "flip", "squeeze"])
def test_axes_are_numpys(name: str) -> None:
    one_by_one = name in ("cumsum", "cumprod", "sort", "argmin")
    for axis in [a for a in AXES if not (one_by_one and isinstance(a, tuple))]:
        for x in (np.arange(24.0).reshape(2, 3, 4), np.ones((1, 3, 1))):
            assert_same(
                lambda x=x, axis=axis: getattr(ops, name)(Tensor(x), axis=axis),
                lambda x=x, axis=axis: getattr(np, name)(x, axis=axis),
                axis,
            )


X = np.arange(12.0).reshape(3, 4)
PLACES: dict[str, tuple[Callable[..., Any], list[dict[str, Any]]]] = {
    "pad": (lambda x, widths: np.pad(x, widths), [{"widths": w} for w in (1, (1,), (1, 2), ((1, 2), (0, 1)), -1, 0)]),
    "roll": (
        np.roll,
        [
            {"shift": shift, "axis": axis}
            for shift, axis in ((1, None), (-5, 0), ((1, 2), None), ((1, 2), (0, 1)), (1, (0, 1)), (1, 5), ((1, 2), 0))
        ],
    ),
    "repeat": (
        np.repeat,
        [
            {"repeats": n, "axis": axis}
            for n, axis in ((2, None), (0, 0), ((1, 2, 3), 0), ((1, 2), 0), (-1, 0), (2, 7), ((2,), 1))
        ],
    ),
    "tile": (np.tile, [{"reps": r} for r in (2, (2,), (2, 3), (1, 2, 3), 0, -1, ())]),
    "diagonal": (
        np.diagonal,
        [
            {"offset": offset, "axis1": one, "axis2": other}
            for offset, one, other in ((0, 0, 1), (1, 1, 0), (-2, 0, -1), (9, 0, 1), (0, 0, 0), (0, 0, -2), (0, 0, 3))
        ],
    ),
    "tril": (np.tril, [{"k": k} for k in (0, 2, -2, 9)]),
    "triu": (np.triu, [{"k": k} for k in (0, 2, -2, 9)]),
    "reshape": (np.reshape, [{"shape": s} for s in (-1, (4, -1), (), (5,), (-1, -1), (np.int64(4), 3))]),
    "transpose": (np.transpose, [{"axes": a} for a in (None, (1, 0), (-1, 0), (0, 0), (0,), (2, 0))]),
    "broadcast_to": (np.broadcast_to, [{"shape": s} for s in ((2, 3, 4), (4,), (-1, 4), 3)]),
    "expand_dims": (np.expand_dims, [{"axis": a} for a in (0, -1, (0, -1), 5, (0, 0))]),
}


@pytest.mark.parametrize(("name", "params"), [(n, p) for n, (_, all_params) in PLACES.items() for p in all_params])
def test_numbers_go_to_the_places_of_numpy_and_gradients_come_back(name: str, params: dict[str, Any]) -> None:
    function = PLACES[name][0]
    assert_same(lambda: getattr(ops, name)(Tensor(X), **params), lambda: function(X, **params), params)
    try:
        expected = function(np.arange(12).reshape(3, 4), **params)  # where each number of the result comes from
    except (ValueError, TypeError, IndexError):
        return
    x = wanted(X + 1)
    out = getattr(ops, name)(x, **params)
    upstream = np.arange(1.0, out.size + 1).reshape(out.shape)
    moved = out.data != 0  # what was put in between is 0
    shares = np.bincount(np.asarray(expected)[moved], upstream[moved], minlength=12)
    np.testing.assert_array_equal(gradients(out, x, gradient=upstream), shares.reshape(3, 4))


KEYS: list[Any] = [
    *(np.True_, np.False_, True, False, np.int8(1), np.uint8(2), np.int64(-1), -4, 5, (0, 9), 1.0, "a", np.float64(1)),
    *([0, 2], [[0, 1], [1, 0]], ((0, 1),), ([0, 1], [1, 2]), [], [[]], [3], [-4], [1.0], range(2), (range(2),), ((),)),
    *(np.array([0, 1], np.uint64), np.array([-1, 0], np.int8), np.array([2], ">i4"), np.array(1), np.array([1.0])),
    *(np.zeros(0), np.zeros(0, bool), np.zeros((0, 4), bool), np.array([True, False, True]), np.array(True)),
    *(([True],), (np.ones((3, 4), bool),), (slice(None), [True, False, True, True]), (True, 0), [2, 2, 2]),
    *(slice(None, None, -1), slice(np.int64(0), np.int64(2)), (None, ...), (..., None, 0), (..., ...), (0, ..., 1)),
    *((None, [0, 1], None, [1, 2]), (0, slice(None), np.array([0])), ([0, 0], slice(1, 3)), (slice(0, 2), [0, 0])),
    *({"a": 1}, (0, slice(None), 2), ()),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_an_index_takes_what_numpy_takes_and_gives_each_element_back_all_its_shares(key: Any) -> None:
    assert_same(lambda: Tensor(X)[key], lambda: X[key])
    try:
        positions = np.arange(12).reshape(3, 4)[key]
    except (ValueError, TypeError, IndexError):
        return
    x = wanted(X)
    out = x[key]
    upstream = np.arange(1.0, out.size + 1).reshape(out.shape)
    shares = np.bincount(np.ravel(positions), upstream.ravel(), minlength=12).reshape(3, 4)
    np.testing.assert_array_equal(gradients(out, x, gradient=upstream), shares)
    recorded = gradients(out, x, gradient=Tensor(upstream, requires_grad=True), create_graph=True)
    np.testing.assert_array_equal(recorded.data, shares)


@pytest.mark.parametrize("index", [np.array(1), np.array([0, 2, 0]), np.array([True, False, True]), np.uint8(2)])
def test_a_tensor_is_an_index_too(index: Any) -> None:
    assert_same(lambda: Tensor(X)[Tensor(index)], lambda: X[index])
    assert_same(lambda: Tensor(X)[:, Tensor(np.array([1, 1]))], lambda: X[:, [1, 1]])


@pytest.mark.parametrize("axis", [0, 1, -1, None, 2, -3])
def test_arrays_of_all_dtypes_are_joined_as_in_numpy(axis: Any) -> None:
    for first, second in itertools.product(DTYPES, DTYPES):
        a, b = X.astype(first), X.astype(second)
        assert_same(
            lambda a=a, b=b: ops.concatenate(Tensor(a), b, axis=axis), lambda a=a, b=b: np.concatenate([a, b], axis)
        )
    x, y = wanted(X), wanted(X.astype(np.float32))
    if axis != 2 and axis != -3:
        for_x, for_y = gradients((ops.concatenate(x, y, axis=axis) * 2.0).sum(), [x, y])
        assert (for_x.dtype, for_y.dtype) == (np.float64, np.float32)
        np.testing.assert_array_equal(for_x, 2.0)
        np.testing.assert_array_equal(for_y, 2.0)


# ---- powers


POWERS = [2, 0, 0.5, 1.5, True, -1, np.int8(2), np.float32(2), np.float64(0.5), np.int64(3), np.float16(2)]


@pytest.mark.parametrize("exponent", POWERS, ids=repr)
def test_powers_are_numpys_in_every_dtype(exponent: Any) -> None:
    for dtype in DTYPES:
        a = np.array([1, 2, 3]).astype(dtype)
        assert_same(lambda a=a: Tensor(a) ** exponent, lambda a=a: a**exponent, dtype)
        assert_same(lambda a=a: Tensor(a) ** Tensor(a[::-1]), lambda a=a: a ** a[::-1], dtype)


@pytest.mark.parametrize(
    ("base", "exponent", "value", "by_base", "by_exponent"),
    [
        (0.0, 0.0, 1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, 1.0, 0.0),
        (0.0, 2.0, 0.0, 0.0, 0.0),
        (0.0, 0.5, 0.0, np.inf, 0.0),
        (0.0, -1.0, np.inf, -np.inf, -np.inf),
        (-2.0, 3.0, -8.0, 12.0, np.nan),
        (-2.0, 0.5, np.nan, np.nan, np.nan),
        (-2.0, 0.0, 1.0, 0.0, np.nan),
        (2.0, 3.0, 8.0, 12.0, 8 * np.log(2)),
    ],
)
def test_powers_at_zero_and_of_negative_numbers(
    base: float, exponent: float, value: float, by_base: float, by_exponent: float
) -> None:
    x, n = wanted(base), wanted(exponent)
    out = x**n
    np.testing.assert_array_equal(out.data, value)
    np.testing.assert_allclose(gradients(out, [x, n]), [by_base, by_exponent], rtol=1e-15)
    np.testing.assert_array_equal(gradients(x**exponent, x), by_base)


def test_the_exponent_of_a_slope_is_not_computed_in_the_dtype_of_the_exponent() -> None:
    x = wanted([1.5, 2.0])
    np.testing.assert_allclose(gradients((x ** np.int8(-128)).sum(), x), -128 * x.data**-129.0, rtol=1e-14)
    tenth = np.float32(0.1)
    expected = float(tenth) * x.data ** (float(tenth) - 1)
    np.testing.assert_allclose(gradients((x**tenth).sum(), x), expected, rtol=1e-15)
