"""What a tensor was made from: the graph that the walk goes through, for those who look at it."""

from __future__ import annotations

from collections.abc import Container

from tinygrad_ce.core import Tensor


def reachable(of: Tensor) -> dict[int, Tensor]:
    """By serial number, all tensors with a gradient that `of` was made from, and itself."""
    found = {of.serial: of}
    waiting = [of]
    while waiting:
        for x, _ in edges(waiting.pop()):
            if x.serial not in found:
                found[x.serial] = x
                waiting.append(x)
    return found


def edges(tensor: Tensor) -> list[tuple[Tensor, int]]:
    """The inputs of a tensor that a gradient flows to, each with its position."""
    pairs = enumerate(zip(tensor.inputs, tensor.rules, strict=False))
    return [(x, i) for i, (x, rule) in pairs if rule is not None and isinstance(x, Tensor) and x.requires_grad]


def leading_to(sources: Container[int], of: Tensor) -> set[int]:
    """The serial numbers of what `of` was made from that depends on one of the sources: no other needs a gradient."""
    found = reachable(of)
    leads: set[int] = set()
    for serial in sorted(found):  # the oldest first, so a tensor's inputs are decided before it
        if serial in sources or any(isinstance(x, Tensor) and x.serial in leads for x in found[serial].inputs):
            leads.add(serial)
    return leads
