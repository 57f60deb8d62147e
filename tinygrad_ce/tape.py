"""Whether this thread writes down how its tensors are made, and who listens while a step runs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt


class Listener:
    """Whoever writes a program down while a step runs (`program/traced.py`): what the engine tells and asks it."""

    section = "forward"  # or "backward", while rules run

    def called(self, op: Any, inputs: tuple[Any, ...], params: Mapping[str, Any], result: Any) -> None:
        """A primitive was called with a Tensor, and this is its result."""

    def refuse(self, tensor: Any, asked: str) -> None:
        """Somebody asks for the numbers of a tensor. They differ from step to step: may raise."""

    def backward(self, of: Any, gradient: Any) -> None:
        """`of.backward(gradient)` is wanted, by rules that run on Tensors."""
        raise RuntimeError("backward() inside of a derivative rule")

    def updated(self, optimizer: Any) -> None:
        """`optimizer.step()` is wanted, by its definition."""
        raise RuntimeError("an optimizer's step() inside of a derivative rule")

    def clipped(self, parameters: Sequence[Any], max_norm: float) -> Any:
        """`clip_grad_norm(parameters, max_norm)` is wanted; the norm."""
        raise RuntimeError("clip_grad_norm() inside of a derivative rule")

    def checks(self, x: Any, look: Callable[[npt.NDArray[Any]], Any]) -> None:
        """Somebody has looked at the numbers of x, by a function that raises if they are wrong: so must each run."""

    def mode(self, layer: Any) -> None:
        """A layer does in training what it does not do in evaluation."""

    def drawn(self, draw: Callable[[], npt.NDArray[Any]], example: npt.NDArray[Any], name: str) -> Any:
        """Random numbers are wanted: new ones in each step."""
        return draw()

    def held(self, array: Any, name: str) -> Any:
        """A fixed array that belongs to a loss or layer."""
        return array

    def kept(self, owner: Any, attribute: str) -> Any:
        """An array that a layer keeps from step to step."""
        return getattr(owner, attribute)

    def becomes(self, owner: Any, attribute: str, new: Any) -> None:
        """What that array will be after the step."""
        setattr(owner, attribute, np.array(new.data))


class _Recording(threading.local):
    """`enabled`: whether histories are kept (`no_grad` switches it off). `last`: where `backward` went from."""

    enabled = True
    listener: Listener | None = None
    last: weakref.ref[Any] | None = None


recording = _Recording()


@contextmanager
def deriving() -> Iterator[None]:
    """Inside, primitives are called by rules."""
    listener = recording.listener
    if listener is None:
        yield
        return
    before, listener.section = listener.section, "backward"
    try:
        yield
    finally:
        listener.section = before


def checked(x: Any, look: Callable[[npt.NDArray[Any]], Any]) -> Any:
    """What `look` says of the numbers of a tensor or array; a program that is being written will look again."""
    if recording.listener is not None:
        recording.listener.checks(x, look)
    return look(x if isinstance(x, np.ndarray) else x.data)


def held(array: Any, name: str) -> Any:
    """An array that a loss or layer has made of its own settings: while a program is written, part of that program."""
    return array if recording.listener is None else recording.listener.held(array, name)
