"""Running sums and products, and the order that sorts, along one axis of an array: for compiled steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.kernels.jit import jit


@jit
def accumulate(out: Any, x: Any, before: int, n: int, after: int, is_product: bool) -> None:
    """out[i, j, k] = the sum (or product) of x[i, :j + 1, k], for arrays of shape (before, n, after) as one row."""
    for i in range(before):
        for j in range(n):
            for k in range(after):
                at = (i * n + j) * after + k
                term = x[at]
                if j == 0:
                    out[at] = term
                elif is_product:
                    out[at] = out[at - after] * term
                else:
                    out[at] = out[at - after] + term


@jit
def argsort(out: Any, x: Any, before: int, n: int, after: int) -> None:
    """out[i, :, k] = the order that sorts x[i, :, k]; equal elements stay in theirs, and NaN comes last."""
    row = np.empty(n, x.dtype)
    for i in range(before):
        for k in range(after):
            for j in range(n):
                row[j] = x[(i * n + j) * after + k]
            order = np.argsort(row, kind="mergesort")
            for j in range(n):
                out[(i * n + j) * after + k] = order[j]
