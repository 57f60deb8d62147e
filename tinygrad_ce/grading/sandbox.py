"""A student's function in a process of its own: what it returns comes back as plain arrays, and nothing else does.

It is a guard against accidents (endless loops, memory, a crash), no security boundary.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tinygrad_ce.core import Array
from tinygrad_ce.grading.outcomes import Outcome, outcome_of, packed, unpacked

SECONDS, MEGABYTES = 10.0, 2000.0


SECONDS, MEGABYTES = 10.0, 2000.0
STARTING = 5.0  # seconds that Python and NumPy may need to start on a busy machine
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
        _limit_memory(megabytes)
        for case in cases:
            sender.send_bytes(packed(outcome_of(function, case)))
        os._exit(0)
    finally:
        os._exit(1)


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
            yield unpacked(receiver.recv_bytes())
        except (EOFError, OSError):
            yield Outcome(error=ENDED)


def _kill(child: int) -> None:
    """End the process and all that it has started, and wait for its end."""
    _end(child)
    with contextlib.suppress(OSError):
        os.waitpid(child, 0)


def run_file(
    path: Path, cases: Sequence[Mapping[str, Array]], seconds: float = SECONDS, megabytes: float = MEGABYTES
) -> list[Outcome]:
    """Run a hand-in, a script or a notebook, and call its function for each case, in a process of its own.

    The process sees a copy of the file in a folder of its own, which is gone afterwards; it has no input, no network
    and no other processes, and cannot import what computes gradients. The value of an outcome is a dict: value (what
    the function returned), written (the arguments that it wrote to). Where the file itself fails, that is the outcome
    of each case.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = Path(folder, f"hand_in{path.suffix}")
        copy.write_bytes(path.read_bytes())
        request = {"file": str(copy), "cases": [dict(case) for case in cases]}
        data = packed(Outcome({**request, "megabytes": float(megabytes), "seconds": float(seconds)}))
        answer, late = _communicated(data, folder, seconds)
    outcomes = [*_sent(answer)]
    if len(outcomes) == 1 and outcomes[0].error and not late:
        return outcomes * len(cases)
    left = f"it took longer than {seconds:g} seconds" if late else ENDED
    return [*outcomes[: len(cases)], *[Outcome(error=left)] * (len(cases) - len(outcomes))]


def _communicated(request: bytes, folder: str, seconds: float) -> tuple[bytes, bool]:
    """What the worker sends, and whether it had to be ended."""
    environment = {name: value for name, value in os.environ.items() if name in KEPT}
    command = [sys.executable, "-P", "-E", str(Path(__file__).with_name("worker.py"))]
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "HOME": folder, "TMPDIR": folder, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(request, timeout=seconds + STARTING)[0], False
        except subprocess.TimeoutExpired:
            _end(process.pid)
            return process.communicate()[0], True
        finally:
            _end(process.pid)


def _sent(answer: bytes) -> Iterator[Outcome]:
    """The outcomes in what was sent; what is cut off at the end is none."""
    while len(answer) >= 8:
        length = int.from_bytes(answer[:8], "big")
        if len(answer) < 8 + length:
            return
        try:
            yield unpacked(answer[8 : 8 + length])
        except Exception:  # whatever a hand-in has written there
            yield Outcome(error="what it sends cannot be read")
        answer = answer[8 + length :]


def _end(process: int) -> None:
    """End a process and all that it has started."""
    with contextlib.suppress(OSError, AttributeError):
        os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(OSError, AttributeError):
        os.kill(process, signal.SIGKILL)
