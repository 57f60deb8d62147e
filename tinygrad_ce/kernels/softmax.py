"""softmax, log_softmax and logsumexp along the last axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.kernels.jit import jit
from tinygrad_ce.kernels.rows import (
    MAX_PANEL_CLASSES,
    PANEL_ROWS,
    Array,
    by_rows,
    column_exponentials,
    column_tops,
    copy_row,
    exponentials,
    load_panel,
    new_buffer,
    scaled,
    scratch,
    store_panel,
)
from tinygrad_ce.kernels.vector_math import exp_below


def softmax(x: Array, *, axis: int = -1) -> Any:
    if not _along_rows(x, axis):
        return NotImplemented
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    out = np.empty(rows.shape, x.dtype)
    few = rows.shape[1] <= MAX_PANEL_CLASSES

    def loop(rows: Array, out: Array) -> None:
        if few:
            panel, ranks, _, numbers = scratch(rows.shape[1], len(rows), x.dtype)
            _softmax_few(rows, panel, ranks, numbers, out)
        else:
            _softmax_many(rows, out)

    by_rows(loop, (rows, out), 2.0 if few else 1.0, step=PANEL_ROWS if few else 1)
    return out.reshape(x.shape)


def _along_rows(x: Array, axis: Any) -> bool:
    return x.ndim > 0 and type(axis) is int and axis in (-1, x.ndim - 1) and x.dtype.char in "fd"


@jit
def _softmax_few(z, panel, ranks, numbers, out):
    rows, classes = z.shape
    lanes = len(ranks)
    top, panel, total, part = panel[classes], panel[:classes], numbers[0], numbers[4]
    for first in range(0, rows, lanes):
        load_panel(z, first, panel)
        column_tops(panel, ranks, top)
        column_exponentials(panel, top, part, total)
        for k in range(lanes):
            top[k] = 1 / total[k]
        for c in range(classes):
            for k in range(lanes):
                panel[c, k] *= top[k]
        store_panel(panel, first, out)


@jit
def _softmax_many(z, out):
    buffer = new_buffer(z.shape[1], z)
    for i in range(len(z)):
        total = exponentials(buffer, copy_row(z[i], buffer))
        scaled(buffer, 1 / total, 0.0, buffer, out[i])


def log_softmax(x: Array, *, axis: int = -1) -> Any:
    if not _along_rows(x, axis):
        return NotImplemented
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    out = np.empty(rows.shape, x.dtype)
    by_rows(_log_softmax, (rows, np.empty(0, x.dtype), out), 2.0, step=1)
    return out.reshape(x.shape)


def logsumexp(x: Array, *, axis: Any = None, keepdims: bool = False) -> Any:
    if not _along_rows(x, axis):
        return NotImplemented
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    sums = np.empty(len(rows), x.dtype)
    by_rows(_log_softmax, (rows, sums, np.empty((0, x.shape[-1]), x.dtype)), 2.0, step=1)
    return sums.reshape(*x.shape[:-1], 1) if keepdims else sums.reshape(x.shape[:-1])


@jit
def _log_softmax(z, sums, out):
    """Fill what there is room for: the log of the sum of exp of each row, or the row less that."""
    buffer = new_buffer(z.shape[1], z)
    for i in range(len(z)):
        top = copy_row(z[i], buffer)
        c = 0
        while c < z.shape[1] - 1 and buffer[c] != top:
            c += 1
        is_top = np.float64(exp_below(buffer[c], top))  # 1; NaN where the top is infinite or NaN
        buffer[c] = -np.inf  # so the sum is that of the others, and log1p keeps its digits
        rest = math.log1p(exponentials(buffer, top)) * is_top
        if len(sums) > 0:
            sums[i] = np.float64(top) + rest
        if len(out) > 0:
            row = out[i]
            for c in range(len(row)):
                row[c] = (np.float64(z[i, c]) - np.float64(top)) - rest
