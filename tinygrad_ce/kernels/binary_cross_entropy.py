"""The sigmoid (binary) cross-entropy, element by element: weight (w y log p + (1 - y) log(1 - p))."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.kernels.arguments import check_same_shape, flat_weights, own_upstream, upstream_share
from tinygrad_ce.kernels.jit import jit
from tinygrad_ce.kernels.memory import empty
from tinygrad_ce.kernels.rows import Array, accurate_sum, call_in_parts
from tinygrad_ce.kernels.vector_math import either, exp_of, log1p_of

BLOCK = 1024  # elements that are worked on before the next are read


def sigmoid_xent(z: Array, y: Array, w: Any, weight: Any, *, reduction: str = "none") -> Any:
    return _sigmoid_xent(z, y, w, weight, reduction, None, None)


def sigmoid_xent_grad(upstream: Any, z: Array, y: Array, w: Any, weight: Any, *, reduction: str = "none") -> Array:
    slope = empty(z.shape, z.dtype)
    _sigmoid_xent(z, y, w, weight, reduction, upstream, slope)
    return slope


def sigmoid_xent_with_gradient(z: Array, y: Array, w: Any, weight: Any, *, reduction: str = "none") -> Any:
    """The reduced loss, and its gradient at the logits: exp is taken once for both."""
    if reduction == "none":
        return NotImplemented
    slope = empty(z.shape, z.dtype)
    return _sigmoid_xent(z, y, w, weight, reduction, None, slope), slope


def _sigmoid_xent(z: Array, y: Array, w: Any, weight: Any, reduction: str, upstream: Any, slope: Array | None) -> Any:
    check_same_shape(z.shape, y.shape)
    shape, count = z.shape, z.size
    w, weight = flat_weights(w, shape, z), flat_weights(weight, shape, z)
    share, upstream = upstream_share(reduction, count, upstream), own_upstream(upstream, reduction, shape, z)
    z, y = np.ascontiguousarray(z).reshape(-1), np.ascontiguousarray(y, z.dtype).reshape(-1)
    nothing = np.empty(0, z.dtype)
    flat = nothing if slope is None else slope.reshape(-1)
    loss = np.empty(shape, z.dtype) if reduction == "none" else nothing
    flat_loss = loss.reshape(-1)
    sums = np.zeros(-(-count // BLOCK))

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        three = (array if len(array) <= 1 else array[part] for array in (upstream, flat_loss, flat))
        blocks = sums[start // BLOCK : -(-stop // BLOCK)]
        space = np.empty((5, BLOCK), z.dtype)
        sigmoid_xent_blocks(z[part], y[part], w, weight, start, *three, share, blocks, space)

    call_in_parts(work, z, 2.5, step=BLOCK)
    if reduction == "none":
        return loss
    return z.dtype.type(accurate_sum(sums) / (count if reduction == "mean" and count else 1))


@jit
def sigmoid_xent_blocks(z, y, w, weight, start, upstream, loss, slope, share, sums, space):
    """Fill the losses and the gradient, where there is room for them, and the sum of the losses of each block."""
    losses, slopes, several_w, several_weights, several_upstream = space[0], space[1], space[2], space[3], space[4]
    _repeated(w, 0, several_w)
    _repeated(weight, 0, several_weights)
    several_upstream[:] = upstream[0] * z.dtype.type(share)
    for b in range(len(sums)):
        first = b * BLOCK
        here = min(BLOCK, len(z) - first)
        stop = first + here
        if len(w) > 1:
            _repeated(w, start + first, several_w)
        if len(weight) > 1:
            _repeated(weight, start + first, several_weights)
        _sigmoid_xent_block(
            z[first:stop],
            y[first:stop],
            several_w[:here],
            several_weights[:here],
            upstream[first:stop] if len(upstream) > 1 else several_upstream[:here],
            losses[:here],
            slopes[:here],
        )
        sums[b] = accurate_sum(losses[:here])
        if len(loss) > 0:
            loss[first:stop] = losses[:here]
        if len(slope) > 0:
            slope[first:stop] = slopes[:here]


@jit
def _repeated(row, first, out):
    """The numbers of a row, again and again, from this place on."""
    k = first % len(row)
    for i in range(len(out)):
        out[i] = row[k]
        k = k + 1 if k + 1 < len(row) else 0


@jit
def _sigmoid_xent_block(z, y, w, weight, upstream, loss, slope):
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for i in range(len(z)):
        x, positive, negative = z[i], w[i] * y[i], one - y[i]
        e = exp_of(-abs(x), zero)
        rest = log1p_of(e)
        large = one / (one + e)
        small = e * large
        p, q = either(x >= zero, large, small), either(x >= zero, small, large)
        # 0 * inf is 0 here: a label says that the other term does not count.
        left = either(negative == zero, zero, negative * (max(x, zero) + rest))
        right = either(positive == zero, zero, positive * (max(-x, zero) + rest))
        counts = weight[i] * (positive + negative) != zero  # otherwise nothing that stands here matters
        loss[i] = either(counts, weight[i] * (left + right), zero)
        slope[i] = either(counts, upstream[i] * (weight[i] * (negative * p - positive * q)), zero)
