"""A program whose loss or gradient is not finite, and what `tg.why_nan` must name: one table of all of them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Tensor


@dataclass(frozen=True)
class Story:
    """A loss as a user would build it, and what must be named.

    forward, backward: the operation, or "data" or "parameter"; None where that pass is finite. cause: words that the
    answer has. cure: words of the first cure. Of words as "a|b" one is enough.
    index, operands: of that finding. The line is the one that is marked with `# here`.
    """

    build: Callable[[], Tensor]
    forward: str | None
    backward: str | None
    cause: tuple[str, ...]
    cure: str
    index: tuple[int, ...] | None = None
    operands: dict[str, float] | None = None

    @property
    def line(self) -> int:
        lines, start = inspect.getsourcelines(self.build)
        marked = [n for n, text in enumerate(lines, start) if "# here" in text]
        assert len(marked) == 1
        return marked[0]


STORIES: dict[str, Story] = {}


def story(forward: str | None, backward: str | None, *cause: str, cure: str, **rest: Any) -> Any:
    """Add a story to the table, under the name of the function that builds its loss."""

    def added(build: Callable[[], Tensor]) -> Callable[[], Tensor]:
        STORIES[build.__name__] = Story(build, forward, backward, cause, cure, **rest)
        return build

    return added


def built(build: Callable[[], Tensor]) -> Tensor:
    """The loss, without the warnings that NumPy gives the user while it is computed."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build()


def leaves_of(loss: Tensor) -> list[Tensor]:
    return [x for x in reachable(loss).values() if x.op is None]
