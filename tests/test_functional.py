"""grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp: closed forms, the autograd package, and nesting."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import text_of

from tinygrad_ce import numpy_protocol, ops
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import grad, gradients, hessian, hvp, jacobian, jvp, value_and_grad, vjp

assert numpy_protocol  # np.sin(t) and its like

A = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0], [1.5, -2.0, 1.0]])
X = np.array([0.7, -1.2, 0.4])
V = np.array([1.0, 2.0, -0.5])


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def rosenbrock_gradient(x: np.ndarray) -> np.ndarray:
    slope = np.zeros_like(x)
    slope[:-1] += -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    slope[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return slope


def rosenbrock_hessian(x: np.ndarray) -> np.ndarray:
    n = len(x)
    curvature = np.zeros((n, n))
    for i in range(n - 1):
        curvature[i, i] += 1200 * x[i] ** 2 - 400 * x[i + 1] + 2
        curvature[i, i + 1] = curvature[i + 1, i] = -400 * x[i]
        curvature[i + 1, i + 1] += 200
    return curvature


# ---- closed forms


@pytest.mark.parametrize(
    ("f", "at", "expected"),
    [
        (lambda x: x**3, 2.0, 12.0),
        (lambda x: 5.0, 2.0, 0.0),
        (lambda x: np.ones(()), 2.0, 0.0),
        (lambda x: x, 2.0, 1.0),
        (lambda x: Tensor(3.0), 2.0, 0.0),
        (lambda x: x.sum(), X, np.ones(3)),
        (lambda x: x @ A @ x, X, (A + A.T) @ X),
        (lambda x: np.exp(x).sum(), X, np.exp(X)),
        (lambda x: (x * 0.0).sum(), X, np.zeros(3)),
        (lambda x: (x.T @ A).sum(), X, A.sum(axis=1)),
        (lambda x: x[0] * x[-1], X, [0.4, 0.0, 0.7]),
    ],
    ids=text_of,
)
def test_grad(f: Callable[[Any], Any], at: Any, expected: Any) -> None:
    slope = grad(f)(at)
    assert type(slope) is np.ndarray
    np.testing.assert_allclose(slope, expected, rtol=1e-14)
    assert slope.shape == np.shape(at)


def test_grad_takes_what_a_tensor_takes() -> None:
    for at in ([1.0, 2.0], np.array([1.0, 2.0]), Tensor([1.0, 2.0])):
        np.testing.assert_array_equal(grad(lambda x: (x * x).sum())(at), [2.0, 4.0])


def test_grad_gives_a_tensor_for_a_tensor_that_asks() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    slope = grad(lambda t: (t**3).sum())(x)
    assert isinstance(slope, Tensor)
    np.testing.assert_array_equal(slope.data, [3.0, 12.0])
    np.testing.assert_array_equal(gradients(slope.sum(), x), [6.0, 12.0])
    assert x.grad is None


def test_grad_leaves_its_argument_alone() -> None:
    at = X.copy()
    grad(rosenbrock)(at)
    np.testing.assert_array_equal(at, X)


def test_grad_of_a_named_place() -> None:
    def f(x: Any, y: Any, n: int) -> Any:
        return (x * y**n).sum()

    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    np.testing.assert_array_equal(grad(f)(x, y, 2), y**2)
    np.testing.assert_array_equal(grad(f, 1)(x, y, 2), 2 * x * y)
    np.testing.assert_array_equal(grad(f, argnums=-2)(x, y, 2), 2 * x * y)
    for_both = grad(f, (1, 0))(x, y, 2)
    assert len(for_both) == 2
    np.testing.assert_array_equal(for_both[0], 2 * x * y)
    np.testing.assert_array_equal(for_both[1], y**2)
    assert len(grad(f, [0])(x, y, 2)) == 1


def test_argnums_may_be_a_numpy_integer() -> None:
    assert float(grad(lambda x, y: x * y, np.int64(1))(3.0, 4.0)) == 3.0


def test_the_other_arguments_stay_what_they_were() -> None:
    seen = []

    def f(x: Any, y: Any) -> Any:
        seen.append(y)
        return (x * y).sum()

    y = np.array([3.0, 4.0])
    grad(f)(np.ones(2), y)
    assert seen[0] is y


def test_value_and_grad() -> None:
    value, slope = value_and_grad(rosenbrock)(X)
    assert (type(value), type(slope)) == (np.ndarray, np.ndarray)
    assert float(value) == pytest.approx(rosenbrock(X), rel=1e-14)
    np.testing.assert_allclose(slope, rosenbrock_gradient(X), rtol=1e-12)


def test_value_and_grad_calls_the_function_once() -> None:
    calls = []

    def f(x: Any) -> Any:
        calls.append(1)
        return x * x

    value_and_grad(f)(3.0)
    assert len(calls) == 1


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_a_single_number_may_have_axes(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(grad(lambda x: x * x)(np.full(shape, 3.0)), np.full(shape, 6.0), strict=True)


@pytest.mark.parametrize(
    ("f", "at", "expected"),
    [
        (lambda x: x * x, X, np.diag(2 * X)),
        (lambda x: A @ x, X, A),
        (lambda x: (x * x).sum(), X, 2 * X),
        (lambda x: np.outer(x, x)[0], X, np.outer([1, 0, 0], X) * 0 + np.diag([X[0]] * 3) + np.outer(X, [1, 0, 0])),
        (lambda x: np.ones(2), X, np.zeros((2, 3))),
        (lambda x: x * np.array([1.0, 2.0]), 3.0, [1.0, 2.0]),
        (lambda x: x[:0], X, np.zeros((0, 3))),
        (lambda x: ops.softmax(x), np.zeros(2), [[0.25, -0.25], [-0.25, 0.25]]),
    ],
    ids=text_of,
)
def test_jacobian(f: Callable[[Any], Any], at: Any, expected: Any) -> None:
    matrix = jacobian(f)(at)
    assert type(matrix) is np.ndarray
    np.testing.assert_allclose(matrix, expected, rtol=1e-14, atol=1e-16)
    assert matrix.shape == np.shape(expected)


def test_a_jacobian_has_the_axes_of_the_result_then_of_the_argument() -> None:
    x = np.arange(6.0).reshape(2, 3)
    tensor = jacobian(lambda t: t.T * 2.0)(x)
    assert tensor.shape == (3, 2, 2, 3)
    np.testing.assert_array_equal(tensor, 2 * np.einsum("jk,il->ijkl", np.eye(2), np.eye(3)))


def test_a_jacobian_of_another_argument() -> None:
    np.testing.assert_array_equal(jacobian(lambda x, y: x * y, 1)(X, V), np.diag(X))
    np.testing.assert_array_equal(jacobian(lambda x, y: x * y, argnums=-1)(X, V), np.diag(X))


def three(np: Any, x: Any, y: Any, z: Any) -> Any:
    return np.sum(np.sin(x) * y**2) * np.exp(z) + np.sum(y**3)


POINT = (np.array([0.3, -1.1]), np.array([[2.0, 0.5], [1.0, -1.5], [0.2, 0.4]]), np.array(0.7))


def ours_of_three(x: Any, y: Any, z: Any) -> Any:
    return three(np, x, y, z)


def theirs_of_three(x: Any, y: Any, z: Any) -> Any:
    return three(anp, x, y, z)


@pytest.mark.parametrize("argnums", [(0,), (0, 1), (2, 0), [1, 2, 0], (-1, 0), range(3), (1, 1)], ids=str)
def test_jacobians_and_hessians_of_several_arguments_are_nested_like_the_arguments(argnums: Any) -> None:
    def gradient(x: Any, y: Any, z: Any) -> Any:
        return grad(ours_of_three, 1)(x, y, z)

    matrices = jacobian(gradient, argnums)(*POINT)
    curvature = hessian(ours_of_three, argnums)(*POINT)
    assert (type(matrices), type(curvature)) == (tuple, tuple)
    assert (len(matrices), len(curvature)) == (len(argnums), len(argnums))
    for i, first in enumerate(argnums):
        expected = autograd.jacobian(autograd.grad(theirs_of_three, 1), first % 3)(*POINT)
        np.testing.assert_allclose(matrices[i], expected, rtol=1e-13, atol=1e-15, strict=True)
        assert type(curvature[i]) is tuple
        for j, second in enumerate(argnums):
            expected = autograd.jacobian(autograd.grad(theirs_of_three, first % 3), second % 3)(*POINT)
            assert curvature[i][j].shape == POINT[first].shape + POINT[second].shape
            np.testing.assert_allclose(curvature[i][j], expected, rtol=1e-13, atol=1e-15, strict=True)


def test_one_argument_of_several_gives_no_tuple() -> None:
    np.testing.assert_array_equal(hessian(ours_of_three, 1)(*POINT), hessian(ours_of_three, (1,))(*POINT)[0][0])
    np.testing.assert_array_equal(jacobian(ours_of_three, 1)(*POINT), jacobian(ours_of_three, (1,))(*POINT)[0])


def test_jacobians_of_nothing_have_their_shape() -> None:
    for_x, for_y = jacobian(lambda x, y: x[:0] * y, (0, 1))(np.ones(3), 2.0)
    assert (for_x.shape, for_y.shape) == ((0, 3), (0,))
    for_x, for_y = jacobian(lambda x, y: np.ones(2), (0, 1))(np.ones(3, np.float32), 2.0)
    np.testing.assert_array_equal(for_x, np.zeros((2, 3), np.float32), strict=True)
    np.testing.assert_array_equal(for_y, np.zeros(2), strict=True)


def test_a_hessian_of_two_arguments_can_be_differentiated_again() -> None:
    """d^2 (x^2 y^2) / dx dy = 4 x y, and its slope in x is 4 y."""
    mixed = grad(lambda x: hessian(lambda a, b: a * a * b * b, (0, 1))(x, 3.0)[0][1])(2.0)
    assert float(mixed) == 12.0


def test_hessian() -> None:
    np.testing.assert_allclose(hessian(rosenbrock)(X), rosenbrock_hessian(X), rtol=1e-12)
    np.testing.assert_allclose(hessian(lambda x: x @ A @ x)(X), A + A.T, rtol=1e-14)
    np.testing.assert_array_equal(hessian(lambda x: x.sum())(X), np.zeros((3, 3)))
    np.testing.assert_array_equal(hessian(lambda x: 5.0)(X), np.zeros((3, 3)))
    np.testing.assert_allclose(hessian(lambda x: x**4)(2.0), 48.0)
    np.testing.assert_allclose(hessian(lambda x, y: (x * y**3).sum(), 1)(X, V), np.diag(6 * X * V))


def test_a_hessian_of_a_matrix_has_four_axes() -> None:
    w = np.array([[1.0, 2.0], [3.0, 4.0]])
    curvature = hessian(lambda t: (t**3).sum())(w)
    assert curvature.shape == (2, 2, 2, 2)
    np.testing.assert_allclose(curvature.reshape(4, 4), np.diag(6 * w.ravel()))


def test_the_hessian_of_logsumexp_is_the_covariance_of_softmax() -> None:
    p = np.exp(X) / np.exp(X).sum()
    np.testing.assert_allclose(hessian(ops.logsumexp)(X), np.diag(p) - np.outer(p, p), rtol=1e-12, atol=1e-15)


def test_hvp() -> None:
    np.testing.assert_allclose(hvp(rosenbrock, X, V), rosenbrock_hessian(X) @ V, rtol=1e-12)
    np.testing.assert_array_equal(hvp(lambda x: x.sum(), X, V), np.zeros(3))
    assert type(hvp(rosenbrock, X, V)) is np.ndarray


def test_vjp() -> None:
    out, pull = vjp(lambda x, y: A @ x * y, X, V)
    np.testing.assert_allclose(out, A @ X * V, rtol=1e-14)
    for_x, for_y = pull(np.array([1.0, 10.0, 100.0]))
    np.testing.assert_allclose(for_x, A.T @ (V * [1.0, 10.0, 100.0]), rtol=1e-14)
    np.testing.assert_allclose(for_y, A @ X * [1.0, 10.0, 100.0], rtol=1e-14)
    assert [type(g) for g in (out, for_x, for_y)] == [np.ndarray] * 3


def test_a_pullback_can_be_used_again_and_is_linear() -> None:
    _, pull = vjp(np.tanh, X)
    (first,), (second,), (both,) = pull(V), pull(X), pull(2 * V - X)
    np.testing.assert_allclose(both, 2 * first - second, rtol=1e-13)


def test_a_pullback_of_a_constant_is_zero() -> None:
    out, pull = vjp(lambda x: np.ones(2), X)
    np.testing.assert_array_equal(out, [1.0, 1.0])
    np.testing.assert_array_equal(pull(np.ones(2))[0], np.zeros(3))


def test_jvp() -> None:
    out, moved = jvp(lambda x, y: A @ x * y, [X, V], [V, X])
    np.testing.assert_allclose(out, A @ X * V, rtol=1e-14)
    np.testing.assert_allclose(moved, A @ V * V + A @ X * X, rtol=1e-14)
    assert (type(out), type(moved)) == (np.ndarray, np.ndarray)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: 3.0 * x, 3 * V),
        (lambda x: np.ones(3), np.zeros(3)),
        (lambda x: x.sum(), V.sum()),
        (lambda x: x[::-1], V[::-1]),
        (lambda x: np.where(x > 0, x * x, 0.0), np.where(X > 0, 2 * X * V, 0)),
        (lambda x: np.maximum(x, 0.5), np.where(X > 0.5, V, 0)),
        (lambda x: x[[0, 0, 2]], V[[0, 0, 2]]),
        (lambda x: ops.relu(x), np.where(X > 0, V, 0)),
    ],
    ids=text_of,
)
def test_jvp_moves_along_the_tangent(f: Callable[[Any], Any], expected: Any) -> None:
    np.testing.assert_allclose(jvp(f, [X], [V])[1], expected, rtol=1e-14)


def test_jvp_and_vjp_are_transposes() -> None:
    def f(x: Any) -> Any:
        return np.tanh(A @ x) * x

    upstream = np.array([0.3, -0.2, 1.1])
    moved = jvp(f, [X], [V])[1]
    (pulled,) = vjp(f, X)[1](upstream)
    assert float(upstream @ moved) == pytest.approx(float(pulled @ V), rel=1e-13)


# ---- float32


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f, x: grad(f)(x),
        lambda f, x: value_and_grad(f)(x)[0],
        lambda f, x: hessian(f)(x),
        lambda f, x: jacobian(f)(x),
        lambda f, x: hvp(f, x, x),
        lambda f, x: jvp(f, [x], [x])[1],
        lambda f, x: vjp(f, x)[1](np.float32(1.0))[0],
        lambda f, x: jacobian(lambda t: 1.0)(x),
        lambda f, x: grad(lambda t: Tensor(1.0))(x),
    ],
    ids=text_of,
)
def test_float32_stays_float32(derivative: Callable[..., Any]) -> None:
    assert derivative(lambda t: (np.sin(t) ** 3).sum(), X.astype(np.float32)).dtype == np.float32


# ---- against autograd


def network(np: Any, x: Any, w: Any) -> Any:
    hidden = np.tanh(np.dot(x, w))
    return np.sum(np.log1p(np.exp(hidden)) * hidden, axis=1)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 4), width=st.integers(1, 3))
def test_all_derivatives_equal_autograd(seed: int, rows: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    x, w, v = rng.normal(size=(rows, 2)), rng.normal(size=(2, width)), rng.normal(size=(2, width))
    upstream = rng.normal(size=rows)

    def ours(weights: Any) -> Any:
        return network(np, x, weights)

    def theirs(weights: Any) -> Any:
        return network(anp, x, weights)

    def close(mine: Any, other: Any) -> None:
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-11)

    close(grad(lambda t: ours(t).sum())(w), autograd.grad(lambda t: anp.sum(theirs(t)))(w))
    close(jacobian(ours)(w), autograd.jacobian(theirs)(w))
    close(hessian(lambda t: ours(t).sum())(w), autograd.hessian(lambda t: anp.sum(theirs(t)))(w))
    close(vjp(ours, w)[1](upstream)[0], autograd.make_vjp(theirs)(w)[0](upstream))
    close(jvp(ours, [w], [v])[1], autograd.make_jvp(theirs)(w)(v)[1])
    close(
        hvp(lambda t: ours(t).sum(), w, v),
        autograd.hessian_vector_product(lambda t: anp.sum(theirs(t)))(w, v),
    )


# ---- nesting


@pytest.mark.parametrize("at", [0.3, -2.0])
def test_nesting_to_fifth_order(at: float) -> None:
    f: Callable[[Any], Any] = np.sin
    for exact in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin, np.cos):
        f = grad(f)
        assert float(f(at)) == pytest.approx(float(exact(at)), rel=1e-13)


def test_third_derivatives_of_a_vector() -> None:
    third = jacobian(hessian(lambda x: (x**4).sum() + x[0] * x[1] * x[2]))(X)
    expected = np.zeros((3, 3, 3))
    for i in range(3):
        expected[i, i, i] = 24 * X[i]
    for i, j, k in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        expected[i, j, k] = 1.0
    np.testing.assert_allclose(third, expected, rtol=1e-13, atol=1e-14)


def test_mixed_partial_derivatives() -> None:
    def f(x: Any, y: Any) -> Any:
        return x**2 * np.sin(y)

    assert float(grad(grad(f, 0), 1)(3.0, 0.5)) == pytest.approx(6 * np.cos(0.5), rel=1e-14)
    assert float(grad(grad(f, 1), 0)(3.0, 0.5)) == pytest.approx(6 * np.cos(0.5), rel=1e-14)
    assert float(grad(grad(grad(f, 0), 1), 0)(3.0, 0.5)) == pytest.approx(2 * np.cos(0.5), rel=1e-14)


def test_a_jacobian_of_a_gradient_of_two_arguments() -> None:
    def f(x: Any, y: Any) -> Any:
        return (x * x * y).sum()

    np.testing.assert_allclose(jacobian(grad(f, 0), 1)(X, V), np.diag(2 * X))


NESTED: list[tuple[Callable[[Any], Any], float, float]] = [
    (lambda x: x * grad(lambda y: x + y)(1.0), 2.0, 1.0),
    (lambda x: x * grad(lambda y: x * y)(1.0), 2.0, 4.0),
    (lambda x: grad(lambda y: x * x * y)(1.0), 3.0, 6.0),
    (lambda x: grad(lambda y: x * y)(x), 3.0, 1.0),
    (lambda x: grad(lambda y: x * y * y)(x), 3.0, 12.0),
    (lambda x: x * grad(lambda y: y * y)(x), 3.0, 12.0),
    (lambda x: grad(lambda y: grad(lambda z: x * y * z * z)(y))(x), 2.0, 16.0),
    (lambda x: grad(lambda y: y * grad(lambda z: x * y * z)(1.0))(1.0), 3.0, 2.0),
    (lambda x: value_and_grad(lambda y: x * y * y)(1.0)[0], 3.0, 1.0),
    (lambda x: value_and_grad(lambda y: x * y * y)(1.0)[1], 3.0, 2.0),
    (lambda x: jacobian(lambda y: x * x * y)(np.ones(2)).sum(), 3.0, 12.0),
    (lambda x: hessian(lambda y: (x * x * y**2).sum())(np.ones(2)).sum(), 3.0, 24.0),
    (lambda x: hvp(lambda y: (x * y**3).sum(), np.ones(2), np.ones(2)).sum(), 3.0, 12.0),
    (lambda x: hvp(lambda y: (y**3).sum(), np.ones(2), x * np.ones(2)).sum(), 3.0, 12.0),
    (lambda x: hvp(lambda y: (y**3).sum(), x * np.ones(2), np.ones(2)).sum(), 3.0, 12.0),
    (lambda x: vjp(lambda y: x * y * y, 2.0)[0], 3.0, 4.0),
    (lambda x: vjp(lambda y: x * y * y, 2.0)[1](1.0)[0], 3.0, 4.0),
    (lambda x: vjp(lambda y: y * y, 2.0)[1](x)[0], 3.0, 4.0),
    (lambda x: vjp(lambda y: y * y, x)[1](1.0)[0], 3.0, 2.0),
    (lambda x: vjp(lambda y: y * y, x)[1](x)[0], 3.0, 12.0),
    (lambda x: jvp(lambda y: x * y * y, [2.0], [1.0])[0], 3.0, 4.0),
    (lambda x: jvp(lambda y: x * y * y, [2.0], [1.0])[1], 3.0, 4.0),
    (lambda x: jvp(lambda y: y * y, [2.0], [x])[1], 3.0, 4.0),
    (lambda x: jvp(lambda y: y * y, [x], [1.0])[1], 3.0, 2.0),
    (lambda x: jvp(lambda y: y * y, [x], [x])[1], 3.0, 12.0),
    (lambda x: jvp(lambda y: jvp(lambda z: z**3, [y], [1.0])[1], [x], [1.0])[1], 3.0, 6.0),
    (lambda x: gradients(x * x, x, create_graph=True) * x, 3.0, 12.0),
]


@pytest.mark.parametrize(("f", "at", "expected"), NESTED, ids=text_of)
def test_perturbations_are_not_confused(f: Callable[[Any], Any], at: float, expected: float) -> None:
    assert float(grad(f)(at)) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("f", "at", "expected"), NESTED[:-1], ids=text_of)
def test_a_nested_derivative_equals_finite_differences(f: Callable[[Any], Any], at: float, expected: float) -> None:
    step = 1e-5
    numerical = (float(f(np.array(at + step))) - float(f(np.array(at - step)))) / (2 * step)
    assert numerical == pytest.approx(expected, rel=1e-8)


def test_forward_over_reverse_equals_reverse_over_forward() -> None:
    def f(x: Any) -> Any:
        return np.tanh(A @ x).sum() * x[0]

    expected = hessian(f)(X) @ V
    np.testing.assert_allclose(jvp(grad(f), [X], [V])[1], expected, rtol=1e-12)
    np.testing.assert_allclose(grad(lambda x: jvp(f, [x], [V])[1])(X), expected, rtol=1e-12)
    np.testing.assert_allclose(hvp(f, X, V), expected, rtol=1e-12)


# ---- closures


def test_what_a_closure_holds_is_no_argument() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    slope = grad(lambda x: (w * x * x).sum())(np.array([3.0, 4.0]))
    np.testing.assert_array_equal(np.asarray(getattr(slope, "data", slope)), [6.0, 16.0])
    assert w.grad is None


def test_the_same_tensor_by_two_roads_is_two_variables() -> None:
    x = Tensor(3.0, requires_grad=True)
    slope = grad(lambda y: x * y)(x)
    assert float(slope) == 3.0


def test_one_tensor_for_two_arguments() -> None:
    x = Tensor(3.0, requires_grad=True)
    for_a, for_b = grad(lambda a, b: a * a * b, (0, 1))(x, x)
    assert (float(for_a), float(for_b)) == (18.0, 9.0)
    assert float(gradients(for_a + for_b, x)) == 6 + 6 + 6


def test_python_control_flow_is_followed() -> None:
    def f(x: Any) -> Any:
        while x < 100.0:
            x = x * x
        return x

    assert float(grad(f)(2.0)) == 8 * 2.0**7


@pytest.mark.parametrize("derivative", [grad, hessian, jacobian])
def test_derivatives_keep_nothing(derivative: Callable[..., Any]) -> None:
    seen: list[weakref.ref[Tensor]] = []

    def f(x: Any) -> Any:
        y = np.sin(x)
        seen.append(weakref.ref(y))
        return (y * y).sum()

    gc.collect()
    gc.disable()
    try:
        derivative(f)(X)
        assert [ref() for ref in seen] == [None] * len(seen)
    finally:
        gc.enable()


@pytest.mark.parametrize("derivative", [grad, hessian, jacobian])
def test_derivatives_are_right_inside_no_grad(derivative: Callable[..., Any]) -> None:
    expected = derivative(rosenbrock)(X)
    with no_grad():
        np.testing.assert_array_equal(derivative(rosenbrock)(X), expected)
        np.testing.assert_allclose(hvp(rosenbrock, X, V), rosenbrock_hessian(X) @ V, rtol=1e-12)


def test_no_grad_inside_the_function_cuts_there() -> None:
    def f(x: Any) -> Any:
        with no_grad():
            constant = x * x
        return constant * x

    assert float(grad(f)(3.0)) == 9.0


def test_a_pullback_of_a_tensor_does_not_change_the_next_one() -> None:
    _, pull = vjp(np.tanh, X)
    before = pull(V)[0]
    assert isinstance(pull(Tensor(V, requires_grad=True))[0], Tensor)
    after = pull(V)[0]
    assert type(after) is np.ndarray
    np.testing.assert_array_equal(after, before)
