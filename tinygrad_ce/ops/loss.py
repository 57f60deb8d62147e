"""The cross-entropies of logits, each as one primitive with its gradient as another, so that both can be one loop.

z: logits, shape (N, C), or any shape for the sigmoid form. y: class indices (N,).
Their bodies say in NumPy what the kernels of the same name compute; the losses' arguments are checked in `losses/`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.elementwise import sigmoid, sigmoid_slope, softplus, where
from tinygrad_ce.ops.reduction import ALL_MASKED, deviation, log_softmax, reduce_mean, reduce_sum, softmax
from tinygrad_ce.ops.shape import expand_dims


def _below_top(z: Any) -> tuple[Any, Any, Any, Any]:
    """For each row the gaps up to its largest logit, e = exp(-gaps), what e lost, and the sum without the top's 1.

    In float64. Rounding a gap costs e its share `lost`: for a gap of 700 up to 500 units in the last place.
    """
    z = z.astype(np.float64)
    top = np.max(z, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        gaps = top - z
        back = gaps - top
        lost = (top - (gaps - back)) - (z + back)
        lost = np.where(np.isfinite(lost), lost, 0)
        e = np.exp(-gaps)
        others = np.where(np.arange(z.shape[-1]) == np.argmax(z, axis=-1)[:, None], 0, e - e * lost)
        rest = _row_sums(others)[0] + (top - top)  # NaN where the top is infinite
    return gaps, e, lost, rest


def _row_sums(x: Any) -> tuple[Any, Any]:
    """The sum of each row, and what rounding it has cost, however long the row is and in whatever order np.sum adds.

    Adding and taking away a power of two above the sum leaves multiples of one small number: those sums are exact.
    Source: S. Rump, T. Ogita, S. Oishi, "Accurate floating-point summation", part I, 2008, section 3.
    """
    _, exponent = np.frexp(np.max(np.abs(x), axis=-1, keepdims=True))
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.ldexp(1.0, exponent + x.shape[-1].bit_length() + 1)
        large = (x + power) - power
        large = np.where(np.isfinite(large), large, x)
        high = np.sum(large, axis=-1, keepdims=True)
        low = np.sum(np.where(np.isfinite(x), x - large, 0), axis=-1, keepdims=True)
        lost = low - ((high + low) - high)
    return high + low, np.where(np.isfinite(lost), lost, 0)


def _over_one_plus(mass: Any, mass_lost: Any, rest: Any) -> tuple[Any, Any]:
    """(mass + mass_lost) / (1 + rest), and what rounding has cost, from the remainder of the division.

    Products of halves are exact. Source: T. Dekker, "A floating-point technique for extending the available
    precision", 1971.
    """
    below = 1 + rest
    back = below - 1
    quotient = mass / below
    with np.errstate(over="ignore", invalid="ignore"):
        high, high_below = _upper_half(quotient), _upper_half(below)
        remainder = mass - high * high_below - high * (below - high_below) - (quotient - high) * below
        remainder += mass_lost - quotient * ((1 - (below - back)) + (rest - back))
    return quotient, np.where(np.isfinite(remainder), remainder / below, 0)


def _upper_half(x: Any) -> Any:
    """The first 26 of the 53 binary digits."""
    large = x * (2.0**27 + 1)
    return large - (large - x)


def _soft_loss(z: Any, target: Any, reduction: str) -> Any:
    """-sum target log softmax(z) of each row, from the gaps up to the largest logit, with all its digits."""
    gaps, _, _, rest = _below_top(z)
    mass, _ = _row_sums(target)
    with np.errstate(invalid="ignore"):
        loss = _row_sums(np.where(target == 0, 0, target * gaps))[0] + mass * np.log1p(rest)
    loss = np.where(mass == 0, 0, loss)[:, 0]  # a row without weight counts for nothing
    return _reduced(loss.astype(z.dtype, copy=False), reduction)


def _soft_slope(z: Any, target: Any, upstream: Any, reduction: str) -> Any:
    """upstream times (softmax(z) sum(target) - target).

    At a class with most of the target both are taken from the other classes, so that nothing cancels.
    """
    _, e, lost, rest = _below_top(z)
    mass, mass_lost = _row_sums(target)
    factor, factor_lost = _over_one_plus(mass, mass_lost, rest)
    big = 2 * target > mass
    share = np.where(big, -(rest + (1 - e)), e)
    slope = np.where(big, _row_sums(np.where(big, 0, target))[0], -target) + factor * share
    slope = slope + (factor_lost * share - factor * (e * lost))
    slope = slope * (upstream[:, None] if reduction == "none" else upstream)
    slope = slope / len(z) if reduction == "mean" else slope
    return np.where(mass == 0, 0, slope).astype(z.dtype, copy=False)


def _hard_target(z: Any, y: Any, w: Any, smoothing: float, ignore_index: int | None) -> Any:
    """The target of each row: 1 - smoothing at its label and smoothing / C everywhere, times w; zeros if ignored."""
    classes = z.shape[-1]
    counts = _counted(y, ignore_index)
    if np.any(counts & ((y < 0) | (y >= classes))):
        raise ValueError("a label is no class")
    counts = counts[:, None]
    own = counts & (y[:, None] == np.arange(classes))
    w = np.asarray(w, np.float64)
    return own * (w - smoothing * w) + counts * (smoothing * w / classes)


def _counted(y: Any, ignore_index: int | None) -> Any:
    """Which rows are not ignored."""
    return np.ones(y.shape, bool) if ignore_index is None else y != ignore_index


@primitive
def xent(z, y, w, *, smoothing=0.0, reduction="none", ignore_index=None):
    """-sum target log softmax(z) of each row; the target: (1 - smoothing) w[y] at y, and smoothing w / C everywhere.

    ignore_index: rows with this label count for nothing. ValueError for any other label that is no class.

    >>> xent(np.array([[0.0, 0.0]]), np.array([0]), np.ones(2)).round(4)
    array([0.6931])
    """
    return _soft_loss(z, _hard_target(z, y, w, smoothing, ignore_index), reduction)


@primitive
def target_mass(z, y, w, *, smoothing=0.0, ignore_index=None):
    """The sum of each row's target: what the row counts for. 1 without weights, 0 for a row that is ignored."""
    w = np.broadcast_to(np.asarray(w, z.dtype), z.shape[-1:])
    counts = _counted(y, ignore_index)
    own = w[np.where(counts, y, 0)]
    return np.where(counts, own * (1 - smoothing) + np.sum(w) * (smoothing / z.shape[-1]), 0).astype(z.dtype)


