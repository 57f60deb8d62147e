"""A student's function in a process of its own: what it returns comes back as plain arrays, and nothing else does.

It is a guard against accidents (endless loops, memory, a crash), no security boundary.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from tinygrad_ce.core import Array

SECONDS, MEGABYTES = 10.0, 2000.0
PRINTED = 4000  # characters of what it printed that are kept


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one call. value: what it returned, or None; error: in words, or ""; printed: what it printed."""

    value: Any = None
    error: str = ""
    printed: str = ""


def call(
    function: Callable[[Any], Any], cases: Iterable[Any], seconds: float = SECONDS, megabytes: float = MEGABYTES
) -> list[Outcome]:
    """Call a function of this process once for each case, in a process of its own.

    function: returns numbers, texts, arrays, and lists, tuples and dicts of them. seconds, megabytes: for all cases
    together; what is called after that has the error in words. Without `os.fork` (Windows) it is called here, without
    limits.

    >>> [outcome.value for outcome in call(lambda x: x + 1, [1, 2])]
    [2, 3]
    """
    cases = list(cases)
    if not hasattr(os, "fork"):
        return [_outcome(function, case) for case in cases]
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads, whose locks the child does not take
        child = os.fork()
    if child == 0:
        receiver.close()
        _serve(function, cases, sender, megabytes)  # does not come back
    sender.close()
    try:
        outcomes = [*_received(receiver, len(cases), time.monotonic() + seconds, seconds)]
    finally:
        receiver.close()
        _kill(child)
    return outcomes


def _serve(function: Callable[[Any], Any], cases: Sequence[Any], sender: Connection, megabytes: float) -> None:
    """Call the function for each case and send what comes of it; the process ends here, whatever happens."""
    try:
        os.setsid()  # so that its own children can be ended with it
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        faulthandler.disable()  # a crash is told by the parent
        _limit_memory(megabytes)
        for case in cases:
            sender.send_bytes(_packed(_outcome(function, case)))
        os._exit(0)
    finally:
        os._exit(1)


def _outcome(function: Callable[[Any], Any], case: Any) -> Outcome:
    """One call, with all that may go wrong in it as words."""
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
    """An exception in one line, with the student's own line in which it happened.

    >>> try: np.ones(2) @ np.ones(3)
    ... except ValueError as error: print(failure(error)[:10])
    ValueError
    """
    words = " ".join(str(error).split())
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    ours = (os.path.dirname(np.__file__), os.path.dirname(os.path.dirname(__file__)), os.path.dirname(os.__file__))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    if not frames:
        return text
    line = f": {frames[-1].line}" if frames[-1].line else ""
    return f"{text} (line {frames[-1].lineno}{line})"


class _Shortened(io.StringIO):
    """Keeps the first characters of what is printed, however much that is."""

    def write(self, text: str) -> int:
        super().write(text[: max(0, PRINTED - self.tell())])
        return len(text)


def _limit_memory(megabytes: float) -> None:
    """Let this process take so much memory beyond what it has, where the system can be asked for that."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(megabytes * 1e6),) * 2)


def _received(receiver: Connection, count: int, deadline: float, seconds: float) -> Iterator[Outcome]:
    """What the process has sent, and for each case that it did not get to, why."""
    for _ in range(count):
        try:
            if not receiver.poll(max(0.0, deadline - time.monotonic())):
                yield Outcome(error=f"it took longer than {seconds:g} seconds")
                continue
            yield _unpacked(receiver.recv_bytes())
        except (EOFError, OSError):
            yield Outcome(error="its process ended in the middle: a crash, an exit, or no memory left")


def _kill(child: int) -> None:
    """End the process, and all that it has started."""
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.waitpid(child, 0)


# ---- values as bytes: arrays and JSON, never pickles, which could execute something when they are read


def _packed(outcome: Outcome) -> bytes:
    """An outcome as the bytes of a file of arrays."""
    arrays: dict[str, Array] = {}
    try:
        tree = {"value": _tree(outcome.value, arrays), "error": outcome.error, "printed": outcome.printed}
        stream = io.BytesIO()
        np.savez(stream, **arrays, tree=np.frombuffer(json.dumps(tree).encode(), np.uint8))  # type: ignore[arg-type]
        return stream.getvalue()
    except BaseException as error:
        return _packed(Outcome(error=f"what it returns cannot be read: {failure(error)}", printed=outcome.printed))


def _unpacked(packed: bytes) -> Outcome:
    arrays = np.load(io.BytesIO(packed), allow_pickle=False)
    tree = json.loads(arrays["tree"].tobytes())
    return Outcome(_value(tree["value"], arrays), tree["error"], tree["printed"])


def _tree(value: Any, arrays: dict[str, Array]) -> Any:
    """A value as JSON, with the numbers of its arrays in `arrays`; what is none of these, as the name of its type."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"plain": value}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiubc":
        arrays[f"array{len(arrays)}"] = np.asarray(value)
        return {"array": f"array{len(arrays) - 1}"}
    if isinstance(value, dict):
        return {"dict": [[str(name), _tree(x, arrays)] for name, x in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__ if type(value) in (list, tuple) else "tuple": [_tree(x, arrays) for x in value]}
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


@dataclass(frozen=True)
class Unreadable:
    """Stands for a value that is no number, text, array or list of them. type: the name of its class."""

    type: str
