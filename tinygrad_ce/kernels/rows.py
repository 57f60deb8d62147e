"""What kernels over rows of logits share: the buffer, the panel, sums, scratch memory, rows in several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_ce.kernels.jit import jit
from tinygrad_ce.kernels.vector_math import exp_below, plus, rank, ranked
from tinygrad_ce.threads import in_parts

Array = npt.NDArray[Any]

# ---- rows of logits: what softmax and the cross-entropies have in common
#
# Many classes: a row is copied into a buffer that the nearest cache holds, exp is taken there, and the result is
# written once. The buffer ends in -inf, whose exp is 0, so that every step is whole vectors.
# Few classes: a row is shorter than a vector, so rows become the columns of a panel, and every step is done for all of
# its rows at once.

BUFFER_MULTIPLE = 64  # elements that a buffer's length is a multiple of: four vectors of 16 float32
PANEL_ROWS = 128  # rows in a panel
MAX_PANEL_CLASSES = 48  # classes; up to here a panel is faster
PARALLEL_THRESHOLD = 20_000  # elements that are never worth another thread


@jit
def new_buffer(classes, like):
    return np.empty((classes + BUFFER_MULTIPLE - 1) // BUFFER_MULTIPLE * BUFFER_MULTIPLE, like.dtype)


def buffer_for(classes: int, dtype: Any) -> Array:
    """The same from Python."""
    return np.empty(-(-classes // BUFFER_MULTIPLE) * BUFFER_MULTIPLE, dtype)


@jit
def copy_row(row, buffer):
    """Copy a row into the buffer, and return its largest number."""
    top = rank(row[0])
    for c in range(len(row)):
        x = row[c]
        buffer[c] = x
        top = max(top, rank(x))
    buffer[len(row) :] = -np.inf
    return ranked(top)


@jit
def exponentials(buffer, top):
    """Turn each number into exp(number - top), and return the sum of all."""
    total = 0.0
    for start in range(0, len(buffer), 2048):  # so that the sum finds its numbers in the nearest cache
        part = buffer[start : start + 2048]
        for c in range(len(part)):
            part[c] = exp_below(part[c], top)
        total += accurate_sum(part)
    return total


@jit
def accurate_sum(numbers):
    """The sum in blocks, and what rounding has cost where the sums of the blocks are added.

    32,000 additions of float64 in a row would cost some of the last digits that the losses promise.
    Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.
    """
    block = 128 if numbers.itemsize == 8 else 2048
    total = lost = 0.0
    for start in range(0, len(numbers), block):
        part = short_sum(numbers[start : start + block])
        added = total + part
        back = added - total
        lost += (total - (added - back)) + (part - back)
        total = added
    return total + lost if abs(total) < np.inf else total


@jit
def short_sum(numbers):
    total = 0.0
    for c in range(len(numbers)):
        total = plus(total, np.float64(numbers[c]))
    return total


@jit
def load_panel(z, first, panel):
    """Rows of z as the columns of the panel; what is left of it keeps its old numbers."""
    for k in range(min(panel.shape[1], len(z) - first)):
        for c in range(z.shape[1]):
            panel[c, k] = z[first + k, c]


@jit
def store_panel(panel, first, out):
    for k in range(min(panel.shape[1], len(out) - first)):
        for c in range(out.shape[1]):
            out[first + k, c] = panel[c, k]


@jit
def column_tops(panel, ranks, top):
    """The largest number of each column; ranks is where they are kept meanwhile."""
    for k in range(len(top)):
        ranks[k] = rank(panel[0, k])
    for c in range(1, len(panel)):
        for k in range(len(top)):
            ranks[k] = max(ranks[k], rank(panel[c, k]))
    for k in range(len(top)):
        top[k] = ranked(ranks[k])


@jit
def column_exponentials(panel, top, part, total):
    """Turn each number of a column into exp(number - top of the column), and add them up, eight at a time."""
    for k in range(len(total)):
        total[k] = 0
    for first in range(0, len(panel), 8):
        for k in range(len(part)):
            part[k] = 0
        for c in range(first, min(first + 8, len(panel))):
            row = panel[c]
            for k in range(len(row)):
                e = exp_below(row[k], top[k])
                row[k] = e
                part[k] += np.float64(e)
        for k in range(len(total)):
            total[k] += part[k]


def panel_rows(rows: int) -> int:
    """How many rows a panel takes: whole vectors."""
    return PANEL_ROWS if rows >= PANEL_ROWS else (rows + 15) // 16 * 16 or 16


class Scratch(threading.local):
    """What a panel needs, made once in a thread, and in Python: Numba would take half a second to compile np.empty."""

    def __init__(self) -> None:
        self.made: dict[Any, tuple[Array, Array, Array, Array]] = {}

    def __call__(self, classes: int, rows: int, dtype: Any) -> tuple[Array, Array, Array, Array]:
        """For each row: its logits, its top and its true logit; the rank of the top; the label; five numbers."""
        lanes = panel_rows(rows)
        key = (classes, lanes, dtype.char)
        if key not in self.made:
            whole = np.int32 if dtype.itemsize == 4 else np.int64
            panel = np.zeros((classes + 2, lanes), dtype)
            self.made[key] = (panel, np.zeros(lanes, whole), np.zeros(lanes, np.int64), np.zeros((5, lanes)))
        return self.made[key]


scratch = Scratch()


def check_same_shape(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    """The loops trust their arrays to be alike."""
    if other != shape:
        raise ValueError(f"shapes {shape} and {other} differ")


def is_short(x: Array) -> bool:
    """Whether no second thread is ever worth its start for x."""
    return x.size < PARALLEL_THRESHOLD


def by_rows(loop: Callable[..., None], arrays: tuple[Array, ...], nanoseconds: float, step: int) -> None:
    """Call the loop with the arrays, or in several threads with some of their rows (of those that have as many)."""
    rows = len(arrays[0])
    if arrays[0].size < PARALLEL_THRESHOLD:
        if rows > 0:
            loop(*arrays)
        return

    def work(start: int, stop: int) -> None:
        loop(*(array[start:stop] if len(array) == rows else array for array in arrays))

    call_in_parts(work, arrays[0], nanoseconds, step)


def call_in_parts(work: Callable[[int, int], None], x: Array, nanoseconds: float, step: int) -> None:
    """work(start, stop) for all rows of x, in several threads if that pays; nanoseconds: of an element in float64."""
    in_parts(work, len(x), x.size * nanoseconds * 1e-9 * (x.dtype.itemsize / 8), step)


def flat_weights(w: Any, shape: tuple[int, ...], z: Array, full: bool = False) -> Any:
    """Weights in the dtype of z, flat: one for all, those of the last axes (again and again), or one for each."""
    if type(w) is float and w == 1 and not full:
        return ONES[z.dtype.char]
    w = np.asarray(w, z.dtype)
    if not full:
        if w.size == 1:
            return w.reshape(1)
        while w.ndim and w.shape[0] == 1:
            w = w[0]
        if w.shape == shape[len(shape) - w.ndim :]:
            return np.ascontiguousarray(w).reshape(-1)
    return np.array(np.broadcast_to(w, shape)).reshape(-1)  # a copy: Numba compiles anew for what is read only


ONES = {"f": np.ones(1, np.float32), "d": np.ones(1)}


def flat_upstream(upstream: Any, reduction: str, shape: tuple[int, ...], z: Array) -> Any:
    if upstream is None:
        return ONES[z.dtype.char]
    check_same_shape(np.shape(upstream), shape if reduction == "none" else ())
    return np.ascontiguousarray(upstream, z.dtype).reshape(-1)


def reduced(loss: Array, reduction: str) -> Any:
    if reduction == "none":
        return loss
    total = accurate_sum(loss)  # of all, whichever thread has filled them
    return loss.dtype.type(total / max(len(loss), 1) if reduction == "mean" else total)


@jit
def scaled(buffer, factor, uniform, w, row):
    """factor times exp, less the share of the target that smoothing gave to every class."""
    factor, uniform = row.dtype.type(factor), row.dtype.type(uniform)
    if uniform == 0:
        for c in range(len(row)):
            row[c] = buffer[c] * factor
    else:
        for c in range(len(row)):
            row[c] = buffer[c] * factor - uniform * w[c]
