"""NumPy's functions on a Tensor: NumPy's own values, and the slope of NumPy's own function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from agreement import check_gradients, check_values, differentiable
from leaves import wanted
from samples import text_of

from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients

A = np.array([[0.7, -1.2, 0.4], [1.6, 0.3, -0.8]])
B = np.array([[0.5, 1.9, -0.6]])
POSITIVE = np.array([[0.7, 1.2, 0.4], [1.6, 0.3, 2.8]])
S = np.array([[1.5, 0.2, -0.7], [0.3, -1.1, 0.9], [0.8, 0.4, 2.0]])
T = np.arange(24.0).reshape(2, 3, 4) % 7 - 2.9 + np.arange(24.0).reshape(2, 3, 4) / 50
MASK = np.array([[True, False, True], [False, False, True]])


Call = tuple[Callable[..., Any], tuple[Any, ...]]

CALLS: dict[Any, list[Call]] = {
    np.sum: [
        (lambda a: np.sum(a), (A,)),
        (lambda a: np.sum(a, 0), (A,)),
        (lambda a: np.sum(a, axis=(0, -1), keepdims=True), (T,)),
    ],
    np.mean: [(lambda a: np.mean(a), (A,)), (lambda a: np.mean(a, 1), (A,)), (lambda a: np.mean(a, axis=(0, 2)), (T,))],
    np.max: [(lambda a: np.max(a), (A,)), (lambda a: np.max(a, axis=-1, keepdims=True), (A,))],
    np.min: [(lambda a: np.min(a), (A,)), (lambda a: np.min(a, (0, 1)), (A,))],
    np.var: [(lambda a: np.var(a), (A,)), (lambda a: np.var(a, 0, ddof=1), (A,)), (lambda a: np.var(a, (0, 2)), (T,))],
    np.std: [(lambda a: np.std(a), (A,)), (lambda a: np.std(a, axis=1, ddof=1, keepdims=True), (A,))],
    np.argmax: [
        (lambda a: np.argmax(a), (A,)),
        (lambda a: np.argmax(a, 0), (A,)),
        (lambda a: np.argmax(a, axis=-1), (A,)),
    ],
    np.where: [
        (lambda a, b: np.where(MASK, a, b), (A, B)),
        (lambda a: np.where(a > 0, a, 0.0), (A,)),
        (lambda a: np.where(MASK, 1.0, a), (A,)),
    ],
    np.clip: [
        (lambda a: np.clip(a, -0.5, 0.5), (A,)),
        (lambda a: np.clip(a, None, 0.5), (A,)),
        (lambda a: np.clip(a, -0.5, None), (A,)),
        (lambda a, b: np.clip(a, b, 5.0), (A, B - 1)),
        (lambda a, b: np.clip(a, b - 9, b), (A, B)),
        (lambda a: np.clip(a, np.full(3, -0.5), np.full((2, 1), 0.5)), (A,)),
    ],
    np.dot: [
        (lambda a, b: np.dot(a, b), (A, S)),
        (lambda a, b: np.dot(a, b), (S[0], S[1])),
        (lambda a, b: np.dot(a, b), (A, S[0])),
        (lambda a: np.dot(a, 2.0), (A,)),
        (lambda a: np.dot(2.0, a), (A,)),
        (lambda a, b: np.dot(a, b), (T, T[0].T)),
        (lambda a, b: np.dot(a, b), (T, S[0].repeat(2)[:4])),
    ],
    np.outer: [(lambda a, b: np.outer(a, b), (S[0], S[1])), (lambda a, b: np.outer(a, b), (A, S[1]))],
    np.einsum: [
        (lambda a, b: np.einsum("ij,jk->ik", a, b), (A, S)),
        (lambda a, b: np.einsum("ij,jk", a, b), (A, S)),
        (lambda a: np.einsum("ji", a), (A,)),
        (lambda a: np.einsum("ij->", a), (A,)),
        (lambda a, b: np.einsum("...i,...i->...", a, b), (T, T[0])),
        (lambda a, b: np.einsum("...ij,jk", a, b), (T, T[0].T)),
        (lambda a, b: np.einsum("i...,j->...ij", a, b), (A, B[0])),
        (lambda a: np.einsum("ij , k -> k", a, np.ones(2)), (A,)),
        (lambda a, b, c: np.einsum("ij,jk,lk->il", a, b, c), (A, S, A)),
    ],
    np.trace: [(lambda a: np.trace(a), (S,)), (lambda a: np.trace(a), (A,))],
    np.reshape: [
        (lambda a: np.reshape(a, (3, 2)), (A,)),
        (lambda a: np.reshape(a, -1), (A,)),
        (lambda a: np.reshape(a, [6, 1]), (A,)),
    ],
    np.ravel: [(lambda a: np.ravel(a), (A,)), (lambda a: np.ravel(a), (np.array(2.0),))],
    np.transpose: [
        (lambda a: np.transpose(a), (A,)),
        (lambda a: np.transpose(a, (2, 0, 1)), (T,)),
        (lambda a: np.transpose(a, [0, -1, 1]), (T,)),
    ],
    np.swapaxes: [(lambda a: np.swapaxes(a, 0, 1), (A,)), (lambda a: np.swapaxes(a, -1, 0), (T,))],
    np.moveaxis: [
        (lambda a: np.moveaxis(a, 0, -1), (T,)),
        (lambda a: np.moveaxis(a, -1, 0), (T,)),
        (lambda a: np.moveaxis(a, 1, 2), (T,)),
        (lambda a: np.moveaxis(a, 2, -2), (T,)),
    ],
    np.expand_dims: [(lambda a: np.expand_dims(a, 0), (A,)), (lambda a: np.expand_dims(a, (0, -1)), (A,))],
    np.squeeze: [(lambda a: np.squeeze(a), (B,)), (lambda a: np.squeeze(a, axis=0), (B,))],
    np.broadcast_to: [
        (lambda a: np.broadcast_to(a, (4, 2, 3)), (B,)),
        (lambda a: np.broadcast_to(a, 3), (np.array(2.0),)),
    ],
    np.concatenate: [
        (lambda a, b: np.concatenate([a, b]), (A, B)),
        (lambda a, b: np.concatenate((a, b, a), axis=-1), (A, A[:, :1])),
        (lambda a: np.concatenate([a, np.ones((1, 3))], 0), (A,)),
    ],
    np.stack: [(lambda a, b: np.stack([a, b]), (A, 2 * A)), (lambda a, b: np.stack([a, b], axis=-1), (A, 2 * A))],
}
NO_TENSOR_COMES_OUT = (np.zeros_like, np.ones_like, np.shape, np.ndim, np.size)
FUNCTIONS = [
    pytest.param(f, arrays, id=f"{function.__name__}-{i}")
    for function, calls in CALLS.items()
    for i, (f, arrays) in enumerate(calls)
]


@pytest.mark.parametrize(("f", "arrays"), FUNCTIONS)
def test_functions_are_numpys(f: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    check_values(f, arrays)


@pytest.mark.parametrize(("f", "arrays"), [p for p in FUNCTIONS if differentiable(*p.values)])
def test_gradients_of_functions_are_the_slopes_of_numpys(f: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    check_gradients(f, arrays)


@pytest.mark.parametrize("function", sorted(NO_TENSOR_COMES_OUT, key=lambda f: f.__name__), ids=lambda f: f.__name__)
def test_questions_about_a_tensor(function: Any) -> None:
    x = np.ones((2, 3), np.float32)
    answer, expected = function(wanted(x)), function(x)
    assert type(answer) is type(expected)
    np.testing.assert_array_equal(answer, expected)
    assert np.asarray(answer).dtype == np.asarray(expected).dtype


@pytest.mark.parametrize("indices", [np.array([2, 0, 2]), np.array([[True, False]]), np.array(-1)])
@pytest.mark.parametrize("axis", [None, 1])
def test_places_may_be_tensors(indices: Any, axis: int | None) -> None:
    x = wanted(A)
    out = np.take(x, Tensor(indices), axis)
    np.testing.assert_array_equal(out.data, np.take(A, indices, axis), strict=True)
    upstream = np.arange(1.0, out.size + 1).reshape(out.shape)
    numbers = np.take(np.arange(A.size).reshape(A.shape), indices, axis)
    expected = np.bincount(numbers.ravel(), upstream.ravel(), A.size).reshape(A.shape)
    np.testing.assert_array_equal(gradients(out, x, gradient=upstream), expected)


def test_places_are_whole_numbers() -> None:
    with pytest.raises(TypeError, match="indices are integers, not of dtype float64"):
        np.take(wanted(A), Tensor([0.5]))
    with pytest.raises(TypeError, match="takes no mode="):
        np.take(wanted(A), Tensor([9]), mode="clip")


EXACTLY_OR_NOT_AT_ALL: list[Callable[[Any], Any]] = [
    lambda t: np.trace(t),
    lambda t: np.trace(t, 1),
    lambda t: np.trace(t[0, 0]),
    lambda t: np.dot(t, np.swapaxes(t, 1, 2)),
    lambda t: np.dot(np.ones((2, 4)), np.swapaxes(t, 1, 2)),
    lambda t: np.moveaxis(t, 0, 5),
    lambda t: np.moveaxis(t, 5, 0),
    lambda t: np.moveaxis(t, 0, -4),
    lambda t: np.moveaxis(t, (0, 1), (1, 0)),
    lambda t: np.swapaxes(t, 0, 3),
    lambda t: np.swapaxes(t, 0, -4),
    lambda t: np.transpose(t, (0, 1)),
    lambda t: np.transpose(t, (0, 0, 1)),
    lambda t: np.broadcast_to(t, (4,)),
    lambda t: np.broadcast_to(t[:1], (3, 4)),
    lambda t: np.broadcast_to(t[0, 0], ()),
    lambda t: np.broadcast_to(t[0, 0], (1,)),
    lambda t: np.concatenate([t, t], axis=None),
    lambda t: np.concatenate([t[0], t], axis=0),
    lambda t: np.reshape(t, (6, 4), order="F"),
    lambda t: np.ravel(t, order="F"),
    lambda t: np.reshape(t, (5, 5)),
    lambda t: np.clip(t, min=-1.0, max=1.0),
    lambda t: np.clip(t, 0.5, -0.5),
    lambda t: np.sum(t, axis=3),
    lambda t: np.sum(t, axis=(0, 0)),
    lambda t: np.sum(t, axis=()),
    lambda t: np.mean(t, axis=()),
    lambda t: np.max(t, axis=()),
    lambda t: np.sum(t, initial=1.0),
    lambda t: np.max(t, initial=1.0),
    lambda t: np.argmax(t, axis=0, keepdims=True),
    lambda t: np.where(t),
    lambda t: np.einsum("iij->j", t[:, :2]),
    lambda t: np.einsum(t, [0, 1, 2], [2, 0]),
    lambda t: np.einsum("...i->i", t),
    lambda t: np.einsum("ijk->j", t, optimize=True),
    lambda t: np.einsum("ij->i", t),
    lambda t: np.squeeze(t, 0),
    lambda t: np.expand_dims(t, 5),
    lambda t: np.stack([t, t], axis=5),
    lambda t: np.stack([t, t[0]]),
    lambda t: np.std(t, ddof=2, axis=1),
    lambda t: np.var(t, axis=1, correction=1),
    lambda t: np.power(t, 2, dtype=np.float32),
    lambda t: np.power(np.array(2.0), t),
    lambda t: np.add(t, 1, casting="safe"),
    lambda t: np.ones_like(t, dtype=np.int8),
    lambda t: np.zeros_like(t, shape=(2,)),
    lambda t: np.outer(t, t),
    lambda t: np.matmul(t, 2.0),
    lambda t: t.T @ t[0, 0, 0],
]


def answer_or_none(f: Callable[[Any], Any], x: Any) -> Any:
    """f(x), or None where that is refused."""
    try:
        return f(x)
    except (TypeError, ValueError, IndexError):
        return None


@pytest.mark.parametrize("f", EXACTLY_OR_NOT_AT_ALL, ids=text_of)
def test_rare_options_are_numpys_or_refused(f: Callable[[Any], Any]) -> None:
    expected = answer_or_none(f, T)
    if expected is None:
        with pytest.raises((ValueError, TypeError, IndexError)):
            f(wanted(T))
        return
    answer = answer_or_none(f, wanted(T))
    if answer is None:
        return
    answer = answer if isinstance(answer, Tensor) else Tensor(answer)
    np.testing.assert_allclose(answer.data, expected, rtol=1e-13, strict=True)
    if answer.requires_grad:
        check_gradients(f, (T,))


# ---- who goes first


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda t: A * t, A),
        (lambda t: t * A, A),
        (lambda t: A - t, -np.ones((2, 3))),
        (lambda t: A / t, -A),
        (lambda t: np.float64(2) * t, np.full((2, 3), 2.0)),
        (lambda t: t * np.float64(2), np.full((2, 3), 2.0)),
        (lambda t: np.float32(2) ** t, np.full((2, 3), 2 * np.log(2))),
        (lambda t: np.array(2.0) - t, -np.ones((2, 3))),
        (lambda t: S[:2, :2] @ t, np.full((2, 3), 1.0) * S[:2, :2].sum(axis=0)[:, None]),
        (lambda t: np.matmul(t, S), np.full((2, 3), 1.0) * S.sum(axis=1)),
        (lambda t: np.sum(t * 2.0, axis=0), np.full((2, 3), 2.0)),
        (lambda t: np.maximum(np.zeros((2, 3)), t), np.ones((2, 3))),
        (lambda t: sum([t, t, A]), np.full((2, 3), 2.0)),
        (lambda t: sum(t), np.ones((2, 3))),
    ],
    ids=text_of,
)
def test_arrays_and_numpy_numbers_make_way(f: Callable[[Any], Any], expected: Any) -> None:
    x = wanted(np.ones((2, 3)))
    out = f(x)
    assert isinstance(out, Tensor)
    np.testing.assert_allclose(gradients(out.sum(), x), expected, rtol=1e-6)


def test_numpy_comparisons_make_masks() -> None:
    x = wanted([1.0, 3.0])
    for mask in (np.array([2.0, 2.0]) < x, x > np.array([2.0, 2.0]), np.greater(x, 2.0), np.float64(2.0) < x):
        assert isinstance(mask, Tensor)
        assert not mask.requires_grad
        np.testing.assert_array_equal(mask.data, [False, True])


def test_a_function_written_for_numpy_runs_on_tensors() -> None:
    def softmax(z: Any) -> Any:
        e = np.exp(z - np.max(z, axis=1, keepdims=True))
        return e / np.sum(e, axis=1, keepdims=True)

    x = wanted(A)
    np.testing.assert_allclose(softmax(x).data, softmax(A), rtol=1e-15)
    check_gradients(softmax, (A,))


@pytest.mark.parametrize("equal_nan", [True, False])
def test_nans_are_one_element_or_as_many_as_there_are(equal_nan: bool) -> None:
    a = np.array([np.nan, 1.0, np.nan, 1.0])
    ours = np.unique(Tensor(a), return_counts=True, equal_nan=equal_nan)
    for mine, numpys in zip(ours, np.unique(a, return_counts=True, equal_nan=equal_nan), strict=True):
        np.testing.assert_array_equal(mine.data, numpys)
