"""Backpropagation: one walk from the youngest tensor to the oldest, in which every rule hands its share back."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any

import numpy as np

from tinygrad_ce.core import EAGER, Array, Tensor, errors_module, interpreted, interpreter, ops  # type: ignore[attr-defined]


def recording(enabled: bool) -> AbstractContextManager[None]:
    """Inside, results keep how they were made or not, whatever was so before (in this thread)."""
    return interpreted(recording=enabled)


def no_grad() -> AbstractContextManager[None]:
    """Inside, nothing is recorded (in this thread): results have no history and take no memory for one.

    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad(): print((x * x).requires_grad)
    False
    """
    return recording(False)


def backward(of: Tensor, gradient: Any = None, **unknown: Any) -> None:
    """Fill `.grad` of every tensor that `of` was made from and that asked for gradients.

    gradient: what is upstream of `of`, in its shape; 1 if `of` is a single number, which a loss is.
    Leaves accumulate until their `.grad` is set to None (an optimizer's `zero_grad()`); tensors in between hold the
    gradient of the last call. Raises ValueError if `of` has no history, or is no single number and `gradient` is None.

    >>> x = Tensor([3.0], requires_grad=True)
    >>> backward((x * x).sum()); x.grad
    array([6.])
    """
    if unknown:
        raise errors_module().unknown_keyword("backward", backward, next(iter(unknown)))
    here = interpreter.get()
    for tensor, g in [*here.walk(of, seed_of(of, gradient))]:  # a walk that fails has filled no .grad
        if tensor.op is None and tensor.grad is not None:
            g = here.read(tensor.grad) + g
        tensor.grad = g if type(g) is np.ndarray else np.asarray(g.data if isinstance(g, Tensor) else g)


def walk(
    of: Tensor,
    seed: Any,
    needed: Container[int] | None = None,
    create_graph: bool = False,
    on_share: Callable[[Tensor, int, Any], None] | None = None,
) -> Iterator[tuple[Tensor, Any]]:
    """Each tensor with its whole gradient, the youngest first.

    An operation's inputs are older than its output, so when a tensor's turn comes, every share of its gradient has
    arrived. With create_graph the rules run on Tensors and are recorded; without, they run on arrays.
    needed: the serial numbers of the tensors that a gradient is to reach; None: all.
    on_share: is called with each share as it arrives: by which tensor, at which of its inputs.
    """
    if create_graph is not isinstance(seed, Tensor):
        seed = Tensor(seed) if create_graph else seed.data.copy()
    waiting = [-of.serial]  # a heap: the youngest tensor that a share has reached comes first
    arrived = {of.serial: (of, seed)}
    while waiting:
        tensor, g = arrived.pop(-heappop(waiting))
        yield tensor, g
        if tensor.op is None:
            continue
        out, values = (tensor, tensor.inputs) if create_graph else (tensor.data, tensor.arrays)
        params = tensor.params
        for position, (x, rule) in enumerate(zip(tensor.inputs, tensor.rules)):  # noqa: B905 (some have endless rules)
            if not isinstance(x, Tensor):
                continue
            if create_graph or (x.writes is not None and x.writes[0] > tensor.serial):  # is what the rules need there?
                errors_module().check_versions(tensor, position, needed, create_graph)
            if rule is None or not x.requires_grad:
                continue
            serial, data = x.serial, x.data
            if needed is not None and serial not in needed:
                continue
            share = rule(g, out, *values, **params) if params else rule(g, out, *values)
            try:
                fits = (
                    not create_graph and share.shape == data.shape and share.dtype is data.dtype and share.base is None
                )
            except AttributeError:  # what a wrong rule has answered
                fits = False
            if not fits or (share is g and type(g) is np.ndarray):
                share = fitted(share, g, tensor, position)
            if on_share is not None:
                on_share(tensor, position, share)
            if serial in arrived:
                arrived[serial] = x, arrived[serial][1] + share
            else:
                arrived[serial] = x, share
                heappush(waiting, -serial)


def fitted(share: Any, g: Any, tensor: Tensor, position: int) -> Any:
    """A share in the shape and dtype of its input, and in memory of its own: who writes to it changes no other."""
    if not isinstance(share, (np.ndarray, Tensor, np.generic)):
        raise errors_module().no_gradient(tensor.op, position, share)
    x, used, data = tensor.inputs[position], tensor.arrays[position], tensor.inputs[position].data
    if not isinstance(data, (np.ndarray, np.generic)) or data.dtype.kind != "f" or data.shape != used.shape:
        raise errors_module().replaced_data(x, used)
    if share.shape != data.shape:
        share = unbroadcast(tensor.op, position, share, data.shape)
    share = share if share.dtype == data.dtype else share.astype(data.dtype)
    if isinstance(share, np.ndarray) and (share is g or share.base is not None):
        share = share.copy()
    return share


def unbroadcast(op: Any, position: int, share: Any, shape: tuple[int, ...]) -> Any:
    """Sum a share over the axes along which its input was repeated: each repetition has contributed."""
    extra = share.ndim - len(shape)
    if extra == 1 and op.broadcasts and share.shape[1:] == shape and share.ndim == 2 and type(share) is np.ndarray:
        return np.dot(_ones(len(share), share.dtype), share)  # the sum over the rows, three times faster than np.sum
    if not op.broadcasts or extra < 0 or any(n not in (1, m) for n, m in zip(shape, share.shape[extra:], strict=True)):
        raise errors_module().wrong_shape(op, position, share, shape)
    repeated = tuple(i for i in range(share.ndim) if i < extra or (shape[i - extra] == 1 and share.shape[i] != 1))
    return ops.reduce_sum(share, axis=repeated).reshape(shape)


@lru_cache(maxsize=32)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    return np.ones(n, dtype)


def seed_of(of: Tensor, gradient: Any) -> Any:
    """What is upstream of the first tensor: 1, or the gradient that the user passes (a Tensor with its history)."""
    if not of.requires_grad:
        raise errors_module().no_history(of)
    if gradient is None:
        if of.data.size != 1:
            raise errors_module().no_single_number(of)
        return np.array(1, of.data.dtype) if of.data.ndim == 0 else np.ones_like(of.data)
    seed = gradient if isinstance(gradient, Tensor) else np.array(gradient, of.dtype)
    if seed.shape != of.shape:
        raise ValueError(f"gradient= has shape {seed.shape}, and {of.label} has shape {of.shape}")
    return seed


EAGER.walk = walk
Tensor.backward = backward  # type: ignore[method-assign, assignment]
