"""A Variable is what stays from step to step: parameters, an optimizer's memory, running averages.

A parameter is a tensor that asks for gradients; what is kept beside parameters is a `Variable`. Both are read and
written through the interpreter, so that a traced program knows them, and each write to a parameter raises its
`version`, so that a backward pass which needs the old numbers can say so. The interpreter's other effects are here too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.core import EAGER, Array, Tensor, interpreter, next_serial, writes_to


class Variable(Tensor):
    """A tensor without gradient that stays from step to step; it owns a copy of its data.

    >>> count = Variable([0.0, 0.0]); interpreter.get().write(count, [1.0, 2.0]); count.data
    array([1., 2.])
    """

    __slots__ = ()

    def __init__(self, data: Any, name: str | None = None) -> None:
        super().__init__(np.array(data), name=name)

    def __reduce__(self) -> Any:
        return Variable, (self.data.copy(), self.name)


class Attribute:
    """An array that a module holds under a name, and that its user may replace at any time: read anew in each step."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name

    @property
    def data(self) -> Array:
        """The array that is there now."""
        value = getattr(self.owner, self.name)
        return value.data if isinstance(value, Tensor) else value


# ---- the effects: what is done in a step that is no call of a primitive


def read(x: Any) -> Any:
    """The array that a variable (or `.grad`, or a loss's or layer's own constant) holds now."""
    return x.data if isinstance(x, Tensor) else x


def write(variable: Tensor, new: Any) -> None:
    """New numbers for a variable: into the array of a parameter, which others hold too; else an array of their own."""
    if variable.requires_grad:
        if isinstance(variable.data, np.generic):  # `w.data = w.data - lr * w.grad` of a single number makes a scalar
            variable.data = np.array(variable.data)
        variable.data[...] = new.data if isinstance(new, Tensor) else new
        writes_to(variable)[0] = next_serial()
    else:
        variable.data = np.array(new.data if isinstance(new, Tensor) else new, variable.dtype, order="C")


def draw(sample: Callable[..., Array], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Random numbers, new ones in each step."""
    return sample(shape, dtype)


PYTHON_NUMBER = "float(), int() and item() need"  # the reasons to ask for numbers that an instrument may know
TRUTH = "`if` needs"
TEXT = "a text needs"
COPY = "a copy needs"
ARRAY = "a NumPy array needs"


def numbers(x: Any, why: str | Callable[[Array], Any]) -> Any:
    """The numbers of a tensor, for code that is no operation. why: the words for a refusal, or a check of them."""
    return x.data if isinstance(x, Tensor) else x


def plain_array(x: Any) -> Array:
    """The array of a tensor, or of anything else, for code that hands back plain arrays (a compiled step, predict)."""
    return np.asarray(interpreter.get().numbers(x, ARRAY) if isinstance(x, Tensor) else x)


EAGER.read, EAGER.write, EAGER.draw, EAGER.numbers = read, write, draw, numbers


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
