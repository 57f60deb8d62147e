"""The cross-entropies of logits and their gradients, each filled by one loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.kernels.jit import jit
from tinygrad_ce.kernels.rows import (
    MAX_PANEL_CLASSES,
    PANEL_ROWS,
    Array,
    accurate_sum,
    buffer_for,
    by_rows,
    call_in_parts,
    check_same_shape,
    column_exponentials,
    column_tops,
    copy_row,
    exponentials,
    flat_upstream,
    flat_weights,
    is_short,
    load_panel,
    reduced,
    scaled,
    scratch,
    store_panel,
)
from tinygrad_ce.kernels.vector_math import either, exp_below, exp_of, log1p_of, plus

# ---- softmax cross-entropy with class indices


def xent(z: Array, y: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    return _xent(z, y, w, smoothing, reduction, None, np.empty((0, z.shape[1]), z.dtype))


def xent_grad(upstream: Any, z: Array, y: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Array:
    slope = np.empty(z.shape, z.dtype)
    _xent(z, y, w, smoothing, reduction, upstream, slope)
    return slope


def xent_with_gradient(z: Array, y: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    """The reduced loss, and its gradient at the logits: exp is taken once for both."""
    if reduction == "none":
        return NotImplemented
    slope = np.empty(z.shape, z.dtype)
    return _xent(z, y, w, smoothing, reduction, None, slope), slope


def _xent(z: Array, y: Array, w: Any, smoothing: float, reduction: str, upstream: Any, slope: Array) -> Any:
    """Fill the gradient if there is room for one, and return the loss."""
    z, y = np.ascontiguousarray(z), np.ascontiguousarray(y)
    check_same_shape(z.shape[:1], y.shape)
    w, upstream = flat_weights(w, z.shape[1:], z, smoothing != 0), flat_upstream(upstream, reduction, z.shape[:1], z)
    rows, classes = z.shape
    share = 1 / rows if reduction == "mean" and rows else 1.0
    loss = np.empty(rows, z.dtype)
    few = classes <= MAX_PANEL_CLASSES and smoothing == 0 and len(w) == 1
    if few and z.size and is_short(z):  # the batches of toy networks, without ceremony
        xent_panel(z, y, w, upstream, share, *scratch(classes, rows, z.dtype), loss, slope)
        return reduced(loss, reduction)

    def loop(z: Array, y: Array, upstream: Array, loss: Array, slope: Array) -> None:
        if few:
            xent_panel(z, y, w, upstream, share, *scratch(classes, len(z), z.dtype), loss, slope)
        else:
            xent_rows(z, y, w, smoothing, upstream, share, buffer_for(classes, z.dtype), loss, slope)

    by_rows(loop, (z, y, upstream, loss, slope), 3.0 if few else 1.0, step=PANEL_ROWS if few else 1)
    return reduced(loss, reduction)


@jit
def xent_panel(z, y, w, upstream, share, panel, ranks, label, numbers, loss, slope):
    """Fill the loss of each row and, if there is room for it, the gradient."""
    rows, classes = z.shape
    lanes = len(label)
    top, true, panel = panel[classes], panel[classes + 1 :], panel[:classes]
    gap, others, chosen, g, part = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    for k in range(lanes):
        g[k] = np.float64(upstream[0]) * share * w[0]
    for first in range(0, rows, lanes):
        here = min(lanes, rows - first)
        load_panel(z, first, panel)
        column_tops(panel, ranks, top)
        foreign = 0
        for k in range(here):
            known = 0 <= y[first + k] < classes
            label[k] = y[first + k] if known else 0
            foreign += 0 if known else 1
            true[0, k] = panel[label[k], k]
            panel[label[k], k] = -np.inf
        for k in range(lanes):
            gap[k] = np.float64(top[k]) - np.float64(true[0, k])
        column_exponentials(panel, top, part, others)
        column_exponentials(true, top, part, chosen)
        for k in range(lanes):  # two terms of one sign: how far the label is below the top, and the log of the sum
            gap[k] += log1p_of(others[k] + (chosen[k] - 1))
        for k in range(here):
            loss[first + k] = w[0] * gap[k]
        if len(slope) > 0:
            if len(upstream) > 1:
                for k in range(here):
                    g[k] = np.float64(upstream[first + k]) * share * w[0]
            for k in range(lanes):
                factor = g[k] / (others[k] + chosen[k])
                top[k] = factor
                true[0, k] = -(others[k] * factor)  # minus the sum of the others, which cannot cancel
            for c in range(classes):
                for k in range(lanes):
                    panel[c, k] *= top[k]
            for k in range(here):
                panel[label[k], k] = true[0, k]
            store_panel(panel, first, slope)
        if foreign > 0:  # ignored rows; `losses` refuses a label that is no class, and here nothing foreign is read
            for i in range(first, first + here):
                if not 0 <= y[i] < classes:
                    loss[i] = 0 if y[i] < 0 else np.nan
                    slope[i : i + 1] = loss[i]


@jit
def xent_rows(z, y, w, smoothing, upstream, share, buffer, loss, slope):
    """Fill the loss of each row and, if there is room for it, the gradient."""
    rows, classes = z.shape
    step, weigh = 0 if len(upstream) == 1 else 1, 0 if len(w) == 1 else 1
    uniform = smoothing / classes  # of the label's weight, for every class
    weight = accurate_sum(w) if weigh else np.float64(w[0]) * classes
    for i in range(rows):
        label = y[i]
        own = 0.0 if label < 0 else np.nan  # `losses` refuses a label that is no class; here nothing foreign is read
        mass = own
        if 0 <= label < classes:
            own = (1 - smoothing) * np.float64(w[label * weigh])
            mass = own + uniform * weight
        if mass == 0 or mass != mass:  # an ignored row counts for nothing, whatever is in it
            loss[i] = mass
            slope[i : i + 1] = mass
            continue
        top = copy_row(z[i], buffer)
        true = buffer[label]
        gaps = own * (np.float64(top) - np.float64(true)) if own != 0 else 0.0
        if smoothing != 0:
            gaps += _gaps(z[i], w, top, uniform)
        buffer[label] = -np.inf
        others = exponentials(buffer, top)
        e = np.float64(exp_below(true, top))
        loss[i] = gaps + mass * math.log1p(others + (e - 1))
        if len(slope) > 0:
            g = np.float64(upstream[i * step]) * share
            total = others + e
            scaled(buffer, g * mass / total, g * uniform, w, slope[i])
            taken = uniform * np.float64(w[label * weigh])
            slope[i, label] = g * _at(own + taken, mass, uniform * weight - taken, e, others)


@jit
def _at(target, mass, rest, e, others):
    """mass p - target of one class, whose exponential is e; the target of the other classes is rest.

    Where the class has most of the mass the two cancel: there both are taken from the other classes.
    """
    if 2 * target > mass:
        return rest - mass * (others / (others + e))
    return mass * (e / (others + e)) - target


@jit
def _gaps(row, w, top, uniform):
    """The sum of the weighted distances to the top; a class without weight may be at -inf."""
    total = 0.0
    for c in range(len(row)):
        gap = uniform * np.float64(w[c]) * (np.float64(top) - np.float64(row[c]))
        total = plus(total, gap if w[c] != 0 else 0.0)
    return total


# ---- softmax cross-entropy with soft targets: ((1 - smoothing) q + smoothing / C) w for each class


def soft_xent(z: Array, q: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    return _soft_xent(z, q, w, smoothing, reduction, None, np.empty((0, z.shape[1]), z.dtype))


def soft_xent_grad(
    upstream: Any, z: Array, q: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none"
) -> Array:
    slope = np.empty(z.shape, z.dtype)
    _soft_xent(z, q, w, smoothing, reduction, upstream, slope)
    return slope


def soft_xent_with_gradient(z: Array, q: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    """The reduced loss, and its gradient at the logits."""
    if reduction == "none":
        return NotImplemented
    slope = np.empty(z.shape, z.dtype)
    return _soft_xent(z, q, w, smoothing, reduction, None, slope), slope


def _soft_xent(z: Array, q: Array, w: Any, smoothing: float, reduction: str, upstream: Any, slope: Array) -> Any:
    z, q = np.ascontiguousarray(z), np.ascontiguousarray(q, z.dtype)
    check_same_shape(z.shape, q.shape)
    w, upstream = flat_weights(w, z.shape[1:], z, True), flat_upstream(upstream, reduction, z.shape[:1], z)
    share = 1 / max(len(z), 1) if reduction == "mean" else 1.0
    loss = np.empty(len(z), z.dtype)

    def loop(z: Array, q: Array, upstream: Array, loss: Array, slope: Array) -> None:
        room = buffer_for(z.shape[1], z.dtype), np.empty(z.shape[1], z.dtype)
        soft_xent_rows(z, q, w, smoothing, upstream, share, *room, loss, slope)

    by_rows(loop, (z, q, upstream, loss, slope), 2.0, step=1)
    return reduced(loss, reduction)


@jit
def soft_xent_rows(z, q, w, smoothing, upstream, share, buffer, target, loss, slope):
    """Fill the loss of each row and, if there is room for it, the gradient."""
    rows, classes = z.shape
    step = 0 if len(upstream) == 1 else 1
    keep, uniform = z.dtype.type(1 - smoothing), z.dtype.type(smoothing / classes)
    for i in range(rows):
        for c in range(classes):
            target[c] = (keep * q[i, c] + uniform) * w[c]
        big, most = 0, target[0]
        for c in range(1, classes):
            if target[c] > most:
                big, most = c, target[c]
        target[big] = 0  # the class with the largest target is kept out of all sums, and treated alone
        rest = accurate_sum(target)
        mass = rest + np.float64(most)
        if mass == 0:  # a row without weight counts for nothing
            loss[i] = 0
            slope[i : i + 1] = 0
            continue
        top = copy_row(z[i], buffer)
        true = buffer[big]
        gaps = 0.0
        for c in range(classes):
            gap = np.float64(target[c]) * (np.float64(top) - np.float64(buffer[c]))
            gaps = plus(gaps, gap if target[c] != 0 else 0.0)  # a class that is not wanted may have logit -inf
        gaps += np.float64(most) * (np.float64(top) - np.float64(true))
        buffer[big] = -np.inf
        others = exponentials(buffer, top)
        e = np.float64(exp_below(true, top))
        loss[i] = gaps + mass * math.log1p(others + (e - 1))
        if len(slope) > 0:
            g = np.float64(upstream[i * step]) * share
            factor, taken = z.dtype.type(g * mass / (others + e)), z.dtype.type(g)
            row = slope[i]
            for c in range(classes):
                row[c] = buffer[c] * factor - taken * target[c]
            row[big] = g * _at(np.float64(most), mass, rest, e, others)


# ---- sigmoid (binary) cross-entropy: weight (w y log p + (1 - y) log(1 - p)), element by element

BLOCK = 1024  # elements that are worked on before the next are read


def sigmoid_xent(z: Array, y: Array, w: Any, weight: Any, *, reduction: str = "none") -> Any:
    return _sigmoid_xent(z, y, w, weight, reduction, None, None)


def sigmoid_xent_grad(upstream: Any, z: Array, y: Array, w: Any, weight: Any, *, reduction: str = "none") -> Array:
    slope = np.empty(z.shape, z.dtype)
    _sigmoid_xent(z, y, w, weight, reduction, upstream, slope)
    return slope


def sigmoid_xent_with_gradient(z: Array, y: Array, w: Any, weight: Any, *, reduction: str = "none") -> Any:
    """The reduced loss, and its gradient at the logits: exp is taken once for both."""
    if reduction == "none":
        return NotImplemented
    slope = np.empty(z.shape, z.dtype)
    return _sigmoid_xent(z, y, w, weight, reduction, None, slope), slope


def _sigmoid_xent(z: Array, y: Array, w: Any, weight: Any, reduction: str, upstream: Any, slope: Array | None) -> Any:
    check_same_shape(z.shape, y.shape)
    shape, count = z.shape, z.size
    w, weight = flat_weights(w, shape, z), flat_weights(weight, shape, z)
    upstream = flat_upstream(upstream, reduction, shape, z)
    z, y = np.ascontiguousarray(z).reshape(-1), np.ascontiguousarray(y, z.dtype).reshape(-1)
    nothing = np.empty(0, z.dtype)
    flat = nothing if slope is None else slope.reshape(-1)
    loss = np.empty(z.shape, z.dtype) if reduction == "none" else nothing
    sums = np.zeros(-(-count // BLOCK))
    share = 1 / max(count, 1) if reduction == "mean" else 1.0

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        three = (array if len(array) <= 1 else array[part] for array in (upstream, loss, flat))
        blocks = sums[start // BLOCK : -(-stop // BLOCK)]
        space = np.empty((5, BLOCK), z.dtype)
        sigmoid_xent_blocks(z[part], y[part], w, weight, start, *three, share, blocks, space)

    call_in_parts(work, z, 2.5, step=BLOCK)
    if reduction == "none":
        return loss.reshape(shape)
    return z.dtype.type(accurate_sum(sums) * share)


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
        bad = either(x < np.inf, zero, x - x)  # NaN at inf and NaN, where the model has said nothing
        counts = weight[i] != zero
        loss[i] = either(counts, weight[i] * (left + right) + bad, zero)
        slope[i] = either(counts, upstream[i] * (weight[i] * (negative * p - positive * q)) + bad, zero)
