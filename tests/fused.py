"""The gradient that a loss's kernel has computed on its way, for tests of who takes it and who leaves it there."""

from __future__ import annotations

from typing import Any

from tinygrad_ce.kernels.attach import fused_rules


def ready_gradient(loss: Any) -> Any:
    """The gradient that waits on the edge to the logits; None where there is none."""
    return next((rule.slope for rule in fused_rules([loss])), None)
