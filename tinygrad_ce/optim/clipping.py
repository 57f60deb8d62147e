"""Clipping: gradients that are too long together are scaled down together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor, interpreter
from tinygrad_ce.optim.arguments import positive

_SMALLEST, _LARGEST = float(np.finfo(float).tiny), float(np.finfo(float).max)


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients down together so that their joint norm is at most max_norm; returns the norm before.

    Gradients that are short enough are left as they are, and longer ones are replaced, each in its own dtype. One that
    is infinite becomes NaN, and the norm says so. Raises ValueError for a max_norm that is not positive.

    >>> w = Tensor([0.0, 0.0], requires_grad=True); w.grad = np.array([3.0, 4.0])
    >>> clip_grad_norm([w], max_norm=1.0), w.grad
    (5.0, array([0.6, 0.8]))

    Source: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    positive("clip_grad_norm", max_norm=max_norm)
    holders = [parameter for parameter in parameters if parameter.grad is not None]
    grads = [interpreter.get().read(parameter.grad) for parameter in holders]
    norm, clipped = clip(grads, float(max_norm))
    traced = isinstance(norm, Tensor)  # a program is being traced: whether to clip differs from step to step
    if traced or norm > max_norm:
        for parameter, g in zip(holders, clipped, strict=True):
            parameter.grad = g.data if traced else np.asarray(g)
    return norm if traced else float(norm)


def clip(grads: Sequence[Any], max_norm: float) -> tuple[Any, list[Any]]:
    """What `clip_grad_norm` does, as a function of the gradients, written with operators: the norm, and the new ones.

    All is computed in float64, and in units of the largest element: exploded gradients, which this is for, have
    squares that overflow, and those of tiny ones underflow.
    """
    wide = [ops.astype(g, dtype=np.dtype(float)) for g in grads]
    sizes = [ops.reduce_max(ops.absolute(g)) for g in wide if g.size]
    if not sizes:
        return 0.0, list(grads)
    unit = ops.clip(reduce(ops.maximum, sizes), low=_SMALLEST, high=_LARGEST)
    scaled = [g / unit for g in wide]
    length = ops.sqrt(reduce(add, [ops.reduce_sum(g * g) for g in scaled]))
    norm = length * unit
    shrink = max_norm / ops.maximum(length, _SMALLEST)
    shorter = [ops.where(ops.greater(norm, max_norm), g * shrink, old) for g, old in zip(scaled, wide, strict=True)]
    return norm, [ops.astype(new, dtype=g.dtype) for new, g in zip(shorter, grads, strict=True)]
