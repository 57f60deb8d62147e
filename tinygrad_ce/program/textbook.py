"""What textbooks write for operations that the engine computes with more digits: small NumPy functions.

They run, and `numpy_text.py` prints their bodies in the open: an assignment becomes a line of its own, what is
returned stands in the line of the operation, and each `if` is decided while printing, because it asks for options and
shapes alone. A number is a constant of the program; what may be another one in the next step is an array.
Sources: Goodfellow, Bengio and Courville, Deep Learning (2016), 6.2.2; Bishop, Pattern Recognition (2006), 4.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Primitive
from tinygrad_ce.ops.indexing import filled

F = TypeVar("F", bound=Callable[..., Any])

FORMS: dict[str, Callable[..., Any]] = {}  # by the name of the operation
LOSES: dict[str, str] = {}  # by the name of the form: what it gives up, which exact=True keeps
RULES: dict[str, Callable[..., Any]] = {}  # by the name of the operation: its rule, from its result


def form(op: Primitive, loses: str = "") -> Callable[[F], F]:
    """The decorated function is the form of this operation. loses: what it gives up.

    It takes the arguments of the operation, and besides them the `dtype` of the result if it asks for it.
    """

    def register(function: F) -> F:
        FORMS[op.name] = function
        if loses:
            LOSES[function.__name__] = loses
        return function

    return register


def rule(op: Primitive) -> Callable[[F], F]:
    """The decorated function is the rule of this operation, as it is written with the result that is there already."""

    def register(function: F) -> F:
        RULES[op.name] = function
        return function

    return register


# ---- squashing functions


@form(ops.sigmoid, loses="overflows for z < -709, in float32 for z < -88")
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


@form(ops.sigmoid_slope, loses="1 - h loses digits for large z")
def sigmoid_slope(x: Any) -> Any:
    """The derivative of the sigmoid."""
    h = sigmoid(x)
    return h * (1 - h)


@form(ops.tanh_slope, loses="1 - h * h loses digits for large |z|")
def tanh_slope(x: Any) -> Any:
    """The derivative of tanh."""
    h = np.tanh(x)
    return 1 - h * h


@form(ops.softplus, loses="overflows for z > 709, in float32 for z > 88")
def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return np.log(1 + np.exp(x))


@form(ops.erf)
def erf(x: Any, *, dtype: Any) -> Any:
    """NumPy has none; Python's takes one number at a time."""
    return np.vectorize(math.erf, otypes=[dtype])(x)


@form(ops.erfc)
def erfc(x: Any, *, dtype: Any) -> Any:
    """1 - erf(x)."""
    return np.vectorize(math.erfc, otypes=[dtype])(x)


@form(ops.softmax)
def softmax(x: Any, *, axis: int = -1) -> Any:
    """exp(x) over its sum; less the largest, so that it does not overflow."""
    e = np.exp(x - x.max(axis=axis_of(x, axis), keepdims=True))
    p = e / e.sum(axis=axis_of(x, axis), keepdims=True)
    return p


@form(ops.softmax_grad, loses="p * (v - ...) loses digits for p near 1")
def softmax_grad(v: Any, p: Any, *, axis: int) -> Any:
    """The Jacobian of the softmax, diag(p) - p p', times v."""
    return p * (v - (p * v).sum(axis=axis_of(p, axis), keepdims=True))


@form(ops.deviation, loses="v - sum(p * v) loses digits for p near 1")
def deviation(v: Any, x: Any, *, axis: int) -> Any:
    """v less its mean under softmax(x)."""
    p = softmax(x, axis=axis)
    return v - (p * v).sum(axis=axis_of(x, axis), keepdims=True)


@form(ops.logsumexp, loses="overflows for z > 709, in float32 for z > 88")
def logsumexp(x: Any, *, axis: Any, keepdims: bool) -> Any:
    """log(sum(exp(x)))."""
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


@form(ops.log_softmax, loses="loses digits where it is near 0")
def log_softmax(x: Any, *, axis: int) -> Any:
    """x - log(sum(exp(x)))."""
    below = x - x.max(axis=axis_of(x, axis), keepdims=True)
    return below - np.log(np.exp(below).sum(axis=axis_of(x, axis), keepdims=True))


