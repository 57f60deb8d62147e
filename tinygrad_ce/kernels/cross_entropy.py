"""The cross-entropies of logits: one kernel for each fills the losses, the gradient, or both.

A kernel fills the gradient if there is room for it. A row's loss is the sum of two terms of one sign: how far the
target lies below the largest logit, and log(sum(exp)) above it. The gradient of the target's class is taken from the
other classes where it would cancel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.kernels.arguments import (
    ONES,
    check_same_shape,
    class_weights,
    contiguous,
    own_upstream,
    reduced,
    upstream_share,
)
from tinygrad_ce.kernels.jit import jit, jit_inside
from tinygrad_ce.kernels.memory import empty
from tinygrad_ce.kernels.rows import (
    MAX_PANEL_CLASSES,
    PANEL_ROWS,
    Array,
    accurate_sum,
    add_exactly,
    buffer_shape,
    by_rows,
    folded_sum,
    is_short,
    load_panel,
    load_row,
    over_one_plus,
    pairwise_sum,
    panel_exponentials,
    panel_scratch,
    row_exponentials,
    short_sum,
    store_panel,
    store_row,
    sum_block,
)
from tinygrad_ce.kernels.vector_math import fma, log1p_of, plus, widest

NO_CLASS = "a label is no class"


# ---- softmax cross-entropy with class indices


def xent(
    z: Array, y: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none", ignore_index: int | None = None
) -> Any:
    return _xent(z, y, w, smoothing, reduction, ignore_index, None, np.empty((0, z.shape[1]), z.dtype))


def xent_grad(
    upstream: Any,
    z: Array,
    y: Array,
    w: Any,
    *,
    smoothing: float = 0.0,
    reduction: str = "none",
    ignore_index: int | None = None,
) -> Array:
    slope = empty(z.shape, z.dtype)
    _xent(z, y, w, smoothing, reduction, ignore_index, upstream, slope)
    return slope


def xent_with_gradient(
    z: Array, y: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none", ignore_index: int | None = None
) -> Any:
    """The reduced loss, and its gradient at the logits: exp is taken once for both."""
    if reduction == "none":
        return NotImplemented
    rows, classes = z.shape
    is_toy = type(w) is float and smoothing == 0 and classes <= MAX_PANEL_CLASSES and is_short(z) and rows
    if is_toy and y.shape == (rows,) and z.flags.c_contiguous and y.flags.c_contiguous and y.dtype == np.int64:
        loss, slope = np.empty(rows, z.dtype), np.empty(z.shape, z.dtype)
        labels, share = (ignore_index is not None, ignore_index or 0), 1 / rows if reduction == "mean" else 1.0
        scratch = panel_scratch(classes, rows, z.dtype)
        total = xent_panel(z, y, *labels, w, ONES[z.dtype.char], share, *scratch, loss, slope)
        return reduced(loss, total, reduction), slope
    slope = empty(z.shape, z.dtype)
    return _xent(z, y, w, smoothing, reduction, ignore_index, None, slope), slope


def _xent(
    z: Array,
    y: Array,
    w: Any,
    smoothing: float,
    reduction: str,
    ignore_index: int | None,
    upstream: Any,
    slope: Array,
) -> Any:
    """Fill the gradient if there is room for one, and return the loss."""
    z, y = contiguous(z), np.ascontiguousarray(y, np.int64)  # Numba would read labels of another byte order as others
    rows, classes = z.shape
    check_same_shape(y.shape, (rows,))
    each, share = own_upstream(upstream, reduction, (rows,), z), upstream_share(reduction, rows, upstream)
    loss = np.empty(rows, z.dtype)
    labels = ignore_index is not None, ignore_index or 0
    loop: Callable[..., Any]
    if classes <= MAX_PANEL_CLASSES and smoothing == 0 and np.size(w) == 1:
        w = w if type(w) is float else np.asarray(w, z.dtype).item()
        if is_short(z):  # the batches of toy networks, without ceremony
            total = xent_panel(z, y, *labels, w, each, share, *panel_scratch(classes, rows, z.dtype), loss, slope)
            return reduced(loss, total, reduction)

        def loop(z: Array, y: Array, each: Array, loss: Array, slope: Array) -> None:
            xent_panel(z, y, *labels, w, each, share, *panel_scratch(classes, len(z), z.dtype), loss, slope)

        by_rows(loop, (z, y, each, loss, slope), 3.0, step=PANEL_ROWS)
    else:
        weights = class_weights(w, z)

        def loop(z: Array, y: Array, each: Array, loss: Array, slope: Array) -> None:
            buffer = np.empty(buffer_shape(classes), z.dtype)
            xent_rows(z, y, *labels, weights, smoothing, each, share, buffer, loss, slope)

        by_rows(loop, (z, y, each, loss, slope), 1.0, step=1)
    return reduced(loss, None if reduction == "none" else accurate_sum(loss), reduction)


@jit
def xent_panel(z, y, ignoring, ignored, w, upstream, share, panel, numbers, loss, slope):
    """Fill the loss of each row and, if there is room for it, the gradient; return the sum. For few classes."""
    widest()
    rows, classes = z.shape
    lanes = panel.shape[1]
    top, part, own = panel[classes], panel[classes + 1], panel[classes + 2]
    rest, gap, factor = numbers[0], numbers[1], numbers[2]
    total = lost = 0.0
    for first in range(0, rows, lanes):
        here = min(lanes, rows - first)
        load_panel(z, first, panel)
        panel_exponentials(panel, classes, rest, gap)
        absent = 0
        for k in range(here):
            label = y[first + k]
            if ignoring and label == ignored:
                absent += 1
                label = 0
            elif not 0 <= label < classes:
                raise ValueError(NO_CLASS)
            gap[k] = np.float64(top[k]) - np.float64(z[first + k, label])
            own[k] = panel[label, k]
        for k in range(lanes):
            gap[k] += log1p_of(rest[k])
            gap[k] = w * gap[k] if k < here else 0
        for k in range(here):
            loss[first + k] = gap[k]
        part_total = short_sum(gap) if z.itemsize == 4 else pairwise_sum(gap)
        if len(slope) > 0:
            for k in range(here):
                factor[k] = share * upstream[first + k if len(upstream) > 1 else 0]
            for k in range(lanes):
                factor[k] = (
                    factor[k] * w / (1 + rest[k]) if z.itemsize == 4 else over_one_plus(factor[k], w, 0.0, rest[k])
                )
                own[k] = -((rest[k] + (1 - own[k])) * factor[k])  # minus the sum of the others, which cannot cancel
                part[k] = factor[k]
            for c in range(classes):
                for k in range(lanes):
                    panel[c, k] *= part[k]
            for k in range(here):
                if not (ignoring and y[first + k] == ignored):
                    panel[y[first + k], k] = own[k]
            store_panel(panel, first, slope)
        if absent > 0:  # whatever is in a row that is ignored
            for i in range(first, first + here):
                if y[i] == ignored:
                    loss[i] = 0
                    for c in range(classes if len(slope) > 0 else 0):
                        slope[i, c] = 0
            part_total = 0.0
            for i in range(first, first + here):
                part_total += loss[i]
        total, lost = add_exactly(total, lost, part_total)
    return total + lost if abs(total) < np.inf else total


@jit
def xent_rows(z, y, ignoring, ignored, w, smoothing, upstream, share, buffer, loss, slope):
    """Fill the loss of each row and, if there is room for it, the gradient. For many classes, or weighted ones."""
    widest()
    rows, classes = z.shape
    width = buffer.shape[1]
    spread = accurate_sum(w) * smoothing / classes  # the target of all classes together that is not the label's own
    for i in range(rows):
        label = y[i]
        own = mass = mass_lost = weight = 0.0
        if not (ignoring and label == ignored):
            if not 0 <= label < classes:
                raise ValueError(NO_CLASS)
            weight = np.float64(w[label])
            own = weight - smoothing * weight
            mass, mass_lost = add_exactly(weight, 0.0, spread - smoothing * weight)
        if mass == 0:  # an ignored row counts for nothing, whatever is in it
            loss[i] = 0
            slope[i : i + 1] = 0
            continue
        top = load_row(z[i], buffer)
        gaps = own * (np.float64(top) - np.float64(z[i, label])) if own != 0 else 0.0
        if smoothing != 0:
            gaps += _gaps(z[i], w, top, smoothing / classes)
        rest = row_exponentials(buffer, top)
        loss[i] = gaps + mass * math.log1p(rest)
        if len(slope) > 0:
            g = share * np.float64(upstream[i if len(upstream) > 1 else 0])
            uniform = over_one_plus(g, smoothing, 0.0, classes - 1.0) if smoothing != 0 else 0.0  # of each weight
            store_row(buffer, over_one_plus(g, mass, mass_lost, rest), uniform, w, slope[i])
            common = smoothing / classes * weight
            e = np.float64(buffer[label // width, label % width])
            slope[i, label] = g * _at(own + common, mass, mass_lost, spread - common, e, rest)


@jit
def _at(target, mass, mass_lost, others, e, rest):
    """mass p - target of one class, whose exponential is e; others: the target of the other classes.

    Where the class has most of the mass the two cancel: there both are taken from the other classes.
    """
    if 2 * target > mass:
        return others - over_one_plus(rest + (1 - e), mass, mass_lost, rest)
    return over_one_plus(e, mass, mass_lost, rest) - target


@jit
def _gaps(row, target, top, factor):
    """The sum of factor times target times the distance to the top; a class without target may be at -inf."""
    block = sum_block(row)
    total = lost = 0.0
    for start in range(0, len(row), block):
        some, weights = row[start : start + block], target[start : start + block]
        part = 0.0
        for c in range(len(some)):
            gap = factor * np.float64(weights[c]) * (np.float64(top) - np.float64(some[c]))
            part = plus(part, gap if weights[c] != 0 else 0.0)
        total, lost = add_exactly(total, lost, part)
    return total + lost if abs(total) < np.inf else total


# ---- softmax cross-entropy with soft targets: ((1 - smoothing) q + smoothing / C) w for each class


def soft_xent(z: Array, q: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    return _soft_xent(z, q, w, smoothing, reduction, None, np.empty((0, z.shape[1]), z.dtype))


def soft_xent_grad(
    upstream: Any, z: Array, q: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none"
) -> Array:
    slope = empty(z.shape, z.dtype)
    _soft_xent(z, q, w, smoothing, reduction, upstream, slope)
    return slope


def soft_xent_with_gradient(z: Array, q: Array, w: Any, *, smoothing: float = 0.0, reduction: str = "none") -> Any:
    """The reduced loss, and its gradient at the logits."""
    if reduction == "none":
        return NotImplemented
    slope = empty(z.shape, z.dtype)
    return _soft_xent(z, q, w, smoothing, reduction, None, slope), slope


def _soft_xent(z: Array, q: Array, w: Any, smoothing: float, reduction: str, upstream: Any, slope: Array) -> Any:
    z, q = contiguous(z), np.ascontiguousarray(q, z.dtype)
    check_same_shape(z.shape, q.shape)
    each, share = own_upstream(upstream, reduction, z.shape[:1], z), upstream_share(reduction, len(z), upstream)
    weights = class_weights(w, z)
    loss = np.empty(len(z), z.dtype)

    def loop(z: Array, q: Array, each: Array, loss: Array, slope: Array) -> None:
        buffer, target = np.empty(buffer_shape(z.shape[1]), z.dtype), np.empty(z.shape[1], z.dtype)
        soft_xent_rows(z, q, weights, smoothing, each, share, buffer, target, loss, slope)

    by_rows(loop, (z, q, each, loss, slope), 2.0, step=1)
    return reduced(loss, None if reduction == "none" else accurate_sum(loss), reduction)


@jit_inside
def target_of(q, w, smoothing, classes):
    """((1 - smoothing) q + smoothing / classes) w in float64, and what rounding it has cost."""
    less = smoothing * w
    keep = w - less
    part = keep * q
    part_lost = fma(keep, q, -part) + (((w - keep) - less) - fma(smoothing, w, -less)) * q
    uniform = over_one_plus(smoothing, w, 0.0, classes - 1.0)
    return add_exactly(part, part_lost, uniform)


@jit
def soft_xent_rows(z, q, w, smoothing, upstream, share, buffer, target, loss, slope):
    """Fill the loss of each row and, if there is room for it, the gradient."""
    widest()
    rows, classes = z.shape
    width = buffer.shape[1]
    single, share_of_all, uniform = z.itemsize == 4, z.dtype.type(smoothing), z.dtype.type(smoothing / classes)
    lost = np.zeros(0 if single else classes)  # what rounding a target has cost: a mass of two classes would show it
    for i in range(rows):
        if single:
            for c in range(classes):
                target[c] = (w[c] - share_of_all * w[c]) * q[i, c] + uniform * w[c]
        else:
            for c in range(classes):
                target[c], lost[c] = target_of(q[i, c], w[c], smoothing, classes)
        big, most = 0, target[0]
        for c in range(1, classes):
            if target[c] > most:
                big, most = c, target[c]
        target[big] = 0  # the class with the largest target is kept out of all sums, and treated alone
        mass_lost = 0.0 if single else lost[big]
        lost[big:][:1] = 0
        others = folded_sum(target, buffer) + accurate_sum(lost)
        mass, mass_lost = add_exactly(np.float64(most), mass_lost, others)
        if mass == 0:  # a row without weight counts for nothing
            loss[i] = 0
            slope[i : i + 1] = 0
            continue
        top = load_row(z[i], buffer)
        gaps = _gaps(z[i], target, top, 1.0) + np.float64(most) * (np.float64(top) - np.float64(z[i, big]))
        rest = row_exponentials(buffer, top)
        loss[i] = gaps + mass * math.log1p(rest)
        if len(slope) > 0:
            g = share * np.float64(upstream[i if len(upstream) > 1 else 0])
            store_row(buffer, over_one_plus(g, mass, mass_lost, rest), g, target, slope[i])
            e = np.float64(buffer[big // width, big % width])
            slope[i, big] = g * _at(np.float64(most), mass, mass_lost, others, e, rest)
