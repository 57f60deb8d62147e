"""Backpropagation: one walk from the youngest tensor to the oldest, in which every rule hands its share back."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any

import numpy as np

from tinygrad_ce.core import EAGER, Array, Tensor, array_of, interpreter
from tinygrad_ce.core import errors_module as _errors


@contextmanager
def recording(enabled: bool) -> Iterator[None]:
    """Inside, results keep how they were made or not, whatever was so before (in this thread)."""
    outer = interpreter.get()
    inside = copy(outer)
    inside.recording = enabled
    interpreter.set(inside)
    try:
        yield
    finally:
        interpreter.set(outer)


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside, nothing is recorded (in this thread): results have no history and take no memory for one.

    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad(): print((x * x).requires_grad)
    False
    """
    with recording(False):
        yield


def backward(of: Tensor, gradient: Any = None) -> None:
    """Fill `.grad` of every tensor that `of` was made from and that asked for gradients.

    gradient: what is upstream of `of`, in its shape; 1 if `of` is a single number, which a loss is.
    Leaves accumulate until their `.grad` is set to None (an optimizer's `zero_grad()`); tensors in between hold the
    gradient of the last call. Raises ValueError if `of` has no history, or is no single number and `gradient` is None.

    >>> x = Tensor([3.0], requires_grad=True)
    >>> backward((x * x).sum()); x.grad
    array([6.])
    """
    here = interpreter.get()
    for tensor, g in here.walk(of, seed_of(of, gradient)):
        if tensor.op is None and tensor.grad is not None:
            g = here.read(tensor.grad) + g
        tensor.grad = g if type(g) is np.ndarray else array_of(g)


def gradients(of: Tensor, wrt: Sequence[Tensor] | Tensor, create_graph: bool = False, gradient: Any = None) -> Any:
    """The gradients of one tensor with respect to others; `.grad` is left alone.

    wrt: a tensor, or a sequence of them; the answer is a gradient, or a list of them. Any tensor of the graph will do,
    and one that `of` does not depend on has gradient zero.
    create_graph: answer with Tensors that can be differentiated again, instead of with arrays.
    gradient: what is upstream of `of`, in its shape; 1 if `of` is a single number.
    Raises ValueError if a tensor did not ask for gradients, or `of` has no history.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> first = gradients(x * x * x, x, create_graph=True); gradients(first, x)
    array(18.)
    """
    tensors = [wrt] if isinstance(wrt, Tensor) else list(wrt)
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            label = tensor.label if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"gradients: {label} did not ask for gradients: make it with requires_grad=True")
    if not isinstance(of, Tensor):
        raise TypeError(f"gradients: the first argument is {type(of).__name__}; only a Tensor has a history")
    found: dict[int, Any] = {}
    sources = {tensor.serial for tensor in tensors}
    with recording(create_graph):
        for tensor, g in interpreter.get().walk(of, seed_of(of, gradient), leading_to(sources, of), create_graph):
            if tensor.serial in sources:
                found[tensor.serial] = g if isinstance(g, Tensor) else np.asarray(g)
    for tensor in tensors:
        if tensor.serial not in found:
            zero: Any = np.zeros_like(tensor.data)
            found[tensor.serial] = Tensor(zero) if create_graph else zero
    answers = [found[tensor.serial] for tensor in tensors]
    return answers[0] if isinstance(wrt, Tensor) else answers


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
        out, values, params = (
            (tensor, tensor.inputs, tensor.params) if create_graph else (tensor.data, tensor.arrays, tensor.params)
        )
        for position, (x, rule) in enumerate(zip(tensor.inputs, tensor.rules)):  # noqa: B905 (some have endless rules)
            if rule is None or not isinstance(x, Tensor) or not x.requires_grad:
                continue
            serial, data = x.serial, x.data
            if needed is not None and serial not in needed:
                continue
            if x.version > tensor.serial:  # written to since: do the rules need what was there?
                _errors().check_versions(tensor)
            share = rule(g, out, *values, **params) if params else rule(g, out, *values)
            try:
                fits = share.shape == data.shape and share.dtype is data.dtype and share is not g and share.base is None
            except AttributeError:  # a Tensor, or what a wrong rule has answered
                fits = False
            if not fits:
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
    op, x = tensor.op, tensor.inputs[position]
    if not isinstance(share, (Tensor, np.ndarray, np.generic)):
        raise _errors().no_gradient(op, position, share)
    if share.shape != x.shape:
        share = unbroadcast(op, position, share, x.shape)
    if share.dtype != x.dtype:
        share = share.astype(x.dtype)
    if isinstance(share, np.ndarray) and (share is g or share.base is not None):
        share = share.copy()
    return share


