"""Which operation made the first number that is not finite."""

from __future__ import annotations

import numpy as np

from tinygrad_ce.backward import reachable
from tinygrad_ce.core import Tensor, written


def first_not_finite(of: Tensor) -> Tensor | None:
    """The oldest tensor of the graph with a NaN or infinity in it; None if all numbers are finite.

    Tensors are numbered as they are born, so the oldest is the one where the trouble began.
    """
    for _, tensor in sorted(reachable(of).items()):
        if not np.isfinite(tensor.data).all():
            return tensor
    return None


def told(tensor: Tensor) -> str:
    """A sentence on the first tensor that is not finite: what made it, which element, and from which operands."""
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(tensor.data))[0])
    what = f"element {list(index)} is {tensor.data[index]}" if index else f"its value is {tensor.data}"
    if tensor.op is None:
        return f"the leaf {tensor.label} itself is not finite: {what}"
    ranges = [
        f"{x.label if isinstance(x, Tensor) else 'an array'} in [{np.min(value):.4g}, {np.max(value):.4g}]"
        for x, value in zip(tensor.inputs, tensor.values, strict=True)
        if np.size(value)
    ]
    return f"the first is {tensor.label} = {written(tensor.op, tensor.inputs)}: {what}; its inputs: {', '.join(ranges)}"
