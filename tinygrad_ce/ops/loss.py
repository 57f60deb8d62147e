"""The cross-entropies of logits, each as one primitive with its gradient as another, so that both can be one loop.

z: logits, shape (N, C), or any shape for the sigmoid form. y: class indices (N,), -1 for a row that is ignored.
Their bodies say in NumPy what the kernels of the same name compute; the losses' arguments are checked in `losses.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import primitive
from tinygrad_ce.ops.elementwise import sigmoid, softplus, where
from tinygrad_ce.ops.reduction import log_softmax, reduce_mean, reduce_sum, softmax
from tinygrad_ce.ops.shape import expand_dims


@primitive(kernel="first_bad_label")
def first_bad_label(y, *, classes, ignored):
    """The first row whose label is neither a class nor the ignored one; -1 if all are good."""
    bad = ((y < 0) | (y >= classes)) & (y != ignored)
    return int(np.argmax(bad)) if bad.any() else -1


first_bad_label.constant_in("y")


def _above_top(z: Any) -> tuple[Any, Any, Any]:
    """The largest logit of each row, the gaps up to it, and log(sum(exp(z))) - top, each with all its digits."""
    top = np.max(z, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        gaps = top - z
        e = np.exp(-gaps)
    e[np.arange(len(z)), np.argmax(z, axis=-1)] = 0  # exactly 1, which log1p adds
    rest = np.log1p(np.sum(e, axis=-1))
    return top[..., 0], gaps, np.where(top[..., 0] == np.inf, np.nan, rest)


@primitive(kernel="xent")
def xent(z, y, *, smoothing=0.0, reduction="none"):
    """-log softmax(z)[y] of each row, or their mean; with smoothing, of the label mixed with 1 / C for every class."""
    _, gaps, rest = _above_top(z)
    loss = gaps[np.arange(len(y)), y] * (1 - smoothing) + rest
    if smoothing:
        loss = loss + np.sum(gaps * (smoothing / z.shape[-1]), axis=-1)
    loss = np.where(y < 0, 0, loss).astype(z.dtype, copy=False)
    return loss.mean() if reduction == "mean" else loss


@xent.vjp("z")
def xent_z(g, out, z, y, *, smoothing, reduction):
    return xent_grad(g, z, y, smoothing=smoothing, reduction=reduction)


xent.constant_in("y")


@primitive(kernel="xent_grad")
def xent_grad(upstream, z, y, *, smoothing=0.0, reduction="none"):
    """upstream times (softmax(z) - target): at the label that is minus the sum of the others, which cannot cancel."""
    rows = np.arange(len(y))
    top = np.max(z, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        e = np.exp(z - top)
    true = e[rows, y]
    e[rows, y] = 0
    others = np.sum(e, axis=-1)
    total = others + true
    slope = e / total[:, None] - smoothing / z.shape[-1]
    slope[rows, y] = smoothing * (1 - 1 / z.shape[-1]) - others / total
    slope = np.where((y < 0)[:, None], 0, slope).astype(z.dtype, copy=False)
    return slope * (upstream / len(z) if reduction == "mean" else upstream[:, None])


@xent_grad.vjp("upstream")
def xent_grad_upstream(g, out, upstream, z, y, *, smoothing, reduction):
    ones = np.ones(z.shape[0], z.dtype)
    rows = reduce_sum(g * xent_grad(ones, z, y, smoothing=smoothing), axis=-1)
    return reduce_mean(rows) if reduction == "mean" else rows


@xent_grad.vjp("z")
def xent_grad_z(g, out, upstream, z, y, *, smoothing, reduction):
    weight = upstream / z.shape[0] if reduction == "mean" else expand_dims(upstream, axis=-1)
    return _softmax_curvature(where(expand_dims(y, axis=-1) < 0, 0, g * weight), z)


xent_grad.constant_in("y")


def _softmax_curvature(v: Any, z: Any) -> Any:
    """(diag(p) - p p') v for each row: the Hessian of logsumexp, applied to a vector."""
    p = softmax(z)
    return p * (v - reduce_sum(p * v, axis=-1, keepdims=True))


@primitive(kernel="soft_xent")
def soft_xent(z, q):
    """-sum q log softmax(z) of each row; q is a distribution, or a distribution times weights."""
    _, gaps, rest = _above_top(z)
    with np.errstate(invalid="ignore"):
        loss = np.sum(np.where(q == 0, 0, q * gaps), axis=-1) + np.sum(q, axis=-1) * rest
    return np.where(np.sum(q, axis=-1) == 0, 0, loss)  # a row without weight counts for nothing


@soft_xent.vjp("z")
def soft_xent_z(g, out, z, q):
    return soft_xent_grad(g, z, q)


@soft_xent.vjp("q")
def soft_xent_q(g, out, z, q):
    return -(expand_dims(g, axis=-1) * log_softmax(z))


@primitive(kernel="soft_xent_grad")
def soft_xent_grad(upstream, z, q):
    """upstream times (softmax(z) sum(q) - q)."""
    top = np.max(z, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        e = np.exp(z - top)
    total = np.sum(e, axis=-1, keepdims=True)
    mass = np.sum(q, axis=-1, keepdims=True)
    big = 2 * q > mass  # at most one class of a row; there mass * p - q would cancel, so both are taken from the rest
    rest_q, rest_e = (np.sum(np.where(big, 0, v), axis=-1, keepdims=True) for v in (q, e))
    slope = np.where(big, rest_q - mass * rest_e / total, mass * e / total - q)
    return np.where(mass == 0, 0, upstream[:, None] * slope)


@soft_xent_grad.vjp("upstream")
def soft_xent_grad_upstream(g, out, upstream, z, q):
    return reduce_sum(g * soft_xent_grad(np.ones(upstream.shape, upstream.dtype), z, q), axis=-1)


@soft_xent_grad.vjp("z")
def soft_xent_grad_z(g, out, upstream, z, q):
    mass = reduce_sum(q, axis=-1, keepdims=True)
    return _softmax_curvature(g * mass * expand_dims(upstream, axis=-1), z)


@soft_xent_grad.vjp("q")
def soft_xent_grad_q(g, out, upstream, z, q):
    return expand_dims(upstream, axis=-1) * (reduce_sum(g * softmax(z), axis=-1, keepdims=True) - g)


@primitive(kernel="sigmoid_xent")
def sigmoid_xent(z, y, w):
    """-(w y log p + (1 - y) log(1 - p)) with p = sigmoid(z); two terms of one sign, so nothing cancels."""
    with np.errstate(invalid="ignore"):  # 0 * inf, where the term is 0
        positive = np.where(w * y == 0, 0, w * y * softplus(-z))
        negative = np.where(y == 1, 0, (1 - y) * softplus(z))
    return np.where(np.isnan(z) | (z == np.inf), np.nan, positive + negative)


@sigmoid_xent.vjp("z")
def sigmoid_xent_z(g, out, z, y, w):
    return sigmoid_xent_grad(g, z, y, w)


@sigmoid_xent.vjp("y")
def sigmoid_xent_y(g, out, z, y, w):
    return g * (w * softplus(-z) - softplus(z))


sigmoid_xent.constant_in("w")


@primitive(kernel="sigmoid_xent_grad")
def sigmoid_xent_grad(upstream, z, y, w):
    """upstream times ((1 - y) sigmoid(z) - w y sigmoid(-z)), which for w = 1 is p - y without its cancellation."""
    slope = (1 - y) * sigmoid(z) - w * y * sigmoid(-z)
    return upstream * np.where(z == np.inf, np.nan, slope)


@sigmoid_xent_grad.vjp("upstream")
def sigmoid_xent_grad_upstream(g, out, upstream, z, y, w):
    return g * sigmoid_xent_grad(np.ones(upstream.shape, upstream.dtype), z, y, w)


@sigmoid_xent_grad.vjp("z")
def sigmoid_xent_grad_z(g, out, upstream, z, y, w):
    return g * upstream * ((1 - y) + w * y) * sigmoid(z) * sigmoid(-z)


@sigmoid_xent_grad.vjp("y")
def sigmoid_xent_grad_y(g, out, upstream, z, y, w):
    return -(g * upstream * (sigmoid(z) + w * sigmoid(-z)))


sigmoid_xent_grad.constant_in("w")
