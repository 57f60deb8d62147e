"""Backpropagation: one walk from the youngest tensor to the oldest, in which every rule hands its share back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from weakref import ref

import numpy as np

from tinygrad_ce.core import Array, Primitive, Tensor
from tinygrad_ce.ops import astype
from tinygrad_ce.tape import deriving, recording


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside, nothing is recorded (in this thread): results have no history and take no memory for one.

    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad(): print((x * x).requires_grad)
    False
    """
    with recorded(False):
        yield


@contextmanager
def recorded(enabled: bool) -> Iterator[None]:
    """Inside, recording is on or off, whatever it was before (in this thread)."""
    before, recording.enabled = recording.enabled, enabled
    try:
        yield
    finally:
        recording.enabled = before


def backward(of: Tensor, gradient: Any = None) -> None:
    """Fill `.grad` of every tensor that `of` was made from and that asked for gradients.

    gradient: what is upstream of `of`, in its shape; 1 if `of` is a single number, which a loss is.
    Leaves accumulate until their `.grad` is set to None (an optimizer's `zero_grad()`); tensors in between hold the
    gradient of the last call. Raises ValueError if `of` has no history, or is no single number and `gradient` is None.

    >>> x = Tensor([3.0], requires_grad=True)
    >>> backward((x * x).sum()); x.grad
    array([6.])
    """
    if recording.listener is not None:
        recording.listener.backward(of, gradient)  # a program is being written down
        return
    for tensor, g in pulled_back(of, seed_of(of, gradient), reachable(of)):
        if tensor.op is None and tensor.grad is not None:
            g = tensor.grad + g
        tensor.grad = g if type(g) is np.ndarray else np.asarray(g)  # NumPy makes scalars of 0-d arrays
    recording.last = ref(of)  # for `explain`


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
    found: dict[int, Any] = {}
    wanted = {tensor.number for tensor in tensors}
    if not isinstance(of, Tensor):
        raise TypeError(f"gradients: the first argument is {type(of).__name__}; only a Tensor has a history")
    on_tensors = create_graph or recording.listener is not None  # which hears what is done to tensors only
    seed = seed_of(of, gradient, on_tensors)
    with recorded(create_graph), deriving():
        for tensor, g in pulled_back(of, seed, leading_to(wanted, of), on_tensors):
            if tensor.number in wanted:
                found[tensor.number] = g if on_tensors else np.asarray(g)
    zero = (lambda t: Tensor(np.zeros_like(t.data))) if on_tensors else (lambda t: np.zeros_like(t.data))
    answers = [found[t.number] if t.number in found else zero(t) for t in tensors]
    return answers[0] if isinstance(wrt, Tensor) else answers


def reachable(of: Tensor) -> dict[int, Tensor]:
    """By number, all tensors with a gradient that `of` was made from, and itself. No recursion: chains are long."""
    found = {of.number: of}
    stack = [of]
    while stack:
        for x, _ in stack.pop().edges:
            if x.number not in found:
                found[x.number] = x
                stack.append(x)
    return found


def leading_to(wanted: set[int], of: Tensor) -> dict[int, Tensor]:
    """The part of `reachable(of)` that depends on one of the wanted tensors: no other needs a gradient."""
    found = reachable(of)
    leads: dict[int, Tensor] = {}
    for number in sorted(found):  # oldest first, so a tensor's inputs are decided before it
        tensor = found[number]
        if number in wanted or any(x.number in leads for x, _ in tensor.edges):
            leads[number] = tensor
    return leads


