"""A student's function in a process of its own: what it returns comes back as plain arrays, and nothing else does.

It is a guard against accidents (endless loops, memory, a crash), no security boundary: run what you do not trust on a
machine of its own.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from tinygrad_ce.grading.outcomes import PRINTED, Outcome, limit_memory, outcome_of, packed, packed_outcome, unpacked

SECONDS, MEGABYTES = 10.0, 2000.0
KEPT = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL")  # of the environment
ENDED = "its process ended in the middle: a crash, an exit, or no memory left"


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
        return [outcome_of(function, case) for case in cases]
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
        limit_memory(megabytes)
        for case in cases:
            sender.send_bytes(packed_outcome(outcome_of(function, case)))
        os._exit(0)
    finally:
        os._exit(1)


def _received(receiver: Connection, count: int, deadline: float, seconds: float) -> Iterator[Outcome]:
    """What the process has sent, and for each case that it did not get to, why."""
    for _ in range(count):
        try:
            if not receiver.poll(max(0.0, deadline - time.monotonic())):
                yield Outcome(error=_too_long(seconds))
                continue
            yield Outcome(**unpacked(receiver.recv_bytes()))
        except (EOFError, OSError):
            yield Outcome(error=ENDED)


def _kill(child: int) -> None:
    """End the process and all that it has started, and wait for its end."""
    _end_group(child)
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.waitpid(child, 0)


def _end_group(leader: int) -> None:
    """End a process and those of its group, where there are such groups."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(leader, signal.SIGKILL)


def _too_long(seconds: float) -> str:
    return f"it took longer than {seconds:g} seconds"


# ---- a whole file


@dataclass(frozen=True, eq=False)
class FileRun:
    """What became of a file. outcomes: of each case; where there are none, error says why.

    remarks: for a teacher. printed: by the file. seconds: how long it took. hints: how many its student had, by name.
    """

    outcomes: tuple[Outcome, ...] = ()
    error: str = ""
    remarks: tuple[str, ...] = ()
    printed: str = ""
    seconds: float = 0.0
    hints: Any = None


def run_file(
    path: str | Path,
    cases: Iterable[Any],
    seconds: float = SECONDS,
    megabytes: float = MEGABYTES,
    *,
    forward: str = "",
    allowed: Iterable[str] = (),
    watch: Callable[[subprocess.Popen[Any]], Any] = lambda process: None,
) -> FileRun:
    """Run a script or notebook in a fresh process, and the function in it that is graded once for each case.

    cases: arguments by name. seconds, megabytes: for the file and all cases together. forward: the source of the
    problem's forward pass, for forms that need one. allowed: engines that it may import. watch: is called with the
    process when it has started. Raises OSError for a file that cannot be read.

    The process sees a copy of the file in a folder of its own, which is gone afterwards, and it has no input. Network,
    children, writing elsewhere and imports of what computes gradients are refused where Python tells of them.
    """
    path, cases = Path(path), list(cases)
    with tempfile.TemporaryDirectory(prefix="hand_in_", ignore_cleanup_errors=True) as outside:
        folder, job, results, printed = (Path(outside) / name for name in ("folder", "job", "results", "printed"))
        folder.mkdir()
        copy = folder / f"hand_in{path.suffix.lower()}"
        shutil.copyfile(path, copy)
        limits = {"seconds": float(seconds), "megabytes": float(megabytes)}
        job.write_bytes(
            packed({"file": str(copy), "forward": forward, "allowed": [*allowed], "cases": cases, **limits})
        )
        with printed.open("wb") as output:
            process = _started(folder, job, results, output)
        taken, in_time = _waited(process, seconds, watch)
        received = [*_messages_in(results)]
        with printed.open("rb") as file:
            said = file.read(PRINTED).decode(errors="replace")
    return _as_run(received, said, len(cases), taken, ENDED if in_time else _too_long(seconds))


def _started(folder: Path, job: Path, results: Path, printed: IO[bytes]) -> subprocess.Popen[Any]:
    """The process of a file, at the head of a group of its own, so that all that it starts can be ended with it."""
    return subprocess.Popen(
        [sys.executable, "-I", "-B", str(Path(__file__).with_name("worker.py")), str(job), str(results)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=printed,
        cwd=folder,
        env=_environment(folder),
        start_new_session=True,
    )


def _environment(folder: Path) -> dict[str, str]:
    """What the process knows of this machine: little; what libraries keep in files goes into its own folder."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    places = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR", "XDG_CACHE_HOME"), str(folder))
    return {**kept, **threads, **places, "MPLBACKEND": "agg"}


def _waited(process: subprocess.Popen[Any], seconds: float, watch: Callable[..., Any]) -> tuple[float, bool]:
    """How long it ran, and whether it ended by itself; neither it nor what it has started runs any more."""
    assert process.stdout is not None
    start = time.monotonic()
    try:
        watch(process)
        process.stdout.readline()  # Python and NumPy are there: how long that takes is not the student's affair
        start = time.monotonic()
        process.wait(seconds)
        in_time = True
    except subprocess.TimeoutExpired:
        in_time = False
    finally:
        _end_group(process.pid)  # what it has started, where it has ended itself
        end(process)
        process.wait()
        process.stdout.close()
    return time.monotonic() - start, in_time


def end(process: subprocess.Popen[Any]) -> None:
    """End a process that `run_file` has started, and all that it has started; it is for `run_file` to wait for it."""
    if process.poll() is None:
        _end_group(process.pid)
        process.kill()


def _messages_in(results: Path) -> Iterator[dict[str, Any]]:
    """The messages that were written whole, up to one that the hand-in itself has written among them."""
    content = io.BytesIO(results.read_bytes() if results.exists() else b"")
    while len(size := content.read(8)) == 8:
        length = int.from_bytes(size, "little")
        message = content.read(length)
        if len(message) < length:
            return
        try:
            told = unpacked(message)
        except Exception:  # whatever NumPy and JSON raise for what is none of ours
            return
        if not isinstance(told, dict):
            return
        yield told


def _as_run(received: list[dict[str, Any]], said: str, count: int, seconds: float, otherwise: str) -> FileRun:
    """The messages of a process as a run; otherwise: what is wrong if some are missing."""
    if not received:
        return FileRun(error=otherwise, printed=said, seconds=seconds)
    refused = dict.fromkeys(words for message in received for words in message.pop("refused", ()))
    first, *rest = received
    error, remarks = first.get("error", ""), (*first.get("remarks", ()), *(f"refused: {words}" for words in refused))
    calls = [Outcome(message.get("value"), message.get("error", "")) for message in rest[:count]]
    left = () if error else (Outcome(error=otherwise),) * (count - len(calls))
    return FileRun((*calls, *left), error, remarks, said, seconds, first.get("hints"))
