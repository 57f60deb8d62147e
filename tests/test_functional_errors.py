"""What grad and its kin refuse, in words that say what to type; and what they pass on to the function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import text_of

from tinygrad_ce import numpy_protocol
from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import grad, hessian, hvp, jacobian, jvp, vjp

assert numpy_protocol  # np.sin(t) and its like

X = np.array([0.7, -1.2, 0.4])
V = np.array([1.0, 2.0, -0.5])


def squares(x: Any) -> Any:
    return (x**2).sum()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grad(lambda x: x * x)(X), ValueError, r"returns shape \(3,\), and only a single number .*jacobian"),
        (lambda: grad(squares)(3), TypeError, r"write 1\.0 instead of 1"),
        (lambda: grad(lambda x: x.sum())(np.array([1, 2])), TypeError, r"int64: write 1\.0 instead of 1"),
        (lambda: grad(lambda x: [x])(1.0), TypeError, r"returns list; it must return one Tensor"),
        (lambda: grad(lambda x: None)(1.0), TypeError, r"returns NoneType"),
        (lambda: jacobian(lambda x: (x, x))(1.0), TypeError, r"returns tuple"),
        (lambda: grad(lambda x: x, 1)(1.0), ValueError, r"argnums=1: the function was called with 1 argument"),
        (lambda: grad(lambda x: x, (0, 2))(1.0), ValueError, r"argnums=2"),
        (lambda: grad(lambda x: x, -2)(1.0), ValueError, r"argnums=-2"),
        (lambda: grad(lambda x: x)(), ValueError, r"argnums=0: the function was called with 0 arguments"),
        (lambda: jacobian(lambda x: x, (0, 2))(1.0), ValueError, r"argnums=2"),
        (lambda: hessian(lambda x: x, (0, 1))(1.0), ValueError, r"argnums=1"),
        (lambda: jvp(np.sin, [X], [V, V]), ValueError, r"1 inputs? and 2 tangents"),
        (lambda: jvp(np.sin, [X], [V[:2]]), ValueError, r"input 0 has shape \(3,\), and its tangent has shape \(2,\)"),
        (lambda: hvp(squares, X, V[:2]), ValueError, r"x has shape \(3,\), and v has shape \(2,\)"),
        (lambda: vjp(np.sin, X)[1](V[:2]), ValueError, r"gradient= has shape \(2,\)"),
        (lambda: hessian(lambda x: x * x)(X), ValueError, r"only a single number"),
        (lambda: grad(Tensor(X, requires_grad=True)), TypeError, r"this is a Tensor: .* tg\.gradients\(loss, \[w\]\)"),
        (lambda: jacobian(1.0), TypeError, r"this is a float"),
        (lambda: hessian(1.0), TypeError, r"this is a float"),
        (lambda: grad(np.sin, {0, 1}), TypeError, r"argnums=\{0, 1\}: it is the place .* or a tuple"),
        (lambda: grad(np.sin, "x"), TypeError, r"argnums='x': it is the place"),
        (lambda: jacobian(np.sin, 1.0), TypeError, r"argnums=1\.0: it is the place"),
        (lambda: grad(lambda p: p["w"])({"w": X}), TypeError, r"one argument is a dict .* argnums=\(0, 1\)"),
        (lambda: grad(lambda p: p[0])((X, 1.0)), TypeError, r"one argument is a tuple .* argnums=\(0, 1\)"),
        (lambda: grad(lambda x: x)(x=1.0), ValueError, r"called with 0 arguments, and x by keyword, which are const"),
    ],
    ids=text_of,
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_what_is_passed_by_keyword_is_a_constant() -> None:
    def powers(x: Any, y: Any = 1.0, *, power: int = 2) -> Any:
        return (x**power * y).sum()

    np.testing.assert_array_equal(grad(powers)(X, power=3), 3 * X**2)
    np.testing.assert_array_equal(grad(powers)(X, y=2.0), 4 * X)
    np.testing.assert_array_equal(jacobian(powers, (0, 1))(X, 2.0, power=3)[1], (X**3).sum())
    np.testing.assert_array_equal(hessian(powers)(X, power=3), np.diag(6 * X))
    np.testing.assert_array_equal(hessian(powers, (0, 1))(X, 2.0, power=3)[0][1], 3 * X**2)
    outer = Tensor(5.0, requires_grad=True)
    grad(powers)(X, y=outer).sum().backward()  # a tensor that asks for gradients is a constant of this derivative only
    np.testing.assert_array_equal(outer.grad, 2 * X.sum())


def test_errors_name_the_function() -> None:
    with pytest.raises(ValueError, match="two_numbers returns shape"):
        grad(two_numbers)(1.0)


def two_numbers(x: Any) -> Any:
    return np.stack([x, x])


def test_an_error_inside_the_function_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        grad(lambda x: 1 // 0)(1.0)
