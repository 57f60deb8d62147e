"""Long loops in several threads: the rows are cut into parts, and each part is the same loop on fewer rows.

A loop gives up the interpreter's lock while it runs, so plain threads are enough. No part adds to another's numbers:
the results are the same, bit for bit, however many threads there are.
"""

from __future__ import annotations

import operator
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

# What a thread costs to wake (about 50 us here) must be small against what it saves.
WORTH = 200e-6  # seconds of work
STEP = 1024  # parts begin at its multiples, so that the same elements share a vector instruction in every cutting

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_threads: int | None = None


def set_num_threads(n: int) -> None:
    """Let long loops use up to n threads (in all threads of this process).

    Without it they use OMP_NUM_THREADS, or as many as there are processors. Results do not depend on it.
    Raises TypeError or ValueError if n is no positive integer.

    >>> set_num_threads(2); get_num_threads()
    2
    """
    global _threads
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads({n!r}): the number of threads is an integer")
    n = operator.index(n)  # NumPy's integers are integers too
    if n < 1:
        raise ValueError(f"set_num_threads({n}): at least one thread does the work")
    with _lock:
        _threads = n
        _stop()


def get_num_threads() -> int:
    """How many threads a long loop may use.

    >>> get_num_threads() >= 1
    True
    """
    return _threads or _of_the_environment()


def _of_the_environment() -> int:
    # OpenMP allows a list, one number for each level of nesting: the first is ours.
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if said.isdecimal() and int(said) > 0:
        return int(said)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parts(work: Callable[[int, int], None], count: int, seconds: float, step: int = STEP) -> None:
    """Call work(start, stop) for all of range(count): at once if it takes few seconds, else in several threads.

    An exception of any part is raised here, after all parts have ended.
    """
    if count == 0:
        return
    threads = 1 if seconds < WORTH else min(get_num_threads(), -(-count // step), int(2 * seconds / WORTH))
    if threads < 2:
        work(0, count)
        return
    share = -(-count // (threads * step)) * step
    parts = deque(pairwise([*range(0, count, share), count]))

    def take() -> None:
        """Do parts until none is left: whoever is free takes the next."""
        while True:
            try:
                start, stop = parts.popleft()
            except IndexError:
                return
            work(start, stop)

    helpers = _helpers(take, len(parts) - 1)
    try:
        take()
    finally:
        parts.clear()  # after an exception nobody begins another
        begun = [helper for helper in helpers if not helper.cancel()]
        for helper in begun:
            helper.exception()  # waits
    for helper in begun:
        helper.result()


def _helpers(take: Callable[[], None], count: int) -> list[Future[None]]:
    """So many threads that call take; fewer where there are no more to be had."""
    helpers: list[Future[None]] = []
    with _lock:
        try:
            pool = _started()
            for _ in range(count):
                helpers.append(pool.submit(take))
        except RuntimeError:  # the system gives no more threads, or the interpreter is ending
            _stop()  # which waits for those that have begun; what they leave, the caller does
    return helpers


def _started() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, get_num_threads() - 1), thread_name_prefix="tinygrad_ce")
    return _pool


def _stop() -> None:
    """End the threads when their work is done; the next long loop starts new ones."""
    global _pool
    if _pool is not None:
        _pool.shutdown(wait=True)
        _pool = None


# A fork copies one thread only: without this, a child would wait for workers that it does not have. The lock is held
# across the fork, so that no loop begins in between.


def _before_fork() -> None:
    _lock.acquire()
    _stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_lock.release, after_in_child=_lock.release)
