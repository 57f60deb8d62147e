"""What kernels over rows of logits share: the panel, the buffer, sums, scratch memory, rows in several threads.

A row is shorter than a vector where there are few classes: there 128 rows become the columns of a panel, and each step
is done for all of them at once. A row of many classes is folded into the four rows of a buffer that the nearest cache
holds. Both ways exponentials are added four at a time in their own dtype, and those sums in float64; the largest number
of a row, whose exponential is 1, is kept out: log1p adds it, with all digits of the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_ce.kernels.jit import jit, jit_inside
from tinygrad_ce.kernels.vector_math import either, exp_below, fma, plus, rank, ranked, widest
from tinygrad_ce.threads import in_parts

Array = npt.NDArray[Any]
MAX_PANEL_CLASSES = 48  # up to here a panel is faster
PANEL_ROWS = 128
VECTOR = 16  # numbers of float32 in the widest vectors
PARALLEL_THRESHOLD = 20_000  # fewer elements are never worth another thread


# ---- the panel


@jit_inside
def load_panel(z, first, panel):
    """Rows of z as the columns of the panel; what is left of it keeps its old numbers."""
    for k in range(min(panel.shape[1], len(z) - first)):
        for c in range(z.shape[1]):
            panel[c, k] = z[first + k, c]


@jit_inside
def store_panel(panel, first, out):
    """The columns of the panel as rows of out."""
    for k in range(min(panel.shape[1], len(out) - first)):
        for c in range(out.shape[1]):
            out[first + k, c] = panel[c, k]


@jit_inside
def panel_exponentials(panel, classes, rest, lost):
    """Turn each number into exp(number - the top of its column); rest: the sum of a column without its top.

    A NaN may be the top or not: the sum will be NaN anyway. The sum is NaN too where the top is infinite.
    lost: a row of float64 to work in, for what rounding costs; sums of float32 in float64 lose nothing that counts.
    """
    zero, one = panel.dtype.type(0), panel.dtype.type(1)
    top, part, ties = panel[classes], panel[classes + 1], panel[classes + 2]
    for k in range(len(top)):
        top[k] = panel[0, k]
        ties[k] = 0
        rest[k] = 0
        lost[k] = 0
    for c in range(1, classes):
        for k in range(len(top)):
            top[k] = either(panel[c, k] > top[k], panel[c, k], top[k])
    for start in range(0, classes, 4):
        for k in range(len(top)):
            part[k] = 0
        for c in range(start, min(start + 4, classes)):
            for k in range(len(top)):
                x = panel[c, k]
                e = exp_below(x, top[k])
                panel[c, k] = e
                part[k] += either(x == top[k], zero, e)
                ties[k] += either(x == top[k], one, zero)
        if panel.itemsize == 4:
            for k in range(len(top)):
                rest[k] += part[k]
        else:
            for k in range(len(top)):
                rest[k], lost[k] = add_exactly(rest[k], lost[k], part[k])
    for k in range(len(top)):
        rest[k] += lost[k] + ((ties[k] - one) + (top[k] - top[k]))


def panel_rows(rows: int) -> int:
    """How many rows a panel takes: whole vectors."""
    return PANEL_ROWS if rows >= PANEL_ROWS else (rows + VECTOR - 1) // VECTOR * VECTOR or VECTOR


class PanelScratch(threading.local):
    """The memory of a panel, one of each size in a thread."""

    def __init__(self) -> None:
        self.panels: dict[Any, tuple[Array, Array]] = {}

    def __call__(self, classes: int, rows: int, dtype: Any) -> tuple[Array, Array]:
        """The panel with three more rows (top, partial sum, ties), and three rows of float64."""
        lanes = panel_rows(rows)
        key = (classes, lanes, dtype.char)
        if key not in self.panels:
            self.panels[key] = np.zeros((classes + 3, lanes), dtype), np.zeros((3, lanes))
        return self.panels[key]


panel_scratch = PanelScratch()


# ---- the buffer


def buffer_shape(classes: int) -> tuple[int, int]:
    """Four rows that hold the classes, whole vectors, and one for partial sums."""
    return 5, -(-classes // (4 * VECTOR)) * VECTOR


@jit
def load_row(row, buffer):
    """Copy a row into the buffer, with -inf behind it, and return its largest number."""
    widest()
    width = buffer.shape[1]
    top = rank(row[0])
    for j in range(4):
        source, target = row[j * width : (j + 1) * width], buffer[j]
        for c in range(len(source)):
            target[c] = source[c]
            top = max(top, rank(source[c]))
        target[len(source) :] = -np.inf
    return ranked(top)


@jit
def row_exponentials(buffer, top):
    """Turn each number into exp(number - top), and return the sum of all but the top; NaN where it is infinite."""
    widest()
    zero, one = buffer.dtype.type(0), buffer.dtype.type(1)
    ties = zero
    for k in range(buffer.shape[1]):
        total = zero
        for j in range(4):
            x = buffer[j, k]
            e = exp_below(x, top)
            buffer[j, k] = e
            total += either(x == top, zero, e)
            ties = plus(ties, either(x == top, one, zero))
        buffer[4, k] = total
    rest = short_sum(buffer[4]) if buffer.itemsize == 4 else pairwise_sum(buffer[4])
    return rest + ((ties - one) + (top - top))


@jit
def store_row(buffer, factor, uniform, w, row):
    """factor times exp, less the share of the target that smoothing gave to every class."""
    widest()
    width = buffer.shape[1]
    factor, uniform = row.dtype.type(factor), row.dtype.type(uniform)
    for j in range(4):
        source, target, weights = buffer[j], row[j * width : (j + 1) * width], w[j * width : (j + 1) * width]
        if uniform == 0:
            for c in range(len(target)):
                target[c] = source[c] * factor
        else:
            for c in range(len(target)):
                target[c] = source[c] * factor - uniform * weights[c]


# ---- sums


@jit_inside
def add_exactly(total, lost, x):
    """total + x, and what rounding has cost until now.

    Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.
    """
    added = total + x
    back = added - total
    return added, lost + ((total - (added - back)) + (x - back))


@jit_inside
def sum_block(numbers):
    """How many numbers, or products of two, may be added in any order before what rounding costs must be counted."""
    return 8 if numbers.itemsize == 8 else 2048


@jit
def accurate_sum(numbers):
    """The sum in blocks, and what rounding has cost where the sums of the blocks are added.

    32,000 additions of float64 in a row would cost some of the last digits that the losses promise.
    """
    block = sum_block(numbers)
    total = lost = 0.0
    for start in range(0, len(numbers), block):
        total, lost = add_exactly(total, lost, short_sum(numbers[start : start + block]))
    return total + lost if abs(total) < np.inf else total


@jit
def short_sum(numbers):
    """The sum in float64, in any order."""
    total = 0.0
    for c in range(len(numbers)):
        total = plus(total, np.float64(numbers[c]))
    return total


@jit
def pairwise_sum(numbers):
    """The sum in halves of halves with what rounding has cost, in the same order everywhere; overwrites the numbers."""
    widest()
    count, lost = len(numbers), 0.0
    while count > 1:
        half = count // 2
        left, right = numbers[:half], numbers[count - half : count]
        for i in range(half):
            left[i], cost = add_exactly(left[i], 0.0, right[i])
            lost = plus(lost, cost)
        count -= half
    return numbers[0] + lost if abs(numbers[0]) < np.inf else numbers[0]


@jit
def folded_sum(numbers, buffer):
    """The sum of as many numbers as the buffer holds: float64 in halves of halves, float32 in float64."""
    width, sums = buffer.shape[1], buffer[4]
    if numbers.itemsize == 4:
        return short_sum(numbers)
    lost = 0.0
    for c in range(width):
        sums[c] = 0
    for j in range(4):
        part = numbers[j * width : (j + 1) * width]
        for c in range(len(part)):
            sums[c], cost = add_exactly(sums[c], 0.0, part[c])
            lost = plus(lost, cost)
    return pairwise_sum(sums) + lost


@jit_inside
def over_one_plus(a, b, b_lost, rest):
    """a * (b + b_lost) / (1 + rest), rounded once: a factor of the whole row has room for no other error."""
    product = a * b
    below = 1.0 + rest
    back = below - 1.0
    below_lost = (1.0 - (below - back)) + (rest - back)
    quotient = product / below
    remainder = fma(-quotient, below, product) + ((fma(a, b, -product) + a * b_lost) - quotient * below_lost)
    better = quotient + remainder / below
    return either(better == better, better, quotient)  # an infinite quotient leaves NaN behind


# ---- several threads


def is_short(x: Array) -> bool:
    """Whether no second thread is ever worth its start for x."""
    return x.size < PARALLEL_THRESHOLD


def by_rows(loop: Callable[..., Any], arrays: tuple[Array, ...], nanoseconds: float, step: int) -> None:
    """Call the loop with the arrays, or in several threads with some of their rows (of those that have as many)."""
    rows = len(arrays[0])
    if is_short(arrays[0]):
        if rows > 0:
            loop(*arrays)
        return

    def work(start: int, stop: int) -> None:
        loop(*(array[start:stop] if len(array) == rows else array for array in arrays))

    call_in_parts(work, arrays[0], nanoseconds, step)


def call_in_parts(work: Callable[[int, int], None], x: Array, nanoseconds: float, step: int) -> None:
    """work(start, stop) for all rows of x, in several threads if that pays; nanoseconds: of an element in float64."""
    in_parts(work, len(x), x.size * nanoseconds * 1e-9 * (x.dtype.itemsize / 8), step)
