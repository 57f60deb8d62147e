"""The page in which a network is changed and trained: `tg.live(trainer, dataset)`."""

import sys
from types import ModuleType
from typing import Any

from tinygrad_ce.live.live import live
from tinygrad_ce.live.moments import Moment, State

__all__ = ["Moment", "State", "live"]


class _Room(ModuleType):
    """A package that can be called: Python puts it where the function `tg.live` is when a file of it is imported."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return live(*arguments, **options)


sys.modules[__name__].__class__ = _Room
