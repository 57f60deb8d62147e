"""The tensors from which the losses of these tests start."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import Tensor


def wanted(data: Any, name: str | None = None, dtype: Any = float) -> Tensor:
    """A tensor that asks for gradients."""
    return Tensor(np.asarray(data, dtype), requires_grad=True, name=name)