@form(ops.log_softmax_grad, loses="v - p * sum(v) loses digits for p near 1")
def log_softmax_grad(v: Any, x: Any, *, axis: int) -> Any:
    """The Jacobian of log_softmax, transposed, times v."""
    p = softmax(x, axis=axis)
    return v - p * v.sum(axis=axis_of(x, axis), keepdims=True)


def axis_of(x: Any, axis: Any) -> Any:
    """The axis as a number from 0."""
    return axis % x.ndim if isinstance(axis, int) and x.ndim else axis


# ---- the cross-entropy of classes


@form(ops.xent, loses="log(p) loses digits for p near 1")
def xent(z: Any, y: Any, w: Any, *, smoothing: float, reduction: str, ignore_index: int | None) -> Any:
    """-log(p[y]) of each row, or with label smoothing -sum(target * log(p))."""
    p = softmax(z)
    label = label_of(y, z, ignore_index)
    if smoothing:
        target = smoothed(label, z.shape[-1], smoothing, dtype=z.dtype)
        return -reduced(times(counted(y, ignore_index), (times(w, target) * np.log(p)).sum(axis=-1)), reduction)
    n = len(y)
    weight = times(counted(y, ignore_index), weight_of(label, w))
    return -reduced(times(weight, np.log(p[np.arange(n), label])), reduction)


@form(ops.xent_grad, loses="p - 1 loses digits for p near 1")
def xent_grad(
    upstream: Any, z: Any, y: Any, w: Any, *, smoothing: float, reduction: str, ignore_index: int | None
) -> Any:
    """p - one_hot of each row, with smoothing p - target."""
    p = softmax(z)
    label = label_of(y, z, ignore_index)
    if smoothing:
        target = smoothed(label, z.shape[-1], smoothing, dtype=z.dtype)
        return over_rows(times(of_rows(upstream, y, ignore_index), weighted_slope(p, target, w)), y, reduction)
    weight = times(counted(y, ignore_index), weight_of(label, w))
    one = one_hot(label, z.shape[-1], dtype=z.dtype)
    return over_rows(times(times(column(upstream), column(weight)), p - one), y, reduction)


@form(ops.target_mass)
def target_mass(z: Any, y: Any, w: Any, *, smoothing: float, ignore_index: int | None, dtype: Any) -> Any:
    """What each row counts for: the sum of its target."""
    label = label_of(y, z, ignore_index)
    rows = np.ones(len(y), dtype=dtype) if ignore_index is None else (y != ignore_index).astype(dtype)
    if np.ndim(w) and smoothing:
        return rows * ((1 - smoothing) * w[label] + smoothing * w.mean())
    return times(rows, weight_of(label, w))


@form(ops.soft_xent, loses="gives nan for 0 * log(0)")
def soft_xent(z: Any, q: Any, w: Any, *, smoothing: float, reduction: str) -> Any:
    """-sum(target * log(p)) of each row."""
    p = softmax(z)
    return -reduced((times(w, mixed(q, z.shape[-1], smoothing)) * np.log(p)).sum(axis=-1), reduction)


@form(ops.soft_xent_grad, loses="p - q loses digits where they are near")
def soft_xent_grad(upstream: Any, z: Any, q: Any, w: Any, *, smoothing: float, reduction: str) -> Any:
    """p - target of each row."""
    p = softmax(z)
    return over_rows(times(column(upstream), weighted_slope(p, mixed(q, z.shape[-1], smoothing), w)), z, reduction)


def weighted_slope(p: Any, target: Any, w: Any) -> Any:
    """p sum(target) - target: the sum of a target is 1, unless classes have weights."""
    if np.ndim(w):
        weighted = w * target
        return weighted.sum(axis=-1, keepdims=True) * p - weighted
    return times(w, p - target)


def one_hot(y: Any, classes: int, *, dtype: Any = float) -> Any:
    """(N, classes): 1 where the class is the row's own, else 0.

    >>> one_hot(np.array([1, 0]), 2)
    array([[0., 1.],
           [1., 0.]])
    """
    one_hot = np.eye(classes, dtype=dtype)[y]
    return one_hot


