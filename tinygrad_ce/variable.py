"""A Variable is what stays from step to step: parameters, an optimizer's memory, running averages.

A parameter is a tensor that asks for gradients; what is kept beside parameters is a `Variable`. Both are read and
written through the interpreter (`read`, `write`), so that a traced program knows them, and each write raises the
`version`, so that a backward pass which needs the old numbers can say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor, interpreter


class Variable(Tensor):
    """A tensor without gradient that stays from step to step; it owns a copy of its data.

    >>> count = Variable([0.0, 0.0]); interpreter.get().write(count, [1.0, 2.0]); count.data
    array([1., 2.])
    """

    __slots__ = ()

    def __init__(self, data: Any, name: str | None = None) -> None:
        super().__init__(np.array(data), name=name)


class Attribute:
    """An array that a module holds under a name, and that its user may replace at any time: read anew in each step."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name

    @property
    def data(self) -> Array:
        """The array that is there now."""
        value = getattr(self.owner, self.name)
        return value.data if isinstance(value, Tensor) else value


# ---- the operators that write in place


def _in_place(sign: str, compute: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Tensor]:
    """`w -= ...`: of a parameter it would silently build a graph that grows with each step, so it raises."""

    def operator(self: Tensor, other: Any) -> Tensor:
        if self.op is not None or not self.requires_grad:
            result: Tensor = compute(self, other)
            return result
        here = interpreter.get()
        if here.recording:
            name = self.name or "w"
            raise TypeError(
                f"{name} {sign}= ... would not change {self.label} but replace it by a new tensor, whose history grows "
                f"with each step: write `with tg.no_grad(): {name} {sign}= ...`, which writes in place, or let an "
                "optimizer do it: tg.optim.SGD(parameters, lr=0.1).step()"
            )
        here.write(self, compute(here.read(self), other))
        return self

    return operator


Tensor.__iadd__ = _in_place("+", lambda a, b: a + b)  # type: ignore[attr-defined]
Tensor.__isub__ = _in_place("-", lambda a, b: a - b)  # type: ignore[attr-defined]
Tensor.__imul__ = _in_place("*", lambda a, b: a * b)  # type: ignore[attr-defined]
Tensor.__itruediv__ = _in_place("/", lambda a, b: a / b)  # type: ignore[attr-defined]
Tensor.__ipow__ = _in_place("**", lambda a, b: a**b)  # type: ignore[attr-defined]
Tensor.__imatmul__ = _in_place("@", lambda a, b: a @ b)  # type: ignore[attr-defined]
