"""The tensors from which the tests of the engine start, and what was recorded from there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from tinygrad_ce.core import Tensor
from tinygrad_ce.functional import gradients


def wanted(data: Any, **options: Any) -> Tensor:
    """A tensor that asks for gradients."""
    return Tensor(data, requires_grad=True, **options)


def gradient_of(f: Callable[[Any], Any], at: Any) -> Any:
    """The gradient of the sum of f, on arrays."""
    x = wanted(at)
    return gradients(f(x).sum(), x)


def recorded(loss: Tensor) -> list[weakref.ref[Tensor]]:
    """Weak references to all tensors that the loss was made from."""
    found, stack = [], [loss]
    while stack:
        tensor = stack.pop()
        found.append(weakref.ref(tensor))
        stack.extend(t for t in tensor.inputs if isinstance(t, Tensor) and t.op is not None)
    return found