def smoothed(y: Any, classes: int, smoothing: float, *, dtype: Any = float) -> Any:
    """(N, classes): the one-hot rows with label smoothing: (1 - smoothing) of them, and smoothing / classes everywhere.

    >>> smoothed(np.array([1, 0]), 2, 0.1)
    array([[0.05, 0.95],
           [0.95, 0.05]])
    """
    return (1 - smoothing) * one_hot(y, classes, dtype=dtype) + smoothing / classes


def mixed(q: Any, classes: int, smoothing: float) -> Any:
    """Soft labels with label smoothing."""
    return (1 - smoothing) * q + smoothing / classes if smoothing else q


def label_of(y: Any, z: Any, ignore_index: int | None) -> Any:
    """The labels as an index: an ignored one may be no class."""
    is_class = ignore_index is None or -z.shape[-1] <= ignore_index < z.shape[-1]
    return y if is_class else np.where(y == ignore_index, 0, y)


def counted(y: Any, ignore_index: int | None) -> Any:
    """Which rows are not ignored."""
    return 1.0 if ignore_index is None else y != ignore_index


def weight_of(label: Any, w: Any) -> Any:
    """The weight of each row: that of its class."""
    return w[label] if np.ndim(w) else w


def of_rows(upstream: Any, y: Any, ignore_index: int | None) -> Any:
    """What comes from above to each row: nothing to an ignored one."""
    return times(column(upstream), column(counted(y, ignore_index)))


def column(x: Any) -> Any:
    """One number for each row, so that it broadcasts along the classes."""
    return x[:, None] if np.ndim(x) else x


# ---- the binary cross-entropy


@form(ops.sigmoid_xent, loses="log(1 - p) loses digits for p near 0")
def sigmoid_xent(z: Any, y: Any, w: Any, weight: Any, *, reduction: str) -> Any:
    """-(y log(p) + (1 - y) log(1 - p)) of each element; w: how much a positive counts."""
    p = sigmoid(z)
    return -reduced(times(weight, times(w, y) * np.log(p) + (1 - y) * np.log(1 - p)), reduction)


@form(ops.sigmoid_xent_grad, loses="p - y loses digits where they are near")
def sigmoid_xent_grad(upstream: Any, z: Any, y: Any, w: Any, weight: Any, *, reduction: str) -> Any:
    """p - y of each element."""
    p = sigmoid(z)
    weight = times(upstream, weight)
    return over_elements(times(weight, p - y if is_one(w) else (1 - y) * p - w * y * (1 - p)), z, reduction)


# ---- what the losses have in common


def is_one(x: Any) -> bool:
    """Whether this is the constant 1; an array may hold other numbers in the next step."""
    return isinstance(x, (int, float)) and x == 1


def times(factor: Any, x: Any) -> Any:
    """factor * x, as one would write it for a factor 1."""
    if is_one(factor):
        return x
    return factor if is_one(x) else factor * x


def reduced(losses: Any, reduction: str) -> Any:
    """The losses of all rows as one, if that is wanted."""
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def over_rows(slope: Any, rows: Any, reduction: str) -> Any:
    """The slope of a mean is divided by how many rows it is of."""
    if reduction != "mean":
        return slope
    n = len(rows)
    return slope / n


def over_elements(slope: Any, elements: Any, reduction: str) -> Any:
    """The slope of a mean is divided by how many elements it is of."""
    if reduction != "mean":
        return slope
    n = elements.size
    return slope / n


@form(ops.xlogy, loses="gives nan for 0 * log(0)")
def xlogy(x: Any, y: Any) -> Any:
    """x log(y); of one array it is an entropy, where 0 log(0) is usual."""
    if x is y:
        return x * np.log(np.where(x == 0, 1, x))
    return x * (np.log(y) if np.ndim(y) else float(np.log(y)))  # of a number, so that float32 stays what it is


@form(ops.xlog1py)
def xlog1py(x: Any, y: Any) -> Any:
    """x log(1 + y)."""
    return x * (np.log(1 + y) if np.ndim(y) else float(np.log(1 + y)))


