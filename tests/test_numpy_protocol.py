"""NumPy's functions on a Tensor: NumPy's own values, the slope of NumPy's own function, and refusals that help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import text_of

from tinygrad_ce import numpy_protocol, ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.numpy_protocol import FUNCTIONS as NUMPY_FUNCTIONS
from tinygrad_ce.numpy_protocol import UFUNCS as NUMPY_UFUNCS

assert numpy_protocol

A = np.array([[0.7, -1.2, 0.4], [1.6, 0.3, -0.8]])
B = np.array([[0.5, 1.9, -0.6]])
POSITIVE = np.array([[0.7, 1.2, 0.4], [1.6, 0.3, 2.8]])
S = np.array([[1.5, 0.2, -0.7], [0.3, -1.1, 0.9], [0.8, 0.4, 2.0]])
T = np.arange(24.0).reshape(2, 3, 4) % 7 - 2.9 + np.arange(24.0).reshape(2, 3, 4) / 50
MASK = np.array([[True, False, True], [False, False, True]])


def wanted(data: Any, **options: Any) -> Tensor:
    """A tensor that asks for gradients."""
    return Tensor(data, requires_grad=True, **options)


def slope(f: Callable[[float], Any], step: float = 1e-3) -> Any:
    """f'(0) by central differences of fourth order."""
    return (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step)


