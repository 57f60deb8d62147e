"""Which operation made the first number that is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinygrad_ce.core import Tensor
from tinygrad_ce.errors import call_text

if TYPE_CHECKING:
    from tinygrad_ce.views.nan.diagnosis import Diagnosis


def why_nan(loss: Tensor) -> Diagnosis:
    """Where the first NaN or infinity came from: the operation, its operands, the line, the cause and the usual cure.

    loss: a recorded tensor, before or after `backward()`; of any shape, and then the gradients are those of its sum.
    Nothing is recorded or computed until this is called, and nothing is changed by it: it reads the graph, and runs
    single operations and rules again to see who is to blame.
    The answer prints as a few lines. `.forward` is what made the loss NaN or infinite, `.backward` what made a gradient
    so, also where the loss is finite; None where there is nothing. `if tg.why_nan(loss): ...` asks whether there is.
    Raises TypeError if loss is no Tensor, ValueError if it has no history, RuntimeError while a step is being traced.

    >>> x = Tensor([4.0, 0.0], requires_grad=True, name="x")
    >>> found = why_nan(x.sqrt().sum())
    >>> found.backward.op, found.backward.index, found.backward.operands
    ('sqrt', (1,), {'x': 0.0})
    """
    from tinygrad_ce.graph.checks import check_readable
    from tinygrad_ce.views.nan.findings import diagnosed

    check_readable(loss, "tg.why_nan", single=False)
    return diagnosed(loss)


def first_not_finite(of: Tensor) -> Tensor | None:
    """The oldest tensor of the graph that has made this one NaN or infinite; None if it is finite.

    An infinity that is meant, as in a mask, and one in a branch that was not taken are none of the trouble.
    """
    from tinygrad_ce.views.nan.findings import first_spoilt

    return None if np.isfinite(of.data).all() else first_spoilt(of)


def told(tensor: Tensor) -> str:
    """A sentence on the first tensor that is not finite: what made it, which element, from which operands, and why."""
    from tinygrad_ce.views.nan.findings import cause_of

    index = tuple(int(i) for i in np.argwhere(~np.isfinite(tensor.data))[0])
    what = f"element {list(index)} is {tensor.data[index]}" if index else f"its value is {tensor.data}"
    if tensor.op is None:
        return f"the leaf {tensor.label} itself is not finite: {what}"
    ranges = [
        f"{x.label if isinstance(x, Tensor) else 'an array'} in [{np.min(value):.4g}, {np.max(value):.4g}]"
        for x, value in zip(tensor.inputs, tensor.arrays, strict=True)
        if np.size(value)
    ]
    made = f"{tensor.label} = {call_text(tensor.op, tensor.inputs)}"
    cause = cause_of(tensor)
    return f"the first is {made}: {what}; its inputs: {', '.join(ranges)}" + (f"; {cause}" if cause else "")
