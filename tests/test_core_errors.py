"""The error messages of an operation: what happened, on which op and argument, with which shapes."""

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
