"""Sums, means, maxima along axes, and the softmax family."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygrad_ce.core import Primitive, primitive
from tinygrad_ce.ops.comparison import equal, logical_or, not_equal
from tinygrad_ce.ops.elementwise import LOGITS, astype, where
from tinygrad_ce.ops.shape import broadcast_to, reshape


def reduced_axes(ndim: int, axis: Any) -> tuple[int, ...]:
    """The axes that a reduction removes, as numbers from 0."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(a % max(ndim, 1) for a in axes)  # NumPy lets a single number have an axis 0


def restored(reduced: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """A reduced value with its lost axes put back as size 1, so that it broadcasts against what had this shape."""
    if keepdims or axis is None:
        return reduced
    axes = reduced_axes(len(shape), axis)
    return reshape(reduced, shape=tuple(1 if i in axes else n for i, n in enumerate(shape)))


def count(shape: tuple[int, ...], axis: Any) -> int:
    """How many elements of such an array one reduced number stands for."""
    axes = reduced_axes(len(shape), axis)
    if axes and not shape:
        raise np.exceptions.AxisError(axes[0], 0)
    return prod(shape[a] for a in axes)


class Accumulating(Primitive):
    """A sum or product of many numbers: of float16 it is computed in float32, because that ends at 65504.

    It also counts no further than 2048. A mean of integers is one of float64 numbers: their sum may be too large.
    """

    def __call__(self, x: Any, **params: Any) -> Any:
        char = getattr(getattr(x, "dtype", None), "char", "")
        if char != "e":
            if self is reduce_mean and char in "lLqQiI":
                x = astype(x, dtype=np.dtype(np.float64))
            return super().__call__(x, **params)
        return astype(super().__call__(astype(x, dtype=np.dtype(np.float32)), **params), dtype=x.dtype)


@Accumulating
def reduce_sum(x, *, axis=None, keepdims=False):
    """The sum along an axis, several, or all (None); the gradient goes to every element as it is.

    >>> reduce_sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([4., 6.])
    """
    return x.sum(axis=axis, keepdims=keepdims)


@reduce_sum.vjp("x")
def reduce_sum_x(g, out, x, *, axis, keepdims):
    return broadcast_to(restored(g, x.shape, axis, keepdims), shape=x.shape)


@Accumulating
def reduce_mean(x, *, axis=None, keepdims=False):
    """The mean along an axis, several, or all (None); each of n elements gets 1 / n of the gradient.

    >>> reduce_mean([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([2., 3.])
    """
    return x.sum(axis=axis, keepdims=keepdims) / count(x.shape, axis)


@reduce_mean.vjp("x")
def reduce_mean_x(g, out, x, *, axis, keepdims):
    return broadcast_to(restored(g / count(x.shape, axis), x.shape, axis, keepdims), shape=x.shape)


@Accumulating
def variance(x, *, axis=None, ddof=0, keepdims=False):
    """The mean square distance from the mean; ddof=1 divides by n - 1 instead of n.

    >>> variance([[1.0, 2.0], [3.0, 6.0]], axis=0)
    array([1., 4.])
    """
    return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims)


@variance.vjp("x")
def variance_x(g, out, x, *, axis, ddof, keepdims):
    deviation = x - reduce_mean(x, axis=axis, keepdims=True)
    return restored(g, x.shape, axis, keepdims) * 2 * deviation / (count(x.shape, axis) - ddof)


@Accumulating
def std(x, *, axis=None, ddof=0, keepdims=False):
    """The standard deviation: the root of `variance`; its gradient is 0 where all elements are equal.

    >>> std([[1.0, 2.0], [3.0, 6.0]], axis=0)
    array([1., 2.])
    """
    return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims)


