"""Which operation made the first number that is not finite."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_ce.core import Tensor

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
    from tinygrad_ce.views.nan.diagnosis import Examination

    check_readable(loss, "tg.why_nan", single=False)
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):  # the user's own pass has warned already
        return Examination(loss).diagnosis()
