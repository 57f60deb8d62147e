"""The names of a program: the learner's own where there are any, and no name for two things."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from inspect import CO_OPTIMIZED
from types import FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

from tinygrad_ce.core import Tensor
from tinygrad_ce.source_lines import is_ours


class Names:
    """The allocator of names: those that are taken, Python's own among them.

    >>> names = Names("np"); names.free("W"), names.free("W"), names.free("sum"), names.numbered("z")
    ('W', 'W_2', 'sum_2', 'z1')
    >>> names.free("p", ""), names.free("p", "")
    ('p', 'p2')
    """

    def __init__(self, *taken: str) -> None:
        self.taken = {*dir(builtins), *keyword.kwlist, *taken}
        self.numbers: dict[str, int] = {}  # the last one that each letter had

    def free(self, name: str, link: str = "_") -> str:
        """This name, or with another number at its end if it is taken; it is taken then. link: what is before that."""
        stem = name if link else name.rstrip("0123456789")
        candidate, n = name, 1
        while candidate in self.taken:
            n += 1
            candidate = f"{stem}{link}{n}"
        self.taken.add(candidate)
        return candidate

    def numbered(self, letter: str) -> str:
        """The letter with the first number behind it that makes a new name: z1, z2..."""
        n = self.numbers.get(letter, 0) + 1
        while f"{letter}{n}" in self.taken:
            n += 1
        self.numbers[letter] = n
        return self.free(f"{letter}{n}")


def tidy(name: str) -> str:
    """A name that can stand in a program: `layers.0.W` becomes `W0`, `x1*w1` becomes `x1w1`."""
    name = unicodedata.normalize("NFKC", name)  # as Python reads it
    path = re.fullmatch(r"\w+(\.\w+)+", name)
    words = name.split(".") if path else name.split()
    words = ["".join(c for c in word if f"_{c}".isidentifier()) for word in words]
    if path:
        last = next((word for word in reversed(words) if not word.isdigit()), "")
        text = last.lstrip("_") + "_".join(word for word in words if word.isdigit())
    else:
        text = "_".join(word for word in words if word).lstrip("_")
    text = text or "x"
    text = f"x{text}" if text[0].isdigit() else text
    return text + "_" if keyword.iskeyword(text) else text


def running_frames() -> Iterator[FrameType]:
    """The frames of the functions that are running, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def calling_frames() -> Iterator[FrameType]:
    """Those of the user's code."""
    return (frame for frame in running_frames() if not is_ours(frame))


def variables_of(frames: Iterable[FrameType]) -> dict[int, str]:
    """What Python variables call tensors and arrays, by id: those of the first frame win, global tensors come last.

    The attributes of `self` count as variables of a method; what starts with an underscore is nobody's name. A tensor
    that is no variable has the name by which a dictionary or an object holds it.
    """
    frames = [*frames]
    scopes: list[tuple[Mapping[Any, Any], Any]] = []
    holders: list[tuple[Mapping[Any, Any], Any]] = []
    for frame in frames:
        variables = _locals(frame)
        attributes: Mapping[str, Any] = getattr(variables.get("self"), "__dict__", {})
        scopes += [(variables, (Tensor, np.ndarray)), (attributes, (Tensor, np.ndarray))]
        holders += [(held, Tensor) for held in _holders(variables)]
    for frame in frames[:1]:
        holders += [(held, Tensor) for held in (frame.f_globals, *_holders(frame.f_globals))]
    names: dict[int, str] = {}
    for scope, kinds in [*scopes, *holders]:
        for name, value in [*scope.items()]:
            if isinstance(value, kinds) and isinstance(name, str) and name.isidentifier() and not name.startswith("_"):
                names.setdefault(id(value), name)
    return names


def _holders(variables: Mapping[str, Any]) -> Iterator[Mapping[Any, Any]]:
    """The dictionaries among some variables, and the attributes of what is no module of a model: `p["W"]`, `net.W`."""
    for value in [*variables.values()]:
        if type(value) is dict:
            yield value
        elif not isinstance(value, (type, ModuleType, FunctionType, Tensor)) and hasattr(value, "__dict__"):
            yield vars(value)


def _locals(frame: FrameType) -> dict[str, Any]:
    """The variables of a running function.

    Before Python 3.13 a frame keeps the dictionary that it gives, and with it all arrays in it: it is emptied, unless
    somebody else has called `locals()` there.
    """
    variables = frame.f_locals
    copy = {**variables}
    alone = isinstance(variables, dict) and sys.getrefcount(variables) <= 3  # the frame's, ours, and the call's
    if alone and frame.f_code.co_flags & CO_OPTIMIZED:
        variables.clear()
    return copy
