"""Which line of the user's code asked for something, and inside which modules: for warnings, views and pictures."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeAlias

# Noted at each call of a module and at each operation, so it is a plain tuple, with a code and where in it, which are
# turned into a file and a line only when somebody asks:
# (module or None for an operation, the call around it, whether the module is a layer of ours, code, instruction).
# A layer of ours in a layer of ours has no code of its own: the one around it knows the user's line.
Place: TypeAlias = tuple[Any, Any, bool, CodeType | None, int]

_PACKAGE = os.path.dirname(__file__) + os.sep
_LAYERS = os.path.join(_PACKAGE, "nn") + os.sep


class _Calls(threading.local):
    """`inner`: the call of a module that this thread is in; () outside of modules, None where nothing is noted."""

    inner: Any = ()


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


def place() -> Place:
    """Where the primitive that is recording its result was called; the walk ends in the user's code.

    Inside a module it ends in our layers, too: the notes of their calls know the user's line.
    """
    inner = calls.inner
    passed_over = _ours_but_layers if inner else _ours
    frame: FrameType = sys._getframe(3)
    while passed_over[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    return None, inner or None, False, frame.f_code, frame.f_lasti


@contextmanager
def noted(enabled: bool) -> Iterator[None]:
    """Inside, places are kept or not, whatever was so before (in this thread)."""
    before, calls.inner = calls.inner, () if enabled else None
    try:
        yield
    finally:
        calls.inner = before


@contextmanager
def users_function() -> Iterator[None]:
    """Inside, a layer of ours has called a function of its user, whose own lines are the user's lines."""
    before = calls.inner
    if before:
        calls.inner = None, before, False, None, 0
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


def line_of(place: Place) -> Line | None:
    """The line of the user's code: that of the place itself, or where the layers of ours around it were called.

    None if there is none, because this package asked for it all (the command line does).
    """
    _, around, _, code, instruction = place
    while around and (code is None or _ours[code.co_filename]):
        _, around, _, code, instruction = around
    if code is None or _ours[code.co_filename]:
        return None
    numbers = (position[0] for position in islice(code.co_positions(), instruction // 2, None))
    return Line(code.co_filename, next(numbers, None) or code.co_firstlineno)


def calls_around(place: Place | None) -> list[Place]:
    """The calls of modules inside which something was made, the outermost first; each is one object."""
    found = []
    while place:
        if place[0] is not None:
            found.append(place)
        place = place[1]
    return found[::-1]


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
