"""Threads that run one compiled step together, and how many of them pay on this machine just now."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tinygrad_ce.core import Array
from tinygrad_ce.threads import get_num_threads

SETTLING = 3  # portions until the system has given each thread a processor of its own
ROUND = 100  # portions after which it is measured anew which number of threads is the faster one


def in_step(run: Callable[[int, int, Array], None], threads: int) -> None:
    """Call run(number, count, gate) in so many threads at once (fewer, where the system gives no more of them).

    An exception of any of them is raised here, after all have ended.
    """
    from tinygrad_ce.kernels.gate import alarm, new_gate  # brings Numba in

    gate = new_gate()
    errors: list[BaseException] = []

    def work(number: int, count: int) -> None:
        try:
            run(number, count, gate)
        except BaseException as error:
            alarm(gate)  # the others wait in vain
            errors.append(error)

    helpers = [threading.Thread(target=work, args=(k, threads), name="tinygrad_ce") for k in range(1, threads)]
    started: list[threading.Thread] = []
    try:
        for helper in helpers:
            helper.start()
            started.append(helper)
    except RuntimeError:  # the system gives no more threads: those that wait at the gate for the others may go
        alarm(gate)
        _wait_for(started, [])
        run(0, 1, new_gate())
        return
    work(0, threads)
    _wait_for(started, errors)
    if errors:
        raise next((error for error in errors if not isinstance(error, RuntimeError)), errors[0])


def _wait_for(helpers: list[threading.Thread], errors: list[BaseException]) -> None:
    """Wait until all have ended; a Ctrl-C meanwhile is raised afterwards."""
    while helpers:
        try:
            helpers[-1].join()
            helpers.pop()
        except KeyboardInterrupt as error:
            errors.insert(0, error)


class Team:
    """How many threads run the coming steps: all, or one where that is faster, as on a machine with other work.

    The results are the same, bit for bit; so the clock may decide.
    """

    def __init__(self, shared: bool) -> None:
        self.shared = shared
        self.portions = 0
        self.best: dict[int, float] = {}  # seconds of a step, by the number of threads, in this round

    @property
    def threads(self) -> int:
        """The number of threads for the coming portion of steps."""
        everybody = get_num_threads() if self.shared else 1
        place = self.portions % ROUND
        if place < SETTLING or everybody == 1:
            return everybody
        return 1 if place == SETTLING else min((everybody, 1), key=lambda n: self.best.get(n, 0.0))

    def measured(self, threads: int, seconds: float) -> None:
        """Take down what a step cost."""
        if self.portions % ROUND == 0:
            self.best.clear()
        self.portions += 1
        self.best[threads] = min(seconds, self.best.get(threads, seconds))
