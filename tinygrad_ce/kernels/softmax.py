"""softmax, log_softmax and logsumexp along the last axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.kernels.jit import jit
from tinygrad_ce.kernels.memory import empty
from tinygrad_ce.kernels.rows import (
    MAX_PANEL_CLASSES,
    PANEL_ROWS,
    Array,
    buffer_shape,
    by_rows,
    load_panel,
    load_row,
    panel_exponentials,
    panel_scratch,
    row_exponentials,
    store_panel,
    store_row,
)
from tinygrad_ce.kernels.vector_math import widest


def softmax(x: Array, *, axis: int = -1) -> Any:
    if not _along_rows(x, axis):
        return NotImplemented
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    out = empty(x.shape, x.dtype)
    slots = out.reshape(rows.shape)

    def few(rows: Array, out: Array) -> None:
        _softmax_panel(rows, *panel_scratch(rows.shape[1], len(rows), x.dtype), out)

    def many(rows: Array, out: Array) -> None:
        _softmax_rows(rows, np.empty(buffer_shape(rows.shape[1]), x.dtype), out)

    if rows.shape[1] <= MAX_PANEL_CLASSES:
        by_rows(few, (rows, slots), 2.0, step=PANEL_ROWS)
    else:
        by_rows(many, (rows, slots), 1.0, step=1)
    return out


def _along_rows(x: Array, axis: Any) -> bool:
    return x.ndim > 0 and type(axis) is int and axis in (-1, x.ndim - 1) and x.dtype.char in "fd"


@jit
def _softmax_panel(z, panel, numbers, out):
    widest()
    rows, classes = z.shape
    lanes = panel.shape[1]
    top, rest = panel[classes], numbers[0]
    for first in range(0, rows, lanes):
        load_panel(z, first, panel)
        panel_exponentials(panel, classes, rest, numbers[1])
        for k in range(lanes):
            top[k] = 1 / (1 + rest[k])
        for c in range(classes):
            for k in range(lanes):
                panel[c, k] *= top[k]
        store_panel(panel, first, out)


@jit
def _softmax_rows(z, buffer, out):
    widest()
    for i in range(len(z)):
        rest = row_exponentials(buffer, load_row(z[i], buffer))
        store_row(buffer, 1 / (1 + rest), 0.0, buffer[4], out[i])


def log_softmax(x: Array, *, axis: int = -1) -> Any:
    if not _along_rows(x, axis):
        return NotImplemented
    out = empty(x.shape, x.dtype)
    return _log_softmax_by_rows(x, np.empty(0, x.dtype), out.reshape(-1, x.shape[-1]), out)


def logsumexp(x: Array, *, axis: Any = None, keepdims: bool = False) -> Any:
    if not _along_rows(x, axis):
        return NotImplemented
    out = np.empty((*x.shape[:-1], 1) if keepdims else x.shape[:-1], x.dtype)
    return _log_softmax_by_rows(x, out.reshape(-1), np.empty((0, x.shape[-1]), x.dtype), out)


def _log_softmax_by_rows(x: Array, sums: Array, slots: Array, out: Array) -> Array:
    def loop(rows: Array, sums: Array, slots: Array) -> None:
        _log_softmax(rows, np.empty(buffer_shape(rows.shape[1]), x.dtype), sums, slots)

    by_rows(loop, (np.ascontiguousarray(x).reshape(-1, x.shape[-1]), sums, slots), 2.0, step=1)
    return out


@jit
def _log_softmax(z, buffer, sums, out):
    """Fill what there is room for: the log of the sum of exp of each row, or the row less that."""
    widest()
    for i in range(len(z)):
        top = load_row(z[i], buffer)
        rest = math.log1p(row_exponentials(buffer, top))  # a sum without the top keeps its digits
        if len(sums) > 0:
            sums[i] = np.float64(top) + rest
        if len(out) > 0:
            row = out[i]
            for c in range(len(row)):
                row[c] = (np.float64(z[i, c]) - np.float64(top)) - rest
