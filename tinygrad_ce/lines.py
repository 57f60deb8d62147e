"""Which line of the user's code asked for something, and inside which modules: for warnings, views and pictures."""

from __future__ import annotations

import os
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeAlias

# Noted at each call of a module and at each operation, so these are plain tuples: a code and where in it, which is
# turned into a file and a line only when somebody asks.
Call: TypeAlias = tuple[Any, ...]  # () outside of modules, else (weak reference, class, code, instruction, outer call)
Place: TypeAlias = tuple[Call | None, CodeType, int]  # (innermost call of a module, code, instruction)

_PACKAGE = os.path.dirname(__file__) + os.sep
_LAYERS = os.path.join(_PACKAGE, "nn") + os.sep


class _Calls(threading.local):
    """`inner`: the call of a module that this thread is in; () outside of modules, None where nothing is noted."""

    inner: Call | None = ()


calls = _Calls()


class _Files(dict[str, bool]):
    """By the name of a file, whether frames in it are passed over on the way to the user."""

    def __init__(self, but: str = "") -> None:
        self.but = but

    def __missing__(self, file: str) -> bool:
        ours = self[file] = file.startswith(_PACKAGE) and not (self.but and file.startswith(self.but))
        return ours


_ours = _Files()
_ours_but_layers = _Files(but=_LAYERS)


def entered(module: Any, outer: Call) -> Call:
    """What is noted when a module is called: it, and from where."""
    frame = sys._getframe(2)
    return weakref.ref(module), type(module), frame.f_code, frame.f_lasti, outer


def place() -> Place:
    """Where the primitive that is recording its result was called: in the user's code, or in one of our layers.

    For a layer the notes of its call know the user's line, so the walk is two frames long and not the whole stack.
    """
    inner = calls.inner
    passed_over = _ours_but_layers if inner else _ours
    frame: FrameType = sys._getframe(3)
    while passed_over[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    return inner, frame.f_code, frame.f_lasti


@contextmanager
def noted(enabled: bool) -> Iterator[None]:
    """Inside, places are kept or not, whatever was so before (in this thread)."""
    before, calls.inner = calls.inner, () if enabled else None
    try:
        yield
    finally:
        calls.inner = before


class Line(NamedTuple):
    """A line of somebody's code."""

    file: str
    number: int

    @property
    def short(self) -> str:
        """As in "train.py:12"."""
        return f"{os.path.basename(self.file)}:{self.number}"


def line_of(place: Place) -> Line:
    """The line of the user's code: that of the place, or where the outermost of our layers around it was called."""
    call, code, instruction = place
    while call and _ours[code.co_filename]:
        code, instruction, call = call[2:]
    numbers = (position[0] for position in islice(code.co_positions(), instruction // 2, None))
    return Line(code.co_filename, next(numbers, None) or code.co_firstlineno)


def _users_frame() -> FrameType:
    """The innermost call that is not of this package."""
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and _ours[frame.f_code.co_filename]:
        frame = frame.f_back
    return frame


def users_line() -> Line:
    """Where we were called from, outside this package."""
    frame = _users_frame()
    return Line(frame.f_code.co_filename, frame.f_lineno)


def warn(message: str) -> None:
    """A UserWarning at the line of the user's code that called us; by Python's default it is shown there once."""
    frame = _users_frame()
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, UserWarning, frame.f_code.co_filename, frame.f_lineno, registry=registry)
