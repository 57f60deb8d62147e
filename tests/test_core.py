"""Tensor and Primitive: what they accept and refuse, and what their errors tell a learner."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from samples import text_of

from tinygrad_ce import ops
from tinygrad_ce.backward import gradients, no_grad
from tinygrad_ce.core import REGISTRY, Primitive, Tensor, primitive


def wanted(data: Any, **options: Any) -> Tensor:
    """A tensor that asks for gradients."""
    return Tensor(data, requires_grad=True, **options)


# ---- making a tensor


def test_a_tensor_is_an_array_and_how_it_was_made() -> None:
    x = wanted([[1.0, 2.0, 3.0]], name="x")
    y = x * 2.0
    assert (x.shape, x.ndim, x.size, x.dtype, x.name) == ((1, 3), 2, 3, np.float64, "x")
    assert (x.op, x.inputs, x.grad) == (None, (), None)
    assert (y.op, y.requires_grad, y.number > x.number) == (ops.mul, True, True)
    assert y.inputs[0] is x
    assert y.named("y") is y
    assert y.name == "y"


@pytest.mark.parametrize("data", [2.0, 1, True, [1.0, 2.0], [], np.float32(3), np.ones((2, 0)), [[1, 2], [3, 4]]])
def test_data_is_what_asarray_takes(data: Any) -> None:
    expected = np.asarray(data)
    tensor = Tensor(data)
    assert type(tensor.data) is np.ndarray
    assert (tensor.dtype, tensor.requires_grad) == (expected.dtype, False)
    np.testing.assert_array_equal(tensor.data, expected)


@pytest.mark.parametrize("data", ["text", None, [None, 1.0], 1j, {"a": 1}, object(), [Fraction(1, 2)]])
def test_data_that_are_no_numbers_are_refused(data: Any) -> None:
    with pytest.raises(TypeError, match=r"must be real numbers or booleans"):
        Tensor(data)


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="inhomogeneous"):
        Tensor([[1.0, 2.0], [3.0]])


def test_a_tensor_of_a_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match=r"is a Tensor already; use data\.detach\(\)"):
        Tensor(Tensor(1.0))


def test_a_list_of_tensors_that_ask_for_gradients_is_refused() -> None:
    with pytest.raises(TypeError, match="would lose its gradient"):
        Tensor([wanted(1.0), wanted(2.0)])


@pytest.mark.parametrize("data", [1, [1, 2], True, np.ones(2, np.uint8)])
def test_integers_cannot_ask_for_gradients(data: Any) -> None:
    with pytest.raises(TypeError, match=r"(int64|bool|uint8): write 1\.0 instead of 1, or convert with np\.asarray"):
        wanted(data)


def test_only_a_tensor_that_asks_for_gradients_owns_its_data() -> None:
    data = np.zeros(2)
    shared, owned = Tensor(data), wanted(data)
    data[0] = 5.0
    assert (shared.data[0], owned.data[0]) == (5.0, 0.0)


# ---- looking at it


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor([1.0, 2.0]), "Tensor([1., 2.])"),
        (wanted([1.0, 2.0], name="w"), "Tensor([1., 2.], requires_grad=True, name='w')"),
        (wanted([1.0, 2.0], name="w") * 2.0, "Tensor([2., 4.], mul(w, 2.0))"),
        (wanted(1.0, name="w") + np.ones(2), "Tensor([2., 2.], add(w, array(2,)))"),
        (Tensor(np.ones(2, np.float32)), "Tensor([1., 1.], dtype=float32)"),
        (Tensor([1]), "Tensor([1], dtype=int64)"),
        (Tensor(2.5), "Tensor(2.5)"),
    ],
)
def test_repr(tensor: Tensor, text: str) -> None:
    assert repr(tensor) == text


def test_repr_names_a_nameless_input_by_its_number() -> None:
    x = wanted(1.0)
    assert f"exp(#{x.number})" in repr(np.exp(x))


def test_repr_of_many_elements_is_short() -> None:
    assert len(repr(wanted(np.zeros(100_000)))) < 300


@pytest.mark.parametrize(("data", "value"), [(2.5, 2.5), ([[3]], 3), ([True], True)])
def test_item(data: Any, value: Any) -> None:
    item = Tensor(data).item()
    assert (item, type(item)) == (value, type(value))


@pytest.mark.parametrize("shape", [(2,), (0,), (1, 3)])
def test_item_of_more_than_one_element(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"needs exactly one element; w has shape \("):
        Tensor(np.zeros(shape), name="w").item()


def test_conversions_to_python_numbers() -> None:
    assert (float(Tensor([2.5])), int(Tensor(3)), bool(Tensor(0.0)), bool(Tensor([2.0]))) == (2.5, 3, False, True)


@pytest.mark.parametrize("data", [[1.0, 2.0], []])
def test_the_truth_of_many_elements_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"ambiguous .*where\(t > 0"):
        bool(Tensor(data))


def test_len_and_iteration() -> None:
    x = wanted([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert len(x) == 3
    first, *_, last = x
    (first * last).sum().backward()
    np.testing.assert_array_equal(x.grad, [[5.0, 6.0], [0.0, 0.0], [1.0, 2.0]])


@pytest.mark.parametrize("use", [len, iter, list])
def test_a_single_number_has_no_length(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"w is a single number .*no length"):
        use(Tensor(1.0, name="w"))


def test_membership() -> None:
    assert 2.0 in Tensor([1.0, 2.0])
    assert 3.0 not in Tensor([1.0, 2.0])


def test_a_tensor_is_a_key_by_identity() -> None:
    a, b = wanted(1.0), wanted(1.0)
    assert {a: "a", b: "b"}[a] == "a"


# ---- writing to it


def test_setitem_raises_and_says_why() -> None:
    x = wanted([1.0, 2.0], name="x")
    with pytest.raises(TypeError, match=r"x is part of a graph, and backward will need .*where\(.*x?t\.data\[\.\.\.\]"):
        x[0] = 5.0


def test_augmented_assignment_rebinds() -> None:
    x = wanted([1.0, 2.0])
    t = x
    t += 1.0
    t *= 3.0
    assert t is not x
    np.testing.assert_array_equal(x.data, [1.0, 2.0])
    np.testing.assert_array_equal(t.data, [6.0, 9.0])
    t.sum().backward()
    np.testing.assert_array_equal(x.grad, [3.0, 3.0])


def test_an_array_cannot_take_up_a_tensor_in_place() -> None:
    array = np.ones(2)
    with pytest.raises(TypeError, match="never written to in place"):
        array += wanted([1.0, 2.0])
    np.testing.assert_array_equal(array, 1.0)


# ---- leaving the graph


def test_detach_and_numpy() -> None:
    x = wanted([1.0, 2.0])
    y = x * x
    assert y.detach().requires_grad is False
    assert y.numpy() is y.data
    (y.detach() * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [1.0, 4.0])


@pytest.mark.parametrize("leave", [np.asarray, np.array, lambda t: np.asarray(t, np.float32)])
def test_asarray_refuses_tensors_with_gradients(leave: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"turning w into an array would lose its gradient: write w\.data"):
        leave(wanted([1.0], name="w"))


def test_asarray_of_a_tensor_without_gradients() -> None:
    data = np.array([1.0, 2.0])
    assert np.asarray(Tensor(data)) is data or np.shares_memory(np.asarray(Tensor(data)), data)
    assert not np.shares_memory(np.array(Tensor(data)), data)
    assert np.asarray(Tensor(data), np.float32).dtype == np.float32


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_is_a_tensor_of_its_own(duplicate: Callable[[Any], Any]) -> None:
    x = wanted([1.0, 2.0], name="x")
    y = duplicate(x)
    assert (y.requires_grad, y.name, y.op) == (True, "x", None)
    assert y.number > x.number
    assert not np.shares_memory(x.data, y.data)
    (x * y).sum().backward()
    x.data[0] = 7.0
    np.testing.assert_array_equal(y.data, [1.0, 2.0])
    np.testing.assert_array_equal(y.grad, [1.0, 2.0])


def test_a_deep_copy_keeps_sharing() -> None:
    x = wanted(1.0)
    first, second = copy.deepcopy([x, x])
    assert first is second


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, pickle.dumps])
def test_a_recorded_tensor_cannot_be_copied(duplicate: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"y has a history and cannot be copied or pickled: use \.detach\(\)"):
        duplicate((wanted(1.0) * 2.0).named("y"))


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


@pytest.mark.parametrize("f", [lambda t: t & 3, lambda t: t | 4, lambda t: ~t, lambda t: np.bitwise_and(t, 3)])
def test_bitwise_operators_of_integers_are_numpys_or_refused(f: Callable[[Any], Any]) -> None:
    array = np.array([1, 6])
    try:
        answer = f(Tensor(array))
    except TypeError:
        return
    np.testing.assert_array_equal(answer.data, f(array), strict=True)


@pytest.mark.parametrize("f", [lambda t: t // 2, lambda t: t % 2, lambda t: t << 1, lambda t: np.floor(t)])
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


# ---- dtypes


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t * 2.0,
        lambda t: 2.0 * t,
        lambda t: t + 1,
        lambda t: 1 - t,
        lambda t: t / 3.0,
        lambda t: 3.0 / t,
        lambda t: t**2,
        lambda t: t**0.5,
        lambda t: 2.0**t,
        lambda t: np.maximum(t, 0.5),
        lambda t: np.where(t > 1, t, 0.0),
        lambda t: np.clip(t, 0.0, 1.0),
        lambda t: ops.xlogy(t, 2.0),
        lambda t: ops.xlogy(2.0, t),
        lambda t: ops.xlog1py(t, 2.0),
        lambda t: ops.xdivy(t, 2.0),
        lambda t: ops.sigmoid(t) * 3,
        lambda t: np.mean(t) * 0.1,
        lambda t: np.log2(t) + np.log10(t) + np.exp2(t),
        lambda t: np.sinh(t) + np.cosh(t) + np.logaddexp(t, 1.0),
    ],
    ids=text_of,
)
@pytest.mark.parametrize("data", [[1.0, 2.0], 1.5])
def test_python_scalars_do_not_promote_float32(f: Callable[[Any], Tensor], data: Any) -> None:
    x = wanted(np.array(data, np.float32))
    out = f(x)
    assert out.dtype == np.float32
    out.sum().backward()
    assert (x.grad.dtype, out.grad.dtype) == (np.float32, np.float32)


def test_a_python_float_by_itself_is_float64() -> None:
    assert Tensor(2.0).dtype == np.float64


@pytest.mark.parametrize("dtype", [int, bool, np.uint8])
def test_casting_to_integers_leaves_the_graph(dtype: Any) -> None:
    x = wanted([1.5, 2.5])
    assert x.astype(dtype).requires_grad is False
    assert (x.astype(dtype) * x).requires_grad is True
    np.testing.assert_array_equal(gradients((x.astype(dtype) * x).sum(), x), np.array([1.5, 2.5]).astype(dtype))


def test_a_cast_to_another_float_keeps_the_gradient() -> None:
    x = wanted(np.array([1.5, 2.5], np.float32))
    x.astype(np.float64).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad, 1.0)


# ---- errors: what happened, on which op and argument, with which shapes


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (
            lambda x, w: x @ w,
            r"^matmul: a has shape \(32, 2\) and b has shape \(3, 16\); the inner sizes 2 and 3 differ\. "
            r"\(matmul\(x, layers\.0\.W\)\)$",
        ),
        (lambda x, w: x @ w.data, r"^matmul: .*\(matmul\(x, array\(3, 16\)\)\)$"),
        (lambda x, w: x @ w[:, 0], r"b has shape \(3,\); the inner sizes 2 and 3 differ"),
        (lambda x, w: ops.affine(x, w, np.zeros(16)), r"^affine: x has shape \(32, 2\) and W .* 2 and 3 differ"),
        (
            lambda x, w: ops.affine(x.T @ x, w[:2], np.zeros(3)),
            r"^affine: W has shape \(2, 16\) and b has .* \(3,\)",
        ),
        (lambda x, w: ops.affine(x, w[0], 0.0), r"^affine: .*x needs at least one axis and W exactly two"),
        (lambda x, w: x + w, r"^add: a has shape \(32, 2\) and b has shape \(3, 16\); .*\(add\(x, layers\.0\.W\)\)$"),
        (lambda x, w: w * x, r"^mul: a has shape \(3, 16\) and b has shape \(32, 2\); .*\(mul\(layers\.0\.W, x\)\)$"),
        (lambda x, w: np.maximum(x, w), r"^maximum: a has shape"),
        (lambda x, w: x.reshape(5, 5), r"^reshape: x has shape \(32, 2\); .*\(5, ?5\).*\(reshape\(x\)\)$"),
        (
            lambda x, w: np.concatenate([x, w]),
            r"^concatenate: arrays\[0\] has shape \(32, 2\) and arrays\[1\]",
        ),
        (lambda x, w: np.stack([x, w]), r"^stack: arrays\[0\] has shape"),
        (lambda x, w: np.broadcast_to(x, (3, 3)), r"^broadcast_to: x has shape \(32, 2\)"),
        (lambda x, w: np.squeeze(x, 0), r"^squeeze: x has shape \(32, 2\)"),
        (lambda x, w: np.einsum("ij,jk->ik", x, w), r"\(32, 2\).*\(3, 16\)"),
        (lambda x, w: x[:0].max(), r"^reduce_max: x has shape \(0, 2\)"),
    ],
    ids=text_of,
)
def test_errors_name_the_op_the_arguments_and_their_shapes(f: Callable[..., Any], message: str) -> None:
    x, w = wanted(np.ones((32, 2)), name="x"), wanted(np.ones((3, 16)), name="layers.0.W")
    with pytest.raises(ValueError, match=message):
        f(x, w)


@pytest.mark.parametrize(("x", "w"), [((2, 3), (3,)), ((2, 3), (4, 3, 5)), ((), (3, 5)), ((2, 3), ()), ((3,), (3,))])
def test_affine_takes_a_matrix_and_nothing_else(x: tuple[int, ...], w: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^affine: x has shape .* and W has shape .* W exactly two"):
        ops.affine(wanted(np.ones(x)), wanted(np.ones(w)), 0.0)


def test_a_wrong_axis() -> None:
    with pytest.raises((ValueError, IndexError), match=r"^reduce_sum: x has shape \(2, 3\); axis 5 is out of bounds"):
        wanted(np.ones((2, 3))).sum(axis=5)


def test_a_single_number_in_a_matmul() -> None:
    with pytest.raises(ValueError, match=r"^matmul: one side is a single number.*write a \* b"):
        wanted(np.ones((2, 3))) @ 2.0


def test_errors_on_arrays_are_explained_too() -> None:
    with pytest.raises(ValueError, match=r"^matmul: a has shape \(2, 3\) and b has shape \(2, 3\); the inner sizes"):
        ops.matmul(np.ones((2, 3)), np.ones((2, 3)))


def test_the_first_error_is_the_cause() -> None:
    with pytest.raises(ValueError, match="add") as caught:
        wanted(np.ones(2)) + np.ones(3)
    assert isinstance(caught.value.__cause__, ValueError)


TENSORS_AS_PARAMETERS = [
    lambda x, v: ops.reduce_sum(x, axis=v),
    lambda x, v: ops.clip(x, low=v),
    lambda x, v: ops.clip(x, high=v),
    lambda x, v: ops.constant_power(x, exponent=v),
    lambda x, v: ops.reshape(x, shape=v),
]


@pytest.mark.parametrize("call", TENSORS_AS_PARAMETERS, ids=text_of)
def test_a_tensor_as_a_static_parameter_is_a_type_error(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"(axis|low|high|exponent|shape)= is a static parameter .*a Tensor"):
        call(wanted([[1.0, 2.0]]), Tensor(0.0))


@pytest.mark.parametrize("call", TENSORS_AS_PARAMETERS, ids=text_of)
def test_a_tensor_as_a_static_parameter_of_a_call_on_arrays_is_a_type_error(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        call(np.array([[1.0, 2.0]]), Tensor(0.0))


def test_an_array_as_a_static_parameter_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"low= is a static parameter .*array"):
        ops.clip(wanted([1.0]), low=np.zeros(1))


@pytest.mark.parametrize("x", [wanted([1.0]), np.array([1.0])], ids=["tensor", "array"])
def test_unknown_parameters_are_refused(x: Any) -> None:
    with pytest.raises(TypeError, match=r"reduce_sum.*axes"):
        ops.reduce_sum(x, axes=0)


def test_a_value_passed_by_name_is_refused_or_means_the_same() -> None:
    try:
        out = ops.relu(x=wanted([0.0, 1.0]))
    except TypeError:
        return
    assert out.op is ops.relu


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: ops.add([1, 2], [3, 4]), [4, 6]),
        (lambda: ops.mul([1.0, 2.0], 2), [2.0, 4.0]),
        (lambda: ops.sub([1.0, 2.0], [1.0, 1.0]), [0.0, 1.0]),
        (lambda: ops.exp([0.0]), [1.0]),
        (lambda: ops.reduce_sum([[1.0, 2.0]], axis=0), [1.0, 2.0]),
        (lambda: ops.matmul([[1.0, 2.0]], [[3.0], [4.0]]), [[11.0]]),
    ],
    ids=text_of,
)
def test_lists_are_arrays(call: Callable[[], Any], expected: Any) -> None:
    np.testing.assert_array_equal(call(), expected)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: ops.affine(t, [[1.0, 2.0], [3.0, 4.0]], [0.0, 1.0]),
        lambda t: ops.concatenate([[5.0, 6.0]], t),
        lambda t: np.concatenate([t, [[5.0, 6.0]], t], axis=1),
        lambda t: np.stack([[[5.0, 6.0]], t]),
        lambda t: ops.where([True, False], t, [[5.0, 6.0]]),
        lambda t: np.maximum([[1.5, 1.5]], t),
        lambda t: ops.xlogy(t, [2.0, 3.0]) + ops.xlogy([2.0, 3.0], t),
        lambda t: np.einsum("ij,jk->ik", t, [[1.0, 2.0], [3.0, 4.0]]),
        lambda t: t ** [2.0, 3.0],
        lambda t: [2.0, 3.0] ** t,
    ],
    ids=text_of,
)
def test_lists_among_the_inputs_do_not_trouble_the_rules(f: Callable[[Any], Any]) -> None:
    at = np.array([[1.0, 2.0]])
    x = wanted(at)
    first = gradients(f(x).sum(), x, create_graph=True)
    for i, unit in enumerate(np.eye(2)):
        numerical = (f(Tensor(at + 1e-6 * unit)) - f(Tensor(at - 1e-6 * unit)).data).sum().item() / 2e-6
        assert first.data[0, i] == pytest.approx(numerical, rel=1e-6)


# ---- primitives of one's own


@pytest.fixture
def registry() -> Iterator[dict[str, Primitive]]:
    """The registry, put back as it was after the test."""
    before = dict(REGISTRY)
    yield REGISTRY
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.fixture
def cube(registry: dict[str, Primitive]) -> Any:
    """x**3, made as a user would."""

    @primitive
    def cube(x):  # type: ignore[no-untyped-def]
        """The third power."""
        return x * x * x

    @cube.vjp("x")
    def cube_x(g, out, x):  # type: ignore[no-untyped-def]
        return g * 3 * x * x

    return cube


def test_a_primitive_of_ones_own_has_derivatives_of_any_order(cube: Any, registry: dict[str, Primitive]) -> None:
    assert (repr(cube), cube.__doc__, registry["cube"]) == ("<primitive cube>", "The third power.", cube)
    x = wanted([1.0, 2.0])
    first = gradients(cube(x).sum(), x, create_graph=True)
    second = gradients(first.sum(), x, create_graph=True)
    third = gradients(second.sum(), x)
    np.testing.assert_array_equal(first.data, [3.0, 12.0])
    np.testing.assert_array_equal(second.data, [6.0, 12.0])
    np.testing.assert_array_equal(third, [6.0, 6.0])
    assert cube(2.0) == 8.0
    np.testing.assert_array_equal(cube(np.array([2.0])), [8.0])


def test_a_rule_runs_on_arrays_or_on_tensors(registry: dict[str, Primitive]) -> None:
    seen: list[tuple[type, ...]] = []

    @primitive
    def twice(x):  # type: ignore[no-untyped-def]
        return 2 * x

    @twice.vjp("x")
    def twice_x(g, out, x):  # type: ignore[no-untyped-def]
        seen.append((type(g), type(out), type(x)))
        return 2 * g

    x = wanted([1.0, 2.0])
    y = twice(x)
    gradients(y, x, gradient=[1.0, 1.0])
    gradients(y, x, gradient=[1.0, 1.0], create_graph=True)
    assert seen == [(np.ndarray,) * 3, (Tensor,) * 3]


def test_a_missing_rule_raises_and_names_the_argument(registry: dict[str, Primitive]) -> None:
    @primitive
    def product(a, b):  # type: ignore[no-untyped-def]
        return a * b

    product.vjp("a")(lambda g, out, a, b: g * b)
    x, y = wanted(2.0), wanted(3.0)
    assert float(gradients(product(x, 3.0), x)) == 3.0
    assert float(gradients(product(x, y), x)) == 3.0  # the missing one is not asked for
    with pytest.raises(NotImplementedError) as caught:
        product(x, y).backward()
    text = "product has no derivative rule for `b`: write @product.vjp('b'), or declare product.constant_in('b')"
    assert str(caught.value).replace('"', "'") == text


def test_constant_in(registry: dict[str, Primitive]) -> None:
    @primitive
    def scaled(x, factor):  # type: ignore[no-untyped-def]
        return x * factor

    scaled.vjp("x")(lambda g, out, x, factor: g * factor)
    scaled.constant_in("factor")
    x, factor = wanted(2.0), wanted(3.0)
    scaled(x, factor).backward()
    assert (float(x.grad), factor.grad) == (3.0, None)
    assert not scaled(2.0, factor).requires_grad
    assert float(gradients(scaled(x, factor), factor)) == 0.0


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, out: g,
        lambda g, x: g,
        lambda g, out, y: g,
        lambda out, g, x: g,
        lambda g, out, x, y: g,
    ],
    ids=text_of,
)
def test_a_rule_with_the_wrong_arguments_is_refused_at_once(rule: Any, registry: dict[str, Primitive]) -> None:
    @primitive
    def same(x):  # type: ignore[no-untyped-def]
        return x

    with pytest.raises(TypeError, match=r"the rule <lambda> of same takes \(.*\), and must take \(g, out, x\)"):
        same.vjp("x")(rule)


def test_unknown_arguments_are_named(cube: Any) -> None:
    with pytest.raises(ValueError, match=r"cube has no argument `y`; it has x"):
        cube.vjp("y")
    with pytest.raises(ValueError, match=r"cube has no argument `y`"):
        cube.constant_in("y")


def test_a_rule_that_answers_with_the_wrong_shape(registry: dict[str, Primitive]) -> None:
    @primitive
    def total(x, y):  # type: ignore[no-untyped-def]
        return x.sum() + y

    total.vjp("x")(lambda g, out, x, y: g)
    total.vjp("y")(lambda g, out, x, y: g)
    with pytest.raises(ValueError, match=r"^total: the rule for `x` answered .*shape \(\), and `x` has shape \(3,\)"):
        total(wanted(np.ones(3)), 1.0).backward()


@pytest.mark.parametrize("answer", [None, "text", (1.0,)])
def test_a_rule_that_answers_with_no_gradient_at_all(answer: Any, registry: dict[str, Primitive]) -> None:
    @primitive
    def halved(x):  # type: ignore[no-untyped-def]
        return x / 2

    halved.vjp("x")(lambda g, out, x: answer)  # None: somebody forgot to write `return`
    with pytest.raises((TypeError, ValueError), match=r"^halved: the rule for `x` answered"):
        halved(wanted([1.0, 2.0])).sum().backward()


def test_a_share_is_summed_back_only_where_that_was_declared(registry: dict[str, Primitive]) -> None:
    def plus(a, b):  # type: ignore[no-untyped-def]
        return a + b

    silent, declared = primitive(plus), primitive(broadcasts=True)(plus)
    for op in (silent, declared):
        op.vjp("a")(lambda g, out, a, b: g)
        op.vjp("b")(lambda g, out, a, b: g)
    x = wanted([1.0, 2.0])
    np.testing.assert_array_equal(gradients(declared(x, np.ones((3, 2))).sum(), x), [3.0, 3.0])
    with pytest.raises(ValueError, match=r"`a` has shape \(2,\); if plus broadcasts, declare .*broadcasts=True"):
        gradients(silent(x, np.ones((3, 2))).sum(), x)


def test_parameters_reach_the_rules_with_their_defaults(registry: dict[str, Primitive]) -> None:
    @primitive
    def scaled(x, *, by=2.0, twice=False):  # type: ignore[no-untyped-def]
        return x * by

    seen = []

    @scaled.vjp("x")
    def scaled_x(g, out, x, *, by, twice):  # type: ignore[no-untyped-def]
        seen.append((by, twice))
        return g * by

    x = wanted(1.0)
    for out in (scaled(x), scaled(x, by=3.0), scaled(x, twice=True)):
        out.backward()
    assert seen == [(2.0, False), (3.0, False), (2.0, True)]
    assert float(x.grad) == 7.0


def test_a_starred_argument_stands_for_any_number_of_inputs(registry: dict[str, Primitive]) -> None:
    @primitive
    def weighted(first, *others, power=1):  # type: ignore[no-untyped-def]
        return first + sum((i + 1) * other for i, other in enumerate(others))

    positions = []

    @weighted.vjp("first")
    def weighted_first(g, out, first, *others, power, **rest):  # type: ignore[no-untyped-def]
        return g

    @weighted.vjp("others")
    def weighted_others(g, out, first, *others, power, position):  # type: ignore[no-untyped-def]
        positions.append(position)
        return g * position

    xs = [wanted(1.0) for _ in range(4)]
    weighted(*xs).backward()
    assert [float(x.grad) for x in xs] == [1.0, 1.0, 2.0, 3.0]
    assert sorted(positions) == [1, 2, 3]


def test_an_error_of_the_body_is_told_with_the_shapes(registry: dict[str, Primitive]) -> None:
    @primitive
    def refuse(x, y):  # type: ignore[no-untyped-def]
        raise ValueError("not today")

    with pytest.raises(ValueError, match=r"^refuse: x has shape \(2,\) and y has shape \(3,\); not today \(refuse\(w"):
        refuse(wanted(np.ones(2), name="w"), np.ones(3))


def test_a_diagnosis_replaces_the_reason(registry: dict[str, Primitive]) -> None:
    @primitive
    def refuse(x):  # type: ignore[no-untyped-def]
        raise ValueError("not today")

    refuse.diagnose(lambda x: f"x of {x.size} elements is too long" if x.size > 2 else None)
    with pytest.raises(ValueError, match=r"^refuse: x of 3 elements is too long \(refuse\(w\)\)$"):
        refuse(wanted(np.ones(3), name="w"))
    with pytest.raises(ValueError, match=r"^refuse: x has shape \(2,\); not today"):
        refuse(wanted(np.ones(2), name="w"))


def test_a_body_that_answers_with_integers_has_no_gradient(registry: dict[str, Primitive]) -> None:
    @primitive
    def rounded(x):  # type: ignore[no-untyped-def]
        return np.rint(x).astype(int)

    rounded.vjp("x")(lambda g, out, x: g)
    assert not rounded(wanted([1.2])).requires_grad


# ---- recording


def test_no_grad_records_nothing_and_nests() -> None:
    x = wanted(2.0)
    with no_grad():
        with no_grad():
            inner = x * x
        outer = x * x
    after = x * x
    assert [t.requires_grad for t in (inner, outer, after)] == [False, False, True]
    assert (inner.op, inner.inputs, outer.op) == (None, (), None)


def test_no_grad_ends_with_an_exception() -> None:
    x = wanted(2.0)
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert (x * x).requires_grad


def test_no_grad_as_a_decorator() -> None:
    @no_grad()
    def square(x: Tensor) -> Tensor:
        return x * x

    x = wanted(2.0)
    assert not square(x).requires_grad
    assert not square(x).requires_grad
    assert (x * x).requires_grad


def test_a_leaf_made_inside_no_grad_still_asks_for_gradients() -> None:
    with no_grad():
        x = wanted(2.0)
    assert float(gradients(x * x, x)) == 4.0


def in_another_thread(f: Callable[[], Any]) -> Any:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(f()))
    thread.start()
    thread.join()
    return answers[0]


def test_recording_is_per_thread() -> None:
    x = wanted(2.0)

    def recorded() -> bool:
        return (x * x).requires_grad

    with no_grad():
        assert in_another_thread(recorded) is True
        assert recorded() is False
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with no_grad():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    try:
        assert recorded() is True
    finally:
        leave.set()
        thread.join()


def test_numbers_are_unique_across_threads() -> None:
    def numbers() -> list[int]:
        return [Tensor(0.0).number for _ in range(500)]

    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.extend(numbers())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 2000
