"""Random graphs, written for our tensors and for the autograd package at once: an oracle for every tensor of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd
import autograd.numpy as anp
import autograd.scipy.special
import numpy as np
from hypothesis import strategies as st

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor

UNARY: dict[str, Callable[[Any, Any], Any]] = {
    "sin": lambda np, a: np.sin(a),
    "tanh": lambda np, a: np.tanh(a),
    "bell": lambda np, a: np.exp(-a * a),
    "log1p": lambda np, a: np.log1p(a * a),
    "root": lambda np, a: np.sqrt(1 + a * a),
    "cube": lambda np, a: (0.5 * a) ** 3,
    "absolute": lambda np, a: np.abs(a),
    "mean": lambda np, a: a - np.mean(a),
    "sum0": lambda np, a: np.sum(a, axis=0, keepdims=True) if a.ndim else a,
    "max1": lambda np, a: np.max(a, axis=-1, keepdims=True) * a if a.ndim else a,
    "var": lambda np, a: a + np.var(a),
    "flip": lambda np, a: a[..., ::-1] if a.ndim else a,
    "rows": lambda np, a: a[[0, -1, 0]][:1] if a.ndim else a,
    "gram": lambda np, a: np.sum(np.dot(a, np.transpose(a))) * 0.1 if a.ndim == 2 else a,
    "there and back": lambda np, a: np.reshape(np.ravel(a), a.shape),
    "clip": lambda np, a: np.clip(a, -0.9, 0.9),
}
BINARY: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda np, a, b: a + b,
    "sub": lambda np, a, b: a - b,
    "mul": lambda np, a, b: a * b,
    "div": lambda np, a, b: a / (2 + np.sin(b)),
    "maximum": lambda np, a, b: np.maximum(a, b),
    "where": lambda np, a, b: np.where(np.cos(a + b) > 0.5, a + 0 * b, b + 0 * a),
    "pow": lambda np, a, b: (1 + a * a) ** np.tanh(b),
    "stack": lambda np, a, b: np.sum(np.stack([a + b, a * b]), axis=0),
    "join": lambda np, a, b: np.sum(np.concatenate([np.ravel(a), np.ravel(b)])) * 0.3,
    "logaddexp": lambda np, a, b: np.logaddexp(a, b),
}
INPUTS = [(), (2,), (3, 2), (3, 1), (1, 2)]


def ours(op: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    """A primitive of ours on tensors, and what it computes in NumPy's words elsewhere."""
    return lambda np, *xs: op(*xs) if any(isinstance(x, Tensor) for x in xs) else theirs(np, *xs)