def unbroadcast(op: Any, position: int, share: Any, shape: tuple[int, ...]) -> Any:
    """Sum a share over the axes along which its input was repeated: each repetition has contributed."""
    extra = share.ndim - len(shape)
    if extra == 1 and op.broadcasts and share.shape[1:] == shape and share.ndim == 2 and type(share) is np.ndarray:
        return np.dot(_ones(len(share), share.dtype), share)  # the sum over the rows, three times faster than np.sum
    if not op.broadcasts or extra < 0 or any(n not in (1, m) for n, m in zip(shape, share.shape[extra:], strict=True)):
        raise _errors().wrong_shape(op, position, share, shape)
    repeated = tuple(i for i in range(share.ndim) if i < extra or (shape[i - extra] == 1 and share.shape[i] != 1))
    return share.sum(axis=repeated).reshape(shape)


@lru_cache(maxsize=32)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    return np.ones(n, dtype)


def seed_of(of: Tensor, gradient: Any) -> Any:
    """What is upstream of the first tensor: 1, or the gradient that the user passes (a Tensor with its history)."""
    if not of.requires_grad:
        raise ValueError(
            f"{of.label} has no history to go back through: none of its inputs has requires_grad=True, or it was made "
            "inside no_grad()"
        )
    if gradient is None:
        if of.data.size != 1:
            raise ValueError(
                f"backward starts at a single number, and {of.label} has shape {of.shape}: reduce it with .mean() or "
                ".sum(), or say what is upstream with gradient="
            )
        return np.array(1, of.data.dtype) if of.data.ndim == 0 else np.ones_like(of.data)
    seed = gradient if isinstance(gradient, Tensor) else np.array(gradient, of.dtype)
    if seed.shape != of.shape:
        raise ValueError(f"gradient= has shape {seed.shape}, and {of.label} has shape {of.shape}")
    return seed


def reachable(of: Tensor) -> dict[int, Tensor]:
    """By serial number, all tensors with a gradient that `of` was made from, and itself."""
    found = {of.serial: of}
    waiting = [of]
    while waiting:
        for x, _ in edges(waiting.pop()):
            if x.serial not in found:
                found[x.serial] = x
                waiting.append(x)
    return found


def edges(tensor: Tensor) -> list[tuple[Tensor, int]]:
    """The inputs of a tensor that a gradient flows to, each with its position."""
    pairs = enumerate(zip(tensor.inputs, tensor.rules, strict=False))
    return [(x, i) for i, (x, rule) in pairs if rule is not None and isinstance(x, Tensor) and x.requires_grad]


def leading_to(sources: Container[int], of: Tensor) -> set[int]:
    """The serial numbers of what `of` was made from that depends on one of the sources: no other needs a gradient."""
    found = reachable(of)
    leads: set[int] = set()
    for serial in sorted(found):  # the oldest first, so a tensor's inputs are decided before it
        if serial in sources or any(isinstance(x, Tensor) and x.serial in leads for x in found[serial].inputs):
            leads.add(serial)
    return leads


EAGER.walk = walk
Tensor.backward = backward  # type: ignore[method-assign, assignment]
