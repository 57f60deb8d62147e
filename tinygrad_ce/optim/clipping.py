"""Clipping: gradients that are too long together are scaled down together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor, interpreter
from tinygrad_ce.optim.arguments import positive

SMALLEST, LARGEST = float(np.finfo(float).tiny), float(np.finfo(float).max)  # `program.passes` knows these by identity


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients down together so that their joint norm is at most max_norm; returns the norm before.

    parameters: tensors whose `.grad` is scaled; those without one are passed over.
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
    if any(isinstance(g, Tensor) for g in grads):  # a program is being traced: whether to clip differs between steps
        joint, clipped = clip(grads, float(max_norm))
        for parameter, g in zip(holders, clipped, strict=True):
            parameter.grad = g.data
        return joint  # type: ignore[no-any-return]
    unit, length = joint_norm(grads)
    if unit * length > max_norm:
        for parameter, g in zip(holders, grads, strict=True):
            parameter.grad = np.asarray(g.astype(np.float64) / unit * (float(max_norm) / length), parameter.dtype)
    return unit * length


def joint_norm(grads: Sequence[Array]) -> tuple[float, float]:
    """The joint norm as unit * length: in units of the largest element, no square overflows or underflows."""
    elements = np.concatenate([[0.0], *(g.reshape(-1) for g in grads)], dtype=np.float64)
    unit = min(max(float(elements.max()), -float(elements.min()), SMALLEST), LARGEST)
    elements /= unit
    return unit, math.sqrt(np.dot(elements, elements))


def clip(grads: Sequence[Any], max_norm: float) -> tuple[Any, list[Any]]:
    """What `clip_grad_norm` does, as a function of the gradients, with operators: the norm, and the new ones.

    grads: arrays or Tensors. max_norm: what their joint norm is at most.

    >>> norm, clipped = clip([np.array([3.0, 4.0])], max_norm=1.0)
    >>> float(norm), clipped
    (5.0, [array([0.6, 0.8])])
    """
    wide = [ops.astype(g, dtype=np.dtype(float)) for g in grads]
    largest = reduce(ops.maximum, [ops.reduce_max(ops.absolute(g)) for g in wide if g.size], 0.0)
    unit = ops.clip(largest, low=SMALLEST, high=LARGEST)
    scaled = [g / unit for g in wide]
    length = ops.sqrt(reduce(add, [ops.reduce_sum(g * g) for g in scaled]))
    with np.errstate(over="ignore"):  # of 1e308 twice: infinite, and the shorter ones are right
        norm = length * unit
    shrink = max_norm / ops.maximum(length, SMALLEST)
    shorter = [ops.where(ops.greater(norm, max_norm), g * shrink, old) for g, old in zip(scaled, wide, strict=True)]
    return norm, [ops.astype(new, dtype=g.dtype) for new, g in zip(shorter, grads, strict=True)]