def check_values(f: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    """f of tensors is a Tensor, and holds what f of arrays is."""
    answer, expected = f(*(wanted(a) if a.dtype.kind == "f" else Tensor(a) for a in arrays)), f(*arrays)
    assert isinstance(answer, Tensor)
    assert (answer.shape, answer.dtype) == (np.shape(expected), np.asarray(expected).dtype)
    np.testing.assert_allclose(answer.data, expected, rtol=1e-14, atol=1e-15)


def check_gradients(f: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    """The gradient of f of tensors is the numerical one of f of arrays, which is NumPy's own; also the second."""
    tensors = [wanted(a) for a in arrays]
    out = f(*tensors)
    rng = np.random.default_rng(1)
    upstream = rng.uniform(-1, 1, out.shape)
    ways, others = ([rng.uniform(-1, 1, a.shape) for a in arrays] for _ in range(2))

    def along(step: float) -> Any:
        return np.sum(f(*(a + step * way for a, way in zip(arrays, ways, strict=True))) * upstream)

    first = gradients(out, tensors, gradient=upstream)
    expected = pytest.approx(slope(along), rel=1e-8, abs=1e-9)
    assert sum(np.sum(g * w) for g, w in zip(first, ways, strict=True)) == expected

    def first_along(step: float) -> Any:
        moved = [wanted(a + step * other) for a, other in zip(arrays, others, strict=True)]
        return sum(np.sum(g * w) for g, w in zip(gradients(f(*moved), moved, gradient=upstream), ways, strict=True))

    recorded = gradients(out, tensors, gradient=upstream, create_graph=True)
    total = sum(((g * w).sum() for g, w in zip(recorded, ways, strict=True)), start=Tensor(0.0))
    second = gradients(total, tensors) if total.requires_grad else [np.zeros(a.shape) for a in arrays]
    expected = pytest.approx(slope(first_along), rel=1e-7, abs=1e-8)
    assert sum(np.sum(g * o) for g, o in zip(second, others, strict=True)) == expected


# ---- ufuncs

WHERE_DEFINED = {
    np.sqrt: (POSITIVE,),
    np.log: (POSITIVE,),
    np.log2: (POSITIVE,),
    np.log10: (POSITIVE,),
    np.log1p: (POSITIVE,),
    np.tan: (A / 2,),
    np.power: (POSITIVE, B),
    np.float_power: (POSITIVE, B),
    np.matmul: (A, S),
    np.logical_not: (MASK,),
    np.logical_and: (MASK, MASK[:, ::-1]),
    np.logical_or: (MASK, MASK[:1]),
    np.invert: (MASK,),
    np.bitwise_and: (MASK, MASK[:, ::-1]),
    np.bitwise_or: (MASK, MASK[:1]),
}
BY_UFUNC = {ufunc: WHERE_DEFINED.get(ufunc, (A,) if ufunc.nin == 1 else (A, B)) for ufunc in NUMPY_UFUNCS}
UFUNCS = [pytest.param(ufunc, arrays, id=ufunc.__name__) for ufunc, arrays in BY_UFUNC.items()]


def differentiable(f: Callable[..., Any], arrays: tuple[Any, ...]) -> bool:
    return np.asarray(f(*arrays)).dtype.kind == "f"


@pytest.mark.parametrize(("ufunc", "arrays"), UFUNCS)
def test_ufuncs_are_numpys(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    check_values(ufunc, arrays)
    if ufunc.signature is None:
        check_values(ufunc, tuple(a[0, 0] for a in arrays))


@pytest.mark.parametrize(("ufunc", "arrays"), [p for p in UFUNCS if differentiable(*p.values)])
def test_gradients_of_ufuncs_are_the_slopes_of_numpys(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    check_gradients(ufunc, arrays)


@pytest.mark.parametrize(("ufunc", "arrays"), [p for p in UFUNCS if len(p.values[1]) == 2])
def test_ufuncs_of_an_array_and_a_tensor_on_either_side(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    a, b = arrays
    for answer in (ufunc(Tensor(a), b), ufunc(a, Tensor(b))):
        assert isinstance(answer, Tensor)
        np.testing.assert_allclose(answer.data, ufunc(a, b), rtol=1e-14)


@pytest.mark.parametrize(("ufunc", "arrays"), [p for p in UFUNCS if differentiable(*p.values)])
def test_ufuncs_keep_float32(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    if ufunc is np.float_power:
        return  # its name says float64
    tensors = [wanted(a.astype(np.float32)) for a in arrays]
    out = ufunc(*tensors)
    assert out.dtype == np.float32
    assert [g.dtype for g in gradients(out.sum(), tensors)] == [np.float32] * len(tensors)


FAR = np.array([0.0, -0.0, 1e-300, 1e-9, 40.0, -40.0, 700.0, -700.0, -1e4, 1e300, -1e300, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize(("ufunc", "arrays"), [p for p in UFUNCS if p.values[1][0].dtype.kind == "f"])
def test_ufuncs_are_numpys_far_out(ufunc: Any, arrays: tuple[Any, ...]) -> None:
    if ufunc is np.matmul:
        return
    inputs = (FAR,) if ufunc.nin == 1 else (FAR[:, None], FAR[None, :])
    with np.errstate(all="ignore"):
        answer, expected = ufunc(*(Tensor(x) for x in inputs)).data, ufunc(*inputs)
    np.testing.assert_array_equal(np.isnan(answer), np.isnan(expected))
    np.testing.assert_allclose(answer, expected, rtol=1e-12, atol=1e-320)


@pytest.mark.parametrize("at", [[-np.inf, -np.inf], [0.0, -np.inf], [1e4, 1e4], [1e4, -1e4], [0.0, 0.0]])
def test_logaddexp_far_out_and_at_a_tie(at: list[float]) -> None:
    a, b = (wanted(x) for x in at)
    out = np.logaddexp(a, b)
    assert float(out) == float(np.logaddexp(*at))
    if np.isfinite(at).all():
        weights = np.exp(np.array(at) - max(at)) / np.exp(np.array(at) - max(at)).sum()
        first = gradients(out, [a, b], create_graph=True)
        np.testing.assert_allclose([g.item() for g in first], weights, rtol=1e-14)
        second = [float(g) for g in gradients(first[0], [a, b])]
        np.testing.assert_allclose(second, weights[0] * weights[1] * np.array([1, -1]), rtol=1e-13)


# ---- functions

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


def test_every_function_has_calls() -> None:
    assert {*CALLS, *NO_TENSOR_COMES_OUT} == set(NUMPY_FUNCTIONS), "a function and its calls are added together"


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
    lambda t: np.sum(t, dtype=np.float32),
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


# ---- refusals


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda t: np.floor(t), r"np\.floor"),
        (lambda t: np.arctan2(t, 1.0), r"np\.arctan2"),
        (lambda t: np.fmod(t, 1.0), r"np\.fmod"),
        (lambda t: np.isnan(t), r"np\.isnan"),
        (lambda t: np.sort(t), r"np\.sort"),
        (lambda t: np.cumsum(t), r"np\.cumsum"),
        (lambda t: np.prod(t), r"np\.prod"),
        (lambda t: np.linalg.norm(t), r"np\.linalg\.norm"),
        (lambda t: np.linalg.inv(t), r"np\.linalg\.inv"),
        (lambda t: np.fft.fft(t), r"np\.fft\.fft"),
        (lambda t: np.allclose(t, t), r"np\.allclose"),
        (lambda t: np.add.reduce(t), r"np\.add\.reduce"),
        (lambda t: np.add.accumulate(t), r"np\.add\.accumulate"),
        (lambda t: np.multiply.outer(t, t), r"np\.multiply\.outer"),
        (lambda t: np.maximum.reduce(t), r"np\.maximum\.reduce"),
    ],
    ids=text_of,
)
def test_what_has_no_rule_says_what_to_use_instead(f: Callable[[Any], Any], name: str) -> None:
    advice = r"has no derivative rule here: .*tinygrad_ce\.ops.*@primitive.*t\.data"
    with pytest.raises(TypeError, match=f"^{name} {advice}"):
        f(wanted(np.eye(2)))


def test_scattering_through_a_ufunc_is_refused() -> None:
    with pytest.raises(TypeError, match=r"np\.add\.at has no derivative rule"):
        np.add.at(wanted([1.0, 2.0]), [0], 1.0)
    array = np.zeros(2)
    with pytest.raises(TypeError):
        np.add.at(array, [0, 1], wanted([1.0, 2.0]))
    np.testing.assert_array_equal(array, 0.0)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, out: np.exp(t, out=out),
        lambda t, out: np.add(t, 1.0, out=out),
        lambda t, out: np.add(out, 1.0, out=t),
        lambda t, out: np.exp(t, where=np.array([True, False])),
        lambda t, out: np.sum(t, out=out),
        lambda t, out: np.sum(t, where=np.array([True, False])),
        lambda t, out: np.mean(t, 0, None, out),
        lambda t, out: np.clip(t, 0.0, 1.0, out=out),
        lambda t, out: np.clip(t, 0.0, 1.0, out),
        lambda t, out: np.concatenate([t, t], out=np.zeros(4)),
        lambda t, out: np.concatenate([out, out], out=t),
        lambda t, out: np.max(t, where=np.array([True, False]), initial=0.0),
        lambda t, out: np.copyto(out, t),
        lambda t, out: np.copyto(t, out),
        lambda t, out: np.put(t, [0], 1.0),
        lambda t, out: np.fill_diagonal(t, 1.0),
        lambda t, out: out.__setitem__(slice(None), t),
        lambda t, out: out.__iadd__(t),
    ],
    ids=text_of,
)
def test_nothing_is_written_in_place(f: Callable[..., Any]) -> None:
    t, out = wanted([1.0, 2.0]), np.zeros(2)
    with pytest.raises(TypeError):
        f(t, out)
    np.testing.assert_array_equal(t.data, [1.0, 2.0])
    np.testing.assert_array_equal(out, 0.0)


@pytest.mark.parametrize(
    ("f", "option"),
    [
        (lambda t: np.exp(t, out=np.zeros(2)), "out"),
        (lambda t: np.exp(t, where=np.array([True, False])), "where"),
        (lambda t: np.sum(t, out=np.zeros(())), "out"),
        (lambda t: np.sum(t, dtype=np.float32), "dtype"),
        (lambda t: np.reshape(t, (1, 2), order="F"), "order"),
    ],
    ids=text_of,
)
def test_a_refused_option_is_named_with_its_function(f: Callable[[Any], Any], option: str) -> None:
    with pytest.raises(TypeError, match=rf"(np\.)?(exp|sum|reshape).*{option}"):
        f(wanted([1.0, 2.0]))


@pytest.mark.parametrize("f", [np.array, np.asarray, lambda t: np.zeros(2) + np.array([t[0], t[1]]), np.vectorize(abs)])
def test_leaving_the_graph_by_accident_is_refused(f: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        f(wanted([1.0, 2.0]))


@pytest.mark.parametrize("f", [np.sin, ops.sin])
def test_tensors_that_ask_for_nothing_stay_tensors(f: Callable[[Any], Any]) -> None:
    out = f(Tensor([1.0]))
    assert isinstance(out, Tensor)
    assert not out.requires_grad
