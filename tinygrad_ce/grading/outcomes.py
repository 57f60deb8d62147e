"""What comes of a call of a student's function, and how it travels between processes: as arrays and JSON.

A pickle could execute something where it is read. This file needs NumPy only: the process in which a hand-in runs reads
it too.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tokenize
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"
PRINTED = 4000  # characters of what is printed that are kept
LONGEST = 500  # characters of what an exception says
MOST_NUMBERS = 10**7  # of an array that comes back


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


class Shortened(io.StringIO):
    """Keeps the first characters of what is printed, however much that is."""

    def write(self, text: str) -> int:
        """Keep what there is still room for."""
        super().write(text[: max(0, PRINTED - self.tell())])
        return len(text)

    def close(self) -> None:
        """Stay open: who closes `sys.stdout` means the end of printing, and what there is will still be read."""

    def reconfigure(self, **_: Any) -> None:
        """What files do that print other letters than English ones: nothing is to be done for it here."""


# ---- one call


def outcome_of(function: Callable[[Any], Any], case: Any, printed: Shortened | None = None) -> Outcome:
    """Call a function, with all that may go wrong in it as words. printed: where it prints to.

    >>> outcome_of(lambda x: 1 / x, 0).error.partition(" (")[0]
    'ZeroDivisionError: division by zero'
    """
    printed, value, error = printed or Shortened(), None, ""
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), np.errstate(all="ignore"):
            value = function(case)
    except MemoryError:
        error = "it needs more memory than it may have"
    except RecursionError as raised:
        error = f"it calls itself without end: {failure(raised)}"
    except BaseException as raised:  # SystemExit and KeyboardInterrupt too: they end the call, not the grading
        error = failure(raised)
    return Outcome(value, error, printed.getvalue())


def failure(error: BaseException) -> str:
    """An exception in one line, with the student's own line in which it happened.

    >>> try: np.ones(2) @ np.ones(3)
    ... except ValueError as error: print(failure(error)[:10])
    ValueError
    """
    try:
        words = " ".join(str(error).split())[:LONGEST]
    except BaseException:  # of an exception of the student's own class
        words = ""
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    ours = (np.__file__, os.path.dirname(os.path.abspath(__file__)), os.__file__)
    others = ("<frozen", *(os.path.dirname(path) for path in ours))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(others)]
    if not frames:
        return text
    line = f": {frames[-1].line}" if frames[-1].line else ""
    place = frames[-1].filename.partition(".ipynb:")[2]  # the cell
    return f"{text} ({place}line {frames[-1].lineno}{line})"


def decoded(content: bytes) -> tuple[str, str]:
    """The text of a file of Python in whatever encoding it has been saved, and what is to be said of that.

    >>> decoded("é".encode("latin-1"))[0]
    'é'
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace"), "the file is saved as UTF-16"
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(content).readline)[0]
        return content.decode(encoding), ""
    except (SyntaxError, UnicodeDecodeError, LookupError):
        words = "the file is no UTF-8: it was read as Windows-1252, and Python itself would refuse it"
        return content.decode("cp1252", errors="replace"), words


def cells_of_code(notebook: str) -> list[str]:
    """The cells of code in the text of a notebook. ValueError for what is no notebook.

    >>> cells_of_code('{"cells": [{"cell_type": "code", "source": ["x = ", "1"]}]}')
    ['x = 1']
    """
    try:
        sources = [cell["source"] for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
        return [source if isinstance(source, str) else "".join(source) for source in sources]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("the file is no notebook: save it again as .ipynb") from None


# ---- values as bytes: arrays and JSON, never pickles, which could execute something when they are read


def packed(value: Any) -> bytes:
    """A value as the bytes of a file of arrays; what is no number, text, array or list of them, as its type's name.

    >>> unpacked(packed({"d_W": np.ones(2)}))
    {'d_W': array([1., 1.])}
    """
    arrays: dict[str, Array] = {}
    tree = _tree(value, arrays)
    stream = io.BytesIO()
    np.savez(stream, **arrays, tree=np.frombuffer(json.dumps(tree).encode(), np.uint8))  # type: ignore[arg-type]
    return stream.getvalue()


def unpacked(content: bytes) -> Any:
    """The value that was packed."""
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    return _value(json.loads(arrays["tree"].tobytes()), arrays)


def packed_outcome(outcome: Outcome) -> bytes:
    """An outcome as bytes; a value that cannot be read becomes an error."""
    try:
        return packed(vars(outcome))
    except BaseException as error:
        return packed({"error": f"what it returns cannot be read: {failure(error)}", "printed": outcome.printed})


def _tree(value: Any, arrays: dict[str, Array]) -> Any:
    """A value as JSON, with the numbers of its arrays in `arrays`."""
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


# ---- limits


def limit_memory(megabytes: float) -> None:
    """Let this process take so much memory beyond what it has, where the system can be asked for that."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(megabytes * 1e6),) * 2)
