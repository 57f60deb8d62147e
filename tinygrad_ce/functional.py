"""Functions of functions: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp; they nest to any order.

All take a function of tensors that returns a tensor, and give back a function of arrays (or of tensors, where they are
nested: what comes in as an array goes out as one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.backward import gradients
from tinygrad_ce.core import Tensor

Positions = int | Sequence[int]


def grad(f: Callable[..., Any], argnums: Positions = 0) -> Callable[..., Any]:
    """The function that computes the gradient of `f` with respect to the argument (or arguments) at `argnums`.

    f: returns a single number. Raises ValueError if it does not, TypeError if an argument is an integer.

    >>> grad(lambda x: x**3)(2.0)
    array(12.)
    >>> grad(grad(lambda x: x**3))(2.0)
    array(12.)
    """
    pair = value_and_grad(f, argnums)
    return lambda *inputs: pair(*inputs)[1]


def value_and_grad(f: Callable[..., Any], argnums: Positions = 0) -> Callable[..., Any]:
    """The function that computes `f` and its gradient together.

    >>> value_and_grad(lambda x: x**2)(3.0)
    (array(9.), array(6.))
    """

    def both(*inputs: Any) -> tuple[Any, Any]:
        arguments, wrt, nested = _opened(inputs, argnums)
        out = _result(f(*arguments), f)
        if out.size != 1:
            raise ValueError(
                f"grad: {_called(f)} returns shape {out.shape}, and only a single number has a gradient: reduce it "
                "with .sum() or .mean(), or use jacobian"
            )
        return _closed(out, nested), _closed(_pull(out, wrt, None, nested, argnums), nested)

    return both


def vjp(f: Callable[..., Any], *inputs: Any) -> tuple[Any, Callable[[Any], Any]]:
    """`f(*inputs)`, and the function that pulls a gradient g of its shape back: (g times the Jacobian) per input.

    >>> out, pull = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    [array([ 2., 40.])]
    """
    arguments, wrt, nested = _opened(inputs, tuple(range(len(inputs))))
    out = _result(f(*arguments), f)

    def pull(g: Any) -> Any:
        return _closed(_pull(out, wrt, g, nested or isinstance(g, Tensor), ()), nested or isinstance(g, Tensor))

    return _closed(out, nested), pull


def jvp(f: Callable[..., Any], inputs: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """`f(*inputs)`, and the change of its result when the inputs move along `tangents`: (the Jacobian times them).

    Forward mode out of reverse mode: the pullback is linear in g, and the gradient of a linear function is its
    transpose (J. Townsend, "A new trick for calculating Jacobian vector products", 2017).

    >>> jvp(lambda x: x * x, [np.array([1.0, 2.0])], [np.array([1.0, 10.0])])
    (array([1., 4.]), array([ 2., 40.]))
    """
    if len(inputs) != len(tangents):
        raise ValueError(f"jvp: {len(inputs)} inputs and {len(tangents)} tangents; each input needs one")
    for i, (x, t) in enumerate(zip(inputs, tangents, strict=True)):
        if np.shape(x) != np.shape(t):
            raise ValueError(f"jvp: input {i} has shape {np.shape(x)}, and its tangent has shape {np.shape(t)}")
    arguments, wrt, nested = _opened(inputs, tuple(range(len(inputs))))
    nested = nested or any(isinstance(t, Tensor) for t in tangents)
    out = _result(f(*arguments), f)
    if not out.requires_grad:
        return _closed(out, nested), np.zeros_like(out.data)
    g = Tensor(np.zeros_like(out.data), requires_grad=True)
    pulled = ops.identity(g) * out  # linear in g: its gradients are the pullback of g
    shares = gradients(pulled.sum(), wrt, create_graph=True)
    moved = sum((ops.reduce_sum(share * t) for share, t in zip(shares, tangents, strict=True)), start=Tensor(0.0))
    if not moved.requires_grad:
        return _closed(out, nested), np.zeros_like(out.data)
    return _closed(out, nested), gradients(moved, g, create_graph=nested)


def jacobian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """The function that computes d f / d x, of shape (shape of f) + (shape of x): one backward per element of f.

    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def matrix(*inputs: Any) -> Any:
        arguments, wrt, nested = _opened(inputs, argnum)
        out = _result(f(*arguments), f)
        rows = []
        for i in range(out.size):
            unit = np.zeros(out.size, out.dtype)
            unit[i] = 1
            rows.append(_pull(out, wrt, unit.reshape(out.shape), nested, argnum))
        shape = out.shape + wrt[0].shape
        if not rows:
            return np.zeros(shape, wrt[0].dtype)
        return ops.reshape(ops.stack(*rows), shape=shape)

    return matrix


def hessian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """The function that computes the second derivatives of a single number: shape (shape of x) twice.

    >>> hessian(lambda x: (x**3).sum())(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacobian(grad(f, argnum), argnum)


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """The Hessian of `f` at x, times v, at the price of two backward passes: the Hessian itself is never made.

    >>> hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    if np.shape(x) != np.shape(v):
        raise ValueError(f"hvp: x has shape {np.shape(x)}, and v has shape {np.shape(v)}")
    return grad(lambda inner: ops.reduce_sum(grad(f)(inner) * v))(x)


def _opened(inputs: Sequence[Any], argnums: Positions) -> tuple[list[Any], list[Tensor], bool]:
    """The arguments, with fresh tensors at argnums; those; and whether we are inside another derivative.

    A tensor that was passed in gets a new number: the function may also reach it by another road (a closure), and that
    road is no part of this derivative.
    """
    positions = [argnums] if isinstance(argnums, int) else list(argnums)
    arguments = list(inputs)
    nested = any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
    for i in positions:
        if not -len(inputs) <= i < len(inputs):
            raise ValueError(f"argnums={i}: the function was called with {len(inputs)} arguments")
        x = inputs[i]
        if isinstance(x, Tensor) and x.requires_grad:
            arguments[i] = ops.identity(x)
        else:
            arguments[i] = Tensor(x.data if isinstance(x, Tensor) else x, requires_grad=True)
    return arguments, [arguments[i] for i in positions], nested


def _pull(out: Tensor, wrt: list[Tensor], g: Any, nested: bool, argnums: Any) -> Any:
    shares = gradients(out, wrt, create_graph=nested, gradient=g)
    return shares[0] if isinstance(argnums, int) else shares


def _result(out: Any, f: Callable[..., Any]) -> Tensor:
    if isinstance(out, Tensor):
        return out
    if isinstance(out, (int, float, np.ndarray, np.generic)):
        return Tensor(out)  # a constant function
    raise TypeError(f"{_called(f)} returns {type(out).__name__}; it must return one Tensor")


def _called(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", repr(f))


def _closed(value: Any, nested: bool) -> Any:
    if isinstance(value, list):
        return [_closed(v, nested) for v in value]
    return value.data if isinstance(value, Tensor) and not nested else value
