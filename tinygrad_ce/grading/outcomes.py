"""What comes of a call of a student's function, and how it travels between processes: as arrays and JSON, never pickled.

A pickle could execute something where it is read. This file needs NumPy only: the process in which a hand-in runs reads
it too.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

PRINTED = 4000  # characters of what is printed that are kept
MOST_NUMBERS = 10**7  # that may come back from one call


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one call. value: what it returned, or None; error: in words, or ""; printed: what it printed."""

    value: Any = None
    error: str = ""
    printed: str = ""


@dataclass(frozen=True)
class Unreadable:
    """Stands for a value that is no number, text, array or list of them. type: the name of its class."""

    type: str


def outcome_of(function: Callable[[Any], Any], case: Any) -> Outcome:
    """Call a function, with all that may go wrong in it as words.

    >>> outcome_of(lambda x: 1 / x, 0).error.partition(" (")[0]
    'ZeroDivisionError: division by zero'
    """
    printed = _Shortened()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), np.errstate(all="ignore"):
            value = function(case)
        return Outcome(value=value, printed=printed.getvalue())
    except MemoryError:
        return Outcome(error="it needs more memory than it may have", printed=printed.getvalue())
    except RecursionError as error:
        return Outcome(error=f"it calls itself without end: {failure(error)}", printed=printed.getvalue())
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: they end the call, not the grading
        return Outcome(error=failure(error), printed=printed.getvalue())


def failure(error: BaseException) -> str:
    """An exception in one line, with the student's own line in which it happened."""
    try:
        words = " ".join(str(error).split())[:500]
    except BaseException:  # of an exception of the student's own class
        words = ""
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    ours = (os.path.dirname(np.__file__), os.path.dirname(os.path.dirname(__file__)), os.path.dirname(os.__file__))
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*ours, "<frozen"))
    ]
    if not frames:
        return text
    line = f": {frames[-1].line}" if frames[-1].line else ""
    return f"{text} (line {frames[-1].lineno}{line})"


class _Shortened(io.StringIO):
    """Keeps the first characters of what is printed, however much that is."""

    def write(self, text: str) -> int:
        super().write(text[: max(0, PRINTED - self.tell())])
        return len(text)


def packed(outcome: Outcome) -> bytes:
    """An outcome as bytes."""
    arrays: dict[str, Any] = {}
    try:
        tree = {"value": _tree(outcome.value, arrays), "error": outcome.error, "printed": outcome.printed}
        stream = io.BytesIO()
        np.savez(stream, **arrays, tree=np.frombuffer(json.dumps(tree).encode(), np.uint8))
        return stream.getvalue()
    except BaseException as error:
        return packed(Outcome(error=f"what it returns cannot be read: {failure(error)}", printed=outcome.printed))


def unpacked(data: bytes) -> Outcome:
    """The outcome again."""
    arrays = np.load(io.BytesIO(data), allow_pickle=False)
    tree = json.loads(arrays["tree"].tobytes())
    return Outcome(_value(tree["value"], arrays), tree["error"], tree["printed"])


def _tree(value: Any, arrays: dict[str, Any]) -> Any:
    """A value as JSON, with the numbers of its arrays in `arrays`; what is none of these, as the name of its type."""
    if value is None or type(value) in (bool, int, float, str):
        return {"plain": value}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiubc":
        if value.size > MOST_NUMBERS:
            raise ValueError(f"an array of {value.size} numbers")
        arrays[f"array{len(arrays)}"] = np.asarray(value)
        return {"array": f"array{len(arrays) - 1}"}
    if isinstance(value, dict):
        return {"dict": [[str(name), _tree(x, arrays)] for name, x in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list" if isinstance(value, list) else "tuple": [_tree(x, arrays) for x in value]}
    return {"other": type(value).__name__}


def _value(tree: Any, arrays: Any) -> Any:
    ((kind, inside),) = tree.items()
    if kind == "plain":
        return inside
    if kind == "array":
        return arrays[inside]
    if kind == "dict":
        return {name: _value(x, arrays) for name, x in inside}
    if kind in ("list", "tuple"):
        items = [_value(x, arrays) for x in inside]
        return items if kind == "list" else tuple(items)
    return Unreadable(inside)