@form(ops.xdivy, loses="gives nan for 0 / 0")
def xdivy(x: Any, y: Any) -> Any:
    """The slope of x log(y)."""
    return x / y


# ---- arrays of zeros into which something is put


@form(ops.scatter_add)
def scatter_add(values: Any, *indices: Any, pattern: tuple[Any, ...], shape: tuple[int, ...], dtype: Any) -> Any:
    """The gradient of an indexing: an element may be taken several times, and its shares add up."""
    out = np.zeros(size(shape), dtype=dtype)
    if indices:
        np.add.at(out, filled(pattern, indices), values)
    else:
        out[filled(pattern, indices)] = values
    return out


@form(ops.place)
def place(values: Any, y: Any, *, classes: int, dtype: Any) -> Any:
    """One value in each row."""
    out = np.zeros((len(y), classes), dtype=dtype)
    out[np.arange(len(y)), y] = values
    return out


@form(ops.pick)
def pick(x: Any, y: Any) -> Any:
    """One element of each row."""
    return x[np.arange(len(y)), y]


@form(ops.take_along_axis)
def take_along_axis(x: Any, indices: Any, *, axis: int) -> Any:
    """As NumPy has it."""
    return np.take_along_axis(x, indices, axis=axis)


@form(ops.add_along_axis)
def add_along_axis(values: Any, indices: Any, *, axis: int, shape: tuple[int, ...], dtype: Any) -> Any:
    """The gradient of take_along_axis."""
    out = np.zeros(size(shape), dtype=dtype)
    position = np.indices(values.shape)
    if 1 in shape:  # an axis of length 1 may have been repeated
        position = np.minimum(position, np.reshape(shape, along_first(shape)) - 1)
    position[axis] = indices
    np.add.at(out, tuple(position), values)
    return out


def along_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which one number for each axis stands against positions in an array of this shape."""
    return (-1, *(1 for _ in shape))


@form(ops.place_diagonal)
def place_diagonal(values: Any, *, shape: tuple[int, ...], offset: int, axis1: int, axis2: int, dtype: Any) -> Any:
    """The gradient of a diagonal."""
    out = np.zeros(size(shape), dtype=dtype)
    position = np.arange(out.size).reshape(out.shape).diagonal(offset=offset, axis1=axis1, axis2=axis2)
    np.put(out, position, values)
    return out


@form(ops.broadcast_to)
def broadcast_to(x: Any, *, shape: tuple[int, ...], dtype: Any) -> Any:
    """A number in every place, or rows repeated."""
    if not isinstance(x, (int, float)):
        return np.broadcast_to(x, shape)
    return np.ones(size(shape), dtype=dtype) if x == 1 else np.full(size(shape), x, dtype=dtype)


def size(shape: tuple[int, ...]) -> Any:
    """A shape as one would write it: of one axis, its length."""
    return shape[0] if len(shape) == 1 else shape


# ---- rules that the views show with the result of the operation


@rule(ops.tanh)
def tanh_rule(g: Any, out: Any) -> Any:
    """Of h = tanh(z)."""
    return g * (1 - out * out)


@rule(ops.sigmoid)
def sigmoid_rule(g: Any, out: Any) -> Any:
    """Of h = sigmoid(z)."""
    return g * out * (1 - out)


@rule(ops.softmax)
def softmax_rule(g: Any, out: Any, *, axis: int) -> Any:
    """Of p = softmax(z)."""
    return out * (g - (g * out).sum(axis=axis, keepdims=True))


@rule(ops.log_softmax)
def log_softmax_rule(g: Any, out: Any, *, axis: int) -> Any:
    """Of log(p)."""
    return g - np.exp(out) * g.sum(axis=axis, keepdims=True)


FUNCTIONS = {"one_hot": one_hot, "smoothed": smoothed}  # what the views call by its name, besides operations
SHOWN = {f"{loss}{grad}" for loss in ("xent", "soft_xent", "sigmoid_xent") for grad in ("", "_grad")}
CALLED: set[Any] = {softmax, sigmoid, one_hot, smoothed}  # what a formula names, and a program writes out