target_mass.constant_in("z", "y", "w")


def _reduced(loss: Any, reduction: str) -> Any:
    """The losses of all rows as one, if that is wanted."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def _spread(g: Any, count: int, reduction: str) -> Any:
    """The gradient of a reduced loss at the loss of each of so many rows or elements, before it is broadcast."""
    return g / count if reduction == "mean" else g


def _collected(shares: Any, reduction: str) -> Any:
    """The other way round: the shares of all rows or elements, for an upstream that was spread."""
    if reduction == "none":
        return shares
    return reduce_mean(shares) if reduction == "mean" else reduce_sum(shares)


def _rows_of(g: Any, z: Any, reduction: str) -> Any:
    """What is upstream of each row, in a shape that broadcasts against z."""
    return expand_dims(g, axis=-1) if reduction == "none" else _spread(g, z.shape[0], reduction)


@xent.vjp("z")
def xent_z(g, out, z, y, w, *, smoothing, reduction, ignore_index):
    return xent_grad(g, z, y, w, smoothing=smoothing, reduction=reduction, ignore_index=ignore_index)


xent.constant_in("y", "w")


@primitive
def xent_grad(upstream, z, y, w, *, smoothing=0.0, reduction="none", ignore_index=None):
    """upstream times (softmax(z) sum(target) - target)."""
    return _soft_slope(z, _hard_target(z, y, w, smoothing, ignore_index), upstream, reduction)


@xent_grad.vjp("upstream")
def xent_grad_upstream(g, out, upstream, z, y, w, *, smoothing, reduction, ignore_index):
    ones = np.ones(z.shape[0], z.dtype)
    slope = xent_grad(ones, z, y, w, smoothing=smoothing, ignore_index=ignore_index)
    return _collected(reduce_sum(g * slope, axis=-1), reduction)


@xent_grad.vjp("z")
def xent_grad_z(g, out, upstream, z, y, w, *, smoothing, reduction, ignore_index):
    mass = expand_dims(target_mass(z, y, w, smoothing=smoothing, ignore_index=ignore_index), axis=-1)
    return _softmax_curvature(g * _rows_of(upstream, z, reduction), z, mass)


xent_grad.constant_in("y", "w")


def _softmax_curvature(v: Any, z: Any, mass: Any) -> Any:
    """mass (diag(p) - p p') v for each row: the Hessian of logsumexp, applied to a vector."""
    z = _counting(z, mass)
    return softmax(z) * deviation(_counting(v, mass) * mass, z)


def _counting(x: Any, weight: Any) -> Any:
    """x, and 0 where it has no weight: 0 times what stands there may be NaN, and so may a derivative of that."""
    return where(weight == 0, 0, x)


def _soft_target(q: Any, w: Any, smoothing: float, classes: int) -> Any:
    """The soft labels q, mixed with the same for every class, times the weights of the classes."""
    return q * (w - smoothing * w) + smoothing * w / classes


@primitive
def soft_xent(z, q, w, *, smoothing=0.0, reduction="none"):
    """-sum target log softmax(z) of each row, where the target is made of soft labels q.

    >>> soft_xent(np.zeros((1, 2)), np.array([[0.5, 0.5]]), np.ones(2)).round(4)
    array([0.6931])
    """
    return _soft_loss(z, _soft_target(q.astype(np.float64), w, smoothing, z.shape[-1]), reduction)


@soft_xent.vjp("z")
def soft_xent_z(g, out, z, q, w, *, smoothing, reduction):
    return soft_xent_grad(g, z, q, w, smoothing=smoothing, reduction=reduction)


@soft_xent.vjp("q")
def soft_xent_q(g, out, z, q, w, *, smoothing, reduction):
    return -(_rows_of(g, z, reduction) * _counting(log_softmax(z), w)) * (w * (1 - smoothing))


soft_xent.constant_in("w")


@primitive
def soft_xent_grad(upstream, z, q, w, *, smoothing=0.0, reduction="none"):
    """upstream times (softmax(z) sum(target) - target)."""
    target = _soft_target(q.astype(np.float64), w, smoothing, z.shape[-1])
    return _soft_slope(z, target, upstream, reduction)


@soft_xent_grad.vjp("upstream")
def soft_xent_grad_upstream(g, out, upstream, z, q, w, *, smoothing, reduction):
    ones = np.ones(z.shape[0], z.dtype)
    return _collected(reduce_sum(g * soft_xent_grad(ones, z, q, w, smoothing=smoothing), axis=-1), reduction)


@soft_xent_grad.vjp("z")
def soft_xent_grad_z(g, out, upstream, z, q, w, *, smoothing, reduction):
    mass = reduce_sum(_soft_target(q, w, smoothing, z.shape[-1]), axis=-1, keepdims=True)
    return _softmax_curvature(g * _rows_of(upstream, z, reduction), z, mass)


@soft_xent_grad.vjp("q")
def soft_xent_grad_q(g, out, upstream, z, q, w, *, smoothing, reduction):
    return -(_rows_of(upstream, z, reduction) * _counting(deviation(g, z), w)) * (w * (1 - smoothing))


soft_xent_grad.constant_in("w")


@primitive
def sigmoid_xent(z, y, w, weight, *, reduction="none"):
    """-weight (w y log p + (1 - y) log(1 - p)) with p = sigmoid(z); two terms of one sign, so nothing cancels.

    >>> sigmoid_xent(*np.array([[0.0], [1.0], [1.0], [1.0]])).round(4)
    array([0.6931])
    """
    positive, negative = weight * w * y, weight * (1 - y)
    with np.errstate(invalid="ignore"):  # 0 * inf, where the term is 0
        left = np.where(negative == 0, 0, negative * softplus(z))
        loss = left + np.where(positive == 0, 0, positive * softplus(-z))
    return _reduced(loss.astype(z.dtype, copy=False), reduction)


@sigmoid_xent.vjp("z")
def sigmoid_xent_z(g, out, z, y, w, weight, *, reduction):
    return sigmoid_xent_grad(g, z, y, w, weight, reduction=reduction)


@sigmoid_xent.vjp("y")
def sigmoid_xent_y(g, out, z, y, w, weight, *, reduction):
    z = _counting(z, weight)
    return _spread(g, z.size, reduction) * weight * (w * softplus(-z) - softplus(z))


sigmoid_xent.constant_in("w", "weight")


@primitive
def sigmoid_xent_grad(upstream, z, y, w, weight, *, reduction="none"):
    """upstream weight ((1 - y) sigmoid(z) - w y sigmoid(-z)): for w = 1 that is p - y without its cancellation."""
    slope = weight * ((1 - y) * sigmoid(z) - w * y * sigmoid(-z)) * _spread(upstream, z.size, reduction)
    return np.where(weight * (w * y + (1 - y)) == 0, 0, slope).astype(z.dtype, copy=False)


@sigmoid_xent_grad.vjp("upstream")
def sigmoid_xent_grad_upstream(g, out, upstream, z, y, w, weight, *, reduction):
    return _collected(g * sigmoid_xent_grad(np.ones(z.shape, z.dtype), z, y, w, weight), reduction)


@sigmoid_xent_grad.vjp("z")
def sigmoid_xent_grad_z(g, out, upstream, z, y, w, weight, *, reduction):
    weight = weight * (w * y + (1 - y))
    return g * _spread(upstream, z.size, reduction) * weight * sigmoid_slope(_counting(z, weight))


@sigmoid_xent_grad.vjp("y")
def sigmoid_xent_grad_y(g, out, upstream, z, y, w, weight, *, reduction):
    z = _counting(z, weight)
    return -(g * _spread(upstream, z.size, reduction) * weight * (sigmoid(z) + w * sigmoid(-z)))


sigmoid_xent_grad.constant_in("w", "weight")


for _entropy in (xent, soft_xent):
    _entropy.domain("max(z, axis=-1) > -inf", ALL_MASKED)
    _entropy.domain("smoothing == 0 or min(z) > -inf", "label_smoothing=0: a class that is masked must get no share")
xent.domain("z[rows, y] > -inf", "look at the labels: the true class of no row may be masked")
soft_xent.domain("(q == 0) | (z > -inf)", "look at the targets: what is masked must have probability 0")
