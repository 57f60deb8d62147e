"""A Tensor: what it is made of, what it shows and accepts, its dtypes, and how it leaves the graph."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from fresh import GUARD
from leaves import wanted
from samples import text_of

from tinygrad_ce import ops
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

# ---- making a tensor


def test_a_tensor_is_an_array_and_how_it_was_made() -> None:
    x = wanted([[1.0, 2.0, 3.0]], name="x")
    y = x * 2.0
    assert (x.shape, x.ndim, x.size, x.dtype, x.name) == ((1, 3), 2, 3, np.float64, "x")
    assert (x.op, x.inputs, x.grad) == (None, (), None)
    assert (y.op, y.requires_grad, y.serial > x.serial) == (ops.mul, True, True)
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
    assert f"exp(#{x.serial})" in repr(np.exp(x))


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
    t = x * 1.0
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
    assert y.serial > x.serial
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
            leave.wait(GUARD)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(GUARD)
    try:
        assert recorded() is True
    finally:
        leave.set()
        thread.join()


def test_numbers_are_unique_across_threads() -> None:
    def numbers() -> list[int]:
        return [Tensor(0.0).serial for _ in range(500)]

    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.extend(numbers())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 2000