def softmax(np: Any, a: Any) -> Any:
    e = np.exp(a - np.max(a, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def erf(np: Any, a: Any) -> Any:
    return autograd.scipy.special.erf(a)


def clipped(np: Any, a: Any) -> Any:
    """With slope 1 at the bounds themselves, as ours."""
    return np.where(np.abs(a) <= 0.9, a, 0 * a + 0.9 * np.sign(a))


MORE_UNARY: dict[str, Callable[..., Any]] = {
    "square": lambda np, a: a * a,
    "three times": lambda np, a: a * a + a,
    "joined with itself": lambda np, a: np.concatenate([a, a])[len(a) :] if a.ndim else a * 2,
    "stacked": lambda np, a: np.sum(np.stack([a, a, a]), axis=0) / 3,
    "squared rows": lambda np, a: np.reshape(np.einsum("ij,ij->i", a, a), (-1, 1)) if a.ndim == 2 else a,
    "gathered": lambda np, a: np.reshape(a[[0, 0, -1], [-1, 0, 0]], (3, 1)) if a.ndim == 2 else a,
    "masked": lambda np, a: np.where(a > 0, a, a * a),
    "mean of rows": lambda np, a: np.mean(a, axis=0) if a.ndim == 2 else a,
    "smallest": lambda np, a: a - np.min(a),
    "sigmoid": lambda np, a: ours(ops.sigmoid, lambda np, a: 1 / (1 + np.exp(-a)))(np, a),
    "softplus": lambda np, a: ours(ops.softplus, lambda np, a: np.log(1 + np.exp(a)))(np, a),
    "relu": lambda np, a: ours(ops.relu, lambda np, a: np.where(a > 0, a, 0 * a))(np, a),
    "softmax": lambda np, a: ours(ops.softmax, softmax)(np, a) if a.ndim else a,
    "log": lambda np, a: np.log(0.5 + a * a),
    "clip": lambda np, a: ours(lambda a: ops.clip(a, low=-0.9, high=0.9), clipped)(np, a),
    "arctan": lambda np, a: np.arctan(a),
    "arcsinh": lambda np, a: np.arcsinh(a),
    "erf": lambda np, a: ours(ops.erf, erf)(np, a),
    "mod": lambda np, a: np.mod(a, 0.7),
    "cumsum": lambda np, a: np.cumsum(a, axis=0) if a.ndim else a,
    "sort": lambda np, a: np.sort(a, axis=0) * a if a.ndim == 1 else a,  # autograd sorts vectors only
    "prod": lambda np, a: np.prod(np.tanh(a)),
    "mirrored": lambda np, a: ours(lambda a: np.flip(a, axis=0), lambda np, a: a[::-1])(np, a) * a if a.ndim else a,
    "padded": lambda np, a: np.sum(np.pad(a, 1, "constant") ** 2) * 0.1,
    "rolled": lambda np, a: np.roll(a, 1, axis=0) * a if a.ndim else a,
    "triangle": lambda np, a: np.tril(a) if a.ndim == 2 else a,
    "repeated": lambda np, a: np.sum(np.repeat(a, 2, axis=0) ** 2) * 0.1 if a.ndim else a,
    "norm": lambda np, a: np.sqrt(1 + np.sum(a * a)),
    "transposed twice": lambda np, a: np.transpose(np.tanh(np.transpose(a))),
}
MORE_BINARY: dict[str, Callable[..., Any]] = {
    "product": lambda np, a, b: (
        np.dot(a, np.transpose(b)) if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1] == 2 else a * b
    ),
    "layer": lambda np, a, b: (
        ours(ops.affine, lambda np, x, W, c: np.dot(x, W) + c)(np, a, np.transpose(b), b[0, 0])
        if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1]
        else a - b
    ),
    "in one": lambda np, a, b: np.sum(np.concatenate([np.ravel(a), np.ravel(b), np.ravel(a)]) ** 2) * 0.1,
}
_NARROW = ("product", "layer")  # their results have other sizes than the inputs, so they are summed at once
ALL = UNARY | BINARY | MORE_UNARY | MORE_BINARY
STEP = st.one_of(
    st.tuples(st.sampled_from(sorted(UNARY | MORE_UNARY)), st.integers(0, 30)),
    st.tuples(st.sampled_from(sorted(BINARY | MORE_BINARY)), st.integers(0, 30), st.integers(0, 30)),
)
Graph = list[tuple[Any, ...]]
GRAPHS = st.lists(STEP, min_size=1, max_size=10)
DATA = np.array([[0.3, -0.7], [1.1, 0.4], [-0.9, 0.2]])


def run_graph(
    numpy: Any, graph: Graph, inputs: list[Any], shifts: list[Any] | None = None, data: Any = DATA
) -> tuple[Any, list[Any]]:
    """The loss, and all values: inputs, an array of data, and one more for each step.

    shifts: what is added to each of them after it was made. The slope along a shift is the gradient of the value.
    """
    values = [*inputs, data]
    if shifts is not None:
        values = [value + shift for value, shift in zip(values, shifts, strict=False)]
    for name, *operands in graph:
        value = ALL[name](numpy, *(values[i % len(values)] for i in operands))
        value = numpy.sum(value) * 0.1 if name in _NARROW else value
        if not any(value is other for other in values):  # a step that has nothing to do there hands on what it gets
            values.append(value if shifts is None else value + shifts[len(values)])
    used = values[: len(INPUTS)] + values[-3:]
    return sum((numpy.sum(numpy.sin(value)) for value in used), start=0.0), values


def drawn_inputs(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=shape)) for shape in INPUTS]


def recorded_graph(graph: Graph, inputs: list[np.ndarray]) -> tuple[Tensor, list[Any]]:
    """The loss and the values, as tensors of ours."""
    tensors = [Tensor(x, requires_grad=True, name=f"leaf{i}") for i, x in enumerate(inputs)]
    return run_graph(np, graph, tensors)


def gradients_by_autograd(graph: Graph, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The gradient of the loss with respect to each value, by another library."""
    _, values = run_graph(np, graph, inputs)
    nowhere = [np.zeros(np.shape(value)) for value in values]
    found: list[np.ndarray] = autograd.grad(lambda shifts: run_graph(anp, graph, inputs, shifts)[0])(nowhere)
    return found