def pulled_back(
    of: Tensor,
    seed: Any,
    needed: dict[int, Tensor],
    create_graph: bool = False,
    heard: Callable[[Tensor, int, Any], None] | None = None,
) -> Iterator[tuple[Tensor, Any]]:
    """Each needed tensor with its whole gradient, youngest first.

    An operation's inputs are older than its output, so when a tensor's turn comes, every share of its gradient has
    arrived. With create_graph the rules run on Tensors and are recorded; without, they run on arrays.
    heard: is told each share as it arrives: by which tensor, at which of its inputs.
    """
    arriving = {of.number: seed}
    for number in sorted(needed, reverse=True):
        g = arriving.pop(number, None)
        if g is None:
            continue
        tensor = needed[number]
        yield tensor, g
        op = tensor.op
        if op is None:
            continue
        values, out = (tensor.inputs, tensor) if create_graph else (tensor.values, tensor.data)
        params = tensor.params
        for x, position in tensor.edges:
            number, data = x.number, x.data
            if number in needed:
                if tensor.ready is not None and position == 0 and not create_graph:
                    share, tensor.ready = tensor.ready, None  # once: whoever gets it may write to it
                    if g != 1:
                        share *= g
                else:
                    rule = op.rules[position] if op.starred is None else op.rule(position)
                    share = rule(g, out, *values, **params) if params else rule(g, out, *values)
                try:
                    fits = share.shape == data.shape
                except AttributeError:
                    raise TypeError(_no_gradient(op, position, share)) from None
                if not fits:
                    share = unbroadcast(op, position, share, data.shape)
                if share.dtype != data.dtype:
                    share = astype(share, dtype=data.dtype)
                if not create_graph and (share is g or share.base is not None):
                    share = share.copy()  # every gradient has its own memory: whoever writes to one changes no other
                if heard is not None:
                    heard(tensor, position, share)
                arriving[number] = arriving[number] + share if number in arriving else share


def _no_gradient(op: Primitive, position: int, share: Any) -> str:
    hint = ": does it return?" if share is None else ""
    return f"{op.name}: the rule for `{op.argument(position)}` answered {share!r}, which is no gradient{hint}"


def unbroadcast(op: Primitive, position: int, share: Any, shape: tuple[int, ...]) -> Any:
    """Sum a share over the axes along which its input was repeated: each repetition has contributed."""
    extra = share.ndim - len(shape)
    if op.broadcasts and extra == 1 and share.shape[1:] == shape and share.ndim == 2 and isinstance(share, np.ndarray):
        return np.dot(_ones(len(share), share.dtype), share)  # the sum over the rows, three times faster than np.sum
    fits = op.broadcasts and extra >= 0
    if not fits or any(n not in (1, m) for n, m in zip(shape, share.shape[extra:], strict=True)):
        argument = op.argument(position)
        raise ValueError(
            f"{op.name}: the rule for `{argument}` answered shape {share.shape}, and `{argument}` has shape {shape}"
            + ("" if op.broadcasts else f"; if {op.name} broadcasts, declare it with @primitive(broadcasts=True)")
        )
    repeated = tuple(i for i in range(share.ndim) if i < extra or (shape[i - extra] == 1 and share.shape[i] != 1))
    return share.sum(axis=repeated).reshape(shape)


@lru_cache(maxsize=32)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    return np.ones(n, dtype)


def seed_of(of: Tensor, gradient: Any, create_graph: bool = False) -> Any:
    """What is upstream of the first tensor: 1, or the gradient that was given (with its history if that is wanted)."""
    if not of.requires_grad:
        raise ValueError(
            f"{of.label} has no history to go back through: none of its inputs has requires_grad=True, or it was made "
            "inside no_grad()"
        )
    if gradient is None:
        if of.size != 1:
            raise ValueError(
                f"backward starts at a single number, and {of.label} has shape {of.shape}: reduce it with .mean() or "
                ".sum(), or say what is upstream with gradient="
            )
        gradient = np.array(1, of.dtype).reshape(of.shape)
    if create_graph and isinstance(gradient, Tensor):
        seed: Any = gradient
    else:
        seed = np.array(gradient.data if isinstance(gradient, Tensor) else gradient, of.dtype)
    if seed.shape != of.shape:
        raise ValueError(f"gradient= has shape {seed.shape}, and {of.label} has shape {of.shape}")
    return Tensor(seed) if create_graph and not isinstance(seed, Tensor) else seed