@std.vjp("x")
def std_x(g, out, x, *, axis, ddof, keepdims):
    """0 where all numbers are equal, as PyTorch has it: there is a kink."""
    below_top = x - reduce_max(x, axis=axis, keepdims=True)  # the mean of equal numbers may be off by a rounding
    centred = below_top - reduce_mean(below_top, axis=axis, keepdims=True)
    length = out * (count(x.shape, axis) - ddof)
    return centred * restored(g / where(equal(length, 0), 1, length), x.shape, axis, keepdims)


@primitive
def reduce_max(x, *, axis=None, keepdims=False):
    """The largest along an axis, several, or all (None); ties share the gradient equally, and a NaN wins.

    >>> reduce_max([[1.0, 5.0], [3.0, 2.0]], axis=0)
    array([3., 5.])
    """
    return np.max(x, axis=axis, keepdims=keepdims)


@reduce_max.vjp("x")
def reduce_max_x(g, out, x, *, axis, keepdims):
    return share_between_ties(g, out, x, axis, keepdims)


@primitive
def reduce_min(x, *, axis=None, keepdims=False):
    """The smallest along an axis, several, or all (None); ties share the gradient equally, and a NaN wins.

    >>> reduce_min([[1.0, 5.0], [3.0, 2.0]], axis=0)
    array([1., 2.])
    """
    return np.min(x, axis=axis, keepdims=keepdims)


@reduce_min.vjp("x")
def reduce_min_x(g, out, x, *, axis, keepdims):
    return share_between_ties(g, out, x, axis, keepdims)


