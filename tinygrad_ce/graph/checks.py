"""Whether a loss can be looked at, and that looking changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Tensor, interpreter
from tinygrad_ce.errors import writing_line
from tinygrad_ce.kernels.attach import set_aside
from tinygrad_ce.report.words import listed, short


def check_readable(loss: Any, view: str, single: bool = True) -> None:
    """Raise TypeError or ValueError if there is no graph to look at.

    view: the call that the user wrote, such as "tg.draw". single: whether the view needs a single number.
    """
    if isinstance(loss, (np.ndarray, np.generic)):
        reason = "an array has no history, and a compiled step answers with arrays"
        advice = "call the step itself, without tg.compile, and pass the loss that it computes"
        raise TypeError(f"{view}: {reason}: {advice}")
    if not isinstance(loss, Tensor):
        raise TypeError(f"{view}: a loss is a Tensor that was computed from others, and this is {type(loss).__name__}")
    check_not_traced(loss, view)
    label = short(loss.label, 40)
    if loss.op is None or not loss.requires_grad:
        reason = "was made by you" if loss.op is None and loss.requires_grad else "depends on nothing with a gradient"
        advice = "Compute a loss from tensors with requires_grad=True, outside of no_grad(), and pass that"
        raise ValueError(f"{view}: {label} has no history: it {reason}. {advice}")
    if single and loss.size != 1:
        advice = "reduce it with .mean() or .sum()"
        raise ValueError(f"{view}: a loss is a single number, and {label} has shape {loss.shape}: {advice}")


@contextmanager
def undisturbed(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Let a walk use the plain rules, leave what kernels have computed, and not mind writes to variables."""
    tensors = list(tensors)
    counts = {id(x.writes): x.writes for t in tensors for x in t.inputs if isinstance(x, Tensor) and x.writes}
    before = [(count, count[0]) for count in counts.values()]
    with set_aside(tensors):
        try:
            for count, _ in before:
                count[0] = 0
            yield
        finally:
            for count, writes in before:
                count[0] = writes


def check_not_traced(tensor: Tensor, view: str) -> None:
    """Raise RuntimeError inside of a step that is being traced, where a tensor has no numbers that could be shown."""
    try:
        interpreter.get().numbers(tensor, f"{view} needs")
    except RuntimeError as error:
        reason = "this step is being traced, and a traced step has no numbers of its own"
        advice = f"call {view} on a loss that you compute outside of trace, compile and fit"
        raise RuntimeError(f"{view}: {reason}: {advice}") from error


def written_to(graph: Iterable[Tensor]) -> list[Tensor]:
    """The leaves whose arrays were written to after operations had used them: numbers from before and after are mixed.

    Each operation is run again: after a write to its inputs it has another result.
    """
    changed: dict[int, Tensor] = {}
    for tensor in graph:
        leaves = [x for x in tensor.inputs if isinstance(x, Tensor) and x.op is None]
        leaves = [leaf for leaf in leaves if leaf.requires_grad] or leaves
        if not leaves and any(isinstance(x, np.ndarray) for x in tensor.inputs):
            leaves = [tensor]  # the array itself is no tensor and has no name
        if tensor.op is None or not leaves:
            continue
        with np.errstate(all="ignore"):
            again = tensor.op.run(*tensor.arrays, **tensor.params)
        largest = np.abs(tensor.data[np.isfinite(tensor.data)]).max(initial=0)
        rounding = 1e4 * float(np.finfo(tensor.dtype).eps) * largest
        if not np.allclose(again, tensor.data, rtol=0, atol=rounding, equal_nan=True):
            changed |= {leaf.serial: leaf for leaf in leaves}
    return list(changed.values())


def check_unchanged(loss: Tensor, view: str) -> None:
    """Raise ValueError if a parameter was written to after the loss was computed: its numbers would be false."""
    changed = written_to(reachable(loss).values())
    if changed:
        where = next(filter(None, map(writing_line, changed)), " (optimizer.step()?)")
        were = f"{listed([short(x.label, 40) for x in changed])} {'was' if len(changed) == 1 else 'were'}"
        reason = f"{were} written to after the loss was computed{where}"
        advice = f"call {view} before the step, or compute the loss again"
        raise ValueError(f"{view}: {reason}, so that its numbers are no longer those of one pass: {advice}")
