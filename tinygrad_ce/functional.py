"""Gradients, and functions of functions: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp, nested to any order.

All take a function of tensors that returns a tensor, and give back a function of arrays. Arrays in, arrays out; where a
Tensor that asks for gradients goes in, or where one derivative is taken inside another, Tensors come out, and can be
differentiated again.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.ancestry import leading_to
from tinygrad_ce.backward import recording, seed_of
from tinygrad_ce.core import Tensor, errors_module, interpreted, interpreter
from tinygrad_ce.source_lines import users_line
from tinygrad_ce.variable import ARRAY, COPY, PYTHON_NUMBER

Positions = int | Sequence[int]


def gradients(of: Tensor, wrt: Sequence[Tensor] | Tensor, create_graph: bool = False, gradient: Any = None) -> Any:
    """The gradients of one tensor with respect to others; `.grad` is left alone.

    wrt: a tensor, or a sequence of them; the answer is a gradient, or a list of them. Any tensor of the graph will do,
    and one that `of` does not depend on has gradient zero.
    create_graph: answer with Tensors that can be differentiated again, instead of with arrays.
    gradient: what is upstream of `of`, in its shape; 1 if `of` is a single number.
    Raises ValueError if a tensor did not ask for gradients, or `of` has no history.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> first = gradients(x * x * x, x, create_graph=True); gradients(first, x)
    array(18.)
    """
    tensors = [wrt] if isinstance(wrt, Tensor) else list(wrt)
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            label = tensor.label if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"gradients: {label} did not ask for gradients: make it with requires_grad=True")
    if not isinstance(of, Tensor):
        raise TypeError(f"gradients: the first argument is {type(of).__name__}; only a Tensor has a history")
    found: dict[int, Any] = {}
    sources = {tensor.serial for tensor in tensors}
    with recording(create_graph):
        for tensor, g in interpreter.get().walk(of, seed_of(of, gradient), leading_to(sources, of), create_graph):
            if tensor.serial in sources:
                found[tensor.serial] = g if isinstance(g, Tensor) else np.asarray(g)
    for tensor in tensors:
        if tensor.serial not in found:
            errors_module().check_passed_over(tensor, of)
            zero: Any = np.zeros_like(tensor.data)
            found[tensor.serial] = Tensor(zero) if create_graph else zero
    answers = [found[tensor.serial] for tensor in tensors]
    return answers[0] if isinstance(wrt, Tensor) else answers


def grad(f: Callable[..., Any], argnums: Positions = 0) -> Callable[..., Any]:
    """The function that computes the gradient of `f` with respect to the argument (or arguments) at `argnums`.

    f: returns a single number. Raises ValueError if it does not, TypeError if an argument is an integer.
    What is passed by keyword goes to `f` as it is.

    >>> grad(lambda x, power=2: x**power)(2.0, power=3)
    array(12.)
    >>> grad(grad(lambda x: x**3))(2.0)
    array(12.)
    """
    pair = value_and_grad(f, argnums)
    return lambda *inputs, **options: pair(*inputs, **options)[1]


def value_and_grad(f: Callable[..., Any], argnums: Positions = 0) -> Callable[..., Any]:
    """The function that computes `f` and its gradient together.

    argnums: the positions of the arguments that are differentiated, as in `grad`.

    >>> value_and_grad(lambda x: x**2)(3.0)
    (array(9.), array(6.))
    """

    _check_function(f, argnums)

    def both(*inputs: Any, **options: Any) -> tuple[Any, Any]:
        call = _Call(f, inputs, argnums, options)
        if call.out.size != 1:
            raise ValueError(
                f"grad: {_called(f)} returns shape {call.out.shape}, and only a single number has a gradient: "
                "reduce it with .sum() or .mean(), or use jacobian"
            )
        shares = call.pulled(None)
        return call.closed(call.out), call.closed(shares if isinstance(argnums, Sequence) else shares[0])

    return both


def vjp(f: Callable[..., Any], *inputs: Any) -> tuple[Any, Callable[[Any], Any]]:
    """`f(*inputs)`, and the function that pulls a gradient g of its shape back: (g times the Jacobian) per input.

    >>> out, pull = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    [array([ 2., 40.])]
    """
    call = _Call(f, inputs, range(len(inputs)))

    def pull(g: Any) -> Any:
        return call.pulled(g, call.nested or isinstance(g, Tensor))

    return call.closed(call.out), pull


def jvp(f: Callable[..., Any], inputs: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """`f(*inputs)`, and the change of its result when the inputs move along `tangents`: (the Jacobian times them).

    Forward mode out of reverse mode: the pullback is linear in g, and the gradient of a linear function is its
    transpose (J. Townsend, "A new trick for calculating Jacobian vector products", 2017).

    >>> jvp(lambda x: x * x, [np.array([1.0, 2.0])], [np.array([1.0, 10.0])])
    (array([1., 4.]), array([ 2., 40.]))
    """
    if not isinstance(inputs, (list, tuple)) or not isinstance(tangents, (list, tuple)):
        raise TypeError("jvp: inputs and tangents are lists, one entry for each argument: jvp(f, [x], [v])")
    if len(inputs) != len(tangents):
        raise ValueError(f"jvp: {len(inputs)} inputs and {len(tangents)} tangents; each input needs one")
    for i, (x, t) in enumerate(zip(inputs, tangents, strict=True)):
        if np.shape(x) != np.shape(t):
            raise ValueError(f"jvp: input {i} has shape {np.shape(x)}, and its tangent has shape {np.shape(t)}")
    call = _Call(f, inputs, range(len(inputs)))
    call.nested = call.nested or any(isinstance(t, Tensor) for t in tangents)
    g = Tensor(np.zeros_like(call.out.data), requires_grad=True)
    with recording(True):
        moved = _moved(call, g, tangents)
    return call.closed(call.out), gradients(moved, g, create_graph=call.nested)


def _moved(call: _Call, g: Tensor, tangents: Sequence[Any]) -> Any:
    """g . (the Jacobian times the tangents), as a function of g."""
    moved = ops.reduce_sum(g * 0)
    if call.out.requires_grad:
        linear = gradients(call.out, call.wrt, create_graph=True, gradient=g)  # the pullback of g
        for share, tangent in zip(linear, tangents, strict=True):
            moved = moved + ops.reduce_sum(share * tangent)
    return moved


def jacobian(f: Callable[..., Any], argnums: Positions = 0) -> Callable[..., Any]:
    """The function that computes d f / d x, of shape (shape of f) + (shape of x): one backward per element of f.

    argnums: which argument is x; for a sequence of them, the answer is a tuple of such arrays. Raises as `grad`.

    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    >>> jacobian(lambda x, y: x * y, argnums=(0, 1))(2.0, 3.0)
    (array(3.), array(2.))
    """

    _check_function(f, argnums)

    def matrices(*inputs: Any, **options: Any) -> Any:
        call = _Call(f, inputs, argnums, options)
        rows = [call.pulled(unit.reshape(call.out.shape)) for unit in np.eye(call.out.size, dtype=call.out.dtype)]
        answers = []
        for i, x in enumerate(call.wrt):
            shape = call.out.shape + x.shape
            if rows:
                answers.append(ops.reshape(ops.stack(*(row[i] for row in rows)), shape=shape))
            else:
                answers.append(call.closed(Tensor(np.zeros(shape, x.dtype))))
        return tuple(answers) if isinstance(argnums, Sequence) else answers[0]

    return matrices


def hessian(f: Callable[..., Any], argnums: Positions = 0) -> Callable[..., Any]:
    """The function that computes the second derivatives of a single number: shape (shape of x) twice.

    argnums: which argument is x; for a sequence, the answer is a tuple of tuples: d^2 f / (d x_i d x_j) is at [i][j],
    of shape (shape of x_i) + (shape of x_j). Raises as `grad`.

    >>> hessian(lambda x: (x**3).sum())(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    >>> hessian(lambda x, y: x * x * y, argnums=(0, 1))(2.0, 3.0)
    ((array(6.), array(4.)), (array(4.), array(0.)))
    """
    if isinstance(argnums, Sequence):
        rows = [jacobian(grad(f, i), argnums) for i in argnums]
        return lambda *inputs, **options: tuple(row(*inputs, **options) for row in rows)
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """The Hessian of `f` at x, times v, at the price of two backward passes: the Hessian itself is never made.

    >>> hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    if np.shape(x) != np.shape(v):
        raise ValueError(f"hvp: x has shape {np.shape(x)}, and v has shape {np.shape(v)}")
    return grad(lambda inner: ops.reduce_sum(grad(f)(inner) * v))(x)


# ---- what a function that is differentiated may not do


class LeftTheGraphError(TypeError):
    """What depends on the argument of a function that is being differentiated became a plain number or array."""


@contextmanager
def kept_in_the_graph(sources: Sequence[Tensor]) -> Iterator[None]:
    """Inside, what depends on these tensors cannot become a plain number or array: its share would be missing.

    Results are recorded there, also inside no_grad(): a derivative cannot do without.
    Truth (`if x > 0:`) and text are allowed: a choice between branches has no gradient, and text is for reading. What
    says aloud that it leaves the graph is allowed too: `.data`, `.numpy()`, `.detach()`. Raises LeftTheGraphError.
    """
    serials = {source.serial for source in sources}

    def depends(x: Any) -> bool:
        return isinstance(x, Tensor) and x.requires_grad and bool(leading_to(serials, x))

    def numbers(inner: Any, x: Any, why: Any) -> Any:
        if why == ARRAY and depends(x):
            raise _left_the_graph(x, "became a plain array", "call the function or the model itself on the tensor")
        if why == PYTHON_NUMBER and depends(x):
            raise _left_the_graph(
                x,
                "became a Python number",
                "compute with np.exp, np.sin... instead of math.exp, math.sin..., join numbers with np.stack([a, b]) "
                "instead of writing them into an array, sum and average with .sum() and .mean()",
            )
        if why == COPY and depends(x):
            raise _left_the_graph(x, "was copied", "use the tensor itself: nothing ever writes to it")
        return inner(x, why)

    def walk(inner: Any, of: Tensor, seed: Any, needed: Any = None, create_graph: bool = False, *rest: Any) -> Any:
        if not create_graph and depends(of):
            raise _left_the_graph(
                of,
                "was differentiated into plain arrays",
                "take the inner derivative with tg.grad, or with tg.gradients(..., create_graph=True)",
            )
        return inner(of, seed, needed, create_graph, *rest)

    try:
        with interpreted(recording=True, numbers=numbers, walk=walk):
            yield
    except ValueError as error:  # `array[0] = t`: NumPy hides what float(t) raised behind words of its own
        if isinstance(error.__cause__, LeftTheGraphError):
            raise error.__cause__ from None
        raise


def _left_the_graph(x: Tensor, what: str, cure: str) -> LeftTheGraphError:
    line = users_line()
    return LeftTheGraphError(
        f"{x.label} {what} ({line.text or 'a call'} at {line.short}) inside a function that is being differentiated, "
        f"and it depends on the argument of that function, so that its share of the gradient would be lost: {cure}; if "
        "it is meant as a constant, say so with .data, as in float(t.data)"
    )


class _Depth(threading.local):
    """How many derivatives are being taken around this one, in this thread."""

    value = 0


_depth = _Depth()


class _Call:
    """One call of f with fresh tensors at argnums: its result, and what is needed to pull a gradient back through it.

    A tensor that was passed in gets a new number: the function may also reach it by another road (a closure), and that
    road is no part of this derivative.
    """

    def __init__(
        self, f: Callable[..., Any], inputs: Sequence[Any], argnums: Positions, options: dict[str, Any] | None = None
    ) -> None:
        positions = [operator.index(i) for i in (argnums if isinstance(argnums, Sequence) else [argnums])]
        arguments = list(inputs)
        self.nested = _depth.value > 0 or any(
            isinstance(x, Tensor) and x.requires_grad for x in (*inputs, *(options or {}).values())
        )
        for i in positions:
            if not -len(inputs) <= i < len(inputs):
                by_name = f", and {', '.join(options)} by keyword, which are constants" if options else ""
                raise ValueError(f"argnums={i}: the function was called with {len(inputs)} arguments{by_name}")
            arguments[i] = _opened(inputs[i])
        self.wrt = [arguments[i] for i in positions]
        _depth.value += 1
        try:
            with kept_in_the_graph(self.wrt):
                self.out = _result(f(*arguments, **(options or {})), f)
        finally:
            _depth.value -= 1

    def pulled(self, g: Any, nested: bool | None = None) -> list[Any]:
        """The gradient g of the result, pulled back to each tensor of `wrt`."""
        nested = self.nested if nested is None else nested
        if not self.out.requires_grad:  # a constant function
            zeros = [np.zeros_like(x.data) for x in self.wrt]
            return [Tensor(zero) for zero in zeros] if nested else zeros
        shares: list[Any] = gradients(self.out, self.wrt, create_graph=nested, gradient=g)
        return shares

    def closed(self, value: Any) -> Any:
        """What leaves: arrays from the outermost derivative, Tensors from those inside."""
        if isinstance(value, list):
            return [self.closed(v) for v in value]
        return value.data if isinstance(value, Tensor) and not self.nested else value


def _opened(x: Any) -> Tensor:
    if isinstance(x, Tensor) and x.requires_grad:
        opened: Tensor = ops.identity(x)
        return opened
    if isinstance(x, dict) or (isinstance(x, (list, tuple)) and len({np.shape(inner) for inner in x}) > 1):
        raise TypeError(
            f"one argument is a {type(x).__name__} of arrays: pass each of them as an argument of its own, and list "
            "their places, as in tg.grad(lambda W, b: ..., argnums=(0, 1))(W, b)"
        )
    return Tensor(x.data if isinstance(x, Tensor) else x, requires_grad=True)


def _check_function(f: Any, argnums: Any) -> None:
    """TypeError for what is no function, or says in other ways than numbers by which arguments to differentiate."""
    if not callable(f):
        raise TypeError(
            f"a function is differentiated, and this is a {type(f).__name__}: write tg.grad(f)(x); for the gradients "
            "of a tensor that is there already, tg.gradients(loss, [w])"
        )
    positions = argnums if isinstance(argnums, Sequence) and not isinstance(argnums, str) else [argnums]
    if not all(hasattr(i, "__index__") and np.ndim(i) == 0 for i in positions):
        raise TypeError(f"argnums={argnums!r}: it is the place of an argument, counted from 0, or a tuple of places")


def _result(out: Any, f: Callable[..., Any]) -> Tensor:
    if isinstance(out, Tensor):
        return out
    if isinstance(out, (int, float, np.ndarray, np.generic)):
        return Tensor(out)  # a constant function
    raise TypeError(
        f"{_called(f)} returns {type(out).__name__}; it must return one Tensor"
        + (" (does every branch of it return?)" if out is None else "")
    )


def _called(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", repr(f))