def share_between_ties(g: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """The gradient of a maximum or minimum: equally to all elements that reach it."""
    chosen = logical_or(
        equal(x, restored(out, x.shape, axis, keepdims)), not_equal(x, x)
    )  # a NaN is what was chosen, too
    ties = reduce_sum(astype(chosen, dtype=np.promote_types(x.dtype, np.float32)), axis=axis, keepdims=keepdims)
    return where(chosen, restored(g / ties, x.shape, axis, keepdims), 0)


@primitive
def argmax(x, *, axis=None):
    """The place of the largest element along an axis, or of all in one row (None); of ties the first.

    >>> argmax([[1.0, 5.0], [3.0, 2.0]], axis=1)
    array([1, 0])
    """
    return np.argmax(x, axis=axis)


argmax.constant_in("x")


def _top(x: Any, axis: Any) -> Any:
    """The largest along an axis; -inf where there is none."""
    return np.max(x, axis=axis, keepdims=True) if x.size else np.sum(x, axis=axis, keepdims=True) - np.inf


@primitive
def logsumexp(x, *, axis=None, keepdims=False):
    """log(sum(exp(x))) as top + log1p(the others): a sum that is just above 1 keeps all digits of its logarithm.

    >>> logsumexp(np.array([800.0, -800.0]))
    array(800.)
    """
    out = top = _top(x, axis)
    if x.size:
        is_top = x == top
        with np.errstate(invalid="ignore"):  # inf - inf, where x is the top itself and not used
            others = np.where(is_top, 0, np.exp(x - top))
        ties = np.sum(is_top, axis=axis, keepdims=True, dtype=others.dtype)
        out = top + np.log1p(np.sum(others, axis=axis, keepdims=True) + (ties - 1))
    return out if keepdims or x.ndim == 0 else np.squeeze(out, axis=reduced_axes(x.ndim, axis))


@logsumexp.vjp("x")
def logsumexp_x(g, out, x, *, axis, keepdims):
    return restored(g, x.shape, axis, keepdims) * softmax(x, axis=axis)


@primitive
def softmax(x, *, axis=-1):
    """exp(x) / sum(exp(x)) along an axis: positive, with sum 1, without overflow, and right to a few last digits.

    >>> softmax([[0.0, 0.0], [800.0, 0.0]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    top = _top(x, axis)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and so is the row
        gap = x - top
        back = gap - x
        lost = (x - (gap - back)) - (top + back)  # what rounding the gap has cost (as in kernels/vector_math.py)
    e = np.exp(gap)
    e = e + e * np.where(np.isfinite(lost), lost, 0)
    return e / np.sum(e, axis=axis, keepdims=True)


@softmax.vjp("x")
def softmax_x(g, out, x, *, axis):
    return softmax_grad(g, out, axis=axis)


@primitive
def softmax_grad(v, p, *, axis=-1):
    """p (v - sum(p v)) for p that sum to 1; all v are counted from that of a class with p > 1/2, which keeps digits."""
    v = v - np.where(p > 0.5, v, 0).sum(axis=axis, keepdims=True)
    return p * (v - (p * v).sum(axis=axis, keepdims=True))


@softmax_grad.vjp("v")
def softmax_grad_v(g, out, v, p, *, axis):
    return softmax_grad(g, p, axis=axis)


@softmax_grad.vjp("p")
def softmax_grad_p(g, out, v, p, *, axis):
    v = v - reduce_sum(where(p > 0.5, v, 0), axis=axis, keepdims=True)
    mean, share = (reduce_sum(p * x, axis=axis, keepdims=True) for x in (v, g))
    return g * (v - mean) - v * share


@primitive
def deviation(v, x, *, axis=-1):
    """v - sum(p v) with p = softmax(x); both counted from the v of a class where p is nearly 1, which keeps digits."""
    p = softmax(x, axis=axis)
    v = v - np.sum(np.where(p > 0.5, v, 0), axis=axis, keepdims=True)
    return v - np.sum(p * v, axis=axis, keepdims=True)


@deviation.vjp("v")
def deviation_v(g, out, v, x, *, axis):
    return log_softmax_grad(g, x, axis=axis)


@deviation.vjp("x")
def deviation_x(g, out, v, x, *, axis):
    return -(softmax(x, axis=axis) * out * reduce_sum(g, axis=axis, keepdims=True))


@primitive
def log_softmax(x, *, axis=-1):
    """log(softmax(x)) along an axis, with its digits also where a probability is 0 or nearly 1.

    >>> log_softmax([[0.0, 800.0]])
    array([[-800.,    0.]])
    """
    with np.errstate(invalid="ignore"):
        below_top = x - _top(x, axis)  # so that no digit is lost to a common shift
    return below_top - logsumexp(below_top, axis=axis, keepdims=True)


@log_softmax.vjp("x")
def log_softmax_x(g, out, x, *, axis):
    return log_softmax_grad(g, x, axis=axis)


@primitive
def log_softmax_grad(v, x, *, axis=-1):
    """v - p sum(v) with p = softmax(x); where p is nearly 1, minus the sum of the other classes, which keeps digits."""
    p = softmax(x, axis=axis)
    slope = v - p * np.sum(v, axis=axis, keepdims=True)
    return np.where(p > 0.5, -np.sum(np.where(p > 0.5, 0, slope), axis=axis, keepdims=True), slope)


@log_softmax_grad.vjp("v")
def log_softmax_grad_v(g, out, v, x, *, axis):
    return deviation(g, x, axis=axis)


@log_softmax_grad.vjp("x")
def log_softmax_grad_x(g, out, v, x, *, axis):
    return -(softmax(x, axis=axis) * deviation(g, x, axis=axis) * reduce_sum(v, axis=axis, keepdims=True))


# Where they are defined, and what they round: for `tg.why_nan`.
ALL_MASKED = "leave out a row that is masked as a whole, or mask with -1e9 instead of -inf: then it is uniform"
reduce_mean.domain("x.size > 0", "look whether anything is left: a mask or a filter has taken everything out")
for _spread in (variance, std):
    _spread.domain("x.size > ddof", "use more rows, or ddof=0")
for _of_rows in (softmax, log_softmax, logsumexp, reduce_max):
    _of_rows.domain("max(x) > -inf", ALL_MASKED)
softmax.domain("out > 0 or min(x) == -inf", LOGITS.format("softmax_cross_entropy") + "; tg.ops.log_softmax(z)")
softmax.domain("out > 0", "what is masked has probability 0: leave out what was masked before the logarithm")
